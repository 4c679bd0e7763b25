"""Floor 0: how a kernel is compiled, cached on disk, and chosen at run time from a table."""

import hashlib
import os
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import llvmlite.ir
import numba
from numba.core import caching, compiler, types
from numba.core.cpu_options import FastMathOptions
from numba.extending import intrinsic
from numba.misc.appdirs import user_cache_dir

Function = TypeVar("Function", bound=Callable[..., Any])

# Everything that lets a sum be vectorised, without "nnan" and "ninf": NaN and Inf must survive, to be reported.
FASTMATH = {"contract", "reassoc", "nsz", "arcp", "afn"}

PACKAGE = Path(__file__).parent

if numba.config.DISABLE_JIT:
    raise ImportError("bpkernel is compiled by Numba and cannot do without: unset NUMBA_DISABLE_JIT")


def kernel(function: Function | None = None, *, parallel: bool = False) -> Any:
    """Compile a function with the project's one set of Numba flags, and cache the result on disk.

    `parallel=True` runs the function's `prange` loops on all threads.  Kernels release the GIL, and divide by zero
    as NumPy does (Inf or NaN, no exception: a branch that may raise keeps a loop from being vectorised).
    """
    if function is None:
        return lambda function: kernel(function, parallel=parallel)
    compiled = numba.njit(fastmath=FASTMATH, error_model="numpy", nogil=True, parallel=parallel)(function)
    if CACHE_FOLDER is not None:
        compiled._cache = KernelCache(function)
    return compiled


def switch(functions: Sequence[Callable[..., Any]]) -> Any:
    """A compiled `call(code, arguments)` that runs `functions[code](*arguments)`; `arguments` is a tuple.

    It becomes one LLVM `switch` with a compiled copy of each function in its branches, so that one specialisation of
    a kernel serves every entry of a table, and an entry is a plain Python function.  (An array of jitted functions
    cannot be indexed at run time, and a kernel that closes over jitted functions is not cached.)
    """

    @intrinsic
    def call(typing_context: Any, code: Any, arguments: Any) -> Any:
        first = numba.njit(fastmath=FASTMATH, error_model="numpy")(functions[0])
        result = typing_context.resolve_function_type(numba.typeof(first), arguments.types, {}).return_type

        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            index, packed = values
            inner = result(*arguments.types)
            unpacked = [builder.extract_value(packed, i) for i in range(len(arguments))]
            end = builder.append_basic_block("end")
            unknown = builder.append_basic_block("unknown")
            branch = builder.switch(index, unknown)
            results = []
            for number, function in enumerate(functions):
                block = builder.append_basic_block(function.__name__)
                branch.add_case(llvmlite.ir.Constant(index.type, number), block)
                builder.position_at_end(block)
                compiled = context.compile_subroutine(builder, function, inner, flags=_flags(), caching=False)
                value = context.call_internal(builder, compiled.fndesc, inner, unpacked)
                results.append((value, builder.block))  # a function may end in another block than it began in
                builder.branch(end)
            builder.position_at_end(unknown)
            builder.unreachable()
            builder.position_at_end(end)
            if result == types.none:
                return context.get_dummy_value()
            chosen = builder.phi(results[0][0].type)
            for value, block in results:
                chosen.add_incoming(value, block)
            return chosen

        return result(code, arguments), generate

    return call


def _flags() -> compiler.Flags:
    """The flags of `kernel`, which a function compiled into another one does not inherit."""
    flags = compiler.Flags()
    flags.nrt = True
    flags.error_model = "numpy"
    flags.fastmath = FastMathOptions(FASTMATH)
    return flags


# ------------------------------------------------------------------------------------------------- the cache on disk


def cache_folder() -> Path | None:
    """Where compiled kernels are kept, one folder for each installed copy; None where BPKERNEL_CACHE_DIR is empty."""
    base = os.environ.get("BPKERNEL_CACHE_DIR")
    if base == "":
        return None
    base = base or os.environ.get("NUMBA_CACHE_DIR") or user_cache_dir("bpkernel")
    return Path(base) / hashlib.sha256(str(PACKAGE).encode()).hexdigest()[:16]


def source_stamp() -> str:
    """A digest of the package's kernels: Numba itself notices no change in the files that a kernel calls into."""
    digest = hashlib.sha256()
    for path in sorted(PACKAGE.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


CACHE_FOLDER = cache_folder()
SOURCE_STAMP = source_stamp()


class _Locator(caching._CacheLocator):
    def __init__(self, function: Callable[..., Any]):
        self._py_file = function.__code__.co_filename
        self._line = function.__code__.co_firstlineno

    @classmethod
    def from_function(cls, function: Callable[..., Any], file: str) -> "_Locator":
        return cls(function)

    def get_cache_path(self) -> str:
        return str(CACHE_FOLDER)

    def get_source_stamp(self) -> str:
        return SOURCE_STAMP

    def get_disambiguator(self) -> str:
        return str(self._line)


class _Implementation(caching.CompileResultCacheImpl):
    _locator_classes = (_Locator,)


class KernelCache(caching.FunctionCache):
    """Numba's cache, which here may be missing, read-only, full or broken without stopping the program."""

    _impl_class = _Implementation

    def load_overload(self, signature: Any, target_context: Any) -> Any:
        try:
            return super().load_overload(signature, target_context)
        except Exception:  # a truncated or foreign file can raise anything on its way through pickle and LLVM
            self._try(self.flush)
            return None

    def save_overload(self, signature: Any, data: Any) -> None:
        self._try(lambda: super(KernelCache, self).save_overload(signature, data))

    def _try(self, write: Callable[[], None]) -> None:
        try:
            write()
        except OSError as error:
            warnings.warn(
                f"compiled kernels cannot be kept in {CACHE_FOLDER} ({error}), so every new process compiles them again; "
                "set BPKERNEL_CACHE_DIR to a folder that can be written, or to nothing to do without a cache",
                RuntimeWarning,
                stacklevel=2,
            )
            self.disable()
