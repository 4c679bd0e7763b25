"""Memory that begins on a cache line, in rows of whole cache lines."""

import numpy as np

from bpkernel.codegen.processor import LINE

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
