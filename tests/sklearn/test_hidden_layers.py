"""What the estimators show of their nets: outputs of layers, derivatives, initial weights; several labels and quantiles."""

import numpy as np
import pandas as pd
import pytest
from estimator_pairs import DIABETES, IRIS
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import make_multilabel_classification
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import d2_pinball_score, log_loss
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import bpkernel as bp

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

EPS = np.finfo(float).eps
X, Y = IRIS
D, T = DIABETES[0] * 20, DIABETES[1] / 77
SETTINGS = {"hidden_layer_sizes": (7, 4), "activation": "tanh", "random_state": 0, "max_iter": 6, "learning_rate_init": 0.01}
MASKS = {(0, 1): np.arange(28).reshape(4, 7) % 3 > 0}


def classifier(**changed):
    return bp.MLPClassifier(**{**SETTINGS, **changed})


def regressor(**changed):
    return bp.MLPRegressor(**{**SETTINGS, **changed})


# -------------------------------------------------------------------------------------------------------------- layers


@pytest.mark.parametrize("kind", ["dense", "sparse", "float32"])
@pytest.mark.parametrize("net", ["chain", "masks", "connections"])
def test_the_outputs_of_layers_are_those_by_hand(net, kind):
    own = {"chain": {}, "masks": {"masks": MASKS}, "connections": {"connections": "all"}}[net]
    dtype = "float32" if kind == "float32" else "float64"
    given = X.astype(dtype)
    e = classifier(**own).fit(given, Y)
    z = [given]
    for target in (1, 2, 3):
        sums = e.intercepts_[target - 1] + sum(
            z[a] @ w for (a, b), w in zip(e.connections_, e.coefs_, strict=True) if b == target
        )
        z.append(np.tanh(sums) if target < 3 else np.exp(sums) / np.exp(sums).sum(axis=1, keepdims=True))
    shown = sparse.csr_matrix(given) if kind == "sparse" else given
    for layer, place in ((1, 1), (2, 2), (3, 3), (-1, 3), (-2, 2), (-3, 1)):
        found = e.transform(shown, layer=layer)
        assert found.dtype == dtype
        np.testing.assert_allclose(found, z[place], rtol=1e3 * np.finfo(dtype).eps, atol=1e3 * np.finfo(dtype).eps)
    np.testing.assert_array_equal(e.transform(shown), e.transform(shown, layer=2))
    np.testing.assert_allclose(e.transform(shown, layer=-1), e.predict_proba(shown), rtol=1e3 * np.finfo(dtype).eps)


def test_more_rows_than_one_block_of_a_net_with_connections(monkeypatch):
    from bpkernel.sklearn import hidden_layers

    e = classifier(connections="all").fit(X, Y)
    whole = e.transform(X)
    monkeypatch.setattr(hidden_layers, "ROWS", 32)
    np.testing.assert_array_equal(e.transform(X), whole)
    assert len(whole) == 150


def test_wrong_layers_and_inputs():
    with pytest.raises(NotFittedError):
        classifier().transform(X)
    e = classifier().fit(X, Y)
    for layer in (0, 4, -4):
        with pytest.raises(ValueError, match=rf"layer must be from 1 to 3, or from -3 to -1; got {layer}"):
            e.transform(X, layer=layer)
    for layer in (True, 1.5, "last"):
        with pytest.raises(TypeError, match="layer must be an integer; got"):
            e.transform(X, layer=layer)
    with pytest.raises(ValueError, match="X has 3 features, but MLPClassifier is expecting 4"):
        e.transform(X[:, 1:])
    linear = regressor(hidden_layer_sizes=()).fit(D, T)
    with pytest.raises(ValueError, match="layer must be from 1 to 1, or from -1 to -1; got -2"):
        linear.transform(D)
    np.testing.assert_allclose(linear.transform(D, layer=1)[:, 0], linear.predict(D), rtol=1e3 * EPS)


def test_a_net_as_a_step_of_a_pipeline():
    pipeline = make_pipeline(StandardScaler(), classifier(max_iter=100), LogisticRegression()).fit(X, Y)
    assert pipeline.score(X, Y) > 0.9
    z = clone(pipeline[1]).fit_transform(StandardScaler().fit_transform(X), Y)
    np.testing.assert_array_equal(z, pipeline[:2].transform(X))


def test_data_frames_come_out_where_they_are_wished_for():
    frame = pd.DataFrame(X, columns=list("abcd"))
    e = classifier().fit(frame, Y)
    names = [f"mlpclassifier{i}" for i in range(4)]
    assert list(e.get_feature_names_out()) == names
    shown = e.set_output(transform="pandas").transform(frame)
    assert list(shown.columns) == names
    np.testing.assert_array_equal(shown, e.set_output(transform="default").transform(frame))
    pipeline = make_pipeline(StandardScaler(), regressor()).set_output(transform="pandas").fit(frame, Y)  # of all its steps
    assert pipeline.predict(frame).shape == (150,)


# --------------------------------------------------------------------------------------------------------- derivatives


