"""The estimators in the tools of scikit-learn, with several jobs and threads."""

import joblib
import numpy as np
import pandas as pd
import pytest
import sklearn.neural_network as original
from estimator_pairs import CLASSIFIER, DIGITS, IRIS
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import BaggingRegressor, StackingClassifier
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import bpkernel as bp

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


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
