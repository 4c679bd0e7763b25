"""Register tiles: blocks of a matrix whose numbers stay in SIMD registers over a whole sum.

A tile is `rows` × `vectors` registers.  The operations below keep it in registers while the loops around them stay loops:

    t = zeros(out, rows, vectors)               rows and vectors are integers known at compile time
    t = load(t, out, n, last, j)                t[r, v] = out[n + r, j + v]
    t = add_outer(t, z, n, last, i, w, j)       t[r, v] += z[n + r, i] * w[i, j + v]     rows of the tile are rows of z
    t = add_outer_t(t, z, m, i, last, w, n, j)  t[r, v] += z[m, i + r] * w[n, j + v]   rows of the tile are columns of z
    t = add_dots(t, z, n, last, i, w, j, end)   t[r, v] += Σ_q z[n + r, i + q] * w[j + v, i + q], q = 0, 1, ... of one vector
    store(t, out, n, last, j)                   out[n + r, j + v] = t[r, v]
    t = add_product(t, x, y)                    t + x * y of single numbers, as the tiles compute it

Here v counts single numbers, `rows` by `vectors * lanes(out)` in all.  A tile that extends beyond the last row of its matrix
computes and stores that row again: n + r, or i + r, stands for min(n + r, last).  Tiles never extend beyond the last column,
because rows of memory are whole cache lines and there is a tile of every width.  Products are fused into the sums wherever
the machine can, in every tile alike, so a number does not depend on the tile that computed it.
"""

from typing import Any

import llvmlite.ir as ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, register_model

from bpkernel.codegen.cache_lines import transposed
from bpkernel.codegen.processor import LINE, VECTOR, VECTORS
from bpkernel.codegen.views import INT64, address_of


