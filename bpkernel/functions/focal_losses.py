"""Cross-entropies that count samples already well classified less."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from bpkernel.functions.elementwise_losses import ElementwiseLoss, above_0
from bpkernel.functions.logarithm import log
from bpkernel.functions.loops import Scalar
from bpkernel.functions.settings import not_negative


@dataclass(frozen=True)
class Focal(ElementwiseLoss):
    """Cross-entropy that counts samples already well classified less, -Σ_k t_k (1 - y_k)^gamma log y_k (Lin et al. 2017).

    Parameters
    ----------
    gamma : float, default=2.0
        γ of the paper, at least 0; with 0 it is cross_entropy.
    """

    gamma: float = 2.0
    name = "focal"
    accepts = ("probability",)
    targets = "distribution"
    class_indices = True

    def __post_init__(self) -> None:
        not_negative("gamma", self.gamma)

    @cached_property
    def error(self) -> Scalar:
        term = _focal_term(float(self.gamma))
        return lambda y, t: term(y, 1 - y, t)

    @cached_property
    def slope(self) -> Scalar:
        slope = _focal_slope(float(self.gamma))
        return lambda y, t: slope(y, 1 - y, t)

    @cached_property
    def curvature(self) -> Scalar:
        curvature = _focal_curvature(float(self.gamma))
        return lambda y, t: curvature(y, 1 - y, t)


@dataclass(frozen=True)
class BinaryFocal(Focal):
    """`Focal` of outputs that are each the probability of one of two classes, Σ_k of t_k and y_k and of 1 - t_k and 1 - y_k.

    Parameters
    ----------
    gamma : float, default=2.0
        γ of the paper, at least 0; with 0 it is binary_cross_entropy.
    """

    name = "binary_focal"
    targets = "probability"
    class_indices = False

    @cached_property
    def error(self) -> Scalar:
        term = _focal_term(float(self.gamma))
        return lambda y, t: term(y, 1 - y, t) + term(1 - y, y, 1 - t)

    @cached_property
    def slope(self) -> Scalar:
        slope = _focal_slope(float(self.gamma))
        return lambda y, t: slope(y, 1 - y, t) - slope(1 - y, y, 1 - t)

    @cached_property
    def curvature(self) -> Scalar:
        curvature = _focal_curvature(float(self.gamma))
        return lambda y, t: curvature(y, 1 - y, t) + curvature(1 - y, y, 1 - t)


def _focal_term(gamma: float) -> Scalar:
    """The term of one class, as a function of its probability p, of 1 - p, and of the target."""

    def term(p: Any, rest: Any, t: Any) -> Any:
        return -t * rest**gamma * log(above_0(p))

    return term


def _focal_slope(gamma: float) -> Scalar:
    """The derivative of that term with respect to p."""

    def slope(p: Any, rest: Any, t: Any) -> Any:
        rest, p = above_0(rest), above_0(p)
        return t * rest**gamma * (gamma * log(p) / rest - 1 / p)

    return slope


def _focal_curvature(gamma: float) -> Scalar:
    """The second derivative of that term."""

    def curvature(p: Any, rest: Any, t: Any) -> Any:
        rest, p = above_0(rest), above_0(p)
        return t * rest**gamma * (1 / p / p + gamma * (2 / p - (gamma - 1) * log(p) / rest) / rest)

    return curvature
