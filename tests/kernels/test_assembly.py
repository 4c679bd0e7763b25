"""What the compiler makes of the hot loops, and the same sums on processors with other registers."""

import os
import re
import subprocess
import sys
import textwrap

import llvmlite.binding
import numba
import numpy as np
import pytest
from numba.core.caching import NullCache

from bpkernel.codegen import views
from bpkernel.codegen.jit import kernel
from bpkernel.codegen.processor import ROWS, VECTOR, VECTORS, WIDTHS
from bpkernel.functions import elementary, error_function, logarithm
from bpkernel.functions.optimizers import OPTIMIZERS
from bpkernel.kernels import dropout, normalisation, sums

DTYPES = ["float32", "float64"]

FEATURES = llvmlite.binding.get_host_cpu_features()
wide = pytest.mark.skipif(
    not (FEATURES.get("avx2") or FEATURES.get("avx512f")) or llvmlite.binding.llvm_version_info[0] < 20,
    reason="needs AVX2 or AVX-512, and Numba 0.62: the compiler of 0.61 keeps a few registers of a 6 by 4 tile on the stack",
)
REGISTER = {64: "zmm", 32: "ymm"}.get(VECTOR, "xmm")


def assembly(function, signature):
    """The assembly of a function as `by_pointer` compiles it, but not from the cache, which keeps none."""
    dispatcher = kernel(function)
    dispatcher._cache = NullCache()
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


def products(function, n_ints, dtype):
    """The loops of a panel that multiply and add, and their fused multiply-adds."""
    real = numba.from_dtype(np.dtype(dtype))
    signature = (views.matrix(real),) * 2 + (numba.intp,) * n_ints + (views.matrix(real),)
    for loop in loops(assembly(function, signature)):
        fma = [line for line in loop if line.startswith("vfmadd")]
        if fma:
            yield loop, fma


def check(loop, fma, dtype, *, spills=False):
    """Whole vectors only, no call, and unless `spills` no register of the tile on the stack."""
    assert all(REGISTER in line and line.split()[0].endswith("pd" if dtype == "float64" else "ps") for line in fma)
    assert not [line for line in loop if line.startswith("call")]
    if not spills:
        assert not [line for line in loop if REGISTER in line and "(%rsp" in line], "a register of the tile is on the stack"


PANELS = {  # kind: its panels of a width, and how many integers they take
    "sums": (lambda vectors: sums.PANELS_OF_SUMS[vectors, 0], 1),
    "sums that add": (lambda vectors: sums.PANELS_OF_SUMS[vectors, 1], 1),
    "gradient": (lambda vectors: sums.PANELS_OF_GRADIENT[vectors, 0], 1),
    "gradients that add": (lambda vectors: sums.PANELS_OF_GRADIENT[vectors, 1], 1),
}


@wide
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", PANELS)
@pytest.mark.parametrize("vectors", WIDTHS)
def test_the_hot_loops_of_the_tiles_are_whole_vectors_without_spills(kind, vectors, dtype):
    found = 0
    panel, n_ints = PANELS[kind]
    for loop, fma in products(panel(vectors), n_ints, dtype):
        found += len(fma) % (ROWS * vectors) == 0
        assert len(fma) % vectors == 0  # of single rows too, whose loop is unrolled
        check(loop, fma, dtype)
        if "gradient" not in kind and vectors == VECTORS and len(fma) % (ROWS * vectors) == 0:
            assert any(line.startswith("prefetch") for line in loop)
    assert found >= 1


@wide
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("add", [0, 1])
def test_the_hot_loops_of_few_samples_are_whole_vectors_without_spills(add, dtype):
    """Eq. 7 with weights that are transposed in registers, a square block at a time.

    With 16 registers a block of 8 by 8 float32 and the sums leave none for the transposition: some are spilled.
    """
    found, lanes = 0, VECTOR // np.dtype(dtype).itemsize
    for loop, fma in products(sums.PANELS_OF_DOTS[add], 1, dtype):
        found += len(fma) % (ROWS * lanes) == 0
        assert len(fma) % lanes == 0
        check(loop, fma, dtype, spills=VECTOR == 32 and dtype == "float32")
    assert found >= 1


@wide
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("vectors", "add"), sums.PANELS_OF_ROWS)
def test_the_hot_loops_of_single_rows_are_whole_vectors_without_spills(vectors, add, dtype):
    found = 0
    for loop, fma in products(sums.PANELS_OF_ROWS[vectors, add], 1, dtype):
        found += len(fma) % vectors == 0
        check(loop, fma, dtype)
    assert found >= 1


def packed_loops(asm, dtype):
    """The number of loops that compute with whole vectors.  No loop may call a function.

    Other loops are for what a whole vector leaves over, and for arrays that overlap.  The compiler chooses the width of the
    registers: it makes 256 bits of 512 for some processors.
    """
    packed = 0
    for loop in loops(asm):
        arithmetic = [line.split()[0] for line in loop if re.match(r"v(add|sub|mul|div|sqrt|fn?m(add|sub))", line)]
        assert not [line for line in loop if line.startswith("call")]
        packed += bool(arithmetic) and all(name.endswith("pd" if dtype == "float64" else "ps") for name in arithmetic)
    return packed


