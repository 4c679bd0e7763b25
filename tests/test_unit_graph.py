"""Nets made of single units and the edges between them."""

import math

import numpy as np
import pytest

import bpkernel as bp
from bpkernel.unit_graph import levels


def random_edges(rng, n_inputs, n_hidden, n_outputs, n_edges):
    """Different edges of a graph without cycles, inputs and outputs; units are numbers, not in topological order."""
    names = rng.permutation(1000 + n_inputs + n_hidden + n_outputs).tolist()
    inputs, outputs = names[:n_inputs], names[n_inputs : n_inputs + n_outputs]
    hidden = names[n_inputs + n_outputs : n_inputs + n_outputs + n_hidden]
    order = [*inputs, *hidden, *outputs]
    edges = set()
    for output in outputs:
        edges.add((inputs[int(rng.integers(n_inputs))], output))
    while len(edges) < n_edges:
        i, j = sorted(rng.integers(0, len(order), 2).tolist())
        if i < n_inputs + n_hidden and j >= n_inputs and i != j:
            edges.add((order[i], order[j]))
    return [list(edges)[k] for k in rng.permutation(len(edges))], inputs, outputs


def evaluate(net, edges, inputs, outputs, x):
    """The outputs by recursion over the edges, with the weights of the net."""
    place = {name: (l, i) for l, layer in enumerate(net.unit_names) for i, name in enumerate(layer)}
    weights = dict(zip(net.connections, net.weights, strict=True))
    before = {}
    for source, target in edges:
        before.setdefault(target, []).append(source)
    z = dict(zip(inputs, x, strict=True))

    def of(unit):
        if unit not in z:
            layer, j = place[unit]
            a = float(net.biases[layer - 1][j])
            for source in before.get(unit, ()):
                from_layer, i = place[source]
                a += float(weights[from_layer, layer][i, j]) * of(source)
            z[unit] = a if unit in outputs else math.tanh(a)
        return z[unit]

    return [of(output) for output in outputs]


@pytest.mark.parametrize("seed", range(12))
def test_outputs_are_those_of_the_graph(seed):
    rng = np.random.default_rng(seed)
    sizes = [int(rng.integers(1, most)) for most in (6, 25, 5)]
    most = (sizes[0] + sizes[1]) * (sizes[1] + sizes[2]) // 3
    edges, inputs, outputs = random_edges(rng, *sizes, max(sizes[2], min(most, int(rng.integers(5, 80)))))
    net = bp.MLP.from_edges(edges, inputs, outputs, dtype="float64", random_state=seed)
    for b in net.biases:
        b[:] = rng.standard_normal(b.shape)
    X = rng.standard_normal((5, len(inputs)))
    expected = [evaluate(net, edges, inputs, outputs, x) for x in X.tolist()]
    np.testing.assert_allclose(net.predict(X), expected, rtol=1e-12, atol=1e-13)
    n_present = sum(
        int(net.masks.get(p, np.ones(w.shape, bool)).sum()) for p, w in zip(net.connections, net.weights, strict=True)
    )
    assert n_present == len(edges)
    assert sorted(name for layer in net.unit_names for name in layer) == sorted({*inputs, *outputs, *sum(edges, ())})
    assert (net.unit_names[0], net.unit_names[-1]) == (tuple(inputs), tuple(outputs))
    history = net.fit(X, np.ones((5, len(outputs))), 20, optimizer=bp.Adam(0.01))
    assert history.loss[-1] < history.loss[0]
    for pair, w in zip(net.connections, net.weights, strict=True):
        assert pair not in net.masks or not w[~net.masks[pair]].any()


def test_units_are_as_early_as_their_edges_allow():
    edges = [("x", "b"), ("a", "b"), ("x", "a"), ("b", "y"), ("x", "y"), ("x", "c"), ("c", "y")]
    graph = levels(edges, ["x"], ["y"])
    assert graph.names == (("x",), ("a", "c"), ("b",), ("y",))
    assert sorted(graph.pairs) == [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]
    assert {pair: mask.tolist() for pair, mask in graph.masks.items()} == {(1, 2): [[True], [False]], (1, 3): [[False], [True]]}


