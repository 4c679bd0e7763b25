"""From the columns of a table to the inputs of a net, by scikit-learn's transformers with parameters learnt in training.

Files hold the parameters as numbers and text, and no objects: loading one runs no code.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import sklearn
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.preprocessing import OneHotEncoder, PowerTransformer, RobustScaler, StandardScaler, TargetEncoder

from bpkernel.tables import cells
from bpkernel.tables.columns import Column
from bpkernel.tables.delimited import TableError

MISSING, OTHER = "(missing)", "(other)"  # categories
RARE = 3  # rows: categories with fewer, and those unseen in training, are one
MOST_ONE_HOT = 30  # categories; columns with more are encoded by the mean of the target
SKEWED = 2.0  # the skewness from which numbers are transformed by Yeo and Johnson's power
LARGEST = 10.0  # inputs further from the mean, in standard deviations, count as this far
CV_GIVEN = tuple(map(int, sklearn.__version__.split(".")[:2])) >= (1, 9)  # which takes the folds, and their seed, as an object
YEAR, WEEK, DAY = 365.2425, 7.0, 1.0  # in days


@dataclass
class Feature:
    """A column that the net sees; what it does not have of the following is empty.

    values : the categories.  encodings (n_values, k), default (k,) : for many categories, the mean target of each.
    cycles : the periods of a date in days, each seen as sine and cosine.  filled : whether missing cells are told to the net.
    """

    name: str
    kind: str
    style: str = ""
    values: list[str] = field(default_factory=list)
    encodings: list[list[float]] = field(default_factory=list)
    default: list[float] = field(default_factory=list)
    cycles: list[float] = field(default_factory=list)
    filled: bool = False

    @property
    def one_hot(self) -> bool:
        """Whether each category is an input."""
        return self.kind == "category" and not self.encodings

    def categories(self, column: pd.Series) -> np.ndarray:
        """The categories of the cells (n,): unseen ones are rare ones."""
        found = cells.texts(column).fillna(MISSING)
        return found.where(found.isin(self.values), OTHER).to_numpy(object)

    def raw(self, column: pd.Series) -> np.ndarray:
        """Numbers (n, k) of a column that is not one-hot, NaN where they are missing."""
        if self.kind == "number":
            return cells.numbers(column, self.style)[:, np.newaxis]
        if self.kind == "boolean":
            return cells.booleans(column, self.style)[:, np.newaxis]
        if self.kind == "date":
            days = cells.dates(column, self.style)
            angles = [2 * np.pi * days / period for period in self.cycles]
            return np.column_stack([days, *(part(angle) for angle in angles for part in (np.sin, np.cos))])
        codes = pd.Index(self.values).get_indexer(pd.Index(self.categories(column)))
        return np.vstack([np.asarray(self.encodings), self.default])[codes]  # -1 is the last

    def inputs(self) -> list[str]:
        """The names of the columns of `raw`."""
        if self.kind == "date":
            names = {YEAR: "day of the year", WEEK: "day of the week", DAY: "time of the day"}
            return [self.name, *(f"{self.name}: {names[p]}, {part}" for p in self.cycles for part in ("sine", "cosine"))]
        return [self.name] if len(self.default) < 2 else [f"{self.name}: mean {i}" for i in range(len(self.default))]


@dataclass
class Preparation:
    """How the columns of a table become inputs.

    `fill`, `centre`, `spread`, `power`, `mean`, `scale` have an entry for each column of the numbers: of the median, of
    RobustScaler, of PowerTransformer (NaN for none) and of StandardScaler.
    """

    features: list[Feature]
    fill: list[float] = field(default_factory=list)
    centre: list[float] = field(default_factory=list)
    spread: list[float] = field(default_factory=list)
    power: list[float] = field(default_factory=list)
    mean: list[float] = field(default_factory=list)
    scale: list[float] = field(default_factory=list)

    @classmethod
    def learn(
        cls, frame: pd.DataFrame, columns: Sequence[Column], T: np.ndarray, *, classify: bool, seed: int
    ) -> tuple["Preparation", np.ndarray]:
        """What the training rows show, and the inputs (n, n_inputs) of these rows.

        Means of the target are those of other rows than the row itself in the inputs (TargetEncoder's cross-fitting).
        """
        self, raw = cls([]), []
        for column in columns:
            feature, values = _learn(frame[column.name], column, T, classify=classify, seed=seed)
            self.features.append(feature)
            if not feature.one_hot:
                raw.append(values)
        R = np.hstack(raw) if raw else np.empty((len(frame), 0))
        if R.shape[1]:
            self._learn_scales(R)
        return self, self._X(frame, R)

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

    def _near(self, filled: np.ndarray) -> np.ndarray:
        """Numbers by RobustScaler."""
        halves = filled / 2 - np.asarray(self.centre) / 2  # the difference itself may overflow
        return np.clip(halves / np.asarray(self.spread) * 2, -1e6, 1e6)

    def _powered(self, near: np.ndarray) -> np.ndarray:
        skewed = ~np.isnan(self.power)
        if skewed.any():
            power = PowerTransformer(standardize=False)
            power.lambdas_ = np.asarray(self.power)[skewed]
            near[:, skewed] = power.transform(near[:, skewed])
        return near

    def X(self, frame: pd.DataFrame) -> np.ndarray:
        """Inputs (n, n_inputs) float64; columns may be in any order, others are ignored, missing ones count as empty."""
        have = {feature.name for feature in self.features} & set(frame.columns)
        if not have:
            names = ", ".join(repr(feature.name) for feature in self.features[:20])
            raise TableError(f"the table has none of the columns that the model was trained on: {names}")
        lacking = [feature.name for feature in self.features if feature.name not in have]
        if lacking:
            frame = frame.assign(**{name: pd.Series([None] * len(frame), frame.index, object) for name in lacking})
        raw = [feature.raw(frame[feature.name]) for feature in self.features if not feature.one_hot]
        return self._X(frame, np.hstack(raw) if raw else np.empty((len(frame), 0)))

    def _X(self, frame: pd.DataFrame, R: np.ndarray) -> np.ndarray:
        """Inputs of a table whose numbers are R (n, k)."""
        missing, parts = np.isnan(R), []
        if R.shape[1]:
            numbers = self._powered(self._near(np.where(missing, self.fill, R)))
            parts.append(np.clip((numbers - self.mean) / self.scale, -LARGEST, LARGEST))
        place = 0
        for feature in self.features:
            if not feature.one_hot:
                if feature.filled:
                    parts.append(missing[:, place : place + 1].astype(float))
                place += len(feature.inputs())
        one_hot = [feature for feature in self.features if feature.one_hot]
        if one_hot:
            found = np.column_stack([feature.categories(frame[feature.name]) for feature in one_hot])
            encoder = OneHotEncoder(categories=[feature.values for feature in one_hot], handle_unknown="ignore")
            parts.append(encoder.fit(np.array([[feature.values[0] for feature in one_hot]], object)).transform(found).toarray())
        return np.hstack(parts)

    @property
    def inputs(self) -> list[tuple[str, str]]:
        """The name of each input, and that of its column."""
        numbers = [(name, f.name) for f in self.features if not f.one_hot for name in f.inputs()]
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
        lengths = {len(np.asarray(values, float)) for values in numbers}
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


def _learn(column: pd.Series, told: Column, T: np.ndarray, *, classify: bool, seed: int) -> tuple[Feature, np.ndarray]:
    """The feature of a column of training rows, and its numbers."""
    feature = Feature(told.name, told.kind, told.style)
    if told.kind == "category":
        return feature, _learn_categories(feature, column, T, classify=classify, seed=seed)
    if told.kind == "date":
        days = feature.raw(column)[:, 0]
        days = days[~np.isnan(days)]
        span = np.ptp(days) if len(days) else 0.0
        varies = {YEAR: span > YEAR, WEEK: span > 2 * WEEK and np.ptp(days % WEEK) >= 1, DAY: bool((days % DAY != 0).any())}
        feature.cycles = [period for period, sees in varies.items() if sees]
    raw = feature.raw(column)
    feature.filled = bool(np.isnan(raw[:, 0]).any())
    return feature, raw


def _learn_categories(feature: Feature, column: pd.Series, T: np.ndarray, *, classify: bool, seed: int) -> np.ndarray:
    texts = cells.texts(column).fillna(MISSING)
    counts = texts.value_counts()
    kept = sorted(counts.index[counts >= RARE]) or sorted(counts.index[:1])
    feature.values = [*kept, OTHER] if len(kept) < len(counts) else kept
    if len(feature.values) <= MOST_ONE_HOT:
        return np.empty((len(texts), 0))
    n_classes = len(np.unique(T))
    kind = "continuous" if not classify else "binary" if n_classes == 2 else "multiclass"
    shuffled = {"shuffle": True, "random_state": seed}
    folds = KFold(5, **shuffled) if kind == "continuous" else StratifiedKFold(5, **shuffled)
    encoder = TargetEncoder(target_type=kind, **({"cv": folds} if CV_GIVEN else {"cv": 5, "random_state": seed}))
    values = np.asarray(feature.categories(column), object)[:, np.newaxis]
    found = encoder.fit_transform(values, T)
    known = list(encoder.categories_[0])
    feature.encodings = np.stack(
        [encoding[[known.index(v) for v in feature.values]] for encoding in encoder.encodings_], 1
    ).tolist()
    feature.default = np.atleast_1d(encoder.target_mean_).tolist()
    return found
