"""Checkpoints of a fit: all that training needs to go on as if it had not been interrupted.

A checkpoint is a file of a net, as of `MLP.save`, with further tensors and, under the key "training", what JSON can hold:

    optimizer.*   its state, one row of parameters for each slot, in the order of `MLP.parameters`
    best.*        weights, optimizer and presence of weights of the best epoch, with early stopping
    training      the optimizer's class, settings and steps, the schedule, the state of the random generator at the beginning
                  of the epoch, the position in it and its sums so far, the history, and the state of the callbacks
"""

import dataclasses
import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from bpkernel import model_files, serialization
from bpkernel.callback import Callback, Run
from bpkernel.functions.learning_rates import Schedule
from bpkernel.functions.optimizer import Optimizer
from bpkernel.history import History
from bpkernel.kernels.layout import Layout
from bpkernel.training_state import description_of, optimizer_of, packed, random_state, unpacked


class Resumed(NamedTuple):
    """What `Training.run` goes on from."""

    optimizer: Optimizer
    history: History
    first_step: int  # of the fit, among the steps of the optimizer
    done: int  # samples of the present epoch that have been seen
    sums: np.ndarray  # (3,), of these
    random: Any  # state of the generator at the beginning of the epoch
    random_of_fit: Any  # and at the beginning of the fit
    callbacks: list[dict[str, Any]]
    best: Any  # snapshot of the best epoch, or None


