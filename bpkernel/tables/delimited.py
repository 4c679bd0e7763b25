"""The dialect of delimited text: its encoding, delimiter, quotes, and the names of its columns."""

import codecs
import csv
import re
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

DELIMITERS = ",;\t|"
SPACES = r"\s+"
BYTE_ORDER_MARKS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
NOT_UTF_8 = "the text is not UTF-8: it is read as Windows-1252"
LINES = 200  # from which the delimiter is told
NUMBER = re.compile(r"[-+]?(\d+([.,]\d*)?|[.,]\d+)([eE][-+]?\d+)?$")
YEAR = re.compile(r"(19|20)\d\d$")


class TableError(ValueError):
    """An error in the user's table."""


class Dialect(NamedTuple):
    """How to read delimited text."""

    encoding: str
    delimiter: str
    quote: str
    names: list[str]  # of the columns
    skip: int  # lines before the first row of cells
    notes: list[str]  # what was decided, for people


def dialect_of(sample: bytes, name: str, header: bool | None = None) -> Dialect:
    """The dialect of a text from its beginning; raises TableError if it is no text."""
    encoding, text = _decoded(sample, name)
    lines = text.splitlines()[: LINES + 1]
    skip, notes = 0, []
    if encoding == "cp1252":
        notes.append(NOT_UTF_8)
    if lines and re.fullmatch(r"sep=.", lines[0].strip()):  # Excel's own mark
        delimiter, skip = lines[0].strip()[-1], 1
    else:
        delimiter = _delimiter(lines)
    quote = "'" if _quoted(lines, delimiter, "'") > _quoted(lines, delimiter, '"') else '"'
    rows = [(place, row) for place, row in _rows(lines[skip:], delimiter, quote, skip) if any(cell.strip() for cell in row)]
    if not rows:
        raise TableError(f"{name} holds no rows")
    width = Counter(len(row) for _, row in rows[1:] or rows).most_common(1)[0][0]
    above = next((i for i, (_, row) in enumerate(rows) if len(row) in (width, width - 1) and len(row) >= min(2, width)), 0)
    first, names = rows[above]
    if above:
        notes.append(f"{above} line{'s' if above > 1 else ''} above the names of the columns are left out")
    below = [row for _, row in rows[above + 1 :] if len(row) == width]
    if header is None:
        header = not _is_data(names, below)
        if not header:
            notes.append("the first line holds data: the columns are named column_1, column_2, … (--header if it holds names)")
    if header:
        skip, names = _line_after(rows, above, lines), [cell.strip() for cell in names]
        if len(names) == width - 1:  # as R writes row names
            names = ["row_name", *names]
    else:
        skip, names = first, [f"column_{i + 1}" for i in range(width)]
    if header and not below:
        raise TableError(f"{name} holds no rows below the names of the columns")
    unique = distinct_names(names)
    changed = [f"{new!r}" for old, new in zip(names, unique, strict=True) if old != new]
    if changed:
        notes.append(f"columns without a name, or with that of another one, are named {', '.join(changed[:5])}")
    return Dialect(encoding, delimiter, quote, unique, skip, notes)


def distinct_names(names: Sequence[str]) -> list[str]:
    """The names with column_3 for an empty name, and a_2 for the second a."""
    seen: set[str] = set()
    found = []
    for i, given in enumerate(names):
        name = given.strip() or f"column_{i + 1}"
        base, n = name, 1
        while name in seen:
            n += 1
            name = f"{base}_{n}"
        seen.add(name)
        found.append(name)
    return found


def _decoded(sample: bytes, name: str) -> tuple[str, str]:
    for mark, encoding in BYTE_ORDER_MARKS.items():
        if sample.startswith(mark):
            return encoding, codecs.getincrementaldecoder(encoding)().decode(sample)
    if b"\0" in sample:
        raise TableError(f"{name} is no text, and no other table that can be read")
    try:
        return "utf-8", codecs.getincrementaldecoder("utf-8")().decode(sample)
    except UnicodeDecodeError:
        return "cp1252", sample.decode("cp1252", errors="replace")


def _rows(lines: Sequence[str], delimiter: str, quote: str, skip: int) -> list[tuple[int, list[str]]]:
    """The lines as rows of cells, each with the number of its first line."""
    if delimiter == SPACES:
        return [(skip + i, line.split()) for i, line in enumerate(lines)]
    reader = csv.reader(iter(line + "\n" for line in lines), delimiter=delimiter, quotechar=quote, skipinitialspace=True)
    found, before = [], 0
    try:
        for row in reader:
            found.append((skip + before, row))
            before = reader.line_num
    except csv.Error:  # a cell too large: what has been found tells enough
        pass
    return found


def _line_after(rows: Sequence[tuple[int, list[str]]], above: int, lines: Sequence[str]) -> int:
    return rows[above + 1][0] if above + 1 < len(rows) else len(lines)


def _delimiter(lines: Sequence[str]) -> str:
    """The delimiter that splits most lines into the same number of cells, of those the one with the most cells."""
    best = (0.0, 0, "")
    for delimiter in DELIMITERS:
        counts = Counter(len(row) for _, row in _rows(lines, delimiter, '"', 0) if any(row))
        width, n = max(counts.items(), key=lambda item: (item[1] * (item[0] > 1), item[0]), default=(1, 0))
        if width > 1:
            best = max(best, (round(n / counts.total(), 1), width, delimiter))
    if best[0] >= 0.5:
        return best[2]
    counts = Counter(len(line.split()) for line in lines if line.strip())
    width, n = counts.most_common(1)[0] if counts else (1, 0)
    return SPACES if width > 1 and n >= 0.9 * counts.total() and n > 2 else ","


def _quoted(lines: Sequence[str], delimiter: str, quote: str) -> int:
    if delimiter == SPACES:
        return 0
    pattern = re.compile(f"(^|{re.escape(delimiter)}){quote}[^{quote}]*{quote}({re.escape(delimiter)}|$)")
    return sum(pattern.search(line) is not None for line in lines)


def _is_data(first: Sequence[str], below: Sequence[Sequence[str]]) -> bool:
    """Whether the first line looks like those below it: it has numbers wherever they do, and they do somewhere."""
    if len(first) != (len(below[0]) if below else -1):
        return False
    is_number = lambda cell: NUMBER.match(cell.strip()) is not None  # noqa: E731
    numeric = [
        i
        for i in range(len(first))
        if (filled := [row[i] for row in below if row[i].strip()]) and all(map(is_number, filled)) and len(filled) > 1
    ]
    if not numeric or not all(is_number(first[i]) or not first[i].strip() for i in numeric):
        return False
    return any(first[i].strip() for i in numeric) and not all(YEAR.match(first[i].strip()) for i in numeric)
