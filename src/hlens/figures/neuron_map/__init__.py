"""Where the neurons are: layers by neuron index, with the count of each layer beside it.

Question: which neurons were selected, and do they gather in some layers?
To read it: each mark is a neuron, larger and darker for a larger weight; circles point to
hallucination, diamonds to truth. The bars count them by layer, the dotted lines are an even
spread.
It misleads when the horizontal order is read as meaning something (it means nothing), or when
many weak marks are taken for many strong ones.
"""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from hlens.figures._figure import Figure, finish
from hlens.figures._theme import palette
from hlens.figures.neuron_map._marks import add_marks, backdrop
from hlens.figures.neuron_map._selected import domains_of, facts_of, selected_of, shape_of
from hlens.figures.neuron_map._side import add_counts, set_axes
from hlens.figures.neuron_map._words import subtitle_of, title_of
from hlens.types import Contributions, Detector, NeuronSet, Provenance

MOST_MARKS = 2_000


def draw(
    detector: Detector | NeuronSet,
    *,
    frequency: Float[Tensor, "layer neuron"] | None = None,
    auroc: Float[Tensor, "layer neuron"] | None = None,
    contribution: Contributions | None = None,
    shared: Mapping[str, NeuronSet] | None = None,
    theme: str = "light",
) -> Figure:
    """Draw the neuron map.

    Args:
        detector: The detector, or any set of neurons (its weights are used where it has them).
        frequency: How often resampling keeps each neuron, 0 to 1.
        auroc: AUROC of each neuron alone; shades the backdrop by its distance from chance.
        contribution: Measured contributions; hovering then shows the mean of a neuron over wrong
            and over right answers.
        shared: The neurons of several domains, by name; neurons in most of them get an outline.
        theme: ``"light"`` or ``"dark"``.

    Returns:
        The figure. At most 2,000 marks are drawn, strongest first; the counts tell all.
    """
    colours = palette(theme)
    marks = selected_of(detector)
    n_layers, d_mlp = shape_of(detector)
    drawn = marks.nlargest(MOST_MARKS, "size").sort_values("size")
    facts = facts_of(drawn, frequency, auroc, contribution)
    domains = domains_of(drawn, shared)
    rows = min(max(15.5 * n_layers, 200.0), 640.0)
    figure = Figure()
    figure.add_trace(backdrop(marks, auroc, (n_layers, d_mlp), colours))
    add_marks(figure, drawn, facts, domains, len(shared or ()), rows / n_layers, colours)
    add_counts(figure, marks, n_layers, colours)
    set_axes(figure, marks, drawn, (n_layers, d_mlp), colours)
    return finish(
        figure,
        colours,
        title=title_of(marks, n_layers),
        subtitle=subtitle_of(detector, marks, len(drawn)),
        height=round(rows) + 90,
        margin={"t": 34, "b": 56, "l": 60, "r": 20},
    )


def example() -> dict[str, Any]:
    """Made data for the gallery and the laws: 90 neurons that gather in the upper layers."""
    seed = torch.Generator().manual_seed(0)
    n_layers, d_mlp, n = 24, 1024, 90
    layers = (15 + 4 * torch.randn(n, generator=seed)).round().clamp(0, n_layers - 1).long()
    neurons = torch.randint(d_mlp, (n,), generator=seed)
    weights = torch.zeros(n_layers, d_mlp)
    sign = torch.where(torch.rand(n, generator=seed) < 0.7, 1.0, -1.0)
    weights[layers, neurons] = sign * (0.05 + torch.randn(n, generator=seed).abs() / 2)
    detector = Detector(weights, 0.0, provenance=Provenance(model="made data"))
    chance = torch.rand(n_layers, d_mlp, generator=seed)
    held = {
        name: NeuronSet.from_mask(
            (weights != 0)
            & (torch.rand(weights.shape, generator=seed) < 0.1 + 0.9 * (chance < 0.1))
        )
        for name in ("general", "legal", "science")
    }
    return {
        "detector": detector,
        "auroc": 0.5 + weights.clamp(-1, 1) / 5 + torch.randn(weights.shape, generator=seed) / 40,
        "frequency": (0.3 + weights.abs() + chance / 4).clamp(max=1),
        "shared": held,
    }
