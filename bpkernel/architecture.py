"""What a net is made of, apart from its weights: checked, and as the text of model files."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bpkernel import validation
from bpkernel.function_names import describe, function_of, short
from bpkernel.functions.activations import BY_NAME as ACTIVATIONS
from bpkernel.functions.activations import HIDDEN
from bpkernel.functions.custom import Activation, Loss
from bpkernel.functions.losses import BY_NAME as LOSSES
from bpkernel.functions.losses import outputs_for
from bpkernel.functions.settings import settings_of
from bpkernel.kernels.layout import chain

MOST_WEIGHTS = 10**12
Pairs = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Architecture:
    """The layers of a net, their functions, and which layers are connected.

    Attributes
    ----------
    sizes : tuple of int
        Units of every layer, inputs first.
    hidden : tuple
        The activation of every hidden layer.
    output, loss : Any
        The activation of the outputs, and the loss.
    dtype : numpy.dtype
    pairs : tuple of (int, int)
        (source, target) of every connection, by target, then source.
    dropout : tuple of float
        The share of the units of every hidden layer that are set to 0 in training.
    input_dropout, input_noise : float
        That of the inputs, and the standard deviation of what is added to these in training.
    layer_norm : tuple of bool
        Whether the sums of every hidden layer are normalised.
    """

    sizes: tuple[int, ...]
    hidden: tuple[Any, ...]
    output: Any
    loss: Any
    dtype: np.dtype
    pairs: Pairs
    dropout: tuple[float, ...]
    input_dropout: float
    input_noise: float
    layer_norm: tuple[bool, ...]

    @classmethod
    def of(
        cls,
        sizes: Any,
        hidden: Any,
        output: Any,
        loss: Any,
        dtype: Any,
        pairs: Any,
        dropout: Any = 0.0,
        input_dropout: Any = 0.0,
        input_noise: Any = 0.0,
        layer_norm: Any = False,
    ) -> "Architecture":
        """The architecture of the arguments of `MLP`; raises ValueError or TypeError if one is wrong."""
        sizes = layer_sizes(sizes)
        hidden, output = hidden_activations(hidden, sizes), activation("output_activation", output, ACTIVATIONS)
        loss = loss_for(loss, output)
        loss.n_targets(sizes[-1])
        pairs, dtype = connections(pairs, sizes), validation.float_dtype(dtype)
        for function in (*hidden, output, loss):
            settings_in(function, dtype)
        if sum((1 + sizes[source]) * sizes[target] for source, target in pairs) > MOST_WEIGHTS:
            raise ValueError(
                f"layer_sizes {sizes} give more than {MOST_WEIGHTS:.0e} weights, which do not fit in memory: use smaller layers"
            )
        rates = validation.rates_of_dropout("dropout", dropout, len(hidden))
        (input_rate,) = validation.rates_of_dropout("input_dropout", [input_dropout], 1)
        noise = validation.not_negative("input_noise", input_noise, dtype)
        return cls(sizes, hidden, output, loss, dtype, pairs, rates, input_rate, noise, normalised_layers(layer_norm, sizes))

    @property
    def activations(self) -> tuple[Any, ...]:
        """The activation of every layer but the inputs."""
        return (*self.hidden, self.output)

    @property
    def normalised(self) -> tuple[int, ...]:
        """The layers whose sums are normalised."""
        return numbers_of(self.layer_norm)

    @property
    def is_chain(self) -> bool:
        """Whether each layer is connected to the next one only."""
        return self.pairs == chain(len(self.sizes))

    def parameters(self) -> dict[str, Any]:
        """The arguments of `MLP` that give this architecture."""
        return {
            "layer_sizes": self.sizes,
            "activation": tuple(map(short, self.hidden)),
            "output_activation": short(self.output),
            "loss": short(self.loss),
            "dtype": self.dtype.name,
            **({} if self.is_chain else {"connections": self.pairs}),
            **({"dropout": self.dropout} if any(self.dropout) else {}),
            **{name: getattr(self, name) for name in ("input_dropout", "input_noise") if getattr(self, name)},
            **({"layer_norm": self.layer_norm} if any(self.layer_norm) else {}),
        }

    def description(self) -> dict[str, Any]:
        """The architecture as JSON can hold it: names in place of functions, and values that identify those of users."""
        parameters = self.parameters()
        return {
            **parameters,
            "activation": [describe(function) for function in self.hidden],
            "output_activation": describe(self.output),
            "loss": describe(self.loss),
        }

    @classmethod
    def from_description(cls, description: Mapping[str, Any], functions: Sequence[Any]) -> "Architecture":
        """The architecture of a `description`, with the functions of users that it names."""
        known, found = dict(description), {}
        for argument, built_in in (("output_activation", ACTIVATIONS), ("loss", LOSSES)):
            found[argument] = function_of(known.pop(argument), built_in, functions)
        hidden = [function_of(function, ACTIVATIONS, functions) for function in known.pop("activation")]
        sizes, dtype, pairs = known.pop("layer_sizes"), known.pop("dtype"), known.pop("connections", None)
        own = {name: known.pop(name) for name in ("dropout", "input_dropout", "input_noise", "layer_norm") if name in known}
        if known:
            raise ValueError(f"it says {', '.join(known)}, which this version of bpkernel does not know")
        return cls.of(sizes, hidden, found["output_activation"], found["loss"], dtype, pairs, **own)


def settings_in(function: Any, dtype: np.dtype) -> None:
    """Raise ValueError if a setting of a function is out of the range of a dtype."""
    for name, value in settings_of(function).items():
        with np.errstate(over="ignore", under="ignore"):
            numbers = np.asarray(value, np.float64)
            rounded = numbers.astype(dtype)
        if not (np.isfinite(rounded).all() and ((rounded == 0) == (numbers == 0)).all()):
            raise ValueError(f"{name} of {function!r} is {rounded} in the net's {dtype}; use another, or float64")


def layer_sizes(value: Any) -> tuple[int, ...]:
    """The number of units of every layer, inputs first."""
    if not isinstance(value, (Sequence, np.ndarray)) or isinstance(value, (str, bytes)) or np.ndim(value) == 0:
        raise TypeError(f"layer_sizes must be a sequence of integers, such as (64, 100, 10); got {value!r}")
    sizes = tuple(validation.count("every entry of layer_sizes", size) for size in value)
    if len(sizes) < 2:
        raise ValueError(f"layer_sizes must hold at least the inputs and the outputs, such as (8, 3); got {sizes}")
    return sizes


def connections(value: Any, sizes: tuple[int, ...]) -> Pairs:
    """The (source, target) of every connection, by target, then source.

    None: each layer leads to the next; "all": to all later ones.
    """
    n_layers = len(sizes)
    if value is None:
        return chain(n_layers)
    if isinstance(value, str):
        if value != "all":
            raise ValueError(
                f'connections must be None, "all" or pairs of layers, such as [(0, 1), (0, 2), (1, 2)]; got {value!r}'
            )
        return tuple((source, target) for target in range(1, n_layers) for source in range(target))
    try:
        pairs = [(source, target) for source, target in value]
    except (TypeError, ValueError):
        raise TypeError(
            f'connections must be None, "all" or pairs of layers, such as [(0, 1), (0, 2), (1, 2)]; got {value!r}'
        ) from None
    last = n_layers - 1
    for pair in pairs:
        for layer in pair:
            if isinstance(layer, (bool, np.bool_)) or not isinstance(layer, (int, np.integer)):
                raise TypeError(f"connections must be pairs of layers, integers from 0 (the inputs) to {last}; got {pair!r}")
            if not 0 <= layer <= last:
                raise ValueError(
                    f"connections: {pair} names layer {layer}; the layers are 0 (the inputs) to {last} (the outputs)"
                )
        if pair[0] >= pair[1]:
            raise ValueError(f"connections: {pair} does not lead to a later layer; every pair must be (earlier, later)")
    found = sorted({(int(source), int(target)) for source, target in pairs}, key=lambda pair: pair[::-1])
    if len(found) < len(pairs):
        repeated = next(pair for pair in pairs if pairs.count(pair) > 1)
        raise ValueError(f"connections: {repeated} is there twice")
    sources, targets = ({pair[end] for pair in found} for end in (0, 1))
    for layer in range(1, n_layers):
        if layer not in targets:
            raise ValueError(f"connections: no pair leads to layer {layer}; every layer but the inputs needs one")
    for layer in range(last):
        if layer not in sources:
            raise ValueError(f"connections: no pair leads from layer {layer}; every layer but the outputs needs one")
    return tuple(found)


def masks_of(value: Any, pairs: Pairs, sizes: tuple[int, ...]) -> dict[tuple[int, int], np.ndarray]:
    """Bool arrays (n_from, n_to) by the pairs of their connections; True where there is a weight."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise TypeError(f"masks must be a dictionary of bool arrays by connection, such as {{(0, 1): array}}; got {value!r}")
    found = {}
    for pair, mask in value.items():
        if pair not in pairs:
            raise ValueError(f"masks: {pair!r} is not a connection of the net; these are {', '.join(map(str, pairs))}")
        array, shape = np.asarray(mask), (sizes[pair[0]], sizes[pair[1]])
        if array.dtype != bool:
            raise TypeError(f"masks[{pair}] must be an array of bool, True where there is a weight; got dtype {array.dtype}")
        if array.shape != shape:
            raise ValueError(
                f"masks[{pair}] must have shape {shape}, the units of layers {pair[0]} and {pair[1]}; got {array.shape}"
            )
        found[pair] = array
    return found


