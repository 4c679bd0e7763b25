"""L1, L2, clipping and limits of weights beside steps in NumPy and float64, with guard zones around what kernels write."""

import math

import numpy as np
import pytest
from kernels.test_sums import GUARD
from numpy_nets import NumpyNet

import bpkernel as bp
from bpkernel.codegen.jit import kernel
from bpkernel.codegen.views import line
from bpkernel.kernels import few_weights, operands, partition
from bpkernel.kernels import regularisation as kernels
from bpkernel.kernels.update import in_lists
from bpkernel.mini_batches import MiniBatches

pytestmark = pytest.mark.usefixtures("one_blas_thread")

DTYPES = ["float32", "float64"]
NETS = {  # sizes, activations, connections, samples in a batch
    "dense": ((7, 33, 17, 3), ["tanh", "silu"], None, 40),
    "graph": ((7, 17, 9, 16, 5), ["gelu", "tanh", "silu"], "all", 33),
    "few weights": ((9, 17, 31, 16), ["silu", "tanh"], "all", 40),
    "chunks": ((5, 9, 7, 2), ["silu", "tanh"], None, 200),
    "few weights in chunks": ((9, 17, 31, 16), ["silu", "tanh"], "all", 60),
    "wide": ((65, 520, 64, 3), ["gelu", "tanh"], None, 40),
    "few samples": ((7, 33, 17, 3), ["tanh", "silu"], "all", 2),
}
SETTINGS = {  # of fit; lists are cut to the layers of the net
    "L2": {"alpha": 3.0},
    "L2 per layer": {"alpha": [3.0, 0.0, 1.0, 2.0]},
    "L1": {"l1": 0.3},
    "L1 and L2 per layer": {"alpha": [1.0, 0.5, 0.0, 2.0], "l1": [0.0, 0.3, 0.2, 0.1]},
    "clip_value": {"clip_value": 0.01},
    "clip_norm": {"clip_norm": 0.2},
    "a norm that is not reached": {"clip_norm": 1e3},
    "both kinds of clipping, with penalties": {"clip_norm": 0.1, "clip_value": 0.02, "alpha": 2.0, "l1": 0.3},
    "max_norm": {"max_norm": 0.7},
    "max_norm per layer": {"max_norm": [None, 0.4, 0.9, None]},
    "all": {"alpha": [3.0, 0.0, 1.0, 2.0], "l1": 0.3, "clip_value": 0.02, "clip_norm": 0.1, "max_norm": [0.8, 0.5, None, 0.6]},
}
OPTIMIZERS = {
    "SGD": lambda: bp.SGD(0.1, momentum=0.5),
    "Adam": lambda: bp.Adam(0.05, epsilon=0.05),  # with the usual epsilon the step of a gradient near 0 is any number
}


def net_of(kind, dtype, monkeypatch):
    """A net, and the size of its batches."""
    sizes, activations, connections, batch_size = NETS[kind]
    own = {"connections": connections}
    if kind.startswith("few weights"):
        monkeypatch.setattr(few_weights, "FEW", 1)
        rng = np.random.default_rng(3)
        shares = {(0, 1): 0.3, (1, 2): 0.2, (0, 2): 0.1, (2, 3): 0.4, (1, 3): 0.5}
        own["masks"] = {pair: rng.random((sizes[pair[0]], sizes[pair[1]])) < share for pair, share in shares.items()}
    chunked = kind.endswith("chunks")
    monkeypatch.setattr(partition, "n_chunks_of", lambda layout, batch_size: 4 if chunked else 0)
    net = bp.MLP(sizes, activations, dtype=dtype, random_state=2, **own)
    rng = np.random.default_rng(4)
    for bias in net.biases:
        bias[:] = rng.standard_normal(bias.size)  # so large that limits and penalties would be wrong if they saw them
    assert np.count_nonzero(net._network.compiled.edges["first_present"]) == (5 if kind.startswith("few weights") else 0)
    return net, batch_size


def settings_for(net, name):
    n = len(net.layer_sizes) - 1
    return {key: value[:n] if isinstance(value, list) else value for key, value in SETTINGS[name].items()}


