"""One call of `MLP.fit`: its arguments, checked before any training, and the order in which they take effect."""

import os
from collections.abc import Callable, Iterable
from types import FrameType
from typing import Any, NamedTuple

import numpy as np

from bpkernel import checkpoints, fit_data, validation
from bpkernel.callback import Callback, Function, as_callback
from bpkernel.callbacks import EarlyStopping, ProgressBar
from bpkernel.epochs import Shuffled
from bpkernel.full_batch import FullBatch
from bpkernel.full_batch_training import FullBatchTraining
from bpkernel.history import History
from bpkernel.kernels import operands
from bpkernel.kernels.regularisation import Regularisation, regularisation
from bpkernel.metrics import Metrics, monitored, named
from bpkernel.runtime import in_use
from bpkernel.training import Training
from bpkernel.training_state import generator_of, random_state


class Settings(NamedTuple):
    """The arguments of `fit` but X, T and sample_weight, as they were passed."""

    epochs: Any
    batch_size: Any
    optimizer: Any
    shuffle: Any
    validation_data: Any
    progress: Any
    patience: Any
    callback: Any
    alpha: Any
    l1: Any
    clip_norm: Any
    clip_value: Any
    max_norm: Any
    label_smoothing: Any
    class_weight: Any
    validation_split: Any
    monitor: Any
    metrics: Any
    callbacks: Any
    checkpoint: Any
    every: Any
    resume: Any


