"""What kernels are given: the net, the samples, scratch memory and the optimizer, as named tuples of arrays."""

from typing import Any, NamedTuple

import numpy as np

from bpkernel.functions.activations import Identity, pointer_to_vjp
from bpkernel.functions.losses import pointer_to_error, pointer_to_slope
from bpkernel.functions.optimizer import pointer_to_factors, pointer_to_update
from bpkernel.kernels import partition
from bpkernel.kernels.dropout import NO_DROPOUT, loops_of_dropout
from bpkernel.kernels.few_weights import PIECE, Lists, lists_of
from bpkernel.kernels.layout import Layout
from bpkernel.kernels.normalisation import normalisation_of
from bpkernel.kernels.packing import WORTH_PACKING
from bpkernel.kernels.regularisation import NO_LOOPS, NOT_REGULARISED, Regularisation, loops_of
from bpkernel.kernels.sparse import pointers_to_sparse
from bpkernel.kernels.stages import MEASURE, NORMS, PASSES, PREPARE, RESCALE, SUM_OF_GRADIENTS, UPDATE
from bpkernel.kernels.sums import compile_panels, no_panels
from bpkernel.runtime import task_queue
from bpkernel.runtime.memory import aligned_zeros
from bpkernel.runtime.threads import available


class Net(NamedTuple):
    """A net, with pointers to what is compiled for it."""

    nodes: np.ndarray  # (n_nodes,) of NODE
    edges: np.ndarray  # (n_edges,) of EDGE
    out_edges: np.ndarray  # (n_edges,) int64
    params: np.ndarray  # (n_params,)
    lists: Lists
    normalisation: np.ndarray  # (3,) int64: pointers to the loops of `normalisation`; 0 if no node is normalised
    present: np.ndarray  # (n_params,) bool: False for weights that are absent; (0,) if none are
    panels: np.ndarray  # pointers to the sums in tiles
    error: int  # pointer to E^n
    slope: int  # pointer to ∂E^n/∂y, or to δ (the output node's vjp is then the identity's), or 0 where Eq. 5 is y - t


class Sparse(NamedTuple):
    """Inputs in CSR form with sorted indices; empty if the inputs are dense."""

    indptr: np.ndarray  # (n + 1,) int64, or (0,)
    indices: np.ndarray  # (n_not_0,) int32
    data: np.ndarray  # (n_not_0,), of the net's dtype
    sums: int  # pointer to Eq. 1 for them, or 0
    gradient: int  # pointer to Eq. 4 for them, or 0


class Samples(NamedTuple):
    """Inputs, targets and weights, C-contiguous; the inputs in one of three forms, while the other two have no rows."""

    X: np.ndarray  # (n, n_in), of the net's dtype
    X_other: np.ndarray  # (n, n_in), float64 for a net of float32 and the other way round
    T: np.ndarray  # (n, n_out)
    s: np.ndarray  # (n,)
    sparse: Sparse


class Units(NamedTuple):
    """Scratch memory for the units of `n_samples` samples."""

    n_samples: int
    keep_a: bool  # whether to keep a of all nodes, or only of those whose activation needs it and of the last one
    a: np.ndarray  # (n_samples * n_units,)
    z: np.ndarray  # (n_samples * n_units,)
    delta: np.ndarray  # (n_samples * n_units,), or empty without a backward pass
    packed: np.ndarray  # (n_samples * n_packed_units,): packed z and δ, or empty
    undropped: np.ndarray  # (n_samples * n_units,): z from before dropout; empty without dropout and noise
    key: np.ndarray  # (2,) uint64: the seed of dropout and noise, and the step
    disturbance: np.ndarray  # (2,) int64: pointers to the loops of `dropout`; 0 without dropout and noise
    fault: np.ndarray  # (1,) int64: address of an exception that an activation or a loss has raised, or 0


class OptimizerStep(NamedTuple):
    """An optimizer, and the objective whose gradient it is given."""

    update: int  # pointer to its update, or 0 if there is no optimizer
    factors: int  # pointer to its factors
    settings: np.ndarray  # float64
    n_factors: int  # numbers that `factors` makes of them
    state: np.ndarray  # (n_slots, n_params)
    steps: np.ndarray  # (1,) int64
    kept: np.ndarray  # (n_kept,) float64
    rates: np.ndarray  # (n_batches,) float64: the learning rate of each batch of a call; (0,) for that of the settings
    mean: bool  # whether the gradient is of the batch's mean error, or of its sum
    alpha: float  # what penalties are multiplied by, 0 if there are none
    penalties: np.ndarray  # (n_edges, 2) float64: factors of ½ Σ w² and of Σ |w| of each edge, biases left out
    clip_value: float  # most size of a number of the gradient, or 0
    clip_norm: float  # most norm of the gradient, or 0
    max_norm: np.ndarray  # (n_nodes,) float64: most norm of the weights that lead to a unit of each node; (0,) for no limits
    loops: np.ndarray  # (5,) int64: pointers to the loops of `regularisation`

    @property
    def stages(self) -> tuple[int, ...]:
        """What is done once at the start, then what is done for every batch."""
        if not self.update:
            return SUM_OF_GRADIENTS
        limits = (NORMS, RESCALE) if self.max_norm.size else ()
        return (PREPARE, PASSES, *((MEASURE,) if self.clip_norm else ()), UPDATE, *limits)


