"""Dropout and noise: the hash beside plain Python, its statistics, and steps of nets beside NumPy with the same masks."""

import math

import numpy as np
import pytest
from kernels.test_sums import Guarded, view
from numpy_nets import NumpyNet

import bpkernel as bp
from bpkernel.codegen.jit import kernel
from bpkernel.codegen.processor import LINE
from bpkernel.kernels import dropout, few_weights, operands, partition
from bpkernel.mini_batches import MiniBatches

pytestmark = pytest.mark.usefixtures("one_blas_thread")

DTYPES = ["float32", "float64"]
M32, M64 = 2**32 - 1, 2**64 - 1
NOISE = 2**20
WEYL, FIRST, SECOND = 0x9E3779B9, 0x7FEB352D, 0x846CA68B


def mix(x):
    """splitmix64: the number after the state x, an integer."""
    x = (x + 0x9E3779B97F4A7C15) & M64
    x = ((x ^ x >> 30) * 0xBF58476D1CE4E5B9) & M64
    x = ((x ^ x >> 27) * 0x94D049BB133111EB) & M64
    return x ^ x >> 31


def key_of(seed, step, layer):
    return mix((mix((seed + step * 0x9E3779B97F4A7C15) & M64) + layer) & M64)


def random_numbers(seed, step, layer, row, n_units):
    """The 32-bit numbers (n_units,) of a row, as integers of Python."""
    key = mix((key_of(seed, step, layer) + int(row)) & M64)
    low, high, numbers = key & M32, key >> 32, []
    for j in range(n_units):
        x = (j * WEYL + low) & M32
        x = ((x ^ x >> 16) * FIRST) & M32
        numbers.append(((x ^ x >> 15 ^ high) * SECOND) & M32)
    return np.array(numbers)


def factors_of(rate, seed, step, layer, rows, n_units):
    """What the units (n, n_units) of a layer are multiplied by."""
    numbers = np.array([random_numbers(seed, step, layer, row, n_units) for row in rows])
    return np.where(numbers >= math.floor(rate * 2**32), 1 / (1 - rate), 0.0)


@kernel(entry=True)
def run_drop(units, nodes, node, number, rows, z):
    dropout.drop(units, nodes[node], number, rows, view(z))


@kernel(entry=True)
def run_add_noise(units, deviation, rows, n_inputs, z):
    dropout.add_noise(units, deviation, rows, n_inputs, view(z))


@kernel(entry=True)
def run_mix(x):
    return dropout.mix(x)


def units_of(seed, step, dtype, rate=0.0):
    """Units with a key, and nodes of which the first one has a rate."""
    layout = bp.MLP((1, 1), dtype=dtype)._network.layout
    nodes = layout.nodes.copy()
    nodes["dropout"][0], nodes["n_units"][0] = rate, 0
    units = operands.units(layout, 1)._replace(disturbance=dropout.loops_of_dropout(layout.precision))
    units.key[:] = seed, step
    return units, nodes


def dropped(z, rate, seed=0, step=0, layer=1, rows=None):
    """What `drop` makes of z (n, n_units); it writes to nothing else."""
    lead, (n, n_units) = LINE // z.itemsize, z.shape
    whole = Guarded(n, lead + n_units, z.dtype)
    whole.array[:, :lead] = 3
    whole.array[:, lead : lead + n_units] = z
    units, nodes = units_of(seed, step, z.dtype, rate)
    nodes["n_units"][0] = n_units
    run_drop(units, nodes, 0, layer, np.arange(n) if rows is None else np.array(rows), whole.array)
    assert (whole.array[:, :lead] == 3).all()
    assert not whole.array[:, lead + n_units : whole.width].any()
    assert whole.is_whole()
    return whole.array[:, lead : lead + n_units].copy()


def masks(rate, n_rows, n_units, **key):
    """Which units are kept, bool (n_rows, n_units)."""
    return dropped(np.ones((n_rows, n_units), np.float32), rate, **key) != 0


