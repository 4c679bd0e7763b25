"""A net in memory: its weights, its operands for the kernels, and its outputs."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from bpkernel.codegen.pointers import raise_fault
from bpkernel.codegen.processor import ROWS
from bpkernel.kernels import inference, one_row, operands, partition
from bpkernel.kernels.few_weights import lists_of
from bpkernel.kernels.layout import Layout
from bpkernel.runtime import task_queue
from bpkernel.runtime.memory import KEPT_BYTES, SpareMemory, aligned_zeros
from bpkernel.runtime.pace import Pace
from bpkernel.runtime.threads import available, launch

NO_ERRORS = np.empty(0)
PREDICTED_TOGETHER = 96  # samples whose units a thread holds at once without a backward pass


class Network:
    """The weights of a net, shared by the kernels and by whoever holds a view of them.

    Attributes
    ----------
    layout : Layout
    params : ndarray (n_params,)
        All weights and biases, zeros at first, and gains and shifts, ones and zeros.
    weights, biases : tuple of ndarray
        Live views (n_in, n_out) of every edge and (n_out,) of every node but the inputs.
    gains, shifts : tuple of ndarray
        Live views (n_out,) of every normalised node.
    present : ndarray of bool (n_params,)
        False for weights that are absent; (0,) if none are.
    spare : SpareMemory
        For snapshots of the weights and of an optimizer's state.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        activations: Sequence[Any],
        loss: Any,
        dtype: np.dtype,
        pairs: Sequence[tuple[int, int]] | None = None,
        normalised: Sequence[int] = (),
    ):
        self.layout = Layout(sizes, activations, dtype, pairs, normalised=normalised)
        self.params = aligned_zeros(self.layout.n_params, dtype)
        self.weights, self.biases = self.layout.weights(self.params), self.layout.biases(self.params)
        self.gains, self.shifts = self.layout.gains(self.params), self.layout.shifts(self.params)
        for gains in self.gains:
            gains[:] = 1
        self.present = np.zeros(0, bool)
        self.loss = loss
        self._compiled: operands.Net | None = None
        self.spare = SpareMemory()
        self._for_one_row: list[Inference] = []  # scratch memory that no caller uses at the moment
        # What no caller uses: under True a Differentiator for second derivatives, under False one for first derivatives, and
        # under "gradient" a pair of a batch size and a Gradient.
        self.for_derivatives: dict[bool | str, Any] = {}
        self._for_training: list[tuple[Any, operands.Work]] = []  # likewise, with what it is for
        self._pace: tuple[Any, Pace] = None, Pace()  # of the last mini-batches, with their kind

    @property
    def compiled(self) -> operands.Net:
        """The net as the kernels take it; compiled when first asked for."""
        if self._compiled is None:
            self._compiled = operands.net(self.layout, self.loss, self.params, self.present)
        return self._compiled

    @property
    def masks(self) -> tuple[np.ndarray | None, ...]:
        """A live view (n_in, n_out) of every edge, True where there is a weight; None for edges without absent weights."""
        if self.present.size == 0:
            return (None,) * len(self.weights)
        return tuple(None if mask.all() else mask for mask in self.layout.weights(self.present))

    def keep_only(self, masks: Sequence[np.ndarray | None]) -> None:
        """Let weights be absent, where the mask (n_in, n_out) of an edge is False; None for edges that keep theirs."""
        if self.present.size == 0:
            self.present = np.ones(self.layout.n_params, bool)
        for view, mask in zip(self.layout.weights(self.present), masks, strict=True):
            if mask is not None:
                view &= mask
        self.clear_absent()
        self._set_present(self.present)

    def _set_present(self, present: np.ndarray) -> None:
        """Make compiled calls from now on use this array, and lists of the weights that are present in it."""
        self.present = present
        self._for_one_row.clear()
        self.for_derivatives.clear()
        if self._compiled is not None:
            edges, lists = lists_of(self.layout, self.present)
            self._compiled = self._compiled._replace(edges=edges, lists=lists, present=self.present)

    def present_places(self) -> np.ndarray:
        """The places of the parameters that are present in a vector of all of them, as of `Layout.vector`."""
        if self.present.size == 0:
            return np.arange(self.layout.n_parameters)
        return np.flatnonzero(self.layout.vector(self.present))

    def in_float64(self) -> "Network":
        """A net of the same layers and functions in float64, with the same weights; the two share nothing."""
        layout = self.layout
        own = layout.activations, self.loss, np.dtype(np.float64), layout.pairs, layout.normalised
        other = Network(layout.sizes, *own)
        other.layout.assign(other.params, layout.vector(self.params))
        if self.present.size:
            other.keep_only(layout.weights(self.present))
        return other

    def snapshot(self) -> tuple[np.ndarray, np.ndarray]:
        """A copy of the weights and of which are present, for `restore`."""
        return self.spare.copy(self.params), self.present.copy()

    def restore(self, snapshot: tuple[np.ndarray, np.ndarray]) -> None:
        """Go back to the weights of a `snapshot`; what has been pruned since is present again."""
        params, present = snapshot
        self.params[:] = params
        if not np.array_equal(present, self.present):
            self._set_present(present.copy())

    def take_work(self, key: Any) -> operands.Work | None:
        """The scratch memory that `keep_work` has kept for the same key, if no other caller has taken it."""
        try:
            kept, work = self._for_training.pop()
        except IndexError:
            return None
        return work if kept == key else None

    def keep_work(self, key: Any, work: operands.Work) -> None:
        """Keep scratch memory for the next training, unless it is large, as new memory costs more than a mini-batch."""
        units = work.units
        arrays = work.packed, work.chunks, work.dw, work.gradient, units.a, units.z, units.delta, units.packed, units.undropped
        if sum(array.nbytes for array in arrays) <= KEPT_BYTES:
            self._for_training[:] = [(key, work)]

    def pace(self, kind: Any) -> Pace:
        """How many mini-batches of a kind make a compiled call: what the last ones have shown, if they were of this kind."""
        if self._pace[0] != kind:
            self._pace = kind, Pace()
        return self._pace[1]

    def free_kept(self) -> None:
        """Free the memory that is kept for the next training."""
        self._for_training.clear()
        self.spare.keep([])

    def clear_absent(self) -> None:
        """Set absent weights to 0; a user may have written to them."""
        if self.present.size > 0:
            self.params[~self.present] = 0

    def outputs(self, X: np.ndarray) -> np.ndarray:
        """y (n_samples, n_outputs) for inputs X (n_samples, n_inputs), C-contiguous, of float32 or float64."""
        dtype = self.layout.dtype
        y = np.empty((len(X), self.layout.sizes[-1]), dtype)
        try:
            inference = self._for_one_row.pop() if len(X) == 1 else Inference(self, len(X))
        except IndexError:  # this is the first caller, or another thread is using the scratch memory
            inference = Inference(self, 1)
        samples = operands.samples(X, y, np.empty(0, dtype))  # y takes the place of targets, which are not read
        inference.run(samples, y, NO_ERRORS)
        if len(X) == 1:
            self._for_one_row.append(inference)
        return y

    def as_njit(self) -> Any:
        """The compiled function of `MLP.as_njit`; compiled when first asked for, then always the same."""
        if "_predict" not in vars(self):  # of two threads that ask at once, one compiles in vain
            vars(self).setdefault("_predict", one_row.predict_function(self.compiled, self.layout))
        return vars(self)["_predict"]

    def mean_error(self, samples: operands.Samples) -> float:
        """Σ_n s_n E^n / Σ_n s_n; a sample without weight does not count, even if its E^n is Inf."""
        e = np.empty(len(samples.s))
        Inference(self, len(samples.s)).run(samples, samples.T[:0], e)
        s = samples.s.astype(np.float64)
        return float((s * np.where(s > 0, e, 0)).sum() / s.sum())


