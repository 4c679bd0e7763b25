"""Training: the one epoch loop of nets and estimators, and the early stopping of `MLP.fit`."""

import math
import operator
import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, Protocol

import numpy as np

from bpkernel.functions.optimizers import Optimizer
from bpkernel.history import History
from bpkernel.kernels import operands
from bpkernel.kernels.shuffle import shuffle
from bpkernel.mini_batches import MiniBatches
from bpkernel.network import Network
from bpkernel.progress import Bar

AHEAD_SECONDS = 2e-3  # of short epochs run in one call: a call from Python takes 10 µs, a third of an epoch of 150 samples


class Orders(Protocol):
    """The orders in which the samples are seen."""

    def draw(self, n_epochs: int) -> np.ndarray:
        """The orders of the next epochs (n_epochs, n_samples); the first of them is asked for at once."""

    def advance(self) -> None:
        """Another one of the epochs that have been drawn is asked for."""


class Epochs:
    """Epochs of mini-batches, one after the other.

    Short epochs are run ahead: several in one compiled call.  The settings of the optimizer must not change meanwhile.

    Parameters
    ----------
    batches : MiniBatches
    samples : operands.Samples
    orders : Orders
    ahead : bool
        Whether epochs may be run ahead.
    arrays : tuple of ndarray, default=()
        What training changes in place: `settle` takes back epochs that were run ahead and not asked for.
    """

    def __init__(
        self,
        batches: MiniBatches,
        samples: operands.Samples,
        orders: Orders,
        *,
        ahead: bool,
        arrays: tuple[np.ndarray, ...] = (),
    ):
        self._batches, self._samples, self._orders = batches, samples, orders
        self._ahead, self._arrays, self._n = ahead, arrays, 1
        self._total, self._asked = np.empty((0, 3)), 0
        self.seconds = 0.0  # that the last epoch took
        self.finished = None  # a mini-batch can always be followed by another one

    def next(self, most: int, on_part: Callable[[slice, np.ndarray], None] | None = None) -> np.ndarray:
        """The three sums of the next epoch, as of `kernels.epoch.batches`.

        At most `most` epochs will be asked for, this one included.  `on_part(part, sums)` is called after each compiled call
        with the samples that it has seen and the sums so far, unless epochs are run ahead.
        """
        if self._asked < len(self._total):
            self._orders.advance()
            self._asked += 1
            return self._total[self._asked - 1]
        n, start = min(self._n, most), time.perf_counter()
        total = np.zeros((n, 3))
        if n == 1:
            order = self._orders.draw(1)[0]
            for part in self._batches.parts(len(order)):
                self._batches.run(self._samples, order[part], total)
                if on_part is not None:
                    on_part(part, total[0])
            self._total, self._asked = total, 1
        else:
            self._before = [array.copy() for array in self._arrays]
            self._total, self._asked = total, 0  # from here on `settle` takes back all of it if it is interrupted
            self._drawn = self._orders.draw(n)
            self._batches.run(self._samples, self._drawn, total)
            self._asked = 1
        self.seconds = (time.perf_counter() - start) / n
        if self._ahead:
            self._n = max(1, min(2 * n, int(AHEAD_SECONDS / self.seconds)))
        return total[0]

    def settle(self) -> None:
        """Leave the arrays as they are after the epochs that have been asked for."""
        if self._asked == len(self._total):
            return
        for array, before in zip(self._arrays, self._before, strict=True):
            array[...] = before
        if self._asked > 0:
            self._batches.run(self._samples, self._drawn[: self._asked], np.zeros((self._asked, 3)))
        self._total = self._total[: self._asked]


Snapshot = tuple[np.ndarray, np.ndarray]  # of a net


class Diverged(FloatingPointError):
    """Training has left the range of finite numbers; the net and the optimizer are as before it."""


class Shuffled:
    """Orders drawn from a NumPy generator, or always that of the samples."""

    def __init__(self, generator: np.random.Generator, n_samples: int, shuffle: bool):
        self._generator, self._n_samples, self._shuffle = generator, n_samples, shuffle

    def draw(self, n_epochs: int) -> np.ndarray:
        orders = np.empty((n_epochs, self._n_samples), np.int64)
        if self._shuffle:
            random = self._generator.integers(0, 1 << 64, orders.shape, np.uint64)
            for row, order in zip(random, orders, strict=True):
                shuffle(row, order)
        else:
            orders[:] = np.arange(self._n_samples)
        return orders

    def advance(self) -> None:
        pass


