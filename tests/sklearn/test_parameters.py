"""The parameters beyond scikit-learn's: their names and values, wrong values, copies and conversions."""

import copy
import inspect
import math
import pickle
import re

import joblib
import numpy as np
import pytest
import sklearn.neural_network as original
from scipy import sparse
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.utils.estimator_checks import check_estimator

import bpkernel as bp
from bpkernel.sklearn.parameters import COMMON, OF_CLASSIFIER, OF_REGRESSOR

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

SOLVERS = ["sgd", "adam", "lbfgs"]
rng = np.random.default_rng(0)
X = rng.normal(size=(40, 3))
Y = np.exp(X[:, 0]) + rng.random(40)
LABELS = (X[:, 0] + X[:, 1] > 0).astype(int)
MASKS = {(0, 1): np.arange(12).reshape(3, 4) % 3 != 0}
SOFTPLUS = bp.Activation(lambda a: max(a, 0) + math.log1p(math.exp(-abs(a))), lambda a, z: 1 - math.exp(-z), "own_softplus")
QUARTIC = bp.Loss(lambda y, t: (y - t) ** 4 / 4, lambda y, t: (y - t) ** 3, "quartic")
NEW = {"connections": "all", "masks": MASKS, "init": "he_normal", "activation": [SOFTPLUS, "elu"]}


def regressor(**changed):
    return bp.MLPRegressor(**{"hidden_layer_sizes": (4, 2), "max_iter": 5, "random_state": 0, **changed})


def classifier(**changed):
    return bp.MLPClassifier(**{"hidden_layer_sizes": (4, 2), "max_iter": 5, "random_state": 0, **changed})


# ----------------------------------------------------------------------------------------------------------- parameters


@pytest.mark.parametrize("name", ["MLPClassifier", "MLPRegressor"])
def test_the_signature_is_that_of_scikit_learn_and_some_more(name):
    mine, theirs = (inspect.signature(getattr(module, name)) for module in (bp, original))
    names = list(mine.parameters)
    more = [*COMMON, *(OF_REGRESSOR if name == "MLPRegressor" else OF_CLASSIFIER)]
    assert names == [*theirs.parameters, *more]
    assert [mine.parameters[n] for n in names[: -len(more)]] == list(theirs.parameters.values())
    assert all(mine.parameters[n].kind is inspect.Parameter.KEYWORD_ONLY for n in more)
    assert set(getattr(bp, name)().get_params()) == set(names)
    for arguments, named in (((1, 2, 3, 4), {}), ((), {"nope": 1})):
        with pytest.raises(TypeError, match=r"MLP\w+.__init__\(\)"):
            getattr(bp, name)(*arguments, **named)


def test_positional_arguments():
    assert bp.MLPClassifier((7,), "gelu").get_params()["activation"] == "gelu"
    assert bp.MLPRegressor("huber", (7,), "gelu").get_params()["loss"] == "huber"


def test_parameters_are_read_set_cloned_and_shown():
    e = classifier(**NEW)
    assert e.get_params()["masks"] is MASKS
    other = clone(e).set_params(init="zeros")
    assert (other.init, other.connections, e.init) == ("zeros", "all", "he_normal")
    np.testing.assert_array_equal(other.masks[0, 1], MASKS[0, 1])
    assert repr(bp.MLPClassifier(connections="all")) == "MLPClassifier(connections='all')"
    assert repr(bp.MLPRegressor("huber", init=None)) == "MLPRegressor(loss='huber')"
    assert "connections" in e._repr_html_()
    for kind in (bp.MLPClassifier, bp.MLPRegressor):
        assert ("loss : str or bp.Loss" in kind.__doc__) == (kind is bp.MLPRegressor)
        for name in ("connections", "masks", "init", "activation"):
            assert re.search(rf"^{name} : .*bp\.|^{name} : ", inspect.getdoc(kind).partition("Other Parameters\n---")[2], re.M)


def test_a_search_over_the_parameters():
    grid = {
        "connections": [None, "all", [(0, 1), (0, 2), (1, 2), (2, 3)]],
        "masks": [None, MASKS],
        "init": [None, "lecun_normal"],
        "activation": ["relu", "gelu", [SOFTPLUS, "relu"]],
    }
    search = GridSearchCV(classifier(solver="lbfgs", max_iter=2), grid, cv=2, n_jobs=2).fit(X, LABELS)
    assert len(search.cv_results_["params"]) == 36
    assert len(set(search.cv_results_["mean_test_score"])) > 3
    losses = GridSearchCV(regressor(max_iter=2), {"loss": ["huber", bp.Huber(3.0), QUARTIC, "gamma"]}, cv=2).fit(X, Y)
    assert len(losses.cv_results_["params"]) == 4


