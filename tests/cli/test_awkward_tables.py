"""Tables as people have them: each is trained on, or refused with every reason at once, and nothing ends in a traceback."""

import gzip
import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

N = 40
RNG = np.random.default_rng(0)
X = RNG.standard_normal(N).round(2)
Y = np.where(X > 0, "up", "down")
ROWS = [f"{x},{y}" for x, y in zip(X, Y, strict=True)]


def csv(*lines, end="\n", encoding="utf-8"):
    return end.join([*lines, ""]).encode(encoding)


def table(header="x,t", rows=ROWS, **more):
    return csv(header, *rows, **more)


def with_column(name, cells, place=0):
    """The table with a further column."""
    rows = [row.split(",") for row in ("x,t", *ROWS)]
    for row, cell in zip(rows, (name, *cells), strict=True):
        row.insert(place, str(cell))
    return csv(*map(",".join, rows))


WIDE = [*(f"c{i}" for i in range(600)), "t"]
WIDE_ROWS = [[*map(str, RNG.standard_normal(600).round(1)), y] for y in Y]


def workbook():
    file = io.BytesIO()
    with pd.ExcelWriter(file, engine="openpyxl") as writer:
        pd.DataFrame({"x": X, "t": Y}).to_excel(writer, index=False)
    return file.getvalue()


TRAINED = {  # name of the file: (content, what the output tells)
    "plain.csv": (table(), "x  number  0"),
    "semicolons.csv": (csv("x;t", *(row.replace(",", ";").replace(".", ",") for row in ROWS)), "x  number  0"),
    "tabs.txt": (csv("x\tt", *(row.replace(",", "\t") for row in ROWS)), "x  number  0"),
    "windows.csv": (table(end="\r\n"), "x  number  0"),
    "marked.csv": (b"\xef\xbb\xbf" + table(), "x  number  0"),
    "utf16.csv": (table(encoding="utf-16"), "x  number  0"),
    "latin.csv": (table(header="größe,t", encoding="latin-1"), "größe  number  0"),
    "packed.csv.gz": (gzip.compress(table(), mtime=0), "x  number  0"),
    "quoted.csv": (csv('"x","t"', *(f'"{x}","{y}, or so"' for x, y in zip(X, Y, strict=True))), "x  number  0"),
    "sheet.xlsx": (workbook(), "x  number  0"),
    "lines.jsonl": (csv(*(f'{{"x": {x}, "t": "{y}"}}' for x, y in zip(X, Y, strict=True))), "x  number  0"),
    "no_header.csv": (csv(*ROWS), "column_1  number  0"),
    "missing.csv": (with_column("z", [""] * 5 + [1.5, 2.5] * 17 + ["?"]), "z  number  6"),
    "all_missing.csv": (with_column("z", [""] * N), "z  constant  40"),
    "missing_target.csv": (csv("x,t", *ROWS, "1.0,", "2.0,?"), "t  target  2"),
    "constant.csv": (with_column("z", [7] * N), "z  constant  0"),
    "duplicate.csv": (with_column("z", X, 1), "z  duplicate  0"),
    "index.csv": (with_column("", range(N)), "id  0"),
    "ids.csv": (with_column("customer_id", RNG.permutation(10**6)[:N]), "customer_id  id  0"),
    "comments.csv": (with_column("remark", [f'"said {i} things"' for i in range(N)]), "remark  text  0"),
    "money.csv": (with_column("price", [f'"$1,0{i * 7 % N:02d}.50"' for i in range(N)]), "price  number  0"),
    "percent.csv": (with_column("share", [f"{i * 7 % N}%" for i in range(N)]), "share  number  0"),
    "dates.csv": (with_column("day", pd.date_range("2024-01-30", periods=N).strftime("%d.%m.%Y")), "day  date (%d.%m.%Y)"),
    "yes_no.csv": (with_column("flag", ["Yes", "No"] * 20), "flag  boolean  0"),
    "zip_codes.csv": (with_column("code", ["01234", "09876"] * 20), "code  category  0"),
    "rare.csv": (with_column("c", ["a"] * 19 + ["b"] * 20 + ["once"]), "c  category  0"),
    "infinite.csv": (with_column("z", [1, 2] * 19 + ["inf", "1e999"]), "2 cells that hold no number count as missing"),
    "huge.csv": (with_column("z", [f"{i}e306" for i in range(N)]), "z  number  0"),
    "markup.csv": (table(header="<img src=x onerror=alert(1)>,t"), "<img src=x onerror=alert(1)>  number  0"),
    "formula.csv": (with_column("=1+1", ["=2*3", "@x"] * 20), "=1+1  category  0"),
    "brackets.csv": (table(header="[red]x[/red],t"), "[red]x[/red]  number  0"),
    "boolean_target.csv": (csv("x,t", *(f"{x},{x > 0}" for x in X)), "t  target  0"),
    "numbers_target.csv": (csv("x,t", *(f'{x},"€{2000 + 100 * x:,.1f}"' for x in X)), "R²"),
    "wide.csv": (csv(",".join(WIDE), *(",".join(row) for row in WIDE_ROWS)), "600 columns"),
}

REFUSED = {  # name of the file: (content, all reasons that the message has)
    "empty.csv": (b"", ["empty"]),
    "only_header.csv": (csv("x,t"), ["no rows"]),
    "one_column.csv": (csv("t", *Y), ["no column is left"]),
    "one_class.csv": (csv("x,t", *(f"{x},up" for x in X)), ["only one class"]),
    "single.csv": (csv("x,t", *ROWS, "1.0,sideways"), ["'sideways'", "1 of 41 rows"]),
    "two_rows.csv": (csv("x,t", "1,up", "2,down"), ["of 2 rows"]),
    "no_target.csv": (table(header="x,T"), ["'t'", "did you mean 'T'"]),
    "ragged.csv": (csv("x,t", *ROWS, "1,2,3,4"), ["42"]),
    "picture.csv": (b"\x89PNG\r\n\x1a\n" + bytes(range(256)), ["picture.csv"]),
    "broken.parquet": (b"PAR1" + bytes(50), ["broken.parquet"]),
    "nested.jsonl": (csv(*(f'{{"x": [{x}], "t": "{y}"}}' for x, y in zip(X, Y, strict=True))), ["'x'", "--drop"]),
}


def words(text):
    return " ".join(text.replace("│", " ").replace("┃", " ").split())


@pytest.mark.parametrize("name", TRAINED)
def test_it_is_trained_on(call, name):
    content, told = TRAINED[name]
    Path(name).write_bytes(content)
    target = "column_2" if name == "no_header.csv" else "t"
    status, out, err = call("train", name, "--target", target, "--epochs", 2, "--output", "run")
    assert status == 0, err
    assert "Traceback" not in err
    assert words(told) in words(out)
    report = Path("run/report.html").read_text()
    assert "<img src=x" not in report
    status, out, err = call("predict", "run/model.safetensors", name, "--output", "-")
    assert status == 0, err
    assert "nan" not in out.lower()


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused_with_every_reason(call, name):
    content, reasons = REFUSED[name]
    Path(name).write_bytes(content)
    status, out, err = call("train", name, "--target", "t", "--epochs", 2)
    assert status == 2
    assert "Traceback" not in out + err
    for reason in reasons:
        assert reason in words(out + err)
    assert not Path("runs").exists()
