"""The edits that the field uses, each made as a value of the type `Edit`, and their control."""

import math
from functools import partial
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from hlens.checks import FINITE, check_real
from hlens.errors import HlensError
from hlens.interventions.activations import Reference
from hlens.model import ALL, Columns, Edit, Elementwise, Model, Scope, Site, check_neurons
from hlens.types import NeuronSet

_MIX = (0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D)  # odd constants of common integer hashes


def scale(alpha: float, scope: Scope = ALL) -> Edit:
    """Multiply each activation by `alpha`: the intervention of arXiv 2512.01797, section 4.

    At 1 nothing changes, 0 silences, above 1 amplifies.

    Raises:
        HlensError: `alpha` is not finite.

    >>> scale(0.5).name
    'scale(0.5)'
    """
    factor = check_real("alpha", alpha, **FINITE)
    return Edit(
        f"scale({factor:g})",
        lambda old, site: old * factor,
        scope,
        factor=factor,
        elementwise=lambda layer, neurons: Elementwise(scale=factor),
    )


def ablate(
    mode: Literal["zero", "mean", "resample"] = "zero",
    reference: Reference | None = None,
    *,
    seed: int = 0,
    scope: Scope = ALL,
) -> Edit:
    """Replace the activations by ones that carry no information of this prompt.

    Args:
        mode: ``"zero"`` sets the activations to 0; ``"mean"`` to their mean over the reference;
            ``"resample"`` to those of a random reference token, all neurons of one layer from the
            same token. The draw depends on seed, token and its place alone, so that it is the same
            in every batch, with and without a cache.
        reference: From `hlens.interventions.capture_reference`, for mean and resample.
        seed: Seed of the draw.
        scope: Which tokens.

    Raises:
        HlensError: Unknown mode, or no reference where one is needed.
    """
    if mode == "zero":
        return Edit(
            "ablate",
            lambda old, site: old * 0.0,
            scope,
            factor=0.0,
            elementwise=lambda layer, neurons: Elementwise(scale=0.0),
        )
    if mode not in ("mean", "resample"):
        raise HlensError(f"unknown ablation {mode!r}; expected 'zero', 'mean' or 'resample'")
    if reference is None:
        raise HlensError(
            f"ablate({mode!r}) needs reference activations; make them with "
            "hlens.interventions.capture_reference(model, prompts, neurons)"
        )

    def to_mean(old: Columns, site: Site) -> Columns:
        return reference.mean(site).to(old).expand_as(old)

    def to_sample(old: Columns, site: Site) -> Columns:
        values = reference.columns(site).to(old)
        return values[_draw_rows(site, seed, len(values))]

    change = to_mean if mode == "mean" else to_sample
    values = tuple(reference.layers.values())
    name = f"ablate({mode})" if mode == "mean" else f"ablate({mode}, seed {seed})"
    means = None if mode == "resample" else partial(_as_mean, reference)
    return Edit(name, change, scope, shape=reference.shape, values=values, elementwise=means)


def _as_mean(reference: Reference, layer: int, neurons: Tensor) -> Elementwise:
    return Elementwise(0.0, reference.columns_of(layer, neurons).float().mean(dim=0))


def clamp(low: float = -math.inf, high: float = math.inf, *, scope: Scope = ALL) -> Edit:
    """Keep each activation within ``[low, high]``.

    Raises:
        HlensError: A bound is NaN, the bounds are swapped, or both are missing.
    """
    if not low <= high or (math.isinf(low) and math.isinf(high)):
        raise HlensError(
            f"clamp to [{low}, {high}]; expected low <= high, at least one of them set"
        )
    return Edit(
        f"clamp({low:g}, {high:g})",
        lambda old, site: old.clamp(min=low, max=high),
        scope,
        elementwise=lambda layer, neurons: Elementwise(low=low, high=high),
    )


