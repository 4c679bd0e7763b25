"""The four sums of back-propagation, for one node or one edge at a time.

Equations as numbered in Bishop, *Neural Networks for Pattern Recognition*, section 4.8.  The letters are the book's: n a
sample, i a unit of the layer before, j of this layer, k of the layer after (or of the output).  w[i, j] is the book's w_ji,
the weight from unit i to unit j, and w[0, j] the bias of unit j: a unit z_0 = 1, which memory holds too, absorbs it.

The sums of Eqs. 1, 7 and 4 are computed in register tiles: a panel of a few vectors of units j, a few rows at a time.  In every
tile a number is one sum in the order of its index.  `width` is a number of units in whole cache lines; the padding of w and
δ is zero, and the sums write zeros there again.  Where `add` is 0 a sum overwrites its result, where it is 1 it is added to it.
"""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numba import types

from bpkernel.codegen.cache_lines import prefetch
from bpkernel.codegen.jit import kernel
from bpkernel.codegen.pointers import by_pointer
from bpkernel.codegen.precision import Precision
from bpkernel.codegen.processor import LINE, ROWS, VECTOR, VECTORS, WIDTHS
from bpkernel.codegen.tiles import add_dots, add_outer, add_outer_t, lanes, load, per_line, store, zeros
from bpkernel.codegen.views import block, flat, matrix, row_of, rows_from
from bpkernel.functions.activations import forward, vjp
from bpkernel.functions.losses import slope
from bpkernel.kernels.layout import whole_lines

