"""The README, the pages on the code and the docstrings agree with the code."""

import ast
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
HOW_IT_WORKS = (ROOT / "docs" / "how-it-works.md").read_text()
FILES = {path.relative_to(PACKAGE).as_posix(): path for path in sorted(PACKAGE.rglob("*.py"))}
MODULES = [
    ".".join(("bpkernel", *Path(name).with_suffix("").parts)).removesuffix(".__init__")
    for name in FILES
    if not name.endswith("__main__.py")
]


def blocks(language: str, text: str = README) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def test_the_loops_in_how_it_works_are_lines_of_the_code():
    source = FILES["kernels/sums.py"].read_text()
    loops = blocks("python", HOW_IT_WORKS)
    assert len(loops) == 5  # one for each equation, two for Eq. 7
    for loop in loops:
        assert loop in source
    for equation in ("Eq. 1", "Eq. 5", "Eq. 7", "Eq. 4"):
        assert f"**{equation}**" in HOW_IT_WORKS
        assert equation in source


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


def has_code(path: Path) -> bool:
    return len(ast.parse(path.read_text()).body) > 1 or path.name != "__init__.py"


def test_the_table_of_files_is_complete():
    listed = re.findall(r"^\| `([\w/]+\.py)` \|", HOW_IT_WORKS, re.MULTILINE)
    assert sorted(listed) == sorted(name for name, path in FILES.items() if has_code(path))


def test_the_files_that_contributing_names_exist():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    names = set(re.findall(r"`([\w./]+\.(?:py|txt|json))`", text))
    assert {"functions/activations.py", "reference.py", "gradient_check.py"} <= names
    for name in names:
        assert any((folder / name).exists() for folder in (ROOT, PACKAGE, ROOT / "asv_benchmarks")), name


def test_the_set_up_commands_are_in_the_readme():
    commands = [line for block in blocks("console") for line in block.splitlines()]
    assert 'pip install ".[all]" && bpkernel train digits' in commands
    assert 'pip install ".[test]" && pytest' in commands
    extras = set(importlib.metadata.metadata("bpkernel").get_all("Provides-Extra"))
    assert extras == {"all", "cli", "onnx", "plot", "save", "scipy", "serve", "sklearn", "test", "dev", "peers"}


def test_the_changelog_has_a_section_for_the_version():
    assert f"## {bpkernel.__version__}" in (ROOT / "CHANGELOG.md").read_text()


# the examples of the estimators are scikit-learn's, whose own test runner rounds the printed numbers
@pytest.mark.parametrize("name", [name for name in MODULES if name != "bpkernel.sklearn.estimators"])
def test_examples_in_docstrings_run(name):
    result = doctest.testmod(importlib.import_module(name))
    assert result.failed == 0


def test_there_are_examples_in_docstrings():
    assert doctest.testmod(importlib.import_module("bpkernel.mlp")).attempted > 5
