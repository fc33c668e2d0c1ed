"""What the page of the explorer holds: groups beside chance, and neurons in order, packed small."""

import base64
from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Int, Shaped

from hlens.display import display_names
from hlens.drawing.html import visible
from hlens.errors import HlensError
from hlens.evaluation.exclusive import groups_of
from hlens.evaluation.significance import holm
from hlens.figures.explorer import Neuron, NeuronPage, page_data
from hlens.figures.neuron_map.places import places_of
from hlens.types import NeuronSet

ALONE = ("domain", "layer", "neuron", "auroc", "low", "high", "p_corrected")
MOST_MARKS = 60_000  # neurons that the map and the lists hold; counts are of all
PLACES = 65_535  # along the map's axis
SHARES, MISSING = 10_000, 65_535  # AUROC and p are kept in ten-thousandths, as whole numbers

Pages = Mapping[str, Mapping[Neuron, NeuronPage]]


def explorer_data(
    sets: Sequence[NeuronSet],
    groups: pd.DataFrame,
    *,
    alone: pd.DataFrame | None,
    pages: Pages | None,
) -> dict[str, Any]:
    """All that the page holds, ready for JSON.

    Args:
        sets: The sets, each with a name of its own.
        groups: Of `hlens.evaluation.exclusive_overlap` with ``choices=True``.
        alone: AUROC of neurons alone, by domain.
        pages: What is known of neurons in each domain.

    Raises:
        HlensError: A table without a column, or of a domain or a neuron that no set has.
    """
    like = max(sets, key=lambda one: len(one.experts))  # which knows of experts, if any does
    flat, held = members_in_order(sets)
    n_all = len(flat)
    flat, held = flat[:MOST_MARKS], held[:MOST_MARKS]
    layer, neuron = np.divmod(flat, like.d_mlp)
    places = places_of(like)
    axis = places.axis()
    low, high = axis["range"]
    x = (np.asarray(places.x(layer, neuron), dtype=float) - low) / (high - low) * PLACES
    row_of = {int(one): row for row, one in enumerate(flat)}
    made: dict[str, Any] = {
        "names": [
            visible(name) for name in display_names("domains", [one.name for one in sets]).values()
        ],
        "sizes": [len(one) for one in sets],
        "layers": like.n_layers,
        "of": like.n_neurons,
        "left_out": n_all - len(flat),
        "axis": _axis(axis),
        "groups": _groups(groups, len(sets)),
        "marks": {
            "layer": _bytes(layer, "<u2"),
            "neuron": _bytes(neuron, "<u4"),
            "x": _bytes(x.round(), "<u2"),
            "held": _bytes(held, "<u2"),
        },
    }
    if like.experts:
        pairs = zip(layer.tolist(), neuron.tolist(), strict=True)
        made["addresses"] = [like.address(pair) for pair in pairs]
    if any(one.weights for one in sets):
        made["weights"] = _bytes(_weights(sets, flat), "<f4")
    if alone is not None:
        made["alone"] = _alone(alone, sets, flat)
    if pages:
        made["pages"] = _pages(pages, sets, row_of)
    return made


def members_in_order(
    sets: Sequence[NeuronSet],
) -> tuple[Int[np.ndarray, " mark"], Int[np.ndarray, " mark"]]:
    """The neurons of any set by flat index, and which sets hold each, as bits.

    Those of most sets come first; of as many, those that weigh most in one of their sets.
    """
    own = [np.array(one.flat_indices, dtype=np.int64) for one in sets]
    flat = reduce(np.union1d, own)
    held = np.zeros(len(flat), dtype=np.int64)
    best = np.full(len(flat), np.iinfo(np.int64).max)  # its best rank in a set
    for bit, (one, members) in enumerate(zip(sets, own, strict=True)):
        rows = np.searchsorted(flat, members)
        held[rows] |= 1 << bit
        if one.weights:
            size = np.abs(_weights([one], members)[:, 0])
            rank = np.argsort(np.argsort(-size, kind="stable"), kind="stable")
            best[rows] = np.minimum(best[rows], rank)
    n_sets = np.array([bits.bit_count() for bits in range(2 ** len(sets))])[held]
    order = np.lexsort((flat, best, -n_sets))
    return flat[order], held[order]


