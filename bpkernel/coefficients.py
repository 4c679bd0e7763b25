"""Floor 4: the weights of a net as two lists of arrays that users read, write and replace, and the training of such a net."""

import functools
import itertools
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from bpkernel import plan
from bpkernel.inputs import EITHER
from bpkernel.layout import aligned_zeros
from bpkernel.network import Network
from bpkernel.optimizers import COEFFICIENTS, Keep
from bpkernel.training import MiniBatches

AHEAD_SECONDS = 2e-3  # of short epochs run in one call: from Python and back takes 10 µs, a third of an epoch of 150 samples
TOGETHER = 1 << 9  # samples that the gradient of all is summed over at a time, which bounds its scratch


def layer_sizes(coefs: Any, intercepts: Any) -> tuple[int, ...] | None:
    """The units of every layer, inputs first, or None where these are not the float32 or float64 arrays of one net."""
    if not (isinstance(coefs, (list, tuple)) and isinstance(intercepts, (list, tuple)) and len(coefs) == len(intercepts) > 0):
        return None
    for w, b in zip(coefs, intercepts, strict=True):
        arrays = isinstance(w, np.ndarray) and isinstance(b, np.ndarray)
        if not (arrays and w.dtype in EITHER and b.dtype in EITHER and w.ndim == 2 and b.shape == w.shape[1:] and w.size > 0):
            return None
    if any(w.shape[1] != w_next.shape[0] for w, w_next in itertools.pairwise(coefs)):
        return None
    return (len(coefs[0]), *(len(b) for b in intercepts))


class Coefficients:
    """A net whose weights are lists of arrays, `coefs` (n_in, n_out) and `intercepts` (n_out,), all views of its memory.

    The holder of these lists may have replaced one of them, or an array in one: `are` tells.  `state` (2, n_params) and `steps`
    (1,) are the optimizer's, `moments` the two lists of views of `state` in the order of `coefs + intercepts`.
    """

    def __init__(self, sizes: Sequence[int], activations: Sequence[str], loss: type[Any], dtype: np.dtype):
        self.network, self.loss = Network(sizes, activations, loss, dtype), loss
        self.coefs, self.intercepts = list(self.network.weights), list(self.network.biases)
        self._views = tuple(self.coefs), tuple(self.intercepts)
        layout = self.network.layout
        self.state = aligned_zeros(2 * layout.n_params, dtype).reshape(2, -1)
        self.moments = tuple([*layout.weights(row), *layout.biases(row)] for row in self.state)
        self.steps = np.zeros(1, np.int64)
        self._other: tuple[Any, Network] | None = None  # a net of another dtype or of replaced arrays, with its scratch
        self._batches: tuple[Any, MiniBatches] | None = None
        self.training = threading.RLock()  # to be held while training: scratch and crew are for one caller at a time

    @functools.cached_property
    def random_state(self) -> np.random.RandomState:
        """One to be seeded again and again, which takes a sixtieth of the time that it takes to make one."""
        return np.random.RandomState(0)

    def are(self, coefs: Any, intercepts: Any) -> bool:
        """Whether these are the very arrays of this net."""
        return _same(coefs, self._views[0]) and _same(intercepts, self._views[1])

    def load(self, coefs: Any, intercepts: Any) -> None:
        """Take over their numbers."""
        _load(self.network, coefs, intercepts)

    def network_of(self, coefs: Any, intercepts: Any, activations: tuple[str, ...], dtype: np.dtype) -> Network | None:
        """The net of these arrays, for inputs of a dtype, or None where they make none; it may be another at the next call."""
        layout = self.network.layout
        if self.are(coefs, intercepts) and activations == layout.activations and dtype in (layout.dtype, np.float32):
            return self.network
        sizes = layer_sizes(coefs, intercepts)
        if sizes is None:
            return None
        dtype = np.result_type(dtype, *coefs, *intercepts)
        if dtype not in EITHER:
            return None
        key, other = (sizes, activations, dtype), self._other
        if other is None or other[0] != key:
            self._other = other = key, Network(sizes, activations, self.loss, dtype)
        _load(other[1], coefs, intercepts)
        return other[1]

    def batches(self, optimizer: type[Any], settings: np.ndarray, batch_size: int, alpha: float) -> MiniBatches:
        """Training in mini-batches with the state as it is; the same object where all but the settings is as before.

        So is the number of threads: a child forked under OpenMP has one only, and `numba.set_num_threads` may set another.
        """
        key = optimizer, batch_size, alpha, plan.threads_for(self.network.layout, batch_size)
        if self._batches is None or self._batches[0] != key:
            step = plan.step(optimizer, settings.copy(), self.state, self.steps, alpha=alpha)
            self._batches = key, MiniBatches(self.network, step, batch_size)
        batches = self._batches[1]
        batches.step.settings[:] = settings
        return batches


class Objective:
    """(Σ_n s_n E^n / n_divided + ½ alpha Σ w²) / Σ_n s_n over all samples, and the gradient of it where n_divided is 1.

    A function of one vector of all weights: each layer's coefs, then each layer's intercepts, in float64.
    """

    def __init__(self, coefficients: Coefficients, samples: "Samples", alpha: float, n_divided: int):
        self.network, self.samples, self.alpha, self.n_divided = coefficients.network, samples, alpha, n_divided
        self.weight = float(samples.s.sum())
        self.gradient = coefficients.state
        step = plan.step(Keep, np.zeros(COEFFICIENTS), self.gradient, np.zeros(1, np.int64), mean=False)
        self.batches = MiniBatches(self.network, step, min(len(samples.s), TOGETHER))
        self.order = np.arange(len(samples.s))

    def __call__(self, packed: np.ndarray) -> tuple[np.float64, np.ndarray]:
        start = 0
        for view in (*self.network.weights, *self.network.biases):
            view[...] = packed[start : start + view.size].reshape(view.shape)
            start += view.size
        self.gradient[0] = 0
        total = self.samples.see(self.batches, self.order)
        layout = self.network.layout
        gradient = np.empty(packed.size)
        start = 0
        for dw, w in zip(layout.weights(self.gradient[0]), self.network.weights, strict=True):
            part = gradient[start : start + w.size].reshape(w.shape)
            np.multiply(w, self.alpha, out=part)
            part += dw
            start += w.size
        n_weights = start
        for db in layout.biases(self.gradient[0]):
            gradient[start : start + db.size] = db
            start += db.size
        gradient /= self.weight
        penalty = 0.5 * self.alpha * float(np.square(packed[:n_weights]).sum())
        return (total[0] / self.n_divided + penalty) / self.weight, gradient


