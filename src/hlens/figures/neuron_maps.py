"""Where the neurons of several models are: a small map a model, all on one scale.

Question: are H-neurons in the same depth of these models, and as rare?
To read it: height is depth, from the first layer to the last, so that models of other numbers of
layers stand side by side; circles point to hallucination, diamonds to truth. The bars are neurons
in a thousand of each tenth of the depth, on one scale for all.
It misleads when marks at one place of two maps are taken for one neuron: the horizontal order means
nothing, and neurons of two models have no number in common.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import torch

from hlens.counting import count
from hlens.drawing.figure import Figure, add_note, escape, finish
from hlens.drawing.table import count_models, value_range
from hlens.drawing.theme import Palette, palette, see_through
from hlens.errors import HlensError
from hlens.types import Detector, NeuronSet, Provenance

COLUMNS_OF_MAPS = 3
PANEL = 250  # height in pixels
TENTHS = 10
MOST_MARKS = 1_000


def draw(
    detectors: Mapping[str, Detector | NeuronSet] | Sequence[Detector | NeuronSet],
    *,
    theme: str = "light",
) -> Figure:
    """Draw a map a model.

    Args:
        detectors: The detector, or any set of neurons, of each model by its name; or several, which
            are named by their models, and sets by their own names.
        theme: ``"light"`` or ``"dark"``.

    Raises:
        HlensError: There is no model.
    """
    if not detectors:
        raise HlensError("neuron_maps has no models to draw; give a detector of each, by name")
    if not isinstance(detectors, Mapping):
        detectors = _by_name(detectors)
    colours, figure = palette(theme), Figure()
    sets = {
        name: one if isinstance(one, NeuronSet) else one.selected for name, one in detectors.items()
    }
    tables = {name: _table(own) for name, own in sets.items()}
    per_mille = {name: _per_mille(own, tables[name]) for name, own in sets.items()}
    weights = [own.model or name for name, own in sets.items()]
    models = count_models(pd.DataFrame({"model": list(sets), "weights": weights}))
    top = max(1e-9, *(float(values.max()) for values in per_mille.values()))
    n_columns = min(COLUMNS_OF_MAPS, len(sets))
    n_rows = -(-len(sets) // n_columns)
    named: set[str] = set()  # in the legend
    for index, (name, own) in enumerate(sets.items()):
        place = _Place(index, n_columns, n_rows)
        named |= _add_map(figure, tables[name], place, colours, named=named)
        _add_bars(figure, per_mille[name], place, top, colours)
        title = (
            f"<b>{escape(name)}</b><br>{count(len(own), 'neuron')} · {count(own.n_layers, 'layer')}"
        )
        add_note(
            figure, title, x=place.left, y=place.top, xref="paper", yref="paper", xanchor="left",
            yanchor="bottom", yshift=8, colour=colours.ink, size=13,
        )  # fmt: skip
    figure.update_layout(legend={"y": 1 + 52 / (PANEL * n_rows), "yanchor": "bottom"})
    return finish(
        figure,
        colours,
        title=_title(sets, tables, models),
        subtitle=f"n = {models} · marks: by weight within each · bars: per "
        f"mille of each tenth, to {top:.2g} ‰",
        height=PANEL * n_rows + 70,
        margin={"t": 94, "b": 30, "l": 56, "r": 24},
    )


def example() -> dict[str, Any]:
    """Made data for the gallery and the laws: three models of other sizes."""
    seed, detectors = torch.Generator().manual_seed(0), {}
    for name, n_layers, d_mlp, n, middle in (
        ("small", 12, 800, 40, 0.5), ("medium", 24, 1600, 60, 0.65), ("large", 32, 3200, 25, 0.7),
    ):  # fmt: skip
        weights = torch.zeros(n_layers, d_mlp)
        depth = middle + 0.18 * torch.randn(n, generator=seed)
        layers = (depth * n_layers).long().clamp(0, n_layers - 1)
        neurons = torch.randint(d_mlp, (n,), generator=seed)
        weights[layers, neurons] = torch.randn(n, generator=seed)
        detectors[name] = Detector(weights, 0.0, provenance=Provenance(model=name))
    return {"detectors": detectors}


def _by_name(detectors: Sequence[Detector | NeuronSet]) -> dict[str, Detector | NeuronSet]:
    """Each by its own name; what has none, or one that was there before, gets a number."""
    named: dict[str, Detector | NeuronSet] = {}
    for number, one in enumerate(detectors, 1):
        name = one.name if isinstance(one, NeuronSet) else one.provenance.model
        named[f"{name} {number}".strip() if name in ("", *named) else name] = one
    return named


class _Place:
    """Where a panel is, in shares of the figure, and the names of its axes."""

    def __init__(self, index: int, n_columns: int, n_rows: int) -> None:
        row, column = divmod(index, n_columns)
        width, height = 1 / n_columns, 1 / n_rows
        self.left, self.top = column * width, 1 - row * height
        self.right = self.left + width - (0.05 if column < n_columns - 1 else 0.0)
        self.bottom = self.top - height + (0.28 * height if n_rows > 1 else 0.0)
        self.middle = self.left + 0.74 * (self.right - self.left)
        self.map, self.bars = str(2 * index + 1) if index else "", str(2 * index + 2)


def _table(neurons: NeuronSet) -> pd.DataFrame:
    """Depth, place and weight of each neuron; depth is the middle of its layer, 0 to 1."""
    weights, widths = neurons.weights or {}, neurons.widths
    largest = max((abs(weight) for weight in weights.values()), default=1.0) or 1.0
    rows = [
        (layer, neuron, weights.get((layer, neuron), 0.0), (layer + 0.5) / neurons.n_layers,
         (neuron + 0.5) / widths[layer])
        for layer, neuron in neurons
    ]  # fmt: skip
    table = pd.DataFrame(rows, columns=["layer", "neuron", "weight", "depth", "x"], dtype=float)
    return table.assign(size=table["weight"].abs() / largest)


def _per_mille(neurons: NeuronSet, table: pd.DataFrame) -> np.ndarray:
    """Neurons of the set in a thousand of those in each tenth of the depth."""
    depths = (np.arange(neurons.n_layers) + 0.5) / neurons.n_layers
    edges = np.linspace(0, 1, TENTHS + 1)
    there = np.histogram(depths, edges, weights=neurons.widths)[0]
    own = np.histogram(table["depth"], edges)[0]
    return 1000 * np.divide(own, there, out=np.zeros(TENTHS), where=there > 0)


def _add_map(
    figure: Figure, table: pd.DataFrame, place: _Place, colours: Palette, *, named: set[str]
) -> set[str]:
    """Draw the neurons of a model; gives the names of its kinds, each once in the legend."""
    drawn = table.nlargest(MOST_MARKS, "size").sort_values("size")
    signed = bool((table["weight"] != 0).any())
    kinds = (
        (drawn["weight"] > 0, "points to hallucination", "circle", colours.positive),
        (drawn["weight"] < 0, "points to truth", "diamond", colours.negative),
    )
    unsigned = ((drawn["weight"] == drawn["weight"], "neurons", "circle", colours.control),)
    shown: set[str] = set()
    for chosen, name, symbol, colour in kinds if signed else unsigned:
        rows = drawn.loc[chosen]
        if rows.empty:
            continue
        shown.add(name)
        figure.add_trace(
            go.Scatter(
                x=rows["x"],
                y=rows["depth"],
                mode="markers",
                cliponaxis=False,
                name=name,
                legendgroup=name,
                showlegend=name not in named,
                marker={
                    "size": 5 + 8 * rows["size"],
                    "symbol": symbol,
                    "color": see_through(colour, 0.75),
                    "line": {"width": 0.6, "color": colours.page},
                },
                customdata=rows[["layer", "neuron", "weight"]],
                hovertemplate="L%{customdata[0]:d}N%{customdata[1]:d}, weight %{customdata[2]:.3f}"
                "<extra></extra>",
                xaxis=f"x{place.map}",
                yaxis=f"y{place.map}",
            )
        )
    figure.add_shape(
        type="rect", x0=0, x1=1, y0=0, y1=1, xref=f"x{place.map}", yref=f"y{place.map}",
        fillcolor=colours.faint, line={"width": 0}, layer="below",
    )  # fmt: skip
    ticks = {"tickvals": [0, 0.5, 1], "ticktext": ["first layer", "middle", "last"]}
    figure.update_layout(
        {
            f"xaxis{place.map}": {
                "domain": [place.left, place.middle], "anchor": f"y{place.map}", "range": [0, 1],
                "showticklabels": False, "showgrid": False,
            },
            f"yaxis{place.map}": {
                "domain": [max(0.0, place.bottom), place.top], "anchor": f"x{place.map}",
                "range": [0, 1], "showgrid": False,
                **(ticks if place.left == 0 else {"showticklabels": False}),
            },
        }
    )  # fmt: skip
    return shown


def _add_bars(
    figure: Figure, values: np.ndarray, place: _Place, top: float, colours: Palette
) -> None:
    figure.add_trace(
        go.Bar(
            x=values,
            y=(np.arange(TENTHS) + 0.5) / TENTHS,
            orientation="h",
            width=0.8 / TENTHS,
            marker={"color": colours.neutral},
            showlegend=False,
            hovertemplate="%{x:.2f} ‰ of the neurons of this tenth<extra></extra>",
            xaxis=f"x{place.bars}",
            yaxis=f"y{place.bars}",
        )
    )
    figure.update_layout(
        {
            f"xaxis{place.bars}": {
                "domain": [place.middle + 0.01, place.right], "anchor": f"y{place.bars}",
                "range": [0, 1.05 * top], "showgrid": False, "showticklabels": False,
            },
            f"yaxis{place.bars}": {
                "domain": [max(0.0, place.bottom), place.top], "anchor": f"x{place.bars}",
                "range": [0, 1], "showticklabels": False, "showgrid": False,
            },
        }
    )  # fmt: skip


def _title(sets: Mapping[str, NeuronSet], tables: Mapping[str, pd.DataFrame], models: str) -> str:
    per_mille = pd.Series([1000 * own.fraction for own in sets.values()])
    depths = pd.Series([table["depth"].median() for table in tables.values() if len(table)])
    title = f"{value_range(per_mille, '.2f')} ‰ of the neurons in {models}"
    if depths.empty:
        return f"{title}: none was selected"
    return f"{title}, at a median depth of {value_range(depths)}"
