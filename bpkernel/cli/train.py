"""The command that trains a net on a table."""

import json
import shlex
import time
from collections.abc import Iterable
from dataclasses import asdict, fields
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from bpkernel.cli.app import app, choice, folder, out, show, sizes_of
from bpkernel.functions.activations import HIDDEN, HiddenActivation
from bpkernel.functions.losses import LossName
from bpkernel.tables import evidence, leaks, reading, runs, training_run
from bpkernel.tables.columns import Column, Overrules
from bpkernel.tables.datasets import DATASETS, dataset
from bpkernel.tables.delimited import TableError
from bpkernel.validation import FloatName

DEFAULTS = training_run.Options()
KINDS = tuple(field.name for field in fields(Overrules))


def _fraction(help: str) -> Any:
    return typer.Option(min=0.01, max=0.9, help=help)


def _columns(help: str) -> Any:
    return typer.Option(help=f"{help} May be repeated.", show_default=False)


@app.command()
def train(
    data: Annotated[
        list[str] | None,
        typer.Argument(help=f"{', '.join(DATASETS)}, or files with the same columns: {reading.FORMATS}; - for standard input."),
    ] = None,
    target: Annotated[str | None, typer.Option(help="Column to predict; required for a file.")] = None,
    drop: Annotated[list[str] | None, _columns("Column to leave out.")] = None,
    id: Annotated[
        list[str] | None, _columns("Column that names the rows: not used, and carried through to predictions.")
    ] = None,
    numeric: Annotated[list[str] | None, _columns("Column of numbers; cells that are none count as missing.")] = None,
    categorical: Annotated[list[str] | None, _columns("Column of categories, even if they look like numbers.")] = None,
    date: Annotated[list[str] | None, _columns("Column of dates; cells that are none count as missing.")] = None,
    header: Annotated[
        bool | None, typer.Option(help="Whether text begins with the names of the columns. Default: told from the text.")
    ] = None,
    sheet: Annotated[str | None, typer.Option(help="Sheet of an Excel file. Default: the first.")] = None,
    hidden: Annotated[str, typer.Option(help="Units of each hidden layer; '' for none.")] = ",".join(map(str, DEFAULTS.hidden)),
    activation: Annotated[HiddenActivation, choice(*HIDDEN, help="Activation of the hidden layers.")] = DEFAULTS.activation,
    task: Annotated[
        str | None,
        choice("classification", "regression", help="Kind of problem. Default: told from the target."),
    ] = None,
    loss: Annotated[
        LossName | None,
        choice(*training_run.OUTPUTS, help="Loss. Default: cross_entropy for classification, squared_error for regression."),
    ] = None,
    optimizer: Annotated[str, choice("adam", "sgd", help="Optimizer.")] = DEFAULTS.optimizer,
    learning_rate: Annotated[float | None, typer.Option(help="Learning rate. Default: 0.001 for adam, 0.01 for sgd.")] = None,
    momentum: Annotated[float, typer.Option(help="Momentum of sgd.")] = DEFAULTS.momentum,
    batch_size: Annotated[int, typer.Option(min=1, help="Samples in a mini-batch.")] = DEFAULTS.batch_size,
    epochs: Annotated[int, typer.Option(min=1, help="Maximum number of passes over the training rows.")] = DEFAULTS.epochs,
    early_stopping: Annotated[
        bool, typer.Option(help="Stop when the validation loss no longer improves.")
    ] = DEFAULTS.early_stopping,
    patience: Annotated[int, typer.Option(min=1, help="Epochs to wait for a lower validation loss.")] = DEFAULTS.patience,
    test_fraction: Annotated[float, _fraction("Fraction of the rows for the test.")] = DEFAULTS.test_fraction,
    validation_fraction: Annotated[float, _fraction("Fraction of the rows for validation.")] = DEFAULTS.validation_fraction,
    seed: Annotated[
        int, typer.Option(min=0, max=2**32 - 1, help="Seed of the train/test split, the initial weights and the sample order.")
    ] = DEFAULTS.seed,
    dtype: Annotated[FloatName, choice("float32", "float64", help="Floating-point type.")] = DEFAULTS.dtype,
    output: Annotated[
        Path | None, typer.Option(help="New folder for the results. Default: runs/NAME, or runs/NAME-2 and so on.")
    ] = None,
    again: Annotated[
        Path | None,
        typer.Option("--from", help="run.json of an earlier run: train it again with its data and options, to the same bits."),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print only the scores and the paths.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print scores and description as JSON, for programs.")] = False,
) -> None:
    """Train a net on a table, print its scores, and save it with the evidence in a new folder.

    What each column holds is told first. Missing cells are filled with the median and told to the net; rare and unseen
    categories are one category; dates become elapsed days and the time of the week and year; columns that name the rows,
    have one value or another text in each row are not used. The options --id, --drop, --numeric, --categorical and --date
    overrule. Rows are split into training, validation and test sets.

    Example: `bpkernel train houses.csv --target price --hidden 100,50 --epochs 500`
    """
    if again is not None:
        options, told, data = _again(again, data)
    else:
        options = training_run.Options(
            hidden=sizes_of(hidden),
            activation=activation,
            task=task,
            loss=loss,
            optimizer=optimizer,
            learning_rate=learning_rate,
            momentum=momentum,
            batch_size=batch_size,
            epochs=epochs,
            patience=patience,
            early_stopping=early_stopping,
            seed=seed,
            dtype=dtype,
            test_fraction=test_fraction,
            validation_fraction=validation_fraction,
        )
        overrules = Overrules(id or [], drop or [], numeric or [], categorical or [], date or [])
        told = asdict(overrules) | {"target": target, "header": header, "sheet": sheet}
    quiet = quiet or as_json
    read, name = _table(data or [], told)
    start = time.perf_counter()
    kinds = Overrules(**{name: told[name] for name in KINDS})
    run = training_run.TrainingRun(read.frame, told["target"], options, kinds, read.header)
    signs = leaks.signs(run)
    if not quiet:
        _tell(run, read, name)
    if not as_json:
        for sign in signs:
            show(f"warning: {sign}")
    where = _results_folder(output or Path("runs") / name, own=output is not None)
    if not run.train(progress=not quiet) and not as_json:
        out.print("[yellow]interrupted[/yellow]: the model is saved as trained so far")
    scores = runs.scores_of(run)
    described = runs.description(run, data or [], told, time.perf_counter() - start)
    runs.write(run, where, f"{name}: learning curve", scores, described)
    if as_json:
        print(json.dumps({"folder": str(where), "warnings": signs, "scores": scores, "run": described}, ensure_ascii=False))
        return
    _results(run, scores, where)


def _again(path: Path, data: list[str] | None) -> tuple[training_run.Options, dict[str, Any], list[str]]:
    """The options of an earlier run, what was told of its table, and its data unless others are given."""
    described = runs.read_description(path)
    try:
        options = training_run.Options(**described["options"] | {"hidden": tuple(described["options"]["hidden"])})
        told, its_data = (
            {name: described["told"][name] for name in (*KINDS, "target", "header", "sheet")},
            list(described["data"]),
        )
    except (KeyError, TypeError):
        raise TableError(f"{path} was written by another version: its options are not known") from None
    if not data and runs.digest(its_data) != described.get("sha256"):
        show(f"note: {', '.join(its_data)} holds other data than in that run")
    return options, told, data or its_data


def _table(data: list[str], told: dict[str, Any]) -> tuple[reading.Read, str]:
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


def _results_folder(path: Path, *, own: bool) -> Path:
    """A new folder for results, made before any work starts."""
    if own and path.is_dir() and any(path.iterdir()):
        raise typer.BadParameter(f"{path} is not empty, and runs are kept: name a new folder", param_hint="--output")
    return folder(path if own else runs.new_folder(path))


def _tell(run: training_run.TrainingRun, read: reading.Read, name: str) -> None:
    """What the table holds, and the net."""
    for note in read.notes:
        show(f"note: {note}")
    out.print(_table_of(run.columns))
    splits, net, target = run.splits, run.model.net, run.model.target.name
    rows = {part: len(getattr(splits, part)) for part in runs.PARTS}
    out.print(
        f"[bold]{escape(name)}[/bold]: {len(read.frame)} rows, {rows['train']} for training, {rows['validation']} for "
        f"validation, {rows['test']} for test; {len(run.model.preparation.features)} columns → {escape(target)}"
    )
    out.print(
        f"net {'-'.join(map(str, net.layer_sizes))}, {run.options.activation}, {net.output_activation}, {net.loss_name}, "
        f"{net.dtype}; {run.optimizer}"
    )


def _table_of(columns: Iterable[Column]) -> Table:
    """The columns for people; many of the same kind are one row."""
    told = Table("column", "kind", "missing", "distinct", "what becomes of it")
    together: dict[tuple[Any, ...], list[Column]] = {}
    for column in columns:
        same = (column.kind, column.fate, column.missing == 0) if column.kind != "target" else (column.name,)
        together.setdefault(same, []).append(column)
    for group in together.values():
        if len(group) > 10:
            first, last = group[0], group[-1]
            distinct = sorted(column.distinct for column in group)
            names = escape(f"{first.name} … {last.name} ({len(group)} columns)")
            told.add_row(
                names, first.kind, str(sum(c.missing for c in group)), f"{distinct[0]}-{distinct[-1]}", escape(first.fate)
            )
            continue
        for column in group:
            kind = f"{column.kind} ({column.style})" if column.kind == "date" and column.style else column.kind
            told.add_row(escape(column.name), escape(kind), str(column.missing), str(column.distinct), escape(column.fate))
    return told


def _results(run: training_run.TrainingRun, scores: dict[str, Any], where: Path) -> None:
    history = run.history
    names = ["accuracy", "balanced_accuracy", "roc_auc"] if run.model.classify else ["r2", "rmse", "mae"]
    figures = Table("rows", *(evidence.SHOWN[name] for name in names), f"loss ({run.model.net.loss_name})")
    cell = lambda part, key: f"{scores[part][key]:.4g}" if key in scores[part] else ""  # noqa: E731
    main = names[0]
    for part in (*runs.PARTS, "guess"):
        first = f"{scores[part][main]:.4f}" if main in scores[part] else ""
        label = part if part != "guess" else "test, by the most frequent class" if run.model.classify else "test, by the mean"
        figures.add_row(label, first, *(cell(part, name) for name in names[1:]), cell(part, "loss"))
    out.print(figures)
    if history.best_epoch is not None:
        out.print(f"kept the weights of epoch {history.best_epoch + 1} of {len(history.loss)}, with the lowest validation loss")
    show(f"model           {where / runs.MODEL}")
    if history.validation_score:
        show(f"learning curve  {where / runs.CURVE}")
    show(f"all scores      {where / runs.METRICS}")
    show(f"to predict      bpkernel predict {shlex.quote(str(where / runs.MODEL))} DATA.csv")
