"""log, log1p and softplus in plain arithmetic, which a compiler can vectorise.

All are within 2 units of the last place for every number of either dtype, Inf, NaN, denormal numbers and ±0 included.
They are based on log(2^k (1 + f)) = k log 2 + log(1 + f) with √½ ≤ 1 + f < √2, and on log(1 + f) = 2 artanh s with
s = f / (2 + f).
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from bpkernel.codegen.scalars import by_dtype, exact, exponent_and_mantissa, polynomial, power_of_two
from bpkernel.functions.elementary import COMPILED, DOUBLE, SINGLE, Format

# Polynomials in z = s² nearest to 2 (artanh(s) / s - 1) / z for 0 ≤ z ≤ 1/9, which is -½ ≤ f ≤ 1, by Remez's algorithm.
# The largest error that they cause, relative to log(1 + f) = s (2 + z polynomial), is 4.5e-9 and 1.3e-18.
ARTANH = {
    SINGLE: (0.6666642, 0.40021527, 0.28001806, 0.28011984),
    DOUBLE: (
        0.6666666666666631,
        0.4000000000015511,
        0.28571428548118244,
        0.22222223953634943,
        0.18181744479360548,
        0.15386548388951224,
        0.13301121399528415,
        0.12104944947042685,
        0.08344970509863199,
        0.17009759787979817,
    ),
}


def log(x: Any) -> Any:
    """The natural logarithm, of float32 or float64: compiled, -Inf at 0 and NaN below."""
    return math.log(x)


def log1p(x: Any) -> Any:
    """log(1 + x), of float32 or float64, accurate relative to its size near 0 too."""
    return math.log1p(x)


def softplus(x: Any) -> Any:
    """log(1 + e^x), of float32 or float64, accurate relative to its size where it is tiny too."""
    return max(x, 0) + math.log1p(math.exp(-abs(x)))


def _compiled(form: Format) -> dict[str, Callable[[Any], Any]]:
    """The three functions for one dtype."""
    T: Any = form.dtype
    info, coefficients, exp = np.finfo(T), tuple(map(T, ARTANH[form])), COMPILED[form]["exp"]
    shift, high, low = T(1.5 * 2.0**form.mantissa), T(form.log2_high), T(form.log2_low)
    zero, one, two, infinity, nan = T(0), T(1), T(2), T(np.inf), T(np.nan)
    least, digits, raised = info.tiny, T(form.mantissa + 1), T(2.0 ** (form.mantissa + 1))
    enough = T(100)  # what is 2^-100 of x or less does not count, and 2^-k may be out of range

    @exact
    def rest(f: Any) -> Any:  # f - log(1 + f) = s (f - z polynomial), since 2 s = f - s f
        s = f / (two + f)
        z = s * s
        return s * (f - z * polynomial(z, coefficients))

    @exact
    def sum_(k: Any, f: Any) -> Any:  # log(2^k (1 + f))
        return k * high + (f - (rest(f) - k * low))

    @exact
    def log(x: Any) -> Any:
        denormal = x < least
        t, m = exponent_and_mantissa(x * raised if denormal else x)
        y = sum_((t - shift) - (digits if denormal else zero), m - one)
        y = y if x < infinity else x
        return y if x > zero else (-infinity if x == zero else nan)

    @exact
    def log1p(x: Any) -> Any:
        u = one + x
        rounded = x - (u - one) if x < one else one - (u - x)  # 1 + x is u + rounded
        t, m = exponent_and_mantissa(u)
        k = t - shift
        f = (m - one) + rounded * power_of_two(shift - (k if k < enough else enough))  # exact for k = 0, where it is x
        y = sum_(k, f)
        y = y if u < infinity else u
        y = y if u > zero else (-infinity if u == zero else nan)
        return math.copysign(y, x)

    @exact
    def softplus(x: Any) -> Any:
        e = exp(-abs(x))
        return (zero if x < zero else x) + (e - rest(e))

    return {"log": log, "log1p": log1p, "softplus": softplus}


_single, _double = _compiled(SINGLE), _compiled(DOUBLE)
for _function in (log, log1p, softplus):
    by_dtype(_function, _single[_function.__name__], _double[_function.__name__])
