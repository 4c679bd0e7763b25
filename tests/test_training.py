"""`fit`: what it goes on from, what stops it, and what it leaves behind when it fails."""

import copy
import os
import pickle
import sys
import threading
from contextlib import nullcontext

import numpy as np
import pytest

import bpkernel as bp
from bpkernel import fit_call
from bpkernel.kernels import operands
from bpkernel.runtime import in_use


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((203, 3))
    return X, np.sin(X[:, :1]) + X[:, 1:2] * X[:, 2:3]


def new(**parameters):
    return bp.MLP((3, 8, 1), dtype="float64", random_state=0, **parameters)


def same(net, other):
    return all(np.array_equal(a, b) for a, b in zip((*net.weights, *net.biases), (*other.weights, *other.biases), strict=True))


def test_two_fits_with_one_optimizer_are_one_long_fit(data):
    for optimizer in (bp.Adam, lambda: bp.SGD(0.05, momentum=0.9)):
        twice, once = new(), new()
        kept = optimizer()
        losses = twice.fit(*data, epochs=2, optimizer=kept).loss + twice.fit(*data, epochs=3, optimizer=kept).loss
        assert losses == once.fit(*data, epochs=5, optimizer=optimizer()).loss
        assert same(twice, once)


def test_the_default_is_adam_and_batches_of_200(data):
    default, spelt_out = new(), new()
    history = default.fit(*data)
    assert history.loss == spelt_out.fit(*data, 20, 200, bp.Adam(learning_rate=1e-3), True, None, None, False).loss
    assert len(history.loss) == 20
    assert same(default, spelt_out)


def test_a_batch_larger_than_the_data_is_all_of_it(data):
    one, other = new(), new()
    assert one.fit(*data, epochs=2, batch_size=10**9).loss == other.fit(*data, epochs=2, batch_size=203).loss


def test_shuffle_draws_a_new_order_each_epoch_from_the_seed(data):
    shuffled, again, in_order = (new().fit(*data, epochs=3, batch_size=20, shuffle=s).loss for s in (True, True, False))
    assert shuffled == again != in_order


def test_whole_numbers_of_sample_weight_are_repetitions(data):
    X, T = data
    s = np.random.default_rng(1).integers(0, 4, len(X))
    weighted, repeated = new(), new()
    a = weighted.fit(X, T, epochs=4, batch_size=len(X), sample_weight=s, shuffle=False).loss
    b = repeated.fit(np.repeat(X, s, axis=0), np.repeat(T, s, axis=0), epochs=4, batch_size=10**6, shuffle=False).loss
    np.testing.assert_allclose(a, b, rtol=1e-12)
    np.testing.assert_allclose(weighted.weights[0], repeated.weights[0], rtol=1e-9)
    assert weighted.loss(X, T, s) == pytest.approx(repeated.loss(np.repeat(X, s, axis=0), np.repeat(T, s, axis=0)), rel=1e-12)


def test_batches_without_weight_do_no_harm(data):
    X, T = data
    s = np.zeros(len(X))
    s[:7] = 1
    net = new()
    assert np.isfinite(net.fit(X, T, epochs=3, batch_size=5, sample_weight=s).loss).all()
    assert np.isfinite(net.predict(X)).all()


def test_the_history_tells_of_validation_data(data):
    X, T = data
    net = new()
    history = net.fit(X, T, epochs=4, validation_data=(X[:50], T[:50]))
    assert len(history.validation_loss) == 4
    assert history.validation_loss[-1] == net.loss(X[:50], T[:50])
    assert history.best_epoch is None
    assert min(history.samples_per_second) > 0


def test_patience_stops_and_keeps_the_best_weights(data):
    X, _ = data
    T = np.random.default_rng(5).standard_normal((len(X), 1))  # noise: validation must get worse
    net = new()
    fitted, held_back = (X[:150], T[:150]), (X[150:], T[150:])
    history = net.fit(*fitted, epochs=3000, batch_size=10, validation_data=held_back, patience=5, optimizer=bp.Adam(0.02))
    assert len(history.loss) == history.best_epoch + 6 < 3000
    assert net.loss(*held_back) == history.validation_loss[history.best_epoch] == min(history.validation_loss)


