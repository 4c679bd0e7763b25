"""Derivatives of random nets beside JAX: python tests/compare_jax_derivatives.py --graphs 200.

In float64 every derivative that a net computes is compared with that of the same function in JAX: `grad`, `vmap(grad)`,
`jacrev`, `hessian`, `jvp` of `grad`, and the Gauss-Newton matrix made of `jacrev` and `hessian`.  Nets of more parameters than
MOST are left out, and others take their place.  The test suite compares a few nets where JAX is installed.
"""

import jax
import jax.numpy as jnp
import numpy as np
from compare_jax import ACTIVATIONS, LOSSES, params_of, run, sums_of
from random_graphs import random_graph

from bpkernel.functions.losses import BY_NAME

BOUND = 1e-10  # of the difference, relative to the largest number
MOST = 600


def distance(found, expected):
    """The largest difference, relative to the largest number."""
    expected = np.asarray(expected)
    assert found.shape == expected.shape, (found.shape, expected.shape)
    size = abs(expected).max()
    return abs(found - expected).max() / size if size > 0 else abs(found).max()


def functions_of(graph, net):
    """The pre-activations of the outputs as a function of (parameters, inputs of a sample), and the output activation."""
    shapes = [[block.shape for block in own] for own in params_of(net)]

    def pre_activations(p, x):
        params, start = [], 0
        for own in shapes:
            params.append([])
            for shape in own:
                n = int(np.prod(shape))
                params[-1].append(p[start : start + n].reshape(shape))
                start += n
        return sums_of(graph, params, x[None])[-1][0]

    return pre_activations, lambda a: ACTIVATIONS[graph.g[-1]](a[None])[0]


def compare(seed):
    """The distance of each derivative of a random net in float64; None if it has too many parameters."""
    graph = random_graph(seed)._replace(dtype="float64")
    net = graph.net()
    if len(net.parameters) > MOST:
        return None
    X, T, s = graph.data()
    of_a, g = functions_of(graph, net)

    def y_of(p, x):
        return g(of_a(p, x))

    def error_of_y(y, t):
        return LOSSES[graph.loss](y[None], t[None]).sum()

    def e(p, x, t):
        return error_of_y(y_of(p, x), t)

    def total(p):
        return (s * jax.vmap(e, (None, 0, 0))(p, X, T)).sum()

    p = jnp.array(net.parameters)
    rng = np.random.default_rng(seed)
    v = rng.standard_normal(len(p))

    @jax.jit
    def all_of(p):
        J = jax.vmap(jax.jacrev(y_of), (None, 0))(p, X)
        if BY_NAME.get(graph.loss) is not None and BY_NAME[graph.loss].canonical == graph.g[-1]:
            J_s = jax.vmap(jax.jacrev(of_a), (None, 0))(p, X)
            A = jax.vmap(of_a, (None, 0))(p, X)
            curved = jax.vmap(jax.hessian(lambda a, t: error_of_y(g(a), t)))(A, T)
        else:
            J_s, curved = J, jax.vmap(jax.hessian(error_of_y))(jax.vmap(y_of, (None, 0))(p, X), T)
        return (
            jax.grad(total)(p),
            jax.vmap(jax.grad(e), (None, 0, 0))(p, X, T),
            jax.vmap(jax.grad(e, 1), (None, 0, 0))(p, X, T),
            jax.vmap(jax.jacrev(y_of, 1), (None, 0))(p, X),
            J,
            jax.jvp(jax.grad(total), (p,), (v,))[1],
            jax.hessian(total)(p),
            jnp.einsum("nkp,n,nkl,nlq->pq", J_s, s, curved, J_s),
        )

    gradient, gradients, of_inputs, jacobian, J, product, H, G = all_of(p)
    mean, variance = net.gradient_moments(X, T)
    found = {
        "gradient": distance(net.gradient(X, T, s), gradient),
        "per-sample": distance(net.per_sample_gradients(X, T), gradients),
        "norms": distance(net.per_sample_gradient_norms(X, T), jnp.linalg.norm(gradients, axis=1)),
        "mean": distance(mean, gradients.mean(axis=0)),
        "variance": distance(variance, gradients.var(axis=0)),
        "input gradient": distance(net.input_gradient(X, T), of_inputs),
        "jacobian": distance(net.jacobian(X), jacobian),
        "parameter jacobian": distance(net.parameter_jacobian(X), J),
        "hvp": distance(net.hvp(X, T, v, s), product),
        "hessian": distance(net.hessian(X, T, s), H),
        "hessian diagonal": distance(net.hessian_diagonal(X, T, s), jnp.diag(H)),
        "Gauss-Newton": distance(net.gauss_newton(X, T, s), G),
        "Gauss-Newton diagonal": distance(net.gauss_newton_diagonal(X, T, s), jnp.diag(G)),
        "Gauss-Newton product": distance(net.gauss_newton_product(X, T, v, s), G @ v),
    }
    return graph, found


def main():
    run(compare, lambda name: BOUND, 200, __doc__)


if __name__ == "__main__":
    main()
