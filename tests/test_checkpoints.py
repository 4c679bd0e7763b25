"""Checkpoints: training that is resumed anywhere gives the bits of training that was not interrupted."""

import copy
import json
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest

import bpkernel as bp
from bpkernel import checkpoints, epochs, training_state

pytest.importorskip("safetensors")

N = 203
OPTIMIZERS = {
    "SGD": lambda: bp.SGD(0.05, momentum=0.9, nesterov=True),
    "Adam": lambda: bp.Adam(0.01),
    "AdamW": lambda: bp.AdamW(bp.schedules.Cosine(0.02, n_warmup=5)),
    "NAdam": lambda: bp.NAdam(0.01),
    "RMSprop": lambda: bp.RMSprop(0.01, momentum=0.5, centered=True),
    "Adagrad": lambda: bp.Adagrad(0.1, initial=0.1),
    "Lion": lambda: bp.Lion(bp.schedules.OneCycle(0.01)),
    "plateau": lambda: bp.SGD(bp.schedules.ReduceOnPlateau(0.2, factor=0.5, patience=1)),
}


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((N, 3))
    return X, np.sin(2 * X[:, 0]) + X[:, 1] * X[:, 2] + 0.3 * rng.standard_normal(N)


def new(dtype="float64", seed=1, **settings):
    return bp.MLP((3, 9, 5, 1), dtype=dtype, random_state=seed, **settings)


