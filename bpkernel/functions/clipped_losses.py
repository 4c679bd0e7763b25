"""The losses of a canonical pair as scikit-learn's estimators compute them: from outputs that are clipped."""

import math
from typing import Any

import numpy as np

from bpkernel.codegen.jit import kernel
from bpkernel.functions.joint_losses import at_least
from bpkernel.functions.losses import BinaryCrossEntropy, CrossEntropy, Poisson


@kernel
def clipped(eps: Any, y: Any) -> Any:
    """A probability from eps to 1 - eps; NaN stays NaN."""
    most = type(eps)(1) - eps
    return at_least(eps, most if y > most else y)


class LogLoss(CrossEntropy):
    """scikit-learn's log_loss of a softmax, in which probabilities are clipped."""

    @staticmethod
    def sample_error_canonical(a: Any, y: Any, t: Any) -> float:
        e, eps = y.dtype.type(0), np.finfo(y.dtype).eps
        for k in range(y.size):
            if t[k] > 0:
                e -= t[k] * math.log(clipped(eps, y[k]))
        return e


class BinaryLogLoss(BinaryCrossEntropy):
    """scikit-learn's binary_log_loss of logistic outputs; targets are 0 or 1."""

    @staticmethod
    def sample_error_canonical(a: Any, y: Any, t: Any) -> float:
        e, one, eps = y.dtype.type(0), y.dtype.type(1), np.finfo(y.dtype).eps
        for k in range(y.size):
            p = clipped(eps, y[k])
            e -= math.log(p if t[k] > 0 else one - p)
        return e


class PoissonLoss(Poisson):
    """scikit-learn's poisson_loss: infinite or NaN where an exp has underflowed to 0, and NaN where a target is negative."""

    @staticmethod
    def sample_error_canonical(a: Any, y: Any, t: Any) -> float:
        e = y.dtype.type(0)
        for k in range(y.size):
            ratio = t[k] / y[k]
            e += y[k] - t[k]
            if t[k] != 0 or ratio != ratio:
                e += t[k] * math.log(ratio)
        return e
