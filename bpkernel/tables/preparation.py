"""From the columns of a table to the inputs of a net, by scikit-learn's transformers with parameters learnt in training.

Files hold the parameters as numbers and text, and no objects: loading one runs no code.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from sklearn.preprocessing import OneHotEncoder, PowerTransformer, RobustScaler, StandardScaler

from bpkernel.tables import cells
from bpkernel.tables.columns import Column
from bpkernel.tables.delimited import TableError
from bpkernel.tables.features import DAY, OTHER, WEEK, YEAR, Feature, learn

SKEWED = 2.0  # the skewness from which numbers are transformed by Yeo and Johnson's power
NEAREST = 1e6  # numbers further from the centre, in spreads, count as this far
LARGEST = 10.0  # inputs further from the mean, in standard deviations, count as this far
ROWS_AN_INTERVAL, FEWEST_INTERVALS, MOST_INTERVALS = 100, 2, 128  # of the piecewise linear encoding of a column of numbers
MOST_CELLS = 1 << 28  # inputs by intervals of all training rows: 1 GiB in float32


@dataclass
class Preparation:
    """How the columns of a table become inputs.

    `fill`, `centre`, `spread`, `power`, `mean`, `scale`, `knots` have an entry for each column of the numbers: of the median,
    of RobustScaler, of PowerTransformer (NaN for none), of StandardScaler, and the knots of its piecewise linear encoding
    (Gorishniy et al. 2022, eq. 1): the nets see a number itself, and how far it has come in each interval between two knots.
    """

    features: list[Feature]
    fill: list[float] = field(default_factory=list)
    centre: list[float] = field(default_factory=list)
    spread: list[float] = field(default_factory=list)
    power: list[float] = field(default_factory=list)
    mean: list[float] = field(default_factory=list)
    scale: list[float] = field(default_factory=list)
    knots: list[list[float]] = field(default_factory=list)

    @classmethod
    def learn(
        cls,
        frame: pd.DataFrame,
        columns: Sequence[Column],
        T: np.ndarray,
        *,
        classify: bool,
        seed: int,
        dtype: Any = np.float64,
    ) -> tuple["Preparation", np.ndarray]:
        """What the training rows show, and the inputs (n, n_inputs) of these rows.

        Means of the target are those of other rows than the row itself in the inputs (TargetEncoder's cross-fitting).
        """
        self, raw = cls([]), []
        for column in columns:
            feature, values = learn(frame[column.name], column, T, classify=classify, seed=seed)
            self.features.append(feature)
            if not feature.one_hot:
                raw.append(values)
        R = np.hstack(raw) if raw else np.empty((len(frame), 0))
        if R.shape[1]:
            self._learn_scales(R)
        return self, self._X(frame, R, dtype)

    def _learn_scales(self, R: np.ndarray) -> None:
        """Learn the scales of numbers (n, k)."""
        fill = np.array([np.median(c[~np.isnan(c)]) if not np.isnan(c).all() else 0.0 for c in R.T])
        filled = np.where(np.isnan(R), fill, R)
        exponent = np.frexp(np.abs(filled).max(axis=0))[1]  # within ±1: a difference may overflow, a square may vanish
        small = np.ldexp(filled, -exponent)
        robust = RobustScaler().fit(small)
        spread = np.where(small.max(axis=0) == small.min(axis=0), 1.0, robust.scale_)
        largest = np.abs(small - robust.center_).max(axis=0)
        spread = np.where(largest / spread > 1e6, largest, spread)  # where most rows have one value
        self.fill, self.centre = fill.tolist(), np.ldexp(robust.center_, exponent).tolist()
        self.spread = np.ldexp(spread, exponent).tolist()
        self.power = [np.nan] * R.shape[1]
        near = self._near(filled)
        self.power = [_power(column) for column in near.T]
        standard = StandardScaler().fit(self._powered(near))
        self.mean, self.scale = standard.mean_.tolist(), standard.scale_.tolist()
        most = MOST_CELLS // filled.size
        self.knots = [_knots(column, most) for column in self._standardised(filled).T]

    def _near(self, filled: np.ndarray) -> np.ndarray:
        """Numbers by RobustScaler."""
        halves = filled / 2 - np.asarray(self.centre) / 2  # the difference itself may overflow
        return np.clip(halves / np.asarray(self.spread) * 2, -NEAREST, NEAREST)

    def _powered(self, near: np.ndarray) -> np.ndarray:
        skewed = ~np.isnan(self.power)
        if skewed.any():
            power = PowerTransformer(standardize=False)
            power.lambdas_ = np.asarray(self.power)[skewed]
            near[:, skewed] = power.transform(near[:, skewed])
        return near

    def _standardised(self, filled: np.ndarray) -> np.ndarray:
        """Numbers without missing ones as the nets see them, (n, k)."""
        return np.clip((self._powered(self._near(filled)) - self.mean) / self.scale, -LARGEST, LARGEST)

    def X(self, frame: pd.DataFrame, dtype: Any = np.float64) -> np.ndarray:
        """Inputs (n, n_inputs); columns may be in any order, others are ignored, missing ones count as empty."""
        have = {feature.name for feature in self.features} & set(frame.columns)
        if not have:
            names = ", ".join(repr(feature.name) for feature in self.features[:20])
            raise TableError(f"the table has none of the columns that the model was trained on: {names}")
        lacking = [feature.name for feature in self.features if feature.name not in have]
        if lacking:
            frame = frame.assign(**{name: pd.Series([None] * len(frame), frame.index, object) for name in lacking})
        raw = [feature.raw(frame[feature.name]) for feature in self.features if not feature.one_hot]
        return self._X(frame, np.hstack(raw) if raw else np.empty((len(frame), 0)), dtype)

    def _X(self, frame: pd.DataFrame, R: np.ndarray, dtype: Any) -> np.ndarray:
        """Inputs of a table whose numbers are R (n, k)."""
        X, place = np.empty((len(frame), len(self.inputs)), dtype), 0

        def put(part: np.ndarray) -> None:
            nonlocal place
            X[:, place : place + part.shape[1]] = part
            place += part.shape[1]

        missing = np.isnan(R)
        if R.shape[1]:
            Z = self._standardised(np.where(missing, self.fill, R))
            put(Z)
            for z, knots in zip(Z.T, self._ends(), strict=True):
                put(np.clip((z[:, np.newaxis] - knots[:-1]) / np.diff(knots), 0, 1))
        first = 0
        for feature in self.features:
            if not feature.one_hot:
                if feature.filled:
                    put(missing[:, first : first + 1])
                first += len(feature.inputs())
        one_hot = [feature for feature in self.features if feature.one_hot]
        if one_hot:
            found = np.column_stack([feature.categories(frame[feature.name]) for feature in one_hot])
            encoder = OneHotEncoder(categories=[feature.values for feature in one_hot], handle_unknown="ignore")
            put(encoder.fit(np.array([[feature.values[0] for feature in one_hot]], object)).transform(found).toarray())
        return X

    def chained(self, X: np.ndarray, jacobian: np.ndarray) -> np.ndarray:
        """Derivatives (n, n_outputs, n_inputs) by numbers as a whole, from those by inputs X (n, n_inputs) of their own.

        A number has an influence by itself and by the interval that it is in, at a knot the lower one; the derivatives by
        intervals are then 0.
        """
        chained, place = jacobian.copy(), len(self.knots)
        for number, knots in enumerate(self._ends()):
            own = slice(place, place + len(knots) - 1)
            if len(knots) > 1:
                z = X[:, number]
                upper = np.clip(np.searchsorted(knots, z), 1, len(knots) - 1)
                inside = (z >= knots[0]) & (z <= knots[-1])
                slope = inside / (knots[upper] - knots[upper - 1])
                chained[:, :, number] += jacobian[np.arange(len(X)), :, place + upper - 1] * slope[:, np.newaxis]
                chained[:, :, own] = 0.0
            place = own.stop
        return chained

    def _ends(self) -> list[np.ndarray]:
        """The knots of each column of the numbers; no intervals are one knot."""
        return [np.asarray(knots or [0.0]) for knots in self.knots]

    @property
    def inputs(self) -> list[tuple[str, str]]:
        """The name of each input, and that of its column."""
        numbers = [(name, f.name) for f in self.features if not f.one_hot for name in f.inputs()]
        ends = zip(numbers, self.knots, strict=True)
        numbers += [(f"{name}, interval {i}", column) for (name, column), knots in ends for i in range(1, len(knots))]
        missing = [(f"{f.name} is missing", f.name) for f in self.features if f.filled]
        return numbers + missing + [(f"{f.name} = {value}", f.name) for f in self.features if f.one_hot for value in f.values]

    def told(self, frame: pd.DataFrame) -> list[str]:
        """What of a table to predict differs from training, a line each."""
        found = []
        for feature in self.features:
            if feature.name not in frame.columns:
                found.append(f"there is no column {feature.name!r}: it counts as missing in all rows")
                continue
            texts = cells.texts(frame[feature.name])
            present = texts[texts.notna()]
            if feature.kind == "category":
                unseen = sorted(set(present.unique()) - set(feature.values))
                if unseen and OTHER not in feature.values:
                    found.append(f"column {feature.name!r} has values that did not occur in training: {_some(unseen)}")
            elif len(present):
                odd = present[np.isnan(feature.raw(present)[:, 0])]
                if len(odd):
                    found.append(f"column {feature.name!r} holds cells that are no {feature.kind}: {_some(odd.unique())}")
        return found

    def check(self) -> None:
        """Raise ValueError if the parameters, which may come from a file, do not fit the features."""
        numbers = self.fill, self.centre, self.spread, self.power, self.mean, self.scale
        lengths = {len(np.asarray(values, float)) for values in numbers} | {len(self.knots)}
        if not all(len(k) != 1 and np.isfinite(np.asarray(k, float)).all() and (np.diff(k) > 0).all() for k in self.knots):
            raise ValueError("knots that do not rise")
        if lengths != {sum(len(feature.inputs()) for feature in self.features if not feature.one_hot)}:
            raise ValueError(f"parameters of {lengths} numbers")
        for feature in self.features:
            texts = [feature.name, feature.kind, feature.style, *feature.values]
            encodings = np.asarray(feature.encodings, float)
            wanted = (len(feature.values), len(feature.default)) if feature.encodings else (0,)
            known = feature.kind in ("number", "date", "boolean", "category") and all(isinstance(text, str) for text in texts)
            styles = {"number": feature.style in cells.STYLES, "boolean": feature.style in cells.TRUE}
            cycles = all(period in (YEAR, WEEK, DAY) for period in feature.cycles)
            if not (known and encodings.shape == wanted and styles.get(feature.kind, True) and cycles):
                raise ValueError(f"column {feature.name!r}")

    def to_json(self) -> dict[str, Any]:
        """The preparation as lists, text and numbers; None for NaN."""
        return asdict(self) | {"power": [None if np.isnan(power) else power for power in self.power]}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Preparation":
        """The inverse of `to_json`."""
        power = [np.nan if power is None else power for power in data["power"]]
        return cls(**data | {"features": [Feature(**feature) for feature in data["features"]], "power": power})


def _some(values: Sequence[str]) -> str:
    return ", ".join(map(repr, list(values)[:5])) + (", …" if len(values) > 5 else "")


def _power(column: np.ndarray) -> float:
    """Yeo and Johnson's power for skewed numbers, NaN for others."""
    deviations = column - column.mean()
    variance = (deviations**2).mean()
    if variance == 0 or len(np.unique(column)) < 10 or abs((deviations**3).mean()) < SKEWED * variance**1.5:
        return np.nan
    power = float(PowerTransformer(standardize=False).fit(column[:, np.newaxis]).lambdas_[0])
    return power if np.isfinite(power) else np.nan


def _knots(column: np.ndarray, most: int) -> list[float]:
    """Quantiles of standardised numbers (n,) for so many intervals at most; none for two values, which are categories."""
    if len(np.unique(column)) <= 2:
        return []
    n_intervals = max(min(len(column) // ROWS_AN_INTERVAL, MOST_INTERVALS, most), FEWEST_INTERVALS)
    knots = np.unique(np.quantile(column, np.linspace(0, 1, n_intervals + 1)))
    return knots.tolist() if len(knots) > 2 else []
