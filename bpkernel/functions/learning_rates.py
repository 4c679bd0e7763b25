"""Learning rates that change while training goes on: what optimizers ask of a schedule, or of any function of the step."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from bpkernel.functions.settings import NUMBERS, not_negative, positive

Rate: TypeAlias = "float | Callable[[int], float]"


@dataclass
class Schedule:
    """Base of the schedules: a learning rate for every step 0, 1, 2, ... of an optimizer.

    Subclasses define `_rates`.  A schedule that has no length of its own spans the steps of one `fit`.
    """

    by_epoch = False  # whether rates depend on what epochs show
    _span = (0, 1)  # the first step of the present fit, and its number of steps

    learning_rate: float

    def __post_init__(self) -> None:
        self._check()

    def __call__(self, step: int) -> float:
        """The learning rate of a step, counted from 0."""
        return float(self.rates(step, 1)[0])

    def rates(self, first: int, n: int) -> np.ndarray:
        """The learning rates (n,) of the steps from `first` on, float64."""
        return self._rates(np.arange(first, first + n, dtype=np.float64))

    def _rates(self, steps: np.ndarray) -> np.ndarray:
        """The learning rates of some steps (n,), which are whole numbers in float64."""
        raise NotImplementedError(f"{type(self).__name__} must define _rates(steps), the rates of an array of steps")

    def _check(self) -> None:
        """Raise ValueError or TypeError unless every setting is in its range."""
        positive("learning_rate", self.learning_rate)

    def _check_lowest(self, lowest: Any) -> None:
        """Raise ValueError or TypeError unless this can be the lowest rate."""
        not_negative("lowest", lowest)
        if lowest > self.learning_rate:
            raise ValueError(f"lowest must be no more than learning_rate, which is {self.learning_rate!r}; got {lowest!r}")

    def _place(self, steps: np.ndarray, n_steps: int | None) -> tuple[np.ndarray, float]:
        """The steps from the beginning of the schedule, and its length, which is n_steps or that of the fit."""
        first, n = (0, n_steps) if n_steps is not None else self._span
        return np.maximum(steps - first, 0.0), float(n)

    def begin(self, first: int, n_steps: int) -> None:
        """A fit begins, whose steps are the n_steps from `first` on."""
        self._span = first, n_steps

    def epoch(self, monitored: float) -> None:
        """An epoch has ended, with this value of the quantity that training monitors."""

    def reset(self) -> None:
        """Forget the present fit, and what training has shown so far."""
        self._span = (0, 1)

    def state(self) -> dict[str, Any]:
        """What the schedule remembers, as numbers and lists of numbers, for `restore`."""
        return {"span": list(self._span)}

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to a `state`."""
        self._span = int(state["span"][0]), int(state["span"][1])


def check(rate: Any) -> None:
    """Raise TypeError or ValueError unless this is a positive number, a schedule, or a function."""
    if isinstance(rate, type):
        raise TypeError(f"learning_rate must be a schedule, such as bp.schedules.Cosine(0.01), not its class; got {rate!r}")
    if isinstance(rate, Schedule):
        rate._check()
    elif not callable(rate):
        if not isinstance(rate, NUMBERS):
            raise TypeError(
                f"learning_rate must be a number, a schedule of bp.schedules or a function of the step; got {rate!r}"
            )
        positive("learning_rate", rate)


def rates(rate: Any, first: int, n: int, dtype: np.dtype) -> np.ndarray:
    """The learning rates (n,) of the steps from `first` on, of a schedule or a function, float64.

    Raises ValueError or TypeError if one is not a number of at least 0 that is finite in the dtype of the net.
    """
    if isinstance(rate, Schedule):
        found = np.asarray(rate.rates(first, n), np.float64, order="C")
        if found.shape != (n,):
            raise ValueError(f"{type(rate).__name__} must give one rate for each of the steps ({n},); got shape {found.shape}")
    else:
        values = [rate(step) for step in range(first, first + n)]
        wrong = [i for i, value in enumerate(values) if not isinstance(value, NUMBERS) or isinstance(value, bool)]
        if wrong:
            i = wrong[0]
            raise TypeError(f"learning_rate({first + i}) must return a number; got {values[i]!r}")
        try:
            found = np.array(values, np.float64)
        except OverflowError:  # of an integer
            raise ValueError(f"learning_rate({first}) to learning_rate({first + n - 1}) must be finite in {dtype}") from None
    wrong_values = ~((found >= 0) & (found <= np.finfo(dtype).max))
    if wrong_values.any():
        i = int(wrong_values.argmax())
        raise ValueError(f"learning_rate({first + i}) must be a number of at least 0, and finite in {dtype}; got {found[i]}")
    return found
