"""Adam and its relatives: steps along a running mean of the gradient, scaled by the size of the gradients."""

import math
from dataclasses import dataclass
from typing import Any

from bpkernel.codegen.jit import kernel
from bpkernel.codegen.views import row_of
from bpkernel.functions import learning_rates
from bpkernel.functions.learning_rates import Rate
from bpkernel.functions.optimizer import Optimizer
from bpkernel.functions.settings import below_1, not_negative, positive


@kernel
def power(beta: float, t: int) -> float:
    """β^t to the accuracy of 1 - β^t, which is 1 to the last bit where t (1 - β) > 38, as β^t < e^(-t (1 - β)).

    Powers that underflow took a tenth of a step of 2-8-1.
    """
    return beta**t if t * (1.0 - beta) < 38 else 0.0


def check_moments(rate: Any, beta_1: Any, beta_2: Any, epsilon: Any) -> None:
    """Check the settings that Adam, AdamW and NAdam have in common."""
    learning_rates.check(rate)
    below_1("beta_1", beta_1)
    below_1("beta_2", beta_2)
    positive("epsilon", epsilon)


@dataclass
class Adam(Optimizer):
    """Adam (Kingma and Ba 2015), in the form of the end of their section 2.

    m ← β₁ m + (1 - β₁) g;  v ← β₂ v + (1 - β₂) g²;  w ← w - η √(1 - β₂ᵗ) / (1 - β₁ᵗ) · m / (√v + ε).

    Parameters
    ----------
    learning_rate : float, schedule of bp.schedules, or function of the step, default=0.001
        η > 0.
    beta_1, beta_2 : float, default=0.9, 0.999
        Decay rates of the moments, 0 ≤ β < 1.
    epsilon : float, default=1e-8
        ε > 0.

    Raises
    ------
    ValueError, TypeError
        If a setting is out of its range or not a number.

    Notes
    -----
    scikit-learn has the same form.  In PyTorch ε is added to √(v / (1 - β₂ᵗ)), as in `AdamW`; ``AdamW(weight_decay=0)`` is
    its Adam.

    Examples
    --------
    >>> import bpkernel as bp
    >>> bp.Adam(learning_rate=0.01)
    Adam(learning_rate=0.01, beta_1=0.9, beta_2=0.999, epsilon=1e-08)
    """

    n_slots = 2  # m, v
    n_factors = 6

    learning_rate: Rate = 0.001
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8

    def _check(self) -> None:
        check_moments(*self.values())

    @staticmethod
    def factors(h: Any, t: int, kept: Any, c: Any) -> None:
        c[0] = h[0] * math.sqrt(1.0 - power(h[2], t)) / (1.0 - power(h[1], t))
        c[1] = h[1]
        c[2] = h[2]
        c[3] = h[3]
        c[4] = 1.0 - h[1]  # in float64: in float32 nothing would be left of it where β is close to 1
        c[5] = 1.0 - h[2]

    @staticmethod
    def update(w: Any, g: Any, state: Any, c: Any) -> None:
        m, v = row_of(state, 0, 0, w.size), row_of(state, 1, 0, w.size)
        eta_t, beta_1, beta_2 = w.dtype.type(c[0]), w.dtype.type(c[1]), w.dtype.type(c[2])
        epsilon, rest_1, rest_2 = w.dtype.type(c[3]), w.dtype.type(c[4]), w.dtype.type(c[5])
        for j in range(w.size):
            m[j] = beta_1 * m[j] + rest_1 * g[j]
            v[j] = beta_2 * v[j] + rest_2 * g[j] * g[j]
            w[j] -= eta_t * m[j] / (math.sqrt(v[j]) + epsilon)


