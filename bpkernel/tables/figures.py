"""Plots of training, and of predictions of rows that no net has seen; lines differ in dash as well as in colour."""

import io
from collections.abc import Callable
from itertools import cycle
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from sklearn import metrics
from sklearn.calibration import calibration_curve

TRAINING, VALIDATION = "#08519c", "#d94801"


DASHES = ("-", "--", "-.", ":")
SHADES = ("#08306b", "#d94801", "#4292c6", "#7f2704", "#238b45", "#6a51a3", "#969696", "#000000")
MOST_LINES = 8  # of classes in one plot
MOST_POINTS = 3000  # of rows in one plot
MOST_BARS = 20  # of columns in one plot
BINS = 10  # of predicted probabilities
SIZE = (5.0, 4.2)  # inches


def png(figure: Figure) -> bytes:
    """A figure as a PNG."""
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()


def svg(figure: Figure) -> bytes:
    """A figure as an SVG whose letters are outlines; the same figure has the same bytes."""
    file = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "bpkernel", "svg.fonttype": "path"}):
        figure.savefig(file, format="svg", metadata={"Date": None})
    return file.getvalue()


def learning_curve(history: pd.DataFrame, title: str, loss: str, width: float = 7.0) -> Figure:
    """Plot loss and validation score against the epoch, as a picture.

    history : as of `runs.history_of`.  Of several nets each is a thin line, and their mean a thick one, as long as all of them
    were trained.
    """
    others = [name for name in map(str, history) if name.startswith("validation_") and name != "validation_loss"]
    figure = Figure(figsize=(width, 6 if others else 4), dpi=150, layout="constrained")
    rows = figure.subplots(1 + len(others), sharex=True, height_ratios=[3] + [2] * len(others), squeeze=False)[:, 0]
    _lines(rows[0], history, "loss", "-", TRAINING, "training")
    _lines(rows[0], history, "validation_loss", "--", VALIDATION, "validation")
    losses = history[["loss", "validation_loss"]].to_numpy()
    if losses.max() > 10 * losses.min() > 0:
        rows[0].set_yscale("log")
    rows[0].set_ylabel(f"loss ({loss.replace('_', ' ')})")
    for axes, name in zip(rows[1:], others, strict=True):
        _lines(axes, history, name, "--", VALIDATION, "validation")
        axes.set_ylabel(name.replace("_", " ").replace("r2", "R²"))
    rows[-1].set_xlabel("epoch")
    rows[-1].xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    rows[-1].set_xlim(0.5, history["epoch"].max() + 0.5)
    kept = history[history["kept"]]
    for axes, column in zip(rows, ["validation_loss", *others], strict=True):
        axes.grid(alpha=0.3)
        axes.plot(kept["epoch"], kept[column], "o", color="black", markersize=4, label="weights that are kept")
    rows[0].legend()
    figure.suptitle(title)
    return figure


def _lines(axes: Axes, history: pd.DataFrame, column: str, dash: str, colour: str, label: str) -> None:
    table = history.pivot(index="epoch", columns="net", values=column)
    marker = "o" if len(table) == 1 else None
    if table.shape[1] > 1:
        for net in table:
            axes.plot(table.index, table[net], dash, color=colour, marker=marker, linewidth=0.6, alpha=0.5)
        table = table.dropna()
    mean = table.mean(axis=1)
    axes.plot(mean.index, mean, dash, color=colour, marker=marker, label=label + (", mean" if history["net"].max() > 1 else ""))


def _new(title: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=SIZE, layout="constrained")
    axes = figure.subplots()
    axes.set_title(title, fontsize=11)
    return figure, axes


