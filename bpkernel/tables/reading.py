"""Tables in files of many kinds, as frames: cells of text as they are, cells of typed formats with their types.

What a cell of text means is decided by `columns`, in the same way in training and in prediction.
"""

import bz2
import codecs
import gzip
import io
import json
import lzma
import re
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import pandas as pd

from bpkernel.extras import need
from bpkernel.tables.delimited import NOT_UTF_8, Dialect, TableError, dialect_of, distinct_names

STDIN = "-"
LONGEST_START = 1 << 12  # bytes from which the format is told
JSON = re.compile(rb"(\xef\xbb\xbf)?\s*(\[\s*[{\[\]]|\{\s*[\"}])")
MARKUP = re.compile(rb"(\xef\xbb\xbf)?\s*<[^\r\n]*>[ \t]*([\r\n]|$)")  # the first line is nothing else
SAMPLE = 1 << 18  # bytes from which the dialect is told
BLOCK = 50_000  # rows of a block
COMPRESSED: dict[bytes, Callable[[BinaryIO], Any]] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\x00": lzma.open}
ZIP, PARQUET, FEATHER = b"PK\x03\x04", b"PAR1", b"ARROW1"
REFUSED = {
    b"\xd0\xcf\x11\xe0": "is an Excel file of the old kind (.xls): save it as .xlsx or CSV",
    b"SQLite format 3": "is an SQLite database: export the table as CSV",
    b"(\xb5/\xfd": "is compressed by Zstandard: decompress it, or compress it by gzip",
    b"%PDF": "is a PDF, not a table",
    b"\x89HDF": "is an HDF5 file: export the table as CSV or Parquet",
    b"\x80\x04": "looks like a Python pickle, which could run code when read: export the table as CSV or Parquet",
}
UNREADABLE = (  # what damaged files make their readers raise
    *(ArithmeticError, AttributeError, EOFError, LookupError, NotImplementedError, OSError, RecursionError, RuntimeError),
    *(TypeError, ValueError, lzma.LZMAError, zlib.error, zipfile.BadZipFile),
)
FORMATS = "CSV, TSV (also as .gz, .bz2, .xz, .zip), Parquet, Feather, Excel (.xlsx), JSON or JSON lines"


class Read(NamedTuple):
    """A table that has been read."""

    frame: pd.DataFrame
    notes: list[str]  # what was decided while reading, for people
    header: bool  # whether the file names its columns


def read(paths: Sequence[str | Path], *, header: bool | None = None, sheet: str | None = None) -> Read:
    """All rows of one file or several with the same columns.

    Parameters
    ----------
    paths : list of str or Path
        - stands for the standard input.
    header : bool, default=None
        Whether text begins with the names of the columns; None to tell from the text.
    sheet : str, default=None
        The sheet of an Excel file; None for the first one.

    Raises
    ------
    TableError
        If a file is missing, is no table, or the files have other columns than the first.
    """
    parts: list[pd.DataFrame] = []
    notes: list[str] = []
    named = True
    for path in paths:
        found = list(blocks(path, header=header, sheet=sheet, rows=None, notes=notes))
        frame = found[0] if len(found) == 1 else pd.concat(found, ignore_index=True)
        if parts and set(frame.columns) != set(parts[0].columns):
            wanting = ", ".join(map(repr, parts[0].columns.difference(frame.columns))) or "none"
            more = ", ".join(map(repr, frame.columns.difference(parts[0].columns))) or "none"
            raise TableError(f"{path} has other columns than {paths[0]}: it lacks {wanting} and has besides {more}")
        parts.append(frame)
        named = list(frame.columns) != [f"column_{i + 1}" for i in range(frame.shape[1])]
    frame = parts[0] if len(parts) == 1 else pd.concat(parts, ignore_index=True)
    if frame.empty:
        raise TableError(f"{', '.join(map(str, paths))}: the table has no rows")
    return Read(frame, notes, named)


def blocks(
    path: str | Path,
    *,
    header: bool | None = None,
    sheet: str | None = None,
    rows: int | None = BLOCK,
    notes: list[str] | None = None,
) -> Iterator[pd.DataFrame]:
    """The rows of a file, in frames of up to `rows` rows; None for one frame."""
    notes, name = [] if notes is None else notes, "standard input" if str(path) == STDIN else str(path)
    try:
        with _opened(path, name) as file:
            yield from _blocks(file, name, header, sheet, rows, notes)
    except TableError:
        raise
    except UnicodeError as error:
        raise TableError(f"{name} is not text of one encoding: {error}") from None
    except pd.errors.ParserError as error:
        found = re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", str(error))
        what = str(error).strip().splitlines()[0]
        if found:
            what = "line {1} has {2} cells, the other lines have {0}; put cells that hold the delimiter in quotes".format(
                *found.groups()
            )
        raise TableError(f"{name} cannot be read: {what}") from None
    except UNREADABLE as error:
        raise TableError(f"{name} cannot be read: {(str(error).strip() or type(error).__name__).splitlines()[0]}") from None


def _opened(path: str | Path, name: str) -> BinaryIO:
    if str(path) == STDIN:
        return io.BytesIO(sys.stdin.buffer.read())
    if not Path(path).is_file():
        raise TableError(f"there is no file {name}" + (": it is a folder" if Path(path).is_dir() else ""))
    return open(path, "rb")


