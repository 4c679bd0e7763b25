"""Back-propagation in plain Python: the reference that every compiled kernel is checked against.

It uses lists, floats and `math`, nothing else.  Equations are numbered as in C. M. Bishop, *Neural Networks for Pattern
Recognition* (1995), section 4.8, and the letters are the book's:

    n  a sample            i  a unit of the layer before        a  pre-activation         t      target
    l  a layer             j  a unit of this layer              z  output of a unit       delta  ∂E/∂a
                           k  a unit of the layer after,        y  output of the net      g      activation
                              or of the output

A layer is a pair (w, g).  `w[i][j]` is the book's w_ji, the weight from unit i to unit j.  `w[0][j]` is the bias of unit j,
the weight of an extra unit z_0 = 1.  `g` is the name of an activation.  A net is a list of layers; a loss is a name.
Functions return new lists: only `train` modifies its net, and only an optimizer's `step` its state.
"""

import math

TINY = 2.0**-1022  # the smallest normal float: keeps log(y) and 1 / y finite if an output underflows to 0


# ---------------------------------------------------------------------------------------------- activations, z = g(a)


def logistic(a):
    return 1.0 / (1.0 + math.exp(-a)) if a >= 0.0 else math.exp(a) / (1.0 + math.exp(a))


def softmax(a):
    """y_k = exp(a_k) / Σ_k' exp(a_k') for a whole layer.  Subtracting the largest a_k avoids overflow and cancels out."""
    largest = max(a)
    e = [math.exp(a_k - largest) for a_k in a]
    return [e_k / sum(e) for e_k in e]


# name: (g(a), g'(a) as a function of a and z = g(a))
ELEMENTWISE = {
    "identity": (lambda a: a, lambda a, z: 1.0),
    "logistic": (logistic, lambda a, z: z * (1.0 - z)),
    "tanh": (math.tanh, lambda a, z: 1.0 - z * z),
    "relu": (lambda a: max(a, 0.0), lambda a, z: 1.0 if a > 0.0 else 0.0),
    "exp": (math.exp, lambda a, z: z),
}


def activate(g, a):
    """The outputs z of a layer from its pre-activations a."""
    if g == "softmax":
        return softmax(a)
    function, _ = ELEMENTWISE[g]
    return [function(a_j) for a_j in a]


def times_slope(g, a, z, d):
    """∂E/∂a_j from d_j = ∂E/∂z_j: g'(a_j) d_j, or for softmax Σ_k ∂z_k/∂a_j d_k with ∂z_k/∂a_j = z_k ([k = j] - z_j)."""
    if g == "softmax":
        units = range(len(a))
        return [sum(z[k] * ((k == j) - z[j]) * d[k] for k in units) for j in units]
    _, g_prime = ELEMENTWISE[g]
    return [g_prime(a_j, z_j) * d_j for a_j, z_j, d_j in zip(a, z, d)]


# --------------------------------------------------------------------------------------------- losses, E^n and ∂E/∂y_k


def log(y):
    return math.log(max(y, TINY))


# name: (term k of E^n = Σ_k ..., ∂E/∂y_k)
LOSSES = {
    "squared_error": (
        lambda y, t: 0.5 * (y - t) ** 2,
        lambda y, t: y - t,
    ),
    "cross_entropy": (
        lambda y, t: -t * log(y),
        lambda y, t: -t / max(y, TINY),
    ),
    "binary_cross_entropy": (
        lambda y, t: -t * log(y) - (1.0 - t) * log(1.0 - y),
        lambda y, t: -t / max(y, TINY) + (1.0 - t) / max(1.0 - y, TINY),
    ),
    "poisson": (  # half the deviance, which is 0 if y = t
        lambda y, t: y - t + (t * (math.log(t) - log(y)) if t > 0.0 else 0.0),
        lambda y, t: 1.0 - t / max(y, TINY),
    ),
}


def error(loss, y, t):
    """E^n, the error of one sample."""
    e, _ = LOSSES[loss]
    return sum(e(y_k, t_k) for y_k, t_k in zip(y, t))


# --------------------------------------------------------------------------------------------------- the four equations


def pre_activations(w, z):
    """Eq. 1: a_j = Σ_i w_ji z_i, with z_0 = 1."""
    z = [1.0, *z]
    return [sum(w[i][j] * z[i] for i in range(len(z))) for j in range(len(w[0]))]


def output_deltas(g, loss, a, y, t):
    """Eq. 5: δ_k = g'(a_k) ∂E/∂y_k."""
    _, e_prime = LOSSES[loss]
    return times_slope(g, a, y, [e_prime(y_k, t_k) for y_k, t_k in zip(y, t)])


def hidden_deltas(g, w_next, delta_next, a, z):
    """Eq. 7: δ_j = g'(a_j) Σ_k w_kj δ_k.  Row 0 of w_next holds biases, whose unit z_0 has no δ."""
    back = [sum(w_kj * delta_k for w_kj, delta_k in zip(row, delta_next)) for row in w_next[1:]]
    return times_slope(g, a, z, back)


