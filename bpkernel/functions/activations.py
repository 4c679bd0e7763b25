"""The activations g.

Each works in place on the units of one layer for some samples, in 1-D arrays: a row of `row` numbers for each sample, of which
those from `first` to `first + n` are units, and the others may be overwritten.

    forward(z, row, first, n)     z_j ← g(z_j): z_j is a_j before
    vjp(a, z, d, row, first, n)   d_j ← ∂E/∂a_j from d_j = ∂E/∂z_j, the vector-Jacobian product: g'(a_j) d_j, or for softmax the
                                  sum with the full Jacobian
    second(a, z, r, d, s, row, first, n)
                                  s_j ← s_j + g''(a_j) r_j d_j, the change of vjp's result where a changes in the direction r;
                                  None where it is 0
    needs_a                       whether vjp reads a; otherwise a holds other numbers (`second` is always given a)

Activations of one unit at a time are written as scalar functions, in `elementwise`.  Below are those that are not, and
the first ones, which are written as loops.  To add one, write a class there or here, add it to ELEMENTWISE or ACTIVATIONS, and
its name to the literal types.  The loops are plain Python that Numba compiles; `one = z.dtype.type(1)` keeps float32 arithmetic
in float32.
"""

from typing import Any, Literal, TypeAlias

from numba import types

from bpkernel.codegen.pointers import by_pointer
from bpkernel.codegen.views import vector
from bpkernel.functions.elementary import exp, logistic, tanh
from bpkernel.functions.elementwise import ELEMENTWISE


class Identity:
    name = "identity"
    values = "real"
    hidden = True
    needs_a = False
    init = "glorot_uniform"
    second = None

    @staticmethod
    def forward(z: Any, row: int, first: int, n: int) -> None:
        pass

    @staticmethod
    def vjp(a: Any, z: Any, d: Any, row: int, first: int, n: int) -> None:
        pass


class Logistic:
    name = "logistic"
    values = "probability"
    hidden = True
    needs_a = False
    init = "glorot_uniform"

    @staticmethod
    def forward(z: Any, row: int, first: int, n: int) -> None:
        for j in range(z.size):
            z[j] = logistic(z[j])

    @staticmethod
    def vjp(a: Any, z: Any, d: Any, row: int, first: int, n: int) -> None:
        one = z.dtype.type(1)
        for j in range(z.size):
            d[j] *= z[j] * (one - z[j])

    @staticmethod
    def second(a: Any, z: Any, r: Any, d: Any, s: Any, row: int, first: int, n: int) -> None:
        one, two = z.dtype.type(1), z.dtype.type(2)
        for j in range(z.size):
            s[j] += z[j] * (one - z[j]) * (one - two * z[j]) * r[j] * d[j]


class Tanh:
    name = "tanh"
    values = "real"
    hidden = True
    needs_a = False
    init = "glorot_uniform"

    @staticmethod
    def forward(z: Any, row: int, first: int, n: int) -> None:
        for j in range(z.size):
            z[j] = tanh(z[j])

    @staticmethod
    def vjp(a: Any, z: Any, d: Any, row: int, first: int, n: int) -> None:
        one = z.dtype.type(1)
        for j in range(z.size):
            d[j] *= one - z[j] * z[j]

    @staticmethod
    def second(a: Any, z: Any, r: Any, d: Any, s: Any, row: int, first: int, n: int) -> None:
        one, two = z.dtype.type(1), z.dtype.type(2)
        for j in range(z.size):
            s[j] -= two * z[j] * (one - z[j] * z[j]) * r[j] * d[j]


class ReLU:
    name = "relu"
    values = "real"
    hidden = True
    needs_a = False
    init = "he_uniform"
    second = None

    @staticmethod
    def forward(z: Any, row: int, first: int, n: int) -> None:
        zero, one = z.dtype.type(0), z.dtype.type(1 if row > 0 else 0)
        for j in range(z.size):
            # In this order a NaN stays a NaN.  The compiler does not know that one is 1, or it would store only zeros, under a
            # mask, which takes 0.57 instead of 0.05 ns a unit with AVX2 on Zen 4.
            z[j] = zero if z[j] < zero else z[j] * one

    @staticmethod
    def vjp(a: Any, z: Any, d: Any, row: int, first: int, n: int) -> None:
        zero = z.dtype.type(0)
        for j in range(z.size):
            d[j] = d[j] if z[j] > zero else zero


