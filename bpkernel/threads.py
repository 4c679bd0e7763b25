"""Floor 0: the threading layer under Numba's parallel loops, and the one way to start a parallel kernel from Python."""

import ctypes
import importlib.metadata
import os
import threading
from collections.abc import Callable
from typing import TypeVar

import numba
from numba.np.ufunc import parallel

Result = TypeVar("Result")

TBB_LIBRARIES = ("libtbb.so.12", "tbb12.dll", "libtbb.12.dylib")


def load_tbb() -> bool:
    """Load PyPI's TBB, which Numba does not find by itself, so that Numba prefers it to OpenMP and workqueue.

    TBB survives a fork and concurrent launches.  OpenMP kills a forked child that launches a kernel; workqueue kills
    the process when two threads launch at once, and costs about 100 µs a launch.
    """
    try:
        files = importlib.metadata.files("tbb") or []
    except importlib.metadata.PackageNotFoundError:
        return False
    for file in files:
        if file.name in TBB_LIBRARIES:
            try:
                ctypes.CDLL(str(file.locate()), mode=ctypes.RTLD_GLOBAL)
            except OSError:
                return False
            return True
    return False


load_tbb()

_one_launch = threading.Lock()  # of workqueue's threads
_count = threading.Lock()
_busy = 0  # threads that kernels run on just now; guarded by _count
_forked = False  # whether this process was forked from one whose threads had been started, with or without work


def _after_fork() -> None:
    global _one_launch, _count, _busy, _forked
    _one_launch, _count = threading.Lock(), threading.Lock()  # the thread that may have held them does not exist in the child
    _busy = 0
    _forked = _forked or getattr(parallel, "_is_initialized", True)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def available() -> int:
    """Threads that a kernel may use: what `numba.set_num_threads` has set, and one in a child forked under OpenMP.

    To ask starts the threading layer.  OpenMP's threads do not survive a fork, and its library ends a child that starts
    others.
    """
    n_threads = int(numba.get_num_threads())
    return 1 if _forked and numba.threading_layer() == "omp" else n_threads


def launch(n_threads: int, kernel: Callable[..., Result], *arguments: object) -> Result:
    """Call a kernel that runs on so many threads, or on fewer where others that this process has called are at work.

    A crew waits spinning: two of them on the same cores would be slower than one after the other.
    """
    global _busy
    with _count:
        granted = 1 if n_threads == 1 else max(1, min(n_threads, available() - _busy))
        _busy += granted
    try:
        if granted == n_threads:
            return _launch(n_threads, kernel, *arguments)
        before = numba.get_num_threads()
        numba.set_num_threads(granted)
        try:
            return _launch(n_threads, kernel, *arguments)
        finally:
            numba.set_num_threads(before)
    finally:
        with _count:
            _busy -= granted


def _launch(n_threads: int, kernel: Callable[..., Result], *arguments: object) -> Result:
    """One at a time where the threads are those of workqueue, even if there is only one for a crew of more."""
    if n_threads == 1 or numba.threading_layer() != "workqueue":
        return kernel(*arguments)
    with _one_launch:
        return kernel(*arguments)