class OwnSignature(bp.MLPClassifier):
    def __init__(self, hidden_layer_sizes=(4, 2), connections="all"):
        super().__init__(hidden_layer_sizes=hidden_layer_sizes, connections=connections, max_iter=2, random_state=0)


class SetsNothing(bp.MLPRegressor):
    def __init__(self, alpha=0.5):
        original.MLPRegressor.__init__(self, alpha=alpha, max_iter=2, random_state=0)


def test_subclasses_with_a_signature_of_their_own():
    e = clone(OwnSignature()).fit(X, LABELS)
    assert e.get_params() == {"hidden_layer_sizes": (4, 2), "connections": "all"}
    assert len(e.coefs_) == 6
    e = clone(SetsNothing()).fit(X, Y).partial_fit(X, Y)
    assert (e.connections, e.connections_) == (None, ((0, 1), (1, 2)))


@pytest.mark.parametrize("new", [{"connections": "all"}, {"activation": "gelu"}, {"loss": "huber"}])
def test_the_checks_of_scikit_learn_pass_for_other_nets(new):
    check_estimator((bp.MLPRegressor if "loss" in new else bp.MLPClassifier)(**new, max_iter=50), on_skip=None)


# ---------------------------------------------------------------------------------------------------------- wrong values

WRONG = {
    "connections text": ({"connections": "some"}, ValueError, "'connections' parameter of MLPRegressor must be a str among"),
    "connections number": ({"connections": 3}, ValueError, "'connections' parameter of MLPRegressor must be"),
    "connections no pairs": ({"connections": [0, 1]}, TypeError, 'connections must be None, "all" or pairs'),
    "connections unknown": ({"connections": [(0, 1), (1, 2), (2, 4)]}, ValueError, "names layer 4; the layers are 0"),
    "connections back": ({"connections": [(0, 1), (2, 1), (2, 3)]}, ValueError, "does not lead to a later layer"),
    "connections open": ({"connections": [(0, 1), (1, 3)]}, ValueError, "no pair leads to layer 2"),
    "masks list": ({"masks": [np.ones((3, 4), bool)]}, ValueError, "'masks' parameter of MLPRegressor must be"),
    "masks key": ({"masks": {(0, 2): np.ones((3, 2), bool)}}, ValueError, r"masks: \(0, 2\) is not a connection"),
    "masks shape": ({"masks": {(0, 1): np.ones((4, 3), bool)}}, ValueError, r"masks\[\(0, 1\)\] must have shape \(3, 4\)"),
    "masks dtype": ({"masks": {(0, 1): np.ones((3, 4))}}, TypeError, "must be an array of bool"),
    "init name": ({"init": "nope"}, ValueError, "'init' parameter of MLPRegressor must be a str among"),
    "init type": ({"init": np.ones(3)}, ValueError, "'init' parameter of MLPRegressor must be"),
    "activation name": ({"activation": "nope"}, ValueError, "'activation' parameter of MLPRegressor must be a str among"),
    "activation output": ({"activation": "softmax"}, ValueError, "'activation' parameter of MLPRegressor must be a str among"),
    "activation function": ({"activation": math.tanh}, ValueError, "'activation' parameter of MLPRegressor must be"),
    "activation in list": ({"activation": ["relu", "nope"]}, ValueError, "activation must be one of identity"),
    "activation type": ({"activation": ["relu", math.tanh]}, TypeError, "make an activation of a function with bp.Activation"),
    "activation list": ({"activation": ["relu"]}, ValueError, r"one name for each hidden layer \(2 for"),
    "loss name": ({"loss": "hinge"}, ValueError, "'loss' parameter of MLPRegressor must be a str among"),
    "loss class": ({"loss": bp.Huber}, ValueError, "'loss' parameter of MLPRegressor must be"),
    "loss of activation": ({"loss": SOFTPLUS}, ValueError, "'loss' parameter of MLPRegressor must be"),
    "gamma of 0": (
        {"loss": "gamma", "y": np.maximum(Y - 2, 0)},
        ValueError,
        "y must be greater than 0 for gamma; got values from 0",
    ),
    "tweedie": (
        {"loss": "tweedie", "y": Y - 2},
        ValueError,
        "y must not be negative for tweedie|y must be not negative for tweedie",
    ),
}


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("name", WRONG)
def test_wrong_values_are_refused_before_any_training(name, solver):
    """Also where training goes on, which changes nothing of the estimator."""
    changed, kind, message = WRONG[name]
    changed = {**changed}
    y = changed.pop("y", Y)
    e = regressor(solver=solver, **changed)
    with pytest.raises(kind, match=message):
        e.fit(X, y)
    assert not hasattr(e, "coefs_")
    e = regressor(solver=solver, warm_start=True, **{"loss": changed["loss"]} if "y" in WRONG[name][0] else {}).fit(X, Y)
    before, loss = [w.copy() for w in (*e.coefs_, *e.intercepts_)], e.loss_
    e.set_params(**changed)
    with pytest.raises((ValueError, TypeError), match=message):
        e.fit(X, y)
    if solver != "lbfgs" and not name.startswith("init"):  # scikit-learn does not check parameters here
        with pytest.raises((ValueError, TypeError, KeyError)):
            e.partial_fit(X, y)
    for found, expected in zip((*e.coefs_, *e.intercepts_), before, strict=True):
        np.testing.assert_array_equal(found, expected)
    assert e.loss_ == loss


