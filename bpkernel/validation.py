"""Validation of user input, and its conversion to the form that kernels take, before any kernel starts.

Each function checks one kind of argument and returns its value.  It raises TypeError for a wrong type and ValueError for a
wrong value; `name` is the name of the argument in the message.
"""

import math
from typing import Any, Literal, TypeAlias

import numpy as np

from bpkernel.full_batch import FULL_BATCH
from bpkernel.functions import settings
from bpkernel.functions.losses import TARGETS
from bpkernel.functions.optimizers import BY_NAME, OPTIMIZERS
from bpkernel.functions.settings import INTEGERS, NUMBERS

KINDS = frozenset((*OPTIMIZERS, *FULL_BATCH))
EITHER = (np.dtype(np.float32), np.dtype(np.float64))  # dtypes of inputs that kernels read
FloatName: TypeAlias = Literal["float32", "float64"]
Float: TypeAlias = np.dtype[np.float32 | np.float64]
FloatLike: TypeAlias = FloatName | Float | type[np.float32 | np.float64]


def flag(name: str, value: Any) -> bool:
    """True or False."""
    return settings.flag(name, value)


def count(name: str, value: Any) -> int:
    """An integer of at least 1."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, INTEGERS):
        raise TypeError(f"{name} must be an integer of at least 1; got {value!r}")
    if value < 1:
        raise ValueError(f"{name} must be an integer of at least 1; got {value!r}")
    return int(value)


def not_negative(name: str, value: Any, dtype: np.dtype) -> float:
    """A number of at least 0 that is finite in a dtype."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, NUMBERS):
        raise TypeError(f"{name} must be a number of at least 0; got {value!r}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not 0 <= number <= float(np.finfo(dtype).max):
        raise ValueError(f"{name} must be a number of at least 0, and finite in {dtype}; got {value!r}")
    return number


def fraction(name: str, value: Any) -> float:
    """A number from 0 to 1."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, NUMBERS):
        raise TypeError(f"{name} must be a number from 0 to 1; got {value!r}")
    if not 0 <= float(value) <= 1:
        raise ValueError(f"{name} must be a number from 0 to 1; got {value!r}")
    return float(value)


def held_back(value: Any) -> tuple[Any, Any, Any]:
    """Validation data (X, T) or (X, T, sample_weight)."""
    if not isinstance(value, (tuple, list)) or len(value) not in (2, 3):
        raise TypeError(f"validation_data must be a pair (X, T), or (X, T, sample_weight); got {type(value).__name__}")
    return value[0], value[1], value[2] if len(value) == 3 else None


def optimizer(value: Any) -> Any:
    """An optimizer, or a new one by its name; Adam for None."""
    if isinstance(value, str):
        return BY_NAME[one_of("optimizer", value.lower(), BY_NAME)]()
    if type(value) not in KINDS and value is not None:
        names = ", ".join(kind.__name__ for kind in (*OPTIMIZERS, *FULL_BATCH))
        raise TypeError(f"optimizer must be one of bpkernel's ({names}), such as bp.Adam(), or a name; got {value!r}")
    return BY_NAME["adam"]() if value is None else value


def per_layer(name: str, value: Any, n_layers: int, *, optional: bool = False) -> Any:
    """A number of at least 0 for all layers, or a list of one for each, and with `optional` None for some."""
    if value is None and optional:
        return None
    given = value if several(value) else [value]
    for each in given:
        if not (each is None and optional):
            not_negative(name, each, np.dtype(np.float64))
    if given is not value:
        return float(value)
    if len(value) != n_layers:
        raise ValueError(
            f"{name} must be a number, or one for each of the {n_layers} layers but the inputs; got {len(value)} numbers"
        )
    return [None if each is None else float(each) for each in value]


def several(value: Any) -> bool:
    """Whether this is a list, a tuple or an array, but not one of a single number."""
    return isinstance(value, (list, tuple)) or (isinstance(value, np.ndarray) and value.ndim > 0)


def positive(name: str, value: Any) -> float:
    """A number greater than 0."""
    settings.positive(name, value)
    return float(value)


def limit(name: str, value: Any, dtype: np.dtype) -> float:
    """A number greater than 0, also in a dtype, or 0 for None."""
    number = 0.0 if value is None else positive(name, value)
    if value is not None and number < float(np.finfo(dtype).smallest_subnormal):
        raise ValueError(f"{name} is {value!r}, which is 0 in the net's {dtype}; use a larger one, or float64")
    return number


def rates_of_dropout(name: str, value: Any, n_layers: int) -> tuple[float, ...]:
    """Shares of units, one for each layer: 0 ≤ p < 1."""
    given = value if several(value) else [value]
    if several(value) and len(value) != n_layers:
        raise ValueError(f"{name} must be a number, or one for each of the {n_layers} hidden layers; got {len(value)} numbers")
    for each in given:
        settings.below_1(name, each)
    return tuple(map(float, given if several(value) else [value] * n_layers))


def one_of(name: str, value: Any, allowed: Any) -> Any:
    """One of the allowed names."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be one of {', '.join(allowed)}; got {value!r}")
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(allowed)}; got {value!r}")
    return str(value)


