"""The command line, used as a person would."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_breast_cancer

import bpkernel as bp
from bpkernel import gradient_check
from bpkernel.ensembles import Interrupted
from bpkernel.tables import evidence, nets, reading, training_run
from bpkernel.tables.datasets import dataset
from bpkernel.tables.model import Model


@pytest.fixture(scope="module")
def tumours() -> pd.DataFrame:
    """Mixed columns of real data: numbers, a text for the class, text for a binned feature, true and false."""
    frame = load_breast_cancer(as_frame=True).frame
    frame["diagnosis"] = np.where(frame.pop("target") == 0, "malignant", "benign")
    frame["size"] = pd.cut(frame.pop("mean radius"), 4, labels=["tiny", "small", "large", "huge"]).astype(str)
    frame["smooth"] = frame.pop("mean smoothness") < 0.1
    return frame.sample(frac=1, random_state=0).reset_index(drop=True)


@pytest.mark.parametrize(
    ("name", "score", "least"),
    [
        ("digits", "accuracy", 0.96),
        ("iris", "accuracy", 0.95),
        ("wine", "accuracy", 0.95),
        ("breast_cancer", "accuracy", 0.95),
        ("diabetes", "R²", 0.40),
    ],
)
def test_the_data_sets_are_learnt_by_the_defaults(call, name, score, least):
    status, out, err = call("train", name)
    assert status == 0
    assert score in out
    test_row = next(line for line in out.splitlines() if line.startswith("│ test"))
    found = float(test_row.split("│")[2])
    assert found >= least
    assert "epoch 1000/1000" in err
    folder = Path("runs") / name
    assert (folder / "learning_curve.png").read_bytes().startswith(b"\x89PNG")
    model = Model.load(folder / "model.safetensors")
    frame, target = dataset(name)
    splits = training_run.Splits.of(frame, target, model.classify, training_run.Options())
    scores, n = evidence.of_table(model, splits.test)
    assert found == pytest.approx(scores["accuracy" if model.classify else "r2"], abs=1e-4)
    assert n == len(splits.test)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_predictions_of_held_back_rows_are_those_of_the_net(call, tumours, tmp_path, suffix):
    seen, held_back = tmp_path / f"seen{suffix}", tmp_path / f"new{suffix}"
    write = pd.DataFrame.to_csv if suffix == ".csv" else pd.DataFrame.to_parquet
    write(tumours[:450], seen, index=False)
    write(tumours[450:][tumours.columns[::-1]], held_back, index=False)  # the columns in another order
    assert call("train", seen, "--target", "diagnosis", "--epochs", 60, "--output", "out")[0] == 0
    status, out, _ = call("predict", "out/model.safetensors", held_back, "--output", "named.csv")
    assert status == 0
    table = pd.read_csv("named.csv")
    model = Model.load(Path("out/model.safetensors"))
    nets = bp.Ensemble.load("out/model.safetensors")
    y = nets.predict(model.preparation.X(reading.read([held_back]).frame))
    np.testing.assert_allclose(table[["probability_benign", "probability_malignant"]], y, rtol=1e-6)
    assert table["prediction"].tolist() == np.array(["benign", "malignant"])[y.argmax(axis=1)].tolist()
    accuracy = (table["prediction"].to_numpy() == tumours["diagnosis"][450:].to_numpy()).mean()
    assert accuracy >= 0.93
    assert f"accuracy {accuracy:.4f}" in out


def test_regression_predicts_in_the_units_of_the_target(call, tmp_path):
    frame, _ = dataset("diabetes")
    frame[:400].to_csv("seen.csv", index=False)
    frame[400:].drop(columns="target").to_csv("new.csv", index=False)
    assert call("train", "seen.csv", "--target", "target", "--dtype", "float64", "--hidden", "20,10")[0] == 0
    status, out, _ = call("predict", "runs/seen/model.safetensors", "new.csv", "--output", "-")
    assert status == 0
    found = np.array(out.split()[1:], float)
    assert out.split()[0] == "prediction"
    assert 50 < found.mean() < 300
    assert np.corrcoef(found, frame["target"][400:])[0, 1] > 0.4


def test_options_reach_the_net(call, tumours):
    tumours.to_csv("t.csv", index=False)
    options = "--hidden 7,5 --activation relu --loss binary_cross_entropy --optimizer sgd --learning-rate 0.02 --batch-size 16"
    more = "--epochs 3 --no-early-stopping --seed 5 --dtype float64 --output made --drop smooth --ensemble 1"
    status, out, _ = call("train", "t.csv", "--target", "diagnosis", *options.split(), *more.split())
    assert status == 0
    net = bp.MLP.load("made/model.safetensors")
    assert net.layer_sizes[1:] == (7, 5, 1)
    assert (net.activation, net.output_activation, net.loss_name) == (("relu", "relu"), "logistic", "binary_cross_entropy")
    assert net.dtype == "float64"
    assert "SGD(learning_rate=0.02, momentum=0.9" in out
    model = Model.load(Path("made/model.safetensors"))
    table = model.predict(tumours[:20])
    assert list(table.columns) == ["prediction", "probability_benign", "probability_malignant"]
    np.testing.assert_allclose(table.iloc[:, 1:].sum(axis=1), 1, rtol=1e-6)


def test_counts_are_learnt_with_poisson(call):
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, 600)
    pd.DataFrame({"x": x, "n": rng.poisson(np.exp(1 + x))}).to_csv("c.csv", index=False)
    assert call("train", "c.csv", "--target", "n", "--loss", "poisson", "--hidden", "", "--epochs", 300)[0] == 0
    model = Model.load(Path("runs/c/model.safetensors"))
    assert (model.net.layer_sizes[1:], model.net.output_activation) == ((1,), "exp")
    found = model.predict(pd.DataFrame({"x": [-0.5, 0.5]}))["prediction"]
    np.testing.assert_allclose(found, np.exp([0.5, 1.5]), rtol=0.2)


def test_an_interrupt_keeps_the_model_of_a_single_net(call, monkeypatch):
    calls = []

    def interrupted(true, predicted):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return float((true == predicted).mean())

    with monkeypatch.context() as patched:
        patched.setattr(nets, "accuracy", interrupted)
        status, out, _ = call("train", "iris", "--no-early-stopping", "--ensemble", "1", "--epochs", 20)
    assert status == 0
    assert "interrupted" in out
    assert "train --resume runs/iris" in out
    assert len(pd.read_csv("runs/iris/history.csv")) == 3
    assert "not finished" in call("runs")[1]
    assert call("train", "--resume", "runs/iris")[0] == 0
    assert call("train", "iris", "--no-early-stopping", "--ensemble", "1", "--epochs", 20, "--output", "whole")[0] == 0
    assert Path("runs/iris/model.safetensors").read_bytes() == Path("whole/model.safetensors").read_bytes()


@pytest.mark.parametrize("n_trained", [0, 2])
def test_an_interrupted_run_goes_on_to_the_same_bits(call, flowers, monkeypatch, n_trained):
    flowers.to_csv("f.csv", index=False)
    command = "train", "f.csv", "--target", "species", "--epochs", 12, "--seeds", 2
    assert call(*command, "--output", "whole")[0] == 0

    def interrupted(configs, X, T):
        found = list(configs)
        done = bp.train_many(found[:n_trained], X, T) if n_trained else bp.Ensemble([], [], [])
        missing = [None] * (len(found) - n_trained)
        raise Interrupted(bp.Ensemble([*done.nets, *missing], [*done.histories, *missing], [{} for _ in found]))

    with monkeypatch.context() as patched:
        patched.setattr(nets, "train_many", interrupted)
        status, out, err = call(*command, "--output", "stopped")
    assert status == (0 if n_trained else 130)
    assert "train --resume stopped" in out + err
    assert Path("stopped/model.safetensors").exists() == (n_trained > 0)
    assert call("train", "--resume", "stopped", "--epochs", 3)[0] == 2
    assert call("train", "--resume", "stopped", "--quiet")[0] == 0
    for name in ("model.safetensors", "metrics.json"):
        assert Path("stopped", name).read_bytes() == Path("whole", name).read_bytes()
    assert not Path("stopped/checkpoints").exists()
    assert "finished run" in call("train", "--resume", "stopped")[2]


def test_a_run_that_fails_leaves_no_folder(call):
    status, _, err = call("train", "diabetes", "--optimizer", "sgd", "--learning-rate", 1e30)
    assert status == 2
    assert "diverged" in err
    assert not any(Path("runs").iterdir())


BAD_TABLE = "a,b,t\n1,x,0\n2,,1\n,y,0\n"  # too few rows of a class


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "none.csv", "--target", "t"], "there is no file none.csv"),
        (["train", "nothing"], "nor one of digits, iris"),
        (["train", "bad.csv"], "name the column to predict, one of a, b, t"),
        (["train", "bad.csv", "--target", "z"], "there is no target column 'z'; the columns are 'a', 'b', 't'"),
        (["train", "bad.csv", "--target", "t"], "class '1' of t has 1 of 3 rows"),
        (["train", "bad.csv", "--target", "t", "--id", "q", "--date", "b"], "--id: there is no column 'q'"),
        (["train", "bad.csv", "--target", "t", "--drop", "a", "--drop", "b"], "no column is left to predict t from"),
        (["train"], "name a table"),
        (["train", "--from", "bad.csv"], "no run.json"),
        (["evaluate", "net", "bad.csv"], "was not saved by"),
        (["runs", "none"], "there is no folder none"),
        (["train", "bad.csv", "--target", "t", "--drop", "q"], "there is no column 'q'"),
        (["train", "tiny.csv", "--target", "t"], "class '0' of t has 1 of 2 rows"),
        (["train", "iris", "--hidden", "ten"], "integers of at least 1 separated by commas"),
        (["train", "iris", "--hidden", "100,,50"], "integers of at least 1 separated by commas"),
        (["train", "iris", "--hidden", "100000000000000000000000"], "do not fit in memory"),
        (["train", "iris", "--loss", "poisson", "--task", "regression"], "is for counts"),
        (["train", "iris", "--hidden", "-5"], "at least 1"),
        (["train", "iris", "--epochs", "0"], "epochs"),
        (["train", "iris", "--learning-rate", "-1"], "learning_rate"),
        (["train", "iris", "--optimizer", "sgd", "--momentum", "2"], "momentum"),
        (["train", "iris", "--activation", "swish"], "'swish' is not one of identity, logistic, tanh, relu"),
        (["train", "iris", "--loss", "poisson", "--task", "classification"], "use cross_entropy or binary_cross_entropy"),
        (["train", "iris", "--loss", "binary_cross_entropy"], "use cross_entropy"),
        (["train", "iris", "--dtype", "float16"], "float32, float64"),
        (["train", "iris", "--test-fraction", "0.8", "--validation-fraction", "0.5"], "below 1"),
        (["train", "iris", "--output", "bad.csv"], "bad.csv"),
        (["predict", "none", "bad.csv"], "there is no file 'none'"),
        (["predict", "bad.csv", "bad.csv"], "is not a net"),
        (["predict", "net", "bad.csv"], "was not saved by 'bpkernel train'"),
        (["serve", "none"], "there is no file 'none'"),
        (["serve", "net"], "was not saved by 'bpkernel train'"),
        (["export", "net"], "was not saved by 'bpkernel train'"),
        (["train", "diabetes", "--quantiles", "0.1,2"], "levels must be numbers between 0 and 1"),
        (["train", "iris", "--quantiles", "0.1", "--cv", "2", "--seeds", "2"], "choose one"),
        (["train", "iris", "--cv", "151"], "needs at least 151 rows"),
        (["train", "iris", "--threads", "100000"], "threads are available"),
        (["train", "--resume", "none"], "cannot be read"),
        (["train", "--resume", "none", "--epochs", "3"], "leave out --epochs"),
        (["runs", "none", "nothing"], "there is no folder none, nothing"),
        (["predict"], "Missing argument"),
        (["fly"], "No such command"),
    ],
    ids=" ".join,
)
def test_mistakes_are_told_in_words(call, arguments, message):
    Path("bad.csv").write_text(BAD_TABLE)
    Path("tiny.csv").write_text("a,t\n1,0\n2,1\n")
    bp.MLP((2, 1)).save("net")
    before = sorted(Path().iterdir())
    status, out, err = call(*arguments)
    assert status == 2
    assert message in " ".join((out + err).replace("│", " ").split())
    assert "Traceback" not in out + err
    assert sorted(Path().iterdir()) == before


def test_brackets_in_names_are_no_markup(call):
    frame, target = dataset("iris")
    frame.rename(columns={target: "[/x]"}).to_csv("t[bold].csv", index=False)
    status, out, _ = call("train", "t[bold].csv", "--target", "[/x]", "--epochs", 2, "--output", "o[red]x")
    assert status == 0
    assert "→ [/x]" in out
    assert "bpkernel predict 'o[red]x/model.safetensors' DATA.csv" in out
    assert call("predict", "o[red]x/model.safetensors", "t[bold].csv", "--output", "p[x].csv")[0] == 0
    assert Path("p[x].csv").exists()


def test_targets_that_cannot_be_scored_do_no_harm(call):
    frame, target = dataset("diabetes")
    frame.to_csv("t.csv", index=False)
    assert call("train", "t.csv", "--target", target, "--epochs", 2)[0] == 0
    frame[:5].assign(target=["a"] * 5).to_csv("text.csv", index=False)
    frame[:5].assign(target=[1, 2, np.nan, 3, 4]).to_csv("missing.csv", index=False)
    frame[:1].to_csv("one.csv", index=False)
    for name, told in (("text", "not scored"), ("missing", "of the 4 rows with a target"), ("one", "not scored")):
        status, out, _ = call("predict", "runs/t/model.safetensors", f"{name}.csv")
        assert status == 0
        assert told in out


def test_help_is_complete_with_an_example_each(call):
    status, out, _ = call("--help")
    assert status == 0
    for command in ("train", "predict", "evaluate", "explain", "runs", "check"):
        assert command in out
        status, text, _ = call(command, "--help")
        assert status == 0
        assert f"Example: bpkernel {command}" in text
    assert call("--version")[1].strip() == f"bpkernel {bp.__version__}"


def test_check_tells_the_largest_errors(call, monkeypatch):
    cases = [case for case in gradient_check.cases() if case.sizes == (7, 16, 17) and case.activation == "tanh"]
    monkeypatch.setattr(gradient_check, "cases", lambda: cases)
    status, out, _ = call("check")
    assert status == 0
    assert "0 out of bounds" in out
    for quantity in ("Eq. 1", "Eq. 5", "Eq. 7", "Eq. 4", "central differences", "10 epochs of Adam"):
        assert quantity in out
    assert "13 nets checked parameter by parameter, 0 out of bounds" in out
    monkeypatch.setattr(gradient_check, "DIFFERENCES", 1e-30)
    status, out, _ = call("check")
    assert status == 1
    assert "OUT" in out


def test_the_command_without_its_extra_says_what_to_install():
    program = "import sys; sys.modules['typer'] = None; sys.argv = ['bpkernel']; import bpkernel.__main__ as m; m.main()"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert "pip install 'bpkernel[cli]'" in result.stderr


@pytest.fixture
def flowers():
    """Iris as it is exported: an index, missing cells, a date, categories, a constant and a currency."""
    frame, target = dataset("iris")
    frame = frame.sample(frac=1, random_state=0).reset_index(drop=True)
    frame.insert(0, "plant_id", [f"p{i:03d}" for i in range(150)])
    frame["price"] = [f"${1000 + 7 * i:,}.50" for i in range(150)]
    frame["picked"] = pd.date_range("2024-01-01", periods=150).strftime("%d.%m.%Y")
    frame["garden"] = ["north", "south", ""] * 50
    frame["planet"] = "earth"
    frame.iloc[::10, 2] = np.nan
    return frame.rename(columns={target: "species"})


def test_a_table_as_it_is_exported_is_trained_on_and_predicted(call, flowers):
    flowers[:120].to_csv("seen.csv", sep=";", index=False)
    assert call("train", "seen.csv", "--target", "species")[0] == 0
    status, out, err = call("train", "seen.csv", "--target", "species")
    assert status == 0
    for line in (
        "│ plant_id          │ id",
        "│ planet            │ constant",
        "│ picked            │ date (%d.%m.%Y)",
        "runs/seen-2/model",
    ):
        assert line in out
    new = flowers[120:][flowers.columns[::-1]].drop(columns=["picked", "planet"]).assign(garden="moon")
    new.to_parquet("new.parquet")
    status, out, err = call("predict", "runs/seen/model.safetensors", "new.parquet", "--output", "named.parquet")
    assert status == 0
    assert "there is no column 'picked'" in err
    assert "column 'garden' has values that did not occur in training: 'moon'" in err
    named = pd.read_parquet("named.parquet")
    assert named["plant_id"].tolist() == flowers["plant_id"][120:].tolist()
    assert (named["prediction"].to_numpy() == flowers["species"][120:].to_numpy()).mean() > 0.8
    status, out, _ = call("evaluate", "runs/seen/model.safetensors", "new.parquet", "--json")
    scores = json.loads(out)
    assert scores["rows"] == 30
    assert scores["accuracy"] == (named["prediction"].to_numpy() == flowers["species"][120:].to_numpy()).mean()
    assert np.sum(scores["confusion_matrix"]) == 30
    assert {"roc_auc", "average_precision", "log_loss", "f1_macro", "balanced_accuracy"} <= scores.keys()


def test_a_run_is_trained_again_to_the_same_bits_and_none_is_lost(call, flowers):
    flowers.to_csv("f.tsv", sep="\t", index=False)
    told = "--target species --drop price --categorical garden --epochs 5 --hidden 8,4 --seed 3"
    assert call("train", "f.tsv", *told.split())[0] == 0
    assert call("train", "--from", "runs/f/run.json", "--quiet")[0] == 0
    status, out, _ = call("train", "--from", "runs/f", "--json")
    assert status == 0
    found = json.loads(out)
    assert found["folder"] == "runs/f-3"
    assert {"train", "validation", "test", "guess", "importances"} == found["scores"].keys()
    first = Path("runs/f/model.safetensors").read_bytes()
    assert all(Path(f"runs/f-{n}/model.safetensors").read_bytes() == first for n in (2, 3))
    history = pd.read_csv("runs/f/history.csv")
    assert list(history.columns) == ["net", "epoch", "loss", "validation_loss", "validation_accuracy", "seconds", "kept"]
    assert history["epoch"].tolist() == [1, 2, 3, 4, 5] * 5
    assert history.groupby("net")["kept"].sum().tolist() == [1] * 5
    status, out, _ = call("runs", "--json")
    assert [run["folder"] for run in json.loads(out)] == ["runs/f", "runs/f-2", "runs/f-3"]
    assert "runs/f-2" in call("runs")[1]
    assert call("train", "--from", "runs/f", "--hidden", "7", "--quiet", "--output", "other")[0] == 0
    status, out, _ = call("runs", "runs/f", "other")
    assert status == 0
    assert " ".join(out.replace("│", " ").split()).count("hidden [8, 4] [7]") == 1
    assert "log loss" in out
    assert "│ epochs" not in out
    Path("f.tsv").write_text(Path("f.tsv").read_text() + "\n")
    assert "holds other data than in that run" in call("train", "--from", "runs/f/run.json")[1]
    status, _, err = call("train", "f.tsv", *told.split(), "--output", "runs/f")
    assert status == 2
    assert "runs are kept" in err


def test_a_row_alone_and_in_a_large_file_is_predicted_to_the_same_bits(call, flowers):
    flowers.to_csv("seen.csv", index=False)
    assert call("train", "seen.csv", "--target", "species", "--epochs", 3)[0] == 0
    many = pd.concat([flowers] * 700, ignore_index=True)
    many.to_csv("many.csv", index=False)
    assert call("predict", "runs/seen/model.safetensors", "many.csv", "--output", "p.csv")[0] == 0
    found = pd.read_csv("p.csv", dtype=str)
    assert len(found) == len(many) > 2 * reading.BLOCK
    for i in (0, 77, 149):
        flowers[i : i + 1].to_csv("one.csv", index=False)
        _, out, _ = call("predict", "runs/seen/model.safetensors", "one.csv", "--output", "-")
        row = out.splitlines()[1].split(",")
        assert all(found.iloc[j].tolist() == row for j in (i, i + 150, i + 150 * 699))


def test_numbers_are_scored_in_their_units_beside_the_mean(call):
    frame, _ = dataset("diabetes")
    frame["target"] = [f"{value:,.1f} €" for value in frame["target"] * 100]
    frame.to_csv("d.csv", index=False)
    status, out, _ = call("train", "d.csv", "--target", "target", "--json")
    assert status == 0
    scores = json.loads(out)["scores"]
    assert scores["test"]["r2"] > 0.4
    assert scores["guess"]["r2"] < 0.05
    assert 3000 < scores["test"]["mae"] < scores["test"]["rmse"] < scores["guess"]["rmse"] < 12000


def test_formulas_in_cells_do_not_reach_a_spreadsheet(call, flowers):
    flowers["plant_id"] = [f"=cmd|'{i}'!A0" if i % 2 else f"-{i}" for i in range(150)]
    flowers["species"] = "@" + flowers["species"]
    flowers.to_csv("f.csv", index=False)
    assert call("train", "f.csv", "--target", "species", "--epochs", 2)[0] == 0
    status, out, _ = call("predict", "runs/f/model.safetensors", "f.csv", "--output", "-")
    assert status == 0
    rows = [line.split(",") for line in out.splitlines()]
    assert rows[1][0] == "-0"
    assert rows[2][0] == "'=cmd|'1'!A0"
    assert all(row[1].startswith("'@") for row in rows[1:])


def test_the_columns_that_matter_are_told(call):
    rng = np.random.default_rng(0)
    a, b, noise = rng.standard_normal((3, 600))
    letter = rng.choice(["u", "v", "w"], 600)
    frame = pd.DataFrame({"noise": noise, "b": b, "letter": letter, "a": a, "y": 100 * (3 * a + b + 2 * (letter == "u"))})
    frame.to_csv("t.csv", index=False)
    assert call("train", "t.csv", "--target", "y", "--epochs", 100)[0] == 0
    status, out, _ = call("explain", "runs/t/model.safetensors", "t.csv", "--json")
    assert status == 0
    found = json.loads(out)
    assert list(found) == ["a", "b", "letter", "noise"] or list(found) == ["a", "letter", "b", "noise"]
    assert found["a"]["drop"] > 0.5 > 0.02 > abs(found["noise"]["drop"])
    assert found["a"]["slope"] == pytest.approx(300, rel=0.1)
    assert found["b"]["slope"] == pytest.approx(100, rel=0.2)
    assert found["noise"]["slope"] < 20
    kept = json.loads(Path("runs/t/metrics.json").read_text())["importances"]
    assert kept.keys() == found.keys()
    frame.drop(columns="y").to_csv("new.csv", index=False)
    status, out, _ = call("explain", "runs/t/model.safetensors", "new.csv")
    assert status == 0
    assert "drop" not in out
    assert out.index("│ a ") < out.index("│ noise ")
