"""Mini-batches of a net: what its training, and the sum of its gradients, hand to the kernels."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from bpkernel.codegen.pointers import raise_fault
from bpkernel.kernels import epoch, operands, partition
from bpkernel.network import Network
from bpkernel.runtime import pace, thread_trials
from bpkernel.runtime.thread_trials import ThreadTrials
from bpkernel.runtime.threads import launch


class MiniBatches:
    """Mini-batches of a net.

    With an optimizer in `step` they train the net in place: whenever Python runs, the weights and the optimizer's state are
    those after a whole number of mini-batches, so whatever interrupts the training finds the net in order.  Without one they
    add up the gradient.

    Parameters
    ----------
    network : Network
    step : operands.OptimizerStep
    batch_size : int
    keep_a : bool, default=False
        Whether to keep a of all nodes.
    rates : callable, default=None
        rates(first, n): the learning rates (n,) of the optimizer's steps from `first` on; None for that of its settings.
    seed : callable, default=None
        seed(): the seed of dropout and noise, asked for when there are any; None for 0.

    Attributes
    ----------
    step : operands.OptimizerStep
    n_threads : int
        The threads that `work` is for; 0 before the first call.
    work : operands.Work
        Scratch memory, made again when the number of threads changes; `work.gradient` is the gradient.
    """

    def __init__(
        self,
        network: Network,
        step: operands.OptimizerStep,
        batch_size: int,
        *,
        keep_a: bool = False,
        rates: Callable[[int, int], np.ndarray] | None = None,
        seed: Callable[[], int] | None = None,
    ):
        self.step, self.batch_size = step, batch_size
        self.rates, self._seed = rates, seed
        self._network, self._keep_a, self._pace = network, keep_a, network.pace((batch_size, step.update))
        self.n_threads, self._disturbs = 0, False
        self.work: operands.Work
        self._trials: ThreadTrials

    def parts(self, n_samples: int) -> Iterator[slice]:
        """Slices of whole mini-batches, each for one compiled call of bounded length."""
        return self._pace.parts(n_samples, self.batch_size, self._seconds)

    def _seconds(self) -> float:
        return thread_trials.SECONDS if self._trials.on_trial else pace.SECONDS

    def run(self, samples: operands.Samples, order: np.ndarray, total: np.ndarray) -> None:
        """Train on the samples in an order (n,), or in several (n_epochs, n); or add up their gradient.

        total (n_epochs, 3): the sums of `epoch.batches`, added to.  An exception of an activation or a loss is raised.
        """
        n_batches = len(total) * -(-order.shape[-1] // self.batch_size)
        call, trials = self._call(samples, order, total, n_batches), self._trials
        start = time.perf_counter()
        n_running = launch(*call, most=trials.n_running)
        trials.measured(n_running, n_batches, time.perf_counter() - start)
        raise_fault(self.work.units.fault)

    def _key(self, n_threads: int) -> tuple[Any, ...]:
        """What the scratch memory of a training is for."""
        step, own = self.step, (self.batch_size, n_threads, self._disturbs)
        return *own, step.n_factors, len(step.state), *step.stages, *step.max_norm.tolist()

    def end(self) -> None:
        """Leave the scratch memory to the next training of the net; only once this one has gone well."""
        if self.n_threads and self.step.update:
            self._network.keep_work(self._work_for, self.work)
            self.n_threads = 0

    def _call(self, samples: operands.Samples, order: np.ndarray, total: np.ndarray, n_batches: int) -> tuple[Any, ...]:
        layout = self._network.layout
        n_threads = partition.threads_for(layout, self.batch_size)
        disturbs = self.step.update != 0 and layout.disturbs  # which callbacks may change
        if (n_threads, disturbs) != (self.n_threads, self._disturbs):
            self._disturbs = disturbs
            gradient = self.work.gradient if self.n_threads else None  # what has been added up so far
            own = layout, self._network.compiled, self.step, self.batch_size, n_threads
            self._work_for = self._key(n_threads)
            kept = self._network.take_work(self._work_for) if self.step.update else None
            self.work = kept or operands.work(*own, keep_a=self._keep_a, gradient=gradient)
            self._trials = ThreadTrials(n_threads, layout.flops * self.batch_size, len(layout.pairs))
            if disturbs and self._seed is not None:
                self.work.units.key[0] = self._seed()
            self.n_threads = n_threads  # last: what compiles may be interrupted
        order = np.ascontiguousarray(order, np.int64).ravel()
        step = self.step
        if self.rates is not None:
            step = step._replace(rates=self.rates(int(step.steps[0]), n_batches))
        return n_threads, epoch.batches, self._network.compiled, step, samples, order, self.work, total
