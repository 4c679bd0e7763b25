"""The four sums of back-propagation: one layer and one mini-batch, on one thread, with the memory layout of training."""

from typing import NamedTuple

import numpy as np

from . import sums_by_layer, sums_by_node
from .fastest import Fastest
from .internals import find

EQUATIONS = ["pre_activations (1)", "output_deltas (5)", "hidden_deltas (7)", "gradient (4)"]
LAYERS = {
    "64-100 batch 200 float32": (64, 100, 200, "float32"),
    "512-512 batch 256 float32": (512, 512, 256, "float32"),
    "512-512 batch 256 float64": (512, 512, 256, "float64"),
}


class Sums(Fastest):
    """Equations have the book's numbers.  Eq. 5 has a canonical output; Eq. 7 uses transposed weights and relu."""

    params = (EQUATIONS, list(LAYERS))
    param_names = ("equation", "layer")
    window = 0.1  # seconds
    times = 20  # repetitions of the sum in a call

    def setup(self, equation, label):
        if hasattr(self, "kernel"):  # asv comes here before every sample; each process has one kernel and layer
            return
        n_in, n_out, n_samples, dtype = LAYERS[label]
        compiled, arguments = kernels(n_in, n_out, n_samples, np.dtype(dtype))[equation]
        self.kernel = lambda: compiled(self.times, *arguments)
        self.kernel()

    def time_sum(self, equation, label):
        self.run(self.kernel)

    def timer(self):
        return super().timer() / self.times


class Arrays(NamedTuple):
    """Random numbers for one layer, in rows with the length and padding that they have in training.

    A row of units begins with a cache line of `lead` numbers, the last of which is z_0.
    """

    n_in: int
    n_out: int
    width: int  # n_out in whole cache lines
    lead: int
    w: np.ndarray  # (1 + n_in, row): weights, from the biases on
    w_t: np.ndarray  # (width, row): the transposed weights, from `lead` on
    z: np.ndarray  # (n_samples, row): units of the layer before
    delta_in: np.ndarray  # (n_samples, row): their δ
    a: np.ndarray  # (n_samples, row): units of the layer
    y: np.ndarray  # (n_samples, row)
    delta_out: np.ndarray  # (n_samples, row)
    T: np.ndarray  # (n_samples, n_out)
    rows: np.ndarray  # (n_samples,): the order of the samples
    scale: np.ndarray  # (n_samples,): their weights
    dw: np.ndarray  # (1 + n_in, row)


def arrays(n_in, n_out, n_samples, dtype):
    """Arrays for a layer of n_in to n_out units."""
    memory = "bpkernel.runtime.memory", "bpkernel.layout"
    aligned_zeros, padded, row_length = (find(name, *memory) for name in ("aligned_zeros", "padded", "row_length"))
    lead = find("LINE", "bpkernel.codegen.processor", "bpkernel.layout") // dtype.itemsize
    rng, width = np.random.default_rng(0), padded(n_out, dtype)

    def rows_of(n_rows, first, n_columns):
        row = row_length(first + padded(n_columns, dtype), dtype)
        array = aligned_zeros(n_rows * row, dtype).reshape(n_rows, row)
        array[:, first : first + n_columns] = rng.uniform(-0.5, 0.5, (n_rows, n_columns))
        return array

    w, w_t = rows_of(1 + n_in, 0, n_out), rows_of(width, lead, n_in)
    z, delta_in = rows_of(n_samples, lead, n_in), rows_of(n_samples, lead, n_in)
    a, delta_out = rows_of(n_samples, lead, n_out), rows_of(n_samples, lead, n_out)
    T, rows, scale = rng.random((n_samples, n_out)).astype(dtype), rng.permutation(n_samples), np.ones(n_samples, dtype)
    y = rows_of(n_samples, lead, n_out)
    return Arrays(n_in, n_out, width, lead, w, w_t, z, delta_in, a, y, delta_out, T, rows, scale, w.copy())


def kernels(n_in, n_out, n_samples, dtype):
    """For each equation a kernel that repeats its sum, compiled at its first call, and its arguments after the repetitions."""
    operands = arrays(n_in, n_out, n_samples, dtype)
    for build in (sums_by_node.build, sums_by_layer.build):
        try:
            return dict(zip(EQUATIONS, build(operands, dtype), strict=True))
        except ImportError:
            continue
    raise NotImplementedError("this commit has other sums")