def data_of(net, n):
    rng = np.random.default_rng(1)
    X, T = rng.standard_normal((n, net.layer_sizes[0])), rng.standard_normal((n, net.layer_sizes[-1]))
    return tuple(array.astype(net.dtype) for array in (X, T, rng.uniform(0.5, 3, n)))


class Steps:
    """Steps of an optimizer in NumPy; `penalties` and `errors` are of each batch, before its step."""

    def __init__(self, net, optimizer, *, alpha=0.0, l1=0.0, clip_value=None, clip_norm=None, max_norm=None):
        self.oracle, self.optimizer, self.t = NumpyNet(net), optimizer, 0
        n = len(net.layer_sizes) - 1
        self.l2, self.l1, self.limits = (list(v) if isinstance(v, list) else [v] * n for v in (alpha, l1, max_norm))
        self.clip_value, self.clip_norm = clip_value, clip_norm
        self.state = [[np.zeros_like(w) for w in self.oracle.numbers] for _ in range(2)]
        self.penalties, self.errors, self.norms = [], [], []

    def step(self, X, T, s):
        oracle, self.t = self.oracle, self.t + 1
        gradient = oracle.gradient(X, T, s)
        self.errors.append(oracle.error(X, T, s))
        penalty = 0.0
        for number, ((_, target), w) in enumerate(zip(oracle.pairs, oracle.weights, strict=True)):
            l2, l1 = self.l2[target - 1], self.l1[target - 1]
            gradient[number] += (l2 * w + l1 * np.sign(w)) / s.sum()
            penalty += 0.5 * l2 * (w**2).sum() + l1 * np.abs(w).sum()
        self.penalties.append(penalty / s.sum())
        if self.clip_value is not None:
            gradient = [np.clip(g, -self.clip_value, self.clip_value) for g in gradient]
        norm = math.sqrt(sum((g**2).sum() for g in gradient))
        self.norms.append(norm)
        if self.clip_norm is not None and norm > self.clip_norm:
            gradient = [g * self.clip_norm / norm for g in gradient]
        for w, g, m, v in zip(oracle.numbers, gradient, *self.state, strict=True):
            self.update(w, g, m, v)
        self.limit()

    def update(self, w, g, m, v):
        optimizer = self.optimizer
        if isinstance(optimizer, bp.SGD):
            m[...] = optimizer.momentum * m - optimizer.learning_rate * g
            w += m
            return
        m[...] = optimizer.beta_1 * m + (1 - optimizer.beta_1) * g
        v[...] = optimizer.beta_2 * v + (1 - optimizer.beta_2) * g * g
        rate = optimizer.learning_rate * math.sqrt(1 - optimizer.beta_2**self.t) / (1 - optimizer.beta_1**self.t)
        w -= rate * m / (np.sqrt(v) + optimizer.epsilon)

    def limit(self):
        for layer, most in enumerate(self.limits, 1):
            own = [w for (_, target), w in zip(self.oracle.pairs, self.oracle.weights, strict=True) if target == layer]
            norms = np.sqrt(sum((w**2).sum(0) for w in own))
            for w in own:
                w *= 1.0 if most is None else np.where(norms > most, most / np.maximum(norms, most), 1)


def steps_of(net, data, batch_size, optimizer, settings):
    steps, (X, T, s) = Steps(net, optimizer, **settings), (array.astype(float) for array in data)
    for start in range(0, len(X), batch_size):
        part = slice(start, start + batch_size)
        steps.step(X[part], T[part], s[part])
    return steps


