"""The tile that fits the registers of a processor."""

import platform

import llvmlite.binding
import numba
import pytest

from bpkernel.codegen import processor

X86 = platform.machine().lower() in ("x86_64", "amd64", "i686")


@pytest.mark.parametrize(
    ("features", "expected"),
    [
        ("+sse2,+avx,+avx2,+fma,+avx512f", (64, 6, 4)),
        ("+sse2,+avx,+avx2,+fma,-avx512f", (32, 6, 2)),
        ("+sse2,+avx", (32, 6, 2)),
        ("+sse2,-avx,-avx512f", (16, 6, 2) if X86 else (16, 6, 4)),
        ("", (16, 6, 2) if X86 else (16, 6, 4)),
    ],
)
def test_the_tile_follows_the_features(monkeypatch, features, expected):
    monkeypatch.setattr(numba.config, "CPU_FEATURES", features)
    assert processor.vectors_and_tile() == expected


def test_the_features_are_those_of_the_machine_unless_numba_is_given_others(monkeypatch):
    monkeypatch.setattr(numba.config, "CPU_FEATURES", None)
    here = processor.vectors_and_tile()
    monkeypatch.setattr(numba.config, "CPU_FEATURES", llvmlite.binding.get_host_cpu_features().flatten())
    assert processor.vectors_and_tile() == here


@pytest.mark.parametrize(("features", "registers"), [("+avx,+avx512f", 32), ("+avx,+avx2", 16), ("", 16 if X86 else 32)])
def test_the_tile_fits_the_registers(monkeypatch, features, registers):
    """With the sums, a row of the second factor and one number of the first."""
    monkeypatch.setattr(numba.config, "CPU_FEATURES", features)
    _, rows, vectors = processor.vectors_and_tile()
    assert rows * vectors + vectors + 1 <= registers


def test_the_processor_has_a_name():
    assert processor.cpu_name() == llvmlite.binding.get_host_cpu_name() != ""


def test_every_row_of_whole_cache_lines_is_made_of_the_widths():
    line = processor.LINE // processor.VECTOR
    assert max(processor.WIDTHS) == processor.VECTORS
    for n_lines in range(1, 30):
        left = n_lines * line
        while left > 0:
            left -= max(width for width in processor.WIDTHS if width <= left)
        assert left == 0
