"""What the estimators have beyond scikit-learn: connections, masks, init, and further activations and losses."""

import copy
import math

import numba
import numpy as np
import pytest
import sklearn.neural_network as original
from estimator_pairs import DIABETES, IRIS
from scipy import sparse
from scipy.special import erf, expit, softmax

import bpkernel as bp
from bpkernel import initializers
from bpkernel.kernels import partition

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

EPS = np.finfo(float).eps
SOLVERS = ["sgd", "adam", "lbfgs"]
HIDDEN = (5, 4)
PAIRS = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))  # of connections="all"
X = (DIABETES[0] / DIABETES[0].std())[:60, :4]
Y = DIABETES[1][:60] / 100  # from 0.4 to 3.1
LABELS = IRIS[1][::3]
X_LABELS = IRIS[0][::3] - IRIS[0].mean(axis=0)
MASK = np.random.default_rng(3).random((4, 5)) < 0.6
MASKS = {(0, 1): MASK, (1, 3): np.arange(15).reshape(5, 3) % 2 == 0}
MASKS_1 = {(0, 1): MASK, (1, 3): np.arange(5)[:, None] % 2 == 0}  # for one output

SOFTPLUS = bp.Activation(lambda a: max(a, 0) + math.log1p(math.exp(-abs(a))), lambda a, z: 1 - math.exp(-z), "own_softplus")
QUARTIC = bp.Loss(lambda y, t: (y - t) ** 4 / 4, lambda y, t: (y - t) ** 3, "quartic")
RATIO = bp.Loss(lambda y, t: t / y + math.log(y), lambda y, t: (1 - t / y) / y, "ratio", outputs="positive", targets="positive")


def parameters(**changed):
    settings = {"hidden_layer_sizes": HIDDEN, "activation": "tanh", "alpha": 0.1, "max_iter": 6, "random_state": 0}
    return {**settings, "tol": 0.0, "learning_rate_init": 0.01, **changed}


def regressor(**changed):
    return bp.MLPRegressor(**parameters(**changed))


def classifier(**changed):
    return bp.MLPClassifier(**parameters(**changed))


ALL_NEW = {"connections": "all", "activation": ["gelu", SOFTPLUS], "init": "he_normal"}


def fitted(kind, **changed):
    return regressor(**changed).fit(X, Y) if kind == "regressor" else classifier(**changed).fit(X_LABELS, LABELS)


def outputs(e, X):
    return e.predict_proba(X) if hasattr(e, "predict_proba") else e.predict(X)


# --------------------------------------------------------------------------------- against formulas in NumPy, without kernels

G = {
    "tanh": np.tanh,
    "gelu": lambda a: a * (1 + erf(a / math.sqrt(2))) / 2,
    "silu": lambda a: a * expit(a),
    "leaky": lambda a: np.where(a < 0, 0.1 * a, a),
    "own": lambda a: np.log1p(np.exp(a)),
    "softmax": lambda a: softmax(a, axis=1),
    "identity": lambda a: a,
    "exp": np.exp,
}
R = {
    "squared_error": lambda y, t: (y - t) ** 2 / 2,
    "huber": lambda y, t: np.where(abs(y - t) <= 2, (y - t) ** 2 / 2, 2 * (abs(y - t) - 1)),
    "log_cosh": lambda y, t: np.log(np.cosh(y - t)),
    "quantile": lambda y, t: np.where(t > y, 0.3 * (t - y), 0.7 * (y - t)),
    "gamma": lambda y, t: np.log(y / t) + t / y - 1,
    "tweedie": lambda y, t: t**0.5 / -0.25 + t * y**-0.5 / 0.5 + y**0.5 / 0.5,
    "log_loss": lambda y, t: -t * np.log(y),
    "quartic": lambda y, t: (y - t) ** 4 / 4,
    "ratio": lambda y, t: t / y + np.log(y),
}


def forward(weights, biases, pairs, X, g):
    """The outputs of a net of any connections."""
    z = [X]
    for layer, b in enumerate(biases, 1):
        z.append(g[layer - 1](b + sum(z[s] @ w for (s, t), w in zip(pairs, weights, strict=True) if t == layer)))
    return z[-1]


