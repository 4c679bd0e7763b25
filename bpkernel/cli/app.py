"""The program that the commands belong to, and what their options have in common."""

import tempfile
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

import bpkernel

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="Train multilayer perceptrons on the CPU and predict with them.\n\nExample: `bpkernel train digits`",
)
out = Console()
show = partial(out.print, markup=False, soft_wrap=True, highlight=False)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"bpkernel {bpkernel.__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    pass


def sizes_of(text: str, option: str = "--hidden") -> tuple[int, ...]:
    try:
        sizes = tuple(int(size) for size in text.split(",")) if text.strip() else ()
    except ValueError:
        sizes = (0,)
    if any(size < 1 for size in sizes):
        raise typer.BadParameter(
            f"sizes must be integers of at least 1 separated by commas, such as 100,50; got {text!r}", param_hint=option
        )
    return sizes


def choice(*names: str, help: str | None = None, rich_help_panel: str | None = None) -> Any:
    """An option with a fixed set of values."""

    def parse(text: str) -> str:
        if text not in names:
            raise typer.BadParameter(f"{text!r} is not one of {', '.join(names)}")
        return text

    return typer.Option(parser=parse, metavar=f"[{'|'.join(names)}]", help=help, rich_help_panel=rich_help_panel)


def folder(path: Path) -> Path:
    """Make the output folder and check that it is writable, before any work starts."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            return path
    except OSError as error:
        raise typer.BadParameter(f"cannot write into the folder {path}: {error.strerror}", param_hint="--output") from None


def run() -> None:
    """The `bpkernel` command: an error in the input is printed without a traceback, and the exit status is 2."""
    try:
        app()
    except (ValueError, OSError, FloatingPointError, MemoryError) as error:
        message = str(error) or "there is not enough memory"
        Console(stderr=True).print(f"[red]Error:[/red] {escape(message)}", highlight=False, soft_wrap=True)
        raise SystemExit(2) from None
