"""What elementary functions need below the level of Python: bits of floating-point numbers, and a choice by dtype."""

from collections.abc import Callable
from typing import Any

import llvmlite.ir as ir
import numba
import numpy as np
from numba import types
from numba.extending import intrinsic, overload

# A product and a sum may be fused but sums are not reordered.
EXACT: dict[str, Any] = {"fastmath": {"contract"}, "error_model": "numpy", "forceinline": True}

exact = numba.njit(**EXACT)

CHOSEN_BY_DTYPE: set[Any] = set()  # functions that stand for compiled ones


@intrinsic
def power_of_two(typing_context: Any, t: Any) -> Any:
    """2^n from t = 1.5 · 2^mantissa + n, whose last bits are n: they are moved to the place of the exponent."""
    mantissa, bias = (23, 127) if t == types.float32 else (52, 1023)

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        integer = ir.IntType(t.bitwidth)
        bits = builder.add(builder.bitcast(values[0], integer), ir.Constant(integer, bias))
        return builder.bitcast(builder.shl(bits, ir.Constant(integer, mantissa)), context.get_value_type(t))

    return t(t), generate


@intrinsic
def exponent_and_mantissa(typing_context: Any, x: Any) -> Any:
    """(t, m) with x = 2^k m, √½ ≤ m < √2 and t = 1.5 · 2^mantissa + k, of which `power_of_two` makes 2^k.

    x is positive and not denormal.  For 0, Inf, NaN, negative and denormal numbers, t and m have no meaning.
    """
    mantissa, bias, root, shift = (
        (23, 127, 0x3F3504F3, 0x4B400000) if x == types.float32 else (52, 1023, 0x3FE6A09E667F3BCD, 0x4338000000000000)
    )
    pair = types.UniTuple(x, 2)

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        integer, real = ir.IntType(x.bitwidth), context.get_value_type(x)

        def constant(n: int) -> Any:
            return ir.Constant(integer, n)

        # The bits of √½ become those of 1, so that the exponent changes at √½ and √2 and not at 1 and 2.
        bits = builder.add(builder.bitcast(values[0], integer), constant((bias << mantissa) - root))
        t = builder.add(builder.lshr(bits, constant(mantissa)), constant(shift - bias))
        m = builder.add(builder.and_(bits, constant((1 << mantissa) - 1)), constant(root))
        return context.make_tuple(builder, pair, [builder.bitcast(t, real), builder.bitcast(m, real)])

    return pair(x), generate


@intrinsic
def polynomial(typing_context: Any, x: Any, coefficients: Any) -> Any:
    """c[0] + c[1] x + c[2] x² + ... by Estrin's scheme, without a loop.  The coefficients are a tuple of the type of x.

    Neighbouring terms are added in pairs, then pairs of pairs, and so on, so that fewer operations wait for one another than in
    Horner's rule.  Latency limits loops of long expressions: by Horner's rule, float64 functions took up to 40 % longer.
    """

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        power = values[0]
        terms = [builder.extract_value(values[1], i) for i in range(coefficients.count)]
        while len(terms) > 1:
            pairs = [builder.fadd(terms[i], builder.fmul(power, terms[i + 1])) for i in range(0, len(terms) - 1, 2)]
            terms = pairs + terms[2 * len(pairs) :]
            power = builder.fmul(power, power)
        return terms[0]

    return x(x, coefficients), generate


def by_dtype(function: Callable[[Any], Any], single: Any, double: Any) -> None:
    """Let kernels that call `function(x)` call a compiled function for float32 or for float64 instead."""
    CHOSEN_BY_DTYPE.add(function)
    compiled = {types.float32: single, types.float64: double}

    @overload(function, jit_options=EXACT)
    def choose(x: Any) -> Any:
        if x not in compiled:
            return None
        chosen = compiled[x]

        def call(x: Any) -> Any:
            return chosen(x)

        return call


def real(x: Any) -> float:
    """float(x), which Numba does not know of a bool; a float32 stays one."""
    return float(x)


@overload(real, jit_options=EXACT)
def _real(x: Any) -> Any:
    one, zero = np.float32(1), np.float32(0)  # exact in either dtype, and float64 where it meets another one

    def of_bool(x: Any) -> Any:
        return one if x else zero

    def of_number(x: Any) -> Any:
        return float(x)

    return of_bool if isinstance(x, types.Boolean) else of_number


CHOSEN_BY_DTYPE.add(real)
