"""The architecture: each floor imports only from floors below it, and no hot path calls BLAS."""

import ast
import re
from pathlib import Path

import pytest

import bpkernel

PACKAGE = Path(bpkernel.__file__).parent
FILES = {path.stem: path for path in PACKAGE.glob("*.py")}
KERNEL_FLOORS = range(4)


def floor(name: str) -> int | None:
    """The number in `Floor n:`, with which each file's docstring begins; None for the reference, aside, and the root."""
    found = re.match(r"Floor (\d):", ast.get_docstring(ast.parse(FILES[name].read_text())) or "")
    return int(found[1]) if found else None


def imports(name: str) -> set[str]:
    """The modules of the package that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(FILES[name].read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are written in full"
            if node.module == "bpkernel":
                found |= {alias.name for alias in node.names}
            elif node.module and node.module.startswith("bpkernel."):
                found.add(node.module.removeprefix("bpkernel."))
    return found & set(FILES)


def test_every_file_names_its_floor():
    assert {name for name in FILES if floor(name) is None} == {"__init__", "reference"}
    assert {floor(name) for name in FILES} == {None, 0, 1, 2, 3, 4, 5}


@pytest.mark.parametrize("name", sorted(set(FILES) - {"__init__", "reference"}))
def test_imports_run_only_down_the_floors(name):
    own = floor(name)
    for other in imports(name):
        below = floor(other)
        if other == "reference":
            assert name == "checking"
        else:
            assert below is not None
            assert below < own or (below == own and not reaches(other, name)), f"{name} (floor {own}) imports {other} ({below})"


def reaches(start: str, end: str) -> bool:
    """Whether an import leads from one file to another: on one floor, imports may not run in a circle."""
    seen, todo = set(), [start]
    while todo:
        name = todo.pop()
        if name == end:
            return True
        if name not in seen:
            seen.add(name)
            todo += imports(name)
    return False


def test_the_reference_stands_alone():
    assert imports("reference") == set()


@pytest.mark.parametrize("name", sorted(name for name in FILES if floor(name) in KERNEL_FLOORS))
def test_no_kernel_calls_blas(name):
    tree = ast.parse(FILES[name].read_text())
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.MatMult)]
    called = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert not called & {"dot", "vdot", "matmul", "einsum", "tensordot", "inner", "linalg"}


def test_no_file_is_too_long_to_hold_in_mind():
    assert {name: n for name, path in FILES.items() if (n := len(path.read_text().splitlines())) > 320} == {}