@pytest.mark.parametrize("interrupted", [False, True])
@pytest.mark.parametrize("make", [lambda: bp.Adam(0.02), lambda: bp.SGD(0.05, momentum=0.9)], ids=["Adam", "SGD"])
def test_training_goes_on_from_the_epoch_that_patience_kept(data, make, interrupted):
    """As a fit that ended there would: the optimizer's state is of that epoch too."""
    X, _ = data
    T = np.random.default_rng(5).standard_normal((len(X), 1))  # noise: validation must get worse
    optimizer, ended, histories = make(), make(), []

    def see(history):
        histories[:] = [history]
        if interrupted and history.best_epoch is not None and len(history.loss) == history.best_epoch + 4:
            raise KeyboardInterrupt

    stopped, short = new(), new()
    with pytest.raises(KeyboardInterrupt) if interrupted else nullcontext():
        watched = {"validation_data": (X[150:], T[150:]), "patience": 5}
        stopped.fit(X[:150], T[:150], 3000, 10, optimizer, shuffle=False, callback=see, **watched)
    n_best, n_seen = histories[0].best_epoch + 1, len(histories[0].loss)
    assert 1 < n_best < n_seen < 3000
    short.fit(X[:150], T[:150], n_best, 10, ended, shuffle=False)
    assert same(stopped, short)
    assert optimizer.snapshot()[2] == ended.snapshot()[2] == 15 * n_best
    losses = [net.fit(X, T, 3, 10, o, shuffle=False).loss for net, o in ((stopped, optimizer), (short, ended))]
    assert losses[0] == losses[1]
    assert same(stopped, short)


def test_a_callback_sees_each_epoch_and_may_stop(data):
    seen = []
    history = new().fit(*data, epochs=50, callback=lambda history: seen.append(history.loss[-1]) or len(seen) == 3)
    assert seen == history.loss
    assert len(seen) == 3


def test_divergence_is_told_and_undone(data):
    X, T = data
    net, optimizer = new(activation="identity"), bp.SGD(0.01, momentum=0.9)
    net.fit(X, T, epochs=2, optimizer=optimizer)
    kept, state = [w.copy() for w in net.weights], optimizer.snapshot()
    optimizer.learning_rate, random_state = 1e6, net._random.bit_generator.state
    for validation in (None, (X, T)):
        with pytest.raises(FloatingPointError, match="Lower the learning rate"):
            net.fit(X, T, epochs=500, optimizer=optimizer, validation_data=validation, patience=validation and 400)
        assert all(np.array_equal(w, k) for w, k in zip(net.weights, kept, strict=True))
        np.testing.assert_array_equal(optimizer.snapshot()[1], state[1])
        assert optimizer.snapshot()[2] == state[2]
    assert net._random.bit_generator.state == random_state
    fresh = bp.SGD(1e6)
    with pytest.raises(FloatingPointError):
        net.fit(X, T, epochs=500, optimizer=fresh)
    assert fresh.snapshot() is None


def test_an_interrupt_keeps_what_was_learnt(data):
    net, uninterrupted, optimizer = new(), new(), bp.Adam()

    def interrupt(history):
        if len(history.loss) == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        net.fit(*data, epochs=100, optimizer=optimizer, callback=interrupt)
    uninterrupted.fit(*data, epochs=4)
    assert same(net, uninterrupted)
    net.fit(*data, epochs=1, optimizer=optimizer)  # and it goes on


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ({"epochs": 0}, ValueError, "epochs must be an integer of at least 1"),
        ({"epochs": 1.5}, TypeError, "epochs must be an integer"),
        ({"batch_size": 0}, ValueError, "batch_size must be"),
        ({"batch_size": -3}, ValueError, "batch_size must be"),
        ({"batch_size": "auto"}, TypeError, "batch_size must be"),
        ({"optimizer": "adom"}, ValueError, "optimizer must be one of sgd, adam"),
        ({"optimizer": 3}, TypeError, r"bp.Adam\(\)"),
        ({"optimizer": bp.Adam}, TypeError, r"bp.Adam\(\)"),
        ({"sample_weight": np.ones(3)}, ValueError, "one weight for each sample"),
        ({"sample_weight": -np.ones(203)}, ValueError, "not be negative"),
        ({"sample_weight": np.zeros(203)}, ValueError, "at least one weight must be greater than 0"),
        ({"sample_weight": np.full(203, np.nan)}, ValueError, "sample_weight must hold finite"),
        ({"validation_data": 3}, TypeError, "pair"),
        ({"validation_data": (np.ones((2, 4)), [1, 2])}, ValueError, "validation X must have shape"),
        ({"validation_data": (np.ones((2, 3)), [1])}, ValueError, "validation T must have one row"),
        ({"patience": 3}, ValueError, "validation_data"),
        ({"patience": 0, "validation_data": (np.ones((2, 3)), [1, 2])}, ValueError, "patience"),
        ({"callback": 3}, TypeError, "callback"),
        ({"shuffle": "no"}, TypeError, "shuffle must be True or False"),
        ({"progress": 1}, TypeError, "progress must be True or False"),
    ],
    ids=str,
)
def test_bad_arguments_are_refused_before_anything_is_changed(data, arguments, kind, message):
    net, untouched = new(), new()
    with pytest.raises(kind, match=message):
        net.fit(*data, **arguments)
    assert same(net, untouched)


