"""Back-propagation in NumPy and float64, with factors for the units: the oracle for dropout and for regularised steps.

Layers may be normalised.
"""

import copy
import math

import numpy as np
from scipy.special import erf


def cdf(a):
    return 0.5 * (1 + erf(a / math.sqrt(2)))


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


ACTIVATIONS = {  # g, g'
    "identity": (lambda a: a, np.ones_like),
    "tanh": (np.tanh, lambda a: 1 - np.tanh(a) ** 2),
    "relu": (lambda a: np.maximum(a, 0), lambda a: (a > 0) * 1.0),
    "logistic": (sigmoid, lambda a: sigmoid(a) * (1 - sigmoid(a))),
    "silu": (lambda a: a * sigmoid(a), lambda a: sigmoid(a) * (1 + a * (1 - sigmoid(a)))),
    "gelu": (lambda a: a * cdf(a), lambda a: cdf(a) + a * np.exp(-a * a / 2) / math.sqrt(2 * math.pi)),
}


def normalised(a):
    """n and √(v + ε)."""
    spread = np.sqrt(a.var(1, keepdims=True) + 1e-5)
    return (a - a.mean(1, keepdims=True)) / spread, spread


class NumpyNet:
    """A net with squared error and identity as its output.

    Attributes
    ----------
    weights, biases : list of ndarray
        As those of `MLP`, of float64.
    gains, shifts : list of ndarray
        Those of `MLP`, of the layers `normalised`.
    present : list of ndarray of bool
        Where there are weights.
    """

    def __init__(self, net):
        assert (net.loss_name, net.output_activation) == ("squared_error", "identity")
        self.pairs, self.n_layers = net.connections, len(net.layer_sizes)
        self.activations = [*net.activation, net.output_activation]
        self.weights = [w.astype(np.float64) for w in net.weights]
        self.biases = [b.astype(np.float64) for b in net.biases]
        self.gains, self.shifts = ([g.astype(np.float64) for g in own] for own in (net.gains, net.shifts))
        self.normalised = [layer for layer, own in enumerate(net.layer_norm, start=1) if own]
        masks = net.masks
        self.present = [masks.get(pair, np.ones(w.shape, bool)) for pair, w in zip(self.pairs, self.weights, strict=True)]

    @property
    def numbers(self):
        """All weights, then all biases, gains and shifts."""
        return [*self.weights, *self.biases, *self.gains, *self.shifts]

    def moved(self, direction, size):
        """A copy at another place, w + size * direction."""
        other = copy.deepcopy(self)
        for number, d in zip(other.numbers, direction, strict=True):
            number += size * d
        return other

    def forward(self, X, factors=None, noise=0.0):
        """a and z of every layer; factors: None, or of each layer but the outputs what z is multiplied by."""
        z, a = [X + noise], [None]
        for target in range(1, self.n_layers):
            z[-1] = z[-1] * (1.0 if factors is None else factors[target - 1])
            total = self.biases[target - 1] + np.zeros((len(X), 1))
            for (source, end), w in zip(self.pairs, self.weights, strict=True):
                if end == target:
                    total = total + z[source] @ w
            a.append(total)
            z.append(ACTIVATIONS[self.activations[target - 1]][0](self.scaled(target, total)))
        return a, z

    def scaled(self, layer, a):
        """What the activation is applied to."""
        if layer not in self.normalised:
            return a
        own = self.normalised.index(layer)
        return normalised(a)[0] * self.gains[own] + self.shifts[own]

    def error(self, X, T, s=None, factors=None, noise=0.0):
        """Σ_n s_n E^n / Σ_n s_n."""
        s = np.ones(len(X)) if s is None else s
        y = self.forward(X, factors, noise)[1][-1]
        return float((s * 0.5 * ((y - T) ** 2).sum(1)).sum() / s.sum())

    def gradient(self, X, T, s=None, factors=None, noise=0.0):
        """The derivatives of `error`, in the order of `numbers`."""
        s = np.ones(len(X)) if s is None else s
        a, z = self.forward(X, factors, noise)
        delta, dgains, dshifts = [None] * self.n_layers, [], []
        delta[-1] = (z[-1] - T) * (s / s.sum())[:, np.newaxis]
        for layer in range(self.n_layers - 2, 0, -1):
            d = 0
            for (source, target), w in zip(self.pairs, self.weights, strict=True):
                if source == layer:
                    d = d + delta[target] @ w.T
            d = d * (1.0 if factors is None else factors[layer])
            delta[layer] = d * ACTIVATIONS[self.activations[layer - 1]][1](self.scaled(layer, a[layer]))
            if layer in self.normalised:
                n, spread = normalised(a[layer])
                dgains.insert(0, (delta[layer] * n).sum(0))
                dshifts.insert(0, delta[layer].sum(0))
                c = delta[layer] * self.gains[self.normalised.index(layer)]
                delta[layer] = (c - c.mean(1, keepdims=True) - n * (c * n).mean(1, keepdims=True)) / spread
        dw = [z[source].T @ delta[target] for source, target in self.pairs]
        of_weights = [d * p for d, p in zip(dw, self.present, strict=True)]
        return [*of_weights, *(d.sum(0) for d in delta[1:]), *dgains, *dshifts]
