"""The optimizers.  To add one, write a class as below and add it to OPTIMIZERS.

    factors(h, t, c)         once a step: c ← the numbers that `update` needs, from the settings h and the step t = 1, 2, ...
    update(w, g, state, c)   w ← w + step for some weights (n,), from their gradient g (n,); state (n_slots, ≥ n) holds the
                             numbers that the optimizer keeps for each weight, zeros before the first step
    n_slots, n_factors       the lengths of state and c

h holds the settings in the order of the dataclass's fields; h and c are float64.
"""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numba import types

from bpkernel.codegen.jit import kernel
from bpkernel.codegen.pointers import by_pointer
from bpkernel.codegen.views import matrix, row_of, vector
from bpkernel.functions.settings import between
from bpkernel.runtime.memory import aligned_zeros


class Optimizer:
    """Base of the optimizers: their state, which belongs to nets of one shape and dtype.

    The state carries over from one `fit` to the next; `reset()` clears it.  Settings may be changed between two fits, and by a
    callback between two epochs.
    """

    n_slots: ClassVar[int]
    n_factors: ClassVar[int]

    _layout: Any = None  # of the nets that the state belongs to
    _state: np.ndarray  # (n_slots, n_params)
    _steps: np.ndarray  # (1,), the steps made so far, counted by the kernels

    def __post_init__(self) -> None:
        self._check()

    def __copy__(self) -> "Optimizer":
        return copy.deepcopy(self)  # two optimizers must not share a state

    def _check(self) -> None:
        """Raise ValueError or TypeError unless every setting is in its range."""

    def values(self) -> tuple[Any, ...]:
        """The settings as they are, not checked."""
        return tuple([getattr(self, name) for name in self.__dataclass_fields__])  # type: ignore[attr-defined]

    def settings(self, dtype: np.dtype) -> np.ndarray:
        """The settings as the kernels take them, float64.

        Raises ValueError or TypeError if one is out of its range, or out of that of the net's dtype.
        """
        self._check()
        values = np.array(self.values(), np.float64)
        with np.errstate(over="ignore", under="ignore"):
            rounded = values.astype(dtype)
        wrong = ~np.isfinite(rounded) | ((rounded == 0) != (values == 0))
        if wrong.any():
            i = int(wrong.argmax())
            name, value = list(self.__dataclass_fields__)[i], self.values()[i]  # type: ignore[attr-defined]
            raise ValueError(f"{name} is {value!r}, which is {rounded[i]} in the net's {dtype}; use another, or float64")
        return values

    def bind(self, layout: Any) -> tuple[np.ndarray, np.ndarray]:
        """The state (n_slots, n_params) and steps (1,) for a net; made at the first call, refused for a net of another shape.

        Raises
        ------
        ValueError
            If the optimizer holds the state of a net of another shape or dtype.
        """
        if self._layout is None:
            self._layout = layout
            self._state = aligned_zeros(self.n_slots * layout.n_params, layout.dtype).reshape(self.n_slots, -1)
            self._steps = np.zeros(1, np.int64)
        elif (self._layout.sizes, self._layout.pairs, self._layout.dtype) != (layout.sizes, layout.pairs, layout.dtype):
            names = [f"{each.sizes} of {each.dtype}" for each in (self._layout, layout)]
            if names[0] == names[1]:
                names = [f"{each.sizes} with connections {list(each.pairs)}" for each in (self._layout, layout)]
            raise ValueError(
                f"this {type(self).__name__} holds the state of a net {names[0]}, and cannot go on with a net {names[1]}; "
                "make a new optimizer, or call its reset()"
            )
        return self._state, self._steps

    def reset(self) -> None:
        """Clear the state, as in a new optimizer."""
        self._layout = None
        self._state, self._steps = np.empty((self.n_slots, 0)), np.zeros(1, np.int64)

    def snapshot(self, copied: Callable[[np.ndarray], np.ndarray] = np.copy) -> Any:
        """A copy of the state, for `restore`; `copied` makes the large one."""
        return None if self._layout is None else (self._layout, copied(self._state), self._steps.copy())

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

    n_slots = 1  # v
    n_factors = 3

    learning_rate: float = 0.01
    momentum: float = 0.0
    nesterov: bool = False

    def _check(self) -> None:
        between("learning_rate", self.learning_rate, 0, math.inf, "greater than 0")
        between("momentum", self.momentum, 0, 1, "from 0 up to but not including 1", with_low=True)
        if not isinstance(self.nesterov, (bool, np.bool_)):
            raise TypeError(f"nesterov must be True or False; got {self.nesterov!r}")

    @staticmethod
    def factors(h: Any, t: int, c: Any) -> None:
        for i in range(h.size):
            c[i] = h[i]

    @staticmethod
    def update(w: Any, g: Any, state: Any, c: Any) -> None:
        v = row_of(state, 0, 0, w.size)
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

    n_slots = 2  # m, v
    n_factors = 6

    learning_rate: float = 0.001
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8

    def _check(self) -> None:
        between("learning_rate", self.learning_rate, 0, math.inf, "greater than 0")
        between("beta_1", self.beta_1, 0, 1, "from 0 up to but not including 1", with_low=True)
        between("beta_2", self.beta_2, 0, 1, "from 0 up to but not including 1", with_low=True)
        between("epsilon", self.epsilon, 0, math.inf, "greater than 0")

    @staticmethod
    def factors(h: Any, t: int, c: Any) -> None:
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


@kernel
def power(beta: float, t: int) -> float:
    """β^t to the accuracy of 1 - β^t, which is 1 to the last bit where t (1 - β) > 38, as β^t < e^(-t (1 - β)).

    Powers that underflow took a tenth of a step of 2-8-1.
    """
    return beta**t if t * (1.0 - beta) < 38 else 0.0


OPTIMIZERS: tuple[type[Any], ...] = (SGD, Adam)

factors, pointer_to_factors = by_pointer(lambda p: types.none(vector(types.float64), types.int64, vector(types.float64)))
update, pointer_to_update = by_pointer(
    lambda p: types.none(vector(p.master), vector(p.master), matrix(p.master), vector(types.float64))
)
