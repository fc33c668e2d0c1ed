"""The edits that the field uses; each function makes one value of the type `Edit`."""

import math
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from hlens.errors import HlensError
from hlens.interventions.activations import Reference
from hlens.model import ALL, Columns, Edit, Scope, Site

_MIX = (0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D)  # odd constants of common integer hashes


def scale(alpha: float, scope: Scope = ALL) -> Edit:
    """Multiply each activation by `alpha`: the intervention of arXiv 2512.01797, section 4.

    Args:
        alpha: 1 changes nothing, 0 silences, above 1 amplifies.
        scope: Which tokens.

    Raises:
        HlensError: `alpha` is not finite.

    >>> scale(0.5).name
    'scale(0.5)'
    """
    factor = _finite(alpha, "alpha")
    return Edit(f"scale({factor:g})", lambda old, site: old * factor, scope, factor=factor)


def ablate(
    mode: Literal["zero", "mean", "resample"] = "zero",
    reference: Reference | None = None,
    seed: int = 0,
    scope: Scope = ALL,
) -> Edit:
    """Take away what the neurons say.

    Args:
        mode: ``"zero"`` sets the activations to 0; ``"mean"`` to their mean over the reference;
            ``"resample"`` to those of a random reference token, all neurons of one layer from the
            same token. The draw depends on seed, token and its place alone, so that it is the same
            in every batch, with and without a cache.
        reference: Activations from `hlens.interventions.reference`, for mean and resample.
        seed: Seed of the draw.
        scope: Which tokens.

    Raises:
        HlensError: Unknown mode, or no reference where one is needed.
    """
    if mode == "zero":
        return Edit("ablate", lambda old, site: old * 0.0, scope, factor=0.0)
    if mode not in ("mean", "resample"):
        raise HlensError(f"unknown ablation {mode!r}; expected 'zero', 'mean' or 'resample'")
    if reference is None:
        raise HlensError(
            f"ablate({mode!r}) needs reference activations; make them with "
            "hlens.interventions.reference(model, prompts, neurons)"
        )

    def to_mean(old: Columns, site: Site) -> Columns:
        return reference.mean(site).to(old).expand_as(old)

    def to_sample(old: Columns, site: Site) -> Columns:
        values = reference.columns(site).to(old)
        return values[_draws(site, seed, len(values))]

    change = to_mean if mode == "mean" else to_sample
    held = tuple(reference.layers.values())
    name = f"ablate({mode})" if mode == "mean" else f"ablate({mode}, seed {seed})"
    return Edit(name, change, scope, shape=reference.shape, values=held)


def clamp(low: float = -math.inf, high: float = math.inf, scope: Scope = ALL) -> Edit:
    """Keep each activation within ``[low, high]``.

    Raises:
        HlensError: The bounds are no numbers, or the wrong way round, or both missing.
    """
    if not low <= high or (math.isinf(low) and math.isinf(high)):
        raise HlensError(
            f"clamp to [{low}, {high}]; expected low <= high, at least one of them set"
        )
    return Edit(f"clamp({low:g}, {high:g})", lambda old, site: old.clamp(min=low, max=high), scope)


def add(direction: Float[Tensor, "layer neuron"], alpha: float = 1.0, scope: Scope = ALL) -> Edit:
    """Add ``alpha x direction`` to the activations: steering in neuron space.

    Args:
        direction: A number for each neuron (see `hlens.interventions.directions`).
        alpha: How far along it.
        scope: Which tokens.

    Raises:
        HlensError: `alpha` or the direction is not finite.
    """
    factor = _finite(alpha, "alpha")
    if not bool(torch.isfinite(direction).all()):
        raise HlensError("the direction holds values that are not finite; mend it before steering")

    def change(old: Columns, site: Site) -> Columns:
        step = direction.to(old.device)[site.layer, site.neurons]
        return old + (factor * step).to(old.dtype)

    shape = (int(direction.shape[0]), int(direction.shape[1]))
    return Edit(f"add({factor:g})", change, scope, shape=shape, values=(direction,))


steer = add


def _draws(site: Site, seed: int, n: int) -> Tensor:
    """A reference row for each token, from seed, token id and place."""
    batch = site.batch
    ids = batch.ids if batch.ids is not None else torch.zeros_like(batch.position)
    mixed = ids.long() * _MIX[0] + batch.position.clamp_min(0) * _MIX[1] + seed * _MIX[2]
    mixed = (mixed ^ (mixed >> 15)) * _MIX[0]
    mixed = (mixed ^ (mixed >> 13)) * _MIX[1]
    return (mixed ^ (mixed >> 16)).remainder(n)


def _finite(value: float, name: str) -> float:
    if not math.isfinite(value):
        raise HlensError(f"{name} is {value}; expected a finite number, such as 0, 0.5 or 2")
    return float(value)
