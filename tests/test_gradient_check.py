"""The kernels against the reference, for every activation × output activation × loss × dtype and sizes from 1 to 31."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bpkernel import gradient_check
from bpkernel.functions.activations import HIDDEN
from bpkernel.functions.losses import BY_NAME, outputs_for

PAIRS = [(loss, output) for loss in BY_NAME for output in outputs_for(loss)]


def test_the_cases_are_all_combinations():
    found = {(case.activation, case.output_activation, case.loss, case.dtype) for case in gradient_check.cases()}
    assert found == {(g, output, loss, dtype) for g in HIDDEN for loss, output in PAIRS for dtype in gradient_check.DTYPES}
    assert {size for shape in gradient_check.SHAPES for size in shape} == {1, 7, 16, 17, 31}


@pytest.mark.parametrize("dtype", gradient_check.DTYPES)
@pytest.mark.parametrize(("loss", "output"), PAIRS)
def test_each_sum_is_within_the_bound_of_its_length(loss, output, dtype):
    checked = 0
    for case in gradient_check.cases((dtype,)):
        if (case.loss, case.output_activation) == (loss, output):
            for finding in gradient_check.compare(case):
                assert finding.share <= 1, finding
                checked += 1
    assert checked > 90


@pytest.mark.parametrize(("loss", "output"), PAIRS)
def test_a_whole_pass_equals_the_reference_in_float64(loss, output):
    alive = checked = 0
    for case in gradient_check.cases(("float64",)):
        if (case.loss, case.output_activation) == (loss, output):
            r, pairs = gradient_check.whole_pass(case)
            if (output, case.sizes[-1]) != ("softmax", 1):  # whose output is always 1, and gradient 0
                alive += np.abs(r.delta[-1]).max() > 1e-3 and max(np.abs(g).max() for g in r.dw) > 1e-4
                checked += 1
            for found, expected in pairs:
                assert found.shape == expected.shape
                np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12 * max(np.abs(expected).max(), 1e-3))
    assert alive >= 0.8 * checked > 0  # a single relu output may be off for all samples


@pytest.mark.parametrize(("loss", "output"), PAIRS)
def test_gradients_agree_with_central_differences(loss, output):
    for case in gradient_check.cases(("float64",)):
        if (case.loss, case.output_activation) == (loss, output):
            finding = gradient_check.central_differences(case)
            assert finding.share <= 1, finding


@pytest.mark.parametrize("hidden", HIDDEN)
@pytest.mark.parametrize(("loss", "output"), PAIRS)
def test_every_single_weight_agrees_with_central_differences(loss, output, hidden):
    h = 1e-5
    net, X, T = gradient_check.problem(gradient_check.Case((3, 4, 2), hidden, output, loss, "float64"), seed=3)
    r = net.backprop(X, T)
    size = max(np.abs(g).max() for g in r.dw)
    assert size > 1e-4
    for view, gradient in zip((*net.weights, *net.biases), (*r.dw, *r.db), strict=True):
        for index in np.ndindex(view.shape):
            kept = view[index]
            view[index] = kept + h
            above = net.backprop(X, T).error
            view[index] = kept - h
            below = net.backprop(X, T).error
            view[index] = kept
            assert abs((above - below) / (2 * h) - gradient[index]) <= 1e-7 * max(size, 1)


@pytest.mark.parametrize("name", gradient_check.OPTIMIZERS)
def test_ten_epochs_follow_the_reference(name):
    finding = gradient_check.trajectory(name)
    assert finding.share <= 1, finding


@settings(max_examples=40, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 40), min_size=2, max_size=4),
    pair=st.sampled_from(PAIRS),
    hidden=st.sampled_from(HIDDEN),
    dtype=st.sampled_from(gradient_check.DTYPES),
    seed=st.integers(0, 1000),
)
def test_any_shape_is_within_bounds(sizes, pair, hidden, dtype, seed):
    loss, output = pair
    if (sizes[-1], output, loss) == (1, "softmax", "binary_cross_entropy"):
        return
    for finding in gradient_check.compare(gradient_check.Case(tuple(sizes), hidden, output, loss, dtype), seed):
        assert finding.share <= 1, finding


@pytest.mark.parametrize("quantity", ["a", "delta", "dw", "error"])
def test_a_small_error_is_found(monkeypatch, quantity):
    """What the check is for: one number off by a hundred thousandth is out of bounds, and NaN is."""
    case = gradient_check.Case((7, 16, 17), "tanh", "softmax", "cross_entropy", "float64")
    backprop = gradient_check.MLP.backprop
    assert max(finding.share for finding in gradient_check.compare(case)) <= 1
    for wrong in (1 + 1e-5, np.nan):

        def sabotaged(self, X, T, wrong=wrong):
            r = backprop(self, X, T)
            if quantity == "error":
                object.__setattr__(r, "error", r.error * wrong)
            else:
                getattr(r, quantity)[1][0, 0] *= wrong
            return r

        monkeypatch.setattr(gradient_check.MLP, "backprop", sabotaged)
        assert max(finding.share for finding in gradient_check.compare(case)) > 1
