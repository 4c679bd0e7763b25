"""The oracle itself, against numbers worked by hand and against central differences."""

import ast
import math
from pathlib import Path

import pytest

from bpkernel import reference, reference_functions, reference_normalisation, reference_optimizers
from bpkernel.functions.losses import outputs_for

LN2 = math.log(2)


def test_it_imports_nothing_but_math():
    """Nothing but the files of its functions and its optimizers, which import nothing but math."""
    leaves = reference_functions, reference_normalisation, reference_optimizers
    for module, own in ((reference, {leaf.__name__ for leaf in leaves}), *((leaf, set()) for leaf in leaves)):
        nodes = list(ast.walk(ast.parse(Path(module.__file__).read_text())))
        assert {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names} <= {"math"}
        assert {node.module for node in nodes if isinstance(node, ast.ImportFrom)} == own


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


def test_a_net_with_a_skip_connection_worked_by_hand():
    """x = 2 leads to a relu unit and to the output; y = 0.5 + 3 z_1 + 4 x, with z_1 = 1 + 0.5 · 2 = 2, is 14.5; t = 13.5.

    δ_2 = 1;  δ_1 = 3 δ_2 = 3;  ∂E/∂w_2 = δ_2 (1, x, z_1) = (1, 2, 2);  ∂E/∂w_1 = δ_1 (1, x) = (3, 6).
    """
    net = [([[1.0], [0.5]], "relu", [0]), ([[0.5], [4.0], [3.0]], "identity", [0, 1])]
    e, a, z, delta, dw = reference.backprop(net, "squared_error", [2.0], [13.5])
    assert (e, a, z) == (0.5, [[], [2.0], [14.5]], [[2.0], [2.0], [14.5]])
    assert delta == [[], [3.0], [1.0]]
    assert dw == [[[3.0], [6.0]], [[1.0], [2.0], [2.0]]]


def test_a_unit_that_leads_to_two_layers_worked_by_hand():
    """x = 1, z_1 = 2 x = 2, z_2 = 3 z_1 = 6, y = 5 z_1 + 7 z_2 = 52, t = 51: δ_3 = 1, δ_2 = 7, δ_1 = 5 δ_3 + 3 δ_2 = 26."""
    layers = [[2.0]], [[3.0]], [[5.0], [7.0]]
    net = [([[0.0], *w], "identity", sources) for w, sources in zip(layers, ([0], [1], [1, 2]), strict=True)]
    e, _, _, delta, dw = reference.backprop(net, "squared_error", [1.0], [51.0])
    assert (e, delta) == (0.5, [[], [26.0], [7.0], [1.0]])
    assert dw == [[[26.0], [26.0]], [[7.0], [14.0]], [[1.0], [2.0], [6.0]]]


def test_more_activations_worked_by_hand():
    activate, slope = reference.activate, lambda g, a: reference.times_slope(g, a, activate(g, a), [1.0] * len(a))
    assert activate("leaky_relu", [-2.0, 3.0]) == [-0.02, 3.0]
    assert slope("leaky_relu", [-2.0, 3.0]) == [0.01, 1.0]
    assert activate("elu", [-LN2, 3.0]) == pytest.approx([-0.5, 3.0])
    assert slope("elu", [-LN2, 3.0]) == pytest.approx([0.5, 1.0])
    assert activate("selu", [-LN2, 1.0]) == pytest.approx([-0.5 * 1.0507009873554805 * 1.6732632423543772, 1.0507009873554805])
    assert activate("softplus", [0.0, 1000.0]) == pytest.approx([LN2, 1000.0])
    assert slope("softplus", [math.log(3)]) == pytest.approx([0.75])
    assert activate("silu", [math.log(3)]) == pytest.approx([0.75 * math.log(3)])
    assert slope("silu", [0.0]) == [0.5]
    # Φ(1) = 0.841344746068543 and φ(1) = 0.241970724519143, from a table
    assert activate("gelu", [1.0]) == pytest.approx([0.841344746068543])
    assert slope("gelu", [1.0, 0.0]) == pytest.approx([0.841344746068543 + 0.241970724519143, 0.5])
    assert activate("hard_sigmoid", [-4.0, 0.0, 1.5, 4.0]) == [0.0, 0.5, 0.75, 1.0]
    assert activate("hard_tanh", [-4.0, 0.25, 4.0]) == [-1.0, 0.25, 1.0]
    assert activate("hard_silu", [-4.0, 0.0, 1.5, 4.0]) == [0.0, 0.0, 1.125, 4.0]
    assert slope("hard_silu", [-4.0, 0.0, 1.5, 4.0]) == [0.0, 0.5, 1.0, 1.0]
    assert activate("mean_variance", [5.0, LN2]) == pytest.approx([5.0, 2.0])
    assert reference.activate((lambda a: 2 * a, lambda a, z: 2.0), [3.0]) == [6.0]