@wide
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_loops_of_the_optimizers_are_vectorised(optimizer, dtype):
    real = numba.from_dtype(np.dtype(dtype))
    vector = views.vector(real)
    asm = assembly(optimizer.update, (vector, vector, views.matrix(real), views.vector(numba.float64)))
    assert packed_loops(asm, dtype) >= 1


@wide
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("function", [dropout._drop, dropout._add_noise], ids=["drop", "add_noise"])
def test_the_hot_loops_of_dropout_and_noise_are_vectorised(function, dtype):
    """With 32-bit words: products of 64 bits, as of Numba's own integers, take three times as long, in half as many lanes."""
    integer, z = numba.int64, views.matrix(numba.from_dtype(np.dtype(dtype)))
    rate_and_key, rows = (numba.float64, views.vector(numba.uint64)), views.vector(numba.int64)
    asm = assembly(
        function, (*rate_and_key, *((integer, rows, integer, z) if function is dropout._drop else (rows, integer, z)))
    )
    assert packed_loops(asm, dtype) >= 1
    hashes = [line for loop in loops(asm) for line in loop if line.startswith("vpmul")]
    assert hashes
    assert all(line.startswith("vpmulld") for line in hashes)


@wide
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["forward", "backward", "gradient"])
def test_the_hot_loops_of_normalisation_are_vectorised(name, dtype):
    """All of them: the sums over the units of a sample, too."""
    real, integer = views.matrix(numba.from_dtype(np.dtype(dtype))), numba.intp
    function, signature, n_loops = {
        "forward": (normalisation._forward, (real, integer, real, real), 5),
        "backward": (normalisation._backward, (real, integer, real, real, real), 3),
        "gradient": (normalisation._gradient, (real, real, integer, integer, real), 1),
    }[name]
    assert packed_loops(assembly(function, signature), dtype) >= n_loops


ELEMENTARY = [
    *(elementary.exp, elementary.expm1, elementary.tanh, elementary.logistic),
    *(logarithm.log, logarithm.log1p, logarithm.softplus),
    *(error_function.erf, error_function.normal_cdf),
]


@wide
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("function", ELEMENTARY)
def test_a_loop_of_an_elementary_function_is_vectorised(function, dtype):
    def g(z):
        for j in range(z.size):
            z[j] = function(z[j])

    asm = assembly(g, (views.vector(numba.from_dtype(np.dtype(dtype))),))
    assert packed_loops(asm, dtype) >= 1


@wide
@pytest.mark.parametrize("cpu", ["haswell", "znver4"])
def test_the_assembly_is_as_good_for_another_processor(cpu):
    """The tests above, with this machine's instructions and the compiler's tuning for another."""
    selected = "hot_loops or optimizers or elementary"
    command = [sys.executable, "-m", "pytest", "-q", "-n0", "-p", "no:cacheprovider", __file__, "-k", selected]
    environment = {**os.environ, "NUMBA_CPU_NAME": cpu}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stdout


PROGRAM = """
    import numpy as np
    import bpkernel as bp
    from bpkernel import gradient_check
    from bpkernel.codegen.processor import VECTOR, WIDTHS
    case = gradient_check.Case((31, 17, 40, 3), "tanh", "softmax", "cross_entropy", "float32")
    worst = max(finding.share for finding in gradient_check.compare(case))
    rng = np.random.default_rng(0)
    X, T = rng.standard_normal((70, 31)), rng.integers(0, 3, 70)
    net = bp.MLP((31, 70, 3), output_activation="softmax", loss="cross_entropy", random_state=0)
    print(VECTOR, WIDTHS, worst < 1, net.fit(X, T, epochs=5, batch_size=23).loss[-1])
"""


@pytest.mark.skipif(not FEATURES.get("avx2"), reason="needs a machine with AVX2")
@pytest.mark.parametrize(("features", "vector"), [("+avx2,+avx,+fma,+sse4.2", "32"), ("+sse2,+sse4.2", "16")])
def test_other_machines_have_other_tiles_and_the_same_sums(run_python, features, vector):
    """The same program compiled for a machine with AVX2, and for one with SSE only."""
    result = run_python(PROGRAM, NUMBA_CPU_NAME="generic", NUMBA_CPU_FEATURES=features, BPKERNEL_CACHE_DIR="")
    found = re.fullmatch(r"(\d+) (\(.*\)) (True|False) (\S+)\s*", result.stdout)
    assert found[1] == vector
    assert found[3] == "True"
    here = {}
    exec(textwrap.dedent(PROGRAM).replace("print(", "result = ("), here)
    assert float(found[4]) == pytest.approx(here["result"][3], rel=1e-4)
