"""Derivatives and second-order training beside peers: python -m asv_benchmarks.derivatives [--rounds 30] [--dtype float64].

Per-sample gradient norms, Jacobians and Hessian-vector products of 64-100-10 with 1,000 samples, beside JAX (jitted) and
torch.func.  The libraries run in turn, with pauses, each until its threads are awake.  Then Levenberg-Marquardt: the time to
reach the best training loss of Adam on three regressions, and the time of a step beside `torch-levenberg-marquardt`.
"""

import argparse
import os
import time
import warnings
from collections.abc import Callable
from typing import Any

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import numpy as np

import bpkernel as bp

N, SIZES, PAUSE, WARM, CALLS = 1000, (64, 100, 10), 0.05, 100, 50


def problem(dtype: str) -> tuple[bp.MLP, np.ndarray, np.ndarray, np.ndarray]:
    """A net with random weights, inputs, one-hot targets, and a vector of parameters."""
    rng = np.random.default_rng(0)
    net = bp.MLP(SIZES, "tanh", "softmax", "cross_entropy", dtype, 0)
    X = rng.standard_normal((N, SIZES[0])).astype(dtype)
    T = np.eye(SIZES[-1])[rng.integers(0, SIZES[-1], N)].astype(dtype)
    return net, X, T, rng.standard_normal(len(net.parameters)).astype(dtype)


def blocks_of(net: bp.MLP, v: np.ndarray) -> list[np.ndarray]:
    """A vector of parameters, cut into weights and biases."""
    found, start = [], 0
    for block in (*net.weights, *net.biases):
        found.append(v[start : start + block.size].reshape(block.shape))
        start += block.size
    return found


def of_jax(net: bp.MLP, X: np.ndarray, T: np.ndarray, v: np.ndarray) -> dict[str, Callable[[], Any]]:
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", net.dtype == np.float64)

    def logits(p: Any, x: Any) -> Any:
        return jnp.tanh(x @ p[0] + p[2]) @ p[1] + p[3]

    def error(p: Any, x: Any, t: Any) -> Any:
        return -(t * jax.nn.log_softmax(logits(p, x))).sum()

    def norms(p: Any, X: Any, T: Any) -> Any:
        gradients = jax.vmap(jax.grad(error), (None, 0, 0))(p, X, T)
        return jnp.sqrt(sum((g.reshape(len(X), -1) ** 2).sum(axis=1) for g in gradients))

    def jacobians(p: Any, X: Any) -> Any:
        return jax.vmap(jax.jacrev(lambda x: jax.nn.softmax(logits(p, x))))(X)

    def product(p: Any, v: Any, X: Any, T: Any) -> Any:
        return jax.jvp(jax.grad(lambda p: error(p, X, T)), (p,), (v,))[1]

    p, v_p = ([jnp.array(block) for block in blocks_of(net, vector)] for vector in (net.parameters, v))
    X, T = jnp.array(X), jnp.array(T)
    compiled = [jax.jit(f) for f in (norms, jacobians, product)]
    return {
        "per-sample gradient norms": lambda: jax.block_until_ready(compiled[0](p, X, T)),
        "Jacobians": lambda: jax.block_until_ready(compiled[1](p, X)),
        "Hessian-vector product": lambda: jax.block_until_ready(compiled[2](p, v_p, X, T)),
    }


def of_torch(net: bp.MLP, X: np.ndarray, T: np.ndarray, v: np.ndarray) -> dict[str, Callable[[], Any]]:
    import torch
    from torch.func import grad, jacrev, jvp, vmap

    def logits(p: Any, x: Any) -> Any:
        return torch.tanh(x @ p[0] + p[2]) @ p[1] + p[3]

    def error(p: Any, x: Any, t: Any) -> Any:
        return -(t * torch.log_softmax(logits(p, x), -1)).sum()

    p, v_p = (tuple(torch.tensor(block) for block in blocks_of(net, vector)) for vector in (net.parameters, v))
    X, T = torch.tensor(X), torch.tensor(T)

    def norms() -> Any:
        return torch.sqrt(sum((g.reshape(N, -1) ** 2).sum(1) for g in vmap(grad(error), (None, 0, 0))(p, X, T)))

    return {
        "per-sample gradient norms": norms,
        "Jacobians": lambda: vmap(jacrev(lambda x: torch.softmax(logits(p, x), -1)))(X),
        "Hessian-vector product": lambda: jvp(grad(lambda p: error(p, X, T)), (p,), (v_p,))[1],
    }


def of_bpkernel(net: bp.MLP, X: np.ndarray, T: np.ndarray, v: np.ndarray) -> dict[str, Callable[[], Any]]:
    return {
        "per-sample gradient norms": lambda: net.per_sample_gradient_norms(X, T),
        "Jacobians": lambda: net.jacobian(X),
        "Hessian-vector product": lambda: net.hvp(X, T, v),
    }


def seconds(function: Callable[[], Any]) -> float:
    """The mean of some calls, after calls that wake the threads."""
    for _ in range(WARM):
        function()
    start = time.perf_counter()
    for _ in range(CALLS):
        function()
    return (time.perf_counter() - start) / CALLS


def compare_derivatives(dtype: str, rounds: int) -> None:
    """Print medians and quartiles of the ratios of each round."""
    own = problem(dtype)
    peers = {"bpkernel": of_bpkernel(*own), "JAX": of_jax(*own), "torch.func": of_torch(*own)}
    for what in peers["bpkernel"]:
        times: dict[str, list[float]] = {name: [] for name in peers}
        for _ in range(rounds):
            for name, functions in peers.items():
                time.sleep(PAUSE)
                times[name].append(seconds(functions[what]))
        line = f"{dtype} {what}: {np.median(times['bpkernel']) * 1e3:.3f} ms"
        for name in ("JAX", "torch.func"):
            low, middle, high = np.percentile(np.divide(times[name], times["bpkernel"]), (25, 50, 75))
            line += f"; {name} {middle:.1f} x ({low:.1f} to {high:.1f})"
        print(line, flush=True)


