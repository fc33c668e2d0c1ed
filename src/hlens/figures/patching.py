"""Where do the neurons carry the difference? The share restored by patching, layer by token.

To read it: each cell is one patch of the corrupted run with the clean run's activations; warm cells
bring back what the clean prompt called for. Rings mark what no random set of the layer does.
It misleads on a pair that the model hardly tells apart: the share is of next to nothing then. And a
layer whose neurons restore nothing alone may still take part with others.
"""

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from hlens.figures._cells import check_columns
from hlens.figures._figure import Figure, escape, finish
from hlens.figures._html import visible
from hlens.figures._theme import Palette, palette

COLUMNS = ("layer", "pos", "effect")
LEAST = 0.05  # a scale finer than this would paint rounding


def draw(table: pd.DataFrame, *, theme: str = "light") -> Figure:
    """Draw one pair's map.

    Args:
        table: Columns ``layer, pos, effect`` and perhaps ``token, random_low, random_high,
            n_random``, as `hlens.effects.patching_map` returns them. Cells beyond every random set
            of their layer and token are ringed.
        theme: ``"light"`` or ``"dark"``.

    Raises:
        HlensError: A column is missing, or there is no row.
    """
    check_columns(table, COLUMNS, "patching", "effects.patching_map")
    colours = palette(theme)
    layers, places = sorted(set(table.layer)), sorted(set(table.pos))
    words = _words(table, places)
    grid = _grid(table, "effect", layers, places)
    limit = max(LEAST, float(np.nanmax(np.abs(grid))))
    figure = Figure()
    figure.add_trace(
        go.Heatmap(
            z=grid,
            x=list(range(len(places))),
            y=list(range(len(layers))),
            zmin=-limit,
            zmax=limit,
            colorscale=_diverging(colours),
            xgap=1,
            ygap=1,
            customdata=_hover(table, layers, places, words),
            hovertemplate="%{customdata}<extra></extra>",
            colorbar={
                "title": {"text": "share restored", "side": "top", "font": {"size": 12}},
                "tickformat": ".0%",
                "tickfont": {"size": 11, "color": colours.muted},
                "thickness": 10,
                "outlinewidth": 0,
                "len": 0.9,
            },
        )
    )
    _ring(figure, table, layers, places, colours)
    figure.update_layout(
        xaxis={
            "tickvals": list(range(len(places))),
            "ticktext": [escape(word) for word in words],
            "tickangle": -50,
            "showgrid": False,
            "title": {"text": "token of the corrupted prompt that is patched"},
        },
        yaxis={
            "tickvals": list(range(len(layers))),
            "ticktext": [str(layer) for layer in layers],
            "showgrid": False,
            "title": {"text": "layer"},
        },
        showlegend=True,
        legend={"y": 1.01},
    )
    return finish(
        figure,
        colours,
        title=_title(table, words, places),
        subtitle=_subtitle(table, len(layers)),
        height=130 + 17 * max(len(layers), 8),
        margin={"t": 34, "b": 96, "l": 56, "r": 28},
    )


def example() -> dict[str, Any]:
    """Made data for the gallery and the laws: one layer at the entity, and its echo at the end."""
    rows = []
    words = ["Question", ":", " Does", " the", " planet", " Mars", " exist", "?", " Answer", ":"]
    for layer in (3, 8, 12, 17, 21):
        for pos, word in enumerate(words):
            effect = 0.34 * (layer == 8 and pos == 5) + 0.22 * (layer == 17 and pos == 9)
            effect += 0.02 * np.sin(layer + 2.0 * pos)
            rows.append((layer, pos, word, effect, -0.025, 0.025, 4))
    columns = ["layer", "pos", "token", "effect", "random_low", "random_high", "n_random"]
    return {"table": pd.DataFrame(rows, columns=columns)}


def _grid(table: pd.DataFrame, column: str, layers: list[int], places: list[int]) -> np.ndarray:
    grid = np.full((len(layers), len(places)), np.nan)
    for row in table.to_dict("records"):
        grid[layers.index(row["layer"]), places.index(row["pos"])] = row[column]
    return grid


def _words(table: pd.DataFrame, places: list[int]) -> list[str]:
    known = dict(zip(table.pos, table.token, strict=True)) if "token" in table else {}
    return [visible(str(known.get(at, at))).replace("\n", "").strip() or "␣" for at in places]


def _beyond(table: pd.DataFrame) -> Any:
    """Cells outside the range of their random sets."""
    if "random_low" not in table or not table.random_low.notna().any():
        return table.iloc[:0]
    return table.loc[(table.effect > table.random_high) | (table.effect < table.random_low)]


def _ring(
    figure: Figure,
    table: pd.DataFrame,
    layers: list[int],
    places: list[int],
    colours: Palette,
) -> None:
    rows = _beyond(table)
    rows = rows.loc[rows.effect.abs() >= LEAST]
    figure.add_trace(
        go.Scatter(
            x=[places.index(at) for at in rows.pos],
            y=[layers.index(layer) for layer in rows.layer],
            mode="markers",
            marker={
                "symbol": "circle-open",
                "size": 9,
                "color": colours.ink,
                "line": {"width": 1.6},
            },
            name=f"beyond every random set, and {LEAST:.0%} or more",
            hoverinfo="skip",
        )
    )


def _hover(
    table: pd.DataFrame, layers: list[int], places: list[int], words: list[str]
) -> list[list[str]]:
    told = [["" for _ in places] for _ in layers]
    for row in table.to_dict("records"):
        at = places.index(row["pos"])
        text = f"layer {row['layer']}, token {row['pos']} “{escape(words[at])}”"
        text += f"<br><b>{row['effect']:+.1%}</b> restored"
        if row.get("n_random"):
            text += f"<br>random sets: {row['random_low']:+.1%} to {row['random_high']:+.1%}"
        told[layers.index(row["layer"])][at] = text
    return told


def _diverging(colours: Palette) -> list[tuple[float, str]]:
    return [(0.0, colours.negative), (0.5, colours.faint), (1.0, colours.positive)]


def _title(table: pd.DataFrame, words: list[str], places: list[int]) -> str:
    best = table.loc[table.effect.abs().idxmax()]
    if abs(best.effect) < LEAST:
        return f"No layer's neurons restore {LEAST:.0%} of the difference at any token"
    word = words[places.index(int(best.pos))]
    way = "restore" if best.effect > 0 else "take away"
    start = f"Layer {best.layer}'s neurons {way} most at “{word[:16]}”: {abs(best.effect):.0%}"
    beyond = _beyond(table.loc[[best.name]])
    if "n_random" not in table or not int(table.n_random.max()):
        return f"{start}; no random set was patched"
    return f"{start}, {'beyond' if len(beyond) else 'within'} {int(best.n_random)} random sets"


def _subtitle(table: pd.DataFrame, n_layers: int) -> str:
    pair = f"pair {table['pair'].iloc[0]} · " if "pair" in table else ""
    return (
        f"{pair}{len(table)} patches, {n_layers} layers with members · 100 %: as on the clean "
        "prompt, 0: as on the corrupted"
    )
