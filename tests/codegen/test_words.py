"""Arithmetic modulo 2³²."""

import numpy as np
import pytest

from bpkernel.codegen import words
from bpkernel.codegen.jit import kernel

EXPECTED = {
    "plus": lambda x, y: (x + y) % 2**32,
    "times": lambda x, y: x * y % 2**32,
    "xor": lambda x, y: x ^ y,
    "shifted": lambda x, y: x >> y % 32,
}


@pytest.mark.parametrize("name", EXPECTED)
def test_operations_of_words_are_those_of_python_modulo_2_to_the_32(name):
    operation, expected = getattr(words, name), EXPECTED[name]

    @kernel(entry=True, cache=False)
    def compute(x, y, z):
        for i in range(x.size):
            z[i] = operation(x[i], y[i])

    edges = [0, 1, 15, 31, 2**16 - 1, 2**31, 2**32 - 1]
    random = np.random.default_rng(0).integers(0, 2**32, 200).tolist()
    pairs = [(x, y) for x in edges + random for y in edges + random[:20]]
    if name == "shifted":
        pairs = [(x, y % 32) for x, y in pairs]
    x, y = (np.array(column, np.uint32) for column in zip(*pairs, strict=True))
    z = np.zeros_like(x)
    compute(x, y, z)
    assert z.any()
    assert z.tolist() == [expected(*pair) for pair in pairs]


def test_integers_of_64_bits_are_cut():
    @kernel(entry=True, cache=False)
    def compute(i):
        return words.plus(np.uint32(i), np.uint32(1))

    assert compute(5 * 2**32 + 7) == 8
    assert compute(-1) == 0
