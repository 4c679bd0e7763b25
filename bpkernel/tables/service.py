"""A model as a small HTTP service: a page to try predictions by hand, and a JSON endpoint that checks its input."""

import json
import threading
from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bpkernel.extras import need
from bpkernel.tables import cells
from bpkernel.tables.features import MISSING, OTHER, Feature
from bpkernel.tables.model import Model

MOST_BYTES = 8 * 2**20  # of a request
MOST_ROWS = 10_000  # of a request
MOST_PROBLEMS = 20  # that are told of a request
HEADERS = {  # of every answer: the page runs no script but its own, and is shown in no other page
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "form-action 'none'; frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
FILES = {"/": ("page.html", "text/html"), "/page.js": ("page.js", "text/javascript"), "/page.css": ("page.css", "text/css")}


class BadRequest(ValueError):
    """A request that cannot be answered, with its HTTP status and all reasons."""

    def __init__(self, status: HTTPStatus, problems: Sequence[str]):
        super().__init__("; ".join(problems))
        self.status, self.problems = status, list(problems)[:MOST_PROBLEMS]


def schema(model: Model) -> dict[str, Any]:
    """What a request may hold, and what an answer does."""
    fills = iter(model.preparation.fill)
    columns = []
    for feature in model.preparation.features:
        own: dict[str, Any] = {"name": feature.name, "kind": feature.kind}
        typical, *_ = (None,) if feature.one_hot else [next(fills) for _ in feature.inputs()]
        if feature.kind == "number":
            own["typical"] = typical
        elif feature.kind == "boolean":
            own["values"] = [feature.style, cells.TRUE[feature.style]]
        elif feature.kind == "category":
            own["values"] = [value for value in feature.values if value not in (MISSING, OTHER)]
        columns.append(own)
    target = model.target
    return {
        "target": target.name,
        "classes": target.classes,
        "quantiles": target.quantiles,
        "columns": columns,
        "most_rows": MOST_ROWS,
    }


def rows_in(body: bytes, model: Model) -> pd.DataFrame:
    """The table of a request's JSON: `{"rows": [{column: value, ...}, ...]}`, or one row alone.

    Raises
    ------
    BadRequest
        If it is not that, names columns that the model does not have, or holds values that are no such thing.
    """

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is no number in JSON: leave out the column, or use null, where a cell is missing")

    try:
        data = json.loads(body, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise BadRequest(HTTPStatus.BAD_REQUEST, [f"the request is no JSON: {error}"]) from None
    rows = data.get("rows", [data]) if isinstance(data, dict) else data
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise BadRequest(HTTPStatus.UNPROCESSABLE_ENTITY, ['send {"rows": [{column: value, ...}, ...]}, with at least one row'])
    if len(rows) > MOST_ROWS:
        raise BadRequest(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, [f"{len(rows)} rows; send at most {MOST_ROWS} at once"])
    features = {feature.name: feature for feature in model.preparation.features}
    passed = {model.target.name, *model.ids}
    problems, columns = list[str](), dict[str, list[str | None]]()
    unknown = {name for row in rows for name in row} - features.keys() - passed
    if unknown:
        names = ", ".join(map(repr, sorted(unknown)[:MOST_PROBLEMS]))
        problems.append(f"the model has no column {names}; its columns are {', '.join(map(repr, features))}")
    for name, feature in features.items():
        found = list[str | None]()
        for number, row in enumerate(rows):
            try:
                found.append(_text_of(row.get(name), feature))
            except ValueError as error:
                problems.append(f"row {number}, column {name!r}: {error}")
                found.append(None)
        columns[name] = found
    if not problems and not any(name in row for row in rows for name in features):
        problems.append(f"no row has a column of the model: {', '.join(map(repr, features))}")
    if problems:
        raise BadRequest(HTTPStatus.UNPROCESSABLE_ENTITY, problems)
    return pd.DataFrame(columns, dtype=object)


def _text_of(value: Any, feature: Feature) -> str | None:
    """A value as the cell of a table that the model was trained on; raises ValueError if it is no such value."""
    if value is None or value == "":
        return None
    if isinstance(value, bool) and feature.kind == "boolean":
        return feature.style if value else cells.TRUE[feature.style]
    if isinstance(value, (dict, list)) or (isinstance(value, bool) and feature.kind != "category"):
        raise ValueError(f"{json.dumps(value)[:60]} is no {feature.kind}")
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, int | float):
        text = str(value)
        text = text.replace(".", feature.style) if feature.kind == "number" else text
    else:
        text = str(value)
    if feature.kind != "category" and np.isnan(feature.raw(pd.Series([text], dtype=object))[0, 0]):
        raise ValueError(f"{text[:60]!r} is no {feature.kind}{_example(feature)}")
    return text


def _example(feature: Feature) -> str:
    if feature.kind == "date" and feature.style:
        form = pd.Timestamp(2024, 12, 31, 13, 30).isoformat() if feature.style == "ISO8601" else None
        return f", such as {form or pd.Timestamp(2024, 12, 31, 13, 30).strftime(feature.style)}"
    return f": {feature.style} or {cells.TRUE[feature.style]}" if feature.kind == "boolean" else ""


def answer(model: Model, frame: pd.DataFrame) -> dict[str, Any]:
    """The predictions of a table, as JSON holds them."""
    present = frame.loc[:, frame.notna().any()] if len(frame.columns) else frame
    y, target = model.outputs(frame), model.target
    found: list[dict[str, Any]] = [{"prediction": _plain(model, value)} for value in model.predicted(y)]
    if model.classify:
        for entry, row in zip(found, model.probabilities(y), strict=True):
            entry["probabilities"] = dict(zip(target.classes, map(float, row), strict=True))
    elif target.quantiles:
        for entry, row in zip(found, model.quantiles(y), strict=True):
            entry["quantiles"] = {f"{level:g}": float(value) for level, value in zip(target.quantiles, row, strict=True)}
    return {"predictions": found, "notes": model.preparation.told(present)}


def _plain(model: Model, value: Any) -> Any:
    return model.target.classes[int(value)] if model.classify else float(value)


def service(model: Model, hosts: Sequence[str]) -> Any:
    """The ASGI application; it answers requests to these hosts only."""
    applications, routing = need("starlette.applications", "serve"), need("starlette.routing", "serve")
    responses, concurrency = need("starlette.responses", "serve"), need("starlette.concurrency", "serve")
    trusted, middleware = need("starlette.middleware.trustedhost", "serve"), need("starlette.middleware", "serve")
    known, one_at_a_time = schema(model), threading.Lock()

    def predicted(body: bytes) -> dict[str, Any]:
        frame = rows_in(body, model)
        with one_at_a_time:  # kernels use all threads
            return answer(model, frame)

    async def predict(request: Any) -> Any:
        body = bytearray()
        try:
            async for part in request.stream():
                body += part
                if len(body) > MOST_BYTES:
                    raise BadRequest(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, [f"send at most {MOST_BYTES >> 20} MB at once"])
            return responses.JSONResponse(await concurrency.run_in_threadpool(predicted, bytes(body)), headers=HEADERS)
        except BadRequest as error:
            return responses.JSONResponse({"errors": error.problems}, status_code=error.status, headers=HEADERS)

    async def describe(request: Any) -> Any:
        return responses.JSONResponse(known, headers=HEADERS)

    def file(name: str, kind: str) -> Any:
        content = Path(__file__).with_name(name).read_bytes()

        async def send(request: Any) -> Any:
            return responses.Response(content, media_type=kind, headers=HEADERS)

        return send

    routes = [routing.Route(path, file(*named)) for path, named in FILES.items()]
    routes += [routing.Route("/schema", describe), routing.Route("/predict", predict, methods=["POST"])]
    allowed = middleware.Middleware(trusted.TrustedHostMiddleware, allowed_hosts=list(hosts))
    return applications.Starlette(routes=routes, middleware=[allowed])