class Softmax:
    name = "softmax"
    values = "probability"
    hidden = False
    needs_a = False
    init = "glorot_uniform"

    @staticmethod
    def forward(z: Any, row: int, first: int, n: int) -> None:
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
    def vjp(a: Any, z: Any, d: Any, row: int, first: int, n: int) -> None:
        # Σ_k ∂z_k/∂a_j d_k with ∂z_k/∂a_j = z_k (δ_kj - z_j), which is z_j (d_j - Σ_k z_k d_k)
        for start in range(first, z.size, row):
            mean = z.dtype.type(0)
            for j in range(start, start + n):
                mean += z[j] * d[j]
            for j in range(start, start + n):
                d[j] = z[j] * (d[j] - mean)

    @staticmethod
    def second(a: Any, z: Any, r: Any, d: Any, s: Any, row: int, first: int, n: int) -> None:
        # z_j changes by z_j (r_j - Σ_k z_k r_k), and so does each z in the result of vjp
        for start in range(first, z.size, row):
            mean_r = mean_d = mean = z.dtype.type(0)
            for j in range(start, start + n):
                mean_r += z[j] * r[j]
                mean_d += z[j] * d[j]
            for j in range(start, start + n):
                mean += z[j] * (r[j] - mean_r) * d[j]
            for j in range(start, start + n):
                s[j] += z[j] * ((r[j] - mean_r) * (d[j] - mean_d) - mean)


class Exp:
    name = "exp"
    values = "positive"
    hidden = False
    needs_a = False
    init = "glorot_uniform"

    @staticmethod
    def forward(z: Any, row: int, first: int, n: int) -> None:
        for j in range(z.size):
            z[j] = exp(z[j])

    @staticmethod
    def vjp(a: Any, z: Any, d: Any, row: int, first: int, n: int) -> None:
        for j in range(z.size):
            d[j] *= z[j]

    @staticmethod
    def second(a: Any, z: Any, r: Any, d: Any, s: Any, row: int, first: int, n: int) -> None:
        for j in range(z.size):
            s[j] += z[j] * r[j] * d[j]


class MeanVariance:
    """The means and the variances of normal distributions: half of the units stay as they are, of the others e^a is taken.

    With n targets there are n means, then n variances; see the loss `gaussian_nll`.
    """

    name = "mean_variance"
    values = "mean_variance"
    hidden = False
    needs_a = False
    init = "glorot_uniform"

    @staticmethod
    def forward(z: Any, row: int, first: int, n: int) -> None:
        for start in range(first + n // 2, z.size, row):
            for j in range(start, start + n - n // 2):
                z[j] = exp(z[j])

    @staticmethod
    def vjp(a: Any, z: Any, d: Any, row: int, first: int, n: int) -> None:
        for start in range(first + n // 2, z.size, row):
            for j in range(start, start + n - n // 2):
                d[j] *= z[j]

    @staticmethod
    def second(a: Any, z: Any, r: Any, d: Any, s: Any, row: int, first: int, n: int) -> None:
        for start in range(first + n // 2, z.size, row):
            for j in range(start, start + n - n // 2):
                s[j] += z[j] * r[j] * d[j]


ACTIVATIONS: tuple[type[Any], ...] = (Identity, Logistic, Tanh, ReLU, *ELEMENTWISE, Softmax, Exp, MeanVariance)
HiddenActivation: TypeAlias = Literal[
    "identity", "logistic", "tanh", "relu",
    "leaky_relu", "elu", "selu", "softplus", "silu", "gelu", "hard_sigmoid", "hard_tanh", "hard_silu",
]  # fmt: skip
OutputActivation: TypeAlias = Literal[HiddenActivation, "softmax", "exp", "mean_variance"]

BY_NAME: dict[str, Any] = {activation.name: activation() for activation in ACTIVATIONS}
HIDDEN: tuple[HiddenActivation, ...] = tuple(activation.name for activation in ACTIVATIONS if activation.hidden)

_INTS = (types.intp,) * 3
forward, pointer_to_forward = by_pointer(lambda p: types.none(vector(p.accumulation), *_INTS), may_raise=True)
vjp, pointer_to_vjp = by_pointer(lambda p: types.none(*[vector(p.accumulation)] * 3, *_INTS), may_raise=True)
second, pointer_to_second = by_pointer(lambda p: types.none(*[vector(p.accumulation)] * 5, *_INTS), may_raise=True)
