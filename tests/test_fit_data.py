"""What `fit` makes of samples: weights of classes, validation data, metrics."""

import numpy as np
import pytest

import bpkernel as bp
from bpkernel import fit_data
from bpkernel.functions.losses import BY_NAME as LOSSES

N = 60
NETS = {
    "cross_entropy": ((3, 4, 3), "softmax"),
    "focal": ((3, 4, 3), "softmax"),
    "binary_cross_entropy": ((3, 4, 1), "logistic"),
    "hinge": ((3, 4, 1), "identity"),
    "squared_error": ((3, 4, 1), "identity"),
}


@pytest.fixture(scope="module")
def X():
    return np.random.default_rng(0).standard_normal((N, 3))


def new(loss="squared_error", **settings):
    sizes, output = NETS[loss]
    return bp.MLP(sizes, "tanh", output, loss, dtype="float64", random_state=0, **settings)


def classes(loss):
    """Class indices of the samples, of very different frequency, and the targets of the loss."""
    labels = np.repeat([0, 1, 2], [40, 15, 5]) if NETS[loss][0][-1] == 3 else np.repeat([0, 1], [50, 10])
    labels = np.random.default_rng(1).permutation(labels)
    return labels, 2 * labels - 1 if loss == "hinge" else labels


# -------------------------------------------------------------------------------------------------- weights of classes


@pytest.mark.parametrize("loss", ["cross_entropy", "focal", "binary_cross_entropy", "hinge"])
@pytest.mark.parametrize("weighted", [False, True])
def test_balanced_classes_are_weighted_as_scikit_learn_does(X, loss, weighted):
    class_weight = pytest.importorskip("sklearn.utils.class_weight")
    labels, T = classes(loss)
    s = np.random.default_rng(2).uniform(0.5, 2, N) if weighted else None
    one, other = new(loss), new(loss)
    one.fit(X, T, epochs=3, sample_weight=s, class_weight="balanced", alpha=0.1, l1=0.01)
    own = class_weight.compute_sample_weight("balanced", labels) * (1 if s is None else s)
    other.fit(X, T, epochs=3, sample_weight=own, alpha=0.1, l1=0.01)
    np.testing.assert_allclose(one.parameters, other.parameters, rtol=1e-10)


def test_a_dictionary_gives_weights_and_others_have_weight_1(X):
    labels, T = classes("cross_entropy")
    one, other = new("cross_entropy"), new("cross_entropy")
    one.fit(X, T, epochs=3, class_weight={2: 8.0, np.int64(0): 0.5})
    other.fit(X, T, epochs=3, sample_weight=np.array([0.5, 1, 8])[labels])
    np.testing.assert_allclose(one.parameters, other.parameters, rtol=1e-10)


def test_classes_that_are_absent_do_not_matter(X):
    net = new("cross_entropy")
    found = fit_data.class_weights("balanced", LOSSES["cross_entropy"], np.eye(3)[[0, 0, 2, 0]], 3)
    np.testing.assert_allclose(found, [4 / 6, 4 / 6, 2, 4 / 6])
    assert np.isfinite(net.fit(X, np.arange(N) % 2, epochs=1, class_weight="balanced").loss).all()


def test_validation_data_are_not_weighted(X):
    _, T = classes("cross_entropy")
    net = new("cross_entropy")
    history = net.fit(X, T, epochs=1, class_weight="balanced", validation_data=(X, T))
    assert history.validation_loss[-1] == net.loss(X, T)


@pytest.mark.parametrize(
    ("loss", "given", "kind", "words"),
    [
        ("squared_error", "balanced", ValueError, "class_weight needs targets that are classes"),
        ("cross_entropy", "auto", ValueError, 'must be "balanced" or a dictionary'),
        ("cross_entropy", [1, 2, 3], TypeError, 'must be "balanced" or a dictionary'),
        ("cross_entropy", {3: 1.0}, ValueError, "class indices from 0 to 2"),
        ("cross_entropy", {True: 1.0}, ValueError, "class indices from 0 to 2"),
        ("cross_entropy", {"a": 1.0}, ValueError, "class indices from 0 to 2"),
        ("binary_cross_entropy", {2: 1.0}, ValueError, "class indices from 0 to 1"),
        ("cross_entropy", {1: -1.0}, ValueError, r"class_weight\[1\] must be a number of at least 0"),
        ("cross_entropy", {1: np.nan}, ValueError, r"class_weight\[1\] must be a number of at least 0"),
        ("cross_entropy", {1: "2"}, TypeError, r"class_weight\[1\] must be a number of at least 0"),
        ("cross_entropy", dict.fromkeys(range(3), 0.0), ValueError, "leaves no sample with a weight"),
    ],
)
def test_wrong_weights_of_classes(X, loss, given, kind, words):
    net, T = new(loss), np.zeros(N) if loss == "squared_error" else classes(loss)[1]
    before = net.parameters
    with pytest.raises(kind, match=words):
        net.fit(X, T, class_weight=given)
    assert np.array_equal(net.parameters, before)


