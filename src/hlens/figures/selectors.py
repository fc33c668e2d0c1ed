"""Selectors side by side: what as many neurons of each read, and whether a half names them again.

Question: is the reading one of these neurons, or would any way to choose as many do?
To read it: left the AUROC of the same number of neurons by each selector, refitted alike; the
circle is the L1 probe, rows of random neurons show the spread of their draws. Right the part of the
smaller set that two halves of the training part share.
It misleads where sets differ in size: a selector that names fewer than it was asked for is read
with fewer.
"""

from typing import Any

import pandas as pd
import plotly.graph_objects as go

from hlens.claims.rules import lies_above
from hlens.counting import count
from hlens.display import display_name, display_names
from hlens.drawing.figure import Figure, escape, finish
from hlens.drawing.forest import add_forest, intervals
from hlens.drawing.table import check_columns, check_one_study, listed
from hlens.drawing.theme import Palette, palette
from hlens.types import Estimate
from hlens.types.labels import DRAWN, L1

LEFT, RIGHT = (0.0, 0.6), (0.68, 1.0)
COLUMNS = ("selector", "neurons", "auroc", "low", "high", "n", "shared")


def draw(table: pd.DataFrame, *, theme: str = "light") -> Figure:
    """Draw the selectors.

    Args:
        table: Columns ``selector, neurons, auroc, low, high, n, shared`` and perhaps ``shared_low,
            shared_high, difference, difference_low, difference_high, p``, as
            `hlens.audit.compare_selectors` returns them; a selector without an AUROC is named in
            the subtitle.
        theme: ``"light"`` or ``"dark"``.

    Raises:
        HlensError: A column is missing, a row stands twice, or no selector was run.
    """
    check_columns(table, COLUMNS, figure="selectors", source="audit.compare_selectors")
    check_one_study(table, ("selector",), figure="selectors")
    run: Any = table.loc[table["auroc"].notna()]
    check_columns(run, COLUMNS, figure="selectors", source="audit.compare_selectors")
    colours, figure = palette(theme), Figure()
    names = list(map(escape, display_names("selectors", map(str, run["selector"])).values()))
    own = run["selector"] == L1
    add_forest(
        figure, run, names=names, claim=own.to_numpy(), colours=colours, domain=LEFT, right=1.02,
        title="AUROC, refitted (dashed: chance; random: spread of draws)",
    )  # fmt: skip
    figure.add_trace(_shares(run.assign(name=names), own, colours))
    x_axis = {"range": [0, 1.06], "domain": list(RIGHT), "anchor": "y", "tickformat": ".0%"}
    figure.update_layout(
        xaxis2={**x_axis, "title": {"text": "named again by halves (to the ends)"}}
    )
    return finish(
        figure,
        colours,
        title=_title(run),
        subtitle=_subtitle(run, table),
        height=130 + 34 * len(run),
        margin={"t": 24, "b": 56, "l": 170, "r": 24},
        narrowest=480,
    )


def example() -> dict[str, Any]:
    """Made data for the gallery and the laws: two selectors read as well, one could not be run."""
    rows = [
        ("l1", 40, 0.80, 0.75, 0.85, 420, 0.12, 0.05, 0.2, None, None, None, None),
        ("stability", 40, 0.80, 0.75, 0.85, 420, 0.35, 0.3, 0.42, 0.0, -0.02, 0.02, 0.9),
        ("best_alone", 40, 0.77, 0.72, 0.82, 420, 0.55, 0.48, 0.6, 0.03, 0.01, 0.05, 0.01),
        ("cna", 40, 0.74, 0.69, 0.79, 420, 0.62, 0.55, 0.7, 0.06, 0.03, 0.09, 0.01),
        ("random", 40, 0.63, 0.56, 0.7, 420, 0.0, 0.0, 0.01, None, None, None, 0.05),
        ("matched_random", 40, 0.66, 0.58, 0.73, 420, 0.0, 0.0, 0.02, None, None, None, 0.05),
        ("attribution", None, None, None, None, 0, None, None, None, None, None, None, None),
    ]
    further = ["shared_low", "shared_high", "difference", "difference_low", "difference_high", "p"]
    return {"table": pd.DataFrame(rows, columns=[*COLUMNS, *further])}


def _shares(run: Any, own: Any, colours: Palette) -> go.Scatter:
    ends = {
        "low": run.get("shared_low", run["shared"]),
        "high": run.get("shared_high", run["shared"]),
    }
    rows = run.assign(**ends)
    colour = [colours.positive if claim else colours.control for claim in own]
    return go.Scatter(
        x=rows["shared"],
        y=rows["name"],
        error_x=intervals(rows, "shared", colour=colours.neutral),
        mode="markers",
        cliponaxis=False,
        marker={"size": 10, "color": colour, "symbol": "square",
                "line": {"color": colours.page, "width": 1}},
        customdata=rows[["low", "high"]],
        hovertemplate="<b>%{y}</b><br>halves share %{x:.0%} [%{customdata[0]:.0%}, "
        "%{customdata[1]:.0%}]<extra></extra>",
        xaxis="x2",
        showlegend=False,
    )  # fmt: skip


def _title(run: Any) -> str:
    """First whether L1's neurons beat random ones, then which selectors they beat, or lose to."""
    rows = {str(row["selector"]): row for row in run.to_dict("records")}
    if L1 not in rows:
        return f"{count(len(run), 'way')} to name the neurons; L1 could not be run"
    own = Estimate.from_row(rows[L1])
    claim = f"L1's neurons read {own.value:.2f}"
    if not lies_above(own):
        return f"{claim}, which is not shown to be above chance"
    gaps = {
        name: Estimate.from_row(row, "difference", ends="difference_")
        for name, row in rows.items()
        if name not in (L1, *DRAWN) and row.get("difference") == row.get("difference")
    }
    beaten = [_plain(name) for name, gap in gaps.items() if lies_above(gap, 0.0)]
    better = [_plain(name) for name, gap in gaps.items() if gap.high < 0]
    ps = [rows[name].get("p") for name in DRAWN if name in rows]
    known = [p for p in ps if p is not None and p == p]
    parts = [claim]
    if known:
        parts.append("more than random ones" if max(known) <= 0.05 else "not more than random ones")
    if beaten:
        parts.append(f"more than {listed(beaten)}")
    if better:
        parts.append(f"less than {listed(better)}")
    if gaps and not (beaten or better):
        others = f"the {len(gaps)} other selectors" if len(gaps) > 1 else _plain(next(iter(gaps)))
        parts.append(f"as {others} {'do' if len(gaps) > 1 else 'does'}, as far as is shown")
    return ", ".join(parts)


def _plain(name: str) -> str:
    return display_name("selectors", name)


def _subtitle(run: Any, table: Any) -> str:
    sizes = sorted({int(size) for size in run["neurons"].dropna()})
    parts = []
    if sizes:
        low, most = f"{sizes[0]:,} to " if len(sizes) > 1 else "", count(sizes[-1], "neuron")
        parts.append(f"{low}{most} each")
    parts += [
        count(int(run["n"].max()), "held-out answer"),
        "95 % intervals",
    ]
    absent = table.loc[table["auroc"].isna(), "selector"]
    if len(absent):
        parts.append(f"not run: {', '.join(map(_plain, absent))}")
    return " · ".join(parts)
