"""Where the numbers lie: aligned, apart from each other, and with padding that stays zero."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bpkernel as bp
from bpkernel.functions.activations import Tanh
from bpkernel.kernels.layout import Layout
from bpkernel.runtime.memory import aligned_zeros

DTYPES = [np.dtype("float32"), np.dtype("float64")]


@given(sizes=st.lists(st.integers(1, 70), min_size=2, max_size=5), dtype=st.sampled_from(DTYPES), data=st.data())
def test_no_two_views_share_a_number(sizes, dtype, data):
    normalised = [node for node in range(1, len(sizes) - 1) if data.draw(st.booleans())]
    layout = Layout(sizes, [Tanh] * (len(sizes) - 1), dtype, normalised=normalised)
    params = aligned_zeros(layout.n_params, dtype)
    for view in (*layout.weights(params), *layout.biases(params), *layout.gains(params), *layout.shifts(params)):
        view += 1
    n_parameters = sum((1 + n_in) * n_out for n_in, n_out in pairwise(sizes)) + 2 * sum(sizes[node] for node in normalised)
    assert params.sum() == layout.n_parameters == len(layout.vector(params)) == n_parameters
    assert params.max() == 1
    assert params[layout.positions()].all()
    numbers = np.arange(1, n_parameters + 1)
    layout.assign(params, numbers)
    np.testing.assert_array_equal(layout.vector(params), numbers)
    assert [view.shape for view in layout.gains(params)] == [(sizes[node],) for node in normalised]
    units = aligned_zeros(6 * layout.n_units, dtype)
    for view in layout.units(units, 6):
        view += 1
    second = sum(int(layout.nodes["row"][node]) for node in normalised)
    assert (units.sum(), units.max()) == (6 * sum(sizes), 1)
    assert layout.n_units == layout.nodes["row"].sum() + second
    for node in normalised:  # its second block is not that of another one
        first = 6 * int(layout.nodes["offset"][node] + layout.nodes["row"][node])
        block = units[first : first + 6 * int(layout.nodes["row"][node])]
        assert not block.any()
        block += 1


def all_pairs(n_nodes):
    return [(source, target) for target in range(1, n_nodes) for source in range(target)]


@given(sizes=st.lists(st.integers(1, 40), min_size=2, max_size=5), dtype=st.sampled_from(DTYPES), data=st.data())
def test_no_two_views_of_a_graph_share_a_number(sizes, dtype, data):
    chain = set(pairwise(range(len(sizes))))
    pairs = data.draw(st.permutations(sorted(chain | data.draw(st.sets(st.sampled_from(all_pairs(len(sizes))))))))
    layout = Layout(sizes, [Tanh] * (len(sizes) - 1), dtype, pairs)
    params = aligned_zeros(layout.n_params, dtype)
    for number, view in enumerate(layout.weights(params)):
        view += 1
        assert view.shape == tuple(sizes[node] for node in layout.pairs[number])
    for view in layout.biases(params):
        view += 1
    assert params.sum() == sum(sizes[source] * sizes[target] for source, target in pairs) + sum(sizes[1:])
    assert params.max() == 1
    assert layout.branches == (len(pairs) > len(chain))


@given(n_nodes=st.integers(2, 6), data=st.data())
def test_edges_are_sorted_and_found_from_both_ends(n_nodes, data):
    chain = set(pairwise(range(n_nodes)))
    pairs = data.draw(st.permutations(sorted(chain | data.draw(st.sets(st.sampled_from(all_pairs(n_nodes)))))))
    layout = Layout([3] * n_nodes, [Tanh] * (n_nodes - 1), DTYPES[0], pairs)
    assert list(layout.pairs) == sorted(pairs, key=lambda pair: pair[::-1])
    assert [(edge["source"], edge["target"]) for edge in layout.edges] == list(layout.pairs)
    for number, node in enumerate(layout.nodes):
        incoming = range(node["first_in"], node["end_in"])
        outgoing = layout.out_edges[node["first_out"] : node["end_out"]]
        assert [layout.pairs[edge] for edge in incoming] == [pair for pair in layout.pairs if pair[1] == number]
        assert [layout.pairs[edge] for edge in outgoing] == sorted(pair for pair in pairs if pair[0] == number)
        assert [int(layout.edges[edge]["bias"]) for edge in incoming] == [1, 0, 0, 0, 0, 0][: len(incoming)]
    transposed = [edge["transposed"] for edge in layout.edges if edge["source"] > 0]
    assert len(set(transposed)) == len(transposed)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("sizes", [(1, 1), (3, 1, 5), (16, 15, 17, 9), (7, 33, 2), (6, 1024, 5, 1024)])
@pytest.mark.parametrize("layer_norm", [False, True])
def test_padding_stays_zero_and_guards_stay_whole(sizes, layer_norm, dtype):
    """Training writes nothing between the rows, before the buffer or behind it."""
    own = {"layer_norm": [layer_norm and size > 1 for size in sizes[1:-1]], "random_state": 0}
    net = bp.MLP(sizes, activation="logistic", output_activation="logistic", dtype=dtype, **own)
    network, guard = net._network, 64
    guarded = np.full(network.layout.n_params + 2 * guard, 7, dtype)
    guarded[guard:-guard] = network.params
    network.params = guarded[guard:-guard]
    for kind in ("weights", "biases", "gains", "shifts"):
        setattr(network, kind, getattr(network.layout, kind)(network.params))
    rng = np.random.default_rng(0)
    net.fit(rng.uniform(0, 1, (53, sizes[0])), rng.uniform(0, 1, (53, sizes[-1])), epochs=3, batch_size=8)
    assert (guarded[:guard] == 7).all()
    assert (guarded[-guard:] == 7).all()
    for view in (*net.weights, *net.biases, *net.gains, *net.shifts):
        assert np.count_nonzero(view) == view.size
        view[:] = 0
    assert not network.params.any()
