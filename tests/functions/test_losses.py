"""The losses E^n and their slopes, at the edges too: saturated outputs and NaN."""

import numpy as np
import pytest

from bpkernel import reference
from bpkernel.codegen.jit import kernel
from bpkernel.codegen.precision import Precision
from bpkernel.functions import losses

DTYPES = ["float32", "float64"]


@kernel(entry=True)
def run_error(pointer, a, y, t):
    return losses.error(pointer, (a, y, t))


@kernel(entry=True)
def run_slope(pointer, y, t, d):
    losses.slope(pointer, (y, t, d))


def error(name, a, y, t):
    return run_error(losses.pointer_to_error(losses.BY_NAME[name].error, Precision.of(y.dtype)), a, y, t)


def error_canonical(name, a, y, t):
    return run_error(losses.pointer_to_error(losses.BY_NAME[name].error_canonical, Precision.of(y.dtype)), a, y, t)


def slope(name, y, t):
    d = np.zeros_like(y)
    run_slope(losses.pointer_to_slope(losses.BY_NAME[name].slope, Precision.of(y.dtype)), y, t, d)
    return d


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", losses.BY_NAME)
def test_nan_comes_through_every_loss(name, dtype):
    for wrong in range(2):
        y, t = np.full(5, 0.5, dtype), np.full(5, 0.25, dtype)
        (y, t)[wrong][3] = np.nan
        assert np.isnan(error(name, y, y, t)) or (name, wrong) == ("poisson", 1)
        assert np.isnan(error_canonical(name, y, y, t))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", losses.BY_NAME)
def test_errors_and_deltas_of_saturated_outputs_are_finite(name, dtype, g, vjp):
    """A net that is wrong with certainty, y = 0 where t = 1, still has a finite E and δ with every activation."""
    for output in losses.outputs_for(name):
        a, t = np.array([-80.0, 40.0, 30.0], dtype), np.array([1, 0, 0], dtype)
        y = g(output, a)
        assert np.isfinite(error(name, a, y, t))
        assert np.isfinite(vjp(output, a, y, slope(name, y, t))).all(), output
        if losses.BY_NAME[name].canonical == output:
            assert error_canonical(name, a, y, t) > 1


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
    for output in losses.outputs_for(name):
        for n in (1, 4, 17):
            a = rng.standard_normal(n).astype(dtype) / 2
            t = rng.uniform(0.1, 0.9, n).astype(dtype)
            t /= t.sum()
            y = g(output, a)
            if (output, n) == ("softmax", 1):
                continue  # log(1 - 1) is of the smallest number of each dtype
            _, e_prime = reference.LOSSES[name]
            expected = [e_prime(*pair) for pair in zip(y.tolist(), t.tolist(), strict=True)]
            terms = 2 * (1 + t / np.maximum(abs(y), 0.01) + (1 - t) / np.maximum(abs(1 - y), 0.01))
            assert np.any(expected)
            np.testing.assert_array_less(abs(slope(name, y, t) - expected), 8 * np.finfo(dtype).eps * terms)
            expected = reference.error(name, y.tolist(), t.tolist())
            bound = (
                (n + 8) * np.finfo(dtype).eps * ((1 + abs(a) + abs(y) + t + abs(np.log(np.maximum(abs(y), 0.01)))) ** 2).sum()
            )
            assert expected != 0
            assert abs(error(name, a, y, t) - expected) < bound
            if losses.BY_NAME[name].canonical == output:
                assert abs(error_canonical(name, a, y, t) - expected) < bound
