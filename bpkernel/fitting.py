"""Training of a net, and its outputs and loss, as its users see them."""

import sys
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from bpkernel import validation
from bpkernel.full_batch import FullBatch
from bpkernel.full_batch_training import FullBatchTraining
from bpkernel.functions.optimizers import Adam, Optimizer
from bpkernel.history import History
from bpkernel.runtime import in_use
from bpkernel.structure import Structure
from bpkernel.training import Shuffled, Training


class Fitting(Structure):
    """Base of `MLP`: `fit`, `predict` and `loss`."""

    def fit(
        self,
        X: ArrayLike,
        T: ArrayLike,
        epochs: int = 20,
        batch_size: int = 200,
        optimizer: Optimizer | None = None,
        shuffle: bool = True,
        sample_weight: ArrayLike | None = None,
        validation_data: tuple[ArrayLike, ArrayLike] | None = None,
        progress: bool = False,
        patience: int | None = None,
        callback: Callable[[History], object] | None = None,
        alpha: float = 0.0,
    ) -> History:
        """Train from the present weights.

        Each step is along the gradient of the mini-batch's objective, (Σ_n s_n E^n + ½ alpha Σ w²) / Σ_n s_n.

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
        optimizer : SGD, Adam, LevenbergMarquardt or LBFGS, default=None
            None for a new Adam().  One passed again goes on from its state.  LevenbergMarquardt and LBFGS see all samples in
            every step, and ignore `batch_size` and `shuffle`.
        shuffle : bool, default=True
            Whether to see the samples in a new order each epoch, unless they are one mini-batch.
        sample_weight : array-like (n_samples,), default=None
            The s_n, not negative; None for ones.
        validation_data : (X, T), default=None
            Samples to compute the loss of after each epoch.
        progress : bool, default=False
            Whether to draw a progress bar on standard error (needs the extra `cli`).
        patience : int, default=None
            Stop when the validation loss has not fallen for this many epochs, and go back to the epoch of the lowest: the
            weights, which of them are pruned, and the state of the optimizer.
        callback : callable, default=None
            Called with the history after each epoch; training stops if it returns true.  It may change the settings of
            the optimizer, such as the learning rate, for the epochs that follow, and prune weights.
        alpha : float, default=0.0
            L2, as in scikit-learn; it leaves out biases, and `History.loss` leaves it out.

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
        RuntimeError
            If another call of `fit` trains this net or uses this optimizer, in another thread or around the callback that
            makes this call.  Meanwhile `predict`, `loss` and copies of the net are allowed.
        Exception
            Of any kind that an activation or a loss of your own raises: the net and the optimizer's state are then as before.
            After an exception of the callback they are as the last epoch has left them.

        Notes
        -----
        After an interrupt (Ctrl-C) the net keeps what it has learnt; with `patience` net and optimizer are those of the lowest
        validation loss.
        """
        samples = self._samples(X, T, sample_weight)
        n_samples, alpha = len(samples.T), validation.not_negative("alpha", alpha, self.dtype)
        if sample_weight is not None:  # the samples have weights of the same ratios
            alpha = validation.not_negative("alpha / max(sample_weight)", alpha / float(np.max(sample_weight)), self.dtype)
        epochs, batch_size = validation.count("epochs", epochs), validation.count("batch_size", batch_size)
        shuffle, progress = validation.flag("shuffle", shuffle), validation.flag("progress", progress)
        optimizer = Adam() if optimizer is None else optimizer
        validation.training(optimizer, callback, patience, validation_data)
        validation_loss = None
        if validation_data is not None:
            held_back = self._samples(*validation.pair("validation_data", validation_data), prefix="validation ")
            validation_loss = lambda: self._network.mean_error(held_back)  # noqa: E731
        call = object()
        try:
            used = in_use.begin(call, sys._getframe(), self._network, optimizer)
            if used is not None:
                name = "net" if used is self._network else type(optimizer).__name__
                raise RuntimeError(
                    f"this {name} is being used by another call of fit, in another thread or around this callback; "
                    "wait for its end, or use a copy (copy.deepcopy)"
                )
            kind = FullBatchTraining if isinstance(optimizer, FullBatch) else Training
            training = kind(self._network, optimizer, min(batch_size, n_samples), alpha, self._random)
            orders = Shuffled(self._random, n_samples, shuffle and batch_size < n_samples)
            return training.run(samples, orders, epochs, validation_loss, patience, progress, callback)
        finally:
            in_use.uses.pop(call, None)

    def predict(self, X: ArrayLike) -> np.ndarray:
        """The outputs y of the net, (n_samples, n_outputs), for inputs X (n_samples, n_inputs).

        Raises ValueError or TypeError if X is of another shape or holds other than finite numbers.  The outputs of a
        sample do not depend on the others.
        """
        return self._network.outputs(validation.samples("X", X, self.layer_sizes[0], self.dtype))

    def loss(self, X: ArrayLike, T: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """The mean error Σ_n s_n E^n / Σ_n s_n; X, T, sample_weight and what is raised as in `fit`."""
        return self._network.mean_error(self._samples(X, T, sample_weight))
