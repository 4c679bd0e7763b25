"""Checks of the functions that users write: derivatives against finite differences, compiled against plain functions."""

import types
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from bpkernel.codegen.content_hash import frozen, plain_function
from bpkernel.codegen.jit import kernel
from bpkernel.codegen.pointers import raise_fault
from bpkernel.codegen.precision import Precision
from bpkernel.codegen.views import block
from bpkernel.functions.activations import forward, pointer_to_forward, pointer_to_second, pointer_to_vjp, second, vjp
from bpkernel.functions.losses import curvature, errors, pointer_to_curvature, pointer_to_error, pointer_to_slope, slope

DOUBLE = Precision.of(np.float64)

# Hundredths, so that the kinks of common functions, at whole numbers and simple fractions, lie on the grid.
PRE_ACTIVATIONS = np.unique(np.concatenate([np.arange(-1000, 1001) / 100, np.linspace(-30, 30, 241)]))
OUTPUTS_TRIED = {
    "real": np.arange(-500, 501, 5) / 100,
    "positive": np.concatenate([np.logspace(-3, 1, 81), np.arange(1, 41) / 8]),
    "probability": np.arange(1, 200) / 200,
}
TARGETS_TRIED = {
    "real": (-2.5, -1.0, 0.0, 0.3, 1.0, 3.0),
    "non_negative": (0.0, 0.3, 1.0, 3.0),
    "positive": (0.3, 1.0, 3.0),
    "probability": (0.0, 0.3, 1.0),
    "sign": (-1.0, 1.0),
}
STEP = float(np.finfo(float).eps) ** (1 / 3)  # of finite differences, relative to numbers above 1
TOLERANCE = 1e-5  # of a derivative, relative to the size of the numbers around it: STEP loses about half of the digits
COMPILED = 1e-9  # of a compiled function, likewise


def frozen_functions(**functions: Any) -> tuple[Callable[..., Any], ...]:
    """Copies of functions, in their order, that keep the values of their variables; raises TypeError if one is no function."""
    for name, function in functions.items():
        kinds = types.FunctionType, types.BuiltinFunctionType, np.ufunc
        if not isinstance(plain_function(function), kinds):
            raise TypeError(
                f"{name} must be a function, such as lambda a: max(a, 0.0), for Numba to compile; got {function!r}"
                + ("; write a function that calls it" if callable(function) else "")
            )
    return tuple(_in_python(frozen(function)) for function in functions.values())


def _in_python(function: Any) -> Callable[..., Any]:
    """The function, or one in Python that calls it."""
    return function if isinstance(function, types.FunctionType) else lambda x, *more: function(x)


def name_of(what: str, name: Any, built_in: Iterable[str]) -> str:
    """The name of a user's function."""
    if not isinstance(name, str):
        raise TypeError(f"the name of {what} must be a string; got {name!r}")
    if name in built_in or not name.strip():
        raise ValueError(
            f"the name of {what} must be one of your own: {name!r} is " + ("built in" if name.strip() else "empty")
        )
    return name


def one_of(name: str, value: Any, allowed: Iterable[str]) -> Any:
    """One of the allowed names."""
    if not isinstance(value, str) or value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(allowed)}; got {value!r}")
    return value


def activation(own: Any) -> tuple[float, ...]:
    """Check a user's activation; returns where its derivative jumps."""
    where = f"activation {own.name!r}"
    a = PRE_ACTIVATIONS
    z = _evaluate(where, "g", own.g, a)
    found = _evaluate(where, "g_prime", own.g_prime, a, z)
    kinks = _compare(where, ("g", "g_prime", "a"), lambda a: _evaluate(where, "g", own.g, a), a, z, found)
    _refuse_jumps(where, ("g", "a"), lambda a: _evaluate(where, "g", own.g, a), a, z, found)
    low = {"real": -np.inf, "positive": 0, "probability": 0}[own.values]
    high = 1 if own.values == "probability" else np.inf
    outside = np.flatnonzero((z < low) | (z > high))
    if len(outside):
        at = outside[0]
        raise ValueError(f"{where}: values is {own.values!r}, but g({a[at]:g}) is {z[at]:g}; leave values out")
    compiled, fault = np.empty((2, len(a))), np.zeros(1, np.int64)
    pointers = pointer_to_forward(own.forward, DOUBLE, where), pointer_to_vjp(own.vjp, DOUBLE, where)
    _run_activation(*pointers, a, *compiled, fault)
    raise_fault(fault)
    _same(where, ("g", "g_prime"), a, (z, found), compiled)
    if own.g_second is not None:
        curved = _evaluate(where, "g_second", own.g_second, a, z)

        def slope_of(a: np.ndarray) -> np.ndarray:
            return _evaluate(where, "g_prime", own.g_prime, a, _evaluate(where, "g", own.g, a))

        smooth = _far_from(kinks, a)
        _compare(where, ("g_prime", "g_second", "a"), slope_of, a[smooth], found[smooth], curved[smooth])
        _run_second(pointer_to_second(own.second, DOUBLE, where), a, z, compiled[0], fault)
        raise_fault(fault)
        _same(where, ("g_second",), a, (curved,), compiled[:1])
    return tuple(kinks)


