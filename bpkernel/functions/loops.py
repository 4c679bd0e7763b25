"""Scalar functions of one unit or one output, as the loops over many that kernels call."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from bpkernel.codegen.scalar_functions import may_raise, scalar
from bpkernel.codegen.scalars import real
from bpkernel.functions.elementary import exp, expm1, tanh
from bpkernel.functions.error_function import erf
from bpkernel.functions.logarithm import log, log1p, softplus

Scalar = Callable[..., Any]  # of real numbers

# The compiler vectorises loops of the functions on the right, but not of calls to the C library.  `float` is for float(a > 0).
VECTORISABLE = {
    **dict.fromkeys((math.exp, np.exp), exp),
    **dict.fromkeys((math.tanh, np.tanh), tanh),
    **dict.fromkeys((math.log, np.log), log),
    **dict.fromkeys((math.log1p, np.log1p), log1p),
    **dict.fromkeys((math.expm1, np.expm1), expm1),
    math.erf: erf,
    float: real,
    (log1p, exp): softplus,  # 1.1 ns instead of 2.3 in float32 with AVX2, and no overflow
}


def forward_of(g: Scalar) -> Callable[..., None]:
    """The `forward` of an activation, from the scalar function g(a)."""
    g_of = scalar(g, VECTORISABLE)

    def forward(z: Any, row: int, first: int, n: int) -> None:
        one = z.dtype.type(1 if row > 0 else 0)  # not known to the compiler, see `ReLU.forward`: g may return z[j] itself
        for j in range(z.size):  # in one loop for all samples, for it is the longest that vectorises best
            z[j] = g_of(z[j] * one)

    def forward_of_units(z: Any, row: int, first: int, n: int) -> None:
        for start in range(first, z.size, row):
            for j in range(start, start + n):
                z[j] = g_of(z[j])

    return forward_of_units if may_raise(g) else forward  # between the units are numbers that it might raise an exception for


def vjp_of(g_prime: Scalar) -> Callable[..., None]:
    """The `vjp` of an activation, from the scalar function g'(a) in the form g_prime(a, z).

    Where d_j or g' is 0 so is δ_j, even if the other one is infinite: the numbers between the units stay 0, and a unit of a
    flat part of g, as a relu unit that is off, has no δ.
    """
    g_prime_of = scalar(g_prime, VECTORISABLE)

    def vjp(a: Any, z: Any, d: Any, row: int, first: int, n: int) -> None:
        number = d.dtype.type
        for j in range(z.size):
            slope = number(g_prime_of(a[j], z[j]))
            d[j] = d[j] * slope if d[j] != 0 and slope != 0 else number(0)

    def vjp_of_units(a: Any, z: Any, d: Any, row: int, first: int, n: int) -> None:
        number = d.dtype.type
        for start in range(first, z.size, row):
            for j in range(start, start + n):
                if d[j] != 0:
                    slope = number(g_prime_of(a[j], z[j]))
                    d[j] = d[j] * slope if slope != 0 else number(0)

    return vjp_of_units if may_raise(g_prime) else vjp


def second_of(g_second: Scalar) -> Callable[..., None]:
    """The `second` of an activation, from the scalar function g''(a) in the form g_second(a, z).

    Where r_j d_j or g'' is 0 nothing is added, even if the other one is infinite.
    """
    g_second_of = scalar(g_second, VECTORISABLE)

    def second(a: Any, z: Any, r: Any, d: Any, s: Any, row: int, first: int, n: int) -> None:
        number = d.dtype.type
        for j in range(z.size):
            factor, curved = r[j] * d[j], number(g_second_of(a[j], z[j]))
            s[j] += factor * curved if factor != 0 and curved != 0 else number(0)

    def second_of_units(a: Any, z: Any, r: Any, d: Any, s: Any, row: int, first: int, n: int) -> None:
        number = d.dtype.type
        for start in range(first, z.size, row):
            for j in range(start, start + n):
                if r[j] * d[j] != 0:
                    s[j] += r[j] * d[j] * number(g_second_of(a[j], z[j]))

    return second_of_units if may_raise(g_second) else second


def sample_error_of(error: Scalar) -> Callable[..., Any]:
    """The `sample_error` of a loss, from the scalar function error(y, t) of one output."""
    error_of = scalar(error, VECTORISABLE)

    def sample_error(a: Any, y: Any, t: Any) -> Any:
        number = y.dtype.type
        e = number(0)
        for k in range(y.size):
            e += number(error_of(y[k], t[k]))
        return e

    return sample_error


def sample_slope_of(slope: Scalar) -> Callable[..., None]:
    """The `sample_slope` of a loss, from the scalar function slope(y, t) of one output."""
    slope_of = scalar(slope, VECTORISABLE)

    def sample_slope(y: Any, t: Any, d: Any) -> None:
        for k in range(y.size):
            d[k] = slope_of(y[k], t[k])

    return sample_slope


def sample_curvature_of(curvature: Scalar) -> Callable[..., None]:
    """The `sample_curvature` of a loss, from the scalar function curvature(y, t) of one output."""
    curvature_of = scalar(curvature, VECTORISABLE)

    def sample_curvature(y: Any, t: Any, r: Any, d: Any) -> None:
        for k in range(y.size):
            d[k] = curvature_of(y[k], t[k]) * r[k]

    return sample_curvature
