"""Nets of any connections, masks, pruning and initial weights, as users see them."""

import copy
import pickle

import numpy as np
import pytest

import bpkernel as bp
from bpkernel import gradient_check, initializers, reference

RNG = np.random.default_rng(0)
X, T = RNG.standard_normal((50, 4)), RNG.standard_normal((50, 3))
SIZES = (4, 6, 5, 3)
SKIPS = [(0, 1), (1, 2), (0, 3), (2, 3)]


def net(sizes=SIZES, **more):
    return bp.MLP(sizes, **{"dtype": "float64", "random_state": 0, **more})


def test_connections_are_pairs_by_target_then_source():
    assert net().connections == ((0, 1), (1, 2), (2, 3))
    assert net(connections="all").connections == ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
    own = net(connections=[(2, 3), (0, 3), (1, 2), (0, 1)])
    assert own.connections == ((0, 1), (1, 2), (0, 3), (2, 3))
    assert [w.shape for w in own.weights] == [(4, 6), (6, 5), (4, 3), (5, 3)]
    assert [b.shape for b in own.biases] == [(6,), (5,), (3,)]
    assert [dw.shape for dw in own.backprop(X, T).dw] == [w.shape for w in own.weights]
    assert bp.MLP((4, 3), connections=np.array([[0, 1]])).connections == ((0, 1),)
    assert net(connections=iter(SKIPS)).connections == own.connections


def test_a_chain_in_pairs_is_the_default_bit_for_bit():
    chains = net(), net(connections=[(0, 1), (1, 2), (2, 3)]), net(connections=[(2, 3), (1, 2), (0, 1)])
    losses = [chain.fit(X, T, 3, 7, bp.Adam()).loss for chain in chains]
    assert losses[0] == losses[1] == losses[2]
    np.testing.assert_array_equal(chains[0].predict(X), chains[1].predict(X))
    assert repr(chains[0]) == repr(chains[1])
    assert "connections" not in repr(chains[0])


@pytest.mark.parametrize("connections", [None, "all", SKIPS])
def test_outputs_are_those_of_numpy(connections):
    """The sums written out with NumPy's products."""
    own = net(connections=connections)
    for b in own.biases:
        b[:] = RNG.standard_normal(b.shape)
    z = [X]
    for target, b in enumerate(own.biases, start=1):
        a = b + sum(z[s] @ w for (s, t), w in zip(own.connections, own.weights, strict=True) if t == target)
        z.append(np.tanh(a) if target < 3 else a)
    np.testing.assert_allclose(own.predict(X), z[-1], rtol=1e-12, atol=1e-13)


BAD_CONNECTIONS = [
    ("some", ValueError, r'connections must be None, "all" or pairs of layers.*got \'some\''),
    (3, TypeError, r'connections must be None, "all" or pairs'),
    ([1, 2], TypeError, r'connections must be None, "all" or pairs'),
    ([(0, 1, 2)], TypeError, r'connections must be None, "all" or pairs'),
    ([(0, 1), (1, 2), (2, 4)], ValueError, r"\(2, 4\) names layer 4; the layers are 0 \(the inputs\) to 3 \(the outputs\)"),
    ([(-1, 1), (1, 2), (2, 3)], ValueError, r"names layer -1"),
    ([(0, 1), (1, 2), (2, 3), (2, 1)], ValueError, r"\(2, 1\) does not lead to a later layer"),
    ([(0, 1), (1, 1), (1, 2), (2, 3)], ValueError, r"\(1, 1\) does not lead to a later layer"),
    ([(0, 1), (1, 2), (2, 3), (0, 1)], ValueError, r"\(0, 1\) is there twice"),
    ([(0, 1), (1, 3), (2, 3)], ValueError, r"no pair leads to layer 2"),
    ([(0, 1), (0, 2), (2, 3)], ValueError, r"no pair leads from layer 1"),
    ([], ValueError, r"no pair leads to layer 1"),
    ([(0, 1.0), (1, 2), (2, 3)], TypeError, r"integers from 0 \(the inputs\) to 3"),
    ([(False, True), (1, 2), (2, 3)], TypeError, r"integers from 0"),
    ([("0", "1"), (1, 2), (2, 3)], TypeError, r"integers from 0"),
]


@pytest.mark.parametrize(("connections", "kind", "message"), BAD_CONNECTIONS)
def test_bad_connections_are_refused(connections, kind, message):
    with pytest.raises(kind, match=message):
        net(connections=connections)


