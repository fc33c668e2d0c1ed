"""Does a detector hold on a sibling of its model? At home, as is, realigned and found afresh.

To read it: left, the same held-out answers under each reading; the band is the interval at home.
Right, each selected neuron: how far its mean has shifted, and whether it still rises and falls with
its counterpart at home. A shift can be realigned; what lies low follows something else.
It misleads when two intervals that overlap are read as a tie: the readings are of the same answers,
and the paired differences of the comparison are narrower.
"""

from typing import Any

import pandas as pd
import plotly.graph_objects as go

from hlens.counting import count
from hlens.drawing.figure import Figure, escape, finish
from hlens.drawing.forest import add_forest, add_value, interval_band
from hlens.drawing.table import check_columns, check_one_study
from hlens.drawing.theme import Palette, palette
from hlens.types.labels import SiblingReading

COLUMNS = ("detector", "auroc", "low", "high", "n")
OF_DRIFT = ("layer", "neuron", "weight", "home_sd", "shift", "spread_ratio", "correlation")
LEFT, RIGHT = (0.0, 0.5), (0.62, 1.0)
SOURCE = "siblings.compare_siblings"
LEAST, MOST = 6, 18  # pixels of a neuron's mark


def draw(table: pd.DataFrame, drift: pd.DataFrame | None = None, *, theme: str = "light") -> Figure:
    """Draw a comparison with a sibling.

    Args:
        table: Columns ``detector, auroc, low, high, n``: the ``scores`` of a
            `hlens.siblings.SiblingComparison`.
        drift: Its ``drift``; without it the left panel stands alone.
        theme: ``"light"`` or ``"dark"``.

    Raises:
        HlensError: A column is missing, there is no row, or one stands twice.
    """
    check_columns(table, COLUMNS, figure="sibling", source=SOURCE)
    check_one_study(table, ("detector",), figure="sibling")
    colours, figure = palette(theme), Figure()
    alone = drift is None
    home = table["detector"] == SiblingReading.HOME
    names = [escape(name) for name in table["detector"]]
    add_forest(
        figure, table, names=names, claim=home.to_numpy(), colours=colours,
        domain=(0.0, 1.0) if alone else LEFT, right=1.06,
        title="AUROC (dashed: chance; band: at home)",
    )  # fmt: skip
    for name, row in zip(names, table.to_dict("records"), strict=True):
        add_value(
            figure, x=row["high"], y=name, value=row["auroc"],
            claim=row["detector"] == SiblingReading.HOME, size=12.5, colours=colours,
        )  # fmt: skip
    for row in table.loc[home].to_dict("records"):
        interval_band(figure, row, colours)
    if drift is not None:
        check_columns(drift, OF_DRIFT, figure="sibling", source=SOURCE)
        check_one_study(drift, ("layer", "neuron"), figure="sibling")
        _add_drift(figure, drift, colours)
    return finish(
        figure,
        colours,
        title=_title(table),
        subtitle=_subtitle(table, drift),
        height=230 if alone else 380,
        margin={"t": 34, "b": 56, "l": 96, "r": 24},
        narrowest=560,
    )


def example() -> dict[str, Any]:
    """Made data for the gallery and the laws: tuning shifted the neurons, and one was lost."""
    rows = [
        (SiblingReading.HOME, 0.84, 0.79, 0.88, 420),
        (SiblingReading.AS_IS, 0.71, 0.65, 0.77, 420),
        (SiblingReading.REALIGNED, 0.81, 0.75, 0.86, 420),
        (SiblingReading.REFITTED, 0.83, 0.78, 0.87, 420),
    ]
    neurons = [
        (3, 41, 1.8, 0.4, 0.3, 1.1, 0.97), (8, 7, -1.2, 0.5, -0.6, 0.9, 0.94),
        (8, 112, 2.4, 0.3, 1.4, 1.6, 0.91), (12, 60, 0.9, 0.6, 0.8, 1.3, 0.96),
        (12, 230, -0.7, 0.9, 0.1, 1.0, 0.98), (17, 5, 1.5, 0.5, 2.1, 2.0, 0.88),
        (21, 99, -2.0, 0.4, -1.1, 0.7, 0.93), (24, 14, 1.1, 0.7, 1.7, 1.2, 0.41),
    ]  # fmt: skip
    drift = pd.DataFrame(neurons, columns=list(OF_DRIFT)).assign(layer_correlation=0.9)
    return {"table": pd.DataFrame(rows, columns=list(COLUMNS)), "drift": drift}


