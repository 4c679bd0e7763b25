"""Levenberg-Marquardt and L-BFGS as optimizers of fit."""

import copy
import tracemalloc

import numpy as np
import pytest

import bpkernel as bp


@pytest.fixture
def problem():
    """Samples of a smooth function of two variables, with noise."""
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, (150, 2))
    return X, np.sin(3 * X[:, :1]) * X[:, 1:] + 0.05 * rng.standard_normal((150, 1)), rng.uniform(0.2, 2, 150)


def dense_levenberg_marquardt(w1, b1, w2, b2, X, T, s, alpha, n_steps):
    """The errors before each step of a net with one layer of tanh, in NumPy, with the whole Jacobian."""
    shapes = [w1.shape, w2.shape, b1.shape, b2.shape]
    x = np.concatenate([block.ravel() for block in (w1, w2, b1, b2)])
    decay = np.concatenate([np.full(w1.size + w2.size, alpha), np.zeros(b1.size + b2.size)])

    def unpack(x):
        blocks, start = [], 0
        for shape in shapes:
            n = int(np.prod(shape))
            blocks.append(x[start : start + n].reshape(shape))
            start += n
        return blocks

    def residuals(x):
        w1, w2, b1, b2 = unpack(x)
        return np.tanh(X @ w1 + b1) @ w2 + b2 - T

    def error(x):
        return 0.5 * float((s[:, None] * residuals(x) ** 2).sum()) + 0.5 * float(decay @ x**2)

    def jacobian(x):
        w1, w2, b1, _ = unpack(x)
        z = np.tanh(X @ w1 + b1)
        d = (1 - z**2)[:, :, None] * w2  # (n, hidden, outputs)
        n, n_outputs, rows = len(X), w2.shape[1], []
        for k in range(n_outputs):
            of_w2, of_b2 = np.zeros((n, *w2.shape)), np.zeros((n, n_outputs))
            of_w2[:, :, k], of_b2[:, k] = z, 1
            rows.append(np.hstack([(X[:, :, None] * d[:, None, :, k]).reshape(n, -1), of_w2.reshape(n, -1), d[:, :, k], of_b2]))
        return np.stack(rows, axis=1)

    damping, data_errors = None, []
    for _ in range(n_steps):
        J, r = jacobian(x), residuals(x)
        data_errors.append(0.5 * float((s[:, None] * r**2).sum()) / s.sum())
        matrix = np.einsum("nkp,n,nkq->pq", J, s, J) + np.diag(decay)
        gradient = np.einsum("nkp,n,nk->p", J, s, r) + decay * x
        damping = 0.03 * np.diag(matrix).max() if damping is None else damping
        while True:
            trial = x - np.linalg.solve(matrix + damping * np.eye(len(x)), gradient)
            if error(trial) < error(x):
                break
            damping *= 3
        x, damping = trial, damping * 0.3
    return np.array(data_errors), x


@pytest.mark.parametrize("n_outputs", [1, 2])
@pytest.mark.parametrize("alpha", [0.0, 0.01])
def test_the_trajectory_is_that_of_a_dense_implementation(problem, n_outputs, alpha):
    X, T, s = problem
    T = np.hstack([T, X[:, :1] ** 2])[:, :n_outputs]
    net = bp.MLP((2, 6, n_outputs), dtype="float64", random_state=0)
    blocks = [block.copy() for pair in zip(net.weights, net.biases, strict=True) for block in pair]
    history = net.fit(X, T, epochs=15, optimizer=bp.LevenbergMarquardt(), sample_weight=s, alpha=alpha)
    expected, x = dense_levenberg_marquardt(*blocks, X, T, s, alpha, 15)
    assert len(history.loss) == 15
    assert history.loss[-1] < 0.2 * history.loss[0]
    np.testing.assert_allclose(history.loss, expected, rtol=1e-8)
    np.testing.assert_allclose(net.parameters, x, rtol=0, atol=1e-8 * abs(x).max())


@pytest.mark.parametrize("optimizer", [bp.LevenbergMarquardt, bp.LBFGS])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_error_never_rises(problem, optimizer, dtype):
    X, T, s = problem
    net = bp.MLP((2, 8, 1), dtype=dtype, random_state=0)
    history = net.fit(X, T, epochs=60, optimizer=optimizer(), sample_weight=s)
    assert (np.diff(history.loss) <= 0).all()
    assert history.loss[-1] < 0.1 * history.loss[0]
    assert net.loss(X, T, s) <= history.loss[-1] * (1 + 1e-4)


