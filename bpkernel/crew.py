"""Floor 0: several threads at work on one sequence of stages, in one parallel loop.

A stage is a number of tasks that any thread may take, and ends when all are done.  To begin a stage costs a fraction of
a microsecond, where a parallel loop of its own would cost several.  Each thread first takes the tasks that are its own,
whose data its cache may still hold, and then those of others.  No thread is waited for but one that is at work on a task
it has taken, so that a crew gets on however few of its threads the system runs.

The state of a crew of P threads is an array of (P + 1) * SPACING integers, zeros at the start: the tasks done so far, and
for each thread `stage << 32` plus how many of its own tasks of that stage have been taken.
"""

import os
import platform
from collections.abc import Callable
from typing import Any

import llvmlite.ir as ir
import numpy as np
from numba import prange, types
from numba.core import cgutils
from numba.extending import intrinsic

from bpkernel.compiler import compile_into, kernel

SPACING = 16  # integers from one counter to the next: two cache lines, as some machines fetch lines in pairs
SPINS = 1000  # looks at a counter before the rest of the time slice is given to others

INT64, POINTER = ir.IntType(64), ir.IntType(8).as_pointer()
IS_X86 = platform.machine().lower() in ("x86_64", "amd64", "i686")
CAN_YIELD = os.name == "posix"


def state(n_threads: int) -> np.ndarray:
    """The state of a crew that has done nothing yet."""
    return np.zeros((n_threads + 1) * SPACING, np.int64)


@kernel
def size(crew: Any) -> int:
    """The threads of a crew."""
    return crew.size // SPACING - 1


@kernel
def claim(crew: Any, me: int, stage: int, n_tasks: int) -> int:
    """A task of a stage that nobody has taken, from 0 to n_tasks - 1, or -1 where all are taken; stages count from 1."""
    if size(crew) > 1:
        return _claim_shared(crew, me, stage, n_tasks)
    taken = max(crew[SPACING] - (stage << 32), 0)  # a single thread needs nothing atomic, which costs some nanoseconds
    crew[SPACING] = (stage << 32) + taken + 1
    return taken if taken < n_tasks else -1


@kernel
def finish(crew: Any) -> None:
    """Count a task as done."""
    if size(crew) > 1:
        _add(crew, 0, 1)


@kernel
def wait(crew: Any, n_done: int) -> None:
    """Return when so many tasks are done, in all stages so far."""
    if size(crew) > 1:
        _wait_for_others(crew, n_done)


@kernel(inline=False)
def _claim_shared(crew: Any, me: int, stage: int, n_tasks: int) -> int:
    n_threads = size(crew)
    for turn in range(n_threads):
        owner = (me + turn) % n_threads
        first, stop = owner * n_tasks // n_threads, (owner + 1) * n_tasks // n_threads
        counter = (owner + 1) * SPACING
        while True:
            seen = _load(crew, counter)
            taken = max(seen - (stage << 32), 0)  # large where that thread's counter is at a later stage
            if taken >= stop - first:
                break
            if _replace(crew, counter, seen, (stage << 32) + taken + 1):
                return first + taken
    return -1


@kernel(inline=False)
def _wait_for_others(crew: Any, n_done: int) -> None:
    spins = 0
    while _load(crew, 0) < n_done:
        spins += 1
        if spins % SPINS == 0:
            _yield()
        _pause()


