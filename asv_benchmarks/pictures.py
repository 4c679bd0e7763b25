"""The pictures of the performance record, as SVG.  Libraries differ in marker and dash as well as in colour."""

import io
from collections.abc import Callable
from typing import Any, NamedTuple

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

STYLES: dict[str, dict[str, Any]] = {  # the palette of Okabe and Ito, in order of lightness
    "bpkernel": {"color": "black", "linestyle": "-", "marker": "o", "linewidth": 2.2},
    "scikit-learn": {"color": "#d55e00", "linestyle": "--", "marker": "s"},
    "PyTorch": {"color": "#0072b2", "linestyle": ":", "marker": "^", "linewidth": 1.8},
    "PyTorch compiled": {"color": "#56b4e9", "linestyle": "-.", "marker": "v"},
    "JAX": {"color": "#009e73", "linestyle": (0, (7, 2)), "marker": "D"},
    "back-propagation": {"color": "black", "linestyle": "-", "marker": "o", "linewidth": 2.2},
    "central differences": {"color": "#d55e00", "linestyle": "--", "marker": "s"},
}


def _line(axes: Axes, name: str, x: np.ndarray, rounds: list[np.ndarray]) -> None:
    """Draw the medians over rounds, with quartiles as error bars."""
    low, middle, high = np.array([np.percentile(values, (25, 50, 75)) for values in rounds]).T
    axes.errorbar(x, middle, yerr=(middle - low, high - middle), label=name, markersize=4, capsize=2, **STYLES[name])


def _logarithmic(axes: Axes) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.grid(alpha=0.3)


