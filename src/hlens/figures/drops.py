"""How much is lost between domains: the drop in AUROC of each model, and of all together.

Question: do probes that were found on one domain read the others as well?
To read it: a point right of the line is what is lost when the domain changes, with its 95 %
interval over samples of questions; the diamond is the mean of these models. The text says from
where to where.
It misleads when the mean is read as one of models in general: its interval is of questions. Where
domains differ in how they are asked, a drop may be one of format.
"""

from typing import Any

import pandas as pd
import plotly.graph_objects as go

from hlens.drawing.figure import Figure, add_note, escape, finish
from hlens.drawing.forest import hover_interval, intervals, named_rows
from hlens.drawing.table import check_columns, check_one_study, n_range, value_range
from hlens.drawing.theme import palette
from hlens.types import Estimate
from hlens.types.estimate import p_words
from hlens.types.labels import ALL_MODELS, name_models

COLUMNS = ("model", "within", "across", "drop", "low", "high", "p", "n")


def draw(table: pd.DataFrame, *, theme: str = "light") -> Figure:
    """Draw the drops.

    Args:
        table: What `hlens.evaluation.drops` returns.
        theme: ``"light"`` or ``"dark"``.

    Raises:
        HlensError: A column is missing, there is no row, or a model stands twice.
    """
    check_columns(table, COLUMNS, figure="drops", source="evaluation.drops")
    check_one_study(table, ("model",), figure="drops")
    colours, figure = palette(theme), Figure()
    names = list(map(escape, table["model"]))
    together = (table["model"] == ALL_MODELS).to_numpy()
    for chosen, symbol in ((~together, "circle"), (together, "diamond")):
        rows = table.assign(name=names).loc[chosen]
        if rows.empty:
            continue
        figure.add_trace(
            go.Scatter(
                x=rows["drop"],
                y=rows["name"],
                error_x=intervals(rows, "drop", colour=colours.positive),
                mode="markers",
                marker={"size": 11, "symbol": symbol, "color": colours.positive},
                customdata=rows[["low", "high", "n"]],
                hovertemplate=f"<b>%{{y}}</b><br>drop {hover_interval('x')}<br>"
                "n = %{customdata[2]:,d}<extra></extra>",
                showlegend=False,
            )
        )
    figure.add_vline(x=0, line={"color": colours.ink, "width": 1, "dash": "dash"})
    for name, row in zip(names, table.to_dict("records"), strict=True):
        said = f"{row['within']:.2f} within, {row['across']:.2f} across<br>{p_words(row['p'])}"
        add_note(
            figure, said, x=0.66, y=name, xref="paper", xanchor="left", align="left",
            colour=colours.muted, size=12,
        )  # fmt: skip
    rows: Any = table
    ends = min(0.0, rows["low"].min()), max(0.0, rows["high"].max())
    room = 0.06 * (ends[1] - ends[0] or 1.0)
    figure.update_layout(
        xaxis={
            "range": [ends[0] - room, ends[1] + room],
            "domain": [0.0, 0.64],
            "title": {"text": "AUROC within a domain less that across"},
        },
        yaxis=named_rows(names, colours),
    )
    return finish(
        figure,
        colours,
        title=_title(table),
        subtitle=f"{n_range(table.n, 'answer')} · 95 %, over samples of questions · each domain "
        "counts once",
        height=120 + 40 * len(table),
        margin={"t": 30, "b": 56, "l": 150, "r": 24},
    )


def example() -> dict[str, Any]:
    """Made data for the gallery and the laws: three models that lose, and their mean."""
    rows = [
        ("small", 0.78, 0.71, 0.07, 0.03, 0.11, 0.001, 900),
        ("medium", 0.80, 0.70, 0.10, 0.06, 0.14, 0.0001, 940),
        ("large", 0.77, 0.75, 0.02, -0.02, 0.06, 0.31, 880),
        (ALL_MODELS, 0.783, 0.72, 0.063, 0.04, 0.086, 0.00002, 2720),
    ]
    return {"table": pd.DataFrame(rows, columns=list(COLUMNS))}


def _title(table: pd.DataFrame) -> str:
    """Of several models, that of all together; a claim only where its interval makes it."""
    several = table.loc[table["model"] == ALL_MODELS]
    own = table.loc[table["model"] != ALL_MODELS]
    rows = several if len(several) else own
    if len(rows) != 1:
        values: Any = table["drop"]
        way = "drops" if bool((values.dropna() > 0).all()) else "changes"
        values = values if way == "drops" else -values
        return f"From within a domain to across the AUROC {way} by {value_range(values)}"
    (row,) = rows.to_dict("records")
    drop = Estimate.from_row(row, "drop")
    of = f"in {row['model']}"
    if len(several):
        studies = row.get("n_studies", len(own))
        of = f"over {name_models(row.get('n_models', studies), studies)}"
    if not drop.known:
        return f"The drop between domains is not known {of}"
    if not (drop.low > 0 or drop.high < 0):
        return f"No drop between domains is shown {of}: {drop.signed()}, {p_words(row['p'])}"
    way = "drops" if drop.value > 0 else "rises"
    low, high = sorted((abs(drop.low), abs(drop.high)))
    size = Estimate(abs(drop.value), low, high, drop.n)
    return f"Between domains the AUROC {way} by {size:.2f} {of}, {p_words(row['p'])}"
