"""Learning rates that change: the rates of the schedules, functions of the step, and what `fit` makes of them."""

import copy
import math
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bpkernel as bp
from bpkernel import epochs as running
from bpkernel.mini_batches import MiniBatches

S = bp.schedules
N_SAMPLES, BATCH_SIZE, STEPS = 20, 5, 4  # in an epoch


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((N_SAMPLES, 3))
    return X, np.sin(X[:, :1]) + X[:, 1:2] * X[:, 2:3]


def new(dtype="float64"):
    return bp.MLP((3, 4, 1), dtype=dtype, random_state=0)


def numbers(net):
    return np.concatenate([array.ravel() for array in (*net.weights, *net.biases)])


def trained(optimizer, data, epochs=10, **arguments):
    """The weights and biases after training, which are not those of before."""
    net = new()
    before = numbers(net)
    net.fit(*data, epochs, BATCH_SIZE, optimizer, **arguments)
    assert (numbers(net) != before).all()
    return numbers(net)


# ----------------------------------------------------------------------------------------------------------- settings


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda: S.Constant(0), ValueError, "learning_rate must be a number greater than 0; got 0"),
        (lambda: S.Constant("0.1"), TypeError, "learning_rate must be a number greater than 0; got '0.1'"),
        (lambda: S.Constant(math.inf), ValueError, "learning_rate"),
        (lambda: S.Constant(0.1, n_warmup=-1), ValueError, "n_warmup must be an integer of at least 0; got -1"),
        (lambda: S.Constant(0.1, n_warmup=1.0), TypeError, "n_warmup must be an integer of at least 0; got 1.0"),
        (lambda: S.Step(0.1, 0), ValueError, "every must be an integer of at least 1; got 0"),
        (lambda: S.Step(0.1, 2.5), TypeError, "every must be an integer, or a list or tuple of integers; got 2.5"),
        (lambda: S.Step(0.1, "10"), TypeError, "every must be an integer, or a list or tuple of integers; got '10'"),
        (lambda: S.Step(0.1, [3, 0]), ValueError, "every must be an integer of at least 1; got 0"),
        (lambda: S.Step(0.1, (3, 1.5)), TypeError, "every must be an integer of at least 1; got 1.5"),
        (lambda: S.Step(0.1, 3, factor=1.5), ValueError, "factor must be a number greater than 0 and up to 1; got 1.5"),
        (lambda: S.Exponential(0.1, 0), ValueError, "factor must be a number greater than 0 and up to 1; got 0"),
        (lambda: S.Exponential(0.1, 0.5, every=0), ValueError, "every"),
        (lambda: S.InverseScaling(0.1, -1), ValueError, "power must be a number of at least 0; got -1"),
        (lambda: S.Cosine(-0.1), ValueError, "learning_rate"),
        (lambda: S.Cosine(0.1, n_steps=10, n_warmup=10), ValueError, "n_steps must be an integer of at least 11; got 10"),
        (lambda: S.Cosine(0.1, n_steps=10.0), TypeError, "n_steps"),
        (lambda: S.Cosine(0.1, lowest=0.2), ValueError, "lowest must be no more than learning_rate, which is 0.1; got 0.2"),
        (lambda: S.Cosine(0.1, lowest=-0.1), ValueError, "lowest must be a number of at least 0; got -0.1"),
        (lambda: S.Cosine(0.1, start=math.nan), ValueError, "start must be a number of at least 0; got nan"),
        (lambda: S.Cosine(0.1, restarts=True), ValueError, "restarts=True needs n_steps, the length of the first cycle"),
        (lambda: S.Cosine(0.1, 10, restarts="no"), TypeError, "restarts must be True or False; got 'no'"),
        (lambda: S.Cosine(0.1, 10, restarts=True, growth=0.5), ValueError, "growth must be a number of at least 1; got 0.5"),
        (lambda: S.OneCycle(0.1, 1), ValueError, "n_steps must be an integer of at least 2; got 1"),
        (lambda: S.OneCycle(0.1, rise=1), ValueError, "rise must be a number between 0 and 1; got 1"),
        (lambda: S.OneCycle(0.1, div_factor=0.5), ValueError, "div_factor must be a number of at least 1; got 0.5"),
        (lambda: S.OneCycle(0.1, final_div_factor="1"), TypeError, "final_div_factor"),
        (lambda: S.OneCycle(0.1, anneal="cosine"), ValueError, 'anneal must be "cos" or "linear"; got \'cosine\''),
        (lambda: S.ReduceOnPlateau(0.1, 1), ValueError, "factor must be a number between 0 and 1; got 1"),
        (lambda: S.ReduceOnPlateau(0.1, patience=-1), ValueError, "patience must be an integer of at least 0; got -1"),
        (lambda: S.ReduceOnPlateau(0.1, threshold=-1), ValueError, "threshold"),
        (lambda: S.ReduceOnPlateau(0.1, cooldown=1.5), TypeError, "cooldown"),
        (lambda: S.ReduceOnPlateau(0.1, lowest=0.2), ValueError, "lowest must be no more than learning_rate"),
        (lambda: bp.SGD(S.Cosine), TypeError, r"must be a schedule, such as bp.schedules.Cosine\(0.01\), not its class"),
        (lambda: bp.AdamW([0.1, 0.2]), TypeError, "learning_rate must be a number, a schedule of bp.schedules or a function"),
    ],
)
def test_bad_settings_are_refused(make, kind, message):
    with pytest.raises(kind, match=message):
        make()


