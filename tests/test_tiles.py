"""The verbs of the register tile, its shape on other machines, and what the compiler makes of the hot loops."""

import os
import re
import subprocess
import sys
import textwrap

import llvmlite.binding
import numba
import numpy as np
import pytest

from bpkernel import sums, tiles, views
from bpkernel.compiler import FASTMATH, kernel
from bpkernel.layout import aligned_zeros
from bpkernel.optimizers import OPTIMIZERS

DTYPES = ["float32", "float64"]


@kernel(entry=True)
def transpose(source, i, j, target, first):
    tiles.transpose_8(source, i, j, target, first)


@pytest.mark.parametrize("dtype", DTYPES)
def test_eight_by_eight_numbers_are_transposed(dtype):
    source = np.arange(20 * 30, dtype=dtype).reshape(20, 30)
    target = np.full((40, 25), -1, dtype)
    transpose(source, 3, 16, target, 5)
    np.testing.assert_array_equal(target[16:24, 5:13], source[3:11, 16:24].T)
    assert (target == -1).sum() == target.size - 64


@kernel(entry=True)
def view_all(buffer, matrix):
    whole = views.block(buffer, 3, 4, 5)
    part = views.rows_from(whole, 1, 2, 2)
    part[1, 0] = -1
    views.row_of(matrix, 1, 2, 3)[0] = -2
    views.line(buffer, 30, 40)[9] = -3
    return whole.shape, part.shape, views.flat(part).size, views.line(buffer, 30, 40).size


def test_views_are_where_they_say():
    buffer, matrix = np.arange(60.0), np.arange(20.0).reshape(4, 5)
    assert view_all(buffer, matrix) == ((4, 5), (2, 3), 10, 10)
    assert buffer[3 + 2 * 5 + 2] == -1
    assert matrix[1, 2] == -2
    assert buffer[39] == -3
    assert (np.concatenate([buffer, matrix.ravel()]) < 0).sum() == 3


PROGRAM = """
    import numpy as np
    import bpkernel as bp
    from bpkernel import checking, tiles
    case = checking.Case((31, 17, 40, 3), "tanh", "softmax", "cross_entropy", "float32")
    worst = max(finding.share for finding in checking.compare(case))
    rng = np.random.default_rng(0)
    X, T = rng.standard_normal((70, 31)), rng.integers(0, 3, 70)
    net = bp.MLP((31, 70, 3), output_activation="softmax", loss="cross_entropy", random_state=0)
    print(tiles.VECTOR, tiles.WIDTHS, worst < 1, net.fit(X, T, epochs=5, batch_size=23).loss[-1])
"""


@pytest.mark.skipif(not llvmlite.binding.get_host_cpu_features().get("avx2"), reason="needs a machine with AVX2")
@pytest.mark.parametrize(("features", "vector"), [("+avx2,+avx,+fma,+sse4.2", "32"), ("+sse2,+sse4.2", "16")])
def test_other_machines_have_other_tiles_and_the_same_sums(features, vector):
    """The same program compiled for a machine with AVX2, and for one with SSE only."""
    environment = {**os.environ, "NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": features, "BPKERNEL_CACHE_DIR": ""}
    program = textwrap.dedent(PROGRAM)
    result = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    found = re.fullmatch(r"(\d+) (\(.*\)) (True|False) (\S+)\s*", result.stdout)
    assert found[1] == vector
    assert found[3] == "True"
    here = {}
    exec(program.replace("print(", "result = ("), here)
    assert float(found[4]) == pytest.approx(here["result"][3], rel=1e-4)


@kernel(entry=True)
def ask(matrix, i, j):
    tiles.prefetch(matrix, i, j)


def test_what_is_asked_for_may_lie_anywhere_and_is_not_touched():
    matrix = np.arange(20.0).reshape(4, 5)
    for i, j in ((0, 0), (3, 4), (4, 5), (-1, -1), (1 << 40, 1 << 40)):
        ask(matrix, i, j)
    np.testing.assert_array_equal(matrix, np.arange(20.0).reshape(4, 5))


# ------------------------------------------------------------------------------------------------------ the assembly

FEATURES = llvmlite.binding.get_host_cpu_features()
wide = pytest.mark.skipif(
    not (FEATURES.get("avx2") or FEATURES.get("avx512f")) or llvmlite.binding.llvm_version_info[0] < 20,
    reason="needs AVX2 or AVX-512, and Numba 0.62: the compiler of 0.61 keeps a few registers of a 6 by 4 tile on the stack",
)
REGISTER = {64: "zmm", 32: "ymm"}.get(tiles.VECTOR, "xmm")


