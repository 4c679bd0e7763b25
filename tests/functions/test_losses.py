"""The losses E^n and their slopes, at the edges too: saturated outputs and NaN."""

import numpy as np
import pytest

from bpkernel import reference
from bpkernel.codegen.jit import kernel
from bpkernel.codegen.precision import Precision
from bpkernel.codegen.views import block
from bpkernel.error_bounds import ERROR_TERMS, RANDOM_TARGETS, SLOPE_TERMS
from bpkernel.functions import losses

DTYPES = [np.float32, np.float64]


@kernel(entry=True)
def run_errors(pointer, a, y, t, rows, e, fault):
    a_n, y_n, t_n = block(a, 0, 1, a.size), block(y, 0, 1, y.size), block(t, 0, 1, t.size)
    losses.errors(pointer, (y.size, a_n, y_n, t_n, rows, e), fault)


@kernel(entry=True)
def run_slope(pointer, y, t, d, fault):
    losses.slope(pointer, (y, t, d), fault)


def _error(function, a, y, t):
    e, pointer = np.zeros(1), losses.pointer_to_error(function, Precision.of(y.dtype))
    run_errors(pointer, a, y, t, np.zeros(1, np.int64), e, np.zeros(1, np.int64))
    return e[0]


def error(name, a, y, t):
    return _error(losses.BY_NAME[name].sample_error, a, y, t)


def error_canonical(name, a, y, t):
    return _error(losses.BY_NAME[name].sample_error_canonical, a, y, t)


def _slope(function, y, t):
    d = np.zeros_like(y)
    run_slope(losses.pointer_to_slope(function, Precision.of(y.dtype)), y, t, d, np.zeros(1, np.int64))
    return d


def slope(name, y, t):
    return _slope(losses.BY_NAME[name].sample_slope, y, t)


def delta(name, output, a, y, t, vjp):
    """δ as the kernels compute it, but for a canonical pair."""
    deltas = losses.BY_NAME[name].deltas_with.get(output)
    return vjp(output, a, y, slope(name, y, t)) if deltas is None else _slope(deltas, y, t)


def outputs_and_targets(name, dtype, n, rng, g, output):
    """a, y and t of so many outputs, or one more, and targets that the loss is defined for."""
    loss = losses.BY_NAME[name]
    n += n % 2 if name == "gaussian_nll" else 0
    a = (rng.standard_normal(n) / 2).astype(dtype)
    t = RANDOM_TARGETS[loss.targets](rng, (1, loss.n_targets(n)))[0].astype(dtype)
    return a, g(output, a), t


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", losses.BY_NAME)
def test_nan_comes_through_every_loss(name, dtype):
    for wrong in range(2):
        y, t = np.full(6, 0.5, dtype), np.full(losses.BY_NAME[name].n_targets(6), 0.25, dtype)
        (y, t)[wrong][2] = np.nan
        assert np.isnan(error(name, y, y, t)) or (name, wrong) == ("poisson", 1)
        if losses.BY_NAME[name].canonical is not None:
            assert np.isnan(error_canonical(name, y, y, t))
        else:
            assert np.isnan(slope(name, y, t)[2]) or name == "hinge"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", losses.BY_NAME)
def test_errors_and_deltas_of_saturated_outputs_are_finite(name, dtype, g, vjp):
    """A net that is wrong with certainty, y = 0 where t = 1, still has a finite E and δ with every activation."""
    for output in losses.outputs_for(losses.BY_NAME[name]):
        a, t = np.array([-80.0, 40.0, 30.0, -80.0], dtype), np.array([1, 0, 0, 0], dtype)
        t = {"gamma": t + dtype(0.5), "hinge": 2 * t - 1}.get(name, t)[: losses.BY_NAME[name].n_targets(4)]
        y = g(output, a)
        assert np.isfinite(error(name, a, y, t))
        if output != "softplus" or dtype == np.float64 or name not in ("gamma", "tweedie"):  # whose slope is out of range
            assert np.isfinite(delta(name, output, a, y, t, vjp)).all(), output
        if losses.BY_NAME[name].canonical == output:
            assert error_canonical(name, a, y, t) > 1


