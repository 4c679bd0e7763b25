"""The small tables and the four sums, at the edges: saturation, NaN, guard zones."""

import numpy as np
import pytest

from bpkernel import activations, losses, sums
from bpkernel.compiler import kernel
from bpkernel.layout import aligned_zeros, padded
from bpkernel.tiles import LINE
from bpkernel.views import flat, rows_from


@kernel(entry=True)
def activate(address, z, row, first, n):
    activations.activate(address, (flat(z), row, first, n))


@kernel(entry=True)
def pull_back(address, z, d, row, first, n):
    activations.pull_back(address, (flat(z), flat(d), row, first, n))


@kernel(entry=True)
def run_error(address, a, y, t):
    return losses.error(address, (a, y, t))


@kernel(entry=True)
def run_slope(address, y, t, d):
    losses.slope(address, (y, t, d))


def g(name, a):
    """z of one sample."""
    z = a.copy().reshape(1, -1)
    activate(activations.address_of_g(activations.BY_NAME[name].g, a.dtype), z, a.size, 0, a.size)
    return z[0]


def back(name, z, d):
    """∂E/∂a of one sample."""
    z, d = z.reshape(1, -1), d.copy().reshape(1, -1)
    pull_back(activations.address_of_pull_back(activations.BY_NAME[name].pull_back, z.dtype), z, d, z.size, 0, z.size)
    return d[0]


def error(name, a, y, t):
    return run_error(losses.address_of_error(losses.BY_NAME[name].error, y.dtype), a, y, t)


def error_canonical(name, a, y, t):
    return run_error(losses.address_of_error(losses.BY_NAME[name].error_canonical, y.dtype), a, y, t)


def slope(name, y, t):
    d = np.zeros_like(y)
    run_slope(losses.address_of_slope(losses.BY_NAME[name].slope, y.dtype), y, t, d)
    return d


