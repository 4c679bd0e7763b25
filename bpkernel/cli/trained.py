"""The commands that predict with saved models of tables, tell how good they are, and list runs."""

import json
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bpkernel.cli.app import app, out, show
from bpkernel.extras import need
from bpkernel.serialization import open_atomically
from bpkernel.tables import cells, evidence, onnx_export, reading
from bpkernel.tables.delimited import TableError
from bpkernel.tables.importance import importances
from bpkernel.tables.model import Model

MOST_NOTES = 20  # told of a table to predict

Files = Annotated[list[str], typer.Argument(help=f"Tables: {reading.FORMATS}; - for standard input.")]


@app.command()
def predict(
    model: Annotated[Path, typer.Argument(help="Model saved by `bpkernel train`.")],
    data: Files,
    output: Annotated[Path, typer.Option(help="CSV or .parquet file to write; - for CSV on standard output.")] = Path(
        "predictions.csv"
    ),
    sheet: Annotated[str | None, typer.Option(help="Sheet of an Excel file. Default: the first.")] = None,
) -> None:
    """Predict each row of a table with a saved model; for classes, the probability of each is given, too.

    IDs are carried through. Columns may be in any order; missing columns and cells, and unseen categories, are told, and
    treated as in training. If the table contains the target, the score is printed. In CSV, a ' stands before texts that a
    spreadsheet would take for a formula.

    Example: `bpkernel predict runs/iris/model.safetensors flowers.csv --output named.csv`
    """
    trained = Model.load(model)
    notes: dict[str, None] = {}
    true, predicted, n = [], [], 0
    with ExitStack() as stack:
        write = _writer(output, stack)
        for path in data:
            for frame in reading.blocks(path, header=None if trained.header else False, sheet=sheet):
                if not len(frame):
                    continue
                notes |= dict.fromkeys(trained.preparation.told(frame))
                y = trained.outputs(frame)
                write(trained.predict(frame, y))
                n += len(frame)
                if trained.target.name in frame.columns:
                    true.append(trained.target.values(frame[trained.target.name]))
                    predicted.append(trained.predicted(y))
        if n == 0:
            raise TableError(f"{', '.join(data)}: the table has no rows")
    messages = Console(stderr=True)
    for note in list(notes)[:MOST_NOTES]:
        messages.print(f"note: {note}", markup=False, soft_wrap=True, highlight=False)
    if str(output) == "-":
        return
    show(f"{n} predictions of {trained.target.name} in {output}")
    if true:
        _tell_score(trained, np.concatenate(true), np.concatenate(predicted))


def _tell_score(trained: Model, true: np.ndarray, predicted: np.ndarray) -> None:
    known = trained.target.known(true)
    n, wanted = int(known.sum()), 1 if trained.classify else 2
    if n < wanted:
        what = "whose target is a known class" if trained.classify else "or more whose target is a number"
        show(f"not scored: it takes {wanted} row{'s' if wanted > 1 else ''} {what}")
        return
    found = evidence.main_score_of(true[known], predicted[known], classify=trained.classify)
    show(f"{evidence.score_name(trained.classify)} {found:.4f}" + (f" of the {n} rows with a target" if n < len(known) else ""))


def _writer(output: Path, stack: ExitStack) -> Any:
    """A function that writes frames one below the other; the file appears once all are written."""
    if output.suffix.lower() in (".parquet", ".pq"):
        arrow, parquet = need("pyarrow", "cli"), need("pyarrow.parquet", "cli")
        file, writers = stack.enter_context(open_atomically(output)), list[Any]()

        def write_parquet(frame: pd.DataFrame) -> None:
            table = arrow.Table.from_pandas(frame, preserve_index=False)
            if not writers:
                writers.append(stack.enter_context(parquet.ParquetWriter(file, table.schema)))
            writers[0].write_table(table.cast(writers[0].schema))

        return write_parquet
    text_file = None if str(output) == "-" else stack.enter_context(open_atomically(output))
    first = [True]

    def write(frame: pd.DataFrame) -> None:
        text = _without_formulas(frame).to_csv(index=False, header=first[0])
        first[0] = False
        if text_file is None:
            sys.stdout.write(text)
        else:
            text_file.write(text.encode())

    return write


