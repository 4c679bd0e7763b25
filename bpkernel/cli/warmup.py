"""Compilation of all kernels, so that later programs load them from the cache."""

from collections.abc import Iterator

import numpy as np

from bpkernel.codegen.precision import Precision
from bpkernel.codegen.processor import VECTOR, WIDTHS
from bpkernel.functions.activations import ACTIVATIONS, pointer_to_g, pointer_to_vjp
from bpkernel.functions.losses import LOSSES, BinaryLogLoss, LogLoss, PoissonLoss, pointer_to_error, pointer_to_slope
from bpkernel.functions.optimizers import OPTIMIZERS, pointer_to_factors, pointer_to_update
from bpkernel.kernels.sparse import pointers_to_sparse
from bpkernel.kernels.sums import compile_panels, no_panels
from bpkernel.mlp import MLP


def warm_up(dtype: str) -> Iterator[str]:
    """Compile all kernels for one dtype into the cache, and yield the name of each part that has been compiled."""
    precision = Precision.of(dtype)
    for activation in ACTIVATIONS:
        pointer_to_g(activation.g, precision)
        pointer_to_vjp(activation.vjp, precision)
        yield activation.name
    for loss in LOSSES:
        pointer_to_error(loss.error, precision)
        pointer_to_error(loss.error_canonical, precision)
        pointer_to_slope(loss.slope, precision)
        yield loss.name
    for loss in (LogLoss, BinaryLogLoss, PoissonLoss):
        pointer_to_error(loss.error_canonical, precision)
        yield loss.__name__
    for optimizer in OPTIMIZERS:
        pointer_to_update(optimizer.update, precision)
        pointer_to_factors(optimizer.factors, precision)
        yield optimizer.__name__
    widths = [vectors * VECTOR // precision.storage.itemsize for vectors in WIDTHS]
    compile_panels(no_panels(), widths, precision, add=True, dots=True)
    yield "sums"
    pointers_to_sparse(precision)
    yield "sums of sparse inputs"
    net, X, T = MLP((1, 1, 1), dtype=precision.master, random_state=0), np.ones((1, 1)), np.ones((1, 1))
    net.fit(X, T, epochs=1)
    yield "fit"
    net.predict(X)
    yield "predict"
    net.backprop(X, T)
    yield "backprop"
