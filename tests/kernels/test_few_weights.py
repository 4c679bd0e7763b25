"""Loops over lists of present weights: the bits of the tiles, with guard zones around every operand, and in whole nets."""

import numba
import numpy as np
import pytest
import scipy.sparse
from kernels.test_sums import Guarded, panels_for, run_gradient, run_pre_activations, view

import bpkernel as bp
from bpkernel.codegen.jit import kernel
from bpkernel.codegen.precision import Precision
from bpkernel.codegen.processor import LINE
from bpkernel.derivatives import Gradient
from bpkernel.functions import optimizer as base
from bpkernel.functions import optimizers
from bpkernel.kernels import few_weights, operands, partition
from bpkernel.kernels.layout import Layout
from bpkernel.mini_batches import MiniBatches
from bpkernel.runtime.memory import padded

DTYPES = ["float32", "float64"]
SIZES = [1, 7, 8, 9, 15, 16, 17, 31]
N_SAMPLES = [1, 5, 8, 40, 200]
SHARES = [0, 0.1, 0.5, 1]


@kernel(entry=True)
def run_sums(pointer, i, j, bias, add, w, z, width, a):
    few_weights.sums_of_few(pointer, (i, j, bias, add, view(w), view(z), width, view(a)))


@kernel(entry=True)
def run_gradient_of_few(pointer, i, j, z, delta, g):
    few_weights.gradient_of_few(pointer, (i, j, 0, view(z), view(delta), g))


@kernel(entry=True)
def run_total(pointer, i, j, row, g, total):
    few_weights.total_of_few(pointer, (i, j, row, g, total))


@kernel(entry=True)
def run_penalties(pointer, i, j, bias, l2, l1, row, w, g):
    few_weights.penalties_of_few(pointer, (i, j, bias, l2, l1, row, w, g))


@kernel(entry=True)
def run_step(pointer, update, i, j, row, w, g, state, factors, scratch):
    few_weights.step_of_few(pointer, (update, i, j, row, w, g, view(state), factors, view(scratch)))


@kernel(entry=True)
def run_update(pointer, w, g, state, factors):
    base.update(pointer, (w, g, view(state), factors))


def pointers(dtype):
    """The lists of some net, for their pointers."""
    layout = Layout((1, 1), [bp.MLP((1, 1))._network.layout.activations[0]], np.dtype(dtype))
    mask = np.ones(layout.n_params, bool)
    layout.weights(mask)[0][:] = False
    return few_weights.lists_of(layout, mask)[1]


def places(mask, bias):
    """Rows and columns of the present weights, sorted by row, without those of biases."""
    i, j = np.nonzero(mask)
    return (i + bias).astype(np.uint32), j.astype(np.uint32)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("size", SIZES)
def test_the_sums_have_the_bits_of_the_tiles_and_write_what_they_own(size, share, dtype):
    """Each size as the units before and as the units after, with every number of samples."""
    for n_samples in N_SAMPLES:
        for n_in, n_out in ((size, 21), (19, size)):
            for bias in (0, 1):
                check_sums(np.random.default_rng(size), n_samples, n_in, n_out, bias, share, dtype)


