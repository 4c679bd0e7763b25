"""What kernels are given to compute derivatives, beside the net: second derivatives of its functions, and flat parameters.

Users' vectors of parameters hold the weights of every edge, row by row, in the order of the edges, then the biases of every
node, then all gains, then all shifts.  Kernels read the weights of a net from a buffer of padded rows, see `layout`.
"""

from typing import Any, NamedTuple

import numpy as np

from bpkernel.codegen.jit import kernel
from bpkernel.codegen.processor import LINE_VECTORS, ROWS
from bpkernel.codegen.tiles import add_outer_t, per_line, store, zeros
from bpkernel.codegen.views import line, row_of, rows_from
from bpkernel.functions.activations import pointer_to_second, pointer_to_vjp
from bpkernel.functions.losses import pointer_to_curvature, pointer_to_slope
from bpkernel.kernels.layout import Layout, second_rows, unit_rows, whole_lines
from bpkernel.kernels.operands import units
from bpkernel.kernels.packing import pack_group
from bpkernel.kernels.passes import forward_pass
from bpkernel.runtime import task_queue
from bpkernel.runtime.memory import aligned_zeros
from bpkernel.runtime.task_queue import claim, finish

CACHE = 1 << 18  # bytes of the units of the samples that a thread computes at once
MOST = 96  # samples at once: more do not make the tiles faster
CHUNKS, CHUNK = 16, 256  # most chunks of the samples of a call, whose sums are added up in their order, and samples in each
SUMMED = 4096  # numbers of all chunks that a thread adds up at once
CHUNK_BYTES = 1 << 26  # of the sums of all chunks, above which there are four


class Differentials(NamedTuple):
    """Pointers to derivatives, and the places of a net's weights in a vector of its parameters."""

    seconds: np.ndarray  # (n_nodes,) int64: pointers to `second` of the activations; 0 where g'' is 0
    canonical: bool  # whether Eq. 5 is y - t
    slope: int  # pointer to ∂E^n/∂y
    vjp: int  # pointer to the vjp of the output activation
    curvature: int  # pointer to the product with the second derivatives of E^n
    weights: np.ndarray  # (n_edges,) int64: place of the first weight of each edge; of a node's own edge, of its first gain
    biases: np.ndarray  # (n_edges,) int64: place of the first bias of each edge that has any, or of the first shift
    present: np.ndarray  # (n_parameters,) bool: False for weights that are absent; (0,) if none are


class Plan(NamedTuple):
    """Scratch memory for the passes of blocks of samples, and the weights packed for them."""

    units: Any  # of operands.Units, for the blocks of all threads
    order: np.ndarray  # (n,) int64: 0, 1, 2, ...
    packed: np.ndarray  # (n_packed,): packed weights; (0,) for few samples
    queue: np.ndarray

    @property
    def n_threads(self) -> int:
        """The threads that it is for."""
        return len(self.queue) // task_queue.SPACING - 1


def differentials(layout: Layout, loss: Any, present: np.ndarray, *, second: bool) -> Differentials:
    """The operands for derivatives of a net, compiled; `second` compiles what only second derivatives need."""
    precision, output, what = layout.precision, layout.activations[-1], f"loss {loss.name!r}"
    seconds = np.zeros(len(layout.nodes), np.int64)
    canonical = loss.canonical == output.name
    of_slope = of_curvature = 0
    if second:
        for number, activation in enumerate(layout.activations, start=1):
            if activation.second is not None:
                seconds[number] = pointer_to_second(activation.second, precision, f"activation {activation.name!r}")
    if not canonical and second:
        of_slope = pointer_to_slope(loss.sample_slope, precision, what)
        of_curvature = pointer_to_curvature(loss.sample_curvature, precision, what)
    vjp = pointer_to_vjp(output.vjp, precision, f"activation {output.name!r}")
    weights, biases = places(layout)
    return Differentials(seconds, canonical, of_slope, vjp, of_curvature, weights, biases, present)


