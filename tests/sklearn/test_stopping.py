"""Training that scikit-learn does not have follows its rules: beside scikit-learn's own estimators, forced by a callback that
does nothing."""

import copy
import pickle
import warnings

import numpy as np
import pytest
import sklearn.neural_network as original
from estimator_pairs import DIABETES, IRIS
from sklearn.exceptions import ConvergenceWarning

import bpkernel as bp

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, Y = IRIS
X_VAL, Y_VAL = X[::4], Y[::4]
X_TRAIN = X[1::2]
Y_TRAIN = np.where(np.arange(75) % 5 == 0, (Y[1::2] + 1) % 3, Y[1::2])  # a fifth are wrong: nets learn them by heart
CALLS = 30  # of partial_fit


def nothing(run):
    """A callback that does nothing."""


def fit(e, X, y):
    e.fit(X, y)


def fit_with_weights(e, X, y):
    e.fit(X, y, sample_weight=np.random.default_rng(0).random(len(y)))


def fit_again_and_again(e, X, y):
    e.set_params(warm_start=True)
    for _ in range(3):
        e.fit(X, y)


def fit_in_steps(e, X, y):
    classes = {"classes": np.unique(y)} if hasattr(e, "predict_proba") else {}
    for _ in range(CALLS):
        e.partial_fit(X, y, **classes)


SETTINGS = {
    "adam": {},
    "adam stops": {"tol": 0.02, "n_iter_no_change": 2, "learning_rate_init": 0.01},
    "sgd": {"solver": "sgd"},
    "sgd adaptive": {"solver": "sgd", "learning_rate": "adaptive", "tol": 0.02, "n_iter_no_change": 1},
    "sgd invscaling": {"solver": "sgd", "learning_rate": "invscaling", "batch_size": 32},
    "sgd plain": {"solver": "sgd", "nesterovs_momentum": False, "batch_size": 20, "shuffle": False},
    "sgd without momentum": {"solver": "sgd", "momentum": 0.0},
}
WHOLE = [fit, fit_with_weights, fit_again_and_again]
HOW = [(how, early_stopping) for early_stopping in (False, True) for how in WHOLE] + [(fit_in_steps, False)]


def pair(kind, how, data, **parameters):
    """The same by scikit-learn and by own training."""
    settings = {"hidden_layer_sizes": (9,), "activation": "tanh", "random_state": 0, "max_iter": 40, **parameters}
    pair = getattr(original, kind)(**settings), getattr(bp, kind)(**settings, callbacks=[nothing])
    for e in pair:
        how(e, *data)
    return pair


@pytest.mark.parametrize(("how", "early_stopping"), HOW, ids=lambda value: getattr(value, "__name__", value))
@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("kind", ["MLPClassifier", "MLPRegressor"])
def test_the_same_epochs_as_in_scikit_learn(kind, name, how, early_stopping):
    data = (X, Y) if kind == "MLPClassifier" else (DIABETES[0] * 20, DIABETES[1] / 77)
    theirs, mine = pair(kind, how, data, early_stopping=early_stopping, **SETTINGS[name])
    assert mine.history_.loss  # it was own training
    for one, other in zip((*mine.coefs_, *mine.intercepts_), (*theirs.coefs_, *theirs.intercepts_), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-9)
    for attribute in ("n_iter_", "t_", "_no_improvement_count"):
        assert getattr(mine, attribute) == getattr(theirs, attribute), attribute
    for attribute in ("loss_curve_", "validation_scores_", "best_loss_", "best_validation_score_", "loss_"):
        one, other = getattr(mine, attribute), getattr(theirs, attribute)
        assert (one is None) == (other is None), attribute
        if one is not None:
            np.testing.assert_allclose(one, other, rtol=1e-9, err_msg=attribute)
    assert mine._optimizer.learning_rate == pytest.approx(theirs._optimizer.learning_rate, rel=1e-12)
    assert len(mine.loss_curve_) > 3
    assert np.ptp(mine.loss_curve_) > 0


