"""Many mini-batches in one compiled call: a batch is a list of stages over one task queue."""

from typing import Any

from bpkernel.codegen.jit import kernel
from bpkernel.codegen.parallel import bound, run
from bpkernel.codegen.views import row_of
from bpkernel.kernels.packing import pack_group
from bpkernel.kernels.partition import n_blocks_of
from bpkernel.kernels.regularisation import limit_columns
from bpkernel.kernels.stages import NORMS, PASSES, Batch, batch_task, block_task, group_task
from bpkernel.runtime.task_queue import begin, claim, finish, n_threads_of, wait


def batches_on_thread(net: Any, step: Any, samples: Any, order: Any, work: Any, total: Any, thread: int) -> None:
    """What one thread does of `batches`: it takes tasks of each stage of each batch in turn."""
    queue, size = work.queue, work.e.size
    n_groups, n_chunks, n_epochs = work.groups.size, work.chunks.shape[0], total.shape[0]
    n = order.size // n_epochs
    n_batches = (n + size - 1) // size
    packed = row_of(work.packed, thread % work.packed.shape[0], 0, work.packed.shape[1])  # shared, or one copy per thread
    stage = n_done = stop = 0
    for number in range(n_batches * n_epochs):
        end = (number // n_batches + 1) * n  # of this epoch
        start, stop = stop, min(stop + size, end)
        batch = Batch(number, start, stop, min(stop + size, end if stop < end else min(end + n, order.size)))
        for place in range(1 if number > 0 else 0, work.stages.size):
            kind, stage, n_tasks = work.stages[place], stage + 1, n_groups + 1
            if kind == NORMS:
                n_tasks = work.columns.size
            if kind == PASSES:
                n_tasks = n_chunks if n_chunks > 0 else n_blocks_of(stop - start, n_threads_of(queue))
            stale = n_chunks > 0  # each thread then has packed weights of its own, copied with its first task of the batch
            while True:
                task = claim(queue, thread, stage, n_tasks)
                if task < 0:
                    break
                if kind == PASSES:
                    if stale:
                        for group in range(n_groups):
                            pack_group(net, packed, work.groups[group])
                        stale = False
                    block_task(net, samples, order, work, batch, n_tasks, task, packed, thread)
                elif kind == NORMS:
                    limit_columns(net, step, work.columns[task], work.limits)
                elif task == 0:
                    batch_task(kind, step, samples.s, order, work, batch, row_of(total, number // n_batches, 0, 3))
                else:
                    group_task(kind, net, step, samples, order, work, batch, work.groups[task - 1], thread)
                finish(queue)
            n_done += n_tasks
            wait(queue, n_done)


_bind = bound(batches_on_thread)


@kernel(entry=True)
def batches(net: Any, step: Any, samples: Any, order: Any, work: Any, total: Any, n_running: int) -> None:
    """The stages of `work`, for mini-batches of up to `work.e.size` samples in the given order, one or more epochs.

    order (n_epochs * n,): rows of the samples;  total (n_epochs, 3): added to, namely Σ_n s_n E^n, and the sums over the
    batches of n Σ_n s_n E^n / Σ_n s_n and of n ½ alpha Σ w² / Σ_n s_n, each E^n as of its own batch.  With an optimizer
    the parameters, its state and its steps are overwritten; with SUM_OF_GRADIENTS Σ_n s_n ∂E^n/∂w is added to
    `work.gradient`. n_running: the threads to run on.
    """
    begin(work.queue)
    run(_bind((net, step, samples, order, work, total)), n_threads_of(work.queue), n_running)
