"""The performance record: bpkernel compared with scikit-learn, PyTorch (eager and compiled) and JAX, and its cost as nets grow.

    python -m asv_benchmarks.peers                           # all parts, about 45 minutes, into runs/performance
    python -m asv_benchmarks.peers --parts peers threads     # only these parts; the files of other parts are kept
    python -m asv_benchmarks.peers --output docs/performance && python -m asv_benchmarks.report    # the record in the docs

Each part writes a CSV file with all rounds as soon as it is done.  The report and the pictures (SVG) are made from these
files.  Peers that are not installed are left out.  docs/performance.md describes the method.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise, starmap
from operator import mul
from pathlib import Path
from typing import Any

import numba
import numpy as np

import bpkernel as bp
from asv_benchmarks import drop_in, report
from asv_benchmarks.benchmarks.nets import NETS
from asv_benchmarks.compiled_peers import PEERS, installed
from asv_benchmarks.forward import forward_pass
from bpkernel.cli.bench import as_csv, machine, peak, rounds_of, take_turns
from bpkernel.cli.peers import LEARNING_RATE, Bpkernel, Peer, Workload
from bpkernel.functions import elementary
from bpkernel.serialization import write_atomically

WORKLOADS = [Workload(*net) for net in NETS]
THREADS = numba.get_num_threads()
SECONDS = 0.3  # that a peer runs in a round
Records = list[dict[str, Any]]


def show(text: str) -> None:
    """Print progress to standard error."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def peers_of(workload: Workload) -> dict[str, Peer]:
    """All installed peers with a workload."""
    return {name: PEERS[name](workload, THREADS) for name in installed()}


def timed(workload: Workload, calls: dict[str, Callable[[int], None]], rounds: int, seconds: float = SECONDS) -> Records:
    """Time functions in turn, and return the records of all rounds."""
    show(f"{workload.name}: {', '.join(calls)}")
    return rounds_of(workload, take_turns(calls, rounds, seconds, peak(workload.dtype, THREADS)))


def tried(workloads: Sequence[Workload], most: int) -> list[Workload]:
    """The nets of a part; with one round, which shows only that it runs, those of up to 150,000 weights."""
    return [own for own in workloads if most > 1 or sum(starmap(mul, pairwise(own.sizes))) <= 150_000]


def peers(most: int) -> Iterator[Records]:
    """Training of each net by each peer, in three repetitions minutes apart, since machines have slow minutes."""
    rounds = min(4, most)
    for repetition in range(min(3, most)):
        for workload in tried(WORKLOADS, most):
            records = timed(workload, {name: peer.train for name, peer in peers_of(workload).items()}, rounds)
            for record in records:
                record["round"] += repetition * rounds
            yield records


def libxsmm(most: int) -> Iterator[Records]:
    """The nets for which LIBXSMM-DNN's speed is published, trained by SGD as there."""
    for sizes, batch in (((1024,) * 4, 256), ((512,) * 4, 256), ((64, 128, 64), 192)):
        workload = Workload(sizes, batch, "float32", "numbers")
        peer = Bpkernel(workload, THREADS)
        peer.optimizer = bp.SGD(LEARNING_RATE)
        yield timed(workload, {"bpkernel": peer.train}, min(21, most))


def threads(most: int) -> Iterator[Records]:
    """Training on one thread and on all threads, on machines with several."""
    chosen = (2, 6, 7, 8, 11, 12)  # 64-100-10, and the nets of 512 and more units in a layer with relu
    for workload in tried([WORKLOADS[i] for i in chosen], most) if THREADS > 1 else ():
        yield timed(workload, {str(n): Bpkernel(workload, n).train for n in (1, THREADS)}, min(9, most))


def growth(most: int) -> Iterator[Records]:
    """A training step and the forward pass alone, for growing numbers of weights and growing batch sizes."""
    widths = (7, 22, 71, 224, 707, 2236)  # 10² to 10⁷ weights
    workloads = [("weights", Workload((n, n, n), 128, "float32", "numbers")) for n in widths]
    workloads += [("batch", Workload((256,) * 3, batch, "float32", "numbers")) for batch in (1, 4, 16, 64, 256, 1024, 4096)]
    for axis, workload in workloads:
        calls = {}
        for name, peer in peers_of(workload).items():
            calls[f"{name} step"], calls[f"{name} forward"] = peer.train, repeated(forward_pass(peer))
        for record in (records := timed(workload, calls, min(5, most), 0.15)):
            name, what = record["trainer"].rsplit(" ", 1)
            record.update(trainer=name, what=what, axis=axis)
        yield records


