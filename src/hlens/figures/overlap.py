"""Do domains share neurons? Jaccard and count below the diagonal, fold over chance above it.

To read it: the diagonal is the size of each set. Begin above it: a cell in colour shares more
neurons than random sets of the same layers do and, where the table has that null, than sets of like
contribution; then see below it how many that are.
It misleads when the sets are large or of unequal size: Jaccard then says little, and a small fold
of large sets may be more neurons than a large fold of small ones.
"""

import math
import random
from typing import Any

import pandas as pd

from hlens.claims.conventions import LEVEL
from hlens.counting import count
from hlens.display import display_name, display_names
from hlens.drawing.figure import Figure, escape, finish
from hlens.drawing.matrix import (
    CELL_HEIGHT,
    add_matrix,
    add_scale,
    cell,
    empty_cell,
    even_ticks,
    narrowest_matrix,
)
from hlens.drawing.table import check_columns, check_one_study, corrected_p, distinct
from hlens.drawing.theme import Palette, colour_at, ink_on, palette
from hlens.types import NeuronSet

COLUMNS = ("a", "b", "n_a", "n_b", "shared", "jaccard", "expected", "fold", "p_corrected")
BY_CONTRIBUTION = "p_corrected_contribution"


def draw(table: pd.DataFrame, *, theme: str = "light") -> Figure:
    """Draw the overlap matrix.

    Args:
        table: Columns ``a, b, n_a, n_b, shared, jaccard, expected, fold, p_corrected``, one row a
            pair of sets, as `hlens.evaluation.overlap` returns them; with its column
            ``p_corrected_contribution``, a pair must beat that null, too.
        theme: ``"light"`` or ``"dark"``.

    Raises:
        HlensError: A column is missing, there is no row, or one stands twice.
    """
    check_columns(table, COLUMNS, figure="overlap", source="evaluation.overlap")
    check_one_study(table, ("a", "b"), figure="overlap", unordered=True)
    by_contribution = BY_CONTRIBUTION in table
    colours = palette(theme)
    names = distinct(table.a, table.b)
    pairs = table.loc[table.a != table.b].to_dict("records")
    sizes = {str(row["a"]): row["n_a"] for row in pairs}
    sizes |= {str(row["b"]): row["n_b"] for row in pairs}
    top_jaccard = max([0.5, *(row["jaccard"] for row in pairs if not math.isnan(row["jaccard"]))])
    top_fold = max([10.0, *(row["fold"] for row in pairs if math.isfinite(row["fold"]))])
    figure = Figure()
    cells = []
    for name, n in sizes.items():
        at, hover = names.index(name), count(int(n), "neuron")
        looks = {"small": "neurons", "fill": colours.page, "ink": colours.muted}
        cells.append(cell((at, at), hover, value=f"{int(n):,}", **looks))
    for row in pairs:
        high, low = sorted((names.index(str(row["a"])), names.index(str(row["b"]))))
        cells.append(_jaccard_cell(row, (high, low), top_jaccard, colours))
        cells.append(_fold_cell(row, (low, high), top_fold, colours))
    shown = list(display_names("domains", names).values())
    add_matrix(figure, cells, rows=shown, columns=shown, colours=colours)
    shape, decades = (len(names), len(names)), [1.0, 10.0, 100.0, 1000.0, 10000.0]
    folds = [value for value in decades if value <= top_fold]
    marks = [math.log10(value) for value in folds], [f"{value:,.0f}×" for value in folds]
    add_scale(
        figure, colours, name="over chance (above)", scale=colours.oranges,
        limits=(0.0, math.log10(top_fold)), ticks=marks, shape=shape, half="upper",
    )  # fmt: skip
    add_scale(
        figure, colours, name="Jaccard (below)", scale=colours.blues, limits=(0.0, top_jaccard),
        ticks=even_ticks(top_jaccard), shape=shape, half="lower",
    )  # fmt: skip
    return finish(
        figure,
        colours,
        title=_title(pairs),
        subtitle="Below: Jaccard · above: fold over chance within layers · "
        f"* p ≤ .05, ** .01, *** .001{', also at like contribution' if by_contribution else ''}",
        height=CELL_HEIGHT * len(names) + 70,
        margin={"t": 24, "b": 46, "l": 110, "r": 20},
        narrowest=narrowest_matrix(len(names)),
    )