def hidden_activations(value: Any, sizes: tuple[int, ...]) -> tuple[Any, ...]:
    """The activation of every hidden layer, from one for all or one for each."""
    n_hidden = len(sizes) - 2
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        if len(value) != n_hidden:
            raise ValueError(
                f"activation must be one name, or one name for each hidden layer ({n_hidden} for layer_sizes {sizes}); "
                f"got {len(value)} names"
            )
        return tuple(activation("activation", each, HIDDEN) for each in value)
    return (activation("activation", value, HIDDEN),) * n_hidden


def numbers_of(layer_norm: Sequence[bool]) -> tuple[int, ...]:
    """The numbers of the layers that are normalised; layer_norm: of the hidden layers."""
    return tuple(layer for layer, own in enumerate(layer_norm, start=1) if own)


def normalised_layers(value: Any, sizes: tuple[int, ...]) -> tuple[bool, ...]:
    """Whether every hidden layer is normalised, from one bool for all or one for each."""
    n_hidden = len(sizes) - 2
    each = [value] * n_hidden if isinstance(value, (bool, np.bool_)) else value
    if not isinstance(each, Sequence) or not all(isinstance(own, (bool, np.bool_)) for own in each):
        raise TypeError(f"layer_norm must be True or False, or one of these for each hidden layer; got {value!r}")
    if len(each) != n_hidden:
        raise ValueError(
            f"layer_norm must hold one bool for each hidden layer ({n_hidden} for layer_sizes {sizes}); got {value}"
        )
    for layer, (own, size) in enumerate(zip(each, sizes[1:-1], strict=True), start=1):
        if own and size == 1:
            raise ValueError(
                f"layer_norm: layer {layer} has one unit, whose normalised sum is always 0; use more units, or a list "
                "with False for this layer"
            )
    return tuple(map(bool, each))


