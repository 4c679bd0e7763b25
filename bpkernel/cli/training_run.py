"""One training run on a table, from the splits to the files, and predictions with the saved model."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import accuracy_score, r2_score
from sklearn.model_selection import train_test_split

from bpkernel.cli.figures import learning_curve
from bpkernel.cli.tables import Categories, Encoding, TableError, is_number, labels, looks_like_classes, refuse_missing
from bpkernel.functions.activations import HiddenActivation, OutputActivation
from bpkernel.functions.losses import LossName
from bpkernel.functions.optimizers import SGD, Adam
from bpkernel.history import History
from bpkernel.mlp import MLP
from bpkernel.serialization import write_atomically
from bpkernel.validation import FloatName

# loss: (whether it is for classification, output activation)
OUTPUTS: dict[LossName, tuple[bool, OutputActivation]] = {
    "cross_entropy": (True, "softmax"),
    "binary_cross_entropy": (True, "logistic"),
    "squared_error": (False, "identity"),
    "poisson": (False, "exp"),
}
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
class Model:
    """A net and the encoding of its tables."""

    net: MLP
    encoding: Encoding

    @property
    def score_name(self) -> str:
        """The name of the score."""
        return "accuracy" if self.encoding.classify else "R²"

    def score(self, frame: pd.DataFrame, y: np.ndarray | None = None) -> float:
        """Accuracy or R²; pass the outputs `y` of the net if they have been computed."""
        y = self.outputs(frame) if y is None else y
        true, predicted = frame[self.encoding.target.name], self.encoding.predictions(y)
        if self.encoding.classify:
            return float(accuracy_score(labels(true), predicted.astype(str)))
        if not is_number(true) or len(true) < 2:
            raise TableError("R² needs two or more rows whose target is a number")
        return float(r2_score(true, predicted))

    def outputs(self, frame: pd.DataFrame) -> np.ndarray:
        """The outputs y of the net, (n_rows, n_outputs)."""
        return self.net.predict(self.encoding.X(frame))

    def predict(self, frame: pd.DataFrame, y: np.ndarray | None = None) -> pd.DataFrame:
        """A table of predictions and, for a classifier, of the probability of each class; `y` as in `score`."""
        y = self.outputs(frame) if y is None else y
        table = pd.DataFrame({"prediction": self.encoding.predictions(y)}, index=frame.index)
        if isinstance(self.encoding.target, Categories):
            for name, column in zip(self.encoding.target.values, self.encoding.probabilities(y).T, strict=True):
                table[f"probability_{name}"] = column
        return table

    def save(self, path: Path) -> None:
        """Write a safetensors file, which `MLP.load` can read as well."""
        self.net.save(path, {"table": self.encoding.to_json()})

    @classmethod
    def load(cls, path: Path) -> "Model":
        """Read a file written by `save`.  Raises ValueError if it holds a net without the encoding of a table."""
        net, metadata = MLP.load_with_metadata(path)
        try:
            encoding = Encoding.from_json(metadata["table"])
        except (KeyError, TypeError):
            raise ValueError(f"{path} is a net, but it was not saved by 'bpkernel train', so its columns are unknown") from None
        return cls(net, encoding)


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
            classes = labels(rows[target]) if classify else None
            return train_test_split(rows, test_size=fraction, random_state=options.seed, stratify=classes)

        if options.test_fraction + options.validation_fraction >= 1:
            raise TableError("the sum of the test and validation fractions must be below 1, to leave rows for training")
        if classify:
            counts = labels(frame[target]).value_counts()
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
    """A prepared run: the table is checked and split, and the net is made.

    Attributes
    ----------
    model : Model
    splits : Splits
    optimizer : SGD or Adam
    history : History
        Empty before `train`.
    """

    def __init__(self, frame: pd.DataFrame, target: str, options: Options):
        if target not in frame.columns:
            raise TableError(f"there is no column {target!r}; the columns are {', '.join(map(repr, frame.columns))}")
        refuse_missing(frame)
        self.options = options
        classify, loss = self._task(frame[target])
        self.splits = Splits.of(frame, target, classify, options)
        encoding = Encoding.learn(frame, target, classify, loss == "squared_error", self.splits.train.index)
        n_out = len(encoding.target.values) if isinstance(encoding.target, Categories) else 1
        if classify and n_out < 2:
            raise TableError(f"the target {target} has only one class; classification needs at least two")
        if loss == "binary_cross_entropy":
            if n_out != 2:
                raise TableError(f"binary_cross_entropy is for two classes, but {target} has {n_out}: use cross_entropy")
            n_out = 1
        n_in = encoding.X(self.splits.train[:1]).shape[1]
        sizes = (n_in, *options.hidden, n_out)
        net = MLP(sizes, options.activation, OUTPUTS[loss][1], loss, options.dtype, options.seed)
        self.model = Model(net, encoding)
        rate = options.learning_rate
        self.optimizer = (
            Adam(1e-3 if rate is None else rate)
            if options.optimizer == "adam"
            else SGD(0.01 if rate is None else rate, momentum=options.momentum)
        )
        self.history = History(len(self.splits.train))

    def _task(self, target: pd.Series) -> tuple[bool, LossName]:
        loss, task = self.options.loss, self.options.task
        if task is not None:
            classify = task == "classification"
        else:
            classify = looks_like_classes(target) if loss is None else OUTPUTS[loss][0]
        loss = loss or ("cross_entropy" if classify else "squared_error")
        if OUTPUTS[loss][0] != classify:
            kind = "classification" if classify else "regression"
            raise TableError(
                f"loss {loss} is not for {kind}; use {' or '.join(k for k, v in OUTPUTS.items() if v[0] == classify)}"
            )
        if loss == "poisson" and (not is_number(target) or (target.to_numpy(float) < 0).any()):
            raise TableError(f"loss poisson is for counts, but the target {target.name} is text or has negative values")
        return classify, loss

    def train(self, progress: bool) -> bool:
        """Train; returns False if interrupted by Ctrl-C, and the model then keeps what it has learnt."""
        encoding, net, splits = self.model.encoding, self.model.net, self.splits
        X, X_validation = encoding.X(splits.train), encoding.X(splits.validation)

        def watch(history: History) -> None:
            self.history = history
            history.validation_score.append(self.model.score(splits.validation, net.predict(X_validation)))

        try:
            net.fit(
                X,
                encoding.T(splits.train),
                epochs=self.options.epochs,
                batch_size=self.options.batch_size,
                optimizer=self.optimizer,
                validation_data=(X_validation, encoding.T(splits.validation)),
                patience=self.options.patience if self.options.early_stopping else None,
                progress=progress,
                callback=watch,
            )
        except KeyboardInterrupt:
            return False
        return True

    def write(self, folder: Path, title: str) -> tuple[Path, Path | None]:
        """Save the model and plot the learning curve; returns their paths, or None for the curve if no epoch was completed."""
        model, curve = folder / "model.safetensors", folder / "learning_curve.png"
        self.model.save(model)
        if not self.history.validation_score:
            curve.unlink(missing_ok=True)  # a curve of an earlier run does not belong to this model
            return model, None
        whole = min(len(self.history.loss), len(self.history.validation_score))
        for name in ("loss", "validation_loss", "validation_score"):  # an interrupted epoch may be in some lists only
            setattr(self.history, name, getattr(self.history, name)[:whole])
        plot = learning_curve(self.history, title, self.model.net.loss_name, self.model.score_name)
        write_atomically(curve, plot)
        return model, curve
