"""The course of a fit."""

from dataclasses import dataclass, field


@dataclass
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
    seconds : list of float
        Wall time of the epoch's training, in seconds; the first includes compilation, if there was any.
    n_samples : int
        Samples seen in an epoch.
    best_epoch : int or None
        Index of the epoch whose weights the net has kept, if `patience` was set; otherwise None.
    stop_reason : str or None
        Why `LevenbergMarquardt` or `LBFGS` could make no further step: "gradient" (it is small), "damping" (no step lowers the
        error) or "line search" (no point along the direction does).  None if training ended otherwise.
    """

    n_samples: int
    loss: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)
    validation_score: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    best_epoch: int | None = None
    stop_reason: str | None = None

    @property
    def samples_per_second(self) -> list[float]:
        """Training speed of every epoch."""
        return [self.n_samples / max(seconds, 1e-9) for seconds in self.seconds]
