"""Callbacks of `fit`: when they are called, what they may change, and those of `bpkernel.callbacks`."""

import csv
import io
import itertools
import math
import re
import sys
from types import SimpleNamespace

import numpy as np
import pytest

import bpkernel as bp
from bpkernel import progress
from bpkernel.callback import mode_of


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 3))
    return X, np.sin(X[:, :1])


def new(**settings):
    return bp.MLP((3, 4, 1), dtype="float64", random_state=0, **settings)


class Recorder(bp.callbacks.Callback):
    """Notes its calls."""

    def __init__(self, calls, name="", fails_at=None):
        self.calls, self.name, self.fails_at = calls, name, fails_at

    def _note(self, what):
        self.calls.append(self.name + what)
        if what == self.fails_at:
            raise RuntimeError(what)

    def begin(self, run):
        self._note("begin")

    def part(self, run, n_samples):
        self._note(f"part {n_samples}")

    def epoch(self, run):
        self._note(f"epoch {run.epoch}")

    def end(self, run, *, failed):
        self._note(f"end {failed}")


def test_callbacks_are_called_in_order_and_end_in_reverse(data):
    calls = []
    own = [Recorder(calls, "a "), Recorder(calls, "b ")]
    new().fit(*data, epochs=2, callbacks=own)
    of_epochs = [f"{name} {what}" for epoch in (1, 2) for what in ("part 60", f"epoch {epoch}") for name in "ab"]
    assert calls == ["a begin", "b begin", *of_epochs, "b end False", "a end False"]


@pytest.mark.parametrize("place", ["begin", "part 60", "epoch 1"])
def test_all_callbacks_that_have_begun_end_when_one_fails(data, place):
    calls = []
    own = [Recorder(calls, "a "), Recorder(calls, "b ", fails_at=place), Recorder(calls, "c ")]
    with pytest.raises(RuntimeError, match=place):
        new().fit(*data, epochs=2, callbacks=own)
    ended = [call for call in calls if "end" in call]
    assert ended == (["b end False", "a end False"] if place == "begin" else ["c end False", "b end False", "a end False"])


def test_they_end_as_failed_when_training_diverges(data):
    calls, net = [], new()
    before = net.parameters
    with pytest.raises(FloatingPointError):
        net.fit(*data, epochs=50, optimizer=bp.SGD(1e6), callbacks=[Recorder(calls)])
    assert calls[-1] == "end True"
    assert np.array_equal(net.parameters, before)


def test_a_run_shows_the_net_the_optimizer_and_the_history(data):
    net, optimizer, seen = new(), bp.Adam(), []

    def look(run):
        assert (run.net, run.optimizer) == (net, optimizer)
        assert run.monitored == run.value("val_loss") == run.history.validation_loss[-1]
        seen.append((run.epoch, run.n_epochs, run.monitor, run.mode, run.batch_size, len(run.history.loss)))
        with pytest.raises(ValueError, match="monitor must be one of loss, val_loss"):
            run.value("accuracy")

    net.fit(*data, epochs=3, batch_size=20, optimizer=optimizer, validation_data=data, callbacks=[look])
    assert seen == [(epoch, 3, "val_loss", "min", 20, epoch) for epoch in (1, 2, 3)]


def test_a_run_stops_when_a_function_returns_true_or_when_it_is_told_to(data):
    assert len(new().fit(*data, epochs=9, callbacks=[lambda run: run.epoch == 4]).loss) == 4
    assert len(new().fit(*data, epochs=9, callbacks=[lambda run: run.stop()]).loss) == 1
    assert len(new().fit(*data, epochs=9, callback=lambda history: len(history.loss) == 2).loss) == 2


@pytest.mark.parametrize("change", [lambda losses: losses.clear(), lambda losses: losses.append(1.0)])
def test_a_callback_that_changes_the_losses_is_told(data, change):
    """The epochs are counted by them: without losses training would never end."""
    net = bp.MLP((3, 4, 1), random_state=0)
    with pytest.raises(RuntimeError, match=r"a callback has changed history\.loss, which had 1 numbers"):
        net.fit(*data, epochs=3, callback=lambda history: change(history.loss))


def test_callbacks_that_look_only_leave_the_bits(data):
    nets = [new(dropout=0.3), new(dropout=0.3)]
    for net, callbacks in zip(nets, ([], [lambda run: None, Recorder([])]), strict=True):
        net.fit(*data, epochs=7, batch_size=16, callbacks=callbacks)
    assert np.array_equal(nets[0].parameters, nets[1].parameters)