def test_all_connections_of_too_many_weights_are_refused():
    with pytest.raises(ValueError, match="do not fit in memory"):
        bp.MLP((10**6, 10, 10, 10**6), connections="all")


# --------------------------------------------------------------------------------------------------------------- masks

MASK = RNG.random((6, 5)) < 0.5
OPTIMIZERS = [bp.SGD(0.01), bp.SGD(0.01, 0.9), bp.SGD(0.01, 0.9, True), bp.Adam(0.01)]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=str)
@pytest.mark.parametrize("batch_size", [1, 7, 50])
def test_absent_weights_stay_0(optimizer, batch_size, dtype):
    own = net(masks={(1, 2): MASK}, dtype=dtype)
    assert (own.weights[1][MASK] != 0).all()
    before = own.weights[1].copy()
    optimizer.reset()
    own.fit(X, T, 3, batch_size, optimizer, alpha=0.1)
    assert not own.weights[1][~MASK].any()
    assert (own.weights[1][MASK] != before[MASK]).all()
    assert not own.backprop(X, T).dw[1][~MASK].any()


def test_training_with_masks_follows_the_reference():
    own = net(masks={(1, 2): MASK, (0, 3): np.eye(4, 3, dtype=bool)}, connections="all")
    layers = gradient_check.reference_net(own)
    masks = [np.ones(np.shape(w), bool) for w, *_ in layers]
    masks[1][1 + 4 :] = MASK
    masks[2][1 : 1 + 4] = np.eye(4, 3)
    losses = own.fit(X, T, 3, 7, bp.Adam(0.01), shuffle=False).loss
    orders = [list(range(50))] * 3
    expected = reference.train(
        layers, "squared_error", X.tolist(), T.tolist(), reference.Adam(0.01), orders, 7, None, [m.tolist() for m in masks]
    )
    np.testing.assert_allclose(losses, expected, rtol=1e-11)
    for (found, *_), (w, *_) in zip(gradient_check.reference_net(own), layers, strict=True):
        np.testing.assert_allclose(found, w, rtol=1e-9, atol=1e-12)


def test_masks_are_copies_and_only_where_weights_are_absent():
    given = MASK.copy()
    own = net(masks={(1, 2): given, (0, 1): np.ones((4, 6), bool)})
    assert list(own.masks) == [(1, 2)]
    given[:] = True
    own.masks[1, 2][:] = True
    np.testing.assert_array_equal(own.masks[1, 2], MASK)
    assert f"{(~MASK).sum()} weights absent" in repr(own)


def test_what_is_written_to_absent_weights_is_gone_with_the_next_fit():
    own = net(masks={(1, 2): MASK})
    own.weights[1][:] = 1
    own.fit(X, T, 1)
    assert not own.weights[1][~MASK].any()


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=str)
def test_a_pruned_weight_does_not_come_back_with_its_momentum(optimizer):
    own = net()
    optimizer.reset()
    own.fit(X, T, 3, 7, optimizer)
    n_weights = sum(w.size for w in own.weights)
    assert own.prune(0.5) == round(0.5 * n_weights)
    absent = [w == 0 for w in own.weights]
    assert sum(int(a.sum()) for a in absent) == round(0.5 * n_weights)
    own.fit(X, T, 3, 7, optimizer)
    for w, a in zip(own.weights, absent, strict=True):
        assert not w[a].any()
        assert (w[~a] != 0).all()


def test_the_smallest_weights_are_pruned_and_biases_are_not():
    own = net(masks={(1, 2): MASK})
    own.biases[0][:] = 1e-9
    sizes = np.sort(np.concatenate([abs(w[w != 0]) for w in own.weights]))
    n_removed = own.prune(0.3)
    assert n_removed == round(0.3 * len(sizes))
    kept = np.sort(np.concatenate([abs(w[w != 0]) for w in own.weights]))
    np.testing.assert_array_equal(kept, sizes[n_removed:])
    assert (own.biases[0] == 1e-9).all()
    assert own.prune(0) == 0
    assert own.prune(1.0) == len(kept)
    assert not any(w.any() for w in own.weights)
    assert own.prune(1) == 0
    assert np.isfinite(own.fit(X, T, 2).loss).all()