def compare(net, before, steps, plain, dtype):
    """The weights after a few steps, up to their rounding in each step, and that of the steps, which come from long sums.

    They must have moved, and so that regularisation is seen.
    """
    eps, changed = np.finfo(dtype).eps, []
    own = before, (*net.weights, *net.biases), steps.oracle.numbers, plain.oracle.numbers
    for w, new, expected, other in zip(*own, strict=True):
        moved = np.abs(expected - w).max()
        atol = eps * (len(steps.errors) * np.abs(w).max() + 8 * math.sqrt(max(net.layer_sizes)) * moved)
        assert moved > 20 * atol
        np.testing.assert_allclose(new, expected, rtol=0, atol=atol)
        changed.append(np.abs(expected - other).max() / atol)
    return max(changed)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("kind", NETS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_steps_are_those_of_numpy(optimizer, kind, name, dtype, monkeypatch):
    """Two batches and a half, with weights of the samples, whose sums are not 1."""
    net, batch_size = net_of(kind, dtype, monkeypatch)
    data, settings = data_of(net, 2 * batch_size + (batch_size + 1) // 2), settings_for(net, name)
    before = [w.astype(float) for w in (*net.weights, *net.biases)]
    steps = steps_of(net, data, batch_size, OPTIMIZERS[optimizer](), settings)
    plain = steps_of(net, data, batch_size, OPTIMIZERS[optimizer](), {})
    X, T, s = data
    history = net.fit(X, T, 1, batch_size, OPTIMIZERS[optimizer](), shuffle=False, sample_weight=s, **settings)
    if "clip_norm" in settings and name != "a norm that is not reached":
        assert max(steps.norms) > settings["clip_norm"]
    changed = compare(net, before, steps, plain, dtype)
    assert changed < 1 if name == "a norm that is not reached" else changed > 20
    weights = [s[start : start + batch_size].astype(float).sum() for start in range(0, len(X), batch_size)]
    np.testing.assert_allclose(
        history.loss, [np.average(steps.errors, weights=weights)], rtol=1e-5 if dtype == "float32" else 1e-12
    )
    if "max_norm" in settings:
        for layer, most in enumerate(steps.limits, 1):
            own = [w for (_, target), w in zip(net.connections, net.weights, strict=True) if target == layer]
            norms = np.sqrt(sum((w.astype(float) ** 2).sum(0) for w in own))
            assert most is None or norms.max() <= most * (1 + 8 * np.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["L2", "L2 per layer", "L1", "L1 and L2 per layer", "all"])
@pytest.mark.parametrize("kind", NETS)
def test_the_sums_of_an_epoch_hold_the_penalty(kind, name, dtype, monkeypatch):
    """Σ over the batches of n times their penalty, with the weights before each step; two epochs in each of two calls."""
    net, batch_size = net_of(kind, dtype, monkeypatch)
    n, settings, optimizer = 2 * batch_size + 1, settings_for(net, name), bp.SGD(0.002, momentum=0.5)
    data, sums = data_of(net, n), []
    steps = Steps(net, optimizer, **settings)
    for _ in range(4):
        first = len(steps.errors)
        for start in range(0, n, batch_size):
            steps.step(*(array[start : start + batch_size].astype(float) for array in data))
        sizes = [batch_size, batch_size, 1]
        sums.append([np.dot(sizes, numbers[first:]) for numbers in (steps.errors, steps.penalties)])
    layout, limits = net._network.layout, {key: settings.get(key) for key in ("clip_norm", "clip_value")}
    regularised = kernels.regularisation(
        *(layout, settings.get("alpha", 0.0), settings.get("l1", 0.0)),
        **{key: value or 0.0 for key, value in limits.items()},
        max_norm=settings.get("max_norm"),
    )
    step = operands.step(bp.SGD, optimizer.settings(layout.dtype), *optimizer.bind(layout), layout, regularised)
    batches, found = MiniBatches(net._network, step, batch_size), []
    for _ in range(2):
        total = np.zeros((2, 3))
        batches.run(operands.samples(*data), np.tile(np.arange(n), (2, 1)), total)
        found += total[:, 1:].tolist()
    assert min(min(row) for row in sums) > 0.01
    np.testing.assert_allclose(found, sums, rtol=20 * np.finfo(dtype).eps * math.sqrt(max(net.layer_sizes) + n))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["L1 and L2 per layer", "clip_norm", "max_norm per layer", "all"])
@pytest.mark.parametrize("kind", NETS)
def test_one_and_two_threads_give_the_same_bits(kind, name, dtype, monkeypatch, on_one_and_two_threads):
    def results_of_training(n_threads):
        net, batch_size = net_of(kind, dtype, monkeypatch)
        first = net.parameters
        X, T, s = data_of(net, 3 * batch_size)
        loss = net.fit(X, T, 3, batch_size, bp.Adam(0.01), sample_weight=s, **settings_for(net, name)).loss
        assert (net.parameters != first).mean() > (0.3 if kind.startswith("few weights") else 0.9)
        return [net.parameters, loss]

    results = on_one_and_two_threads(results_of_training)
    for one, two in zip(*results, strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["L1 and L2 per layer", "clip_norm", "max_norm", "all"])
@pytest.mark.parametrize("batch_size", [5, 40])
def test_lists_of_weights_give_the_steps_of_the_tiles(batch_size, name, dtype, monkeypatch):
    """Only Σ g² is summed in another order, so steps without `clip_norm` have the same bits."""
    results = []
    for few in (0, 1):
        net, _ = net_of("few weights", dtype, monkeypatch)
        monkeypatch.setattr(few_weights, "FEW", few)
        net._network._set_present(net._network.present)
        assert np.count_nonzero(net._network.compiled.edges["first_present"]) == 5 * few
        X, T, s = data_of(net, 80)
        loss = net.fit(X, T, 2, batch_size, bp.Adam(0.01, epsilon=0.05), sample_weight=s, **settings_for(net, name)).loss
        results.append([net.parameters, loss])
    assert results[0][0].any()
    for one, two in zip(*results, strict=True):
        if "clip_norm" in SETTINGS[name]:
            np.testing.assert_allclose(one, two, rtol=0, atol=100 * np.finfo(dtype).eps)
        else:
            np.testing.assert_array_equal(one, two)


# ------------------------------------------------------------------------------------------------------- edges of ranges


def single(dtype, gradient, loss="squared_error", **settings):
    """The weight and the bias of a net 1-1, zeros at first, after a step of size 1 along a gradient of these sizes."""
    net = bp.MLP((1, 1), loss=loss, dtype=dtype, random_state=0)
    net.weights[0][:] = 0
    dw, db = gradient
    net.fit([[dw / db]], [-db], 1, 1, bp.SGD(1.0, momentum=0.0), **settings)
    return [-net.weights[0].item(), -net.biases[0].item()]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("most", "expected"), [(5.0, [3, 4]), (5.0000005, [3, 4]), (6, [3, 4]), (2.5, [1.5, 2]), (1.25, [0.75, 1])]
)
def test_a_gradient_at_above_and_below_the_norm(most, expected, dtype):
    """The norm of (3, 4) is 5; one that is not over the bound keeps its bits."""
    assert single(dtype, (3, 4), clip_norm=most) == expected


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("most", "expected"), [(3.0, [3, 3]), (4.0, [3, 4]), (5.0, [3, 4]), (1.0, [1, 1])])
def test_numbers_of_a_gradient_at_above_and_below_the_bound(most, expected, dtype):
    assert single(dtype, (3, 4), clip_value=most) == expected
    assert single(dtype, (3, -4), clip_value=most) == [expected[0], -expected[1]]


