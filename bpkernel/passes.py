"""Floor 3: a mini-batch's way forward and back through all layers, and the epoch; the only place that loops over layers.

A mini-batch is two parallel regions.  `sweep` goes over blocks of samples: forward, E and every δ.  `descend` goes over
rows of weights: the gradient's sum over the samples and the optimizer's step, so that every δ is computed with the old
weights.  Every number has one owner and one order of summation: results do not depend on the number of threads.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import prange

from bpkernel.compiler import kernel
from bpkernel.layout import Layout, aligned_zeros, unit_block, weight_block
from bpkernel.optimizers import COEFFICIENTS, coefficients, update
from bpkernel.sums import errors, gradient, hidden_deltas, output_deltas, outputs, pre_activations

BLOCK = 16  # samples that one thread takes at a time
SHARES = 64  # of the rows of weights: share p is every 64th row from row p on, for layers differ in the cost of a row


class Net(NamedTuple):
    """What the kernels know of a net."""

    layers: np.ndarray  # (n_layers,) of LAYER
    loss: int  # its code
    params: np.ndarray  # (n_params,)


class Samples(NamedTuple):
    """Inputs, targets and weights, all of the net's dtype and C-contiguous."""

    X: np.ndarray  # (n, n_in)
    T: np.ndarray  # (n, n_out)
    s: np.ndarray  # (n,)


class Work(NamedTuple):
    """Scratch for batches of up to `n_samples` samples."""

    n_samples: int
    a: np.ndarray  # (n_samples * n_units,)
    z: np.ndarray  # (n_samples * n_units,)
    delta: np.ndarray  # (n_samples * n_units,); empty where nothing goes back
    e: np.ndarray  # (n_samples,) float64: E^n
    scale: np.ndarray  # (n_samples,): what multiplies δ_k
    own_rows: np.ndarray  # (n_samples,) int64: 0, 1, 2, ..., the `rows` of a layer that has a row for each sample


class Step(NamedTuple):
    """What the kernels know of an optimizer."""

    code: int
    settings: np.ndarray  # (COEFFICIENTS,) float64
    state: np.ndarray  # (2, n_params)
    steps: np.ndarray  # (1,) int64


def work(layout: Layout, n_samples: int, *, back: bool) -> Work:
    """Scratch for a net; `back` makes room for δ."""
    size = n_samples * layout.n_units
    a, z = aligned_zeros(size, layout.dtype), aligned_zeros(size, layout.dtype)
    delta = aligned_zeros(size if back else 0, layout.dtype)
    return Work(n_samples, a, z, delta, np.zeros(n_samples), np.zeros(n_samples, layout.dtype), np.arange(n_samples))


@kernel
def forward_block(net: Any, X: Any, rows: Any, w: Any, first: int, last: int) -> None:
    """a and z of every layer, for the samples first ≤ n < last of the batch: Eq. 1, layer by layer.

    X (any, n_in);  rows (n,): the batch's rows of X;  a and z of `w`, the work: overwritten.
    """
    z_before, rows_before = X, rows[first:last]
    for l in range(net.layers.size):
        layer = net.layers[l]
        a = unit_block(layer, w.a, w.n_samples)[first:last]
        z = unit_block(layer, w.z, w.n_samples)[first:last]
        pre_activations(weight_block(layer, net.params), z_before, rows_before, layer.n_out, a)
        outputs(layer.activation, a, layer.n_out, z)
        z_before, rows_before = z, w.own_rows[: last - first]


@kernel
def error_block(net: Any, T: Any, rows: Any, w: Any, first: int, last: int) -> None:
    """E^n for the samples first ≤ n < last of the batch, from a and z of the last layer; e of `w`: overwritten."""
    layer = net.layers[net.layers.size - 1]
    a = unit_block(layer, w.a, w.n_samples)[first:last]
    y = unit_block(layer, w.z, w.n_samples)[first:last]
    errors(layer.activation, net.loss, a, y, T, rows[first:last], w.e[first:last])


