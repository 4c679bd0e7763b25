"""What a model file holds of a net, and a net from it."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np

from bpkernel import serialization
from bpkernel.architecture import Architecture
from bpkernel.functions.custom import Activation, Loss
from bpkernel.structure import Structure

StructureT = TypeVar("StructureT", bound=Structure)
OF_NET = "weights", "biases", "gains", "shifts"
OWN_KEYS = frozenset({"net", "nets", "histories", "format"})  # of the metadata
OF_TRAINING = "optimizer.", "best."  # how the names of a checkpoint's further tensors begin


def write(net: Structure, path: str | os.PathLike[str], metadata: Mapping[str, Any] | None) -> None:
    """Write a net, as `MLP.save`."""
    tensors, own = contents(net)
    serialization.save(path, tensors, _with_own(metadata, own))


def write_many(nets: Sequence[Structure], path: str | os.PathLike[str], metadata: Any, own: Mapping[str, Any]) -> None:
    """Write several nets and metadata, of the user and `own`, to one file."""
    tensors, descriptions = dict[str, np.ndarray](), []
    for number, net in enumerate(nets):
        its_tensors, its = contents(net)
        tensors |= {f"{number}.{name}": tensor for name, tensor in its_tensors.items()}
        descriptions.append(its["net"])
    serialization.save(path, tensors, _with_own(metadata, {"nets": descriptions, **own}))


def _with_own(metadata: Any, own: Mapping[str, Any]) -> dict[str, Any]:
    """The metadata of the user with the file's own; raises ValueError if the user's are not to be had."""
    if metadata is not None and not (isinstance(metadata, Mapping) and not OWN_KEYS & set(metadata)):
        raise ValueError(f"metadata must be a dictionary with keys other than {', '.join(sorted(OWN_KEYS))}; got {metadata!r}")
    return {**(metadata or {}), **own}


def contents(net: Structure) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The tensors and the metadata of a net."""
    tensors = {f"{kind}.{number}": view for kind in OF_NET for number, view in enumerate(getattr(net, kind))}
    tensors |= {f"masks.{net.connections.index(pair)}": mask for pair, mask in net.masks.items()}
    names = {} if net.unit_names is None else {"unit_names": net.unit_names}
    return tensors, {"net": net._made_of.description() | names}


def fill(net: Structure, tensors: Mapping[str, np.ndarray]) -> None:
    """Give a net the weights, biases, gains, shifts and masks of a file."""
    for kind in OF_NET:
        for number, view in enumerate(getattr(net, kind)):
            view[:] = tensors[f"{kind}.{number}"]
    masks = [tensors.get(f"masks.{c}") for c in range(len(net.weights))]
    if any(mask is not None for mask in masks):
        net._network.keep_only(masks)


def read(net: Structure, path: str | os.PathLike[str], functions: Sequence[Any]) -> dict[str, Any]:
    """Make an empty `net` one that `write` wrote, with the functions of users that it names; returns the metadata."""
    _check_functions(functions)
    tensors, metadata = serialization.load(path)
    if "nets" in metadata:
        raise ValueError(f"{str(path)!r} holds several nets: read it with bp.Ensemble.load")
    with _damage_told(path):
        _restore(net, tensors, metadata["net"], functions)
    return metadata


def read_many(
    new: Callable[[], StructureT], path: str | os.PathLike[str], functions: Sequence[Any]
) -> tuple[list[StructureT], dict[str, Any]]:
    """The nets that `write_many` wrote, as empty ones of `new`, and the metadata; also the one net of `write`."""
    _check_functions(functions)
    tensors, metadata = serialization.load(path)
    nets = []
    with _damage_told(path):
        several = "nets" in metadata
        descriptions = metadata["nets"] if several else [metadata["net"]]
        parts: list[dict[str, np.ndarray]] = [{} for _ in descriptions] if several else [tensors]
        if several:
            for name, tensor in tensors.items():
                number, _, rest = name.partition(".")
                parts[int(number)][rest] = tensor
        for part, description in zip(parts, descriptions, strict=True):
            nets.append(new())
            _restore(nets[-1], part, description, functions)
    return nets, metadata


def _check_functions(functions: Any) -> None:
    if not (isinstance(functions, (list, tuple)) and all(isinstance(own, (Activation, Loss)) for own in functions)):
        raise TypeError(f"functions must be a list of bp.Activation and bp.Loss objects; got {functions!r}")


@contextmanager
def _damage_told(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turn what goes wrong with the contents of a file into a ValueError that names it."""
    try:
        yield
    except KeyError as error:
        raise ValueError(f"{str(path)!r} does not hold a net: it lacks {error}") from None
    except (TypeError, ValueError, AttributeError, IndexError) as error:
        raise ValueError(f"{str(path)!r} does not hold a net: {error}") from None


def _restore(net: Structure, tensors: Mapping[str, np.ndarray], description: Any, functions: Sequence[Any]) -> None:
    """Make an empty net the one of a description and tensors."""
    description = dict(description)
    names = description.pop("unit_names", None)
    made_of = Architecture.from_description(description, functions)
    _check(tensors, made_of)
    if names is not None:
        _check_names(names, made_of.sizes)
    net._random = np.random.default_rng()
    net._allocate(made_of)
    fill(net, tensors)
    net.unit_names = None if names is None else tuple(map(tuple, names))


def _check_names(names: Any, sizes: tuple[int, ...]) -> None:
    """Raise ValueError unless these are different names, strings or integers, of all units."""
    layers = isinstance(names, list) and all(isinstance(layer, list) for layer in names)
    if layers and [len(layer) for layer in names] == list(sizes):
        units = [name for layer in names for name in layer]
        if all(isinstance(name, (str, int)) for name in units) and len(set(units)) == len(units):
            return
    raise ValueError("its unit_names are not different names of all its units")


def _check(tensors: Mapping[str, np.ndarray], made_of: Architecture) -> None:
    """Raise ValueError unless the tensors are the weights, biases, gains, shifts and masks of a net."""
    sizes, dtype = made_of.sizes, made_of.dtype
    weights = {f"weights.{c}": (sizes[source], sizes[target]) for c, (source, target) in enumerate(made_of.pairs)}
    biases = {f"biases.{l}": (size,) for l, size in enumerate(sizes[1:])}
    masks = {name.replace("weights", "masks"): shape for name, shape in weights.items()}
    normalised = enumerate(made_of.normalised)
    norms = {f"{kind}.{c}": (sizes[layer],) for c, layer in normalised for kind in ("gains", "shifts")}
    expected = {name: (dtype, shape) for name, shape in (weights | biases | norms).items()}
    expected |= {name: (np.dtype(bool), shape) for name, shape in masks.items() if name in tensors}
    tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith(OF_TRAINING)}
    if {name: (tensor.dtype, tensor.shape) for name, tensor in tensors.items()} != expected:
        raise ValueError(f"its tensors are not the {dtype} weights and biases of a net {sizes}")
    if not all(np.isfinite(tensor).all() for tensor in tensors.values()):
        raise ValueError("its weights are not all finite")