def float_dtype(value: Any) -> Float:
    """float32 or float64."""
    try:
        name = None if value is None else np.dtype(value).name
    except (TypeError, ValueError, SyntaxError):
        name = None
    if name not in ("float32", "float64"):
        raise ValueError(f"dtype must be 'float32' or 'float64'; got {value!r}")
    return np.dtype(name)


def numbers(name: str, value: Any, dtype: np.dtype, *, either: bool = False) -> np.ndarray:
    """A C-contiguous, aligned, writable array of finite numbers of a dtype; not a copy if `value` is one.

    With `either`, an array of float32 or float64 keeps its dtype.  The array is writable although kernels only read it: a
    read-only array has another type in Numba, for which kernels would be compiled again.
    """
    if type(value) is np.ndarray:
        array = value
    else:
        if hasattr(value, "toarray"):
            raise TypeError(f"{name} is a sparse {type(value).__name__}; convert it with {name}.toarray()")
        if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
            raise ValueError(f"{name} has masked values; fill them, or drop their rows")
        try:
            array = np.asarray(value)
        except ValueError as error:
            raise ValueError(f"{name} must be an array of numbers whose rows have the same length ({error})") from None
    if array.dtype.kind not in "biuf":
        raise TypeError(
            f"{name} must hold real numbers; got an array of dtype {array.dtype}: "
            "encode text and categories, or convert numbers with .astype(float)"
        )
    kept = array.dtype if either and array.dtype in EITHER else dtype
    if array.dtype is not kept or not array.flags.carray:
        with np.errstate(over="ignore"):
            array = np.require(array, kept, ["C", "A", "W"])
    if array.size == 0:
        raise ValueError(f"{name} must not be empty; got shape {array.shape}")
    finite = np.isfinite(array)
    if kept.itemsize > dtype.itemsize:
        finite &= np.abs(array) <= np.finfo(dtype).max
    if not np.logical_and.reduce(finite, axis=None):
        index = tuple(int(i) for i in np.argwhere(~finite)[0])
        raise ValueError(
            f"{name} must hold finite numbers of {dtype}; {name}[{', '.join(map(str, index))}] is {array[index]}: "
            "fill missing values, or drop their rows"
        )
    return array


def samples(name: str, X: Any, n_in: int, dtype: np.dtype) -> np.ndarray:
    """Inputs (n_samples, n_in) of float32 or float64."""
    X = numbers(name, X, dtype, either=True)
    if X.ndim != 2 or X.shape[1] != n_in:
        hint = ""
        if X.ndim == 1 and X.size == n_in:
            hint = f"; for a single sample, pass {name}.reshape(1, -1)"
        elif X.ndim == 1 and n_in == 1:
            hint = f"; for a single input, pass {name}.reshape(-1, 1)"
        raise ValueError(f"{name} must have shape (n_samples, {n_in}), as the net has {n_in} inputs; got {X.shape}{hint}")
    return X


