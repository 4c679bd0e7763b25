"""Signs that a score on held-back rows may be too good to be true."""

import numpy as np
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from bpkernel.tables.evidence import guess, main_score
from bpkernel.tables.training_run import TrainingRun

MOST_ROWS = 5000  # that a tree is made from, and tested on
FEWEST_ROWS = 10  # from which a score says something
ALONE = 0.99  # an accuracy, or R², of one column that is suspicious
EASY = 0.9  # unless a guess is right that often
SAME = 0.05  # a part of the test rows that occur in training


def signs(run: TrainingRun) -> list[str]:
    """What is suspicious about the rows of a run, a sentence each."""
    found = [*_alone(run), *_same_rows(run)]
    if is_sorted(run.true, classify=run.model.classify):
        found.append(
            "the rows are sorted by the target: rows are split at random, so the scores hold only if rows that stand together "
            "have nothing else in common"
        )
    return found


def _alone(run: TrainingRun) -> list[str]:
    """Columns that predict the target without the others."""
    (X, T), (X_test, T_test) = run.inputs("train"), run.inputs("test")
    model, true, true_test = run.model, run.true_of("train"), run.true_of("test")
    known = guess(model, true, true_test)
    if len(true_test) < FEWEST_ROWS or known.get("accuracy", 0.0) > EASY:
        return []
    if not model.classify:  # squares of the numbers themselves may overflow
        true, true_test = T, T_test
    kind = DecisionTreeClassifier if model.classify else DecisionTreeRegressor
    names = np.array([column for _, column in model.preparation.inputs])
    found = []
    for feature in model.preparation.features:
        own = names == feature.name
        tree = kind(min_samples_leaf=5, random_state=0).fit(X[:MOST_ROWS, own], true[:MOST_ROWS])
        score = main_score(model, true_test[:MOST_ROWS], tree.predict(X_test[:MOST_ROWS, own]))
        if score >= ALONE:
            found.append(
                f"column {feature.name!r} alone predicts the target ({model.score_name} {score:.4f} on the test rows): if it "
                f"is not known before the target is, leave it out (--drop)"
            )
    return found


def _same_rows(run: TrainingRun) -> list[str]:
    """Test rows with the inputs and the target of a training row."""
    train, test = ([row.tobytes() for row in np.column_stack(run.inputs(part))] for part in ("train", "test"))
    seen = set(train)
    n = sum(row in seen for row in test)
    if n <= SAME * len(test):
        return []
    what = "if they are the same cases, the scores are too good"
    return [f"{n} of {len(test)} test rows have the inputs and the target of a training row: {what}"]


def is_sorted(values: np.ndarray, *, classify: bool) -> bool:
    """Whether rows of a class stand together, or numbers rise or fall from the first row to the last; values (n,)."""
    if len(values) < 2 * FEWEST_ROWS:
        return False
    steps = np.diff(values)
    if classify:
        return int((steps != 0).sum()) == len(np.unique(values)) - 1
    return bool((steps >= 0).all() or (steps <= 0).all())
