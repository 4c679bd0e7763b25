"""The summary of `bpkernel check`: the largest error of each quantity, and gradients parameter by parameter."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from rich.table import Table

from bpkernel.check_gradients import GradientCheck, check_gradients
from bpkernel.functions.activations import HIDDEN
from bpkernel.gradient_check import Case, Finding, problem

Worst = dict[tuple[str, str], tuple[Finding, int]]  # (dtype, quantity): (the largest error, number of comparisons)


def largest_errors(findings: Iterable[Finding], show: Callable[[str], Any]) -> Worst:
    """The largest error of each dtype and quantity, relative to its bound; `show` is called with the progress."""
    worst: Worst = {}
    for finding in findings:
        show(f"checking {' '.join(map(str, finding.case))}")
        key = finding.case.dtype, finding.quantity
        before, count = worst.get(key, (finding, 0))
        worst[key] = max(before, finding, key=lambda f: f.share), count + 1
    return worst


def table_of(worst: Worst) -> Table:
    """A table with one row for each dtype and quantity."""
    headings = "dtype", "quantity", "checks", "error / ulp", "bound / ulp", "error / bound", "", "net"
    table = Table(*headings, title="largest errors")
    for (dtype, quantity), (finding, count) in worst.items():
        verdict = "[green]ok[/green]" if finding.share <= 1 else "[red]OUT[/red]"
        sizes, activation, output_activation, loss, _, connections, layer_norm = finding.case
        graph = ("" if connections is None else ", all connected") + (", normalised" if layer_norm else "")
        net = f"{'-'.join(map(str, sizes))} {activation} {output_activation} {loss}{graph}"
        errors = f"{finding.ulps:.3g}", f"{finding.allowed:.3g}", f"{finding.share:.3f}"
        table.add_row(dtype, quantity, str(count), *errors, verdict, net)
    return table


def parameter_by_parameter(seed: int, show: Callable[[str], Any]) -> Iterator[tuple[str, GradientCheck]]:
    """The gradient check of a net with each hidden activation, in which all layers are connected; `show` is as above."""
    for activation in HIDDEN:
        show(f"checking each parameter of a net with {activation}")
        case = Case((4, 6, 5, 3), activation, "softmax", "cross_entropy", "float64", "all")
        yield activation, check_gradients(*problem(case, seed), random_state=seed)
