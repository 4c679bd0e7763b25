"""`MLP.as_njit`: nets that are called from functions compiled by Numba."""

import copy
import gc
import multiprocessing
import os
import pickle
import re
import threading
from itertools import pairwise

import numba
import numpy as np
import pytest
from numba.core.caching import NullCache
from numba.core.errors import TypingError
from numba.core.runtime import _nrt_python, rtsys

import bpkernel as bp
from bpkernel.codegen.jit import kernel
from bpkernel.codegen.precision import PRECISIONS
from bpkernel.functions.activations import BY_NAME as ACTIVATIONS
from bpkernel.functions.losses import BY_NAME as LOSSES
from bpkernel.kernels import one_row
from bpkernel.network import Network

DTYPES = ["float32", "float64"]
SIZES = [1, 7, 8, 9, 15, 16, 17, 31]  # also a vector of either dtype, and one more or less


@numba.njit
def each_row(predict, X, Y):
    for n in range(X.shape[0]):
        predict(X[n], Y[n])


@numba.njit(parallel=True)
def each_row_in_parallel(predict, X, Y):
    for n in numba.prange(X.shape[0]):
        predict(X[n], Y[n])


def inputs(n_samples, n_inputs, dtype="float32", seed=0):
    return np.random.default_rng(seed).standard_normal((n_samples, n_inputs)).astype(dtype)


def outputs(predict, X, n_outputs, dtype="float32"):
    Y = np.full((len(X), n_outputs), np.nan, dtype)
    each_row(predict, X, Y)
    return Y


# ------------------------------------------------------------------------------------------------------------ numbers


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", SIZES)
def test_a_chain_gives_the_bits_of_predict_and_writes_nothing_else(n, dtype):
    net = bp.MLP((n, 33, n, 64, n), ["tanh", "relu", "logistic"], dtype=dtype, random_state=n)
    X, predict = inputs(5, n, dtype), net.as_njit()
    expected = net.predict(X)
    assert abs(expected).max() > 0.01
    around = np.full((5, n + 40), -7, dtype)
    each_row(predict, X, around[:, 20 : 20 + n])
    np.testing.assert_array_equal(around[:, 20 : 20 + n], expected)
    assert (around[:, :20] == -7).all()
    assert (around[:, 20 + n :] == -7).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("sizes", "output", "loss"),
    [
        ((30, 64, 64, 1), "identity", "squared_error"),
        ((4, 16, 3), "softmax", "cross_entropy"),
        ((3, 2), "exp", "poisson"),
        ((5, 1008, 2032, 1), "logistic", "binary_cross_entropy"),  # rows of units that would be a multiple of a page
        ((300, 200, 150), "tanh", "squared_error"),
    ],
)
def test_other_nets_give_the_bits_of_predict(sizes, output, loss, dtype):
    net = bp.MLP(sizes, output_activation=output, loss=loss, dtype=dtype, random_state=0)
    X = inputs(7, sizes[0], dtype)
    expected = net.predict(X)
    assert abs(expected).max() > 0.01
    np.testing.assert_array_equal(outputs(net.as_njit(), X, sizes[-1], dtype), expected)


class ReadsA:
    """An activation whose a is kept."""

    name = "square"
    needs_a = True

    @staticmethod
    def forward(z, row, first, n):
        for j in range(z.size):
            z[j] *= z[j]

    vjp = ACTIVATIONS["identity"].vjp


