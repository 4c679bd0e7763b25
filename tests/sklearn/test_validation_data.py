"""Validation data that users pass: they change no bit of training, and their loss, score and metrics are those by hand."""

import math

import numpy as np
import pandas as pd
import pytest
from estimator_pairs import DIABETES, IRIS
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import make_multilabel_classification
from sklearn.metrics import accuracy_score, log_loss, make_scorer, mean_absolute_error, r2_score
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

import bpkernel as bp

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, X_VAL, Y, Y_VAL = train_test_split(*IRIS, random_state=0)
D, D_VAL, T, T_VAL = train_test_split(DIABETES[0] * 20, DIABETES[1] / 77, random_state=0)
MULTI = make_multilabel_classification(120, n_features=4, n_classes=3, random_state=0)
S_VAL = np.random.default_rng(1).random(len(X_VAL))


def classifier(**changed):
    return bp.MLPClassifier(**{"hidden_layer_sizes": (9,), "random_state": 0, "max_iter": 8, **changed})


def regressor(**changed):
    return bp.MLPRegressor(**{"hidden_layer_sizes": (9,), "random_state": 0, "max_iter": 8, **changed})


def at_each_epoch(make, figure, **changed):
    """A figure of the estimators of 1, 2, ... epochs."""
    return [figure(make(**changed, max_iter=n)) for n in range(1, 9)]


# ------------------------------------------------------------------------------------------------- nothing else changes


@pytest.mark.parametrize("how", ["fit", "with weights", "float32", "sparse", "warm start", "partial_fit"])
@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_training_has_the_same_bits_with_validation_data(solver, how):
    """The same initial weights, order, steps, and rule to stop."""
    X_here = sparse.csr_matrix(X) if how == "sparse" else X.astype("float32" if how == "float32" else float)
    weights = {"sample_weight": np.linspace(0.5, 2, len(X))} if how == "with weights" else {}
    settings = {"solver": solver, "max_iter": 60, "tol": 0.01, "n_iter_no_change": 3, "learning_rate_init": 0.01}
    trained = []
    for own in ({}, {"X_val": X_VAL, "y_val": Y_VAL}):
        e = classifier(**settings, batch_size=32, warm_start=how == "warm start")
        if how == "partial_fit":
            for _ in range(4):
                e.partial_fit(X_here, Y, classes=[0, 1, 2], **own)
        else:
            for _ in range(2 if how == "warm start" else 1):
                e.fit(X_here, Y, **weights, **own)
        trained.append(e)
    alone, watched = trained
    assert alone.loss_curve_ == watched.loss_curve_
    assert len(alone.loss_curve_) > 3
    assert (alone.n_iter_, alone.t_) == (watched.n_iter_, watched.t_)
    for one, other in zip((*alone.coefs_, *alone.intercepts_), (*watched.coefs_, *watched.intercepts_), strict=True):
        np.testing.assert_array_equal(one, other)
    assert len(watched.validation_loss_curve_) == len(watched.validation_scores_) == len(watched.loss_curve_)
    assert not hasattr(alone, "validation_loss_curve_")


def test_the_state_of_the_optimizer_is_that_of_the_training_without():
    """partial_fit with validation data, then without, then with."""
    ways = []
    for with_data in ([False] * 6, [True, False, True, True, False, True]):
        e = classifier()
        for own in with_data:
            e.partial_fit(X, Y, classes=[0, 1, 2], **({"X_val": X_VAL, "y_val": Y_VAL} if own else {}))
        ways.append(e)
    assert ways[0].loss_curve_ == ways[1].loss_curve_
    assert ways[0]._optimizer.t == ways[1]._optimizer.t == 6
    np.testing.assert_array_equal(ways[0].coefs_[0], ways[1].coefs_[0])
    assert ways[0].loss_curve_[-1] < ways[0].loss_curve_[0]
    theirs = [e.to_sklearn().partial_fit(X, Y) for e in ways]
    np.testing.assert_array_equal(theirs[0].coefs_[0], theirs[1].coefs_[0])


