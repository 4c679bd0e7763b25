"""Gauss-Newton matrices: Σ_n J_nᵀ H_n J_n, where J are the derivatives of the outputs by the parameters, and H those of E^n.

For some samples at a time there are rows of J and of H J, one for each output of a sample; their products are the sum of Eq. 4.
"""

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from bpkernel.codegen.jit import kernel
from bpkernel.codegen.parallel import bound, run
from bpkernel.codegen.processor import LINE, ROWS
from bpkernel.codegen.tiles import per_line
from bpkernel.codegen.views import block, line, row_of, rows_from
from bpkernel.functions.losses import curvature, slope
from bpkernel.kernels.differentials import add_chunks_on_thread, forward_pass_of, units_of, write_gradient
from bpkernel.kernels.jacobians import back_propagate_all, output_slopes
from bpkernel.kernels.layout import unit_rows
from bpkernel.kernels.partition import block_start
from bpkernel.kernels.sums import gradient
from bpkernel.runtime.memory import row_length
from bpkernel.runtime.task_queue import begin, claim, finish, n_threads_of, wait

ROWS_BYTES = 1 << 24  # of the rows of J, and of H J, whose products are added up at once
ROWS_AT_ONCE = 1 << 11  # most of these rows
FEW = 256  # most parameters for which matrices of chunks are added up: two fit the second-level cache
CHUNKS, MOST_IN_CHUNKS = 8, 1 << 16  # most chunks, and most rows of J of all of them: what takes longer must be interruptible
SHARE = 256  # numbers of a diagonal that a thread adds up at once
TILES = 8  # of rows of the matrix in a group, at most

GROUP = np.dtype(  # of rows of a Gauss-Newton matrix, or of a block of one
    [
        ("first", np.int64),  # parameters first to end - 1
        ("end", np.int64),
        ("last", np.int64),  # the end of the parameters of its block
        ("place", np.int64),  # of row 0, column 0 of the whole matrix in the buffer of all blocks
        ("row", np.int64),  # numbers in a row; 0 where only the diagonal is computed
    ],
    align=True,
)


class Products(NamedTuple):
    """Scratch memory for Gauss-Newton matrices: rows of all outputs of some samples, and how they are multiplied."""

    jacobian: np.ndarray  # (n_samples * n_outputs, row): J, the derivatives of the outputs by the parameters
    weighted: np.ndarray  # likewise: H J, with the second derivatives H of E^n by the outputs; in the next column, its slopes
    curvatures: np.ndarray  # (n_threads * samples of a block, n_outputs * (n_outputs + 1)): H, then the slopes
    n_parameters: int
    groups: np.ndarray  # (n_groups,) of GROUP