def objective(theta, shapes, pairs, X, T, s, g, error, alpha):
    arrays, start = [], 0
    for shape in shapes:
        arrays.append(theta[start : start + math.prod(shape)].reshape(shape))
        start += math.prod(shape)
    weights, biases = arrays[: len(pairs)], arrays[len(pairs) :]
    y = forward(weights, biases, pairs, X, g)
    penalty = alpha / 2 * sum((w**2).sum() for w in weights)
    return ((s[:, None] * error(y, T)).sum() + penalty) / s.sum()


# parameters, hidden activations in NumPy, output, error
NETS = {
    "all, masks, huber": (
        {"connections": "all", "masks": MASKS_1, "activation": ["gelu", bp.LeakyReLU(0.1)], "loss": bp.Huber(2.0)},
        ("gelu", "leaky", "identity"),
        "huber",
    ),
    "a chain, gamma": ({"activation": "silu", "loss": "gamma"}, ("silu", "silu", "exp"), "gamma"),
    "pairs, own": (
        {"connections": [(2, 3), (0, 2), (0, 1), (1, 2)], "activation": SOFTPLUS, "loss": QUARTIC},
        ("own", "own", "identity"),
        "quartic",
    ),
    "own positive": ({"loss": RATIO, "connections": "all"}, ("tanh", "tanh", "exp"), "ratio"),
    "masks, tweedie": ({"masks": {(0, 1): MASK}, "loss": "tweedie"}, ("tanh", "tanh", "exp"), "tweedie"),
    "quantile": ({"loss": bp.Quantile(0.3)}, ("tanh", "tanh", "identity"), "quantile"),
    "log_cosh": ({"loss": "log_cosh"}, ("tanh", "tanh", "identity"), "log_cosh"),
    "classes": ({"connections": "all", "masks": MASKS}, ("tanh", "tanh", "softmax"), "log_loss"),
}


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", NETS)
def test_lbfgs_minimises_the_objective_of_the_formulas(name, weighted):
    changed, g, error = NETS[name]
    kind = bp.MLPClassifier if error == "log_loss" else bp.MLPRegressor
    calls = []

    class Recorded(kind):
        def _loss_grad_lbfgs(self, packed, *arguments):
            calls.append((packed.copy(), super()._loss_grad_lbfgs(packed, *arguments)))
            return calls[-1][1]

    given = (X_LABELS, LABELS) if error == "log_loss" else (X, Y)
    T = np.eye(3)[LABELS] if error == "log_loss" else Y[:, None]
    s = np.linspace(0.5, 2, len(T)) if weighted else np.ones(len(T))
    e = Recorded(**parameters(**changed, solver="lbfgs")).fit(*given, sample_weight=s if weighted else None)
    of = [w.shape for w in (*e.coefs_, *e.intercepts_)], e.connections_, given[0], T, s, [G[each] for each in g], R[error], 0.1
    assert e.n_iter_ > 1
    masks = changed.get("masks", {})
    named = zip(e.connections_, e.coefs_, strict=True)
    present = np.concatenate([np.ravel(masks.get(pair, np.ones(w.shape, bool))) for pair, w in named])
    for theta, (loss, gradient) in (calls[0], calls[-1]):
        expected = objective(theta, *of)
        np.testing.assert_allclose(loss, expected, rtol=1e4 * EPS, atol=1e4 * EPS)
        h = EPS ** (1 / 3)
        for n in range(0, theta.size, 3):
            step = h * np.eye(1, theta.size, n)[0]
            numeric = (objective(theta + step, *of) - objective(theta - step, *of)) / (2 * h)
            if n >= present.size or present[n]:
                # the kinks of huber, quantile and leaky_relu lie between few samples and their neighbours of this size
                assert gradient[n] == pytest.approx(numeric, rel=1e-6, abs=1e-7)
            else:
                assert abs(numeric) > 1e-6  # a weight would matter here
                assert gradient[n] == theta[n] == 0
    assert calls[-1][1][0] < calls[0][1][0]
    y = forward(e.coefs_, e.intercepts_, e.connections_, given[0], of[5])
    np.testing.assert_allclose(outputs(e, given[0]).reshape(y.shape), y, rtol=1e4 * EPS, atol=1e4 * EPS)


