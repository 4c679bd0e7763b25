"""Compilation of all kernels, so that later programs load them from the cache."""

from collections.abc import Iterator

import numpy as np

from bpkernel.codegen.precision import Precision
from bpkernel.codegen.processor import VECTOR, WIDTHS
from bpkernel.functions.activations import BY_NAME as ACTIVATIONS
from bpkernel.functions.activations import pointer_to_forward, pointer_to_second, pointer_to_vjp
from bpkernel.functions.clipped_losses import BinaryLogLoss, LogLoss, PoissonLoss
from bpkernel.functions.losses import BY_NAME as LOSSES
from bpkernel.functions.losses import pointer_to_curvature, pointer_to_error, pointer_to_slope
from bpkernel.functions.optimizer import pointer_to_factors, pointer_to_update
from bpkernel.functions.optimizers import OPTIMIZERS
from bpkernel.kernels.dropout import loops_of_dropout
from bpkernel.kernels.normalisation import pointers_to_normalisation
from bpkernel.kernels.regularisation import Regularisation, loops_of
from bpkernel.kernels.sparse import pointers_to_sparse
from bpkernel.kernels.sums import ALONE, compile_panels, compile_rows, no_panels
from bpkernel.mlp import MLP


def warm_up(dtype: str) -> Iterator[str]:
    """Compile all kernels for one dtype into the cache, and yield the name of each part that has been compiled."""
    precision = Precision.of(dtype)
    for activation in ACTIVATIONS.values():
        pointer_to_forward(activation.forward, precision)
        pointer_to_vjp(activation.vjp, precision)
        if activation.second is not None:
            pointer_to_second(activation.second, precision)
        yield activation.name
    for loss in LOSSES.values():
        pointer_to_error(loss.sample_error, precision)
        if loss.canonical is not None:
            pointer_to_error(loss.sample_error_canonical, precision)
        for slope in (loss.sample_slope, *loss.deltas_with.values()):
            pointer_to_slope(slope, precision)
        pointer_to_curvature(loss.sample_curvature, precision)
        yield loss.name
    for clipped in (LogLoss, BinaryLogLoss, PoissonLoss):
        pointer_to_error(clipped.sample_error_canonical, precision)
        yield clipped.__name__
    for optimizer in OPTIMIZERS:
        pointer_to_update(optimizer.update, precision)
        pointer_to_factors(optimizer.factors, precision)
        yield optimizer.__name__
    widths = [vectors * VECTOR // precision.storage.itemsize for vectors in WIDTHS]
    compile_panels(no_panels(), widths, precision, add=True, dots=True, add_gradients=True)
    widths = [vectors * VECTOR // precision.storage.itemsize for vectors in range(1, ALONE + 1)]
    compile_rows(no_panels(), widths, precision, add=True)
    yield "sums"
    pointers_to_sparse(precision)
    yield "sums of sparse inputs"
    pointers_to_normalisation(precision)
    yield "layer normalisation"
    loops_of(Regularisation(1.0, clip_value=1.0, clip_norm=1.0, max_norm=np.ones(1)), precision)
    yield "regularisation"
    loops_of_dropout(precision)
    yield "dropout"
    net, X, T = MLP((1, 1, 1), dtype=precision.master, random_state=0), np.ones((2, 1)), np.ones((2, 1))
    net.fit(X, T, epochs=1, batch_size=1)  # more than one mini-batch, so that the samples are shuffled
    yield "fit"
    net.predict(X)
    yield "predict"
    net.as_njit()(X[0], np.empty(1))
    yield "as_njit"
    net.backprop(X, T)
    yield "backprop"
    net.gradient_moments(X, T)
    net.jacobian(X)
    yield "first derivatives"
    net.hvp(X, T, net.parameters)
    net.gauss_newton(X, T)
    yield "second derivatives"
