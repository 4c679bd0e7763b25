"""What elementary functions need below the level of Python: bits of floating-point numbers, and a choice by dtype."""

from collections.abc import Callable
from typing import Any

import llvmlite.ir as ir
import numba
from numba import types
from numba.extending import intrinsic, overload

# A product and a sum may be fused but sums are not reordered.
EXACT: dict[str, Any] = {"fastmath": {"contract"}, "error_model": "numpy", "forceinline": True}

exact = numba.njit(**EXACT)


@intrinsic
def power_of_two(typing_context: Any, t: Any) -> Any:
    """2^n from t = 1.5 · 2^mantissa + n, whose last bits are n: they are moved to the place of the exponent."""
    mantissa, bias = (23, 127) if t == types.float32 else (52, 1023)

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        integer = ir.IntType(t.bitwidth)
        bits = builder.add(builder.bitcast(values[0], integer), ir.Constant(integer, bias))
        return builder.bitcast(builder.shl(bits, ir.Constant(integer, mantissa)), context.get_value_type(t))

    return t(t), generate


def by_dtype(function: Callable[[Any], Any], single: Any, double: Any) -> None:
    """Let kernels that call `function(x)` call a compiled function for float32 or for float64 instead."""
    compiled = {types.float32: single, types.float64: double}

    @overload(function, jit_options=EXACT)
    def choose(x: Any) -> Any:
        if x not in compiled:
            return None
        chosen = compiled[x]

        def call(x: Any) -> Any:
            return chosen(x)

        return call
