"""A model of tables: how their columns become inputs of its nets, and the outputs of these predictions."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from bpkernel.ensembles import Ensemble
from bpkernel.mlp import MLP
from bpkernel.tables import cells
from bpkernel.tables.delimited import TableError
from bpkernel.tables.preparation import Preparation

MOST_CELLS = 1 << 24  # inputs that are computed at once: 64 MiB in float32


@dataclass(frozen=True)
class Target:
    """The column to predict: classes, or numbers that are standardised for the nets.

    style : the decimal mark of numbers in text.  quantiles : the levels of the outputs, if they are quantiles, with 0.5 among
    them.  shifts : what is added to each, in the units of the target, so that they hold for validation rows.
    """

    name: str
    classes: list[str] = field(default_factory=list)
    style: str = "."
    mean: float = 0.0
    scale: float = 1.0
    quantiles: list[float] = field(default_factory=list)
    shifts: list[float] = field(default_factory=list)

    @property
    def n_outputs(self) -> int:
        """The outputs of the nets, but for a single one of two classes."""
        return len(self.classes) or len(self.quantiles) or 1

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

    def check(self) -> None:
        """Raise ValueError if the fields, which may come from a file, do not fit each other."""
        numbers = [self.mean, self.scale, *self.quantiles, *self.shifts]
        texts = [self.name, *self.classes]
        if not (all(isinstance(text, str) for text in texts) and np.isfinite(np.asarray(numbers, float)).all()):
            raise ValueError("its numbers or names")
        if self.style not in cells.STYLES or len(self.shifts) != len(self.quantiles):
            raise ValueError("its style or shifts")
        if self.quantiles and (self.classes or 0.5 not in self.quantiles):
            raise ValueError("its quantiles")

    def T(self, column: pd.Series) -> np.ndarray:
        """Targets of the net: class indices (n,), or standardised numbers (n,)."""
        values = self.values(column)
        return values if self.classes else (values - self.mean) / self.scale


@dataclass(frozen=True)
class Model:
    """Nets, whose predictions are averaged, with the preparation of their tables.

    ids : columns that are carried through to predictions.  header : whether the files of training named their columns.
    """

    nets: Ensemble
    preparation: Preparation
    target: Target
    ids: Sequence[str] = ()
    header: bool = True

    @property
    def net(self) -> MLP:
        """The first net; the others have the same form."""
        return self.nets[0]

    @property
    def classify(self) -> bool:
        """Whether the target is of classes."""
        return bool(self.target.classes)

    def outputs(self, frame: pd.DataFrame) -> np.ndarray:
        """The mean outputs y of the nets, (n_rows, n_outputs); inputs are computed for some rows at a time."""
        n_rows = max(MOST_CELLS // self.net.layer_sizes[0], 1)
        parts = [frame[first : first + n_rows] for first in range(0, max(len(frame), 1), n_rows)]
        return np.concatenate([self.nets.predict(self.preparation.X(part, self.net.dtype)) for part in parts])

    def probabilities(self, y: np.ndarray) -> np.ndarray:
        """Probabilities (n, n_classes) from outputs; a single output is the probability of the second class."""
        return np.hstack([1 - y, y]) if y.shape[1] == 1 else y

    def predicted(self, y: np.ndarray) -> np.ndarray:
        """Indices of classes or numbers in the units of the target, (n,), from outputs; of quantiles the median."""
        if self.classify:
            return self.probabilities(y).argmax(axis=1)
        if self.target.quantiles:
            return self.quantiles(y)[:, self.target.quantiles.index(0.5)]
        return self.in_units(y[:, 0])

    def in_units(self, y: np.ndarray) -> np.ndarray:
        """Outputs in the units of the target."""
        return y.astype(float) * self.target.scale + self.target.mean

    def quantiles(self, y: np.ndarray) -> np.ndarray:
        """Quantiles (n, n_quantiles) in the units of the target, from outputs; they never cross."""
        return np.sort(self.in_units(y) + self.target.shifts, axis=1)

    def predict(self, frame: pd.DataFrame, y: np.ndarray | None = None) -> pd.DataFrame:
        """A table with the IDs of each row, the prediction, and the probability of each class, or the quantiles.

        Pass the outputs `y` of the nets if they have been computed.
        """
        y = self.outputs(frame) if y is None else y
        predicted = self.predicted(y)
        table = pd.DataFrame({name: frame[name] for name in self.ids if name in frame.columns}, index=frame.index)
        table["prediction"] = np.asarray(self.target.classes, object)[predicted] if self.classify else predicted
        if self.classify:
            for name, column in zip(self.target.classes, self.probabilities(y).T, strict=True):
                table[f"probability_{name}"] = column
        for level, column in zip(self.target.quantiles, self.quantiles(y).T if self.target.quantiles else (), strict=True):
            table[f"quantile_{level:g}"] = column
        return table

    def save(self, path: Path) -> None:
        """Write a safetensors file, which `bp.Ensemble.load`, and of a single net `bp.MLP.load`, can read as well."""
        own = {"preparation": self.preparation.to_json(), "target": asdict(self.target)}
        metadata = {"table": own | {"ids": list(self.ids), "header": self.header}}
        if len(self.nets) == 1:
            self.net.save(path, metadata)
        else:
            self.nets.save(path, metadata)

    @classmethod
    def load(cls, path: Path) -> "Model":
        """Read a file written by `save`.  Raises ValueError if it holds nets without the columns of a table."""
        nets, metadata = Ensemble.load_with_metadata(path)
        if "table" not in metadata:
            raise ValueError(f"{path} is a net, but it was not saved by 'bpkernel train', so its columns are unknown")
        try:
            table = metadata["table"]
            model = cls(
                nets,
                Preparation.from_json(table["preparation"]),
                Target(**table["target"]),
                tuple(map(str, table["ids"])),
                bool(table["header"]),
            )
            model.preparation.check()
            model.target.check()
            n_inputs, n_outputs = len(model.preparation.inputs), model.target.n_outputs
        except (KeyError, TypeError, ValueError, AttributeError, IndexError):
            raise ValueError(f"{path} does not describe its columns as this version does: train the model again") from None
        possible = {n_outputs, 1} if len(model.target.classes) == 2 else {n_outputs}
        for net in nets:
            n_in, n_out = net.layer_sizes[0], net.layer_sizes[-1]
            if n_in != n_inputs or n_out not in possible or n_out != model.net.layer_sizes[-1]:
                raise ValueError(
                    f"{path} is damaged: a net has {n_in} inputs and {n_out} outputs, its columns {n_inputs} inputs"
                )
        return model


def rows_with_target(frame: pd.DataFrame, target: str) -> pd.DataFrame:
    """The rows whose target is not missing; raises TableError if there are none."""
    kept = frame[cells.texts(frame[target]).notna()].reset_index(drop=True)
    if not len(kept):
        raise TableError(f"the target {target} is missing in all rows")
    return kept
