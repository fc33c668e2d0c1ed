"""The two panels of the map: marks over a backdrop of binned scores, and counts beside them."""

import math
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from torch import Tensor

from hlens.drawing.figure import Figure, escape
from hlens.drawing.theme import Palette


def add_marks(
    figure: Figure,
    drawn: pd.DataFrame,
    *,
    facts: dict[str, np.ndarray],
    domains: list[list[str]],
    n_domains: int,
    layer_height: float,
    colours: Palette,
) -> None:
    """A trace for each kind of neuron, and the legend.

    `drawn` is weakest first, so that strong marks lie on top. `facts` are what hovering shows: the
    line with its format, and the number of each mark. `layer_height` is in pixels.
    """
    enough = max(2, math.ceil(2 * n_domains / 3))  # domains that a neuron is in to be outlined
    outlined = np.array([len(names) >= enough for names in domains], dtype=bool)
    edges = np.where(outlined, colours.ink, colours.page)
    widths = np.where(outlined, 2, 0.7)
    joined = [", ".join(map(escape, names)) or "none of the domains" for names in domains]
    text = np.array(joined, dtype=object)
    smallest = max(5.0, min(8.0, layer_height * 0.6))
    largest = max(8.0, min(17.0, layer_height * 1.15))
    sizes = smallest + (largest - smallest) * np.sqrt(drawn["size"].to_numpy())
    numbers = np.stack([*facts.values()], axis=1).astype(np.float32) if facts else None
    weights = drawn.weight.to_numpy()
    for kind, symbol, colour, rows in (
        ("truth-associated", "diamond", colours.negative, weights < 0),
        ("hallucination-associated", "circle", colours.positive, weights > 0),
        ("selected", "circle", colours.control, np.isnan(weights)),
    ):
        if not rows.any():
            continue
        shade: dict[str, Any] = {"color": colour}
        if kind != "selected":
            shade = {"color": weights[rows].astype(np.float32), "coloraxis": "coloraxis"}
        bigger = 1.12 if symbol == "diamond" else 1.0  # a diamond looks smaller than a circle
        figure.add_trace(
            go.Scatter(
                x=drawn.neuron.to_numpy()[rows],
                y=drawn.layer.to_numpy()[rows],
                mode="markers",
                name=kind,
                legendgroup=kind,
                showlegend=False,
                cliponaxis=False,
                marker={
                    "symbol": symbol,
                    "size": np.round(sizes[rows] * bigger, 1),
                    "opacity": 1,
                    "line": {"color": edges[rows].tolist(), "width": widths[rows].tolist()},
                    **shade,
                },
                customdata=None if numbers is None else numbers[rows],
                text=text[rows] if n_domains else None,
                hovertemplate=_hover(kind, list(facts), with_domains=n_domains > 0),
            )
        )
        _add_key(figure, kind, symbol=symbol, colour=colour)
    if outlined.any():
        name = f"shared by ≥ {enough} of {n_domains} domains"
        _add_key(figure, name, symbol="circle", colour=colours.page, outline=colours.ink)


def _add_key(figure: Figure, name: str, *, symbol: str, colour: str, outline: str = "") -> None:
    """An entry of the legend at one size and colour, since the marks have many."""
    line = {"color": outline, "width": 2} if outline else {"width": 0}
    figure.add_trace(
        go.Scatter(
            x=[None],
            y=[None],
            mode="markers",
            name=name,
            legendgroup=name,
            hoverinfo="skip",
            legendrank=1 if symbol == "circle" and not outline else 2,
            marker={"symbol": symbol, "size": 10, "color": colour, "line": line},
        )
    )


def _hover(kind: str, lines: list[str], *, with_domains: bool) -> str:
    # A line names its number as {:format}; plotly wants it as %{customdata[index]:format}.
    numbers = [line.replace("{", f"%{{customdata[{i}]") for i, line in enumerate(lines)]
    parts = [f"<b>L%{{y}}N%{{x:d}}</b>  {kind}", *numbers, *["in: %{text}"] * with_domains]
    return "<br>".join(parts) + "<extra></extra>"


