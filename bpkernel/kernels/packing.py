"""Packed operands: copies of weights and of units in the order in which the tiles read them.

Transposed weights: over them the sum of Eq. 7 has the form of Eq. 1.  A row leads from one unit k of the target to the units j
of the source.

Panels: where an edge is wide, a tile that reads a few units of every row would read another page of memory in every step.  So
the operands of its sums are cut into panels as wide as a tile, one after the other:

    weights      panels of units j, each of a row of w for every unit i, from the biases on
    transposed   panels of units j of the source, each of a row for every unit k of the target
    z            tiles of ROWS units i, each of a row for every sample
    δ            panels of units j, each of a row for every sample

The update of a group of weights writes the copies of weights, and the passes those of units, while they are in cache.  Edges
with few weights have no copies.
"""

from typing import Any

from bpkernel.codegen.cache_lines import per_lane, stream_line, transpose
from bpkernel.codegen.jit import kernel
from bpkernel.codegen.processor import LINE_VECTORS, ROWS
from bpkernel.codegen.tiles import load, panel_width, per_line, store, zeros
from bpkernel.codegen.views import block, rows_from
from bpkernel.kernels.layout import weight_rows, whole_lines

WORTH_PACKING = 8  # samples in a batch from which on Eq. 7 is faster with packed weights
PACKED_ROWS = 48  # of a wide edge, packed at once after the biases: whole tiles, and whole cache lines of transposed weights
TOGETHER = 32  # samples whose z are packed at once: their lines stay in the first-level cache


@kernel(view=True)
def transposed_rows(edge: Any, packed: Any) -> Any:
    """View (n_out in whole cache lines, packed_row) of the transposed weights of an edge that is not wide.

    The units of the source begin after a cache line, whose last number belongs to the biases.
    """
    return block(packed, edge.transposed, whole_lines(edge.n_out, per_line(packed)), edge.packed_row)


@kernel
def pack_group(net: Any, packed: Any, group: Any) -> None:
    """Copy a group of rows of weights to its places among the packed weights (n_packed,), if its edge has any there."""
    edge = net.edges[group.edge]
    if packed.size == 0 or edge.first_present > 0:
        return
    w = weight_rows(edge, net.params)
    if edge.wide:
        pack_panels(edge, w, group.first, group.last, packed)
    elif edge.transposed >= 0:
        column = per_line(packed) - edge.bias
        pack_transposed(w, group.first, group.last, edge.n_out, column, transposed_rows(edge, packed))


@kernel(inline=False)
def pack_panels(edge: Any, w: Any, first: int, last: int, packed: Any) -> None:
    """Copy rows first to last of the weights of a wide edge to its panels, and to those of its transposed weights."""
    width, most = whole_lines(edge.n_out, per_line(packed)), panel_width(packed)
    for j in range(0, width if edge.packed >= 0 else 0, most):
        n = min(most, width - j)
        panel = block(packed, edge.packed + (edge.bias + edge.n_in) * j, edge.bias + edge.n_in, n)
        for i in range(first, last + 1):
            for v in range(0, n, per_line(packed)):
                stream_line(w, i, j + v, panel, i, v)
    if edge.transposed >= 0:
        first_unit, end = max(first - edge.bias, 0), last + 1 - edge.bias
        for i in range(first_unit // most * most, end, most):
            panel = block(packed, edge.transposed + width * i, width, min(most, edge.packed_row - i))
            low, high = max(first_unit, i), min(end, i + most)
            whole = low + (high - low) // per_line(packed) * per_line(packed)
            for j in range(0, width, per_lane(packed)):
                for k in range(low, whole, per_line(packed)):
                    transpose(w, edge.bias + k, j, panel, k - i, 2, 1)
            pack_transposed(w, edge.bias + whole, edge.bias + high - 1, edge.n_out, -edge.bias - i, panel)


@kernel
def copy_lines(source: Any, target: Any, width: int) -> None:
    """target[:, :width] = source[:, :width], of whole cache lines."""
    for n in range(source.shape[0]):
        for j in range(0, width, per_line(target)):
            store(load(zeros(target, 1, LINE_VECTORS), source, n, n, j), target, n, n, j)


@kernel(inline=False)
def pack_transposed(weights: Any, first: int, last: int, n_out: int, column: int, transposed: Any) -> None:
    """transposed[j, column + i] = weights[i, j] for i from first to last; rows of it beyond n_out get any numbers."""
    line = per_line(weights)
    whole = first + (last + 1 - first) // line * line
    end = first + (last + 1 - first) // (line // 2) * (line // 2)
    for j in range(0, transposed.shape[0], per_lane(weights)):
        for i in range(first, whole, line):
            transpose(weights, i, j, transposed, column + i, 2, 0)
        if whole < end:
            transpose(weights, whole, j, transposed, column + whole, 1, 0)
    for i in range(end, last + 1):
        for j in range(n_out):
            transposed[j, column + i] = weights[i, j]


@kernel(inline=False)
def pack_z(node: Any, z: Any, first: int, n_samples: int, packed: Any) -> None:
    """Copy z (n, ≥ n_units) of a node, of the batch's samples from `first` on, to its tiles of n_samples rows."""
    for start in range(0, z.shape[0], TOGETHER):
        end = min(start + TOGETHER, z.shape[0])
        for i in range(0, node.n_units, ROWS):
            tile = block(packed, (node.z_tiles + i) * n_samples, n_samples, ROWS)
            if i + ROWS <= node.n_units:
                for n in range(start, end):
                    for r in range(ROWS):
                        tile[first + n, r] = z[n, i + r]
            else:
                for n in range(start, end):
                    for r in range(node.n_units - i):
                        tile[first + n, r] = z[n, i + r]


@kernel(inline=False)
def pack_deltas(node: Any, delta: Any, first: int, n_samples: int, packed: Any) -> None:
    """Copy δ (n, ≥ n_units in whole cache lines) of a node, of the samples from `first` on, to its panels of n_samples rows."""
    width, most = whole_lines(node.n_units, per_line(packed)), panel_width(packed)
    for j in range(0, width, most):
        n_columns = min(most, width - j)
        panel = block(packed, (node.delta_panels + j) * n_samples + first * n_columns, delta.shape[0], n_columns)
        copy_lines(rows_from(delta, 0, delta.shape[0], j), panel, n_columns)
