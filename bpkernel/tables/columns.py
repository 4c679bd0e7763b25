"""What the columns of a table hold, and what becomes of them: told before training, and overruled by options."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from bpkernel.tables import cells
from bpkernel.tables.delimited import TableError

Kind = Literal["number", "date", "boolean", "category", "id", "text", "constant", "duplicate", "dropped", "target"]
USED = ("number", "date", "boolean", "category")
MOST_OTHER = 0.05  # of the cells of a column of numbers or dates, that are something else and count as missing
FEW_INTEGERS = 20  # a target with at most this many different integers is taken for classes
FEWEST_ROWS = 20  # from which a column is taken for an ID, or for text, by its values alone
DISTINCT = 0.9  # a part of different texts from which a column is text, not categories
ID_NAME = re.compile(
    r"(unnamed: \d+|index|idx|id|uuid|guid|key|row_?(id|name|number|num)?|.*[_ ]id|id[_ ].*|.*[a-z]I[dD]|column_1)"
)


@dataclass(frozen=True)
class Column:
    """A column of a table; `style` says how its cells are read."""

    name: str
    kind: Kind
    style: str = ""
    missing: int = 0
    distinct: int = 0
    note: str = ""

    @property
    def fate(self) -> str:
        """What becomes of the column."""
        if self.kind in USED:
            return "used" + (f": {self.note}" if self.note else "")
        return {
            "id": "not used; carried through to predictions",
            "text": "not used: nearly every row has another text",
            "constant": "not used: it has only one value",
            "duplicate": f"not used: equal to {self.note}",
            "dropped": "not used (--drop)",
            "target": "predicted" + (f": {self.note}" if self.note else ""),
        }[self.kind]


@dataclass(frozen=True)
class Overrules:
    """Columns whose kind the user has told."""

    ids: Sequence[str] = ()
    drop: Sequence[str] = ()
    numeric: Sequence[str] = ()
    categorical: Sequence[str] = ()
    dates: Sequence[str] = ()
    day_first: bool = False  # of dates such as 3/4/2021

    def problems(self, names: Iterable[str], target: str) -> list[str]:
        """What is wrong with them for a table."""
        names, seen, found = list(names), dict[str, str](), list[str]()
        options = {"--id": self.ids, "--drop": self.drop, "--numeric": self.numeric}
        for option, given in (options | {"--categorical": self.categorical, "--date": self.dates}).items():
            for name in given:
                if name not in names:
                    found.append(f"{option}: there is no column {name!r}{close_to(name, names)}")
                elif name == target and option not in ("--numeric", "--categorical"):
                    found.append(f"{option}: {name!r} is the target")
                elif name in seen and seen[name] != option:
                    found.append(f"column {name!r} is named by {seen[name]} and by {option}")
                seen[name] = option
        return found


def close_to(name: str, names: Sequence[str]) -> str:
    """A hint at the names of columns."""
    same = [other for other in names if other.strip().lower() == name.strip().lower()]
    return f"; did you mean {same[0]!r}?" if same else f"; the columns are {', '.join(map(repr, names[:20]))}"


def understand(frame: pd.DataFrame, target: str, told: Overrules) -> list[Column]:
    """What each column of a table holds.

    Raises
    ------
    TableError
        That lists all problems at once.
    """
    problems = []
    if target not in frame.columns:
        problems.append(f"there is no target column {target!r}{close_to(target, list(frame.columns))}")
    problems += told.problems(frame.columns, target)
    columns, digests = list[Column](), dict[bytes, str]()
    for place, (name, column) in enumerate(frame.items()):
        if name in told.drop:
            columns.append(Column(str(name), "dropped"))
            continue
        if name == target:
            columns.append(_target(column))
            continue
        nested = _nested(column)
        if nested:
            problems.append(f"column {name!r} holds {nested}, which are neither numbers, dates nor text: drop it (--drop)")
            continue
        texts = cells.texts(column)
        found, problem = _column(column, texts, told, first=place == 0)
        problems += problem
        if found.kind in USED and name not in told.numeric and name not in told.categorical:
            digest = pd.util.hash_pandas_object(texts, index=False).to_numpy().tobytes()
            if digest in digests:
                found = Column(found.name, "duplicate", note=digests[digest], missing=found.missing, distinct=found.distinct)
            digests.setdefault(digest, found.name)
        columns.append(found)
    if not problems and not any(column.kind in USED for column in columns):
        fates = "\n  ".join(f"{column.name}: {column.fate}" for column in columns if column.kind != "target")
        problems.append(
            f"no column is left to predict {target} from; overrule with --numeric, --categorical or --date"
            + (f"\n  {fates}" if fates else ": the table has only this one")
        )
    if problems:
        raise TableError("\n".join(problems))
    return columns


def _nested(column: pd.Series) -> str | None:
    if column.dtype == object:
        kinds = {type(cell).__name__ for cell in column if isinstance(cell, (list, tuple, dict, set, bytes, np.ndarray))}
        return " and ".join(sorted(kinds)) or None
    known = cells.is_typed(column) or cells.is_date(column) or isinstance(column.dtype, pd.CategoricalDtype)
    if known or pd.api.types.is_string_dtype(column):
        return None
    return f"values of {column.dtype}"


def _target(column: pd.Series) -> Column:
    texts = cells.texts(column)
    missing = int(texts.isna().sum())
    note = f"{missing} row{'s' if missing > 1 else ''} without it left out" if missing else ""
    return Column(str(column.name), "target", missing=missing, distinct=int(texts.nunique()), note=note)


def _column(column: pd.Series, texts: pd.Series, told: Overrules, *, first: bool) -> tuple[Column, list[str]]:
    """What a column of these texts holds, and what is wrong with it."""
    name = str(column.name)
    present = texts[texts.notna()]
    counts: dict[str, Any] = {"missing": len(texts) - len(present), "distinct": int(present.nunique())}
    if name in told.ids:
        return Column(name, "id", **counts), []
    if name in told.categorical:
        return Column(name, "category", **counts), []
    kind: Kind
    for option, asked, kind, style_of in (
        ("--numeric", told.numeric, "number", cells.number_style),
        ("--date", told.dates, "date", lambda texts: cells.date_style(texts, 0.0, day_first=told.day_first)),
    ):
        if name in asked:
            style, share = (
                ("", 1.0) if cells.is_date(column) and kind == "date" else style_of(present) if len(present) else ("", 0)
            )
            if share == 0:
                example = f", such as {present.iloc[0]!r}" if len(present) else ""
                return Column(name, "constant"), [f"{option}: column {name!r} holds no {kind}s{example}"]
            return Column(name, kind, style, note=_others(present, share, kind), **counts), []
    if counts["distinct"] == 0 or (counts["distinct"] == 1 and counts["missing"] == 0):
        return Column(name, "constant", **counts), []
    found = _by_values(column, present, name, counts, day_first=told.day_first)
    values = cells.numbers(column, found.style) if found.kind == "number" else None
    if _is_id(found, values, len(texts), first=first):
        return Column(name, "id", **counts), []
    return found, []


def _by_values(column: pd.Series, present: pd.Series, name: str, counts: dict[str, Any], *, day_first: bool) -> Column:
    if cells.is_date(column):
        return Column(name, "date", **counts)
    if cells.is_typed(column) and not pd.api.types.is_bool_dtype(column):
        return Column(name, "number", ".", **counts)
    if (true := cells.boolean_style(present)) is not None:
        return Column(name, "boolean", true, **counts)
    leading_zero = present.map(lambda text: re.fullmatch(r"0\d+", text) is not None).any()
    style, share = cells.number_style(present)
    if share >= 1 - MOST_OTHER and not leading_zero:
        return Column(name, "number", style, note=_others(present, share, "number"), **counts)
    style, share = cells.date_style(present, day_first=day_first)
    if share >= 1 - MOST_OTHER:
        both = style.startswith("%m/") and cells.date_style(present, day_first=True)[0] != style
        notes = [_others(present, share, "date"), "months are read before days; --day-first changes that" if both else ""]
        return Column(name, "date", style, note="; ".join(filter(None, notes)), **counts)
    if counts["distinct"] > DISTINCT * len(present) and len(present) >= FEWEST_ROWS:
        return Column(name, "text", **counts)
    return Column(name, "category", **counts)


def _others(present: pd.Series, share: float, kind: str) -> str:
    n = round((1 - share) * len(present))
    if n == 0:
        return ""
    return f"{n} cell{'s' if n > 1 else ''} that hold{'' if n > 1 else 's'} no {kind} count as missing"


def _is_id(column: Column, values: np.ndarray | None, n_rows: int, *, first: bool) -> bool:
    """Whether a column numbers the rows, or is named as an ID and differs in each of them."""
    if n_rows < FEWEST_ROWS or column.missing or column.distinct < n_rows:
        return False
    named = ID_NAME.fullmatch(column.name.strip().lower()) or ID_NAME.fullmatch(column.name.strip())
    if values is None:
        return bool(named) and column.kind in ("text", "category")
    if not (values == np.floor(values)).all():
        return False
    return bool(named) or (first and bool((np.diff(values) == 1).all()))


def looks_like_classes(target: pd.Series, told: Overrules) -> bool:
    """Whether a target is of classes: text, true and false, or few different integers."""
    if target.name in told.categorical:
        return True
    if target.name in told.numeric:
        return False
    if pd.api.types.is_bool_dtype(target):
        return True
    present = target[cells.texts(target).notna()]
    values = cells.numbers(present, target_style(target))
    if np.isnan(values).any():
        return True
    return bool((values == np.floor(values)).all()) and len(np.unique(values)) <= FEW_INTEGERS


def target_style(target: pd.Series) -> str:
    """The decimal mark of a target."""
    texts = cells.texts(target)
    return "." if cells.is_typed(target) or texts.isna().all() else cells.number_style(texts[texts.notna()])[0]
