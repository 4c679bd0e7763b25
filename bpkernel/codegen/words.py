"""Arithmetic of unsigned 32-bit integers, modulo 2³².

Numba computes with 64-bit integers instead and cuts their results, which the compiler does not take back in a loop: a hash of
32-bit integers then took twice as long, in half as many lanes and with products of 64 bits.
"""

from typing import Any

from numba import types
from numba.extending import intrinsic

WORD = types.uint32


def _of_words(name: str) -> Any:
    """An instruction of LLVM as a function of two words."""

    @intrinsic
    def operation(typing_context: Any, x: Any, y: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            return getattr(builder, name)(*values)

        return WORD(WORD, WORD), generate

    return operation


plus, times, xor, shifted = _of_words("add"), _of_words("mul"), _of_words("xor"), _of_words("lshr")  # shifted: x >> y, y < 32
