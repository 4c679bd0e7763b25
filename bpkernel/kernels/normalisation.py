"""Layer normalisation (Ba, Kiros and Hinton 2016): what a normalised node does between its sums and its activation.

    m = mean_j a_j        v = mean_j (a_j - m)²        n_j = (a_j - m) / √(v + ε)        u_j = γ_j n_j + β_j        z_j = g(u_j)

and backward, from ∂E/∂u_j = g'(u_j) Σ_k w_kj δ_k, with c_j = γ_j ∂E/∂u_j:

    ∂E/∂γ_j = Σ_n n_j ∂E/∂u_j      ∂E/∂β_j = Σ_n ∂E/∂u_j      δ_j = ∂E/∂a_j = (c_j - mean c - n_j mean_j (c_j n_j)) / √(v + ε)

The gains γ and the shifts β are the rows 1 and 0 of the node's own edge.  The second block of a node holds, for each sample, n
in the z, and 1 / √(v + ε) in the place of z_0; in the δ it holds ∂E/∂u.  Kernels call the loops by pointers, so that the
compiler makes one version of each: a sum over the units of a row then has the same bits in training and in inference.
"""

import math
from typing import Any

import numpy as np
from numba import types

from bpkernel.codegen.jit import kernel
from bpkernel.codegen.pointers import by_pointer
from bpkernel.codegen.precision import Precision
from bpkernel.codegen.tiles import per_line
from bpkernel.codegen.views import matrix, row_of, rows_from
from bpkernel.kernels.layout import Layout, second_rows, unit_rows, weight_rows, whole_lines

EPSILON = 1e-5  # ε, as in PyTorch


FORWARD, BACKWARD, GRADIENT = range(3)  # places of the pointers to the loops
NOT_NORMALISED = np.zeros(3, np.int64)


def _forward(gains: Any, n_units: int, z: Any, normal: Any) -> None:
    """u and n from a.

    gains (2, row): shifts, then gains;  z (n_samples, row), whole rows: a is overwritten by u;  normal (n_samples, row), whole
    rows: n and 1 / √(v + ε) are overwritten.  The loops run over whole cache lines; the padding of n and u becomes 0.
    """
    per, width, real = per_line(z), whole_lines(n_units, per_line(z)), z.dtype.type
    shift, gain = row_of(gains, 0, 0, width), row_of(gains, 1, 0, width)
    for n in range(z.shape[0]):
        a, own = row_of(z, n, per, width), row_of(normal, n, per, width)
        total = squares = real(0)
        for j in range(width):
            total += a[j] if j < n_units else real(0)
        mean = total / real(n_units)
        for j in range(width):
            own[j] = a[j] - mean if j < n_units else real(0)
        for j in range(width):
            squares += own[j] * own[j]
        scale = real(1) / math.sqrt(squares / real(n_units) + real(EPSILON))
        normal[n, per - 1] = scale
        for j in range(width):
            own[j] *= scale
        for j in range(width):
            a[j] = gain[j] * own[j] + shift[j]


def _backward(gains: Any, n_units: int, normal: Any, delta: Any, of_u: Any) -> None:
    """δ of a from ∂E/∂u.

    gains (2, row): shifts, then gains;  normal (n_samples, row), whole rows, as `_forward` has written it;  delta (n_samples,
    row), whole rows: ∂E/∂u is overwritten by δ, and its padding by 0;  of_u (n_samples, row): ∂E/∂u, overwritten.
    """
    per, width, real = per_line(delta), whole_lines(n_units, per_line(delta)), delta.dtype.type
    gain = row_of(gains, 1, 0, width)
    for n in range(delta.shape[0]):
        d, own, copy = row_of(delta, n, per, width), row_of(normal, n, per, width), row_of(of_u, n, per, width)
        total = of_normal = real(0)
        for j in range(width):
            copy[j] = d[j]
        for j in range(width):
            d[j] *= gain[j]
        for j in range(width):
            total += d[j] if j < n_units else real(0)
            of_normal += d[j] * own[j] if j < n_units else real(0)
        mean, slope, scale = total / real(n_units), of_normal / real(n_units), normal[n, per - 1]
        for j in range(width):
            d[j] = (d[j] - mean - own[j] * slope) * scale if j < n_units else real(0)


