"""How good a model is on rows that it has not seen: scores, with those of a guess that ignores the columns beside them."""

from typing import Any

import numpy as np
import pandas as pd
from sklearn import metrics

from bpkernel.tables.delimited import TableError
from bpkernel.tables.model import Model, Target

SHOWN = {  # by name in `metrics.json`: its name for people
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "f1_macro": "F1 (mean of classes)",
    "roc_auc": "ROC AUC",
    "average_precision": "PR AUC",
    "log_loss": "log loss",
    "r2": "R²",
    "rmse": "RMSE",
    "mae": "MAE",
}


def score_name(classify: bool) -> str:
    """The name of the main score."""
    return "accuracy" if classify else "R²"


def main_score_in(scores: dict[str, Any]) -> str:
    """The key of the main score."""
    return "accuracy" if "accuracy" in scores else "r2"


def main_score_of(true: np.ndarray, predicted: np.ndarray, *, classify: bool) -> float:
    """Accuracy of class indices, or R² of numbers, (n,)."""
    if classify:
        return float((predicted == true).mean())
    return _r2(true, predicted) if len(true) > 1 else float("nan")


def scores(model: Model, true: np.ndarray, y: np.ndarray) -> dict[str, Any]:
    """All scores of outputs y (n, n_outputs), for true classes or numbers (n,) as of `Target.values`.

    Those that the rows cannot give, such as ROC AUC of a single class, are left out.  RMSE and MAE have the target's units.
    """
    if model.classify:
        return _of_classes(true, model.probabilities(y).astype(float), model.target.classes)
    found = _of_numbers(true, model.predicted(y))
    if model.target.quantiles:
        below = (true[:, np.newaxis] <= model.quantiles(y)).mean(axis=0)
        levels = [f"{level:g}" for level in model.target.quantiles]
        found["below_quantile"] = dict(zip(levels, map(float, below), strict=True))
    return found


def tuned_score(tuning: list[dict[str, Any]]) -> str:
    """The name of the validation score in the rows of `nets.Trained.tuning`."""
    return next(name for name in tuning[0] if name not in ("hidden", "learning_rate"))


def guess(target: Target, training: np.ndarray, true: np.ndarray) -> dict[str, Any]:
    """The scores of the shares of the classes, or the mean, of the training targets (n,), as a prediction for all rows."""
    if not target.classes:
        return _of_numbers(true, np.full(len(true), training.mean()))
    shares = np.bincount(training, minlength=len(target.classes)) / len(training)
    return _of_classes(true, np.tile(shares, (len(true), 1)), target.classes)


def _of_numbers(true: np.ndarray, predicted: np.ndarray) -> dict[str, Any]:
    small, exponent = _within_one(predicted, true)
    errors = np.abs(small[0] - small[1])
    rmse, mae = np.ldexp([np.sqrt((errors**2).mean()), errors.mean()], exponent)
    return {"rmse": float(rmse), "mae": float(mae)} | ({"r2": _r2(true, predicted)} if len(true) > 1 else {})


def _r2(true: np.ndarray, predicted: np.ndarray) -> float:
    (small_true, small_predicted), _ = _within_one(true, predicted)
    return float(metrics.r2_score(small_true, small_predicted))


def _within_one(*numbers: np.ndarray) -> tuple[list[np.ndarray], int]:
    """Numbers divided by a power of 2 so that their squares do not overflow, and its exponent."""
    exponent = int(np.frexp(max(np.abs(each).max() for each in numbers))[1])
    return [np.ldexp(each, -exponent) for each in numbers], exponent


def _of_classes(true: np.ndarray, probabilities: np.ndarray, names: list[str]) -> dict[str, Any]:
    predicted, codes = probabilities.argmax(axis=1), np.arange(len(names))
    precision, recall, f1, support = metrics.precision_recall_fscore_support(true, predicted, labels=codes, zero_division=0.0)
    seen = support > 0
    found: dict[str, Any] = {
        "accuracy": float((predicted == true).mean()),
        "balanced_accuracy": float(recall[seen].mean()),
        "f1_macro": float(f1[seen].mean()),
        "log_loss": float(metrics.log_loss(true, probabilities / probabilities.sum(axis=1, keepdims=True), labels=codes)),
    }
    if seen.all():
        binary = len(names) == 2
        scored = probabilities[:, 1] if binary else probabilities
        one_hot = true if binary else np.eye(len(names))[true]
        found["roc_auc"] = float(metrics.roc_auc_score(one_hot, scored))
        found["average_precision"] = float(metrics.average_precision_score(one_hot, scored))
    table = zip(names, precision, recall, f1, support, strict=True)
    found["classes"] = {
        name: {"precision": float(p), "recall": float(r), "f1": float(f), "rows": int(n)} for name, p, r, f, n in table
    }
    found["confusion_matrix"] = metrics.confusion_matrix(true, predicted, labels=codes).tolist()
    return found


def of_table(model: Model, frame: pd.DataFrame) -> tuple[dict[str, Any], int]:
    """The scores of a table and the rows that have a target; raises TableError if it has none."""
    if model.target.name not in frame.columns:
        raise TableError(f"the table has no column {model.target.name!r} with the true values")
    values, known = model.target.of(frame)
    if not known.any():
        what = f"one of {', '.join(map(repr, model.target.classes[:10]))}" if model.classify else "a number"
        raise TableError(f"no row has {what} as {model.target.name!r}")
    return scores(model, values[known], model.outputs(frame)[known]), int(known.sum())
