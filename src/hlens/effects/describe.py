"""What slopes and patches say: tables to read, and the sentences that they support, by rule."""

from collections.abc import Mapping
from math import inf, nan
from typing import Any

import pandas as pd

from hlens.claims.slopes import SlopeVerdict, judge_slope
from hlens.counting import count
from hlens.effects.tables import lines_of
from hlens.types import PatchKind, SetKind

# Unit of an outcome -> what slopes are written in, times what, with how many decimals.
SCALES = {
    "share": ("points", 100.0, ".1f"),
    "degree": ("hundredths of the scale", 100.0, ".1f"),
    "nats": ("nats a token", 1.0, ".3f"),
}


def slope_table(slopes: pd.DataFrame, labels: Mapping[str, str] | None = None) -> pd.DataFrame:
    """Slopes as people read them: one row an outcome, grader and kind of neurons.

    `labels` are words for the outcomes (`hlens.effects.labels`), named as they are without.

    Returns:
        Texts ``outcome, grader, neurons, slope, less_random, as_steep, seen_from``: the slope per
        unit of alpha with its interval (of several sets: lowest to highest), the same less the mean
        slope of the random sets, how many of these are as steep, and from where on a slope less
        the random sets' mean is seen in four of five such runs. Shares are in points, degrees in
        hundredths of the scale.
    """
    table: list[dict[str, str]] = []
    lines = slopes.assign(line=lines_of(slopes))
    grouped: Any = lines.groupby(["behaviour", "grader", "line"], sort=False)
    for (outcome, grader, _), rows in grouped:
        row, unit = rows.iloc[0], rows.unit.iloc[0]
        name = f"{name_outcome(outcome, labels)} ({SCALES[unit][0]})"
        less, as_steep, seen_from = "", "", ""
        if len(rows) > 1:
            slope = f"{_signed(rows.slope.min(), unit)} to {_signed(rows.slope.max(), unit)}"
        else:
            slope = _with_interval(row.slope, row.low, row.high, unit)
            if row.n_random:
                less = _with_interval(row.over_random, row.over_low, row.over_high, unit)
                as_steep = f"{row['rank']:.0f} of {row.n_random:.0f}"
                least = row.get("detectable", nan)
                seen_from = "" if least != least else size_of(least, unit)
        texts = {"slope": slope, "less_random": less, "as_steep": as_steep}
        texts["seen_from"] = seen_from.replace("inf", "none")
        sets = _sets_name(str(row.kind), rows)
        table.append({"outcome": name, "grader": grader, "neurons": sets} | texts)
    return pd.DataFrame(table)


def describe_slopes(slopes: pd.DataFrame, labels: Mapping[str, str] | None = None) -> list[str]:
    """One sentence an outcome and grader on the target neurons, by the same rule for every result.

    The grader is named where there are several.
    """
    target: Any = slopes.loc[slopes.kind == SetKind.TARGET]
    several = target.behaviour.value_counts() > 1
    return [
        f"{name_outcome(row.behaviour, labels)}"
        f"{f' (by {row.grader})' if several[row.behaviour] else ''}: {describe_slope(row)}."
        for row in target.itertuples()
    ]


def patch_table(summary: pd.DataFrame, *, most: int = 8) -> pd.DataFrame:
    """Patches as people read them: everything, all members, random sets, then layers and neurons.

    `summary` is from `hlens.effects.summarise_patching`; the `most` layers and neurons with the
    largest effect are shown.

    Returns:
        Texts ``patched, restored, attribution``: the share of the difference that is restored, with
        its interval over pairs (of several sets: lowest to highest), and its estimate from one
        backward pass.
    """
    kinds: dict[Any, Any] = dict(iter(summary.groupby("kind", sort=False)))
    members = f"all {len(kinds[PatchKind.NEURON])} "
    table = _patch_rows(kinds[PatchKind.EVERYTHING])
    table += _patch_rows(kinds[PatchKind.MEMBERS], members)
    if PatchKind.RANDOM in kinds:
        effect = kinds[PatchKind.RANDOM].effect
        name, span = (
            count(len(effect), "random set"),
            f"{effect.min():+.1%} to {effect.max():+.1%}",
        )
        table.append({"patched": name, "restored": span, "attribution": ""})
    table += _patch_rows(kinds[PatchKind.LAYER].head(most), "members in ")
    table += _patch_rows(kinds[PatchKind.NEURON].head(most))
    return pd.DataFrame(table)


