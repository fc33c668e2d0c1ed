"""Does intervening change behaviour? Each outcome against the multiplier, beside random neurons.

To read it: at alpha = 1 nothing is edited. Follow the solid line to both sides of it, and ask of
each step whether the dotted lines of random neurons leave their band as well.
It misleads when only the first panel is read: a model that has lost its capability also changes
its behaviour, so read the capability panel and the random neurons first.
"""

from typing import Any

import numpy as np
import pandas as pd

from hlens.claims.slopes import SlopeVerdict, judge_slope
from hlens.counting import count
from hlens.drawing.curves import add_curve, mark_x, panels
from hlens.drawing.figure import Figure, escape, finish
from hlens.drawing.table import check_columns, check_one_study, distinct, n_range, uncapitalized
from hlens.drawing.theme import Palette, palette
from hlens.types import SetKind

BANDED = ("", SetKind.TARGET, SetKind.RANDOM)  # the bands of more sets would hide each other
COLUMNS = ("outcome", "neurons", "alpha", "value", "low", "high", "n")


def draw(
    table: pd.DataFrame,
    *,
    slopes: pd.DataFrame | None = None,
    unmodified: float = 1.0,
    theme: str = "light",
) -> Figure:
    """Draw one panel an outcome, one line a set of neurons.

    Args:
        table: Columns ``outcome, neurons, alpha, value, low, high, n``. The first outcome is the
            behaviour, the others its cost (capability); the first set of neurons is the claim,
            the others are its controls. A column ``unit`` of ``"share"`` shows percent. Columns of
            `hlens.effects.dose_table` that may be absent: by ``kind`` bands are drawn for the claim
            and for the random sets only, which keeps many controls apart; ``name`` is what the
            title calls the neurons; ``grader`` gives an outcome that several graded a panel each.
        slopes: Slopes of the first outcome, from `hlens.effects.slopes`: the title then says what
            they show against the random sets, and not only where the curves end.
        unmodified: The multiplier that leaves the model as it is.
        theme: ``"light"`` or ``"dark"``.

    Raises:
        HlensError: A column is missing, there is no row, or one stands twice.
    """
    check_columns(table, COLUMNS, figure="dose_response", source="effects.intervene")
    check_one_study(table, ("outcome", "grader", "neurons", "alpha"), figure="dose_response")
    if slopes is not None:  # of one behaviour: it is the title's
        check_one_study(slopes, ("grader", "set"), figure="dose_response")
    colours = palette(theme)
    outcomes, sets = distinct(table.outcome), distinct(table.neurons)
    shown = _panels(table)
    figure = Figure()
    places = panels(
        figure, list(map(escape, shown)), x_title="activation multiplier α", gap=0.09,
        colour=colours.ink,
    )  # fmt: skip
    for rows, panel in zip(shown.values(), places, strict=True):
        share = "unit" in rows and bool((rows.unit == "share").all())
        _add_panel(figure, rows, sets, panel, form=".1%" if share else ".3~g", colours=colours)
        label = f"unmodified (α = {unmodified:g})"
        mark_x(figure, unmodified, label, colour=colours.muted, panel=panel)
        y_axis = {"tickformat": ".0%" if share else "", "nticks": 8}
        x_axis = {"tickvals": _ticks(table)}
        figure.update_layout({f"xaxis{panel}": x_axis, f"yaxis{panel}": y_axis})
    figure.update_layout(legend={"y": 1.1})
    steep = slopes is not None and len(slopes) > 0
    return finish(
        figure,
        colours,
        title=_slope_title(slopes, outcomes[0]) if steep else _title(table, outcomes[0], sets),
        subtitle=_subtitle(table, outcomes[0]),
        height=390,
        margin={"t": 58, "b": 56, "l": 56, "r": 28},
    )


def example() -> dict[str, Any]:
    """Made data for the gallery and the laws: a claim that holds, and what it costs."""
    rows = []
    for alpha in (0.0, 0.5, 1.0, 2.0, 3.0):
        for name, rate, cost in (
            ("40 H-neurons", 0.3 + 0.09 * alpha, 0.8),
            ("40 random neurons", 0.42, 0.4),
        ):
            loss = 12.2 + cost * (alpha - 1) ** 2
            rows += [
                ("Hallucination rate", name, alpha, rate, rate - 0.04, rate + 0.04, 600, "share"),
                ("Perplexity on plain text", name, alpha, loss, loss - 0.2, loss + 0.2, 200, ""),
            ]
    return {"table": pd.DataFrame(rows, columns=[*COLUMNS, "unit"])}


