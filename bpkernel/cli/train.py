"""The command that trains a model on a table."""

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from bpkernel.cli import train_output, train_settings
from bpkernel.cli.app import app, choice, out, show
from bpkernel.cli.train_settings import Job
from bpkernel.functions.activations import HIDDEN, HiddenActivation
from bpkernel.functions.losses import LossName
from bpkernel.tables import evidence, leaks, options, reading, runs, training_run
from bpkernel.tables.datasets import DATASETS
from bpkernel.tables.options import Options
from bpkernel.validation import FloatName

DEFAULTS = Options()
COLUMNS, NETS, LEARNING, SCORES = "The table", "The nets", "Training", "Evidence"


def _fraction(help: str) -> Any:
    return typer.Option(min=0.01, max=0.9, help=help, rich_help_panel=SCORES)


def _columns(help: str) -> Any:
    return typer.Option(help=f"{help} May be repeated.", show_default=False, rich_help_panel=COLUMNS)


def _net(help: str, **limits: Any) -> Any:
    return typer.Option(help=help, rich_help_panel=NETS, **limits)


def _learning(help: str, **limits: Any) -> Any:
    return typer.Option(help=help, rich_help_panel=LEARNING, **limits)


@app.command()
def train(
    context: typer.Context,
    data: Annotated[
        list[str] | None,
        typer.Argument(help=f"{', '.join(DATASETS)}, or files with the same columns: {reading.FORMATS}; - for standard input."),
    ] = None,
    target: Annotated[str | None, typer.Option(help="Column to predict; required for a file.", rich_help_panel=COLUMNS)] = None,
    drop: Annotated[list[str] | None, _columns("Column to leave out.")] = None,
    id: Annotated[
        list[str] | None, _columns("Column that names the rows: not used, and carried through to predictions.")
    ] = None,
    numeric: Annotated[list[str] | None, _columns("Column of numbers; cells that are none count as missing.")] = None,
    categorical: Annotated[list[str] | None, _columns("Column of categories, even if they look like numbers.")] = None,
    date: Annotated[list[str] | None, _columns("Column of dates; cells that are none count as missing.")] = None,
    day_first: Annotated[
        bool, typer.Option("--day-first", help="Read 3/4/2021 as 3 April, not March 4.", rich_help_panel=COLUMNS)
    ] = False,
    header: Annotated[
        bool | None,
        typer.Option(
            help="Whether text begins with the names of the columns. Default: told from the text.", rich_help_panel=COLUMNS
        ),
    ] = None,
    sheet: Annotated[
        str | None, typer.Option(help="Sheet of an Excel file. Default: the first.", rich_help_panel=COLUMNS)
    ] = None,
    task: Annotated[
        str | None,
        choice("classification", "regression", help="Kind of problem. Default: told from the target.", rich_help_panel=COLUMNS),
    ] = None,
    hidden: Annotated[str, _net("Units of each hidden layer; '' for none.")] = ",".join(map(str, DEFAULTS.hidden)),
    activation: Annotated[
        HiddenActivation, choice(*HIDDEN, help="Activation of the hidden layers.", rich_help_panel=NETS)
    ] = DEFAULTS.activation,
    loss: Annotated[
        LossName | None,
        choice(
            *options.OUTPUTS,
            help="Loss. Default: cross_entropy for classification, squared_error for regression.",
            rich_help_panel=NETS,
        ),
    ] = None,
    quantiles: Annotated[
        str, _net("Predict quantiles, such as 0.05,0.5,0.95; validation rows correct them. The median is always one.")
    ] = "",
    dropout: Annotated[float, _net("Probability that a hidden unit is left out of a step.", min=0.0, max=0.9)] = 0.0,
    ensemble: Annotated[
        int,
        _net(
            "Nets whose predictions are averaged. Each is trained without one fold of the rows, which validates it; with 1, "
            "a part of the rows is for validation only.",
            min=1,
        ),
    ] = DEFAULTS.ensemble,
    dtype: Annotated[
        FloatName, choice("float32", "float64", help="Floating-point type.", rich_help_panel=NETS)
    ] = DEFAULTS.dtype,
    optimizer: Annotated[str, choice(*options.RATES, help="Optimizer.", rich_help_panel=LEARNING)] = DEFAULTS.optimizer,
    learning_rate: Annotated[
        float | None,
        _learning("Learning rate. Default: " + ", ".join(f"{rate:g} for {name}" for name, rate in options.RATES.items()) + "."),
    ] = None,
    schedule: Annotated[
        str, choice(*options.SCHEDULES, help="How the learning rate changes over the epochs.", rich_help_panel=LEARNING)
    ] = DEFAULTS.schedule,
    weight_decay: Annotated[float, _learning("Weight decay of adamw.", min=0.0)] = DEFAULTS.weight_decay,
    momentum: Annotated[float, _learning("Momentum of sgd.", min=0.0, max=1.0)] = DEFAULTS.momentum,
    batch_size: Annotated[
        int | None, _learning("Rows in a mini-batch. Default: from 16 to 256, by the number of rows.", min=1)
    ] = None,
    epochs: Annotated[int, _learning("Maximum number of passes over the training rows.", min=1)] = DEFAULTS.epochs,
    early_stopping: Annotated[
        bool, _learning("Stop when the validation rows are no longer predicted better.")
    ] = DEFAULTS.early_stopping,
    patience: Annotated[int, _learning("Epochs to wait for a better validation score.", min=1)] = DEFAULTS.patience,
    class_weight: Annotated[
        str | None,
        choice(
            "balanced",
            help="balanced: rare classes count as much as frequent ones. Their probabilities are then too high.",
            rich_help_panel=LEARNING,
        ),
    ] = None,
    metric: Annotated[
        str | None,
        choice(
            *options.METRICS,
            help="Score of the validation rows that decides when to stop, and in --tune. Default: the loss.",
            rich_help_panel=LEARNING,
        ),
    ] = None,
    tune: Annotated[
        bool, _learning("Try sizes and learning rates, and keep what is best for the validation rows; 12 to 15 times the work.")
    ] = False,
    time_limit: Annotated[
        float | None, _learning("Most seconds of training; with it, the result depends on the speed.", min=0.001)
    ] = None,
    seed: Annotated[
        int, _learning("Seed of the splits, the initial weights and the sample order.", min=0, max=2**32 - 1)
    ] = DEFAULTS.seed,
    threads: Annotated[int | None, _learning("Threads. Default: all. The result is the same.", min=1)] = None,
    test_fraction: Annotated[float, _fraction("Fraction of the rows for the test.")] = DEFAULTS.test_fraction,
    validation_fraction: Annotated[
        float, _fraction("Fraction of the rows for validation; with --ensemble 1.")
    ] = DEFAULTS.validation_fraction,
    cv: Annotated[
        int | None,
        typer.Option(
            min=2, help="Repeat the run with each of so many folds as the test rows, for error bars.", rich_help_panel=SCORES
        ),
    ] = None,
    seeds: Annotated[
        int,
        typer.Option(min=1, help="Repeat the run with other splits and weights, for error bars.", rich_help_panel=SCORES),
    ] = 1,
    output: Annotated[
        Path | None, typer.Option(help="New folder for the results. Default: runs/NAME, or runs/NAME-2 and so on.")
    ] = None,
    again: Annotated[
        Path | None,
        typer.Option(
            "--from",
            help="run.json of an earlier run: train it again with its data and options, to the same bits. Options that are "
            "given, too, take their place.",
        ),
    ] = None,
    resume: Annotated[
        Path | None, typer.Option(help="Folder of a run that was interrupted: go on, to the same bits as without a break.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print only the scores and the paths.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", help="Print all inputs of the nets, too.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print scores and description as JSON, for programs.")] = False,
) -> None:
    """Train nets on a table, print their scores, and save the model with the evidence in a new folder.

    What each column holds is told first. Missing cells are filled with the median and told to the net; rare and unseen
    categories are one category; dates become elapsed days and the time of the week and year; columns that name the rows,
    have one value or another text in each row are not used. The options --id, --drop, --numeric, --categorical and --date
    overrule. The scores are those of rows that no net has seen.

    Example: `bpkernel train houses.csv --target price --hidden 100,50 --epochs 500`
    """
    if threads is not None:
        train_settings.use_threads(threads)
    job = train_settings.job_of(dict(context.params), _given(context))
    _carry_out(job, quiet=quiet or as_json, verbose=verbose, as_json=as_json)