@kernel
def backward_block(net: Any, T: Any, rows: Any, w: Any, first: int, last: int) -> None:
    """δ of every layer, for the samples first ≤ n < last of the batch: Eq. 5, then Eq. 7 from the last layer back.

    T (any, n_out);  rows (n,): the batch's rows of T;  a, z and scale of `w` are read, delta is overwritten.
    """
    l = net.layers.size - 1
    layer = net.layers[l]
    a = unit_block(layer, w.a, w.n_samples)[first:last]
    y = unit_block(layer, w.z, w.n_samples)[first:last]
    delta = unit_block(layer, w.delta, w.n_samples)[first:last]
    output_deltas(layer.activation, net.loss, a, y, T, rows[first:last], w.scale[first:last], delta)
    while l > 0:
        after, delta_after = layer, delta
        l -= 1
        layer = net.layers[l]
        a = unit_block(layer, w.a, w.n_samples)[first:last]
        z = unit_block(layer, w.z, w.n_samples)[first:last]
        delta = unit_block(layer, w.delta, w.n_samples)[first:last]
        w_after = weight_block(after, net.params)
        hidden_deltas(layer.activation, w_after, delta_after, after.n_out, a, z, delta)


@kernel
def gradient_row(net: Any, X: Any, rows: Any, w: Any, row: int, dw: Any) -> tuple[int, int]:
    """Eq. 4 for one row of weights, the rows of all layers counted through; its place in the buffers.

    X (any, n_in);  rows (n,): the batch's rows of X;  dw (n_params,): the row is overwritten.
    """
    l = net.layers.size - 1
    while net.layers[l].first_row > row:
        l -= 1
    layer = net.layers[l]
    i = row - layer.first_row
    start = layer.weights + i * layer.row
    stop = start + layer.n_out
    delta = unit_block(layer, w.delta, w.n_samples)[: rows.size]
    if l == 0:
        gradient(X, rows, delta, i, dw[start:stop])
    else:
        gradient(unit_block(net.layers[l - 1], w.z, w.n_samples), w.own_rows, delta, i, dw[start:stop])
    return start, stop


@kernel
def step_row(step: Any, params: Any, dw: Any, c: Any, start: int, stop: int) -> None:
    """The optimizer's step on one row of weights, in place; its state is updated."""
    m, v = step.state[0, start:stop], step.state[1, start:stop]
    update(step.code, (params[start:stop], dw[start:stop], m, v, c))


@kernel
def output_block(net: Any, w: Any, first: int, last: int, y: Any) -> None:
    """Copy the outputs of the samples first ≤ n < last of the batch to y (≥ last, n_out)."""
    z = unit_block(net.layers[net.layers.size - 1], w.z, w.n_samples)
    for n in range(first, last):
        for k in range(y.shape[1]):
            y[n, k] = z[n, k]


@kernel
def weight_rows(net: Any) -> int:
    """The rows of weights in all layers."""
    layer = net.layers[net.layers.size - 1]
    return layer.first_row + 1 + layer.n_in


@kernel
def shares(net: Any) -> int:
    """The shares of the rows of weights."""
    return min(SHARES, weight_rows(net))


@kernel
def blocks(n_samples: int) -> int:
    """The blocks of samples in a batch."""
    return (n_samples + BLOCK - 1) // BLOCK


# ------------------------------------------------------------------------------------------------- parallel regions
# Skeletons that call compiled functions: whatever stands in them is compiled twice, and slowly.


@kernel(parallel=True)
def sweep(net: Any, samples: Any, rows: Any, w: Any) -> None:
    """Region 1, over blocks of samples: forward, E^n and, where `w` has room for it, every δ of X[rows]."""
    for block in prange(blocks(rows.size)):
        first, last = block * BLOCK, min((block + 1) * BLOCK, rows.size)
        forward_block(net, samples.X, rows, w, first, last)
        error_block(net, samples.T, rows, w, first, last)
        if w.delta.size > 0:
            backward_block(net, samples.T, rows, w, first, last)


