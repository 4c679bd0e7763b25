"""Nets whose layers are any graph without cycles, with skip connections, beside sums of the reference over the edges."""

from itertools import pairwise

import numba
import numpy as np
import pytest
import scipy.sparse

import bpkernel as bp
from bpkernel import reference
from bpkernel.derivatives import Gradient
from bpkernel.error_bounds import G_PRIME_TERMS, SLOPE_TERMS
from bpkernel.functions.activations import BY_NAME as ACTIVATIONS
from bpkernel.functions.losses import BY_NAME as LOSSES
from bpkernel.gradient_check import FUNCTION
from bpkernel.kernels import operands, partition
from bpkernel.kernels.regularisation import regularisation
from bpkernel.mini_batches import MiniBatches
from bpkernel.network import Network

DTYPES = ["float32", "float64"]
N_SAMPLES = [1, 5, 8, 40, 200]
OUTPUTS = [  # of the last node: its activation and the loss
    ("identity", "squared_error"),
    ("softmax", "cross_entropy"),
    ("logistic", "binary_cross_entropy"),
    ("tanh", "squared_error"),
    ("softmax", "squared_error"),
    ("exp", "poisson"),
]


def all_pairs(n_nodes):
    return [(source, target) for target in range(1, n_nodes) for source in range(target)]


def random_pairs(rng, n_nodes):
    """Edges such that every node but the first has an incoming one and every node but the last an outgoing one."""
    pairs = {(int(rng.integers(target)), target) for target in range(1, n_nodes)}
    pairs |= {
        (source, int(rng.integers(source + 1, n_nodes)))
        for source in range(n_nodes - 1)
        if source not in {pair[0] for pair in pairs}
    }
    return sorted(pairs | {pair for pair in all_pairs(n_nodes) if rng.random() < 0.3})


SIZES = [1, 2, 3, 7, 8, 9, 15, 16, 17, 31]  # also a vector of either dtype, and one more or less
GRAPHS = {  # units of every node, and (source, target) of every edge
    "two branches": ((5, 7, 9, 3), [(0, 1), (0, 2), (1, 3), (2, 3)]),
    "inputs to outputs": ((9, 17, 2), [(0, 1), (0, 2), (1, 2)]),
    "all to all": ((4, 16, 17, 8, 3), all_pairs(5)),
    "single units": ((1, 1, 1, 1), all_pairs(4)),
    "a fan": ((3, 16, 1, 7, 15), [(0, 1), (1, 2), (1, 3), (1, 4), (2, 4), (3, 4)]),
    "a chain": ((6, 15, 7, 4), list(pairwise(range(4)))),
}
for _seed in range(6):
    _rng = np.random.default_rng(_seed)
    _n_nodes = int(_rng.integers(3, 7))
    GRAPHS[f"random {_seed}"] = tuple(int(n) for n in _rng.choice(SIZES, _n_nodes)), random_pairs(_rng, _n_nodes)


