"""Nets with skip connections, and functions of users, compared with chains, built-in functions and JAX.

    python -m asv_benchmarks.shapes            # about two minutes; --rounds 20 for narrower quartiles

Prints medians (quartiles) of the ratios of times in rounds in which all are timed in turn.
"""

import argparse
import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numba
import numpy as np

import bpkernel as bp
from bpkernel.cli.bench import machine, peak, spread, take_turns
from bpkernel.cli.peers import LEARNING_RATE, Jax, Workload, installed

DENSE = Workload((784, 256, 256, 256, 10), 128, "float32", "classes")
SMALL = Workload((64, 100, 10), 200, "float32", "classes")
REGRESSION = Workload((30, 64, 64, 1), 128, "float32", "numbers")
THREADS = numba.get_num_threads()


class Net:
    """A net of bpkernel that is trained on the data of a workload."""

    def __init__(self, workload: Workload, activation: Any = "relu", loss: Any = None, connections: Any = None):
        classes = workload.kind == "classes"
        loss = loss or ("cross_entropy" if classes else "squared_error")
        output = "softmax" if classes else "identity"
        own = {"dtype": workload.dtype, "random_state": 0, "connections": connections}
        self.net = bp.MLP(workload.sizes, activation, output, loss, **own)
        self.flops = self.net._network.layout.flops
        self.batch, (self.X, self.T) = workload.batch, workload.data()
        self.optimizer = bp.Adam(LEARNING_RATE)

    def train(self, epochs: int) -> None:
        self.net.fit(self.X, self.T, epochs=epochs, batch_size=self.batch, optimizer=self.optimizer)


class DenseJax(Jax):
    """JAX's scan of a net in which each layer leads to all later ones, as layers side by side or as products that are added."""

    def __init__(self, workload: Workload, n_threads: int, *, side_by_side: bool):
        super().__init__(workload, n_threads)
        import jax
        import jax.numpy as jnp

        X, T = (jnp.asarray(array) for array in workload.data())
        sizes, real = workload.sizes, np.dtype(workload.dtype).type
        fans = [(sum(sizes[:target]), sizes[target]) for target in range(1, len(sizes))]
        params = [
            (jnp.asarray(self.rng.uniform(-1, 1, fan) * np.sqrt(6 / sum(fan)), real), jnp.zeros(fan[1], real)) for fan in fans
        ]
        starts = [0, *np.cumsum(sizes[:-1]).tolist()]

        def error(params: Any, rows: Any) -> Any:
            z = [X[rows]]
            for w, b in params:
                if side_by_side:
                    a = jnp.concatenate(z, axis=1) @ w + b
                else:
                    a = b + sum(z_s @ w[first:last] for z_s, (first, last) in zip(z, pairwise(starts), strict=False))
                z.append(jax.nn.relu(a))
            return -jnp.take_along_axis(jax.nn.log_softmax(a), T[rows][:, None], axis=1).mean()

        self.start(params, error)


def own_softplus() -> bp.Activation:
    """softplus as a user would write it."""
    return bp.Activation(lambda a: max(a, 0.0) + math.log1p(math.exp(-abs(a))), lambda a, z: 1 - math.exp(-z), "my_softplus")


def own_huber() -> bp.Loss:
    """The Huber loss as a user would write it."""
    return bp.Loss(
        lambda y, t: 0.5 * (y - t) ** 2 if abs(y - t) <= 1 else abs(y - t) - 0.5,
        lambda y, t: min(max(y - t, -1), 1),
        "my_huber",
    )


def ratios(calls: dict[str, Callable[[int], None]], dtype: str, rounds: int) -> Any:
    """Seconds of all rounds by name, and the peak."""
    return take_turns(calls, rounds, 0.3, peak(dtype, THREADS))


def skip_connections(rounds: int) -> None:
    """A DenseNet beside the chain of the same layers, and beside JAX."""
    nets = {"all": Net(DENSE, connections="all"), "chain": Net(DENSE)}
    calls = {name: net.train for name, net in nets.items()}
    if "JAX" in installed():
        for name, side_by_side in (("JAX, side by side", True), ("JAX, added", False)):
            calls[name] = DenseJax(DENSE, THREADS, side_by_side=side_by_side).train
    timing = ratios(calls, DENSE.dtype, rounds)
    shares = {name: net.flops * len(net.X) / timing.seconds[name] / timing.peak for name, net in nets.items()}
    of_all, of_chain = (spread(100 * shares[name]) for name in nets)
    print(f"{DENSE.name}: share of peak of connections='all' {of_all} %, of the chain {of_chain} %")
    print(f"  share of 'all' relative to the chain {spread(shares['all'] / shares['chain'], 2)}")
    for name in calls:
        if name.startswith("JAX"):
            print(f"  time of {name} relative to bpkernel {spread(timing.seconds[name] / timing.seconds['all'], 2)}")


def functions(rounds: int) -> None:
    """Functions of users beside built-in ones, and GELU beside relu."""
    for workload, first, second in (
        (SMALL, ("softplus", None), (own_softplus(), None)),
        (REGRESSION, ("softplus", "huber"), (own_softplus(), own_huber())),
        (SMALL, ("relu", None), ("gelu", None)),
        (SMALL, ("relu", None), ("silu", None)),
        (SMALL, ("relu", None), ("elu", None)),
        (SMALL, ("relu", None), ("tanh", None)),
    ):
        calls = {str(own): Net(workload, *own).train for own in (first, second)}
        timing = ratios(calls, workload.dtype, rounds)
        names = [" ".join(str(f) for f in own if f) for own in (second, first)]
        times = spread(timing.seconds[str(second)] / timing.seconds[str(first)], 3)
        print(f"{workload.name.rsplit(',', 1)[0]}: time of {names[0]} relative to {names[1]} {times}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    print(", ".join(f"{name} {value}" for name, value in machine().items()))
    skip_connections(rounds)
    functions(rounds)


if __name__ == "__main__":
    main()
