"""The cache on disk of compiled kernels: one file for each, which appears complete or not at all."""

import contextlib
import functools
import hashlib
import itertools
import os
import pickle
import re
import time
import uuid
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
from numba.core import caching, sigutils
from numba.core.serialize import dumps
from numba.misc.appdirs import user_cache_dir

PACKAGE = Path(__file__).parent.parent

IMPORTED = time.time()


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
    for path in sorted(PACKAGE.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


CACHE_FOLDER = cache_folder()
SOURCE_STAMP = source_stamp()

# A file is named function-line.python.numba.sources.key.nbc.
NUMBA, SOURCES = numba.__version__.replace(".", "_"), SOURCE_STAMP[:16]
NAME = re.compile(r".*\.(?P<python>py\w+)\.(?P<numba>[^.]+)\.(?P<sources>\w{16})\.\w{32}\.nbc")
DIGEST = hashlib.sha256().digest_size


class _Files:
    """Numba's index and numbered data files, replaced by one file for each compiled kernel, named by its key.

    Processes that save at once need no lock: no file is shared by two keys, none is read in order to be changed, and each
    appears complete or not at all.  A file begins with a digest of its key and of all that follows.
    """

    def __init__(self, folder: str, base: str):
        self._folder, self._base = Path(folder), base

    def load(self, key: Any) -> Any:
        path, digest = self._find(key)
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        data = content[DIGEST:]
        return pickle.loads(data) if content[:DIGEST] == hashlib.sha256(digest + data).digest() else None

    def save(self, key: Any, compiled: Any) -> None:
        path, digest = self._find(key)
        data = dumps(compiled)
        temporary = path.with_name(f"{path.name}.tmp.{uuid.uuid4().hex[:16]}")
        try:
            temporary.write_bytes(hashlib.sha256(digest + data).digest() + data)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
        remove_old_files(self._folder, self._base.rpartition(".")[2])

    def flush(self) -> None:
        for path in self._folder.glob(f"{self._base}.*"):
            path.unlink(missing_ok=True)

    def _find(self, key: Any) -> tuple[Path, bytes]:
        digest = hashlib.sha256(repr((self._base, numba.__version__, SOURCE_STAMP, key)).encode())
        return self._folder / f"{self._base}.{NUMBA}.{SOURCES}.{digest.hexdigest()[:32]}.nbc", digest.digest()


@functools.cache  # once a process
def remove_old_files(folder: Path, python: str) -> None:
    """Delete kernels of other sources, and this Python's kernels of another version of Numba.

    What was written after this process began stays: it may belong to a process with newer sources.  A process with older
    sources that still runs compiles again what it misses.
    """

    def is_old(file: os.DirEntry[str]) -> bool:
        name = NAME.fullmatch(file.name)  # other names: formats of before, and what an interrupted process has left
        kept = name and name["sources"] == SOURCES and (name["python"] != python or name["numba"] == NUMBA)
        return bool(re.search(r"\.nb[ci]", file.name)) and not kept and file.stat().st_mtime < IMPORTED

    with contextlib.suppress(OSError), os.scandir(folder) as files:
        for file in itertools.islice(files, 10_000):
            with contextlib.suppress(OSError):
                if is_old(file):
                    os.unlink(file)


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

    def __init__(self, function: Callable[..., Any]):
        super().__init__(function)
        self._qualname = function.__qualname__
        self._cache_file = _Files(self._cache_path, self._impl.filename_base)

    def _index_key(self, signature: Any, codegen: Any) -> Any:
        """Without the values in the closure of a function that is named after its content: pickles of functions among them
        differ from process to process."""
        if hasattr(self._py_func, "content"):
            return signature, codegen.magic_tuple(), self._py_func.content
        return super()._index_key(signature, codegen)

    def load_overload(self, signature: Any, target_context: Any) -> Any:
        try:
            result = super().load_overload(signature, target_context)
            return result if result and self._is_asked_for(result, signature) else None
        except Exception:  # what another program has written can raise anything on its way through pickle and LLVM
            return None

    def _is_asked_for(self, result: Any, signature: Any) -> bool:
        arguments, _ = sigutils.normalize_signature(signature)
        address = result.library.get_pointer_to_function(result.fndesc.llvm_func_name)
        return result.signature.args == arguments and result.fndesc.qualname == self._qualname and address != 0

    def save_overload(self, signature: Any, data: Any) -> None:
        try:
            super().save_overload(signature, data)
        except OSError as error:
            warnings.warn(
                f"compiled kernels cannot be kept in {CACHE_FOLDER} ({error}), so every new process compiles them again; "
                "set BPKERNEL_CACHE_DIR to a folder that can be written, or to nothing to do without a cache",
                RuntimeWarning,
                stacklevel=2,
            )
            self.disable()
