"""Floor 1: where everything lies in memory.

All weights of a net are one flat buffer, and so are each of the optimizer's two numbers a weight and the gradient.
Layer l, which leads from n_in units to n_out, owns in it a block of (1 + n_in) rows:

    row 0       the biases w_j0, since z_0 = 1
    row i       the weights from unit i of the layer before, w[i, j] for the book's w_ji

A row is n_out numbers, padded with zeros to `row`.  The a, z and δ of a mini-batch lie in three flat buffers in which
layer l owns a block of (n_samples, row).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from bpkernel.activations import CODES
from bpkernel.compiler import kernel

LINE = 64  # bytes of a cache line, and of the widest vector: rows start on one
PAGE = 4096  # a row length that is a multiple of it puts a whole column in a few cache sets

LAYER = np.dtype(
    [
        ("n_in", np.int64),
        ("n_out", np.int64),
        ("row", np.int64),  # numbers in a row: n_out and its padding
        ("activation", np.int64),  # its code
        ("weights", np.int64),  # offset of the layer's block in the buffer of the weights
        ("units", np.int64),  # offset of the layer's block, for each sample of the batch, in the buffers of a, z and δ
        ("first_row", np.int64),  # rows of weights in the layers before
    ],
    align=True,
)


def row_length(n_out: int, dtype: np.dtype) -> int:
    """The numbers in a row of n_out: whole cache lines, and never a multiple of a page."""
    lines = -(-n_out * dtype.itemsize // LINE)
    if lines * LINE % PAGE == 0:
        lines += 1
    return lines * LINE // dtype.itemsize


def aligned_zeros(n: int, dtype: np.dtype) -> np.ndarray:
    """n zeros that start on a cache line; memory that is never written costs nothing."""
    raw = np.zeros(n * dtype.itemsize + LINE, np.uint8)
    start = -raw.ctypes.data % LINE
    return raw[start : start + n * dtype.itemsize].view(dtype)


class Layout:
    """The layers of a net and where their numbers lie; fixed for the net's life.

    Attributes
    ----------
    sizes : tuple of int
        Units of every layer, inputs first.
    dtype : numpy.dtype
    layers : structured array of LAYER, (n_layers,)
        One entry for each layer of weights, as the kernels take it.
    n_params, n_units : int
        Length of the buffer of the weights, and of those of a, z and δ for each sample.
    """

    def __init__(self, sizes: Sequence[int], activations: Sequence[str], dtype: np.dtype):
        self.sizes = tuple(sizes)
        self.dtype = dtype
        self.layers = np.zeros(len(activations), LAYER)
        weights = units = first_row = 0
        for layer, n_in, n_out, activation in zip(self.layers, sizes[:-1], sizes[1:], activations, strict=True):
            row = row_length(n_out, dtype)
            layer["n_in"], layer["n_out"], layer["row"] = n_in, n_out, row
            layer["activation"] = CODES[activation]
            layer["weights"], layer["units"], layer["first_row"] = weights, units, first_row
            weights += (1 + n_in) * row
            units += row
            first_row += 1 + n_in
        self.n_params, self.n_units = weights, units

    def weights(self, params: np.ndarray) -> tuple[np.ndarray, ...]:
        """A view (n_in, n_out) of the weights of every layer in a flat buffer."""
        return tuple(block[1:] for block in self._blocks(params))

    def biases(self, params: np.ndarray) -> tuple[np.ndarray, ...]:
        """A view (n_out,) of the biases of every layer in a flat buffer."""
        return tuple(block[0] for block in self._blocks(params))

    def units(self, units: np.ndarray, n_samples: int) -> tuple[np.ndarray, ...]:
        """A view (n_samples, n_out) of the units of every layer in a flat buffer."""
        layers = self.layers.view(np.recarray)
        return tuple(unit_block.py_func(layer, units, n_samples)[:, : layer.n_out] for layer in layers)

    def _blocks(self, params: np.ndarray) -> list[np.ndarray]:
        layers = self.layers.view(np.recarray)
        return [weight_block.py_func(layer, params)[:, : layer.n_out] for layer in layers]


@kernel
def weight_block(layer: Any, params: Any) -> Any:
    """View (1 + n_in, row) of one layer's weights in a flat buffer (n_params,)."""
    n_rows = 1 + layer.n_in
    return params[layer.weights : layer.weights + n_rows * layer.row].reshape(n_rows, layer.row)


@kernel
def unit_block(layer: Any, units: Any, n_samples: int) -> Any:
    """View (n_samples, row) of one layer's units in a flat buffer (n_samples * n_units,)."""
    start = layer.units * n_samples
    return units[start : start + n_samples * layer.row].reshape(n_samples, layer.row)
