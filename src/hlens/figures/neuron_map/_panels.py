"""The two panels of the map: marks over a backdrop of binned scores, and counts beside them."""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from torch import Tensor

from hlens.counting import count
from hlens.drawing.figure import Figure, escape
from hlens.drawing.theme import Palette
from hlens.figures.neuron_map.places import ExpertPlaces, Places

MOST_NUMBERS = 24  # of experts whose neurons are counted in the picture
SPACE = "\xa0" * 4


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
    # Of a dense model an address is the mark's place; thousands of texts would be for nothing.
    addresses = drawn.address.to_numpy() if "address" in drawn else None
    addressed = "L%{y}N%{x:d}" if addresses is None else "%{hovertext}"
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
                x=drawn.x.to_numpy()[rows],
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
                hovertext=None if addresses is None else addresses[rows],
                hovertemplate=_hover(kind, list(facts), addressed, with_domains=n_domains > 0),
            )
        )
        _add_key(figure, kind, symbol=symbol, colour=colour)
    if outlined.any():
        name = f"shared by ≥ {enough} of {count(n_domains, 'domain')}"
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


def _hover(kind: str, lines: list[str], address: str, *, with_domains: bool) -> str:
    # A line names its number as {:format}; plotly wants it as %{customdata[index]:format}.
    numbers = [line.replace("{", f"%{{customdata[{i}]") for i, line in enumerate(lines)]
    parts = [f"<b>{address}</b>  {kind}", *numbers, *["in: %{text}"] * with_domains]
    return "<br>".join(parts) + "<extra></extra>"


def backdrop(
    selected: pd.DataFrame,
    auroc: Tensor | None,
    places: Places,
    *,
    widths: list[int],
    colours: Palette,
) -> go.Heatmap:
    """Largest score of each bin of neurons, as bytes: a full heatmap would be megabytes."""
    binned = np.zeros((len(widths), places.n_bins), dtype=np.float32)
    there = np.stack([places.there(layer) for layer in range(len(widths))])
    if auroc is None:
        layer = selected.layer.to_numpy()
        columns = places.bins(layer, selected.neuron.to_numpy())
        np.maximum.at(binned, (layer, columns), selected["size"])
        binned *= 0.5
    else:
        score = np.nan_to_num(np.abs(auroc.float().cpu().numpy() - 0.5))
        for layer, (own, width) in enumerate(zip(score, widths, strict=True)):
            columns = places.bins(layer, np.arange(width))  # ascending, as the axis is
            starts = np.flatnonzero(np.diff(columns, prepend=-1))
            binned[layer, columns[starts]] = np.maximum.reduceat(own[:width], starts)
        low, high = binned[there].min(), binned[there].max()
        binned = (binned - low) / (high - low or 1.0)
    shades = np.round(255 * binned.clip(0))
    scale = colours.backdrop
    if not there.all():
        # Bytes have no NaN: 0 is kept for bins where a layer has no neuron.
        shades = np.where(there, shades.clip(1), 0)
        scale = ((0.0, colours.page), (1 / 512, colours.page), (1 / 512, scale[0][1]), *scale[1:])
    return go.Heatmap(
        z=shades.astype(np.uint8),
        x0=places.first_bin,
        dx=places.bin_width,
        y0=0,
        dy=1,
        zmin=0,
        zmax=255,
        colorscale=scale,
        showscale=False,
        hoverinfo="skip",
    )


def add_lines(figure: Figure, places: ExpertPlaces, colours: Palette) -> None:
    """Lines between the experts, and leaders through layers without any to their strip."""
    n, top = places.n_experts, len(places.experts) - 0.5
    between = [(edge, y) for edge in places.lines for y in (-0.5, top, None)]
    leaders = [(x, layer) for layer in places.dense_layers for x in (0, places.strip[0], None)]
    for points, line in (
        (between, {"color": colours.page, "width": 1 if n > 16 else 2}),
        (leaders, {"color": colours.neutral, "width": 1, "dash": "dot"}),
    ):
        if points:
            x, y = zip(*points, strict=True)
            figure.add_trace(
                go.Scatter(x=x, y=y, mode="lines", line=line, hoverinfo="skip", showlegend=False)
            )


def add_numbers(
    figure: Figure, places: ExpertPlaces, fewest: Iterable[tuple[int, int, int]], colours: Palette
) -> None:
    """How many neurons the densest experts hold, since their marks lie on one another."""
    several = [one for one in fewest if one[2] > 2][:MOST_NUMBERS]
    if not several:
        return
    room = 0.06 * places.strip[1]  # about as wide as a mark and a number
    middles = [(layer, places.middle(layer, expert)) for layer, expert, _ in several]
    texts, sides = [], []
    for (layer, x), (_, _, n) in zip(middles, several, strict=True):
        followed = any(layer == own and x < other < x + room for own, other in middles)
        on_left = followed or x + room > places.strip[1]
        # No-break spaces keep the number off the mark.
        texts.append(f"×{n}{SPACE}" if on_left else f"{SPACE}×{n}")
        sides.append("middle left" if on_left else "middle right")
    figure.add_trace(
        go.Scatter(
            x=[x for _, x in middles],
            y=[layer for layer, _ in middles],
            mode="text",
            text=texts,
            textposition=sides,
            textfont={"size": 11, "color": colours.ink},
            cliponaxis=False,
            hoverinfo="skip",
            showlegend=False,
        )
    )


def add_counts(figure: Figure, selected: pd.DataFrame, widths: list[int], colours: Palette) -> None:
    """Signed bars of each layer, and the count that an even spread would give."""
    n_layers = len(widths)
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
        _add_even_line(figure, sign * int(counts.sum()), widths, even_line)
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


def _add_even_line(figure: Figure, total: int, widths: list[int], line: dict[str, Any]) -> None:
    """The count that each layer would have of an even spread: in steps where widths differ."""
    if min(widths) == max(widths):
        even = total / len(widths)
        figure.add_shape(
            type="line", xref="x2", yref="paper", x0=even, x1=even, y0=0, y1=1, line=line
        )
        return
    even = np.repeat(total * np.array(widths) / sum(widths), 2)
    edges = np.repeat(np.arange(len(widths) + 1) - 0.5, 2)[1:-1]
    figure.add_trace(
        go.Scatter(
            x=even, y=edges, xaxis="x2", mode="lines", line=line, hoverinfo="skip", showlegend=False
        )
    )


def set_axes(
    figure: Figure, selected: pd.DataFrame, places: Places, n_layers: int, colours: Palette
) -> None:
    """Axes of both panels, and the colour scale of the weights where there are any."""
    signed = selected.weight.notna().any()
    ticks, labels = _count_ticks(selected, n_layers)
    steps = (1, 2, 5, 10, 20, 50, 100)
    figure.update_layout(
        barmode="overlay",
        bargap=0.25,
        xaxis={
            "domain": [0, 0.765],
            **places.axis(),
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
        figure.update_layout(
            coloraxis=_colour_axis(float(selected.attrs["top"]), n_layers, colours)
        )


def _colour_axis(limit: float, n_layers: int, colours: Palette) -> dict[str, Any]:
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
            "len": 0.46 if n_layers > 20 else 0.8,  # of the height, which few layers make low
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
