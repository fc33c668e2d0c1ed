"""The counts of each layer beside the map, and the axes of both."""

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from hlens.figures._figure import Figure
from hlens.figures._theme import Palette


def add_counts(figure: Figure, marks: pd.DataFrame, n_layers: int, colours: Palette) -> None:
    """Signed bars of each layer, and the count that an even spread would give."""
    unsigned = bool(marks.weight.isna().all())
    for name, rows, colour, sign in (
        ("truth-associated", marks.weight < 0, colours.negative, -1),
        ("hallucination-associated", ~(marks.weight < 0), colours.positive, 1),
    ):
        counts = np.bincount(marks.layer[rows], minlength=n_layers)
        if not counts.any():
            continue
        name = "selected" if unsigned else name
        figure.add_trace(
            go.Bar(
                x=sign * counts,
                y=np.arange(n_layers),
                orientation="h",
                marker={"color": colours.control if unsigned else colour, "line": {"width": 0}},
                xaxis="x2",
                name=name,
                legendgroup=name,
                showlegend=False,
                customdata=counts,
                hovertemplate=f"layer %{{y}}: %{{customdata}} {name}<extra></extra>",
            )
        )
        even = sign * counts.sum() / n_layers
        figure.add_shape(
            type="line", xref="x2", yref="paper", x0=even, x1=even, y0=0, y1=1,
            line=_even_line(colours),
        )  # fmt: skip
    figure.add_trace(
        go.Scatter(
            x=[None],
            y=[None],
            mode="lines",
            name="an even spread over layers",
            hoverinfo="skip",
            legendrank=3,
            line=_even_line(colours),
        )
    )


def _even_line(colours: Palette) -> dict[str, Any]:
    return {"color": colours.ink, "width": 1, "dash": "dot"}


def set_axes(
    figure: Figure,
    marks: pd.DataFrame,
    drawn: pd.DataFrame,
    shape: tuple[int, int],
    colours: Palette,
) -> None:
    n_layers, d_mlp = shape
    signed = marks.weight.notna().any()
    limit = float(marks.attrs["top"])
    ticks, labels = _count_ticks(marks, n_layers)
    figure.update_layout(
        barmode="overlay",
        bargap=0.25,
        xaxis={
            "domain": [0, 0.765],
            "range": [-0.5, d_mlp - 0.5],
            "title": {"text": "neuron index (order carries no meaning)"},
            "showgrid": False,
            "ticks": "outside",
            "tickformat": ",d",
        },
        yaxis={
            "range": [-0.7, n_layers - 0.3],
            "title": {"text": "layer"},
            "showgrid": False,
            "ticks": "outside",
            "dtick": _step(n_layers),
        },
        xaxis2={
            "domain": [0.8, 0.935 if signed else 1],
            "title": {"text": "neurons a layer"},
            "tickvals": ticks,
            "ticktext": labels,
            "showgrid": True,
            "zeroline": True,
            "zerolinewidth": 1,
            "zerolinecolor": colours.control,
        },
    )
    if signed:
        figure.update_layout(coloraxis=_colour_axis(limit, colours))


def _colour_axis(limit: float, colours: Palette) -> dict[str, Any]:
    nice = float(f"{limit:.1g}")
    nice = nice if nice <= limit else nice / 2
    return {
        "colorscale": colours.marks,
        "cmin": -limit,
        "cmax": limit,
        "colorbar": {
            "title": {"text": "weight", "side": "top", "font": {"size": 12}},
            "x": 0.955,
            "xanchor": "left",
            "thickness": 9,
            "len": 0.46,
            "outlinewidth": 0,
            "tickvals": [-nice, -nice / 2, 0, nice / 2, nice],
            "ticktext": [f"−{nice:g}", f"−{nice / 2:g}", "0", f"+{nice / 2:g}", f"+{nice:g}"],
            "tickfont": {"size": 11},
        },
    }


def _step(n_layers: int) -> int:
    return next(step for step in (1, 2, 5, 10, 20, 50, 100) if n_layers / step <= 10 or step == 100)


def _count_ticks(marks: pd.DataFrame, n_layers: int) -> tuple[list[int], list[str]]:
    """Ticks on both sides of zero, written without sign."""
    below = np.bincount(marks.layer[marks.weight < 0], minlength=n_layers).max(initial=0)
    above = np.bincount(marks.layer[~(marks.weight < 0)], minlength=n_layers).max(initial=0)
    wanted = max(int(below), int(above), 1)
    step = next(s * 10**e for e in range(8) for s in (1, 2, 5) if s * 10**e * 3 >= wanted)
    ticks = [*range(-step * (int(below) // step), 0, step), *range(0, int(above) + 1, step)]
    return ticks, [f"{abs(t):,}" for t in ticks]
