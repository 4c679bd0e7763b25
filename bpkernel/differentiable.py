"""Derivatives of a net, as its users see them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from bpkernel import validation
from bpkernel.derivatives import TOGETHER, Gradient
from bpkernel.differentiator import Differentiator
from bpkernel.kernels import operands
from bpkernel.structure import Structure


class Differentiable(Structure):
    """Base of `MLP`: derivatives of the error E = Σ_n s_n E^n and of the outputs, at the present weights.

    Vectors of parameters have the order of `parameters`.  What belongs to absent weights is 0.
    """

    # --------------------------------------------------------------------------------------------------- first order

    def gradient(self, X: ArrayLike, T: ArrayLike, sample_weight: ArrayLike | None = None) -> np.ndarray:
        """∂E/∂w, summed over the samples: (n_parameters,), as `backprop` gives it layer by layer.

        Parameters
        ----------
        X : array-like (n_samples, n_inputs)
        T : array-like (n_samples, n_targets)
            As of `fit`.
        sample_weight : array-like (n_samples,), default=None
            The s_n, not negative; None for ones.

        Returns
        -------
        ndarray (n_parameters,)

        Raises
        ------
        ValueError, TypeError
            If an argument is not as above.
        Exception
            Of any kind that an activation or a loss of your own raises.

        Examples
        --------
        >>> import bpkernel as bp
        >>> net = bp.MLP((1, 1), dtype="float64", random_state=0)
        >>> net.parameters = [3, 0]  # the weight, then the bias
        >>> net.gradient([[2.0]], [5.0])  # y = 3 · 2, δ = 6 - 5, ∂E/∂w = δ · 2, ∂E/∂b = δ
        array([2., 1.])
        """
        return self._network.layout.vector(self._summed(self._weighted(X, T, sample_weight)))

    def per_sample_gradients(self, X: ArrayLike, T: ArrayLike) -> np.ndarray:
        """∂E^n/∂w of every sample: (n_samples, n_parameters); X, T and what is raised as in `gradient`.

        The result takes n_samples · n_parameters numbers; for norms, mean and variance see `per_sample_gradient_norms` and
        `gradient_moments`, which do not store it.
        """
        with self._differentiator() as d:
            return d.gradients(self._samples(X, T))

    def per_sample_gradient_norms(self, X: ArrayLike, T: ArrayLike) -> np.ndarray:
        """The Euclidean norm of ∂E^n/∂w of every sample: (n_samples,); X, T and what is raised as in `gradient`."""
        with self._differentiator() as d:
            return d.norms(self._samples(X, T))

    def gradient_moments(self, X: ArrayLike, T: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
        """Mean and variance of ∂E^n/∂w over the samples: two arrays (n_parameters,); X, T and what is raised as in `gradient`.

        The variance is that of the samples, divided by n_samples.  It is computed from the differences to the mean, in a
        second pass.
        """
        samples = self._samples(X, T)
        n = len(samples.T)
        mean = self._summed(samples) / self.dtype.type(n)
        with self._differentiator() as d:
            spread = d.spread(samples, mean)
        vector = self._network.layout.vector
        return vector(mean), self._present_only(vector(spread) / self.dtype.type(n))

    def input_gradient(self, X: ArrayLike, T: ArrayLike) -> np.ndarray:
        """∂E^n/∂x of every sample: (n_samples, n_inputs); X, T and what is raised as in `gradient`."""
        with self._differentiator() as d:
            return d.input_gradients(self._samples(X, T))

    def jacobian(self, X: ArrayLike) -> np.ndarray:
        """∂y_k/∂x_i of every sample (Bishop, section 4.9): (n_samples, n_outputs, n_inputs).

        Examples
        --------
        >>> import bpkernel as bp
        >>> net = bp.MLP((2, 1), dtype="float64", random_state=0)
        >>> net.parameters = [3, 4, 0]
        >>> net.jacobian([[1.0, 1.0]])
        array([[[3., 4.]]])
        """
        samples = self._inputs(X)
        with self._differentiator() as d:
            return d.jacobian(samples)

    def parameter_jacobian(self, X: ArrayLike) -> np.ndarray:
        """∂y_k/∂w of every sample: (n_samples, n_outputs, n_parameters), which is also how much memory it takes."""
        samples = self._inputs(X)
        with self._differentiator() as d:
            return d.parameter_jacobian(samples)

    # ------------------------------------------------------------------------------------------------------ in common

    @contextmanager
    def _differentiator(self, *, second: bool = False) -> Iterator[Differentiator]:
        """The net's differentiator, or a new one while another caller uses that."""
        kept = self._network.for_derivatives
        d = kept.pop(second, None) or Differentiator(self._network, second=second)
        yield d
        d.forget_large()
        kept[second] = d  # not after an exception, which may have left anything in its memory

    def _summed(self, samples: operands.Samples) -> np.ndarray:
        """Σ_n s_n ∂E^n/∂w, a buffer of weights."""
        batch_size, kept = min(len(samples.T), TOGETHER), self._network.for_derivatives
        made_for, gradient = kept.pop("gradient", (0, None))
        if made_for != batch_size:
            gradient = Gradient(self._network, batch_size)
        flat: np.ndarray = gradient(samples)[1].copy()
        kept["gradient"] = batch_size, gradient  # not after an exception
        return flat

    def _weighted(self, X: Any, T: Any, sample_weight: Any) -> operands.Samples:
        """Samples with the weights as they are given."""
        samples = self._samples(X, T, sample_weight)
        if sample_weight is None:
            return samples
        return samples._replace(s=np.require(sample_weight, self.dtype, ["C", "A", "W"]))

    def _inputs(self, X: Any) -> operands.Samples:
        """Samples without targets."""
        X = validation.samples("X", X, self.layer_sizes[0], self.dtype)
        return operands.samples(X, np.zeros((len(X), 1), self.dtype), np.ones(len(X), self.dtype))

    def _present_only(self, vector: np.ndarray) -> np.ndarray:
        """Set what belongs to absent weights to 0."""
        present = self._network.present
        if present.size:
            vector[~self._network.layout.vector(present)] = 0
        return vector
