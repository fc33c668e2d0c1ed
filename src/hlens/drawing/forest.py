"""Forest plots: a row for each detector or control, its AUROC with the interval, against chance."""

import html
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from jaxtyping import Bool
from numpy import ndarray

from hlens.drawing.figure import Figure, add_note, broken
from hlens.drawing.theme import Palette, see_through


def add_forest(
    figure: Figure,
    table: pd.DataFrame,
    *,
    names: Sequence[str],
    claim: Bool[ndarray, " row"],
    colours: Palette,
    domain: tuple[float, float],
    right: float,
    title: str,
) -> None:
    """Draw rows from the top, AUROC against chance; the claim is a circle, all others are squares.

    The table has the columns ``auroc, low, high, n``; `names` are already escaped.
    """
    rows: Any = table.assign(name=list(names))
    for chosen, is_claim in ((~claim, False), (claim, True)):
        if chosen.any():
            own = rows.loc[chosen]
            figure.add_trace(
                auroc_points(own, own["name"], claim=is_claim, colours=colours, showlegend=False)
            )
    low = min(0.45, float(rows["low"].min()) - 0.02)
    chance_line(figure, colours)
    figure.update_layout(
        xaxis={
            "range": [max(0.0, low), right],
            "dtick": 0.1,
            "domain": list(domain),
            "title": {"text": title},
        },
        yaxis=named_rows(names, colours),
    )


def auroc_points(
    rows: pd.DataFrame,
    names: Sequence[str] | pd.Series,
    *,
    claim: bool,
    colours: Palette,
    name: str | None = None,
    showlegend: bool | None = None,
) -> go.Scatter:
    """AUROC of each row with its interval; `names` are already escaped."""
    colour = colours.positive if claim else colours.control
    return go.Scatter(
        x=rows["auroc"],
        y=names,
        error_x=intervals(rows, "auroc", colour=colour),
        mode="markers",
        cliponaxis=False,
        marker={"size": 11, "color": colour, "symbol": "circle" if claim else "square",
                "line": {"color": colours.page, "width": 1}},
        name=name,
        customdata=rows[["low", "high", "n"]],
        hovertemplate=f"<b>%{{y}}</b><br>AUROC {hover_interval('x')}<br>"
        "n = %{customdata[2]:,d}<extra></extra>",
        showlegend=showlegend,
    )  # fmt: skip


def hover_interval(value: str, first: int = 0, form: str = ".3f") -> str:
    """A value with its interval in a hover template; `first` is its place in ``customdata``.

    >>> hover_interval("x", form=".0f")
    '%{x:.0f} [%{customdata[0]:.0f}, %{customdata[1]:.0f}]'
    """
    low, high = (f"%{{customdata[{index}]:{form}}}" for index in (first, first + 1))
    return f"%{{{value}:{form}}} [{low}, {high}]"


def intervals(
    rows: pd.DataFrame, value: str, *, colour: str, thickness: float | int = 3
) -> dict[str, Any]:
    """Horizontal bars from ``low`` to ``high`` around a column."""
    return {
        "type": "data", "symmetric": False, "array": rows["high"] - rows[value],
        "arrayminus": rows[value] - rows["low"], "thickness": thickness, "width": 0,
        "color": colour,
    }  # fmt: skip


def add_value(
    figure: Figure,
    *,
    x: float,
    y: str,
    value: float,
    claim: bool,
    size: float | int,
    colours: Palette,
) -> None:
    """Write an AUROC right of its interval; that of the claim in bold."""
    add_note(
        figure,
        f"<b>{value:.2f}</b>" if claim else f"{value:.2f}",
        x=x,
        y=y,
        xanchor="left",
        xshift=8,
        size=size,
        colour=colours.positive_ink if claim else colours.muted,
    )


def interval_band(figure: Figure, row: Mapping[str, Any], colours: Palette) -> None:
    """Shade the interval of one row over the whole height, for all others to be held against."""
    figure.add_vrect(
        x0=row["low"], x1=row["high"], fillcolor=see_through(colours.positive, 0.08),
        line_width=0, layer="below",
    )  # fmt: skip


def chance_line(figure: Figure, colours: Palette) -> None:
    """The dashed vertical line at an AUROC of 0.5."""
    figure.add_vline(x=0.5, line={"color": colours.ink, "width": 1, "dash": "dash"})


def named_rows(names: Sequence[str], colours: Palette) -> dict[str, Any]:
    """A vertical axis of names, the first on top."""
    texts = [broken(html.unescape(name), 26) for name in names]
    return {
        "categoryorder": "array",
        "categoryarray": list(names)[::-1],
        "tickvals": list(names),
        "ticktext": texts,
        "showgrid": False,
        "tickfont": {
            "size": 11 if any("<br>" in text for text in texts) else 13,
            "color": colours.ink,
        },
        "range": [-0.6, len(names) - 0.4],
    }
