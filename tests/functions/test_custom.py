"""Activations and losses of users: what is accepted, what is refused, and where they are used."""

import copy
import functools
import math
import pickle
import types

import numba
import numpy as np
import pytest

import bpkernel as bp

X = np.random.default_rng(0).standard_normal((60, 4))
T = np.sin(X[:, :2]) + X[:, 2:]


def softplus(a):
    return max(a, 0.0) + math.log1p(math.exp(-abs(a)))


def activation(g=softplus, g_prime=lambda a, z: 1 - math.exp(-z), name="mine", **more):
    return bp.Activation(g, g_prime, name, **more)


def loss(error=lambda y, t: 0.5 * (y - t) ** 2, slope=lambda y, t: y - t, name="mine", **more):
    return bp.Loss(error, slope, name, **more)


ALIKE = {
    "softplus": activation(),
    "silu": activation(lambda a: a / (1 + math.exp(-a)), lambda a, z: (lambda s: s + z * (1 - s))(1 / (1 + math.exp(-a)))),
    "relu": activation(lambda a: max(a, 0), lambda a, z: 1 if a > 0 else 0),
    "gelu": activation(
        numba.njit(lambda a: 0.5 * a * (1 + math.erf(a / math.sqrt(2)))),
        lambda a, z: 0.5 * (1 + math.erf(a / math.sqrt(2))) + a * math.exp(-a * a / 2) / math.sqrt(2 * math.pi),
    ),
    "hard_tanh": activation(lambda a: -1 if a < -1 else 1 if a > 1 else a, lambda a, z: float(-1 < a < 1)),
}
LOSSES = {
    "squared_error": loss(),
    "huber": loss(
        lambda y, t: 0.5 * (y - t) ** 2 if abs(y - t) <= 1 else abs(y - t) - 0.5, lambda y, t: min(max(y - t, -1), 1)
    ),
    "absolute_error": loss(lambda y, t: abs(y - t), lambda y, t: float(np.sign(y - t))),
    "log_cosh": loss(lambda y, t: np.log(np.cosh(y - t)), numba.njit(lambda y, t: np.tanh(y - t))),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ALIKE)
