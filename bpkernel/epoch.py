"""Floor 3: the epoch, many mini-batches in one compiled call.

A mini-batch is two stages of a crew of threads.  The first goes over blocks of samples: forward, E and every δ, while a
block is in cache.  The second goes over groups of rows of weights: the gradient's sum over the samples and at once the
optimizer's step, so that every δ is computed with the old weights and no gradient goes to memory.  Nets of few weights sum
the gradients of some chunks of the batch in the first stage already.  Every number has one owner and one order of
summation: results do not depend on the number of threads.
"""

from typing import Any

from bpkernel.compiler import kernel
from bpkernel.crew import bound, claim, finish, run, wait
from bpkernel.crew import size as crew_size
from bpkernel.layout import unit_block
from bpkernel.optimizers import COEFFICIENTS, coefficients
from bpkernel.passes import (
    backward_block,
    chunk_gradient,
    copy,
    descend,
    error_block,
    forward_block,
    square_group,
    transpose_group,
)
from bpkernel.plan import Sparse
from bpkernel.tiles import ROWS
from bpkernel.views import line, row_of, rows_from

BLOCK_TILES = 43  # tiles of samples in a block, at most
SHARES = 2  # blocks of samples for each thread: fewer do not let one help another out, more read the weights more often
WORTH_SHARING = 2  # tiles of samples in such a block, at least; in blocks of one, 10⁷ weights took 1.2 times as long