def test_a_sample_without_weight_does_not_count_whatever_its_error(data):
    X, T = data[0].astype("float32"), data[1].copy()
    T[7] = 1e30  # whose squared error float32 does not hold
    s = np.ones(len(X))
    s[7] = 0
    net, without = bp.MLP((3, 8, 1), random_state=0), bp.MLP((3, 8, 1), random_state=0)
    X_less, T_less = np.delete(X, 7, axis=0), np.delete(T, 7, axis=0)
    assert net.loss(X, T, s) == pytest.approx(without.loss(X_less, T_less), rel=1e-6)
    a = net.fit(X, T, epochs=3, batch_size=500, sample_weight=s, shuffle=False).loss
    assert a == pytest.approx(without.fit(X_less, T_less, epochs=3, batch_size=500, shuffle=False).loss, rel=1e-6)


@pytest.mark.parametrize("scale", [1e-300, 1e-3, 1e300])
def test_only_the_ratios_of_sample_weights_count(data, scale):
    s = np.random.default_rng(0).uniform(1, 2, len(data[0]))
    losses = [new().fit(*data, epochs=3, sample_weight=weight).loss for weight in (s, s * scale)]
    np.testing.assert_allclose(*losses, rtol=1e-12)


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [
        (bp.SGD, "learning_rate", 0.01),
        (bp.SGD, "momentum", 0.9),
        (bp.SGD, "nesterov", True),
        (bp.Adam, "learning_rate", 0.01),
        (bp.Adam, "beta_1", 0.9),
        (bp.Adam, "beta_2", 0.9),
        (bp.Adam, "epsilon", 0.1),
    ],
)
def test_a_setting_changed_by_a_callback_holds_from_the_next_epoch(data, kind, name, value):
    """As if it had been changed between two fits."""
    whole, parts, unchanged = new(), new(), new()
    optimizer, other, third = (kind(0.05, 0.5) for _ in range(3))

    def change(history):
        if len(history.loss) == 2:
            setattr(optimizer, name, value)

    losses = whole.fit(*data, 5, 20, optimizer, callback=change).loss
    expected = parts.fit(*data, 2, 20, other).loss
    setattr(other, name, value)
    expected += parts.fit(*data, 3, 20, other).loss
    assert losses == expected != unchanged.fit(*data, 5, 20, third).loss
    assert same(whole, parts)


@pytest.mark.parametrize(
    ("name", "value", "kind"),
    [
        ("learning_rate", -1, ValueError),
        ("learning_rate", float("nan"), ValueError),
        ("learning_rate", "0.1", TypeError),
        ("learning_rate", np.ones(2), TypeError),
        ("momentum", 1, ValueError),
        ("nesterov", 0, TypeError),
    ],
    ids=str,
)
def test_a_setting_that_a_callback_may_not_set_undoes_the_fit(data, name, value, kind):
    net, optimizer = new(), bp.SGD(0.05, momentum=0.9)
    net.fit(*data, epochs=2, optimizer=optimizer)
    untouched, state, random_state = copy.deepcopy(net), optimizer.snapshot(), net._random.bit_generator.state

    def change(history):
        if len(history.loss) == 3:
            setattr(optimizer, name, value)

    with pytest.raises(kind, match=name):
        net.fit(*data, epochs=10, optimizer=optimizer, validation_data=data, patience=5, callback=change)
    assert same(net, untouched)
    np.testing.assert_array_equal(optimizer.snapshot()[1], state[1])
    assert optimizer.snapshot()[2] == state[2]
    assert net._random.bit_generator.state == random_state


class Held:
    """A fit in another thread that waits in its callback, in its first epoch, until the end of the block."""

    def __init__(self, net, data, **arguments):
        self.begun, self.go_on = threading.Event(), threading.Event()
        wait = {"callback": lambda history: self.begun.set() or self.go_on.wait(60)}
        self.thread = threading.Thread(target=net.fit, args=data, kwargs={**arguments, **wait, "epochs": 1}, daemon=True)

    def __enter__(self):
        self.thread.start()
        assert self.begun.wait(60)

    def __exit__(self, *error):
        self.go_on.set()
        self.thread.join()


