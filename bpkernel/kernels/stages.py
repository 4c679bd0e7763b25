"""The stages of a mini-batch, and what a task of each does.

PREPARE   once, before the first batch: packs the weights, and prepares the batch
PASSES    over blocks of samples: the forward pass, E and the backward pass, while a block is in cache.  Nets of few weights
          also sum the gradients of the chunks of the batch here.
UPDATE    over groups of rows of weights: the gradient's sum over the samples and at once the optimizer's step.  So every δ
          is computed with the old weights, and no gradient goes to memory.
MEASURE   where the norm of the gradient is limited: its sum over the samples, to memory, and Σ g² of each row.  UPDATE then
          takes it from there.
NORMS     where the norms of weights are limited: what the weights that lead to each unit are multiplied by
RESCALE   this multiplication, and then what UPDATE does last in other nets: copies and penalties of the new weights
GRADIENT  the sum over the samples without an optimizer: the gradients are added to a flat vector

In all stages but PASSES and NORMS task 1 + i belongs to group i.  Task 0 does the arithmetic of the batch as a whole, in one of
the stages.  Every number has one owner and one order of summation, so results do not depend on the number of threads.
"""

from typing import Any, NamedTuple

from bpkernel.codegen.jit import kernel
from bpkernel.codegen.views import line, row_of, rows_from
from bpkernel.functions.optimizer import factors
from bpkernel.kernels.few_weights import listed_in_group
from bpkernel.kernels.packing import pack_group
from bpkernel.kernels.partition import block_start, group_range
from bpkernel.kernels.passes import backward_pass, errors_of_block, forward_pass
from bpkernel.kernels.regularisation import (
    clipping,
    measure_group,
    penalty_of_group,
    regularise,
    regularise_listed,
    rescale_group,
)
from bpkernel.kernels.update import (
    add_gradient,
    batch_gradient,
    chunk_gradient,
    in_lists,
    update_group,
    update_listed,
)

PREPARE, PASSES, UPDATE, GRADIENT, MEASURE, NORMS, RESCALE = range(7)
SUM_OF_GRADIENTS = PREPARE, PASSES, GRADIENT


class Batch(NamedTuple):
    """A mini-batch, the samples order[start:stop], and the next one, order[stop:next_stop], which is empty after the last."""

    number: int  # counted from 0; numbers that one batch reads while the next one's are written are kept at number % 2
    start: int
    stop: int
    next_stop: int


@kernel
def begin_batch(step: Any, number: int, s: Any, rows: Any, scale: Any, own: Any, objective: Any, key: Any) -> None:
    """What multiplies δ_k, and the factors of the step; the gradient is Σ_n s_n ∂E^n/∂w, divided by Σ_n s_n for a mean.

    number: of the batch in this call;  s: weights of the samples, of which `rows` (n,) are in the batch;  scale (n,), own
    (n_factors,), objective (2,), the second number of key (2,): overwritten.
    """
    weight = 0.0
    for n in range(rows.size):
        weight += s[rows[n]]
    if not step.mean:
        weight = 1.0
    for n in range(rows.size):
        scale[n] = s[rows[n]] / weight if weight != 0 else 0.0
    if step.factors != 0:
        if step.rates.size > 0:
            step.settings[0] = step.rates[number]
        key[1] = step.steps[0]
        step.steps[0] += 1
        factors(step.factors, (step.settings, step.steps[0], step.kept, own))
    objective[0] = step.alpha / weight if weight != 0 else 0.0
    objective[1] = rows.size / weight if weight != 0 else 0.0


@kernel
def weighted_error(s: Any, rows: Any, e: Any) -> float:
    """Σ_n s_n E^n of a batch; a sample without weight does not count, even if its E^n is Inf."""
    total = 0.0
    for n in range(rows.size):
        if s[rows[n]] != 0:
            total += s[rows[n]] * e[n]
    return total


@kernel
def add_objective(error: float, objective: Any, squares: Any, n_samples: int, total: Any) -> None:
    """Add a batch to the sums of an epoch: Σ_n s_n E^n, and the two terms of its objective times its samples.

    squares (rows of weights,): twice the penalty of each without alpha, before the update;  total (3,): added to.
    """
    total[0] += error
    total[1] += error * objective[1]
    if objective[0] != 0:
        sum_of_squares = 0.0
        for i in range(squares.size):
            sum_of_squares += squares[i]
        total[2] += 0.5 * objective[0] * sum_of_squares * n_samples


