"""A net as nodes and edges, and where their numbers lie in memory.

A NODE is a layer of units; node 0 is the inputs, the last one the outputs, and the nodes are in topological order.  An EDGE
holds the weights that lead from one node to a later one.  A chain of layers has one edge into each node.

A WIDE edge has many weights; the operands of its sums are packed, see `packing`.

All weights of a net are one flat buffer, and so is each slot of the optimizer's state.  An edge from n_in units to n_out
owns in it a block of rows:

    row 0              the biases w_j0 of its target, since z_0 = 1; on the first edge into a node only
    row bias - 1 + i   the weights from unit i = 1, 2, ... of its source, w[i, j] for the book's w_ji

A row is n_out numbers, padded with zeros to whole cache lines.  The z and δ of a mini-batch, and a where it is kept, are flat
buffers too, in which every node owns a block of one row for each sample:

    one cache line     so that the units begin on a cache line; its last number is z_0 = 1
    the units          padded with zeros to whole cache lines

A NORMALISED node (Ba, Kiros and Hinton 2016) has a second block behind the first one: for its normalised sums in the z, and for
∂E/∂u in the δ, see `normalisation`.  Its gains and shifts are the weights of one more edge, from the node to itself, behind all
other edges: row 0 holds the shifts, like biases, row 1 the gains.

"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from bpkernel.codegen.jit import kernel
from bpkernel.codegen.precision import Precision
from bpkernel.codegen.processor import LINE, ROWS, VECTOR, VECTORS
from bpkernel.codegen.views import block
from bpkernel.functions.activations import pointer_to_forward, pointer_to_vjp
from bpkernel.kernels.records import EDGE, NODE
from bpkernel.runtime.memory import padded, row_length

# An edge is wide from as many bytes of weights on, and as many units at either end.  Packed, nets of 10⁵ to 10⁷ weights were
# trained 1.05 to 1.25 times as fast, also in batches of 16; smaller ones stay in the first-level cache.
WIDE_BYTES = 1 << 17
WIDE_UNITS = 64
# Whether there are wide edges: with SSE a row of a tile is half a cache line, and packing writes whole ones.
HAS_PANELS = VECTORS * VECTOR >= LINE
# Whether all operands of their sums are packed, or only the transposed weights.  Where a row of a tile is four cache lines, as
# with AVX-512, strided memory is as fast as panels: nets of 10⁶ and 10⁷ weights lost 2 to 8 % of their speed to the copies.
PACKS_ALL = VECTORS * VECTOR < 4 * LINE


class Layout:
    """The nodes and edges of a net and where their numbers lie; fixed for the life of the net.

    Parameters
    ----------
    sizes : sequence of int
        Units of every node, the inputs first.
    activations : sequence
        The activation of every node but the inputs.
    dtype : numpy.dtype
    pairs : sequence of (int, int), default=None
        (source, target) of every edge, source < target; None for a chain.  Every node but the inputs needs an incoming edge,
        every node but the last one an outgoing edge.
    to_inputs : bool, default=False
        Whether edges from the inputs have transposed weights too, for derivatives with respect to the inputs.
    normalised : sequence of int, default=()
        The hidden nodes that are normalised, in their order.

    Attributes
    ----------
    precision : Precision
    disturbs : bool
        Whether training has dropout or noise.
    pairs : tuple of (int, int)
    nodes, edges : structured arrays of NODE and EDGE
        The edges of the pairs, sorted by target, then source; behind them those of normalised nodes to themselves.
    out_edges : ndarray of int64 (n_pairs,)
        Indices of the edges of the pairs, sorted by source, then target.
    n_rows, row_lengths : list of int
        The rows of weights of every edge, and the numbers in each.
    n_params, n_units, n_packed, n_packed_units : int
        Lengths of the buffer of the weights, of the buffers of a, z and δ for each sample, of the packed weights, and of the
        packed z and δ for each sample.
    flops : int
        Floating-point operations of a training step for each sample.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        activations: Sequence[Any],
        dtype: np.dtype,
        pairs: Sequence[tuple[int, int]] | None = None,
        *,
        to_inputs: bool = False,
        normalised: Sequence[int] = (),
    ):
        self.normalised = tuple(normalised)
        self.sizes, self.activations, self.dtype = tuple(sizes), tuple(activations), dtype
        self.precision, self.disturbs = Precision.of(dtype), False
        self.pairs = chain(len(self.sizes)) if pairs is None else tuple(sorted(pairs, key=lambda pair: pair[::-1]))
        out_edges = sorted(range(len(self.pairs)), key=self.pairs.__getitem__)
        self.out_edges = np.array(out_edges, np.int64)
        self._place_nodes([self.pairs[number][0] for number in out_edges])
        self._place_edges(to_inputs)

    def _place_nodes(self, sources: list[int]) -> None:
        """Set `nodes` and `n_units`; `sources` are those of the outgoing edges in their order."""
        storage, self.n_units, nodes = self.precision.storage, 0, []
        targets = [target for _, target in self.pairs]
        for number, size in enumerate(self.sizes):
            row = row_length(LINE // storage.itemsize + padded(size, storage), storage)
            keep_a = number > 0 and self.activations[number - 1].needs_a
            edges = [bisect(ends, number) for ends in (targets, sources) for bisect in (bisect_left, bisect_right)]
            own_edge = len(self.pairs) + self.normalised.index(number) if number in self.normalised else -1
            nodes.append((size, self.n_units, row, 0, 0, keep_a, own_edge, 0.0, 0.0, -1, -1, *edges))
            self.n_units += row if own_edge < 0 else 2 * row
        self.nodes = np.array(nodes, NODE)

    def _place_edges(self, to_inputs: bool) -> None:
        """Set `edges`, and the numbers that follow from them."""
        storage, master, edges = self.precision.storage, self.precision.master, []
        self.n_params = self.n_packed = self.flops = before = 0
        self.n_rows, self.row_lengths = [], []
        for source, target in self.pairs:
            n_in, n_out, bias, before = self.sizes[source], self.sizes[target], int(target != before), target
            row = row_length(n_out, master)
            wide = HAS_PANELS and n_in * n_out * storage.itemsize >= WIDE_BYTES and min(n_in, n_out) >= WIDE_UNITS
            packed = self.n_packed if wide and PACKS_ALL else -1
            end = self.n_packed + ((bias + n_in) * padded(n_out, storage) if packed >= 0 else 0)
            transposed = end if source > 0 or to_inputs else -1
            packed_row = padded(n_in, storage)
            if not wide:
                packed_row = row_length(LINE // storage.itemsize + packed_row, storage)
            edges.append((source, target, n_in, n_out, bias, self.n_params, row, wide, packed, transposed, packed_row, 0, 0))
            self.n_rows.append(bias + n_in)
            self.row_lengths.append(row)
            self.n_params += (bias + n_in) * row
            self.n_packed = end + (padded(n_out, storage) * packed_row if transposed >= 0 else 0)
            self.flops += training_flops(bias, n_in, n_out, source)
        for node in self.normalised:
            row = row_length(self.sizes[node], master)
            edges.append((node, node, 1, self.sizes[node], 1, self.n_params, row, 0, -1, -1, 0, 0, 0))
            self.n_rows.append(2)
            self.row_lengths.append(row)
            self.n_params += 2 * row
        self.edges = np.array(edges, EDGE)
        self._place_packed_units()

    def _place_packed_units(self) -> None:
        """Set where the packed z and δ of the nodes lie, and `n_packed_units`."""
        self.n_packed_units = 0
        wide = self.edges[self.edges["packed"] >= 0]
        for number, node in enumerate(self.nodes):
            if number in wide["source"]:
                node["z_tiles"] = self.n_packed_units
                self.n_packed_units += padded(-(-node["n_units"] // ROWS) * ROWS, self.precision.storage)
            if number in wide["target"]:
                node["delta_panels"] = self.n_packed_units
                self.n_packed_units += padded(int(node["n_units"]), self.precision.storage)

    @property
    def shape(self) -> tuple[Any, ...]:
        """What an optimizer's state depends on."""
        return self.sizes, self.pairs, self.dtype, self.normalised

    def disturb(self, dropout: Sequence[float], input_dropout: float, input_noise: float) -> None:
        """Set the dropout of the hidden nodes and of the inputs, and the noise of the inputs."""
        self.nodes["dropout"][:-1] = input_dropout, *dropout
        self.nodes["noise"][0] = input_noise
        self.disturbs = bool(self.nodes["dropout"].any() or self.nodes["noise"].any())

    @property
    def branches(self) -> bool:
        """Whether some node has more than one incoming or outgoing edge, whose sums add to one another."""
        return len(self.pairs) >= len(self.sizes)

    def compile(self) -> np.ndarray:
        """The nodes as the kernels take them, with their activations compiled."""
        for node, activation in zip(self.nodes[1:], self.activations, strict=True):
            what = f"activation {activation.name!r}"
            node["forward"] = pointer_to_forward(activation.forward, self.precision, what)
            node["vjp"] = pointer_to_vjp(activation.vjp, self.precision, what)
        return self.nodes

    def weights(self, params: np.ndarray) -> tuple[np.ndarray, ...]:
        """A view (n_in, n_out) of the weights of every edge in a flat buffer."""
        return tuple(rows[bias:] for bias, rows in self._rows(params)[: len(self.pairs)])

    def biases(self, params: np.ndarray) -> tuple[np.ndarray, ...]:
        """A view (n_out,) of the biases of every node but the inputs in a flat buffer."""
        return tuple(rows[0] for bias, rows in self._rows(params)[: len(self.pairs)] if bias)

    def gains(self, params: np.ndarray) -> tuple[np.ndarray, ...]:
        """A view (n_units,) of the gains of every normalised node in a flat buffer."""
        return tuple(rows[1] for _, rows in self._rows(params)[len(self.pairs) :])

    def shifts(self, params: np.ndarray) -> tuple[np.ndarray, ...]:
        """A view (n_units,) of the shifts of every normalised node in a flat buffer."""
        return tuple(rows[0] for _, rows in self._rows(params)[len(self.pairs) :])

    def _rows(self, params: np.ndarray) -> list[tuple[int, np.ndarray]]:
        """Of every edge: whether it has biases, and a view (bias + n_in, n_out) of its rows."""
        rows, start = [], 0
        own = self.edges["bias"].tolist(), self.edges["n_out"].tolist(), self.n_rows, self.row_lengths
        for bias, n_out, n_rows, length in zip(*own, strict=True):
            block = params[start : start + n_rows * length].reshape(n_rows, length)
            rows.append((bias, block[:, :n_out]))
            start += n_rows * length
        return rows

    def _views(self, params: np.ndarray) -> tuple[np.ndarray, ...]:
        """The views of the numbers of `vector`, in their order."""
        return *self.weights(params), *self.biases(params), *self.gains(params), *self.shifts(params)

    @property
    def n_weights(self) -> int:
        """Weights, without biases, gains and shifts."""
        return sum(self.sizes[source] * self.sizes[target] for source, target in self.pairs)

    @property
    def n_parameters(self) -> int:
        """Weights, biases, gains and shifts, without the padding."""
        return self.n_weights + sum(self.sizes[1:]) + 2 * sum(self.sizes[node] for node in self.normalised)

    def vector(self, params: np.ndarray) -> np.ndarray:
        """The numbers (n_parameters,) of a flat buffer without the padding: the weights of each edge, then all biases.

        Behind them are all gains, then all shifts.
        """
        return np.concatenate([view.ravel() for view in self._views(params)])

    def positions(self) -> np.ndarray:
        """Where the numbers (n_parameters,) of `vector` are in a flat buffer."""
        return self.vector(np.arange(self.n_params))

    def assign(self, params: np.ndarray, vector: np.ndarray) -> None:
        """Write a vector (n_parameters,), as of `vector`, to a flat buffer."""
        start = 0
        for view in self._views(params):
            view[...] = vector[start : start + view.size].reshape(view.shape)
            start += view.size

    def units(self, buffer: np.ndarray, n_samples: int) -> tuple[np.ndarray, ...]:
        """A view (n_samples, n_units) of the units of every node in a flat buffer."""
        line, views = LINE // buffer.itemsize, []
        for node in self.nodes:
            start, row = int(node["offset"]) * n_samples, int(node["row"])
            rows = buffer[start : start + n_samples * row].reshape(n_samples, row)
            views.append(rows[:, line : line + node["n_units"]])
        return tuple(views)

    def set_ones(self, z: np.ndarray, n_samples: int) -> None:
        """Set z_0 = 1 in the inputs of every sample in a flat buffer; the kernels do so in the other nodes."""
        row, line = int(self.nodes[0]["row"]), LINE // z.itemsize
        z[: n_samples * row].reshape(n_samples, row)[:, line - 1] = 1


def chain(n_nodes: int) -> tuple[tuple[int, int], ...]:
    """The (source, target) of the edges of a chain of nodes."""
    return tuple(pairwise(range(n_nodes)))


def training_flops(bias: int, n_in: int, n_out: int, source: int) -> int:
    """Floating-point operations of a training step for each sample, of one edge.

    2 a weight for Eq. 1, 2 for Eq. 4, and 2 for Eq. 7 unless the edge comes from the inputs, node 0.
    """
    return (6 if source > 0 else 4) * (bias + n_in) * n_out


def chain_flops(sizes: Sequence[int]) -> int:
    """Floating-point operations of a training step for each sample, of a chain of layers, the inputs first."""
    return sum(training_flops(1, n_in, n_out, source) for source, (n_in, n_out) in enumerate(pairwise(sizes)))


@kernel
def whole_lines(n: int, per_line: int) -> int:
    """n rounded up to whole cache lines."""
    return (n + per_line - 1) // per_line * per_line


@kernel(view=True)
def weight_rows(edge: Any, params: Any) -> Any:
    """View (bias + n_in, row) of the weights of an edge in a flat buffer (n_params,)."""
    return block(params, edge.weights, edge.bias + edge.n_in, edge.row)


@kernel(view=True)
def unit_rows(node: Any, units: Any, n_samples: int) -> Any:
    """View (n_samples, row) of the units of a node in a flat buffer (n_samples * n_units,)."""
    return block(units, node.offset * n_samples, n_samples, node.row)


@kernel(view=True)
def second_rows(node: Any, units: Any, n_samples: int) -> Any:
    """View (n_samples, row) of the second block of a normalised node in a flat buffer (n_samples * n_units,)."""
    return block(units, (node.offset + node.row) * n_samples, n_samples, node.row)
