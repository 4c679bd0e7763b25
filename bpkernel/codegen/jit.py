"""How a kernel is compiled: the project's one set of Numba flags."""

from collections.abc import Callable
from typing import Any

import numba
from numba.core import compiler
from numba.core.cpu_options import FastMathOptions

from bpkernel.codegen.disk_cache import CACHE_FOLDER, KernelCache

# Everything that lets a sum be vectorised, without "nnan" and "ninf": NaN and Inf must survive, to be reported.
FASTMATH = {"contract", "reassoc", "nsz", "arcp", "afn"}

if numba.config.DISABLE_JIT:
    raise ImportError("bpkernel is compiled by Numba and cannot run without it: unset NUMBA_DISABLE_JIT")


def kernel(
    function: Callable[..., Any] | None = None,
    *,
    parallel: bool = False,
    entry: bool = False,
    inline: bool = True,
    view: bool = False,
    counts: bool = False,
    cache: bool = True,
) -> Any:
    """Compile a function with the project's Numba flags, and cache the result on disk.

    Kernels release the GIL, and divide by zero as NumPy does (Inf or NaN, no exception: a branch that may raise keeps a loop
    from being vectorised).

    Parameters
    ----------
    parallel : bool
        Run the function's `prange` loops on all threads.
    entry : bool
        Emit a Python wrapper.  Each wrapper takes about a tenth of the compile time, so other kernels have none.
    inline : bool
        Inline the function into its callers.  Pass False for large functions that are called in several places, seldom.
    view : bool
        The function returns a view of an argument.
    counts : bool
        Compile the function with reference counts, which kernels with none of `entry`, `parallel` and `view` are without.
    cache : bool
        Pass False for a function that is only inlined into one other, which is cached.
    """
    if function is None:
        options = {"parallel": parallel, "entry": entry, "inline": inline, "view": view, "counts": counts, "cache": cache}
        return lambda function: kernel(function, **options)
    flags: dict[str, Any] = {"fastmath": FASTMATH, "error_model": "numpy", "nogil": True, "parallel": parallel}
    if not entry and not parallel:
        # An argument that is a tuple of arrays is many words, which inlining saves.
        flags |= {"forceinline": inline, "no_cpython_wrapper": True, "no_cfunc_wrapper": True, "_nrt": view or counts}
    compiled = numba.njit(**flags)(function)
    if cache and CACHE_FOLDER is not None:
        compiled._cache = KernelCache(function)
    return compiled


def for_users(function: Callable[..., Any]) -> Any:
    """Compile a function that users call from their own compiled functions, or from Python; it is not cached on disk.

    It has no fast-math flags, which its callers would not expect, and releases the GIL when Python calls it.
    """
    return numba.njit(nogil=True)(function)


def compile_into(context: Any, function: Callable[..., Any], signature: Any) -> Any:
    """Compile a plain Python function into the library that is being built, for an intrinsic to call.

    The flags are those of `kernel`, which a function compiled into another one does not inherit.  Numba's own
    `compile_subroutine` would make a library of the function, optimise it, and later optimise all of it again.
    """
    flags = compiler.Flags()
    flags.nrt = False
    flags.error_model = "numpy"
    flags.fastmath = FastMathOptions(FASTMATH)
    flags.no_compile = flags.no_cpython_wrapper = flags.no_cfunc_wrapper = True
    library = context.active_code_library
    return compiler.compile_internal(
        context.typing_context, context, library, function, signature.args, signature.return_type, flags, locals={}
    )