def noise(n_rows, n_inputs, dtype="float64", seed=0, step=0, rows=None, before=0.0, deviation=1.0):
    """What `add_noise` makes of inputs (n_rows, n_inputs) that are all `before`; it writes to nothing else."""
    lead = LINE // np.dtype(dtype).itemsize
    whole = Guarded(n_rows, lead + n_inputs, dtype)
    whole.array[:, :lead] = 3
    whole.array[:, lead : lead + n_inputs] = before
    rows = np.arange(n_rows) if rows is None else np.array(rows)
    run_add_noise(units_of(seed, step, dtype)[0], deviation, rows, n_inputs, whole.array)
    assert (whole.array[:, :lead] == 3).all()
    assert not whole.array[:, lead + n_inputs : whole.width].any()
    assert whole.is_whole()
    return whole.array[:, lead : lead + n_inputs].copy()


# ------------------------------------------------------------------------------------------------------------ the hash


def test_the_hash_of_64_bits_is_splitmix64():
    """The first numbers of its author's program (Vigna), from the states 0 and 1234567."""
    for state, number in ((0, 0xE220A8397B1DCDAF), (1234567, 6457827717110365317)):
        assert mix(state) == number
        assert int(run_mix(np.uint64(state))) == number


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_units", [1, 7, 8, 9, 15, 16, 17, 31, 33, 100, 257])
def test_masks_are_those_of_the_hash_in_plain_python(n_units, dtype):
    z = np.random.default_rng(n_units).standard_normal((5, n_units)).astype(dtype)
    rows, eps = [0, 3, 10**6, 2**40, 4], np.finfo(dtype).eps
    for rate, seed, step, layer in ((0.5, 0, 0, 1), (0.2, 2**64 - 1, 10**9, 3), (0.9, 12345, 1, 0), (0.01, 1 << 63, 2, 7)):
        found = dropped(z, rate, seed, step, layer, rows)
        expected = z * factors_of(rate, seed, step, layer, rows, n_units)
        assert rate == 0.01 or n_units < 15 or (0 < np.count_nonzero(found) < z.size)
        np.testing.assert_array_equal(found == 0, expected == 0)
        np.testing.assert_allclose(found, expected, rtol=2 * eps)


@pytest.mark.parametrize("dtype", DTYPES)
def test_rates_near_0_and_1(dtype):
    z = np.ones((100, 1000), dtype)
    np.testing.assert_array_equal(dropped(z, 0.0), z)
    np.testing.assert_allclose(dropped(z, 2.0**-33), z, rtol=2.0**-32)
    found = dropped(z, 1 - 2.0**-10)
    assert 0 < np.count_nonzero(found) < 200
    assert set(np.unique(found)) == {0, 2**10}
    assert np.isfinite(dropped(z, np.nextafter(1, 0))).all()


def test_units_that_are_dropped_are_0_even_if_they_are_not_finite():
    z = np.tile([np.inf, np.nan], (50, 8))
    found = dropped(z, 0.5)
    assert 300 < (found == 0).sum() < 500
    np.testing.assert_array_equal(np.isfinite(found), found == 0)


# ---------------------------------------------------------------------------------------------------------- statistics

SIGMAS = 5  # of a normal distribution: chance of 6e-7 for each comparison, with seeds that are fixed anyway


def within(value, mean, variance):
    """Whether a sum of many random numbers is where the central limit theorem says."""
    return abs(value - mean) < SIGMAS * math.sqrt(variance)


@pytest.fixture(scope="module", params=[0.5, 0.1, 0.8])
def kept(request):
    """A rate, and which units are kept: bool (seeds, steps, layers, rows, units)."""
    rate, seeds = request.param, [*range(6), 2**32, 2**63]
    every = [[[masks(rate, 60, 257, seed=seed, step=t, layer=m) for m in range(5)] for t in range(8)] for seed in seeds]
    return rate, np.array(every)


AXES = ["seeds", "steps", "layers", "rows", "units"]


