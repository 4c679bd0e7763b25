"""Second derivatives in plain Python: the R-operator of Pearlmutter (1994), Bishop (1995), section 4.10.7.

R{x} is the change of x per unit step of the weights in the direction v.  A direction v is a list of one list of rows for each
layer, with the shape of its w, which in normalised layers has rows of gains and shifts, too.  Functions of one's own have a
third member: an activation is (g, g', g''(a, z)), a loss (E^n, the list of ∂E/∂y_k, the list of Σ_l ∂²E/∂y_k∂y_l r_l as a
function of y, t and r).
"""

import math

from bpkernel.reference import (
    forward,
    gradients,
    hidden_deltas,
    is_normalised,
    output_deltas,
    pre_activations,
    units_before,
    weights_after,
)
from bpkernel.reference_functions import TINY, log, logistic, loss_functions, times_slope
from bpkernel.reference_normalisation import deltas_of_sums, mean, norm_gradients, normalised, slopes_of_sums, spread

# ------------------------------------------------------------------------------------------- g'' and the curvatures of E


def zero(a, z):
    return 0.0


def phi(a):
    """The density of the normal distribution."""
    return math.exp(-a * a / 2.0) / math.sqrt(2.0 * math.pi)


# name: g''(a) as a function of a and z = g(a); softmax is not here
SECOND = {
    "identity": zero,
    "relu": zero,
    "leaky_relu": zero,
    "hard_sigmoid": zero,
    "hard_tanh": zero,
    "logistic": lambda a, z: z * (1.0 - z) * (1.0 - 2.0 * z),
    "tanh": lambda a, z: -2.0 * z * (1.0 - z * z),
    "exp": lambda a, z: z,
    "elu": lambda a, z: 0.0 if a > 0.0 else math.exp(a),
    "selu": lambda a, z: 0.0 if a > 0.0 else 1.0507009873554804934 * 1.6732632423543772848 * math.exp(a),
    "softplus": lambda a, z: logistic(a) * logistic(-a),
    "silu": lambda a, z: logistic(a) * logistic(-a) * (2.0 + a * (1.0 - 2.0 * logistic(a))),
    "gelu": lambda a, z: phi(a) * (2.0 - a * a),
    "hard_silu": lambda a, z: 1.0 / 3.0 if -3.0 < a < 3.0 else 0.0,
}