def test_an_activation_trains_like_the_built_in_one(name, dtype):
    nets = [bp.MLP((4, 9, 7, 2), g, dtype=dtype, random_state=0, init="he_normal") for g in (name, ALIKE[name])]
    losses = [net.fit(X, T, 20, 16, bp.Adam(0.01)).loss for net in nets]
    assert losses[0][-1] < 0.5 * losses[0][0]
    np.testing.assert_allclose(*losses, rtol=2e4 * np.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_trains_like_the_built_in_one(name, dtype):
    nets = [bp.MLP((4, 9, 2), loss=own, dtype=dtype, random_state=0) for own in (name, LOSSES[name])]
    losses = [net.fit(X, T, 20, 16, bp.Adam(0.01)).loss for net in nets]
    assert losses[0][-1] < 0.7 * losses[0][0]
    np.testing.assert_allclose(*losses, rtol=2e4 * np.finfo(dtype).eps)
    np.testing.assert_allclose(nets[0].loss(X, T), nets[1].loss(X, T), rtol=2e4 * np.finfo(dtype).eps)


def test_one_of_the_outputs_too():
    net = bp.MLP((4, 9, 2), output_activation=activation(values="positive"), loss="poisson", random_state=0)
    history = net.fit(X, np.abs(T), 50, 16, bp.Adam(0.01))
    assert history.loss[-1] < 0.6 * history.loss[0]
    assert (net.predict(X) > 0).all()
    assert net.output_activation.name == "mine"


def test_kinks_are_said():
    assert activation().kinks == ()
    assert ALIKE["relu"].kinks == (0.0,)
    assert ALIKE["hard_tanh"].kinks == (-1.0, 1.0)
    assert (0.3, 0.3) in LOSSES["absolute_error"].kinks
    assert LOSSES["huber"].kinks == ()


def jump(a):
    return a if a < 0.123 else a + 0.5


def half(a):
    return a * a if a > 0 else float("nan")


def two(a):
    return a, a


REFUSED = [
    (lambda: activation(g_prime=lambda a, z: math.exp(-z)), ValueError, r"g_prime is not the derivative of g: at a = .* it is"),
    (
        lambda: activation(lambda a: a * a, lambda a, z: 2 * a if a != 2.5 else 7.0),
        ValueError,
        r"at a = 2.5 it is 7, .* are 5, a",
    ),
    (lambda: activation(lambda a: a * a, lambda a, z: a), ValueError, r"a difference of .*; .* of 2161 places are wrong"),
    (lambda: activation(jump, lambda a, z: 1.0), ValueError, r"continuous; at a = 0.123 it jumps from 0.123 to 0.623"),
    (lambda: activation(half, lambda a, z: 2 * a), ValueError, r"g\(-30\) is nan; it must be finite"),
    (lambda: activation(two), TypeError, r"must return a real number; got \(-30.0, -30.0\)"),
    (lambda: activation(lambda a: None), TypeError, r"must return a real number; got None"),
    (lambda: activation(lambda a: a * 1j), TypeError, r"must return a real number"),
    (lambda: activation(lambda a: np.array([a])), TypeError, r"must return a real number"),
    (lambda: activation(3.0), TypeError, r"g must be a function"),
    (lambda: activation(functools.partial(max, 0.0)), TypeError, r"g must be a function.*write a function that calls it"),
    (
        lambda: loss(lambda y, t: float(y > t), lambda y, t: 0.0),
        ValueError,
        r"error must be continuous; at y = .*, t = -2.5 it",
    ),
    (lambda: activation(g_prime=None), TypeError, r"g_prime must be a function"),
    (lambda: activation(check="no"), TypeError, r"check must be True or False"),
    (lambda: activation(name=None), TypeError, r"name of an activation must be a string"),
    (lambda: activation(name="tanh"), ValueError, r"'tanh' is built in"),
    (lambda: activation(name=" "), ValueError, r"is empty"),
    (lambda: activation(values="probability"), ValueError, r"values is 'probability', but g\(.*\) is"),
    (lambda: activation(values="any"), ValueError, r"values must be one of real, positive, probability"),
    (lambda: activation(lambda a: float(str(a)), lambda a, z: 1.0), TypeError, r"activation 'mine': Numba cannot compile"),
    (lambda: activation(lambda a: a // 1 * 0 + a, lambda a, b, c: 1.0), TypeError, r"missing 1 required positional"),
    (lambda: loss(slope=lambda y, t: t - y), ValueError, r"slope is not the derivative of error: at y = .*, t = -2.5 it is"),
    (lambda: loss(lambda y, t: math.log(y)), ValueError, r"math domain error|expected a positive input"),
    (lambda: loss(lambda y, t: "a"), TypeError, r"error\(-5, -2.5\) must return a real number; got 'a'"),
    (lambda: loss(outputs="any"), ValueError, r"outputs must be one of real, positive, probability"),
    (lambda: loss(targets="any"), ValueError, r"targets must be one of real, non_negative, positive, probability, sign"),
    (lambda: loss(name="huber"), ValueError, r"'huber' is built in"),
    (lambda: loss(error=None), TypeError, r"error must be a function"),
]


@pytest.mark.parametrize(("make", "kind", "message"), REFUSED)
def test_what_is_no_activation_or_loss_is_refused_when_it_is_made(make, kind, message):
    with pytest.raises(kind, match=message):
        make()


def test_an_exception_of_the_check_is_that_of_the_function_with_its_place():
    def g(a):
        if a > 5:
            raise KeyError("too large")
        return a

    with pytest.raises(KeyError, match="too large") as raised:
        activation(g, lambda a, z: 1.0)
    if hasattr(raised.value, "__notes__"):
        assert raised.value.__notes__ == ["raised by activation 'mine': g(5.01), while the function was checked"]


def test_without_check_anything_goes_until_it_is_compiled():
    wrong = activation(g_prime=lambda a, z: 7.0, check=False)
    bp.MLP((4, 3, 2), wrong).fit(X, T, 1)
    with pytest.raises(TypeError, match="activation 'mine': Numba cannot compile"):
        bp.MLP((4, 3, 2), activation(lambda a: print(a, end=3), check=False)).predict(X)


class Overflow(Exception):
    pass


def limited(a):
    if a > 40:
        raise Overflow("a is too large", 40)
    return a


@pytest.mark.parametrize("n_samples", [1, 4, 300])
@pytest.mark.parametrize("sizes", [(4, 3, 2), (4, 40, 40, 2)])
def test_an_exception_of_a_function_reaches_the_user(sizes, n_samples):
    """From every thread; a failed fit leaves the net as it was, and the next call works."""
    net = bp.MLP(sizes, activation(limited, lambda a, z: 1.0, check=True), random_state=0)
    X = np.random.default_rng(0).standard_normal((n_samples, 4))
    T = X[:, :2]
    before, far = [w.copy() for w in net.weights], X.copy()
    far[-1] = 1e4
    optimizer = bp.Adam()
    for call in (
        lambda: net.predict(far),
        lambda: net.loss(far, T),
        lambda: net.backprop(far, T),
        lambda: net.fit(far, T, optimizer=optimizer),
    ):
        with pytest.raises(Overflow) as raised:
            call()
        assert raised.value.args == ("a is too large", 40)
    assert optimizer.snapshot() is None
    for w, kept in zip(net.weights, before, strict=True):
        np.testing.assert_array_equal(w, kept)
    assert np.isfinite(net.predict(X)).all()
    assert net.fit(X, T, 2).loss[1] > 0


@pytest.mark.parametrize("which", ["g_prime", "error", "slope"])
def test_exceptions_of_derivatives_and_losses_reach_the_user_too(which):
    def at_most_40(a, b):
        if abs(a) > 40:
            raise Overflow
        return 1.0 if which == "g_prime" else a - b if which == "slope" else 0.5 * (a - b) ** 2

    own = {"activation": activation(lambda a: a, at_most_40)} if which == "g_prime" else {"loss": loss(**{which: at_most_40})}
    net = bp.MLP((4, 3, 2), **own, random_state=0)
    net.fit(X, T, 1)
    net.biases[0 if which == "g_prime" else 1][:] = 50
    with pytest.raises(Overflow):
        net.fit(X, T, 1)
    with pytest.raises(Overflow):
        net.backprop(X, T)


def test_a_function_that_is_redefined_is_another_one():
    """As in a notebook: the same name, another body."""
    y = []
    for scale in (1.0, 2.0, 1.0):
        own = activation(lambda a, scale=scale: scale * a, lambda a, z, scale=scale: scale)
        net = bp.MLP((4, 2), output_activation=own, random_state=0)
        y.append(net.predict(X))
    np.testing.assert_array_equal(y[0], y[2])
    np.testing.assert_allclose(y[1], 2 * y[0], rtol=1e-6)


SCALE = 3.0


def scaled(a):
    return SCALE * math.tanh(a)


def slope_of_scaled(a, z):
    return SCALE - z * z / SCALE


def calls_scaled(a):
    return scaled(a)


@pytest.mark.parametrize("g", [scaled, calls_scaled, numba.njit(scaled)])
def test_variables_keep_the_value_of_when_the_activation_was_made(g, monkeypatch):
    """In every dtype, whenever it is compiled, and for equality."""
    first = activation(g, slope_of_scaled)
    monkeypatch.setitem(globals(), "SCALE", 5.0)
    second = activation(g, slope_of_scaled)
    assert first != second
    for dtype in ("float32", "float64"):
        y = [bp.MLP((4, 2), output_activation=own, dtype=dtype, random_state=0).predict(X) for own in (first, second)]
        np.testing.assert_allclose(y[0] / 3, y[1] / 5, rtol=1e-5)
        assert 1 < abs(y[0]).max() < 3


def base(a):
    return math.tanh(a)


def with_line(a):
    return base(a) + 0.1 * a


def composed(inner, outer):
    return activation(lambda a: outer(inner(a)), lambda a, z: 0.0, check=False)


def test_functions_that_are_referred_to_twice_are_told_apart():
    first, second = composed(with_line, with_line), composed(with_line, base)
    assert first != second
    y = [bp.MLP((1, 1), output_activation=own, dtype="float64", init="zeros") for own in (first, second)]
    for net in y:
        net.biases[0][:] = 3
    assert [net.predict([[0.0]]).item() for net in y] == pytest.approx([with_line(with_line(3)), base(with_line(3))])


def module_of(source):
    module = types.ModuleType("of_users")
    exec(source, module.__dict__)
    return module


@pytest.mark.parametrize(
    "source", ["K = {}\ndef f(a): return K * a", "def f(a): return {} * a", "def h(a): return {} * a\ndef f(a): return h(a)"]
)
def test_functions_of_modules_keep_what_they_were_and_are_told_apart(source):
    """Also when another dtype is compiled later, and when the module has changed meanwhile."""
    of_users = module_of(source.format(2.0))
    make = lambda: activation(lambda a: of_users.f(a), lambda a, z: z / a if a != 0 else 2.0, check=False)  # noqa: E731
    first = make()
    of_users.__dict__.update(module_of(source.format(7.0)).__dict__)
    second = make()
    assert first != second
    for dtype in ("float64", "float32"):
        for own, factor in ((first, 2), (second, 7)):
            net = bp.MLP((1, 1), output_activation=own, dtype=dtype, init="zeros")
            net.biases[0][:] = 3
            assert net.predict([[0.0]]).item() == 3 * factor


def test_arrays_keep_what_they_held():
    table = (np.array([1.0, 2.0]), 3.0)
    own = activation(lambda a: table[0][1] * a, lambda a, z: table[0][1])
    table[0][:] = 9
    net = bp.MLP((1, 1), output_activation=own, init="zeros")
    net.biases[0][:] = 3
    assert net.predict([[0.0]]).item() == 6


def test_copies_are_the_activation_itself_whatever_has_changed(monkeypatch):
    own = activation(scaled, slope_of_scaled)
    net = bp.MLP((4, 2), output_activation=own, random_state=0)
    monkeypatch.setitem(globals(), "SCALE", 5.0)
    assert copy.copy(own) is own
    assert copy.deepcopy(own) is own
    np.testing.assert_array_equal(copy.deepcopy(net).predict(X), net.predict(X))
    assert pickle.loads(pickle.dumps(ALIKE_WITH_KINK)).kinks == (0.0,)


def relu(a):
    return max(a, 0.0)


def slope_of_relu(a, z):
    return 1.0 if a > 0 else 0.0


ALIKE_WITH_KINK = activation(relu, slope_of_relu)


def test_constants_that_float32_does_not_hold_are_not_0():
    entropy = loss(
        lambda y, t: -t * math.log(max(y, 1e-300)),
        lambda y, t: -t / max(y, 1e-300),
        outputs="probability",
        targets="probability",
    )
    net = bp.MLP((1, 1), output_activation="logistic", loss=entropy, init="zeros")
    net.biases[0][:] = -200
    assert net.loss([[0.0]], [[1.0]]) == pytest.approx(-math.log(1e-300), rel=1e-6)
    assert net.loss([[0.0]], [[0.0]]) == 0


def test_only_units_are_computed_by_functions_that_may_raise():
    """Not the zeros between the rows of units."""

    def positive(a):
        def check(x):
            if x <= 0:
                raise ValueError("not positive")

        check(a)
        return a

    net = bp.MLP((1, 3, 1), activation(positive, lambda a, z: 1.0, check=False), init="zeros")
    net.biases[0][:] = 5
    assert net.predict([[1.0]]).item() == 0
    net.biases[0][2] = -1
    with pytest.raises(ValueError, match="not positive"):
        net.predict([[1.0]])


def test_functions_of_the_math_module_can_be_passed_themselves():
    own = activation(math.tanh, lambda a, z: 1 - z * z)
    nets = [bp.MLP((4, 3, 2), g, random_state=0, init="glorot_uniform") for g in ("tanh", own)]
    np.testing.assert_array_equal(nets[0].predict(X), nets[1].predict(X))
    assert activation(np.sin, lambda a, z: math.cos(a)).kinks == ()


def test_equality_is_of_name_and_code():
    assert activation() == activation()
    assert hash(activation()) == hash(activation())
    assert activation() != activation(name="other")
    assert activation(lambda a: a, lambda a, z: 1.0) != activation(lambda a: 2 * a, lambda a, z: 2.0)
    assert loss() == loss()
    assert loss() != loss(targets="positive")
    assert activation() != loss()


def test_a_net_with_functions_of_module_level_is_pickled_and_copied(monkeypatch):
    own = bp.Activation(softplus, _slope_of_softplus, "mine")
    net = bp.MLP((4, 3, 2), own, random_state=0)
    for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        np.testing.assert_array_equal(other.predict(X), net.predict(X))
        assert other.activation == net.activation
    assert pickle.loads(pickle.dumps(loss(_error, _slope, "mine", targets="positive"))).targets == "positive"


def _slope_of_softplus(a, z):
    return 1 - math.exp(-z)


def _error(y, t):
    return (y - t) ** 2


def _slope(y, t):
    return 2 * (y - t)


def test_the_targets_of_a_loss_are_checked():
    positive = loss(lambda y, t: (y - t) ** 2 / t, lambda y, t: 2 * (y - t) / t, targets="positive")
    net = bp.MLP((4, 2), loss=positive)
    with pytest.raises(ValueError, match="T must be greater than 0 for mine; got values from"):
        net.fit(X, T)
    assert np.isfinite(net.loss(X, np.abs(T) + 0.1))
    with pytest.raises(ValueError, match=r"not defined for all outputs of output_activation 'identity'; use .*'softplus'"):
        bp.MLP((4, 2), loss=loss(lambda y, t: math.log(y), lambda y, t: 1 / y, outputs="positive"))


PROGRAM = """
    import math
    import numba.core.compiler
    import numpy as np
    n_compiled = 0
    compile_extra = numba.core.compiler.CompilerBase.compile_extra
    def count(self, *arguments):
        global n_compiled
        n_compiled += 1
        return compile_extra(self, *arguments)
    numba.core.compiler.CompilerBase.compile_extra = count
    import bpkernel as bp
    mine = bp.Activation(
        g=lambda a: max(a, 0.0) + math.log1p(math.exp(-abs(a))), g_prime=lambda a, z: 1 - math.exp(-z), name="mine"
    )
    huber = bp.Loss(
        error=lambda y, t: 0.5 * (y - t) ** 2 if abs(y - t) <= 2 else 2 * (abs(y - t) - 1),
        slope=lambda y, t: min(max(y - t, -2), 2), name="my_huber",
    )
    net = bp.MLP((4, 9, 1), activation=mine, loss=huber, random_state=0)
    X = np.random.default_rng(0).standard_normal((50, 4))
    net.fit(X, X[:, 0], epochs=2)
    print(n_compiled, net.loss(X, X[:, 0]), *net.predict(X[:2]).ravel())
"""


def test_a_second_process_compiles_nothing(run_python, tmp_path):
    first, second, third = (run_python(PROGRAM, BPKERNEL_CACHE_DIR=str(tmp_path)).stdout.split() for _ in range(3))
    assert int(first[0]) > 20
    assert int(second[0]) == int(third[0]) == 0
    assert first[1:] == second[1:] == third[1:]
