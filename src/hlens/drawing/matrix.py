"""Matrices of labelled cells with readable ink: transfer, overlap, reliability.

The cells are rectangles under one trace of text, not a heatmap: each then has its own two lines of
text, and a matrix can carry two colour scales, one below and one above the diagonal.
"""

from collections.abc import Sequence
from typing import Any, Literal

import plotly.graph_objects as go

from hlens.drawing.figure import Figure, broken
from hlens.drawing.theme import Palette, Scale, ink_on

CELL_HEIGHT = 78
WIDTHS = {"xaxis": 11, "yaxis": 14}  # of a name beside the cells, in letters


def cell(
    position: tuple[int, int], hover: str, *, value: str, small: str, fill: str, ink: str = ""
) -> dict[str, Any]:
    """A cell for `add_matrix`: a value over small print, both as markup."""
    text = f'{value}<br><span style="font-size:11px">{small}</span>'
    return {"x": position[0], "y": position[1], "fill": fill, "ink": ink or ink_on(fill),
            "text": text, "hover": hover}  # fmt: skip


def empty_cell(position: tuple[int, int], hover: str, colours: Palette) -> dict[str, Any]:
    """A cell of what could not be measured."""
    return {"x": position[0], "y": position[1], "fill": colours.faint, "ink": colours.muted,
            "text": "–", "hover": hover}  # fmt: skip


def even_ticks(top: float) -> tuple[list[float], list[str]]:
    """Ticks of a scale of shares from 0: steps of 0.05, 0.1 or 0.2, whichever gives about five.

    >>> even_ticks(0.5)[1]
    ['0', '0.1', '0.2', '0.3', '0.4', '0.5']
    """
    step = 0.05 if top <= 0.25 else 0.1 if top <= 0.5 else 0.2
    ticks = [round(step * i, 2) for i in range(int(top / step + 1e-9) + 1)]
    return ticks, [f"{tick:g}" for tick in ticks]


def _share_of_width(n_columns: int) -> float:
    """How much of the width a matrix takes, so that few cells do not grow wide."""
    return min(0.9, 0.135 * n_columns)


def narrowest_matrix(n_columns: int) -> int:
    """Width in pixels of a figure in which the texts of neighbouring cells do not meet."""
    return 130 + round(58 * n_columns / _share_of_width(n_columns))


def _edges(x: int, y: int) -> dict[str, float]:
    return {"x0": x - 0.49, "x1": x + 0.49, "y0": y - 0.49, "y1": y + 0.49}


def add_matrix(
    figure: Figure,
    cells: Sequence[dict[str, Any]],
    *,
    rows: Sequence[str],
    columns: Sequence[str],
    outlined: Sequence[tuple[int, int]] = (),
    colours: Palette,
) -> None:
    """Draw what `cell` and `empty_cell` made, the first row on top, some cells with a frame."""
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
    for x, y in outlined:
        figure.add_shape(type="rect", **_edges(x, y), line={"color": colours.ink, "width": 2})
    axes = {
        "xaxis": (columns, {"domain": [0, _share_of_width(len(columns))],
                            "range": [-0.5, len(columns) - 0.5]}),
        "yaxis": (rows, {"range": [len(rows) - 0.5, -0.5]}),
    }  # fmt: skip
    figure.update_layout(
        {
            axis: {
                "showgrid": False,
                "zeroline": False,
                "ticklabelstandoff": 6,
                "tickfont": {"size": _size(axis, names), "color": colours.ink},
                **place,
                "tickvals": list(range(len(names))),
                "ticktext": [broken(name, WIDTHS[axis]) for name in names],
                "fixedrange": True,
                "tickangle": 0,
            }
            for axis, (names, place) in axes.items()
        }
    )


def _size(axis: str, names: Sequence[str]) -> int:
    """Of the type of names: those above a column of cells are small where they are long."""
    longest = max((len(word) for name in names for word in name.split()), default=0)
    return 11 if axis == "xaxis" and longest > 8 else 13


def add_scale(
    figure: Figure,
    colours: Palette,
    *,
    name: str,
    scale: Scale,
    limits: tuple[float, float],
    ticks: tuple[Sequence[float], Sequence[str]],
    shape: tuple[int, int],
    half: Literal["", "upper", "lower"] = "",
) -> None:
    """Draw the colour bar of cells, which as shapes have none of their own.

    The scale goes from one of `limits` to the other, beside a matrix of `shape` (rows, columns); of
    two scales each takes a `half` of the height.
    """
    height = CELL_HEIGHT * shape[0]
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
                    "x": _share_of_width(shape[1]) + 0.03,
                    "xanchor": "left",
                    "y": 0.5 if half == "lower" else 1,
                    "yanchor": "top",
                    "len": min(0.5, 190 / height) if half else min(1.0, 300 / height),
                    "thickness": 10,
                    "outlinewidth": 0,
                },
            },
        )
    )
