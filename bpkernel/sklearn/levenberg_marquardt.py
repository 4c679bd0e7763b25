"""The solver `lm` of the estimators, which scikit-learn does not have."""

import math
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import _check_sample_weight

from bpkernel.callback import Function
from bpkernel.full_batch import LevenbergMarquardt
from bpkernel.full_batch_training import FullBatchTraining
from bpkernel.history import History
from bpkernel.kernels.regularisation import regularisation
from bpkernel.sklearn.coefficients import samples
from bpkernel.sklearn.rules import refuse_no_weight, warn


def fit(estimator: Any, X: Any, y: np.ndarray, sample_weight: Any) -> None:
    """Train the net of an estimator until the loss no longer improves by `tol`; X and y are checked."""
    held = estimator._taken_for(X, y)
    network = held.network
    X = X.toarray() if hasattr(X, "toarray") else X
    s = None if sample_weight is None else _check_sample_weight(sample_weight, X, dtype=X.dtype)
    refuse_no_weight(s)
    seen = samples(X, y, s, network)
    curve: list[float] = []
    divided, total = estimator._loss_divided(y), float(np.sum(seen.s, dtype=np.float64))
    lowest, waited = math.inf, 0

    def penalty() -> float:
        return 0.5 * estimator.alpha * sum(float(np.square(w).sum()) for w in network.weights) / total

    before = penalty()

    def watch(history: History) -> bool:
        nonlocal lowest, waited, before
        curve.append(history.loss[-1] / divided + before)  # both as before the step
        before = penalty()
        if estimator.verbose:
            print(f"Iteration {len(curve)}, loss = {curve[-1]:.8f}")
        waited = waited + 1 if curve[-1] > lowest - estimator.tol else 0
        lowest = min(lowest, curve[-1])
        estimator.n_iter_, estimator.loss_, estimator.loss_curve_ = len(curve), curve[-1], curve
        return waited > estimator.n_iter_no_change

    penalty_of = regularisation(network.layout, float(estimator.alpha))
    own: tuple[Any, ...] = network, LevenbergMarquardt(), len(y), penalty_of, np.random.default_rng(0)
    try:
        with held.training:
            FullBatchTraining(*own).run(seen, None, estimator.max_iter, callbacks=[Function(watch, of_history=True)])
    except KeyboardInterrupt:
        warn("Training interrupted by user.")
        return
    estimator.best_loss_ = lowest
    if estimator.n_iter_ == estimator.max_iter and waited <= estimator.n_iter_no_change:
        warn(
            f"lm: Maximum iterations ({estimator.max_iter}) reached and the optimization hasn't converged yet.",
            ConvergenceWarning,
        )
