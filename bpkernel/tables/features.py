"""The columns that a net sees: what their cells are, and what the training rows show of each."""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import sklearn
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.preprocessing import TargetEncoder

from bpkernel.tables import cells
from bpkernel.tables.columns import Column

MISSING, OTHER = "(missing)", "(other)"  # categories
RARE = 3  # rows: categories with fewer, and those unseen in training, are one
MOST_ONE_HOT = 30  # categories; columns with more are encoded by the mean of the target
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


def learn(column: pd.Series, told: Column, T: np.ndarray, *, classify: bool, seed: int) -> tuple[Feature, np.ndarray]:
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
