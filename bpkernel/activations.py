"""Floor 1: the activations g.  To add one, write a class as below and name it in ACTIVATIONS and OutputActivation.

Each works in place on the units of one layer for some samples, in a 1-D array: a row of `row` numbers for each sample, of
which those from `first` to `first + n` are units, and the others may be overwritten.

    g(z, row, first, n)              z_j ← g(z_j), where z_j is a_j before
    pull_back(z, d, row, first, n)   d_j ← ∂E/∂a_j from d_j = ∂E/∂z_j: g'(a_j) d_j with g' told by z; or the full Jacobian

The functions are plain Python that Numba compiles; `one = z.dtype.type(1)` keeps float32 arithmetic in float32.
"""

from typing import Any, Literal, TypeAlias

from numba import types

from bpkernel.compiler import by_address
from bpkernel.elementary import exp, logistic, tanh
from bpkernel.views import vector


class Identity:
    name = "identity"
    values = "real"
    hidden = True

    @staticmethod
    def g(z: Any, row: int, first: int, n: int) -> None:
        pass

    @staticmethod
    def pull_back(z: Any, d: Any, row: int, first: int, n: int) -> None:
        pass


class Logistic:
    name = "logistic"
    values = "probability"
    hidden = True

    @staticmethod
    def g(z: Any, row: int, first: int, n: int) -> None:
        for j in range(z.size):
            z[j] = logistic(z[j])

    @staticmethod
    def pull_back(z: Any, d: Any, row: int, first: int, n: int) -> None:
        one = z.dtype.type(1)
        for j in range(z.size):
            d[j] *= z[j] * (one - z[j])


class Tanh:
    name = "tanh"
    values = "real"
    hidden = True

    @staticmethod
    def g(z: Any, row: int, first: int, n: int) -> None:
        for j in range(z.size):
            z[j] = tanh(z[j])

    @staticmethod
    def pull_back(z: Any, d: Any, row: int, first: int, n: int) -> None:
        one = z.dtype.type(1)
        for j in range(z.size):
            d[j] *= one - z[j] * z[j]


class ReLU:
    name = "relu"
    values = "real"
    hidden = True

    @staticmethod
    def g(z: Any, row: int, first: int, n: int) -> None:
        zero = z.dtype.type(0)
        for j in range(z.size):
            z[j] = zero if z[j] < zero else z[j]  # in this order a NaN stays a NaN

    @staticmethod
    def pull_back(z: Any, d: Any, row: int, first: int, n: int) -> None:
        zero = z.dtype.type(0)
        for j in range(z.size):
            d[j] = d[j] if z[j] > zero else zero


class Softmax:
    name = "softmax"
    values = "probability"
    hidden = False

    @staticmethod
    def g(z: Any, row: int, first: int, n: int) -> None:
        for start in range(first, z.size, row):
            largest = z[start]
            for j in range(start + 1, start + n):
                largest = max(largest, z[j])
            for j in range(start, start + n):
                z[j] -= largest
        for j in range(z.size):  # in one loop for all samples, for it is the longest that vectorises best
            z[j] = exp(z[j])
        for start in range(first, z.size, row):
            total = z.dtype.type(0)
            for j in range(start, start + n):
                total += z[j]
            for j in range(start, start + n):
                z[j] /= total

    @staticmethod
    def pull_back(z: Any, d: Any, row: int, first: int, n: int) -> None:
        # Σ_k ∂z_k/∂a_j d_k with ∂z_k/∂a_j = z_k (δ_kj - z_j), which is z_j (d_j - Σ_k z_k d_k)
        for start in range(first, z.size, row):
            mean = z.dtype.type(0)
            for j in range(start, start + n):
                mean += z[j] * d[j]
            for j in range(start, start + n):
                d[j] = z[j] * (d[j] - mean)


class Exp:
    name = "exp"
    values = "positive"
    hidden = False

    @staticmethod
    def g(z: Any, row: int, first: int, n: int) -> None:
        for j in range(z.size):
            z[j] = exp(z[j])

    @staticmethod
    def pull_back(z: Any, d: Any, row: int, first: int, n: int) -> None:
        for j in range(z.size):
            d[j] *= z[j]


ACTIVATIONS: tuple[type[Any], ...] = (Identity, Logistic, Tanh, ReLU, Softmax, Exp)
HiddenActivation: TypeAlias = Literal["identity", "logistic", "tanh", "relu"]
OutputActivation: TypeAlias = Literal[HiddenActivation, "softmax", "exp"]

BY_NAME = {activation.name: activation for activation in ACTIVATIONS}
HIDDEN: tuple[HiddenActivation, ...] = tuple(activation.name for activation in ACTIVATIONS if activation.hidden)

INTS = (types.intp,) * 3
activate, address_of_g = by_address(lambda real: types.none(vector(real), *INTS))
pull_back, address_of_pull_back = by_address(lambda real: types.none(vector(real), vector(real), *INTS))
