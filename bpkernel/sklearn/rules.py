"""Small rules of scikit-learn's estimators: warnings, overridden methods, and checks of weights and values."""

import math
import warnings
from typing import Any

import numpy as np
from sklearn.neural_network import _multilayer_perceptron as private


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn from scikit-learn's module, so that users' warning filters apply."""
    registry = private.__dict__.setdefault("__warningregistry__", {})
    warnings.warn_explicit(message, category, str(private.__file__), 1, private.__name__, registry)


def overrides(kind: type[Any], base: type[Any], *names: str) -> bool:
    """Whether a class overrides one of these methods of a base class."""
    return any(getattr(kind, name) is not getattr(base, name) for name in names)


def in_float32(values: np.ndarray) -> bool:
    """Whether no value overflows or underflows in float32."""
    tiny, most = np.finfo(np.float32).tiny, np.finfo(np.float32).max
    size = np.abs(values)
    return bool(((size == 0) | ((size >= tiny) & (size <= most))).all())


def finite(a: np.ndarray) -> bool:
    """Whether the sum of all values is finite.  If it is not, scikit-learn's own check decides about the values."""
    with np.errstate(over="ignore", invalid="ignore"):
        return math.isfinite(a.sum())


def refuse_no_weight(sample_weight: np.ndarray | None, order: np.ndarray | None = None, batch_size: int = 0) -> None:
    """Raise NumPy's ZeroDivisionError if the weights of all samples, or of a mini-batch, add up to 0, as scikit-learn does."""
    if sample_weight is None:
        return
    sums = sample_weight.sum(keepdims=True)
    if order is not None:
        sums = np.add.reduceat(sample_weight[order], np.arange(0, len(order), batch_size))
    if not sums.all():
        np.average(np.zeros(1), weights=np.zeros(1))
