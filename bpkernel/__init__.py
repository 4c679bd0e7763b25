"""Multilayer perceptrons trained on the CPU by back-propagation in explicit, compiled loops."""

import importlib
from typing import TYPE_CHECKING, Any

from bpkernel import callbacks, reference, schedules
from bpkernel.check_gradients import GradientCheck, check_gradients
from bpkernel.derivatives import Backprop
from bpkernel.ensembles import Ensemble
from bpkernel.extras import need
from bpkernel.full_batch import LBFGS, LevenbergMarquardt
from bpkernel.functions.custom import Activation, Loss
from bpkernel.functions.elementwise import ELU, LeakyReLU
from bpkernel.functions.elementwise_losses import Huber, Tweedie
from bpkernel.functions.focal_losses import BinaryFocal, Focal
from bpkernel.functions.joint_losses import Quantile
from bpkernel.functions.optimizers import SGD, Adagrad, Adam, AdamW, Lion, NAdam, RMSprop
from bpkernel.history import History
from bpkernel.laplace import LaplacePosterior
from bpkernel.layer_statistics import LayerStatistics
from bpkernel.many_nets import train_many
from bpkernel.mlp import MLP
from bpkernel.version import __version__

if TYPE_CHECKING:
    from bpkernel import sklearn
    from bpkernel.sklearn.estimators import MLPClassifier, MLPRegressor

__all__ = [
    "ELU",
    "LBFGS",
    "MLP",
    "SGD",
    "Activation",
    "Adagrad",
    "Adam",
    "AdamW",
    "Backprop",
    "BinaryFocal",
    "Ensemble",
    "Focal",
    "GradientCheck",
    "History",
    "Huber",
    "LaplacePosterior",
    "LayerStatistics",
    "LeakyReLU",
    "LevenbergMarquardt",
    "Lion",
    "Loss",
    "MLPClassifier",
    "MLPRegressor",
    "NAdam",
    "Quantile",
    "RMSprop",
    "Tweedie",
    "__version__",
    "callbacks",
    "check_gradients",
    "reference",
    "schedules",
    "sklearn",
    "train_many",
]


if not TYPE_CHECKING:  # a type checker would take any name for an attribute

    def __getattr__(name: str) -> Any:
        """The estimators, which need scikit-learn, when first asked for."""
        if name not in ("MLPClassifier", "MLPRegressor", "sklearn"):
            raise AttributeError(f"module 'bpkernel' has no attribute {name!r}")
        need("sklearn.neural_network", "sklearn")
        module = importlib.import_module("bpkernel.sklearn")
        return module if name == "sklearn" else getattr(module, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