@pytest.mark.parametrize(
    ("name", "output", "a", "t", "expected"),
    [
        ("poisson", "softplus", -110, 5, -5),
        ("gamma", "softplus", -50, 5, -5 * np.exp(50)),
        ("gamma", "exp", -50, 5, -5 * np.exp(50)),
        ("tweedie", "softplus", -40, 5, -5 * np.exp(20)),
        ("tweedie", "exp", -40, 5, -5 * np.exp(20)),
    ],
)
@pytest.mark.parametrize("dtype", DTYPES)
def test_deltas_are_right_where_the_slope_overflows(name, output, a, t, expected, dtype, g, vjp):
    a, t = np.array([a], dtype), np.array([t], dtype)
    y = g(output, a)
    assert delta(name, output, a, y, t, vjp)[0] == pytest.approx(expected, rel=100 * float(np.finfo(dtype).eps))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["poisson", "gamma", "tweedie"])
def test_deltas_in_another_form_are_the_slope_times_the_derivative(name, dtype, g, vjp):
    a, t = np.array([-2, -0.3, 0.5, 3], dtype), np.array([0.3, 1, 2, 5], dtype)
    for output in losses.BY_NAME[name].deltas_with:
        y = g(output, a)
        expected = vjp(output, a, y, slope(name, y, t))
        assert expected.any()
        np.testing.assert_allclose(delta(name, output, a, y, t, vjp), expected, rtol=50 * np.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", DTYPES)
def test_canonical_errors_keep_their_precision(dtype, g):
    """-log softmax of a_1 = -200 beside 0 is 200, though softmax itself is 0 in float32; log(1 + e^-200) is not 0."""
    one, a = np.array([1, 0], dtype), np.array([-200, 0], dtype)
    assert error_canonical("cross_entropy", a, g("softmax", a), one) == 200
    a = np.array([-200, -20], dtype)
    assert error_canonical("binary_cross_entropy", a, g("logistic", a), one) == pytest.approx(200 + np.exp(-20), rel=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", losses.BY_NAME)
def test_errors_and_slopes_are_those_of_the_reference(name, dtype, g):
    rng = np.random.default_rng(0)
    for output in losses.outputs_for(losses.BY_NAME[name]):
        for n in (1, 4, 17):
            a, y, t = outputs_and_targets(name, dtype, n, rng, g, output)
            if (output, len(y)) == ("softmax", 1) or output == "hard_sigmoid":
                continue  # log(1 - 1) is of the smallest number of each dtype
            e, slopes = reference.LOSSES[name]
            y_, t_, eps = y.astype(float)[None], t.astype(float)[None], np.finfo(dtype).eps
            expected = slopes(y.tolist(), t.tolist())
            terms = np.ravel(SLOPE_TERMS[name](y_, t_))
            assert np.any(expected) or name in ("hinge", "cross_entropy", "focal")
            np.testing.assert_array_less(abs(slope(name, y, t) - expected), 8 * eps * terms + 1e-300)
            expected = e(y.tolist(), t.tolist())
            more = ERROR_TERMS[name](y_, t_).sum() if name in ERROR_TERMS else 0
            size = 1 + abs(a) + abs(y) + abs(np.log(np.maximum(abs(y), 0.01))) + (abs(t) if len(t) == len(y) else abs(t).sum())
            bound = (len(y) + 8) * eps * ((size**2).sum() + more)
            assert expected != 0 or name in ("hinge", "cross_entropy", "focal")
            assert abs(error(name, a, y, t) - expected) < bound
            if losses.BY_NAME[name].canonical == output:
                assert abs(error_canonical(name, a, y, t) - expected) < bound
