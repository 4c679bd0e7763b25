"""Training of the estimators with what scikit-learn does not have: other optimizers, dropout, schedules, callbacks and more.

The rules of scikit-learn hold unless a parameter says otherwise: the same initial weights, orders, split and stopping.
"""

import copy
from typing import Any

import numpy as np
from sklearn.base import is_classifier
from sklearn.exceptions import ConvergenceWarning

from bpkernel import fit_data, validation
from bpkernel.callback import Callback
from bpkernel.functions.optimizer import Optimizer
from bpkernel.functions.optimizers import BY_NAME
from bpkernel.kernels.regularisation import Regularisation, regularisation
from bpkernel.sklearn import optimizers, validation_data
from bpkernel.sklearn.coefficients import Coefficients, ComposedOrders, samples
from bpkernel.sklearn.fit_callbacks import ScikitLearnCallbacks, users_callbacks
from bpkernel.sklearn.parameters import TRAINING
from bpkernel.sklearn.rules import refuse_no_weight, warn
from bpkernel.sklearn.stopping import ScikitLearnRules, monitored
from bpkernel.sklearn.validation_data import HeldBack
from bpkernel.training import Diverged, Training

ALL_SAMPLES = ("lbfgs", "lm")  # solvers without mini-batches


def wanted(estimator: Any, *, incremental: bool) -> list[str]:
    """The settings of an estimator's training that scikit-learn does not have, in words; incremental: in `partial_fit`."""
    own = estimator.__dict__
    found = [f"{name}={own[name]!r}" for name in TRAINING if name in own and differs(estimator, name)]
    if estimator.layer_norm is not False and estimator.solver != "lm" and np.any(estimator.layer_norm):
        found.append(f"layer_norm={estimator.layer_norm!r}")
    if not isinstance(estimator.solver, str) or estimator.solver not in (*ALL_SAMPLES, "sgd", "adam"):
        found.append(f"solver={estimator.solver!r}")
    if not isinstance(estimator.learning_rate, str):
        found.append(f"learning_rate={estimator.learning_rate!r}")
    if isinstance(estimator.alpha, (list, tuple)):
        found.append(f"alpha={estimator.alpha!r}")
    if own.get("_held_back") is not None:
        found.append("X_val")
    if "_skl_callbacks" in own and estimator.solver not in ALL_SAMPLES:
        found.append("callbacks of scikit-learn")
    if incremental and estimator.early_stopping and estimator.solver not in ALL_SAMPLES:
        found.append("early_stopping in partial_fit")
    return found


def differs(estimator: Any, name: str) -> bool:
    """Whether a parameter has another value than the default."""
    value, default = getattr(estimator, name, TRAINING[name]), TRAINING[name]
    if isinstance(value, (list, tuple)):
        return len(value) > 0
    return value is not default and not (isinstance(value, (int, float)) and value == default)


def optimizer_of(estimator: Any, held: Coefficients, *, incremental: bool) -> Optimizer:
    """The optimizer, as the parameters of an estimator say; new, unless a `partial_fit` goes on with one."""
    solver, rate = estimator.solver, copy.deepcopy(estimator.learning_rate)  # parameters must not change
    if isinstance(rate, str):
        if solver in ("sgd", "adam"):
            return optimizers.shared(estimator, held, incremental)
        rate = estimator.learning_rate_init
    kind = BY_NAME[solver] if isinstance(solver, str) else type(solver)
    kept = estimator.__dict__.get("_own_optimizer")
    if incremental and type(kept) is kind:
        return kept
    if isinstance(solver, Optimizer):
        new: Optimizer = kind(*copy.deepcopy(solver.values()))
        if not isinstance(estimator.learning_rate, str):
            new.learning_rate = rate  # type: ignore[attr-defined]
    else:
        own: dict[str, Any] = {"learning_rate": rate}
        if solver == "sgd":
            own |= {"momentum": estimator.momentum, "nesterov": bool(estimator.nesterovs_momentum and estimator.momentum > 0)}
        elif solver in ("adam", "adamw", "nadam"):
            own |= {"beta_1": estimator.beta_1, "beta_2": estimator.beta_2, "epsilon": estimator.epsilon}
        new = kind(**own)
    estimator._own_optimizer = new
    return new


def objective_of(estimator: Any, held: Coefficients) -> Regularisation:
    """L1, L2 and limits of an estimator."""
    layout = held.network.layout
    n_layers = len(layout.sizes) - 1
    alpha, l1 = (validation.per_layer(name, getattr(estimator, name), n_layers) for name in ("alpha", "l1"))
    max_norm = validation.per_layer("max_norm", estimator.max_norm, n_layers, optional=True)
    limits = {name: validation.limit(name, getattr(estimator, name), layout.dtype) for name in ("clip_norm", "clip_value")}
    return regularisation(layout, alpha, l1, max_norm=max_norm, **limits)