def test_connections_cannot_change_while_training_goes_on():
    e = regressor(warm_start=True).fit(X, Y)
    for changed in ({"connections": "all"}, {"masks": MASKS}):
        other = copy.deepcopy(e).set_params(**changed)
        for again in (other.fit, other.partial_fit):
            with pytest.raises(ValueError, match="connections, masks and layer_norm cannot change while training goes on"):
                again(X, Y)
        np.testing.assert_array_equal(other.predict(X), e.predict(X))
        assert len(other.set_params(warm_start=False).fit(X, Y).connections_) == (6 if "connections" in changed else 3)
    masked = regressor(masks=MASKS).partial_fit(X, Y)
    masked.masks = {(0, 1): MASKS[0, 1].copy()}  # equal ones
    masked.partial_fit(X, Y)
    masked.masks[0, 1][0] = True
    with pytest.raises(ValueError, match="cannot change"):
        masked.partial_fit(X, Y)
    with pytest.raises(ValueError, match="cannot change"):
        masked.set_params(masks=None).partial_fit(X, Y)
    assert masked.fit(X, Y).coefs_[0].all()


def test_the_output_activation_follows_from_the_loss():
    probability = bp.Loss(
        lambda y, t: (y - t) ** 2 / 2, lambda y, t: y - t, "brier", outputs="probability", targets="probability"
    )
    for loss, output in {
        "squared_error": "identity", "poisson": "exp", "absolute_error": "identity", "huber": "identity", "gamma": "exp",
        "log_cosh": "identity", "quantile": "identity", "tweedie": "exp", bp.Tweedie(2.5): "exp", QUARTIC: "identity",
        probability: "logistic",
    }.items():  # fmt: skip
        e = regressor(loss=loss).fit(X, Y / Y.max())
        assert e.out_activation_ == output
        if output != "identity":
            assert e.predict(100 * X).min() >= 0
    with pytest.raises(ValueError, match="between 0 and 1 for brier"):
        regressor(loss=probability).fit(X, Y)


def test_several_targets():
    T = np.column_stack([Y, X[:, 1]])
    e = regressor(loss="absolute_error", connections="all", activation="gelu").fit(X, T)
    found = e.to_mlp().loss(X, T) + 0.5 * 1e-4 * sum((w**2).sum() for w in e.coefs_) / 40
    again = copy.deepcopy(e).set_params(learning_rate_init=1e-300).partial_fit(X, T)
    assert again.loss_ == pytest.approx(found, rel=1e-3)  # of weights that Adam has moved on from
    assert e.predict(X).shape == T.shape


# ------------------------------------------------------------------------------------------------------ copies, conversions

COPIES = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda e: pickle.loads(pickle.dumps(e)),
    "cloudpickle": lambda e: pickle.loads(pytest.importorskip("cloudpickle").dumps(e)),
}


