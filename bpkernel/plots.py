"""Pictures of nets, of their training and of their derivatives, with Matplotlib (the extra `plot`).

Every function draws on the axes that it is given, or on those of a new figure, and returns them.  Negative numbers are blue,
positive ones red.
"""

from typing import Any

import numpy as np

from bpkernel.extras import need

BLUE, ORANGE, GREY = "#08519c", "#d94801", "#636363"
SIGNED = "RdBu_r"  # colours of numbers around 0
SHOWN, MOST_FILTERS = 10, 64  # units of a layer, and filters, that are drawn
RADIUS = 0.16


def _axes(ax: Any, n: int = 1, size: tuple[float, float] = (6, 4)) -> Any:
    """The axes that are given, or n new ones side by side."""
    if ax is not None:
        return ax
    return need("matplotlib.pyplot", "plot").subplots(1, n, figsize=size, layout="constrained")[1]


def net_diagram(net: Any, x: Any = None, t: Any = None, ax: Any = None) -> Any:
    """A net with its units and weights; with a sample x (n_inputs,) and t (n_targets,) also its z and δ, on two axes."""
    if (x is None) != (t is None):
        raise ValueError("plot needs both x and t of a sample, or none of them")
    width = 2.2 + 1.4 * len(net.layer_sizes)
    height = 1.2 + 0.42 * min(max(net.layer_sizes), SHOWN + 1)
    if x is None:
        ax = _axes(ax, 1, (width, height))
        _draw_net(ax, net, None)
        ax.set_title("weights")
        return ax
    r = net.backprop(np.reshape(x, (1, -1)), np.reshape(t, (1, -1)))
    axes = np.atleast_1d(_axes(ax, 2, (2 * width, height)))
    if len(axes) != 2:
        raise ValueError("with x and t, ax must be two Axes")
    z = [block[0] for block in r.z]
    delta = [np.full(net.layer_sizes[0], np.nan), *(block[0] for block in r.delta[1:])]
    a = [z[0], *(block[0] for block in r.a[1:])]
    titles = "forward: z (colours), a (numbers)", "backward: δ = ∂E/∂a"
    for each, values, written, title in zip(axes, (z, delta), (a, delta), titles, strict=True):
        _draw_net(each, net, values, written)
        each.set_title(title)
    return axes


