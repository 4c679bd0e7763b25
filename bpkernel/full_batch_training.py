"""Training with all samples in each step: the objective of Levenberg-Marquardt and L-BFGS, and their epochs."""

import math
import time
from collections.abc import Callable

import numpy as np

from bpkernel.derivatives import TOGETHER, Gradient
from bpkernel.differentiator import Differentiator
from bpkernel.epochs import Orders
from bpkernel.extras import need
from bpkernel.full_batch import FullBatch, LevenbergMarquardt
from bpkernel.functions.custom import need_curvature
from bpkernel.kernels import operands
from bpkernel.kernels.regularisation import Regularisation
from bpkernel.network import Inference, Network
from bpkernel.training import Training

# Samples for each thread: those of one call after the other are awake.  The errors of 2,000 samples of 4-10-1 take 40 µs on two
# threads, and 60 on one (Zen 5).
WORTH_A_THREAD = 500


class FullBatchObjective:
    """Σ_n s_n E^n + ½ alpha Σ w² of a net, as a function of its present weights; see `full_batch`.

    It computes in float64, with a net of its own, so that a step which is interrupted or refused leaves no trace.
    """

    def __init__(self, network: Network, samples: operands.Samples, alpha: float, *, quadratic: bool):
        need("scipy.optimize", "scipy")
        if quadratic:
            need_curvature(network.loss)
        self._network, self._alpha, self._quadratic = network, alpha, quadratic
        self._own, self._samples = network.in_float64(), operands.in_float64(samples)
        s = self._samples.s
        self.total, self._weighted = float(s.sum()), s > 0
        self._all = bool(self._weighted.all())
        self._e = np.empty(len(s))
        self.load()

    def load(self) -> None:
        """Take over the weights of the net, and which of them are present."""
        layout, own = self._network.layout, self._own
        if self._network.present.size:
            own.keep_only(layout.weights(self._network.present))
        self._present = own.present_places()
        self._places, self._own_places = layout.positions()[self._present], own.layout.positions()[self._present]
        self._decay = np.where(self._present < layout.n_weights, self._alpha, 0.0)
        n = len(self._e)
        self._inference, self._gradient = Inference(own, n, n // WORTH_A_THREAD), Gradient(own, min(n, TOGETHER))
        self._differentiator = Differentiator(own, second=True) if self._quadratic else None
        self.x, self._written = self._network.params[self._places].astype(np.float64), self._network.params.copy()
        self.error = self.error_at(self.x)

    def _set(self, x: np.ndarray) -> float:
        """Give the own net the weights x; returns ½ alpha Σ w²."""
        self._own.params[self._own_places] = x
        return 0.5 * float(self._decay @ (x * x))

    def error_at(self, x: np.ndarray) -> float:
        penalty = self._set(x)
        self._inference.run(self._samples, self._samples.T[:0], self._e)
        error = float(self._samples.s @ (self._e if self._all else np.where(self._weighted, self._e, 0))) + penalty
        return error if math.isfinite(error) else math.inf

    def gradient_at(self, x: np.ndarray) -> tuple[float, np.ndarray]:
        penalty = self._set(x)
        error, flat = self._gradient(self._samples)
        gradient = flat[self._own_places] + self._decay * x
        finite = math.isfinite(error) and bool(np.isfinite(gradient).all())
        return (error + penalty if finite else math.inf), gradient

    def quadratic(self) -> tuple[np.ndarray, np.ndarray]:
        assert self._differentiator is not None
        self._set(self.x)
        matrix, gradient = self._differentiator.gauss_newton(self._samples)
        if len(self._present) < len(gradient):
            matrix, gradient = matrix[np.ix_(self._present, self._present)], gradient[self._present]
        if self._alpha > 0:
            places = np.arange(len(gradient))
            matrix[places, places] += self._decay
            gradient = gradient + self._decay * self.x
        return matrix, gradient

    def move(self, x: np.ndarray, error: float) -> None:
        self.x, self.error = x, error

    def mean_error(self) -> float:
        """Σ_n s_n E^n at the present x, without the penalty."""
        return self.error - 0.5 * float(self._decay @ (self.x * self.x))

    def store(self) -> None:
        """Give the net the present weights."""
        self._network.params[self._places] = self.x  # all at once: an interrupt finds the weights before or after the step
        np.copyto(self._written, self._network.params)

    def refresh(self) -> None:
        """Take over weights that someone else has changed since the last step."""
        if not np.array_equal(self._network.params, self._written):
            self.load()


class FullBatchEpochs:
    """Epochs of one step each, in the place of `training.Epochs`."""

    def __init__(self, optimizer: FullBatch, objective: FullBatchObjective, n_samples: int):
        self._optimizer, self._objective, self._n_samples = optimizer, objective, n_samples
        self.seconds, self.sums = 0.0, np.zeros(3)
        self.finished: str | None = None

    def next(self, most: int, on_part: Callable[[slice, np.ndarray], None], *done: object) -> np.ndarray:
        """The sum Σ_n s_n E^n before the step of the next epoch, as the first of three sums."""
        start = time.perf_counter()
        self._objective.refresh()
        sums = np.array([self._objective.mean_error(), 0.0, 0.0])
        on_part(slice(0, self._n_samples), sums)
        self.finished = self._optimizer.step(self._objective)
        self._objective.store()
        self.seconds = time.perf_counter() - start
        return sums


class FullBatchTraining(Training):
    """One fit of a net with all samples in each step; see `Training`."""

    optimizer: FullBatch

    def _bind(self, regularised: Regularisation) -> None:
        self._alpha = regularised.alpha

    def _epochs(self, samples: operands.Samples, orders: Orders | None, *, ahead: bool) -> FullBatchEpochs:
        quadratic = isinstance(self.optimizer, LevenbergMarquardt)
        objective = FullBatchObjective(self.network, samples, self._alpha, quadratic=quadratic)
        return FullBatchEpochs(self.optimizer, objective, len(samples.T))

    def _take_over(self, settings: np.ndarray) -> None:
        pass  # the optimizer reads its own

    def _end(self) -> None:
        pass

    def _hint(self) -> str:
        return "Standardise X and T, or draw smaller initial weights"
