"""How a compiled function is run on several threads: one parallel loop, whose body calls it once a thread."""

from collections.abc import Callable
from typing import Any

import llvmlite.ir as ir
from numba import prange, types
from numba.core import cgutils
from numba.extending import intrinsic

from bpkernel.codegen.jit import compile_into, kernel

INT32, INT64, POINTER = ir.IntType(32), ir.IntType(64), ir.IntType(8).as_pointer()


def bound(function: Callable[..., None]) -> Any:
    """A compiled `bind(arguments)` for a plain function `function(*arguments, thread)`; the arguments are a tuple.

    It returns what `run` takes: the addresses of the function, compiled into the caller's library, and of the arguments, which
    are valid until the caller returns.  The function sees its arrays without their reference counts, which all threads would
    write to.
    """

    @intrinsic
    def bind(typing_context: Any, arguments: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            inner = types.none(*arguments.types, types.intp)
            compiled = compile_into(context, function, inner)
            name = f"{function.__name__}.bound.{len(builder.module.globals)}"  # unique in the module, and internal to it
            wrapper = ir.Function(builder.module, ir.FunctionType(ir.VoidType(), [POINTER, INT64]), name)
            wrapper.linkage = "internal"
            inside = ir.IRBuilder(wrapper.append_basic_block("entry"))
            packed = inside.load(inside.bitcast(wrapper.args[0], values[0].type.as_pointer()))
            unpacked = [
                _without_counts(context, inside, t, inside.extract_value(packed, i)) for i, t in enumerate(arguments.types)
            ]
            context.call_internal_no_propagate(inside, compiled.fndesc, inner, [*unpacked, wrapper.args[1]])
            inside.ret_void()
            addresses = [wrapper, cgutils.alloca_once_value(builder, values[0])]
            return context.make_tuple(builder, signature.return_type, [builder.ptrtoint(a, INT64) for a in addresses])

        return types.UniTuple(types.intp, 2)(arguments), generate

    return bind


@kernel
def run(binding: tuple[int, int], n_threads: int, n_running: int) -> None:
    """Call a bound function with thread = 0, 1, ... up to n_threads in parallel, on n_running threads.

    If these are fewer, some calls start when others have returned.
    """
    if n_threads == 1:
        _call(binding[0], binding[1], 0)
    else:
        _run_parallel(binding[0], binding[1], n_threads, n_running)


def _without_counts(context: Any, builder: Any, value_type: Any, value: Any) -> Any:
    if isinstance(value_type, types.Array):
        array = context.make_array(value_type)(context, builder, value)
        array.meminfo = cgutils.get_null_value(array.meminfo.type)
        return array._getvalue()
    if isinstance(value_type, types.BaseTuple):
        for i, t in enumerate(value_type.types):
            value = builder.insert_value(value, _without_counts(context, builder, t, builder.extract_value(value, i)), i)
    return value


@kernel(parallel=True)
def _run_parallel(function: int, arguments: int, n_threads: int, n_running: int) -> None:
    before = _get_num_threads()  # set here rather than in Python, which could be interrupted before it is set back
    _set_num_threads(min(n_running, before))
    for thread in prange(n_threads):
        _call(function, arguments, thread)
    _set_num_threads(before)


@intrinsic
def _call(typing_context: Any, function: Any, arguments: Any, thread: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        function_type = ir.FunctionType(ir.VoidType(), [POINTER, INT64])
        pointer = builder.inttoptr(values[0], function_type.as_pointer())
        builder.call(pointer, [builder.inttoptr(values[1], POINTER), values[2]])
        return context.get_dummy_value()

    return types.none(types.intp, types.intp, types.intp), generate


# numba.get_num_threads and numba.set_num_threads, whose own compiled forms cannot be cached on disk


@intrinsic
def _get_num_threads(typing_context: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        function_type = ir.FunctionType(INT64, [])  # the type that Numba's own parallel loops declare in the same module
        function = cgutils.get_or_insert_function(builder.module, function_type, "get_num_threads")
        return builder.sext(builder.trunc(builder.call(function, []), INT32), INT64)

    return types.intp(), generate


@intrinsic
def _set_num_threads(typing_context: Any, n: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        function_type = ir.FunctionType(ir.VoidType(), [INT32])
        function = cgutils.get_or_insert_function(builder.module, function_type, "set_num_threads")
        builder.call(function, [builder.trunc(values[0], INT32)])
        return context.get_dummy_value()

    return types.none(types.intp), generate
