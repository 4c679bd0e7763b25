"""Floor 3: the way forward and back through all layers, for a block of samples, and the step of a group of weights."""

from typing import Any

from bpkernel.compiler import kernel
from bpkernel.layout import input_block, transposed_block, unit_block, weight_block, whole_lines
from bpkernel.optimizers import COEFFICIENTS, update
from bpkernel.sums import (
    errors,
    gradient,
    gradient_of_sparse,
    hidden_deltas,
    output_deltas,
    outputs,
    pre_activations,
    sums_of_sparse,
)
from bpkernel.tiles import transpose_8
from bpkernel.views import block, line, row_of, rows_from

# ------------------------------------------------------------------------------------- the first stage: blocks of samples


@kernel
def load_inputs(X: Any, rows: Any, lead: int, z: Any) -> None:
    """z of the inputs: the given rows of X (any, n_in), in whichever dtype; z (n_samples, row): units overwritten."""
    for n in range(rows.size):
        x_n = row_of(X, rows[n], 0, X.shape[1])
        z_n = row_of(z, n, lead, X.shape[1])
        for i in range(x_n.size):
            z_n[i] = x_n[i]


@kernel
def forward_block(net: Any, X: Any, X_other: Any, sparse: Any, rows: Any, u: Any, first: int) -> None:
    """z of every layer for some samples: Eq. 1, layer by layer; and a, of the last layer or of all.

    X, X_other (any, n_in), or sparse: inputs in one of them;  rows (n,): theirs;  z and a of `u`, rows first to first + n:
    overwritten, but for the z of sparse inputs.
    """
    n = rows.size
    z = rows_from(input_block(net.layers[0], u.z, u.n_samples), first, n, 0)
    if X.shape[0] > 0:
        load_inputs(X, rows, net.layers[0].lead, z)
    elif X_other.shape[0] > 0:
        load_inputs(X_other, rows, net.layers[0].lead, z)
    for l in range(net.layers.size):
        layer = net.layers[l]
        lead = layer.lead
        z_before = rows_from(z, 0, n, lead - 1)
        z = rows_from(unit_block(layer, u.z, u.n_samples), first, n, 0)
        w, width, a = weight_block(layer, net.params), whole_lines(layer.n_out, lead), rows_from(z, 0, n, lead)
        if l == 0 and sparse.sums != 0:
            sums_of_sparse(sparse.sums, (w, sparse.indptr, sparse.indices, sparse.data, rows, width, a))
        else:
            pre_activations(net.panels, w, z_before, width, a)
        if u.keep_a or l == net.layers.size - 1:
            a = rows_from(unit_block(layer, u.a, u.n_samples), first, n, 0)
            copy(z, a, lead, layer.n_out)
        outputs(layer.g, lead, layer.n_out, z)


@kernel
def error_block(net: Any, T: Any, rows: Any, u: Any, first: int, e: Any) -> None:
    """E^n of some samples, from a and y of the last layer; T (any, n_out);  rows (n,): its rows;  e (n,): overwritten."""
    layer = net.layers[net.layers.size - 1]
    a = rows_from(unit_block(layer, u.a, u.n_samples), first, rows.size, layer.lead)
    y = rows_from(unit_block(layer, u.z, u.n_samples), first, rows.size, layer.lead)
    errors(net.error, a, y, T, rows, e)


@kernel
def backward_block(net: Any, T: Any, rows: Any, w: Any, first: int, me: int) -> None:
    """δ of every layer for some samples: Eq. 5, then Eq. 7 from the last layer back.

    T (any, n_out);  rows (n,): its rows;  of `w`, rows first to first + n: z and scale are read, delta is overwritten.
    """
    u, n = w.units, rows.size
    l = net.layers.size - 1
    layer = net.layers[l]
    lead = layer.lead
    y = rows_from(unit_block(layer, u.z, u.n_samples), first, n, 0)
    delta = rows_from(unit_block(layer, u.delta, u.n_samples), first, n, 0)
    output_deltas(layer.pull_back, net.slope, lead, y, T, rows, line(w.scale, first, first + n), delta)
    delta = rows_from(delta, 0, n, lead)
    while l > 0:
        w_next = weight_block(layer, net.params)
        transposed = own_transposed(w, me)
        w_next_t = block(transposed, 0, layer.n_out, 0)
        if transposed.size > 0:
            w_next_t = rows_from(transposed_block(layer, transposed), 0, layer.n_out, lead)
        l -= 1
        layer = net.layers[l]
        z = rows_from(unit_block(layer, u.z, u.n_samples), first, n, 0)
        delta_l = rows_from(unit_block(layer, u.delta, u.n_samples), first, n, 0)
        hidden_deltas(net.panels, layer.pull_back, w_next, w_next_t, delta, lead, layer.n_out, z, delta_l)
        delta = rows_from(delta_l, 0, n, lead)


@kernel
def copy(source: Any, target: Any, first: int, n_columns: int) -> None:
    """target[:, first : first + n_columns] = source[:, first : first + n_columns]."""
    for n in range(source.shape[0]):
        from_n, to_n = row_of(source, n, first, n_columns), row_of(target, n, first, n_columns)
        for j in range(n_columns):
            to_n[j] = from_n[j]


