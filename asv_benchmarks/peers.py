"""Train the same nets on the same data with bpkernel, scikit-learn, PyTorch and JAX, interleaved in one run.

    python asv_benchmarks/peers.py                       # the table of the README, in some minutes
    python asv_benchmarks/peers.py --cases 2 3 --rounds 9
    python asv_benchmarks/peers.py --part scaling        # threads, growth with the number of weights, predicting a row

Every trainer has the same threads, dtype, data, mini-batches and optimizer, is compiled and warmed up before, and is
timed in turn, round after round, over whole epochs with shuffling.  A ratio is that of two times of one round; told are
the median of the rounds and, in brackets, the quartiles.  The peak is that of fused multiply-adds on registers, on as
many threads, measured in every round too.  A step of training counts 6 flops a weight and sample, 4 in the first layer.
PyTorch runs eagerly, with its fused optimizers; JAX compiles a whole epoch as one `lax.scan`.
"""

import argparse
import os
import threading
import time
import warnings
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

THREADS = 2
os.environ.setdefault("OMP_NUM_THREADS", str(THREADS))
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import numba  # noqa: E402
import numpy as np  # noqa: E402

import bpkernel as bp  # noqa: E402
from bpkernel.layout import aligned_zeros  # noqa: E402
from bpkernel.tiles import ROWS, VECTOR, VECTORS, add_outer, store, zeros  # noqa: E402

LEARNING_RATE = 1e-3
PAUSE = 0.02  # seconds between two trainers, so that the threads of one are asleep when the next begins


class Case(NamedTuple):
    """One net to train; a softmax under cross-entropy where `classes`, else identity under squared error."""

    sizes: tuple[int, ...]
    batch: int
    dtype: str
    classes: bool
    activation: str = "relu"
    optimizer: str = "adam"

    @property
    def flops(self) -> int:
        """Of a training step, for each sample."""
        weights = [n_in * n_out for n_in, n_out in pairwise(self.sizes)]
        return 4 * weights[0] + 6 * sum(weights[1:])

    @property
    def name(self) -> str:
        kind = "f32" if self.dtype == "float32" else "f64"
        return f"{'-'.join(map(str, self.sizes))}, batch {self.batch}, {kind}, {self.activation}"

    @property
    def n_samples(self) -> int:
        """Of the data: whole mini-batches, more of them where they are cheap."""
        n_batches = min(max(int(2e8 / (self.flops * self.batch)), 8), 1000)
        return n_batches * self.batch


CASES = [
    Case((2, 8, 1), 1, "float32", False),
    Case((4, 16, 3), 32, "float32", True),
    Case((64, 100, 10), 200, "float32", True),
    Case((64, 100, 10), 200, "float64", True),
    Case((30, 64, 64, 1), 128, "float32", False),
    Case((784, 128, 10), 128, "float32", True),
    Case((784, 512, 512, 10), 256, "float32", True),
    Case((1024, 1024, 1024, 1024), 512, "float32", False),
    Case((512, 512, 512, 512), 256, "float64", False),
    Case((64, 100, 10), 200, "float32", True, "tanh"),
    Case((784, 512, 512, 10), 256, "float32", True, "tanh"),
]

LIBXSMM = {  # GFLOP/s of LIBXSMM-DNN beside a peak of 226, as measured elsewhere on a machine of this kind
    Case((1024, 1024, 1024, 1024), 256, "float32", False, "relu", "sgd"): 184 / 226,
    Case((512, 512, 512, 512), 256, "float32", False, "relu", "sgd"): 139 / 226,
    Case((64, 128, 64), 192, "float32", False, "relu", "sgd"): 118 / 226,
}


