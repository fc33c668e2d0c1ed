"""The same finding made otherwise: the AUROC of each way, and which neurons it finds again.

Question: does the reading, and does the set of neurons, depend on a choice that should not
matter?
To read it: each row is the finding made another way. A high AUROC beside few shared neurons says
that the reading is real and its place is not.
It misleads where a way changes the task itself (another judge, other tokens).
"""

from typing import Any

import pandas as pd
import plotly.graph_objects as go

from hlens.errors import HlensError
from hlens.figures._figure import Figure, escape, finish
from hlens.figures._forest import add_forest
from hlens.figures._theme import Palette, palette, see_through
from hlens.types.labels import Agreement, Refit

LEFT, RIGHT = (0.0, 0.6), (0.68, 1.0)
_NEEDED = {"control", "auroc", "low", "high", "n", "shared"}


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
        HlensError: A column is missing, or no way was run.
    """
    missing = sorted(_NEEDED - set(table.columns))
    if missing or not table.auroc.notna().any():
        raise HlensError(
            f"refits need rows with {', '.join(sorted(_NEEDED))}; missing: "
            f"{', '.join(missing) or 'rows'}; give what audit.refits returns"
        )
    colours, figure = palette(theme), Figure()
    run: Any = table.loc[table["auroc"].notna()]
    own = run["control"] == Refit.AS_FOUND
    add_forest(
        figure, run, [escape(name) for name in run["control"]], own.to_numpy(), colours,
        domain=LEFT, right=1.02, title="AUROC (dashed: chance; band: as found)",
    )  # fmt: skip
    figure.add_trace(_bars(run.loc[run["shared"].notna() & ~own], colours))
    for row in run.loc[own].to_dict("records"):
        figure.add_vrect(
            x0=row["low"], x1=row["high"], fillcolor=see_through(colours.positive, 0.08),
            line_width=0, layer="below",
        )  # fmt: skip
    _lines(figure, halves, colours)
    figure.update_layout(
        xaxis2={
            "range": [0, 1.12],
            "domain": list(RIGHT),
            "anchor": "y",
            "tickformat": ".0%",
            "title": {"text": "H-neurons found again"},
        }
    )
    return finish(
        figure,
        colours,
        title=_title(run, own),
        subtitle=f"{int(run['n'].max()):,} held-out answers · 95 % intervals; draws: their "
        "spread · shared: of the smaller set",
        height=110 + 30 * len(run),
        margin={"t": 24, "b": 56, "l": 190, "r": 24},
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
        "table": pd.DataFrame(rows, columns=["control", "auroc", "low", "high", "n", "shared"]),
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


def _lines(figure: Figure, halves: pd.DataFrame | None, colours: Palette) -> None:
    if halves is None:
        return
    for at, row in enumerate(halves.loc[halves["shared"].notna()].to_dict("records")):
        colour = colours.control if row["what"] == Agreement.CHANCE else colours.positive_ink
        figure.add_vline(
            x=row["shared"], xref="x2", line={"color": colour, "width": 1.4, "dash": "dash"},
            layer="below",  # a share of nothing is written where chance and halves may stand
        )  # fmt: skip
        figure.add_annotation(
            x=row["shared"], xref="x2", y=0, yref="paper", yanchor="bottom", xanchor="left",
            xshift=4, yshift=2 + 15 * at, text=escape(row["what"]), showarrow=False,
            bgcolor=colours.page, font={"size": 11.5, "color": colour},
        )  # fmt: skip


def _title(run: Any, own: Any) -> str:
    others = run.loc[~own & run["shared"].notna()]
    if not own.any() or others.empty:
        return f"{len(run)} ways to make the finding, AUROC {_span(run['auroc'])}"
    again = others.loc[
        others["control"] != Refit.WITHOUT_NEURONS, "shared"
    ]  # where none can come back
    if not (again > 0).any():
        return f"No other way finds these neurons again; AUROC {_span(others['auroc'])}"
    back = "–".join(dict.fromkeys(f"{100 * share:.0f}" for share in (again.min(), again.max())))
    return (
        f"Made otherwise the AUROC is {_span(others['auroc'])}, and {back} % of the neurons come "
        "back"
    )


def _span(values: pd.Series) -> str:
    return f"{values.min():.2f}–{values.max():.2f}"
