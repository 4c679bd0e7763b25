"""The estimators: the time of a fit with a fixed number of epochs, the speed-up over scikit-learn, and the peak memory."""

import time
import warnings

import numba
import numpy as np
from sklearn.datasets import load_digits, load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from threadpoolctl import threadpool_limits

import bpkernel as bp

from .fastest import Fastest

PAUSE = 0.3  # seconds before each timing, so that OpenBLAS's threads stop spinning; they slow down what runs next
LONG = {"tol": 0.0, "n_iter_no_change": 10**6, "random_state": 0}  # so that a fit runs all of its epochs
FITS = {
    "digits 64-100-10 float64": ("MLPClassifier", "digits", "float64", {"max_iter": 20}),
    "digits 64-100-10 float32": ("MLPClassifier", "digits", "float32", {"max_iter": 20}),
    "digits 64-100-10 float64 early stopping": ("MLPClassifier", "digits", "float64", {"max_iter": 20, "early_stopping": True}),
    "digits 64-100-10 float64 lbfgs": ("MLPClassifier", "digits", "float64", {"max_iter": 20, "solver": "lbfgs"}),
    "iris 4-100-3 float64": ("MLPClassifier", "iris", "float64", {"max_iter": 50}),
    "regression 30-64-64-1 float64": ("MLPRegressor", "normal", "float64", {"max_iter": 20, "hidden_layer_sizes": (64, 64)}),
}


def data(name, dtype):
    """X and y."""
    if name == "normal":
        rng = np.random.default_rng(0)
        X, y = rng.normal(size=(2000, 30)), rng.normal(size=2000)
    else:
        X, y = {"digits": load_digits, "iris": load_iris}[name](return_X_y=True)
    return X.astype(dtype), y


def estimator(kind, **parameters):
    """An estimator of bpkernel."""
    try:
        return getattr(bp, kind)(**LONG, **parameters)
    except AttributeError:
        raise NotImplementedError("this commit has no estimators") from None


class Fit(Fastest):
    params = (list(FITS),)
    param_names = ("fit",)
    version = "14140fa72d101c9fa103ef26d84cf30eeb161291fa0662727b9ce1a8edbb21a1"  # that of the recorded results

    def setup(self, label):
        warnings.simplefilter("ignore", ConvergenceWarning)
        if hasattr(self, "estimator"):  # asv comes here before every sample; each process has one fit
            return
        threadpool_limits(numba.get_num_threads())  # of BLAS, which lbfgs uses
        kind, name, dtype, parameters = FITS[label]
        X, y = data(name, dtype)
        self.estimator = estimator(kind, **parameters)
        self.fit = lambda: self.estimator.fit(X, y)
        self.fit()

    def time_fit(self, label):
        self.run(self.fit)


class BesideScikitLearn:
    """Speed-up of a fit over scikit-learn with the same number of threads, measured in turn."""

    params = (["float64", "float32"],)
    param_names = ("dtype",)
    turns = 5

    def setup(self, dtype):
        warnings.simplefilter("ignore", ConvergenceWarning)
        self.X, self.y = data("digits", dtype)
        self.ours, self.theirs = estimator("MLPClassifier", max_iter=20), MLPClassifier(**LONG, max_iter=20)
        self.seconds(self.ours)

    def seconds(self, fitted):
        time.sleep(PAUSE)
        start = time.perf_counter()
        fitted.fit(self.X, self.y)
        return time.perf_counter() - start

    def track_ratio(self, dtype):
        with threadpool_limits(numba.get_num_threads()):
            self.seconds(self.theirs)
            ratios = [self.seconds(self.theirs) / self.seconds(self.ours) for _ in range(self.turns)]
        return round(float(np.median(ratios)), 2)

    track_ratio.unit = "times as fast"


class Memory:
    """Peak memory of a process that fits 200,000 × 100 numbers of float32 (80 MB), imports included."""

    params = (["MLP", "MLPClassifier"],)
    param_names = ("fitted",)

    def setup(self, name):
        warnings.simplefilter("ignore", ConvergenceWarning)
        rng = np.random.default_rng(0)
        self.X, self.y = rng.random((200_000, 100), np.float32), np.arange(200_000) % 10
        if name == "MLP":
            net = bp.MLP((100, 100, 10), "relu", "softmax", "cross_entropy", random_state=0)
            self.fit = lambda X, y: net.fit(X, y, epochs=2)
        else:
            self.fit = estimator(name, max_iter=2).fit
        self.fit(self.X[:300], self.y[:300])  # compiles

    def peakmem_fit(self, name):
        self.fit(self.X, self.y)