class Inference:
    """The forward pass through a net, with its scratch memory; for one caller at a time.

    n_threads: as many as this, if they are available and the work alone is not worth more.
    """

    def __init__(self, network: Network, n_samples: int, n_threads: int | None = None):
        layout, self.net = network.layout, network.compiled
        worth = partition.threads_worth(layout.flops * n_samples // 3) if n_samples > 1 else 1
        self.n_threads = worth if n_threads is None else max(worth, min(n_threads, available()))
        share = -(-n_samples // (partition.SHARES * self.n_threads)) if self.n_threads > 1 else n_samples
        each = min(-(-share // ROWS) * ROWS, PREDICTED_TOGETHER) if n_samples > 1 else 1
        self.units = operands.units(layout, each * self.n_threads)
        self.own_rows, self.queue = np.arange(each, dtype=np.int64), task_queue.make(self.n_threads)
        self._pace = Pace()

    def run(self, samples: operands.Samples, y: np.ndarray, e: np.ndarray) -> None:
        """Outputs y (n_samples, n_outputs) and errors E^n e (n_samples,), overwritten; either may have no rows."""
        n = max(len(y), len(e))
        parts = self._pace.parts(n, self.units.n_samples) if n > 1 else (slice(0, n),)
        for part in parts:
            own = self.units, self.own_rows, self.queue
            launch(self.n_threads, inference.outputs, self.net, samples, part.start, *own, y[part], e[part])
            raise_fault(self.units.fault)
