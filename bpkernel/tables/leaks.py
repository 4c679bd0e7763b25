"""Signs that a score on held-back rows may be too good to be true, or rests on a few rows."""

import numpy as np
import pandas as pd
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from bpkernel.tables.evidence import guess, main_score_of, score_name
from bpkernel.tables.training_run import TrainingRun

MOST_ROWS = 5000  # that a tree is made from, and tested on
FEWEST_ROWS = 10  # from which a score says something
ALONE = 0.99  # an accuracy, or R², of one column that is suspicious
EASY = 0.9  # unless a guess is right that often
FAR = 100  # interquartile ranges from the median
SAME = 0.05  # a part of the test rows that occur in training


def signs(run: TrainingRun) -> list[str]:
    """What is suspicious about the rows of a run, a sentence each."""
    found = [*_alone(run), *_same_rows(run), *_far(run)]
    if is_sorted(run.true, classify=run.problem.classify):
        found.append(
            "the rows are sorted by the target: rows are split at random, so the scores hold only if rows that stand together "
            "have nothing else in common"
        )
    return found


def _alone(run: TrainingRun) -> list[str]:
    """Columns that predict the target without the others."""
    (X, T), (X_test, T_test) = run.inputs("train"), run.inputs("test")
    classify, true, true_test = run.problem.classify, run.true_of("train"), run.true_of("test")
    known = guess(run.target, true, true_test)
    if len(true_test) < FEWEST_ROWS or known.get("accuracy", 0.0) > EASY:
        return []
    if not classify:  # squares of the numbers themselves may overflow
        true, true_test = T, T_test
    kind = DecisionTreeClassifier if classify else DecisionTreeRegressor
    names = np.array([column for _, column in run.preparation.inputs])
    found = []
    for feature in run.preparation.features:
        own = names == feature.name
        tree = kind(min_samples_leaf=5, random_state=0).fit(X[:MOST_ROWS, own], true[:MOST_ROWS])
        score = main_score_of(true_test[:MOST_ROWS], tree.predict(X_test[:MOST_ROWS, own]), classify=classify)
        if score >= ALONE:
            found.append(
                f"column {feature.name!r} alone predicts the target ({score_name(classify)} {score:.4f} on the test rows): if "
                "it is not known before the target is, leave it out (--drop)"
            )
    return found


def _same_rows(run: TrainingRun) -> list[str]:
    """Test rows with the cells of a training row in all columns that are used, and in the target."""
    names = [*(feature.name for feature in run.preparation.features), run.target.name]
    train, test = run.splits.rest.iloc[run.splits.rows("train")][names], run.splits.test[names]
    seen, rows = (pd.util.hash_pandas_object(frame.astype(str), index=False).to_numpy() for frame in (train, test))
    n = int(np.isin(rows, seen).sum())
    if n <= SAME * len(rows):
        return []
    what = "if they are the same cases, the scores are too good"
    return [f"{n} of {len(rows)} test rows have the cells of a training row: {what}"]


def _far(run: TrainingRun) -> list[str]:
    """Numbers of the target that are far from all others."""
    if run.problem.classify or len(run.true) < FEWEST_ROWS:
        return []
    low, middle, high = np.quantile(run.true, [0.25, 0.5, 0.75])
    with np.errstate(over="ignore"):
        far = run.true[np.abs(run.true - middle) > FAR * (high - low)] if high > low else run.true[:0]
    if not len(far):
        return []
    return [
        f"{len(far)} of {len(run.true)} values of the target, such as {far[0]:g}, are more than {FAR} times the interquartile "
        f"range away from the median {middle:g}: they dominate RMSE and R²; if they are right, consider --loss huber"
    ]


def is_sorted(values: np.ndarray, *, classify: bool) -> bool:
    """Whether rows of a class stand together, or numbers rise or fall from the first row to the last; values (n,)."""
    if len(values) < 2 * FEWEST_ROWS:
        return False
    steps = np.diff(values)
    if classify:
        return int((steps != 0).sum()) == len(np.unique(values)) - 1
    return bool((steps >= 0).all() or (steps <= 0).all())
