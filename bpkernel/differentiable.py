"""Derivatives of a net, as its users see them."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from bpkernel import validation
from bpkernel.derivatives import TOGETHER, Gradient
from bpkernel.differentiator import Differentiator, Structure, mirror
from bpkernel.extras import need
from bpkernel.functions.custom import Activation, Loss
from bpkernel.functions.settings import between
from bpkernel.kernels import operands
from bpkernel.kernels.tangents import GAUSS_NEWTON, HESSIAN
from bpkernel.laplace import LaplacePosterior, gauss_newton_blocks, hessian_blocks
from bpkernel.structure import Structure as NetStructure


class Differentiable(NetStructure):
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
        samples = self._weighted(X, T, sample_weight)
        _, flat = Gradient(self._network, min(len(samples.T), TOGETHER))(samples)
        return self._network.layout.vector(flat)

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
        _, flat = Gradient(self._network, min(n, TOGETHER))(samples)
        mean = flat / self.dtype.type(n)
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

    # -------------------------------------------------------------------------------------------------- second order

    def hvp(self, X: ArrayLike, T: ArrayLike, v: ArrayLike, sample_weight: ArrayLike | None = None) -> np.ndarray:
        """The Hessian of E times a vector, by the R-operator (Pearlmutter 1994; Bishop, section 4.10.7).

        It takes about three times as long as the gradient, and no more memory than that.

        Parameters
        ----------
        X, T, sample_weight
            As of `gradient`.
        v : array-like (n_parameters,) or (n_parameters, n_vectors)

        Returns
        -------
        ndarray of the shape of v

        Raises
        ------
        ValueError, TypeError, Exception
            As of `gradient`; ValueError too if the net has an activation of your own without `g_second`, or a loss of your own
            without `curvature`.

        Notes
        -----
        At kinks, such as that of relu at 0, the second derivative of the function counts as 0.

        Examples
        --------
        >>> import bpkernel as bp
        >>> net = bp.MLP((1, 1), dtype="float64", random_state=0)
        >>> net.hvp([[2.0]], [5.0], [1.0, 0.0])  # E = ½ (2 w + b - 5)²
        array([4., 2.])
        """
        return self._product(HESSIAN, X, T, v, sample_weight)

    def hessian(self, X: ArrayLike, T: ArrayLike, sample_weight: ArrayLike | None = None) -> np.ndarray:
        """∂²E/∂w∂w' (n_parameters, n_parameters), one `hvp` for each row; arguments and what is raised as there."""
        samples = self._second_order_samples(X, T, sample_weight, of_net=True)
        with self._differentiator(second=True) as d:
            return d.hessian(samples)

    def hessian_diagonal(self, X: ArrayLike, T: ArrayLike, sample_weight: ArrayLike | None = None) -> np.ndarray:
        """The diagonal (n_parameters,) of `hessian`, exactly: it takes as long, but stores no matrix."""
        samples = self._second_order_samples(X, T, sample_weight, of_net=True)
        with self._differentiator(second=True) as d:
            return d.hessian_diagonal(samples)

    def hessian_operator(self, X: ArrayLike, T: ArrayLike, sample_weight: ArrayLike | None = None) -> Any:
        """The Hessian as a `scipy.sparse.linalg.LinearOperator`, for CG, Lanczos and other solvers (needs the extra `scipy`).

        It reads X and T when it is made, and the weights of the net whenever it is applied.  What is raised is as in `hvp`.

        Examples
        --------
        >>> import bpkernel as bp
        >>> from scipy.sparse.linalg import eigsh
        >>> net = bp.MLP((1, 1), dtype="float64", random_state=0)
        >>> eigsh(net.hessian_operator([[2.0]], [5.0]), k=1, return_eigenvectors=False).round(6)
        array([5.])
        """
        return self._operator(HESSIAN, X, T, sample_weight)

    def gauss_newton(self, X: ArrayLike, T: ArrayLike, sample_weight: ArrayLike | None = None) -> np.ndarray:
        """The Gauss-Newton matrix Σ_n s_n J_nᵀ H_n J_n (n_parameters, n_parameters), an approximation of the Hessian.

        J_n are the derivatives of the outputs by the parameters, H_n the second derivatives of E^n by the outputs.  Where Eq. 5
        is δ_k = y_k - t_k (identity with squared_error, softmax with cross_entropy, logistic with binary_cross_entropy, exp
        with poisson), both are those of the pre-activations a_k of the outputs, and the matrix is the Fisher information
        (Martens 2020).  It is positive semi-definite where the loss is convex in the outputs, or in these a_k.

        Arguments are as of `hvp`; only a `curvature` of a loss of your own is needed, not the g_second of activations.

        Notes
        -----
        Beside the result, at most 32 MiB hold rows of J and of H J.
        """
        samples = self._second_order_samples(X, T, sample_weight, of_net=False)
        with self._differentiator(second=True) as d:
            return mirror(d.gauss_newton(samples)[0])

    def gauss_newton_diagonal(self, X: ArrayLike, T: ArrayLike, sample_weight: ArrayLike | None = None) -> np.ndarray:
        """The diagonal (n_parameters,) of `gauss_newton`, without the matrix."""
        samples = self._second_order_samples(X, T, sample_weight, of_net=False)
        with self._differentiator(second=True) as d:
            return d.gauss_newton(samples, "diagonal")[0].copy()

    def gauss_newton_product(
        self, X: ArrayLike, T: ArrayLike, v: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> np.ndarray:
        """`gauss_newton` times a vector or some vectors, without the matrix; arguments as of `hvp` (Schraudolph 2002)."""
        return self._product(GAUSS_NEWTON, X, T, v, sample_weight)

    def gauss_newton_operator(self, X: ArrayLike, T: ArrayLike, sample_weight: ArrayLike | None = None) -> Any:
        """`gauss_newton` as a `scipy.sparse.linalg.LinearOperator`, see `hessian_operator`."""
        return self._operator(GAUSS_NEWTON, X, T, sample_weight)

    # ---------------------------------------------------------------------------------------------------- error bars

    def laplace(
        self,
        X: ArrayLike,
        T: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        curvature: Literal["gauss_newton", "hessian"] = "gauss_newton",
        structure: Structure = "full",
        prior_precision: float | None = None,
        noise_precision: float | None = None,
    ) -> LaplacePosterior:
        """The posterior distribution of the weights around those that the net was trained to, for error bars.

        Parameters
        ----------
        X, T, sample_weight
            The samples that the net was trained with, as of `fit`.  A weight counts like that many samples.
        curvature : {"gauss_newton", "hessian"}, default="gauss_newton"
            The second derivatives of the error.  Negative curvatures of the Hessian, in directions where the net is at no
            minimum, count as 0.
        structure : {"full", "layer", "diagonal"}, default="full"
            Whether all weights are correlated, those of a layer, or none.  "full" takes 3 n² numbers of 8 bytes for n
            parameters, and time for the eigenvalues of such a matrix.
        prior_precision : float, default=None
            α > 0.  None: by the evidence procedure (MacKay 1992; Bishop, section 10.4), α = γ / Σ w².
        noise_precision : float, default=None
            β > 0, for squared_error; other losses have 1.  None: β = (N - γ) / Σ_n 2 E^n, with N targets in all.

        Returns
        -------
        LaplacePosterior

        Raises
        ------
        ValueError, TypeError
            If an argument is not as above, if second derivatives of functions of your own are missing (see `hvp` and
            `gauss_newton`), or if there are too few targets to estimate β.

        Notes
        -----
        α and β are estimated at the present weights.  To train with weight decay too, alternate: `fit(..., alpha=α / β)`, then
        `laplace`.  It computes in float64.

        Examples
        --------
        >>> import bpkernel as bp
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> X = rng.uniform(-1, 1, (200, 1))
        >>> T = np.sin(3 * X) + 0.1 * rng.standard_normal(X.shape)
        >>> net = bp.MLP((1, 5, 1), dtype="float64", random_state=0)
        >>> history = net.fit(X, T, epochs=50, optimizer=bp.LevenbergMarquardt(), alpha=0.01)
        >>> posterior = net.laplace(X, T)
        >>> y, std = posterior.predict([[0.0], [3.0]], return_std=True)
        >>> bool(std[0, 0] < 0.12 < std[1, 0])  # about the noise where there are data, more where there are none
        True
        """
        full = self._second_order_samples(X, T, sample_weight, of_net=curvature == "hessian")
        validation.one_of("curvature", curvature, ("gauss_newton", "hessian"))
        validation.one_of("structure", structure, ("full", "layer", "diagonal"))
        for name, value in (("prior_precision", prior_precision), ("noise_precision", noise_precision)):
            if value is not None:
                between(name, value, 0, math.inf, "greater than 0")
        network, samples = self._network.in_float64(), operands.in_float64(full)
        if curvature == "hessian":
            blocks = hessian_blocks(network, samples, structure)
        else:
            blocks = gauss_newton_blocks(network, samples, structure)
        return LaplacePosterior(
            network,
            samples,
            blocks=blocks,
            loss_name=self.loss_name,
            structure=structure,
            prior_precision=prior_precision,
            noise_precision=noise_precision,
        )

    # ------------------------------------------------------------------------------------------------------ in common

    @contextmanager
    def _differentiator(self, *, second: bool = False) -> Iterator[Differentiator]:
        """The net's differentiator, or a new one while another caller uses that."""
        kept = self._network.for_derivatives
        try:
            d = kept.pop(second)
        except KeyError:
            d = Differentiator(self._network, second=second)
        yield d
        kept[second] = d  # not after an exception, which may have left anything in its memory

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

    def _second_order_samples(self, X: Any, T: Any, sample_weight: Any, *, of_net: bool) -> operands.Samples:
        """Samples, if the functions of the net have second derivatives: the loss, and with `of_net` the activations."""
        for activation in self._made_of.activations if of_net else ():
            if isinstance(activation, Activation) and activation.g_second is None:
                raise ValueError(
                    f"second derivatives of the net need the second derivative of activation {activation.name!r}: "
                    "make it with bp.Activation(..., g_second=lambda a, z: ...)"
                )
        loss = self._made_of.loss
        if isinstance(loss, Loss) and loss.curvature is None:
            raise ValueError(
                f"second derivatives need that of loss {loss.name!r}: make it with bp.Loss(..., curvature=lambda y, t: ...)"
            )
        return self._weighted(X, T, sample_weight)

    def _present_only(self, vector: np.ndarray) -> np.ndarray:
        """Set what belongs to absent weights to 0."""
        present = self._network.present
        if present.size:
            vector[~self._network.layout.vector(present)] = 0
        return vector

    def _product(self, kind: int, X: Any, T: Any, v: Any, sample_weight: Any) -> np.ndarray:
        samples = self._second_order_samples(X, T, sample_weight, of_net=kind == HESSIAN)
        v, n = validation.numbers("v", v, self.dtype), self._network.layout.n_parameters
        if v.ndim not in (1, 2) or len(v) != n:
            raise ValueError(f"v must have shape ({n},) or ({n}, n_vectors), as the net has {n} parameters; got {v.shape}")
        with self._differentiator(second=True) as d:
            if v.ndim == 1:
                return d.vector_product(kind, samples, v)
            return np.stack([d.vector_product(kind, samples, column) for column in v.T], axis=1)

    def _operator(self, kind: int, X: Any, T: Any, sample_weight: Any) -> Any:
        linalg = need("scipy.sparse.linalg", "scipy")
        samples = self._second_order_samples(X, T, sample_weight, of_net=kind == HESSIAN)
        samples = samples._replace(**{name: getattr(samples, name).copy() for name in ("X", "X_other", "T", "s")})
        n = self._network.layout.n_parameters

        def matvec(v: np.ndarray) -> np.ndarray:
            with self._differentiator(second=True) as d:
                return d.vector_product(kind, samples, np.asarray(v, self.dtype).ravel())

        return linalg.LinearOperator((n, n), matvec, rmatvec=matvec, dtype=self.dtype)