def _without_formulas(frame: pd.DataFrame) -> pd.DataFrame:
    """The table with ' before texts, but numbers, that a spreadsheet would take for a formula."""

    def harmless(cell: Any) -> Any:
        formula = isinstance(cell, str) and cell.startswith(("=", "+", "-", "@", "\t", "\r"))
        return f"'{cell}" if formula and np.isnan(cells.number(cell)) else cell

    texts = {
        str(name): column.map(harmless) for name, column in frame.items() if column.dtype == object or column.dtype == "str"
    }
    return frame.assign(**texts).rename(columns=harmless)


def _read(trained: Model, data: list[str]) -> pd.DataFrame:
    return reading.read(data, header=None if trained.header else False).frame


@app.command()
def evaluate(
    model: Annotated[Path, typer.Argument(help="Model saved by `bpkernel train`.")],
    data: Files,
    as_json: Annotated[bool, typer.Option("--json", help="Print the scores as JSON, for programs.")] = False,
) -> None:
    """Tell how well a saved model predicts the rows of a table that contains the true values.

    Example: `bpkernel evaluate runs/iris/model.safetensors flowers.csv`
    """
    trained = Model.load(model)
    found, n = evidence.of_table(trained, _read(trained, data))
    if as_json:
        print(json.dumps(found | {"rows": n}, ensure_ascii=False))
        return
    table = Table("score", f"of {n} rows")
    for name, words in evidence.SHOWN.items():
        if name in found:
            table.add_row(words, f"{found[name]:.4g}")
    out.print(table)
    if trained.classify:
        classes = Table("class", "precision", "recall", "F1", "rows")
        for name, of_class in found["classes"].items():
            classes.add_row(
                escape(name), *(f"{of_class[key]:.4f}" for key in ("precision", "recall", "f1")), str(of_class["rows"])
            )
        out.print(classes)


@app.command()
def explain(
    model: Annotated[Path, typer.Argument(help="Model saved by `bpkernel train`.")],
    data: Files,
    as_json: Annotated[bool, typer.Option("--json", help="Print the importances as JSON, for programs.")] = False,
) -> None:
    """Tell which columns the predictions for a table depend on, the most important first.

    Drop: by how much accuracy or R² falls when the column is shuffled among the rows; needs the true values. Slope: how
    much the outputs change for a standard deviation of a number or another category, by derivatives. Of columns that tell
    the same, each may look unimportant.

    Example: `bpkernel explain runs/iris/model.safetensors flowers.csv`
    """
    trained = Model.load(model)
    frame = _read(trained, data)
    X, (values, known), true = trained.preparation.X(frame), trained.target.of(frame), None
    if known.sum() > 1:
        X, true = X[known], values[known]
    found = importances(trained, X, true)
    if as_json:
        print(json.dumps(found, ensure_ascii=False))
        return
    table = Table("column", *([] if true is None else [f"drop of {evidence.score_name(trained.classify)}"]), "slope")
    for name, of_column in found.items():
        drop = [] if true is None else [f"{of_column['drop']:.4f} ± {of_column['drop_std']:.4f}"]
        table.add_row(escape(name), *drop, f"{of_column['slope']:.4g}")
    out.print(table)


@app.command()
def export(
    model: Annotated[Path, typer.Argument(help="Model saved by `bpkernel train`.")],
    onnx: Annotated[Path, typer.Option(help="ONNX file to write.")] = Path("model.onnx"),
) -> None:
    """Write a saved model as an ONNX graph, for programs without Python.

    It takes the columns of a table as they are, prepares them and gives the predictions. Inputs have the names of the columns
    and the shape (n, 1): numbers and booleans (1, 0) in float64, NaN where they are missing; dates as days since 1970; text,
    "" where it is missing.

    Example: `bpkernel export runs/iris/model.safetensors --onnx iris.onnx`
    """
    onnx_export.write(Model.load(model), onnx)
    show(f"ONNX graph of {model} in {onnx}")
