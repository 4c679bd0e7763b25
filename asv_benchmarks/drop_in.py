"""The estimators beside scikit-learn's own, interleaved in one run: the table of docs/coming-from-scikit-learn.md.

    python asv_benchmarks/drop_in.py
    python asv_benchmarks/drop_in.py --rounds 3 --only digits

Both have the same data, parameters and seed, and have been run before they are timed; every fit has a fixed number of epochs,
else the default settings.  They take turns, with a pause in which the threads of BLAS, which wait spinning, fall asleep.  Told
are the median over the rounds of the ratio of two times of one round, in brackets the quartiles, and the median times.
"""

import argparse
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import sklearn.neural_network as original
from sklearn.datasets import load_digits, load_iris
from sklearn.model_selection import GridSearchCV

import bpkernel as bp

PAUSE = 0.3  # seconds; at 0.03 the spinning threads of OpenBLAS still took a third of what came after
LONG = {"tol": 0.0, "n_iter_no_change": 10**6, "random_state": 0}  # as many epochs as are asked for


def cases() -> Iterator[tuple[str, int, Callable[[Any], Callable[[], Any]]]]:
    """Name, calls in a timing, and what makes of a module the call to time."""
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
    """Of one call."""
    time.sleep(PAUSE)
    start = time.perf_counter()
    for _ in range(calls):
        call()
    return (time.perf_counter() - start) / calls


def told(value: float) -> str:
    """A time in a fitting unit."""
    return f"{value * 1e6:.0f} µs" if value < 1e-3 else f"{value * 1e3:.1f} ms" if value < 1 else f"{value:.2f} s"


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
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
print(peak - before, peak)
"""  # a small fit first, so that all is imported and compiled


def peak_memory(module: str) -> tuple[float, float]:
    """MB that the process of a fit of 200,000 × 100 float32 grows by at most, beyond its data and imports, and in all."""
    run = subprocess.run([sys.executable, "-c", FIT.format(module=module)], capture_output=True, text=True, check=True)
    grown, total = run.stdout.split()
    return float(grown), float(total)


def main() -> None:
    """Print the table, in Markdown."""
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", default="", help="a part of a name")
    options = parser.parse_args()
    print("| | times scikit-learn | bpkernel | scikit-learn |\n| --- | ---: | ---: | ---: |")
    for name, calls, make in cases():
        if options.only not in name:
            continue
        mine, theirs = make(bp), make(original)
        for call in (mine, theirs):
            call()
        times = np.array([[seconds(call, calls) for call in (mine, theirs)] for _ in range(options.rounds)])
        low, median, high = np.quantile(times[:, 1] / times[:, 0], [0.25, 0.5, 0.75])
        ours, other = np.median(times, axis=0)
        print(f"| {name} | {median:.1f} ({low:.1f}-{high:.1f}) | {told(ours)} | {told(other)} |", flush=True)
    if options.only in "peak memory":
        (grown, total), (grown_other, total_other) = peak_memory("bpkernel"), peak_memory("sklearn.neural_network")
        print(f"| peak memory, fit of 200,000 × 100 float32 | | {grown:.0f} MB more | {grown_other:.0f} MB more |")
        print(f"| the same, the whole process, with its imports | | {total:.0f} MB | {total_other:.0f} MB |")


if __name__ == "__main__":
    main()
