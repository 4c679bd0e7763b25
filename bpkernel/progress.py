"""A progress bar in the terminal."""

from types import TracebackType
from typing import Any

from bpkernel.extras import need
from bpkernel.history import History


class Bar:
    """A bar over all epochs with the current loss, validation score and speed, drawn by rich on standard error.

    `history` is the History of the run so far.
    """

    def __init__(self, n_samples: int, epochs: int):
        progress, console = need("rich.progress", "cli"), need("rich.console", "cli")
        self._epochs = epochs
        self._bar: Any = progress.Progress(
            progress.TextColumn("{task.fields[epoch]}"),
            progress.BarColumn(bar_width=None),
            progress.TextColumn("{task.fields[figures]}"),
            console=console.Console(stderr=True),
            expand=True,
        )
        self._task = self._bar.add_task("", total=n_samples * epochs, epoch="compiling (only once per machine)", figures="")

    def __enter__(self) -> "Bar":
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._bar.stop()

    def samples(self, n: int, history: History) -> None:
        """Advance by n samples."""
        self._bar.update(self._task, advance=n, epoch=f"epoch {min(len(history.loss) + 1, self._epochs)}/{self._epochs}")

    def epoch(self, history: History) -> None:
        """Show the figures of the epoch that has just ended."""
        figures = [f"loss {history.loss[-1]:.4g}"]
        if history.validation_score:
            figures.append(f"validation {history.validation_score[-1]:.4f}")
        elif history.validation_loss:
            figures.append(f"validation loss {history.validation_loss[-1]:.4g}")
        figures.append(f"{history.samples_per_second[-1]:,.0f} samples/s")
        self._bar.update(self._task, figures="  ".join(figures))
