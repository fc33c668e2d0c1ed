"""What does a change of behaviour cost? Each edit by what it moves and what it breaks.

To read it: higher moves more, further right breaks more. What lies on the dashed line no other edit
beats; a claim worth having puts its own marks there, above those of its controls.
It misleads when the cost is read off one capability: an edit may leave perplexity and break
reasoning. Points of random sets show what moves and breaks with no claim at all.
"""

import math
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from hlens.counting import count
from hlens.drawing.figure import Figure, escape, finish
from hlens.drawing.table import check_columns, check_one_study, uncapitalized
from hlens.drawing.theme import Palette, palette
from hlens.types import SetKind

COLUMNS = ("set", "kind", "alpha", "behaviour_change", "cost_change", "dominated")
# Kind -> colour, symbol and size; drawn in this order, the claim last and so on top.
LOOKS = {
    SetKind.NORM_MATCHED: ("ink", "x", 8),
    SetKind.TRUTH: ("negative", "diamond", 10),
    SetKind.SELECTED: ("second", "triangle-up", 10),
    SetKind.MATCHED: ("second", "square", 7),
    SetKind.RANDOM: ("control", "square", 7),
    SetKind.TARGET: ("positive", "circle", 11),
}


def draw(
    table: pd.DataFrame,
    *,
    behaviour: str = "behaviour",
    cost: str = "cost",
    theme: str = "light",
) -> Figure:
    """Draw one point an edit; the line joins those that no other dominates.

    Args:
        table: Columns ``set, kind, alpha, behaviour_change, cost_change, dominated``, as
            `hlens.effects.pareto` returns them.
        behaviour: What moves, in words; its changes are shares.
        cost: What it costs, in words.
        theme: ``"light"`` or ``"dark"``.

    Raises:
        HlensError: A column is missing, there is no row, or one stands twice.
    """
    check_columns(table, COLUMNS, figure="pareto", source="effects.pareto")
    check_one_study(table, ("set", "alpha"), figure="pareto")
    colours = palette(theme)
    figure = Figure()
    front = table.loc[~table.dominated.astype(bool)].sort_values("cost_change")
    figure.add_trace(
        go.Scatter(
            x=front.cost_change,
            y=front.behaviour_change.abs(),
            mode="lines",
            line={"color": colours.muted, "width": 1.4, "shape": "hv", "dash": "dash"},
            name="no other edit moves more for less",
            hoverinfo="skip",
        )
    )
    for kind in LOOKS:
        rows = table.loc[table.kind == kind]
        if len(rows):
            figure.add_trace(_points(rows, kind, colours))
    figure.update_layout(
        xaxis={
            "title": {"text": f"change of {escape(uncapitalized(cost))}"},
            "zeroline": True,
            "zerolinecolor": colours.neutral,
        },
        yaxis={
            "title": {"text": f"change of {escape(uncapitalized(behaviour))}, either way"},
            "tickformat": ".0%",
            "range": [-0.01, 1.12 * float(table.behaviour_change.abs().max()) + 0.01],
        },
        legend={"y": 1.02},
    )
    return finish(
        figure,
        colours,
        title=_title(table, front),
        subtitle=f"{count(len(table), 'edit')}, each against the unmodified model · numbers at "
        "marks: α",
        height=420,
        margin={"t": 70, "b": 56, "l": 70, "r": 28},
    )


def example() -> dict[str, Any]:
    """Made data for the gallery and the laws: a claim that moves more at every cost."""
    rows = []
    for alpha in (0.0, 0.5, 2.0, 3.0):
        far = abs(alpha - 1)
        rows.append(("H-neurons", SetKind.TARGET, alpha, 0.11 * (alpha - 1), 0.4 * far**2))
        for seed in range(8):
            move = 0.016 * far * math.sin(5 * seed + alpha)
            cost = 0.1 * far**2 * (1.6 + 0.6 * math.cos(3 * seed))
            rows.append((f"random {seed}", SetKind.RANDOM, alpha, move, cost))
    beaten = [any(abs(b[3]) > abs(a[3]) and b[4] <= a[4] for b in rows) for a in rows]
    table = pd.DataFrame(rows, columns=list(COLUMNS[:-1])).assign(dominated=beaten)
    return {
        "table": table,
        "behaviour": "Acceptance of false premises",
        "cost": "Perplexity on plain text",
    }


def _points(rows: pd.DataFrame, kind: SetKind, colours: Palette) -> go.Scatter:
    colour, symbol, size = LOOKS[kind]
    directions = ["up" if change > 0 else "down" for change in rows.behaviour_change]
    return go.Scatter(
        x=rows.cost_change,
        y=rows.behaviour_change.abs(),
        mode="markers+text" if kind is SetKind.TARGET else "markers",
        text=_labels(rows),
        textposition="top center",
        textfont={"size": 11.5, "color": colours.ink},
        name=escape(str(rows["set"].iloc[0]) if kind is SetKind.TARGET else kind.label),
        marker={"color": getattr(colours, colour), "symbol": symbol, "size": size},
        customdata=list(zip(map(escape, rows["set"]), rows.alpha, directions, strict=True)),
        hovertemplate="<b>%{customdata[0]}</b>, α = %{customdata[1]:g}<br>behaviour "
        "%{customdata[2]} %{y:.1%}, cost %{x:+.3g}<extra></extra>",
    )


def _labels(rows: pd.DataFrame) -> list[str]:
    """The dose of each mark; marks at one position share the label of the first."""
    points = list(zip(rows.cost_change.round(9), rows.behaviour_change.abs().round(9), strict=True))
    doses: dict[tuple[float, float], list[str]] = {}
    for point, alpha in zip(points, rows.alpha, strict=True):
        doses.setdefault(point, []).append(f"{alpha:g}")
    return [", ".join(doses.pop(point, [])) for point in points]


def _title(table: pd.DataFrame, front: pd.DataFrame) -> str:
    own, claim = int((front.kind == SetKind.TARGET).sum()), table.loc[table.kind == SetKind.TARGET]
    name, doses = str(claim["set"].iloc[0]), len(claim)
    if not own:
        return (
            f"None of the {count(doses, 'dose')} of {name} moves more for less than a control does"
        )
    verb = "moves" if own == 1 else "move"
    return f"{own} of {count(doses, 'dose')} of {name} {verb} more for the cost than any control"
