"""The losses E^n.

Each works on the outputs of the net for one sample, in 1-D arrays of one dtype:

    sample_error(a, y, t)             E^n from the outputs y and targets t
    sample_error_canonical(a, y, t)   the same where y is the canonical activation of a, in a form that stays precise where
                                      outputs saturate
    sample_slope(y, t, d)             d_k ← ∂E^n/∂y_k
    sample_curvature(y, t, r, d)      d_k ← Σ_l ∂²E^n/∂y_k∂y_l r_l
    deltas_with[activation](y, t, d)  d_k ← δ_k, for the names of activations with which ∂E^n/∂y_k may overflow and δ_k does not
    n_targets(n_outputs)              the number of targets; for most losses that of the outputs

With the canonical activation of its loss, Eq. 5 is exactly δ_k = y_k - t_k.  `accepts` names the kinds of output that the loss
is defined for, the `values` of the activations, and `targets` what the targets may be.  Outputs that have underflowed to 0
count as the smallest normal number where they are divided by or their logarithm is taken.

Losses that are a sum over the outputs are written as scalar functions, in `elementwise_losses`.  Below are those that are
not, and the first ones, which are written as loops.  To add one, write a class there or here, add it to ELEMENTWISE_LOSSES or
LOSSES, and its name to LossName.
"""

import math
from functools import cache
from typing import Any, ClassVar, Literal, TypeAlias

import numpy as np
from numba import types

from bpkernel.codegen.jit import kernel
from bpkernel.codegen.pointers import by_pointer
from bpkernel.codegen.precision import Precision
from bpkernel.codegen.views import matrix, row_of, vector
from bpkernel.functions.activations import ACTIVATIONS
from bpkernel.functions.elementary import exp
from bpkernel.functions.elementwise_losses import ANY, ELEMENTWISE_LOSSES, slope_per_softplus
from bpkernel.functions.focal_losses import BinaryFocal, Focal
from bpkernel.functions.joint_losses import GaussianNLL, Quantile, at_least
from bpkernel.functions.loops import sample_slope_of


class CanonicalLoss:
    """Base of the losses that have a canonical activation."""

    targets = "real"
    class_indices = False
    deltas_with: ClassVar[dict[str, Any]] = {}

    def n_targets(self, n_outputs: int) -> int:
        """The targets of a sample for a net of so many outputs."""
        return n_outputs


class SquaredError(CanonicalLoss):
    name = "squared_error"
    canonical = "identity"
    accepts = ANY

    @staticmethod
    def sample_error(a: Any, y: Any, t: Any) -> float:
        e = y.dtype.type(0)
        for k in range(y.size):
            e += (y[k] - t[k]) * (y[k] - t[k])
        return y.dtype.type(0.5) * e

    sample_error_canonical = sample_error

    @staticmethod
    def sample_slope(y: Any, t: Any, d: Any) -> None:
        for k in range(y.size):
            d[k] = y[k] - t[k]

    @staticmethod
    def sample_curvature(y: Any, t: Any, r: Any, d: Any) -> None:
        for k in range(y.size):
            d[k] = r[k]


def _curvature_of_log(y: Any, t: Any, r: Any, d: Any) -> None:
    """The `sample_curvature` of -Σ_k t_k log y_k, with or without terms linear in y."""
    tiny = np.finfo(y.dtype).tiny
    for k in range(y.size):
        y_k = at_least(tiny, y[k])
        d[k] = t[k] / y_k / y_k * r[k]


class CrossEntropy(CanonicalLoss):
    name = "cross_entropy"
    targets = "distribution"
    class_indices = True
    canonical = "softmax"
    accepts = ("probability",)

    @staticmethod
    def sample_error(a: Any, y: Any, t: Any) -> float:
        tiny = np.finfo(y.dtype).tiny
        e = y.dtype.type(0)
        for k in range(y.size):
            e -= t[k] * math.log(at_least(tiny, y[k]))
        return e

    @staticmethod
    def sample_error_canonical(a: Any, y: Any, t: Any) -> float:
        # log y_k = a_k - largest - log Σ exp(a - largest), and this Σ is 1 / the largest y
        largest, highest = a[0], y[0]
        for k in range(1, a.size):
            largest, highest = max(largest, a[k]), max(highest, y[k])
        log_total = -math.log(highest)
        e = a.dtype.type(0)
        for k in range(a.size):
            e += t[k] * (log_total - (a[k] - largest))
        return e

    @staticmethod
    def sample_slope(y: Any, t: Any, d: Any) -> None:
        tiny = np.finfo(y.dtype).tiny
        for k in range(y.size):
            d[k] = -t[k] / at_least(tiny, y[k])

    sample_curvature = staticmethod(_curvature_of_log)


