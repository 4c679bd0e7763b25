"""Benchmark of bpkernel and its peers: the same workload in turn, round by round.

Every peer has compiled its code and has trained before it is timed.  A ratio is formed of two times of the same round, and
tables show its median (quartiles).  Each round also measures the peak: the rate of fused multiply-adds on registers, with the
same number of threads.
"""

import csv
import io
import os
import platform
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import numba
import numpy as np
from numba import prange

from bpkernel.cli.peers import PEERS, Workload, installed
from bpkernel.codegen.processor import ROWS, VECTOR, VECTORS, cpu_name
from bpkernel.codegen.tiles import add_outer, store, zeros
from bpkernel.runtime.memory import aligned_zeros

PAUSE = 0.3  # seconds before each timing, so that OpenBLAS's threads stop spinning; they slow down what runs next


@numba.njit(nogil=True)
def multiply_and_add(z: np.ndarray, w: np.ndarray, n: int, out: np.ndarray) -> None:
    """n tiles of fused multiply-adds, on numbers in registers and in the first-level cache.

    z (ROWS, 16), w (16, width), out (ROWS, width): overwritten, where width is VECTORS vectors.
    """
    t = zeros(out, ROWS, VECTORS)
    for i in range(n):
        t = add_outer(t, z, 0, ROWS - 1, i & 15, w, 0)
    store(t, out, 0, ROWS - 1, 0)


@numba.njit(parallel=True)
def multiply_and_add_on_threads(z: np.ndarray, w: np.ndarray, n: int, outs: np.ndarray) -> None:
    """`multiply_and_add` once for each of outs (n_threads, ROWS, width), in parallel."""
    for thread in prange(len(outs)):
        multiply_and_add(z, w, n, outs[thread])


def peak(dtype: str, n_threads: int) -> Callable[[], float]:
    """A function that measures the peak: floating-point operations per second of `n_threads` threads together.

    They are the threads that train.  New ones would share a processor for their first milliseconds.
    """
    real = np.dtype(dtype)
    width, n = VECTORS * VECTOR // real.itemsize, 2_000_000
    z, w = aligned_zeros(ROWS * 16, real).reshape(ROWS, 16), aligned_zeros(16 * width, real).reshape(16, width)
    outs = aligned_zeros(n_threads * ROWS * width, real).reshape(n_threads, ROWS, width)

    def measure() -> float:
        numba.set_num_threads(n_threads)
        multiply_and_add_on_threads(z, w, 10_000, outs)  # wakes the threads, and compiles
        start = time.perf_counter()
        multiply_and_add_on_threads(z, w, n, outs)
        return 2.0 * ROWS * width * n * n_threads / (time.perf_counter() - start)

    return measure


class Timing(NamedTuple):
    """Measurements of all rounds."""

    seconds: dict[str, np.ndarray]  # for each name (n_rounds,): seconds per repetition
    peak: np.ndarray  # (n_rounds,): floating-point operations per second


def take_turns(
    calls: Mapping[str, Callable[[int], None]],
    rounds: int,
    seconds: float,
    peak: Callable[[], float],
    show: Callable[[str], None] = lambda name: None,
) -> Timing:
    """Time functions in turn, round by round.

    Parameters
    ----------
    calls : mapping of str to callable
        Functions of the number of repetitions.
    rounds : int
    seconds : float
        About how long each function runs in a round.
    peak : callable
        Measures the peak.
    show : callable, optional
        Called with the name of each function before it runs.
    """
    times = {}
    for name, call in calls.items():
        show(name)
        call(1)  # compiles
        start = time.perf_counter()
        call(1)
        times[name] = max(1, int(seconds / (time.perf_counter() - start)))
        call(times[name])
    timed: dict[str, list[float]] = {name: [] for name in calls}
    peaks = []
    for _ in range(rounds):
        time.sleep(PAUSE)
        peaks.append(max(peak(), peak()))
        for name, call in calls.items():
            show(name)
            time.sleep(PAUSE)
            start = time.perf_counter()
            call(times[name])
            timed[name].append((time.perf_counter() - start) / times[name])
    return Timing({name: np.array(values) for name, values in timed.items()}, np.array(peaks))


