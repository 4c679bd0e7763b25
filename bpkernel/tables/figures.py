"""Plots of training."""

import io

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from bpkernel.history import History


def learning_curve(history: History, title: str, loss: str, score: str) -> bytes:
    """Plot loss and validation score against the epoch, as a PNG; lines differ in dash as well as in colour."""
    figure = Figure(figsize=(7, 6), dpi=150, layout="constrained")
    above, below = figure.subplots(2, sharex=True, height_ratios=(3, 2))
    epochs = range(1, len(history.loss) + 1)
    marker = "o" if len(history.loss) == 1 else None
    above.plot(epochs, history.loss, "-", color="#08519c", marker=marker, label="training")
    above.plot(epochs, history.validation_loss, "--", color="#d94801", marker=marker, label="validation")
    losses = (*history.loss, *history.validation_loss)
    if max(losses) > 10 * min(losses) > 0:
        above.set_yscale("log")
    above.set_ylabel(f"loss ({loss.replace('_', ' ')})")
    below.plot(epochs, history.validation_score, "--", color="#d94801", marker=marker, label="validation")
    below.set_ylabel(f"validation {score}")
    below.set_xlabel("epoch")
    below.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    below.set_xlim(0.5, len(history.loss) + 0.5)
    for axes in (above, below):
        axes.grid(alpha=0.3)
        if history.best_epoch is not None:
            axes.axvline(history.best_epoch + 1, color="0.4", linestyle=":", label=f"kept: epoch {history.best_epoch + 1}")
    above.legend()
    figure.suptitle(title)
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()
