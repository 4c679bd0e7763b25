"""Counters that several threads change."""

import threading

import numpy as np

from bpkernel.codegen import atomics
from bpkernel.codegen.jit import kernel


@kernel(entry=True)
def add(counters, i, n):
    return atomics.add(counters, i, n)


@kernel(entry=True)
def load(counters, i):
    return atomics.load(counters, i)


@kernel(entry=True)
def replace(counters, i, expected, new):
    return atomics.replace(counters, i, expected, new)


@kernel(entry=True)
def count(counters, n):
    for _ in range(n):
        atomics.add(counters, 0, 1)
        while True:
            found = atomics.load(counters, 1)
            if atomics.replace(counters, 1, found, found + 2):
                break


@kernel(entry=True)
def rest(n):
    for _ in range(n):
        atomics.pause()
        atomics.yield_processor()
    return n


def test_a_counter_is_added_to_and_read():
    counters = np.array([5, 10, 1 << 40])
    assert add(counters, 1, 3) == 10
    assert add(counters, 2, -1) == 1 << 40
    assert [load(counters, i) for i in range(3)] == [5, 13, (1 << 40) - 1] == counters.tolist()


def test_a_counter_is_replaced_only_if_it_is_as_expected():
    counters = np.array([1, 1 << 50])
    assert replace(counters, 1, 1 << 50, 7) is True
    assert replace(counters, 1, 1 << 50, 8) is False
    assert counters.tolist() == [1, 7]


def test_nothing_is_lost_among_threads():
    counters, n, n_threads = np.zeros(2, np.int64), 100_000, 4
    count(counters, 0)  # compiles
    threads = [threading.Thread(target=count, args=(counters, n)) for _ in range(n_threads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counters.tolist() == [n * n_threads, 2 * n * n_threads]


@kernel(entry=True)
def publish(data, flag, n):
    for i in range(1, n + 1):
        while atomics.load(flag, 1) < i - 1:
            atomics.yield_processor()
        data[0] = i
        atomics.add(flag, 0, 1)


@kernel(entry=True)
def observe(data, flag, n):
    wrong = 0
    for i in range(1, n + 1):
        while atomics.load(flag, 0) < i:
            atomics.yield_processor()
        wrong += data[0] != i
        atomics.add(flag, 1, 1)
    return wrong


def test_what_was_written_before_a_counter_is_seen_after_it():
    data, flag, n, found = np.zeros(1, np.int64), np.zeros(2, np.int64), 20_000, []
    publish(data, flag, 0)
    assert observe(data, flag, 0) == 0  # compiles both
    threads = [
        threading.Thread(target=publish, args=(data, flag, n)),
        threading.Thread(target=lambda: found.append(observe(data, flag, n))),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [0]
    assert data[0] == flag[0] == flag[1] == n


def test_a_thread_rests_and_goes_on():
    assert rest(1000) == 1000
