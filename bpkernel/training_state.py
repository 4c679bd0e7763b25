"""What a checkpoint holds of training: optimizers, schedules and random generators as tensors and JSON."""

import dataclasses
from typing import Any

import numpy as np

from bpkernel.full_batch import FULL_BATCH
from bpkernel.functions.optimizer import Optimizer
from bpkernel.functions.optimizers import OPTIMIZERS
from bpkernel.kernels.layout import Layout
from bpkernel.schedules import SCHEDULES

KINDS = {kind.__name__: kind for kind in (*OPTIMIZERS, *FULL_BATCH)}
SCHEDULES_BY_NAME = {kind.__name__: kind for kind in SCHEDULES}
GENERATORS = ("PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64")

Arrays = dict[str, np.ndarray]


# ------------------------------------------------------------------------------------------ optimizers and their states


def description_of(optimizer: Optimizer) -> dict[str, Any]:
    """The class and the settings of an optimizer, as JSON holds them."""
    settings = {}
    for field in dataclasses.fields(optimizer):  # type: ignore[arg-type]
        value = getattr(optimizer, field.name)
        if type(value) in SCHEDULES:
            value = {"schedule": type(value).__name__, "settings": _plain(dataclasses.asdict(value))}
        elif callable(value):
            value = {"function": getattr(value, "__name__", type(value).__name__)}
        settings[field.name] = _plain(value)
    return {"name": type(optimizer).__name__, "settings": settings}


def optimizer_of(description: dict[str, Any], given: Optimizer | None = None) -> Optimizer | None:
    """The optimizer of a description; None if its learning rate is a function, which files do not hold, and none is given.

    A given optimizer of the same class takes over the settings, but keeps a learning rate that is a function.
    """
    settings = {}
    for name, value in description["settings"].items():
        if isinstance(value, dict) and "function" in value:
            if given is None or given.schedule is None:
                return None
            value = given.schedule
        elif isinstance(value, dict):
            value = SCHEDULES_BY_NAME[value["schedule"]](**value["settings"])
        settings[name] = value
    made: Optimizer = KINDS[description["name"]](**settings)
    if given is None:
        return made
    for name, value in settings.items():
        setattr(given, name, value)
    return given


def _plain(value: Any) -> Any:
    """A value as JSON holds it."""
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, np.generic):
        return value.item()
    return value.tolist() if isinstance(value, np.ndarray) else value


def packed(state: Any, layout: Layout) -> tuple[Arrays, dict[str, Any]]:
    """The state of an optimizer, as of its `snapshot`: tensors, and what JSON holds."""
    if state is None:
        return {}, {}
    if isinstance(state, float):
        return {}, {"memory": state}
    if not isinstance(state[0], Layout):  # pairs of vectors of LBFGS
        return {"memory": np.array(state)}, {}
    _, slots, steps, kept, (_, schedule) = state
    tensors = {"state": np.array([layout.vector(row) for row in slots]).reshape(len(slots), -1)}
    return tensors, {"steps": int(steps[0]), "kept": kept.tolist(), "schedule": schedule}


def unpacked(tensors: Arrays, numbers: dict[str, Any], layout: Layout, n_slots: int) -> Any:
    """The state that `packed` has packed, for an optimizer's `restore`."""
    if "memory" in tensors:
        return tuple(map(tuple, tensors["memory"]))
    if "steps" not in numbers:
        return numbers.get("memory")
    slots = np.zeros((n_slots, layout.n_params), layout.dtype)
    for row, vector in zip(slots, tensors["state"], strict=True):
        layout.assign(row, vector)
    steps, kept = np.array([numbers["steps"]], np.int64), np.array(numbers["kept"], np.float64)
    return layout, slots, steps, kept, (None, numbers["schedule"])


# ------------------------------------------------------------------------------------------------------ generators


def random_state(generator: np.random.Generator) -> Any:
    """The state of a generator, as JSON holds it."""
    return _arrays_out(generator.bit_generator.state)


def _arrays_out(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _arrays_out(each) for name, each in value.items()}
    return {"array": value.tolist(), "dtype": str(value.dtype)} if isinstance(value, np.ndarray) else _plain(value)


def _arrays_in(value: Any) -> Any:
    if isinstance(value, dict):
        if set(value) == {"array", "dtype"}:
            return np.array(value["array"], value["dtype"])
        return {name: _arrays_in(each) for name, each in value.items()}
    return value


def generator_of(state: Any) -> np.random.Generator:
    """A generator in a state."""
    if state["bit_generator"] not in GENERATORS:
        raise ValueError(f"its generator {state['bit_generator']!r} is not one of NumPy's")
    generator = np.random.Generator(getattr(np.random, state["bit_generator"])())
    generator.bit_generator.state = _arrays_in(state)
    return generator
