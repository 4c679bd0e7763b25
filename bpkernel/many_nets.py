"""Many small nets, trained at once on the same data: one on each core."""

import copy
import inspect
import os
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from bpkernel import validation
from bpkernel.callback import Callback
from bpkernel.ensembles import Ensemble, Interrupted
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
WAIT = 0.2  # most seconds until Ctrl-C is handled
ALLOWED = OF_NET | set(OF_FIT) - {"progress"} | {"sample_weight", "rows"}


def train_many(
    configs: int | Iterable[int] | Iterable[Mapping[str, Any]],
    X: ArrayLike,
    T: ArrayLike,
    *,
    n_jobs: int | None = None,
    progress: bool = False,
    **common: Any,
) -> Ensemble:
    """Train many nets on the same data, each on one thread, as many at once as there are threads.

    This is for nets that are too small to keep several threads busy: searches over settings, cross-validation and deep
    ensembles.  The results have the bits of ``MLP(...).fit(X, T, ...)``, called for one net after the other.

    Parameters
    ----------
    configs : int, or iterable of int or dict
        n nets with the seeds 0 to n - 1, nets of these seeds, or the settings of each net: arguments of `MLP` and of
        `MLP.fit`, and ``rows``, the indices of the samples that this net is trained on.  The other samples are then its
        validation data, unless there are ``validation_data`` or a ``validation_split``.
    X, T : array-like
        As of `MLP.fit`; they are not copied for each net.  Only nets that are being trained hold copies of their `rows`.
    n_jobs : int, default=None
        Nets at once; None for the number of threads that `numba.set_num_threads` has set.
    progress : bool, default=False
        Whether to show how many nets have been trained.
    **common
        Settings of all nets that have none of their own.  An optimizer is copied for each net.  Functions, such as
        `callback`, are called from several threads at once.

    Returns
    -------
    Ensemble
        In the order of `configs`.  If the training of a net raises an exception, such as a FloatingPointError since it
        diverged, the exception is in `errors`, and the other nets are trained all the same.

    Raises
    ------
    ValueError, TypeError
        If a setting is wrong, or several nets share a random generator, a `Callback` object or the file of a checkpoint;
        before any net is trained.
    ensembles.Interrupted
        After Ctrl-C, once no net is being trained any more.  It is a KeyboardInterrupt; its attribute `ensemble` has the nets
        that had been trained.

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
    nets = [MLP(**{name: value for name, value in own.items() if name in OF_NET}) for own in settings]
    arrays = {
        dtype: (validation.numbers("X", X, dtype, either=True), validation.numbers("T", T, dtype))
        for dtype in {net.dtype for net in nets}
    }
    fits = [partial(_fit_of, net, *arrays[net.dtype], own) for net, own in zip(nets, settings, strict=True)]
    for fit in fits:  # made again when its net is trained: all at once would hold the rows of all nets
        fit().check()
    return _train(nets, fits, settings, n_jobs, progress)


def _settings_of(configs: Any, common: dict[str, Any]) -> list[dict[str, Any]]:
    """The settings of each net; raises TypeError or ValueError if one is unknown, or belongs to two nets."""
    if isinstance(configs, (int, np.integer)) and not isinstance(configs, bool):
        configs = range(validation.count("configs", configs))
    if isinstance(configs, (str, bytes, Mapping)) or not isinstance(configs, Iterable):
        raise TypeError(f"configs must be a number of nets, seeds, or dictionaries of settings, one a net; got {configs!r}")
    found: list[dict[str, Any]] = []
    for config in configs:
        if isinstance(config, (int, np.integer)) and not isinstance(config, bool):
            config = {"random_state": int(config)}
        if not isinstance(config, Mapping):
            raise TypeError(f"configs must be seeds or dictionaries of settings; got {config!r}")
        own = {**common, **config}
        unknown = sorted(set(own) - ALLOWED)
        if unknown:
            raise TypeError(f"{', '.join(unknown)}: neither MLP nor its fit has such an argument for one of many nets")
        if "layer_sizes" not in own:
            raise TypeError("each net needs layer_sizes, such as train_many(10, X, T, layer_sizes=(4, 20, 1))")
        found.append(own)
    if not found:
        raise ValueError("configs must not be empty")
    _check_apart(found)
    return found


def _check_apart(settings: list[dict[str, Any]]) -> None:
    """Raise ValueError if two nets, which may be trained at once, have what only one can use."""
    users: dict[object, int] = {}
    for number, own in enumerate(settings):
        used: dict[object, str] = {}
        if isinstance(own.get("random_state"), (np.random.Generator, np.random.BitGenerator)):
            used[id(own["random_state"])] = "random_state, a generator,"
        if isinstance(own.get("callbacks"), (list, tuple)):
            used |= {id(each): type(each).__name__ for each in own["callbacks"] if isinstance(each, Callback)}
        if isinstance(own.get("checkpoint"), (str, os.PathLike)):
            used[os.path.abspath(own["checkpoint"])] = "checkpoint"
        for key, name in used.items():
            if users.setdefault(key, number) != number:
                raise ValueError(f"{name} cannot be shared by nets {users[key]} and {number}: give each net its own in configs")


def _fit_of(net: MLP, X: np.ndarray, T: np.ndarray, own: dict[str, Any]) -> Fit:
    """The fit of a net, with its arguments checked."""
    settings = OF_FIT | {name: value for name, value in own.items() if name in OF_FIT}
    if isinstance(settings["optimizer"], Optimizer):
        settings["optimizer"] = copy.copy(settings["optimizer"])
    sample_weight, rows = own.get("sample_weight"), own.get("rows")
    if rows is not None:
        net._samples(X, T, sample_weight)  # raises if these are not of one length
        rows = np.asarray(rows)
        if rows.ndim != 1 or rows.dtype.kind not in "iu" or not rows.size or rows.min() < 0 or rows.max() >= len(X):
            raise ValueError(f"rows must be indices of samples, integers from 0 to {len(X) - 1}; got {rows!r}")
        is_left = np.ones(len(X), bool)
        is_left[rows] = False
        left = np.flatnonzero(is_left)
        s = None if sample_weight is None else np.asarray(sample_weight)
        if left.size and settings["validation_data"] is None and not settings["validation_split"]:
            settings["validation_data"] = (X[left], T[left], None if s is None else s[left])
        X, T, sample_weight = X[rows], T[rows], None if s is None else s[rows]
    return Fit(net, X, T, sample_weight, Settings(**settings))


def _ended(futures: Sequence[Future[None]]) -> Iterator[Future[None]]:
    """The futures in the order in which they end.

    Python handles Ctrl-C only while the main thread runs, and not on every system it wakes that thread from waiting.
    """
    queue: SimpleQueue[Future[None]] = SimpleQueue()
    for future in futures:
        future.add_done_callback(queue.put)
    n_left = len(futures)
    while n_left > 0:
        with suppress(Empty):
            yield queue.get(timeout=WAIT)
            n_left -= 1


def _train(
    nets: list[MLP], fits: Sequence[Callable[[], Fit]], settings: list[dict[str, Any]], n_jobs: int, progress: bool
) -> Ensemble:
    histories: list[History | None] = [None] * len(nets)
    errors: dict[int, Exception] = {}
    running: dict[int, Fit] = {}
    stopped = threading.Event()

    def train(number: int) -> None:
        try:
            running[number] = fits[number]()
            if not stopped.is_set():  # after the line above: of both threads, one sees what the other has done
                histories[number] = running[number].run(sys._getframe())
        except Exception as error:  # of this net only, such as a divergence
            traceback.clear_frames(error.__traceback__)  # they hold the memory of the training
            errors[number] = error
        finally:
            running.pop(number, None)
            nets[number]._network.free_kept()

    with (
        count_bar(len(nets), "net", shown=progress) as advance,
        ThreadPoolExecutor(n_jobs, "train_many", use_one_thread) as pool,
    ):
        try:
            for ended in _ended([pool.submit(train, number) for number in range(len(nets))]):
                ended.result()
                advance(1, "")
        except BaseException as reason:
            stopped.set()
            for fit in list(running.values()):
                fit.stop()
            pool.shutdown(cancel_futures=True)
            if isinstance(reason, KeyboardInterrupt):
                raise Interrupted(Ensemble(nets, histories, settings, errors)) from None
            raise
    return Ensemble(nets, histories, settings, errors)
