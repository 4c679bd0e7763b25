"""Many nets at once: the bits of one after the other, settings, failures, and what is made of the results."""

import gc
import pickle
import signal
import sys
import threading
import time
import warnings
import weakref

import numba
import numpy as np
import pytest

import bpkernel as bp
from bpkernel import ensembles, many_nets
from bpkernel.runtime import pace
from bpkernel.training import Training

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
    assert len(seen) == 8  # before training, and for it
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
    np.testing.assert_array_equal(std, np.sqrt(((y - mean) ** 2).mean(axis=0)))


@pytest.mark.parametrize("n", [1, 7, 8, 17])
def test_a_sample_alone_has_the_bits_it_has_in_a_batch(data, n):
    found = bp.train_many(n, *data, **SETTINGS)
    batch = found.predict(data[0], return_std=True)
    for i in range(5):
        alone = found.predict(data[0][i : i + 1], return_std=True)
        for one, other in zip(alone, batch, strict=True):
            np.testing.assert_array_equal(one[0], other[i])


def test_a_file_holds_the_nets_that_were_trained(data, tmp_path):
    path, huber = tmp_path / "nets.safetensors", bp.Loss(lambda y, t: abs(y - t), lambda y, t: np.sign(y - t), "own")
    configs = [{}, {"optimizer": bp.SGD(1e30)}, {"layer_sizes": (3, 4, 5, 1), "loss": huber}]
    found = bp.train_many(configs, *data, **SETTINGS)
    found.save(path, {"note": "é"})
    loaded, metadata = bp.Ensemble.load_with_metadata(path, [huber])
    same_nets(loaded, found.trained)
    assert [net.layer_sizes for net in loaded] == [(3, 8, 1), (3, 4, 5, 1)]
    assert [history.loss for history in loaded.histories] == [found.histories[number].loss for number in (0, 2)]
    assert metadata["note"] == "é"
    np.testing.assert_array_equal(loaded.predict(data[0]), found.predict(data[0]))
    with pytest.raises(ValueError, match="own"):
        bp.Ensemble.load(path)
    with pytest.raises(ValueError, match=r"several nets: read it with bp\.Ensemble\.load"):
        bp.MLP.load(path)
    with pytest.raises(ValueError, match="keys other than format, histories, net, nets"):
        found.save(path, {"nets": 1})


def test_the_file_of_one_net_is_an_ensemble_of_one(data, tmp_path):
    net = bp.MLP((3, 8, 1), random_state=0)
    net.save(tmp_path / "net")
    loaded = bp.Ensemble.load(tmp_path / "net")
    np.testing.assert_array_equal(loaded.predict(data[0]), net.predict(data[0]))


def test_a_damaged_file_of_nets_is_refused(data, tmp_path):
    path = tmp_path / "nets.safetensors"
    bp.train_many(2, *data, **SETTINGS).save(path)
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    for _ in range(200):
        broken = bytearray(whole)
        for place in rng.integers(0, 8 + int.from_bytes(whole[:8], "little"), 3):
            broken[place] = rng.integers(256)
        path.write_bytes(broken)
        try:
            loaded = bp.Ensemble.load(path)
        except ValueError:
            continue
        assert np.isfinite(loaded.predict(data[0])).all()  # the damage is in a figure of a history


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
        with pytest.raises(ValueError, match="no net has been trained"):
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
        ([{"rows": [-1, 3]}], {}, ValueError, "rows must be indices of samples, integers from 0 to 202"),
        ([{"rows": [203]}], {}, ValueError, "rows must be indices"),
        ([{"rows": [[1]]}], {}, ValueError, "rows must be indices"),
        ([{"rows": [0, 1], "sample_weight": np.ones(204)}], {}, ValueError, "sample_weight must have shape"),
        ([{"progress": True}], {}, TypeError, "progress: neither"),
        (2, {"validation_split": 0.999}, ValueError, "validation_split=0.999"),
        (2, {"optimizer": bp.Adam(1e-60)}, ValueError, "learning_rate"),
        (
            [{}, {}],
            {"random_state": np.random.default_rng(0)},
            ValueError,
            "random_state, a generator, cannot be shared by nets 0",
        ),
        ([{}, {}], {"random_state": np.random.PCG64(0)}, ValueError, "generator, cannot be shared"),
        (2, {"callbacks": [bp.callbacks.EarlyStopping()]}, ValueError, "EarlyStopping cannot be shared by nets 0 and 1"),
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


def pool_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("train_many")]


def test_ctrl_c_stops_all_nets_and_keeps_those_that_have_been_trained(data):
    begun = threading.Event()

    def endless(history):
        begun.set()

    def interrupt(history):
        assert begun.wait(60)
        raise KeyboardInterrupt  # as in the main thread, see the next test

    long = {"callback": endless, "epochs": 10**9}
    configs = [{}, long, {"callback": interrupt}, long]
    with pytest.raises(ensembles.Interrupted, match="1 of 4 nets had been trained") as stopped:
        bp.train_many([{"random_state": 0, **config} for config in configs], *data, n_jobs=2, **SETTINGS)
    assert not pool_threads()
    found = stopped.value.ensemble
    assert [history is not None for history in found.histories] == [True, False, False, False]
    assert found.errors == {}
    assert found.best() == 0
    assert repr(found).startswith("Ensemble(4 nets, 3 not trained, best: 0 with")
    same_nets([found[0]], bp.train_many(1, *data, **SETTINGS))


