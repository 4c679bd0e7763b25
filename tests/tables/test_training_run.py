"""Training on a table: the splits, the nets, what is chosen, and the same by hand."""

import dataclasses
import time

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import RobustScaler, StandardScaler

import bpkernel as bp
from bpkernel.tables import evidence, nets
from bpkernel.tables.datasets import dataset
from bpkernel.tables.delimited import TableError
from bpkernel.tables.nets import Execution
from bpkernel.tables.options import Options
from bpkernel.tables.splits import Splits, folds_of
from bpkernel.tables.training_run import NOTHING, TrainingRun, repeated, spread


def options(**changes):
    return Options(**{"epochs": 5, "ensemble": 2} | changes)


@pytest.mark.parametrize(("n", "n_folds"), [(10, 2), (11, 3), (101, 5), (5, 5)])
def test_folds_hold_each_row_once_and_classes_in_their_proportions(n, n_folds):
    classes = np.arange(n) % 2
    for of in (None, classes):
        folds = folds_of(n, n_folds, of, 0)
        assert sorted(np.concatenate(folds)) == list(range(n))
        sizes = [len(fold) for fold in folds]
        assert max(sizes) - min(sizes) <= 1
    ones = [classes[fold].sum() for fold in folds]
    assert max(ones) - min(ones) <= 1


def test_parts_of_a_table_have_no_row_in_common():
    frame, target = dataset("iris")
    frame["row"] = np.arange(150.0)
    for own in (options(ensemble=5), options(ensemble=1), options(cv=4)):
        splits = Splits.of(frame, target, True, own, 0 if own.cv else None)
        test = set(splits.test["row"])
        rest = set(splits.rest["row"])
        assert test | rest == set(range(150))
        assert not test & rest
        assert splits.sizes()["test"] == (38 if own.cv else 30)
        assert len(splits.folds) == own.ensemble
        if own.ensemble == 1:
            assert splits.sizes() == {"train": 105, "validation": 15, "test": 30}
            assert not set(splits.rows("train")) & set(splits.rows("validation"))
        else:
            assert splits.sizes()["train"] == splits.sizes()["validation"] == len(rest)


def test_each_row_is_validated_by_the_net_that_has_not_seen_it(trained):
    made = trained("high", ensemble=3)
    X, (y, _) = made.run.problem.X, made.outputs("validation")
    for net, fold in zip(made.model.nets, made.run.splits.folds, strict=True):
        np.testing.assert_array_equal(y[fold], net.predict(X[fold]))
    assert len(y) == len(X)
    y_test, true = made.outputs("test")
    np.testing.assert_array_equal(y_test, made.model.outputs(made.run.splits.test))
    assert len(true) == len(made.run.splits.test)


def test_predictions_are_those_of_the_same_pipeline_by_hand():
    """Scaling by scikit-learn, the intervals by their definition, the nets by `bp.MLP` and `fit`."""
    data = load_iris(as_frame=True)
    frame = data.frame.rename(columns={"target": "kind"}).astype({"kind": str})
    made = TrainingRun(frame, "kind", options(ensemble=1, epochs=30, seed=7)).train(Execution())
    y = data.target.to_numpy()
    rest, test = train_test_split(np.arange(150), test_size=0.2, random_state=7, stratify=y)
    own, held_back = train_test_split(np.arange(120), test_size=0.125, random_state=7, stratify=y[rest])
    train = rest[np.sort(own)]
    scaler = make_pipeline(RobustScaler(), StandardScaler()).fit(data.data.to_numpy()[train])
    Z = scaler.transform(data.data.to_numpy()).clip(-10, 10)
    parts = [Z]
    for column in Z.T:
        low, middle, high = np.quantile(column[train], [0, 0.5, 1])
        parts.append(np.clip((column[:, None] - [low, middle]) / [middle - low, high - middle], 0, 1))
    X = np.hstack(parts)
    net = bp.MLP((12, 100, 3), "tanh", "softmax", "cross_entropy", random_state=[7, 0])
    held_back = rest[held_back]
    net.fit(
        X[train],
        y[train],
        epochs=30,
        batch_size=16,
        optimizer=bp.AdamW(0.001, weight_decay=0.01),
        validation_data=(X[held_back], y[held_back]),
        patience=20,
    )
    found = made.model.predict(frame.iloc[test])
    np.testing.assert_allclose(found.iloc[:, 1:], net.predict(X[test]), rtol=1e-4, atol=1e-5)
    assert (found["prediction"].to_numpy().astype(int) == net.predict(X[test]).argmax(axis=1)).all()