def confusion(matrix: list[list[int]], names: list[str]) -> Figure:
    """The rows of each true class (down) by the predicted class (across); shades are shares of the true class."""
    counts = np.array(matrix)
    n = len(counts)
    figure, axes = _new("Confusion matrix")
    figure.set_size_inches(max(SIZE[0], 0.55 * n + 2), max(SIZE[1], 0.5 * n + 1.5))
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    ticks = [_short(name) for name in names]
    axes.set_xticks(range(n), ticks, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(n), ticks)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    if n <= 30:
        for i, row in enumerate(counts):
            for j, count in enumerate(row):
                axes.text(j, i, f"{count}", ha="center", va="center", color="white" if shares[i, j] > 0.5 else "black")
    figure.colorbar(image, label="share of the true class")
    return figure


def roc(true: np.ndarray, probabilities: np.ndarray, names: list[str]) -> Figure:
    """Receiver operating characteristic: of the second of two classes, or of each class against the others."""
    figure, axes = _new("ROC curve")
    axes.plot([0, 1], [0, 1], ":", color="0.5", label="guess")

    def line(axes: Axes, is_class: np.ndarray, scores: np.ndarray, style: dict[str, Any], name: str) -> None:
        false, hit, _ = metrics.roc_curve(is_class, scores)
        axes.plot(false, hit, label=f"{name} (area {metrics.auc(false, hit):.3f})", **style)

    _each_class(axes, true, probabilities, names, line)
    axes.set_xlabel("false positive rate")
    axes.set_ylabel("true positive rate")
    axes.legend(fontsize=8, loc="lower right")
    return figure


def precision_recall(true: np.ndarray, probabilities: np.ndarray, names: list[str]) -> Figure:
    """Precision against recall: of the second of two classes, or of each class against the others."""
    figure, axes = _new("Precision and recall")

    def line(axes: Axes, is_class: np.ndarray, scores: np.ndarray, style: dict[str, Any], name: str) -> None:
        precision, recall, _ = metrics.precision_recall_curve(is_class, scores)
        area = metrics.average_precision_score(is_class, scores)
        axes.plot(recall, precision, label=f"{name} (area {area:.3f}, share {is_class.mean():.3f})", **style)

    _each_class(axes, true, probabilities, names, line)
    axes.set_xlabel("recall")
    axes.set_ylabel("precision")
    axes.set_ylim(-0.03, 1.03)
    axes.legend(fontsize=8, loc="lower left")
    return figure


def calibration(true: np.ndarray, probabilities: np.ndarray, names: list[str]) -> Figure:
    """How often a class occurs where it is predicted with some probability; below, how many rows have that probability."""
    figure = Figure(figsize=SIZE, layout="constrained")
    above, below = figure.subplots(2, sharex=True, height_ratios=(3, 1))
    above.set_title("Calibration", fontsize=11)
    above.plot([0, 1], [0, 1], ":", color="0.5", label="perfect")

    def line(axes: Axes, is_class: np.ndarray, scores: np.ndarray, style: dict[str, Any], name: str) -> None:
        share, predicted = calibration_curve(is_class, np.clip(scores, 0, 1), n_bins=BINS)
        axes.plot(predicted, share, marker="o", markersize=3, label=name, **style)

    _each_class(above, true, probabilities, names, line)
    shown = probabilities[:, 1] if len(names) == 2 else probabilities.max(axis=1)
    below.hist(shown, bins=BINS, range=(0, 1), color="0.6", edgecolor="black", linewidth=0.5)
    what = f"probability of {_short(names[1])}" if len(names) == 2 else "predicted probability (bars: the highest of a row)"
    below.set_xlabel(what)
    below.set_ylabel("rows")
    above.set_ylabel("share of rows")
    above.legend(fontsize=8)
    return figure


def _each_class(axes: Axes, true: np.ndarray, probabilities: np.ndarray, names: list[str], line: Callable[..., None]) -> None:
    """Draw a line for the second of two classes, or for the most frequent classes, that occur but not always."""
    counts = np.bincount(true, minlength=len(names))
    codes = [1] if len(names) == 2 else np.sort(np.argsort(-counts, kind="stable")[:MOST_LINES]).tolist()
    for code, shade, dash in zip(codes, SHADES, cycle(DASHES), strict=False):
        if 0 < counts[code] < len(true):
            line(axes, true == code, probabilities[:, code], {"color": shade, "linestyle": dash}, _short(names[code]))


