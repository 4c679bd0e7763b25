"""The oracle itself, against numbers worked by hand and against central differences."""

import ast
import math
from pathlib import Path

import pytest

from bpkernel import reference
from bpkernel.functions.losses import BY_NAME, outputs_for

LN2 = math.log(2)


def test_it_imports_nothing_but_math():
    tree = ast.parse(Path(reference.__file__).read_text())
    imported = [node for node in ast.walk(tree) if isinstance(node, (ast.Import, ast.ImportFrom))]
    assert [alias.name for node in imported for alias in node.names] == ["math"]


def test_a_net_worked_by_hand():
    """One input x = 2, one tanh unit, one identity output; the squared error of t = 1.

    a_1 = 0.5 + 0.25 · 2 = 1            z_1 = tanh 1
    y   = -1 + 3 z_1                    E = ½ (y - 1)²
    δ_2 = y - 1                         ∂E/∂w_2 = δ_2 z_1, ∂E/∂b_2 = δ_2
    δ_1 = (1 - z_1²) 3 δ_2              ∂E/∂w_1 = δ_1 · 2, ∂E/∂b_1 = δ_1
    """
    net = [([[0.5], [0.25]], "tanh"), ([[-1.0], [3.0]], "identity")]
    e, a, z, delta, dw = reference.backprop(net, "squared_error", [2.0], [1.0])
    z_1 = 0.7615941559557649  # tanh 1
    y = 1.2847824678672946  # 3 z_1 - 1
    assert a == [[], [1.0], [pytest.approx(y, rel=1e-15)]]
    assert z == [[2.0], [pytest.approx(z_1, rel=1e-15)], [pytest.approx(y, rel=1e-15)]]
    assert e == pytest.approx(0.5 * 0.2847824678672946**2, rel=1e-14)
    assert delta[2] == [pytest.approx(0.2847824678672946, rel=1e-14)]
    assert delta[1] == [pytest.approx((1 - 0.5800256583859739) * 3 * 0.2847824678672946, rel=1e-14)]
    assert dw[1] == [[pytest.approx(delta[2][0])], [pytest.approx(0.2847824678672946 * z_1, rel=1e-14)]]
    assert dw[0] == [[pytest.approx(delta[1][0])], [pytest.approx(2 * delta[1][0], rel=1e-14)]]


def test_two_outputs_and_two_hidden_units_worked_by_hand():
    """x = (1, -1) into relu units with a = (1 + 2 - 0, 0 + 1 - 3) = (3, -2), so z = (3, 0); y = (3 · 1, 3 · 2) = (3, 6).

    With t = (2, 8): δ_k = (1, -2); δ_1 = 1 · 1 + 2 · (-2) = -3, and 0 for the unit that is off.
    """
    net = [([[1.0, 0.0], [2.0, 1.0], [0.0, 3.0]], "relu"), ([[0.0, 0.0], [1.0, 2.0], [5.0, 7.0]], "identity")]
    e, a, z, delta, dw = reference.backprop(net, "squared_error", [1.0, -1.0], [2.0, 8.0])
    assert (e, a[1], z[1], z[2]) == (2.5, [3.0, -2.0], [3.0, 0.0], [3.0, 6.0])
    assert delta == [[], [-3.0, 0.0], [1.0, -2.0]]
    assert dw[0] == [[-3.0, 0.0], [-3.0, 0.0], [3.0, -0.0]]
    assert dw[1] == [[1.0, -2.0], [3.0, -6.0], [0.0, -0.0]]


def test_activations_worked_by_hand():
    assert reference.activate("logistic", [0.0, math.log(3), -math.log(3), -1000.0]) == pytest.approx([0.5, 0.75, 0.25, 0.0])
    assert reference.activate("softmax", [0.0, math.log(3)]) == pytest.approx([0.25, 0.75])
    assert reference.activate("softmax", [1000.0, 1000.0]) == [0.5, 0.5]
    assert reference.activate("exp", [LN2]) == pytest.approx([2.0])
    assert reference.activate("identity", [-3.0]) == [-3.0]
    # Jacobian of softmax at (¼, ¾): (3/16, -3/16) and (-3/16, 3/16)
    assert reference.times_slope("softmax", [0.0, math.log(3)], [0.25, 0.75], [1.0, 0.0]) == pytest.approx([3 / 16, -3 / 16])
    assert reference.times_slope("logistic", [0.0], [0.5], [8.0]) == [2.0]
    assert reference.times_slope("exp", [LN2], [2.0], [3.0]) == [6.0]


