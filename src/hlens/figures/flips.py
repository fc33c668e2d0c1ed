"""Which replies turn under an edit? Flips both ways at each dose, beside those of random sets.

To read it: bars up are replies that turned to the behaviour, bars down those that turned away; the
grey marks beside them are what random neurons of the same layers turn, the diamonds what the
truth-associated neurons do.
It misleads when only the net rate is read: an edit that turns as many replies one way as the other
changes much and moves nothing. With few replies a bar or two lies beyond the grey by chance.
"""

from collections.abc import Mapping
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from hlens.behaviours import label_of
from hlens.counting import count
from hlens.drawing.curves import panels
from hlens.drawing.figure import Figure, escape, finish
from hlens.drawing.table import check_columns, check_one_study, distinct, n_range
from hlens.drawing.theme import Palette, palette
from hlens.types import SetKind

COLUMNS = ("behaviour", "set", "kind", "alpha", "to_hit", "to_miss", "n")
DIRECTIONS = (
    ("to_hit", 1, "toward the behaviour", "triangle-up"),
    ("to_miss", -1, "away from it", "triangle-down"),
)


def draw(
    table: pd.DataFrame, *, labels: Mapping[str, str] | None = None, theme: str = "light"
) -> Figure:
    """Draw one panel a behaviour: bars up and down for the claim, marks with ranges for chance.

    Args:
        table: Columns ``behaviour, set, kind, alpha, to_hit, to_miss, n`` and perhaps
            ``p_corrected``, as `hlens.effects.flips` returns them.
        labels: Labels of behaviours of your own, or in the place of what hlens calls its own.
        theme: ``"light"`` or ``"dark"``.

    Raises:
        HlensError: A column is missing, there is no row, or one stands twice.
    """
    check_columns(table, COLUMNS, figure="flips", source="effects.flips")
    check_one_study(table, ("behaviour", "set", "alpha"), figure="flips")
    colours = palette(theme)
    names = distinct(table.behaviour)
    titles = [escape(label_of(name, labels)) for name in names]
    alphas = sorted(set(table.alpha))
    figure = Figure()
    places = panels(figure, titles, x_title="activation multiplier α", gap=0.07, colour=colours.ink)
    for name, panel in zip(names, places, strict=True):
        rows = table.loc[table.behaviour == name]
        _add_bars(figure, rows, alphas, panel, colours)
        _add_truth(figure, rows, alphas, panel, colours)
        _add_chance(figure, rows, alphas, panel, colours)
        most = float(rows[["to_hit", "to_miss"]].to_numpy().max())
        figure.update_layout(
            {
                f"xaxis{panel}": {
                    "tickvals": list(range(len(alphas))),
                    "ticktext": [f"{alpha:g}" for alpha in alphas],
                    "range": [-0.6, len(alphas) - 0.3],
                },
                f"yaxis{panel}": {
                    "title": {"text": "" if panel else "replies that turned"},
                    "zeroline": True,
                    "zerolinewidth": 1.2,
                    "zerolinecolor": colours.muted,
                    "range": [-1.3 * most - 1, 1.3 * most + 1],
                    "nticks": 7,
                },
            }
        )
    figure.update_layout(barmode="relative", bargap=0.42, legend={"y": 1.1})
    return finish(
        figure,
        colours,
        title=_title(table),
        subtitle=f"{n_range(table.n, 'reply', 'replies')} scored with and without the edit · up: "
        "turned to the "
        "behaviour",
        height=380,
        margin={"t": 58, "b": 56, "l": 56, "r": 28},
    )


