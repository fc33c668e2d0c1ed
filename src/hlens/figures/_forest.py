"""What the forest plots share: a row a way to read, its AUROC with the interval, the claim last."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from jaxtyping import Bool
from numpy import ndarray

from hlens.figures._figure import Figure
from hlens.figures._theme import Palette


def add_forest(
    figure: Figure,
    table: pd.DataFrame,
    names: Sequence[str],
    claim: Bool[ndarray, " row"],
    colours: Palette,
    *,
    domain: tuple[float, float],
    right: float,
    title: str,
) -> None:
    """Rows from above, AUROC against chance; the claim is a circle, all others are squares.

    Args:
        figure: The figure.
        table: Columns ``auroc, low, high, n``.
        names: Name of each row, already escaped.
        claim: Which row is the claim.
        colours: The theme's colours.
        domain: Where the horizontal axis begins and ends, in shares of the width.
        right: Its last value.
        title: Its title.
    """
    rows: Any = table.assign(name=list(names))
    for which, own in ((~claim, False), (claim, True)):
        if which.any():
            figure.add_trace(_areas(rows.loc[which], own, colours))
    low = min(0.45, float(rows["low"].min()) - 0.02)
    figure.add_vline(x=0.5, line={"color": colours.ink, "width": 1, "dash": "dash"})
    figure.update_layout(
        xaxis={
            "range": [max(0.0, low), right],
            "dtick": 0.1,
            "domain": list(domain),
            "title": {"text": title},
        },
        yaxis={
            "categoryorder": "array",
            "categoryarray": list(names)[::-1],
            "showgrid": False,
            "tickfont": {"size": 13, "color": colours.ink},
            "range": [-0.6, len(names) - 0.4],
        },
    )


def intervals(rows: pd.DataFrame, value: str, colour: str, thickness: float = 3) -> dict[str, Any]:
    """Horizontal bars from ``low`` to ``high`` around a column."""
    return {
        "type": "data", "symmetric": False, "array": rows["high"] - rows[value],
        "arrayminus": rows[value] - rows["low"], "thickness": thickness, "width": 0,
        "color": colour,
    }  # fmt: skip


def hover_interval(value: str, first: int = 0, form: str = ".3f") -> str:
    """A value with its interval, in the words of plotly's hover templates.

    Args:
        value: ``"x"`` or ``"y"``.
        first: Where the interval begins in a point's ``customdata``.
        form: Format of the numbers.

    >>> hover_interval("x", form=".0f")
    '%{x:.0f} [%{customdata[0]:.0f}, %{customdata[1]:.0f}]'
    """
    low, high = (f"%{{customdata[{at}]:{form}}}" for at in (first, first + 1))
    return f"%{{{value}:{form}}} [{low}, {high}]"


def _areas(rows: pd.DataFrame, claim: bool, colours: Palette) -> go.Scatter:
    colour = colours.positive if claim else colours.control
    return go.Scatter(
        x=rows["auroc"],
        y=rows["name"],
        error_x=intervals(rows, "auroc", colour),
        mode="markers",
        cliponaxis=False,
        marker={"size": 11, "color": colour, "symbol": "circle" if claim else "square",
                "line": {"color": colours.page, "width": 1}},
        customdata=rows[["low", "high", "n"]],
        hovertemplate=f"<b>%{{y}}</b><br>AUROC {hover_interval('x')}<br>"
        "n = %{customdata[2]:,d}<extra></extra>",
        showlegend=False,
    )  # fmt: skip
