"""What fails or is interrupted leaves estimators as they were; several threads train one of them."""

import inspect
import itertools
import os
import pickle
import signal
import sys
import threading
import time
import warnings

import numpy as np
import pytest
import sklearn.neural_network as original
from estimator_pairs import CLASSIFIER, DIABETES, DIGITS, IRIS
from sklearn.exceptions import ConvergenceWarning

import bpkernel as bp
from bpkernel import epochs, mini_batches
from bpkernel.kernels import partition
from bpkernel.runtime import threads
from bpkernel.sklearn import base, coefficients

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


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
        def wrapper(*arguments, **options):
            result = function(*arguments, **options)
            calls.append(function)
            if len(calls) == limit:
                raise KeyboardInterrupt
            return result

        return wrapper

    owner, name = {
        "while drawing": (coefficients, "permutation"),
        "after the call": (mini_batches, "launch"),
        "between epochs": (bp.MLPClassifier, "_update_no_improvement_count"),
    }[when]
    estimator = bp.MLPClassifier(**{**parameters, "max_iter": 10**4})
    monkeypatch.setattr(owner, name, interrupted(getattr(owner, name)))
    monkeypatch.setattr(base, "BETWEEN_EPOCHS", ())
    monkeypatch.setattr(epochs, "AHEAD_SECONDS", 1.0)
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
    launched, launch = set(), mini_batches.launch
    monkeypatch.setattr(mini_batches, "launch", lambda n, *a, **most: launched.add(n) or launch(n, *a, **most))
    estimator = bp.MLPClassifier(hidden_layer_sizes=(200, 100), random_state=0)
    kept = []
    threads.available()  # as `partition.available` would, it starts the threading layer
    for n_available in (1, 1, 2, 2, 1):
        monkeypatch.setattr(partition, "available", lambda n_available=n_available: n_available)
        launched.clear()
        estimator.partial_fit(*DIGITS, classes=range(10))
        assert launched == {n_available}
        kept.append(estimator._held._batches[1].work)
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


@pytest.mark.parametrize("activation", ["tanh", "logistic"])
@pytest.mark.parametrize("batch_size", [5, 10])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_a_failed_step_computed_is_not_read_by_the_next(dtype, batch_size, activation):
    """NaN in the padding of scratch memory would come into the weights of later batches."""
    X = np.random.default_rng(0).standard_normal((40, 3)).astype(dtype)
    y = X[:, 0]
    estimator = bp.MLPRegressor(
        hidden_layer_sizes=(5, 5), activation=activation, solver="sgd", batch_size=batch_size, random_state=0
    )
    estimator.partial_fit(X, y)
    rate, estimator._optimizer.learning_rate = estimator._optimizer.learning_rate, 1e30
    with pytest.raises(ValueError, match="non-finite"):
        estimator.partial_fit(X, y * np.sqrt(np.finfo(dtype).max))
    estimator._optimizer.learning_rate = rate
    before = estimator.coefs_[0].copy()
    estimator.partial_fit(X, y)
    assert (estimator.coefs_[0] != before).any()
    assert np.isfinite(estimator.loss_)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_forked_while_another_thread_trains_may_train_its_copy():
    estimator = bp.MLPClassifier(**CLASSIFIER).partial_fit(*DIGITS, classes=np.arange(10))
    held, release = threading.Event(), threading.Event()

    def train():
        with estimator._held.training:
            held.set()
            release.wait(60)

    thread = threading.Thread(target=train)
    thread.start()
    try:
        assert held.wait(60)
        child = os.fork()
        if child == 0:
            signal.alarm(60)  # it would wait for ever
            estimator.partial_fit(*DIGITS)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    finally:
        release.set()
        thread.join()


def interrupt_at(code, text, time):
    """A trace function that interrupts when the line of a function that contains a text is run for the given time."""
    lines, first = inspect.getsourcelines(code)
    number = first + next(i for i, line in enumerate(lines) if text in line)
    seen = 0

    def trace(frame, event, argument):
        nonlocal seen
        if frame.f_code is not code:
            return None
        if event == "line" and frame.f_lineno == number:
            seen += 1
            if seen == time:
                raise KeyboardInterrupt
        return trace

    return trace


@pytest.mark.parametrize("time", [1, 2, 3])
@pytest.mark.parametrize("text", ["self.seconds =", "if self._ahead"])
def test_an_interrupt_after_an_epoch_keeps_the_epoch(text, time):
    """No epoch that was not run ahead is taken back."""
    estimator = bp.MLPRegressor(hidden_layer_sizes=(5,), max_iter=20, random_state=0, tol=0, n_iter_no_change=100)
    X, y = DIABETES[0][:40], DIABETES[1][:40]
    estimator.fit(X, y)
    sys.settrace(interrupt_at(epochs.Epochs.next.__code__, text, time))
    try:
        with pytest.warns(UserWarning, match="interrupted by user"):
            estimator.fit(X, y)
    finally:
        sys.settrace(None)
    assert np.isfinite(estimator.predict(X)).all()
    assert len(estimator.loss_curve_) == estimator.n_iter_ < 20
