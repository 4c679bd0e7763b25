"""Tables of real data on their way into numbers and back."""

import numpy as np
import pandas as pd
import pytest

from bpkernel.cli import tables
from bpkernel.cli.tables import Encoding, Number, TableError


@pytest.fixture
def frame():
    return pd.DataFrame(
        {
            "length": [1.0, 2.0, 3.0, 4.0],
            "count": [1, 1, 2, 2],
            "flag": [True, False, True, False],
            "same": [5.0, 5.0, 5.0, 5.0],
            "colour": ["red", "blue", "red", "green"],
            "kind": ["b", "a", "b", "a"],
        }
    )


def test_numbers_are_standardised_and_text_is_one_hot(frame):
    encoding = Encoding.learn(frame, "kind", True, False, frame.index)
    X = encoding.X(frame)
    assert X.shape == (4, 4 + 3)
    np.testing.assert_allclose(X[:, :3].mean(axis=0), 0, atol=1e-15)
    np.testing.assert_allclose(X[:, :3].std(axis=0), 1)
    assert X[:, 3].tolist() == [0, 0, 0, 0]
    assert X[:, 4:].tolist() == [[0, 0, 1], [1, 0, 0], [0, 0, 1], [0, 1, 0]]  # blue, green, red
    assert encoding.T(frame).tolist() == [1, 0, 1, 0]
    assert encoding.predictions(np.array([[0.9, 0.1], [0.2, 0.8]])).tolist() == ["a", "b"]
    assert encoding.predictions(np.array([[0.9], [0.2]])).tolist() == ["b", "a"]
    shuffled = frame[frame.columns[::-1]].assign(extra=1)
    np.testing.assert_array_equal(encoding.X(shuffled), X)


@pytest.mark.parametrize("n", [3, 7, 10, 99, 1000])
@pytest.mark.parametrize("value", [0.1, 0.2, -0.7, 1e-20, 1e9 / 3, 0.0])
def test_a_column_constant_within_rounding_is_only_centred(value, n):
    column = pd.Series([value] * n, name="same")
    number = Number.learn(column)
    assert number.scale == 1
    rounding = n * np.spacing(abs(value))
    assert abs(number.encode(column)).max() <= rounding
    np.testing.assert_allclose(number.encode(column + 0.1), 0.1, atol=rounding)


def test_numbers_that_differ_by_one_rounding_are_constant():
    assert 0.1 + 0.2 != 0.3
    assert Number.learn(pd.Series([0.1 + 0.2, 0.3] * 10)).scale == 1


@pytest.mark.parametrize("size", [1e-308, 1e-200, 1e-20, 1.0, 1e20, 1e200, 1e307])
def test_columns_of_any_size_are_standardised(size):
    """Also where the squares of their values overflow or underflow."""
    column = pd.Series(np.array([1.0, 2.0, 4.0, -5.0]) * size, name="any")
    number = Number.learn(column)
    np.testing.assert_allclose([number.mean / size, number.scale / size], [0.5, np.sqrt(11.25)])
    np.testing.assert_allclose(number.encode(column)[:, 0], np.array([0.5, 1.5, 3.5, -5.5]) / np.sqrt(11.25))
    np.testing.assert_allclose(number.decode(number.encode(column))[:, 0] / size, column / size)


def test_small_differences_from_a_large_mean_keep_their_scale():
    assert Number.learn(pd.Series(2e9 + np.arange(100) % 2, name="seconds")).scale == 0.5


def test_a_constant_target_is_only_centred(frame):
    encoding = Encoding.learn(frame.assign(length=0.2, count=0.1), "length", False, True, frame.index[:3])
    np.testing.assert_allclose(encoding.T(frame.assign(length=0.3)), 0.1)
    np.testing.assert_allclose(encoding.predictions(np.array([[0.5]])), 0.7)
    np.testing.assert_allclose(encoding.X(frame.assign(count=0.2))[:, 0], 0.1)


def test_an_encoding_survives_json(frame):
    encoding = Encoding.learn(frame, "length", False, True, frame.index)
    again = Encoding.from_json(encoding.to_json())
    assert again == encoding
    np.testing.assert_allclose(again.predictions(again.T(frame)[:, None]), frame["length"])


