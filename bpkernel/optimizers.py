"""Floor 1: the optimizers.  To add one, write a class as below and name it in OPTIMIZERS.

    coefficients(h, t, c)      once a step: c ← the numbers that `update` needs, from the settings h and the step t ≥ 1
    update(w, g, m, v, c)      one row of weights w ← w + step, from its gradient g; m and v are the row of two numbers
                               a weight that the optimizer may keep, zeros before the first step

`update` gets 1-D arrays of one length and dtype; h and c are float64 of length COEFFICIENTS.
"""

import math
from dataclasses import asdict, dataclass
from numbers import Real
from typing import Any

import numpy as np
from numba import types

from bpkernel.compiler import by_address
from bpkernel.layout import Layout, aligned_zeros
from bpkernel.views import vector

COEFFICIENTS = 6


def _between(name: str, value: Any, low: float, high: float, allowed: str, *, with_low: bool = False) -> None:
    message = f"{name} must be a number {allowed}; got {value!r}"
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, Real):
        raise TypeError(message)
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not (low < number < high or (with_low and number == low)):
        raise ValueError(message)


class Optimizer:
    """What the optimizers share: their state, which belongs to the nets of one shape and dtype.

    The state goes on from one `fit` to the next; `reset()` forgets it.  Settings may be changed at any time: `fit` reads them
    before each epoch.
    """

    _layout: Layout | None = None
    _state: np.ndarray  # (2, n_params)
    _steps: np.ndarray  # (1,), the steps made so far, counted by the kernels

    def __post_init__(self) -> None:
        self._check()

    def _check(self) -> None:
        """Raise ValueError or TypeError unless every setting is in its range."""

    def values(self) -> tuple[Any, ...]:
        """The settings as they are, not checked."""
        return tuple([getattr(self, name) for name in self.__dataclass_fields__])  # type: ignore[attr-defined]

    def settings(self, dtype: np.dtype) -> np.ndarray:
        """The settings as the kernels take them, (COEFFICIENTS,) float64.

        Raises ValueError or TypeError if one is out of its range, or out of that of the net's dtype.
        """
        self._check()
        h = np.zeros(COEFFICIENTS)
        for i, (name, value) in enumerate(asdict(self).items()):  # type: ignore[call-overload]
            with np.errstate(over="ignore", under="ignore"):
                rounded = np.float64(value).astype(dtype)
            if not np.isfinite(rounded) or (rounded == 0) != (value == 0):
                raise ValueError(f"{name} is {value!r}, which is {rounded} in the net's {dtype}; use another, or float64")
            h[i] = value
        return h

    def bind(self, layout: Layout) -> tuple[np.ndarray, np.ndarray]:
        """The state (2, n_params) and steps (1,) for a net; made at the first call, refused for a net of another shape.

        Raises
        ------
        ValueError
            If the optimizer holds the state of a net of another shape or dtype.
        """
        if self._layout is None:
            self._layout = layout
            self._state = aligned_zeros(2 * layout.n_params, layout.dtype).reshape(2, -1)
            self._steps = np.zeros(1, np.int64)
        elif (self._layout.sizes, self._layout.dtype) != (layout.sizes, layout.dtype):
            raise ValueError(
                f"this {type(self).__name__} holds the state of a net {self._layout.sizes} of {self._layout.dtype}, and "
                f"cannot go on with a net {layout.sizes} of {layout.dtype}; make a new optimizer, or call its reset()"
            )
        return self._state, self._steps

    def reset(self) -> None:
        """Forget the state, as if newly made."""
        self._layout = None
        self._state, self._steps = np.empty((2, 0)), np.zeros(1, np.int64)

    def snapshot(self) -> Any:
        """The state, to be given to `restore`."""
        return None if self._layout is None else (self._layout, self._state.copy(), self._steps.copy())

    def restore(self, snapshot: Any) -> None:
        """Go back to the state of a `snapshot`."""
        if snapshot is None:
            self.reset()
        else:
            self._layout, self._state, self._steps = snapshot


