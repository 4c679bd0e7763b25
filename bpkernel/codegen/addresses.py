"""Addresses in compiled code: of memory of this process, of a user's array, and of memory on the stack."""

import uuid
from typing import Any

import llvmlite.ir as ir
from numba import types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.extending import intrinsic

from bpkernel.codegen.processor import LINE

INT8, INT64 = ir.IntType(8), ir.IntType(64)
PROCESS = uuid.uuid4().hex  # forked children inherit it, together with the memory that addresses point to


class ProcessAddress:
    """An address in the memory of this process.  Pickles of it can be loaded only here and in forked children."""

    def __init__(self, value: int):
        self.value = value

    def __reduce__(self) -> tuple[Any, ...]:
        return _same_process, (PROCESS, self.value)


def _same_process(process: str, value: int) -> ProcessAddress:
    if process != PROCESS:
        raise RuntimeError(
            "a function made by as_njit uses memory of its own process and cannot be sent to another one; "
            "send the net, and call its as_njit there"
        )
    return ProcessAddress(value)


def constant(address: int) -> Any:
    """A compiled function without arguments that returns an address in the memory of this process.

    Numba keeps no function that calls it in its cache on disk: in another process the address would be wrong.  The memory must
    never be freed, since Numba does not free compiled functions either.
    """
    here = ProcessAddress(address)

    @intrinsic
    def fixed_address(typing_context: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            return builder.ptrtoint(context.add_dynamic_addr(builder, here.value, "bpkernel"), INT64)

        return types.intp(), generate

    return fixed_address


def place_of(name: str, *, writeable: bool) -> Any:
    """A compiled function of a user's array: its address, the bytes from a number to the next, and 1 for float64.

    Other arguments raise a TypingError with the name of the argument when the user's function is compiled.
    """

    @intrinsic
    def place(typing_context: Any, array: Any) -> Any:
        real = isinstance(array, types.Array) and array.dtype in (types.float32, types.float64)
        if not (real and array.ndim == 1 and array.aligned and (array.mutable or not writeable)):
            kind = "a writeable" if writeable else "a"
            raise TypingError(f"{name} must be {kind} one-dimensional array of float32 or float64, not {array}")

        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            view = context.make_array(array)(context, builder, values[0])
            address, stride = builder.ptrtoint(view.data, INT64), cgutils.unpack_tuple(builder, view.strides)[0]
            double = ir.Constant(INT64, int(array.dtype == types.float64))
            return context.make_tuple(builder, signature.return_type, [address, stride, double])

        return types.UniTuple(types.intp, 3)(array), generate

    return place


@intrinsic
def stack_memory(typing_context: Any, n_bytes: Any) -> Any:
    """The address of memory on the stack that begins on a cache line and is freed when the calling function returns.

    For functions that are called by pointer only: inlined into a loop, each iteration would take more of the stack.
    """

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        memory = builder.alloca(INT8, size=values[0])
        memory.align = LINE
        return builder.ptrtoint(memory, INT64)

    return types.intp(types.intp), generate
