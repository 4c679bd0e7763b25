"""Floor 5: tables of real data, and their way into the numbers of a net and back."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
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
READERS: dict[str, Callable[[Path, list[str]], pd.DataFrame]] = {
    ".csv": lambda path, texts: pd.read_csv(path, dtype=dict.fromkeys(texts, str)),
    ".parquet": lambda path, texts: pd.read_parquet(path),
    ".pq": lambda path, texts: pd.read_parquet(path),
}

MOST_CATEGORIES = 100  # a column of text with more is a name or a number rather than a category
FEW_INTEGERS = 20  # a target of at most so many different whole numbers is taken for classes


class TableError(ValueError):
    """What is wrong with a table, in words for the person who brought it."""


def dataset(name: str) -> tuple[pd.DataFrame, str]:
    """One of scikit-learn's data sets as a table and the name of its target, classes by their names."""
    bunch = DATASETS[name](as_frame=True)
    frame, target = bunch.frame, bunch.target.name
    if name not in ("digits", "diabetes"):
        frame[target] = np.asarray(bunch.target_names)[frame[target]]
    return frame, target


def read(path: Path, texts: Sequence[str] = ()) -> pd.DataFrame:
    """A table from a CSV or Parquet file; the columns `texts` are text even where they look like numbers."""
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise TableError(f"{path} is not a table: its name must end in {', '.join(READERS)}")
    if not path.is_file():
        raise TableError(f"there is no file {path}" + (": it is a folder" if path.is_dir() else ""))
    try:
        frame = reader(path, list(texts))
    except (ValueError, OSError, pd.errors.ParserError) as error:
        raise TableError(f"{path} cannot be read: {str(error).splitlines()[0]}") from None
    if frame.empty:
        raise TableError(f"{path} holds no rows")
    frame.columns = frame.columns.map(str)
    return frame


def _rows(wrong: pd.Series) -> str:
    """Which rows are meant, counted from 1 below the heading."""
    places = (np.flatnonzero(wrong.to_numpy()) + 1).tolist()
    return f"row{'s' if len(places) > 1 else ''} {', '.join(map(str, places[:5]))}{', …' if len(places) > 5 else ''}"


def refuse_missing(frame: pd.DataFrame) -> None:
    """Raise TableError for every column with missing or infinite values, all in one message."""
    found = []
    for name, column in frame.items():
        wrong = column.isna()
        if pd.api.types.is_float_dtype(column):
            wrong = wrong | np.isinf(column.to_numpy(float, na_value=np.nan))
        if wrong.any():
            found.append(f"{name}: {int(wrong.sum())} of {len(column)}, in {_rows(wrong)}")
    if found:
        raise TableError(
            "there are missing or infinite values; fill them, drop their rows, or train without the column (--drop)\n  "
            + "\n  ".join(found)
        )


@dataclass(frozen=True)
class Number:
    """A column of numbers, standardised."""

    name: str
    mean: float
    scale: float

    @classmethod
    def learn(cls, column: pd.Series) -> "Number":
        """From the training rows; a column that is constant within rounding is only centred.

        The bound on the rounding error of the variance is that of scikit-learn's StandardScaler (Chan, Golub and LeVeque 1983).
        """
        values = column.to_numpy(float)
        exponent = np.frexp(np.abs(values).max())[1]
        scaled = np.ldexp(values, -exponent)  # within ±1 and exact: squares of the column itself may overflow or underflow
        n_eps, mean, variance = len(values) * np.finfo(float).eps, scaled.mean(), scaled.var()
        constant = variance <= n_eps * variance + (n_eps * mean) ** 2
        scale = 0.0 if constant else float(np.ldexp(np.sqrt(variance), exponent))
        return cls(str(column.name), float(np.ldexp(mean, exponent)), scale or 1.0)

    def encode(self, column: pd.Series) -> np.ndarray:
        """(n, 1)."""
        if not is_number(column):
            raise TableError(f"column {self.name} must hold numbers, as it did in training")
        return (column.to_numpy(float)[:, np.newaxis] - self.mean) / self.scale

    def decode(self, values: np.ndarray) -> np.ndarray:
        """The inverse of `encode`."""
        return values * self.scale + self.mean


@dataclass(frozen=True)
class Categories:
    """A column of text, one input for each of its values."""

    name: str
    values: list[str]

    @classmethod
    def learn(cls, column: pd.Series) -> "Categories":
        """From all rows: which categories there are is no secret of the test rows."""
        values = sorted(set(labels(column)), key=lambda label: (len(label), label) if is_number(column) else (0, label))
        if len(values) > MOST_CATEGORIES:
            raise TableError(
                f"column {column.name} is text with {len(values)} different values, such as {values[0]!r} and "
                f"{values[1]!r}: make it numbers or fewer categories, or drop it with --drop {column.name!r}"
            )
        return cls(str(column.name), values)

    def codes(self, column: pd.Series) -> np.ndarray:
        """The place of each value among the categories, (n,)."""
        texts = labels(column)
        codes = pd.Index(self.values).get_indexer(pd.Index(texts))
        unknown = pd.Series(codes < 0)
        if unknown.any():
            values = sorted(set(texts[unknown.to_numpy()]))
            raise TableError(
                f"column {self.name} has values that were not there in training: {', '.join(map(repr, values[:5]))} "
                f"({_rows(unknown)}); known are {', '.join(map(repr, self.values[:10]))}"
            )
        return codes

    def encode(self, column: pd.Series) -> np.ndarray:
        """(n, n_categories), one-hot."""
        return np.eye(len(self.values))[self.codes(column)]


