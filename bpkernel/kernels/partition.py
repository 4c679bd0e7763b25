"""How the work of a mini-batch is cut: blocks of samples, chunks whose gradients are summed apart, groups of rows of weights.

No cut that has an influence on the order of a sum depends on the number of threads.
"""

from itertools import pairwise
from typing import Any

import numpy as np

from bpkernel.codegen.jit import kernel
from bpkernel.codegen.processor import ROWS, SECOND_LEVEL_CACHE
from bpkernel.kernels.layout import Layout
from bpkernel.kernels.packing import PACKED_ROWS
from bpkernel.runtime.memory import padded
from bpkernel.runtime.threads import available

WORTH_A_THREAD = 1_500_000  # least flops of a training step for each thread: at 2 million in all, two were no faster than one
WORTH_A_CHUNK = 2_000_000  # least flops of a training step for each chunk
MOST_CHUNKS = 64
GROUP_SHARES = 8  # groups of rows of weights for each thread
GROUP_TILES = 4  # most tiles of rows of weights in a group of wide rows: they share a panel of δ in cache
WIDE_TILES = 16  # most tiles in a group of a wide edge, whose packed δ is contiguous: 1024-1024-1024-1024 gained 10 % over 4
GROUP_BYTES = 1 << 17  # of weights in a group of short rows
BLOCK_TILES = 43  # most tiles of samples in a block
SHARES = 2  # blocks of samples for each thread: with one no thread can help another, with more the weights are read more often
WORTH_SHARING = 2  # least tiles of samples in such a block; in blocks of one, 10⁷ weights took 1.2 times as long

GROUP = np.dtype(
    [
        ("edge", np.int64),
        ("first", np.int64),  # its first and its last row of the weights of the edge
        ("last", np.int64),
        ("place", np.int64),  # of its first row among the rows of all edges
        ("first_piece", np.int64),  # its pieces are those from first_piece up to end_piece
        ("end_piece", np.int64),
    ],
    align=True,
)

COLUMNS = np.dtype([("node", np.int64), ("first", np.int64), ("end", np.int64)], align=True)  # units of a node
COLUMN_BLOCK = 256  # units whose weights are limited by one task


def threads_worth(flops: int) -> int:
    """The threads, of those available, that this much work is worth."""
    return max(1, min(flops // WORTH_A_THREAD, available())) if flops >= 2 * WORTH_A_THREAD else 1


def threads_for(layout: Layout, batch_size: int) -> int:
    """The threads that train in batches of this size."""
    n_threads = threads_worth(layout.flops * batch_size)
    return min(n_threads, n_chunks_of(layout, batch_size) or n_threads)


def n_chunks_of(layout: Layout, batch_size: int) -> int:
    """The chunks of a batch whose gradients are summed apart.

    Returns 0 if disabled.  Independent of the number of threads, for reproducibility.  Chunks are for nets of few weights: a
    thread then reads nothing of the units that another has computed.  To write a cache line that another core has read takes
    7 ns, which was a third of the time with few weights.
    """
    n_chunks = 1 << min(max(layout.flops * batch_size // WORTH_A_CHUNK, 1), MOST_CHUNKS).bit_length() - 1
    few = 2 * n_chunks * layout.n_params < batch_size * layout.n_units
    return n_chunks if few and n_chunks > 1 else 0


def samples_together(layout: Layout, batch_size: int, n_chunks: int) -> int:
    """The samples of a chunk whose units a thread computes at a time; 0 for all of them.

    Their z and δ fill a quarter of the second-level cache.  4-32-16-4 then takes 225 instead of 330 ns a sample in a batch of
    10,000, on one thread; an eighth as many, which fit the first-level cache, were no faster.
    """
    if n_chunks == 0:
        return 0
    together = max(SECOND_LEVEL_CACHE // 4 // (2 * layout.n_units * layout.dtype.itemsize) // ROWS, 1) * ROWS
    return together if batch_size >= 2 * n_chunks * together else 0  # two parts at least


def weight_groups(layout: Layout, n_threads: int, *, chunked: bool) -> tuple[np.ndarray, np.ndarray]:
    """Groups of rows of weights, and their pieces, two arrays of GROUP: whole tiles, of about the same cost.

    With chunks there are few groups, so that threads write to few of the same cache lines.  Groups of wide edges are updated
    and packed in pieces, which stay in the second-level cache meanwhile; other groups are one piece.
    """
    widths = [padded(n_out, layout.dtype) for n_out in layout.edges["n_out"].tolist()]
    cost = sum(width * n_rows for width, n_rows in zip(widths, layout.n_rows, strict=True))
    groups: list[tuple[int, ...]] = []
    pieces: list[tuple[int, ...]] = []
    place = 0
    for number, (n_rows, length, width) in enumerate(zip(layout.n_rows, layout.row_lengths, widths, strict=True)):
        wide = bool(layout.edges["wide"][number])
        most = WIDE_TILES if wide else max(GROUP_TILES, GROUP_BYTES // (ROWS * length * layout.dtype.itemsize))
        tiles = min(max(cost // (GROUP_SHARES * n_threads * ROWS * width), 1), most) if n_threads > 1 else most
        tiles = max(tiles, GROUP_TILES) if chunked else tiles
        first, step = (n_rows - int(layout.edges["n_in"][number]), PACKED_ROWS) if wide else (0, ROWS)  # the biases are no tile
        n_steps = -(-(n_rows - first) // step)
        n_groups = -(-n_steps // max(tiles * ROWS // step, 1))
        bounds = [0, *(first + step * (i * n_steps // n_groups) for i in range(1, n_groups)), n_rows]
        for start, end in pairwise(bounds):
            inner = range(first + step * (start // step + 1), end, step) if wide else ()
            own = [(number, i, j - 1, place + i) for i, j in pairwise([start, *inner, end])]
            groups.append((number, start, end - 1, place + start, len(pieces), len(pieces) + len(own)))
            pieces += [(*piece, len(pieces) + i, len(pieces) + i + 1) for i, piece in enumerate(own)]
        place += n_rows
    return np.array(groups, GROUP), np.array(pieces, GROUP)


def column_blocks(layout: Layout, limits: np.ndarray) -> np.ndarray:
    """Blocks of units, an array of COLUMNS, of the nodes that have a finite limit; limits (n_nodes,) or (0,)."""
    blocks = []
    for node in np.flatnonzero(np.isfinite(limits)).tolist():
        size = layout.sizes[node]
        blocks += [(node, first, min(first + COLUMN_BLOCK, size)) for first in range(0, size, COLUMN_BLOCK)]
    return np.array(blocks, COLUMNS)


@kernel
def n_blocks_of(n_samples: int, n_threads: int) -> int:
    """The blocks of samples in a batch."""
    n_tiles = (n_samples + ROWS - 1) // ROWS
    shares = SHARES if n_tiles >= SHARES * WORTH_SHARING * n_threads else 1
    shares = min(n_tiles, shares * n_threads) if n_threads > 1 else 1
    return max(shares, (n_tiles + BLOCK_TILES - 1) // BLOCK_TILES)


@kernel
def block_start(block: int, n_samples: int, n_blocks: int) -> int:
    """The first sample of a block; all blocks but the last are whole tiles."""
    n_tiles = (n_samples + ROWS - 1) // ROWS
    return min(ROWS * (block * n_tiles // n_blocks), n_samples)


@kernel
def group_range(net: Any, group: Any) -> tuple[int, int]:
    """Where a group of rows begins in the buffer of the weights, and how many numbers it has."""
    edge = net.edges[group.edge]
    return edge.weights + group.first * edge.row, (group.last - group.first + 1) * edge.row
