"""The forward and the backward pass through all nodes, for a block of samples."""

from typing import Any

from bpkernel.codegen.cache_lines import prefetch
from bpkernel.codegen.jit import kernel
from bpkernel.codegen.tiles import per_line
from bpkernel.codegen.views import block, flat, row_of, rows_from
from bpkernel.functions.losses import errors
from bpkernel.kernels.dropout import add_noise, drop, undropped_rows
from bpkernel.kernels.few_weights import listed, sums_of_few
from bpkernel.kernels.layout import unit_rows, weight_rows, whole_lines
from bpkernel.kernels.normalisation import deltas_of_sums, normalise
from bpkernel.kernels.packing import pack_deltas, pack_z, transposed_rows
from bpkernel.kernels.sparse import sums_of_sparse
from bpkernel.kernels.sums import back_propagate, hidden_deltas, output_deltas, outputs, pre_activations, sums_of_packed

AHEAD = 4  # rows of inputs that are prefetched: rows in random order come from memory, for 5 % of the time of 64-100-10


@kernel
def load_inputs(X: Any, rows: Any, z: Any) -> None:
    """z of the inputs: the given rows of X (any, n_in), of either dtype; z (n_samples, row): its units are overwritten."""
    for n in range(rows.size):
        ahead = rows[min(n + AHEAD, rows.size - 1)]
        for i in range(0, X.shape[1], per_line(X)):
            prefetch(X, ahead, i)
        x_n = row_of(X, rows[n], 0, X.shape[1])
        z_n = row_of(z, n, per_line(z), X.shape[1])
        for i in range(x_n.size):
            z_n[i] = x_n[i]


@kernel
def forward_pass(net: Any, X: Any, X_other: Any, sparse: Any, rows: Any, units: Any, packed: Any, first: int) -> None:
    """Eq. 1 for every node in turn: z, and a of the last node, of nodes that need it, or of all; with dropout in training.

    a is what g is applied to, of a normalised node u.
    X, X_other (any, n_in), or sparse: inputs, in one of them;  rows (n,): their rows;  z and a of `units`, rows first to
    first + n: overwritten, except the z of sparse inputs;  packed (n_packed,): the packed weights, or (0,).
    """
    n, last = rows.size, net.nodes.size - 1
    z_inputs = rows_from(unit_rows(net.nodes[0], units.z, units.n_samples), first, n, 0)
    if X.shape[0] > 0:
        load_inputs(X, rows, z_inputs)
    elif X_other.shape[0] > 0:
        load_inputs(X_other, rows, z_inputs)
    per = per_line(units.z)
    if units.undropped.size > 0:
        if net.nodes[0].noise > 0:
            add_noise(units, net.nodes[0].noise, rows, net.nodes[0].n_units, z_inputs)
        if net.nodes[0].dropout > 0:
            drop(units, net.nodes[0], 0, rows, z_inputs)
    if units.packed.size > 0 and net.nodes[0].z_tiles >= 0 and sparse.sums == 0:
        pack_z(net.nodes[0], rows_from(z_inputs, 0, n, per), first, units.n_samples, units.packed)
    for target in range(1, net.nodes.size):
        node = net.nodes[target]
        z = rows_from(unit_rows(node, units.z, units.n_samples), first, n, 0)
        sums_into(net, sparse, rows, (units.z, units.z), units.n_samples, packed, target, first, 0)
        if node.own_edge >= 0:
            normalise(net, node, units, first, n)
        if units.keep_a or node.keep_a or target == last:
            copy_rows(z, rows_from(unit_rows(node, units.a, units.n_samples), first, n, 0))
        outputs(node.forward, node.n_units, z, units.fault)
        if units.undropped.size > 0 and node.dropout > 0:
            copy_rows(z, undropped_rows(units, node, first, n))
            drop(units, node, target, rows, z)
        if units.packed.size > 0 and node.z_tiles >= 0:
            pack_z(node, rows_from(z, 0, n, per), first, units.n_samples, units.packed)


@kernel
def sums_into(
    net: Any, sparse: Any, rows: Any, buffers: Any, n_samples: int, packed: Any, target: int, first: int, tangents: int
) -> None:
    """Eq. 1 for a node: the sum over all edges into it, for the samples in rows first to first + n of the units.

    rows (n,): the samples' rows of sparse inputs;  buffers: z of all units, and the one that a is written to, in place of z.
    tangents: 0; or 1 where the first buffer holds tangents of z.  Those of the inputs and of z_0 are 0, and a is added to.
    """
    z_units, a_units = buffers
    node, n, per = net.nodes[target], rows.size, per_line(z_units)
    a, width = rows_from(unit_rows(node, a_units, n_samples), first, n, per), whole_lines(node.n_units, per)
    for number in range(node.first_in, node.end_in):
        edge, add = net.edges[number], 1 if number > node.first_in or tangents else 0
        if tangents and edge.source == 0:
            continue
        w = weight_rows(edge, net.params)
        if edge.source == 0 and sparse.sums != 0:
            X_csr = sparse.indptr, sparse.indices, sparse.data
            sums_of_sparse(sparse.sums, (w, edge.bias, add, *X_csr, rows, width, a))
            continue
        source = rows_from(unit_rows(net.nodes[edge.source], z_units, n_samples), first, n, per - edge.bias)
        if net.lists.sums != 0 and edge.first_present > 0:
            i, j = listed(net, edge)
            sums_of_few(net.lists.sums, (i, j, 0 if tangents else edge.bias, add, w, source, width, a))
        elif packed.size > 0 and edge.packed >= 0:
            sums_of_packed(net.panels, add, packed, edge.packed, w.shape[0], w.shape[0], source, width, a)
        else:
            pre_activations(net.panels, add, w, source, width, a)