def test_settings_of_a_schedule_that_were_changed_are_checked_by_fit(data):
    optimizer, net = bp.SGD(S.Cosine(0.1)), new()
    optimizer.learning_rate.lowest = 0.2
    with pytest.raises(ValueError, match="lowest must be no more than"):
        net.fit(*data, optimizer=optimizer)
    np.testing.assert_array_equal(numbers(net), numbers(new()))


# -------------------------------------------------------------------------------------------------------------- rates


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (S.Constant(0.5), [0.5] * 4),
        (S.Constant(0.4, n_warmup=4), [0, 0.1, 0.2, 0.3, 0.4, 0.4]),
        (S.Step(0.8, 2, 0.5), [0.8, 0.8, 0.4, 0.4, 0.2]),
        (S.Step(0.8, [3, 1], 0.5), [0.8, 0.4, 0.4, 0.2, 0.2]),
        (S.Step(0.8, ()), [0.8] * 4),
        (S.Exponential(0.8, 0.25, every=2), [0.8, 0.4, 0.2, 0.1]),
        (S.InverseScaling(0.6, 1), [0.6, 0.3, 0.2, 0.15]),
        (S.Cosine(0.4, 4), [0.4, 0.2 + 0.1 * 2**0.5, 0.2, 0.2 - 0.1 * 2**0.5, 0, 0, 0]),
        (S.Cosine(0.4, 4, n_warmup=2, lowest=0.2, start=0.1), [0.1, 0.25, 0.4, 0.3, 0.2, 0.2]),
        (S.Cosine(0.4, 2, restarts=True), [0.4, 0.2, 0.4, 0.2, 0.4]),
        (S.Cosine(0.4, 3, n_warmup=1, restarts=True), [0, 0.4, 0.2, 0.4, 0.2, 0.4]),
        (S.Cosine(0.4, 1, restarts=True, growth=2), [0.4, 0.4, 0.2, 0.4, 0.2 + 0.1 * 2**0.5, 0.2, 0.2 - 0.1 * 2**0.5, 0.4]),
        (S.OneCycle(0.5, 5, rise=0.6, div_factor=5, final_div_factor=2), [0.1, 0.3, 0.5, 0.275, 0.05, 0.05]),
        (S.OneCycle(0.5, 8, 0.5, 5, 2, "linear"), [0.1, 0.1 + 0.4 / 3, 0.1 + 0.8 / 3, 0.5, 0.3875, 0.275, 0.1625, 0.05, 0.05]),
    ],
    ids=str,
)
def test_rates_worked_by_hand(schedule, expected):
    np.testing.assert_allclose(schedule.rates(0, len(expected)), expected, rtol=0, atol=1e-15)
    np.testing.assert_allclose(schedule.rates(2, len(expected) - 2), expected[2:], rtol=0, atol=1e-15)
    assert schedule(1) == pytest.approx(expected[1], abs=1e-15)
    assert isinstance(schedule(1), float)