@pytest.mark.parametrize("axis", range(5), ids=AXES)
def test_the_rate_is_the_same_everywhere(kept, axis):
    """Chi-squared of the numbers of dropped units for each seed, step, layer, row and unit: neither too large nor too small."""
    rate, whole = kept
    others = tuple(other for other in range(5) if other != axis)
    n, counts = whole.size // whole.shape[axis], (~whole).sum(axis=others)
    assert counts.min() > 0
    chi_squared = ((counts - n * rate) ** 2).sum() / (n * rate * (1 - rate))
    assert within(chi_squared, len(counts), 2 * len(counts))
    assert within(counts.sum(), whole.size * rate, whole.size * rate * (1 - rate))


@pytest.mark.parametrize("axis", range(3), ids=AXES[:3])
def test_the_numbers_of_dropped_units_of_each_row_are_binomial(kept, axis):
    """Their variance over rows, and over neighbours of other kinds."""
    rate, whole = kept
    n, counts = whole.shape[-1], (~whole).sum(axis=-1).astype(float)
    variance, kurtosis = n * rate * (1 - rate), 3 + (1 - 6 * rate * (1 - rate)) / (n * rate * (1 - rate))
    squares = (counts - n * rate) ** 2
    assert within(squares.sum(), squares.size * variance, squares.size * variance**2 * (kurtosis - 1))
    neighbours = np.take(counts, range(1, whole.shape[axis]), axis) - n * rate
    product = (neighbours * (np.take(counts, range(whole.shape[axis] - 1), axis) - n * rate)).sum()
    assert within(product, 0, neighbours.size * variance**2)


@pytest.mark.parametrize("apart", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("axis", range(5), ids=AXES)
def test_neighbours_are_independent(kept, axis, apart):
    rate, whole = kept
    x, size = (whole - (1 - rate)) / math.sqrt(rate * (1 - rate)), whole.shape[axis]
    if apart >= size:
        return
    product = np.take(x, range(apart, size), axis) * np.take(x, range(size - apart), axis)
    assert within(product.sum(), 0, product.size)


@pytest.mark.parametrize(("one", "other"), [(0, 1), (1, 2), (2, 3), (3, 4), (1, 3), (0, 3), (2, 4)])
def test_keys_that_differ_in_two_ways_are_independent(kept, one, other):
    """A step on and a row back, a layer on and a step back, and so on: sums of what is mixed would be the same."""
    rate, whole = kept
    x = (whole - (1 - rate)) / math.sqrt(rate * (1 - rate))
    x = np.moveaxis(x, (one, other), (0, 1))
    for product in (x[1:, :-1] * x[:-1, 1:], x[1:, 1:] * x[:-1, :-1]):
        assert within(product.sum(), 0, product.size)


def test_patterns_of_eight_neighbours_are_equally_frequent():
    """Each of 256 patterns of eight units, and of eight samples."""
    whole = masks(0.5, 2048, 1024)
    for bits in (whole, whole.T):
        patterns = np.packbits(bits, axis=1)
        counts = np.bincount(patterns.ravel(), minlength=256)
        n = patterns.size / 256
        assert counts.min() > 0
        assert within(((counts - n) ** 2 / n).sum(), 255, 2 * 255)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_mean_of_z_is_preserved(dtype):
    z = np.random.default_rng(0).standard_normal((500, 400)).astype(dtype) + 1
    for rate in (0.1, 0.5, 0.9):
        found = dropped(z, rate).astype(float)
        kept = found != 0
        np.testing.assert_allclose(found[kept], z[kept] / (1 - rate), rtol=2 * np.finfo(dtype).eps)
        assert within((found - z).sum(), 0, (z.astype(float) ** 2).sum() * rate / (1 - rate))


def plain_noise(seed, step, row, n_inputs):
    """Box and Muller's numbers, in float64."""
    one, two = (random_numbers(seed, step, NOISE + i, row, n_inputs) for i in range(2))
    return np.sqrt(-2 * np.log((one + 0.5) / 2**32)) * np.cos(2 * math.pi * (two / 2**32 - 0.5))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_inputs", [1, 7, 8, 9, 16, 17, 100])
def test_noise_is_that_of_the_formula(n_inputs, dtype):
    """In float32 1 - u is a multiple of 6e-8, and the root of -2 log u of 3e-4."""
    rows, atol = [0, 5, 2**40], 5e-4 if dtype == "float32" else 1e-8
    found = noise(3, n_inputs, dtype, seed=5, step=7, rows=rows, before=2, deviation=0.5)
    expected = 2 + 0.5 * np.array([plain_noise(5, 7, row, n_inputs) for row in rows])
    assert (np.abs(expected - 2) > 1e-3).any()
    np.testing.assert_allclose(found, expected, rtol=0, atol=atol)


def unmixed(x):
    """The state of which `mix` makes x."""
    x ^= x >> 31 ^ x >> 62
    x = x * pow(0x94D049BB133111EB, -1, 2**64) & M64
    x ^= x >> 27 ^ x >> 54
    x = x * pow(0xBF58476D1CE4E5B9, -1, 2**64) & M64
    x ^= x >> 30 ^ x >> 60
    return (x - 0x9E3779B97F4A7C15) & M64


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("number", "least", "most"), [(0, 6.5, 6.8), (2**32 - 1, 0.0, 2e-5)])
def test_noise_of_the_least_and_the_largest_random_number_is_finite(number, least, most, dtype):
    """log u is then taken of 2^-33, and in float32 of 1.  Rows are chosen so that the first unit has this number."""
    high = number * pow(SECOND, -1, 2**32) & M32  # of a key whose low half is 0
    row = (unmixed(high << 32) - key_of(0, 0, NOISE)) & M64
    assert random_numbers(0, 0, NOISE, row, 1)[0] == number
    cosine = math.cos(2 * math.pi * (random_numbers(0, 0, NOISE + 1, row, 1)[0] / 2**32 - 0.5))
    assert abs(cosine) > 0.01
    found = noise(1, 40, dtype, rows=np.array([row], np.uint64).astype(np.int64))[0]
    assert np.isfinite(found).all()
    assert least <= abs(found[0] / cosine) <= most


