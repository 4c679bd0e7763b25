"""Packed weights and units: every number at its place, nothing beyond it, and the same sums as without them."""

import numpy as np
import pytest
import scipy.sparse

import bpkernel as bp
from bpkernel.codegen.jit import kernel
from bpkernel.codegen.processor import LINE, ROWS, VECTOR, VECTORS
from bpkernel.codegen.tiles import per_line
from bpkernel.codegen.views import rows_from
from bpkernel.functions import activations, losses
from bpkernel.kernels import layout, operands, packing, partition
from bpkernel.mini_batches import MiniBatches
from bpkernel.network import Network
from bpkernel.runtime.memory import aligned_zeros, padded

GUARD = 7.0
panels = pytest.mark.skipif(
    not layout.HAS_PANELS, reason="no edge is packed in panels, as a row of a tile is half a cache line"
)
SIZES = (1, 2, 5, 6, 7, 15, 16, 17, 31, 32, 33, 47, 49, 63, 64, 65, 97, 131)


@kernel(entry=True)
def run_pack_groups(net, packed, groups):
    for i in range(groups.size):
        packing.pack_group(net, packed, groups[i])


@kernel(entry=True)
def run_pack_units(node, z, first, n_samples, packed):
    own = rows_from(z, 0, z.shape[0], per_line(z))
    packing.pack_z(node[0], own, first, n_samples, packed)
    packing.pack_deltas(node[0], own, first, n_samples, packed)


@pytest.fixture
def all_wide(monkeypatch):
    monkeypatch.setattr(layout, "WIDE_BYTES", 0)
    monkeypatch.setattr(layout, "WIDE_UNITS", 1)
    monkeypatch.setattr(layout, "PACKS_ALL", True)


def panels_of(matrix, width, most):
    """The panels of a matrix (n_rows, ≥ width), each (n_rows, ≤ most)."""
    return [matrix[:, j : min(j + most, width)] for j in range(0, width, most)]


def guarded(n, dtype):
    """n zeros with a guard zone before and behind them, which are both also returned."""
    per = LINE // np.dtype(dtype).itemsize
    whole = aligned_zeros(n + 2 * per, np.dtype(dtype))
    whole[:per], whole[per + n :] = GUARD, GUARD
    return whole[per : per + n], (whole[:per], whole[per + n :])


@panels
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n", SIZES)
def test_weights_are_packed_in_panels_and_nothing_else_is_written(n, dtype, all_wide):
    real, rng = np.dtype(dtype), np.random.default_rng(n)
    most = VECTORS * VECTOR // real.itemsize
    for sizes in ((3, n, 21), (3, 29, n)):
        functions = [activations.BY_NAME["tanh"]] * 2
        network = Network(sizes, functions, losses.BY_NAME["squared_error"], real)
        own = network.layout
        for view in (*network.weights, *network.biases):
            view[...] = rng.standard_normal(view.shape)
        packed, guards = guarded(own.n_packed, dtype)
        run_pack_groups(network.compiled, packed, partition.weight_groups(own, 2, chunked=False)[1])
        for edge, w, b in zip(own.edges, network.weights, network.biases, strict=True):
            start, n_in, n_out = int(edge["packed"]), int(edge["n_in"]), int(edge["n_out"])
            rows = np.zeros((1 + n_in, padded(n_out, real)), real)
            rows[0, :n_out], rows[1:, :n_out] = b, w
            for panel in panels_of(rows, padded(n_out, real), most):
                np.testing.assert_array_equal(packed[start : start + panel.size].reshape(panel.shape), panel)
                assert panel.any()
                start += panel.size
            if edge["source"] == 0:
                continue
            start, rows = int(edge["transposed"]), np.zeros((padded(n_out, real), padded(n_in, real)), real)
            rows[:n_out, :n_in] = w.T
            for panel in panels_of(rows, padded(n_in, real), most):
                found = packed[start : start + panel.size].reshape(panel.shape)
                np.testing.assert_array_equal(found[:n_out], panel[:n_out])
                start += panel.size
        assert all((guard == GUARD).all() for guard in guards)


