"""Derivatives of nets: beside the reference, beside one another, and the same bits in every way to compute them."""

import copy
import tracemalloc

import numba
import numpy as np
import pytest
from random_graphs import OWN_LOSSES, random_graph

import bpkernel as bp
from bpkernel import differentiator, gradient_check, reference, reference_second_order
from bpkernel.kernels import differentials, operands, per_sample
from bpkernel.runtime.threads import launch

SEEDS = range(0, 40, 2)
METHODS = {  # what each gives for (net, X, T, s, v)
    "gradient": lambda net, X, T, s, v: net.gradient(X, T, s),
    "per_sample_gradients": lambda net, X, T, s, v: net.per_sample_gradients(X, T),
    "per_sample_gradient_norms": lambda net, X, T, s, v: net.per_sample_gradient_norms(X, T),
    "gradient_moments": lambda net, X, T, s, v: np.stack(net.gradient_moments(X, T)),
    "input_gradient": lambda net, X, T, s, v: net.input_gradient(X, T),
    "jacobian": lambda net, X, T, s, v: net.jacobian(X),
    "parameter_jacobian": lambda net, X, T, s, v: net.parameter_jacobian(X),
    "hvp": lambda net, X, T, s, v: net.hvp(X, T, v, s),
    "gauss_newton": lambda net, X, T, s, v: net.gauss_newton(X, T, s),
    "gauss_newton_diagonal": lambda net, X, T, s, v: net.gauss_newton_diagonal(X, T, s),
    "gauss_newton_product": lambda net, X, T, s, v: net.gauss_newton_product(X, T, v, s),
}
OF_EACH = [name for name in METHODS if name.startswith("per_sample") or "jacobian" in name or name == "input_gradient"]


def by_layer(net, v):
    """A vector of parameters in the form of the reference: for each layer the rows of biases and weights, gains and shifts."""
    network = net._network
    params = np.zeros(network.layout.n_params)
    network.layout.assign(params, v)
    weights, biases = network.layout.weights(params), network.layout.biases(params)
    norms = zip(network.layout.gains(params), network.layout.shifts(params), strict=True)
    norms, rows = dict(zip(net._made_of.normalised, norms, strict=True)), []
    for target, b in enumerate(biases, start=1):
        own = [w for w, (_, to) in zip(weights, net.connections, strict=True) if to == target]
        rows.append(np.vstack([b, *own, *norms.get(target, ())]).tolist())
    return rows


def of_reference(name):
    if name not in OWN_LOSSES:
        return name
    error, slope, curvature = OWN_LOSSES[name]
    return (*reference.each(error, slope), reference_second_order.each(curvature))


def parameters_of(net):
    return np.concatenate([block.ravel() for block in (*net.weights, *net.biases, *net.gains, *net.shifts)])


def present_in(net):
    """Which parameters are present, as a vector of bool."""
    masks = [net.masks.get(pair, np.ones(w.shape, bool)) for pair, w in zip(net.connections, net.weights, strict=True)]
    others = *net.biases, *net.gains, *net.shifts
    return np.concatenate([mask.ravel() for mask in (*masks, *(np.ones(len(b), bool) for b in others))])


def test_parameters_are_the_weights_and_biases_in_order():
    net = random_graph(6).net()
    assert net.gains
    expected = parameters_of(net)
    np.testing.assert_array_equal(net.parameters, expected)
    new = np.random.default_rng(0).standard_normal(len(expected)).astype(net.dtype)
    net.parameters = new
    np.testing.assert_array_equal(net.parameters, parameters_of(net))
    np.testing.assert_array_equal(net.parameters, np.where(present_in(net), new, 0))


def test_parameters_of_a_wrong_shape_or_value_are_refused():
    net = bp.MLP((2, 3, 1), random_state=0)
    before = net.parameters
    with pytest.raises(ValueError, match=r"parameters must have shape \(13,\), one number for each weight and each bias"):
        net.parameters = np.zeros(12)
    with pytest.raises(ValueError, match="finite"):
        net.parameters = np.full(13, np.nan)
    np.testing.assert_array_equal(net.parameters, before)


@pytest.mark.parametrize("seed", SEEDS)
def test_hessian_vector_products_are_those_of_the_reference(seed):
    graph = random_graph(seed)._replace(dtype="float64")
    net, (X, T, s) = graph.net(), graph.data(5)
    v = np.random.default_rng(seed).standard_normal(len(net.parameters))
    found = by_layer(net, net.hvp(X, T, v, s))
    v[~present_in(net)] = 0  # as it counts
    layers, direction = gradient_check.reference_net(net), by_layer(net, v)
    of_each = [
        reference_second_order.hessian_vector_product(layers, of_reference(graph.loss), x, t, direction)
        for x, t in zip(X.tolist(), T.tolist(), strict=True)
    ]
    masks = by_layer(net, present_in(net))
    size = max(np.abs(rows).max() for rows in found)
    assert size > 0 or graph.loss in ("quantile", "absolute_error", "hinge")
    for l, rows in enumerate(found):
        expected = sum(s_n * np.array(product[l]) for s_n, product in zip(s, of_each, strict=True))
        np.testing.assert_allclose(rows, expected * masks[l], rtol=0, atol=1e-11 * max(size, 1e-3))


