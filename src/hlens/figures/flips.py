"""Which replies turn under an edit? Flips both ways at each dose, beside those of random sets.

To read it: bars up are replies that turned to the behaviour, bars down those that turned away; the
grey marks beside them are what random neurons of the same layers turn.
It misleads when only the net rate is read: an edit that turns as many replies one way as the other
changes much and moves nothing. With few replies a bar or two lies beyond the grey by chance.
"""

from collections.abc import Mapping
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from hlens.figures._cells import check_columns, in_order
from hlens.figures._figure import Figure, count, escape, finish
from hlens.figures._lines import panel_title
from hlens.figures._theme import Palette, palette
from hlens.types import SetKind

COLUMNS = ("behaviour", "set", "kind", "alpha", "to_hit", "to_miss", "n")
WAYS = (
    ("to_hit", 1, "toward the behaviour", "triangle-up"),
    ("to_miss", -1, "away from it", "triangle-down"),
)
GAP = 0.07


def draw(
    table: pd.DataFrame, *, labels: Mapping[str, str] | None = None, theme: str = "light"
) -> Figure:
    """Draw one panel a behaviour: bars up and down for the claim, marks with ranges for chance.

    Args:
        table: Columns ``behaviour, set, kind, alpha, to_hit, to_miss, n`` and perhaps
            ``p_corrected``, as `hlens.effects.flips` returns them.
        labels: Words for the behaviours.
        theme: ``"light"`` or ``"dark"``.

    Raises:
        HlensError: A column is missing, or there is no row.
    """
    check_columns(table, COLUMNS, "flips", "effects.flips")
    colours = palette(theme)
    names = in_order(table.behaviour)
    alphas = sorted(set(table.alpha))
    width = (1 - GAP * (len(names) - 1)) / len(names)
    figure = Figure()
    for index, name in enumerate(names):
        left = index * (width + GAP)
        number = str(index + 1) if index else ""
        rows = table.loc[table.behaviour == name]
        _add_bars(figure, rows, alphas, number, colours)
        _add_chance(figure, rows, alphas, number, colours)
        most = float(rows[["to_hit", "to_miss"]].to_numpy().max())
        _lay_out(figure, alphas, number, (left, left + width), most, colours)
        panel_title(figure, escape((labels or {}).get(name, name)), left, colours.ink)
    figure.update_layout(barmode="relative", bargap=0.42, legend={"y": 1.1})
    return finish(
        figure,
        colours,
        title=_title(table),
        subtitle=_subtitle(table),
        height=380,
        margin={"t": 58, "b": 56, "l": 56, "r": 28},
    )


def example() -> dict[str, Any]:
    """Made data for the gallery and the laws: a claim beyond chance at the strongest dose."""
    rows = []
    for alpha, up, down in ((0.0, 2, 9), (0.5, 1, 3), (2.0, 5, 1), (3.0, 11, 2)):
        rows.append(("false_premises", "H-neurons", SetKind.TARGET, alpha, up, down, 60, 0.04))
        for seed in range(8):
            up, down = 1 + (seed + int(alpha)) % 3, seed % 4
            name, kind = f"random {seed}", SetKind.RANDOM
            rows.append(("false_premises", name, kind, alpha, up, down, 60, 1.0))
    return {
        "table": pd.DataFrame(rows, columns=[*COLUMNS, "p_corrected"]),
        "labels": {"false_premises": "Acceptance of false premises"},
    }


def _add_bars(
    figure: Figure, rows: pd.DataFrame, alphas: list[float], number: str, colours: Palette
) -> None:
    own = rows.loc[rows.kind == SetKind.TARGET]
    for (column, sign, words, _), colour in zip(
        WAYS, (colours.positive, colours.negative), strict=True
    ):
        figure.add_trace(
            go.Bar(
                x=[alphas.index(alpha) for alpha in own.alpha],
                y=sign * own[column],
                name=f"{escape(_claim(rows))}: {words}",
                legendgroup=column,
                showlegend=not number,
                marker={"color": colour, "line": {"width": 0}},
                text=[f"{n}" if n else "" for n in own[column]],
                textposition="outside",
                textfont={"size": 11.5, "color": colours.ink},
                cliponaxis=False,
                hovertext=[_hover(row, column, words) for row in own.to_dict("records")],
                hovertemplate="%{hovertext}<extra></extra>",
                xaxis=f"x{number}",
                yaxis=f"y{number}",
            )
        )