FEW = 3  # rows left over that are cheaper one by one than as a tile: 2 single rows cost 0.7 of a tile of 6, 3 cost 1.0
ALONE = 8  # vectors of a panel of single rows: with fewer sums at once the processor waits for the latency of additions
PANEL_LINES = max(VECTORS * VECTOR // LINE, 1)  # cache lines of a panel in each row

SUMS, GRADIENT, DOTS, ROW = 0, 2, 4, 6  # rows of the table of pointers; SUMS + 1 and so on are those that add


@kernel
def prefetch_next(w: Any, n: int, i: int, ahead: int, vectors: int) -> None:
    """Prefetch one cache line of the next panel, `ahead` numbers after this one, at step i of the tile of samples n.

    Weights that come from memory then arrive while others are multiplied: 10⁷ of them were trained 1.1 times as fast.
    """
    if vectors == VECTORS:  # otherwise this is the last panel
        position = n // ROWS * w.shape[0] + i
        row = min(position // PANEL_LINES, w.shape[0] - 1)
        prefetch(w, row, ahead + position % PANEL_LINES * (LINE // VECTOR) * lanes(w))


def _panel_of_sums(vectors: int, add: bool) -> Callable[..., None]:
    def panel_of_sums(w: Any, z: Any, ahead: int, a: Any) -> None:
        n_samples, last = a.shape[0], a.shape[0] - 1
        in_tiles = n_samples - n_samples % ROWS if n_samples % ROWS < FEW else n_samples
        for n in range(0, in_tiles, ROWS):
            a_nj = zeros(a, ROWS, vectors)
            if add:
                a_nj = load(a_nj, a, n, last, 0)
            for i in range(w.shape[0]):
                prefetch_next(w, n, i, ahead, vectors)
                a_nj = add_outer(a_nj, z, n, last, i, w, 0)  # a[n, j] += w[i, j] * z[n, i]
            store(a_nj, a, n, last, 0)
        for n in range(in_tiles, n_samples):
            a_nj = zeros(a, 1, vectors)
            if add:
                a_nj = load(a_nj, a, n, last, 0)
            for i in range(w.shape[0]):
                a_nj = add_outer(a_nj, z, n, last, i, w, 0)
            store(a_nj, a, n, last, 0)

    return panel_of_sums


def _panel_of_row(vectors: int, add: bool) -> Callable[..., None]:
    def panel_of_row(w: Any, z: Any, ahead: int, a: Any) -> None:
        for n in range(a.shape[0]):
            a_nj = zeros(a, 1, vectors)
            if add:
                a_nj = load(a_nj, a, n, n, 0)
            for i in range(w.shape[0]):
                a_nj = add_outer(a_nj, z, n, n, i, w, 0)
            store(a_nj, a, n, n, 0)

    return panel_of_row


def _panel_of_gradient(vectors: int, add: bool) -> Callable[..., None]:
    def panel_of_gradient(z: Any, delta: Any, apart: int, dw: Any) -> None:
        last = dw.shape[0] - 1
        for i in range(0, last + 1, ROWS):
            first, column = (0, i) if apart == 0 else (i // ROWS * apart, 0)
            dw_ij = zeros(dw, ROWS, vectors)
            if add:
                dw_ij = load(dw_ij, dw, i, last, 0)
            for n in range(delta.shape[0]):  # dw[i, j] += z[n, i] * delta[n, j]
                dw_ij = add_outer_t(dw_ij, z, first + n, column, column + last - i, delta, n, 0)
            store(dw_ij, dw, i, last, 0)

    return panel_of_gradient


def _panel_of_dots(add: bool) -> Callable[..., None]:
    def panel_of_dots(w: Any, delta_next: Any, width: int, d: Any) -> None:
        n_samples, last, end = d.shape[0], d.shape[0] - 1, w.shape[0] - 1
        in_tiles = n_samples - n_samples % ROWS if n_samples % ROWS == 1 else n_samples
        for j in range(0, w.shape[0], lanes(d)):
            for n in range(0, in_tiles, ROWS):
                d_nj = zeros(d, ROWS, 1)
                if add:
                    d_nj = load(d_nj, d, n, last, j)
                for k in range(0, width, lanes(d)):
                    d_nj = add_dots(d_nj, delta_next, n, last, k, w, j, end)  # d[n, j] += w[j, k] * delta_next[n, k]
                store(d_nj, d, n, last, j)
            for n in range(in_tiles, n_samples):
                d_nj = zeros(d, 1, 1)
                if add:
                    d_nj = load(d_nj, d, n, last, j)
                for k in range(0, width, lanes(d)):
                    d_nj = add_dots(d_nj, delta_next, n, last, k, w, j, end)
                store(d_nj, d, n, last, j)

    return panel_of_dots


_call_sums, _pointer_to_sums = by_pointer(
    lambda p: types.none(matrix(p.storage), matrix(p.storage), types.intp, matrix(p.accumulation))
)
_call_gradient, _pointer_to_gradient = by_pointer(
    lambda p: types.none(matrix(p.storage), matrix(p.storage), types.intp, matrix(p.master))
)
PANELS_OF_SUMS = {(vectors, add): _panel_of_sums(vectors, bool(add)) for vectors in WIDTHS for add in (0, 1)}
PANELS_OF_ROWS = {(v, add): _panel_of_row(v, bool(add)) for v in range(ALONE, 0, -(LINE // VECTOR)) for add in (0, 1)}
PANELS_OF_GRADIENT = {(vectors, add): _panel_of_gradient(vectors, bool(add)) for vectors in WIDTHS for add in (0, 1)}
PANELS_OF_DOTS = {add: _panel_of_dots(bool(add)) for add in (0, 1)}


def no_panels() -> np.ndarray:
    """The table of pointers to the panels of every kind and width in vectors, with none compiled."""
    return np.zeros((8, max(VECTORS, ALONE) + 1), np.int64)


def _needed(widths: Iterable[int], precision: Precision, most: int) -> set[int]:
    """The widths, in vectors, of panels of at most `most` vectors for matrices of these widths, in numbers."""
    lines = {-(-width * precision.storage.itemsize // LINE) for width in widths}
    vectors = {n * (LINE // VECTOR) for n in lines}
    return {v for n in vectors for v in (most if n >= most else 0, n % most) if v}


def compile_panels(
    panels: np.ndarray, widths: Iterable[int], precision: Precision, *, add: bool, dots: bool, add_gradients: bool = False
) -> None:
    """Compile the panels for matrices of these widths, in numbers, unless they are in the table already.

    `add` compiles those that add to their result too, of Eq. 4 `add_gradients`, `dots` those for few samples.
    """
    for vectors in _needed(widths, precision, VECTORS):
        for kind in range(1 + add):
            if not panels[SUMS + kind, vectors]:
                panels[SUMS + kind, vectors] = _pointer_to_sums(PANELS_OF_SUMS[vectors, kind], precision)
        for kind in range(1 + add_gradients):
            if not panels[GRADIENT + kind, vectors]:
                panels[GRADIENT + kind, vectors] = _pointer_to_gradient(PANELS_OF_GRADIENT[vectors, kind], precision)
    for kind in range(1 + add) if dots else ():
        if not panels[DOTS + kind, 0]:
            panels[DOTS + kind, 0] = _pointer_to_sums(PANELS_OF_DOTS[kind], precision)


def compile_products(panels: np.ndarray, precision: Precision) -> None:
    """Compile the panels of Eq. 4 that add to their result, for matrices of any width."""
    widths = [n * LINE // precision.storage.itemsize for n in range(1, PANEL_LINES + 1)]
    compile_panels(panels, widths, precision, add=False, dots=False, add_gradients=True)


def compile_rows(panels: np.ndarray, widths: Iterable[int], precision: Precision, *, add: bool) -> None:
    """Compile the panels of single rows, which are otherwise computed in the panels of many.

    A row of 30-64-64-1 then takes 0.45 µs instead of 0.69 with AVX2.
    """
    for vectors in _needed(widths, precision, ALONE):
        for kind in range(1 + add):
            panels[ROW + kind, vectors] = _pointer_to_sums(PANELS_OF_ROWS[vectors, kind], precision)


@kernel
def pre_activations(panels: Any, add: int, w: Any, z: Any, width: int, a: Any) -> None:
    """Eq. 1: a_j = Σ_i w_ji z_i, with z_0 = 1.

    w (n_in or 1 + n_in, row);  z (n_samples, ≥ rows of w), from z_0 on if w has biases;  a (n_samples, ≥ width): overwritten or
    added to.
    """
    j = 0
    while j < width:
        vectors = min(ALONE, (width - j) // lanes(a))
        panel = panels[ROW + add, vectors]
        if a.shape[0] >= FEW or panel == 0:
            vectors = min(VECTORS, vectors)
            panel = panels[SUMS + add, vectors]
        _call_sums(panel, (rows_from(w, 0, w.shape[0], j), z, vectors * lanes(a), rows_from(a, 0, a.shape[0], j)))
        j += vectors * lanes(a)


@kernel
def sums_of_packed(panels: Any, add: int, packed: Any, start: int, n_rows: int, apart: int, z: Any, width: int, a: Any) -> None:
    """Eq. 1, over packed weights from `start` on: a panel is n_rows rows of its units, and has room for `apart` rows.

    packed (n_packed,);  z (n_samples, ≥ n_rows);  a (n_samples, ≥ width): overwritten or added to.
    """
    j = 0
    while j < width:
        vectors = min(VECTORS, (width - j) // lanes(a))
        n = vectors * lanes(a)
        w = block(packed, start + apart * j, n_rows, n)
        _call_sums(panels[SUMS + add, vectors], (w, z, apart * n, rows_from(a, 0, a.shape[0], j)))
        j += n


@kernel
def outputs(pointer: int, n_out: int, z: Any, fault: Any) -> None:
    """Eq. 1, continued: z_j = g(a_j).

    z (n_samples, row), whole rows: a_j is overwritten by z_j;  z_0 is set to 1;  fault (1,): of an exception in g.
    """
    line = per_line(z)
    forward(pointer, (flat(z), z.shape[1], line, n_out), fault)
    for n in range(z.shape[0]):
        z[n, line - 1] = 1


@kernel
def output_deltas(pointers: Any, n_out: int, a: Any, y: Any, T: Any, rows: Any, scale: Any, delta: Any, fault: Any) -> None:
    """Eq. 5: δ_k = g'(a_k) ∂E/∂y_k, times the weight of the sample.

    pointers: to the slope ∂E/∂y, or 0 for a canonical pair, and to the vjp of the activation;  a, y, delta (n_samples, row),
    whole rows;  T (any, n_targets): targets, sample n is T[rows[n]];  scale (n_samples,);  delta: overwritten;  fault (1,): of
    an exception in the slope or g'.
    """
    line, row = per_line(y), y.shape[1]
    pointer_to_slope, pointer_to_vjp = pointers
    for n in range(y.shape[0]):
        y_n, t_n, delta_n = row_of(y, n, line, n_out), row_of(T, rows[n], 0, T.shape[1]), row_of(delta, n, line, n_out)
        if pointer_to_slope != 0:
            slope(pointer_to_slope, (y_n, t_n, delta_n), fault)
            continue
        scale_n = scale[n]  # g'(a_k) cancels the denominator of ∂E/∂y_k, which may be 0
        for k in range(n_out):
            delta_n[k] = (y_n[k] - t_n[k]) * scale_n
    if pointer_to_slope != 0:
        vjp(pointer_to_vjp, (flat(a), flat(y), flat(delta), row, line, n_out), fault)
    for n in range(y.shape[0]):
        delta_n, scale_n = row_of(delta, n, line, n_out), scale[n]
        if scale_n == 0:  # δ_k may be Inf where it does not count
            for k in range(n_out):
                delta_n[k] = 0
        elif pointer_to_slope != 0:
            for k in range(n_out):
                delta_n[k] *= scale_n


@kernel
def back_propagate(panels: Any, add: int, w_next: Any, w_next_t: Any, delta_next: Any, n_out: int, d: Any) -> None:
    """The sum of Eq. 7: d_j = ∂E/∂z_j = Σ_k w_kj δ_k, over the units k that one edge leads to.

    w_next (n_out, row_next), without biases;  w_next_t (n_next, ≥ n_out): its transpose, or (n_next, 0) if there is none;
    delta_next (n_samples, ≥ n_next);  d (n_samples, ≥ n_out in whole cache lines): overwritten or added to.
    """
    n_next, width = w_next_t.shape[0], whole_lines(n_out, per_line(d))
    if w_next_t.shape[1] > 0:
        pre_activations(panels, add, w_next_t, delta_next, width, d)  # the same sum, over k
        return
    if n_next == 1:  # to transpose in registers for a single product took 0.1 of the 0.8 µs of a step of 2-8-1
        for n in range(d.shape[0]):
            for j in range(n_out):
                d[n, j] = w_next[j, 0] * delta_next[n, 0] + (d[n, j] if add else d.dtype.type(0))
    else:
        _call_sums(panels[DOTS + add, 0], (w_next, delta_next, whole_lines(n_next, per_line(d)), d))
    for n in range(d.shape[0]):
        for j in range(n_out, width):  # a NaN of an earlier batch must not stay in the padding
            d[n, j] = 0


@kernel
def hidden_deltas(pointer: int, a: Any, z: Any, n_out: int, delta: Any, fault: Any) -> None:
    """Eq. 7, continued: δ_j = g'(a_j) d_j.

    a, z, delta (n_samples, row), whole rows;  delta: d is overwritten by δ;  fault (1,): of an exception in g'.
    """
    vjp(pointer, (flat(a), flat(z), flat(delta), z.shape[1], per_line(z), n_out), fault)


@kernel
def gradient(panels: Any, add: int, z: Any, delta: Any, first: int, last: int, width: int, dw: Any) -> None:
    """Eq. 4, summed over the samples: ∂E/∂w_ji = Σ_n δ_j z_i, for the weights from units first to last.

    z (n_samples, > last), from z_0 on if the edge has biases;  delta (n_samples, ≥ width);  dw (last - first + 1, row):
    overwritten or added to.
    """
    j = 0
    while j < width:
        vectors = min(VECTORS, (width - j) // lanes(dw))
        delta_j, dw_j = rows_from(delta, 0, delta.shape[0], j), rows_from(dw, 0, last - first + 1, j)
        _call_gradient(panels[GRADIENT + add, vectors], (rows_from(z, 0, z.shape[0], first), delta_j, 0, dw_j))
        j += vectors * lanes(dw)


@kernel
def gradient_of_packed(
    panels: Any, add: int, units: Any, z: int, delta: int, first: int, n_samples: int, apart: int, width: int, dw: Any
) -> None:
    """Eq. 4 over packed z and δ, n_samples of them from row `first` of each tile and panel on.

    units: the packed units, where z are tiles of ROWS units from `z` on, and δ panels from `delta` on, each of which has room
    for `apart` rows;  dw (n_in, row): overwritten or added to.
    """
    n_in, n_tiles, j = dw.shape[0], (dw.shape[0] + ROWS - 1) // ROWS, 0
    tiles = block(units, z + first * ROWS, n_tiles * apart, ROWS)
    while j < width:
        vectors = min(VECTORS, (width - j) // lanes(dw))
        n = vectors * lanes(dw)
        panel = block(units, delta + apart * j + first * n, n_samples, n)
        _call_gradient(panels[GRADIENT + add, vectors], (tiles, panel, apart, rows_from(dw, 0, n_in, j)))
        j += n