rate = st.floats(1e-6, 10)
steps = st.integers(1, 500)
SCHEDULES = st.one_of(
    st.builds(S.Constant, rate, steps),
    st.builds(S.Step, rate, steps, st.floats(0.01, 1)),
    st.builds(S.Step, rate, st.lists(steps), st.floats(0.01, 1)),
    st.builds(S.Exponential, rate, st.floats(0.01, 1), steps),
    st.builds(S.InverseScaling, rate, st.floats(0, 5)),
    st.builds(lambda eta, n, warm, low: S.Cosine(eta, n + warm, warm, low * eta), rate, steps, steps, st.floats(0, 1)),
    st.builds(lambda eta, n, growth: S.Cosine(eta, n, restarts=True, growth=growth), rate, steps, st.floats(1, 3)),
    st.builds(S.OneCycle, rate, steps.map(lambda n: n + 1), st.floats(0.001, 0.999), st.floats(1, 100)),
)


@given(SCHEDULES, st.integers(0, 2000), st.integers(1, 50))
def test_rates_stay_between_0_and_the_highest_one_and_do_not_depend_on_how_they_are_asked_for(schedule, first, n):
    rates = schedule.rates(first, n)
    assert rates.shape == (n,)
    assert rates.dtype == np.float64
    assert (rates >= -1e-15 * schedule.learning_rate).all()
    assert (rates <= schedule.learning_rate * (1 + 1e-12)).all()
    assert rates.tolist() == [schedule(step) for step in range(first, first + n)]


# ---------------------------------------------------------------------------------------------- functions of the step


def test_a_function_is_asked_for_every_step_in_its_order(data):
    asked = []

    def rate(step):
        asked.append(step)
        return 0.1 / (1 + step)

    optimizer = bp.SGD(rate)
    trained(optimizer, data, epochs=3)
    assert asked == [0, *range(3 * STEPS)]  # the first one also to check it before training begins
    asked.clear()
    trained(optimizer, data, epochs=2)
    assert asked == [3 * STEPS, *range(3 * STEPS, 5 * STEPS)]


@pytest.mark.parametrize("kind", [bp.SGD, bp.Adam, bp.NAdam, bp.RMSprop])
def test_a_function_is_as_good_as_a_schedule(kind, data):
    schedule = S.Cosine(0.01, n_steps=30, n_warmup=5, lowest=0.001)
    expected = trained(kind(schedule), data)
    np.testing.assert_array_equal(trained(kind(lambda step: schedule(step)), data), expected)
    np.testing.assert_array_equal(trained(kind(lambda step: np.float64(schedule(step))), data), expected)
    assert (trained(kind(0.01), data) != expected).all()


def test_the_rate_of_a_step_is_that_of_plain_descent():
    """w ← w - η (w - t) on a net of one weight."""
    net, w = bp.MLP((1, 1), dtype="float64", random_state=0), 0.0
    net.weights[0][:] = 0.0
    rates = [0.5, 0.25, 0.0, 0.125, 1.0]
    optimizer = bp.SGD(lambda step: rates[step])
    for step, eta in enumerate(rates):
        net.biases[0][:] = 0.0
        net.fit([[1.0]], [3.0], 1, 1, optimizer)
        w -= eta * (w - 3.0)
        assert net.weights[0].item() == pytest.approx(w, rel=1e-15)
        assert optimizer.n_steps == step + 1
    assert w == 3.0


def raise_an_error(step):
    raise ZeroDivisionError("an error of one's own")


BAD = [
    (lambda step: -0.1, ValueError, r"learning_rate\({}\) must be a number of at least 0, and finite in float64; got -0.1"),
    (lambda step: math.nan, ValueError, r"learning_rate\({}\) must be a number of at least 0, and finite in float64; got nan"),
    (lambda step: math.inf, ValueError, r"learning_rate\({}\) must be a number of at least 0, and finite in float64; got inf"),
    (lambda step: "0.1", TypeError, r"learning_rate\({}\) must return a number; got '0.1'"),
    (lambda step: None, TypeError, r"learning_rate\({}\) must return a number; got None"),
    (lambda step: True, TypeError, r"learning_rate\({}\) must return a number; got True"),
    (lambda step: 1j, TypeError, r"learning_rate\({}\) must return a number; got 1j"),
    (raise_an_error, ZeroDivisionError, "an error of one's own"),
]


