"""What `fit` adds to the loss, as users pass it: checked before any training; and smooth labels."""

import copy

import numpy as np
import pytest

import bpkernel as bp

RNG = np.random.default_rng(0)
X, CLASSES = RNG.standard_normal((60, 4)), RNG.integers(0, 3, 60)
ONE_HOT = np.eye(3)[CLASSES]
MIXED = RNG.dirichlet([1, 1, 1], 60)
BINARY = RNG.integers(0, 2, (60, 2)).astype(float)
PROBABILITIES = RNG.uniform(0, 1, (60, 2))

# ------------------------------------------------------------------------------------------------------- label smoothing

TARGETS = {  # output activation, targets
    "cross_entropy": ("softmax", [CLASSES, ONE_HOT, MIXED]),
    "focal": ("softmax", [CLASSES, ONE_HOT, MIXED]),
    "binary_cross_entropy": ("logistic", [BINARY, PROBABILITIES]),
    "binary_focal": ("logistic", [BINARY, PROBABILITIES]),
}


def net_for(loss, dtype="float64", **changed):
    output, targets = TARGETS[loss]
    n_out = 3 if output == "softmax" else 2
    return bp.MLP((4, 9, n_out), "tanh", output, loss, dtype, random_state=0, **changed), targets


def trained(net, T, **settings):
    history = net.fit(X, T, 5, 25, bp.Adam(0.01), **settings)
    return history, net.parameters


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("smoothing", [0.1, 0.5, 1.0])
@pytest.mark.parametrize("loss", TARGETS)
def test_smoothing_is_training_with_targets_between_the_classes(loss, smoothing, dtype):
    """The weights and `History.loss` are those of such targets, passed as they are, bit for bit."""
    for T in net_for(loss)[1]:
        whole, number = (ONE_HOT if T is CLASSES else T).astype(dtype), np.dtype(dtype).type
        smooth = whole * number(1 - smoothing) + number(smoothing / whole.shape[1])
        (history, weights), (expected, expected_weights) = (
            trained(net_for(loss, dtype)[0], T, label_smoothing=smoothing),
            trained(net_for(loss, dtype)[0], smooth),
        )
        plain, plain_weights = trained(net_for(loss, dtype)[0], T)
        assert (weights != plain_weights).mean() > 0.5
        assert history.loss[0] != plain.loss[0]
        np.testing.assert_array_equal(weights, expected_weights)
        assert history.loss == expected.loss


def test_targets_of_two_and_of_three_classes_by_hand():
    """(1 - ε) t + ε / n: with ε = 0.3 a class is 0.8 of three, and 0.85 of two; E is then that of these targets."""
    net, _ = net_for("cross_entropy")
    net.weights[1][:] = 0
    net.biases[1][:] = np.log([0.5, 0.3, 0.2])
    expected = -(0.8 * np.log(0.5) + 0.1 * np.log(0.3) + 0.1 * np.log(0.2))
    loss = net.fit(X[:1], [0], 1, 1, bp.SGD(1e-60), label_smoothing=0.3).loss
    np.testing.assert_allclose(loss, [expected], rtol=1e-14)
    net, _ = net_for("binary_cross_entropy")
    net.weights[1][:] = 0
    net.biases[1][:] = np.log([0.6 / 0.4, 0.9 / 0.1])
    terms = 0.85 * np.log(0.6) + 0.15 * np.log(0.4), 0.15 * np.log(0.9) + 0.85 * np.log(0.1)
    loss = net.fit(X[:1], [[1, 0]], 1, 1, bp.SGD(1e-60), label_smoothing=0.3).loss
    np.testing.assert_allclose(loss, [-sum(terms)], rtol=1e-14)


@pytest.mark.parametrize("loss", TARGETS)
def test_validation_and_metrics_see_the_targets_as_they_are(loss):
    net, targets = net_for(loss)
    seen = []

    def score(true, predicted):
        seen.append(np.unique(true).tolist())
        return 0.5

    T = targets[0]
    history, _ = trained(net, T, label_smoothing=0.3, validation_data=(X, T), metrics=[score])
    assert history.validation_loss[-1] == net.loss(X, T) != history.loss[-1]
    assert seen
    assert all(set(values) == set(np.unique(T)) for values in seen)


def test_the_targets_of_the_caller_stay_as_they_are():
    T, net = ONE_HOT.copy(), net_for("cross_entropy")[0]
    trained(net, T, label_smoothing=0.3)
    np.testing.assert_array_equal(T, ONE_HOT)


def test_smoothing_goes_with_optimizers_of_all_samples():
    results = []
    for T, smoothing in ((CLASSES, 0.3), (0.7 * ONE_HOT + 0.1, 0.0)):
        net, _ = net_for("cross_entropy")
        net.fit(X, T, 5, optimizer=bp.LBFGS(), label_smoothing=smoothing)
        results.append(net.parameters)
    assert results[0].any()
    np.testing.assert_allclose(*results, rtol=0, atol=1e-9)


@pytest.mark.parametrize("loss", ["squared_error", "absolute_error", "huber", "hinge", "poisson"])
def test_smoothing_is_refused_without_probabilities(loss):
    """Before anything is drawn or trained."""
    output = "exp" if loss == "poisson" else "identity"
    net = bp.MLP((4, 9, 1), "tanh", output, loss, random_state=0)
    before, generator = net.parameters, copy.deepcopy(net._random.bit_generator.state)
    with pytest.raises(ValueError, match=f"label_smoothing needs targets that are probabilities.*{loss}"):
        net.fit(X, np.ones(60), label_smoothing=0.1, validation_split=0.2)
    np.testing.assert_array_equal(net.parameters, before)
    assert net._random.bit_generator.state == generator
    net.fit(X, np.ones(60), 1, label_smoothing=0.0)


