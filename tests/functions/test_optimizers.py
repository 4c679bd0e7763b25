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
from bpkernel.functions import adam, optimizers
from bpkernel.functions import optimizer as base
from bpkernel.functions.activations import Tanh
from bpkernel.kernels import partition
from bpkernel.kernels.layout import Layout

DTYPES = ["float32", "float64"]
STEPS = {  # the class, and settings that the reference's has in the same order
    "SGD": (bp.SGD, (0.1,)),
    "momentum": (bp.SGD, (0.05, 0.9)),
    "Nesterov": (bp.SGD, (0.05, 0.9, True)),
    "dampening": (bp.SGD, (0.05, 0.9, False, 0.3)),
    "dampening without momentum": (bp.SGD, (0.05, 0.0, False, 0.3)),
    "SGD with decay": (bp.SGD, (0.1, 0.0, False, 0.0, 0.05)),
    "momentum with decay": (bp.SGD, (0.05, 0.5, False, 0.1, 0.05)),
    "Nesterov with decay": (bp.SGD, (0.05, 0.5, True, 0.0, 0.05)),
    "Adam": (bp.Adam, (0.01,)),
    "Adam of other settings": (bp.Adam, (0.02, 0.5, 0.9, 1e-3)),
    "Adam without means": (bp.Adam, (0.01, 0.0, 0.0, 1e-3)),
    "AdamW": (bp.AdamW, (0.01,)),
    "AdamW without decay": (bp.AdamW, (0.01, 0.0)),
    "AdamW of other settings": (bp.AdamW, (0.02, 0.3, 0.5, 0.9, 1e-1)),
    "NAdam": (bp.NAdam, (0.01,)),
    "NAdam of other settings": (bp.NAdam, (0.02, 0.7, 0.9, 1e-2, 0.1, 0.2)),
    "NAdam of one momentum": (bp.NAdam, (0.02, 0.7, 0.9, 1e-2, 0.0)),
    "RMSprop": (bp.RMSprop, (0.01,)),
    "RMSprop with momentum": (bp.RMSprop, (0.01, 0.9, 1e-2, 0.8)),
    "centered RMSprop": (bp.RMSprop, (0.01, 0.9, 1e-2, 0.0, True)),
    "RMSprop with all": (bp.RMSprop, (0.01, 0.9, 1e-2, 0.8, True, 0.3)),
    "RMSprop with decay": (bp.RMSprop, (0.01, 0.5, 1e-2, 0.0, False, 0.3)),
    "Adagrad": (bp.Adagrad, (0.1,)),
    "Adagrad with initial": (bp.Adagrad, (0.1, 0.0, 0.5)),
    "Adagrad with all": (bp.Adagrad, (0.1, 0.02, 0.5, 1e-2, 0.3)),
    "Lion": (bp.Lion, (0.01,)),
    "Lion of other settings": (bp.Lion, (0.02, 0.5, 0.8, 0.3)),
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
        (lambda: bp.SGD(0.1, nesterov="yes"), TypeError, "nesterov must be True or False"),
        (lambda: bp.SGD(0.1, dampening=1), ValueError, "dampening must be a number from 0 up to but not including 1; got 1"),
        (lambda: bp.SGD(0.1, 0.9, True, 0.1), ValueError, "nesterov=True goes with dampening=0 only"),
        (lambda: bp.SGD(0.1, weight_decay=-1e-3), ValueError, "weight_decay must be a number of at least 0; got -0.001"),
        (lambda: bp.AdamW(weight_decay=float("nan")), ValueError, "weight_decay"),
        (lambda: bp.AdamW(beta_1=-0.1), ValueError, "beta_1"),
        (lambda: bp.AdamW(epsilon="1e-8"), TypeError, "epsilon"),
        (lambda: bp.NAdam(beta_2=1), ValueError, "beta_2"),
        (lambda: bp.NAdam(momentum_decay=-1), ValueError, "momentum_decay must be a number of at least 0; got -1"),
        (lambda: bp.NAdam(weight_decay=None), TypeError, "weight_decay"),
        (lambda: bp.RMSprop(rho=1), ValueError, "rho must be a number from 0 up to but not including 1; got 1"),
        (lambda: bp.RMSprop(epsilon=0), ValueError, "epsilon must be a number greater than 0; got 0"),
        (lambda: bp.RMSprop(momentum=-0.5), ValueError, "momentum"),
        (lambda: bp.RMSprop(centered=1), TypeError, "centered must be True or False; got 1"),
        (lambda: bp.RMSprop(weight_decay=-1), ValueError, "weight_decay"),
        (lambda: bp.Adagrad(rate_decay=-1), ValueError, "rate_decay must be a number of at least 0; got -1"),
        (lambda: bp.Adagrad(initial=float("inf")), ValueError, "initial"),
        (lambda: bp.Adagrad(epsilon=-1), ValueError, "epsilon"),
        (lambda: bp.Adagrad(weight_decay="0"), TypeError, "weight_decay"),
        (lambda: bp.Lion(0), ValueError, "learning_rate"),
        (lambda: bp.Lion(beta_1=1), ValueError, "beta_1"),
        (lambda: bp.Lion(beta_2=-1), ValueError, "beta_2"),
        (lambda: bp.Lion(weight_decay=-1), ValueError, "weight_decay"),
    ],
)
def test_bad_optimizers_are_refused(make, kind, message):
    with pytest.raises(kind, match=message):
        make()