def change_of_slope(g, a, z, d, r):
    """The change of `times_slope(g, a, z, d)` where a changes in the direction r and d does not: g''(a_j) r_j d_j."""
    units = range(len(a))
    if g == "softmax":
        r_z = times_slope(g, a, z, r)
        return [sum((r_z[k] * ((k == j) - z[j]) - z[k] * r_z[j]) * d[k] for k in units) for j in units]
    if g == "mean_variance":
        return [0.0 if j < len(a) // 2 else z[j] * r[j] * d[j] for j in units]
    second = SECOND[g] if isinstance(g, str) else g[2]
    return [second(a_j, z_j) * r_j * d_j for a_j, z_j, r_j, d_j in zip(a, z, r, d)]


def each(curvature):
    """The curvature of a loss that is a sum over the outputs, from ∂²e/∂y²(y_k, t_k)."""
    return lambda y, t, r: [curvature(y_k, t_k) * r_k for y_k, t_k, r_k in zip(y, t, r)]


def tweedie(p):
    return each(lambda y, t: (1.0 - p) * max(y, TINY) ** -p + p * t * max(y, TINY) ** (-p - 1.0))


def focal_curvature(gamma):
    def curvature(y, t):
        q, y = max(1.0 - y, TINY), max(y, TINY)
        terms = q**gamma / y**2 + 2.0 * gamma * q ** (gamma - 1.0) / y - gamma * (gamma - 1.0) * q ** (gamma - 2.0) * log(y)
        return t * terms

    return curvature


def binary_focal(gamma):
    curvature = focal_curvature(gamma)
    return each(lambda y, t: curvature(y, t) + curvature(1.0 - y, 1.0 - t))


def gaussian_nll(y, t, r):
    n, found = len(t), [0.0] * len(y)
    for k in range(n):
        v, e = max(y[n + k], TINY), t[k] - y[k]
        found[k] = r[k] / v + e / v**2 * r[n + k]
        found[n + k] = e / v**2 * r[k] + (e * e / v**3 - 0.5 / v**2) * r[n + k]
    return found


CURVATURES = {
    "squared_error": each(lambda y, t: 1.0),
    "cross_entropy": each(lambda y, t: t / max(y, TINY) ** 2),
    "binary_cross_entropy": each(lambda y, t: t / max(y, TINY) ** 2 + (1.0 - t) / max(1.0 - y, TINY) ** 2),
    "poisson": each(lambda y, t: t / max(y, TINY) ** 2),
    "absolute_error": each(zero),
    "huber": each(lambda y, t: float(abs(y - t) <= 1.0)),
    "log_cosh": each(lambda y, t: 1.0 / math.cosh(y - t) ** 2),
    "hinge": each(zero),
    "gamma": each(lambda y, t: 2.0 * t / max(y, TINY) ** 3 - 1.0 / max(y, TINY) ** 2),
    "tweedie": tweedie(1.5),
    "focal": each(focal_curvature(2.0)),
    "binary_focal": binary_focal(2.0),
    "quantile": each(zero),
    "gaussian_nll": gaussian_nll,
}


# --------------------------------------------------------------------------------------------------------- the R-operator


def times(matrix, x):
    """The product of a matrix, a list of rows, with a vector."""
    return [sum(m_ij * x_j for m_ij, x_j in zip(row, x)) for row in matrix]


def change_of_scaled(a, gains, r_a, v_gains, v_shifts):
    """R{u} from R{a}, where gains and shifts change by v_gains and v_shifts."""
    parts = zip(gains, times(slopes_of_sums(a), r_a), v_gains, normalised(a), v_shifts)
    return [gain * r_n + v_gain * n_j + v_shift for gain, r_n, v_gain, n_j, v_shift in parts]


def change_of_slopes(a, r_a):
    """The changes of ∂n_j/∂a_i; that of √(v + ε) is mean_j n_j R{a}_j."""
    n, r_n, s, h = normalised(a), times(slopes_of_sums(a), r_a), spread(a), len(a)
    r_s = mean([n_j * r_j for n_j, r_j in zip(n, r_a)])
    return [
        [-(r_n[i] * n[j] + n[i] * r_n[j]) / (h * s) - slopes_of_sums(a)[i][j] * r_s / s for j in range(h)] for i in range(h)
    ]


def change_of_deltas(a, gains, of_u, r_a, v_gains, r_of_u):
    """R{δ} from R{∂E/∂u}."""
    c = [gain * d for gain, d in zip(gains, of_u)]
    r_c = [gain * r_d + v_gain * d for gain, r_d, v_gain, d in zip(gains, r_of_u, v_gains, of_u)]
    return [x + y for x, y in zip(times(slopes_of_sums(a), r_c), times(change_of_slopes(a, r_a), c))]


def change_of_norm_gradients(a, of_u, r_a, r_of_u):
    """R{∂E/∂γ} and R{∂E/∂β}."""
    of_gains, of_shifts = norm_gradients(a, r_of_u)
    r_n = times(slopes_of_sums(a), r_a)
    return [[x + d * r_j for x, d, r_j in zip(of_gains, of_u, r_n)], of_shifts]


def hessian_vector_product(net, loss, x, t, v):
    """The product of the Hessian of E^n of one sample with a direction v, in the shape of v."""
    last, of_v = len(net), [(rows, *layer[1:]) for rows, layer in zip(v, net)]
    a, z = forward(net, x)
    r_a, r_z = [[]], [[0.0] * len(x)]
    sums, r_sums, products = {}, {}, {l: [] for l in range(1, last + 1)}  # of normalised layers
    for l, (w, g, *_) in enumerate(net, start=1):  # R{a}_j = Σ_i v_ji z_i + Σ_i w_ji R{z}_i, without R{z}_0 = 0
        from_v, r_before = pre_activations(v[l - 1], units_before(net, l, z)), units_before(net, l, r_z)
        r_a.append([from_v[j] + sum(w[1 + i][j] * r_before[i] for i in range(len(r_before))) for j in range(len(w[0]))])
        if is_normalised(net, l):
            sums[l], r_sums[l] = pre_activations(w, units_before(net, l, z)), r_a[l]
            r_a[l] = change_of_scaled(sums[l], w[-2], r_sums[l], *v[l - 1][-2:])
        r_z.append(times_slope(g, a[l], z[l], r_a[l]))

    g, slopes = net[-1][1], loss_functions(loss)[1]
    curvature = CURVATURES[loss] if isinstance(loss, str) else loss[2]
    delta = [[] for _ in z]
    r_delta = [[] for _ in z]
    delta[last] = output_deltas(g, loss if isinstance(loss, str) else loss[:2], a[last], z[last], t)
    through = times_slope(g, a[last], z[last], curvature(z[last], t, r_z[last]))
    bent = change_of_slope(g, a[last], z[last], slopes(z[last], t), r_a[last])
    r_delta[last] = [x + y for x, y in zip(through, bent)]
    for l in range(last - 1, 0, -1):
        (w_next, targets), (v_next, _) = weights_after(net, l, z), weights_after(of_v, l, z)
        delta_next = [d for target in targets for d in delta[target]]
        r_next = [d for target in targets for d in r_delta[target]]
        g = net[l - 1][1]
        d = hidden_deltas("identity", w_next, delta_next, a[l], z[l])  # Σ_k w_kj δ_k
        delta[l] = times_slope(g, a[l], z[l], d)
        r_d = [
            from_w + from_v
            for from_w, from_v in zip(
                hidden_deltas("identity", w_next, r_next, a[l], z[l]), hidden_deltas("identity", v_next, delta_next, a[l], z[l])
            )
        ]
        r_delta[l] = [x + y for x, y in zip(times_slope(g, a[l], z[l], r_d), change_of_slope(g, a[l], z[l], d, r_a[l]))]
        if l in sums:
            of_u, gains = delta[l], net[l - 1][0][-2]
            products[l] = change_of_norm_gradients(sums[l], of_u, r_sums[l], r_delta[l])
            delta[l] = deltas_of_sums(sums[l], gains, of_u)
            r_delta[l] = change_of_deltas(sums[l], gains, of_u, r_sums[l], v[l - 1][-2], r_delta[l])

    product = []
    for l in range(1, last + 1):  # R{∂E/∂w_ji} = R{δ}_j z_i + δ_j R{z}_i
        first = gradients(units_before(net, l, z), r_delta[l])
        second = gradients(units_before(net, l, r_z), delta[l])
        second[0] = [0.0] * len(second[0])  # R{z}_0 = 0
        product.append([[x + y for x, y in zip(*rows)] for rows in zip(first, second)] + products[l])
    return product
