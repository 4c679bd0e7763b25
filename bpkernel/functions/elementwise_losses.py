"""Losses that are a sum over the outputs.  To add one, write a class as below and add it to ELEMENTWISE_LOSSES.

    error(y, t)       the term of one output in E^n
    slope(y, t)       ∂E^n/∂y of this output
    curvature(y, t)   ∂²E^n/∂y² of this output

The functions are plain Python that Numba compiles into loops; a setting of the loss is a variable of their closure.
"""

import math
import sys
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from bpkernel.codegen.scalars import by_dtype, exact
from bpkernel.functions.elementary import exp, expm1, tanh
from bpkernel.functions.logarithm import log, log1p
from bpkernel.functions.loops import Scalar, sample_curvature_of, sample_error_of, sample_slope_of
from bpkernel.functions.settings import WithSettings, between, positive

ANY = ("real", "positive", "probability")  # values of the outputs


class ElementwiseLoss(WithSettings):
    """Base of the losses that are a sum over the outputs of a scalar function.

    Attributes
    ----------
    name : str
    accepts : tuple of str
        The kinds of output that the loss is defined for, the `values` of the activations.
    targets : str
        What the targets may be: a key of `losses.TARGETS`.
    class_indices : bool
        Whether class indices are converted to one-hot rows.
    canonical : None
        The name of an activation for which Eq. 5 is y - t; here there is none.
    error, slope, curvature : callable
    """

    name: Any
    accepts: Any = ANY
    targets: Any = "real"
    class_indices: Any = False
    canonical: ClassVar[None] = None
    error: Any
    slope: Any
    curvature: Any
    deltas: Any = {}  # noqa: RUF012 (by output activation: δ as a function of y and t, where the slope may overflow and δ not)

    @cached_property
    def deltas_with(self) -> dict[str, Any]:
        """By the name of an output activation: δ of one sample, as of `losses`."""
        return {name: sample_slope_of(delta) for name, delta in self.deltas.items()}

    @cached_property
    def sample_error(self) -> Any:
        """E^n of one sample, as of `losses`."""
        return sample_error_of(self.error)

    @cached_property
    def sample_slope(self) -> Any:
        """∂E^n/∂y of one sample, as of `losses`."""
        return sample_slope_of(self.slope)

    @cached_property
    def sample_curvature(self) -> Any:
        """Σ_l ∂²E^n/∂y_k∂y_l r_l of one sample, as of `losses`."""
        return sample_curvature_of(self.curvature)

    def n_targets(self, n_outputs: int) -> int:
        """The targets of a sample for a net of so many outputs."""
        return n_outputs


class AbsoluteError(ElementwiseLoss):
    """Σ_k |y_k - t_k|; the slope is 0 where y_k = t_k."""

    name = "absolute_error"

    @staticmethod
    def error(y: Any, t: Any) -> Any:
        return abs(y - t)

    @staticmethod
    def slope(y: Any, t: Any) -> Any:
        r = y - t
        return r / abs(r) if r != 0 else r

    @staticmethod
    def curvature(y: Any, t: Any) -> Any:
        return 0.0 * (y - t)


@dataclass(frozen=True)
class Huber(ElementwiseLoss):
    """Σ_k of ½ r² where |r| ≤ delta, and delta (|r| - ½ delta) beyond, with r = y_k - t_k (Huber 1964).

    Parameters
    ----------
    delta : float, default=1.0
        In units of the targets, 0 < delta < ∞.
    """

    delta: float = 1.0
    name = "huber"

    def __post_init__(self) -> None:
        positive("delta", self.delta)

    @cached_property
    def error(self) -> Scalar:
        delta = float(self.delta)

        def error(y: Any, t: Any) -> Any:
            r = abs(y - t)
            return 0.5 * r * r if r <= delta else delta * (r - 0.5 * delta)

        return error

    @cached_property
    def slope(self) -> Scalar:
        delta = float(self.delta)
        return lambda y, t: min(max(y - t, -delta), delta)

    @cached_property
    def curvature(self) -> Scalar:
        delta = float(self.delta)
        return lambda y, t: 1.0 if abs(y - t) <= delta else 0.0


LOG_2 = math.log(2)


class LogCosh(ElementwiseLoss):
    """Σ_k log cosh(y_k - t_k): about ½ r² near 0, and |r| - log 2 far from it."""

    name = "log_cosh"

    @staticmethod
    def error(y: Any, t: Any) -> Any:
        r = abs(y - t)
        m = expm1(-r)  # cosh r - 1 = m² / (2 (1 + m)), which is precise where r is small, and does not overflow
        return log1p(0.5 * m * m / (1 + m)) if r < 1 else r + log1p(exp(-2 * r)) - LOG_2

    @staticmethod
    def slope(y: Any, t: Any) -> Any:
        return tanh(y - t)

    @staticmethod
    def curvature(y: Any, t: Any) -> Any:
        m = tanh(y - t)
        return 1 - m * m


