"""Folding: an edit by a constant factor moved from the activations into the weights.

Scaling an activation and scaling its row of W_out are the same computation, so an edit of the scale
family can live in the weights: for a block (`folded`), or in a checkpoint (`bake`).
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hlens.errors import HlensError
from hlens.model import Edit, Model, Pairs, check_edit, pair_up, widen
from hlens.types import NeuronSet

_INSTEAD = {
    "quantised": (
        "load it in bfloat16 or float32, fold edits into that, and quantise what was baked; or "
        "edit activations (model.editing)"
    ),
    "adapted": (
        "merge the adapter (peft's merge_and_unload), save, and load that to fold edits into it; "
        "or edit activations (model.editing)"
    ),
    "offloaded": (
        "load it onto devices that hold all of it to fold edits into them; or edit activations "
        "(model.editing)"
    ),
}
Factors = dict[int, Float[Tensor, " neuron"]]  # for each layer with edited neurons


@contextmanager
def folded(model: Model, neurons: NeuronSet | Pairs, edit: Edit | None = None) -> Iterator[None]:
    """Run a block with an edit folded into the weights; afterwards they are bit-identical again.

    The model, its bridge and everything that shares the weights see the edit. Unlike within
    `Model.editing`, the activations themselves are the unedited ones.

    `neurons` may be several (neurons, edit) pairs. An edit is one by a constant factor on all
    tokens: `scale`, or `ablate` to zero.

    Raises:
        HlensError: An edit that is not a constant factor on all tokens, no neurons, weights that
            are quantised, adapted or offloaded, or a factor that takes them out of the range of
            their dtype.
    """
    factors = fold_factors(model, pair_up(neurons, edit))
    saved: dict[int, tuple[Tensor, Tensor]] = {}
    try:
        for layer, factor in factors.items():
            edited = edited_neurons(factor)
            rows = model.mlps[layer].rows(edited).clone()
            saved[layer] = edited, rows
            scaled = scale_rows(rows, factor[edited])
            model.mlps[layer].write_rows(edited, scaled)
            if not scaled.isfinite().all():
                raise HlensError(
                    f"scaled so, weights of layer {layer} do not fit {rows.dtype}; choose a "
                    "smaller factor"
                )
        yield
    finally:
        for layer, (edited, original) in saved.items():
            model.mlps[layer].write_rows(edited, original)


def fold_factors(model: Model, pairs: Pairs) -> Factors:
    """The factors of an edit that can be folded into this model's weights.

    Raises:
        HlensError: As `constant_factors`; or the weights are quantised, adapted or offloaded.
    """
    factors = constant_factors(model, pairs)
    if model.kept:
        raise HlensError(f"the weights of {model.name} are {model.kept}; {_INSTEAD[model.kept]}")
    return factors


def constant_factors(model: Model, pairs: Pairs) -> Factors:
    """For each layer with edited neurons, the product of all factors of each neuron.

    Raises:
        HlensError: An edit that is not a constant factor on all tokens, or no neurons.
    """
    factors: Factors = {}
    for neurons, edit in pairs:
        if edit.factor is None or edit.scope.name != "all":
            raise HlensError(
                f"{edit.name} cannot be folded into weights; only a "
                "constant factor on all tokens can: scale(alpha), or ablate() to zero"
            )
        check_edit(model, neurons, edit)
        for layer, neuron in neurons:
            unedited = torch.ones(model.d_mlp, dtype=torch.float64)
            factors.setdefault(layer, unedited)[neuron] *= edit.factor
    if not factors:
        raise HlensError("no neurons to scale; give a set with members")
    return factors


def edited_neurons(factors: Float[Tensor, " neuron"]) -> Int[Tensor, " edited"]:
    """Indices of the neurons whose rows of W_out are scaled."""
    return factors.ne(1.0).nonzero().flatten()


def scale_rows(
    rows: Float[Tensor, "neuron d_model"], factors: Float[Tensor, " neuron"]
) -> Float[Tensor, "neuron d_model"]:
    """Rows of W_out times their factors, rounded once to the dtype of the rows."""
    wide = widen(rows)
    return (wide * factors.to(wide.device)[:, None]).to(rows)
