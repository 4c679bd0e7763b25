"""One training run on a table: the columns are understood, the rows split, the nets trained and their predictions scored."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from bpkernel.ensembles import Ensemble
from bpkernel.functions.losses import LossName
from bpkernel.tables import cells, nets
from bpkernel.tables.columns import USED, Overrules, looks_like_classes, target_style, understand
from bpkernel.tables.delimited import TableError
from bpkernel.tables.model import Model, Target, rows_with_target
from bpkernel.tables.options import Options
from bpkernel.tables.preparation import Preparation
from bpkernel.tables.splits import Splits

NOTHING = Overrules()


class TrainingRun:
    """A prepared run: the table is understood and split, and its inputs computed.

    Parameters
    ----------
    frame : DataFrame
    target : str
    options : Options
    told : Overrules
    header : bool
        Whether the file named its columns.
    fold : int, default=None
        Which fold of `options.cv` is the test set.

    Attributes
    ----------
    columns : list of Column
        What the table holds, and what becomes of it.
    preparation : Preparation
    target : Target
    splits : Splits
    problem : nets.Problem
    true : ndarray (n,)
        Classes or numbers of all rows with a target, in the order of the table, as of `Target.values`.
    """

    def __init__(
        self,
        frame: pd.DataFrame,
        target: str,
        options: Options,
        told: Overrules = NOTHING,
        header: bool = True,
        fold: int | None = None,
    ):
        self.options, self.columns, self._header = options, understand(frame, target, told), header
        frame = rows_with_target(frame, target)
        classify, loss = self._task(frame[target], told)
        self.splits = Splits.of(frame, target, classify, options, fold)
        self.target = self._target(frame, target, loss, classify=classify)
        self.true, n_out = self.target.values(frame[target]), self.target.n_outputs
        if classify and n_out < 2:
            raise TableError(f"the target {target} has only one class; classification needs at least two")
        if loss == "binary_cross_entropy":
            if n_out != 2:
                raise TableError(f"binary_cross_entropy is for two classes, but {target} has {n_out}: use cross_entropy")
            n_out = 1
        used = [column for column in self.columns if column.kind in USED]
        T, rows = self.target.T(self.splits.rest[target]), self.splits.rows("train")
        self.preparation, X_train = Preparation.learn(
            self.splits.rest.iloc[rows], used, T[rows], classify=classify, seed=options.seed, dtype=options.dtype
        )
        X = X_train
        if len(rows) < len(T):  # a single net, whose validation rows are prepared as those of a table to predict
            X = np.empty((len(T), X_train.shape[1]), options.dtype)
            X[rows], held_back = X_train, self.splits.rows("validation")
            X[held_back] = self.preparation.X(self.splits.rest.iloc[held_back], options.dtype)
        self.problem = nets.Problem(X, T, self.splits.folds, n_out, loss)
        self.X_test = self.preparation.X(self.splits.test, options.dtype)
        nets.check(self.problem, options)

    def _target(self, frame: pd.DataFrame, name: str, loss: LossName, *, classify: bool) -> Target:
        if classify:
            return Target.of_classes(frame[name])
        style = target_style(frame[name])
        odd = frame[name][np.isnan(cells.numbers(frame[name], style))]
        if len(odd):
            raise TableError(
                f"the target {name} has {len(odd)} cells that are no finite numbers, such as {str(odd.iloc[0])!r}, but "
                "regression needs numbers; mend or leave out these rows, or use --task classification"
            )
        learnt = self.splits.rest[name].iloc[self.splits.rows("train")]
        found = Target.of_numbers(learnt, style, standardise=loss != "poisson")
        levels = list(self.options.quantiles)
        return replace(found, quantiles=levels, shifts=[0.0] * len(levels))

    def _task(self, target: pd.Series, told: Overrules) -> tuple[bool, LossName]:
        options, loss = self.options, self.options.loss
        if options.task is not None:
            classify = options.task == "classification"
        elif options.quantiles:
            classify = False
        else:
            classify = looks_like_classes(target, told) if loss is None else options.loss_is_for_classes
        options.check(classify=classify)
        loss = loss or ("cross_entropy" if classify else "squared_error")
        if loss == "poisson" and not (cells.numbers(target, target_style(target)) >= 0).all():
            raise TableError(f"loss poisson is for counts, but the target {target.name} is text or has negative values")
        return classify, loss

    def train(self, execution: nets.Execution) -> "TrainedRun":
        """Train the nets; see `nets.train`."""
        return TrainedRun(self, nets.train(self.problem, self.options, execution))

    def model(self, trained: Ensemble, target: Target) -> Model:
        """A model of this table."""
        ids = tuple(column.name for column in self.columns if column.kind == "id")
        return Model(trained, self.preparation, target, ids, self._header)

    def inputs(self, part: str) -> tuple[np.ndarray, np.ndarray]:
        """Inputs (n, n_inputs) and targets (n,) of the nets for the rows of "train" or "test"."""
        if part == "test":
            return self.X_test, self.target.T(self.splits.test[self.target.name])
        rows = self.splits.rows(part)
        return self.problem.X[rows], self.problem.T[rows]

    def true_of(self, part: str) -> np.ndarray:
        """Classes or numbers of the rows of "train", "validation" or "test" (n,), as of `Target.values`."""
        return self.true[self.splits.test.index if part == "test" else self.splits.rest.index[self.splits.rows(part)]]


class TrainedRun:
    """A run with its model.

    Attributes
    ----------
    run : TrainingRun
    trained : nets.Trained
    model : Model
    """

    def __init__(self, run: TrainingRun, trained: nets.Trained):
        self.run, self.trained = run, trained
        self._outputs: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        self.model = run.model(trained.nets, run.target)
        if run.target.quantiles:
            y, true = self.outputs("validation")
            errors = true[:, np.newaxis] - self.model.in_units(y)
            shifts = [float(np.quantile(e, level)) for e, level in zip(errors.T, run.target.quantiles, strict=True)]
            self.model = run.model(trained.nets, replace(run.target, shifts=shifts))

    def _of_held_back(self) -> tuple[np.ndarray, np.ndarray]:
        """Outputs of the nets for the rows that each has not seen, and these rows of `rest`."""
        pairs = zip(self.trained.nets, self.trained.folds, strict=True)
        y = np.concatenate([net.predict(self.run.problem.X[fold]) for net, fold in pairs])
        rows = np.concatenate(self.trained.folds)
        order = np.argsort(rows)
        return y[order], rows[order]

    def outputs(self, part: str) -> tuple[np.ndarray, np.ndarray]:
        """Outputs (n, n_outputs) and true values (n,) of "train", "validation" or "test"; computed once.

        Validation rows are predicted by the nets that have not seen them.
        """
        if part not in self._outputs:
            self._outputs[part] = self._outputs_of(part)
        return self._outputs[part]

    def _outputs_of(self, part: str) -> tuple[np.ndarray, np.ndarray]:
        run = self.run
        if part == "test":
            return self.model.nets.predict(run.X_test), run.true_of("test")
        if part == "validation":
            y, rows = self._of_held_back()
            return y, run.true[run.splits.rest.index[rows]]
        rows = run.splits.rows("train")
        return self.model.nets.predict(run.problem.X[rows]), run.true_of("train")


def repeated(frame: pd.DataFrame, target: str, options: Options, told: Overrules, header: bool) -> Iterator[TrainingRun]:
    """The runs of `options.cv`, each with another fold as its test set, or of the seeds from `options.seed` on."""
    for number in range(options.n_runs):
        own = options if options.cv else replace(options, seed=options.seed + number)
        yield TrainingRun(frame, target, own, told, header, number if options.cv else None)


def spread(values: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Mean, standard deviation and values of each score of several runs that all of them have."""
    names = [name for name, value in values[0].items() if isinstance(value, float) and all(name in other for other in values)]
    found = {name: [scores[name] for scores in values] for name in names}
    return {name: {"mean": float(np.mean(v)), "std": float(np.std(v, ddof=1)), "values": v} for name, v in found.items()}
