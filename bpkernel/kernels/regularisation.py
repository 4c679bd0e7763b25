"""L1 and L2, clipping of the gradient, and limits of the weights: what is done between a gradient and the next batch.

The norm of the gradient, and those of the weights that lead to a unit, are sums over many groups of rows of weights.  They are
stages of their own: see `stages`.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from bpkernel.codegen.jit import kernel
from bpkernel.codegen.scalars import real
from bpkernel.codegen.views import line, row_of
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
        return Regularisation(0.0, NOT_REGULARISED.penalties, clip_value, clip_norm)
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


@kernel
def regularise(net: Any, step: Any, group: Any, strength: float, g: Any) -> None:
    """Add the gradient of the penalties, but not for biases, to that of a group, g (size of the group,), and clip its numbers.

    strength: alpha / Σ_n s_n.
    """
    if step.alpha > 0:
        start, size = group_range(net, group)
        edge, params, real = net.edges[group.edge], line(net.params, start, start + size), g.dtype.type
        l2, l1 = real(strength * step.penalties[group.edge, 0]), real(strength * step.penalties[group.edge, 1])
        for i in range(edge.row if edge.bias and group.first == 0 else 0, size):
            g[i] += l2 * params[i]
        if l1 != 0:
            for i in range(edge.row if edge.bias and group.first == 0 else 0, size):
                g[i] += l1 * sign_of(params[i])
    clip(step, g)


@kernel
def regularise_listed(net: Any, step: Any, group: Any, strength: float, g: Any) -> None:
    """The same for a group whose gradient, g (n_present,), is of its present weights."""
    if step.alpha > 0:
        edge, (i, j) = net.edges[group.edge], listed_in_group(net, group)
        params = line(net.params, edge.weights, edge.weights + (edge.bias + edge.n_in) * edge.row)
        l2, l1 = strength * step.penalties[group.edge, 0], strength * step.penalties[group.edge, 1]
        penalties_of_few(net.lists.penalties, (i, j, edge.bias, l2, l1, edge.row, params, g))
    clip(step, g)


@kernel
def sign_of(w: Any) -> Any:
    """1, -1, or 0 for 0."""
    return real(w > 0) - real(w < 0)


@kernel
def clip(step: Any, g: Any) -> None:
    """Limit the size of every number of a gradient."""
    if step.clip_value > 0:
        most = g.dtype.type(step.clip_value)
        for i in range(g.size):
            g[i] = min(max(g[i], -most), most) if g[i] == g[i] else g[i]  # NaN stays, to be reported


@kernel
def measure_group(net: Any, group: Any, g: Any, norms: Any, listed: bool) -> None:
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
    for r in range(n_rows):
        total, g_r = 0.0, line(g, r * edge.row, r * edge.row + edge.n_out)
        for j in range(g_r.size):
            total += np.float64(g_r[j]) * np.float64(g_r[j])  # in float32 it would be Inf from 2e19 on
        norms[first + r] = total


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
    edge = net.edges[group.edge]
    weights, l2, l1 = weight_rows(edge, net.params), step.penalties[group.edge, 0], step.penalties[group.edge, 1]
    for i in range(max(group.first, edge.bias), group.last + 1):
        w_i = row_of(weights, i, 0, edge.n_out)
        total = w_i.dtype.type(0)
        for j in range(w_i.size):
            total += w_i[j] * w_i[j]
        squares[group.place + i - group.first] = l2 * total
        if l1 != 0:
            size = w_i.dtype.type(0)
            for j in range(w_i.size):
                size += abs(w_i[j])
            squares[group.place + i - group.first] += 2.0 * l1 * size


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
        weights = weight_rows(edge, net.params)
        for i in range(edge.bias, edge.bias + edge.n_in):
            w_i = row_of(weights, i, columns.first, n)
            for j in range(n):
                own[j] += np.float64(w_i[j]) * np.float64(w_i[j])
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
    own = line(limits, node.offset, node.offset + edge.n_out)
    weights = weight_rows(edge, net.params)
    for i in range(max(group.first, edge.bias), group.last + 1):
        w_i = row_of(weights, i, 0, edge.n_out)
        for j in range(w_i.size):
            w_i[j] *= own[j]
