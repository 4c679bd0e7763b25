"""What the columns of a table hold."""

import numpy as np
import pandas as pd
import pytest

from bpkernel.tables import cells
from bpkernel.tables.columns import Overrules, looks_like_classes, understand
from bpkernel.tables.delimited import TableError

N = 40
Y = [str(i % 2) for i in range(N)]


def column_of(values, name="c", **told):
    frame = pd.DataFrame({"other": [str((7 * i) % 5) for i in range(len(values))], name: values, "y": Y[: len(values)]})
    return {column.name: column for column in understand(frame, "y", Overrules(**told))}[name]


@pytest.mark.parametrize(
    ("cell", "number"),
    [
        ("1", 1),
        ("-2.5", -2.5),
        ("+3", 3),
        (" 4 ", 4),
        ("1e3", 1000),
        ("1,234", 1234),
        ("1,234,567.5", 1234567.5),
        ("$12.50", 12.5),
        ("-$1,000", -1000),
        ("12 €", 12),
        ("12%", 12),
        ("(5)", -5),
        ("−6", -6),
        (".5", 0.5),
        ("5.", 5),
        ("1 234", 1234),
        ("?", np.nan),
        ("", np.nan),
        ("NA", np.nan),
        ("inf", np.nan),
        ("1,23", np.nan),
        ("abc", np.nan),
        ("1.2.3", np.nan),
        ("-", np.nan),
        ("1e400", np.nan),
        ("0x10", np.nan),
        ("1_000", np.nan),
    ],
)
def test_numbers_with_a_decimal_point(cell, number):
    np.testing.assert_equal(cells.numbers(pd.Series([cell, "7"], dtype=object)), [number, 7])


@pytest.mark.parametrize(
    ("cell", "number"),
    [("1,5", 1.5), ("1.234", 1234), ("1.234.567,5", 1234567.5), ("€ 3,50", 3.5), ("7", 7), ("-0,25", -0.25), ("1.5", np.nan)],
)
def test_numbers_with_a_decimal_comma(cell, number):
    np.testing.assert_equal(cells.numbers(pd.Series([cell], dtype=object), ","), [number])


