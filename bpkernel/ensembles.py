"""Many small nets, trained at once on the same data: one on each core."""

import copy
import inspect
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, overload

import numpy as np
from numpy.typing import ArrayLike

from bpkernel import validation
from bpkernel.callback import mode_of
from bpkernel.extras import need
from bpkernel.fit_call import Fit, Settings
from bpkernel.functions.optimizer import Optimizer
from bpkernel.history import History
from bpkernel.mlp import MLP
from bpkernel.progress import count_bar
from bpkernel.runtime.threads import available, use_one_thread

OF_NET = frozenset(inspect.signature(MLP.__init__).parameters) - {"self"}
OF_FIT = {
    name: parameter.default
    for name, parameter in inspect.signature(MLP.fit).parameters.items()
    if name not in ("self", "X", "T", "sample_weight")
}
ONE_NET_ONLY = "callback", "callbacks", "checkpoint", "resume", "progress"  # settings that two nets cannot share


def train_many(
    configs: int | Sequence[int] | Sequence[Mapping[str, Any]],
    X: ArrayLike,
    T: ArrayLike,
    *,
    n_jobs: int | None = None,
    progress: bool = False,
    **common: Any,
) -> "Ensemble":
    """Train many nets on the same data, each on one thread, as many at once as there are threads.

    This is for nets that are too small to keep several threads busy: searches over settings, cross-validation and deep
    ensembles.  The results have the bits of ``MLP(...).fit(X, T, ...)``, called for one net after the other.

    Parameters
    ----------
    configs : int, or sequence of int or dict
        n nets with the seeds 0 to n - 1, nets of these seeds, or the settings of each net: arguments of `MLP` and of
        `MLP.fit`, and ``rows``, the indices of the samples that this net is trained on.  The other samples are then its
        validation data, unless ``validation_data`` says otherwise.
    X, T : array-like
        As of `MLP.fit`; they are not copied for each net.
    n_jobs : int, default=None
        Nets at once; None for the number of threads that `numba.set_num_threads` has set.
    progress : bool, default=False
        Whether to show how many nets have been trained.
    **common
        Settings of all nets that have none of their own.  An optimizer is copied for each net.

    Returns
    -------
    Ensemble
        In the order of `configs`.  Nets whose training failed, as it diverged, are in it as they were before, with the
        exception in `errors`.

    Raises
    ------
    ValueError, TypeError
        If a setting is wrong, before any net is trained.
    KeyboardInterrupt
        After Ctrl-C; the nets have stopped by then.

    Examples
    --------
    >>> import bpkernel as bp
    >>> import numpy as np
    >>> X = np.linspace(-1, 1, 200)[:, None]
    >>> nets = bp.train_many(5, X, np.sin(3 * X), layer_sizes=(1, 20, 1), epochs=50, optimizer=bp.Adam(0.01))
    >>> mean, std = nets.predict(X, return_std=True)
    >>> mean.shape, std.shape, len(nets)
    ((200, 1), (200, 1), 5)
    """
    settings = _settings_of(configs, common)
    n_jobs = available() if n_jobs is None else validation.count("n_jobs", n_jobs)
    X, T = np.asarray(X), np.asarray(T)
    shared: dict[np.dtype, tuple[np.ndarray, np.ndarray]] = {}
    nets, fits = [], []
    for own in settings:
        net = MLP(**{name: value for name, value in own.items() if name in OF_NET})
        if net.dtype not in shared:
            shared[net.dtype] = _readable(X, net.dtype), _readable(T, net.dtype)
        nets.append(net)
        fits.append(_fit_of(net, *shared[net.dtype], own))
    return _train(nets, fits, settings, n_jobs, progress)


def _settings_of(configs: Any, common: dict[str, Any]) -> list[dict[str, Any]]:
    """The settings of each net; raises TypeError or ValueError if one is unknown."""
    if isinstance(configs, (int, np.integer)) and not isinstance(configs, bool):
        configs = range(validation.count("configs", configs))
    if isinstance(configs, (str, bytes, Mapping)) or not isinstance(configs, (Sequence, np.ndarray, Iterator)):
        raise TypeError(f"configs must be a number of nets, seeds, or a list of dictionaries of settings; got {configs!r}")
    shared = [name for name in ONE_NET_ONLY if name in common]
    if shared:
        raise ValueError(f"{', '.join(shared)} cannot be shared by several nets: give each net its own in configs")
    found = []
    for config in configs:
        if isinstance(config, (int, np.integer)) and not isinstance(config, bool):
            config = {"random_state": int(config)}
        if not isinstance(config, Mapping):
            raise TypeError(f"configs must be seeds or dictionaries of settings; got {config!r}")
        own = {**common, **config}
        unknown = sorted(set(own) - OF_NET - set(OF_FIT) - {"sample_weight", "rows"})
        if unknown:
            raise TypeError(f"{', '.join(unknown)}: neither MLP nor its fit has such an argument")
        if "layer_sizes" not in own:
            raise TypeError("each net needs layer_sizes, such as train_many(10, X, T, layer_sizes=(4, 20, 1))")
        found.append(own)
    if not found:
        raise ValueError("configs must not be empty")
    return found


