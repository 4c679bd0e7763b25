"""Atomic operations on counters in an array of int64, and what a waiting thread does."""

from typing import Any

import llvmlite.ir as ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from bpkernel.codegen.processor import CAN_YIELD, IS_X86


def _counter(context: Any, builder: Any, signature: Any, values: Any) -> Any:
    return builder.gep(context.make_array(signature.args[0])(context, builder, values[0]).data, [values[1]])


@intrinsic
def load(typing_context: Any, counters: Any, i: Any) -> Any:
    """counters[i]; what the thread that wrote it had written before is visible."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.load_atomic(_counter(context, builder, signature, values), "acquire", 8)

    return types.int64(counters, types.intp), generate


@intrinsic
def add(typing_context: Any, counters: Any, i: Any, n: Any) -> Any:
    """counters[i] += n; returns the value before."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.atomic_rmw("add", _counter(context, builder, signature, values), values[2], "acq_rel")

    return types.int64(counters, types.intp, types.int64), generate


@intrinsic
def replace(typing_context: Any, counters: Any, i: Any, expected: Any, new: Any) -> Any:
    """Set counters[i] to the new value if it is the expected one; returns whether it was."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        address = _counter(context, builder, signature, values)
        result = builder.cmpxchg(address, values[2], values[3], "acq_rel", "acquire")
        return builder.extract_value(result, 1)

    return types.boolean(counters, types.intp, types.int64, types.int64), generate


@intrinsic
def pause(typing_context: Any) -> Any:
    """Leave the core to its other hardware thread for some cycles."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        if IS_X86:
            nothing = ir.FunctionType(ir.VoidType(), [])
            builder.call(cgutils.get_or_insert_function(builder.module, nothing, "llvm.x86.sse2.pause"), [])
        return context.get_dummy_value()

    return types.none(), generate


@intrinsic
def yield_processor(typing_context: Any) -> Any:
    """Let the operating system run another thread, where it can be asked to."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        if CAN_YIELD:
            function = ir.FunctionType(ir.IntType(32), [])
            builder.call(cgutils.get_or_insert_function(builder.module, function, "sched_yield"), [])
        return context.get_dummy_value()

    return types.none(), generate
