"""Epochs of mini-batches, and the orders in which they see the samples."""

import time
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from bpkernel.kernels import operands
from bpkernel.kernels.shuffle import shuffle
from bpkernel.mini_batches import MiniBatches

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
        self.sums = np.zeros(3)  # of the present epoch so far, unless epochs are run ahead
        self.finished = None  # a mini-batch can always be followed by another one

    def next(
        self,
        most: int,
        on_part: Callable[[slice, np.ndarray], None] | None = None,
        done: int = 0,
        sums: np.ndarray | None = None,
    ) -> np.ndarray:
        """The three sums of the next epoch, as of `kernels.epoch.batches`.

        At most `most` epochs will be asked for, this one included.  `on_part(part, sums)` is called after each compiled call
        with the samples that it has seen and the sums so far, unless epochs are run ahead.  The first `done` samples of the
        epoch, with the given sums, have been seen before.
        """
        if self._asked < len(self._total):
            self._orders.advance()
            self._asked += 1
            return self._total[self._asked - 1]
        n, start = min(self._n, most), time.perf_counter()
        total = np.zeros((n, 3))
        if n == 1:
            order = self._orders.draw(1)[0][done:]
            total[0] = 0 if sums is None else sums
            self.sums = total[0]
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


class Shuffled:
    """Orders drawn from a NumPy generator, or always that of the samples.

    `before` is the state of the generator before the last draw; None before the first one.
    """

    def __init__(self, generator: np.random.Generator, n_samples: int, shuffle: bool):
        self._generator, self._n_samples, self._shuffle = generator, n_samples, shuffle
        self.before: Any = None

    def draw(self, n_epochs: int) -> np.ndarray:
        orders = np.empty((n_epochs, self._n_samples), np.int64)
        if self._shuffle:
            self.before = self._generator.bit_generator.state
            random = self._generator.integers(0, 1 << 64, orders.shape, np.uint64)
            for row, order in zip(random, orders, strict=True):
                shuffle(row, order)
        else:
            orders[:] = np.arange(self._n_samples)
        return orders

    def advance(self) -> None:
        pass