class Problem:
    """A net with random weights, samples with weights, and the evaluation of both by the reference."""

    def __init__(self, graph, dtype, n_samples, *, silu=False, sparse=False):
        self.sizes, pairs = GRAPHS[graph]
        rng = np.random.default_rng([len(self.sizes), n_samples])
        hidden = ["tanh", "silu", "silu"] if silu else ["tanh", "relu", "logistic", "identity"]
        self.g = [None, *(hidden[i % len(hidden)] for i in range(len(self.sizes) - 2))]
        softmax = self.sizes[-1] > 1  # of a single unit it is always 1
        outputs = [pair for pair in OUTPUTS if softmax or pair[0] != "softmax"]
        last, self.loss = outputs[list(GRAPHS).index(graph) % len(outputs)]
        self.g.append(last)
        activations = [ACTIVATIONS[name] for name in self.g[1:]]
        self.network = Network(self.sizes, activations, LOSSES[self.loss], np.dtype(dtype), pairs)
        self.layout = self.network.layout
        for w in self.network.weights:
            w[:] = rng.standard_normal(w.shape) / np.sqrt(len(w))
        for b in self.network.biases:
            b[:] = rng.uniform(0.1, 0.6, b.shape)
        X = rng.standard_normal((n_samples, self.sizes[0]))
        X = X * (rng.random(X.shape) < 0.4) if sparse else X
        T = rng.uniform(0.1, 0.9, (n_samples, self.sizes[-1]))
        T /= T.sum(axis=1, keepdims=True) if last == "softmax" else 1
        s = rng.uniform(0.5, 2, n_samples)
        s[n_samples // 2 :: 7] = 0 if n_samples > 1 else 1
        self.X, self.T, self.s = (array.astype(dtype) for array in (X, T, s))
        self.samples = operands.samples(self.X, self.T, self.s)
        if sparse:
            csr = scipy.sparse.csr_array(self.X)
            assert 0 < csr.nnz < self.X.size or self.X.size < 20
            self.samples = operands.sparse_samples(csr, self.T, self.s, self.layout)

    # ------------------------------------------------------------------------------------- sums of the reference

    def edges(self):
        """(source, target, w) of every edge, row 0 of w the biases of the target on its first edge and zeros on others."""
        biases, seen, found = self.network.biases, set(), []
        for (source, target), w in zip(self.layout.pairs, self.network.weights, strict=True):
            b = np.zeros(w.shape[1]) if target in seen else biases[target - 1]
            seen.add(target)
            found.append((source, target, np.vstack([b, w]).astype(float).tolist()))
        return found

    def pre_activations(self, edges, target, z):
        """Eq. 1 for one sample, from the z of all nodes."""
        parts = [reference.pre_activations(w, z[source]) for source, to, w in edges if to == target]
        return [sum(numbers) for numbers in zip(*parts, strict=True)]

    def sums_of_deltas(self, edges, node, delta):
        """Σ_k w_kj δ_k for one sample, over the units k of all nodes that an edge leads to."""
        zeros = [0.0] * self.sizes[node]
        parts = [
            reference.hidden_deltas("identity", w, delta[target], zeros, zeros) for source, target, w in edges if source == node
        ]
        return [sum(numbers) for numbers in zip(*parts, strict=True)]

    def backprop(self, edges, x, t):
        """(E^n, a, z, delta, dw) of one sample, as `reference.backprop` of a chain."""
        last, a, z = len(self.sizes) - 1, [[]], [x]
        for node in range(1, last + 1):
            a.append(self.pre_activations(edges, node, z))
            z.append(reference.activate(self.g[node], a[node]))
        delta = [[] for _ in self.sizes]
        delta[last] = reference.output_deltas(self.g[last], self.loss, a[last], z[last], t)
        for node in range(last - 1, 0, -1):
            delta[node] = reference.times_slope(self.g[node], a[node], z[node], self.sums_of_deltas(edges, node, delta))
        dw = [reference.gradients(z[source], delta[target]) for source, target, _ in edges]
        return reference.error(self.loss, z[last], t), a, z, delta, dw

    def objective(self, edges, rows, alpha):
        """Σ_n s_n E^n, and the gradient of the batch's objective, (Σ_n s_n E^n + ½ alpha Σ w²) / Σ_n s_n."""
        total, gradient = 0.0, [np.zeros(np.shape(w)) for _, _, w in edges]
        for n in rows:
            error, _, _, _, dw = self.backprop(edges, self.X[n].tolist(), self.T[n].tolist())
            total += float(self.s[n]) * error
            for sums, grads in zip(gradient, dw, strict=True):
                sums += float(self.s[n]) * np.array(grads)
        weight = float(self.s[rows].astype(float).sum())
        for sums, (_, _, w) in zip(gradient, edges, strict=True):
            sums[1:] += alpha * np.array(w)[1:]
            sums /= weight
        return total, gradient

    # ---------------------------------------------------------------------------------------------- the kernels

    def pass_of_kernels(self, batch_size=None, *, keep_a=True):
        """E, the flat gradient, and a, z, δ of every node, each δ times the weight of its sample."""
        n_samples = len(self.X)
        gradient = Gradient(self.network, batch_size or n_samples, keep_a=keep_a)
        error, flat = gradient(self.samples)
        work = gradient.batches.work
        units = work.units
        blocks = [
            [view.astype(float) for view in self.layout.units(b, units.n_samples)] for b in (units.a, units.z, units.delta)
        ]
        blocks[1][0] = self.X.astype(float)  # sparse inputs have none
        return error, flat.copy(), *blocks, work

    def train_epochs(self, optimizer, n_epochs, batch_size, alpha):
        """The sums of every epoch of mini-batches, the samples in their order; the weights are trained."""
        settings, state = optimizer.settings(self.layout.dtype), optimizer.bind(self.layout)
        step = operands.step(type(optimizer), settings, *state, self.layout, regularisation(self.layout, alpha))
        batches, total = MiniBatches(self.network, step, batch_size), np.zeros((n_epochs, 3))
        batches.run(self.samples, np.tile(np.arange(len(self.X)), (n_epochs, 1)), total)
        return total


def within(found, expected, terms, length, eps):
    """Whether every error is at most `length` roundings of the sum's |terms|."""
    bound = length * eps * np.asarray(terms, float)
    error = abs(np.asarray(found, float) - np.asarray(expected, float))
    assert np.isfinite(error).all()
    np.testing.assert_array_less(error, bound + 1e-300 + (error == 0))
    return bool(np.any(found))


def check(problem, run):
    """Each quantity of a backward pass beside what the reference makes of the kernels' own numbers before it."""
    error, flat, a, z, delta, _ = run
    eps, last, edges = np.finfo(problem.X.dtype).eps, len(problem.sizes) - 1, problem.edges()
    size = [(source, target, np.abs(w).tolist()) for source, target, w in edges]
    n_samples, alive, s = len(problem.X), set(), problem.s.astype(float)[:, None]
    samples = range(n_samples)

    def of(blocks, n):
        return [block[n].tolist() for block in blocks]

    for node in range(1, last + 1):
        length = sum(1 + problem.sizes[source] for source, target, _ in edges if target == node) + 2
        expected = [problem.pre_activations(edges, node, of(z, n)) for n in samples]
        terms = [problem.pre_activations(size, node, of([abs(block) for block in z], n)) for n in samples]
        within(a[node], expected, terms, length, eps)
        expected = np.array([reference.activate(problem.g[node], a_n) for a_n in a[node].tolist()])
        shift = (a[node].max(axis=1, keepdims=True) - a[node]).max() if problem.g[node] == "softmax" else 0
        if within(z[node], expected, (1 + shift) * np.maximum(abs(expected), 1e-30), problem.sizes[node] + FUNCTION, eps):
            alive.add(("z", node))

    g, loss, T = problem.g[last], problem.loss, problem.T.astype(float)
    canonical = LOSSES[loss].canonical == g
    y = expected if canonical else z[last]
    errors = [reference.error(loss, y_n, t_n) for y_n, t_n in zip(y.tolist(), T.tolist(), strict=True)]
    terms = (s * (1 + abs(a[last]) + abs(y) + abs(T)) ** 2).sum()
    assert within(error, (s[:, 0] * errors).sum(), terms, problem.sizes[last] + n_samples + FUNCTION, eps)

    expected = [reference.output_deltas(g, loss, a[last][n].tolist(), z[last][n].tolist(), T[n].tolist()) for n in samples]
    d = SLOPE_TERMS[loss](z[last], T)
    d = d + (abs(z[last]) * d).sum(axis=1, keepdims=True) if g == "softmax" else d
    terms = abs(z[last]) + abs(T) if canonical else G_PRIME_TERMS[g](z[last]) * d
    within(delta[last], s * expected, s * terms, problem.sizes[last] + FUNCTION, eps)
    for node in range(last - 1, 0, -1):
        length = sum(problem.sizes[target] + 1 for source, target, _ in edges if source == node) + FUNCTION
        sums = [problem.sums_of_deltas(edges, node, of(delta, n)) for n in samples]
        expected = [reference.times_slope(problem.g[node], a[node][n].tolist(), z[node][n].tolist(), sums[n]) for n in samples]
        sums = np.array([problem.sums_of_deltas(size, node, of([abs(block) for block in delta], n)) for n in samples])
        if within(delta[node], expected, G_PRIME_TERMS[problem.g[node]](z[node]) * sums, length, eps):
            alive.add(("delta", node))

    weights, biases = problem.layout.weights(flat), problem.layout.biases(flat)
    seen = set()
    for (source, target, _), dw in zip(edges, weights, strict=True):
        parts = np.array([reference.gradients(z[source][n].tolist(), delta[target][n].tolist()) for n in samples])
        expected, terms = parts.sum(axis=0), abs(parts).sum(axis=0)
        if within(dw, expected[1:], terms[1:], n_samples + 2, eps):
            alive.add(("dw", source, target))
        if target not in seen:
            within(biases[target - 1], expected[0], terms[0], n_samples + 2, eps)
        seen.add(target)
    expected = {("z", node) for node in range(1, last + 1)} | {("delta", node) for node in range(1, last)}
    expected |= {("dw", source, target) for source, target, _ in edges}
    assert alive == expected or n_samples == 1  # of one sample a relu unit may be off
    for view in (*weights, *biases):
        view[:] = 0
    assert not flat.any()


@pytest.fixture
def chunks(monkeypatch):
    """A function that lets a batch of so many samples be cut into chunks whose gradients are summed apart."""

    def force(layout, n_samples):
        monkeypatch.setattr(partition, "WORTH_A_CHUNK", max(layout.flops * n_samples // 5, 1))

    return force


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("graph", GRAPHS)
def test_each_sum_over_the_edges_is_within_the_bound_of_its_length(graph, dtype):
    for n_samples in N_SAMPLES:
        problem = Problem(graph, dtype, n_samples)
        run = problem.pass_of_kernels()
        assert len(run[-1].chunks) == 0
        check(problem, run)


@pytest.mark.parametrize("quantity", ["a", "z", "delta", "error", "gradient"])
@pytest.mark.parametrize("graph", ["two branches", "a fan"])
def test_a_small_error_is_found(graph, quantity):
    """One number that is off by a hundred thousandth, or NaN."""
    for wrong in (1, 1 + 1e-5, np.nan):
        problem = Problem(graph, "float64", 5)
        error, flat, a, z, delta, work = problem.pass_of_kernels()
        if quantity in ("a", "z", "delta"):
            block = {"a": a, "z": z, "delta": delta}[quantity][1]
            block[np.unravel_index(np.argmax(abs(block)), block.shape)] *= wrong
        error = error * wrong if quantity == "error" else error
        if quantity == "gradient":
            flat[np.argmax(abs(flat))] *= wrong
        if wrong == 1:
            check(problem, (error, flat, a, z, delta, work))
        else:
            with pytest.raises(AssertionError):
                check(problem, (error, flat, a, z, delta, work))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("graph", GRAPHS)
def test_gradients_summed_in_chunks_are_within_the_bound_too(graph, dtype, chunks):
    n_samples = 200
    problem = Problem(graph, dtype, n_samples)
    chunks(problem.layout, n_samples)
    run = problem.pass_of_kernels()
    if 8 * problem.layout.n_params < n_samples * problem.layout.n_units:
        assert len(run[-1].chunks) == 4
    check(problem, run)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("graph", ["two branches", "inputs to outputs", "all to all", "a fan", "random 0", "random 3"])
def test_sparse_inputs_are_within_the_bound_too(graph, dtype, chunks):
    for n_samples in (5, 40):
        problem = Problem(graph, dtype, n_samples, sparse=True)
        check(problem, problem.pass_of_kernels())
    chunks(problem.layout, n_samples)
    check(problem, problem.pass_of_kernels())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("graph", ["a chain", "two branches", "all to all", "random 1"])
def test_an_activation_may_need_a_in_its_derivative(graph, dtype, chunks):
    """Then a is kept in its nodes, and only there and in the outputs unless all is asked for."""
    for n_samples in (1, 5, 40, 200):
        problem = Problem(graph, dtype, n_samples, silu=True)
        run = problem.pass_of_kernels()
        check(problem, (run[0], run[1].copy(), *run[2:]))
        error, flat, a, *_ = problem.pass_of_kernels(keep_a=False)
        assert run[1].any()
        assert error == run[0]
        np.testing.assert_array_equal(flat, run[1])
        for node in range(1, len(problem.sizes)):
            kept = problem.g[node] == "silu" or node == len(problem.sizes) - 1
            assert np.array_equal(a[node], run[2][node]) == kept
    chunks(problem.layout, n_samples)
    check(problem, problem.pass_of_kernels(keep_a=True))


OPTIMIZERS = {
    "SGD": (lambda: bp.SGD(0.05), lambda: reference.SGD(0.05)),
    "Nesterov": (lambda: bp.SGD(0.02, 0.9, True), lambda: reference.SGD(0.02, 0.9, True)),
    "Adam": (lambda: bp.Adam(0.01), lambda: reference.Adam(0.01)),
    "AdamW": (lambda: bp.AdamW(0.01, 0.1), lambda: reference.AdamW(0.01, 0.1)),
    "NAdam": (lambda: bp.NAdam(0.01), lambda: reference.NAdam(0.01)),
    "RMSprop": (lambda: bp.RMSprop(0.01, 0.9, momentum=0.5), lambda: reference.RMSprop(0.01, 0.9, momentum=0.5)),
    "Adagrad": (lambda: bp.Adagrad(0.01, 0.1, 0.1), lambda: reference.Adagrad(0.01, 0.1, 0.1)),
    "Lion": (lambda: bp.Lion(0.01), lambda: reference.Lion(0.01)),
}


def steps_of_reference(problem, oracle, n_epochs, batch_size, alpha):
    """The sums of every epoch and the trained (source, target, w) of every edge."""
    edges, totals = problem.edges(), []
    states = [[[oracle.start() for _ in row] for row in w] for _, _, w in edges]
    first = {target: number for number, (_, target, _) in reversed(list(enumerate(edges)))}  # edges that have biases
    t, n_samples = 0, len(problem.X)
    for _ in range(n_epochs):
        totals.append(np.zeros(3))
        for start in range(0, n_samples, batch_size):
            rows = np.arange(start, min(start + batch_size, n_samples))
            error, gradient = problem.objective(edges, rows, alpha)
            squares = sum(float(np.square(np.array(w)[1:]).sum()) for _, _, w in edges)
            weight = problem.s[rows].sum() / len(rows)
            totals[-1] += error, error / weight, 0.5 * alpha * squares / weight
            t += 1
            for number, (_, target, w) in enumerate(edges):
                for i in range(0 if first[target] == number else 1, len(w)):
                    for j in range(len(w[i])):
                        w[i][j] = oracle.step(w[i][j], float(gradient[number][i][j]), states[number][i][j], t)
    assert t == 10
    return totals, edges


def check_steps(problem, name, n_epochs, batch_size, alpha):
    make, make_reference = OPTIMIZERS[name]
    totals, edges = steps_of_reference(problem, make_reference(), n_epochs, batch_size, alpha)
    before = problem.network.params.copy()
    found = problem.train_epochs(make(), n_epochs, batch_size, alpha)
    assert abs(problem.network.params - before).max() > 1e-3
    assert (found[:, 2] > 0).all() == (alpha > 0)
    np.testing.assert_allclose(found, totals, rtol=1e-9)
    for (_, _, expected), (_, _, w) in zip(edges, problem.edges(), strict=True):
        np.testing.assert_allclose(w, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("alpha", [0.0, 0.3])
@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize(
    ("graph", "silu"), [("all to all", False), ("inputs to outputs", False), ("random 2", False), ("a fan", True)]
)
def test_ten_steps_follow_the_reference(graph, silu, name, alpha):
    """With and without L2, of samples with weights; the last batch of an epoch is shorter."""
    check_steps(Problem(graph, "float64", 22, silu=silu), name, 2, 5, alpha)


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("sparse", [False, True])
def test_ten_steps_in_chunks_follow_the_reference(name, sparse, chunks):
    problem = Problem("inputs to outputs", "float64", 100, sparse=sparse)
    chunks(problem.layout, 60)
    assert partition.n_chunks_of(problem.layout, 60) == 4
    check_steps(problem, name, 5, 60, 0.3)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("graph", ["two branches", "all to all", "single units", "a fan", "random 0", "random 4"])
def test_one_and_two_threads_give_the_same_bits(graph, chunked, dtype, chunks, monkeypatch):
    if numba.config.NUMBA_NUM_THREADS < 2:
        pytest.skip("needs two threads")
    monkeypatch.setattr(partition, "WORTH_A_THREAD", 1)
    results, before = [], numba.get_num_threads()
    try:
        for n_threads in (1, 2):
            numba.set_num_threads(n_threads)
            problem = Problem(graph, dtype, 80)
            if chunked:
                chunks(problem.layout, 40)
            error, flat, a, z, delta, work = problem.pass_of_kernels(40)
            assert work.dw.shape[0] == n_threads
            total = problem.train_epochs(bp.Adam(), 3, 40, 0.1)
            results.append([error, flat, *a, *z, *delta, total, problem.network.params, problem.network.outputs(problem.X)])
    finally:
        numba.set_num_threads(before)
    assert results[0][1].any()
    for one, two in zip(*results, strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("graph", GRAPHS)
def test_outputs_are_those_of_the_backward_pass(graph, dtype):
    problem = Problem(graph, dtype, 40)
    y = problem.pass_of_kernels()[3][-1]
    assert y.any()
    np.testing.assert_array_equal(problem.network.outputs(problem.X), y)
    np.testing.assert_array_equal(problem.network.outputs(problem.X[7:8]), y[7:8])
    error = problem.pass_of_kernels()[0] / problem.s.astype(float).sum()
    assert problem.network.mean_error(problem.samples) == pytest.approx(error, rel=50 * float(np.finfo(dtype).eps))
