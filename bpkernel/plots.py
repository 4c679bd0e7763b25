"""Pictures of nets, of their training and of their derivatives, with Matplotlib (the extra `plot`).

Every function draws on the axes that it is given, or on those of a new figure, and returns them.  Negative numbers are blue,
positive ones red.
"""

from typing import Any

import numpy as np

from bpkernel import validation
from bpkernel.extras import need

BLUE, ORANGE, GREY = "#08519c", "#d94801", "#636363"
SIGNED = "RdBu_r"  # colours of numbers around 0
SHOWN, MOST_FILTERS = 10, 64  # units of a layer, and filters, that are drawn
RADIUS, ROW, COLUMN = 0.19, 0.5, 1.8  # of a unit, and distances of units and of layers, in units of the axes
INCH = 0.85  # inches for each unit of the axes, in a new figure
BEND = 0.18  # of the lines of connections that skip layers: twice their height, relative to their length
SHORT = 4  # characters of a name that fit into a unit


def _axes(ax: Any, n: int = 1, size: tuple[float, float] = (6, 4)) -> Any:
    """The axes that are given, or n new ones side by side."""
    if ax is None:
        return need("matplotlib.pyplot", "plot").subplots(1, n, figsize=size, layout="constrained")[1]
    if n > 1 and np.size(ax) != n:
        raise ValueError(f"ax must be {('two', 'three')[n - 2]} Axes for this picture; got {np.size(ax)}")
    return ax


def net_diagram(net: Any, x: Any = None, t: Any = None, ax: Any = None) -> Any:
    """A net with its units and weights; with a sample also its z and δ, on two axes (2,).

    The sample is x (n_inputs,) and t (n_targets,) or a class index.  Raises ValueError if only one of the two is given or does
    not fit the net, or if ax with a sample is not two Axes.
    """
    if (x is None) != (t is None):
        raise ValueError("plot needs both x and t of a sample, or none of them")
    places = _places(net.layer_sizes)
    left, right, low, high = _limits(net, places)
    size = INCH * (right - left), INCH * (high - low) + 0.4
    if x is None:
        ax = _axes(ax, 1, (max(size[0], 3.6), size[1]))
        _draw_net(ax, net, places)
        return ax
    t = np.ravel(t)
    r = net.backprop(np.reshape(x, (1, -1)), t if t.size == 1 else t[None])  # (1,) may be a class index
    axes = np.ravel(_axes(ax, 2, (2 * max(size[0] + 1.2, 3.6), max(size[1], 2.2))))
    z, a = [block[0] for block in r.z], [r.z[0][0], *(block[0] for block in r.a[1:])]
    delta = [np.full(net.layer_sizes[0], np.nan), *(block[0] for block in r.delta[1:])]  # inputs have none
    _draw_net(axes[0], net, places, z, a, "output z", "forward: z (colours), a (numbers)")
    _draw_net(axes[1], net, places, delta, delta, "δ", "backward: δ = ∂E/∂a")
    return axes