def test_the_settings_stop_and_lower_rates():
    """So that the test above compares what it should."""
    _, mine = pair("MLPClassifier", fit, (X, Y), **SETTINGS["adam stops"])
    assert 3 < mine.n_iter_ < 40
    _, mine = pair("MLPClassifier", fit, (X, Y), **SETTINGS["sgd adaptive"])
    assert mine._optimizer.learning_rate < 0.001
    _, mine = pair("MLPClassifier", fit, (X, Y), **SETTINGS["adam stops"], early_stopping=True)
    assert 3 < mine.n_iter_ < 40


@pytest.mark.parametrize(
    "parameters",
    [
        {"tol": 0.5, "n_iter_no_change": 2},
        {"tol": 0.5, "n_iter_no_change": 2, "early_stopping": True},
        {"tol": 0.5, "n_iter_no_change": 1, "solver": "sgd", "learning_rate": "adaptive"},
        {"tol": 0.5, "n_iter_no_change": 1, "solver": "sgd", "learning_rate": "adaptive", "learning_rate_init": 1e-6},
    ],
)
def test_words_and_warnings_are_those_of_scikit_learn(parameters, capsys):
    printed, warned = [], []
    settings = {"hidden_layer_sizes": (9,), "random_state": 0, "max_iter": 12, "verbose": True, **parameters}
    for e in (original.MLPClassifier(**settings), bp.MLPClassifier(**settings, callbacks=[nothing])):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            e.fit(X, Y)
        printed.append(capsys.readouterr().out)
        warned.append([(w.category, str(w.message), w.filename) for w in caught])
    assert "Iteration 3, loss = " in printed[0]
    assert printed[0] == printed[1]
    assert warned[0] == warned[1]


def test_what_is_monitored_is_printed(capsys):
    e = bp.MLPClassifier((9,), max_iter=4, tol=0.5, n_iter_no_change=1, random_state=0, verbose=True, early_stopping=True)
    e.set_params(monitor="val_loss").fit(X, Y)
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == [
        f"Iteration 1, loss = {e.loss_curve_[0]:.8f}",
        f"Validation score: {e.validation_scores_[0]:f}",
        f"val_loss = {e.validation_loss_curve_[0]:f}",
    ]
    assert lines[-1] == "val_loss did not improve more than tol=0.500000 for 1 consecutive epochs. Stopping."


@pytest.mark.parametrize("early_stopping", [False, True])
def test_an_interrupt_ends_training_with_a_warning(early_stopping):
    """As in scikit-learn, the net is in order, and with early stopping it is the best one."""

    def interrupt(run):
        if run.epoch == 7:
            raise KeyboardInterrupt

    e = bp.MLPClassifier((9,), max_iter=20, random_state=0, early_stopping=early_stopping, callbacks=[interrupt])
    with pytest.warns(UserWarning, match="Training interrupted by user"):
        e.fit(X, Y)
    assert e.n_iter_ == len(e.loss_curve_) == len(e.history_.loss) == 7
    best = 7
    if early_stopping:
        best = int(np.argmax(e.validation_scores_)) + 1
        assert e.history_.best_epoch == best - 1
        assert best < 7
    settings = {"validation_fraction": 0.1, "early_stopping": early_stopping, "n_iter_no_change": 50}
    other = bp.MLPClassifier((9,), max_iter=best, random_state=0, **settings).fit(X, Y)
    np.testing.assert_array_equal(e.coefs_[0], other.coefs_[0])
    assert e._optimizer.t == 7


# ----------------------------------------------------------------------------------------------------------- monitor


