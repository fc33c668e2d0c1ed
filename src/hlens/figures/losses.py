"""What was lost on the way from question to example, by label.

Question: were wrong and right answers lost alike? Losses that differ bias everything after them.
To read it: the first bar is what was kept; compare the share of each label in the bars below it.
It misleads when steps are compared across studies with other judges.
"""

from typing import Any

import pandas as pd
import plotly.graph_objects as go

from hlens.counting import count
from hlens.drawing.figure import Figure, add_note, escape, finish
from hlens.drawing.table import check_columns, check_one_study, distinct
from hlens.drawing.theme import ink_on, palette

COLUMNS = ("verdict", "reason", "n")
KEPT = "located"

HATCHES = {"correct": "/", "refused": "."}  # whose colours are those of others in grey


def draw(table: pd.DataFrame, *, theme: str = "light") -> Figure:
    """Draw the losses.

    Args:
        table: Columns ``verdict, reason, n``: how many judgements of a verdict became an example
            (``"located"``) or why not, as `hlens.spans.locate_with_losses` counts them.
        theme: ``"light"`` or ``"dark"``.

    Raises:
        HlensError: A column is missing, there is no row, or one stands twice.
    """
    check_columns(table, COLUMNS, figure="losses", source="spans.locate_with_losses")
    check_one_study(table, ("verdict", "reason"), figure="losses")
    colours = palette(theme)
    steps, labels = distinct(table.reason), distinct(table.verdict)
    steps.sort(key=lambda step: step != KEPT)
    totals = table.groupby("reason").n.sum()
    narrow = 0.03 * totals.max()  # a part this narrow cannot hold its number
    shades = {"hallucinated": colours.positive, "correct": colours.negative,
              "refused": colours.control}  # fmt: skip
    # Hatched, so that colour alone distinguishes no label, but faintly: numbers are read on it.
    hatch = {"fillmode": "overlay", "fgcolor": colours.page, "fgopacity": 0.25, "size": 7}
    figure = Figure()
    for label in labels:
        colour, shape = shades.get(label, colours.neutral), HATCHES.get(label, "")
        own = table.loc[table.verdict == label].groupby("reason", sort=False).n.sum()
        counts = [int(own.get(step, 0)) for step in steps]
        figure.add_trace(
            go.Bar(
                x=counts,
                y=[escape(step) for step in steps],
                orientation="h",
                name=escape(label),
                marker={
                    "color": colour,
                    "line": {"width": 0},
                    "pattern": {"shape": shape, **hatch},
                },
                text=[f"{n:,}" if n > narrow else "" for n in counts],
                textposition="inside",
                insidetextanchor="middle",
                textangle=0,
                textfont={"size": 13, "color": ink_on(colour)},
                constraintext="none",
                hovertemplate=f"%{{y}}, {escape(label)}: <b>%{{x:,d}}</b><extra></extra>",
            )
        )
    for step in steps:
        n = int(totals[step])
        add_note(
            figure, f"<b>{n:,}</b>", x=n, y=escape(step), colour=colours.ink, size=13,
            xanchor="left", xshift=8,
        )  # fmt: skip
    figure.update_layout(
        barmode="stack",
        bargap=0.38,
        xaxis={"title": {"text": "answers"}, "rangemode": "tozero", "tickformat": ",d"},
        yaxis={
            "categoryorder": "array",
            "categoryarray": [escape(step) for step in steps][::-1],
            "showgrid": False,
            "ticklabelstandoff": 6,
            "tickfont": {"size": 13, "color": colours.ink},
        },
        legend={"traceorder": "normal"},
    )
    return finish(
        figure,
        colours,
        title=_title(table),
        subtitle=f"{count(int(table.n.sum()), 'answer')}, each counted once, by what the judge "
        "said",
        height=110 + 46 * len(steps),
        margin={"t": 44, "b": 56, "l": 120, "r": 48},
    )


def example() -> dict[str, Any]:
    """Made data for the gallery and the laws."""
    rows = [
        ("hallucinated", KEPT, 812), ("correct", KEPT, 455), ("hallucinated", "no span", 61),
        ("correct", "no span", 12), ("refused", "refused", 120), ("unscored", "unscored", 33),
    ]  # fmt: skip
    return {"table": pd.DataFrame(rows, columns=list(COLUMNS))}


def _title(table: pd.DataFrame) -> str:
    kept = table.loc[table.reason == KEPT]
    total = int(table.n.sum())
    if kept.empty or not total:
        return f"None of {count(total, 'answer')} was kept"
    start = f"{int(kept.n.sum()):,} of {count(total, 'answer')} are kept"
    shares = []
    for label in ("hallucinated", "correct"):
        of = table.loc[table.verdict == label].n.sum()
        if not of:
            return start
        shares.append(f"{kept.loc[kept.verdict == label].n.sum() / of:.0%} of the {label}")
    return f"{start}: {', '.join(shares)}"