@panels
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n", SIZES)
def test_units_are_packed_in_tiles_and_panels_and_nothing_else_is_written(n, dtype, all_wide):
    real, rng, n_samples = np.dtype(dtype), np.random.default_rng(n), 41
    most, per = VECTORS * VECTOR // real.itemsize, LINE // real.itemsize
    own = Network((5, n, 3), [activations.BY_NAME["tanh"]] * 2, losses.BY_NAME["squared_error"], real).layout
    node, width = own.nodes[1:2].copy(), padded(n, real)
    node["z_tiles"], node["delta_panels"] = 0, padded(-(-n // ROWS) * ROWS, real)
    packed, guards = guarded((int(node["delta_panels"][0]) + width) * n_samples, dtype)
    z = aligned_zeros(n_samples * (per + width), real).reshape(n_samples, -1)
    z[:, per : per + n] = rng.standard_normal((n_samples, n))
    for first, end in ((0, 7), (7, n_samples)):  # two blocks of a batch
        run_pack_units(node, z[first:end], first, n_samples, packed)
    for start, tile in zip(range(0, n, ROWS), panels_of(z[:, per : per + n], n, ROWS), strict=True):
        found = packed[start * n_samples :][: n_samples * ROWS].reshape(n_samples, ROWS)
        np.testing.assert_array_equal(found[:, : tile.shape[1]], tile)
        assert not found[:, tile.shape[1] :].any()
    start = int(node["delta_panels"][0]) * n_samples
    for panel in panels_of(z[:, per:], width, most):
        np.testing.assert_array_equal(packed[start : start + panel.size].reshape(panel.shape), panel)
        assert panel.any()
        start += panel.size
    assert all((guard == GUARD).all() for guard in guards)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("sizes", "connections", "batch_size"),
    [
        ((100, 100, 100), None, 64),
        ((37, 131, 70, 29), "all", 50),
        ((64, 257, 24), None, 33),
        ((90, 64, 64, 64), [(0, 1), (1, 2), (1, 3), (2, 3)], 9),
        ((7, 1, 5, 2), None, 20),
        ((40, 30, 3), None, 5000),  # in chunks
    ],
)
@panels
@pytest.mark.parametrize("packs_all", [True, False])
def test_packing_changes_no_bit_of_training(packs_all, dtype, sizes, connections, batch_size, monkeypatch):
    monkeypatch.setattr(layout, "PACKS_ALL", packs_all)
    rng, n = np.random.default_rng(0), 2 * batch_size + 5
    X, T = rng.standard_normal((n, sizes[0])).astype(dtype), rng.standard_normal((n, sizes[-1])).astype(dtype)
    parameters, gradients = [], []
    for wide in (0, 1 << 60):
        monkeypatch.setattr(layout, "WIDE_BYTES", wide)
        monkeypatch.setattr(layout, "WIDE_UNITS", 1)
        net = bp.MLP(sizes, dtype=dtype, random_state=0, connections=connections)
        assert net._network.layout.edges["wide"].all() == (wide == 0)
        net.fit(X, T, epochs=2, batch_size=batch_size, alpha=0.01)
        found = net.backprop(X, T)
        parameters.append(np.concatenate([w.ravel() for w in (*net.weights, *net.biases)]))
        gradients.append(np.concatenate([w.ravel() for w in (*found.dw, *found.db)]))
    assert np.isfinite(parameters[0]).all()
    assert parameters[0].any()
    assert gradients[0].any()
    np.testing.assert_array_equal(*parameters)
    np.testing.assert_array_equal(*gradients)


def test_nothing_is_wide_where_a_row_of_a_tile_is_less_than_a_cache_line(all_wide, monkeypatch):
    monkeypatch.setattr(layout, "HAS_PANELS", False)
    functions = [activations.BY_NAME["tanh"]] * 2
    own = Network((300, 300, 300), functions, losses.BY_NAME["squared_error"], np.dtype(np.float32)).layout
    assert not own.edges["wide"].any()
    assert own.n_packed_units == 0


@pytest.mark.parametrize("batch_size", [1500, 40])
@pytest.mark.parametrize("kind", ["dense", "sparse", "few weights"])
def test_chunks_in_parts_have_the_same_bits(kind, batch_size, monkeypatch):
    rng, n = np.random.default_rng(0), 3100
    X, T = rng.standard_normal((n, 5)).astype(np.float32), rng.standard_normal((n, 3)).astype(np.float32)
    masks = {(1, 2): rng.random((40, 40)) < 0.02} if kind == "few weights" else None
    found = []
    for second_level in (1, 1 << 40):
        monkeypatch.setattr(partition, "SECOND_LEVEL_CACHE", second_level)
        net = bp.MLP((5, 40, 40, 3), random_state=0, masks=masks)
        layout_of_net = net._network.layout
        n_chunks = partition.n_chunks_of(layout_of_net, batch_size)
        assert bool(partition.samples_together(layout_of_net, batch_size, n_chunks)) == (second_level == 1 and batch_size > 40)
        if kind == "sparse":
            network, step = net._network, operands.no_step(layout_of_net)
            own = operands.sparse_samples(scipy.sparse.csr_array(X), T, np.ones(n, np.float32), layout_of_net)
            batches = MiniBatches(network, step, batch_size)
            batches.run(own, np.arange(n), np.zeros((1, 3)))
            found.append(batches.work.gradient)
        else:
            net.fit(X, T, epochs=2, batch_size=batch_size)
            found.append(net._network.params)
    assert np.isfinite(found[0]).all()
    assert found[0].any()
    np.testing.assert_array_equal(*found)


def test_scratch_memory_is_kept_for_the_next_fit_and_changes_nothing():
    rng = np.random.default_rng(0)
    X, T = rng.standard_normal((300, 70)).astype(np.float32), rng.standard_normal((300, 65)).astype(np.float32)
    found = []
    for kept in (True, False):
        net, optimizer = bp.MLP((70, 600, 65), random_state=0), bp.Adam()
        for batch_size in (50, 50, 20, 50, 50):
            net.fit(X, T, epochs=1, batch_size=batch_size, optimizer=optimizer)
            assert len(net._network._for_training) == 1
            if not kept:
                net._network._for_training.clear()
        found.append(net._network.params.copy())
        with pytest.raises(FloatingPointError):
            net.fit(X, T, epochs=1, batch_size=50, optimizer=bp.SGD(1e30))
        assert not net._network._for_training  # what a failed training leaves may hold NaN
    assert found[0].any()
    np.testing.assert_array_equal(*found)
