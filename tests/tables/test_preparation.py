"""From the columns of a table to the inputs of a net, and from its outputs to predictions."""

import dataclasses
import json
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, PowerTransformer, RobustScaler, StandardScaler, TargetEncoder

import bpkernel as bp
from bpkernel.tables.columns import USED, Overrules, understand
from bpkernel.tables.datasets import DATASETS, dataset
from bpkernel.tables.delimited import TableError
from bpkernel.tables.features import MOST_ONE_HOT
from bpkernel.tables.model import Model, Target
from bpkernel.tables.preparation import FEWEST_INTERVALS, ROWS_AN_INTERVAL, Preparation


def plain(prepared, X):
    """The inputs without the intervals of numbers, and their names."""
    names = [name for name, _ in prepared.inputs]
    kept = [number for number, name in enumerate(names) if ", interval " not in name]
    return X[:, kept], [names[number] for number in kept]


def learn(frame, T=None, *, classify=True, target="y"):
    T = np.arange(len(frame)) % 2 if T is None else T
    columns = [column for column in understand(frame.assign(**{target: T}), target, Overrules()) if column.kind in USED]
    return Preparation.learn(frame, columns, T, classify=classify, seed=0)


@pytest.fixture
def frame():
    rng = np.random.default_rng(0)
    n = 200
    made = pd.DataFrame(
        {
            "x": rng.standard_normal(n).round(3),
            "money": np.exp(3 * rng.standard_normal(n)).round(2),
            "colour": rng.choice(["red", "green", "blue"], n),
            "flag": rng.choice(["yes", "no"], n),
        }
    )
    made.loc[rng.choice(n, 20, replace=False), "x"] = np.nan
    made.loc[rng.choice(n, 15, replace=False), "colour"] = None
    return made


def test_inputs_are_those_of_a_pipeline_of_scikit_learn(frame):
    prepared, whole = learn(frame)
    X, names = plain(prepared, whole)
    number = lambda *steps: make_pipeline(SimpleImputer(strategy="median"), RobustScaler(), *steps, StandardScaler())  # noqa: E731
    pipeline = make_column_transformer(
        (number(), ["x"]),
        (number(PowerTransformer(standardize=False)), ["money"]),
        (OneHotEncoder(categories=[["(missing)", "blue", "green", "red"]], sparse_output=False), ["colour"]),
    )
    filled = frame.assign(colour=frame["colour"].fillna("(missing)"))
    expected = pipeline.fit_transform(filled)
    assert names == ["x", "money", "flag", "x is missing", *(f"colour = {c}" for c in ("(missing)", "blue", "green", "red"))]
    np.testing.assert_allclose(X[:, :2], expected[:, :2], rtol=1e-9, atol=1e-9)
    np.testing.assert_array_equal(X[:, 4:], expected[:, 2:])
    np.testing.assert_array_equal(X[:, 3], frame["x"].isna())
    yes = (frame["flag"] == "yes").to_numpy(float)
    np.testing.assert_allclose(X[:, 2], (yes - yes.mean()) / yes.std(), rtol=1e-9)


def test_a_row_alone_has_the_bits_of_a_row_in_a_table(frame):
    prepared, X = learn(frame)
    again = Preparation.from_json(json.loads(json.dumps(prepared.to_json(), allow_nan=False)))
    again.check()
    np.testing.assert_array_equal(again.X(frame), X)
    for i in (0, 7, 199):
        np.testing.assert_array_equal(again.X(frame[i : i + 1])[0], X[i])
    shuffled = frame[frame.columns[::-1]].assign(extra=1).sample(frac=1, random_state=0)
    np.testing.assert_array_equal(again.X(shuffled), X[shuffled.index])


def test_text_and_typed_columns_are_the_same(frame):
    prepared, X = learn(frame)
    as_text = frame.astype(object).where(frame.notna(), "?").astype(str)
    np.testing.assert_array_equal(prepared.X(as_text), X)


