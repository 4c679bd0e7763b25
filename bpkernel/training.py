"""One fit of a net: the one epoch loop, with its callbacks, and what puts a net back as it was if training fails."""

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from bpkernel import checkpoints
from bpkernel.callback import Callback, Run
from bpkernel.epochs import Epochs, Orders
from bpkernel.functions.learning_rates import Schedule, rates
from bpkernel.functions.optimizer import Optimizer
from bpkernel.history import History
from bpkernel.kernels import operands
from bpkernel.kernels.regularisation import Regularisation
from bpkernel.mini_batches import MiniBatches
from bpkernel.network import Network
from bpkernel.training_state import generator_of


class Diverged(FloatingPointError):
    """Training has left the range of finite numbers; the net and the optimizer are as before it."""


class Training:
    """One fit of a net, in place.

    If the loss or a weight is no longer finite, or a setting of the optimizer is out of range, the weights and the
    optimizer's state are put back as they were before.
    """

    def __init__(
        self,
        network: Network,
        optimizer: Optimizer,
        batch_size: int,
        regularised: Regularisation,
        random: np.random.Generator,
    ):
        self.network, self.optimizer, self.batch_size = network, optimizer, batch_size
        self._random, self._failed, self._in_callback, self._stopped = random, False, False, False
        self._random_before, self._values = random.bit_generator.state, optimizer.values()
        self._seed_drawn, self._seed_used = network.layout.disturbs, False
        self._settings = optimizer.settings(network.layout.dtype)
        network.clear_absent()
        self._before = network.snapshot(), optimizer.snapshot(network.spare.copy)
        try:
            self._bind(regularised)
        except BaseException:  # interrupted while compiling
            optimizer.restore(self._before[1])
            raise

    def _bind(self, regularised: Regularisation) -> None:
        """Bind the optimizer to the net."""
        layout = self.network.layout
        own = self._settings, *self.optimizer.bind(layout), layout, regularised
        self._step = operands.step(type(self.optimizer), *own)
        if self._seed_drawn:
            _seed_from(self._random)
        self._batches = MiniBatches(self.network, self._step, self.batch_size, rates=self._rates(), seed=self._seed)

    def _seed(self) -> int:
        """Of dropout and noise: the first number of the generator, drawn at the end where a callback has turned these on."""
        generator = np.random.Generator(type(self._random.bit_generator)())
        generator.bit_generator.state = self._random_before
        self._seed_used = True
        return _seed_from(generator)

    def _rates(self) -> Callable[[int, int], np.ndarray] | None:
        schedule, dtype = self.optimizer.schedule, self.network.layout.dtype
        return None if schedule is None else lambda first, n: rates(schedule, first, n, dtype)

    def _epochs(self, samples: operands.Samples, orders: Orders | None, *, ahead: bool) -> Any:
        assert orders is not None
        return Epochs(self._batches, samples, orders, ahead=ahead)

    def _take_over(self, settings: np.ndarray) -> None:
        self._step.settings[:] = settings
        self._batches.rates = self._rates()

    def _end(self) -> None:
        """Leave memory, and a generator that gives another seed, to the next training."""
        self._batches.end()
        if self._seed_used and not self._seed_drawn:
            _seed_from(self._random)
        (params, _), optimizer = self._before
        self.network.spare.keep([params] if optimizer is None else [params, optimizer[1]])

    def _hint(self) -> str:
        """What helps against divergence."""
        return f"Lower the learning rate (now {self._step.settings[0]:g}), or standardise X and T"

    def run(
        self,
        samples: operands.Samples,
        orders: Orders | None,
        epochs: int,
        measure: Callable[[History], None] | None = None,
        callbacks: Sequence[Callback] = (),
        monitor: str = "loss",
        net: Any = None,
        resumed: checkpoints.Resumed | None = None,
    ) -> History:
        """Up to `epochs` epochs; `measure` adds the figures of the validation data to the history after each."""
        history = History(n_samples=len(samples.T)) if resumed is None else resumed.history
        done, sums = (0, None) if resumed is None else (resumed.done, resumed.sums)
        total_weight = float(samples.s.sum(dtype=np.float64))
        run = Run(net, self.optimizer, history, epochs, monitor, self)
        first = self.optimizer.n_steps if resumed is None else resumed.first_step
        self._span = first, epochs * -(-len(samples.T) // self.batch_size)
        self._begin_schedule()
        watched = measure is not None or callbacks or self._schedule_of_epochs() is not None
        loop = self._loop = self._epochs(samples, orders, ahead=not watched)

        def on_part(part: slice, sums: np.ndarray) -> None:
            self._go_on_if(math.isfinite(sums[0]), len(history.loss) + 1)
            self._in_callback = True
            for callback in callbacks:
                callback.part(run, part.stop - part.start)
            self._in_callback = False
            self._interrupt_if_stopped()

        begun = 0
        try:
            for callback in callbacks:
                begun += 1
                callback.begin(run)
            if resumed is not None:
                self._random.bit_generator.state = generator_of(resumed.random).bit_generator.state
                checkpoints.go_on(callbacks, run, resumed)
            while run.goes_on:
                self._interrupt_if_stopped()
                if callbacks:
                    self._read_settings()
                    if history.loss and self.optimizer.n_steps == 0:  # a callback has reset it
                        self._span = 0, self._span[1]
                        self._begin_schedule()
                try:
                    loss = loop.next(epochs - len(history.loss), on_part, done, sums)[0] / total_weight
                    done, sums = 0, None
                    self._go_on_if(math.isfinite(loss), len(history.loss) + 1)
                    history.loss.append(float(loss))
                    history.seconds.append(loop.seconds)
                    n_epochs = len(history.loss)
                    if measure is not None:
                        measure(history)
                        last = history.validation_loss[-1:]  # none of metrics of the training data
                        self._go_on_if(all(map(math.isfinite, last)), len(history.loss))
                except Exception:  # of an activation or a loss: what has been trained since is not right
                    if not self._in_callback:
                        self._fail()
                    raise
                if (schedule := self._schedule_of_epochs()) is not None:
                    schedule.epoch(run.monitored if run.mode == "min" else -run.monitored)
                for callback in callbacks:
                    callback.epoch(run)
                if callbacks:
                    self.network.clear_absent()
                    if len(history.loss) != n_epochs:
                        raise RuntimeError(
                            f"a callback has changed history.loss, which had {n_epochs} numbers and has {len(history.loss)}: "
                            "fit counts its epochs by them; work on a copy"
                        )
                history.stop_reason = loop.finished or history.stop_reason
                if loop.finished is not None:
                    break
        finally:
            for callback in reversed(callbacks[:begun]):
                callback.end(run, failed=self._failed)
        self._go_on_if(bool(np.isfinite(self.network.params).all()), len(history.loss))
        self._end()
        return history

    def stop(self) -> None:
        """End training soon as Ctrl-C does, which only the main thread gets; another thread may call this."""
        self._stopped = True

    def _interrupt_if_stopped(self) -> None:
        if self._stopped:
            raise KeyboardInterrupt

    def _read_settings(self) -> None:
        """Take over the settings that a callback has changed; to check them takes the time of a short epoch."""
        values = self.optimizer.values()
        if any(map(operator.is_not, values, self._values)):
            try:
                self._take_over(self.optimizer.settings(self.network.layout.dtype))
            except Exception:  # also of a learning rate that is a function
                self._fail()
                raise
            if values[0] is not self._values[0]:
                self._begin_schedule()
            self._values = values

    def _begin_schedule(self) -> None:
        """Give a schedule the steps of this fit, also one that a callback has put in place."""
        if isinstance(self.optimizer.schedule, Schedule):
            self.optimizer.schedule.begin(*self._span)

    def _schedule_of_epochs(self) -> Schedule | None:
        """The schedule, if its rates depend on what epochs show."""
        schedule = self.optimizer.schedule
        return schedule if isinstance(schedule, Schedule) and schedule.by_epoch else None

    def _go_on_if(self, finite: bool, epoch: int) -> None:
        """Put everything back as it was and raise, unless what was computed is finite."""
        if not finite:
            self._fail()
            raise Diverged(
                f"training diverged in epoch {epoch}: the loss or a weight is no longer finite; the net and the optimizer "
                f"are as before fit. {self._hint()}"
            )

    def _fail(self) -> None:
        self._failed = True
        self.restore(self._before)
        self._random.bit_generator.state = self._random_before

    @property
    def sums(self) -> np.ndarray:
        """The sums of the present epoch so far."""
        return np.asarray(self._loop.sums)

    def snapshot(self) -> Any:
        """The weights and the state of the optimizer, for `restore`."""
        return self.network.snapshot(), self.optimizer.snapshot(self.network.spare.copy)

    def restore(self, snapshot: Any) -> None:
        """Go back to the weights and the optimizer's state of a `snapshot`."""
        weights, optimizer = snapshot
        self.network.restore(weights)
        self.optimizer.restore(optimizer)


def _seed_from(generator: np.random.Generator) -> int:
    return int(generator.integers(0, 1 << 64, dtype=np.uint64))