def central(function, X, h):
    """∂ function(X) / ∂ x_i for every row (n_samples, ..., n_features), by central differences."""
    columns = []
    for i in range(X.shape[1]):
        above, below = X.copy(), X.copy()
        above[:, i] += h
        below[:, i] -= h
        columns.append((function(above) - function(below)) / (2 * h))
    return np.stack(columns, axis=-1)


@pytest.mark.parametrize("own", [{}, {"connections": "all", "dropout": 0.2}], ids=["chain", "connections"])
def test_derivatives_by_the_inputs_equal_central_differences(own):
    h = EPS ** (1 / 3)
    e = classifier(**own, max_iter=50).fit(X, Y)
    jacobian = e.jacobian(X)
    assert jacobian.shape == (150, 3, 4)
    assert np.abs(jacobian).max() > 0.1
    np.testing.assert_allclose(jacobian, central(e.predict_proba, X, h), atol=1e-8)
    gradient = e.input_gradient(X, Y)
    losses = central(lambda X: -np.log(e.predict_proba(X)[np.arange(150), Y]), X, h)
    assert np.abs(losses).max() > 0.1
    np.testing.assert_allclose(gradient, losses, atol=1e-8)
    named = np.array(["a", "b", "c"])
    np.testing.assert_array_equal(classifier(**own, max_iter=50).fit(X, named[Y]).input_gradient(X, named[Y]), gradient)
    np.testing.assert_allclose(e.input_gradient(sparse.csr_matrix(X), Y), gradient, rtol=1e-9)


def test_derivatives_of_regressors_and_of_two_classes():
    h = EPS ** (1 / 3)
    e = regressor().fit(D, T)
    np.testing.assert_allclose(e.jacobian(D)[:, 0], central(e.predict, D, h), atol=1e-8)
    np.testing.assert_allclose(e.input_gradient(D, T), central(lambda D: (e.predict(D) - T) ** 2 / 2, D, h), atol=1e-7)
    quantiles = regressor(loss=bp.Quantile(0.1, 0.9)).fit(D, T)
    np.testing.assert_allclose(quantiles.jacobian(D), central(quantiles.predict, D, h), atol=1e-8)
    two = classifier().fit(X[Y > 0], Y[Y > 0])
    expected = central(lambda X: -np.log(two.predict_proba(X)[np.arange(100), Y[Y > 0] - 1]), X[Y > 0], h)
    np.testing.assert_allclose(two.input_gradient(X[Y > 0], Y[Y > 0]), expected, atol=1e-8)


# ----------------------------------------------------------------------------------------------------- initial weights


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs", "adamw", "lm"])
def test_initialize_draws_the_weights_that_fit_begins_with(solver):
    e = classifier(solver=solver).initialize(X, Y)
    seen = []
    if solver in ("adam", "sgd", "adamw"):
        steps = {"callbacks": [lambda run: True], "learning_rate_init": 1e-300, "max_iter": 1}
        seen = classifier(solver="sgd", **steps, momentum=0.0).fit(X, Y).coefs_
        for one, other in zip(e.coefs_, seen, strict=True):
            np.testing.assert_array_equal(one, other)
    assert e.predict(X).shape == (150,)
    assert e.score(X, Y) < 0.8
    assert e.n_iter_ == 0
    before = e.coefs_[0].copy()
    goes_on = clone(e).set_params(warm_start=True, max_iter=100).initialize(X, Y).fit(X, Y)
    assert (goes_on.coefs_[0] != before).any()
    assert goes_on.score(X, Y) > e.score(X, Y)
    e.coefs_[0][...] = 0
    assert np.ptp(e.predict_proba(X), axis=0).max() < 1e-12


def test_initialize_of_a_regressor_and_of_several_labels():
    two = regressor().initialize(D, np.column_stack([T, T]))
    assert two.predict(D).shape == (442, 2)
    several = classifier().initialize(*make_multilabel_classification(50, n_features=4, n_classes=3, random_state=0))
    assert several.predict(X).shape == (150, 3)
    names = classifier().initialize(pd.DataFrame(X, columns=list("abcd")), np.array(["x", "y", "z"])[Y])
    assert list(names.classes_) == ["x", "y", "z"]
    assert list(names.feature_names_in_) == list("abcd")
    steps = classifier().initialize(X, Y)
    for _ in range(3):
        steps.partial_fit(X, Y)
    assert len(steps.loss_curve_) == 3


def test_a_failed_initialize_changes_nothing():
    e = classifier().fit(X, Y)
    before = e.predict_proba(X)
    for given in ((X * np.nan, Y), (X, Y[1:]), (X[:0], Y[:0])):
        with pytest.raises(ValueError):  # noqa: PT011
            e.initialize(*given)
    with pytest.raises(ValueError, match="'dropout' parameter"):
        e.set_params(dropout=-1.0).initialize(X, Y)
    np.testing.assert_array_equal(e.predict_proba(X), before)
    with pytest.raises(ValueError, match="NaN"):
        classifier().initialize(X * np.nan, Y)


# -------------------------------------------------------------------------------------- several labels, several quantiles


