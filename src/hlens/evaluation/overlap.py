"""Do domains share neurons? Overlap, beside what chance would give.

Chance has three meanings here. Each is the exact distribution of the number of shared neurons when
both sets keep their size in every stratum and are drawn at random within it:

- hypergeometric: one stratum, the whole model;
- layer: each layer is a stratum, since probes prefer some layers in every domain;
- contribution: neurons of one layer and of like mean contribution are a stratum, since an
  unscaled L1 probe prefers neurons that contribute much, whatever the domain.

A small overlap is not "none": sets found on two halves of *one* domain overlap little too. Compare
it with `reliability`, its ceiling.
"""

from collections.abc import Sequence
from itertools import combinations
from typing import Literal

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from scipy.stats import hypergeom
from torch import Tensor

from hlens.errors import HlensError
from hlens.evaluation.significance import holm
from hlens.types import NeuronSet, experts_in, where_neurons_are
from hlens.types.draws import NEAREST_EXPERTS

Null = Literal["hypergeometric", "layer", "contribution"]
Row = dict[str, object]
# Sizes of a stratum of like contribution. Among fewer than 10, chance could hardly strike; wider
# than a quarter, its loudest are found in every domain, and loudness passes for sharing.
_FEWEST, _MOST, _WIDEST = 10, 50, 1.25


def overlap(
    sets: Sequence[NeuronSet],
    contribution: Float[Tensor, "layer neuron"] | None = None,
    usage: Float[Tensor, "layer expert"] | None = None,
) -> pd.DataFrame:
    """Overlap of every pair of neuron sets, beside chance under three nulls.

    Without `contribution`, the mean of each neuron, the columns of the contribution-matched null
    are missing. Take the mean over true answers: over all answers it holds part of what is tested.
    With `usage` (`expert_usage`) the layer null of a mixture also holds fixed how often experts are
    used.

    Returns:
        One row per pair: ``a, b, n_a, n_b, shared, jaccard, overlap_coefficient`` (shared over the
        smaller set), then ``expected, fold, p, p_corrected`` under the layer null and the same
        four with ``_hypergeometric`` and ``_contribution``. ``fold`` is shared over expected;
        ``p`` the exact chance of as many shared neurons or more; ``p_corrected`` Holm's over
        the pairs.

    Raises:
        HlensError: Fewer than two sets, names that are empty or occur twice, or sets of
            different models.
    """
    check_named_sets(sets)
    nulls: dict[Null, str] = {"layer": "", "hypergeometric": "_hypergeometric"}
    if contribution is not None:
        nulls["contribution"] = "_contribution"
    given = {"contribution": contribution, "usage": usage}
    strata = {null: null_strata(sets[0], null, **given) for null in nulls}
    rows: list[Row] = []
    for a, b in combinations(sets, 2):
        row = _count_shared(a, b)
        for null, suffix in nulls.items():
            expected, p = chance_overlap(a, b, strata=strata[null])
            fold = len(a & b) / expected if expected else float("nan")
            row |= {f"expected{suffix}": expected, f"fold{suffix}": fold, f"p{suffix}": p}
        rows.append(row)
    table = pd.DataFrame(rows)
    for suffix in nulls.values():
        table[f"p_corrected{suffix}"] = holm(table[f"p{suffix}"].to_numpy(dtype=float))
    return table


def chance_overlap(
    a: NeuronSet, b: NeuronSet, *, strata: Int[np.ndarray, " feature"]
) -> tuple[float, float]:
    """Expected number of shared neurons, and the chance of as many as there are or more.

    Exact: the sum of one hypergeometric number per stratum. Each set keeps its number in every
    stratum (one for each neuron of the model, layers end to end).
    """
    n_strata = int(strata.max()) + 1
    size = np.bincount(strata, minlength=n_strata)
    in_a = np.bincount(strata[a.mask.numpy().ravel()], minlength=n_strata)
    in_b = np.bincount(strata[b.mask.numpy().ravel()], minlength=n_strata)
    expected = float((in_a * in_b / np.maximum(size, 1)).sum())
    distribution = np.ones(1)
    for k in np.flatnonzero(in_a * in_b):
        most = min(in_a[k], in_b[k])
        one = hypergeom.pmf(np.arange(most + 1), size[k], in_a[k], in_b[k])
        distribution = np.convolve(distribution, one)
    # Summed from the smallest term up: a tail of tiny terms must not be rounded away.
    return expected, float(min(1.0, distribution[len(a & b) :][::-1].sum()))