def _places(sizes: tuple[int, ...]) -> list[dict[int, tuple[float, float]]]:
    """Where the units of each layer that are drawn are, by their numbers."""
    found = []
    for layer, size in enumerate(sizes):
        units = list(range(size)) if size <= SHOWN else [*range(SHOWN // 2), *range(size - SHOWN // 2, size)]
        n = len(units) + (size > SHOWN)  # one place for the ellipsis
        rows = [n / 2 - 0.5 - i - (1 if size > SHOWN and i >= SHOWN // 2 else 0) for i in range(len(units))]
        found.append({unit: (1.8 * layer, 0.5 * row) for unit, row in zip(units, rows, strict=True)})
    return found


def _draw_net(ax: Any, net: Any, values: list[np.ndarray] | None, written: list[np.ndarray] | None = None) -> None:
    """Units as circles and weights as lines; the units filled by some values, NaN for none, and numbers written in them."""
    colors, patches = need("matplotlib.colors", "plot"), need("matplotlib.patches", "plot")
    cm = need("matplotlib.cm", "plot")
    places, sizes = _places(net.layer_sizes), net.layer_sizes
    largest = max(float(np.abs(w).max()) for w in net.weights) or 1.0
    n_lines = sum(len(places[source]) * len(places[target]) for source, target in net.connections)
    for (source, target), w in zip(net.connections, net.weights, strict=True):
        mask = net.masks.get((source, target), np.ones(w.shape, bool))
        bend = 0.0 if target == source + 1 else 0.18
        for i, start in places[source].items():
            for j, end in places[target].items():
                if mask[i, j]:
                    size = abs(w[i, j]) / largest
                    line = patches.FancyArrowPatch(
                        start,
                        end,
                        arrowstyle="-",
                        connectionstyle=f"arc3,rad={bend}",
                        color="#b2182b" if w[i, j] > 0 else "#2166ac",
                        linewidth=0.3 + 1.9 * size,
                        alpha=(0.15 + 0.75 * size) * (1 if n_lines < 400 else 0.6),
                        zorder=1,
                    )
                    ax.add_patch(line)
    scale = None
    if values is not None:
        finite = np.concatenate([v[np.isfinite(v)] for v in values])
        limit = float(np.abs(finite).max()) if finite.size else 0.0
        scale = cm.ScalarMappable(colors.Normalize(-(limit or 1.0), limit or 1.0), SIGNED)
        ax.figure.colorbar(scale, ax=ax, shrink=0.7)
    names = net.unit_names
    for layer, units in enumerate(places):
        for unit, place in units.items():
            value = None if values is None else values[layer][unit]
            filled = scale is not None and value is not None and np.isfinite(value)
            face = scale.to_rgba(value) if filled and scale is not None else "white"
            ax.add_patch(patches.Circle(place, RADIUS, facecolor=face, edgecolor=GREY, linewidth=1, zorder=2))
            text = "" if names is None else str(names[layer][unit])[:4]
            if written is not None and np.isfinite(written[layer][unit]):
                text = f"{written[layer][unit]:.2f}" if not text else f"{text}\n{written[layer][unit]:.2f}"
            dark = filled and sum(face[:3]) < 1.5
            ax.text(*place, text, ha="center", va="center", fontsize=5, color="white" if dark else "black", zorder=3)
        x = 1.8 * layer
        lowest = min(y for _, y in units.values())
        if sizes[layer] > SHOWN:
            middle = sum(list(units.values())[SHOWN // 2 - 1 + i][1] for i in (0, 1)) / 2
            ax.text(x, middle, "⋮", ha="center", va="center", fontsize=12)
        name = "inputs" if layer == 0 else ("outputs" if layer == len(places) - 1 else f"layer {layer}")
        ax.text(x, lowest - 0.35, f"{name}\n{sizes[layer]}", ha="center", va="top", fontsize=8)
    low = min(y for units in places for _, y in units.values())
    high = max(y for units in places for _, y in units.values())
    ax.set_xlim(-0.6, 1.8 * (len(places) - 1) + 0.6)
    ax.set_ylim(low - 1.1, high + 0.4)
    ax.set_aspect("equal")
    ax.axis("off")


def learning_curves(history: Any, ax: Any = None) -> Any:
    """Loss, validation loss and validation score of each epoch."""
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
    handles, labels = ax.get_legend_handles_labels()
    if history.validation_score:
        other = ax.twinx()
        other.plot(np.arange(1, len(history.validation_score) + 1), history.validation_score, ":", color=GREY, label="score")
        other.set_ylabel("validation score")
        handles, labels = ([*a, *b] for a, b in zip((handles, labels), other.get_legend_handles_labels(), strict=True))
    ax.set(xlabel="epoch", ylabel="loss", title="learning curves")
    if labels:
        ax.legend(handles, labels)
    return ax


def layer_statistics(statistics: Any, axes: Any = None) -> Any:
    """The sizes of z, of δ and of the gradient of every layer, by epoch, on three axes."""
    axes = _axes(axes, 3, (12, 3.6))
    kinds = ("outputs z", statistics.z), ("δ", statistics.delta), ("gradient", statistics.gradient)
    colors = need("matplotlib", "plot").colormaps["viridis"]
    for ax, (name, values) in zip(axes, kinds, strict=True):
        table = np.array(values, float).reshape(len(values), -1)
        n_layers = table.shape[1]
        for layer in range(n_layers):
            color = colors(0.9 * layer / max(n_layers - 1, 1))
            marker = "o" if len(table) == 1 else None
            ax.plot(np.arange(1, len(table) + 1), table[:, layer], color=color, label=f"layer {layer + 1}", marker=marker)
        if name != "outputs z" and table.size and table.min() > 0:
            ax.set_yscale("log")
        kind = "norm" if name == "gradient" else "root mean square"
        ax.set(xlabel="epoch", ylabel=kind, title=name)
    if statistics.z:
        axes[-1].legend()
    return axes


def filters(net: Any, shape: Any = None, ax: Any = None) -> Any:
    """The weights from the inputs to each unit of layer 1, as images."""
    n_inputs, (_, target) = net.layer_sizes[0], net.connections[0]
    if shape is None:
        side = round(n_inputs**0.5)
        shape = (side, side) if side * side == n_inputs else (1, n_inputs)
    if len(shape) != 2 or shape[0] * shape[1] != n_inputs:
        raise ValueError(f"shape must be (rows, columns) of the {n_inputs} inputs; got {shape!r}")
    w = net.weights[0].T[:MOST_FILTERS]
    n_columns = max(1, int(np.ceil(np.sqrt(len(w) * shape[0] / shape[1]))))
    n_rows = -(-len(w) // n_columns)
    grid = np.full((n_rows * (shape[0] + 1) - 1, n_columns * (shape[1] + 1) - 1), np.nan)
    for number, image in enumerate(w):
        row, column = number // n_columns * (shape[0] + 1), number % n_columns * (shape[1] + 1)
        grid[row : row + shape[0], column : column + shape[1]] = image.reshape(shape)
    ax = _axes(ax, 1, (6, 0.8 + 5.0 * grid.shape[0] / grid.shape[1]))
    limit = float(np.abs(w).max()) or 1.0
    image = ax.imshow(grid, cmap=SIGNED, vmin=-limit, vmax=limit, interpolation="nearest")
    ax.figure.colorbar(image, ax=ax, shrink=0.8, label="weight")
    n_units = net.layer_sizes[target]
    which = f"units 0 to {len(w) - 1} of {n_units}" if len(w) < n_units else f"{n_units} units"
    ax.set_title(f"weights from the inputs to layer {target}, {which}")
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
            at = np.flatnonzero(side)[len(np.flatnonzero(side)) // 2]
            ax.loglog(steps[side], errors[at] * (steps[side] / steps[at]) ** power, style, color=GREY, label=name)
    if chosen is not None:
        ax.axvline(chosen, color=ORANGE, linewidth=1, label=f"chosen step, {chosen:.0e}")
    ax.set(xlabel="step h", ylabel="relative error", title="central differences beside the gradient")
    ax.legend()
    return ax


def error_bars(posterior: Any, X: Any, T: Any, ax: Any = None, *, output: int = 0, levels: tuple[float, ...] = (2, 1)) -> Any:
    """The data, and an output with bands of some standard deviations, for a net with one input."""
    X, T = np.asarray(X, float), np.asarray(T, float)
    X, T = X.reshape(len(X), -1), T.reshape(len(T), -1)
    if X.shape[1] != 1:
        raise ValueError(f"error bars are drawn for nets with one input; X has {X.shape[1]} columns")
    ax, margin = _axes(ax), 0.25 * float(np.ptp(X) or 1.0)
    grid = np.linspace(X.min() - margin, X.max() + margin, 400)
    y, std = (values[:, output] for values in posterior.predict(grid[:, None], return_std=True))
    for level, alpha in zip(sorted(levels, reverse=True), np.linspace(0.18, 0.35, len(levels)), strict=True):
        label = f"± {level:g} standard deviation{'s' * (level != 1)}"
        ax.fill_between(grid, y - level * std, y + level * std, color=BLUE, alpha=alpha, linewidth=0, label=label)
    ax.plot(grid, y, color=BLUE, label="output of the net")
    ax.plot(X[:, 0], T[:, output], ".", color=GREY, markersize=4, label="data")
    low, high = T[:, output].min(), T[:, output].max()
    ax.set_ylim(low - 0.8 * (high - low) - 1e-12, high + 0.8 * (high - low) + 1e-12)
    ax.set(xlabel="x", ylabel="y", title="output with error bars")
    ax.legend(fontsize=8)
    return ax
