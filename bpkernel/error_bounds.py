"""How large the terms of a computation are, by the names of its functions: rounding errors are bounded relative to them.

To the reference, the results of a formula are as exact as its terms.  Where a function is not here, its own size counts.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

Sizes = Callable[..., Any]

# g(a), as a function of a and z.  The hard functions are differences of numbers of this size.
G_TERMS: dict[str, Sizes] = {
    "gelu": lambda a, z: abs(z) * (1 + a * a),  # Φ of an argument that is rounded once
    "hard_sigmoid": lambda a, z: np.ones_like(z),
    "hard_silu": lambda a, z: abs(a) + abs(z),
}
# g'(a), as a function of z = g(a); for softmax the factor of ∂E/∂y_j + Σ_k y_k ∂E/∂y_k
G_PRIME_TERMS: dict[str, Sizes] = {
    "identity": np.ones_like,
    "logistic": lambda z: z * (1 + z),
    "tanh": lambda z: 1 + z * z,
    "relu": np.ones_like,
    "softmax": lambda z: z,
    "exp": lambda z: z,
    "leaky_relu": np.ones_like,
    "elu": lambda z: 1 + abs(z),
    "selu": lambda z: 2 + abs(z),
    "softplus": np.ones_like,
    "silu": lambda z: 2 + 2 * abs(z),
    "gelu": lambda z: 2 + abs(z),
    "hard_sigmoid": np.ones_like,
    "hard_tanh": np.ones_like,
    "hard_silu": lambda z: 2 * np.ones_like(z),
    "mean_variance": lambda z: np.concatenate([np.ones_like(z[:, : z.shape[1] // 2]), z[:, z.shape[1] // 2 :]], axis=1),
}


def _each(size: Sizes) -> Sizes:
    return lambda y, t: size(np.minimum(np.maximum(y, 1e-30), 1 - 1e-16), t)


def _of_mean_and_variance(y: Any, t: Any) -> Any:
    m, v = np.split(y, 2, axis=1)
    r = abs(t) + abs(m)
    return np.concatenate([r / v, (1 + r * r / v) / v], axis=1)


SLOPE_TERMS: dict[str, Sizes] = {  # of ∂E/∂y_k, as a function of y and t
    "squared_error": lambda y, t: abs(y) + abs(t),
    "cross_entropy": lambda y, t: t / y,
    "binary_cross_entropy": lambda y, t: t / y + (1 - t) / (1 - y),
    "poisson": lambda y, t: 1 + t / y,
    "absolute_error": lambda y, t: np.ones_like(y),
    "huber": lambda y, t: abs(y) + abs(t),
    "log_cosh": lambda y, t: abs(y) + abs(t),
    "hinge": lambda y, t: np.ones_like(y),
    "gamma": lambda y, t: (1 + t / y) / y,
    "tweedie": lambda y, t: (1 + t / y) * y**-0.5 * (1 + abs(np.log(y))),
    "focal": _each(lambda y, t: t * (1 - y) * (2 * abs(np.log(y)) + (1 - y) / y)),
    "binary_focal": _each(
        lambda y, t: (
            t * (1 - y) * (2 * abs(np.log(y)) + (1 - y) / y)
            + (1 - t) * y * (2 * abs(np.log(1 - y)) + (1 + y / (1 - y)) / (1 - y))
        )
    ),
    "quantile": lambda y, t: np.ones_like(y),
    "gaussian_nll": _of_mean_and_variance,
}
ERROR_TERMS: dict[str, Sizes] = {  # what E^n has beside terms of the size (1 + |a| + |y| + |t|)²
    "gamma": lambda y, t: t / y + abs(np.log(t / y)),
    "tweedie": lambda y, t: 4 * (np.sqrt(t) + np.sqrt(y) + t / np.sqrt(y)) * (1 + abs(np.log(y))),
    "gaussian_nll": lambda y, t: np.split(_of_mean_and_variance(y, t), 2, axis=1)[1] * np.split(y, 2, axis=1)[1],
}
RANDOM_TARGETS: dict[str, Callable[[np.random.Generator, tuple[int, int]], Any]] = {  # by the `targets` of a loss
    "real": lambda rng, shape: rng.standard_normal(shape),
    "non_negative": lambda rng, shape: rng.poisson(2.0, shape).astype(float),
    "positive": lambda rng, shape: rng.uniform(0.2, 3, shape),
    "probability": lambda rng, shape: rng.uniform(0, 1, shape),
    "sign": lambda rng, shape: rng.choice([-1.0, 1.0], shape),
    "distribution": lambda rng, shape: np.eye(shape[1])[rng.integers(0, shape[1], shape[0])],
}


class NormTerms:
    """The sizes of the terms that layer normalisation computes with, from those of its sums.

    Parameters
    ----------
    a : array-like (n_samples, n_units)
        The sums.
    terms : array-like (n_samples, n_units)
        The sizes of their terms.
    length : float
        The number of these, which multiplies eps in the bound of their rounding errors.
    gains, shifts : array-like (n_units,)

    Attributes
    ----------
    of_u : ndarray (n_samples, n_units)
        The sizes of the terms of u.
    length : float
        What multiplies eps in the bound of the errors of n and of u.
    """

    def __init__(self, a: Any, terms: Any, length: float, gains: Any, shifts: Any):
        self._a, self._gains = np.asarray(a), np.abs(gains)
        self._signed = gains
        m, v = self._a.mean(axis=1, keepdims=True), self._a.var(axis=1, keepdims=True)
        self._s = np.sqrt(v + 1e-5)
        self._n = np.abs(self._a - m) / self._s
        self._of_a = np.asarray(terms) + _mean(np.asarray(terms))
        self._of_s = 1 + _mean(self._n * self._of_a) / self._s  # relative to √(v + ε)
        self._of_n = self._of_a / self._s + self._n * self._of_s
        self.of_u = self._gains * self._of_n + np.abs(shifts)
        self.length = length + 2 * len(self._gains) + 8

    def backward(self, d: np.ndarray, terms: np.ndarray, length: float) -> tuple[np.ndarray, float]:
        """The sizes of the terms of δ, and their number, from ∂E/∂u and the sizes and number of its terms."""
        self._d, self._of_d, self._length_of_d = d, terms, length
        c, of_c = self._gains * np.abs(d), self._gains * terms
        of_delta = (of_c + _mean(of_c) + self._n * _mean(self._n * of_c)) * self._of_s
        of_delta += self._of_n * _mean(c * self._n) + self._n * _mean(c * self._of_n)
        return of_delta / self._s, length + self.length + 2 * len(self._gains)

    def rows(self) -> Any:
        """Of each sample a, the gains and ∂E/∂u, as the reference takes them."""
        return [(a_n, list(self._signed), d_n) for a_n, d_n in zip(self._a.tolist(), self._d.tolist(), strict=True)]

    def of_gradient(self, length: float) -> list[np.ndarray]:
        """The sizes of the terms of ∂E/∂γ and ∂E/∂β for a sum over `length` terms, where those of ∂E/∂u count for more."""
        of_gains = self._of_d * self._n * self._length_of_d + np.abs(self._d) * self._of_n * self.length
        return [
            (own / length + size).sum(axis=0)
            for own, size in ((of_gains, np.abs(self._d) * self._n), (self._of_d * self._length_of_d, np.abs(self._d)))
        ]


def _mean(x: np.ndarray) -> np.ndarray:
    """The mean over the units."""
    return x.mean(axis=1, keepdims=True)
