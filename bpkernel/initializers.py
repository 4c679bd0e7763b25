"""The initialisations of weights.  To add one, write a function as below and add it to INITIALIZERS and InitName.

Each draws the weights of one connection (n_in, n_out), from a generator and the numbers of weights that lead to a unit of its
target and from a unit of its source, `fan_in` and `fan_out`, which count all connections of these units.
"""

from collections.abc import Callable
from typing import Literal, TypeAlias

import numpy as np

from bpkernel.network import Network

Shape = tuple[int, int]
Random = np.random.Generator


def glorot_uniform(random: Random, shape: Shape, fan_in: float, fan_out: float) -> np.ndarray:
    """Uniform from ±√(6 / (fan_in + fan_out)) (Glorot and Bengio 2010, eq. 16)."""
    return _uniform(random, shape, np.sqrt(6.0 / (fan_in + fan_out)))


def glorot_normal(random: Random, shape: Shape, fan_in: float, fan_out: float) -> np.ndarray:
    """Normal, of variance 2 / (fan_in + fan_out) (Glorot and Bengio 2010, eq. 12)."""
    return np.sqrt(2.0 / (fan_in + fan_out)) * random.standard_normal(shape)


def he_uniform(random: Random, shape: Shape, fan_in: float, fan_out: float) -> np.ndarray:
    """Uniform from ±√(6 / fan_in), of the variance of he_normal."""
    return _uniform(random, shape, np.sqrt(6.0 / fan_in))


def he_normal(random: Random, shape: Shape, fan_in: float, fan_out: float) -> np.ndarray:
    """Normal, of variance 2 / fan_in, for relu units (He et al. 2015, eq. 10)."""
    return np.sqrt(2.0 / fan_in) * random.standard_normal(shape)


def lecun_uniform(random: Random, shape: Shape, fan_in: float, fan_out: float) -> np.ndarray:
    """Uniform from ±√(3 / fan_in), of the variance of lecun_normal."""
    return _uniform(random, shape, np.sqrt(3.0 / fan_in))


def lecun_normal(random: Random, shape: Shape, fan_in: float, fan_out: float) -> np.ndarray:
    """Normal, of variance 1 / fan_in (LeCun et al. 1998, eq. 16); selu units need it (Klambauer et al. 2017)."""
    return np.sqrt(1.0 / fan_in) * random.standard_normal(shape)


def orthogonal(random: Random, shape: Shape, fan_in: float, fan_out: float) -> np.ndarray:
    """Orthonormal rows or columns, whichever are fewer, drawn uniformly (Saxe et al. 2014)."""
    q, r = np.linalg.qr(random.standard_normal((max(shape), min(shape))))
    q *= np.where(np.diag(r) < 0, -1, 1)  # otherwise the signs would depend on the algorithm, and not be uniform
    return q if shape[0] >= shape[1] else q.T


def zeros(random: Random, shape: Shape, fan_in: float, fan_out: float) -> np.ndarray:
    """Zeros, for linear models; with hidden layers all units of a layer would stay alike."""
    return np.zeros(shape)


INITIALIZERS: dict[str, Callable[[Random, Shape, float, float], np.ndarray]] = {
    f.__name__: f
    for f in (glorot_uniform, glorot_normal, he_uniform, he_normal, lecun_uniform, lecun_normal, orthogonal, zeros)
}
InitName: TypeAlias = Literal[
    "glorot_uniform", "glorot_normal", "he_uniform", "he_normal", "lecun_uniform", "lecun_normal", "orthogonal", "zeros"
]


def _uniform(random: Random, shape: Shape, bound: float) -> np.ndarray:
    return random.uniform(-bound, bound, shape)


def draw(network: Network, init: str | None, random: Random) -> None:
    """Draw the weights of every connection, in their order; None: each as goes with the activation that it leads to."""
    layout, masks = network.layout, network.masks
    fan_in, fan_out = np.zeros(len(layout.sizes)), np.zeros(len(layout.sizes))
    for (source, target), w, mask in zip(layout.pairs, network.weights, masks, strict=True):
        n_weights = w.size if mask is None else int(mask.sum())
        fan_in[target] += n_weights / layout.sizes[target]
        fan_out[source] += n_weights / layout.sizes[source]
    for (source, target), w in zip(layout.pairs, network.weights, strict=True):
        name = layout.activations[target - 1].init if init is None else init
        w[:] = INITIALIZERS[name](random, w.shape, max(fan_in[target], 1.0), max(fan_out[source], 1.0))
    network.clear_absent()
