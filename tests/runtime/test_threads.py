"""The threading layer and launches: a process survives interrupts, forks and concurrent launches."""

import ctypes
import os
import threading

import pytest

from bpkernel.runtime import threads
from bpkernel.runtime.threads import available, launch, load_tbb


@pytest.fixture
def gnu_openmp():
    try:
        ctypes.CDLL("libgomp.so.1")
    except OSError:
        pytest.skip("needs GNU OpenMP")


forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

PROGRAM = """
    import multiprocessing, threading
    import numpy as np
    import bpkernel as bp

    X = np.random.default_rng(0).standard_normal((300, 40))
    T = X[:, :1]

    def fit(seed):
        net = bp.MLP((40, 100, 1), random_state=seed)  # enough work for two threads
        return net.fit(X, T, epochs=30).loss[-1]

    if __name__ == "__main__":
        expected = fit(0)
        found = [None] * 4
        def work(i):
            found[i] = fit(0)
        threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
        [t.start() for t in threads]
        [t.join() for t in threads]
        assert found == [expected] * 4, found
        if {fork}:
            with multiprocessing.get_context("fork").Pool(2) as pool:
                assert pool.map(fit, [0, 0, 0]) == [expected] * 3
        import numba
        print("alive", numba.threading_layer())
"""


@pytest.fixture
def alive(run_python):
    """What the program above prints at its end, with a threading layer and with or without forked children."""

    def run(layer, fork):
        return run_python(PROGRAM.replace("{fork}", repr(fork)), NUMBA_THREADING_LAYER=layer).stdout.split()

    return run


def test_concurrent_fits_and_forked_children_survive_with_tbb(alive):
    if not load_tbb():
        pytest.skip("needs TBB")
    assert alive(None, fork=True)[-2:] == ["alive", "tbb"]  # after what TBB says where a joined thread has not quite ended


def test_concurrent_fits_survive_with_workqueue(alive):
    assert alive("workqueue", fork=False) == ["alive", "workqueue"]


@forks
@pytest.mark.usefixtures("gnu_openmp")
def test_forked_children_do_without_the_threads_that_openmp_would_end_them_for(alive):
    assert alive("omp", fork=True) == ["alive", "omp"]


# ------------------------------------------------------------------------------------------------------------ launches


@pytest.fixture
def granted(monkeypatch):
    """The threads that a launch is granted, of four."""
    available()
    monkeypatch.setattr(threads, "available", lambda: 4)

    def grant(n_threads, most=None):
        found = []
        assert launch(n_threads, found.append, most=most) == found[0]
        return found[0]

    return grant


def test_a_launch_is_granted_what_it_asks_for_and_what_there_is(granted):
    assert [granted(n_threads) for n_threads in (1, 2, 4, 9)] == [1, 2, 4, 4]
    assert [granted(4, most) for most in (1, 3, 4)] == [1, 3, 4]


def test_a_launch_is_granted_what_others_leave(granted):
    """And one thread at least; a launch within a launch of one Python thread shares its threads."""
    found = []

    def in_another_thread(*arguments):
        thread = threading.Thread(target=lambda: found.append([granted(n) for n in (1, 2, 4)]))
        thread.start()
        thread.join()

    for n_threads in (1, 3, 4):
        launch(n_threads, in_another_thread)
    assert found == [[1, 2, 3], [1, 1, 1], [1, 1, 1]]
    assert not threads._running
    launch(3, lambda n_running: found.append(granted(4)))
    assert found[-1] == 4


def test_a_launch_that_fails_gives_its_threads_back(granted):
    def fail(n_running):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        launch(3, fail)
    assert not threads._running


