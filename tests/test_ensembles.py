"""Many nets at once: the bits of one after the other, settings, failures, and what is made of the results."""

import threading

import numba
import numpy as np
import pytest

import bpkernel as bp
from bpkernel import many_nets

SETTINGS = {"layer_sizes": (3, 8, 1), "epochs": 4, "batch_size": 20, "optimizer": bp.Adam(0.01)}


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((203, 3))
    return X, np.sin(X[:, 0]) + X[:, 1]


def same_nets(found, expected):
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one.parameters, other.parameters)


@pytest.mark.parametrize("n_jobs", [None, 1, 3])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_bits_are_those_of_one_net_after_the_other(data, n_jobs, dtype):
    optimizers = [bp.SGD(0.1), "adamw", bp.RMSprop(0.01)]
    configs = [{"random_state": i, "optimizer": o, "dropout": 0.1 * i} for i, o in enumerate(optimizers)]
    common = {**SETTINGS, "dtype": dtype}
    del common["optimizer"]
    alone = []
    for config in configs:
        net = bp.MLP((3, 8, 1), dtype=dtype, random_state=config["random_state"], dropout=config["dropout"])
        net.fit(*data, 4, 20, config["optimizer"])
        alone.append(net)
    for optimizer in (optimizers[0], optimizers[2]):
        optimizer.reset()
    found = bp.train_many(configs, *data, n_jobs=n_jobs, **common)
    same_nets(found, alone)
    assert not np.array_equal(found[0].parameters, found[1].parameters)
    assert [len(history.loss) for history in found.histories] == [4, 4, 4]
    assert optimizers[0].n_steps == 0  # each net has a copy


def test_seeds(data):
    numbered, seeded = bp.train_many(3, *data, **SETTINGS), bp.train_many([2, 0, 1], *data, **SETTINGS)
    same_nets(numbered, [seeded[1], seeded[2], seeded[0]])
    assert len(numbered) == 3
    assert [*numbered] == numbered.nets
    assert numbered[-1:] == [numbered[2]]


def test_one_array_serves_all_nets(data, monkeypatch):
    seen = []

    class Watched(many_nets.Fit):
        def __init__(self, net, X, T, *rest):
            seen.append((X.__array_interface__["data"][0], T.__array_interface__["data"][0]))
            super().__init__(net, X, T, *rest)

    monkeypatch.setattr(many_nets, "Fit", Watched)
    X = np.asfortranarray(data[0])
    bp.train_many(4, X, data[1].tolist(), **SETTINGS)
    assert len(seen) == 4
    assert len(set(seen)) == 1


def test_the_number_of_threads_of_the_caller_stays(data):
    before, inside = numba.get_num_threads(), []
    settings = {
        **SETTINGS,
        "callback": lambda history: inside.append((numba.get_num_threads(), threading.current_thread().name)),
    }
    bp.train_many([settings, settings], *data)
    assert numba.get_num_threads() == before
    assert {n for n, _ in inside} == {1}
    assert all(name.startswith("train_many") for _, name in inside)


def test_rows_and_validation_by_the_others(data):
    X, y = data
    folds = np.array_split(np.random.default_rng(0).permutation(len(X)), 3)
    configs = [{"rows": np.setdiff1d(np.arange(len(X)), fold), "random_state": 0} for fold in folds]
    found = bp.train_many(configs, X, y, metrics="r2", **SETTINGS)
    for net, history, config, fold in zip(found, found.histories, configs, folds, strict=True):
        alone = bp.MLP((3, 8, 1), random_state=0)
        alone.fit(X[config["rows"]], y[config["rows"]], 4, 20, bp.Adam(0.01))
        same_nets([net], [alone])
        assert history.validation_loss[-1] == pytest.approx(net.loss(X[np.sort(fold)], y[np.sort(fold)]))
    np.testing.assert_array_equal(found.scores(), [history.validation_loss[-1] for history in found.histories])
    assert found.best() == int(np.argmin(found.scores()))
    assert found.best("val_r2") == int(np.argmax(found.scores("val_r2")))
    with pytest.raises(ValueError, match="monitor must be one of loss, val_loss, val_r2"):
        found.scores("accuracy")


