"""Random orders: permutations, as likely as each other, and those of the algorithm in plain Python."""

from collections import Counter
from itertools import permutations

import numpy as np
import pytest

from bpkernel.kernels.shuffle import shuffle


def shuffled(random):
    order = np.full(len(random), -1, np.int64)
    shuffle(random, order)
    return order.tolist()


@pytest.mark.parametrize("n", [0, 1, 2, 3, 150, 5000])
def test_the_order_is_that_of_fisher_and_yates(n):
    random = np.random.default_rng(n).integers(0, 1 << 64, n, np.uint64)
    expected = list(range(n))
    for i in range(n - 1, 0, -1):
        j = int(random[i]) * (i + 1) >> 64
        expected[i], expected[j] = expected[j], expected[i]
    assert shuffled(random) == expected
    assert sorted(expected) == list(range(n))


@pytest.mark.parametrize("number", [0, (1 << 64) - 1])
def test_the_least_and_the_greatest_random_number_stay_in_range(number):
    assert sorted(shuffled(np.full(1000, number, np.uint64))) == list(range(1000))


def test_every_order_is_as_likely_as_another():
    n_draws = 24_000
    found = Counter(tuple(shuffled(r)) for r in np.random.default_rng(0).integers(0, 1 << 64, (n_draws, 4), np.uint64))
    assert set(found) == set(permutations(range(4)))
    expected = n_draws / 24
    assert sum((n - expected) ** 2 / expected for n in found.values()) < 49.7  # χ² of 23 degrees of freedom, at 0.1 %
