"""Do edits move larger models less? The slope of each behaviour over the dose, by model size.

Question: how steep is the dose-response of the H-neurons beyond random neurons, in each model?
To read it: a point is a model, from the smallest to the largest; above the line, amplifying its
H-neurons does more of the behaviour than amplifying random ones. Hollow points are those that no
more than a random set moves, or whose interval holds zero.
It misleads when a trend is read off few models, which differ in more than size.
"""

from collections.abc import Mapping
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from hlens.behaviours import label_of
from hlens.claims.slopes import SlopeVerdict, judge_slope
from hlens.counting import count
from hlens.drawing.curves import panels
from hlens.drawing.figure import Figure, escape, finish
from hlens.drawing.table import (
    check_columns,
    check_one_study,
    count_models,
    distinct,
    n_range,
    uncapitalized,
)
from hlens.drawing.theme import palette
from hlens.errors import HlensError
from hlens.types import SetKind

COLUMNS = (
    "model", "neurons_of_model", "behaviour", "grader", "kind", "slope", "low", "high", "n",
    "over_random", "over_low", "over_high",
)  # fmt: skip


def draw(
    table: pd.DataFrame, *, labels: Mapping[str, str] | None = None, theme: str = "light"
) -> Figure:
    """Draw one panel a grader of one behaviour.

    Args:
        table: The rows of one behaviour of `Comparison.slopes` of `hlens.comparison`: those of
            `hlens.effects.slopes` with the columns ``model`` and ``neurons_of_model``.
        labels: Labels of behaviours of your own, or in the place of what hlens calls its own.
        theme: ``"light"`` or ``"dark"``.

    Raises:
        HlensError: A column is missing, there is no row of H-neurons, one stands twice, or there
            are rows of several behaviours.
    """
    check_columns(table, COLUMNS, figure="slopes_by_size", source="comparison.compare")
    own = table.loc[(table["kind"] == SetKind.TARGET) & table["over_random"].notna()]
    check_columns(own, COLUMNS, figure="slopes_by_size", source="comparison.compare")
    check_one_study(own, ("model", "grader"), figure="slopes_by_size")
    if len(behaviours := distinct(own.behaviour)) > 1:
        raise HlensError(
            f"slopes_by_size: rows of {', '.join(behaviours)}; draw each behaviour by itself"
        )
    colours, figure = palette(theme), Figure()
    name = distinct(own.behaviour)[0]
    outcome = label_of(name, labels)
    sizes = own.drop_duplicates("model").sort_values("neurons_of_model")
    order = list(sizes["model"])
    graders = distinct(own.grader)
    titles = [f"by {escape(grader)}" if grader else escape(outcome) for grader in graders]
    for grader, panel in zip(
        graders, panels(figure, titles, x_title="", gap=0.12, colour=colours.ink), strict=True
    ):
        rows = own.loc[own["grader"] == grader]
        beyond = [judge_slope(row) is SlopeVerdict.BEYOND for row in rows.to_dict("records")]
        figure.add_trace(
            go.Scatter(
                x=[order.index(model) for model in rows["model"]],
                y=rows["over_random"],
                mode="markers",
                error_y={
                    "array": rows["over_high"] - rows["over_random"],
                    "arrayminus": rows["over_random"] - rows["over_low"],
                    "color": colours.positive, "thickness": 2, "width": 0,
                },
                marker={
                    "size": 11, "color": colours.positive,
                    "symbol": ["circle" if one else "circle-open" for one in beyond],
                },
                text=list(map(escape, rows["model"])),
                customdata=rows[["over_low", "over_high", "n"]],
                hovertemplate="<b>%{text}</b><br>%{y:.3f} [%{customdata[0]:.3f}, "
                "%{customdata[1]:.3f}] beyond random<br>n = %{customdata[2]:,d}<extra></extra>",
                showlegend=False,
                xaxis=f"x{panel}",
                yaxis=f"y{panel}",
            )
        )  # fmt: skip
        named = [
            f"{escape(model)}<br>{count(neurons, 'neuron')}"
            for model, neurons in zip(order, sizes["neurons_of_model"], strict=True)
        ]
        share = bool((rows["unit"] == "share").all()) if "unit" in rows else False
        figure.update_layout(
            {
                f"xaxis{panel}": {
                    "tickvals": list(range(len(order))), "ticktext": named,
                    "range": [-0.5, len(order) - 0.5],
                },
                f"yaxis{panel}": {
                    "zeroline": True, "zerolinecolor": colours.muted, "zerolinewidth": 1.2,
                    "tickformat": ".0%" if share else "",
                    **({} if panel else {"title": {"text": "slope per unit of α, beyond random"}}),
                },
            }
        )  # fmt: skip
    return finish(
        figure,
        colours,
        title=_title(own.loc[own["grader"] == graders[0]], outcome),
        subtitle=f"{n_range(own.n, 'question')} · 95 %, slope less that of random sets"
        f"{f' · title: by {graders[0]}' if len(graders) > 1 else ''}",
        height=360,
        margin={"t": 50, "b": 64, "l": 66, "r": 28},
    )


def example() -> dict[str, Any]:
    """Made data for the gallery and the laws: three models, of which the smallest is moved."""
    rows = []
    for grader, unit in (("rules", "share"), ("likelihood", "degree")):
        for model, size, slope in (
            ("small", 9_600, 0.05),
            ("medium", 38_400, 0.01),
            ("large", 102_400, 0.004),
        ):
            rows.append(
                {"model": model, "neurons_of_model": size, "behaviour": "false_premises",
                 "grader": grader, "unit": unit, "kind": SetKind.TARGET, "slope": slope,
                 "low": slope - 0.02, "high": slope + 0.02, "n": 200, "over_random": slope,
                 "over_low": slope - 0.02, "over_high": slope + 0.02,
                 "rank": 0 if slope > 0.02 else 3, "n_random": 8}
            )  # fmt: skip
    labels = {"false_premises": "Acceptance of false premises"}
    return {"table": pd.DataFrame(rows), "labels": labels}


def _title(rows: pd.DataFrame, outcome: str) -> str:
    """In how many models an edit moves the outcome beyond random sets, to one grader."""
    moved = [
        row["model"] for row in rows.to_dict("records") if judge_slope(row) is SlopeVerdict.BEYOND
    ]
    n = len(rows)
    what = uncapitalized(outcome)
    named = f" ({', '.join(moved)})" if 0 < len(moved) < n else ""
    return f"Edits move {what} in {len(moved) or 'none'} of {count_models(rows)}{named}"
