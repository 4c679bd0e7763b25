"""A task queue: threads work through a sequence of stages inside one parallel loop.

A stage is a number of tasks that any thread may take, and ends when all of them are done.  To begin a stage takes a fraction of
a microsecond; a parallel loop of its own would take several.  A thread first takes the tasks that belong to it, whose data its
cache may still hold, then those of other threads.  Threads wait only for claimed tasks, so progress never depends on all
threads running.

The state of a queue of P threads is an array of (P + 1) * SPACING int64, zeros at the start: the number of tasks done so far,
then for each thread `stage << 32` plus the number of its own tasks of that stage that have been claimed.
"""

from typing import Any

import numpy as np

from bpkernel.codegen import atomics
from bpkernel.codegen.jit import kernel

SPACING = 16  # int64 from one counter to the next: two cache lines, as some processors fetch lines in pairs
SPINS = 1000  # reads of a counter before the thread yields its time slice


def make(n_threads: int) -> np.ndarray:
    """The state of a new queue."""
    return np.zeros((n_threads + 1) * SPACING, np.int64)


@kernel
def n_threads_of(queue: Any) -> int:
    """The threads that a queue was made for."""
    return queue.size // SPACING - 1


@kernel
def begin(queue: Any) -> None:
    """Forget all stages, before the threads start."""
    for i in range(queue.size):
        queue[i] = 0


@kernel
def claim(queue: Any, thread: int, stage: int, n_tasks: int) -> int:
    """A task of a stage that no thread has claimed, from 0 to n_tasks - 1, or -1 if all are claimed; stages count from 1."""
    if n_threads_of(queue) > 1:
        return _claim_shared(queue, thread, stage, n_tasks)
    claimed = max(queue[SPACING] - (stage << 32), 0)  # one thread needs no atomic operations, which take some nanoseconds
    queue[SPACING] = (stage << 32) + claimed + 1
    return claimed if claimed < n_tasks else -1


@kernel
def finish(queue: Any) -> None:
    """Count a task as done."""
    if n_threads_of(queue) > 1:
        atomics.add(queue, 0, 1)


@kernel
def wait(queue: Any, n_done: int) -> None:
    """Return when this many tasks are done, in all stages so far."""
    if n_threads_of(queue) > 1:
        _wait_for_others(queue, n_done)


@kernel(inline=False)
def _claim_shared(queue: Any, thread: int, stage: int, n_tasks: int) -> int:
    n_threads = n_threads_of(queue)
    for turn in range(n_threads):
        owner = (thread + turn) % n_threads
        first, stop = owner * n_tasks // n_threads, (owner + 1) * n_tasks // n_threads
        counter = (owner + 1) * SPACING
        while True:
            found = atomics.load(queue, counter)
            claimed = max(found - (stage << 32), 0)  # large if that thread is at a later stage
            if claimed >= stop - first:
                break
            if atomics.replace(queue, counter, found, (stage << 32) + claimed + 1):
                return first + claimed
    return -1


@kernel(inline=False)
def _wait_for_others(queue: Any, n_done: int) -> None:
    spins = 0
    while atomics.load(queue, 0) < n_done:
        spins += 1
        if spins % SPINS == 0:
            atomics.yield_processor()
        atomics.pause()
