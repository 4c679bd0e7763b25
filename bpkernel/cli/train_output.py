"""What `bpkernel train` prints: the columns, the net, the progress of repeated runs and the scores."""

import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from bpkernel.cli.app import out, show
from bpkernel.progress import in_words
from bpkernel.tables import evidence, reading, report, runs
from bpkernel.tables.columns import Column
from bpkernel.tables.options import Options
from bpkernel.tables.splits import PARTS
from bpkernel.tables.training_run import TrainedRun, TrainingRun


def table_and_net(run: TrainingRun, read: reading.Read, name: str, *, verbose: bool) -> None:
    """Print what the table holds, and the net."""
    for note in read.notes:
        show(f"note: {note}")
    out.print(_table_of(run.columns))
    options, problem, rows = run.options, run.problem, run.splits.sizes()
    several = len(problem.folds)
    split = (
        f"{rows['train']} for training and validation ({several} folds)"
        if several > 1
        else f"{rows['train']} for training, {rows['validation']} for validation"
    )
    columns = len(run.preparation.features)
    out.print(
        f"[bold]{escape(name)}[/bold]: {len(read.frame)} rows, {split}, {rows['test']} for test; {columns} columns "
        f"→ {escape(run.target.name)}"
    )
    sizes = "-".join(map(str, (problem.X.shape[1], *options.hidden, problem.n_outputs)))
    nets = f"{several} nets " if several > 1 else "net "
    loss = options.loss_of(problem.loss)
    show(f"{nets}{sizes}, {options.activation}, {loss}, {options.dtype}; {options.make_optimizer()}")
    if verbose:
        show("inputs of the nets: " + ", ".join(name for name, _ in run.preparation.inputs))


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


def results(trained: TrainedRun, scores: dict[str, Any], options: Options, where: Path) -> None:
    """Print the scores and where the files are."""
    classify = trained.model.classify
    names = ["accuracy", "balanced_accuracy", "roc_auc", "log_loss"] if classify else ["r2", "rmse", "mae"]
    if options.metric is not None and options.metric not in names:
        names.insert(0, options.metric)
    figures = Table("rows", *(evidence.SHOWN[name] for name in names))
    main = evidence.main_score_in(scores["test"])

    def add(label: str, values: dict[str, Any]) -> None:
        shown = {name: f"{values[name]:.4f}" if name == main else f"{values[name]:.4g}" for name in names if name in values}
        figures.add_row(label, *(shown.get(name, "") for name in names))

    for part in PARTS:
        add(part, scores[part])
    add("test, by the most frequent class" if classify else "test, by the mean", scores["guess"])
    for key, words in report.REPEATS.items():
        if key in scores:
            spread = {name: f"{v['mean']:.4g} ± {v['std']:.2g}" for name, v in scores[key].items()}
            figures.add_row(words.format(len(scores[key][main]["values"])), *(spread.get(name, "") for name in names))
    out.print(figures)
    if "below_quantile" in scores["test"]:
        shares = ", ".join(f"{float(q):.0%}: {share:.1%}" for q, share in scores["test"]["below_quantile"].items())
        show(f"test rows at or below their quantiles: {shares}")
    if "tuning" in scores:
        _tuning(scores["tuning"], trained)
    best = [h.best_epoch + 1 for h in trained.model.nets.histories if h is not None and h.best_epoch is not None]
    if best:
        epochs = f"epoch {best[0]}" if len(best) == 1 else f"the epochs {', '.join(map(str, best))}"
        show(f"kept the weights of {epochs}, the best for the validation rows")
    show(f"model           {where / runs.MODEL}")
    show(f"report          {where / runs.REPORT}")
    show(f"all scores      {where / runs.METRICS}")
    show(f"to predict      bpkernel predict {shlex.quote(str(where / runs.MODEL))} DATA.csv")


def _tuning(rows: list[dict[str, Any]], trained: TrainedRun) -> None:
    chosen = trained.trained.options
    name = evidence.tuned_score(rows)
    table = Table("hidden", "learning rate", in_words(name), "")
    for row in rows:
        mark = "chosen" if (tuple(row["hidden"]), row["learning_rate"]) == (chosen.hidden, chosen.rate) else ""
        score = "diverged" if row[name] is None else f"{row[name]:.4g}"
        table.add_row(",".join(map(str, row["hidden"])) or "none", f"{row['learning_rate']:g}", score, mark)
    out.print(table)
