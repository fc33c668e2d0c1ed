"""Lines with their bands of intervals, reference lines, and names of panels."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from hlens.drawing.figure import Figure, add_note
from hlens.drawing.theme import see_through


def add_curve(
    figure: Figure,
    table: pd.DataFrame,
    *,
    x: str,
    y: str,
    name: str,
    colour: str,
    control: bool = False,
    panel: str = "",
    form: str = ".3f",
    unit: str = "",
    symbol: str = "",
    band: bool = True,
) -> None:
    """A line with marks over the band from ``low`` to ``high``; controls are dotted, with squares.

    The table has the columns `x`, `y`, ``low``, ``high`` and perhaps ``n``; `name` is already
    escaped, and in the legend for the first of `panels`. `form` and `unit` (of `x`) are for
    hovering, which shows the ends of a band that is not drawn.
    """
    rows = table.sort_values(x)
    axes: dict[str, Any] = {"legendgroup": name, "xaxis": f"x{panel}", "yaxis": f"y{panel}"}
    if band:
        figure.add_trace(
            go.Scatter(
                x=[*rows[x], *rows[x][::-1]],
                y=[*rows["high"], *rows["low"][::-1]],
                mode="lines",
                fill="toself",
                fillcolor=see_through(colour, 0.16),
                line={"width": 0},
                hoverinfo="skip",
                showlegend=False,
                **axes,
            )
        )
    symbol = symbol or ("square" if control else "circle")
    n = rows["n"] if "n" in rows else pd.Series([None] * len(rows))
    n_line = "<br>n = %{customdata[2]:,d}" if "n" in rows else ""
    figure.add_trace(
        go.Scatter(
            x=rows[x],
            y=rows[y],
            mode="lines+markers",
            name=name,
            showlegend=not panel,
            line={"color": colour, "width": 2.4, "dash": "dot" if control else "solid"},
            marker={"size": 8, "symbol": symbol, "color": colour},
            customdata=list(zip(rows["low"], rows["high"], n, strict=True)),
            hovertemplate=f"<b>{name}</b><br>{unit}%{{x}}: <b>%{{y:{form}}}</b> "
            f"[%{{customdata[0]:{form}}}, %{{customdata[1]:{form}}}]{n_line}<extra></extra>",
            **axes,
        )
    )


def mark_x(
    figure: Figure,
    x: float,
    text: str,
    *,
    colour: str,
    panel: str = "",
    log: bool = False,
    left: bool = False,
) -> None:
    """A dashed vertical line with its text at the foot, right of the line unless `left`."""
    axes: dict[str, Any] = {"xref": f"x{panel}", "yref": f"y{panel} domain"}
    figure.add_shape(
        type="line", x0=x, x1=x, y0=0, y1=1, **axes, layer="below",
        line={"color": colour, "width": 1.2, "dash": "dash"},
    )  # fmt: skip
    add_note(
        figure,
        text,
        x=math.log10(x) if log else x,  # on a log axis plotly places shapes by value, text by log
        y=0,
        colour=colour,
        **axes,
        xanchor="right" if left else "left",
        yanchor="bottom",
        xshift=-5 if left else 5,
    )


def panels(
    figure: Figure, titles: Sequence[str], *, x_title: str, gap: float, colour: str
) -> Iterator[str]:
    """Lay panels of equal width side by side and write their (escaped) titles above them.

    Yields the suffix of each panel's axes ("", "2", ...: plotly calls the first ones x and y).
    """
    width = (1 - gap * (len(titles) - 1)) / len(titles)
    for index, title in enumerate(titles):
        left = index * (width + gap)
        right = min(1.0, left + width)  # plotly takes nothing above, not even by rounding
        panel = str(index + 1) if index else ""
        x_axis = {"domain": (left, right), "anchor": f"y{panel}", "showgrid": False,
                  "title": {"text": x_title}}  # fmt: skip
        figure.update_layout({f"xaxis{panel}": x_axis, f"yaxis{panel}": {"anchor": f"x{panel}"}})
        yield panel
        add_note(
            figure, title, x=left, y=1, colour=colour, size=13, xref="paper", yref="paper",
            xanchor="left", yanchor="bottom", yshift=10,
        )  # fmt: skip
