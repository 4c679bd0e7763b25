"""Models of tables with columns of all kinds."""

import numpy as np
import pandas as pd
import pytest

from bpkernel.tables.nets import Execution
from bpkernel.tables.options import Options
from bpkernel.tables.training_run import TrainingRun


def mixed(n=400):
    """A table with columns of all kinds, missing cells among them, and targets of three classes, two classes and numbers."""
    rng = np.random.default_rng(0)
    made = pd.DataFrame(
        {
            "x": rng.standard_normal(n).round(3),
            "money": np.exp(3 * rng.standard_normal(n)).round(2),
            "colour": rng.choice(["red", "green", "blue"], n),
            "town": [f"town {code}" for code in rng.integers(0, 50, n)],
            "flag": rng.choice(["yes", "no"], n),
            "day": pd.date_range("2020-01-01", periods=n, freq="19h").astype(str),
        }
    )
    score = made["x"] + (made["colour"] == "red") + 0.1 * np.log1p(made["money"]) + 0.3 * rng.standard_normal(n)
    made["size"] = np.array(["small", "middle", "large"])[np.digitize(score, [0, 1])]
    made["high"] = np.where(score > 0.5, "yes", "no")
    made["score"] = (100 + 10 * score).round(2)
    for name in ("x", "colour", "flag", "day"):
        made.loc[rng.choice(n, 20, replace=False), name] = None
    return made


COLUMNS = ["x", "money", "colour", "town", "flag", "day"]


@pytest.fixture(scope="session")
def trained():
    """A function that trains on the table with one of its targets, once for each set of options."""
    known = {}

    def train(target, **options):
        key = target, *sorted(options.items())
        if key not in known:
            run = TrainingRun(mixed()[[*COLUMNS, target]], target, Options(**{"epochs": 3} | options))
            known[key] = run.train(Execution())
        return known[key]

    return train
