"""The small tables and the four sums, at the edges: saturation, NaN, guard zones."""

import numpy as np
import pytest

from bpkernel import activations, losses, sums
from bpkernel.compiler import kernel


@kernel
def g(code, a, z):
    activations.activate(code, (a, z))


@kernel
def back(code, a, z, d):
    activations.pull_back(code, (a, z, d))


@kernel
def error(code, a, y, t):
    return losses.error(code, (a, y, t))


@kernel
def error_canonical(code, a, y, t):
    return losses.error_canonical(code, (a, y, t))


@kernel
def slope(code, y, t, d):
    losses.slope(code, (y, t, d))


DTYPES = ["float32", "float64"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", activations.CODES)
def test_nan_comes_through_every_activation(name, dtype):
    for n in (1, 3, 16, 33):
        a = np.full(n, 0.5, dtype)
        a[n // 2] = np.nan
        z = np.zeros(n, dtype)
        g(activations.CODES[name], a, z)
        assert np.isnan(z[n // 2])
        if name != "softmax":
            assert np.isfinite(np.delete(z, n // 2)).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", losses.LOSS_CODES)
def test_nan_comes_through_every_loss(name, dtype):
    for wrong in range(2):
        y, t = np.full(5, 0.5, dtype), np.full(5, 0.25, dtype)
        (y, t)[wrong][3] = np.nan
        assert np.isnan(error(losses.LOSS_CODES[name], y, y, t)) or (name, wrong) == ("poisson", 1)
        assert np.isnan(error_canonical(losses.LOSS_CODES[name], y, y, t))


@pytest.mark.parametrize("dtype", DTYPES)
def test_saturated_activations_are_exact(dtype):
    a = np.array([-1e4, -100, 100, 1e4], dtype)
    z = np.zeros_like(a)
    g(activations.CODES["logistic"], a, z)
    np.testing.assert_allclose(z, [0, 0, 1, 1], atol=1e-40)
    g(activations.CODES["tanh"], a, z)
    assert z.tolist() == [-1, -1, 1, 1]
    g(activations.CODES["softmax"], a, z)
    assert z.tolist() == [0, 0, 0, 1]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", losses.LOSS_CODES)
def test_errors_and_deltas_of_saturated_outputs_are_finite(name, dtype):
    """A net that is wrong with certainty, y = 0 where t = 1, still has a finite E and δ with every activation."""
    loss = losses.LOSS_CODES[name]
    for output in losses.outputs_for(name):
        a = np.array([-80.0, 40.0, 30.0], dtype)
        y, d, t = np.zeros_like(a), np.zeros_like(a), np.array([1, 0, 0], dtype)
        g(activations.CODES[output], a, y)
        assert np.isfinite(error(loss, a, y, t))
        slope(loss, y, t, d)
        back(activations.CODES[output], a, y, d)
        assert np.isfinite(d).all(), output
        if losses.LOSSES[loss].canonical == output:
            assert error_canonical(loss, a, y, t) > 1


@pytest.mark.parametrize("dtype", DTYPES)
def test_canonical_errors_keep_their_precision(dtype):
    """-log softmax of a_1 = -200 beside 0 is 200, though softmax itself is 0 in float32; log(1 + e^-200) is not 0."""
    one = np.array([1, 0], dtype)
    codes = losses.LOSS_CODES
    assert error_canonical(codes["cross_entropy"], np.array([-200, 0], dtype), one, one) == 200
    assert error_canonical(codes["binary_cross_entropy"], np.array([-200, -20], dtype), one, one) == pytest.approx(
        200 + np.exp(-20), rel=1e-6
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_in", [1, 2, 15, 16, 17, 31])
@pytest.mark.parametrize("n_out", [1, 7, 8, 9, 16, 17])
def test_the_sums_write_what_they_own_and_nothing_else(n_in, n_out, dtype):
    rng = np.random.default_rng(0)
    n, row = 5, 40
    w = rng.standard_normal((1 + n_in, row)).astype(dtype)
    X = rng.standard_normal((9, n_in)).astype(dtype)
    rows = np.array([8, 0, 3, 3, 1])
    guarded = np.full((n + 2, row), 7, dtype)
    a = guarded[1:-1]
    sums.pre_activations(w, X, rows, n_out, a)
    tolerance = {"rtol": 0, "atol": 40 * (n_in + 2) * np.finfo(dtype).eps}
    np.testing.assert_allclose(a[:, :n_out], (X[rows] @ w[1:] + w[0])[:, :n_out], **tolerance)
    assert (a[:, n_out:] == 7).all()

    z, delta = np.tanh(a), rng.standard_normal((n, row)).astype(dtype)
    w_next = rng.standard_normal((1 + n_out, row)).astype(dtype)
    guarded_delta = np.full((n + 2, row), 7, dtype)
    found = guarded_delta[1:-1]
    sums.hidden_deltas(activations.CODES["tanh"], w_next, delta, n_in, a, z, found)
    expected = (delta[:, :n_in] @ w_next[1:, :n_in].T) * (1 - z[:, :n_out] ** 2)
    np.testing.assert_allclose(found[:, :n_out], expected, **tolerance)
    assert (found[:, n_out:] == 7).all()

    dw = np.full(n_out + 2, 7, dtype)
    for i in range(1 + n_in):
        sums.gradient(X, rows, delta, i, dw[1:-1])
        z_i = X[rows, i - 1] if i else np.ones(n)
        np.testing.assert_allclose(dw[1:-1], z_i @ delta[:, :n_out], **tolerance)
    for whole in (guarded, guarded_delta):
        assert (whole[[0, -1]] == 7).all()
    assert dw[0] == dw[-1] == 7