def regressions() -> dict[str, tuple[tuple[int, ...], np.ndarray, np.ndarray]]:
    """The sizes of the net, X and T of three regressions."""
    from sklearn.datasets import load_diabetes

    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (400, 1))
    X = rng.uniform(-1, 1, (2000, 4))
    diabetes, y = load_diabetes(return_X_y=True)
    standard = [(values - values.mean(axis=0)) / values.std(axis=0) for values in (diabetes, y)]
    return {
        "noisy sine, 1-10-1": ((1, 10, 1), x, np.sin(6 * x[:, 0]) + 0.1 * rng.standard_normal(400)),
        "surrogate, 4-10-1": ((4, 10, 1), X, np.sin(2 * X[:, 0]) * X[:, 1] + X[:, 2] ** 2 - X[:, 3]),
        "diabetes, 10-10-1": ((10, 10, 1), standard[0], standard[1]),
    }


def first_below(history: bp.History, loss: float) -> float:
    """The time until the loss is at most some value, in seconds; Inf if it never is."""
    reached = np.flatnonzero(np.array(history.loss) <= loss)
    return float(np.sum(history.seconds[: reached[0] + 1])) if len(reached) else np.inf


def compare_training(rounds: int) -> None:
    """The time that Levenberg-Marquardt takes to the best loss of Adam, for the best of some learning rates of Adam."""
    cases = [(name, 0.0) for name in regressions()] + [("diabetes, 10-10-1", 1.0)]
    for name, alpha in cases:
        sizes, X, T = regressions()[name]
        ratios = []
        for seed in range(rounds):
            net = bp.MLP(sizes, dtype="float64", random_state=seed)
            start = net.parameters
            for optimizer in (bp.Adam(), bp.LevenbergMarquardt()):  # compile
                net.fit(X, T, epochs=2, batch_size=200, optimizer=optimizer, alpha=alpha)
            runs = []
            for rate in (0.003, 0.01, 0.03):
                net.parameters = start
                runs.append(net.fit(X, T, epochs=3000, batch_size=200, optimizer=bp.Adam(rate), alpha=alpha))
            best = min(runs, key=lambda history: min(history.loss))
            lowest = min(best.loss)
            net.parameters = start
            history = net.fit(X, T, epochs=1000, optimizer=bp.LevenbergMarquardt(), alpha=alpha)
            ratios.append(first_below(best, lowest) / first_below(history, lowest))  # 0 where it is not reached
        low, middle, high = np.percentile(ratios, (0, 50, 100))
        reached = f"reached by {np.count_nonzero(ratios)} of {rounds}"
        print(
            f"{name}, alpha={alpha:g}: best loss of Adam {reached}, {middle:.1f} x sooner ({low:.1f} to {high:.1f})", flush=True
        )


def compare_steps(rounds: int) -> None:
    """The time of a step beside torch-levenberg-marquardt, on the surrogate."""
    import torch
    import torch_levenberg_marquardt as peer

    sizes, X, T = regressions()["surrogate, 4-10-1"]
    net = bp.MLP(sizes, dtype="float64", random_state=0)
    start = net.parameters

    def torch_steps(method: str) -> float:
        net.parameters = start
        model = torch.nn.Sequential(torch.nn.Linear(4, 10), torch.nn.Tanh(), torch.nn.Linear(10, 1)).double()
        with torch.no_grad():
            for layer, w, b in zip((model[0], model[2]), net.weights, net.biases, strict=True):
                layer.weight[:], layer.bias[:] = torch.tensor(w.T.copy()), torch.tensor(b.copy())
        trainer = peer.training.LevenbergMarquardtModule(model, solve_method=method)
        x, t = torch.tensor(X), torch.tensor(T[:, None])
        times = []
        for _ in range(40):
            before = time.perf_counter()
            trainer.training_step(x, t)
            times.append(time.perf_counter() - before)
        return float(np.median(times))

    def own_steps() -> float:
        net.parameters = start
        return float(np.median(net.fit(X, T, epochs=40, optimizer=bp.LevenbergMarquardt()).seconds))

    own_steps()
    found: dict[str, list[float]] = {"qr": [], "cholesky": []}
    own = []
    for _ in range(rounds):
        time.sleep(PAUSE)
        own.append(own_steps())
        for method, ratios in found.items():
            time.sleep(PAUSE)
            ratios.append(torch_steps(method) / own[-1])
    for method, ratios in found.items():
        low, middle, high = np.percentile(ratios, (25, 50, 75))
        peer_step = f"torch-levenberg-marquardt, {method}: {middle:.1f} x ({low:.1f} to {high:.1f})"
        print(f"step of {np.median(own) * 1e6:.0f} us; {peer_step}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--dtype", nargs="*", default=["float64", "float32"])
    parser.add_argument("--only", choices=["derivatives", "training", "steps"])
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    if arguments.only in (None, "derivatives"):
        for dtype in arguments.dtype:
            compare_derivatives(dtype, arguments.rounds)
    if arguments.only in (None, "training"):
        compare_training(10)
    if arguments.only in (None, "steps"):
        compare_steps(arguments.rounds)


if __name__ == "__main__":
    main()