def disturb(estimator: Any, held: Coefficients, X: Any) -> None:
    """Give the net the dropout and the noise of an estimator."""
    layout = held.network.layout
    dropout = validation.rates_of_dropout("dropout", estimator.dropout, len(layout.sizes) - 2)
    (inputs,) = validation.rates_of_dropout("input_dropout", [estimator.input_dropout], 1)
    noise = validation.not_negative("input_noise", estimator.input_noise, layout.dtype)
    if hasattr(X, "tocsr") and (inputs or noise):
        raise ValueError("input_dropout and input_noise do not go with a sparse X: pass X.toarray()")
    layout.disturb(dropout, inputs, noise)


def train(
    estimator: Any, held: Coefficients, X: Any, y: np.ndarray, sample_weight: np.ndarray | None, *, incremental: bool
) -> None:
    """Epochs of an estimator's net; y (n_samples, n_outputs) is encoded."""
    if incremental and estimator.__dict__.get("early_stopped_"):
        return
    X, y, sample_weight, held_back = split(estimator, held, X, y, sample_weight, incremental=incremental)
    n_layers = len(held.network.layout.sizes) - 2
    try:
        disturb(estimator, held, X)
        _train(estimator, held, X, y, sample_weight, held_back, incremental=incremental)
    finally:
        held.network.layout.disturb([0.0] * n_layers, 0.0, 0.0)


def split(
    estimator: Any, held: Coefficients, X: Any, y: np.ndarray, sample_weight: np.ndarray | None, *, incremental: bool
) -> tuple[Any, np.ndarray, np.ndarray | None, HeldBack | None]:
    """X, y and sample weights for training, and the validation data: those passed to `fit`, or a part of X."""
    scorers, given = validation_data.scorers_of(estimator), estimator.__dict__.get("_held_back")
    if given is not None:
        own = validation_data.checked(estimator, *given)
        return X, y, sample_weight, HeldBack(estimator, *own, held, scorers, given[0])
    if not estimator.early_stopping:
        if scorers:
            raise ValueError("metrics need validation data: early_stopping=True, or X_val and y_val in fit")
        return X, y, sample_weight, None
    if incremental:
        raise ValueError("partial_fit does not support early_stopping=True without validation data: pass X_val and y_val")
    X, X_val, y, y_val, sample_weight, s_val = estimator._split(X, y, sample_weight)
    y_val = y_val if is_classifier(estimator) else estimator._decoded(y_val)
    return X, y, sample_weight, HeldBack(estimator, X_val, y_val, s_val, held, scorers)


def _train(
    estimator: Any,
    held: Coefficients,
    X: Any,
    y: np.ndarray,
    sample_weight: np.ndarray | None,
    held_back: HeldBack | None,
    *,
    incremental: bool,
) -> None:
    n_divided, batch_size = estimator._loss_divided(y), int(estimator._batch_size(len(y)))
    smoothing = validation.fraction("label_smoothing", getattr(estimator, "label_smoothing", 0.0))
    smooth = fit_data.smoothed(held.loss, y.astype(held.network.layout.dtype, copy=False), smoothing)
    seen = samples(X, smooth, sample_weight, held.network)
    orders = ComposedOrders(
        held,
        len(y),
        estimator._random_state,
        lambda order: refuse_no_weight(sample_weight, order, batch_size),
        shuffle=estimator.shuffle,
        private=False,
    )
    users, objective = users_callbacks(estimator), objective_of(estimator, held)
    optimizer = optimizer_of(estimator, held, incremental=incremental)
    theirs = estimator._optimizer if optimizer is not estimator.__dict__.get("_own_optimizer") else None
    rules = ScikitLearnRules(estimator, held, n_divided, held_back, theirs, incremental=incremental)
    callbacks: list[Callback] = [rules, *users]
    if "_callback_fit_ctx" in estimator.__dict__ and "_skl_callbacks" in estimator.__dict__:
        callbacks.append(ScikitLearnCallbacks(estimator, estimator._given))
    random = np.random.Generator(estimator._random_state._bit_generator)
    training = Training(held.network, optimizer, batch_size, objective, random)
    epochs = 1 if incremental else int(estimator.max_iter)
    shown = estimator.monitor or ("val_loss" if held_back and not estimator.early_stopping else monitored(estimator, held_back))
    try:
        training.run(seen, orders, epochs, held_back, callbacks, shown, estimator)
    except KeyboardInterrupt:
        warn("Training interrupted by user.")
        return
    except Diverged as error:
        raise ValueError(
            "Solver produced non-finite parameter weights. The input data may contain large values and need to be "
            f"preprocessed. {error}"
        ) from None
    finally:
        if theirs is not None:
            optimizers.keep(theirs, optimizer, held)
    if not incremental and estimator.n_iter_ == epochs and not rules.stopped:
        warn(
            f"Stochastic Optimizer: Maximum iterations ({epochs}) reached and the optimization hasn't converged yet.",
            ConvergenceWarning,
        )
