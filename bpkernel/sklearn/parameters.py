"""The parameters that the estimators have beyond scikit-learn's: their place in signatures, and their checks."""

import inspect
from collections.abc import Callable, Mapping
from numbers import Integral, Real
from typing import Any

from sklearn.utils._param_validation import Hidden, Interval, StrOptions

from bpkernel.functions.activations import BY_NAME as ACTIVATIONS
from bpkernel.functions.activations import HIDDEN
from bpkernel.functions.custom import Activation
from bpkernel.functions.elementwise import ELU, LeakyReLU
from bpkernel.functions.learning_rates import Schedule
from bpkernel.functions.optimizer import Optimizer
from bpkernel.functions.optimizers import BY_NAME
from bpkernel.initializers import INITIALIZERS
from bpkernel.sklearn import losses

NET: dict[str, Any] = {"connections": None, "masks": None, "init": None, "layer_norm": False}  # keyword-only, with defaults
TRAINING: dict[str, Any] = {  # of both estimators; those of one of them are at the end
    "dropout": 0.0,
    "input_dropout": 0.0,
    "input_noise": 0.0,
    "l1": 0.0,
    "clip_norm": None,
    "clip_value": None,
    "max_norm": None,
    "monitor": None,
    "metrics": None,
    "callbacks": None,
    "label_smoothing": 0.0,
}
OTHER: dict[str, Any] = {"n_jobs": None}
OF_CLASSIFIER = {"class_weight": None, "label_smoothing": 0.0}
OF_REGRESSOR = {"output_activation": None, "error_bars": False}
COMMON = {name: default for name, default in {**NET, **TRAINING, **OTHER}.items() if name not in OF_CLASSIFIER}
OWN = {**COMMON, **OF_CLASSIFIER, **OF_REGRESSOR}

# attributes of a net that has been trained, beyond scikit-learn's; `posterior_` is that of the last fit
FITTED = (
    *("gains_", "shifts_", "validation_loss_curve_", "history_", "early_stopped_"),
    *("_best_scales", "_own_optimizer", "_monitored", "_best_monitored"),
)

RATE = [Interval(Real, 0, None, closed="left")]
PROBABILITY = [Interval(Real, 0, 1, closed="left")]
POSITIVE = [Interval(Real, 0, None, closed="neither")]
CONSTRAINTS: dict[str, list[Any]] = {
    "activation": [StrOptions(set(HIDDEN)), Activation, LeakyReLU, ELU, list, tuple],
    "connections": [StrOptions({"all"}), "array-like", None],
    "masks": [Mapping, None],
    "init": [StrOptions(set(INITIALIZERS)), None],
    "layer_norm": ["boolean", list, tuple],
    "solver": [StrOptions({"lbfgs", "lm", *BY_NAME}), Optimizer],
    "learning_rate": [StrOptions({"constant", "invscaling", "adaptive"}), Hidden(Schedule), Hidden(callable)],
    "alpha": [*RATE, Hidden(list), Hidden(tuple)],  # messages are scikit-learn's
    "dropout": [*PROBABILITY, list, tuple],
    "input_dropout": PROBABILITY,
    "input_noise": RATE,
    "l1": [*RATE, list, tuple],
    "clip_norm": [*POSITIVE, None],
    "clip_value": [*POSITIVE, None],
    "max_norm": [*RATE, list, tuple, None],
    "monitor": [str, None],
    "metrics": [str, list, tuple, callable, None],
    "callbacks": [list, tuple, None],
    "n_jobs": [Integral, None],
}
CLASSIFIER_CONSTRAINTS: dict[str, list[Any]] = {
    "class_weight": [StrOptions({"balanced"}), dict, list, None],
    "label_smoothing": PROBABILITY,
}
LOSS_CONSTRAINTS: list[Any] = [StrOptions({"squared_error", "poisson"} | losses.NAMES), *losses.KINDS]
REGRESSOR_CONSTRAINTS: dict[str, list[Any]] = {
    "loss": LOSS_CONSTRAINTS,
    "output_activation": [StrOptions(set(ACTIVATIONS)), Activation, LeakyReLU, ELU, None],
    "error_bars": ["boolean"],
}


def init_with_signature(original: type[Any], defaults: Mapping[str, Any]) -> Callable[..., None]:
    """An `__init__` of scikit-learn's class with further keyword-only parameters of these defaults.

    Defaults are attributes of the class, so that an estimator without these parameters has no more attributes than
    scikit-learn's, which looks at all of them for each prediction.
    """

    def __init__(self: Any, *args: Any, **named: Any) -> None:
        own = {name: named.pop(name, default) for name, default in defaults.items()}
        original.__init__(self, *args, **named)
        for name, value in own.items():
            if value is not defaults[name]:
                setattr(self, name, value)
            else:
                self.__dict__.pop(name, None)

    signature = inspect.signature(original.__init__)
    own = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=value) for name, value in defaults.items()]
    __init__.__signature__ = signature.replace(parameters=[*signature.parameters.values(), *own])  # type: ignore[attr-defined]
    return __init__
