"""The optimizers by their names.  To add one, write a class as in `gradient_descent` and add it here."""

from typing import Any, Literal, TypeAlias

from bpkernel.functions.adam import Adam, AdamW, NAdam
from bpkernel.functions.adaptive import Adagrad, RMSprop
from bpkernel.functions.gradient_descent import SGD, Lion

__all__ = ["BY_NAME", "OPTIMIZERS", "SGD", "Adagrad", "Adam", "AdamW", "Lion", "NAdam", "OptimizerName", "RMSprop"]

OPTIMIZERS: tuple[type[Any], ...] = (SGD, Adam, AdamW, NAdam, RMSprop, Adagrad, Lion)
OptimizerName: TypeAlias = Literal["sgd", "adam", "adamw", "nadam", "rmsprop", "adagrad", "lion"]

BY_NAME: dict[str, type[Any]] = {optimizer.__name__.lower(): optimizer for optimizer in OPTIMIZERS}
