"""A net in memory: its weights, its operands for the kernels, and its outputs."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from bpkernel.codegen.processor import ROWS
from bpkernel.kernels import inference, operands, partition
from bpkernel.kernels.layout import Layout
from bpkernel.runtime import task_queue
from bpkernel.runtime.memory import aligned_zeros
from bpkernel.runtime.pace import Pace
from bpkernel.runtime.threads import launch

NO_ERRORS = np.empty(0)
PREDICTED_TOGETHER = 96  # samples whose units a thread holds at once without a backward pass
SHARES = 2  # blocks of samples for each thread


class Network:
    """The weights of a net, shared by the kernels and by whoever holds a view of them.

    Attributes
    ----------
    layout : Layout
    params : ndarray (n_params,)
        All weights and biases; zeros at first.
    weights, biases : tuple of ndarray
        Live views (n_in, n_out) of every edge and (n_out,) of every node but the inputs.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        activations: Sequence[Any],
        loss: Any,
        dtype: np.dtype,
        pairs: Sequence[tuple[int, int]] | None = None,
    ):
        self.layout = Layout(sizes, activations, dtype, pairs)
        self.params = aligned_zeros(self.layout.n_params, dtype)
        self.weights, self.biases = self.layout.weights(self.params), self.layout.biases(self.params)
        self._loss = loss
        self._compiled: operands.Net | None = None
        self._for_one_row: list[Inference] = []  # scratch memory that no caller uses at the moment

    @property
    def compiled(self) -> operands.Net:
        """The net as the kernels take it; compiled when first asked for."""
        if self._compiled is None:
            self._compiled = operands.net(self.layout, self._loss, self.params)
        return self._compiled

    def outputs(self, X: np.ndarray) -> np.ndarray:
        """y (n_samples, n_outputs) for inputs X (n_samples, n_inputs), C-contiguous, of float32 or float64."""
        dtype = self.layout.dtype
        y = np.empty((len(X), self.layout.sizes[-1]), dtype)
        try:
            inference = self._for_one_row.pop() if len(X) == 1 else Inference(self, len(X))
        except IndexError:  # this is the first caller, or another thread is using the scratch memory
            inference = Inference(self, 1)
        inference.run(
            operands.samples(X, y, np.empty(0, dtype)), y, NO_ERRORS
        )  # y takes the place of targets, which are not read
        if len(X) == 1:
            self._for_one_row.append(inference)
        return y

    def mean_error(self, samples: operands.Samples) -> float:
        """Σ_n s_n E^n / Σ_n s_n; a sample without weight does not count, even if its E^n is Inf."""
        e = np.empty(len(samples.s))
        Inference(self, len(samples.s)).run(samples, samples.T[:0], e)
        s = samples.s.astype(np.float64)
        return float((s * np.where(s > 0, e, 0)).sum() / s.sum())


class Inference:
    """The forward pass through a net, with its scratch memory; for one caller at a time."""

    def __init__(self, network: Network, n_samples: int):
        layout, self.net = network.layout, network.compiled
        self.n_threads = partition.threads_worth(layout.flops * n_samples // 3) if n_samples > 1 else 1
        share = -(-n_samples // (SHARES * self.n_threads)) if self.n_threads > 1 else n_samples
        each = min(-(-share // ROWS) * ROWS, PREDICTED_TOGETHER) if n_samples > 1 else 1
        self.units = operands.units(layout, each * self.n_threads)
        self.own_rows, self.queue = np.arange(each, dtype=np.int64), task_queue.make(self.n_threads)

    def run(self, samples: operands.Samples, y: np.ndarray, e: np.ndarray) -> None:
        """Outputs y (n_samples, n_outputs) and errors E^n e (n_samples,), overwritten; either may have no rows."""
        n = max(len(y), len(e))
        parts = Pace().parts(n, self.units.n_samples) if n > 1 else (slice(0, n),)
        for part in parts:
            own = self.units, self.own_rows, self.queue
            launch(self.n_threads, inference.outputs, self.net, samples, part.start, *own, y[part], e[part])