def normal_cdf(x):
    return 0.5 * np.vectorize(math.erfc)(-x / math.sqrt(2))


@pytest.fixture(scope="module", params=DTYPES)
def normal(request):
    """Noise (steps, rows, inputs), 640,000 numbers."""
    return np.array([noise(160, 1000, request.param, step=step) for step in range(4)]).astype(float)


def test_noise_has_the_moments_of_a_normal_distribution(normal):
    """Mean 0, E x² = 1, E x³ = 0, E x⁴ = 3, E x⁶ = 15; the variance of x^k is E x^2k - (E x^k)²."""
    n = normal.size
    assert normal.any()
    for power, mean, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96), (5, 0, 945), (6, 15, 10170)):
        assert within((normal**power).sum(), n * mean, n * variance)


def test_noise_has_the_quantiles_and_the_tails_of_a_normal_distribution(normal):
    """Kolmogorov and Smirnov's distance, which is over 2.5 / √n with a chance of 7e-6, and the numbers far out."""
    x = np.sort(normal.ravel())
    expected, n = normal_cdf(x), x.size
    distance = max((expected - np.arange(n) / n).max(), (np.arange(1, n + 1) / n - expected).max())
    assert 0 < distance < 2.5 / math.sqrt(n)
    for bound in (2, 3, 3.5, 4):
        p = normal_cdf(np.array([-bound]))[0]
        for count in ((x > bound).sum(), (x < -bound).sum()):
            assert count > 0
            assert within(count, n * p, n * p)


@pytest.mark.parametrize("apart", [1, 2, 8, 16])
@pytest.mark.parametrize("axis", range(3), ids=["steps", "rows", "inputs"])
def test_neighbours_of_noise_are_independent(normal, axis, apart):
    """So are their squares, which have the radius of Box and Muller in common with nothing."""
    size = normal.shape[axis]
    if apart >= size:
        return
    one, other = np.take(normal, range(apart, size), axis), np.take(normal, range(size - apart), axis)
    assert within((one * other).sum(), 0, one.size)
    assert within(((one**2 - 1) * (other**2 - 1)).sum(), 0, 4 * one.size)
    assert within((one * (other**2 - 1)).sum(), 0, 2 * one.size)


