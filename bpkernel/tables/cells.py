"""What cells mean: numbers, dates, true and false, and texts, of text or of typed columns."""

import re

import numpy as np
import pandas as pd

MISSING = frozenset(("", "na", "n/a", "nan", "null", "none", "?", "-", "--", "#n/a", "#na", "<na>", "nat"))
CURRENCY = "$€£¥₹"
# By decimal mark: a number with its mark of thousands, as a currency or in per cent, or in brackets if it is negative.
STYLES = {
    mark: re.compile(
        rf"\(?\s*[-+−]?\s*[{CURRENCY}]?\s*[-+]?(\d{{1,3}}([{thousands}\s']\d{{3}})+|\d+)?({re.escape(mark)}\d*)?"
        rf"([eE][-+]?\d+)?\s*[%{CURRENCY}]?\s*\)?"
    )
    for mark, thousands in ((".", ","), (",", "."))
}
WHOLE = re.compile(r"-?\d+\.0+")
TRUE = {"true": "false", "yes": "no", "t": "f", "y": "n"}
DATES = {  # by the form of the text
    "ISO8601": r"\d{4}-\d\d?(-\d\d?)?([T ]\d\d?:\d\d.*)?",
    "%m/%d/%Y": r"\d\d?/\d\d?/\d{4}",
    "%d/%m/%Y": r"\d\d?/\d\d?/\d{4}",
    "%d.%m.%Y": r"\d\d?\.\d\d?\.\d{4}",
    "%d-%m-%Y": r"\d\d?-\d\d?-\d{4}",
    "%Y/%m/%d": r"\d{4}/\d\d?/\d\d?",
    "%m/%d/%y": r"\d\d?/\d\d?/\d\d",
    "%d/%m/%y": r"\d\d?/\d\d?/\d\d",
    "%d-%b-%Y": r"\d\d?-[A-Za-z]{3}-\d{4}",
    "%d-%b-%y": r"\d\d?-[A-Za-z]{3}-\d\d",
    "%d %b %Y": r"\d\d? [A-Za-z]{3} \d{4}",
    "%d %B %Y": r"\d\d? [A-Za-z]{3,9} \d{4}",
    "%b %d, %Y": r"[A-Za-z]{3} \d\d?, \d{4}",
    "%B %d, %Y": r"[A-Za-z]{3,9} \d\d?, \d{4}",
}
TIMES = {"": "", " %H:%M": r" \d\d?:\d\d", " %H:%M:%S": r" \d\d?:\d\d:\d\d", " %I:%M %p": r" \d\d?:\d\d [AaPp][Mm]"}


def is_typed(column: pd.Series) -> bool:
    """Whether a column holds numbers, or True and False, by its type."""
    return pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_complex_dtype(column)


def is_date(column: pd.Series) -> bool:
    """Whether a column holds dates by its type."""
    return pd.api.types.is_datetime64_any_dtype(column)


def texts(column: pd.Series) -> pd.Series:
    """The cells as stripped text, None where they are missing; integers as such, also 1.0."""
    codes, distinct = pd.factorize(column)  # -1 where they are missing
    found = np.array([*map(_text, distinct.tolist()), None], object)
    return pd.Series(found[codes], column.index, object, name=column.name)


def _text(cell: object) -> str | None:
    if isinstance(cell, float) and cell.is_integer() and abs(cell) < 2**53:
        return str(int(cell))
    text = str(cell).strip()
    if text.lower() in MISSING:
        return None
    return text.split(".")[0] if WHOLE.fullmatch(text) else text


def numbers(column: pd.Series, style: str = ".") -> np.ndarray:
    """The cells as float64 (n,), NaN where they are missing, infinite or no numbers; `style` is the decimal mark."""
    if is_typed(column):
        values = column.to_numpy(float, na_value=np.nan)
        return np.where(np.isfinite(values), values, np.nan)
    cells = texts(column)
    values = np.full(len(cells), np.nan)
    filled = cells.notna().to_numpy()
    present = cells[filled]
    found = np.full(len(present), np.nan)
    if style == ".":
        found[:] = pd.to_numeric(present, errors="coerce")
    left = np.isnan(found)
    if left.any():
        found[left] = [number(text, style) for text in present[left]]
    values[filled] = np.where(np.isfinite(found), found, np.nan)
    return values


def number(text: str, style: str = ".") -> float:
    """The number that a text stands for, NaN if none; `style` is the decimal mark."""
    if not STYLES[style].fullmatch(text) or not any(map(str.isdigit, text)):
        return np.nan
    negative = text.startswith("(") and text.endswith(")")
    plain = re.sub(rf"[\s'()%{CURRENCY}{',' if style == '.' else '.'}]", "", text).replace("−", "-").replace(style, ".")
    try:
        return -float(plain) if negative else float(plain)
    except ValueError:
        return np.nan


def dates(column: pd.Series, style: str) -> np.ndarray:
    """The cells as days since 1970 in float64 (n,), NaN where they are missing or no dates; `style` is their format."""
    typed = is_date(column)
    moments = pd.to_datetime(column if typed else texts(column), errors="coerce", utc=True, format=None if typed else style)
    days = (moments - pd.Timestamp(0, tz="UTC")) / pd.Timedelta(days=1)
    return days.to_numpy(float, na_value=np.nan)


def booleans(column: pd.Series, style: str) -> np.ndarray:
    """1 for the word `style`, such as true, 0 for its opposite, in float64 (n,); NaN for other cells."""
    found = texts(column).map(lambda text: None if text is None else text.lower())
    return found.map({style: 1.0, TRUE[style]: 0.0}).to_numpy(float, na_value=np.nan)


def number_style(cells: pd.Series) -> tuple[str, float]:
    """The decimal mark with which most of the texts are numbers, and the part of them that are."""
    shares = {style: float(np.isfinite(numbers(cells, style)).mean()) for style in STYLES}
    best = max(shares, key=lambda style: shares[style])
    return best, shares[best]


def date_style(cells: pd.Series, least: float = 0.9, *, day_first: bool = False) -> tuple[str, float]:
    """The format with which most of the texts are dates, at least this part of them, and the part of them that are.

    day_first : whether days stand before months where the texts allow both.
    """
    first = cells.iloc[:50]
    best = "", 0.0
    for day, day_form in sorted(DATES.items(), key=lambda entry: day_first and entry[0].startswith("%m/")):
        for time, time_form in TIMES.items() if day != "ISO8601" else (("", ""),):
            pattern = re.compile(day_form + time_form)
            if sum(pattern.fullmatch(text) is not None for text in first) < max(1, least * len(first)):
                continue
            share = float(np.isfinite(dates(cells, day + time)).mean())
            if share > best[1]:
                best = day + time, share
    return best


def boolean_style(cells: pd.Series) -> str | None:
    """The word for true, if all texts are true and false, yes and no, or the like."""
    words = set(cells.map(str.lower).unique())
    return next((true for true, false in TRUE.items() if words == {true, false}), None)
