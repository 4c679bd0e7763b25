"""Layer normalisation as users of `MLP` meet it."""

import copy
import pickle

import numpy as np
import pytest

import bpkernel as bp
from bpkernel.check_gradients import name_of
from bpkernel.differentiator import Differentiator, mirror
from bpkernel.full_batch_training import FullBatchObjective
from bpkernel.kernels import operands
from bpkernel.kernels.regularisation import regularisation
from bpkernel.mini_batches import MiniBatches

RNG = np.random.default_rng(0)
X, T = RNG.standard_normal((60, 4)), RNG.standard_normal((60, 2))


def net(layer_norm=True, sizes=(4, 9, 7, 2), **own):
    """A net whose gains and shifts are not those of the beginning."""
    made = bp.MLP(sizes, "tanh", **({"random_state": 0, "dtype": "float64", "layer_norm": layer_norm} | own))
    rng = np.random.default_rng(1)
    for gains, shifts in zip(made.gains, made.shifts, strict=True):
        gains[:], shifts[:] = rng.uniform(0.5, 1.5, gains.size), rng.uniform(-0.5, 0.5, shifts.size)
    return made


def test_gains_and_shifts_are_ones_and_zeros_at_first_and_live_views():
    made = bp.MLP((4, 9, 7, 2), layer_norm=[False, True], random_state=0)
    assert made.layer_norm == (False, True)
    assert [view.tolist() for view in (*made.gains, *made.shifts)] == [[1.0] * 7, [0.0] * 7]
    before = made.predict(X)
    made.gains[0][:] = 0  # u is then the shift
    made.shifts[0][:] = 0.5
    np.testing.assert_allclose(made.backprop(X, T).a[2], 0.5)
    assert (made.predict(X) != before).any()
    assert bp.MLP((4, 9, 2)).gains == bp.MLP((4, 9, 2)).shifts == ()
    assert bp.MLP((4, 2), layer_norm=True).gains == ()
    plain = bp.MLP((4, 9, 7, 2), random_state=0)
    for w, other in zip(plain.weights, bp.MLP((4, 9, 7, 2), random_state=0, layer_norm=True).weights, strict=True):
        np.testing.assert_array_equal(w, other)  # the numbers drawn are the same


def test_parameters_end_with_gains_then_shifts():
    made = net()
    blocks = [*made.weights, *made.biases, *made.gains, *made.shifts]
    np.testing.assert_array_equal(made.parameters, np.concatenate([block.ravel() for block in blocks]))
    r = made.backprop(X, T)
    found = np.concatenate([block.ravel() for block in (*r.dw, *r.db, *r.dgains, *r.dshifts)])
    assert min(np.abs(block).max() for block in (*r.dgains, *r.dshifts)) > 1e-3
    np.testing.assert_allclose(found, made.gradient(X, T), rtol=1e-12, atol=1e-12)
    new = RNG.standard_normal(len(found))
    made.parameters = new
    np.testing.assert_array_equal(made.parameters, new)
    np.testing.assert_array_equal(made.shifts[1], new[-7:])
    with pytest.raises(ValueError, match=r"shape \(163,\), one number for each weight and each bias, each gain and each shift"):
        made.parameters = new[:-1]


@pytest.mark.parametrize(
    ("layer_norm", "kind", "message"),
    [
        ("all", TypeError, "layer_norm must be True or False, or one of these for each hidden layer; got 'all'"),
        (1, TypeError, "layer_norm must be True or False"),
        (None, TypeError, "layer_norm must be True or False"),
        ([True, 1], TypeError, "layer_norm must be True or False"),
        ([True], ValueError, r"one bool for each hidden layer \(2 for layer_sizes \(4, 9, 1, 2\)\)"),
        (True, ValueError, "layer 2 has one unit, whose normalised sum is always 0"),
        ([False, True], ValueError, "layer 2 has one unit, .* a list with False for this layer"),
    ],
)
def test_what_is_no_layer_norm_is_refused(layer_norm, kind, message):
    with pytest.raises(kind, match=message):
        bp.MLP((4, 9, 1, 2), layer_norm=layer_norm)