def assembly(function, signature):
    """Of a function as `by_address` compiles it, but not from the cache, which keeps no assembly."""
    dispatcher = numba.njit(fastmath=FASTMATH, error_model="numpy", nogil=True)(function)
    dispatcher.compile(signature)
    return dispatcher.inspect_asm(signature)


def loops(asm):
    """The innermost loops: from a label to a jump back to it, without another label between."""
    lines = [line.split("#")[0].strip() for line in asm.splitlines()]
    lines = [line for line in lines if line and not line.startswith(".p2align")]
    for start, line in enumerate(lines):
        if re.fullmatch(r"\.L\w+:", line):
            for stop in range(start + 1, len(lines)):
                if lines[stop].endswith(":"):
                    break
                if re.match(r"j\w+\s", lines[stop]) and lines[stop].split()[1] == line[:-1]:
                    yield lines[start + 1 : stop + 1]
                    break


def panel(kind, vectors, dtype):
    matrix, real = views.matrix, numba.from_dtype(np.dtype(dtype))
    n_matrices = {"sums": 2, "gradient": 2}[kind]
    ints = {"sums": 1, "gradient": 3}[kind]
    signature = (matrix(real),) * n_matrices + (numba.intp,) * ints + (matrix(real),)
    return assembly(sums.PANELS[vectors][("sums", "gradient").index(kind)], signature)


@wide
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ["sums", "gradient"])
@pytest.mark.parametrize("vectors", tiles.WIDTHS)
def test_the_hot_loops_of_the_tiles_are_whole_vectors_without_spills(kind, vectors, dtype):
    found = 0
    for loop in loops(panel(kind, vectors, dtype)):
        fma = [line for line in loop if line.startswith("vfmadd")]
        if not fma:
            continue
        found += len(fma) % (tiles.ROWS * vectors) == 0
        assert len(fma) % vectors == 0  # of single rows too, whose loop is unrolled
        assert all(REGISTER in line and line.split()[0].endswith("pd" if dtype == "float64" else "ps") for line in fma)
        assert not [line for line in loop if REGISTER in line and "(%rsp" in line], "a register of the tile is on the stack"
        assert not [line for line in loop if line.startswith("call")]
        if kind == "sums" and vectors == tiles.VECTORS and len(fma) % (tiles.ROWS * vectors) == 0:
            assert any(line.startswith("prefetch") for line in loop)
    assert found >= 1


@wide
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_loops_of_the_optimizers_are_vectorised(optimizer, dtype):
    """In registers of any width, which is the compiler's choice: it makes 256 bits of 512 for some processors."""
    real = numba.from_dtype(np.dtype(dtype))
    asm = assembly(optimizer.update, (views.vector(real),) * 4 + (views.vector(numba.float64),))
    packed = 0
    for loop in loops(asm):
        arithmetic = [line.split()[0] for line in loop if re.match(r"v(add|sub|mul|div|sqrt|fn?m(add|sub))", line)]
        assert not [line for line in loop if line.startswith("call")]
        packed += bool(arithmetic) and all(name.endswith("pd" if dtype == "float64" else "ps") for name in arithmetic)
    assert packed >= 1  # the others are for what a whole vector leaves over, and for arrays that overlap


@wide
@pytest.mark.parametrize("cpu", ["haswell", "sapphirerapids", "znver4"])
def test_the_assembly_is_as_good_for_another_processor(cpu):
    """The tests above, with this machine's instructions and the compiler's tuning for another."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__, "-k", "hot_loops or optimizers"]
    environment = {**os.environ, "NUMBA_CPU_NAME": cpu}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stdout


def test_rows_are_added_up_alike_in_every_tile():
    """A sample alone, in a whole tile and in the tile that sticks out, has the same bits."""
    real = np.dtype("float32")
    panels = sums.panels(real)
    rng = np.random.default_rng(0)
    w, z = (aligned_zeros(40 * 48, real).reshape(40, 48) for _ in range(2))
    w[:], z[:] = rng.standard_normal((2, 40, 48))
    whole = np.zeros((40, 48), real)
    run_sums(panels, w, z, whole)
    for n in (1, 2, 3, 5, 6, 7, 11):
        part = np.zeros((n, 48), real)
        run_sums(panels, w, z[:n], part)
        np.testing.assert_array_equal(part, whole[:n])


@kernel(entry=True)
def run_sums(panels, w, z, a):
    w, z, a = views.rows_from(w, 0, w.shape[0], 0), views.rows_from(z, 0, z.shape[0], 0), views.rows_from(a, 0, a.shape[0], 0)
    sums.pre_activations(panels, w, z, 48, a)
