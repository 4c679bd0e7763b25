"""Optimizers that use all samples in each step: Levenberg-Marquardt and L-BFGS.

They minimise an objective, Σ_n s_n E^n + ½ alpha Σ w² as a function of a vector x of the weights that are present, in float64:

    x                  the present vector (n,)
    error              its objective, a float
    total              Σ_n s_n
    error_at(x)        the objective there; Inf if it is not finite
    gradient_at(x)     the same, and its gradient (n,)
    quadratic()        at the present x: Jᵀ H J + alpha (n, n), of which the upper triangle is right, and the gradient (n,)
    move(x, error)     make x the present vector

    step(objective)    one step; returns None, or why no further step is possible
"""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from bpkernel.functions.optimizer import Optimizer
from bpkernel.functions.settings import between, not_negative, positive
from bpkernel.runtime.silence import no_warnings


class FullBatch(Optimizer):
    """Base of the optimizers that use all samples in each step."""

    n_slots: ClassVar[int] = 0
    n_factors: ClassVar[int] = 0

    _memory: Any = None  # what one step leaves to the next

    def step(self, objective: Any) -> str | None:
        """Make one step; returns None, or why no further step is possible."""
        raise NotImplementedError

    def reset(self) -> None:
        """Clear the state, as in a new optimizer."""
        self._memory = None

    def snapshot(self, copied: Any = None) -> Any:
        """The state, for `restore`; steps replace it and do not change it."""
        return self._memory

    def restore(self, snapshot: Any) -> None:
        """Go back to the state of a `snapshot`."""
        self._memory = snapshot


@dataclass
class LevenbergMarquardt(FullBatch):
    """The method of Levenberg and Marquardt (Marquardt 1963; for nets Hagan and Menhaj 1994), called trainlm in MATLAB.

    Each step solves (Jᵀ H J + μ 1) step = -gradient, with the Gauss-Newton matrix of `MLP.gauss_newton` plus alpha for weights.
    A step that lowers the error is accepted and μ is multiplied by `decrease`; otherwise μ is multiplied by `increase` until
    one does.  These defaults, rather than trainlm's 10 and 0.1, reached low losses 1.5 to 6 times as soon.  The method is for
    nets of up to a few thousand weights: memory for n weights is 2 n² numbers of 8 bytes, time for each
    step ½ n_samples · n_outputs · n² multiplications, and n³ / 6 for the solution.  It needs SciPy (the extra `scipy`).

    `MLP.fit` computes in float64 whatever the dtype of the net, one step an epoch, and ignores `batch_size` and `shuffle`.

    Parameters
    ----------
    damping : float, default=0.03
        μ of the first step, > 0, relative to the largest element of the diagonal of the matrix.
    increase : float, default=3.0
        > 1.
    decrease : float, default=0.3
        0 < decrease < 1.
    max_damping : float, default=1e10
        Training stops when μ is larger, likewise relative: no step lowers the error.
    min_gradient : float, default=1e-7
        Training stops when no component of the gradient of the mean error is larger in size.

    Raises
    ------
    ValueError, TypeError
        If a setting is out of its range or not a number.  `fit` raises ValueError if the second derivative of the loss is
        positive for no sample, as that of absolute_error, quantile and hinge, which is 0.

    Examples
    --------
    >>> import bpkernel as bp
    >>> import numpy as np
    >>> X = np.linspace(-1, 1, 100)[:, None]
    >>> net = bp.MLP((1, 10, 1), dtype="float64", random_state=0)
    >>> history = net.fit(X, np.sin(4 * X), epochs=100, optimizer=bp.LevenbergMarquardt())
    >>> net.loss(X, np.sin(4 * X)) < 1e-4
    True
    """

    damping: float = 0.03
    increase: float = 3.0
    decrease: float = 0.3
    max_damping: float = 1e10
    min_gradient: float = 1e-7

    def _check(self) -> None:
        positive("damping", self.damping)
        between("increase", self.increase, 1, math.inf, "greater than 1")
        between("decrease", self.decrease, 0, 1, "between 0 and 1")
        positive("max_damping", self.max_damping)
        not_negative("min_gradient", self.min_gradient)

    def step(self, objective: Any) -> str | None:
        """Make one step; returns None, "gradient" or "damping" (see `History.stop_reason`)."""
        from scipy.linalg.lapack import dposv

        matrix, gradient = objective.quadratic()
        if np.abs(gradient).max() <= self.min_gradient * objective.total:
            return "gradient"
        largest = float(np.diagonal(matrix).max())
        if not (math.isfinite(largest) and np.isfinite(gradient).all()):
            return "damping"
        if largest <= 0:
            raise ValueError(
                "LevenbergMarquardt needs a loss whose second derivative by the outputs is positive for some samples, such as "
                "squared_error; here it is for none: use LBFGS or Adam, or another loss"
            )
        damping = self.damping * largest if self._memory is None else self._memory
        damped = np.empty_like(matrix, order="C")
        diagonal = damped.reshape(-1)[:: len(damped) + 1]
        while damping <= self.max_damping * largest:
            np.copyto(damped, matrix)
            diagonal += damping
            _, step, failed = dposv(damped.T, gradient, lower=1, overwrite_a=1)
            x = objective.x - step
            error = math.inf if failed else objective.error_at(x)
            if error < objective.error:
                objective.move(x, error)
                self._memory = max(damping * self.decrease, np.finfo(float).tiny)
                return None
            damping *= self.increase
        return "damping"


