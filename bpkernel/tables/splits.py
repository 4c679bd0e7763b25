"""The rows of a table, split into sets for training, validation and test."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.model_selection import train_test_split

from bpkernel.tables import cells
from bpkernel.tables.delimited import TableError
from bpkernel.tables.options import Options

PARTS = ("train", "validation", "test")
LEAST_OF_A_CLASS = 3  # rows: one for each part


def folds_of(n: int, n_folds: int, classes: np.ndarray | None, seed: int) -> list[np.ndarray]:
    """Rows 0 to n - 1 in folds at random, classes (n,) in the same proportions; each fold in order."""
    order = np.random.default_rng(seed).permutation(n)
    if classes is not None:
        order = order[np.argsort(classes[order].astype(str), kind="stable")]
    return [np.sort(order[first::n_folds]) for first in range(n_folds)]


@dataclass(frozen=True)
class Splits:
    """The parts of a table.

    Attributes
    ----------
    rest, test : DataFrame
        The rows for training and validation, and those for the test.
    folds : list of ndarray of int
        For each net of the ensemble the rows of `rest` that are its validation data; it is trained on the others.
    """

    rest: pd.DataFrame
    test: pd.DataFrame
    folds: list[np.ndarray]

    @classmethod
    def of(cls, frame: pd.DataFrame, target: str, classify: bool, options: Options, fold: int | None = None) -> "Splits":
        """Split at random from the seed; for classification, with the same proportions of classes in each set.

        fold : which of the folds of `options.cv` is the test set; None: `options.test_fraction` of the rows are.
        """
        classes = cells.texts(frame[target]).to_numpy(object) if classify else None
        if options.test_fraction + options.validation_fraction >= 1:
            raise TableError("the sum of the test and validation fractions must be below 1, to leave rows for training")
        if classify:
            _check_classes(frame[target], target)
        if options.cv is not None and options.cv > len(frame):
            raise TableError(f"--cv {options.cv} needs at least {options.cv} rows; the table has {len(frame)}")
        rows = np.arange(len(frame))
        if fold is None:
            rest, test = _split(rows, classes, options.test_fraction, options.seed)
        else:
            assert options.cv is not None
            test = folds_of(len(frame), options.cv, classes, options.seed)[fold]
            rest = np.setdiff1d(rows, test)
        of_rest = None if classes is None else classes[rest]
        if options.ensemble == 1:
            share = options.validation_fraction / (1 - options.test_fraction)
            folds = [_split(np.arange(len(rest)), of_rest, share, options.seed)[1]]
        else:
            folds = folds_of(len(rest), min(options.ensemble, len(rest)), of_rest, options.seed)
        if len(rest) < 2 or not all(map(len, folds)):
            raise TableError(f"{len(frame)} rows are too few for training, validation and test")
        return cls(frame.iloc[rest], frame.iloc[test], folds)

    def rows(self, part: str) -> np.ndarray:
        """The rows of `rest` for "train" or "validation"; of several nets each row is in both."""
        held_back = np.sort(np.concatenate(self.folds))
        if part == "validation":
            return held_back
        return np.arange(len(self.rest)) if len(self.folds) > 1 else np.setdiff1d(np.arange(len(self.rest)), held_back)

    def sizes(self) -> dict[str, int]:
        """The number of rows of each part."""
        return {"train": len(self.rows("train")), "validation": len(self.rows("validation")), "test": len(self.test)}


def _check_classes(target: pd.Series, name: str) -> None:
    counts = cells.texts(target).value_counts()
    if counts.min() < LEAST_OF_A_CLASS:
        raise TableError(
            f"class {counts.idxmin()!r} of {name} has {counts.min()} of {len(target)} rows; a class needs at least "
            f"{LEAST_OF_A_CLASS}, for training, validation and test: drop its rows, or merge it with another class"
        )


def _split(rows: np.ndarray, classes: Any, fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    try:
        one, other = train_test_split(rows, test_size=fraction, random_state=seed, stratify=classes)
    except ValueError as error:
        raise TableError(f"{len(rows)} rows are too few for training, validation and test: {error}") from None
    return np.asarray(one), np.asarray(other)