# ------------------------------------------------------------------------------------------------------------ arguments

REFUSED = [
    ({"alpha": -1}, ValueError, "alpha must be a number of at least 0.*got -1"),
    ({"alpha": None}, TypeError, "alpha must be a number.*got None"),
    ({"alpha": [1.0, None]}, TypeError, "alpha must be a number.*got None"),
    ({"alpha": [1.0, 2.0, 3.0]}, ValueError, "alpha must be a number, or one for each of the 2 layers .*got 3 numbers"),
    ({"alpha": np.array(1.0)}, TypeError, "alpha must be a number"),
    ({"alpha": 1e39}, ValueError, "alpha must be .* finite in float32"),
    ({"l1": -0.5}, ValueError, "l1 must be a number of at least 0.*got -0.5"),
    ({"l1": True}, TypeError, "l1 must be a number.*got True"),
    ({"l1": "a"}, TypeError, "l1 must be a number.*got 'a'"),
    ({"l1": [0.1]}, ValueError, "l1 must be .*got 1 numbers"),
    ({"l1": [0.1, float("nan")]}, ValueError, "l1 must be .*got nan"),
    ({"clip_norm": 0}, ValueError, "clip_norm must be a number greater than 0; got 0"),
    ({"clip_norm": -1.0}, ValueError, "clip_norm must be a number greater than 0"),
    ({"clip_norm": float("inf")}, ValueError, "clip_norm must be a number greater than 0; got inf"),
    ({"clip_norm": [1.0]}, TypeError, "clip_norm must be a number"),
    ({"clip_value": float("nan")}, ValueError, "clip_value must be a number greater than 0; got nan"),
    ({"clip_value": True}, TypeError, "clip_value must be a number"),
    ({"clip_value": 1e-60}, ValueError, "clip_value is 1e-60, which is 0 in the net's float32"),
    ({"max_norm": -1}, ValueError, "max_norm must be a number of at least 0.*got -1"),
    ({"max_norm": float("inf")}, ValueError, "max_norm must be .*got inf"),
    ({"max_norm": [None]}, ValueError, "max_norm must be .*2 layers but the inputs; got 1 numbers"),
    ({"max_norm": [None, "a"]}, TypeError, "max_norm must be .*got 'a'"),
    ({"label_smoothing": -0.1}, ValueError, "label_smoothing must be a number from 0 to 1; got -0.1"),
    ({"label_smoothing": 1.1}, ValueError, "label_smoothing must be a number from 0 to 1; got 1.1"),
    ({"label_smoothing": None}, TypeError, "label_smoothing must be a number from 0 to 1; got None"),
]


@pytest.mark.parametrize(("settings", "error", "message"), REFUSED)
def test_wrong_arguments_are_refused_before_training(settings, error, message):
    net, _ = net_for("cross_entropy", "float32")
    before, generator = net.parameters, copy.deepcopy(net._random.bit_generator.state)
    with pytest.raises(error, match=message):
        net.fit(X, CLASSES, **settings)
    np.testing.assert_array_equal(net.parameters, before)
    assert net._random.bit_generator.state == generator


@pytest.mark.parametrize("optimizer", [bp.LBFGS, bp.LevenbergMarquardt])
def test_optimizers_of_all_samples_have_one_alpha_only(optimizer):
    """Of any type of number."""
    net = bp.MLP((4, 5, 1), dtype="float64", random_state=0)
    for settings in (
        {"l1": 0.1},
        {"l1": [0.1, 0]},
        {"alpha": [0.1, 0.1]},
        {"max_norm": 1},
        {"clip_norm": 1},
        {"clip_value": 1},
    ):
        with pytest.raises(ValueError, match=f"{optimizer.__name__} does not have {next(iter(settings))}"):
            net.fit(X, X[:, 0], optimizer=optimizer(), **settings)
    results = []
    for alpha in (0.5, np.float64(0.5), np.float32(0.5)):
        net = bp.MLP((4, 5, 1), dtype="float64", random_state=0)
        net.fit(X, X[:, 0], 3, optimizer=optimizer(), alpha=alpha)
        results.append(net.parameters)
    assert results[0].any()
    for other in results[1:]:
        np.testing.assert_array_equal(other, results[0])


@pytest.mark.parametrize("name", ["alpha", "l1", "max_norm"])
@pytest.mark.parametrize("kind", [list, tuple, np.array])
def test_one_number_is_the_same_as_one_for_each_layer(name, kind):
    results = []
    for value in (0.3, kind([0.3, 0.3])):
        history, weights = trained(net_for("cross_entropy")[0], CLASSES, **{name: value})
        results.append((weights, history.loss))
    plain = trained(net_for("cross_entropy")[0], CLASSES)[1]
    assert (results[0][0] != plain).mean() > 0.5
    np.testing.assert_array_equal(results[0][0], results[1][0])
    assert results[0][1] == results[1][1]


def test_penalties_are_not_in_the_history():
    """Steps of next to nothing: the loss is that of the weights, whatever their penalty."""
    net, _ = net_for("cross_entropy")
    expected = net.loss(X, CLASSES)
    loss = net.fit(X, CLASSES, 1, 60, bp.SGD(1e-60), alpha=100.0, l1=[50.0, 20.0]).loss
    np.testing.assert_allclose(loss, [expected], rtol=1e-14)
