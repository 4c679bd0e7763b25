"""The gradient of a net's error as one flat vector."""

import numpy as np
import pytest
import scipy.sparse

import bpkernel as bp
from bpkernel.derivatives import Gradient
from bpkernel.kernels import operands


@pytest.fixture(params=["float32", "float64"])
def problem(request):
    """A net, and samples (X, T, s) one of which has no weight."""
    rng = np.random.default_rng(0)
    net = bp.MLP((30, 9, 4), output_activation="logistic", dtype=request.param, random_state=0)
    X, T, s = rng.standard_normal((53, 30)), rng.random((53, 4)), rng.random(53)
    s[7] = 0
    return net, [array.astype(request.param) for array in (X, T, s)]


def parts(net, flat):
    return [*net._network.layout.weights(flat), *net._network.layout.biases(flat)]


def test_the_gradient_is_the_weighted_sum_of_those_of_single_samples(problem):
    net, (X, T, s) = problem
    error, flat = Gradient(net._network)(operands.samples(X, T, s))
    alone = [net.backprop(X[n : n + 1], T[n : n + 1]) for n in range(len(X))]
    eps = float(np.finfo(X.dtype).eps)
    assert error == pytest.approx(sum(float(s_n) * r.error for s_n, r in zip(s, alone, strict=True)), rel=60 * eps)
    for l, found in enumerate(parts(net, flat)):
        terms = np.array([float(s_n) * [*r.dw, *r.db][l].astype(float) for s_n, r in zip(s, alone, strict=True)])
        assert found.any()
        np.testing.assert_array_less(abs(found - terms.sum(axis=0)), 60 * eps * abs(terms).sum(axis=0))


def test_each_call_starts_anew_and_padding_is_zero(problem):
    net, samples = problem
    gradient = Gradient(net._network)
    first = gradient(operands.samples(*samples))[1].copy()
    np.testing.assert_array_equal(gradient(operands.samples(*samples))[1], first)
    for part in parts(net, first):
        assert part.any()
        part[:] = 0
    assert not first.any()


def test_batches_and_sparse_inputs_give_the_same(problem):
    net, (X, T, s) = problem
    X[abs(X) < 1] = 0
    eps = float(np.finfo(X.dtype).eps)
    expected = Gradient(net._network)(operands.samples(X, T, s))[1].copy()
    for batch_size in (1, 7, 20, 53, 100):
        gradient = Gradient(net._network, batch_size)
        for samples in (
            operands.samples(X, T, s),
            operands.sparse_samples(scipy.sparse.csr_array(X), T, s, net._network.layout),
        ):
            np.testing.assert_allclose(gradient(samples)[1], expected, rtol=0, atol=60 * eps * abs(expected).max())


def test_the_weights_are_only_read(problem):
    net, samples = problem
    before = net._network.params.copy()
    Gradient(net._network)(operands.samples(*samples))
    np.testing.assert_array_equal(net._network.params, before)
