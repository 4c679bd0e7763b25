"""Back-propagation in plain Python: the reference that every compiled kernel is checked against.

It uses lists, floats and `math`, nothing else; the activations and losses are in `reference_functions`, the optimizers in
`reference_optimizers`.  Equations are numbered as in C. M. Bishop, *Neural Networks for Pattern Recognition* (1995), section
4.8, and the letters are the book's:

    n  a sample            i  a unit of the layer before        a  pre-activation         t      target
    l  a layer             j  a unit of this layer              z  output of a unit       delta  ∂E/∂a
                           k  a unit of the layer after,        y  output of the net      g      activation
                              or of the output

A layer is (w, g) or (w, g, sources).  `w[i][j]` is the book's w_ji, the weight from unit i to unit j.  `w[0][j]` is the bias
of unit j, the weight of an extra unit z_0 = 1.  `sources` are the layers that lead to this one, 0 the inputs: the units i are
those of all sources, one after the other; without sources they are those of the layer before.  `g` is the name of an
activation, or a pair of functions (g(a), g'(a, z)).  A layer (w, g, sources, True) is normalised: the last two rows of w are
its gains and its shifts, and g is applied to u, see `reference_normalisation`.  A net is a list of layers.  A loss is a name,
or a pair of functions of the outputs and targets of a sample (E^n, the list of ∂E/∂y_k).
Functions return new lists: only `train` modifies its net, and only an optimizer's `step` its state.
"""

from bpkernel.reference_functions import *  # noqa: F403
from bpkernel.reference_functions import activate, error, loss_functions, times_slope
from bpkernel.reference_normalisation import *  # noqa: F403
from bpkernel.reference_normalisation import deltas_of_sums, norm_gradients, scaled
from bpkernel.reference_optimizers import *  # noqa: F403

# --------------------------------------------------------------------------------------------------- the four equations


def pre_activations(w, z):
    """Eq. 1: a_j = Σ_i w_ji z_i, with z_0 = 1."""
    z = [1.0, *z]
    return [sum(w[i][j] * z[i] for i in range(len(z))) for j in range(len(w[0]))]


def output_deltas(g, loss, a, y, t):
    """Eq. 5: δ_k = g'(a_k) ∂E/∂y_k."""
    _, slopes = loss_functions(loss)
    return times_slope(g, a, y, slopes(y, t))


def hidden_deltas(g, w_next, delta_next, a, z):
    """Eq. 7: δ_j = g'(a_j) Σ_k w_kj δ_k, over all units k that the layer leads to.

    w_next[0] is not used: it holds biases, whose unit z_0 has no δ.  w_next[1 + j][k] is w_kj.
    """
    back = [sum(w_kj * delta_k for w_kj, delta_k in zip(row, delta_next)) for row in w_next[1:]]
    return times_slope(g, a, z, back)


def gradients(z, delta):
    """Eq. 4, for one sample: ∂E^n/∂w_ji = δ_j z_i, with z_0 = 1."""
    return [[delta_j * z_i for delta_j in delta] for z_i in [1.0, *z]]


# ------------------------------------------------------------------------------------------------------ back-propagation


def sources_of(net, l):
    """The layers that lead to layer l = 1, 2, ..."""
    return net[l - 1][2] if len(net[l - 1]) > 2 else [l - 1]


def units_before(net, l, z):
    """The outputs of all units that lead to layer l, from those of every layer."""
    return [z_i for source in sources_of(net, l) for z_i in z[source]]


def weights_after(net, l, z):
    """The weights from layer l to all units k of later layers, as `hidden_deltas` takes them, and the layers of these units."""
    rows, targets = [[] for _ in range(1 + len(z[l]))], []
    for target in range(l + 1, len(net) + 1):
        first = 1
        for source in sources_of(net, target):
            if source == l:
                targets.append(target)
                for j in range(len(z[l])):
                    rows[1 + j] += net[target - 1][0][first + j]
            first += len(z[source])
    return rows, targets


