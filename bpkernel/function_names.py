"""Functions of nets as model files hold them: by name, those of users with some values that identify them."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from bpkernel.functions.activations import BY_NAME as ACTIVATIONS
from bpkernel.functions.custom import Activation, Loss
from bpkernel.functions.joint_losses import Quantile
from bpkernel.functions.losses import BY_NAME as LOSSES
from bpkernel.functions.settings import settings_of

FINGERPRINT = (-3.0, -1.0, -0.3, 0.2, 1.0, 2.5)  # where files record the values of users' functions
TARGET = 0.75  # for the errors of users' losses there


def short(function: Any) -> Any:
    """The name of a built-in function with its default settings, otherwise the function itself."""
    built_in = ACTIVATIONS.get(function.name) or LOSSES.get(function.name)
    default = type(built_in) is type(function) and settings_of(built_in) == settings_of(function)
    return function.name if default else function


def describe(function: Any) -> Any:
    """A function as JSON can hold it."""
    if isinstance(function, (Activation, Loss)):
        return {"own": function.name, "values": _fingerprint(function)}
    settings = settings_of(function) if short(function) is function else None
    return {"name": function.name, **settings} if settings else function.name


def function_of(description: Any, built_in: Mapping[str, Any], functions: Sequence[Any]) -> Any:
    """The function of a description."""
    what = "activation" if built_in is ACTIVATIONS else "loss"
    if isinstance(description, str):
        return description
    if "own" not in description:
        settings = dict(description)
        name = settings.pop("name")
        if name not in built_in:
            raise ValueError(f"it uses the {what} {name!r}, which this version of bpkernel does not have")
        return type(built_in[name])(*settings.values()) if name != "quantile" else Quantile(*settings["levels"])
    name = description["own"]
    found = [f for f in functions if isinstance(f, Activation if built_in is ACTIVATIONS else Loss) and f.name == name]
    if len(set(found)) > 1:
        raise ValueError(f"functions has {len(found)} of the name {name!r}: pass one")
    if not found:
        raise ValueError(
            f"it uses your own {what} {name!r}, of which it holds the name only: pass functions=[...] with this {what}"
        )
    for expected, value in zip(description["values"], _fingerprint(found[0]), strict=True):
        known = expected is not None and value is not None
        if not (math.isclose(expected, value, rel_tol=1e-6, abs_tol=1e-9) if known else expected is value):  # type: ignore[arg-type]
            raise ValueError(
                f"your {what} {name!r} is not the one that the net was saved with: it gives {value} where that gave {expected}"
            )
    return found[0]


def _fingerprint(function: Any) -> list[float | None]:
    """Values of a user's function, None where it has none, to recognise it by."""
    values: list[float | None] = []
    for x in FINGERPRINT:
        try:
            plain = function.g if isinstance(function, Activation) else function.error
            value = float(plain(x) if isinstance(function, Activation) else plain(x, TARGET))
        except Exception:
            value = math.nan
        values.append(value if math.isfinite(value) else None)
    return values
