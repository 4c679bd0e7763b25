"""Activations of one unit at a time, as scalar functions.  To add one, write a class as below and add it to ELEMENTWISE.

    g(a)             z
    g_prime(a, z)    g'(a), from a or z, whichever is cheaper
    g_second(a, z)   g''(a), likewise; None where it is 0 everywhere

The functions are plain Python that Numba compiles into loops; a setting of the activation is a variable of their closure.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

from bpkernel.codegen.scalar_functions import reads
from bpkernel.functions.elementary import exp, expm1, logistic
from bpkernel.functions.error_function import normal_cdf
from bpkernel.functions.logarithm import softplus as log_1_plus_exp
from bpkernel.functions.loops import Scalar, forward_of, second_of, vjp_of
from bpkernel.functions.settings import WithSettings, not_negative, positive


class Elementwise(WithSettings):
    """Base of the activations that are scalar functions.

    Attributes
    ----------
    name : str
    values : str
        What values g takes: "real", "positive" or "probability".  Losses are defined for some of them.
    hidden : bool
        Whether hidden layers may have it.
    init : str
        The initialisation of weights that goes with it.
    g, g_prime, g_second : callable
    """

    name: Any
    values: Any = "real"
    hidden: ClassVar[bool] = True
    init: ClassVar[str] = "he_uniform"
    g: Any
    g_prime: Any
    g_second: Any = None

    @cached_property
    def forward(self) -> Any:
        """z_j ← g(z_j), as of `activations`."""
        return forward_of(self.g)

    @cached_property
    def vjp(self) -> Any:
        """d_j ← g'(a_j) d_j, as of `activations`."""
        return vjp_of(self.g_prime)

    @cached_property
    def second(self) -> Any:
        """s_j ← s_j + g''(a_j) r_j d_j, as of `activations`; None where g'' is 0 everywhere."""
        return None if self.g_second is None else second_of(self.g_second)

    @cached_property
    def needs_a(self) -> bool:
        """Whether g_prime reads a."""
        return reads(self.g_prime, 0)


@dataclass(frozen=True)
class LeakyReLU(Elementwise):
    """g(a) = a, or slope · a where a is negative (Maas et al. 2013).

    Parameters
    ----------
    slope : float, default=0.01
        0 ≤ slope < ∞.
    """

    slope: float = 0.01
    name = "leaky_relu"

    def __post_init__(self) -> None:
        not_negative("slope", self.slope)

    @cached_property
    def g(self) -> Scalar:
        slope = float(self.slope)
        return lambda a: slope * a if a < 0 else a

    @cached_property
    def g_prime(self) -> Scalar:
        slope = float(self.slope)
        return lambda a, z: 1.0 if z > 0 else slope


@dataclass(frozen=True)
class ELU(Elementwise):
    """g(a) = a, or alpha (e^a - 1) where a is negative (Clevert et al. 2016).

    Parameters
    ----------
    alpha : float, default=1.0
        0 < alpha < ∞.
    """

    alpha: float = 1.0
    name = "elu"

    def __post_init__(self) -> None:
        positive("alpha", self.alpha)

    @cached_property
    def g(self) -> Scalar:
        alpha = float(self.alpha)
        return lambda a: alpha * expm1(a) if a < 0 else a

    @cached_property
    def g_prime(self) -> Scalar:
        alpha = float(self.alpha)
        return lambda a, z: 1.0 if z > 0 else z + alpha

    @cached_property
    def g_second(self) -> Scalar:
        alpha = float(self.alpha)
        return lambda a, z: 0.0 if z > 0 else z + alpha


SELU_SCALE, SELU_ALPHA = 1.0507009873554805, 1.6732632423543772


class SELU(Elementwise):
    """g(a) = scale · a, or scale · alpha (e^a - 1) where a is negative, with which layers normalise themselves.

    Klambauer et al. 2017, eq. 14, to the precision of float64.
    """

    name = "selu"
    init = "lecun_normal"

    @staticmethod
    def g(a: Any) -> Any:
        return SELU_SCALE * (SELU_ALPHA * expm1(a) if a < 0 else a)

    @staticmethod
    def g_prime(a: Any, z: Any) -> Any:
        return SELU_SCALE if z > 0 else z + SELU_SCALE * SELU_ALPHA

    @staticmethod
    def g_second(a: Any, z: Any) -> Any:
        return 0.0 if z > 0 else z + SELU_SCALE * SELU_ALPHA