def test_several_independent_outputs_have_no_classes(X):
    net = bp.MLP((3, 4, 2), output_activation="logistic", loss="binary_cross_entropy", random_state=0)
    with pytest.raises(ValueError, match="class_weight needs targets that are classes"):
        net.fit(X, np.zeros((N, 2)), class_weight="balanced")


# ------------------------------------------------------------------------------------------------------ validation data


def test_a_validation_split_is_drawn_from_the_generator_of_the_net_and_not_trained_on(X):
    T, s = X[:, :1] ** 2, np.linspace(1, 2, N)
    one, other = new(), new()
    history = one.fit(X, T, epochs=4, batch_size=10, sample_weight=s, validation_split=0.25)
    kept, out = fit_data.parts(N, 0.25, other._random)
    assert (history.n_samples, len(kept), len(out)) == (45, 45, 15)
    assert sorted([*kept, *out]) == list(range(N))
    expected = other.fit(
        *(X[kept], T[kept], 4, 10), sample_weight=s[kept] / s.max(), validation_data=(X[out], T[out], s[out] / s.max())
    )
    np.testing.assert_allclose(one.parameters, other.parameters, rtol=1e-12)
    np.testing.assert_allclose(history.validation_loss, expected.validation_loss, rtol=1e-12)
    assert history.validation_loss[-1] == pytest.approx(one.loss(X[out], T[out], s[out]), rel=1e-12)


def test_validation_data_may_have_weights(X):
    net, T, s = new(), X[:, :1], np.linspace(0, 3, N)
    history = net.fit(X, T, epochs=2, validation_data=(X[::-1], T, s))
    assert history.validation_loss[-1] == net.loss(X[::-1], T, s) != net.loss(X[::-1], T)


@pytest.mark.parametrize(
    ("settings", "kind", "words"),
    [
        ({"validation_split": 0.1, "validation_data": (np.ones((2, 3)), np.ones(2))}, ValueError, "not both"),
        ({"validation_split": 1.5}, ValueError, "validation_split must be a number from 0 to 1"),
        ({"validation_split": "a"}, TypeError, "validation_split must be a number from 0 to 1"),
        ({"validation_split": 0.001}, ValueError, "leaves 60 for training and 0 for validation"),
        ({"validation_split": 1.0}, ValueError, "leaves 0 for training and 60 for validation"),
        ({"validation_data": np.ones((2, 3))}, (ValueError, TypeError), "validation_data"),
        ({"validation_data": (np.ones((2, 2)), np.ones(2))}, ValueError, "validation X"),
        ({"validation_data": (np.ones((2, 3)), np.ones(3))}, ValueError, "validation T"),
        ({"validation_data": (np.ones((2, 3)), np.ones(2), -np.ones(2))}, ValueError, "sample_weight"),
    ],
)
def test_wrong_validation_data(X, settings, kind, words):
    net = new()
    before, random = net.parameters, net._random.bit_generator.state
    with pytest.raises(kind, match=words):
        net.fit(X, X[:, :1], **settings)
    assert np.array_equal(net.parameters, before)
    assert net._random.bit_generator.state == random


# -------------------------------------------------------------------------------------------------------------- metrics