def refused(net, optimizer, data, kind, message, epochs=40, **arguments):
    """`fit` raises, and net, optimizer and random state are as before."""
    before, state, random = numbers(net), optimizer.snapshot(), net._random.bit_generator.state
    with pytest.raises(kind, match=message):
        net.fit(*data, epochs, BATCH_SIZE, optimizer, **arguments)
    np.testing.assert_array_equal(numbers(net), before)
    assert net._random.bit_generator.state == random
    after = optimizer.snapshot()
    assert (after is None) == (state is None)
    for array, expected in zip((after or ())[1:4], (state or ())[1:4], strict=True):
        np.testing.assert_array_equal(array, expected)


@pytest.mark.parametrize(("bad", "kind", "message"), BAD)
@pytest.mark.parametrize("n_good", [0, 1, STEPS, 13, 101])
@pytest.mark.parametrize("watched", [False, True])
def test_a_function_that_fails_undoes_the_fit(watched, n_good, bad, kind, message, data):
    """At once, within an epoch and after several ones, which without a callback are run ahead."""

    def rate(step):
        return 0.01 if step - first < n_good else bad(step)

    for n_before in (0, 3):
        net, first, optimizer = new(), n_before * STEPS, bp.NAdam(lambda step: 0.01)
        if n_before:
            net.fit(*data, n_before, BATCH_SIZE, optimizer)
            assert optimizer.snapshot()[1].any()
        optimizer.learning_rate = rate
        callbacks = [lambda run: None] if watched else []
        refused(net, optimizer, data, kind, message.format(first + n_good), callbacks=callbacks)


def test_a_function_may_become_as_small_as_it_likes_but_not_larger_than_the_dtype_holds(data):
    for place in (0, 5):
        optimizer = bp.SGD(lambda step, place=place: 1e39 if step == place else 0.01)
        message = rf"learning_rate\({place}\) must be a number of at least 0, and finite in float32; got 1e\+39"
        refused(new("float32"), optimizer, data, ValueError, message)
    net, before = new("float32"), numbers(new("float32"))
    net.fit(*data, 2, BATCH_SIZE, bp.SGD(lambda step: 1e-50))
    np.testing.assert_array_equal(numbers(net), before)
    for schedule in (S.Constant(1e-50), S.Constant(1e39), S.ReduceOnPlateau(1e-50)):
        with pytest.raises(ValueError, match=r"learning_rate is 1e[-+]\d+, which is (0.0|inf) in the net's float32"):
            net.fit(*data, optimizer=bp.SGD(schedule))
    optimizer = bp.SGD(S.Exponential(1.0, 1e-9))
    for _ in range(2):
        net.fit(*data, 2, BATCH_SIZE, optimizer)  # to rates that float32 does not hold, and on from there
    assert (numbers(net) != before).any()


# --------------------------------------------------------------------------------------------------- steps of the fits


def test_the_count_of_steps_goes_on_from_fit_to_fit(data):
    for schedule in (S.Step(0.1, 6, 0.5), S.Cosine(0.1, 25, n_warmup=3), S.OneCycle(0.1, 30), lambda step: 0.1 / (1 + step)):
        net, other, optimizer, whole = new(), new(), bp.SGD(schedule, 0.5), bp.SGD(schedule, 0.5)
        for epochs in (2, 1, 4):
            net.fit(*data, epochs, BATCH_SIZE, optimizer)
        other.fit(*data, 7, BATCH_SIZE, whole)
        assert optimizer.n_steps == whole.n_steps == 7 * STEPS
        np.testing.assert_array_equal(numbers(net), numbers(other))


@pytest.mark.parametrize(("kind", "own"), [(S.Cosine, {}), (S.Cosine, {"n_warmup": 3, "start": 0.01}), (S.OneCycle, {})])
def test_a_schedule_without_a_length_spans_each_fit(kind, own, data):
    net, other, optimizer, expected, first = new(), new(), bp.AdamW(kind(0.05, **own)), bp.AdamW(), 0
    for n in (3, 5, 1, 4):
        alone = kind(0.05, n_steps=n * STEPS, **own)
        expected.learning_rate = lambda step, first=first, alone=alone: alone(step - first)
        net.fit(*data, n, BATCH_SIZE, optimizer)
        other.fit(*data, n, BATCH_SIZE, expected)
        np.testing.assert_array_equal(numbers(net), numbers(other))
        first += n * STEPS
    optimizer.reset()
    assert optimizer.n_steps == 0
    alone = bp.AdamW(kind(0.05, n_steps=3 * STEPS, **own))
    np.testing.assert_array_equal(trained(optimizer, data, 3), trained(alone, data, 3))