def bound(member: Callable[..., None]) -> Any:
    """A compiled `bind(arguments)` for a function `member(*arguments, me)`; the arguments are a tuple.

    It gives two addresses for `run`: of the function, compiled, and of the arguments, which are valid until the caller
    returns.  The function sees its arrays without their counts of users, which the threads would all write to.
    """

    @intrinsic
    def bind(typing_context: Any, arguments: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            inner = types.none(*arguments.types, types.intp)
            compiled = compile_into(context, member, inner)
            function = ir.Function(builder.module, ir.FunctionType(ir.VoidType(), [POINTER, INT64]), f"{member.__name__}.bound")
            function.linkage = "internal"
            inside = ir.IRBuilder(function.append_basic_block("entry"))
            packed = inside.load(inside.bitcast(function.args[0], values[0].type.as_pointer()))
            unpacked = [
                _without_counts(context, inside, t, inside.extract_value(packed, i)) for i, t in enumerate(arguments.types)
            ]
            context.call_internal_no_propagate(inside, compiled.fndesc, inner, [*unpacked, function.args[1]])
            inside.ret_void()
            addresses = [function, cgutils.alloca_once_value(builder, values[0])]
            return context.make_tuple(builder, signature.return_type, [builder.ptrtoint(a, INT64) for a in addresses])

        return types.UniTuple(types.intp, 2)(arguments), generate

    return bind


def _without_counts(context: Any, builder: Any, value_type: Any, value: Any) -> Any:
    if isinstance(value_type, types.Array):
        array = context.make_array(value_type)(context, builder, value)
        array.meminfo = cgutils.get_null_value(array.meminfo.type)
        return array._getvalue()
    if isinstance(value_type, types.BaseTuple):
        for i, t in enumerate(value_type.types):
            value = builder.insert_value(value, _without_counts(context, builder, t, builder.extract_value(value, i)), i)
    return value


@kernel
def run(function: int, arguments: int, crew: Any) -> None:
    """Run a bound function on every thread of a crew, with me = 0, 1, ...; the crew begins anew."""
    for i in range(crew.size):
        crew[i] = 0
    if size(crew) == 1:
        _call(function, arguments, 0)
    else:
        _run_parallel(function, arguments, size(crew))


@kernel(parallel=True)
def _run_parallel(function: int, arguments: int, n_threads: int) -> None:
    for me in prange(n_threads):
        _call(function, arguments, me)


@intrinsic
def _call(typing_context: Any, function: Any, arguments: Any, me: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        function_type = ir.FunctionType(ir.VoidType(), [POINTER, INT64])
        address = builder.inttoptr(values[0], function_type.as_pointer())
        builder.call(address, [builder.inttoptr(values[1], POINTER), values[2]])
        return context.get_dummy_value()

    return types.none(types.intp, types.intp, types.intp), generate


# ------------------------------------------------------------------------------------------------- atomic operations


def _counter(context: Any, builder: Any, signature: Any, values: Any) -> Any:
    return builder.gep(context.make_array(signature.args[0])(context, builder, values[0]).data, [values[1]])


@intrinsic
def _load(typing_context: Any, counters: Any, i: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.load_atomic(_counter(context, builder, signature, values), "acquire", 8)

    return types.int64(counters, types.intp), generate


@intrinsic
def _add(typing_context: Any, counters: Any, i: Any, n: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.atomic_rmw("add", _counter(context, builder, signature, values), values[2], "acq_rel")

    return types.int64(counters, types.intp, types.int64), generate


@intrinsic
def _replace(typing_context: Any, counters: Any, i: Any, seen: Any, new: Any) -> Any:
    """Whether the counter still was as seen, and is now the new value."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        address = _counter(context, builder, signature, values)
        result = builder.cmpxchg(address, values[2], values[3], "acq_rel", "acquire")
        return builder.extract_value(result, 1)

    return types.boolean(counters, types.intp, types.int64, types.int64), generate


@intrinsic
def _pause(typing_context: Any) -> Any:
    """Leave the core to its other thread for some cycles."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        if IS_X86:
            nothing = ir.FunctionType(ir.VoidType(), [])
            builder.call(cgutils.get_or_insert_function(builder.module, nothing, "llvm.x86.sse2.pause"), [])
        return context.get_dummy_value()

    return types.none(), generate


@intrinsic
def _yield(typing_context: Any) -> Any:
    """Let the system run another thread, where it can be asked to."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        if CAN_YIELD:
            function = ir.FunctionType(ir.IntType(32), [])
            builder.call(cgutils.get_or_insert_function(builder.module, function, "sched_yield"), [])
        return context.get_dummy_value()

    return types.none(), generate
