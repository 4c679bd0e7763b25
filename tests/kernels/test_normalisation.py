"""Normalised nodes: the loops beside NumPy's formulas, and the same bits however a row is computed."""

import numpy as np
import pytest
import scipy.sparse

import bpkernel as bp
from bpkernel.codegen.jit import kernel
from bpkernel.codegen.precision import Precision
from bpkernel.codegen.processor import LINE
from bpkernel.codegen.views import rows_from
from bpkernel.kernels import few_weights, normalisation, operands
from bpkernel.mini_batches import MiniBatches
from bpkernel.runtime.memory import aligned_zeros, padded

DTYPES = ["float32", "float64"]
SIZES = [*range(2, 36), 47, 64, 65, 127, 128, 200]
GUARD = 7.0


@kernel(view=True)
def view(array):
    return rows_from(array, 0, array.shape[0], 0)


@kernel(entry=True)
def run_forward(pointer, gains, n_units, z, normal):
    normalisation._call_forward(pointer, (view(gains), n_units, view(z), view(normal)))


@kernel(entry=True)
def run_backward(pointer, gains, n_units, normal, delta, of_u):
    normalisation._call_backward(pointer, (view(gains), n_units, view(normal), view(delta), view(of_u)))


@kernel(entry=True)
def run_gradient(pointer, normal, of_u, width, add, g):
    normalisation._call_gradient(pointer, (view(normal), view(of_u), width, add, view(g)))


class Rows:
    """Rows of units as a node has them, after a cache line, with guard zones around them and, in the padding, NaN."""

    def __init__(self, numbers, dtype):
        n_rows, self.n_units = numbers.shape
        self.line = LINE // np.dtype(dtype).itemsize
        self.end = self.line + padded(self.n_units, np.dtype(dtype))
        row = self.end + self.line
        self._whole = aligned_zeros((n_rows + 2) * row, np.dtype(dtype)).reshape(-1, row)
        self._whole[:] = GUARD
        self.rows = self._whole[1:-1, : self.end]
        self.rows[:, self.line :] = np.nan
        self.units[:] = numbers

    @property
    def units(self):
        return self.rows[:, self.line : self.line + self.n_units]

    def check(self, *, padding_is_0, before=slice(None)):
        """That nothing is written beside the units, except in front of them where `before` leaves it out."""
        assert (self._whole[[0, -1]] == GUARD).all()
        assert (self._whole[:, self.end :] == GUARD).all()
        assert (self.rows[:, : self.line][:, before] == GUARD).all()
        padding = self.rows[:, self.line + self.n_units :]
        assert not padding.any() if padding_is_0 else np.isnan(padding).all()


def gains_of(rng, n_units, dtype):
    """Shifts and gains (2, row), their padding 0."""
    gains = aligned_zeros(2 * padded(n_units, np.dtype(dtype)), np.dtype(dtype)).reshape(2, -1)
    gains[:, :n_units] = rng.uniform(-1, 1, n_units), rng.uniform(-2, 2, n_units)
    return gains


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_units", SIZES)
def test_the_loops_are_the_formulas_and_write_nothing_else(n_units, dtype):
    """With errors of a few eps, as long sums are of many partial ones; sums of size 3 have a spread of 1 or more here."""
    rng, pointers = np.random.default_rng(n_units), normalisation.pointers_to_normalisation(Precision.of(dtype))
    n_samples, gains = 5, gains_of(rng, n_units, dtype)
    shift, gain = gains[:, :n_units].astype(float)
    a = (3 + rng.standard_normal((n_samples, n_units)) + 2 * (np.arange(n_units) % 2)).astype(dtype)
    z, normal = Rows(a, dtype), Rows(np.full(a.shape, np.nan), dtype)
    run_forward(pointers[normalisation.FORWARD], gains, n_units, z.rows, normal.rows)
    spread = np.sqrt(a.astype(float).var(axis=1, keepdims=True) + 1e-5)
    n = (a.astype(float) - a.mean(axis=1, keepdims=True, dtype=float)) / spread
    tolerance = 30 * np.finfo(dtype).eps * (np.abs(a).max() / spread.min())
    np.testing.assert_allclose(normal.units, n, rtol=0, atol=tolerance)
    np.testing.assert_allclose(z.units, gain * n + shift, rtol=0, atol=3 * tolerance)
    np.testing.assert_allclose(normal.rows[:, normal.line - 1], 1 / spread[:, 0], rtol=tolerance)
    z.check(padding_is_0=True)
    normal.check(padding_is_0=True, before=slice(None, -1))

    d = rng.standard_normal((n_samples, n_units)).astype(dtype)
    delta, of_u = Rows(d, dtype), Rows(np.full(d.shape, np.nan), dtype)
    delta.rows[:, delta.line + n_units :] = 0
    run_backward(pointers[normalisation.BACKWARD], gains, n_units, normal.rows, delta.rows, of_u.rows)
    c = gain * d
    expected = (c - c.mean(axis=1, keepdims=True) - n * (c * n).mean(axis=1, keepdims=True)) / spread
    assert n_units == 2 or np.abs(expected).max() > 0.1  # of two units only the sign matters, but for ε
    np.testing.assert_allclose(delta.units, expected, rtol=0, atol=9 * tolerance * np.abs(c).max())
    np.testing.assert_array_equal(of_u.units, d)
    delta.check(padding_is_0=True)
    of_u.check(padding_is_0=True)
    normal.check(padding_is_0=True, before=slice(None, -1))

    g, width = Rows(np.full((2, n_units), np.nan), dtype), padded(n_units, np.dtype(dtype))
    for times in (1, 2):  # overwritten, then added to
        operands_of = (rows.rows[:, rows.line :] for rows in (normal, of_u))
        run_gradient(pointers[normalisation.GRADIENT], *operands_of, width, times - 1, g.rows[:, g.line :])
        expected = times * np.array([d.astype(float).sum(axis=0), (d * normal.units.astype(float)).sum(axis=0)])
        assert np.abs(expected).max() > 0.1
        np.testing.assert_allclose(g.units, expected, rtol=0, atol=2 * n_samples * np.finfo(dtype).eps * 10)
        g.check(padding_is_0=True)


