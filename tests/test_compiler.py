"""The decorator's cache, which must never stop the program, and calls by address."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from numba import types
from numba.core.errors import TypingError

from bpkernel.compiler import by_address, kernel


def add(x, y):
    return x + y


def multiply(x, y):
    return x * y


def double_in_place(x):
    for i in range(x.size):
        x[i] *= 2


def negate_in_place(x):
    for i in range(x.size):
        x[i] = -x[i]


def divide(x, y):
    return x / y


arithmetic, address_of_arithmetic = by_address(lambda real: real(real, real))
in_place, address_of_in_place = by_address(lambda real: types.none(types.Array(real, 1, "C")))


@kernel(entry=True)
def compute(function, x, y):
    return arithmetic(function, (x, y))


@kernel(entry=True)
def change(function, x):
    in_place(function, (x,))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_function_at_an_address_is_run(dtype):
    found = [compute(address_of_arithmetic(f, np.dtype(dtype)), dtype(3), dtype(4)) for f in (add, multiply)]
    assert found == [7, 12]
    x = np.array([1, 2], dtype)
    for function in (double_in_place, negate_in_place):
        change(address_of_in_place(function, x.dtype), x)
    assert x.tolist() == [-2, -4]


def test_a_function_is_compiled_once_for_each_dtype():
    addresses = [address_of_arithmetic(add, np.dtype(dtype)) for dtype in ("float32", "float64", "float32", "float64")]
    assert addresses[:2] == addresses[2:]
    assert addresses[0] != addresses[1]


def test_a_function_is_not_called_with_what_it_does_not_expect():
    with pytest.raises(TypingError, match="instead of"):
        compute(address_of_arithmetic(add, np.dtype("float32")), 1, 2)


def test_a_function_by_address_divides_by_zero_as_kernels_do():
    """With Python's error model it would raise, which a loop that should be vectorised cannot afford."""
    address = address_of_arithmetic(divide, np.dtype("float64"))
    assert compute(address, 1.0, 0.0) == np.inf
    assert np.isnan(compute(address, 0.0, 0.0))


@kernel(entry=True)
def total(x):
    s = 0.0
    for i in range(x.size):
        s += x[i]
    return s


def test_nan_and_inf_survive():
    assert np.isnan(total(np.array([1.0, np.nan, 2.0] * 20)))
    assert total(np.array([1.0, np.inf, 2.0] * 20)) == np.inf


def run(code: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", textwrap.dedent(code)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )


PROGRAM = """
    import numpy as np
    from bpkernel import compiler, losses
    address = losses.address_of_error(losses.SquaredError.error, np.dtype("float64"))
    [dispatcher] = compiler.BY_ADDRESS
    print(1.0, sum(dispatcher.stats.cache_hits.values()))
"""


def test_compiled_kernels_are_kept_and_found_again(tmp_path):
    first = run(PROGRAM, BPKERNEL_CACHE_DIR=str(tmp_path))
    assert first.stdout.split() == ["1.0", "0"], first.stderr
    assert list(tmp_path.glob("*/losses.SquaredError.error*.nbc"))
    assert run(PROGRAM, BPKERNEL_CACHE_DIR=str(tmp_path)).stdout.split() == ["1.0", "1"]


def test_a_truncated_cache_is_compiled_again_and_mended(tmp_path):
    run(PROGRAM, BPKERNEL_CACHE_DIR=str(tmp_path))
    for broken in (*tmp_path.glob("*/*.nbc"), *tmp_path.glob("*/*.nbi")):
        content = broken.read_bytes()
        broken.write_bytes(content[: len(content) // 2])
        again = run(PROGRAM, BPKERNEL_CACHE_DIR=str(tmp_path))
        assert again.stdout.split() == ["1.0", "0"], again.stderr
        assert run(PROGRAM, BPKERNEL_CACHE_DIR=str(tmp_path)).stdout.split() == ["1.0", "1"]


def test_a_missing_compiler_is_told():
    result = run("import bpkernel", NUMBA_DISABLE_JIT="1")
    assert "unset NUMBA_DISABLE_JIT" in result.stderr


def test_an_empty_setting_does_without_a_cache(tmp_path):
    result = run(PROGRAM, BPKERNEL_CACHE_DIR="", HOME=str(tmp_path), XDG_CACHE_HOME=str(tmp_path))
    assert result.stdout.startswith("1.0"), result.stderr
    assert not list(tmp_path.rglob("*.nbc"))


def test_a_cache_that_cannot_be_written_is_a_warning(tmp_path):
    file = tmp_path / "file"
    file.write_text("no folder can be made below a file")
    result = run(PROGRAM, BPKERNEL_CACHE_DIR=str(file))
    assert result.stdout.split()[0] == "1.0"
    assert "set BPKERNEL_CACHE_DIR to a folder that can be written" in result.stderr


def test_another_source_is_another_stamp(tmp_path, monkeypatch):
    from bpkernel import compiler

    before = compiler.source_stamp()
    for path in Path(compiler.PACKAGE).glob("*.py"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    monkeypatch.setattr(compiler, "PACKAGE", tmp_path)
    assert compiler.source_stamp() == before
    (tmp_path / "sums.py").write_text("# changed")
    assert compiler.source_stamp() != before


@pytest.mark.parametrize(("variables", "end"), [({"BPKERNEL_CACHE_DIR": "/a"}, "/a"), ({"NUMBA_CACHE_DIR": "/b"}, "/b")])
def test_where_the_cache_is(monkeypatch, variables, end):
    from bpkernel import compiler

    monkeypatch.delenv("BPKERNEL_CACHE_DIR", raising=False)
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert str(compiler.cache_folder().parent) == end


@pytest.mark.parametrize("first", ["", "import numba; numba.get_num_threads()"])
def test_a_kernel_from_the_cache_runs_before_anything_else(tmp_path, first):
    """In a process that has started no threads, with kernels compiled in one that had, and the other way round."""
    program = """
        import bpkernel as bp
        net = bp.MLP((3, 4, 2), random_state=0)
        print(net.predict([[1.0, 2.0, 3.0]]).tolist())
        print(net.fit([[1.0, 2.0, 3.0]], [[1.0, 2.0]], epochs=3).loss)
    """
    found = [
        run(f"{start}\n{textwrap.dedent(program)}", BPKERNEL_CACHE_DIR=str(tmp_path))
        for start in (first, "", "import numba; numba.get_num_threads()")
    ]
    assert found[0].stdout.count("[") == 3, found[0].stderr
    assert [result.stdout for result in found] == [found[0].stdout] * 3
