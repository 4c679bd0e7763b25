"""The commands that check and measure the package itself."""

import time
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from bpkernel import gradient_check
from bpkernel.cli import bench as benchmark
from bpkernel.cli import run_list, serve, train, trained
from bpkernel.cli.app import app, choice, folder, out, run, sizes_of
from bpkernel.cli.check import largest_errors, parameter_by_parameter, table_of
from bpkernel.cli.peers import Workload
from bpkernel.cli.warmup import warm_up
from bpkernel.codegen.disk_cache import CACHE_FOLDER
from bpkernel.serialization import write_atomically
from bpkernel.validation import FloatName

__all__ = ["out", "run", "run_list", "serve", "train", "trained"]  # modules that hold commands are among them


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
        list[str] | None, choice(*gradient_check.DTYPES, help="Floating-point type; may be repeated. Default: both.")
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
    dtype: Annotated[FloatName, choice(*gradient_check.DTYPES, help="Floating-point type, for every --net.")] = "float32",
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
        sizes = sizes_of(text, "--net")
        if len(sizes) < 3:
            raise typer.BadParameter(f"a net must have at least three layers; got {text!r}", param_hint="--net")
        workloads.append(Workload(sizes, batch_size, dtype, "classes" if sizes[-1] > 1 else "numbers"))
    if output:
        if output.is_dir():
            raise typer.BadParameter(f"{output} is a folder; name a file to write", param_hint="--output")
        folder(output.parent)
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
