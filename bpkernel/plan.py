"""Floor 3: what the kernels are told of a net, its samples and its optimizer, and how their work is cut into pieces."""

from typing import Any, NamedTuple

import numpy as np

from bpkernel.crew import state as crew_state
from bpkernel.layout import Layout, aligned_zeros, padded
from bpkernel.losses import address_of_error, address_of_slope
from bpkernel.optimizers import COEFFICIENTS, address_of_coefficients, address_of_update
from bpkernel.sums import of_sparse, panels
from bpkernel.threads import available
from bpkernel.tiles import ROWS

WORTH_A_THREAD = (
    1_500_000  # flops of a training step for each thread, at least: at 2 million in all, two were no faster than one
)
WORTH_A_CHUNK = 2_000_000  # flops of a training step for each chunk, at least
MOST_CHUNKS = 64
PREDICTED_TOGETHER = 96  # samples whose units a thread holds at once where nothing goes back
GROUP_SHARES = 8  # groups of rows of weights for each thread
GROUP_TILES = 4  # tiles of rows of weights in a group of wide rows: they share a panel of δ in cache
GROUP_BYTES = 1 << 17  # of weights in a group, where the rows are short
WORTH_TRANSPOSING = 8  # samples in a batch from which on Eq. 7 is faster with transposed weights

GROUP = np.dtype([("layer", np.int64), ("first", np.int64), ("last", np.int64), ("place", np.int64)], align=True)


class Net(NamedTuple):
    """What the kernels know of a net."""

    layers: np.ndarray  # (n_layers,) of LAYER
    params: np.ndarray  # (n_params,)
    panels: np.ndarray  # addresses of the sums in tiles
    error: int  # address of E^n
    slope: int  # address of ∂E^n/∂y, or 0 where Eq. 5 is y - t


class Sparse(NamedTuple):
    """Rows of inputs most of which are 0, in CSR form with sorted indices; or nothing, where the inputs are dense."""

    indptr: np.ndarray  # (n + 1,) int64, or (0,)
    indices: np.ndarray  # (n_not_0,) int32
    data: np.ndarray  # (n_not_0,), of the net's dtype
    sums: int  # address of Eq. 1 for them, or 0
    gradient: int  # and of Eq. 4


class Samples(NamedTuple):
    """Inputs, targets and weights, all C-contiguous; the inputs in one of three forms, and the other two have no rows."""

    X: np.ndarray  # (n, n_in), of the net's dtype
    X_other: np.ndarray  # (n, n_in), float64 for a net of float32 and the other way round
    T: np.ndarray  # (n, n_out)
    s: np.ndarray  # (n,)
    sparse: Sparse


class Units(NamedTuple):
    """Scratch for the units of `n_samples` samples."""

    n_samples: int
    keep_a: bool  # whether a is wanted in all layers, or in the last only
    a: np.ndarray  # (n_samples * n_units,)
    z: np.ndarray  # (n_samples * n_units,)
    delta: np.ndarray  # (n_samples * n_units,); empty where nothing goes back


class Work(NamedTuple):
    """Scratch for training."""

    units: Units
    e: np.ndarray  # (n_samples,) float64: E^n
    scale: np.ndarray  # (n_samples,): what multiplies δ_k
    transposed: np.ndarray  # (1, n_transposed), or with chunks one for each thread; (1, 0) where batches are too small
    partial: np.ndarray  # (n_chunks, n_params): gradients of chunks of a batch
    groups: np.ndarray  # of GROUP
    dw: np.ndarray  # (n_threads, size of the largest group): gradients
    c: np.ndarray  # (2, COEFFICIENTS + 2) float64: of this step and of the next; then what multiplies w in L2, and n / Σ_n s_n
    squares: np.ndarray  # (2, rows of weights) float64: Σ w² of each row, as of this batch and of the next
    crew: np.ndarray


class Step(NamedTuple):
    """What the kernels know of an optimizer."""

    update: int  # its address
    coefficients: int  # address
    settings: np.ndarray  # (COEFFICIENTS,) float64
    state: np.ndarray  # (2, n_params)
    steps: np.ndarray  # (1,) int64
    mean: bool  # whether the gradient is of the batch's mean error, or of its sum
    alpha: float  # L2: ½ alpha Σ w² is added to a batch's Σ_n s_n E^n; biases are left out


def net(layout: Layout, loss: type[Any], params: np.ndarray) -> Net:
    """What the kernels know of a net, with all that it needs compiled; `loss` is a class of the table."""
    available()  # a kernel that comes from the cache takes it for granted that the threading layer has been started
    canonical = loss.canonical == layout.activations[-1]
    error = address_of_error(loss.error_canonical if canonical else loss.error, layout.dtype)
    slope = 0 if canonical else address_of_slope(loss.slope, layout.dtype)
    return Net(layout.compile(), params, panels(layout.dtype), error, slope)


def step(
    optimizer: type[Any], settings: np.ndarray, state: np.ndarray, steps: np.ndarray, *, mean: bool = True, alpha: float = 0.0
) -> Step:
    """What the kernels know of an optimizer, compiled: a class of the table, and the settings and state of an instance."""
    update = address_of_update(optimizer.update, state.dtype)
    coefficients = address_of_coefficients(optimizer.coefficients, state.dtype)
    return Step(update, coefficients, settings, state, steps, mean, alpha)