def backdrop(
    selected: pd.DataFrame, auroc: Tensor | None, shape: tuple[int, int], colours: Palette
) -> go.Heatmap:
    """Largest score of each bin of neurons, as bytes: a full heatmap would be megabytes."""
    n_layers, d_mlp = shape
    width = bin_width(d_mlp)
    n_bins = math.ceil(d_mlp / width)
    binned = np.zeros((n_layers, n_bins))
    if auroc is None:
        np.maximum.at(binned, (selected.layer, selected.neuron // width), selected["size"])
        binned *= 0.5
    else:
        score = np.nan_to_num(np.abs(auroc.float().cpu().numpy() - 0.5))
        padded = np.pad(score, ((0, 0), (0, n_bins * width - d_mlp)))
        binned = padded.reshape(n_layers, n_bins, width).max(axis=2)
        low, high = binned.min(), binned.max()
        binned = (binned - low) / (high - low or 1.0)
    return go.Heatmap(
        z=np.round(255 * binned).astype(np.uint8),
        x0=(width - 1) / 2,
        dx=width,
        y0=0,
        dy=1,
        zmin=0,
        zmax=255,
        colorscale=colours.backdrop,
        showscale=False,
        hoverinfo="skip",
    )


def bin_width(d_mlp: int) -> int:
    """Neurons in each bin of the backdrop, a power of two.

    >>> bin_width(1536), bin_width(28672), bin_width(32)
    (64, 256, 1)
    """
    few_bins = 2 ** math.ceil(math.log2(max(d_mlp / 112, 1)))
    coarse = 2 ** math.floor(math.log2(max(d_mlp / 24, 1)))
    return max(few_bins, min(64, coarse))


def add_counts(figure: Figure, selected: pd.DataFrame, n_layers: int, colours: Palette) -> None:
    """Signed bars of each layer, and the count that an even spread would give."""
    unsigned = bool(selected.weight.isna().all())
    even_line = {"color": colours.ink, "width": 1, "dash": "dot"}
    for name, rows, colour, sign in (
        ("truth-associated", selected.weight < 0, colours.negative, -1),
        ("hallucination-associated", ~(selected.weight < 0), colours.positive, 1),
    ):
        counts = np.bincount(selected.layer[rows], minlength=n_layers)
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
            line=even_line,
        )  # fmt: skip
    figure.add_trace(
        go.Scatter(
            x=[None],
            y=[None],
            mode="lines",
            name="an even spread over layers",
            hoverinfo="skip",
            legendrank=3,
            line=even_line,
        )
    )


def set_axes(
    figure: Figure, selected: pd.DataFrame, shape: tuple[int, int], colours: Palette
) -> None:
    """Axes of both panels, and the colour scale of the weights where there are any."""
    n_layers, d_mlp = shape
    signed = selected.weight.notna().any()
    ticks, labels = _count_ticks(selected, n_layers)
    steps = (1, 2, 5, 10, 20, 50, 100)
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
            "dtick": next((step for step in steps if n_layers / step <= 10), steps[-1]),
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
        figure.update_layout(coloraxis=_colour_axis(float(selected.attrs["top"]), colours))


def _colour_axis(limit: float, colours: Palette) -> dict[str, Any]:
    nice = float(f"{limit:.1g}")
    nice = nice if nice <= limit else nice / 2
    half = nice / 2
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
            "tickvals": [-nice, -half, 0, half, nice],
            "ticktext": [f"−{nice:g}", f"−{half:g}", "0", f"+{half:g}", f"+{nice:g}"],
            "tickfont": {"size": 11},
        },
    }


def _count_ticks(selected: pd.DataFrame, n_layers: int) -> tuple[list[int], list[str]]:
    """Ticks on both sides of zero, written without sign."""
    truth = selected.weight < 0
    below = np.bincount(selected.layer[truth], minlength=n_layers).max(initial=0)
    above = np.bincount(selected.layer[~truth], minlength=n_layers).max(initial=0)
    wanted = max(int(below), int(above), 1)
    step = next(s * 10**e for e in range(8) for s in (1, 2, 5) if s * 10**e * 3 >= wanted)
    ticks = [*range(-step * (int(below) // step), 0, step), *range(0, int(above) + 1, step)]
    return ticks, [f"{abs(t):,}" for t in ticks]
