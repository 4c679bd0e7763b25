"""Training speed relative to the peak of the machine and to the reference in plain Python, measured in turn."""

import time

import numba
import numpy as np

import bpkernel as bp
from bpkernel import reference

from .internals import find
from .nets import BY_LABEL, data, flops, net


def seconds(call):
    """Seconds of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


class BesidePeak:
    """Training speed as a share of the peak: the fused multiply-adds that the same number of cores can do."""

    params = (
        [
            "64-100-10 batch 200 float32 relu",
            "784-512-512-10 batch 256 float32 relu",
            "1024-1024-1024-1024 batch 512 float32 relu",
            "512-512-512-512 batch 256 float64 relu",
        ],
    )
    param_names = ("net",)
    turns, work = 7, 5e9  # rounds, and the least number of flops in a round
    version = "b769d3a4de9faf2ed9cbe488ea7ee48bdaf31baf366f3204a068f4d3f2797dcb"  # that of the recorded results

    def setup(self, label):
        peak = find("peak", "bpkernel.cli.bench", "bpkernel.bench")
        row = BY_LABEL[label]
        mlp, (X, T), optimizer = net(row), data(row), bp.Adam()
        epochs = max(1, round(self.work / (flops(row) * len(X))))
        self.flops = epochs * flops(row) * len(X)
        self.fit = lambda: mlp.fit(X, T, epochs=epochs, batch_size=row[1], optimizer=optimizer)
        self.peak = peak(row[2], numba.get_num_threads())
        self.fit()
        self.peak()

    def track_share(self, label):
        shares = [self.flops / seconds(self.fit) / max(self.peak(), self.peak()) for _ in range(self.turns)]
        return round(100 * float(np.median(shares)), 1)

    track_share.unit = "%"


class BesideReference:
    """Speed-up of a forward and backward pass of a mini-batch over the reference."""

    turns = 3

    def setup(self):
        row = BY_LABEL["30-64-64-1 batch 128 float32 relu"]
        mlp, (X, T) = net(row), data(row, n_samples=row[1])
        names = (*mlp.activation, mlp.output_activation)
        rows = [np.vstack([b, w]).astype(float).tolist() for w, b in zip(mlp.weights, mlp.biases, strict=True)]
        layers, x, t = list(zip(rows, names, strict=True)), X.tolist(), T.tolist()
        self.ours = lambda: mlp.backprop(X, T)
        self.theirs = lambda: reference.batch_gradient(layers, "squared_error", x, t, [1.0] * len(x))
        self.ours()

    def track_ratio(self):
        ratios = [seconds(self.theirs) / np.median([seconds(self.ours) for _ in range(300)]) for _ in range(self.turns)]
        return round(float(np.median(ratios)))

    track_ratio.unit = "times as fast"
