"""Progress of a fit on standard error: a bar in a terminal or in a notebook, elsewhere a line every few seconds."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from bpkernel.extras import need
from bpkernel.history import History


class Bar(Protocol):
    """Something that shows progress."""

    def begin(self) -> None:
        """Training begins."""

    def samples(self, n: int, history: History) -> None:
        """Advance by n samples."""

    def epoch(self, history: History) -> None:
        """Show the figures of the epoch that has just ended."""

    def end(self) -> None:
        """Training has ended."""


def bar(n_samples: int, n_epochs: int, seconds: float) -> Bar:
    """What shows progress here; n_samples: of all epochs, seconds: between two lines."""
    if sys.stderr.isatty():
        return TerminalBar(n_samples, n_epochs)
    if "ipykernel" in sys.modules:
        return NotebookBar(n_samples, n_epochs)
    return Lines(n_samples, n_epochs, seconds)


def in_words(figure: str) -> str:
    """The name of a figure of a history for people."""
    return figure.replace("val_", "validation ").replace("_", " ")


def figures_of(history: History) -> str:
    """The figures of the last epoch in words."""
    figures = [f"{in_words(name)} {values[-1]:.4g}" for name, values in history.figures().items()]
    if history.validation_score:
        figures.append(f"validation score {history.validation_score[-1]:.4f}")
    return "  ".join([*figures, f"{history.samples_per_second[-1]:,.0f} samples/s"])


class TerminalBar:
    """A bar over all epochs with the current figures and speed, drawn by rich."""

    def __init__(self, n_samples: int, n_epochs: int):
        progress, console = need("rich.progress", "cli"), need("rich.console", "cli")
        self._n_epochs = n_epochs
        self._bar: Any = progress.Progress(
            progress.TextColumn("{task.fields[epoch]}"),
            progress.BarColumn(bar_width=None),
            progress.TextColumn("{task.fields[figures]}"),
            console=console.Console(stderr=True),
            expand=True,
        )
        self._task = self._bar.add_task("", total=n_samples, epoch="compiling (only once per machine)", figures="")

    def begin(self) -> None:
        self._bar.start()

    def samples(self, n: int, history: History) -> None:
        self._bar.update(self._task, advance=n, epoch=f"epoch {min(len(history.loss) + 1, self._n_epochs)}/{self._n_epochs}")

    def epoch(self, history: History) -> None:
        self._bar.update(self._task, figures=figures_of(history))

    def end(self) -> None:
        self._bar.stop()


class NotebookBar:
    """A bar over all epochs, drawn by tqdm, which has one for notebooks with and without ipywidgets."""

    def __init__(self, n_samples: int, n_epochs: int):
        self._bar: Any = need("tqdm.auto", "cli").tqdm(total=n_epochs, unit="epoch")

    def begin(self) -> None:
        pass

    def samples(self, n: int, history: History) -> None:
        pass

    def epoch(self, history: History) -> None:
        self._bar.set_postfix_str(figures_of(history), refresh=False)
        self._bar.update()

    def end(self) -> None:
        self._bar.close()


class Lines:
    """A line every few seconds, for log files."""

    def __init__(self, n_samples: int, n_epochs: int, seconds: float):
        self._n_samples, self._n_epochs, self._seconds, self._seen = n_samples, n_epochs, seconds, 0
        self._last = time.monotonic()
        self._unshown: History | None = None  # with an epoch that no line has shown

    def begin(self) -> None:
        pass

    def samples(self, n: int, history: History) -> None:
        self._seen += n
        if time.monotonic() - self._last >= self._seconds:
            self._show(history)

    def epoch(self, history: History) -> None:
        self._unshown = history
        if len(history.loss) == self._n_epochs or time.monotonic() - self._last >= self._seconds:
            self._show(history)

    def end(self) -> None:
        if self._unshown is not None:
            self._show(self._unshown)

    def _show(self, history: History) -> None:
        self._last, self._unshown = time.monotonic(), None
        figures = figures_of(history) if history.loss else "first epoch"
        line = f"epoch {len(history.loss)}/{self._n_epochs}  {self._seen / self._n_samples:.0%}  {figures}"
        print(line, file=sys.stderr, flush=True)


@contextmanager
def count_bar(n: int, unit: str, *, shown: bool, seconds: float = 5.0) -> Iterator[Callable[[int, str], None]]:
    """A function that counts some of n things more, and shows how many there are with a note: a bar, or lines now and then."""
    if not shown or not sys.stderr.isatty():
        done, last = 0, time.monotonic()

        def advance(more: int, note: str) -> None:
            nonlocal done, last
            done += more
            if shown and more > 0 and (done == n or time.monotonic() - last >= seconds):
                last = time.monotonic()
                print(f"{unit} {done}/{n}  {note}".rstrip(), file=sys.stderr, flush=True)

        yield advance
        return
    bar = need("tqdm.auto", "cli").tqdm(total=n, unit=unit)

    def show(more: int, note: str) -> None:
        bar.set_postfix_str(note, refresh=False)
        bar.update(more)

    try:
        yield show
    finally:
        bar.close()