INTERRUPTED = """
    import sys, threading
    import numba
    from bpkernel.runtime import in_use, threads

    def granted(n_threads):
        "The threads that a launch is granted."
        found = []
        threads.launch(n_threads, found.append)  # in place of a compiled kernel
        return found[0]

    def in_another_thread(function, *arguments):
        result = []
        thread = threading.Thread(target=lambda: result.append(function(*arguments)), daemon=True)
        thread.start()
        thread.join(timeout=20)
        assert result, "hangs"
        return result[0]

    class At:
        def __init__(self, number):
            self.number, self.seen = number, 0

        def __call__(self, frame, event, argument):
            if frame.f_code.co_filename not in (threads.__file__, in_use.__file__):
                return None
            frame.f_trace_opcodes = True
            self.seen += 1
            if self.seen == self.number:
                raise KeyboardInterrupt
            return self

    def interrupt(n_threads, free=2):
        "At every bytecode in turn, after which as many threads are free as before; how many bytecodes there were."
        number = 0
        while True:
            number += 1
            at = At(number)
            try:
                sys.settrace(at)
                try:
                    threads.launch(n_threads, abs)
                finally:
                    sys.settrace(None)
            except KeyboardInterrupt:
                pass
            else:
                return number
            assert in_another_thread(granted, 2) == free, number
            assert granted(2) == free, number
            assert threads.available() == numba.get_num_threads() == 2, number

    assert granted(2) == 2
    assert interrupt(1) > 10
    assert interrupt(2) > 30

    at_work, done = threading.Event(), threading.Event()
    other = threading.Thread(target=threads.launch, args=(1, lambda n_running: at_work.set() or done.wait()))
    other.start()
    at_work.wait()
    assert granted(2) == 1
    assert threads.available() == numba.get_num_threads() == 2
    assert interrupt(2, free=1) > 50
    done.set()
    other.join()
    assert granted(2) == 2
"""


def test_an_interrupt_at_any_bytecode_of_a_launch_leaves_no_thread_counted_as_busy(run_python):
    run_python(INTERRUPTED, NUMBA_NUM_THREADS="2")


# --------------------------------------------------------------------------------------------------- forked children

FORKED = """
    import os
    import numpy as np
    import bpkernel as bp

    X = np.random.default_rng(0).standard_normal((300, 1000)).astype("float32")
    small, large = bp.MLP((3, 2), random_state=0), bp.MLP((1000, 1000, 10), random_state=0)
    expected = {before}
    child = os.fork()
    if child == 0:
        y = large.predict(X[:{rows}])
        os._exit(0 if np.isfinite(y).all() else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""


@forks
@pytest.mark.parametrize(("before", "rows"), [("small.predict(X[:2, :3])", 300), ("large.predict(X[:1])", 1)])
def test_a_child_of_a_process_that_used_one_thread_only(run_python, before, rows):
    """The threading layer is started by then, whether it had work or not."""
    run_python(FORKED.replace("{before}", before).replace("{rows}", str(rows)), NUMBA_THREADING_LAYER="omp")


FORKED_ESTIMATOR = """
    import os, pickle
    import numba
    import numpy as np
    import bpkernel as bp

    X = np.random.default_rng(0).standard_normal((400, 64))
    estimator = bp.MLPRegressor(hidden_layer_sizes=(200, 100), random_state=0, max_iter=3, tol=0, {parameters})
    estimator.fit(X, X[:, 0])
    assert estimator._held._batches[1].n_threads == 2  # else there is nothing to see
    read, write = os.pipe()
    child = os.fork()
    estimator.{train}(X, X[:, 0])
    if child == 0:
        y = pickle.loads(os.read(read, 1 << 16))
        os._exit(0 if np.array_equal(estimator.predict(X), y) and np.array_equal(estimator.predict(X[:1]), y[:1]) else 1)
    os.write(write, pickle.dumps(estimator.predict(X)))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    print("alive", numba.threading_layer())
"""


@forks
@pytest.mark.usefixtures("gnu_openmp")
@pytest.mark.parametrize(("train", "parameters"), [("partial_fit", ""), ("fit", "warm_start=True")])
def test_a_forked_child_trains_an_estimator_that_was_trained_before(run_python, train, parameters):
    """In the child under OpenMP on one thread, in its parent on two, with the same result."""
    program = FORKED_ESTIMATOR.format(train=train, parameters=parameters)
    result = run_python(program, NUMBA_THREADING_LAYER="omp", NUMBA_NUM_THREADS="2")
    assert result.stdout.split()[-2:] == ["alive", "omp"]
