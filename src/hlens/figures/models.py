"""Models side by side: what their H-neurons read, beside random neurons and the model's output.

Question: do H-neurons read in each of these models, and more than comes for free?
To read it: a row is a model. The circle is the detector with its 95 % interval, squares are as many
random neurons, diamonds the numbers of the model's own output; the open circle is both together.
It misleads when models are ranked by it: each answers in its own way and is wrong about other
questions, so that the circles of two rows are read on different answers.
"""

from collections.abc import Mapping
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from hlens.drawing.figure import Figure, escape, finish
from hlens.drawing.forest import chance_line, hover_interval, intervals
from hlens.drawing.table import (
    check_columns,
    check_one_study,
    count_models,
    distinct,
    n_range,
    value_range,
)
from hlens.drawing.theme import Palette, palette

COLUMNS = ("model", "auroc", "low", "high", "n", "random", "random_low", "random_high")
ROW = 64  # pixels
# Column, name, symbol, and where in its row a mark stands.
MARKS = (
    ("auroc", "H-neurons", "circle", 0.24),
    ("random", "as many random neurons", "square", 0.08),
    ("output", "the model's output", "diamond", -0.08),
    ("both", "H-neurons and output", "circle-open", -0.24),
)


def draw(table: pd.DataFrame, *, theme: str = "light") -> Figure:
    """Draw a row a model.

    Args:
        table: Columns ``model, auroc, low, high, n, random, random_low, random_high`` and perhaps
            ``output`` and ``both`` with their ends, as `Comparison.models` of `hlens.comparison`.
        theme: ``"light"`` or ``"dark"``.

    Raises:
        HlensError: A column is missing, there is no row, or a model stands twice.
    """
    check_columns(table, COLUMNS, figure="models", source="comparison.compare")
    check_one_study(table, ("model",), figure="models")
    colours, figure = palette(theme), Figure()
    names = distinct(table.model)
    for column, label, symbol, shift in MARKS:
        if column in table and bool(table[column].notna().any()):
            rows = table.loc[table[column].notna()]
            shown = _trace(rows, names, column, label, symbol, shift, colours)
            figure.add_trace(shown)
    chance_line(figure, colours)
    marked = [name for column, *_ in MARKS for name in (column, f"{column}_low")]
    ends = table[[name for name in ("low", *marked) if name in table]]
    low = min(0.45, float(ends.min().min()) - 0.02)
    figure.update_layout(
        xaxis={"range": [max(0.0, low), 1.0], "dtick": 0.1, "title": {"text": "AUROC"}},
        yaxis={
            "tickvals": list(range(len(names)))[::-1],
            "ticktext": list(map(escape, names)),
            "tickfont": {"size": 13, "color": colours.ink},
            "range": [-0.6, len(names) - 0.4],
            "showgrid": False,
        },
        legend={"y": 1.02, "yanchor": "bottom"},
    )
    return finish(
        figure,
        colours,
        title=_title(table),
        subtitle=f"{n_range(table.n, 'held-out answer')} a model · bars: 95 %, of random neurons "
        "the "
        "draws' spread",
        height=110 + ROW * len(names),
        margin={"t": 40, "b": 56, "l": 150, "r": 24},
    )


def example() -> dict[str, Any]:
    """Made data for the gallery and the laws: three models, of which one reads no more."""
    rows = [
        ("small", 0.82, 0.66, 0.79, 0.85), ("medium", 0.85, 0.69, 0.82, 0.88),
        ("large", 0.71, 0.64, 0.84, 0.84),
    ]  # fmt: skip
    table = pd.DataFrame(rows, columns=["model", "auroc", "random", "output", "both"])
    for column, low in (
        ("auroc", ""),
        ("random", "random_"),
        ("output", "output_"),
        ("both", "both_"),
    ):
        table[f"{low}low"], table[f"{low}high"] = table[column] - 0.05, table[column] + 0.04
    return {"table": table.assign(n=[206, 240, 190])}


def _trace(
    rows: pd.DataFrame,
    names: list[str],
    column: str,
    label: str,
    symbol: str,
    shift: float,
    colours: Palette,
) -> go.Scatter:
    prefix = "" if column == "auroc" else f"{column}_"
    ends: Mapping[str, str] = {f"{prefix}low": "low", f"{prefix}high": "high"}
    own: Any = pd.DataFrame(rows[["model", "n", column, *ends]])
    own = own.rename(columns=ends)
    claim = column in ("auroc", "both")
    colour = {"output": colours.negative}.get(
        column, colours.positive if claim else colours.control
    )
    return go.Scatter(
        x=own[column],
        y=[len(names) - 1 - names.index(name) + shift for name in own["model"]],
        error_x=intervals(own, column, colour=colour, thickness=2),
        mode="markers",
        marker={"size": 10, "color": colour, "symbol": symbol, "line": {"width": 2}},
        name=label,
        text=list(map(escape, own["model"])),
        customdata=own[["low", "high", "n"]],
        hovertemplate=f"<b>%{{text}}</b>, {label}<br>AUROC {hover_interval('x')}<br>"
        "n = %{customdata[2]:,d}<extra></extra>",
    )


def _title(table: pd.DataFrame) -> str:
    """The range over the models: whether a control explains them, each model's audit says."""
    own, random = value_range(table["auroc"]), value_range(table["random"])
    return f"AUROC in {count_models(table)}: H-neurons {own}, random ones {random}"