def describe_patches(summary: pd.DataFrame) -> list[str]:
    """One sentence on what all members together restore, against random sets, by one rule."""
    members: Any = summary.loc[summary.kind == PatchKind.MEMBERS].iloc[0]
    random: Any = summary.loc[summary.kind == PatchKind.RANDOM, "effect"]
    restored, as_much = _restored(members), int((random.abs() >= abs(members.effect)).sum())
    start = (
        f"{members['name']} restore {restored} of the difference, over "
        f"{count(int(members.n), 'pair')}"
    )
    if not len(random):
        return [f"{start}; no random set was patched."]
    if members.low <= 0.0 <= members.high:
        return [f"{start}: no share is seen."]
    if as_much:
        return [f"{start}; {as_much} of {count(len(random), 'random set')} do as much."]
    return [f"{start}, beyond all {count(len(random), 'random set')}."]


def _patch_rows(rows: Any, prefix: str = "") -> list[dict[str, str]]:
    return [
        {
            "patched": f"{prefix}{row.name}",
            "restored": _restored(row),
            "attribution": f"{row.attribution:+.1%}",
        }
        for row in rows.itertuples(index=False)
    ]


def _restored(row: Any) -> str:
    return f"{row.effect:+.1%} [{row.low:+.1%}, {row.high:+.1%}]"


def describe_slope(row: Any) -> str:
    """The slope, and what `hlens.claims.slopes` says of it beside its random sets."""
    size, of = describe_size(row._asdict()), count(int(row.n_random), "random set")
    return {
        SlopeVerdict.UNREAD: f"{size}; too few replies could be read",
        SlopeVerdict.STILL: f"{size}; nothing moved at any dose{_left_open(row)}",
        SlopeVerdict.UNSEEN: f"{size}; no slope is seen{_unseen(row)}",
        SlopeVerdict.BEYOND: f"{size}, beyond all {of}",
        SlopeVerdict.UNCONTROLLED: f"{size}; no random set was run",
        SlopeVerdict.MATCHED: f"{size}, but {row.rank:.0f} of {of} are as steep{_unseen(row)}",
        SlopeVerdict.NOISE: f"{size}, steeper than {of}, but within the noise{_unseen(row)}",
    }[judge_slope(row._asdict())]


def _unseen(row: Any) -> str:
    """Which slope such a run misses; nothing where that is not known."""
    least = getattr(row, "detectable", nan)  # a table of an earlier version has none
    if least != least:
        return ""
    run = f"; with {count(int(row.n), 'question')} and {count(int(row.n_random), 'random set')}"
    if least == inf:
        return f"{run}, none would be seen four times in five"
    return f"{run}, one under {size_of(least, row.unit)} is missed more than once in five"


def _left_open(row: Any) -> str:
    """How steep a slope may be of which no reply changed."""
    most = getattr(row, "most", nan)
    if most != most:
        return ""
    size = f"{size_of(most, row.unit)} {SCALES[row.unit][0]}"
    return f", which leaves up to {size} open ({count(int(row.n), 'question')}, 95 %)"


def signed_slope(slope: float, unit: str) -> str:
    """A slope in words: ``+2.0 points per α``."""
    return f"{_signed(slope, unit)} {SCALES[unit][0]} per α"


def _signed(value: float, unit: str) -> str:
    _, factor, decimals = SCALES[unit]
    return f"{factor * value:+{decimals}}"


def _with_interval(value: float, low: float, high: float, unit: str, words: str = "") -> str:
    return f"{_signed(value, unit)}{words} [{_signed(low, unit)}, {_signed(high, unit)}]"


def describe_size(row: Mapping[str, Any]) -> str:
    """A slope with its unit and interval."""
    words = f" {SCALES[row['unit']][0]} per α"
    return _with_interval(row["slope"], row["low"], row["high"], row["unit"], words)


def size_of(value: float, unit: str) -> str:
    """A slope without its sign, in the decimals of its unit.

    >>> size_of(0.0634, "share")
    '6.3'
    """
    _, factor, decimals = SCALES[unit]
    return f"{factor * value:{decimals}}"


def name_outcome(outcome: str, labels: Mapping[str, str] | None) -> str:
    """The outcome's label, without the note on its unit."""
    return (labels or {}).get(outcome, outcome).partition(" (")[0]


def _sets_name(kind: str, rows: pd.DataFrame) -> str:
    """What a row is called: one set by its name, several by their kind."""
    if len(rows) == 1:
        return SetKind(kind).label if kind == SetKind.NORM_MATCHED else str(rows["set"].iloc[0])
    several = {
        SetKind.RANDOM: "random sets",
        SetKind.MATCHED: "matched sets",
        SetKind.NORM_MATCHED: "random pushes as large",
    }
    return f"{len(rows)} {several[SetKind(kind)]}"