def test_pairs_of_neighbours_of_noise_fill_the_plane(normal):
    cells = np.minimum((normal_cdf(normal[0]) * 12).astype(int), 11)
    counts = np.bincount((12 * cells[:, :-1:2] + cells[:, 1::2]).ravel(), minlength=144)
    n = counts.sum() / 144
    assert counts.min() > 0
    assert within(((counts - n) ** 2 / n).sum(), 143, 2 * 143)


def test_noise_and_masks_of_the_inputs_are_independent():
    x, kept = noise(400, 500), masks(0.5, 400, 500, layer=0)
    sign = np.where(kept, 1, -1)
    assert within((x * sign).sum(), 0, x.size)
    assert within(((x**2 - 1) * sign).sum(), 0, 2 * x.size)


# ---------------------------------------------------------------------------------------------------------------- nets

WIDE = (90, 700, 130, 3)
MIXED = ["gelu", "tanh", "silu", "relu", "logistic"]
NETS = {  # sizes, activations, connections, rates of the hidden layers, rate of the inputs, samples in a batch
    "one hidden layer": ((7, 33, 3), ["tanh"], None, [0.5], 0.0, 40),
    "inputs only": ((7, 33, 3), ["gelu"], None, [0.0], 0.4, 40),
    "deep": ((7, 33, 17, 9, 20, 31, 3), MIXED, None, [0.5, 0.0, 0.2, 0.1, 0.7], 0.3, 50),
    "all": ((7, 17, 9, 16, 8, 31, 5), MIXED[::-1], "all", [0.5, 0.3, 0.0, 0.1, 0.2], 0.2, 33),
    "few": ((9, 17, 31, 16), ["silu", "tanh"], "all", [0.5, 0.2], 0.1, 40),
    "wide": (WIDE, ["gelu", "relu"], None, [0.5, 0.2], 0.1, 64),
    "wide, few samples": (WIDE, ["tanh", "gelu"], None, [0.5, 0.2], 0.1, 3),
    "chunks": ((5, 9, 7, 2), ["silu", "logistic"], None, [0.3, 0.5], 0.1, 200),
    "chunks by parts": ((5, 9, 7, 2), ["gelu", "tanh"], "all", [0.3, 0.5], 0.1, 200),
    "single samples": ((5, 9, 7, 2), ["silu", "gelu"], None, [0.3, 0.5], 0.2, 1),
}
SEED = 2**63 + 12345


def net_of(kind, dtype, monkeypatch, layer_norm=False):
    """A net, and the size of its batches; with layer_norm its hidden layers are normalised."""
    sizes, activations, connections, rates, of_inputs, batch_size = NETS[kind]
    own = {"connections": connections, "dropout": rates, "input_dropout": of_inputs, "layer_norm": layer_norm}
    if kind == "few":
        monkeypatch.setattr(few_weights, "FEW", 1)
        rng = np.random.default_rng(3)
        shares = {(0, 1): 0.3, (1, 2): 0.2, (0, 2): 0.1, (2, 3): 0.4, (1, 3): 0.5}
        own["masks"] = {pair: rng.random((sizes[pair[0]], sizes[pair[1]])) < share for pair, share in shares.items()}
    if kind.startswith("chunks"):
        monkeypatch.setattr(partition, "n_chunks_of", lambda layout, batch_size: 4)
        monkeypatch.setattr(partition, "samples_together", lambda *_: 12 if "parts" in kind else 0)
    net = bp.MLP(sizes, activations, dtype=dtype, random_state=2, **own)
    rng = np.random.default_rng(4)
    for bias in net.biases:
        bias[:] = 0.1 * rng.standard_normal(bias.size)
    for gains, shifts in zip(net.gains, net.shifts, strict=True):
        gains[:], shifts[:] = rng.uniform(0.5, 1.5, gains.size), 0.1 * rng.standard_normal(shifts.size)
    assert np.count_nonzero(net._network.compiled.edges["first_present"]) == (5 if kind == "few" else 0)
    return net, batch_size


