"""Digests of what 30 nets compute, to see whether two commits give the same bits on one machine.

    python -m asv_benchmarks.bits > before.txt      # on the one commit
    python -m asv_benchmarks.bits | diff before.txt -      # on the other

A line is a digest and the net it belongs to.  The digest covers the trained weights, the loss of every epoch, δ, the
gradients and the outputs.  Only the public API is used, so that any commit can be compared.
"""

import hashlib
from typing import Any, NamedTuple

import numba
import numpy as np

import bpkernel as bp

N_NETS = 30
EPOCHS = 5
SIZES = [
    (2, 8, 1),
    (4, 16, 3),
    (5, 3),
    (64, 100, 10),
    (30, 64, 64, 1),
    (13, 31, 7),
    (1, 1, 1),
    (9, 17, 33, 65, 2),
    (90, 200, 150, 3),
    (784, 128, 10),
    (200, 1009, 11),
    (128, 256, 256, 16),
    (17, 7, 31, 16),
    (300, 300, 300, 300),
    (1024, 1024, 24),
]
BATCHES = [1, 2, 7, 8, 13, 32, 50, 128, 140, 200, 256, 512, 333, 64, 5]
PAIRS = [
    ("identity", "squared_error"),
    ("softmax", "cross_entropy"),
    ("logistic", "binary_cross_entropy"),
    ("exp", "poisson"),
    ("tanh", "squared_error"),
    ("logistic", "squared_error"),
    ("softmax", "squared_error"),
    ("logistic", "poisson"),
]
HIDDEN = ["relu", "tanh", "logistic", "identity"]
OPTIMIZERS = [
    lambda: bp.Adam(0.002),
    lambda: bp.SGD(0.002),
    lambda: bp.SGD(0.001, momentum=0.9),
    lambda: bp.SGD(0.001, momentum=0.9, nesterov=True),
]


class Setting(NamedTuple):
    """A net and how it is trained."""

    number: int
    sizes: tuple[int, ...]
    batch: int
    dtype: str
    dtype_of_X: str
    hidden: str
    output: str
    loss: str
    optimizer: Any
    weighted: bool
    alpha: float

    def __str__(self) -> str:
        sizes, weighted = "-".join(map(str, self.sizes)), "weighted " if self.weighted else ""
        functions = f"{self.hidden} {self.output} {self.loss}"
        return (
            f"{self.number:2} {sizes} batch {self.batch} {self.dtype} {functions} {self.optimizer} {weighted}alpha {self.alpha}"
        )


def setting(n: int) -> Setting:
    """Setting n: each list is cycled with another period, so that the combinations vary."""
    dtypes, repetition = ("float32", "float64"), n // len(SIZES)
    return Setting(
        n,
        SIZES[n % len(SIZES)],
        BATCHES[(4 * n + 7 * repetition) % len(BATCHES)],
        dtypes[(n + repetition) % 2],
        dtypes[n // 5 % 2],
        HIDDEN[n // 2 % len(HIDDEN)],
        *PAIRS[n % len(PAIRS)],
        OPTIMIZERS[n // 3 % len(OPTIMIZERS)](),
        n % 3 == 1,
        0.01 if n % 4 == 2 else 0.0,
    )


def digest(s: Setting) -> str:
    """Train a net, and return the digest of all that it computes."""
    rng, n = np.random.default_rng(s.number), min(max(2 * s.batch + 11, 60), 700)
    X = (0.3 * rng.standard_normal((n, s.sizes[0]))).astype(s.dtype_of_X)
    if s.loss == "cross_entropy":
        T = rng.integers(0, s.sizes[-1], n)
    elif s.loss in ("binary_cross_entropy", "poisson"):
        T = rng.uniform(0, 1, (n, s.sizes[-1]))
    else:
        T = rng.standard_normal((n, s.sizes[-1]))
    weight = rng.uniform(0.5, 2, n) if s.weighted else None
    net = bp.MLP(s.sizes, s.hidden, s.output, s.loss, dtype=s.dtype, random_state=s.number)
    history = net.fit(X, T, epochs=EPOCHS, batch_size=s.batch, optimizer=s.optimizer, sample_weight=weight, alpha=s.alpha)
    r = net.backprop(X[:23], T[:23])
    sha = hashlib.sha256()
    for array in (*net.weights, *net.biases, np.array(history.loss), *r.delta, *r.dw, *r.db, net.predict(X)):
        sha.update(np.ascontiguousarray(array).tobytes())
    return sha.hexdigest()[:16]


def main() -> None:
    """Print the digests; the number of threads varies too, since results do not depend on it."""
    for n in range(N_NETS):
        numba.set_num_threads(1 + n % numba.config.NUMBA_NUM_THREADS)
        s = setting(n)
        print(digest(s), s, flush=True)


if __name__ == "__main__":
    main()
