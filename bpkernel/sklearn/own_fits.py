"""What the estimators do in fits beyond scikit-learn's: validation data, classes of weight, solvers, callbacks, threads."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from sklearn.utils import check_random_state
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.validation import _check_sample_weight

from bpkernel.sklearn import levenberg_marquardt, own_training
from bpkernel.sklearn.nets import Nets

try:
    from sklearn.callback import CallbackSupportMixin
except ImportError:  # before scikit-learn 1.9

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """There are no callbacks of scikit-learn."""


def stochastic(estimator: Any) -> bool:
    """Whether there is a `partial_fit`; raises AttributeError if not, as scikit-learn does."""
    return bool(estimator._check_solver())


class OwnFits(CallbackSupportMixin, Nets):
    """`fit` and `partial_fit` of both estimators."""

    def fit(
        self, X: Any, y: Any, sample_weight: Any = None, *, X_val: Any = None, y_val: Any = None, sample_weight_val: Any = None
    ) -> Any:
        """Fit the model to data matrix X and target(s) y.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        sample_weight : array-like of shape (n_samples,), default=None
        X_val, y_val : like X and y, default=None
            Validation data: their loss and score after each epoch are in ``validation_loss_curve_`` and
            ``validation_scores_``.  With ``early_stopping=True`` they take the place of the part that is split off.
        sample_weight_val : array-like of shape (n_val_samples,), default=None

        Returns
        -------
        self
        """
        if "_skl_callbacks" in self.__dict__:
            self._given = {"X": X, "y": y, "metadata": None if sample_weight is None else {"sample_weight": sample_weight}}
        try:
            held_back = X_val, y_val, sample_weight_val
            return self._fit_with(held_back, bool(self.warm_start), super().fit, X, y, sample_weight)
        finally:
            self.__dict__.pop("_given", None)

    @contextmanager
    def _shown_to_callbacks(self) -> Iterator[None]:
        """Scikit-learn's callbacks, those of `set_callbacks`, see the beginning and the end of `fit`."""
        data = self.__dict__.get("_given")
        if data is None:
            yield
            return
        context = self._init_callback_context(max_subtasks=0 if self.solver in own_training.ALL_SAMPLES else self.max_iter)
        context.call_on_fit_task_begin(estimator=self, **data)
        yield
        context.call_on_fit_task_end(estimator=self, **data, reconstruction_attributes={})

    def _fit_with(self, held_back: tuple[Any, Any, Any], goes_on: bool, fit: Any, *arguments: Any) -> Any:
        """Call a method that fits, with validation data; if it fails, the estimator is as it was before.

        goes_on: whether it may train the net that there is.
        """
        X_val, y_val, sample_weight_val = held_back
        if (X_val is None) != (y_val is None) or (X_val is None and sample_weight_val is not None):
            raise ValueError("X_val and y_val go together, and sample_weight_val with them")
        before, undo = self.__dict__.copy(), self._undo() if goes_on else None
        if X_val is not None:
            self._held_back = held_back
        try:
            return fit(*arguments)
        except Exception:
            if undo is not None:
                undo()
            self.__dict__.update(before)
            for name in set(self.__dict__) - set(before):
                del self.__dict__[name]
            raise
        finally:
            self.__dict__.pop("_held_back", None)

    def _undo(self) -> Callable[[], None]:
        """A function that restores what training changes in place."""
        own = self.__dict__
        held, theirs, optimizer = own.get("_held"), own.get("_optimizer"), own.get("_own_optimizer")
        curves = [own.get(name) for name in ("loss_curve_", "validation_scores_", "validation_loss_curve_")]
        lengths = [(curve, len(curve)) for curve in curves if curve is not None]
        arrays = [] if held is None else [(a, a.copy()) for a in (held.network.params, held.state, held.steps)]
        settings = [(each, each.__dict__.copy()) for each in (theirs, optimizer) if each is not None]
        state = None if optimizer is None else optimizer.snapshot()

        def undo() -> None:
            for array, copied in arrays:
                array[...] = copied
            for curve, length in lengths:
                del curve[length:]
            for each, values in settings:
                each.__dict__.update(values)
            if optimizer is not None:
                optimizer.restore(state)

        return undo

    def initialize(self, X: Any, y: Any) -> Any:
        """Draw the initial weights, those that `fit` begins with, and do not train.

        X and y show the numbers of inputs and outputs, and the classes.  ``predict`` then works, ``coefs_`` and ``intercepts_``
        may be changed, and with ``warm_start=True`` ``fit`` begins with them.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)

        Returns
        -------
        self
        """
        return self._fit_with((None, None, None), False, self._initialize_only, X, y)

    def _initialize_only(self, X: Any, y: Any) -> Any:
        self._validate_params()
        for name in ("coefs_", "classes_"):
            self.__dict__.pop(name, None)
        X, y = self._validate_input(X, y, incremental=False, reset=True)
        self.__dict__.pop("_input", None)
        y = y.reshape(len(y), -1)
        hidden = self.hidden_layer_sizes
        sizes = [X.shape[1], *(hidden if hasattr(hidden, "__iter__") else [hidden]), y.shape[1]]
        self.n_outputs_, self._random_state = y.shape[1], check_random_state(self.random_state)
        self._initialize(y, sizes, X.dtype)
        self._take()
        return self

    def _is_known_to_scikit_learn(self) -> bool:
        """Whether scikit-learn has this solver."""
        return isinstance(self.solver, str) and self.solver in ("lbfgs", "sgd", "adam")

    def _check_solver(self) -> bool:
        return bool(super()._check_solver()) if self.solver in ("lbfgs", "lm") else True

    def _fit_by_own_solver(self, sample_weight: Any, incremental: bool) -> None:
        """Train by a solver that scikit-learn does not have, on the input that it has checked."""
        X, y = self.__dict__.pop("_input")
        self._refuse_overrides(f"solver={self.solver!r}")
        y = y.reshape(len(y), -1)
        s = None if sample_weight is None else _check_sample_weight(sample_weight, X)
        s = self._with_weights_of_classes(y, s, incremental=incremental)
        if self.solver == "lm":
            levenberg_marquardt.fit(self, X, y, s)
            return
        self._train_as_wanted(X, y, s, incremental)

    def _train_as_wanted(self, X: Any, y: np.ndarray, sample_weight: np.ndarray | None, incremental: bool) -> None:
        """Train with settings that scikit-learn does not have."""
        held = self._taken_for(X, y)
        with held.training:
            own_training.train(self, held, X, y, sample_weight, incremental=incremental)

    def _with_weights_of_classes(self, y: np.ndarray, sample_weight: Any, *, incremental: bool = False) -> Any:
        """The weights of the samples times those of their classes; y is encoded."""
        own = getattr(self, "class_weight", None)
        if own is None:
            return sample_weight
        labels = self._decoded(y)
        if incremental and isinstance(own, dict):  # in one mini-batch some classes may be missing
            own = {**dict.fromkeys(np.unique(labels).tolist(), 1.0), **own}
        weights: np.ndarray = compute_sample_weight(own, labels)
        return weights if sample_weight is None else weights * sample_weight
