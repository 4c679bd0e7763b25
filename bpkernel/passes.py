"""Floor 3: a mini-batch's way forward and back through all layers, and the epoch; the only place that loops over layers.

A mini-batch is two stages of a crew of threads.  The first goes over blocks of samples: forward, E and every δ, while a
block is in cache.  The second goes over groups of rows of weights: the gradient's sum over the samples and at once the
optimizer's step, so that every δ is computed with the old weights and no gradient goes to memory.  Every number has one
owner and one order of summation: results do not depend on the number of threads, nor on the blocks and groups.
"""

from typing import Any, NamedTuple

import numpy as np

from bpkernel.compiler import kernel
from bpkernel.crew import SPACING, bound, claim, finish, run, wait
from bpkernel.crew import state as crew_state
from bpkernel.layout import Layout, aligned_zeros, input_block, padded, transposed_block, unit_block, weight_block
from bpkernel.losses import BY_NAME, address_of_error, address_of_slope
from bpkernel.optimizers import COEFFICIENTS, address_of_coefficients, address_of_update, coefficients, update
from bpkernel.sums import errors, gradient, hidden_deltas, output_deltas, outputs, panels, pre_activations
from bpkernel.threads import available
from bpkernel.tiles import ROWS, block, line, row_of, rows_from, transpose_8

WORTH_A_THREAD = 500_000  # flops of a training step for each thread, at least
WORTH_A_CHUNK = 2_000_000  # flops of a training step for each chunk, at least
PREDICTED_TOGETHER = 96  # samples whose units a thread holds at once where nothing goes back
BLOCK_TILES = 43  # tiles of samples in a block, at most
SHARES = 2  # blocks of samples for each thread: fewer do not let one help another out, more read the weights more often
GROUP_SHARES = 8  # groups of rows of weights for each thread
GROUP_TILES = 4  # tiles of rows of weights in a group of wide rows: they share a panel of δ in cache
GROUP_BYTES = 1 << 17  # of weights in a group, where the rows are short
WORTH_TRANSPOSING = 8  # samples in a batch from which on Eq. 7 is faster with transposed weights

GROUP = np.dtype([("layer", np.int64), ("first", np.int64), ("last", np.int64)], align=True)


class Net(NamedTuple):
    """What the kernels know of a net."""

    layers: np.ndarray  # (n_layers,) of LAYER
    params: np.ndarray  # (n_params,)
    panels: np.ndarray  # addresses of the sums in tiles
    error: int  # address of E^n
    slope: int  # address of ∂E^n/∂y, or 0 where Eq. 5 is y - t


class Samples(NamedTuple):
    """Inputs, targets and weights, all C-contiguous; the inputs in one of two dtypes, and the other array has no rows."""

    X: np.ndarray  # (n, n_in), of the net's dtype
    X_other: np.ndarray  # (n, n_in), float64 for a net of float32 and the other way round
    T: np.ndarray  # (n, n_out)
    s: np.ndarray  # (n,)


class Units(NamedTuple):
    """Scratch for the units of `n_samples` samples."""

    n_samples: int
    keep_a: bool  # whether a is wanted in all layers, or in the last only
    a: np.ndarray  # (n_samples * n_units,)
    z: np.ndarray  # (n_samples * n_units,)
    delta: np.ndarray  # (n_samples * n_units,); empty where nothing goes back
    own_rows: np.ndarray  # (n_samples,) int64: 0, 1, 2, ...


class Work(NamedTuple):
    """Scratch for training."""

    units: Units
    e: np.ndarray  # (n_samples,) float64: E^n
    scale: np.ndarray  # (n_samples,): what multiplies δ_k
    transposed: np.ndarray  # (1, n_transposed), or with chunks one for each thread; (1, 0) where batches are too small
    partial: np.ndarray  # (n_chunks, n_params): gradients of chunks of a batch, or (0, 0)
    groups: np.ndarray  # of GROUP
    dw: np.ndarray  # (n_threads, size of the largest group): gradients
    c: np.ndarray  # (2, COEFFICIENTS + 1) float64: of this step and of the next; the last is what multiplies w in L2
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


