"""The weights of a net as two lists of arrays that users read, write and replace, and what its training is given."""

import functools
import os
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from bpkernel.derivatives import TOGETHER, Gradient
from bpkernel.functions.activations import BY_NAME as ACTIVATIONS
from bpkernel.functions.optimizers import SGD, Adam
from bpkernel.kernels import operands
from bpkernel.kernels.regularisation import regularisation
from bpkernel.mini_batches import MiniBatches
from bpkernel.network import NO_ERRORS, Inference, Network
from bpkernel.runtime.memory import aligned_zeros
from bpkernel.sklearn.losses import n_outputs_of_a_target
from bpkernel.sklearn.topology import Topology, layer_sizes
from bpkernel.validation import EITHER

N_SLOTS = max(optimizer.n_slots for optimizer in (SGD, Adam))


class Coefficients:
    """A net whose weights are lists of arrays, `coefs` (n_in, n_out) and `intercepts` (n_out,), all views of its memory.

    `gains` and `shifts` (n_out,) are those of the normalised layers; as `vectors` they follow the intercepts.  The estimator
    that holds these lists may have replaced one of them, or an array in one: see `are`.  `state` (N_SLOTS, n_params) and
    `steps` (1,) belong to the optimizer; `moments` are lists of views of each slot of `state`, in the order of `coefs +
    vectors`.
    """

    def __init__(
        self, sizes: Sequence[int], activations: Sequence[Any], loss: Any, dtype: np.dtype, topology: Topology | None = None
    ):
        self.activations, self.loss, self.topology = tuple(activations), loss, topology
        self.network = self._make(sizes, activations, dtype)
        self.coefs, self.intercepts = list(self.network.weights), list(self.network.biases)
        self.gains, self.shifts = list(self.network.gains), list(self.network.shifts)
        self._views = tuple(self.coefs), (*self.intercepts, *self.gains, *self.shifts)
        layout = self.network.layout
        self.state = aligned_zeros(N_SLOTS * layout.n_params, dtype).reshape(N_SLOTS, -1)
        self.moments = tuple(
            [*layout.weights(row), *layout.biases(row), *layout.gains(row), *layout.shifts(row)] for row in self.state
        )
        self.steps = np.zeros(1, np.int64)
        self._other: tuple[Any, Network] | None = None  # a net of another dtype or of replaced arrays
        self._batches: tuple[Any, MiniBatches] | None = None
        self._lock = os.getpid(), threading.RLock()

    @property
    def training(self) -> threading.RLock:
        """The lock to be held while training: scratch memory is for one caller at a time.  A forked child has one of its
        own."""
        if self._lock[0] != os.getpid():
            self._lock = os.getpid(), threading.RLock()
        return self._lock[1]

    def _make(self, sizes: Sequence[int], activations: Sequence[Any], dtype: np.dtype) -> Network:
        functions = [ACTIVATIONS[each] if isinstance(each, str) else each for each in activations]
        if self.topology is None:
            return Network(sizes, functions, self.loss, dtype)
        network = Network(sizes, functions, self.loss, dtype, self.topology.pairs, self.topology.normalised)
        if any(mask is not None for mask in self.topology.masks):
            network.keep_only(self.topology.masks)
        return network

    @functools.cached_property
    def random_state(self) -> np.random.RandomState:
        """A generator to be seeded again and again: that takes a sixtieth of the time of making a new one."""
        return np.random.RandomState(0)

    def are(self, coefs: Any, vectors: Any) -> bool:
        """Whether these are the arrays of this net, not just equal ones."""
        return _same(coefs, self._views[0]) and _same(vectors, self._views[1])

    def load(self, coefs: Any, vectors: Any) -> None:
        """Copy their values; absent weights stay 0."""
        load_arrays(self.network, coefs, vectors)
        self.network.clear_absent()

    def network_of(self, coefs: Any, vectors: Any, activations: tuple[Any, ...], dtype: np.dtype) -> Network | None:
        """The net of these arrays for inputs of a dtype, or None if they form none; the next call may return another."""
        layout = self.network.layout
        if self.are(coefs, vectors) and activations == self.activations and dtype in (layout.dtype, np.float32):
            return self.network
        sizes = layer_sizes(coefs, vectors, self.topology)
        if sizes is None:
            return None
        dtype = np.result_type(dtype, *coefs, *vectors)
        if dtype not in EITHER:
            return None
        key, other = (sizes, activations, dtype), self._other
        if other is None or other[0] != key:
            self._other = other = key, self._make(*key)
        load_arrays(other[1], coefs, vectors)
        return other[1]

    def batches(self, optimizer: type[Any], settings: np.ndarray, batch_size: int, alpha: float) -> MiniBatches:
        """Training in mini-batches with the present state; the same object as before if only the settings are new."""
        key = optimizer, batch_size, alpha
        if self._batches is None or self._batches[0] != key:
            state, layout = self.state[: optimizer.n_slots], self.network.layout
            own = settings.copy(), state, self.steps, np.zeros(0), layout, regularisation(layout, alpha)
            step = operands.step(optimizer, *own)
            self._batches = key, MiniBatches(self.network, step, batch_size)
        batches = self._batches[1]
        batches.step.settings[:] = settings
        return batches


