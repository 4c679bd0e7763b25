"""The four sums beside NumPy's products, with guard zones around every operand."""

import numpy as np
import pytest

from bpkernel.codegen.jit import kernel
from bpkernel.codegen.precision import Precision
from bpkernel.codegen.processor import LINE
from bpkernel.codegen.tiles import per_line
from bpkernel.codegen.views import rows_from
from bpkernel.functions import activations
from bpkernel.kernels import sums
from bpkernel.runtime.memory import aligned_zeros, padded

DTYPES = ["float32", "float64"]


@kernel(view=True)
def view(array):
    return rows_from(array, 0, array.shape[0], 0)


@kernel(entry=True)
def run_pre_activations(panels, add, w, z, width, a):
    sums.pre_activations(panels, add, view(w), view(z), width, view(a))


@kernel(entry=True)
def run_back_propagate(panels, add, w_next, w_next_t, delta_next, n_out, delta):
    d = rows_from(delta, 0, delta.shape[0], per_line(delta))
    sums.back_propagate(panels, add, view(w_next), view(w_next_t), view(delta_next), n_out, d)


@kernel(entry=True)
def run_hidden_deltas(pointer, a, z, n_out, delta, fault):
    sums.hidden_deltas(pointer, view(a), view(z), n_out, view(delta), fault)


@kernel(entry=True)
def run_gradient(panels, add, z, delta, first, last, width, dw):
    sums.gradient(panels, add, view(z), view(delta), first, last, width, view(dw))


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


def panels_for(widths, dtype):
    """The sums in tiles for matrices of these widths."""
    panels = sums.no_panels()
    sums.compile_panels(panels, widths, Precision.of(dtype), add=True, dots=True, add_gradients=True)
    return panels


def check_sums(rng, n_samples, n_in, n_out, dtype):
    panels, real = panels_for((n_in, n_out), dtype), np.dtype(dtype)
    lead = LINE // real.itemsize
    eps = np.finfo(dtype).eps
    w, z = Guarded(1 + n_in, n_out, dtype).fill(rng, n_out), Guarded(n_samples, 1 + n_in, dtype).fill(rng, 1 + n_in)
    a = Guarded(n_samples, n_out, dtype)
    z_n, w_n = (m.array[:, :k].astype(float) for m, k in ((z, 1 + n_in), (w, n_out)))
    for add in range(2):  # overwritten first, then added to
        run_pre_activations(panels, add, w.array, z.array, padded(n_out, real), a.array)
        found, times = a.array[:, : a.width], 1 + add
        bound = ((1 + add) * n_in + 3) * eps * times * (abs(z_n) @ abs(w_n)) + 1e-30
        np.testing.assert_array_less(abs(found[:, :n_out] - times * (z_n @ w_n)), bound)
        assert found[:, :n_out].any()
        assert not found[:, n_out:].any()
        assert a.is_whole()

    delta = Guarded(n_samples, n_out, dtype).fill(rng, n_out)
    d_n = delta.array[:, :n_out].astype(float)
    first = n_in // 2
    dw = Guarded(1 + n_in - first, n_out, dtype)
    expected, terms = z_n.T[first:] @ d_n, abs(z_n).T[first:] @ abs(d_n)
    for add in range(2):
        run_gradient(panels, add, z.array, delta.array, first, n_in, padded(n_out, real), dw.array)
        bound = ((1 + add) * n_samples + 3) * eps * (1 + add) * terms + 1e-30
        np.testing.assert_array_less(abs(dw.array[:, :n_out] - (1 + add) * expected), bound)
        assert dw.array[:, :n_out].any()
        assert not dw.array[:, n_out : dw.width].any()
        assert dw.is_whole()

    # w now leads from the units whose δ is sought, n_in of them, to the next ones, n_out of them
    transposed = Guarded(n_out, n_in, dtype)
    transposed.array[:, :n_in] = w.array[1:, :n_out].T
    units = Guarded(n_samples, lead + n_in, dtype).fill(rng, n_in, lead)
    pointer = activations.pointer_to_vjp(activations.Tanh.vjp, Precision.of(real))
    for add in range(2):
        in_order = None
        for w_t in (transposed.array[:, : transposed.row], np.empty((n_out, 0), dtype)):
            back = Guarded(n_samples, lead + n_in, dtype)
            whole = np.ascontiguousarray(units.array), np.ascontiguousarray(back.array)
            for times in range(1 + add):
                run_back_propagate(panels, times, w.array[1:], w_t, delta.array, n_in, whole[1])
            run_hidden_deltas(pointer, whole[0], whole[0], n_in, whole[1], np.zeros(1, np.int64))
            found, times = whole[1][:, lead : lead + n_in], 1 + add
            np.testing.assert_array_equal(found, found if in_order is None else in_order)
            in_order = found
            slopes = 1 - whole[0][:, lead : lead + n_in].astype(float) ** 2
            expected, terms = (d_n @ w_n[1:].T) * slopes, (abs(d_n) @ abs(w_n[1:]).T) * (abs(slopes) + 1)
            bound = ((1 + add) * n_out + 5) * eps * times * terms + 1e-30
            np.testing.assert_array_less(abs(found - times * expected), bound)
            assert found.any()
            assert not whole[1][:, lead + n_in : back.width].any()
            assert (back.whole[[0, -1]] == GUARD).all()  # numbers between the rows may be written, those around them not


def test_rows_are_added_up_alike_in_every_tile():
    """A sample alone, in a whole tile and in the tile that sticks out, has the same bits."""
    real = np.dtype("float32")
    panels = panels_for((48,), real)
    rng = np.random.default_rng(0)
    w, z = (aligned_zeros(40 * 48, real).reshape(40, 48) for _ in range(2))
    w[:], z[:] = rng.standard_normal((2, 40, 48))
    whole = np.zeros((40, 48), real)
    run_pre_activations(panels, 0, w, z, 48, whole)
    assert whole.all()
    for n in (1, 2, 3, 5, 6, 7, 11):
        part = np.zeros((n, 48), real)
        run_pre_activations(panels, 0, w, z[:n], 48, part)
        np.testing.assert_array_equal(part, whole[:n])
