"""Validation data of an estimator: their checks, and their loss, score and metrics after each epoch."""

import copy
import inspect
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from sklearn.base import is_classifier
from sklearn.metrics import check_scoring
from sklearn.utils.validation import _check_sample_weight, check_array, check_consistent_length, validate_data

from bpkernel.history import History
from bpkernel.kernels import operands
from bpkernel.metrics import name_of
from bpkernel.sklearn.coefficients import Coefficients, samples
from bpkernel.sklearn.losses import check_targets, n_outputs_of_a_target


def checked(estimator: Any, X: Any, y: Any, sample_weight: Any) -> tuple[Any, np.ndarray, Any]:
    """`X_val`, `y_val` and `sample_weight_val` as arrays, after the checks that scikit-learn makes of X and y."""
    X = validate_data(estimator, X, accept_sparse=["csr", "csc"], dtype=[np.float64, np.float32], reset=False)
    y = check_array(y, accept_sparse="csr", ensure_2d=False, dtype=None, input_name="y_val")
    y = y.toarray() if hasattr(y, "toarray") else y
    check_consistent_length(X, y)
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    n_targets = _n_targets(estimator)
    if y.shape != (len(y), n_targets) and not (y.ndim == n_targets == 1):
        expected = "(n_samples,)" if n_targets == 1 else f"(n_samples, {n_targets})"
        raise ValueError(f"y_val must have shape {expected}, as y has; got {y.shape}")
    if not is_classifier(estimator):
        y = y.astype(np.float64 if y.dtype.kind not in "iuf" else y.dtype, copy=False)
        check_targets(estimator.loss, y, X.dtype, "y_val")
    elif y.ndim == 1:
        unknown = np.setdiff1d(y, estimator.classes_).tolist()
        if unknown:
            raise ValueError(f"y_val has classes that y does not have: {unknown}; y has {estimator.classes_.tolist()}")
    s = None if sample_weight is None else _check_sample_weight(sample_weight, X, dtype=X.dtype)
    if s is not None and s.sum() == 0:
        raise ValueError("sample_weight_val must not add up to 0")
    return X, y, s


def _n_targets(estimator: Any) -> int:
    """The columns of y as users pass it."""
    if is_classifier(estimator):
        return len(estimator.classes_) if estimator._label_binarizer.y_type_.startswith("multilabel") else 1
    return int(estimator.n_outputs_) // n_outputs_of_a_target(estimator.loss)


def scorers_of(estimator: Any) -> dict[str, Any]:
    """The `metrics` of an estimator by their names.

    Raises
    ------
    ValueError, TypeError
        If one is neither the name of a scorer nor a scorer, or two have one name.
    """
    metrics = estimator.metrics
    given = [] if metrics is None else [metrics] if isinstance(metrics, str) or callable(metrics) else list(metrics)
    found: dict[str, Any] = {}
    for each in given:
        if not (isinstance(each, str) or callable(each)):
            raise TypeError(
                f"metrics must be names of scikit-learn's scorers, or functions scorer(estimator, X, y), as of `make_scorer`; "
                f"got {each!r}"
            )
        scorer = check_scoring(estimator, scoring=each)
        name = each if isinstance(each, str) else name_of(scorer)
        if name in found:
            raise ValueError(f"metrics must have different names; got {name!r} twice")
        found[name] = scorer
    return found


class HeldBack:
    """Validation data of an estimator: inputs X, and labels or targets y as users pass them; scorers: by their names.

    seen: X as the user has passed it; None if it is a part of the training data.
    """

    def __init__(
        self,
        estimator: Any,
        X: Any,
        y: Any,
        sample_weight: Any,
        held: Coefficients,
        scorers: Mapping[str, Any] = MappingProxyType({}),
        seen: Any = None,
    ):
        self._X, self._y, self._sample_weight, self._seen = X, y, sample_weight, seen
        self._estimator, self._held, self._scorers = estimator, held, scorers
        T = estimator._encoded(y)
        self._samples: operands.Samples = samples(X, T, sample_weight, held.network)
        self._divided = estimator._loss_divided(T)

    @property
    def figures(self) -> list[str]:
        """The names that `monitor` has for the figures."""
        return ["val_loss", "val_score", *(f"val_{name}" for name in self._scorers)]

    def loss(self) -> float:
        """The mean loss, without the penalty."""
        return self._held.network.mean_error(self._samples) / self._divided

    def __call__(self, history: History) -> None:
        """Add the figures of an epoch to the history."""
        history.validation_loss.append(self.loss())
        score = float(self._estimator._score(self._X, self._y, sample_weight=self._sample_weight))
        history.metrics.setdefault("val_score", []).append(score)
        for name, scorer in self._scorers.items():
            history.metrics.setdefault(f"val_{name}", []).append(self._metric(scorer))

    def _metric(self, scorer: Any) -> float:
        estimator, X, weights = self._estimator, self._seen, {}
        if X is None:
            X = self._X
            if "feature_names_in_" in estimator.__dict__:  # scikit-learn would warn that X has none
                estimator = copy.copy(estimator)
                del estimator.feature_names_in_
        if self._sample_weight is not None:
            parameters = inspect.signature(getattr(scorer, "_score_func", scorer)).parameters
            weights = {"sample_weight": self._sample_weight} if "sample_weight" in parameters else {}
        return float(scorer(estimator, X, self._y, **weights))
