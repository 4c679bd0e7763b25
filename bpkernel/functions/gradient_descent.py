"""Gradient descent with momentum, and along the signs of a momentum."""

from dataclasses import dataclass
from typing import Any

from bpkernel.codegen.views import row_of
from bpkernel.functions import learning_rates
from bpkernel.functions.learning_rates import Rate
from bpkernel.functions.optimizer import Optimizer
from bpkernel.functions.settings import below_1, flag, not_negative


@dataclass
class SGD(Optimizer):
    """Stochastic gradient descent: v ← μ v - η g, w ← w + v; with Nesterov's momentum w ← w + μ v - η g.

    Parameters
    ----------
    learning_rate : float, schedule of bp.schedules, or function of the step, default=0.01
        η > 0.
    momentum : float, default=0.0
        0 ≤ μ < 1.
    nesterov : bool, default=False
        Whether to look ahead along the velocity (Nesterov 1983; in this form Sutskever et al. 2013).
    dampening : float, default=0.0
        0 ≤ dampening < 1: after the first step, v ← μ v - (1 - dampening) η g.  Not with `nesterov`.
    weight_decay : float, default=0.0
        λ ≥ 0: each step also subtracts η λ w from all weights and biases (decoupled; Loshchilov and Hutter 2019).

    Raises
    ------
    ValueError, TypeError
        If a setting is out of its range or not a number.

    Notes
    -----
    The velocity contains the learning rate, as in scikit-learn and Keras: a new rate changes the steps gradually.

    Examples
    --------
    >>> import bpkernel as bp
    >>> bp.SGD(learning_rate=0.1, momentum=0.9, nesterov=True)
    SGD(learning_rate=0.1, momentum=0.9, nesterov=True, dampening=0.0, weight_decay=0.0)
    """

    n_slots = 1  # v
    n_factors = 5

    learning_rate: Rate = 0.01
    momentum: float = 0.0
    nesterov: bool = False
    dampening: float = 0.0
    weight_decay: float = 0.0

    def _check(self) -> None:
        learning_rates.check(self.learning_rate)
        below_1("momentum", self.momentum)
        flag("nesterov", self.nesterov)
        below_1("dampening", self.dampening)
        if self.nesterov and self.dampening:
            raise ValueError("nesterov=True goes with dampening=0 only")
        not_negative("weight_decay", self.weight_decay)

    @staticmethod
    def factors(h: Any, t: int, kept: Any, c: Any) -> None:
        c[0] = h[0] * (1.0 - h[3]) if t > 1 else h[0]
        c[1] = h[1]
        c[2] = h[2]
        c[3] = 1.0 - h[0] * h[4]
        c[4] = h[4]

    @staticmethod
    def update(w: Any, g: Any, state: Any, c: Any) -> None:
        v = row_of(state, 0, 0, w.size)
        eta, mu, nesterov, keep = w.dtype.type(c[0]), w.dtype.type(c[1]), c[2] != 0, w.dtype.type(c[3])
        if c[4] != 0:
            for j in range(w.size):
                w[j] *= keep
        for j in range(w.size):
            v[j] = mu * v[j] - eta * g[j]
            w[j] += mu * v[j] - eta * g[j] if nesterov else v[j]


@dataclass
class Lion(Optimizer):
    """Steps of one size along the sign of a momentum (Chen et al. 2023).

    w ← w - η (sign(β₁ m + (1 - β₁) g) + λ w), then m ← β₂ m + (1 - β₂) g.

    Parameters
    ----------
    learning_rate : float, schedule of bp.schedules, or function of the step, default=0.0001
        η > 0; the authors advise a third to a tenth of that of AdamW.
    beta_1, beta_2 : float, default=0.9, 0.99
        0 ≤ β < 1.
    weight_decay : float, default=0.0
        λ ≥ 0, of all weights and biases.

    Raises
    ------
    ValueError, TypeError
        If a setting is out of its range or not a number.

    Examples
    --------
    >>> import bpkernel as bp
    >>> bp.Lion(weight_decay=0.1)
    Lion(learning_rate=0.0001, beta_1=0.9, beta_2=0.99, weight_decay=0.1)
    """

    n_slots = 1  # m
    n_factors = 6

    learning_rate: Rate = 1e-4
    beta_1: float = 0.9
    beta_2: float = 0.99
    weight_decay: float = 0.0

    def _check(self) -> None:
        learning_rates.check(self.learning_rate)
        below_1("beta_1", self.beta_1)
        below_1("beta_2", self.beta_2)
        not_negative("weight_decay", self.weight_decay)

    @staticmethod
    def factors(h: Any, t: int, kept: Any, c: Any) -> None:
        c[0] = h[0]
        c[1] = h[1]
        c[2] = 1.0 - h[1]
        c[3] = h[2]
        c[4] = 1.0 - h[2]
        c[5] = 1.0 - h[0] * h[3]

    @staticmethod
    def update(w: Any, g: Any, state: Any, c: Any) -> None:
        m, zero = row_of(state, 0, 0, w.size), w.dtype.type(0)
        eta, beta_1, rest_1 = w.dtype.type(c[0]), w.dtype.type(c[1]), w.dtype.type(c[2])
        beta_2, rest_2, keep = w.dtype.type(c[3]), w.dtype.type(c[4]), w.dtype.type(c[5])
        for j in range(w.size):
            direction = beta_1 * m[j] + rest_1 * g[j]
            step = -eta if direction > zero else zero
            step = eta if direction < zero else step
            m[j] = beta_2 * m[j] + rest_2 * g[j]
            w[j] = keep * w[j] + step + zero * direction  # NaN if the gradient is Inf or NaN, to be reported
