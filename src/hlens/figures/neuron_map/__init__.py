"""Where the neurons are: layers by neuron index, with the count of each layer beside it.

Question: which neurons were selected, and do they gather in some layers?
To read it: each mark is a neuron, larger and darker for a larger weight; circles point to
hallucination, diamonds to truth. The bars count them by layer, the dotted lines are an even
spread.
It misleads when the horizontal order is read as meaning something (it means nothing), or when
many weak marks are taken for many strong ones.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from hlens.drawing.figure import Figure, count, finish
from hlens.drawing.theme import palette
from hlens.figures.neuron_map._panels import add_counts, add_marks, backdrop, set_axes
from hlens.types import Contributions, Detector, NeuronSet, Provenance

MOST_MARKS = 2_000
DRAWS = 400  # of an even spread over layers, to see how dense chance makes it


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
        The figure. At most 2,000 marks are drawn, strongest first; the counts hold all neurons.
    """
    colours = palette(theme)
    neurons = detector if isinstance(detector, NeuronSet) else detector.selected
    selected, n_layers = _table(neurons), neurons.n_layers
    shape = n_layers, neurons.d_mlp
    # Weakest first, so that strong marks are drawn over weak ones.
    drawn = selected.nlargest(MOST_MARKS, "size").sort_values("size")
    height = min(max(15.5 * n_layers, 200.0), 640.0)
    domains = [
        [name for name, own in (shared or {}).items() if pair in own.members]
        for pair in zip(drawn.layer, drawn.neuron, strict=True)
    ]
    figure = Figure()
    figure.add_trace(backdrop(selected, auroc, shape, colours))
    add_marks(
        figure,
        drawn,
        facts=_facts(drawn, frequency, auroc, contribution),
        domains=domains,
        n_domains=len(shared or ()),
        layer_height=height / n_layers,
        colours=colours,
    )
    add_counts(figure, selected, n_layers, colours)
    set_axes(figure, selected, shape, colours)
    return finish(
        figure,
        colours,
        title=_title(selected, n_layers),
        subtitle=_subtitle(detector, neurons, len(drawn)),
        height=round(height) + 90,
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
    held = {}
    for name in ("general", "legal", "science"):
        drawn = torch.rand(weights.shape, generator=seed) < 0.1 + 0.9 * (chance < 0.1)
        held[name] = NeuronSet.from_mask((weights != 0) & drawn)
    return {
        "detector": detector,
        "auroc": 0.5 + weights.clamp(-1, 1) / 5 + torch.randn(weights.shape, generator=seed) / 40,
        "frequency": (0.3 + weights.abs() + chance / 4).clamp(max=1),
        "shared": held,
    }


def _table(neurons: NeuronSet) -> pd.DataFrame:
    """Layer, neuron, weight and size (0 to 1) of each selected neuron."""
    known = neurons.weights or {}
    table = pd.DataFrame(
        [(layer, neuron, known.get((layer, neuron), math.nan)) for layer, neuron in neurons],
        columns=["layer", "neuron", "weight"],
    ).astype({"layer": int, "neuron": int, "weight": float})
    strength = table.weight.abs()
    # Sizes are relative to the 98th percentile: one giant weight must not fade all the others.
    top = float(strength.quantile(0.98)) if strength.notna().any() else 1.0
    table["size"] = (strength / (top or 1.0)).clip(0, 1).fillna(0.4)
    table.attrs["top"] = top or 1.0
    return table


def _facts(
    drawn: pd.DataFrame,
    frequency: Tensor | None,
    auroc: Tensor | None,
    contribution: Contributions | None,
) -> dict[str, np.ndarray]:
    """What hovering shows: the line with its format, and the number of each mark."""
    layer, neuron = drawn.layer.to_numpy(), drawn.neuron.to_numpy()
    facts: dict[str, np.ndarray] = {}
    if drawn.weight.notna().any():
        facts["weight <b>{:+.3~g}</b>"] = drawn.weight.to_numpy()
    if auroc is not None:
        facts["AUROC alone {:.2f}"] = auroc.cpu().numpy()[layer, neuron]
    if frequency is not None:
        facts["kept in {:.0%} of resamples"] = frequency.cpu().numpy()[layer, neuron]
    if contribution is not None:
        values = contribution.neuron_major[layer * contribution.d_mlp + neuron].float().numpy()
        wrong = contribution.labels.numpy()
        for name, answers in ("wrong", wrong), ("right", ~wrong):
            mean = (
                values[:, answers].mean(axis=1) if answers.any() else np.full(len(values), np.nan)
            )
            facts[f"mean contribution {{:.3~g}} {name}"] = mean
    return facts


def _title(selected: pd.DataFrame, n_layers: int) -> str:
    if not len(selected):
        return "No neuron was selected"
    wrong, right = int((selected.weight > 0).sum()), int((selected.weight < 0).sum())
    kinds = [count(n, kind) for n, kind in ((wrong, "H-neuron"), (right, "truth neuron")) if n]
    neurons = " and ".join(kinds) or count(len(selected), "neuron")
    per_layer = np.bincount(selected.layer, minlength=n_layers)
    first, last = densest(per_layer)
    if not _gathered(per_layer):
        return f"{neurons}, spread over the layers about as evenly as chance"
    layers = f"layer {first}" if first == last else f"layers {first}–{last}"
    return f"{neurons}, half of them in {layers}"


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


def _gathered(per_layer: np.ndarray) -> bool:
    """Whether the densest layers are denser than those of 19 in 20 draws of an even spread."""
    n, total = len(per_layer), int(per_layer.sum())
    first, last = densest(per_layer)
    observed = per_layer[first : last + 1].sum()
    random = np.random.default_rng(0).multinomial(total, np.full(n, 1 / n), size=DRAWS)
    sums = np.concatenate([np.zeros((DRAWS, 1), int), random.cumsum(axis=1)], axis=1)
    width = last - first + 1
    best = (sums[:, width:] - sums[:, :-width]).max(axis=1)
    return bool((best >= observed).mean() < 0.05)


def _subtitle(detector: Detector | NeuronSet, neurons: NeuronSet, n_drawn: int) -> str:
    percent = 100 * len(neurons) / (neurons.n_layers * neurons.d_mlp)
    name = detector.name if isinstance(detector, NeuronSet) else detector.provenance.model
    shape = f"{neurons.n_layers} layers × {neurons.d_mlp:,} neurons"
    drawn = f"the {n_drawn:,} strongest drawn" if n_drawn < len(neurons) else ""
    parts = (name, shape, f"{len(neurons):,} selected ({percent:.2g}%)", drawn)
    return " · ".join(part for part in parts if part)