def chunks_of(n_samples: int, n_parameters: int, n_outputs: int) -> int:
    """The chunks of samples whose matrices are added up apart, for few parameters; 1 for many.

    Independent of the number of threads, for reproducibility.
    """
    few = n_parameters <= FEW and n_samples * n_outputs <= MOST_IN_CHUNKS
    return max(1, min(CHUNKS, n_samples // (4 * ROWS))) if few else 1


def groups_of(bounds: list[int], dtype: np.dtype, *, diagonal: bool) -> tuple[np.ndarray, int, list[tuple[int, ...]]]:
    """The groups of the blocks of parameters between the bounds, the numbers of all blocks, and where these are.

    A block is (start in the buffer, rows, numbers in a row, first column).  A single one has a column more, for the gradient.
    """
    per, groups, start = LINE // dtype.itemsize, [], 0
    blocks: list[tuple[int, ...]] = []
    if diagonal:
        step = SHARE
        groups = [(first, min(first + step, bounds[1]), bounds[1], 0, 0) for first in range(0, bounds[1], step)]
        return np.array(groups, GROUP), bounds[1], []
    for first, end in pairwise(bounds):
        origin, n = first // per * per, end - first  # columns begin on a cache line
        row, last = row_length(n + per, dtype), end + 1 if len(bounds) == 2 else end
        step = ROWS * max(1, min(TILES, n // (32 * ROWS)))
        place = start - first * row - origin
        groups += [(i, min(i + step, end), last, place, row) for i in range(first, end, step)]
        blocks.append((start, n, row, first - origin))
        start += n * row
    return np.array(groups, GROUP), start, blocks


@kernel
def curvatures_of_block(
    net: Any, d: Any, samples: Any, units: Any, first: int, rows: Any, deltas: Any, n_rows: int, row: int, h: Any
) -> None:
    """The second derivatives of s_n E^n by the outputs, or by their a where Eq. 5 is y - t, and then the first ones.

    h (n, n_outputs * (n_outputs + 1)): overwritten.
    """
    node, per, n, n_outputs = net.nodes[net.nodes.size - 1], per_line(deltas), rows.size, net.nodes[net.nodes.size - 1].n_units
    output_slopes(net, d.vjp if d.canonical else 0, units, first, n, deltas, n_rows, row)
    seeds = rows_from(unit_rows(node, deltas, n_rows), row, n * n_outputs, per)
    for m in range(n):
        y, t = units_of(node, units.z, units.n_samples, first + m), row_of(samples.T, rows[m], 0, samples.T.shape[1])
        s_m, slopes = samples.s[rows[m]], row_of(h, m, n_outputs * n_outputs, n_outputs)
        if d.canonical:
            for k in range(n_outputs):
                slopes[k] = y[k] - t[k]
        else:
            slope(d.slope, (y, t, slopes), units.fault)
        for k in range(n_outputs):
            r, h_k = row_of(seeds, k * n + m, 0, n_outputs), row_of(h, m, k * n_outputs, n_outputs)
            if d.canonical:
                for j in range(n_outputs):
                    h_k[j] = r[j]
            else:
                curvature(d.curvature, (y, t, r, h_k), units.fault)
        for k in range(h.shape[1]):
            h[m, k] = h[m, k] * s_m if s_m != 0 else s_m


@kernel
def weigh_rows(h: Any, jacobian: Any, n_parameters: int, weighted: Any) -> None:
    """H J of one sample, and the slopes in the next column.

    h (n_outputs * (n_outputs + 1),): H and the slopes;  jacobian (n_outputs, > n_parameters): J;  weighted: likewise,
    overwritten.
    """
    n_outputs = jacobian.shape[0]
    for k in range(n_outputs):
        out = row_of(weighted, k, 0, weighted.shape[1])
        for l in range(n_outputs):
            h_kl, source = h[k * n_outputs + l], row_of(jacobian, l, 0, jacobian.shape[1])
            if l == 0:
                for p in range(out.size):
                    out[p] = h_kl * source[p]
            elif h_kl != 0:
                for p in range(out.size):
                    out[p] += h_kl * source[p]
        out[n_parameters] = h[n_outputs * n_outputs + k]


@kernel
def add_products(panels: Any, J: Any, HJ: Any, group: Any, matrices: Any) -> None:
    """Add Jᵀ H J to the rows of a group, from the diagonal on; J, H J (n_rows, row);  matrices: buffer of all blocks."""
    if group.row == 0:
        diagonal = line(matrices, group.place, group.place + group.last)
        for r in range(J.shape[0]):
            of_J, of_HJ = row_of(J, r, 0, group.last), row_of(HJ, r, 0, group.last)
            for p in range(group.first, group.end):
                diagonal[p] += of_J[p] * of_HJ[p]
        return
    per = per_line(J)
    column = group.first // per * per
    width = (group.last - column + per - 1) // per * per
    rows = block(matrices, group.place + group.first * group.row + column, group.end - group.first, group.row)
    gradient(panels, 1, J, rows_from(HJ, 0, HJ.shape[0], column), group.first, group.end - 1, width, rows)


@kernel
def products_of_block(
    net: Any, d: Any, samples: Any, plan: Any, deltas: Any, products: Any, thread: int, start: int, n: int, to: int
) -> None:
    """Rows of J and H J for n samples from `start` on, with the thread's part of the units; rows `to` on are overwritten."""
    units, n_outputs = plan.units, net.nodes[net.nodes.size - 1].n_units
    size = units.n_samples // n_threads_of(plan.queue)
    first, row, n_rows = thread * size, thread * size * n_outputs, units.n_samples * n_outputs
    rows = line(plan.order, start, start + n)
    forward_pass_of(net, samples, plan, rows, first)
    h = rows_from(products.curvatures, first, n, 0)
    curvatures_of_block(net, d, samples, units, first, rows, deltas, n_rows, row, h)
    output_slopes(net, 0 if d.canonical else d.vjp, units, first, n, deltas, n_rows, row)
    back_propagate_all(net, units, first, n, plan.packed, deltas, n_rows, row)
    for m in range(n):
        J = rows_from(products.jacobian, to + m * n_outputs, n_outputs, 0)
        for k in range(n_outputs):
            of_delta, own = (n_rows, row + k * n + m), rows_from(J, k, 1, 0)
            write_gradient(net, d, (units.z, deltas), (units.n_samples, first + m), of_delta, own, J.shape[1])
        weighted = rows_from(products.weighted, to + m * n_outputs, n_outputs, 0)
        weigh_rows(row_of(h, m, 0, h.shape[1]), J, products.n_parameters, weighted)


def gauss_newton_on_thread(
    net: Any, d: Any, samples: Any, plan: Any, deltas: Any, products: Any, matrices: Any, thread: int
) -> None:
    """What one thread does of `gauss_newton`: for some samples at a time, rows of J and H J, then their products."""
    queue, n_all, n_outputs = plan.queue, plan.order.size, net.nodes[net.nodes.size - 1].n_units
    size, together = plan.units.n_samples // n_threads_of(queue), products.jacobian.shape[0] // n_outputs
    stage = n_done = 0
    total = row_of(matrices, 0, 0, matrices.shape[1])
    for batch in range(0, n_all, together):
        n_batch = min(together, n_all - batch)
        n_tasks = (n_batch + size - 1) // size
        stage += 1
        while True:
            task = claim(queue, thread, stage, n_tasks)
            if task < 0:
                break
            start, n = task * size, min(size, n_batch - task * size)
            products_of_block(net, d, samples, plan, deltas, products, thread, batch + start, n, start * n_outputs)
            finish(queue)
        n_done += n_tasks
        wait(queue, n_done)
        stage += 1
        while True:
            task = claim(queue, thread, stage, products.groups.size)
            if task < 0:
                break
            J = rows_from(products.jacobian, 0, n_batch * n_outputs, 0)
            HJ = rows_from(products.weighted, 0, n_batch * n_outputs, 0)
            add_products(net.panels, J, HJ, products.groups[task], total)
            finish(queue)
        n_done += products.groups.size
        wait(queue, n_done)


def chunks_on_thread(net: Any, d: Any, samples: Any, plan: Any, deltas: Any, products: Any, matrices: Any, thread: int) -> None:
    """The same for few parameters: the matrices of chunks of samples, whose rows stay in a thread's cache; then their sum."""
    queue, n_all, n_outputs = plan.queue, plan.order.size, net.nodes[net.nodes.size - 1].n_units
    size, n_chunks = plan.units.n_samples // n_threads_of(queue), matrices.shape[0]
    while True:
        task = claim(queue, thread, 1, n_chunks)
        if task < 0:
            break
        start, end = block_start(task, n_all, n_chunks), block_start(task + 1, n_all, n_chunks)
        own = row_of(matrices, task, 0, matrices.shape[1])
        for i in range(own.size):
            own[i] = 0
        while start < end:
            n, first = min(size, end - start), thread * size * n_outputs
            products_of_block(net, d, samples, plan, deltas, products, thread, start, n, first)
            J = rows_from(products.jacobian, first, n * n_outputs, 0)
            HJ = rows_from(products.weighted, first, n * n_outputs, 0)
            for number in range(products.groups.size):
                add_products(net.panels, J, HJ, products.groups[number], own)
            start += n
        finish(queue)
    wait(queue, n_chunks)
    add_chunks_on_thread(queue, thread, 2, matrices, 1, row_of(matrices, 0, 0, matrices.shape[1]))


_bind_gauss_newton, _bind_chunks = bound(gauss_newton_on_thread), bound(chunks_on_thread)


@kernel(entry=True)
def gauss_newton(net: Any, d: Any, samples: Any, plan: Any, deltas: Any, products: Any, matrices: Any, n_running: int) -> None:
    """Σ_n s_n J_nᵀ H_n J_n of the samples of `plan.order`, from the diagonal on in each row.

    deltas: as of `jacobians`;  matrices (n_chunks, size): row 0 is added to, or overwritten where there are several chunks;
    n_running: the threads to run on.
    """
    begin(plan.queue)
    n_threads = n_threads_of(plan.queue)
    if matrices.shape[0] > 1:
        run(_bind_chunks((net, d, samples, plan, deltas, products, matrices)), n_threads, n_running)
    else:
        run(_bind_gauss_newton((net, d, samples, plan, deltas, products, matrices)), n_threads, n_running)
