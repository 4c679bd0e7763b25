"""Floor 5: the command line."""

import shlex
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

import bpkernel
from bpkernel import bench as benchmark
from bpkernel import checking, experiment, tables
from bpkernel.activations import HIDDEN, HiddenActivation
from bpkernel.disk_cache import CACHE_FOLDER
from bpkernel.inputs import FloatName
from bpkernel.losses import LossName
from bpkernel.trainers import Case
from bpkernel.warmup import warm_up

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="Train multilayer perceptrons on the CPU, and predict with them.\n\nExample: `bpkernel train digits`",
)
out = Console()
DEFAULTS = experiment.Options()


def _version(wanted: bool) -> None:
    if wanted:
        print(f"bpkernel {bpkernel.__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    pass


def _sizes(text: str, option: str = "--hidden") -> tuple[int, ...]:
    try:
        sizes = tuple(int(size) for size in text.split(",")) if text.strip() else ()
    except ValueError:
        sizes = (0,)
    if any(size < 1 for size in sizes):
        raise typer.BadParameter(
            f"sizes are whole numbers of at least 1 with commas between, such as 100,50; got {text!r}", param_hint=option
        )
    return sizes


def _choice(*names: str, help: str | None = None) -> Any:
    """An option that takes one of a few names."""

    def parse(text: str) -> str:
        if text not in names:
            raise typer.BadParameter(f"{text!r} is not one of {', '.join(names)}")
        return text

    return typer.Option(parser=parse, metavar=f"[{'|'.join(names)}]", help=help)


def _fraction(help: str) -> Any:
    return typer.Option(min=0.01, max=0.9, help=help)


@app.command()
def train(
    data: Annotated[str, typer.Argument(help=f"{', '.join(tables.DATASETS)}, or a .csv or .parquet file.")],
    target: Annotated[str | None, typer.Option(help="The column to predict; needed with a file.")] = None,
    drop: Annotated[list[str] | None, typer.Option(help="A column to leave out; may be repeated.")] = None,
    hidden: Annotated[str, typer.Option(help="Units of the hidden layers; '' for none.")] = ",".join(map(str, DEFAULTS.hidden)),
    activation: Annotated[HiddenActivation, _choice(*HIDDEN, help="Of the hidden layers.")] = DEFAULTS.activation,
    task: Annotated[
        str | None,
        _choice("classification", "regression", help="Default: what the target looks like."),
    ] = None,
    loss: Annotated[
        LossName | None,
        _choice(*experiment.OUTPUTS, help="Default: cross_entropy, or squared_error."),
    ] = None,
    optimizer: Annotated[str, _choice("adam", "sgd")] = DEFAULTS.optimizer,
    learning_rate: Annotated[float | None, typer.Option(help="Default: 0.001 with adam, 0.01 with sgd.")] = None,
    momentum: Annotated[float, typer.Option(help="Of sgd.")] = DEFAULTS.momentum,
    batch_size: Annotated[int, typer.Option(min=1, help="Samples in a mini-batch.")] = DEFAULTS.batch_size,
    epochs: Annotated[int, typer.Option(min=1, help="Times that each sample is seen, at most.")] = DEFAULTS.epochs,
    early_stopping: Annotated[
        bool, typer.Option(help="Stop once the validation loss falls no more.")
    ] = DEFAULTS.early_stopping,
    patience: Annotated[int, typer.Option(min=1, help="Epochs to wait for a lower validation loss.")] = DEFAULTS.patience,
    test_fraction: Annotated[float, _fraction("Share of the rows held back for the test.")] = DEFAULTS.test_fraction,
    validation_fraction: Annotated[float, _fraction("Share of the rows to watch in training.")] = DEFAULTS.validation_fraction,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Of splits, first weights and order.")] = DEFAULTS.seed,
    dtype: Annotated[FloatName, _choice("float32", "float64")] = DEFAULTS.dtype,
    output: Annotated[Path | None, typer.Option(help="Folder for the model and picture. Default: runs/NAME.")] = None,
) -> None:
    """Train a net on a table; print its scores, save it and draw its learning curve.

    The rows are split for training, validation and test; numbers are standardised, and text columns become one input
    for each value.

    Example: `bpkernel train houses.csv --target price --hidden 100,50 --epochs 500`
    """
    frame, target, name = _table(data, target, drop or [])
    options = experiment.Options(
        hidden=_sizes(hidden),
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
    run = experiment.Run(frame, target, options)
    folder = _folder(output or Path("runs") / name)
    net, splits = run.model.net, run.splits
    out.print(
        f"[bold]{escape(name)}[/bold]: {len(frame)} rows, {len(splits.train)} to train on, "
        f"{len(splits.validation)} for validation, {len(splits.test)} for test; "
        f"{len(run.model.encoding.features)} columns → {escape(target)}"
    )
    out.print(
        f"net {'-'.join(map(str, net.layer_sizes))}, {activation}, {net.output_activation}, {net.loss_name}, {net.dtype}; "
        f"{run.optimizer}"
    )
    if not run.train(progress=True):
        out.print("[yellow]interrupted[/yellow]: what was learnt so far is kept")
    _results(run, folder, name)


def _folder(path: Path) -> Path:
    """Make the output folder, before any work is done that could not be saved."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            return path
    except OSError as error:
        raise typer.BadParameter(f"cannot write into the folder {path}: {error.strerror}", param_hint="--output") from None


def _table(data: str, target: str | None, drop: list[str]) -> tuple[Any, str, str]:
    """The table, the name of its target, and a name for the run."""
    if data in tables.DATASETS:
        frame, own_target = tables.dataset(data)
        target, name = target or own_target, data
    else:
        if not Path(data).suffix:
            raise typer.BadParameter(f"{data!r} is neither a .csv or .parquet file nor one of {', '.join(tables.DATASETS)}")
        frame, name = tables.read(Path(data)), Path(data).stem
        if target is None:
            raise typer.BadParameter(f"name the column to predict, one of {', '.join(frame.columns)}", param_hint="--target")
    unknown = [column for column in drop if column not in frame.columns]
    if unknown:
        raise typer.BadParameter(f"there is no column {', '.join(map(repr, unknown))}", param_hint="--drop")
    return frame.drop(columns=drop), target, name


def _results(run: experiment.Run, folder: Path, name: str) -> None:
    model, history = run.model, run.history
    figures = Table("rows", model.score_name, f"loss ({model.net.loss_name})")
    for part in ("train", "validation", "test"):
        rows = getattr(run.splits, part)
        loss = model.net.loss(model.encoding.X(rows), model.encoding.T(rows))
        figures.add_row(part, f"{model.score(rows):.4f}", f"{loss:.4g}")
    out.print(figures)
    if history.best_epoch is not None:
        out.print(f"kept the weights of epoch {history.best_epoch + 1} of {len(history.loss)}, the lowest validation loss")
    saved, curve = run.write(folder, f"{name}: learning curve")
    tell = partial(out.print, markup=False, soft_wrap=True)
    tell(f"model           {saved}")
    if curve:
        tell(f"learning curve  {curve}")
    tell(f"to predict      bpkernel predict {shlex.quote(str(saved))} DATA.csv")


@app.command()
def predict(
    model: Annotated[Path, typer.Argument(help="A model that `bpkernel train` saved.")],
    data: Annotated[Path, typer.Argument(help="A .csv or .parquet file with the columns it was trained on.")],
    output: Annotated[Path, typer.Option(help="The CSV file to write; - for standard output.")] = Path("predictions.csv"),
) -> None:
    """Predict each row of a table with a saved model, with the probability of each class where it classifies.

    If the table holds the target as well, the score is printed.

    Example: `bpkernel predict runs/iris/model.safetensors flowers.csv --output named.csv`
    """
    trained = experiment.Model.load(model)
    frame = tables.read(data, trained.encoding.texts)
    y = trained.outputs(frame)
    text = trained.predict(frame, y).to_csv(index=False)
    if str(output) == "-":
        print(text, end="")
        return
    bpkernel.persistence.write_atomically(output, text.encode())
    target = trained.encoding.target.name
    out.print(f"{len(frame)} predictions of {target} in {output}", markup=False, soft_wrap=True)
    if target in frame.columns:
        try:
            tables.refuse_missing(frame[[target]])
            out.print(f"{trained.score_name} {trained.score(frame, y):.4f}")
        except ValueError as error:
            out.print(f"not scored: {str(error).splitlines()[0]}", markup=False, soft_wrap=True)


@app.command()
def check(
    seed: Annotated[int, typer.Option(min=0, help="Of the random nets and samples.")] = 0,
) -> None:
    """Compare the compiled kernels with the pure-Python reference and with central differences.

    Errors are told in units of the last place (ulp) of the sum of the magnitudes of the terms, at the place where they
    are the largest share of what rounding allows. The exit status is 1 if any is out of bounds.

    Example: `bpkernel check --seed 1`
    """
    worst: dict[tuple[str, str], tuple[checking.Finding, int]] = {}
    with out.status("compiling and checking") as status:
        for finding in checking.check_all(seed):
            key = finding.case.dtype, finding.quantity
            status.update(f"checking {' '.join(map(str, finding.case))}")
            before, count = worst.get(key, (finding, 0))
            worst[key] = max(before, finding, key=lambda f: f.share), count + 1
    table = Table(
        "dtype", "quantity", "checks", "error / ulp", "allowed / ulp", "share", "", "where largest", title="largest errors"
    )
    for (dtype, quantity), (finding, count) in worst.items():
        verdict = "[green]ok[/green]" if finding.share <= 1 else "[red]OUT[/red]"
        sizes, activation, output_activation, loss, _ = finding.case
        where = f"{'-'.join(map(str, sizes))} {activation} {output_activation} {loss}"
        errors = f"{finding.ulps:.3g}", f"{finding.allowed:.3g}", f"{finding.share:.3f}"
        table.add_row(dtype, quantity, str(count), *errors, verdict, where)
    out.print(table)
    failed = sum(finding.share > 1 for finding, _ in worst.values())
    out.print(f"{len(worst) - failed} quantities within bounds, {failed} out of bounds")
    raise typer.Exit(1 if failed else 0)


@app.command()
def warmup(
    dtype: Annotated[list[str] | None, _choice(*checking.DTYPES, help="Default: both; may be repeated.")] = None,
) -> None:
    """Compile all kernels ahead, so that no later program waits for them.

    Example: `bpkernel warmup --dtype float32`
    """
    start = time.perf_counter()
    with out.status("compiling") as status:
        for real in dtype or checking.DTYPES:
            for name in warm_up(real):
                status.update(f"compiled {real} {name}")
    kept = f"kept in {CACHE_FOLDER}" if CACHE_FOLDER else "not kept, as BPKERNEL_CACHE_DIR is empty"
    out.print(f"compiled in {time.perf_counter() - start:.1f} s, {kept}", markup=False, soft_wrap=True)


@app.command()
def bench(
    net: Annotated[list[str] | None, typer.Option(help="Units of all layers, such as 64,100,10; may be repeated.")] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Samples in a mini-batch, for each --net.")] = 200,
    dtype: Annotated[FloatName, _choice(*checking.DTYPES, help="Of each --net.")] = "float32",
    seconds: Annotated[float, typer.Option(min=1, help="About how long to measure, beside the first compilation.")] = 60,
    output: Annotated[Path | None, typer.Option(help="A CSV file to write, with the time of every round.")] = None,
) -> None:
    """Train nets with bpkernel and with what else is installed, in turn, and show who is how fast.

    The others are scikit-learn, PyTorch (eager) and JAX; all run on the same number of threads.  times: how many times as
    fast bpkernel is, the median of several rounds and, in brackets, its quartiles.

    Example: `bpkernel bench --net 64,100,10 --batch-size 32`
    """
    cases: list[Case] = []
    for text in net or []:
        sizes = _sizes(text, "--net")
        if len(sizes) < 3:
            raise typer.BadParameter(f"a net to time has at least three layers; got {text!r}", param_hint="--net")
        cases.append(Case(sizes, batch_size, dtype, "classes" if sizes[-1] > 1 else "numbers"))
    if output:
        if output.is_dir():
            raise typer.BadParameter(f"{output} is a folder; name a file to write", param_hint="--output")
        _folder(output.parent)
    out.print("training, samples a second: longer is faster", ", ".join(map(" ".join, benchmark.machine().items())), sep="\n")
    records = []
    with out.status("compiling") as status:
        try:
            for case, timing in benchmark.bench(cases or benchmark.CASES, seconds, status.update):
                records += benchmark.rounds_of(case, timing)
                out.print(benchmark.picture(case, timing))
        except KeyboardInterrupt:
            out.print("[yellow]interrupted[/yellow]: the nets above are measured")
    if output and records:
        bpkernel.persistence.write_atomically(output, benchmark.as_csv(records))
        out.print(f"every round is in {output}", markup=False, soft_wrap=True)


def run() -> None:
    """The `bpkernel` command: what a person brought wrongly becomes a usage error, without a traceback."""
    try:
        app()
    except (ValueError, OSError, FloatingPointError, MemoryError) as error:
        words = str(error) or "there is not enough memory for this"
        Console(stderr=True).print(f"[red]Error:[/red] {escape(words)}", highlight=False, soft_wrap=True)
        raise SystemExit(2) from None
