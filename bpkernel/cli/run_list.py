"""The command that lists and compares runs."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from bpkernel.cli.app import app, out
from bpkernel.tables import evidence, runs
from bpkernel.tables.delimited import TableError

Run = tuple[Path, dict[str, Any], dict[str, Any]]  # folder, description, scores


@app.command("runs")
def list_runs(
    where: Annotated[
        list[Path] | None, typer.Argument(help="A folder with runs, or the folders of several runs to compare. Default: runs.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the runs as JSON, for programs.")] = False,
) -> None:
    """List the runs in a folder with their scores, the oldest first, or compare several runs.

    A comparison shows all scores of the test rows, and the options in which the runs differ.

    Example: `bpkernel runs`, and `bpkernel runs runs/iris runs/iris-2`
    """
    folders = where or [Path("runs")]
    missing = [str(folder) for folder in folders if not folder.is_dir()]
    if missing:
        raise TableError(f"there is no folder {', '.join(missing)}: 'bpkernel train' makes it")
    found = [run for folder in folders for run in runs.found(folder)]
    if as_json:
        rows = [{"folder": str(path), "run": run, "scores": scores} for path, run, scores in found]
        print(json.dumps(rows, ensure_ascii=False))
    elif len(folders) > 1:
        out.print(_compared(found))
    else:
        out.print(_listed(found))


def _listed(found: list[Run]) -> Table:
    table = Table("run", "started", "target", "net", "score on test rows", "by guess", "seconds")
    for path, run, scores in found:
        row = [escape(str(path)), str(run["started"])[:16].replace("T", " "), escape(str(run["told"]["target"]))]
        if not scores:
            table.add_row(*row, "", "not finished: train --resume", "", "")
            continue
        main = evidence.main_score_in(scores["test"])
        nets = f"{run['nets']} x " if run["nets"] > 1 else ""
        score = f"{evidence.SHOWN[main]} {_number(scores['test'].get(main))}"
        guess, net = _number(scores["guess"].get(main)), nets + "-".join(map(str, run["net"]))
        table.add_row(*row, net, score, guess, f"{run['seconds']:.1f}")
    return table


def _compared(found: list[Run]) -> Table:
    table = Table("", *(escape(str(path)) for path, _, _ in found))
    tests = [scores.get("test", {}) for _, _, scores in found]
    for name, words in evidence.SHOWN.items():
        if any(name in test for test in tests):
            table.add_row(f"test: {words}", *(_number(test.get(name)) for test in tests))
    table.add_row("seconds", *(f"{run['seconds']:.1f}" if "seconds" in run else "" for _, run, _ in found), end_section=True)
    settings = [
        {"data": ", ".join(run["data"]), "SHA-256": str(run["sha256"])[:12], "bpkernel": run["versions"]["bpkernel"]}
        | {f"column option {name}": value for name, value in run["told"].items()}
        | run["options"]
        for _, run, _ in found
    ]
    for name in dict.fromkeys(name for own in settings for name in own):
        values = [str(own.get(name, "")) for own in settings]
        if len(set(values)) > 1:
            table.add_row(escape(name.replace("_", "-")), *map(escape, values))
    return table


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
