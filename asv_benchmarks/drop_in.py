"""The estimators compared with scikit-learn's: time, and memory of a fit.

Both have the same data, parameters and seed, and have run before they are timed.  A fit has a fixed number of epochs; other
settings are the defaults.  `python -m asv_benchmarks.peers --parts drop_in memory` measures them.
"""

import gc
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import scipy.sparse
import sklearn.neural_network as original
from sklearn.datasets import load_digits, load_iris
from sklearn.model_selection import GridSearchCV

import bpkernel as bp
from bpkernel.cli.bench import PAUSE

LONG = {"tol": 0.0, "n_iter_no_change": 10**6, "random_state": 0}  # so that a fit runs all of its epochs


def cases() -> Iterator[tuple[str, int, Callable[[Any], Callable[[], Any]]]]:
    """Name, number of calls in a timing, and a function that makes the call to time from a module."""
    rng = np.random.default_rng(0)
    digits, iris = load_digits(return_X_y=True), load_iris(return_X_y=True)
    wide = rng.normal(size=(4096, 784)), rng.integers(0, 10, 4096)
    narrow = rng.normal(size=(2000, 30)), rng.normal(size=2000)

    def fit(data: Any, dtype: str, kind: str = "MLPClassifier", **parameters: Any) -> Callable[[Any], Callable[[], Any]]:
        X = data[0].astype(dtype)
        return lambda module: lambda: getattr(module, kind)(**{**LONG, **parameters}).fit(X, data[1])

    for dtype in ("float64", "float32"):
        yield f"fit, digits, 64-100-10, {dtype}", 1, fit(digits, dtype, max_iter=100)
        yield f"fit, iris, 4-100-3, {dtype}", 1, fit(iris, dtype, max_iter=200)
        yield (
            f"fit, 784-512-512-10, batch 256, {dtype}",
            1,
            fit(wide, dtype, hidden_layer_sizes=(512, 512), batch_size=256, max_iter=4),
        )
        yield (
            f"fit, regression, 30-64-64-1, {dtype}",
            1,
            fit(narrow, dtype, "MLPRegressor", hidden_layer_sizes=(64, 64), max_iter=50),
        )
        yield f"fit, digits, lbfgs, 100 iterations, {dtype}", 1, fit(digits, dtype, solver="lbfgs", max_iter=100)
    sparse = scipy.sparse.random(2000, 2000, density=0.02, format="csr", random_state=0), rng.integers(0, 5, 2000)
    yield (
        "fit, sparse, 2 % of 2000 columns, float64",
        1,
        lambda module: lambda: module.MLPClassifier(**LONG, max_iter=5).fit(*sparse),
    )
    yield "fit, digits, early stopping, float64", 1, fit(digits, "float64", early_stopping=True, max_iter=100)
    X, y = rng.normal(size=(10, 20)), rng.normal(size=10)

    def fitted(module: Any, kind: str, y: np.ndarray) -> Any:
        return getattr(module, kind)(hidden_layer_sizes=(50,), random_state=0, max_iter=5).fit(X, y)

    def partial_fit(module: Any, kind: str, y: np.ndarray) -> Callable[[], Any]:
        estimator = fitted(module, kind, y)
        return lambda: estimator.partial_fit(X, y)

    def predict(module: Any, kind: str, y: np.ndarray, method: str) -> Callable[[], Any]:
        act = getattr(fitted(module, kind, y), method)
        return lambda: act(X[:1])

    labels = np.arange(10) % 2
    yield "partial_fit of 10, 20-50-1, regression", 200, lambda module: partial_fit(module, "MLPRegressor", y)
    yield "partial_fit of 10, 20-50-1, classification", 200, lambda module: partial_fit(module, "MLPClassifier", labels)
    yield "predict of a row, 20-50-1, regression", 500, lambda module: predict(module, "MLPRegressor", y, "predict")
    yield "predict of a row, 20-50-1, classification", 500, lambda module: predict(module, "MLPClassifier", labels, "predict")
    yield "predict_proba of a row, 20-50-1", 500, lambda module: predict(module, "MLPClassifier", labels, "predict_proba")
    grid = {"alpha": [1e-4, 1e-3, 1e-2, 1e-1], "learning_rate_init": [1e-3, 1e-2]}
    yield (
        "GridSearchCV, digits, 24 fits, n_jobs=2",
        1,
        lambda module: lambda: GridSearchCV(module.MLPClassifier(random_state=0), grid, cv=3, n_jobs=2).fit(*digits),
    )


def seconds(call: Callable[[], Any], calls: int) -> float:
    """Seconds of one call."""
    time.sleep(PAUSE)
    start = time.perf_counter()
    for _ in range(calls):
        call()
    return (time.perf_counter() - start) / calls


def records(most: int) -> Iterator[list[dict[str, Any]]]:
    """The records of each case: both estimators in turn, round by round."""
    for name, calls, make in cases():
        print(name, file=sys.stderr, flush=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            estimators = {"bpkernel": make(bp), "scikit-learn": make(original)}
            for call in estimators.values():
                call()
            gc.collect()
            yield [
                {"case": name, "library": library, "round": i, "seconds": f"{seconds(call, calls):.5g}"}
                for i in range(min(7, most))
                for library, call in estimators.items()
            ]


FIT = """
import gc, resource, warnings
import numpy as np
from {module} import MLPClassifier
warnings.simplefilter("ignore")
MLPClassifier(max_iter=2).fit(np.zeros((300, 100), np.float32), np.arange(300) % 10)
X = np.random.default_rng(0).random((200_000, 100), np.float32)
y = np.arange(200_000) % 10
gc.collect()
before = int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize() / 1e6
MLPClassifier(max_iter=2, random_state=0).fit(X, y)
peak = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) * 1024 / 1e6
print(peak - before, peak)
"""  # the first, small fit imports and compiles; getrusage's maximum is inherited from the parent process


def memory(most: int) -> Iterator[list[dict[str, Any]]]:
    """Peak memory of a process that fits 200,000 × 100 float32, in MB: growth beyond data and imports, and total."""
    for library, module in (("bpkernel", "bpkernel"), ("scikit-learn", "sklearn.neural_network")):
        for i in range(min(3, most)):
            run = subprocess.run([sys.executable, "-c", FIT.format(module=module)], capture_output=True, text=True, check=True)
            grown, total = run.stdout.split()
            yield [{"library": library, "round": i, "grown_mb": f"{float(grown):.1f}", "process_mb": f"{float(total):.1f}"}]
