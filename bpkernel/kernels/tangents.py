"""Products of the Hessian, or of the Gauss-Newton matrix, with a vector v of parameters, by Pearlmutter's R-operator.

R{x} is the change of x where the parameters change in the direction v (Pearlmutter 1994; Bishop, section 4.10.7).  Forward:

    R{a}_j = Σ_i v_ji z_i + Σ_i w_ji R{z}_i        R{z}_j = g'(a_j) R{a}_j

Backward, with d_j = Σ_k w_kj δ_k:

    R{δ}_j = g''(a_j) R{a}_j d_j + g'(a_j) (Σ_k w_kj R{δ}_k + Σ_k v_kj δ_k)
    R{∂E/∂w_ji} = R{δ}_j z_i + δ_j R{z}_i

A Gauss-Newton product takes the change of δ of the outputs that comes from y alone, and the linear backward pass of it.
"""

from typing import Any, NamedTuple

import numpy as np

from bpkernel.codegen.jit import kernel
from bpkernel.codegen.parallel import bound, run
from bpkernel.codegen.processor import ROWS
from bpkernel.codegen.tiles import per_line
from bpkernel.codegen.views import block, flat, line, row_of, rows_from
from bpkernel.functions.activations import second
from bpkernel.functions.losses import curvature, slope
from bpkernel.kernels.differentials import add_chunks_on_thread, forward_pass_of, units_of, whole_rows
from bpkernel.kernels.layout import unit_rows, whole_lines
from bpkernel.kernels.normalisation import deltas_of_sums
from bpkernel.kernels.normalisation_tangents import product_of_gains, tangents_of_deltas, tangents_of_sums
from bpkernel.kernels.partition import block_start
from bpkernel.kernels.passes import copy_rows, sums_from, sums_into
from bpkernel.kernels.sums import gradient, hidden_deltas
from bpkernel.runtime.task_queue import begin, claim, finish, n_threads_of, wait

HESSIAN, GAUSS_NEWTON = range(2)


class Tangents(NamedTuple):
    """Scratch memory: R of all units, for as many rows as the units."""

    a: np.ndarray
    z: np.ndarray
    delta: np.ndarray


@kernel
def forward_tangents(
    net: Any, direction: Any, d: Any, sparse: Any, rows: Any, plan: Any, packed_v: Any, r: Any, first: int
) -> None:
    """R{a} and R{z} of all nodes, for the samples in rows `first` on of the units; direction: the net with v as weights.

    Of normalised nodes R{u} takes the place of R{a}.
    """
    units, n = plan.units, rows.size
    for target in range(1, net.nodes.size):
        node, of = net.nodes[target], units.n_samples
        sums_into(direction, sparse, rows, (units.z, r.a), of, packed_v, target, first, 0)
        sums_into(net, sparse, rows, (r.z, r.a), of, plan.packed, target, first, 1)
        if node.own_edge >= 0:
            tangents_of_sums(net, direction, node, units, r, first, n)
        r_z = whole_rows(node, r.z, of, first, n)
        copy_rows(whole_rows(node, r.a, of, first, n), r_z)
        a, z = whole_rows(node, units.a, of, first, n), whole_rows(node, units.z, of, first, n)
        pointer = node.vjp if target < net.nodes.size - 1 else d.vjp
        hidden_deltas(pointer, a, z, node.n_units, r_z, units.fault)


@kernel
def add_second(pointer: int, node: Any, rows: Any, fault: Any) -> None:
    """s_j ← s_j + g''(a_j) r_j d_j of the units of a node; rows: a, z, r, d and s, whole rows (n, row) each."""
    a, z, r, d, s = rows
    second(pointer, (flat(a), flat(z), flat(r), flat(d), flat(s), node.row, per_line(z), node.n_units), fault)


@kernel
def output_tangents(kind: int, net: Any, d: Any, samples: Any, rows: Any, units: Any, r: Any, first: int) -> None:
    """δ and R{δ} of the outputs, times the weight of the sample; R{δ} alone for a Gauss-Newton product."""
    node, n, of = net.nodes[net.nodes.size - 1], rows.size, units.n_samples
    for m in range(n):
        t, y = row_of(samples.T, rows[m], 0, samples.T.shape[1]), units_of(node, units.z, of, first + m)
        r_y, r_delta = units_of(node, r.z, of, first + m), units_of(node, r.delta, of, first + m)
        delta = units_of(node, units.delta, of, first + m)
        if d.canonical:
            for k in range(node.n_units):
                delta[k], r_delta[k] = y[k] - t[k], r_y[k]
        else:
            slope(d.slope, (y, t, delta), units.fault)
            curvature(d.curvature, (y, t, r_y, r_delta), units.fault)
    if not d.canonical:
        a, y_all = whole_rows(node, units.a, of, first, n), whole_rows(node, units.z, of, first, n)
        delta_all, r_all = whole_rows(node, units.delta, of, first, n), whole_rows(node, r.delta, of, first, n)
        hidden_deltas(d.vjp, a, y_all, node.n_units, r_all, units.fault)
        if kind == HESSIAN and d.seconds[net.nodes.size - 1] != 0:
            r_a = whole_rows(node, r.a, of, first, n)
            add_second(d.seconds[net.nodes.size - 1], node, (a, y_all, r_a, delta_all, r_all), units.fault)
        hidden_deltas(d.vjp, a, y_all, node.n_units, delta_all, units.fault)
    for m in range(n):
        s_n, delta = samples.s[rows[m]], units_of(node, units.delta, of, first + m)
        r_delta, zero = units_of(node, r.delta, of, first + m), s_n * 0
        for k in range(node.n_units):
            delta[k] = delta[k] * s_n if s_n != 0 else zero
            r_delta[k] = r_delta[k] * s_n if s_n != 0 else zero


