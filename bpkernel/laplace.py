"""Error bars: the Laplace approximation of the posterior distribution of the weights (Bishop, chapter 10)."""

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from bpkernel import plots, validation
from bpkernel.differentiator import BlockStructure, Differentiator, mirror
from bpkernel.kernels import operands
from bpkernel.network import Network

TOGETHER = 1 << 24  # bytes of the derivatives of the outputs that are in memory at a time
ROUNDS, CLOSE = 1000, 1e-8  # most re-estimations of α and β, and their relative change at the end


class Block:
    """The curvature of some parameters: H = V diag(e) Vᵀ, or V = 1."""

    def __init__(self, places: np.ndarray, curvature: np.ndarray):
        self.places = places  # of the parameters in a vector of them
        if curvature.ndim == 1:
            self.values, self.vectors = curvature, None
        else:
            self.values, self.vectors = np.linalg.eigh(curvature)

    def rotated(self, vectors: np.ndarray) -> np.ndarray:
        """Vᵀ times this block's part of some vectors (any, n_parameters)."""
        own = vectors[..., self.places]
        return own if self.vectors is None else own @ self.vectors

    def back(self, rotated: np.ndarray) -> np.ndarray:
        """V times some vectors (any, n)."""
        return rotated if self.vectors is None else rotated @ self.vectors.T


