"""exp, expm1, tanh and the logistic function in plain arithmetic, which a compiler can vectorise.

All are within 2 units of the last place for every number of either dtype, Inf, NaN, denormal numbers and ±0 included.
They are based on e^x = 2^n e^r, with n = x / log 2 rounded and |r| ≤ log(2) / 2, and on the Taylor series of e^r - 1.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from bpkernel.codegen.scalars import by_dtype, exact, power_of_two


class Format(NamedTuple):
    """What the arithmetic of a dtype asks for."""

    dtype: type
    mantissa: int  # its bits
    log2_high: float  # log 2 in so few bits that n times it is exact; log2_low is the rest
    log2_low: float
    lowest: float  # e^x is 0 below
    highest: float  # e^x is Inf above
    saturated: float  # tanh x is ±1 beyond
    tail: tuple[int, ...]  # of Lambert's continued fraction, tanh x = x / (1 + x² / (3 + x² / (5 + ...))), less x


SINGLE = Format(
    np.float32,
    23,
    float.fromhex("0x1.62E4p-1"),
    1.4286068203094173e-06,
    -104.5,
    89.5,
    10.0,
    (315, 14, 0, 0, 945, 420, 15, 0, 0),
)
DOUBLE = Format(
    np.float64,
    52,
    float.fromhex("0x1.62E42FEEp-1"),
    1.9082149292705877e-10,
    -746.0,
    710.5,
    22.0,
    (11486475, 810810, 12870, 44, 34459425, 16216200, 945945, 13860, 45),
)


def exp(x: Any) -> Any:
    """e^x, of float32 or float64."""
    return math.exp(x)


def expm1(x: Any) -> Any:
    """e^x - 1, of float32 or float64, accurate relative to its size near 0 too."""
    return math.expm1(x)


def tanh(x: Any) -> Any:
    """The hyperbolic tangent, of float32 or float64."""
    return math.tanh(x)


def logistic(x: Any) -> Any:
    """1 / (1 + e^-x), of float32 or float64."""
    return math.exp(x) / (1 + math.exp(x)) if x < 0 else 1 / (1 + math.exp(-x))


def _compiled(form: Format) -> dict[str, Callable[[Any], Any]]:
    """The four functions for one dtype."""
    T: Any = form.dtype
    shift, per_log2 = T(1.5 * 2.0**form.mantissa), T(1 / math.log(2))  # adding shift rounds to a whole number
    high, low = T(form.log2_high), T(form.log2_low)
    lowest, highest, saturated, half, one, two = T(form.lowest), T(form.highest), T(form.saturated), T(0.5), T(1), T(2)
    limit = T(0.55)
    settled, overflow, last = T(-40), T(form.highest - 0.5), T(np.finfo(T).maxexp - 1)
    b0, b1, b2, b3, d0, d1, d2, d3, d4 = map(T, form.tail)
    c2, c3, c4, c5, c6, c7, c8, c9, c10, c11, c12, c13 = (T(1 / math.factorial(k)) for k in range(2, 14))

    # In each series the next term is below a tenth of a unit of the last place.
    @exact
    def rest_single(r: Any) -> Any:  # e^r - 1 - r
        return r * r * (c2 + r * (c3 + r * (c4 + r * (c5 + r * (c6 + r * c7)))))

    @exact
    def rest_double(r: Any) -> Any:
        rest = c8 + r * (c9 + r * (c10 + r * (c11 + r * (c12 + r * c13))))
        return r * r * (c2 + r * (c3 + r * (c4 + r * (c5 + r * (c6 + r * (c7 + r * rest))))))

    @exact
    def tail_single(x: Any, z: Any) -> Any:  # tanh x - x = tail[0] / tail[1], with z = x²
        return -x * z * (b0 + z * b1), d0 + z * (d1 + z * d2)

    @exact
    def tail_double(x: Any, z: Any) -> Any:
        return -x * z * (b0 + z * (b1 + z * (b2 + z * b3))), d0 + z * (d1 + z * (d2 + z * (d3 + z * d4)))

    rest, tail = (rest_single, tail_single) if form is SINGLE else (rest_double, tail_double)

    @exact
    def e_r(r: Any) -> Any:
        sum_ = one + r
        return sum_ + ((one - sum_) + r + rest(r))  # what the first sum has rounded off comes back in the second

    @exact
    def exp(x: Any) -> Any:
        x = lowest if x < lowest else x
        x = highest if x > highest else x  # NaN stays NaN
        n = (x * per_log2 + shift) - shift
        n_1 = (n * half + shift) - shift  # 2^n in two steps, as it may be denormal or too large where e^x is not
        return e_r((x - n * high) - n * low) * power_of_two(n_1 + shift) * power_of_two((n - n_1) + shift)

    @exact
    def expm1(x: Any) -> Any:  # (2^n - 1 + 2^n r) + 2^n (e^r - 1 - r)
        x = settled if x < settled else x  # -1 within rounding
        x = overflow if x > overflow else x
        n = (x * per_log2 + shift) - shift
        first = x - n * high
        r = first - n * low
        lost = (first - r) - n * low
        power = power_of_two((last if n > last else n) + shift)
        y = ((power - one) + power * r) + power * (rest(r) + lost)
        return math.copysign(y * two if n > last else y, x)

    @exact
    def tanh(x: Any) -> Any:  # beyond 0.55: 1 - 2 e^u / (1 + e^u) with u = -2 |x|
        size = abs(x)
        u = -two * (saturated if size > saturated else size)
        n = (u * per_log2 + shift) - shift
        e_u = e_r((u - n * high) - n * low) * power_of_two(n + shift)
        numerator, denominator = tail(size, size * size)
        small = size < limit
        ratio = (numerator if small else -two * e_u) / (denominator if small else one + e_u)
        return math.copysign((size if small else one) + ratio, x)

    @exact
    def logistic(x: Any) -> Any:
        e = exp(-abs(x))
        sum_ = one + e
        lost = (one - sum_) + e
        y = (e if x < 0 else one) / sum_
        return y - y * lost * (one - half * e)  # 1 - e / 2 is near enough to 1 / (1 + e)

    return {"exp": exp, "expm1": expm1, "tanh": tanh, "logistic": logistic}


COMPILED = {form: _compiled(form) for form in (SINGLE, DOUBLE)}
for _function in (exp, expm1, tanh, logistic):
    by_dtype(_function, *(COMPILED[form][_function.__name__] for form in (SINGLE, DOUBLE)))
