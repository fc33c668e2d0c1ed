"""Where the neurons are: layers by neuron index, with the count of each layer beside it.

Question: which neurons were selected, and do they gather in some layers?
To read it: each mark is a neuron, larger and darker for a larger weight; circles point to
hallucination, diamonds to truth. The bars count them by layer, the dotted lines are an even
spread. Of a mixture the horizontal axis is in experts, and ×8 says that an expert holds eight of
the marks; a strip of its own holds shared experts and layers without any.
It misleads when the horizontal order is read as meaning something (it means nothing), or when
many weak marks are taken for many strong ones. An expert that is used on most questions can
gather neurons for that alone.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from hlens.counting import count
from hlens.display import display_name, display_names
from hlens.drawing.figure import Figure, finish
from hlens.drawing.theme import palette
from hlens.figures.neuron_map._panels import (
    add_counts,
    add_lines,
    add_marks,
    add_numbers,
    backdrop,
    set_axes,
)
from hlens.figures.neuron_map._spread import InExperts, densest, gather_in_layers, in_experts
from hlens.figures.neuron_map.places import ExpertPlaces, places_of
from hlens.types import Contributions, Detector, Experts, NeuronSet, Provenance, describe

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
        The figure. At most 2,000 marks are drawn, strongest first; the counts hold all neurons.
    """
    colours = palette(theme)
    neurons = detector if isinstance(detector, NeuronSet) else detector.selected
    places, spread = places_of(neurons), in_experts(neurons)
    selected, n_layers = _table(neurons), neurons.n_layers
    selected["x"] = places.x(selected.layer.to_numpy(), selected.neuron.to_numpy())
    # Weakest first, so that strong marks are drawn over weak ones.
    drawn = selected.nlargest(MOST_MARKS, "size").sort_values("size")
    if neurons.experts:
        pairs = zip(drawn.layer, drawn.neuron, strict=True)
        drawn["address"] = [neurons.address(pair) for pair in pairs]
    height = min(max(15.5 * n_layers, 200.0), 640.0)
    held = display_names("domains", shared or ())
    domains = [
        [held[name] for name, own in (shared or {}).items() if pair in own.members]
        for pair in zip(drawn.layer, drawn.neuron, strict=True)
    ]
    figure = Figure()
    figure.add_trace(backdrop(selected, auroc, places, widths=neurons.widths, colours=colours))
    if isinstance(places, ExpertPlaces):
        add_lines(figure, places, colours)
    add_marks(
        figure,
        drawn,
        facts=_facts(drawn, frequency, auroc, contribution),
        domains=domains,
        n_domains=len(shared or ()),
        layer_height=height / n_layers,
        colours=colours,
    )
    if isinstance(places, ExpertPlaces) and places.are_narrow and spread and spread.gathered:
        add_numbers(figure, places, spread.fewest, colours)
    add_counts(figure, selected, neurons.widths, colours)
    set_axes(figure, selected, places, n_layers, colours)
    return finish(
        figure,
        colours,
        title=_title(selected, neurons, spread),
        subtitle=_subtitle(detector, neurons, len(drawn), spread),
        height=round(height) + 90,
        margin={"t": 34, "b": 56, "l": 60, "r": 20},
        narrowest=500,
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


def further_examples() -> dict[str, dict[str, Any]]:
    """Made data for the gallery: a mixture with a dense first layer, half of it in six experts."""
    seed = torch.Generator().manual_seed(0)
    experts: Experts = ((0, 0, 512), *((32, 24, 48),) * 23)
    weights = torch.zeros(24, max(n * width + beside for n, width, beside in experts))
    homes = [(11 + place, 5 * place + 2) for place in range(6)]  # layers, and an expert of each
    for number in range(90):
        strength = 0.05 + float(torch.randn(1, generator=seed).abs()) / 2
        sign = 1.0 if float(torch.rand(1, generator=seed)) < 0.7 else -1.0
        layer, expert = homes[number // 2 % 6]
        if number % 2:
            layer = int(torch.randint(24, (1,), generator=seed))
            expert = int(torch.randint(21 if layer == 0 else 34, (1,), generator=seed))
        weights[layer, expert * 24 + int(torch.randint(24, (1,), generator=seed))] = sign * strength
    noise = torch.randn(weights.shape, generator=seed) / 40
    provenance = Provenance(model="made data", experts=experts)
    return {
        "a mixture of experts": {
            "detector": Detector(weights, 0.0, provenance=provenance),
            "auroc": 0.5 + weights.clamp(-1, 1) / 5 + noise,
        }
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
        values = contribution.rows(layer * contribution.d_mlp + neuron).float().numpy()
        wrong = contribution.labels.numpy()
        for name, answers in ("wrong", wrong), ("right", ~wrong):
            mean = (
                values[:, answers].mean(axis=1) if answers.any() else np.full(len(values), np.nan)
            )
            facts[f"mean contribution {{:.3~g}} {name}"] = mean
    return facts


def _title(selected: pd.DataFrame, neurons: NeuronSet, spread: InExperts | None) -> str:
    if not len(selected):
        return "No neuron was selected"
    wrong, right = int((selected.weight > 0).sum()), int((selected.weight < 0).sum())
    kinds = [count(n, kind) for n, kind in ((wrong, "H-neuron"), (right, "truth neuron")) if n]
    named = " and ".join(kinds) or count(len(selected), "neuron")
    per_layer = np.bincount(selected.layer, minlength=neurons.n_layers)
    first, last = densest(per_layer)
    layers = f"layer {first}" if first == last else f"layers {first}–{last}"
    in_layers = gather_in_layers(per_layer, np.array(neurons.widths))
    experts = _in_experts(spread, len(selected)) if spread and spread.gathered else ""
    if in_layers and experts:
        return f"{named}, half in {layers}, {experts}"
    if in_layers:
        return f"{named}, half of them in {layers}"
    even = f"{named}, spread over the layers about as evenly as chance"
    return f"{even}, but {experts}" if experts else even


def _in_experts(spread: InExperts, n_selected: int) -> str:
    # Neurons of dense layers have no expert: what is said is said of the others.
    of = "half" if spread.n == n_selected else f"half of the {spread.n:,} in layers with experts"
    return f"{of} in {len(spread.fewest):,} of {count(spread.all, 'expert')}"


def _subtitle(
    detector: Detector | NeuronSet, neurons: NeuronSet, n_drawn: int, spread: InExperts | None
) -> str:
    percent = 100 * len(neurons) / neurons.n_neurons
    name = detector.provenance.model if isinstance(detector, Detector) else detector.name
    if isinstance(detector, NeuronSet):
        name = display_name("domains", name)
    drawn = f"the {n_drawn:,} strongest drawn" if n_drawn < len(neurons) else ""
    parts = (
        name,
        describe(neurons.experts, neurons.n_layers, neurons.d_mlp),
        f"{len(neurons):,} selected ({percent:.2g}%)",
        drawn,
        _chance(spread, len(neurons)),
    )
    return " · ".join(part for part in parts if part)


def _chance(spread: InExperts | None, n_selected: int) -> str:
    """The null beside how the neurons gather in experts; the title says it where it is claimed."""
    if spread is None:
        return ""
    even = f"spread evenly in each layer, {_round(spread.by_chance)}"
    if spread.gathered:
        return f"{even} experts would hold half"
    return f"{_in_experts(spread, n_selected)}; {even} would"


def _round(number: float) -> str:
    return f"{number:,.0f}" if number >= 10 else f"{number:.2g}"
