"""The processor: cache lines, vector registers, and the size of the tile that fits them."""

import os
import platform
from contextlib import suppress
from pathlib import Path

import llvmlite.binding
import numba

LINE = 64  # bytes of a cache line
IS_X86 = platform.machine().lower() in ("x86_64", "amd64", "i686")
CAN_YIELD = os.name == "posix"


def cpu_name() -> str:
    """LLVM's name of this machine's processor, such as znver4."""
    return str(llvmlite.binding.get_host_cpu_name())


def vectors_and_tile() -> tuple[int, int, int]:
    """Bytes of a vector register, and the rows and vectors of the tile that fits the registers.

    With 32 registers (AVX-512, NEON) a tile of 6 × 4 vectors holds the sums, 4 registers a row of the second factor and 1 a
    number of the first; with 16 registers (AVX2, SSE) these are 6 × 2, 2 and 1.
    """
    features = numba.config.CPU_FEATURES
    if features is None:
        features = llvmlite.binding.get_host_cpu_features().flatten()
    if "+avx512f" in features:
        return 64, 6, 4
    if "+avx" in features:
        return 32, 6, 2
    return (16, 6, 2) if IS_X86 else (16, 6, 4)


def second_level_cache() -> int:
    """Bytes of the second-level cache of a core, as Linux reports it, or the usual 1 MiB."""
    for folder in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*"):
        with suppress(OSError, ValueError, KeyError):
            level, size = ((folder / name).read_text().strip() for name in ("level", "size"))
            if level == "2":
                return int(size[:-1]) << {"K": 10, "M": 20}[size[-1]]
    return 1 << 20


SECOND_LEVEL_CACHE = second_level_cache()
VECTOR, ROWS, VECTORS = vectors_and_tile()
LINE_VECTORS = LINE // VECTOR  # vector registers that a cache line fills
WIDTHS = tuple(range(VECTORS, 0, -(LINE // VECTOR)))  # of tiles, in vectors: a row of whole cache lines is made of these
