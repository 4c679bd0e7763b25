"""How kernels call functions that are chosen at run time: compiled by themselves and called through a pointer.

One specialisation of a kernel then serves every activation, loss and optimizer.  An entry is compiled when it is first needed,
and only once; a kernel that called it directly would contain a copy of it, optimised anew, and so would that kernel's callers.
"""

from collections.abc import Callable
from typing import Any

import numba
from numba.extending import intrinsic

from bpkernel.codegen.content_hash import with_digest
from bpkernel.codegen.jit import kernel
from bpkernel.codegen.precision import PRECISIONS, Precision

COMPILED: list[Any] = []  # dispatchers of the functions called by pointer: their code must stay where it is


def by_pointer(signature: Callable[[Precision], Any]) -> tuple[Any, Callable[[Callable[..., Any], Precision], int]]:
    """A compiled `call(pointer, arguments)`, and `pointer(function, precision)`, for functions of one signature.

    `signature` maps the Numba types of a Precision to the signature of the functions.  `pointer` compiles a plain Python
    function, or loads it from the cache, and returns its address.  Compiled functions are named after their content, so one
    that is redefined is compiled again.
    """
    addresses: dict[tuple[Callable[..., Any], Precision], int] = {}

    def pointer(function: Callable[..., Any], precision: Precision) -> int:
        key = function, precision
        if key not in addresses:
            dispatcher = kernel(with_digest(function))
            arguments = signature(precision.types()).args
            dispatcher.compile(arguments)
            COMPILED.append(dispatcher)
            result = dispatcher.overloads[arguments]
            addresses[key] = result.library.get_pointer_to_function(result.fndesc.llvm_func_name)
        return addresses[key]

    @intrinsic
    def call(typing_context: Any, function: Any, arguments: Any) -> Any:
        expected = [signature(precision.types()) for precision in PRECISIONS]
        matching = [s for s in expected if s.args == tuple(arguments.types)]
        if not matching:  # the function would read its arguments as something else
            raise numba.core.errors.TypingError(f"{arguments.types} instead of {expected[0].args}")

        def generate(context: Any, builder: Any, _: Any, values: Any) -> Any:
            chosen = matching[0]
            function_type = context.call_conv.get_function_type(chosen.return_type, chosen.args).as_pointer()
            unpacked = [builder.extract_value(values[1], i) for i in range(len(arguments))]
            return context.call_conv.call_function(
                builder, builder.inttoptr(values[0], function_type), chosen.return_type, chosen.args, unpacked
            )[1]

        return matching[0].return_type(numba.types.intp, arguments), generate

    return call, pointer
