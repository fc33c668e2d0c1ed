"""The detector with each covariate held fixed, beside the covariate alone.

Question: does the score follow truth, or what comes with it (length, topic, answer type)?
To read it: a covariate explains the score where its own AUROC is high and the detector falls to
chance once it is held fixed.
It misleads where few pairs are alike: a wide interval shows nothing either way.
"""

from collections.abc import Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from hlens.claims.findings import read_held_fixed
from hlens.claims.rules import check_held_fixed
from hlens.counting import count
from hlens.display import display_name
from hlens.drawing.figure import Figure, add_note, escape, finish
from hlens.drawing.forest import chance_line, hover_interval, intervals
from hlens.drawing.table import check_columns, check_one_study, distinct
from hlens.drawing.theme import palette, see_through
from hlens.types.labels import Covariate, View

# View -> label, symbol and offset from the middle of the row; the covariate itself is the control.
VIEWS = {
    View.ALONE: ("the covariate alone", "square", 0.27),
    View.ALIKE_PAIRS: ("detector, over alike pairs", "circle", 0.09),
    View.MATCHED: ("detector, matched subset", "circle-open", -0.09),
    View.ADJUSTED: ("detector, adjusted", "diamond", -0.27),
}
COLUMNS = ("covariate", "view", "stratum", "auroc", "low", "high", "n")


def draw(table: pd.DataFrame, *, auroc: float | None = None, theme: str = "light") -> Figure:
    """Draw the confounds.

    Args:
        table: Columns ``covariate, view, stratum, auroc, low, high, n``, as
            `hlens.audit.confounds` returns them. Strata are small dots on the middle of a row.
        auroc: AUROC of the detector with nothing held fixed; a line marks it.
        theme: ``"light"`` or ``"dark"``.

    Raises:
        HlensError: A column is missing, a row stands twice, or no covariate varies.
    """
    check_columns(table, COLUMNS, figure="confounds", source="audit.confounds")
    check_one_study(table, ("covariate", "view", "stratum"), figure="confounds")
    table = table.assign(stratum=_strata(table))
    held: Any = table.loc[table["auroc"].notna()]
    check_columns(held, COLUMNS, figure="confounds", source="audit.confounds")
    colours, figure = palette(theme), Figure()
    names = distinct(held["covariate"])
    height = {name: len(names) - 1 - index for index, name in enumerate(names)}
    strata = held.loc[held["stratum"] != ""]
    if len(strata):
        label, hover = "detector, in each stratum", "<b>%{customdata[0]}: %{customdata[1]}</b>"
        marker = {"size": 7, "color": see_through(colours.positive, 0.35)}
        heights = [height[name] for name in strata["covariate"]]
        figure.add_trace(_marks(strata, heights, label, hover, ["stratum"], marker=marker))
    for view, (label, symbol, offset) in VIEWS.items():
        rows = held.loc[held["view"] == view]
        if len(rows):
            colour = colours.control if view == View.ALONE else colours.positive
            heights = [height[name] + offset for name in rows["covariate"]]
            bars = intervals(rows, "auroc", colour=colour, thickness=2.4)
            line = {"width": 1.6, "color": colour}
            marker = {"size": 10, "color": colour, "symbol": symbol, "line": line}
            hover = f"<b>%{{customdata[0]}}</b>: {label}"
            figure.add_trace(_marks(rows, heights, label, hover, error_x=bars, marker=marker))
    chance_line(figure, colours)
    if auroc is not None:
        figure.add_vline(x=auroc, line={"color": colours.positive, "width": 1, "dash": "dot"})
        add_note(
            figure, "nothing held fixed", x=auroc, y=0, colour=colours.positive_ink, yref="paper",
            yanchor="bottom", xanchor="left", xshift=4,
        )  # fmt: skip
    low = min(0.45, float(held[["auroc", "low"]].min().min()) - 0.02)
    for row in range(len(names) - 1):
        figure.add_hline(y=row + 0.5, line={"color": colours.grid, "width": 1})
    figure.update_layout(
        xaxis={
            "range": [max(0.0, low), 1.02],
            "dtick": 0.1,
            "title": {"text": "AUROC (dashed: chance)"},
        },
        yaxis={
            "tickvals": list(range(len(names))),
            "ticktext": [escape(name) for name in names[::-1]],
            "showgrid": False,
            "range": [-0.55, len(names) - 0.45],
            "tickfont": {"size": 13, "color": colours.ink},
        },
    )
    return finish(
        figure,
        colours,
        title=_title(held),
        subtitle=_subtitle(table, held),
        height=130 + 62 * len(names),
        margin={"t": 56, "b": 56, "l": 150, "r": 24},
        narrowest=480,
    )