def test_missing_columns_and_unseen_values_are_told_and_inputs_stay_finite(frame):
    prepared, _ = learn(frame)
    other = frame.drop(columns="x").assign(colour="pink", money="none of it")
    assert np.isfinite(prepared.X(other)).all()
    assert prepared.told(other) == [
        "there is no column 'x': it counts as missing in all rows",
        "column 'money' holds cells that are no number: 'none of it'",
        "column 'colour' has values that did not occur in training: 'pink'",
    ]
    with pytest.raises(TableError, match="none of the columns that the model was trained on: 'x', 'money'"):
        prepared.X(frame[[]].assign(z=1))


def test_rare_and_unseen_categories_are_one():
    frame = pd.DataFrame({"c": ["a"] * 10 + ["b"] * 10 + ["rare", "seldom"], "x": np.arange(22.0)[::-1]})
    prepared, X = learn(frame)
    assert plain(prepared, X)[1] == ["x", "c = a", "c = b", "c = (other)"]
    np.testing.assert_array_equal(X[20:, -3:], [[0, 0, 1]] * 2)
    np.testing.assert_array_equal(prepared.X(pd.DataFrame({"c": ["new"], "x": [1]}))[0, -3:], [0, 0, 1])
    assert prepared.told(pd.DataFrame({"c": ["new"], "x": [1]})) == []


@pytest.mark.parametrize(("n_classes", "classify"), [(2, True), (3, True), (0, False)])
def test_many_categories_are_encoded_by_the_mean_of_the_target(n_classes, classify):
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 60, 1000)
    T = (codes + rng.integers(0, 2, 1000)) % n_classes if classify else codes + rng.standard_normal(1000)
    frame = pd.DataFrame({"c": [f"c{code}" for code in codes]})
    prepared, X = learn(frame, T, classify=classify)
    assert len(prepared.features[0].values) > MOST_ONE_HOT
    assert plain(prepared, X)[0].shape == (1000, 3 if n_classes == 3 else 1)
    kind = {2: "binary", 3: "multiclass", 0: "continuous"}[n_classes]
    encoder = TargetEncoder(target_type=kind).fit(frame[["c"]].to_numpy(object), T)
    new = pd.DataFrame({"c": ["c1", "c59", "unseen"]})
    expected = encoder.transform(new[["c"]].to_numpy(object))
    raw = prepared.features[0].raw(new["c"])
    np.testing.assert_allclose(raw, expected)
    assert not np.allclose(X, prepared.X(frame)), "rows in training must not see their own target"


def test_dates_become_elapsed_days_and_times_of_week_and_year():
    frame = pd.DataFrame({"when": pd.date_range("2020-01-01", periods=500, freq="19h").astype(str)})
    prepared, X = learn(frame)
    assert plain(prepared, X)[1] == [
        "when",
        *(
            f"when: {what}, {part}"
            for what in ("day of the year", "day of the week", "time of the day")
            for part in ("sine", "cosine")
        ),
    ]
    raw = prepared.features[0].raw(frame["when"])
    np.testing.assert_allclose(np.diff(raw[:, 0]), 19 / 24)
    np.testing.assert_allclose(raw[:, 1::2] ** 2 + raw[:, 2::2] ** 2, 1)
    assert np.isfinite(X).all()


