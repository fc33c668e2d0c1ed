"""The marks of the map, over a backdrop of binned scores."""

import math
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from torch import Tensor

from hlens.figures._figure import Figure, escape
from hlens.figures._theme import Palette
from hlens.figures.neuron_map._selected import most_of


def add_marks(
    figure: Figure,
    drawn: pd.DataFrame,
    facts: dict[str, np.ndarray],
    domains: list[list[str]],
    n_domains: int,
    row: float,
    colours: Palette,
) -> None:
    """A trace for each kind of neuron, and the legend.

    Args:
        figure: The figure.
        drawn: The neurons, weakest first, so that strong marks lie on top.
        facts: What hovering tells: the line with its format, and the number of each mark.
        domains: The domains of each mark.
        n_domains: Number of domains compared.
        row: Height of a layer in pixels.
        colours: The palette.
    """
    outlined = np.array([len(names) >= most_of(n_domains) for names in domains], dtype=bool)
    held = [", ".join(map(escape, names)) or "none of the domains" for names in domains]
    text = np.array(held, dtype=object)
    smallest, largest = max(5.0, min(8.0, row * 0.6)), max(8.0, min(17.0, row * 1.15))
    sizes = smallest + (largest - smallest) * np.sqrt(drawn["size"].to_numpy())
    numbers = np.stack([*facts.values()], axis=1).astype(np.float32) if facts else None
    for kind, symbol, colour, rows in _kinds(drawn, colours):
        if not rows.any():
            continue
        weight = drawn.weight.to_numpy()[rows]
        look = {"color": colour} if np.isnan(weight).all() else _ramp(weight)
        bigger = 1.12 if symbol == "diamond" else 1.0  # a diamond of one width looks smaller
        named = n_domains > 0
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
                    "line": _edges(outlined[rows], colours),
                    **look,
                },
                customdata=None if numbers is None else numbers[rows],
                text=text[rows] if named else None,
                hovertemplate=_hover(kind, list(facts), named),
            )
        )
        _add_key(figure, kind, symbol, colour, colours)
    if outlined.any():
        name = f"shared by ≥ {most_of(n_domains)} of {n_domains} domains"
        _add_key(figure, name, "circle", colours.page, colours, outline=True)


def _edges(outlined: np.ndarray, colours: Palette) -> dict[str, Any]:
    return {
        "color": np.where(outlined, colours.ink, colours.page).tolist(),
        "width": np.where(outlined, 2, 0.7).tolist(),
    }


def _ramp(weight: np.ndarray) -> dict[str, Any]:
    return {"color": weight.astype(np.float32), "coloraxis": "coloraxis"}


def _kinds(drawn: pd.DataFrame, colours: Palette) -> list[tuple[str, str, str, np.ndarray]]:
    weight = drawn.weight.to_numpy()
    return [
        ("truth-associated", "diamond", colours.negative, weight < 0),
        ("hallucination-associated", "circle", colours.positive, weight > 0),
        ("selected", "circle", colours.control, np.isnan(weight)),
    ]


def _add_key(
    figure: Figure,
    name: str,
    symbol: str,
    colour: str,
    colours: Palette,
    outline: bool = False,
) -> None:
    """An entry of the legend at one size and colour, since the marks have many."""
    line = {"color": colours.ink, "width": 2} if outline else {"width": 0}
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


def _hover(kind: str, lines: list[str], with_domains: bool) -> str:
    parts = [f"<b>L%{{y}}N%{{x:d}}</b>  {kind}"]
    for index, line in enumerate(lines):
        before, rest = line.split("{", 1)
        form, after = rest.split("}", 1)
        parts.append(f"{before}%{{customdata[{index}]{form}}}{after}")
    if with_domains:
        parts.append("in: %{text}")
    return "<br>".join(parts) + "<extra></extra>"


def backdrop(
    marks: pd.DataFrame, auroc: Tensor | None, shape: tuple[int, int], colours: Palette
) -> go.Heatmap:
    """Largest score of each bin of neurons, as bytes: a full heatmap would be megabytes."""
    n_layers, d_mlp = shape
    width = bin_width(d_mlp)
    n_bins = math.ceil(d_mlp / width)
    binned = np.zeros((n_layers, n_bins))
    if auroc is None:
        np.maximum.at(binned, (marks.layer, marks.neuron // width), marks["size"])
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
