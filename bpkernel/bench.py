"""Floor 5: nets trained by bpkernel and by other libraries, in turn, in one run, timed and shown.

Every trainer is compiled and has trained before it is timed, round after round, over whole epochs.  Ratios are those of
two times of one round: told are their median and quartiles.  The peak is the rate of fused multiply-adds on registers, on
as many threads, measured in every round too.
"""

import csv
import io
import os
import platform
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import llvmlite.binding
import numba
import numpy as np

from bpkernel.layout import aligned_zeros
from bpkernel.tiles import ROWS, VECTOR, VECTORS, add_outer, store, zeros
from bpkernel.trainers import TRAINERS, Case, installed

PAUSE = 0.3  # seconds before each timing: so long do OpenBLAS's threads spin; at 0.03 they took a third of what came next


@numba.njit(nogil=True)
def multiply_and_add(z: np.ndarray, w: np.ndarray, n: int, out: np.ndarray) -> None:
    """So many tiles of fused multiply-adds on numbers in registers and the first-level cache."""
    t = zeros(out, ROWS, VECTORS)
    for i in range(n):
        t = add_outer(t, z, 0, ROWS - 1, i & 15, w, 0)
    store(t, out, 0, ROWS - 1, 0)


def peak(dtype: str, n_threads: int) -> Callable[[], float]:
    """A function that measures the flops a second of so many cores."""
    real = np.dtype(dtype)
    width, n = VECTORS * VECTOR // real.itemsize, 400_000
    z, w = aligned_zeros(ROWS * 16, real).reshape(ROWS, 16), aligned_zeros(16 * width, real).reshape(16, width)
    outs = [aligned_zeros(ROWS * width, real).reshape(ROWS, width) for _ in range(n_threads)]
    multiply_and_add(z, w, 10, outs[0])

    def measure() -> float:
        workers = [threading.Thread(target=multiply_and_add, args=(z, w, n, out)) for out in outs]
        start = time.perf_counter()
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        return 2.0 * ROWS * width * n * n_threads / (time.perf_counter() - start)

    return measure


class Timing(NamedTuple):
    """Seconds of every call, and flops a second of the peak: a number for each round."""

    seconds: dict[str, np.ndarray]
    peak: np.ndarray


def take_turns(
    calls: Mapping[str, Callable[[int], None]],
    rounds: int,
    seconds: float,
    peak: Callable[[], float],
    tell: Callable[[str], None] = lambda name: None,
) -> Timing:
    """Time calls, each told how often to repeat itself, in turn; for about so many seconds a round.

    They have been run before they are timed.  `tell` hears the name of what comes next.
    """
    times = {}
    for name, call in calls.items():
        tell(name)
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
            tell(name)
            time.sleep(PAUSE)
            start = time.perf_counter()
            call(times[name])
            timed[name].append((time.perf_counter() - start) / times[name])
    return Timing({name: np.array(values) for name, values in timed.items()}, np.array(peaks))


def spread(ratios: np.ndarray, digits: int = 1) -> str:
    """The median, and the quartiles in brackets."""
    low, middle, high = np.percentile(ratios, (25, 50, 75))
    return f"{middle:.{digits}f} ({low:.{digits}f}-{high:.{digits}f})"


def machine() -> dict[str, str]:
    """What the figures were measured on: processor, threads, and the versions of what took part."""
    facts = {
        "processor": f"{_model()} ({llvmlite.binding.get_host_cpu_name()}), {8 * VECTOR}-bit vectors",
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


CASES = (
    Case((4, 16, 3), 32, "float32", "classes"),
    Case((64, 100, 10), 200, "float32", "classes"),
    Case((784, 128, 10), 128, "float32", "classes"),
    Case((784, 512, 512, 10), 256, "float32", "classes"),
)
TURN = 0.2  # seconds that a trainer runs in a round


def bench(cases: Sequence[Case], seconds: float, tell: Callable[[str], None]) -> Iterator[tuple[Case, Timing]]:
    """Time the trainers that there are, but for those that compile for half a minute, in about so many seconds in all."""
    names = [name for name in installed() if name != "PyTorch compiled"]
    n_threads = numba.get_num_threads()
    turns = (len(names) + 1) * (PAUSE + TURN)  # seconds a round: every trainer, and the peak
    rounds = max(3, int(seconds / len(cases) / turns) - 2)
    for case in cases:

        def tell_net(name: str, net: str = case.name) -> None:
            tell(f"{net}: {name}")

        calls = {name: TRAINERS[name](case, n_threads).train for name in names}
        yield case, take_turns(calls, rounds, TURN, peak(case.dtype, n_threads), tell_net)


def picture(case: Case, timing: Timing) -> Any:
    """Samples a second of every trainer as numbers and as bars, and how many times as fast bpkernel is: a table of rich."""
    from rich.bar import Bar
    from rich.table import Table

    ours = timing.seconds["bpkernel"]
    share = case.flops * case.n_samples / ours / timing.peak
    table = Table(title=f"{case.name}: {np.median(share):.0%} of peak", title_justify="left", box=None, padding=(0, 2, 0, 0))
    for heading, width in (("", 12), ("samples/s", 11), ("", 24), ("times", 19)):
        table.add_column(heading, justify="right" if heading else "left", no_wrap=True, min_width=width)
    most = case.n_samples / min(np.median(times) for times in timing.seconds.values())
    for name, times in timing.seconds.items():
        rate = case.n_samples / float(np.median(times))
        ratio = "" if name == "bpkernel" else spread(times / ours)
        table.add_row(name, f"{rate:,.0f}", Bar(most, 0, rate, width=24), ratio)
    return table


def rounds_of(case: Case, timing: Timing) -> list[dict[str, Any]]:
    """A record for each trainer and round: the net, microseconds a sample and the peak in GFLOP/s."""
    net = {"net": case.name, "weights": case.weights, "batch": case.batch, "flops_per_sample": case.flops}
    return [
        {
            **net,
            "trainer": name,
            "round": i,
            "us_per_sample": f"{1e6 * t / case.n_samples:.5g}",
            "peak_gflops": f"{p / 1e9:.1f}",
        }
        for name, times in timing.seconds.items()
        for i, (t, p) in enumerate(zip(times, timing.peak, strict=True))
    ]


def as_csv(records: Sequence[dict[str, Any]]) -> bytes:
    """Records of the same fields, a line each under a line of their names."""
    file = io.StringIO()
    writer = csv.DictWriter(file, records[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return file.getvalue().encode()