def places(layout: Layout, *, by_layer: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Where weights and biases of each edge, gains and shifts of own edges begin: two arrays as those of Differentials.

    In a vector of parameters, or layer by layer: the biases, the weights that lead to the layer, its gains and its shifts.
    """
    edges, n = layout.edges, len(layout.pairs)
    found, of_pairs, own = np.zeros((2, len(edges)), np.int64), range(n), range(n, len(edges))
    biases = [(1, edge) for edge in of_pairs if edges["bias"][edge]]
    weights = [(0, edge) for edge in of_pairs]
    order = [*(biases + weights if by_layer else weights + biases), *((0, edge) for edge in own), *((1, edge) for edge in own)]
    if by_layer:
        order.sort(key=lambda part: int(edges["target"][part[1]]))
    place = 0
    for kind, edge in order:
        found[kind, edge] = place
        place += int(edges["n_out"][edge]) * (1 if kind else int(edges["n_in"][edge]))
    return found[0], found[1]


def block_size(layout: Layout, n_rows: int) -> int:
    """The samples of a block, whose units fit the cache: whole tiles; n_rows: rows of units for each sample."""
    each = n_rows * layout.n_units * layout.dtype.itemsize
    return max(min(CACHE // each, MOST) // ROWS, 1) * ROWS


def chunks_of(n_samples: int, n_bytes: int) -> int:
    """The chunks of the samples of a call whose sums, of so many bytes each, are added up apart.

    Independent of the number of threads, for reproducibility.
    """
    most = CHUNKS if CHUNKS * n_bytes <= CHUNK_BYTES else 4
    return max(1, min(most, n_samples // (16 * ROWS)))


def plan(layout: Layout, n_samples: int, size: int, n_threads: int, *, keep_a: bool) -> Plan:
    """Scratch memory for blocks of `size` samples on each thread; n_samples: of the largest call."""
    own, packed = units(layout, size * n_threads, backward=True, keep_a=keep_a), aligned_zeros(layout.n_packed, layout.dtype)
    return Plan(own, np.arange(n_samples, dtype=np.int64), packed, task_queue.make(n_threads))


@kernel(entry=True)
def pack(net: Any, packed: Any, pieces: Any) -> None:
    """Pack all weights, piece by piece; packed (n_packed,): overwritten."""
    for number in range(pieces.size):
        pack_group(net, packed, pieces[number])


@kernel
def write_gradient(net: Any, d: Any, buffers: Any, of_z: Any, of_delta: Any, numbers: Any, n_numbers: int) -> None:
    """Eq. 4 of one sample, as a vector of parameters: ∂E^n/∂w_ji = δ_j z_i, with z_0 = 1.

    buffers: z and δ of all units;  of_z, of_delta: the rows that they have, and the one of this sample;  numbers
    (1, ≥ n_numbers): a row, whose first n_parameters numbers are overwritten, and maybe those up to n_numbers.

    The weights from a unit are written in whole cache lines; what goes beyond them is overwritten by those of the next unit, or
    by biases.  With loops over single numbers, the Gauss-Newton matrix of 4-10-1 took 1.1 times as long.
    """
    for number in range(net.edges.size):
        edge, per = net.edges[number], per_line(numbers)
        if edge.source == edge.target:
            continue
        z = rows_from(unit_rows(net.nodes[edge.source], buffers[0], of_z[0]), of_z[1], 1, per)
        delta = rows_from(unit_rows(net.nodes[edge.target], buffers[1], of_delta[0]), of_delta[1], 1, per)
        place, width = d.weights[number], whole_lines(edge.n_out, per)
        in_lines = min(max((n_numbers - width - place) // edge.n_out + 1, 0), edge.n_in) if edge.n_out > 1 else 0
        for i in range(in_lines):
            for j in range(0, width, per):
                products = add_outer_t(zeros(numbers, 1, LINE_VECTORS), z, 0, i, i, delta, 0, j)
                store(products, numbers, 0, 0, place + i * edge.n_out + j)
        for i in range(in_lines, edge.n_in):
            for j in range(edge.n_out):
                numbers[0, place + i * edge.n_out + j] = z[0, i] * delta[0, j]
    for number in range(net.edges.size):
        edge = net.edges[number]
        if edge.source == edge.target:
            normal = second_of(net.nodes[edge.target], buffers[0], of_z[0], of_z[1])
            of_u = second_of(net.nodes[edge.target], buffers[1], of_delta[0], of_delta[1])
            for j in range(edge.n_out):
                numbers[0, d.weights[number] + j] = normal[j] * of_u[j]
                numbers[0, d.biases[number] + j] = of_u[j]
        elif edge.bias:
            place, delta_n = d.biases[number], units_of(net.nodes[edge.target], buffers[1], of_delta[0], of_delta[1])
            for j in range(edge.n_out):
                numbers[0, place + j] = delta_n[j]
    for p in range(d.present.size):
        if not d.present[p]:
            numbers[0, p] = 0


@kernel(view=True)
def units_of(node: Any, buffer: Any, n_rows: int, n: int) -> Any:
    """View (n_units,) of the units of a node for one sample, in a flat buffer of n_rows rows."""
    return row_of(unit_rows(node, buffer, n_rows), n, per_line(buffer), node.n_units)


@kernel(view=True)
def second_of(node: Any, buffer: Any, n_rows: int, n: int) -> Any:
    """View (n_units,) of the second block of a normalised node for one sample, in a flat buffer of n_rows rows."""
    return row_of(second_rows(node, buffer, n_rows), n, per_line(buffer), node.n_units)


@kernel(view=True)
def whole_rows(node: Any, buffer: Any, n_rows: int, first: int, n: int) -> Any:
    """View (n, row) of whole rows of a node's units, from row `first` on, in a flat buffer of n_rows rows."""
    return rows_from(unit_rows(node, buffer, n_rows), first, n, 0)


@kernel
def forward_pass_of(net: Any, samples: Any, plan: Any, rows: Any, first: int) -> None:
    """The forward pass of some samples, in the given rows (n,), whose units are those from row `first` of the plan on."""
    X, X_other = rows_from(samples.X, 0, samples.X.shape[0], 0), rows_from(samples.X_other, 0, samples.X_other.shape[0], 0)
    forward_pass(net, X, X_other, samples.sparse, rows, plan.units, plan.packed, first)


@kernel
def add_chunks_on_thread(queue: Any, thread: int, stage: int, chunks: Any, first: int, total: Any) -> None:
    """What one thread does of a stage that adds chunks (n_chunks, n) from `first` on, in their order, to total (n,)."""
    n_tasks = (total.size + SUMMED - 1) // SUMMED
    while True:
        task = claim(queue, thread, stage, n_tasks)
        if task < 0:
            break
        start = task * SUMMED
        own = line(total, start, min(start + SUMMED, total.size))
        for number in range(first, chunks.shape[0]):
            chunk = row_of(chunks, number, start, own.size)
            for i in range(own.size):
                own[i] += chunk[i]
        finish(queue)