def activation(name: str, value: Any, allowed: Any) -> Any:
    """The activation of a name, or the activation itself."""
    if isinstance(value, str):
        return ACTIVATIONS[validation.one_of(name, value, allowed)]
    own = isinstance(value, Activation) or (type(value) in {type(built_in) for built_in in ACTIVATIONS.values()})
    if not own:
        hint = "; make an activation of a function with bp.Activation(g=..., g_prime=..., name=...)" if callable(value) else ""
        raise TypeError(f"{name} must be a name, one of {', '.join(allowed)}, or a bp.Activation; got {value!r}{hint}")
    if not isinstance(value, Activation):
        validation.one_of(name, value.name, allowed)
    return value


def loss_for(value: Any, output: Any) -> Any:
    """The loss of a name, or the loss itself, if it is defined for all values of an output activation."""
    if isinstance(value, str):
        found = LOSSES[validation.one_of("loss", value, LOSSES)]
    elif isinstance(value, Loss) or type(value) in {type(built_in) for built_in in LOSSES.values()}:
        found = value
    else:
        hint = "; make a loss of a function with bp.Loss(error=..., slope=..., name=...)" if callable(value) else ""
        raise TypeError(f"loss must be a name, one of {', '.join(LOSSES)}, or a bp.Loss; got {value!r}{hint}")
    if output.values not in found.accepts:
        raise ValueError(
            f"loss {found.name!r} is not defined for all outputs of output_activation {output.name!r}; "
            f"use output_activation {' or '.join(map(repr, outputs_for(found)))}"
        )
    return found