# -------------------------------------------------------------------------------------------------------- against bp.MLP


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_training_takes_the_steps_of_an_mlp(solver, name):
    """The same weights at the start, order and optimizer; 6 epochs of 4 steps, each within some roundings."""
    changed, _, error = NETS[name]
    given = (X_LABELS, LABELS) if error == "log_loss" else (X, Y)
    make = classifier if error == "log_loss" else regressor
    shared = {**changed, "solver": solver, "batch_size": 16, "shuffle": False}
    start = make(**shared, learning_rate_init=1e-300, max_iter=1).fit(*given).to_mlp()
    e = make(**shared).fit(*given)
    optimizer = bp.Adam(0.01) if solver == "adam" else bp.SGD(0.01, momentum=0.9, nesterov=True)
    net = copy.deepcopy(start)
    history = net.fit(*given, epochs=6, batch_size=16, shuffle=False, alpha=0.1, optimizer=optimizer)
    for found, expected, before in zip(
        (*e.coefs_, *e.intercepts_), (*net.weights, *net.biases), (*start.weights, *start.biases), strict=True
    ):
        assert np.abs(expected - before).max() > 1e-3
        np.testing.assert_allclose(found, expected, rtol=24 * 100 * EPS, atol=24 * 100 * EPS)
    assert 0 < e.loss_ - history.loss[-1] < 0.2  # the penalty
    np.testing.assert_array_equal(net.predict(given[0]), e.to_mlp().predict(given[0]))


@pytest.mark.parametrize("kind", ["regressor", "classifier"])
@pytest.mark.parametrize("solver", SOLVERS)
def test_the_loops_of_scikit_learn_take_the_same_steps(solver, kind):
    """A subclass that overrides `_backprop` is trained by scikit-learn's code."""
    masks = MASKS if kind == "classifier" else MASKS_1
    base, given = (bp.MLPClassifier, (X_LABELS, LABELS)) if kind == "classifier" else (bp.MLPRegressor, (X, Y))
    called = []

    class Overridden(base):
        def _backprop(self, *arguments):
            called.append(self)
            return super()._backprop(*arguments)

    settings = parameters(**ALL_NEW, masks=masks, solver=solver)
    mine, theirs = (each(**settings).fit(*given) for each in (base, Overridden))
    assert called
    np.testing.assert_allclose(mine.loss_, theirs.loss_, rtol=1e-9)
    for one, other in zip(mine.coefs_, theirs.coefs_, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-7, atol=1e-9)
    activations = theirs._forward_pass([given[0], None, None, None])
    np.testing.assert_allclose(activations[-1].ravel(), outputs(theirs, given[0]).ravel(), rtol=100 * EPS)
    assert [len(z.T) for z in activations] == [4, 5, 4, len(activations[-1].T)]


# ------------------------------------------------------------------------------------------------- nets of scikit-learn

SAME = {
    "connections": {"connections": [(0, 1), (1, 2), (2, 3)]},
    "masks": {"masks": {(0, 1): np.ones((4, 5), bool)}},
    "a list": {"activation": ["logistic", "logistic"]},
    "all": {"connections": ((2, 3), (1, 2), (0, 1)), "masks": {}, "activation": ("logistic", "logistic")},
}


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("name", SAME)
def test_a_net_of_scikit_learn_is_trained_alike_however_it_is_described(name, solver):
    plain, other = (fitted("classifier", **{"activation": "logistic", "solver": solver, **more}) for more in ({}, SAME[name]))
    for one, two in zip((*plain.coefs_, *plain.intercepts_), (*other.coefs_, *other.intercepts_), strict=True):
        np.testing.assert_array_equal(one, two)
    assert plain.loss_ == other.loss_
    assert plain.connections_ == other.connections_ == ((0, 1), (1, 2), (2, 3))
    np.testing.assert_array_equal(plain.predict_proba(X_LABELS), other.predict_proba(X_LABELS))
    np.testing.assert_array_equal(
        plain.predict_proba(sparse.csr_matrix(X_LABELS)).round(9), other.predict_proba(sparse.csr_matrix(X_LABELS)).round(9)
    )


def test_a_loss_does_not_change_the_initial_weights():
    one, other = (regressor(loss=loss, max_iter=1, learning_rate_init=1e-300).fit(X, Y) for loss in ("squared_error", "huber"))
    np.testing.assert_array_equal(one.coefs_[1], other.coefs_[1])
    theirs = original.MLPRegressor(**parameters(max_iter=1, learning_rate_init=1e-300)).fit(X, Y)
    np.testing.assert_array_equal(one.coefs_[1], theirs.coefs_[1])


