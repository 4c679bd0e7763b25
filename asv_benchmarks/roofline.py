"""What bounds a training step: its operations and bytes, and how near it comes to what multiplication and memory allow.

    python -m asv_benchmarks.roofline            # about two minutes; prints a table in Markdown

Bytes are those of the operands of a step that are larger than the caches of a core, each time that they are read or written:

    forward pass       the weights, or their packed copy, once for each block of samples
    backward pass      the transposed weights, once for each block of samples
    update             w, m and v, read and written, and the packed copies, written
    units              z and δ, written by the passes and read by Eq. 4

`memory` is the time of these bytes at the rate at which all threads together copy arrays larger than the caches.  It bounds the
step only where the weights, their state and their copies do not fit into the third-level cache; otherwise the table says so.
"""

import argparse
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import numba
import numpy as np

from asv_benchmarks.benchmarks.nets import NETS
from bpkernel.cli.bench import machine, peak
from bpkernel.cli.peers import Bpkernel, Workload
from bpkernel.kernels import operands, partition

WORKLOADS = [Workload(*net) for net in NETS]
THREADS = numba.get_num_threads()


class Step(NamedTuple):
    """The operations and the bytes of a training step."""

    flops: int
    bytes_: int
    held: int  # bytes of weights, of their state and of their copies


@numba.njit(parallel=True)
def copy(source: np.ndarray, target: np.ndarray) -> None:
    """Copy an array on all threads."""
    for i in numba.prange(source.size):
        target[i] = source[i]


def bandwidth() -> float:
    """Bytes read and written per second by all threads together, of arrays of 256 MB."""
    source, target = np.ones(32_000_000), np.zeros(32_000_000)
    copy(source, target)
    times = []
    for _ in range(5):
        start = time.perf_counter()
        copy(source, target)
        times.append(time.perf_counter() - start)
    return 2 * source.nbytes / min(times)


def step_of(peer: Bpkernel, n_threads: int) -> Step:
    """Operations and bytes of a step of a net in training."""
    network, batch, optimizer = peer.net._network, peer.batch, peer.optimizer
    layout, size = network.layout, network.layout.dtype.itemsize
    state, steps = optimizer.bind(layout)
    step = operands.step(type(optimizer), optimizer.settings(layout.dtype), state, steps, layout)
    work = operands.work(layout, network.compiled, step, batch, n_threads)
    n_blocks = len(work.chunks) or partition.n_blocks_of.py_func(batch, n_threads)
    edges = zip(layout.n_rows, layout.row_lengths, layout.edges["source"], strict=True)
    from_inputs = sum(n_rows * row for n_rows, row, source in edges if source == 0)
    read = n_blocks * (2 * layout.n_params - from_inputs)
    update = (2 + 2 * len(state)) * layout.n_params + work.packed.shape[1] + 2 * work.chunks.size
    units = 4 * batch * layout.n_units
    held = (1 + len(state)) * layout.n_params + work.packed.size
    return Step(layout.flops * batch, size * (read + update + units), size * held)


def rows(rounds: int) -> Iterator[list[str]]:
    """A row of the table for each net."""
    rate = bandwidth()
    yield ["net", "Mflop", "MB", "held, MB", "FMA", "memory", "measured", "share of the FMA peak"]
    for workload in WORKLOADS:
        peer, measure = Bpkernel(workload, THREADS), peak(workload.dtype, THREADS)
        peer.train(1)
        step, times, peaks = step_of(peer, THREADS), [], []
        for _ in range(rounds):
            time.sleep(0.1)
            before = measure()
            start = time.perf_counter()
            peer.train(1)
            times.append((time.perf_counter() - start) * workload.batch / workload.n_samples)
            peaks.append((before + measure()) / 2)
        shares = step.flops / np.array(times) / np.array(peaks)
        cells: list[Any] = [workload.name, f"{step.flops / 1e6:.3g}", f"{step.bytes_ / 1e6:.3g}", f"{step.held / 1e6:.3g}"]
        cells += [in_time(step.flops / np.median(peaks)), in_time(step.bytes_ / rate), in_time(np.median(times))]
        yield [*cells, f"{np.median(shares):.0%}"]


def in_time(seconds: Any) -> str:
    """A time in words."""
    return f"{1e3 * seconds:.3g} ms" if seconds >= 1e-3 else f"{1e6 * seconds:.3g} µs"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    print(f"{machine()['processor']}, {THREADS} threads; copying: {bandwidth() / 1e9:.3g} GB/s\n")
    for number, cells in enumerate(rows(options.rounds)):
        print("| " + " | ".join(cells) + " |", flush=True)
        if number == 0:
            print("| --- |" + " ---: |" * (len(cells) - 1), flush=True)


if __name__ == "__main__":
    main()
