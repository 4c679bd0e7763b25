"""Floor 2: the four sums of back-propagation, one layer at a time.

Equations as numbered in Bishop, *Neural Networks for Pattern Recognition*, section 4.8.  The letters are the book's:
n a sample, i a unit of the layer before, j of this layer, k of the layer after (or of the output).  w[i, j] is the
book's w_ji, the weight from unit i to unit j, and w[0, j] the bias of unit j: a unit z_0 = 1, which memory holds too,
absorbs it.

The sums of Eqs. 1, 7 and 4 are computed in register tiles (`tiles.py`): a panel of a few vectors of units j, a few rows
at a time.  Whatever the tile, each number is one sum in the order of its index.  `width` is the number of units in whole
cache lines; the padding is zero in w and δ, and what the sums write there is zero again.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types

from bpkernel.activations import activate, pull_back
from bpkernel.compiler import by_address, kernel, named
from bpkernel.layout import whole_lines
from bpkernel.losses import error, slope
from bpkernel.tiles import LINE, ROWS, VECTOR, VECTORS, WIDTHS, add_dots, add_outer, add_outer_t, lanes, prefetch, store, zeros
from bpkernel.views import flat, matrix, row_of, rows_from, vector

FEW = 3  # rows left over that are cheaper one by one than as a tile: 2 single rows cost 0.7 of a tile of 6, 3 cost 1.0
PANEL_LINES = max(VECTORS * VECTOR // LINE, 1)  # cache lines that a panel has of each row


@kernel
def prefetch_next(w: Any, n: int, i: int, j: int, vectors: int) -> None:
    """Ask for a cache line of the panel after that from unit j on: at step i of the tile of samples n, its next one in turn.

    Weights that come from memory then come while others are multiplied: 10⁷ of them were trained 1.1 times as fast.
    """
    if vectors == VECTORS:  # else it is the last panel
        k = n // ROWS * w.shape[0] + i
        prefetch(w, min(k // PANEL_LINES, w.shape[0] - 1), j + (VECTORS + k % PANEL_LINES * (LINE // VECTOR)) * lanes(w))


def _panel_of_sums(vectors: int) -> Callable[..., None]:
    def panel_of_sums(w: Any, z: Any, j: int, a: Any) -> None:
        n_samples, last = a.shape[0], a.shape[0] - 1
        in_tiles = n_samples - n_samples % ROWS if n_samples % ROWS < FEW else n_samples
        for n in range(0, in_tiles, ROWS):
            a_nj = zeros(a, ROWS, vectors)
            for i in range(w.shape[0]):
                prefetch_next(w, n, i, j, vectors)
                a_nj = add_outer(a_nj, z, n, last, i, w, j)  # a[n, j] += w[i, j] * z[n, i]
            store(a_nj, a, n, last, j)
        for n in range(in_tiles, n_samples):
            a_nj = zeros(a, 1, vectors)
            for i in range(w.shape[0]):
                a_nj = add_outer(a_nj, z, n, last, i, w, j)
            store(a_nj, a, n, last, j)

    return named(panel_of_sums, vectors)


def _panel_of_gradient(vectors: int) -> Callable[..., None]:
    def panel_of_gradient(z: Any, delta: Any, first: int, last: int, j: int, dw: Any) -> None:
        for i in range(first, last + 1, ROWS):
            dw_ij = zeros(dw, ROWS, vectors)
            for n in range(delta.shape[0]):
                dw_ij = add_outer_t(dw_ij, z, n, i, last, delta, j)  # dw[i, j] += z[n, i] * delta[n, j]
            store(dw_ij, dw, i - first, last - first, j)

    return named(panel_of_gradient, vectors)


def _panel_of_dots(w: Any, delta_next: Any, width: int, d: Any) -> None:
    """Σ_k w_kj δ_k for a few samples, from the weights as they lie: d[n, j] += w[j, k] * delta_next[n, k]."""
    n_samples, last, end = d.shape[0], d.shape[0] - 1, w.shape[0] - 1
    in_tiles = n_samples - n_samples % ROWS if n_samples % ROWS == 1 else n_samples
    for j in range(0, w.shape[0], lanes(d)):
        for n in range(0, in_tiles, ROWS):
            d_nj = zeros(d, ROWS, 1)
            for k in range(0, width, lanes(d)):
                d_nj = add_dots(d_nj, delta_next, n, last, k, w, j, end)
            store(d_nj, d, n, last, j)
        for n in range(in_tiles, n_samples):
            d_nj = zeros(d, 1, 1)
            for k in range(0, width, lanes(d)):
                d_nj = add_dots(d_nj, delta_next, n, last, k, w, j, end)
            store(d_nj, d, n, last, j)


_sums, _address_of_sums = by_address(lambda real: types.none(matrix(real), matrix(real), types.intp, matrix(real)))
_gradient, _address_of_gradient = by_address(
    lambda real: types.none(matrix(real), matrix(real), types.intp, types.intp, types.intp, matrix(real))
)
_dots, _address_of_dots = by_address(lambda real: types.none(matrix(real), matrix(real), types.intp, matrix(real)))
PANELS = {vectors: (_panel_of_sums(vectors), _panel_of_gradient(vectors)) for vectors in WIDTHS}


def panels(dtype: np.dtype) -> np.ndarray:
    """Addresses (3, VECTORS + 1) of the compiled panels of every width: Eqs. 1 and 7, Eq. 4, and Eq. 7 for a few samples."""
    addresses = np.zeros((3, VECTORS + 1), np.int64)
    addresses[2, 1] = _address_of_dots(_panel_of_dots, dtype)
    for vectors, (sums, gradient) in PANELS.items():
        addresses[:2, vectors] = _address_of_sums(sums, dtype), _address_of_gradient(gradient, dtype)
    return addresses


@kernel
def pre_activations(panels: Any, w: Any, z: Any, width: int, a: Any) -> None:
    """Eq. 1: a_j = Σ_i w_ji z_i, with z_0 = 1.

    w (1 + n_in, row);  z (n_samples, ≥ 1 + n_in), from z_0 on;  a (n_samples, ≥ width): overwritten.
    """
    j = 0
    while j < width:
        vectors = min(VECTORS, (width - j) // lanes(a))
        _sums(panels[0, vectors], (w, z, j, a))
        j += vectors * lanes(a)


@kernel
def outputs(g: int, lead: int, n_out: int, z: Any) -> None:
    """Eq. 1, continued: z_j = g(a_j).

    z (n_samples, row), whole rows with the units from `lead` on: a_j before, z_j after;  z_0 is set to 1.
    """
    activate(g, (flat(z), z.shape[1], lead, n_out))
    for n in range(z.shape[0]):
        z[n, lead - 1] = 1


@kernel
def errors(e_n: int, a: Any, y: Any, T: Any, rows: Any, e: Any) -> None:
    """E^n of every sample.

    a, y (n_samples, row);  T (any, n_out): targets, sample n is T[rows[n]];  e (n_samples,) float64: overwritten.
    """
    n_out = T.shape[1]
    for n in range(a.shape[0]):
        e[n] = error(e_n, (row_of(a, n, 0, n_out), row_of(y, n, 0, n_out), row_of(T, rows[n], 0, n_out)))


@kernel
def output_deltas(back: int, de_dy: int, lead: int, y: Any, T: Any, rows: Any, scale: Any, delta: Any) -> None:
    """Eq. 5: δ_k = g'(a_k) ∂E/∂y_k, times the weight of the sample.

    y, delta (n_samples, row), whole rows with the units from `lead` on;  T (any, n_out): targets, sample n is T[rows[n]];
    scale (n_samples,);  delta: overwritten.
    """
    n_out, row = T.shape[1], y.shape[1]
    for n in range(y.shape[0]):
        y_n, t_n, delta_n = row_of(y, n, lead, n_out), row_of(T, rows[n], 0, n_out), row_of(delta, n, lead, n_out)
        if de_dy == 0:  # canonical: g'(a_k) cancels the denominator of ∂E/∂y_k, which may be 0
            for k in range(n_out):
                delta_n[k] = y_n[k] - t_n[k]
        else:
            slope(de_dy, (y_n, t_n, delta_n))
    if de_dy != 0:
        pull_back(back, (flat(y), flat(delta), row, lead, n_out))
    for n in range(y.shape[0]):
        delta_n = row_of(delta, n, lead, n_out)
        for k in range(n_out):
            delta_n[k] = delta_n[k] * scale[n] if scale[n] != 0 else scale[n]  # δ_k may be Inf where it does not count


@kernel
def hidden_deltas(
    panels: Any, back: int, w_next: Any, w_next_t: Any, delta_next: Any, lead: int, n_out: int, z: Any, delta: Any
) -> None:
    """Eq. 7: δ_j = g'(a_j) Σ_k w_kj δ_k.

    w_next (1 + n_out, row_next): unit j leads out through row 1 + j;  w_next_t (n_next, ≥ n_out): its transpose without
    the biases, or (n_next, 0) where it is not worth while;  delta_next (n_samples, ≥ n_next);  z, delta (n_samples, row), whole
    rows with the units from `lead` on;  delta: overwritten.
    """
    units = rows_from(delta, 0, delta.shape[0], lead)
    if w_next_t.shape[1] > 0:
        pre_activations(panels, w_next_t, delta_next, whole_lines(n_out, lead), units)  # the same sum, over k
    elif w_next_t.shape[0] == 1:  # one product is no sum: transposing in registers cost 0.1 of the 0.8 µs of a step of 2-8-1
        for n in range(delta.shape[0]):
            for j in range(n_out):
                units[n, j] = w_next[1 + j, 0] * delta_next[n, 0]
    else:
        _dots(panels[2, 1], (rows_from(w_next, 1, n_out, 0), delta_next, whole_lines(w_next_t.shape[0], lead), units))
        for n in range(delta.shape[0]):
            for j in range(n_out, whole_lines(n_out, lead)):
                units[n, j] = 0
    pull_back(back, (flat(z), flat(delta), z.shape[1], lead, n_out))


@kernel
def gradient(panels: Any, z: Any, delta: Any, first: int, last: int, width: int, dw: Any) -> None:
    """Eq. 4, summed over the samples: ∂E/∂w_ji = Σ_n δ_j z_i, for the weights that lead from the units first to last.

    z (n_samples, ≥ 1 + n_in), from z_0 on;  delta (n_samples, ≥ width);  dw (last - first + 1, row): overwritten.
    """
    j = 0
    while j < width:
        vectors = min(VECTORS, (width - j) // lanes(dw))
        _gradient(panels[1, vectors], (z, delta, first, last, j, dw))
        j += vectors * lanes(dw)


# ---------------------------------------------------------- inputs most of which are 0; compiled when they are first met


def _sums_of_sparse(w: Any, indptr: Any, indices: Any, data: Any, rows: Any, width: int, a: Any) -> None:
    """Eq. 1 of inputs most of which are 0: a_j = w_j0 + Σ w_ji x_i over the others.

    w (1 + n_in, row);  indptr, indices, data: X, sample n is its row rows[n];  a (n_samples, ≥ width): overwritten.
    """
    for n in range(rows.size):
        a_n, w_0 = row_of(a, n, 0, width), row_of(w, 0, 0, width)
        for j in range(width):
            a_n[j] = w_0[j]
        for p in range(indptr[rows[n]], indptr[rows[n] + 1]):
            x_i, w_i = data[p], row_of(w, 1 + indices[p], 0, width)
            for j in range(width):
                a_n[j] += w_i[j] * x_i


def _gradient_of_sparse(
    indptr: Any, indices: Any, data: Any, rows: Any, delta: Any, first: int, last: int, width: int, dw: Any
) -> None:
    """Eq. 4 of inputs most of which are 0: Σ_n δ_j x_i over the others.

    indptr, indices, data: X with sorted indices, sample n is its row rows[n];  delta (n_samples, ≥ width);
    dw (last - first + 1, row): overwritten.
    """
    for i in range(last - first + 1):
        dw_i = row_of(dw, i, 0, width)
        for j in range(width):
            dw_i[j] = 0
    for n in range(rows.size):
        delta_n = row_of(delta, n, 0, width)
        if first == 0:
            dw_0 = row_of(dw, 0, 0, width)
            for j in range(width):
                dw_0[j] += delta_n[j]
        end = indptr[rows[n] + 1]
        low, high = indptr[rows[n]], end
        while low < high:  # the first index of this group
            middle = (low + high) // 2
            if 1 + indices[middle] < first:
                low = middle + 1
            else:
                high = middle
        p = low
        while p < end and 1 + indices[p] <= last:
            x_i, dw_i = data[p], row_of(dw, 1 + indices[p] - first, 0, width)
            for j in range(width):
                dw_i[j] += delta_n[j] * x_i
            p += 1


_sparse = lambda real: (vector(types.int64), vector(types.int32), vector(real), vector(types.int64))  # noqa: E731
sums_of_sparse, _address_of_sums_of_sparse = by_address(
    lambda real: types.none(matrix(real), *_sparse(real), types.intp, matrix(real))
)
gradient_of_sparse, _address_of_gradient_of_sparse = by_address(
    lambda real: types.none(*_sparse(real), matrix(real), types.intp, types.intp, types.intp, matrix(real))
)


def of_sparse(dtype: np.dtype) -> tuple[int, int]:
    """Addresses of the compiled sums of Eqs. 1 and 4 for sparse inputs."""
    return _address_of_sums_of_sparse(_sums_of_sparse, dtype), _address_of_gradient_of_sparse(_gradient_of_sparse, dtype)
