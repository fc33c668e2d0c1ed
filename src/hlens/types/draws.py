"""Random neurons in place of those of a set, alike in what is held fixed: a claim's control."""

from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet

import numpy as np

from hlens.counting import count
from hlens.errors import HlensError
from hlens.types.experts import Experts

NEAREST_NEURONS = 50  # in mean contribution
NEAREST_EXPERTS = 4  # in how often they are used, the neuron's own among them

Neuron = tuple[int, int]
Members = AbstractSet[Neuron]


def draw_anywhere(
    members: Members, draw: np.random.Generator, widths: Sequence[int]
) -> Iterable[Neuron]:
    """As many from the whole model, whose layers have so many neurons."""
    starts = np.cumsum([0, *widths])
    free = np.delete(np.arange(starts[-1]), [starts[layer] + i for layer, i in members])
    _check_enough(len(free), len(members), "the model")
    picked = draw.choice(free, len(members), replace=False)
    layers = np.searchsorted(starts, picked, side="right") - 1
    return [(int(layer), int(i - starts[layer])) for layer, i in zip(layers, picked, strict=True)]


def draw_by_layer(
    members: Members, draw: np.random.Generator, widths: Sequence[int]
) -> Iterable[Neuron]:
    """As many in each layer."""
    drawn: list[Neuron] = []
    for layer in sorted({layer for layer, _ in members}):
        own = [neuron for of, neuron in members if of == layer]
        free = np.delete(np.arange(widths[layer]), own)
        _check_enough(len(free), len(own), f"layer {layer}")
        drawn += [(layer, int(j)) for j in draw.choice(free, len(own), replace=False)]
    return drawn


def draw_by_expert(
    members: Members, draw: np.random.Generator, experts: Experts, usage: np.ndarray
) -> Iterable[Neuron]:
    """For each member one of the same layer, of an expert that is used about as often.

    `usage` is ``[layer, expert]``, what stands beside the experts as one more expert.
    """
    taken = set(members)
    for layer, neuron in sorted(members):
        n, width, beside = experts[layer]
        sizes = np.array([*[width] * n, beside])
        own = min(neuron // width, n) if width else n
        apart = np.abs(usage[layer, : n + 1] - usage[layer, own])
        apart[sizes == 0] = np.inf  # nothing stands beside the experts
        near = np.sort(np.argsort(apart, kind="stable")[:NEAREST_EXPERTS])
        near = near[sizes[near] > 0]
        free = np.concatenate([np.arange(int(sizes[e])) + e * width for e in near])
        held = [j for of, j in taken if of == layer]
        free = free[~np.isin(free, held)]
        _check_enough(len(free), 1, f"the experts of layer {layer} that are used as often")
        taken.add((layer, int(draw.choice(free))))
    return taken - set(members)


def draw_by_contribution(
    members: Members, draw: np.random.Generator, widths: Sequence[int], mean: np.ndarray
) -> Iterable[Neuron]:
    """For each member one of the same layer whose mean contribution is near."""
    taken = {layer: np.zeros(widths[layer], dtype=bool) for layer, _ in members}
    for layer, neuron in members:
        taken[layer][neuron] = True
    drawn: list[Neuron] = []
    for layer, neuron in sorted(members):
        own = mean[layer, : widths[layer]]
        order = np.argsort(np.abs(own - own[neuron]), kind="stable")
        free = order[~taken[layer][order]][:NEAREST_NEURONS]
        _check_enough(len(free), 1, f"layer {layer}")
        picked = int(draw.choice(free))
        taken[layer][picked] = True
        drawn.append((layer, picked))
    return drawn


def _check_enough(free: int, wanted: int, where: str) -> None:
    if free < wanted:
        raise HlensError(
            f"cannot draw {count(wanted, 'other neuron')} from {where}: only {free} are left; "
            "use a smaller set or match='none'"
        )
