"""Floor 4: the epochs of a `fit`, around the compiled mini-batches."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext

import numpy as np

from bpkernel import crew, epoch, plan
from bpkernel.layout import Layout
from bpkernel.optimizers import Optimizer
from bpkernel.progress import Bar
from bpkernel.results import History
from bpkernel.threads import launch
from bpkernel.tiles import ROWS

NO_ERRORS = np.empty(0)
SECONDS = 0.1  # about how long one compiled call may take: Ctrl-C and the progress bar wait for its end


class Diverged(FloatingPointError):
    """Training has left the range of finite numbers, and net and optimizer are as before it."""


class Pace:
    """How many mini-batches make a compiled call of about SECONDS; learnt from one call for the next."""

    def __init__(self) -> None:
        self._batches = 1

    def parts(self, n: int, batch_size: int) -> Iterator[slice]:
        """Slices of n samples, of whole mini-batches each; what the caller does before the next is timed."""
        first = 0
        while first < n:
            start = time.perf_counter()
            part = slice(first, min(first + self._batches * batch_size, n))
            yield part
            growth = min(2.0, SECONDS / max(time.perf_counter() - start, 1e-9))  # small, as a first call compiles too
            self._batches = min(max(1, int(self._batches * growth)), -(-n // batch_size))
            first = part.stop


class Trainer:
    """One run of mini-batch training of a net, in place.

    The weights and the optimizer's state are those after a whole number of mini-batches at any time Python runs, so
    whatever interrupts the training finds the net in order.  Where the loss or a weight is no longer finite, both are
    put back as they were before.
    """

    def __init__(self, layout: Layout, net: plan.Net, optimizer: Optimizer, batch_size: int, alpha: float):
        self.layout, self.net, self.optimizer = layout, net, optimizer
        settings = optimizer.settings(layout.dtype)
        self.before = net.params.copy(), optimizer.snapshot()
        self.n_threads = plan.threads_for(layout, batch_size)
        self.work = plan.work(layout, batch_size, self.n_threads)
        try:
            self.step = plan.step(type(optimizer), settings, *optimizer.bind(layout), alpha=alpha)
        except BaseException:  # interrupted while compiling
            optimizer.restore(self.before[1])
            raise
        self.best: np.ndarray | None = None  # the weights of the lowest validation loss, where patience is set
        self.pace = Pace()

    def run(
        self,
        samples: plan.Samples,
        orders: Callable[[], np.ndarray],
        epochs: int,
        validation: Callable[[], float] | None,
        patience: int | None,
        progress: bool,
        callback: Callable[[History], object] | None,
    ) -> History:
        """Up to `epochs` epochs, each in the order that `orders()` gives."""
        history = History(n_samples=len(samples.T))
        total_weight = float(samples.s.sum(dtype=np.float64))
        lowest, lowest_epoch = math.inf, 0
        try:
            with Bar(len(samples.T), epochs) if progress else nullcontext() as bar:
                for number in range(epochs):
                    start = time.perf_counter()
                    loss = self._epoch(samples, orders(), history, bar) / total_weight
                    history.loss.append(loss)
                    history.seconds.append(time.perf_counter() - start)
                    if validation is not None:
                        history.validation_loss.append(validation())
                        self._go_on_if(math.isfinite(history.validation_loss[-1]), len(history.loss))
                    stop = callback is not None and callback(history)
                    if bar is not None:
                        bar.epoch(history)
                    if patience is not None:
                        if history.validation_loss[-1] < lowest:
                            lowest, lowest_epoch = history.validation_loss[-1], number
                            history.best_epoch = number
                            self.best = self.net.params.copy()
                        stop = stop or number - lowest_epoch >= patience
                    if stop:
                        break
        finally:
            if self.best is not None:
                self.net.params[:] = self.best
        self._go_on_if(bool(np.isfinite(self.net.params).all()), len(history.loss))
        return history

    def _epoch(self, samples: plan.Samples, order: np.ndarray, history: History, bar: Bar | None) -> float:
        """Σ_n s_n E^n of one epoch, in compiled calls of about SECONDS."""
        total = np.zeros(1)
        for part in self.pace.parts(order.size, self.work.units.n_samples):
            launch(self.n_threads, epoch.train, self.net, self.step, samples, order[part], self.work, total)
            self._go_on_if(math.isfinite(total[0]), len(history.loss) + 1)
            if bar is not None:
                bar.samples(part.stop - part.start, history)
        return float(total[0])

    def _go_on_if(self, finite: bool, epoch: int) -> None:
        """Put everything back as it was and raise, unless what was computed is finite."""
        if not finite:
            self.best = None
            self.net.params[:], snapshot = self.before
            self.optimizer.restore(snapshot)
            raise Diverged(
                f"training diverged in epoch {epoch}: the loss or a weight is no longer finite; the net and the optimizer "
                f"are as before fit. Lower the learning rate (now {self.step.settings[0]:g}), or standardise X and T"
            )


class Inference:
    """Outputs and errors of a net, forward only; for one caller at a time."""

    def __init__(self, layout: Layout, net: plan.Net, n_samples: int):
        self.layout, self.net = layout, net
        self.n_threads = plan.threads_worth(layout.flops * n_samples // 3) if n_samples > 1 else 1
        share = -(-n_samples // (epoch.SHARES * self.n_threads)) if self.n_threads > 1 else n_samples
        each = min(-(-share // ROWS) * ROWS, plan.PREDICTED_TOGETHER) if n_samples > 1 else 1
        self.units = plan.units(layout, each * self.n_threads)
        self.own_rows, self.crew = np.arange(each), crew.state(self.n_threads)

    def outputs(self, samples: plan.Samples, y: np.ndarray) -> None:
        """y (n_samples, n_outputs): overwritten."""
        self._run(samples, y, NO_ERRORS)

    def errors(self, samples: plan.Samples) -> np.ndarray:
        """E^n (n_samples,), float64."""
        e = np.empty(len(samples.s))
        self._run(samples, samples.T[:0], e)
        return e

    def _run(self, samples: plan.Samples, y: np.ndarray, e: np.ndarray) -> None:
        n = max(len(y), len(e))
        parts = Pace().parts(n, self.units.n_samples) if n > 1 else (slice(0, n),)
        for part in parts:
            launch(
                self.n_threads,
                epoch.infer,
                self.net,
                samples,
                part.start,
                self.units,
                self.own_rows,
                self.crew,
                y[part],
                e[part],
            )


def mean_error(layout: Layout, net: plan.Net, samples: plan.Samples) -> float:
    """Σ_n s_n E^n / Σ_n s_n; a sample without weight does not count, even if its E^n is Inf."""
    e = Inference(layout, net, len(samples.s)).errors(samples)
    s = samples.s.astype(np.float64)
    return float((s * np.where(s > 0, e, 0)).sum() / s.sum())