@dataclass
class LBFGS(FullBatch):
    """The limited-memory method of Broyden, Fletcher, Goldfarb and Shanno (Nocedal and Wright 2006, algorithm 7.5).

    Each step follows -H gradient, where H approximates the inverse of the Hessian by the last steps, to a point that fulfils
    the strong Wolfe conditions.  It needs SciPy (the extra `scipy`).

    `MLP.fit` computes in float64 whatever the dtype of the net, one step an epoch, and ignores `batch_size` and `shuffle`.

    Parameters
    ----------
    history_size : int, default=10
        The steps that H is made of, ≥ 1.
    min_gradient : float, default=1e-5
        Training stops when no component of the gradient of the mean error is larger in size.
    max_evaluations : int, default=20
        Evaluations of the error along one direction, ≥ 1.

    Raises
    ------
    ValueError, TypeError
        If a setting is out of its range or not a number.

    Examples
    --------
    >>> import bpkernel as bp
    >>> net = bp.MLP((2, 8, 1), output_activation="logistic", loss="binary_cross_entropy", dtype="float64", random_state=0)
    >>> X, T = [[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0]
    >>> history = net.fit(X, T, epochs=100, optimizer=bp.LBFGS())
    >>> net.predict(X).round().ravel()
    array([0., 1., 1., 0.])
    """

    history_size: int = 10
    min_gradient: float = 1e-5
    max_evaluations: int = 20

    def _check(self) -> None:
        for name in ("history_size", "max_evaluations"):
            value = getattr(self, name)
            if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
                raise TypeError(f"{name} must be an integer of at least 1; got {value!r}")
            between(name, int(value), 1, math.inf, "of at least 1", with_low=True)
        not_negative("min_gradient", self.min_gradient)

    def step(self, objective: Any) -> str | None:
        """Make one step; returns None, "gradient" or "line search" (see `History.stop_reason`)."""
        x, size = objective.x, objective.total
        value, gradient = objective.gradient_at(x)
        if np.abs(gradient).max() <= self.min_gradient * size:
            return "gradient"
        pairs = self._memory or ()
        if pairs and len(pairs[0][0]) != len(x):
            pairs = ()  # of another net, or weights have been pruned
        found = self._search(objective, x, value, gradient, self._direction(pairs, gradient))
        if found is None and pairs:
            pairs = ()
            found = self._search(objective, x, value, gradient, self._direction(pairs, gradient))
        if found is None:
            return "line search"
        new_x, new_value, new_gradient = found
        moved, changed = new_x - x, new_gradient - gradient
        if moved @ changed > np.finfo(float).eps * (changed @ changed):
            pairs = (*pairs, (moved, changed))[-self.history_size :]
        objective.move(new_x, new_value)
        self._memory = pairs
        return None

    @staticmethod
    def _direction(pairs: Any, gradient: np.ndarray) -> np.ndarray:
        """-H gradient by the two loops of algorithm 7.4; without pairs, steepest descent of at most unit length."""
        q, factors = gradient.copy(), []
        if not pairs:
            return -q / max(1.0, float(np.linalg.norm(q)))
        for moved, changed in reversed(pairs):
            factor = (moved @ q) / (moved @ changed)
            q -= factor * changed
            factors.append(factor)
        moved, changed = pairs[-1]
        q *= (moved @ changed) / (changed @ changed)
        for (moved, changed), factor in zip(pairs, reversed(factors), strict=True):
            q += (factor - (changed @ q) / (moved @ changed)) * moved
        return -q

    def _search(self, objective: Any, x: np.ndarray, value: float, gradient: np.ndarray, direction: np.ndarray) -> Any:
        """(x, objective, gradient) at a point along a direction that fulfils the Wolfe conditions, or None."""
        from scipy.optimize import line_search

        known = {x.tobytes(): (value, gradient)}

        def at(x: np.ndarray) -> tuple[float, np.ndarray]:
            key = x.tobytes()
            if key not in known:
                known[key] = objective.gradient_at(x)
            return known[key]

        with no_warnings(), np.errstate(all="ignore"):  # such as that it has not converged
            length = line_search(
                lambda x: at(x)[0], lambda x: at(x)[1], x, direction, gradient, value, maxiter=self.max_evaluations
            )[0]
        if length is None:
            return None
        new_x = x + length * direction
        return new_x, *at(new_x)


FULL_BATCH: tuple[type[Any], ...] = (LevenbergMarquardt, LBFGS)
