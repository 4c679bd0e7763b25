"""The settings of `bpkernel train`: options, the table and the folder of the results."""

from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numba
import typer

from bpkernel.cli.app import folder, sizes_of
from bpkernel.tables import reading, runs
from bpkernel.tables.columns import Overrules
from bpkernel.tables.datasets import DATASETS, dataset
from bpkernel.tables.delimited import TableError
from bpkernel.tables.options import Options

OF_TABLE = {"id": "ids", "drop": "drop", "numeric": "numeric", "categorical": "categorical", "date": "dates"}
WITH_RESUME = {"resume", "quiet", "verbose", "as_json", "threads"}  # all other options are those of the run


@dataclass(frozen=True)
class Job:
    """What `bpkernel train` is to do.

    data : files or the name of a data set.  told : what the user has told of the table.  folder : for the results, if it is
    given.  described : the description of the run that is resumed, or {}.  note : what the user should know.
    """

    data: list[str]
    told: dict[str, Any]
    options: Options
    folder: Path | None
    described: dict[str, Any]
    note: str = ""

    @property
    def kinds(self) -> Overrules:
        """The columns whose kind the user has told."""
        return Overrules(**{field.name: self.told[field.name] for field in fields(Overrules)})

    @property
    def resumes(self) -> bool:
        """Whether an interrupted run goes on."""
        return bool(self.described)


def job_of(arguments: dict[str, Any], given: set[str]) -> Job:
    """What the arguments of the command ask for; `given` are those that the user has set, the others are defaults."""
    resume, again = arguments["resume"], arguments["again"]
    if resume is not None and not given <= WITH_RESUME:
        others = ", ".join(f"--{name.replace('_', '-')}" for name in sorted(given - WITH_RESUME))
        raise typer.BadParameter(f"a run goes on with its own options; leave out {others}", param_hint="--resume")
    earlier: dict[str, Any] = {}
    if resume is not None:
        earlier = runs.unfinished(resume)
    elif again is not None:
        earlier = runs.read_description(again)
    options, told = settings(earlier, arguments, given if earlier else set(arguments), resume or again)
    data, note = arguments["data"] or earlier.get("data", []), ""
    if earlier and not arguments["data"] and runs.digest(data) != earlier.get("sha256"):
        note = f"{', '.join(data)} holds other data than "
        if resume is not None:
            raise TableError(f"{note}when the run began: it cannot go on")
        note += "in that run"
    return Job(data, told, options, resume or arguments["output"], earlier if resume is not None else {}, note)


def use_threads(threads: int) -> None:
    """Set the number of threads; raises BadParameter if there are not so many."""
    most = numba.config.NUMBA_NUM_THREADS
    if threads > most:
        raise typer.BadParameter(f"at most {most} threads are available here; got {threads}", param_hint="--threads")
    numba.set_num_threads(threads)


def settings(
    described: dict[str, Any], arguments: dict[str, Any], given: set[str], path: Path | None
) -> tuple[Options, dict[str, Any]]:
    """The options, and what is told of the table: those of a run, with the `given` ones of the command line in their place."""
    names = [field.name for field in fields(Options)]
    parsed = arguments | {"hidden": sizes_of(arguments["hidden"]), "quantiles": levels_of(arguments["quantiles"])}
    told: dict[str, Any] = asdict(Overrules()) | {"target": None, "header": None, "sheet": None}
    try:
        own = Options.from_json(described["options"]) if described else Options()
        if described:
            told = {name: described["told"][name] for name in told}
    except (KeyError, TypeError):
        raise TableError(f"{path} was written by another version: its options are not known") from None
    own = replace(own, **{name: parsed[name] for name in names if name in given})
    told |= {name: list(arguments[option] or []) for option, name in OF_TABLE.items() if option in given}
    told |= {name: arguments[name] for name in ("target", "header", "sheet", "day_first") if name in given}
    return own, told


def levels_of(text: str) -> tuple[float, ...]:
    try:
        levels = {float(level) for level in text.split(",")} if text.strip() else set()
    except ValueError:
        levels = {0.0}
    if not all(0 < level < 1 for level in levels):
        raise typer.BadParameter(
            f"levels must be numbers between 0 and 1 separated by commas, such as 0.05,0.95; got {text!r}",
            param_hint="--quantiles",
        )
    return tuple(sorted(levels | {0.5})) if levels else ()


def table(data: list[str], told: dict[str, Any]) -> tuple[reading.Read, str]:
    """The table, and a name for the run; the name of the target is added to `told`."""
    if not data:
        raise typer.BadParameter(f"name a table: a file, or one of {', '.join(DATASETS)}", param_hint="DATA")
    if len(data) == 1 and data[0] in DATASETS:
        frame, own = dataset(data[0])
        told["target"] = told["target"] or own
        return reading.Read(frame, [], True), data[0]
    if len(data) == 1 and data[0] != reading.STDIN and not Path(data[0]).suffix and not Path(data[0]).is_file():
        raise typer.BadParameter(f"{data[0]!r} is neither a file nor one of {', '.join(DATASETS)}", param_hint="DATA")
    read = reading.read(data, header=told["header"], sheet=told["sheet"])
    if told["target"] is None:
        raise typer.BadParameter(f"name the column to predict, one of {', '.join(read.frame.columns)}", param_hint="--target")
    return read, "table" if data[0] == reading.STDIN else Path(data[0]).name.split(".")[0] or "table"


def results_folder(path: Path, *, own: bool) -> Path:
    """A new folder for results, made before any work starts."""
    if own and path.is_dir() and any(path.iterdir()):
        raise typer.BadParameter(f"{path} is not empty, and runs are kept: name a new folder", param_hint="--output")
    return folder(path if own else runs.new_folder(path))