@pytest.mark.parametrize("dtype", DTYPES)
def test_numbers_are_clipped_before_the_norm(dtype):
    found = single(dtype, (300, 4), clip_value=3, clip_norm=2.5)
    np.testing.assert_allclose(found, [2.5 / math.sqrt(2)] * 2, rtol=2 * np.finfo(dtype).eps)


@pytest.mark.parametrize("size", [1e19, 1e25, 1e37])
def test_the_norm_of_a_gradient_whose_squares_are_out_of_range_is_right(size):
    """In float32 the squares of such numbers are Inf; the absolute error and its derivatives are not."""
    net = bp.MLP((2, 1), loss="absolute_error", random_state=0)
    net.weights[0][:] = 0
    net.fit([[3 * size / 5, 4 * size / 5]], [-1], 1, 1, bp.SGD(1.0, momentum=0.0), clip_norm=2.0)
    np.testing.assert_allclose(-net.weights[0].ravel(), [1.2, 1.6], rtol=1e-6)


def test_the_norm_of_a_gradient_whose_squares_underflow_is_right():
    np.testing.assert_allclose(single("float32", (3e-30, 4e-30), clip_norm=2.5e-30), [1.5e-30, 2e-30], rtol=1e-6)


@pytest.mark.parametrize("size", [1e19, 1e25, 1e37])
def test_the_norm_of_weights_whose_squares_are_out_of_range_is_right(size):
    net = bp.MLP((2, 1), loss="absolute_error", random_state=0)
    net.weights[0][:] = [[3 * size / 5], [4 * size / 5]]
    net.fit([[1 / size, 0]], [0], 1, 1, bp.SGD(1e-30), max_norm=2.0)
    np.testing.assert_allclose(net.weights[0].ravel(), [1.2, 1.6], rtol=1e-6)


