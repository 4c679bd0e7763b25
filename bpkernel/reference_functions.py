"""The activations and losses of the reference, in plain Python."""

import math

TINY = 2.0**-1022  # the smallest normal float: keeps log(y) and 1 / y finite if an output underflows to 0


# ---------------------------------------------------------------------------------------------- activations, z = g(a)


def logistic(a):
    return 1.0 / (1.0 + math.exp(-a)) if a >= 0.0 else math.exp(a) / (1.0 + math.exp(a))


def cdf(a):
    """The distribution function Φ of the normal distribution."""
    return 0.5 * math.erfc(-a / math.sqrt(2.0))


def softmax(a):
    """y_k = exp(a_k) / Σ_k' exp(a_k') for a whole layer.  Subtracting the largest a_k avoids overflow and cancels out."""
    largest = max(a)
    e = [math.exp(a_k - largest) for a_k in a]
    return [e_k / sum(e) for e_k in e]


def leaky_relu(slope):
    return lambda a: a if a > 0.0 else slope * a, lambda a, z: 1.0 if a > 0.0 else slope


def elu(alpha, scale=1.0):
    return (
        lambda a: scale * (a if a > 0.0 else alpha * math.expm1(a)),
        lambda a, z: scale * (1.0 if a > 0.0 else alpha * math.exp(a)),
    )


# name: (g(a), g'(a) as a function of a and z = g(a))
ELEMENTWISE = {
    "identity": (lambda a: a, lambda a, z: 1.0),
    "logistic": (logistic, lambda a, z: z * (1.0 - z)),
    "tanh": (math.tanh, lambda a, z: 1.0 - z * z),
    "relu": (lambda a: max(a, 0.0), lambda a, z: 1.0 if a > 0.0 else 0.0),
    "exp": (math.exp, lambda a, z: z),
    "leaky_relu": leaky_relu(0.01),
    "elu": elu(1.0),
    "selu": elu(1.6732632423543772848, 1.0507009873554804934),
    "softplus": (lambda a: max(a, 0.0) + math.log1p(math.exp(-abs(a))), lambda a, z: logistic(a)),
    "silu": (lambda a: a * logistic(a), lambda a, z: logistic(a) * (1.0 + a * (1.0 - logistic(a)))),
    "gelu": (lambda a: a * cdf(a), lambda a, z: cdf(a) + a * math.exp(-a * a / 2.0) / math.sqrt(2.0 * math.pi)),
    "hard_sigmoid": (lambda a: min(max((a + 3.0) / 6.0, 0.0), 1.0), lambda a, z: 1.0 / 6.0 if -3.0 < a < 3.0 else 0.0),
    "hard_tanh": (lambda a: min(max(a, -1.0), 1.0), lambda a, z: 1.0 if -1.0 < a < 1.0 else 0.0),
    "hard_silu": (
        lambda a: a * min(max((a + 3.0) / 6.0, 0.0), 1.0),
        lambda a, z: (2.0 * a + 3.0) / 6.0 if -3.0 < a < 3.0 else float(a > 0.0),
    ),
}


def elementwise(g):
    """The functions (g(a), g'(a, z)) of a name, or the pair itself."""
    return ELEMENTWISE[g] if isinstance(g, str) else g


