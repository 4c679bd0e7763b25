"""Floor 0: views of buffers, and register tiles: blocks of a matrix whose numbers stay in SIMD registers over a whole sum.

A tile is `rows` × `vectors` registers.  Its verbs keep it in registers while the loops around them stay loops:

    t = zeros(out, rows, vectors)             rows and vectors are integers known when the kernel is compiled
    t = add_outer(t, z, n, last, i, w, j)     t[r, v] += z[n + r, i] * w[i, j + v]     rows of the tile are rows of z
    t = add_outer_t(t, z, n, i, last, w, j)   t[r, v] += z[n, i + r] * w[n, j + v]     rows of the tile are columns of z
    store(t, out, n, last, j)                 out[n + r, j + v] = t[r, v]
    prefetch(w, i, j)                         ask for the cache line of w[i, j], without waiting for it
    transpose_8(w, i, j, out, first)          out[j + c, first + r] = w[i + r, j + c], of 8 by 8 numbers

Here v counts single numbers, `rows` by `vectors * lanes(out)` in all.  A tile that sticks out of its matrix at the
bottom computes and stores its last row again: n + r, or i + r, stands for min(n + r, last).  To the side a tile never
sticks out, as rows of memory are whole cache lines and there is a tile of every width.  Products are fused into the
sums wherever the machine can, in every tile alike, so that a number does not depend on the tile that computed it.
"""

import platform
from typing import Any

import llvmlite.binding
import llvmlite.ir as ir
import numba
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, register_model

LINE = 64  # bytes of a cache line: rows of memory are whole lines

INT64 = ir.IntType(64)


def host() -> tuple[int, int, int]:
    """Bytes of this machine's vectors, and the rows and vectors of the tile that fits its registers.

    Of 32 registers (AVX-512, NEON) 6 × 4 hold the sums, 4 a row of the second factor and 1 a number of the first;
    of 16 (AVX2, SSE) 6 × 2, 2 and 1.
    """
    features = numba.config.CPU_FEATURES
    if features is None:
        features = llvmlite.binding.get_host_cpu_features().flatten()
    if "+avx512f" in features:
        return 64, 6, 4
    if "+avx" in features:
        return 32, 6, 2
    return (16, 6, 2) if platform.machine().lower() in ("x86_64", "amd64", "i686") else (16, 6, 4)


