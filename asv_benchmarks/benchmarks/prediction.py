"""Prediction: one row, and many."""

import time

from .nets import BY_LABEL, data, net

NETS = ["30-64-64-1 batch 128 float32 relu", "784-128-10 batch 128 float32 relu"]


class OneRow:
    params = (NETS,)
    param_names = ("net",)
    rounds, repeat, warmup_time = 2, (5, 100, 0.5), 0.1
    calls = 200

    @staticmethod
    def timer():
        """Seconds, for one call of two hundred: asv times a single run where there is a setup."""
        return time.perf_counter() / OneRow.calls

    def setup(self, label):
        if hasattr(self, "mlp"):
            return
        row = BY_LABEL[label]
        self.mlp, self.x = net(row), data(row, n_samples=1)[0]
        self.time_predict(label)

    def time_predict(self, label):
        for _ in range(self.calls):
            self.mlp.predict(self.x)


class TenThousandRows:
    params = (NETS,)
    param_names = ("net",)
    rounds, repeat, warmup_time = 2, (5, 100, 0.5), 0.1

    def setup(self, label):
        if hasattr(self, "mlp"):
            return
        row = BY_LABEL[label]
        self.mlp, self.X = net(row), data(row, n_samples=10_000)[0]
        self.time_predict(label)

    def time_predict(self, label):
        self.mlp.predict(self.X)