@dataclass
class AdamW(Optimizer):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019).

    w ← (1 - η λ) w, then, with m and v as in Adam, w ← w - η / (1 - β₁ᵗ) · m / (√(v / (1 - β₂ᵗ)) + ε).

    Parameters
    ----------
    learning_rate : float, schedule of bp.schedules, or function of the step, default=0.001
        η > 0.
    weight_decay : float, default=0.01
        λ ≥ 0, of all weights and biases, as in PyTorch.
    beta_1, beta_2 : float, default=0.9, 0.999
        Decay rates of the moments, 0 ≤ β < 1.
    epsilon : float, default=1e-8
        ε > 0.

    Raises
    ------
    ValueError, TypeError
        If a setting is out of its range or not a number.

    Examples
    --------
    >>> import bpkernel as bp
    >>> bp.AdamW(0.002, weight_decay=0.1)
    AdamW(learning_rate=0.002, weight_decay=0.1, beta_1=0.9, beta_2=0.999, epsilon=1e-08)
    """

    n_slots = 2  # m, v
    n_factors = 8

    learning_rate: Rate = 0.001
    weight_decay: float = 0.01
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8

    def _check(self) -> None:
        check_moments(self.learning_rate, self.beta_1, self.beta_2, self.epsilon)
        not_negative("weight_decay", self.weight_decay)

    @staticmethod
    def factors(h: Any, t: int, kept: Any, c: Any) -> None:
        c[0] = h[0] / (1.0 - power(h[2], t))
        c[1] = h[2]
        c[2] = h[3]
        c[3] = h[4]
        c[4] = 1.0 - h[2]
        c[5] = 1.0 - h[3]
        c[6] = 1.0 / math.sqrt(1.0 - power(h[3], t))
        c[7] = 1.0 - h[0] * h[1]

    @staticmethod
    def update(w: Any, g: Any, state: Any, c: Any) -> None:
        m, v = row_of(state, 0, 0, w.size), row_of(state, 1, 0, w.size)
        eta_t, beta_1, beta_2 = w.dtype.type(c[0]), w.dtype.type(c[1]), w.dtype.type(c[2])
        epsilon, rest_1, rest_2 = w.dtype.type(c[3]), w.dtype.type(c[4]), w.dtype.type(c[5])
        unbiased, keep = w.dtype.type(c[6]), w.dtype.type(c[7])
        for j in range(w.size):
            m[j] = beta_1 * m[j] + rest_1 * g[j]
            v[j] = beta_2 * v[j] + rest_2 * g[j] * g[j]
            w[j] = keep * w[j] - eta_t * m[j] / (unbiased * math.sqrt(v[j]) + epsilon)


@dataclass
class NAdam(Optimizer):
    """Adam with Nesterov's momentum (Dozat 2016).

    With μ_t = β₁ (1 - ½ 0.96^(t ψ)), m and v as in Adam, and v̂ = v / (1 - β₂ᵗ):
    w ← (1 - η λ) w - η ((1 - μ_t) / (1 - Π_{i≤t} μ_i) g + μ_{t+1} / (1 - Π_{i≤t+1} μ_i) m) / (√v̂ + ε).

    Parameters
    ----------
    learning_rate : float, schedule of bp.schedules, or function of the step, default=0.002
        η > 0.
    beta_1, beta_2 : float, default=0.9, 0.999
        Decay rates of the moments, 0 ≤ β < 1.
    epsilon : float, default=1e-8
        ε > 0.
    momentum_decay : float, default=0.004
        ψ ≥ 0.
    weight_decay : float, default=0.0
        λ ≥ 0, of all weights and biases.

    Raises
    ------
    ValueError, TypeError
        If a setting is out of its range or not a number.

    Examples
    --------
    >>> import bpkernel as bp
    >>> bp.NAdam().momentum_decay
    0.004
    """

    n_slots = 2  # m, v
    n_factors = 9
    n_kept = 1  # the product of the μ_i

    learning_rate: Rate = 0.002
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8
    momentum_decay: float = 0.004
    weight_decay: float = 0.0

    def _check(self) -> None:
        check_moments(self.learning_rate, self.beta_1, self.beta_2, self.epsilon)
        not_negative("momentum_decay", self.momentum_decay)
        not_negative("weight_decay", self.weight_decay)

    @staticmethod
    def factors(h: Any, t: int, kept: Any, c: Any) -> None:
        mu = h[1] * (1.0 - 0.5 * math.pow(0.96, t * h[4]))
        mu_next = h[1] * (1.0 - 0.5 * math.pow(0.96, (t + 1) * h[4]))
        kept[0] *= mu
        c[0] = h[0] * (1.0 - mu) / (1.0 - kept[0])
        c[1] = h[1]
        c[2] = h[2]
        c[3] = h[3]
        c[4] = 1.0 - h[1]
        c[5] = 1.0 - h[2]
        c[6] = 1.0 / math.sqrt(1.0 - power(h[2], t))
        c[7] = 1.0 - h[0] * h[5]
        c[8] = h[0] * mu_next / (1.0 - kept[0] * mu_next)

    @staticmethod
    def update(w: Any, g: Any, state: Any, c: Any) -> None:
        m, v = row_of(state, 0, 0, w.size), row_of(state, 1, 0, w.size)
        eta_g, beta_1, beta_2 = w.dtype.type(c[0]), w.dtype.type(c[1]), w.dtype.type(c[2])
        epsilon, rest_1, rest_2 = w.dtype.type(c[3]), w.dtype.type(c[4]), w.dtype.type(c[5])
        unbiased, keep, eta_m = w.dtype.type(c[6]), w.dtype.type(c[7]), w.dtype.type(c[8])
        for j in range(w.size):
            m[j] = beta_1 * m[j] + rest_1 * g[j]
            v[j] = beta_2 * v[j] + rest_2 * g[j] * g[j]
            w[j] = keep * w[j] - (eta_g * g[j] + eta_m * m[j]) / (unbiased * math.sqrt(v[j]) + epsilon)