def test_losses_worked_by_hand():
    assert reference.error("squared_error", [1.0, 5.0], [3.0, 4.0]) == 2.5
    assert reference.error("cross_entropy", [0.25, 0.75], [1.0, 0.0]) == pytest.approx(2 * LN2)
    assert reference.error("binary_cross_entropy", [0.25], [0.0]) == pytest.approx(-math.log(0.75))
    assert reference.error("poisson", [2.0], [4.0]) == pytest.approx(2 - 4 + 4 * LN2)
    assert reference.error("poisson", [2.0], [0.0]) == 2.0
    assert reference.error("poisson", [3.0], [3.0]) == pytest.approx(0.0)


def test_optimizers_worked_by_hand():
    sgd = reference.SGD(0.1, momentum=0.5)
    state = sgd.start()
    w = sgd.step(1.0, 2.0, state, 1)  # v = -0.2
    assert w == pytest.approx(0.8)
    assert sgd.step(w, 2.0, state, 2) == pytest.approx(0.5)  # v = -0.1 - 0.2
    nesterov = reference.SGD(0.1, momentum=0.5, nesterov=True)
    assert nesterov.step(1.0, 2.0, nesterov.start(), 1) == pytest.approx(0.7)  # w + 0.5 · -0.2 - 0.2
    adam = reference.Adam(0.1)
    state = adam.start()
    w = adam.step(1.0, 4.0, state, 1)  # the first step is η sign(g)
    assert w == pytest.approx(0.9, abs=1e-7)
    # m = 0.9 · 0.4 + 0.1 · (-2) = 0.16, v = 0.999 · 0.016 + 0.001 · 4 = 0.019984
    step = 0.1 * math.sqrt(1 - 0.999**2) / (1 - 0.9**2) * 0.16 / (math.sqrt(0.019984) + 1e-8)
    assert adam.step(w, -2.0, state, 2) == pytest.approx(w - step, rel=1e-12)


@pytest.mark.parametrize("loss", BY_NAME)
@pytest.mark.parametrize("hidden", ["identity", "logistic", "tanh", "relu"])
def test_every_gradient_agrees_with_central_differences(loss, hidden):
    h = 1e-6
    for output in outputs_for(loss):
        net = [
            ([[0.1, -0.2, 0.3], [0.5, 0.4, -0.6], [-0.7, 0.8, 0.9]], hidden),
            ([[0.2, -0.1], [0.3, 0.6], [-0.4, 0.5], [0.7, 0.8]], output),
        ]
        x, t = [0.9, -0.35], [0.0, 1.0]
        _, _, _, _, dw = reference.backprop(net, loss, x, t)
        assert any(abs(g) > 1e-3 for block in dw for row in block for g in row)
        for (w, _), dw_l in zip(net, dw, strict=True):
            for i in range(len(w)):
                for j in range(len(w[i])):
                    kept = w[i][j]
                    w[i][j] = kept + h
                    above = reference.error(loss, reference.forward(net, x)[1][-1], t)
                    w[i][j] = kept - h
                    below = reference.error(loss, reference.forward(net, x)[1][-1], t)
                    w[i][j] = kept
                    assert dw_l[i][j] == pytest.approx((above - below) / (2 * h), rel=1e-6, abs=1e-8), (output, i, j)


def test_it_learns_xor():
    net = [
        ([[0.1, -0.2, 0.0], [0.9, -1.1, 0.4], [-0.8, 1.2, 0.6]], "tanh"),
        ([[0.0], [1.0], [1.0], [-0.5]], "logistic"),
    ]
    X, T = [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]], [[0.0], [1.0], [1.0], [0.0]]
    losses = reference.train(net, "binary_cross_entropy", X, T, reference.Adam(0.05), [[0, 1, 2, 3]] * 400, 4)
    assert losses[-1] < 0.02 < losses[0]
    assert [round(reference.forward(net, x)[1][-1][0]) for x in X] == [0, 1, 1, 0]
