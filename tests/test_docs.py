"""The page on nets and functions agrees with the code: its examples run, and its tables name what there is."""

import doctest
import re
from pathlib import Path

import pytest

from bpkernel.functions.activations import BY_NAME as ACTIVATIONS
from bpkernel.functions.activations import HIDDEN
from bpkernel.functions.losses import BY_NAME as LOSSES
from bpkernel.initializers import INITIALIZERS

DOCS = Path(__file__).parent.parent / "docs"
PAGE = (DOCS / "nets.md").read_text(encoding="utf-8")


def run(block: str, names: dict[str, object], line: int, page: str = "nets.md") -> int:
    """Run one block of the page; in an interactive one, compare the outputs, and return how many there are."""
    if not block.startswith(">>>"):
        exec(compile("\n" * line + block, page, "exec"), names)
        return 0
    test = doctest.DocTestParser().get_doctest(block, names, page, page, line)
    test.globs = names  # and not a copy: later blocks use what this one defines
    doctest.DebugRunner().run(test, clear_globs=False)
    return sum(bool(example.want) for example in test.examples)


def run_commands(block: str) -> int:
    """Run the commands of a block that end by themselves; returns how many there are."""
    from bpkernel.cli.commands import app

    lines = [line.partition("  #")[0].split() for line in block.splitlines()]
    lines = [words for words in lines if words[:1] == ["bpkernel"] and words[1] != "serve"]
    for words in lines:
        app(words[1:], standalone_mode=False)
    return len(lines)


def test_the_commands_and_examples_of_tables_run_in_order(tmp_path, monkeypatch):
    pytest.importorskip("typer")
    pytest.importorskip("onnx")
    monkeypatch.chdir(tmp_path)
    text, compared, commands = (DOCS / "tables.md").read_text(encoding="utf-8"), 0, 0
    names: dict[str, object] = {"__name__": "page"}
    for match in re.finditer(r"```(python|console)\n(.*?)```", text, re.DOTALL):
        if match[1] == "console":
            commands += run_commands(match[2])
        else:
            compared += run(match[2], names, text.count("\n", 0, match.start(2)), "tables.md")
    assert compared >= 5
    assert commands >= 5
    assert (tmp_path / "cancer.onnx").exists()


@pytest.mark.parametrize(("page", "least"), [("nets.md", 20), ("derivatives.md", 12), ("training.md", 16)])
def test_the_examples_run_in_order_and_give_the_outputs_shown(page, least, tmp_path, monkeypatch):
    pytest.importorskip("safetensors")
    plt = pytest.importorskip("matplotlib.pyplot")
    plt.switch_backend("Agg")
    monkeypatch.chdir(tmp_path)
    text, compared = (DOCS / page).read_text(encoding="utf-8"), 0
    names: dict[str, object] = {"__name__": "page"}
    for match in re.finditer(r"```python\n(.*?)```", text, re.DOTALL):
        compared += run(match[1], names, text.count("\n", 0, match.start(1)), page)
    plt.close("all")
    assert compared > least


def test_an_output_that_differs_is_noticed():
    with pytest.raises(doctest.DocTestFailure):
        run(">>> 1 + 1\n3\n", {}, 0)


def table(header: str) -> list[list[str]]:
    """The cells of the rows of the table whose header begins so."""
    rows = re.search(rf"^\| name \| {re.escape(header)}.*\n\|[-|]*\|\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
    assert rows is not None
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in rows[1].splitlines()]


def test_the_table_of_activations_is_complete():
    rows = table("z = g(a)")
    assert [row[0] for row in rows] == [f"`{name}`" for name in ACTIVATIONS]
    assert [row[2] for row in rows] == [activation.values for activation in ACTIVATIONS.values()]
    assert [row[0] for row in rows[:-3]] == [f"`{name}`" for name in HIDDEN]  # the last three are for outputs only


def test_the_table_of_losses_is_complete():
    rows = table("E^n")
    assert [row[0] for row in rows] == [f"`{name}`" for name in LOSSES]
    for (name, loss), row in zip(LOSSES.items(), rows, strict=True):
        accepts = ["real", "positive", "probability"] if row[3] == "any" else row[3].split(", ")
        assert list(loss.accepts) == accepts, name
        assert row[4] == (f"`{loss.canonical}`" if loss.canonical else ""), name
        kinds = {"real": "any", "non_negative": "≥ 0", "positive": "> 0", "probability": "0 to 1", "sign": "-1 or 1"}
        assert row[2].startswith({**kinds, "distribution": "classes"}[loss.targets]), name
        default = re.match(r"`bp\.(\w+\(\w+=[\d.]+\))`", row[5])
        assert default is None or default[1] == repr(loss)


def test_initialisations_are_complete():
    assert [row[0] for row in table("weights")] == [f"`{name}`" for name in INITIALIZERS]
    defaults = PAGE.split("follows from the activation that the weights lead to:")[1].split("- `he_uniform` for all others")[0]
    named = {line.split("`")[1]: line.split("`")[3::2] for line in defaults.replace("\n  ", " ").splitlines() if line}
    for init in {activation.init for activation in ACTIVATIONS.values()} - {"he_uniform"}:
        assert named.pop(init) == [name for name, activation in ACTIVATIONS.items() if activation.init == init]
    assert named == {}


def test_the_picture_shows_the_data_of_the_page():
    source = (Path(__file__).parent.parent / "docs" / "intervals.py").read_text(encoding="utf-8")
    for line in ("X = rng.uniform(-3, 3, (4000, 1))", "T = np.sin(X) + 0.1 * (X + 4) * rng.standard_normal(X.shape)"):
        assert line in source
        assert line in PAGE