class LaplacePosterior:
    """A normal distribution of the weights of a net around those that it has been trained to.

    The precision, the inverse of the covariance, is A = β H + α 1, with the curvature H of Σ_n s_n E^n.  It is made by
    `MLP.laplace`, and holds a copy of the net.

    Attributes
    ----------
    mean : ndarray (n_parameters,)
        The weights of the net, in float64.
    prior_precision : float
        α: the weights have a normal prior distribution of this precision, and mean 0.
    noise_precision : float
        β: the targets have normal noise of this precision.  1 for losses other than squared_error.
    n_effective : float
        γ, the number of parameters that the data determine well, rather than the prior.
    log_evidence : float
        The logarithm of the probability of the targets, given the net, α and β, to compare nets.  For losses other than
        squared_error, E^n stands for the negative logarithm of the probability of the targets.
    structure : str
        "full", "layer" or "diagonal".
    """

    def __init__(
        self,
        network: Network,
        samples: operands.Samples,
        *,
        blocks: list[Block],
        loss_name: str,
        structure: str,
        prior_precision: float | None,
        noise_precision: float | None,
    ):
        self._network, self._blocks, self._loss_name, self.structure = network, blocks, loss_name, structure
        self.mean: np.ndarray = network.layout.vector(network.params)
        self._places = np.concatenate([block.places for block in blocks])
        self._values = np.maximum(np.concatenate([block.values for block in blocks]), 0)
        if not self._values.max() > 0:
            raise ValueError(
                f"the loss {loss_name!r} has no positive second derivative at any sample, so the data determine no weight: "
                "error bars need another loss, such as squared_error"
            )
        self._error = network.mean_error(samples) * float(samples.s.sum())
        self._n_targets = float(samples.s.sum()) * samples.T.shape[1]
        self._estimate(prior_precision, noise_precision)

    def _estimate(self, prior_precision: float | None, noise_precision: float | None) -> None:
        """Set α and β, those that are not given by the evidence procedure, and what follows from them."""
        w = self.mean[self._places]
        of_weights, regression = 0.5 * float(w @ w), self._loss_name == "squared_error"
        alpha = prior_precision or 1.0
        beta = noise_precision or (0.5 * self._n_targets / max(self._error, np.finfo(float).tiny) if regression else 1.0)
        for _ in range(ROUNDS if None in (prior_precision, noise_precision) else 0):
            effective = float((beta * self._values / (beta * self._values + alpha)).sum())
            before = alpha, beta
            if prior_precision is None:
                alpha = effective / max(2 * of_weights, np.finfo(float).tiny)
            if noise_precision is None and regression:
                beta = (self._n_targets - effective) / (2 * max(self._error, np.finfo(float).tiny))
                if beta <= 0:
                    raise ValueError(
                        f"the noise cannot be estimated: {self._n_targets:g} targets determine {effective:.1f} parameters; "
                        "use more samples or a smaller net, or give noise_precision"
                    )
            alpha = max(alpha, np.finfo(float).tiny)
            if all(abs(now - old) <= CLOSE * old for now, old in zip((alpha, beta), before, strict=True)):
                break
        self.prior_precision, self.noise_precision = alpha, beta
        self.n_effective = float((beta * self._values / (beta * self._values + alpha)).sum())
        log_det = float(np.log(beta * self._values + alpha).sum())
        evidence = -alpha * of_weights - beta * self._error - 0.5 * log_det + 0.5 * len(w) * math.log(alpha)
        if regression:
            evidence += 0.5 * self._n_targets * (math.log(beta) - math.log(2 * math.pi))
        self.log_evidence = evidence

    def _variances(self) -> Iterator[tuple[Block, np.ndarray]]:
        """The blocks, with the variances along their eigenvectors."""
        for block in self._blocks:
            yield block, 1 / (self.noise_precision * np.maximum(block.values, 0) + self.prior_precision)

    def covariance(self) -> np.ndarray:
        """The covariance of the weights (n_parameters, n_parameters); 0 for absent weights."""
        matrix = np.zeros((len(self.mean), len(self.mean)))
        for block, variances in self._variances():
            vectors = np.eye(len(block.places)) if block.vectors is None else block.vectors
            matrix[np.ix_(block.places, block.places)] = (vectors * variances) @ vectors.T
        return matrix

    def predict(self, X: ArrayLike, return_std: bool = False, *, noise: bool = True) -> Any:
        """The outputs of the net, and with `return_std` their standard deviations.

        The variance of an output is g A⁻¹ gᵀ with its derivatives g by the weights (Bishop, section 10.2), plus 1 / β for the
        noise of the targets of a squared_error.

        Parameters
        ----------
        X : array-like (n_samples, n_inputs)
        return_std : bool, default=False
        noise : bool, default=True
            Whether the noise of the targets counts, as for an interval that contains new targets, or only the uncertainty of
            the weights.

        Returns
        -------
        y : ndarray (n_samples, n_outputs)
        std : ndarray (n_samples, n_outputs)
            Only with `return_std`.

        Raises
        ------
        ValueError, TypeError
            If X is of another shape or holds other than finite numbers.
        """
        X = validation.samples("X", X, self._network.layout.sizes[0], self._network.layout.dtype)
        return_std, noise = validation.flag("return_std", return_std), validation.flag("noise", noise)
        y = self._network.outputs(X)
        if not return_std:
            return y
        variances = np.empty_like(y)
        for part, J in self._jacobians(X):
            variances[part] = sum((block.rotated(J) ** 2 * v).sum(axis=-1) for block, v in self._variances())
        if noise and self._loss_name == "squared_error":
            variances += 1 / self.noise_precision
        return y, np.sqrt(variances)

    def output_covariance(self, X: ArrayLike) -> np.ndarray:
        """The covariances of the outputs of each sample (n_samples, n_outputs, n_outputs), without noise."""
        X = validation.samples("X", X, self._network.layout.sizes[0], self._network.layout.dtype)
        found = np.zeros((len(X), *[self._network.layout.sizes[-1]] * 2))
        for part, J in self._jacobians(X):
            for block, v in self._variances():
                rotated = block.rotated(J)
                found[part] += np.einsum("nkp,nlp->nkl", rotated * v, rotated)
        return found

    def _jacobians(self, X: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
        """The derivatives of the outputs by the weights, for some samples at a time."""
        differentiator, (n_outputs, dtype) = Differentiator(self._network), (self._network.layout.sizes[-1], np.float64)
        step = max(TOGETHER // (8 * n_outputs * len(self.mean)), 1)
        for start in range(0, len(X), step):
            part = slice(start, min(start + step, len(X)))
            n = part.stop - start
            yield part, differentiator.parameter_jacobian(operands.samples(X[part], np.zeros((n, 1), dtype), np.ones(n, dtype)))

    def sample_outputs(self, X: ArrayLike, n: int = 1, random_state: int | np.random.Generator | None = None) -> np.ndarray:
        """Functions drawn from the posterior, at some inputs X: (n, n_samples, n_outputs), without noise.

        The outputs are linear in the weights here, as for the standard deviations of `predict`.  What is raised is as there
        and as in `sample`.
        """
        X = validation.samples("X", X, self._network.layout.sizes[0], self._network.layout.dtype)
        steps, y = self.sample(n, random_state) - self.mean, self._network.outputs(X)
        drawn = np.empty((len(steps), *y.shape))
        for part, J in self._jacobians(X):
            drawn[:, part] = y[part] + np.einsum("nkp,sp->snk", J, steps, optimize=True)
        return drawn

    def sample(self, n: int = 1, random_state: int | np.random.Generator | None = None) -> np.ndarray:
        """Weights drawn from the posterior: (n, n_parameters).

        Along directions that the data determine badly they are far from the mean, where the net is not linear in its weights:
        a net with drawn weights may be worse than the error bars say.  For functions see `sample_outputs`.

        Raises ValueError or TypeError if n is not an integer of at least 1, or random_state is not as for `MLP`.
        """
        n, random = validation.count("n", n), validation.generator(random_state)
        drawn = np.tile(self.mean, (n, 1))
        for block, variances in self._variances():
            drawn[:, block.places] += block.back(random.standard_normal((n, len(variances))) * np.sqrt(variances))
        return drawn

    def plot(self, X: ArrayLike, T: ArrayLike, ax: Any = None, output: int = 0) -> Any:
        """Draw an output of a net with one input, with its error bars and the data (needs the extra `plot`); returns the axes.

        Raises ValueError if the net has more than one input.
        """
        return plots.error_bars(self, X, T, ax, output=output)

    def __repr__(self) -> str:
        return (
            f"LaplacePosterior({self.structure}, prior_precision={self.prior_precision:.4g}, "
            f"noise_precision={self.noise_precision:.4g}, n_effective={self.n_effective:.1f} of {len(self._places)}, "
            f"log_evidence={self.log_evidence:.4g})"
        )


def gauss_newton_blocks(network: Network, samples: operands.Samples, structure: BlockStructure) -> list[Block]:
    """The Gauss-Newton matrix of a net of float64, in blocks."""
    differentiator = Differentiator(network, second=True)
    found, layout = differentiator.gauss_newton(samples, structure), network.layout
    everything = np.arange(layout.n_parameters)
    if structure == "diagonal":
        parts = [(everything, found[0])]
    elif structure == "full":
        parts = [(everything, mirror(found[0]))]
    else:
        order, bounds = differentiator.by_layer(), differentiator.layer_bounds()
        parts = [(order[i:j], mirror(m)) for m, (i, j) in zip(found, pairwise(bounds), strict=True)]
    return [_present(network, places, curvature) for places, curvature in parts]


def hessian_blocks(network: Network, samples: operands.Samples, structure: BlockStructure) -> list[Block]:
    """The Hessian of a net of float64, in blocks."""
    differentiator, everything = Differentiator(network, second=True), np.arange(network.layout.n_parameters)
    if structure == "diagonal":
        return [_present(network, everything, differentiator.hessian_diagonal(samples))]
    hessian = differentiator.hessian(samples)
    if structure == "full":
        return [_present(network, everything, hessian)]
    order, bounds = differentiator.by_layer(), differentiator.layer_bounds()
    parts = [order[i:j] for i, j in pairwise(bounds)]
    return [_present(network, places, hessian[np.ix_(places, places)]) for places in parts]


def _present(network: Network, places: np.ndarray, curvature: np.ndarray) -> Block:
    """A block without the parameters that are absent."""
    if network.present.size:
        kept = np.flatnonzero(network.layout.vector(network.present)[places])
        places, curvature = places[kept], curvature[kept] if curvature.ndim == 1 else curvature[np.ix_(kept, kept)]
    return Block(places, np.array(curvature))