def test_metrics_of_classes_have_the_values_of_scikit_learn(X):
    metrics = pytest.importorskip("sklearn.metrics")
    _, T = classes("cross_entropy")
    net, held_back = new("cross_entropy"), (X[::2] + 0.1, T[::2])
    cost = metrics.make_scorer(metrics.zero_one_loss, greater_is_better=False)
    own = ["accuracy", "f1_macro", "neg_log_loss", "roc_auc_ovr", metrics.balanced_accuracy_score, cost]
    history = net.fit(X, T, epochs=3, metrics=own, validation_data=held_back)
    y, truth = net.predict(held_back[0]), held_back[1]
    expected = {
        "val_accuracy": metrics.accuracy_score(truth, y.argmax(axis=1)),
        "val_f1_macro": metrics.f1_score(truth, y.argmax(axis=1), average="macro"),
        "val_neg_log_loss": -metrics.log_loss(truth, y),
        "val_roc_auc_ovr": metrics.roc_auc_score(truth, y, multi_class="ovr"),
        "val_balanced_accuracy_score": metrics.balanced_accuracy_score(truth, y.argmax(axis=1)),
        "val_neg_zero_one_loss": -metrics.zero_one_loss(truth, y.argmax(axis=1)),
    }
    assert list(history.metrics) == list(expected)
    assert [len(found) for found in history.metrics.values()] == [3] * 6
    for name, value in expected.items():
        assert history.metrics[name][-1] == pytest.approx(value, rel=1e-9)


@pytest.mark.parametrize("loss", ["binary_cross_entropy", "hinge"])
def test_metrics_of_two_classes(X, loss):
    metrics = pytest.importorskip("sklearn.metrics")
    labels, T = classes(loss)
    net = new(loss)
    history = net.fit(X, T, epochs=2, metrics=["accuracy", "recall"])
    predicted = (net.predict(X)[:, 0] > (0 if loss == "hinge" else 0.5)).astype(int)
    assert list(history.metrics) == ["accuracy", "recall"]  # of the training data, as there are no others
    assert history.metrics["accuracy"][-1] == metrics.accuracy_score(labels, predicted)
    assert history.metrics["recall"][-1] == metrics.recall_score(labels, predicted)


def test_metrics_of_real_targets(X):
    metrics = pytest.importorskip("sklearn.metrics")
    seen = []

    def spread(true, predicted):
        seen.append((true.copy(), predicted.copy()))
        return np.float32(np.std(predicted))

    net, T = new(), X[:, :1]
    history = net.fit(X, T, epochs=2, metrics=("r2", spread), validation_data=(X[:9], T[:9]))
    assert history.metrics["val_r2"][-1] == pytest.approx(metrics.r2_score(T[:9], net.predict(X[:9])), rel=1e-9)
    assert np.array_equal(seen[-1][0], T[:9, 0])
    assert np.array_equal(seen[-1][1], net.predict(X[:9])[:, 0])
    assert all(type(value) is float for value in history.metrics["val_spread"])


def test_one_metric_needs_no_list_and_may_be_monitored(X):
    history = new().fit(X, X[:, :1], epochs=5, metrics=lambda true, predicted: 1.0, monitor="<lambda>", patience=2)
    assert (len(history.loss), history.best_epoch) == (3, 0)


@pytest.mark.parametrize(
    ("settings", "kind", "words"),
    [
        ({"metrics": ["acuracy"]}, ValueError, "names of scikit-learn's scorers or functions; got 'acuracy'"),
        ({"metrics": [3]}, TypeError, "names of scikit-learn's scorers or functions; got 3"),
        ({"metrics": ["r2", "r2"]}, ValueError, "'r2' twice"),
        ({"monitor": "val_loss"}, ValueError, "must be one of loss; got 'val_loss'; pass validation_data"),
        ({"monitor": "r2", "metrics": "r2", "validation_split": 0.2}, ValueError, "must be one of loss, val_loss, val_r2"),
        ({"patience": 3}, ValueError, "patience needs the validation loss"),
    ],
)
def test_wrong_metrics_and_monitors(X, settings, kind, words):
    pytest.importorskip("sklearn")
    net = new()
    before = net.parameters
    with pytest.raises(kind, match=words):
        net.fit(X, X[:, :1], **settings)
    assert np.array_equal(net.parameters, before)


def test_a_metric_that_needs_probabilities_says_so_for_a_loss_without(X):
    pytest.importorskip("sklearn")
    with pytest.raises(ValueError, match="hinge has no probabilities"):
        new("hinge").fit(X, classes("hinge")[1], metrics="neg_log_loss")


def test_a_metric_that_raises_leaves_the_net_as_it_was(X):
    net, optimizer = new(), bp.Adam()
    before, random = net.parameters, net._random.bit_generator.state

    def fails(true, predicted):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        net.fit(X, X[:, :1], epochs=3, optimizer=optimizer, metrics=fails)
    assert np.array_equal(net.parameters, before)
    assert optimizer.n_steps == 0
    assert net._random.bit_generator.state == random
