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


def _new_lock() -> None:
    global _one_launch
    _one_launch = threading.Lock()


if hasattr(os, "register_at_fork"):  # a thread that holds the lock does not exist in a forked child
    os.register_at_fork(after_in_child=_new_lock)


def launch(kernel: Callable[..., Result], *arguments: object) -> Result:
    """Call a parallel kernel; one at a time where the threading layer is workqueue."""
    numba.get_num_threads()  # starts the threading layer, which a kernel that comes from the cache takes for granted
    if numba.threading_layer() != "workqueue":
        return kernel(*arguments)
    with _one_launch:
        return kernel(*arguments)
