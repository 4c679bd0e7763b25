"""Floor 4: the epochs of a `fit`, around the compiled mini-batches."""

import math
import operator
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from types import FrameType
from typing import Any, NamedTuple

import numpy as np

from bpkernel import epoch, plan
from bpkernel.network import Network
from bpkernel.optimizers import Optimizer
from bpkernel.pace import Pace
from bpkernel.progress import Bar
from bpkernel.results import History
from bpkernel.threads import launch, stack


class Fit(NamedTuple):
    """A call of `fit`: where it runs, and what it trains."""

    process: int
    thread: int
    frame: FrameType
    network: Network
    optimizer: Optimizer

    def goes_on(self) -> bool:
        """Not if an interrupt hit it before it could leave `fits`, nor in a child forked while another thread trained."""
        if self.thread == threading.get_ident():
            return any(frame is self.frame for frame in stack(self.thread))
        return self.process == os.getpid() and self.thread in sys._current_frames()


# The fits that go on, first come first.  It is noted here and not in nets and optimizers, whose copies and pickles are free.
fits: dict[object, Fit] = {}


def refuse_second(call: object) -> None:
    """Raise RuntimeError where a fit that came before this one trains the same net or optimizer."""
    this = fits[call]
    for other, fit in list(fits.items()):
        if other is call:
            return
        if not fit.goes_on():
            fits.pop(other, None)
        elif fit.network is this.network:
            raise RuntimeError(
                "this net is being trained by another call of fit, in another thread or around this callback; "
                "wait for its end, or train a copy.deepcopy of the net"
            )
        elif fit.optimizer is this.optimizer:
            raise RuntimeError(
                f"this {type(fit.optimizer).__name__} is in use by another call of fit, in another thread or around this "
                "callback; give each net an optimizer of its own, or wait for the end of that fit"
            )


class Diverged(FloatingPointError):
    """Training has left the range of finite numbers, and net and optimizer are as before it."""


class MiniBatches:
    """Mini-batch training of a net in place, in compiled calls of about the length of a Pace.

    The weights and the optimizer's state are those after a whole number of mini-batches at any time Python runs, so
    whatever interrupts the training finds the net in order.
    """

    def __init__(self, network: Network, step: plan.Step, batch_size: int):
        self.net, self.step, self.batch_size = network.compiled, step, batch_size
        self.n_threads = plan.threads_for(network.layout, batch_size)
        self.work = plan.work(network.layout, batch_size, self.n_threads)
        self._pace = Pace()

    def run(self, samples: plan.Samples, order: np.ndarray, total: np.ndarray) -> Iterator[slice]:
        """See the samples once in an order (n,), and yield after each compiled call the part of it that has been seen.

        total (1, 3) : the sums of `epoch.train`, added to.
        """
        order = np.ascontiguousarray(order, np.int64)
        for part in self._pace.parts(order.size, self.batch_size):
            launch(self.n_threads, epoch.train, self.net, self.step, samples, order[part], self.work, total)
            yield part

    def run_epochs(self, samples: plan.Samples, orders: np.ndarray, total: np.ndarray) -> None:
        """See the samples in several orders (n_epochs, n), in one compiled call; total (n_epochs, 3): added to."""
        launch(
            self.n_threads,
            epoch.train,
            self.net,
            self.step,
            samples,
            np.ascontiguousarray(orders, np.int64).ravel(),
            self.work,
            total,
        )


class Trainer:
    """One run of mini-batch training of a net, in place.

    Where the loss or a weight is no longer finite, or a callback has set what the optimizer refuses, all is put back as it was
    before: weights, the optimizer's state, and that of `random`, from which others draw the orders.
    """

    def __init__(self, network: Network, optimizer: Optimizer, batch_size: int, alpha: float, random: np.random.Generator):
        self.params, self.optimizer, self.random = network.params, optimizer, random
        self.read = optimizer.values()
        settings = optimizer.settings(network.layout.dtype)
        self.random_before = random.bit_generator.state
        self.before = self.params.copy(), optimizer.snapshot()
        try:
            step = plan.step(type(optimizer), settings, *optimizer.bind(network.layout), alpha=alpha)
            self.batches = MiniBatches(network, step, batch_size)
        except BaseException:  # interrupted while compiling
            optimizer.restore(self.before[1])
            raise
        self.best: tuple[np.ndarray, Any] | None = None  # weights and optimizer at the lowest validation loss, with patience

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
                    self._read_settings()
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
                            self.best = self.params.copy(), self.optimizer.snapshot()
                        stop = stop or number - lowest_epoch >= patience
                    if stop:
                        break
        finally:
            if self.best is not None:
                self._go_back(self.best)
        self._go_on_if(bool(np.isfinite(self.params).all()), len(history.loss))
        return history

    def _read_settings(self) -> None:
        """Take over the settings that a callback has changed; to check them takes the time of a short epoch."""
        values = self.optimizer.values()
        if any(map(operator.is_not, values, self.read)):
            try:
                self.batches.step.settings[:] = self.optimizer.settings(self.params.dtype)
            except (TypeError, ValueError):
                self._undo()
                raise
            self.read = values

    def _epoch(self, samples: plan.Samples, order: np.ndarray, history: History, bar: Bar | None) -> float:
        """Σ_n s_n E^n of one epoch."""
        total = np.zeros((1, 3))
        for part in self.batches.run(samples, order, total):
            self._go_on_if(math.isfinite(total[0, 0]), len(history.loss) + 1)
            if bar is not None:
                bar.samples(part.stop - part.start, history)
        return float(total[0, 0])

    def _go_on_if(self, finite: bool, epoch: int) -> None:
        """Put everything back as it was and raise, unless what was computed is finite."""
        if not finite:
            self._undo()
            raise Diverged(
                f"training diverged in epoch {epoch}: the loss or a weight is no longer finite; the net and the optimizer "
                f"are as before fit. Lower the learning rate (now {self.batches.step.settings[0]:g}), or standardise X and T"
            )

    def _undo(self) -> None:
        self.best = None
        self._go_back(self.before)
        self.random.bit_generator.state = self.random_before

    def _go_back(self, kept: tuple[np.ndarray, Any]) -> None:
        self.params[:], snapshot = kept
        self.optimizer.restore(snapshot)