def _given(context: typer.Context) -> set[str]:
    """The parameters that the command line has."""
    return {name for name in context.params if str(context.get_parameter_source(name)).endswith("COMMANDLINE")}


def _carry_out(job: Job, *, quiet: bool, verbose: bool, as_json: bool) -> None:
    if job.note and not as_json:
        show(f"note: {job.note}")
    start = time.perf_counter()
    read, name = train_settings.table(job.data, job.told)
    all_runs = training_run.repeated(read.frame, job.told["target"], job.options, job.kinds, read.header)
    run = next(all_runs)
    signs = leaks.signs(run)
    if not quiet:
        train_output.table_and_net(run, read, name, verbose=verbose)
    if not as_json:
        for sign in signs:
            show(f"warning: {sign}")
    described = job.described or runs.description(run, job.data, job.told)
    where = job.folder
    if where is None or not job.resumes:
        where = train_settings.results_folder(where or Path("runs") / name, own=where is not None)
    runs.write_json(where / runs.RUN, described)
    try:
        trained = run.train(runs.execution(where, 0, progress=not quiet, resume=job.resumes))
        scores = runs.scores_of(trained)
        if trained.trained.complete and job.options.n_runs > 1:
            scores |= _repeat(all_runs, job, where, scores["test"], quiet=quiet)
    except KeyboardInterrupt:
        Console(stderr=True).print(f"interrupted; to go on: bpkernel train --resume {where}", markup=False, soft_wrap=True)
        raise typer.Exit(130) from None
    except Exception:
        if not job.resumes:
            shutil.rmtree(where, ignore_errors=True)
        raise
    if trained.trained.complete:
        described |= {"finished": runs.now()}
    described |= runs.of_nets(trained, time.perf_counter() - start)
    runs.write(trained, where, name, scores, described, signs)
    if as_json:
        print(json.dumps({"folder": str(where), "warnings": signs, "scores": scores, "run": described}, ensure_ascii=False))
        return
    if not trained.trained.complete:
        out.print("[yellow]interrupted[/yellow]: the model is saved as trained so far")
        show(f"to go on        bpkernel train --resume {where}")
    train_output.results(trained, scores, job.options, where)


def _repeat(
    others: Iterator[training_run.TrainingRun], job: Job, where: Path, first: dict[str, Any], *, quiet: bool
) -> dict[str, Any]:
    """Train again for each further fold or seed; the spread of the scores of the test rows."""
    found = [first]
    for number, run in enumerate(others, start=1):
        if not quiet:
            show(f"run {number + 1} of {job.options.n_runs}")
        trained = run.train(runs.execution(where, number, progress=not quiet, resume=job.resumes))
        if not trained.trained.complete:
            raise KeyboardInterrupt
        y, true = trained.outputs("test")
        found.append(evidence.scores(trained.model, true, y))
    return {"cross_validation" if job.options.cv else "seeds": training_run.spread(found)}
