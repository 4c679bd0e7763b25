"""The estimators beside scikit-learn's: the same checks, numbers, errors, warnings and words."""

import copy
import warnings

import compare_sklearn
import numpy as np
import pandas as pd
import pytest
import sklearn.neural_network as original
from estimator_pairs import CLASSIFIER, DIABETES, IRIS
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.estimator_checks import estimator_checks_generator

import bpkernel as bp
from bpkernel.sklearn import base

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


CHECKS = [pair for kind in (bp.MLPClassifier, bp.MLPRegressor) for pair in estimator_checks_generator(kind(max_iter=50))]


@pytest.mark.parametrize(("estimator", "check"), CHECKS, ids=lambda value: getattr(value, "func", type(value)).__name__)
def test_the_checks_of_scikit_learn(estimator, check):
    check(estimator)


@pytest.mark.parametrize(
    "setting", compare_sklearn.settings(40, seed=11), ids=lambda s: f"{s.kind}-{s.parameters['solver']}-{s.how}"
)
def test_random_settings_train_as_in_scikit_learn(setting):
    _, _, wrong = compare_sklearn.compare(setting)
    assert wrong == []


def test_the_comparison_finds_a_difference(monkeypatch):
    """Of one part in 10,000 in the learning rate."""
    setting = compare_sklearn.settings(1, seed=3)[0]
    setting.dtype, setting.how = "float64", "fit"
    setting.parameters |= {"solver": "sgd", "learning_rate": "constant", "early_stopping": False, "learning_rate_init": 0.01}
    share, _, wrong = compare_sklearn.compare(setting)
    assert share < 1e-3
    assert wrong == []
    as_it_is = base.optimizers.set_rate

    def a_little_more(optimizer, training):
        as_it_is(optimizer, training)
        training.step.settings[0] *= 1 + 1e-4

    monkeypatch.setattr(base.optimizers, "set_rate", a_little_more)
    assert compare_sklearn.compare(setting)[2] != []


# ------------------------------------------------------------------------------------- the same errors, warnings and words


def told(module, kind, parameters, act):
    """The class and text of what is raised and warned, and what is printed."""
    estimator = getattr(module, kind)(**parameters)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            act(estimator)
            error = None
        except Exception as raised:
            error = type(raised), str(raised).removesuffix(compare_sklearn.HINT)
    return error, [(w.category, str(w.message)) for w in caught if w.category is not RuntimeWarning]


X, Y = IRIS
BAD = {
    "NaN": ({}, lambda e: e.fit(np.where(X > 7, np.nan, X), Y)),
    "Inf": ({}, lambda e: e.fit(np.where(X > 7, np.inf, X), Y)),
    "text": ({}, lambda e: e.fit(X.astype(str) + "a", Y)),
    "empty": ({}, lambda e: e.fit(X[:0], Y[:0])),
    "lengths": ({}, lambda e: e.fit(X, Y[:-1])),
    "1-D": ({}, lambda e: e.fit(X[0], Y)),
    "column": ({}, lambda e: e.fit(X, Y.reshape(-1, 1))),
    "no layer": ({"hidden_layer_sizes": (5, 0)}, lambda e: e.fit(X, Y)),
    "negative layer": ({"hidden_layer_sizes": -1}, lambda e: e.fit(X, Y)),
    "activation": ({"activation": "step"}, lambda e: e.fit(X, Y)),
    "solver": ({"solver": "newton"}, lambda e: e.fit(X, Y)),
    "alpha": ({"alpha": -1}, lambda e: e.fit(X, Y)),
    "batch_size": ({"batch_size": 10_000}, lambda e: e.fit(X, Y)),
    "rate": ({"learning_rate_init": 1e30, "solver": "sgd"}, lambda e: e.fit(X, Y)),
    "validation": ({"early_stopping": True, "validation_fraction": 0.001}, lambda e: e.fit(X, Y)),
    "small validation": ({"early_stopping": True, "validation_fraction": 0.1}, lambda e: e.fit(X[45:55], Y[45:55])),
    "weights": ({}, lambda e: e.fit(X, Y, sample_weight=np.ones(3))),
    "weights NaN": ({}, lambda e: e.fit(X, Y, sample_weight=np.full(150, np.nan))),
    "weights 0": ({}, lambda e: e.fit(X, Y, sample_weight=np.zeros(150))),
    "weights 0 in lbfgs": ({"solver": "lbfgs"}, lambda e: e.fit(X, Y, sample_weight=np.zeros(150))),
    "a batch without weight": (
        {"batch_size": 50, "shuffle": False},
        lambda e: e.fit(X, Y, sample_weight=1.0 * (np.arange(150) >= 50)),
    ),
    "partial_fit of lbfgs": ({"solver": "lbfgs"}, lambda e: e.partial_fit(X, Y, classes=[0, 1, 2])),
    "partial_fit and early stopping": ({"early_stopping": True}, lambda e: e.partial_fit(X, Y, classes=[0, 1, 2])),
    "partial_fit without classes": ({}, lambda e: e.partial_fit(X, Y)),
    "partial_fit of another class": ({}, lambda e: e.partial_fit(X, Y, classes=[0, 1, 2]).partial_fit(X, Y + 1)),
    "partial_fit of other inputs": ({}, lambda e: e.partial_fit(X, Y, classes=[0, 1, 2]).partial_fit(X[:, 1:], Y)),
    "partial_fit of NaN": ({}, lambda e: e.partial_fit(X, Y, classes=[0, 1, 2]).partial_fit(np.where(X > 7, np.nan, X), Y)),
    "warm start of other classes": ({"warm_start": True}, lambda e: e.fit(X, Y).fit(X, Y + 1)),
    "predict unfitted": ({}, lambda e: e.predict(X)),
    "predict other inputs": ({}, lambda e: e.fit(X, Y).predict(X[:, 1:])),
    "predict NaN": ({}, lambda e: e.fit(X, Y).predict(np.full((1, 4), np.nan))),
    "predict 1-D": ({}, lambda e: e.fit(X, Y).predict(X[0])),
    "names": ({}, lambda e: e.fit(pd.DataFrame(X, columns=list("abcd")), Y).predict(X)),
    "other names": (
        {},
        lambda e: e.fit(pd.DataFrame(X, columns=list("abcd")), Y).predict(pd.DataFrame(X, columns=list("abce"))),
    ),
    "many epochs": ({"max_iter": 2}, lambda e: e.fit(X, Y)),
    "many iterations": ({"solver": "lbfgs", "max_iter": 2}, lambda e: e.fit(X, Y)),
}


