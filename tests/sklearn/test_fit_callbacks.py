"""Callbacks of users, and scikit-learn's own, in fits of the estimators."""

import copy
import functools
import pickle

import numba
import numpy as np
import pandas as pd
import pytest
from estimator_pairs import DIABETES, IRIS
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import bpkernel as bp

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, Y = IRIS
D, T = DIABETES[0] * 20, DIABETES[1] / 77
N = 6


def classifier(**changed):
    return bp.MLPClassifier(**{"hidden_layer_sizes": (9,), "random_state": 0, "max_iter": N, **changed})


def state(e):
    """What a user may look at, as bytes; without functions of tests."""
    return {k: pickle.dumps(v) for k, v in e.__getstate__().items() if k not in ("callbacks", "_random_state")}


# ------------------------------------------------------------------------------------------------------------- of users


class Recorded(bp.callbacks.Callback):
    def __init__(self):
        self.calls = []

    def begin(self, run):
        self.calls.append(("begin", run.epoch))

    def epoch(self, run):
        self.calls.append(("epoch", run.epoch, run.net.n_iter_, len(run.net.loss_curve_)))

    def end(self, run, *, failed):
        self.calls.append(("end", failed))


def test_callbacks_see_the_estimator_and_its_attributes():
    seen = Recorded()
    e = classifier(callbacks=[seen]).fit(X, Y)
    assert seen.calls == [("begin", 0), *(("epoch", n, n, n) for n in range(1, N + 1)), ("end", False)]
    runs = []
    e = classifier(callbacks=[runs.append]).fit(X, Y, X_val=X, y_val=Y)
    assert runs[0].net is e
    assert (runs[0].n_epochs, runs[0].monitor, runs[0].history) == (N, "val_loss", e.history_)
    classifier(callbacks=(runs.append,), early_stopping=True).fit(X, Y)
    assert runs[-1].monitor == "val_score"


def test_weights_and_rates_that_a_callback_changes():
    def change(run):
        run.optimizer.learning_rate = 0.01 / run.epoch
        if run.epoch == 3:
            for w in (*run.net.coefs_, *run.net.intercepts_):
                w[...] = 0

    e = classifier(callbacks=[change], solver="sgd", learning_rate_init=0.5).fit(X, Y)
    assert e._optimizer.learning_rate == 0.01 / N
    assert e.loss_curve_[3] == pytest.approx(np.log(3), rel=1e-12)
    assert e.loss_curve_[2] != e.loss_curve_[3] != e.loss_curve_[4]
    goes_on = copy.deepcopy(e).set_params(callbacks=None).partial_fit(X, Y)
    assert goes_on._optimizer.learning_rate == 0.01 / N


def test_bpkernels_callbacks(tmp_path):
    stop = bp.callbacks.EarlyStopping("val_loss", patience=3)
    e = classifier(max_iter=300, learning_rate_init=0.1, callbacks=[stop, bp.callbacks.CSVLogger(tmp_path / "log.csv")])
    e.fit(X[::2], Y[::2], X_val=X[1::2], y_val=Y[1::2])
    assert e.n_iter_ == stop.best_epoch + 4 < 300
    p = e.predict_proba(X[1::2])[np.arange(75), Y[1::2]]
    assert -np.log(p).mean() == pytest.approx(stop.best, rel=1e-9)
    log = pd.read_csv(tmp_path / "log.csv")
    np.testing.assert_allclose(log["val_loss"], e.validation_loss_curve_, rtol=1e-12)
    np.testing.assert_allclose(log["val_score"], e.validation_scores_, rtol=1e-12)


def test_a_clone_has_callbacks_of_its_own():
    e = classifier(callbacks=[bp.callbacks.EarlyStopping("loss"), Recorded()])
    other = clone(e)
    assert other.callbacks[1] is not e.callbacks[1]
    other.fit(X, Y)
    assert e.callbacks[1].calls == []