class Fit:
    """One call of `fit` of a net; raises ValueError or TypeError if an argument is wrong."""

    def __init__(self, net: Any, X: Any, T: Any, sample_weight: Any, given: Settings):
        self._net, self._loss, self._dtype = net, net._made_of.loss, net.dtype
        self._n_layers = len(net.layer_sizes) - 1
        self._samples, self._weight = net._samples(X, T, sample_weight), 1.0  # what the s_n have been divided by
        if sample_weight is not None:
            self._weight = float(np.max(sample_weight))
        self._epochs, self._batch_size = (
            validation.count("epochs", given.epochs),
            validation.count("batch_size", given.batch_size),
        )
        self._shuffle = validation.flag("shuffle", given.shuffle)
        self._split = validation.fraction("validation_split", given.validation_split)
        self._smoothing = validation.fraction("label_smoothing", given.label_smoothing)
        fit_data.check_smoothing(self._loss, self._smoothing)
        self._held_back = self._validation_samples(given.validation_data)
        self._functions = named(given.metrics)
        validated = self._held_back is not None or self._split > 0
        self._monitor = monitored(given.monitor, list(self._functions), validated=validated)
        self._check_checkpoint(given.checkpoint, given.every, given.resume)
        self.optimizer = validation.optimizer(net.optimizer if given.optimizer is None else given.optimizer)
        self._given = None if given.optimizer is None else self.optimizer
        if given.class_weight is not None:
            self._weight_classes(given.class_weight)
        self._regularised = self._objective(given)
        self._callbacks = self._all_callbacks(given, validated=validated)
        self._training: Training | None = None
        self._stopped = False

    def _validation_samples(self, validation_data: Any) -> operands.Samples | None:
        if validation_data is None:
            return None
        if self._split > 0:
            raise ValueError("pass validation_data or validation_split, not both")
        return self._net._samples(*validation.held_back(validation_data), prefix="validation ")

    def _check_checkpoint(self, checkpoint: Any, every: Any, resume: Any) -> None:
        if checkpoint is None and resume is None and type(every) is float and every == 1:  # of most calls
            self._every, self._checkpoint, self._resume = 1.0, None, None
            return
        for name, value in (("checkpoint", checkpoint), ("resume", resume)):
            if not (value is None or isinstance(value, (str, os.PathLike)) or (name == "resume" and isinstance(value, bool))):
                raise TypeError(f"{name} must be the path of a file; got {value!r}")
        if resume is True and checkpoint is None:
            raise ValueError("resume=True goes on from the file of `checkpoint`: pass it, too")
        self._every = validation.positive("every", every)
        self._checkpoint = checkpoint
        self._resume = (checkpoint if os.path.exists(checkpoint) else None) if resume is True else (resume or None)
        folder = None if checkpoint is None else os.path.dirname(os.path.abspath(checkpoint))
        if folder is not None and not os.path.isdir(folder):
            raise FileNotFoundError(f"there is no folder {folder!r}: make it before fit writes a checkpoint to it")

    def _weight_classes(self, class_weight: Any) -> None:
        s = self._samples.s * fit_data.class_weights(class_weight, self._loss, self._samples.T, self._net.layer_sizes[-1])
        if not s.any():
            raise ValueError("class_weight leaves no sample with a weight greater than 0")
        self._weight *= float(s.max())
        self._samples = self._samples._replace(s=validation.sample_weight(s, len(s), self._dtype))

    def _objective(self, given: Settings) -> Regularisation:
        """L1, L2 and limits; penalties are divided by what the weights of the samples have been divided by."""

        def penalty(name: str, value: Any) -> Any:
            if type(value) is float and value == 0:  # the default
                return value
            numbers = validation.per_layer(name, value, self._n_layers)
            each = numbers if isinstance(numbers, list) else [numbers]
            what = name if self._weight == 1 else f"{name} / max(sample_weight)"
            scaled = [validation.not_negative(what, number / self._weight, self._dtype) for number in each]
            return scaled if isinstance(numbers, list) else scaled[0]

        max_norm = validation.per_layer("max_norm", given.max_norm, self._n_layers, optional=True)
        clip_norm = validation.limit("clip_norm", given.clip_norm, self._dtype)
        clip_value = validation.limit("clip_value", given.clip_value, self._dtype)
        alpha, l1, layout = penalty("alpha", given.alpha), penalty("l1", given.l1), self._net._network.layout
        if isinstance(self.optimizer, FullBatch):
            own = {"l1": l1 != 0, "max_norm": max_norm is not None, "alpha for each layer": isinstance(alpha, list)}
            own |= {"clip_norm": clip_norm > 0, "clip_value": clip_value > 0, "dropout or input_noise": layout.disturbs}
            used = [name for name, value in own.items() if value]
            if used:
                raise ValueError(f"{type(self.optimizer).__name__} does not have {', '.join(used)}; the other optimizers do")
        return regularisation(layout, alpha, l1, clip_value=clip_value, clip_norm=clip_norm, max_norm=max_norm)

    def _all_callbacks(self, given: Settings, *, validated: bool) -> list[Callback]:
        found: list[Callback] = []
        if given.callback is not None:
            if not callable(given.callback):
                raise TypeError(f"callback must be a function that takes the History; got {given.callback!r}")
            found.append(Function(given.callback, of_history=True))
        more = given.callbacks
        if isinstance(more, Callback) or not isinstance(more, (list, tuple, Iterable)):
            raise TypeError(f"callbacks must be a list of callbacks; got {more!r}")
        found += map(as_callback, more)
        if validation.flag("progress", given.progress):
            found.append(ProgressBar())
        if given.patience is not None:
            validation.count("patience", given.patience)
            if not validated and given.monitor is None:
                raise ValueError("patience needs the validation loss: pass validation_data=(X, T) too")
            found.append(EarlyStopping(patience=int(given.patience)))
        return found

    # ------------------------------------------------------------------------------------------------------- training

    def run(self, frame: FrameType) -> History:
        """Train; `frame` is that of `fit`, which lasts as long as the use of the net."""
        call, net = object(), self._net
        try:
            used = in_use.begin(call, frame, net._network, self.optimizer)
            if used is not None:
                name = "net" if used is net._network else type(self.optimizer).__name__
                raise RuntimeError(
                    f"this {name} is being used by another call of fit, in another thread or around this callback; "
                    "wait for its end, or use a copy (copy.deepcopy)"
                )
            return self._run()
        finally:
            in_use.uses.pop(call, None)

    def check(self) -> None:
        """Raise ValueError or TypeError for what training would refuse at its beginning; the optimizer must be a new one."""
        if self._split > 0:
            fit_data.n_held_back(len(self._samples.T), self._split)
        self.optimizer.settings(self._dtype)
        if not isinstance(self.optimizer, FullBatch):  # these have no state
            self.optimizer.bind(self._net._network.layout)

    def stop(self) -> None:
        """End training soon as Ctrl-C does, in whatever state it is; another thread may call this."""
        self._stopped = True
        if self._training is not None:
            self._training.stop()

    def _run(self) -> History:
        net, network = self._net, self._net._network
        resumed = None
        if self._resume is not None:
            resumed = checkpoints.read(net, self._resume, self._given, self._facts(), network.layout)
            self.optimizer, net._random = resumed.optimizer, generator_of(resumed.random_of_fit)
        random_of_fit = random_state(net._random) if self._checkpoint is not None else None
        seen, held_back = self._samples, self._held_back
        if self._split > 0:
            kept, out = fit_data.parts(len(seen.T), self._split, net._random)
            seen, held_back = fit_data.rows(seen, kept), fit_data.rows(seen, out)
        measure = self._measure(seen, held_back)
        if self._smoothing > 0:
            seen = seen._replace(T=fit_data.smoothed(self._loss, seen.T, self._smoothing))
        n_samples, callbacks = len(seen.T), self._callbacks
        kind = FullBatchTraining if isinstance(self.optimizer, FullBatch) else Training
        own = min(self._batch_size, n_samples), self._regularised, net._random
        self._training = training = kind(network, self.optimizer, *own)
        if self._stopped:  # before there was a training to stop
            training.stop()
        orders = Shuffled(net._random, n_samples, self._shuffle and self._batch_size < n_samples)
        if self._checkpoint is not None:
            states = self._facts(), self._callbacks, net._random, random_of_fit
            callbacks = [*callbacks, checkpoints.Checkpoint(self._checkpoint, self._every, *states)]
        return training.run(seen, orders, self._epochs, measure, callbacks, self._monitor, net, resumed)

    def _facts(self) -> dict[str, Any]:
        """What a fit must have in common with that whose checkpoint it goes on from."""
        facts = {"n_samples": len(self._samples.T), "batch_size": self._batch_size, "shuffle": self._shuffle}
        return facts | {"validation_split": self._split}

    def _measure(self, seen: operands.Samples, held_back: operands.Samples | None) -> Callable[[History], None] | None:
        """What adds the figures of an epoch to the history, or None."""
        network, of = self._net._network, held_back or seen
        if held_back is None and not self._functions:
            return None
        X = of.X if len(of.X) else of.X_other
        prefix = "" if held_back is None else "val_"
        scores = Metrics(network.outputs, self._loss, self._functions, X, of.T, prefix) if self._functions else None

        def measure(history: History) -> None:
            if held_back is not None:
                history.validation_loss.append(network.mean_error(held_back))
            if scores is not None:
                scores(history)

        return measure