@kernel
def n_blocks(n_samples: int, n_threads: int) -> int:
    """The blocks of samples in a batch."""
    n_tiles = (n_samples + ROWS - 1) // ROWS
    shares = SHARES if n_tiles >= SHARES * WORTH_SHARING * n_threads else 1
    shares = min(n_tiles, shares * n_threads) if n_threads > 1 else 1
    return max(shares, (n_tiles + BLOCK_TILES - 1) // BLOCK_TILES)


@kernel
def block_start(k: int, n_samples: int, blocks: int) -> int:
    """The first sample of one of some blocks, which are whole tiles but the last."""
    n_tiles = (n_samples + ROWS - 1) // ROWS
    return min(ROWS * (k * n_tiles // blocks), n_samples)


@kernel
def begin_batch(step: Any, s: Any, rows: Any, scale: Any, c: Any) -> None:
    """What multiplies δ_k, and the coefficients of the step; the gradient is Σ_n s_n ∂E^n/∂w / Σ_n s_n."""
    weight = 0.0
    for n in range(rows.size):
        weight += s[rows[n]]
    if not step.mean:
        weight = 1.0
    for n in range(rows.size):
        scale[n] = s[rows[n]] / weight if weight != 0 else 0.0
    step.steps[0] += 1
    coefficients(step.coefficients, (step.settings, step.steps[0], c))
    c[COEFFICIENTS] = step.alpha / weight if weight != 0 else 0.0
    c[COEFFICIENTS + 1] = rows.size / weight if weight != 0 else 0.0


@kernel
def weighted_error(s: Any, rows: Any, e: Any) -> float:
    """Σ_n s_n E^n of a batch; a sample without weight does not count, even if its E^n is Inf."""
    total = 0.0
    for n in range(rows.size):
        if s[rows[n]] != 0:
            total += s[rows[n]] * e[n]
    return total


@kernel
def add_objective(error: float, c: Any, squares: Any, n_samples: int, total: Any) -> None:
    """What a batch adds to the sums of an epoch: Σ_n s_n E^n, and the two terms of its objective times its samples.

    squares (rows of weights,): Σ w² of each, as the batch found them;  total (3,): added to.
    """
    total[0] += error
    total[1] += error * c[COEFFICIENTS + 1]
    if c[COEFFICIENTS] != 0:
        sum_of_squares = 0.0
        for i in range(squares.size):
            sum_of_squares += squares[i]
        total[2] += 0.5 * c[COEFFICIENTS] * sum_of_squares * n_samples


@kernel
def sparse_from(sparse: Any, first: int) -> Any:
    """The rows of sparse inputs from `first` on, or nothing where the inputs are dense."""
    indptr = line(sparse.indptr, min(first, sparse.indptr.size), sparse.indptr.size)
    return Sparse(indptr, sparse.indices, sparse.data, sparse.sums, sparse.gradient)


# ------------------------------------------------------------------------------------------------- what each thread does


def train_member(net: Any, step: Any, samples: Any, order: Any, w: Any, total: Any, me: int) -> None:
    """Mini-batches of up to `w.units.n_samples` samples; stages 2 b + 2 and 2 b + 3 are batch b's, and 1 prepares the first."""
    X = rows_from(samples.X, 0, samples.X.shape[0], 0)
    X_other = rows_from(samples.X_other, 0, samples.X_other.shape[0], 0)
    T = rows_from(samples.T, 0, samples.T.shape[0], 0)
    u, n_threads, n_groups = w.units, crew_size(w.crew), w.groups.size
    n_chunks = w.partial.shape[0]
    n_done = n_groups + 1
    n_epochs = total.shape[0]
    n = order.size // n_epochs
    n_batches = (n + u.n_samples - 1) // u.n_samples
    while True:
        k = claim(w.crew, me, 1, n_done)
        if k < 0:
            break
        if k == 0:
            first_rows = line(order, 0, min(u.n_samples, n))
            begin_batch(step, samples.s, first_rows, w.scale, row_of(w.c, 0, 0, w.c.shape[1]))
        else:
            if n_chunks == 0:
                transpose_group(net, w, k - 1, me)
            if step.alpha > 0:
                square_group(net, w.groups[k - 1], row_of(w.squares, 0, 0, w.squares.shape[1]))
        finish(w.crew)
    wait(w.crew, n_done)
    stop = 0
    for b in range(n_batches * n_epochs):
        end = (b // n_batches + 1) * n  # of this epoch
        start, stop = stop, min(stop + u.n_samples, end)
        blocks = n_chunks if n_chunks > 0 else n_blocks(stop - start, n_threads)
        stale = n_chunks > 0  # each thread then has transposed weights of its own, copied with its first task of the batch
        while True:
            k = claim(w.crew, me, 2 * b + 2, blocks)
            if k < 0:
                break
            if stale:
                for group in range(n_groups):
                    transpose_group(net, w, group, me)
                stale = False
            first, last = block_start(k, stop - start, blocks), block_start(k + 1, stop - start, blocks)
            rows = line(order, start + first, start + last)
            forward_block(net, X, X_other, samples.sparse, rows, u, first)
            error_block(net, T, rows, u, first, line(w.e, first, last))
            backward_block(net, T, rows, w, first, me)
            if n_chunks > 0:
                chunk_gradient(net, samples.sparse, rows, w, k, first)
            finish(w.crew)
        n_done += blocks
        wait(w.crew, n_done)
        while True:
            k = claim(w.crew, me, 2 * b + 3, n_groups + 1)
            if k < 0:
                break
            c, c_next = row_of(w.c, b % 2, 0, w.c.shape[1]), row_of(w.c, (b + 1) % 2, 0, w.c.shape[1])
            if k == 0:
                error = weighted_error(samples.s, line(order, start, stop), w.e)
                sums = row_of(total, b // n_batches, 0, 3)
                add_objective(error, c, row_of(w.squares, b % 2, 0, w.squares.shape[1]), stop - start, sums)
                next_end = end if stop < end else min(end + n, order.size)
                next_rows = line(order, stop, min(stop + u.n_samples, next_end))
                if next_rows.size > 0:
                    begin_batch(step, samples.s, next_rows, w.scale, c_next)
            else:
                descend(net, samples.sparse, line(order, start, stop), step, w, k - 1, c, me)
                if n_chunks == 0:
                    transpose_group(net, w, k - 1, me)
                if step.alpha > 0:
                    square_group(net, w.groups[k - 1], row_of(w.squares, (b + 1) % 2, 0, w.squares.shape[1]))
            finish(w.crew)
        n_done += n_groups + 1
        wait(w.crew, n_done)


def infer_member(net: Any, samples: Any, start: int, u: Any, own_rows: Any, crew: Any, y: Any, e: Any, me: int) -> None:
    """Outputs y (n, n_out), or errors e (n,), of n samples from `start` on; either may have no rows."""
    n, size = max(y.shape[0], e.size), u.n_samples // crew_size(crew)
    layer = net.layers[net.layers.size - 1]
    n_tasks = (n + size - 1) // size
    while True:
        k = claim(crew, me, 1, n_tasks)
        if k < 0:
            break
        first, stop = k * size, min((k + 1) * size, n)
        rows = line(own_rows, 0, stop - first)
        X = rows_from(samples.X, start + first, min(rows.size, samples.X.shape[0]), 0)
        X_other = rows_from(samples.X_other, start + first, min(rows.size, samples.X_other.shape[0]), 0)
        forward_block(net, X, X_other, sparse_from(samples.sparse, start + first), rows, u, me * size)
        if e.size > 0:
            T = rows_from(samples.T, start + first, rows.size, 0)
            error_block(net, T, rows, u, me * size, line(e, first, stop))
        if y.shape[0] > 0:
            found = rows_from(unit_block(layer, u.z, u.n_samples), me * size, rows.size, layer.lead)
            copy(found, rows_from(y, first, rows.size, 0), 0, layer.n_out)
        finish(crew)


# -------------------------------------------------------------------------------------------------- what floor 4 calls

bind_train, bind_infer = bound(train_member), bound(infer_member)


@kernel(entry=True)
def train(net: Any, step: Any, samples: Any, order: Any, w: Any, total: Any) -> None:
    """Epochs of mini-batches of up to `w.units.n_samples` samples in the given order, each E^n as of its own batch.

    order (n_epochs * n,): rows of the samples;  params, the optimizer's state and steps: overwritten;  total (n_epochs, 3):
    added to, namely Σ_n s_n E^n, and the sums over the batches of n Σ_n s_n E^n / Σ_n s_n and of n ½ alpha Σ w² / Σ_n s_n.
    With the optimizer Keep the weights stay, and its state[0] gains the sum over the samples of the gradient.
    """
    function, arguments = bind_train((net, step, samples, order, w, total))
    run(function, arguments, w.crew)


@kernel(entry=True)
def infer(net: Any, samples: Any, start: int, u: Any, own_rows: Any, crew: Any, y: Any, e: Any) -> None:
    """Outputs y (n, n_out), or errors E^n e (n,), of n samples from `start` on; either may have no rows.

    own_rows: 0, 1, 2, ... for as many samples as `u` has room for on each thread.
    """
    function, arguments = bind_infer((net, samples, start, u, own_rows, crew, y, e))
    run(function, arguments, crew)
