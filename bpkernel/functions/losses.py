"""The losses E^n.  To add one, write a class as below and add it to LOSSES and LossName.

Each works on the outputs of the net for one sample, in 1-D arrays of one length and dtype:

    error(a, y, t)             E^n from the outputs y and targets t
    error_canonical(a, y, t)   the same where y is the canonical activation of a, in a form that stays precise where outputs
                               saturate
    slope(y, t, d)             d_k ← ∂E^n/∂y_k

With the canonical activation of its loss, Eq. 5 is exactly δ_k = y_k - t_k.  `accepts` names the kinds of output that the loss
is defined for, the `values` of the activations.  Outputs that have underflowed to 0 count as the smallest normal number where
they are divided by or their logarithm is taken.
"""

import math
from typing import Any, Literal, TypeAlias

import numpy as np
from numba import types

from bpkernel.codegen.jit import kernel
from bpkernel.codegen.pointers import by_pointer
from bpkernel.codegen.views import vector
from bpkernel.functions.activations import ACTIVATIONS, OutputActivation
from bpkernel.functions.elementary import exp


@kernel
def at_least(low: Any, y: Any) -> Any:
    """y, or low where y is less; NaN stays NaN, which `max` does not promise."""
    return low if y < low else y


class SquaredError:
    name = "squared_error"
    canonical = "identity"
    accepts = ("real", "positive", "probability")

    @staticmethod
    def error(a: Any, y: Any, t: Any) -> float:
        e = y.dtype.type(0)
        for k in range(y.size):
            e += (y[k] - t[k]) * (y[k] - t[k])
        return y.dtype.type(0.5) * e

    error_canonical = error

    @staticmethod
    def slope(y: Any, t: Any, d: Any) -> None:
        for k in range(y.size):
            d[k] = y[k] - t[k]


class CrossEntropy:
    name = "cross_entropy"
    canonical = "softmax"
    accepts = ("probability",)

    @staticmethod
    def error(a: Any, y: Any, t: Any) -> float:
        tiny = np.finfo(y.dtype).tiny
        e = y.dtype.type(0)
        for k in range(y.size):
            e -= t[k] * math.log(at_least(tiny, y[k]))
        return e

    @staticmethod
    def error_canonical(a: Any, y: Any, t: Any) -> float:
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
    def slope(y: Any, t: Any, d: Any) -> None:
        tiny = np.finfo(y.dtype).tiny
        for k in range(y.size):
            d[k] = -t[k] / at_least(tiny, y[k])


class BinaryCrossEntropy:
    name = "binary_cross_entropy"
    canonical = "logistic"
    accepts = ("probability",)

    @staticmethod
    def error(a: Any, y: Any, t: Any) -> float:
        one, tiny = y.dtype.type(1), np.finfo(y.dtype).tiny
        e = y.dtype.type(0)
        for k in range(y.size):
            e -= t[k] * math.log(at_least(tiny, y[k])) + (one - t[k]) * math.log(at_least(tiny, one - y[k]))
        return e

    @staticmethod
    def error_canonical(a: Any, y: Any, t: Any) -> float:
        # -log y = log(1 + exp(-a)) and -log(1 - y) = log(1 + exp(a)), neither of which overflows when written so
        zero = a.dtype.type(0)
        e = zero
        for k in range(a.size):
            e += max(a[k], zero) - t[k] * a[k] + math.log1p(exp(-abs(a[k])))
        return e

    @staticmethod
    def slope(y: Any, t: Any, d: Any) -> None:
        one, tiny = y.dtype.type(1), np.finfo(y.dtype).tiny
        for k in range(y.size):
            d[k] = (one - t[k]) / at_least(tiny, one - y[k]) - t[k] / at_least(tiny, y[k])


class Poisson:
    """Half the Poisson deviance, y - t + t log(t / y): the negative log-likelihood, 0 where y = t."""

    name = "poisson"
    canonical = "exp"
    accepts = ("positive", "probability")

    @staticmethod
    def error(a: Any, y: Any, t: Any) -> float:
        tiny = np.finfo(y.dtype).tiny
        e = y.dtype.type(0)
        for k in range(y.size):
            e += y[k] - t[k]
            if t[k] > 0:
                e += t[k] * (math.log(t[k]) - math.log(at_least(tiny, y[k])))
        return e

    @staticmethod
    def error_canonical(a: Any, y: Any, t: Any) -> float:
        e = y.dtype.type(0)
        for k in range(y.size):
            e += y[k] - t[k]
            if t[k] > 0:
                e += t[k] * (math.log(t[k]) - a[k])
        return e

    @staticmethod
    def slope(y: Any, t: Any, d: Any) -> None:
        one, tiny = y.dtype.type(1), np.finfo(y.dtype).tiny
        for k in range(y.size):
            d[k] = one - t[k] / at_least(tiny, y[k])


# ------------------------------------------------------------ the same losses as scikit-learn's estimators compute them


@kernel
def clipped(eps: Any, y: Any) -> Any:
    """A probability from eps to 1 - eps; NaN stays NaN."""
    most = type(eps)(1) - eps
    return at_least(eps, most if y > most else y)


class LogLoss(CrossEntropy):
    """scikit-learn's log_loss of a softmax, in which probabilities are clipped."""

    @staticmethod
    def error_canonical(a: Any, y: Any, t: Any) -> float:
        e, eps = y.dtype.type(0), np.finfo(y.dtype).eps
        for k in range(y.size):
            if t[k] > 0:
                e -= t[k] * math.log(clipped(eps, y[k]))
        return e


class BinaryLogLoss(BinaryCrossEntropy):
    """scikit-learn's binary_log_loss of logistic outputs; targets are 0 or 1."""

    @staticmethod
    def error_canonical(a: Any, y: Any, t: Any) -> float:
        e, one, eps = y.dtype.type(0), y.dtype.type(1), np.finfo(y.dtype).eps
        for k in range(y.size):
            p = clipped(eps, y[k])
            e -= math.log(p if t[k] > 0 else one - p)
        return e


class PoissonLoss(Poisson):
    """scikit-learn's poisson_loss: infinite or NaN where an exp has underflowed to 0, and NaN where a target is negative."""

    @staticmethod
    def error_canonical(a: Any, y: Any, t: Any) -> float:
        e = y.dtype.type(0)
        for k in range(y.size):
            ratio = t[k] / y[k]
            e += y[k] - t[k]
            if t[k] != 0 or ratio != ratio:
                e += t[k] * math.log(ratio)
        return e


LOSSES: tuple[type[Any], ...] = (SquaredError, CrossEntropy, BinaryCrossEntropy, Poisson)
LossName: TypeAlias = Literal["squared_error", "cross_entropy", "binary_cross_entropy", "poisson"]

BY_NAME: dict[LossName, type[Any]] = {loss.name: loss for loss in LOSSES}

error, pointer_to_error = by_pointer(lambda p: p.accumulation(*[vector(p.accumulation)] * 3))
slope, pointer_to_slope = by_pointer(lambda p: types.none(*[vector(p.accumulation)] * 3))


def outputs_for(loss: LossName) -> tuple[OutputActivation, ...]:
    """The names of the output activations that a loss goes with."""
    accepts = BY_NAME[loss].accepts
    return tuple(activation.name for activation in ACTIVATIONS if activation.values in accepts)