def data_of(net, n):
    rng = np.random.default_rng(1)
    X, T = rng.standard_normal((n, net.layer_sizes[0])), rng.standard_normal((n, net.layer_sizes[-1]))
    s = rng.uniform(0.5, 1, n)
    return tuple(array.astype(net.dtype) for array in (X, T, s))


def trained(net, data, order, batch_size, learning_rate, seed=SEED):
    """Steps of plain gradient descent on samples in an order; returns Σ_n s_n E^n."""
    network, optimizer = net._network, bp.SGD(learning_rate, momentum=0.0)
    layout, total = network.layout, np.zeros((1, 3))
    step = operands.step(bp.SGD, optimizer.settings(layout.dtype), *optimizer.bind(layout), layout)
    batches = MiniBatches(network, step, batch_size, seed=lambda: seed)
    batches.run(operands.samples(*data), np.array(order), total)
    return total[0, 0]


def factors_in(net, step, rows, seed=SEED):
    """The factors of all layers but the outputs."""
    rates = [net.input_dropout, *net.dropout]
    return [
        factors_of(rate, seed, step, layer, rows, size) if rate else 1.0
        for layer, (rate, size) in enumerate(zip(rates, net.layer_sizes[:-1], strict=True))
    ]


def numbers_of(net):
    """In the order of `NumpyNet.numbers`."""
    return *net.weights, *net.biases, *net.gains, *net.shifts


def tolerance(net, batch_size, dtype):
    """Of numbers of size 1 that come from sums over the units of each layer and over the samples."""
    return np.finfo(dtype).eps * (len(net.layer_sizes) * math.sqrt(max(net.layer_sizes)) + math.sqrt(batch_size))


LAYER_NORM = pytest.mark.parametrize("layer_norm", [False, True], ids=["", "normalised"])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", NETS)
@LAYER_NORM
def test_a_gradient_is_that_of_numpy_with_the_same_masks(layer_norm, kind, dtype, monkeypatch):
    """As a step of gradient descent with a learning rate of 1 shows it."""
    net, batch_size = net_of(kind, dtype, monkeypatch, layer_norm)
    X, T, s = data = data_of(net, batch_size + 5)
    rows = np.random.default_rng(0).permutation(len(X))[:batch_size]
    oracle, before = NumpyNet(net), [w.astype(float) for w in numbers_of(net)]
    error = trained(net, data, rows, batch_size, 1.0)
    factors = factors_in(net, 0, rows)
    own = X[rows].astype(float), T[rows].astype(float), s[rows].astype(float), factors
    expected, scale = oracle.gradient(*own), tolerance(net, batch_size, dtype)
    without = oracle.gradient(*own[:3])
    for w, new, g, other in zip(before, numbers_of(net), expected, without, strict=True):
        size = np.abs(g).max()
        assert size > 1e-3
        assert batch_size == 1 or np.abs(g - other).max() > 1e-2 * size  # dropout has changed it
        np.testing.assert_allclose(w - new, g, rtol=0, atol=scale * (size + np.abs(w).max()))
    np.testing.assert_allclose(error, oracle.error(*own) * own[2].sum(), rtol=scale)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ["deep", "all", "few", "chunks", "wide, few samples"])
@LAYER_NORM
def test_each_step_has_masks_of_its_own(layer_norm, kind, dtype, monkeypatch):
    """Three batches, the last of which is smaller, in an order that is not that of the samples."""
    net, batch_size = net_of(kind, dtype, monkeypatch, layer_norm)
    n, rate = 2 * batch_size + (batch_size + 1) // 2, 0.125
    X, T, s = (array.astype(float) for array in data_of(net, n))
    order = np.random.default_rng(0).permutation(n)
    oracle, before = NumpyNet(net), [w.astype(float) for w in numbers_of(net)]
    trained(net, data_of(net, n), order, batch_size, rate)
    for step in range(3):
        rows = order[step * batch_size : (step + 1) * batch_size]
        oracle = oracle.moved(oracle.gradient(X[rows], T[rows], s[rows], factors_in(net, step, rows)), -rate)
    scale = 3 * tolerance(net, batch_size, dtype)
    for w, new, expected in zip(before, numbers_of(net), oracle.numbers, strict=True):
        assert np.abs(expected - w).max() > 1e-3
        np.testing.assert_allclose(new, expected, rtol=0, atol=scale * np.abs(w).max())