def steer(
    direction: Float[Tensor, "layer neuron"], alpha: float = 1.0, *, scope: Scope = ALL
) -> Edit:
    """Add ``alpha x direction`` to the activations (see `hlens.interventions.directions`).

    Raises:
        HlensError: `alpha` or the direction is not finite.
    """
    factor = check_real("alpha", alpha, **FINITE)
    if not bool(torch.isfinite(direction).all()):
        raise HlensError("the direction has values that are not finite; repair it before steering")

    def change(old: Columns, site: Site) -> Columns:
        step = direction.to(old.device)[site.layer, site.neurons]
        return old + (factor * step).to(old.dtype)

    def as_shift(layer: int, neurons: Tensor) -> Elementwise:
        return Elementwise(shift=factor * direction[layer, neurons.to(direction.device)].float())

    layers, d_mlp = direction.shape
    name = f"add({factor:g})"
    return Edit(
        name, change, scope, shape=(layers, d_mlp), values=(direction,), elementwise=as_shift
    )


def norm_matched(
    model: Model, neurons: NeuronSet, edit: Edit, *, seed: int, backwards: bool = False
) -> tuple[NeuronSet, Edit]:
    """A random perturbation as large, token by token and layer by layer, as the edit itself.

    The control of an edit: in every layer with members, the MLP output moves by as much (Euclidean
    norm in the residual stream) as `edit` would have moved it, but along the image of one random
    direction over all neurons of the layer. What the edit does beyond this is more than its size.
    Of a mixture, what the edit moves by way of the experts is matched among the experts that the
    token is routed to, and what it moves by way of a shared expert there.

    It acts on all neurons of these layers, the set that is returned beside it. `backwards` pushes
    the other way: for doses on the other side of the unmodified one, where the edit itself changes
    its sign.

    Raises:
        HlensError: No neurons, or those of another model.
    """
    check_neurons(model, neurons)
    layers = sorted({layer for layer, _ in neurons.members})
    if not layers:
        raise HlensError("no neurons to match a perturbation to; give a set with members")
    whole = NeuronSet(
        frozenset((layer, j) for layer in layers for j in range(model.mlps[layer].width)),
        model.n_layers,
        model.d_mlp,
        model=neurons.model,
        name=f"norm-matched {seed}",
        experts=model.experts,
    )
    draw = torch.Generator().manual_seed(seed)
    sign = -1.0 if backwards else 1.0
    pushes: dict[int, tuple[Tensor, Tensor, Tensor]] = {}
    for layer in layers:
        rows = model.w_out(layer).float()
        direction = torch.randn(len(rows), generator=draw).to(rows.device)
        # Unit length in the residual stream, so that its factor is the size of the push.
        members = torch.tensor(neurons.in_layer(layer), device=rows.device)
        pushes[layer] = members, rows, sign * direction / (direction @ rows).norm()

    def change(old: Columns, site: Site) -> Columns:
        members, *whole = pushes[site.layer]
        rows, direction = (of_layer[site.neurons] for of_layer in whole)
        own = torch.isin(site.neurons, members).nonzero().flatten()  # of this block of the layer
        before = old.index_select(-1, own)
        of_own = None if site.weights is None else site.weights.index_select(-1, own)
        after = edit.change(before, Site(site.layer, site.neurons[own], site.batch, of_own))
        moved = (after - before).float()
        if site.weights is None or of_own is None:
            size = (moved @ rows[own]).norm(dim=-1, keepdim=True)
            return old + (size * direction).to(old.dtype)
        size = ((moved * of_own) @ rows[own]).norm(dim=-1, keepdim=True)
        image = ((site.weights * direction) @ rows).norm(dim=-1, keepdim=True).clamp_min(1e-30)
        return old + (size / image * direction).to(old.dtype)

    name, shape = f"norm-matched {edit.name}", (model.n_layers, model.d_mlp)
    values = (*edit.values, *(tensor for push in pushes.values() for tensor in push))
    return whole, Edit(name, change, edit.scope, shape=shape, values=values)


def _draw_rows(site: Site, seed: int, n: int) -> Tensor:
    """A reference row for each token: a hash of seed, token id and place, whatever the batch."""
    batch = site.batch
    ids = batch.ids if batch.ids is not None else torch.zeros_like(batch.position)
    mixed = ids.long() * _MIX[0] + batch.position.clamp_min(0) * _MIX[1] + seed * _MIX[2]
    mixed = (mixed ^ (mixed >> 15)) * _MIX[0]
    mixed = (mixed ^ (mixed >> 13)) * _MIX[1]
    return (mixed ^ (mixed >> 16)).remainder(n)
