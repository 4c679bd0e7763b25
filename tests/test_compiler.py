"""The decorator's flags, and calls by address."""

import os
import subprocess
import sys

import numpy as np
import pytest
from numba import types
from numba.core.errors import TypingError

from bpkernel.compiler import by_address, kernel


def add(x, y):
    return x + y


def multiply(x, y):
    return x * y


def double_in_place(x):
    for i in range(x.size):
        x[i] *= 2


def negate_in_place(x):
    for i in range(x.size):
        x[i] = -x[i]


def divide(x, y):
    return x / y


arithmetic, address_of_arithmetic = by_address(lambda real: real(real, real))
in_place, address_of_in_place = by_address(lambda real: types.none(types.Array(real, 1, "C")))


@kernel(entry=True)
def compute(function, x, y):
    return arithmetic(function, (x, y))


@kernel(entry=True)
def change(function, x):
    in_place(function, (x,))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_function_at_an_address_is_run(dtype):
    found = [compute(address_of_arithmetic(f, np.dtype(dtype)), dtype(3), dtype(4)) for f in (add, multiply)]
    assert found == [7, 12]
    x = np.array([1, 2], dtype)
    for function in (double_in_place, negate_in_place):
        change(address_of_in_place(function, x.dtype), x)
    assert x.tolist() == [-2, -4]


def test_a_function_is_compiled_once_for_each_dtype():
    addresses = [address_of_arithmetic(add, np.dtype(dtype)) for dtype in ("float32", "float64", "float32", "float64")]
    assert addresses[:2] == addresses[2:]
    assert addresses[0] != addresses[1]


def test_a_function_is_not_called_with_what_it_does_not_expect():
    with pytest.raises(TypingError, match="instead of"):
        compute(address_of_arithmetic(add, np.dtype("float32")), 1, 2)


def test_a_function_by_address_divides_by_zero_as_kernels_do():
    """With Python's error model it would raise, which a loop that should be vectorised cannot afford."""
    address = address_of_arithmetic(divide, np.dtype("float64"))
    assert compute(address, 1.0, 0.0) == np.inf
    assert np.isnan(compute(address, 0.0, 0.0))


@kernel(entry=True)
def total(x):
    s = 0.0
    for i in range(x.size):
        s += x[i]
    return s


def test_nan_and_inf_survive():
    assert np.isnan(total(np.array([1.0, np.nan, 2.0] * 20)))
    assert total(np.array([1.0, np.inf, 2.0] * 20)) == np.inf


def test_a_missing_compiler_is_told():
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    result = subprocess.run(
        [sys.executable, "-c", "import bpkernel"], env=environment, capture_output=True, text=True, timeout=300
    )
    assert "unset NUMBA_DISABLE_JIT" in result.stderr
