"""What a net is made of, as its users see it: layers, connections, weights, masks."""

import copy
import dataclasses
import html
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

from bpkernel import validation
from bpkernel.architecture import Architecture
from bpkernel.function_names import short
from bpkernel.kernels import operands
from bpkernel.network import Network


class Structure:
    """Base of `MLP`: the layers and connections, which are fixed, and the weights."""

    unit_names: tuple[tuple[Hashable, ...], ...] | None = None
    _made_of: Architecture
    _network: Network
    _random: np.random.Generator

    def _allocate(self, made_of: Architecture) -> None:
        self._made_of = made_of
        own = made_of.dtype, made_of.pairs, made_of.normalised
        self._network = Network(made_of.sizes, made_of.activations, made_of.loss, *own)
        self._network.layout.disturb(made_of.dropout, made_of.input_dropout, made_of.input_noise)

    @property
    def layer_sizes(self) -> tuple[int, ...]:
        return self._made_of.sizes

    @property
    def activation(self) -> tuple[Any, ...]:
        return tuple(map(short, self._made_of.hidden))

    @property
    def output_activation(self) -> Any:
        return short(self._made_of.output)

    @property
    def loss_name(self) -> Any:
        return self._made_of.loss.name

    @property
    def dropout(self) -> tuple[float, ...]:
        """The share of the units of every hidden layer that are set to 0 in training; may be set, also to one for all.

        A callback of `fit` may set it for the steps that follow, and so `input_dropout` and `input_noise`.
        """
        return self._made_of.dropout

    @dropout.setter
    def dropout(self, rates: float | Sequence[float]) -> None:
        self._disturb(dropout=validation.rates_of_dropout("dropout", rates, len(self.layer_sizes) - 2))

    @property
    def input_dropout(self) -> float:
        """The share of the inputs that are set to 0 in training; may be set."""
        return self._made_of.input_dropout

    @input_dropout.setter
    def input_dropout(self, rate: float) -> None:
        self._disturb(input_dropout=validation.rates_of_dropout("input_dropout", [rate], 1)[0])

    @property
    def input_noise(self) -> float:
        """The standard deviation of the noise that is added to the inputs in training; may be set."""
        return self._made_of.input_noise

    @input_noise.setter
    def input_noise(self, deviation: float) -> None:
        self._disturb(input_noise=validation.not_negative("input_noise", deviation, self.dtype))

    def _disturb(self, **changed: Any) -> None:
        self._made_of = made_of = dataclasses.replace(self._made_of, **changed)
        self._network.layout.disturb(made_of.dropout, made_of.input_dropout, made_of.input_noise)

    @property
    def layer_norm(self) -> tuple[bool, ...]:
        """Whether the sums of every hidden layer are normalised."""
        return self._made_of.layer_norm

    @property
    def dtype(self) -> np.dtype:
        return self._made_of.dtype

    @property
    def connections(self) -> tuple[tuple[int, int], ...]:
        """The pairs of layers that are connected, by target, then source."""
        return self._made_of.pairs

    @property
    def weights(self) -> tuple[np.ndarray, ...]:
        """Live views (n_from, n_to) of the weights of every connection."""
        return self._network.weights

    @property
    def biases(self) -> tuple[np.ndarray, ...]:
        """Live views (n_units,) of the biases of layer 1, 2, ..."""
        return self._network.biases

    @property
    def gains(self) -> tuple[np.ndarray, ...]:
        """Live views (n_units,) of the gains γ of every normalised layer; empty for a net without any."""
        return self._network.gains

    @property
    def shifts(self) -> tuple[np.ndarray, ...]:
        """Live views (n_units,) of the shifts β of every normalised layer; empty for a net without any."""
        return self._network.shifts

    @property
    def parameters(self) -> np.ndarray:
        """All weights and biases (n_parameters,): each of `weights` row by row, then each of `biases`; a copy.

        Each of `gains`, then each of `shifts` follow.  A vector assigned to it replaces them.  Absent weights stay 0.
        """
        return self._network.layout.vector(self._network.params)

    @parameters.setter
    def parameters(self, vector: Any) -> None:
        vector, n = validation.numbers("parameters", vector, self.dtype), self._network.layout.n_parameters
        if vector.shape != (n,):
            more = ", each gain and each shift" if self.gains else ""
            raise ValueError(
                f"parameters must have shape ({n},), one number for each weight and each bias{more}; got {vector.shape}"
            )
        self._network.layout.assign(self._network.params, vector)
        self._network.clear_absent()

    @property
    def masks(self) -> dict[tuple[int, int], np.ndarray]:
        """Copies of the masks (n_from, n_to) of connections from which weights are absent, False where they are."""
        masks = zip(self.connections, self._network.masks, strict=True)
        return {pair: mask.copy() for pair, mask in masks if mask is not None}

    def prune(self, fraction: float) -> int:
        """Remove a fraction of the weights, those that are smallest in size; they stay 0 from then on.

        Parameters
        ----------
        fraction : float
            Of the weights that are present, biases not counted; 0 ≤ fraction ≤ 1.

        Returns
        -------
        int
            The number of weights that have been removed.

        Raises
        ------
        ValueError, TypeError
            If the fraction is not such a number.

        Notes
        -----
        A callback of `fit` may prune between two epochs.

        Examples
        --------
        >>> import bpkernel as bp
        >>> net = bp.MLP((4, 16, 3), random_state=0)
        >>> net.prune(0.5)
        56
        >>> sum(int((w == 0).sum()) for w in net.weights)
        56
        """
        fraction = validation.fraction("fraction", fraction)
        self._network.clear_absent()
        masks = [
            np.ones(w.shape, bool) if m is None else m.copy() for w, m in zip(self.weights, self._network.masks, strict=True)
        ]
        sizes = np.concatenate([np.abs(w[m]) for w, m in zip(self.weights, masks, strict=True)])
        n_removed = round(fraction * sizes.size)
        removed = np.zeros(sizes.size, bool)
        removed[np.argsort(sizes, kind="stable")[:n_removed]] = True
        start = 0
        for mask in masks:
            n_present = int(mask.sum())
            mask[mask] = ~removed[start : start + n_present]
            start += n_present
        if n_removed > 0:
            self._network.keep_only(masks)
        return n_removed

    def _samples(self, X: Any, T: Any, sample_weight: Any = None, *, prefix: str = "") -> operands.Samples:
        X = validation.samples(f"{prefix}X", X, self.layer_sizes[0], self.dtype)
        T = validation.targets(f"{prefix}T", T, self._made_of.loss, len(X), self.layer_sizes[-1], self.dtype)
        return operands.samples(X, T, validation.sample_weight(sample_weight, len(X), self.dtype))

    def __repr__(self) -> str:
        made_of = self._made_of.parameters()
        sizes, loss = made_of.pop("layer_sizes"), made_of.pop("loss")
        made_of["activation"] = list(made_of["activation"])
        dtype, pairs = made_of.pop("dtype"), made_of.pop("connections", None)
        words = [f"{name}={value!r}" for name, value in [*made_of.items(), ("loss", loss), ("dtype", dtype)]]
        words += [] if pairs is None else [f"connections={list(pairs)}"]
        n_absent = int((~self._network.present).sum())
        return f"MLP({sizes}, {', '.join(words)}{f', {n_absent} weights absent' if n_absent else ''})"

    def _repr_html_(self) -> str:
        """A table of the layers, for notebooks."""
        made_of, rows = self._made_of, []
        activations = ["", *map(repr, map(short, made_of.activations))]
        for layer, (n_units, activation) in enumerate(zip(made_of.sizes, activations, strict=True)):
            sources = [str(source) for source, target in made_of.pairs if target == layer]
            n_weights = sum(
                w.size if mask is None else int(mask.sum())
                for w, mask, (_, target) in zip(self.weights, self._network.masks, made_of.pairs, strict=True)
                if target == layer
            )
            activation = f"layer norm, {activation}" if layer in made_of.normalised else activation
            cells = (layer, n_units, activation, ", ".join(sources), n_weights if layer else "")
            rows.append("".join(f"<td>{html.escape(str(cell))}</td>" for cell in cells))
        heading = "".join(f"<th>{name}</th>" for name in ("layer", "units", "activation", "from layers", "weights"))
        body = "".join(f"<tr>{row}</tr>" for row in rows)
        return f"<p>{html.escape(repr(self))}</p><table><tr>{heading}</tr>{body}</table>"

    def __getstate__(self) -> dict[str, Any]:
        state = self._made_of.parameters() | {"params": self._network.params, "random": copy.deepcopy(self._random)}
        return state | {"present": self._network.present, "unit_names": self.unit_names}

    def __setstate__(self, state: dict[str, Any]) -> None:
        own = state["output_activation"], state["loss"], state["dtype"], state.get("connections")
        more = {name: state[name] for name in ("dropout", "input_dropout", "input_noise", "layer_norm") if name in state}
        self._allocate(Architecture.of(state["layer_sizes"], state["activation"], *own, **more))
        self._random = state["random"]
        self._network.params[:] = state["params"]
        if state.get("present", np.zeros(0)).size > 0:
            self._network.keep_only(self._network.layout.weights(state["present"]))
        self.unit_names = state.get("unit_names")