def targets(name: str, T: Any, loss: Any, n_samples: int, n_out: int, dtype: np.dtype) -> np.ndarray:
    """Targets (n_samples, n_targets) for a loss; class indices and a single target a sample may have shape (n_samples,)."""
    T = numbers(name, T, dtype)
    n_targets = loss.n_targets(n_out)
    if T.ndim == 0 or len(T) != n_samples:
        raise ValueError(f"{name} must have one row for each of the {n_samples} samples; got shape {T.shape}")
    if loss.class_indices and T.ndim == 1:
        return one_hot(name, T, n_out)
    if T.ndim == 1 and n_targets == 1:
        T = T[:, np.newaxis]
    if T.shape != (n_samples, n_targets):
        hint = f"; for class indices, pass {name}.ravel()" if loss.class_indices and T.shape == (n_samples, 1) else ""
        has = f"{n_out} outputs" + ("" if n_targets == n_out else f" for {n_targets} target{'s' * (n_targets > 1)} a sample")
        raise ValueError(f"{name} must have shape ({n_samples}, {n_targets}), as the net has {has}; got {T.shape}{hint}")
    if loss.targets == "real":
        return T
    least, largest, words = TARGETS[loss.targets]
    lowest, highest = T.min(), T.max()
    fits = lowest >= least and highest <= largest
    if loss.targets == "distribution":
        fits = fits and abs(T.sum(axis=1) - 1).max() <= 1e-3
    elif loss.targets == "sign":
        fits = bool((abs(T) == 1).all())
    if not fits:
        raise ValueError(f"{name} {words} for {loss.name}; got values from {lowest} to {highest}")
    return T


def one_hot(name: str, labels: np.ndarray, n_classes: int) -> np.ndarray:
    """One-hot rows (n_samples, n_classes) from class indices (n_samples,)."""
    if (labels != np.floor(labels)).any():
        raise ValueError(f"{name} must hold class indices: integers from 0 to {n_classes - 1}")
    if labels.min() < 0 or labels.max() >= n_classes:
        hint = "; subtract 1" if (labels.min(), labels.max()) == (1, n_classes) else ""
        raise ValueError(
            f"{name} must hold class indices from 0 to {n_classes - 1}, as the net has {n_classes} outputs; "
            f"got indices from {int(labels.min())} to {int(labels.max())}{hint}"
        )
    rows = np.zeros((labels.size, n_classes), labels.dtype)
    rows[np.arange(labels.size), labels.astype(np.intp)] = 1
    return rows


def sample_weight(value: Any, n_samples: int, dtype: np.dtype) -> np.ndarray:
    """Weights (n_samples,) of the samples, divided by the largest one; ones if None."""
    if value is None:
        return np.ones(n_samples, dtype)
    s = numbers("sample_weight", value, dtype)
    if s.shape != (n_samples,):
        raise ValueError(f"sample_weight must have shape ({n_samples},), one weight for each sample; got {s.shape}")
    if s.min() < 0 or not s.any():
        raise ValueError("sample_weight must not be negative, and at least one weight must be greater than 0")
    return s / s.max()  # only ratios count, except for L2, and the sum of these is in range


def generator(random_state: Any) -> np.random.Generator:
    """A generator made from None or a seed, or the given generator."""
    if isinstance(random_state, (bool, np.bool_, float, str, np.random.RandomState)):
        raise TypeError(f"random_state must be None, an integer or a numpy.random.Generator; got {random_state!r}")
    try:
        return np.random.default_rng(random_state)
    except (TypeError, ValueError) as error:
        raise type(error)(
            f"random_state must be None, an integer of at least 0 or a numpy.random.Generator; got {random_state!r}"
        ) from None