def null_strata(
    like: NeuronSet,
    null: Null,
    *,
    contribution: Float[Tensor, "layer neuron"] | None = None,
    usage: Float[Tensor, "layer expert"] | None = None,
) -> Int[np.ndarray, " feature"]:
    """Stratum of each neuron of the model under a null, layers end to end.

    ``"layer"`` has one for each layer; of a mixture of which `usage` is known
    (`hlens.evaluation.expert_usage`), one for each four experts of a layer that are used alike.

    ``"contribution"`` cuts each layer from the loudest neuron down into strata of 10 to 50 neurons
    whose mean contributions differ by a quarter at most, or of 10 (up to 19 in the last) that
    differ more.
    """
    # Where a layer of a mixture is narrower than its widest there is nothing to draw.
    there = where_neurons_are(like.experts, like.n_layers, like.d_mlp).ravel()
    if null == "hypergeometric":
        return np.where(there, 0, 1)
    if null == "layer":
        return np.where(there, _by_use(like, usage), (like.d_mlp + 1) * like.n_layers)
    shape = (like.n_layers, like.d_mlp)
    if contribution is None or tuple(contribution.shape) != shape:
        given = "none" if contribution is None else f"shape {tuple(contribution.shape)}"
        raise HlensError(f"the contribution null needs a mean for each of {shape}; got {given}")
    means = contribution.float().cpu().numpy()
    strata = np.empty(shape, dtype=np.int64)
    n_strata = 0
    for of_layer, own, width in zip(means, strata, like.widths, strict=True):
        order = np.argsort(-of_layer[:width], kind="stable")
        cuts = _cut_alike(of_layer[order])
        own[order] = n_strata + np.searchsorted(cuts, np.arange(width), side="right")
        n_strata += len(cuts) + 1
        own[width:] = n_strata
        n_strata += int(width < like.d_mlp)
    return strata.ravel()


def _by_use(
    like: NeuronSet, usage: Float[Tensor, "layer expert"] | None
) -> Int[np.ndarray, " feature"]:
    """The layer of each neuron; of a mixture whose use is known, the experts used like its own."""
    strata = np.repeat(np.arange(like.n_layers), like.d_mlp)
    if usage is None or not like.experts:
        return strata
    own, start = np.zeros((like.n_layers, like.d_mlp), dtype=np.int64), 0
    for layer, (n, _, _) in enumerate(like.experts):
        of = experts_in(like.experts, layer, like.d_mlp)
        rank = np.append(np.argsort(np.argsort(-usage[layer, :n].numpy(), kind="stable")), n + 3)
        own[layer, : len(of)] = start + rank[of] // NEAREST_EXPERTS
        start += 2 + (n + 3) // NEAREST_EXPERTS
    return own.ravel()


def _cut_alike(falling: Float[np.ndarray, " neuron"]) -> list[int]:
    """Where strata after the first begin in values that fall."""
    cuts, start = [], 0
    for place in range(_FEWEST, len(falling) - _FEWEST + 1):
        size = place - start
        is_wide = falling[place] * _WIDEST < falling[start]
        if size >= _MOST or (size >= _FEWEST and is_wide):
            cuts.append(place)
            start = place
    return cuts


def shared_neurons(sets: Sequence[NeuronSet], least: int = 2) -> pd.DataFrame:
    """The neurons that `least` sets or more hold, most shared first.

    Returns:
        Columns ``address, layer, neuron, n_sets, sets`` and, for each set, its weight under the
        set's name (missing where the neuron is not in it).
    """
    check_named_sets(sets)
    rows: list[Row] = []
    for neuron in sorted(set().union(*(one.members for one in sets))):
        holders = [one for one in sets if neuron in one]
        if len(holders) < least:
            continue
        names = ", ".join(one.name for one in holders)
        row: Row = {"address": sets[0].address(neuron), "layer": neuron[0], "neuron": neuron[1]}
        row |= {"n_sets": len(holders), "sets": names}
        row |= {one.name: (one.weights or {}).get(neuron, float("nan")) for one in sets}
        rows.append(row)
    columns = ["address", "layer", "neuron", "n_sets", "sets", *(one.name for one in sets)]
    table = pd.DataFrame(rows, columns=columns)
    return table.sort_values("n_sets", ascending=False, kind="stable", ignore_index=True)


def jaccard(a: NeuronSet, b: NeuronSet) -> float:
    """Shared neurons over neurons of either set; 0 for two empty sets."""
    either = len(a | b)
    return len(a & b) / either if either else 0.0


def _count_shared(a: NeuronSet, b: NeuronSet) -> Row:
    shared, smaller = len(a & b), min(len(a), len(b))
    return {
        "a": a.name, "b": b.name, "n_a": len(a), "n_b": len(b), "shared": shared,
        "jaccard": jaccard(a, b),
        "overlap_coefficient": shared / smaller if smaller else float("nan"),
    }  # fmt: skip


def check_named_sets(sets: Sequence[NeuronSet]) -> None:
    if len(sets) < 2:
        raise HlensError(
            f"overlap needs two sets or more, got {len(sets)}; find one on each domain"
        )
    names = [one.name for one in sets]
    twice = sorted({name for name in names if not name or names.count(name) > 1})
    if twice:
        raise HlensError(
            f"sets need names of their own, got {names}; give them some, as in "
            "neurons.renamed('science')"
        )
