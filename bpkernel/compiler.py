"""Floor 0: how a kernel is compiled, and called by its address."""

from collections.abc import Callable
from typing import Any, TypeVar

import numba
import numpy as np
from numba.core import compiler
from numba.core.cpu_options import FastMathOptions
from numba.extending import intrinsic

from bpkernel.disk_cache import CACHE_FOLDER, KernelCache

Function = TypeVar("Function", bound=Callable[..., Any])

# Everything that lets a sum be vectorised, without "nnan" and "ninf": NaN and Inf must survive, to be reported.
FASTMATH = {"contract", "reassoc", "nsz", "arcp", "afn"}

BY_ADDRESS: list[Any] = []  # the kernels that others may call by address: their code must stay where it is

if numba.config.DISABLE_JIT:
    raise ImportError("bpkernel is compiled by Numba and cannot do without: unset NUMBA_DISABLE_JIT")


def kernel(function: Function | None = None, *, parallel: bool = False, entry: bool = False, inline: bool = True) -> Any:
    """Compile a function with the project's one set of Numba flags, and cache the result on disk.

    `parallel=True` runs the function's `prange` loops on all threads; `entry=True` is for those that Python calls, which
    the others are not made for; `inline=False` for those that are large, called in several places, and seldom.  Kernels
    release the GIL, and divide by zero as NumPy does (Inf or NaN, no exception: a branch that may raise keeps a loop from
    being vectorised).
    """
    if function is None:
        return lambda function: kernel(function, parallel=parallel, entry=entry, inline=inline)
    options: dict[str, Any] = {"fastmath": FASTMATH, "error_model": "numpy", "nogil": True, "parallel": parallel}
    if not entry and not parallel:
        # A tuple of arrays is many words to hand over, and each wrapper a tenth of the time to compile.
        options |= {"forceinline": inline, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    compiled = numba.njit(**options)(function)
    if CACHE_FOLDER is not None:
        compiled._cache = KernelCache(function)
    return compiled


def by_address(signature: Callable[[Any], Any]) -> tuple[Any, Callable[[Callable[..., Any], np.dtype], int]]:
    """How kernels call functions that are chosen at run time: a compiled `call(address, arguments)`, and `address`.

    `address(function, dtype)` compiles a plain function by itself, or takes it from the cache, for `signature` of Numba's
    type of the dtype.  So one specialisation of a kernel serves every entry of a table, an entry is compiled when it is
    first needed, and only once: a kernel that calls another directly has a copy of it, optimised anew, and so has the
    kernel that calls that one.
    """
    addresses: dict[tuple[Callable[..., Any], np.dtype], int] = {}
    names: dict[tuple[str, str], Callable[..., Any]] = {}

    def address(function: Callable[..., Any], dtype: np.dtype) -> int:
        key = function, dtype
        if key not in addresses:
            name = function.__module__, function.__qualname__
            assert names.setdefault(name, function) is function, f"two functions by the name of {name}: see `named`"
            dispatcher = kernel(function)
            arguments = signature(numba.from_dtype(dtype)).args
            dispatcher.compile(arguments)
            BY_ADDRESS.append(dispatcher)
            result = dispatcher.overloads[arguments]
            addresses[key] = result.library.get_pointer_to_function(result.fndesc.llvm_func_name)
        return addresses[key]

    @intrinsic
    def call(typing_context: Any, function: Any, arguments: Any) -> Any:
        expected = [signature(numba.types.float32), signature(numba.types.float64)]
        matching = [s for s in expected if s.args == tuple(arguments.types)]
        if not matching:  # it would be called with what it does not expect
            raise numba.core.errors.TypingError(f"{arguments.types} instead of {expected[0].args}")

        def generate(context: Any, builder: Any, _: Any, values: Any) -> Any:
            chosen = matching[0]
            pointer = context.call_conv.get_function_type(chosen.return_type, chosen.args).as_pointer()
            unpacked = [builder.extract_value(values[1], i) for i in range(len(arguments))]
            return context.call_conv.call_function(
                builder, builder.inttoptr(values[0], pointer), chosen.return_type, chosen.args, unpacked
            )[1]

        return matching[0].return_type(numba.types.intp, arguments), generate

    return call, address


def named(function: Function, variant: int) -> Function:
    """The function under a name of its own, for one of several that are made by one factory.

    Symbols are named after functions, with a number that each process counts anew: those of two variants from a cache
    that two processes have written might be the same, and one be called for the other.
    """
    function.__name__ = function.__qualname__ = f"{function.__name__}_{variant}"
    return function


def compile_into(context: Any, function: Callable[..., Any], signature: Any) -> Any:
    """A plain Python function compiled into the library being built, for an intrinsic to call.

    With the flags of `kernel`, which a function compiled into another one does not inherit.  Numba's own
    `compile_subroutine` would make a library of it, and optimise that first and then all of it again.
    """
    flags = compiler.Flags()
    flags.nrt = True
    flags.error_model = "numpy"
    flags.fastmath = FastMathOptions(FASTMATH)
    flags.no_compile = flags.no_cpython_wrapper = flags.no_cfunc_wrapper = True
    library = context.active_code_library
    return compiler.compile_internal(
        context.typing_context, context, library, function, signature.args, signature.return_type, flags, locals={}
    )