def net(layout: Layout, loss: str, params: np.ndarray) -> Net:
    """What the kernels know of a net, with all that it needs compiled."""
    kind = BY_NAME[loss]
    canonical = kind.canonical == layout.activations[-1]
    error = address_of_error(kind.error_canonical if canonical else kind.error, layout.dtype)
    slope = 0 if canonical else address_of_slope(kind.slope, layout.dtype)
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
    return Samples(X, none, T, s) if X.dtype == T.dtype else Samples(none, X, T, s)


def units(layout: Layout, n_samples: int, *, back: bool = False, keep_a: bool = False) -> Units:
    """Scratch for the units; `back` makes room for δ."""
    size = n_samples * layout.n_units
    a, z = aligned_zeros(size, layout.dtype), aligned_zeros(size, layout.dtype)
    layout.set_ones(z, n_samples)
    return Units(n_samples, keep_a, a, z, aligned_zeros(size if back else 0, layout.dtype), np.arange(n_samples))


def work(layout: Layout, batch_size: int, n_threads: int, *, keep_a: bool = False) -> Work:
    """Scratch for training in batches of up to `batch_size` samples."""
    groups = weight_groups(layout, n_threads, apart=chunks(layout, batch_size) > 0)
    rows = layout.layers["row"][[group[0] for group in groups]]
    largest = max((last - first + 1) * row for (_, first, last), row in zip(groups, rows, strict=True))
    n_chunks = chunks(layout, batch_size)
    copies = n_threads if n_chunks else 1
    transposed = layout.n_transposed if batch_size >= WORTH_TRANSPOSING else 0
    return Work(
        units(layout, batch_size, back=True, keep_a=keep_a),
        np.zeros(batch_size),
        np.zeros(batch_size, layout.dtype),
        aligned_zeros(copies * transposed, layout.dtype).reshape(copies, -1),
        aligned_zeros(n_chunks * layout.n_params, layout.dtype).reshape(n_chunks, -1)
        if n_chunks
        else np.empty((0, 0), layout.dtype),
        np.array(groups, GROUP),
        aligned_zeros(n_threads * int(largest), layout.dtype).reshape(n_threads, -1),
        np.zeros((2, COEFFICIENTS + 1)),
        crew_state(n_threads),
    )


