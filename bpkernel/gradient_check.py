"""Comparison of the compiled kernels with the reference and with central differences.

For each quantity of a backward pass the reference starts from the numbers that the kernel started from: it computes a[l] from
the kernels' own z[l - 1], δ[l] from their δ[l + 1], and so on.  The difference is then the rounding error of a single step, for
which the arithmetic gives a bound: the error of a sum of m products is at most m eps Σ|terms| (Higham, *Accuracy and Stability
of Numerical Algorithms*, section 3.1), that of a function a few eps.  Errors are given in units in the last place (ulp), here
eps · Σ|terms|, so the bound is about the length of the sum.
"""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple, cast

import numpy as np

from bpkernel import reference
from bpkernel.derivatives import Backprop
from bpkernel.error_bounds import ERROR_TERMS, G_PRIME_TERMS, G_TERMS, RANDOM_TARGETS, SLOPE_TERMS, NormTerms
from bpkernel.finite_differences import Differences
from bpkernel.function_names import short
from bpkernel.functions.activations import HIDDEN, HiddenActivation, OutputActivation
from bpkernel.functions.custom import Activation, Loss
from bpkernel.functions.losses import BY_NAME, LossName, outputs_for
from bpkernel.functions.optimizer import Optimizer
from bpkernel.functions.optimizers import SGD, Adagrad, Adam, AdamW, Lion, NAdam, RMSprop
from bpkernel.functions.settings import settings_of
from bpkernel.kernels import operands
from bpkernel.mlp import MLP
from bpkernel.validation import FloatName

DTYPES: tuple[FloatName, ...] = ("float32", "float64")
GRAPHS = ((7, 16, 17), (5, 8, 9, 3), (1, 1, 1, 1), (17, 7, 31, 16))  # in which all layers are connected
NORMALISED = ((7, 16, 17), (3, 5, 33, 8, 3))  # in which the hidden layers are normalised too
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
    connections: Literal["all"] | None = None
    layer_norm: bool = False


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


def pairs() -> list[tuple[LossName, OutputActivation]]:
    """Every loss with every output activation that it is defined for.

    hard_sigmoid is left out: its outputs can be 0, where the logarithm is of the smallest normal number of a dtype.
    """
    found = [(name, output) for name, loss in BY_NAME.items() for output in outputs_for(loss) if output != "hard_sigmoid"]
    return cast(list[tuple[LossName, OutputActivation]], found)


def cases(dtypes: tuple[FloatName, ...] = DTYPES) -> Iterator[Case]:
    """Every hidden activation with every canonical pair in every shape, and every other pair in two shapes.

    The softmax of a single unit is left out where log(1 - y) would be of the smallest normal number of a dtype, or the slope
    infinite: its output is always 1.  The last cases are nets in which all layers are connected, without and with layer_norm.
    """
    for dtype in dtypes:
        for number, (loss, output) in enumerate(pairs()):
            canonical = BY_NAME[loss].canonical == output
            shapes: Sequence[tuple[int, ...]] = SHAPES if canonical else [SHAPES[(number + k) % len(SHAPES)] for k in (0, 3)]
            for place, sizes in enumerate(shapes):
                if output == "softmax" and sizes[-1] == 1 and loss in ("binary_cross_entropy", "binary_focal"):
                    continue
                if output == "mean_variance" and sizes[-1] % 2:
                    sizes = (*sizes[:-1], sizes[-1] + 1)
                hidden = HIDDEN if canonical and len(sizes) > 2 else [HIDDEN[(number + 5 * place) % len(HIDDEN)]]
                for each in hidden:
                    yield Case(sizes, each, output, loss, dtype)
        for sizes, each in zip(GRAPHS, itertools.cycle(HIDDEN)):
            yield Case(sizes, each, "softmax", "cross_entropy", dtype, "all")
        for sizes, each in itertools.product(NORMALISED, HIDDEN):
            yield Case(sizes, each, "softmax", "cross_entropy", dtype, "all", True)