@kernel
def block_task(
    net: Any, samples: Any, order: Any, work: Any, batch: Any, n_blocks: int, block: int, packed: Any, thread: int
) -> None:
    """PASSES: the forward pass, E^n and the backward pass of a block of samples, and with chunks their gradient.

    With `work.together` these are so many samples at a time, whose units the thread keeps in the second-level cache.
    packed (n_packed,): the packed weights, shared or one copy per thread.
    """
    n_samples, n_chunks = batch.stop - batch.start, work.chunks.shape[0]
    first, stop = block_start(block, n_samples, n_blocks), block_start(block + 1, n_samples, n_blocks)
    X = rows_from(samples.X, 0, samples.X.shape[0], 0)
    X_other = rows_from(samples.X_other, 0, samples.X_other.shape[0], 0)
    T = rows_from(samples.T, 0, samples.T.shape[0], 0)
    start, add = first, 0
    while start < stop or add == 0:  # once for a chunk without samples, too, whose gradient is then 0
        end = min(start + work.together, stop) if work.together > 0 else stop
        place = thread * work.together if work.together > 0 else start  # row of the units
        rows, scale = line(order, batch.start + start, batch.start + end), line(work.scale, start, end)
        forward_pass(net, X, X_other, samples.sparse, rows, work.units, packed, place)
        errors_of_block(net, T, rows, work.units, place, line(work.e, start, end))
        backward_pass(net, T, rows, work.units, scale, packed, place)
        if n_chunks > 0:
            chunk_gradient(net, samples.sparse, rows, work, block, place, add)
        start, add = end, 1


@kernel
def batch_task(kind: int, step: Any, s: Any, order: Any, work: Any, batch: Any, total: Any) -> None:
    """Add the batch to the sums of its epoch, total (3,), and prepare the next one; PREPARE: only prepare the batch itself.

    s: weights of the samples, which are in the given order.
    """
    if kind in (MEASURE, RESCALE):
        return
    this, other, number = batch.number % 2, (batch.number + 1) % 2, batch.number + 1
    rows = line(order, batch.start, batch.stop)
    if kind == PREPARE:
        other, number = this, batch.number
    else:
        error, squares = weighted_error(s, rows, work.e), row_of(work.squares, this, 0, work.squares.shape[1])
        add_objective(error, row_of(work.objective, this, 0, 2), squares, rows.size, total)
        rows = line(order, batch.stop, batch.next_stop)
    if rows.size > 0:
        own, objective = row_of(work.factors, other, 0, work.factors.shape[1]), row_of(work.objective, other, 0, 2)
        begin_batch(step, number, s, rows, work.scale, own, objective, work.units.key)


@kernel
def group_task(
    kind: int, net: Any, step: Any, samples: Any, order: Any, work: Any, batch: Any, group: Any, thread: int
) -> None:
    """A stage of a group of rows of weights; the last one that changes weights writes their packed copy and their penalty."""
    this, other = batch.number % 2, (batch.number + 1) % 2
    start, size = group_range(net, group)
    listed, measured = in_lists(net, samples.sparse, group), step.clip_norm > 0
    g = row_of(work.dw, thread, 0, size)
    if measured and kind in (MEASURE, UPDATE):
        g = line(work.gradient, start, start + size)
    if kind in (GRADIENT, MEASURE) or (kind == UPDATE and not measured):
        batch_gradient(net, samples.sparse, line(order, batch.start, batch.stop), work, group, g)
    if kind == GRADIENT:
        add_gradient(net, samples.sparse, group, g, work.gradient)
        return
    strength, own = work.objective[this, 0], row_of(work.factors, this, 0, work.factors.shape[1])
    own_g = line(g, 0, listed_in_group(net, group)[0].size if listed else size)
    if kind == MEASURE:
        if listed:
            regularise_listed(net, step, group, strength, own_g)
        else:
            regularise(net, step, group, strength, own_g)
        measure_group(net, step, group, own_g, work.norms, listed)
        return
    if kind == UPDATE and measured:
        scale_by(g.dtype.type(clipping(step, work.norms)), own_g)
    if kind == UPDATE and listed:
        if not measured:
            regularise_listed(net, step, group, strength, own_g)
        update_listed(net, step, group, own, own_g, row_of(work.dw, thread, size, work.dw.shape[1] - size))
    if kind == RESCALE:
        rescale_group(net, step, group, work.limits)
    limited = kind == UPDATE and step.max_norm.size > 0  # what is left is done after RESCALE
    row = net.edges[group.edge].row
    for number in range(group.first_piece, group.end_piece):
        piece = work.pieces[number]
        if kind == UPDATE and not listed:
            g_piece = line(g, (piece.first - group.first) * row, (piece.last + 1 - group.first) * row)
            if not measured:
                regularise(net, step, piece, strength, g_piece)
            update_group(net, step, piece, own, g_piece)
        if work.chunks.shape[0] == 0 and not limited:
            pack_group(net, row_of(work.packed, 0, 0, work.packed.shape[1]), piece)
        if step.alpha > 0 and not limited:
            penalty_of_group(
                net, step, piece, row_of(work.squares, this if kind == PREPARE else other, 0, work.squares.shape[1])
            )


@kernel
def scale_by(factor: Any, g: Any) -> None:
    """g *= factor, unless that is 1."""
    if factor != 1:
        for i in range(g.size):
            g[i] *= factor
