"""Layer normalisation in plain Python (Ba, Kiros and Hinton 2016), for one sample.

With the mean m and the variance v of the sums a_j of a layer, n_j = (a_j - m) / √(v + ε) and u_j = γ_j n_j + β_j, from which
the layer's activation makes z_j.
"""

import math

EPSILON = 1e-5


def mean(x):
    return sum(x) / len(x)


def spread(a):
    """√(v + ε)."""
    m = mean(a)
    return math.sqrt(mean([(a_j - m) ** 2 for a_j in a]) + EPSILON)


def normalised(a):
    """n."""
    m, s = mean(a), spread(a)
    return [(a_j - m) / s for a_j in a]


def scaled(a, gains, shifts):
    """u."""
    return [gain * n_j + shift for gain, n_j, shift in zip(gains, normalised(a), shifts)]


def slopes_of_sums(a):
    """∂n_j/∂a_i = (1[i = j] - 1/h - n_i n_j / h) / √(v + ε) for h units; symmetric in i and j."""
    n, s, h = normalised(a), spread(a), len(a)
    return [[((1.0 if i == j else 0.0) - 1.0 / h - n[i] * n[j] / h) / s for j in range(h)] for i in range(h)]


def deltas_of_sums(a, gains, of_u):
    """∂E/∂a_i = Σ_j γ_j ∂E/∂u_j ∂n_j/∂a_i, from ∂E/∂u."""
    return [sum(gain * d * slope for gain, d, slope in zip(gains, of_u, row)) for row in slopes_of_sums(a)]


def norm_gradients(a, of_u):
    """The rows ∂E/∂γ and ∂E/∂β, from ∂E/∂u."""
    return [[n_j * d for n_j, d in zip(normalised(a), of_u)], list(of_u)]