def gradients(z, delta):
    """Eq. 4, for one sample: ∂E^n/∂w_ji = δ_j z_i, with z_0 = 1."""
    return [[delta_j * z_i for delta_j in delta] for z_i in [1.0, *z]]


# ------------------------------------------------------------------------------------------------------ back-propagation


def forward(net, x):
    """a and z of every layer for one sample.  z[0] is x and a[0] is empty, so that index l counts layers from the input."""
    a, z = [[]], [list(x)]
    for w, g in net:
        a.append(pre_activations(w, z[-1]))
        z.append(activate(g, a[-1]))
    return a, z


def backprop(net, loss, x, t):
    """(E^n, a, z, delta, dw) of one sample.  dw[l] has the shape of w in layer l; its row 0 is the gradient of the biases."""
    a, z = forward(net, x)
    last = len(net)
    delta = [[] for _ in z]
    delta[last] = output_deltas(net[-1][1], loss, a[last], z[last], t)
    for l in range(last - 1, 0, -1):
        w_next, g = net[l][0], net[l - 1][1]
        delta[l] = hidden_deltas(g, w_next, delta[l + 1], a[l], z[l])
    dw = [gradients(z[l], delta[l + 1]) for l in range(last)]
    return error(loss, z[last], t), a, z, delta, dw


def batch_gradient(net, loss, X, T, sample_weight):
    """E = Σ_n s_n E^n and ∂E/∂w of a batch, where s_n is the weight of sample n."""
    total, total_dw = 0.0, [[[0.0] * len(row) for row in w] for w, _ in net]
    for x, t, s in zip(X, T, sample_weight):
        e, _, _, _, dw = backprop(net, loss, x, t)
        total += s * e
        for sums, grads in zip(total_dw, dw):
            for sum_row, row in zip(sums, grads):
                for j in range(len(row)):
                    sum_row[j] += s * row[j]
    return total, total_dw


# ------------------------------------------------------------------------------------------------------------ optimizers


class SGD:
    """v ← μ v - η g;  w ← w + v, or w + μ v - η g with Nesterov's momentum."""

    def __init__(self, learning_rate=0.01, momentum=0.0, nesterov=False):
        self.eta, self.mu, self.nesterov = learning_rate, momentum, nesterov

    def start(self):
        return [0.0]

    def step(self, w, g, state, t):
        state[0] = self.mu * state[0] - self.eta * g
        return w + (self.mu * state[0] - self.eta * g if self.nesterov else state[0])


class Adam:
    """m ← β₁ m + (1 - β₁) g;  v ← β₂ v + (1 - β₂) g²;  w ← w - η √(1 - β₂ᵗ) / (1 - β₁ᵗ) · m / (√v + ε)."""

    def __init__(self, learning_rate=0.001, beta_1=0.9, beta_2=0.999, epsilon=1e-8):
        self.eta, self.beta_1, self.beta_2, self.epsilon = learning_rate, beta_1, beta_2, epsilon

    def start(self):
        return [0.0, 0.0]

    def step(self, w, g, state, t):
        state[0] = self.beta_1 * state[0] + (1.0 - self.beta_1) * g
        state[1] = self.beta_2 * state[1] + (1.0 - self.beta_2) * g * g
        eta_t = self.eta * math.sqrt(1.0 - self.beta_2**t) / (1.0 - self.beta_1**t)
        return w - eta_t * state[0] / (math.sqrt(state[1]) + self.epsilon)


def train(net, loss, X, T, optimizer, orders, batch_size, sample_weight=None):
    """Train `net` in place with mini-batches, and return the weighted mean of E^n for each epoch.

    `orders` holds a list of sample indices for each epoch, in the order of training.  A step uses the gradient of the
    batch's mean error, Σ_n s_n ∂E^n/∂w / Σ_n s_n.
    """
    s = sample_weight or [1.0] * len(X)
    state = [[[optimizer.start() for _ in row] for row in w] for w, _ in net]
    losses, t = [], 0
    for order in orders:
        epoch_error = 0.0
        for first in range(0, len(order), batch_size):
            batch = order[first : first + batch_size]
            batch_error, dw = batch_gradient(net, loss, [X[n] for n in batch], [T[n] for n in batch], [s[n] for n in batch])
            epoch_error += batch_error
            t += 1
            total_weight = sum(s[n] for n in batch)
            for (w, _), dw_l, state_l in zip(net, dw, state):
                for i in range(len(w)):
                    for j in range(len(w[i])):
                        w[i][j] = optimizer.step(w[i][j], dw_l[i][j] / total_weight, state_l[i][j], t)
        losses.append(epoch_error / sum(s[n] for n in order))
    return losses