def _blocks(
    file: BinaryIO, name: str, header: bool | None, sheet: str | None, rows: int | None, notes: list[str]
) -> Iterator[pd.DataFrame]:
    start = file.read(LONGEST_START)
    file.seek(0)
    for magic, opened in COMPRESSED.items():
        if start.startswith(magic):
            yield from _blocks(io.BufferedReader(opened(file)), name, header, sheet, rows, notes)
            return
    for magic, what in REFUSED.items():
        if start.startswith(magic):
            raise TableError(f"{name} {what}")
    if not start.strip():
        raise TableError(f"{name} is empty")
    if start.startswith(PARQUET):
        yield from _parquet(file, rows)
    elif start.startswith(FEATHER):
        yield _named(pd.read_feather(file))
    elif start.startswith(ZIP):
        yield from _zipped(file, name, header, sheet, rows, notes)
    elif JSON.match(start):
        yield _json(file)
    elif MARKUP.match(start):
        raise TableError(f"{name} is a web page or XML, not a table; the tables that can be read are {FORMATS}")
    else:
        yield from _delimited(file, name, header, rows, notes)


def _named(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with names that are text and distinct, and without an index."""
    if frame.index.name is not None or isinstance(frame.index, pd.MultiIndex):
        frame = frame.reset_index()
    frame.columns = distinct_names([str(column) for column in frame.columns])
    return frame


def _parquet(file: BinaryIO, rows: int | None) -> Iterator[pd.DataFrame]:
    if rows is None:
        yield _named(pd.read_parquet(file))
        return
    source = need("pyarrow.parquet", "cli").ParquetFile(file)
    for batch in source.iter_batches(batch_size=rows):
        yield _named(batch.to_pandas())


def _zipped(
    file: BinaryIO, name: str, header: bool | None, sheet: str | None, rows: int | None, notes: list[str]
) -> Iterator[pd.DataFrame]:
    with zipfile.ZipFile(file) as archive:
        members = [member for member in archive.namelist() if not member.endswith("/") and not member.startswith("__MACOSX")]
        if "xl/workbook.xml" in members:
            yield _excel(file, name, sheet, notes)
            return
        if len(members) != 1:
            raise TableError(f"{name} holds {len(members)} files; a table is one: extract it, and pass its path")
        with archive.open(members[0]) as member:
            yield from _blocks(member, f"{name}/{members[0]}", header, sheet, rows, notes)  # type: ignore[arg-type]


def _excel(file: BinaryIO, name: str, sheet: str | None, notes: list[str]) -> pd.DataFrame:
    need("openpyxl", "cli")
    sheets = list(map(str, pd.ExcelFile(file).sheet_names))
    if sheet is not None and sheet not in sheets:
        raise TableError(f"{name} has no sheet {sheet!r}; its sheets are {', '.join(map(repr, sheets))}")
    options: dict[str, Any] = {"header": None, "dtype": object, "keep_default_na": False, "na_values": [""]}
    cells = pd.read_excel(file, sheet_name=sheet or sheets[0], **options)
    if len(sheets) > 1:
        notes.append(f"{name} has {len(sheets)} sheets: {(sheet or sheets[0])!r} is read (--sheet selects another)")
    cells = cells.dropna(how="all").dropna(axis=1, how="all")
    if len(cells) < 2:
        raise TableError(f"{name} holds no rows below the names of the columns")
    frame = cells.iloc[1:].reset_index(drop=True).infer_objects()
    frame.columns = distinct_names(["" if pd.isna(cell) else str(cell) for cell in cells.iloc[0]])
    return frame


def _json(file: BinaryIO) -> pd.DataFrame:
    text = file.read().decode("utf-8-sig").strip()
    rows = json.loads(text) if text.startswith("[") else [json.loads(line) for line in text.splitlines() if line.strip()]
    if not rows or not all(isinstance(row, dict) for row in rows):
        raise ValueError("JSON must be an object for each row, one a line or all in a list")
    return _named(pd.DataFrame(rows))


def _delimited(file: BinaryIO, name: str, header: bool | None, rows: int | None, notes: list[str]) -> Iterator[pd.DataFrame]:
    dialect = dialect_of(_sample(file), name, header)
    notes.extend(dialect.notes)
    if dialect.encoding == "utf-8" and not _is_utf_8(file):
        notes.append(NOT_UTF_8)
        dialect = dialect._replace(encoding="cp1252")
    yield from _cells(file, dialect, rows)


def _is_utf_8(file: BinaryIO) -> bool:
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        while block := file.read(1 << 20):
            decoder.decode(block)
    except UnicodeDecodeError:
        return False
    finally:
        file.seek(0)
    return True


def _sample(file: BinaryIO) -> bytes:
    sample = file.read(SAMPLE)
    file.seek(0)
    return sample


def _cells(file: BinaryIO, dialect: Dialect, rows: int | None) -> Iterator[pd.DataFrame]:
    options: dict[str, Any] = {
        "sep": dialect.delimiter,
        "quotechar": dialect.quote,
        "encoding": dialect.encoding,
        "names": dialect.names,
        "skiprows": dialect.skip,
        "header": None,
        "index_col": False,
        "dtype": str,
        "keep_default_na": False,
        "skipinitialspace": True,
        "on_bad_lines": "error",
    }
    if rows is None:
        yield pd.read_csv(file, **options)
        return
    with pd.read_csv(file, chunksize=rows, **options) as reader:
        yield from reader
