"""Floor 1: the activations g.  To add one, write a class as below and name it in ACTIVATIONS.

Each works in place on 1-D arrays of one length and dtype:

    g(z)              z_j ← g(z_j), where z_j is a_j before
    pull_back(z, d)   d_j ← ∂E/∂a_j from d_j = ∂E/∂z_j, that is g'(a_j) d_j with g' told by z; for softmax, the full Jacobian

`elementwise` says that one unit does not depend on the others: then the arrays may hold the units of many samples.
The functions are plain Python that Numba compiles; `one = z.dtype.type(1)` keeps float32 arithmetic in float32.
"""

from typing import Any

from numba import types

from bpkernel.compiler import by_address
from bpkernel.elementary import exp, logistic, tanh
from bpkernel.tiles import vector


class Identity:
    name = "identity"
    values = "real"
    hidden = True
    elementwise = True

    @staticmethod
    def g(z: Any) -> None:
        pass

    @staticmethod
    def pull_back(z: Any, d: Any) -> None:
        pass


class Logistic:
    name = "logistic"
    values = "probability"
    hidden = True
    elementwise = True

    @staticmethod
    def g(z: Any) -> None:
        for j in range(z.size):
            z[j] = logistic(z[j])

    @staticmethod
    def pull_back(z: Any, d: Any) -> None:
        one = z.dtype.type(1)
        for j in range(z.size):
            d[j] *= z[j] * (one - z[j])


class Tanh:
    name = "tanh"
    values = "real"
    hidden = True
    elementwise = True

    @staticmethod
    def g(z: Any) -> None:
        for j in range(z.size):
            z[j] = tanh(z[j])

    @staticmethod
    def pull_back(z: Any, d: Any) -> None:
        one = z.dtype.type(1)
        for j in range(z.size):
            d[j] *= one - z[j] * z[j]


class ReLU:
    name = "relu"
    values = "real"
    hidden = True
    elementwise = True

    @staticmethod
    def g(z: Any) -> None:
        zero = z.dtype.type(0)
        for j in range(z.size):
            z[j] = zero if z[j] < zero else z[j]  # in this order a NaN stays a NaN

    @staticmethod
    def pull_back(z: Any, d: Any) -> None:
        zero = z.dtype.type(0)
        for j in range(z.size):
            d[j] = d[j] if z[j] > zero else zero


class Softmax:
    name = "softmax"
    values = "probability"
    hidden = False
    elementwise = False

    @staticmethod
    def g(z: Any) -> None:
        largest = z[0]
        for j in range(1, z.size):
            largest = max(largest, z[j])
        total = z.dtype.type(0)
        for j in range(z.size):
            z[j] = exp(z[j] - largest)
        for j in range(z.size):
            total += z[j]
        for j in range(z.size):
            z[j] /= total

    @staticmethod
    def pull_back(z: Any, d: Any) -> None:
        # Σ_k ∂z_k/∂a_j d_k with ∂z_k/∂a_j = z_k (δ_kj - z_j), which is z_j (d_j - Σ_k z_k d_k)
        mean = z.dtype.type(0)
        for j in range(z.size):
            mean += z[j] * d[j]
        for j in range(z.size):
            d[j] = z[j] * (d[j] - mean)


class Exp:
    name = "exp"
    values = "positive"
    hidden = False
    elementwise = True

    @staticmethod
    def g(z: Any) -> None:
        for j in range(z.size):
            z[j] = exp(z[j])

    @staticmethod
    def pull_back(z: Any, d: Any) -> None:
        for j in range(z.size):
            d[j] *= z[j]


ACTIVATIONS: tuple[type[Any], ...] = (Identity, Logistic, Tanh, ReLU, Softmax, Exp)

BY_NAME = {activation.name: activation for activation in ACTIVATIONS}
HIDDEN = tuple(activation.name for activation in ACTIVATIONS if activation.hidden)

activate, address_of_g = by_address(lambda real: types.none(vector(real)))
pull_back, address_of_pull_back = by_address(lambda real: types.none(vector(real), vector(real)))
