"""Views of buffers: where they lie, and that they own nothing."""

import sys

import numpy as np
import pytest
from numba import types

from bpkernel.codegen import views
from bpkernel.codegen.jit import kernel

DTYPES = ["float32", "float64"]
FLOAT32, FLOAT64 = np.dtype("float32"), np.dtype("float64")


@kernel(entry=True)
def view_all(buffer, matrix):
    whole = views.block(buffer, 3, 4, 5)
    part = views.rows_from(whole, 1, 2, 2)
    part[1, 0] = -1
    views.row_of(matrix, 1, 2, 3)[0] = -2
    views.line(buffer, 30, 40)[9] = -3
    return whole.shape, part.shape, views.flat(part).size, views.line(buffer, 30, 40).size


@pytest.mark.parametrize("dtype", DTYPES)
def test_views_are_where_they_say(dtype):
    buffer, matrix = np.arange(60, dtype=dtype), np.arange(20, dtype=dtype).reshape(4, 5)
    assert view_all(buffer, matrix) == ((4, 5), (2, 3), 10, 10)
    assert buffer[3 + 2 * 5 + 2] == -1
    assert matrix[1, 2] == -2
    assert buffer[39] == -3
    assert (np.concatenate([buffer, matrix.ravel()]) < 0).sum() == 3


@kernel
def copy(source, target):
    for i in range(source.size):
        target[i] = source[i]


@kernel
def copy_rows(source, target):
    for n in range(source.shape[0]):
        for i in range(source.shape[1]):
            target[n, i] = source[n, i]


@kernel(entry=True)
def copy_views(buffer, matrix, line, block, rows, row, flat):
    copy(views.line(buffer, 7, 19), line)
    copy_rows(views.block(buffer, 2, 5, 6), block)
    copy_rows(views.rows_from(matrix, 2, 3, 1), rows)
    copy(views.row_of(matrix, 4, 1, 6), row)
    copy(views.flat(matrix), flat)


@pytest.mark.parametrize("dtype", DTYPES)
def test_views_hold_the_numbers_of_slices(dtype):
    buffer, matrix = np.arange(40, dtype=dtype), np.arange(48, dtype=dtype).reshape(6, 8)
    expected = [buffer[7:19], buffer[2:32].reshape(5, 6), matrix[2:5, 1:], matrix[4, 1:7], matrix.ravel()]
    found = [np.zeros_like(view) for view in expected]
    copy_views(buffer, matrix, *found)
    for one, other in zip(found, expected, strict=True):
        assert other.any()
        np.testing.assert_array_equal(one, other)


@kernel(entry=True)
def copy_of_wide_rows(wide, rows, flat):
    """The same of a view whose rows have gaps between them."""
    part = views.rows_from(wide, 1, 3, 2)
    copy_rows(views.rows_from(part, 1, 2, 1), rows)
    copy(views.flat(part), flat)


def test_views_of_rows_with_gaps():
    wide = np.arange(40.0).reshape(5, 8)
    rows, flat = np.zeros((2, 5)), np.zeros(24)
    copy_of_wide_rows(wide, rows, flat)
    np.testing.assert_array_equal(rows, wide[2:4, 3:])
    np.testing.assert_array_equal(flat, wide.ravel()[10:34])  # from the view's first number, gaps included


@kernel(entry=True)
def empty_views(buffer):
    rows = views.block(buffer, 4, 0, 5)
    return views.line(buffer, 4, 4).size, rows.shape, views.flat(rows).size


def test_views_may_be_empty():
    assert empty_views(np.zeros(9)) == (0, (0, 5), 0)


def test_a_view_has_no_reference_count():
    """It borrows its buffer, which is freed with its last Python reference."""
    buffer, matrix = np.arange(60.0), np.arange(20.0).reshape(4, 5)
    before = sys.getrefcount(buffer), sys.getrefcount(matrix)
    for _ in range(100):
        view_all(buffer, matrix)
    assert (sys.getrefcount(buffer), sys.getrefcount(matrix)) == before


def test_the_types_of_views():
    assert (views.vector(types.float32).ndim, views.vector(types.float32).layout) == (1, "C")
    assert (views.matrix(types.float64).ndim, views.matrix(types.float64).layout) == (2, "A")


@kernel(entry=True)
def copy_at(address, line, stride, strided):
    if line.itemsize == 4:
        copy(views.array_at(address, line.size, FLOAT32), line)
        copy(views.strided_at(address, strided.size, stride, FLOAT32), strided)
    else:
        copy(views.array_at(address, line.size, FLOAT64), line)
        copy(views.strided_at(address, strided.size, stride, FLOAT64), strided)


@pytest.mark.parametrize("dtype", DTYPES)
def test_arrays_at_an_address_hold_the_numbers_of_slices(dtype):
    buffer = np.arange(40, dtype=dtype)
    line, strided = np.zeros(7, dtype), np.zeros(5, dtype)
    copy_at(buffer[30:].ctypes.data, line, -3 * buffer.itemsize, strided)
    np.testing.assert_array_equal(line, buffer[30:37])
    np.testing.assert_array_equal(strided, buffer[30:15:-3])


RECORD = np.dtype([("a", np.int8), ("b", np.float64)], align=True)


@kernel(entry=True)
def second_b(address):
    return views.array_at(address, 2, RECORD)[1].b


def test_records_at_an_address():
    assert second_b(np.array([(1, 2.5), (3, 4.5)], RECORD).ctypes.data) == 4.5
