"""What `fit` makes of samples before training: weights of classes, a validation part, smooth labels."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from bpkernel import validation
from bpkernel.kernels import operands
from bpkernel.metrics import classes_of, is_classification


def class_weights(class_weight: Any, loss: Any, T: np.ndarray, n_outputs: int) -> np.ndarray:
    """A weight for each sample, that of its class.

    Parameters
    ----------
    class_weight : "balanced" or dict of int to float
        "balanced": n_samples / (n_classes · samples of the class).  Classes that the dictionary lacks have weight 1.
    T : ndarray (n_samples, n_targets)

    Raises
    ------
    ValueError, TypeError
        If the targets are no classes, or the weights are not as above.
    """
    labels = classes_of(loss, T) if is_classification(loss) else None
    if labels is None or labels.ndim != 1:
        raise ValueError(
            "class_weight needs targets that are classes: cross_entropy, or binary_cross_entropy or hinge with one output; "
            f"the loss is {loss.name}"
        )
    n_classes = max(2, n_outputs)
    if isinstance(class_weight, str):
        if class_weight != "balanced":
            raise ValueError(f'class_weight must be "balanced" or a dictionary; got {class_weight!r}')
        counts = np.bincount(labels, minlength=n_classes)
        present = counts > 0
        weights = np.where(present, len(labels) / (present.sum() * np.maximum(counts, 1)), 0.0)
    elif isinstance(class_weight, Mapping):
        weights = np.ones(n_classes)
        for label, weight in class_weight.items():
            if isinstance(label, bool) or not isinstance(label, (int, np.integer)) or not 0 <= label < n_classes:
                raise ValueError(f"class_weight must have class indices from 0 to {n_classes - 1} as keys; got {label!r}")
            weights[label] = validation.not_negative(f"class_weight[{label}]", weight, np.dtype(np.float64))
    else:
        raise TypeError(f'class_weight must be "balanced" or a dictionary; got {type(class_weight).__name__}')
    return weights[labels]


def n_held_back(n_samples: int, fraction: float) -> int:
    """The samples of the validation part; raises ValueError if it, or the training part, would have none."""
    n = round(fraction * n_samples)
    if not 0 < n < n_samples:
        raise ValueError(
            f"validation_split={fraction} of {n_samples} samples leaves {n_samples - n} for training and {n} for validation"
        )
    return n


def parts(n_samples: int, fraction: float, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the training and of the validation part, drawn at random, each in the order of the samples.

    Raises
    ------
    ValueError
        If one of the two would have no samples.
    """
    n = n_held_back(n_samples, fraction)
    order = random.permutation(n_samples)
    return np.sort(order[n:]), np.sort(order[:n])


def rows(given: operands.Samples, chosen: np.ndarray) -> operands.Samples:
    """Some of the samples."""
    X = given.X if len(given.X) else given.X_other
    return operands.samples(X[chosen], given.T[chosen], given.s[chosen])


def check_smoothing(loss: Any, smoothing: float) -> None:
    """Raise ValueError if targets that are no probabilities are to be smoothed."""
    if smoothing > 0 and loss.targets not in ("distribution", "probability"):
        raise ValueError(f"label_smoothing needs targets that are probabilities, as of cross_entropy; the loss is {loss.name}")


def smoothed(loss: Any, T: np.ndarray, smoothing: float) -> np.ndarray:
    """Targets moved towards equal probabilities: (1 - ε) t + ε / n_classes (Szegedy et al. 2016)."""
    if smoothing == 0:
        return T
    n_classes = T.shape[1] if loss.targets == "distribution" else 2
    return T * T.dtype.type(1 - smoothing) + T.dtype.type(smoothing / n_classes)