@pytest.mark.parametrize("dtype", DTYPES)
def test_two_units_worked_by_hand(dtype):
    """a = (1, 3): m = 2, v = 1, n = ∓1 / √(1 + 1e-5); u = (2, 3) n + (1, -1).  Twice as far apart, n hardly changes.

    δ: with c = (2, 0) / 2 for ∂E/∂u = (½, 0): c - mean c = (½, -½), mean (c n) = -½ r, n mean (c n) = (½, -½) r², times r.
    """
    net = bp.MLP((1, 2, 1), "identity", dtype=dtype, random_state=0, layer_norm=True)
    (w, u), (b, c) = net.weights, net.biases
    w[:], b[:], u[:], c[:] = [[1, 3]], 0, [[0.5], [0]], 0
    net.gains[0][:], net.shifts[0][:] = [2, 3], [1, -1]
    r = 1 / np.sqrt(1 + 1e-5)
    y = 0.5 * (1 - 2 * r)
    found, rtol = net.backprop([[1.0]], [y - 1]), 20 * np.finfo(dtype).eps
    np.testing.assert_allclose(found.a[1], [[1 - 2 * r, 3 * r - 1]], rtol=rtol)
    np.testing.assert_allclose(found.z[2], [[y]], rtol=rtol)
    np.testing.assert_allclose(found.dgains[0], [-0.5 * r, 0], rtol=rtol)
    np.testing.assert_allclose(found.dshifts[0], [0.5, 0], rtol=rtol)
    half = 0.5 * (1 - r * r) * r
    np.testing.assert_allclose(found.delta[1], [[half, -half]], rtol=0, atol=2 * np.finfo(dtype).eps)
    np.testing.assert_allclose(net.predict([[2.0]]), [[0.5 * (1 - 2 * 2 / np.sqrt(4 + 1e-5))]], rtol=rtol)


def net_of(sizes, dtype, connections=None, masks=None, activation="gelu"):
    """A normalised net with random gains and shifts."""
    own = {"connections": connections, "masks": masks, "layer_norm": True, "random_state": 0}
    net = bp.MLP(sizes, activation, dtype=dtype, **own)
    rng = np.random.default_rng(1)
    for gains, shifts in zip(net.gains, net.shifts, strict=True):
        gains[:], shifts[:] = rng.uniform(0.5, 1.5, gains.size), rng.uniform(-0.5, 0.5, shifts.size)
    return net


NETS = {
    "chain": ((7, 33, 5), None),
    "narrow": ((3, 2, 3), None),
    "all": ((7, 17, 40, 9, 21), "all"),
    "wide": ((90, 200, 300, 3), None),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", NETS)
def test_a_row_alone_has_the_bits_that_it_has_in_a_batch(kind, dtype):
    """In prediction, in compiled functions, in a pass forward and back, and in batches of any size."""
    net = net_of(NETS[kind][0], dtype, NETS[kind][1])
    assert net._network.layout.edges["wide"].any() == (kind == "wide")
    rng, n_outputs = np.random.default_rng(0), net.layer_sizes[-1]
    X, T = rng.standard_normal((300, net.layer_sizes[0])), rng.standard_normal((300, n_outputs))
    y, one, predict = net.predict(X), np.empty(n_outputs), net.as_njit()
    whole = net.backprop(X[:40], T[:40])
    assert y.any()
    np.testing.assert_array_equal(whole.z[-1], y[:40])
    for n in [*range(20), 150, 299]:
        np.testing.assert_array_equal(net.predict(X[n : n + 1])[0], y[n])
        predict(X[n], one)
        np.testing.assert_array_equal(one, y[n])
    for first, last in ((0, 1), (3, 5), (5, 12), (12, 20), (20, 40)):
        part = net.backprop(X[first:last], T[first:last])
        for name in ("a", "z", "delta"):
            for found, expected in zip(getattr(part, name)[1:], getattr(whole, name)[1:], strict=True):
                assert found.any()
                np.testing.assert_array_equal(found, expected[first:last])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("batch_size", [3, 40])
def test_sparse_inputs_give_what_dense_ones_do(batch_size, dtype):
    rng = np.random.default_rng(0)
    X = scipy.sparse.random(120, 30, 0.2, "csr", np.dtype(dtype), rng, rng.standard_normal)
    T, s, results = rng.standard_normal((120, 2)).astype(dtype), np.ones(120, dtype), []
    for dense in (True, False):
        net = net_of((30, 17, 9, 2), dtype, "all")
        network, optimizer, total, before = net._network, bp.SGD(0.1, momentum=0.0), np.zeros((1, 3)), net.parameters
        layout = network.layout
        step = operands.step(bp.SGD, optimizer.settings(layout.dtype), *optimizer.bind(layout), layout)
        samples = operands.samples(X.toarray(), T, s) if dense else operands.sparse_samples(X, T, s, layout)
        MiniBatches(network, step, batch_size).run(samples, np.arange(120), total)
        assert (net.parameters != before).mean() > 0.9
        results.append([net.parameters, total])
    for found, expected in zip(*results, strict=True):
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e4 * np.finfo(dtype).eps)


