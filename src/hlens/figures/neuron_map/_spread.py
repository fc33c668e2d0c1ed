"""How the selected neurons gather in layers and in experts, beside an even spread."""

from dataclasses import dataclass

import numpy as np

from hlens.types import NeuronSet, experts_in

DRAWS = 400  # of an even spread, to see how dense chance makes it


def densest(per_layer: np.ndarray) -> tuple[int, int]:
    """First and last of the fewest adjacent layers that hold at least half of the neurons.

    >>> densest(np.array([1, 0, 5, 4, 1]))
    (2, 3)
    """
    total = np.concatenate([[0], np.cumsum(per_layer)])
    n = len(per_layer)
    for width in range(1, n + 1):
        inside = total[width:] - total[:-width]
        if 2 * inside.max() >= total[-1]:
            first = int(inside.argmax())
            return first, first + width - 1
    return 0, n - 1


def gather_in_layers(per_layer: np.ndarray, widths: np.ndarray) -> bool:
    """Whether the densest layers are denser than those of 19 in 20 draws of an even spread."""
    total = int(per_layer.sum())
    first, last = densest(per_layer)
    observed = per_layer[first : last + 1].sum()
    random = np.random.default_rng(0).multinomial(total, widths / widths.sum(), size=DRAWS)
    sums = np.concatenate([np.zeros((DRAWS, 1), int), random.cumsum(axis=1)], axis=1)
    width = last - first + 1
    best = (sums[:, width:] - sums[:, :-width]).max(axis=1)
    return bool((best >= observed).mean() < 0.05)


@dataclass(frozen=True)
class InExperts:
    """How neurons gather in experts.

    Attributes:
        n: Neurons in layers that have experts.
        fewest: The fewest experts that hold half of them: layer, expert, and neurons in it.
        all: Experts of the model; what a layer has beside its experts (a shared one) is one more.
        by_chance: Experts that half of them need when as many in each layer are spread evenly.
        gathered: Whether 19 in 20 such draws need more.
    """

    n: int
    fewest: tuple[tuple[int, int, int], ...]
    all: int
    by_chance: float
    gathered: bool


def in_experts(neurons: NeuronSet) -> InExperts | None:
    """How a set gathers in experts; None for a dense model, or where there is nothing to gather.

    The draws keep the number in each layer, so that gathering in layers does not pass for
    gathering in experts; they weigh experts by their neurons, since a shared one has more.
    """
    draw = np.random.default_rng(0)
    held: list[tuple[int, int, int]] = []
    random: list[np.ndarray] = []
    n_experts = 0
    for layer, (n, width, beside) in enumerate(neurons.experts):
        if not n:
            continue
        sizes = np.append(np.full(n, width), [beside] * (beside > 0))
        n_experts += len(sizes)
        if members := neurons.in_layer(layer):
            of = experts_in(neurons.experts, layer, neurons.d_mlp)[members]
            own = zip(*np.unique(of, return_counts=True), strict=True)
            held += [(layer, int(expert), int(count)) for expert, count in own]
            even = draw.multinomial(len(members), sizes / sizes.sum(), size=DRAWS)
            random.append(even.astype(np.int32))
    total = sum(count for _, _, count in held)
    if total < 2:
        return None
    held.sort(key=lambda one: -one[2])
    fewest = int(fewest_for_half(np.array([[count for _, _, count in held]]))[0])
    by_chance = fewest_for_half(np.concatenate(random, axis=1))
    return InExperts(
        n=total,
        fewest=tuple(held[:fewest]),
        all=n_experts,
        by_chance=float(by_chance.mean()),
        gathered=bool((by_chance <= fewest).mean() < 0.05),
    )


def fewest_for_half(counts: np.ndarray) -> np.ndarray:
    """In each row of counts, how many of the largest hold at least half of all.

    >>> fewest_for_half(np.array([[1, 5, 0, 4], [1, 1, 1, 1]])).tolist()
    [1, 2]
    """
    held = np.sort(counts, axis=1)[:, ::-1].cumsum(axis=1)
    return 1 + (2 * held < held[:, -1:]).sum(axis=1)
