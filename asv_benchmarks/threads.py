"""How evenly a training step is cut for more threads than this machine has, and what they would send to one another.

    python -m asv_benchmarks.threads             # seconds; prints a table in Markdown for 1, 2, 4, 16 and 64 threads

Nothing is run: the tables come from the functions that cut the work of real training.  `passes` and `update` are the work of
the busiest thread over the mean, if each thread takes the tasks that belong to it; a thread that is done early takes tasks of
others.  `shared` is the bytes of a step that one core writes and another one reads: packed weights, and z and δ of other
blocks.
"""

import argparse
from collections.abc import Iterator

import numpy as np

from asv_benchmarks.roofline import WORKLOADS
from bpkernel.cli.peers import Bpkernel, Workload
from bpkernel.kernels import partition
from bpkernel.kernels.layout import Layout


def own_tasks(n_tasks: int, thread: int, n_threads: int) -> range:
    """The tasks of a stage that belong to a thread, as in `task_queue.claim`."""
    return range(thread * n_tasks // n_threads, (thread + 1) * n_tasks // n_threads)


def busiest(costs: list[int], n_threads: int) -> float:
    """The work of the busiest thread over the mean."""
    of_threads = [sum(costs[task] for task in own_tasks(len(costs), thread, n_threads)) for thread in range(n_threads)]
    return max(of_threads) / (sum(of_threads) / n_threads)


def samples_of_blocks(layout: Layout, batch: int, n_threads: int) -> list[int]:
    """The samples of each task of the passes."""
    n_blocks = partition.n_chunks_of(layout, batch) or partition.n_blocks_of.py_func(batch, n_threads)
    bounds = [partition.block_start.py_func(block, batch, n_blocks) for block in range(n_blocks + 1)]
    return np.diff(bounds).tolist()


def shared_bytes(layout: Layout, batch: int, n_threads: int) -> int:
    """Bytes that cores other than the one that has written them read in a step, if each thread takes its own tasks."""
    size, others = layout.dtype.itemsize, (n_threads - 1) / n_threads
    n_chunks = partition.n_chunks_of(layout, batch)
    if n_chunks:  # gradients of chunks, and updated weights
        return int(size * layout.n_params * (n_chunks + n_threads) * others)
    n_readers = min(n_threads, partition.n_blocks_of.py_func(batch, n_threads))
    return int(size * others * (n_readers * (layout.n_packed or layout.n_params) + 2 * n_threads * batch * layout.n_units))


def rows(workload: Workload) -> Iterator[list[str]]:
    """A row of the table for each number of threads."""
    layout, batch = Bpkernel(workload, 1).net._network.layout, workload.batch
    for available in (1, 2, 4, 16, 64):
        worth = max(1, min(layout.flops * batch // partition.WORTH_A_THREAD, available))
        n_threads = min(worth, partition.n_chunks_of(layout, batch) or worth)
        blocks = samples_of_blocks(layout, batch, n_threads)
        groups, _ = partition.weight_groups(layout, n_threads, chunked=partition.n_chunks_of(layout, batch) > 0)
        costs = [
            int(n) * layout.row_lengths[edge]
            for n, edge in zip(groups["last"] - groups["first"] + 1, groups["edge"], strict=True)
        ]
        cells = [workload.name, str(available), str(n_threads), f"{len(blocks)}", f"{busiest(blocks, n_threads):.2f}"]
        shared = shared_bytes(layout, batch, n_threads) / 1e6
        yield [*cells, f"{len(groups)}", f"{busiest(costs, n_threads):.2f}", f"{shared:.3g}"]


def main() -> None:
    """Print the table."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    heading = ["net", "threads", "used", "blocks", "passes", "groups", "update", "shared, MB"]
    print("| " + " | ".join(heading) + " |\n| --- |" + " ---: |" * (len(heading) - 1))
    for workload in WORKLOADS:
        for cells in rows(workload):
            print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