class Tile(types.Type):
    """The Numba type of a tile."""

    def __init__(self, dtype: Any, rows: int, vectors: int):
        self.dtype, self.rows, self.vectors = dtype, rows, vectors
        super().__init__(f"Tile({dtype}, {rows}, {vectors})")

    @property
    def vector(self) -> ir.VectorType:
        element = ir.FloatType() if self.dtype == types.float32 else ir.DoubleType()
        return ir.VectorType(element, VECTOR * 8 // self.dtype.bitwidth)


@register_model(Tile)
class _TileModel(models.PrimitiveModel):
    def __init__(self, manager: Any, tile: Tile):
        super().__init__(manager, tile, ir.ArrayType(tile.vector, tile.rows * tile.vectors))


def _row(builder: Any, first: Any, r: int, last: Any) -> Any:
    row = builder.add(first, ir.Constant(INT64, r))
    return builder.select(builder.icmp_signed("<", row, last), row, last)


def _spread(builder: Any, number: Any, vector: ir.VectorType) -> Any:
    """A vector of one number."""
    one = builder.insert_element(ir.Constant(vector, ir.Undefined), number, ir.Constant(ir.IntType(32), 0))
    mask = ir.Constant(ir.VectorType(ir.IntType(32), vector.count), [0] * vector.count)
    return builder.shuffle_vector(one, ir.Constant(vector, ir.Undefined), mask)


def _fma(builder: Any, dtype: Any, vector: ir.VectorType) -> Any:
    """The function x y + z of vectors, fused wherever the machine can."""
    name = f"llvm.fmuladd.v{vector.count}f{dtype.bitwidth}"
    return cgutils.get_or_insert_function(builder.module, ir.FunctionType(vector, [vector] * 3), name)


def _outer(builder: Any, tile: Tile, value: Any, numbers: list[Any], address: Any) -> Any:
    """The tile plus the outer product of `rows` numbers in memory and the row of vectors at an address."""
    vector = tile.vector
    fma = _fma(builder, tile.dtype, vector)
    address = builder.bitcast(address, vector.as_pointer())
    row = []
    for v in range(tile.vectors):
        row.append(builder.load(builder.gep(address, [ir.Constant(INT64, v)]), align=tile.dtype.bitwidth // 8))
    for r, number in enumerate(numbers):
        factor = _spread(builder, builder.load(number), vector)
        for v in range(tile.vectors):
            at = r * tile.vectors + v
            value = builder.insert_value(value, builder.call(fma, [factor, row[v], builder.extract_value(value, at)]), at)
    return value


@intrinsic(prefer_literal=True)
def zeros(typing_context: Any, out: Any, rows: Any, vectors: Any) -> Any:
    """A tile of zeros for numbers of out's dtype."""
    tile = Tile(out.dtype, rows.literal_value, vectors.literal_value)

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return ir.Constant(context.get_value_type(tile), None)

    return tile(out, rows, vectors), generate


@intrinsic
def load(typing_context: Any, tile: Any, out: Any, n: Any, last: Any, j: Any) -> Any:
    """A tile of the same size with t[r, v] = out[n + r, j + v]."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        t, out_value, n_value, last_value, j_value = values
        for r in range(tile.rows):
            address = address_of(context, builder, out, out_value, _row(builder, n_value, r, last_value), j_value)
            address = builder.bitcast(address, tile.vector.as_pointer())
            for v in range(tile.vectors):
                number = builder.load(builder.gep(address, [ir.Constant(INT64, v)]), align=tile.dtype.bitwidth // 8)
                t = builder.insert_value(t, number, r * tile.vectors + v)
        return t

    return tile(tile, out, types.intp, types.intp, types.intp), generate


@intrinsic
def add_outer(typing_context: Any, tile: Any, z: Any, n: Any, last: Any, i: Any, w: Any, j: Any) -> Any:
    """t[r, v] += z[n + r, i] * w[i, j + v]."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        t, z_value, n_value, last_value, i_value, w_value, j_value = values
        numbers = [
            address_of(context, builder, z, z_value, _row(builder, n_value, r, last_value), i_value) for r in range(tile.rows)
        ]
        return _outer(builder, tile, t, numbers, address_of(context, builder, w, w_value, i_value, j_value))

    return tile(tile, z, types.intp, types.intp, types.intp, w, types.intp), generate


@intrinsic
def add_outer_t(typing_context: Any, tile: Any, z: Any, m: Any, i: Any, last: Any, w: Any, n: Any, j: Any) -> Any:
    """t[r, v] += z[m, i + r] * w[n, j + v]."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        t, z_value, m_value, i_value, last_value, w_value, n_value, j_value = values
        numbers = [
            address_of(context, builder, z, z_value, m_value, _row(builder, i_value, r, last_value)) for r in range(tile.rows)
        ]
        return _outer(builder, tile, t, numbers, address_of(context, builder, w, w_value, n_value, j_value))

    return tile(tile, z, types.intp, types.intp, types.intp, w, types.intp, types.intp), generate


@intrinsic
def add_dots(typing_context: Any, tile: Any, z: Any, n: Any, last: Any, i: Any, w: Any, j: Any, end: Any) -> Any:
    """t[r, v] += Σ_q z[n + r, i + q] * w[j + v, i + q], q = 0, 1, ... of the lanes of a vector;  j + v: min(j + v, end).

    A square block of w is transposed in registers, so that each number is still one sum in the order of its index.
    """

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        t, z_value, n_value, last_value, i_value, w_value, j_value, end_value = values
        vector, align = tile.vector, tile.dtype.bitwidth // 8
        rows = []
        for v in range(vector.count):
            address = address_of(context, builder, w, w_value, _row(builder, j_value, v, end_value), i_value)
            rows.append(builder.load(builder.bitcast(address, vector.as_pointer()), align=align))
        columns = transposed(builder, rows)
        fma = _fma(builder, tile.dtype, vector)
        for r in range(tile.rows):
            address = address_of(context, builder, z, z_value, _row(builder, n_value, r, last_value), i_value)
            total = builder.extract_value(t, r)
            for q, column in enumerate(columns):
                number = builder.load(builder.gep(address, [ir.Constant(INT64, q)]))
                total = builder.call(fma, [_spread(builder, number, vector), column, total])
            t = builder.insert_value(t, total, r)
        return t

    return tile(tile, z, types.intp, types.intp, types.intp, w, types.intp, types.intp), generate


@intrinsic
def add_product(typing_context: Any, total: Any, x: Any, y: Any) -> Any:
    """total + x * y of numbers of one dtype; a vector of one lane, since Numba lets the compiler reorder sums of scalars."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        one = ir.VectorType(context.get_value_type(total), 1)
        numbers = [_spread(builder, number, one) for number in values]
        return builder.extract_element(
            builder.call(_fma(builder, total, one), [*numbers[1:], numbers[0]]), ir.Constant(ir.IntType(32), 0)
        )

    return total(total, total, total), generate


@intrinsic
def store(typing_context: Any, tile: Any, out: Any, n: Any, last: Any, j: Any) -> Any:
    """out[n + r, j + v] = t[r, v]."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        t, out_value, n_value, last_value, j_value = values
        for r in range(tile.rows):
            row = _row(builder, n_value, r, last_value)
            address = address_of(context, builder, out, out_value, row, j_value)
            address = builder.bitcast(address, tile.vector.as_pointer())
            for v in range(tile.vectors):
                number = builder.extract_value(t, r * tile.vectors + v)
                builder.store(number, builder.gep(address, [ir.Constant(INT64, v)]), align=tile.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.none(tile, out, types.intp, types.intp, types.intp), generate


@intrinsic
def per_line(typing_context: Any, array: Any) -> Any:
    """The numbers of the array's dtype in a cache line, a constant."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return ir.Constant(INT64, LINE * 8 // array.dtype.bitwidth)

    return types.intp(array), generate


@intrinsic
def panel_width(typing_context: Any, array: Any) -> Any:
    """The numbers of the array's dtype in a row of the widest tile, a constant."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return ir.Constant(INT64, VECTORS * VECTOR * 8 // array.dtype.bitwidth)

    return types.intp(array), generate


@intrinsic
def lanes(typing_context: Any, array: Any) -> Any:
    """The numbers of the array's dtype in a vector register, a constant."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return ir.Constant(INT64, VECTOR * 8 // array.dtype.bitwidth)

    return types.intp(array), generate
