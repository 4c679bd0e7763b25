"""Training: the time of an epoch and of a mini-batch, and the number of epochs to a given loss."""

import bpkernel as bp

from .fastest import Fastest
from .nets import BY_LABEL, data, net


class Epoch(Fastest):
    """An epoch of each net, with Adam and shuffling."""

    params = (list(BY_LABEL),)
    param_names = ("net",)

    def setup(self, label):
        if hasattr(self, "fit"):  # asv comes here before every sample; each process has one net
            return
        row = BY_LABEL[label]
        mlp, (X, T), optimizer = net(row), data(row), bp.Adam()
        self.fit = lambda: mlp.fit(X, T, epochs=1, batch_size=row[1], optimizer=optimizer)
        self.fit()

    def time_epoch(self, label):
        self.run(self.fit)


class Regularised(Fastest):
    """An epoch with AdamW, dropout, a cosine schedule and a limit of the gradient's norm, and one with normalised layers."""

    params = (["64-100-10 batch 200 float32 relu", "784-512-512-10 batch 256 float32 relu"], ["regularised", "layer norm"])
    param_names = ("net", "training")

    def setup(self, label, training):
        if hasattr(self, "fit"):
            return
        row, layer_norm = BY_LABEL[label], training == "layer norm"
        mlp, (X, T) = net(row, **({"layer_norm": True} if layer_norm else {"dropout": 0.2})), data(row)
        optimizer = bp.Adam() if layer_norm else bp.AdamW(bp.schedules.Cosine(1e-3, n_steps=10**6))
        clip_norm = None if layer_norm else 1.0
        self.fit = lambda: mlp.fit(X, T, epochs=1, batch_size=row[1], optimizer=optimizer, clip_norm=clip_norm)
        self.fit()

    def time_epoch(self, label, training):
        self.run(self.fit)


class MiniBatch(Fastest):
    """A single mini-batch: a training step, and `backprop`, which returns every a, z, δ and gradient."""

    params = (["2-8-1 batch 1 float32 relu", "64-100-10 batch 200 float32 relu", "784-512-512-10 batch 256 float32 relu"],)
    param_names = ("net",)

    def setup(self, label):
        if hasattr(self, "step"):
            return
        row = BY_LABEL[label]
        mlp, (X, T), optimizer = net(row), data(row, n_samples=row[1]), bp.Adam()
        self.step = lambda: mlp.fit(X, T, epochs=1, batch_size=len(X), optimizer=optimizer)
        self.backprop = lambda: mlp.backprop(X, T)
        self.step()
        self.backprop()

    def time_step(self, label):
        self.run(self.step, calls=5)

    def time_backprop(self, label):
        self.run(self.backprop, calls=5)


class Convergence:
    """Epochs until the loss on the digits is below a level: a constant, unless the arithmetic changes."""

    params = (["Adam", "SGD"],)
    param_names = ("optimizer",)
    level, most = 0.1, 200

    def setup(self, name):
        from sklearn.datasets import load_digits  # a second, which the other benchmarks of this file can do without

        X, self.y = load_digits(return_X_y=True)
        self.X = X / 16

    def track_epochs_to_loss(self, name):
        mlp = bp.MLP((64, 100, 10), "relu", "softmax", "cross_entropy", random_state=0)
        optimizer = bp.Adam() if name == "Adam" else bp.SGD(0.1, momentum=0.9)
        history = mlp.fit(self.X, self.y, epochs=self.most, batch_size=200, optimizer=optimizer)
        return next(epoch for epoch, loss in enumerate(history.loss, 1) if loss < self.level)

    track_epochs_to_loss.unit = "epochs"
