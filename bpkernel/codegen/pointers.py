"""How kernels call functions that are chosen at run time: compiled by themselves and called through a pointer.

One specialisation of a kernel then serves every activation, loss and optimizer.  An entry is compiled when it is first needed,
and only once; a kernel that called it directly would contain a copy of it, optimised anew, and so would that kernel's callers.
"""

import weakref
from collections.abc import Callable
from typing import Any

import llvmlite.ir as ir
import numba
import numpy as np
from numba.core import cgutils
from numba.core.callconv import RETCODE_USEREXC, excinfo_ptr_t
from numba.extending import intrinsic

from bpkernel.codegen.content_hash import with_digest
from bpkernel.codegen.jit import kernel
from bpkernel.codegen.precision import PRECISIONS, Precision

COMPILED: list[Any] = []  # dispatchers of the functions called by pointer: their code must stay where it is

_named: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()  # functions, named after their content


def by_pointer(signature: Callable[[Precision], Any], *, may_raise: bool = False) -> tuple[Any, Callable[..., int]]:
    """A compiled `call(pointer, arguments)`, and `pointer(function, precision)`, for functions of one signature.

    `signature` maps the Numba types of a Precision to the signature of the functions.  `pointer` compiles a plain Python
    function, or loads it from the cache, and returns its address.  Compiled functions are named after their content, so one
    that is redefined is compiled again, and equal ones are compiled once.

    With `may_raise` it is `call(pointer, arguments, fault)`: if the function raises an exception, its address is written to
    fault[0], for `raise_fault`.  And if Numba cannot compile a function, `pointer(function, precision, what)` raises a
    TypeError that says what it is.
    """
    addresses: dict[tuple[str, Precision], int] = {}

    def pointer(function: Callable[..., Any], precision: Precision, what: str = "") -> int:
        if function not in _named:
            _named[function] = with_digest(function)
        key = _named[function].__qualname__, precision
        if key not in addresses:
            dispatcher = kernel(_named[function], counts=may_raise)  # the message of an exception may be a string made of parts
            arguments = signature(precision.types()).args
            try:
                dispatcher.compile(arguments)
            except Exception as error:  # of Numba, or of what it tries out
                if not may_raise:
                    raise
                raise TypeError(
                    f"{what}: Numba cannot compile its functions. They may use numbers, functions of math and of NumPy for "
                    f"numbers, and functions made of these. Numba says: {str(error).strip()[:1000] or type(error).__name__}"
                ) from None
            COMPILED.append(dispatcher)
            result = dispatcher.overloads[arguments]
            addresses[key] = result.library.get_pointer_to_function(result.fndesc.llvm_func_name)
        return addresses[key]

    def result_and_status(context: Any, builder: Any, chosen: Any, function: Any, arguments: Any) -> Any:
        function_type = context.call_conv.get_function_type(chosen.return_type, chosen.args).as_pointer()
        unpacked = [builder.extract_value(arguments, i) for i in range(len(chosen.args))]
        function = builder.inttoptr(function, function_type)
        return context.call_conv.call_function(builder, function, chosen.return_type, chosen.args, unpacked)[::-1]

    def matching(arguments: Any) -> Any:
        expected = [signature(precision.types()) for precision in PRECISIONS]
        for s in expected:
            if s.args == tuple(arguments.types):
                return s
        # the function would read its arguments as something else
        raise numba.core.errors.TypingError(f"{arguments.types} instead of {expected[0].args}")

    @intrinsic
    def call(typing_context: Any, function: Any, arguments: Any) -> Any:
        chosen = matching(arguments)

        def generate(context: Any, builder: Any, _: Any, values: Any) -> Any:
            return result_and_status(context, builder, chosen, *values)[0]

        return chosen.return_type(numba.types.intp, arguments), generate

    @intrinsic
    def call_and_note(typing_context: Any, function: Any, arguments: Any, fault: Any) -> Any:
        chosen = matching(arguments)

        def generate(context: Any, builder: Any, _: Any, values: Any) -> Any:
            result, status = result_and_status(context, builder, chosen, *values[:2])
            with cgutils.if_unlikely(builder, status.is_error):
                address = builder.ptrtoint(status.excinfoptr, ir.IntType(64))
                builder.store(address, context.make_array(fault)(context, builder, values[2]).data)
            return result

        return chosen.return_type(numba.types.intp, arguments, fault), generate

    return (call_and_note if may_raise else call), pointer


@intrinsic
def raise_noted(typing_context: Any, address: Any) -> Any:
    """Return from a compiled function with the exception whose address a call has noted."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        convention = context.call_conv
        builder.store(builder.inttoptr(values[0], excinfo_ptr_t), convention._get_excinfo_argument(builder.function))
        convention._return_errcode_raw(builder, RETCODE_USEREXC)
        builder.position_at_end(builder.append_basic_block("not reached"))
        return context.get_dummy_value()

    return numba.types.none(numba.types.int64), generate


@kernel(entry=True)
def _raise(address: int) -> None:
    if address != 0:  # without a condition the function would have no end
        raise_noted(address)


def raise_fault(fault: np.ndarray) -> None:
    """Raise the exception that a call has noted in fault (1,), if any, and forget it."""
    address = fault.item()
    if address != 0:
        fault[0] = 0
        _raise(address)
