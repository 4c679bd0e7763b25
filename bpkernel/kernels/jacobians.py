"""Derivatives of the outputs, by the inputs and by the parameters.

One backward pass for each output k starts with δ = ∂y_k/∂a.  The passes for all outputs of a block of samples run together:
the δ of the block for output k are rows k b to (k + 1) b, of b samples.
"""

from typing import Any

from bpkernel.codegen.jit import kernel
from bpkernel.codegen.parallel import bound, run
from bpkernel.codegen.tiles import per_line
from bpkernel.codegen.views import line, row_of, rows_from
from bpkernel.kernels.differentials import forward_pass_of, whole_rows, write_gradient
from bpkernel.kernels.layout import unit_rows
from bpkernel.kernels.normalisation import deltas_of_sums
from bpkernel.kernels.partition import block_start
from bpkernel.kernels.passes import sums_from
from bpkernel.kernels.sums import hidden_deltas
from bpkernel.runtime.task_queue import begin, claim, finish, n_threads_of

INPUTS, PARAMETERS = range(2)  # by what outputs are differentiated: (n_samples, n_outputs * n_inputs or n_parameters)


@kernel
def output_slopes(net: Any, pointer: int, units: Any, first: int, n: int, deltas: Any, n_rows: int, row: int) -> None:
    """δ_j = ∂y_k/∂a_j of n samples, for each output k in turn, in rows `row` on of `deltas`.

    pointer: to the vjp of the output activation; 0 for that of the identity.
    """
    node, per = net.nodes[net.nodes.size - 1], per_line(deltas)
    a = whole_rows(node, units.a, units.n_samples, first, n)
    y = whole_rows(node, units.z, units.n_samples, first, n)
    for k in range(node.n_units):
        seeds = whole_rows(node, deltas, n_rows, row + k * n, n)
        for m in range(n):
            for j in range(node.row):
                seeds[m, j] = 0
            seeds[m, per + k] = 1
        if pointer != 0:
            hidden_deltas(pointer, a, y, node.n_units, seeds, units.fault)


@kernel
def back_propagate_all(net: Any, units: Any, first: int, n: int, packed: Any, deltas: Any, n_rows: int, row: int) -> None:
    """δ of all hidden nodes, from those of the outputs, for n samples and each output, in rows `row` on of `deltas`.

    z and a of the samples are in rows `first` on of the units.
    """
    n_outputs = net.nodes[net.nodes.size - 1].n_units
    for number in range(net.nodes.size - 2, 0, -1):
        node = net.nodes[number]
        sums_from(net, (deltas, deltas), n_rows, packed, number, row, n * n_outputs, 0)
        a = whole_rows(node, units.a, units.n_samples, first, n)
        z = whole_rows(node, units.z, units.n_samples, first, n)
        for k in range(n_outputs):
            delta = whole_rows(node, deltas, n_rows, row + k * n, n)
            hidden_deltas(node.vjp, a, z, node.n_units, delta, units.fault)
            if node.own_edge >= 0:
                deltas_of_sums(net, node, units, first, deltas, n_rows, row + k * n, n)


def jacobians_on_thread(
    kind: int, net: Any, d: Any, samples: Any, plan: Any, deltas: Any, n_tasks: int, out: Any, thread: int
) -> None:
    """What one thread does of `jacobians`."""
    units, queue, n_all = plan.units, plan.queue, plan.order.size
    size, n_outputs = units.n_samples // n_threads_of(queue), net.nodes[net.nodes.size - 1].n_units
    first, row, n_rows, per = thread * size, thread * size * n_outputs, units.n_samples * n_outputs, per_line(deltas)
    each = out.shape[1] // n_outputs
    while True:
        task = claim(queue, thread, 1, n_tasks)
        if task < 0:
            break
        start, stop = block_start(task, n_all, n_tasks), block_start(task + 1, n_all, n_tasks)
        n = stop - start
        forward_pass_of(net, samples, plan, line(plan.order, start, stop), first)
        output_slopes(net, d.vjp, units, first, n, deltas, n_rows, row)
        back_propagate_all(net, units, first, n, plan.packed, deltas, n_rows, row)
        if kind == INPUTS:
            sums_from(net, (deltas, deltas), n_rows, plan.packed, 0, row, n * n_outputs, 0)
            found = rows_from(unit_rows(net.nodes[0], deltas, n_rows), row, n * n_outputs, per)
            for m in range(n):
                for k in range(n_outputs):
                    slopes, written = row_of(found, k * n + m, 0, each), row_of(out, start + m, k * each, each)
                    for i in range(each):
                        written[i] = slopes[i]
        else:
            for m in range(n):
                for k in range(n_outputs):
                    own = rows_from(out, start + m, 1, k * each)
                    of_delta = n_rows, row + k * n + m
                    write_gradient(net, d, (units.z, deltas), (units.n_samples, first + m), of_delta, own, each)
        finish(queue)


_bind_jacobians = bound(jacobians_on_thread)


@kernel(entry=True)
def jacobians(
    kind: int, net: Any, d: Any, samples: Any, plan: Any, deltas: Any, n_tasks: int, out: Any, n_running: int
) -> None:
    """Derivatives of the outputs, of a kind, for n samples, those of `plan.order`; out (n, n_outputs * each): overwritten.

    deltas: buffer of all units, with a row for each row of the plan and each output;  n_tasks: blocks of samples;  n_running:
    the threads to run on.
    """
    begin(plan.queue)
    run(_bind_jacobians((kind, net, d, samples, plan, deltas, n_tasks, out)), n_threads_of(plan.queue), n_running)