def example() -> dict[str, Any]:
    """Made data for the gallery and the laws: a claim beyond chance at the strongest dose."""
    rows = []
    for alpha, up, down in ((0.0, 2, 9), (0.5, 1, 3), (2.0, 5, 1), (3.0, 11, 2)):
        rows.append(("false_premises", "H-neurons", SetKind.TARGET, alpha, up, down, 60, 0.04))
        turned = ("false_premises", "truth neurons", SetKind.TRUTH, alpha)
        rows.append((*turned, down // 2, 1 + up // 2, 60, 0.9))
        for seed in range(8):
            up, down = 1 + (seed + int(alpha)) % 3, seed % 4
            name, kind = f"random {seed}", SetKind.RANDOM
            rows.append(("false_premises", name, kind, alpha, up, down, 60, 1.0))
    return {
        "table": pd.DataFrame(rows, columns=[*COLUMNS, "p_corrected"]),
        "labels": {"false_premises": "Acceptance of false premises"},
    }


def _add_bars(
    figure: Figure, rows: pd.DataFrame, alphas: list[float], panel: str, colours: Palette
) -> None:
    own = rows.loc[rows.kind == SetKind.TARGET]
    shades = (colours.positive, colours.negative)
    for (column, sign, label, _), colour in zip(DIRECTIONS, shades, strict=True):
        figure.add_trace(
            go.Bar(
                x=[alphas.index(alpha) for alpha in own.alpha],
                y=sign * own[column],
                name=f"{escape(_claim(rows))}: {label}",
                legendgroup=column,
                showlegend=not panel,
                marker={
                    "color": colour,
                    "line": {"width": 0},
                    "pattern": {
                        "shape": "/" if sign < 0 else "",  # in grey their colours are the same
                        "fillmode": "overlay",
                        "fgcolor": colours.page,
                        "size": 6,
                    },
                },
                text=[f"{n}" if n else "" for n in own[column]],
                textposition="outside",
                textfont={"size": 11.5, "color": colours.ink},
                cliponaxis=False,
                hovertext=[_hover(row, column, label) for row in own.to_dict("records")],
                hovertemplate="%{hovertext}<extra></extra>",
                xaxis=f"x{panel}",
                yaxis=f"y{panel}",
            )
        )


def _add_chance(
    figure: Figure, rows: pd.DataFrame, alphas: list[float], panel: str, colours: Palette
) -> None:
    """Mean of the random sets at each dose, with the lowest and highest of them."""
    random: Any = rows.loc[rows.kind == SetKind.RANDOM]
    if random.empty:
        return
    n_sets = random["set"].nunique()
    for column, sign, _, symbol in DIRECTIONS:
        doses = random.groupby("alpha")[column].agg(["mean", "min", "max"])
        up, down = doses["max"] - doses["mean"], doses["mean"] - doses["min"]
        up, down = (up, down) if sign > 0 else (down, up)  # bars down grow downward
        figure.add_trace(
            go.Scatter(
                x=[alphas.index(float(alpha)) + 0.36 for alpha in doses.index],
                y=sign * doses["mean"],
                error_y={"array": up, "arrayminus": down, "color": colours.control,
                         "thickness": 1.6, "width": 3},
                mode="markers",
                marker={"symbol": symbol, "size": 8, "color": colours.control},
                name=f"{count(n_sets, 'random set')}: mean and range",
                legendgroup="chance",
                showlegend=not panel and sign > 0,
                hovertext=[
                    f"random sets, α = {a:g}: {m:.1f} [{lo:.0f} to {hi:.0f}]"
                    for a, (m, lo, hi) in zip(doses.index, doses.to_numpy(), strict=True)
                ],
                hovertemplate="%{hovertext}<extra></extra>",
                xaxis=f"x{panel}",
                yaxis=f"y{panel}",
            )
        )  # fmt: skip


def _add_truth(
    figure: Figure, rows: pd.DataFrame, alphas: list[float], panel: str, colours: Palette
) -> None:
    """The truth neurons' flips, a diamond either way."""
    truth = rows.loc[rows.kind == SetKind.TRUTH]
    for column, sign, label, _ in DIRECTIONS[: 2 if len(truth) else 0]:
        figure.add_trace(
            go.Scatter(
                x=[alphas.index(alpha) - 0.4 for alpha in truth.alpha],
                y=sign * truth[column],
                mode="markers",
                marker={"symbol": "diamond", "size": 8, "color": colours.second},
                name=escape(str(truth["set"].iloc[0])),
                legendgroup="truth",
                showlegend=not panel and sign > 0,
                hovertext=[_hover(row, column, label) for row in truth.to_dict("records")],
                hovertemplate="%{hovertext}<extra>truth neurons</extra>",
                xaxis=f"x{panel}",
                yaxis=f"y{panel}",
            )
        )


def _hover(row: dict[str, Any], column: str, label: str) -> str:
    p = row.get("p_corrected")
    test = "" if p is None else f"<br>both ways: corrected p = {p:.3g}"
    return f"<b>α = {row['alpha']:g}: {row[column]} of {row['n']}</b> {label}{test}"


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
        chance += 2 / (sets + 1)  # the claim, were it one more random set: lowest or highest
    return (
        f"Net flips of {_claim(table)} lie beyond every random set at {beyond} of "
        f"{count(len(own), 'dose')} "
        f"(chance: {chance:.1f})"
    )