def threads_worth(flops: int) -> int:
    """The threads that so much work is worth, of those there are."""
    return max(1, min(flops // WORTH_A_THREAD, available())) if flops >= 2 * WORTH_A_THREAD else 1


def chunks(layout: Layout, batch_size: int) -> int:
    """The chunks of a batch whose gradients are summed apart, or 0; whatever the number of threads, as it is for the bits.

    It is for nets of few weights: a thread then reads nothing of the units that another has computed.  To write what
    another core has read costs 7 ns a cache line, and with few weights that was a third of the time.
    """
    n_chunks = 1 << max(layout.flops * batch_size // WORTH_A_CHUNK, 1).bit_length() - 1
    few = 2 * n_chunks * layout.n_params < batch_size * layout.n_units
    return n_chunks if few and n_chunks > 1 else 0


def weight_groups(layout: Layout, n_threads: int, *, apart: bool) -> list[tuple[int, int, int]]:
    """(layer, first row, last row) of groups of rows of weights: whole tiles, about alike in cost.

    Where the gradient is summed apart, groups are few, so that threads write to few of the same cache lines.
    """
    layers = layout.layers
    widths = [padded(int(n_out), layout.dtype) for n_out in layers["n_out"]]
    cost = sum(width * (1 + int(n_in)) for width, n_in in zip(widths, layers["n_in"], strict=True))
    groups = []
    for l, (n_in, row, width) in enumerate(zip(layers["n_in"], layers["row"], widths, strict=True)):
        most = max(GROUP_TILES, GROUP_BYTES // (ROWS * int(row) * layout.dtype.itemsize))
        n_tiles = -(-(1 + int(n_in)) // ROWS)
        tiles = min(max(cost // (GROUP_SHARES * n_threads * ROWS * width), 1), most) if n_threads > 1 else most
        tiles = max(tiles, GROUP_TILES) if apart else tiles
        n_groups = -(-n_tiles // tiles)
        bounds = [ROWS * (k * n_tiles // n_groups) for k in range(n_groups)] + [1 + int(n_in)]
        groups += [(l, bounds[k], bounds[k + 1] - 1) for k in range(n_groups)]
    return groups


# ------------------------------------------------------------------------------------- the first stage: blocks of samples


@kernel
def n_blocks(n_samples: int, n_threads: int) -> int:
    """The blocks of samples in a batch."""
    n_tiles = (n_samples + ROWS - 1) // ROWS
    shares = min(n_tiles, SHARES * n_threads) if n_threads > 1 else 1
    return max(shares, (n_tiles + BLOCK_TILES - 1) // BLOCK_TILES)


@kernel
def block_start(k: int, n_samples: int, blocks: int) -> int:
    """The first sample of one of some blocks, which are whole tiles but the last."""
    n_tiles = (n_samples + ROWS - 1) // ROWS
    return min(ROWS * (k * n_tiles // blocks), n_samples)


@kernel
def load_inputs(X: Any, rows: Any, lead: int, z: Any) -> None:
    """z of the inputs: the given rows of X (any, n_in), in whichever dtype; z (n_samples, row): units overwritten."""
    for n in range(rows.size):
        x_n = row_of(X, rows[n], 0, X.shape[1])
        z_n = row_of(z, n, lead, X.shape[1])
        for i in range(x_n.size):
            z_n[i] = x_n[i]


@kernel
def forward_block(net: Any, X: Any, X_other: Any, rows: Any, u: Any, first: int) -> None:
    """z of every layer for some samples: Eq. 1, layer by layer; and a, of the last layer or of all.

    X, X_other (any, n_in): inputs in one of them;  rows (n,): theirs;  z and a of `u`, rows first to first + n: overwritten.
    """
    n = rows.size
    z = rows_from(input_block(net.layers[0], u.z, u.n_samples), first, n, 0)
    if X.shape[0] > 0:
        load_inputs(X, rows, net.layers[0].lead, z)
    else:
        load_inputs(X_other, rows, net.layers[0].lead, z)
    for l in range(net.layers.size):
        layer = net.layers[l]
        lead = layer.lead
        z_before = rows_from(z, 0, n, lead - 1)
        z = rows_from(unit_block(layer, u.z, u.n_samples), first, n, 0)
        pre_activations(
            net.panels, weight_block(layer, net.params), z_before, whole_lines(layer.n_out, lead), rows_from(z, 0, n, lead)
        )
        if u.keep_a or l == net.layers.size - 1:
            a = rows_from(unit_block(layer, u.a, u.n_samples), first, n, 0)
            copy(z, a, lead, layer.n_out)
        outputs(layer.g, lead, layer.n_out, z)


@kernel
def error_block(net: Any, T: Any, rows: Any, u: Any, first: int, e: Any) -> None:
    """E^n of some samples, from a and y of the last layer; T (any, n_out);  rows (n,): its rows;  e (n,): overwritten."""
    layer = net.layers[net.layers.size - 1]
    a = rows_from(unit_block(layer, u.a, u.n_samples), first, rows.size, layer.lead)
    y = rows_from(unit_block(layer, u.z, u.n_samples), first, rows.size, layer.lead)
    errors(net.error, a, y, T, rows, e)


@kernel
def backward_block(net: Any, T: Any, rows: Any, w: Any, first: int, me: int) -> None:
    """δ of every layer for some samples: Eq. 5, then Eq. 7 from the last layer back.

    T (any, n_out);  rows (n,): its rows;  of `w`, rows first to first + n: z and scale are read, delta is overwritten.
    """
    u, n = w.units, rows.size
    l = net.layers.size - 1
    layer = net.layers[l]
    lead = layer.lead
    y = rows_from(unit_block(layer, u.z, u.n_samples), first, n, 0)
    delta = rows_from(unit_block(layer, u.delta, u.n_samples), first, n, 0)
    output_deltas(layer.pull_back, net.slope, lead, y, T, rows, line(w.scale, first, first + n), delta)
    delta = rows_from(delta, 0, n, lead)
    while l > 0:
        w_next = weight_block(layer, net.params)
        transposed = own_transposed(w, me)
        w_next_t = block(transposed, 0, layer.n_out, 0)
        if transposed.size > 0:
            w_next_t = rows_from(transposed_block(layer, transposed), 0, layer.n_out, lead)
        l -= 1
        layer = net.layers[l]
        z = rows_from(unit_block(layer, u.z, u.n_samples), first, n, 0)
        delta_l = rows_from(unit_block(layer, u.delta, u.n_samples), first, n, 0)
        hidden_deltas(net.panels, layer.pull_back, w_next, w_next_t, delta, lead, layer.n_out, z, delta_l)
        delta = rows_from(delta_l, 0, n, lead)


@kernel
def whole_lines(n: int, per_line: int) -> int:
    """n rounded up to whole cache lines."""
    return (n + per_line - 1) // per_line * per_line


@kernel
def copy(source: Any, target: Any, first: int, n_columns: int) -> None:
    """target[:, first : first + n_columns] = source[:, first : first + n_columns]."""
    for n in range(source.shape[0]):
        from_n, to_n = row_of(source, n, first, n_columns), row_of(target, n, first, n_columns)
        for j in range(n_columns):
            to_n[j] = from_n[j]


# ---------------------------------------------------------------------------------- the second stage: groups of weights


@kernel
def group_gradient(net: Any, u: Any, group: Any, first: int, n: int, g: Any) -> None:
    """Eq. 4 for one group of rows of weights, over the samples first to first + n; g (size of the group): overwritten."""
    layer = net.layers[group.layer]
    z = rows_from(input_block(layer, u.z, u.n_samples), first, n, layer.lead - 1)
    delta = rows_from(unit_block(layer, u.delta, u.n_samples), first, n, layer.lead)
    dw = block(g, 0, group.last - group.first + 1, layer.row)
    gradient(net.panels, z, delta, group.first, group.last, whole_lines(layer.n_out, layer.lead), dw)


@kernel
def chunk_gradient(net: Any, w: Any, k: int, first: int, n: int) -> None:
    """Eq. 4 for all weights, over the samples of chunk k, from first to first + n."""
    for i in range(w.groups.size):
        group = w.groups[i]
        layer = net.layers[group.layer]
        start, size = layer.weights + group.first * layer.row, (group.last - group.first + 1) * layer.row
        group_gradient(net, w.units, group, first, n, row_of(w.partial, k, start, size))


@kernel
def descend(net: Any, step: Any, w: Any, n_samples: int, k: int, c: Any, me: int) -> None:
    """Eq. 4 for one group of rows of weights, and the optimizer's step on them."""
    group = w.groups[k]
    layer = net.layers[group.layer]
    start, size = layer.weights + group.first * layer.row, (group.last - group.first + 1) * layer.row
    g = row_of(w.dw, me, 0, size)
    if w.partial.shape[0] > 0:
        add_chunks(w.partial, start, g)
    else:
        group_gradient(net, w.units, group, 0, n_samples, g)
    params = line(net.params, start, start + size)
    if step.alpha > 0:
        decay = params.dtype.type(c[COEFFICIENTS])
        for i in range(layer.row if group.first == 0 else 0, size):
            g[i] += decay * params[i]
    update(step.update, (params, g, row_of(step.state, 0, start, size), row_of(step.state, 1, start, size), c))


@kernel
def add_chunks(partial: Any, start: int, g: Any) -> None:
    """g = Σ over the chunks, in their order, of partial (n_chunks, n_params) from `start` on."""
    first = row_of(partial, 0, start, g.size)
    for i in range(g.size):
        g[i] = first[i]
    for k in range(1, partial.shape[0]):
        chunk = row_of(partial, k, start, g.size)
        for i in range(g.size):
            g[i] += chunk[i]


@kernel
def own_transposed(w: Any, me: int) -> Any:
    """The transposed weights that a thread reads and writes: those of all threads, or its own."""
    return row_of(w.transposed, me % w.transposed.shape[0], 0, w.transposed.shape[1])


@kernel
def is_transposed(w: Any, k: int) -> bool:
    """Whether Eq. 7 asks for the weights of a group in transposed form."""
    return w.transposed.size > 0 and w.groups[k].layer > 0


@kernel
def transpose(net: Any, w: Any, k: int, me: int) -> None:
    """Copy the weights of one group to where Eq. 7 finds them."""
    group = w.groups[k]
    layer = net.layers[group.layer]
    weights, transposed = weight_block(layer, net.params), transposed_block(layer, own_transposed(w, me))
    in_eights = group.first + (group.last + 1 - group.first) // 8 * 8
    for j in range(0, transposed.shape[0], 8):
        for i in range(group.first, in_eights, 8):
            transpose_8(weights, i, j, transposed, layer.lead - 1 + i)
    for i in range(in_eights, group.last + 1):
        for j in range(layer.n_out):
            transposed[j, layer.lead - 1 + i] = weights[i, j]


# --------------------------------------------------------------------------------------------- before and after a batch


@kernel
def begin_batch(step: Any, s: Any, rows: Any, scale: Any, c: Any) -> None:
    """What multiplies δ_k, and the coefficients of the step; the gradient is Σ_n s_n ∂E^n/∂w / Σ_n s_n."""
    weight = 0.0
    for n in range(rows.size):
        weight += s[rows[n]]
    if not step.mean:
        weight = 1.0
    for n in range(rows.size):
        scale[n] = s[rows[n]] / weight if weight > 0 else 0.0
    step.steps[0] += 1
    coefficients(step.coefficients, (step.settings, step.steps[0], c))
    c[COEFFICIENTS] = step.alpha / weight if weight > 0 else 0.0


@kernel
def weighted_error(s: Any, rows: Any, e: Any) -> float:
    """Σ_n s_n E^n of a batch; a sample without weight does not count, even if its E^n is Inf."""
    total = 0.0
    for n in range(rows.size):
        if s[rows[n]] > 0:
            total += s[rows[n]] * e[n]
    return total


# ------------------------------------------------------------------------------------------------- what each thread does


def train_member(net: Any, step: Any, samples: Any, order: Any, w: Any, total: Any, me: int) -> None:
    """Mini-batches of `w.units.n_samples` samples; stages 2 b + 2 and 2 b + 3 are batch b's, and 1 prepares the first."""
    X = rows_from(samples.X, 0, samples.X.shape[0], 0)
    X_other = rows_from(samples.X_other, 0, samples.X_other.shape[0], 0)
    T = rows_from(samples.T, 0, samples.T.shape[0], 0)
    u, n_threads, n_groups = w.units, w.crew.size // SPACING - 1, w.groups.size
    n_chunks = w.partial.shape[0]
    shares_transposed = n_chunks == 0
    n_done = n_groups + 1
    k = claim(w.crew, me, 1, n_done)
    while k >= 0:
        if k == 0:
            first_rows = line(order, 0, min(u.n_samples, order.size))
            begin_batch(step, samples.s, first_rows, w.scale, row_of(w.c, 0, 0, COEFFICIENTS + 1))
        elif shares_transposed and is_transposed(w, k - 1):
            transpose(net, w, k - 1, me)
        finish(w.crew)
        k = claim(w.crew, me, 1, n_groups + 1)
    wait(w.crew, n_done)
    for b in range((order.size + u.n_samples - 1) // u.n_samples):
        start, stop = b * u.n_samples, min((b + 1) * u.n_samples, order.size)
        blocks = n_chunks if n_chunks > 0 else n_blocks(stop - start, n_threads)
        if not shares_transposed:
            for group in range(n_groups):
                if is_transposed(w, group):
                    transpose(net, w, group, me)
        k = claim(w.crew, me, 2 * b + 2, blocks)
        while k >= 0:
            first, last = block_start(k, stop - start, blocks), block_start(k + 1, stop - start, blocks)
            rows = line(order, start + first, start + last)
            forward_block(net, X, X_other, rows, u, first)
            error_block(net, T, rows, u, first, line(w.e, first, last))
            backward_block(net, T, rows, w, first, me)
            if n_chunks > 0:
                chunk_gradient(net, w, k, first, last - first)
            finish(w.crew)
            k = claim(w.crew, me, 2 * b + 2, blocks)
        n_done += blocks
        wait(w.crew, n_done)
        k = claim(w.crew, me, 2 * b + 3, n_groups + 1)
        while k >= 0:
            if k == 0:
                total[0] += weighted_error(samples.s, line(order, start, stop), w.e)
                next_rows = line(order, stop, min(stop + u.n_samples, order.size))
                if next_rows.size > 0:
                    begin_batch(step, samples.s, next_rows, w.scale, row_of(w.c, (b + 1) % 2, 0, COEFFICIENTS + 1))
            else:
                descend(net, step, w, stop - start, k - 1, row_of(w.c, b % 2, 0, COEFFICIENTS + 1), me)
                if shares_transposed and is_transposed(w, k - 1):
                    transpose(net, w, k - 1, me)
            finish(w.crew)
            k = claim(w.crew, me, 2 * b + 3, n_groups + 1)
        n_done += n_groups + 1
        wait(w.crew, n_done)


def infer_member(net: Any, samples: Any, start: int, u: Any, crew: Any, y: Any, e: Any, me: int) -> None:
    """Outputs y (n, n_out), or errors e (n,), of n samples from `start` on; either may have no rows."""
    n_threads = crew.size // SPACING - 1
    n, size = max(y.shape[0], e.size), u.n_samples // n_threads
    layer = net.layers[net.layers.size - 1]
    n_tasks = (n + size - 1) // size
    k = claim(crew, me, 1, n_tasks)
    while k >= 0:
        first, stop = k * size, min((k + 1) * size, n)
        rows = line(u.own_rows, 0, stop - first)
        X = rows_from(samples.X, start + first, min(rows.size, samples.X.shape[0]), 0)
        X_other = rows_from(samples.X_other, start + first, min(rows.size, samples.X_other.shape[0]), 0)
        forward_block(net, X, X_other, rows, u, me * size)
        if e.size > 0:
            T = rows_from(samples.T, start + first, rows.size, 0)
            error_block(net, T, rows, u, me * size, line(e, first, stop))
        if y.shape[0] > 0:
            found = rows_from(unit_block(layer, u.z, u.n_samples), me * size, rows.size, layer.lead)
            copy(found, rows_from(y, first, rows.size, 0), 0, layer.n_out)
        finish(crew)
        k = claim(crew, me, 1, n_tasks)
    wait(crew, n_tasks)


# -------------------------------------------------------------------------------------------------- what floor 4 calls

bind_train, bind_infer = bound(train_member), bound(infer_member)


@kernel(entry=True)
def train(net: Any, step: Any, samples: Any, order: Any, w: Any, total: Any) -> None:
    """Mini-batches of `w.units.n_samples` samples in the given order; Σ_n s_n E^n, each E^n as of its own batch.

    order (n,): rows of the samples;  params, the optimizer's state and steps: overwritten;  total (1,): added to.
    With the optimizer KEEP the weights stay, and its state[0] is the sum over the samples of the gradient.
    """
    for i in range(w.crew.size):
        w.crew[i] = 0
    function, arguments = bind_train((net, step, samples, order, w, total))
    run(function, arguments, w.crew.size // SPACING - 1)


@kernel(entry=True)
def infer(net: Any, samples: Any, start: int, u: Any, crew: Any, y: Any, e: Any) -> None:
    """Outputs y (n, n_out), or errors E^n e (n,), of n samples from `start` on; either may have no rows."""
    for i in range(crew.size):
        crew[i] = 0
    function, arguments = bind_infer((net, samples, start, u, crew, y, e))
    run(function, arguments, crew.size // SPACING - 1)
