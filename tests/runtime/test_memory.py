"""Memory that begins on a cache line, in rows of whole cache lines."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bpkernel.codegen.processor import LINE
from bpkernel.runtime.memory import PAGE, aligned_zeros, padded, row_length

DTYPES = [np.dtype("float32"), np.dtype("float64")]


@given(n_out=st.integers(1, 5000), dtype=st.sampled_from(DTYPES))
def test_rows_are_whole_lines_and_no_pages(n_out, dtype):
    length = row_length(n_out, dtype)
    size = length * dtype.itemsize
    assert length >= n_out
    assert size % LINE == 0
    assert size % PAGE != 0
    assert size - n_out * dtype.itemsize <= 2 * LINE


@given(n=st.integers(1, 1000), dtype=st.sampled_from(DTYPES))
def test_buffers_are_aligned_zeros(n, dtype):
    buffer = aligned_zeros(n, dtype)
    assert (buffer.shape, buffer.dtype) == ((n,), dtype)
    assert buffer.ctypes.data % LINE == 0
    assert not buffer.any()


@given(n=st.integers(1, 5000), dtype=st.sampled_from(DTYPES))
def test_padded_is_the_next_number_of_whole_lines(n, dtype):
    found = padded(n, dtype)
    assert found * dtype.itemsize % LINE == 0
    assert 0 <= (found - n) * dtype.itemsize < LINE
