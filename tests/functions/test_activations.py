"""The activations and their derivatives, at the edges too: saturation, NaN, numbers between the rows."""

from typing import get_args

import numpy as np
import pytest

from bpkernel import reference
from bpkernel.functions import activations

DTYPES = ["float32", "float64"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", activations.BY_NAME)
def test_nan_comes_through_every_activation(name, dtype, g):
    for n in (1, 3, 16, 33):
        a = np.full(n, 0.5, dtype)
        a[n // 2] = np.nan
        z = g(name, a)
        assert np.isnan(z[n // 2])
        if name != "softmax":
            assert np.isfinite(np.delete(z, n // 2)).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_saturated_activations_are_exact(dtype, g):
    a = np.array([-1e4, -100, 100, 1e4], dtype)
    np.testing.assert_allclose(g("logistic", a), [0, 0, 1, 1], atol=1e-40)
    assert g("tanh", a).tolist() == [-1, -1, 1, 1]
    assert g("softmax", a).tolist() == [0, 0, 0, 1]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", activations.BY_NAME)
def test_a_sample_does_not_depend_on_the_others_of_its_block(name, dtype, g, vjp):
    """Of a block of rows with other numbers between them, each comes out as it does alone, bit for bit."""
    rng = np.random.default_rng(0)
    for n_samples, n in ((1, 1), (5, 3), (7, 17), (40, 10)):
        first, row = 4, n + 9
        a, d = rng.standard_normal((2, n_samples, row)).astype(dtype)
        units = slice(first, first + n)
        alone = [g(name, a[k, units].copy()) for k in range(n_samples)]
        z = g(name, a, first, n)
        np.testing.assert_array_equal(z[:, units], alone)
        alone = [vjp(name, a[k, units], z[k, units], d[k, units]) for k in range(n_samples)]
        assert np.any(alone) or n == 1  # a relu unit may be off, and the derivative of a single softmax unit is 0
        np.testing.assert_array_equal(vjp(name, a, z, d, first, n)[:, units], alone)


ROUNDINGS = 8  # of an elementary function and the few operations around it


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", activations.BY_NAME)
def test_values_and_derivatives_are_those_of_the_reference(name, dtype, g, vjp):
    rng = np.random.default_rng(1)
    eps = np.finfo(dtype).eps
    for n in (1, 5, 16, 31):
        a, d = rng.standard_normal((2, n)).astype(dtype)
        z = g(name, a)
        expected = np.array(reference.activate(name, a.tolist()))
        shift = (a.max() - a).max() if name == "softmax" else 0  # its rounding counts relative to exp(-shift)
        np.testing.assert_allclose(z, expected, rtol=(ROUNDINGS + n + shift) * eps)
        found = vjp(name, a, z, d)
        expected = np.array(reference.times_slope(name, a.tolist(), z.tolist(), d.tolist()))
        terms = (1 + abs(z)) * (abs(d) + (abs(z * d).sum() if name == "softmax" else 0)) * np.maximum(abs(z), 1)
        np.testing.assert_array_less(abs(found - expected), (ROUNDINGS + n) * eps * terms)
        assert found.any() or (name, n) == ("softmax", 1)


@pytest.mark.parametrize("name", activations.BY_NAME)
def test_derivatives_agree_with_central_differences(name, g, vjp):
    """Of Σ_j d_j g(a)_j in the direction of each a."""
    h = 1e-6
    a, d = np.random.default_rng(2).standard_normal((2, 7))
    found = vjp(name, a, g(name, a), d)
    for j in range(7):
        above, below = (float(d @ g(name, a + step * (np.arange(7) == j))) for step in (h, -h))
        assert found[j] == pytest.approx((above - below) / (2 * h), rel=1e-7, abs=1e-9)


def test_names_are_those_of_the_table():
    assert [type(activation) for activation in activations.BY_NAME.values()] == list(activations.ACTIVATIONS)
    assert [name for name, activation in activations.BY_NAME.items() if activation.name != name] == []
    assert set(get_args(activations.HiddenActivation)) == set(activations.HIDDEN) < set(activations.BY_NAME)
    assert set(get_args(activations.OutputActivation)) == set(activations.BY_NAME)


def test_the_derivative_of_gelu_is_precise_near_0(g, vjp):
    """There it is computed in another form: 1/2 + 2 a φ(0), but for a³."""
    for dtype in DTYPES:
        a = np.array([0, 1e-12, -9e-10, 9e-7, 1.1e-6, -1e-5], dtype)
        exact = 0.5 + a.astype(float) * np.sqrt(2 / np.pi)
        found = vjp("gelu", a, g("gelu", a), np.ones_like(a))
        np.testing.assert_allclose(found, exact, rtol=4 * np.finfo(dtype).eps)


def test_only_functions_whose_derivative_needs_it_keep_a():
    assert {name for name, g in activations.BY_NAME.items() if g.needs_a} == {"silu", "gelu", "hard_silu"}