@pytest.mark.parametrize(
    "optimizer", [bp.SGD(1e-50), bp.SGD(1e39), bp.Adam(epsilon=1e-50), bp.AdamW(weight_decay=1e39)], ids=str
)
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


@pytest.mark.parametrize("kind", optimizers.OPTIMIZERS)
def test_a_state_that_is_read_only_is_copied(data, kind):
    """As joblib maps large arrays of a file or of a worker's arguments into memory."""
    found = []
    for read_only in (False, True):
        net, optimizer = new(), kind(0.01)
        net.fit(*data, epochs=1, optimizer=optimizer)
        state = optimizer._state
        for array in (optimizer._state, optimizer._steps, optimizer._kept):
            array.flags.writeable = not read_only
        net.fit(*data, epochs=2, optimizer=optimizer)
        assert (optimizer._state is state) != read_only
        found.append(net.parameters)
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize(
    ("name", "array"),
    [("_state", np.zeros((2, 3), np.float32)), ("_steps", np.ones(1)), ("_kept", np.ones(99))],
)
def test_a_state_of_another_shape_or_dtype_is_refused(data, name, array):
    net, optimizer = new(), bp.Adam()
    net.fit(*data, epochs=1, optimizer=optimizer)
    setattr(optimizer, name, array)
    before = net.parameters.copy()
    with pytest.raises(ValueError, match=f"state of this Adam has been replaced: {name} must be an array"):
        net.fit(*data, epochs=1, optimizer=optimizer)
    np.testing.assert_array_equal(net.parameters, before)


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
def run_factors(pointer, h, t, kept, c):
    base.factors(pointer, (h, t, kept, c))


@kernel(entry=True)
def run_update(pointer, w, g, state, c):
    base.update(pointer, (w, g, rows_from(state, 0, state.shape[0], 0), c))


class Steps:
    """Steps of an optimizer on some weights; nothing may be written beyond the ends of what it is given."""

    def __init__(self, optimizer, w):
        self.kind, self.h, self.t = type(optimizer), optimizer.settings(w.dtype), 0
        self.w, self.whole = w, np.zeros((self.kind.n_slots + 1, len(w)), w.dtype)
        self.state, self.kept = self.whole[:-1], np.r_[np.ones(self.kind.n_kept), np.full(3, 7.0)]
        self.c = np.full(self.kind.n_factors + 3, 7.0)
        precision = Precision.of(w.dtype)
        self.factors = base.pointer_to_factors(self.kind.factors, precision)
        self.update = base.pointer_to_update(self.kind.update, precision)

    def step(self, g):
        self.t += 1
        run_factors(self.factors, self.h, self.t, self.kept[:-3], self.c[:-3])
        assert (self.c[-3:] == 7).all()
        assert (self.kept[-3:] == 7).all()
        run_update(self.update, self.w, g.astype(self.w.dtype), self.state, self.c[:-3])
        assert not self.whole[-1].any()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", STEPS)
