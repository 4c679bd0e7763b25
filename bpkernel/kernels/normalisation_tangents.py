"""The R-operator of normalised nodes; see `tangents` and `normalisation`.

With s = 1 / √(v + ε), c_j = γ_j ∂E/∂u_j, p = mean_j (c_j n_j), q = mean_j (n_j R{a}_j), and v_γ, v_β the parts of the vector
that belong to gains and shifts:

    R{n}_j = s (R{a}_j - mean R{a} - n_j q)        R{u}_j = γ_j R{n}_j + v_γj n_j + v_βj
    R{c}_j = γ_j R{∂E/∂u_j} + v_γj ∂E/∂u_j         R{s} = -s² q
    R{δ}_j = s (R{c}_j - mean R{c} - R{n}_j p - n_j mean_j (R{c}_j n_j + c_j R{n}_j)) - s q δ_j
"""

from typing import Any

from bpkernel.codegen.jit import kernel
from bpkernel.codegen.tiles import per_line
from bpkernel.codegen.views import row_of
from bpkernel.kernels.differentials import second_of, units_of
from bpkernel.kernels.layout import second_rows, weight_rows


@kernel(inline=False)
def tangents_of_sums(net: Any, direction: Any, node: Any, units: Any, r: Any, first: int, n: int) -> None:
    """R{u} from R{a}, which it overwrites in r.a, for n samples from row `first` of the units on.

    The second block of the node in r.z: R{n}, and q in the place of z_0, are overwritten.
    """
    of, per, real = units.n_samples, per_line(units.z), units.z.dtype.type
    gains, of_v = weight_rows(net.edges[node.own_edge], net.params), weight_rows(net.edges[node.own_edge], direction.params)
    gain = row_of(gains, 1, 0, node.n_units)
    v_shift, v_gain = row_of(of_v, 0, 0, node.n_units), row_of(of_v, 1, 0, node.n_units)
    for m in range(first, first + n):
        normal, r_normal, r_a = second_of(node, units.z, of, m), second_of(node, r.z, of, m), units_of(node, r.a, of, m)
        total = q = real(0)
        for j in range(r_a.size):
            total += r_a[j]
            q += normal[j] * r_a[j]
        mean, q, s = total / real(node.n_units), q / real(node.n_units), second_rows(node, units.z, of)[m, per - 1]
        for j in range(r_a.size):
            r_normal[j] = s * (r_a[j] - mean - normal[j] * q)
            r_a[j] = gain[j] * r_normal[j] + v_gain[j] * normal[j] + v_shift[j]
        second_rows(node, r.z, of)[m, per - 1] = q


@kernel(inline=False)
def tangents_of_deltas(net: Any, direction: Any, node: Any, units: Any, r: Any, first: int, n: int) -> None:
    """R{δ} from R{∂E/∂u}, which it overwrites in r.delta and copies to the second block there; the δ must be there already."""
    of, per, real = units.n_samples, per_line(units.z), units.z.dtype.type
    gains, of_v = weight_rows(net.edges[node.own_edge], net.params), weight_rows(net.edges[node.own_edge], direction.params)
    gain, v_gain = row_of(gains, 1, 0, node.n_units), row_of(of_v, 1, 0, node.n_units)
    for m in range(first, first + n):
        normal, r_normal = second_of(node, units.z, of, m), second_of(node, r.z, of, m)
        of_u, r_of_u = second_of(node, units.delta, of, m), second_of(node, r.delta, of, m)
        delta, r_delta = units_of(node, units.delta, of, m), units_of(node, r.delta, of, m)
        s, q = second_rows(node, units.z, of)[m, per - 1], second_rows(node, r.z, of)[m, per - 1]
        total = p = r_p = real(0)
        for j in range(delta.size):
            r_of_u[j] = r_delta[j]
            r_c, c = gain[j] * r_of_u[j] + v_gain[j] * of_u[j], gain[j] * of_u[j]
            total += r_c
            p += c * normal[j]
            r_p += r_c * normal[j] + c * r_normal[j]
            r_delta[j] = r_c
        mean, p, r_p = total / real(node.n_units), p / real(node.n_units), r_p / real(node.n_units)
        for j in range(delta.size):
            r_delta[j] = s * (r_delta[j] - mean - r_normal[j] * p - normal[j] * r_p - q * delta[j])


@kernel(inline=False)
def product_of_gains(second: bool, node: Any, units: Any, r: Any, first: int, n: int, add: int, out: Any) -> None:
    """Σ_n R{∂E/∂u_j} n_j + ∂E/∂u_j R{n}_j of gains, and Σ_n R{∂E/∂u_j} of shifts.

    second: whether there is the second term;  out (2, row): the shifts and gains are overwritten, or added to where `add` is 1.
    """
    of, of_shift, of_gain = units.n_samples, row_of(out, 0, 0, node.n_units), row_of(out, 1, 0, node.n_units)
    for j in range(0 if add else node.n_units):
        of_shift[j] = of_gain[j] = 0
    for m in range(first, first + n):
        normal, r_of_u = second_of(node, units.z, of, m), second_of(node, r.delta, of, m)
        for j in range(r_of_u.size):
            of_shift[j] += r_of_u[j]
            of_gain[j] += r_of_u[j] * normal[j]
        if second:
            r_normal, of_u = second_of(node, r.z, of, m), second_of(node, units.delta, of, m)
            for j in range(of_u.size):
                of_gain[j] += of_u[j] * r_normal[j]
