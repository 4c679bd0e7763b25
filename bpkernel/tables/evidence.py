"""How good a model is on rows that it has not seen: scores, with those of a guess that ignores the columns beside them."""

from typing import Any

import numpy as np
import pandas as pd
from sklearn import metrics

from bpkernel.tables.delimited import TableError
from bpkernel.tables.model import Model

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


def main_score(model: Model, true: np.ndarray, predicted: np.ndarray) -> float:
    """Accuracy or R², as `Model.score_name` says; true (n,) as of `Target.values`, predicted (n,) as of `Model.predicted`."""
    if model.classify:
        return float((predicted == true).mean())
    return float(metrics.r2_score(true, predicted)) if len(true) > 1 else float("nan")


def scores(model: Model, true: np.ndarray, y: np.ndarray) -> dict[str, Any]:
    """All scores of outputs y (n, n_outputs), for true classes or numbers (n,) as of `Target.values`.

    Those that the rows cannot give, such as ROC AUC of a single class, are left out.  RMSE and MAE have the target's units.
    """
    if not model.classify:
        return _of_numbers(true, model.predicted(y))
    return _of_classes(true, model.probabilities(y).astype(float), model.target.classes)


def guess(model: Model, training: np.ndarray, true: np.ndarray) -> dict[str, Any]:
    """The scores of the shares of the classes, or the mean, of the training targets (n,), as a prediction for all rows."""
    if not model.classify:
        return _of_numbers(true, np.full(len(true), training.mean()))
    shares = np.bincount(training, minlength=len(model.target.classes)) / len(training)
    return _of_classes(true, np.tile(shares, (len(true), 1)), model.target.classes)


def _of_numbers(true: np.ndarray, predicted: np.ndarray) -> dict[str, Any]:
    errors = np.abs(predicted - true)
    found = {"rmse": float(np.sqrt((errors**2).mean())), "mae": float(errors.mean())}
    return found | ({"r2": float(metrics.r2_score(true, predicted))} if len(true) > 1 else {})


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
