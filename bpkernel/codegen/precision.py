"""The three dtypes of a computation."""

from typing import Any, NamedTuple

import numba
import numpy as np


class Precision(NamedTuple):
    """The dtypes of the three roles that numbers have in training.

    Where storage and accumulation are the same dtype, z replaces a in memory, and δ replaces Σ_k w_kj δ_k.
    """

    storage: Any  # of what products read: z, δ and packed weights
    accumulation: Any  # of the sums of products: a, and what activations and losses compute with
    master: Any  # of the weights, their gradient and the state of the optimizer

    @classmethod
    def of(cls, dtype: Any) -> "Precision":
        """One dtype, float32 or float64, in all three roles."""
        return cls(*[np.dtype(dtype)] * 3)

    def types(self) -> "Precision":
        """Numba's types of the dtypes."""
        return Precision(*map(numba.from_dtype, self))


PRECISIONS = (Precision.of(np.float32), Precision.of(np.float64))  # what kernels are compiled for
