"""The parameters that the estimators have beyond scikit-learn's: their place in signatures, checks and documentation."""

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

NET: dict[str, Any] = {"connections": None, "masks": None, "init": None}  # keyword-only parameters and their defaults
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
FITTED = ("validation_loss_curve_", "history_", "early_stopped_", "_own_optimizer", "_monitored", "_best_monitored")

RATE = [Interval(Real, 0, None, closed="left")]
PROBABILITY = [Interval(Real, 0, 1, closed="left")]
POSITIVE = [Interval(Real, 0, None, closed="neither")]
CONSTRAINTS: dict[str, list[Any]] = {
    "activation": [StrOptions(set(HIDDEN)), Activation, LeakyReLU, ELU, list, tuple],
    "connections": [StrOptions({"all"}), "array-like", None],
    "masks": [Mapping, None],
    "init": [StrOptions(set(INITIALIZERS)), None],
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
    """An `__init__` of scikit-learn's class with further keyword-only parameters of these defaults."""

    def __init__(self: Any, *args: Any, **named: Any) -> None:
        own = {name: named.pop(name, default) for name, default in defaults.items()}
        original.__init__(self, *args, **named)
        for name, value in own.items():
            setattr(self, name, value)

    signature = inspect.signature(original.__init__)
    own = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=value) for name, value in defaults.items()]
    __init__.__signature__ = signature.replace(parameters=[*signature.parameters.values(), *own])  # type: ignore[attr-defined]
    return __init__


def documentation(original: type[Any]) -> str:
    """scikit-learn's docstring of an estimator, with a heading, and a section about OWN and further values."""
    words = inspect.cleandoc(original.__doc__ or "").replace("from sklearn.neural_network import", "from bpkernel import")
    heading = f"{original.__name__}, faster; everything else is as in scikit-learn, whose documentation follows."
    loss = LOSS + ERROR_BARS if "loss" in inspect.signature(original).parameters else ""
    return f"{heading}\n\n{words}\n\n{SECTION.format(loss=loss)}"


LOSS = """
loss : str or bp.Loss
    Also absolute_error, huber, log_cosh, quantile (the median), gamma or tweedie; or an object: ``bp.Huber(delta)``,
    ``bp.Quantile(level)`` with one level, ``bp.Tweedie(power)``, or a ``bp.Loss`` of your own.  The error of a sample is the
    sum over the outputs.  The output activation follows from the loss: identity if the loss is defined for all real outputs,
    exp if only for positive outputs (poisson, gamma, tweedie), logistic if only for probabilities.  Targets for which such a
    loss is not defined raise ValueError.
"""
ERROR_BARS = """
error_bars : bool, default=False
    Whether ``fit`` ends with the Laplace approximation ``posterior_`` of the distribution of the weights (see
    ``bp.MLP.laplace``), which ``predict(X, return_std=True)`` needs.
"""
SECTION = """Other Parameters
----------------
connections : None, "all" or sequence of (int, int), default=None
    Which layers are connected, as pairs (from, to); layer 0 is the inputs.  None: each layer leads to the next one.  "all":
    to all later ones.  ``coefs_`` then holds one array (n_from, n_to) for each pair of ``connections_``, the fitted attribute
    with all pairs, sorted by target, then source.

masks : dict of (int, int) to array-like of bool of shape (n_from, n_to), default=None
    For some connections, where there are weights.  Weights that are absent are 0 and stay 0.

init : str, default=None
    glorot_uniform, glorot_normal, he_uniform, he_normal, lecun_uniform, lecun_normal, orthogonal or zeros: how the initial
    weights are drawn; biases are then 0.  None: as scikit-learn draws them, where it has such a net, which is a chain of
    layers without masks and with one of its four activations.  For other nets, None has the meaning that it has in
    ``bp.MLP``: each weight is drawn as goes with the activation that it leads to.  All are drawn from ``random_state``.

activation : str, bp.Activation, or list of these
    Also leaky_relu, elu, selu, softplus, silu, gelu, hard_sigmoid, hard_tanh or hard_silu; or an object:
    ``bp.LeakyReLU(slope)``, ``bp.ELU(alpha)``, or a ``bp.Activation`` of your own.  A list has one for each hidden layer.

solver : str
    Also lm, the method of Levenberg and Marquardt (see ``bp.LevenbergMarquardt``): for up to a few thousand weights, all
    samples in each iteration.  ``max_iter``, ``tol``, ``n_iter_no_change`` and ``alpha`` mean the same as for sgd and adam.
{loss}
These parameters go with all solvers, and with ``fit``, ``partial_fit``, ``warm_start`` and sparse X.  While training goes
on, with ``partial_fit`` or ``warm_start``, ``connections`` and ``masks`` cannot change.  ``to_mlp`` keeps all of them.
``to_sklearn`` raises ValueError if one is in use, since scikit-learn has no such estimator.
"""