def _panels(table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The rows of each panel by its title: where several graded an outcome, a panel each."""
    shown: dict[str, pd.DataFrame] = {}
    for outcome in distinct(table.outcome):
        rows = table.loc[table.outcome == outcome]
        graders = distinct(rows.grader) if "grader" in rows else []
        if len(graders) < 2:
            shown[outcome] = rows
            continue
        for index, grader in enumerate(graders):
            title = f"the same, by {grader} (0 to 1)" if index else f"{outcome}, by {grader}"
            shown[title] = rows.loc[rows.grader == grader]
    return shown


def _ticks(table: pd.DataFrame) -> list[float]:
    """The measured multipliers, without those that would touch."""
    values = sorted(float(value) for value in set(table.alpha))
    least_gap = (values[-1] - values[0]) / 12
    kept = values[:1]
    for value in values[1:]:
        if value - kept[-1] >= least_gap:
            kept.append(value)
    return kept


def _add_panel(
    figure: Figure, rows: pd.DataFrame, sets: list[str], panel: str, *, form: str, colours: Palette
) -> None:
    for index, name in enumerate(sets):
        own = rows.loc[rows.neurons == name]
        if len(own):
            kind = str(own.kind.iloc[0]) if "kind" in own else ""
            colour, symbol = _looks(kind, index, colours)
            add_curve(
                figure, own, x="alpha", y="value", name=escape(name), colour=colour,
                control=index > 0, panel=panel, form=form, unit="α = ", symbol=symbol,
                band=kind in BANDED,
            )  # fmt: skip


def _looks(kind: str, index: int, colours: Palette) -> tuple[str, str]:
    """Colour and shape of a set: by its kind, else by its order in the table."""
    kinds: dict[str, tuple[str, str]] = {
        SetKind.TRUTH: (colours.negative, "diamond"),
        SetKind.NORM_MATCHED: (colours.ink, "x"),
        SetKind.MATCHED: (colours.second, "square"),
        SetKind.SELECTED: (colours.second, ("triangle-up", "star", "hexagon")[index % 3]),
    }
    shades = [colours.positive, colours.control, colours.second, colours.neutral]
    return kinds.get(kind, (shades[min(index, 3)], ""))


def _slope_title(slopes: Any, outcome: str) -> str:
    """The claim's slope, compared with those of the random sets, and whether all graders see it."""
    target = slopes.loc[slopes.kind == SetKind.TARGET]
    first, others = target.iloc[0], target.iloc[1:]
    title = _slope_words(first, outcome)
    if others.empty:
        return title
    words = {0: "no effect is seen", 1: "a rise is seen", -1: "a fall is seen"}
    parted = [row for _, row in others.iterrows() if _is_seen(row) != _is_seen(first)]
    if not parted:
        return f"{title}; every grader says so"
    said = (f"by {row['grader']} {words[_is_seen(row)]}" for row in parted)
    return f"By {first.grader}: {title}; {', '.join(said)}"


def _is_seen(row: Any) -> int:
    """Sign of a slope that is beyond all random sets and the noise; else 0."""
    seen = judge_slope(row.to_dict()) is SlopeVerdict.BEYOND
    return int(np.sign(row.slope)) if seen else 0


def _slope_words(row: Any, outcome: str) -> str:
    """One slope, compared with those of the random sets."""
    what, name, of = uncapitalized(outcome), row["set"], count(int(row.n_random), "random set")
    # A share is given in percentage points; anything else in its own unit.
    size = f"{abs(row.slope) * 100:.1f} points" if row.unit == "share" else f"{abs(row.slope):.2g}"
    start = f"Turning {name} up {'raises' if row.slope > 0 else 'lowers'} {what} by {size} per α"
    still = f"Scaling {name} does not move {what}"
    return {
        SlopeVerdict.UNREAD: f"Too few replies under {name} could be read: {what}",
        SlopeVerdict.STILL: f"{still} at any dose",
        SlopeVerdict.UNSEEN: f"{still}: {size} per α, its interval holds 0",
        SlopeVerdict.BEYOND: f"{start}, beyond all {of}",
        SlopeVerdict.UNCONTROLLED: f"{start}; no random set was run",
        SlopeVerdict.MATCHED: f"{start}; {row.get('rank', 0):.0f} of {of} do as much",
        SlopeVerdict.NOISE: f"{start}, steeper than {of}, within the noise",
    }[judge_slope(row.to_dict())]


def _title(table: pd.DataFrame, outcome: str, sets: list[str]) -> str:
    """Numbers beside numbers, where no slopes with random sets were given."""
    rows = next(iter(_panels(table.loc[table.outcome == outcome]).values()))  # the first grader's
    short = dict(zip(rows.neurons, rows["name" if "name" in rows else "neurons"], strict=True))
    form = ".0%" if "unit" in rows and bool((rows.unit == "share").all()) else ".3g"
    changes = []
    for name in sets[:2]:
        ends = rows.loc[rows.neurons == name].sort_values("alpha").value
        changes.append(f"{ends.iloc[0]:{form}} to {ends.iloc[-1]:{form}} ({short[name]})")
    return f"{outcome}: {', '.join(changes)}"


def _subtitle(table: pd.DataFrame, outcome: str) -> str:
    n = n_range(table.loc[table.outcome == outcome, "n"])
    spread = "; for random sets, lowest to highest" if "kind" in table else ""
    return f"{n} a point · bands: 95 % interval{spread} · dotted: controls"
