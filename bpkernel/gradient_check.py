"""Comparison of the compiled kernels with the reference and with central differences.

For each quantity of a backward pass the reference starts from the numbers that the kernel started from: it computes a[l] from
the kernels' own z[l - 1], δ[l] from their δ[l + 1], and so on.  The difference is then the rounding error of a single step, for
which the arithmetic gives a bound: the error of a sum of m products is at most m eps Σ|terms| (Higham, *Accuracy and Stability
of Numerical Algorithms*, section 3.1), that of a function a few eps.  Errors are given in units in the last place (ulp), here
eps · Σ|terms|, so the bound is about the length of the sum.
"""

import itertools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from bpkernel import reference
from bpkernel.derivatives import Backprop
from bpkernel.functions.activations import HIDDEN, HiddenActivation, OutputActivation
from bpkernel.functions.losses import BY_NAME, LossName, outputs_for
from bpkernel.functions.optimizers import SGD, Adam, Optimizer
from bpkernel.mlp import MLP
from bpkernel.validation import FloatName

DTYPES: tuple[FloatName, ...] = ("float32", "float64")
SHAPES = ((1, 1), (16, 7), (1, 1, 1), (7, 16, 17), (31, 17, 1), (17, 7, 31, 16))
N_SAMPLES = 5
FUNCTION = 8  # ulps allowed for an exp, log or tanh and the few operations around it

DIFFERENCES = 1e-7  # relative difference allowed between the gradient and central differences, in float64
TRAJECTORY = 1e-9  # relative difference allowed between losses over ten epochs, in float64


class Case(NamedTuple):
    """One net to check."""

    sizes: tuple[int, ...]
    activation: HiddenActivation
    output_activation: OutputActivation
    loss: LossName
    dtype: FloatName


class Finding(NamedTuple):
    """The largest error of one quantity in one case, and its bound, both in ulps."""

    quantity: str
    case: Case
    ulps: float
    allowed: float

    @property
    def share(self) -> float:
        """The error divided by its bound; Inf if the error is NaN."""
        share = self.ulps / self.allowed
        return share if share == share else np.inf


def cases(dtypes: tuple[FloatName, ...] = DTYPES) -> Iterator[Case]:
    """Every combination of shape, hidden activation, loss, output activation that the loss is defined for, and dtype.

    The softmax of a single unit with binary_cross_entropy is left out.  Its output is always 1, and for log(1 - y) kernels and
    reference replace 0 by the smallest normal number of their dtypes, which differ for float32.
    """
    for dtype, loss, sizes in itertools.product(dtypes, BY_NAME, SHAPES):
        for output in outputs_for(loss):
            if (sizes[-1], output, loss) == (1, "softmax", "binary_cross_entropy"):
                continue
            for hidden in HIDDEN if len(sizes) > 2 else HIDDEN[:1]:
                yield Case(sizes, hidden, output, loss, dtype)


def problem(case: Case, seed: int = 0, n_samples: int = N_SAMPLES) -> tuple[MLP, np.ndarray, np.ndarray]:
    """A net with random weights and biases, random inputs (n_samples, n_in) and random targets (n_samples, n_out)."""
    rng = np.random.default_rng([seed, n_samples, *case.sizes])
    net = MLP(case.sizes, case.activation, case.output_activation, case.loss, case.dtype, random_state=rng)
    for b in net.biases:
        b[:] = rng.uniform(0.1, 0.6, b.shape)  # positive: otherwise a single relu unit may be 0 for all samples
    X = rng.standard_normal((n_samples, case.sizes[0]))
    shape = (n_samples, case.sizes[-1])
    T = {
        "squared_error": lambda: rng.standard_normal(shape),
        "cross_entropy": lambda: np.eye(shape[1])[rng.integers(0, shape[1], n_samples)],
        "binary_cross_entropy": lambda: rng.uniform(0, 1, shape),
        "poisson": lambda: rng.poisson(2.0, shape).astype(float),
    }[case.loss]()
    return net, X.astype(case.dtype), T.astype(case.dtype)


def reference_net(net: MLP) -> list[tuple[list[list[float]], str]]:
    """The net in the form of the reference: row 0 of each w holds the biases."""
    names = (*net.activation, net.output_activation)
    rows = [np.vstack([b, w]).astype(float).tolist() for w, b in zip(net.weights, net.biases, strict=True)]
    return list(zip(rows, names, strict=True))


# --------------------------------------------------------------------------- Σ|terms| of the derivatives, elementwise