def test_a_rise_may_be_longer_than_the_fit(data):
    found = trained(bp.SGD(S.Cosine(0.1, n_warmup=20)), data, 3)
    np.testing.assert_array_equal(found, trained(bp.SGD(lambda step: 0.1 * step / 20), data, 3))


def test_epochs_that_are_run_ahead_have_their_own_rates(data, monkeypatch):
    """200 epochs of 4 steps: some together, one by one, watched, and with a rate that a callback changes."""
    monkeypatch.setattr(running, "AHEAD_SECONDS", 60.0)  # on machines of any speed
    runs, run = [], MiniBatches.run

    def counted(self, samples, order, total):
        runs.append(len(total))
        return run(self, samples, order, total)

    monkeypatch.setattr(MiniBatches, "run", counted)

    def of_epoch(epoch):
        return 0.1 / (1 + 0.2 * epoch)

    def rate(step):
        return of_epoch(step // STEPS)

    for make in (lambda rate: bp.SGD(rate, 0.8), bp.NAdam):
        runs.clear()
        expected = trained(make(rate), data, 200)
        assert max(runs) >= 64
        runs.clear()
        np.testing.assert_array_equal(trained(make(rate), data, 200, callbacks=[lambda run: None]), expected)
        assert set(runs) == {1}
        net, optimizer = new(), make(rate)
        for _ in range(200):
            net.fit(*data, 1, BATCH_SIZE, optimizer)
        np.testing.assert_array_equal(numbers(net), expected)

        def change(run):
            run.optimizer.learning_rate = of_epoch(run.epoch)

        np.testing.assert_array_equal(trained(make(of_epoch(0)), data, 200, callbacks=[change]), expected)
        assert (trained(make(of_epoch(0)), data, 200) != expected).all()
        cosine = [trained(make(S.Cosine(0.01, n_warmup=30)), data, 200, callbacks=more) for more in ([], [lambda run: None])]
        np.testing.assert_array_equal(*cosine)


# --------------------------------------------------------------------------------------------------- ReduceOnPlateau


def test_reductions_worked_by_hand():
    schedule = S.ReduceOnPlateau(0.8, factor=0.5, patience=1, threshold=0.1, cooldown=2, lowest=0.15)
    rates = []
    for loss in (1.0, 0.95, 0.95, 0.95, 0.95, 0.95, 0.95, 0.5, 0.5, 0.5, math.nan, 0.1, 0.1, 0.1):
        schedule.epoch(loss)
        rates.append(schedule(0))
    # 0.95 is no improvement of a tenth; the two epochs after a reduction are not counted, nor is there one below 0.15
    assert rates == [0.8, 0.8, 0.4, 0.4, 0.4, 0.4, 0.2, 0.2, 0.2, 0.2, 0.15, 0.15, 0.15, 0.15]
    schedule.reset()
    assert schedule(5) == 0.8


def test_a_value_that_is_not_a_number_is_no_improvement():
    schedule = S.ReduceOnPlateau(0.8, factor=0.5, patience=1)
    for value, rate in ((math.nan, 0.8), (math.nan, 0.4), (3.0, 0.4), (math.nan, 0.4), (2.0, 0.4), (math.inf, 0.4)):
        schedule.epoch(value)
        assert schedule(0) == rate
    negative = S.ReduceOnPlateau(0.8, factor=0.5, patience=0, threshold=0.1)
    for value, rate in ((-1.0, 0.8), (-1.2, 0.8), (-1.25, 0.4), (-1.4, 0.4)):  # as of scores, whose sign is changed
        negative.epoch(value)
        assert negative(0) == rate


def score(y, t):
    return -float(np.abs(y - t).mean())


@pytest.mark.parametrize(
    ("arguments", "values"),
    [
        ({}, lambda history: history.loss),
        ({"validation": True}, lambda history: history.validation_loss),
        ({"validation": True, "monitor": "loss"}, lambda history: history.loss),
        ({"metrics": [score], "monitor": "score"}, lambda history: [-value for value in history.metrics["score"]]),
    ],
    ids=["loss", "validation loss", "loss beside validation", "metric"],
)
def test_rates_are_reduced_by_what_is_monitored(arguments, values, data):
    """As if a callback had reduced them; the reductions are those of a schedule that is given the values by hand."""
    settings, arguments = {"factor": 0.5, "patience": 2, "threshold": 0.02}, dict(arguments)
    rng = np.random.default_rng(1)
    if arguments.pop("validation", False):
        arguments["validation_data"] = rng.standard_normal((30, 3)), rng.standard_normal((30, 1))
    optimizer, net = bp.SGD(S.ReduceOnPlateau(0.2, **settings), 0.5), new()
    history = net.fit(*data, 40, BATCH_SIZE, optimizer, **arguments)
    by_hand, rates = S.ReduceOnPlateau(0.2, **settings), [0.2]
    for value in values(history):
        by_hand.epoch(value)
        rates.append(by_hand(0))
    assert len(set(rates)) > 2
    assert optimizer.learning_rate(0) == rates[-1]

    def change(run):
        run.optimizer.learning_rate = rates[run.epoch]

    np.testing.assert_array_equal(trained(bp.SGD(0.2, 0.5), data, 40, callbacks=[change], **arguments), numbers(net))
    unchanged = trained(bp.SGD(0.2, 0.5), data, 40, **arguments)
    assert (unchanged != numbers(net)).all()


def plateau():
    return bp.Adam(S.ReduceOnPlateau(0.2, factor=0.5, patience=0, threshold=0.05))


def test_reductions_go_on_from_fit_to_fit_until_a_reset(data):
    twice, optimizer, whole = new(), plateau(), plateau()
    for epochs in (9, 11):
        twice.fit(*data, epochs, BATCH_SIZE, optimizer)
    np.testing.assert_array_equal(trained(whole, data, 20), numbers(twice))
    assert optimizer.learning_rate.state()["rate"] == whole.learning_rate.state()["rate"] < 0.1
    again = trained(optimizer, data, 20)
    assert (again != numbers(twice)).any()
    optimizer.reset()
    assert optimizer.learning_rate(0) == 0.2
    np.testing.assert_array_equal(trained(optimizer, data, 20), numbers(twice))


@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o))], ids=["copy", "deepcopy", "pickle"]
)
@pytest.mark.parametrize("make", [plateau, lambda: bp.Adam(S.Cosine(0.05, n_warmup=3)), lambda: bp.NAdam(S.OneCycle(0.1, 50))])
def test_copies_go_on_from_the_same_rates_and_leave_those_of_the_others_alone(make, copied, data):
    optimizer, net = make(), new()
    net.fit(*data, 8, BATCH_SIZE, optimizer)
    schedule = optimizer.learning_rate
    before, other, other_net = schedule.state(), copied(optimizer), copy.deepcopy(net)
    assert other == optimizer
    assert other.learning_rate.state() == before
    net.fit(*data, 8, BATCH_SIZE, optimizer)
    assert other.learning_rate.state() == before != schedule.state()
    other_net.fit(*data, 8, BATCH_SIZE, other)
    np.testing.assert_array_equal(numbers(other_net), numbers(net))
    assert other.learning_rate.state() == schedule.state()


