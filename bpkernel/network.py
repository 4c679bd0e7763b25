"""Floor 4: a net in memory: its weights, what the kernels know of them, and its outputs."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from bpkernel import crew, epoch, plan
from bpkernel.layout import Layout, aligned_zeros
from bpkernel.pace import Pace
from bpkernel.threads import launch
from bpkernel.tiles import ROWS

NO_ERRORS = np.empty(0)


class Network:
    """The weights of a net, which the kernels and whoever holds a view of them share.

    Attributes
    ----------
    layout : Layout
    params : ndarray (n_params,)
        All weights and biases; zeros at first.
    weights, biases : tuple of ndarray
        Live views (n_in, n_out) and (n_out,) for every layer, inputs first.
    """

    def __init__(self, sizes: Sequence[int], activations: Sequence[str], loss: type[Any], dtype: np.dtype):
        self.layout = Layout(sizes, activations, dtype)
        self.params = aligned_zeros(self.layout.n_params, dtype)
        self.weights, self.biases = self.layout.weights(self.params), self.layout.biases(self.params)
        self._loss = loss
        self._compiled: plan.Net | None = None
        self._for_one_row: list[Inference] = []  # scratch that no caller uses just now

    @property
    def compiled(self) -> plan.Net:
        """The net as the kernels take it; compiled when first asked for."""
        if self._compiled is None:
            self._compiled = plan.net(self.layout, self._loss, self.params)
        return self._compiled

    def outputs(self, X: np.ndarray) -> np.ndarray:
        """y (n_samples, n_outputs) for inputs X (n_samples, n_inputs), C-contiguous, of float32 or float64."""
        dtype = self.layout.dtype
        y = np.empty((len(X), self.layout.sizes[-1]), dtype)
        try:
            inference = self._for_one_row.pop() if len(X) == 1 else Inference(self, len(X))
        except IndexError:  # the first caller, or another thread is using it
            inference = Inference(self, 1)
        inference.run(plan.samples(X, y, np.empty(0, dtype)), y, NO_ERRORS)  # y stands in for the targets, not asked for
        if len(X) == 1:
            self._for_one_row.append(inference)
        return y

    def mean_error(self, samples: plan.Samples) -> float:
        """Σ_n s_n E^n / Σ_n s_n; a sample without weight does not count, even if its E^n is Inf."""
        e = np.empty(len(samples.s))
        Inference(self, len(samples.s)).run(samples, samples.T[:0], e)
        s = samples.s.astype(np.float64)
        return float((s * np.where(s > 0, e, 0)).sum() / s.sum())


class Inference:
    """The way forward through a net, with its scratch; for one caller at a time."""

    def __init__(self, network: Network, n_samples: int):
        layout, self.net = network.layout, network.compiled
        self.n_threads = plan.threads_worth(layout.flops * n_samples // 3) if n_samples > 1 else 1
        share = -(-n_samples // (epoch.SHARES * self.n_threads)) if self.n_threads > 1 else n_samples
        each = min(-(-share // ROWS) * ROWS, plan.PREDICTED_TOGETHER) if n_samples > 1 else 1
        self.units = plan.units(layout, each * self.n_threads)
        self.own_rows, self.crew = np.arange(each, dtype=np.int64), crew.state(self.n_threads)

    def run(self, samples: plan.Samples, y: np.ndarray, e: np.ndarray) -> None:
        """Outputs y (n_samples, n_outputs) and errors E^n e (n_samples,), overwritten; either may have no rows."""
        n = max(len(y), len(e))
        parts = Pace().parts(n, self.units.n_samples) if n > 1 else (slice(0, n),)
        for part in parts:
            launch(
                self.n_threads,
                epoch.infer,
                self.net,
                samples,
                part.start,
                self.units,
                self.own_rows,
                self.crew,
                y[part],
                e[part],
            )