def repeated(call: Callable[[], Any]) -> Callable[[int], None]:
    """A function of n that calls `call` n times."""

    def calls(times: int) -> None:
        for _ in range(times):
            call()

    return calls


def differences(most: int) -> Iterator[Records]:
    """The gradient by back-propagation, and by central differences, which take two forward passes for each weight."""
    numba.set_num_threads(THREADS)
    for width, rounds in ((7, 5), (22, 5), (39, 5), (71, 3), (122, 1))[: 5 if most > 1 else 3]:
        net = bp.MLP((width, width, width), dtype="float64", random_state=0)
        rng = np.random.default_rng(0)
        X, T = rng.standard_normal((512, width)), rng.standard_normal((512, width))
        show(f"central differences of {2 * width * width} weights")
        for i in range(min(rounds, most)):
            times, gradients = {}, {}
            for name, gradient, calls in (("back-propagation", by_backprop, 100), ("central differences", by_differences, 1)):
                net.loss(X, T), by_backprop(net, X, T)  # compile
                start = time.perf_counter()
                for _ in range(calls):
                    gradients[name] = gradient(net, X, T)
                times[name] = (time.perf_counter() - start) / calls
            exact, approximate = gradients.values()
            error = np.abs(approximate - exact).max() / np.abs(exact).max()
            yield [
                {
                    "weights": 2 * width * width,
                    "method": name,
                    "round": i,
                    "us": f"{1e6 * t:.5g}",
                    "largest_error": f"{error:.1e}",
                }
                for name, t in times.items()
            ]


def by_backprop(net: bp.MLP, X: np.ndarray, T: np.ndarray) -> np.ndarray:
    """∂E/∂w of all weights (n_weights,), from one forward and one backward pass."""
    return np.concatenate([dw.ravel() for dw in net.backprop(X, T).dw])


def by_differences(net: bp.MLP, X: np.ndarray, T: np.ndarray, step: float = 1e-5) -> np.ndarray:
    """The same from (E(w + step) - E(w - step)) / (2 step), for one weight at a time, as in Bishop 4.8.3."""
    dw = []
    for w in net.weights:
        for ij in np.ndindex(w.shape):
            kept = w[ij]
            w[ij] = kept + step
            above = net.loss(X, T)
            w[ij] = kept - step
            dw.append(len(X) * (above - net.loss(X, T)) / (2 * step))
            w[ij] = kept
    return np.array(dw)


def one_row(most: int) -> Iterator[Records]:
    """Prediction of a single row by a 30-64-64-1 net, for each call."""
    from sklearn.neural_network import MLPRegressor
    from threadpoolctl import threadpool_limits

    workload = WORKLOADS[4]
    X, T = workload.data()
    x = X[:1]
    net = bp.MLP(workload.sizes, "relu")
    numba.set_num_threads(THREADS)
    theirs, ours = (kind(hidden_layer_sizes=workload.sizes[1:-1], max_iter=1) for kind in (MLPRegressor, bp.MLPRegressor))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for estimator in (theirs, ours):
            estimator.fit(X[:200], T[:200].ravel())
    calls = {"bpkernel": lambda: net.predict(x), "bpkernel, estimator": lambda: ours.predict(x)}
    calls["scikit-learn"] = lambda: theirs.predict(x)
    if "PyTorch" in installed():
        import torch

        layers: list[Any] = []
        for n_in, n_out in pairwise(workload.sizes):
            layers += [torch.nn.Linear(n_in, n_out), torch.nn.ReLU()]
        module, tensor = torch.nn.Sequential(*layers[:-1]), torch.as_tensor(x)

        def with_module() -> None:
            with torch.inference_mode():
                module(tensor)

        calls["PyTorch"] = with_module
    show("prediction of a row")
    with threadpool_limits(THREADS):
        timing = take_turns({name: repeated(call) for name, call in calls.items()}, min(9, most), 0.1, lambda: 0.0)
    for name, times in timing.seconds.items():
        yield [{"trainer": name, "round": i, "us": f"{1e6 * t:.4g}"} for i, t in enumerate(times)]