def test_the_best_epoch_has_its_rate_back(data):
    """With early stopping, net and optimizer are those of a fit that ended with the best epoch."""
    rng = np.random.default_rng(1)
    held_back = rng.standard_normal((30, 3)), rng.standard_normal((30, 1))

    def make():
        return bp.Adam(S.ReduceOnPlateau(0.2, factor=0.7, patience=0, threshold=0.05))

    optimizer, net, ended, other = make(), new(), make(), new()
    history = net.fit(*data, 200, BATCH_SIZE, optimizer, validation_data=held_back, patience=8, shuffle=False)
    other.fit(*data, history.best_epoch + 1, BATCH_SIZE, ended, validation_data=held_back, shuffle=False)
    assert 0 < history.best_epoch < len(history.loss) - 1
    states = [each.learning_rate.state() for each in (optimizer, ended)]
    for state in states:
        del state["span"]
    assert states[0] == states[1]
    assert optimizer.n_steps == ended.n_steps
    np.testing.assert_array_equal(numbers(net), numbers(other))


class Interrupt(bp.callbacks.Callback):
    """Interrupts the ninth epoch: within it, or after it."""

    def __init__(self, within):
        self.within = within

    def part(self, run, n_samples):
        if self.within and run.epoch == 8:
            raise KeyboardInterrupt

    def epoch(self, run):
        if run.epoch == 9:
            raise KeyboardInterrupt


