"""Schedules that raise the learning rate and lower it again, once or several times."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from bpkernel.functions.learning_rates import Schedule
from bpkernel.functions.settings import between, flag, not_negative, whole


@dataclass
class Cosine(Schedule):
    """A linear rise, then half a cosine down to `lowest`; with `restarts` again and again (Loshchilov and Hutter 2017).

    Parameters
    ----------
    learning_rate : float
        The highest rate, > 0.
    n_steps : int, default=None
        Steps to the lowest rate, those of the rise included.  None: all steps of `fit`.  Afterwards the rate stays low.
    n_warmup : int, default=0
        Steps of the rise, in which the rate goes from `start` to `learning_rate`.
    lowest : float, default=0.0
        The last rate, from 0 to `learning_rate`.
    start : float, default=0.0
        The first rate if there is a rise, ≥ 0.
    restarts : bool, default=False
        Whether the cosine begins anew each time that it has ended; needs `n_steps`.
    growth : float, default=1.0
        How many times as long as the one before each cosine is, ≥ 1.

    Examples
    --------
    >>> import bpkernel as bp
    >>> schedule = bp.schedules.Cosine(0.1, n_steps=100, n_warmup=10)
    >>> [round(schedule(step), 3) for step in (0, 5, 10, 55, 100)]
    [0.0, 0.05, 0.1, 0.05, 0.0]
    """

    n_steps: int | None = None
    n_warmup: int = 0
    lowest: float = 0.0
    start: float = 0.0
    restarts: bool = False
    growth: float = 1.0

    def _check(self) -> None:
        super()._check()
        whole("n_warmup", self.n_warmup, 0)
        if self.n_steps is not None:
            whole("n_steps", self.n_steps, self.n_warmup + 1)
        self._check_lowest(self.lowest)
        not_negative("start", self.start)
        between("growth", self.growth, 1, math.inf, "of at least 1", with_low=True)
        if flag("restarts", self.restarts) and self.n_steps is None:
            raise ValueError("restarts=True needs n_steps, the length of the first cycle")

    def _rates(self, steps: np.ndarray) -> np.ndarray:
        steps, n_steps = self._place(steps, self.n_steps)
        length = max(n_steps - self.n_warmup, 1.0)
        done = np.maximum(steps - self.n_warmup, 0.0)
        if self.restarts and self.growth == 1:
            done = done % length
        elif self.restarts:
            cycle = np.floor(np.log1p(done / length * (self.growth - 1)) / math.log(self.growth) + 1e-12)
            done = done - length * (self.growth**cycle - 1) / (self.growth - 1)
            length = length * self.growth**cycle
        down = self.lowest + (self.learning_rate - self.lowest) * (1 + np.cos(np.pi * np.minimum(done / length, 1.0))) / 2
        rise = self.start + (self.learning_rate - self.start) * steps / max(self.n_warmup, 1)
        return np.where(steps < self.n_warmup, rise, down)


@dataclass
class OneCycle(Schedule):
    """A rise to the highest rate and a long fall to far below the first one (Smith and Topin 2018; `OneCycleLR` of PyTorch).

    Momentum stays as it is: PyTorch changes it, too, unless ``cycle_momentum=False``.

    Parameters
    ----------
    learning_rate : float
        The highest rate, > 0.
    n_steps : int, default=None
        Steps of the cycle; afterwards the rate stays at its last value.  None: all steps of `fit`.
    rise : float, default=0.3
        Share of the steps in which the rate rises, between 0 and 1.
    div_factor : float, default=25.0
        The first rate is `learning_rate` / div_factor, ≥ 1.
    final_div_factor : float, default=1e4
        The last rate is the first one / final_div_factor, ≥ 1.
    anneal : "cos" or "linear", default="cos"
        The form of both parts.

    Examples
    --------
    >>> import bpkernel as bp
    >>> schedule = bp.schedules.OneCycle(0.1, n_steps=101)
    >>> [round(schedule(step), 4) for step in (0, 29, 100)]
    [0.004, 0.1, 0.0]
    """

    n_steps: int | None = None
    rise: float = 0.3
    div_factor: float = 25.0
    final_div_factor: float = 1e4
    anneal: Literal["cos", "linear"] = "cos"

    def _check(self) -> None:
        super()._check()
        if self.n_steps is not None:
            whole("n_steps", self.n_steps, 2)
        between("rise", self.rise, 0, 1, "between 0 and 1")
        between("div_factor", self.div_factor, 1, math.inf, "of at least 1", with_low=True)
        between("final_div_factor", self.final_div_factor, 1, math.inf, "of at least 1", with_low=True)
        if self.anneal not in ("cos", "linear"):
            raise ValueError(f'anneal must be "cos" or "linear"; got {self.anneal!r}')

    def _rates(self, steps: np.ndarray) -> np.ndarray:
        steps, n_steps = self._place(steps, self.n_steps)
        low, top = self.learning_rate / self.div_factor, self.rise * n_steps - 1
        last = low / self.final_div_factor
        end = max(n_steps - 1, top + 1)
        up = self._between(low, self.learning_rate, np.clip(steps / top if top > 0 else 1.0 + 0 * steps, 0, 1))
        down = self._between(self.learning_rate, last, np.clip((steps - top) / (end - top), 0, 1))
        return np.where(steps <= top, up, down)

    def _between(self, first: float, last: float, share: np.ndarray) -> np.ndarray:
        return first + (last - first) * ((1 - np.cos(np.pi * share)) / 2 if self.anneal == "cos" else share)
