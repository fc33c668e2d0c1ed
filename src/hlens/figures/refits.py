"""The finding repeated with other choices: the AUROC of each, and which neurons come back.

Question: does the reading, and does the set of neurons, depend on a choice that should not
matter?
To read it: each row repeats the finding with one choice changed. A high AUROC beside few shared
neurons says that the answers can be told apart, but not by these neurons alone.
It misleads where a choice changes the task itself (another judge, other tokens).
"""

from typing import Any

import pandas as pd
import plotly.graph_objects as go

from hlens.counting import count
from hlens.drawing.figure import Figure, add_note, escape, finish
from hlens.drawing.forest import add_forest, interval_band
from hlens.drawing.table import check_columns, check_one_study
from hlens.drawing.theme import Palette, palette
from hlens.types.labels import Agreement, Refit

LEFT, RIGHT = (0.0, 0.6), (0.68, 1.0)
AS_FOUND, WITHOUT = "as found", "without its neurons"
COLUMNS = ("control", "auroc", "low", "high", "n", "shared")


def draw(
    table: pd.DataFrame, halves: pd.DataFrame | None = None, *, theme: str = "light"
) -> Figure:
    """Draw the refits.

    Args:
        table: Columns ``control, auroc, low, high, n, shared``, as `hlens.audit.refits` returns
            them.
        halves: How much of the set comes back on halves, and by chance, from
            `hlens.audit.set_agreement`; drawn as lines in the right panel.
        theme: ``"light"`` or ``"dark"``.

    Raises:
        HlensError: A column is missing, a row stands twice, or no refit was run.
    """
    check_columns(table, COLUMNS, figure="refits", source="audit.refits")
    check_one_study(table, ("control",), figure="refits")
    if halves is not None:
        check_one_study(halves, ("what",), figure="refits")
    run: Any = table.loc[table["auroc"].notna()]
    check_columns(run, COLUMNS, figure="refits", source="audit.refits")
    colours, figure = palette(theme), Figure()
    own = run["control"] == AS_FOUND
    add_forest(
        figure, run, names=list(map(escape, run["control"])), claim=own.to_numpy(),
        colours=colours, domain=LEFT, right=1.02, title="AUROC (dashed: chance; band: as found)",
    )  # fmt: skip
    figure.add_trace(_bars(run.loc[run["shared"].notna() & ~own], colours))
    for row in run.loc[own].to_dict("records"):
        interval_band(figure, row, colours)
    if halves is not None:
        _add_halves(figure, halves, colours)
    title = {"text": "H-neurons found again"}
    x_axis = {"range": [0, 1.25], "domain": list(RIGHT), "anchor": "y", "tickformat": ".0%"}
    figure.update_layout(xaxis2={**x_axis, "title": title})
    return finish(
        figure,
        colours,
        title=_title(run, own),
        subtitle=f"{count(int(run['n'].max()), 'held-out answer')} · 95 % intervals; draws: their "
        "spread · shared: of the smaller set",
        height=110 + 30 * len(run),
        margin={"t": 24, "b": 56, "l": 190, "r": 24},
        narrowest=560,
    )


def example() -> dict[str, Any]:
    """Made data for the gallery and the laws: the reading stays, the neurons change."""
    rows = [
        (Refit.AS_FOUND, 0.83, 0.78, 0.88, 420, 1.0),
        (Refit.TWICE_C, 0.83, 0.78, 0.88, 420, 0.9),
        (Refit.SCALED_BY_NEURON, 0.82, 0.77, 0.87, 420, 0.3),
        (Refit.OTHER_SPLIT, 0.82, 0.77, 0.87, 415, 0.5),
        (Refit.WITHOUT_NEURONS, 0.8, 0.75, 0.85, 420, 0.0),
        (Refit.RANDOM_DIRECTIONS, 0.74, 0.7, 0.78, 420, None),
    ]  # fmt: skip
    halves = [(Agreement.HALVES, 0.3, 0.22, 0.4), (Agreement.CHANCE, 0.02, 0.0, 0.05)]
    return {
        "table": pd.DataFrame(rows, columns=list(COLUMNS)),
        "halves": pd.DataFrame(halves, columns=["what", "shared", "low", "high"]),
    }


def _bars(rows: pd.DataFrame, colours: Palette) -> go.Bar:
    return go.Bar(
        x=rows["shared"],
        y=[escape(name) for name in rows["control"]],
        orientation="h",
        width=0.5,
        marker={"color": colours.neutral, "line": {"width": 0}},
        text=[f"\u00a0\u00a0{100 * share:.0f} %" for share in rows["shared"]],  # off the lines
        textposition="outside",
        textfont={"size": 12, "color": colours.muted},
        cliponaxis=False,
        hovertemplate="<b>%{y}</b><br>shares %{x:.0%} of the smaller set<extra></extra>",
        xaxis="x2",
        showlegend=False,
    )


def _add_halves(figure: Figure, halves: pd.DataFrame, colours: Palette) -> None:
    for index, row in enumerate(halves.loc[halves["shared"].notna()].to_dict("records")):
        colour = colours.control if "chance" in row["what"] else colours.positive_ink
        figure.add_vline(
            x=row["shared"], xref="x2", line={"color": colour, "width": 1.4, "dash": "dash"},
            layer="below",  # the line of chance may cross the label of a share of zero
        )  # fmt: skip
        add_note(
            figure, escape(row["what"]), x=row["shared"], y=0, colour=colour, xref="x2",
            yref="paper", xanchor="left", yanchor="bottom", xshift=4, yshift=2 + 15 * index,
            bgcolor=colours.page,
        )  # fmt: skip


def _title(run: Any, own: Any) -> str:
    others = run.loc[~own & run["shared"].notna()]
    if not own.any() or others.empty:
        return f"{count(len(run), 'way')} to make the finding, AUROC {_span(run['auroc'])}"
    # Without the neurons none can come back.
    again = others.loc[others["control"] != Refit.WITHOUT_NEURONS, "shared"]
    auroc = _span(others["auroc"])
    if not (again > 0).any():
        return f"No other way finds these neurons again; AUROC {auroc}"
    back = "–".join(dict.fromkeys(f"{100 * share:.0f}" for share in (again.min(), again.max())))
    return f"Made otherwise the AUROC is {auroc}, and {back} % of the neurons come back"


def _span(values: pd.Series) -> str:
    return f"{values.min():.2f}–{values.max():.2f}"