def check_sums(rng, n_samples, n_in, n_out, bias, share, dtype):
    panels, lists, real = panels_for((n_in, n_out), dtype), pointers(dtype), np.dtype(dtype)
    mask = rng.random((n_in, n_out)) < share
    i, j = places(mask, bias)
    w, z = Guarded(bias + n_in, n_out, dtype).fill(rng, n_out), Guarded(n_samples, bias + n_in, dtype).fill(rng, bias + n_in)
    w.array[bias:, :n_out] *= mask
    z.array[:, :bias] = 1
    a, tiles = (Guarded(n_samples, n_out, dtype) for _ in range(2))
    a.array[:, : a.width] = np.nan  # of an earlier batch
    for add in range(2):
        own = w.array[bias * add :], z.array[:, bias * add :]  # the edges that add have no biases
        run_sums(lists.sums, i - bias * add, j, bias * (1 - add), add, *own, padded(n_out, real), a.array)
        run_pre_activations(panels, add, *own, padded(n_out, real), tiles.array)
        np.testing.assert_array_equal(a.array, tiles.array)
        assert a.array[:, :n_out].any() or (bias == 0 and not mask.any())
        assert a.is_whole()

    delta = Guarded(n_samples, n_out, dtype).fill(rng, n_out)
    whole_i, whole_j = np.r_[np.zeros(n_out * bias, np.uint32), i], np.r_[np.arange(n_out * bias, dtype=np.uint32), j]
    g, dw = Guarded(1, len(whole_i), dtype), Guarded(bias + n_in, n_out, dtype)
    run_gradient_of_few(lists.gradient, whole_i, whole_j, z.array, delta.array, g.array[0, : len(whole_i)])
    run_gradient(panels, 0, z.array, delta.array, 0, bias + n_in - 1, padded(n_out, real), dw.array)
    np.testing.assert_array_equal(g.array[0, : len(whole_i)], dw.array[whole_i, whole_j])
    assert g.is_whole()
    total = Guarded(bias + n_in, n_out, dtype)
    for _ in range(2):
        own = total.array.reshape(-1)
        run_total(lists.total, whole_i, whole_j, total.row, g.array[0, : len(whole_i)], own)
    expected = np.zeros((bias + n_in, n_out), dtype)
    expected[whole_i, whole_j] = 2 * g.array[0, : len(whole_i)]
    np.testing.assert_array_equal(total.array[:, :n_out], expected)
    assert total.is_whole()

    lead = LINE // real.itemsize
    transposed = Guarded(n_out, n_in, dtype)
    transposed.array[:, :n_in] = w.array[bias:, :n_out].T
    d, tiles = Guarded(n_samples, lead + n_in, dtype), Guarded(n_samples, n_in, dtype)
    d.array[:, lead : d.width] = np.nan
    d.array[:, :lead] = 3
    for add in range(2):
        own = delta.array, padded(n_in, real), d.array[:, lead - bias :]
        run_sums(lists.deltas, i, j, bias, add, w.array, *own)
        run_pre_activations(panels, add, transposed.array, delta.array, padded(n_in, real), tiles.array)
        np.testing.assert_array_equal(d.array[:, lead : d.width], tiles.array[:, : tiles.width])
        assert d.array[:, lead:].any() or not mask.any()
        assert (d.array[:, :lead] == 3).all()
        assert d.is_whole()


def some_places(rng, n_present, n_out):
    """Rows and columns of some weights of 40 rows."""
    mask = np.zeros(n_out * 40, bool)
    mask[rng.choice(mask.size, n_present, replace=False)] = True
    return places(mask.reshape(40, n_out), 0)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bias", [0, 1])