class BinaryCrossEntropy(CanonicalLoss):
    name = "binary_cross_entropy"
    targets = "probability"
    canonical = "logistic"
    accepts = ("probability",)

    @staticmethod
    def sample_error(a: Any, y: Any, t: Any) -> float:
        one, tiny = y.dtype.type(1), np.finfo(y.dtype).tiny
        e = y.dtype.type(0)
        for k in range(y.size):
            e -= t[k] * math.log(at_least(tiny, y[k])) + (one - t[k]) * math.log(at_least(tiny, one - y[k]))
        return e

    @staticmethod
    def sample_error_canonical(a: Any, y: Any, t: Any) -> float:
        # -log y = log(1 + exp(-a)) and -log(1 - y) = log(1 + exp(a)), neither of which overflows when written so
        zero = a.dtype.type(0)
        e = zero
        for k in range(a.size):
            e += max(a[k], zero) - t[k] * a[k] + math.log1p(exp(-abs(a[k])))
        return e

    @staticmethod
    def sample_slope(y: Any, t: Any, d: Any) -> None:
        one, tiny = y.dtype.type(1), np.finfo(y.dtype).tiny
        for k in range(y.size):
            d[k] = (one - t[k]) / at_least(tiny, one - y[k]) - t[k] / at_least(tiny, y[k])

    @staticmethod
    def sample_curvature(y: Any, t: Any, r: Any, d: Any) -> None:
        one, tiny = y.dtype.type(1), np.finfo(y.dtype).tiny
        for k in range(y.size):
            y_k, rest = at_least(tiny, y[k]), at_least(tiny, one - y[k])
            d[k] = ((one - t[k]) / rest / rest + t[k] / y_k / y_k) * r[k]


class Poisson(CanonicalLoss):
    """Half the Poisson deviance, y - t + t log(t / y): the negative log-likelihood, 0 where y = t."""

    name = "poisson"
    targets = "non_negative"
    deltas_with: ClassVar[dict[str, Any]] = {"softplus": sample_slope_of(lambda y, t: (y - t) * slope_per_softplus(y))}
    canonical = "exp"
    accepts = ("positive", "probability")

    @staticmethod
    def sample_error(a: Any, y: Any, t: Any) -> float:
        tiny = np.finfo(y.dtype).tiny
        e = y.dtype.type(0)
        for k in range(y.size):
            e += y[k] - t[k]
            if t[k] > 0:
                e += t[k] * (math.log(t[k]) - math.log(at_least(tiny, y[k])))
        return e

    @staticmethod
    def sample_error_canonical(a: Any, y: Any, t: Any) -> float:
        e = y.dtype.type(0)
        for k in range(y.size):
            e += y[k] - t[k]
            if t[k] > 0:
                e += t[k] * (math.log(t[k]) - a[k])
        return e

    @staticmethod
    def sample_slope(y: Any, t: Any, d: Any) -> None:
        one, tiny = y.dtype.type(1), np.finfo(y.dtype).tiny
        for k in range(y.size):
            d[k] = one - t[k] / at_least(tiny, y[k])

    sample_curvature = staticmethod(_curvature_of_log)


TARGETS = {  # what targets may be: the least, the largest, and what messages say of them
    "real": (-math.inf, math.inf, "may be any numbers"),
    "non_negative": (0.0, math.inf, "must not be negative"),
    "positive": (np.finfo(np.float64).tiny, math.inf, "must be greater than 0"),
    "probability": (0.0, 1.0, "must be between 0 and 1"),
    "sign": (-1.0, 1.0, "must be -1 or 1"),
    "distribution": (0.0, 1.0, "must hold class indices, or rows of probabilities that sum to 1, such as one-hot rows,"),
}

LOSSES: tuple[type[Any], ...] = (
    *(SquaredError, CrossEntropy, BinaryCrossEntropy, Poisson),
    *(*ELEMENTWISE_LOSSES, Focal, BinaryFocal, Quantile, GaussianNLL),
)
LossName: TypeAlias = Literal[
    "squared_error", "cross_entropy", "binary_cross_entropy", "poisson",
    "absolute_error", "huber", "log_cosh", "hinge", "gamma", "tweedie", "focal", "binary_focal", "quantile", "gaussian_nll",
]  # fmt: skip

BY_NAME: dict[str, Any] = {loss.name: loss() for loss in LOSSES}


@cache
def _over_samples(sample_error: Any) -> Any:
    """The function that computes E^n of many samples, from that of one: a call for each took 50 ns, and the sum itself 10."""
    error_of = kernel(sample_error, counts=True, cache=False)

    def errors(n_out: int, a: Any, y: Any, T: Any, rows: Any, e: Any) -> None:
        for n in range(e.size):
            e[n] = error_of(row_of(a, n, 0, n_out), row_of(y, n, 0, n_out), row_of(T, rows[n], 0, T.shape[1]))

    errors.__module__, errors.__qualname__ = sample_error.__module__, sample_error.__qualname__
    return errors


errors, _pointer_to_errors = by_pointer(
    lambda p: types.none(types.intp, *[matrix(p.accumulation)] * 3, vector(types.int64), vector(types.float64)), may_raise=True
)


def pointer_to_error(sample_error: Any, precision: Precision, what: str = "") -> int:
    """Compile the E^n of a loss for `errors`, see `by_pointer`."""
    return _pointer_to_errors(_over_samples(sample_error), precision, what)


slope, pointer_to_slope = by_pointer(lambda p: types.none(*[vector(p.accumulation)] * 3), may_raise=True)
curvature, pointer_to_curvature = by_pointer(lambda p: types.none(*[vector(p.accumulation)] * 4), may_raise=True)


def outputs_for(loss: Any) -> tuple[str, ...]:
    """The names of the output activations that a loss, or one of a name, goes with, the canonical one first."""
    loss = BY_NAME[loss] if isinstance(loss, str) else loss
    names = [activation.name for activation in ACTIVATIONS if activation.values in loss.accepts]
    return tuple(sorted(names, key=lambda name: name != loss.canonical))