def test_a_net_that_another_thread_trains_is_refused_at_once(data):
    net, expected = new(), new()
    expected.fit(*data, epochs=1)
    optimizer = bp.Adam()
    with Held(net, data):
        copied, pickled = copy.deepcopy(net), pickle.loads(pickle.dumps(net))
        with pytest.raises(RuntimeError, match=r"this net is being used by another call of fit"):
            net.fit(*data, optimizer=optimizer)
        assert optimizer.snapshot() is None
        np.testing.assert_array_equal(net.predict(data[0]), expected.predict(data[0]))
        assert net.loss(*data) == expected.loss(*data)
    assert same(net, expected)
    losses = [one.fit(*data, epochs=2).loss for one in (net, copied, pickled, expected)]
    assert losses == losses[-1:] * 4


def test_an_optimizer_that_another_thread_uses_is_refused_at_once(data):
    net, other, expected, alone, optimizer = new(), new(), new(), bp.Adam(), bp.Adam()
    with Held(net, data, optimizer=optimizer):
        with pytest.raises(RuntimeError, match=r"this Adam is being used by another call of fit"):
            other.fit(*data, optimizer=optimizer)
        assert same(other, new())
        other.fit(*data, epochs=1)
    expected.fit(*data, epochs=1, optimizer=alone)
    assert net.fit(*data, epochs=2, optimizer=optimizer).loss == expected.fit(*data, epochs=2, optimizer=alone).loss


def test_a_callback_that_trains_its_own_net_is_refused(data):
    net, expected = new(), new()
    with pytest.raises(RuntimeError, match=r"this net is being used .* around this callback"):
        net.fit(*data, callback=lambda history: net.fit(*data))
    expected.fit(*data, epochs=1)
    assert same(net, expected)
    net.fit(*data, epochs=1, callback=lambda history: new().fit(*data, epochs=1))  # another net may be


@pytest.mark.parametrize("arguments", [{"epochs": 0}, {"optimizer": bp.SGD(1e300)}], ids=str)
def test_a_net_is_free_again_after_a_fit_that_failed(data, arguments):
    net = new()
    with pytest.raises((ValueError, FloatingPointError)):
        net.fit(*data, **arguments)
    net.fit(*data, epochs=1)


def test_a_net_is_free_again_after_an_interrupt_at_any_bytecode(data):
    net, optimizer, number, ended = new(), bp.Adam(), 0, False
    codes, others_trace = (bp.MLP.fit.__code__, fit_call.Fit.run.__code__), sys.gettrace()
    net.fit(*data, epochs=1, optimizer=optimizer)

    def trace(frame, event, argument):
        nonlocal seen
        if frame.f_code not in codes:
            return None
        frame.f_trace_opcodes = True
        seen += 1
        if seen == number:
            raise KeyboardInterrupt
        return trace

    while not ended:
        number, seen = number + 1, 0
        try:
            sys.settrace(trace)
            net.fit(*data, epochs=1, optimizer=optimizer)
            ended = True
        except KeyboardInterrupt:
            pass
        finally:
            sys.settrace(others_trace)
        net.fit(*data, epochs=1, optimizer=optimizer)
    assert number > 100
    assert not in_use.uses


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # of Python 3.12, as there is another thread
def test_a_child_forked_while_another_thread_trains_may_train_its_copy(data):
    net = new()
    with Held(net, data):
        child = os.fork()
        if child == 0:
            try:
                net.fit(*data, epochs=1)
                os._exit(0)
            except BaseException:
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_the_message_of_divergence_names_the_rate_of_now(data):
    optimizer = bp.SGD(0.01)
    with pytest.raises(FloatingPointError, match=r"now 1e\+06"):
        new(activation="identity").fit(
            *data, 500, optimizer=optimizer, callback=lambda history: setattr(optimizer, "learning_rate", 1e6)
        )


