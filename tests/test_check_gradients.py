"""check_gradients: right nets pass, wrong derivatives are found and named, kinks are explained."""

import math

import numpy as np
import pytest

import bpkernel as bp
from bpkernel.check_gradients import name_of


@pytest.fixture
def samples():
    rng = np.random.default_rng(0)
    return rng.standard_normal((30, 3)), rng.standard_normal(30)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_right_gradient_passes(samples, dtype):
    X, T = samples
    net = bp.MLP((3, 5, 4, 1), ["silu", "tanh"], loss="log_cosh", dtype=dtype, random_state=0, connections="all")
    check = bp.check_gradients(net, X, T)
    assert check.ok
    assert check.kink is None
    assert check.error < 1e-7
    assert (check.n_parameters, check.n_checked, check.n_samples) == (len(net.parameters), len(net.parameters), 30)
    text = str(check)
    assert "gradient check: passed" in text
    assert "Eq. 7  δ of hidden" in text
    assert 1e-8 < check.step < 1e-2
    assert check.errors.min() < 1e-8 < check.errors.max()


def test_a_wrong_derivative_is_found_and_its_weight_named(samples):
    X, T = samples
    wrong = bp.Activation(lambda a: math.sin(a), lambda a, z: math.cos(a) + (0.1 if a > 4 else 0.0), "wrong", check=False)
    net = bp.MLP((3, 4, 1), wrong, dtype="float64", random_state=0)
    net.biases[0][2] = 7  # the only unit whose a is large enough
    check = bp.check_gradients(net, X, T)
    assert not check.ok
    assert check.parameter.endswith("unit 2 of layer 1")
    assert "FAILED" in str(check)
    assert abs(check.gradient - check.difference) > 1e-3


def test_a_kink_is_explained(samples):
    X, T = samples
    net = bp.MLP((3, 4, 1), "relu", dtype="float64", random_state=0)
    net.biases[0][1] = -(X[7] @ net.weights[0][:, 1])  # a = 0 for sample 7
    check = bp.check_gradients(net, X, T)
    assert check.ok
    assert check.error > check.allowed
    assert (check.kink.layer, check.kink.unit, check.kink.sample, check.kink.name) == (1, 1, 7, "relu")
    assert "The reason is a kink" in str(check)


def test_a_kink_does_not_excuse_another_weight(samples):
    X, T = samples

    def g_prime(a, z):
        return (1.0 if a > 0 else 0.0) * (1.1 if a > 9 else 1.0)

    wrong = bp.Activation(lambda a: max(a, 0.0), g_prime, "bent_relu", check=False)
    for activation, ok in (("relu", True), (wrong, False)):
        net = bp.MLP((3, 4, 1), activation, dtype="float64", random_state=0)
        net.biases[0][1] = -(X[7] @ net.weights[0][:, 1])
        net.biases[0][3] = 20
        check = bp.check_gradients(net, X, T)
        assert check.ok == ok
    assert "unit 3 of layer 1" in check.parameter


def test_estimators_and_masks(samples):
    X, T = samples
    classes = np.array(["a", "b", "c"])[(T > 0).astype(int) + (X[:, 0] > 0)]
    own = {"hidden_layer_sizes": (4,), "max_iter": 30, "activation": "tanh", "random_state": 0, "solver": "lm", "alpha": 1.0}
    for kind, y in ((bp.MLPRegressor, T), (bp.MLPClassifier, classes), (bp.MLPClassifier, T > 0)):
        assert bp.check_gradients(kind(**own, tol=0.1).fit(X, y), X, y).ok
    net = bp.MLP((3, 4, 1), dtype="float64", random_state=0, masks={(0, 1): np.random.default_rng(0).random((3, 4)) < 0.5})
    check = bp.check_gradients(net, X, T)
    assert check.ok
    assert check.n_checked == int((net.masks[0, 1]).sum()) + 4 + 5
    with pytest.raises(TypeError, match=r"net must be a bpkernel\.MLP, MLPClassifier or MLPRegressor; got 3"):
        bp.check_gradients(3, X, T)


def test_names_of_parameters():
    net = bp.MLP.from_edges([("x", "h"), ("h", "y"), ("x", "y")], inputs=["x"], outputs=["y"])
    assert name_of(net, 0) == "the weight from unit x of layer 0 to unit h of layer 1"
    assert name_of(net, len(net.parameters) - 1) == "the bias of unit y of layer 2"
    with pytest.raises(IndexError):
        name_of(net, len(net.parameters))