def test_early_stopping_alone_has_a_validation_curve_too():
    """Issue 18507 of scikit-learn; the part that is split off is the same with own training."""
    e, own = (classifier(early_stopping=True, **more).fit(X, Y) for more in ({}, {"metrics": ["accuracy"]}))
    assert e.validation_loss_curve_ == own.validation_loss_curve_
    assert e.validation_scores_ == own.validation_scores_ == own.history_.metrics["val_accuracy"]
    assert len(e.validation_loss_curve_) == 8
    assert np.ptp(e.validation_loss_curve_) > 0


# ------------------------------------------------------------------------------------------------------ figures by hand


def test_the_curves_are_those_of_the_nets_after_each_epoch():
    e = classifier().fit(X, Y, X_val=X_VAL, y_val=Y_VAL)
    losses = at_each_epoch(classifier, lambda e: log_loss(Y_VAL, e.fit(X, Y).predict_proba(X_VAL)))
    scores = at_each_epoch(classifier, lambda e: e.fit(X, Y).score(X_VAL, Y_VAL))
    np.testing.assert_allclose(e.validation_loss_curve_, losses, rtol=1e-9)
    np.testing.assert_allclose(e.validation_scores_, scores, rtol=1e-12)
    assert e.best_validation_score_ == max(scores)
    assert np.ptp(losses) > 0.01


def test_the_curves_with_weights():
    e = classifier(metrics=["accuracy"]).fit(X, Y, X_val=X_VAL, y_val=Y_VAL, sample_weight_val=S_VAL)
    loss = log_loss(Y_VAL, e.predict_proba(X_VAL), sample_weight=S_VAL)
    score = accuracy_score(Y_VAL, e.predict(X_VAL), sample_weight=S_VAL)
    assert e.validation_loss_curve_[-1] == pytest.approx(loss, rel=1e-9)
    assert e.validation_scores_[-1] == e.history_.metrics["val_accuracy"][-1] == pytest.approx(score, rel=1e-12)
    assert loss != pytest.approx(log_loss(Y_VAL, e.predict_proba(X_VAL)), rel=1e-3)


def test_the_curves_of_a_regressor():
    e = regressor(max_iter=30).fit(D, T, X_val=D_VAL, y_val=T_VAL)
    y = e.predict(D_VAL)
    assert e.validation_loss_curve_[-1] == pytest.approx(0.5 * np.mean((y - T_VAL) ** 2), rel=1e-9)
    assert e.validation_scores_[-1] == pytest.approx(r2_score(T_VAL, y), rel=1e-9)
    two, two_val = np.column_stack([T, -T]), np.column_stack([T_VAL, -T_VAL])
    e = regressor(max_iter=30).fit(D, two, X_val=D_VAL, y_val=two_val)
    y = e.predict(D_VAL)
    assert e.validation_loss_curve_[-1] == pytest.approx(0.5 * np.mean((y - two_val) ** 2), rel=1e-9)  # as loss_curve_


