"""The gradient of a net's error, and everything else that a backward pass computes."""

from dataclasses import dataclass

import numpy as np

from bpkernel.kernels import operands
from bpkernel.mini_batches import MiniBatches
from bpkernel.network import Network

TOGETHER = 1 << 9  # samples whose units are in memory at a time; independent of the number of threads, for reproducibility


class Gradient:
    """Σ_n s_n ∂E^n/∂w of a net, as a flat vector (n_params,) in the layout of the net's `params`; for one caller at a time."""

    def __init__(self, network: Network, batch_size: int = TOGETHER, *, keep_a: bool = False):
        self.batches = MiniBatches(network, operands.no_step(network.layout), batch_size, keep_a=keep_a)

    def __call__(self, samples: operands.Samples) -> tuple[float, np.ndarray]:
        """Σ_n s_n E^n, and the gradient, which the next call overwrites."""
        total, order = np.zeros((1, 3)), np.arange(len(samples.T), dtype=np.int64)
        if self.batches.n_threads:
            self.batches.work.gradient[:] = 0
        for part in self.batches.parts(len(order)):
            self.batches.run(samples, order[part], total)
        return float(total[0, 0]), self.batches.work.gradient


def backprop(network: Network, samples: operands.Samples, X: np.ndarray) -> "Backprop":
    """Every a, z, δ, gradient and E of one forward and backward pass; X (n_samples, n_inputs) are the inputs of the samples."""
    n_samples, layout = X.shape[0], network.layout  # X may be sparse
    gradient = Gradient(network, n_samples, keep_a=True)
    error, flat = gradient(samples)
    units = gradient.batches.work.units
    a, z, delta = (tuple(v.copy() for v in layout.units(buffer, n_samples)[1:]) for buffer in (units.a, units.z, units.delta))
    none = np.empty((n_samples, 0), layout.dtype)
    of_weights = layout.weights(flat), layout.biases(flat), error, layout.gains(flat), layout.shifts(flat)
    return Backprop((none, *a), (X, *z), (none, *delta), *of_weights)


@dataclass(frozen=True)
class Backprop:
    """Everything that one forward and backward pass computes; l counts layers from the input.

    Attributes
    ----------
    a, z, delta : tuple of ndarray (n_samples, n_units)
        Pre-activations, outputs and ∂E/∂a of every layer.  z[0] is X; a[0] and delta[0], which the inputs do not have,
        are of width 0.  In a layer with layer_norm, `a` is what the activation is applied to, γ n + β, while delta is still
        the derivative by the sum Σ_i w_ji z_i, so that ∂E/∂w_ji = Σ_n δ_j z_i.
    dw : tuple of ndarray (n_from, n_to)
        ∂E/∂w of every connection, in the order of `MLP.connections`, summed over the samples; 0 for absent weights.
    db : tuple of ndarray (n_units,)
        The same of the biases of layer 1, 2, ...
    error : float
        E = Σ_n E^n.
    dgains, dshifts : tuple of ndarray (n_units,)
        ∂E/∂γ and ∂E/∂β of every layer with layer_norm, in the order of `MLP.gains`, summed over the samples.
    """

    a: tuple[np.ndarray, ...]
    z: tuple[np.ndarray, ...]
    delta: tuple[np.ndarray, ...]
    dw: tuple[np.ndarray, ...]
    db: tuple[np.ndarray, ...]
    error: float
    dgains: tuple[np.ndarray, ...]
    dshifts: tuple[np.ndarray, ...]
