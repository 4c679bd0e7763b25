"""What the estimators have beyond scikit-learn's: solver="lm" and error bars."""

import pickle
import warnings

import numpy as np
import pytest
import scipy.sparse
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.exceptions import ConvergenceWarning

import bpkernel as bp

OWN = {"hidden_layer_sizes": (6,), "activation": "tanh", "solver": "lm", "random_state": 0, "alpha": 0.1, "max_iter": 500}


@pytest.fixture
def regression():
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, (300, 2))
    return X, np.sin(3 * X[:, 0]) * X[:, 1] + 0.1 * rng.standard_normal(300)


def test_lm_reaches_a_lower_loss_than_lbfgs(regression):
    X, y = regression
    estimator = bp.MLPRegressor(**OWN, tol=1e-7).fit(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        other = bp.MLPRegressor(**{**OWN, "solver": "lbfgs"}).fit(X, y)
    assert estimator.loss_ <= other.loss_ * 1.05
    assert estimator.score(X, y) > 0.85
    assert estimator.loss_ == estimator.loss_curve_[-1]
    assert len(estimator.loss_curve_) == estimator.n_iter_ < 500
    w = np.concatenate([coef.ravel() for coef in estimator.coefs_])
    assert (np.diff(estimator.loss_curve_) <= 0).all()
    before_last_step = 0.5 * np.mean((estimator.predict(X) - y) ** 2) + 0.5 * 0.1 * (w @ w) / len(y)
    assert before_last_step == pytest.approx(estimator.loss_, rel=1e-4)


def test_lm_classifies_and_takes_weights_sparse_inputs_and_graphs():
    X, y = load_iris(return_X_y=True)
    dense = bp.MLPClassifier(**OWN).fit(X, y)
    assert dense.score(X, y) > 0.95
    sparse = bp.MLPClassifier(**OWN).fit(scipy.sparse.csr_matrix(X), y)
    np.testing.assert_allclose(sparse.predict_proba(X), dense.predict_proba(X), atol=1e-9)
    graph = bp.MLPClassifier(**{**OWN, "hidden_layer_sizes": (4, 4)}, connections="all").fit(X, y)
    assert graph.score(X, y) > 0.95
    doubled = bp.MLPClassifier(**OWN).fit(np.vstack([X, X[:50]]), np.append(y, y[:50]))
    weighted = bp.MLPClassifier(**OWN).fit(X, y, np.repeat([2.0, 1.0], [50, 100]))
    np.testing.assert_allclose(weighted.predict_proba(X), doubled.predict_proba(X), atol=1e-5)


def test_lm_warns_stops_and_goes_on(regression):
    X, y = regression
    with pytest.warns(ConvergenceWarning, match=r"lm: Maximum iterations \(3\) reached"):
        estimator = bp.MLPRegressor(**{**OWN, "max_iter": 3, "warm_start": True}).fit(X, y)
    first = estimator.loss_
    with pytest.warns(ConvergenceWarning):
        estimator.fit(X, y)
    assert estimator.loss_ < first
    with pytest.raises(AttributeError, match="has no attribute 'partial_fit'"):
        bp.MLPClassifier(**OWN).partial_fit  # noqa: B018
    with pytest.raises(AttributeError, match=r"partial_fit is only available for stochastic optimizers\. lm is not stochastic"):
        estimator.partial_fit(X, y)
    with pytest.raises(ValueError, match="'solver' parameter"):
        bp.MLPRegressor(**{**OWN, "solver": "trainlm"}).fit(X, y)


def test_a_subclass_that_overrides_the_gradient_is_refused(regression):
    class Own(bp.MLPRegressor):
        def _backprop(self, *arguments):
            return super()._backprop(*arguments)

    with pytest.raises(ValueError, match="solver='lm' cannot call methods that Own overrides"):
        Own(**OWN).fit(*regression)


@pytest.mark.parametrize("solver", ["lm", "lbfgs", "adam"])
def test_error_bars(regression, solver):
    X, y = regression
    own = {**OWN, "solver": solver, "max_iter": 3000, "tol": 1e-6, "learning_rate_init": 0.01}
    estimator = bp.MLPRegressor(**own, error_bars=True).fit(X, y)
    found, std = estimator.predict(X, return_std=True)
    np.testing.assert_array_equal(found, estimator.predict(X))
    assert std.shape == found.shape == y.shape
    assert 0.9 <= (abs(y - found) < 1.96 * std).mean() <= 0.98
    assert estimator.posterior_.noise_precision == pytest.approx(100, rel=0.25)
    far = estimator.predict([[4.0, 4.0]], return_std=True)[1]
    assert far[0] > 2 * std.mean()
    copied = pickle.loads(pickle.dumps(estimator))
    np.testing.assert_array_equal(copied.predict(X, return_std=True)[1], std)
    assert clone(estimator).error_bars


def test_error_bars_of_several_outputs_and_of_none(regression):
    X, y = regression
    both = bp.MLPRegressor(**OWN, error_bars=True).fit(X, np.column_stack([y, X[:, 0]]))
    found, std = both.predict(X[:5], return_std=True)
    assert found.shape == std.shape == (5, 2)
    without = bp.MLPRegressor(**OWN).fit(X, y)
    with pytest.raises(ValueError, match=r"needs MLPRegressor\(error_bars=True\), and fit"):
        without.predict(X, return_std=True)
    both.set_params(error_bars=False).fit(X, y)
    with pytest.raises(ValueError, match="error_bars=True"):
        both.predict(X, return_std=True)


def test_to_sklearn_refuses_what_scikit_learn_does_not_have(regression):
    X, y = regression
    with pytest.raises(ValueError, match="solver='lm'"):
        bp.MLPRegressor(**OWN).fit(X, y).to_sklearn()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        with_bars = bp.MLPRegressor(**{**OWN, "solver": "adam", "max_iter": 5}, error_bars=True).fit(X, y)
    with pytest.raises(ValueError, match="error_bars=True"):
        with_bars.to_sklearn()
    net = bp.MLPRegressor(**OWN).fit(X, y).to_mlp()
    assert net.layer_sizes == (2, 6, 1)
