"""Floor 1: the activations g.  To add one, write a class as below and name it in ACTIVATIONS.

Each works on the units of one layer for one sample, as 1-D arrays of one length and dtype:

    g(a, z)              z_j ← g(a_j)
    pull_back(a, z, d)   d_j ← ∂E/∂a_j from d_j = ∂E/∂z_j, that is g'(a_j) d_j; for softmax, the full Jacobian

The functions are plain Python that Numba compiles; `one = a.dtype.type(1)` keeps float32 arithmetic in float32.
"""

import math
from typing import Any

from bpkernel.compiler import switch


class Identity:
    name = "identity"
    values = "real"
    hidden = True

    @staticmethod
    def g(a: Any, z: Any) -> None:
        for j in range(a.size):
            z[j] = a[j]

    @staticmethod
    def pull_back(a: Any, z: Any, d: Any) -> None:
        pass


class Logistic:
    name = "logistic"
    values = "probability"
    hidden = True

    @staticmethod
    def g(a: Any, z: Any) -> None:
        one = a.dtype.type(1)
        for j in range(a.size):
            z[j] = one / (one + math.exp(-a[j]))

    @staticmethod
    def pull_back(a: Any, z: Any, d: Any) -> None:
        one = a.dtype.type(1)
        for j in range(a.size):
            d[j] *= z[j] * (one - z[j])


class Tanh:
    name = "tanh"
    values = "real"
    hidden = True

    @staticmethod
    def g(a: Any, z: Any) -> None:
        for j in range(a.size):
            z[j] = math.tanh(a[j])

    @staticmethod
    def pull_back(a: Any, z: Any, d: Any) -> None:
        one = a.dtype.type(1)
        for j in range(a.size):
            d[j] *= one - z[j] * z[j]


class ReLU:
    name = "relu"
    values = "real"
    hidden = True

    @staticmethod
    def g(a: Any, z: Any) -> None:
        zero = a.dtype.type(0)
        for j in range(a.size):
            z[j] = zero if a[j] < zero else a[j]  # in this order a NaN stays a NaN

    @staticmethod
    def pull_back(a: Any, z: Any, d: Any) -> None:
        zero = a.dtype.type(0)
        for j in range(a.size):
            d[j] = d[j] if a[j] > zero else zero


class Softmax:
    name = "softmax"
    values = "probability"
    hidden = False

    @staticmethod
    def g(a: Any, z: Any) -> None:
        largest = a[0]
        for j in range(1, a.size):
            largest = max(largest, a[j])
        total = a.dtype.type(0)
        for j in range(a.size):
            z[j] = math.exp(a[j] - largest)
            total += z[j]
        for j in range(a.size):
            z[j] /= total

    @staticmethod
    def pull_back(a: Any, z: Any, d: Any) -> None:
        # Σ_k ∂z_k/∂a_j d_k with ∂z_k/∂a_j = z_k (δ_kj - z_j), which is z_j (d_j - Σ_k z_k d_k)
        mean = a.dtype.type(0)
        for j in range(a.size):
            mean += z[j] * d[j]
        for j in range(a.size):
            d[j] = z[j] * (d[j] - mean)


class Exp:
    name = "exp"
    values = "positive"
    hidden = False

    @staticmethod
    def g(a: Any, z: Any) -> None:
        for j in range(a.size):
            z[j] = math.exp(a[j])

    @staticmethod
    def pull_back(a: Any, z: Any, d: Any) -> None:
        for j in range(a.size):
            d[j] *= z[j]


ACTIVATIONS: tuple[type[Any], ...] = (Identity, Logistic, Tanh, ReLU, Softmax, Exp)

CODES = {activation.name: code for code, activation in enumerate(ACTIVATIONS)}
HIDDEN = tuple(activation.name for activation in ACTIVATIONS if activation.hidden)

activate = switch([activation.g for activation in ACTIVATIONS])
pull_back = switch([activation.pull_back for activation in ACTIVATIONS])