def _add_chance(
    figure: Figure, rows: pd.DataFrame, alphas: list[float], number: str, colours: Palette
) -> None:
    """Mean of the random sets at each dose, with the lowest and highest of them."""
    random: Any = rows.loc[rows.kind == SetKind.RANDOM]
    if random.empty:
        return
    n_sets = random["set"].nunique()
    for column, sign, _, symbol in WAYS:
        at = random.groupby("alpha")[column].agg(["mean", "min", "max"])
        up, down = at["max"] - at["mean"], at["mean"] - at["min"]
        figure.add_trace(
            go.Scatter(
                x=[alphas.index(float(alpha)) + 0.36 for alpha in at.index],
                y=sign * at["mean"],
                error_y={
                    "array": up if sign > 0 else down,
                    "arrayminus": down if sign > 0 else up,
                    "color": colours.control,
                    "thickness": 1.6,
                    "width": 3,
                },
                mode="markers",
                marker={"symbol": symbol, "size": 8, "color": colours.control},
                name=f"{n_sets} random sets: mean and range",
                legendgroup="chance",
                showlegend=not number and sign > 0,
                hovertext=[
                    f"random sets, α = {a:g}: {m:.1f} [{lo:.0f} to {hi:.0f}]"
                    for a, (m, lo, hi) in zip(at.index, at.to_numpy(), strict=True)
                ],
                hovertemplate="%{hovertext}<extra></extra>",
                xaxis=f"x{number}",
                yaxis=f"y{number}",
            )
        )


def _lay_out(
    figure: Figure,
    alphas: list[float],
    number: str,
    domain: tuple[float, float],
    most: float,
    colours: Palette,
) -> None:
    figure.update_layout(
        {
            f"xaxis{number}": {
                "domain": domain,
                "anchor": f"y{number}",
                "tickvals": list(range(len(alphas))),
                "ticktext": [f"{alpha:g}" for alpha in alphas],
                "range": [-0.6, len(alphas) - 0.3],
                "title": {"text": "activation multiplier α"},
                "showgrid": False,
            },
            f"yaxis{number}": {
                "anchor": f"x{number}",
                "title": {"text": "" if number else "replies that turned"},
                "zeroline": True,
                "zerolinewidth": 1.2,
                "zerolinecolor": colours.muted,
                "range": [-1.3 * most - 1, 1.3 * most + 1],
                "nticks": 7,
            },
        }
    )


def _hover(row: dict[str, Any], column: str, words: str) -> str:
    p = row.get("p_corrected")
    told = "" if p is None else f"<br>both ways: corrected p = {p:.3g}"
    return f"<b>α = {row['alpha']:g}: {row[column]} of {row['n']}</b> {words}{told}"


def _claim(rows: pd.DataFrame) -> str:
    return str(rows.loc[rows.kind == SetKind.TARGET, "set"].iloc[0])


def _title(table: pd.DataFrame) -> str:
    """At how many doses the net flips lie beyond every random set, and at how many by chance."""
    net = table.assign(net=table.to_hit - table.to_miss)
    own, random = net.loc[net.kind == SetKind.TARGET], net.loc[net.kind == SetKind.RANDOM]
    if random.empty:
        return f"{_claim(table)} turn replies at {count(len(own), 'dose')}; no random set was run"
    spread = random.groupby(["behaviour", "alpha"]).net.agg(["min", "max", "size"])
    beyond, chance = 0, 0.0
    for row in own.itertuples():
        low, high, sets = spread.loc[(row.behaviour, row.alpha)]
        beyond += not low <= row.net <= high
        chance += 2 / (sets + 1)  # one of sets + 1 alike is the lowest or the highest
    return (
        f"Net flips of {_claim(table)} lie beyond every random set at {beyond} of {len(own)} doses "
        f"(chance: {chance:.1f})"
    )


def _subtitle(table: pd.DataFrame) -> str:
    low, high = int(table.n.min()), int(table.n.max())
    n = f"n = {high:,}" if low == high else f"n = {low:,} to {high:,}"
    return f"{n} replies scored with and without the edit · up: turned to the behaviour"