def problem(case: Case, seed: int = 0, n_samples: int = N_SAMPLES) -> tuple[MLP, np.ndarray, np.ndarray]:
    """A net with random weights and biases, random inputs (n_samples, n_in) and random targets (n_samples, n_targets)."""
    rng = np.random.default_rng([seed, n_samples, *case.sizes])
    own = case.output_activation, case.loss, case.dtype
    net = MLP(case.sizes, case.activation, *own, random_state=rng, connections=case.connections, layer_norm=case.layer_norm)
    for b in net.biases:
        b[:] = rng.uniform(0.1, 0.6, b.shape)  # positive: otherwise a single relu unit may be 0 for all samples
    for gains, shifts in zip(net.gains, net.shifts, strict=True):
        gains[:], shifts[:] = rng.uniform(0.5, 1.5, gains.shape), rng.uniform(0.1, 0.6, shifts.shape)
    X = rng.standard_normal((n_samples, case.sizes[0]))
    loss = BY_NAME[case.loss]
    T = RANDOM_TARGETS[loss.targets](rng, (n_samples, loss.n_targets(case.sizes[-1])))
    return net, X.astype(case.dtype), T.astype(case.dtype)


def reference_net(net: MLP) -> list[tuple[list[list[float]], Any, list[int], bool]]:
    """The net in the form of the reference: the rows of biases and weights of each layer, its activation, its sources.

    Normalised layers have two more rows, of gains and shifts, and a fourth part, True.
    """
    layers, norms = [], dict(zip(net._made_of.normalised, zip(net.gains, net.shifts, strict=True), strict=True))
    for target, (b, g) in enumerate(zip(net.biases, (*net.activation, net.output_activation), strict=True), start=1):
        sources = [source for source, to in net.connections if to == target]
        rows = [w for w, (_, to) in zip(net.weights, net.connections, strict=True) if to == target]
        w = np.vstack([b, *rows, *norms.get(target, ())]).astype(float).tolist()
        layers.append((w, of_reference(g), sources, target in norms))
    return layers


def of_reference(function: Any) -> Any:
    """An activation or a loss of a net as the reference takes it."""
    if isinstance(function, str):
        return function
    if isinstance(function, Activation):
        own = function.g, function.g_prime, function.g_second
        return tuple(getattr(f, "py_func", f) for f in own if f is not None)
    if isinstance(function, Loss):
        return reference.each(*(getattr(f, "py_func", f) for f in (function.error, function.slope)))
    return getattr(reference, function.name)(*settings_of(function).values())


def compare(case: Case, seed: int = 0) -> Iterator[Finding]:
    """Compare every quantity of one backward pass with the reference, step by step."""
    yield from compare_net(*problem(case, seed), case)


