"""Patching studies: which neurons carry the difference between two prompts.

Activations of the clean run are put into the corrupted run. The effect of a patch is the share of
the difference between the two runs that it restores, 0 for none and 1 for all (Meng et al. 2022;
Zhang and Nanda 2023, arXiv 2309.16042). Say the logit difference is 2.0 on "The planet Mars" and
-1.0 on "The planet Vulcan": a patch that lifts the latter to 0.5 has restored (0.5 + 1) / 3 = 50 %.

Exact patching needs a forward pass for each neuron. To first order the effect is (clean - corrupted
activation) x gradient, which one backward pass gives for all (attribution patching, Syed et al.
2023, arXiv 2310.10348): a screen, of which exact patching is the check.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import pad

from hlens.counting import count
from hlens.effects.pairs import Pair, PairRun
from hlens.errors import HlensError
from hlens.evaluation.bootstrap import estimate_statistic
from hlens.interventions import Activations, Edit, Scope, Site, patch
from hlens.interventions.patches import Positions
from hlens.model import BlockActs, Columns, MlpActs, Model, check_neurons
from hlens.types import NeuronSet, PatchKind

BATCH = 32  # patched copies of a prompt in one batch
KEYS = ["kind", "name", "layer", "neuron"]
Group = tuple[dict[str, Any], NeuronSet]  # the first columns of its row, and what is patched


def patching(
    model: Model, pairs: Sequence[Pair], neurons: NeuronSet, *, random: int = 8, seed: int = 0
) -> pd.DataFrame:
    """Effect of patching each neuron, each layer's members, all members, and every neuron.

    Tokens that the two prompts of a pair share at their beginnings and ends are patched
    (`hlens.interventions.align`). `random` sets of the same layers, patched whole, are the control
    of all members; `seed` is the first of their seeds.

    Returns:
        Columns ``pair, kind, name, layer, neuron, effect, attribution, clean, corrupted``. `kind`
        is a `hlens.types.PatchKind`; `effect` the exact patch; `attribution` its first-order
        estimate; `clean` and `corrupted` the logit differences answer - foil.
        `summarise_patching` averages over pairs.

    Raises:
        HlensError: No pairs, no neurons or those of another model, or a pair whose prompts give the
            same logit difference.
    """
    if not pairs or not len(neurons):
        raise HlensError(
            f"{count(len(pairs), 'pair')} and {count(len(neurons), 'neuron')}; give one or more "
            "of each"
        )
    model.need_modules("patching")
    groups = _groups(neurons, range(seed, seed + random))
    check_neurons(model, neurons)
    mask = torch.zeros(model.n_layers, model.d_mlp, dtype=torch.bool)
    for layer, mlp in enumerate(model.mlps):
        mask[layer, : mlp.width] = True
    everything = NeuronSet.from_mask(mask, model=model.fingerprint, experts=model.experts)
    whole = (_head(PatchKind.EVERYTHING, "every neuron"), everything)
    rows: list[dict[str, Any]] = []
    for pair in pairs:
        run = PairRun.start(model, pair)
        estimate = _attribute(run)
        shares = _restore(run, [group for _, group in groups], [run.places] * len(groups))
        # Every neuron in a call of its own: it would widen the edit of a whole batch.
        shares += _restore(run, [everything], [run.places])
        head = {"pair": pair.id, "clean": run.clean, "corrupted": run.corrupted}
        for (row, group), share in zip([*groups, whole], shares, strict=True):
            estimated = float(estimate[group.mask].sum())
            rows.append(head | row | {"effect": share, "attribution": estimated})
    return pd.DataFrame(rows)


def attribution(model: Model, pair: Pair) -> Float[Tensor, "layer neuron"]:
    """First-order estimate of the share that patching each neuron restores.

    Raises:
        HlensError: Both prompts give the same logit difference.
    """
    return _attribute(PairRun.start(model, pair))


def screen(model: Model, pairs: Sequence[Pair], *, k: int) -> NeuronSet:
    """The `k` neurons of the whole model to which attribution patching gives the largest share.

    One backward pass a pair; run `patching` on the result to check it.

    Raises:
        HlensError: No pairs, or `k` is not between 1 and the number of neurons.
    """
    if not pairs or not 0 < k <= model.n_layers * model.d_mlp:
        raise HlensError(
            f"{count(len(pairs), 'pair')}, k={k}; give one pair or more, and 1 or more neurons"
        )
    mean = torch.stack([attribution(model, pair) for pair in pairs]).mean(dim=0)
    mask = torch.zeros_like(mean, dtype=torch.bool)
    mask.view(-1)[mean.flatten().abs().topk(k).indices] = True
    return NeuronSet.from_mask(mask, model=model.fingerprint, name="screened neurons")


def summarise_patching(table: pd.DataFrame, *, n_boot: int = 1000) -> pd.DataFrame:
    """Mean effect over the pairs, with bootstrap intervals over pairs.

    Returns:
        Columns ``kind, name, layer, neuron, effect, low, high, attribution, n``, the strongest of
        each kind first.
    """
    rows = []
    grouped: Any = table.groupby(KEYS, sort=False)
    for key, own in grouped:
        values: np.ndarray = own.effect.to_numpy()

        def mean(weights: np.ndarray, values: np.ndarray = values) -> np.ndarray:
            return (weights @ values) / weights.sum(axis=1)

        plain, pairs = float(values.mean()), list(own.pair)
        estimate = estimate_statistic(mean, len(values), value=plain, groups=pairs, n_boot=n_boot)
        row = {"effect": estimate.value, "low": estimate.low, "high": estimate.high}
        row |= {"attribution": float(own.attribution.mean()), "n": estimate.n}
        rows.append(dict(zip(KEYS, key, strict=True)) | row)
    whole = pd.DataFrame(rows)
    rank = {kind: i for i, kind in enumerate(dict.fromkeys(whole.kind))}
    by = whole.assign(kind=whole.kind.map(rank), effect=-whole.effect.abs())
    return whole.loc[by.sort_values(["kind", "effect"], kind="stable").index].reset_index(drop=True)


def patching_map(
    model: Model, pair: Pair, neurons: NeuronSet, *, random: int = 4, seed: int = 0
) -> pd.DataFrame:
    """Effect of patching each layer's members at each shared token: a heatmap's table.

    `random` sets of the same layers are patched at the same places; `seed` is their first seed.

    Returns:
        Columns ``pair, layer, pos, token_id, token, effect, random_low, random_high, n_random``;
        `pos` counts in the corrupted prompt; the random columns are NaN without random sets.

    Raises:
        HlensError: Neurons of another model, or prompts that give the same logit difference.
    """
    model.need_modules("patching")
    check_neurons(model, neurons)
    run = PairRun.start(model, pair)
    sets = [neurons, *(neurons.random_like(s) for s in range(seed, seed + random))]
    rows = []
    for layer in _layers(neurons):
        groups = [_of_layer(members, layer) for members in sets] * len(run.places)
        shares = _restore(run, groups, [{a: b} for a, b in run.places.items() for _ in sets])
        cells = np.array(shares).reshape(len(run.places), len(sets))
        for pos, cell in zip(run.places, cells, strict=True):
            token_id = pair.corrupted[pos]
            decoded = (
                str(token_id) if model.tokenizer is None else model.tokenizer.decode([token_id])
            )
            low, high = (cell[1:].min(), cell[1:].max()) if random else (np.nan, np.nan)
            row = {"pair": pair.id, "layer": layer, "pos": pos, "token_id": token_id}
            row |= {"token": decoded, "effect": cell[0], "random_low": low, "random_high": high}
            rows.append(row)
    return pd.DataFrame(rows).assign(n_random=random)


def _groups(neurons: NeuronSet, seeds: range) -> list[Group]:
    """What is patched together: each neuron, each layer's members, all members, random sets."""
    groups = [
        (_head(PatchKind.NEURON, neurons.address(n), *n), _subset(neurons, [n])) for n in neurons
    ]
    groups += [
        (_head(PatchKind.LAYER, f"layer {layer}", layer), _of_layer(neurons, layer))
        for layer in _layers(neurons)
    ]
    groups.append((_head(PatchKind.MEMBERS, neurons.name or "H-neurons"), neurons))
    return groups + [
        (_head(PatchKind.RANDOM, f"random {seed}"), neurons.random_like(seed)) for seed in seeds
    ]


