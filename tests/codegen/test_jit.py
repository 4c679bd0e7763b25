"""How kernels are compiled: the flags, and what they make of numbers that are not finite."""

import threading

import numpy as np
import pytest
from numba import types
from numba.extending import intrinsic

from bpkernel.codegen import atomics
from bpkernel.codegen.jit import FASTMATH, compile_into, kernel


@kernel(entry=True)
def total(x):
    s = 0.0
    for i in range(x.size):
        s += x[i]
    return s


def test_nan_and_inf_survive():
    assert np.isnan(total(np.array([1.0, np.nan, 2.0] * 20)))
    assert total(np.array([1.0, np.inf, 2.0] * 20)) == np.inf


@kernel
def ratio(x, y):
    return x / y


@kernel(entry=True)
def divide(x, y):
    return x / y, ratio(x, y)


def test_a_division_by_zero_raises_nothing():
    assert divide(1.0, 0.0) == (np.inf, np.inf)
    assert divide(-1.0, 0.0) == (-np.inf, -np.inf)
    assert np.isnan(divide(0.0, 0.0)).all()


def test_the_flags_let_sums_be_reordered_and_keep_nan():
    assert {"reassoc", "contract"} <= FASTMATH
    assert not {"nnan", "ninf", "fast"} & FASTMATH
    for made in (total, divide, ratio):
        assert made.targetoptions["fastmath"] == FASTMATH


SPINS = 10**8  # some tenths of a second, while another thread sets a flag


@kernel(entry=True)
def sees_the_flag(flag, begun):
    atomics.add(begun, 0, 1)
    for _ in range(SPINS):
        if atomics.load(flag, 0) != 0:
            return True
        atomics.pause()
    return False


def test_a_kernel_lets_other_python_threads_run():
    flag, begun, found = np.ones(1, np.int64), np.zeros(1, np.int64), []
    assert sees_the_flag(flag, begun)  # compiles
    flag[0] = begun[0] = 0
    thread = threading.Thread(target=lambda: found.append(sees_the_flag(flag, begun)))
    thread.start()
    while begun[0] == 0:
        pass
    flag[0] = 1
    thread.join()
    assert found == [True]


# ------------------------------------------------------------------------------------------------------ compile_into


def plain(x, i):
    return x[i] / x[i + 1] if x[i] == x[i] else x[i]


def scaled_by(scale):
    def scaled(x, i):
        return scale * x[i]

    return scaled


def intrinsic_of(function):
    """An intrinsic whose body is a plain function, compiled into the caller's library."""

    @intrinsic
    def call(typing_context, x, i):
        def generate(context, builder, signature, values):
            compiled = compile_into(context, function, signature)
            return context.call_internal_no_propagate(builder, compiled.fndesc, signature, values)[1]

        return x.dtype(x, types.intp), generate

    return call


call_plain = intrinsic_of(plain)
call_twice, call_thrice = intrinsic_of(scaled_by(2.0)), intrinsic_of(scaled_by(3.0))


@kernel(entry=True)
def through_an_intrinsic(x, i):
    return call_plain(x, i)


@kernel(entry=True)
def through_two(x, i):
    return call_twice(x, i), call_thrice(x, i)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_function_compiled_into_another_has_the_flags_of_a_kernel(dtype):
    """NaN survives, and a division by zero raises nothing, where Numba's default would raise."""
    x = np.array([3, 2, 1, 0, 0, np.nan, 1], dtype)
    found = [through_an_intrinsic(x, i) for i in range(6)]
    np.testing.assert_array_equal(found, [1.5, 2.0, np.inf, np.nan, np.nan, np.nan])


def test_functions_of_one_name_are_compiled_into_one_kernel():
    assert through_two(np.array([1.0, 5.0]), 1) == (10.0, 15.0)


def test_a_missing_compiler_is_reported(run_python):
    result = run_python("import bpkernel", check=False, NUMBA_DISABLE_JIT="1")
    assert "unset NUMBA_DISABLE_JIT" in result.stderr
