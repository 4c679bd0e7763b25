"""Scalar functions of users, compiled for loops over units: in the precision of the net, and with vectorisable functions.

Numba alone would compute `0.5 * a` of a float32 in float64, because Python's constants are float64, and `math.exp` by a call
for each number.  A pass over Numba's representation of the function, before the types are inferred, replaces both.
"""

import dis
import operator
import types as python_types
from collections.abc import Callable, Mapping
from typing import Any

import numba
import numpy as np
from numba.core import ir
from numba.core import types as numba_types
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import FunctionPass, register_pass
from numba.core.untyped_passes import IRProcessing

from bpkernel.codegen.content_hash import frozen, plain_function
from bpkernel.codegen.scalars import CHOSEN_BY_DTYPE, EXACT

Substitutes = Mapping[Any, Any]  # a function, or a pair (outer, inner) of substitutes, to what is compiled instead

# Where an integer constant stands for a real number.  An exponent stays an integer, since x**2 is then x * x.
ARITHMETIC = {
    *(operator.add, operator.sub, operator.mul, operator.truediv, operator.iadd, operator.isub, operator.imul),
    *(operator.itruediv, operator.lt, operator.le, operator.gt, operator.ge, operator.eq, operator.ne),
}
CHOICES = {max, min, np.maximum, np.minimum, np.fmax, np.fmin, np.where}


def scalar(function: Callable[..., Any], substitutes: Substitutes) -> Any:
    """A dispatcher of a function of real numbers, plain Python or compiled by Numba, for kernels to call.

    With arguments of float32 its constants are float32 too.  The functions that it calls are compiled in the same way, or are
    replaced by their substitutes; so is outer(inner(x)) by that of the pair.
    """
    return _Family(substitutes).of(function)


class _Family:
    """A function and those that it calls, each compiled once."""

    def __init__(self, substitutes: Substitutes):
        self._substitutes = substitutes
        self._compiled: dict[Any, Any] = {}

        class Pipeline(CompilerBase):
            def define_pipelines(pipeline: Any) -> Any:
                manager = DefaultPassBuilder.define_nopython_pipeline(pipeline.state)
                manager.add_pass_after(_KeepPrecision, IRProcessing)
                manager.finalize()
                pipeline.state.metadata["bpkernel family"] = self
                return [manager]

        self._pipeline = Pipeline

    def of(self, function: Any) -> Any:
        plain = plain_function(function)
        if plain not in self._compiled:
            self._compiled[plain] = numba.njit(pipeline_class=self._pipeline, **EXACT)(plain)
        return self._compiled[plain]

    def instead_of(self, value: Any) -> Any:
        """What a function refers to, or what is compiled instead of it."""
        try:
            if value in self._substitutes:
                return self._substitutes[value]
        except TypeError:  # it cannot be hashed, as an array
            return value
        is_function = isinstance(plain_function(value), python_types.FunctionType)
        kept = CHOSEN_BY_DTYPE.union(self._substitutes.values())
        return self.of(value) if is_function and value not in kept else value

    def instead_of_both(self, outer: Any, inner: Any) -> Any:
        """What is compiled instead of outer(inner(x)), or None."""
        pair = self.instead_of(outer), self.instead_of(inner)
        return self._substitutes.get(pair)


@register_pass(mutates_CFG=False, analysis_only=False)
class _KeepPrecision(FunctionPass):
    _name = "bpkernel_keep_precision"

    def __init__(self) -> None:
        FunctionPass.__init__(self)

    def run_pass(self, state: Any) -> bool:
        family, func_ir = state.metadata["bpkernel family"], state.func_ir
        single = numba_types.float32 in state.args
        uses = _uses(func_ir)
        for block in func_ir.blocks.values():
            _fuse(family, func_ir, block)
        for block in func_ir.blocks.values():
            for statement in block.find_insts(ir.Assign):
                found, value = _constant(func_ir, statement.value)
                if not found:
                    continue
                value = family.instead_of(value)
                real = isinstance(value, (float, np.floating))
                whole = type(value) is int and statement.target.name.startswith("$")
                if single and (real or (whole and all(map(_is_real, uses.get(statement.target.name, ()))))):
                    if _in_float32(value):
                        statement.value = ir.Const(np.float32(value), statement.loc)
                elif callable(value):
                    statement.value = ir.Global(getattr(value, "__name__", "function"), value, statement.loc)
        return True


def _fuse(family: Any, func_ir: Any, block: Any) -> None:
    """Replace calls outer(inner(x)) of a block by one call where there is a function for the pair."""
    for statement in list(block.find_insts(ir.Assign)):
        outer = _call(func_ir, statement.value)
        inner = None if outer is None else _call(func_ir, _only_definition(func_ir, outer[1]))
        if outer is None or inner is None or _only_definition(func_ir, inner[1]) is None:
            continue  # also if x may be another one where the outer function is called
        fused = family.instead_of_both(outer[0], inner[0])
        if fused is not None:
            target = block.scope.redefine("$fused", statement.loc)
            function = ir.Assign(ir.Global(fused.__name__, fused, statement.loc), target, statement.loc)
            block.body.insert(block.body.index(statement), function)
            func_ir._definitions[target.name].append(function.value)
            statement.value = ir.Expr.call(target, (inner[1],), (), statement.loc)


