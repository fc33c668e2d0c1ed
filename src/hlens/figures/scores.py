"""The detector beside its controls: AUROC with intervals, and the line of chance.

Question: does the probe tell wrong from right answers, and would something simpler do as well?
To read it: the circle is the detector, squares are its controls. What a control reaches, the
detector may owe to it.
It misleads when the interval of a control is read as if it were one of examples: that of random
neurons and shuffled labels is the spread of repeats.
"""

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from hlens.claims.findings import p_against
from hlens.claims.rules import is_above_chance
from hlens.counting import count
from hlens.drawing.figure import Figure, add_note, escape, finish
from hlens.drawing.forest import add_value, auroc_points, chance_line, named_rows
from hlens.drawing.table import check_columns, check_one_study
from hlens.drawing.theme import palette
from hlens.types import Estimate
from hlens.types.estimate import auroc_words, from_chance
from hlens.types.labels import Control

CLAIMS = ("probe", "selected neurons, refit")
COLUMNS = ("control", "auroc", "low", "high", "n")


def draw(table: pd.DataFrame, *, claims: Sequence[str] = CLAIMS, theme: str = "light") -> Figure:
    """Draw the scores.

    Args:
        table: Columns ``control, auroc, low, high, n`` and perhaps ``repeats`` and ``p``, as
            `hlens.evaluation.controls` returns them; the first claim is the headline.
        claims: Rows that are the detector's own; all others are controls.
        theme: ``"light"`` or ``"dark"``.

    Raises:
        HlensError: A column is missing, there is no row, or one stands twice.
    """
    check_columns(table, COLUMNS, figure="scores", source="evaluation.controls")
    check_one_study(table, ("control",), figure="scores")
    table = table.loc[table["control"] != Control.COMMONER_LABEL]  # it is the line of chance
    colours = palette(theme)
    figure = Figure()
    own = table.control.isin(claims)
    for chosen, name in ((own, "the detector"), (~own, "its controls")):
        rows = table.loc[chosen]
        if len(rows):
            labels, claim = list(map(escape, rows.control)), chosen is own
            figure.add_trace(auroc_points(rows, labels, claim=claim, colours=colours, name=name))
    for row in table.loc[table.auroc.notna()].to_dict("records"):
        end = row["auroc"] if math.isnan(row["high"]) else max(row["high"], row["auroc"])
        add_value(
            figure, x=end, y=escape(row["control"]), value=row["auroc"],
            claim=row["control"] in claims, size=13, colours=colours,
        )  # fmt: skip
    low = min(0.45, float(table[["auroc", "low"]].min().min()) - 0.03)
    chance_line(figure, colours)
    add_note(
        figure, "chance", x=0.5, y=1, colour=colours.muted, xref="x", yref="paper", yanchor="bottom"
    )
    names = [escape(name) for name in table.control]
    figure.update_layout(
        xaxis={"range": [max(0.0, low), 1.04], "title": {"text": "AUROC"}, "dtick": 0.1},
        yaxis=named_rows(names, colours),
        showlegend=False,
    )
    return finish(
        figure,
        colours,
        title=_title(table, own),
        subtitle=_subtitle(table),
        height=110 + 40 * len(table),
        margin={"t": 30, "b": 56, "l": 150, "r": 24},
    )


def example() -> dict[str, Any]:
    """Made data for the gallery and the laws: a probe above its controls."""
    rows = [
        ("probe", 0.84, 0.8, 0.88, 420, 1), ("random neurons", 0.72, 0.68, 0.76, 420, 20),
        ("shuffled labels", 0.5, 0.44, 0.57, 420, 20), ("answer length", 0.61, 0.55, 0.66, 420, 1),
    ]  # fmt: skip
    return {"table": pd.DataFrame(rows, columns=[*COLUMNS, "repeats"])}


def _title(table: pd.DataFrame, own: pd.Series) -> str:
    """Numbers beside numbers: whether a control explains the detector, an audit says."""
    others = table.loc[~own & table.auroc.notna()]
    if not own.any():
        known = table.auroc[table.auroc.notna()]
        if known.empty:
            return "None of the controls could be scored"
        return f"Controls alone reach an AUROC of {auroc_words(known[from_chance(known).idxmax()])}"
    headline = table.loc[own].to_dict("records")[0]
    claim = Estimate.from_row(headline)
    null = table.loc[table.control == Control.SHUFFLED_LABELS].to_dict("records")
    p = p_against(null[0], headline) if null else None
    if not is_above_chance(claim, p):
        beside = "" if p is None else f", p = {p:.3f} against shuffled labels"
        return f"The detector is not shown to be above chance: AUROC {claim:.2f}{beside}"
    start = f"The detector reaches an AUROC of {claim.value:.2f}"
    if others.empty:
        return f"{start}; no control was run"
    best = others.loc[from_chance(others.auroc).idxmax()]
    way = "" if best.auroc >= 0.5 else ", inverse"
    return f"{start}, its best control {best.auroc:.2f} ({best.control}{way})"


def _subtitle(table: pd.DataFrame) -> str:
    parts = [count(int(table.n.max()), "held-out answer"), "bars: 95 % intervals"]
    if "repeats" in table and (table.repeats > 1).any():
        repeats = int(table.repeats[table.repeats > 1].min())
        parts.append(f"random and shuffled: spread of {count(repeats, 'repeat')}")
    return " · ".join(parts)
