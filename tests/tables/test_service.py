"""A model as an HTTP service: its answers, what it refuses, and its page in a browser."""

import json
import shutil
import socket
import threading
import time
import urllib.error
import urllib.request

import numpy as np
import pandas as pd
import pytest

from bpkernel.tables import service
from bpkernel.tables.service import BadRequest, answer, rows_in, schema

ROW = {"x": 0.5, "money": 12, "colour": "red", "town": "town 7", "flag": "yes", "day": "2020-03-01 05:00:00"}


@pytest.fixture
def model(trained):
    return trained("size", ensemble=2).model


def test_the_schema_describes_the_columns(model):
    found = schema(model)
    assert found["classes"] == ["large", "middle", "small"]
    kinds = {column["name"]: column["kind"] for column in found["columns"]}
    assert kinds == {
        "x": "number",
        "money": "number",
        "colour": "category",
        "town": "category",
        "flag": "boolean",
        "day": "date",
    }
    by_name = {column["name"]: column for column in found["columns"]}
    assert by_name["colour"]["values"] == ["blue", "green", "red"]
    assert by_name["flag"]["values"] == ["yes", "no"]
    assert by_name["money"]["typical"] == pytest.approx(1, abs=0.8)


@pytest.mark.parametrize(
    "changes", [{}, {"x": None}, {"x": "0.25"}, {"flag": True}, {"flag": "NO"}, {"colour": ""}, {"colour": "pink"}, {"town": 7}]
)
def test_answers_are_the_predictions_of_the_model(model, changes):
    row = ROW | changes
    found = answer(model, rows_in(json.dumps({"rows": [row, ROW]}).encode(), model))
    cells = {"True": "yes"}.get(str(row["flag"]), row["flag"])
    table = model.predict(pd.DataFrame([row | {"flag": cells}], dtype=object))
    assert found["predictions"][0]["prediction"] == table["prediction"][0]
    names = model.target.classes
    np.testing.assert_array_equal(
        [found["predictions"][0]["probabilities"][name] for name in names],
        table[[f"probability_{name}" for name in names]].to_numpy()[0].astype(float),
    )
    assert len(found["predictions"]) == 2
    assert answer(model, rows_in(json.dumps(row).encode(), model))["predictions"] == found["predictions"][:1]


def test_quantiles_are_answered(trained):
    model = trained("score", quantiles=(0.1, 0.5, 0.9), ensemble=2).model
    (found,) = answer(model, rows_in(json.dumps(ROW).encode(), model))["predictions"]
    assert found["quantiles"]["0.1"] <= found["prediction"] == found["quantiles"]["0.5"] <= found["quantiles"]["0.9"]


@pytest.mark.parametrize(
    ("body", "status", "problems"),
    [
        (b"", 400, ["no JSON"]),
        (b"{", 400, ["no JSON"]),
        (b"\xff\xfe", 400, ["no JSON"]),
        (b"[" * 100_000, 400, ["no JSON"]),
        (b'{"x": NaN}', 400, ["NaN is no number in JSON"]),
        (b"3", 422, ["at least one row"]),
        (b'{"rows": []}', 422, ["at least one row"]),
        (b'{"rows": [3]}', 422, ["at least one row"]),
        (b"{}", 422, ["no row has a column"]),
        (b'{"X": 1}', 422, ["no column 'X'"]),
        (
            b'{"rows": [{"x": "much"}, {"x": true, "day": "soon", "flag": "perhaps", "colour": ["red"], "z": 1}]}',
            422,
            [
                "no column 'z'",
                "row 0, column 'x': 'much' is no number",
                "row 1, column 'x': true is no number",
                "row 1, column 'day': 'soon' is no date, such as 2024-12-31",
                "row 1, column 'flag': 'perhaps' is no boolean: yes or no",
                "row 1, column 'colour': [\"red\"] is no category",
            ],
        ),
        (json.dumps([{"x": 1}] * 10_001).encode(), 413, ["at most 10000"]),
    ],
    ids=lambda value: None if isinstance(value, list) else str(value)[:20],
)
def test_invalid_requests_are_refused_with_all_reasons(model, body, status, problems):
    with pytest.raises(BadRequest) as refused:
        rows_in(body, model)
    assert refused.value.status == status
    text = "\n".join(refused.value.problems)
    for problem in problems:
        assert problem in text


def test_random_requests_never_end_in_another_exception(model):
    rng = np.random.default_rng(0)
    whole = json.dumps({"rows": [ROW]}).encode()
    for _ in range(300):
        body = bytearray(whole)
        for place in rng.integers(0, len(body), 3):
            body[place] = rng.integers(256)
        try:
            found = answer(model, rows_in(bytes(body), model))
        except BadRequest:
            continue
        assert len(found["predictions"]) == 1


@pytest.fixture
def address(model):
    """Where a service of the model listens."""
    pytest.importorskip("starlette")
    uvicorn = pytest.importorskip("uvicorn")
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    made = service.service(model, ["127.0.0.1"])
    server = uvicorn.Server(uvicorn.Config(made, log_level="error"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    server.should_exit = True
    thread.join()
    listening.close()


def get(url, data=None, **headers):
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=30) as response:
            return response.status, response.read(), response.headers
    except urllib.error.HTTPError as error:
        return error.code, error.read(), error.headers


def test_the_service_answers_over_http(model, address):
    status, page, headers = get(address)
    assert status == 200
    assert b"<form" in page
    assert "script-src 'self'" in headers["Content-Security-Policy"]
    assert json.loads(get(f"{address}/schema")[1]) == schema(model)
    status, body, _ = get(f"{address}/predict", json.dumps(ROW).encode())
    assert status == 200
    assert json.loads(body) == answer(model, rows_in(json.dumps(ROW).encode(), model))
    status, body, headers = get(f"{address}/predict", b'{"x": "<script>"}')
    assert status == 422
    assert headers["Content-Type"] == "application/json"
    assert json.loads(body) == {"errors": ["row 0, column 'x': '<script>' is no number"]}
    assert get(f"{address}/predict", b" " * (service.MOST_BYTES + 1))[0] == 413
    assert get(f"{address}/predict")[0] == 405
    assert get(f"{address}/none")[0] == 404
    assert get(address, Host="elsewhere.example")[0] == 400


def test_the_page_predicts_in_a_browser(address):
    playwright = pytest.importorskip("playwright.sync_api")
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("there is no Chromium")
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        page = opened.new_page(viewport={"width": 390, "height": 844})
        troubles = []
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("console", lambda message: troubles.append(message.text) if message.type == "error" else None)
        page.goto(address)
        page.get_by_label("x", exact=True).fill("3")
        page.get_by_label("colour").select_option("red")
        page.get_by_role("button", name="Predict").click()
        assert page.locator(".prediction").inner_text() == "size: large"
        assert page.locator("meter").count() == 3
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        assert troubles == []
        page.get_by_label("x", exact=True).fill("<b id=mark>3</b>")
        page.get_by_role("button", name="Predict").click()
        assert "is no number" in page.locator(".error").inner_text()
        assert page.locator("#mark").count() == 0
        page.get_by_role("button", name="Clear").click()
        assert page.locator("#result").inner_text() == ""
        opened.close()