def test_weights_that_a_callback_changes_are_those_that_training_goes_on_with(data):
    net, other = new(), new()

    def change(run):
        if run.epoch == 2:
            run.net.weights[0][:] = 0.5

    net.fit(*data, epochs=5, shuffle=False, optimizer=bp.SGD(0.1), callbacks=[change])
    other.fit(*data, epochs=2, shuffle=False, optimizer=bp.SGD(0.1))
    other.weights[0][:] = 0.5
    other.fit(*data, epochs=3, shuffle=False, optimizer=bp.SGD(0.1))
    assert np.array_equal(net.parameters, other.parameters)


@pytest.mark.parametrize(
    ("callbacks", "words"),
    [
        (Recorder([]), "must be a list of callbacks"),
        (7, "must be a list of callbacks"),
        (["a"], "Callback objects or functions"),
        ([bp.callbacks.EarlyStopping], "Callback objects or functions"),
    ],
)
def test_what_is_no_callback_is_refused(data, callbacks, words):
    with pytest.raises(TypeError, match=words):
        new().fit(*data, callbacks=callbacks)


# --------------------------------------------------------------------------------------------------- early stopping


def values(*numbers):
    """A metric with these values, one after the other, then always the last."""
    found = itertools.chain(numbers, itertools.repeat(numbers[-1]))

    def score(true, predicted):
        return next(found)

    return score


@pytest.mark.parametrize(
    ("numbers", "settings", "best", "n_epochs"),
    [
        ((1, 3, 2, 2), {"patience": 2}, 1, 4),
        ((1, 3, 3, 3), {"patience": 1}, 1, 3),
        ((3, 1, 2, 2), {"patience": 2, "mode": "min"}, 1, 4),
        ((1, 1.4, 1.8, 2.2, 2.2), {"patience": 2, "min_delta": 0.5}, 2, 5),
        ((math.nan, 1, 0), {"patience": 2}, 1, 4),
        ((1, 2, 3, 4, 5, 6, 7, 8, 9), {"patience": 1}, 8, 9),
    ],
)
def test_early_stopping(data, numbers, settings, best, n_epochs):
    net, seen = new(), []
    stop = bp.callbacks.EarlyStopping("score", **settings)
    keep = [stop, lambda run: seen.append(run.net.parameters)]
    history = net.fit(*data, epochs=9, metrics=[values(*numbers)], callbacks=keep)
    assert (len(history.loss), history.best_epoch, stop.best_epoch) == (n_epochs, best, best)
    assert stop.best == numbers[best]
    assert np.array_equal(net.parameters, seen[best])
    without = bp.callbacks.EarlyStopping("score", restore_best=False, **settings)
    history = net.fit(*data, epochs=9, metrics=[values(*numbers)], callbacks=[without, *keep[1:]])
    assert (len(history.loss), history.best_epoch, without.best_epoch) == (n_epochs, None, best)
    assert np.array_equal(net.parameters, seen[-1])


def test_patience_is_early_stopping_on_the_monitor(data):
    nets, histories = [new(), new()], []
    more = {"epochs": 40, "optimizer": bp.SGD(0.5), "validation_data": (data[0][:20], -data[1][:20])}
    histories.append(nets[0].fit(*data, patience=3, **more))
    histories.append(nets[1].fit(*data, callbacks=[bp.callbacks.EarlyStopping(patience=3)], **more))
    assert histories[0].best_epoch == histories[1].best_epoch == len(histories[0].loss) - 4
    assert np.array_equal(nets[0].parameters, nets[1].parameters)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"patience": 0}, "patience"),
        ({"patience": 1.5}, "patience"),
        ({"mode": "low"}, "mode"),
        ({"min_delta": -1}, "min_delta"),
    ],
)
def test_wrong_settings_of_early_stopping(settings, words):
    with pytest.raises(ValueError, match=f"{words} must be"):
        bp.callbacks.EarlyStopping(**settings)


def test_which_values_are_good():
    low = "loss", "val_loss", "mean_squared_error", "val_max_error", "mean_poisson_deviance", "log_loss"
    high = "accuracy", "val_r2", "neg_log_loss", "val_neg_mean_squared_error", "d2_score", "roc_auc"
    assert {mode_of(name) for name in low} == {"min"}
    assert {mode_of(name) for name in high} == {"max"}


# ---------------------------------------------------------------------------------------------- files and progress


def test_model_checkpoint_saves_the_best_nets(data, tmp_path):
    pytest.importorskip("safetensors")
    seen, path = [], tmp_path / "{epoch}-{score:.1f}.safetensors"
    callbacks = [bp.callbacks.ModelCheckpoint(path, "score"), lambda run: seen.append(run.net.parameters)]
    new().fit(*data, epochs=5, metrics=[values(1, 3, 2, 4)], callbacks=callbacks)
    assert {file.name for file in tmp_path.iterdir()} == {f"{name}.safetensors" for name in ("1-1.0", "2-3.0", "4-4.0")}
    assert np.array_equal(bp.MLP.load(tmp_path / "2-3.0.safetensors").parameters, seen[1])