def example() -> dict[str, Any]:
    """Made data for the gallery and the laws: length explains nothing, the topic a part."""
    rows = [
        ("length", View.ALONE, "", 0.57, 0.51, 0.63, 420),
        ("length", View.STRATUM, "1–2", 0.82, 0.74, 0.9, 140),
        ("length", View.STRATUM, "3–9", 0.79, 0.7, 0.87, 280),
        ("length", View.ALIKE_PAIRS, "", 0.81, 0.76, 0.86, 410),
        ("length", View.MATCHED, "", 0.81, 0.73, 0.88, 180),
        ("length", View.ADJUSTED, "", 0.82, 0.78, 0.86, 420),
        ("topic", View.ALONE, "", 0.74, 0.69, 0.79, 420),
        ("topic", View.ALIKE_PAIRS, "", 0.66, 0.58, 0.73, 300),
        ("topic", View.MATCHED, "", 0.65, 0.55, 0.75, 150),
        ("topic", View.ADJUSTED, "", 0.69, 0.63, 0.75, 420),
        ("format", View.ALONE, "", None, None, None, 420),
    ]
    return {"table": pd.DataFrame(rows, columns=list(COLUMNS)), "auroc": 0.83}


def _marks(
    rows: Any, heights: list[Any], label: str, hover: str, named: Sequence[str] = (), **looks: Any
) -> go.Scatter:
    """The values of one view; hovering shows `hover`, of the covariate and the columns `named`."""
    texts = [map(escape, rows[name]) for name in ("covariate", *named)]
    at = len(texts)
    return go.Scatter(
        x=rows["auroc"],
        y=heights,
        mode="markers",
        name=label,
        customdata=list(zip(*texts, rows["low"], rows["high"], rows["n"], strict=True)),
        hovertemplate=f"{hover}<br>AUROC {hover_interval('x', at)}<br>"
        f"n = %{{customdata[{at + 2}]:,d}}<extra></extra>",
        **looks,
    )


def _strata(table: pd.DataFrame) -> list[str]:
    """The strata as they are read; those of domains and formats are keys."""
    families = {Covariate.DOMAIN: "domains", Covariate.FORMAT: ""}
    return [
        display_name(families[row["covariate"]], str(row["stratum"]))
        if row["covariate"] in families
        else str(row["stratum"])
        for row in table.to_dict("records")
    ]


def _title(held: Any) -> str:
    checks = [check_held_fixed(one, reads_at_all=True) for one in read_held_fixed(held)]
    judged = [check for check in checks if check.holds is not None]
    if not judged:
        return "No covariate varies together with the label"
    lost = [check.name.removeprefix("at equal ") for check in judged if not check.holds]
    if lost:
        return f"Not shown to be above chance once held fixed: {', '.join(lost)}"
    least = min(check.number.value for check in judged if check.number is not None)
    fixed = count(len(judged), "covariate")
    return f"Above chance with any of {fixed} held fixed: {least:.2f} at least"


def _subtitle(table: Any, held: Any) -> str:
    parts = [count(int(table["n"].max()), "held-out answer"), "bars: 95 % intervals by group"]
    constant = sorted(set(table["covariate"]) - set(held["covariate"]))
    if constant:
        parts.append(f"without variation: {', '.join(constant)}")
    return " · ".join(parts)
