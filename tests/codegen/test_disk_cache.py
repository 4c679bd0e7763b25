"""The cache on disk, which must never stop the program nor give it another kernel than it asks for."""

import os
import shutil
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from bpkernel.codegen import disk_cache


def run(code: str, folder: Path | None = None, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", textwrap.dedent(code)],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )


PROGRAM = """
    from bpkernel.codegen.pointers import COMPILED
    from bpkernel.codegen.precision import Precision
    from bpkernel.functions import losses
    losses.pointer_to_error(losses.SquaredError.sample_error, Precision.of("float64"))
    [dispatcher] = COMPILED
    print(1.0, sum(dispatcher.stats.cache_hits.values()))
"""


def test_compiled_kernels_are_kept_and_found_again(tmp_path):
    first = run(PROGRAM, BPKERNEL_CACHE_DIR=str(tmp_path))
    assert first.stdout.split() == ["1.0", "0"], first.stderr
    assert list(tmp_path.glob("*/losses.SquaredError.sample_error*.nbc"))
    assert run(PROGRAM, BPKERNEL_CACHE_DIR=str(tmp_path)).stdout.split() == ["1.0", "1"]


def test_a_truncated_cache_is_compiled_again_and_mended(tmp_path):
    run(PROGRAM, BPKERNEL_CACHE_DIR=str(tmp_path))
    for broken in (*tmp_path.glob("*/*.nbc"), *tmp_path.glob("*/*.nbi")):
        content = broken.read_bytes()
        broken.write_bytes(content[: len(content) // 2])
        again = run(PROGRAM, BPKERNEL_CACHE_DIR=str(tmp_path))
        assert again.stdout.split() == ["1.0", "0"], again.stderr
        assert run(PROGRAM, BPKERNEL_CACHE_DIR=str(tmp_path)).stdout.split() == ["1.0", "1"]


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
    before = disk_cache.source_stamp()
    copy = shutil.copytree(disk_cache.PACKAGE, tmp_path / "bpkernel", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(disk_cache, "PACKAGE", copy)
    assert disk_cache.source_stamp() == before
    (copy / "kernels" / "sums.py").write_text("# changed")
    assert disk_cache.source_stamp() != before


@pytest.mark.parametrize(("variables", "end"), [({"BPKERNEL_CACHE_DIR": "/a"}, "/a"), ({"NUMBA_CACHE_DIR": "/b"}, "/b")])
def test_where_the_cache_is(monkeypatch, variables, end):
    monkeypatch.delenv("BPKERNEL_CACHE_DIR", raising=False)
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert str(disk_cache.cache_folder().parent) == end


STARTS = ["", "import numba; numba.get_num_threads()"]  # of a process: without threads, or with them
PREDICT = """
    import bpkernel as bp
    net = bp.MLP((3, 4, 2), random_state=0)
    print(net.predict([[1.0, 2.0, 3.0]]).tolist())
"""
FIT = """
    print(net.fit([[1.0, 2.0, 3.0]], [[1.0, 2.0]], epochs=3).loss)
"""


@pytest.mark.parametrize("first", STARTS)
def test_a_kernel_from_the_cache_runs_before_anything_else(tmp_path, first):
    """In a process that has started no threads, with kernels compiled in one that had, and the other way round."""
    program = textwrap.dedent(PREDICT)
    found = [run(f"{start}\n{program}", BPKERNEL_CACHE_DIR=str(tmp_path)) for start in (first, *STARTS)]
    assert found[0].stdout.count("[") == 2, found[0].stderr
    assert [result.stdout for result in found] == [found[0].stdout] * 3


def test_training_from_the_cache_runs_before_anything_else(tmp_path):
    """With the result of the process that has compiled it."""
    program = textwrap.dedent(PREDICT) + textwrap.dedent(FIT)
    found = [run(f"{start}\n{program}", BPKERNEL_CACHE_DIR=str(tmp_path)) for start in ("", *STARTS)]
    assert found[0].stdout.count("[") == 3, found[0].stderr
    assert [result.stdout for result in found] == [found[0].stdout] * 3


KERNELS = """
from bpkernel.codegen.jit import kernel
"""
for i in range(8):
    KERNELS += f"""
@kernel(entry=True)
def add_{i}(x):
    return x + {i}
"""

ADD = """
    import sys
    import numpy as np
    import kernels
    real = np.dtype(sys.argv[1]).type
    print("ready", flush=True)
    input()
    functions = [getattr(kernels, f"add_{i}") for i in range(int(sys.argv[2]))]
    assert [function(real(0.5)) for function in functions] == [0.5 + i for i in range(len(functions))]
    hits, misses = (sum(sum(getattr(f.stats, name).values()) for f in functions) for name in ("cache_hits", "cache_misses"))
    print(hits, misses)
"""


@pytest.fixture
def start(tmp_path):
    """Start processes that call the first n kernels above, of a dtype each, all at once; their hits and misses."""
    (tmp_path / "kernels.py").write_text(KERNELS)
    path = os.pathsep.join([str(tmp_path), str(disk_cache.PACKAGE.parent), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path, "BPKERNEL_CACHE_DIR": str(tmp_path / "cache")}

    def start(dtypes, n, program=ADD):
        command = [sys.executable, "-W", "error", "-c", textwrap.dedent(program)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        processes = [subprocess.Popen([*command, dtype, str(n)], env=environment, **pipes) for dtype in dtypes]
        assert [process.stdout.readline() for process in processes] == ["ready\n"] * len(processes)
        for process in processes:
            process.stdin.write("\n")
            process.stdin.flush()
        found = [process.communicate(timeout=300) for process in processes]
        assert [process.returncode for process in processes] == [0] * len(processes), found
        return [tuple(map(int, out.split())) for out, _ in found]

    return start


def test_processes_that_start_cold_at_once_leave_a_whole_cache(tmp_path, start):
    dtypes = ["float32", "float64", "complex64", "complex128"]
    assert all(misses > 0 for _, misses in start(dtypes, 8))
    assert start(dtypes, 8) == [(8, 0)] * 4
    assert not list(tmp_path.rglob("*.tmp*"))


SAVE = """
    import os, sys, threading
    import numba
    import kernels
    print("ready", flush=True)
    add = kernels.add_0
    Cache = type(add._cache)
    add._cache.disable()
    for real in (numba.float32, numba.float64):
        add.compile((real,))
"""

INTERLEAVED = (
    SAVE
    + """
    # Both have read what is there before one writes; then files appear in this order, as far as there are so many.
    order, turn, both, replace = ["a", "b", "b", "a"], threading.Condition(), threading.Barrier(2), os.replace
    begun = set()

    def replace_in_turn(source, target):
        name = threading.current_thread().name
        if name not in begun:
            begun.add(name)
            both.wait()
        with turn:
            turn.wait_for(lambda: order[0] == name)
            replace(source, target)
            order.pop(0)
            turn.notify_all()

    def save(real):
        Cache(add.py_func).save_overload((real,), add.overloads[real,])

    os.replace = replace_in_turn
    pairs = [(numba.float32, "a"), (numba.float64, "b")]
    threads = [threading.Thread(target=save, args=(real,), name=name) for real, name in pairs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(0, 0)
"""
)

MIXED_UP = (
    SAVE
    + """
    Cache(add.py_func).save_overload((numba.float32,), add.overloads[numba.float64,])
    print(0, 0)
"""
)


def test_two_that_save_at_once_keep_their_own_code(start):
    start(["both"], 1, INTERLEAVED)
    for dtype in ("float32", "float64"):
        assert start([dtype], 1) == [(1, 0)]


def test_a_kernel_of_other_arguments_is_compiled_again_and_mended(start):
    start(["both"], 1, MIXED_UP)
    assert start(["float32"], 1) == [(0, 1)]
    assert start(["float32"], 1) == [(1, 0)]


def test_files_that_were_swapped_are_compiled_again_and_mended(tmp_path, start):
    start(["float32", "float64"], 1)
    one, other = tmp_path.glob("cache/*/kernels.add_0-*.nbc")
    content = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(content)
    for dtype in ("float32", "float64"):
        assert start([dtype], 1) == [(0, 1)]
        assert start([dtype], 1) == [(1, 0)]


def test_a_changed_byte_is_found(tmp_path, start):
    start(["float32"], 1)
    [file] = tmp_path.glob("cache/*/kernels.add_0-*.nbc")
    content = bytearray(file.read_bytes())
    content[-100] ^= 1
    file.write_bytes(content)
    assert start(["float32"], 1) == [(0, 1)]
    assert start(["float32"], 1) == [(1, 0)]


def test_kernels_of_old_sources_are_deleted(tmp_path):
    shutil.copytree(disk_cache.PACKAGE, tmp_path / "bpkernel")
    variables = {"PYTHONPATH": str(tmp_path), "BPKERNEL_CACHE_DIR": str(tmp_path / "cache")}
    run(PROGRAM, tmp_path, **variables)
    [before] = tmp_path.glob("cache/*/losses.SquaredError.sample_error*.nbc")
    losses = tmp_path / "bpkernel" / "functions" / "losses.py"
    losses.write_text("# moves every function down a line\n" + losses.read_text())
    assert run(PROGRAM, tmp_path, **variables).stdout.split() == ["1.0", "0"]
    [after] = tmp_path.glob("cache/*/losses.SquaredError.sample_error*.nbc")
    assert after != before
    assert run(PROGRAM, tmp_path, **variables).stdout.split() == ["1.0", "1"]


def test_which_files_are_old(tmp_path):
    now, stamp = f"{disk_cache.NUMBA}.{disk_cache.SOURCES}.{'0' * 32}.nbc", "0123456789abcdef"
    kept = [f"sums.add-1.py311.{now}", f"sums.add-1.py312.{now.replace(disk_cache.NUMBA, '0_61_0')}", "notes.txt"]
    old = ["sums.add-1.py311.nbi", "sums.add-1.py311.1.nbc", f"sums.add-1.py311.{now}.tmp.{stamp}"]
    old += [f"sums.add-1.{python}.{now.replace(disk_cache.SOURCES, stamp)}" for python in ("py311", "py312")]
    old += [f"sums.add-1.py311.{now.replace(disk_cache.NUMBA, '0_61_0')}"]
    for name in kept + old:
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (0, 0))
    newer = tmp_path / f"sums.add-2.py311.{now.replace(disk_cache.SOURCES, stamp)}"
    newer.touch()
    os.utime(newer, (time.time() + 60,) * 2)  # of a process that began after this one
    disk_cache.remove_old_files(tmp_path, "py311")
    assert {path.name for path in tmp_path.iterdir()} == {*kept, newer.name}