def test_ctrl_c_in_the_middle_of_an_epoch(data, monkeypatch):
    class Slow(bp.callbacks.Callback):
        def part(self, run, n):
            parts.append(n)
            if len(parts) == 3:
                signal.raise_signal(signal.SIGINT)  # Python hands it to the main thread
                deadline = time.monotonic() + 60
                while not run._training._stopped and time.monotonic() < deadline:
                    time.sleep(0.001)

    parts = []
    X = np.repeat(data[0], 2000, axis=0)  # of many compiled calls an epoch
    monkeypatch.setattr(pace, "SECONDS", 1e-3)
    with pytest.raises(KeyboardInterrupt):
        bp.train_many([{"callbacks": [Slow()]}], X, X[:, 0], **{**SETTINGS, "epochs": 10**9})
    assert len(parts) == 3  # none after it was stopped
    assert sum(parts) < len(X)
    assert not pool_threads()


def test_a_stop_before_training_begins(data, monkeypatch):
    fit = many_nets._fit_of(bp.MLP((3, 8, 1)), *data, SETTINGS)
    bind = Training._bind
    monkeypatch.setattr(Training, "_bind", lambda *given: (fit.stop(), bind(*given)))  # as while kernels are compiled
    with pytest.raises(KeyboardInterrupt):
        fit.run(sys._getframe())


def test_nets_with_rows_hold_memory_only_while_they_are_trained(data):
    fits = weakref.WeakSet()

    class Watched(many_nets.Fit):
        def __init__(self, *given):
            super().__init__(*given)
            fits.add(self)
            most.append(len(fits))

    most, rows, wrong = [], np.arange(100), bp.SGD(1e30)
    configs = [{"rows": rows, "random_state": seed, **({"optimizer": wrong} if seed == 3 else {})} for seed in range(8)]
    gc.collect()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(many_nets, "Fit", Watched)
        found = bp.train_many(configs, *data, n_jobs=1, **SETTINGS)
    gc.collect()
    assert list(found.errors) == [3]  # whose traceback holds frames
    assert len(most) == 16
    assert max(most) <= 3
    assert len(fits) == 0
    assert found[0]._network.take_work(()) is None
    assert found[0]._network._for_training == []


def test_filters_of_warnings_stay_as_they_were(data):
    pytest.importorskip("scipy")
    before = list(warnings.filters)
    found = bp.train_many(8, *data, n_jobs=4, layer_sizes=(3, 8, 1), optimizer=bp.LBFGS(), epochs=20)
    assert len(found.trained) == 8
    assert warnings.filters == before


def test_schedules_and_generators_of_nets_are_their_own(data):
    rate = bp.schedules.ReduceOnPlateau(0.1, patience=1)
    configs = [{"random_state": np.random.default_rng(seed), "alpha": alpha} for seed, alpha in ((0, 0.0), (1, 5.0), (2, 0.1))]
    found = bp.train_many(configs, *data, n_jobs=3, layer_sizes=(3, 8, 1), optimizer=bp.SGD(rate), epochs=12, batch_size=20)
    for number, (net, config) in enumerate(zip(found, configs, strict=True)):
        alone = bp.MLP((3, 8, 1), random_state=number)
        alone.fit(*data, 12, 20, bp.SGD(bp.schedules.ReduceOnPlateau(0.1, patience=1)), alpha=config["alpha"])
        same_nets([net], [alone])


def test_class_indices_and_a_grid_of_scikit_learn(data):
    grid = pytest.importorskip("sklearn.model_selection").ParameterGrid({"alpha": [0.0, 0.1], "activation": ["relu", "tanh"]})
    labels = (data[1] > 0).astype(np.int64)
    settings = {"layer_sizes": (3, 8, 2), "output_activation": "softmax", "loss": "cross_entropy"}
    found = bp.train_many(grid, data[0], labels, epochs=3, random_state=0, **settings)
    assert len(found) == 4
    for net, config in zip(found, grid, strict=True):
        alone = bp.MLP(**settings, activation=config["activation"], random_state=0)
        alone.fit(data[0], labels, 3, alpha=config["alpha"])
        same_nets([net], [alone])
    pytest.importorskip("pandas")
    frame = found.to_frame()
    assert list(frame["alpha"]) == [config["alpha"] for config in grid]
    assert list(frame["activation"]) == [config["activation"] for config in grid]


def test_wrong_data_are_refused_as_by_fit(data):
    masked = np.ma.masked_less(data[0], -1)
    sparse = pytest.importorskip("scipy.sparse").csr_array(data[0])
    for X, T, kind, message in (
        (masked, data[1], ValueError, "masked values"),
        (sparse, data[1], TypeError, "sparse"),
        (data[0], data[1][:-1], ValueError, "one row for each of the 203"),
        (data[0], [*data[1], 0.0], ValueError, "one row for each of the 203"),
    ):
        for config in ({}, {"rows": [0, 1]}):
            with pytest.raises(kind, match=message):
                bp.train_many([config], X, T, **SETTINGS)


def test_an_ensemble_can_be_pickled(data):
    found = bp.train_many([{"random_state": 0}, {"optimizer": bp.SGD(1e30)}], *data, **SETTINGS)
    again = pickle.loads(pickle.dumps(found))
    np.testing.assert_array_equal(again.predict(data[0]), found.predict(data[0]))
    assert repr(again) == repr(found)
    assert str(again.errors[1]) == str(found.errors[1])


def test_progress_is_shown(data, capsys):
    bp.train_many(3, *data, progress=True, **SETTINGS)
    assert capsys.readouterr().err.splitlines()[-1] == "net 3/3"
