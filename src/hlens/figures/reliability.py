"""How well do sets come back? Overlap of halves of one domain beside that of two domains.

To read it: sets found on two halves of one domain are the ceiling of what any two domains can be
expected to share; compare each pair of domains with it.
It misleads when domains differ in size: sets of small halves come back less.
"""

from typing import Any

import pandas as pd

from hlens.counting import count
from hlens.display import display_name, display_names
from hlens.drawing.figure import Figure, escape, finish
from hlens.drawing.matrix import (
    CELL_HEIGHT,
    add_matrix,
    add_scale,
    cell,
    even_ticks,
    narrowest_matrix,
)
from hlens.drawing.table import check_columns, check_one_study, distinct
from hlens.drawing.theme import Palette, colour_at, palette
from hlens.types import Estimate

COLUMNS = ("a", "b", "jaccard", "low", "high", "n_a", "n_b", "repeats")


def draw(table: pd.DataFrame, *, theme: str = "light") -> Figure:
    """Draw the overlap of halves.

    Args:
        table: Columns ``a, b, jaccard, low, high, n_a, n_b, repeats``, one row a pair, a domain
            with itself included, as `hlens.evaluation.reliability` returns them.
        theme: ``"light"`` or ``"dark"``.

    Raises:
        HlensError: A column is missing, there is no row, or one stands twice.
    """
    check_columns(table, COLUMNS, figure="reliability", source="evaluation.reliability")
    check_one_study(table, ("a", "b"), figure="reliability", unordered=True)
    colours = palette(theme)
    names = distinct(table.a, table.b)
    top = max(0.1, float(table.jaccard.max()))
    figure = Figure()
    cells = [_cell(row, names, top, colours) for row in table.to_dict("records")]
    diagonal = [(index, index) for index in range(len(names))]
    shown = list(display_names("domains", names).values())
    add_matrix(figure, cells, rows=shown, columns=shown, outlined=diagonal, colours=colours)
    add_scale(
        figure,
        colours,
        name="Jaccard of halves",
        scale=colours.blues,
        limits=(0.0, top),
        ticks=even_ticks(top),
        shape=(len(names), len(names)),
    )
    return finish(
        figure,
        colours,
        title=_title(table),
        subtitle=f"Mean and central 95 % of {int(table.repeats.min())} or more repeats · "
        "outlined: halves of one domain",
        height=CELL_HEIGHT * len(names) + 70,
        margin={"t": 24, "b": 46, "l": 110, "r": 20},
        narrowest=narrowest_matrix(len(names)),
    )


def example() -> dict[str, Any]:
    """Made data for the gallery and the laws: sets that come back, and share little."""
    rows = [
        ("general", "general", 0.31, 0.22, 0.4, 22.0, 21.0, 10),
        ("general", "legal", 0.06, 0.0, 0.13, 22.0, 17.0, 20),
        ("legal", "legal", 0.24, 0.12, 0.35, 18.0, 17.0, 10),
    ]
    return {"table": pd.DataFrame(rows, columns=list(COLUMNS))}


def _cell(row: dict[str, Any], names: list[str], top: float, colours: Palette) -> dict[str, Any]:
    # Names are in the order of first appearance, so every pair lies on one side of the diagonal.
    x, y = names.index(str(row["a"])), names.index(str(row["b"]))
    fill = colour_at(colours.blues, row["jaccard"] / top)
    spread = f"{row['low']:.2f}–{row['high']:.2f}"
    a, b = (escape(display_name("domains", str(row[one]))) for one in ("a", "b"))
    pair = f"two halves of {a}" if row["a"] == row["b"] else f"{a} and {b}"
    hover = (
        f"{pair}<br><b>Jaccard {row['jaccard']:.3f}</b> "
        f"{Estimate.from_row(row, 'jaccard').interval()}"
        f"<br>sets of {row['n_a']:.0f} and {row['n_b']:.0f}, {count(int(row['repeats']), 'repeat')}"
    )
    return cell((x, y), hover, value=f"<b>{row['jaccard']:.2f}</b>", small=spread, fill=fill)


def _title(table: pd.DataFrame) -> str:
    own = table.loc[table.a == table.b, "jaccard"]
    other = table.loc[table.a != table.b, "jaccard"]
    if own.empty or other.empty:
        return f"Halves have a mean Jaccard of {table.jaccard.mean():.2f}"
    halves, domains = f"{own.mean():.2f}", f"{other.mean():.2f}"
    return f"Halves of one domain have a Jaccard of {halves}, of two domains {domains}"
