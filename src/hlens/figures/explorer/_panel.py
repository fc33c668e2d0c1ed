"""What the panel shows of each neuron, as plain data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from torch import Tensor

from hlens.display import display_names
from hlens.drawing.html import is_special, visible
from hlens.errors import HlensError
from hlens.figures.neuron_map.places import places_of
from hlens.types import Contributions, Detector, NeuronSet

Neuron = tuple[int, int]


@dataclass(frozen=True)
class Strip:
    """One answer as a neuron reads it.

    Attributes:
        tokens: Decoded tokens.
        values: Contribution of the neuron at each token; None where it was not measured.
        caption: The verdict on the answer, and its source.
    """

    tokens: tuple[str, ...]
    values: tuple[float | None, ...]
    caption: str = ""

    def __post_init__(self) -> None:
        if len(self.tokens) != len(self.values):
            raise HlensError(
                f"a strip has {len(self.tokens)} tokens and {len(self.values)} values; give one "
                "value, or None, for each token"
            )


@dataclass(frozen=True)
class NeuronPage:
    """What is known of one neuron beyond its numbers.

    Attributes:
        strongest: Answers where it contributes most.
        weakest: Answers where it contributes least.
        promotes: Tokens that its output row raises most, each with its logit.
        suppresses: Tokens that it lowers most.
    """

    strongest: tuple[Strip, ...] = ()
    weakest: tuple[Strip, ...] = ()
    promotes: tuple[tuple[str, float], ...] = ()
    suppresses: tuple[tuple[str, float], ...] = ()


def strongest(detector: Detector, most: int) -> list[Neuron]:
    """The selected neurons by their weight, at most so many."""
    weights = detector.selected.weights or {}
    return sorted(weights, key=lambda neuron: (-abs(weights[neuron]), neuron))[:most]


def panel_data(
    detector: Detector,
    pages: Mapping[Neuron, NeuronPage],
    *,
    frequency: Float[Tensor, "layer neuron"] | None,
    auroc: Float[Tensor, "layer neuron"] | None,
    contribution: Contributions | None,
    shared: Mapping[str, NeuronSet] | None,
    most: int,
) -> dict[str, dict[str, Any]]:
    """The panel of each neuron by address, strongest first, ready for JSON."""
    weights, members = detector.selected.weights or {}, strongest(detector, most)
    places = places_of(detector.selected)
    names = display_names("domains", shared or ())
    means = _means(members, contribution)
    panels = {}
    for neuron in members:
        facts = [("weight", f"{weights[neuron]:+.4g}")]
        if auroc is not None:
            facts.append(("AUROC alone", f"{float(auroc[neuron]):.3f}"))
        if frequency is not None:
            facts.append(("kept in resamples", f"{float(frequency[neuron]):.0%}"))
        facts += means.get(neuron, [])
        panels[detector.selected.address(neuron)] = {
            "at": [neuron[0], places.x(neuron[0], np.array([neuron[1]])).item()],
            "kind": "positive" if weights[neuron] > 0 else "negative",
            "facts": facts,
            "domains": [
                visible(names[k]) for k, own in (shared or {}).items() if neuron in own.members
            ],
            **page_data(pages.get(neuron, NeuronPage())),
        }
    return panels


def page_data(page: NeuronPage) -> dict[str, Any]:
    """A page as the panel shows it, ready for JSON."""
    strips = (*page.strongest, *page.weakest)
    known = [value for strip in strips for value in strip.values if value is not None]
    # One scale, so that weak answers look weak.
    top = float(np.max(np.abs(known), initial=0.0))
    return {
        "promotes": _tokens(page.promotes),
        "suppresses": _tokens(page.suppresses),
        "strongest": [_strip(one, top) for one in page.strongest],
        "weakest": [_strip(one, top) for one in page.weakest],
    }


def _means(
    members: Sequence[Neuron], contribution: Contributions | None
) -> dict[Neuron, list[tuple[str, str]]]:
    if contribution is None or not members:
        return {}
    rows = [layer * contribution.d_mlp + neuron for layer, neuron in members]
    values = contribution.rows(rows).float()
    wrong = contribution.labels
    means: dict[Neuron, list[tuple[str, str]]] = {neuron: [] for neuron in members}
    for name, part in ("wrong", values[:, wrong]), ("right", values[:, ~wrong]):
        if part.shape[1]:
            for neuron, mean in zip(members, part.mean(dim=1).tolist(), strict=True):
                means[neuron].append((f"mean when {name}", f"{mean:.3g}"))
    return means


def _tokens(tokens: Sequence[tuple[str, float]]) -> list[list[str]]:
    return [[visible(token) or "∅", f"logit {value:+.3g}"] for token, value in tokens]


def _strip(one: Strip, top: float) -> dict[str, Any]:
    return {
        "caption": visible(one.caption),
        "tokens": [visible(token) for token in one.tokens],
        "special": [int(is_special(token)) for token in one.tokens],
        "values": [None if v is None else round(abs(v) / (top or 1.0), 3) for v in one.values],
        "told": ["" if v is None else f"contribution {v:.4g}" for v in one.values],
    }