def spread(ratios: np.ndarray, digits: int = 1) -> str:
    """Format the median (quartiles)."""
    low, middle, high = np.percentile(ratios, (25, 50, 75))
    return f"{middle:.{digits}f} ({low:.{digits}f}-{high:.{digits}f})"


def machine() -> dict[str, str]:
    """The processor, the number of threads, and the versions of the software that is measured."""
    facts = {
        "processor": f"{_model()} ({cpu_name()}), {8 * VECTOR}-bit vectors",
        "threads": f"{numba.get_num_threads()} of {os.cpu_count()} processors",
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
    }
    for name in ("bpkernel", "numba", "numpy", "scikit-learn", "torch", "jax"):
        with suppress(metadata.PackageNotFoundError):
            facts[name] = metadata.version(name)
    return facts


def _model() -> str:
    """The name of the processor."""
    with suppress(OSError, IndexError):
        return re.findall(r"^model name\s*:\s*(.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)[0]
    return platform.processor() or platform.machine()


WORKLOADS = (
    Workload((4, 16, 3), 32, "float32", "classes"),
    Workload((64, 100, 10), 200, "float32", "classes"),
    Workload((784, 128, 10), 128, "float32", "classes"),
    Workload((784, 512, 512, 10), 256, "float32", "classes"),
)
TURN = 0.2  # seconds that a peer trains in a round


def bench(workloads: Sequence[Workload], seconds: float, show: Callable[[str], None]) -> Iterator[tuple[Workload, Timing]]:
    """Time the installed peers on each workload, in about `seconds` altogether; `show` is called with the work in progress."""
    names, n_threads = installed(), numba.get_num_threads()
    round_seconds = (len(names) + 1) * (PAUSE + TURN)  # one turn for each peer, and one for the peak
    rounds = max(3, int(seconds / len(workloads) / round_seconds) - 2)
    for workload in workloads:

        def show_net(name: str, net: str = workload.name) -> None:
            show(f"{net}: {name}")

        calls = {name: PEERS[name](workload, n_threads).train for name in names}
        yield workload, take_turns(calls, rounds, TURN, peak(workload.dtype, n_threads), show_net)


def table_of(workload: Workload, timing: Timing) -> Any:
    """A rich table: samples per second of each peer as numbers and bars, and the speed-up of bpkernel over it."""
    from rich.bar import Bar
    from rich.table import Table

    ours = timing.seconds["bpkernel"]
    share = workload.flops * workload.n_samples / ours / timing.peak
    title = f"{workload.name}: {np.median(share):.0%} of peak"
    table = Table(title=title, title_justify="left", box=None, padding=(0, 2, 0, 0))
    for heading, width in (("", 12), ("samples/s", 11), ("", 24), ("speed-up", 19)):
        table.add_column(heading, justify="right" if heading else "left", no_wrap=True, min_width=width)
    most = workload.n_samples / min(np.median(times) for times in timing.seconds.values())
    for name, times in timing.seconds.items():
        rate = workload.n_samples / float(np.median(times))
        ratio = "" if name == "bpkernel" else spread(times / ours)
        table.add_row(name, f"{rate:,.0f}", Bar(most, 0, rate, width=24), ratio)
    return table


def rounds_of(workload: Workload, timing: Timing) -> list[dict[str, Any]]:
    """A record for each peer and round: the net, microseconds per sample, and the peak in GFLOP/s."""
    net = {
        "net": workload.name,
        "weights": workload.weights,
        "batch": workload.batch,
        "flops_per_sample": workload.flops,
    }
    return [
        {
            **net,
            "trainer": name,
            "round": i,
            "us_per_sample": f"{1e6 * t / workload.n_samples:.5g}",
            "peak_gflops": f"{p / 1e9:.1f}",
        }
        for name, times in timing.seconds.items()
        for i, (t, p) in enumerate(zip(times, timing.peak, strict=True))
    ]


def as_csv(records: Sequence[dict[str, Any]]) -> bytes:
    """Format records with the same fields as CSV, with a header."""
    file = io.StringIO()
    writer = csv.DictWriter(file, records[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return file.getvalue().encode()