def test_the_curves_of_quantiles_labels_and_several_labels():
    e = regressor(loss=bp.Quantile(0.1, 0.5, 0.9), max_iter=30).fit(D, T, X_val=D_VAL, y_val=T_VAL)
    beyond = T_VAL[:, None] - e.predict(D_VAL)
    level = np.array([0.1, 0.5, 0.9])
    pinball = np.where(beyond > 0, level * beyond, (level - 1) * beyond).sum(axis=1).mean()
    assert e.validation_loss_curve_[-1] == pytest.approx(pinball, rel=1e-9)
    assert e.validation_scores_[-1] == pytest.approx(e.score(D_VAL, T_VAL), rel=1e-9)
    names = np.array(["one", "two", "three"])
    named = classifier().fit(X, names[Y], X_val=X_VAL, y_val=list(names[Y_VAL]))
    np.testing.assert_allclose(named.validation_loss_curve_[-1], log_loss(names[Y_VAL], named.predict_proba(X_VAL)), rtol=1e-9)
    two = classifier().fit(X[Y < 2], Y[Y < 2], X_val=X_VAL[Y_VAL < 2], y_val=Y_VAL[Y_VAL < 2])
    p = two.predict_proba(X_VAL[Y_VAL < 2])
    np.testing.assert_allclose(two.validation_loss_curve_[-1], log_loss(Y_VAL[Y_VAL < 2], p), rtol=1e-9)
    several = classifier().fit(*MULTI, X_val=MULTI[0][:50], y_val=sparse.csr_matrix(MULTI[1][:50]))
    p, t = several.predict_proba(MULTI[0][:50]), MULTI[1][:50]
    cross_entropy = -(t * np.log(p) + (1 - t) * np.log(1 - p)).sum(axis=1).mean()
    assert several.validation_loss_curve_[-1] == pytest.approx(cross_entropy, rel=1e-9)


def test_early_stopping_uses_the_data_and_all_samples_are_trained_on():
    settings = {"early_stopping": True, "max_iter": 100, "learning_rate_init": 0.05, "n_iter_no_change": 4}
    e = classifier(**settings).fit(X, Y, X_val=X_VAL, y_val=Y_VAL)
    assert e.t_ == e.n_iter_ * len(X)
    assert e.score(X_VAL, Y_VAL) == max(e.validation_scores_) == e.best_validation_score_
    assert e.n_iter_ < 100
    split = classifier(**settings).fit(X, Y)
    assert split.t_ == split.n_iter_ * (len(X) - math.ceil(0.1 * len(X)))


# --------------------------------------------------------------------------------------------------------------- metrics


def absolute(estimator, X, y):
    assert y.shape == (len(X),)
    return float(np.abs(estimator.predict(X) - y).mean())


def test_metrics_by_names_scorers_and_functions():
    scorer = make_scorer(mean_absolute_error, greater_is_better=False)
    for early_stopping, own in ((True, {}), (False, {"X_val": D_VAL, "y_val": T_VAL})):
        e = regressor(metrics=["r2", scorer, absolute], early_stopping=early_stopping).fit(D, T, **own)
        found = e.history_.metrics
        assert list(found) == ["val_score", "val_r2", "val_neg_mean_absolute_error", "val_absolute"]
        np.testing.assert_allclose(found["val_r2"], found["val_score"], rtol=1e-12)
        np.testing.assert_allclose(found["val_absolute"], -np.array(found["val_neg_mean_absolute_error"]), rtol=1e-12)
        assert len(found["val_absolute"]) == 8 == len(e.history_.loss)
        assert found["val_absolute"][-1] > 0
    one = regressor(metrics="r2").fit(D, T, X_val=D_VAL, y_val=T_VAL)
    assert list(one.history_.metrics) == ["val_score", "val_r2"]
    alone = regressor(metrics=absolute).fit(D, T, X_val=D_VAL, y_val=T_VAL)
    assert list(alone.history_.metrics) == ["val_score", "val_absolute"]


def test_a_loss_with_its_sign_changed_is_maximised():
    scorer, name = make_scorer(mean_absolute_error, greater_is_better=False), "val_neg_mean_absolute_error"
    settings = {"metrics": [scorer], "monitor": name}
    e = regressor(**settings, early_stopping=True, max_iter=20).fit(D, T, X_val=D_VAL, y_val=T_VAL)
    scores = e.history_.metrics[name]
    assert e.history_.best_epoch == int(np.argmax(scores)) > 0
    net = bp.MLP((10, 5, 1), random_state=0)
    history = net.fit(D, T, epochs=20, validation_data=(D_VAL, T_VAL), patience=19, **settings)
    scores = history.metrics[name]
    assert history.best_epoch == int(np.argmax(scores)) > 0


