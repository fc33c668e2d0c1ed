"""Where do the neurons carry the difference? The share restored by patching, layer by token.

To read it: each cell is one patch of the corrupted run with the clean run's activations; warm cells
bring back what the clean prompt called for. Rings mark what no random set of the layer does.
It misleads on a pair whose two prompts the model answers almost alike: the share is then a share of
next to nothing. A layer whose neurons restore nothing alone may still take part with others.
"""

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from hlens.counting import count
from hlens.drawing.figure import Figure, escape, finish
from hlens.drawing.html import visible
from hlens.drawing.table import check_columns, check_one_study
from hlens.drawing.theme import palette

COLUMNS = ("layer", "pos", "effect")
LEAST = 0.05  # a finer scale would show rounding errors as effects


def draw(table: pd.DataFrame, *, theme: str = "light") -> Figure:
    """Draw one pair's map.

    Args:
        table: Columns ``layer, pos, effect`` and perhaps ``token, random_low, random_high,
            n_random``, as `hlens.effects.patching_map` returns them. Cells beyond every random set
            of their layer and token are ringed.
        theme: ``"light"`` or ``"dark"``.

    Raises:
        HlensError: A column is missing, there is no row, or one stands twice.
    """
    check_columns(table, COLUMNS, figure="patching", source="effects.patching_map")
    check_one_study(table, ("layer", "pos"), figure="patching")
    colours = palette(theme)
    layers, positions = sorted(set(table.layer)), sorted(set(table.pos))
    tokens = _tokens(table, positions)
    effect, hover = _grids(table, layers, positions, tokens)
    limit = max(LEAST, float(np.nanmax(np.abs(effect))))
    figure = Figure()
    figure.add_trace(
        go.Heatmap(
            z=effect,
            x=list(range(len(positions))),
            y=list(range(len(layers))),
            zmin=-limit,
            zmax=limit,
            colorscale=[(0.0, colours.negative), (0.5, colours.faint), (1.0, colours.positive)],
            xgap=1,
            ygap=1,
            customdata=hover,
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
    ring = {"symbol": "circle-open", "size": 9, "color": colours.ink, "line": {"width": 1.6}}
    rings = _beyond(table.loc[table.effect.abs() >= LEAST])
    figure.add_trace(
        go.Scatter(
            x=[positions.index(pos) for pos in rings.pos],
            y=[layers.index(layer) for layer in rings.layer],
            mode="markers",
            marker=ring,
            name=f"beyond every random set, and {LEAST:.0%} or more",
            hoverinfo="skip",
        )
    )
    figure.update_layout(
        xaxis={
            "tickvals": list(range(len(positions))),
            "ticktext": [escape(token) for token in tokens],
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
    pair = f"pair {table['pair'].iloc[0]} · " if "pair" in table else ""
    return finish(
        figure,
        colours,
        title=_title(table, tokens, positions),
        subtitle=f"{pair}{count(len(table), 'patch', 'patches')}, {count(len(layers), 'layer')} "
        "with members · 100 %: as on "
        "the clean prompt, 0: as on the corrupted",
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


def _grids(
    table: pd.DataFrame, layers: list[int], positions: list[int], tokens: list[str]
) -> tuple[np.ndarray, list[list[str]]]:
    """The effect of each cell, layer by position, and what hovering shows there."""
    effect = np.full((len(layers), len(positions)), np.nan)
    hover = [["" for _ in positions] for _ in layers]
    for row in table.to_dict("records"):
        i, j = layers.index(row["layer"]), positions.index(row["pos"])
        effect[i, j] = row["effect"]
        text = f"layer {row['layer']}, token {row['pos']} “{escape(tokens[j])}”"
        text += f"<br><b>{row['effect']:+.1%}</b> restored"
        if row.get("n_random"):
            text += f"<br>random sets: {row['random_low']:+.1%} to {row['random_high']:+.1%}"
        hover[i][j] = text
    return effect, hover


def _tokens(table: pd.DataFrame, positions: list[int]) -> list[str]:
    known = dict(zip(table.pos, table.token, strict=True)) if "token" in table else {}
    shown = (visible(str(known.get(pos, pos))).replace("\n", "").strip() for pos in positions)
    return [token or "␣" for token in shown]


def _beyond(table: pd.DataFrame) -> Any:
    """Cells outside the range of their random sets."""
    if "random_low" not in table or not table.random_low.notna().any():
        return table.iloc[:0]
    return table.loc[(table.effect > table.random_high) | (table.effect < table.random_low)]


def _title(table: pd.DataFrame, tokens: list[str], positions: list[int]) -> str:
    best = table.loc[table.effect.abs().idxmax()]
    if abs(best.effect) < LEAST:
        return f"No layer's neurons restore {LEAST:.0%} of the difference at any token"
    token = tokens[positions.index(int(best.pos))]
    way = "restore" if best.effect > 0 else "take away"
    start = f"Layer {best.layer}'s neurons {way} most at “{token[:16]}”: {abs(best.effect):.0%}"
    beyond = _beyond(table.loc[[best.name]])
    if "n_random" not in table or not int(table.n_random.max()):
        return f"{start}; no random set was patched"
    return (
        f"{start}, {'beyond' if len(beyond) else 'within'} "
        f"{count(int(best.n_random), 'random set')}"
    )
