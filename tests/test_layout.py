"""Where the numbers lie: aligned, apart from each other, and with padding that stays zero."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bpkernel as bp
from bpkernel.layout import LINE, PAGE, Layout, aligned_zeros, row_length

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


@given(sizes=st.lists(st.integers(1, 70), min_size=2, max_size=5), dtype=st.sampled_from(DTYPES))
def test_no_two_views_share_a_number(sizes, dtype):
    layout = Layout(sizes, ["tanh"] * (len(sizes) - 1), dtype)
    params = aligned_zeros(layout.n_params, dtype)
    for view in (*layout.weights(params), *layout.biases(params)):
        view += 1
    assert params.sum() == sum((1 + n_in) * n_out for n_in, n_out in pairwise(sizes))
    assert params.max() == 1
    units = aligned_zeros(6 * layout.n_units, dtype)
    for view in layout.units(units, 6):
        view += 1
    assert (units.sum(), units.max()) == (6 * sum(sizes[1:]), 1)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("sizes", [(1, 1), (3, 1, 5), (16, 15, 17, 9), (7, 33, 2), (6, 1024, 5, 1024)])
def test_padding_stays_zero_and_guards_stay_whole(sizes, dtype):
    """Training writes nothing between the rows, before the buffer or behind it."""
    net = bp.MLP(sizes, activation="logistic", output_activation="logistic", dtype=dtype, random_state=0)
    network, guard = net._network, 64
    guarded = np.full(network.layout.n_params + 2 * guard, 7, dtype)
    guarded[guard:-guard] = network.params
    network.params = guarded[guard:-guard]
    network.weights, network.biases = network.layout.weights(network.params), network.layout.biases(network.params)
    rng = np.random.default_rng(0)
    net.fit(rng.uniform(0, 1, (53, sizes[0])), rng.uniform(0, 1, (53, sizes[-1])), epochs=3, batch_size=8)
    assert (guarded[:guard] == 7).all()
    assert (guarded[-guard:] == 7).all()
    for view in (*net.weights, *net.biases):
        assert np.count_nonzero(view) == view.size
        view[:] = 0
    assert not network.params.any()
