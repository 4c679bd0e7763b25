"""Floor 0: the threading layer under Numba's parallel loops, and the one way to start a parallel kernel from Python."""

import ctypes
import importlib.metadata
import os
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
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
_granted: dict[int, int] = {}  # by Python thread: the threads that a kernel runs on, or is about to
_forked = False  # whether this process was forked from one whose threads had been started, with or without work


class _Own(threading.local):
    """What each Python thread has for itself."""

    reduced: tuple[int, int] | None = None  # threads granted, and Numba's number before, while a launch has reduced it


_own = _Own()


def _after_fork() -> None:
    global _one_launch, _forked
    _one_launch = threading.Lock()  # the thread that may have held it does not exist in the child
    _granted.clear()
    _forked = _forked or getattr(parallel, "_is_initialized", True)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def available() -> int:
    """Threads that a kernel may use: what `numba.set_num_threads` has set, and one in a child forked under OpenMP.

    To ask starts the threading layer.  OpenMP's threads do not survive a fork, and its library ends a child that starts
    others.
    """
    _put_back()
    n_threads = int(numba.get_num_threads())
    return 1 if _forked and numba.threading_layer() == "omp" else n_threads


def launch(n_threads: int, kernel: Callable[..., Result], *arguments: object) -> Result:
    """Call a kernel that runs on so many threads, or on fewer where others that this process has called are at work.

    A crew waits spinning: two of them on the same cores would be slower than one after the other.  Ctrl-C may interrupt
    between any two bytecodes, so nothing here relies on code that runs afterwards: see `busy_elsewhere` and `_put_back`.
    """
    thread = threading.get_ident()
    try:
        if n_threads == 1:
            _granted[thread] = 1
            return kernel(*arguments)
        n_available = available()
        _granted[thread] = n_threads  # before the look at the others: of two launches at once, none overlooks the other
        granted = _granted[thread] = max(1, min(n_threads, n_available - busy_elsewhere()))
        if granted < n_threads:
            _own.reduced = granted, numba.get_num_threads()
            numba.set_num_threads(granted)
        return _launch(kernel, *arguments)
    finally:
        _granted.pop(thread, None)
        if n_threads > 1:
            _put_back()


def busy_elsewhere() -> int:
    """Threads that kernels run on just now, called by other Python threads than this one.

    A launch counts while it is on the stack of its thread, so that an interrupted one does not count for ever.
    """
    me = threading.get_ident()
    if _granted.keys() <= {me}:
        return 0
    others = [(thread, granted) for thread, granted in list(_granted.items()) if thread != me]
    return sum(granted for thread, granted in others if any(f.f_code is launch.__code__ for f in stack(thread)))


def stack(thread: int) -> Iterator[FrameType]:
    """The calls that a Python thread is in, innermost first; none of a thread that has ended, also by a fork."""
    frame = sys._current_frames().get(thread)
    while frame is not None:
        yield frame
        frame = frame.f_back


def _put_back() -> None:
    """Give this thread its number of Numba threads back, if a launch has reduced it; here or, interrupted, at the next look."""
    if (reduced := _own.reduced) is not None:
        granted, before = reduced
        if numba.get_num_threads() == granted:  # else someone has set another since
            numba.set_num_threads(before)
        _own.reduced = None


def _launch(kernel: Callable[..., Result], *arguments: object) -> Result:
    """One at a time where the threads are those of workqueue, even if there is only one for a crew of more."""
    if numba.threading_layer() != "workqueue":
        return kernel(*arguments)
    with _one_launch:
        return kernel(*arguments)
