"""Floor 5: compile all kernels ahead, so that no later program waits for them."""

from collections.abc import Iterator

import numpy as np

from bpkernel.activations import ACTIVATIONS, address_of_g, address_of_pull_back
from bpkernel.losses import LOSSES, BinaryLogLoss, LogLoss, PoissonLoss, address_of_error, address_of_slope
from bpkernel.mlp import MLP
from bpkernel.optimizers import OPTIMIZERS, address_of_coefficients, address_of_update


def warm_up(dtype: str) -> Iterator[str]:
    """Compile everything for one dtype and leave it in the cache; names what has been compiled."""
    real = np.dtype(dtype)
    for activation in ACTIVATIONS:
        address_of_g(activation.g, real)
        address_of_pull_back(activation.pull_back, real)
        yield activation.name
    for loss in LOSSES:
        address_of_error(loss.error, real)
        address_of_error(loss.error_canonical, real)
        address_of_slope(loss.slope, real)
        yield loss.name
    for loss in (LogLoss, BinaryLogLoss, PoissonLoss):
        address_of_error(loss.error_canonical, real)
        yield loss.__name__
    for optimizer in OPTIMIZERS:
        address_of_update(optimizer.update, real)
        address_of_coefficients(optimizer.coefficients, real)
        yield optimizer.__name__
    net, X, T = MLP((1, 1, 1), dtype=real, random_state=0), np.ones((1, 1)), np.ones((1, 1))
    net.fit(X, T, epochs=1)
    yield "fit"
    net.predict(X)
    yield "predict"
    net.backprop(X, T)
    yield "backprop"