def test_a_limit_of_0_leaves_no_weights():
    net = bp.MLP((3, 4, 2), random_state=0)
    net.fit(np.ones((5, 3)), np.ones((5, 2)), 1, 5, max_norm=[None, 0])
    assert not net.weights[1].any()
    assert net.weights[0].all()
    assert net.biases[1].all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_l1_leaves_weights_of_0_where_they_are(dtype):
    net = bp.MLP((3, 2), dtype=dtype, random_state=0)
    net.weights[0][:] = [[0, 1], [-1, 0], [0.5, -0.5]]
    before = net.weights[0].copy()
    net.fit(np.zeros((4, 3)), np.zeros((4, 2)), 1, 4, bp.SGD(0.5, momentum=0.0), l1=1.0)
    np.testing.assert_array_equal(net.weights[0], before - 0.125 * np.sign(before))


# ----------------------------------------------------------------------------------------------- gradients out of range

FACTORS = {"infinite": math.inf, "NaN": math.nan}


def loss_with(factor):
    """A loss whose error is finite, and whose slope is not, from the third step on."""
    return bp.Loss(lambda y, t: (y - t) ** 2, lambda y, t: 2 * (y - t) if t < 3 else factor, f"with {factor}", check=False)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", FACTORS)
@pytest.mark.parametrize(
    "settings", [{"clip_norm": 1.0}, {"max_norm": 1.0}, {"clip_norm": 1.0, "max_norm": 1.0}, {"l1": 0.1}, {}]
)
def test_a_gradient_that_is_not_finite_leaves_the_net_as_it_was(settings, kind, dtype):
    net = bp.MLP((2, 5, 1), loss=loss_with(FACTORS[kind]), dtype=dtype, random_state=0)
    optimizer, before = bp.Adam(0.01), net.parameters
    X, T = np.ones((5, 2)), np.arange(5.0)
    with pytest.raises(FloatingPointError, match="diverged in epoch 1"):
        net.fit(X, T, 3, 1, optimizer, shuffle=False, **settings)
    np.testing.assert_array_equal(net.parameters, before)
    assert optimizer.n_steps == 0
    net.fit(X[:3], T[:3], 3, 1, optimizer, shuffle=False, **settings)
    assert (net.parameters != before).any()
    assert np.isfinite(net.parameters).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_clip_value_bounds_what_is_infinite_and_reports_nan(dtype):
    net = bp.MLP((2, 1), loss=loss_with(math.inf), dtype=dtype, random_state=0)
    before = net.parameters
    net.fit(np.ones((1, 2)), [4.0], 1, 1, bp.SGD(1.0, momentum=0.0), clip_value=0.5)
    np.testing.assert_allclose(net.parameters, before - 0.5, rtol=0, atol=np.finfo(dtype).eps)
    net = bp.MLP((2, 1), loss=loss_with(math.nan), dtype=dtype, random_state=0)
    with pytest.raises(FloatingPointError, match="diverged"):
        net.fit(np.ones((1, 2)), [4.0], 1, 1, bp.SGD(1.0, momentum=0.0), clip_value=0.5)
    np.testing.assert_array_equal(net.parameters, before)


# --------------------------------------------------------------------------------------------------------- guard zones


@kernel(entry=True)
def run_measure(net, step, samples, group, g, norms):
    listed = in_lists(net, samples.sparse, group)
    size = few_weights.listed_in_group(net, group)[0].size if listed else g.size
    kernels.measure_group(net, step, group, line(g, 0, size), norms, listed)
    return size


@kernel(entry=True)
def run_limit(net, step, columns, limits):
    kernels.limit_columns(net, step, columns, limits)


