"""What the README and the docstrings say is so."""

import doctest
import importlib
import importlib.metadata
import re
from pathlib import Path

import pytest
import sklearn.neural_network

import bpkernel

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
PACKAGE = Path(bpkernel.__file__).parent
MODULES = sorted(path.stem for path in PACKAGE.glob("*.py") if path.stem not in ("__init__", "__main__"))


def blocks(language: str, text: str = README) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def test_the_loops_of_the_readme_are_lines_of_the_code():
    source = (PACKAGE / "sums.py").read_text()
    loops = blocks("python")[2:]
    assert len(loops) == 4
    for loop in loops:
        assert loop in source
    for equation in ("Eq. 1", "Eq. 5", "Eq. 7", "Eq. 4"):
        assert f"**{equation}**" in README
        assert f"{equation}" in source


def test_the_python_of_the_readme_runs_and_reaches_its_score(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    example = blocks("python")[0]
    assert len([line for line in example.splitlines() if line and not line.startswith(("import", "from"))]) <= 10
    exec(compile(example, "README.md", "exec"), {})
    name, accuracy = capsys.readouterr().out.rsplit(maxsplit=1)
    assert name == "test accuracy"
    assert float(accuracy) >= 0.96
    assert (tmp_path / "digits.safetensors").exists()


def test_the_python_of_the_page_for_users_of_scikit_learn_runs(capsys):
    pytest.importorskip("skl2onnx")
    page = (ROOT / "docs" / "coming-from-scikit-learn.md").read_text()
    names: dict[str, object] = {}
    for block in blocks("python", page):
        if not block.endswith("...\n"):
            exec(compile(block, "coming-from-scikit-learn.md", "exec"), names)
    assert float(capsys.readouterr().out.split()[0]) > 0.95
    assert (names["MLPClassifier"], names["MLPRegressor"]) == (bpkernel.MLPClassifier, bpkernel.MLPRegressor)
    assert sklearn.neural_network.MLPClassifier is not bpkernel.MLPClassifier


def test_the_readme_names_every_file():
    assert set(re.findall(r"`(\w+\.py)`", README)) == {path.name for path in PACKAGE.glob("*.py")} - {"__init__.py"}


def test_the_commands_of_the_readme_are_those_of_the_project():
    commands = [line for block in blocks("console") for line in block.splitlines()]
    assert 'pip install ".[all]" && bpkernel train digits' in commands
    assert 'pip install ".[test]" && pytest' in commands
    extras = set(importlib.metadata.metadata("bpkernel").get_all("Provides-Extra"))
    assert extras == {"all", "cli", "save", "sklearn", "test", "dev", "peers"}


def test_the_changelog_knows_the_version():
    assert f"## {bpkernel.__version__}" in (ROOT / "CHANGELOG.md").read_text()


# the examples of the estimators are scikit-learn's, whose own runner rounds what they print
@pytest.mark.parametrize("name", [name for name in MODULES if name != "estimators"])
def test_examples_in_docstrings_run(name):
    result = doctest.testmod(importlib.import_module(f"bpkernel.{name}"))
    assert result.failed == 0


def test_there_are_examples_in_docstrings():
    assert doctest.testmod(importlib.import_module("bpkernel.mlp")).attempted > 5