def test_stopping_on_the_loss_goes_back_to_the_best_weights():
    settings = {"early_stopping": True, "n_iter_no_change": 5, "tol": 0, "learning_rate_init": 0.02, "random_state": 0}
    e = bp.MLPClassifier((50,), max_iter=500, alpha=0, monitor="val_loss", **settings)
    e.fit(X_TRAIN, Y_TRAIN, X_val=X_VAL, y_val=Y_VAL)
    curve = np.array(e.validation_loss_curve_)
    best = int(curve.argmin())
    assert 5 < best == len(curve) - 7 == e.history_.best_epoch
    assert e.n_iter_ == len(curve) < 500
    p = e.predict_proba(X_VAL)[np.arange(len(Y_VAL)), Y_VAL]
    assert -np.log(p).mean() == pytest.approx(curve[best], rel=1e-9)
    assert curve[best] < curve[-1]
    on_score = copy.deepcopy(e).set_params(monitor=None).fit(X_TRAIN, Y_TRAIN, X_val=X_VAL, y_val=Y_VAL)
    assert on_score.n_iter_ < e.n_iter_
    assert on_score.best_validation_score_ == max(on_score.validation_scores_) == on_score.score(X_VAL, Y_VAL)


def test_without_early_stopping_the_net_stays_as_old_as_its_curve():
    settings = {"n_iter_no_change": 3, "tol": 0, "learning_rate_init": 0.05, "random_state": 0, "alpha": 0, "max_iter": 500}
    e = bp.MLPClassifier((50,), monitor="val_loss", **settings).fit(X_TRAIN, Y_TRAIN, X_val=X_VAL, y_val=Y_VAL)
    assert e.n_iter_ < 500
    p = e.predict_proba(X_VAL)[np.arange(len(Y_VAL)), Y_VAL]
    assert -np.log(p).mean() == pytest.approx(e.validation_loss_curve_[-1], rel=1e-9)
    assert min(e.validation_loss_curve_) < e.validation_loss_curve_[-1]


def test_the_training_loss_may_be_monitored_with_early_stopping():
    settings = {"n_iter_no_change": 3, "tol": 0, "learning_rate_init": 0.5, "random_state": 0, "max_iter": 200}
    e = bp.MLPClassifier((50,), early_stopping=True, monitor="loss", **settings).fit(X, Y)
    best = int(np.argmin(e.loss_curve_))
    assert e.history_.best_epoch == best == e.n_iter_ - 5
    assert e.best_loss_ is None  # as in scikit-learn
    with pytest.raises(ValueError, match="monitor must be one of loss, val_loss, val_score; got 'val_nope'"):
        e.set_params(monitor="val_nope").fit(X, Y)


def test_metrics_of_scikit_learn_may_be_monitored():
    settings = {"n_iter_no_change": 3, "learning_rate_init": 0.02, "random_state": 0, "max_iter": 200}
    e = bp.MLPClassifier((20,), early_stopping=True, metrics=["neg_log_loss", "f1_macro"], monitor="val_f1_macro", **settings)
    e.fit(X_TRAIN, Y_TRAIN, X_val=X_VAL, y_val=Y_VAL)
    scores = e.history_.metrics["val_f1_macro"]
    assert e.history_.best_epoch == int(np.argmax(scores)) < len(scores) - 1
    np.testing.assert_allclose(e.history_.metrics["val_neg_log_loss"], -np.array(e.validation_loss_curve_), rtol=1e-9)


# ------------------------------------------------------------------------------------------ early stopping in partial_fit


