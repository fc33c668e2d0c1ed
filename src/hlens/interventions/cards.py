"""The card of edited weights: what was scaled by how much, from a template of this folder."""

import html
import json
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from jaxtyping import Float
from torch import Tensor

from hlens.model import Model
from hlens.types import address


def fill_card(
    template: str,
    record: Mapping[str, str],
    factors: Float[Tensor, "layer neuron"],
    model: Model,
    **further: Any,
) -> str:
    """A template with the base model, its numbers of neurons, and a row for each that is scaled."""
    edited = factors.ne(1.0).nonzero().tolist()
    rows = [f"| {address((i, j), model.experts)} | {float(factors[i, j]):g} |" for i, j in edited]
    card = files("hlens.interventions").joinpath(template).read_text(encoding="utf-8")
    # A name may hold line breaks or markup of its own, and the card's head is YAML.
    name = " ".join(record["base"].split())
    shown = {**record, "base": html.escape(name), "base_in_yaml": json.dumps(name)}
    return card.format(
        **shown,
        n_edited=len(edited),
        n_neurons=(n_neurons := sum(mlp.width for mlp in model.mlps)),
        share=len(edited) / n_neurons,
        rows="\n".join(rows),
        **further,
    )
