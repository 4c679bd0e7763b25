"""The error function and the normal distribution function in plain arithmetic, which a compiler can vectorise.

erf is within 3 units of the last place and Φ within 4, for every number of either dtype, Inf, NaN, denormal numbers and ±0
included.  Both are based on Φ(-t) = e^(-t²/2) R(t) for t ≥ 0.  R, Mills' ratio divided by √(2π), falls slowly from ½ and
approaches 1 / (√(2π) t).
"""

import math
from collections.abc import Callable
from typing import Any

from bpkernel.codegen.scalars import by_dtype, exact, polynomial, power_of_two
from bpkernel.functions.elementary import DOUBLE, SINGLE, Format

# R(t) = D(t) / (2 D(t) + t (√(2π) D(t) + N(t))): the coefficients of D and N for 0 ≤ t ≤ 14.5 and for 0 ≤ t ≤ 38.6.
# Rounding errors of D and N count little, as t N / D, which is 1 / R - 2 - √(2π) t, is at most a fifth of 1 / R.
# N / D is the fraction nearest to (1 / R(t) - 2 - √(2π) t) / t, with √(2π) rounded to the dtype, where errors are weighted by
# t R(t): they become relative errors of R (Lawson's algorithm).  N and D have the common factor with which they round best.
# The largest relative error of R is 1.8e-8 and 3.9e-18.
MILLS = {
    SINGLE: (
        (0.745, 0.6802788, 0.2934175, 0.06747955, 0.0071768165),
        (-0.678589, -0.4160878, -0.117052674, -0.014351801),
    ),
    DOUBLE: (
        (
            0.785,
            1.3140901966544618,
            1.0892784199232488,
            0.578272317493575,
            0.21578526979748103,
            0.05888687207417053,
            0.01188863672570575,
            0.0017559668020722483,
            0.00018234689114893555,
            1.211270192762467e-05,
            3.9605538599596834e-07,
        ),
        (
            -0.7150244351248365,
            -0.98245804090641,
            -0.6707569182111734,
            -0.292462402742133,
            -0.0888775811965541,
            -0.01943644129387847,
            -0.0030568432634283456,
            -0.00033433174107456586,
            -2.3232640227327127e-05,
            -7.921107719875007e-07,
        ),
    ),
}
SLOPE = 2.5066282746310007  # √(2π)
# Polynomials in x² nearest to erf(x) / x - 1 for |x| ≤ ½, by Remez's algorithm: relative error of erf 1.4e-9 and 3.9e-18.
ERF = {
    SINGLE: (0.12837917, -0.37612608, 0.112828225, -0.026757184, 0.0047179903),
    DOUBLE: (
        0.12837916709551256,
        -0.37612638903183465,
        0.11283791670924816,
        -0.026866170632716322,
        0.005223977370332408,
        -0.0008548297524748163,
        0.00012053324323886661,
        -1.4845583855143466e-05,
        1.4723215353508247e-06,
    ),
}
FARTHEST = {SINGLE: 14.5, DOUBLE: 38.6}  # Φ(-t) is 0 beyond


def erf(x: Any) -> Any:
    """The error function, of float32 or float64."""
    return math.erf(x)


def normal_cdf(x: Any) -> Any:
    """Φ(x), the distribution function of the standard normal distribution, of float32 or float64.

    It is accurate relative to its size in the lower tail too, down to where it is denormal.
    """
    return math.erfc(-x / math.sqrt(2)) / 2


def _compiled(form: Format) -> dict[str, Callable[[Any], Any]]:
    """The two functions for one dtype."""
    T: Any = form.dtype
    extra = 96  # e^(-t²/2) R(t) is 2^(n + extra) times what is computed, so that only the last product may be denormal
    shift, per_exponent = T(1.5 * 2.0**form.mantissa + extra), T(-0.5 / math.log(2))  # adding shift rounds to a whole number
    exponent_high, exponent_low = T(2 * form.log2_high), T(2 * form.log2_low)
    taylor = tuple(T((-0.5) ** k / math.factorial(k)) for k in range(1, 8 if form is SINGLE else 14))  # (e^(-r/2) - 1) / r
    d, n_ = tuple(map(T, MILLS[form][0])), tuple(T(c * 2.0**extra) for c in MILLS[form][1])
    at_0, slope = T(2.0 * 2.0**extra), T(SLOPE * 2.0**extra)
    rounding = T(1.5 * 2.0 ** (form.mantissa - (8 if form is SINGLE else 20)))  # adding it rounds to 8 or 20 binary places
    farthest, series = T(FARTHEST[form]), tuple(map(T, ERF[form]))
    half, one, two, root = T(0.5), T(1), T(2), T(math.sqrt(2))

    @exact
    def tail(t: Any) -> Any:  # Φ(-t) for t ≥ 0, from t² = -2 n log 2 + r
        t = farthest if t > farthest else t
        coarse = (t + rounding) - rounding
        square = coarse * coarse  # exact; t² = square + (t - coarse) (t + coarse)
        shifted = square * per_exponent + shift
        n = shifted - shift
        r = (square + n * exponent_high) + (n * exponent_low + (t - coarse) * (t + coarse))
        d_t = polynomial(t, d)
        ratio = d_t / (at_0 * d_t + t * (slope * d_t + polynomial(t, n_)))
        return (ratio + ratio * (r * polynomial(r, taylor))) * power_of_two(shifted)

    @exact
    def erf(x: Any) -> Any:
        size = abs(x)
        y = size + size * polynomial(x * x, series) if size < half else one - two * tail(root * size)
        return math.copysign(y, x)

    @exact
    def normal_cdf(x: Any) -> Any:
        y = tail(abs(x))
        return one - y if x > 0 else y

    return {"erf": erf, "normal_cdf": normal_cdf}


_single, _double = _compiled(SINGLE), _compiled(DOUBLE)
for _function in (erf, normal_cdf):
    by_dtype(_function, _single[_function.__name__], _double[_function.__name__])
