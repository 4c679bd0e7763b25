"""Packed weights: copies of the weights in the order in which the tiles read them.

There is one such copy today: the weights of each edge transposed, over which the sum of Eq. 7 has the form of Eq. 1.  The
update of a group of weights writes the copies while the weights are in cache.  A row of packed weights leads from one unit k
of the target: first a cache line, whose last number belongs to the biases, then the weights to the units j of the source.
Edges with few weights have no copy.
"""

from typing import Any

from bpkernel.codegen.jit import kernel
from bpkernel.codegen.tiles import per_line, transpose_8
from bpkernel.codegen.views import block
from bpkernel.kernels.layout import weight_rows, whole_lines

WORTH_PACKING = 8  # samples in a batch from which on Eq. 7 is faster with packed weights


@kernel(view=True)
def packed_rows(edge: Any, packed: Any) -> Any:
    """View (n_out in whole cache lines, packed_row) of the packed weights of an edge in a flat buffer (n_packed,)."""
    return block(packed, edge.packed, whole_lines(edge.n_out, per_line(packed)), edge.packed_row)


@kernel
def pack_group(net: Any, packed: Any, group: Any) -> None:
    """Copy a group of rows of weights to its place among the packed weights (n_packed,), if its edge has any there."""
    edge = net.edges[group.edge]
    if packed.size > 0 and edge.source > 0 and edge.first_present == 0:
        column = per_line(packed) - edge.bias
        transpose(weight_rows(edge, net.params), group.first, group.last, edge.n_out, column, packed_rows(edge, packed))


@kernel(inline=False)
def transpose(weights: Any, first: int, last: int, n_out: int, column: int, transposed: Any) -> None:
    """transposed[j, column + i] = weights[i, j] for i from first to last; rows of it beyond n_out get any numbers."""
    end = first + (last + 1 - first) // 8 * 8
    for j in range(0, transposed.shape[0], 8):
        for i in range(first, end, 8):
            transpose_8(weights, i, j, transposed, column + i)
    for i in range(end, last + 1):
        for j in range(n_out):
            transposed[j, column + i] = weights[i, j]