@pytest.mark.parametrize("init", [None, "orthogonal"])
def test_other_nets_begin_with_the_weights_of_initializers(init):
    e = regressor(**{**ALL_NEW, "init": init}, max_iter=1, learning_rate_init=1e-300).fit(X, Y)
    net = bp.MLP((4, *HIDDEN, 1), ["gelu", SOFTPLUS], dtype="float64", connections="all")
    initializers.draw(net._network, init, np.random.RandomState(0))
    for found, expected in zip(e.coefs_, net.weights, strict=True):
        np.testing.assert_array_equal(found, expected)
    assert max(np.abs(b).max() for b in e.intercepts_) < 1e-299  # 0 but for the steps


# --------------------------------------------------------------------------------------------------------- absent weights


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("solver", SOLVERS)
def test_absent_weights_stay_0(solver, dtype):
    e = classifier(connections="all", masks=MASKS, solver=solver, warm_start=True)
    data = X_LABELS.astype(dtype), LABELS

    def check():
        for pair, w in zip(PAIRS, e.coefs_, strict=True):
            absent = ~MASKS.get(pair, np.ones(w.shape, bool))
            assert (w[absent] == 0).all()
            assert (w[~absent] != 0).all()

    for _ in range(2):
        e.fit(*data)
        check()
    e.coefs_ = [w + 1 for w in e.coefs_]
    e.fit(*data)
    check()
    if solver != "lbfgs":
        for _ in range(2):
            e.partial_fit(*data)
            check()
        e.coefs_[0][:] = 1
        e.partial_fit(*data)
        check()
    assert [w.shape for w in e.coefs_] == [((4, *HIDDEN)[source], (*HIDDEN, 3)[target - 1]) for source, target in PAIRS]
    assert [len(b) for b in e.intercepts_] == [5, 4, 3]
    assert (e.connections_, e.n_layers_, e.n_features_in_, e.out_activation_) == (PAIRS, 4, 4, "softmax")


@pytest.mark.parametrize("solver", SOLVERS)
def test_all_ways_of_training(solver):
    """Early stopping, sample weights, sparse X and threads."""
    new = {**ALL_NEW, "masks": MASKS_1, "solver": solver}
    dense, of_sparse = regressor(**new).fit(X, Y), regressor(**new).fit(sparse.csr_matrix(X), Y)
    np.testing.assert_allclose(of_sparse.predict(X), dense.predict(X), rtol=1e-9)
    np.testing.assert_allclose(dense.predict(sparse.csc_matrix(X)), dense.predict(X), rtol=100 * EPS, atol=100 * EPS)
    np.testing.assert_array_equal(dense.predict(sparse.csr_matrix(X[:1])), dense.predict(sparse.csr_matrix(X))[:1])
    twice = regressor(**new, shuffle=False, batch_size=60).fit(X, Y, sample_weight=np.repeat([1.0, 2.0], 30))
    doubled = regressor(**new, shuffle=False, batch_size=90).fit(np.vstack([X, X[30:]]), np.append(Y, Y[30:]))
    assert np.abs(twice.predict(X) - dense.predict(X)).max() > 1e-3
    np.testing.assert_allclose(twice.predict(X), doubled.predict(X), rtol=1e-7)
    if solver != "lbfgs":
        stopped = regressor(**{**new, "max_iter": 60}, early_stopping=True, n_iter_no_change=3).fit(X, Y)
        assert stopped.n_iter_ > 2
        assert max(stopped.validation_scores_) == stopped.best_validation_score_
        assert (stopped.coefs_[0][~MASK] == 0).all()


@pytest.mark.parametrize("solver", SOLVERS)
def test_the_same_bits_on_one_thread_and_on_two(solver, monkeypatch):
    monkeypatch.setattr(partition, "WORTH_A_THREAD", 1)
    found = []
    for n_threads in {1, numba.config.NUMBA_NUM_THREADS}:
        numba.set_num_threads(n_threads)
        found.append(classifier(**ALL_NEW, masks=MASKS, solver=solver).fit(X_LABELS, LABELS).predict_proba(X_LABELS))
        numba.set_num_threads(numba.config.NUMBA_NUM_THREADS)
    assert np.ptp(found[0]) > 0.01
    for other in found[1:]:
        np.testing.assert_array_equal(found[0], other)