def test_metrics_do_not_warn_of_names_of_columns():
    """Of a DataFrame, which is split off or passed."""
    frame, frame_val = (pd.DataFrame(each, columns=list("abcd")) for each in (X, X_VAL))
    settings = {"metrics": ["accuracy", "neg_log_loss"], "early_stopping": True}
    for own in ({}, {"X_val": frame_val, "y_val": pd.Series(Y_VAL)}):
        e = classifier(**settings).fit(frame, pd.Series(Y), **own)
        assert e.history_.metrics["val_accuracy"] == e.validation_scores_
        assert e.predict(frame_val).shape == (len(X_VAL),)
    with pytest.raises(ValueError, match="feature names"):
        classifier().fit(frame, Y, X_val=frame_val.rename(columns={"a": "z"}), y_val=Y_VAL)


# ---------------------------------------------------------------------------------------------------------- wrong values

WRONG = {
    "X_val alone": ({"X_val": X_VAL}, "X_val and y_val go together"),
    "y_val alone": ({"y_val": Y_VAL}, "X_val and y_val go together"),
    "weights alone": ({"sample_weight_val": S_VAL}, "X_val and y_val go together"),
    "an unknown class": (
        {"X_val": X_VAL, "y_val": Y_VAL + 1},
        r"y_val has classes that y does not have: \[3\]; y has \[0, 1, 2\]",
    ),
    "columns": ({"X_val": X_VAL[:, 1:], "y_val": Y_VAL}, "X has 3 features, but MLPClassifier is expecting 4 features"),
    "lengths": ({"X_val": X_VAL, "y_val": Y_VAL[1:]}, "inconsistent numbers of samples"),
    "NaN": ({"X_val": X_VAL * np.nan, "y_val": Y_VAL}, "contains NaN"),
    "NaN in y": ({"X_val": X_VAL, "y_val": Y_VAL * np.nan}, "y_val contains NaN"),
    "labels of several": ({"X_val": X_VAL, "y_val": np.eye(3)[Y_VAL]}, r"y_val must have shape \(n_samples,\), as y has; got"),
    "a row": ({"X_val": X_VAL[0], "y_val": Y_VAL[:1]}, "Expected 2D array, got 1D array"),
    "no samples": ({"X_val": X_VAL[:0], "y_val": Y_VAL[:0]}, r"0 sample\(s\)"),
    "weights of another length": (
        {"X_val": X_VAL, "y_val": Y_VAL, "sample_weight_val": S_VAL[1:]},
        "sample_weight.shape == ",
    ),
    "weights 0": (
        {"X_val": X_VAL, "y_val": Y_VAL, "sample_weight_val": 0 * S_VAL},
        "at least one non-zero number|must not add up to 0",
    ),
}


@pytest.mark.parametrize("solver", ["adam", "adamw"])
@pytest.mark.parametrize("name", WRONG)
def test_wrong_validation_data_are_refused(name, solver):
    given, message = WRONG[name]
    e = classifier(solver=solver)
    with pytest.raises(ValueError, match=message):
        e.fit(X, Y, **given)
    assert not hasattr(e, "coefs_")
    e.partial_fit(X, Y, classes=[0, 1, 2])
    before = e.predict_proba(X)
    with pytest.raises(ValueError, match=message):
        e.partial_fit(X, Y, **given)
    np.testing.assert_array_equal(e.predict_proba(X), before)


def test_wrong_targets_are_refused():
    with pytest.raises(ValueError, match=r"y_val must have shape \(n_samples,\), as y has; got \(111, 2\)"):
        regressor().fit(D, T, X_val=D_VAL, y_val=np.column_stack([T_VAL, T_VAL]))
    with pytest.raises(ValueError, match=r"y_val must have shape \(n_samples, 2\), as y has; got \(111,\)"):
        regressor().fit(D, np.column_stack([T, T]), X_val=D_VAL, y_val=T_VAL)
    with pytest.raises(ValueError, match="y_val must be greater than 0 for gamma"):
        regressor(loss="gamma").fit(D, T, X_val=D_VAL, y_val=T_VAL - 1)
    with pytest.raises(ValueError, match=r"y_val must have shape \(n_samples, 3\), as y has"):
        classifier().fit(*MULTI, X_val=MULTI[0], y_val=MULTI[1][:, 0])
    a_column = regressor().fit(D, T, X_val=D_VAL, y_val=T_VAL[:, None])
    assert a_column.validation_loss_curve_ == regressor().fit(D, T, X_val=D_VAL, y_val=T_VAL).validation_loss_curve_