def test_partial_fit_of_several_labels_is_an_epoch_of_fit():
    """Issue 12505 of scikit-learn: no list of classes is needed."""
    several = make_multilabel_classification(90, n_features=4, n_classes=3, random_state=0)
    e = classifier(shuffle=False)
    for _ in range(6):
        e.partial_fit(*several)
    whole = classifier(shuffle=False).fit(*several)
    np.testing.assert_array_equal(e.coefs_[0], whole.coefs_[0])
    np.testing.assert_array_equal(e.classes_, [0, 1, 2])
    assert e.predict(several[0]).shape == (90, 3)
    with pytest.raises(ValueError, match="mismatch with the labels"):
        e.partial_fit(several[0], several[1][:, :2])
    with pytest.raises(ValueError, match="classes"):
        classifier().partial_fit(X, Y)
    sparse_y = classifier(shuffle=False).partial_fit(several[0], sparse.csr_matrix(several[1]))
    one_epoch = classifier(shuffle=False, max_iter=1).fit(*several)
    np.testing.assert_array_equal(sparse_y.predict(several[0]).toarray(), one_epoch.predict(several[0]))


@pytest.mark.parametrize("solver", ["adam", "lbfgs", "adamw"])
def test_several_quantiles_of_one_and_of_several_targets(solver):
    levels = (0.1, 0.5, 0.9)
    e = regressor(loss=bp.Quantile(*levels), solver=solver, max_iter=60).fit(D, T)
    y = e.predict(D)
    assert y.shape == (442, 3)
    np.testing.assert_allclose([(y[:, k] > T).mean() for k in range(3)], levels, atol=0.25)
    scores = [d2_pinball_score(T, y[:, k], alpha=level) for k, level in enumerate(levels)]
    assert e.score(D, T) == pytest.approx(np.mean(scores), rel=1e-12)
    both = regressor(loss=bp.Quantile(*levels), solver=solver, max_iter=60).fit(D, np.column_stack([T, -T]))
    y = both.predict(D)
    assert y.shape == (442, 6)  # the quantiles of the first target, then those of the second one
    assert (y[:, :3].mean(axis=0) > 0).all()
    assert (y[:, 3:].mean(axis=0) < 0).all()
    assert both.score(D, np.column_stack([T, -T])) > 0
    in_steps = regressor(loss=bp.Quantile(*levels), early_stopping=True).fit(D, T)
    assert len(in_steps.validation_scores_) == 6


@pytest.mark.parametrize("name", ["logistic", "exp", "softplus", "tanh"])
def test_the_output_activation_is_that_of_the_parameter(name):
    squashed = {
        "logistic": lambda a: 1 / (1 + np.exp(-a)),
        "exp": np.exp,
        "softplus": lambda a: np.log1p(np.exp(a)),
        "tanh": np.tanh,
    }[name]
    e = regressor(output_activation=name).fit(D, T / 5)
    sums = e.transform(D) @ e.coefs_[-1] + e.intercepts_[-1]
    np.testing.assert_allclose(e.predict(D), squashed(sums)[:, 0], rtol=1e4 * EPS, atol=1e4 * EPS)
    assert e.out_activation_ == name
    assert np.ptp(e.predict(D)) > 0.01
    goes_on = clone(e).set_params(warm_start=True).fit(D, T / 5).fit(D, T / 5)
    assert goes_on.loss_curve_[-1] < goes_on.loss_curve_[0]


def test_output_activations_that_do_not_go_with_the_loss_are_refused():
    with pytest.raises(ValueError, match="output_activation='identity' does not go with loss='poisson'"):
        regressor(loss="poisson", output_activation="identity").fit(D, T)
    with pytest.raises(ValueError, match="'output_activation' parameter of MLPRegressor must be a str among"):
        regressor(output_activation="nope").fit(D, T)
    assert regressor(loss="gamma", output_activation="softplus").fit(D, T).predict(D).min() > 0


def test_error_bars_of_a_loss_without_curvature_leave_the_estimator_as_it_was():
    e = regressor().fit(D, T)
    before = e.predict(D)
    with pytest.raises(ValueError, match=r"curvature|quantile"):
        e.set_params(loss="quantile", error_bars=True).fit(D, T)
    e.set_params(loss="squared_error")
    np.testing.assert_array_equal(e.predict(D), before)


def test_log_loss_of_smooth_labels_is_higher_and_probabilities_are_less_sure():
    sure, smooth = (classifier(label_smoothing=s, max_iter=300, alpha=0).fit(X, Y) for s in (0.0, 0.2))
    assert smooth.predict_proba(X).max() < 0.95 < sure.predict_proba(X).max()
    assert smooth.loss_ > sure.loss_
    p, t = smooth.predict_proba(X), 0.8 * np.eye(3)[Y] + 0.2 / 3
    assert smooth.loss_ == pytest.approx(-(t * np.log(p)).sum(axis=1).mean(), rel=1e-2)
    assert log_loss(Y, p) != pytest.approx(smooth.loss_, rel=0.1)