def is_normalised(net, l):
    """Whether the sums of layer l = 1, 2, ... are normalised."""
    return len(net[l - 1]) > 3 and net[l - 1][3]


def forward(net, x):
    """a and z of every layer for one sample.  z[0] is x and a[0] is empty, so that index l counts layers from the input.

    a of a normalised layer is u.
    """
    a, z = [[]], [list(x)]
    for l, (w, g, *_) in enumerate(net, start=1):
        sums = pre_activations(w, units_before(net, l, z))
        a.append(scaled(sums, w[-2], w[-1]) if is_normalised(net, l) else sums)
        z.append(activate(g, a[-1]))
    return a, z


def backprop(net, loss, x, t):
    """(E^n, a, z, delta, dw) of one sample.  dw[l] has the shape of w in layer l; its row 0 is the gradient of the biases.

    delta of a normalised layer is the derivative by its sums.
    """
    a, z = forward(net, x)
    last = len(net)
    delta, of_norms = [[] for _ in z], [[] for _ in z]
    delta[last] = output_deltas(net[-1][1], loss, a[last], z[last], t)
    for l in range(last - 1, 0, -1):
        w_next, targets = weights_after(net, l, z)
        delta_next = [delta_k for target in targets for delta_k in delta[target]]
        delta[l] = hidden_deltas(net[l - 1][1], w_next, delta_next, a[l], z[l])
        if is_normalised(net, l):
            w = net[l - 1][0]
            sums = pre_activations(w, units_before(net, l, z))
            of_norms[l] = norm_gradients(sums, delta[l])
            delta[l] = deltas_of_sums(sums, w[-2], delta[l])
    dw = [gradients(units_before(net, l + 1, z), delta[l + 1]) + of_norms[l + 1] for l in range(last)]
    return error(loss, z[last], t), a, z, delta, dw


def batch_gradient(net, loss, X, T, sample_weight):
    """E = Σ_n s_n E^n and ∂E/∂w of a batch, where s_n is the weight of sample n."""
    total, total_dw = 0.0, [[[0.0] * len(row) for row in w] for w, *_ in net]
    for x, t, s in zip(X, T, sample_weight):
        e, _, _, _, dw = backprop(net, loss, x, t)
        total += s * e
        for sums, grads in zip(total_dw, dw):
            for sum_row, row in zip(sums, grads):
                for j in range(len(row)):
                    sum_row[j] += s * row[j]
    return total, total_dw


# -------------------------------------------------------------------------------------------------------------- training


def train(net, loss, X, T, optimizer, orders, batch_size, sample_weight=None, masks=None):
    """Train `net` in place with mini-batches, and return the weighted mean of E^n for each epoch.

    `orders` holds a list of sample indices for each epoch, in the order of training.  A step uses the gradient of the
    batch's mean error, Σ_n s_n ∂E^n/∂w / Σ_n s_n.  `masks` has the shapes of the w: weights that are absent, whose mask is
    False, are left as they are.
    """
    s = sample_weight or [1.0] * len(X)
    state = [[[optimizer.start() for _ in row] for row in w] for w, *_ in net]
    losses, t = [], 0
    for order in orders:
        epoch_error = 0.0
        for first in range(0, len(order), batch_size):
            batch = order[first : first + batch_size]
            batch_error, dw = batch_gradient(net, loss, [X[n] for n in batch], [T[n] for n in batch], [s[n] for n in batch])
            epoch_error += batch_error
            t += 1
            total_weight = sum(s[n] for n in batch)
            for l, (w, *_) in enumerate(net):
                for i in range(len(w)):
                    for j in range(len(w[i])):
                        if masks is None or masks[l][i][j]:
                            w[i][j] = optimizer.step(w[i][j], dw[l][i][j] / total_weight, state[l][i][j], t)
        losses.append(epoch_error / sum(s[n] for n in order))
    return losses