def samples(X: np.ndarray, T: np.ndarray, s: np.ndarray) -> Samples:
    """The samples as the kernels take them: inputs X of float32 or float64, T and s of the net's dtype."""
    other = np.dtype(np.float64 if T.dtype == np.float32 else np.float32)
    none = np.empty((0, X.shape[1]), other if X.dtype == T.dtype else T.dtype)
    X, X_other = (X, none) if X.dtype == T.dtype else (none, X)
    return Samples(X, X_other, T, s, Sparse(np.empty(0, np.int64), np.empty(0, np.int32), np.empty(0, T.dtype), 0, 0))


def sparse_samples(X: Any, T: np.ndarray, s: np.ndarray) -> Samples:
    """The same for X of SciPy, a CSR matrix or array; ValueError if its indices lead out of it."""
    X.check_format(full_check=True)
    X = X if X.has_sorted_indices else X.sorted_indices()
    other = np.dtype(np.float64 if T.dtype == np.float32 else np.float32)
    indptr, indices, data = (
        np.require(array, dtype, ["C", "A", "W"])
        for array, dtype in ((X.indptr, np.int64), (X.indices, np.int32), (X.data, T.dtype))
    )
    csr = Sparse(indptr, indices, data, *of_sparse(T.dtype))
    return Samples(np.empty((0, X.shape[1]), T.dtype), np.empty((0, X.shape[1]), other), T, s, csr)


def units(layout: Layout, n_samples: int, *, back: bool = False, keep_a: bool = False) -> Units:
    """Scratch for the units; `back` makes room for δ."""
    size = n_samples * layout.n_units
    a, z = aligned_zeros(size, layout.dtype), aligned_zeros(size, layout.dtype)
    layout.set_ones(z, n_samples)
    return Units(n_samples, keep_a, a, z, aligned_zeros(size if back else 0, layout.dtype))


def work(layout: Layout, batch_size: int, n_threads: int, *, keep_a: bool = False) -> Work:
    """Scratch for training in batches of up to `batch_size` samples."""
    n_chunks = chunks(layout, batch_size)
    groups = weight_groups(layout, n_threads, apart=n_chunks > 0)
    largest = max((last - first + 1) * int(layout.layers["row"][l]) for l, first, last, _ in groups)
    copies = n_threads if n_chunks else 1
    transposed = layout.n_transposed if batch_size >= WORTH_TRANSPOSING else 0
    return Work(
        units(layout, batch_size, back=True, keep_a=keep_a),
        np.zeros(batch_size),
        np.zeros(batch_size, layout.dtype),
        aligned_zeros(copies * transposed, layout.dtype).reshape(copies, -1),
        aligned_zeros(n_chunks * layout.n_params, layout.dtype).reshape(n_chunks, layout.n_params),
        np.array(groups, GROUP),
        aligned_zeros(n_threads * largest, layout.dtype).reshape(n_threads, largest),
        np.zeros((2, COEFFICIENTS + 2)),
        np.zeros((2, sum(1 + n_in for n_in in layout.sizes[:-1]))),
        crew_state(n_threads),
    )


def threads_worth(flops: int) -> int:
    """The threads that so much work is worth, of those there are."""
    return max(1, min(flops // WORTH_A_THREAD, available())) if flops >= 2 * WORTH_A_THREAD else 1


def threads_for(layout: Layout, batch_size: int) -> int:
    """The threads that train in batches of so many samples."""
    n_threads = threads_worth(layout.flops * batch_size)
    return min(n_threads, chunks(layout, batch_size) or n_threads)


def chunks(layout: Layout, batch_size: int) -> int:
    """The chunks of a batch whose gradients are summed apart, or 0; whatever the number of threads, as it is for the bits.

    It is for nets of few weights: a thread then reads nothing of the units that another has computed.  To write what
    another core has read costs 7 ns a cache line, and with few weights that was a third of the time.
    """
    n_chunks = 1 << min(max(layout.flops * batch_size // WORTH_A_CHUNK, 1), MOST_CHUNKS).bit_length() - 1
    few = 2 * n_chunks * layout.n_params < batch_size * layout.n_units
    return n_chunks if few and n_chunks > 1 else 0


def weight_groups(layout: Layout, n_threads: int, *, apart: bool) -> list[tuple[int, int, int, int]]:
    """(layer, first row, last row, its place among the rows of all layers) of groups of rows: whole tiles, alike in cost.

    Where the gradient is summed apart, groups are few, so that threads write to few of the same cache lines.
    """
    layers = layout.layers
    widths = [padded(int(n_out), layout.dtype) for n_out in layers["n_out"]]
    cost = sum(width * (1 + int(n_in)) for width, n_in in zip(widths, layers["n_in"], strict=True))
    groups, place = [], 0
    for l, (n_in, row, width) in enumerate(zip(layers["n_in"], layers["row"], widths, strict=True)):
        most = max(GROUP_TILES, GROUP_BYTES // (ROWS * int(row) * layout.dtype.itemsize))
        n_tiles = -(-(1 + int(n_in)) // ROWS)
        tiles = min(max(cost // (GROUP_SHARES * n_threads * ROWS * width), 1), most) if n_threads > 1 else most
        tiles = max(tiles, GROUP_TILES) if apart else tiles
        n_groups = -(-n_tiles // tiles)
        bounds = [ROWS * (k * n_tiles // n_groups) for k in range(n_groups)] + [1 + int(n_in)]
        groups += [(l, bounds[k], bounds[k + 1] - 1, place + bounds[k]) for k in range(n_groups)]
        place += 1 + int(n_in)
    return groups
