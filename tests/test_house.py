"""The architecture: imports run only downwards, one folder uses the compiler's internals, no hot path calls BLAS."""

import ast
import re
import sys
from collections import defaultdict
from pathlib import Path

import pytest

import bpkernel

PACKAGE = Path(bpkernel.__file__).parent
TOP = "top-level modules"
ROOMS = [
    "cli",
    "tables",
    "sklearn",
    TOP,
    "kernels",
    "functions",
    "runtime",
    "codegen",
]  # each imports only from itself and those after it
ROOT = {"__init__", "__main__"}  # the public names and the command, which may import anything
LEAVES = {"extras", "version"}  # which all may import, and which import nothing of the package
ASIDE = {f"reference{part}" for part in ("", "_functions", "_normalisation", "_optimizers", "_second_order")}  # the oracle
LINES = 320  # of the longest file

FILES = {".".join(path.relative_to(PACKAGE).with_suffix("").parts): path for path in PACKAGE.rglob("*.py")}
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in FILES.items()}
INSIDE = sorted(set(FILES) - ROOT)


def room(name):
    """The folder of a file."""
    return name.partition(".")[0] if "." in name else TOP


def imported(tree):
    """The full name of everything that a file imports, wherever in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are written in full"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imports(name):
    """The files of the package that a file imports."""
    found = set()
    for full in imported(TREES[name]):
        head, _, rest = full.partition(".")
        if head == "bpkernel":
            while rest and rest not in FILES and f"{rest}.__init__" not in FILES:  # a name in a file
                rest = rest.rpartition(".")[0]
            found.add(rest if rest in FILES else f"{rest}.__init__".lstrip("."))
    return found


def reaches(start, end):
    """Whether imports within one folder lead from one file to another."""
    seen, todo = set(), [other for other in imports(start) if room(other) == room(start)]
    while todo:
        name = todo.pop()
        if name == end:
            return True
        if name not in seen:
            seen.add(name)
            todo += [other for other in imports(name) if room(other) == room(start)]
    return False


def test_the_folders_are_those_of_the_list():
    assert {room(name) for name in INSIDE} == set(ROOMS)
    assert set(FILES) >= LEAVES | ASIDE | ROOT


@pytest.mark.parametrize("name", sorted(set(INSIDE) - LEAVES - ASIDE))
def test_imports_run_only_downwards(name):
    others = imports(name) - LEAVES
    if name != "gradient_check":
        assert not ASIDE & others
    if room(name) == "cli":
        others -= {"__init__"}  # the public names, as users import them
    for other in others - ASIDE:
        assert other not in ROOT, f"{name} imports {other}"
        assert ROOMS.index(room(name)) <= ROOMS.index(room(other)), f"{name} imports {other}"


@pytest.mark.parametrize("name", INSIDE)
def test_imports_do_not_run_in_a_circle(name):
    assert not reaches(name, name)


@pytest.mark.parametrize("name", sorted({*LEAVES, *ASIDE}))
def test_the_leaves_and_the_reference_import_nothing_of_the_package(name):
    assert imports(name) - ASIDE == set()


LIBRARIES = {  # of other projects, that a folder may import
    "cli": None,  # any
    "tables": {"matplotlib", "numpy", "pandas", "sklearn"},
    "sklearn": {"numpy", "sklearn"},
    TOP: {"numpy"},
    "kernels": {"numpy", "numba"},
    "functions": {"numpy", "numba"},
    "runtime": {"numpy", "numba"},
    "codegen": {"numpy", "numba", "llvmlite"},
}
OPTIONAL = {"progress": {"rich"}, "full_batch": {"scipy"}}  # imported when they are needed


@pytest.mark.parametrize("name", sorted(set(INSIDE) - ASIDE))
def test_a_folder_imports_only_its_libraries(name):
    found = {full.partition(".")[0] for full in imported(TREES[name])} - sys.stdlib_module_names - {"bpkernel"}
    allowed = LIBRARIES[room(name)]
    assert allowed is None or found <= allowed | OPTIONAL.get(name, set())


def test_the_reference_imports_nothing_but_math():
    found = {full for name in ASIDE for full in imported(TREES[name])}
    assert {full for full in found if not full.startswith("bpkernel.reference")} == {"math"}


PUBLIC = {  # names of Numba that users know
    "from numba import": {"types", "njit", "prange"},
    "numba.": {"config", "from_dtype", "get_num_threads", "njit", "set_num_threads", "threading_layer", "__version__"},
}


@pytest.mark.parametrize("name", [name for name in INSIDE if room(name) != "codegen"])
def test_only_codegen_uses_internals_of_the_compiler(name):
    internals = {full for full in imported(TREES[name]) if full.startswith(("numba.", "llvmlite"))}
    assert internals <= {f"numba.{public}" for public in PUBLIC["from numba import"]}
    used = {
        node.attr
        for node in ast.walk(TREES[name])
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "numba"
    }
    assert used <= PUBLIC["numba."]


@pytest.mark.parametrize("name", [name for name in INSIDE if room(name) in ("kernels", "functions")])
def test_kernels_and_functions_use_only_the_types_of_numba(name):
    assert {full for full in imported(TREES[name]) if full.startswith("numba")} <= {"numba.types"}


@pytest.mark.parametrize("name", [name for name in INSIDE if ROOMS.index(room(name)) >= ROOMS.index("kernels")])
def test_no_kernel_calls_blas(name):
    tree = TREES[name]
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.MatMult)]
    called = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert not called & {"dot", "vdot", "matmul", "einsum", "tensordot", "inner", "linalg"}


def test_no_file_is_too_long_to_hold_in_mind():
    lengths = {name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in FILES.items()}
    assert {name: n for name, n in lengths.items() if n > LINES} == {}


@pytest.mark.parametrize("name", sorted(FILES))
def test_every_file_and_folder_says_what_it_holds(name):
    assert (FILES[name].parent / "__init__.py").exists()
    text = ast.get_docstring(TREES[name])
    assert text
    assert not re.match(r"Floor \d", text)


def test_every_class_has_a_name_of_its_own():
    """Except in the reference, whose optimizers have the names of the ones that are compared with them."""
    places = defaultdict(list)
    for name in sorted(set(FILES) - ASIDE):
        for node in ast.walk(TREES[name]):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(name)
    assert {name: files for name, files in places.items() if len(files) > 1} == {}


def test_importing_the_package_needs_numpy_and_numba_only(run_python):
    optional = ("sklearn", "joblib", "pandas", "rich", "typer", "safetensors", "matplotlib", "pyarrow")
    program = f"import bpkernel, sys; print([m for m in {optional} if m in sys.modules])"
    assert run_python(program).stdout == "[]\n"


def test_importing_the_package_compiles_nothing(run_python, tmp_path):
    program = """
        import numba.core.compiler
        def refuse(*arguments, **options):
            raise AssertionError("something is compiled")
        numba.core.compiler.CompilerBase.compile_extra = numba.core.compiler.compile_extra = refuse
        import bpkernel
        bpkernel.MLPClassifier
        print("imported")
    """
    assert run_python(program, BPKERNEL_CACHE_DIR=str(tmp_path)).stdout == "imported\n"
    assert not list(tmp_path.rglob("*.nb?"))
