"""Random nets of any connections, masks and functions: beside the reference, and on one and two threads."""

import numba
import numpy as np
import pytest
from random_graphs import random_graph

import bpkernel as bp
from bpkernel import gradient_check, reference
from bpkernel.kernels import partition

SEEDS = range(40)


@pytest.mark.parametrize("seed", SEEDS)
def test_each_sum_is_within_the_bound_of_its_length(seed):
    graph = random_graph(seed)
    net, (X, T, _) = graph.net(), graph.data()
    findings = list(gradient_check.compare_net(net, X, T, graph))
    assert len(findings) == 4 * (len(graph.sizes) - 1) + 1
    for finding in findings:
        assert finding.share <= 1, finding
    r = net.backprop(X, T)
    assert any(dw.any() for dw in r.dw)
    for pair, dw in zip(net.connections, r.dw, strict=True):
        if pair in graph.masks:
            assert not dw[~graph.masks[pair]].any()


def reference_masks(net):
    """The masks in the form of the weights of the reference."""
    masks = []
    for target, b in enumerate(net.biases, start=1):
        rows = [
            net.masks.get(pair, np.ones(w.shape, bool))
            for pair, w in zip(net.connections, net.weights, strict=True)
            if pair[1] == target
        ]
        norm = [np.ones((2, len(b)), bool)] if target in net._made_of.normalised else []
        masks.append(np.vstack([np.ones((1, len(b)), bool), *rows, *norm]).tolist())
    return masks


OPTIMIZERS = {
    "SGD": (lambda: bp.SGD(1e-3, 0.9, True), lambda: reference.SGD(1e-3, 0.9, True)),
    "Adam": (lambda: bp.Adam(0.01), lambda: reference.Adam(0.01)),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("seed", range(0, 40, 4))
def test_training_follows_the_reference(seed, name):
    graph = random_graph(seed)._replace(dtype="float64")
    net, (X, T, s) = graph.net(), graph.data(8)
    layers, (make, make_reference) = gradient_check.reference_net(net), OPTIMIZERS[name]
    loss = gradient_check.of_reference(net._made_of.loss if graph.loss not in reference.LOSSES else graph.loss)
    losses = net.fit(X, T, 5, 3, make(), shuffle=False, sample_weight=s).loss
    orders, masks = [list(range(8))] * 5, reference_masks(net)
    expected = reference.train(layers, loss, X.tolist(), T.tolist(), make_reference(), orders, 3, s.tolist(), masks)
    np.testing.assert_allclose(losses, expected, rtol=1e-9)
    for (w, *_), (found, *_) in zip(layers, gradient_check.reference_net(net), strict=True):
        np.testing.assert_allclose(found, w, rtol=1e-8, atol=1e-9)
    for mask, w in ((net.masks[pair], w) for pair, w in zip(net.connections, net.weights, strict=True) if pair in net.masks):
        assert not w[~mask].any()


@pytest.mark.parametrize("seed", range(1, 40, 3))
def test_one_and_two_threads_give_the_same_bits(seed, monkeypatch):
    if numba.config.NUMBA_NUM_THREADS < 2:
        pytest.skip("needs two threads")
    monkeypatch.setattr(partition, "WORTH_A_THREAD", 1)
    graph, results, before = random_graph(seed), [], numba.get_num_threads()
    X, T, s = graph.data(60)
    try:
        for n_threads in (1, 2):
            numba.set_num_threads(n_threads)
            net = graph.net()
            loss = net.fit(X, T, 3, 25, bp.Adam(0.001), sample_weight=s, alpha=0.01).loss
            results.append([loss, net.parameters, net.predict(X), *net.backprop(X, T).delta])
    finally:
        numba.set_num_threads(before)
    assert np.any(results[0][1])
    for one, two in zip(*results, strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("seed", range(2, 40, 4))
def test_a_file_holds_the_net(seed, tmp_path):
    graph = random_graph(seed)
    net, (X, _, _) = graph.net(), graph.data()
    own = [f for f in (*net.activation, net.output_activation, net._made_of.loss) if isinstance(f, (bp.Activation, bp.Loss))]
    net.save(tmp_path / "net")
    loaded = bp.MLP.load(tmp_path / "net", functions=own)
    assert repr(loaded) == repr(net)
    np.testing.assert_array_equal(loaded.predict(X), net.predict(X))
    for pair, mask in net.masks.items():
        np.testing.assert_array_equal(loaded.masks[pair], mask)
