"""The posterior of the weights: beside NumPy, on data of known noise, and what may go wrong."""

import numpy as np
import pytest

import bpkernel as bp


def trained(n=400, noise=0.1, sizes=(1, 8, 1), dtype="float64", seed=0, alpha=0.01):
    """A net trained on a noisy sine, and its samples."""
    rng = np.random.default_rng(seed)
    X = rng.uniform(-1, 1, (n, sizes[0]))
    T = np.sin(3 * X[:, :1]) + noise * rng.standard_normal((n, 1))
    net = bp.MLP(sizes, dtype=dtype, random_state=seed)
    net.fit(X, T, epochs=100, optimizer=bp.LevenbergMarquardt(), alpha=alpha)
    return net, X, T


def test_the_posterior_is_that_of_numpy():
    net, X, T = trained()
    posterior = net.laplace(X, T)
    alpha, beta = posterior.prior_precision, posterior.noise_precision
    J = net.parameter_jacobian(X)[:, 0]
    A = beta * J.T @ J + alpha * np.eye(J.shape[1])
    covariance = np.linalg.inv(A)
    np.testing.assert_allclose(posterior.covariance(), covariance, rtol=1e-6, atol=1e-9 * abs(covariance).max())
    values = np.maximum(beta * np.linalg.eigvalsh(J.T @ J), 0)
    gamma = (values / (values + alpha)).sum()
    w, residuals = net.parameters, net.predict(X) - T
    assert posterior.n_effective == pytest.approx(gamma, rel=1e-6)
    assert alpha == pytest.approx(gamma / (w @ w), rel=1e-6)
    assert beta == pytest.approx((len(X) - gamma) / (residuals**2).sum(), rel=1e-6)
    log_evidence = -0.5 * alpha * w @ w - 0.5 * beta * (residuals**2).sum() - 0.5 * np.linalg.slogdet(A)[1]
    log_evidence += 0.5 * len(w) * np.log(alpha) + 0.5 * len(X) * np.log(beta / (2 * np.pi))
    assert posterior.log_evidence == pytest.approx(log_evidence, rel=1e-9)
    new = np.linspace(-2, 2, 11)[:, None]
    y, std = posterior.predict(new, return_std=True)
    g = net.parameter_jacobian(new)[:, 0]
    np.testing.assert_array_equal(y, net.predict(new))
    np.testing.assert_allclose(std[:, 0] ** 2, np.einsum("np,pq,nq->n", g, covariance, g) + 1 / beta, rtol=1e-7)
    _, without = posterior.predict(new, return_std=True, noise=False)
    np.testing.assert_allclose(without**2, std**2 - 1 / beta, rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(posterior.output_covariance(new)[:, 0, 0], without[:, 0] ** 2, rtol=1e-9)


@pytest.mark.parametrize("noise", [0.05, 0.2, 0.5])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_evidence_procedure_finds_the_noise(noise, dtype):
    net, X, T = trained(n=2000, noise=noise, dtype=dtype)
    assert net.laplace(X, T).noise_precision == pytest.approx(noise**-2, rel=0.1)


def test_error_bars_widen_where_data_are_absent():
    rng = np.random.default_rng(0)
    X = np.concatenate([rng.uniform(-1, -0.3, 60), rng.uniform(0.3, 1, 60)])[:, None]
    T = np.sin(3 * X) + 0.1 * rng.standard_normal(X.shape)
    net = bp.MLP((1, 10, 1), dtype="float64", random_state=0)
    net.fit(X, T, epochs=200, optimizer=bp.LevenbergMarquardt(), alpha=0.01)
    _, std = net.laplace(X, T).predict([[-0.6], [0.0], [0.6], [2.5]], return_std=True, noise=False)
    left, gap, right, far = std[:, 0]
    assert gap > 1.1 * max(left, right)
    assert far > 3 * max(left, right)


@pytest.mark.parametrize("noise", [0.05, 0.1, 0.3])
def test_intervals_contain_new_targets_as_often_as_they_should(noise):
    net, X, T = trained(n=500, noise=noise)
    rng = np.random.default_rng(100)
    new = rng.uniform(-1, 1, (4000, 1))
    targets = np.sin(3 * new) + noise * rng.standard_normal(new.shape)
    y, std = net.laplace(X, T).predict(new, return_std=True)
    assert 0.9 <= (abs(targets - y) < 1.96 * std).mean() <= 0.98


def test_the_evidence_prefers_the_net_that_generalises():
    evidence = {}
    for hidden in (1, 4, 40):
        net, X, T = trained(n=60, sizes=(1, hidden, 1))
        evidence[hidden] = net.laplace(X, T).log_evidence
    assert evidence[4] > evidence[1] + 5
    assert evidence[4] > evidence[40]


@pytest.mark.parametrize("curvature", ["gauss_newton", "hessian"])
@pytest.mark.parametrize("structure", ["full", "layer", "diagonal"])
def test_structures_are_blocks_of_the_whole(curvature, structure):
    net, X, T = trained(sizes=(2, 4, 1))
    fixed = {"prior_precision": 0.5, "noise_precision": 90.0}
    posterior = net.laplace(X, T, curvature=curvature, structure=structure, **fixed)
    H = net.gauss_newton(X, T) if curvature == "gauss_newton" else net.hessian(X, T)
    layer = np.repeat([1, 2, 1, 2], [8, 4, 4, 1])
    together = {"full": np.ones(H.shape, bool), "layer": layer[:, None] == layer, "diagonal": np.eye(len(H), dtype=bool)}
    values, vectors = np.linalg.eigh(np.where(together[structure], H, 0))
    positive = (vectors * np.maximum(values, 0)) @ vectors.T  # negative curvatures count as 0
    expected = np.linalg.inv(90 * positive + 0.5 * np.eye(len(H)))
    np.testing.assert_allclose(posterior.covariance(), expected, rtol=1e-6, atol=1e-8)
    assert (posterior.prior_precision, posterior.noise_precision) == (0.5, 90.0)
    assert posterior.sample(3, 0).shape == (3, 17)


def test_samples_have_the_covariance_and_absent_weights_stay_0():
    net, X, T = trained(sizes=(2, 3, 1))
    net.prune(0.3)
    posterior = net.laplace(X, T, prior_precision=1.0, noise_precision=100.0)
    drawn = posterior.sample(20_000, np.random.default_rng(0))
    absent = net.parameters == 0
    assert absent.sum() == 3
    assert not drawn[:, absent].any()
    scale = np.sqrt(np.diag(posterior.covariance()))[~absent]
    expected = posterior.covariance()[np.ix_(~absent, ~absent)] / np.outer(scale, scale)
    np.testing.assert_allclose(np.cov(drawn[:, ~absent].T) / np.outer(scale, scale), expected, atol=0.05)
    np.testing.assert_array_equal(posterior.sample(2, 7), posterior.sample(2, 7))


def test_drawn_functions_have_the_deviations_that_predict_gives():
    net, X, T = trained(n=60, sizes=(1, 6, 1))
    posterior, new = net.laplace(X, T), np.linspace(-1.5, 1.5, 7)[:, None]
    drawn = posterior.sample_outputs(new, 20_000, 0)
    y, std = posterior.predict(new, return_std=True, noise=False)
    assert drawn.shape == (20_000, 7, 1)
    np.testing.assert_allclose(drawn.std(axis=0), std, rtol=0.03)
    np.testing.assert_allclose(drawn.mean(axis=0), y, atol=0.03 * std.max())


def test_classification_has_a_prior_and_no_noise():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((200, 2))
    T = (X[:, 0] + 0.5 * rng.standard_normal(200) > 0).astype(int)
    net = bp.MLP((2, 5, 2), output_activation="softmax", loss="cross_entropy", dtype="float64", random_state=0)
    net.fit(X, T, epochs=100, optimizer=bp.LevenbergMarquardt(), alpha=0.1)
    posterior = net.laplace(X, T)
    assert posterior.noise_precision == 1
    _, std = posterior.predict([[0.0, 0.0], [5.0, 0.0]], return_std=True)
    np.testing.assert_allclose(std[:, 0], std[:, 1])  # y_0 = 1 - y_1
    assert (std > 0).all()


def test_the_posterior_keeps_the_net_that_it_was_made_of():
    net, X, T = trained()
    posterior = net.laplace(X, T)
    before = posterior.predict(X[:3], return_std=True)
    net.parameters = net.parameters * 2
    np.testing.assert_array_equal(before, posterior.predict(X[:3], return_std=True))


def test_what_is_wrong_is_refused():
    net, X, T = trained(n=10)
    with pytest.raises(ValueError, match="prior_precision must be a number greater than 0"):
        net.laplace(X, T, prior_precision=0)
    with pytest.raises(ValueError, match="structure must be one of full, layer, diagonal"):
        net.laplace(X, T, structure="kron")
    with pytest.raises(ValueError, match="curvature must be one of gauss_newton, hessian"):
        net.laplace(X, T, curvature="fisher")
    posterior = net.laplace(X, T, noise_precision=100)
    with pytest.raises(ValueError, match="X must have shape"):
        posterior.predict(np.ones((2, 2)))
    with pytest.raises(TypeError, match="return_std must be True or False"):
        posterior.predict(X, "std")
    other = bp.MLP((1, 3, 2), output_activation="softmax", loss="cross_entropy", random_state=0)
    with pytest.raises(ValueError, match="noise_precision is for squared_error"):
        other.laplace(X, (T[:, 0] > 0).astype(int), noise_precision=3)
    with pytest.raises(ValueError, match="n must be an integer of at least 1"):
        posterior.sample(0)
    assert "LaplacePosterior(full, prior_precision=" in repr(posterior)