def test_200_steps_are_those_of_the_reference(name, dtype):
    """In float64 to 1e-12; in float32 every step rounds the weight and adds a step of a relative error of some eps."""
    kind, settings = STEPS[name]
    optimizer, oracle = kind(*settings), getattr(reference, kind.__name__)(*settings)
    for n, n_steps in ((1, 5), (7, 5), (16, 5), (33, 200)):
        rng = np.random.default_rng(0)
        start = rng.standard_normal(n).astype(dtype)
        steps = Steps(optimizer, start.copy())
        expected, states, way = start.tolist(), [oracle.start() for _ in range(n)], np.abs(start)
        for t in range(1, n_steps + 1):
            g = rng.standard_normal(n).astype(np.float32)  # the same in both dtypes
            steps.step(g)
            before, expected = expected, [oracle.step(*each, t) for each in zip(expected, g.tolist(), states, strict=True)]
            way = way + np.abs(np.subtract(expected, before))
        assert (way - abs(start)).min() > 1e-3
        bound = 1e-12 * np.abs(expected).max() if dtype == "float64" else np.finfo(dtype).eps * (n_steps + 20 * way)
        assert (np.abs(steps.w - expected) <= bound).all()
        assert steps.state[0].any()
        for slot, expected_slot in zip(steps.state, np.transpose(states), strict=True):
            if slot.any():  # RMSprop leaves the slots of what it is not asked for
                tolerance = 1e-12 if dtype == "float64" else 100 * np.finfo(dtype).eps
                np.testing.assert_allclose(slot, expected_slot, rtol=0, atol=tolerance * np.abs(expected_slot).max())


@pytest.mark.parametrize("kind", optimizers.OPTIMIZERS)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_gradient_that_is_not_finite_shows_in_the_weights(kind, bad):
    """At once or in the next step, so that `fit` reports it; other weights are not affected."""
    for n in (1, 33):
        steps = Steps(kind(), np.ones(n))
        for g in (np.r_[np.ones(n - 1), bad], np.ones(n)):
            steps.step(g)
        assert not np.isfinite(steps.w[-1])
        assert np.isfinite(steps.w[:-1]).all()


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
    state, steps, kept = bound = optimizer.bind(layout)
    assert state.shape == (kind.n_slots, layout.n_params)
    assert not state.any()
    assert steps.tolist() == [0]
    assert kept.tolist() == [1.0] * kind.n_kept
    assert all(again is first for again, first in zip(optimizer.bind(layout), bound, strict=True))
    for number in (1, 2):
        for array in bound:
            array += number
        if number == 1:
            snapshot = optimizer.snapshot()
    for _ in range(2):  # a snapshot may be used again
        for array in bound:
            array += 5
        optimizer.restore(snapshot)
        assert all(again is first for again, first in zip(optimizer.bind(layout), bound, strict=True))
        assert (state == 1).all()
        assert steps.tolist() == [1] == [optimizer.n_steps]
        assert kept.tolist() == [2.0] * kind.n_kept
    optimizer.restore(None)
    assert optimizer.snapshot() is None
    assert optimizer.n_steps == 0
    optimizer.restore(snapshot)
    assert all((array == number).all() for array, number in zip(optimizer.bind(layout), (1, 1, 2), strict=True))