CASES = {
    "cross_entropy": ("softmax", 3),
    "binary_cross_entropy": ("logistic", 2),
    "poisson": ("exp", 1),
    "huber": ("identity", 2),
    "log_cosh": ("tanh", 1),
}


@pytest.mark.parametrize("optimizer", [bp.LevenbergMarquardt, bp.LBFGS])
@pytest.mark.parametrize("loss", CASES)
def test_other_losses_graphs_and_masks(loss, optimizer):
    rng = np.random.default_rng(0)
    output, n_outputs = CASES[loss]
    X = rng.standard_normal((120, 4))
    T = (X[:, :n_outputs] > 0).astype(float)
    if loss == "cross_entropy":
        T = (X[:, 0] > 0).astype(int) + (X[:, 1] > 0)
    masks = {(0, 1): rng.random((4, 6)) < 0.5}
    net = bp.MLP((4, 6, 5, n_outputs), "silu", output, loss, "float64", 0, connections="all", masks=masks)
    before = net.loss(X, T)
    history = net.fit(X, T, epochs=30, optimizer=optimizer(), alpha=0.1)
    assert net.loss(X, T) < 0.8 * before
    assert not net.weights[0][~masks[0, 1]].any()
    assert np.isfinite(history.loss).all()


def test_stopping_at_a_minimum(problem):
    X, T, _ = problem
    best = np.linalg.lstsq(np.hstack([X, np.ones((len(X), 1))]), T, rcond=None)[0]
    for optimizer in (bp.LevenbergMarquardt(), bp.LBFGS(min_gradient=1e-7)):
        net = bp.MLP((2, 1), dtype="float64", random_state=0)  # a linear model
        history = net.fit(X, T, epochs=200, optimizer=optimizer)
        assert history.stop_reason == "gradient"
        assert len(history.loss) < 60
        np.testing.assert_allclose(net.parameters, best.ravel(), atol=1e-6)
    exact = bp.MLP((2, 1), dtype="float64", random_state=0)
    history = exact.fit(X, T, epochs=50, optimizer=bp.LevenbergMarquardt(min_gradient=0.0, max_damping=1e3))
    assert history.stop_reason == "damping"


def test_the_damping_goes_on_and_is_reset(problem):
    X, T, _ = problem
    whole = bp.MLP((2, 5, 1), dtype="float64", random_state=0)
    parts, optimizer = copy.deepcopy(whole), bp.LevenbergMarquardt()
    expected = whole.fit(X, T, epochs=8, optimizer=bp.LevenbergMarquardt()).loss
    found = [*parts.fit(X, T, epochs=3, optimizer=optimizer).loss, *parts.fit(X, T, epochs=5, optimizer=optimizer).loss]
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    optimizer.reset()
    assert optimizer.snapshot() is None


def test_callbacks_validation_and_patience(problem):
    X, T, _ = problem
    net, seen = bp.MLP((2, 30, 1), dtype="float64", random_state=0), []
    own = {"validation_data": (X[60:], T[60:]), "patience": 5, "callback": lambda history: seen.append(history.loss[-1])}
    history = net.fit(X[:60], T[:60], epochs=100, optimizer=bp.LevenbergMarquardt(), **own)
    assert seen == history.loss
    assert len(history.validation_loss) == len(history.loss) < 100
    assert history.best_epoch == int(np.argmin(history.validation_loss))
    assert net.loss(X[60:], T[60:]) == pytest.approx(min(history.validation_loss), rel=1e-12)
    stopped = net.fit(X, T, epochs=50, optimizer=bp.LBFGS(), callback=lambda history: len(history.loss) == 3)
    assert len(stopped.loss) == 3


def test_a_callback_may_prune_and_write_weights(problem):
    X, T, _ = problem
    net = bp.MLP((2, 8, 1), dtype="float64", random_state=0)

    def callback(history):
        if len(history.loss) == 3:
            net.prune(0.5)
        if len(history.loss) == 6:
            net.biases[1][:] = 0.5

    history = net.fit(X, T, epochs=12, optimizer=bp.LevenbergMarquardt(), callback=callback)
    assert (net.weights[0] == 0).sum() + (net.weights[1] == 0).sum() == 12
    assert history.loss[3] > history.loss[2]  # pruned
    assert history.loss[-1] < history.loss[6]


