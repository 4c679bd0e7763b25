"""Which layers of an estimator's net are connected or normalised, and which weights are absent."""

import itertools
from typing import Any, NamedTuple

import numpy as np

from bpkernel import architecture
from bpkernel.kernels.layout import chain
from bpkernel.validation import EITHER


class Topology(NamedTuple):
    """The connections of a net that is no chain, from which weights are absent, or with normalised layers."""

    pairs: tuple[tuple[int, int], ...]  # (source, target) of every connection, by target, then source
    masks: tuple[np.ndarray | None, ...]  # of bool (n_from, n_to) for every connection, None if no weight is absent
    normalised: tuple[int, ...] = ()  # layers

    @classmethod
    def of(cls, connections: Any, masks: Any, layer_norm: Any, sizes: tuple[int, ...]) -> "Topology | None":
        """From the parameters of an estimator; None for a chain of layers with all weights, as scikit-learn has it.

        Raises ValueError or TypeError if they do not fit layers of these sizes.
        """
        pairs = architecture.connections(connections, sizes)
        given = architecture.masks_of(masks, pairs, sizes)
        kept = tuple(given[pair].copy() if pair in given and not given[pair].all() else None for pair in pairs)
        normalised = architecture.numbers_of(architecture.normalised_layers(layer_norm, sizes))
        usual = pairs == chain(len(sizes)) and all(mask is None for mask in kept) and not normalised
        return None if usual else cls(pairs, kept, normalised)


def same(one: Topology | None, other: Topology | None) -> bool:
    """Whether two nets of the same layers have the same weights, and are normalised alike."""
    if one is None or other is None:
        return one is other
    alike = one.pairs == other.pairs and one.normalised == other.normalised
    return alike and all(itertools.starmap(_equal, zip(one.masks, other.masks, strict=True)))


def _equal(one: np.ndarray | None, other: np.ndarray | None) -> bool:
    return one is other if one is None or other is None else np.array_equal(one, other)


def layer_sizes(coefs: Any, vectors: Any, topology: Topology | None = None) -> tuple[int, ...] | None:
    """The units of every layer, inputs first, or None if these are not the float32 or float64 arrays of one net.

    vectors: the intercepts, then the gains and the shifts of the normalised layers.
    """
    if not (isinstance(coefs, (list, tuple)) and isinstance(vectors, (list, tuple))):
        return None
    normalised = () if topology is None else topology.normalised
    n_layers = len(vectors) - 2 * len(normalised)
    if n_layers < 1 or len(coefs) != (n_layers if topology is None else len(topology.pairs)):
        return None
    for w in coefs:
        if not (isinstance(w, np.ndarray) and w.dtype in EITHER and w.ndim == 2 and w.size > 0):
            return None
    for b in vectors:
        if not (isinstance(b, np.ndarray) and b.dtype in EITHER and b.ndim == 1):
            return None
    sizes = (len(coefs[0]), *(len(b) for b in vectors[:n_layers]))
    pairs = chain(len(sizes)) if topology is None else topology.pairs
    if pairs[-1][1] != len(sizes) - 1:
        return None
    if [len(own) for own in vectors[n_layers:]] != 2 * [sizes[layer] for layer in normalised]:
        return None
    fits = all(w.shape == (sizes[source], sizes[target]) for w, (source, target) in zip(coefs, pairs, strict=True))
    return sizes if fits else None
