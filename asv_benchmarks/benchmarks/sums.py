"""The four sums of back-propagation: one layer of a mini-batch, on one thread, in the layout that training gives it."""

import inspect

import numba
import numpy as np

from .fastest import Fastest

EQUATIONS = ["pre_activations (1)", "output_deltas (5)", "hidden_deltas (7)", "gradient (4)"]
LAYERS = {
    "64-100 batch 200 float32": (64, 100, 200, "float32"),
    "512-512 batch 256 float32": (512, 512, 256, "float32"),
    "512-512 batch 256 float64": (512, 512, 256, "float64"),
}


class Sums(Fastest):
    """Equations as numbered in the book; Eq. 5 with a canonical output, Eq. 7 over transposed weights and with relu."""

    params = (EQUATIONS, list(LAYERS))
    param_names = ("equation", "layer")
    window = 0.1  # on one thread, and short
    times = 20  # that a call of a kernel computes the sum

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


def kernels(n_in, n_out, n_samples, dtype):
    """For each equation a kernel that computes it so many times over, compiled when first called, and its arguments."""
    try:
        from bpkernel import sums
        from bpkernel.activations import BY_NAME, address_of_pull_back
        from bpkernel.compiler import FASTMATH
        from bpkernel.layout import LINE, aligned_zeros, padded, row_length
        from bpkernel.views import rows_from
    except ImportError:
        raise NotImplementedError("the sums of this commit are others") from None
    if "lead" not in inspect.signature(sums.output_deltas.py_func).parameters:
        raise NotImplementedError("the sums of this commit take other arguments")

    rng, lead = np.random.default_rng(0), LINE // dtype.itemsize
    compiled = numba.njit(fastmath=FASTMATH, error_model="numpy", nogil=True)

    def block(n_rows, first, n_columns):
        """Random numbers with zeros around them, in rows as long as in training."""
        row = row_length(first + padded(n_columns, dtype), dtype)
        array = aligned_zeros(n_rows * row, dtype).reshape(n_rows, row)
        array[:, first : first + n_columns] = rng.uniform(-0.5, 0.5, (n_rows, n_columns))
        return array

    @compiled
    def part(array, n_rows, column):
        return rows_from(array, 0, n_rows, column)

    @compiled
    def pre_activations(times, panels, w, z, lead, width, a):
        for _ in range(times):
            sums.pre_activations(panels, part(w, len(w), 0), part(z, len(z), lead - 1), width, part(a, len(a), lead))

    @compiled
    def output_deltas(times, lead, y, T, rows, scale, delta):
        for _ in range(times):
            sums.output_deltas(0, 0, lead, part(y, len(y), 0), part(T, len(T), 0), rows, scale, part(delta, len(delta), 0))

    @compiled
    def hidden_deltas(times, panels, back, w, w_t, n_next, delta_next, lead, n_in, z, delta):
        for _ in range(times):
            w_next, w_next_t, d = part(w, len(w), 0), part(w_t, n_next, lead), part(delta_next, len(delta_next), lead)
            sums.hidden_deltas(panels, back, w_next, w_next_t, d, lead, n_in, part(z, len(z), 0), part(delta, len(delta), 0))

    @compiled
    def gradient(times, panels, z, delta, lead, last, width, dw):
        for _ in range(times):
            d = part(delta, len(delta), lead)
            sums.gradient(panels, part(z, len(z), lead - 1), d, 0, last, width, part(dw, len(dw), 0))

    panels, width = sums.panels(dtype), padded(n_out, dtype)
    back = address_of_pull_back(BY_NAME["relu"].pull_back, dtype)
    w, w_t = block(1 + n_in, 0, n_out), block(width, lead, n_in)
    z, delta_in = block(n_samples, lead, n_in), block(n_samples, lead, n_in)
    a, delta_out = block(n_samples, lead, n_out), block(n_samples, lead, n_out)
    T, rows, scale = rng.random((n_samples, n_out)).astype(dtype), rng.permutation(n_samples), np.ones(n_samples, dtype)
    y = block(n_samples, lead, n_out)
    return {
        "pre_activations (1)": (pre_activations, (panels, w, z, lead, width, a)),
        "output_deltas (5)": (output_deltas, (lead, y, T, rows, scale, delta_out)),
        "hidden_deltas (7)": (hidden_deltas, (panels, back, w, w_t, n_out, delta_out, lead, n_in, z, delta_in)),
        "gradient (4)": (gradient, (panels, z, delta_out, lead, n_in, width, w.copy())),
    }