def compare_net(net: MLP, X: np.ndarray, T: np.ndarray, case: Any) -> Iterator[Finding]:
    """Compare every quantity of one backward pass of a net with the reference; `case` is noted in the findings."""
    r, layers, eps = net.backprop(X, T), reference_net(net), np.finfo(net.dtype).eps
    loss, last = net._made_of.loss, len(layers)

    def finding(quantity: str, found: Any, expected: Any, terms: Any, length: float) -> Finding:
        error, ulp = np.abs(np.asarray(found, float) - expected), eps * np.asarray(terms, float)
        ulps = np.where(error == 0, 0.0, error / np.where(ulp == 0, np.finfo(float).tiny, ulp))
        return Finding(quantity, case, float(ulps.max()), length)

    terms: Any
    expected: Any
    a, z, delta = ([np.asarray(block, float) for block in blocks] for blocks in (r.a, r.z, r.delta))
    absolute = [(np.abs(w).tolist(), g, sources) for w, g, sources, _ in layers]
    targets, samples = T.astype(float), range(len(X))
    names = [""] + [getattr(g, "name", g) for g in (*net.activation, net.output_activation)]
    norms: dict[int, NormTerms] = {}
    for l, (w, g, _, normalised) in enumerate(layers, start=1):
        before = [reference.units_before(layers, l, [block[n].tolist() for block in z]) for n in samples]
        expected = [reference.pre_activations(w, z_n) for z_n in before]
        terms = [reference.pre_activations(absolute[l - 1][0], list(map(abs, z_n))) for z_n in before]
        length: float = len(w) + 2
        if normalised:
            norms[l] = NormTerms(expected, terms, length, *w[-2:])
            expected, terms, length = [reference.scaled(a_n, *w[-2:]) for a_n in expected], norms[l].of_u, norms[l].length
        yield finding("Eq. 1  a", a[l], expected, terms, length)
        z_exact = np.array([reference.activate(g, a_n) for a_n in a[l].tolist()])
        if g == "softmax":
            shift = a[l].max(axis=1, keepdims=True) - a[l]  # its rounding error is relative to exp(-shift)
            yield finding("g      z", z[l], z_exact, z_exact * (1 + shift.max()), len(w[0]) + FUNCTION)
        else:
            size = G_TERMS[names[l]](a[l], z_exact) if names[l] in G_TERMS else np.abs(z_exact)
            size = size if isinstance(g, str) else 1 + size + abs(a[l])  # a user's formula may be a difference
            yield finding("g      z", z[l], z_exact, size, FUNCTION)

    name = loss.name
    canonical = loss.canonical == names[last]
    y = z_exact if canonical else z[-1]  # with the canonical activation the kernel computes E from a, not from y
    of_loss = of_reference(short(loss))
    error = sum(reference.error(of_loss, y_n, t_n) for y_n, t_n in zip(y.tolist(), targets.tolist(), strict=True))
    size_of_t = abs(targets) if targets.shape == y.shape else abs(targets).sum(axis=1, keepdims=True)
    terms = ((1 + abs(a[-1]) + abs(y) + size_of_t) ** 2).sum()
    terms = terms + ERROR_TERMS[name](z[-1], targets).sum() if name in ERROR_TERMS else terms
    yield finding("       E", r.error, error, terms, len(layers[-1][0][0]) + FUNCTION)

    rows = list(zip(a[-1].tolist(), z[-1].tolist(), targets.tolist(), strict=True))
    expected = [reference.output_deltas(layers[-1][1], of_loss, *row) for row in rows]
    d = SLOPE_TERMS[name](z[-1], targets) if name in SLOPE_TERMS else 1 + abs(z[-1]) + abs(targets)
    if names[last] == "softmax":
        d = d + (z[-1] * d).sum(axis=1, keepdims=True)
    terms = abs(z[-1]) + abs(targets) if canonical else _g_prime_terms(layers, names, last, a, z) * d
    yield finding("Eq. 5  δ of outputs", delta[-1], expected, terms, len(layers[-1][0][0]) + FUNCTION)

    for l in range(last - 1, 0, -1):
        of_one = [block[0] for block in z]
        (w_next, after), (w_abs, _) = (reference.weights_after(net, l, of_one) for net in (layers, absolute))
        delta_next = np.concatenate([delta[target] for target in after], axis=1)
        rows = list(zip(delta_next.tolist(), a[l].tolist(), z[l].tolist(), strict=True))
        expected = [reference.hidden_deltas(layers[l - 1][1], w_next, *row) for row in rows]
        sums = np.array([reference.hidden_deltas("identity", w_abs, np.abs(d_n).tolist(), a_n, z_n) for d_n, a_n, z_n in rows])
        length = delta_next.shape[1] + len(after) + FUNCTION
        terms = _g_prime_terms(layers, names, l, a, z) * sums
        if l in norms:
            terms, length = norms[l].backward(np.array(expected), terms, length)
            expected = [reference.deltas_of_sums(*row) for row in norms[l].rows()]
        yield finding("Eq. 7  δ of hidden", delta[l], expected, terms, length)

    for l in range(1, last + 1):
        before = [reference.units_before(layers, l, [block[n].tolist() for block in z]) for n in samples]
        parts = [reference.gradients(z_n, delta_n) for z_n, delta_n in zip(before, delta[l].tolist(), strict=True)]
        found = np.vstack([r.db[l - 1], *(dw for dw, (_, to) in zip(r.dw, net.connections, strict=True) if to == l)])
        present = np.vstack(
            [np.ones((1, len(r.db[l - 1])))]
            + [net.masks.get(pair, np.ones(w.shape)) for pair, w in zip(net.connections, r.dw, strict=True) if pair[1] == l]
        )
        expected, terms, length = present * np.sum(parts, axis=0), np.sum(np.abs(parts), axis=0), len(parts) + 2
        if l in norms:
            own = net._made_of.normalised.index(l)
            found = np.vstack([found, r.dgains[own], r.dshifts[own]])
            of_norms = [reference.norm_gradients(a_n, of_u) for a_n, _, of_u in norms[l].rows()]
            expected = np.vstack([expected, *np.sum(of_norms, axis=0)])
            terms = np.vstack([terms, *norms[l].of_gradient(length)])
        yield finding("Eq. 4  ∂E/∂w", found, expected, terms, length)


