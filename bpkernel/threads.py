"""Floor 0: the threading layer under Numba's parallel loops, and the one way to start a parallel kernel from Python."""

import ctypes
import importlib.metadata
import os
import threading
from collections.abc import Callable
from typing import TypeVar

import numba

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

_one_launch = threading.Lock()
_started = False  # whether this process, or the one it was forked from, has launched a kernel
_forked = False  # whether it was forked from one that had


def _after_fork() -> None:
    global _one_launch, _forked
    _one_launch = threading.Lock()  # the thread that may have held it does not exist in the child
    _forked = _started


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def launch(kernel: Callable[..., Result], *arguments: object) -> Result:
    """Call a parallel kernel; one at a time where the threading layer is workqueue.

    Raises RuntimeError in a forked child where the layer is OpenMP, which would kill it.
    """
    global _started
    numba.get_num_threads()  # starts the threading layer, which a kernel that comes from the cache takes for granted
    layer = numba.threading_layer()
    if _forked and layer == "omp":
        raise RuntimeError(
            "this process was forked from one whose OpenMP threads had started, and they do not survive a fork: "
            "use the 'spawn' or 'forkserver' start method, or install tbb, which does"
        )
    _started = True
    if layer != "workqueue":
        return kernel(*arguments)
    with _one_launch:
        return kernel(*arguments)
