"""The gradient of a group of rows of weights, and the optimizer's step on them."""

from typing import Any

from bpkernel.codegen.jit import kernel
from bpkernel.codegen.tiles import per_line
from bpkernel.codegen.views import block, line, row_of, rows_from
from bpkernel.functions.optimizer import update
from bpkernel.kernels.few_weights import PIECE, gradient_of_few, listed_in_group, step_of_few, total_of_few
from bpkernel.kernels.layout import unit_rows, whole_lines
from bpkernel.kernels.normalisation import gradient_of_gains
from bpkernel.kernels.partition import group_range
from bpkernel.kernels.sparse import gradient_of_sparse
from bpkernel.kernels.sums import gradient, gradient_of_packed


@kernel
def in_lists(net: Any, sparse: Any, group: Any) -> bool:
    """Whether the gradient of a group is computed over the list of its present weights.

    It then has these numbers only, one after the other, at the beginning of the memory for the gradient.
    """
    if net.lists.sums == 0:  # for most nets this saves the look at the edge, of which a step of 2-8-1 made a dozen
        return False
    edge = net.edges[group.edge]
    return edge.first_present > 0 and not (edge.source == 0 and sparse.sums != 0)


@kernel
def group_gradient(net: Any, sparse: Any, rows: Any, units: Any, group: Any, first: int, add: int, g: Any) -> None:
    """Eq. 4 for a group, over the samples in rows `first` on of the units; g (size of the group,): overwritten or added to.

    rows (n,): the rows of the samples, for sparse inputs.
    """
    n, per, edge = rows.size, per_line(units.z), net.edges[group.edge]
    z = rows_from(unit_rows(net.nodes[edge.source], units.z, units.n_samples), first, n, per - edge.bias)
    delta = rows_from(unit_rows(net.nodes[edge.target], units.delta, units.n_samples), first, n, per)
    if in_lists(net, sparse, group):
        i, j = listed_in_group(net, group)
        gradient_of_few(net.lists.gradient, (i, j, add, z, delta, line(g, 0, i.size)))
        return
    n_rows, width = group.last - group.first + 1, whole_lines(edge.n_out, per)
    dw = block(g, 0, n_rows, edge.row)
    if edge.source == edge.target:
        gradient_of_gains(net, units, edge, first, n, add, dw)
    elif edge.source == 0 and sparse.sums != 0:
        X = sparse.indptr, sparse.indices, sparse.data
        gradient_of_sparse(sparse.gradient, (edge.bias, add, *X, rows, delta, group.first, group.last, width, dw))
    elif edge.packed >= 0 and units.packed.size > 0:
        packed_gradient(net, add, units, group, edge, first, rows_from(z, 0, n, 0), delta, dw)
    else:
        gradient(net.panels, add, z, delta, group.first, group.last, width, dw)
    for i in range(dw.shape[0]):
        for j in range(width, edge.row):  # the cache line that keeps rows from being a multiple of a page
            dw[i, j] = 0


@kernel
def packed_gradient(net: Any, add: int, units: Any, group: Any, edge: Any, first: int, z: Any, delta: Any, dw: Any) -> None:
    """Eq. 4 for a group of a wide edge, over the samples from `first` on: biases from z_0 = 1, weights from packed z and δ.

    z (n_samples, ≥ 1), from z_0 on if the edge has biases;  delta (n_samples, ≥ width);  dw (rows of the group, row):
    overwritten or added to.
    """
    width, n_biases = whole_lines(edge.n_out, per_line(delta)), edge.bias if group.first == 0 else 0
    if n_biases:
        gradient(net.panels, add, z, delta, 0, 0, width, dw)
    source, target, apart = net.nodes[edge.source], net.nodes[edge.target], units.n_samples
    tiles = (source.z_tiles + group.first + n_biases - edge.bias) * apart
    dw_units = rows_from(dw, n_biases, dw.shape[0] - n_biases, 0)
    panels = target.delta_panels * apart
    gradient_of_packed(net.panels, add, units.packed, tiles, panels, first, delta.shape[0], apart, width, dw_units)


