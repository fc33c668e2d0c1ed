"""The right panel: how often resampling keeps each neuron."""

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from hlens.figures._figure import Figure
from hlens.figures._theme import Palette
from hlens.types import address

MOST_BARS = 60


def add_frequencies(
    figure: Figure,
    stability: pd.DataFrame,
    wide: pd.DataFrame,
    threshold: float,
    colours: Palette,
) -> None:
    """Bars in falling order; the stable ones in the colour of their sign."""
    top = stability.nlargest(MOST_BARS, "frequency").reset_index(drop=True)
    sign = _signs(top, wide)
    stable = top.frequency.to_numpy() >= threshold
    for kind, rows, colour, hatch in (
        ("hallucination-associated", stable & (sign > 0), colours.positive, ""),
        ("truth-associated", stable & (sign < 0), colours.negative, "/"),  # shape and colour
        ("not stable", ~stable, colours.neutral, ""),
        ("stable, not on the path", stable & (sign == 0), colours.control, ""),
    ):
        _add_bars(figure, top.loc[rows], kind, colour, hatch, colours)
    figure.add_shape(
        type="line", xref="x2 domain", yref="y2", x0=0, x1=1, y0=threshold, y1=threshold,
        line={"color": colours.muted, "width": 1.2, "dash": "dash"},
    )  # fmt: skip
    figure.add_annotation(
        x=1, y=threshold, xref="x2 domain", yref="y2", xanchor="right", yanchor="bottom",
        text=f"stable at π = {threshold:g}", showarrow=False,
        font={"size": 11.5, "color": colours.muted},
    )  # fmt: skip
    figure.update_layout(
        barmode="overlay",
        xaxis2={
            "domain": [0.67, 1],
            "anchor": "y2",
            "title": {"text": "neurons, by selection frequency"},
            "showgrid": False,
        },
        yaxis2={"anchor": "x2", "tickformat": ".0%", "range": [0, 1.04], "dtick": 0.2},
    )


def peak_of(line: np.ndarray) -> float:
    """The weight of a neuron where it is largest along the path, with its sign."""
    return float(line[np.abs(line).argmax()])


def _signs(top: pd.DataFrame, wide: pd.DataFrame) -> np.ndarray:
    """The sign that most half-samples gave, where that is known, else that along the path."""
    if "positive" in top:
        return np.where(2 * top.positive >= top.frequency, 1, -1)
    lines = {pair: wide[pair].to_numpy() for pair in wide.columns}
    pairs = zip(top.layer, top.neuron, strict=True)
    return np.sign([peak_of(lines[pair]) if pair in lines else 0.0 for pair in pairs])


def _add_bars(
    figure: Figure, top: pd.DataFrame, kind: str, colour: str, hatch: str, colours: Palette
) -> None:
    if top.empty:
        return
    pattern = {"shape": hatch, "fillmode": "overlay", "fgcolor": colours.page, "size": 6}
    figure.add_trace(
        go.Bar(
            x=top.index + 1,
            y=top.frequency,
            width=0.85,
            marker={"color": colour, "line": {"width": 0}, "pattern": pattern},
            text=[address((a, b)) for a, b in zip(top.layer, top.neuron, strict=True)],
            textposition="none",
            hovertemplate=f"<b>%{{text}}</b> {kind}<br>kept in %{{y:.0%}}<extra></extra>",
            showlegend=False,
            xaxis="x2",
            yaxis="y2",
        )
    )
