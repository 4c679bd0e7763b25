"""Models as ONNX graphs: onnxruntime predicts what the model does."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

import bpkernel as bp
from bpkernel.functions.activations import HIDDEN
from bpkernel.tables import cells, onnx_export
from bpkernel.tables.delimited import TableError
from bpkernel.tables.model import Target

pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")


def outputs_of(model, frame, path):
    """The outputs of the graph by name, from the columns of a table."""
    onnx_export.write(model, path)
    session = runtime.InferenceSession(path)
    feed = {}
    for feature in model.preparation.features:
        column = frame[feature.name]
        if feature.kind == "category":
            feed[feature.name] = cells.texts(column).fillna("").to_numpy(object)[:, np.newaxis]
        else:
            feed[feature.name] = feature.raw(column)[:, :1]
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, feed), strict=True))


@pytest.fixture
def frame():
    """Rows that the model has not seen: unseen categories, missing cells, far numbers."""
    rng = np.random.default_rng(1)
    n = 60
    made = pd.DataFrame(
        {
            "x": rng.standard_normal(n) * 3,
            "money": np.exp(3 * rng.standard_normal(n)),
            "colour": rng.choice(["red", "green", "blue", "pink"], n),
            "town": [f"town {code}" for code in rng.integers(0, 60, n)],
            "flag": rng.choice(["yes", "no"], n),
            "day": pd.date_range("2019-01-01", periods=n, freq="133h").astype(str),
        }
    ).astype(object)
    made.loc[0] = None
    made.loc[1, ["x", "money"]] = [1e300, -1e300]
    return made


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("target", "loss"), [("size", None), ("high", None), ("high", "binary_cross_entropy")])
def test_classes(trained, frame, tmp_path, target, loss, dtype):
    model = trained(target, loss=loss, dtype=dtype, ensemble=2).model
    found, table = outputs_of(model, frame, tmp_path / "m"), model.predict(frame)
    np.testing.assert_allclose(found["probabilities"], table.iloc[:, 1:], rtol=1e-5, atol=1e-6)
    assert found["prediction"].tolist() == table["prediction"].tolist()
    assert np.ptp(found["probabilities"][:, 0]) > 0.2


@pytest.mark.parametrize(("quantiles", "loss"), [((), None), ((0.1, 0.5, 0.9), None), ((), "poisson")])
def test_numbers(trained, frame, tmp_path, quantiles, loss):
    model = trained("score", quantiles=quantiles, loss=loss, dtype="float64", ensemble=2).model
    found, table = outputs_of(model, frame, tmp_path / "m"), model.predict(frame)
    np.testing.assert_allclose(found["prediction"], table["prediction"], rtol=1e-9)
    assert np.ptp(found["prediction"]) > 1
    if quantiles:
        np.testing.assert_allclose(found["quantiles"], table.iloc[:, 1:], rtol=1e-9)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("activation", HIDDEN)
def test_activations(trained, frame, tmp_path, activation, dtype):
    precision = "float32" if activation == "gelu" else dtype  # of onnxruntime's erf
    model = trained("score", ensemble=2).model
    net = bp.MLP((model.net.layer_sizes[0], 4, 1), activation, dtype=dtype, random_state=0)
    own = dataclasses.replace(model, nets=bp.Ensemble([net], [bp.History(1)], [{}]))
    found = outputs_of(own, frame, tmp_path / "m")["prediction"]
    expected = own.predict(frame)["prediction"]
    np.testing.assert_allclose(found, expected, rtol=1e-4 if "float32" in (dtype, precision) else 1e-9)
    assert np.ptp(found) > 1


def test_columns_may_have_the_names_of_outputs(trained, frame, tmp_path):
    model = trained("high", ensemble=2).model
    others = {"x": "prediction", "colour": "probabilities", "money": "value_3", "day": "constant_0"}
    features = [dataclasses.replace(f, name=others.get(f.name, f.name)) for f in model.preparation.features]
    own = dataclasses.replace(model, preparation=dataclasses.replace(model.preparation, features=features))
    found = outputs_of(own, frame.rename(columns=others), tmp_path / "m")
    assert found["prediction_"].tolist() == model.predict(frame)["prediction"].tolist()


def test_what_cannot_be_exported_is_told(trained, tmp_path):
    model = trained("score", ensemble=2).model
    n = model.net.layer_sizes[0]
    for net, message in (
        (bp.MLP((n, 3, 1), connections="all"), "only chains"),
        (bp.MLP((n, 3, 1), layer_norm=True), "only chains"),
        (bp.MLP((n, 3, 1), bp.LeakyReLU(0.2)), "cannot be exported"),
    ):
        own = dataclasses.replace(model, nets=bp.Ensemble([net], [bp.History(1)], [{}]), target=Target("y"))
        with pytest.raises(TableError, match=message):
            onnx_export.write(own, tmp_path / "m")
    assert not (tmp_path / "m").exists()
