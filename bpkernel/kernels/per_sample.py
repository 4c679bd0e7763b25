"""Derivatives of the E^n of each sample: gradients, their norms, their spread, and derivatives with respect to the inputs."""

from typing import Any

from bpkernel.codegen.jit import kernel
from bpkernel.codegen.parallel import bound, run
from bpkernel.codegen.tiles import per_line
from bpkernel.codegen.views import line, row_of, rows_from
from bpkernel.kernels.differentials import forward_pass_of, second_of, units_of, write_gradient
from bpkernel.kernels.layout import unit_rows, weight_rows
from bpkernel.kernels.partition import block_start
from bpkernel.kernels.passes import backward_pass, copy, sums_from
from bpkernel.runtime.task_queue import begin, claim, finish, n_threads_of

GRADIENTS, NORMS, SPREAD, INPUTS = range(4)  # what is computed, and the shape of the result
# (n_samples, n_parameters), (n_samples, 1), (n_tasks, n_params), (n_samples, n_inputs)


@kernel
def squared_norm(net: Any, units: Any, n: int) -> float:
    """Σ (∂E^n/∂w)² of the sample in row n of the units: of an edge without absent weights Σ_i z_i² Σ_j δ_j²."""
    total = 0.0
    for number in range(net.edges.size):
        edge = net.edges[number]
        z = units_of(net.nodes[edge.source], units.z, units.n_samples, n)
        delta = units_of(net.nodes[edge.target], units.delta, units.n_samples, n)
        zero = z.dtype.type(0)
        of_z, of_delta = zero, zero
        if edge.source == edge.target:
            normal = second_of(net.nodes[edge.target], units.z, units.n_samples, n)
            of_u = second_of(net.nodes[edge.target], units.delta, units.n_samples, n)
            for j in range(of_u.size):
                of_delta += of_u[j] * of_u[j] * (z.dtype.type(1) + normal[j] * normal[j])
            total += of_delta
            continue
        for j in range(delta.size):
            of_delta += delta[j] * delta[j]
        if net.present.size == 0:
            for i in range(z.size):
                of_z += z[i] * z[i]
        else:
            present = weight_rows(edge, net.present)
            for i in range(z.size):
                present_i, of_i = row_of(present, edge.bias + i, 0, edge.n_out), zero
                for j in range(delta.size):
                    of_i += delta[j] * delta[j] if present_i[j] else zero
                total += z[i] * z[i] * of_i
        total += of_z * of_delta + edge.bias * of_delta
    return total


@kernel
def add_spread(net: Any, units: Any, first: int, n_samples: int, mean: Any, spread: Any) -> None:
    """Add Σ_n (∂E^n/∂w - mean)² of the samples in rows `first` on of the units; mean, spread (n_params,)."""
    per = per_line(units.z)
    for number in range(net.edges.size):
        edge = net.edges[number]
        spreads, means = weight_rows(edge, spread), weight_rows(edge, mean)
        if edge.source == edge.target:
            add_spread_of_gains(net.nodes[edge.target], units, first, n_samples, means, spreads)
            continue
        z = rows_from(unit_rows(net.nodes[edge.source], units.z, units.n_samples), first, n_samples, per - edge.bias)
        delta = rows_from(unit_rows(net.nodes[edge.target], units.delta, units.n_samples), first, n_samples, per)
        for i in range(spreads.shape[0]):
            spread_i, mean_i = row_of(spreads, i, 0, edge.n_out), row_of(means, i, 0, edge.n_out)
            for n in range(n_samples):
                z_i, delta_n = z[n, i], row_of(delta, n, 0, edge.n_out)
                for j in range(edge.n_out):
                    difference = z_i * delta_n[j] - mean_i[j]
                    spread_i[j] += difference * difference


@kernel
def add_spread_of_gains(node: Any, units: Any, first: int, n_samples: int, means: Any, spreads: Any) -> None:
    """The same of shifts and gains, rows 0 and 1 of means and spreads."""
    for i in range(2):
        spread_i, mean_i = row_of(spreads, i, 0, node.n_units), row_of(means, i, 0, node.n_units)
        for n in range(first, first + n_samples):
            normal, of_u = second_of(node, units.z, units.n_samples, n), second_of(node, units.delta, units.n_samples, n)
            for j in range(of_u.size):
                difference = (of_u[j] * normal[j] if i == 1 else of_u[j]) - mean_i[j]
                spread_i[j] += difference * difference


def per_sample_on_thread(
    kind: int, net: Any, d: Any, samples: Any, plan: Any, mean: Any, n_tasks: int, out: Any, thread: int
) -> None:
    """What one thread does of `per_sample`."""
    units, queue, n = plan.units, plan.queue, plan.order.size
    size = units.n_samples // n_threads_of(queue)
    T = rows_from(samples.T, 0, samples.T.shape[0], 0)
    first, per = thread * size, per_line(units.z)  # its rows of the units
    while True:
        task = claim(queue, thread, 1, n_tasks)
        if task < 0:
            break
        start, end = block_start(task, n, n_tasks), block_start(task + 1, n, n_tasks)
        while start < end:
            stop = min(start + size, end)
            rows = line(plan.order, start, stop)
            forward_pass_of(net, samples, plan, rows, first)
            backward_pass(net, T, rows, units, line(samples.s, start, stop), plan.packed, first)
            if kind == INPUTS:
                sums_from(net, (units.delta, units.delta), units.n_samples, plan.packed, 0, first, rows.size, 0)
                found = rows_from(unit_rows(net.nodes[0], units.delta, units.n_samples), first, rows.size, per)
                copy(found, rows_from(out, start, rows.size, 0), 0, out.shape[1])
            elif kind == SPREAD:
                add_spread(net, units, first, rows.size, mean, row_of(out, task, 0, out.shape[1]))
            else:
                for n_row in range(rows.size):
                    place = first + n_row
                    if kind == NORMS:
                        out[start + n_row, 0] = squared_norm(net, units, place) ** 0.5
                    else:
                        own, numbers = (units.n_samples, place), rows_from(out, start + n_row, 1, 0)
                        write_gradient(net, d, (units.z, units.delta), own, own, numbers, out.shape[1])
            start = stop
        finish(queue)


_bind = bound(per_sample_on_thread)


@kernel(entry=True)
def per_sample(kind: int, net: Any, d: Any, samples: Any, plan: Any, mean: Any, n_tasks: int, out: Any, n_running: int) -> None:
    """Derivatives of a kind for n samples, those of `plan.order`; out: overwritten, of SPREAD added to.

    mean (n_params,): for SPREAD;  n_tasks: parts of the samples;  n_running: the threads to run on.
    """
    begin(plan.queue)
    run(_bind((kind, net, d, samples, plan, mean, n_tasks, out)), n_threads_of(plan.queue), n_running)
