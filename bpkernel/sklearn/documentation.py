"""The docstrings of the estimators: scikit-learn's, with the parameters and attributes that only these have."""

import inspect
from typing import Any


def documentation(original: type[Any]) -> str:
    """scikit-learn's docstring of an estimator, with a heading, further attributes, and a section of further parameters."""
    words = inspect.cleandoc(original.__doc__ or "").replace("from sklearn.neural_network import", "from bpkernel import")
    heading = f"{original.__name__}, faster and with more parameters; the documentation of scikit-learn's follows."
    regressor = "loss" in inspect.signature(original).parameters
    attributes, following = ATTRIBUTES + (POSTERIOR if regressor else ""), "\nSee Also\n--------\n"
    words = words.replace(following, f"\n{attributes}{following}", 1)
    parameters = NET + TRAINING + (REGRESSOR if regressor else CLASSIFIER) + CALLBACKS
    return f"{heading}\n\n{words}\n\nOther Parameters\n----------------\n{parameters}\n{NOTES}"


ATTRIBUTES = """connections_ : tuple of (int, int)
    The pairs of layers that are connected, in the order of ``coefs_``; only bpkernel's.

gains_ : list of ndarray of shape (n_units,)
    γ of each layer with ``layer_norm``; only bpkernel's.

shifts_ : list of ndarray of shape (n_units,)
    β of each layer with ``layer_norm``; only bpkernel's.

validation_loss_curve_ : list of float
    The loss of the validation data after each epoch, without the penalty; only bpkernel's, with ``early_stopping=True`` or with
    ``X_val`` and ``y_val`` in ``fit``.  ``validation_scores_`` are then the scores.

history_ : bp.History
    Loss, seconds and metrics of each epoch, with ``plot()`` and ``to_frame()``; after a ``fit`` or ``partial_fit`` with one of
    the parameters of training that scikit-learn does not have.

early_stopped_ : bool
    Whether ``partial_fit`` with ``early_stopping=True`` has stopped; further calls change nothing, ``fit`` begins anew.
"""
POSTERIOR = """
posterior_ : bp.Laplace
    The distribution of the weights; only with ``error_bars=True``.
"""
NET = """connections : None, "all" or sequence of (int, int), default=None
    Which layers are connected, as pairs (from, to); layer 0 is the inputs.  None: each layer leads to the next one.  "all":
    to all later ones.  ``coefs_`` then holds one array (n_from, n_to) for each pair of ``connections_``, sorted by target, then
    source.

masks : dict of (int, int) to array-like of bool of shape (n_from, n_to), default=None
    For some connections, where there are weights.  Weights that are absent are 0 and stay 0.

init : str, default=None
    glorot_uniform, glorot_normal, he_uniform, he_normal, lecun_uniform, lecun_normal, orthogonal or zeros: how the initial
    weights are drawn; biases are then 0.  None: as scikit-learn draws them, where it has such a net, which is a chain of
    layers without masks and with one of its four activations.  For other nets, None has the meaning that it has in
    ``bp.MLP``: each weight is drawn as goes with the activation that it leads to.  All are drawn from ``random_state``.

layer_norm : bool or list of bool, default=False
    Whether the sums of the units of each sample are normalised to mean 0 and variance 1, then multiplied by ``gains_`` and
    shifted by ``shifts_``, which are trained (see ``bp.MLP``); a list has one for each hidden layer.  Not for lbfgs.

activation : str, bp.Activation, or list of these
    Also leaky_relu, elu, selu, softplus, silu, gelu, hard_sigmoid, hard_tanh or hard_silu; or an object:
    ``bp.LeakyReLU(slope)``, ``bp.ELU(alpha)``, or a ``bp.Activation`` of your own.  A list has one for each hidden layer.
"""
TRAINING = """
solver : str or bp.Optimizer
    Also adamw, nadam, rmsprop, adagrad or lion, with the learning rate ``learning_rate_init`` (adamw and nadam also with
    ``beta_1``, ``beta_2`` and ``epsilon``); or an optimizer, such as ``bp.AdamW(0.002, weight_decay=0.1)``, whose settings take
    the place of these parameters.  Each ``fit`` has a copy of it.  Or lm, the method of Levenberg and Marquardt (see
    ``bp.LevenbergMarquardt``): for up to a few thousand weights, all samples in each iteration.  ``max_iter``, ``tol``,
    ``n_iter_no_change`` and ``alpha`` mean the same as for sgd and adam.

learning_rate : str, schedule or callable
    Also a schedule of ``bp.schedules``, such as ``bp.schedules.Cosine(0.01)``, or any function of the step, one for each
    mini-batch, counted from 0.  It takes the place of ``learning_rate_init`` and of the rate of an optimizer.

alpha : float or list of float
    Also one number for each layer but the inputs.

l1 : float or list of float, default=0.0
    Strength of the L1 penalty, the sum of the sizes of the weights, divided by the sample size as that of ``alpha`` is; or one
    for each layer but the inputs.

dropout : float or list of float, default=0.0
    Share of the hidden units that are set to 0 in each step of training, at random; the others are divided by 1 - dropout.  A
    list has one for each hidden layer.

input_dropout : float, default=0.0
    The same of the inputs; needs a dense X.

input_noise : float, default=0.0
    Standard deviation of normally distributed noise, which is added to the inputs in each step of training; needs a dense X.

clip_norm : float, default=None
    The largest norm of the gradient of a mini-batch; longer ones are made shorter.

clip_value : float, default=None
    The largest size of each number of the gradient.

max_norm : float or list of float or None, default=None
    The largest norm of the weights that lead to a unit, after each step; or one for each layer but the inputs.

monitor : str, default=None
    The figure that the rule to stop looks at: "loss", "val_loss", "val_score", or "val_" and the name of one of ``metrics``.
    With ``early_stopping=True`` the net goes back to its best epoch.  Low values of losses, errors and deviances are good, and
    high values of all other figures.  None: "val_score" with ``early_stopping=True``, otherwise "loss", as in scikit-learn.

metrics : str, callable or list of these, default=None
    Names of scikit-learn's scorers, or functions scorer(estimator, X, y), as of ``make_scorer``: applied to the validation data
    after each epoch, and kept in ``history_.metrics``.
"""
CLASSIFIER = """
class_weight : "balanced", dict or list of dict, default=None
    Weights of classes, by which those of their samples are multiplied; classes that a dictionary lacks have weight 1.
    "balanced": n_samples / (n_classes * samples of the class); not for ``partial_fit``.  For several labels, a list with one
    dictionary for each.  Validation data that are passed to ``fit`` are not weighted.

label_smoothing : float, default=0.0
    Targets are moved towards equal probabilities: (1 - ε) t + ε / n_classes; for two classes or several labels, + ε / 2.
"""
REGRESSOR = """
loss : str or bp.Loss
    Also absolute_error, huber, log_cosh, quantile (the median), gamma or tweedie; or an object: ``bp.Huber(delta)``,
    ``bp.Quantile(0.1, 0.5, 0.9)``, ``bp.Tweedie(power)``, or a ``bp.Loss`` of your own.  The error of a sample is the sum over
    the outputs.  With several quantiles, ``predict`` returns one column for each, the ones of a target side by side, and
    ``score`` is the mean of their D².  Targets for which a loss is not defined raise ValueError.

output_activation : str or bp.Activation, default=None
    The activation of the outputs, such as logistic for targets between 0 and 1.  None: identity if the loss is defined for all
    real outputs, exp if only for positive outputs (poisson, gamma, tweedie), logistic if only for probabilities.

error_bars : bool, default=False
    Whether ``fit`` ends with the Laplace approximation ``posterior_`` of the distribution of the weights (see
    ``bp.MLP.laplace``), which ``predict(X, return_std=True)`` needs.
"""
CALLBACKS = """
callbacks : list of bp.callbacks.Callback or callable, default=None
    What is called after each epoch: objects of ``bp.callbacks``, such as ``bp.callbacks.CSVLogger("log.csv")``, or functions of
    the run, which stop training by returning true.  ``run.net`` is the estimator.  Callbacks remember things from one fit to
    the next; ``clone`` copies them.  Callbacks of scikit-learn are set by ``set_callbacks`` (scikit-learn 1.9).

n_jobs : int, default=None
    The most threads of training, ``predict`` and ``transform``; -1 means all, -2 all but one.  None: those of Numba.  The
    results have the same bits for any number.
"""
NOTES = """``fit`` and ``partial_fit`` also take validation data: ``fit(X, y, X_val=X_val, y_val=y_val)``, with weights if
``sample_weight_val`` is given.  In a ``Pipeline(..., transform_input=["X_val"])`` they are transformed as X is.
``transform(X, layer=-2)`` returns the outputs of a layer, ``input_gradient(X, y)`` and ``jacobian(X)`` derivatives by the
inputs, and ``initialize(X, y)`` draws the initial weights without training.

The parameters of the net go with all solvers, layer_norm not with lbfgs.  Those of training go with all but lbfgs and lm, which
name in a ValueError what they do not have; class_weight and n_jobs go with all.  All go with ``fit``, ``partial_fit`` and
``warm_start``.  While training goes on, with ``partial_fit`` or ``warm_start``, ``connections``, ``masks`` and ``layer_norm``
cannot change.  ``to_mlp`` keeps the net and its dropout.  ``to_sklearn`` raises ValueError if a parameter is in use that
scikit-learn does not have.
"""