@pytest.mark.parametrize("within", [False, True])
@pytest.mark.parametrize(
    "make",
    [
        plateau,
        lambda: bp.Adam(S.Cosine(0.05, n_warmup=3)),
        lambda: bp.NAdam(S.Step(0.1, [9, 30])),
        lambda: bp.RMSprop(0.01, 0.9),
    ],
)
def test_a_fit_that_was_interrupted_goes_on_with_the_same_rates(make, within, data, tmp_path):
    whole, net, resumed, optimizer = new(), new(), new(), make()
    losses = whole.fit(*data, 20, BATCH_SIZE, optimizer).loss
    file = tmp_path / "checkpoint"
    with pytest.raises(KeyboardInterrupt):
        net.fit(*data, 20, BATCH_SIZE, make(), callbacks=[Interrupt(within)], checkpoint=file)
    other = make()
    assert resumed.fit(*data, 20, BATCH_SIZE, other, resume=file).loss == losses
    np.testing.assert_array_equal(numbers(resumed), numbers(whole))
    assert other.n_steps == optimizer.n_steps
    if other.schedule is not None:
        assert other.learning_rate.state() == optimizer.learning_rate.state()


# --------------------------------------------------------------------------------------- rates that callbacks put in place


def replaced(make, at=3):
    """A callback that puts another rate in place."""

    def change(run):
        if run.epoch == at:
            run.optimizer.learning_rate = make()

    return change


def after(epochs, before, rate):
    """A function of the step: another one for some epochs, then this one."""
    return lambda step: before(step) if step < epochs * STEPS else rate(step)


CONSTANT = S.Constant(0.1)
COSINE = S.Cosine(0.05, n_steps=10 * STEPS, n_warmup=5)


@pytest.mark.parametrize(
    ("first", "make", "expected"),
    [
        (0.1, lambda: 0.01, after(3, CONSTANT, S.Constant(0.01))),
        (0.1, lambda: S.Step(0.1, 20), after(3, CONSTANT, S.Step(0.1, 20))),
        (0.1, lambda: S.Cosine(0.05, n_warmup=5), after(3, CONSTANT, COSINE)),  # spans the fit
        (0.1, lambda: lambda step: 0.1 / (1 + step), after(3, CONSTANT, lambda step: 0.1 / (1 + step))),
        (COSINE, lambda: 0.1, after(3, COSINE, CONSTANT)),
        (S.Cosine(0.05, n_warmup=5), lambda: S.OneCycle(0.3), after(3, COSINE, S.OneCycle(0.3, 10 * STEPS))),
        (lambda step: 0.1, lambda: 0.01, after(3, CONSTANT, S.Constant(0.01))),
    ],
)
def test_a_rate_that_a_callback_puts_in_place_holds_from_the_next_epoch(first, make, expected, data):
    found = trained(bp.NAdam(first), data, callbacks=[replaced(make)])
    np.testing.assert_array_equal(found, trained(bp.NAdam(expected), data))
    assert (found != trained(bp.NAdam(first), data)).all()