class Checkpoint(Callback):
    """Writes a checkpoint every so many epochs, and at the end, also that of an interrupted fit.

    It comes last among the callbacks.  What changes at the end of an epoch is noted there; so a fit that is interrupted goes
    on from the end of the last mini-batch, with the rest as it was at the beginning of the epoch.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        every: float,
        facts: dict[str, Any],
        callbacks: Sequence[Callback],
        random: np.random.Generator,
        random_of_fit: Any,
    ):
        self._path, self._every, self._facts, self._callbacks, self._random = path, every, facts, callbacks, random
        self._random_of_fit = random_of_fit

    def begin(self, run: Run) -> None:
        self._first_step = run.optimizer.n_steps
        self._note(run)
        self._saved_at = 0.0

    def go_on(self, run: Run, resumed: Resumed) -> None:
        """Go on as the checkpoint of the run that is resumed did."""
        self._first_step = resumed.first_step
        self._note(run, done=resumed.done)
        self._saved_at = run.epoch + resumed.done / run.history.n_samples

    def _note(self, run: Run, done: int = 0) -> None:
        """Note what changes at the end of an epoch."""
        batch_size = run.batch_size
        self._epochs, self._steps = run.epoch, run.optimizer.n_steps - -(-done // batch_size)
        self._random_state = random_state(self._random)
        schedule = run.optimizer.schedule
        self._schedule = schedule, schedule.state() if isinstance(schedule, Schedule) else None
        self._states = [{"name": type(each).__name__, "state": each.state()} for each in self._callbacks]
        snapshots = [getattr(each, "best_snapshot", None) for each in self._callbacks]
        self._best = next((each for each in snapshots if each is not None), None)

    def _done(self, run: Run) -> int:
        """The samples of the present epoch that have been seen."""
        n_batches = run.optimizer.n_steps - self._steps
        return min(n_batches * run.batch_size, run.history.n_samples)

    def part(self, run: Run, n_samples: int) -> None:
        done = self._done(run)
        if done < run.history.n_samples:
            self._save_if_due(run, self._epochs + done / run.history.n_samples)

    def epoch(self, run: Run) -> None:
        self._note(run)
        self._save_if_due(run, run.epoch)

    def _save_if_due(self, run: Run, position: float) -> None:
        """Save if a multiple of `every` has been reached since the last time; position: in epochs."""
        if int(position / self._every + 1e-9) > int(self._saved_at / self._every + 1e-9):
            self._save(run, position)

    def end(self, run: Run, *, failed: bool) -> None:
        if not failed:
            self._save(run, run.epoch)

    def _save(self, run: Run, position: float) -> None:
        layout, optimizer = run.layout, run.optimizer
        tensors, metadata = model_files.contents(run.net)
        state, numbers = packed(optimizer.snapshot(), layout)
        if "schedule" in numbers and self._schedule[0] is optimizer.schedule:
            numbers["schedule"] = self._schedule[1]  # an interrupt between callbacks comes after the epoch it has been shown
        tensors |= {f"optimizer.{name}": tensor for name, tensor in state.items()}
        best = None
        if self._best is not None:
            (params, present), other = self._best
            tensors["best.params"] = layout.vector(params)
            if present.size:
                tensors["best.present"] = layout.vector(present)
            state, best = packed(other, layout)
            tensors |= {f"best.optimizer.{name}": tensor for name, tensor in state.items()}
        done = self._done(run)
        history = dataclasses.asdict(run.history)
        for name, values in history.items():
            if isinstance(values, list):
                history[name] = values[: self._epochs]
        history["metrics"] = {name: values[: self._epochs] for name, values in history["metrics"].items()}
        metadata["training"] = {
            "facts": self._facts,
            "optimizer": description_of(optimizer) | numbers,
            "first_step": self._first_step,
            "done": done,
            "sums": run.sums.tolist() if done else [0.0, 0.0, 0.0],
            "random": self._random_state,
            "random_of_fit": self._random_of_fit,
            "history": history,
            "callbacks": self._states,
            "best": best,
        }
        serialization.save(self._path, tensors, metadata)
        self._saved_at = position


def read(net: Any, path: str | os.PathLike[str], given: Optimizer | None, facts: dict[str, Any], layout: Layout) -> Resumed:
    """Make a net go on from a checkpoint: its weights, and what `Training.run` needs.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is no checkpoint of such a net, or of a fit with other facts, such as another number of samples.
    """
    tensors, metadata = serialization.load(path)
    if "training" not in metadata:
        raise ValueError(f"{str(path)!r} is a net, and no checkpoint; resume needs a file of fit(checkpoint=...)")
    own, training = model_files.contents(net), metadata["training"]
    if metadata["net"] != serialization.as_json(own[1]["net"]):
        raise ValueError(f"{str(path)!r} is a checkpoint of another net, {metadata['net']}; this one is {own[1]['net']}")
    for name, value in facts.items():
        if training["facts"].get(name) != value:
            raise ValueError(
                f"{str(path)!r} is a checkpoint of a fit with {name}={training['facts'].get(name)!r}, and cannot go on with "
                f"{name}={value!r}"
            )
    description = training["optimizer"]
    if given is not None and type(given).__name__ != description["name"]:
        raise ValueError(f"{str(path)!r} is a checkpoint of a fit with {description['name']}; got optimizer={given!r}")
    optimizer = optimizer_of(description, given)
    if optimizer is None:
        raise ValueError(
            f"the learning rate of the checkpoint {str(path)!r} is a function, which files do not hold: pass the optimizer, too"
        )
    optimizer.restore(_state_in(tensors, "optimizer.", description, layout, optimizer))
    model_files.fill(net, tensors)
    best = None
    if training["best"] is not None:
        params, present = np.zeros(layout.n_params, layout.dtype), np.zeros(0, bool)
        layout.assign(params, tensors["best.params"])
        if "best.present" in tensors:
            present = np.ones(layout.n_params, bool)
            layout.assign(present, tensors["best.present"])
        best = (params, present), _state_in(tensors, "best.optimizer.", training["best"], layout, optimizer)
    places = training["first_step"], training["done"], np.array(training["sums"], np.float64)
    states = training["random"], training["random_of_fit"], training["callbacks"]
    return Resumed(optimizer, History(**training["history"]), *places, *states, best)


def _state_in(
    tensors: dict[str, np.ndarray], prefix: str, numbers: dict[str, Any], layout: Layout, optimizer: Optimizer
) -> Any:
    """The state of an optimizer in a file, for its `restore`."""
    own = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    return unpacked(own, numbers, layout, type(optimizer).n_slots)


def optimizer_in(path: str | os.PathLike[str], training: dict[str, Any], layout: Layout) -> Optimizer | None:
    """The optimizer of a checkpoint with its state; None if its learning rate is a function."""
    optimizer = optimizer_of(training["optimizer"])
    if optimizer is not None:
        tensors, _ = serialization.load(path)
        optimizer.restore(_state_in(tensors, "optimizer.", training["optimizer"], layout, optimizer))
    return optimizer


def go_on(callbacks: Sequence[Callback], run: Run, resumed: Resumed) -> None:
    """Give the callbacks the states that they had, those of one class in their order."""
    states = list(resumed.callbacks)
    for callback in callbacks:
        if isinstance(callback, Checkpoint):
            continue
        own = next((each for each in states if each["name"] == type(callback).__name__), None)
        if own is not None:
            states.remove(own)
            callback.load_state(own["state"], run)
        if hasattr(callback, "best_snapshot"):
            callback.best_snapshot = resumed.best
    for callback in callbacks:
        if isinstance(callback, Checkpoint):
            callback.go_on(run, resumed)
