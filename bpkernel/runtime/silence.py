"""No warnings for a while, in several Python threads at once."""

import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.Lock()
_silent: dict[int, int] = {}  # by Python thread: how many calls of `no_warnings` it is in
_filters: "warnings.catch_warnings[None] | None" = None  # the change of the filters, made by the first thread


def _restore_if_last() -> None:
    global _filters
    if not _silent and _filters is not None:
        _filters.__exit__(None, None, None)
        _filters = None


def _after_fork() -> None:
    """Forget the threads that a child does not have, and the lock that one of them may have held."""
    global _lock
    _lock = threading.Lock()
    this = threading.get_ident()
    for thread in set(_silent) - {this}:
        del _silent[thread]
    _restore_if_last()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


@contextmanager
def no_warnings() -> Iterator[None]:
    """Ignore all warnings.

    The filters belong to all threads.  Where two overlap, `warnings.catch_warnings` in each would leave those of one for ever:
    here the first thread changes them, and the last one puts them back.
    """
    global _filters
    this = threading.get_ident()
    with _lock:
        if not _silent:
            _filters = warnings.catch_warnings()
            _filters.__enter__()
            warnings.simplefilter("ignore")
        _silent[this] = _silent.get(this, 0) + 1
    try:
        yield
    finally:
        with _lock:
            _silent[this] -= 1
            if not _silent[this]:
                del _silent[this]
            _restore_if_last()