def test_copies_files_and_texts_hold_it(tmp_path):
    pytest.importorskip("safetensors")
    made = net([True, False], dtype="float32")
    made.save(tmp_path / "net")
    copies = copy.deepcopy(made), pickle.loads(pickle.dumps(made)), bp.MLP.load(tmp_path / "net")
    for other in copies:
        np.testing.assert_array_equal(other.parameters, made.parameters)
        np.testing.assert_array_equal(other.predict(X), made.predict(X))
        assert repr(other) == repr(made)
        other.gains[0][:] = 3
        assert not (made.gains[0] == 3).any()
    assert "layer_norm=(True, False)" in repr(made)
    assert "layer_norm" not in repr(net(False))
    assert made._repr_html_().count("layer norm, &#x27;tanh&#x27;") == 1


@pytest.mark.parametrize("batch_size", [7, 60])
@pytest.mark.parametrize(
    "settings",
    [{"alpha": 3.0}, {"alpha": [1.0, 2.0, 3.0]}, {"l1": 0.5}, {"max_norm": 0.1}, {"alpha": 1.0, "max_norm": 0.1}],
    ids=str,
)
def test_gains_and_shifts_are_not_penalised(settings, batch_size):
    """The first step is of the same gradient in both nets, so their gains and shifts stay equal, while weights differ."""
    nets = [net(), net()]
    for made, own in zip(nets, ({}, settings), strict=True):
        made.fit(X[:batch_size], T[:batch_size], 1, batch_size, bp.SGD(0.1), **own)
    start = net()
    for name in ("gains", "shifts", "biases"):
        for one, other, first in zip(*(getattr(each, name) for each in (*nets, start)), strict=True):
            assert (one != first).all()
            np.testing.assert_array_equal(one, other)
    for one, other in zip(nets[0].weights, nets[1].weights, strict=True):
        assert (one != other).any()


def test_the_penalty_of_a_batch_is_of_its_weights():
    """As the estimators add it to their loss."""
    made = net()
    network, optimizer, total = made._network, bp.SGD(0.1), np.zeros((1, 3))
    squares, own = sum((w**2).sum() for w in made.weights), regularisation(network.layout, 2.0)
    step = operands.step(bp.SGD, optimizer.settings(made.dtype), *optimizer.bind(network.layout), network.layout, own)
    MiniBatches(network, step, 60).run(operands.samples(X, T, np.ones(60)), np.arange(60), total)
    assert squares > 1
    np.testing.assert_allclose(total[0, 2], squares, rtol=1e-12)  # 60 · ½ · 2 Σ w² / 60


def test_the_norm_that_is_clipped_counts_gains_and_shifts():
    made = net()
    before, gradient = made.parameters, made.gradient(X, T) / 60
    assert np.linalg.norm(gradient) > 0.01
    made.fit(X, T, 1, 60, bp.SGD(1.0, momentum=0.0), clip_norm=0.01)
    np.testing.assert_allclose(before - made.parameters, 0.01 * gradient / np.linalg.norm(gradient), rtol=1e-9, atol=1e-14)


def test_optimizers_of_all_samples_penalise_weights_only():
    made, alpha, n_weights = net(), 0.5, 4 * 9 + 9 * 7 + 7 * 2
    objective = FullBatchObjective(made._network, operands.samples(X, T, np.ones(60)), alpha, quadratic=True)
    error, gradient = objective.gradient_at(made.parameters)
    decay = np.where(np.arange(163) < n_weights, alpha, 0)
    np.testing.assert_allclose(error, 60 * made.loss(X, T) + 0.5 * decay @ made.parameters**2, rtol=1e-12)
    np.testing.assert_allclose(gradient, made.gradient(X, T) + decay * made.parameters, rtol=0, atol=1e-12)
    np.testing.assert_allclose(mirror(objective.quadratic()[0]), made.gauss_newton(X, T) + np.diag(decay), rtol=0, atol=1e-12)