def test_missing_and_infinite_values_are_told_all_at_once(frame):
    frame["length"] = [1.0, np.nan, np.inf, 4.0]
    frame["colour"] = ["red", None, "red", "green"]
    with pytest.raises(TableError, match=r"(?s)length: 2 of 4, in rows 2, 3.*colour: 1 of 4, in row 2"):
        tables.refuse_missing(frame)


def test_what_the_model_does_not_know_is_told(frame):
    encoding = Encoding.learn(frame, "kind", True, False, frame.index)
    with pytest.raises(TableError, match="lacks columns that the model was trained on: length, colour"):
        encoding.X(frame.drop(columns=["length", "colour"]))
    with pytest.raises(TableError, match=r"did not occur in training: 'pink' \(row 2\); .* are 'blue', 'green', 'red'"):
        encoding.X(frame.assign(colour=["red", "pink", "red", "red"]))
    with pytest.raises(TableError, match="column length must hold numbers"):
        encoding.X(frame.assign(length=["long"] * 4))


def test_columns_that_are_neither_are_refused(frame):
    with pytest.raises(TableError, match="convert it to numbers or text, or drop it with --drop 'day'"):
        Encoding.learn(frame.assign(day=pd.date_range("2026-01-01", periods=4)), "kind", True, False, frame.index)
    many = pd.DataFrame({"name": [f"n{i}" for i in range(200)], "kind": ["a", "b"] * 100})
    with pytest.raises(TableError, match="text with 200 different values"):
        Encoding.learn(many, "kind", True, False, many.index)


def test_means_are_learnt_from_the_training_rows_and_categories_from_all(frame):
    encoding = Encoding.learn(frame, "length", False, True, frame.index[:2])
    assert encoding.target == tables.Number("length", 1.5, 0.5)
    assert encoding.features[3].values == ["blue", "green", "red"]


def test_classes_are_the_same_whether_whole_or_floating(frame):
    encoding = Encoding.learn(frame, "count", True, False, frame.index)
    assert encoding.target.values == ["1", "2"]
    for same in (frame, frame.assign(count=frame["count"].astype(float)), frame.assign(count=["1", "1", "2", "2"])):
        assert encoding.T(same).tolist() == [0, 0, 1, 1]


def test_numbers_are_not_dates_nor_text(frame):
    encoding = Encoding.learn(frame, "kind", True, False, frame.index)
    with pytest.raises(TableError, match="length is of datetime64"):
        encoding.X(frame.assign(length=pd.date_range("2026-01-01", periods=4)))


def test_text_that_looks_like_numbers_stays_text(tmp_path):
    (tmp_path / "t.csv").write_text("zip,x\n01,1\n1,2\n")
    assert tables.read(tmp_path / "t.csv", ["zip", "not there"])["zip"].tolist() == ["01", "1"]


@pytest.mark.parametrize(
    ("values", "classes"),
    [(["a", "b"], True), ([True, False], True), ([0, 1, 2], True), ([1.0, 2.0], True), ([0.5, 1.0], False), (range(30), False)],
)
def test_what_looks_like_classes(values, classes):
    assert tables.looks_like_classes(pd.Series(values)) is classes


@pytest.mark.parametrize("name", tables.DATASETS)
def test_data_sets_are_whole(name):
    frame, target = tables.dataset(name)
    assert target in frame.columns
    assert len(frame) >= 150
    assert tables.looks_like_classes(frame[target]) is (name != "diabetes")


def test_files_that_cannot_be_read_are_told(tmp_path):
    for name, content, message in [
        ("none.csv", None, "there is no file"),
        ("table.xlsx", b"", "must end in .csv"),
        ("empty.csv", b"", "cannot be read"),
        ("header.csv", b"a,b\n", "holds no rows"),
        ("ragged.csv", b"a,b\n1,2\n1,2,3\n", "cannot be read"),
        ("broken.parquet", b"no parquet", "cannot be read"),
        ("binary.csv", b"\xff\xfe\x00\x80", "cannot be read"),
    ]:
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(TableError, match=message):
            tables.read(tmp_path / name)
