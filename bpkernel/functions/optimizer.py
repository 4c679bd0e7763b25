"""The base class of the optimizers, and how kernels call them.

    factors(h, t, kept, c)   once a step: c ← the numbers that `update` needs, from the settings h and the step t = 1, 2, ...
                             kept (n_kept,) holds numbers from one step to the next, ones before the first step
    update(w, g, state, c)   w ← w + step for some weights (n,), from their gradient g (n,); state (n_slots, ≥ n) holds the
                             numbers that the optimizer keeps for each weight, zeros before the first step
    n_slots, n_factors       the lengths of state and c

h holds the settings in the order of the dataclass's fields, the learning rate first; h, kept and c are float64.
"""

import copy
import math
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from numba import types

from bpkernel.codegen.pointers import by_pointer
from bpkernel.codegen.views import matrix, vector
from bpkernel.functions import learning_rates
from bpkernel.runtime.memory import aligned_zeros


class Optimizer:
    """Base of the optimizers: their state, which belongs to nets of one shape and dtype.

    The state carries over from one `fit` to the next; `reset()` clears it.  Settings may be changed between two fits, and by a
    callback between two epochs.
    """

    n_slots: ClassVar[int]
    n_factors: ClassVar[int]
    n_kept: ClassVar[int] = 0

    _layout: Any = None  # of the nets that the state belongs to
    _state: np.ndarray  # (n_slots, n_params)
    _steps: np.ndarray  # (1,), the steps made so far, counted by the kernels
    _kept: np.ndarray  # (n_kept,)

    def __post_init__(self) -> None:
        self._check()

    def __copy__(self) -> "Optimizer":
        return copy.deepcopy(self)  # two optimizers must not share a state

    def _check(self) -> None:
        """Raise ValueError or TypeError unless every setting is in its range."""

    def values(self) -> tuple[Any, ...]:
        """The settings as they are, not checked."""
        return tuple([getattr(self, name) for name in self.__dataclass_fields__])  # type: ignore[attr-defined]

    @property
    def schedule(self) -> Any:
        """The learning rate if it is a schedule or a function of the step; None if it is a number."""
        rate = getattr(self, "learning_rate", None)  # those of all samples have none
        return rate if callable(rate) else None

    def settings(self, dtype: np.dtype) -> np.ndarray:
        """The settings as the kernels take them, float64; for a schedule its `learning_rate`, for a function the next rate.

        Raises ValueError or TypeError if one is out of its range, or out of that of the net's dtype.
        """
        self._check()
        given, schedule = self.values(), self.schedule
        if isinstance(schedule, learning_rates.Schedule):
            given = schedule.learning_rate, *given[1:]
        elif schedule is not None:
            given = learning_rates.rates(schedule, self.n_steps, 1, dtype)[0], *given[1:]
        values = np.array(given, np.float64)
        with np.errstate(over="ignore", under="ignore"):
            rounded = values.astype(dtype)
        pairs = zip(values.tolist(), rounded.tolist(), strict=True)
        wrong = [not math.isfinite(short) or (short == 0) != (value == 0) for value, short in pairs]
        wrong[0] &= schedule is None or isinstance(schedule, learning_rates.Schedule)  # a function may approach 0
        if any(wrong):
            i = wrong.index(True)
            name = list(self.__dataclass_fields__)[i]  # type: ignore[attr-defined]
            raise ValueError(f"{name} is {given[i]!r}, which is {rounded[i]} in the net's {dtype}; use another, or float64")
        return values

    def bind(self, layout: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The state (n_slots, n_params), the steps (1,) and the kept numbers (n_kept,) for a net.

        They are made at the first call.  Once steps have been made, a net of another shape is refused.

        Raises
        ------
        ValueError
            If the optimizer holds the state of a net of another shape or dtype.
        """
        alike = self._layout is not None and self._layout.shape == layout.shape
        if not alike and self.n_steps == 0:
            self._layout = layout
            self._state = aligned_zeros(self.n_slots * layout.n_params, layout.dtype).reshape(self.n_slots, -1)
            self._steps, self._kept = np.zeros(1, np.int64), np.ones(self.n_kept)
        elif not alike:
            names = [f"{each.sizes} of {each.dtype}" for each in (self._layout, layout)]
            if names[0] == names[1]:
                names = [f"{each.sizes} with connections {list(each.pairs)}" for each in (self._layout, layout)]
            raise ValueError(
                f"this {type(self).__name__} holds the state of a net {names[0]}, and cannot go on with a net {names[1]}; "
                "make a new optimizer, or call its reset()"
            )
        else:
            self._state = self._checked("_state", (self.n_slots, layout.n_params), layout.dtype)
            self._steps = self._checked("_steps", (1,), np.dtype(np.int64))
            self._kept = self._checked("_kept", (self.n_kept,), np.dtype(np.float64))
        return self._state, self._steps, self._kept

    def _checked(self, name: str, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        """An array of the state that kernels may write to: a copy if it is read-only, as in a file that is mapped to memory."""
        array: np.ndarray = getattr(self, name)
        if not isinstance(array, np.ndarray) or array.shape != shape or array.dtype != dtype:
            raise ValueError(
                f"the state of this {type(self).__name__} has been replaced: {name} must be an array {shape} of {dtype}; "
                "make a new optimizer"
            )
        if array.flags.writeable and array.flags.c_contiguous and array.flags.aligned:
            return array
        own = aligned_zeros(array.size, dtype).reshape(shape)
        own[...] = array
        return own

    @property
    def n_steps(self) -> int:
        """The steps made so far."""
        return 0 if self._layout is None else int(self._steps[0])

    def reset(self) -> None:
        """Clear the state, as in a new optimizer; a callback of `fit` may do so, too."""
        if isinstance(self.schedule, learning_rates.Schedule):
            self.schedule.reset()
        if self._layout is not None:  # in place, as the kernels may be using it
            self._state[:], self._steps[:], self._kept[:] = 0, 0, 1

    def snapshot(self, copied: Callable[[np.ndarray], np.ndarray] = np.copy) -> Any:
        """A copy of the state, for `restore`; `copied` makes the large one."""
        if self._layout is None:
            return None
        schedule = self.schedule
        remembered = (schedule, schedule.state()) if isinstance(schedule, learning_rates.Schedule) else (None, None)
        return self._layout, copied(self._state), self._steps.copy(), self._kept.copy(), remembered

    def restore(self, snapshot: Any) -> None:
        """Go back to the state of a `snapshot`, also while a net is trained; settings stay as they are.

        A schedule that was not there when the snapshot was taken forgets what training has shown.
        """
        if snapshot is None:
            self.reset()
            self._layout = None
            return
        layout, *numbers, (known, remembered) = snapshot
        if self._layout is not None and self._layout.shape != layout.shape:
            self._layout = None
        for own, kept in zip(self.bind(layout), numbers, strict=True):
            own[...] = kept
        schedule = self.schedule
        if isinstance(schedule, learning_rates.Schedule):
            if remembered is not None and (known is None or known is schedule):  # None in checkpoints
                schedule.restore(remembered)
            else:
                schedule.reset()


factors, pointer_to_factors = by_pointer(
    lambda p: types.none(vector(types.float64), types.int64, vector(types.float64), vector(types.float64))
)
update, pointer_to_update = by_pointer(
    lambda p: types.none(vector(p.master), vector(p.master), matrix(p.master), vector(types.float64))
)
