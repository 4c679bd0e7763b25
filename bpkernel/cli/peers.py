"""A workload, and bpkernel and its peers: libraries that train the same net on the same data.

All use the same dtype, mini-batch size and optimizer, and shuffle the samples.  All use the same number of threads, except for
JAX, which starts one thread for each processor.
"""

import os
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from itertools import pairwise
from typing import Any, NamedTuple, Protocol

import numba
import numpy as np

from bpkernel.functions.activations import HiddenActivation, OutputActivation
from bpkernel.functions.losses import LossName
from bpkernel.functions.optimizers import Adam
from bpkernel.kernels.layout import chain_flops
from bpkernel.mlp import MLP
from bpkernel.validation import FloatName

LEARNING_RATE = 1e-3


class Workload(NamedTuple):
    """A net to train.  Kind "classes" is softmax with cross-entropy, "numbers" is identity with squared error."""

    sizes: tuple[int, ...]
    batch: int
    dtype: FloatName
    kind: str
    activation: HiddenActivation = "relu"

    @property
    def weights(self) -> int:
        """Number of weights, without biases."""
        return sum(n_in * n_out for n_in, n_out in pairwise(self.sizes))

    @property
    def flops(self) -> int:
        """Floating-point operations of a training step for each sample."""
        return chain_flops(self.sizes)

    @property
    def name(self) -> str:
        """Name in tables."""
        dtype = "f32" if self.dtype == "float32" else "f64"
        return f"{'-'.join(map(str, self.sizes))}, batch {self.batch}, {dtype}, {self.activation}"

    @property
    def n_samples(self) -> int:
        """Samples of the data: 32 to 1000 whole mini-batches, so that the fixed cost of a call of `fit` is spread over many."""
        return min(max(int(2e8 / (self.flops * self.batch)), 32), 1000) * self.batch

    def data(self) -> tuple[np.ndarray, np.ndarray]:
        """Inputs (n_samples, n_in), and class indices (n_samples,) or targets (n_samples, n_out)."""
        rng = np.random.default_rng(0)
        X = rng.standard_normal((self.n_samples, self.sizes[0])).astype(self.dtype)
        if self.kind == "classes":
            return X, rng.integers(0, self.sizes[-1], self.n_samples)
        return X, rng.standard_normal((self.n_samples, self.sizes[-1])).astype(self.dtype)


class Peer(Protocol):
    """A library with a workload to train."""

    def train(self, epochs: int) -> None:
        """Continue training."""


class Bpkernel:
    """`MLP.fit`."""

    def __init__(self, workload: Workload, n_threads: int):
        self.batch, self.n_threads = workload.batch, n_threads
        self.X, self.T = workload.data()
        output: OutputActivation
        loss: LossName
        output, loss = ("softmax", "cross_entropy") if workload.kind == "classes" else ("identity", "squared_error")
        self.net = MLP(workload.sizes, workload.activation, output, loss, dtype=workload.dtype, random_state=0)
        self.optimizer: Any = Adam(LEARNING_RATE)

    def train(self, epochs: int) -> None:
        numba.set_num_threads(self.n_threads)
        self.net.fit(self.X, self.T, epochs=epochs, batch_size=self.batch, optimizer=self.optimizer)


class ScikitLearn:
    """scikit-learn's own estimators."""

    def __init__(self, workload: Workload, n_threads: int):
        from sklearn.neural_network import MLPClassifier, MLPRegressor
        from threadpoolctl import threadpool_limits

        self.batch = workload.batch
        self.X, T = workload.data()
        self.T = T.ravel() if workload.sizes[-1] == 1 else T
        self.net = (MLPClassifier if workload.kind == "classes" else MLPRegressor)(
            hidden_layer_sizes=workload.sizes[1:-1],
            activation=workload.activation,
            alpha=0.0,
            batch_size=workload.batch,
            learning_rate_init=LEARNING_RATE,
            n_iter_no_change=10**6,
            warm_start=True,  # `fit` continues from the present weights
            random_state=0,
        )
        threadpool_limits(n_threads)  # for the rest of the process, as entering and leaving it takes milliseconds

    def train(self, epochs: int) -> None:
        from sklearn.exceptions import ConvergenceWarning

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            self.net.set_params(max_iter=epochs).fit(self.X, self.T)