def test_an_interrupt_leaves_the_last_step(problem):
    X, T, _ = problem
    net, other = (bp.MLP((2, 8, 1), dtype="float64", random_state=0) for _ in range(2))

    def interrupt(history):
        if len(history.loss) == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        net.fit(X, T, epochs=20, optimizer=bp.LevenbergMarquardt(), callback=interrupt)
    other.fit(X, T, epochs=4, optimizer=bp.LevenbergMarquardt())
    np.testing.assert_array_equal(net.parameters, other.parameters)


def test_failures_leave_net_and_optimizer_as_they_were(problem):
    X, T, _ = problem

    def g(a):
        if a > 40:
            raise ValueError("too large")
        return a

    own = bp.Activation(g, lambda a, z: 1.0, "bounded", check=False)
    net = bp.MLP((2, 3, 1), own, dtype="float64", random_state=0)
    net.weights[0][:] = 30
    before, optimizer = net.parameters, bp.LevenbergMarquardt()
    with pytest.raises(ValueError, match="too large"):
        net.fit(X * 10, T, epochs=5, optimizer=optimizer)
    np.testing.assert_array_equal(net.parameters, before)
    assert optimizer.snapshot() is None


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: bp.LevenbergMarquardt(damping=0), "damping must be a number greater than 0"),
        (lambda: bp.LevenbergMarquardt(increase=1), "increase must be a number greater than 1"),
        (lambda: bp.LevenbergMarquardt(decrease=1), "decrease must be a number between 0 and 1"),
        (lambda: bp.LBFGS(history_size=0), "history_size must be a number of at least 1"),
        (lambda: bp.LBFGS(history_size=2.5), "history_size must be an integer of at least 1"),
    ],
)
def test_wrong_settings_are_refused(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()


def test_two_thousand_weights_and_ten_thousand_samples_take_little_memory():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((10_000, 20))
    net = bp.MLP((20, 90, 1), dtype="float64", random_state=0)
    assert len(net.parameters) == 1981
    tracemalloc.start()
    history = net.fit(X, np.sin(X[:, 0]), epochs=2, optimizer=bp.LevenbergMarquardt())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert history.loss[1] < history.loss[0]
    assert peak < 200e6


def test_own_losses_need_a_curvature_for_levenberg_marquardt(problem):
    X, T, _ = problem
    own = {"error": lambda y, t: (y - t) ** 2, "slope": lambda y, t: 2 * (y - t), "name": "own_square"}
    net = bp.MLP((2, 4, 1), loss=bp.Loss(**own), dtype="float64", random_state=0)
    with pytest.raises(ValueError, match=r"that of loss 'own_square'.*curvature"):
        net.fit(X, T, epochs=3, optimizer=bp.LevenbergMarquardt())
    assert len(net.fit(X, T, epochs=3, optimizer=bp.LBFGS()).loss) == 3
    with_curvature = bp.MLP((2, 4, 1), loss=bp.Loss(**own, curvature=lambda y, t: 2.0), dtype="float64", random_state=0)
    usual = bp.MLP((2, 4, 1), dtype="float64", random_state=0)
    found, expected = (n.fit(X, T, epochs=5, optimizer=bp.LevenbergMarquardt()).loss for n in (with_curvature, usual))
    np.testing.assert_allclose(found, 2 * np.array(expected), rtol=1e-9)


@pytest.mark.parametrize("loss", ["absolute_error", "quantile"])
def test_losses_without_curvature_are_refused(problem, loss):
    X, T, _ = problem
    net = bp.MLP((2, 4, 1), loss=loss, dtype="float64", random_state=0)
    before = net.parameters
    with pytest.raises(ValueError, match="LevenbergMarquardt needs a loss whose second derivative"):
        net.fit(X, T, epochs=3, optimizer=bp.LevenbergMarquardt())
    np.testing.assert_array_equal(net.parameters, before)
    with pytest.raises(ValueError, match=f"the loss '{loss}' has no positive second derivative"):
        net.laplace(X, T)
    assert net.fit(X, T, epochs=10, optimizer=bp.LBFGS()).loss[-1] < net.fit(X, T, epochs=1).loss[0] * 1.5
