"""Kernels that repeat each of the four sums, for commits in which a net consists of nodes and edges."""

import inspect

import numba
import numpy as np


def build(o, dtype):
    """(kernel, arguments) of Eqs. 1, 5, 7 and 4 for the Arrays `o`.  Raises ImportError for other commits."""
    from bpkernel.codegen.jit import FASTMATH
    from bpkernel.codegen.precision import Precision
    from bpkernel.codegen.views import rows_from
    from bpkernel.functions.activations import BY_NAME, pointer_to_vjp
    from bpkernel.kernels import sums

    compiled = numba.njit(fastmath=FASTMATH, error_model="numpy", nogil=True)
    precision, panels = Precision.of(dtype), sums.no_panels()
    sums.compile_panels(panels, (o.n_in, o.n_out), precision, add=False, dots=False)

    @compiled
    def part(array, n_rows, column):
        return rows_from(array, 0, n_rows, column)

    @compiled
    def pre_activations(times, panels, w, z, lead, width, a):
        for _ in range(times):
            sums.pre_activations(panels, 0, part(w, len(w), 0), part(z, len(z), lead - 1), width, part(a, len(a), lead))

    note = "fault" in inspect.signature(sums.hidden_deltas.py_func).parameters  # since activations and losses may raise
    fault = (np.zeros(1, np.int64),) if note else ()

    @compiled
    def output_deltas(times, a, y, T, rows, scale, delta, *fault):
        n = len(y)
        for _ in range(times):
            own = part(a, n, 0), part(y, n, 0), part(T, n, 0), rows, scale, part(delta, n, 0)
            if note:
                sums.output_deltas((0, 0), T.shape[1], *own, *fault)
            else:
                sums.output_deltas((0, 0), *own)

    @compiled
    def hidden_deltas(times, panels, vjp, w, w_t, n_next, delta_next, lead, n_in, z, delta, *fault):
        n = len(z)
        for _ in range(times):
            w_next, w_next_t, d_next = rows_from(w, 1, n_in, 0), part(w_t, n_next, lead), part(delta_next, n, lead)
            sums.back_propagate(panels, 0, w_next, w_next_t, d_next, n_in, part(delta, n, lead))
            sums.hidden_deltas(vjp, part(z, n, 0), part(z, n, 0), n_in, part(delta, n, 0), *fault)

    adds = "add" in inspect.signature(sums.gradient.py_func).parameters

    @compiled
    def gradient(times, panels, z, delta, lead, last, width, dw):
        for _ in range(times):
            d = part(delta, len(delta), lead)
            own = part(z, len(z), lead - 1), d, 0, last, width, part(dw, len(dw), 0)
            if adds:
                sums.gradient(panels, 0, *own)
            else:
                sums.gradient(panels, *own)

    vjp = pointer_to_vjp(BY_NAME["relu"].vjp, precision)
    return [
        (pre_activations, (panels, o.w, o.z, o.lead, o.width, o.a)),
        (output_deltas, (o.a, o.y, o.T, o.rows, o.scale, o.delta_out, *fault)),
        (hidden_deltas, (panels, vjp, o.w, o.w_t, o.n_out, o.delta_out, o.lead, o.n_in, o.z, o.delta_in, *fault)),
        (gradient, (panels, o.z, o.delta_out, o.lead, o.n_in, o.width, o.dw)),
    ]