@kernel(entry=True)
def run_rescale(net, step, group, limits):
    kernels.rescale_group(net, step, group, limits)


@kernel(entry=True)
def run_penalty(net, step, group, squares):
    kernels.penalty_of_group(net, step, group, squares)


@kernel(entry=True)
def run_regularise(net, step, group, strength, g):
    kernels.regularise(net, step, group, strength, g)


def guarded(n, dtype=np.float64):
    """A zone of numbers, and n of them in its middle."""
    whole = np.full(n + 16, GUARD, dtype)
    return whole, whole[8 : 8 + n]


def operands_of(kind, name, dtype, monkeypatch):
    """The compiled net, the step, and the work of a batch, cut for two threads."""
    monkeypatch.setattr(partition, "GROUP_TILES", 1)
    monkeypatch.setattr(partition, "GROUP_BYTES", 1)
    monkeypatch.setattr(partition, "COLUMN_BLOCK", 5)
    net, batch_size = net_of(kind, dtype, monkeypatch)
    layout, settings, optimizer = net._network.layout, settings_for(net, name), bp.SGD(0.1)
    own = settings.get("alpha", 0.0), settings.get("l1", 0.0)
    regularised = kernels.regularisation(layout, *own, clip_norm=1.0, max_norm=settings.get("max_norm"))
    step = operands.step(bp.SGD, optimizer.settings(layout.dtype), *optimizer.bind(layout), layout, regularised)
    return net, step, operands.work(layout, net._network.compiled, step, batch_size, 2)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", NETS)
def test_each_group_writes_the_norms_and_penalties_of_its_rows(kind, dtype, monkeypatch):
    net, step, work = operands_of(kind, "L1 and L2 per layer", dtype, monkeypatch)
    compiled, layout, (X, T, s) = net._network.compiled, net._network.layout, data_of(net, 1)
    assert work.groups.size > len(layout.pairs)
    samples, eps = operands.samples(X, T, s), np.finfo(dtype).eps
    rng, written, scale = np.random.default_rng(0), np.zeros(sum(layout.n_rows)), 10 * eps * math.sqrt(max(net.layer_sizes))
    for group in work.groups:
        edge, start = int(group["edge"]), int(group["place"])
        n_rows, row = int(group["last"] - group["first"]) + 1, layout.row_lengths[edge]
        n_out, rows = layout.sizes[layout.pairs[edge][1]], np.zeros((n_rows, row), dtype)
        g = rng.standard_normal((n_rows, n_out)).astype(dtype)
        whole, norms = guarded(written.size)
        rows[:, :n_out] = g
        flat = rows.reshape(-1)
        if compiled.edges[edge]["first_present"]:
            mask = layout.weights(net._network.present)[edge]
            bias = layout.n_rows[edge] - len(mask)
            kept = np.concatenate([np.ones((bias, n_out), bool), mask])[group["first"] : group["last"] + 1]
            g, flat = g * kept, np.concatenate([g[kept], flat])[: flat.size]
            assert run_measure(compiled, step, samples, group, flat, norms) == kept.sum()
        else:
            assert run_measure(compiled, step, samples, group, flat, norms) == flat.size
        own = slice(start, start + n_rows)
        np.testing.assert_allclose(norms[own], (g.astype(float) ** 2).sum(1), rtol=scale)
        norms[own] = GUARD
        assert (whole == GUARD).all()
        written[own] += 1

        whole, squares = guarded(written.size)
        run_penalty(compiled, step, group, squares)
        target, n_biases = layout.pairs[edge][1], layout.n_rows[edge] - layout.sizes[layout.pairs[edge][0]]
        first = max(int(group["first"]), n_biases)
        w = net.weights[edge][first - n_biases : int(group["last"]) + 1 - n_biases].astype(float)
        l2, l1 = (SETTINGS["L1 and L2 per layer"][name][target - 1] for name in ("alpha", "l1"))
        own = slice(start + first - int(group["first"]), start + n_rows)
        expected = l2 * (w**2).sum(1) + 2 * l1 * np.abs(w).sum(1)
        assert expected.all() or not len(expected) or kind.startswith("few weights")
        np.testing.assert_allclose(squares[own], expected, rtol=scale)
        squares[own] = GUARD
        assert (whole == GUARD).all()
    np.testing.assert_array_equal(written, 1)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", NETS)