@kernel
def backward_tangents(
    kind: int, net: Any, direction: Any, d: Any, plan: Any, packed_v: Any, r: Any, first: int, n: int
) -> None:
    """δ and R{δ} of the hidden nodes; R{δ} alone for a Gauss-Newton product."""
    units, of = plan.units, plan.units.n_samples
    for number in range(net.nodes.size - 2, 0, -1):
        node = net.nodes[number]
        a, z = whole_rows(node, units.a, of, first, n), whole_rows(node, units.z, of, first, n)
        r_delta = whole_rows(node, r.delta, of, first, n)
        sums_from(net, (r.delta, r.delta), of, plan.packed, number, first, n, 0)
        if kind == HESSIAN:
            sums_from(direction, (units.delta, r.delta), of, packed_v, number, first, n, 1)
        hidden_deltas(node.vjp, a, z, node.n_units, r_delta, units.fault)
        if kind == HESSIAN:
            sums_from(net, (units.delta, units.delta), of, plan.packed, number, first, n, 0)
            delta = whole_rows(node, units.delta, of, first, n)
            if d.seconds[number] != 0:
                r_a = whole_rows(node, r.a, of, first, n)
                add_second(d.seconds[number], node, (a, z, r_a, delta, r_delta), units.fault)
            hidden_deltas(node.vjp, a, z, node.n_units, delta, units.fault)
            if node.own_edge >= 0:
                deltas_of_sums(net, node, units, first, units.delta, of, first, n)
                tangents_of_deltas(net, direction, node, units, r, first, n)
        elif node.own_edge >= 0:
            deltas_of_sums(net, node, units, first, r.delta, of, first, n)


@kernel
def product_of_block(kind: int, net: Any, units: Any, r: Any, first: int, n: int, add: int, out: Any) -> None:
    """Σ_n R{δ}_j z_i + δ_j R{z}_i, without the second term for a Gauss-Newton product.

    out (n_params,): the weights in it are overwritten, or added to where `add` is 1.
    """
    per, of = per_line(units.z), units.n_samples
    for number in range(net.edges.size):
        edge = net.edges[number]
        last, width = edge.bias + edge.n_in - 1, whole_lines(edge.n_out, per)
        rows = block(out, edge.weights, last + 1, edge.row)
        if edge.source == edge.target:
            product_of_gains(kind == HESSIAN, net.nodes[edge.target], units, r, first, n, add, rows)
            continue
        source, target = net.nodes[edge.source], net.nodes[edge.target]
        z = rows_from(unit_rows(source, units.z, of), first, n, per - edge.bias)
        r_delta = rows_from(unit_rows(target, r.delta, of), first, n, per)
        gradient(net.panels, add, z, r_delta, 0, last, width, rows)
        if kind == HESSIAN and edge.source > 0:
            r_z = rows_from(unit_rows(source, r.z, of), first, n, per - edge.bias)
            delta = rows_from(unit_rows(target, units.delta, of), first, n, per)
            gradient(net.panels, 1, r_z, delta, 0, last, width, rows)


def products_on_thread(
    kind: int,
    net: Any,
    direction: Any,
    d: Any,
    samples: Any,
    plan: Any,
    packed_v: Any,
    r: Any,
    chunks: Any,
    out: Any,
    thread: int,
) -> None:
    """What one thread does of `products`: chunks of samples, each in blocks; then it adds the chunks up."""
    units, queue, n_all, n_tasks = plan.units, plan.queue, plan.order.size, chunks.shape[0]
    size = units.n_samples // n_threads_of(queue)
    first = thread * size
    while True:
        task = claim(queue, thread, 1, n_tasks)
        if task < 0:
            break
        start, end = block_start(task, n_all, n_tasks), block_start(task + 1, n_all, n_tasks)
        add, n_blocks = 0, (end - start + size - 1) // size
        while start < end:
            stop = start + ((end - start) // n_blocks + ROWS - 1) // ROWS * ROWS if n_blocks > 1 else end
            rows = line(plan.order, start, stop)
            forward_pass_of(net, samples, plan, rows, first)
            forward_tangents(net, direction, d, samples.sparse, rows, plan, packed_v, r, first)
            output_tangents(kind, net, d, samples, rows, units, r, first)
            backward_tangents(kind, net, direction, d, plan, packed_v, r, first, rows.size)
            product_of_block(kind, net, units, r, first, rows.size, add, row_of(chunks, task, 0, chunks.shape[1]))
            start, add, n_blocks = stop, 1, n_blocks - 1
        finish(queue)
    wait(queue, n_tasks)
    add_chunks_on_thread(queue, thread, 2, chunks, 0, out)


_bind = bound(products_on_thread)


@kernel(entry=True)
def products(
    kind: int,
    net: Any,
    direction: Any,
    d: Any,
    samples: Any,
    plan: Any,
    packed_v: Any,
    r: Any,
    chunks: Any,
    out: Any,
    n_running: int,
) -> None:
    """A matrix of a kind times v, for n samples, those of `plan.order`; out (n_params,): added to.

    direction: the net with v in place of its weights, and packed_v its packed weights;  r: Tangents;  chunks (n_chunks,
    n_params): scratch memory, zeros where a row is padded;  n_running: the threads to run on.
    """
    begin(plan.queue)
    run(_bind((kind, net, direction, d, samples, plan, packed_v, r, chunks, out)), n_threads_of(plan.queue), n_running)