def test_a_callback_may_prune_between_epochs():
    """Also the first time, and with the best weights put back."""
    own, n_absent = net(), []

    def callback(history):
        if len(history.loss) in (3, 6):
            own.prune(0.4)
        n_absent.append(sum(int((w == 0).sum()) for w in own.weights))

    history = own.fit(X, T, 9, 7, bp.Adam(), callback=callback, validation_data=(X, T), patience=9)
    n_weights = sum(w.size for w in own.weights)
    first = round(0.4 * n_weights)
    assert n_absent == [0] * 2 + [first] * 3 + [first + round(0.4 * (n_weights - first))] * 4
    assert sum(int((w == 0).sum()) for w in own.weights) == n_absent[history.best_epoch]
    assert own.loss(X, T) == min(history.validation_loss)


def test_a_failed_fit_brings_pruned_weights_back():
    own, optimizer = net(), bp.SGD(0.01)
    own.fit(X, T, 1, optimizer=optimizer)
    before = [w.copy() for w in own.weights]

    def callback(history):
        if len(history.loss) == 2:
            own.prune(0.5)
        if len(history.loss) == 3:
            optimizer.learning_rate = 1e30

    with pytest.raises(FloatingPointError):
        own.fit(X, T, 9, 7, optimizer, callback=callback)
    for w, kept in zip(own.weights, before, strict=True):
        np.testing.assert_array_equal(w, kept)
    optimizer.learning_rate = 0.01
    own.fit(X, T, 1, optimizer=optimizer)
    assert all((w != 0).all() for w in own.weights)


def test_what_a_callback_writes_to_absent_weights_does_not_count():
    own = net(masks={(1, 2): MASK}), net(masks={(1, 2): MASK})
    losses = [
        one.fit(X, T, 4, 7, callback=callback).loss
        for one, callback in zip(
            own, (lambda history: own[0].weights[1].__iadd__(np.where(MASK, 0, 9)) is None, None), strict=True
        )
    ]
    assert losses[0] == losses[1]


@pytest.mark.parametrize("fraction", [-0.1, 1.1, float("nan")])
def test_a_fraction_out_of_range_is_refused(fraction):
    with pytest.raises(ValueError, match="fraction must be a number from 0 to 1"):
        net().prune(fraction)
    for wrong in ("0.5", None, True):
        with pytest.raises(TypeError, match="fraction must be a number from 0 to 1"):
            net().prune(wrong)


BAD_MASKS = [
    ([MASK], TypeError, "masks must be a dictionary of bool arrays"),
    ({(1, 2): MASK.astype(float)}, TypeError, r"masks\[\(1, 2\)\] must be an array of bool.*dtype float64"),
    ({(1, 2): MASK.T}, ValueError, r"must have shape \(6, 5\), the units of layers 1 and 2; got \(5, 6\)"),
    ({(0, 2): MASK}, ValueError, r"\(0, 2\) is not a connection of the net; these are \(0, 1\), \(1, 2\), \(2, 3\)"),
    ({"a": MASK}, ValueError, r"'a' is not a connection"),
    ({(1, 2): None}, TypeError, r"must be an array of bool"),
]


@pytest.mark.parametrize(("masks", "kind", "message"), BAD_MASKS)
def test_bad_masks_are_refused(masks, kind, message):
    with pytest.raises(kind, match=message):
        net(masks=masks)


def test_copies_pickles_and_files_keep_masks_and_connections(tmp_path):
    own = net(connections=SKIPS, masks={(1, 2): MASK}, activation=["gelu", bp.LeakyReLU(0.2)], loss=bp.Huber(2.0))
    own.fit(X, T, 2)
    own.save(tmp_path / "net")
    for other in (copy.deepcopy(own), pickle.loads(pickle.dumps(own)), bp.MLP.load(tmp_path / "net")):
        assert repr(other) == repr(own)
        np.testing.assert_array_equal(other.predict(X), own.predict(X))
        np.testing.assert_array_equal(other.masks[1, 2], MASK)
        other.fit(X, T, 2)
        assert not other.weights[1][~MASK].any()


def test_attributes_of_the_structure_cannot_be_assigned():
    own = net()
    for name in ("layer_sizes", "activation", "output_activation", "loss_name", "dtype", "connections", "weights", "biases"):
        with pytest.raises(AttributeError):
            setattr(own, name, getattr(own, name))


# ----------------------------------------------------------------------------------------------------- initial weights