def test_each_block_writes_the_limits_of_its_units(kind, dtype, monkeypatch):
    net, step, work = operands_of(kind, "max_norm per layer", dtype, monkeypatch)
    compiled, layout = net._network.compiled, net._network.layout
    rtol = 10 * np.finfo(dtype).eps
    seen = {node: np.zeros(size) for node, size in enumerate(layout.sizes)}
    for columns in work.columns:
        whole, limits = guarded(layout.n_units)
        run_limit(compiled, step, columns, limits)
        node, first, end = (int(columns[name]) for name in ("node", "first", "end"))
        own = [w[:, first:end] for (_, target), w in zip(layout.pairs, net.weights, strict=True) if target == node]
        norms = np.sqrt(sum((w.astype(float) ** 2).sum(0) for w in own))
        most = SETTINGS["max_norm per layer"]["max_norm"][node - 1]
        place = slice(int(layout.nodes["offset"][node]) + first, int(layout.nodes["offset"][node]) + end)
        np.testing.assert_allclose(limits[place], most / np.maximum(norms, most), rtol=rtol)
        limits[place] = GUARD
        assert (whole == GUARD).all()
        seen[node][first:end] += 1
    for node, counts in seen.items():
        limited = node > 0 and SETTINGS["max_norm per layer"]["max_norm"][node - 1] is not None
        np.testing.assert_array_equal(counts, 1 if limited else 0)
    assert any(counts.any() for counts in seen.values())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", NETS)
def test_each_group_rescales_its_weights_only(kind, dtype, monkeypatch):
    net, step, work = operands_of(kind, "max_norm per layer", dtype, monkeypatch)
    compiled, layout, params = net._network.compiled, net._network.layout, net._network.params
    weights, limited = np.zeros(params.size, bool), np.isfinite(step.max_norm)
    for view, (_, target) in zip(layout.weights(weights), layout.pairs, strict=True):
        view[...] = limited[target]
    before = params.copy()
    params[~weights] = np.where(params[~weights] == 0, GUARD, params[~weights])  # the zeros between rows, too
    guarded_params, moved = params.copy(), np.zeros(params.size, int)
    limits = np.full(layout.n_units, 0.5)
    for group in work.groups:
        run_rescale(compiled, step, group, limits)
        changed = params != guarded_params
        assert not changed[~weights].any()
        np.testing.assert_array_equal(params[changed], 0.5 * guarded_params[changed])
        moved += changed
        params[:] = guarded_params
    assert (moved[weights & (before != 0)] == 1).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ["dense", "graph", "wide"])
def test_each_group_adds_the_gradient_of_its_penalty(kind, dtype, monkeypatch):
    net, step, work = operands_of(kind, "L1 and L2 per layer", dtype, monkeypatch)
    compiled, layout, rng = net._network.compiled, net._network.layout, np.random.default_rng(0)
    places, eps = layout.weights(np.arange(layout.n_params)), np.finfo(dtype).eps
    start = np.concatenate([[0], np.cumsum(np.multiply(layout.n_rows, layout.row_lengths))])
    for group in work.groups:
        edge, row = int(group["edge"]), layout.row_lengths[int(group["edge"])]
        first, size = start[edge] + int(group["first"]) * row, int(group["last"] - group["first"] + 1) * row
        whole, g = guarded(size, dtype)
        g[:] = before = rng.standard_normal(size).astype(dtype)
        run_regularise(compiled, step, group, 0.25, g)
        own = places[edge].ravel()
        own = own[(own >= first) & (own < first + size)]
        w, target = net._network.params[own].astype(float), layout.pairs[edge][1]
        l2, l1 = (SETTINGS["L1 and L2 per layer"][name][target - 1] for name in ("alpha", "l1"))
        expected = before.astype(float)
        expected[own - first] += 0.25 * (l2 * w + l1 * np.sign(w))
        assert (expected != before).any()
        np.testing.assert_allclose(g, expected, rtol=0, atol=8 * eps)
        g[:] = GUARD
        assert (whole == GUARD).all()
