"""Training with all that regularises: python -m asv_benchmarks.regularised [--rounds 20] [--parts].

Epochs of 64-100-10 (batches of 200) and of 784-512-512-10 (batches of 256), float32, two threads, one process: plain Adam, and
AdamW with dropout 0.2 of the hidden layers, a cosine schedule and the gradient clipped by its norm; beside JAX's jitted scan of
the same, whose masks come from its own generator.  All run in turn, with pauses, each until its threads are awake; shown are
the median (quartiles) of the rounds' ratios.  `--parts` measures each of the four by itself.
"""

import argparse
import itertools
import os
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import numpy as np

import bpkernel as bp

NETS = {(64, 100, 10): (200, 20_000), (784, 512, 512, 10): (256, 10_240)}  # batch size, samples
RATE, DECAY, RATE_OF_DROPOUT, CLIP, PAUSE, WARM = 1e-3, 0.01, 0.2, 1.0, 0.05, 0.3


def problem(sizes: tuple[int, ...], n: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, sizes[0])).astype(np.float32)
    return X, rng.integers(0, sizes[-1], n).astype(np.float32)


def of_bpkernel(sizes: tuple[int, ...], X: np.ndarray, T: np.ndarray, batch_size: int, *names: str) -> Callable[[], Any]:
    """An epoch of training with some of AdamW, dropout, cosine and clip."""
    dropout = RATE_OF_DROPOUT if "dropout" in names else 0.0
    net = bp.MLP(sizes, "relu", "softmax", "cross_entropy", random_state=0, dropout=dropout)
    rate = bp.schedules.Cosine(RATE, n_steps=10**6) if "cosine" in names else RATE
    optimizer = bp.AdamW(rate, weight_decay=DECAY) if "AdamW" in names else bp.Adam(rate)
    clip = CLIP if "clip" in names else None
    return lambda: net.fit(X, T, epochs=1, batch_size=batch_size, optimizer=optimizer, clip_norm=clip)


def of_jax(sizes: tuple[int, ...], X: np.ndarray, T: np.ndarray, batch_size: int) -> Callable[[], Any]:
    """An epoch of JAX: a scan over the mini-batches, with AdamW, dropout, a cosine schedule and clipping."""
    import jax
    import jax.numpy as jnp
    import optax

    rng = np.random.default_rng(0)
    params = []
    for n_in, n_out in itertools.pairwise(sizes):
        bound = (6 / n_in) ** 0.5
        params.append((jnp.array(rng.uniform(-bound, bound, (n_in, n_out)), jnp.float32), jnp.zeros(n_out, jnp.float32)))
    schedule = optax.cosine_decay_schedule(RATE, 10**6)
    optimizer = optax.chain(optax.clip_by_global_norm(CLIP), optax.adamw(schedule, weight_decay=DECAY))

    def error(params: Any, x: Any, t: Any, key: Any) -> Any:
        for w, b in params[:-1]:
            key, own = jax.random.split(key)
            x = jax.nn.relu(x @ w + b)
            x = jnp.where(jax.random.bernoulli(own, 1 - RATE_OF_DROPOUT, x.shape), x / (1 - RATE_OF_DROPOUT), 0)
        y = x @ params[-1][0] + params[-1][1]
        return -jnp.take_along_axis(jax.nn.log_softmax(y), t[:, None], axis=1).mean()

    X_all, T_all = jnp.array(X), jnp.array(T, jnp.int32)

    def step(state: Any, rows: Any) -> Any:
        params, own, key = state
        key, mask = jax.random.split(key)
        e, g = jax.value_and_grad(error)(params, X_all[rows], T_all[rows], mask)
        change, own = optimizer.update(g, own, params)
        return (optax.apply_updates(params, change), own, key), e

    epoch = jax.jit(lambda state, rows: jax.lax.scan(step, state, rows))
    state = [(params, optimizer.init(params), jax.random.key(0))]
    orders = np.random.default_rng(0)

    def run() -> None:
        rows = orders.permutation(len(X))[: len(X) // batch_size * batch_size].reshape(-1, batch_size)
        state[0], e = epoch(state[0], jnp.array(rows))
        jax.block_until_ready(e)

    return run


def seconds(function: Callable[[], Any]) -> float:
    """The time of one call, after calls that wake the threads."""
    end = time.perf_counter() + WARM
    while time.perf_counter() < end:
        function()
    start = time.perf_counter()
    function()
    function()
    return (time.perf_counter() - start) / 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--parts", action="store_true", help="measure each part by itself, and no JAX")
    options = parser.parse_args()
    everything = "AdamW", "dropout", "cosine", "clip"
    for sizes, (batch_size, n) in NETS.items():
        X, T = problem(sizes, n)
        own = {"plain": of_bpkernel(sizes, X, T, batch_size), "all": of_bpkernel(sizes, X, T, batch_size, *everything)}
        if options.parts:
            own |= {name: of_bpkernel(sizes, X, T, batch_size, name) for name in everything}
        else:
            own["JAX"] = of_jax(sizes, X, T, batch_size)
        for function in own.values():
            function()
        times: dict[str, list[float]] = {name: [] for name in own}
        for _ in range(options.rounds):
            for name, function in own.items():
                times[name].append(seconds(function))
                time.sleep(PAUSE)
        plain = np.array(times["plain"])
        print("-".join(map(str, sizes)), f"plain Adam {np.median(plain) * 1e3:.2f} ms an epoch")
        for name, found in times.items():
            if name != "plain":
                base = np.array(times["all"]) if name == "JAX" else plain
                low, middle, high = np.quantile(np.array(found) / base, (0.25, 0.5, 0.75))
                print(f"  {name} / {'all' if name == 'JAX' else 'plain'}: {middle:.2f} ({low:.2f}-{high:.2f})")


if __name__ == "__main__":
    main()