class Softplus(Elementwise):
    """g(a) = log(1 + e^a) (Dugas et al. 2001)."""

    name = "softplus"
    values = "positive"

    @staticmethod
    def g(a: Any) -> Any:
        return log_1_plus_exp(a)

    @staticmethod
    def g_prime(a: Any, z: Any) -> Any:
        return -expm1(-z)  # the logistic function of a

    @staticmethod
    def g_second(a: Any, z: Any) -> Any:
        return -expm1(-z) * exp(-z)


class SiLU(Elementwise):
    """g(a) = a σ(a), with the logistic function σ; also called swish (Hendrycks and Gimpel 2016)."""

    name = "silu"

    @staticmethod
    def g(a: Any) -> Any:
        return a * logistic(a)

    @staticmethod
    def g_prime(a: Any, z: Any) -> Any:
        s = logistic(a)
        return s + z * (1 - s)

    @staticmethod
    def g_second(a: Any, z: Any) -> Any:
        s = logistic(a)
        return s * (1 - s) * (2 + a * (1 - 2 * s))


PER_ROOT_2_PI = 1 / math.sqrt(2 * math.pi)


class GELU(Elementwise):
    """g(a) = a Φ(a), with the distribution function Φ of the normal distribution (Hendrycks and Gimpel 2016).

    It is not the approximation by tanh.
    """

    name = "gelu"

    @staticmethod
    def g(a: Any) -> Any:
        return a * normal_cdf(a)

    @staticmethod
    def g_prime(a: Any, z: Any) -> Any:
        # Φ(a) is z / a, which takes less time than Φ; near 0, where it would be 0 / 0, 1/2 + a φ(0) differs from it by a³ / 15
        small = abs(a) < 1e-6
        cdf = 0.5 + PER_ROOT_2_PI * a if small else z / (1.0 if small else a)
        return cdf + PER_ROOT_2_PI * a * exp(-0.5 * a * a)

    @staticmethod
    def g_second(a: Any, z: Any) -> Any:
        return PER_ROOT_2_PI * (2 - a * a) * exp(-0.5 * a * a)


class HardSigmoid(Elementwise):
    """g(a) = a / 6 + 1/2, from 0 to 1 (as in Howard et al. 2019, for mobile processors)."""

    name = "hard_sigmoid"
    values = "probability"
    init = "glorot_uniform"

    @staticmethod
    def g(a: Any) -> Any:
        return min(max(a / 6 + 0.5, 0), 1)

    @staticmethod
    def g_prime(a: Any, z: Any) -> Any:
        return 1 / 6 if 0 < z < 1 else 0.0


class HardTanh(Elementwise):
    """g(a) = a, from -1 to 1 (Collobert 2004)."""

    name = "hard_tanh"
    init = "glorot_uniform"

    @staticmethod
    def g(a: Any) -> Any:
        return min(max(a, -1), 1)

    @staticmethod
    def g_prime(a: Any, z: Any) -> Any:
        return 1.0 if -1 < z < 1 else 0.0


class HardSiLU(Elementwise):
    """g(a) = a times the hard sigmoid of a; also called hard swish (Howard et al. 2019)."""

    name = "hard_silu"

    @staticmethod
    def g(a: Any) -> Any:
        return a * min(max(a / 6 + 0.5, 0), 1)

    @staticmethod
    def g_prime(a: Any, z: Any) -> Any:
        return (0.0 if a <= -3 else 1.0) if abs(a) >= 3 else a / 3 + 0.5

    @staticmethod
    def g_second(a: Any, z: Any) -> Any:
        return 0.0 if abs(a) >= 3 else 1 / 3


ELEMENTWISE: tuple[type[Any], ...] = (LeakyReLU, ELU, SELU, Softplus, SiLU, GELU, HardSigmoid, HardTanh, HardSiLU)
