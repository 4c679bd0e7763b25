"""A graph of single units, put into layers."""

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from bpkernel.kernels.layout import chain

SHOWN = 5  # names in a message


class Layers(NamedTuple):
    """The layers of a graph of units.

    Attributes
    ----------
    names : tuple of tuple
        The units of every layer, the inputs first and the outputs last.
    pairs : tuple of (int, int)
        The connections of the layers.
    masks : dict of (int, int) to ndarray of bool (n_from, n_to)
        True where there is an edge.
    """

    names: tuple[tuple[Hashable, ...], ...]
    pairs: tuple[tuple[int, int], ...]
    masks: dict[tuple[int, int], np.ndarray]


def levels(edges: Iterable[Any], inputs: Sequence[Hashable], outputs: Sequence[Hashable]) -> Layers:
    """The layers of a graph: each unit is one layer behind the last of those that lead to it, the outputs are the last layer.

    Raises
    ------
    ValueError
        If the graph is not a net; the message names the units.
    TypeError
        If edges are no pairs, or a name is neither a string nor an integer.
    """
    pairs, first, last = _pairs(edges), _names("inputs", inputs), _names("outputs", outputs)
    _check_ends(pairs, first, last)
    before: dict[Hashable, list[Hashable]] = defaultdict(list)
    after: dict[Hashable, list[Hashable]] = defaultdict(list)
    for source, target in pairs:
        before[target].append(source)
        after[source].append(target)
    level = _levels(pairs, first, before, after)
    _check_outputs(last, first, before, after)
    ends = set(last)
    depth = max((level[unit] for unit in level if unit not in ends), default=0) + 1  # of the outputs
    level.update(dict.fromkeys(last, depth))
    names: list[list[Hashable]] = [[] for _ in range(depth + 1)]
    names[0], names[depth] = list(first), list(last)
    for unit, number in level.items():
        if number not in (0, depth):
            names[number].append(unit)
    place = {unit: (number, i) for number, layer in enumerate(names) for i, unit in enumerate(layer)}
    masks: dict[tuple[int, int], np.ndarray] = {}
    for source, target in pairs:
        (from_layer, i), (to_layer, j) = place[source], place[target]
        sizes = len(names[from_layer]), len(names[to_layer])
        masks.setdefault((from_layer, to_layer), np.zeros(sizes, bool))[i, j] = True
    for pair in chain(depth + 1):  # a layer whose units lead nowhere, or have a bias only, is still a layer of the net
        leads, led = any(pair[0] == s for s, _ in masks), any(pair[1] == t for _, t in masks)
        if not (leads and led):
            masks[pair] = np.zeros((len(names[pair[0]]), len(names[pair[1]])), bool)
    found = {pair: mask for pair, mask in masks.items() if not mask.all()}
    return Layers(tuple(map(tuple, names)), tuple(masks), found)


def _pairs(edges: Iterable[Any]) -> list[tuple[Hashable, Hashable]]:
    try:
        pairs = [(source, target) for source, target in edges]
    except (TypeError, ValueError):
        raise TypeError('edges must be pairs of names, such as [("x1", "h"), ("h", "y")]') from None
    for pair in pairs:
        for name in pair:
            _check_name("edges", name)
        if pair[0] == pair[1]:
            raise ValueError(f"the edge {pair} leads from a unit to itself, a cycle")
    twice = [pair for pair, count in Counter(pairs).items() if count > 1]
    if twice:
        raise ValueError(f"an edge may appear once only; there is more than one of {_listed(twice)}")
    return pairs


def _names(argument: str, value: Any) -> tuple[Hashable, ...]:
    if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
        raise TypeError(f'{argument} must be a list of names, such as ["x1", "x2"]; got {value!r}')
    names = tuple(value)
    for name in names:
        _check_name(argument, name)
    if not names:
        raise ValueError(f"{argument} must name at least one unit")
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ValueError(f"{argument} must name every unit once; named twice: {_listed(twice)}")
    return names


def _check_name(argument: str, name: Any) -> None:
    if isinstance(name, bool) or not isinstance(name, (str, int)):
        raise TypeError(f"{argument}: names of units must be strings or integers; got {name!r}")


def _check_ends(pairs: list[tuple[Hashable, Hashable]], inputs: tuple[Hashable, ...], outputs: tuple[Hashable, ...]) -> None:
    firsts, lasts = set(inputs), set(outputs)
    both = firsts & lasts
    if both:
        raise ValueError(f"a unit cannot be an input and an output: {_listed(both)}")
    into = [pair for pair in pairs if pair[1] in firsts]
    if into:
        raise ValueError(f"no edge may lead to an input: {_listed(into)}")
    out_of = [pair for pair in pairs if pair[0] in lasts]
    if out_of:
        raise ValueError(f"no edge may lead from an output: {_listed(out_of)}; let another hidden unit take its place there")


def _levels(
    pairs: list[tuple[Hashable, Hashable]],
    inputs: tuple[Hashable, ...],
    before: dict[Hashable, list[Hashable]],
    after: dict[Hashable, list[Hashable]],
) -> dict[Hashable, int]:
    """The length of the longest path to every unit; a unit without incoming edges, other than an input, has 1."""
    units = dict.fromkeys((*inputs, *(name for pair in pairs for name in pair)))
    missing, ends = {unit: len(before[unit]) for unit in units}, set(inputs)
    level = {unit: 0 if unit in ends else 1 for unit in units if missing[unit] == 0}
    todo = list(level)
    for unit in todo:
        for target in after[unit]:
            level[target] = max(level.get(target, 1), level[unit] + 1)
            missing[target] -= 1
            if missing[target] == 0:
                todo.append(target)
    if len(todo) < len(units):
        raise ValueError(f"the edges form a cycle: {' → '.join(map(repr, _cycle(set(units) - set(todo), before)))}")
    return {unit: level[unit] for unit in todo}


def _cycle(units: set[Hashable], before: dict[Hashable, list[Hashable]]) -> list[Hashable]:
    """A cycle among units each of which has an edge from another of them."""
    path = [min(units, key=repr)]
    while path[-1] not in path[:-1]:
        path.append(next(source for source in before[path[-1]] if source in units))
    return path[path.index(path[-1]) :][::-1]


def _check_outputs(
    outputs: tuple[Hashable, ...],
    inputs: tuple[Hashable, ...],
    before: dict[Hashable, list[Hashable]],
    after: dict[Hashable, list[Hashable]],
) -> None:
    reached, todo = set(inputs), list(inputs)
    for unit in todo:
        for target in after[unit]:
            if target not in reached:
                reached.add(target)
                todo.append(target)
    lost = [unit for unit in outputs if unit not in reached]
    if lost:
        alone = [unit for unit in lost if not before[unit]]
        more = f" (no edge leads to {_listed(alone)})" if alone else ""
        raise ValueError(f"every output must be reached from an input; not reached: {_listed(lost)}{more}")


def _listed(names: Iterable[Any]) -> str:
    """Some names, for a message."""
    shown = sorted(names, key=repr)
    return ", ".join(map(repr, shown[:SHOWN])) + (f" and {len(shown) - SHOWN} more" if len(shown) > SHOWN else "")
