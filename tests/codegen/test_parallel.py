"""A compiled function on several threads."""

import sys

import numba
import numpy as np
import pytest

from bpkernel.codegen import atomics, parallel
from bpkernel.codegen.jit import kernel
from bpkernel.codegen.parallel import bound, run
from bpkernel.runtime.threads import available


def count_calls(calls, threads_set, numbers, nested, step, thread):
    """Count the calls of each thread, and add up what the arguments hold."""
    atomics.add(calls, thread, 1)
    threads_set[thread] = parallel._get_num_threads()
    for i in range(numbers.size):
        nested[1][0][thread, i] += step * numbers[i]


bind = bound(count_calls)


@kernel(entry=True)
def call(calls, threads_set, numbers, nested, step, n_threads, n_running):
    run(bind((calls, threads_set, numbers, nested, step)), n_threads, n_running)


def run_on(n_threads, n_running):
    """The calls of each thread, and how many Numba threads each found set."""
    calls, threads_set = np.zeros(n_threads, np.int64), np.zeros(n_threads, np.int64)
    numbers, sums = np.arange(5.0), np.zeros((n_threads, 5))
    available()
    call(calls, threads_set, numbers, (1.0, (sums, numbers)), 2, n_threads, n_running)
    np.testing.assert_array_equal(sums, np.tile(2 * numbers, (n_threads, 1)))
    return calls.tolist(), threads_set.tolist()


@pytest.mark.parametrize("n_threads", [1, 2, 3, 7, 16])
@pytest.mark.parametrize("n_running", [1, 2, 5])
def test_each_thread_is_called_once(n_threads, n_running):
    """Also if fewer run than are called, or more than Numba has; arguments may be arrays, numbers and tuples of them."""
    calls, _ = run_on(n_threads, n_running)
    assert calls == [1] * n_threads


@pytest.mark.parametrize("set_before", [1, 2])
def test_the_number_of_numba_threads_is_afterwards_as_it_was(set_before):
    if set_before > numba.config.NUMBA_NUM_THREADS:
        pytest.skip("needs two threads")
    before = numba.get_num_threads()
    try:
        for n_running in (1, 2, 50):
            numba.set_num_threads(set_before)
            _, threads_set = run_on(3, n_running)
            assert numba.get_num_threads() == set_before
            assert max(threads_set) <= min(n_running, set_before)
    finally:
        numba.set_num_threads(before)


def test_arrays_keep_their_reference_counts():
    """The threads see the arrays without them."""
    calls, numbers = np.zeros(2, np.int64), np.arange(5.0)
    nested = (1.0, (np.zeros((2, 5)), numbers))
    call(calls, calls, numbers, nested, 2, 2, 2)
    arrays = [calls, numbers, nested[1][0]]
    before = [sys.getrefcount(array) for array in arrays]
    for _ in range(100):
        call(calls, calls, numbers, nested, 2, 2, 2)
    assert [sys.getrefcount(array) for array in arrays] == before


def scaled(scale):
    def multiply(x, thread):
        x[thread] *= scale

    return multiply


def add_one(x, thread):
    x[thread] += 1


bind_twice, bind_thrice, bind_add_one = bound(scaled(2.0)), bound(scaled(3.0)), bound(add_one)


@kernel(entry=True)
def twice_plus_one(x, n_running):
    run(bind_twice((x,)), x.size, n_running)
    run(bind_add_one((x,)), x.size, n_running)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_two_functions_in_one_kernel(dtype):
    x = np.arange(5).astype(dtype)
    twice_plus_one(x, 2)
    assert x.tolist() == [1, 3, 5, 7, 9]


@kernel(entry=True)
def multiply_by_six(x, n_running):
    run(bind_twice((x,)), x.size, n_running)
    run(bind_thrice((x,)), x.size, n_running)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_two_functions_of_one_name_in_one_kernel(dtype):
    x = np.arange(5).astype(dtype)
    multiply_by_six(x, 2)
    assert x.tolist() == [0, 6, 12, 18, 24]


CACHED = """
    import sys
    import numpy as np
    from work import call
    first, x = int(sys.argv[1]), np.zeros(4)
    if first:
        import numba
        numba.get_num_threads()
    from bpkernel.runtime.threads import available
    available()
    call(x, 2)
    print(x.tolist(), sum(call.stats.cache_hits.values()))
"""
WORK = """
from bpkernel.codegen.jit import kernel
from bpkernel.codegen.parallel import bound, run

def one_more(x, thread):
    x[thread] += 1 + thread

bind = bound(one_more)

@kernel(entry=True)
def call(x, n_running):
    run(bind((x,)), x.size, n_running)
"""


def test_a_parallel_kernel_is_kept_in_the_cache(tmp_path, run_python):
    """Functions and thread counts that it refers to by address are found again in another process."""
    (tmp_path / "work.py").write_text(WORK)
    settings = {"folder": tmp_path, "BPKERNEL_CACHE_DIR": str(tmp_path / "cache")}
    found = [run_python(CACHED, first, **settings).stdout for first in ("0", "0", "1")]
    assert found == [f"[1.0, 2.0, 3.0, 4.0] {hits}\n" for hits in (0, 1, 1)]