FIRST_FIT = """
import json, time
start = time.perf_counter()
import bpkernel as bp
imported = time.perf_counter()
import numpy as np
X, T = np.zeros((200, 64), "{dtype}"), np.zeros(200, int)
net = bp.MLP((64, 100, 10), output_activation="softmax", loss="cross_entropy", dtype="{dtype}")
begun = time.perf_counter()
net.fit(X, T, epochs=1)
print(json.dumps([imported - start, time.perf_counter() - begun]))
"""


def first_fit(most: int) -> Iterator[Records]:
    """The import and the first fit of a process, with an empty cache and with all kernels in the cache."""
    for i in range(min(3, most)):
        for dtype in ("float32", "float64"):
            show(f"first fit, {dtype}")
            with tempfile.TemporaryDirectory() as folder:
                for cache in ("cold", "cached"):
                    run = subprocess.run(
                        [sys.executable, "-c", FIRST_FIT.format(dtype=dtype)],
                        env=os.environ | {"BPKERNEL_CACHE_DIR": folder},
                        capture_output=True,
                        text=True,
                        check=True,
                    )
                    imported, fitted = json.loads(run.stdout)
                    yield [
                        {"what": "import", "dtype": dtype, "cache": cache, "round": i, "seconds": f"{imported:.3f}"},
                        {"what": "first fit", "dtype": dtype, "cache": cache, "round": i, "seconds": f"{fitted:.3f}"},
                    ]


def functions(most: int) -> Iterator[Records]:
    """exp and tanh of an array on one core, by bpkernel and by the C library, both in a loop compiled by Numba."""

    def loop(function: Callable[[float], float]) -> Callable[[np.ndarray, np.ndarray], None]:
        @numba.njit
        def apply(x: np.ndarray, out: np.ndarray) -> None:
            for i in range(x.size):
                out[i] = function(x[i])

        return apply

    loops = {
        (name, library): loop(getattr(module, name))
        for name in ("exp", "tanh")
        for library, module in (("bpkernel", elementary), ("C library", math))
    }
    for dtype in ("float32", "float64"):
        x = np.random.default_rng(0).uniform(-5, 5, 4096).astype(dtype)
        out = np.empty_like(x)
        calls = {key: repeated(lambda apply=apply, x=x, out=out: apply(x, out)) for key, apply in loops.items()}
        show(f"functions, {dtype}")
        for (name, library), times in take_turns(calls, min(9, most), 0.1, lambda: 0.0).seconds.items():
            yield [
                {"function": name, "library": library, "dtype": dtype, "round": i, "ns": f"{1e9 * t / x.size:.4g}"}
                for i, t in enumerate(times)
            ]


PARTS: dict[str, Callable[[int], Iterator[Records]]] = {  # functions of the maximum number of rounds
    "peers": peers,
    "growth": growth,
    "differences": differences,
    "threads": threads,
    "libxsmm": libxsmm,
    "one_row": one_row,
    "first_fit": first_fit,
    "functions": functions,
    "drop_in": drop_in.records,
    "memory": drop_in.memory,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write CSV files, the report and the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="default: all")
    parser.add_argument("--rounds", type=int, default=21, help="maximum number of rounds; each part has a default of its own")
    parser.add_argument("--output", type=Path, default=Path("runs/performance"))
    options = parser.parse_args(arguments)
    options.output.mkdir(parents=True, exist_ok=True)
    here, facts = as_csv([{"what": what, "is": value} for what, value in machine().items()]), options.output / "machine.csv"
    if facts.exists() and facts.read_bytes() != here and set(options.parts) != set(PARTS):
        parser.error(f"{options.output} holds measurements of another machine or of other versions; choose another --output")
    write_atomically(facts, here)
    for name in options.parts:
        records = [record for some in PARTS[name](options.rounds) for record in some]
        if records:
            write_atomically(options.output / f"{name}.csv", as_csv(records))
    report.write(options.output)
    print(options.output / "report.md")


if __name__ == "__main__":
    main()