def test_a_progress_bar_is_drawn_on_standard_error(data, capsys):
    new().fit(*data, epochs=3, progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert "epoch 3/3" in err
    assert "loss" in err
    assert "samples/s" in err


def test_long_epochs_are_many_short_calls(data, monkeypatch):
    """So that Ctrl-C stays live; the parts add up to the same training."""
    from bpkernel import mini_batches
    from bpkernel.runtime import pace

    calls = []
    launch = mini_batches.launch
    monkeypatch.setattr(mini_batches, "launch", lambda *a, **most: calls.append(a) or launch(*a, **most))
    monkeypatch.setattr(pace, "SECONDS", 1e-9)
    short, whole = new(), new()
    a = short.fit(*data, epochs=2, batch_size=10).loss
    assert len(calls) == 42
    monkeypatch.undo()
    assert a == whole.fit(*data, epochs=2, batch_size=10).loss
    assert same(short, whole)


@pytest.mark.parametrize("optimizer", [bp.SGD(1.0), bp.Adam(1e-3)])
@pytest.mark.parametrize("largest", [1.0, 3.0, 0.1])
@pytest.mark.parametrize("n_samples", [50, 4000])
def test_alpha_is_the_weight_of_the_squares_beside_the_samples(n_samples, largest, optimizer):
    """One step of a linear net: along (Σ s E + ½ alpha Σ w²) / Σ s, biases left out; of many samples in chunks too."""
    rng = np.random.default_rng(0)
    X, T = rng.standard_normal((n_samples, 40)), rng.standard_normal((n_samples, 20))
    s = rng.uniform(0, 1, n_samples)
    s *= largest / s.max()
    net = bp.MLP((40, 20), dtype="float64", random_state=0)
    w, b = net.weights[0].copy(), net.biases[0].copy()
    alpha = 0.7 * s.sum()
    delta = s[:, None] * (X @ w + b - T)
    dw, db = (X.T @ delta + alpha * w) / s.sum(), delta.sum(axis=0) / s.sum()
    optimizer.reset()
    net.fit(X, T, 1, n_samples, optimizer, sample_weight=s, alpha=alpha)
    first = {"SGD": lambda g: g, "Adam": lambda g: 1e-3 * g / (abs(g) + 1e-8 / np.sqrt(1 - 0.999))}[type(optimizer).__name__]
    np.testing.assert_allclose(w - net.weights[0], first(dw), rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(b - net.biases[0], first(db), rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("alpha", [-1, np.nan, np.inf, 10**400, 1e39, "1", True])
def test_alpha_is_a_number_that_the_net_can_hold(alpha):
    net = bp.MLP((2, 1), random_state=0)
    before = net.weights[0].copy()
    with pytest.raises((ValueError, TypeError), match="alpha must be a number of at least 0"):
        net.fit(np.ones((3, 2)), np.ones(3), alpha=alpha)
    np.testing.assert_array_equal(net.weights[0], before)


@pytest.mark.parametrize("net_dtype", ["float32", "float64"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_inputs_of_either_dtype_are_read_where_they_are(dtype, net_dtype):
    """As if converted before, and the history knows how many there were."""
    X = np.random.default_rng(0).standard_normal((120, 7)).astype(dtype)
    results = []
    for inputs in (X, X.astype(net_dtype)):
        net = bp.MLP((7, 9, 2), dtype=net_dtype, random_state=0)
        history = net.fit(inputs, X[:, :2], epochs=2, batch_size=25)
        assert history.n_samples == 120
        assert min(history.samples_per_second) > 0
        r = net.backprop(inputs, X[:, :2])
        results.append([*net.weights, *r.dw, r.z[0], history.loss, net.predict(inputs), net.loss(inputs, X[:, :2])])
    for found, expected in zip(*results, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_a_number_that_the_net_cannot_hold_is_refused_in_wider_inputs():
    net = bp.MLP((2, 1), random_state=0)
    with pytest.raises(ValueError, match=r"X must hold finite numbers of float32; X\[1, 0\] is 1e\+300"):
        net.predict(np.array([[1.0, 2.0], [1e300, 2.0]]))


def test_an_error_of_a_callback_leaves_what_has_been_learnt():
    net, rng = bp.MLP((2, 1), random_state=0), np.random.default_rng(0)
    before, state = net.weights[0].copy(), net._random.bit_generator.state

    def fail(history):
        raise FloatingPointError("of the callback itself")

    with pytest.raises(FloatingPointError, match="of the callback itself"):
        net.fit(rng.standard_normal((30, 2)), np.ones(30), batch_size=10, callback=fail)
    assert (net.weights[0] != before).any()
    assert net._random.bit_generator.state != state


def test_an_optimizer_is_free_again_where_training_could_not_begin(monkeypatch):
    def fail(*arguments, **options):
        raise MemoryError

    optimizer = bp.Adam()
    with monkeypatch.context() as patch:
        patch.setattr(operands, "step", fail)
        with pytest.raises(MemoryError):
            bp.MLP((2, 1)).fit(np.ones((3, 2)), np.ones(3), optimizer=optimizer)
    bp.MLP((3, 1)).fit(np.ones((3, 3)), np.ones(3), optimizer=optimizer, epochs=1)