def predictions(true: np.ndarray, predicted: np.ndarray, name: str) -> Figure:
    """Predicted against true numbers, in the units of the target."""
    figure, axes = _new("Predictions")
    rows = _some(len(true))
    axes.plot(true[rows], predicted[rows], ".", color=TRAINING, markersize=4, alpha=0.5, label="test rows")
    ends = [min(true.min(), predicted.min()), max(true.max(), predicted.max())]
    axes.plot(ends, ends, "--", color="0.3", label="perfect")
    axes.set_xlabel(f"true {_short(name)}")
    axes.set_ylabel(f"predicted {_short(name)}")
    axes.legend(fontsize=8)
    return figure


def residuals(true: np.ndarray, predicted: np.ndarray, name: str) -> Figure:
    """Residuals against predictions, and their distribution."""
    figure = Figure(figsize=SIZE, layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(3, 1))
    left.set_title("Residuals", fontsize=11)
    errors, rows = true - predicted, _some(len(true))
    left.plot(predicted[rows], errors[rows], ".", color=TRAINING, markersize=4, alpha=0.5)
    right.hist(errors, bins=30, orientation="horizontal", color="0.6", edgecolor="black", linewidth=0.5)
    for axes in (left, right):
        axes.axhline(0, color="0.3", linestyle="--")
    left.set_xlabel(f"predicted {_short(name)}")
    left.set_ylabel("true - predicted")
    right.set_xlabel("rows")
    return figure


def intervals(true: np.ndarray, quantiles: np.ndarray, levels: list[float], name: str) -> Figure:
    """Predicted quantiles and true numbers of some rows, in the order of the median."""
    figure, axes = _new("Quantiles")
    rows = _some(len(true), 60)
    rows = rows[np.argsort(quantiles[rows, levels.index(0.5)], kind="stable")]
    x = np.arange(len(rows))
    axes.vlines(x, quantiles[rows, 0], quantiles[rows, -1], color="0.7", linewidth=3, label=f"{levels[0]:g} to {levels[-1]:g}")
    axes.plot(x, quantiles[rows, levels.index(0.5)], "_", color="black", label="median")
    axes.plot(x, true[rows], "o", markersize=3, color=VALIDATION, label="true")
    axes.set_xlabel("test rows, by their median")
    axes.set_ylabel(_short(name))
    axes.legend(fontsize=8)
    return figure


def importances(found: dict[str, dict[str, Any]], score: str) -> Figure:
    """By how much the score falls when a column is shuffled, of the most important columns."""
    shown = list(found.items())[:MOST_BARS][::-1]
    figure, axes = _new("Importance of columns")
    figure.set_size_inches(SIZE[0], max(2.0, 0.28 * len(shown) + 1.2))
    drops, spread = [entry["drop"] for _, entry in shown], [entry["drop_std"] for _, entry in shown]
    axes.barh(range(len(shown)), drops, xerr=spread, color="#6baed6", edgecolor="black", linewidth=0.5)
    axes.set_yticks(range(len(shown)), [_short(name) for name, _ in shown])
    axes.set_xlabel(f"drop of {score} when the column is shuffled")
    axes.axvline(0, color="0.3", linewidth=0.8)
    return figure


def _some(n: int, most: int = MOST_POINTS) -> np.ndarray:
    """At most so many of n rows, at random but always the same."""
    return np.sort(np.random.default_rng(0).permutation(n)[:most])


def _short(name: str) -> str:
    """A name on one short line, in which matplotlib finds no formulas."""
    text = " ".join(name.split())
    text = text if len(text) <= 24 else text[:23] + "…"
    return text.replace("$", r"\$")