def test_what_needs_validation_data_says_so():
    with pytest.raises(ValueError, match="metrics need validation data: early_stopping=True, or X_val and y_val in fit"):
        classifier(metrics=["accuracy"]).fit(X, Y)
    with pytest.raises(
        ValueError, match="got 'val_loss'; others need validation data: early_stopping=True, or X_val and y_val"
    ):
        classifier(monitor="val_loss").fit(X, Y)
    with pytest.raises(ValueError, match="metrics must have different names; got 'accuracy' twice"):
        classifier(metrics=["accuracy", "accuracy"]).fit(X, Y, X_val=X_VAL, y_val=Y_VAL)
    with pytest.raises(ValueError, match="'nope' is not a valid scoring value"):
        classifier(metrics=["nope"]).fit(X, Y, X_val=X_VAL, y_val=Y_VAL)
    with pytest.raises(ValueError, match="looks like it is a metric function rather than a scorer"):
        classifier(metrics=[accuracy_score]).fit(X, Y, X_val=X_VAL, y_val=Y_VAL)
    for solver in ("lbfgs", "lm"):
        with pytest.raises(ValueError, match=f"solver='{solver}' does not have X_val; adam and others do"):
            classifier(solver=solver).fit(X, Y, X_val=X_VAL, y_val=Y_VAL)


# --------------------------------------------------------------------------------------------------- pipelines, searches


@pytest.fixture
def routing():
    import sklearn

    with sklearn.config_context(enable_metadata_routing=True):
        yield


@pytest.mark.usefixtures("routing")
def test_a_pipeline_transforms_and_passes_validation_data():
    e = classifier(early_stopping=True).set_fit_request(X_val=True, y_val=True, sample_weight_val=True)
    pipeline = Pipeline([("scale", StandardScaler()), ("mlp", e)], transform_input=["X_val"])
    pipeline.fit(X, Y, X_val=X_VAL, y_val=Y_VAL, sample_weight_val=S_VAL)
    scaler = StandardScaler().fit(X)
    own = {"X_val": scaler.transform(X_VAL), "y_val": Y_VAL, "sample_weight_val": S_VAL}
    by_hand = clone(e).fit(scaler.transform(X), Y, **own)
    assert pipeline[-1].validation_loss_curve_ == by_hand.validation_loss_curve_
    assert len(by_hand.validation_loss_curve_) > 1


@pytest.mark.usefixtures("routing")
def test_a_search_passes_validation_data():
    e = classifier(early_stopping=True, monitor="val_loss").set_fit_request(X_val=True, y_val=True)
    search = GridSearchCV(e, {"dropout": [0.0, 0.2], "solver": ["adam", "adamw"]}, cv=2).fit(X, Y, X_val=X_VAL, y_val=Y_VAL)
    assert len(search.cv_results_["params"]) == 4
    best = search.best_estimator_
    assert best.t_ == best.n_iter_ * len(X)
    by_hand = clone(best).fit(X, Y, X_val=X_VAL, y_val=Y_VAL)
    assert best.validation_loss_curve_ == by_hand.validation_loss_curve_


def test_without_routing_a_pipeline_passes_them_by_the_name_of_the_step():
    pipeline = make_pipeline(StandardScaler(), classifier())
    pipeline.fit(X, Y, mlpclassifier__X_val=StandardScaler().fit(X).transform(X_VAL), mlpclassifier__y_val=Y_VAL)
    assert len(pipeline[-1].validation_scores_) == 8