def _places(sizes: tuple[int, ...]) -> list[dict[int, tuple[float, float]]]:
    """Where the units of each layer that are drawn are, by their numbers."""
    found = []
    for layer, size in enumerate(sizes):
        units = list(range(size)) if size <= SHOWN else [*range(SHOWN // 2), *range(size - SHOWN // 2, size)]
        n = len(units) + (size > SHOWN)  # one place for the ellipsis
        rows = [n / 2 - 0.5 - i - (1 if size > SHOWN and i >= SHOWN // 2 else 0) for i in range(len(units))]
        found.append({unit: (COLUMN * layer, ROW * row) for unit, row in zip(units, rows, strict=True)})
    return found


def _bend(start: tuple[float, float], end: tuple[float, float]) -> float:
    """The curvature of a line that skips layers, as of Matplotlib's arc3: away from the middle of the picture."""
    return -BEND if start[1] + end[1] >= 0 else BEND


def _limits(net: Any, places: list[dict[int, tuple[float, float]]]) -> tuple[float, float, float, float]:
    """Left, right, low and high end of a picture, with room for long names and for the names of the layers."""
    heights = [y for units in places for _, y in units.values()]
    for source, target in net.connections:
        if target > source + 1:
            pairs = [(start, end) for start in places[source].values() for end in places[target].values()]
            length = COLUMN * (target - source)
            heights += [(start[1] + end[1]) / 2 - _bend(start, end) * length / 2 for start, end in pairs]
    names = net.unit_names or ((),) * len(places)
    longest = [max((len(str(name)) for name in names[layer]), default=0) for layer in (0, -1)]
    left, right = (0.35 + (0.085 * n if n > SHORT else 0) for n in longest)
    return -left, COLUMN * (len(places) - 1) + right, min(heights) - 0.82, max(heights) + 0.3


def _draw_net(ax: Any, net: Any, places: Any, values: Any = None, written: Any = None, *words: str) -> None:
    """Units as circles and weights as lines; the units filled by some values, NaN for none, and numbers written in them.

    `words`: what the values are, and the title.
    """
    left, right, low, high = _limits(net, places)
    ax.set(xlim=(left, right), ylim=(low, high), aspect="equal")
    ax.axis("off")
    ax.set_title(words[1] if words else "weights (red: positive, blue: negative)", fontsize=10)
    _draw_weights(ax, net, places)
    patches, scale, names = need("matplotlib.patches", "plot"), None, net.unit_names
    if values is not None:
        sizes = np.abs(np.concatenate(values, dtype=float))
        limit = float(np.max(sizes, initial=0, where=np.isfinite(sizes))) or 1.0
        norm = need("matplotlib.colors", "plot").Normalize(-limit, limit)
        scale = need("matplotlib.cm", "plot").ScalarMappable(norm, SIGNED)
        ax.figure.colorbar(scale, ax=ax, shrink=0.7, label=words[0])
    figure = ax.get_figure(root=True)
    figure.draw_without_rendering()  # lays it out: the size of the axes is right from here on
    font = 72 / figure.dpi * ax.get_window_extent().width / (right - left) * 2 * RADIUS / 4.5  # for five characters in a unit
    for layer, units in enumerate(places):
        for unit, (x, y) in units.items():
            value = np.nan if values is None else float(values[layer][unit])
            face = scale.to_rgba(value) if scale is not None and np.isfinite(value) else (1.0, 1.0, 1.0, 1.0)
            ax.add_patch(patches.Circle((x, y), RADIUS, facecolor=face, edgecolor=GREY, linewidth=0.8, zorder=2))
            name, outside = "" if names is None else str(names[layer][unit]), {0: -1, len(places) - 1: 1}.get(layer)
            if outside and len(name) > SHORT:
                side = "right" if outside < 0 else "left"
                ax.text(x + outside * (RADIUS + 0.06), y, name, ha=side, va="center", fontsize=max(font, 5))
                name = ""
            lines = [name if len(name) <= SHORT else name[: SHORT - 1] + "…"] if name else []
            if written is not None and np.isfinite(written[layer][unit]):
                lines.append(_number(float(written[layer][unit])))
            if lines and font >= 3:  # points; smaller print cannot be read
                style = {"fontsize": font * 0.9 ** (len(lines) - 1), "color": "white" if sum(face[:3]) < 1.5 else "black"}
                ax.text(x, y, "\n".join(lines), ha="center", va="center", zorder=3, linespacing=1.15, **style)
        if net.layer_sizes[layer] > SHOWN:
            ax.text(COLUMN * layer, 0, "⋮", ha="center", va="center", fontsize=12)
        title = "inputs" if layer == 0 else ("outputs" if layer == len(places) - 1 else f"layer {layer}")
        ax.text(COLUMN * layer, low + 0.05, f"{title}\n{net.layer_sizes[layer]}", ha="center", va="bottom", fontsize=8)


def _draw_weights(ax: Any, net: Any, places: Any) -> None:
    """Weights as lines, coloured by sign, wide and opaque by size; those that skip layers are curved."""
    patches, masks = need("matplotlib.patches", "plot"), net.masks
    largest = max(float(np.abs(w).max()) for w in net.weights) or 1.0
    n_lines = sum(len(places[source]) * len(places[target]) for source, target in net.connections)
    faint = 1 if n_lines < 400 else 0.6
    for (source, target), w in zip(net.connections, net.weights, strict=True):
        mask = masks.get((source, target))
        for i, start in places[source].items():
            for j, end in places[target].items():
                if mask is None or mask[i, j]:
                    size = abs(float(w[i, j])) / largest
                    rad = 0.0 if target == source + 1 else _bend(start, end)
                    shape = {
                        "arrowstyle": "-",
                        "connectionstyle": f"arc3,rad={rad}",
                        "linewidth": 0.3 + 1.9 * size,
                        "zorder": 1,
                    }
                    color, alpha = "#b2182b" if w[i, j] > 0 else "#2166ac", (0.15 + 0.75 * size) * faint
                    ax.add_patch(patches.FancyArrowPatch(start, end, color=color, alpha=alpha, **shape))


def _number(value: float) -> str:
    """A number in at most five characters."""
    size = abs(value)
    if size == 0 or size >= 999.5 or size < 0.005:
        text = f"{value:.0e}".replace("e-0", "e-").replace("e+0", "e").replace("e+", "e") if size else "0"
    else:
        text = f"{value:.2f}" if size < 9.995 else f"{value:.{int(size < 99.95)}f}"
    return text.replace("-", "−")


def _by_epoch(ax: Any) -> None:
    """Label an axis with whole epochs."""
    ax.set_xlabel("epoch")
    ax.xaxis.set_major_locator(need("matplotlib.ticker", "plot").MaxNLocator(integer=True, min_n_ticks=1, steps=[1, 2, 5, 10]))


def learning_curves(history: Any, ax: Any = None) -> Any:
    """Loss, validation loss and validation score of each epoch of a History; returns the axes of the losses."""
    ax = _axes(ax)
    curves = [("training loss", history.loss, BLUE, "-"), ("validation loss", history.validation_loss, ORANGE, "--")]
    drawn = [(name, np.asarray(values, float), color, style) for name, values, color, style in curves if values]
    for name, values, color, style in drawn:
        marker = "o" if len(values) == 1 else None
        ax.plot(np.arange(1, len(values) + 1), values, style, color=color, label=name, marker=marker)
    if drawn:
        every = np.concatenate([values for _, values, _, _ in drawn])
        if every.min() > 0 and every.max() > 10 * every.min():
            ax.set_yscale("log")
    if history.best_epoch is not None and history.validation_loss:
        ax.plot(history.best_epoch + 1, history.validation_loss[history.best_epoch], "o", color=ORANGE, label="best epoch")
    _by_epoch(ax)
    ax.set(ylabel="loss", title="learning curves")
    handles, labels = ax.get_legend_handles_labels()
    if history.validation_score:
        other, n = ax.twinx(), len(history.validation_score)
        dots = {"color": GREY, "marker": "o" if n == 1 else None}
        other.plot(np.arange(1, n + 1), history.validation_score, ":", label="score", **dots)
        other.set_ylabel("validation score")
        more = other.get_legend_handles_labels()
        where = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.16), "ncols": 2, "frameon": False}  # away from both axes
        ax.legend([*handles, *more[0]], [*labels, *more[1]], **where)
    elif labels:
        ax.legend(handles, labels)
    return ax


def layer_statistics(statistics: Any, axes: Any = None) -> Any:
    """The sizes of z, of δ and of the gradient of every layer, by epoch, on three axes (3,).

    `statistics` has lists `z`, `delta` and `gradient`, with an array (n_layers,) for each epoch.  Raises ValueError for other
    than three axes.
    """
    axes = np.ravel(_axes(axes, 3, (12, 3.6)))
    kinds = ("outputs z", statistics.z), ("δ", statistics.delta), ("gradient", statistics.gradient)
    colors = need("matplotlib", "plot").colormaps["viridis"]
    for ax, (name, values) in zip(axes, kinds, strict=True):
        table = np.array(values, float).reshape(len(values), -1 if len(values) else 0)
        for layer in range(table.shape[1]):
            style = {"color": colors(0.9 * layer / max(table.shape[1] - 1, 1)), "marker": "o" if len(table) == 1 else None}
            ax.plot(np.arange(1, len(table) + 1), table[:, layer], label=f"layer {layer + 1}", **style)
        if name != "outputs z" and table.size and table.min() > 0:
            ax.set_yscale("log")
        _by_epoch(ax)
        ax.set(ylabel="norm" if name == "gradient" else "root mean square", title=name)
    if statistics.z:
        where = {"loc": "center left", "bbox_to_anchor": (1.02, 0.5), "frameon": False, "fontsize": 8}
        axes[-1].legend(**where, ncols=1 + len(statistics.z[0]) // 16)
    return axes


def filters(net: Any, shape: Any = None, ax: Any = None) -> Any:
    """The weights from the inputs to each unit of layer 1, as images; returns the axes.

    `shape` is (rows, columns) of the inputs: by default a square if that is possible, else one row.  Raises ValueError if it
    does not fit the inputs.
    """
    n_inputs, (_, target) = net.layer_sizes[0], net.connections[0]
    if shape is None:
        side = round(n_inputs**0.5)
        shape = (side, side) if side * side == n_inputs else (1, n_inputs)
    if np.shape(shape) != (2,) or min(shape) < 1 or shape[0] * shape[1] != n_inputs:
        raise ValueError(f"shape must be (rows, columns) of the {n_inputs} inputs; got {shape!r}")
    rows, columns = (validation.count("shape", number) for number in shape)
    w = net.weights[0].T[:MOST_FILTERS]
    n_columns = min(max(1, int(np.ceil(np.sqrt(len(w) * rows / columns)))), len(w))
    grid = np.full((-(-len(w) // n_columns) * (rows + 1) - 1, n_columns * (columns + 1) - 1), np.nan)
    for number, image in enumerate(w):
        row, column = number // n_columns * (rows + 1), number % n_columns * (columns + 1)
        grid[row : row + rows, column : column + columns] = image.reshape(rows, columns)
    ax = _axes(ax, 1, (6, float(np.clip(0.8 + 5.0 * grid.shape[0] / grid.shape[1], 1.6, 9))))
    limit = float(np.abs(w).max()) or 1.0
    cmap = need("matplotlib", "plot").colormaps[SIGNED].with_extremes(bad="0.8")  # grey between the images
    image = ax.imshow(grid, cmap=cmap, vmin=-limit, vmax=limit, interpolation="nearest")
    ax.figure.colorbar(image, ax=ax, shrink=0.8, label="weight")
    n_units = net.layer_sizes[target]
    which = f"units 0 to {len(w) - 1} of {n_units}" if len(w) < n_units else f"{n_units} unit{'s' * (n_units > 1)}"
    ax.set_title(f"weights from the inputs to layer {target}, {which}", fontsize=10)
    ax.axis("off")
    return ax


def difference_errors(steps: Any, errors: Any, chosen: float | None = None, ax: Any = None) -> Any:
    """The error of central differences over the step: truncation, ~ h², for large steps, rounding, ~ 1 / h, for small ones."""
    ax, steps, errors = _axes(ax), np.asarray(steps, float), np.maximum(np.asarray(errors, float), 1e-17)
    ax.loglog(steps, errors, "o-", color=BLUE, markersize=4, label="error")
    best = int(np.argmin(errors))
    guides = (2, "truncation, ~ h²", steps >= steps[best], "--"), (-1, "rounding, ~ 1 / h", steps <= steps[best], ":")
    for power, name, side, style in guides:
        if side.sum() > 1:
            curve = steps[side] ** power
            height = 4 * np.exp(np.median(np.log(errors[side] / curve)))  # above the curve, not to be hidden by it
            ax.loglog(steps[side], height * curve, style, color=GREY, label=name)
    if chosen is not None:
        ax.axvline(chosen, color=ORANGE, linewidth=1, label=f"chosen step, {chosen:.0e}")
    ax.set(xlabel="step h", ylabel="relative error", title="central differences beside the gradient")
    ax.legend()
    return ax


def error_bars(posterior: Any, X: Any, T: Any, ax: Any = None, *, output: int = 0, levels: tuple[float, ...] = (2, 1)) -> Any:
    """The data X (n_samples, 1), T (n_samples, n_targets), and an output with bands of some standard deviations.

    Raises ValueError if X has more than one column, T another number of rows, or if there is no such output.
    """
    X, T = (validation.numbers(name, value, np.dtype(float)) for name, value in (("X", X), ("T", T)))
    X, T = X.reshape(len(X), -1), T.reshape(len(T), -1)
    if X.shape[1] != 1:
        raise ValueError(f"error bars are drawn for nets with one input; X has {X.shape[1]} columns")
    if len(T) != len(X):
        raise ValueError(f"T must have one row for each of the {len(X)} samples; got {len(T)}")
    if output not in range(T.shape[1]):
        raise ValueError(f"output must be from 0 to {T.shape[1] - 1}, a column of T; got {output!r}")
    x, t, margin = X[:, 0], T[:, output], 0.25 * float(np.ptp(X) or 1.0)
    grid = np.linspace(x.min() - margin, x.max() + margin, 400)
    y, std = (values[:, output] for values in posterior.predict(grid[:, None], return_std=True))
    ax = _axes(ax)
    for level, alpha in zip(sorted(levels, reverse=True), np.linspace(0.18, 0.35, len(levels)), strict=True):
        label = f"± {level:g} standard deviation{'s' * (level != 1)}"
        ax.fill_between(grid, y - level * std, y + level * std, color=BLUE, alpha=alpha, linewidth=0, label=label)
    ax.plot(grid, y, color=BLUE, label="output of the net")
    ax.plot(x, t, ".", color=GREY, markersize=4, label="data")
    room = float(np.ptp(t)) or 2 * max(levels) * float(std.max())  # bands beyond the data may be very wide
    low, high = float(np.min(y - max(levels) * std)), float(np.max(y + max(levels) * std))
    low, high = min(max(low, t.min() - room), t.min()), max(min(high, t.max() + room), t.max())
    ax.set_ylim(low - 0.05 * (high - low), high + 0.05 * (high - low))
    ax.set(xlabel="x", ylabel="y", title="output with error bars")
    ax.legend(fontsize=8)
    return ax
