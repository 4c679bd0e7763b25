"""The contract of MLP: what it learns, what it shows, what it refuses."""

import copy
import pickle

import numpy as np
import pandas as pd
import pytest
import scipy.sparse

import bpkernel as bp

XOR = [[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0]


def small(**parameters):
    return bp.MLP((4, 5, 3), output_activation="softmax", loss="cross_entropy", random_state=0, **parameters)


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    return rng.standard_normal((50, 4)).astype("float32"), rng.integers(0, 3, 50)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("optimizer", [bp.Adam(0.05), bp.SGD(0.5, momentum=0.9), bp.SGD(0.5, 0.9, True)], ids=str)
def test_it_learns_xor(dtype, optimizer):
    net = bp.MLP((2, 8, 1), output_activation="logistic", loss="binary_cross_entropy", dtype=dtype, random_state=0)
    optimizer = copy.copy(optimizer)
    optimizer.reset()
    history = net.fit(*XOR, epochs=1000, optimizer=optimizer)
    assert len(history.loss) == len(history.seconds) == 1000
    assert net.loss(*XOR) < 0.05 < history.loss[0]
    assert net.predict(XOR[0]).round().ravel().tolist() == XOR[1]


def test_a_single_unit_finds_the_line_of_least_squares():
    rng = np.random.default_rng(0)
    x = rng.standard_normal(200)
    t = 3 * x - 2 + 0.1 * rng.standard_normal(200)
    net = bp.MLP((1, 1), dtype="float64", random_state=0)
    net.fit(x[:, None], t, epochs=2000, optimizer=bp.SGD(0.1))
    slope, intercept = np.polyfit(x, t, 1)
    np.testing.assert_allclose([net.weights[0].item(), net.biases[0].item()], [slope, intercept], rtol=1e-10)
    residuals = t - slope * x - intercept
    assert net.loss(x[:, None], t) == pytest.approx(0.5 * np.mean(residuals**2), rel=1e-12)


def test_the_parameters_of_the_contract(data):
    net = bp.MLP((64, 100, 10), activation="tanh", output_activation="softmax", loss="cross_entropy", random_state=0)
    assert [w.shape for w in net.weights] == [(64, 100), (100, 10)]
    assert [b.shape for b in net.biases] == [(100,), (10,)]
    assert {w.dtype.name for w in (*net.weights, *net.biases)} == {"float32"}
    assert (net.layer_sizes, net.activation, net.output_activation) == ((64, 100, 10), ("tanh",), "softmax")
    default = bp.MLP((8, 3))
    assert (default.activation, default.output_activation, default.loss_name) == ((), "identity", "squared_error")


def test_initial_weights_are_glorot_or_he_uniform_and_from_the_seed():
    net = bp.MLP((50, 40, 30, 20), activation=["tanh", "relu"], dtype="float64", random_state=7)
    for w, bound in zip(net.weights, [np.sqrt(6 / 90), np.sqrt(6 / 40), np.sqrt(6 / 50)], strict=True):
        assert 0.95 * bound < np.abs(w).max() <= bound
        assert w.std() == pytest.approx(bound / np.sqrt(3), rel=0.1)
    assert not np.concatenate(net.biases).any()
    same = bp.MLP((50, 40, 30, 20), activation=["tanh", "relu"], dtype="float64", random_state=np.random.default_rng(7))
    other = bp.MLP((50, 40, 30, 20), activation=["tanh", "relu"], dtype="float64", random_state=8)
    np.testing.assert_array_equal(net.weights[0], same.weights[0])
    assert not np.array_equal(net.weights[0], other.weights[0])


def test_weights_are_live_and_cannot_be_rebound(data):
    X, _ = data
    net = small()
    before = net.predict(X)
    net.weights[0][:] = 0
    net.biases[1][:] = [0, 50, 0]
    assert not np.array_equal(before, net.predict(X))
    np.testing.assert_allclose(net.predict(X)[:, 1], 1)
    with pytest.raises(TypeError):
        net.weights[0] = np.zeros((4, 5))
    with pytest.raises(AttributeError):
        net.weights = ()


def test_backprop_shows_everything(data):
    X, T = data
    net = small(dtype="float64")
    r = net.backprop(X, T)
    assert [block.shape for block in r.a] == [(50, 0), (50, 5), (50, 3)]
    assert [block.shape for block in r.z] == [(50, 4), (50, 5), (50, 3)]
    assert [block.shape for block in r.delta] == [(50, 0), (50, 5), (50, 3)]
    assert [block.shape for block in (*r.dw, *r.db)] == [(4, 5), (5, 3), (5,), (3,)]
    np.testing.assert_array_equal(r.z[0], X)
    np.testing.assert_array_equal(r.z[2], net.predict(X))
    np.testing.assert_allclose(r.delta[2], r.z[2] - np.eye(3)[T], rtol=1e-14)
    np.testing.assert_allclose(r.dw[0], r.z[0].T @ r.delta[1], rtol=1e-10, atol=1e-12)
    assert r.error / 50 == pytest.approx(net.loss(X, T), rel=1e-12)
    r.z[0][:] = r.dw[0][:] = 0  # copies: the net and X are the user's own
    assert X.any()
    assert net.weights[0].any()


def test_class_indices_and_one_hot_rows_are_the_same(data):
    X, T = data
    assert small().loss(X, T) == small().loss(X, np.eye(3)[T]) == small().loss(X, T.astype(float).tolist())


def test_one_output_takes_flat_targets(data):
    X, T = data
    net = bp.MLP((4, 1), random_state=0)
    assert net.loss(X, T) == net.loss(X, T[:, None])


def test_any_layout_of_x_gives_the_same_and_is_never_modified(data):
    X, T = data
    net = small()
    expected = net.predict(X)
    wide = np.zeros((100, 8), "float32")
    wide[::2, ::2] = X
    read_only = X.copy()
    read_only.flags.writeable = False
    unaligned = np.frombuffer(b"." + X.tobytes(), "uint8")[1:].view("float32").reshape(X.shape)
    frame = pd.DataFrame(X)
    for same in (
        np.asfortranarray(X),
        wide[::2, ::2],
        read_only,
        unaligned,
        X.tolist(),
        X.astype("float64"),
        frame,
        X[::-1][::-1],
    ):
        kept = copy.deepcopy(same)
        np.testing.assert_array_equal(net.predict(same), expected)
        history = small().fit(same, T, epochs=2)
        assert history.loss == small().fit(X, T, epochs=2).loss
        np.testing.assert_array_equal(np.asarray(same), np.asarray(kept))
    integers = np.arange(8).reshape(2, 4)
    for dtype in ("int8", "uint16", "int64", "float16", "bool"):
        np.testing.assert_array_equal(
            net.predict(integers.astype(dtype)), net.predict(integers.astype(dtype).astype("float32"))
        )


def test_copies_and_pickles_are_whole_and_apart(data):
    X, T = data
    net = small()
    net.fit(X, T, epochs=1)
    expected = net.predict(X)
    for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        np.testing.assert_array_equal(other.predict(X), expected)
        assert other._network.params.ctypes.data % 64 == 0
        other.fit(X, T, epochs=1)
        assert not np.array_equal(other.predict(X), expected)
    np.testing.assert_array_equal(net.predict(X), expected)


BAD_NETS = [
    ({"layer_sizes": 5}, TypeError, "sequence of integers"),
    ({"layer_sizes": "ab"}, TypeError, "sequence of integers"),
    ({"layer_sizes": (4,)}, ValueError, "at least the inputs and the outputs"),
    ({"layer_sizes": ()}, ValueError, "at least the inputs and the outputs"),
    ({"layer_sizes": (4, 0, 3)}, ValueError, "at least 1; got 0"),
    ({"layer_sizes": (4, -2)}, ValueError, "at least 1; got -2"),
    ({"layer_sizes": (4, 2.5)}, TypeError, "integer"),
    ({"layer_sizes": (4, True)}, TypeError, "integer"),
    ({"activation": "swish"}, ValueError, "one of identity, logistic, tanh, relu"),
    ({"activation": "softmax"}, ValueError, "one of identity, logistic, tanh, relu"),
    ({"activation": ["tanh", "relu"]}, ValueError, "one name for each hidden layer"),
    ({"activation": None}, TypeError, "a name"),
    ({"output_activation": "linear"}, ValueError, "one of identity, logistic, .*, softmax, exp"),
    ({"loss": "mse"}, ValueError, "squared_error, cross_entropy, binary_cross_entropy, poisson"),
    ({"loss": 3}, TypeError, "squared_error"),
    ({"loss": "cross_entropy"}, ValueError, "use output_activation 'softmax' or 'logistic'"),
    ({"loss": "poisson", "output_activation": "relu"}, ValueError, "'exp'"),
    ({"dtype": "float16"}, ValueError, "float32"),
    ({"dtype": None}, ValueError, "float32"),
    ({"dtype": "nonsense"}, ValueError, "float32"),
    ({"random_state": -1}, ValueError, "random_state"),
    ({"random_state": 0.5}, TypeError, "random_state"),
    ({"layer_sizes": (10**30, 2)}, ValueError, "do not fit in memory"),
    ({"layer_sizes": (10**9, 10**9)}, ValueError, "do not fit in memory"),
    ({"layer_sizes": {4, 3}}, TypeError, "sequence of integers"),
    ({"layer_sizes": np.array(3)}, TypeError, "sequence of integers"),
    ({"dtype": ","}, ValueError, "float32"),
    ({"dtype": {"names": ["a"]}}, ValueError, "float32"),
    ({"activation": b"tanh"}, TypeError, "a name"),
]


@pytest.mark.parametrize(("parameters", "kind", "message"), BAD_NETS, ids=str)
def test_bad_nets_are_refused(parameters, kind, message):
    with pytest.raises(kind, match=message):
        bp.MLP(**{"layer_sizes": (4, 5, 3), **parameters})


NAN = np.full((50, 4), 0.5)
NAN[7, 2] = np.nan
BAD_X = [
    (NAN, ValueError, r"X\[7, 2\] is nan"),
    (np.where(np.isnan(NAN), np.inf, NAN), ValueError, r"X\[7, 2\] is inf"),
    (np.where(np.isnan(NAN), 1e300, NAN), ValueError, r"finite numbers of float32"),
    (np.zeros((50, 3)), ValueError, r"\(n_samples, 4\)"),
    (np.zeros(4), ValueError, r"X.reshape\(1, -1\)"),
    (np.zeros((2, 2, 4)), ValueError, r"\(n_samples, 4\)"),
    (np.zeros((0, 4)), ValueError, "empty"),
    ([], ValueError, "empty"),
    (3.0, ValueError, r"\(n_samples, 4\)"),
    (None, TypeError, "real numbers"),
    ("text", TypeError, "real numbers"),
    ([["a"] * 4], TypeError, "encode text"),
    (np.zeros((50, 4), complex), TypeError, "real numbers"),
    (np.zeros((50, 4), object), TypeError, "real numbers"),
    ([[1, 2, 3, 4], [1, 2]], ValueError, "same length"),
    (scipy.sparse.eye_array(4).tocsr(), TypeError, "toarray"),
    (np.ma.masked_greater(np.ones((5, 4)), 0), ValueError, "masked"),
]


@pytest.mark.parametrize(
    ("X", "kind", "message"), BAD_X, ids=lambda value: None if isinstance(value, np.ndarray) else str(value)
)
def test_bad_inputs_are_refused_everywhere(X, kind, message):
    net = small()
    T = np.zeros(50, int)
    for method in (net.predict, lambda X: net.loss(X, T), lambda X: net.backprop(X, T), lambda X: net.fit(X, T)):
        with pytest.raises(kind, match=message):
            method(X)


BAD_T = [
    ("cross_entropy", "softmax", np.full(50, 3), "class indices from 0 to 2"),
    ("cross_entropy", "softmax", np.full(50, -1), "class indices from 0 to 2"),
    ("cross_entropy", "softmax", np.full(50, 0.5), "integers"),
    ("cross_entropy", "softmax", np.ones((50, 3)), "sum to 1"),
    ("cross_entropy", "softmax", np.zeros(49, int), "each of the 50 samples"),
    ("cross_entropy", "softmax", np.zeros((50, 2)), r"\(50, 3\)"),
    ("cross_entropy", "softmax", np.zeros((50, 1)), r"pass T.ravel\(\)"),
    ("cross_entropy", "softmax", np.arange(50) % 3 + 1, "subtract 1"),
    ("cross_entropy", "softmax", 1, "each of the 50 samples"),
    ("squared_error", "identity", np.zeros(50), r"\(50, 3\)"),
    ("squared_error", "identity", np.full((50, 3), np.nan), "finite"),
    ("binary_cross_entropy", "logistic", np.full((50, 3), 2), "between 0 and 1"),
    ("poisson", "exp", np.full((50, 3), -1), "not be negative"),
]


@pytest.mark.parametrize(("loss", "output", "T", "message"), BAD_T)
def test_bad_targets_are_refused(loss, output, T, message):
    net = bp.MLP((4, 5, 3), loss=loss, output_activation=output)
    for method in (net.loss, net.backprop, net.fit):
        with pytest.raises(ValueError, match=message):
            method(np.ones((50, 4)), T)
    with pytest.raises(TypeError, match="real numbers"):
        net.fit(np.ones((50, 4)), ["a"] * 50)