@LAYER_NORM
def test_the_oracle_agrees_with_central_differences(layer_norm, monkeypatch):
    net, batch_size = net_of("all", "float64", monkeypatch, layer_norm)
    X, T, s = data_of(net, batch_size)
    oracle, factors = NumpyNet(net), factors_in(net, 0, range(batch_size))
    rng = np.random.default_rng(0)
    direction = [rng.standard_normal(number.shape) for number in oracle.numbers]
    gradient = oracle.gradient(X, T, s, factors)
    slope, h = sum((d * g).sum() for d, g in zip(direction, gradient, strict=True)), 1e-5
    up, down = (oracle.moved(direction, sign * h).error(X, T, s, factors) for sign in (1, -1))
    assert abs(slope) > 1e-3
    np.testing.assert_allclose((up - down) / (2 * h), slope, rtol=1e-7)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_step_with_noise_is_that_of_numpy_with_the_same_noise(dtype):
    """Before the inputs are dropped."""
    net = bp.MLP((9, 16, 2), "gelu", dtype=dtype, random_state=0, input_noise=0.3, input_dropout=0.25)
    X, T, s = data = data_of(net, 50)
    oracle, before = NumpyNet(net), [w.astype(float) for w in numbers_of(net)]
    trained(net, data, range(50), 50, 1.0)
    added = 0.3 * np.array([plain_noise(SEED, 0, row, 9) for row in range(50)])
    own = X.astype(float), T.astype(float), s.astype(float), factors_in(net, 0, range(50))
    atol = 1e-4 if dtype == "float32" else 1e-8  # of noise, see above
    for w, new, g, other in zip(before, numbers_of(net), oracle.gradient(*own, added), oracle.gradient(*own), strict=True):
        assert np.abs(g - other).max() > 1e-3
        np.testing.assert_allclose(w - new, g, rtol=0, atol=atol)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ["deep", "all", "few", "wide", "chunks", "chunks by parts"])
@LAYER_NORM
def test_one_and_two_threads_give_the_same_bits(layer_norm, kind, dtype, monkeypatch, on_one_and_two_threads):
    def results_of_training(n_threads):
        net, batch_size = net_of(kind, dtype, monkeypatch, layer_norm)
        net.input_noise = 0.1
        first = net.parameters
        error = trained(net, data_of(net, 3 * batch_size), range(3 * batch_size), batch_size, 0.1)
        assert (net.parameters != first).mean() > (0.3 if kind == "few" else 0.9)
        return [net.parameters, error]

    results = on_one_and_two_threads(results_of_training)
    for one, two in zip(*results, strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("batch_size", [5, 40])
@LAYER_NORM
def test_lists_of_weights_give_the_bits_of_the_tiles(layer_norm, batch_size, dtype, monkeypatch):
    results = []
    for few in (0, 1):
        net, _ = net_of("few", dtype, monkeypatch, layer_norm)
        monkeypatch.setattr(few_weights, "FEW", few)
        net._network._set_present(net._network.present)
        assert np.count_nonzero(net._network.compiled.edges["first_present"]) == 5 * few
        error = trained(net, data_of(net, 80), range(80), batch_size, 0.1)
        results.append([net.parameters, error])
    assert results[0][0].any()
    for one, two in zip(*results, strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("kind", ["deep", "all", "wide"])
def test_the_masks_of_a_sample_do_not_depend_on_its_place(kind, monkeypatch):
    """A batch in another order has the same gradient, up to the order of its sums."""
    results, dtype = [], "float64"
    for order in (range(40), np.random.default_rng(0).permutation(40)):
        net, _ = net_of(kind, dtype, monkeypatch)
        before = net.parameters
        trained(net, data_of(net, 40), order, 40, 1.0)
        results.append(net.parameters - before)
    assert np.abs(results[0]).max() > 0.1
    np.testing.assert_allclose(*results, rtol=0, atol=1e-12)
