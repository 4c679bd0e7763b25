"""Views of buffers.

A view borrows the memory of its buffer.  Unlike a slice it has no reference count, to which several threads would write.
It must not outlive the call that the buffer was passed to.
"""

from typing import Any

import llvmlite.ir as ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

INT64 = ir.IntType(64)


def address_of(context: Any, builder: Any, array_type: Any, array: Any, n: Any, i: Any) -> Any:
    """The address of array[n, i]; numbers of one row are neighbours in memory."""
    array = context.make_array(array_type)(context, builder, array)
    stride = cgutils.unpack_tuple(builder, array.strides)[0]
    return builder.gep(cgutils.pointer_add(builder, array.data, builder.mul(n, stride)), [i])


def vector(real: Any) -> types.Array:
    """The Numba type of a one-dimensional view."""
    return types.Array(real, 1, "C")


def matrix(real: Any) -> types.Array:
    """The Numba type of a view of rows that lie anywhere."""
    return types.Array(real, 2, "A")


def _view(context: Any, builder: Any, view: Any, data: Any, shape: list[Any], bytes_apart: Any) -> Any:
    """bytes_apart: from a row to the next, or where a line is not contiguous from a number to the next."""
    itemsize = ir.Constant(INT64, context.get_abi_sizeof(context.get_data_type(view.dtype)))
    array = context.make_array(view)(context, builder)
    strides = [itemsize] if bytes_apart is None else [bytes_apart, itemsize][: view.ndim]
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
        itemsize = context.get_abi_sizeof(context.get_data_type(buffer.dtype))
        row_bytes = builder.mul(values[3], ir.Constant(INT64, itemsize))
        return _view(context, builder, view, data, [values[2], values[3]], row_bytes)

    return view(buffer, types.intp, types.intp, types.intp), generate


@intrinsic
def rows_from(typing_context: Any, array: Any, first: Any, n_rows: Any, column: Any) -> Any:
    """array[first : first + n_rows, column:] of a two-dimensional array."""
    view = matrix(array.dtype)

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        whole = context.make_array(array)(context, builder, values[0])
        columns = builder.sub(cgutils.unpack_tuple(builder, whole.shape)[1], values[3])
        data = address_of(context, builder, array, values[0], values[1], values[3])
        row_bytes = cgutils.unpack_tuple(builder, whole.strides)[0]
        return _view(context, builder, view, data, [values[2], columns], row_bytes)

    return view(array, types.intp, types.intp, types.intp), generate


@intrinsic
def row_of(typing_context: Any, array: Any, n: Any, first: Any, n_columns: Any) -> Any:
    """array[n, first : first + n_columns] of a two-dimensional array."""
    view = vector(array.dtype)

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        data = address_of(context, builder, array, *values[:3])
        return _view(context, builder, view, data, [values[3]], None)

    return view(array, types.intp, types.intp, types.intp), generate


@intrinsic
def flat(typing_context: Any, array: Any) -> Any:
    """All numbers of a two-dimensional array in one view, from its first row to its last, the gaps between rows included."""
    view = vector(array.dtype)

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        whole = context.make_array(array)(context, builder, values[0])
        n_bytes = builder.mul(cgutils.unpack_tuple(builder, whole.shape)[0], cgutils.unpack_tuple(builder, whole.strides)[0])
        size = builder.sdiv(n_bytes, ir.Constant(INT64, array.dtype.bitwidth // 8))
        return _view(context, builder, view, whole.data, [size], None)

    return view(array), generate


@intrinsic
def array_at(typing_context: Any, address: Any, n: Any, dtype: Any) -> Any:
    """n items of a dtype from an address on."""
    view = vector(dtype.dtype)

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        data = builder.inttoptr(values[0], context.get_data_type(view.dtype).as_pointer())
        return _view(context, builder, view, data, [values[1]], None)

    return view(types.intp, types.intp, dtype), generate


@intrinsic
def strided_at(typing_context: Any, address: Any, n: Any, stride: Any, dtype: Any) -> Any:
    """n items of a dtype from an address on, each `stride` bytes after the one before."""
    view = types.Array(dtype.dtype, 1, "A")

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        data = builder.inttoptr(values[0], context.get_data_type(view.dtype).as_pointer())
        return _view(context, builder, view, data, [values[1]], values[2])

    return view(types.intp, types.intp, types.intp, dtype), generate
