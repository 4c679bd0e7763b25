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

    It covers the bytecode, constants, default arguments, and the closure variables, globals and attributes of modules that the
    function refers to, as far as they are functions, modules, arrays, tuples, lists, enumerations or plain values; of other
    objects it covers the type.  A function that is redefined with another body has another digest, the same source in another
    process has the same one.
    """
    hash_ = hashlib.sha256()
    _add_value(hash_, function, {})
    return hash_.hexdigest()[:12]


def with_digest(function: Callable[..., Any]) -> Any:
    """A copy of a function whose name ends in its digest: symbols of compiled code and cache entries are named after it.

    Its attribute `content` is the digest.
    """
    content = digest(function)
    copy: Any = types.FunctionType(
        function.__code__, function.__globals__, f"{function.__name__}_{content}", function.__defaults__, function.__closure__
    )
    copy.__module__, copy.__kwdefaults__ = function.__module__, function.__kwdefaults__
    copy.__qualname__ = f"{function.__qualname__.replace('<locals>.', '')}_{content}"
    copy.content = content
    return copy


def frozen(function: Callable[..., Any]) -> Callable[..., Any]:
    """A copy of a function that keeps the values of the variables that it refers to, and so do the functions that it calls.

    The variables may be globals, closure variables and attributes of modules, also arrays, and tuples of all these.
    Functions that are not written in Python are returned as they are, compiled ones as plain functions.
    """
    return _frozen(function, {})


def plain_function(value: Any) -> Any:
    """The Python function of what Numba compiles, by `njit` or `vectorize`; anything else is returned as it is."""
    compiled = getattr(value, "_dispatcher", value) if type(value).__name__ == "DUFunc" else value
    return getattr(compiled, "py_func", value)


def _frozen(value: Any, copies: dict[Any, Any], names: Any = ()) -> Any:
    if isinstance(value, np.ndarray):
        return value.copy()
    if isinstance(value, tuple):
        items = [_frozen(item, copies, names) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else tuple(items)
    if isinstance(value, types.ModuleType):
        return _frozen_module(value, copies, names)
    plain = plain_function(value)
    if not isinstance(plain, types.FunctionType):
        return value
    if plain in copies:
        return copies[plain]
    own: dict[str, Any] = {"__builtins__": plain.__globals__.get("__builtins__", {}), "__name__": plain.__module__}
    cells = None if plain.__closure__ is None else tuple(types.CellType() for _ in plain.__closure__)
    copy = copies[plain] = types.FunctionType(plain.__code__, own, plain.__name__, plain.__defaults__, cells)
    copy.__module__, copy.__kwdefaults__, copy.__qualname__ = plain.__module__, plain.__kwdefaults__, plain.__qualname__
    names = _names(plain.__code__)
    for name in names & plain.__globals__.keys():
        own[name] = _frozen(plain.__globals__[name], copies, names)
    for cell, original in zip(cells or (), plain.__closure__ or (), strict=True):
        cell.cell_contents = _frozen(original.cell_contents, copies, names)
    return copy


def _frozen_module(module: types.ModuleType, copies: dict[Any, Any], names: Any) -> types.ModuleType:
    """A module of those attributes only that a function refers to."""
    key = module, frozenset(names)
    if key not in copies:
        copies[key] = types.ModuleType(module.__name__)
        for name in names & vars(module).keys():
            setattr(copies[key], name, _frozen(vars(module)[name], copies, names))
    return copies[key]


def _add_value(hash_: Any, value: Any, seen: dict[int, int]) -> None:
    value = plain_function(value)
    if isinstance(value, types.FunctionType):
        if id(value) in seen:  # a function may refer to itself, and be referred to again
            hash_.update(f"function {seen[id(value)]}".encode())
        else:
            seen[id(value)] = len(seen)
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
        hash_.update(f"{getattr(value, '__module__', '')} {value.__name__} {getattr(value, '_fields', '')}".encode())
        if isinstance(value, enum.EnumMeta):
            hash_.update(repr([(member.name, member.value) for member in value]).encode())  # type: ignore[var-annotated]
    elif value is None or isinstance(value, PLAIN):
        hash_.update(f"{type(value).__name__} {value!r}".encode())
    else:  # an object of a library, such as an intrinsic of Numba: its name, not its address
        name = getattr(value, "__qualname__", getattr(value, "__name__", ""))
        hash_.update(f"{type(value).__module__}.{type(value).__qualname__} {name}".encode())


def _add_function(hash_: Any, function: types.FunctionType, seen: dict[int, int]) -> None:
    hash_.update(f"function {function.__module__}.{function.__qualname__}".encode())
    _add_code(hash_, function.__code__, seen)
    _add_value(hash_, function.__defaults__, seen)
    _add_value(hash_, tuple(sorted((function.__kwdefaults__ or {}).items())), seen)
    for cell in function.__closure__ or ():
        _add_value(hash_, cell.cell_contents, seen)
        if isinstance(cell.cell_contents, types.ModuleType):
            _add_attributes(hash_, cell.cell_contents, sorted(_names(function.__code__)), seen)
    names = sorted(_names(function.__code__))
    for name in names:
        if name in function.__globals__:
            value = function.__globals__[name]
            hash_.update(name.encode())
            _add_value(hash_, value, seen)
            if isinstance(value, (types.ModuleType, types.SimpleNamespace)):
                _add_attributes(hash_, value, names, seen)


def _add_attributes(hash_: Any, module: Any, names: list[str], seen: dict[int, int]) -> None:
    """The values, and the compiled functions, that a module has under the names that a function refers to."""
    for name in names:
        value = vars(module).get(name)  # unlike getattr this calls no __getattr__ of the module, which may warn
        if isinstance(value, (*PLAIN, np.ndarray, tuple, types.FunctionType)) or plain_function(value) is not value:
            hash_.update(name.encode())
            _add_value(hash_, value, seen)
        elif isinstance(value, types.ModuleType) and value.__name__.startswith(f"{getattr(module, '__name__', '')}."):
            hash_.update(name.encode())
            _add_attributes(hash_, value, names, seen)


def _add_code(hash_: Any, code: types.CodeType, seen: dict[int, int]) -> None:
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
