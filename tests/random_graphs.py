"""Random nets: any connections, masks, normalised layers, functions built in and of users, both dtypes."""

import math
from typing import Any, NamedTuple

import numpy as np

import bpkernel as bp
from bpkernel.error_bounds import RANDOM_TARGETS
from bpkernel.functions.activations import HIDDEN
from bpkernel.functions.losses import BY_NAME

SIZES = [1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 31, 33]  # around a vector of either dtype
OWN_ACTIVATIONS = {  # g, g', g''
    "bent": (
        lambda a: a + (math.sqrt(a * a + 1) - 1) / 2,
        lambda a, z: a / (2 * math.sqrt(a * a + 1)) + 1,
        lambda a, z: 0.5 * (a * a + 1) ** -1.5,
    ),
    "sine": (lambda a: math.sin(a), lambda a, z: math.cos(a), lambda a, z: -z),
    "gauss": (lambda a: math.exp(-a * a), lambda a, z: -2 * a * z, lambda a, z: (4 * a * a - 2) * z),
}
OWN_LOSSES = {  # E, ∂E/∂y, ∂²E/∂y²
    "cauchy": (
        lambda y, t: math.log1p((y - t) ** 2),
        lambda y, t: 2 * (y - t) / (1 + (y - t) ** 2),
        lambda y, t: 2 * (1 - (y - t) ** 2) / (1 + (y - t) ** 2) ** 2,
    ),
    "quartic": (lambda y, t: 0.25 * (y - t) ** 4, lambda y, t: (y - t) ** 3, lambda y, t: 3 * (y - t) ** 2),
}
OUTPUTS = {  # of a loss, in random nets
    "squared_error": ("identity", "tanh", "softplus"),
    "cross_entropy": ("softmax", "logistic"),
    "binary_cross_entropy": ("logistic",),
    "poisson": ("exp", "softplus"),
    "absolute_error": ("identity",),
    "huber": ("identity", "gelu"),
    "log_cosh": ("identity", "silu"),
    "hinge": ("identity", "tanh"),
    "gamma": ("exp", "softplus"),
    "tweedie": ("exp",),
    "focal": ("softmax",),
    "binary_focal": ("logistic",),
    "quantile": ("identity", "elu"),
    "gaussian_nll": ("mean_variance",),
    "cauchy": ("identity", "bent"),
    "quartic": ("tanh",),
}
_made: dict[str, Any] = {}


def own(name):
    """A user's activation or loss, made when first asked for."""
    if name not in _made:
        if name in OWN_ACTIVATIONS:
            g, g_prime, g_second = OWN_ACTIVATIONS[name]
            _made[name] = bp.Activation(g, g_prime, name, g_second=g_second)
        else:
            error, slope, curvature = OWN_LOSSES[name]
            _made[name] = bp.Loss(error, slope, name, curvature=curvature)
    return _made[name]


def of_net(name):
    """A function as `MLP` takes it."""
    return own(name) if name in OWN_ACTIVATIONS or name in OWN_LOSSES else name


class RandomGraph(NamedTuple):
    """A random net and its samples; `g` are the names of the activations of all layers but the inputs."""

    sizes: tuple[int, ...]
    pairs: tuple[tuple[int, int], ...]
    masks: dict[tuple[int, int], np.ndarray]
    g: tuple[str, ...]
    loss: str
    dtype: str
    seed: int
    layer_norm: tuple[bool, ...]

    def net(self):
        hidden, output = [of_net(name) for name in self.g[:-1]], of_net(self.g[-1])
        own = {"connections": self.pairs, "masks": self.masks, "random_state": self.seed, "layer_norm": self.layer_norm}
        net = bp.MLP(self.sizes, hidden, output, of_net(self.loss), self.dtype, **own)
        rng = np.random.default_rng(self.seed)
        for b in net.biases:
            b[:] = rng.uniform(-0.3, 0.6, b.shape)
        for gains, shifts in zip(net.gains, net.shifts, strict=True):
            gains[:], shifts[:] = rng.uniform(0.5, 1.5, gains.shape), rng.uniform(-0.3, 0.6, shifts.shape)
        return net

    def data(self, n_samples=11):
        """X, T and weights of the samples."""
        rng = np.random.default_rng([self.seed, n_samples])
        loss = of_net(self.loss) if self.loss in OWN_LOSSES else BY_NAME[self.loss]
        X = rng.standard_normal((n_samples, self.sizes[0]))
        T = RANDOM_TARGETS[loss.targets](rng, (n_samples, loss.n_targets(self.sizes[-1])))
        return X.astype(self.dtype), T.astype(self.dtype), rng.uniform(0.5, 2, n_samples)


def random_graph(seed):
    """The net of a seed: 2 to 8 layers, pairs such that every layer is used, on half of the nets masks.

    Two seeds of five have normalised layers.
    """
    rng = np.random.default_rng(seed)
    n_layers = int(rng.integers(2, 9))
    loss = str(rng.choice(list(OUTPUTS)))
    output = str(rng.choice(OUTPUTS[loss]))
    sizes = [int(size) for size in rng.choice(SIZES, n_layers)]
    if output == "softmax":
        sizes[-1] = max(sizes[-1], 2)  # a single output is always 1
    if output == "mean_variance":
        sizes[-1] += sizes[-1] % 2
    pairs = {(int(rng.integers(target)), target) for target in range(1, n_layers)}
    used = {source for source, _ in pairs}
    pairs |= {(source, int(rng.integers(source + 1, n_layers))) for source in range(n_layers - 1) if source not in used}
    every = [(source, target) for target in range(1, n_layers) for source in range(target)]
    pairs |= {pair for pair in every if rng.random() < 0.25}
    found = tuple(sorted(pairs, key=lambda pair: pair[::-1]))
    masks = {}
    if rng.random() < 0.5:
        for source, target in found:
            if rng.random() < 0.6:
                masks[source, target] = rng.random((sizes[source], sizes[target])) < rng.choice([0.2, 0.5, 0.9])
    hidden = [str(name) for name in rng.choice([*HIDDEN, *OWN_ACTIVATIONS], n_layers - 2)]
    dtype = str(rng.choice(["float32", "float64"]))
    layer_norm = tuple(seed % 5 < 2 and size > 2 and bool(rng.random() < 0.7) for size in sizes[1:-1])
    return RandomGraph(tuple(sizes), found, masks, (*hidden, output), loss, dtype, seed, layer_norm)
