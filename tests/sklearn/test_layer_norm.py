"""Estimators with normalised layers."""

import copy
import pickle
from contextlib import suppress

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.model_selection import train_test_split

import bpkernel as bp

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture(scope="module")
def iris():
    return load_iris(return_X_y=True)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"solver": "sgd"},
        {"solver": "adamw", "dropout": 0.2},
        {"solver": "lm", "max_iter": 10},
        {"layer_norm": [False, True]},
        {"connections": "all"},
        {"early_stopping": True},
    ],
    ids=repr,
)
def test_the_net_is_that_of_to_mlp_and_of_copies(iris, settings):
    X, y = iris
    net = bp.MLPClassifier((12, 7), random_state=0, **{"layer_norm": True, "max_iter": 30, **settings}).fit(X, y)
    probabilities, mlp = net.predict_proba(X), net.to_mlp()
    assert mlp.layer_norm == (settings.get("layer_norm", [True])[0], True)
    assert np.array_equal(mlp.predict(X), probabilities)
    assert np.array_equal(mlp.backprop(X, np.eye(3)[y]).z[2], net.transform(X))
    for own, other in ((net.gains_, mlp.gains), (net.shifts_, mlp.shifts)):
        assert [a.shape for a in own] == [(7,)] if "layer_norm" in settings else [(12,), (7,)]
        assert all(map(np.array_equal, own, other))
    assert not np.array_equal(net.gains_[0], np.ones(len(net.gains_[0])))
    for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert np.array_equal(other.predict_proba(X), probabilities)
        other.gains_[0][:] += 1
        assert not np.allclose(other.predict_proba(X), probabilities)
        other.gains_ = [gains.copy() for gains in net.gains_]
        assert np.array_equal(other.predict_proba(X), probabilities)
    assert np.array_equal(net.predict_proba(X), probabilities)


def test_training_is_that_of_an_mlp(iris):
    X, y = iris
    net = bp.MLPClassifier((12, 7), layer_norm=True, random_state=0, max_iter=10, alpha=0, shuffle=False).initialize(X, y)
    assert all((gains == 1).all() for gains in net.gains_)
    assert all((shifts == 0).all() for shifts in net.shifts_)
    mlp = net.to_mlp()
    mlp.fit(X, y, epochs=10, shuffle=False, optimizer=bp.Adam())
    net.set_params(warm_start=True).fit(X, y)
    assert np.array_equal(net.predict_proba(X), mlp.predict(X))
    net.partial_fit(X, y)
    assert not np.array_equal(net.gains_[0], mlp.gains[0])


def test_early_stopping_goes_back_to_the_gains_and_shifts_of_the_best_epoch(iris):
    seen = []
    X, X_val, y, y_val = train_test_split(*iris, random_state=0)

    def keep(run):
        seen.append([array.copy() for array in (*run.net.coefs_, *run.net.gains_, *run.net.shifts_)])

    net = bp.MLPClassifier((12,), layer_norm=True, early_stopping=True, monitor="val_loss", callbacks=[keep], random_state=0)
    net.set_params(learning_rate_init=0.1, n_iter_no_change=5).fit(X, y, X_val=X_val, y_val=y_val)
    best = net.history_.best_epoch
    assert best < len(seen) - 1
    assert all(map(np.array_equal, (*net.coefs_, *net.gains_, *net.shifts_), seen[best]))
    assert not np.array_equal(seen[best][2], seen[-1][2])


def test_layers_stay_as_they_are_while_training_goes_on(iris):
    X, y = iris
    net = bp.MLPClassifier((12, 7), layer_norm=True, random_state=0, max_iter=3).fit(X, y)
    with pytest.raises(ValueError, match="layer_norm cannot change while training goes on"):
        net.set_params(layer_norm=[True, False]).partial_fit(X, y)
    with pytest.raises(ValueError, match="layer_norm cannot change while training goes on"):
        net.set_params(layer_norm=False, warm_start=True).fit(X, y)
    net.set_params(warm_start=False).fit(X, y)
    assert not hasattr(net, "gains_")
    assert np.array_equal(
        net.predict_proba(X), bp.MLPClassifier((12, 7), random_state=0, max_iter=3).fit(X, y).predict_proba(X)
    )


def test_a_failed_fit_leaves_the_gains(iris):
    X, y = iris
    net = bp.MLPClassifier((12,), layer_norm=True, random_state=0, max_iter=3).fit(X, y)
    before = net.predict_proba(X)

    def fail(run):
        raise RuntimeError

    with suppress(RuntimeError):
        net.set_params(callbacks=[fail]).partial_fit(X, y)
    assert np.array_equal(net.predict_proba(X), before)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"solver": "lbfgs", "layer_norm": True}, "solver='lbfgs' does not have layer_norm=True"),
        ({"layer_norm": [True]}, "one bool for each hidden layer"),
        ({"layer_norm": "all"}, "'layer_norm' parameter of MLPClassifier must be"),
        ({"layer_norm": True, "hidden_layer_sizes": (1,)}, "layer 1 has one unit"),
    ],
)
def test_wrong_values(iris, settings, words):
    with pytest.raises(ValueError, match=words):
        bp.MLPClassifier(**{"hidden_layer_sizes": (12, 7), **settings}).fit(*iris)


def test_scikit_learn_has_no_such_estimator(iris):
    with pytest.raises(ValueError, match="layer_norm=True"):
        bp.MLPClassifier((12, 7), layer_norm=True, max_iter=3).fit(*iris).to_sklearn()