@kernel(parallel=True)
def descend(net: Any, step: Any, X: Any, rows: Any, w: Any, c: Any, dw: Any) -> None:
    """Region 2, over shares of the rows of weights: gradient and step."""
    for share in prange(shares(net)):
        for row in range(share, weight_rows(net), SHARES):
            start, stop = gradient_row(net, X, rows, w, row, dw)
            step_row(step, net.params, dw, c, start, stop)


@kernel(parallel=True)
def accumulate(net: Any, X: Any, rows: Any, w: Any, dw: Any) -> None:
    """Region 2 without the step: the gradient of every weight; dw (n_params,): overwritten."""
    for share in prange(shares(net)):
        for row in range(share, weight_rows(net), SHARES):
            gradient_row(net, X, rows, w, row, dw)


@kernel(parallel=True)
def predict_batch(net: Any, X: Any, w: Any, y: Any) -> None:
    """Forward only, over blocks of samples: the outputs y (n, n_out), overwritten, of X (n, n_in)."""
    for block in prange(blocks(X.shape[0])):
        first, last = block * BLOCK, min((block + 1) * BLOCK, X.shape[0])
        forward_block(net, X, w.own_rows, w, first, last)
        output_block(net, w, first, last, y)


# ------------------------------------------------------------------------------------------ what floor 4 calls, serial


@kernel
def weighted_error(samples: Any, rows: Any, w: Any) -> float:
    """Σ_n s_n E^n of a batch; a sample without weight does not count, even if its E^n is Inf."""
    total = 0.0
    for n in range(rows.size):
        if samples.s[rows[n]] > 0:
            total += samples.s[rows[n]] * w.e[n]
    return total


@kernel
def train(net: Any, step: Any, samples: Any, order: Any, w: Any, dw: Any, total: float) -> float:
    """Mini-batches of `w.n_samples` samples, in the given order; `total` + Σ_n s_n E^n, each E^n as of its own batch.

    The step is along the gradient of the batch's mean error, Σ_n s_n ∂E^n/∂w / Σ_n s_n; a batch without weight has
    gradient 0.  order (n,): rows of the samples;  params, the optimizer's state and dw (n_params,): overwritten.
    """
    c = np.zeros(COEFFICIENTS)
    for first in range(0, order.size, w.n_samples):
        rows = order[first : first + w.n_samples]
        weight = 0.0
        for n in range(rows.size):
            weight += samples.s[rows[n]]
        for n in range(rows.size):
            w.scale[n] = samples.s[rows[n]] / weight if weight > 0 else 0.0
        sweep(net, samples, rows, w)
        step.steps[0] += 1
        coefficients(step.code, (step.settings, step.steps[0], c))
        descend(net, step, samples.X, rows, w, c, dw)
        total += weighted_error(samples, rows, w)
    return total


@kernel
def backprop(net: Any, samples: Any, w: Any, dw: Any) -> float:
    """One batch of all samples: a, z, δ and E^n are left in `w`, the gradient in dw (n_params,); E = Σ_n s_n E^n."""
    for n in range(w.n_samples):
        w.scale[n] = samples.s[n]
    sweep(net, samples, w.own_rows, w)
    accumulate(net, samples.X, w.own_rows, w, dw)
    return weighted_error(samples, w.own_rows, w)


@kernel
def predict(net: Any, X: Any, w: Any, y: Any) -> None:
    """The outputs y (n, n_out), overwritten, for the rows of X (n, n_in), `w.n_samples` at a time."""
    for start in range(0, X.shape[0], w.n_samples):
        stop = min(start + w.n_samples, X.shape[0])
        predict_batch(net, X[start:stop], w, y[start:stop])


@kernel
def evaluate(net: Any, samples: Any, order: Any, w: Any, total: float) -> float:
    """`total` + Σ_n s_n E^n over the samples of `order` (n,), `w.n_samples` at a time."""
    for first in range(0, order.size, w.n_samples):
        rows = order[first : first + w.n_samples]
        sweep(net, samples, rows, w)
        total += weighted_error(samples, rows, w)
    return total
