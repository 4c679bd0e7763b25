"""Prediction of a single row and of many rows."""

from .fastest import Fastest
from .nets import BY_LABEL, data, net


class Predict(Fastest):
    params = (["30-64-64-1 batch 128 float32 relu", "784-128-10 batch 128 float32 relu"], [1, 10_000])
    param_names = ("net", "rows")

    def setup(self, label, n_rows):
        if hasattr(self, "predict"):  # asv comes here before every sample; each process has one net
            return
        row = BY_LABEL[label]
        mlp, (X, _) = net(row), data(row, n_samples=n_rows)
        self.predict = lambda: mlp.predict(X)
        self.predict()

    def time_predict(self, label, n_rows):
        self.run(self.predict, calls=100 if n_rows == 1 else 1)
