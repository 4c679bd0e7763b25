"""Dropout and noise as users meet them: only in training, repeatable, part of the net, and checked."""

import copy
import pickle

import numpy as np
import pytest

import bpkernel as bp

DTYPES = ["float32", "float64"]
DISTURBED = {"dropout": (0.5, 0.0, 0.2), "input_dropout": 0.1, "input_noise": 0.3}
RNG = np.random.default_rng(0)
X, T = RNG.standard_normal((50, 5)), RNG.standard_normal((50, 2))


def net_of(dtype="float64", random_state=0, **changed):
    own = DISTURBED | changed
    return bp.MLP((5, 17, 9, 8, 2), ["tanh", "gelu", "silu"], dtype=dtype, random_state=random_state, **own)


def trained(net, epochs=3, batch_size=20, **settings):
    history = net.fit(X, T, epochs, batch_size, bp.SGD(0.05), **settings)
    return net.parameters, history.loss


def same(one, two):
    return all(np.array_equal(x, y) for x, y in zip(one, two, strict=True))


# ---------------------------------------------------------------------------------------------------- only in training


@pytest.mark.parametrize("dtype", DTYPES)
def test_only_training_drops_units(dtype):
    """Outputs, losses and derivatives are those of the same weights without dropout, bit for bit, also after training."""
    net, plain = net_of(dtype), bp.MLP((5, 17, 9, 8, 2), ["tanh", "gelu", "silu"], dtype=dtype, random_state=0)
    for _ in range(2):
        assert same(net.weights, plain.weights)
        v, results = RNG.standard_normal(net.parameters.size), []
        for each in (net, plain):
            r, y = each.backprop(X, T), np.empty(2)
            each.as_njit()(X[0].astype(dtype), y)
            outputs = each.predict(X), each.predict(X[:1]), y, each.loss(X, T)
            results.append([*outputs, *r.z, *r.delta, *r.dw, *r.db, each.hvp(X, T, v), each.gauss_newton_diagonal(X, T)])
        assert all(np.any(x) for x in results[0] if np.size(x))
        assert same(*results)
        before = net.parameters
        trained(net)
        plain.parameters = net.parameters
        assert (net.parameters != before).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rate", [0.2, 0.5])
def test_the_loss_of_training_has_its_expectation_over_the_masks(rate, dtype):
    """Of a linear net whose inputs are dropped: ½ (y - t)² + ½ p / (1 - p) Σ w² x², here with steps of next to nothing."""
    net = bp.MLP((20, 1), dtype=dtype, random_state=0, input_dropout=rate)
    rng = np.random.default_rng(1)
    inputs, targets = rng.standard_normal((500, 20)), rng.standard_normal((500, 1))
    expected = net.loss(inputs, targets)
    added = 0.5 * rate / (1 - rate) * ((inputs * net.weights[0].T) ** 2).sum(1).mean()
    loss = np.array(net.fit(inputs, targets, 100, 50, bp.SGD(1e-30 if dtype == "float32" else 1e-60, 0)).loss)
    assert loss.std() > 0.01 * expected
    assert added > 0.05 * expected
    assert abs(loss.mean() - expected - added) < 5 * loss.std() / 10


@pytest.mark.parametrize("deviation", [0.1, 1.0])
def test_noise_adds_its_variance_to_the_loss(deviation):
    """½ σ² Σ w² of a linear net."""
    net = bp.MLP((20, 1), dtype="float64", random_state=0, input_noise=deviation)
    rng = np.random.default_rng(1)
    inputs, targets = rng.standard_normal((500, 20)), rng.standard_normal((500, 1))
    expected, added = net.loss(inputs, targets), 0.5 * deviation**2 * (net.weights[0] ** 2).sum()
    loss = np.array(net.fit(inputs, targets, 100, 50, bp.SGD(1e-60, 0)).loss)
    assert loss.std() > 0
    assert abs(loss.mean() - expected - added) < 5 * loss.std() / 10 < 0.2 * expected


# ---------------------------------------------------------------------------------------------------------- repeatable


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_seed_makes_training_repeatable(dtype):
    one, two, other = (trained(net_of(dtype, seed)) for seed in (0, 0, 1))
    assert same(one, two)
    assert not same(one, other)


def test_two_fits_have_other_masks():
    """Also without an order to be drawn, and with a new optimizer, whose steps are counted from 0 again."""
    net = net_of()
    start, results = net.parameters, []
    for _ in range(2):
        net.parameters = start
        results.append(trained(net, batch_size=50, shuffle=False))
    assert not same(*results)


