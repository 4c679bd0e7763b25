"""Folders of runs: a new one for each, with the model, its evidence, and all that is needed to train it again."""

import datetime
import hashlib
import json
import platform
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

import pandas as pd

from bpkernel.serialization import write_atomically
from bpkernel.tables import evidence
from bpkernel.tables.delimited import TableError
from bpkernel.tables.figures import learning_curve
from bpkernel.tables.importance import importances
from bpkernel.tables.training_run import TrainingRun
from bpkernel.version import __version__

MODEL, CURVE, METRICS, HISTORY, RUN = "model.safetensors", "learning_curve.png", "metrics.json", "history.csv", "run.json"
PARTS = ("train", "validation", "test")
MOST_COLUMNS = 200  # whose importances are measured with each run; of 1,000 columns it can take half a minute
VERSIONS = ("numpy", "numba", "scikit-learn", "pandas")  # that the bits of a run depend on


def new_folder(wanted: Path) -> Path:
    """Make a folder of this name, or with -2, -3 and so on behind it, where there is one with something in it.

    Raises OSError if it cannot be made.
    """
    n, path = 1, wanted
    while not (path.is_dir() and not any(path.iterdir())):
        try:
            path.mkdir(parents=True)  # of two at once, only one succeeds
            break
        except FileExistsError:
            if not path.is_dir():
                raise
        n += 1
        path = wanted.with_name(f"{wanted.name}-{n}")
    return path


def digest(paths: Sequence[str]) -> str | None:
    """SHA-256 of the contents of files, one after the other; None if one of them is no file."""
    found = hashlib.sha256()
    for path in paths:
        if not Path(path).is_file():
            return None
        with open(path, "rb") as file:
            for block in iter(lambda file=file: file.read(1 << 20), b""):  # type: ignore[misc]
                found.update(block)
    return found.hexdigest()


def scores_of(run: TrainingRun) -> dict[str, Any]:
    """The scores of each part of the rows; as `guess` those of a guess that ignores the columns, and the drops of
    `importances`, unless there are very many columns, both on the test rows.
    """
    model = run.model
    true = {part: run.true_of(part) for part in PARTS}
    found: dict[str, Any] = {}
    for part in PARTS:
        X, T = run.inputs(part)
        found[part] = evidence.scores(model, true[part], model.net.predict(X)) | {"loss": model.net.loss(X, T)}
    found["guess"] = evidence.guess(model, true["train"], true["test"])
    if len(model.preparation.features) <= MOST_COLUMNS:
        found["importances"] = importances(model, run.inputs("test")[0], true["test"], run.options.seed, slopes=False)
    return found


def description(run: TrainingRun, data: Sequence[str], told: dict[str, Any], seconds: float) -> dict[str, Any]:
    """What is needed to train a model again."""
    versions = {"python": platform.python_version(), "bpkernel": __version__}
    return {
        "data": list(data),
        "sha256": digest(data),
        "told": told,
        "options": asdict(run.options),
        "rows": {part: len(getattr(run.splits, part)) for part in PARTS},
        "columns": [asdict(column) for column in run.columns],
        "net": list(run.model.net.layer_sizes),
        "epochs": len(run.history.loss),
        "seconds": round(seconds, 3),
        "finished": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        "versions": versions | {name: metadata.version(name) for name in VERSIONS},
    }


def write(run: TrainingRun, folder: Path, title: str, scores: dict[str, Any], described: dict[str, Any]) -> None:
    """Write all files of a run; without a completed epoch there is no learning curve."""
    model, history = run.model, run.history
    model.save(folder / MODEL)
    for name, content in ((METRICS, scores), (RUN, described)):
        write_atomically(folder / name, (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode())
    write_atomically(folder / HISTORY, _rows(run).encode())
    if history.validation_score:
        plot = learning_curve(history, title, model.net.loss_name, model.score_name)
        write_atomically(folder / CURVE, plot)


def _rows(run: TrainingRun) -> str:
    """The history as CSV."""
    history, score = run.history, "validation_accuracy" if run.model.classify else "validation_r2"
    lists = {"loss": history.loss, "validation_loss": history.validation_loss, score: history.validation_score}
    frame = pd.DataFrame({"epoch": range(1, len(history.loss) + 1)} | lists | {"seconds": history.seconds})
    return frame.to_csv(index=False, lineterminator="\n")


def read_description(path: Path) -> dict[str, Any]:
    """A run.json, of a folder or of itself; raises TableError if it is none."""
    path = path / RUN if path.is_dir() else path
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        described = found if {"data", "told", "options"} <= found.keys() else None
    except OSError as error:
        raise TableError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, AttributeError):
        described = None
    if described is None:
        raise TableError(f"{path} is no {RUN} of 'bpkernel train'")
    return described


def found(folder: Path) -> Iterator[tuple[Path, dict[str, Any], dict[str, Any]]]:
    """The runs in a folder, the oldest first: each path with its description and scores; others are left out."""
    runs = []
    for path in folder.rglob(RUN):
        try:
            scores = json.loads((path.parent / METRICS).read_text(encoding="utf-8"))
            runs.append((path.parent, read_description(path), scores))
        except (OSError, ValueError):
            continue
    yield from sorted(runs, key=lambda run: (str(run[1].get("finished")), str(run[0])))
