"""`LayerStatistics`: how large the outputs, the δ and the gradients of every layer are, epoch by epoch."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from bpkernel import plots
from bpkernel.history import History
from bpkernel.mlp import MLP


class LayerStatistics:
    """A callback of `MLP.fit` that records the sizes of z, δ and gradient of every layer after each epoch.

    Outputs that saturate, gradients that vanish or explode, and layers that do not train show in them.

    Parameters
    ----------
    net : MLP
        The net that is trained.
    X : array-like (n_samples, n_inputs)
    T : array-like (n_samples, n_targets)
        Samples to compute the sizes of, as of `MLP.fit`; a few hundred are enough.

    Attributes
    ----------
    z, delta : list of ndarray (n_layers,)
        The root mean square of z and δ of layer 1, 2, ..., after each epoch.
    gradient : list of ndarray (n_layers,)
        The Euclidean norm of the gradient of the mean error, of all weights and biases that lead to the layer, and of its gains
        and shifts.

    Examples
    --------
    >>> import bpkernel as bp
    >>> net = bp.MLP((2, 8, 1), random_state=0)
    >>> X, T = [[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0]
    >>> statistics = bp.LayerStatistics(net, X, T)
    >>> history = net.fit(X, T, epochs=3, callback=statistics)
    >>> len(statistics.gradient), statistics.gradient[0].shape
    (3, (2,))
    """

    def __init__(self, net: MLP, X: ArrayLike, T: ArrayLike):
        self._net, self._X, self._T = net, X, T
        self.z: list[np.ndarray] = []
        self.delta: list[np.ndarray] = []
        self.gradient: list[np.ndarray] = []

    def __call__(self, history: History) -> bool:
        """Record the sizes; returns False, so that training goes on."""
        r = self._net.backprop(self._X, self._T)
        layers = range(1, len(r.z))
        squares = {layer: float((r.db[layer - 1].astype(float) ** 2).sum()) for layer in layers}
        for (_, target), dw in zip(self._net.connections, r.dw, strict=True):
            squares[target] += float((dw.astype(float) ** 2).sum())
        normalised = self._net._made_of.normalised
        for layer, own in zip(2 * normalised, (*r.dgains, *r.dshifts), strict=True):
            squares[layer] += float((own.astype(float) ** 2).sum())
        self.z.append(np.array([np.sqrt((r.z[layer].astype(float) ** 2).mean()) for layer in layers]))
        self.delta.append(np.array([np.sqrt((r.delta[layer].astype(float) ** 2).mean()) for layer in layers]))
        self.gradient.append(np.sqrt([squares[layer] for layer in layers]) / len(r.z[0]))
        return False

    def plot(self, axes: Any = None) -> Any:
        """Draw the three kinds of sizes by epoch (needs the extra `plot`); returns three axes."""
        return plots.layer_statistics(self, axes)

    def __repr__(self) -> str:
        return f"LayerStatistics({len(self.z)} epochs, {len(self._net.layer_sizes) - 1} layers)"