def loss(own: Any) -> tuple[tuple[float, float], ...]:
    """Check a user's loss; returns the pairs (y, t) where its slope jumps."""
    where, y, kinks = f"loss {own.name!r}", OUTPUTS_TRIED[own.outputs], []
    for t in TARGETS_TRIED[own.targets]:
        T = np.full_like(y, t)
        e = _evaluate(where, "error", own.error, y, T)
        found = _evaluate(where, "slope", own.slope, y, T)
        error_of = lambda y, t=t: _evaluate(where, "error", own.error, y, np.full_like(y, t))  # noqa: E731
        _refuse_jumps(where, ("error", "y"), error_of, y, e, found, f", t = {t:g}")
        kinks += [(at, t) for at in _compare(where, ("error", "slope", "y"), error_of, y, e, found, f", t = {t:g}")]
        compiled, fault = np.empty((2, len(y))), np.zeros(1, np.int64)
        pointers = pointer_to_error(own.sample_error, DOUBLE, where), pointer_to_slope(own.sample_slope, DOUBLE, where)
        _run_loss(*pointers, y, T, *compiled, fault)
        raise_fault(fault)
        _same(where, ("error", "slope"), y, (e, found), compiled)
        if own.curvature is not None:
            curved = _evaluate(where, "curvature", own.curvature, y, T)
            slope_of = lambda y, t=t: _evaluate(where, "slope", own.slope, y, np.full_like(y, t))  # noqa: E731
            smooth, names = _far_from([at for at, of in kinks if of == t], y), ("slope", "curvature", "y")
            _compare(where, names, slope_of, y[smooth], found[smooth], curved[smooth], f", t = {t:g}")
            _run_curvature(pointer_to_curvature(own.sample_curvature, DOUBLE, where), y, T, compiled[0], fault)
            raise_fault(fault)
            _same(where, ("curvature",), y, (curved,), compiled[:1])
    return tuple(kinks)


def _far_from(kinks: Iterable[float], x: np.ndarray) -> np.ndarray:
    """Whether finite differences at x do not reach over one of the kinks."""
    h, near = STEP * np.maximum(1, np.abs(x)), np.zeros(len(x), bool)
    for kink in kinks:
        near |= np.abs(x - kink) <= 2 * h
    return ~near


def _evaluate(where: str, name: str, function: Callable[..., Any], *arguments: np.ndarray) -> np.ndarray:
    """The values of a plain function at many places; exceptions of the function pass, with a note of the place."""
    plain, values = getattr(function, "py_func", function), np.empty(len(arguments[0]))
    for n, numbers in enumerate(zip(*(argument.tolist() for argument in arguments), strict=True)):
        place = f"{where}: {name}({', '.join(f'{number:g}' for number in numbers)})"
        try:
            value = plain(*numbers)
        except Exception as error:
            if hasattr(error, "add_note"):
                error.add_note(f"raised by {place}, while the function was checked")
            raise
        if (
            np.ndim(value) != 0
            or not isinstance(value, (int, float, np.number, np.bool_, np.ndarray))
            or np.iscomplexobj(value)
        ):
            raise TypeError(f"{place} must return a real number; got {value!r}")
        values[n] = value
        if not np.isfinite(values[n]):
            raise ValueError(f"{place} is {values[n]}; it must be finite")
    return values


