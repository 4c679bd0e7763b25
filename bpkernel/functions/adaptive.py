"""Optimizers that scale the step of every weight by the size of its gradients so far."""

import math
from dataclasses import dataclass
from typing import Any

from bpkernel.codegen.views import row_of
from bpkernel.functions import learning_rates
from bpkernel.functions.learning_rates import Rate
from bpkernel.functions.optimizer import Optimizer
from bpkernel.functions.settings import below_1, flag, not_negative, positive


@dataclass
class RMSprop(Optimizer):
    """Steps divided by a running root mean square of the gradient (Hinton 2012, lecture 6e).

    v ← ρ v + (1 - ρ) g²;  w ← (1 - η λ) w - η g / (√v + ε), with momentum as below.

    Parameters
    ----------
    learning_rate : float, schedule of bp.schedules, or function of the step, default=0.01
        η > 0.
    rho : float, default=0.99
        0 ≤ ρ < 1.
    epsilon : float, default=1e-8
        ε > 0.
    momentum : float, default=0.0
        0 ≤ μ < 1: b ← μ b + g / (√v + ε), w ← w - η b.
    centered : bool, default=False
        Whether to subtract the square of a running mean of the gradient from v (Graves 2013).
    weight_decay : float, default=0.0
        λ ≥ 0, of all weights and biases.

    Raises
    ------
    ValueError, TypeError
        If a setting is out of its range or not a number.

    Examples
    --------
    >>> import bpkernel as bp
    >>> bp.RMSprop(0.001, momentum=0.9).rho
    0.99
    """

    n_slots = 3  # v, b, the running mean
    n_factors = 7

    learning_rate: Rate = 0.01
    rho: float = 0.99
    epsilon: float = 1e-8
    momentum: float = 0.0
    centered: bool = False
    weight_decay: float = 0.0

    def _check(self) -> None:
        learning_rates.check(self.learning_rate)
        below_1("rho", self.rho)
        positive("epsilon", self.epsilon)
        below_1("momentum", self.momentum)
        flag("centered", self.centered)
        not_negative("weight_decay", self.weight_decay)

    @staticmethod
    def factors(h: Any, t: int, kept: Any, c: Any) -> None:
        c[0] = h[0]
        c[1] = h[1]
        c[2] = 1.0 - h[1]
        c[3] = h[2]
        c[4] = h[3]
        c[5] = h[4]
        c[6] = 1.0 - h[0] * h[5]

    @staticmethod
    def update(w: Any, g: Any, state: Any, c: Any) -> None:
        v, b, mean = row_of(state, 0, 0, w.size), row_of(state, 1, 0, w.size), row_of(state, 2, 0, w.size)
        eta, rho, rest = w.dtype.type(c[0]), w.dtype.type(c[1]), w.dtype.type(c[2])
        epsilon, mu, keep, zero = w.dtype.type(c[3]), w.dtype.type(c[4]), w.dtype.type(c[6]), w.dtype.type(0)
        if c[5] != 0:
            for j in range(w.size):
                v[j] = rho * v[j] + rest * g[j] * g[j]
                mean[j] = rho * mean[j] + rest * g[j]
                variance = v[j] - mean[j] * mean[j]
                g[j] /= math.sqrt(variance if variance > zero else zero) + epsilon
        else:
            for j in range(w.size):
                v[j] = rho * v[j] + rest * g[j] * g[j]
                g[j] /= math.sqrt(v[j]) + epsilon
        if mu != 0:
            for j in range(w.size):
                b[j] = mu * b[j] + g[j]
                w[j] = keep * w[j] - eta * b[j]
        else:
            for j in range(w.size):
                w[j] = keep * w[j] - eta * g[j]


@dataclass
class Adagrad(Optimizer):
    """Steps divided by the root of the sum of all squared gradients (Duchi et al. 2011).

    v ← v + g²;  w ← (1 - η λ) w - η_t g / (√v + ε), with η_t = η / (1 + (t - 1) · rate_decay).

    Parameters
    ----------
    learning_rate : float, schedule of bp.schedules, or function of the step, default=0.01
        η > 0.
    rate_decay : float, default=0.0
        ≥ 0.
    initial : float, default=0.0
        v before the first step, ≥ 0.
    epsilon : float, default=1e-10
        ε > 0.
    weight_decay : float, default=0.0
        λ ≥ 0, of all weights and biases; its η is η_t.

    Raises
    ------
    ValueError, TypeError
        If a setting is out of its range or not a number.

    Examples
    --------
    >>> import bpkernel as bp
    >>> bp.Adagrad(0.1).epsilon
    1e-10
    """

    n_slots = 1  # v
    n_factors = 4

    learning_rate: Rate = 0.01
    rate_decay: float = 0.0
    initial: float = 0.0
    epsilon: float = 1e-10
    weight_decay: float = 0.0

    def _check(self) -> None:
        learning_rates.check(self.learning_rate)
        not_negative("rate_decay", self.rate_decay)
        not_negative("initial", self.initial)
        positive("epsilon", self.epsilon)
        not_negative("weight_decay", self.weight_decay)

    @staticmethod
    def factors(h: Any, t: int, kept: Any, c: Any) -> None:
        c[0] = h[0] / (1.0 + (t - 1) * h[1])
        c[1] = h[2] if t == 1 else 0.0
        c[2] = h[3]
        c[3] = 1.0 - c[0] * h[4]

    @staticmethod
    def update(w: Any, g: Any, state: Any, c: Any) -> None:
        v = row_of(state, 0, 0, w.size)
        eta, initial, epsilon, keep = w.dtype.type(c[0]), w.dtype.type(c[1]), w.dtype.type(c[2]), w.dtype.type(c[3])
        for j in range(w.size):
            v[j] += initial + g[j] * g[j]
            w[j] = keep * w[j] - eta * g[j] / (math.sqrt(v[j]) + epsilon)