@pytest.mark.parametrize("name", BAD)
def test_errors_and_warnings_are_those_of_scikit_learn(name):
    parameters, act = BAD[name]
    mine, theirs = (told(m, "MLPClassifier", {**CLASSIFIER, **parameters}, act) for m in (bp, original))
    if name in ("activation", "solver"):  # of which there are more
        mine, theirs = (((error[0], error[1].partition(" a str among")[0]), told) for error, told in (mine, theirs))
    assert mine == theirs
    assert theirs[0] is not None or theirs[1]


@pytest.mark.parametrize(
    "parameters",
    [
        {"tol": 0.5, "n_iter_no_change": 2, "max_iter": 50},
        {"tol": 0.5, "n_iter_no_change": 2, "max_iter": 50, "early_stopping": True},
        {"tol": 0.5, "n_iter_no_change": 1, "max_iter": 50, "solver": "sgd", "learning_rate": "adaptive"},
        {
            "tol": 0.5,
            "n_iter_no_change": 1,
            "max_iter": 50,
            "solver": "sgd",
            "learning_rate_init": 1e-6,
            "learning_rate": "adaptive",
        },
    ],
)
def test_verbose_prints_what_scikit_learn_prints(parameters, capsys):
    printed = []
    for module in (original, bp):
        module.MLPClassifier(**{**CLASSIFIER, **parameters}, verbose=True).fit(*IRIS)
        printed.append(capsys.readouterr().out)
    assert "Iteration 3, loss = " in printed[0]
    assert printed[0] == printed[1]


