"""The nets of a model: one for each fold of the rows, trained at once, and the choice among sizes and learning rates."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from bpkernel.callback import Callback, Run
from bpkernel.ensembles import Ensemble, Interrupted
from bpkernel.functions.losses import LossName
from bpkernel.history import History
from bpkernel.many_nets import OF_NET, train_many
from bpkernel.mlp import MLP
from bpkernel.progress import count_bar, in_words
from bpkernel.runtime.threads import available
from bpkernel.tables.options import METRICS, OUTPUTS, Options

TUNED_SIZES: tuple[tuple[int, ...], ...] = ((32,), (100,), (256,), (100, 50))
TUNED_RATES = (0.25, 1.0, 4.0)  # times the learning rate
CHECKPOINT_EVERY = 10  # epochs


@dataclass(frozen=True)
class Problem:
    """What the nets learn.

    X (n, n_inputs), T (n,): inputs and targets.  folds: the rows of each net's validation data.  n_outputs: of a net.
    """

    X: np.ndarray
    T: np.ndarray
    folds: Sequence[np.ndarray]
    n_outputs: int
    loss: LossName

    @property
    def classify(self) -> bool:
        """Whether the targets are of classes."""
        return OUTPUTS[self.loss][0]

    def rows(self, number: int) -> np.ndarray:
        """The rows that a net is trained on."""
        return np.setdiff1d(np.arange(len(self.X)), self.folds[number])


@dataclass(frozen=True)
class Execution:
    """How training is carried out, which has no influence on the nets.

    folder : where checkpoints are written, if anywhere.  resume : whether to go on from those that are there.
    """

    progress: bool = False
    folder: Path | None = None
    resume: bool = False


@dataclass
class Trained:
    """Nets, the options that they were trained with, and whether they were trained to the end.

    folds : the validation rows of each net.  tuning : a row for each candidate, if there were several: its size, learning rate
    and mean validation score.
    """

    nets: Ensemble
    folds: list[np.ndarray]
    options: Options
    complete: bool
    tuning: list[dict[str, Any]]


class Watch(Callback):
    """Shows that an epoch of one of many nets has ended, and ends training after some seconds."""

    def __init__(self, advance: Callable[[int, str], None], seconds: float | None):
        self._advance, self._seconds = advance, seconds

    def begin(self, run: Run) -> None:
        self._start = time.monotonic()

    def epoch(self, run: Run) -> None:
        self._advance(1, f"{in_words(run.monitor)} {run.monitored:.4g}")
        if self._seconds is not None and time.monotonic() - self._start >= self._seconds:
            run.stop()

    def end(self, run: Run, *, failed: bool) -> None:
        self._advance(run.n_epochs - run.epoch, "a net is trained")


def candidates(options: Options) -> list[Options]:
    """The options that training chooses from."""
    if not options.tune:
        return [options]
    sizes = dict.fromkeys((options.hidden, *TUNED_SIZES))
    return [replace(options, hidden=size, learning_rate=options.rate * times) for size in sizes for times in TUNED_RATES]


def monitor(options: Options) -> str:
    """The figure of the history that early stopping and the choice of options watch."""
    if options.metric in (None, "log_loss"):
        return "val_loss"
    return f"val_{METRICS[options.metric][1]}"


def check(problem: Problem, options: Options) -> None:
    """Raise what the first net of each candidate or its optimizer would: an option out of range, or too many units."""
    for own in candidates(options):
        config = _config(problem, own, 0)
        MLP(**{name: config[name] for name in OF_NET & config.keys()})


def train(problem: Problem, options: Options, execution: Execution) -> Trained:
    """Train one net for each fold, of each of the candidates, and keep the best candidate's.

    After Ctrl-C the nets are those of the first candidate that have been trained, or the one net as far as it is trained.

    Raises
    ------
    KeyboardInterrupt
        If Ctrl-C comes before a net has been trained.
    FloatingPointError
        If training diverges for all candidates.
    """
    choice, n_folds = candidates(options), len(problem.folds)
    configs = [_config(problem, own, number) for own in choice for number in range(n_folds)]
    if execution.folder is not None:
        for number, config in enumerate(configs):
            config["checkpoint"] = execution.folder / f"{number}.safetensors"
            config |= {"every": CHECKPOINT_EVERY, "resume": execution.resume}
    if len(configs) == 1:
        nets, complete = _train_one(problem, configs[0], options.time_limit, execution.progress)
        return Trained(nets, list(problem.folds), options, complete, [])
    try:
        nets, complete = _train_all(problem, configs, options, execution.progress), True
    except Interrupted as reason:
        nets, complete = reason.ensemble, False
    if not nets.trained:
        raise next(iter(nets.errors.values()), KeyboardInterrupt())
    parts = [_part(nets, slice(first, first + n_folds)) for first in range(0, len(nets), n_folds)]
    if complete and not any(len(part.trained) == n_folds for part in parts):
        raise next(iter(nets.errors.values()))
    return _best(problem, choice, parts, complete=complete)


def _part(nets: Ensemble, which: slice) -> Ensemble:
    return Ensemble(nets.nets[which], nets.histories[which], nets.configs[which])


def _best(problem: Problem, choice: Sequence[Options], parts: Sequence[Ensemble], *, complete: bool) -> Trained:
    """The nets of the best candidate; if no candidate has all its nets, those that the first one with any has."""
    name = monitor(choice[0])
    scores = [float(part.scores(name).mean()) if len(part.trained) == len(part) else np.nan for part in parts]
    if np.isnan(scores).all():
        best = next(number for number, part in enumerate(parts) if part.trained)
    else:
        best = int(np.nanargmin(scores) if name == "val_loss" else np.nanargmax(scores))
    which = [number for number, history in enumerate(parts[best].histories) if history is not None]
    kept = Ensemble(parts[best].trained, [parts[best].histories[number] for number in which], [{} for _ in which])
    tuning = [
        {"hidden": list(own.hidden), "learning_rate": own.rate, name: score if np.isfinite(score) else None}
        for own, score in zip(choice, scores, strict=True)
    ]
    folds = [problem.folds[number] for number in which]
    return Trained(kept, folds, choice[best], complete, tuning if len(choice) > 1 else [])


def _train_one(problem: Problem, config: dict[str, Any], seconds: float | None, progress: bool) -> tuple[Ensemble, bool]:
    """Train a single net on all threads; returns it and whether it was trained to the end."""
    rows, fold = config.pop("rows"), problem.folds[0]
    net = MLP(**{name: config.pop(name) for name in OF_NET & config.keys()})
    held_back, seen, complete = (problem.X[fold], problem.T[fold]), list[History](), True
    config |= {"validation_data": held_back, "progress": progress, "callbacks": [Watch(lambda n, note: None, seconds)]}
    try:
        history = net.fit(problem.X[rows], problem.T[rows], callback=seen.append, **config)
    except KeyboardInterrupt:
        if not seen:
            raise
        history, complete = seen[-1], False
    _make_whole(history)
    return Ensemble([net], [history], [{}]), complete


def _make_whole(history: History) -> None:
    """Leave out an interrupted epoch, which may be in some lists of the history only."""
    lists = [history.loss, history.validation_loss, history.seconds, *history.metrics.values()]
    whole = min(map(len, lists))
    for values in lists:
        del values[whole:]


def _train_all(problem: Problem, configs: Sequence[dict[str, Any]], options: Options, progress: bool) -> Ensemble:
    """Train nets, as many at once as there are threads; each has its share of the time limit."""
    lock, seconds = threading.Lock(), options.time_limit
    if seconds is not None:
        seconds *= min(1.0, available() / len(configs))
    with count_bar(len(configs) * options.epochs, "epoch", shown=progress) as count:

        def advance(n: int, note: str) -> None:
            with lock:
                count(n, note)

        watched = [config | {"callbacks": [Watch(advance, seconds)]} for config in configs]
        return train_many(watched, problem.X, problem.T)


def _config(problem: Problem, options: Options, number: int) -> dict[str, Any]:
    """The arguments of a net and of its fit."""
    rows = problem.rows(number)
    name = options.metric or ("accuracy" if problem.classify else "r2")
    metrics: Any = METRICS[name][1] if options.metric is not None else accuracy if problem.classify else r2
    return {
        "layer_sizes": (problem.X.shape[1], *options.hidden, problem.n_outputs),
        "activation": options.activation,
        "output_activation": OUTPUTS[problem.loss][1],
        "loss": options.loss_of(problem.loss),
        "dtype": options.dtype,
        "random_state": [options.seed, number],
        "dropout": options.dropout if options.hidden else 0.0,
        "epochs": options.epochs,
        "batch_size": options.batch(len(rows)),
        "optimizer": options.make_optimizer(),
        "class_weight": options.class_weight,
        "patience": options.patience if options.early_stopping else None,
        "monitor": monitor(options),
        "metrics": () if options.quantiles else (metrics,),
        "rows": rows,
    }


def accuracy(true: np.ndarray, predicted: np.ndarray) -> float:
    """The share of right classes; scikit-learn's checks of its arguments would take longer than an epoch of a small net."""
    return float((true == predicted).mean())


def r2(true: np.ndarray, predicted: np.ndarray) -> float:
    """R², 0 for constant true values."""
    spread = ((true - true.mean(axis=0)) ** 2).sum()
    return float(1 - ((true - predicted) ** 2).sum() / spread) if spread > 0 else 0.0