class Work(NamedTuple):
    """Scratch memory and plan for batches of at most `e.size` samples."""

    stages: np.ndarray  # (n_stages,) int64: what is done once at the start, then what is done for every batch
    units: Units
    together: int  # samples whose units a thread holds at once, and then no others; 0 if there is room for those of a batch
    e: np.ndarray  # (n_samples,) float64: E^n
    scale: np.ndarray  # (n_samples,): what multiplies δ_k
    packed: np.ndarray  # (1, n_packed), with chunks one copy per thread; (1, 0) where batches are too small
    chunks: np.ndarray  # (n_chunks, n_params): gradients of chunks of a batch
    groups: np.ndarray  # (n_groups,) of GROUP
    pieces: np.ndarray  # (n_pieces,) of GROUP
    dw: np.ndarray  # (n_threads, size of the largest group + scratch of `update_listed`): gradients
    gradient: np.ndarray  # (n_params,): the sum of all gradients, added to, or with `clip_norm` the gradient; else (0,)
    factors: np.ndarray  # (2, n_factors) float64: of the optimizer, for this step and the next
    objective: np.ndarray  # (2, 2) float64, likewise: alpha / Σ_n s_n, and n / Σ_n s_n
    squares: np.ndarray  # (2, rows of weights) float64, likewise: twice the penalty of each row, without alpha
    norms: np.ndarray  # (rows of weights,) float64: Σ (∂E/∂w)² of each row
    columns: np.ndarray  # (n_blocks,) of COLUMNS: the units whose weights are limited
    limits: np.ndarray  # (n_units,) float64: what the weights that lead to each unit with a limit are multiplied by
    queue: np.ndarray  # the state of the task queue


def net(layout: Layout, loss: Any, params: np.ndarray, present: np.ndarray) -> Net:
    """The operands of a net, with all that it needs compiled."""
    available()  # kernels that are loaded from the cache need the threading layer to be started
    precision, output = layout.precision, layout.activations[-1]
    canonical = loss.canonical == output.name
    what = f"loss {loss.name!r}"
    error = pointer_to_error(loss.sample_error_canonical if canonical else loss.sample_error, precision, what)
    deltas = loss.deltas_with.get(output.name)
    slope = 0 if canonical else pointer_to_slope(deltas or loss.sample_slope, precision, what)
    nodes = layout.compile()
    if deltas is not None:
        nodes["vjp"][-1] = pointer_to_vjp(Identity.vjp, precision)
    panels = no_panels()
    compile_panels(panels, widths(layout), precision, add=layout.branches, dots=False)
    edges, lists = lists_of(layout, present)
    own = lists, normalisation_of(layout), present, panels
    return Net(nodes, edges, layout.out_edges, params, *own, error, slope)


def widths(layout: Layout) -> list[int]:
    """The columns of the matrices that the tiles write."""
    return [*layout.edges["n_out"].tolist(), *layout.edges["n_in"][layout.edges["transposed"] >= 0].tolist()]


def step(
    optimizer: type[Any],
    settings: np.ndarray,
    state: np.ndarray,
    steps: np.ndarray,
    kept: np.ndarray,
    layout: Layout,
    objective: Regularisation = NOT_REGULARISED,
) -> OptimizerStep:
    """The operands of an optimizer, compiled: a class of the table, the settings and the state of an instance."""
    update = pointer_to_update(optimizer.update, layout.precision)
    factors = pointer_to_factors(optimizer.factors, layout.precision)
    own: tuple[Any, ...] = *objective, loops_of(objective, layout.precision)
    return OptimizerStep(update, factors, settings, optimizer.n_factors, state, steps, kept, np.zeros(0), True, *own)


def no_step(layout: Layout) -> OptimizerStep:
    """No optimizer: the gradient is that of Σ_n s_n E^n, and the weights stay."""
    none = np.zeros(0)
    state = np.zeros((0, 0), layout.precision.master), np.zeros(1, np.int64)
    own: tuple[Any, ...] = *NOT_REGULARISED, NO_LOOPS
    return OptimizerStep(0, 0, none, 0, *state, none, none, False, *own)


