"""Random nets beside JAX and optax: python tests/compare_jax.py --graphs 300.

In float64, the gradient of each net is compared with `jax.grad` of the same function, and its weights after each of 50 steps of
SGD and of Adam with those of optax.  The test suite compares a few nets where JAX is installed.
"""

import argparse
import os
import sys
import time

import numpy as np
from random_graphs import OWN_ACTIVATIONS, random_graph

import bpkernel as bp

os.environ.setdefault("JAX_PLATFORMS", "cpu")
import jax
import jax.numpy as jnp
import optax

jax.config.update("jax_enable_x64", True)

GRADIENT, TRAJECTORY, N_STEPS = 1e-11, 1e-9, 50

ACTIVATIONS = {
    "identity": lambda a: a,
    "logistic": jax.nn.sigmoid,
    "tanh": jnp.tanh,
    "relu": jax.nn.relu,
    "leaky_relu": jax.nn.leaky_relu,
    "elu": jax.nn.elu,
    "selu": jax.nn.selu,
    "softplus": jax.nn.softplus,
    "silu": jax.nn.silu,
    "gelu": lambda a: jax.nn.gelu(a, approximate=False),
    "hard_sigmoid": jax.nn.hard_sigmoid,
    "hard_tanh": jax.nn.hard_tanh,
    "hard_silu": jax.nn.hard_silu,
    "softmax": jax.nn.softmax,
    "exp": jnp.exp,
    "mean_variance": lambda a: jnp.concatenate([jnp.split(a, 2, axis=1)[0], jnp.exp(jnp.split(a, 2, axis=1)[1])], axis=1),
    "bent": lambda a: a + (jnp.sqrt(a * a + 1) - 1) / 2,
    "sine": jnp.sin,
    "gauss": lambda a: jnp.exp(-a * a),
}
LOSSES = {  # E^n of the rows
    "squared_error": lambda y, t: 0.5 * (y - t) ** 2,
    "cross_entropy": lambda y, t: -t * jnp.log(y),
    "binary_cross_entropy": lambda y, t: -t * jnp.log(y) - (1 - t) * jnp.log(1 - y),
    "poisson": lambda y, t: y - t * jnp.log(y),
    "absolute_error": lambda y, t: abs(y - t),
    "huber": lambda y, t: optax.huber_loss(y, t),
    "log_cosh": lambda y, t: jnp.log(jnp.cosh(y - t)),
    "hinge": lambda y, t: jnp.maximum(0, 1 - t * y),
    "gamma": lambda y, t: jnp.log(y) + t / y,
    "tweedie": lambda y, t: 2 * t / jnp.sqrt(y) + 2 * jnp.sqrt(y),
    "focal": lambda y, t: -t * (1 - y) ** 2 * jnp.log(y),
    "binary_focal": lambda y, t: -t * (1 - y) ** 2 * jnp.log(y) - (1 - t) * y**2 * jnp.log(1 - y),
    "quantile": lambda y, t: 0.5 * abs(t - y),
    "gaussian_nll": lambda y, t: 0.5 * (jnp.log(y[:, t.shape[1] :]) + (t - y[:, : t.shape[1]]) ** 2 / y[:, t.shape[1] :]),
    "cauchy": lambda y, t: jnp.log1p((y - t) ** 2),
    "quartic": lambda y, t: 0.25 * (y - t) ** 4,
}
OPTIMIZERS = {  # with so small an epsilon the two forms of Adam are the same
    "SGD": (lambda: bp.SGD(1e-3, 0.9), lambda: optax.sgd(1e-3, 0.9)),
    "Nesterov": (lambda: bp.SGD(1e-3, 0.9, True), lambda: optax.sgd(1e-3, 0.9, nesterov=True)),
    "Adam": (lambda: bp.Adam(1e-3, epsilon=1e-60), lambda: optax.adam(1e-3, eps=1e-60)),
}