VECTOR, ROWS, VECTORS = host()
WIDTHS = tuple(range(VECTORS, 0, -(LINE // VECTOR)))  # in vectors; every row of whole lines is made of these


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


def _address(context: Any, builder: Any, array_type: Any, array: Any, n: Any, i: Any) -> Any:
    """The address of array[n, i]; numbers of one row are neighbours in memory."""
    array = context.make_array(array_type)(context, builder, array)
    stride = cgutils.unpack_tuple(builder, array.strides)[0]
    return builder.gep(cgutils.pointer_add(builder, array.data, builder.mul(n, stride)), [i])


def _row(builder: Any, first: Any, r: int, last: Any) -> Any:
    row = builder.add(first, ir.Constant(INT64, r))
    return builder.select(builder.icmp_signed("<", row, last), row, last)


def _spread(builder: Any, number: Any, vector: ir.VectorType) -> Any:
    """A vector of one number."""
    one = builder.insert_element(ir.Constant(vector, ir.Undefined), number, ir.Constant(ir.IntType(32), 0))
    mask = ir.Constant(ir.VectorType(ir.IntType(32), vector.count), [0] * vector.count)
    return builder.shuffle_vector(one, ir.Constant(vector, ir.Undefined), mask)


def _outer(builder: Any, tile: Tile, value: Any, numbers: list[Any], address: Any) -> Any:
    """The tile plus the outer product of `rows` numbers in memory and the row of vectors at an address."""
    vector = tile.vector
    name = f"llvm.fmuladd.v{vector.count}f{tile.dtype.bitwidth}"
    fma = cgutils.get_or_insert_function(builder.module, ir.FunctionType(vector, [vector] * 3), name)
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
def add_outer(typing_context: Any, tile: Any, z: Any, n: Any, last: Any, i: Any, w: Any, j: Any) -> Any:
    """t[r, v] += z[n + r, i] * w[i, j + v]."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        t, z_value, n_value, last_value, i_value, w_value, j_value = values
        numbers = [
            _address(context, builder, z, z_value, _row(builder, n_value, r, last_value), i_value) for r in range(tile.rows)
        ]
        return _outer(builder, tile, t, numbers, _address(context, builder, w, w_value, i_value, j_value))

    return tile(tile, z, types.intp, types.intp, types.intp, w, types.intp), generate


@intrinsic
def add_outer_t(typing_context: Any, tile: Any, z: Any, n: Any, i: Any, last: Any, w: Any, j: Any) -> Any:
    """t[r, v] += z[n, i + r] * w[n, j + v]."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        t, z_value, n_value, i_value, last_value, w_value, j_value = values
        numbers = [
            _address(context, builder, z, z_value, n_value, _row(builder, i_value, r, last_value)) for r in range(tile.rows)
        ]
        return _outer(builder, tile, t, numbers, _address(context, builder, w, w_value, n_value, j_value))

    return tile(tile, z, types.intp, types.intp, types.intp, w, types.intp), generate


@intrinsic
def store(typing_context: Any, tile: Any, out: Any, n: Any, last: Any, j: Any) -> Any:
    """out[n + r, j + v] = t[r, v]."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        t, out_value, n_value, last_value, j_value = values
        for r in range(tile.rows):
            row = _row(builder, n_value, r, last_value)
            address = _address(context, builder, out, out_value, row, j_value)
            address = builder.bitcast(address, tile.vector.as_pointer())
            for v in range(tile.vectors):
                number = builder.extract_value(t, r * tile.vectors + v)
                builder.store(number, builder.gep(address, [ir.Constant(INT64, v)]), align=tile.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.none(tile, out, types.intp, types.intp, types.intp), generate


@intrinsic
def prefetch(typing_context: Any, w: Any, i: Any, j: Any) -> Any:
    """Ask for the cache line of w[i, j], without waiting for it, into the second-level cache; it may lie outside of w."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        address = builder.bitcast(_address(context, builder, w, *values), ir.IntType(8).as_pointer())
        read, second_level, data = (ir.Constant(ir.IntType(32), flag) for flag in (0, 2, 1))
        function = ir.FunctionType(ir.VoidType(), [address.type] + [read.type] * 3)
        ask = builder.module.declare_intrinsic("llvm.prefetch", [address.type], function)
        builder.call(ask, [address, read, second_level, data])
        return context.get_dummy_value()

    return types.none(w, types.intp, types.intp), generate


@intrinsic
def transpose_8(typing_context: Any, source: Any, i: Any, j: Any, target: Any, first: Any) -> Any:
    """target[j + c, first + r] = source[i + r, j + c] for r and c from 0 to 7, of rows whose numbers are neighbours."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        source_value, i_value, j_value, target_value, first_value = values
        element = ir.FloatType() if source.dtype == types.float32 else ir.DoubleType()
        eight, align = ir.VectorType(element, 8), source.dtype.bitwidth // 8
        plus = lambda number, k: builder.add(number, ir.Constant(INT64, k))  # noqa: E731
        rows = []
        for r in range(8):
            address = _address(context, builder, source, source_value, plus(i_value, r), j_value)
            rows.append(builder.load(builder.bitcast(address, eight.as_pointer()), align=align))
        for distance in (4, 2, 1):  # swap the blocks beside the diagonal, then those beside the diagonals of blocks
            low = [c if c & distance == 0 else 8 + c - distance for c in range(8)]
            high = [c + distance if c & distance == 0 else 8 + c for c in range(8)]
            masks = [ir.Constant(ir.VectorType(ir.IntType(32), 8), mask) for mask in (low, high)]
            for r in range(8):
                if r & distance == 0:
                    pair = rows[r], rows[r + distance]
                    rows[r], rows[r + distance] = (builder.shuffle_vector(*pair, mask) for mask in masks)
        for c in range(8):
            address = _address(context, builder, target, target_value, plus(j_value, c), first_value)
            builder.store(rows[c], builder.bitcast(address, eight.as_pointer()), align=align)
        return context.get_dummy_value()

    return types.none(source, types.intp, types.intp, target, types.intp), generate


@intrinsic
def lanes(typing_context: Any, array: Any) -> Any:
    """The numbers of the array's dtype in a vector."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return ir.Constant(INT64, VECTOR * 8 // array.dtype.bitwidth)

    return types.intp(array), generate


# --------------------------------------------------------------------------------------------------------------- views
# A view borrows the memory of its buffer: unlike a slice it keeps no count of its users, which several threads would
# all write to.  It must not outlive the call that the buffer was passed to.


def vector(real: Any) -> types.Array:
    """The Numba type of a one-dimensional view."""
    return types.Array(real, 1, "C")


def matrix(real: Any) -> types.Array:
    """The Numba type of a view of rows that lie anywhere."""
    return types.Array(real, 2, "A")


def _view(context: Any, builder: Any, view: Any, data: Any, shape: list[Any], row_bytes: Any) -> Any:
    itemsize = ir.Constant(INT64, view.dtype.bitwidth // 8)
    array = context.make_array(view)(context, builder)
    strides = [row_bytes, itemsize] if view.ndim == 2 else [itemsize]
    context.populate_array(array, data=data, shape=shape, strides=strides, itemsize=itemsize, meminfo=None)
    return array._getvalue()


@intrinsic
def line(typing_context: Any, buffer: Any, start: Any, stop: Any) -> Any:
    """buffer[start:stop] of a one-dimensional buffer."""
    view = vector(buffer.dtype)

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        data = context.make_array(buffer)(context, builder, values[0]).data
        return _view(context, builder, view, builder.gep(data, [values[1]]), [builder.sub(values[2], values[1])], None)

    return view(buffer, types.intp, types.intp), generate


@intrinsic
def block(typing_context: Any, buffer: Any, start: Any, n_rows: Any, row: Any) -> Any:
    """buffer[start : start + n_rows * row].reshape(n_rows, row) of a one-dimensional buffer."""
    view = matrix(buffer.dtype)

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        data = builder.gep(context.make_array(buffer)(context, builder, values[0]).data, [values[1]])
        row_bytes = builder.mul(values[3], ir.Constant(INT64, buffer.dtype.bitwidth // 8))
        return _view(context, builder, view, data, [values[2], values[3]], row_bytes)

    return view(buffer, types.intp, types.intp, types.intp), generate


@intrinsic
def rows_from(typing_context: Any, array: Any, first: Any, n_rows: Any, column: Any) -> Any:
    """array[first : first + n_rows, column:] of a two-dimensional array."""
    view = matrix(array.dtype)

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        whole = context.make_array(array)(context, builder, values[0])
        columns = builder.sub(cgutils.unpack_tuple(builder, whole.shape)[1], values[3])
        data = _address(context, builder, array, values[0], values[1], values[3])
        row_bytes = cgutils.unpack_tuple(builder, whole.strides)[0]
        return _view(context, builder, view, data, [values[2], columns], row_bytes)

    return view(array, types.intp, types.intp, types.intp), generate


@intrinsic
def row_of(typing_context: Any, array: Any, n: Any, first: Any, n_columns: Any) -> Any:
    """array[n, first : first + n_columns] of a two-dimensional array."""
    view = vector(array.dtype)

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        data = _address(context, builder, array, *values[:3])
        return _view(context, builder, view, data, [values[3]], None)

    return view(array, types.intp, types.intp, types.intp), generate


@intrinsic
def flat(typing_context: Any, array: Any) -> Any:
    """All numbers from the first row of a two-dimensional array to the last, and what lies between the rows."""
    view = vector(array.dtype)

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        whole = context.make_array(array)(context, builder, values[0])
        n_bytes = builder.mul(cgutils.unpack_tuple(builder, whole.shape)[0], cgutils.unpack_tuple(builder, whole.strides)[0])
        size = builder.sdiv(n_bytes, ir.Constant(INT64, array.dtype.bitwidth // 8))
        return _view(context, builder, view, whole.data, [size], None)

    return view(array), generate
