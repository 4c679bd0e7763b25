"""The scripts of `examples/wishes` run, and show what they promise."""

import re
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

FOLDER = Path(__file__).parent.parent / "examples" / "wishes"


def curve_rises_again(n):
    curve = n.net.validation_loss_curve_
    stopped = len(n.stopped.validation_loss_curve_) == n.stopped.n_iter_ < 150
    rises = curve[-1] > 1.2 * min(curve) and n.net.loss_curve_[-1] < 0.1 * n.net.loss_curve_[0]
    return len(curve) == 150 and rises and stopped


def callbacks_were_called(n):
    epochs, lowest = n.net.n_iter_, min(n.net.validation_loss_curve_)
    saved = n.saved.loss(n.X_val, n.y_val)
    return len(n.sizes) == epochs < 200 and len(n.rows) == epochs + 1 and abs(saved - lowest) < 1e-9 and len(n.scores) in (0, 5)


def intervals_cover(n):
    return 0.74 < n.inside < 0.86 and n.width["right"] > 2 * n.width["left"] and n.far[0] > 3 * n.near[0]


def outputs_stay_in_their_range(n):
    free, logistic = n.ranges["None"], n.ranges["logistic"]
    return free[0] < 0 <= logistic[0] < logistic[1] <= 1 < free[1]


CHECKS = {  # by script: the issue, and what holds of the names that the script has defined
    "class_weight": (9113, lambda n: n.recall["balanced"] > n.recall["None"] + 0.4 and n.balanced["balanced"] > 0.7),
    "validation_curve": (18507, curve_rises_again),
    "own_validation_set": (
        18748,
        lambda n: n.net.n_iter_ < 300 and n.net.score(n.X_val, n.y_val) == max(n.net.validation_scores_) > 0.9,
    ),
    "callbacks": (6021, callbacks_were_called),
    "dropout": (6175, lambda n: max(list(n.losses.values())[1:]) < 0.7 * next(iter(n.losses.values()))),
    "other_losses": (14571, lambda n: max(list(n.errors.values())[1:]) < 0.3 * n.errors["squared_error"]),
    "prediction_intervals": (8303, intervals_cover),
    "activations_per_layer": (10097, lambda n: n.net.to_mlp().activation == ("relu", "gelu", "tanh") and n.accuracy > 0.94),
    "own_activation": (14807, lambda n: n.refused and n.net.score(n.X, n.y) > 0.5),
    "hidden_activations": (8291, lambda n: n.accuracy > 0.94 and n.places.shape == (450, 2)),
    "input_gradient": (27996, lambda n: n.distance < 1e-8 < abs(n.jacobian).max() and n.gradient.shape == (9, 64)),
    "initialize_without_fit": (19701, lambda n: n.before < n.best < n.after and n.after > 0.9),
    "output_activation": (11791, outputs_stay_in_their_range),
    "early_stopping_in_partial_fit": (25693, lambda n: n.n_calls < 500 and n.best == n.now > 0.9 and n.unchanged),
    "multilabel_partial_fit": (12505, lambda n: n.f1[-1] > 0.6 > n.f1[0]),
    "stopping_on_the_loss": (24411, lambda n: n.losses["val_loss"] < 0.8 * n.losses["val_score"]),
}


@pytest.mark.parametrize("name", CHECKS)
def test_a_wish_is_fulfilled(name, capsys):
    plt = pytest.importorskip("matplotlib.pyplot")
    plt.switch_backend("Agg")
    script = (FOLDER / f"{name}.py").read_text(encoding="utf-8")
    issue, holds = CHECKS[name]
    assert f"[{issue}](https://github.com/scikit-learn/scikit-learn/issues/{issue})" in script
    names = {"__name__": "__main__"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.filterwarnings("ignore", "FigureCanvasAgg is non-interactive")
        exec(compile(script, f"{name}.py", "exec"), names)
    plt.close("all")
    assert holds(SimpleNamespace(**names))
    assert np.char.strip(capsys.readouterr().out) != ""


def test_the_table_names_all_scripts():
    page = (FOLDER / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| \[(\d+)\]\S+ \| .*? \| \[(\w+)\.py\]", page, re.MULTILINE)
    assert [(int(issue), name) for issue, name in rows] == [(issue, name) for name, (issue, _) in CHECKS.items()]
    assert {path.stem for path in FOLDER.glob("*.py")} == set(CHECKS)
