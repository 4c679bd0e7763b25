"""Calls of functions that are chosen at run time."""

import numpy as np
import pytest
from numba import types
from numba.core.errors import TypingError

from bpkernel.codegen import pointers
from bpkernel.codegen.jit import kernel
from bpkernel.codegen.pointers import by_pointer
from bpkernel.codegen.precision import Precision
from bpkernel.codegen.views import vector

SINGLE, DOUBLE = Precision.of("float32"), Precision.of("float64")


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


arithmetic, pointer_to_arithmetic = by_pointer(lambda p: p.accumulation(p.accumulation, p.accumulation))
in_place, pointer_to_in_place = by_pointer(lambda p: types.none(vector(p.master)))


@kernel(entry=True)
def compute(function, x, y):
    return arithmetic(function, (x, y))


@kernel(entry=True)
def change(function, x):
    in_place(function, (x,))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_function_at_an_address_is_run(dtype):
    found = [compute(pointer_to_arithmetic(f, Precision.of(dtype)), dtype(3), dtype(4)) for f in (add, multiply)]
    assert found == [7, 12]
    x = np.array([1, 2], dtype)
    for function in (double_in_place, negate_in_place):
        change(pointer_to_in_place(function, Precision.of(dtype)), x)
    assert x.tolist() == [-2, -4]


def test_a_function_is_compiled_once_for_each_dtype():
    addresses = [pointer_to_arithmetic(add, Precision.of(dtype)) for dtype in ("float32", "float64", "float32", "float64")]
    assert addresses[:2] == addresses[2:]
    assert addresses[0] != addresses[1]


def test_a_function_is_not_called_with_what_it_does_not_expect():
    with pytest.raises(TypingError, match="instead of"):
        compute(pointer_to_arithmetic(add, SINGLE), 1, 2)


def test_a_function_by_pointer_divides_by_zero_as_kernels_do():
    """With Python's error model it would raise, which a loop that should be vectorised cannot afford."""
    address = pointer_to_arithmetic(divide, DOUBLE)
    assert compute(address, 1.0, 0.0) == np.inf
    assert np.isnan(compute(address, 0.0, 0.0))


def test_one_kernel_calls_every_function():
    """It is compiled once for each signature, not once for each function."""
    for function in (add, multiply, divide):
        compute(pointer_to_arithmetic(function, DOUBLE), 6.0, 3.0)
    assert len([signature for signature in compute.signatures if signature[1:] == (types.float64,) * 2]) == 1


def test_the_code_of_a_function_stays_in_memory():
    """A pointer is valid as long as the process: its dispatcher is kept."""
    before = len(pointers.COMPILED)
    pointer_to_arithmetic(lambda x, y: x - y, DOUBLE)
    assert len(pointers.COMPILED) == before + 1


def make(body):
    """A function of one name, file and line, as a notebook redefines it, with another body."""
    names = {"__name__": __name__}
    exec(compile(f"def combine(x, y):\n    return {body}", "cell.py", "exec"), names)
    return names["combine"]


def test_a_function_that_is_redefined_has_code_of_its_own():
    found = [compute(pointer_to_arithmetic(make(body), DOUBLE), 6.0, 3.0) for body in ("x + y", "x - y", "x * y", "x - y")]
    assert found == [9, 3, 18, 3]


def test_functions_that_differ_in_a_closure_have_code_of_their_own():
    def scaled(scale):
        return lambda x, y: scale * (x + y)

    found = [compute(pointer_to_arithmetic(scaled(scale), DOUBLE), 1.0, 2.0) for scale in (1.0, 10.0)]
    assert found == [3, 30]


REDEFINED = """
    import sys
    from cell import combine
    from bpkernel.codegen.jit import kernel
    from bpkernel.codegen.pointers import COMPILED, by_pointer
    from bpkernel.codegen.precision import Precision

    arithmetic, pointer_to = by_pointer(lambda p: p.master(p.master, p.master))

    @kernel(entry=True)
    def compute(function, x, y):
        return arithmetic(function, (x, y))

    value = compute(pointer_to(combine, Precision.of("float64")), 6.0, 3.0)
    print(value, sum(COMPILED[0].stats.cache_hits.values()))
"""


def test_a_function_that_is_redefined_is_not_mistaken_for_the_old_one_in_the_cache(tmp_path, run_python):
    """Each body is compiled by the first process that needs it and found by the next one, whatever came between."""
    found = []
    for body in ("x + y", "x + y", "x - y", "x - y", "x + y"):
        (tmp_path / "cell.py").write_text(f"def combine(x, y):\n    return {body}\n")
        settings = {"PYTHONDONTWRITEBYTECODE": "1", "BPKERNEL_CACHE_DIR": str(tmp_path / "cache")}
        found.append(run_python(REDEFINED, folder=tmp_path, **settings).stdout.split())
    assert found == [["9.0", "0"], ["9.0", "1"], ["3.0", "0"], ["3.0", "1"], ["9.0", "1"]]
