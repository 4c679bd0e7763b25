"""Derivatives of 64-100-10 with 1,000 samples, and steps of Levenberg-Marquardt."""

import numpy as np

import bpkernel as bp

from .fastest import Fastest

KINDS = {
    "gradient norms": lambda net, X, T, v: net.per_sample_gradient_norms(X, T),
    "jacobian": lambda net, X, T, v: net.jacobian(X),
    "hvp": lambda net, X, T, v: net.hvp(X, T, v),
}


class Derivatives(Fastest):
    params = (list(KINDS), ["float32", "float64"])
    param_names = ("kind", "dtype")

    def setup(self, kind, dtype):
        if hasattr(self, "compute"):  # asv comes here before every sample; each process has one kind
            return
        rng = np.random.default_rng(0)
        net = bp.MLP((64, 100, 10), "tanh", "softmax", "cross_entropy", dtype, 0)
        X, T = rng.standard_normal((1000, 64)).astype(dtype), rng.integers(0, 10, 1000)
        v = net.parameters
        self.compute = lambda: KINDS[kind](net, X, T, v)
        self.compute()

    def time_derivatives(self, kind, dtype):
        self.run(self.compute, calls=20)


class LevenbergMarquardt(Fastest):
    params = ([10, 60],)
    param_names = ("hidden units",)

    def setup(self, n_hidden):
        if hasattr(self, "train"):
            return
        rng = np.random.default_rng(0)
        X = rng.uniform(-1, 1, (2000, 4))
        T = np.sin(2 * X[:, 0]) * X[:, 1] + X[:, 2] ** 2 - X[:, 3]
        net = bp.MLP((4, n_hidden, 1), dtype="float64", random_state=0)
        start = net.parameters

        def train():
            net.parameters = start
            net.fit(X, T, epochs=10, optimizer=bp.LevenbergMarquardt())

        self.train = train
        self.train()

    def time_ten_steps(self, n_hidden):
        self.run(self.train, calls=1)
