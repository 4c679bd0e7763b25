"""What `train_many` returns: many nets, the course of their training, and their joint predictions."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import reduce
from typing import Any, overload

import numpy as np
from numpy.typing import ArrayLike

from bpkernel import model_files
from bpkernel.callback import mode_of
from bpkernel.extras import need
from bpkernel.functions.custom import Activation, Loss
from bpkernel.history import History
from bpkernel.mlp import MLP

NONE_TRAINED = "no net has been trained to the end; `errors` says why"


class Ensemble(Sequence[MLP]):
    """Nets that `train_many` has trained.

    Attributes
    ----------
    nets : list of MLP
    histories : list of History or None
        None for a net whose training failed, or did not end before Ctrl-C.
    configs : list of dict
        The settings of each net.
    errors : dict of int to Exception
        Why the training of a net failed, by its index.
    """

    def __init__(
        self,
        nets: Sequence[MLP],
        histories: Sequence[History | None],
        configs: Sequence[dict[str, Any]],
        errors: Mapping[int, Exception] | None = None,
    ):
        self.nets, self.histories, self.configs, self.errors = list(nets), list(histories), list(configs), dict(errors or {})

    def __len__(self) -> int:
        return len(self.nets)

    @overload
    def __getitem__(self, index: int) -> MLP: ...
    @overload
    def __getitem__(self, index: slice) -> list[MLP]: ...
    def __getitem__(self, index: int | slice) -> MLP | list[MLP]:
        return self.nets[index]

    @property
    def trained(self) -> list[MLP]:
        """The nets that have a history: their training neither failed nor was interrupted."""
        return [net for net, history in zip(self.nets, self.histories, strict=True) if history is not None]

    def scores(self, monitor: str | None = None) -> np.ndarray:
        """The figure of each net by its name (n_nets,), that of its best epoch if it has one, otherwise of the last.

        Parameters
        ----------
        monitor : str, default=None
            "loss", "val_loss" or a metric such as "val_accuracy"; None: "val_loss" if all nets have it, else "loss".

        Raises
        ------
        ValueError
            If the nets have no such figure.
        """
        found = [None if history is None else history.figures() for history in self.histories]
        known = [figures for figures in found if figures]
        if monitor is None:
            monitor = "val_loss" if known and all("val_loss" in figures for figures in known) else "loss"
        lacking = [figures for figures in known if monitor not in figures]
        if lacking:
            raise ValueError(f"monitor must be one of {', '.join(lacking[0])}; got {monitor!r}")
        scores = np.full(len(self), np.nan)
        for number, (figures, history) in enumerate(zip(found, self.histories, strict=True)):
            if figures and history is not None:
                scores[number] = figures[monitor][-1 if history.best_epoch is None else history.best_epoch]
        return scores

    def best(self, monitor: str | None = None) -> int:
        """The index of the best net, by `scores`; low losses and errors are good, and high values of other figures."""
        scores = self.scores(monitor)
        if np.isnan(scores).all():
            raise ValueError(NONE_TRAINED)
        low = monitor is None or mode_of(monitor) == "min"
        return int(np.nanargmin(scores) if low else np.nanargmax(scores))

    def outputs(self, X: ArrayLike) -> np.ndarray:
        """The outputs of each trained net, (n_trained, n_samples, n_outputs)."""
        if not self.trained:
            raise ValueError(NONE_TRAINED)
        return np.stack([net.predict(X) for net in self.trained])

    @overload
    def predict(self, X: ArrayLike) -> np.ndarray: ...
    @overload
    def predict(self, X: ArrayLike, return_std: bool) -> Any: ...
    def predict(self, X: ArrayLike, return_std: bool = False) -> Any:
        """The mean of the outputs of all trained nets (n_samples, n_outputs), and with `return_std` their spread.

        The standard deviation over the nets shows where they disagree (Lakshminarayanan et al. 2017); it does not contain the
        noise of the targets.
        """
        y = self.outputs(X)
        mean = _mean(y)
        return (mean, np.sqrt(_mean((y - mean) ** 2))) if return_std else mean

    def to_frame(self) -> Any:
        """A pandas.DataFrame with a row for each net: the settings in which they differ, and the figures (extra `cli`)."""
        pandas = need("pandas", "cli")
        names = [name for name in dict.fromkeys(key for config in self.configs for key in config) if self._differs(name)]
        rows: list[dict[str, Any]] = []
        for number, config in enumerate(self.configs):
            row = {name: config.get(name) for name in names}
            history = self.histories[number]
            if history is not None:
                place = -1 if history.best_epoch is None else history.best_epoch
                row |= {name: values[place] for name, values in history.figures().items()}
                row |= {"epochs": len(history.loss), "seconds": sum(history.seconds)}
            rows.append(row | ({"error": str(self.errors[number])} if number in self.errors else {}))
        return pandas.DataFrame(rows)

    def save(self, path: str | os.PathLike[str], metadata: Mapping[str, Any] | None = None) -> None:
        """Write the trained nets and their histories to a safetensors file, whole or not at all (needs the extra `save`).

        The histories are without times: the same nets give the same file.
        `metadata` may hold anything that JSON can, as of `MLP.save`; `load_with_metadata` reads it.
        """
        if not self.trained:
            raise ValueError(NONE_TRAINED)
        histories = [asdict(history) | {"seconds": []} for history in self.histories if history is not None]
        model_files.write_many(self.trained, path, metadata, {"histories": histories})

    @classmethod
    def load(cls, path: str | os.PathLike[str], functions: Sequence[Activation | Loss] = ()) -> "Ensemble":
        """Read nets that `save` wrote, or one that `MLP.save` wrote; nothing in the file is run.

        The `configs` are empty: files do not hold them.  For `functions` and errors see `MLP.load`.
        """
        return cls.load_with_metadata(path, functions)[0]

    @classmethod
    def load_with_metadata(
        cls, path: str | os.PathLike[str], functions: Sequence[Activation | Loss] = ()
    ) -> tuple["Ensemble", dict[str, Any]]:
        """Read nets and the metadata that they were saved with; raises what `load` does."""
        nets, metadata = model_files.read_many(lambda: MLP.__new__(MLP), path, functions)
        metadata.pop("training", None)
        try:
            histories = [History(**own) for own in metadata.pop("histories", [{"n_samples": 0}] * len(nets))]
        except TypeError:
            histories = []
        if len(histories) != len(nets):
            raise ValueError(f"{str(path)!r} does not hold the histories of its nets")
        return cls(nets, histories, [{} for _ in nets]), metadata

    def _differs(self, name: str) -> bool:
        """Whether the nets have different settings of a name."""
        first = self.configs[0].get(name)
        return name != "rows" and any(repr(config.get(name)) != repr(first) for config in self.configs)

    def __repr__(self) -> str:
        failed = f", {len(self.errors)} failed" if self.errors else ""
        missing = len(self) - len(self.trained) - len(self.errors)
        failed += f", {missing} not trained" if missing else ""
        scores = self.scores()
        best = "" if np.isnan(scores).all() else f", best: {self.best()} with {np.nanmin(scores):.4g}"
        return f"Ensemble({len(self)} nets{failed}{best})"


def _mean(y: np.ndarray) -> np.ndarray:
    """The mean over the nets of y (n_nets, n_samples, n_outputs), summed in the same order for any n_samples."""
    total: np.ndarray = reduce(np.add, y)
    return total / y.dtype.type(len(y))


class Interrupted(KeyboardInterrupt):
    """Ctrl-C while `train_many` was training.

    Attributes
    ----------
    ensemble : Ensemble
        All nets.  Those that had been trained have a history; the others have none, and their weights are of no use.
    """

    def __init__(self, ensemble: Ensemble):
        super().__init__(f"{len(ensemble.trained)} of {len(ensemble)} nets had been trained; `ensemble` has them")
        self.ensemble = ensemble