class Hinge(ElementwiseLoss):
    """Σ_k max(0, 1 - t_k y_k), with targets -1 and 1 (the loss of a support vector machine)."""

    name = "hinge"
    accepts = ("real",)
    targets = "sign"

    @staticmethod
    def error(y: Any, t: Any) -> Any:
        return max(1 - t * y, 0)

    @staticmethod
    def slope(y: Any, t: Any) -> Any:
        return -t if t * y < 1 else 0.0

    @staticmethod
    def curvature(y: Any, t: Any) -> Any:
        return 0.0 * (y - t)


def slope_per_softplus(y: Any) -> Any:
    """g'(a) / g(a) of softplus, (1 - e^-y) / y with y = g(a): close to 1 where both underflow."""
    y = above_0(y)
    return -expm1(-y) / y


def above_0(y: Any) -> Any:
    """y, or the smallest normal number of its dtype if y has underflowed to 0; NaN stays NaN."""
    return y if y > sys.float_info.min or y != y else sys.float_info.min


def _above_0(dtype: type[Any]) -> Any:
    tiny = np.finfo(dtype).tiny
    return exact(lambda y: tiny if y < tiny else y)


by_dtype(above_0, _above_0(np.float32), _above_0(np.float64))


class Gamma(ElementwiseLoss):
    """Half the deviance of the gamma distribution, Σ_k log(y_k / t_k) + t_k / y_k - 1; targets are greater than 0."""

    name = "gamma"
    accepts = ("positive",)
    targets = "positive"

    @staticmethod
    def error(y: Any, t: Any) -> Any:
        ratio = t / above_0(y)
        return ratio - 1 - log(ratio)

    @staticmethod
    def slope(y: Any, t: Any) -> Any:
        y = above_0(y)
        return (1 - t / y) / y

    @staticmethod
    def curvature(y: Any, t: Any) -> Any:
        y = above_0(y)
        return (2 * t / y - 1) / y / y

    deltas = {  # noqa: RUF012
        "exp": lambda y, t: 1 - t / above_0(y),
        "softplus": lambda y, t: (1 - t / above_0(y)) * slope_per_softplus(y),
    }


@dataclass(frozen=True)
class Tweedie(ElementwiseLoss):
    """Half the deviance of a Tweedie distribution (Jørgensen 1987), 0 where y = t.

    Σ_k t^(2 - p) / ((1 - p) (2 - p)) - t y^(1 - p) / (1 - p) + y^(2 - p) / (2 - p), with the power p.

    Parameters
    ----------
    power : float, default=1.5
        p > 1, not 2: from 1 to 2 a compound of Poisson and gamma distributions, with many targets that are 0; above 2 all
        targets are greater than 0.  For p = 0, 1 and 2 use squared_error, poisson and gamma.
    """

    power: float = 1.5
    name = "tweedie"
    accepts = ("positive",)

    def __post_init__(self) -> None:
        between("power", self.power, 1, math.inf, "greater than 1; for 0 and 1 use squared_error and poisson")
        if self.power == 2:
            raise ValueError("power must not be 2: use the loss gamma")

    @property
    def targets(self) -> str:
        return "non_negative" if self.power < 2 else "positive"

    @cached_property
    def error(self) -> Scalar:
        p = float(self.power)
        p_1, p_2 = 1 - p, 2 - p

        def error(y: Any, t: Any) -> Any:
            y = above_0(y)
            return (t**p_2 / p_1 + y**p_2) / p_2 - t * y**p_1 / p_1

        return error

    @cached_property
    def slope(self) -> Scalar:
        p = float(self.power)

        def slope(y: Any, t: Any) -> Any:
            y = above_0(y)
            return (y - t) * y**-p

        return slope

    @cached_property
    def curvature(self) -> Scalar:
        p = float(self.power)

        def curvature(y: Any, t: Any) -> Any:
            y = above_0(y)
            return (1 - p * (y - t) / y) * y**-p

        return curvature

    @property
    def deltas(self) -> dict[str, Scalar]:
        p_1 = 1 - float(self.power)
        return {
            "exp": lambda y, t: (y - t) * above_0(y) ** p_1,
            "softplus": lambda y, t: (y - t) * above_0(y) ** p_1 * slope_per_softplus(y),
        }


ELEMENTWISE_LOSSES: tuple[type[Any], ...] = (AbsoluteError, Huber, LogCosh, Hinge, Gamma, Tweedie)