@pytest.mark.parametrize("optimizer", [bp.LevenbergMarquardt(), bp.LBFGS()], ids=["lm", "lbfgs"])
def test_optimizers_of_all_samples_train_gains_and_shifts(optimizer):
    made, start = net(), net()
    made.fit(X, T, epochs=30, optimizer=optimizer)
    assert made.loss(X, T) < 0.5 * start.loss(X, T)
    for name in ("gains", "shifts"):
        assert all((one != other).all() for one, other in zip(getattr(made, name), getattr(start, name), strict=True))


def test_second_derivatives_agree_with_differences_of_the_gradient():
    made = net(connections="all", sizes=(4, 9, 7, 2))
    start, h = made.parameters, 1e-5
    v = np.random.default_rng(2).standard_normal(len(start))
    gradients = []
    for sign in (1, -1):
        made.parameters = start + sign * h * v
        gradients.append(made.gradient(X, T))
    made.parameters = start
    expected = (gradients[0] - gradients[1]) / (2 * h)
    found = made.hvp(X, T, v)
    for block in (slice(-32, -16), slice(-16, None)):  # of gains and of shifts
        assert np.abs(expected[block]).max() > 1
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-7 * np.abs(expected).max())


def test_blocks_of_layers_hold_their_gains_and_shifts():
    made = net()
    network, samples = made._network.in_float64(), operands.samples(X, T, np.ones(60))
    d = Differentiator(network, second=True)
    whole, order, bounds = made.gauss_newton(X, T), d.by_layer(), d.layer_bounds()
    assert np.array_equal(np.sort(order), np.arange(len(whole)))
    assert bounds == [0, 5 * 9 + 18, 5 * 9 + 18 + 10 * 7 + 14, len(whole)]
    for block, first, end in zip(d.gauss_newton(samples, "layer"), bounds, bounds[1:], strict=False):
        places = order[first:end]
        expected = whole[np.ix_(places, places)]
        assert np.abs(expected[-4:, -4:]).max() > 1e-3
        np.testing.assert_allclose(mirror(block), expected, rtol=1e-10, atol=1e-10)
    names = np.array([name_of(made, place) for place in range(len(whole))])
    layer = names[order[bounds[0] : bounds[1]]]
    assert [layer[0], layer[-18], layer[-1]] == [
        "the bias of unit 0 of layer 1",
        "the gain of unit 0 of layer 1",
        "the shift of unit 8 of layer 1",
    ]


@pytest.mark.parametrize("structure", ["full", "diagonal"])
def test_error_bars_count_gains_and_shifts_as_weights(structure):
    made = net()
    posterior = made.laplace(X, T, structure=structure, prior_precision=1.5, noise_precision=4.0)
    curvature = 4 * made.gauss_newton(X, T) + 1.5 * np.eye(163)
    expected = np.linalg.inv(curvature if structure == "full" else np.diag(np.diag(curvature)))
    assert np.diag(expected)[-32:].max() > 1e-3
    np.testing.assert_allclose(posterior.covariance(), expected, rtol=0, atol=1e-10)
    assert posterior.sample(3, random_state=0).shape == (3, 163)


def test_statistics_and_gradient_checks_count_gains_and_shifts():
    made = net([False, True])
    statistics = bp.LayerStatistics(made, X, T)
    statistics(None)
    r = made.backprop(X, T)
    of_layer = [r.dw[1], r.db[1], r.dgains[0], r.dshifts[0]]
    np.testing.assert_allclose(statistics.gradient[0][1], np.sqrt(sum((own**2).sum() for own in of_layer)) / 60)
    check = bp.check_gradients(net(dtype="float32"), X, T)
    assert check.ok, str(check)
    assert check.n_checked == check.n_parameters == 163