class Samples:
    """Inputs dense or sparse, targets T (n_samples, n_outputs) and weights s (n_samples,), to be seen in mini-batches."""

    def __init__(self, X: Any, T: np.ndarray, s: np.ndarray | None, dtype: np.dtype):
        self.T = np.ascontiguousarray(T, dtype)
        self.s = np.ones(len(T), dtype) if s is None else np.ascontiguousarray(s, dtype)
        if hasattr(X, "tocsr"):
            self.compiled = plan.sparse_samples(X.tocsr(), self.T, self.s)
        else:
            self.compiled = plan.samples(readable(X, dtype), self.T, self.s)

    def see(self, batches: MiniBatches, order: np.ndarray) -> np.ndarray:
        """Train on all of them in an order (n_samples,); the three sums that `epoch.train` gives."""
        total = np.zeros((1, 3))
        for _ in batches.run(self.compiled, order, total):
            pass
        return total[0]


class Epochs:
    """Epochs one after the other, of which short ones are run ahead, several in a compiled call, and undone if not asked for.

    The samples are seen in their own order or, with `shuffle`, in one that is permuted again for each epoch; `check(order)` may
    refuse it.  The settings of the training must not change while it runs `ahead`.  A generator that others see too, which is
    not `private`, is never ahead: what is drawn ahead is drawn from a copy of it.
    """

    def __init__(
        self,
        held: Coefficients,
        samples: Samples,
        batches: MiniBatches,
        random_state: np.random.RandomState,
        check: Callable[[np.ndarray], None],
        *,
        shuffle: bool,
        private: bool,
        ahead: bool,
    ):
        self._arrays = held.network.params, held.state, held.steps
        self._samples, self._batches, self._random_state, self._check = samples, batches, random_state, check
        self._order, self._shuffle = np.arange(len(samples.s)), shuffle
        self._copy = None if private else held.random_state
        self._ahead, self._n = ahead, 1
        self._total, self._asked = np.empty((0, 3)), 0

    def _draw(self, random_state: np.random.RandomState) -> np.ndarray:
        if self._shuffle:
            self._order = self._order[permutation(random_state, len(self._order))]
        self._check(self._order)
        return self._order

    def _draw_what_was_drawn_ahead(self) -> None:
        if self._copy is not None and self._shuffle:
            permutation(self._random_state, len(self._order))

    def next(self, most: int) -> np.ndarray:
        """The three sums of the next epoch; at most `most` will be asked for, this one counted."""
        if self._asked == len(self._total):
            self._run(min(self._n, most))
        else:
            self._draw_what_was_drawn_ahead()
        self._asked += 1
        return self._total[self._asked - 1]

    def _run(self, n: int) -> None:
        start = time.perf_counter()
        if n == 1:
            total = self._samples.see(self._batches, self._draw(self._random_state))[np.newaxis]
            self._total, self._asked = total, 0
        else:
            self._before = [array.copy() for array in self._arrays]
            self._total, self._asked = np.zeros((n, 3)), 0  # from here on all of it is undone where it is interrupted
            generator = self._random_state
            if self._copy is not None:
                generator = self._copy
                generator.set_state(self._random_state.get_state(legacy=False))
            self._orders = np.stack([self._draw(generator) for _ in range(n)])
            self._batches.run_epochs(self._samples.compiled, self._orders, self._total)
            self._draw_what_was_drawn_ahead()
        if self._ahead:
            self._n = max(1, min(2 * n, int(AHEAD_SECONDS * n / (time.perf_counter() - start))))

    def settle(self) -> None:
        """Leave all as it is after the epochs that have been asked for."""
        if self._asked == len(self._total):
            return
        for array, before in zip(self._arrays, self._before, strict=True):
            array[...] = before
        if self._asked > 0:
            total = np.zeros((self._asked, 3))
            self._batches.run_epochs(self._samples.compiled, self._orders[: self._asked], total)
        self._total = self._total[: self._asked]


def permutation(random_state: np.random.RandomState, n: int) -> np.ndarray:
    """The one that scikit-learn's `shuffle` draws."""
    order = np.arange(n)
    random_state.shuffle(order)
    return order


def readable(X: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """X as the kernels read it, the very same where it is C-contiguous, writeable and of float32 or float64."""
    X = np.asarray(X)
    if X.dtype in EITHER and X.flags.carray:
        return X
    return np.require(X, X.dtype if X.dtype in EITHER else dtype, ["C", "A", "W"])


def _same(arrays: Any, views: tuple[np.ndarray, ...]) -> bool:
    return (
        isinstance(arrays, (list, tuple))
        and len(arrays) == len(views)
        and all(array is view for array, view in zip(arrays, views, strict=True))
    )


def _load(network: Network, coefs: Any, intercepts: Any) -> None:
    for view, array in zip((*network.weights, *network.biases), (*coefs, *intercepts), strict=True):
        view[...] = array