def test_a_snapshot_may_be_of_a_net_of_another_shape(layout):
    optimizer, other = bp.NAdam(), Layout((3, 9, 1), [Tanh, Tanh], np.dtype("float64"))
    for array in optimizer.bind(other):
        array[:] = 1
    snapshot = optimizer.snapshot()
    optimizer.reset()
    optimizer.bind(layout)
    optimizer.restore(snapshot)
    assert optimizer.bind(other)[0].all()
    with pytest.raises(ValueError, match="cannot go on with a net"):
        optimizer.bind(layout)


@pytest.mark.parametrize("kind", optimizers.OPTIMIZERS)
def test_a_callback_may_go_back_to_a_snapshot(kind, data):
    """The fit that goes on is then that of a net that has never been further."""
    net, other, optimizer, expected, taken = new(), new(), kind(0.01), kind(0.01), []

    def go_back(run):
        if run.epoch == 2:
            taken.append(run.snapshot())
        if run.epoch == 4:
            run.restore(taken[0])

    net.fit(*data, 7, 20, optimizer, shuffle=False, callbacks=[go_back])
    other.fit(*data, 5, 20, expected, shuffle=False)
    assert optimizer.n_steps == expected.n_steps == 55
    np.testing.assert_array_equal(net.weights[0], other.weights[0])
    assert expected.snapshot()[1].any()
    np.testing.assert_array_equal(optimizer.snapshot()[1], expected.snapshot()[1])


@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o))], ids=["copy", "deepcopy", "pickle"]
)
@pytest.mark.parametrize("name", STEPS)
def test_copies_go_on_from_the_same_state(name, copied, data):
    (kind, settings), net = STEPS[name], new()
    optimizer = kind(*settings)
    net.fit(*data, epochs=2, optimizer=optimizer)
    other_net, other = copy.deepcopy(net), copied(optimizer)
    assert net.fit(*data, epochs=2, optimizer=optimizer).loss == other_net.fit(*data, epochs=2, optimizer=other).loss
    assert optimizer.snapshot()[1].any()
    assert not np.shares_memory(optimizer.bind(optimizer.snapshot()[0])[0], other.bind(optimizer.snapshot()[0])[0])


@pytest.mark.parametrize("beta", [0.0, 0.5, 0.9, 0.99, 0.999, 0.9999999])
def test_what_is_left_out_of_powers_changes_no_bit(beta):
    @kernel(entry=True)
    def both(beta, t):
        return adam.power(beta, t), beta**t

    for t in [1, 2, 3, 10, *(int(x / (1 - beta)) + k for x in (37, 38, 40, 745, 1000) for k in (-1, 0, 1))]:
        found, whole = both(beta, t)
        assert 1 - found == 1 - whole


@pytest.mark.parametrize("name", ["adamw", "AdamW", "sgd", "nadam", "rmsprop", "adagrad", "lion", "adam"])
def test_a_name_is_an_optimizer_of_the_default_settings(name, data):
    named, made = new(), new()
    kind = {each.__name__.lower(): each for each in optimizers.OPTIMIZERS}[name.lower()]
    assert named.fit(*data, epochs=2, optimizer=name).loss == made.fit(*data, epochs=2, optimizer=kind()).loss
    np.testing.assert_array_equal(named.weights[0], made.weights[0])
    assert (named.weights[1] != new().weights[1]).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", optimizers.OPTIMIZERS)
def test_one_and_two_threads_give_the_same_bits(kind, dtype, data, on_one_and_two_threads):
    def results_of_training(n_threads):
        net = bp.MLP((3, 40, 33, 1), dtype=dtype, random_state=0)
        assert partition.threads_for(net._network.layout, 50) == n_threads
        optimizer = kind(bp.schedules.Cosine(0.01, n_warmup=5))
        history = net.fit(*data, 4, 50, optimizer, alpha=0.1, l1=0.01, clip_norm=0.3)
        return [np.array(history.loss), optimizer.snapshot()[1], *net.weights, *net.biases]

    results = on_one_and_two_threads(results_of_training)
    assert all(array.any() for array in results[0])
    for one, two in zip(*results, strict=True):
        np.testing.assert_array_equal(one, two)