def test_a_plateau_that_a_callback_puts_in_place_sees_the_epochs_that_follow(data):
    plateau = S.ReduceOnPlateau(0.2, factor=0.5, patience=0, threshold=0.05)
    other, net = copy.deepcopy(plateau), new()
    history = net.fit(*data, 20, BATCH_SIZE, bp.Adam(0.1), callbacks=[replaced(lambda: plateau)])
    rates = []
    for loss in history.loss[3:]:
        rates.append(other(0))
        other.epoch(loss)
    assert plateau.state()["rate"] == other.state()["rate"] < 0.1
    expected = trained(bp.Adam(lambda step: 0.1 if step < 3 * STEPS else rates[step // STEPS - 3]), data, 20)
    np.testing.assert_array_equal(numbers(net), expected)


def test_a_plateau_that_a_callback_takes_away_sees_no_more_epochs(data):
    optimizer = plateau()
    schedule = optimizer.learning_rate
    trained(optimizer, data, 20, callbacks=[replaced(lambda: 1e-3, at=1)])
    assert schedule.state()["rate"] == 0.2
    assert optimizer.learning_rate == 1e-3


@pytest.mark.parametrize(
    ("bad", "kind", "message"),
    [
        (-1, ValueError, "learning_rate must be a number greater than 0; got -1"),
        (S.Cosine, TypeError, "not its class"),
        (lambda step: "fast", TypeError, r"learning_rate\(24\) must return a number"),
        (raise_an_error, ZeroDivisionError, "an error of one's own"),
    ],
)
def test_a_bad_rate_that_a_callback_puts_in_place_undoes_the_fit(bad, kind, message, data):
    for make in (plateau, lambda: bp.Adam(S.Cosine(0.05, n_warmup=3)), lambda: bp.Adam(0.1)):
        net, optimizer = new(), make()
        net.fit(*data, 3, BATCH_SIZE, optimizer)
        refused(net, optimizer, data, kind, message, callbacks=[replaced(lambda: bad)])


@pytest.mark.parametrize("make", [lambda: S.ReduceOnPlateau(0.1), lambda: S.Cosine(0.1), lambda: 0.1])
def test_what_one_schedule_remembers_is_not_given_to_another_one(make, data):
    """Whether training fails after a callback has put one in place, or goes back to a best epoch before that."""
    for first in (plateau, lambda: bp.Adam(S.Cosine(0.05)), lambda: bp.Adam(0.1)):
        net, optimizer = new(), first()
        net.fit(*data, 5, BATCH_SIZE, optimizer)

        def fail(run):
            if run.epoch == 6:
                run.optimizer.beta_1 = -1

        refused(net, optimizer, data, ValueError, "beta_1", callbacks=[replaced(make), fail])
        optimizer.beta_1 = 0.9
        fresh = make()
        if isinstance(fresh, S.Schedule):
            assert optimizer.learning_rate.state() == fresh.state()
        optimizer = first()
        best_first = {"metrics": [lambda y, t: 0.0], "monitor": "<lambda>", "patience": 6}  # no epoch is better
        history = new().fit(*data, 40, BATCH_SIZE, optimizer, callbacks=[replaced(make)], **best_first)
        assert history.best_epoch == 0
        assert len(history.loss) == 7
        assert optimizer.n_steps == STEPS
        if isinstance(fresh, S.Schedule):
            assert optimizer.learning_rate.state() == fresh.state()


# ------------------------------------------------------------------------------------------------- schedules of users


class Zigzag(S.Schedule):
    """A user's: up and down."""

    def _rates(self, steps):
        return self.learning_rate * (1 + steps % 3)


class Wrong(S.Schedule):
    """A user's, whose rates are not as many as asked for."""

    def _rates(self, steps):
        return [self.learning_rate] * (len(steps) - 1)


def test_schedules_may_be_of_ones_own(data):
    found = trained(bp.Adam(Zigzag(0.01)), data)
    np.testing.assert_array_equal(found, trained(bp.Adam(lambda step: 0.01 * (1 + step % 3)), data))
    refused(new(), bp.Adam(Wrong(0.1)), data, ValueError, r"Wrong must give one rate for each of the steps \(1,\); got")
    refused(new(), bp.Adam(S.Schedule(0.1)), data, NotImplementedError, "Schedule must define _rates")


def test_an_integer_beyond_float64_is_no_rate(data):
    net = bp.MLP((3, 4, 1), random_state=0)
    with pytest.raises(ValueError, match="must be finite in float32"):
        net.fit(*data, optimizer=bp.SGD(lambda step: 10**400))


@pytest.mark.parametrize("rate", [0.01, bp.schedules.Cosine(0.01)], ids=repr)
def test_a_callback_that_resets_the_optimizer_makes_training_begin_anew(data, rate):
    """From then on all is as in a fit with a new optimizer, whose schedule spans as many steps."""
    one, other = (bp.MLP((3, 4, 1), dtype="float64", random_state=0) for _ in range(2))
    optimizer = bp.Adam(rate)

    def reset(run):
        if run.epoch == 2:
            run.optimizer.reset()

    one.fit(*data, epochs=5, batch_size=10, shuffle=False, optimizer=optimizer, callbacks=[reset])
    other.fit(*data, epochs=5, batch_size=10, shuffle=False, optimizer=bp.Adam(rate), callbacks=[lambda run: run.epoch == 2])
    fresh = bp.Adam(rate)
    other.fit(*data, epochs=5, batch_size=10, shuffle=False, optimizer=fresh, callbacks=[lambda run: run.epoch == 3])
    assert np.array_equal(one.parameters, other.parameters)
    assert optimizer.n_steps == fresh.n_steps
