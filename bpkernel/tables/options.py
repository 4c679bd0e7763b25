"""The settings of a training run."""

from dataclasses import asdict, dataclass
from typing import Any

from bpkernel import schedules
from bpkernel.functions.activations import HiddenActivation, OutputActivation
from bpkernel.functions.joint_losses import Quantile
from bpkernel.functions.losses import LossName
from bpkernel.functions.optimizers import SGD, Adam, AdamW
from bpkernel.tables.delimited import TableError
from bpkernel.validation import FloatName

# loss: (whether it is for classification, output activation)
OUTPUTS: dict[str, tuple[bool, OutputActivation]] = {
    "cross_entropy": (True, "softmax"),
    "binary_cross_entropy": (True, "logistic"),
    "squared_error": (False, "identity"),
    "absolute_error": (False, "identity"),
    "huber": (False, "identity"),
    "poisson": (False, "exp"),
}
# metric of `metrics.json`: (whether it is for classification, scikit-learn's scorer)
METRICS = {
    "accuracy": (True, "accuracy"),
    "balanced_accuracy": (True, "balanced_accuracy"),
    "f1_macro": (True, "f1_macro"),
    "roc_auc": (True, "roc_auc_ovr"),
    "average_precision": (True, "average_precision"),
    "log_loss": (True, "neg_log_loss"),
    "r2": (False, "r2"),
    "rmse": (False, "neg_root_mean_squared_error"),
    "mae": (False, "neg_mean_absolute_error"),
}
RATES = {"adamw": 1e-3, "adam": 1e-3, "sgd": 0.01}
SCHEDULES = {"constant": None, "cosine": schedules.Cosine, "onecycle": schedules.OneCycle}
SMALLEST_BATCH, LARGEST_BATCH = 16, 256
STEPS_AN_EPOCH = 40  # about, within these sizes of a mini-batch


@dataclass(frozen=True)
class Options:
    """Settings of a run; None means that the data decide."""

    hidden: tuple[int, ...] = (100,)
    activation: HiddenActivation = "tanh"
    task: str | None = None
    loss: LossName | None = None
    quantiles: tuple[float, ...] = ()
    optimizer: str = "adamw"
    learning_rate: float | None = None
    schedule: str = "constant"
    momentum: float = 0.9
    weight_decay: float = 0.01
    dropout: float = 0.0
    class_weight: str | None = None
    batch_size: int | None = None
    epochs: int = 200
    patience: int = 20
    early_stopping: bool = True
    metric: str | None = None
    time_limit: float | None = None
    ensemble: int = 5
    tune: bool = False
    seeds: int = 1
    cv: int | None = None
    seed: int = 1
    dtype: FloatName = "float32"
    test_fraction: float = 0.2
    validation_fraction: float = 0.1

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Options":
        """The options of a description of a run; raises TypeError if they are not those of this version."""
        if data.keys() != asdict(cls()).keys():
            raise TypeError("other options")
        return cls(**data | {"hidden": tuple(data["hidden"]), "quantiles": tuple(data["quantiles"])})

    @property
    def n_runs(self) -> int:
        """How often the run is made, with other test rows or seeds."""
        return self.cv or self.seeds

    @property
    def rate(self) -> float:
        """The learning rate."""
        return RATES[self.optimizer] if self.learning_rate is None else self.learning_rate

    def make_optimizer(self) -> SGD | Adam | AdamW:
        """A new optimizer."""
        schedule = SCHEDULES[self.schedule]
        rate: Any = self.rate if schedule is None else schedule(self.rate)
        if self.optimizer == "sgd":
            return SGD(rate, momentum=self.momentum)
        return Adam(rate) if self.optimizer == "adam" else AdamW(rate, weight_decay=self.weight_decay)

    def batch(self, n_rows: int) -> int:
        """The rows in a mini-batch: if not given, a power of 2 that makes some 40 steps an epoch."""
        if self.batch_size is not None:
            return self.batch_size
        size = SMALLEST_BATCH
        while size < LARGEST_BATCH and size * 2 * STEPS_AN_EPOCH <= n_rows:
            size *= 2
        return size

    def loss_of(self, loss: LossName) -> LossName | Quantile:
        """The loss of the net."""
        return Quantile(*self.quantiles) if self.quantiles else loss

    @property
    def loss_is_for_classes(self) -> bool:
        """Whether the loss that was asked for is for classification."""
        return self.loss is not None and OUTPUTS[self.loss][0]

    def check(self, *, classify: bool) -> None:
        """Raise TableError, with all reasons, if options are not for the kind of problem."""
        kind, found = "classification" if classify else "regression", []
        if self.metric is not None and METRICS[self.metric][0] != classify:
            found.append(f"--metric {self.metric} is not for {kind}: use {_names(METRICS, classify)}")
        if self.class_weight is not None and not classify:
            found.append("--class-weight is for classification, but the target is of numbers")
        if self.quantiles and classify:
            found.append("--quantiles are for regression, but the target is of classes")
        if self.quantiles and self.loss is not None:
            found.append(f"--quantiles have a loss of their own: leave out --loss {self.loss}")
        if self.quantiles and self.metric is not None:
            found.append(f"with --quantiles the quantile loss decides: leave out --metric {self.metric}")
        if self.loss is not None and OUTPUTS[self.loss][0] != classify:
            found.append(f"--loss {self.loss} is not for {kind}: use {_names(OUTPUTS, classify)}")
        if self.cv is not None and self.seeds > 1:
            found.append("--cv and --seeds both repeat the run: choose one")
        if found:
            raise TableError("; ".join(found))


def _names(table: dict[str, Any], classify: bool) -> str:
    return " or ".join(name for name, entry in table.items() if entry[0] == classify)