def test_predictions_are_means_and_spreads(data):
    found = bp.train_many(4, *data, **SETTINGS)
    y = np.stack([net.predict(data[0]) for net in found])
    mean, std = found.predict(data[0], return_std=True)
    assert std.min() > 0
    np.testing.assert_array_equal(found.outputs(data[0]), y)
    np.testing.assert_array_equal(mean, y.mean(axis=0))
    np.testing.assert_array_equal(found.predict(data[0]), mean)
    np.testing.assert_array_equal(std, y.std(axis=0))


def test_a_net_that_diverges_does_not_stop_the_others(data):
    pytest.importorskip("pandas")
    configs = [{"random_state": 0}, {"random_state": 1, "optimizer": bp.SGD(1e30)}, {"random_state": 2}]
    found = bp.train_many(configs, *data, **SETTINGS)
    untouched = bp.MLP((3, 8, 1), random_state=1)
    same_nets([found[1]], [untouched])
    assert list(found.errors) == [1]
    assert isinstance(found.errors[1], FloatingPointError)
    assert found.histories[1] is None
    assert found.trained == [found[0], found[2]]
    assert found.best() in (0, 2)
    assert "1 failed" in repr(found)
    frame = found.to_frame()
    assert list(frame["epochs"].fillna(0)) == [4, 0, 4]
    assert "diverged" in frame["error"][1]
    all_failed = bp.train_many(configs[1:2], *data, **SETTINGS)
    for method in (all_failed.best, lambda: all_failed.predict(data[0])):
        with pytest.raises(ValueError, match="every net has failed"):
            method()
    assert repr(all_failed) == "Ensemble(1 nets, 1 failed)"


@pytest.mark.parametrize(
    ("configs", "common", "kind", "message"),
    [
        (0, {}, ValueError, "configs must be"),
        ([], {}, ValueError, "configs must not be empty"),
        ("adam", {}, TypeError, "configs must be a number of nets"),
        ({"epochs": 3}, {}, TypeError, "configs must be a number of nets"),
        (True, {}, TypeError, "configs must be"),
        ([3.5], {}, TypeError, "seeds or dictionaries"),
        (2, {"layers": (3, 1)}, TypeError, "layers: neither MLP nor its fit"),
        ([{"layer_sizes": (4, 1)}], {}, ValueError, "inputs"),
        ([{"alpha": -1}], {}, ValueError, "alpha"),
        ([{"rows": [0.5]}], {}, ValueError, "rows must be indices"),
        (2, {"n_jobs": 0}, ValueError, "n_jobs"),
        (2, {"checkpoint": "x"}, ValueError, "checkpoint cannot be shared"),
    ],
)
def test_wrong_settings_are_refused_before_any_training(data, monkeypatch, configs, common, kind, message):
    monkeypatch.setattr(many_nets, "_train", None)
    with pytest.raises(kind, match=message):
        bp.train_many(configs, *data, **{**SETTINGS, **common})


def test_layer_sizes_are_needed(data):
    with pytest.raises(TypeError, match="each net needs layer_sizes"):
        bp.train_many(2, *data)


def test_ctrl_c_stops_all_nets(data):
    begun = threading.Event()

    def interrupt(history):
        begun.set()
        raise KeyboardInterrupt

    endless = {**SETTINGS, "epochs": 10**9, "callback": lambda history: begun.wait(60) and False}
    last = {**SETTINGS, "callback": interrupt}
    with pytest.raises(KeyboardInterrupt):
        bp.train_many([last, endless, endless], *data, n_jobs=2)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("train_many")]


def test_progress_is_shown(data, capsys):
    bp.train_many(3, *data, progress=True, **SETTINGS)
    assert capsys.readouterr().err.splitlines()[-1] == "net 3/3"
