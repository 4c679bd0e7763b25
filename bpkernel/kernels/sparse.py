"""Eqs. 1 and 4 for inputs most of which are 0; compiled when such inputs are first met."""

from typing import Any

from numba import types

from bpkernel.codegen.pointers import by_pointer
from bpkernel.codegen.precision import Precision
from bpkernel.codegen.views import matrix, row_of, vector


def _sums(w: Any, bias: int, add: int, indptr: Any, indices: Any, data: Any, rows: Any, width: int, a: Any) -> None:
    """Eq. 1: a_j = w_j0 + Σ w_ji x_i over the x_i that are not 0.

    w (bias + n_in, row);  indptr, indices, data: X in CSR form, sample n is its row rows[n];  a (n_samples, ≥ width):
    overwritten or, where `add` is 1, added to.
    """
    for n in range(rows.size):
        a_n, w_0 = row_of(a, n, 0, width), row_of(w, 0, 0, width)
        if bias:
            for j in range(width):
                a_n[j] = w_0[j]
        elif not add:
            for j in range(width):
                a_n[j] = 0
        for p in range(indptr[rows[n]], indptr[rows[n] + 1]):
            x_i, w_i = data[p], row_of(w, bias + indices[p], 0, width)
            for j in range(width):
                a_n[j] += w_i[j] * x_i


def _gradient(
    bias: int, add: int, indptr: Any, indices: Any, data: Any, rows: Any, delta: Any, first: int, last: int, width: int, dw: Any
) -> None:
    """Eq. 4: Σ_n δ_j x_i over the x_i that are not 0, for rows first to last of the weights.

    indptr, indices, data: X in CSR form with sorted indices, sample n is its row rows[n];  delta (n_samples, ≥ width);
    dw (last - first + 1, row): overwritten or, where `add` is 1, added to.
    """
    for i in range(0 if add else last - first + 1):
        dw_i = row_of(dw, i, 0, width)
        for j in range(width):
            dw_i[j] = 0
    for n in range(rows.size):
        delta_n = row_of(delta, n, 0, width)
        if bias and first == 0:
            dw_0 = row_of(dw, 0, 0, width)
            for j in range(width):
                dw_0[j] += delta_n[j]
        end = indptr[rows[n] + 1]
        low, high = indptr[rows[n]], end
        while low < high:  # binary search of the first index of these rows
            middle = (low + high) // 2
            if bias + indices[middle] < first:
                low = middle + 1
            else:
                high = middle
        p = low
        while p < end and bias + indices[p] <= last:
            x_i, dw_i = data[p], row_of(dw, bias + indices[p] - first, 0, width)
            for j in range(width):
                dw_i[j] += delta_n[j] * x_i
            p += 1


_csr = lambda p: (vector(types.int64), vector(types.int32), vector(p.storage), vector(types.int64))  # noqa: E731
sums_of_sparse, _pointer_to_sums = by_pointer(
    lambda p: types.none(matrix(p.storage), types.intp, types.intp, *_csr(p), types.intp, matrix(p.accumulation))
)
gradient_of_sparse, _pointer_to_gradient = by_pointer(
    lambda p: types.none(
        types.intp, types.intp, *_csr(p), matrix(p.storage), types.intp, types.intp, types.intp, matrix(p.master)
    )
)


def pointers_to_sparse(precision: Precision) -> tuple[int, int]:
    """Pointers to the compiled sums of Eqs. 1 and 4 for sparse inputs."""
    return _pointer_to_sums(_sums, precision), _pointer_to_gradient(_gradient, precision)