def test_epochs_and_steps_have_other_masks():
    """All samples in every step, and weights that stay as they are."""
    net = net_of()
    loss = net.fit(X, T, 20, 50, bp.SGD(1e-60)).loss
    assert len(set(loss)) == 20
    loss = net_of(dropout=0, input_dropout=0, input_noise=0).fit(X, T, 20, 50, bp.SGD(1e-60)).loss
    assert len(set(loss)) == 1


def test_nets_without_dropout_draw_no_seed():
    net = net_of(dropout=0.0, input_dropout=0.0, input_noise=0.0)
    before = net._random.bit_generator.state
    trained(net, batch_size=50)
    assert net._random.bit_generator.state == before
    disturbed = net_of()
    assert disturbed._random.bit_generator.state == before  # initial weights are the same, too
    assert same(disturbed.weights, bp.MLP((5, 17, 9, 8, 2), ["tanh", "gelu", "silu"], dtype="float64", random_state=0).weights)
    trained(disturbed, batch_size=50)
    assert disturbed._random.bit_generator.state != before


def test_epochs_in_one_call_have_the_bits_of_epochs_one_by_one():
    one, two = trained(net_of(), 30), trained(net_of(), 30, callback=lambda history: False)
    assert np.isfinite(one[1]).all()
    assert same(one, two)


def test_training_that_was_interrupted_goes_on_with_the_same_masks(tmp_path):
    whole, net = trained(net_of(), 6), net_of()
    trained(net, 2, checkpoint=tmp_path / "checkpoint")
    again = net_of(random_state=99)
    loss = again.fit(X, T, 6, 20, bp.SGD(0.05), checkpoint=tmp_path / "checkpoint", resume=True).loss
    assert same((again.parameters, loss), whole)


def test_a_fit_that_diverges_leaves_the_generator_as_it_was():
    results = []
    for fails in (False, True):
        net = net_of()
        if fails:
            with pytest.raises(FloatingPointError, match="diverged"):
                net.fit(X, T, 50, 20, bp.SGD(1e30))
        results.append(trained(net))
    assert same(*results)


# ------------------------------------------------------------------------------------------------------ part of the net


def test_dropout_is_part_of_the_net(tmp_path):
    net = net_of()
    assert (net.dropout, net.input_dropout, net.input_noise) == ((0.5, 0.0, 0.2), 0.1, 0.3)
    for text in ("dropout=(0.5, 0.0, 0.2)", "input_dropout=0.1", "input_noise=0.3"):
        assert text in repr(net)
    assert "dropout" not in repr(bp.MLP((5, 3, 2)))
    assert "noise" not in repr(bp.MLP((5, 3, 2)))
    net.save(tmp_path / "net")
    copies = [copy.copy(net), copy.deepcopy(net), pickle.loads(pickle.dumps(net)), bp.MLP.load(tmp_path / "net")]
    state = net.__getstate__()
    results = []
    for each in copies:
        assert repr(each) == repr(net)
        assert (each.dropout, each.input_dropout, each.input_noise) == ((0.5, 0.0, 0.2), 0.1, 0.3)
        each._random = copy.deepcopy(state["random"])  # a file holds no generator
        results.append(trained(each))
    expected, plain = trained(net), trained(net_of(dropout=0, input_dropout=0, input_noise=0))
    assert all(same(result, expected) for result in results)
    assert not same(expected, plain)


def test_dropout_may_be_set():
    net = net_of(dropout=0.0, input_dropout=0.0, input_noise=0.0)
    trained(net)  # keeps its memory for the next training
    net.dropout, net.input_dropout, net.input_noise = 0.25, 0.1, 0.5
    assert net.dropout == (0.25, 0.25, 0.25)
    fresh = net_of(dropout=0.25, input_dropout=0.1, input_noise=0.5)
    fresh.parameters, fresh._random = net.parameters, copy.deepcopy(net._random)
    assert repr(fresh) == repr(net)
    assert same(trained(net), trained(fresh))
    for each in (net, fresh):
        each.dropout, each.input_dropout, each.input_noise = [0.0] * 3, 0, 0
    plain = bp.MLP((5, 17, 9, 8, 2), ["tanh", "gelu", "silu"], dtype="float64")
    plain.parameters, plain._random = net.parameters, copy.deepcopy(net._random)
    assert repr(plain) == repr(net)
    assert same(trained(net), trained(plain))