# ---------------------------------------------------------------------------------- the second stage: groups of weights


@kernel
def place(net: Any, group: Any) -> tuple[int, int]:
    """Where a group of rows of weights begins in the buffer of the weights, and its length."""
    layer = net.layers[group.layer]
    return layer.weights + group.first * layer.row, (group.last - group.first + 1) * layer.row


@kernel
def group_gradient(net: Any, sparse: Any, rows: Any, u: Any, group: Any, first: int, n: int, g: Any) -> None:
    """Eq. 4 for one group of rows of weights, over the samples first to first + n; g (size of the group): overwritten.

    rows (n,): those of the samples, for inputs that are sparse.
    """
    layer = net.layers[group.layer]
    z = rows_from(input_block(layer, u.z, u.n_samples), first, n, layer.lead - 1)
    delta = rows_from(unit_block(layer, u.delta, u.n_samples), first, n, layer.lead)
    dw, width = block(g, 0, group.last - group.first + 1, layer.row), whole_lines(layer.n_out, layer.lead)
    if group.layer == 0 and sparse.sums != 0:
        X = sparse.indptr, sparse.indices, sparse.data
        gradient_of_sparse(sparse.gradient, (*X, rows, delta, group.first, group.last, width, dw))
    else:
        gradient(net.panels, z, delta, group.first, group.last, width, dw)
    for i in range(dw.shape[0]):
        for j in range(width, layer.row):  # the line that keeps rows from being a multiple of a page
            dw[i, j] = 0


@kernel
def chunk_gradient(net: Any, sparse: Any, rows: Any, w: Any, k: int, first: int) -> None:
    """Eq. 4 for all weights, over the samples of chunk k, in the given rows, from the batch's first on."""
    for i in range(w.groups.size):
        group = w.groups[i]
        start, size = place(net, group)
        group_gradient(net, sparse, rows, w.units, group, first, rows.size, row_of(w.partial, k, start, size))


@kernel
def descend(net: Any, sparse: Any, rows: Any, step: Any, w: Any, k: int, c: Any, me: int) -> None:
    """Eq. 4 for one group of rows of weights, over a batch of samples in the given rows, and the optimizer's step on them."""
    group = w.groups[k]
    start, size = place(net, group)
    g = row_of(w.dw, me, 0, size)
    if w.partial.shape[0] > 0:
        add_chunks(w.partial, start, g)
    else:
        group_gradient(net, sparse, rows, w.units, group, 0, rows.size, g)
    params = line(net.params, start, start + size)
    if step.alpha > 0:
        decay = params.dtype.type(c[COEFFICIENTS])
        for i in range(net.layers[group.layer].row if group.first == 0 else 0, size):  # but the biases
            g[i] += decay * params[i]
    update(step.update, (params, g, row_of(step.state, 0, start, size), row_of(step.state, 1, start, size), c))


@kernel
def square_group(net: Any, group: Any, squares: Any) -> None:
    """Σ_j w_ij² of each row of weights of a group; squares (rows of all layers,): overwritten, but for those of biases."""
    layer = net.layers[group.layer]
    weights = weight_block(layer, net.params)
    for i in range(max(group.first, 1), group.last + 1):
        w_i = row_of(weights, i, 0, layer.n_out)
        total = w_i.dtype.type(0)
        for j in range(w_i.size):
            total += w_i[j] * w_i[j]
        squares[group.place + i - group.first] = total


@kernel
def add_chunks(partial: Any, start: int, g: Any) -> None:
    """g = Σ over the chunks, in their order, of partial (n_chunks, n_params) from `start` on."""
    first = row_of(partial, 0, start, g.size)
    for i in range(g.size):
        g[i] = first[i]
    for k in range(1, partial.shape[0]):
        chunk = row_of(partial, k, start, g.size)
        for i in range(g.size):
            g[i] += chunk[i]


@kernel
def own_transposed(w: Any, me: int) -> Any:
    """The transposed weights that a thread reads and writes: those of all threads, or its own."""
    return row_of(w.transposed, me % w.transposed.shape[0], 0, w.transposed.shape[1])


@kernel
def transpose_group(net: Any, w: Any, k: int, me: int) -> None:
    """Copy the weights of one group to where Eq. 7 finds them, if it asks for them in transposed form."""
    group = w.groups[k]
    layer = net.layers[group.layer]
    if w.transposed.shape[1] > 0 and group.layer > 0:
        transposed = transposed_block(layer, own_transposed(w, me))
        transpose(weight_block(layer, net.params), group.first, group.last, layer.n_out, layer.lead - 1, transposed)


@kernel(inline=False)
def transpose(weights: Any, first: int, last: int, n_out: int, column: int, transposed: Any) -> None:
    """transposed[j, column + i] = weights[i, j] for i from first to last; of its rows beyond n_out, anything."""
    in_eights = first + (last + 1 - first) // 8 * 8
    for j in range(0, transposed.shape[0], 8):
        for i in range(first, in_eights, 8):
            transpose_8(weights, i, j, transposed, column + i)
    for i in range(in_eights, last + 1):
        for j in range(n_out):
            transposed[j, column + i] = weights[i, j]
