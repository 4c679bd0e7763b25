"""Eqs. 1, 7 and 4, and the optimizer's step, for edges most of whose weights are absent; compiled when first needed.

Such an edge has a list of its rows i and columns j where there is a weight, sorted by i, then j.  Its biases, row 0, are in the
list too.  The loops visit the listed weights only; memory holds zeros for the others, and no loop here writes to them.  Samples
are taken SAMPLES at a time, so that an index and a weight are loaded once for all of these.

The results have the bits of the tiles in `sums`: every number is a sum in the order of its index, products are fused into it
wherever the tiles do so, and absent weights would add 0.  Only Inf and NaN differ: times an absent weight, they are NaN there.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import types

from bpkernel.codegen.jit import kernel
from bpkernel.codegen.pointers import by_pointer
from bpkernel.codegen.tiles import add_product
from bpkernel.codegen.views import line, matrix, row_of, rows_from, vector
from bpkernel.functions.optimizer import update
from bpkernel.kernels.layout import Layout
from bpkernel.runtime.memory import padded

# Share of present weights, among those that tiles compute with, below which lists are used.  A step of 300-300-300-10 with this
# share then takes 0.2 of the time in batches of 1, as long in batches of 32, and 1.6 times as long in batches of 200; with half
# of this share 0.1, 0.5 and 0.9.
FEW = 1 / 16
SAMPLES = 8
PIECE = 256  # weights that the optimizer updates at once


class Lists(NamedTuple):
    """The present weights of the edges that have few, and pointers to the loops over them, 0 if no edge has few.

    The weights of an edge are those from edge.first_present up to edge.end_present; the first number is not used.
    """

    i: np.ndarray  # (n,) uint32: row of the edge's weights; unsigned, or each access would test for a negative index
    j: np.ndarray  # (n,) uint32: column
    sums: int
    deltas: int
    gradient: int
    penalties: int
    step: int
    total: int


@kernel
def add_products(i: Any, j: Any, w: Any, source: Any, read: Any, target: Any, written: Any) -> None:
    """target[n, written[p]] += w[i[p], j[p]] * source[n, read[p]] for all samples n and, in their order, all p of a list."""
    n_samples = target.shape[0]
    whole = n_samples - n_samples % SAMPLES
    for n in range(0, whole, SAMPLES):
        for p in range(i.size):
            from_p, to_p, w_ij = read[p], written[p], w[i[p], j[p]]
            for r in range(SAMPLES):
                target[n + r, to_p] = add_product(target[n + r, to_p], w_ij, source[n + r, from_p])
    for n in range(whole, n_samples):
        for p in range(i.size):
            target[n, written[p]] = add_product(target[n, written[p]], w[i[p], j[p]], source[n, read[p]])


def _sums(i: Any, j: Any, bias: int, add: int, w: Any, z: Any, width: int, a: Any) -> None:
    """Eq. 1: a_j = Σ_i w_ji z_i over the weights (i, j) of a list, after the biases, which it lacks.

    i, j (n_present,);  w (bias + n_in, row);  z (n_samples, ≥ rows of w), from z_0 on if w has biases;  a (n_samples, ≥ width):
    overwritten or, where `add` is 1, added to.
    """
    for n in range(a.shape[0]):
        a_n, w_0 = row_of(a, n, 0, width), row_of(w, 0, 0, width)
        if bias:
            for k in range(width):
                a_n[k] = w_0[k] + (a_n[k] if add else a_n.dtype.type(0))
        elif not add:
            for k in range(width):
                a_n[k] = 0
    add_products(i, j, w, z, i, a, j)


def _deltas(i: Any, j: Any, bias: int, add: int, w: Any, delta: Any, width: int, d: Any) -> None:
    """The sum of Eq. 7: d_i = Σ_j w_ji δ_j over the weights (i, j) of a list without biases.

    i, j (n_present,);  w (bias + n_in, row);  delta (n_samples, ≥ n_out);  d (n_samples, ≥ bias + width), from the
    number before the units on if w has biases: from column `bias` on overwritten or, where `add` is 1, added to.
    """
    if not add:
        for n in range(d.shape[0]):
            d_n = row_of(d, n, bias, width)
            for k in range(width):
                d_n[k] = 0
    add_products(i, j, w, delta, j, d, i)


def _gradient(i: Any, j: Any, add: int, z: Any, delta: Any, g: Any) -> None:
    """Eq. 4: ∂E/∂w_ji = Σ_n δ_j z_i for the weights (i, j) of a list.

    i, j (n_present,);  z (n_samples, > i), from z_0 on if the edge has biases;  delta (n_samples, > j);  g (n_present,):
    overwritten or, where `add` is 1, added to.
    """
    n_samples = delta.shape[0]
    for p in range(0 if add else i.size):
        g[p] = 0
    whole = n_samples - n_samples % SAMPLES
    for n in range(0, whole, SAMPLES):  # all samples of one weight at a time would not stay in the first-level cache
        for p in range(i.size):
            i_p, j_p, g_p = i[p], j[p], g[p]
            for r in range(SAMPLES):
                g_p = add_product(g_p, z[n + r, i_p], delta[n + r, j_p])
            g[p] = g_p
    for n in range(whole, n_samples):
        for p in range(i.size):
            g[p] = add_product(g[p], z[n, i[p]], delta[n, j[p]])


def _penalties(i: Any, j: Any, bias: int, l2: float, l1: float, row: int, w: Any, g: Any) -> None:
    """Add l2 w + l1 sign w to the gradient g (n_present,) of the weights (i, j) of a list, but not for biases.

    i, j (n_present,);  w (≥ rows of the edge * row,).
    """
    decay, size, zero = g.dtype.type(l2), g.dtype.type(l1), g.dtype.type(0)
    for p in range(i.size):
        if i[p] >= bias:
            w_ij = w[i[p] * np.uint64(row) + j[p]]
            g[p] = add_product(g[p], decay, w_ij)
            g[p] += size if w_ij > zero else zero
            g[p] -= size if w_ij < zero else zero


def _step(pointer: int, i: Any, j: Any, row: int, w: Any, g: Any, state: Any, factors: Any, scratch: Any) -> None:
    """The optimizer's step on the weights (i, j) of a list.

    pointer: to its update;  i, j, g (n_present,): g is overwritten;  w (≥ rows of the edge * row,), state (n_slots, ≥
    likewise): the listed numbers are overwritten;  factors (n_factors,);  scratch (≥ 1 + n_slots, PIECE): overwritten.
    """
    n_slots = state.shape[0]
    for first in range(0, i.size, PIECE):
        n = min(PIECE, i.size - first)
        own_w, own_g = row_of(scratch, 0, 0, n), line(g, first, first + n)
        for p in range(n):
            own_w[p] = w[i[first + p] * np.uint64(row) + j[first + p]]
        for slot in range(n_slots):
            own, whole = row_of(scratch, 1 + slot, 0, n), row_of(state, slot, 0, w.size)
            for p in range(n):
                own[p] = whole[i[first + p] * np.uint64(row) + j[first + p]]
        update(pointer, (own_w, own_g, rows_from(scratch, 1, n_slots, 0), factors))
        for p in range(n):
            w[i[first + p] * np.uint64(row) + j[first + p]] = own_w[p]
        for slot in range(n_slots):
            own, whole = row_of(scratch, 1 + slot, 0, n), row_of(state, slot, 0, w.size)
            for p in range(n):
                whole[i[first + p] * np.uint64(row) + j[first + p]] = own[p]


def _total(i: Any, j: Any, row: int, g: Any, total: Any) -> None:
    """Add the gradient g (n_present,) of the weights (i, j) of a list to that of an edge, total (≥ rows * row,)."""
    for p in range(i.size):
        total[i[p] * np.uint64(row) + j[p]] += g[p]


_list = vector(types.uint32), vector(types.uint32)
sums_of_few, _pointer_to_sums = by_pointer(
    lambda p: types.none(
        *_list, types.intp, types.intp, matrix(p.storage), matrix(p.storage), types.intp, matrix(p.accumulation)
    )
)
gradient_of_few, _pointer_to_gradient = by_pointer(
    lambda p: types.none(*_list, types.intp, matrix(p.storage), matrix(p.storage), vector(p.master))
)
penalties_of_few, _pointer_to_penalties = by_pointer(
    lambda p: types.none(*_list, types.intp, types.float64, types.float64, types.intp, vector(p.master), vector(p.master))
)
step_of_few, _pointer_to_step = by_pointer(
    lambda p: types.none(
        *(types.intp, *_list, types.intp, vector(p.master), vector(p.master), matrix(p.master)),
        *(vector(types.float64), matrix(p.master)),
    )
)
total_of_few, _pointer_to_total = by_pointer(lambda p: types.none(*_list, types.intp, vector(p.master), vector(p.master)))


@kernel(view=True)
def listed(net: Any, edge: Any) -> tuple[Any, Any]:
    """Views (n_present,) of the rows i and the columns j of the present weights of an edge that has few, without biases."""
    first = edge.first_present + (edge.n_out if edge.bias else 0)
    return line(net.lists.i, first, edge.end_present), line(net.lists.j, first, edge.end_present)


@kernel(view=True)
def listed_in_group(net: Any, group: Any) -> tuple[Any, Any]:
    """Views (n_present,) of the rows i and the columns j of the present weights of a group, with biases."""
    edge = net.edges[group.edge]
    first, end = edge.first_present, edge.end_present
    if group.first > 0:
        first = place_of_row(net.lists.i, first, end, group.first)
    if group.last + 1 < edge.bias + edge.n_in:
        end = place_of_row(net.lists.i, first, end, group.last + 1)
    return line(net.lists.i, first, end), line(net.lists.j, first, end)


@kernel
def place_of_row(i: Any, low: int, high: int, row: int) -> int:
    """The first place p of a sorted i[low:high] with i[p] ≥ row; `high` if there is none."""
    while low < high:
        middle = (low + high) // 2
        if i[middle] < row:
            low = middle + 1
        else:
            high = middle
    return low


def no_lists() -> Lists:
    """Lists of a net whose edges are all computed in tiles."""
    return Lists(np.zeros(1, np.uint32), np.zeros(1, np.uint32), 0, 0, 0, 0, 0, 0)


def lists_of(layout: Layout, present: np.ndarray) -> tuple[np.ndarray, Lists]:
    """The edges of a net, and lists of the weights of those that have few; present (n_params,) or (0,) as in `Network`."""
    edges, rows, columns, n = layout.edges.copy(), [np.zeros(1, np.uint32)], [np.zeros(1, np.uint32)], 1
    if present.size == 0:
        return edges, no_lists()
    for edge, mask in zip(edges[: len(layout.pairs)], layout.weights(present), strict=True):
        n_present = np.count_nonzero(mask)
        if n_present == mask.size or n_present >= FEW * len(mask) * padded(mask.shape[1], layout.dtype):
            continue
        i, j = np.nonzero(mask)
        biases = np.arange(edge["n_out"] if edge["bias"] else 0)
        rows += [np.zeros(len(biases), np.uint32), (i + edge["bias"]).astype(np.uint32)]
        columns += [biases.astype(np.uint32), j.astype(np.uint32)]
        edge["first_present"], edge["end_present"] = n, n + len(biases) + len(i)
        n += len(biases) + len(i)
    if not edges["first_present"].any():
        return edges, no_lists()
    precision = layout.precision
    return edges, Lists(
        np.concatenate(rows),
        np.concatenate(columns),
        _pointer_to_sums(_sums, precision),
        _pointer_to_sums(_deltas, precision),
        _pointer_to_gradient(_gradient, precision),
        _pointer_to_penalties(_penalties, precision),
        _pointer_to_step(_step, precision),
        _pointer_to_total(_total, precision),
    )