@pytest.mark.parametrize("n", [30, 7 * ROWS_AN_INTERVAL])
def test_numbers_are_seen_by_intervals_between_quantiles(n):
    x = np.random.default_rng(0).exponential(size=n)
    prepared, X = learn(pd.DataFrame({"x": x, "two": np.arange(n) % 2 + 5}))
    n_intervals = max(FEWEST_INTERVALS, n // ROWS_AN_INTERVAL)
    assert [name for name, _ in prepared.inputs] == ["x", "two", *(f"x, interval {i + 1}" for i in range(n_intervals))]
    knots = np.quantile(X[:, 0], np.linspace(0, 1, n_intervals + 1))
    expected = [[min(max((z - a) / (b - a), 0), 1) for a, b in pairwise(knots)] for z in X[:, 0]]
    np.testing.assert_allclose(X[:, 2:], expected, atol=1e-12)
    below, above = prepared.X(pd.DataFrame({"x": [-1e9, 1e9], "two": [5, 5]}))[:, 2:]
    assert (below == 0).all()
    assert (above == 1).all()


def test_derivatives_by_a_number_are_those_of_all_its_inputs():
    """Compared with differences of the outputs of a net, between knots."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.standard_normal(300), "u": rng.uniform(size=300)})
    prepared, _ = learn(frame)
    net = bp.MLP((len(prepared.inputs), 5, 2), dtype="float64", random_state=0)
    some = pd.DataFrame({"x": [0.11, -0.52, 1.3], "u": [0.2, 0.9, 0.4]})
    X = prepared.X(some)
    found = prepared.chained(X, net.jacobian(X))
    assert (found[:, :, 2:] == 0).all()
    for number, name in enumerate(some):
        step, scale = 1e-6, prepared.spread[number] * prepared.scale[number]
        higher, lower = (net.predict(prepared.X(some.assign(**{name: some[name] + sign * step}))) for sign in (1, -1))
        np.testing.assert_allclose(found[:, :, number], (higher - lower) / (2 * step) * scale, rtol=1e-6)


@pytest.mark.parametrize("size", [1e-308, 1e-200, 1e-20, 1.0, 1e20, 1e200, 1e307])
def test_columns_of_any_size_are_standardised(size):
    """Also where the squares of their values, or their differences, overflow or underflow."""
    values = np.array([1.0, 2.0, 4.0, -5.0, 3.0, 0.5]) * size
    _, X = learn(pd.DataFrame({"c": values}))
    np.testing.assert_allclose(X[:, 0], (values / size - np.mean(values / size)) / np.std(values / size), rtol=1e-6)


def test_extreme_inputs_are_limited(frame):
    prepared, _ = learn(frame)
    far = prepared.X(frame[:2].assign(x=[1e300, -1e300], money=[1e308, -1e308]))
    assert abs(far).max() <= 10


def test_one_other_value_among_equal_ones_is_seen():
    _, X = learn(pd.DataFrame({"c": [5.0] * 99 + [6.0]}))
    assert X[-1, 0] > 9
    assert abs(X[:-1]).max() < 0.2


@pytest.mark.parametrize("n", [3, 7, 10, 99, 1000])
@pytest.mark.parametrize("value", [0.1, 0.2, -0.7, 1e-20, 1e9 / 3, 0.0])
def test_a_target_constant_within_rounding_is_only_centred(value, n):
    column = pd.Series([value] * n, name="same")
    target = Target.of_numbers(column, ".", standardise=True)
    assert target.scale == 1
    assert abs(target.T(column)).max() <= n * np.spacing(abs(value))


@pytest.mark.parametrize("size", [1e-308, 1e-200, 1e-20, 1.0, 1e20, 1e200, 1e307])
def test_targets_of_any_size_are_standardised(size):
    column = pd.Series(np.array([1.0, 2.0, 4.0, -5.0]) * size, name="any")
    target = Target.of_numbers(column, ".", standardise=True)
    np.testing.assert_allclose(target.T(column), np.array([0.5, 1.5, 3.5, -5.5]) / np.sqrt(11.25))


def test_classes_are_the_same_whether_whole_or_floating_and_sorted_by_size():
    target = Target.of_classes(pd.Series([10, 2, 10], name="y"))
    assert target.classes == ["2", "10"]
    for same in ([10, 2, 10], [10.0, 2.0, 10.0], ["10", "2", "10.0"]):
        assert target.T(pd.Series(same)).tolist() == [1, 0, 1]
    assert target.values(pd.Series(["10", "", "9"])).tolist() == [1, -1, -1]
    assert Target.of_classes(pd.Series([True, False], name="y")).classes == ["False", "True"]


@pytest.mark.parametrize("name", DATASETS)
def test_data_sets_are_whole(name):
    frame, target = dataset(name)
    assert target in frame.columns
    assert len(frame) >= 150


@pytest.fixture
def model(frame):
    prepared, X = learn(frame)
    nets = [bp.MLP((X.shape[1], 3, 2), "tanh", "softmax", "cross_entropy", random_state=seed) for seed in range(2)]
    return Model(bp.Ensemble(nets, [bp.History(1)] * 2, [{}] * 2), prepared, Target("y", ["a", "b"]), ("k",))


def test_predictions_are_means_of_the_nets(model, frame):
    X = model.preparation.X(frame)
    expected = (model.nets[0].predict(X) + model.nets[1].predict(X)) / 2
    np.testing.assert_array_equal(model.outputs(frame), expected)
    assert (model.nets[0].predict(X) != model.nets[1].predict(X)).any()


def test_quantiles_are_shifted_and_never_cross(model, frame):
    own = dataclasses.replace(model, target=Target("y", [], ".", 10.0, 2.0, [0.1, 0.5], [3.0, 0.0]))
    y = model.nets.predict(model.preparation.X(frame))
    expected = np.sort(y * 2.0 + 10.0 + [3.0, 0.0], axis=1)
    assert (expected[:, 0] != y[:, 0] * 2.0 + 13.0).any()
    found = own.predict(frame)
    assert list(found.columns) == ["prediction", "quantile_0.1", "quantile_0.5"]
    np.testing.assert_allclose(found[["quantile_0.1", "quantile_0.5"]], expected, rtol=1e-6)
    np.testing.assert_array_equal(found["prediction"], found["quantile_0.5"])


def test_a_model_survives_its_file(model, frame, tmp_path):
    model.save(tmp_path / "m")
    again = Model.load(tmp_path / "m")
    pd.testing.assert_frame_equal(again.predict(frame.assign(k=range(200))), model.predict(frame.assign(k=range(200))))
    assert list(again.predict(frame.assign(k=range(200))).columns) == ["k", "prediction", "probability_a", "probability_b"]
    assert bp.Ensemble.load(tmp_path / "m")[1].layer_sizes == model.net.layer_sizes
    alone = dataclasses.replace(model, nets=bp.Ensemble(model.nets[:1], [bp.History(1)], [{}]))
    alone.save(tmp_path / "one")
    assert bp.MLP.load(tmp_path / "one").layer_sizes == model.net.layer_sizes
    pd.testing.assert_frame_equal(Model.load(tmp_path / "one").predict(frame), alone.predict(frame))


def test_damaged_models_are_refused_or_right(model, frame, tmp_path):
    model.save(tmp_path / "m")
    whole, y = (tmp_path / "m").read_bytes(), model.outputs(frame)
    rng, refused = np.random.default_rng(0), 0
    for _ in range(500):
        damaged = bytearray(whole)
        for place in rng.integers(0, len(whole), rng.integers(1, 4)):
            damaged[place] = rng.integers(0, 256)
        (tmp_path / "d").write_bytes(damaged)
        try:
            found = Model.load(tmp_path / "d").outputs(frame)
        except ValueError:
            refused += 1
        else:
            assert found.shape == y.shape
    assert refused > 250


@pytest.mark.parametrize(
    "change",
    [
        {"fill": []},
        {"mean": ["a"]},
        {"features": [{"name": "x"}]},
        {"features": 3},
        {"power": None},
        {"knots": [[1.0, 0.0, 2.0]] * 3},
        {"knots": [[0.0]] * 3},
        {"knots": []},
        {"more": 1},
    ],
)
def test_hostile_descriptions_are_refused(model, tmp_path, change):
    net, described = model.net, model.preparation.to_json() | change
    target = {"name": "y", "classes": ["a", "b"]}
    net.save(tmp_path / "m", {"table": {"preparation": described, "target": target, "ids": [], "header": True}})
    with pytest.raises(ValueError, match="train the model again"):
        Model.load(tmp_path / "m")
