"""Bits of floating-point numbers, and a choice by dtype."""

import math

import numpy as np
import pytest
from numba.core.errors import TypingError

from bpkernel.codegen.jit import kernel
from bpkernel.codegen.scalars import by_dtype, exact, power_of_two


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