def test_units_that_lead_nowhere_or_have_only_a_bias_are_allowed():
    """Of a dead end nothing is learnt; a unit without incoming edges is a constant that is learnt."""
    edges = [("x", "dead"), ("dead", "end"), ("constant", "y"), ("x", "y")]
    net = bp.MLP.from_edges(edges, ["x", "unused"], ["y"], dtype="float64", random_state=0)
    assert [set(layer) for layer in net.unit_names] == [{"x", "unused"}, {"constant", "dead"}, {"end"}, {"y"}]
    X = np.random.default_rng(0).standard_normal((40, 2))
    loss = net.fit(X, 2 * X[:, :1] + 3, 400, optimizer=bp.Adam(0.05)).loss
    assert loss[-1] < 1e-3 * loss[0]
    r = net.backprop(X, X[:, :1])
    dead = net.unit_names[1].index("dead")
    assert not r.delta[1][:, dead].any()
    assert r.delta[1][:, 1 - dead].any()


def test_a_single_edge_is_a_net():
    net = bp.MLP.from_edges([(0, 1)], [0], [1])
    assert (net.layer_sizes, net.connections, net.masks, net.unit_names) == ((1, 1), ((0, 1),), {}, ((0,), (1,)))


REFUSED = [
    ([("x", "a"), ("a", "b"), ("b", "a"), ("b", "y")], ["x"], ["y"], ValueError, r"form a cycle: '(a|b)' → '(a|b)' → '(a|b)'$"),
    ([("x", "x1"), ("a", "a"), ("a", "y")], ["x"], ["y"], ValueError, r"\('a', 'a'\) leads from a unit to itself, a cycle"),
    ([("x", "y"), ("x", "y")], ["x"], ["y"], ValueError, r"more than one of \('x', 'y'\)"),
    ([("x", "h"), ("h", "x"), ("h", "y")], ["x"], ["y"], ValueError, r"no edge may lead to an input: \('h', 'x'\)"),
    ([("x", "y"), ("y", "h")], ["x"], ["y"], ValueError, r"no edge may lead from an output: \('y', 'h'\)"),
    ([("x", "h"), ("c", "y")], ["x"], ["y"], ValueError, r"not reached: 'y'$"),
    ([("x", "y")], ["x"], ["y", "z"], ValueError, r"not reached: 'z' \(no edge leads to 'z'\)"),
    ([("x", "y")], ["x", "x"], ["y"], ValueError, r"inputs must name every unit once; named twice: 'x'"),
    ([("x", "y")], ["x"], ["y", "x"], ValueError, r"cannot be an input and an output: 'x'"),
    ([("x", "y")], [], ["y"], ValueError, r"inputs must name at least one unit"),
    ([("x", "y")], "x", ["y"], TypeError, r"inputs must be a list of names"),
    ([("x", "y")], ["x"], None, TypeError, r"outputs must be a list of names"),
    (["xyz"], ["x"], ["y"], TypeError, r"edges must be pairs of names"),
    (3, ["x"], ["y"], TypeError, r"edges must be pairs of names"),
    ([("x", 1.5)], ["x"], ["y"], TypeError, r"edges: names of units must be strings or integers; got 1.5"),
    ([("x", "y")], [("x",)], ["y"], TypeError, r"inputs: names of units must be strings or integers"),
    ([("x", f"h{i}") for i in range(9)] * 2 + [("x", "y")], ["x"], ["y"], ValueError, r"and 4 more$"),
]


@pytest.mark.parametrize(("edges", "inputs", "outputs", "kind", "message"), REFUSED)
def test_what_is_no_net_is_refused_with_the_names_of_the_units(edges, inputs, outputs, kind, message):
    with pytest.raises(kind, match=message):
        bp.MLP.from_edges(edges, inputs, outputs)


def test_a_long_cycle_and_a_deep_graph_need_no_recursion():
    chain = [(k, k + 1) for k in range(3000)]
    with pytest.raises(ValueError, match="the edges form a cycle"):
        bp.MLP.from_edges([*chain, (3000, 1)], [0], [3000 + 1])
    assert len(levels(chain, [0], [3000]).names) == 3001


def test_a_file_keeps_the_names(tmp_path):
    net = bp.MLP.from_edges([("x", 1), (1, "y"), ("x", "y")], ["x"], ["y"], random_state=0)
    net.save(tmp_path / "net")
    assert bp.MLP.load(tmp_path / "net").unit_names == net.unit_names == (("x",), (1,), ("y",))