@pytest.mark.parametrize(
    ("values", "kind", "style"),
    [
        ([str(i * 0.5) for i in range(N)], "number", "."),
        ([f"{i},5" for i in range(N)], "number", ","),
        ([f"{i},{i + 100}.5" for i in range(N)], "number", "."),
        ([f"0{i}1" for i in range(N // 2)] * 2, "category", ""),  # codes: the zero would be lost
        (["red", "green", "blue", ""] * 10, "category", ""),
        (["yes", "No", "YES", "?"] * 10, "boolean", "yes"),
        (["true", "false"] * 20, "boolean", "true"),
        ([True, False] * 20, "boolean", "true"),
        ([f"2021-03-{1 + i % 28:02d}" for i in range(N)], "date", "ISO8601"),
        ([f"{1 + i % 28}.3.2021" for i in range(N)], "date", "%d.%m.%Y"),
        ([f"{1 + i % 28}/3/2021" for i in range(N)], "date", "%d/%m/%Y"),
        ([f"3/{1 + i % 28}/2021 10:{i:02d}" for i in range(N)], "date", "%m/%d/%Y %H:%M"),
        ([f"{1 + i % 28} March 2021" for i in range(N)], "date", "%d %B %Y"),
        (pd.date_range("2020-01-01", periods=N), "date", ""),
        ([f"a sentence with {i}" for i in range(N)], "text", ""),
        (["same"] * N, "constant", ""),
        ([""] * N, "constant", ""),
        (["only", ""] * (N // 2), "category", ""),
        ([str(i * i) for i in range(N)], "number", "."),
        ([1.5, None] * (N // 2), "number", "."),
        (pd.Categorical(["u", "v"] * (N // 2)), "category", ""),
    ],
)
def test_kinds_are_told_from_the_cells(values, kind, style):
    found = column_of(values)
    assert (found.kind, found.style) == (kind, style)


@pytest.mark.parametrize(
    ("name", "place", "values", "kind"),
    [
        ("column_1", 0, [str(i) for i in range(N)], "id"),
        ("Unnamed: 0", 0, list(range(N)), "id"),
        ("anything", 0, list(range(5, 5 + N)), "id"),
        ("anything", 1, list(range(5, 5 + N)), "number"),
        ("PassengerId", 1, [str(3 * i) for i in range(N)], "id"),
        ("customer_id", 1, [f"c-{i}x" for i in range(N)], "id"),
        ("customer_id", 1, [str(i // 2) for i in range(N)], "number"),
        ("idle", 1, [str((3 * i) % 41) for i in range(N)], "number"),
    ],
)
def test_columns_that_name_the_rows_are_ids(name, place, values, kind):
    frame = pd.DataFrame({"other": [str((7 * i) % 5) for i in range(N)], "y": Y})
    frame.insert(place, name, values)
    assert {column.name: column.kind for column in understand(frame, "y", Overrules())}[name] == kind


def test_options_overrule_the_kinds():
    digits = [str(i % 3) for i in range(N)]
    assert column_of(digits, categorical=["c"]).kind == "category"
    assert column_of(digits, ids=["c"]).kind == "id"
    assert column_of(digits, drop=["c"]).kind == "dropped"
    mixed = column_of(["1", "2", "low"] * 10, numeric=["c"])
    assert (mixed.kind, mixed.fate) == ("number", "used: 10 cells that hold no number count as missing")
    assert column_of(["2021-01-01", "later"] * 10, dates=["c"]).kind == "date"


def test_dates_that_can_be_read_both_ways_are_noted():
    frame = pd.DataFrame({"d": [f"{i % 12 + 1}/{i % 11 + 1}/2021" for i in range(40)], "y": [0, 1] * 20})
    (month_first, _), (day_first, _) = (understand(frame, "y", Overrules(day_first=way)) for way in (False, True))
    assert (month_first.style, day_first.style) == ("%m/%d/%Y", "%d/%m/%Y")
    assert "--day-first" in month_first.fate
    assert day_first.fate == "used"
    plain = pd.DataFrame({"d": [f"{i % 12 + 1}/{i % 28 + 1}/2021" for i in range(40)], "y": [0, 1] * 20})
    assert understand(plain, "y", Overrules(day_first=True))[0] == understand(plain, "y", Overrules())[0]
    assert understand(plain, "y", Overrules())[0].fate == "used"


def test_equal_columns_are_used_once():
    frame = pd.DataFrame({"a": ["1", "2", "3"], "b": ["1.0", "2", "3"], "y": ["u", "v", "u"]})
    assert [column.kind for column in understand(frame, "y", Overrules())] == ["number", "duplicate", "target"]


def test_all_problems_are_told_at_once():
    frame = pd.DataFrame({"a": [[1], [2]], "b": ["x", "y"], "T": [1, 2]})
    with pytest.raises(TableError) as found:
        understand(frame, "t", Overrules(ids=["q"], numeric=["b"], dates=["b"]))
    message = str(found.value)
    for part in (
        "no target column 't'; did you mean 'T'?",
        "--id: there is no column 'q'",
        "named by --numeric and by --date",
        "column 'a' holds list",
        "--numeric: column 'b' holds no numbers, such as 'x'",
    ):
        assert part in message


def test_a_table_without_a_column_to_use_is_told_why():
    frame = pd.DataFrame({"a": ["same"] * 3, "y": ["u", "v", "u"]})
    with pytest.raises(TableError, match=r"(?s)no column is left to predict y from.*a: not used: it has only one value"):
        understand(frame, "y", Overrules())
    with pytest.raises(TableError, match="the table has only this one"):
        understand(frame[["y"]], "y", Overrules())


@pytest.mark.parametrize(
    ("values", "classes"),
    [
        (["a", "b"], True),
        ([True, False], True),
        ([0, 1, 2], True),
        ([1.0, 2.0, None], True),
        ([0.5, 1.0], False),
        (range(30), False),
        (["1", "2", ""], True),
        (["1.5", "2", ""], False),
        (["1,5", "2,5"], False),
        (["$5.50", "$1,000"], False),
    ],
)
def test_what_looks_like_classes(values, classes):
    assert looks_like_classes(pd.Series(values), Overrules()) is classes


def test_a_target_is_overruled():
    assert not looks_like_classes(pd.Series([0, 1, 2], name="y"), Overrules(numeric=["y"]))
    assert looks_like_classes(pd.Series([0.5, 1, 2], name="y"), Overrules(categorical=["y"]))