@pytest.mark.parametrize("solver", ["adam", "sgd", "rmsprop"])
@pytest.mark.parametrize("how", ["first fit", "fit", "warm start", "partial_fit", "first partial_fit"])
def test_an_exception_in_a_callback_leaves_the_estimator_as_it_was(how, solver):
    class Refused(Exception):
        pass

    def refuse(run):
        assert run.epoch == len(run.history.loss) > 0
        if run.net.loss_curve_[-1:] and (run.epoch == 3 or "partial_fit" in how):
            raise Refused

    e = classifier(solver=solver, warm_start=how == "warm start")
    if "first" not in how:
        e.partial_fit(X, Y, classes=[0, 1, 2], X_val=X, y_val=Y)
    before, threads = state(e), numba.get_num_threads()
    moments = getattr(e, "_own_optimizer", None)
    kept = None if moments is None else moments.snapshot()[1]
    e.set_params(callbacks=[refuse], n_jobs=1)
    train = functools.partial(e.partial_fit, classes=[0, 1, 2]) if "partial" in how else e.fit
    with pytest.raises(Refused):
        train(X, Y, X_val=X, y_val=Y)
    assert numba.get_num_threads() == threads
    e.set_params(callbacks=None, n_jobs=None)
    assert state(e) == before
    assert hasattr(e, "coefs_") == ("first" not in how)
    if kept is not None:
        assert np.abs(kept).max() > 0
        np.testing.assert_array_equal(e._own_optimizer.snapshot()[1], kept)
    other = classifier(solver=solver, warm_start=how == "warm start")
    if "first" not in how:
        other.partial_fit(X, Y, classes=[0, 1, 2], X_val=X, y_val=Y)
    for each in (e, other):
        each.partial_fit(X, Y, classes=[0, 1, 2])
    np.testing.assert_array_equal(e.coefs_[0], other.coefs_[0])


# ----------------------------------------------------------------------------------------------------- of scikit-learn

callback = pytest.importorskip("sklearn.callback") if hasattr(bp.MLPClassifier, "set_callbacks") else None
needs_callbacks = pytest.mark.skipif(callback is None, reason="scikit-learn has no callbacks before 1.9")


class Watcher:
    """A callback of scikit-learn that records its calls, and may stop or fail."""

    def __init__(self, stop_after=None, fails=None):
        self.calls, self.fitted, self.stop_after, self.fails = [], [], stop_after, fails

    def _call(self, name, context):
        self.calls.append((name, context.task_name, context.task_id))
        if name == self.fails:
            raise RuntimeError(f"in {name}")

    def setup(self, estimator, context):
        self._call("setup", context)

    def teardown(self, estimator, context):
        self._call("teardown", context)

    def on_fit_task_begin(self, estimator, context):
        self._call("begin", context)

    def on_fit_task_end(self, estimator, context, *, X, y, fitted_estimator, metadata):
        self._call("end", context)
        self.fitted.append((X, y, fitted_estimator, metadata))
        return context.task_name == "epoch" and context.task_id + 1 == self.stop_after


@needs_callbacks
def test_the_tasks_are_the_fit_and_its_epochs():
    seen = Watcher()
    e = classifier().set_callbacks(seen).fit(X, Y)
    epochs = [(name, "epoch", n) for n in range(N) for name in ("begin", "end")]
    assert seen.calls == [("setup", "fit", 0), ("begin", "fit", 0), *epochs, ("end", "fit", 0), ("teardown", "fit", 0)]
    *of_epochs, (X_seen, y_seen, fitted, metadata) = seen.fitted
    assert X_seen is X
    assert y_seen is Y
    assert metadata is None
    np.testing.assert_array_equal(fitted.predict_proba(X), e.predict_proba(X))
    for n, (_, _, fitted, _) in enumerate(of_epochs, 1):  # they do not change while training goes on
        expected = classifier(max_iter=n).fit(X, Y)
        np.testing.assert_array_equal(fitted.predict_proba(X), expected.predict_proba(X))
    assert not any(hasattr(e, name) for name in ("_callback_fit_ctx", "_given", "_skl_callbacks_to_teardown"))


@needs_callbacks
@pytest.mark.parametrize("solver", ["lbfgs", "lm"])
def test_solvers_without_epochs_have_the_task_fit_only(solver):
    seen = Watcher()
    e = classifier(solver=solver).set_callbacks(seen).fit(X, Y)
    names = [name for name, task, _ in seen.calls if task == "fit"]
    assert names == ["setup", "begin", "end", "teardown"]
    assert len(seen.calls) == 4
    np.testing.assert_array_equal(seen.fitted[0][2].predict(X), e.predict(X))