DTYPES = ["float32", "float64"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", activations.BY_NAME)
def test_nan_comes_through_every_activation(name, dtype):
    for n in (1, 3, 16, 33):
        a = np.full(n, 0.5, dtype)
        a[n // 2] = np.nan
        z = g(name, a)
        assert np.isnan(z[n // 2])
        if name != "softmax":
            assert np.isfinite(np.delete(z, n // 2)).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", losses.BY_NAME)
def test_nan_comes_through_every_loss(name, dtype):
    for wrong in range(2):
        y, t = np.full(5, 0.5, dtype), np.full(5, 0.25, dtype)
        (y, t)[wrong][3] = np.nan
        assert np.isnan(error(name, y, y, t)) or (name, wrong) == ("poisson", 1)
        assert np.isnan(error_canonical(name, y, y, t))


@pytest.mark.parametrize("dtype", DTYPES)
def test_saturated_activations_are_exact(dtype):
    a = np.array([-1e4, -100, 100, 1e4], dtype)
    np.testing.assert_allclose(g("logistic", a), [0, 0, 1, 1], atol=1e-40)
    assert g("tanh", a).tolist() == [-1, -1, 1, 1]
    assert g("softmax", a).tolist() == [0, 0, 0, 1]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", losses.BY_NAME)
def test_errors_and_deltas_of_saturated_outputs_are_finite(name, dtype):
    """A net that is wrong with certainty, y = 0 where t = 1, still has a finite E and δ with every activation."""
    for output in losses.outputs_for(name):
        a, t = np.array([-80.0, 40.0, 30.0], dtype), np.array([1, 0, 0], dtype)
        y = g(output, a)
        assert np.isfinite(error(name, a, y, t))
        assert np.isfinite(back(output, y, slope(name, y, t))).all(), output
        if losses.BY_NAME[name].canonical == output:
            assert error_canonical(name, a, y, t) > 1


@pytest.mark.parametrize("dtype", DTYPES)
def test_canonical_errors_keep_their_precision(dtype):
    """-log softmax of a_1 = -200 beside 0 is 200, though softmax itself is 0 in float32; log(1 + e^-200) is not 0."""
    one, a = np.array([1, 0], dtype), np.array([-200, 0], dtype)
    assert error_canonical("cross_entropy", a, g("softmax", a), one) == 200
    a = np.array([-200, -20], dtype)
    assert error_canonical("binary_cross_entropy", a, g("logistic", a), one) == pytest.approx(200 + np.exp(-20), rel=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", activations.BY_NAME)
def test_a_sample_does_not_depend_on_the_others_of_its_block(name, dtype):
    """Of a block of rows with other numbers between them, each comes out as it does alone, bit for bit."""
    rng = np.random.default_rng(0)
    for n_samples, n in ((1, 1), (5, 3), (7, 17), (40, 10)):
        first, row = 4, n + 9
        block = rng.standard_normal((n_samples, row)).astype(dtype)
        alone = [g(name, block[k, first : first + n].copy()) for k in range(n_samples)]
        activate(activations.address_of_g(activations.BY_NAME[name].g, block.dtype), block, row, first, n)
        np.testing.assert_array_equal(block[:, first : first + n], alone)


# ---------------------------------------------------------------------------------------------- the sums, with guard zones


@kernel
def view(array):
    return rows_from(array, 0, array.shape[0], 0)


@kernel(entry=True)
def run_pre_activations(panels, w, z, width, a):
    sums.pre_activations(panels, view(w), view(z), width, view(a))


@kernel(entry=True)
def run_hidden_deltas(panels, back, w_next, w_next_t, delta_next, lead, n_out, z, delta):
    views = view(w_next), view(w_next_t), view(delta_next)
    sums.hidden_deltas(panels, back, *views, lead, n_out, view(z), view(delta))


@kernel(entry=True)
def run_gradient(panels, z, delta, first, last, width, dw):
    sums.gradient(panels, view(z), view(delta), first, last, width, view(dw))


GUARD = 7.0


class Guarded:
    """A matrix of zeros, rows on cache lines, with a guard zone before it, behind it and at the end of every row."""

    def __init__(self, n_rows, width, dtype):
        dtype = np.dtype(dtype)
        per_line = LINE // dtype.itemsize
        self.row = padded(width, dtype) + per_line
        self.whole = aligned_zeros((n_rows + 2) * self.row, dtype).reshape(n_rows + 2, self.row)
        self.whole[:] = GUARD
        self.width = padded(width, dtype)
        self.array = self.whole[1:-1]
        self.array[:, : self.width] = 0

    def fill(self, rng, n_columns, first=0):
        self.array[:, first : first + n_columns] = rng.standard_normal((len(self.array), n_columns))
        return self

    def is_whole(self):
        return (self.whole[[0, -1]] == GUARD).all() and (self.array[:, self.width :] == GUARD).all()


SIZES = range(1, 71)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", SIZES)
def test_the_sums_write_what_they_own_and_nothing_else(size, dtype):
    """Each size as the number of samples, of units before and of units after, the other two being something else."""
    rng = np.random.default_rng(size)
    for n_samples, n_in, n_out in ((size, 19, 9), (5, size, 21), (13, 11, size)):
        check_sums(rng, n_samples, n_in, n_out, dtype)


def check_sums(rng, n_samples, n_in, n_out, dtype):
    panels, real = sums.panels(np.dtype(dtype)), np.dtype(dtype)
    lead = LINE // real.itemsize
    eps = np.finfo(dtype).eps
    w, z = Guarded(1 + n_in, n_out, dtype).fill(rng, n_out), Guarded(n_samples, 1 + n_in, dtype).fill(rng, 1 + n_in)
    a = Guarded(n_samples, n_out, dtype)
    run_pre_activations(panels, w.array, z.array, padded(n_out, real), a.array)
    z_n, w_n = (m.array[:, :k].astype(float) for m, k in ((z, 1 + n_in), (w, n_out)))
    found = a.array[:, : a.width]
    np.testing.assert_array_less(abs(found[:, :n_out] - z_n @ w_n), (n_in + 3) * eps * (abs(z_n) @ abs(w_n)) + 1e-30)
    assert found[:, :n_out].any()
    assert not found[:, n_out:].any()
    assert a.is_whole()

    delta = Guarded(n_samples, n_out, dtype).fill(rng, n_out)
    d_n = delta.array[:, :n_out].astype(float)
    first = n_in // 2
    dw = Guarded(1 + n_in - first, n_out, dtype)
    run_gradient(panels, z.array, delta.array, first, n_in, padded(n_out, real), dw.array)
    expected, terms = z_n.T[first:] @ d_n, abs(z_n).T[first:] @ abs(d_n)
    np.testing.assert_array_less(abs(dw.array[:, :n_out] - expected), (n_samples + 3) * eps * terms + 1e-30)
    assert not dw.array[:, n_out : dw.width].any()
    assert dw.is_whole()

    # w now leads from the units whose δ is sought, n_in of them, to the next ones, n_out of them
    transposed = Guarded(n_out, n_in, dtype)
    transposed.array[:, :n_in] = w.array[1:, :n_out].T
    units = Guarded(n_samples, lead + n_in, dtype).fill(rng, n_in, lead)
    address = activations.address_of_pull_back(activations.Tanh.pull_back, real)
    in_order = None
    for w_t in (transposed.array[:, : transposed.row], np.empty((n_out, 0), dtype)):
        back = Guarded(n_samples, lead + n_in, dtype)
        whole = np.ascontiguousarray(units.array), np.ascontiguousarray(back.array)
        run_hidden_deltas(panels, address, w.array, w_t, delta.array, lead, n_in, *whole)
        found = whole[1][:, lead : lead + n_in]
        np.testing.assert_array_equal(found, found if in_order is None else in_order)
        in_order = found
        slopes = 1 - whole[0][:, lead : lead + n_in].astype(float) ** 2
        expected, terms = (d_n @ w_n[1:].T) * slopes, (abs(d_n) @ abs(w_n[1:]).T) * (abs(slopes) + 1)
        np.testing.assert_array_less(abs(whole[1][:, lead : lead + n_in] - expected), (n_out + 5) * eps * terms + 1e-30)
        assert not whole[1][:, lead + n_in : back.width].any()
        assert (back.whole[[0, -1]] == GUARD).all()  # the numbers between the rows may be written, those around them not
