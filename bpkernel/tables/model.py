"""A net for tables: how their columns become its inputs, and its outputs predictions."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from bpkernel.mlp import MLP
from bpkernel.tables import cells
from bpkernel.tables.delimited import TableError
from bpkernel.tables.preparation import Preparation


@dataclass(frozen=True)
class Target:
    """The column to predict: classes, or numbers that are standardised for the net.

    `style` is the decimal mark of numbers in text.
    """

    name: str
    classes: list[str] = field(default_factory=list)
    style: str = "."
    mean: float = 0.0
    scale: float = 1.0

    @classmethod
    def of_classes(cls, column: pd.Series) -> "Target":
        """The classes of all rows: numbers by size, other names by the alphabet."""
        names = cells.texts(column).dropna().unique()
        numbers = cells.numbers(pd.Series(names, dtype=object))
        by_size = len(names) > 0 and not np.isnan(numbers).any()
        order = np.argsort(numbers, kind="stable") if by_size else np.argsort(names.astype(str), kind="stable")
        return cls(str(column.name), names[order].tolist())

    @classmethod
    def of_numbers(cls, column: pd.Series, style: str, *, standardise: bool) -> "Target":
        """Mean and scale of the training rows; the scale of a column that is constant within rounding is 1.

        The bound on the rounding error of the variance is that of scikit-learn's StandardScaler (Chan, Golub and LeVeque 1983).
        """
        name, values = str(column.name), cells.numbers(column, style)
        if not standardise:
            return cls(name, style=style)
        exponent = np.frexp(np.abs(values).max())[1]
        scaled = np.ldexp(values, -exponent)  # within ±1, and exact: squares of the column itself may overflow or underflow
        n_eps, mean, variance = len(values) * np.finfo(float).eps, scaled.mean(), scaled.var()
        constant = variance <= n_eps * variance + (n_eps * mean) ** 2
        scale = 0.0 if constant else float(np.ldexp(np.sqrt(variance), exponent))
        return cls(name, [], style, float(np.ldexp(mean, exponent)), scale or 1.0)

    def values(self, column: pd.Series) -> np.ndarray:
        """The index of each class, -1 where it is missing or unknown, or the numbers, NaN where there are none; (n,)."""
        if self.classes:
            return pd.Index(self.classes).get_indexer(pd.Index(cells.texts(column).to_numpy(object)))
        return cells.numbers(column, self.style)

    def known(self, values: np.ndarray) -> np.ndarray:
        """Where `values` has a class or a number, (n,)."""
        return values >= 0 if self.classes else ~np.isnan(values)

    def of(self, frame: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
        """The `values` of a table, and where they are `known`; nowhere if it lacks the column."""
        if self.name not in frame.columns:
            return np.zeros(len(frame), int), np.zeros(len(frame), bool)
        values = self.values(frame[self.name])
        return values, self.known(values)

    def T(self, column: pd.Series) -> np.ndarray:
        """Targets of the net: class indices (n,), or standardised numbers (n,)."""
        values = self.values(column)
        return values if self.classes else (values - self.mean) / self.scale


@dataclass(frozen=True)
class Model:
    """A net with the preparation of its tables.

    ids : columns that are carried through to predictions.  header : whether the files of training named their columns.
    """

    net: MLP
    preparation: Preparation
    target: Target
    ids: Sequence[str] = ()
    header: bool = True

    @property
    def classify(self) -> bool:
        """Whether the target is of classes."""
        return bool(self.target.classes)

    @property
    def score_name(self) -> str:
        """The name of the main score."""
        return "accuracy" if self.classify else "R²"

    def outputs(self, frame: pd.DataFrame) -> np.ndarray:
        """The outputs y of the net, (n_rows, n_outputs)."""
        return self.net.predict(self.preparation.X(frame))

    def probabilities(self, y: np.ndarray) -> np.ndarray:
        """Probabilities (n, n_classes) from the net's outputs; a single output is the probability of the second class."""
        return np.hstack([1 - y, y]) if y.shape[1] == 1 else y

    def predicted(self, y: np.ndarray) -> np.ndarray:
        """Indices of classes or numbers in the units of the target, (n,), from the net's outputs."""
        if self.classify:
            return self.probabilities(y).argmax(axis=1)
        return y[:, 0].astype(float) * self.target.scale + self.target.mean

    def predict(self, frame: pd.DataFrame, y: np.ndarray | None = None) -> pd.DataFrame:
        """A table with the IDs of each row, the prediction and, for classes, the probability of each.

        Pass the outputs `y` of the net if they have been computed.
        """
        y = self.outputs(frame) if y is None else y
        predicted = self.predicted(y)
        table = pd.DataFrame({name: frame[name] for name in self.ids if name in frame.columns}, index=frame.index)
        table["prediction"] = np.asarray(self.target.classes, object)[predicted] if self.classify else predicted
        if self.classify:
            for name, column in zip(self.target.classes, self.probabilities(y).T, strict=True):
                table[f"probability_{name}"] = column
        return table

    def save(self, path: Path) -> None:
        """Write a safetensors file, which `MLP.load` can read as well."""
        own = {"preparation": self.preparation.to_json(), "target": asdict(self.target)}
        self.net.save(path, {"table": own | {"ids": list(self.ids), "header": self.header}})

    @classmethod
    def load(cls, path: Path) -> "Model":
        """Read a file written by `save`.  Raises ValueError if it holds a net without the columns of a table."""
        net, metadata = MLP.load_with_metadata(path)
        if "table" not in metadata:
            raise ValueError(f"{path} is a net, but it was not saved by 'bpkernel train', so its columns are unknown")
        try:
            table = metadata["table"]
            model = cls(
                net,
                Preparation.from_json(table["preparation"]),
                Target(**table["target"]),
                tuple(map(str, table["ids"])),
                bool(table["header"]),
            )
            model.preparation.check()
            sizes = len(model.preparation.inputs), len(model.target.classes)
        except (KeyError, TypeError, ValueError, AttributeError, IndexError):
            raise ValueError(f"{path} does not describe its columns as this version does: train the model again") from None
        n_in, n_out = net.layer_sizes[0], net.layer_sizes[-1]
        if sizes[0] != n_in or n_out not in ({sizes[1], 1 if sizes[1] == 2 else -1} if sizes[1] else {1}):
            raise ValueError(f"{path} is damaged: its net has {n_in} inputs and {n_out} outputs, its columns {sizes[0]} inputs")
        return model


def rows_with_target(frame: pd.DataFrame, target: str) -> pd.DataFrame:
    """The rows whose target is not missing; raises TableError if there are none."""
    kept = frame[cells.texts(frame[target]).notna()].reset_index(drop=True)
    if not len(kept):
        raise TableError(f"the target {target} is missing in all rows")
    return kept
