"""Floor 5: a net to train, and bpkernel and other libraries as trainers of it.

All have the same data, dtype, mini-batches, optimizer and number of threads, and shuffle; those that are not installed
are left out.
"""

import os
import shutil
import sys
from collections.abc import Callable
from importlib.util import find_spec
from itertools import pairwise
from typing import Any, NamedTuple

import numba
import numpy as np

from bpkernel.activations import HiddenActivation, OutputActivation
from bpkernel.inputs import FloatName
from bpkernel.losses import LossName
from bpkernel.mlp import MLP
from bpkernel.optimizers import SGD, Adam

LEARNING_RATE = 1e-3


class Case(NamedTuple):
    """A net to train; kind "classes" is a softmax under cross-entropy, "numbers" the identity under squared error."""

    sizes: tuple[int, ...]
    batch: int
    dtype: FloatName
    kind: str
    activation: HiddenActivation = "relu"
    optimizer: str = "adam"

    @property
    def weights(self) -> int:
        """Without the biases."""
        return sum(n_in * n_out for n_in, n_out in pairwise(self.sizes))

    @property
    def flops(self) -> int:
        """Of a training step, for each sample: 2 a weight forward, 2 for its gradient, 2 for δ but in the first layer."""
        return 6 * self.weights - 2 * self.sizes[0] * self.sizes[1]

    @property
    def name(self) -> str:
        """As the tables have it."""
        kind = "f32" if self.dtype == "float32" else "f64"
        return f"{'-'.join(map(str, self.sizes))}, batch {self.batch}, {kind}, {self.activation}"

    @property
    def n_samples(self) -> int:
        """Of the data: whole mini-batches, 32 at least, so that what a call of `fit` costs once is spread, and at most 1000."""
        return min(max(int(2e8 / (self.flops * self.batch)), 32), 1000) * self.batch

    def data(self) -> tuple[np.ndarray, np.ndarray]:
        """Inputs (n_samples, n_in), and class indices (n_samples,) or targets (n_samples, n_out)."""
        rng = np.random.default_rng(0)
        X = rng.standard_normal((self.n_samples, self.sizes[0])).astype(self.dtype)
        if self.kind == "classes":
            return X, rng.integers(0, self.sizes[-1], self.n_samples)
        return X, rng.standard_normal((self.n_samples, self.sizes[-1])).astype(self.dtype)


class Trainer(NamedTuple):
    """What is timed: training so many epochs, and the loss of all samples, forward only."""

    train: Callable[[int], None]
    forward: Callable[[], None]


def with_bpkernel(case: Case, n_threads: int) -> Trainer:
    """`MLP.fit` and `MLP.loss`."""
    X, T = case.data()
    output: OutputActivation
    loss: LossName
    output, loss = ("softmax", "cross_entropy") if case.kind == "classes" else ("identity", "squared_error")
    net = MLP(case.sizes, case.activation, output, loss, dtype=case.dtype, random_state=0)
    optimizer = Adam(LEARNING_RATE) if case.optimizer == "adam" else SGD(LEARNING_RATE)

    def train(epochs: int) -> None:
        numba.set_num_threads(n_threads)
        net.fit(X, T, epochs=epochs, batch_size=case.batch, optimizer=optimizer)

    def forward() -> None:
        numba.set_num_threads(n_threads)
        net.loss(X, T)

    return Trainer(train, forward)


def with_sklearn(case: Case, n_threads: int) -> Trainer:
    """scikit-learn's own estimators; forward is `predict` of a mini-batch after the other."""
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from threadpoolctl import threadpool_limits

    X, T = case.data()
    T = T.ravel() if case.sizes[-1] == 1 else T
    net = (MLPClassifier if case.kind == "classes" else MLPRegressor)(
        hidden_layer_sizes=case.sizes[1:-1],
        activation=case.activation,
        solver=case.optimizer,
        alpha=0.0,
        batch_size=case.batch,
        learning_rate_init=LEARNING_RATE,
        n_iter_no_change=10**6,
        momentum=0.0,
        warm_start=True,  # weights are not drawn anew for every fit
        random_state=0,
    )

    threadpool_limits(n_threads)  # from here on: entering and leaving it takes milliseconds

    def train(epochs: int) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            net.set_params(max_iter=epochs).fit(X, T)

    def forward() -> None:
        for n in range(0, len(X), case.batch):
            net.predict(X[n : n + case.batch])

    return Trainer(train, forward)


