"""The warmup: kernels are compiled ahead of their first use."""


def compiled(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*.nb?")}


USES = """
    import warnings
    import numpy as np
    from scipy.sparse import csr_array
    import bpkernel as bp
    warnings.simplefilter("ignore")
    X, T = np.random.default_rng(0).uniform(0, 1, (2, 300, 70))
    for hidden in ("identity", "logistic", "tanh", "relu"):
        for output, loss in (("identity", "squared_error"), ("exp", "poisson"), ("logistic", "binary_cross_entropy")):
            net = bp.MLP((70, 70, 70), hidden, output, loss)
            net.fit(X, T, epochs=1, optimizer=bp.SGD())
            net.fit(X, T, epochs=1, validation_data=(X, T))
            net.predict(X)
            net.backprop(X, T)
            net.as_njit()(X[0], np.empty(70))
    X = X * (X > 0.7)
    for sizes in ((1, 1), (70, 3, 20, 100, 1), (70, 40, 33, 2)):
        net = bp.MLP(sizes, output_activation="softmax" if sizes[-1] == 2 else "identity")
        net.fit(X[:, : sizes[0]], T[:, : sizes[-1]], epochs=1, batch_size=5)
        net.predict(X[:1, : sizes[0]])
    for form in (np.asarray, csr_array):
        bp.MLPClassifier(max_iter=1).fit(form(X.astype("f4")), T[:, 0] > 0.5).predict(form(X.astype("f4")))
        bp.MLPClassifier(max_iter=1).fit(form(X.astype("f4")), T[:, 0] // 0.3)
        bp.MLPRegressor(max_iter=1, solver="lbfgs", loss="poisson").fit(form(X.astype("f4")), T[:, 0])
"""


def test_nothing_is_left_to_compile_after_a_warmup(tmp_path, run_python):
    """The kernels of a net of any kind are then in the cache: a net that uses them adds nothing to it."""
    warm_up = "import sys; sys.argv = ['bpkernel', 'warmup', '--dtype', 'float32']; import bpkernel.__main__ as m; m.main()"
    assert "cached in" in run_python(warm_up, BPKERNEL_CACHE_DIR=str(tmp_path)).stdout
    kept = compiled(tmp_path)
    assert len(kept) > 50
    run_python(USES, BPKERNEL_CACHE_DIR=str(tmp_path))
    assert compiled(tmp_path) == kept