def data(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """Inputs, and class indices or rows of targets."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((case.n_samples, case.sizes[0])).astype(case.dtype)
    if case.classes:
        return X, rng.integers(0, case.sizes[-1], case.n_samples)
    return X, rng.standard_normal((case.n_samples, case.sizes[-1])).astype(case.dtype)


# ------------------------------------------------------- the trainers: each gives a function that trains so many epochs


def with_bpkernel(case: Case, n_threads: int = THREADS) -> Callable[[int], None]:
    X, T = data(case)
    output, loss = ("softmax", "cross_entropy") if case.classes else ("identity", "squared_error")
    net = bp.MLP(case.sizes, case.activation, output, loss, dtype=case.dtype, random_state=0)
    optimizer = bp.Adam(LEARNING_RATE) if case.optimizer == "adam" else bp.SGD(LEARNING_RATE)

    def run(epochs: int) -> None:
        numba.set_num_threads(n_threads)
        net.fit(X, T, epochs=epochs, batch_size=case.batch, optimizer=optimizer)

    return run


def with_sklearn(case: Case) -> Callable[[int], None]:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier, MLPRegressor

    X, T = data(case)
    kind = MLPClassifier if case.classes else MLPRegressor
    if T.ndim == 2 and T.shape[1] == 1:
        T = T.ravel()

    def run(epochs: int) -> None:
        net = kind(
            hidden_layer_sizes=case.sizes[1:-1],
            activation=case.activation,
            solver=case.optimizer,
            alpha=0.0,
            batch_size=case.batch,
        )
        net.set_params(learning_rate_init=LEARNING_RATE, max_iter=epochs, n_iter_no_change=10**6, momentum=0.0, random_state=0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            net.fit(X, T)

    return run


def with_torch(case: Case) -> Callable[[int], None]:
    import torch

    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    dtype = getattr(torch, case.dtype)
    X, T = (torch.as_tensor(array) for array in data(case))
    layers: list[Any] = []
    for n_in, n_out in pairwise(case.sizes):
        layers += [torch.nn.Linear(n_in, n_out, dtype=dtype), torch.nn.ReLU() if case.activation == "relu" else torch.nn.Tanh()]
    net = torch.nn.Sequential(*layers[:-1])
    kind = torch.optim.Adam if case.optimizer == "adam" else torch.optim.SGD
    optimizer = kind(net.parameters(), lr=LEARNING_RATE, fused=True)
    loss = torch.nn.CrossEntropyLoss() if case.classes else torch.nn.MSELoss()

    def run(epochs: int) -> None:
        for _ in range(epochs):
            for rows in torch.randperm(len(X)).split(case.batch):
                optimizer.zero_grad(set_to_none=True)
                loss(net(X[rows]), T[rows]).backward()
                optimizer.step()

    return run


def with_jax(case: Case) -> Callable[[int], None]:
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)
    X, T = (jnp.asarray(array) for array in data(case))
    rng, real = np.random.default_rng(0), np.dtype(case.dtype).type
    params = [
        (jnp.asarray(rng.uniform(-1, 1, pair) * np.sqrt(6 / sum(pair)), real), jnp.zeros(pair[1], real))
        for pair in pairwise(case.sizes)
    ]
    activation = jax.nn.relu if case.activation == "relu" else jnp.tanh

    def error(params: Any, x: Any, t: Any) -> Any:
        for w, b in params[:-1]:
            x = activation(x @ w + b)
        y = x @ params[-1][0] + params[-1][1]
        if case.classes:
            return -jnp.take_along_axis(jax.nn.log_softmax(y), t[:, None], axis=1).mean()
        return 0.5 * ((y - t) ** 2).sum(axis=1).mean()

    def adam(state: Any, g: Any) -> Any:
        params, m, v, step = state
        step += 1
        m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, g)
        v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, g)
        rate = LEARNING_RATE * jnp.sqrt(1 - 0.999**step) / (1 - 0.9**step)
        return jax.tree.map(lambda p, m, v: p - rate * m / (jnp.sqrt(v) + real(1e-8)), params, m, v), m, v, step

    def sgd(state: Any, g: Any) -> Any:
        return (jax.tree.map(lambda p, g: p - real(LEARNING_RATE) * g, state[0], g), *state[1:])

    def step(state: Any, rows: Any) -> Any:
        e, g = jax.value_and_grad(error)(state[0], X[rows], T[rows])
        return (adam if case.optimizer == "adam" else sgd)(state, g), e

    @jax.jit
    def epoch(state: Any, rows: Any) -> Any:
        return jax.lax.scan(step, state, rows)

    nothing = jax.tree.map(jnp.zeros_like, params)
    state = params, nothing, nothing, jnp.zeros((), real)

    def run(epochs: int) -> None:
        nonlocal state
        for _ in range(epochs):
            state, e = epoch(state, jnp.asarray(rng.permutation(len(X)).reshape(-1, case.batch)))
        e.block_until_ready()

    return run


TRAINERS: dict[str, Callable[[Case], Callable[[int], None]]] = {
    "bpkernel": with_bpkernel,
    "scikit-learn": with_sklearn,
    "PyTorch": with_torch,
    "JAX": with_jax,
}


# ---------------------------------------------------------------------------------------------------------- the measures


@numba.njit(nogil=True)
def multiply_and_add(z: np.ndarray, w: np.ndarray, n: int, out: np.ndarray) -> None:
    """So many tiles of fused multiply-adds on numbers in registers and the first-level cache."""
    t = zeros(out, ROWS, VECTORS)
    for i in range(n):
        t = add_outer(t, z, 0, ROWS - 1, i & 15, w, 0)
    store(t, out, 0, ROWS - 1, 0)


def peak(dtype: str, n_threads: int = THREADS) -> Callable[[], float]:
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
    """Seconds a sample of every trainer and flops a second of the peak, a row for each round."""

    seconds: dict[str, np.ndarray]
    peak: np.ndarray


def interleave(case: Case, runs: dict[str, Callable[[int], None]], rounds: int, seconds: float) -> Timing:
    """Time trainers in turn, each for about so many seconds a round."""
    epochs = {}
    for name, run in runs.items():
        run(1)  # compiles
        start = time.perf_counter()
        run(1)
        epochs[name] = max(1, int(seconds / (time.perf_counter() - start)))
        run(epochs[name])
    measure = peak(case.dtype)
    times: dict[str, list[float]] = {name: [] for name in runs}
    peaks = []
    for _ in range(rounds):
        peaks.append(max(measure(), measure()))
        for name, run in runs.items():
            time.sleep(PAUSE)
            start = time.perf_counter()
            run(epochs[name])
            times[name].append((time.perf_counter() - start) / (epochs[name] * case.n_samples))
    return Timing({name: np.array(values) for name, values in times.items()}, np.array(peaks))


def spread(ratios: np.ndarray, digits: int = 1) -> str:
    """The median, and the quartiles in brackets."""
    low, middle, high = np.percentile(ratios, (25, 50, 75))
    return f"{middle:.{digits}f} ({low:.{digits}f}-{high:.{digits}f})"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def peers(cases: Sequence[Case], rounds: int, seconds: float) -> str:
    """The nets trained with every trainer."""
    others = list(TRAINERS)[1:]
    rows, best = [], []
    for case in cases:
        timing = interleave(case, {name: trainer(case) for name, trainer in TRAINERS.items()}, rounds, seconds)
        ours = timing.seconds["bpkernel"]
        ratios = {name: timing.seconds[name] / ours for name in others}
        best.append(min(float(np.median(ratio)) for ratio in ratios.values()))
        share = case.flops / ours / timing.peak
        rows.append(
            [case.name, f"{1 / np.median(ours):,.0f}", f"{np.median(share):.0%}", *(spread(ratios[name]) for name in others)]
        )
        print(" | ".join(rows[-1]), flush=True)
    mean = np.exp(np.mean(np.log(best)))
    header = ["net", "samples/s", "share of peak", *(f"times {name}" for name in others)]
    return (
        table(header, rows)
        + f"\n\nAgainst the fastest peer of each: at least {min(best):.1f} times, {mean:.1f} in the geometric mean."
    )


def libxsmm(rounds: int, seconds: float) -> str:
    """The nets that LIBXSMM-DNN's figures are known for."""
    rows = []
    for case, known in LIBXSMM.items():
        timing = interleave(case, {"bpkernel": with_bpkernel(case)}, rounds, seconds)
        rate = case.flops / timing.seconds["bpkernel"]
        rows.append([case.name, f"{np.median(rate) / 1e9:.0f}", spread(100 * rate / timing.peak, 0), f"{100 * known:.0f}"])
    return table(["net, SGD", "GFLOP/s", "% of peak", "LIBXSMM-DNN, % of peak"], rows)


def scaling(rounds: int, seconds: float) -> str:
    """Two threads beside one; time a weight and sample over the number of weights; predicting one row."""
    rows = []
    for case in (CASES[6], CASES[7]):
        timing = interleave(case, {str(n): with_bpkernel(case, n) for n in (1, 2)}, rounds, seconds)
        rows.append([case.name, spread(timing.seconds["1"] / timing.seconds["2"], 2)])
    text = table(["net", "2 threads over 1"], rows)
    rows = []
    for width in (80, 224, 704, 2240):  # multiples of 16: others pay for their padding
        case = Case((width, width, width), 256, "float32", False)
        timing = interleave(case, {"bpkernel": with_bpkernel(case)}, rounds, seconds)
        weights = sum(n_in * n_out for n_in, n_out in pairwise(case.sizes))
        rows.append([case.name, f"{weights:.1e}", spread(1e12 * timing.seconds["bpkernel"] / weights, 1)])
    return text + "\n\n" + table(["net", "weights", "picoseconds a weight and sample"], rows)


def one_row(rounds: int) -> str:
    """Predict one row of a 30-64-64-1 net."""
    import torch
    from sklearn.neural_network import MLPRegressor

    case = CASES[4]
    X, T = data(case)
    x = X[:1]
    net = bp.MLP(case.sizes, "relu")
    estimator = MLPRegressor(hidden_layer_sizes=case.sizes[1:-1], max_iter=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        estimator.fit(X[:200], T[:200].ravel())
    layers: list[Any] = []
    for n_in, n_out in pairwise(case.sizes):
        layers += [torch.nn.Linear(n_in, n_out), torch.nn.ReLU()]
    module, tensor = torch.nn.Sequential(*layers[:-1]), torch.as_tensor(x)

    def with_module() -> None:
        with torch.inference_mode():
            module(tensor)

    calls = {"bpkernel": lambda: net.predict(x), "scikit-learn": lambda: estimator.predict(x), "PyTorch": with_module}
    times: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()
    for _ in range(rounds):
        for name, call in calls.items():
            start = time.perf_counter()
            for _ in range(1000):
                call()
            times[name].append((time.perf_counter() - start) / 1000)
    return table(["one row, 30-64-64-1", "µs"], [[name, spread(1e6 * np.array(t))] for name, t in times.items()])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=["peers", "libxsmm", "scaling", "predict", "all"], default="peers")
    parser.add_argument("--cases", type=int, nargs="*", help=f"numbers from 0 to {len(CASES) - 1}; default all")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.3, help="about how long a trainer runs in a round")
    options = parser.parse_args()
    cases = CASES if options.cases is None else [CASES[i] for i in options.cases]
    parts = {
        "peers": lambda: peers(cases, options.rounds, options.seconds),
        "libxsmm": lambda: libxsmm(options.rounds, options.seconds),
        "scaling": lambda: scaling(options.rounds, options.seconds),
        "predict": lambda: one_row(options.rounds),
    }
    for name, part in parts.items():
        if options.part in (name, "all"):
            print(part(), end="\n\n", flush=True)


if __name__ == "__main__":
    main()
