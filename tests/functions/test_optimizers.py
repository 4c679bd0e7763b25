"""The optimizers: their settings, their state, and the steps that they make."""

import copy
import dataclasses
import pickle

import numpy as np
import pytest

import bpkernel as bp
from bpkernel import reference
from bpkernel.codegen.jit import kernel
from bpkernel.codegen.precision import Precision
from bpkernel.codegen.views import rows_from
from bpkernel.functions import optimizers
from bpkernel.functions.activations import Tanh
from bpkernel.kernels.layout import Layout

DTYPES = ["float32", "float64"]
STEPS = {  # an optimizer, and the reference's
    "SGD": (bp.SGD(0.1), reference.SGD(0.1)),
    "momentum": (bp.SGD(0.05, momentum=0.9), reference.SGD(0.05, 0.9)),
    "Nesterov": (bp.SGD(0.05, momentum=0.9, nesterov=True), reference.SGD(0.05, 0.9, True)),
    "Adam": (bp.Adam(0.01), reference.Adam(0.01)),
    "Adam of other settings": (bp.Adam(0.02, 0.5, 0.9, 1e-3), reference.Adam(0.02, 0.5, 0.9, 1e-3)),
}


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((203, 3))
    return X, np.sin(X[:, :1]) + X[:, 1:2] * X[:, 2:3]


def new(**parameters):
    return bp.MLP((3, 8, 1), dtype="float64", random_state=0, **parameters)


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda: bp.Adam(0), ValueError, "learning_rate must be a number greater than 0; got 0"),
        (lambda: bp.Adam(-1), ValueError, "learning_rate"),
        (lambda: bp.Adam(float("nan")), ValueError, "learning_rate"),
        (lambda: bp.SGD(float("inf")), ValueError, "learning_rate"),
        (lambda: bp.Adam(10**400), ValueError, "learning_rate"),
        (lambda: bp.Adam("0.1"), TypeError, "learning_rate"),
        (lambda: bp.Adam(None), TypeError, "learning_rate"),
        (lambda: bp.Adam(True), TypeError, "learning_rate"),
        (lambda: bp.Adam(beta_1=1.0), ValueError, "beta_1"),
        (lambda: bp.Adam(beta_2=-0.1), ValueError, "beta_2"),
        (lambda: bp.Adam(epsilon=0), ValueError, "epsilon"),
        (lambda: bp.SGD(0.1, momentum=1), ValueError, "momentum"),
        (lambda: bp.SGD(0.1, nesterov="yes"), TypeError, "nesterov"),
    ],
)
def test_bad_optimizers_are_refused(make, kind, message):
    with pytest.raises(kind, match=message):
        make()


@pytest.mark.parametrize("optimizer", [bp.SGD(1e-50), bp.SGD(1e39), bp.Adam(epsilon=1e-50)], ids=str)
def test_settings_that_float32_does_not_hold_are_refused(data, optimizer):
    with pytest.raises(ValueError, match="in the net's float32; use another, or float64"):
        bp.MLP((3, 1)).fit(*data, optimizer=optimizer)


def test_an_optimizer_is_bound_to_one_shape(data):
    X, T = data
    optimizer = bp.Adam()
    new().fit(X, T, epochs=1, optimizer=optimizer)
    for other in (bp.MLP((3, 9, 1), dtype="float64"), bp.MLP((3, 8, 1), dtype="float32")):
        with pytest.raises(ValueError, match="make a new optimizer, or call its reset"):
            other.fit(X, T, optimizer=optimizer)
    optimizer.reset()
    bp.MLP((3, 9, 1)).fit(X, T, epochs=1, optimizer=optimizer)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("beta", [0.999999, 0.99999999])
def test_the_first_step_of_adam_is_the_learning_rate_whatever_the_betas(beta, dtype):
    for betas in ({"beta_1": beta}, {"beta_2": beta}):
        net = bp.MLP((1, 1), dtype=dtype, random_state=0)
        before = net.weights[0].item()
        net.fit([[1.0]], [10.0], epochs=1, optimizer=bp.Adam(0.001, **betas))
        assert net.weights[0].item() - before == pytest.approx(0.001, rel=1e-3)


def test_settings_changed_between_fits_are_checked(data):
    optimizer = bp.SGD(0.1)
    optimizer.learning_rate = -1
    with pytest.raises(ValueError, match="learning_rate"):
        new().fit(*data, optimizer=optimizer)


# --------------------------------------------------------------------------------------------------- steps and state


@kernel(entry=True)
def run_factors(pointer, h, t, c):
    optimizers.factors(pointer, (h, t, c))