def _add_drift(figure: Figure, drift: pd.DataFrame, colours: Palette) -> None:
    known: Any = drift.loc[drift["correlation"].notna() & drift["shift"].notna()]
    # What a neuron moves the score by when it moves as it usually does: its part in the reading.
    part = (known["weight"] * known["home_sd"]).abs()
    size = LEAST + (MOST - LEAST) * part / (part.max() or 1.0)
    for is_positive, name, colour, symbol in (
        (True, "to hallucination", colours.positive, "triangle-up"),
        (False, "to truth", colours.negative, "triangle-down"),
    ):
        own = (known["weight"] > 0) == is_positive
        if own.any():
            marker = {
                "size": size[own], "color": colour, "symbol": symbol,
                "line": {"color": colours.page, "width": 1},
            }  # fmt: skip
            figure.add_trace(_neurons(known.loc[own], name=name, marker=marker))
    # Wide enough that a neuron which hardly moved is seen to be where it was.
    bottom = min([0.9, *(known["correlation"] - 0.06)])
    left, right = (end([0.0, *known["shift"]]) for end in (min, max))
    figure.update_layout(
        xaxis2={
            "domain": list(RIGHT),
            "anchor": "y2",
            "range": [min(-0.5, 1.1 * left), max(0.5, 1.1 * right)],
            "title": {"text": "shift of its mean (standard deviations at home)"},
        },
        yaxis2={
            "anchor": "x2",
            "range": [bottom, 1 + 0.04 * (1 - bottom)],
            "title": {"text": "correlation with itself at home"},
        },
        legend={"x": 1, "xanchor": "right", "y": 1},
    )  # fmt: skip
    figure.add_vline(
        x=0, xref="x2", yref="y2", line={"color": colours.ink, "width": 1, "dash": "dash"}
    )
    if "layer_correlation" in known and known["layer_correlation"].notna().any():
        figure.add_trace(_other_neurons(known, colours))


def _neurons(rows: pd.DataFrame, *, name: str, marker: dict[str, Any]) -> go.Scatter:
    return go.Scatter(
        x=rows["shift"],
        y=rows["correlation"],
        mode="markers",
        name=name,
        marker=marker,
        customdata=rows[["layer", "neuron", "weight", "spread_ratio"]],
        hovertemplate="<b>layer %{customdata[0]}, neuron %{customdata[1]}</b><br>"
        "weight %{customdata[2]:.3g}<br>mean shifted by %{x:.2f} sd<br>"
        "spread %{customdata[3]:.2f} times that at home<br>correlation %{y:.3f}<extra></extra>",
        xaxis="x2",
        yaxis="y2",
    )


def _other_neurons(known: pd.DataFrame, colours: Palette) -> go.Scatter:
    """The control of the correlations: the median of all other neurons of these layers."""
    level = known["layer_correlation"].median()
    return go.Scatter(
        x=[min(-0.5, known["shift"].min()), max(0.5, known["shift"].max())],
        y=[level, level],
        mode="lines",
        name="others of these layers, median",
        line={"color": colours.control, "width": 1.6, "dash": "dot"},
        hovertemplate="%{y:.3f}<extra>other neurons of these layers, median</extra>",
        xaxis="x2",
        yaxis="y2",
    )


def _title(table: pd.DataFrame) -> str:
    """Numbers alone: whether anything is lost, the paired differences say."""
    aurocs = dict(zip(table["detector"], table["auroc"], strict=True))
    home = aurocs.pop(SiblingReading.HOME, None)
    there = ", ".join(f"{auroc:.2f} {name}" for name, auroc in aurocs.items())
    if home is None:
        return f"AUROC on the sibling: {there}"
    return f"AUROC {home:.2f} at home; on the sibling {there}" if there else f"AUROC {home:.2f}"


def _subtitle(table: pd.DataFrame, drift: pd.DataFrame | None) -> str:
    parts = [f"{count(max(table['n']), 'held-out answer')} of the home model", "95 % intervals"]
    if drift is not None:
        silent = len(drift) - len(drift["correlation"].dropna())
        neurons = count(len(drift), "neuron")
        parts.append(f"{neurons}, {silent} not varying" if silent else neurons)
    return " · ".join(parts)
