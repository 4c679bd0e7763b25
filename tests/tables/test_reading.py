"""Tables in files of many kinds."""

import bz2
import gzip
import io
import json
import lzma
import zipfile

import numpy as np
import pandas as pd
import pytest

from bpkernel.tables import reading
from bpkernel.tables.delimited import TableError, distinct_names

PLAIN = "a,b,y\n1,x,0\n2,,1\n3,z,0\n"


@pytest.fixture
def read(tmp_path):
    """Write bytes or text to a file, and read it."""

    def written(content, name="t.csv", **options):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return reading.read([path], **options)

    return written


def cells(frame):
    return [list(frame.columns), *frame.fillna("").astype(str).to_numpy().tolist()]


WANTED = [["a", "b", "y"], ["1", "x", "0"], ["2", "", "1"], ["3", "z", "0"]]


def zipped(content):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("inside.csv", content)
    return file.getvalue()


DIALECTS = {
    "commas": PLAIN,
    "lines of Windows": PLAIN.replace("\n", "\r\n"),
    "semicolons": PLAIN.replace(",", ";"),
    "tabs": PLAIN.replace(",", "\t"),
    "bars": PLAIN.replace(",", "|"),
    "quotes": PLAIN.replace("x", '"x"'),
    "single quotes": PLAIN.replace("x", "'x'").replace("z", "'z'"),
    "mark of Excel": "sep=;\n" + PLAIN.replace(",", ";"),
    "byte order mark": "\ufeff" + PLAIN,
    "utf-16": PLAIN.encode("utf-16"),
    "title": "A table of things\n\n" + PLAIN,
    "empty lines": PLAIN + "\n\n",
    "gzip": gzip.compress(PLAIN.encode()),
    "bzip2": bz2.compress(PLAIN.encode()),
    "xz": lzma.compress(PLAIN.encode()),
    "zip": zipped(PLAIN),
    "gzip twice": gzip.compress(gzip.compress(PLAIN.encode())),
}


@pytest.mark.parametrize("name", DIALECTS)
def test_delimited_text_of_any_dialect_has_the_same_cells(read, name):
    assert cells(read(DIALECTS[name]).frame) == WANTED


def test_the_name_of_a_file_does_not_matter(read):
    assert cells(read(PLAIN, "table.data").frame) == WANTED
    assert cells(read(gzip.compress(PLAIN.encode()), "table").frame) == WANTED


def test_columns_may_be_separated_by_spaces(read):
    assert cells(read("a  b y\n1  x 0\n22 y 1\n3  z 0\n").frame)[2] == ["22", "y", "1"]


def test_cells_in_quotes_may_hold_delimiters_quotes_and_lines(read):
    frame = read('a,y\n"1,5",0\n"say ""no""",1\n"two\nlines",0\n').frame
    assert frame["a"].tolist() == ["1,5", 'say "no"', "two\nlines"]


def test_row_names_as_of_r_become_a_column(read):
    assert cells(read("a,y\nr1,1,0\nr2,2,1\nr3,3,1\n").frame)[:2] == [["row_name", "a", "y"], ["r1", "1", "0"]]


def test_a_first_line_of_data_is_noticed_and_can_be_overruled(read):
    found = read("1,2\n3,4\n5,6\n")
    assert not found.header
    assert cells(found.frame)[:2] == [["column_1", "column_2"], ["1", "2"]]
    assert "the first line holds data" in found.notes[0]
    assert list(read("1,2\n3,4\n5,6\n", header=True).frame.columns) == ["1", "2"]
    assert len(read("a,b\n3,4\n5,6\n", header=False).frame) == 3
    years = read("1999,2000\n3,4\n5,6\n")
    assert years.header
    assert list(years.frame.columns) == ["1999", "2000"]


def test_names_of_columns_are_made_distinct(read):
    found = read(",a,a,a_2\n0,1,2,3\n1,2,3,4\n")
    assert list(found.frame.columns) == ["column_1", "a", "a_2", "a_2_2"]
    assert "'column_1', 'a_2', 'a_2_2'" in found.notes[0]
    assert distinct_names([" a ", "a", ""]) == ["a", "a_2", "column_3"]


def test_text_that_is_not_utf8_is_read_as_windows_1252(read):
    early, late = "a,y\né,1\nb,2\n", "a,y\n" + "b,1\n" * 100_000 + "é,2\n"
    for text in (early, late):
        found = read(text.encode("cp1252"))
        assert "é" in set(found.frame["a"])
        assert found.notes == ["the text is not UTF-8: it is read as Windows-1252"]


