"""The losses of the estimators: scikit-learn's, and those that only these estimators have."""

import functools
from typing import Any, NamedTuple

import numpy as np
from sklearn.neural_network._base import LOSS_FUNCTIONS

from bpkernel import validation
from bpkernel.functions.activations import BY_NAME as ACTIVATIONS
from bpkernel.functions.clipped_losses import BinaryLogLoss, LogLoss, PoissonLoss
from bpkernel.functions.custom import Loss
from bpkernel.functions.elementwise_losses import Huber, Tweedie
from bpkernel.functions.joint_losses import Quantile
from bpkernel.functions.losses import BY_NAME, SquaredError


class LossOfEstimator(NamedTuple):
    """One loss of the estimators."""

    kernels: Any
    in_mlp: Any
    in_scikit_learn: str  # the function whose result has the same number type


# (loss, output activation): its kernels, its name in an MLP, the name of scikit-learn's function
LOSSES = {
    ("log_loss", "softmax"): LossOfEstimator(LogLoss, "cross_entropy", "log_loss"),
    ("log_loss", "logistic"): LossOfEstimator(BinaryLogLoss, "binary_cross_entropy", "binary_log_loss"),
    ("squared_error", "identity"): LossOfEstimator(SquaredError, "squared_error", "squared_error"),
    ("poisson", "exp"): LossOfEstimator(PoissonLoss, "poisson", "poisson"),
}
NAMES = frozenset({"absolute_error", "huber", "log_cosh", "quantile", "gamma", "tweedie"})  # those scikit-learn does not have
KINDS: tuple[type[Any], ...] = (Loss, Huber, Quantile, Tweedie)  # what may be passed in place of a name
OUTPUTS = {"real": "identity", "positive": "exp", "probability": "logistic"}  # output activations by their values


def own_loss(loss: Any) -> Any:
    """The loss object of a value of the parameter `loss`; None for scikit-learn's losses and for what is no loss."""
    if isinstance(loss, str):
        return BY_NAME[loss] if loss in NAMES else None
    return loss if isinstance(loss, KINDS) else None


def loss_of(loss: Any, output: str) -> LossOfEstimator | None:
    """The loss of a net with an output activation, or None if these do not go together."""
    found = LOSSES.get((loss, output)) if isinstance(loss, str) and isinstance(output, str) else None
    if found is None:
        own = own_loss(loss) or (BY_NAME[loss] if loss in ("squared_error", "poisson") else None)
        activation = ACTIVATIONS.get(output) if isinstance(output, str) else output
        if own is not None and activation is not None and activation.values in own.accepts:
            return LossOfEstimator(own, loss, "squared_error")
    return found


def output_for(loss: Any, output: Any) -> Any:
    """The output activation that a user has chosen; raises ValueError if the loss is not defined for its values."""
    activation = ACTIVATIONS[output] if isinstance(output, str) else output
    own = own_loss(loss) or BY_NAME[loss]
    if activation.values not in own.accepts:
        raise ValueError(f"output_activation={output!r} does not go with loss={loss!r}, which is not defined for its values")
    return output


def output_of(own: Any) -> str:
    """The output activation of a regressor with a loss of its own: the widest range that the loss is defined for."""
    return next(output for values, output in OUTPUTS.items() if values in own.accepts)


def check_targets(loss: Any, y: np.ndarray, dtype: np.dtype, name: str = "y") -> None:
    """Raise ValueError if a loss that scikit-learn does not have is not defined for the targets y."""
    own = own_loss(loss)
    if own is None:
        return
    n_levels = n_outputs_of_a_target(loss)
    n_outputs = n_levels * (1 if y.ndim == 1 else y.shape[1])
    validation.targets(name, y, own, len(y), n_outputs, dtype)


def n_outputs_of_a_target(loss: Any) -> int:
    """The outputs that a loss has for each target: several for several quantiles."""
    return len(getattr(loss, "levels", (0.5,)))


def loss_type(
    loss: LossOfEstimator, dtype: np.dtype, y: np.ndarray, sample_weight: np.ndarray | None, numpy_size: bool = False
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
