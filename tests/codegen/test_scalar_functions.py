"""Scalar functions of users: their precision, what they call, and what can be told of them before they run."""

import math

import numba
import numpy as np
import pytest

from bpkernel.codegen.jit import kernel
from bpkernel.codegen.scalar_functions import may_raise, reads, scalar
from bpkernel.functions.elementary import exp, tanh
from bpkernel.functions.logarithm import softplus
from bpkernel.functions.loops import VECTORISABLE

HALF = 0.5
_exp = math.exp


def helper(a):
    return HALF * a + 1


@numba.njit
def compiled_helper(a):
    return math.exp(a) * 0.1


def helper_of_pair(a):
    e = math.exp(a)
    return math.log1p(e)


def factor(c):
    return lambda a: c * a * a


def branches(a):
    if a > 1:
        return 1
    b = 0.1 * a
    for k in range(3):
        b = b + k * a
    return b


FUNCTIONS = {
    "constants": lambda a: 0.1 * a + 2 - 3 / (a + 7) - (a < 1) * 0.3,
    "integers": lambda a: 1 - a + (2 if a > 0 else 3) + max(a, 0) + min(2, a),
    "powers": lambda a: a**2 + a**3 + 2**a + abs(a) ** 0.5,
    "functions of math": lambda a: math.exp(-a) + math.tanh(a) + math.log1p(math.exp(a)) + math.sqrt(abs(a)) * math.pi,
    "functions of NumPy": lambda a: np.exp(-a) + np.tanh(a) + np.maximum(a, 0.1) + np.where(a > 0, a, 0.01 * a),
    "names": lambda a: _exp(a) * HALF,
    "calls": lambda a: helper(a) * compiled_helper(a),
    "a closure": factor(0.3),
    "branches and a loop": branches,
    "compiled": numba.njit(lambda a: 0.1 * a + math.exp(a)),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_has_the_precision_of_its_argument(name):
    """Each value is that of Python within roundings of the dtype, and float32 stays float32."""
    function = FUNCTIONS[name]
    plain = getattr(function, "py_func", function)
    compiled = scalar(function, VECTORISABLE)
    for dtype in (np.float32, np.float64):
        for a in np.linspace(-2, 2, 17).astype(dtype):
            expected = float(plain(float(a)))
            assert compiled(a) == pytest.approx(
                expected, rel=60 * float(np.finfo(dtype).eps), abs=60 * float(np.finfo(dtype).eps)
            )
        returned = compiled.overloads[(numba.from_dtype(np.dtype(dtype)),)].signature.return_type
        if name != "branches and a loop":  # which adds an integer variable
            assert returned == numba.from_dtype(np.dtype(dtype))


def test_functions_are_replaced_everywhere():
    """By the substitutes, bit for bit, in functions that are called too."""

    @kernel(entry=True)
    def expected(a):
        return tanh(a) * exp(a)

    for function in (lambda a: math.tanh(a) * np.exp(a), lambda a: math.tanh(a) * (lambda b: b)(_exp(a))):
        for a in np.linspace(-3, 3, 50).astype(np.float32):
            assert scalar(function, VECTORISABLE)(a) == expected(a)


def test_a_pair_of_functions_is_replaced_by_one():
    """Which does not overflow; but not if the variable between them has changed."""

    @kernel(entry=True)
    def expected(a):
        return softplus(a)

    def changed(a):
        e = math.exp(a)
        a = 7.0
        return math.log1p(e) + 0 * a

    for function in (lambda a: math.log1p(math.exp(a)), lambda a: np.log1p(_exp(a)), helper_of_pair):
        for a in np.array([-90, -1, 0.3, 2, 95], np.float32):
            assert scalar(function, VECTORISABLE)(a) == expected(a)
    assert scalar(changed, VECTORISABLE)(2.0) == pytest.approx(changed(2.0), rel=1e-15)
    both = lambda a: math.log1p(math.exp(a)) + math.exp(a)  # noqa: E731
    assert scalar(both, VECTORISABLE)(0.5) == pytest.approx(both(0.5), rel=1e-15)


def test_integers_that_are_indices_stay_integers():
    table = (1.5, 2.5)

    def look_up(a):
        i = 1
        return table[0] * a + table[i] + a**2

    assert scalar(look_up, VECTORISABLE)(np.float32(2)) == 9.5


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda a, z: z * z, (False, True)),
        (lambda a, z: a, (True, False)),
        (lambda a, z: sum(a + k for k in range(3)), (True, False)),
        (lambda a, z: (lambda: a)(), (True, False)),
        (numba.njit(lambda a, z: z), (False, True)),
        (lambda *both: both[0], (True, True)),
        (np.maximum, (True, True)),
    ],
)
def test_arguments_that_are_read(function, expected):
    assert (reads(function, 0), reads(function, 1)) == expected


def test_an_argument_that_is_overwritten_first_is_not_read():
    def function(a, z):
        a = 2.0
        return a * z

    assert reads(function, 0)  # on the safe side


def raises(a):
    if a < 0:
        raise ValueError
    return a


def asserts(a):
    assert a > 0
    return a


def calls(a):
    return raises(a) + 1


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (raises, True),
        (asserts, True),
        (calls, True),
        (lambda a: raises(a), True),
        (numba.njit(raises), True),
        (helper, False),
        (math.exp, False),
        (lambda a: 1 / a, False),
    ],
)
def test_functions_that_may_raise(function, expected):
    assert may_raise(function) == expected
