"""The kernels against the reference, for every activation × output activation × loss × dtype and sizes from 1 to 31."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bpkernel import gradient_check
from bpkernel.functions.activations import HIDDEN
from bpkernel.functions.losses import BY_NAME, outputs_for

PAIRS = gradient_check.pairs()
CANONICAL = [(loss, output) for loss, output in PAIRS if BY_NAME[loss].canonical == output]


def test_the_cases_hold_all_pairs_and_all_hidden_activations_with_canonical_ones():
    found = {(case.activation, case.output_activation, case.loss, case.dtype) for case in gradient_check.cases()}
    assert {case[1:] for case in found} == {(output, loss, dtype) for loss, output in PAIRS for dtype in gradient_check.DTYPES}
    assert found >= {(g, output, loss, dtype) for g in HIDDEN for loss, output in CANONICAL for dtype in gradient_check.DTYPES}
    assert set(PAIRS) == {(l, o) for l in BY_NAME for o in outputs_for(l) if o != "hard_sigmoid"}
    assert {size for shape in gradient_check.SHAPES for size in shape} == {1, 7, 16, 17, 31}
    assert {case.connections for case in gradient_check.cases()} == {None, "all"}
    assert {(case.activation, case.dtype) for case in gradient_check.cases() if case.layer_norm} == {
        (g, dtype) for g in HIDDEN for dtype in gradient_check.DTYPES
    }


@pytest.mark.parametrize("dtype", gradient_check.DTYPES)
@pytest.mark.parametrize(("loss", "output"), PAIRS)
def test_each_sum_is_within_the_bound_of_its_length(loss, output, dtype):
    checked = 0
    for case in gradient_check.cases((dtype,)):
        if (case.loss, case.output_activation) == (loss, output):
            for finding in gradient_check.compare(case):
                assert finding.share <= 1, finding
                checked += 1
    assert checked >= (90 if (loss, output) in CANONICAL else 9)


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
    assert alive >= (0.8 if checked > 5 else 0.4) * checked  # a single relu output may be off for all samples


@pytest.mark.parametrize(("loss", "output"), PAIRS)
def test_gradients_agree_with_central_differences(loss, output):
    for case in gradient_check.cases(("float64",)):
        if (case.loss, case.output_activation) == (loss, output):
            finding = gradient_check.central_differences(case)
            assert finding.share <= 1, finding


@pytest.mark.parametrize(
    ("loss", "output", "hidden"),
    [(*pair, HIDDEN[n % len(HIDDEN)]) for n, pair in enumerate(PAIRS)] + [(*CANONICAL[0], hidden) for hidden in HIDDEN],
)
@pytest.mark.parametrize("connections", [None, "all"])
def test_every_single_weight_agrees_with_central_differences(loss, output, hidden, connections):
    h = 1e-5
    case = gradient_check.Case((3, 4, 2), hidden, output, loss, "float64", connections)
    net, X, T = gradient_check.problem(case, seed=3)
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
    connections=st.sampled_from([None, "all"]),
    layer_norm=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_any_shape_is_within_bounds(sizes, pair, hidden, dtype, connections, layer_norm, seed):
    loss, output = pair
    if (sizes[-1], output) == (1, "softmax") and loss in ("binary_cross_entropy", "binary_focal"):
        return
    if output == "mean_variance":
        sizes[-1] += sizes[-1] % 2
    if layer_norm:
        sizes[1:-1] = [max(size, 2) for size in sizes[1:-1]]
    case = gradient_check.Case(tuple(sizes), hidden, output, loss, dtype, connections, layer_norm)
    for finding in gradient_check.compare(case, seed):
        assert finding.share <= 1, finding


@pytest.mark.parametrize("quantity", ["a", "delta", "dw", "error", "dgains", "dshifts"])
def test_a_small_error_is_found(monkeypatch, quantity):
    """What the check is for: one number off by a hundred thousandth is out of bounds, and NaN is."""
    sizes, normalised = ((7, 9, 16, 17), True) if quantity in ("dgains", "dshifts") else ((7, 16, 17), False)
    case = gradient_check.Case(sizes, "tanh", "softmax", "cross_entropy", "float64", None, normalised)
    backprop = gradient_check.MLP.backprop
    assert max(finding.share for finding in gradient_check.compare(case)) <= 1
    for wrong in (1 + 1e-5, np.nan):

        def sabotaged(self, X, T, wrong=wrong):
            r = backprop(self, X, T)
            if quantity == "error":
                object.__setattr__(r, "error", r.error * wrong)
            else:
                getattr(r, quantity)[1].flat[0] *= wrong
            return r

        monkeypatch.setattr(gradient_check.MLP, "backprop", sabotaged)
        assert max(finding.share for finding in gradient_check.compare(case)) > 1
