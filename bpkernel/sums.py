"""Floor 2: the four sums of back-propagation, one layer at a time.

Equations as numbered in Bishop, *Neural Networks for Pattern Recognition*, section 4.8.  The letters are the book's:
n a sample, i a unit of the layer before, j of this layer, k of the layer after (or of the output).  w[i, j] is the
book's w_ji, the weight from unit i to unit j, and w[0, j] the bias of unit j: a unit z_0 = 1 absorbs it.  The z of the
layer before are therefore counted from 1 in the equations and from 0 in memory.

Rows are longer than the units they hold, for alignment; n_in, n_out and n_next are the true widths.  Sample n of a
block is row `rows[n]` of the layer before, so that the first layer reads the rows of X where they are.
"""

from typing import Any

from bpkernel.activations import activate, pull_back
from bpkernel.compiler import kernel
from bpkernel.losses import CANONICAL, error, error_canonical, slope


@kernel
def pre_activations(w: Any, z: Any, rows: Any, n_out: int, a: Any) -> None:
    """Eq. 1: a_j = Σ_i w_ji z_i, with z_0 = 1.

    w (1 + n_in, row);  z (any, ≥ n_in);  rows (n_samples,);  a (n_samples, row): overwritten.
    """
    for n in range(a.shape[0]):
        for j in range(n_out):
            a[n, j] = w[0, j]
        for i in range(1, w.shape[0]):
            z_i = z[rows[n], i - 1]
            for j in range(n_out):  # innermost, since w[i] is contiguous in j
                a[n, j] += w[i, j] * z_i


@kernel
def outputs(activation: int, a: Any, n_out: int, z: Any) -> None:
    """Eq. 1, continued: z_j = g(a_j).

    a (n_samples, row);  z (n_samples, row): overwritten.
    """
    for n in range(a.shape[0]):
        activate(activation, (a[n, :n_out], z[n, :n_out]))


@kernel
def errors(activation: int, loss: int, a: Any, y: Any, T: Any, rows: Any, e: Any) -> None:
    """E^n of every sample.

    a, y (n_samples, row);  T (any, n_out): targets, sample n is T[rows[n]];  e (n_samples,) float64: overwritten.
    """
    n_out = T.shape[1]
    for n in range(a.shape[0]):
        arguments = (a[n, :n_out], y[n, :n_out], T[rows[n]])
        e[n] = error_canonical(loss, arguments) if CANONICAL[loss] == activation else error(loss, arguments)


@kernel
def output_deltas(activation: int, loss: int, a: Any, y: Any, T: Any, rows: Any, scale: Any, delta: Any) -> None:
    """Eq. 5: δ_k = g'(a_k) ∂E/∂y_k, times the weight of the sample.

    a, y (n_samples, row);  T (any, n_out): targets, sample n is T[rows[n]];  scale (n_samples,);
    delta (n_samples, row): overwritten.
    """
    n_out = T.shape[1]
    for n in range(a.shape[0]):
        y_n, t_n, delta_n = y[n, :n_out], T[rows[n]], delta[n, :n_out]
        if CANONICAL[loss] == activation:  # g'(a_k) cancels the denominator of ∂E/∂y_k, which may be 0
            for k in range(n_out):
                delta_n[k] = y_n[k] - t_n[k]
        else:
            slope(loss, (y_n, t_n, delta_n))
            pull_back(activation, (a[n, :n_out], y_n, delta_n))
        for k in range(n_out):
            delta_n[k] = delta_n[k] * scale[n] if scale[n] != 0 else scale[n]  # δ_k may be Inf where it does not count


@kernel
def hidden_deltas(activation: int, w_next: Any, delta_next: Any, n_next: int, a: Any, z: Any, delta: Any) -> None:
    """Eq. 7: δ_j = g'(a_j) Σ_k w_kj δ_k.

    w_next (1 + n_out, row_next): this layer's unit j leads out through row 1 + j;  delta_next (n_samples, row_next);
    a, z (n_samples, row);  delta (n_samples, row): overwritten.
    """
    n_out = w_next.shape[0] - 1
    for n in range(a.shape[0]):
        for j in range(n_out):
            total = a.dtype.type(0)
            for k in range(n_next):
                total += w_next[1 + j, k] * delta_next[n, k]
            delta[n, j] = total
        pull_back(activation, (a[n, :n_out], z[n, :n_out], delta[n, :n_out]))


@kernel
def gradient(z: Any, rows: Any, delta: Any, i: int, dw_i: Any) -> None:
    """Eq. 4, summed over the samples: ∂E/∂w_ji = Σ_n δ_j z_i, for the weights that lead from unit i.

    z (any, ≥ n_in);  rows (n_samples,);  delta (n_samples, row);  dw_i (n_out,): overwritten.
    """
    for j in range(dw_i.size):
        dw_i[j] = 0
    for n in range(delta.shape[0]):
        z_i = z[rows[n], i - 1] if i > 0 else z.dtype.type(1)
        for j in range(dw_i.size):
            dw_i[j] += delta[n, j] * z_i
