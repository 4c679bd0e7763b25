"""Bits of floating-point numbers, and a choice by dtype."""

import math

import numpy as np
import pytest
from numba.core.errors import TypingError

from bpkernel.codegen.jit import kernel
from bpkernel.codegen.scalars import by_dtype, exact, exponent_and_mantissa, polynomial, power_of_two


@kernel(entry=True)
def two_to(t):
    return power_of_two(t)


@pytest.mark.parametrize(("dtype", "mantissa", "least", "most"), [(np.float32, 23, -126, 127), (np.float64, 52, -1022, 1023)])
def test_powers_of_two_are_exact(dtype, mantissa, least, most):
    shift = dtype(1.5 * 2.0**mantissa)
    for n in (least, -1, 0, 1, 10, most):
        assert two_to(shift + dtype(n)) == 2.0**n


@pytest.mark.parametrize(("dtype", "mantissa", "least", "most"), [(np.float32, 23, -126, 127), (np.float64, 52, -1022, 1023)])
def test_just_outside_of_the_range_are_zero_and_infinity(dtype, mantissa, least, most):
    shift = dtype(1.5 * 2.0**mantissa)
    assert two_to(shift + dtype(least - 1)) == 0
    assert two_to(shift + dtype(most + 1)) == math.inf


@kernel(entry=True)
def parts(x):
    return exponent_and_mantissa(x)


@pytest.mark.parametrize(("dtype", "mantissa"), [(np.float32, 23), (np.float64, 52)])
def test_a_number_is_its_mantissa_times_a_power_of_two(dtype, mantissa):
    info = np.finfo(dtype)
    root, shift = dtype(math.sqrt(0.5)), dtype(1.5 * 2.0**mantissa)
    bounds = [v for c in (root, dtype(1), dtype(2) * root) for v in (np.nextafter(c, dtype(0)), c, np.nextafter(c, dtype(2)))]
    exponents = []
    for x in [*bounds, info.tiny, info.max, dtype(3e-30), dtype(math.pi), dtype(1e30)]:
        t, m = parts(x)
        k = int(t - shift)
        exponents.append(k)
        assert root <= m < 2 * root
        assert math.ldexp(m, k) == x
    assert exponents[:11] == [-1, 0, 0, 0, 0, 0, 0, 1, 1, info.minexp, info.maxexp]


@pytest.mark.parametrize("n", range(1, 15))
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_polynomial_of_any_degree(n, dtype):
    coefficients = tuple(dtype(c) for c in np.random.default_rng(n).integers(1, 9, n))

    @kernel(entry=True)
    def value(x):
        return polynomial(x, coefficients)

    assert value(dtype(2)) == sum(c * 2**i for i, c in enumerate(coefficients))


def which(x):
    """The number of bytes of a dtype; in Python, 0."""
    return 0.0


by_dtype(which, exact(lambda x: x * 0 + 4), exact(lambda x: x * 0 + 8))


@kernel(entry=True)
def choose(x):
    return which(x)


def test_a_function_is_chosen_by_the_dtype_of_its_argument():
    assert (choose(np.float32(1)), choose(np.float64(1)), choose(1.0), which(1.0)) == (4, 8, 8, 0)


def test_a_function_of_another_dtype_is_refused():
    with pytest.raises(TypingError):
        choose(1)


@exact
def low_part(x, y):
    total = x + y
    return (x - total) + y


@kernel(entry=True)
def lost(x, y):
    return low_part(x, y)


def test_sums_of_exact_functions_are_not_reordered():
    """Nor simplified to 0, as the flags of a kernel would allow: what a sum has rounded off is found."""
    assert lost(1.0, 2.0**-60) == 2.0**-60
    assert np.isnan(lost(1.0, np.nan))
