"""Which layers move a behaviour? Slopes of the neurons of one layer, and of all layers up to it.

To read it: squares are edits of one layer alone, the line is edits of all layers from the first
up to that one; it ends at all of them. The grey band is what random sets of that size do.
It misleads where the line is taken for a sum of the squares: layers act on one another. A square
within the grey band is no proof that its layer does nothing, since it holds only a few of the
neurons.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from hlens.behaviours import label_of
from hlens.claims.slopes import layers_that_move
from hlens.counting import count
from hlens.drawing.curves import add_curve, panels
from hlens.drawing.figure import Figure, escape, finish
from hlens.drawing.table import check_columns, check_one_study, distinct, n_range, uncapitalized
from hlens.drawing.theme import Palette, palette, see_through
from hlens.types import SetKind

COLUMNS = ("behaviour", "grader", "unit", "set", "kind", "layer", "slope", "low", "high", "n")


def draw(
    table: pd.DataFrame, *, labels: Mapping[str, str] | None = None, theme: str = "light"
) -> Figure:
    """Draw one panel a grader of one behaviour.

    Args:
        table: The rows of one behaviour of `hlens.effects.layer_slopes`.
        labels: Labels of behaviours of your own, or in the place of what hlens calls its own.
        theme: ``"light"`` or ``"dark"``.

    Raises:
        HlensError: A column is missing, there is no row, or one stands twice.
    """
    check_columns(table, COLUMNS, figure="by_layer", source="effects.layer_slopes")
    check_one_study(table, ("grader", "set", "kind"), figure="by_layer")
    colours, figure = palette(theme), Figure()
    name = distinct(table.behaviour)[0]
    outcome = label_of(name, labels)
    graders = distinct(table.grader)
    titles = [f"by {escape(grader)}" if grader else escape(outcome) for grader in graders]
    places = panels(figure, titles, x_title="layer", gap=0.1, colour=colours.ink)
    layers = sorted({int(layer) for layer in table["layer"] if layer >= 0})
    for grader, panel in zip(graders, places, strict=True):
        rows = table.loc[table["grader"] == grader]
        _add_panel(figure, rows, layers, panel, colours)
    figure.update_layout(legend={"y": 1.1})
    return finish(
        figure,
        colours,
        title=_title(table.loc[table["grader"] == graders[0]], outcome),
        subtitle=f"{n_range(table.n, 'question')}{_titled(graders)} · intervals 95 %, "
        "corrected for all parts",
        height=390,
        margin={"t": 58, "b": 56, "l": 62, "r": 28},
    )


def example() -> dict[str, Any]:
    """Made data for the gallery and the laws: no layer alone, and together from one on."""
    rows: list[dict[str, Any]] = []
    for grader, size in (("rules", 1.0), ("likelihood", 0.5)):
        share = {"behaviour": "false_premises", "grader": grader, "n": 200, "n_random": 8}
        share["unit"] = "share" if grader == "rules" else "degree"
        names = [("H-neurons", SetKind.TARGET, -1, 0.062)]
        names += [("truth neurons", SetKind.TRUTH, -1, -0.018)]
        for place, layer in enumerate((3, 7, 9, 12, 14, 18, 21, 26)):
            names.append((f"layer {layer}", SetKind.LAYER, layer, 0.008 + 0.006 * np.sin(layer)))
            if layer < 26:
                up_to = 0.061 / (1 + np.exp(3 - place))
                names.append((f"layers to {layer}", SetKind.UP_TO_LAYER, layer, up_to))
        spread = np.linspace(-0.016, 0.014, 8)
        names += [(f"random {i}", SetKind.RANDOM, -1, s) for i, s in enumerate(spread)]
        for name, kind, layer, slope in names:
            slope = float(slope) * size
            low, high = slope - 0.022 * size, slope + 0.022 * size
            row = {"set": name, "kind": kind, "layer": layer, "slope": slope}
            row |= {"low": low, "high": high, "over_random": slope, "over_low": low}
            row["over_high"] = high
            rows.append(share | row | {"rank": int((np.abs(spread) * size >= abs(slope)).sum())})
    labels = {"false_premises": "Acceptance of false premises"}
    return {"table": pd.DataFrame(rows), "labels": labels}


def _titled(graders: list[str]) -> str:
    """Whose slopes the title is about, where there are several graders."""
    return f" · title: by {graders[0]}" if len(graders) > 1 else ""


def _add_panel(
    figure: Figure, rows: pd.DataFrame, layers: list[int], panel: str, colours: Palette
) -> None:
    share = bool((rows["unit"] == "share").all())
    form = ".1%" if share else ".3f"
    kinds = dict(iter(rows.groupby("kind", sort=False)))
    random = kinds.get(SetKind.RANDOM)
    ends = (layers[0] - 0.6, layers[-1] + 0.6) if layers else (-0.5, 0.5)
    axes = {"xaxis": f"x{panel}", "yaxis": f"y{panel}", "showlegend": not panel}
    if random is not None:
        low, high = random["slope"].min(), random["slope"].max()
        band = go.Scatter(
            x=[*ends, *ends[::-1]], y=[low, low, high, high], fill="toself", mode="lines",
            line={"width": 0}, fillcolor=see_through(colours.control, 0.25), hoverinfo="skip",
            name=count(len(random), "random set"), legendgroup="random", **axes,
        )  # fmt: skip
        figure.add_trace(band)
    if SetKind.TRUTH in kinds:
        truth = kinds[SetKind.TRUTH].iloc[0]
        figure.add_trace(_level(truth, ends, colours.negative, form, axes))
    whole = kinds[SetKind.TARGET].assign(layer=layers[-1] if layers else 0)
    line = pd.concat([kinds[SetKind.UP_TO_LAYER], whole]) if SetKind.UP_TO_LAYER in kinds else whole
    add_curve(
        figure, line, x="layer", y="slope", name=f"{escape(whole['set'].iloc[0])}, layers up to it",
        colour=colours.positive, panel=panel, form=form, unit="layers to ",
    )  # fmt: skip
    if SetKind.LAYER in kinds:
        figure.add_trace(_points(kinds[SetKind.LAYER], colours, form, axes))
    zero = {"zeroline": True, "zerolinecolor": colours.muted, "zerolinewidth": 1.2, "nticks": 7}
    title = {} if panel else {"title": {"text": "slope per unit of α"}}
    y_axis = {**zero, **title, "tickformat": ".0%" if share else ""}
    x_axis = {"range": list(ends), "tickvals": _ticks(layers)}
    figure.update_layout({f"yaxis{panel}": y_axis, f"xaxis{panel}": x_axis})


def _points(rows: pd.DataFrame, colours: Palette, form: str, axes: dict[str, Any]) -> go.Scatter:
    """One mark with its interval for each layer alone."""
    return go.Scatter(
        x=rows["layer"], y=rows["slope"], mode="markers", name="one layer alone",
        legendgroup="alone",
        error_y={"array": rows["high"] - rows["slope"], "arrayminus": rows["slope"] - rows["low"],
                 "color": colours.second, "thickness": 1.4, "width": 3},
        marker={"symbol": "square", "size": 8, "color": colours.second},
        customdata=list(zip(rows["low"], rows["high"], strict=True)),
        hovertemplate=f"<b>layer %{{x}} alone</b><br><b>%{{y:{form}}}</b> "
        f"[%{{customdata[0]:{form}}}, %{{customdata[1]:{form}}}]<extra></extra>",
        **axes,
    )  # fmt: skip


def _level(
    row: Any, ends: tuple[float, float], colour: str, form: str, axes: dict[str, Any]
) -> go.Scatter:
    """A set of all layers as a dotted line across."""
    name = escape(str(row["set"]))
    return go.Scatter(
        x=list(ends), y=[row["slope"]] * 2, mode="lines", name=f"{name}, all layers",
        legendgroup="truth", line={"color": colour, "width": 2, "dash": "dot"},
        hovertemplate=f"<b>{name}</b>: <b>%{{y:{form}}}</b><extra></extra>", **axes,
    )  # fmt: skip


def _ticks(layers: list[int]) -> list[int]:
    """The layers that hold neurons, without those that would touch."""
    kept = layers[:1]
    for layer in layers[1:]:
        if layer - kept[-1] >= (layers[-1] - layers[0]) / 12:
            kept.append(layer)
    return kept


def _title(rows: pd.DataFrame, outcome: str) -> str:
    """Which single layers move it, and up to which they first do together, to one grader."""
    what, kinds = uncapitalized(outcome), list(rows["kind"])
    up_to = [row["layer"] for row in layers_that_move(rows, SetKind.UP_TO_LAYER)]
    found = len(layers_that_move(rows, SetKind.LAYER))
    n, several = kinds.count(SetKind.LAYER), kinds.count(SetKind.UP_TO_LAYER)
    if not n:
        first = (
            f"first up to layer {up_to[0]}" if up_to else f"up to none of {count(several, 'layer')}"
        )
        return f"Edited together from the first on, layers move {what} {first}"
    alone = f"No single layer of {n} is seen to move {what}"
    if found:
        alone = f"{found} of {count(n, 'layer')} {'moves' if found == 1 else 'move'} {what} alone"
    if several:
        return f"{alone}; {f'up to {up_to[0]} they do' if up_to else 'several together do not'}"
    whole = layers_that_move(rows, SetKind.TARGET)
    return f"{alone}; all together {'do' if whole else 'do not'}"