@needs_callbacks
@pytest.mark.parametrize("kind", ["array", "DataFrame"])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_scores_of_scoring_monitor_are_those_by_hand(kind, weighted):
    monitor = callback.ScoringMonitor(scoring=["accuracy", "neg_log_loss"])
    given = pd.DataFrame(X, columns=list("abcd")) if kind == "DataFrame" else X
    weights = {"sample_weight": np.linspace(0.1, 2, len(X))} if weighted else {}
    classifier(learning_rate_init=0.05).set_callbacks(monitor).fit(given, Y, **weights)
    rows = [row for row in monitor.get_logs().data if row["task_name"] == "epoch"]
    assert [row["task_id"] for row in rows] == list(range(N))
    for n, row in enumerate(rows, 1):
        e = classifier(learning_rate_init=0.05, max_iter=n).fit(X, Y, **weights)
        assert row["accuracy"] == pytest.approx(e.score(X, Y, **weights), rel=1e-12)
        p = e.predict_proba(X)[np.arange(len(Y)), Y]
        assert row["neg_log_loss"] == pytest.approx(np.average(np.log(p), weights=weights.get("sample_weight")), rel=1e-9)
    assert len({row["neg_log_loss"] for row in rows}) == N


@needs_callbacks
def test_scikit_learns_callbacks_change_nothing():
    e, plain = classifier().set_callbacks(Watcher()).fit(X, Y), classifier().fit(X, Y)
    assert e.loss_curve_ == plain.loss_curve_
    np.testing.assert_array_equal(e.coefs_[0], plain.coefs_[0])
    e.set_callbacks().partial_fit(X, Y)
    np.testing.assert_array_equal(e.coefs_[0], plain.partial_fit(X, Y).coefs_[0])


@needs_callbacks
def test_a_callback_may_stop():
    seen = Watcher(stop_after=3)
    e = classifier().set_callbacks(seen).fit(X, Y)
    assert e.n_iter_ == 3
    assert [task for name, task, _ in seen.calls if name == "begin"] == ["fit", "epoch", "epoch", "epoch"]
    assert [task for name, task, _ in seen.calls if name == "end"] == ["epoch", "epoch", "epoch", "fit"]


@needs_callbacks
@pytest.mark.parametrize("fails", ["setup", "begin", "end"])
def test_an_exception_of_scikit_learns_callback_leaves_the_estimator_and_tears_down(fails):
    e = classifier(warm_start=True).fit(X, Y)
    before, seen = state(e), Watcher(fails=fails)
    e.set_callbacks(seen)
    with pytest.raises(RuntimeError, match=f"in {fails}"):
        e.fit(X, Y)
    assert [name for name, _, _ in seen.calls].count("teardown") == 1
    e.set_callbacks()
    assert state(e) == before
    assert not hasattr(e, "_given")
    assert not hasattr(e, "_callback_fit_ctx")
    first = classifier().set_callbacks(Watcher(fails=fails))
    with pytest.raises(RuntimeError, match=f"in {fails}"):
        first.fit(X, Y)
    assert not hasattr(first, "coefs_")


@needs_callbacks
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_callbacks_of_a_search_and_a_pipeline_reach_the_net(solver):
    seen = Watcher()
    e = classifier(solver=solver).set_callbacks(seen)
    make_pipeline(StandardScaler(), e).fit(X, Y)
    assert ("end", "fit", 1) in seen.calls or ("end", "fit", 0) in seen.calls
    assert len(seen.calls) == (4 if solver == "lbfgs" else 4 + 2 * N)
    scores = callback.ScoringMonitor(scoring="accuracy")
    search = GridSearchCV(classifier(solver=solver).set_callbacks(scores), {"alpha": [0.1, 1.0]}, cv=2).fit(X, Y)
    assert search.best_score_ > 0
    assert scores.get_logs(select="all")


@needs_callbacks
def test_the_progress_bar_of_scikit_learn(capsys):
    pytest.importorskip("rich")
    e = classifier().set_callbacks(callback.ProgressBar()).fit(X, Y)
    assert e.n_iter_ == N
    capsys.readouterr()


@needs_callbacks
def test_both_kinds_of_callbacks_with_validation_data():
    seen, own = Watcher(), Recorded()
    e = classifier(callbacks=[own], early_stopping=True, n_iter_no_change=1, tol=1.0).set_callbacks(seen)
    e.fit(X, Y, X_val=X, y_val=Y)
    assert e.n_iter_ == 3
    assert own.calls[-1] == ("end", False)
    assert [name for name, task, _ in seen.calls if task == "epoch"] == ["begin", "end"] * 3
