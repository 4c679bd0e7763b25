"""The commands of the command line."""

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
from bpkernel import gradient_check
from bpkernel.cli import bench as benchmark
from bpkernel.cli import tables, training_run
from bpkernel.cli.check import largest_errors, parameter_by_parameter, table_of
from bpkernel.cli.peers import Workload
from bpkernel.cli.warmup import warm_up
from bpkernel.codegen.disk_cache import CACHE_FOLDER
from bpkernel.functions.activations import HIDDEN, HiddenActivation
from bpkernel.functions.losses import LossName
from bpkernel.serialization import write_atomically
from bpkernel.validation import FloatName

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="Train multilayer perceptrons on the CPU and predict with them.\n\nExample: `bpkernel train digits`",
)
out = Console()
DEFAULTS = training_run.Options()


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
            f"sizes must be integers of at least 1 separated by commas, such as 100,50; got {text!r}", param_hint=option
        )
    return sizes


def _choice(*names: str, help: str | None = None) -> Any:
    """An option with a fixed set of values."""

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
    target: Annotated[str | None, typer.Option(help="Column to predict; required for a file.")] = None,
    drop: Annotated[list[str] | None, typer.Option(help="Column to leave out; may be repeated.")] = None,
    hidden: Annotated[str, typer.Option(help="Units of each hidden layer; '' for none.")] = ",".join(map(str, DEFAULTS.hidden)),
    activation: Annotated[HiddenActivation, _choice(*HIDDEN, help="Activation of the hidden layers.")] = DEFAULTS.activation,
    task: Annotated[
        str | None,
        _choice("classification", "regression", help="Kind of problem. Default: inferred from the target."),
    ] = None,
    loss: Annotated[
        LossName | None,
        _choice(*training_run.OUTPUTS, help="Loss. Default: cross_entropy for classification, squared_error for regression."),
    ] = None,
    optimizer: Annotated[str, _choice("adam", "sgd", help="Optimizer.")] = DEFAULTS.optimizer,
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
    dtype: Annotated[FloatName, _choice("float32", "float64", help="Floating-point type.")] = DEFAULTS.dtype,
    output: Annotated[Path | None, typer.Option(help="Folder for model and learning curve. Default: runs/NAME.")] = None,
) -> None:
    """Train a net on a table, print its scores, save it and plot its learning curve.

    Rows are split into training, validation and test sets. Numbers are standardised. Text columns are one-hot encoded.

    Example: `bpkernel train houses.csv --target price --hidden 100,50 --epochs 500`
    """
    frame, target, name = _table(data, target, drop or [])
    options = training_run.Options(
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
    run = training_run.TrainingRun(frame, target, options)
    folder = _folder(output or Path("runs") / name)
    net, splits = run.model.net, run.splits
    out.print(
        f"[bold]{escape(name)}[/bold]: {len(frame)} rows, {len(splits.train)} for training, "
        f"{len(splits.validation)} for validation, {len(splits.test)} for test; "
        f"{len(run.model.encoding.features)} columns → {escape(target)}"
    )
    out.print(
        f"net {'-'.join(map(str, net.layer_sizes))}, {activation}, {net.output_activation}, {net.loss_name}, {net.dtype}; "
        f"{run.optimizer}"
    )
    if not run.train(progress=True):
        out.print("[yellow]interrupted[/yellow]: the model is saved as trained so far")
    _results(run, folder, name)


def _folder(path: Path) -> Path:
    """Make the output folder and check that it is writable, before any work starts."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            return path
    except OSError as error:
        raise typer.BadParameter(f"cannot write into the folder {path}: {error.strerror}", param_hint="--output") from None


def _table(data: str, target: str | None, drop: list[str]) -> tuple[Any, str, str]:
    """The table, the name of its target column, and a name for the run."""
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


def _results(run: training_run.TrainingRun, folder: Path, name: str) -> None:
    model, history = run.model, run.history
    figures = Table("rows", model.score_name, f"loss ({model.net.loss_name})")
    for part in ("train", "validation", "test"):
        rows = getattr(run.splits, part)
        loss = model.net.loss(model.encoding.X(rows), model.encoding.T(rows))
        figures.add_row(part, f"{model.score(rows):.4f}", f"{loss:.4g}")
    out.print(figures)
    if history.best_epoch is not None:
        out.print(f"kept the weights of epoch {history.best_epoch + 1} of {len(history.loss)}, with the lowest validation loss")
    saved, curve = run.write(folder, f"{name}: learning curve")
    show = partial(out.print, markup=False, soft_wrap=True)
    show(f"model           {saved}")
    if curve:
        show(f"learning curve  {curve}")
    show(f"to predict      bpkernel predict {shlex.quote(str(saved))} DATA.csv")


@app.command()
def predict(
    model: Annotated[Path, typer.Argument(help="Model saved by `bpkernel train`.")],
    data: Annotated[Path, typer.Argument(help=".csv or .parquet file with the columns that the model was trained on.")],
    output: Annotated[Path, typer.Option(help="CSV file to write; - for standard output.")] = Path("predictions.csv"),
) -> None:
    """Predict each row of a table with a saved model; a classifier also gives the probability of each class.

    If the table contains the target, the score is printed.

    Example: `bpkernel predict runs/iris/model.safetensors flowers.csv --output named.csv`
    """
    trained = training_run.Model.load(model)
    frame = tables.read(data, trained.encoding.texts)
    y = trained.outputs(frame)
    text = trained.predict(frame, y).to_csv(index=False)
    if str(output) == "-":
        print(text, end="")
        return
    write_atomically(output, text.encode())
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
    seed: Annotated[int, typer.Option(min=0, help="Seed of the random nets and samples.")] = 0,
) -> None:
    """Compare the compiled kernels with the pure-Python reference and with central differences.

    The table shows the largest error of each quantity and its bound, in units in the last place (ulp) of the sum of the
    magnitudes of the terms. Then the gradient of a net with each activation is checked parameter by parameter, as
    `bpkernel.check_gradients` does. The exit status is 1 if an error exceeds its bound.

    Example: `bpkernel check --seed 1`
    """
    with out.status("compiling and checking") as status:
        worst = largest_errors(gradient_check.check_all(seed), status.update)
        nets = list(parameter_by_parameter(seed, status.update))
    out.print(table_of(worst))
    failed = sum(finding.share > 1 for finding, _ in worst.values())
    out.print(f"{len(worst) - failed} quantities within bounds, {failed} out of bounds")
    wrong = [(name, found) for name, found in nets if not found.ok]
    for name, found in wrong:
        out.print(f"a net with {name}: {escape(str(found))}")
    out.print(f"{len(nets) - len(wrong)} nets checked parameter by parameter, {len(wrong)} out of bounds")
    raise typer.Exit(1 if failed or wrong else 0)


@app.command()
def warmup(
    dtype: Annotated[
        list[str] | None, _choice(*gradient_check.DTYPES, help="Floating-point type; may be repeated. Default: both.")
    ] = None,
) -> None:
    """Compile all kernels into the cache, so that later programs do not wait for the compiler.

    Example: `bpkernel warmup --dtype float32`
    """
    start = time.perf_counter()
    with out.status("compiling") as status:
        for real in dtype or gradient_check.DTYPES:
            for name in warm_up(real):
                status.update(f"compiled {real} {name}")
    kept = f"cached in {CACHE_FOLDER}" if CACHE_FOLDER else "not cached, because BPKERNEL_CACHE_DIR is empty"
    out.print(f"compiled in {time.perf_counter() - start:.1f} s, {kept}", markup=False, soft_wrap=True)


@app.command()
def bench(
    net: Annotated[list[str] | None, typer.Option(help="Units of each layer, such as 64,100,10; may be repeated.")] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Samples in a mini-batch, for every --net.")] = 200,
    dtype: Annotated[FloatName, _choice(*gradient_check.DTYPES, help="Floating-point type, for every --net.")] = "float32",
    seconds: Annotated[float, typer.Option(min=1, help="Approximate duration, without compilation.")] = 60,
    output: Annotated[Path | None, typer.Option(help="CSV file for the times of all rounds.")] = None,
) -> None:
    """Compare the training speed of bpkernel with that of other installed libraries.

    These are scikit-learn, PyTorch (eager mode) and JAX. Libraries run in turn, in several rounds, on the same number of
    threads. Speed-up: the training time of the library divided by bpkernel's, median (quartiles) of the rounds.

    Example: `bpkernel bench --net 64,100,10 --batch-size 32`
    """
    workloads: list[Workload] = []
    for text in net or []:
        sizes = _sizes(text, "--net")
        if len(sizes) < 3:
            raise typer.BadParameter(f"a net must have at least three layers; got {text!r}", param_hint="--net")
        workloads.append(Workload(sizes, batch_size, dtype, "classes" if sizes[-1] > 1 else "numbers"))
    if output:
        if output.is_dir():
            raise typer.BadParameter(f"{output} is a folder; name a file to write", param_hint="--output")
        _folder(output.parent)
    out.print("training speed", ", ".join(map(" ".join, benchmark.machine().items())), sep="\n")
    records = []
    with out.status("compiling") as status:
        try:
            for workload, timing in benchmark.bench(workloads or benchmark.WORKLOADS, seconds, status.update):
                records += benchmark.rounds_of(workload, timing)
                out.print(benchmark.table_of(workload, timing))
        except KeyboardInterrupt:
            out.print("[yellow]interrupted[/yellow]: only the nets above are measured")
    if output and records:
        write_atomically(output, benchmark.as_csv(records))
        out.print(f"the times of all rounds are in {output}", markup=False, soft_wrap=True)


def run() -> None:
    """The `bpkernel` command: an error in the input is printed without a traceback, and the exit status is 2."""
    try:
        app()
    except (ValueError, OSError, FloatingPointError, MemoryError) as error:
        message = str(error) or "there is not enough memory"
        Console(stderr=True).print(f"[red]Error:[/red] {escape(message)}", highlight=False, soft_wrap=True)
        raise SystemExit(2) from None
