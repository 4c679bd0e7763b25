"""Whole cache lines and blocks of numbers: copied, transposed, asked for in advance.

    stream_line(w, n, j, out, m, k)               out[m, k : k + line] = w[n, j : j + line], written past the caches
    transpose(w, i, j, out, first, halves, past)  out[j + c, first + r] = w[i + r, j + c], of half lines r and LANE bytes c
    prefetch(w, i, j)                             ask for the cache line of w[i, j], without waiting for it

A lane is the part of a vector within which the processor moves numbers in one step.
"""

from typing import Any

import llvmlite.ir as ir
from numba import types
from numba.extending import intrinsic

from bpkernel.codegen.processor import LINE, VECTOR
from bpkernel.codegen.views import INT64, address_of

LANE = 16  # bytes


def transposed(builder: Any, rows: list[Any]) -> list[Any]:
    """The square blocks in a list of n vectors transposed, n a power of two: numbers 0 to n - 1 of all, n to 2 n - 1, ..."""
    n, count, rows = len(rows), rows[0].type.count, list(rows)
    distance = n // 2
    while distance > 0:  # swap the blocks beside the diagonal, then those beside the diagonals of blocks
        low = [c if c & distance == 0 else count + c - distance for c in range(count)]
        high = [c + distance if c & distance == 0 else count + c for c in range(count)]
        masks = [ir.Constant(ir.VectorType(ir.IntType(32), count), mask) for mask in (low, high)]
        for r in range(n):
            if r & distance == 0:
                pair = rows[r], rows[r + distance]
                rows[r], rows[r + distance] = (builder.shuffle_vector(*pair, mask) for mask in masks)
        distance //= 2
    return rows


def _joined(builder: Any, vectors: list[Any]) -> Any:
    """One vector of the numbers of several, of which there are a power of two."""
    while len(vectors) > 1:
        n = 2 * vectors[0].type.count
        mask = ir.Constant(ir.VectorType(ir.IntType(32), n), list(range(n)))
        vectors = [builder.shuffle_vector(*vectors[i : i + 2], mask) for i in range(0, len(vectors), 2)]
    return vectors[0]


@intrinsic
def stream_line(typing_context: Any, source: Any, n: Any, j: Any, target: Any, m: Any, k: Any) -> Any:
    """Copy the cache line from source[n, j] on to target[m, k], a whole line in memory, past the caches."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        source_value, n_value, j_value, target_value, m_value, k_value = values
        element = ir.FloatType() if target.dtype == types.float32 else ir.DoubleType()
        vector = ir.VectorType(element, VECTOR * 8 // target.dtype.bitwidth)
        read = builder.bitcast(address_of(context, builder, source, source_value, n_value, j_value), vector.as_pointer())
        write = builder.bitcast(address_of(context, builder, target, target_value, m_value, k_value), vector.as_pointer())
        flag = builder.module.add_metadata([ir.Constant(ir.IntType(32), 1)])
        for v in range(LINE // VECTOR):
            number = builder.load(builder.gep(read, [ir.Constant(INT64, v)]), align=target.dtype.bitwidth // 8)
            builder.store(number, builder.gep(write, [ir.Constant(INT64, v)]), align=VECTOR).set_metadata("nontemporal", flag)
        return context.get_dummy_value()

    return types.none(source, types.intp, types.intp, target, types.intp, types.intp), generate


@intrinsic
def prefetch(typing_context: Any, w: Any, i: Any, j: Any) -> Any:
    """Ask for the cache line of w[i, j], without waiting for it, into the second-level cache; it may lie outside of w."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        address = builder.bitcast(address_of(context, builder, w, *values), ir.IntType(8).as_pointer())
        read, second_level, data = (ir.Constant(ir.IntType(32), flag) for flag in (0, 2, 1))
        function = ir.FunctionType(ir.VoidType(), [address.type] + [read.type] * 3)
        ask = builder.module.declare_intrinsic("llvm.prefetch", [address.type], function)
        builder.call(ask, [address, read, second_level, data])
        return context.get_dummy_value()

    return types.none(w, types.intp, types.intp), generate


@intrinsic(prefer_literal=True)
def transpose(typing_context: Any, w: Any, i: Any, j: Any, out: Any, first: Any, halves: Any, past: Any) -> Any:
    """out[j + c, first + r] = w[i + r, j + c], where r are one or two half cache lines, and c LANE bytes.

    With past = 1 the two are a whole line of `out` in memory, written past the caches.  Vectors are loaded in lanes, so that
    what is left is to transpose small blocks within lanes.
    """
    rows = halves.literal_value * LINE * 4 // w.dtype.bitwidth
    lane = LANE * 8 // w.dtype.bitwidth

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        w_value, i_value, j_value, out_value, first_value, *_ = values
        element = ir.FloatType() if w.dtype == types.float32 else ir.DoubleType()
        align = w.dtype.bitwidth // 8
        plus = lambda number, k: builder.add(number, ir.Constant(INT64, k))  # noqa: E731

        def vector_at(array_type: Any, array: Any, row: Any, column: Any, n: int) -> Any:
            address = address_of(context, builder, array_type, array, row, column)
            return builder.bitcast(address, ir.VectorType(element, n).as_pointer())

        vectors = []
        for q in range(lane):
            lanes = [
                builder.load(vector_at(w, w_value, plus(i_value, r), j_value, lane), align=align) for r in range(q, rows, lane)
            ]
            vectors.append(_joined(builder, lanes))
        for c, column in enumerate(transposed(builder, vectors)):
            address = vector_at(out, out_value, plus(j_value, c), first_value, rows)
            write = builder.store(column, address, align=LINE if past.literal_value else align)
            if past.literal_value:
                write.set_metadata("nontemporal", builder.module.add_metadata([ir.Constant(ir.IntType(32), 1)]))
        return context.get_dummy_value()

    return types.none(w, types.intp, types.intp, out, types.intp, halves, past), generate


@intrinsic
def per_lane(typing_context: Any, array: Any) -> Any:
    """The numbers of the array's dtype in LANE bytes, a constant."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return ir.Constant(INT64, LANE * 8 // array.dtype.bitwidth)

    return types.intp(array), generate
