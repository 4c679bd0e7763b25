"""Copies of estimators, and the ways to other kinds of nets and back."""

import copy
import inspect
import io
import pickle
import re

import joblib
import numpy as np
import pytest
import scipy.sparse
from estimator_pairs import CLASSIFIER, DIABETES, DIGITS, IRIS, pair
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier as OriginalClassifier
from sklearn.pipeline import make_pipeline

import bpkernel as bp
from bpkernel.sklearn.parameters import COMMON, FITTED, OF_CLASSIFIER, OF_REGRESSOR

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


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
    more = COMMON | (OF_REGRESSOR if kind == "MLPRegressor" else OF_CLASSIFIER)
    assert unfitted.get_params() == {**theirs.get_params(), **more}
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


def test_the_help_is_that_of_scikit_learn():
    text = io.StringIO()
    import pydoc

    pydoc.Helper(output=text).help(bp.MLPClassifier)
    assert "hidden_layer_sizes" in text.getvalue()
    for kind, other, attributes in (
        (bp.MLPClassifier, OF_REGRESSOR, {"classes_"}),
        (bp.MLPRegressor, OF_CLASSIFIER, {"posterior_"}),
    ):
        before, _, own = kind.__doc__.partition("Other Parameters\n----------------\n")
        named = set(re.findall(r"^(\w+) : ", own, re.MULTILINE))
        more = set(inspect.signature(kind).parameters) - set(inspect.signature(kind._original).parameters)
        assert more <= named <= set(kind().get_params())
        assert not set(other) & named
        shown = set(re.findall(r"^(\w+_) : ", before.partition("\nAttributes\n")[2].partition("\nSee Also\n")[0], re.MULTILINE))
        public = {name for name in FITTED if not name.startswith("_")}
        assert public | attributes | {"coefs_", "connections_"} <= shown
    assert repr(bp.MLPClassifier(alpha=1)) == "MLPClassifier(alpha=1)"


LABELS = {
    "two strings": np.array(["no", "yes"])[np.arange(30) % 2],
    "two numbers": np.array([-3, 5])[np.arange(30) % 2],
    "bool": np.arange(30) % 2 == 0,
    "three strings": np.array(["a", "b", "c"], object)[np.arange(30) % 3],
    "four numbers": np.array([7.0, 2.0, -1.0, 0.0])[np.arange(30) % 4],
    "one class": np.ones(30, int),
    "multilabel": np.random.default_rng(0).integers(0, 2, (30, 3)),
    "multilabel of two": np.random.default_rng(0).integers(0, 2, (30, 2)),
    "sparse multilabel": scipy.sparse.csr_array(np.random.default_rng(0).integers(0, 2, (30, 3))),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("labels", LABELS)
def test_labels_are_those_that_scikit_learn_makes_of_the_same_outputs(labels, dtype):
    X, y = np.random.default_rng(1).standard_normal((30, 4)).astype(dtype), LABELS[labels]
    net = bp.MLPClassifier((5,), max_iter=30, learning_rate_init=0.1, random_state=0).fit(X, y)
    for rows in (X, X[:1]):
        expected, found = OriginalClassifier._predict(net, rows), net.predict(rows)
        assert type(found) is type(expected)
        assert found.dtype == expected.dtype
        found, expected = (y.toarray() if scipy.sparse.issparse(y) else y for y in (found, expected))
        np.testing.assert_array_equal(found, expected)
        assert len(rows) == 1 or labels == "one class" or len(np.unique(found)) > 1
