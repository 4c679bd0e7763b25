"""The nets whose training is timed, by the suite and in the comparison with other libraries.

A row is (layer sizes, batch size, dtype, kind of problem, hidden activation).  Kind "classes" is softmax with cross-entropy,
"numbers" is identity with squared error; the optimizer is Adam.  This module does not use `bpkernel.cli.peers.Workload` or
`bpkernel.kernels.layout.chain_flops`, because the suite also runs on older commits, which do not have them.
"""

from itertools import pairwise
from typing import Any

import numba
import numpy as np

import bpkernel as bp

Row = tuple[tuple[int, ...], int, str, str, str]

NETS: list[Row] = [
    ((2, 8, 1), 1, "float32", "numbers", "relu"),
    ((4, 16, 3), 32, "float32", "classes", "relu"),
    ((64, 100, 10), 200, "float32", "classes", "relu"),
    ((64, 100, 10), 200, "float64", "classes", "relu"),
    ((30, 64, 64, 1), 128, "float32", "numbers", "relu"),
    ((784, 128, 10), 128, "float32", "classes", "relu"),
    ((784, 512, 512, 10), 256, "float32", "classes", "relu"),
    ((1024, 1024, 1024, 1024), 512, "float32", "numbers", "relu"),
    ((512, 512, 512, 512), 256, "float64", "numbers", "relu"),
    ((64, 100, 10), 200, "float32", "classes", "tanh"),
    ((784, 512, 512, 10), 256, "float32", "classes", "tanh"),
    ((707, 707, 707), 128, "float32", "numbers", "relu"),
    ((2236, 2236, 2236), 128, "float32", "numbers", "relu"),
]


def label(row: Row) -> str:
    """The name of a net in results."""
    sizes, batch_size, dtype, _, activation = row
    return f"{'-'.join(map(str, sizes))} batch {batch_size} {dtype} {activation}"


BY_LABEL = {label(row): row for row in NETS}


def flops(row: Row) -> int:
    """Floating-point operations of a training step for each sample, biases not counted.

    4 for each weight of the first layer, which needs no δ of the inputs, and 6 for each other weight.
    """
    weights = [n_in * n_out for n_in, n_out in pairwise(row[0])]
    return 4 * weights[0] + 6 * sum(weights[1:])


def net(row: Row, **settings: Any) -> bp.MLP:
    """The net, always with the same weights; settings: further arguments of `MLP`."""
    numba.get_num_threads()  # starts the threading layer, without which early commits fail if they load kernels from the cache
    sizes, _, dtype, kind, activation = row
    output, loss = ("softmax", "cross_entropy") if kind == "classes" else ("identity", "squared_error")
    return bp.MLP(sizes, activation, output, loss, dtype=dtype, random_state=0, **settings)


def data(row: Row, n_samples: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Inputs, and class indices or rows of targets, for whole mini-batches: more of them for small nets."""
    sizes, batch_size, dtype, kind, _ = row
    if n_samples is None:
        n_samples = batch_size * min(max(int(2e8 / (flops(row) * batch_size)), 4), 1000)
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n_samples, sizes[0])).astype(dtype)
    if kind == "classes":
        return X, rng.integers(0, sizes[-1], n_samples)
    return X, rng.standard_normal((n_samples, sizes[-1])).astype(dtype)
