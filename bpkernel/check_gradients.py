"""`check_gradients`: the gradient of a net beside the reference and beside central differences."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from bpkernel import plots, validation
from bpkernel.derivatives import TOGETHER, Gradient
from bpkernel.finite_differences import EPS, STEPS, Differences, Kink
from bpkernel.gradient_check import Finding, compare_net
from bpkernel.kernels import operands
from bpkernel.mlp import MLP

PRODUCTS = 300_000  # of weights and samples for the reference, which takes about a second for them
MOST = 4000  # parameters that central differences are taken of; of larger nets some are chosen at random
TOLERANCE = 1e-6  # of a central difference, relative to the largest component of the gradient


@dataclass(frozen=True)
class GradientCheck:
    """What `check_gradients` has found; `print` it for a report.

    Attributes
    ----------
    findings : tuple of Finding
        For each quantity of a backward pass its largest error beside the reference, and the bound of the rounding errors.
    parameter : str
        The name of the weight, bias, gain or shift with the largest difference between gradient and central difference that no
        kink explains; or with the largest of all, if there is none.
    gradient, difference : float
        Its two derivatives.
    error : float
        Their difference, relative to the largest component of the gradient.
    allowed : float
        The largest error that truncation and rounding explain.
    kink : Kink or None
        The kink of an activation that explains the difference of `parameter`.
    n_kinks : int
        The parameters whose difference is larger than allowed, because of a kink.
    step : float
        The step of the central differences.
    n_parameters, n_checked, n_samples : int
        The parameters of the net, those that differences were taken of, and the samples that were used beside the reference.
    steps, errors : ndarray (n_steps,)
        Errors of the difference along a random direction, over the step, relative to the derivative; see `plot`.
    """

    findings: tuple[Finding, ...]
    parameter: str
    gradient: float
    difference: float
    error: float
    allowed: float
    kink: Kink | None
    n_kinks: int
    step: float
    n_parameters: int
    n_checked: int
    n_samples: int
    steps: np.ndarray
    errors: np.ndarray

    @property
    def ok(self) -> bool:
        """Whether the kernels agree with the reference and with the central differences."""
        return all(finding.share <= 1 for finding in self.findings) and (self.error <= self.allowed or self.kink is not None)

    def __str__(self) -> str:
        lines = [f"gradient check: {'passed' if self.ok else 'FAILED'}"]
        lines.append(f"compared with the reference, {self.n_samples} samples, errors in units of the last place (bound):")
        last = sum(finding.quantity.startswith("Eq. 4") for finding in self.findings)
        counts: dict[str, int] = {}
        for finding in self.findings:
            mark = "" if finding.share <= 1 else "   OUT OF BOUNDS"
            counts[finding.quantity] = counts.get(finding.quantity, 0) + 1
            layer = {"Eq. 5": last, "Eq. 7": last - counts[finding.quantity]}.get(
                finding.quantity[:5], counts[finding.quantity]
            )
            where = "" if finding.quantity.strip() == "E" else f"layer {layer}"
            lines.append(f"  {finding.quantity:<21}{where:<9}{finding.ulps:10.3g}  ({finding.allowed:.3g}){mark}")
        lines.append(
            f"compared with central differences in float64, step {self.step:.1e}, {self.n_checked} of {self.n_parameters}:"
        )
        lines.append(
            f"  largest difference at {self.parameter}: gradient {self.gradient:.10g}, difference {self.difference:.10g}"
        )
        lines.append(f"  relative to the largest component: {self.error:.2g} (allowed: {self.allowed:.2g})")
        if self.kink is not None:
            others = f" (and so for {self.n_kinks - 1} more)" if self.n_kinks > 1 else ""
            lines.append(f"  The reason is a kink{others}: {self.kink}.")
        return "\n".join(lines)

    def plot(self, ax: Any = None) -> Any:
        """The errors of central differences over the step (needs the extra `plot`); returns the axes."""
        return plots.difference_errors(self.steps, self.errors, self.step, ax)


def check_gradients(net: Any, X: ArrayLike, T: ArrayLike, random_state: int = 0) -> GradientCheck:
    """Check the gradient of a net: compiled kernels beside the reference in plain Python, and beside central differences.

    Every quantity of a backward pass is compared with the reference, which starts from the same numbers, so that the
    difference is the rounding error of one step and has a bound.  The gradient is compared with central differences of the
    error, parameter by parameter, in float64.  Their step is the one at which half of it changes the difference least.

    Parameters
    ----------
    net : MLP, MLPClassifier or MLPRegressor
        An estimator must be fitted.
    X : array-like (n_samples, n_inputs)
    T : array-like (n_samples, n_targets)
        As of `MLP.fit`; for an estimator as of its `fit`.
    random_state : int, default=0
        Of the direction along which the step is chosen, and of the parameters that are checked where there are more than 4000.

    Returns
    -------
    GradientCheck

    Raises
    ------
    ValueError, TypeError
        If an argument is not as above.

    Examples
    --------
    >>> import bpkernel as bp
    >>> import numpy as np
    >>> net = bp.MLP((2, 4, 1), random_state=0)
    >>> check = bp.check_gradients(net, np.random.default_rng(0).normal(size=(10, 2)), np.ones(10))
    >>> check.ok
    True
    """
    net, T = _mlp_of(net, T)
    given = net._samples(X, T)
    n, random = len(given.T), validation.generator(random_state)
    n_weights = sum(w.size for w in net.weights)
    few = max(1, min(n, PRODUCTS // n_weights))
    X_few = (given.X if len(given.X) else given.X_other)[:few].astype(net.dtype)
    findings = tuple(compare_net(net, X_few, given.T[:few], net.layer_sizes))

    network, samples = net._network.in_float64(), operands.in_float64(given)
    total, flat = Gradient(network, min(n, TOGETHER))(samples)
    gradient = network.layout.vector(flat)
    differences = Differences(network, samples)
    present = network.present_places()
    v = np.zeros(len(gradient))
    v[present] = random.standard_normal(len(present))
    v /= np.linalg.norm(v)
    exact, (slopes, chosen) = float(gradient @ v), differences.over_steps(v)
    step = float(STEPS[chosen])
    size = max(float(np.abs(gradient).max()), np.finfo(float).tiny)
    errors = np.abs(slopes - exact) / max(abs(exact), np.finfo(float).tiny)

    places = present if len(present) <= MOST else np.sort(random.choice(present, MOST, replace=False))
    found = np.array([differences.of_parameter(int(place), step) for place in places])
    all_errors = np.abs(found - gradient[places]) / size
    allowed = TOLERANCE + 100 * EPS * max(total, 1) / step / size
    worst, kink, n_kinks = int(np.argmax(all_errors)), None, 0
    for number in np.argsort(-all_errors)[: int((all_errors > allowed).sum())]:
        passed = differences.kink(int(places[number]), step)
        if passed is None:
            worst, kink = int(number), None
            break
        n_kinks += 1
        kink = kink or passed
    place = int(places[worst])
    return GradientCheck(
        findings,
        name_of(net, place),
        float(gradient[place]),
        float(found[worst]),
        float(all_errors[worst]),
        float(allowed),
        kink,
        n_kinks,
        step,
        len(gradient),
        len(places),
        few,
        STEPS,
        errors,
    )


def name_of(net: MLP, place: int) -> str:
    """The weight, bias, gain or shift at a place of `MLP.parameters`, in words."""
    names = net.unit_names
    for (source, target), w in zip(net.connections, net.weights, strict=True):
        if place < w.size:
            i, j = divmod(place, w.shape[1])
            first, second = (i, j) if names is None else (names[source][i], names[target][j])
            return f"the weight from unit {first} of layer {source} to unit {second} of layer {target}"
        place -= w.size
    for layer, b in enumerate(net.biases, start=1):
        if place < b.size:
            return f"the bias of unit {place if names is None else names[layer][place]} of layer {layer}"
        place -= b.size
    for kind, of_layers in (("gain", net.gains), ("shift", net.shifts)):
        for layer, own in zip(net._made_of.normalised, of_layers, strict=True):
            if place < own.size:
                return f"the {kind} of unit {place} of layer {layer}"
            place -= own.size
    raise IndexError("the net has fewer parameters")


def _mlp_of(net: Any, T: Any) -> tuple[MLP, Any]:
    """The MLP of a net or an estimator, and its targets."""
    if isinstance(net, MLP):
        return net, T
    if not hasattr(net, "to_mlp"):
        raise TypeError(f"net must be a bpkernel.MLP, MLPClassifier or MLPRegressor; got {net!r}")
    mlp: MLP = net.to_mlp()
    return mlp, net._targets_of_mlp(T)