SLOPE_TERMS: dict[str, Callable[[Any, Any], Any]] = {  # of ∂E/∂y_k
    "squared_error": lambda y, t: abs(y) + abs(t),
    "cross_entropy": lambda y, t: t / y,
    "binary_cross_entropy": lambda y, t: t / y + (1 - t) / (1 - y),
    "poisson": lambda y, t: 1 + t / y,
}
# of g'(a) as a function of z = g(a); for softmax the factor of ∂E/∂y_j + Σ_k y_k ∂E/∂y_k
G_PRIME_TERMS: dict[str, Callable[[Any], Any]] = {
    "identity": np.ones_like,
    "logistic": lambda z: z * (1 + z),
    "tanh": lambda z: 1 + z * z,
    "relu": np.ones_like,
    "softmax": lambda z: z,
    "exp": lambda z: z,
}


def compare(case: Case, seed: int = 0) -> Iterator[Finding]:
    """Compare every quantity of one backward pass with the reference, step by step."""
    net, X, T = problem(case, seed)
    r = net.backprop(X, T)
    ref = reference_net(net)
    eps = np.finfo(case.dtype).eps

    def finding(quantity: str, found: Any, expected: Any, terms: Any, length: float) -> Finding:
        error, ulp = np.abs(np.asarray(found, float) - expected), eps * np.asarray(terms, float)
        ulps = np.where(error == 0, 0.0, error / np.where(ulp == 0, np.finfo(float).tiny, ulp))
        return Finding(quantity, case, float(ulps.max()), length)

    terms: Any
    a, z, delta = ([np.asarray(block, float) for block in blocks] for blocks in (r.a, r.z, r.delta))
    targets = T.astype(float)
    for l, (w, g) in enumerate(ref, start=1):
        w_abs = np.abs(w).tolist()
        expected = [reference.pre_activations(w, z_n) for z_n in z[l - 1].tolist()]
        terms = [reference.pre_activations(w_abs, z_n) for z_n in abs(z[l - 1]).tolist()]
        yield finding("Eq. 1  a", a[l], expected, terms, len(w) + 2)
        z_exact = np.array([reference.activate(g, a_n) for a_n in a[l].tolist()])
        if g == "softmax":
            shift = a[l].max(axis=1, keepdims=True) - a[l]  # its rounding error is relative to exp(-shift)
            yield finding("g      z", z[l], z_exact, z_exact * (1 + shift.max()), len(w[0]) + FUNCTION)
        else:
            yield finding("g      z", z[l], z_exact, np.abs(z_exact), FUNCTION)

    g = case.output_activation
    canonical = BY_NAME[case.loss].canonical == g
    y = z_exact if canonical else z[-1]  # with the canonical activation the kernel computes E from a, not from y
    error = sum(reference.error(case.loss, y_n, t_n) for y_n, t_n in zip(y.tolist(), targets.tolist(), strict=True))
    terms = ((1 + abs(a[-1]) + abs(y) + abs(targets)) ** 2).sum()
    yield finding("       E", r.error, error, terms, len(w[0]) + FUNCTION)

    samples = list(zip(a[-1].tolist(), z[-1].tolist(), targets.tolist(), strict=True))
    expected = [reference.output_deltas(g, case.loss, *sample) for sample in samples]
    d = SLOPE_TERMS[case.loss](z[-1], targets)
    if g == "softmax":
        d = d + (z[-1] * d).sum(axis=1, keepdims=True)
    terms = abs(z[-1]) + abs(targets) if canonical else G_PRIME_TERMS[g](z[-1]) * d
    yield finding("Eq. 5  δ of outputs", delta[-1], expected, terms, len(w[0]) + FUNCTION)

    for l in range(len(ref) - 1, 0, -1):
        w_next, g = ref[l][0], ref[l - 1][1]
        w_abs = np.abs(w_next).tolist()
        rows = list(zip(delta[l + 1].tolist(), a[l].tolist(), z[l].tolist(), strict=True))
        expected = [reference.hidden_deltas(g, w_next, *row) for row in rows]
        sums = np.array([reference.hidden_deltas("identity", w_abs, np.abs(d_n).tolist(), a_n, z_n) for d_n, a_n, z_n in rows])
        yield finding("Eq. 7  δ of hidden", delta[l], expected, G_PRIME_TERMS[g](z[l]) * sums, len(w_next[0]) + 4)

    for l in range(len(ref)):
        pairs = list(zip(z[l].tolist(), delta[l + 1].tolist(), strict=True))
        expected = np.sum([reference.gradients(z_n, delta_n) for z_n, delta_n in pairs], axis=0)
        terms = np.sum([np.abs(reference.gradients(z_n, delta_n)) for z_n, delta_n in pairs], axis=0)
        yield finding("Eq. 4  ∂E/∂w", np.vstack([r.db[l], r.dw[l]]), expected, terms, len(pairs) + 2)


