"""No warnings for a while, in several Python threads at once."""

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.Lock()
_n_silent = 0
_filters: "warnings.catch_warnings[None] | None" = None  # the change of the filters, made by the first thread


@contextmanager
def no_warnings() -> Iterator[None]:
    """Ignore all warnings.

    The filters belong to all threads.  Where two overlap, `warnings.catch_warnings` in each would leave those of one for ever:
    here the first thread changes them, and the last one puts them back.
    """
    global _n_silent, _filters
    with _lock:
        if _n_silent == 0:
            _filters = warnings.catch_warnings()
            _filters.__enter__()
            warnings.simplefilter("ignore")
        _n_silent += 1
    try:
        yield
    finally:
        with _lock:
            _n_silent -= 1
            if _n_silent == 0 and _filters is not None:
                _filters.__exit__(None, None, None)