@pytest.mark.parametrize("ensemble", [1, 3])
def test_nets_have_the_bits_of_any_number_of_threads(on_one_and_two_threads, ensemble):
    frame, target = dataset("wine")

    def parameters(n_threads):
        made = TrainingRun(frame, target, options(ensemble=ensemble)).train(Execution())
        return np.stack([net.parameters for net in made.model.nets])

    one, two = on_one_and_two_threads(parameters)
    np.testing.assert_array_equal(one, two)


def test_tuning_keeps_what_is_best_for_the_validation_rows():
    frame, target = dataset("wine")
    made = TrainingRun(frame, target, options(tune=True, metric="accuracy", epochs=2)).train(Execution())
    rows = made.trained.tuning
    assert len(rows) == 12
    best = max(rows, key=lambda row: row["val_accuracy"])
    assert made.model.net.layer_sizes[1:-1] == tuple(best["hidden"])
    assert made.trained.options.rate == best["learning_rate"]
    assert len({row["val_accuracy"] for row in rows}) > 3
    _, true = made.outputs("validation")
    y, _ = made.outputs("validation")
    assert (y.argmax(axis=1) == true).mean() == pytest.approx(best["val_accuracy"], abs=0.01)


def test_time_is_limited():
    frame, target = dataset("digits")
    start = time.monotonic()
    made = TrainingRun(frame, target, options(time_limit=0.2, epochs=10**5, patience=10**5)).train(Execution())
    assert time.monotonic() - start < 60
    assert made.trained.complete
    assert all(1 <= len(history.loss) < 10**5 for history in made.model.nets.histories)


@pytest.mark.parametrize(
    ("metric", "monitored"),
    [("roc_auc", "val_roc_auc_ovr"), ("f1_macro", "val_f1_macro"), ("log_loss", "val_loss"), (None, "val_loss")],
)
def test_the_metric_decides_which_weights_are_kept(trained, metric, monitored):
    made = trained("size", metric=metric, epochs=12, patience=12, learning_rate=0.02, ensemble=2)
    for history in made.model.nets.histories:
        values = history.figures()[monitored]
        best = min(values) if monitored == "val_loss" else max(values)
        assert values[history.best_epoch] == best


def test_rare_classes_count_more_with_balanced_weights():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2000, 2))
    rare = x[:, 0] + rng.standard_normal(2000) > 2.3
    frame = pd.DataFrame({"a": x[:, 0], "b": x[:, 1], "y": np.where(rare, "rare", "usual")})
    shares = {}
    for weight in (None, "balanced"):
        made = TrainingRun(frame, "y", options(class_weight=weight, epochs=20)).train(Execution())
        y, true = made.outputs("test")
        found = evidence.scores(made.model, true, y)
        shares[weight] = found["classes"]["rare"]["recall"]
    assert shares["balanced"] > shares[None] + 0.3


