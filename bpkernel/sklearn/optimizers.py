"""The optimizer objects of scikit-learn's estimators, whose state the kernels update in place."""

from typing import Any

import numpy as np
from sklearn.neural_network._stochastic_optimizers import AdamOptimizer, SGDOptimizer

from bpkernel.functions.optimizers import SGD, Adam
from bpkernel.mini_batches import MiniBatches
from bpkernel.sklearn.coefficients import Coefficients


def known(optimizer: Any) -> bool:
    """Whether the kernels have this optimizer."""
    return type(optimizer) in (SGDOptimizer, AdamOptimizer)


def take(estimator: Any, held: Coefficients, incremental: bool) -> bool:
    """Make the state of an estimator's `_optimizer` views of the state in `held`; False if it is neither SGD nor Adam.

    A new one is made as scikit-learn does, for all but a `partial_fit` that goes on.
    """
    if not incremental or not hasattr(estimator, "_optimizer"):
        rate = estimator.learning_rate_init
        if estimator.solver == "sgd":
            schedule = estimator.learning_rate, estimator.momentum, estimator.nesterovs_momentum, estimator.power_t
            estimator._optimizer = SGDOptimizer([], rate, *schedule)
            estimator._optimizer.velocities = held.moments[0]
        else:
            estimator._optimizer = AdamOptimizer([], rate, estimator.beta_1, estimator.beta_2, estimator.epsilon)
            estimator._optimizer.ms, estimator._optimizer.vs = held.moments
        held.state[:] = 0
    optimizer = estimator._optimizer
    if type(optimizer) is SGDOptimizer:
        optimizer.velocities = _moved(optimizer.velocities, held.moments[0])
    elif type(optimizer) is AdamOptimizer:
        optimizer.ms, optimizer.vs = map(_moved, (optimizer.ms, optimizer.vs), held.moments)
        held.steps[0] = optimizer.t
    else:
        return False
    return True


def batches(optimizer: Any, held: Coefficients, batch_size: int, alpha: float) -> MiniBatches:
    """The mini-batches of training with this optimizer."""
    if type(optimizer) is SGDOptimizer:
        sgd = np.array([optimizer.learning_rate, optimizer.momentum, optimizer.nesterov], np.float64)
        return held.batches(SGD, sgd, batch_size, alpha)
    adam = np.array([optimizer.learning_rate_init, optimizer.beta_1, optimizer.beta_2, optimizer.epsilon], np.float64)
    return held.batches(Adam, adam, batch_size, alpha)


def set_rate(optimizer: Any, training: MiniBatches) -> None:
    """Set the learning rate of the next epoch, from the schedule."""
    if type(optimizer) is SGDOptimizer:
        training.step.settings[0] = optimizer.learning_rate


def tell(optimizer: Any, held: Coefficients) -> None:
    """Set the step count and the learning rate of the object after training."""
    if type(optimizer) is AdamOptimizer and held.steps[0] > 0:
        optimizer.t = t = int(held.steps[0])
        bias = np.sqrt(1 - optimizer.beta_2**t) / (1 - optimizer.beta_1**t)
        optimizer.learning_rate = optimizer.learning_rate_init * bias


def _moved(values: list[np.ndarray], views: list[np.ndarray]) -> list[np.ndarray]:
    """The views, after the values are copied to them."""
    if values is not views:
        for view, value in zip(views, values, strict=True):
            view[...] = value
    return views