def with_torch(case: Case, n_threads: int, compiled: bool = False) -> Trainer:
    """PyTorch with its fused optimizers, eager or with the loss compiled by `torch.compile`."""
    import torch

    torch.set_num_threads(n_threads)
    torch.manual_seed(0)
    X, T = (torch.as_tensor(array) for array in case.data())
    layers: list[Any] = []
    for n_in, n_out in pairwise(case.sizes):
        g = torch.nn.ReLU() if case.activation == "relu" else torch.nn.Tanh()
        layers += [torch.nn.Linear(n_in, n_out, dtype=getattr(torch, case.dtype)), g]
    net = torch.nn.Sequential(*layers[:-1])
    kind = torch.optim.Adam if case.optimizer == "adam" else torch.optim.SGD
    optimizer = kind(net.parameters(), lr=LEARNING_RATE, fused=True)
    loss = torch.nn.CrossEntropyLoss() if case.kind == "classes" else torch.nn.MSELoss()

    def error(rows: Any) -> Any:
        return loss(net(X[rows]), T[rows])

    if compiled:
        torch.compiler.reset()  # else the shapes of other nets are remembered, and after eight nets it gives up
        error = torch.compile(error, dynamic=False)

    def train(epochs: int) -> None:
        for _ in range(epochs):
            for rows in torch.randperm(len(X)).split(case.batch):
                optimizer.zero_grad(set_to_none=True)
                error(rows).backward()
                optimizer.step()

    def forward() -> None:
        with torch.inference_mode():
            for rows in torch.arange(len(X)).split(case.batch):
                error(rows)

    return Trainer(train, forward)


def with_compiled_torch(case: Case, n_threads: int) -> Trainer:
    """PyTorch, compiled; a C++ compiler is needed, and half a minute for each net."""
    return with_torch(case, n_threads, compiled=True)


def with_jax(case: Case, n_threads: int) -> Trainer:
    """A whole epoch compiled as one `lax.scan`, on as many threads as JAX finds processors."""
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)
    X, T = (jnp.asarray(array) for array in case.data())
    rng, real = np.random.default_rng(0), np.dtype(case.dtype).type
    params = [
        (jnp.asarray(rng.uniform(-1, 1, pair) * np.sqrt(6 / sum(pair)), real), jnp.zeros(pair[1], real))
        for pair in pairwise(case.sizes)
    ]
    activation = jax.nn.relu if case.activation == "relu" else jnp.tanh

    def error(params: Any, rows: Any) -> Any:
        x, t = X[rows], T[rows]
        for w, b in params[:-1]:
            x = activation(x @ w + b)
        y = x @ params[-1][0] + params[-1][1]
        if case.kind == "classes":
            return -jnp.take_along_axis(jax.nn.log_softmax(y), t[:, None], axis=1).mean()
        return 0.5 * ((y - t) ** 2).sum(axis=1).mean()

    def adam(state: Any, g: Any) -> Any:
        params, m, v, step = state
        step += 1
        m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, g)
        v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, g)
        rate = LEARNING_RATE * jnp.sqrt(1 - 0.999**step) / (1 - 0.9**step)
        return jax.tree.map(lambda p, m, v: p - rate * m / (jnp.sqrt(v) + real(1e-8)), params, m, v), m, v, step

    def sgd(state: Any, g: Any) -> Any:
        return (jax.tree.map(lambda p, g: p - real(LEARNING_RATE) * g, state[0], g), *state[1:])

    def step(state: Any, rows: Any) -> Any:
        e, g = jax.value_and_grad(error)(state[0], rows)
        return (adam if case.optimizer == "adam" else sgd)(state, g), e

    epoch = jax.jit(lambda state, rows: jax.lax.scan(step, state, rows))
    errors = jax.jit(lambda params, rows: jax.lax.map(lambda batch: error(params, batch), rows))
    nothing = jax.tree.map(jnp.zeros_like, params)
    state = params, nothing, nothing, jnp.zeros((), real)

    def train(epochs: int) -> None:
        nonlocal state
        for _ in range(epochs):
            state, e = epoch(state, jnp.asarray(rng.permutation(len(X)).reshape(-1, case.batch)))
        e.block_until_ready()

    def forward() -> None:
        errors(state[0], jnp.arange(len(X)).reshape(-1, case.batch)).block_until_ready()

    return Trainer(train, forward)


TRAINERS: dict[str, Callable[[Case, int], Trainer]] = {
    "bpkernel": with_bpkernel,
    "scikit-learn": with_sklearn,
    "PyTorch": with_torch,
    "PyTorch compiled": with_compiled_torch,
    "JAX": with_jax,
}
MODULES = {"scikit-learn": "sklearn", "PyTorch": "torch", "PyTorch compiled": "torch", "JAX": "jax"}


def installed() -> list[str]:
    """The trainers that there are on this machine; PyTorch compiles with a C++ compiler."""
    names = [name for name in TRAINERS if name not in MODULES or find_spec(MODULES[name])]
    compiler = os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")
    return [name for name in names if name != "PyTorch compiled" or shutil.which(compiler)]