@kernel(entry=True)
def run_update(pointer, w, g, state, c):
    optimizers.update(pointer, (w, g, rows_from(state, 0, state.shape[0], 0), c))


def step(optimizer, w, g, state, t):
    """One step in place; neither the factors nor the state may be written beyond their ends."""
    kind, precision = type(optimizer), Precision.of(w.dtype)
    h, c = optimizer.settings(w.dtype), np.full(kind.n_factors + 3, 7.0)
    run_factors(optimizers.pointer_to_factors(kind.factors, precision), h, t, c[: kind.n_factors])
    assert (c[kind.n_factors :] == 7).all()
    run_update(optimizers.pointer_to_update(kind.update, precision), w, g, state, c[: kind.n_factors])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", STEPS)
def test_steps_are_those_of_the_reference(name, dtype):
    optimizer, oracle = STEPS[name]
    rng = np.random.default_rng(0)
    eps = np.finfo(dtype).eps
    for n in (1, 7, 16, 33):
        w, state = rng.standard_normal(n).astype(dtype), np.zeros((type(optimizer).n_slots + 1, n), dtype)
        expected, oracle_state = w.astype(float).tolist(), [oracle.start() for _ in range(n)]
        start = w.copy()
        for t in range(1, 6):
            g = rng.standard_normal(n).astype(dtype)
            step(optimizer, w, g, state[:-1], t)
            expected = [oracle.step(*pair, t) for pair in zip(expected, g.tolist(), oracle_state, strict=True)]
        assert abs(w - start).min() > 1e-6
        np.testing.assert_allclose(w, expected, rtol=0, atol=100 * eps)
        np.testing.assert_allclose(state[:-1].T, oracle_state, rtol=0, atol=100 * eps)
        assert not state[-1].any()


@pytest.mark.parametrize("kind", optimizers.OPTIMIZERS)
def test_settings_are_the_fields_in_their_order(kind):
    """The factors are computed from as many numbers as that: one more would be written behind their end."""
    optimizer = kind()
    names = [field.name for field in dataclasses.fields(kind)]
    assert optimizer.settings(np.dtype("float64")).tolist() == [float(getattr(optimizer, name)) for name in names]
    assert list(optimizer.values()) == [getattr(optimizer, name) for name in names]
    assert f"{names[0]}={getattr(optimizer, names[0])!r}" in repr(optimizer)


@pytest.fixture
def layout():
    return Layout((3, 8, 1), [Tanh, Tanh], np.dtype("float64"))


@pytest.mark.parametrize("kind", optimizers.OPTIMIZERS)
def test_the_state_is_made_once_and_put_back(kind, layout):
    optimizer = kind()
    assert optimizer.snapshot() is None
    state, steps = optimizer.bind(layout)
    assert state.shape == (kind.n_slots, layout.n_params)
    assert not state.any()
    assert not steps.any()
    assert all(again is first for again, first in zip(optimizer.bind(layout), (state, steps), strict=True))
    kept = optimizer.snapshot()
    state += 1
    steps += 1
    optimizer.restore(kept)
    assert not optimizer.bind(layout)[0].any()
    assert not optimizer.bind(layout)[1].any()
    optimizer.restore(None)
    assert optimizer.snapshot() is None


@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o))], ids=["copy", "deepcopy", "pickle"]
)
@pytest.mark.parametrize("name", STEPS)
def test_copies_go_on_from_the_same_state(name, copied, data):
    optimizer, net = copy.deepcopy(STEPS[name][0]), new()
    net.fit(*data, epochs=2, optimizer=optimizer)
    other_net, other = copy.deepcopy(net), copied(optimizer)
    assert net.fit(*data, epochs=2, optimizer=optimizer).loss == other_net.fit(*data, epochs=2, optimizer=other).loss
    assert optimizer.snapshot()[1].any()
    assert not np.shares_memory(optimizer.bind(optimizer.snapshot()[0])[0], other.bind(optimizer.snapshot()[0])[0])


@pytest.mark.parametrize("beta", [0.0, 0.5, 0.9, 0.99, 0.999, 0.9999999])
def test_what_is_left_out_of_powers_changes_no_bit(beta):
    @kernel(entry=True)
    def both(beta, t):
        return optimizers.power(beta, t), beta**t

    for t in [1, 2, 3, 10, *(int(x / (1 - beta)) + k for x in (37, 38, 40, 745, 1000) for k in (-1, 0, 1))]:
        found, whole = both(beta, t)
        assert 1 - found == 1 - whole
