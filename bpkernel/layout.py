"""Floor 1: where everything lies in memory.

All weights of a net are one flat buffer, and so are each of the optimizer's two numbers a weight.
Layer l, which leads from n_in units to n_out, owns in it a block of (1 + n_in) rows:

    row 0       the biases w_j0, since z_0 = 1
    row i       the weights from unit i of the layer before, w[i, j] for the book's w_ji

A row is n_out numbers, padded with zeros to whole cache lines.  The z and δ of a mini-batch, and a where it is kept, lie
in flat buffers in which every layer of units, the inputs first, owns a block of one row for each sample:

    LEAD numbers    a cache line, so that the units begin on one; the last of them is z_0 = 1
    the units       padded to whole cache lines

Weights that Eq. 7 sums over lie in another buffer once more, transposed: its sum then has the form of Eq. 1.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from bpkernel.activations import BY_NAME, address_of_g, address_of_pull_back
from bpkernel.compiler import kernel
from bpkernel.tiles import LINE
from bpkernel.views import block

PAGE = 4096  # a row length that is a multiple of it puts a whole column in a few cache sets

LAYER = np.dtype(
    [
        ("n_in", np.int64),
        ("n_out", np.int64),
        ("g", np.int64),  # address of its activation
        ("pull_back", np.int64),  # address of the way back through it
        ("weights", np.int64),  # offset of the layer's block in the buffer of the weights
        ("row", np.int64),  # numbers in a row of it
        ("transposed", np.int64),  # offset of its transposed weights in their buffer; the first layer has none
        ("transposed_row", np.int64),
        ("inputs", np.int64),  # offset, for each sample of a batch, of the units that the layer leads from
        ("inputs_row", np.int64),
        ("units", np.int64),  # and of those that it leads to
        ("units_row", np.int64),
        ("lead", np.int64),  # numbers before the units in a row of them
    ],
    align=True,
)


def padded(n: int, dtype: np.dtype) -> int:
    """n or more numbers that make whole cache lines."""
    per_line = LINE // dtype.itemsize
    return -(-n // per_line) * per_line


def row_length(n: int, dtype: np.dtype) -> int:
    """The numbers in a row of n: whole cache lines, and never a multiple of a page."""
    length = padded(n, dtype)
    return length if length * dtype.itemsize % PAGE else length + LINE // dtype.itemsize


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
    activations : tuple of str
        Their names, layer by layer.
    layers : structured array of LAYER, (n_layers,)
        One entry for each layer of weights; the kernels take what `compile` returns.
    n_params, n_units, n_transposed : int
        Length of the buffer of the weights, of those of a, z and δ for each sample, and of the transposed weights.
    flops : int
        Floating-point operations of a training step for each sample: 6 a weight, and 4 in the first layer.
    """

    def __init__(self, sizes: Sequence[int], activations: Sequence[str], dtype: np.dtype):
        self.sizes = tuple(sizes)
        self.dtype = dtype
        self.activations = tuple(activations)
        self.layers = np.zeros(len(activations), LAYER)
        lead = LINE // dtype.itemsize
        weights = transposed = inputs = self.flops = 0
        inputs_row = row_length(lead + padded(sizes[0], dtype), dtype)
        for layer, n_in, n_out in zip(self.layers, sizes[:-1], sizes[1:], strict=True):
            units, units_row = inputs + inputs_row, row_length(lead + padded(n_out, dtype), dtype)
            layer["n_in"], layer["n_out"] = n_in, n_out
            layer["weights"], layer["row"] = weights, row_length(n_out, dtype)
            layer["transposed"], layer["transposed_row"] = transposed, row_length(lead + padded(n_in, dtype), dtype)
            layer["inputs"], layer["inputs_row"], layer["units"], layer["units_row"] = inputs, inputs_row, units, units_row
            layer["lead"] = lead
            self.flops += (6 if weights else 4) * (1 + n_in) * n_out
            transposed += padded(n_out, dtype) * layer["transposed_row"] if weights else 0
            weights += (1 + n_in) * layer["row"]
            inputs, inputs_row = units, units_row
        self.n_params, self.n_units, self.n_transposed = int(weights), inputs + inputs_row, int(transposed)

    def compile(self) -> np.ndarray:
        """The layers as the kernels take them, their activations compiled."""
        for layer, name in zip(self.layers, self.activations, strict=True):
            layer["g"] = address_of_g(BY_NAME[name].g, self.dtype)
            layer["pull_back"] = address_of_pull_back(BY_NAME[name].pull_back, self.dtype)
        return self.layers

    def weights(self, params: np.ndarray) -> tuple[np.ndarray, ...]:
        """A view (n_in, n_out) of the weights of every layer in a flat buffer."""
        return tuple(block[1:] for block in self._blocks(params))

    def biases(self, params: np.ndarray) -> tuple[np.ndarray, ...]:
        """A view (n_out,) of the biases of every layer in a flat buffer."""
        return tuple(block[0] for block in self._blocks(params))

    def units(self, units: np.ndarray, n_samples: int) -> tuple[np.ndarray, ...]:
        """A view (n_samples, n_out) of the units of every layer but the inputs in a flat buffer."""
        views = []
        for layer in self.layers:
            start, row = layer["units"] * n_samples, layer["units_row"]
            whole = units[start : start + n_samples * row].reshape(n_samples, row)
            views.append(whole[:, layer["lead"] : layer["lead"] + layer["n_out"]])
        return tuple(views)

    def set_ones(self, z: np.ndarray, n_samples: int) -> None:
        """z_0 = 1 for every sample, in the inputs, in a flat buffer; the kernels see to the other layers."""
        row, lead = self.layers[0]["inputs_row"], self.layers[0]["lead"]
        z[: n_samples * row].reshape(n_samples, row)[:, lead - 1] = 1

    def _blocks(self, params: np.ndarray) -> list[np.ndarray]:
        blocks = []
        for layer in self.layers:
            n_rows, row, start = 1 + layer["n_in"], layer["row"], layer["weights"]
            blocks.append(params[start : start + n_rows * row].reshape(n_rows, row)[:, : layer["n_out"]])
        return blocks


@kernel
def whole_lines(n: int, per_line: int) -> int:
    """n rounded up to whole cache lines."""
    return (n + per_line - 1) // per_line * per_line


@kernel
def weight_block(layer: Any, params: Any) -> Any:
    """View (1 + n_in, row) of one layer's weights in a flat buffer (n_params,)."""
    return block(params, layer.weights, 1 + layer.n_in, layer.row)


@kernel
def transposed_block(layer: Any, transposed: Any) -> Any:
    """View (n_out or more, transposed_row) of one layer's transposed weights in a flat buffer (n_transposed,).

    As in a row of units, LEAD numbers come first, the last of them the bias.
    """
    return block(transposed, layer.transposed, whole_lines(layer.n_out, layer.lead), layer.transposed_row)


@kernel
def input_block(layer: Any, units: Any, n_samples: int) -> Any:
    """View (n_samples, inputs_row) of the units that a layer leads from, in a flat buffer (n_samples * n_units,)."""
    return block(units, layer.inputs * n_samples, n_samples, layer.inputs_row)


@kernel
def unit_block(layer: Any, units: Any, n_samples: int) -> Any:
    """View (n_samples, units_row) of the units that a layer leads to, in a flat buffer (n_samples * n_units,)."""
    return block(units, layer.units * n_samples, n_samples, layer.units_row)
