"""Schedules that lower the learning rate little by little, in steps, or when training no longer improves."""

import math
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np

from bpkernel.functions.learning_rates import Schedule
from bpkernel.functions.settings import between, not_negative, whole


@dataclass
class Constant(Schedule):
    """One rate.

    Parameters
    ----------
    learning_rate : float
        > 0.
    n_warmup : int, default=0
        Steps in which the rate rises linearly from 0.

    Examples
    --------
    >>> import bpkernel as bp
    >>> [bp.schedules.Constant(0.1, n_warmup=2)(step) for step in range(4)]
    [0.0, 0.05, 0.1, 0.1]
    """

    n_warmup: int = 0

    def _check(self) -> None:
        super()._check()
        whole("n_warmup", self.n_warmup, 0)

    def _rates(self, steps: np.ndarray) -> np.ndarray:
        return self.learning_rate * np.minimum(1.0, steps / max(self.n_warmup, 1) if self.n_warmup else 1.0 + 0 * steps)


@dataclass
class Step(Schedule):
    """η · factor^⌊step / every⌋ (`StepLR` of PyTorch), or a product over given steps (`MultiStepLR`).

    Parameters
    ----------
    learning_rate : float
        η > 0.
    every : int, or list or tuple of int
        The steps between two changes, or the steps at which the rate changes.
    factor : float, default=0.1
        0 < factor ≤ 1.

    Examples
    --------
    >>> import bpkernel as bp
    >>> bp.schedules.Step(0.1, every=100, factor=0.5)(250)
    0.025
    """

    every: int | list[int] | tuple[int, ...]
    factor: float = 0.1

    def _check(self) -> None:
        super()._check()
        if not isinstance(self.every, (Integral, list, tuple)):
            raise TypeError(f"every must be an integer, or a list or tuple of integers; got {self.every!r}")
        for each in self.every if isinstance(self.every, (list, tuple)) else (self.every,):
            whole("every", each, 1)
        between("factor", self.factor, 0, 1 + 1e-15, "greater than 0 and up to 1")

    def _rates(self, steps: np.ndarray) -> np.ndarray:
        if isinstance(self.every, (list, tuple)):
            return self.learning_rate * self.factor ** np.searchsorted(np.sort(self.every), steps, side="right")
        return self.learning_rate * self.factor ** (steps // self.every)


@dataclass
class Exponential(Schedule):
    """η · factor^(step / every) (`ExponentialLR` of PyTorch with every=1).

    Parameters
    ----------
    learning_rate : float
        η > 0.
    factor : float
        0 < factor ≤ 1.
    every : int, default=1
        The steps after which the rate has changed by `factor`.

    Examples
    --------
    >>> import bpkernel as bp
    >>> round(bp.schedules.Exponential(0.1, factor=0.5, every=100)(200), 6)
    0.025
    """

    factor: float
    every: int = 1

    def _check(self) -> None:
        super()._check()
        between("factor", self.factor, 0, 1 + 1e-15, "greater than 0 and up to 1")
        whole("every", self.every, 1)

    def _rates(self, steps: np.ndarray) -> np.ndarray:
        return self.learning_rate * self.factor ** (steps / self.every)


@dataclass
class InverseScaling(Schedule):
    """η / (step + 1)^power, as scikit-learn's "invscaling", whose steps are samples.

    Parameters
    ----------
    learning_rate : float
        η > 0.
    power : float, default=0.5
        ≥ 0.

    Examples
    --------
    >>> import bpkernel as bp
    >>> bp.schedules.InverseScaling(0.1)(99)
    0.01
    """

    power: float = 0.5

    def _check(self) -> None:
        super()._check()
        not_negative("power", self.power)

    def _rates(self, steps: np.ndarray) -> np.ndarray:
        return self.learning_rate / (steps + 1) ** self.power


@dataclass
class ReduceOnPlateau(Schedule):
    """Reduce the rate when what training monitors has not improved for some epochs (`ReduceLROnPlateau` of PyTorch).

    It is the `monitor` of `fit`: the validation loss if there are validation data, else the training loss.

    Parameters
    ----------
    learning_rate : float
        The first rate, > 0.
    factor : float, default=0.1
        What the rate is multiplied by, between 0 and 1.
    patience : int, default=10
        Epochs without improvement after which the rate is still the same.
    threshold : float, default=1e-4
        How much is an improvement, relative to the best value, ≥ 0.
    cooldown : int, default=0
        Epochs after a reduction in which none are counted.
    lowest : float, default=0.0
        The rate is never reduced below this, from 0 to `learning_rate`.

    Examples
    --------
    >>> import bpkernel as bp
    >>> schedule = bp.schedules.ReduceOnPlateau(0.1, factor=0.5, patience=1)
    >>> for loss in (1.0, 1.0, 1.0):
    ...     schedule.epoch(loss)
    >>> schedule(0)
    0.05
    """

    by_epoch = True

    factor: float = 0.1
    patience: int = 10
    threshold: float = 1e-4
    cooldown: int = 0
    lowest: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.reset()

    def reset(self) -> None:
        """Go back to the first rate."""
        super().reset()
        self._rate, self._best, self._n_bad, self._n_cool = float(self.learning_rate), math.inf, 0, 0

    def _check(self) -> None:
        super()._check()
        between("factor", self.factor, 0, 1, "between 0 and 1")
        whole("patience", self.patience, 0)
        not_negative("threshold", self.threshold)
        whole("cooldown", self.cooldown, 0)
        self._check_lowest(self.lowest)

    def _rates(self, steps: np.ndarray) -> np.ndarray:
        return np.full(len(steps), self._rate)

    def epoch(self, monitored: float) -> None:
        """An epoch has ended, with this value; lower is better."""
        least = self.threshold * abs(self._best) if math.isfinite(self._best) else 0.0
        if monitored < self._best - least:  # never with NaN
            self._best, self._n_bad = monitored, 0
        else:
            self._n_bad += 1
        if self._n_cool > 0:
            self._n_cool, self._n_bad = self._n_cool - 1, 0
        if self._n_bad > self.patience:
            self._rate = max(self._rate * self.factor, self.lowest)
            self._n_cool, self._n_bad = self.cooldown, 0

    def state(self) -> dict[str, Any]:
        return {**super().state(), "rate": self._rate, "best": self._best, "n_bad": self._n_bad, "n_cool": self._n_cool}

    def restore(self, state: dict[str, Any]) -> None:
        super().restore(state)
        self._rate, self._best, self._n_bad, self._n_cool = (state[name] for name in ("rate", "best", "n_bad", "n_cool"))
