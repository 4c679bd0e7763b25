"""The benchmark of the command line."""

import pandas as pd
import pytest

from bpkernel.cli import bench


def test_bench_shows_every_trainer_and_writes_every_round(call, monkeypatch):
    monkeypatch.setattr(bench, "installed", lambda: ["bpkernel", "scikit-learn"])
    monkeypatch.setattr(bench, "PAUSE", 0.01)
    monkeypatch.setattr(bench, "TURN", 0.01)
    status, out, _ = call(
        "bench", "--net", "3,5,2", "--net", "4,3,1", "--batch-size", 16, "--seconds", 1, "--output", "a/b.csv"
    )
    assert status == 0
    for words in ("3-5-2, batch 16, f32, relu", "4-3-1, batch 16", "scikit-learn", "█", "speed-up"):
        assert words in out
    rounds = pd.read_csv("a/b.csv")
    assert (rounds.groupby(["net", "trainer"])["round"].nunique() >= 3).sum() == 4
    assert (rounds[["us_per_sample", "peak_gflops"]] > 0).all(axis=None)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--net", "3,2"], "at least three layers; got '3,2'"),
        (["--net", "3,x,2"], "integers of at least 1"),
        (["--dtype", "float16"], "'float16' is not one of float32, float64"),
        (["--output", "."], "is a folder; name a file"),
        (["--batch-size", "0"], "--batch-size"),
    ],
)
def test_bench_refuses_in_words(call, arguments, words):
    status, _, err = call("bench", *arguments)
    assert status == 2
    assert words in err
