"""The detector with each covariate held fixed, beside the covariate alone.

Question: does the score follow truth, or what comes with it (length, topic, answer type)?
To read it: a covariate explains the score where its own AUROC is high and the detector falls to
chance once it is held fixed.
It misleads where few pairs are alike: a wide interval shows nothing either way.
"""

from typing import Any

import pandas as pd
import plotly.graph_objects as go

from hlens.errors import HlensError
from hlens.figures._figure import Figure, count, escape, finish
from hlens.figures._forest import hover_interval, intervals
from hlens.figures._theme import Palette, palette, see_through
from hlens.types.labels import View

# View -> words, sign and offset from the middle of the row; the covariate itself is the control.
VIEWS = {
    View.ALONE: ("the covariate alone", "square", 0.27),
    View.ALIKE_PAIRS: ("detector, over alike pairs", "circle", 0.09),
    View.MATCHED: ("detector, matched subset", "circle-open", -0.09),
    View.ADJUSTED: ("detector, adjusted", "diamond", -0.27),
}
_NEEDED = {"covariate", "view", "stratum", "auroc", "low", "high", "n"}


def draw(table: pd.DataFrame, *, auroc: float | None = None, theme: str = "light") -> Figure:
    """Draw the confounds.

    Args:
        table: Columns ``covariate, view, stratum, auroc, low, high, n``, as
            `hlens.audit.confounds` returns them. Strata are small dots on the middle of a row.
        auroc: AUROC of the detector with nothing held fixed; a line marks it.
        theme: ``"light"`` or ``"dark"``.

    Raises:
        HlensError: A column is missing, or no covariate varies.
    """
    missing = sorted(_NEEDED - set(table.columns))
    held: Any = table.loc[table["auroc"].notna()] if not missing else table
    if missing or held.empty:
        raise HlensError(
            f"confounds need rows with {', '.join(sorted(_NEEDED))}; missing: "
            f"{', '.join(missing) or 'rows'}; give what audit.confounds returns"
        )
    colours, figure = palette(theme), Figure()
    names = list(dict.fromkeys(held["covariate"]))
    place = {name: len(names) - 1 - at for at, name in enumerate(names)}
    _strata(figure, held.loc[held["stratum"] != ""], place, colours)
    for view, (words, symbol, offset) in VIEWS.items():
        rows = held.loc[held["view"] == view]
        if len(rows):
            colour = colours.control if view == View.ALONE else colours.positive
            figure.add_trace(_marks(rows, words, symbol, offset, colour, place))
    _axes(figure, held, names, auroc, colours)
    return finish(
        figure,
        colours,
        title=_title(held),
        subtitle=_subtitle(table, held),
        height=130 + 62 * len(names),
        margin={"t": 56, "b": 56, "l": 150, "r": 24},
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
    columns = ["covariate", "view", "stratum", "auroc", "low", "high", "n"]
    return {"table": pd.DataFrame(rows, columns=columns), "auroc": 0.83}


def _marks(
    rows: pd.DataFrame, words: str, symbol: str, offset: float, colour: str, place: dict[str, int]
) -> go.Scatter:
    return go.Scatter(
        x=rows["auroc"],
        y=[place[name] + offset for name in rows["covariate"]],
        error_x=intervals(rows, "auroc", colour, 2.4),
        mode="markers",
        name=words,
        marker={"size": 10, "color": colour, "symbol": symbol,
                "line": {"width": 1.6, "color": colour}},
        customdata=list(
            zip(map(escape, rows["covariate"]), rows["low"], rows["high"], rows["n"], strict=True)
        ),
        hovertemplate=f"<b>%{{customdata[0]}}</b>: {words}<br>AUROC {hover_interval('x', 1)}<br>"
        "n = %{customdata[3]:,d}<extra></extra>",
    )  # fmt: skip


def _strata(figure: Figure, rows: pd.DataFrame, place: dict[str, int], colours: Palette) -> None:
    if rows.empty:
        return
    figure.add_trace(
        go.Scatter(
            x=rows["auroc"],
            y=[place[name] for name in rows["covariate"]],
            mode="markers",
            name="detector, in each stratum",
            marker={"size": 7, "color": see_through(colours.positive, 0.35)},
            customdata=list(
                zip(
                    map(escape, rows["covariate"]),
                    map(escape, rows["stratum"]),
                    rows["low"],
                    rows["high"],
                    rows["n"],
                    strict=True,
                )
            ),
            hovertemplate="<b>%{customdata[0]}: %{customdata[1]}</b><br>AUROC "
            f"{hover_interval('x', 2)}<br>n = %{{customdata[4]:,d}}<extra></extra>",
        )
    )


def _axes(
    figure: Figure, held: Any, names: list[str], auroc: float | None, colours: Palette
) -> None:
    low = min(0.45, float(held[["auroc", "low"]].min().min()) - 0.02)
    figure.add_vline(x=0.5, line={"color": colours.ink, "width": 1, "dash": "dash"})
    if auroc is not None:
        figure.add_vline(x=auroc, line={"color": colours.positive, "width": 1, "dash": "dot"})
        figure.add_annotation(
            x=auroc, y=0, yref="paper", yanchor="bottom", xanchor="left", xshift=4,
            text="nothing held fixed", showarrow=False,
            font={"size": 11.5, "color": colours.positive_ink},
        )  # fmt: skip
    for at in range(len(names) - 1):
        figure.add_hline(y=at + 0.5, line={"color": colours.grid, "width": 1})
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


def _title(held: Any) -> str:
    judged = held.loc[held["view"].isin([View.ALIKE_PAIRS, View.ADJUSTED])]
    if judged.empty:
        return "No covariate varies together with the label"
    lost = list(dict.fromkeys(judged.loc[judged["low"] <= 0.5, "covariate"]))
    total = judged["covariate"].nunique()
    if not lost:
        return f"The detector stays above chance with any of {count(total, 'covariate')} held fixed"
    return f"Not shown to be above chance once held fixed: {', '.join(lost)}"


def _subtitle(table: Any, held: Any) -> str:
    parts = [f"{int(table['n'].max()):,} held-out answers", "bars: 95 % intervals by group"]
    constant = sorted(set(table["covariate"]) - set(held["covariate"]))
    if constant:
        parts.append(f"without variation: {', '.join(constant)}")
    return " · ".join(parts)
