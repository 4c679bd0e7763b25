"""The operations of the register tile, for every width, beside NumPy."""

import functools

import numpy as np
import pytest

from bpkernel.codegen import tiles
from bpkernel.codegen.jit import kernel
from bpkernel.codegen.processor import LINE, ROWS, VECTOR, WIDTHS

DTYPES = ["float32", "float64"]
GUARD = -7.0


@kernel(entry=True)
def sizes(matrix):
    return tiles.per_line(matrix), tiles.lanes(matrix)


@pytest.mark.parametrize("dtype", DTYPES)
def test_numbers_of_a_line_and_of_a_register(dtype):
    itemsize = np.dtype(dtype).itemsize
    assert sizes(np.zeros((1, 1), dtype)) == (LINE // itemsize, VECTOR // itemsize)


# ------------------------------------------------------------------------------------------- tiles of rows by vectors


@functools.cache
def compiled(rows, vectors):
    """Kernels that use one tile."""

    @kernel(entry=True)
    def copy(source, n, last, j, target):
        t = tiles.load(tiles.zeros(target, rows, vectors), source, n, last, j)
        tiles.store(t, target, n, last, j)

    @kernel(entry=True)
    def clear(n, last, j, target):
        tiles.store(tiles.zeros(target, rows, vectors), target, n, last, j)

    @kernel(entry=True)
    def outer(z, w, n, last, j, out):
        t = tiles.load(tiles.zeros(out, rows, vectors), out, n, last, j)
        for i in range(w.shape[0]):
            t = tiles.add_outer(t, z, n, last, i, w, j)
        tiles.store(t, out, n, last, j)

    @kernel(entry=True)
    def outer_t(z, w, i, last, j, out):
        t = tiles.load(tiles.zeros(out, rows, vectors), out, i, last, j)
        for n in range(w.shape[0]):
            t = tiles.add_outer_t(t, z, n, i, last, w, n, j)
        tiles.store(t, out, i, last, j)

    return copy, clear, outer, outer_t


class Tile:
    """Random operands for a tile of `rows` x `vectors` at rows `n` to `last`, columns from `j` on, of a matrix of 11 rows."""

    def __init__(self, rows, vectors, n, dtype):
        rng = np.random.default_rng([rows, vectors, n])
        self.lanes = VECTOR // np.dtype(dtype).itemsize
        self.n, self.j, self.width = n, self.lanes, vectors * self.lanes
        self.out = rng.standard_normal((11, self.width + 2 * self.lanes)).astype(dtype)
        self.out_before = self.out.copy()
        self.last = 9
        self.rows = slice(n, min(n + rows, self.last + 1))
        self.columns = slice(self.j, self.j + self.width)
        self.z = rng.standard_normal((11, 5)).astype(dtype)
        self.w = rng.standard_normal((5, self.out.shape[1])).astype(dtype)

    @property
    def arguments(self):
        return self.n, self.last, self.j, self.out

    def found(self):
        """The numbers of the tile; all others must be as before."""
        outside = np.ones(self.out.shape, bool)
        outside[self.rows, self.columns] = False
        np.testing.assert_array_equal(self.out[outside], self.out_before[outside])
        return self.out[self.rows, self.columns]

    def check(self, z):
        """The tile must be what it was plus the product of z with w, rounded less often than the sum has terms."""
        w, before = (a.astype(float) for a in (self.w[:, self.columns], self.out_before[self.rows, self.columns]))
        terms = abs(before) + abs(z) @ abs(w)
        found = self.found()
        assert abs(found - before).max() > 0.1
        np.testing.assert_array_less(abs(found - (before + z @ w)), (len(w) + 2) * np.finfo(found.dtype).eps * terms)


@pytest.fixture(params=[(rows, vectors) for rows in (1, ROWS) for vectors in WIDTHS], ids=str)
def shape(request):
    return request.param


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [0, 3, 6, 9])
def test_tiles_are_loaded_and_stored(shape, n, dtype):
    """A tile beyond the last row stores that row again, and nothing below it."""
    copy, clear, *_ = compiled(*shape)
    tile = Tile(*shape, n, dtype)
    source = np.random.default_rng(0).standard_normal(tile.out.shape).astype(dtype)
    copy(source, *tile.arguments)
    np.testing.assert_array_equal(tile.found(), source[tile.rows, tile.columns])
    clear(*tile.arguments)
    assert not tile.found().any()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [0, 3, 6, 9])
