"""Cache lines and blocks: every number at its place, and nothing else written."""

import functools

import numpy as np
import pytest

from bpkernel.codegen import cache_lines
from bpkernel.codegen.jit import kernel
from bpkernel.codegen.processor import LINE
from bpkernel.runtime.memory import aligned_zeros

DTYPES = ["float32", "float64"]


@functools.cache
def transposing(halves, past):
    @kernel(entry=True, cache=False)
    def transpose(source, i, j, target, first):
        cache_lines.transpose(source, i, j, target, first, halves, past)

    return transpose


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("halves", "past"), [(1, 0), (2, 0), (2, 1)])
def test_a_block_is_transposed_and_nothing_else_is_written(halves, past, dtype):
    real = np.dtype(dtype)
    line, lane = LINE // real.itemsize, cache_lines.LANE // real.itemsize
    rows, first = line * halves // 2, line if past else 5
    source = np.arange(20 * 30, dtype=real).reshape(20, 30)
    target = aligned_zeros(40 * 3 * line, real).reshape(40, 3 * line)
    target[:] = -1
    transposing(halves, past)(source, 3, 16, target, first)
    np.testing.assert_array_equal(target[16 : 16 + lane, first : first + rows], source[3 : 3 + rows, 16 : 16 + lane].T)
    assert (target == -1).sum() == target.size - rows * lane


@kernel(entry=True)
def ask(matrix, i, j):
    cache_lines.prefetch(matrix, i, j)


def test_what_is_asked_for_may_lie_anywhere_and_is_not_touched():
    matrix = np.arange(20.0).reshape(4, 5)
    for i, j in ((0, 0), (3, 4), (4, 5), (-1, -1), (1 << 40, 1 << 40)):
        ask(matrix, i, j)
    np.testing.assert_array_equal(matrix, np.arange(20.0).reshape(4, 5))


@kernel(entry=True)
def stream(source, n, j, target, m, k):
    cache_lines.stream_line(source, n, j, target, m, k)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_line_is_copied_past_the_caches_and_nothing_else(dtype):
    per = LINE // np.dtype(dtype).itemsize
    source, target = (aligned_zeros(4 * 3 * per, np.dtype(dtype)).reshape(4, 3 * per) for _ in range(2))
    source[:], target[:] = np.random.default_rng(0).standard_normal(source.shape), 7
    expected = target.copy()
    expected[2, per : 2 * per] = source[1, 3 : 3 + per]  # from anywhere, to a whole line
    stream(source, 1, 3, target, 2, per)
    np.testing.assert_array_equal(target, expected)