@dataclass
class SGD(Optimizer):
    """Stochastic gradient descent: v ← μ v - η g, w ← w + v; with Nesterov's momentum w ← w + μ v - η g.

    Parameters
    ----------
    learning_rate : float, default=0.01
        η > 0.
    momentum : float, default=0.0
        0 ≤ μ < 1.
    nesterov : bool, default=False
        Whether to look ahead along the velocity (Nesterov 1983; in this form Sutskever et al. 2013).

    Raises
    ------
    ValueError, TypeError
        If a setting is out of its range or not a number.

    Examples
    --------
    >>> import bpkernel as bp
    >>> bp.SGD(learning_rate=0.1, momentum=0.9, nesterov=True)
    SGD(learning_rate=0.1, momentum=0.9, nesterov=True)
    """

    learning_rate: float = 0.01
    momentum: float = 0.0
    nesterov: bool = False

    def _check(self) -> None:
        _between("learning_rate", self.learning_rate, 0, math.inf, "greater than 0")
        _between("momentum", self.momentum, 0, 1, "from 0 up to but not including 1", with_low=True)
        if not isinstance(self.nesterov, (bool, np.bool_)):
            raise TypeError(f"nesterov must be True or False; got {self.nesterov!r}")

    @staticmethod
    def coefficients(h: Any, t: int, c: Any) -> None:
        for i in range(h.size):
            c[i] = h[i]

    @staticmethod
    def update(w: Any, g: Any, m: Any, v: Any, c: Any) -> None:
        eta, mu, nesterov = w.dtype.type(c[0]), w.dtype.type(c[1]), c[2] != 0
        for j in range(w.size):
            v[j] = mu * v[j] - eta * g[j]
            w[j] += mu * v[j] - eta * g[j] if nesterov else v[j]


@dataclass
class Adam(Optimizer):
    """Adam (Kingma and Ba 2015), in the form of the end of their section 2.

    m ← β₁ m + (1 - β₁) g;  v ← β₂ v + (1 - β₂) g²;  w ← w - η √(1 - β₂ᵗ) / (1 - β₁ᵗ) · m / (√v + ε).

    Parameters
    ----------
    learning_rate : float, default=0.001
        η > 0.
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
    >>> bp.Adam(learning_rate=0.01)
    Adam(learning_rate=0.01, beta_1=0.9, beta_2=0.999, epsilon=1e-08)
    """

    learning_rate: float = 0.001
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8

    def _check(self) -> None:
        _between("learning_rate", self.learning_rate, 0, math.inf, "greater than 0")
        _between("beta_1", self.beta_1, 0, 1, "from 0 up to but not including 1", with_low=True)
        _between("beta_2", self.beta_2, 0, 1, "from 0 up to but not including 1", with_low=True)
        _between("epsilon", self.epsilon, 0, math.inf, "greater than 0")

    @staticmethod
    def coefficients(h: Any, t: int, c: Any) -> None:
        c[0] = h[0] * math.sqrt(1.0 - h[2] ** t) / (1.0 - h[1] ** t)
        c[1] = h[1]
        c[2] = h[2]
        c[3] = h[3]
        c[4] = 1.0 - h[1]  # in float64: in float32 nothing would be left of it where β is close to 1
        c[5] = 1.0 - h[2]

    @staticmethod
    def update(w: Any, g: Any, m: Any, v: Any, c: Any) -> None:
        eta_t, beta_1, beta_2 = w.dtype.type(c[0]), w.dtype.type(c[1]), w.dtype.type(c[2])
        epsilon, rest_1, rest_2 = w.dtype.type(c[3]), w.dtype.type(c[4]), w.dtype.type(c[5])
        for j in range(w.size):
            m[j] = beta_1 * m[j] + rest_1 * g[j]
            v[j] = beta_2 * v[j] + rest_2 * g[j] * g[j]
            w[j] -= eta_t * m[j] / (math.sqrt(v[j]) + epsilon)


class Keep:
    """No optimizer: the weights stay, and m gains the gradient."""

    @staticmethod
    def coefficients(h: Any, t: int, c: Any) -> None:
        pass

    @staticmethod
    def update(w: Any, g: Any, m: Any, v: Any, c: Any) -> None:
        for j in range(w.size):
            m[j] += g[j]


OPTIMIZERS: tuple[type[Any], ...] = (SGD, Adam)

coefficients, address_of_coefficients = by_address(
    lambda real: types.none(vector(types.float64), types.int64, vector(types.float64))
)
update, address_of_update = by_address(lambda real: types.none(*[vector(real)] * 4, vector(types.float64)))
