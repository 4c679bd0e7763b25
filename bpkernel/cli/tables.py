"""Tables of data, and their encoding as inputs and targets of a net."""

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

MOST_CATEGORIES = 100  # a text column with more different values is refused: they may be names, or badly formatted numbers
FEW_INTEGERS = 20  # a target with at most this many different integers is taken for classes


class TableError(ValueError):
    """An error in the user's table."""


def dataset(name: str) -> tuple[pd.DataFrame, str]:
    """One of scikit-learn's data sets as a table, with names of classes, and the name of its target."""
    bunch = DATASETS[name](as_frame=True)
    frame, target = bunch.frame, bunch.target.name
    if name not in ("digits", "diabetes"):
        frame[target] = np.asarray(bunch.target_names)[frame[target]]
    return frame, target


def read(path: Path, texts: Sequence[str] = ()) -> pd.DataFrame:
    """Read a CSV or Parquet file; the columns `texts` are read as text even if they look like numbers."""
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
    """The numbers of the rows in question, counted from 1 below the header."""
    numbers = (np.flatnonzero(wrong.to_numpy()) + 1).tolist()
    return f"row{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers[:5]))}{', …' if len(numbers) > 5 else ''}"


def refuse_missing(frame: pd.DataFrame) -> None:
    """Raise a TableError that lists all columns with missing or infinite values, if there are any."""
    found = []
    for name, column in frame.items():
        wrong = column.isna()
        if pd.api.types.is_float_dtype(column):
            wrong = wrong | np.isinf(column.to_numpy(float, na_value=np.nan))
        if wrong.any():
            found.append(f"{name}: {int(wrong.sum())} of {len(column)}, in {_rows(wrong)}")
    if found:
        raise TableError(
            "there are missing or infinite values; fill them, drop their rows, or leave the column out (--drop)\n  "
            + "\n  ".join(found)
        )


@dataclass(frozen=True)
class Number:
    """A column of numbers, encoded by standardisation."""

    name: str
    mean: float
    scale: float

    @classmethod
    def learn(cls, column: pd.Series) -> "Number":
        """Mean and scale of the training rows; the scale of a column that is constant within rounding is 1.

        The bound on the rounding error of the variance is that of scikit-learn's StandardScaler (Chan, Golub and LeVeque 1983).
        """
        values = column.to_numpy(float)
        exponent = np.frexp(np.abs(values).max())[1]
        scaled = np.ldexp(values, -exponent)  # within ±1, and exact: squares of the column itself may overflow or underflow
        n_eps, mean, variance = len(values) * np.finfo(float).eps, scaled.mean(), scaled.var()
        constant = variance <= n_eps * variance + (n_eps * mean) ** 2
        scale = 0.0 if constant else float(np.ldexp(np.sqrt(variance), exponent))
        return cls(str(column.name), float(np.ldexp(mean, exponent)), scale or 1.0)

    def encode(self, column: pd.Series) -> np.ndarray:
        """Standardised numbers (n, 1)."""
        if not is_number(column):
            raise TableError(f"column {self.name} must hold numbers, as it did in training")
        return (column.to_numpy(float)[:, np.newaxis] - self.mean) / self.scale

    def decode(self, values: np.ndarray) -> np.ndarray:
        """The inverse of `encode`."""
        return values * self.scale + self.mean


@dataclass(frozen=True)
class Categories:
    """A column of categories, encoded as one-hot."""

    name: str
    values: list[str]

    @classmethod
    def learn(cls, column: pd.Series) -> "Categories":
        """The categories of all rows, test rows included."""
        values = sorted(set(labels(column)), key=lambda label: (len(label), label) if is_number(column) else (0, label))
        if len(values) > MOST_CATEGORIES:
            raise TableError(
                f"column {column.name} is text with {len(values)} different values, such as {values[0]!r} and "
                f"{values[1]!r}: convert it to numbers or to fewer categories, or drop it with --drop {column.name!r}"
            )
        return cls(str(column.name), values)

    def codes(self, column: pd.Series) -> np.ndarray:
        """The index of each value in the categories, (n,)."""
        texts = labels(column)
        codes = pd.Index(self.values).get_indexer(pd.Index(texts))
        unknown = pd.Series(codes < 0)
        if unknown.any():
            values = sorted(set(texts[unknown.to_numpy()]))
            raise TableError(
                f"column {self.name} has values that did not occur in training: {', '.join(map(repr, values[:5]))} "
                f"({_rows(unknown)}); the values in training are {', '.join(map(repr, self.values[:10]))}"
                f"{', …' if len(self.values) > 10 else ''}"
            )
        return codes

    def encode(self, column: pd.Series) -> np.ndarray:
        """One-hot rows (n, n_categories)."""
        return np.eye(len(self.values))[self.codes(column)]