def _gradient(normal: Any, of_u: Any, width: int, add: int, g: Any) -> None:
    """∂E/∂β_j = Σ_n ∂E/∂u_j and ∂E/∂γ_j = Σ_n n_j ∂E/∂u_j.

    normal, of_u (n_samples, ≥ width), from the first unit on;  g (2, row): overwritten or, where `add` is 1, added to.
    """
    of_shift, of_gain = row_of(g, 0, 0, width), row_of(g, 1, 0, width)
    for j in range(0 if add else width):
        of_shift[j] = of_gain[j] = 0
    for n in range(of_u.shape[0]):
        own, d = row_of(normal, n, 0, width), row_of(of_u, n, 0, width)
        for j in range(width):
            of_shift[j] += d[j]
            of_gain[j] += d[j] * own[j]


_call_forward, _pointer_to_forward = by_pointer(
    lambda p: types.none(matrix(p.master), types.intp, matrix(p.accumulation), matrix(p.storage))
)
_call_backward, _pointer_to_backward = by_pointer(lambda p: types.none(matrix(p.master), types.intp, *[matrix(p.storage)] * 3))
_call_gradient, _pointer_to_gradient = by_pointer(
    lambda p: types.none(matrix(p.storage), matrix(p.storage), types.intp, types.intp, matrix(p.master))
)


def pointers_to_normalisation(precision: Precision) -> np.ndarray:
    """Pointers to the compiled loops, (3,) int64."""
    pointers = (
        _pointer_to_forward(_forward, precision),
        _pointer_to_backward(_backward, precision),
        _pointer_to_gradient(_gradient, precision),
    )
    return np.array(pointers, np.int64)


def normalisation_of(layout: Layout) -> np.ndarray:
    """Pointers to the loops of a net, compiled if it has normalised nodes, otherwise 0."""
    return pointers_to_normalisation(layout.precision) if layout.normalised else NOT_NORMALISED


@kernel(view=True)
def normal_rows(node: Any, buffer: Any, n_rows: int, first: int, n: int) -> Any:
    """View (n, row) of whole rows of the second block of a node, from row `first` on, in a flat buffer of n_rows rows."""
    return rows_from(second_rows(node, buffer, n_rows), first, n, 0)


@kernel(inline=False)
def normalise(net: Any, node: Any, units: Any, first: int, n: int) -> None:
    """u and n of a node from its a, for n samples from row `first` of the units on."""
    z = rows_from(unit_rows(node, units.z, units.n_samples), first, n, 0)
    gains = weight_rows(net.edges[node.own_edge], net.params)
    _call_forward(net.normalisation[FORWARD], (gains, node.n_units, z, normal_rows(node, units.z, units.n_samples, first, n)))


@kernel(inline=False)
def deltas_of_sums(net: Any, node: Any, units: Any, first: int, deltas: Any, n_rows: int, row: int, n: int) -> None:
    """δ of a normalised node, from its ∂E/∂u, for the n samples from row `first` of the units on.

    deltas: buffer of all units with room for n_rows rows: the n from row `row` on are overwritten, in both blocks of the node.
    """
    delta = rows_from(unit_rows(node, deltas, n_rows), row, n, 0)
    normal, of_u = normal_rows(node, units.z, units.n_samples, first, n), normal_rows(node, deltas, n_rows, row, n)
    gains = weight_rows(net.edges[node.own_edge], net.params)
    _call_backward(net.normalisation[BACKWARD], (gains, node.n_units, normal, delta, of_u))


@kernel(inline=False)
def gradient_of_gains(net: Any, units: Any, edge: Any, first: int, n: int, add: int, g: Any) -> None:
    """The gradient of shifts and gains over the n samples from row `first` of the units on, in g (2, row), as `_gradient`."""
    per, node = per_line(units.z), net.nodes[edge.target]
    normal = rows_from(second_rows(node, units.z, units.n_samples), first, n, per)
    of_u = rows_from(second_rows(node, units.delta, units.n_samples), first, n, per)
    _call_gradient(net.normalisation[GRADIENT], (normal, of_u, whole_lines(edge.n_out, per), add, g))