SPREAD = {  # standard deviation from fan_in and fan_out
    "glorot_uniform": lambda fan_in, fan_out: np.sqrt(2 / (fan_in + fan_out)),
    "glorot_normal": lambda fan_in, fan_out: np.sqrt(2 / (fan_in + fan_out)),
    "he_uniform": lambda fan_in, fan_out: np.sqrt(2 / fan_in),
    "he_normal": lambda fan_in, fan_out: np.sqrt(2 / fan_in),
    "lecun_uniform": lambda fan_in, fan_out: np.sqrt(1 / fan_in),
    "lecun_normal": lambda fan_in, fan_out: np.sqrt(1 / fan_in),
}


@pytest.mark.parametrize("init", SPREAD)
def test_weights_have_the_spread_of_their_initialisation(init):
    """Of 20,000 draws the standard deviation is within 4 of its standard errors; uniform draws keep their bound."""
    w = bp.MLP((200, 100), init=init, random_state=0).weights[0].astype(float)
    spread = SPREAD[init](200, 100)
    assert abs(w.std() / spread - 1) < 4 / np.sqrt(2 * w.size)
    assert abs(w.mean()) < 4 * spread / np.sqrt(w.size)
    largest = abs(w).max() / spread
    assert (largest <= np.sqrt(3) * (1 + 1e-6)) == init.endswith("uniform")


def test_fans_count_all_connections_and_only_weights_that_are_there():
    masks = {(0, 3): RNG.random((40, 50)) < 0.5}
    own = bp.MLP((40, 60, 30, 50), connections="all", init="glorot_normal", masks=masks, random_state=0)
    n_present = masks[0, 3].sum()
    fan_in, fan_out = n_present / 50 + 60 + 30, 60 + 30 + n_present / 40
    w = own.weights[own.connections.index((0, 3))][masks[0, 3]]
    assert abs(w.std() / np.sqrt(2 / (fan_in + fan_out)) - 1) < 4 / np.sqrt(2 * w.size)


@pytest.mark.parametrize("sizes", [(30, 20), (20, 30), (20, 20)])
def test_orthogonal_weights_have_orthonormal_columns_or_rows(sizes):
    w = bp.MLP(sizes, init="orthogonal", dtype="float64", random_state=0).weights[0]
    product = w.T @ w if sizes[0] >= sizes[1] else w @ w.T
    np.testing.assert_allclose(product, np.eye(min(sizes)), atol=1e-13)
    assert abs(np.diag(w[: min(sizes), : min(sizes)]).mean()) < 0.3


def test_the_default_goes_with_the_activation():
    own = bp.MLP((50, 40, 30, 20), ["selu", "gelu"], random_state=0)
    for w, init in zip(own.weights, ("lecun_normal", "he_uniform", "glorot_uniform"), strict=True):
        spread = SPREAD[init](*w.shape)
        assert abs(w.std() / spread - 1) < 4 / np.sqrt(2 * w.size)
    assert not bp.MLP((4, 3), init="zeros").weights[0].any()


@pytest.mark.parametrize(("init", "kind"), [("he", ValueError), (3, TypeError), (initializers.he_normal, TypeError)])
def test_bad_initialisations_are_refused(init, kind):
    with pytest.raises(kind, match="init must be one of glorot_uniform, glorot_normal, he_uniform"):
        net(init=init)


# ------------------------------------------------------------------------------------------- outputs of several meanings


def test_quantiles_of_several_levels():
    """Half of the noise lies between the quartiles."""
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (4000, 1))
    t = np.hstack([x + rng.uniform(-1, 1, x.shape), 2 * x + rng.standard_normal(x.shape)])
    own = bp.MLP((1, 6), loss=bp.Quantile(0.25, 0.5, 0.75), random_state=0)
    own.fit(x, t, 60, 100, bp.Adam(0.01))
    y = own.predict(x).reshape(-1, 2, 3)
    for k, level in enumerate((0.25, 0.5, 0.75)):
        np.testing.assert_allclose((t < y[:, :, k]).mean(axis=0), level, atol=0.03)
    with pytest.raises(ValueError, match=r"T must have shape \(4000, 2\), as the net has 6 outputs for 2 targets a sample"):
        own.fit(x, t[:, :1].repeat(3, axis=1))
    with pytest.raises(ValueError, match="3 outputs for each target, one for each level; 4 outputs are not a multiple"):
        bp.MLP((1, 4), loss=bp.Quantile(0.25, 0.5, 0.75))


