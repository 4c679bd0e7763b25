"""The losses of scikit-learn's estimators: the kernels that compute them, and the number types of their results."""

import functools
from typing import Any, NamedTuple

import numpy as np
from sklearn.neural_network._base import LOSS_FUNCTIONS

from bpkernel.functions.losses import BinaryLogLoss, LogLoss, LossName, PoissonLoss, SquaredError


class Loss(NamedTuple):
    """One loss of the estimators."""

    kernels: type[Any]
    in_mlp: LossName
    in_scikit_learn: str


# (loss, output activation): its kernels, its name in an MLP, the name of scikit-learn's function
LOSSES = {
    ("log_loss", "softmax"): Loss(LogLoss, "cross_entropy", "log_loss"),
    ("log_loss", "logistic"): Loss(BinaryLogLoss, "binary_cross_entropy", "binary_log_loss"),
    ("squared_error", "identity"): Loss(SquaredError, "squared_error", "squared_error"),
    ("poisson", "exp"): Loss(PoissonLoss, "poisson", "poisson"),
}


def loss_type(
    loss: Loss, dtype: np.dtype, y: np.ndarray, sample_weight: np.ndarray | None, numpy_size: bool = False
) -> type[Any]:
    """The number type of scikit-learn's loss, which follows from its arguments by the rules of NumPy and SciPy."""
    return _type_of_loss(loss.in_scikit_learn, y.shape[1], dtype, y.dtype, getattr(sample_weight, "dtype", None), numpy_size)


@functools.cache
def _type_of_loss(
    name: str, n_outputs: int, dtype: np.dtype, y: np.dtype, sample_weight: np.dtype | None, numpy_size: bool
) -> type[Any]:
    weight = None if sample_weight is None else np.ones(1, sample_weight)
    batch_loss = LOSS_FUNCTIONS[name](np.ones((1, n_outputs), y), np.ones((1, n_outputs), dtype), weight)
    penalty = 0.5 * np.dot(np.ones(1, dtype), np.ones(1, dtype)) / (1 if weight is None else weight.sum())
    return type(0.0 + (batch_loss + penalty) * (np.int64(1) if numpy_size else 1))