def labels(column: pd.Series) -> pd.Series:
    """The values of a column of categories or classes as text; 1 and 1.0 become the same text if all values are integers."""
    if pd.api.types.is_float_dtype(column) and (column == np.floor(column)).all():
        column = column.astype(np.int64)
    return column.astype(str)


def is_number(column: pd.Series) -> bool:
    """Whether a column holds numbers, True and False included.  Raises TableError if it holds neither numbers nor text."""
    if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_complex_dtype(column):
        return True
    kinds = (pd.api.types.is_string_dtype, pd.api.types.is_object_dtype)
    if isinstance(column.dtype, pd.CategoricalDtype) or any(kind(column) for kind in kinds):
        return False
    raise TableError(
        f"column {column.name} is of {column.dtype}: convert it to numbers or text, or drop it with --drop {column.name!r}"
    )


@dataclass(frozen=True)
class Encoding:
    """The encoding of the columns of a table as inputs and targets of a net.

    `target` is a Number for regression, Categories for classification.
    """

    features: list[Number | Categories]
    target: Number | Categories

    @classmethod
    def learn(
        cls, frame: pd.DataFrame, target: str, classify: bool, standardise_target: bool, training_rows: pd.Index
    ) -> "Encoding":
        """The encoding of a table without missing values: categories of all rows, means and scales of the training rows."""
        columns = [column for name, column in frame.items() if name != target]
        if not columns:
            raise TableError(f"the table has no column except the target {target}; at least one other column is needed")
        features = [Number.learn(c[training_rows]) if is_number(c) else Categories.learn(c) for c in columns]
        if classify:
            return cls(features, Categories.learn(frame[target]))
        if not is_number(frame[target]):
            raise TableError(f"the target {target} is text, but regression needs numbers; use --task classification")
        return cls(features, Number.learn(frame.loc[training_rows, target]) if standardise_target else Number(target, 0.0, 1.0))

    @property
    def texts(self) -> list[str]:
        """The names of the columns of categories, which must be read as text."""
        return [feature.name for feature in self.features if isinstance(feature, Categories)]

    @property
    def classify(self) -> bool:
        """Whether the target is a column of classes."""
        return isinstance(self.target, Categories)

    def X(self, frame: pd.DataFrame) -> np.ndarray:
        """Inputs (n, n_inputs) float64; columns may be in any order, and other columns are ignored."""
        missing = [feature.name for feature in self.features if feature.name not in frame.columns]
        if missing:
            raise TableError(f"the table lacks columns that the model was trained on: {', '.join(missing)}")
        refuse_missing(frame[[feature.name for feature in self.features]])
        return np.hstack([feature.encode(frame[feature.name]) for feature in self.features])

    def T(self, frame: pd.DataFrame) -> np.ndarray:
        """Targets: class indices (n,), or standardised numbers (n,)."""
        column = frame[self.target.name]
        if isinstance(self.target, Categories):
            return self.target.codes(column)
        return self.target.encode(column)[:, 0]

    def probabilities(self, y: np.ndarray) -> np.ndarray:
        """Probabilities (n, n_classes) from the net's outputs; a single output is the probability of the second class."""
        return np.hstack([1 - y, y]) if y.shape[1] == 1 else y

    def predictions(self, y: np.ndarray) -> np.ndarray:
        """Names of classes or numbers (n,) from the net's outputs."""
        if isinstance(self.target, Categories):
            return np.asarray(self.target.values, object)[self.probabilities(y).argmax(axis=1)]
        return self.target.decode(y[:, 0].astype(float))

    def to_json(self) -> dict[str, Any]:
        """The encoding as lists, strings and numbers."""
        return {"features": [asdict(feature) for feature in self.features], "target": asdict(self.target)}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Encoding":
        """The inverse of `to_json`."""
        column = lambda d: Number(**d) if "mean" in d else Categories(**d)  # noqa: E731
        return cls([column(d) for d in data["features"]], column(data["target"]))


def looks_like_classes(column: pd.Series) -> bool:
    """Whether a target is text, True and False, or has few different values, all integers."""
    if not is_number(column) or pd.api.types.is_bool_dtype(column):
        return True
    values = column.to_numpy(float)
    return bool((values == np.floor(values)).all()) and len(np.unique(values)) <= FEW_INTEGERS