def test_a_layer_does_not_feel_the_size_of_its_weights_nor_a_bias_of_all_units():
    net = net_of((7, 33, 16, 3), "float64")
    rng = np.random.default_rng(0)
    X, T = rng.standard_normal((20, 7)), rng.standard_normal((20, 3))
    y, gradient = net.predict(X), net.gradient(X, T)
    net.weights[1][:] *= 1e6  # so that ε does not count
    net.biases[1][:] *= 1e6
    far = net.predict(X)
    np.testing.assert_allclose(far, y, rtol=0, atol=1e-3)
    net.weights[1][:] *= 8
    net.biases[1][:] *= 8
    np.testing.assert_allclose(net.predict(X), far, rtol=1e-9)
    net.biases[1][:] += 1e5
    np.testing.assert_allclose(net.predict(X), far, rtol=1e-9)
    assert not np.allclose(net.gradient(X, T), gradient)


def test_deltas_of_a_sample_have_no_mean_and_no_part_along_n():
    """Since a common shift of all sums changes nothing, and neither does a common factor, but for ε."""
    net = net_of((7, 33, 16, 3), "float64", activation="tanh")
    net.weights[0][:] *= 100
    rng = np.random.default_rng(0)
    X, T = rng.standard_normal((20, 7)), rng.standard_normal((20, 3))
    r = net.backprop(X, T)
    n = (r.a[1] - net.shifts[0]) / net.gains[0]
    size = np.abs(r.delta[1]).sum(axis=1)
    assert size.min() > 1e-6
    assert (np.abs(r.delta[1].sum(axis=1)) < 1e-13 * size).all()
    assert (np.abs((r.delta[1] * n).sum(axis=1)) < 1e-6 * size).all()
    assert np.abs((r.delta[1] * n**2).sum(axis=1)).max() > 1e-3 * size.max()


@pytest.mark.parametrize("dtype", DTYPES)
def test_equal_sums_and_large_ones_have_finite_derivatives(dtype):
    net = net_of((2, 9, 1), dtype)
    net.weights[0][:] = net.weights[0][:, :1]  # of equal sums n is 0
    r = net.backprop([[1.0, 2.0]], [1.0])
    np.testing.assert_array_equal(r.a[1], [net.shifts[0]])
    assert not r.dgains[0].any()
    assert all(np.isfinite(array).all() and array.any() for array in (*r.dw, *r.db, *r.dshifts))
    net = net_of((2, 9, 1), dtype)
    largest = np.sqrt(np.finfo(dtype).max) / 100  # whose square is finite
    r = net.backprop([[largest, -largest]], [1.0])
    assert all(np.isfinite(array).all() and array.any() for array in (*r.dw, *r.db, *r.dgains, *r.dshifts))


def test_lists_of_weights_take_no_gains(monkeypatch):
    """The edge of a node to itself is never computed over a list."""
    monkeypatch.setattr(few_weights, "FEW", 1)
    masks = {(0, 1): np.random.default_rng(0).random((9, 17)) < 0.1}
    net = net_of((9, 17, 3), "float32", masks=masks)
    edges = net._network.compiled.edges
    assert edges["first_present"].astype(bool).tolist() == [True, False, False]
    assert (edges["source"][2], edges["target"][2]) == (1, 1)


def test_nets_without_layer_norm_have_no_further_memory():
    plain, normalised = (bp.MLP((9, 17, 3), layer_norm=own)._network.layout for own in (False, True))
    assert (plain.nodes["own_edge"] == -1).all()
    assert normalised.nodes["own_edge"].tolist() == [-1, 2, -1]
    assert normalised.n_units == plain.n_units + plain.nodes["row"][1]
    assert normalised.n_params == plain.n_params + 2 * plain.row_lengths[0]
    assert (len(plain.edges), len(normalised.edges)) == (2, 3)
    assert plain.shape != normalised.shape
