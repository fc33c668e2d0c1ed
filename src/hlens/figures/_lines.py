"""What the curve figures share: a line with its band of intervals."""

import math

import pandas as pd
import plotly.graph_objects as go

from hlens.figures._figure import Figure
from hlens.figures._theme import see_through


def add_curve(
    figure: Figure,
    table: pd.DataFrame,
    x: str,
    y: str,
    *,
    name: str,
    colour: str,
    control: bool = False,
    axes: tuple[str, str] = ("x", "y"),
    legend: bool = True,
    form: str = ".3f",
    unit: str = "",
    symbol: str = "",
    band: bool = True,
) -> None:
    """A line with marks over the band from ``low`` to ``high``; controls are dotted, with squares.

    Args:
        figure: The figure.
        table: Columns `x`, `y`, ``low``, ``high`` and perhaps ``n``.
        x: Column of the horizontal axis.
        y: Column of the vertical axis.
        name: What the line is, already escaped.
        colour: Its colour.
        control: Whether it is a control.
        axes: The axes to draw on.
        legend: Whether the legend names it.
        form: Format of values on hovering.
        unit: What `x` is, for hovering.
        symbol: Shape of its marks; empty for a circle, or a control's square.
        band: Whether the band is drawn; its ends are told on hovering all the same.
    """
    rows = table.sort_values(x)
    if band:
        figure.add_trace(_band(rows, x, name, colour, axes))
    n = rows["n"] if "n" in rows else pd.Series([None] * len(rows))
    told = "<br>n = %{customdata[2]:,d}" if "n" in rows else ""
    figure.add_trace(
        go.Scatter(
            x=rows[x],
            y=rows[y],
            mode="lines+markers",
            name=name,
            legendgroup=name,
            showlegend=legend,
            line={"color": colour, "width": 2.4, "dash": "dot" if control else "solid"},
            marker={
                "size": 8,
                "symbol": symbol or ("square" if control else "circle"),
                "color": colour,
            },
            customdata=list(zip(rows["low"], rows["high"], n, strict=True)),
            hovertemplate=f"<b>{name}</b><br>{unit}%{{x}}: <b>%{{y:{form}}}</b> "
            f"[%{{customdata[0]:{form}}}, %{{customdata[1]:{form}}}]{told}<extra></extra>",
            xaxis=axes[0],
            yaxis=axes[1],
        )
    )


def _band(rows: pd.DataFrame, x: str, name: str, colour: str, axes: tuple[str, str]) -> go.Scatter:
    return go.Scatter(
        x=[*rows[x], *rows[x][::-1]],
        y=[*rows["high"], *rows["low"][::-1]],
        mode="lines",
        fill="toself",
        fillcolor=see_through(colour, 0.16),
        line={"width": 0},
        hoverinfo="skip",
        showlegend=False,
        legendgroup=name,
        xaxis=axes[0],
        yaxis=axes[1],
    )


def mark_x(
    figure: Figure,
    at: float,
    text: str,
    colour: str,
    axes: tuple[str, str] = ("x", "y domain"),
    log: bool = False,
    left: bool = False,
) -> None:
    """A dashed vertical line with its words at the foot."""
    figure.add_shape(
        type="line",
        x0=at,
        x1=at,
        y0=0,
        y1=1,
        xref=axes[0],
        yref=axes[1],
        line={"color": colour, "width": 1.2, "dash": "dash"},
        layer="below",
    )
    figure.add_annotation(
        x=math.log10(at)
        if log
        else at,  # on a log axis plotly wants lines as values, words as logs
        y=0,
        xref=axes[0],
        yref=axes[1],
        xanchor="right" if left else "left",
        yanchor="bottom",
        xshift=-5 if left else 5,
        text=text,
        showarrow=False,
        font={"size": 11.5, "color": colour},
    )


def panel_title(figure: Figure, text: str, x: float, colour: str) -> None:
    """The name of a panel, above its left edge."""
    figure.add_annotation(
        x=x,
        y=1,
        xref="paper",
        yref="paper",
        xanchor="left",
        yanchor="bottom",
        yshift=10,
        text=text,
        showarrow=False,
        font={"size": 13, "color": colour},
    )