@pytest.mark.parametrize("copied", COPIES)
@pytest.mark.parametrize("solver", SOLVERS)
def test_copies_predict_the_same_and_train_on_alike(solver, copied):
    own = {**NEW, "activation": [bp.LeakyReLU(0.3), "elu"]} if copied == "pickle" else NEW
    loss = bp.Huber(0.5) if copied == "pickle" else QUARTIC
    e = regressor(**own, loss=loss, solver=solver).fit(X, Y)
    other = COPIES[copied](e)
    np.testing.assert_array_equal(other.predict(X), e.predict(X))
    assert other.connections_ == e.connections_
    if solver != "lbfgs":
        for each in (e, other):
            each.partial_fit(X, Y)
        np.testing.assert_array_equal(other.predict(X), e.predict(X))
        assert (other.coefs_[0][~MASKS[0, 1]] == 0).all()
    other.coefs_[0][:] = 0
    assert e.coefs_[0].any()


def test_joblib_and_other_copies_of_arrays(tmp_path):
    e = classifier(**{**NEW, "activation": "silu"}).fit(X, LABELS)
    joblib.dump(e, tmp_path / "net")
    for mode in (None, "r"):
        other = joblib.load(tmp_path / "net", mmap_mode=mode)
        np.testing.assert_array_equal(other.predict_proba(X), e.predict_proba(X))
        assert other.fit(X, LABELS).score(X, LABELS) == e.score(X, LABELS)


def test_an_estimator_pickled_before_there_were_these_parameters():
    state = regressor().fit(X, Y).__getstate__()
    assert not {"connections", "masks", "init"} & set(state)
    old = bp.MLPRegressor.__new__(bp.MLPRegressor)
    old.__setstate__(state)
    assert old.get_params() == regressor().get_params()
    np.testing.assert_array_equal(old.partial_fit(X, Y).predict(X), regressor().fit(X, Y).partial_fit(X, Y).predict(X))


@pytest.mark.parametrize("solver", SOLVERS)
def test_an_mlp_of_the_same_net(solver):
    e = regressor(**NEW, loss="gamma", solver=solver).fit(X, Y)
    net = e.to_mlp()
    np.testing.assert_array_equal(net.predict(X)[:, 0], e.predict(X))
    assert net.connections == e.connections_
    assert (net.masks[0, 1] == MASKS[0, 1]).all()
    assert list(net.masks) == [(0, 1)]
    assert (net.loss_name, net.output_activation, net.activation) == ("gamma", "exp", (SOFTPLUS, "elu"))


TO_SKLEARN = {
    "connections": {"connections": "all"},
    "masks": {"masks": MASKS},
    "init='zeros'": {"init": "zeros"},
    "activation='gelu'": {"activation": "gelu"},
    r"activation=\['relu', 'tanh'\]": {"activation": ["relu", "tanh"]},
    "loss='huber'": {"loss": "huber"},
    r"loss=Loss\('quartic'\)": {"loss": QUARTIC},
}


@pytest.mark.parametrize("message", TO_SKLEARN)
def test_what_scikit_learn_does_not_have_is_not_converted_to_it(message):
    e = regressor(**TO_SKLEARN[message])
    for each in (e, e.fit(X, Y)):
        with pytest.raises(ValueError, match=f"no such net or parameter: {message}; to_mlp"):
            each.to_sklearn()
    if message in ("connections", "masks"):
        with pytest.raises(ValueError, match="that it was fitted with"):
            e.set_params(connections=None, masks=None).to_sklearn()


def test_conversion_of_nets_that_scikit_learn_has():
    e = regressor().fit(X, Y)
    theirs = e.to_sklearn()
    assert not {"connections", "masks", "init", "_topology"} & set(theirs.__dict__)
    assert bp.MLPRegressor.from_sklearn(theirs).connections_ == e.connections_ == ((0, 1), (1, 2), (2, 3))
    assert not hasattr(regressor(), "connections_")


def test_an_exception_of_an_own_function_passes_and_changes_nothing():
    def error(y, t):
        if t > 100:
            raise ArithmeticError("too much")
        return (y - t) ** 2 / 2

    e = regressor(loss=bp.Loss(error, lambda y, t: y - t, "refusing"), connections="all").fit(X, Y)
    before = e.predict(X)
    for again in (e.partial_fit, e.fit):
        with pytest.raises(ArithmeticError, match="too much"):
            again(X, 200 * Y)
        np.testing.assert_array_equal(e.predict(X), before)


def test_coefficients_of_other_shapes_are_refused():
    e = regressor(connections="all").fit(X, Y)
    e.coefs_[1] = np.ones((3, 3))
    for act in (lambda: e.predict(X), lambda: e.partial_fit(X, Y), lambda: e.predict(sparse.csr_matrix(X))):
        with pytest.raises(ValueError, match="do not form a net"):
            act()