class PyTorch:
    """PyTorch in eager mode, with its fused optimizer."""

    def __init__(self, workload: Workload, n_threads: int):
        import torch

        torch.set_num_threads(n_threads)
        torch.manual_seed(0)
        self.batch = workload.batch
        self.X, self.T = (torch.as_tensor(array) for array in workload.data())
        g = torch.nn.ReLU if workload.activation == "relu" else torch.nn.Tanh
        layers: list[Any] = []
        for n_in, n_out in pairwise(workload.sizes):
            layers += [torch.nn.Linear(n_in, n_out, dtype=getattr(torch, workload.dtype)), g()]
        self.net = torch.nn.Sequential(*layers[:-1])
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=LEARNING_RATE, fused=True)
        self.loss = torch.nn.CrossEntropyLoss() if workload.kind == "classes" else torch.nn.MSELoss()

    def error(self, rows: Any) -> Any:
        """Mean error of a mini-batch."""
        return self.loss(self.net(self.X[rows]), self.T[rows])

    def train(self, epochs: int) -> None:
        import torch

        for _ in range(epochs):
            for rows in torch.randperm(len(self.X)).split(self.batch):
                self.optimizer.zero_grad(set_to_none=True)
                self.error(rows).backward()
                self.optimizer.step()


class Jax:
    """JAX, with a whole epoch compiled as one `lax.scan`."""

    def __init__(self, workload: Workload, n_threads: int):
        os.environ.setdefault("JAX_PLATFORMS", "cpu")
        import jax
        import jax.numpy as jnp

        jax.config.update("jax_enable_x64", True)
        self.batch, self.rng = workload.batch, np.random.default_rng(0)
        X, T = (jnp.asarray(array) for array in workload.data())
        self.n_samples, real = len(X), np.dtype(workload.dtype).type
        params = [
            (jnp.asarray(self.rng.uniform(-1, 1, pair) * np.sqrt(6 / sum(pair)), real), jnp.zeros(pair[1], real))
            for pair in pairwise(workload.sizes)
        ]
        activation = jax.nn.relu if workload.activation == "relu" else jnp.tanh

        def error(params: Any, rows: Any) -> Any:
            """Mean error of a mini-batch."""
            x, t = X[rows], T[rows]
            for w, b in params[:-1]:
                x = activation(x @ w + b)
            y = x @ params[-1][0] + params[-1][1]
            if workload.kind == "classes":
                return -jnp.take_along_axis(jax.nn.log_softmax(y), t[:, None], axis=1).mean()
            return 0.5 * ((y - t) ** 2).sum(axis=1).mean()

        self.start(params, error)

    def start(self, params: Any, error: Callable[[Any, Any], Any]) -> None:
        """Begin with some weights; `error(params, rows)` is the mean error of a mini-batch."""
        import jax
        import jax.numpy as jnp

        real = jax.tree.leaves(params)[0].dtype.type

        def step(state: Any, rows: Any) -> Any:
            """A step of Adam."""
            params, m, v, t = state
            t += 1
            e, g = jax.value_and_grad(error)(params, rows)
            m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, g)
            v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, g)
            rate = LEARNING_RATE * jnp.sqrt(1 - 0.999**t) / (1 - 0.9**t)
            return (jax.tree.map(lambda p, m, v: p - rate * m / (jnp.sqrt(v) + real(1e-8)), params, m, v), m, v, t), e

        self.error = error
        self.epoch = jax.jit(lambda state, rows: jax.lax.scan(step, state, rows))
        none = jax.tree.map(jnp.zeros_like, params)
        self.state: Any = params, none, none, jnp.zeros((), real)

    def train(self, epochs: int) -> None:
        import jax.numpy as jnp

        for _ in range(epochs):
            rows = jnp.asarray(self.rng.permutation(self.n_samples).reshape(-1, self.batch))
            self.state, e = self.epoch(self.state, rows)
        e.block_until_ready()


PEERS: dict[str, Callable[[Workload, int], Peer]] = {
    "bpkernel": Bpkernel,
    "scikit-learn": ScikitLearn,
    "PyTorch": PyTorch,
    "JAX": Jax,
}
MODULES = {"bpkernel": "bpkernel", "scikit-learn": "sklearn", "PyTorch": "torch", "JAX": "jax"}


def installed() -> list[str]:
    """Names of the peers that are installed."""
    return [name for name in PEERS if find_spec(MODULES[name])]
