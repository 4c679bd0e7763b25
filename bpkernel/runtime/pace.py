"""How much work goes into one compiled call, between which Python may be interrupted and show progress."""

import time
from collections.abc import Callable, Iterator

SECONDS = 0.1  # about how long one compiled call may take: Ctrl-C and the progress bar wait for its end


class Pace:
    """How many mini-batches make a compiled call of about SECONDS; each call is measured for the next one."""

    def __init__(self) -> None:
        self._batches = 1

    def parts(self, n: int, batch_size: int, seconds: Callable[[], float] = lambda: SECONDS) -> Iterator[slice]:
        """Slices of n samples, each of whole mini-batches; the time the caller takes before the next slice is measured.

        `seconds()` is asked after each slice about how long the next one may take.
        """
        first = 0
        while first < n:
            start = time.perf_counter()
            part = slice(first, min(first + self._batches * batch_size, n))
            yield part
            taken = max(time.perf_counter() - start, 1e-9)
            growth = min(2.0, seconds() / taken)  # small, as a first call may compile too
            self._batches = min(max(1, int(self._batches * growth)), -(-n // batch_size))
            first = part.stop