def _only_definition(func_ir: Any, variable: Any) -> Any:
    """What a variable is, if it is assigned only once."""
    definitions = func_ir._definitions[variable.name]
    return definitions[0] if len(definitions) == 1 else None


def _call(func_ir: Any, value: Any) -> tuple[Any, Any] | None:
    """The function and the variable of a call of a known function with one argument."""
    if not (isinstance(value, ir.Expr) and value.op == "call" and len(value.args) == 1 and not value.kws):
        return None
    found, called = _constant(func_ir, _only_definition(func_ir, value.func))
    return (called, value.args[0]) if found else None


def _in_float32(value: Any) -> bool:
    """Whether a number neither overflows nor underflows; others stay float64, and so does what is computed with them."""
    with np.errstate(over="ignore", under="ignore"):
        single = np.float32(value)
    return bool(np.isfinite(single) == np.isfinite(value) and (single == 0) == (value == 0))


def _constant(func_ir: Any, value: Any) -> tuple[bool, Any]:
    """Whether an expression is known before the function runs, and its value: a constant, a global, or of a module."""
    if isinstance(value, (ir.Const, ir.Global, ir.FreeVar)):
        return True, value.value
    if isinstance(value, ir.Expr) and value.op == "getattr":
        found, module = _constant(func_ir, _only_definition(func_ir, value.value))
        if found and isinstance(module, python_types.ModuleType) and hasattr(module, value.attr):
            return True, getattr(module, value.attr)
    return False, None


def _uses(func_ir: Any) -> dict[str, list[tuple[Any, Any, str]]]:
    """By the name of each temporary variable: the function, the statement and the name of everywhere it is used."""
    uses: dict[str, list[tuple[Any, Any, str]]] = {}
    for block in func_ir.blocks.values():
        for statement in block.body:
            for variable in statement.list_vars():
                uses.setdefault(variable.name, []).append((func_ir, statement, variable.name))
    return uses


def _is_real(use: tuple[Any, Any, str]) -> bool:
    """Whether a use of an integer constant means a real number."""
    func_ir, statement, name = use
    if not isinstance(statement, ir.Assign):
        return False
    if statement.target.name == name:  # where it is made
        return True
    value = statement.value
    if isinstance(value, ir.Var):  # one side of a conditional expression
        return statement.target.name.startswith("$")
    if value.op in ("cast", "phi", "unary"):
        return True
    if value.op in ("binop", "inplace_binop"):
        return value.fn in ARITHMETIC or (value.fn in (operator.pow, operator.ipow) and value.rhs.name != name)
    if value.op == "call":
        found, called = _constant(func_ir, _only_definition(func_ir, value.func))
        return found and (called in CHOICES or getattr(called, "__module__", "") == "math" or isinstance(called, np.ufunc))
    return False


def reads(function: Callable[..., Any], position: int) -> bool:
    """Whether a function may read its argument at a position; True for functions that are not written in Python."""
    code = getattr(plain_function(function), "__code__", None)
    if code is None or position >= code.co_argcount:
        return True
    name = code.co_varnames[position]
    if name in code.co_cellvars:
        return True
    for instruction in dis.get_instructions(code):
        names = instruction.argval if isinstance(instruction.argval, tuple) else (instruction.argval,)
        if "STORE" not in instruction.opname and name in names:
            return True
    return False


def may_raise(function: Callable[..., Any]) -> bool:
    """Whether a function, or one that it refers to, has a `raise` or an `assert`."""
    return _may_raise(frozen(function), set())


def _may_raise(function: Any, seen: set[Any]) -> bool:
    if isinstance(function, python_types.ModuleType):  # a frozen one holds only what the function refers to
        return any(_may_raise(other, seen) for other in vars(function).values())
    plain = plain_function(function)
    if not isinstance(plain, python_types.FunctionType) or plain in seen:
        return False
    seen.add(plain)
    if _code_may_raise(plain.__code__):
        return True
    cells = [cell.cell_contents for cell in plain.__closure__ or ()]
    variables = [value for name, value in plain.__globals__.items() if name != "__builtins__"]
    return any(_may_raise(other, seen) for other in [*cells, *variables])


def _code_may_raise(code: python_types.CodeType) -> bool:
    if any("RAISE" in i.opname or i.opname == "LOAD_ASSERTION_ERROR" for i in dis.get_instructions(code)):
        return True
    return any(_code_may_raise(inner) for inner in code.co_consts if isinstance(inner, python_types.CodeType))
