"""Training of a net, and its outputs and loss, as its users see them."""

import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from bpkernel import validation
from bpkernel.callback import Callback, Run
from bpkernel.fit_call import Fit, Settings
from bpkernel.functions.optimizer import Optimizer
from bpkernel.functions.optimizers import OptimizerName
from bpkernel.history import History
from bpkernel.structure import Structure

PerLayer = float | Sequence[float]
Metric = str | Callable[..., float]


class Fitting(Structure):
    """Base of `MLP`: `fit`, `predict` and `loss`."""

    optimizer: Optimizer | None = None  # of the checkpoint that the net was loaded from

    def fit(
        self,
        X: ArrayLike,
        T: ArrayLike,
        epochs: int = 20,
        batch_size: int = 200,
        optimizer: Optimizer | OptimizerName | None = None,
        shuffle: bool = True,
        sample_weight: ArrayLike | None = None,
        validation_data: tuple[ArrayLike, ArrayLike] | tuple[ArrayLike, ArrayLike, ArrayLike] | None = None,
        progress: bool = False,
        patience: int | None = None,
        callback: Callable[[History], object] | None = None,
        alpha: PerLayer = 0.0,
        *,
        l1: PerLayer = 0.0,
        clip_norm: float | None = None,
        clip_value: float | None = None,
        max_norm: float | Sequence[float | None] | None = None,
        label_smoothing: float = 0.0,
        class_weight: Literal["balanced"] | Mapping[int, float] | None = None,
        validation_split: float = 0.0,
        monitor: str | None = None,
        metrics: Metric | Iterable[Metric] = (),
        callbacks: Iterable[Callback | Callable[[Run], object]] = (),
        checkpoint: str | os.PathLike[str] | None = None,
        every: float = 1.0,
        resume: str | os.PathLike[str] | bool | None = None,
    ) -> History:
        """Train from the present weights.

        Each step is along the gradient of the mini-batch's objective, (Σ_n s_n E^n + ½ alpha Σ w² + l1 Σ |w|) / Σ_n s_n.

        Parameters
        ----------
        X : array-like (n_samples, n_inputs)
            Inputs; read where they are if float32 or float64, C-contiguous and writeable, else copied once.
        T : array-like (n_samples, n_targets)
            Targets, one for each output, except for quantile and gaussian_nll; (n_samples,) will do for one target, and for
            cross_entropy and focal class indices (n_samples,).
        epochs : int, default=20
            Times that every sample is seen.
        batch_size : int, default=200
            Samples in a mini-batch; all of them if there are fewer.
        optimizer : Optimizer or str, default=None
            SGD, Adam, AdamW, NAdam, RMSprop, Adagrad or Lion, or one of these in lower case for its default settings;
            LevenbergMarquardt or LBFGS, which see all samples in every step, and ignore `batch_size` and `shuffle`.  None for a
            new Adam(), or for the `optimizer` of a net that was loaded from a checkpoint.  One passed again goes on from its
            state.
        shuffle : bool, default=True
            Whether to see the samples in a new order each epoch, unless they are one mini-batch.
        sample_weight : array-like (n_samples,), default=None
            The s_n, not negative; None for ones.
        validation_data : (X, T) or (X, T, sample_weight), default=None
            Samples to compute the loss of after each epoch.
        progress : bool, default=False
            Whether to show progress on standard error: see `callbacks.ProgressBar`.
        patience : int, default=None
            Stop when `monitor` has not improved for this many epochs, and go back to the best one: the weights, which of
            them are pruned, and the state of the optimizer.
        callback : callable, default=None
            Called with the history after each epoch; training stops if it returns true.  It may change the settings of
            the optimizer, such as the learning rate, for the epochs that follow, and prune weights.
        alpha : float, or sequence of one float for each layer but the inputs, default=0.0
            L2, as in scikit-learn, of the weights that lead to a layer; it leaves out biases, and `History.loss` leaves it out.
        l1 : float, or sequence of one float for each layer but the inputs, default=0.0
            L1, likewise.
        clip_norm : float, default=None
            The most norm of the gradient of all weights and biases, penalties included; a longer one is shortened to it.
        clip_value : float, default=None
            The most size of each number of the gradient, before `clip_norm`.
        max_norm : float, or sequence of one float or None for each layer but the inputs, default=None
            The most norm of the weights that lead to a unit, without its bias; after each step longer ones are shortened.
        label_smoothing : float, default=0.0
            0 ≤ ε ≤ 1: targets of cross_entropy, binary_cross_entropy and focal losses become (1 - ε) t + ε / n_classes, in
            `History.loss`, too, but not in validation data and metrics.
        class_weight : "balanced" or dict of int to float, default=None
            What the weights of the samples of each class are multiplied by; "balanced": n_samples / (n_classes · samples of
            the class).  The validation data are not weighted so.
        validation_split : float, default=0.0
            Share of the samples, drawn at random, to be held back as validation data.
        monitor : str, default=None
            What patience and `schedules.ReduceOnPlateau` watch: "loss", "val_loss", or the name of a metric, for validation
            data with "val_" before it.  None: "val_loss" if there are validation data, else "loss".
        metrics : str, callable, or iterable of these, default=()
            Names of scikit-learn's scorers, scorers, or functions of true and predicted values, computed after each epoch for
            the validation data, or without these for the training data.  For losses of classes the values are class indices.
        callbacks : iterable of Callback or callable, default=()
            See `bpkernel.callbacks`.  Functions are called with the run after each epoch; training stops if one returns true.
        checkpoint : path-like, default=None
            File to which all that training needs to go on is written, whole or not at all, also when training is interrupted
            (needs the extra `save`).
        every : float, default=1.0
            Epochs between two checkpoints; 0.25 for four in an epoch.
        resume : path-like or bool, default=None
            A checkpoint to go on from, with the same X and T; True: `checkpoint`, if there is such a file.  `epochs` counts
            those before, too.  The results have the bits of training that was not interrupted.

        Returns
        -------
        History

        Raises
        ------
        ValueError, TypeError
            If an argument is not as above, before any training; or if the callback gives the optimizer a setting out of
            its range: the net and the optimizer's state are then as before.
        FloatingPointError
            If training diverges; the net and the optimizer's state are then as before.
        FileNotFoundError
            If there is no checkpoint to resume from, or no folder to write it to.
        RuntimeError
            If another call of `fit` trains this net or uses this optimizer, in another thread or around the callback that
            makes this call.  Meanwhile `predict`, `loss` and copies of the net are allowed.
        Exception
            Of any kind that an activation, a loss or a learning rate of your own raises: the net and the optimizer's state are
            then as before.
            After an exception of the callback they are as the last epoch has left them.

        Notes
        -----
        After an interrupt (Ctrl-C) the net keeps what it has learnt; with `patience` net and optimizer are those of the best
        epoch.
        """
        given = Settings(
            *(epochs, batch_size, optimizer, shuffle, validation_data, progress, patience, callback, alpha, l1, clip_norm),
            *(clip_value, max_norm, label_smoothing, class_weight, validation_split, monitor, metrics, callbacks),
            *(checkpoint, every, resume),
        )
        return Fit(self, X, T, sample_weight, given).run(sys._getframe())

    def predict(self, X: ArrayLike) -> np.ndarray:
        """The outputs y of the net, (n_samples, n_outputs), for inputs X (n_samples, n_inputs).

        Raises ValueError or TypeError if X is of another shape or holds other than finite numbers.  The outputs of a
        sample do not depend on the others.
        """
        return self._network.outputs(validation.samples("X", X, self.layer_sizes[0], self.dtype))

    def loss(self, X: ArrayLike, T: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """The mean error Σ_n s_n E^n / Σ_n s_n; X, T, sample_weight and what is raised as in `fit`."""
        return self._network.mean_error(self._samples(X, T, sample_weight))
