"""The attributes, messages and stopping rules of scikit-learn's estimators, as a callback of the training."""

import math
from typing import Any

from bpkernel.callback import Callback, Run, mode_of
from bpkernel.sklearn import optimizers
from bpkernel.sklearn.coefficients import Coefficients
from bpkernel.sklearn.validation_data import HeldBack

WORDS = {"loss": "Training loss", "val_score": "Validation score"}  # in messages


def monitored(estimator: Any, held_back: HeldBack | None) -> str:
    """What the rule to stop looks at; raises ValueError if there will be no such figure."""
    figures = ["loss", *([] if held_back is None else held_back.figures)]
    name: str = estimator.monitor or ("val_score" if estimator.early_stopping else "loss")
    if name not in figures:
        more = "" if held_back else "; others need validation data: early_stopping=True, or X_val and y_val in fit"
        raise ValueError(f"monitor must be one of {', '.join(figures)}; got {name!r}{more}")
    return name


class ScikitLearnRules(Callback):
    """The attributes, messages and stopping rules of scikit-learn's estimators.

    n_divided: by which the loss is divided;  theirs: scikit-learn's object for sgd and adam, whose rules for the learning rate
    hold, otherwise None.
    """

    def __init__(
        self,
        estimator: Any,
        held: Coefficients,
        n_divided: int,
        held_back: HeldBack | None,
        theirs: Any,
        *,
        incremental: bool,
    ):
        self._estimator, self._held, self._n_divided, self._held_back = estimator, held, n_divided, held_back
        self._theirs, self._incremental, self.stopped = theirs, incremental, False
        self._monitor = monitored(estimator, held_back)
        self._sign = -1.0 if mode_of(self._monitor) == "max" else 1.0
        # the best value so far, which remains for a warm start
        usual = {("loss", False): "best_loss_", ("val_score", True): "best_validation_score_"}
        in_parts = incremental and estimator.early_stopping  # scikit-learn has no such thing
        self._best = "_best_monitored" if in_parts else usual.get((self._monitor, estimator.early_stopping), "_best_monitored")

    def begin(self, run: Run) -> None:
        own = self._estimator
        own.n_iter_, own.history_ = 0, run.history
        if self._held_back is not None:
            own.validation_loss_curve_ = own.__dict__.get("validation_loss_curve_") or []
            own.validation_scores_ = own.validation_scores_ or []
        anew = own.__dict__.get("_monitored") != self._monitor
        if self._incremental and "early_stopped_" not in own.__dict__:
            own.early_stopped_, anew = False, True  # what `fit` has seen was other data
        if anew:
            own._monitored, own._best_monitored = self._monitor, None

    def epoch(self, run: Run) -> None:
        own, history, sums = self._estimator, run.history, run.sums
        own.n_iter_ += 1
        own.t_ += history.n_samples
        own.loss_ = float((sums[1] / self._n_divided + sums[2]) / history.n_samples)
        own.loss_curve_.append(own.loss_)
        if own.verbose:
            print(f"Iteration {own.n_iter_}, loss = {own.loss_:.8f}")
        value = own.loss_ if self._monitor == "loss" else run.value(self._monitor)
        if self._held_back is not None:
            own.validation_loss_curve_.append(history.validation_loss[-1])
            own.validation_scores_.append(history.metrics["val_score"][-1])
            if own.verbose:
                print(f"Validation score: {own.validation_scores_[-1]:f}")
        if own.verbose and self._monitor not in WORDS:
            print(f"{self._monitor} = {value:f}")
        self._count(run, value)
        if self._theirs is not None:
            optimizers.end_epoch(self._theirs, run.optimizer, own.t_)
        if own._no_improvement_count > own.n_iter_no_change:
            self._stop(run)

    def _count(self, run: Run, value: float) -> None:
        """Count epochs without improvement."""
        own = self._estimator
        best = getattr(own, self._best, None)
        best, lower = math.inf if best is None else self._sign * best, self._sign * value  # low values are good
        own._no_improvement_count = own._no_improvement_count + 1 if lower > best - own.tol else 0
        if self._held_back is not None:
            score, highest = own.validation_scores_[-1], own.best_validation_score_
            own.best_validation_score_ = score if highest is None or score > highest else highest
        if lower < best:
            setattr(own, self._best, value)
            if own.early_stopping:
                run.history.best_epoch = run.epoch - 1
                own._keep_best()
        if not own.early_stopping:
            own.best_loss_ = own.loss_ if own.best_loss_ is None else min(own.loss_, own.best_loss_)

    def _stop(self, run: Run) -> None:
        own, optimizer = self._estimator, run.optimizer
        what = WORDS.get(self._monitor, self._monitor)
        message = f"{what} did not improve more than tol={own.tol:f} for {int(own.n_iter_no_change)} consecutive epochs."
        if self._theirs is None:
            if own.verbose:
                print(f"{message} Stopping.")
        elif not optimizers.may_stop(self._theirs, optimizer, message, own.verbose):
            own._no_improvement_count = 0
            return
        self.stopped = True
        if self._incremental:
            own.early_stopped_ = own.early_stopping
        run.stop()

    def end(self, run: Run, *, failed: bool) -> None:
        own = self._estimator
        whole = own.early_stopped_ if self._incremental else own.early_stopping
        if whole and not failed and own._best_coefs is not own.coefs_:
            own._go_back_to_best(self._held)
