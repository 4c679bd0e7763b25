"""scikit-learn's private methods: its own tests pass, and each method works on an estimator with attributes set by hand."""

import itertools
import re
import subprocess
import sys

import numpy as np
import pytest
import sklearn.neural_network as original
from sklearn.preprocessing import LabelBinarizer

import bpkernel as bp

RUN_THEIR_TESTS = """
import sys
import bpkernel.sklearn
import pytest
bpkernel.sklearn.patch()
status = pytest.main(sys.argv[1:])
from sklearn.neural_network.tests import test_mlp
assert test_mlp.MLPClassifier is bpkernel.MLPClassifier
assert test_mlp.MLPRegressor is bpkernel.MLPRegressor
sys.exit(status)
"""


def test_scikit_learns_own_tests_of_its_estimators_pass(tmp_path):
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    options = ["-c", str(tmp_path / "pytest.ini"), "--rootdir", str(tmp_path), "-p", "no:cacheprovider", "--tb=short"]
    run = [sys.executable, "-c", RUN_THEIR_TESTS, *options, "--pyargs", "sklearn.neural_network.tests.test_mlp"]
    done = subprocess.run(run, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None
    assert int(passed[1]) > 50


# ------------------------------------------------------------------------------------------- on a bare estimator, without fit

N_SAMPLES, N_INPUTS, N_HIDDEN = 13, 3, 5
X = np.random.default_rng(0).normal(size=(N_SAMPLES, N_INPUTS))
WEIGHT = np.linspace(0.5, 2, N_SAMPLES)
# estimator, loss, output activation, outputs
KINDS = [
    ("MLPClassifier", "log_loss", "softmax", 3),
    ("MLPClassifier", "log_loss", "logistic", 1),
    ("MLPRegressor", "squared_error", "identity", 2),
    ("MLPRegressor", "poisson", "exp", 1),
]


class Bare:
    """An estimator of one of the KINDS with coefficients set by hand, and what its private methods are called with."""

    def __init__(self, module, kind, loss, out_activation, n_outputs):
        rng = np.random.default_rng(1)
        self.sizes = [N_INPUTS, N_HIDDEN, n_outputs]
        self.e = e = getattr(module, kind)(hidden_layer_sizes=(N_HIDDEN,), activation="tanh", alpha=0.1, max_iter=3, tol=0.0)
        e.loss, e.out_activation_, e.n_layers_ = loss, out_activation, len(self.sizes)
        e.coefs_ = [rng.normal(size=shape) for shape in itertools.pairwise(self.sizes)]
        e.intercepts_ = [rng.normal(size=n) for n in self.sizes[1:]]
        self.theta = np.concatenate([array.ravel() for array in e.coefs_ + e.intercepts_])
        ends = np.cumsum([array.size for array in e.coefs_ + e.intercepts_]).tolist()
        spans = list(itertools.pairwise([0, *ends]))
        e._coef_indptr = [(*span, w.shape) for span, w in zip(spans, e.coefs_, strict=False)]
        e._intercept_indptr = spans[len(e.coefs_) :]
        e._random_state = np.random.RandomState(0)
        if kind == "MLPClassifier":
            self.labels = 1 + rng.permutation(N_SAMPLES) % max(2, n_outputs)
            e._label_binarizer = LabelBinarizer().fit(self.labels)
            self.y = e._label_binarizer.transform(self.labels).astype(float)
        else:
            self.labels = self.y = rng.uniform(0.5, 2, (N_SAMPLES, n_outputs))

    def lists(self):
        """Activations, deltas and gradients, as scikit-learn's `_fit` makes them."""
        none = [None] * (len(self.sizes) - 1)
        shapes = itertools.pairwise(self.sizes)
        return [X, *none], [*none], [np.empty(shape) for shape in shapes], [np.empty(n) for n in self.sizes[1:]]

    def trained(self, method, *arguments):
        """The estimator's state after one of the methods that fit it."""
        e = self.e
        e.t_, e.loss_curve_, e.best_loss_, e._no_improvement_count = 0, [], np.inf, 0
        with pytest.warns(match=r"(?i)iterations"):
            getattr(e, method)(X, self.y, None, *self.lists(), self.sizes, *arguments)
        return e.loss_, e.n_iter_, e.coefs_, e.intercepts_

    def predicted(self, X, **options):
        """What `_predict` gives; scikit-learn's classifier asks for `n_outputs_`."""
        self.e.n_outputs_ = self.sizes[-1]
        return self.e._predict(X, **options)

    def scored(self, labels, weight=None):
        self.e.n_outputs_ = self.sizes[-1]
        return self.e._score(X, labels, weight)

    def unpacked(self):
        """The outputs after `_unpack`, which must be of the new coefficients."""
        before = self.e._forward_pass_fast(X, check_input=False)
        self.e._unpack(2 * self.theta)
        return before, self.e._forward_pass_fast(X, check_input=False), self.e.coefs_

    def initialised(self):
        self.e._initialize(self.y, self.sizes, np.float32)
        return self.e.coefs_, self.e.intercepts_, self.e.n_outputs_, self.e.out_activation_

    def one_layers_gradient(self):
        coef_grads, intercept_grads = [None], [None]
        self.e._compute_loss_grad(0, N_SAMPLES, [X], [np.ones((N_SAMPLES, N_HIDDEN))], coef_grads, intercept_grads)
        return coef_grads, intercept_grads

    def gradient_by_name(self):
        names = "activations", "deltas", "coef_grads", "intercept_grads"
        scratch = dict(zip(names, self.lists(), strict=True))
        return self.e._loss_grad_lbfgs(self.theta, X=X, y=self.y, sample_weight=None, **scratch)


METHODS = {
    "_forward_pass": lambda b: b.e._forward_pass(b.lists()[0])[1:],
    "_forward_pass_fast": lambda b: b.e._forward_pass_fast(X),
    "_forward_pass_fast without checks": lambda b: b.e._forward_pass_fast(X, check_input=False),
    "_backprop": lambda b: b.e._backprop(X, b.y, None, *b.lists()),
    "_backprop of weights": lambda b: b.e._backprop(X, b.y, WEIGHT, *b.lists()),
    "_compute_loss_grad": Bare.one_layers_gradient,
    "_unpack": Bare.unpacked,
    "_loss_grad_lbfgs": lambda b: b.e._loss_grad_lbfgs(1.1 * b.theta, X, b.y, None, *b.lists()),
    "_loss_grad_lbfgs of weights": lambda b: b.e._loss_grad_lbfgs(b.theta, X, b.y, WEIGHT, *b.lists()),
    "_loss_grad_lbfgs by name": Bare.gradient_by_name,
    "_initialize": Bare.initialised,
    "_init_coef": lambda b: b.e._init_coef(2, 3, np.float64),
    "_fit_lbfgs": lambda b: b.trained("_fit_lbfgs"),
    "_fit_stochastic": lambda b: b.trained("_fit_stochastic", False),
    "_predict": lambda b: b.predicted(X),
    "_predict without checks": lambda b: b.predicted(X, check_input=False),
    "_score": lambda b: b.scored(b.labels),
    "_score of weights": lambda b: b.scored(b.labels, WEIGHT),
    "_score of a list": lambda b: b.scored(b.labels.tolist()),
}


def flat(result):
    """The arrays and numbers of nested lists and tuples, in order."""
    if isinstance(result, (list, tuple)):
        return [item for part in result for item in flat(part)]
    return [result]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: f"{kind[0]}-{kind[2]}")
@pytest.mark.parametrize("name", METHODS)
def test_private_methods_work_on_a_bare_estimator(name, kind):
    found, expected = (flat(METHODS[name](Bare(module, *kind))) for module in (bp, original))
    assert any(np.any(value) for value in expected if not isinstance(value, str))
    assert len(found) == len(expected)
    for mine, theirs in zip(found, expected, strict=True):
        if isinstance(theirs, str):
            assert mine == theirs
        else:
            np.testing.assert_allclose(mine, theirs, rtol=1e-9, atol=1e-12)


def test_score_refuses_too_few_labels():
    """One label is not compared with every prediction."""
    for module in (bp, original):
        bare = Bare(module, *KINDS[0])
        with pytest.raises(ValueError, match="inconsistent numbers of samples"):
            bare.scored(bare.labels[:1])
