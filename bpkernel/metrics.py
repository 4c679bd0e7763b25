"""Metrics of a fit: scikit-learn's scorers and functions, applied to a net that is being trained."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from bpkernel.extras import need
from bpkernel.history import History

CLASSES = ("distribution", "probability", "sign")  # kinds of targets that are classes


def is_classification(loss: Any) -> bool:
    """Whether the targets of a loss are classes."""
    return loss.targets in CLASSES


def classes_of(loss: Any, numbers: np.ndarray) -> np.ndarray:
    """Class indices from targets or outputs (n_samples, n_targets); with several independent targets one for each (0 or 1)."""
    if loss.targets == "distribution":
        return numbers.argmax(axis=1)
    labels = (numbers > (0 if loss.targets == "sign" else 0.5)).astype(int)
    return labels[:, 0] if labels.shape[1] == 1 else labels


def values_of(loss: Any, numbers: np.ndarray) -> np.ndarray:
    """What metrics see of targets or outputs (n_samples, n_targets): class indices, or numbers, (n_samples,) of one target."""
    if is_classification(loss):
        return classes_of(loss, numbers)
    return numbers[:, 0] if numbers.shape[1] == 1 else numbers


def named(metrics: Any) -> dict[str, Callable[..., float]]:
    """The metrics of `fit` by their names: scikit-learn's scorers, and functions of true and predicted values.

    Raises
    ------
    TypeError, ValueError
        If one is neither the name of a scorer nor a function, or two have one name.
    """
    given = [metrics] if isinstance(metrics, str) or callable(metrics) else list(metrics)
    found: dict[str, Callable[..., float]] = {}
    for metric in given:
        if isinstance(metric, str):
            scoring = need("sklearn.metrics", "sklearn")
            if metric not in scoring.get_scorer_names():
                raise ValueError(f"metrics must be names of scikit-learn's scorers or functions; got {metric!r}")
            name, function = metric, scoring.get_scorer(metric)
        elif callable(metric):
            name, function = name_of(metric), metric
        else:
            raise TypeError(f"metrics must be names of scikit-learn's scorers or functions; got {metric!r}")
        if name in found:
            raise ValueError(f"metrics must have different names; got {name!r} twice")
        found[name] = function
    return found


def name_of(metric: Callable[..., float]) -> str:
    """The name of a function or of a scorer of `make_scorer`: "neg_..." if that is a loss with its sign changed."""
    function = getattr(metric, "_score_func", metric)
    sign = "neg_" if getattr(metric, "_sign", 1) < 0 else ""
    return sign + str(getattr(function, "__name__", type(metric).__name__))


class Metrics:
    """Metrics of a net on some samples, for the history of its fit.

    net: with `predict`;  loss: its loss;  functions: as of `named`;  X, T: the samples;  prefix: of the names in the history.
    """

    def __init__(
        self,
        predict: Callable[[Any], np.ndarray],
        loss: Any,
        functions: dict[str, Callable[..., float]],
        X: np.ndarray,
        T: np.ndarray,
        prefix: str,
    ):
        self._predict, self._loss, self._functions, self._X, self._prefix = predict, loss, functions, X, prefix
        self._truth = values_of(loss, T)

    def __call__(self, history: History) -> None:
        """Add the values to the history."""
        y = self._predict(self._X)
        for name, function in self._functions.items():
            if hasattr(function, "_score_func"):
                value = function(scored(self._loss, y), self._X, self._truth)
            else:
                value = function(self._truth, values_of(self._loss, y))
            history.metrics.setdefault(self._prefix + name, []).append(float(value))


def scored(loss: Any, y: np.ndarray) -> Any:
    """An estimator of scikit-learn whose predictions are the outputs y, for a scorer."""
    base = need("sklearn.base", "sklearn")

    class Regressor(base.RegressorMixin, base.BaseEstimator):  # type: ignore[name-defined]
        is_fitted_ = True

        def predict(self, X: Any) -> np.ndarray:
            return values_of(loss, y)

    class Classifier(base.ClassifierMixin, base.BaseEstimator):  # type: ignore[name-defined]
        is_fitted_ = True
        classes_ = np.arange(max(2, y.shape[1]))

        def predict(self, X: Any) -> np.ndarray:
            return values_of(loss, y)

        def predict_proba(self, X: Any) -> np.ndarray:
            if loss.targets == "sign":
                raise ValueError(f"{loss.name} has no probabilities; choose a metric of the predicted classes")
            return np.column_stack([1 - y, y]) if y.shape[1] == 1 else y

    return Classifier() if is_classification(loss) else Regressor()


def monitored(monitor: str | None, metrics: Sequence[str], *, validated: bool) -> str:
    """The name of what `fit` monitors; raises ValueError if there is no such figure."""
    figures = ["loss", "val_loss", *(f"val_{name}" for name in metrics)] if validated else ["loss", *metrics]
    name = ("val_loss" if validated else "loss") if monitor is None else monitor
    if name not in figures:
        more = "" if validated or not str(name).startswith("val_") else "; pass validation_data or validation_split for others"
        raise ValueError(f"monitor must be one of {', '.join(figures)}; got {name!r}{more}")
    return name