def test_outer_products_of_rows_are_added(shape, n, dtype):
    tile = Tile(*shape, n, dtype)
    compiled(*shape)[2](tile.z, tile.w, *tile.arguments)
    tile.check(tile.z[tile.rows].astype(float))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [0, 3, 6, 9])
def test_outer_products_of_columns_are_added(shape, n, dtype):
    tile = Tile(*shape, n, dtype)
    compiled(*shape)[3](np.ascontiguousarray(tile.z.T), tile.w, *tile.arguments)
    tile.check(tile.z[tile.rows].astype(float))


def test_outer_products_are_added_alike_in_every_tile():
    """A number has the same bits in a tile of any rows and width."""
    whole = Tile(ROWS, WIDTHS[0], 0, "float32")
    compiled(ROWS, WIDTHS[0])[2](whole.z, whole.w, *whole.arguments)
    for rows in (1, ROWS):
        for vectors in WIDTHS:
            tile = Tile(rows, vectors, 0, "float32")
            tile.z, tile.w, tile.out = whole.z, whole.w, whole.out_before.copy()
            compiled(rows, vectors)[2](tile.z, tile.w, *tile.arguments)
            found = tile.out[tile.rows, tile.columns]
            np.testing.assert_array_equal(found, whole.out[tile.rows, tile.columns])


@functools.cache
def compiled_dots(rows):
    @kernel(entry=True)
    def dots(z, w, n, last, j, end, out):
        t = tiles.load(tiles.zeros(out, rows, 1), out, n, last, j)
        for i in range(0, z.shape[1], tiles.lanes(out)):
            t = tiles.add_dots(t, z, n, last, i, w, j, end)
        tiles.store(t, out, n, last, j)

    return dots


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("beyond", [0, 1, 3])
@pytest.mark.parametrize("n", [0, 6, 9])
@pytest.mark.parametrize("rows", [1, ROWS])
def test_dot_products_of_rows_are_added(rows, n, beyond, dtype):
    """Also where the tile extends `beyond` the last row of w: the numbers there are those of that row."""
    tile = Tile(rows, 1, n, dtype)
    beyond = min(beyond, tile.lanes - 1)
    rng = np.random.default_rng(n)
    n_rows = tile.j + tile.lanes - beyond
    z, w = (rng.standard_normal((k, 3 * tile.lanes)).astype(dtype) for k in (11, n_rows + 1))
    w[n_rows] = np.nan  # behind the end
    compiled_dots(rows)(z, w, tile.n, tile.last, tile.j, n_rows - 1, tile.out)
    at = np.minimum(np.arange(tile.j, tile.j + tile.lanes), n_rows - 1)
    tile.w = np.zeros((z.shape[1], tile.out.shape[1]), dtype)
    tile.w[:, tile.columns] = w[at].T
    tile.check(z[tile.rows].astype(float))


def test_dot_products_are_summed_in_the_order_of_their_index():
    """As the same sum by outer products is, to the last bit."""
    rng = np.random.default_rng(0)
    lanes = VECTOR // 4
    z, w = (rng.standard_normal((11, 3 * lanes)).astype("f4") for _ in range(2))
    w = np.concatenate([w] * 2)[:lanes]
    dots, sums = np.zeros((11, lanes), "f4"), np.zeros((11, lanes), "f4")
    compiled_dots(ROWS)(z, w, 0, 10, 0, lanes - 1, dots)
    compiled(ROWS, 1)[2](z, np.ascontiguousarray(w.T), 0, 10, 0, sums)
    assert dots[:ROWS].all()
    np.testing.assert_array_equal(dots, sums)
