"""One training run on a table: the columns are understood, the rows split, the net made and trained."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.model_selection import train_test_split

from bpkernel.functions.activations import HiddenActivation, OutputActivation
from bpkernel.functions.losses import LossName
from bpkernel.functions.optimizers import SGD, Adam
from bpkernel.history import History
from bpkernel.mlp import MLP
from bpkernel.tables import cells
from bpkernel.tables.columns import USED, Overrules, looks_like_classes, target_style, understand
from bpkernel.tables.delimited import TableError
from bpkernel.tables.evidence import main_score
from bpkernel.tables.model import Model, Target, rows_with_target
from bpkernel.tables.preparation import Preparation
from bpkernel.validation import FloatName

# loss: (whether it is for classification, output activation)
OUTPUTS: dict[LossName, tuple[bool, OutputActivation]] = {
    "cross_entropy": (True, "softmax"),
    "binary_cross_entropy": (True, "logistic"),
    "squared_error": (False, "identity"),
    "poisson": (False, "exp"),
}
NOTHING = Overrules()
LEAST_OF_A_CLASS = 3  # rows: one for each of training, validation and test


@dataclass(frozen=True)
class Options:
    """Settings of a run; None means that the data decide."""

    hidden: tuple[int, ...] = (100,)
    activation: HiddenActivation = "tanh"
    task: str | None = None
    loss: LossName | None = None
    optimizer: str = "adam"
    learning_rate: float | None = None
    momentum: float = 0.9
    batch_size: int = 32
    epochs: int = 200
    patience: int = 20
    early_stopping: bool = True
    seed: int = 1
    dtype: FloatName = "float32"
    test_fraction: float = 0.2
    validation_fraction: float = 0.1


@dataclass(frozen=True)
class Splits:
    """The rows of a table, split into three sets."""

    train: pd.DataFrame
    validation: pd.DataFrame
    test: pd.DataFrame

    @classmethod
    def of(cls, frame: pd.DataFrame, target: str, classify: bool, options: Options) -> "Splits":
        """Split at random from the seed; for classification, with the same proportions of classes in each set."""

        def split(rows: pd.DataFrame, fraction: float) -> Any:
            classes = cells.texts(rows[target]).to_numpy(object) if classify else None
            return train_test_split(rows, test_size=fraction, random_state=options.seed, stratify=classes)

        if options.test_fraction + options.validation_fraction >= 1:
            raise TableError("the sum of the test and validation fractions must be below 1, to leave rows for training")
        if classify:
            counts = cells.texts(frame[target]).value_counts()
            if counts.min() < LEAST_OF_A_CLASS:
                raise TableError(
                    f"class {counts.idxmin()!r} of {target} has {counts.min()} of {len(frame)} rows; a class needs at least "
                    f"{LEAST_OF_A_CLASS}, for training, validation and test: drop its rows, or merge it with another class"
                )
        try:
            rest, test = split(frame, options.test_fraction)
            train, validation = split(rest, options.validation_fraction / (1 - options.test_fraction))
        except ValueError as error:
            raise TableError(f"{len(frame)} rows are too few for training, validation and test: {error}") from None
        return cls(train, validation, test)


class TrainingRun:
    """A prepared run: the table is understood and split, and the net is made.

    Attributes
    ----------
    columns : list of Column
        What the table holds, and what becomes of it.
    model : Model
    splits : Splits
    optimizer : SGD or Adam
    history : History
        Empty before `train`.
    true : ndarray (n,)
        Classes or numbers of all rows with a target, in the order of the table, as of `Target.values`.
    """

    def __init__(self, frame: pd.DataFrame, target: str, options: Options, told: Overrules = NOTHING, header: bool = True):
        self.options, self.columns = options, understand(frame, target, told)
        frame = rows_with_target(frame, target)
        classify, loss = self._task(frame[target], told)
        self.splits = Splits.of(frame, target, classify, options)
        own = self._target(frame, target, loss, classify=classify)
        self.true, n_out = own.values(frame[target]), len(own.classes) or 1
        if classify and n_out < 2:
            raise TableError(f"the target {target} has only one class; classification needs at least two")
        if loss == "binary_cross_entropy":
            if n_out != 2:
                raise TableError(f"binary_cross_entropy is for two classes, but {target} has {n_out}: use cross_entropy")
            n_out = 1
        train, used = self.splits.train, [column for column in self.columns if column.kind in USED]
        self._T = own.T(train[target])
        preparation, self._X = Preparation.learn(train, used, self._T, classify=classify, seed=options.seed)
        sizes = (self._X.shape[1], *options.hidden, n_out)
        net = MLP(sizes, options.activation, OUTPUTS[loss][1], loss, options.dtype, options.seed)
        ids = tuple(column.name for column in self.columns if column.kind == "id")
        self.model = Model(net, preparation, own, ids, header)
        rate = options.learning_rate
        self.optimizer = (
            Adam(1e-3 if rate is None else rate)
            if options.optimizer == "adam"
            else SGD(0.01 if rate is None else rate, momentum=options.momentum)
        )
        self.history = History(len(train))
        self._inputs: dict[str, tuple[np.ndarray, np.ndarray]] = {}

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
        return Target.of_numbers(self.splits.train[name], style, standardise=loss == "squared_error")

    def _task(self, target: pd.Series, told: Overrules) -> tuple[bool, LossName]:
        loss, task = self.options.loss, self.options.task
        if task is not None:
            classify = task == "classification"
        else:
            classify = looks_like_classes(target, told) if loss is None else OUTPUTS[loss][0]
        loss = loss or ("cross_entropy" if classify else "squared_error")
        if OUTPUTS[loss][0] != classify:
            kind = "classification" if classify else "regression"
            raise TableError(
                f"loss {loss} is not for {kind}; use {' or '.join(k for k, v in OUTPUTS.items() if v[0] == classify)}"
            )
        if loss == "poisson" and not (cells.numbers(target, target_style(target)) >= 0).all():
            raise TableError(f"loss poisson is for counts, but the target {target.name} is text or has negative values")
        return classify, loss

    def inputs(self, part: str) -> tuple[np.ndarray, np.ndarray]:
        """Inputs and targets of the rows for "train", "validation" or "test", as of a table to predict; computed once."""
        if part not in self._inputs:
            rows = getattr(self.splits, part)
            self._inputs[part] = self.model.preparation.X(rows), self.model.target.T(rows[self.model.target.name])
        return self._inputs[part]

    def true_of(self, part: str) -> np.ndarray:
        """Classes or numbers of the rows for a part (n,), as of `Target.values`."""
        return self.model.target.values(getattr(self.splits, part)[self.model.target.name])

    def train(self, progress: bool) -> bool:
        """Train; returns False if interrupted by Ctrl-C, and the model then keeps what it has learnt."""
        net, (X_validation, T_validation) = self.model.net, self.inputs("validation")
        true = self.true_of("validation")

        def watch(history: History) -> None:
            self.history = history
            history.validation_score.append(main_score(self.model, true, self.model.predicted(net.predict(X_validation))))

        try:
            net.fit(
                self._X,
                self._T,
                epochs=self.options.epochs,
                batch_size=self.options.batch_size,
                optimizer=self.optimizer,
                validation_data=(X_validation, T_validation),
                patience=self.options.patience if self.options.early_stopping else None,
                progress=progress,
                callback=watch,
            )
        except KeyboardInterrupt:
            return False
        finally:
            self._make_whole()
        return True

    def _make_whole(self) -> None:
        """Leave out an interrupted epoch, which may be in some lists of the history only."""
        lists = [getattr(self.history, name) for name in ("loss", "validation_loss", "validation_score", "seconds")]
        whole = min(map(len, lists))
        for values in lists:
            del values[whole:]