def test_more_losses_worked_by_hand():
    error = reference.error
    assert error("absolute_error", [1.0, 5.0], [3.0, 4.0]) == 3.0
    assert error("huber", [1.0, 5.0], [4.0, 4.5]) == 2.5 + 0.125
    assert error(reference.huber(2.0), [1.0], [4.0]) == 4.0
    assert error("log_cosh", [LN2], [0.0]) == pytest.approx(math.log(1.25))
    assert error("hinge", [0.25, -2.0, 3.0], [1.0, 1.0, 1.0]) == 3.75
    assert error("gamma", [2.0], [4.0]) == pytest.approx(-LN2 + 2 - 1)
    assert error("gamma", [3.0], [3.0]) == error("tweedie", [3.0], [3.0]) == pytest.approx(0.0, abs=1e-15)
    assert error("tweedie", [4.0], [0.0]) == 4.0  # y^½ / ½
    assert error("focal", [0.25, 0.75], [1.0, 0.0]) == pytest.approx(0.75**2 * 2 * LN2)
    assert error(reference.focal(0.0), [0.25], [1.0]) == error("cross_entropy", [0.25], [1.0])
    assert error("binary_focal", [0.25], [0.0]) == pytest.approx(-(0.25**2) * math.log(0.75))
    assert error("quantile", [1.0], [3.0]) == 1.0
    assert error(reference.quantile([0.1, 0.75]), [1.0, 5.0], [3.0]) == pytest.approx(0.1 * 2 + 0.25 * 2)
    assert error("gaussian_nll", [1.0, 4.0], [3.0]) == pytest.approx(0.5 * (2 * LN2 + 1))
    own = reference.each(lambda y, t: y * t, lambda y, t: t)
    assert reference.output_deltas("identity", own, [2.0], [2.0], [5.0]) == [5.0]


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


def test_the_options_of_sgd_worked_by_hand():
    sgd = reference.SGD(0.1, momentum=0.5, dampening=0.25, weight_decay=0.2)
    state = sgd.start()
    w = sgd.step(1.0, 2.0, state, 1)  # v = -0.2, not dampened, and 0.1 · 0.2 · 1 is lost
    assert w == pytest.approx(0.78)
    assert sgd.step(w, 2.0, state, 2) == pytest.approx(0.78 * 0.98 - 0.1 - 0.75 * 0.2)


