"""The estimators: scikit-learn's behaviour, its checks, its tools around them, and the ways to other nets and back."""

import copy
import io
import itertools
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import threading
import time
import tracemalloc
import warnings

import compare_sklearn
import joblib
import numba
import numpy as np
import pandas as pd
import pytest
import sklearn.neural_network as original
from scipy import sparse
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_diabetes, load_digits, load_iris
from sklearn.ensemble import BaggingRegressor, StackingClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_predict
from sklearn.neural_network import _multilayer_perceptron as private
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils.estimator_checks import estimator_checks_generator

import bpkernel as bp
import bpkernel.sklearn
from bpkernel import coefficients, plan, seam, threads, training
from bpkernel.training import MiniBatches

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

IRIS, DIGITS, DIABETES = (load(return_X_y=True) for load in (load_iris, load_digits, load_diabetes))
CLASSIFIER = {"hidden_layer_sizes": (9,), "max_iter": 5, "random_state": 0}


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
    as_it_is = seam.sklearn_optimizers.set_rate

    def a_little_more(optimizer, training):
        as_it_is(optimizer, training)
        training.step.settings[0] *= 1 + 1e-4

    monkeypatch.setattr(seam.sklearn_optimizers, "set_rate", a_little_more)
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
            error = type(raised), str(raised)
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


# ------------------------------------------------------------------------------------------------------ coefficients


def pair(kind="MLPClassifier", data=IRIS, **parameters):
    """The same fitted, by bpkernel and by scikit-learn."""
    return [getattr(m, kind)(**{**CLASSIFIER, **parameters}).fit(*data) for m in (bp, original)]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("how", ["in place", "an array", "all", "another shape", "another dtype"])
def test_predictions_follow_what_is_written_to_the_coefficients(how, dtype):
    predictions = []
    for estimator in pair(data=(IRIS[0].astype(dtype), IRIS[1])):
        rng = np.random.default_rng(0)
        before = estimator.predict_proba(IRIS[0])
        if how == "in place":
            estimator.coefs_[0][:, 2] += 1
            estimator.intercepts_[1][1] -= 1
        elif how == "an array":
            estimator.coefs_[1] = estimator.coefs_[1] * 3
        elif how == "all":
            estimator.coefs_ = [w + 1 for w in estimator.coefs_]
        elif how == "another shape":
            estimator.coefs_ = [rng.normal(size=shape) for shape in ((4, 5), (5, 3))]
            estimator.intercepts_ = [rng.normal(size=n) for n in (5, 3)]
        else:
            estimator.coefs_ = [(w * 2).astype("float64" if dtype == "float32" else "float32") for w in estimator.coefs_]
        predictions.append(estimator.predict_proba(IRIS[0]))
        assert np.abs(predictions[-1] - before).max() > 1e-3
        if how != "in place":  # and again where an assigned array is written to
            estimator.coefs_[0][:] *= 0.5
            assert np.abs(estimator.predict_proba(IRIS[0]) - predictions[-1]).max() > 1e-3
    np.testing.assert_allclose(*predictions, atol=1e-5 if dtype == "float32" else 1e-12)
    assert predictions[0].dtype == predictions[1].dtype


def test_training_goes_on_from_coefficients_written_by_hand():
    results = []
    for estimator in pair():
        estimator.coefs_ = [w * 0.9 for w in estimator.coefs_]
        estimator.partial_fit(*IRIS)
        estimator.coefs_[0][1] = 0
        results.append(estimator.partial_fit(*IRIS).predict_proba(IRIS[0]))
    np.testing.assert_allclose(*results, rtol=1e-9)


def test_coefficients_that_make_no_net_fail_as_in_scikit_learn():
    for estimator in pair():
        estimator.coefs_[1] = np.ones((4, 3))
        with pytest.raises(ValueError, match=r"matmul|dimension|shapes"):
            estimator.predict(IRIS[0])