def test_model_checkpoint_of_every_epoch_and_of_low_values(data, tmp_path):
    pytest.importorskip("safetensors")
    every = bp.callbacks.ModelCheckpoint(tmp_path / "every-{epoch:02d}.safetensors", save_best_only=False)
    low = bp.callbacks.ModelCheckpoint(tmp_path / "low-{epoch:02d}.safetensors", "score", mode="min")
    new().fit(*data, epochs=3, metrics=[values(2, 3, 1)], callbacks=[every, low])
    assert sorted(file.stem for file in tmp_path.iterdir()) == ["every-01", "every-02", "every-03", "low-01", "low-03"]


def test_model_checkpoint_names_what_its_path_may_contain(data, tmp_path):
    with pytest.raises(ValueError, match="path may contain the names epoch, loss in braces"):
        new().fit(*data, callbacks=[bp.callbacks.ModelCheckpoint(tmp_path / "{val_loss}.safetensors")])


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_rows_of_the_csv_logger_are_the_history(data, tmp_path):
    path, net = tmp_path / "log.csv", new()
    more = {"validation_data": data, "metrics": [values(1, 2, 3)]}
    history = net.fit(*data, epochs=3, callbacks=[bp.callbacks.CSVLogger(path)], **more)
    rows = rows_of(path)
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    for name, figures in history.figures(seconds=True).items():
        assert [float(row[name]) for row in rows] == figures
    net.fit(*data, epochs=2, callbacks=[bp.callbacks.CSVLogger(path, append=True)], **more)
    assert [row["epoch"] for row in rows_of(path)] == ["1", "2", "3", "1", "2"]
    net.fit(*data, epochs=1, callbacks=[bp.callbacks.CSVLogger(path)])
    assert len(rows_of(path)) == 1


def test_a_csv_logger_whose_folder_is_not_there_fails_before_training(data, tmp_path):
    net = new()
    before = net.parameters
    with pytest.raises(FileNotFoundError):
        net.fit(*data, callbacks=[bp.callbacks.CSVLogger(tmp_path / "no" / "log.csv")])
    assert np.array_equal(net.parameters, before)


@pytest.mark.parametrize(("seconds", "n_lines"), [(0.0, 7), (1e9, 1)])
def test_progress_in_a_log_file_is_a_line_every_few_seconds(data, capsys, seconds, n_lines):
    """After each of 3 epochs, and after each part of them that is not an epoch's last; always at the end."""
    new().fit(*data, epochs=3, callbacks=[bp.callbacks.ProgressBar(seconds)])
    lines = capsys.readouterr().err.splitlines()
    assert 1 <= len(lines) <= n_lines
    assert re.fullmatch(r"epoch 3/3  100%  loss \S+  [\d,]+ samples/s", lines[-1])


def test_progress_of_training_that_stops_early_ends_with_its_last_epoch(data, capsys):
    new().fit(*data, epochs=9, progress=True, callbacks=[lambda run: run.epoch == 2])
    assert capsys.readouterr().err.splitlines()[-1].startswith("epoch 2/9  22%  loss ")


def test_progress_in_a_terminal_is_a_bar(data, monkeypatch):
    pytest.importorskip("rich")
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    new().fit(*data, epochs=3, validation_data=data, progress=True)
    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", terminal.getvalue())
    assert "epoch 3/3" in shown
    assert re.search(r"loss \S+  validation loss \S+  [\d,]+ samples/s", shown)


def test_progress_in_a_notebook_is_a_bar_of_tqdm(data, monkeypatch):
    auto = pytest.importorskip("tqdm.auto")
    bars = []

    class Bar(auto.tqdm):
        def __init__(self, **settings):
            super().__init__(file=io.StringIO(), **settings)
            bars.append(self)

    monkeypatch.setattr(auto, "tqdm", Bar)
    monkeypatch.setitem(sys.modules, "ipykernel", SimpleNamespace())
    new().fit(*data, epochs=3, progress=True)
    (bar,) = bars
    assert (bar.n, bar.total) == (3, 3)
    assert re.search(r"loss \S+  [\d,]+ samples/s", bar.postfix)
    assert bar.disable or not bar.fp.closed


def test_a_bar_ends_when_training_fails(data, monkeypatch):
    ended = []
    monkeypatch.setattr(progress.Lines, "end", lambda self: ended.append(self))
    with pytest.raises(FloatingPointError):
        new().fit(*data, epochs=50, optimizer=bp.SGD(1e6), progress=True)
    assert len(ended) == 1