def whole_pass(case: Case, seed: int = 0) -> tuple[Backprop, list[tuple[np.ndarray, np.ndarray]]]:
    """One backward pass, and pairs (found, expected) of E and of every array, which the reference computes from X and T."""
    net, X, T = problem(case, seed)
    r = net.backprop(X, T)
    ref = reference_net(net)
    runs = [reference.backprop(ref, case.loss, x, t) for x, t in zip(X.tolist(), T.tolist(), strict=True)]
    pairs = [(np.array(r.error), np.array(sum(run[0] for run in runs)))]
    for l in range(1, len(case.sizes)):
        for which, found in enumerate((r.a, r.z, r.delta), start=1):
            pairs.append((found[l], np.array([run[which][l] for run in runs])))
        pairs.append((np.vstack([r.db[l - 1], r.dw[l - 1]]), np.sum([run[4][l - 1] for run in runs], axis=0)))
    return r, pairs


def central_differences(case: Case, seed: int = 0) -> Finding:
    """Compare the gradient with (E(w + h v) - E(w - h v)) / 2h for a random direction v, in float64, relative to ‖∂E/∂w‖."""
    h = 1e-5
    net, X, T = problem(case._replace(dtype="float64"), seed)
    r = net.backprop(X, T)
    rng = np.random.default_rng(seed)
    blocks, gradients = (*net.weights, *net.biases), (*r.dw, *r.db)
    directions = [rng.standard_normal(block.shape) for block in blocks]
    kept = [block.copy() for block in blocks]

    def error_at(step: float) -> float:
        for block, before, v in zip(blocks, kept, directions, strict=True):
            block[:] = before + step * v
        return net.backprop(X, T).error

    slope = (error_at(h) - error_at(-h)) / (2 * h)
    exact = sum(float((g * v).sum()) for g, v in zip(gradients, directions, strict=True))
    size = max(np.sqrt(sum(float((g * g).sum()) for g in gradients)), 1e-3)
    eps = np.finfo(float).eps
    return Finding("central differences", case, abs(slope - exact) / size / eps, DIFFERENCES / eps)


OPTIMIZERS: dict[str, tuple[Optimizer, reference.SGD | reference.Adam]] = {
    "SGD": (SGD(0.1), reference.SGD(0.1)),
    "momentum": (SGD(0.05, momentum=0.9), reference.SGD(0.05, 0.9)),
    "Nesterov": (SGD(0.05, momentum=0.9, nesterov=True), reference.SGD(0.05, 0.9, True)),
    "Adam": (Adam(0.01), reference.Adam(0.01)),
}


def trajectory(name: str, seed: int = 0) -> Finding:
    """Compare the losses of ten epochs of mini-batches, with sample weights, with the reference, in float64."""
    case = Case((7, 16, 3), "tanh", "softmax", "cross_entropy", "float64")
    net, X, T = problem(case, seed, n_samples=23)
    ref = reference_net(net)
    s = np.random.default_rng(seed).uniform(0.5, 2.0, len(X))
    optimizer, reference_optimizer = OPTIMIZERS[name]
    optimizer.reset()
    found = net.fit(X, T, epochs=10, batch_size=5, optimizer=optimizer, shuffle=False, sample_weight=s).loss
    orders = [list(range(len(X)))] * 10
    expected = reference.train(ref, case.loss, X.tolist(), T.tolist(), reference_optimizer, orders, 5, s.tolist())
    eps = np.finfo(float).eps
    ulps = np.max(np.abs(np.array(found) / expected - 1)) / eps
    return Finding(f"10 epochs of {name}", case, float(ulps), TRAJECTORY / eps)


def check_all(seed: int = 0) -> Iterator[Finding]:
    """All comparisons of all cases, and the trajectories of all optimizers."""
    for case in cases():
        yield from compare(case, seed)
        if case.dtype == "float64":
            yield central_differences(case, seed)
    for name in OPTIMIZERS:
        yield trajectory(name, seed)
