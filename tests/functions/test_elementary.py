"""Elementary functions: within a few units of the last place, over the whole range of both dtypes."""

import math

import mpmath
import numpy as np
import pytest

from bpkernel.codegen.jit import kernel
from bpkernel.functions import elementary, error_function, logarithm

BOUNDS = {  # the largest error in units of the last place
    "exp": 2,
    "expm1": 2,
    "tanh": 2,
    "logistic": 2,
    "log": 2,
    "log1p": 2,
    "softplus": 2,
    "erf": 3,
    "normal_cdf": 4,
}
NAMES = list(BOUNDS)
FUNCTIONS = {
    name: getattr(module, name) for module in (elementary, logarithm, error_function) for name in NAMES if hasattr(module, name)
}
ODD = ["expm1", "tanh", "log1p", "erf"]  # with the sign of the argument, as far as it is 0
BEYOND_NUMPY = {  # in 50 digits, and in double precision by the C library
    "erf": (mpmath.erf, math.erf),
    "normal_cdf": (
        lambda x: mpmath.erfc(-max(min(x, 1000), -1000) / mpmath.sqrt(2)) / 2,
        lambda x: math.erfc(-x / math.sqrt(2)) / 2,
    ),
}
DIGITS = {  # for arithmetic of 50 digits
    "logistic": lambda x: 1 / (1 + mpmath.exp(-x)),
    "softplus": lambda x: max(x, 0) + mpmath.log1p(mpmath.exp(-abs(x))),
    "normal_cdf": BEYOND_NUMPY["normal_cdf"][0],
}


def looped(function):
    @kernel(entry=True)
    def run(x, y):
        for i in range(x.size):
            y[i] = function(x[i])

    return run


LOOPS = {name: looped(FUNCTIONS[name]) for name in NAMES}


def compute(name, x):
    y = np.empty_like(x)
    LOOPS[name](x, y)
    return y


def wider(y):
    """A number of 50 digits in extended precision."""
    return np.longdouble(float(y)) + np.longdouble(float(y - mpmath.mpf(float(y))))


def exact(name, x):
    """In the next wider type of NumPy; extended precision for float64, where the machine has it."""
    single = x.dtype == np.float32
    x = x.astype(np.float64 if single else np.longdouble)
    if name in BEYOND_NUMPY:
        digits, double = BEYOND_NUMPY[name]
        if single:
            return np.array([double(number) for number in x.tolist()])
        with mpmath.workdps(50):
            return np.array([wider(digits(mpmath.mpf(float(number)))) for number in x])
    with np.errstate(over="ignore", under="ignore"):
        if name == "logistic":
            e = np.exp(-abs(x))
            return np.where(x < 0, e, 1) / (1 + e)
        if name == "softplus":
            return np.maximum(x, 0) + np.log1p(np.exp(-abs(x)))
        return getattr(np, name)(x)


def ulps(found, expected):
    """The distance in units of the last place of the expected number."""
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        rounded = expected.astype(found.dtype)
        distance = abs(found.astype(expected.dtype) - expected) / np.spacing(abs(rounded)).astype(expected.dtype)
    return np.where(found == rounded, 0, distance).astype(float)


def grid(dtype):
    """Numbers of every size and sign: bit patterns evenly spread, and dense lines where the functions change most."""
    lines = [np.linspace(-end, end, 400_001) for end in (0.7, 2, 10, 40, 110, 750)]
    if dtype == "float32":
        bits = np.arange(0, 2**32, 4099, dtype=np.uint64).astype(np.uint32).view(np.float32)
    else:
        bits = np.random.default_rng(0).integers(0, 2**64, 1_000_000, dtype=np.uint64).view(np.float64)
    return np.concatenate([bits[np.isfinite(bits)], *(line.astype(dtype) for line in lines)])


def domain(name, x):
    """The numbers at which a function is defined."""
    return x[x > {"log": 0, "log1p": -1}[name]] if name in ("log", "log1p") else x


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", NAMES)
def test_within_a_few_units_of_the_last_place(name, dtype):
    if dtype == "float64" and np.finfo(np.longdouble).nmant < 60:
        pytest.skip("needs extended precision to tell")
    x = domain(name, grid(dtype))
    if name in BEYOND_NUMPY and dtype == "float64":
        x = x[::199]  # arithmetic of 50 digits is slow
    found = compute(name, x)
    assert len(np.unique(found)) > x.size / 30
    assert ulps(found, exact(name, x)).max() <= BOUNDS[name]


@pytest.mark.parametrize("name", NAMES)
def test_the_yardstick_is_right(name):
    """Compiled results against arithmetic of 100 digits, as softplus(100) needs many."""
    function = DIGITS.get(name) or getattr(mpmath, name)
    end = 37 if name == "normal_cdf" else 100  # Φ(-38) is denormal
    with mpmath.workdps(100):
        for x in domain(name, np.random.default_rng(0).uniform(-end, end, 200)):
            found = compute(name, np.array([x]))[0]
            expected = function(mpmath.mpf(x))
            assert abs(found - expected) <= BOUNDS[name] * np.spacing(abs(float(expected)))


