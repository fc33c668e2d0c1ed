"""Random neurons in place of those of a set, alike in what is held fixed: a claim's control."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from hlens.errors import HlensError
from hlens.types.experts import experts_in, width_of

if TYPE_CHECKING:
    from hlens.types.neurons import NeuronSet

NEAREST_NEURONS = 50  # in mean contribution
NEAREST_EXPERTS = 4  # in how often they are used, the neuron's own among them


def draw_anywhere(like: "NeuronSet", draw: np.random.Generator) -> Iterable[tuple[int, int]]:
    """As many from the whole model."""
    starts = np.cumsum(
        [0, *(width_of(like.experts, layer, like.d_mlp) for layer in range(like.n_layers))]
    )
    taken = [starts[layer] + neuron for layer, neuron in like.members]
    free = np.setdiff1d(np.arange(starts[-1]), taken)
    _check_enough(len(free), len(taken), "the model")
    picked = draw.choice(free, len(taken), replace=False)
    layers = np.searchsorted(starts, picked, side="right") - 1
    return [(int(layer), int(i - starts[layer])) for layer, i in zip(layers, picked, strict=True)]


def draw_by_layer(like: "NeuronSet", draw: np.random.Generator) -> Iterable[tuple[int, int]]:
    """As many in each layer."""
    members: list[tuple[int, int]] = []
    for layer in sorted({layer for layer, _ in like.members}):
        own = like.in_layer(layer)
        free = np.setdiff1d(np.arange(width_of(like.experts, layer, like.d_mlp)), own)
        _check_enough(len(free), len(own), f"layer {layer}")
        members += [(layer, int(j)) for j in draw.choice(free, len(own), replace=False)]
    return members


def draw_by_expert(
    like: "NeuronSet", draw: np.random.Generator, usage: np.ndarray
) -> Iterable[tuple[int, int]]:
    """For each member one of the same layer, of an expert that is used about as often.

    `usage` is ``[layer, expert]``, what stands beside the experts as one more expert.
    """
    taken = set(like.members)
    for layer, neuron in sorted(like.members):
        of = experts_in(like.experts, layer, like.d_mlp)
        n_here = int(of.max()) + 1
        apart = np.abs(usage[layer, :n_here] - usage[layer, of[neuron]])
        near = np.argsort(apart, kind="stable")[:NEAREST_EXPERTS]
        free = [int(j) for j in np.flatnonzero(np.isin(of, near)) if (layer, int(j)) not in taken]
        _check_enough(len(free), 1, f"the experts of layer {layer} that are used as often")
        taken.add((layer, int(draw.choice(free))))
    return taken - set(like.members)


def draw_by_contribution(
    like: "NeuronSet", draw: np.random.Generator, mean: np.ndarray
) -> Iterable[tuple[int, int]]:
    """For each member one of the same layer whose mean contribution is near."""
    taken = set(like.members)
    for layer, neuron in sorted(like.members):
        own = mean[layer, : width_of(like.experts, layer, like.d_mlp)]
        order = np.argsort(np.abs(own - own[neuron]), kind="stable")
        free = [int(j) for j in order if (layer, int(j)) not in taken][:NEAREST_NEURONS]
        _check_enough(len(free), 1, f"layer {layer}")
        taken.add((layer, int(draw.choice(free))))
    return taken - set(like.members)


def _check_enough(free: int, wanted: int, where: str) -> None:
    if free < wanted:
        raise HlensError(
            f"cannot draw {wanted} other neurons from {where}: only {free} are left; "
            "use a smaller set or match='none'"
        )
