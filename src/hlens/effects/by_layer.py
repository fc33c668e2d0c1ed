"""Edits layer by layer: does one layer move a behaviour, or only many together?

A null that edited single layers alone says nothing of several together. So the target's neurons are
edited by the layer, and cumulatively from the first one on, beside random sets as large as all of
them: what a few neurons must do to be seen is then more, not less, than what random ones do.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from hlens.claims.slopes import SlopeVerdict, judge_slope, layers_that_move
from hlens.counting import count
from hlens.effects.describe import describe_size, name_outcome
from hlens.effects.slopes import corrected_level, slopes
from hlens.types import SetKind

PARTS = (SetKind.LAYER, SetKind.UP_TO_LAYER)


def layer_slopes(outcomes: pd.DataFrame, *, n_boot: int = 10_000, seed: int = 0) -> pd.DataFrame:
    """The slope of each layer alone, and of all layers up to each.

    `outcomes` are those of `hlens.effects.intervene` with ``ControlSets(layers=...)``. Intervals
    are 95 %, corrected for the number of behaviours times that of the parts (Bonferroni).

    Returns:
        The columns of `slopes` and ``layer``: the layer alone or the last of several, -1 for sets
        that are no part: the target, the truth neurons and the random sets.
    """
    n_parts = outcomes.loc[outcomes["kind"].isin(PARTS), "set"].nunique()
    level = corrected_level(outcomes, n_parts=n_parts)
    table = slopes(outcomes, n_boot=n_boot, seed=seed, level=level)
    parts = zip(table["set"], table["kind"], strict=True)
    layers = [int(name.rpartition(" ")[2]) if kind in PARTS else -1 for name, kind in parts]
    return table.assign(layer=layers)


def describe_layers(table: pd.DataFrame, labels: Mapping[str, str] | None = None) -> list[str]:
    """One sentence an outcome and grader on a table of `layer_slopes`, by one rule.

    What moves an outcome is beyond all random sets (`hlens.claims.slopes`).
    """
    sentences = []
    grouped: Any = table.groupby(["behaviour", "grader"], sort=False)
    for (outcome, grader), rows in grouped:
        by = f" (by {grader})" if grader else ""
        told = (_describe_single(rows), _describe_cumulative(rows), _describe_whole(rows))
        said = "; ".join(one for one in told if one)
        sentences.append(f"{name_outcome(outcome, labels)}{by}: {said}.")
    return sentences


def _describe_single(rows: pd.DataFrame) -> str:
    single, moved = rows.loc[rows["kind"] == SetKind.LAYER], layers_that_move(rows, SetKind.LAYER)
    if single.empty:
        return ""
    if not moved:
        return f"no single layer of {len(single)} is seen to move it"
    alone = " and ".join(_sizes(moved[:3]))
    more = f", {len(moved) - 3} more" if len(moved) > 3 else ""
    verb = "moves" if len(moved) == 1 else "move"
    return f"{len(moved)} of {count(len(single), 'layer')} {verb} it alone ({alone}{more})"


def _describe_cumulative(rows: pd.DataFrame) -> str:
    kind = SetKind.UP_TO_LAYER
    moved = layers_that_move(rows, kind)
    if kind not in set(rows["kind"]):
        return ""
    if not moved:
        return "together from the first on, no part of them is seen to"
    return f"together from the first on, they first do up to {_sizes(moved[:1])[0]}"


def _describe_whole(rows: pd.DataFrame) -> str:
    whole = rows.loc[rows["kind"] == SetKind.TARGET].iloc[0].to_dict()
    seen = judge_slope(whole) is SlopeVerdict.BEYOND
    verdict = (
        f"beyond all {count(int(whole['n_random']), 'random set')}" if seen else "which is not seen"
    )
    return f"all together {describe_size(whole)}, {verdict}"


def _sizes(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    return [f"layer {row['layer']:.0f} {describe_size(row)}" for row in rows]
