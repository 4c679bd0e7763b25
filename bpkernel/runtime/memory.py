"""Memory that begins on a cache line, in rows of whole cache lines; and memory that is used again."""

from collections.abc import Sequence

import numpy as np

from bpkernel.codegen.processor import LINE

KEPT_BYTES = 256 << 20  # most scratch memory, and most spare memory, that a net keeps between two calls of fit
PAGE = 4096  # bytes: with rows of a multiple of it, a whole column would share a few sets of the cache


def padded(n: int, dtype: np.dtype) -> int:
    """n numbers rounded up to whole cache lines."""
    per_line = LINE // dtype.itemsize
    return -(-n // per_line) * per_line


def row_length(n: int, dtype: np.dtype) -> int:
    """The numbers in a row of n: whole cache lines, and never a multiple of a page."""
    length = padded(n, dtype)
    return length if length * dtype.itemsize % PAGE else length + LINE // dtype.itemsize


def aligned_zeros(n: int, dtype: np.dtype) -> np.ndarray:
    """n zeros that begin on a cache line; pages that are never written take no memory."""
    raw = np.zeros(n * dtype.itemsize + LINE, np.uint8)
    start = -raw.__array_interface__["data"][0] % LINE
    return raw[start : start + n * dtype.itemsize].view(dtype)


class SpareMemory:
    """Arrays that are no longer needed, whose memory later copies take: to copy to new memory takes five times as long."""

    def __init__(self) -> None:
        self._arrays: list[np.ndarray] = []

    def copy(self, array: np.ndarray) -> np.ndarray:
        """A copy of an array."""
        for i, spare in enumerate(self._arrays):
            if spare.shape == array.shape and spare.dtype == array.dtype:
                del self._arrays[i]
                np.copyto(spare, array)
                return spare
        return array.copy()

    def keep(self, arrays: Sequence[np.ndarray]) -> None:
        """Take over some arrays, in place of those taken over before, unless they are large."""
        self._arrays = list(arrays) if sum(array.nbytes for array in arrays) <= KEPT_BYTES else []
