"""Patching studies: which neurons carry what differs between two prompts.

Activations of the clean run are put into the corrupted run; the effect of a patch is the share of
the difference between the runs that it restores: 0 nothing, 1 all (Meng et al. 2022; Zhang and
Nanda 2023, arXiv 2309.16042). Attribution patching estimates it for every neuron from one backward
pass (Syed et al. 2023, arXiv 2310.10348): the screen, of which exact patching is the check.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool
from torch import Tensor

from hlens.effects.attributing import attribution
from hlens.effects.pairs import Pair, ends
from hlens.errors import HlensError
from hlens.evaluation.bootstrap import estimate_statistic
from hlens.interventions import Activations, Edit, Scope, Site, align, capture, patch
from hlens.interventions.patches import Positions
from hlens.model import Columns, Model
from hlens.types import NeuronSet, address

ROWS = 32  # patched copies of a prompt in one batch
KEYS = ["kind", "name", "layer", "neuron"]


def patching(
    model: Model, pairs: Sequence[Pair], neurons: NeuronSet, random: int = 8, seed: int = 0
) -> pd.DataFrame:
    """Effect of patching each neuron, each layer's members, all members, and every neuron.

    Args:
        model: The model.
        pairs: The pairs; tokens that two prompts share at their beginnings and ends are patched
            (`hlens.interventions.align`).
        neurons: The neurons in question.
        random: Random sets of the same layers, patched whole: the control of all members.
        seed: First seed of the random sets.

    Returns:
        Columns ``pair, kind, name, layer, neuron, effect, attribution, clean, corrupted``. `kind`
        is ``"neuron"``, ``"layer"``, ``"members"``, ``"random"`` or ``"everything"``; `effect` the
        exact patch; `attribution` its first-order estimate; `clean` and `corrupted` the logit
        differences answer - foil. `patched` sums it up over pairs.

    Raises:
        HlensError: No pairs, no neurons, or a pair whose prompts call for the same.
    """
    if not pairs or not len(neurons):
        raise HlensError(f"{len(pairs)} pairs and {len(neurons)} neurons; give one or more of each")
    groups = _groups(neurons, range(seed, seed + random))
    rows: list[dict[str, Any]] = []
    for one in pairs:
        rows += _study(model, one, groups)
    return pd.DataFrame(rows)


def screen(model: Model, pairs: Sequence[Pair], k: int) -> NeuronSet:
    """The `k` neurons of the whole model to which attribution patching gives the largest share.

    One backward pass a pair; `patching` of what it returns is the check.

    Raises:
        HlensError: No pairs, or `k` is not between 1 and the number of neurons.
    """
    if not pairs or not 0 < k <= model.n_layers * model.d_mlp:
        raise HlensError(f"{len(pairs)} pairs, k={k}; give one pair or more, and 1 or more neurons")
    mean = torch.stack([attribution(model, one) for one in pairs]).mean(dim=0)
    top = mean.flatten().abs().topk(k).indices
    chosen = torch.zeros(mean.numel(), dtype=torch.bool)
    chosen[top] = True
    found = NeuronSet.from_mask(chosen.reshape(mean.shape))
    return NeuronSet(
        found.members, found.n_layers, found.d_mlp, model=model.fingerprint, name="screened neurons"
    )


def patched(table: pd.DataFrame, n_boot: int = 1000) -> pd.DataFrame:
    """Mean effect over the pairs, with bootstrap intervals over pairs.

    Args:
        table: From `patching`.
        n_boot: Number of resamples.

    Returns:
        Columns ``kind, name, layer, neuron, effect, low, high, attribution, n``, the strongest of
        each kind first.
    """
    found = []
    grouped: Any = table.groupby(KEYS, sort=False)
    for key, rows in grouped:
        values = rows.effect.to_numpy()
        mean = _mean_of(values)
        one = estimate_statistic(
            mean, len(values), value=float(values.mean()), groups=list(rows.pair), n_boot=n_boot
        )
        row = {"effect": one.value, "low": one.low, "high": one.high}
        row |= {"attribution": float(rows.attribution.mean()), "n": one.n}
        found.append(dict(zip(KEYS, key, strict=True)) | row)
    whole = pd.DataFrame(found)
    order = {kind: at for at, kind in enumerate(dict.fromkeys(whole.kind))}
    by = whole.assign(kind=whole.kind.map(order), effect=-whole.effect.abs())
    return whole.loc[by.sort_values(["kind", "effect"], kind="stable").index].reset_index(drop=True)


def patching_map(
    model: Model, one: Pair, neurons: NeuronSet, random: int = 4, seed: int = 0
) -> pd.DataFrame:
    """Effect of patching each layer's members at each shared token: a heatmap's table.

    Args:
        model: The model.
        one: The pair.
        neurons: The neurons in question.
        random: Random sets of the same layers, patched at the same places.
        seed: First seed of the random sets.

    Returns:
        Columns ``pair, layer, pos, token_id, token, effect, random_low, random_high, n_random``;
        `pos` counts in the corrupted prompt; the random columns are NaN without random sets.
    """
    source, places = capture(model, one.clean), align(one.corrupted, one.clean)
    sets = [neurons, *(neurons.random_like(at, match="layer") for at in range(seed, seed + random))]
    limits = ends(model, one)
    rows: list[dict[str, Any]] = []
    for layer in _layers(neurons):
        groups = [_of_layer(members, layer) for members in sets]
        cells = [(at, group) for at in places for group in groups]
        maps = [{at: places[at]} for at, _ in cells]
        values = _effects(model, one, source, maps, [group for _, group in cells], limits)
        grid = np.array(values).reshape(len(places), len(sets))
        for at, cell in zip(places, grid, strict=True):
            row = {"pair": one.id, "layer": layer, "pos": at, "token_id": one.corrupted[at]}
            row |= {"token": _word(model, one.corrupted[at]), "effect": cell[0]}
            row |= {"random_low": cell[1:].min() if random else np.nan}
            rows.append(row | {"random_high": cell[1:].max() if random else np.nan})
    return pd.DataFrame(rows).assign(n_random=random)


def _groups(neurons: NeuronSet, seeds: range) -> list[tuple[dict[str, Any], NeuronSet]]:
    """What is patched together, and the row that tells of it."""
    found = []
    for layer, neuron in neurons:
        row = {"kind": "neuron", "name": address((layer, neuron)), "layer": layer}
        found.append((row | {"neuron": neuron}, _only(neurons, [(layer, neuron)])))
    for layer in _layers(neurons):
        row = {"kind": "layer", "name": f"layer {layer}", "layer": layer, "neuron": -1}
        found.append((row, _of_layer(neurons, layer)))
    whole = {"kind": "members", "name": neurons.name or "H-neurons", "layer": -1, "neuron": -1}
    found.append((whole, neurons))
    for seed in seeds:
        row = {"kind": "random", "name": f"random {seed}", "layer": -1, "neuron": -1}
        found.append((row, neurons.random_like(seed, match="layer")))
    return found


def _study(
    model: Model, one: Pair, groups: Sequence[tuple[dict[str, Any], NeuronSet]]
) -> list[dict[str, Any]]:
    source, places = capture(model, one.clean), align(one.corrupted, one.clean)
    limits, estimate = ends(model, one), attribution(model, one)
    mark = {"pair": one.id, "clean": limits[0], "corrupted": limits[1]}
    sets = [group for _, group in groups]
    values = _effects(model, one, source, [places] * len(sets), sets, limits)
    rows = []
    for (row, group), value in zip(groups, values, strict=True):
        own = {"effect": value, "attribution": float(estimate[group.mask].sum())}
        rows.append(mark | row | own)
    whole = NeuronSet.from_mask(torch.ones(model.n_layers, model.d_mlp, dtype=torch.bool))
    (value,) = _effects(model, one, source, [places], [whole], limits)
    row = {"kind": "everything", "name": "every neuron", "layer": -1, "neuron": -1}
    rows.append(mark | row | {"effect": value, "attribution": float(estimate.sum())})
    return rows


def _effects(
    model: Model,
    one: Pair,
    source: Activations,
    maps: Sequence[Positions],
    groups: Sequence[NeuronSet],
    limits: tuple[float, float],
) -> list[float]:
    """Share restored by each patch: group i at the tokens of map i, many copies in a batch."""
    clean, corrupted = limits
    found: list[float] = []
    for begin in range(0, len(groups), ROWS):
        some = groups[begin : begin + ROWS]
        edit = _row_by_row(source, maps[begin : begin + ROWS], some)
        union = _only(some[0], sorted(frozenset().union(*(group.members for group in some))))
        ids = torch.tensor([one.corrupted], device=model.device).expand(len(some), -1)
        with model.editing(union, edit), torch.inference_mode():
            logits = model.hf(input_ids=ids, use_cache=False).logits[:, -1].float()
        values = (logits[:, one.answer] - logits[:, one.foil]).tolist()
        found += [(value - corrupted) / (clean - corrupted) for value in values]
    return found


def _row_by_row(
    source: Activations, maps: Sequence[Positions], groups: Sequence[NeuronSet]
) -> Edit:
    """Row i of the batch has group i patched, at the tokens of map i."""
    whole = patch(source, list(maps))
    masks: Bool[Tensor, "row layer neuron"] = torch.stack([group.mask for group in groups])

    def change(old: Columns, site: Site) -> Columns:
        mine = masks[:, site.layer].to(old.device)[:, site.neurons]
        return torch.where(mine[:, None, :], whole.change(old, site), old)

    return Edit("patch", change, Scope("shared", whole.scope.mask), shape=whole.shape)


def _mean_of(values: np.ndarray) -> Any:
    return lambda weights: (weights @ values) / weights.sum(axis=1)


def _word(model: Model, token_id: int) -> str:
    return str(token_id) if model.tokenizer is None else model.tokenizer.decode([token_id])


def _layers(neurons: NeuronSet) -> list[int]:
    return sorted({layer for layer, _ in neurons.members})


def _of_layer(neurons: NeuronSet, layer: int) -> NeuronSet:
    return _only(neurons, [member for member in neurons if member[0] == layer])


def _only(neurons: NeuronSet, members: Sequence[tuple[int, int]]) -> NeuronSet:
    return NeuronSet(
        frozenset(members), neurons.n_layers, neurons.d_mlp, model=neurons.model, name=neurons.name
    )