def example() -> dict[str, Any]:
    """Made data for the gallery and the laws: four domains share a core, two have little of it."""
    from hlens.evaluation import overlap  # slow to load, and seldom needed

    draw_from = random.Random(0)
    model = [(layer, neuron) for layer in range(12, 24) for neuron in range(1024)]
    core = draw_from.sample(model, 14)
    held = {"general": (43, 14), "science": (41, 11), "legal": (39, 9), "financial": (39, 8),
            "moral": (37, 2), "code": (36, 0)}  # fmt: skip
    sets = [
        NeuronSet(frozenset(core[:n] + draw_from.sample(model, size - n)), 24, 1024, name=name)
        for name, (size, n) in held.items()
    ]
    return {"table": overlap(sets)}


def stars(p: float) -> str:
    """Stars of a corrected p.

    >>> stars(0.0005), stars(0.03), stars(0.2)
    ('***', '*', '')
    """
    return "***" if p < 0.001 else "**" if p < 0.01 else "*" if p <= LEVEL else ""


def _largest_p(row: dict[str, Any]) -> float:
    """Corrected p of the null that explains the most; NaN where one could not be asked.

    Loud neurons are selected in every domain, so that random ones of their layers are beaten by
    sets that have only loudness in common.
    """
    own = row["p_corrected"], row.get(BY_CONTRIBUTION, 0.0)
    return math.nan if any(p is None or math.isnan(p) for p in own) else max(own)


def _hover(row: dict[str, Any]) -> str:
    p = corrected_p(_largest_p(row))
    a, b = (escape(display_name("domains", str(row[one]))) for one in ("a", "b"))
    return (
        f"{a} ({int(row['n_a']):,}) and {b} ({int(row['n_b']):,})"
        f"<br><b>{int(row['shared']):,} shared</b>, {row['expected']:.3g} expected by chance"
        f"{' · ' if p else ''}{p}<br>Jaccard {row['jaccard']:.3f}"
    )


def _jaccard_cell(
    row: dict[str, Any], position: tuple[int, int], top: float, colours: Palette
) -> dict[str, Any]:
    value = 0.0 if math.isnan(row["jaccard"]) else row["jaccard"]
    fill, small = colour_at(colours.blues, value / top), f"{int(row['shared']):,} shared"
    return cell(position, _hover(row), value=f"<b>{value:.2f}</b>", small=small, fill=fill)


def _fold_cell(
    row: dict[str, Any], position: tuple[int, int], top: float, colours: Palette
) -> dict[str, Any]:
    fold, p = row["fold"], _largest_p(row)
    if fold is None or math.isnan(fold):
        return empty_cell(position, _hover(row), colours)
    fill, ink, small = colours.faint, colours.muted, "n.s."
    if p <= LEVEL:  # colour is kept for what chance does not explain; NaN is not
        fill = colour_at(colours.oranges, math.log(max(fold, 1.0)) / math.log(top))
        ink, small = ink_on(fill), stars(p)
    value = f"<b>{'∞' if math.isinf(fold) else f'{fold:.3g}'}×</b>"
    return cell(position, _hover(row), value=value, small=small, fill=fill, ink=ink)


def _title(pairs: list[dict[str, Any]]) -> str:
    if not pairs:
        return "Only one set: nothing to compare"
    beyond = sum(_largest_p(row) <= LEVEL and row["fold"] > 1 for row in pairs)
    if len(pairs) == 1:
        row = pairs[0]
        more = "more than" if beyond else "no more than"
        shared = count(int(row["shared"]), "neuron")
        return f"{row['a']} and {row['b']} share {shared}, {more} chance"
    if beyond == len(pairs):
        return f"Every one of {count(len(pairs), 'pair')} shares more neurons than chance"
    if not beyond:
        return f"None of {count(len(pairs), 'pair')} shares more neurons than chance"
    return f"{beyond} of {count(len(pairs), 'pair')} share more neurons than chance"
