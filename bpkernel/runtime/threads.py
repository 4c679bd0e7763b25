"""The threading layer under Numba's parallel loops, and the one way to start a parallel kernel from Python."""

import ctypes
import importlib.metadata
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import numba

from bpkernel.codegen import threading_layer
from bpkernel.runtime.in_use import stack

UNLIMITED = nullcontext()
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

_one_launch = threading.RLock()  # of workqueue's threads
_running: dict[int, int] = {}  # by Python thread: the threads of the kernel that it runs, or is about to run
_forked = False  # whether this process was forked from one that had started the threading layer, with or without work


def _after_fork() -> None:
    global _one_launch, _forked
    _one_launch = threading.RLock()  # the thread that may have held it does not exist in the child
    _running.clear()
    _forked = _forked or threading_layer.is_started()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def available() -> int:
    """Threads that a kernel may use: what `numba.set_num_threads` has set, and one in a child forked under OpenMP.

    The call starts the threading layer.  OpenMP's threads do not survive a fork, and its library ends a child that starts
    others.
    """
    n_threads = int(numba.get_num_threads())
    return 1 if _forked and numba.threading_layer() == "omp" else n_threads


def launch(n_threads: int, kernel: Callable[..., None], *arguments: object, most: int | None = None) -> int:
    """Call `kernel(*arguments, n_running)`, made for n_threads, and return n_running, the threads that it ran on.

    n_running is `most`, by default n_threads, or fewer while other kernels of the process run.

    Waiting threads spin: two kernels on the same cores would be slower than one after the other.  Ctrl-C may interrupt between
    any two bytecodes, so a grant that is left behind must not count: see `busy_elsewhere`.
    """
    thread = threading.get_ident()
    try:
        n_running = n_threads if most is None else most
        _running[thread] = n_running  # first: of two launches at once, neither overlooks the other
        if n_threads > 1:
            n_running = _running[thread] = max(1, min(n_running, available() - busy_elsewhere()))
            if numba.threading_layer() == "workqueue":  # even if one thread works through the tasks of several
                with _one_launch:
                    kernel(*arguments, n_running)
                return n_running
        kernel(*arguments, n_running)
        return n_running
    finally:
        _running.pop(thread, None)


def busy_elsewhere() -> int:
    """Threads that kernels run on which other Python threads have called.

    A launch counts while it is on the stack of its Python thread, so that an interrupted one does not count for ever.
    """
    this = threading.get_ident()
    if _running.keys() <= {this}:
        return 0
    others = [(thread, n_running) for thread, n_running in list(_running.items()) if thread != this]
    return sum(n_running for thread, n_running in others if any(frame.f_code is launch.__code__ for frame in stack(thread)))


def use_one_thread() -> None:
    """Let the kernels that this Python thread calls run on one thread from now on."""
    numba.set_num_threads(1)


def limited(n_jobs: int | None) -> AbstractContextManager[None]:
    """Kernels of this Python thread run on up to n_jobs threads meanwhile; -1 for all, -2 for all but one; None: no change.

    Raises ValueError for 0.
    """
    return UNLIMITED if n_jobs is None else _limited(n_jobs)


@contextmanager
def _limited(n_jobs: int) -> Iterator[None]:
    if n_jobs == 0:
        raise ValueError("n_jobs must be None, a number of threads, or negative, where -1 means all; got 0")
    before, most = numba.get_num_threads(), numba.config.NUMBA_NUM_THREADS
    numba.set_num_threads(max(1, min(n_jobs if n_jobs > 0 else most + 1 + n_jobs, most)))
    try:
        yield
    finally:
        numba.set_num_threads(before)
