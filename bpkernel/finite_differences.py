"""Central differences of the error of a net, and where the kink of a function makes them wrong."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from bpkernel import derivatives
from bpkernel.kernels import operands
from bpkernel.network import Inference, Network

STEPS = 10.0 ** -np.arange(1, 11, 0.5)  # that are tried
EPS = float(np.finfo(float).eps)
KINKS = {  # of built-in activations: where g' jumps
    "relu": (0.0,),
    "leaky_relu": (0.0,),
    "selu": (0.0,),
    "hard_sigmoid": (-3.0, 3.0),
    "hard_tanh": (-1.0, 1.0),
    "hard_silu": (-3.0, 3.0),
}


class Kink(NamedTuple):
    """A pre-activation that passes a kink of its activation between w - h and w + h."""

    layer: int
    unit: int
    sample: int
    name: str  # of the activation

    def __str__(self) -> str:
        return (
            f"the pre-activation of unit {self.unit} in layer {self.layer} passes a kink of {self.name} between w - h and w + h"
            f" for sample {self.sample}: there the derivative jumps, and no difference of the error has to agree with it"
        )


class Differences:
    """E(w + h v) - E(w - h v) of a net, in float64; the net is a copy.

    Parameters
    ----------
    network : Network
        Of float64; its weights are changed, and put back after each call.
    samples : operands.Samples
    """

    def __init__(self, network: Network, samples: operands.Samples):
        self._network, self._samples = network, samples
        self._inference, self._e = Inference(network, len(samples.T)), np.empty(len(samples.T))
        self._positions, self._params = network.layout.positions(), network.params.copy()

    def _error(self) -> float:
        self._inference.run(self._samples, self._samples.T[:0], self._e)
        return float(self._samples.s @ self._e)

    def along(self, v: np.ndarray, h: float) -> float:
        """(E(w + h v) - E(w - h v)) / 2h for a vector of parameters v."""
        errors = []
        try:
            for sign in (1, -1):
                self._network.params[self._positions] = self._params[self._positions] + sign * h * v
                errors.append(self._error())
        finally:
            self._network.params[:] = self._params
        return (errors[0] - errors[1]) / (2 * h)

    def over_steps(self, v: np.ndarray) -> tuple[np.ndarray, int]:
        """The differences along v for all STEPS, and which one is closest to those of the next larger and smaller step.

        For larger steps truncation changes the difference, for smaller ones rounding.
        """
        found = np.array([self.along(v, h) for h in STEPS])
        changes = np.abs(np.diff(found))
        return found, 1 + int(np.argmin(np.maximum(changes[1:], changes[:-1])))

    def of_parameter(self, place: int, h: float) -> float:
        """The central difference for one parameter, with a step relative to its size."""
        at, w = self._positions[place], self._params[self._positions[place]]
        low, high = w - h * max(1, abs(w)), w + h * max(1, abs(w))
        try:
            self._network.params[at] = high
            above = self._error()
            self._network.params[at] = low
            below = self._error()
        finally:
            self._network.params[at] = w
        return float((above - below) / (high - low))

    def kink(self, place: int, h: float) -> Kink | None:
        """A kink that a step of one parameter passes, if there is one."""
        at, w = self._positions[place], self._params[self._positions[place]]
        X = self._samples.X if len(self._samples.X) else self._samples.X_other.astype(float)
        passes = []
        try:
            for sign in (-1, 1):
                self._network.params[at] = w + sign * h * max(1, abs(w))
                passes.append(derivatives.backprop(self._network, self._samples, X).a)
        finally:
            self._network.params[at] = w
        low, high = passes
        return next(_kinks_between(low, high, self._network.layout.activations), None)


def _kinks_between(low: Any, high: Any, activations: Any) -> Iterator[Kink]:
    for layer, activation in enumerate(activations, start=1):
        for kink in KINKS.get(activation.name, getattr(activation, "kinks", ())):
            before, after = low[layer], high[layer]
            for n, unit in np.argwhere((np.minimum(before, after) <= kink) & (kink <= np.maximum(before, after))):
                if before[n, unit] != after[n, unit]:
                    yield Kink(layer, int(unit), int(n), activation.name)
