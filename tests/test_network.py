"""A net in memory: outputs and errors of inputs that users of MLP cannot pass, and of several callers."""

import threading

import numpy as np
import pytest
import scipy.sparse

import bpkernel as bp
from bpkernel.kernels import operands
from bpkernel.network import NO_ERRORS, Inference


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_outputs_of_sparse_rows_are_those_of_the_same_rows_made_dense(dtype):
    """In several tasks and in several compiled calls, each of which starts at another row."""
    net = bp.MLP((40, 7, 3), dtype=dtype, random_state=0)
    rng = np.random.default_rng(0)
    n_samples = 700
    X = rng.standard_normal((n_samples, 40)) * (rng.random((n_samples, 40)) < 0.2)
    X = X.astype(dtype)
    found, T = np.empty((n_samples, 3), dtype), np.zeros((n_samples, 3), dtype)
    samples = operands.sparse_samples(scipy.sparse.csr_array(X), T, np.ones(n_samples, dtype), net._network.layout)
    Inference(net._network, n_samples).run(samples, found, NO_ERRORS)
    expected = net.predict(X)
    assert abs(expected).max() > 0.1
    np.testing.assert_allclose(found, expected, rtol=0, atol=50 * np.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_mean_error_is_that_of_the_outputs(dtype):
    """Of samples with weights, one of which does not count although its error is infinite."""
    net = bp.MLP((7, 9, 3), dtype=dtype, random_state=0)
    rng = np.random.default_rng(0)
    X, T, s = (array.astype(dtype) for array in (rng.standard_normal((300, 7)), rng.standard_normal((300, 3)), rng.random(300)))
    T[5], s[5] = np.finfo(dtype).max, 0
    counted = np.delete(np.arange(300), 5)
    y = net._network.outputs(X).astype(float)
    errors = 0.5 * ((y - T)[counted] ** 2).sum(axis=1)
    found = net._network.mean_error(operands.samples(X, T, s))
    assert found == pytest.approx(np.average(errors, weights=s[counted]), rel=20 * float(np.finfo(dtype).eps))


def test_several_threads_ask_one_net_for_single_rows():
    """Each with scratch memory of its own, which is used again."""
    net = bp.MLP((3, 30, 2), random_state=0)
    X = np.random.default_rng(0).standard_normal((50, 3)).astype("f4")
    expected, wrong = net.predict(X), []

    def ask():
        for _ in range(20):
            for n in range(50):
                if not np.array_equal(net.predict(X[n : n + 1])[0], expected[n]):
                    wrong.append(n)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert 1 <= len(net._network._for_one_row) <= 4
