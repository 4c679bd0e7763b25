"""Second derivatives of a net and error bars, as its users see them."""

from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from bpkernel import validation
from bpkernel.differentiable import Differentiable
from bpkernel.differentiator import BlockStructure, mirror
from bpkernel.extras import need
from bpkernel.functions.custom import Activation, need_curvature
from bpkernel.functions.settings import positive
from bpkernel.kernels import operands
from bpkernel.kernels.tangents import GAUSS_NEWTON, HESSIAN
from bpkernel.laplace import LaplacePosterior, gauss_newton_blocks, hessian_blocks


class SecondOrder(Differentiable):
    """Base of `MLP`: second derivatives of E = Σ_n s_n E^n, at the present weights, and the posterior that they give."""

    def hvp(self, X: ArrayLike, T: ArrayLike, v: ArrayLike, sample_weight: ArrayLike | None = None) -> np.ndarray:
        """The Hessian of E times a vector, by the R-operator (Pearlmutter 1994; Bishop, section 4.10.7).

        It takes about twice as long as the gradient, and stores no matrix.

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
        Beside the result, memory holds one more such matrix, and at most 32 MiB of rows of J and of H J.
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
        structure: BlockStructure = "full",
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
            Whether all weights are correlated, those of a layer, or none.  "full" takes up to 7 n² numbers of 8 bytes for n
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
        if noise_precision is not None and self.loss_name != "squared_error":
            raise ValueError(f"noise_precision is for squared_error; the loss {self.loss_name!r} has no noise to set it of")
        for name, value in (("prior_precision", prior_precision), ("noise_precision", noise_precision)):
            if value is not None:
                positive(name, value)
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

    def _second_order_samples(self, X: Any, T: Any, sample_weight: Any, *, of_net: bool) -> operands.Samples:
        """Samples, if the functions of the net have second derivatives: the loss, and with `of_net` the activations."""
        for activation in self._made_of.activations if of_net else ():
            if isinstance(activation, Activation) and activation.g_second is None:
                raise ValueError(
                    f"second derivatives of the net need the second derivative of activation {activation.name!r}: "
                    "make it with bp.Activation(..., g_second=lambda a, z: ...)"
                )
        need_curvature(self._made_of.loss)
        return self._weighted(X, T, sample_weight)

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
