"""The course of a fit."""

import html
from dataclasses import dataclass, field
from typing import Any

from bpkernel import plots
from bpkernel.extras import need


@dataclass(repr=False)
class History:
    """The course of one `fit`, one number an epoch in each list.

    Attributes
    ----------
    loss : list of float
        Mean E^n over the epoch's samples, each E^n computed before the step of its own mini-batch.
    validation_loss : list of float
        Mean E^n of the validation data at the end of the epoch; empty without validation data.
    validation_score : list of float
        For a callback to fill, with a score of its own.
    metrics : dict of str to list of float
        The `metrics` of `fit` at the end of the epoch by their names, such as "val_accuracy"; without "val_" those of the
        training data.
    seconds : list of float
        Wall time of the epoch's training, in seconds; the first includes compilation, if there was any.
    n_samples : int
        Samples seen in an epoch.
    best_epoch : int or None
        Index of the epoch whose weights the net has kept, with early stopping; otherwise None.
    stop_reason : str or None
        Why `LevenbergMarquardt` or `LBFGS` could make no further step: "gradient" (it is small), "damping" (no step lowers the
        error) or "line search" (no point along the direction does).  None if training ended otherwise.
    """

    n_samples: int
    loss: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)
    validation_score: list[float] = field(default_factory=list)
    metrics: dict[str, list[float]] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)
    best_epoch: int | None = None
    stop_reason: str | None = None

    @property
    def samples_per_second(self) -> list[float]:
        """Training speed of every epoch."""
        return [self.n_samples / max(seconds, 1e-9) for seconds in self.seconds]

    def figures(self, *, seconds: bool = False) -> dict[str, list[float]]:
        """The lists that are not empty by the names that `monitor` has for them: "loss", "val_loss", and the metrics."""
        own = {"loss": self.loss, "val_loss": self.validation_loss, **self.metrics}
        own |= {"seconds": self.seconds} if seconds else {}
        return {name: values for name, values in own.items() if values}

    def to_frame(self) -> Any:
        """A pandas.DataFrame with one row for each epoch, numbered from 1, and a column for each list that is not empty.

        It needs pandas (the extra `cli`).
        """
        pandas = need("pandas", "cli")
        lists = {name: getattr(self, name) for name in ("loss", "validation_loss", "validation_score")}
        columns = {name: values for name, values in {**lists, **self.metrics, "seconds": self.seconds}.items() if values}
        n = len(self.loss)
        frame = pandas.DataFrame({name: pandas.Series(values[:n], dtype=float) for name, values in columns.items()})
        frame.index = pandas.RangeIndex(1, len(frame) + 1, name="epoch")
        return frame

    def plot(self, ax: Any = None) -> Any:
        """The learning curves (needs the extra `plot`); returns the axes."""
        return plots.learning_curves(self, ax)

    def __repr__(self) -> str:
        if not self.loss:
            return f"History(no epochs, {self.n_samples} samples)"
        figures = [f"{len(self.loss)} epochs", f"loss {self.loss[0]:.4g} to {self.loss[-1]:.4g}"]
        if self.validation_loss:
            best = "" if self.best_epoch is None else f", best epoch {self.best_epoch + 1}"
            figures.append(f"validation loss {self.validation_loss[0]:.4g} to {self.validation_loss[-1]:.4g}{best}")
        figures.append(f"{sum(self.seconds):.3g} s")
        return f"History({', '.join(figures)}{'' if self.stop_reason is None else f', stopped: {self.stop_reason}'})"

    def _repr_html_(self) -> str:
        """The last epochs as a table, for notebooks."""
        try:
            table = self.to_frame().tail(5)._repr_html_()
        except ImportError:
            table = ""
        return f"<p>{html.escape(repr(self))}</p>{table}"