@pytest.mark.parametrize("name", NAMES)
def test_in_plain_python(name):
    function = DIGITS.get(name) or getattr(mpmath, name)
    for x in domain(name, np.array([-30.0, -0.7, 1e-3, 0.9, 20.0])).tolist():
        assert FUNCTIONS[name](x) == pytest.approx(float(function(mpmath.mpf(x))), rel=1e-13)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_ends_of_the_range(dtype):
    info = np.finfo(dtype)
    x = np.array([np.inf, -np.inf, np.nan, 0.0, -0.0, info.max, -info.max, info.tiny, -info.tiny], dtype)
    x = np.concatenate([x, [info.smallest_subnormal, -info.smallest_subnormal]]).astype(dtype)
    nan, log2 = np.nan, math.log(2)
    with np.errstate(under="ignore"):
        expected = {
            "exp": [np.inf, 0, nan, 1, 1, np.inf, 0, 1, 1, 1, 1],
            "expm1": [np.inf, -1, nan, 0.0, -0.0, np.inf, -1, *x[7:]],
            "tanh": [1, -1, nan, 0.0, -0.0, 1, -1, *x[7:]],
            "logistic": [1, 0, nan, 0.5, 0.5, 1, 0, 0.5, 0.5, 0.5, 0.5],
            "log1p": [np.inf, nan, nan, 0.0, -0.0, np.log(x[5]), nan, *x[7:]],
            "softplus": [np.inf, 0, nan, log2, log2, info.max, 0, log2, log2, log2, log2],
            "erf": [1, -1, nan, 0.0, -0.0, 1, -1, *(x[7:] * info.dtype.type(2 / math.sqrt(math.pi)))],
            "normal_cdf": [1, 0, nan, 0.5, 0.5, 1, 0, 0.5, 0.5, 0.5, 0.5],
        }
    with np.errstate(divide="ignore", invalid="ignore"):
        expected["log"] = np.log(x)
    for name in NAMES:
        found, wanted = compute(name, x), np.array(expected[name], dtype)
        if name in ("log", "log1p", "softplus", "erf"):  # whose values are not all exact
            np.testing.assert_allclose(found, wanted, rtol=2 * info.eps, atol=0)
        else:
            np.testing.assert_array_equal(found, wanted)
        if name != "log":
            np.testing.assert_array_equal(np.signbit(found[[3, 4]]), [False, name in ODD])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_logarithms_at_the_ends_of_their_domains(dtype):
    below = np.nextafter(np.array([0, -1], dtype), -np.inf, dtype=dtype)
    np.testing.assert_array_equal(
        compute("log", np.array([0.0, -0.0, 1, below[0], -2], dtype)), [-np.inf, -np.inf, 0, np.nan, np.nan]
    )
    np.testing.assert_array_equal(compute("log1p", np.array([-1, below[1], -7], dtype)), [-np.inf, np.nan, np.nan])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_largest_results(dtype):
    """e^x and e^x - 1 on both sides of overflow."""
    largest = np.log(np.finfo(dtype).max)
    x = np.array([np.nextafter(largest, np.dtype(dtype).type(0)), largest * (1 + 2 * np.finfo(dtype).eps)], dtype)
    for name in ("exp", "expm1"):
        found = compute(name, x)
        np.testing.assert_array_equal(np.isinf(found), [False, True])
        assert ulps(found[:1], exact(name, x[:1]))[0] <= BOUNDS[name]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_results_may_be_denormal(dtype):
    info = np.finfo(dtype)
    x = np.linspace(np.log(float(info.smallest_subnormal)) + 1, np.log(float(info.tiny)) - 1, 1000).astype(dtype)
    end, start = (-14.1, -13.0) if dtype == "float32" else (-38.4, -37.6)
    ranges = {"exp": x, "logistic": x, "softplus": x, "normal_cdf": np.linspace(end, start, 1000).astype(dtype)}
    for name, x in ranges.items():
        found = compute(name, x)
        assert ((found > 0) & (found < info.tiny)).all()
        assert ulps(found, exact(name, x)).max() <= BOUNDS[name]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["log", *ODD])
def test_arguments_may_be_denormal(name, dtype):
    info = np.finfo(dtype)
    x = np.geomspace(float(info.smallest_subnormal) if dtype == "float32" else 1e-320, float(info.tiny), 1000).astype(dtype)
    found = compute(name, x)
    assert len(np.unique(found)) > 100
    assert ulps(found, exact(name, x)).max() <= BOUNDS[name]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", NAMES)
def test_a_number_does_not_depend_on_its_place(name, dtype):
    """In a vector or in what is left over beside it."""
    x = np.random.default_rng(0).standard_normal(200).astype(dtype)
    whole = compute(name, x)
    for n in range(1, 80):
        np.testing.assert_array_equal(compute(name, x[-n:].copy()), whole[-n:])
