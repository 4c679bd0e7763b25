"""Many small nets at once: python -m asv_benchmarks.ensembles [--rounds 5] [--nets 100].

100 nets 20-50-1 on 5,000 rows (float32, relu, Adam, batches of 200, 20 epochs): `train_many`, joblib over bpkernel's
MLPRegressor, and joblib over scikit-learn's, each with as many processes or threads as there are processors.  All run in turn
in one program, with warm workers and caches; scikit-learn trains a tenth of the nets, and its time is multiplied by ten.
"""

import argparse
import os
import time
import warnings
from collections.abc import Callable
from typing import Any

import joblib
import numpy as np
import threadpoolctl
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPRegressor

import bpkernel as bp

EPOCHS, BATCH, ROWS, INPUTS, UNITS = 20, 200, 5000, 20, 50


def fit_one(kind: type[Any], seed: int, X: np.ndarray, y: np.ndarray) -> Any:
    """One estimator, trained in a worker."""
    estimator = kind(
        hidden_layer_sizes=(UNITS,),
        alpha=0.0,
        batch_size=BATCH,
        max_iter=EPOCHS,
        random_state=seed,
        tol=0.0,
        n_iter_no_change=EPOCHS,
    )
    with warnings.catch_warnings(), threadpoolctl.threadpool_limits(1):
        warnings.simplefilter("ignore", ConvergenceWarning)
        return estimator.fit(X, y)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--nets", type=int, default=100)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    X = rng.standard_normal((ROWS, INPUTS)).astype(np.float32)
    y = np.sin(X[:, 0] + X[:, 1] * X[:, 2]).astype(np.float32)
    n_jobs, few = os.cpu_count() or 1, max(options.nets // 10, 1)

    def many() -> Any:
        settings: dict[str, Any] = {"layer_sizes": (INPUTS, UNITS, 1), "activation": "relu", "epochs": EPOCHS}
        return bp.train_many(options.nets, X, y, batch_size=BATCH, **settings)

    def by_joblib(kind: type[Any], n: int) -> Callable[[], Any]:
        return lambda: joblib.Parallel(n_jobs)(joblib.delayed(fit_one)(kind, seed, X, y) for seed in range(n))

    contenders = {
        "train_many": (many, 1.0),
        "joblib over bpkernel's estimators": (by_joblib(bp.MLPRegressor, options.nets), 1.0),
        "joblib over scikit-learn's": (by_joblib(MLPRegressor, few), options.nets / few),
    }
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(options.rounds + 1):  # the first round warms up
        for name, (function, factor) in contenders.items():
            start = time.perf_counter()
            function()
            if number > 0:
                times[name].append((time.perf_counter() - start) * factor)
            time.sleep(0.5)
    own = np.array(times["train_many"])
    for name, found in times.items():
        low, middle, high = np.quantile(np.array(found) / own, (0.25, 0.5, 0.75))
        print(f"{name}: {np.median(found):.2f} s, {middle:.2f} ({low:.2f}-{high:.2f}) x train_many")


if __name__ == "__main__":
    main()
