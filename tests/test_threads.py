"""Results that do not depend on the threads, and a process that survives forks and concurrent launches."""

import ctypes
import os
import subprocess
import sys
import textwrap

import numba
import numpy as np
import pytest

import bpkernel as bp
from bpkernel import plan
from bpkernel.threads import load_tbb

SHAPES = [(5, 3), (1, 1, 1), (13, 31, 7), (64, 100, 10), (9, 17, 33, 65, 2), (90, 200, 150, 3)]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("sizes", SHAPES)
@pytest.mark.parametrize("n_samples", [50, 140])
def test_one_and_two_threads_give_the_same_bits(n_samples, sizes, dtype, monkeypatch):
    """Also of nets too small to be worth two threads, and with gradients summed in chunks, as where few weights are."""
    monkeypatch.setattr(plan, "WORTH_A_THREAD", 1)
    monkeypatch.setattr(plan, "WORTH_A_CHUNK", 10_000)
    if numba.config.NUMBA_NUM_THREADS < 2:
        pytest.skip("needs two threads")
    rng = np.random.default_rng(0)
    X, T = rng.standard_normal((157, sizes[0])), rng.standard_normal((157, sizes[-1]))
    results = []
    before = numba.get_num_threads()
    try:
        for n_threads in (1, 2):
            numba.set_num_threads(n_threads)
            net = bp.MLP(sizes, dtype=dtype, random_state=1)
            history = net.fit(X, T, epochs=3, batch_size=n_samples)
            r = net.backprop(X, T)
            results.append([*net.weights, *net.biases, *r.delta, *r.dw, net.predict(X), history.loss, net.loss(X, T)])
    finally:
        numba.set_num_threads(before)
    for one, two in zip(*results, strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_predictions_of_a_row_do_not_depend_on_the_others(dtype):
    net = bp.MLP((7, 33, 5), activation="relu", output_activation="softmax", loss="cross_entropy", dtype=dtype, random_state=0)
    X = np.random.default_rng(0).standard_normal((3000, 7))
    y = net.predict(X)
    for n in [*range(40), 1023, 1024, 1025, 2999]:
        np.testing.assert_array_equal(net.predict(X[n : n + 1])[0], y[n])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_deltas_of_a_row_do_not_depend_on_the_others(dtype):
    """Whether there are enough samples for transposed weights or not, Σ_k w_kj δ_k is summed in the order of k."""
    net = bp.MLP((7, 33, 40, 21), dtype=dtype, random_state=0)
    rng = np.random.default_rng(0)
    X, T = rng.standard_normal((40, 7)), rng.standard_normal((40, 21))
    whole = net.backprop(X, T)
    for first, last in ((0, 1), (3, 5), (5, 12), (12, 20), (20, 40)):
        part = net.backprop(X[first:last], T[first:last])
        for found, expected in zip(part.delta[1:], whole.delta[1:], strict=True):
            assert found.any()
            np.testing.assert_array_equal(found, expected[first:last])


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


def run(layer: str | None, fork: bool) -> list[str]:
    environment = {k: v for k, v in os.environ.items() if k != "NUMBA_THREADING_LAYER"}
    if layer:
        environment["NUMBA_THREADING_LAYER"] = layer
    program = textwrap.dedent(PROGRAM).replace("{fork}", repr(fork))
    result = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    return result.stdout.split()


def test_concurrent_fits_and_forked_children_survive_with_tbb():
    if not load_tbb():
        pytest.skip("needs TBB")
    assert run(None, fork=True)[-2:] == ["alive", "tbb"]  # after what TBB says where a joined thread has not quite ended


def test_concurrent_fits_survive_with_workqueue():
    assert run("workqueue", fork=False) == ["alive", "workqueue"]


INTERRUPTED = """
    import sys, threading
    import numba
    from bpkernel import threads

    def kernel():  # in place of a compiled one: the threads it may run on
        return numba.get_num_threads()

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
            if frame.f_code.co_filename != threads.__file__:
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
                    threads.launch(n_threads, kernel)
                finally:
                    sys.settrace(None)
            except KeyboardInterrupt:
                pass
            else:
                return number
            assert in_another_thread(threads.launch, 2, kernel) == free, number
            assert threads.launch(2, kernel) == free, number
            assert threads.available() == numba.get_num_threads() == 2, number

    assert threads.launch(2, kernel) == 2
    assert interrupt(1) > 10
    assert interrupt(2) > 30

    at_work, done = threading.Event(), threading.Event()
    other = threading.Thread(target=threads.launch, args=(1, lambda: at_work.set() or done.wait()))
    other.start()
    at_work.wait()
    assert threads.launch(2, kernel) == 1
    assert threads.available() == numba.get_num_threads() == 2
    assert interrupt(2, free=1) > 50
    done.set()
    other.join()
    assert threads.launch(2, kernel) == 2
"""


def test_an_interrupt_at_any_bytecode_of_a_launch_leaves_no_thread_counted_as_busy():
    environment = {**os.environ, "NUMBA_NUM_THREADS": "2"}
    command = [sys.executable, "-c", textwrap.dedent(INTERRUPTED)]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr


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


@pytest.mark.parametrize(("before", "rows"), [("small.predict(X[:2, :3])", 300), ("large.predict(X[:1])", 1)])
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_of_a_process_that_used_one_thread_only(before, rows):
    """The threading layer is started by then, whether it had work or not."""
    environment = {**os.environ, "NUMBA_THREADING_LAYER": "omp"}
    program = textwrap.dedent(FORKED).replace("{before}", before).replace("{rows}", str(rows))
    result = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr


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


@pytest.mark.parametrize(("train", "parameters"), [("partial_fit", ""), ("fit", "warm_start=True")])
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_trains_an_estimator_that_was_trained_before(train, parameters):
    """In the child under OpenMP on one thread, in its parent on two, with the same result."""
    try:
        ctypes.CDLL("libgomp.so.1")
    except OSError:
        pytest.skip("needs GNU OpenMP")
    program = textwrap.dedent(FORKED_ESTIMATOR).format(train=train, parameters=parameters)
    environment = {**os.environ, "NUMBA_THREADING_LAYER": "omp", "NUMBA_NUM_THREADS": "2"}
    command = [sys.executable, "-c", program]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    assert result.stdout.split()[-2:] == ["alive", "omp"]


def test_forked_children_do_without_the_threads_that_openmp_would_end_them_for():
    try:
        ctypes.CDLL("libgomp.so.1")
    except OSError:
        pytest.skip("needs GNU OpenMP")
    assert run("omp", fork=True) == ["alive", "omp"]