def _head(kind: PatchKind, name: str, layer: int = -1, neuron: int = -1) -> dict[str, Any]:
    return {"kind": kind.value, "name": name, "layer": layer, "neuron": neuron}


def _restore(run: PairRun, groups: Sequence[NeuronSet], maps: Sequence[Positions]) -> list[float]:
    """Share restored by patching group i at the tokens of map i, many copies in a batch."""
    model, pair, shares = run.model, run.pair, []
    for begin in range(0, len(groups), BATCH):
        some = groups[begin : begin + BATCH]
        edit = _row_by_row(run.source, maps[begin : begin + BATCH], some)
        union = _subset(some[0], sorted(frozenset().union(*(group.members for group in some))))
        ids = torch.tensor([pair.corrupted], device=model.device).expand(len(some), -1)
        with model.editing(union, edit), torch.inference_mode():
            logits = model.hf(input_ids=ids, use_cache=False).logits[:, -1].float()
        values = (logits[:, pair.answer] - logits[:, pair.foil]).tolist()
        shares += [(value - run.corrupted) / (run.clean - run.corrupted) for value in values]
    return shares


def _attribute(run: PairRun) -> Float[Tensor, "layer neuron"]:
    """(clean - corrupted activation) x gradient of the logit difference at the corrupted prompt.

    Summed over shared tokens, as a share of the difference between the runs.
    """
    model, pair = run.model, run.pair
    here, there = torch.tensor(list(run.places)), torch.tensor(list(run.places.values()))
    acts: dict[int, MlpActs] = {}

    def start(block: BlockActs, own: Tensor, flat: Tensor) -> BlockActs:
        # In the graph, whether or not the weights want gradients.
        values = block.values
        return block.with_values(
            values if values.requires_grad else values.detach().requires_grad_()
        )

    def keep(layer: int, of_layer: MlpActs, out: Tensor) -> None:
        acts[layer] = of_layer

    with ExitStack() as stack:
        for layer, mlp in enumerate(model.mlps):
            stack.enter_context(mlp.changing(torch.arange(mlp.width), start))
            stack.enter_context(mlp.reading(partial(keep, layer)))
        ids = torch.tensor([pair.corrupted], device=model.device)
        with torch.enable_grad():
            logits = model.hf(input_ids=ids, use_cache=False).logits[0, -1]
            value = logits[pair.answer] - logits[pair.foil]
        values = [block.values for layer in sorted(acts) for block in acts[layer].blocks]
        # An expert that no token was routed to has no part in the answer.
        grads = list(torch.autograd.grad(value, values, allow_unused=True, materialize_grads=True))
    effects = []
    for layer in sorted(acts):
        own = acts[layer]
        grad = own.with_values([grads.pop(0) for _ in own.blocks]).whole()
        act = own.whole().detach()
        step = run.source.values[layer][there, : act.shape[1]] - act[here]
        effect = (step * grad[here]).sum(0).float().cpu()
        effects.append(pad(effect, (0, model.d_mlp - len(effect))))
    return torch.stack(effects) / (run.clean - run.corrupted)


def _row_by_row(
    source: Activations, maps: Sequence[Positions], groups: Sequence[NeuronSet]
) -> Edit:
    """Row i of the batch has group i patched, at the tokens of map i."""
    whole = patch(source, list(maps))
    masks: Bool[Tensor, "row layer neuron"] = torch.stack([group.mask for group in groups])

    def change(old: Columns, site: Site) -> Columns:
        own = masks[:, site.layer].to(old.device)[:, site.neurons]
        return torch.where(own[:, None, :], whole.change(old, site), old)

    return Edit("patch", change, Scope("shared", whole.scope.mask), shape=whole.shape)


def _layers(neurons: NeuronSet) -> list[int]:
    return sorted({layer for layer, _ in neurons.members})


def _of_layer(neurons: NeuronSet, layer: int) -> NeuronSet:
    return _subset(neurons, [member for member in neurons if member[0] == layer])


def _subset(neurons: NeuronSet, members: Sequence[tuple[int, int]]) -> NeuronSet:
    return replace(neurons, members=frozenset(members), weights=None)
