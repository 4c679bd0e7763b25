"""exp, tanh and the logistic function: within 2 units of the last place, over the whole range of both dtypes."""

import mpmath
import numpy as np
import pytest

from bpkernel.codegen.jit import kernel
from bpkernel.functions import elementary

NAMES = ["exp", "tanh", "logistic"]


def looped(function):
    @kernel(entry=True)
    def run(x, y):
        for i in range(x.size):
            y[i] = function(x[i])

    return run


LOOPS = {name: looped(getattr(elementary, name)) for name in NAMES}


def compute(name, x):
    y = np.empty_like(x)
    LOOPS[name](x, y)
    return y


def exact(name, x):
    """In the next wider type of NumPy; extended precision for float64, where the machine has it."""
    x = x.astype(np.float64 if x.dtype == np.float32 else np.longdouble)
    with np.errstate(over="ignore", under="ignore"):
        if name == "logistic":
            e = np.exp(-abs(x))
            return np.where(x < 0, e, 1) / (1 + e)
        return getattr(np, name)(x)


def ulps(found, expected):
    """The distance in units of the last place of the expected number."""
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        rounded = expected.astype(found.dtype)
        distance = abs(found.astype(expected.dtype) - expected) / np.spacing(abs(rounded)).astype(expected.dtype)
    return np.where(found == rounded, 0, distance).astype(float)


def grid(dtype):
    """Numbers of every size and sign: bit patterns evenly spread, and dense lines where the functions change most."""
    lines = [np.linspace(-end, end, 400_001) for end in (0.7, 10, 110, 750)]
    if dtype == "float32":
        bits = np.arange(0, 2**32, 4099, dtype=np.uint64).astype(np.uint32).view(np.float32)
    else:
        bits = np.random.default_rng(0).integers(0, 2**64, 1_000_000, dtype=np.uint64).view(np.float64)
    return np.concatenate([bits[np.isfinite(bits)], *(line.astype(dtype) for line in lines)])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", NAMES)
def test_within_two_units_of_the_last_place(name, dtype):
    if dtype == "float64" and np.finfo(np.longdouble).nmant < 60:
        pytest.skip("needs extended precision to tell")
    x = grid(dtype)
    found = compute(name, x)
    assert len(np.unique(found)) > 100_000
    assert ulps(found, exact(name, x)).max() <= 2.0


@pytest.mark.parametrize("name", NAMES)
def test_the_yardstick_is_right(name):
    """NumPy's wider numbers against arithmetic of 50 digits."""
    functions = {"exp": mpmath.exp, "tanh": mpmath.tanh, "logistic": lambda x: 1 / (1 + mpmath.exp(-x))}
    with mpmath.workdps(50):
        for x in np.random.default_rng(0).uniform(-100, 100, 200):
            found = compute(name, np.array([x]))[0]
            expected = functions[name](mpmath.mpf(x))
            assert abs(found - expected) <= 2 * np.spacing(abs(float(expected)))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_ends_of_the_range(dtype):
    info = np.finfo(dtype)
    x = np.array([np.inf, -np.inf, np.nan, 0.0, -0.0, info.max, -info.max, info.tiny, -info.tiny], dtype)
    x = np.concatenate([x, [info.smallest_subnormal, -info.smallest_subnormal]]).astype(dtype)
    nan = np.nan
    with np.errstate(under="ignore"):
        expected = {
            "exp": [np.inf, 0, nan, 1, 1, np.inf, 0, 1, 1, 1, 1],
            "tanh": [1, -1, nan, 0.0, -0.0, 1, -1, *x[7:]],
            "logistic": [1, 0, nan, 0.5, 0.5, 1, 0, 0.5, 0.5, 0.5, 0.5],
        }
    for name in NAMES:
        found = compute(name, x)
        np.testing.assert_array_equal(found, np.array(expected[name], dtype))
        np.testing.assert_array_equal(np.signbit(found[[3, 4]]), [False, name == "tanh"])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_results_may_be_denormal(dtype):
    info = np.finfo(dtype)
    x = np.linspace(np.log(float(info.smallest_subnormal)) + 1, np.log(float(info.tiny)) - 1, 1000).astype(dtype)
    for name in ("exp", "logistic"):
        found = compute(name, x)
        assert ((found > 0) & (found < info.tiny)).all()
        assert ulps(found, exact(name, x)).max() <= 2.0


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", NAMES)
def test_a_number_does_not_depend_on_its_place(name, dtype):
    """In a vector or in what is left over beside it."""
    x = np.random.default_rng(0).standard_normal(200).astype(dtype)
    whole = compute(name, x)
    for n in range(1, 80):
        np.testing.assert_array_equal(compute(name, x[-n:].copy()), whole[-n:])