def samples(X: np.ndarray, T: np.ndarray, s: np.ndarray) -> Samples:
    """Operands of dense samples: inputs X of float32 or float64, T and s of the net's dtype."""
    other = np.dtype(np.float64 if T.dtype == np.float32 else np.float32)
    none = np.empty((0, X.shape[1]), other if X.dtype == T.dtype else T.dtype)
    X, X_other = (X, none) if X.dtype == T.dtype else (none, X)
    return Samples(X, X_other, T, s, Sparse(np.empty(0, np.int64), np.empty(0, np.int32), np.empty(0, T.dtype), 0, 0))


def in_float64(given: Samples) -> Samples:
    """Dense samples for a net of float64; the inputs keep their dtype."""
    X = given.X if len(given.X) else given.X_other
    return samples(X, given.T.astype(np.float64), given.s.astype(np.float64))


def sparse_samples(X: Any, T: np.ndarray, s: np.ndarray, layout: Layout) -> Samples:
    """Operands of sparse samples: X a CSR matrix or array of SciPy.  Raises ValueError if its indices are out of range."""
    X.check_format(full_check=True)
    X = X if X.has_sorted_indices else X.sorted_indices()
    other = np.dtype(np.float64 if T.dtype == np.float32 else np.float32)
    indptr, indices, data = (
        np.require(array, dtype, ["C", "A", "W"])
        for array, dtype in ((X.indptr, np.int64), (X.indices, np.int32), (X.data, T.dtype))
    )
    csr = Sparse(indptr, indices, data, *pointers_to_sparse(layout.precision))
    return Samples(np.empty((0, X.shape[1]), T.dtype), np.empty((0, X.shape[1]), other), T, s, csr)


def units(
    layout: Layout,
    n_samples: int,
    *,
    backward: bool = False,
    packed: bool = False,
    keep_a: bool = False,
    training: bool = False,
) -> Units:
    """Scratch memory for the units; `backward` makes room for δ, `packed` for packed z and δ, `training` for dropout."""
    size, (storage, accumulation, _) = n_samples * layout.n_units, layout.precision
    z = aligned_zeros(size, storage)
    layout.set_ones(z, n_samples)
    a, delta = aligned_zeros(size, accumulation), aligned_zeros(size if backward else 0, storage)
    packed_units = aligned_zeros(n_samples * layout.n_packed_units if packed else 0, storage)
    undropped = aligned_zeros(size if training and layout.disturbs else 0, storage)
    disturbance = loops_of_dropout(layout.precision) if undropped.size else NO_DROPOUT
    own = packed_units, undropped, np.zeros(2, np.uint64), disturbance, np.zeros(1, np.int64)
    return Units(n_samples, keep_a, a, z, delta, *own)


def work(
    layout: Layout,
    net: Net,
    step: OptimizerStep,
    batch_size: int,
    n_threads: int,
    *,
    keep_a: bool = False,
    gradient: np.ndarray | None = None,
) -> Work:
    """Scratch memory for batches of at most `batch_size` samples, with what else they need compiled.

    Without an optimizer there is room for the sum of all gradients, unless it is passed as `gradient`.
    """
    precision = layout.precision
    n_chunks = partition.n_chunks_of(layout, batch_size)
    groups, pieces = partition.weight_groups(layout, n_threads, chunked=n_chunks > 0)
    rows = zip(groups["edge"].tolist(), (groups["last"] - groups["first"] + 1).tolist(), strict=True)
    largest = max(n * layout.row_lengths[edge] for edge, n in rows)
    largest += (1 + len(step.state)) * PIECE
    together = 0 if keep_a else partition.samples_together(layout, batch_size, n_chunks)
    if together:
        compile_panels(net.panels, widths(layout), precision, add=layout.branches, dots=False, add_gradients=True)
    few = batch_size < WORTH_PACKING
    if few and layout.n_packed > 0:
        compile_panels(net.panels, (), precision, add=layout.branches, dots=True)
    n_gradient = 0 if step.update and not step.clip_norm else layout.n_params
    copies, n_packed = n_threads if n_chunks else 1, 0 if few else layout.n_packed
    return Work(
        np.array(step.stages, np.int64),
        units(
            layout, together * n_threads or batch_size, backward=True, packed=not few, keep_a=keep_a, training=step.update != 0
        ),
        together,
        np.zeros(batch_size),
        np.zeros(batch_size, precision.accumulation),
        aligned_zeros(copies * n_packed, precision.storage).reshape(copies, n_packed),
        aligned_zeros(n_chunks * layout.n_params, precision.master).reshape(n_chunks, layout.n_params),
        groups,
        pieces,
        aligned_zeros(n_threads * largest, precision.master).reshape(n_threads, largest),
        aligned_zeros(n_gradient, precision.master) if gradient is None else gradient,
        np.zeros((2, step.n_factors)),
        np.zeros((2, 2)),
        np.zeros((2, sum(layout.n_rows))),
        np.zeros(sum(layout.n_rows)),
        partition.column_blocks(layout, step.max_norm),
        np.zeros(layout.n_units if step.max_norm.size else 0),
        task_queue.make(n_threads),
    )
