"""L1 and L2, clipping of the gradient, and limits of the weights: what is done between a gradient and the next batch.

The norm of the gradient, and those of the weights that lead to a unit, are sums over many groups of rows of weights.  They are
stages of their own: see `stages`.  The loops are called by pointers, so that training without them does not wait for the
compiler: with all of them in its kernels, a first fit takes 27 s instead of 22 s (Sapphire Rapids).
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numba import types

from bpkernel.codegen.jit import kernel
from bpkernel.codegen.pointers import by_pointer
from bpkernel.codegen.precision import Precision
from bpkernel.codegen.scalars import real
from bpkernel.codegen.views import block, line, matrix, row_of, rows_from, vector
from bpkernel.kernels.few_weights import listed_in_group, penalties_of_few
from bpkernel.kernels.layout import Layout, weight_rows
from bpkernel.kernels.partition import group_range

PerLayer = float | Sequence[float | None]  # one number for all layers, or one for each but the inputs


class Regularisation(NamedTuple):
    """The settings of an objective and of its step; see `operands.OptimizerStep`."""

    alpha: float = 0.0
    penalties: np.ndarray = np.zeros((0, 2))
    clip_value: float = 0.0
    clip_norm: float = 0.0
    max_norm: np.ndarray = np.zeros(0)


NOT_REGULARISED = Regularisation()
PENALISE, PENALTY, MEASURE, COLUMN_SQUARES, RESCALE = range(5)  # places of the pointers to the loops
NO_LOOPS = np.zeros(5, np.int64)


def regularisation(
    layout: Layout,
    alpha: PerLayer = 0.0,
    l1: PerLayer = 0.0,
    *,
    clip_value: float = 0.0,
    clip_norm: float = 0.0,
    max_norm: PerLayer | None = None,
) -> Regularisation:
    """The settings for a net, of numbers that have been checked; 0, or None, is none."""
    if max_norm is None and alpha == 0 and l1 == 0:  # of most calls of fit
        clipped = clip_value > 0 or clip_norm > 0
        return NOT_REGULARISED._replace(clip_value=clip_value, clip_norm=clip_norm) if clipped else NOT_REGULARISED
    targets, one_alpha = [target - 1 for _, target in layout.pairs], not isinstance(alpha, Sequence)
    n_layers = len(layout.sizes) - 1
    l2_of, l1_of = (list(value) if isinstance(value, Sequence) else [value] * n_layers for value in (alpha, l1))
    penalties = np.array([(l2_of[target] or 0.0, l1_of[target] or 0.0) for target in targets], np.float64)
    strength = 1.0 if penalties.any() else 0.0
    if one_alpha and not penalties[:, 1].any() and penalties.any():
        strength, penalties[:] = penalties[0, 0], (1.0, 0.0)
    penalties = np.concatenate([penalties, np.zeros((len(layout.normalised), 2))])  # none for gains and shifts
    limits = np.zeros(0)
    if max_norm is not None:
        own = list(max_norm) if isinstance(max_norm, Sequence) else [max_norm] * n_layers
        limits = np.array([math.inf, *(math.inf if limit is None else limit for limit in own)])
        limits = limits if np.isfinite(limits).any() else np.zeros(0)
    return Regularisation(strength, penalties, clip_value, clip_norm, limits)


def _penalise(first: int, l2: float, l1: float, most: float, w: Any, g: Any) -> None:
    """Add l2 w + l1 sign w to a gradient, from number `first` on, and limit the size of its numbers.

    most: the limit, 0 for none;  w, g (n,): g is overwritten.
    """
    real = g.dtype.type
    decay, size, limit = real(l2), real(l1), real(most)
    if decay != 0:
        for i in range(first, g.size):
            g[i] += decay * w[i]
    if size != 0:
        for i in range(first, g.size):
            g[i] += size * sign_of(w[i])
    if limit > 0:
        for i in range(g.size):
            g[i] = min(max(g[i], -limit), limit) if g[i] == g[i] else g[i]  # NaN stays, to be reported


def _penalty(l2: float, l1: float, n_out: int, w: Any, squares: Any) -> None:
    """l2 Σ_j w_ij² + 2 l1 Σ_j |w_ij| of each row; w (n, ≥ n_out);  squares (n,) float64: overwritten."""
    for i in range(squares.size):
        w_i = row_of(w, i, 0, n_out)
        total = w_i.dtype.type(0)
        for j in range(w_i.size):
            total += w_i[j] * w_i[j]
        squares[i] = l2 * total
        if l1 != 0:
            size = w_i.dtype.type(0)
            for j in range(w_i.size):
                size += abs(w_i[j])
            squares[i] += 2.0 * l1 * size


def _measure(n_out: int, g: Any, norms: Any) -> None:
    """Σ_j g_ij² of each row; g (n, ≥ n_out);  norms (n,) float64: overwritten."""
    for i in range(norms.size):
        total, g_i = 0.0, row_of(g, i, 0, n_out)
        for j in range(g_i.size):
            total += np.float64(g_i[j]) * np.float64(g_i[j])  # in float32 it would be Inf from 2e19 on
        norms[i] = total


def _column_squares(w: Any, own: Any) -> None:
    """Add Σ_i w_ij² to own (n,) float64; w (n_rows, ≥ n)."""
    for i in range(w.shape[0]):
        w_i = row_of(w, i, 0, own.size)
        for j in range(own.size):
            own[j] += np.float64(w_i[j]) * np.float64(w_i[j])


def _rescale(w: Any, own: Any) -> None:
    """w_ij *= own_j; w (n_rows, ≥ n): overwritten;  own (n,) float64."""
    for i in range(w.shape[0]):
        w_i = row_of(w, i, 0, own.size)
        for j in range(w_i.size):
            w_i[j] *= own[j]


_call_penalise, _pointer_to_penalise = by_pointer(
    lambda p: types.none(types.intp, *[types.float64] * 3, vector(p.master), vector(p.master))
)
_call_penalty, _pointer_to_penalty = by_pointer(
    lambda p: types.none(types.float64, types.float64, types.intp, matrix(p.master), vector(types.float64))
)
_call_measure, _pointer_to_measure = by_pointer(lambda p: types.none(types.intp, matrix(p.master), vector(types.float64)))
_call_columns, _pointer_to_columns = by_pointer(lambda p: types.none(matrix(p.master), vector(types.float64)))


def loops_of(settings: Regularisation, precision: Precision) -> np.ndarray:
    """Pointers to the loops that some settings need, compiled, (5,) int64; 0 for others.

    Each launch of a kernel unpacks its operands: an array takes 0.4 µs, a tuple of five numbers 2 µs (Sapphire Rapids).
    """
    if settings is NOT_REGULARISED:
        return NO_LOOPS
    penalised, limited = settings.alpha > 0, settings.max_norm.size > 0
    return np.array(
        [
            _pointer_to_penalise(_penalise, precision) if penalised or settings.clip_value > 0 else 0,
            _pointer_to_penalty(_penalty, precision) if penalised else 0,
            _pointer_to_measure(_measure, precision) if settings.clip_norm > 0 else 0,
            _pointer_to_columns(_column_squares, precision) if limited else 0,
            _pointer_to_columns(_rescale, precision) if limited else 0,
        ],
        np.int64,
    )


@kernel
def regularise(net: Any, step: Any, group: Any, strength: float, g: Any) -> None:
    """Add the gradient of the penalties, but not for biases, to that of a group, g (size of the group,), and clip its numbers.

    strength: alpha / Σ_n s_n.
    """
    if step.loops[PENALISE] != 0:
        start, size = group_range(net, group)
        edge, l2, l1 = net.edges[group.edge], 0.0, 0.0
        if step.alpha > 0:
            l2, l1 = strength * step.penalties[group.edge, 0], strength * step.penalties[group.edge, 1]
        first = edge.row if edge.bias and group.first == 0 else 0
        own = first, l2, l1, step.clip_value, line(net.params, start, start + size), g
        _call_penalise(step.loops[PENALISE], own)


@kernel
def regularise_listed(net: Any, step: Any, group: Any, strength: float, g: Any) -> None:
    """The same for a group whose gradient, g (n_present,), is of its present weights."""
    if step.alpha > 0:
        edge, (i, j) = net.edges[group.edge], listed_in_group(net, group)
        params = line(net.params, edge.weights, edge.weights + (edge.bias + edge.n_in) * edge.row)
        l2, l1 = strength * step.penalties[group.edge, 0], strength * step.penalties[group.edge, 1]
        penalties_of_few(net.lists.penalties, (i, j, edge.bias, l2, l1, edge.row, params, g))
    if step.clip_value > 0:
        _call_penalise(step.loops[PENALISE], (0, 0.0, 0.0, step.clip_value, g, g))


@kernel
def sign_of(w: Any) -> Any:
    """1, -1, or 0 for 0."""
    return real(w > 0) - real(w < 0)


@kernel
def measure_group(net: Any, step: Any, group: Any, g: Any, norms: Any, listed: bool) -> None:
    """Σ g² of each row of a group; g: its gradient, of all or the listed weights;  norms (rows of all edges,): overwritten."""
    edge = net.edges[group.edge]
    first, n_rows = group.place, group.last - group.first + 1
    if listed:
        i, _ = listed_in_group(net, group)
        for r in range(n_rows):
            norms[first + r] = 0
        for p in range(i.size):
            norms[first + i[p] - group.first] += np.float64(g[p]) * np.float64(g[p])
        return
    _call_measure(step.loops[MEASURE], (edge.n_out, block(g, 0, n_rows, edge.row), line(norms, first, first + n_rows)))


@kernel
def clipping(step: Any, norms: Any) -> float:
    """What the gradient is multiplied by so that its norm is no more than `clip_norm`."""
    total = 0.0
    for i in range(norms.size):
        total += norms[i]
    return factor_to(step.clip_norm, math.sqrt(total))


@kernel
def factor_to(most: float, norm: float) -> float:
    """What makes a norm no more than `most`: 1 if it is not, NaN if it is not finite, to be reported."""
    return (most / norm if norm > most else 1.0) + 0.0 * norm


@kernel
def penalty_of_group(net: Any, step: Any, group: Any, squares: Any) -> None:
    """l2 Σ_j w_ij² + 2 l1 Σ_j |w_ij| of each row of weights of a group, in multiples of alpha.

    squares (rows of all edges,): overwritten, except for rows of biases.
    """
    edge, first = net.edges[group.edge], max(group.first, net.edges[group.edge].bias)
    n_rows, place = group.last + 1 - first, group.place + first - group.first
    if n_rows > 0:
        w, own = rows_from(weight_rows(edge, net.params), first, n_rows, 0), line(squares, place, place + n_rows)
        l2, l1 = step.penalties[group.edge, 0], step.penalties[group.edge, 1]
        _call_penalty(step.loops[PENALTY], (l2, l1, edge.n_out, w, own))


@kernel
def limit_columns(net: Any, step: Any, columns: Any, limits: Any) -> None:
    """What makes the norm of the weights that lead to some units of a node no more than its `max_norm`.

    columns: of COLUMNS;  limits (n_units of all nodes,): overwritten for these units.
    """
    node, n = net.nodes[columns.node], columns.end - columns.first
    own, most = line(limits, node.offset + columns.first, node.offset + columns.end), step.max_norm[columns.node]
    for j in range(n):
        own[j] = 0
    for number in range(node.first_in, node.end_in):
        edge = net.edges[number]
        w = rows_from(weight_rows(edge, net.params), edge.bias, edge.n_in, columns.first)
        _call_columns(step.loops[COLUMN_SQUARES], (w, own))
    for j in range(n):
        own[j] = factor_to(most, math.sqrt(own[j]))


@kernel
def rescale_group(net: Any, step: Any, group: Any, limits: Any) -> None:
    """Multiply the weights of a group, but not biases, by the limits of their units, limits (n_units of all nodes,) float64.

    Nodes without `max_norm` have no limits there; gains and shifts are left alone, too.
    """
    edge = net.edges[group.edge]
    if edge.source == edge.target or step.max_norm[edge.target] == math.inf:
        return
    node = net.nodes[edge.target]
    own, first = line(limits, node.offset, node.offset + edge.n_out), max(group.first, edge.bias)
    if first <= group.last:
        _call_columns(step.loops[RESCALE], (rows_from(weight_rows(edge, net.params), first, group.last + 1 - first, 0), own))