class Training:
    """One fit of a net, in place.

    If the loss or a weight is no longer finite, or a setting of the optimizer is out of range, the weights and the
    optimizer's state are put back as they were before.
    """

    def __init__(self, network: Network, optimizer: Optimizer, batch_size: int, alpha: float, random: np.random.Generator):
        self._network, self._optimizer, self._random = network, optimizer, random
        self._random_before, self._values = random.bit_generator.state, optimizer.values()
        settings = optimizer.settings(network.layout.dtype)
        network.clear_absent()
        self._before = network.snapshot(), optimizer.snapshot(network.spare.copy)
        self._best: tuple[Snapshot, object] | None = None  # weights and optimizer of the best epoch, with patience
        self._batch_size, self._settings = batch_size, settings
        try:
            self._bind(alpha)
        except BaseException:  # interrupted while compiling
            optimizer.restore(self._before[1])
            raise

    def _bind(self, alpha: float) -> None:
        """Bind the optimizer to the net."""
        state, steps = self._optimizer.bind(self._network.layout)
        own = self._settings, state, steps, self._network.layout
        self._step = operands.step(type(self._optimizer), *own, alpha=alpha)
        self._batches = MiniBatches(self._network, self._step, self._batch_size)

    def _epochs(self, samples: operands.Samples, orders: Orders | None, *, ahead: bool) -> Any:
        assert orders is not None
        return Epochs(self._batches, samples, orders, ahead=ahead)

    def _take_over(self, settings: np.ndarray) -> None:
        self._step.settings[:] = settings

    def _end(self) -> None:
        """Leave memory to the next training."""
        self._batches.end()
        (params, _), optimizer = self._before
        self._network.spare.keep([params] if optimizer is None else [params, optimizer[1]])

    def _hint(self) -> str:
        """What helps against divergence."""
        return f"Lower the learning rate (now {self._step.settings[0]:g}), or standardise X and T"

    def run(
        self,
        samples: operands.Samples,
        orders: Orders | None,
        epochs: int,
        validation: Callable[[], float] | None,
        patience: int | None,
        progress: bool,
        callback: Callable[[History], object] | None,
    ) -> History:
        """Up to `epochs` epochs."""
        history = History(n_samples=len(samples.T))
        total_weight = float(samples.s.sum(dtype=np.float64))
        lowest, lowest_epoch = math.inf, 0
        watched = validation is not None or callback is not None or progress
        loop = self._epochs(samples, orders, ahead=not watched)
        try:
            with Bar(len(samples.T), epochs) if progress else nullcontext() as bar:

                def on_part(part: slice, sums: np.ndarray) -> None:
                    self._go_on_if(math.isfinite(sums[0]), len(history.loss) + 1)
                    if bar is not None:
                        bar.samples(part.stop - part.start, history)

                for number in range(epochs):
                    if callback is not None:
                        self._read_settings()
                    try:
                        loss = loop.next(epochs - number, on_part)[0] / total_weight
                        self._go_on_if(math.isfinite(loss), number + 1)
                        history.loss.append(float(loss))
                        history.seconds.append(loop.seconds)
                        if validation is not None:
                            history.validation_loss.append(validation())
                            self._go_on_if(math.isfinite(history.validation_loss[-1]), number + 1)
                    except Exception:  # of an activation or a loss: what has been trained since is not right
                        self._fail()
                        raise
                    stop = callback is not None and callback(history)
                    if callback is not None:
                        self._network.clear_absent()
                    if bar is not None:
                        bar.epoch(history)
                    if patience is not None:
                        if history.validation_loss[-1] < lowest:
                            lowest, lowest_epoch = history.validation_loss[-1], number
                            history.best_epoch = number
                            self._best = self._network.snapshot(), self._optimizer.snapshot(self._network.spare.copy)
                        stop = stop or number - lowest_epoch >= patience
                    history.stop_reason = loop.finished
                    if stop or loop.finished is not None:
                        break
        finally:
            if self._best is not None:
                self._put_back(*self._best)
        self._go_on_if(bool(np.isfinite(self._network.params).all()), len(history.loss))
        self._end()
        return history

    def _read_settings(self) -> None:
        """Take over the settings that a callback has changed; to check them takes the time of a short epoch."""
        values = self._optimizer.values()
        if any(map(operator.is_not, values, self._values)):
            try:
                self._take_over(self._optimizer.settings(self._network.layout.dtype))
            except (TypeError, ValueError):
                self._fail()
                raise
            self._values = values

    def _go_on_if(self, finite: bool, epoch: int) -> None:
        """Put everything back as it was and raise, unless what was computed is finite."""
        if not finite:
            self._fail()
            raise Diverged(
                f"training diverged in epoch {epoch}: the loss or a weight is no longer finite; the net and the optimizer "
                f"are as before fit. {self._hint()}"
            )

    def _fail(self) -> None:
        self._best = None
        self._put_back(*self._before)
        self._random.bit_generator.state = self._random_before

    def _put_back(self, weights: Snapshot, optimizer: object) -> None:
        self._network.restore(weights)
        self._optimizer.restore(optimizer)
