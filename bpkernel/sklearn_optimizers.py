"""Floor 5: the optimizer objects of scikit-learn's estimators, whose state the kernels work on in place."""

from typing import Any

import numpy as np
from sklearn.neural_network._stochastic_optimizers import AdamOptimizer, SGDOptimizer

from bpkernel.coefficients import Coefficients
from bpkernel.optimizers import COEFFICIENTS, SGD, Adam
from bpkernel.training import MiniBatches


def known(optimizer: Any) -> bool:
    """Whether it is one of the two whose steps the kernels make."""
    return type(optimizer) in (SGDOptimizer, AdamOptimizer)


def take(estimator: Any, held: Coefficients, incremental: bool) -> bool:
    """Make the state of an estimator's `_optimizer` views of that of its net; False where it is neither SGD nor Adam.

    A new one is made as scikit-learn does, for all but a `partial_fit` that goes on.
    """
    if not incremental or not hasattr(estimator, "_optimizer"):
        rate = estimator.learning_rate_init
        if estimator.solver == "sgd":
            schedule = estimator.learning_rate, estimator.momentum, estimator.nesterovs_momentum, estimator.power_t
            estimator._optimizer = SGDOptimizer([], rate, *schedule)
            estimator._optimizer.velocities = held.moments[1]
        else:
            estimator._optimizer = AdamOptimizer([], rate, estimator.beta_1, estimator.beta_2, estimator.epsilon)
            estimator._optimizer.ms, estimator._optimizer.vs = held.moments
        held.state[:] = 0
    optimizer = estimator._optimizer
    if type(optimizer) is SGDOptimizer:
        optimizer.velocities = _moved(optimizer.velocities, held.moments[1])
    elif type(optimizer) is AdamOptimizer:
        optimizer.ms, optimizer.vs = map(_moved, (optimizer.ms, optimizer.vs), held.moments)
        held.steps[0] = optimizer.t
    else:
        return False
    return True


def batches(optimizer: Any, held: Coefficients, batch_size: int, alpha: float) -> MiniBatches:
    """Training with this optimizer."""
    settings = np.zeros(COEFFICIENTS)
    if type(optimizer) is SGDOptimizer:
        settings[:3] = optimizer.learning_rate, optimizer.momentum, optimizer.nesterov
        return held.batches(SGD, settings, batch_size, alpha)
    settings[:4] = optimizer.learning_rate_init, optimizer.beta_1, optimizer.beta_2, optimizer.epsilon
    return held.batches(Adam, settings, batch_size, alpha)


def set_rate(optimizer: Any, training: MiniBatches) -> None:
    """Train on at the learning rate that the schedule has come to."""
    if type(optimizer) is SGDOptimizer:
        training.step.settings[0] = optimizer.learning_rate


def tell(optimizer: Any, held: Coefficients) -> None:
    """Let the object know of the steps that have been made."""
    if type(optimizer) is AdamOptimizer and held.steps[0] > 0:
        optimizer.t = t = int(held.steps[0])
        bias = np.sqrt(1 - optimizer.beta_2**t) / (1 - optimizer.beta_1**t)
        optimizer.learning_rate = optimizer.learning_rate_init * bias


def _moved(values: list[np.ndarray], views: list[np.ndarray]) -> list[np.ndarray]:
    """The views, which now hold these values."""
    if values is not views:
        for view, value in zip(views, values, strict=True):
            view[...] = value
    return views