GRAPHS = {
    "two branches": ((5, 7, 9, 3), [(0, 1), (0, 2), (1, 3), (2, 3)]),
    "inputs to outputs": ((9, 17, 2), [(0, 1), (0, 2), (1, 2)]),
    "all to all": ((4, 16, 31, 8, 40), [(source, target) for target in range(1, 5) for source in range(target)]),
    "a chain": ((6, 15, 7, 4), list(pairwise(range(4)))),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("graph", GRAPHS)
def test_a_graph_gives_the_bits_of_its_outputs(graph, dtype):
    sizes, pairs = GRAPHS[graph]
    activations = [ACTIVATIONS["tanh"], *[ReadsA] * (len(sizes) - 3), ACTIVATIONS["softmax"]]
    network = Network(sizes, activations, LOSSES["cross_entropy"], np.dtype(dtype), pairs)
    network.params[:] = 0
    for w in (*network.weights, *network.biases):
        w[:] = inputs(*np.atleast_2d(w).shape, dtype).reshape(w.shape) / (4 * np.sqrt(w.size / w.shape[-1]))
    X = inputs(6, sizes[0], dtype)
    expected = network.outputs(X)
    assert len(np.unique(expected)) > 6
    np.testing.assert_array_equal(outputs(network.as_njit(), X, sizes[-1], dtype), expected)


@pytest.mark.parametrize("dtype", DTYPES)
def test_arrays_may_be_of_either_dtype_and_strided_and_inputs_read_only(dtype):
    net = bp.MLP((9, 8, 3), dtype=dtype, random_state=0)
    predict = net.as_njit()
    for x_dtype in DTYPES:
        X = inputs(1, 9, x_dtype)
        expected = net.predict(X)[0]
        x = X[0]
        strided = np.repeat(x, 3)[::3]
        backwards = np.ascontiguousarray(x[::-1])[::-1]
        read_only = x.copy()
        read_only.flags.writeable = False
        for array in (x, strided, backwards, read_only):
            for y_dtype in DTYPES:
                around = np.full(8, -7, y_dtype)
                for y in (around[2:5], around[1:7:2], around[6:0:-2]):
                    around[:] = -7
                    predict(array, y)
                    np.testing.assert_array_equal(y, expected.astype(y_dtype))
                    assert (around == -7).sum() == 5
    predict(np.broadcast_to(x[:1], 9), y)
    np.testing.assert_array_equal(y, net.predict(np.repeat(x[:1], 9)[None])[0].astype(y.dtype))


def test_y_may_be_x():
    net = bp.MLP((5, 8, 5), random_state=0)
    x = inputs(1, 5)
    expected = net.predict(x)
    net.as_njit()(x[0], x[0])
    np.testing.assert_array_equal(x, expected)


def test_a_value_that_is_not_finite_reaches_the_outputs():
    y = np.zeros(2, "f4")
    bp.MLP((3, 4, 2), random_state=0).as_njit()(np.array([0, np.nan, 0]), y)
    assert np.isnan(y).all()


# ------------------------------------------------------------------------------------------------- weights and lifetime


def test_weights_are_live():
    net = bp.MLP((3, 8, 2), random_state=0)
    X = inputs(20, 3)
    predict = net.as_njit()
    before = outputs(predict, X, 2)
    net.fit(X, X[:, :2], epochs=5)
    fitted = outputs(predict, X, 2)
    assert not np.array_equal(fitted, before)
    np.testing.assert_array_equal(fitted, net.predict(X))
    net.weights[1][:] = 0
    net.biases[1][:] = 3
    assert (outputs(predict, X, 2) == 3).all()
    with pytest.raises(FloatingPointError):  # the weights of before are restored
        net.fit(X, 1e30 * X[:, :2], optimizer=bp.SGD(1e30))
    assert (outputs(predict, X, 2) == 3).all()


def test_a_net_has_one_function_and_is_kept_once():
    net = bp.MLP((2, 3, 1), random_state=0)
    n_kept = len(one_row.KEPT)
    assert net.as_njit() is net.as_njit()
    assert len(one_row.KEPT) == n_kept + 1


def test_copies_have_functions_of_their_own():
    net = bp.MLP((2, 3, 1), random_state=0)
    X, predict = inputs(4, 2), net.as_njit()
    expected = net.predict(X)
    for other in (copy.copy(net), copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert other.as_njit() is not predict
        np.testing.assert_array_equal(outputs(other.as_njit(), X, 1), expected)
        other.weights[0][:] = 0
        assert not np.array_equal(outputs(other.as_njit(), X, 1), expected)
        np.testing.assert_array_equal(outputs(predict, X, 1), expected)


def test_a_function_outlives_its_net():
    net = bp.MLP((30, 64, 1), random_state=0)
    X = inputs(4, 30)
    expected, predict = net.predict(X), net.as_njit()
    del net
    gc.collect()
    others = [np.full(10_000, np.nan, "f4") for _ in range(100)]  # would take the memory of the net if it were free
    np.testing.assert_array_equal(outputs(predict, X, 1), expected)
    assert len(others) == 100


def test_a_net_too_wide_for_the_stack_is_refused():
    with pytest.raises(ValueError, match="more than the 262144"):
        bp.MLP((70_000, 1)).as_njit()
    net = bp.MLP((60_000, 1), random_state=0)
    X = inputs(1, 60_000)
    np.testing.assert_array_equal(outputs(net.as_njit(), X, 1), net.predict(X))


def test_nothing_is_compiled_for_nets_that_are_not_called():
    net = bp.MLP((2, 3, 1), random_state=0)
    n_kept = len(one_row.KEPT)
    net.predict([[0, 0]])
    assert len(one_row.KEPT) == n_kept
    assert "_predict" not in vars(net._network)


# ------------------------------------------------------------------------------------------------------------- callers


def test_from_parallel_loops():
    net = bp.MLP((5, 40, 3), random_state=0)
    X = inputs(3000, 5)
    Y = np.zeros((3000, 3), "f4")
    each_row_in_parallel(net.as_njit(), X, Y)
    np.testing.assert_array_equal(Y, net.predict(X))


def test_from_several_threads():
    net = bp.MLP((5, 40, 3), random_state=0)
    X, predict = inputs(3000, 5), net.as_njit()
    expected, found = net.predict(X), np.zeros((4, 3000, 3), "f4")

    @numba.njit(nogil=True)
    def fill(Y):
        for _ in range(20):
            each_row(predict, X, Y)

    fill(found[0])
    threads = [threading.Thread(target=fill, args=(Y,)) for Y in found[1:]]
    threads += [threading.Thread(target=lambda: [predict(X[n], np.zeros(3, "f4")) for n in range(500)])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for Y in found:
        np.testing.assert_array_equal(Y, expected)


def test_two_nets_in_one_function():
    first, second = (bp.MLP((3, 8, 2), random_state=seed) for seed in (0, 1))
    f, g = first.as_njit(), second.as_njit()

    @numba.njit
    def both(x):
        y = np.zeros((2, 2), np.float32)
        f(x, y[0])
        g(x, y[1])
        return y

    X = inputs(1, 3)
    y = both(X[0])
    np.testing.assert_array_equal(y, np.concatenate([first.predict(X), second.predict(X)]))
    assert not np.array_equal(y[0], y[1])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_in_a_forked_child():
    net = bp.MLP((5, 40, 3), random_state=0)
    X, predict = inputs(30, 5), net.as_njit()
    expected = net.predict(X)
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()

    def child():
        found = outputs(predict, X, 3)
        again = outputs(pickle.loads(pickle.dumps(predict)), X, 3)
        queue.put(np.array_equal(found, expected) and np.array_equal(again, expected))

    process = context.Process(target=child)
    process.start()
    process.join(120)
    assert process.exitcode == 0
    assert queue.get()


CACHED = """
    import sys
    import numpy as np
    import numba
    import bpkernel as bp

    size = int(sys.argv[1])  # another one gives the net another place in memory
    unused = np.ones(size)
    net = bp.MLP((3, 8, 2), random_state=size)
    predict = net.as_njit()

    @numba.njit(cache=True)
    def direct(x, y):
        predict(x, y)

    @numba.njit(cache=True)
    def passed(function, x, y):
        function(x, y)

    @numba.njit(cache=True)
    def calls_another(x, y):
        direct(x, y)

    @numba.njit(cache=True, parallel=True)
    def parallel(X, Y):
        for n in numba.prange(len(X)):
            predict(X[n], Y[n])

    def closure(function):
        @numba.njit(cache=True)
        def call(x, y):
            function(x, y)
        return call

    @numba.njit(cache=True)
    def without(x):
        return x + 1

    X = np.random.default_rng(0).standard_normal((6, 3)).astype("f4")
    Y = np.zeros((6, 2), "f4")
    direct(X[0], Y[0])
    passed(predict, X[1], Y[1])
    calls_another(X[2], Y[2])
    closure(predict)(X[3], Y[3])
    parallel(X[4:], Y[4:])
    assert np.array_equal(Y, net.predict(X)), Y
    without(1)
    print(sum(without.stats.cache_hits.values()), "right")
"""


def test_functions_with_cache_true_are_right_in_a_second_process(run_python, tmp_path):
    path = tmp_path / "program.py"
    path.write_text("\n".join(line[4:] for line in CACHED.splitlines()))
    run = "import runpy, sys; runpy.run_path(sys.argv.pop(1))"
    for hits, size in enumerate((10, 1_000_000)):
        result = run_python(run, str(path), str(size), NUMBA_CACHE_DIR=str(tmp_path / "numba"))
        assert result.stdout == f"{hits} right\n"
        for name in ("direct", "passed", "calls_another", "call", "parallel"):
            assert f'Cannot cache compiled function "{name}" as it uses dynamic globals' in result.stderr
        assert "without" not in result.stderr


def test_another_process_refuses_the_function(run_python):
    predict = bp.MLP((2, 3, 1), random_state=0).as_njit()
    assert pickle.loads(pickle.dumps(predict)) is predict
    program = """
        import pickle, sys
        try:
            pickle.loads(bytes.fromhex(sys.argv[1]))
        except RuntimeError as error:
            print(error)
    """
    assert "cannot be sent to another one" in run_python(program, pickle.dumps(predict).hex()).stdout


# --------------------------------------------------------------------------------------------------- errors and memory


@numba.njit
def call(predict, x, y):
    predict(x, y)


@pytest.mark.parametrize("caller", [call, lambda predict, x, y: predict(x, y)], ids=["compiled", "Python"])
def test_wrong_sizes_raise_an_error_with_the_sizes(caller):
    predict, y = bp.MLP((3, 4, 1), random_state=0).as_njit(), np.full(1, -7.0)
    for n in (0, 2, 4):
        with pytest.raises(ValueError, match=f"^x must have 3 numbers, not {n}$"):
            caller(predict, np.zeros(n), y)
    for n in (0, 2):
        with pytest.raises(ValueError, match=f"^y must have 1 number, not {n}$"):
            caller(predict, np.zeros(3), np.zeros(n))
    assert y == -7


@pytest.mark.parametrize("x", [np.zeros((1, 3)), np.zeros(3, int), (0.0, 0.0, 0.0), 1.0, np.zeros(3, "f2")])
def test_wrong_types_raise_an_error_when_the_caller_is_compiled(x):
    predict, y = bp.MLP((3, 4, 2), random_state=0).as_njit(), np.zeros(2)
    with pytest.raises(TypingError, match="x must be a one-dimensional array of float32 or float64, not"):
        call(predict, x, y)


def test_outputs_must_be_writeable():
    predict, y = bp.MLP((3, 4, 2), random_state=0).as_njit(), np.zeros(2)
    y.flags.writeable = False
    with pytest.raises(TypingError, match="y must be a writeable one-dimensional array of float32 or float64, not"):
        call(predict, np.zeros(3), y)


def test_a_call_takes_no_memory_and_counts_no_references():
    net = bp.MLP((30, 64, 64, 1), random_state=0)
    X, Y, predict = inputs(100, 30), np.zeros((100, 1), "f4"), net.as_njit()
    each_row(predict, X, Y)
    _nrt_python.memsys_enable_stats()
    before = rtsys.get_allocation_stats()
    each_row(predict, X, Y)
    after = rtsys.get_allocation_stats()
    _nrt_python.memsys_disable_stats()
    assert after.alloc - before.alloc == after.mi_alloc - before.mi_alloc == 2  # as any call from Python takes: X and Y
    predict(X[0], Y[0])
    for llvm in predict.inspect_llvm().values():
        function = re.search(r"^define [^@]*@_ZN8bpkernel\w+7predict.*?^}", llvm, re.DOTALL | re.MULTILINE)[0]
        assert "numba.dynamic.globals" in function
        assert not re.search("NRT_incref|NRT_decref|NRT_MemInfo|malloc|PyGILState", function)


def test_the_kernel_calls_nothing_of_numba_or_python():
    kernel_of_row = kernel(one_row.OUTPUTS_OF_ROW[PRECISIONS[0]])
    kernel_of_row._cache = NullCache()
    kernel_of_row.compile((numba.intp,) * 7)
    for asm in kernel_of_row.inspect_asm().values():
        assert len(re.findall(r"call\w*\s+\*|blr?\s+x", asm)) >= 2  # the sums and the activation, by pointer
        assert not re.search("NRT_|malloc|PyGILState|PyErr|numba_", asm)