def test_mean_and_variance():
    rng = np.random.default_rng(0)
    x = rng.choice([-1.0, 1.0], (8000, 1))
    t = 3 * x + np.where(x > 0, 0.5, 2.0) * rng.standard_normal(x.shape)
    own = bp.MLP((1, 2), output_activation="mean_variance", loss="gaussian_nll", random_state=0)
    own.fit(x, t, 60, 100, bp.Adam(0.01))
    mean, variance = own.predict(np.array([[-1.0], [1.0]])).T
    np.testing.assert_allclose(mean, [-3, 3], atol=0.15)
    np.testing.assert_allclose(np.sqrt(variance), [2, 0.5], rtol=0.1)
    for wrong in ({"loss": "squared_error"}, {"output_activation": "identity"}):
        with pytest.raises(ValueError, match="is not defined for all outputs of output_activation"):
            bp.MLP((1, 2), **{"output_activation": "mean_variance", "loss": "gaussian_nll", **wrong})
    with pytest.raises(ValueError, match="two outputs for each target"):
        bp.MLP((1, 3), output_activation="mean_variance", loss="gaussian_nll")


BAD_SETTINGS = [
    (lambda: bp.LeakyReLU(-0.1), ValueError, "slope must be a number of at least 0; got -0.1"),
    (lambda: bp.LeakyReLU("a"), TypeError, "slope must be a number"),
    (lambda: bp.ELU(0), ValueError, "alpha must be a number greater than 0"),
    (lambda: bp.Huber(0), ValueError, "delta must be a number greater than 0"),
    (lambda: bp.Huber(None), TypeError, "delta must be a number"),
    (lambda: bp.Quantile(0.1, 1.0), ValueError, "every level must be a number between 0 and 1; got 1.0"),
    (lambda: bp.Quantile([0.1]), TypeError, "every level must be a number"),
    (lambda: bp.Tweedie(1), ValueError, "power must be a number greater than 1"),
    (lambda: bp.Tweedie(2), ValueError, "use the loss gamma"),
    (lambda: bp.Focal(-1), ValueError, "gamma must be a number of at least 0"),
    (lambda: bp.BinaryFocal(float("nan")), ValueError, "gamma must be a number of at least 0"),
    (lambda: bp.MLP((2, 1), loss=bp.Huber(1e-60)), ValueError, "delta of Huber.*is 0.0 in the net's float32; use another, or"),
    (lambda: bp.MLP((2, 3, 1), bp.LeakyReLU(1e300)), ValueError, "slope of LeakyReLU.*is inf in the net's float32"),
    (lambda: bp.MLP((2, 3, 1), np.tanh), TypeError, "make an activation of a function with bp.Activation"),
    (lambda: bp.MLP((2, 1), output_activation=lambda a: a), TypeError, "make an activation of a function with bp.Activation"),
    (lambda: bp.MLP((2, 1), loss=lambda y, t: y), TypeError, "make a loss of a function with bp.Loss"),
    (lambda: bp.MLP((2, 3, 1), bp.Huber()), TypeError, "activation must be a name"),
    (lambda: bp.MLP((2, 1), loss=bp.ELU()), TypeError, "loss must be a name"),
    (lambda: bp.MLP((2, 3, 1), bp.LeakyReLU), TypeError, "activation must be a name"),
    (lambda: bp.MLP.load("none", functions=bp.Huber()), TypeError, "functions must be a list of bp.Activation and bp.Loss"),
]


@pytest.mark.parametrize(("make", "kind", "message"), BAD_SETTINGS)
def test_bad_functions_are_refused(make, kind, message):
    with pytest.raises(kind, match=message):
        make()


def test_targets_out_of_the_range_of_a_loss_are_refused():
    for loss, output, wrong in (
        ("gamma", "exp", 0),
        ("tweedie", "exp", -1),
        ("hinge", "identity", 0),
        ("focal", "softmax", 0.5),
    ):
        own = net(loss=loss, output_activation=output)
        with pytest.raises(ValueError, match=f"for {loss}; got values from|integers"):
            own.fit(X, np.full((50, 3), float(wrong)))
    classes = np.arange(50) % 3
    assert net(loss="focal", output_activation="softmax").fit(X, classes, 2).loss[0] > 0
