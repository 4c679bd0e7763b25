"""One call of `fit` as callbacks see it, and the base class of the callbacks."""

from collections.abc import Callable
from typing import Any, Literal

from bpkernel.history import History

Mode = Literal["min", "max"]


class Run:
    """One call of `fit`, as callbacks see it.

    Attributes
    ----------
    net : MLP or estimator
        What is trained.  Between epochs its weights may be read and changed, and its weights may be pruned.
    optimizer : Optimizer
        Its settings may be changed; they take effect at the next epoch.
    history : History
        The course so far.
    n_epochs : int
        The epochs that were asked for.
    monitor : str
        The name of what `fit` monitors, such as "val_loss".
    """

    def __init__(self, net: Any, optimizer: Any, history: History, n_epochs: int, monitor: str, training: Any):
        self.net, self.optimizer, self.history, self.n_epochs, self.monitor = net, optimizer, history, n_epochs, monitor
        self._training, self._stopped = training, False

    @property
    def epoch(self) -> int:
        """The epochs that have ended."""
        return len(self.history.loss)

    @property
    def goes_on(self) -> bool:
        """Whether there will be another epoch."""
        return self.epoch < self.n_epochs and not self._stopped

    def stop(self) -> None:
        """End training after this epoch."""
        self._stopped = True

    @property
    def monitored(self) -> float:
        """The last value of `monitor`."""
        return self.value(self.monitor)

    @property
    def mode(self) -> Mode:
        """Whether low or high values of `monitor` are good."""
        return mode_of(self.monitor)

    def value(self, name: str) -> float:
        """The last value of a figure of the history by its name: "loss", "val_loss", or that of a metric.

        Raises
        ------
        ValueError
            If the history has no such figure.
        """
        figures = self.history.figures()
        if name not in figures:
            raise ValueError(f"monitor must be one of {', '.join(figures)}; got {name!r}")
        return figures[name][-1]

    @property
    def layout(self) -> Any:
        """Where the numbers of the net lie; for checkpoints."""
        return self._training.network.layout

    @property
    def batch_size(self) -> int:
        """The samples in a mini-batch."""
        return int(self._training.batch_size)

    @property
    def sums(self) -> Any:
        """The sums of the present epoch so far; for checkpoints."""
        return self._training.sums

    def snapshot(self) -> Any:
        """The weights of the net and the state of the optimizer, for `restore`."""
        return self._training.snapshot()

    def restore(self, snapshot: Any) -> None:
        """Go back to a `snapshot`."""
        self._training.restore(snapshot)


def mode_of(monitor: str) -> Mode:
    """Whether low or high values of a figure are good: low ones of losses and errors, high ones of scores."""
    name = monitor.removeprefix("val_")
    return "min" if name.endswith(("loss", "error", "deviance")) and not name.startswith("neg_") else "max"


class Callback:
    """Base of the callbacks of `fit`; all methods do nothing here."""

    def begin(self, run: Run) -> None:
        """Training begins."""

    def part(self, run: Run, n_samples: int) -> None:
        """Some mini-batches of an epoch, of so many samples, have been seen."""

    def epoch(self, run: Run) -> None:
        """An epoch has ended, and its figures are in `run.history`."""

    def end(self, run: Run, *, failed: bool) -> None:
        """Training has ended, also by an interrupt or an exception; failed: the net has been put back as it was before."""

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds of this callback: numbers, texts, lists and dictionaries of these."""
        return {}

    def load_state(self, state: dict[str, Any], run: Run) -> None:
        """Go on from a `state`, after `begin`."""


def as_callback(given: Any, expected: str = "Callback objects") -> Callback:
    """A callback, or a function of the run as one; raises TypeError, which says what was expected, for others."""
    if not (isinstance(given, Callback) or callable(given)) or isinstance(given, type):
        raise TypeError(f"callbacks must be {expected} or functions of the run; got {given!r}")
    return given if isinstance(given, Callback) else Function(given)


class Function(Callback):
    """A function as a callback: it is called with the run, or with its history, after each epoch, and returns true to stop."""

    def __init__(self, function: Callable[[Any], object], *, of_history: bool = False):
        self._function, self._of_history = function, of_history

    def epoch(self, run: Run) -> None:
        if self._function(run.history if self._of_history else run):
            run.stop()