class Break(bp.callbacks.Callback):
    """Raises an exception when so many mini-batches have been seen, or as many as the next call has added to these."""

    def __init__(self, n_batches):
        self.n_batches, self.seen = n_batches, 0

    def part(self, run, n_samples):
        self.seen += -(-n_samples // run.batch_size)
        if self.seen >= self.n_batches:
            raise KeyboardInterrupt


@pytest.fixture
def one_batch_a_call(monkeypatch):
    """Compiled calls of one mini-batch each, so that a fit can be interrupted after any of them."""
    monkeypatch.setattr(
        epochs.MiniBatches,
        "parts",
        lambda self, n: (slice(i, min(i + self.batch_size, n)) for i in range(0, n, self.batch_size)),
    )


def state_of(net, optimizer):
    """All numbers that training has made."""
    _, state, steps, kept, (_, schedule) = optimizer.snapshot()
    return [net.parameters, net._network.layout.vector(net._network.present) if net._network.present.size else np.zeros(0),
            *map(net._network.layout.vector, state), steps, kept, np.array(json.dumps(schedule)),
            np.array(str(net._random.bit_generator.state))]  # fmt: skip


def assert_same(found, expected):
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


SETTINGS = {
    "plain": {},
    "dropout": {"net": {"dropout": 0.2, "input_noise": 0.1}},
    "patience": {"validation_split": 0.2, "patience": 2, "metrics": ["r2"], "monitor": "val_r2"},
    "validation": {"net": {"layer_norm": [True, False]}, "validation_split": 0.25, "clip_norm": 0.5, "alpha": 0.01},
    "other": {"dtype": "float32", "shuffle": False, "max_norm": 2.0},
}


@pytest.mark.usefixtures("one_batch_a_call")
@pytest.mark.parametrize("case", range(20))
def test_resumed_at_a_random_epoch_and_batch_training_has_the_same_bits(data, tmp_path, case):
    rng = np.random.default_rng(case)
    make = list(OPTIMIZERS.values())[case % len(OPTIMIZERS)]
    given = dict(list(SETTINGS.values())[case % len(SETTINGS)])
    of_net, dtype = given.pop("net", {}), given.pop("dtype", "float64")
    own = {"epochs": 7, "batch_size": 20, **given}
    whole, optimizer = new(dtype, **of_net), make()
    expected = whole.fit(*data, optimizer=optimizer, **own)
    path = tmp_path / "run.safetensors"
    per_epoch = -(-round(N * (1 - given.get("validation_split", 0))) // 20)
    while True:  # several interrupts of one run
        net, other = new(dtype, seed=None, **of_net), make()
        begun = path.exists()
        if not begun:
            net = new(dtype, **of_net)
        stop = Break(int(rng.integers(1, 2 * per_epoch)))
        try:
            history = net.fit(*data, optimizer=other, checkpoint=path, resume=True, callbacks=[stop], **own)
        except KeyboardInterrupt:
            assert path.exists()
            continue
        break
    assert begun
    assert history.loss == expected.loss
    assert history.validation_loss == expected.validation_loss
    assert history.metrics == expected.metrics
    assert history.best_epoch == expected.best_epoch
    assert_same(state_of(net, other), state_of(whole, optimizer))
    assert np.abs(whole.parameters - new(dtype, **of_net).parameters).max() > 1e-3
    for each, used in ((net, other), (whole, optimizer)):
        each.fit(*data, epochs=2, batch_size=20, optimizer=used)
    assert_same(state_of(net, other), state_of(whole, optimizer))


@pytest.mark.parametrize("kind", [bp.LevenbergMarquardt, bp.LBFGS])
def test_optimizers_of_all_samples_go_on(data, tmp_path, kind):
    pytest.importorskip("scipy")
    whole, parts, optimizer = new(), new(), kind()
    expected = whole.fit(*data, epochs=8, optimizer=optimizer)
    path = tmp_path / "run"
    parts.fit(*data, epochs=3, optimizer=kind(), checkpoint=path)
    net = new(seed=None)
    history = net.fit(*data, epochs=8, resume=path)
    assert history.loss == expected.loss
    np.testing.assert_array_equal(net.parameters, whole.parameters)
    loaded = bp.MLP.load(path)
    assert type(loaded.optimizer) is kind
    loaded.fit(*data, epochs=5)
    np.testing.assert_array_equal(loaded.parameters, whole.parameters)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_loaded_checkpoint_goes_on_with_its_optimizer(data, tmp_path, name):
    net, optimizer, path = new(), OPTIMIZERS[name](), tmp_path / "run"
    net.fit(*data, epochs=3, batch_size=20, shuffle=False, optimizer=optimizer, checkpoint=path)
    loaded, metadata = bp.MLP.load_with_metadata(path)
    assert "training" not in metadata
    assert loaded.optimizer.values()[1:] == optimizer.values()[1:]
    np.testing.assert_array_equal(loaded.parameters, net.parameters)
    net.fit(*data, epochs=2, batch_size=20, shuffle=False, optimizer=optimizer)
    loaded.fit(*data, epochs=2, batch_size=20, shuffle=False)
    np.testing.assert_array_equal(loaded.parameters, net.parameters)
    assert bp.MLP((3, 1)).optimizer is None


@pytest.mark.parametrize("generator", [np.random.MT19937, np.random.Philox, np.random.SFC64, np.random.PCG64DXSM])
def test_any_generator_goes_on(data, tmp_path, generator):
    own = {"batch_size": 20, "checkpoint": tmp_path / "run"}
    whole = new(seed=np.random.Generator(generator(3)))
    whole.fit(*data, epochs=5, batch_size=20)
    new(seed=np.random.Generator(generator(3))).fit(*data, epochs=2, **own)
    net = new()
    net.fit(*data, epochs=5, resume=True, **own)
    np.testing.assert_array_equal(net.parameters, whole.parameters)
    assert type(net._random.bit_generator) is generator


def test_pruned_and_masked_nets_go_on(data, tmp_path):
    def prune(run):
        if run.epoch in (2, 4):
            run.net.prune(0.2)

    own = {"batch_size": 20, "callbacks": [prune]}
    masks = {(0, 1): np.random.default_rng(0).random((3, 9)) < 0.7}
    whole, parts = new(masks=masks), new(masks=masks)
    whole.fit(*data, epochs=6, **own)
    parts.fit(*data, epochs=3, checkpoint=tmp_path / "run", **own)
    net = new(masks=masks)
    net.fit(*data, epochs=6, resume=tmp_path / "run", **own)
    np.testing.assert_array_equal(net.parameters, whole.parameters)
    assert all((net.masks[pair] == mask).all() for pair, mask in whole.masks.items())
    assert (whole.parameters == 0).sum() > 10


@pytest.mark.usefixtures("one_batch_a_call")
@pytest.mark.parametrize("every", [1.0, 2.0, 0.5, 0.1])
def test_a_checkpoint_is_written_every_so_many_epochs(data, tmp_path, monkeypatch, every):
    positions = []
    save = checkpoints.serialization.save

    def watched(path, tensors, metadata):
        training = metadata["training"]
        positions.append(len(training["history"]["loss"]) + training["done"] / N)
        save(path, tensors, metadata)

    monkeypatch.setattr(checkpoints.serialization, "save", watched)
    new().fit(*data, epochs=4, batch_size=20, checkpoint=tmp_path / "run", every=every)
    assert positions[-1] == 4  # at the end
    due = every * np.arange(1, round(4 / every) + 1)
    found = np.unique(np.floor(np.array(positions[:-1]) / every + 1e-9))
    assert len(found) == len(positions) - 1  # no place is due twice
    late = np.array(positions[:-1]) - every * found
    assert (late < max(20 / N, 1e-6) + 1e-6).all()
    assert len(found) >= min(len(due), 4 * 11) * 0.9


def test_resume_true_begins_without_a_file_and_returns_a_finished_run(data, tmp_path):
    own = {"epochs": 3, "checkpoint": tmp_path / "run", "resume": True}
    first, net = new(), new(seed=5)
    expected = first.fit(*data, **own)
    again = net.fit(*data, **own)
    assert again.loss == expected.loss
    np.testing.assert_array_equal(net.parameters, first.parameters)
    more = net.fit(*data, **{**own, "epochs": 5})
    assert more.loss[:3] == expected.loss
    assert len(more.loss) == 5


def test_callbacks_go_on(data, tmp_path):
    def callbacks():
        return [
            bp.callbacks.EarlyStopping("loss", patience=2, min_delta=0.0035),
            bp.callbacks.CSVLogger(tmp_path / "log.csv"),
            bp.callbacks.ModelCheckpoint(tmp_path / "best", "loss"),
        ]

    whole = new().fit(*data, epochs=60, callbacks=callbacks())
    rows = (tmp_path / "log.csv").read_text().splitlines()
    best = bp.MLP.load(tmp_path / "best").parameters
    assert 4 < len(whole.loss) < 60
    new().fit(*data, epochs=len(whole.loss) - 1, callbacks=callbacks(), checkpoint=tmp_path / "run")
    net = new()
    history = net.fit(*data, epochs=60, callbacks=callbacks(), resume=tmp_path / "run")
    assert history.loss == whole.loss
    assert history.best_epoch == whole.best_epoch
    again = (tmp_path / "log.csv").read_text().splitlines()
    assert [row.rsplit(",", 1)[0] for row in again] == [row.rsplit(",", 1)[0] for row in rows]
    np.testing.assert_array_equal(bp.MLP.load(tmp_path / "best").parameters, best)
    finished = new().fit(*data, epochs=60, callbacks=callbacks()[:1], resume=tmp_path / "run")
    assert finished.loss == whole.loss


def test_a_learning_rate_that_is_a_function_is_passed_again(data, tmp_path):
    def rate(step):
        return 0.1 / (1 + step)

    own = {"batch_size": 20, "checkpoint": tmp_path / "run"}
    whole = new()
    whole.fit(*data, epochs=4, batch_size=20, optimizer=bp.SGD(rate))
    new().fit(*data, epochs=2, optimizer=bp.SGD(rate), **own)
    with pytest.raises(ValueError, match=r"learning rate of the checkpoint .* is a function, .* pass the optimizer"):
        new().fit(*data, epochs=4, resume=True, **own)
    assert bp.MLP.load(tmp_path / "run").optimizer is None
    net = new()
    net.fit(*data, epochs=4, optimizer=bp.SGD(rate), resume=True, **own)
    np.testing.assert_array_equal(net.parameters, whole.parameters)


@pytest.mark.parametrize(
    ("make", "changed", "kind", "message"),
    [
        (lambda: new(dtype="float32"), {}, ValueError, "checkpoint of another net"),
        (lambda: bp.MLP((3, 8, 1), dtype="float64"), {}, ValueError, "checkpoint of another net"),
        (new, {"batch_size": 30}, ValueError, "with batch_size=20, and cannot go on with batch_size=30"),
        (new, {"shuffle": False}, ValueError, "with shuffle=True, and cannot go on with shuffle=False"),
        (new, {"validation_split": 0.1}, ValueError, "validation_split"),
        (new, {"optimizer": bp.SGD()}, ValueError, "checkpoint of a fit with Adam; got optimizer=SGD"),
        (new, {"resume": "nowhere"}, FileNotFoundError, "nowhere"),
        (new, {"resume": 3}, TypeError, "resume must be the path"),
        (new, {"checkpoint": 3}, TypeError, "checkpoint must be the path"),
        (new, {"checkpoint": None, "resume": True}, ValueError, "resume=True goes on from the file of `checkpoint`"),
        (new, {"checkpoint": "no/where"}, FileNotFoundError, "there is no folder"),
        (new, {"every": 0}, ValueError, "every must be a number greater than 0"),
    ],
)
def test_what_does_not_fit_is_refused(data, tmp_path, make, changed, kind, message):
    path = tmp_path / "run"
    new().fit(*data, epochs=2, batch_size=20, checkpoint=path)
    net = make()
    before = net.parameters
    with pytest.raises(kind, match=message):
        net.fit(*data, **{"epochs": 3, "batch_size": 20, "resume": path, **changed})
    np.testing.assert_array_equal(net.parameters, before)


def test_other_samples_are_refused(data, tmp_path):
    new().fit(*data, epochs=2, checkpoint=tmp_path / "run")
    with pytest.raises(ValueError, match="n_samples=203, and cannot go on with n_samples=100"):
        new().fit(data[0][:100], data[1][:100], resume=tmp_path / "run")


def test_damaged_files_and_other_files_are_refused(data, tmp_path):
    path = tmp_path / "run"
    net = new()
    net.fit(*data, epochs=2, checkpoint=path)
    whole = path.read_bytes()
    for damaged in (whole[: len(whole) // 2], whole[:-1], b"", b"no file of a net"):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="not a net that bpkernel saved, or it is damaged"):
            new().fit(*data, resume=path)
    net.save(path)
    with pytest.raises(ValueError, match="is a net, and no checkpoint"):
        new().fit(*data, resume=path)
    path.write_bytes(whole.replace(b"PCG64", b"evil1"))
    with pytest.raises(ValueError, match="one of NumPy's"):
        new().fit(*data, epochs=3, resume=path)


def test_a_file_that_cannot_be_written_costs_nothing_that_was_learnt(data, tmp_path, monkeypatch):
    def full(*arguments):
        raise OSError("no space left on device")

    net, expected = new(), new()
    expected.fit(*data, epochs=1)
    monkeypatch.setattr(checkpoints.serialization, "write_atomically", full)
    with pytest.raises(OSError, match="no space left"):
        net.fit(*data, epochs=3, checkpoint=tmp_path / "run")
    np.testing.assert_array_equal(net.parameters, expected.parameters)


def test_a_killed_process_goes_on(data, tmp_path):
    program = textwrap.dedent(
        """
        import sys
        import numpy as np
        import bpkernel as bp
        rng = np.random.default_rng(0)
        X = rng.standard_normal((2000, 3))
        net = bp.MLP((3, 9, 5, 1), dtype="float64", random_state=1)
        epochs = int(sys.argv[2])
        path = sys.argv[1] or None
        net.fit(X, np.sin(X[:, 0]), epochs=epochs, batch_size=7, checkpoint=path, every=0.2, resume=path is not None)
        print(net.parameters.tobytes().hex())
        """
    )
    path = tmp_path / "run"

    def start(*arguments):
        return subprocess.Popen([sys.executable, "-c", program, *arguments], stdout=subprocess.PIPE, text=True)

    with start(str(path), "1000000") as killed:
        deadline = time.monotonic() + 120
        while not path.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        killed.send_signal(signal.SIGKILL)
    n_epochs = len(checkpoints.serialization.load(path)[1]["training"]["history"]["loss"]) + 3
    with start(str(path), str(n_epochs)) as resumed, start("", str(n_epochs)) as whole:
        found, expected = resumed.communicate()[0], whole.communicate()[0]
    assert found == expected
    assert len(found) > 100


def test_nothing_in_a_file_is_code(data, tmp_path):
    net = new()
    net.fit(*data, epochs=1, optimizer=bp.AdamW(bp.schedules.Cosine(0.1)), checkpoint=tmp_path / "run")
    training = checkpoints.serialization.load(tmp_path / "run")[1]["training"]
    assert training["optimizer"]["name"] == "AdamW"
    assert training["optimizer"]["settings"]["learning_rate"]["schedule"] == "Cosine"
    for name in ("os.system", "Optimizer", "eval"):
        changed = copy.deepcopy(training["optimizer"]) | {"name": name}
        with pytest.raises((KeyError, ValueError)):
            training_state.optimizer_of(changed)


def test_every_kind_of_state_is_covered():
    kinds = {type(make()) for make in OPTIMIZERS.values()} | {bp.LevenbergMarquardt, bp.LBFGS}
    assert set(training_state.KINDS.values()) == kinds
