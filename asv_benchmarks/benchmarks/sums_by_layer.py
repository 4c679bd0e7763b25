"""Kernels that repeat each of the four sums, for commits in which a net is a chain of layers."""

import inspect

import numba


def build(o, dtype):
    """(kernel, arguments) of Eqs. 1, 5, 7 and 4 for the Arrays `o`.  Raises ImportError for other commits."""
    from bpkernel.activations import BY_NAME, address_of_pull_back
    from bpkernel.compiler import FASTMATH
    from bpkernel.views import rows_from

    from bpkernel import sums

    if "lead" not in inspect.signature(sums.output_deltas.py_func).parameters:
        raise ImportError("the sums of this commit take other arguments")
    compiled = numba.njit(fastmath=FASTMATH, error_model="numpy", nogil=True)

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

    panels, back = sums.panels(dtype), address_of_pull_back(BY_NAME["relu"].pull_back, dtype)
    return [
        (pre_activations, (panels, o.w, o.z, o.lead, o.width, o.a)),
        (output_deltas, (o.lead, o.y, o.T, o.rows, o.scale, o.delta_out)),
        (hidden_deltas, (panels, back, o.w, o.w_t, o.n_out, o.delta_out, o.lead, o.n_in, o.z, o.delta_in)),
        (gradient, (panels, o.z, o.delta_out, o.lead, o.n_in, o.width, o.dw)),
    ]
