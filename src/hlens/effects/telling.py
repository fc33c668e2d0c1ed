"""What slopes and patches say: tables to read, and sentences by rule."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

NAMES = {"random": "random", "random_matched": "matched"}
SCALES = {"share": (100.0, ".1f", "points"), "nats": (1.0, ".3f", "nats a token")}


def slope_table(steep: pd.DataFrame, labels: Mapping[str, str] | None = None) -> pd.DataFrame:
    """Slopes as people read them: one row an outcome and kind of neurons.

    Args:
        steep: From `slopes`.
        labels: Words for the outcomes (`hlens.effects.labels`); their names where there are none.

    Returns:
        Texts ``outcome, neurons, slope, less_random, as_steep``: the slope per unit of alpha with
        its interval (of several sets: lowest to highest), the same less the mean slope of the
        random sets, and how many of these are as steep. Shares are in points.
    """
    found: list[dict[str, str]] = []
    grouped: Any = steep.groupby(["behaviour", "kind"], sort=False)
    for (outcome, kind), rows in grouped:
        name = f"{_named(outcome, labels)} ({SCALES[rows.unit.iloc[0]][2]})"
        row = {"outcome": name, "neurons": _set(kind, rows)}
        found.append(row | (_one(rows.iloc[0]) if len(rows) == 1 else _many(rows)))
    return pd.DataFrame(found)


def slopes_in_words(steep: pd.DataFrame, labels: Mapping[str, str] | None = None) -> list[str]:
    """One sentence an outcome on the neurons in question, the same rule whatever was found.

    Args:
        steep: From `slopes`.
        labels: Words for the outcomes.
    """
    own: Any = steep.loc[steep.kind == "target"]
    return [f"{_named(row.behaviour, labels)}: {_verdict(row)}." for row in own.itertuples()]


def patch_table(summed: pd.DataFrame, most: int = 8) -> pd.DataFrame:
    """Patches as people read them: everything, all members, random sets, then layers and neurons.

    Args:
        summed: From `hlens.effects.patched`.
        most: Layers and neurons to tell, those with the largest effect.

    Returns:
        Texts ``patched, restored, attribution``: the share of the difference that is restored, with
        its interval over pairs (of several sets: lowest to highest), and its estimate from one
        backward pass.
    """
    kinds: dict[Any, Any] = dict(iter(summed.groupby("kind", sort=False)))
    found = [_restored(row, row.name) for row in kinds["everything"].itertuples(index=False)]
    for row in kinds["members"].itertuples(index=False):
        found.append(_restored(row, f"all {len(kinds['neuron'])} {row.name}"))
    if "random" in kinds:
        low, high = kinds["random"].effect.min(), kinds["random"].effect.max()
        name, span = f"{len(kinds['random'])} random sets", f"{low:+.1%} to {high:+.1%}"
        found.append({"patched": name, "restored": span, "attribution": ""})
    for kind, whose in (("layer", "members in "), ("neuron", "")):
        rows = kinds[kind].head(most).itertuples(index=False)
        found += [_restored(row, f"{whose}{row.name}") for row in rows]
    return pd.DataFrame(found)


def patches_in_words(summed: pd.DataFrame) -> str:
    """What all members together restore, against random sets, by one rule."""
    own: Any = summed.loc[summed.kind == "members"].iloc[0]
    random: Any = summed.loc[summed.kind == "random", "effect"]
    start = f"{own['name']} restore {own.effect:+.1%} [{own.low:+.1%}, {own.high:+.1%}]"
    start += f" of the difference, over {own.n:.0f} pairs"
    if not len(random):
        return f"{start}; no random set was patched."
    if own.low <= 0.0 <= own.high:
        return f"{start}: no share is seen."
    as_much = int((random.abs() >= abs(own.effect)).sum())
    if as_much:
        return f"{start}; {as_much} of {len(random)} random sets do as much."
    return f"{start}, beyond all {len(random)} random sets."


def _restored(row: Any, name: str) -> dict[str, str]:
    span = f"{row.effect:+.1%} [{row.low:+.1%}, {row.high:+.1%}]"
    return {"patched": name, "restored": span, "attribution": f"{row.attribution:+.1%}"}


def _verdict(row: Any) -> str:
    factor, form, unit = SCALES[row.unit]
    size = f"{factor * row.slope:+{form}} {unit} per α [{_span(row, 'low', 'high')}]"
    if not row.low <= row.high:
        return f"{size}; too few replies could be read"
    if row.low == row.high == 0.0:
        return f"{size}; nothing moved at any dose"
    if row.low <= 0.0 <= row.high:
        least = factor * (row.high - row.low) / 2
        return f"{size}; no slope is seen, and one below about {least:{form}} could not be"
    if not row.n_random:
        return f"{size}; no random set was run"
    if row.rank:
        return f"{size}, but {row.rank:.0f} of {row.n_random:.0f} random sets are as steep"
    if row.over_low <= 0.0 <= row.over_high:
        return f"{size}, steeper than {row.n_random:.0f} random sets, but within the noise"
    return f"{size}, beyond all {row.n_random:.0f} random sets"


def _one(row: Any) -> dict[str, str]:
    factor, form, _ = SCALES[row.unit]
    told = {"slope": f"{factor * row.slope:+{form}} [{_span(row, 'low', 'high')}]"}
    if not row.n_random:
        return told | {"less_random": "", "as_steep": ""}
    less = f"{factor * row.over_random:+{form}} [{_span(row, 'over_low', 'over_high')}]"
    return told | {"less_random": less, "as_steep": f"{row['rank']:.0f} of {row.n_random:.0f}"}


def _many(rows: pd.DataFrame) -> dict[str, str]:
    factor, form, _ = SCALES[rows.unit.iloc[0]]
    low, high = factor * rows.slope.min(), factor * rows.slope.max()
    return {"slope": f"{low:+{form}} to {high:+{form}}", "less_random": "", "as_steep": ""}


def _span(row: Any, low: str, high: str) -> str:
    factor, form, _ = SCALES[row.unit]
    return f"{factor * getattr(row, low):+{form}}, {factor * getattr(row, high):+{form}}"


def _named(outcome: str, labels: Mapping[str, str] | None) -> str:
    """The outcome in words, without what its label says of its unit."""
    return (labels or {}).get(outcome, outcome).partition(" (")[0]


def _set(kind: str, rows: pd.DataFrame) -> str:
    """What a row is called: one set by its name, several by their kind."""
    if kind == "norm_matched":
        return "random push as large" if len(rows) == 1 else f"{len(rows)} random pushes as large"
    return str(rows["set"].iloc[0]) if len(rows) == 1 else f"{len(rows)} {NAMES[kind]} sets"
