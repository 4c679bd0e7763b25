"""The report of a run: one page that needs no other file and runs no script, with scores, pictures and columns."""

import base64
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from bpkernel.extras import need
from bpkernel.progress import in_words
from bpkernel.tables import evidence, figures
from bpkernel.tables.training_run import TrainedRun

TEMPLATE = Path(__file__).with_name("report.html")
REPEATS = {"seeds": "test, {} seeds", "cross_validation": "test, {} folds"}  # of scores: what it is
MOST_CLASSES = 50  # in tables and the confusion matrix


def made(
    trained: TrainedRun,
    title: str,
    scores: dict[str, Any],
    described: dict[str, Any],
    warnings: Sequence[str],
    curve: Figure,
) -> bytes:
    """The report as HTML; texts of the table never become markup."""
    environment = need("jinja2", "cli").Environment(autoescape=True, trim_blocks=True)
    run, model = trained.run, trained.model
    problem = run.problem
    what = f"classes ({', '.join(run.target.classes[:6])}{', …' if len(run.target.classes) > 6 else ''})"
    page = environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        title=title,
        summary=f"{run.target.name}: {what if problem.classify else 'numbers'}, predicted from {len(run.preparation.features)} "
        f"columns by {'the mean of ' + str(len(model.nets)) + ' nets' if len(model.nets) > 1 else 'a net'}. "
        f"{len(run.splits.rest)} rows for training and validation, {len(run.splits.test)} for the test.",
        warnings=warnings,
        scores=_scores(scores, classify=problem.classify),
        scores_note="Test rows were seen by no net. Validation rows are predicted by the nets that were not trained on them; "
        "they decided when training ended. The last row shows what a guess reaches that ignores the columns"
        + ("." if problem.classify else f". RMSE and MAE have the unit of {run.target.name}."),
        tables=list(_tables(scores)),
        pictures=[
            {"caption": caption, "data": base64.b64encode(figures.svg(figure)).decode()}
            for caption, figure in _pictures(trained, scores, curve)
        ],
        columns=run.columns,
        facts=list(_facts(described)),
    )
    return bytes(page.encode())


def _scores(scores: dict[str, Any], *, classify: bool) -> dict[str, Any]:
    names = [name for name in evidence.SHOWN if name in scores["test"] or name in scores["train"]]
    rows = [[part, *(_number(scores[part].get(name)) for name in names)] for part in ("train", "validation", "test")]
    for key, words in REPEATS.items():
        if key in scores:
            n_runs = len(next(iter(scores[key].values()))["values"])
            spread = {name: f"{_number(v['mean'])} ± {v['std']:.2g}" for name, v in scores[key].items()}
            rows.append([words.format(n_runs), *(spread.get(name, "") for name in names)])
    guess = "test, by the shares of the classes" if classify else "test, by the mean"
    rows.append([guess, *(_number(scores["guess"].get(name)) for name in names)])
    return {"header": ["rows", *(evidence.SHOWN[name] for name in names)], "rows": rows}


def _tables(scores: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    classes = scores["test"].get("classes")
    if classes:
        rows = [
            [name, *(_number(own[key]) for key in ("precision", "recall", "f1")), str(own["rows"])]
            for name, own in list(classes.items())[:MOST_CLASSES]
        ]
        yield "Classes, on the test rows", {"header": ["class", "precision", "recall", "F1", "rows"], "rows": rows}
    below = scores["test"].get("below_quantile")
    if below:
        rows = [[f"{float(level):.0%}", f"{share:.1%}"] for level, share in below.items()]
        yield "Quantiles, on the test rows", {"header": ["quantile", "rows at or below it"], "rows": rows}
    tuning = scores.get("tuning")
    if tuning:
        name = evidence.tuned_score(tuning)
        rows = [
            [", ".join(map(str, row["hidden"])) or "none", f"{row['learning_rate']:g}", _number(row[name])] for row in tuning
        ]
        header = ["hidden units", "learning rate", in_words(name)]
        yield "Tuning", {"header": header, "rows": rows}


def _pictures(trained: TrainedRun, scores: dict[str, Any], curve: Figure) -> Iterator[tuple[str, Figure]]:
    model, target = trained.model, trained.run.target
    y, true = trained.outputs("test")
    if model.classify:
        probabilities = model.probabilities(y).astype(float)
        if len(target.classes) <= MOST_CLASSES:
            matrix = scores["test"]["confusion_matrix"]
            yield "Test rows of each class, by the predicted class.", figures.confusion(matrix, target.classes)
        which = "of the second class" if len(target.classes) == 2 else "of each class against the others"
        yield f"ROC curve {which}, on the test rows.", figures.roc(true, probabilities, target.classes)
        yield (
            f"Precision and recall {which}, on the test rows; share: what a guess reaches.",
            figures.precision_recall(true, probabilities, target.classes),
        )
        yield (
            "Calibration on the test rows: of the rows predicted with a probability of 0.8, 0.8 should be of the class.",
            figures.calibration(true, probabilities, target.classes),
        )
    else:
        predicted = model.predicted(y)
        yield "Predicted and true numbers of the test rows.", figures.predictions(true, predicted, target.name)
        yield "Residuals of the test rows.", figures.residuals(true, predicted, target.name)
        if target.quantiles:
            found = model.quantiles(y)
            yield "Quantiles of some test rows.", figures.intervals(true, found, target.quantiles, target.name)
    if scores.get("importances") and all("drop" in entry for entry in scores["importances"].values()):
        score = evidence.score_name(model.classify)
        yield (
            f"Fall of {score} on the test rows when a column is shuffled. Of columns that tell the same, each may look "
            "unimportant.",
            figures.importances(scores["importances"], score),
        )
    yield "Course of the training.", curve


def _facts(described: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield "data", ", ".join(described["data"])
    yield "SHA-256 of the data", described["sha256"] or "unknown"
    yield "finished", str(described["finished"])
    yield "net", "-".join(map(str, described["net"]))
    yield "epochs", ", ".join(map(str, described["epochs"]))
    yield "seconds", f"{described['seconds']:.1f}"
    yield "options", ", ".join(f"{name}={value}" for name, value in described["options"].items())
    yield "versions", ", ".join(f"{name} {value}" for name, value in described["versions"].items())


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"