@kernel
def errors_of_block(net: Any, T: Any, rows: Any, units: Any, first: int, e: Any) -> None:
    """E^n of some samples, from a and y of the last node.

    T (any, n_targets);  rows (n,): its rows;  e (n,): overwritten.
    """
    node, column = net.nodes[net.nodes.size - 1], per_line(units.z)
    a = rows_from(unit_rows(node, units.a, units.n_samples), first, rows.size, column)
    y = rows_from(unit_rows(node, units.z, units.n_samples), first, rows.size, column)
    errors(net.error, (node.n_units, a, y, T, rows, e), units.fault)


@kernel
def backward_pass(net: Any, T: Any, rows: Any, units: Any, scale: Any, packed: Any, first: int) -> None:
    """δ of every node but the inputs for some samples: Eq. 5 for the last node, then Eq. 7 for the nodes before it in turn.

    T (any, n_targets);  rows (n,): its rows;  scale (n,): what multiplies δ_k;  packed (n_packed,), or (0,);  of `units`, rows
    first to first + n: z is read, delta is overwritten.
    """
    n, per = rows.size, per_line(units.z)
    for number in range(net.nodes.size - 1, 0, -1):
        node = net.nodes[number]
        z = rows_from(unit_rows(node, units.z, units.n_samples), first, n, 0)
        a = rows_from(unit_rows(node, units.a, units.n_samples), first, n, 0)
        delta = rows_from(unit_rows(node, units.delta, units.n_samples), first, n, 0)
        if node.first_out == node.end_out:
            output_deltas((net.slope, node.vjp), node.n_units, a, z, T, rows, scale, delta, units.fault)
        sums_from(net, (units.delta, units.delta), units.n_samples, packed, number, first, n, 0)
        if node.first_out < node.end_out:
            if units.undropped.size > 0 and node.dropout > 0:
                drop(units, node, number, rows, delta)
                hidden_deltas(node.vjp, a, undropped_rows(units, node, first, n), node.n_units, delta, units.fault)
            else:
                hidden_deltas(node.vjp, a, z, node.n_units, delta, units.fault)
        if node.own_edge >= 0:
            deltas_of_sums(net, node, units, first, units.delta, units.n_samples, first, n)
        if units.packed.size > 0 and node.delta_panels >= 0:
            pack_deltas(node, rows_from(delta, 0, n, per), first, units.n_samples, units.packed)


@kernel
def sums_from(net: Any, buffers: Any, n_rows: int, packed: Any, number: int, first: int, n: int, more: int) -> None:
    """The sum of Eq. 7 for a node, over all edges from it: d = Σ_k w_kj δ_k in rows first to first + n of the units.

    buffers: δ of all units, and the one that d is written to, in place of δ, each with room for n_rows rows;  packed
    (n_packed,), or (0,);  more: 1 if d is added to, else 0.
    """
    delta_units, d_units = buffers
    node, per = net.nodes[number], per_line(delta_units)
    delta = rows_from(unit_rows(node, d_units, n_rows), first, n, 0)
    for position in range(node.first_out, node.end_out):
        edge = net.edges[net.out_edges[position]]
        delta_next = rows_from(unit_rows(net.nodes[edge.target], delta_units, n_rows), first, n, per)
        add = 1 if position > node.first_out or more else 0
        if net.lists.sums != 0 and edge.first_present > 0:
            i, j = listed(net, edge)
            d, width = rows_from(delta, 0, n, per - edge.bias), whole_lines(node.n_units, per)
            sums_of_few(net.lists.deltas, (i, j, edge.bias, add, weight_rows(edge, net.params), delta_next, width, d))
            continue
        if packed.size > 0 and edge.wide:
            d, width = rows_from(delta, 0, n, per), whole_lines(node.n_units, per)
            apart = whole_lines(edge.n_out, per)
            sums_of_packed(net.panels, add, packed, edge.transposed, edge.n_out, apart, delta_next, width, d)
            continue
        w = rows_from(weight_rows(edge, net.params), edge.bias, edge.n_in, 0)
        w_t = block(packed, 0, edge.n_out, 0)
        if packed.size > 0:
            w_t = rows_from(transposed_rows(edge, packed), 0, edge.n_out, per)
        back_propagate(net.panels, add, w, w_t, delta_next, node.n_units, rows_from(delta, 0, n, per))


@kernel
def copy_rows(source: Any, target: Any) -> None:
    """Copy all numbers of some rows, also those between the units, to rows of the same length."""
    numbers, copies = flat(source), flat(target)
    for i in range(numbers.size):
        copies[i] = numbers[i]


@kernel
def copy(source: Any, target: Any, first: int, n_columns: int) -> None:
    """target[:, first : first + n_columns] = source[:, first : first + n_columns]."""
    for n in range(source.shape[0]):
        source_n, target_n = row_of(source, n, first, n_columns), row_of(target, n, first, n_columns)
        for j in range(n_columns):
            target_n[j] = source_n[j]
