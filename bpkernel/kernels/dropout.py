"""Dropout and noise: random numbers of their own for every step, layer, sample and unit.

A random number is a hash of (seed, step, layer, row of the sample, unit), so it does not depend on threads, on the blocks of a
batch or on the order of the samples, and the backward pass draws again what the forward pass has drawn.  A 64-bit hash
(`splitmix64`; Steele et al. 2014) makes two 32-bit keys of each row; from these and j, two rounds of a product and a shift
make the number of unit j, in a loop that the compiler vectorises.  A unit takes 0.3 ns in float32 with AVX-512.  Kernels call
the loops by pointers, so that training without them does not wait for the compiler.
"""

import math
from typing import Any

import numpy as np
from numba import types

from bpkernel.codegen.jit import kernel
from bpkernel.codegen.pointers import by_pointer
from bpkernel.codegen.precision import Precision
from bpkernel.codegen.scalars import polynomial
from bpkernel.codegen.tiles import per_line
from bpkernel.codegen.views import matrix, row_of, rows_from, vector
from bpkernel.codegen.words import plus, shifted, times, xor
from bpkernel.functions.logarithm import log
from bpkernel.kernels.layout import unit_rows, whole_lines

GOLDEN, MIX_1, MIX_2 = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
S30, S27, S31, S32 = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(32)
WEYL, FIRST, SECOND = np.uint32(0x9E3779B9), np.uint32(0x7FEB352D), np.uint32(0x846CA68B)
S15, S16 = np.uint32(15), np.uint32(16)
NOISE = 1 << 20  # stands for the number of a layer in the keys of the noise of the inputs
RANGE = 4294967296.0  # of 32-bit numbers
DROP, ADD_NOISE = range(2)  # places of the pointers to the loops
NO_DROPOUT = np.zeros(2, np.int64)


@kernel
def mix(x: Any) -> Any:
    """A 64-bit hash of a 64-bit number."""
    x += GOLDEN
    x = (x ^ (x >> S30)) * MIX_1
    x = (x ^ (x >> S27)) * MIX_2
    return x ^ (x >> S31)


@kernel
def key_of(key: Any, layer: int) -> Any:
    """The 64-bit key of a layer; key (2,): seed and step."""
    return mix(mix(key[0] + key[1] * GOLDEN) + np.uint64(layer))


@kernel
def keys_of_row(layer_key: Any, row: int) -> tuple[Any, Any]:
    """The two 32-bit keys of a row."""
    key = mix(layer_key + np.uint64(row))
    return np.uint32(key), np.uint32(key >> S32)


@kernel
def random_of(keys: Any, j: int) -> Any:
    """A random 32-bit number for unit j of a row; its high bits are the most random ones."""
    low, high = keys
    x = plus(times(np.uint32(j), WEYL), low)
    x = times(xor(x, shifted(x, S16)), FIRST)
    return times(xor(xor(x, shifted(x, S15)), high), SECOND)


def _drop(rate: float, key: Any, number: int, rows: Any, n_units: int, z: Any) -> None:
    """Set numbers of units at random to 0, with the rate p of their layer, and divide the others by 1 - p.

    key (2,): seed and step;  number: of the node;  rows (n,): the rows of the samples;  z (n, row): overwritten.  The loop runs
    over whole cache lines, with the zeros between the units: 10 units take 0.7 instead of 2 ns each, as no loop over single
    numbers is left over.
    """
    per, limit, scale = per_line(z), np.uint32(rate * RANGE), z.dtype.type(1.0 / (1.0 - rate))
    own_key = key_of(key, number)
    for n in range(rows.size):
        keys, z_n = keys_of_row(own_key, rows[n]), row_of(z, n, per, whole_lines(n_units, per))
        for j in range(z_n.size):
            z_n[j] = z_n[j] * scale if random_of(keys, j) >= limit else z_n.dtype.type(0)


@kernel(view=True)
def undropped_rows(units: Any, node: Any, first: int, n: int) -> Any:
    """The place of a node's z from before dropout, for n samples from row `first` on."""
    return rows_from(unit_rows(node, units.undropped, units.n_samples), first, n, 0)


def _add_noise(deviation: float, key: Any, rows: Any, n_inputs: int, z: Any) -> None:
    """Add a random number of a normal distribution to every input (Box and Muller 1958).

    key (2,): seed and step;  rows (n,): the rows of the samples;  z (n, row): the inputs, overwritten.
    """
    real = z.dtype.type
    taylor = (  # of sin x / x as a function of x²: to 1e-9 for |x| ≤ π/2
        *(real(1), real(-1 / 6), real(1 / 120), real(-1 / 5040)),
        *(real(1 / 362880), real(-1 / 39916800), real(1 / 6227020800)),
    )
    key_1, key_2 = key_of(key, NOISE), key_of(key, NOISE + 1)
    for n in range(rows.size):
        keys_1, keys_2 = keys_of_row(key_1, rows[n]), keys_of_row(key_2, rows[n])
        z_n = row_of(z, n, per_line(z), n_inputs)
        for i in range(z_n.size):
            u = (real(random_of(keys_1, i)) + real(0.5)) * real(1.0 / RANGE)
            x = (real(random_of(keys_2, i)) * real(1.0 / RANGE) - real(0.5)) * real(math.pi)
            sine = x * polynomial(x * x, taylor)
            cosine = real(1) - real(2) * sine * sine  # of 2x
            z_n[i] += real(deviation) * math.sqrt(real(-2) * log(u)) * cosine


_call_drop, _pointer_to_drop = by_pointer(
    lambda p: types.none(types.float64, vector(types.uint64), types.intp, vector(types.int64), types.intp, matrix(p.storage))
)
_call_add_noise, _pointer_to_add_noise = by_pointer(
    lambda p: types.none(types.float64, vector(types.uint64), vector(types.int64), types.intp, matrix(p.storage))
)


def loops_of_dropout(precision: Precision) -> np.ndarray:
    """Pointers to the loops, compiled, (2,) int64."""
    return np.array([_pointer_to_drop(_drop, precision), _pointer_to_add_noise(_add_noise, precision)], np.int64)


@kernel
def drop(units: Any, node: Any, number: int, rows: Any, z: Any) -> None:
    """Dropout of the units of a node, for samples in the given rows; z (n, row): overwritten."""
    _call_drop(units.disturbance[DROP], (node.dropout, units.key, number, rows, node.n_units, z))


@kernel
def add_noise(units: Any, deviation: float, rows: Any, n_inputs: int, z: Any) -> None:
    """Noise of the inputs, for samples in the given rows; z (n, row): overwritten."""
    _call_add_noise(units.disturbance[ADD_NOISE], (deviation, units.key, rows, n_inputs, z))
