"""The type hints: `mypy --strict` accepts correct programs and finds mistakes in others."""

import shutil
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

import bpkernel as bp
from bpkernel import validation
from bpkernel.functions import activations, losses

CORRECT = """
import numpy as np
import bpkernel as bp

net: bp.MLP = bp.MLP((2, 3, 2), "relu", output_activation="softmax", loss="cross_entropy", dtype="float64", random_state=0)
bp.MLP([2, 3, 3, 1], activation=["tanh", "logistic"], output_activation="exp", loss="poisson", dtype=np.float32)
bp.MLP((2, 1), loss="binary_cross_entropy", output_activation="logistic", dtype=np.dtype(np.float64))
bp.MLP(net.layer_sizes, net.activation, net.output_activation, net.loss_name, net.dtype, np.random.default_rng(0))
X, T = np.eye(2), np.eye(2)
bp.MLP((2, 1), dtype=X.dtype)


def low_enough(history: bp.History) -> bool:
    return history.loss[-1] < 0.1


optimizers: list[bp.SGD | bp.Adam | bp.LevenbergMarquardt | bp.LBFGS] = [
    *(bp.SGD(0.1, momentum=0.9, nesterov=True), bp.Adam(learning_rate=0.01)),
    *(bp.LevenbergMarquardt(damping=0.1), bp.LBFGS(history_size=5)),
]
for optimizer in optimizers:
    history: bp.History = net.fit(X, T, epochs=2, optimizer=optimizer, validation_data=(X, T), callback=low_enough)
result: bp.Backprop = net.backprop(X, T)
error: float = result.error + net.loss(X, T)
normalised = bp.MLP((2, 3, 3, 1), layer_norm=[True, False])
norms: tuple[np.ndarray, ...] = normalised.gains + normalised.shifts + normalised.backprop(X, T[:, 0]).dgains
weights: tuple[np.ndarray, ...] = net.weights + net.biases
net.as_njit()(X[0], T[0])
classifier = bp.MLPClassifier(hidden_layer_sizes=(3,)).partial_fit(X, [0, 1], classes=[0, 1])
regressor = bp.MLPRegressor.from_sklearn(bp.MLPRegressor())
with bp.sklearn.patch():
    pass
own = bp.Activation(g=lambda a: a, g_prime=lambda a, z: 1.0, name="own")
losses: list[bp.Loss | bp.Huber | bp.Quantile | bp.Tweedie | bp.Focal | bp.BinaryFocal] = [
    bp.Loss(error=lambda y, t: (y - t) ** 2, slope=lambda y, t: 2 * (y - t), name="own"),
    *(bp.Huber(2.0), bp.Quantile(0.1, 0.9), bp.Tweedie(1.6)),
]
masks = {(0, 1): np.ones((2, 3), bool)}
graph = bp.MLP((2, 3, 2), [bp.LeakyReLU(0.1)], own, losses[0], connections="all", masks=masks, init="he_normal")
bp.MLP((2, 3, 2), bp.ELU(2.0), connections=[(0, 1), (1, 2)]).prune(0.5)
pairs: tuple[tuple[int, int], ...] = graph.connections
bp.MLP.from_edges([("x", "y")], inputs=["x"], outputs=["y"], loss="huber")
bp.Focal(1.0), bp.BinaryFocal(1.0)
net.parameters = 2 * net.parameters
H: np.ndarray = net.hessian(X, T) @ net.hvp(X, T, net.parameters)
mean, variance = net.gradient_moments(X, T)
check: bp.GradientCheck = bp.check_gradients(net, X, T)
posterior: bp.LaplacePosterior = net.laplace(X, T, structure="layer")
net.fit(X, T, callback=bp.LayerStatistics(net, X, T))
net.fit(X, T, optimizer="lion", callbacks=[bp.callbacks.EarlyStopping("loss", 3), lambda run: run.epoch > 2], monitor="loss")
net.fit(X, T, epochs=3, optimizer=bp.AdamW(bp.schedules.Cosine(0.01)), checkpoint="run", resume=True, clip_norm=1.0)
bp.SGD(lambda step: 0.1), bp.RMSprop(0.1), bp.Adagrad(0.1), bp.NAdam(0.1), bp.Lion(1e-4, weight_decay=0.1)
many: bp.Ensemble = bp.train_many([{"alpha": 0.1}, {"alpha": 1.0}], X, T, layer_sizes=(2, 3, 2), progress=True)
best: bp.MLP = many[many.best("loss")]
many.save("nets", {"note": 1})
again: bp.Ensemble = bp.Ensemble.load("nets")
net.dropout, net.input_dropout = 0.1, 0.2
bp.Activation(lambda a: a, lambda a, z: 1.0, "other", g_second=lambda a, z: 0.0)
tiny: float = bp.reference.TINY
version: str = bp.__version__
"""

