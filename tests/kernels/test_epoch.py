"""Many mini-batches in one compiled call."""

import numba
import numpy as np
import pytest

import bpkernel as bp
from bpkernel.codegen import parallel
from bpkernel.codegen.jit import kernel
from bpkernel.kernels import epoch, operands, partition
from bpkernel.runtime import task_queue
from bpkernel.runtime.threads import available

SHAPES = [(5, 3), (1, 1, 1), (13, 31, 7), (64, 100, 10), (9, 17, 33, 65, 2), (90, 200, 150, 3)]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("sizes", SHAPES)
@pytest.mark.parametrize("n_samples", [50, 140])
def test_one_and_two_threads_give_the_same_bits(n_samples, sizes, dtype, monkeypatch):
    """Also of nets too small to be worth two threads, and with gradients summed in chunks, as where few weights are."""
    monkeypatch.setattr(partition, "WORTH_A_THREAD", 1)
    monkeypatch.setattr(partition, "WORTH_A_CHUNK", 10_000)
    if numba.config.NUMBA_NUM_THREADS < 2:
        pytest.skip("needs two threads")
    rng = np.random.default_rng(0)
    X, T = rng.standard_normal((157, sizes[0])), rng.standard_normal((157, sizes[-1]))
    results = []
    before = numba.get_num_threads()
    try:
        for n_threads in (1, 2):
            numba.set_num_threads(n_threads)
            net = bp.MLP(sizes, dtype=dtype, random_state=1)
            history = net.fit(X, T, epochs=3, batch_size=n_samples)
            r = net.backprop(X, T)
            results.append([*net.weights, *net.biases, *r.delta, *r.dw, net.predict(X), history.loss, net.loss(X, T)])
    finally:
        numba.set_num_threads(before)
    for one, two in zip(*results, strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_predictions_of_a_row_do_not_depend_on_the_others(dtype):
    net = bp.MLP((7, 33, 5), activation="relu", output_activation="softmax", loss="cross_entropy", dtype=dtype, random_state=0)
    X = np.random.default_rng(0).standard_normal((3000, 7))
    y = net.predict(X)
    for n in [*range(40), 1023, 1024, 1025, 2999]:
        np.testing.assert_array_equal(net.predict(X[n : n + 1])[0], y[n])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_deltas_of_a_row_do_not_depend_on_the_others(dtype):
    """Whether there are enough samples for packed weights or not, Σ_k w_kj δ_k is summed in the order of k."""
    net = bp.MLP((7, 33, 40, 21), dtype=dtype, random_state=0)
    rng = np.random.default_rng(0)
    X, T = rng.standard_normal((40, 7)), rng.standard_normal((40, 21))
    whole = net.backprop(X, T)
    for first, last in ((0, 1), (3, 5), (5, 12), (12, 20), (20, 40)):
        part = net.backprop(X[first:last], T[first:last])
        for found, expected in zip(part.delta[1:], whole.delta[1:], strict=True):
            assert found.any()
            np.testing.assert_array_equal(found, expected[first:last])


bind = parallel.bound(epoch.batches_on_thread)


@kernel(entry=True)
def run_on_thread(net, step, samples, order, work, total, thread):
    function, arguments = bind((net, step, samples, order, work, total))
    parallel._call(function, arguments, thread)


def test_a_thread_without_a_task_reads_no_weights(monkeypatch):
    """Another thread may be updating them: a copy made then could be half old and half new."""
    monkeypatch.setattr(partition, "WORTH_A_CHUNK", 20_000)
    net = bp.MLP((5, 9, 7, 2), random_state=0)
    network, n_samples = net._network, 64
    layout = network.layout
    state = np.zeros((bp.SGD.n_slots, layout.n_params), np.float32)
    step = operands.step(bp.SGD, bp.SGD().settings(net.dtype), state, np.zeros(1, np.int64), np.zeros(0), layout)
    work = operands.work(layout, network.compiled, step, n_samples, 2)
    assert len(work.chunks) > 1
    samples = operands.samples(
        np.ones((n_samples, 5), np.float32), np.ones((n_samples, 2), np.float32), np.ones(n_samples, np.float32)
    )
    available()
    for late in (True, False):
        work.queue[:] = (1 << 40 if late else 0, *[0] * (len(work.queue) - 1))  # tasks done: all tasks of all stages
        for thread in range(2):
            work.queue[(thread + 1) * task_queue.SPACING] = 1 << 60 if late else 0  # tasks claimed: likewise
        run_on_thread(network.compiled, step, samples, np.arange(n_samples), work, np.zeros((1, 3)), 1)
        assert work.packed[1].any() != late