def activate(g, a):
    """The outputs z of a layer from its pre-activations a."""
    if g == "softmax":
        return softmax(a)
    if g == "mean_variance":  # half of the units are means, the others variances
        return [*a[: len(a) // 2], *map(math.exp, a[len(a) // 2 :])]
    function, *_ = elementwise(g)
    return [function(a_j) for a_j in a]


def times_slope(g, a, z, d):
    """∂E/∂a_j from d_j = ∂E/∂z_j: g'(a_j) d_j, or for softmax Σ_k ∂z_k/∂a_j d_k with ∂z_k/∂a_j = z_k ([k = j] - z_j)."""
    units = range(len(a))
    if g == "softmax":
        return [sum(z[k] * ((k == j) - z[j]) * d[k] for k in units) for j in units]
    if g == "mean_variance":
        return [d[j] if j < len(a) // 2 else z[j] * d[j] for j in units]
    _, g_prime, *_ = elementwise(g)
    return [g_prime(a_j, z_j) * d_j for a_j, z_j, d_j in zip(a, z, d)]


# --------------------------------------------------------------------------------------------- losses, E^n and ∂E/∂y_k


def log(y):
    return math.log(max(y, TINY))


def each(e, e_prime):
    """A loss that is a sum over the outputs, from its term e(y_k, t_k) and ∂e/∂y_k."""
    return (
        lambda y, t: sum(e(y_k, t_k) for y_k, t_k in zip(y, t)),
        lambda y, t: [e_prime(y_k, t_k) for y_k, t_k in zip(y, t)],
    )


def sign(r):
    return float(r > 0.0) - float(r < 0.0)


def huber(delta):
    return each(
        lambda y, t: 0.5 * (y - t) ** 2 if abs(y - t) <= delta else delta * (abs(y - t) - 0.5 * delta),
        lambda y, t: y - t if abs(y - t) <= delta else delta * sign(y - t),
    )


def tweedie(p):
    """Half the deviance of power p."""

    def e(y, t):
        y = max(y, TINY)
        return t ** (2.0 - p) / ((1.0 - p) * (2.0 - p)) - t * y ** (1.0 - p) / (1.0 - p) + y ** (2.0 - p) / (2.0 - p)

    return each(e, lambda y, t: max(y, TINY) ** (1.0 - p) - t * max(y, TINY) ** -p)


def focal_terms(gamma):
    """The term of one class, and its derivative with respect to y."""

    def e_prime(y, t):
        rest, y = max(1.0 - y, TINY), max(y, TINY)
        return t * gamma * rest ** (gamma - 1.0) * log(y) - t * rest**gamma / y

    return lambda y, t: -t * (1.0 - y) ** gamma * log(y), e_prime


def focal(gamma):
    return each(*focal_terms(gamma))


def binary_focal(gamma):
    e, e_prime = focal_terms(gamma)
    return each(
        lambda y, t: e(y, t) + e(1.0 - y, 1.0 - t),
        lambda y, t: e_prime(y, t) - e_prime(1.0 - y, 1.0 - t),
    )


def quantile(levels):
    """Output k is the quantile of level k % len(levels) of target k // len(levels)."""
    q = len(levels)

    def error(y, t):
        return sum(max(levels[k % q] * (t[k // q] - y[k]), (levels[k % q] - 1.0) * (t[k // q] - y[k])) for k in range(len(y)))

    def slopes(y, t):
        rises = [sign(y[k] - t[k // q]) for k in range(len(y))]
        return [0.0 if s == 0.0 else 1.0 - levels[k % q] if s > 0.0 else -levels[k % q] for k, s in enumerate(rises)]

    return error, slopes


def gaussian_nll_error(y, t):
    """The outputs are the means of all targets, then their variances."""
    m, v = y[: len(t)], y[len(t) :]
    return sum(0.5 * (log(v_k) + (t_k - m_k) ** 2 / max(v_k, TINY)) for m_k, v_k, t_k in zip(m, v, t))


def gaussian_nll_slopes(y, t):
    m, v = y[: len(t)], [max(v_k, TINY) for v_k in y[len(t) :]]
    of_means = [(m_k - t_k) / v_k for m_k, v_k, t_k in zip(m, v, t)]
    return of_means + [0.5 * (1.0 - (t_k - m_k) ** 2 / v_k) / v_k for m_k, v_k, t_k in zip(m, v, t)]


# name: (E^n, the list of ∂E/∂y_k) as functions of the lists y and t
LOSSES = {
    "squared_error": each(
        lambda y, t: 0.5 * (y - t) ** 2,
        lambda y, t: y - t,
    ),
    "cross_entropy": each(
        lambda y, t: -t * log(y),
        lambda y, t: -t / max(y, TINY),
    ),
    "binary_cross_entropy": each(
        lambda y, t: -t * log(y) - (1.0 - t) * log(1.0 - y),
        lambda y, t: -t / max(y, TINY) + (1.0 - t) / max(1.0 - y, TINY),
    ),
    "poisson": each(  # half the deviance, which is 0 if y = t
        lambda y, t: y - t + (t * (math.log(t) - log(y)) if t > 0.0 else 0.0),
        lambda y, t: 1.0 - t / max(y, TINY),
    ),
    "absolute_error": each(lambda y, t: abs(y - t), lambda y, t: sign(y - t)),
    "huber": huber(1.0),
    "log_cosh": each(
        lambda y, t: abs(y - t) + math.log1p(math.exp(-2.0 * abs(y - t))) - math.log(2.0), lambda y, t: math.tanh(y - t)
    ),
    "hinge": each(lambda y, t: max(0.0, 1.0 - t * y), lambda y, t: -t if t * y < 1.0 else 0.0),
    "gamma": each(  # half the deviance
        lambda y, t: log(y) - math.log(t) + t / max(y, TINY) - 1.0,
        lambda y, t: 1.0 / max(y, TINY) - t / max(y, TINY) ** 2,
    ),
    "tweedie": tweedie(1.5),
    "focal": focal(2.0),
    "binary_focal": binary_focal(2.0),
    "quantile": quantile([0.5]),
    "gaussian_nll": (gaussian_nll_error, gaussian_nll_slopes),
}


def loss_functions(loss):
    """The functions (E^n, ∂E/∂y) of a name, or the pair itself."""
    return LOSSES[loss] if isinstance(loss, str) else loss


def error(loss, y, t):
    """E^n, the error of one sample."""
    e, _ = loss_functions(loss)
    return e(y, t)
