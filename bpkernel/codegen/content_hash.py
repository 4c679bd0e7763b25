"""A digest of all that a function computes with: it names compiled functions, so that two are never mistaken for one
another."""

import enum
import hashlib
import types
from collections.abc import Callable
from typing import Any

import numpy as np

PLAIN = (bool, int, float, complex, str, bytes, np.generic, np.dtype, enum.Enum)  # whose text says all of them


def digest(function: Callable[..., Any]) -> str:
    """A digest (12 hexadecimal digits) of a plain Python function or a Numba dispatcher.

    It covers the bytecode, constants, default arguments, and the closure variables and globals that the function refers to, as
    far as they are functions, modules, arrays, tuples, lists, enumerations or plain values; of other objects it covers the
    type.  A function that is redefined with another body has another digest, the same source in another process has the same
    one.
    """
    hash_ = hashlib.sha256()
    _add_value(hash_, function, set())
    return hash_.hexdigest()[:12]


def with_digest(function: Callable[..., Any]) -> Any:
    """A copy of a function whose name ends in its digest: symbols of compiled code and cache entries are named after it."""
    copy = types.FunctionType(
        function.__code__,
        function.__globals__,
        f"{function.__name__}_{digest(function)}",
        function.__defaults__,
        function.__closure__,
    )
    copy.__module__, copy.__kwdefaults__ = function.__module__, function.__kwdefaults__
    copy.__qualname__ = f"{function.__qualname__.replace('<locals>.', '')}_{digest(function)}"
    return copy


def _add_value(hash_: Any, value: Any, seen: set[int]) -> None:
    value = getattr(value, "py_func", value)
    if isinstance(value, types.FunctionType):
        if id(value) not in seen:  # a function may refer to itself
            seen.add(id(value))
            _add_function(hash_, value, seen)
    elif isinstance(value, types.CodeType):
        _add_code(hash_, value, seen)
    elif isinstance(value, (tuple, list, frozenset)):
        hash_.update(f"{type(value).__name__} {len(value)}".encode())
        for item in sorted(value, key=repr) if isinstance(value, frozenset) else value:
            _add_value(hash_, item, seen)
    elif isinstance(value, np.ndarray):
        hash_.update(f"{value.dtype} {value.shape}".encode() + np.ascontiguousarray(value).tobytes())
    elif isinstance(value, (types.ModuleType, type)):
        hash_.update(f"{getattr(value, '__module__', '')} {value.__name__}".encode())
    elif value is None or isinstance(value, PLAIN):
        hash_.update(f"{type(value).__name__} {value!r}".encode())
    else:  # an object of a library, such as an intrinsic of Numba: its name, not its address
        name = getattr(value, "__qualname__", getattr(value, "__name__", ""))
        hash_.update(f"{type(value).__module__}.{type(value).__qualname__} {name}".encode())


def _add_function(hash_: Any, function: types.FunctionType, seen: set[int]) -> None:
    hash_.update(f"function {function.__module__}.{function.__qualname__}".encode())
    _add_code(hash_, function.__code__, seen)
    _add_value(hash_, function.__defaults__, seen)
    _add_value(hash_, tuple(sorted((function.__kwdefaults__ or {}).items())), seen)
    for cell in function.__closure__ or ():
        _add_value(hash_, cell.cell_contents, seen)
    names = sorted(_names(function.__code__))
    for name in names:
        if name in function.__globals__:
            value = function.__globals__[name]
            hash_.update(name.encode())
            _add_value(hash_, value, seen)
            if isinstance(value, (types.ModuleType, types.SimpleNamespace)):
                _add_attributes(hash_, value, names, seen)


def _add_attributes(hash_: Any, module: Any, names: list[str], seen: set[int]) -> None:
    """The values, and the compiled functions, that a module has under the names that a function refers to."""
    for name in names:
        value = vars(module).get(name)  # unlike getattr this calls no __getattr__ of the module, which may warn
        if isinstance(value, (*PLAIN, np.ndarray)) or hasattr(value, "py_func"):
            hash_.update(name.encode())
            _add_value(hash_, value, seen)


def _add_code(hash_: Any, code: types.CodeType, seen: set[int]) -> None:
    hash_.update(code.co_code)
    hash_.update(repr((code.co_names, code.co_varnames, code.co_freevars)).encode())
    for constant in code.co_consts:
        _add_value(hash_, constant, seen)


def _names(code: types.CodeType) -> set[str]:
    """Global names and attributes that a code object refers to, its inner functions included."""
    names = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names |= _names(constant)
    return names
