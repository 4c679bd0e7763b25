"""Callbacks of `fit`: what is done at its beginning, between epochs and at its end.

>>> import bpkernel as bp
>>> net = bp.MLP((1, 4, 1), random_state=0)
>>> X = T = [[0.0], [1.0]]
>>> stop = bp.callbacks.EarlyStopping("loss", patience=3)
>>> history = net.fit(X, T, epochs=5, callbacks=[stop, lambda run: print(run.epoch, run.net.layer_sizes)])
1 (1, 4, 1)
2 (1, 4, 1)
3 (1, 4, 1)
4 (1, 4, 1)
5 (1, 4, 1)

To write one, derive a class from `Callback`, or pass any function of the run, which is called after each epoch; training stops
if it returns true.
"""

import csv
import math
import os
from pathlib import Path
from typing import Any

from bpkernel.callback import Callback, Mode, Run, mode_of
from bpkernel.progress import Bar, bar

__all__ = ["CSVLogger", "Callback", "EarlyStopping", "ModelCheckpoint", "ProgressBar", "Run"]


class EarlyStopping(Callback):
    """Stop when a figure has not improved for some epochs.

    Parameters
    ----------
    monitor : str, default=None
        "loss", "val_loss" or the name of a metric; None for the `monitor` of `fit`.
    patience : int, default=10
        Epochs without improvement after which training stops, ≥ 1.
    min_delta : float, default=0.0
        How much better is an improvement, ≥ 0.
    mode : "min" or "max", default=None
        Whether low or high values are good.  None: low ones of losses, errors and deviances, high ones of others.
    restore_best : bool, default=True
        Whether the net goes back to the best epoch: its weights, which of them are pruned, and the state of the optimizer.

    Attributes
    ----------
    best : float
        The best value.
    best_epoch : int or None
        Its epoch, counted from 0.
    """

    def __init__(
        self,
        monitor: str | None = None,
        patience: int = 10,
        min_delta: float = 0.0,
        mode: Mode | None = None,
        restore_best: bool = True,
    ):
        if isinstance(patience, bool) or not isinstance(patience, int) or patience < 1:
            raise ValueError(f"patience must be an integer of at least 1; got {patience!r}")
        if mode not in (None, "min", "max"):
            raise ValueError(f'mode must be "min", "max" or None; got {mode!r}')
        if not min_delta >= 0:
            raise ValueError(f"min_delta must be a number of at least 0; got {min_delta!r}")
        self.monitor, self.patience, self.min_delta = monitor, patience, min_delta
        self.mode, self.restore_best = mode, restore_best

    def begin(self, run: Run) -> None:
        self.best, self.best_snapshot = math.inf, None
        self.best_epoch: int | None = None
        self._name = self.monitor or run.monitor
        self._sign = -1.0 if (self.mode or mode_of(self._name)) == "max" else 1.0

    def epoch(self, run: Run) -> None:
        value = run.value(self._name)
        improved = self.best_epoch is None or self._sign * (self.best - value) > self.min_delta
        if improved and not math.isnan(value):
            self.best, self.best_epoch = value, run.epoch - 1
            if self.restore_best:
                run.history.best_epoch = self.best_epoch
                self.best_snapshot = run.snapshot()
        self._stop_if_patience_ends(run)

    def _stop_if_patience_ends(self, run: Run) -> None:
        if self.best_epoch is not None and run.epoch - 1 - self.best_epoch >= self.patience:
            run.stop()

    def end(self, run: Run, *, failed: bool) -> None:
        if self.best_snapshot is not None and not failed:
            run.restore(self.best_snapshot)
        self.best_snapshot = None

    def state(self) -> dict[str, Any]:
        return {"best": self.best, "best_epoch": self.best_epoch}

    def load_state(self, state: dict[str, Any], run: Run) -> None:
        self.best, self.best_epoch = state["best"], state["best_epoch"]
        self._stop_if_patience_ends(run)


class ModelCheckpoint(Callback):
    """Save the net to a file whenever a figure has improved, or after every epoch (needs the extra `save`).

    Parameters
    ----------
    path : path-like
        The file; it may contain {epoch} and the names of figures, as in "net-{epoch:03d}-{val_loss:.3f}.safetensors".
    monitor : str, default=None
        As of `EarlyStopping`.
    save_best_only : bool, default=True
        False: save after every epoch.
    mode : "min" or "max", default=None
        As of `EarlyStopping`.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        monitor: str | None = None,
        save_best_only: bool = True,
        mode: Mode | None = None,
    ):
        self.path, self.monitor, self.save_best_only, self.mode = path, monitor, save_best_only, mode

    def begin(self, run: Run) -> None:
        self.best = math.nan
        self._name = self.monitor or run.monitor

    def epoch(self, run: Run) -> None:
        value, high = run.value(self._name), (self.mode or mode_of(self._name)) == "max"
        improved = math.isnan(self.best) or (value > self.best if high else value < self.best)
        if improved:
            self.best = value
        if improved or not self.save_best_only:
            figures = {name: values[-1] for name, values in run.history.figures().items()}
            try:
                path = str(self.path).format(epoch=run.epoch, **figures)
            except (KeyError, IndexError):
                names = ", ".join(["epoch", *figures])
                raise ValueError(f"path may contain the names {names} in braces; got {self.path!r}") from None
            net = run.net if hasattr(run.net, "save") else run.net.to_mlp()  # of an estimator
            net.save(path)

    def state(self) -> dict[str, Any]:
        return {"best": self.best}

    def load_state(self, state: dict[str, Any], run: Run) -> None:
        self.best = state["best"]


class CSVLogger(Callback):
    """Write the figures of each epoch to a CSV file, one row at once after each.

    Parameters
    ----------
    path : path-like
        The file, which is replaced.
    append : bool, default=False
        Whether to go on with a file that exists.
    """

    def __init__(self, path: str | os.PathLike[str], append: bool = False):
        self.path, self.append = path, append

    def begin(self, run: Run) -> None:
        with open(self.path, "a"):  # an error of the path shows before training
            pass
        self._begun = self.append and Path(self.path).stat().st_size > 0

    def epoch(self, run: Run) -> None:
        figures = {"epoch": run.epoch} | {name: values[-1] for name, values in run.history.figures(seconds=True).items()}
        with open(self.path, "a" if self._begun else "w", newline="") as file:
            writer = csv.writer(file)
            if not self._begun:
                writer.writerow(figures)
            writer.writerow(figures.values())
        self._begun = True

    def load_state(self, state: dict[str, Any], run: Run) -> None:
        self._begun = Path(self.path).stat().st_size > 0


class ProgressBar(Callback):
    """Show progress: a bar in a terminal (needs the extra `cli`) or in a notebook, elsewhere a line every few seconds.

    Parameters
    ----------
    seconds : float, default=5.0
        Between two lines, where standard error is neither a terminal nor a notebook.
    """

    def __init__(self, seconds: float = 5.0):
        self._seconds = seconds
        self._bar: Bar | None = None

    def begin(self, run: Run) -> None:
        self._bar = bar(run.history.n_samples * run.n_epochs, run.n_epochs, self._seconds)
        self._bar.begin()

    def part(self, run: Run, n_samples: int) -> None:
        if self._bar is not None:
            self._bar.samples(n_samples, run.history)

    def epoch(self, run: Run) -> None:
        if self._bar is not None:
            self._bar.epoch(run.history)

    def end(self, run: Run, *, failed: bool) -> None:
        if self._bar is not None:
            self._bar.end()
        self._bar = None
