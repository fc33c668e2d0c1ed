"""The model card of a baked checkpoint: what was changed, and how to check and undo it."""

from collections.abc import Mapping

from jaxtyping import Float
from torch import Tensor

from hlens.types import address


def card(record: Mapping[str, str], factors: Float[Tensor, "layer neuron"]) -> str:
    """Text of the model card.

    Args:
        record: What was baked from what.
        factors: Factor of each neuron's row of W_out; 1 where nothing was changed.
    """
    edited = factors.ne(1.0).nonzero().tolist()
    rows = "\n".join(
        f"| {address((layer, neuron))} | {float(factors[layer, neuron]):g} |"
        for layer, neuron in edited
    )
    share = len(edited) / factors.numel()
    return f"""---
base_model: {record["base"]}
tags: [hlens, edited-neurons]
---

# {record["base"]} with edited neurons

This is {record["base"]} with {len(edited)} of its {factors.numel()} MLP neurons ({share:.3%})
scaled: {record["edits"]}. Row j of a layer's down projection (W_out) was multiplied by the
factor of neuron j, which equals multiplying the neuron's activation on every token. Nothing else
was changed.

An edit of neurons is an experiment. That it changes a behaviour is no proof that these neurons
cause that behaviour, and it may change others: measure both before use, beside random neurons.

- base weights: `{record["base_fingerprint"]}`
- these weights: `{record["edited_fingerprint"]}`

`hlens_edit.safetensors` holds the factors and the original rows. `hlens verify FOLDER` checks this
checkpoint against it, and `hlens unbake FOLDER TO` restores the original bit for bit.

| neuron | factor |
|---|---|
{rows}
"""
