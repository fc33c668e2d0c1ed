"""Which claims hold in which model? The verdicts of several audits, a row a model.

Question: what do the audits of these models agree on?
To read it: a filled circle is a claim that its audit supports, an empty one a claim that it does
not, a dash one that was not tested; hovering says why.
It misleads when "not supported" is read as refuted: with few answers a true claim fails for want of
evidence, and two models were not asked with the same power.
"""

from typing import Any

import pandas as pd

from hlens.drawing.figure import Figure, escape, finish
from hlens.drawing.matrix import CELL_HEIGHT, add_matrix, cell
from hlens.drawing.table import check_columns, check_one_study, count_models, distinct
from hlens.drawing.theme import Palette, palette
from hlens.types import Support

COLUMNS = ("model", "claim", "verdict")
SIGNS = {Support.SUPPORTED: "●", Support.NOT_SUPPORTED: "○", Support.NOT_TESTED: "–"}


def draw(table: pd.DataFrame, *, theme: str = "light") -> Figure:
    """Draw the matrix of verdicts.

    Args:
        table: Columns ``model, claim, verdict`` and perhaps ``because``, ``audit`` (``"quick"`` or
            ``"whole"``) and ``weights`` (equal where studies are of one model), one row a model
            and claim.
        theme: ``"light"`` or ``"dark"``.

    Raises:
        HlensError: A column is missing, there is no row, or one stands twice.
    """
    check_columns(table, COLUMNS, figure="claims", source="comparison.compare")
    check_one_study(table, ("model", "claim"), figure="claims")
    colours, figure = palette(theme), Figure()
    models, claims = distinct(table.model), distinct(table.claim)
    cells = [
        _cell(row, (claims.index(row["claim"]), models.index(row["model"])), colours)
        for row in table.to_dict("records")
    ]
    quick = distinct(table.loc[table["audit"] == "quick", "model"]) if "audit" in table else []
    named = [f"{model} (quick audit)" if model in quick else model for model in models]
    add_matrix(figure, cells, rows=named, columns=claims, colours=colours)
    figure.update_layout(xaxis={"side": "top"})
    return finish(
        figure,
        colours,
        title=_title(table),
        subtitle="● supported · ○ not supported · – not tested, by the rules of each model's audit",
        height=CELL_HEIGHT * len(models) + 70,
        margin={"t": 50, "b": 20, "l": 150, "r": 20},
    )


def example() -> dict[str, Any]:
    """Made data for the gallery and the laws: three models, of which one was not edited."""
    signs = {"small": "●○○○–●", "medium": "●○○●○●", "large": "○○○○–○"}
    names = ("Readout", "Sparsity", "Identity", "Transfer", "Control", "Cost")
    verdicts = {sign: verdict for verdict, sign in SIGNS.items()}
    rows = [
        {"model": model, "claim": claim, "verdict": verdicts[sign], "because": "made data"}
        for model, own in signs.items()
        for claim, sign in zip(names, own, strict=True)
    ]
    return {"table": pd.DataFrame(rows)}


def count_supported(table: pd.DataFrame) -> dict[str, int]:
    """In how many models each claim is supported that is in any; `table` as of `draw`."""
    kept = table.loc[table["verdict"] == Support.SUPPORTED]
    counts = kept.groupby("claim", sort=False)["model"].nunique()
    return {claim: int(counts[claim]) for claim in distinct(table.claim) if claim in counts.index}


def _cell(row: dict[str, Any], position: tuple[int, int], colours: Palette) -> dict[str, Any]:
    verdict = Support(row["verdict"])
    looks = {
        Support.SUPPORTED: (colours.faint, colours.negative_ink),
        Support.NOT_SUPPORTED: (colours.faint, colours.positive_ink),
        Support.NOT_TESTED: (colours.page, colours.muted),
    }
    fill, ink = looks[verdict]
    hover = f"<b>{escape(row['claim'])}</b> in {escape(row['model'])}: {verdict}"
    if isinstance(row.get("because"), str) and row["because"]:
        hover += f"<br>{escape(row['because'])}"
    value = f'<span style="font-size:20px">{SIGNS[verdict]}</span>'
    return cell(
        position, hover, value=value, small=str(verdict).replace(" ", "<br>"), fill=fill, ink=ink
    )


def _title(table: pd.DataFrame) -> str:
    """How many models support each claim that any does."""
    models, n = distinct(table.model), len(distinct(table.model))
    where, counts = f"In {count_models(table)}", count_supported(table)
    if not counts:
        return f"{where} no claim is supported"
    of = f" of {n}" if "weights" in table and len(distinct(table.weights)) < n else ""
    parts = [f"{claim} in {'all' if own == n else f'{own}{of}'}" for claim, own in counts.items()]
    if n == 1:
        return f"In {models[0]} supported: {', '.join(counts)}"
    return f"{where} supported: {', '.join(parts)}"
