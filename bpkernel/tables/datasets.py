"""The data sets of scikit-learn, as tables."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import sklearn.datasets

DATASETS: dict[str, Callable[..., Any]] = {
    "digits": sklearn.datasets.load_digits,
    "iris": sklearn.datasets.load_iris,
    "wine": sklearn.datasets.load_wine,
    "breast_cancer": sklearn.datasets.load_breast_cancer,
    "diabetes": sklearn.datasets.load_diabetes,
}


def dataset(name: str) -> tuple[pd.DataFrame, str]:
    """One of scikit-learn's data sets as a table, with names of classes, and the name of its target."""
    bunch = DATASETS[name](as_frame=True)
    frame, target = bunch.frame, bunch.target.name
    if name not in ("digits", "diabetes"):
        frame[target] = np.asarray(bunch.target_names)[frame[target]]
    return frame, target