def test_quantiles_hold_for_new_rows():
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, 4000)
    frame = pd.DataFrame({"x": x, "y": 50 + 10 * x + (1 + x) * rng.standard_normal(4000)})
    levels = (0.05, 0.5, 0.95)
    made = TrainingRun(frame[:3000], "y", options(quantiles=levels, epochs=30)).train(Execution())
    table = made.model.predict(frame[3000:])
    truth = frame["y"][3000:].to_numpy()
    for level in levels:
        assert (truth <= table[f"quantile_{level:g}"]).mean() == pytest.approx(level, abs=0.03)  # 4 standard deviations
    width = (table["quantile_0.95"] - table["quantile_0.05"]).to_numpy()
    assert np.corrcoef(width, 1 + frame["x"][3000:])[0, 1] > 0.9
    y, true = made.outputs("test")
    assert evidence.scores(made.model, true, y)["below_quantile"].keys() == {"0.05", "0.5", "0.95"}


def test_dropout_and_schedules_reach_the_nets(trained):
    made = trained("score", dropout=0.25, schedule="cosine", ensemble=2)
    assert made.model.net.dropout == (0.25,)
    plain = trained("score", ensemble=2)
    assert (made.model.net.parameters != plain.model.net.parameters).any()


def test_cross_validation_tests_each_row_once_and_seeds_split_anew():
    frame, target = dataset("iris")
    frame["row"] = np.arange(150.0)
    runs = list(repeated(frame, target, options(cv=3), NOTHING, True))
    assert sorted(row for run in runs for row in run.splits.test["row"]) == list(range(150))
    runs = list(repeated(frame, target, options(seeds=3), NOTHING, True))
    assert len({tuple(run.splits.test["row"]) for run in runs}) == 3
    assert [run.options.seed for run in runs] == [1, 2, 3]


def test_the_spread_is_of_the_scores_that_all_runs_have():
    found = spread([{"a": 1.0, "b": 2.0, "names": []}, {"a": 3.0, "names": []}])
    assert found == {"a": {"mean": 2.0, "std": pytest.approx(2**0.5), "values": [1.0, 3.0]}}


@pytest.mark.parametrize(
    ("target", "changes", "reasons"),
    [
        ("size", {"quantiles": (0.5,), "task": "classification"}, ["--quantiles are for regression"]),
        ("score", {"metric": "accuracy", "class_weight": "balanced"}, ["use r2 or rmse or mae", "--class-weight is for"]),
        ("size", {"cv": 3, "seeds": 2}, ["choose one"]),
        ("score", {"quantiles": (0.5,), "loss": "squared_error"}, ["leave out --loss"]),
    ],
)
def test_options_that_do_not_fit_are_told_together(trained, target, changes, reasons):
    with pytest.raises(TableError) as refused:
        trained(target, **changes)
    for reason in reasons:
        assert reason in str(refused.value)


def test_scores_agree_with_scikit_learn(trained):
    made = trained("high", epochs=8, ensemble=2)
    y, true = made.outputs("test")
    found = evidence.scores(made.model, true, y)
    assert found["roc_auc"] == pytest.approx(roc_auc_score(true, y[:, 1]))
    assert found["accuracy"] == (y.argmax(axis=1) == true).mean()
    assert found["roc_auc"] > 0.8
    assert LogisticRegression().fit(made.run.problem.X, made.run.problem.T).score(made.run.X_test, true) > 0.7


def test_a_net_that_diverges_is_told():
    frame, target = dataset("diabetes")
    run = TrainingRun(frame, target, options(optimizer="sgd", learning_rate=1e30))
    with pytest.raises(FloatingPointError, match="diverged"):
        run.train(Execution())


def test_candidates_that_diverge_are_not_chosen():
    frame, target = dataset("diabetes")
    run = TrainingRun(frame, target, options(optimizer="sgd", learning_rate=0.1, tune=True))
    made = run.train(Execution())
    assert any(row["val_loss"] is None for row in made.trained.tuning)
    assert np.isfinite(made.model.nets.scores()).all()
    assert len(nets.candidates(run.options)) == len(made.trained.tuning)
    assert dataclasses.replace(run.options, hidden=(32,)).n_runs == 1
