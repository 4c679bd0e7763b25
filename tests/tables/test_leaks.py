"""Signs that a score may be too good to be true."""

import numpy as np
import pandas as pd
import pytest

from bpkernel.tables.datasets import dataset
from bpkernel.tables.leaks import is_sorted, signs
from bpkernel.tables.training_run import Options, TrainingRun


def signs_of(frame, target="y"):
    return signs(TrainingRun(frame, target, Options()))


@pytest.fixture
def frame():
    rng = np.random.default_rng(0)
    x, z = rng.standard_normal((2, 400))
    return pd.DataFrame({"x": x, "z": z, "y": np.where(x + z + rng.standard_normal(400) > 0, "up", "down")})


def test_honest_rows_give_no_sign(frame):
    assert signs_of(frame) == []
    assert signs_of(frame.assign(y=frame["x"] + frame["z"])) == []
    for name in ("digits", "wine", "breast_cancer", "diabetes"):
        data, target = dataset(name)
        assert [sign for sign in signs_of(data, target) if "sorted" not in sign] == []


def test_a_column_that_alone_predicts_the_target_is_told(frame):
    (sign,) = signs_of(frame.assign(result=frame["y"].map({"up": 3, "down": 5})))
    assert sign.startswith("column 'result' alone predicts the target (accuracy 1.0000")
    (sign,) = signs_of(frame.assign(y=frame["x"], copy=np.exp(frame["x"])).drop(columns="x"))
    assert sign.startswith("column 'copy' alone predicts the target (R² 0.99")


def test_a_rare_class_is_no_sign(frame):
    assert signs_of(frame.assign(y=np.where(np.arange(400) % 40 == 0, "rare", "usual"))) == []


def test_test_rows_that_occur_in_training_are_told(frame):
    twice = pd.concat([frame, frame]).sample(frac=1, random_state=0, ignore_index=True)
    (sign,) = signs_of(twice)
    assert "of 160 test rows have the cells of a training row" in sign
    assert int(sign.split()[0]) > 80


def test_far_values_of_the_target_are_told(frame):
    numbers = frame.assign(y=frame["x"] + frame["z"])
    numbers.loc[[3, 5], "y"] = [1e6, -1e300]
    (sign,) = signs_of(numbers)
    assert sign.startswith("2 of 400 values of the target, such as 1e+06, are more than 100 times")
    assert signs_of(frame.assign(y=np.where(frame["x"] > 2, 5.0, 1.5) + (frame["z"] > 9))) == []


def test_rows_sorted_by_the_target_are_told(frame):
    assert "sorted by the target" in signs_of(frame.sort_values("y"))[-1]
    assert "sorted by the target" in signs_of(frame.assign(y=-(np.arange(400.0) ** 2)))[-1]


@pytest.mark.parametrize(
    ("values", "classify", "wanted"),
    [
        ([0] * 10 + [2] * 10 + [1] * 10, True, True),
        ([0, 1] * 20, True, False),
        (np.arange(30), False, True),
        (-np.arange(30), False, True),
        (np.cos(np.arange(30)), False, False),
        ([1, 2, 3], False, False),
    ],
)
def test_what_is_sorted(values, classify, wanted):
    assert is_sorted(np.asarray(values), classify=classify) is wanted
