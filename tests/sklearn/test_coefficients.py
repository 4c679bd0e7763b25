"""What users write to the coefficients, and the forms of X that they may pass."""

import tracemalloc

import numba
import numpy as np
import pandas as pd
import pytest
from estimator_pairs import CLASSIFIER, DIGITS, IRIS, pair
from scipy import sparse

import bpkernel as bp
from bpkernel.kernels import partition

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


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
    monkeypatch.setattr(partition, "WORTH_A_THREAD", 1)
    monkeypatch.setattr(partition, "WORTH_A_CHUNK", 10_000)
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
