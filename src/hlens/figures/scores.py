"""The detector beside its controls: AUROC with intervals, and the line of chance.

Question: does the probe tell wrong from right answers, and would something simpler do as well?
To read it: the circle is the detector, squares are its controls. It claims something only where
its whole interval lies right of theirs.
It misleads when the interval of a control is read as if it were one of examples: that of random
neurons and shuffled labels is the spread of repeats.
"""

from collections.abc import Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from hlens.errors import HlensError
from hlens.figures._figure import Figure, escape, finish
from hlens.figures._forest import hover_interval, intervals
from hlens.figures._theme import Palette, palette
from hlens.types.labels import Control

CLAIMS = (Control.PROBE, Control.SELECTED_REFIT)


def draw(table: pd.DataFrame, *, claims: Sequence[str] = CLAIMS, theme: str = "light") -> Figure:
    """Draw the scores.

    Args:
        table: Columns ``control, auroc, low, high, n`` and perhaps ``repeats`` and ``p``, as
            `hlens.evaluation.controls` returns them; the first claim is the headline.
        claims: Rows that are the detector's own; all others are controls.
        theme: ``"light"`` or ``"dark"``.

    Raises:
        HlensError: A column is missing, or there is no row.
    """
    missing = {"control", "auroc", "low", "high", "n"} - set(table.columns)
    if missing or table.empty:
        raise HlensError(
            f"scores need rows with control, auroc, low, high and n; missing: "
            f"{', '.join(sorted(missing)) or 'rows'}; give what evaluation.controls returns"
        )
    colours = palette(theme)
    figure = Figure()
    own = table.control.isin(claims)
    for rows, name in ((table.loc[own], "the detector"), (table.loc[~own], "its controls")):
        if len(rows):
            figure.add_trace(_intervals(rows, name, name == "the detector", colours))
    for row in table.loc[table.auroc.notna()].to_dict("records"):
        _write_value(figure, row, row["control"] in claims, colours)
    low = min(0.45, float(table[["auroc", "low"]].min().min()) - 0.03)
    figure.add_vline(x=0.5, line={"color": colours.ink, "width": 1, "dash": "dash"})
    figure.add_annotation(
        x=0.5,
        y=1,
        xref="x",
        yref="paper",
        yanchor="bottom",
        text="chance",
        showarrow=False,
        font={"size": 11.5, "color": colours.muted},
    )
    names = [escape(name) for name in table.control]
    figure.update_layout(
        xaxis={"range": [max(0.0, low), 1.04], "title": {"text": "AUROC"}, "dtick": 0.1},
        yaxis={
            "categoryorder": "array",
            "categoryarray": names[::-1],
            "showgrid": False,
            "tickfont": {"size": 13, "color": colours.ink},
            "range": [-0.6, len(names) - 0.4],
        },
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
        (Control.PROBE, 0.84, 0.8, 0.88, 420, 1),
        (Control.RANDOM_NEURONS, 0.72, 0.68, 0.76, 420, 20),
        (Control.SHUFFLED_LABELS, 0.5, 0.44, 0.57, 420, 20),
        (Control.ANSWER_LENGTH, 0.61, 0.55, 0.66, 420, 1),
    ]
    return {
        "table": pd.DataFrame(rows, columns=["control", "auroc", "low", "high", "n", "repeats"])
    }


def _intervals(rows: pd.DataFrame, name: str, claim: bool, colours: Palette) -> go.Scatter:
    colour = colours.positive if claim else colours.control
    return go.Scatter(
        x=rows.auroc,
        y=[escape(control) for control in rows.control],
        error_x=intervals(rows, "auroc", colour),
        mode="markers",
        cliponaxis=False,
        marker={
            "size": 11,
            "color": colour,
            "symbol": "circle" if claim else "square",
            "line": {"color": colours.page, "width": 1},
        },
        name=name,
        customdata=rows[["low", "high", "n"]],
        hovertemplate=f"<b>%{{y}}</b><br>AUROC {hover_interval('x')}<br>"
        "n = %{customdata[2]:,d}<extra></extra>",
    )


def _write_value(figure: Figure, row: dict[str, Any], claim: bool, colours: Palette) -> None:
    figure.add_annotation(
        x=max(row["high"], row["auroc"]) if row["high"] == row["high"] else row["auroc"],
        y=escape(row["control"]),
        text=f"<b>{row['auroc']:.2f}</b>" if claim else f"{row['auroc']:.2f}",
        xanchor="left",
        xshift=8,
        showarrow=False,
        font={"size": 13, "color": colours.positive_ink if claim else colours.muted},
    )


def _title(table: pd.DataFrame, own: pd.Series) -> str:
    if not own.any():
        return f"Controls alone reach an AUROC of {table.auroc.max():.2f}"
    claim = table.loc[own].iloc[0]
    others = table.loc[~own & table.auroc.notna()]
    if claim.low <= 0.5:
        return f"The detector is no better than chance (AUROC {claim.auroc:.2f})"
    if others.empty:
        return f"The detector reaches an AUROC of {claim.auroc:.2f}; no control was run"
    best = others.loc[others.auroc.idxmax()]
    if best.auroc >= claim.auroc:
        than = f"{best.control} ({best.auroc:.2f})"
        return f"The detector does no better ({claim.auroc:.2f}) than {than}"
    if best.high >= claim.low:
        return f"The detector reaches {claim.auroc:.2f}; {best.control} comes close"
    return f"The detector reaches an AUROC of {claim.auroc:.2f}, above every control"


def _subtitle(table: pd.DataFrame) -> str:
    parts = [f"{int(table.n.max()):,} held-out answers", "bars: 95 % intervals"]
    if "repeats" in table and (table.repeats > 1).any():
        repeats = int(table.repeats[table.repeats > 1].min())
        parts.append(f"random and shuffled: spread of {repeats} repeats")
    return " · ".join(parts)