def test_typed_formats_keep_their_types(tmp_path, read):
    frame = pd.DataFrame(
        {"n": [1.5, None], "s": ["x", "y"], "d": pd.to_datetime(["2020-01-01", "2021-01-01"]), "b": [True, False]}
    )
    frame.to_parquet(tmp_path / "t.parquet")
    frame.to_feather(tmp_path / "t.feather")
    frame.to_excel(tmp_path / "t.xlsx", index=False)
    for name in ("t.parquet", "t.feather", "t.xlsx"):
        found = reading.read([tmp_path / name]).frame
        assert list(found.columns) == list(frame.columns)
        assert found["n"].tolist()[0] == 1.5
        assert np.isnan(found["n"].tolist()[1])
        assert pd.api.types.is_datetime64_any_dtype(found["d"])
        assert found["b"].tolist() == [True, False]
    rows = [{"a": 1, "y": "u"}, {"a": None, "y": "v"}]
    for text in ("\n".join(map(json.dumps, rows)) + "\n", json.dumps(rows)):
        assert read(text, "t.json").frame["y"].tolist() == ["u", "v"]


def test_a_sheet_of_a_workbook_is_chosen(tmp_path):
    with pd.ExcelWriter(tmp_path / "t.xlsx") as book:
        pd.DataFrame({"a": [1], "y": [2]}).to_excel(book, sheet_name="one", index=False, startrow=2, startcol=1)
        pd.DataFrame({"b": [3]}).to_excel(book, sheet_name="two", index=False)
    first = reading.read([tmp_path / "t.xlsx"])
    assert list(first.frame.columns) == ["a", "y"]
    assert "has 2 sheets: 'one' is read" in first.notes[0]
    assert list(reading.read([tmp_path / "t.xlsx"], sheet="two").frame.columns) == ["b"]
    with pytest.raises(TableError, match="no sheet 'three'; its sheets are 'one', 'two'"):
        reading.read([tmp_path / "t.xlsx"], sheet="three")


def test_several_files_are_one_table_if_their_columns_are_the_same(tmp_path):
    for name, text in (("1.csv", "a,y\n1,2\n"), ("2.csv", "y;a\n4;3\n"), ("3.csv", "a,z\n1,2\n")):
        (tmp_path / name).write_text(text)
    assert cells(reading.read([tmp_path / "1.csv", tmp_path / "2.csv"]).frame) == [["a", "y"], ["1", "2"], ["3", "4"]]
    with pytest.raises(TableError, match=r"3.csv has other columns than .*1.csv: it lacks 'y' and has besides 'z'"):
        reading.read([tmp_path / "1.csv", tmp_path / "3.csv"])


def test_standard_input_is_a_table(monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(PLAIN.encode())))
    assert cells(reading.read(["-"]).frame) == WANTED


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "t.parquet"])
def test_blocks_together_are_the_table(tmp_path, name):
    frame = pd.DataFrame({"a": np.arange(1000).astype(str), "y": ["u", "v"] * 500})
    frame.to_parquet(tmp_path / name) if name.endswith("parquet") else frame.to_csv(tmp_path / name, index=False)
    found = list(reading.blocks(tmp_path / name, rows=300))
    assert [len(block) for block in found] == [300, 300, 300, 100]
    assert pd.concat(found)["a"].tolist() == frame["a"].tolist()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        ("  \n\n", "is empty"),
        ("a,b\n", "holds no rows below the names"),
        ("a,b\n1,2\n1,2,3\n", "line 3 has 3 cells, the other lines have 2"),
        (b"PAR1 no parquet", "cannot be read"),
        (b"PK\x03\x04 no zip", "cannot be read"),
        (gzip.compress(PLAIN.encode(), mtime=0)[:-9], "cannot be read"),
        (b"\x00\x01\x02", "is no text"),
        ("<html><table></table></html>", "is a web page"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1", "save it as .xlsx or CSV"),
        (b"SQLite format 3\x00", "SQLite"),
        (b"\x80\x04\x95", "pickle, which could run code"),
        ('[{"a": 1}, ', "cannot be read"),
        ('[{"a": 1', "cannot be read"),
    ],
)
def test_what_is_no_table_is_told(read, content, message):
    with pytest.raises(TableError, match=message):
        read(content)


def test_missing_files_and_folders_are_told(tmp_path):
    with pytest.raises(TableError, match="there is no file"):
        reading.read([tmp_path / "none.csv"])
    with pytest.raises(TableError, match="it is a folder"):
        reading.read([tmp_path])


def test_an_archive_of_two_files_is_refused(read):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("1.csv", PLAIN)
        archive.writestr("2.csv", PLAIN)
    with pytest.raises(TableError, match="holds 2 files"):
        read(file.getvalue())


def test_random_bytes_never_end_in_another_exception(read):
    rng = np.random.default_rng(0)
    starts = [b"", b"a,b\n", b"PAR1", b"PK\x03\x04", b"\x1f\x8b", b"ARROW1", b"{", b"[", b"\xff\xfe", b"BZh9"]
    refused = 0
    for i in range(300):
        content = starts[i % len(starts)] + rng.bytes(int(rng.integers(0, 200)))
        try:
            read(content)
        except TableError:
            refused += 1
    assert refused > 150