@pytest.mark.parametrize("name", ["dropout", "input_dropout", "input_noise"])
def test_a_callback_may_turn_it_on_and_off(name):
    """For the steps that follow; so a single epoch without comes first, and later ones are different."""

    def run(first, later):
        net = net_of(dropout=0.0, input_dropout=0.0, input_noise=0.0)
        setattr(net, name, first)
        history = net.fit(X, T, 6, 50, bp.SGD(1e-60), callback=lambda history: setattr(net, name, later))
        return history.loss, net

    off, _ = run(0.0, 0.0)
    on, net = run(0.0, 0.5)
    assert len(set(off)) == 1
    assert on[0] == off[0]
    assert len({*on, off[0]}) == 6
    assert len({*net.fit(X, T, 5, 50, bp.SGD(1e-60)).loss, *on}) == 11  # with memory that the training before has left
    ended, _ = run(0.5, 0.0)
    assert ended[0] != off[0]
    assert ended[1:] == off[1:]
    assert run(0.0, 0.5)[0] == on


def test_a_net_of_edges_has_dropout():
    edges = [("x", "h1"), ("x", "h2"), ("h1", "y"), ("h2", "y"), ("x", "y")]
    own = {"inputs": ["x"], "outputs": ["y"], "dropout": 0.5, "input_dropout": 0.1, "input_noise": 0.2, "random_state": 0}
    net = bp.MLP.from_edges(edges, **own)
    assert (net.dropout, net.input_dropout, net.input_noise) == ((0.5,), 0.1, 0.2)
    assert len(set(net.fit(X[:, :1], T[:, :1], 5, 50, bp.SGD(1e-30)).loss)) == 5


# ------------------------------------------------------------------------------------------------------------- checked

REFUSED = [
    ("dropout", 1.0, ValueError, "from 0 up to but not including 1; got 1.0"),
    ("dropout", -0.1, ValueError, "got -0.1"),
    ("dropout", float("nan"), ValueError, "got nan"),
    ("dropout", "half", TypeError, "got 'half'"),
    ("dropout", None, TypeError, "got None"),
    ("dropout", True, TypeError, "got True"),
    ("dropout", np.array(0.5), TypeError, r"got array\(0.5\)"),
    ("dropout", [0.1, 0.2], ValueError, "one for each of the 3 hidden layers; got 2 numbers"),
    ("dropout", [0.1, 0.2, 1.5], ValueError, "got 1.5"),
    ("dropout", [0.1, 0.2, None], TypeError, "got None"),
    ("input_dropout", 1, ValueError, "from 0 up to but not including 1; got 1"),
    ("input_dropout", [0.1], TypeError, r"got \[0.1\]"),
    ("input_noise", -1, ValueError, "at least 0, and finite in float32; got -1"),
    ("input_noise", float("inf"), ValueError, "got inf"),
    ("input_noise", 1e39, ValueError, "finite in float32; got 1e[+]39"),
    ("input_noise", [1.0], TypeError, r"got \[1.0\]"),
]


@pytest.mark.parametrize(("name", "value", "error", "message"), REFUSED)
def test_wrong_values_are_refused(name, value, error, message):
    with pytest.raises(error, match=f"{name} must be a number.*{message}"):
        bp.MLP((5, 4, 3, 2, 1), **{name: value})
    net = bp.MLP((5, 4, 3, 2, 1), random_state=0, dropout=0.5)
    before = repr(net)
    with pytest.raises(error, match=message):
        setattr(net, name, value)
    assert repr(net) == before


def test_a_wrong_rate_is_refused_without_hidden_layers():
    assert bp.MLP((5, 1), dropout=0.5).dropout == ()
    with pytest.raises(ValueError, match="not including 1; got 2"):
        bp.MLP((5, 1), dropout=2)


@pytest.mark.parametrize("changed", [{"dropout": 0.5}, {"input_dropout": 0.5}, {"input_noise": 0.5}])
@pytest.mark.parametrize("optimizer", [bp.LBFGS, bp.LevenbergMarquardt])
def test_optimizers_of_all_samples_refuse_it(optimizer, changed):
    net = bp.MLP((5, 4, 2), random_state=0, **changed)
    before = net.parameters
    with pytest.raises(ValueError, match="does not have dropout or input_noise"):
        net.fit(X, T, optimizer=optimizer())
    np.testing.assert_array_equal(net.parameters, before)