def _compare(
    where: str, names: tuple[str, str, str], function: Any, x: np.ndarray, f: np.ndarray, slopes: np.ndarray, more: str = ""
) -> list[float]:
    """Compare slopes with finite differences of a function on both sides of x; returns the places of kinks.

    Each difference is extrapolated from two steps (Richardson), so that its error is of the third order.
    """
    h = STEP * np.maximum(1, np.abs(x))
    left, right = ((4 * (function(x + s * h / 2) - f) - (function(x + s * h) - f)) / (s * h) for s in (-1, 1))
    size = 1 + np.abs(slopes) + np.abs(f) + np.maximum(np.abs(left), np.abs(right))
    low, high = np.minimum(left, right) - TOLERANCE * size, np.maximum(left, right) + TOLERANCE * size
    wrong = np.flatnonzero((slopes < low) | (slopes > high))
    if len(wrong):
        at = wrong[np.argmax((np.abs(slopes - (left + right) / 2) / size)[wrong])]
        raise ValueError(
            f"{where}: {names[1]} is not the derivative of {names[0]}: at {names[2]} = {x[at]:g}{more} it is {slopes[at]:.6g}, "
            f"and finite differences of {names[0]} are {(left[at] + right[at]) / 2:.6g}, a difference of "
            f"{abs(slopes[at] - (left[at] + right[at]) / 2):.2g}; {len(wrong)} of {len(x)} places are wrong"
        )
    return [float(place) for place in x[np.abs(right - left) > 4 * TOLERANCE * size]]


def _refuse_jumps(
    where: str, names: tuple[str, str], function: Any, x: np.ndarray, f: np.ndarray, slopes: np.ndarray, more: str = ""
) -> None:
    """Raise ValueError if a function jumps between two places of the grid."""
    steep = np.abs(np.diff(f)) > 1e-3 + 4 * np.diff(x) * np.maximum(np.abs(slopes[1:]), np.abs(slopes[:-1]))
    for n in np.flatnonzero(steep):
        (low, high), (f_low, f_high) = x[n : n + 2], f[n : n + 2]
        before = abs(f_high - f_low)
        for _ in range(40):
            middle = (low + high) / 2
            f_middle = float(function(np.array([middle]))[0])
            if abs(f_middle - f_low) > abs(f_high - f_middle):
                high, f_high = middle, f_middle
            else:
                low, f_low = middle, f_middle
        if abs(f_high - f_low) > before / 4:
            raise ValueError(
                f"{where}: {names[0]} must be continuous; at {names[1]} = {low:g}{more} it jumps from {f_low:g} to {f_high:g}"
            )


def _same(where: str, names: Any, x: np.ndarray, plain: Any, compiled: Any) -> None:
    for name, expected, found in zip(names, plain, compiled, strict=True):
        wrong = np.flatnonzero(~(np.abs(found - expected) <= COMPILED * (1 + np.abs(expected))))
        if len(wrong):
            at = wrong[0]
            raise ValueError(
                f"{where}: compiled by Numba, {name} at {x[at]:g} is {found[at]:.9g}, and in plain Python {expected[at]:.9g}; "
                "write it in terms of float numbers and the functions of math"
            )


@kernel(entry=True)
def _run_activation(g: int, g_prime: int, a: Any, z: Any, d: Any, fault: Any) -> None:
    """z ← g(a), then d ← g'(a)."""
    for j in range(a.size):
        z[j], d[j] = a[j], 1
    forward(g, (z, z.size, 0, z.size), fault)
    if fault[0] == 0:
        vjp(g_prime, (a, z, d, z.size, 0, z.size), fault)


@kernel(entry=True)
def _run_loss(of_error: int, of_slope: int, y: Any, t: Any, e: Any, d: Any, fault: Any) -> None:
    """e ← the error of each output, d ← its slope."""
    y_of, t_of = block(y, 0, y.size, 1), block(t, 0, y.size, 1)
    errors(of_error, (1, y_of, y_of, t_of, np.arange(y.size), e), fault)
    slope(of_slope, (y, t, d), fault)


@kernel(entry=True)
def _run_second(g_second: int, a: Any, z: Any, s: Any, fault: Any) -> None:
    """s ← g''(a)."""
    ones = np.ones_like(a)
    for j in range(a.size):
        s[j] = 0
    second(g_second, (a, z, ones, ones, s, z.size, 0, z.size), fault)


@kernel(entry=True)
def _run_curvature(of_curvature: int, y: Any, t: Any, d: Any, fault: Any) -> None:
    """d ← the curvature of each output."""
    curvature(of_curvature, (y, t, np.ones_like(y), d), fault)
