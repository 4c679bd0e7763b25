"""Floor 4: the epochs of a `fit`, around the compiled mini-batches."""

import math
import time
from collections.abc import Callable
from contextlib import nullcontext

import numpy as np

from bpkernel import passes
from bpkernel.layout import Layout, aligned_zeros
from bpkernel.optimizers import OPTIMIZERS, Optimizer
from bpkernel.progress import Bar
from bpkernel.results import History
from bpkernel.threads import launch

SECONDS = 0.1  # about how long one compiled call may take: Ctrl-C and the progress bar wait for its end
EVALUATION_BATCH = 1024  # samples whose a and z are held at once where nothing goes back


class Trainer:
    """One run of mini-batch training of a net, in place.

    The weights and the optimizer's state are those after a whole number of mini-batches at any time Python runs, so
    whatever interrupts the training finds the net in order.  Where the loss or a weight is no longer finite, both are
    put back as they were before.
    """

    def __init__(self, layout: Layout, net: passes.Net, optimizer: Optimizer, batch_size: int):
        self.layout, self.net, self.optimizer = layout, net, optimizer
        settings = optimizer.settings()
        self.before = net.params.copy(), optimizer.snapshot()
        state, steps = optimizer.bind(layout)
        self.step = passes.Step(OPTIMIZERS.index(type(optimizer)), settings, state, steps)
        self.work = passes.work(layout, batch_size, back=True)
        self.dw = aligned_zeros(layout.n_params, layout.dtype)
        self.best: np.ndarray | None = None  # the weights of the lowest validation loss, where patience is set
        self.batches = 1  # mini-batches in a compiled call, adapted to SECONDS

    def run(
        self,
        samples: passes.Samples,
        orders: Callable[[], np.ndarray],
        epochs: int,
        validation: Callable[[], float] | None,
        patience: int | None,
        progress: bool,
        callback: Callable[[History], object] | None,
    ) -> History:
        """Up to `epochs` epochs, each in the order that `orders()` gives."""
        history = History(n_samples=len(samples.X))
        total_weight = float(samples.s.sum(dtype=np.float64))
        lowest = math.inf
        try:
            with Bar(len(samples.X), epochs) if progress else nullcontext() as bar:
                for epoch in range(epochs):
                    start = time.perf_counter()
                    loss = self._epoch(samples, orders(), history, bar) / total_weight
                    history.loss.append(loss)
                    history.seconds.append(time.perf_counter() - start)
                    if validation is not None:
                        history.validation_loss.append(self._finite(validation(), len(history.loss)))
                    stop = callback is not None and callback(history)
                    if bar is not None:
                        bar.epoch(history)
                    if patience is not None:
                        if history.validation_loss[-1] < lowest:
                            lowest, history.best_epoch = history.validation_loss[-1], epoch
                            self.best = self.net.params.copy()
                        stop = stop or epoch - (history.best_epoch or 0) >= patience
                    if stop:
                        break
        finally:
            if self.best is not None:
                self.net.params[:] = self.best
        self._finite(0.0 if np.isfinite(self.net.params).all() else math.nan, len(history.loss))
        return history

    def _epoch(self, samples: passes.Samples, order: np.ndarray, history: History, bar: Bar | None) -> float:
        """Σ_n s_n E^n of one epoch, in compiled calls of about SECONDS."""
        total, first = 0.0, 0
        while first < order.size:
            part = order[first : first + self.batches * self.work.n_samples]
            start = time.perf_counter()
            total = launch(passes.train, self.net, self.step, samples, part, self.work, self.dw, total)
            self._finite(total, len(history.loss) + 1)
            allowed = SECONDS / max(time.perf_counter() - start, 1e-9)
            wanted = int(self.batches * min(2.0, allowed))  # at most doubled, as the first call may have compiled
            self.batches = min(max(1, wanted), -(-order.size // self.work.n_samples))
            first += part.size
            if bar is not None:
                bar.samples(part.size, history)
        return total

    def _finite(self, value: float, epoch: int) -> float:
        if not math.isfinite(value):
            self.best = None
            self.net.params[:], snapshot = self.before
            self.optimizer.restore(snapshot)
            raise FloatingPointError(
                f"training diverged in epoch {epoch}: the loss or a weight is no longer finite; the net and the optimizer "
                f"are as before fit. Lower the learning rate (now {self.step.settings[0]:g}), or standardise X and T"
            )
        return value


def mean_error(layout: Layout, net: passes.Net, samples: passes.Samples) -> float:
    """Σ_n s_n E^n / Σ_n s_n."""
    n = len(samples.X)
    scratch = passes.work(layout, min(n, EVALUATION_BATCH), back=False)
    total = launch(passes.evaluate, net, samples, np.arange(n), scratch)
    return float(total / samples.s.sum(dtype=np.float64))