@kernel
def chunk_gradient(net: Any, sparse: Any, rows: Any, work: Any, chunk: int, first: int, add: int) -> None:
    """Eq. 4 for all weights, over samples of a chunk, in the given rows, whose units are in rows `first` on.

    The gradient of the chunk is overwritten or added to.
    """
    for number in range(work.groups.size):
        group = work.groups[number]
        start, size = group_range(net, group)
        group_gradient(net, sparse, rows, work.units, group, first, add, row_of(work.chunks, chunk, start, size))


@kernel
def add_chunks(chunks: Any, start: int, g: Any) -> None:
    """g = Σ over the chunks, in their order, of chunks (n_chunks, n_params) from column `start` on."""
    first = row_of(chunks, 0, start, g.size)
    for i in range(g.size):
        g[i] = first[i]
    for number in range(1, chunks.shape[0]):
        chunk = row_of(chunks, number, start, g.size)
        for i in range(g.size):
            g[i] += chunk[i]


@kernel
def batch_gradient(net: Any, sparse: Any, rows: Any, work: Any, group: Any, g: Any) -> None:
    """Eq. 4 for a group, over a batch of samples in the given rows; g (size of the group,): overwritten."""
    if work.chunks.shape[0] > 0:
        size = listed_in_group(net, group)[0].size if in_lists(net, sparse, group) else g.size
        add_chunks(work.chunks, group_range(net, group)[0], line(g, 0, size))
    else:
        group_gradient(net, sparse, rows, work.units, group, 0, 0, g)
    if not in_lists(net, sparse, group):
        keep_present(net, group, g)


@kernel
def keep_present(net: Any, group: Any, numbers: Any) -> None:
    """Set the numbers (size of the group,) that belong to absent weights to 0; also those that are Inf or NaN."""
    if net.present.size > 0:
        start, size = group_range(net, group)
        for i in range(size):
            if not net.present[start + i]:
                numbers[i] = 0


@kernel
def update_group(net: Any, step: Any, group: Any, factors: Any, g: Any) -> None:
    """The optimizer's step on a group, from its gradient g (size of the group,)."""
    start, size = group_range(net, group)
    params = line(net.params, start, start + size)
    update(step.update, (params, g, rows_from(step.state, 0, step.state.shape[0], start), factors))
    keep_present(net, group, params)  # momentum of a weight from before it was pruned would move it


@kernel
def update_listed(net: Any, step: Any, group: Any, factors: Any, g: Any, scratch: Any) -> None:
    """The same for a group whose gradient, g (n_present,), is of its present weights; the others keep their state.

    scratch (≥ (1 + n_slots) * PIECE,): overwritten.
    """
    edge, n_slots = net.edges[group.edge], step.state.shape[0]
    i, j = listed_in_group(net, group)
    params = line(net.params, edge.weights, edge.weights + (edge.bias + edge.n_in) * edge.row)
    state, pieces = rows_from(step.state, 0, n_slots, edge.weights), block(scratch, 0, 1 + n_slots, PIECE)
    step_of_few(net.lists.step, (step.update, i, j, edge.row, params, g, state, factors, pieces))


@kernel
def add_gradient(net: Any, sparse: Any, group: Any, g: Any, total: Any) -> None:
    """Add the gradient g of a group, as `batch_gradient` has written it, to that of all weights, total (n_params,)."""
    start, size = group_range(net, group)
    if in_lists(net, sparse, group):
        edge, (i, j) = net.edges[group.edge], listed_in_group(net, group)
        own = line(total, edge.weights, edge.weights + (edge.bias + edge.n_in) * edge.row)
        total_of_few(net.lists.total, (i, j, edge.row, line(g, 0, i.size), own))
        return
    total_g = line(total, start, start + size)
    for i in range(size):
        total_g[i] += g[i]
