"""What the matrix figures share: labelled cells with readable ink, and columns checked."""

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from hlens.errors import HlensError
from hlens.figures._figure import Figure, escape
from hlens.figures._theme import Palette

CELL_HEIGHT = 78


def check_columns(table: pd.DataFrame, wanted: Sequence[str], what: str, source: str) -> None:
    """Raise `HlensError` unless the table has rows and the columns that a figure draws."""
    missing = [name for name in wanted if name not in table.columns]
    if missing:
        raise HlensError(
            f"{what} needs the columns {', '.join(wanted)}; missing: {', '.join(missing)}; "
            f"give what {source} returns"
        )
    if table.empty:
        raise HlensError(f"{what} has no rows to draw; give what {source} returns, with rows")


def in_order(*columns: pd.Series) -> list[str]:
    """The distinct values of columns in the order of their first appearance."""
    return list(dict.fromkeys(str(value) for column in columns for value in column))


def share_of_width(n: int) -> float:
    """How much of the width a matrix of `n` columns takes, so that few cells stay cells."""
    return min(0.9, 0.135 * n)


def cell(
    at: tuple[int, int], value: str, small: str, fill: str, ink: str, hover: str
) -> dict[str, Any]:
    """A cell as `add_cells` takes it: a value in bold, and small print below it, both as markup."""
    text = f'<b>{value}</b><br><span style="font-size:11px">{small}</span>'
    return {"x": at[0], "y": at[1], "fill": fill, "ink": ink, "text": text, "hover": hover}


def empty_cell(at: tuple[int, int], hover: str, colours: Palette) -> dict[str, Any]:
    """A cell of what could not be measured."""
    faint = {"fill": colours.faint, "ink": colours.muted}
    return {"x": at[0], "y": at[1], **faint, "text": "–", "hover": hover}


def corrected_p(p: float | None) -> str:
    """Words for a corrected p; none where there is none.

    >>> corrected_p(0.0002), corrected_p(0.04), corrected_p(None)
    ('corrected p < 0.001', 'corrected p = 0.040', '')
    """
    if p is None or math.isnan(p):
        return ""
    return "corrected p < 0.001" if p < 0.001 else f"corrected p = {p:.3f}"


def even_ticks(top: float) -> tuple[list[float], list[str]]:
    """Ticks of a scale of shares from 0: steps of 0.05, 0.1 or 0.2, whichever gives about five.

    >>> even_ticks(0.5)[1]
    ['0', '0.1', '0.2', '0.3', '0.4', '0.5']
    """
    step = 0.05 if top <= 0.25 else 0.1 if top <= 0.5 else 0.2
    ticks = [round(step * i, 2) for i in range(int(top / step + 1e-9) + 1)]
    return ticks, [f"{tick:g}" for tick in ticks]


def outline(figure: Figure, x: int, y: int, colours: Palette) -> None:
    """Mark a cell by a frame."""
    line = {"color": colours.ink, "width": 2}
    figure.add_shape(type="rect", **_edges(x, y), line=line)


def _edges(x: int, y: int) -> dict[str, float]:
    return {"x0": x - 0.49, "x1": x + 0.49, "y0": y - 0.49, "y1": y + 0.49}


def add_cells(figure: Figure, cells: Sequence[dict[str, Any]]) -> None:
    """One trace of filled cells, one of their words.

    Args:
        figure: The figure.
        cells: For each: ``x, y`` (position), ``fill``, ``ink``, ``text`` and ``hover``.
    """
    for one in cells:
        edges, looks = _edges(one["x"], one["y"]), {"line": {"width": 0}, "layer": "below"}
        figure.add_shape(type="rect", **edges, fillcolor=one["fill"], **looks)
    figure.add_trace(
        go.Scatter(
            x=[one["x"] for one in cells],
            y=[one["y"] for one in cells],
            mode="text",
            text=[one["text"] for one in cells],
            textfont={"size": 14, "color": [one["ink"] for one in cells]},
            hovertext=[one["hover"] for one in cells],
            hovertemplate="%{hovertext}<extra></extra>",
            showlegend=False,
        )
    )


def matrix_axes(figure: Figure, names: Sequence[str], columns: Sequence[str], ink: str) -> None:
    """Category axes by position, first name on top."""
    ticks: dict[str, Any] = {"showgrid": False, "zeroline": False, "ticklabelstandoff": 6}
    ticks["tickfont"] = {"size": 13, "color": ink}
    figure.update_layout(
        xaxis={
            **ticks,
            "domain": [0, share_of_width(len(columns))],
            "range": [-0.5, len(columns) - 0.5],
            "tickvals": list(range(len(columns))),
            "ticktext": [escape(name) for name in columns],
            "fixedrange": True,
        },
        yaxis={
            **ticks,
            "range": [len(names) - 0.5, -0.5],
            "tickvals": list(range(len(names))),
            "ticktext": [escape(name) for name in names],
            "fixedrange": True,
        },
    )


def add_scale(
    figure: Figure,
    colours: Palette,
    *,
    name: str,
    scale: Any,
    limits: tuple[float, float],
    ticks: tuple[Sequence[float], Sequence[str]],
    x: float,
    y: float | int,
    length: float | int,
) -> None:
    """A colour bar for cells that are drawn as shapes."""
    figure.add_trace(
        go.Scatter(
            x=[None],
            y=[None],
            mode="markers",
            showlegend=False,
            hoverinfo="skip",
            marker={
                "color": [limits[0]],
                "cmin": limits[0],
                "cmax": limits[1],
                "colorscale": scale,
                "showscale": True,
                "colorbar": {
                    "title": {"text": name, "side": "top", "font": {"size": 12}},
                    "tickvals": list(ticks[0]),
                    "ticktext": list(ticks[1]),
                    "tickfont": {"size": 11, "color": colours.muted},
                    "x": x,
                    "xanchor": "left",
                    "y": y,
                    "yanchor": "top",
                    "len": length,
                    "thickness": 10,
                    "outlinewidth": 0,
                },
            },
        )
    )