def test_the_r_operator_of_the_reference_agrees_with_differences_of_its_gradient():
    rng = np.random.default_rng(0)
    shapes = ((4, 5), (6, 2))
    w, v = ([rng.standard_normal(shape) for shape in shapes] for _ in range(2))
    x, t, h = [0.3, -1.0, 0.7], [0.2, 0.8], 1e-5
    cases = ("tanh", "softmax", "cross_entropy"), ("gelu", "mean_variance", "gaussian_nll"), ("silu", "logistic", "focal")
    for g, output, loss in cases:
        t_of = t[:1] if loss == "gaussian_nll" else t

        def gradient(step, g=g, output=output, loss=loss, t_of=t_of):
            net = [((a + step * b).tolist(), name) for a, b, name in zip(w, v, (g, output), strict=True)]
            return reference.backprop(net, loss, x, t_of)[4]

        net = [(a.tolist(), name) for a, name in zip(w, (g, output), strict=True)]
        found = reference_second_order.hessian_vector_product(net, loss, x, t_of, [b.tolist() for b in v])
        for high, low, product in zip(gradient(h), gradient(-h), found, strict=True):
            assert np.any(product)
            np.testing.assert_allclose(product, (np.array(high) - low) / (2 * h), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("seed", SEEDS)
def test_derivatives_agree_with_one_another(seed):
    graph = random_graph(seed)
    net, (X, T, s) = graph.net(), graph.data(13)
    if len(net.parameters) > 3000:
        pytest.skip("many parameters")
    eps = np.finfo(net.dtype).eps * 300

    def close(found, expected):
        np.testing.assert_allclose(found, expected, rtol=0, atol=eps * max(abs(expected).max(), 1e-30))

    r = net.backprop(X, T)
    close(net.gradient(X, T), np.concatenate([block.ravel() for block in (*r.dw, *r.db, *r.dgains, *r.dshifts)]))
    each = net.per_sample_gradients(X, T)
    assert each.any()
    close(s @ each, net.gradient(X, T, s))
    close(net.per_sample_gradient_norms(X, T), np.linalg.norm(each, axis=1))
    mean, variance = net.gradient_moments(X, T)
    close(mean, each.mean(axis=0))
    np.testing.assert_allclose(variance, each.var(axis=0), rtol=0, atol=eps * (each**2).max())
    rng = np.random.default_rng(seed)
    v = rng.standard_normal((len(net.parameters), 2))
    G, products = net.gauss_newton(X, T, s), net.gauss_newton_product(X, T, v, s)
    close(products, G @ v)
    close(np.diag(G), net.gauss_newton_diagonal(X, T, s))
    np.testing.assert_array_equal(G, G.T)
    if len(net.parameters) < 400:
        H = net.hessian(X, T, s)
        close(net.hvp(X, T, v, s), H @ v)
        close(net.hessian_diagonal(X, T, s), np.diag(H))
        assert np.abs(H - H.T).max() == 0
    absent = ~present_in(net)
    for of_parameters in (each, net.parameter_jacobian(X), G, products.T, np.stack([mean, variance])):
        assert not of_parameters[..., absent].any()


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("layer_norm", [False, True])
def test_the_number_of_threads_does_not_change_a_bit(name, dtype, layer_norm):
    rng = np.random.default_rng(0)
    own = {"connections": "all", "layer_norm": layer_norm}
    net = bp.MLP((17, 33, 9, 5), ["gelu", "tanh"], "softmax", "cross_entropy", dtype, 0, **own)
    X, T, s = rng.standard_normal((1500, 17)), rng.integers(0, 5, 1500), rng.uniform(0, 2, 1500)
    v = rng.standard_normal(len(net.parameters))
    n = numba.get_num_threads()
    found = []
    try:
        for n_threads in (1, 2):
            numba.set_num_threads(min(n_threads, n))
            found.append(METHODS[name](net, X, T, s, v))
    finally:
        numba.set_num_threads(n)
    assert found[0].any()
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize("name", OF_EACH)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("layer_norm", [False, True])
def test_a_row_alone_has_the_bits_that_it_has_in_a_batch(name, dtype, masked, layer_norm):
    rng = np.random.default_rng(1)
    masks = {(0, 1): rng.random((7, 200)) < 0.03, (1, 2): rng.random((200, 5)) < 0.5} if masked else None
    net = bp.MLP((7, 200, 5), "silu", "softmax", "cross_entropy", dtype, 0, masks=masks, layer_norm=layer_norm)
    X, T = rng.standard_normal((301, 7)), rng.integers(0, 5, 301)
    whole = METHODS[name](net, X, T, None, None)
    assert whole.any()
    for rows in (slice(0, 1), slice(5, 6), slice(290, 301), slice(100, 107)):
        np.testing.assert_array_equal(METHODS[name](net, X[rows], T[rows], None, None), whole[rows])


def test_wide_edges_are_computed_as_others_are(monkeypatch):
    rng = np.random.default_rng(2)
    net = bp.MLP((300, 500, 4), dtype="float64", random_state=0)
    assert net._network.layout.edges["wide"].any()
    X, T = rng.standard_normal((20, 300)), rng.standard_normal((20, 4))
    (w, u), (b, _) = net.weights, net.biases
    slopes = 1 - np.tanh(X @ w + b) ** 2
    np.testing.assert_allclose(net.jacobian(X), np.einsum("ij,nj,jk->nki", w, slopes, u), rtol=1e-10, atol=1e-12)
    v = rng.standard_normal(len(net.parameters))
    h = 1e-5
    products, before, gradients = net.hvp(X, T, v), net.parameters, []
    for sign in (1, -1):
        net.parameters = before + sign * h * v
        gradients.append(net.gradient(X, T))
    np.testing.assert_allclose(products, (gradients[0] - gradients[1]) / (2 * h), rtol=0, atol=1e-6 * abs(products).max())


@pytest.mark.parametrize("kind", ["GRADIENTS", "NORMS", "INPUTS"])
@pytest.mark.parametrize("n", [1, 5, 6, 7, 97])
def test_nothing_is_written_beside_the_result(kind, n):
    rng = np.random.default_rng(0)
    net = bp.MLP((3, 9, 2), random_state=0)
    samples = net._samples(rng.standard_normal((n, 3)).astype("float32"), rng.standard_normal((n, 2)))
    with net._differentiator() as d:
        d._compile()
        plan = d._plan(n, 1)
        width = {"GRADIENTS": len(net.parameters), "NORMS": 1, "INPUTS": 3}[kind]
        guarded = np.full((n + 8, width), 7.5, np.float32)
        none, out = np.empty(0, np.float32), guarded[4 : 4 + n]
        n_tasks = -(-n // (plan.units.n_samples // plan.n_threads))
        own = getattr(per_sample, kind), d._net, d._d, samples, plan, none, n_tasks, out
        launch(plan.n_threads, per_sample.per_sample, *own)
    assert (guarded[:4] == 7.5).all()
    assert (guarded[4 + n :] == 7.5).all()
    assert not (out == 7.5).any()


@pytest.mark.parametrize("layer_norm", [False, True])
def test_packed_memory_and_units_are_not_overrun(layer_norm):
    """Guard zones around all scratch memory of a Gauss-Newton product, of odd sizes."""
    rng = np.random.default_rng(0)
    net = bp.MLP((13, 31, 7), "tanh", dtype="float64", random_state=0, layer_norm=layer_norm)
    X, T, v = rng.standard_normal((101, 13)), rng.standard_normal((101, 7)), rng.standard_normal(len(net.parameters))
    expected = net.hvp(X, T, v)
    zones = []

    def guarded(n, dtype):
        memory = np.zeros(n + 128, dtype)
        start = -memory.ctypes.data % 64 // memory.itemsize + 64 // memory.itemsize
        memory[:start], memory[start + n :] = 3.25, 3.25
        zones.append((memory, start, n))
        return memory[start : start + n]

    net._network.for_derivatives.clear()
    with pytest.MonkeyPatch.context() as patch:
        for module in (differentiator, differentials, operands):
            patch.setattr(module, "aligned_zeros", guarded)
        np.testing.assert_array_equal(net.hvp(X, T, v), expected)
        net.gauss_newton(X, T)
        net.jacobian(X)
    assert len(zones) > 10
    for memory, start, n in zones:
        assert (memory[:start] == 3.25).all()
        assert (memory[start + n :] == 3.25).all()


def test_a_net_that_goes_on_training_is_differentiated_at_its_present_weights():
    rng = np.random.default_rng(0)
    net = bp.MLP((3, 5, 1), dtype="float64", random_state=0)
    X, T = rng.standard_normal((20, 3)), rng.standard_normal(20)
    first = net.hvp(X, T, net.parameters)
    net.fit(X, T, epochs=3)
    v = net.parameters
    np.testing.assert_array_equal(net.hvp(X, T, v), copy.deepcopy(net).hvp(X, T, v))
    assert (first != net.hvp(X, T, v)).any()
    net.prune(0.5)
    J = net.parameter_jacobian(X)
    assert not J[..., : 3 * 5 + 5][..., net.parameters[:20] == 0].any()
    np.testing.assert_array_equal(J, copy.deepcopy(net).parameter_jacobian(X))


def test_operators_work_with_scipy():
    from scipy.sparse.linalg import cg, eigsh

    rng = np.random.default_rng(0)
    net = bp.MLP((3, 5, 2), dtype="float64", random_state=0)
    X, T = rng.standard_normal((50, 3)), rng.standard_normal((50, 2))
    H, operator = net.hessian(X, T), net.hessian_operator(X, T)
    np.testing.assert_allclose(eigsh(operator, k=3, return_eigenvectors=False), np.linalg.eigvalsh(H)[-3:], rtol=1e-8)
    np.testing.assert_allclose(operator @ np.eye(len(H)), H, atol=1e-10 * abs(H).max())
    G = net.gauss_newton(X, T)
    x, failed = cg(net.gauss_newton_operator(X, T), G @ np.ones(len(G)), rtol=1e-12, maxiter=2000)
    assert failed == 0
    np.testing.assert_allclose(G @ x, G @ np.ones(len(G)), rtol=1e-8, atol=1e-8)


def test_functions_without_second_derivatives_are_named():
    sine = bp.Activation(lambda a: np.sin(a), lambda a, z: np.cos(a), "a_sine")
    loss = bp.Loss(lambda y, t: (y - t) ** 4, lambda y, t: 4 * (y - t) ** 3, "a_fourth")
    X, T = np.ones((2, 3)), np.ones(2)
    net = bp.MLP((3, 4, 1), sine, random_state=0)
    v = net.parameters
    for call in (lambda: net.hvp(X, T, v), lambda: net.hessian(X, T), lambda: net.hessian_operator(X, T)):
        with pytest.raises(ValueError, match=r"second derivative of activation 'a_sine'.*g_second"):
            call()
    assert net.gauss_newton(X, T).any()
    net = bp.MLP((3, 4, 1), loss=loss, random_state=0)
    for call in (lambda: net.hvp(X, T, v), lambda: net.gauss_newton(X, T), lambda: net.laplace(X, T)):
        with pytest.raises(ValueError, match=r"that of loss 'a_fourth'.*curvature"):
            call()
    assert net.per_sample_gradients(X, T).any()


def test_exceptions_of_own_functions_come_through_and_leave_the_net_usable():
    def g_second(a, z):
        if a > 2:
            raise ValueError("too steep")
        return -z

    sine = bp.Activation(lambda a: np.sin(a), lambda a, z: np.cos(a), "b_sine", g_second=g_second, check=False)
    net = bp.MLP((1, 1, 1), sine, dtype="float64", random_state=0)
    net.parameters = [1, 1, 0, 0]
    v = np.ones(4)
    with pytest.raises(ValueError, match="too steep"):
        net.hvp([[3.0]], [0.0], v)
    y = np.sin(1.0)
    hvp = net.hvp([[1.0]], [0.0], v)  # E = ½ (u sin(w x + b) + c)²
    slope = np.array([np.cos(1), y, np.cos(1), 1])
    outer = np.array([[-y, np.cos(1), -y, 0], [np.cos(1), 0, np.cos(1), 0], [-y, np.cos(1), -y, 0], [0, 0, 0, 0]])
    np.testing.assert_allclose(hvp, (np.outer(slope, slope) + y * outer) @ v, rtol=1e-12)


def test_wrong_vectors_are_refused():
    net = bp.MLP((2, 2), random_state=0)
    X, T = np.ones((3, 2)), np.ones((3, 2))
    for v in (np.ones(5), np.ones((7, 2)), np.ones((6, 2, 1))):
        with pytest.raises(ValueError, match=r"v must have shape \(6,\) or \(6, n_vectors\), as the net has 6 parameters"):
            net.hvp(X, T, v)
    with pytest.raises(ValueError, match=r"X must have shape \(n_samples, 2\)"):
        net.jacobian(np.ones((3, 5)))
    with pytest.raises(ValueError, match="sample_weight must not be negative"):
        net.gradient(X, T, [-1, 1, 1])


def test_memory_of_norms_does_not_grow_with_the_gradients():
    net = bp.MLP((50, 200, 10), random_state=0)
    X, T = np.ones((2000, 50), np.float32), np.ones((2000, 10), np.float32)
    net.per_sample_gradient_norms(X, T)
    tracemalloc.start()
    net.per_sample_gradient_norms(X, T)
    net.gradient_moments(X, T)
    net.gauss_newton_product(X, T, net.parameters)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20e6  # the gradients of all samples would take 2000 · 12 210 · 4 = 98 MB