def test_warnings_come_in_the_name_of_scikit_learn():
    """So that a filter for module="sklearn", as its users have it, applies."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", category=ConvergenceWarning, module="sklearn")
        warnings.filterwarnings("ignore", message="Got `batch_size`", module="sklearn")
        bp.MLPClassifier(**CLASSIFIER, batch_size=1000).fit(*IRIS)


@pytest.mark.parametrize("given", ["None", "a RandomState"])
def test_random_numbers_are_drawn_as_scikit_learn_draws_them(given):
    """The global generator, or the one given, is afterwards in the same state."""
    states, curves = [], []
    for module in (original, bp):
        np.random.seed(5)  # noqa: NPY002
        random_state = None if given == "None" else np.random.RandomState(7)
        for early_stopping in (False, True):  # run ahead, or not
            parameters = {
                "hidden_layer_sizes": (9,),
                "max_iter": 200,
                "tol": 0.01,
                "n_iter_no_change": 3,
                "learning_rate_init": 0.01,
            }
            estimator = module.MLPClassifier(**parameters, early_stopping=early_stopping, random_state=random_state)
            curves.append(estimator.fit(*IRIS).loss_curve_)
        state = np.random.get_state() if random_state is None else random_state.get_state()  # noqa: NPY002
        states.append((state[1].tolist(), state[2]))
    assert states[0] == states[1]
    assert len(curves[0]) > 10
    for theirs, mine in zip(curves[:2], curves[2:], strict=True):
        assert 3 < len(theirs) < 200
        np.testing.assert_allclose(mine, theirs, rtol=1e-9)


# --------------------------------------------------------------------------------------------------- the unusual


def changed(**parameters):
    """Two steps, with other parameters or attributes for the second."""

    def act(estimator):
        estimator.partial_fit(*DIABETES)
        for name, value in parameters.items():
            setattr(estimator, name, copy.deepcopy(value))
        estimator.partial_fit(*DIABETES).partial_fit(*DIABETES)

    return act


UNUSUAL = {
    "an array of layers": ({"hidden_layer_sizes": np.array([5, 3])}, changed()),
    "other layers": ({}, changed(hidden_layer_sizes=(5, 4))),
    "layers that are no integers": ({}, changed(hidden_layer_sizes=(9.0,))),
    "another activation": ({}, changed(activation="tanh")),
    "an unknown activation": ({}, changed(activation="nope")),
    "another output activation": ({}, changed(out_activation_="relu")),
    "another loss": ({}, changed(loss="poisson")),
    "another solver": ({}, changed(solver="sgd")),
    "alpha": ({}, changed(alpha=0.3)),
    "a negative alpha": ({}, changed(alpha=-1.0)),
    "alpha NaN": ({}, changed(alpha=np.nan)),
    "alpha text": ({}, changed(alpha="a")),
    "half a batch": ({}, changed(batch_size=2.5)),
    "a large batch": ({}, changed(batch_size=1000)),
    "another seed": ({}, changed(random_state=3)),
    "no seed": ({}, changed(random_state=np.random.RandomState(1))),
    "no shuffling": ({}, changed(shuffle=False)),
    "negative targets of poisson": ({"loss": "poisson", "max_iter": 30}, lambda e: e.fit(DIABETES[0], DIABETES[1] / 100 - 1)),
    "poisson with outputs of 0": ({"loss": "poisson", "max_iter": 3}, lambda e: e.fit(IRIS[0] * 1e3, IRIS[1])),
    "huge targets": ({"max_iter": 3}, lambda e: e.fit(DIABETES[0].astype("f4"), DIABETES[1] * 1e18)),
    "tiny weights": (
        {"max_iter": 3},
        lambda e: e.fit(DIABETES[0].astype("f4"), DIABETES[1], sample_weight=np.full(442, 1e-42)),
    ),
    "an appended layer": ({}, lambda e: (e.fit(*DIABETES).coefs_.append(np.ones((1, 1))), e.intercepts_.append(np.ones(1)))),
}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", UNUSUAL)
def test_the_unusual_is_as_in_scikit_learn(name):
    parameters, act = UNUSUAL[name]
    found = []
    for module in (bp, original):
        estimator = module.MLPRegressor(**{**CLASSIFIER, **parameters})
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                act(estimator)
                error = None
                numbers = [
                    *estimator.predict(DIABETES[0] if estimator.n_features_in_ == 10 else IRIS[0]),
                    *estimator.loss_curve_,
                ]
            except Exception as raised:
                error, numbers = (type(raised), str(raised)), []
        raised = [(w.category, str(w.message), w.filename) for w in caught if w.category is not RuntimeWarning]
        found.append((error, raised, numbers))
    (error, raised, numbers), (error_there, raised_there, numbers_there) = found
    assert (error, raised) == (error_there, raised_there)
    np.testing.assert_allclose(numbers, numbers_there, rtol=1e-4 if name in ("huge targets", "tiny weights") else 1e-9)


@pytest.mark.parametrize("name", ["_backprop", "_validate_input", "_update_no_improvement_count"])
def test_the_methods_of_a_subclass_are_used(name):
    results = []
    for kind in (bp.MLPClassifier, original.MLPClassifier):
        seen = []

        def method(self, *arguments, kind=kind, seen=seen, **keywords):
            seen.append(self.coefs_[0].sum() if hasattr(self, "coefs_") else 0.0)
            return getattr(super(type(self), self), name)(*arguments, **keywords)

        estimator = type("Mine", (kind,), {name: method, "__init__": kind.__init__})(**CLASSIFIER)
        estimator.fit(*IRIS).partial_fit(*IRIS).partial_fit(*IRIS)
        results.append(seen)
    assert len(results[0]) >= 3
    np.testing.assert_allclose(*results, rtol=1e-9)


def test_numbers_drawn_elsewhere_are_drawn_once():
    """Epochs that are run ahead draw from a copy of a generator that others see."""
    generator = np.random.RandomState(0)
    before = generator.get_state(legacy=False)["state"]["key"].copy()
    seen = []

    class Watched(bp.MLPClassifier):
        def _converged(self):
            seen.append(generator.get_state(legacy=False)["state"]["pos"])
            return super()._converged()

    Watched(hidden_layer_sizes=(9,), max_iter=30, tol=0, n_iter_no_change=99, random_state=generator).fit(*IRIS)
    assert (before != generator.get_state(legacy=False)["state"]["key"]).any()
    steps = np.diff(seen) % 624
    assert len(seen) == 30
    assert (steps > 0).all()
    assert steps.max() < 624 / 2