def _readable(array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """An array that all fits read where it is."""
    if array.dtype.kind not in "biuf":
        return array  # `fit` says what is wrong with it
    kept = array.dtype if array.dtype in validation.EITHER else dtype
    return np.require(array, kept, ["C", "A", "W"])


def _fit_of(net: MLP, X: np.ndarray, T: np.ndarray, own: dict[str, Any]) -> Fit:
    """The fit of a net, with all arguments checked."""
    settings = OF_FIT | {name: value for name, value in own.items() if name in OF_FIT}
    if isinstance(settings["optimizer"], Optimizer):
        settings["optimizer"] = copy.copy(settings["optimizer"])
    sample_weight, rows = own.get("sample_weight"), own.get("rows")
    if rows is not None:
        rows = np.asarray(rows)
        if rows.ndim != 1 or rows.dtype.kind not in "iu" or not rows.size:
            raise ValueError(f"rows must be indices of samples; got an array of {rows.dtype} of shape {rows.shape}")
        left = np.setdiff1d(np.arange(len(X)), rows)
        s = None if sample_weight is None else np.asarray(sample_weight)
        if left.size and settings["validation_data"] is None and not settings["validation_split"]:
            settings["validation_data"] = (X[left], T[left], None if s is None else s[left])
        X, T, sample_weight = X[rows], T[rows], None if s is None else s[rows]
    return Fit(net, X, T, sample_weight, Settings(**settings))


def _train(nets: list[MLP], fits: list[Fit], settings: list[dict[str, Any]], n_jobs: int, progress: bool) -> "Ensemble":
    histories: list[History | None] = [None] * len(nets)
    errors: dict[int, Exception] = {}
    stopped = threading.Event()

    def train(number: int) -> None:
        if stopped.is_set():
            return
        try:
            histories[number] = fits[number].run(sys._getframe())
        except Exception as error:  # of this net only, such as a divergence
            errors[number] = error

    with count_bar(len(nets), "net", shown=progress) as advance:
        pool = ThreadPoolExecutor(n_jobs, "train_many", use_one_thread)
        try:
            for _ in pool.map(train, range(len(nets))):
                advance()
        except BaseException:
            stopped.set()
            for fit in fits:
                fit.stop()
            raise
        finally:
            pool.shutdown()
    return Ensemble(nets, histories, settings, errors)


class Ensemble(Sequence[MLP]):
    """Nets that `train_many` has trained.

    Attributes
    ----------
    nets : list of MLP
    histories : list of History or None
        None for a net whose training failed.
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
        """The nets whose training did not fail."""
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
        known = [figures for figures in found if figures is not None]
        if monitor is None:
            monitor = "val_loss" if known and all("val_loss" in figures for figures in known) else "loss"
        lacking = [figures for figures in known if monitor not in figures]
        if lacking:
            raise ValueError(f"monitor must be one of {', '.join(lacking[0])}; got {monitor!r}")
        scores = np.full(len(self), np.nan)
        for number, (figures, history) in enumerate(zip(found, self.histories, strict=True)):
            if figures is not None and history is not None:
                scores[number] = figures[monitor][-1 if history.best_epoch is None else history.best_epoch]
        return scores

    def best(self, monitor: str | None = None) -> int:
        """The index of the best net, by `scores`; low losses and errors are good, and high values of other figures."""
        scores = self.scores(monitor)
        if np.isnan(scores).all():
            raise ValueError("the training of every net has failed; `errors` says why")
        low = monitor is None or mode_of(monitor) == "min"
        return int(np.nanargmin(scores) if low else np.nanargmax(scores))

    def outputs(self, X: ArrayLike) -> np.ndarray:
        """The outputs of each trained net, (n_trained, n_samples, n_outputs)."""
        if not self.trained:
            raise ValueError("the training of every net has failed; `errors` says why")
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
        return (y.mean(axis=0), y.std(axis=0)) if return_std else y.mean(axis=0)

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

    def _differs(self, name: str) -> bool:
        """Whether the nets have different settings of a name."""
        first = self.configs[0].get(name)
        return name != "rows" and any(repr(config.get(name)) != repr(first) for config in self.configs)

    def __repr__(self) -> str:
        failed = f", {len(self.errors)} failed" if self.errors else ""
        scores = self.scores()
        best = "" if np.isnan(scores).all() else f", best: {self.best()} with {np.nanmin(scores):.4g}"
        return f"Ensemble({len(self)} nets{failed}{best})"