def sums_of(graph, params, X):
    """What the activation of each layer is applied to, for params (weights, biases, gains, shifts)."""
    (weights, biases, *norms), found, z = params, [], [X]
    norms = dict(zip(np.flatnonzero(graph.layer_norm) + 1, zip(*norms, strict=True), strict=True))
    for target, b in enumerate(biases, start=1):
        a = b
        for pair, w in zip(graph.pairs, weights, strict=True):
            if pair[1] == target:
                a = a + z[pair[0]] @ (w * graph.masks[pair] if pair in graph.masks else w)
        if target in norms:
            gain, shift = norms[target]
            a = jax.nn.standardize(a, axis=1, epsilon=1e-5) * gain + shift
        found.append(a)
        z.append(ACTIVATIONS[graph.g[target - 1]](a))
    return found


def objective(graph, X, T, s):
    """The batch's mean error as a function of the params."""

    def error(params):
        y = ACTIVATIONS[graph.g[-1]](sums_of(graph, params, X)[-1])
        return (s * LOSSES[graph.loss](y, T).sum(axis=1)).sum() / s.sum()

    return error


def params_of(net):
    """Copies of weights, biases, gains and shifts."""
    return [[jnp.array(array) for array in own] for own in (net.weights, net.biases, net.gains, net.shifts)]


def distance(found, expected):
    """The largest difference, relative to the largest number."""
    pairs = [
        (np.asarray(f), np.asarray(e)) for fs, es in zip(found, expected, strict=True) for f, e in zip(fs, es, strict=True)
    ]
    size = max(abs(e).max() for _, e in pairs)
    return max(abs(f - e).max() for f, e in pairs) / max(size, 1e-300), size


def compare(seed):
    """The distance of the gradient, and of the weights after training with each optimizer, of a random net in float64."""
    graph = random_graph(seed)._replace(dtype="float64")
    X, T, s = graph.data()
    net = graph.net()
    slope = jax.jit(jax.grad(objective(graph, X, T, s)))
    start = params_of(net)
    r = net.backprop(X, T)
    unweighted = jax.grad(objective(graph, X, T, np.ones(len(X))))(start)
    means = [[array / len(X) for array in own] for own in (r.dw, r.db, r.dgains, r.dshifts)]
    found = {"gradient": distance(means, unweighted)[0]}
    for name, (make, make_optax) in OPTIMIZERS.items():
        net, optimizer, params = graph.net(), make_optax(), start
        state = optimizer.init(params)
        update = jax.jit(optimizer.update)
        mine = make()
        found[name] = 0.0
        for _ in range(N_STEPS):
            try:
                net.fit(X, T, 1, len(X), mine, shuffle=False, sample_weight=s)
            except FloatingPointError:  # optax must diverge too, within the next steps
                for _ in range(3):
                    updates, state = update(slope(params), state, params)
                    params = optax.apply_updates(params, updates)
                found[name] = 0.0 if not all(np.isfinite(p).all() for ps in params for p in ps) else np.inf
                break
            updates, state = update(slope(params), state, params)
            params = optax.apply_updates(params, updates)
            found[name] = max(found[name], distance(params_of(net), params)[0])
    return graph, found


def run(compare, bound, n_graphs, description):
    """Compare random nets, as many as an option says; exits with 1 if a distance is out of bounds.

    `compare(seed)` returns a graph and its distances by name, or None to leave it out; `bound(name)` is that of a distance.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--graphs", type=int, default=n_graphs)
    parser.add_argument("--first", type=int, default=0, help="seed of the first one")
    arguments = parser.parse_args()
    start, worst, wrong, n, seed = time.time(), {}, 0, 0, arguments.first
    while n < arguments.graphs:
        compared = compare(seed)
        seed += 1
        if compared is None:
            continue
        graph, found = compared
        n += 1
        for name, value in found.items():
            worst[name] = max(worst.get(name, 0.0), value)
            if not value <= bound(name):
                wrong += 1
                print(f"seed {seed - 1}: {name} {value:.2g}, {graph.sizes} {graph.g} {graph.loss}", flush=True)
        if n % 25 == 0:
            print(f"{n}: {time.time() - start:.0f} s, worst {max(worst.values()):.2g}", flush=True)
    print(f"{n} nets, {wrong} comparisons out of bounds, worst: { {name: f'{value:.2g}' for name, value in worst.items()} }")
    sys.exit(wrong > 0)


def main():
    run(compare, lambda name: GRADIENT if name == "gradient" else TRAJECTORY, 300, __doc__)


assert set(OWN_ACTIVATIONS) < set(ACTIVATIONS)

if __name__ == "__main__":
    main()