def in_steps(e, most=200):
    """partial_fit until it stops; the number of calls."""
    rng = np.random.default_rng(0)
    for n in range(most):
        rows = rng.choice(len(X), 50, replace=False)
        e.partial_fit(X[rows], Y[rows], classes=[0, 1, 2], X_val=X_VAL, y_val=Y_VAL)
        if e.early_stopped_:
            return n + 1
    return most


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda e: pickle.loads(pickle.dumps(e))], ids=["deepcopy", "pickle"])
@pytest.mark.parametrize("solver", ["adam", "sgd", "rmsprop"])
def test_partial_fit_stops_and_goes_back_to_the_best_weights(solver, copied):
    """Also if it was copied between the best call and the last one."""
    e = bp.MLPClassifier((9,), solver=solver, early_stopping=True, monitor="val_loss", learning_rate_init=0.05, tol=0)
    e.set_params(n_iter_no_change=6, random_state=0)
    n = in_steps(e)
    assert 8 < n < 200
    curve = e.validation_loss_curve_
    assert len(curve) == n == len(e.loss_curve_)
    assert int(np.argmin(curve)) == n - 8
    p = e.predict_proba(X_VAL)[np.arange(len(Y_VAL)), Y_VAL]
    assert -np.log(p).mean() == pytest.approx(min(curve), rel=1e-9)
    kept = e.coefs_[0].copy()
    e.partial_fit(X, Y)
    assert (e.coefs_[0] == kept).all()
    assert len(e.loss_curve_) == n

    other, rng = bp.MLPClassifier(**e.get_params()), np.random.default_rng(0)
    for i in range(n):
        rows = rng.choice(len(X), 50, replace=False)
        other.partial_fit(X[rows], Y[rows], classes=[0, 1, 2], X_val=X_VAL, y_val=Y_VAL)
        if i == n - 3:
            other = copied(other)
    np.testing.assert_array_equal(other.coefs_[0], kept)


def test_partial_fit_after_a_fit_that_has_stopped_goes_on():
    """Issue 25693 of scikit-learn: fit, then partial_fit."""
    e = bp.MLPClassifier((9,), early_stopping=True, learning_rate_init=0.01, random_state=0).fit(X, Y)
    n, before = len(e.loss_curve_), e.coefs_[0].copy()
    assert e.n_iter_ < 200
    e.partial_fit(X, Y, X_val=X_VAL, y_val=Y_VAL)
    assert not e.early_stopped_
    assert (e.coefs_[0] != before).any()
    assert len(e.loss_curve_) == n + 1
    e.n_iter_no_change = 2
    n = in_steps(e)
    assert n < 200
    e.fit(X, Y)
    assert not hasattr(e, "early_stopped_")
    assert len(e.loss_curve_) > 3


def test_what_fit_has_seen_is_no_measure_for_partial_fit():
    """Of other data, whose loss is higher, but falls."""
    e = bp.MLPClassifier((9,), early_stopping=True, monitor="val_loss", learning_rate_init=0.01, random_state=0, max_iter=300)
    e.fit(X, Y, X_val=X_VAL, y_val=Y_VAL)
    lowest = min(e.validation_loss_curve_)
    e.set_params(n_iter_no_change=2)
    for _ in range(8):
        e.partial_fit(X, (Y + 1) % 3, X_val=X_VAL, y_val=(Y_VAL + 1) % 3)
    curve = e.validation_loss_curve_[-8:]
    assert curve[0] > curve[-1] > lowest
    assert not e.early_stopped_


def test_partial_fit_with_early_stopping_needs_validation_data():
    e = bp.MLPRegressor(hidden_layer_sizes=(9,), early_stopping=True, solver="adamw", random_state=0)
    with pytest.raises(ValueError, match="does not support early_stopping=True without validation data: pass X_val and y_val"):
        e.partial_fit(X, Y)
    assert not hasattr(e, "coefs_")
    assert e.partial_fit(X, Y, X_val=X_VAL, y_val=Y_VAL).validation_scores_


def test_a_user_who_stops_is_not_warned():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        e = bp.MLPClassifier((9,), callbacks=[lambda run: run.epoch == 3], tol=1.0, n_iter_no_change=1, max_iter=9).fit(X, Y)
        assert e.n_iter_ == 3
    with pytest.warns(ConvergenceWarning, match=r"Maximum iterations \(3\) reached"):
        bp.MLPClassifier((9,), callbacks=[nothing], max_iter=3).fit(X, Y)