def test_adam_with_decay_and_with_nesterov_worked_by_hand():
    adamw = reference.AdamW(0.1, weight_decay=0.5, epsilon=1.0)
    state = adamw.start()
    w = adamw.step(1.0, 4.0, state, 1)  # m̂ = 4, √v̂ = 4
    assert w == pytest.approx(1 - 0.05 - 0.1 * 4 / (4 + 1))
    m, v = 0.16 / (1 - 0.9**2), 0.019984 / (1 - 0.999**2)  # as of Adam
    assert adamw.step(w, -2.0, state, 2) == pytest.approx(0.95 * w - 0.1 * m / (math.sqrt(v) + 1), rel=1e-12)
    nadam = reference.NAdam(0.1, momentum_decay=1.0, weight_decay=0.5, epsilon=1.0)
    state = nadam.start()
    w = nadam.step(1.0, 4.0, state, 1)
    one, two, three = (0.9 * (1 - 0.5 * 0.96**t) for t in (1, 2, 3))
    m_hat = two * 0.4 / (1 - one * two) + (1 - one) * 4 / (1 - one)
    assert w == pytest.approx(1 - 0.05 - 0.1 * m_hat / 5, rel=1e-12)
    m_hat = three * 0.16 / (1 - one * two * three) + (1 - two) * -2 / (1 - one * two)
    assert nadam.step(w, -2.0, state, 2) == pytest.approx(0.95 * w - 0.1 * m_hat / (math.sqrt(v) + 1), rel=1e-12)


def test_scaled_steps_worked_by_hand():
    rmsprop = reference.RMSprop(0.1, rho=0.75, epsilon=1.0, momentum=0.5, weight_decay=0.2)
    state = rmsprop.start()
    w = rmsprop.step(1.0, 4.0, state, 1)  # v = 4, b = 4 / (2 + 1)
    assert w == pytest.approx(0.98 - 0.4 / 3)
    b = 2 / 3 + 2 / (math.sqrt(0.75 * 4 + 0.25 * 4) + 1)
    assert rmsprop.step(w, 2.0, state, 2) == pytest.approx(0.98 * w - 0.1 * b)
    centered = reference.RMSprop(0.1, rho=0.75, epsilon=1.0, centered=True)
    assert centered.step(1.0, 4.0, centered.start(), 1) == pytest.approx(1 - 0.4 / (math.sqrt(4 - 1) + 1))  # mean 1
    centered = reference.RMSprop(0.1, rho=0.5, epsilon=1.0, centered=True)
    assert centered.step(1.0, 1.0, [0.0, 0.0, 1.0], 1) == pytest.approx(0.9)  # ½ - 1² is rounding error: it counts as 0
    adagrad = reference.Adagrad(0.1, rate_decay=0.25, initial=7.0, epsilon=1.0, weight_decay=0.5)
    state = adagrad.start()
    w = adagrad.step(1.0, 3.0, state, 1)  # v = 16
    assert w == pytest.approx(0.95 - 0.3 / 5)
    assert adagrad.step(w, -3.0, state, 2) == pytest.approx(w * (1 - 0.04) + 0.08 * 3 / (5 + 1))  # v = 25, η = 0.08


def test_lion_worked_by_hand():
    lion = reference.Lion(0.1, beta_1=0.5, beta_2=0.75, weight_decay=0.2)
    state = lion.start()
    w = lion.step(1.0, 4.0, state, 1)  # m = 1 afterwards
    assert w == pytest.approx(1 - 0.1 * 1.2)
    assert lion.step(w, -1.0, state, 2) == pytest.approx(w * 0.98)  # 0.5 · 1 + 0.5 · -1 = 0
    assert lion.step(w, -1.0, state, 3) == pytest.approx(w * 0.98 + 0.1)  # m = 0.75 - 0.25 = 0.5


TARGETS = {"gamma": [0.7, 1.3], "hinge": [1.0, -1.0], "gaussian_nll": [0.8]}


@pytest.mark.parametrize("loss", reference.LOSSES)
@pytest.mark.parametrize("hidden", [name for name in reference.ELEMENTWISE if name != "exp"])
def test_every_gradient_agrees_with_central_differences(loss, hidden):
    h = 1e-6
    for output in outputs_for(loss):
        net = [
            ([[0.1, -0.2, 0.3], [0.5, 0.4, -0.6], [-0.7, 0.8, 0.9]], hidden),
            ([[0.2, -0.1], [0.3, 0.6], [-0.4, 0.5], [0.7, 0.8]], output),
        ]
        x, t = [0.9, -0.35], TARGETS.get(loss, [0.0, 1.0])
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