def _weights(
    sets: Sequence[NeuronSet], flat: Int[np.ndarray, " mark"]
) -> Shaped[np.ndarray, "mark set"]:
    """The weight of each neuron in each set; NaN where it has none."""
    made = np.full((len(flat), len(sets)), np.nan)
    order = np.argsort(flat)
    for column, one in enumerate(sets):
        known = one.weights or {}
        keys = np.array([layer * one.d_mlp + i for layer, i in known], dtype=np.int64)
        at = np.searchsorted(flat, keys, sorter=order).clip(max=max(len(flat) - 1, 0))
        if len(flat) and len(keys):
            rows = order[at]
            there = flat[rows] == keys
            made[rows[there], column] = np.array(list(known.values()))[there]
    return made


def _groups(groups: pd.DataFrame, n_sets: int) -> dict[str, Any]:
    """The rows of the table, and the p of pairs as those of the matrix: corrected over pairs."""
    bits = groups_of(n_sets, choices=True)
    is_pair = np.array([one.among == one.members and one.n_sets == 2 for one in bits])
    pairs = np.full(len(groups), np.nan)
    pairs[is_pair] = holm(groups.p.to_numpy(dtype=float)[is_pair])
    return {
        "among": [among for among, _ in bits],
        "members": [members for _, members in bits],
        "neurons": groups.neurons.tolist(),
        "expected": [float(f"{value:.4g}") for value in groups.expected],
        "p": [float(f"{value:.3g}") for value in groups.p_corrected],
        "p_pairs": [None if np.isnan(p) else float(f"{p:.3g}") for p in pairs],
    }


def _alone(
    alone: pd.DataFrame, sets: Sequence[NeuronSet], flat: Int[np.ndarray, " mark"]
) -> dict[str, str]:
    names = {one.name: column for column, one in enumerate(sets)}
    if unknown := sorted(set(alone.domain.unique()) - set(names)):
        raise HlensError(
            f"the table of neurons alone is of {unknown[0]!r}, and the sets are {list(names)}"
        )
    column = alone.domain.map(names).to_numpy(dtype=np.int64)
    wanted = alone.layer.to_numpy(dtype=np.int64) * sets[0].d_mlp + alone.neuron.to_numpy(np.int64)
    order = np.argsort(flat)
    at = np.searchsorted(flat, wanted, sorter=order).clip(max=max(len(flat) - 1, 0))
    rows = order[at] if len(flat) else at
    there = flat[rows] == wanted if len(flat) else np.zeros(len(wanted), dtype=bool)
    packed = {}
    for name in ("auroc", "low", "high", "p_corrected"):
        shares = np.floor(alone[name].to_numpy(dtype=float)[there] * SHARES + 1e-9)
        values = np.full((len(flat), len(sets)), MISSING)
        values[rows[there], column[there]] = np.where(np.isnan(shares), MISSING, shares.clip(0))
        packed[name] = _bytes(values, "<u2")
    return packed


def _pages(pages: Pages, sets: Sequence[NeuronSet], row_of: Mapping[int, int]) -> dict[str, Any]:
    """Words and answers by the row of the neuron; answers by the set's place."""
    names = {one.name: str(column) for column, one in enumerate(sets)}
    made: dict[str, Any] = {}
    for domain, own in pages.items():
        if domain not in names:
            raise HlensError(f"pages are of {domain!r}, and the sets are {list(names)}")
        for (layer, neuron), page in own.items():
            row = row_of.get(layer * sets[0].d_mlp + neuron)
            if row is None:
                continue  # of no set, or beyond those that the page holds
            shown = page_data(page)
            one = made.setdefault(str(row), {"promotes": [], "suppresses": [], "answers": {}})
            one["promotes"] = one["promotes"] or shown["promotes"]
            one["suppresses"] = one["suppresses"] or shown["suppresses"]
            if shown["strongest"]:
                one["answers"][names[domain]] = shown["strongest"]
    return made


def _axis(axis: Mapping[str, Any]) -> dict[str, Any]:
    """The map's axis: its title, and its marks as shares of its length."""
    low, high = axis["range"]
    at, words = axis.get("tickvals"), axis.get("ticktext")
    if at is None:
        step = next(s for s in _round_numbers() if (high - low) / s <= 8)
        at = np.arange(0, high, step)
        words = [f"{int(value):,}" for value in at]
    share = [(float(value) - low) / (high - low) for value in at]
    ticks = [
        [round(s, 5), str(word).replace("<br>", " ")]
        for s, word in zip(share, words or (), strict=True)
    ]
    return {"title": axis["title"]["text"], "ticks": ticks}


def _round_numbers() -> Any:
    return (s * 10**e for e in range(10) for s in (1, 2, 5))


def _bytes(values: Shaped[np.ndarray, "..."], kind: str) -> str:
    """Numbers as the bytes of a typed array, which a browser reads without parsing."""
    return base64.b64encode(np.ascontiguousarray(values).astype(kind).tobytes()).decode()