@pytest.mark.parametrize("X_dtype", ["float16", "float32", "float64", "int64"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_predictions_have_the_dtype_and_numbers_of_scikit_learn(dtype, X_dtype):
    mine, theirs = (e.predict_proba(IRIS[0].astype(X_dtype)) for e in pair(data=(IRIS[0].astype(dtype), IRIS[1])))
    assert mine.dtype == theirs.dtype
    np.testing.assert_allclose(mine, theirs, rtol=1e-5 if dtype == "float32" else 1e-11)


@pytest.mark.parametrize("form", [sparse.csr_matrix, sparse.csc_matrix, sparse.csr_array, np.asfortranarray, pd.DataFrame])
def test_other_forms_of_x_give_the_same(form):
    dense, other = (bp.MLPClassifier(**CLASSIFIER).fit(f(DIGITS[0]), DIGITS[1]) for f in (np.asarray, form))
    np.testing.assert_allclose(other.predict_proba(form(DIGITS[0])), dense.predict_proba(DIGITS[0]), rtol=1e-9)
    with pytest.raises(ValueError, match="64 features"):
        other.predict(form(DIGITS[0])[:, :3] if form is not pd.DataFrame else form(DIGITS[0][:, :3]))


def test_a_sparse_x_is_never_dense():
    """100,000 columns of 500 samples would be 400 MB."""
    X = sparse.random(500, 100_000, density=1e-4, format="csr", random_state=0)
    estimator = bp.MLPRegressor(hidden_layer_sizes=(2,), batch_size=10, max_iter=1)
    tracemalloc.start()
    estimator.fit(X, np.arange(500.0)).predict(X)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100e6


@pytest.mark.parametrize("name", ["indices", "indptr"])
def test_a_sparse_x_that_leads_out_of_itself_is_refused(name):
    X = sparse.random(50, 7, density=0.5, format="csr", random_state=0)
    getattr(X, name)[-1] = 10**6
    with pytest.raises(ValueError, match="ind"):
        bp.MLPRegressor(**CLASSIFIER).fit(X, np.arange(50.0))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize("shape", [(37, 1), (50, 7), (300, 61), (997, 500)])
def test_sparse_samples_train_as_dense_ones(shape, solver, dtype, monkeypatch):
    """Also rows without a number, unsorted indices, and indices of 64 bits; on one thread and on two the same bits."""
    monkeypatch.setattr(plan, "WORTH_A_THREAD", 1)
    monkeypatch.setattr(plan, "WORTH_A_CHUNK", 10_000)
    X = sparse.random(*shape, density=0.1, format="csr", random_state=0, dtype=dtype)
    X.data[: X.indptr[shape[0] // 3]] = 0
    X.eliminate_zeros()
    order = np.lexsort((-X.indices, np.repeat(np.arange(shape[0]), np.diff(X.indptr))))
    turned = sparse.csr_matrix((X.data[order], X.indices[order], X.indptr), X.shape)
    turned.indices, turned.indptr = turned.indices.astype(np.int64), turned.indptr.astype(np.int64)
    assert turned.has_sorted_indices == (np.diff(X.indptr).max() < 2)
    y = np.random.default_rng(0).normal(size=shape[0])
    estimator = bp.MLPRegressor(hidden_layer_sizes=(30, 9), solver=solver, max_iter=5, random_state=0)
    curves = []
    for data in (X.toarray(), X, turned):
        for n_threads in {1, numba.config.NUMBA_NUM_THREADS}:
            numba.set_num_threads(n_threads)
            curves.append([*estimator.fit(data, y).predict(X.toarray()), estimator.loss_])
            numba.set_num_threads(numba.config.NUMBA_NUM_THREADS)
    assert np.ptp(curves[0]) > 1e-3
    np.testing.assert_allclose(curves, [curves[0]] * len(curves), rtol=1e-3 if dtype == "float32" else 1e-9, atol=1e-6)
    n = len(curves) // 3
    assert len({tuple(curve) for curve in curves[n : 2 * n]}) == 1


# -------------------------------------------------------------------------------------- what fails leaves all as it was


def state(estimator):
    """What a user may look at, as bytes."""
    return pickle.dumps({k: v for k, v in estimator.__getstate__().items() if k not in ("learning_rate_init", "_random_state")})


@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_a_failed_step_leaves_net_optimizer_and_curve_as_they_were(solver):
    estimator = bp.MLPRegressor(**CLASSIFIER, solver=solver).fit(*DIABETES)
    before = state(estimator)
    with pytest.raises(ValueError, match="non-finite"):
        estimator.partial_fit(DIABETES[0] * 1e300, DIABETES[1])
    assert state(estimator) == before
    with pytest.raises(ValueError, match="non-finite"):
        estimator.set_params(learning_rate_init=1e300).fit(DIABETES[0] * 1e300, DIABETES[1])
    assert state(estimator) == before
    estimator.set_params(warm_start=True)
    before = state(estimator)
    with pytest.raises(ValueError, match="non-finite"):
        estimator.fit(DIABETES[0] * 1e300, DIABETES[1])
    assert state(estimator) == before
    assert np.isfinite(estimator.predict(DIABETES[0])).all()


def test_a_failed_warm_start_of_lbfgs_leaves_the_net():
    estimator = bp.MLPRegressor(**CLASSIFIER, solver="lbfgs", warm_start=True).fit(*DIABETES)
    before = estimator.predict(DIABETES[0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ConvergenceWarning):
            estimator.set_params(max_iter=3).fit(DIABETES[0][:50] * 3, -DIABETES[1][:50])
    np.testing.assert_array_equal(estimator.predict(DIABETES[0]), before)


@pytest.mark.parametrize("when", ["while drawing", "after the call", "between epochs"])
@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_interrupted_among_epochs_that_were_run_ahead_the_net_is_as_old_as_its_curve(solver, when, monkeypatch):
    """One mini-batch an epoch: the weights must be those of a fit of n_iter_ epochs, bit for bit."""
    parameters = {**CLASSIFIER, "solver": solver, "tol": 0, "n_iter_no_change": 10**6}
    calls, limit = [], {"while drawing": 100, "after the call": 7, "between epochs": 90}[when]

    def interrupted(function):
        def wrapper(*arguments):
            result = function(*arguments)
            calls.append(function)
            if len(calls) == limit:
                raise KeyboardInterrupt
            return result

        return wrapper

    owner, name = {
        "while drawing": (coefficients, "permutation"),
        "after the call": (MiniBatches, "run_epochs"),
        "between epochs": (bp.MLPClassifier, "_update_no_improvement_count"),
    }[when]
    estimator = bp.MLPClassifier(**{**parameters, "max_iter": 10**4})
    monkeypatch.setattr(owner, name, interrupted(getattr(owner, name)))
    monkeypatch.setattr(seam, "BETWEEN_EPOCHS", ())
    monkeypatch.setattr(coefficients, "AHEAD_SECONDS", 1.0)
    with pytest.warns(UserWarning, match="interrupted"):
        estimator.fit(*IRIS)
    monkeypatch.undo()
    other = bp.MLPClassifier(**{**parameters, "max_iter": estimator.n_iter_}).fit(*IRIS)
    assert len(estimator.loss_curve_) == estimator.n_iter_ > 3
    if solver == "adam":
        assert estimator._optimizer.t == estimator.n_iter_
    np.testing.assert_array_equal(estimator.predict_proba(IRIS[0]), other.predict_proba(IRIS[0]))


def test_several_threads_train_one_net_without_end_or_hang():
    estimator = bp.MLPClassifier(hidden_layer_sizes=(200, 100), random_state=0).partial_fit(*DIGITS, classes=range(10))

    def train():
        for _ in range(5):
            estimator.partial_fit(*DIGITS)

    threads = [threading.Thread(target=train, daemon=True) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert not any(thread.is_alive() for thread in threads)
    assert len(estimator.loss_curve_) == 16
    assert estimator._optimizer.t == 16 * 9


def test_training_that_goes_on_looks_anew_at_how_many_threads_there_are(monkeypatch):
    """In either direction, and what was prepared is kept where nothing has changed."""
    launched, launch = set(), training.launch
    monkeypatch.setattr(training, "launch", lambda n_threads, *a: launched.add(n_threads) or launch(n_threads, *a))
    estimator = bp.MLPClassifier(hidden_layer_sizes=(200, 100), random_state=0)
    kept = []
    threads.available()  # as `plan.available` would, it starts the threading layer
    for n_available in (1, 1, 2, 2, 1):
        monkeypatch.setattr(plan, "available", lambda n_available=n_available: n_available)
        launched.clear()
        estimator.partial_fit(*DIGITS, classes=range(10))
        assert launched == {n_available}
        kept.append(estimator._held._batches[1])
    assert [a is b for a, b in itertools.pairwise(kept)] == [True, False, True, False]


@pytest.fixture
def ctrl_c():
    """Python's own answer to Ctrl-C: it has none in a process that a shell began in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_ends_training_with_a_warning_as_in_scikit_learn():
    for module in (original, bp):
        estimator = module.MLPClassifier(hidden_layer_sizes=(300,), max_iter=10**6, tol=0, n_iter_no_change=10**6)

        def interrupt(estimator=estimator):
            while len(getattr(estimator, "loss_curve_", [])) < 20:
                time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGINT)

        threading.Thread(target=interrupt, daemon=True).start()
        with pytest.warns(UserWarning, match="Training interrupted by user"):
            estimator.fit(*DIGITS)
        assert len(estimator.loss_curve_) == estimator.n_iter_ >= 20
        assert estimator.score(*DIGITS) > 0.9


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_is_raised_under_lbfgs_and_the_weights_are_those_of_the_last_evaluation():
    scores = []
    for kind in (original.MLPClassifier, bp.MLPClassifier):

        class Interrupted(kind):
            calls = 0

            def _unpack(self, packed):
                super()._unpack(packed)
                self.calls += 1
                if self.calls == 15:
                    os.kill(os.getpid(), signal.SIGINT)

        estimator = Interrupted(solver="lbfgs", max_iter=100, random_state=0)
        with pytest.raises(KeyboardInterrupt):
            estimator.fit(*DIGITS)
        scores.append(estimator.predict_proba(DIGITS[0]))
    assert scores[0].std() > 0.1
    np.testing.assert_allclose(*scores, atol=1e-9)


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


# ----------------------------------------------------------------------------------------- copies, and other kinds of nets


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda e: pickle.loads(pickle.dumps(e))])
@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
def test_copies_predict_the_same_and_train_on_alike(solver, copied):
    estimator = bp.MLPRegressor(**CLASSIFIER, solver=solver).fit(*DIABETES)
    other = copied(estimator)
    np.testing.assert_array_equal(other.predict(DIABETES[0]), estimator.predict(DIABETES[0]))
    if solver != "lbfgs":
        for e in (estimator, other):
            e.partial_fit(*DIABETES)
        np.testing.assert_array_equal(other.predict(DIABETES[0]), estimator.predict(DIABETES[0]))
    other.coefs_[0][:] = 0
    assert estimator.coefs_[0].any()


def test_a_shallow_copy_shares_all_as_in_scikit_learn():
    for estimator in pair():
        other = copy.copy(estimator)
        other.partial_fit(*IRIS)
        np.testing.assert_array_equal(other.predict_proba(IRIS[0]), estimator.predict_proba(IRIS[0]))
        assert len(estimator.loss_curve_) == 6


def test_pickles_are_small_and_hold_nothing_compiled():
    estimators = pair(data=DIGITS, hidden_layer_sizes=(100,))
    mine, theirs = (len(pickle.dumps(e)) for e in estimators)
    assert mine <= theirs
    assert b"numba" not in pickle.dumps(estimators[0])


def test_a_memory_mapped_net_and_memory_mapped_samples(tmp_path):
    estimator = bp.MLPClassifier(**CLASSIFIER).fit(*DIGITS)
    joblib.dump((estimator, DIGITS[0]), tmp_path / "net")
    mapped, X = joblib.load(tmp_path / "net", mmap_mode="r")
    assert not X.flags.writeable
    np.testing.assert_array_equal(mapped.predict_proba(X), estimator.predict_proba(DIGITS[0]))
    refitted = mapped.fit(X, DIGITS[1])
    np.testing.assert_array_equal(refitted.predict_proba(X), estimator.predict_proba(DIGITS[0]))


@pytest.mark.parametrize(("kind", "data"), [("MLPClassifier", DIGITS), ("MLPRegressor", DIABETES)])
@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
def test_there_and_back_to_scikit_learn(kind, data, solver):
    mine, theirs = pair(kind, data, solver=solver)
    there, back = mine.to_sklearn(), type(mine).from_sklearn(theirs)
    assert type(there) is type(theirs)
    assert type(back) is type(mine)
    assert there.__dict__.keys() == theirs.__dict__.keys()
    for one, other in ((there, mine), (back, theirs)):
        np.testing.assert_allclose(one.predict(data[0]), other.predict(data[0]), rtol=1e-9)
        if solver != "lbfgs":
            for e in (one, other):
                e.partial_fit(*data)
            np.testing.assert_allclose(one.predict(data[0]), other.predict(data[0]), rtol=1e-9)
            np.testing.assert_allclose(one.loss_curve_, other.loss_curve_, rtol=1e-9)
    with pytest.raises(TypeError, match="from_sklearn takes"):
        type(mine).from_sklearn(LogisticRegression())
    unfitted = type(mine).from_sklearn(clone(theirs))
    assert unfitted.get_params() == theirs.get_params()
    assert not hasattr(unfitted.to_sklearn(), "coefs_")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_an_mlp_of_the_same_weights_gives_the_same_outputs(dtype):
    X = DIGITS[0].astype(dtype)
    several = np.stack([DIGITS[1] > 4, DIGITS[1] % 2], axis=1).astype(int)
    for estimator, outputs in (
        (bp.MLPClassifier(**CLASSIFIER).fit(X, DIGITS[1]), lambda e: e.predict_proba(X)),
        (bp.MLPClassifier(**CLASSIFIER).fit(X, several), lambda e: e.predict_proba(X)),
        (bp.MLPClassifier(**CLASSIFIER).fit(X, several[:, 0]), lambda e: e.predict_proba(X)[:, 1:]),
        (bp.MLPRegressor(**CLASSIFIER).fit(X, several), lambda e: e.predict(X)),
        (bp.MLPRegressor(loss="poisson", **CLASSIFIER).fit(X, DIGITS[1]), lambda e: e.predict(X)[:, None]),
    ):
        net = estimator.to_mlp()
        assert net.dtype == dtype
        np.testing.assert_array_equal(net.predict(X), outputs(estimator).astype(dtype))
        assert net.weights[0] is not estimator.coefs_[0]


def test_onnx_runs_what_was_trained():
    """skl2onnx looks at the class of an estimator, so it is given scikit-learn's."""
    skl2onnx, onnxruntime = pytest.importorskip("skl2onnx"), pytest.importorskip("onnxruntime")
    X = DIGITS[0].astype(np.float32)
    estimator = bp.MLPClassifier(hidden_layer_sizes=(30,), max_iter=20, random_state=0).fit(X, DIGITS[1])
    model = skl2onnx.to_onnx(make_pipeline(estimator.to_sklearn()), X[:1], options={"zipmap": False})
    labels, probabilities = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(
        None, {"X": X}
    )
    assert (labels == estimator.predict(X)).mean() > 0.999
    np.testing.assert_allclose(probabilities, estimator.predict_proba(X), atol=1e-5)


# ------------------------------------------------------------------------------------------ in the tools of scikit-learn


def tools(module):
    """What scikit-learn's tools make of the estimators of a module, with two jobs."""
    frame = pd.DataFrame(IRIS[0], columns=list("abcd"))
    frame["kind"] = np.where(IRIS[0][:, 0] > 5.5, "long", "short")
    columns = ColumnTransformer([("numbers", StandardScaler(), list("abcd")), ("kinds", OneHotEncoder(), ["kind"])])
    pipeline = make_pipeline(columns, module.MLPClassifier(hidden_layer_sizes=(9,), max_iter=40, random_state=0))
    choices = {"mlpclassifier__alpha": [1e-4, 1.0], "mlpclassifier__activation": ["relu", "tanh"]}
    grid = GridSearchCV(pipeline, choices, n_jobs=2).fit(frame, IRIS[1])
    regressor = module.MLPRegressor(hidden_layer_sizes=(9,), max_iter=50, random_state=0)
    bagging = BaggingRegressor(regressor, n_estimators=4, n_jobs=2, random_state=0)
    stacking = StackingClassifier([("mlp", pipeline), ("linear", make_pipeline(columns, LogisticRegression()))], n_jobs=2)
    return [
        grid.cv_results_["mean_test_score"],
        cross_val_predict(pipeline, frame, IRIS[1], n_jobs=2, method="predict_proba"),
        CalibratedClassifierCV(pipeline, n_jobs=2).fit(frame, IRIS[1]).predict_proba(frame),
        bagging.fit(*IRIS).predict(IRIS[0]),
        stacking.fit(frame, IRIS[1]).predict_proba(frame),
        permutation_importance(grid.best_estimator_, frame, IRIS[1], n_jobs=2, random_state=0).importances,
    ]


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_the_tools_of_scikit_learn_run_with_two_jobs(backend):
    with joblib.parallel_backend(backend):
        for mine, theirs in zip(tools(bp), tools(original), strict=True):
            assert theirs.any()
            np.testing.assert_allclose(mine, theirs, rtol=1e-6, atol=1e-9)


def test_two_threads_train_two_nets_as_one_thread_does():
    alone = [bp.MLPClassifier(max_iter=10, random_state=seed).fit(*DIGITS).loss_curve_ for seed in range(4)]
    together = joblib.Parallel(n_jobs=4, backend="threading")(
        joblib.delayed(lambda seed: bp.MLPClassifier(max_iter=10, random_state=seed).fit(*DIGITS).loss_curve_)(seed)
        for seed in range(4)
    )
    assert together == alone


def test_many_threads_ask_one_net():
    estimator = bp.MLPClassifier(**CLASSIFIER).fit(*IRIS)
    expected = estimator.predict_proba(IRIS[0])
    found = joblib.Parallel(n_jobs=8, backend="threading")(
        joblib.delayed(lambda n: estimator.predict_proba(IRIS[0][n % 150 : n % 150 + 1]))(n) for n in range(600)
    )
    np.testing.assert_array_equal(np.concatenate(found), np.concatenate([expected] * 4))


# ------------------------------------------------------------------------------------------------------------ patch


def test_patch_is_for_those_who_import_from_now_on():
    theirs = original.MLPClassifier
    with bpkernel.sklearn.patch():
        from sklearn.neural_network import MLPClassifier, MLPRegressor

        assert (MLPClassifier, MLPRegressor) == (bp.MLPClassifier, bp.MLPRegressor)
        assert isinstance(MLPClassifier(), theirs)
        assert pickle.loads(pickle.dumps(theirs())).__class__ is theirs
        with bpkernel.sklearn.patch():
            pass
        assert original.MLPClassifier is bp.MLPClassifier
    assert original.MLPClassifier is theirs
    bpkernel.sklearn.patch()
    assert original.MLPRegressor is bp.MLPRegressor
    bpkernel.sklearn.unpatch()
    assert original.MLPClassifier is theirs is private.MLPClassifier
    with pytest.raises(ZeroDivisionError), bpkernel.sklearn.patch():
        1 / 0  # noqa: B018
    assert original.MLPClassifier is theirs


def test_a_program_runs_patched_without_an_edit(tmp_path):
    (tmp_path / "beside.py").write_text("NUMBER = 7")
    program = tmp_path / "program.py"
    program.write_text(
        textwrap.dedent("""
            import sys
            from beside import NUMBER
            from sklearn.neural_network import MLPClassifier
            assert __name__ == "__main__"
            print(MLPClassifier.__module__, NUMBER, sys.argv[1:])
        """)
    )
    run = [sys.executable, "-m", "bpkernel.sklearn"]
    done = subprocess.run([*run, str(program), "--an", "argument"], capture_output=True, text=True, check=True)
    assert done.stdout.split(maxsplit=2) == ["bpkernel.estimators", "7", "['--an', 'argument']\n"]
    assert "usage" in subprocess.run(run, capture_output=True, text=True).stderr


def test_the_core_does_not_import_scikit_learn():
    program = "import bpkernel, sys; assert not [m for m in sys.modules if m.split('.')[0] in ('sklearn', 'joblib')]"
    program += (
        "; assert {'MLPClassifier', 'sklearn'} <= set(dir(bpkernel)); bpkernel.MLPClassifier; assert 'sklearn' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
    with pytest.raises(AttributeError, match="no attribute 'MLPTransformer'"):
        bp.MLPTransformer  # noqa: B018


def test_the_help_is_that_of_scikit_learn():
    text = io.StringIO()
    import pydoc

    pydoc.Helper(output=text).help(bp.MLPClassifier)
    assert "hidden_layer_sizes" in text.getvalue()
    assert repr(bp.MLPClassifier(alpha=1)) == "MLPClassifier(alpha=1)"
