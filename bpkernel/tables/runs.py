"""Folders of runs: a new one for each, with the model, its evidence, and all that is needed to train it again or to go on."""

import datetime
import hashlib
import json
import platform
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

import pandas as pd

from bpkernel.serialization import write_atomically
from bpkernel.tables import evidence, figures, nets, report
from bpkernel.tables.delimited import TableError
from bpkernel.tables.importance import importances
from bpkernel.tables.splits import PARTS
from bpkernel.tables.training_run import TrainedRun, TrainingRun
from bpkernel.version import __version__

MODEL, CURVE, REPORT = "model.safetensors", "learning_curve.png", "report.html"
METRICS, HISTORY, RUN = "metrics.json", "history.csv", "run.json"
CHECKPOINTS = "checkpoints"  # folder, until a run is finished
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


def scores_of(trained: TrainedRun) -> dict[str, Any]:
    """The scores of each part of the rows; as `guess` those of a guess that ignores the columns, and the drops of
    `importances`, unless there are very many columns, both on the test rows; as `tuning` the candidates, if there were any.
    """
    run, model = trained.run, trained.model
    found: dict[str, Any] = {}
    for part in PARTS:
        y, true = trained.outputs(part)
        found[part] = evidence.scores(model, true, y)
    found["guess"] = evidence.guess(run.target, run.true_of("train"), run.true_of("test"))
    if len(run.preparation.features) <= MOST_COLUMNS:
        found["importances"] = importances(model, run.X_test, run.true_of("test"), run.options.seed, slopes=False)
    if trained.trained.tuning:
        found["tuning"] = trained.trained.tuning
    return found


def description(run: TrainingRun, data: Sequence[str], told: dict[str, Any]) -> dict[str, Any]:
    """What is needed to train a model again; `finished` is None as long as it has not been trained."""
    versions = {"python": platform.python_version(), "bpkernel": __version__}
    return {
        "data": list(data),
        "sha256": digest(data),
        "told": told,
        "options": asdict(run.options),
        "rows": run.splits.sizes(),
        "columns": [asdict(column) for column in run.columns],
        "started": now(),
        "finished": None,
        "versions": versions | {name: metadata.version(name) for name in VERSIONS},
    }


def now() -> str:
    """The time, in ISO 8601."""
    return datetime.datetime.now().astimezone().isoformat(timespec="seconds")


def of_nets(trained: TrainedRun, seconds: float) -> dict[str, Any]:
    """What a description holds of the nets once they have been trained."""
    return {
        "net": list(trained.model.net.layer_sizes),
        "nets": len(trained.model.nets),
        "learning_rate": trained.trained.options.rate,
        "epochs": [len(history.loss) for history in trained.model.nets.histories if history is not None],
        "seconds": round(seconds, 3),
    }


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a file of JSON, whole or not at all."""
    write_atomically(path, (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode())


def write(
    trained: TrainedRun, folder: Path, title: str, scores: dict[str, Any], described: dict[str, Any], warnings: Sequence[str]
) -> None:
    """Write all files of a run, and remove the checkpoints of a finished one."""
    model = trained.model
    model.save(folder / MODEL)
    write_json(folder / METRICS, scores)
    write_json(folder / RUN, described)
    history, loss = history_of(trained), model.net.loss_name
    write_atomically(folder / HISTORY, history.to_csv(index=False, lineterminator="\n").encode())
    curve = figures.learning_curve(history, f"{title}: learning curve", loss)
    write_atomically(folder / CURVE, figures.png(curve))
    plain = figures.learning_curve(history, "Learning curve", loss, figures.SIZE[0])
    write_atomically(folder / REPORT, report.made(trained, title, scores, described, warnings, plain))
    if described["finished"] is not None:
        shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)


def history_of(trained: TrainedRun) -> pd.DataFrame:
    """The course of the training, a row for each epoch of each net."""
    frames = []
    for number, history in enumerate(trained.model.nets.histories, start=1):
        assert history is not None
        frame = history.to_frame().reset_index().rename(columns=lambda name: re.sub("^val_", "validation_", name))
        frame.insert(0, "net", number)
        frame["kept"] = frame["epoch"] == (len(frame) if history.best_epoch is None else history.best_epoch + 1)
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def execution(folder: Path, number: int, *, progress: bool, resume: bool) -> nets.Execution:
    """How the nets of a run, or of one of its repetitions, are trained: with checkpoints in its folder."""
    checkpoints = folder / CHECKPOINTS / str(number)
    checkpoints.mkdir(parents=True, exist_ok=True)
    return nets.Execution(progress, checkpoints, resume)


def unfinished(folder: Path) -> dict[str, Any]:
    """The description of a run that can go on; raises TableError if it cannot."""
    described = read_description(folder)
    if described.get("finished") is not None:
        raise TableError(f"{folder} is a finished run: --from {folder} trains it again")
    if not (folder / CHECKPOINTS).is_dir():
        raise TableError(f"{folder} has no {CHECKPOINTS}: the run cannot go on; --from {folder} trains it from the beginning")
    return described


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
    """The runs in a folder, the oldest first: each path with its description and scores, {} if it is not finished."""
    runs = []
    for path in folder.rglob(RUN):
        try:
            described = read_description(path)
            done = described.get("finished") is not None
            scores = json.loads((path.parent / METRICS).read_text(encoding="utf-8")) if done else {}
            runs.append((path.parent, described, scores))
        except (OSError, ValueError):
            continue
    yield from sorted(runs, key=lambda run: (str(run[1].get("started")), str(run[0])))
