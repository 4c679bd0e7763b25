"""Outputs and errors of many samples in one compiled call: the forward pass alone."""

from typing import Any

from bpkernel.codegen.jit import kernel
from bpkernel.codegen.parallel import bound, run
from bpkernel.codegen.tiles import per_line
from bpkernel.codegen.views import line, rows_from
from bpkernel.kernels.layout import unit_rows
from bpkernel.kernels.operands import Sparse
from bpkernel.kernels.passes import copy, errors_of_block, forward_pass
from bpkernel.runtime.task_queue import begin, claim, finish, n_threads_of


@kernel(view=True)
def sparse_from(sparse: Any, first: int) -> Any:
    """The rows of sparse inputs from `first` on; empty if the inputs are dense."""
    indptr = line(sparse.indptr, min(first, sparse.indptr.size), sparse.indptr.size)
    return Sparse(indptr, sparse.indices, sparse.data, sparse.sums, sparse.gradient)


def outputs_on_thread(
    net: Any, samples: Any, first: int, units: Any, own_rows: Any, queue: Any, y: Any, e: Any, thread: int
) -> None:
    """What one thread does of `outputs`."""
    n, size = max(y.shape[0], e.size), units.n_samples // n_threads_of(queue)
    last, n_tasks, column = net.nodes[net.nodes.size - 1], (n + size - 1) // size, per_line(units.z)
    while True:
        task = claim(queue, thread, 1, n_tasks)
        if task < 0:
            break
        start, stop = task * size, min((task + 1) * size, n)
        rows = line(own_rows, 0, stop - start)
        X = rows_from(samples.X, first + start, min(rows.size, samples.X.shape[0]), 0)
        X_other = rows_from(samples.X_other, first + start, min(rows.size, samples.X_other.shape[0]), 0)
        sparse, none_packed = sparse_from(samples.sparse, first + start), line(units.z, 0, 0)
        forward_pass(net, X, X_other, sparse, rows, units, none_packed, thread * size)
        if e.size > 0:
            T = rows_from(samples.T, first + start, rows.size, 0)
            errors_of_block(net, T, rows, units, thread * size, line(e, start, stop))
        if y.shape[0] > 0:
            found = rows_from(unit_rows(last, units.z, units.n_samples), thread * size, rows.size, column)
            copy(found, rows_from(y, start, rows.size, 0), 0, last.n_units)
        finish(queue)


_bind = bound(outputs_on_thread)


@kernel(entry=True)
def outputs(net: Any, samples: Any, first: int, units: Any, own_rows: Any, queue: Any, y: Any, e: Any, n_running: int) -> None:
    """Outputs y (n, n_out), or errors E^n e (n,), of n samples from `first` on, overwritten; either may have no rows.

    own_rows: 0, 1, 2, ... for as many samples as `units` has room for on each thread;  n_running: the threads to run on.
    """
    begin(queue)
    run(_bind((net, samples, first, units, own_rows, queue, y, e)), n_threads_of(queue), n_running)
