"""The settings of activations, losses and optimizers."""

import math
from dataclasses import fields, is_dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np

NUMBERS, INTEGERS = (float, Real), (int, Integral)  # first the usual class: to check an abstract one takes five times as long


def between(name: str, value: Any, low: float, high: float, allowed: str, *, with_low: bool = False) -> None:
    """Raise TypeError or ValueError unless a setting is a number between two; `allowed` says so in the message."""
    number_given = isinstance(value, NUMBERS) and not isinstance(value, bool)
    if number_given:
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if low < number < high or (with_low and number == low):
            return
    raise (ValueError if number_given else TypeError)(f"{name} must be a number {allowed}; got {value!r}")


def positive(name: str, value: Any) -> None:
    """Raise TypeError or ValueError unless a setting is a number greater than 0."""
    between(name, value, 0, math.inf, "greater than 0")


def not_negative(name: str, value: Any) -> None:
    """Raise TypeError or ValueError unless a setting is a number of at least 0."""
    between(name, value, 0, math.inf, "of at least 0", with_low=True)


def below_1(name: str, value: Any) -> None:
    """Raise TypeError or ValueError unless a setting is a number from 0 up to but not including 1."""
    between(name, value, 0, 1, "from 0 up to but not including 1", with_low=True)


def whole(name: str, value: Any, low: int) -> None:
    """Raise TypeError or ValueError unless a setting is an integer of at least `low`."""
    message = f"{name} must be an integer of at least {low}; got {value!r}"
    if isinstance(value, bool) or not isinstance(value, INTEGERS):
        raise TypeError(message)
    if value < low:
        raise ValueError(message)


def flag(name: str, value: Any) -> bool:
    """True or False; raises TypeError for anything else."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be True or False; got {value!r}")
    return bool(value)


class WithSettings:
    """Base of activations and losses: copies and pickles hold the settings only, without the loops that are made of them."""

    def __reduce__(self) -> Any:
        settings = tuple(settings_of(self).values())
        return type(self), settings[0] if len(settings) == 1 and isinstance(settings[0], tuple) else settings


def settings_of(function: Any) -> dict[str, Any]:
    """The settings of an activation or a loss by their names; most have none."""
    return {field.name: getattr(function, field.name) for field in fields(function)} if is_dataclass(function) else {}
