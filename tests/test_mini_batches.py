"""Mini-batches: orders of any integers, compiled calls of bounded length, and a number of threads that changes."""

import numba
import numpy as np
import pytest

import bpkernel as bp
from bpkernel.derivatives import Gradient
from bpkernel.kernels import operands
from bpkernel.mini_batches import MiniBatches


def training(net, optimizer, batch_size):
    layout = net._network.layout
    step = operands.step(type(optimizer), optimizer.settings(net.dtype), *optimizer.bind(layout), layout)
    return MiniBatches(net._network, step, batch_size)


@pytest.mark.parametrize("integer", [np.int32, np.uint16, np.int64])
def test_samples_are_seen_in_an_order_of_any_integers(integer):
    """`np.arange` makes int32 on Windows with NumPy 1."""
    X, T = np.linspace(-1, 1, 20, dtype=np.float32).reshape(10, 2), np.ones((10, 1), np.float32)
    samples = operands.samples(X, T, np.ones(10, np.float32))
    found = []
    for kind in (integer, np.int64):
        net = bp.MLP((2, 3, 1), random_state=0)
        batches = training(net, bp.Adam(), 4)
        total, order = np.zeros((1, 3)), np.arange(10, dtype=kind)[::-1]
        for part in batches.parts(10):
            batches.run(samples, order[part], total)
        batches.run(samples, np.stack([order, order]), np.zeros((2, 3)))
        found.append([total[0, 0], *net.weights[0].ravel()])
    assert found[0][0] > 0
    assert found[0] == found[1]


def test_several_epochs_in_one_call_are_those_of_several_calls():
    rng = np.random.default_rng(0)
    X, T = rng.standard_normal((23, 3)), rng.standard_normal((23, 2))
    samples, orders = operands.samples(X, T, rng.random(23)), np.stack([rng.permutation(23) for _ in range(4)])
    results = []
    for together in (1, 2, 4):
        net = bp.MLP((3, 5, 2), dtype="float64", random_state=0)
        batches, total = training(net, bp.Adam(), 5), np.zeros((4, 3))
        for first in range(0, 4, together):
            part = slice(first, first + together)
            batches.run(samples, orders[part], total[part])
        results.append([total, *net.weights])
    assert (results[0][0][:, 0] > 0).all()
    for result in results[1:]:
        for found, expected in zip(result, results[0], strict=True):
            np.testing.assert_array_equal(found, expected)


@pytest.mark.usefixtures("two_threads")
def test_training_follows_the_number_of_threads_and_keeps_its_bits():
    rng = np.random.default_rng(0)
    X, T = rng.standard_normal((60, 3)), rng.standard_normal((60, 2))
    samples, order, results = operands.samples(X, T, np.ones(60)), np.arange(60), []
    for numbers in ((1, 1, 1, 1), (2, 1, 1, 2)):
        net = bp.MLP((3, 9, 2), dtype="float64", random_state=0)
        batches, total, seen = training(net, bp.Adam(), 20), np.zeros((1, 3)), []
        for n_threads in numbers:
            numba.set_num_threads(n_threads)
            batches.run(samples, order, total)
            seen.append((batches.n_threads, batches.work))
        assert tuple(n for n, _ in seen) == numbers
        assert seen[1][1] is seen[2][1]  # scratch memory is made again only if the number has changed
        results.append([total, *net.weights])
    assert results[0][0][0, 0] > 0
    for found, expected in zip(*results, strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.usefixtures("two_threads")
def test_a_gradient_that_is_half_added_up_survives_another_number_of_threads(monkeypatch):
    rng = np.random.default_rng(0)
    X, T = rng.standard_normal((60, 3)), rng.standard_normal((60, 2))
    net, samples = bp.MLP((3, 9, 2), dtype="float64", random_state=0), operands.samples(X, T, np.ones(60))
    numba.set_num_threads(1)
    expected, total = Gradient(net._network, 20)(samples)[1].copy(), np.zeros((1, 3))
    batches = MiniBatches(net._network, operands.no_step(net._network.layout), 20)
    for first, n_threads in ((0, 1), (20, 2), (40, 1)):
        numba.set_num_threads(n_threads)
        batches.run(samples, np.arange(first, first + 20), total)
        assert batches.n_threads == n_threads
    assert expected.any()
    np.testing.assert_array_equal(batches.work.gradient, expected)