def _slope(axes: Axes, x: np.ndarray, y: float, power: int, text: str) -> None:
    """Draw a thin grey reference line y ~ x**power over the upper half of x."""
    x = x[len(x) // 2 :]
    axes.plot(x, y * (x / x[-1]) ** power, color="0.6", linewidth=0.9, zorder=0)
    axes.annotate(text, (x[-2], y * (x[-2] / x[-1]) ** power), xytext=(4, -11), textcoords="offset points", color="0.35")


def peers(frame: pd.DataFrame) -> Figure:
    """Training time of each library relative to bpkernel, for each net."""
    nets = list(frame["net"].unique())
    others = [name for name in frame["trainer"].unique() if name != "bpkernel"]
    figure = Figure(figsize=(8, 0.55 * len(nets) + 1.4), layout="constrained")
    axes = figure.subplots()
    table = frame.pivot(index=["net", "round"], columns="trainer", values="us_per_sample")
    for i, name in enumerate(others):
        low, middle, high = np.array(
            [np.percentile(table.loc[net, name] / table.loc[net, "bpkernel"], (25, 50, 75)) for net in nets]
        ).T
        y = np.arange(len(nets)) + 0.18 * (i - (len(others) - 1) / 2)
        style = {**STYLES[name], "linestyle": "none", "linewidth": 1.2}
        axes.errorbar(middle, y, xerr=(middle - low, high - middle), label=name, markersize=5, capsize=2, **style)
    axes.axvline(1, color="black", linewidth=2.2)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xticks([1, 2, 3, 5, 10, 20, 50, 100, 200, 500])
    axes.set_yticks(range(len(nets)), nets)
    axes.invert_yaxis()
    for y in np.arange(len(nets) - 1) + 0.5:
        axes.axhline(y, color="0.9", linewidth=0.8)
    axes.grid(axis="x", alpha=0.3)
    axes.set_xlabel("training time relative to bpkernel (> 1: bpkernel is faster)")
    figure.legend(loc="outside upper center", ncols=len(others), frameon=False)
    return figure


def growth(frame: pd.DataFrame) -> Figure:
    """Time of a training step against number of weights, and against batch size."""
    figure = Figure(figsize=(9.5, 4.6), layout="constrained")
    for axes, axis in zip(figure.subplots(1, 2), ("weights", "batch"), strict=True):
        some = frame[(frame["axis"] == axis) & (frame["what"] == "step")]
        some = some.assign(us=some["us_per_sample"] * some["batch"])
        x = some[axis].unique()
        for name in some["trainer"].unique():
            of = some[some["trainer"] == name]
            _line(axes, name, x, [of[of[axis] == value]["us"].to_numpy() for value in x])
        _logarithmic(axes)
        ours = some[(some["trainer"] == "bpkernel") & (some[axis] == x[-1])]["us"].median()
        _slope(axes, x, 0.6 * ours, 1, "slope 1")
        axes.set_ylabel("time of a training step / µs")
        axes.set_xlabel("number of weights W, with batch size 128" if axis == "weights" else "batch size, with 131,072 weights")
    handles, names = axes.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper center", ncols=len(names), frameon=False)
    return figure


def backward(frame: pd.DataFrame) -> Figure:
    """Time of the backward pass and the optimizer's step, relative to the forward pass."""
    figure = Figure(figsize=(6.5, 4.4), layout="constrained")
    axes = figure.subplots()
    frame = frame[frame["axis"] == "weights"]
    x = frame["weights"].unique()
    table = frame.pivot(index=["trainer", "weights", "round"], columns="what", values="us_per_sample")
    for name in frame["trainer"].unique():
        ratio = table.loc[name]["step"] / table.loc[name]["forward"] - 1
        _line(axes, name, x, [ratio.loc[weights].to_numpy() for weights in x])
    axes.set_xscale("log")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.axhline(1.5, color="0.6", linewidth=0.9, zorder=0, label="multiplications only")
    axes.set_xlabel("number of weights W, with batch size 128")
    axes.set_ylabel("(backward pass + optimizer) / forward pass")
    figure.legend(loc="outside upper center", ncols=3, frameon=False)
    return figure


def differences(frame: pd.DataFrame) -> Figure:
    """Time of the gradient by back-propagation and by central differences."""
    figure = Figure(figsize=(6.5, 4.4), layout="constrained")
    axes = figure.subplots()
    x = frame["weights"].unique()
    for power, name in enumerate(frame["method"].unique(), 1):
        of = frame[frame["method"] == name]
        rounds = [of[of["weights"] == weights]["us"].to_numpy() for weights in x]
        _line(axes, name, x, rounds)
        _slope(axes, x, 0.6 * float(np.median(rounds[-1])), power, f"slope {power}")
    _logarithmic(axes)
    axes.set_xlabel("number of weights W, with 512 samples")
    axes.set_ylabel("time of the gradient / µs")
    figure.legend(loc="outside upper center", ncols=2, frameon=False)
    return figure


SHOWN = {  # nets in the history
    "4-16-3 batch 32 float32 relu": {"color": "#d55e00", "linestyle": "--", "marker": "s"},
    "64-100-10 batch 200 float32 relu": {"color": "black", "linestyle": "-", "marker": "o", "linewidth": 2.2},
    "784-128-10 batch 128 float32 relu": {"color": "#0072b2", "linestyle": ":", "marker": "^", "linewidth": 1.8},
    "784-512-512-10 batch 256 float32 relu": {"color": "#009e73", "linestyle": (0, (7, 2)), "marker": "D"},
    "1024-1024-1024-1024 batch 512 float32 relu": {"color": "#cc79a7", "linestyle": "-.", "marker": "v"},
}


def history(frame: pd.DataFrame) -> Figure:
    """Speed relative to the first commit."""
    frame = frame[frame["benchmark"] == "training.Epoch.time_epoch"]
    figure = Figure(figsize=(8, 4.8), layout="constrained")
    axes = figure.subplots()
    commits = list(frame["commit"].unique())
    for net, style in SHOWN.items():
        some = frame[frame["parameter"] == net].set_index("commit").reindex(commits)
        speed, least, most = (some["value"].iloc[0] / some[column] for column in ("value", "high", "low"))
        bars = np.array([speed - least, most - speed])
        axes.errorbar(range(len(commits)), speed, yerr=bars, label=net, markersize=4, capsize=2, **style)
    axes.set_yscale("log")
    axes.set_yticks([1, 2, 5, 10])
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.grid(alpha=0.3)
    axes.set_xticks(range(len(commits)), commits, rotation=30, ha="right")
    axes.set_ylabel(f"speed relative to commit {commits[0]}")
    axes.set_xlabel("commit, oldest first")
    figure.legend(loc="outside upper center", ncols=2, frameon=False)
    return figure


class Picture(NamedTuple):
    """A picture: the part of the record it shows, its drawing function, and its alternative text."""

    part: str
    draw: Callable[[pd.DataFrame], Figure]
    words: str


PICTURES = {
    "peers": Picture("peers", peers, "Training time of scikit-learn, PyTorch and JAX relative to bpkernel, for each net"),
    "growth": Picture("growth", growth, "Time of a training step against number of weights and against batch size"),
    "backward": Picture(
        "growth", backward, "Time of the backward pass relative to the forward pass, against number of weights"
    ),
    "differences": Picture(
        "differences",
        differences,
        "Time of the gradient by back-propagation and by central differences, against number of weights",
    ),
    "history": Picture("history", history, "Speed of training, by commit"),
}


def draw(parts: dict[str, pd.DataFrame]) -> dict[str, bytes]:
    """Draw the pictures whose part has been measured, as SVG; the same measurements give the same bytes."""
    drawn = {}
    for name, picture in PICTURES.items():
        if picture.part in parts:
            file = io.BytesIO()
            with matplotlib.rc_context({"svg.hashsalt": name, "font.size": 9}):
                about = {"Date": None, "Description": f"sha256 of {picture.part}.csv: {parts[picture.part].attrs['sha256']}"}
                picture.draw(parts[picture.part]).savefig(file, format="svg", metadata=about)
            drawn[name] = file.getvalue()
    return drawn
