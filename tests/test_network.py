"""What the compiled passes are given, beyond what users can reach: sparse inputs, and orders of other integers."""

import numpy as np
import pytest
import scipy.sparse

import bpkernel as bp
from bpkernel import plan
from bpkernel.network import NO_ERRORS, Inference
from bpkernel.training import MiniBatches


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_outputs_of_sparse_rows_are_those_of_the_same_rows_made_dense(dtype):
    """In several tasks and in several compiled calls, each of which starts at another row."""
    net = bp.MLP((40, 7, 3), dtype=dtype, random_state=0)
    rng = np.random.default_rng(0)
    n_samples = 700
    X = rng.standard_normal((n_samples, 40)) * (rng.random((n_samples, 40)) < 0.2)
    X = X.astype(dtype)
    found, T = np.empty((n_samples, 3), dtype), np.zeros((n_samples, 3), dtype)
    samples = plan.sparse_samples(scipy.sparse.csr_array(X), T, np.ones(n_samples, dtype))
    Inference(net._network, n_samples).run(samples, found, NO_ERRORS)
    expected = net.predict(X)
    assert abs(expected).max() > 0.1
    np.testing.assert_allclose(found, expected, rtol=0, atol=50 * np.finfo(dtype).eps)


@pytest.mark.parametrize("integer", [np.int32, np.uint16, np.int64])
def test_samples_are_seen_in_an_order_of_any_integers(integer):
    """`np.arange` makes int32 on Windows with NumPy 1."""
    X, T = np.linspace(-1, 1, 20, dtype=np.float32).reshape(10, 2), np.ones((10, 1), np.float32)
    found = []
    for kind in (integer, np.int64):
        net, optimizer = bp.MLP((2, 3, 1), random_state=0), bp.Adam()
        step = plan.step(bp.Adam, optimizer.settings(net.dtype), *optimizer.bind(net._network.layout))
        batches = MiniBatches(net._network, step, 4)
        total, order = np.zeros((1, 3)), np.arange(10, dtype=kind)[::-1]
        list(batches.run(plan.samples(X, T, np.ones(10, np.float32)), order, total))
        batches.run_epochs(plan.samples(X, T, np.ones(10, np.float32)), np.stack([order, order]), np.zeros((2, 3)))
        found.append([total[0, 0], *net.weights[0].ravel()])
    assert found[0][0] > 0
    assert found[0] == found[1]
