"""What may be said of one slope over the dose: the order of the tests is the rule."""

from collections.abc import Mapping
from enum import Enum, auto
from typing import Any

import pandas as pd

from hlens.claims.findings import read_slope
from hlens.claims.rules import falls, grows
from hlens.types import SetKind


class SlopeVerdict(Enum):
    """The strongest thing that a slope and its random sets support."""

    UNREAD = auto()  #: too few replies could be read
    STILL = auto()  #: nothing moved at any dose
    BEYOND = auto()  #: grows, or falls, more than under every random set
    UNSEEN = auto()  #: its interval holds 0
    UNCONTROLLED = auto()  #: no random set was run
    MATCHED = auto()  #: a random set is as steep
    NOISE = auto()  #: steeper than every random set, by no more than the noise


def judge_slope(row: Mapping[str, Any]) -> SlopeVerdict:
    """The verdict on a row of a table of `hlens.effects.slopes`."""
    low, high, slope = row["low"], row["high"], read_slope(row)
    if not low <= high:  # NaN
        return SlopeVerdict.UNREAD
    if low == high == 0.0:
        return SlopeVerdict.STILL
    if grows(slope) or falls(slope):
        return SlopeVerdict.BEYOND
    if low <= 0.0 <= high:
        return SlopeVerdict.UNSEEN
    if not slope.n_random:
        return SlopeVerdict.UNCONTROLLED
    return SlopeVerdict.NOISE if slope.beyond else SlopeVerdict.MATCHED


def layers_that_move(rows: pd.DataFrame, kind: SetKind) -> list[dict[str, Any]]:
    """The sets of a kind that are seen to move an outcome of one grader, by layer.

    `rows` are of a table of `hlens.effects.layer_slopes`.
    """
    own = rows.loc[rows["kind"] == kind].sort_values("layer").to_dict("records")
    return [row for row in own if judge_slope(row) is SlopeVerdict.BEYOND]
