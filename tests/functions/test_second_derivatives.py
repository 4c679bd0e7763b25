"""g'' of the activations and E'' of the losses: beside the reference, and beside differences of the first derivatives."""

import math

import numpy as np
import pytest

import bpkernel as bp
from bpkernel import reference, reference_second_order
from bpkernel.codegen.jit import kernel
from bpkernel.codegen.pointers import raise_fault
from bpkernel.codegen.precision import Precision
from bpkernel.error_bounds import RANDOM_TARGETS
from bpkernel.functions import activations, losses

DTYPES = ["float32", "float64"]
OUTPUT = {"real": "identity", "positive": "exp", "probability": "softmax", "mean_variance": "mean_variance"}


@kernel(entry=True)
def run_second(pointer, a, z, r, d, s, fault):
    activations.second(pointer, (a, z, r, d, s, z.size, 0, z.size), fault)


@kernel(entry=True)
def run_curvature(pointer, y, t, r, d, fault):
    losses.curvature(pointer, (y, t, r, d), fault)


@kernel(entry=True)
def run_slope(pointer, y, t, d, fault):
    losses.slope(pointer, (y, t, d), fault)


def second(activation, a, z, r, d):
    """g''(a_j) r_j d_j of the kernels; zeros where there is no function."""
    s, fault = np.zeros_like(d), np.zeros(1, np.int64)
    if activation.second is not None:
        run_second(activations.pointer_to_second(activation.second, Precision.of(a.dtype)), a, z, r, d, s, fault)
        raise_fault(fault)
    return s


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", activations.BY_NAME)
def test_second_derivatives_are_those_of_the_reference(name, dtype, g):
    rng = np.random.default_rng(0)
    eps = np.finfo(dtype).eps
    for n in (1, 2, 7, 16, 33):
        a, r, d = (2 * rng.standard_normal((3, n))).astype(dtype)
        z = g(name, a)
        found = second(activations.BY_NAME[name], a, z, r, d)
        expected = np.array(reference_second_order.change_of_slope(name, *(v.tolist() for v in (a, z, d, r))))
        terms = (1 + abs(a) + abs(z)) ** 2 * (abs(r * d) + (abs(r).sum() * abs(d).sum() if name == "softmax" else 0))
        np.testing.assert_array_less(abs(found - expected), (20 + n) * eps * terms)


@pytest.mark.parametrize("name", activations.BY_NAME)
def test_second_derivatives_agree_with_differences_of_the_first(name, g, vjp):
    rng = np.random.default_rng(1)
    a, r, d = rng.standard_normal((3, 8))
    h = 1e-6
    above, below = (vjp(name, a + step * r, g(name, a + step * r), d) for step in (h, -h))
    found = second(activations.BY_NAME[name], a, g(name, a), r, d)
    np.testing.assert_allclose(found, (above - below) / (2 * h), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", losses.BY_NAME)
def test_curvatures_are_those_of_the_reference(name, dtype):
    rng = np.random.default_rng(0)
    loss = losses.BY_NAME[name]
    for n in (2, 4, 16):
        y = np.array(reference.activate(OUTPUT[loss.accepts[0]], rng.standard_normal(n).tolist())).astype(dtype)
        y = y if loss.accepts != ("probability",) else (0.1 + 0.8 * y).astype(dtype)
        t = RANDOM_TARGETS[loss.targets](rng, (1, loss.n_targets(n)))[0].astype(dtype)
        r, d, fault = rng.standard_normal(n).astype(dtype), np.empty(n, dtype), np.zeros(1, np.int64)
        run_curvature(losses.pointer_to_curvature(loss.sample_curvature, Precision.of(y.dtype)), y, t, r, d, fault)
        raise_fault(fault)
        expected = np.array(reference_second_order.CURVATURES[name](y.tolist(), t.tolist(), r.tolist()))
        size = max(abs(expected).max(), 1)
        np.testing.assert_allclose(d, expected, rtol=0, atol=200 * np.finfo(dtype).eps * size)


@pytest.mark.parametrize("name", losses.BY_NAME)
def test_curvatures_agree_with_differences_of_the_slopes(name):
    rng = np.random.default_rng(2)
    loss, n, h = losses.BY_NAME[name], 4, 1e-6
    y = np.array(reference.activate(OUTPUT[loss.accepts[0]], rng.standard_normal(n).tolist()))
    y = y if loss.accepts != ("probability",) else 0.1 + 0.8 * y
    t = RANDOM_TARGETS[loss.targets](rng, (1, loss.n_targets(n)))[0]
    r, d, fault = rng.standard_normal(n), np.empty(n), np.zeros(1, np.int64)
    double, slopes = Precision.of(np.float64), []
    run_curvature(losses.pointer_to_curvature(loss.sample_curvature, double), y, t, r, d, fault)
    for step in (h, -h):
        slopes.append(np.empty(n))
        run_slope(losses.pointer_to_slope(loss.sample_slope, double), y + step * r, t, slopes[-1], fault)
    raise_fault(fault)
    np.testing.assert_allclose(d, (slopes[0] - slopes[1]) / (2 * h), rtol=1e-5, atol=1e-7)


def test_own_second_derivatives_are_checked():
    own = {"g": lambda a: math.sin(a), "g_prime": lambda a, z: math.cos(a), "name": "sine_of_test"}
    with pytest.raises(ValueError, match="g_second is not the derivative of g_prime"):
        bp.Activation(**own, g_second=lambda a, z: z)
    assert bp.Activation(**own, g_second=lambda a, z: -z).g_second(0.0, 0.5) == -0.5
    relu = bp.Activation(lambda a: max(a, 0.0), lambda a, z: float(a > 0), "relu_of_test", g_second=lambda a, z: 0.0)
    assert relu.kinks == (0.0,)
    error = {"error": lambda y, t: abs(y - t), "slope": lambda y, t: (y > t) - (y < t), "name": "absolute_of_test"}
    assert bp.Loss(**error, curvature=lambda y, t: 0.0).kinks
    with pytest.raises(ValueError, match="curvature is not the derivative of slope"):
        bp.Loss(**error, curvature=lambda y, t: 1.0)
    with pytest.raises(TypeError, match="g_second must be a function"):
        bp.Activation(**own, g_second=3)


def test_own_second_derivatives_are_part_of_the_function():
    import pickle

    own = {"g": lambda a: math.sin(a), "g_prime": lambda a, z: math.cos(a), "name": "sine_of_test"}
    without, with_second = bp.Activation(**own), bp.Activation(**own, g_second=lambda a, z: -z)
    assert without != with_second
    assert with_second == bp.Activation(**own, g_second=lambda a, z: -z)
    with pytest.raises((pickle.PicklingError, AttributeError)):  # as before, of lambdas
        pickle.dumps(with_second)