def labels(column: pd.Series) -> pd.Series:
    """The text of each category or class; whole numbers alike whether they came as 1 or as 1.0."""
    if pd.api.types.is_float_dtype(column) and (column == np.floor(column)).all():
        column = column.astype(np.int64)
    return column.astype(str)


def is_number(column: pd.Series) -> bool:
    """Whether a column holds numbers; True and False count as 1 and 0.  TableError for dates and the like."""
    if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_complex_dtype(column):
        return True
    kinds = (pd.api.types.is_string_dtype, pd.api.types.is_object_dtype)
    if isinstance(column.dtype, pd.CategoricalDtype) or any(kind(column) for kind in kinds):
        return False
    raise TableError(
        f"column {column.name} is of {column.dtype}: make it numbers or text, or drop it with --drop {column.name!r}"
    )


@dataclass(frozen=True)
class Encoding:
    """How the columns of a table become the inputs and targets of a net; learnt from the training rows.

    `target` is a Number for regression, Categories for classification.
    """

    features: list[Number | Categories]
    target: Number | Categories

    @classmethod
    def learn(
        cls, frame: pd.DataFrame, target: str, classify: bool, standardise_target: bool, training_rows: pd.Index
    ) -> "Encoding":
        """From a table without missing values: categories from all rows, means and scales from the training rows."""
        columns = [column for name, column in frame.items() if name != target]
        if not columns:
            raise TableError(f"there is no column but the target {target}")
        features = [Number.learn(c[training_rows]) if is_number(c) else Categories.learn(c) for c in columns]
        if classify:
            return cls(features, Categories.learn(frame[target]))
        if not is_number(frame[target]):
            raise TableError(f"the target {target} is text, which cannot be regressed on; use --task classification")
        return cls(features, Number.learn(frame.loc[training_rows, target]) if standardise_target else Number(target, 0.0, 1.0))

    @property
    def texts(self) -> list[str]:
        """The columns that are text, though a file may write them as numbers."""
        return [feature.name for feature in self.features if isinstance(feature, Categories)]

    @property
    def classify(self) -> bool:
        """Whether the target is a class."""
        return isinstance(self.target, Categories)

    def X(self, frame: pd.DataFrame) -> np.ndarray:
        """The inputs, (n, n_inputs) float64, of the same columns in any order; others are left aside."""
        missing = [feature.name for feature in self.features if feature.name not in frame.columns]
        if missing:
            raise TableError(f"the table lacks columns that the model was trained on: {', '.join(missing)}")
        refuse_missing(frame[[feature.name for feature in self.features]])
        return np.hstack([feature.encode(frame[feature.name]) for feature in self.features])

    def T(self, frame: pd.DataFrame) -> np.ndarray:
        """The targets: class indices (n,), or standardised numbers (n,)."""
        column = frame[self.target.name]
        if isinstance(self.target, Categories):
            return self.target.codes(column)
        return self.target.encode(column)[:, 0]

    def probabilities(self, y: np.ndarray) -> np.ndarray:
        """Of each class, (n, n_classes), from the net's outputs: a single one is the probability of the second class."""
        return np.hstack([1 - y, y]) if y.shape[1] == 1 else y

    def predictions(self, y: np.ndarray) -> np.ndarray:
        """Names of classes, or numbers, (n,), from the net's outputs."""
        if isinstance(self.target, Categories):
            return np.asarray(self.target.values, object)[self.probabilities(y).argmax(axis=1)]
        return self.target.decode(y[:, 0].astype(float))

    def to_json(self) -> dict[str, Any]:
        """Plain lists, texts and numbers."""
        return {"features": [asdict(feature) for feature in self.features], "target": asdict(self.target)}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Encoding":
        """The inverse of `to_json`."""
        column = lambda d: Number(**d) if "mean" in d else Categories(**d)  # noqa: E731
        return cls([column(d) for d in data["features"]], column(data["target"]))


def looks_like_classes(column: pd.Series) -> bool:
    """Whether a target is text, True and False, or few different whole numbers."""
    if not is_number(column) or pd.api.types.is_bool_dtype(column):
        return True
    values = column.to_numpy(float)
    return bool((values == np.floor(values)).all()) and len(np.unique(values)) <= FEW_INTEGERS
