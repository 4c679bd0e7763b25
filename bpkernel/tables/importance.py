"""Which columns the predictions of a model depend on, and how much."""

from typing import Any

import numpy as np

from bpkernel.tables.evidence import main_score_of
from bpkernel.tables.model import Model

MOST_ROWS = 5000  # that importances are measured on; derivatives on a fifth of them
REPEATS = 5  # permutations of each column


def importances(
    model: Model, X: np.ndarray, true: np.ndarray | None, seed: int = 0, *, slopes: bool = True
) -> dict[str, dict[str, Any]]:
    """The importance of each column, by name; the most important one first.

    Parameters
    ----------
    X : ndarray (n, n_inputs)
        Inputs of the net.
    true : ndarray (n,) or None
        Classes or numbers as of `Target.values`, all known; None for derivatives only.
    slopes : bool, default=True
        Whether derivatives are wanted; their kernels take seconds to compile.

    Returns
    -------
    dict of dict
        `drop`, `drop_std`: by how much accuracy or R² falls when the column is permuted among the rows, mean and standard
        deviation of five permutations (Breiman 2001).  `slope`: the root mean square over the rows of the derivatives of the
        outputs by the inputs of the column, of probabilities or in the units of the target, for a standard deviation of
        numbers or a change of category.
    """
    rng = np.random.default_rng(seed)
    rows = rng.permutation(len(X))[:MOST_ROWS]
    X, true = X[rows], None if true is None else true[rows]
    names = np.array([column for _, column in model.preparation.inputs])
    own = {feature.name: names == feature.name for feature in model.preparation.features}
    found: dict[str, dict[str, Any]] = {name: {} for name in own}
    if slopes:
        few = X[: MOST_ROWS // 5]
        jacobian = np.mean([net.jacobian(few) for net in model.nets], axis=0, dtype=float) * model.target.scale
        squares = (model.preparation.chained(few, jacobian) ** 2).sum(axis=1).mean(axis=0)
        for name, inputs in own.items():
            found[name]["slope"] = float(np.sqrt(squares[inputs].sum()))
    if true is not None and len(true) > 1:
        score = lambda X: main_score_of(true, model.predicted(model.nets.predict(X)), classify=model.classify)  # noqa: E731
        whole = score(X)
        for name, inputs in own.items():
            drops = []
            for _ in range(REPEATS):
                permuted = X.copy()
                permuted[:, inputs] = X[rng.permutation(len(X))][:, inputs]
                drops.append(whole - score(permuted))
            found[name] |= {"drop": float(np.mean(drops)), "drop_std": float(np.std(drops))}
    return dict(sorted(found.items(), key=lambda item: -item[1].get("drop", item[1].get("slope", 0.0))))
