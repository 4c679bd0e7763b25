"""Addresses in compiled code: constants, the places of arrays, and memory on the stack."""

import pickle

import numba
import numpy as np
import pytest
from numba import types
from numba.core.errors import NumbaWarning, TypingError

from bpkernel.codegen import addresses, views
from bpkernel.codegen.jit import for_users, kernel
from bpkernel.codegen.pointers import by_pointer
from bpkernel.codegen.precision import PRECISIONS

INT64 = np.dtype("int64")


def test_a_constant_address_leads_to_the_memory():
    memory = np.arange(5)
    address = addresses.constant(memory.ctypes.data)

    @for_users
    def third():
        return views.array_at(address(), 5, INT64)[2]

    assert third() == 2
    memory[2] = 7
    assert third() == 7


def test_numba_does_not_cache_a_function_with_a_constant_address(tmp_path, monkeypatch):
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    address = addresses.constant(16)

    @numba.njit(cache=True)
    def get():
        return address()

    with pytest.warns(NumbaWarning, match='Cannot cache compiled function "get"'):
        assert get() == 16
    assert not list(tmp_path.rglob("*.nb?"))


def test_an_address_is_loaded_in_its_own_process_only(run_python):
    address = addresses.ProcessAddress(16)
    assert pickle.loads(pickle.dumps(address)).value == 16
    program = """
        import pickle, sys
        try:
            pickle.loads(bytes.fromhex(sys.argv[1]))
        except RuntimeError as error:
            print(error)
    """
    assert "call its as_njit there" in run_python(program, pickle.dumps(address).hex()).stdout


_place = addresses.place_of("x", writeable=False)
_writeable_place = addresses.place_of("y", writeable=True)


@numba.njit
def place(x):
    return _place(x)


@numba.njit
def writeable_place(y):
    return _writeable_place(y)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("step", [1, 3, -2])
def test_the_place_of_an_array(dtype, step):
    x = np.zeros(10, dtype)[::step]
    expected = x.ctypes.data, x.strides[0], int(dtype == "float64")
    assert place(x) == writeable_place(x) == expected
    x.flags.writeable = False
    assert place(x) == expected
    with pytest.raises(TypingError, match="y must be a writeable one-dimensional array of float32 or float64"):
        writeable_place(x)


@pytest.mark.parametrize("x", [1.0, (1.0, 2.0), np.zeros((2, 2)), np.zeros(()), np.zeros(2, int), np.zeros(2, complex)])
def test_other_arguments_have_no_place(x):
    with pytest.raises(TypingError, match="x must be a one-dimensional array of float32 or float64, not"):
        place(x)


def test_arrays_in_packed_records_have_no_place():
    with pytest.raises(TypingError, match="x must be a one-dimensional array"):
        place.compile((types.Array(types.float64, 1, "C", aligned=False),))


_call, _pointer = by_pointer(lambda p: types.intp(types.intp))


def address_of_stack(n_bytes):
    address = addresses.stack_memory(n_bytes)
    memory = views.array_at(address, n_bytes // 8, INT64)
    memory[memory.size - 1] = 1
    return address


@kernel(entry=True)
def addresses_of_stack(function, n_bytes, found):
    for i in range(found.size):
        found[i] = _call(function, (n_bytes,))


@pytest.mark.parametrize("n_bytes", [8, 64, 1000, 2**18])
def test_stack_memory_begins_on_a_cache_line_and_is_freed(n_bytes):
    found = np.zeros(1000, np.int64)
    addresses_of_stack(_pointer(address_of_stack, PRECISIONS[0]), n_bytes, found)
    assert (found % 64 == 0).all()
    assert len(set(found.tolist())) == 1  # each call takes the same memory as the one before