class Objective:
    """(Σ_n s_n E^n / n_divided + ½ alpha Σ w²) / Σ_n s_n over all samples, and its gradient if n_divided is 1.

    A function of one float64 vector of all weights: the coefs of every layer, then the intercepts of every layer.
    """

    def __init__(self, coefficients: Coefficients, samples: operands.Samples, alpha: float, n_divided: int):
        self._network, self._samples, self._alpha, self._n_divided = coefficients.network, samples, alpha, n_divided
        self._weight = float(samples.s.sum())
        self._gradient = Gradient(self._network, min(len(samples.s), TOGETHER))

    def __call__(self, packed: np.ndarray) -> tuple[np.float64, np.ndarray]:
        layout, params = self._network.layout, self._network.params
        layout.assign(params, packed)
        error, flat = self._gradient(self._samples)
        n_weights = packed.size - sum(layout.sizes[1:])
        gradient = layout.vector(flat).astype(np.float64)
        gradient[:n_weights] += layout.vector(params)[:n_weights] * layout.dtype.type(self._alpha)
        gradient /= self._weight
        penalty = 0.5 * self._alpha * float(np.square(packed[:n_weights]).sum())
        return (np.float64(error) / self._n_divided + penalty) / self._weight, gradient


def samples(X: Any, T: np.ndarray, s: np.ndarray | None, network: Network) -> operands.Samples:
    """Operands of inputs dense or sparse, targets T (n_samples, n_outputs) and weights s (n_samples,), ones if None.

    With several outputs for each target, as those of a quantile regression, each target is as many times in T.
    """
    layout = network.layout
    T = np.ascontiguousarray(T[:, :: n_outputs_of_a_target(network.loss)], layout.dtype)
    s = np.ones(len(T), layout.dtype) if s is None else np.ascontiguousarray(s, layout.dtype)
    if hasattr(X, "tocsr"):
        return operands.sparse_samples(X.tocsr(), T, s, layout)
    return operands.samples(readable(X, layout.dtype), T, s)


def outputs(network: Network, X: Any) -> np.ndarray:
    """y (n_samples, n_outputs) for inputs X, dense or sparse."""
    layout = network.layout
    if not hasattr(X, "tocsr"):
        return network.outputs(readable(X, layout.dtype))
    y = np.empty((X.shape[0], layout.sizes[-1]), layout.dtype)
    given = operands.sparse_samples(X.tocsr(), y, np.empty(0, layout.dtype), layout)  # y takes the place of targets
    Inference(network, len(y)).run(given, y, NO_ERRORS)
    return y


class ComposedOrders:
    """The orders of scikit-learn's epochs: each permutes the one before it, or with `shuffle=False` all are that of the
    samples.

    `check(order)` may refuse an order.  A generator that others see too, which is not `private`, never advances further than
    the epochs that are asked for: orders ahead of them are drawn from a copy.
    """

    def __init__(
        self,
        held: Coefficients,
        n_samples: int,
        random_state: np.random.RandomState,
        check: Callable[[np.ndarray], None],
        *,
        shuffle: bool,
        private: bool,
    ):
        self._order, self._random_state, self._check, self._shuffle = np.arange(n_samples), random_state, check, shuffle
        self._copy = None if private else held.random_state

    def draw(self, n_epochs: int) -> np.ndarray:
        generator = self._random_state
        if n_epochs > 1 and self._copy is not None:
            generator = self._copy
            generator.set_state(self._random_state.get_state(legacy=False))
        orders = []
        for _ in range(n_epochs):
            if self._shuffle:
                self._order = self._order[permutation(generator, len(self._order))]
            self._check(self._order)
            orders.append(self._order)
        if n_epochs > 1:
            self.advance()
        return np.stack(orders) if n_epochs > 1 else orders[0][np.newaxis]

    def advance(self) -> None:
        if self._copy is not None and self._shuffle:
            permutation(self._random_state, len(self._order))


def permutation(random_state: np.random.RandomState, n: int) -> np.ndarray:
    """The permutation that scikit-learn's `shuffle` draws."""
    order = np.arange(n)
    random_state.shuffle(order)
    return order


def readable(X: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """X as the kernels read it: X itself if it is C-contiguous, writeable and of float32 or float64, otherwise a copy."""
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


def load_arrays(network: Any, coefs: Any, vectors: Any) -> None:
    """Copy arrays to a net, a Network or an MLP; vectors: its biases, then gains, then shifts."""
    views = *network.weights, *network.biases, *network.gains, *network.shifts
    for view, array in zip(views, (*coefs, *vectors), strict=True):
        view[...] = array