def _g_prime_terms(layers: Any, names: list[str], l: int, a: Any, z: Any) -> Any:
    """The size of the terms of g'(a) in layer l."""
    g = layers[l - 1][1]
    if isinstance(g, str) or names[l] in G_PRIME_TERMS:
        return G_PRIME_TERMS[names[l]](z[l])
    slopes = np.array(
        [reference.times_slope(g, a_n, z_n, [1.0] * len(a_n)) for a_n, z_n in zip(a[l].tolist(), z[l].tolist(), strict=True)]
    )
    return 1 + abs(slopes) + abs(z[l])


def whole_pass(case: Case, seed: int = 0) -> tuple[Backprop, list[tuple[np.ndarray, np.ndarray]]]:
    """One backward pass, and pairs (found, expected) of E and of every array, which the reference computes from X and T."""
    net, X, T = problem(case, seed)
    r, layers = net.backprop(X, T), reference_net(net)
    runs = [reference.backprop(layers, case.loss, x, t) for x, t in zip(X.tolist(), T.tolist(), strict=True)]
    compared = [(np.array(r.error), np.array(sum(run[0] for run in runs)))]
    for l in range(1, len(case.sizes)):
        for which, found in enumerate((r.a, r.z, r.delta), start=1):
            compared.append((found[l], np.array([run[which][l] for run in runs])))
        dw = [dw for dw, (_, to) in zip(r.dw, net.connections, strict=True) if to == l]
        if l in net._made_of.normalised:
            own = net._made_of.normalised.index(l)
            dw += [r.dgains[own], r.dshifts[own]]
        compared.append((np.vstack([r.db[l - 1], *dw]), np.sum([run[4][l - 1] for run in runs], axis=0)))
    return r, compared


def central_differences(case: Case, seed: int = 0) -> Finding:
    """Compare the gradient with central differences along a random direction, in float64, relative to ‖∂E/∂w‖."""
    net, X, T = problem(case._replace(dtype="float64"), seed)
    gradient = net.gradient(X, T)
    v = np.random.default_rng(seed).standard_normal(len(gradient))
    v /= np.linalg.norm(v)
    differences = Differences(net._network.in_float64(), operands.samples(X, T, np.ones(len(X))))
    slopes, chosen = differences.over_steps(v)
    slope = float(slopes[chosen])
    size = max(float(np.linalg.norm(gradient)), 1e-3)
    eps = np.finfo(float).eps
    return Finding("central differences", case, abs(slope - float(gradient @ v)) / size / eps, DIFFERENCES / eps)


OPTIMIZERS: dict[str, tuple[Optimizer, Any]] = {  # with the reference's of the same settings
    "SGD": (SGD(0.1), reference.SGD(0.1)),
    "momentum": (SGD(0.05, momentum=0.9), reference.SGD(0.05, 0.9)),
    "Nesterov": (SGD(0.05, momentum=0.9, nesterov=True), reference.SGD(0.05, 0.9, True)),
    "Adam": (Adam(0.01), reference.Adam(0.01)),
    "AdamW": (AdamW(0.01, weight_decay=0.1), reference.AdamW(0.01, 0.1)),
    "NAdam": (NAdam(0.01), reference.NAdam(0.01)),
    "RMSprop": (RMSprop(0.01, rho=0.9), reference.RMSprop(0.01, 0.9)),
    "Adagrad": (Adagrad(0.1), reference.Adagrad(0.1)),
    "Lion": (Lion(0.01), reference.Lion(0.01)),
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
