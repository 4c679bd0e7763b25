"""The optimizer objects of scikit-learn's estimators, whose state the kernels update in place."""

from typing import Any

import numpy as np
from sklearn.neural_network._stochastic_optimizers import AdamOptimizer, SGDOptimizer

from bpkernel.functions.optimizer import Optimizer
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
        sgd = np.array([optimizer.learning_rate, optimizer.momentum, optimizer.nesterov, 0, 0], np.float64)
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


# -------------------------------------------------------------------------- in a training that scikit-learn does not have


def shared(estimator: Any, held: Coefficients, incremental: bool) -> Optimizer:
    """The kernels' optimizer with the settings and the state of an estimator's `_optimizer`; see `keep`."""
    if not take(estimator, held, incremental):
        raise ValueError(f"_optimizer must be scikit-learn's SGDOptimizer or AdamOptimizer; got {estimator._optimizer!r}")
    theirs = estimator._optimizer
    new: Optimizer
    if type(theirs) is SGDOptimizer:
        new = SGD(theirs.learning_rate, theirs.momentum, bool(theirs.nesterov and theirs.momentum > 0))
    else:
        new = Adam(theirs.learning_rate_init, theirs.beta_1, theirs.beta_2, theirs.epsilon)
    new.restore((held.network.layout, held.state[: new.n_slots], held.steps, np.ones(new.n_kept), (None, None)))
    return new


def end_epoch(theirs: Any, optimizer: Any, t: int) -> None:
    """Set the learning rate of the next epoch, from scikit-learn's schedule after t samples."""
    if type(theirs) is SGDOptimizer:
        theirs.learning_rate = optimizer.learning_rate
        theirs.iteration_ends(t)
        optimizer.learning_rate = theirs.learning_rate


def may_stop(theirs: Any, optimizer: Any, message: str, verbose: bool) -> bool:
    """Whether to stop because nothing improves; with an adaptive learning rate that is reduced first."""
    stops = bool(theirs.trigger_stopping(message, verbose))
    if type(theirs) is SGDOptimizer:
        optimizer.learning_rate = theirs.learning_rate
    return stops


def keep(theirs: Any, optimizer: Any, held: Coefficients) -> None:
    """Hand the state and the learning rate of a `shared` optimizer back after training."""
    _, state, steps, *_ = optimizer.snapshot(np.asarray)
    held.state[: len(state)], held.steps[:] = state, steps
    if type(theirs) is SGDOptimizer:
        theirs.learning_rate = optimizer.learning_rate
    else:
        theirs.learning_rate_init = optimizer.learning_rate
    tell(theirs, held)


def _moved(values: list[np.ndarray], views: list[np.ndarray]) -> list[np.ndarray]:
    """The views, after the values are copied to them."""
    if values is not views:
        for view, value in zip(views, values, strict=True):
            view[...] = value
    return views