@pytest.mark.parametrize(("l2", "l1"), [(0.5, 0.0), (0.0, 0.25), (0.5, 0.25), (0.0, 0.0)])
@pytest.mark.parametrize("n_present", [0, 1, 17, 600])
def test_penalties_are_added_for_weights_but_not_for_biases(n_present, l2, l1, bias, dtype):
    rng, n_out = np.random.default_rng(0), 31
    i, j = some_places(rng, n_present, n_out)
    i[: n_present // 10] = 0  # the first row is in the list, whether it is of biases or not
    w, g = Guarded(40, n_out, dtype).fill(rng, n_out), Guarded(1, n_present, dtype)
    w.array[::7, ::3] = 0  # whose sign is 0
    given = rng.standard_normal(n_present).astype(dtype)
    g.array[0, :n_present] = given
    before = w.whole.copy()
    run_penalties(pointers(dtype).penalties, i, j, bias, l2, l1, w.row, w.array.reshape(-1), g.array[0, :n_present])
    own = w.array[i, j]
    penalised = (i >= bias) & (own != 0)
    expected = given + np.where(penalised, l2 * own.astype(float) + l1 * np.sign(own), 0)
    found = g.array[0, :n_present]
    assert ((found != given) == (penalised & (l2 + l1 > 0))).all()
    np.testing.assert_allclose(found, expected, rtol=4 * np.finfo(dtype).eps, atol=4 * np.finfo(dtype).eps)
    if n_present == 600:
        assert 0 < penalised.sum() < n_present
    np.testing.assert_array_equal(w.whole, before)
    assert g.is_whole()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("optimizer", [kind(0.1) for kind in optimizers.OPTIMIZERS], ids=lambda o: type(o).__name__)
@pytest.mark.parametrize("n_present", [0, 1, 255, 256, 257, 600])
def test_a_step_changes_the_listed_weights_only(n_present, optimizer, dtype):
    rng, precision, lists, n_out = np.random.default_rng(0), Precision.of(np.dtype(dtype)), pointers(dtype), 31
    i, j = some_places(rng, n_present, n_out)
    w = Guarded(40, n_out, dtype).fill(rng, n_out)
    state = np.abs(rng.standard_normal((optimizer.n_slots, w.array.size))).astype(dtype)
    update, n_factors = base.pointer_to_update(optimizer.update, precision), optimizer.n_factors
    factors, scratch = np.linspace(0.1, 0.9, n_factors), np.zeros((1 + optimizer.n_slots, few_weights.PIECE), dtype)
    g = rng.standard_normal(n_present).astype(dtype)
    before, before_state, given = w.whole.copy(), state.copy(), g.copy()
    run_step(lists.step, update, i, j, w.row, w.array.reshape(-1), g, state, factors, scratch)
    at = i.astype(int) * w.row + j
    expected, own_state = before[1:-1].reshape(-1)[at], np.ascontiguousarray(before_state[:, at])
    run_update(update, expected, given, own_state, factors)  # on all of them at once
    np.testing.assert_allclose(w.array.reshape(-1)[at], expected, rtol=10 * np.finfo(dtype).eps, atol=1e-6)
    np.testing.assert_allclose(state[:, at], own_state, rtol=1e-5, atol=1e-6)
    others = np.ones(w.array.size, bool)
    others[at] = False
    assert (w.array.reshape(-1)[at] != before[1:-1].reshape(-1)[at]).all()
    np.testing.assert_array_equal(w.array.reshape(-1)[others], before[1:-1].reshape(-1)[others])
    np.testing.assert_array_equal(state[:, others], before_state[:, others])
    assert w.is_whole()


# ---------------------------------------------------------------------------------------------------------- whole nets


def random_net(dtype, few, monkeypatch, seed=0):
    monkeypatch.setattr(few_weights, "FEW", few)
    rng = np.random.default_rng(seed)
    sizes = (9, 17, 31, 16)
    shares = {(0, 1): 0.3, (1, 2): 0.2, (0, 2): 0.1, (2, 3): 0, (1, 3): 0.5, (0, 3): 1}
    masks = {pair: rng.random((sizes[pair[0]], sizes[pair[1]])) < share for pair, share in shares.items()}
    net = bp.MLP(sizes, connections="all", masks=masks, dtype=dtype, random_state=seed)
    n_listed = np.count_nonzero(net._network.compiled.edges["first_present"])
    assert n_listed == (5 if few else 0)
    assert all(net._network.layout.edges["first_present"] == 0)
    return net


def data(n_samples, dtype):
    rng = np.random.default_rng(1)
    return rng.standard_normal((n_samples, 9)).astype(dtype), rng.standard_normal((n_samples, 16)).astype(dtype)


def numbers(net, X, T, optimizer, batch_size):
    """All that training and inference make of a net."""
    loss = net.fit(X, T, 2, batch_size, optimizer, alpha=0.1, l1=0.02).loss
    b, y = net.backprop(X, T), np.empty(16)
    net.as_njit()(X[0], y)
    return [np.array(loss), *net.weights, *net.biases, *b.dw, *b.db, net.predict(X), net.predict(X[:1]), y]


def assert_same(one, two):
    for x, y in zip(one, two, strict=True):
        np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("make", [lambda: bp.SGD(0.01, 0.9, True), lambda: bp.Adam(0.01)], ids=["SGD", "Adam"])
@pytest.mark.parametrize("batch_size", N_SAMPLES)
@pytest.mark.parametrize("chunked", [False, True])
def test_training_and_outputs_have_the_bits_of_the_tiles(chunked, batch_size, make, dtype, monkeypatch):
    if chunked:
        if batch_size < 40:
            pytest.skip("no chunks of so few samples")
        monkeypatch.setattr(partition, "n_chunks_of", lambda layout, batch_size: 4)
    X, T = data(200, dtype)
    tiles, lists = (numbers(random_net(dtype, few, monkeypatch), X, T, make(), batch_size) for few in (0, 1))
    assert all(x.any() for x in (*tiles[1:3], tiles[-1]))
    assert_same(tiles, lists)
    np.testing.assert_array_equal(lists[-2], lists[-3][:1])
    np.testing.assert_array_equal(lists[-1], lists[-3][0])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", optimizers.OPTIMIZERS)
def test_all_optimizers_have_the_bits_of_the_tiles(kind, dtype, monkeypatch):
    X, T = data(60, dtype)
    tiles, lists = (numbers(random_net(dtype, few, monkeypatch), X, T, kind(0.01), 25) for few in (0, 1))
    assert all(x.any() for x in (*tiles[1:3], tiles[-1]))
    assert_same(tiles, lists)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("chunked", [False, True])
def test_sparse_inputs_have_the_bits_of_the_tiles_too(chunked, dtype, monkeypatch):
    """The edges from the inputs then have no use for their lists."""
    monkeypatch.setattr(partition, "n_chunks_of", lambda layout, batch_size: 4 if chunked else 0)
    X, T = data(200, dtype)
    X, s, results = scipy.sparse.csr_array(np.where(X > 0.5, X, 0)), np.ones(200, dtype), []
    for few in (0, 1):
        network, optimizer = random_net(dtype, few, monkeypatch)._network, bp.Adam(0.01)
        layout, present = network.layout, network.present
        samples, settings = operands.sparse_samples(X, T, s, layout), optimizer.settings(np.dtype(dtype))
        step = operands.step(bp.Adam, settings, *optimizer.bind(layout), layout)
        total = np.zeros((1, 3))
        MiniBatches(network, step, 40).run(samples, np.arange(200), total)
        gradient = Gradient(network, 40)(samples)[1].copy()
        assert gradient.any()
        assert not gradient[~present].any()
        results.append([total, network.params, gradient])
    assert_same(*results)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("chunked", [False, True])
def test_one_and_two_threads_give_the_same_bits(chunked, dtype, monkeypatch):
    if numba.config.NUMBA_NUM_THREADS < 2:
        pytest.skip("needs two threads")
    monkeypatch.setattr(partition, "WORTH_A_THREAD", 1)
    monkeypatch.setattr(partition, "n_chunks_of", lambda layout, batch_size: 4 if chunked else 0)
    results, before = [], numba.get_num_threads()
    try:
        for n_threads in (1, 2):
            numba.set_num_threads(n_threads)
            results.append(numbers(random_net(dtype, 1, monkeypatch), *data(200, dtype), bp.Adam(0.01), 80))
    finally:
        numba.set_num_threads(before)
    assert_same(*results)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("batch_size", [5, 40])
def test_a_net_may_be_pruned_while_it_is_trained(batch_size, dtype, monkeypatch):
    X, T = data(200, dtype)
    results = []
    for few in (0, 1):
        monkeypatch.setattr(few_weights, "FEW", few)
        net = bp.MLP((9, 17, 31, 16), connections="all", dtype=dtype, random_state=0)
        predict, y = net.as_njit(), np.empty(16)
        before = net.predict(X[:1])

        def prune(*_, net=net):
            net.prune(0.3)

        net.fit(X, T, 4, batch_size, bp.Adam(0.01), callback=prune)
        predict(X[0], y)
        np.testing.assert_array_equal(y, net.predict(X[:1])[0])
        assert (y != before[0]).all()
        assert np.count_nonzero(net._network.compiled.edges["first_present"]) == 6 * few
        assert max(np.count_nonzero(w) / w.size for w in net.weights) < 1
        results.append([*net.weights, *net.biases, y, net.predict(X)])
    assert_same(*results)


def test_an_edge_may_lack_all_of_its_weights(monkeypatch):
    """As the only edge of a net with a list, which is then empty."""
    X, T = data(40, "float64")
    results = []
    for few in (0, 1):
        monkeypatch.setattr(few_weights, "FEW", few)
        masks = {(0, 2): np.zeros((9, 16), bool)}
        net = bp.MLP((9, 7, 16), connections="all", masks=masks, dtype="float64", random_state=0)
        assert np.count_nonzero(net._network.compiled.edges["first_present"]) == few
        results.append(numbers(net, X, T, bp.Adam(), 8))
    assert_same(*results)


def test_nets_without_masks_have_no_lists():
    net = bp.MLP((9, 17, 16))
    lists = net._network.compiled.lists
    assert lists[2:] == (0,) * 6
    assert not net._network.compiled.edges["first_present"].any()