# a line of a program: what mypy finds in it
MISTAKES = {
    "bp.MPL((2, 1))": "attr-defined",
    "bp.missing": "attr-defined",
    "net.weight": "attr-defined",
    "net.fit([[0, 0]], [0]).losses": "attr-defined",
    "bp.MLP((2, 1), activation='reul')": "arg-type",
    "bp.MLP((2, 1), activation='softmax')": "arg-type",
    "bp.MLP((2, 3, 1), activation=['reul'])": "list-item",
    "bp.MLP((2, 1), output_activation='sofmax')": "arg-type",
    "bp.MLP((2, 1), loss='sqared_error')": "arg-type",
    "bp.MLP((2, 1), dtype='float16')": "arg-type",
    "bp.MLP((2, 1), dtype=np.float16)": "arg-type",
    "bp.MLP((2, 1), dtype=np.dtype(np.int64))": "arg-type",
    "bp.MLP((2, 1), activaton='relu')": "call-arg",
    "bp.Adam(rate=0.1)": "call-arg",
    "bp.LevenbergMarquardt(mu=0.1)": "call-arg",
    "net.laplace([[0, 0]], [0], structure='kron')": "arg-type",
    "bp.MLP((2, 1), init='he')": "arg-type",
    "bp.MLP((2, 1), loss=bp.LeakyReLU())": "arg-type",
    "bp.MLP((2, 3, 1), activation=bp.Huber())": "arg-type",
    "bp.Activation(lambda a: a, 1.0, name='mine')": "arg-type",
}
BEFORE = "import numpy as np\nimport bpkernel as bp\nnet = bp.MLP((2, 1))\n"


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """The errors that mypy finds in the correct program (None) and in each of the others, as text."""
    mypy = pytest.importorskip("mypy.api")
    folder = tmp_path_factory.mktemp("programs")
    shutil.copytree(Path(bp.__file__).parent, folder / "bpkernel", ignore=shutil.ignore_patterns("__pycache__"))
    programs = {None: CORRECT} | {line: f"{BEFORE}{line}\n" for line in MISTAKES}
    paths = {line: folder / f"program_{i}.py" for i, line in enumerate(programs)}
    for line, program in programs.items():
        paths[line].write_text(program)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)  # where mypy looks for the package first
        options = ["--strict", "--config-file=", "--follow-imports=silent", f"--cache-dir={folder / 'cache'}"]
        output, wrong, _ = mypy.run([*options, *map(str, paths.values())])
    assert not wrong
    errors = [line for line in output.splitlines() if ": error:" in line]
    return {line: "\n".join(error for error in errors if path.name in error) for line, path in paths.items()}


def test_a_correct_program_with_every_public_name_is_accepted(found):
    assert [name for name in bp.__all__ if f"bp.{name}" not in CORRECT] == []
    assert found[None] == ""


def test_the_correct_program_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(CORRECT, {})


@pytest.mark.parametrize("line", MISTAKES)
def test_a_mistake_is_found(found, line):
    assert len(found[line].splitlines()) == 1, found[line]
    assert f":{len(BEFORE.splitlines()) + 1}: error:" in found[line]
    assert f"[{MISTAKES[line]}]" in found[line]


def test_the_names_in_the_types_are_those_of_the_tables():
    assert get_args(activations.HiddenActivation) == activations.HIDDEN
    assert get_args(activations.OutputActivation) == tuple(activations.BY_NAME)
    assert get_args(losses.LossName) == tuple(losses.BY_NAME)
    assert tuple(map(np.dtype, get_args(validation.FloatName))) == validation.EITHER
