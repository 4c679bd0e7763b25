"""The three dtypes of a computation."""

import numpy as np
import pytest
from numba import types

from bpkernel.codegen.precision import PRECISIONS, Precision


@pytest.mark.parametrize(("dtype", "numba_type"), [("float32", types.float32), (np.float64, types.float64)])
def test_one_dtype_in_all_roles(dtype, numba_type):
    precision = Precision.of(dtype)
    assert precision._fields == ("storage", "accumulation", "master")
    assert list(precision) == [np.dtype(dtype)] * 3
    assert all(isinstance(role, np.dtype) for role in precision)
    assert precision.types() == Precision(*[numba_type] * 3)
    assert precision in PRECISIONS


def test_precisions_are_keys():
    """Compiled functions are found by them."""
    assert {Precision.of("float32"): 1}[Precision.of(np.dtype(np.float32))] == 1
    assert len({*PRECISIONS, Precision.of("float32"), Precision.of("float64")}) == len(PRECISIONS)


def test_each_role_has_its_own_type():
    mixed = Precision(np.dtype("float32"), np.dtype("float64"), np.dtype("int64"))
    assert mixed.types() == (types.float32, types.float64, types.int64)
