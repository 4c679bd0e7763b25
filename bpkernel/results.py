"""Floor 4: what training and back-propagation give back."""

from dataclasses import dataclass, field

import numpy as np


@dataclass
class History:
    """The course of one `fit`, one number an epoch in each list.

    Attributes
    ----------
    loss : list of float
        Mean E^n over the epoch's samples, each E^n as of its own mini-batch, before that batch's step.
    validation_loss : list of float
        Mean E^n of the validation data at the end of the epoch; empty without validation data.
    validation_score : list of float
        For a callback to fill, with a score of its own.
    seconds : list of float
        Wall time of the epoch's training, in seconds; the first includes the compilation, where there was one.
    n_samples : int
        Samples seen in an epoch.
    best_epoch : int or None
        Index of the epoch whose weights the net has kept, where `patience` was set; else None.
    """

    n_samples: int
    loss: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)
    validation_score: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    best_epoch: int | None = None

    @property
    def samples_per_second(self) -> list[float]:
        """Training speed of every epoch."""
        return [self.n_samples / max(seconds, 1e-9) for seconds in self.seconds]


@dataclass(frozen=True)
class Backprop:
    """Everything that one forward and backward pass computes; l counts layers from the input.

    Attributes
    ----------
    a, z, delta : tuple of ndarray (n_samples, n_units)
        Pre-activations, outputs and ∂E/∂a of every layer.  z[0] is X; a[0] and delta[0], which the inputs do not have,
        are of width 0.
    dw : tuple of ndarray (n_in, n_out)
        ∂E/∂w of every layer of weights, summed over the samples; dw[l] leads from z[l] to a[l + 1].
    db : tuple of ndarray (n_out,)
        The same of the biases.
    error : float
        E = Σ_n E^n.
    """

    a: tuple[np.ndarray, ...]
    z: tuple[np.ndarray, ...]
    delta: tuple[np.ndarray, ...]
    dw: tuple[np.ndarray, ...]
    db: tuple[np.ndarray, ...]
    error: float
