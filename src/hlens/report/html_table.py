"""Tables as HTML that sorts: every cell escaped, every number aligned."""

import math
from typing import Any

import pandas as pd

from hlens.counting import count
from hlens.display import display_table
from hlens.drawing.html import Html, escape, visible
from hlens.types import Estimate

MOST_ROWS = 1_000

_P_VALUES = {"p", "q", "p_bh", "p_max", "p_corrected", "p_adjusted"}


def table(frame: pd.DataFrame, caption: str, most: int = MOST_ROWS, tall: bool = False) -> Html:
    """A table whose columns sort by a click or the keyboard.

    Args:
        frame: Flat rows; cells are numbers, texts, booleans or `Estimate`. Keys are shown by their
            names (`hlens.display`).
        caption: What the table holds.
        most: Rows beyond this are left out, and the caption says so.
        tall: Let it scroll in a frame of its own where it is long.
    """
    shown = frame.head(most)
    if len(shown) < len(frame):
        caption = f"{caption} The first {len(shown):,} of {count(len(frame), 'row')} are shown."
    shown = display_table(shown)
    numeric = {str(name): _is_numeric(column) for name, column in frame.items()}
    head = "".join(_head(name, numeric[name]) for name in numeric)
    rows = [
        "<tr>"
        + "".join(_cell(value, str(name), numeric[str(name)]) for name, value in record.items())
        + "</tr>"
        for record in shown.to_dict("records")
    ]
    return Html(
        f'<div class="scroll{" tall" * tall}" tabindex="0" role="region" '
        f'aria-label="{escape(caption)}">'
        f'<table class="sortable"><caption>{escape(caption)}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>",
        caption,
    )


def estimate_column(
    frame: pd.DataFrame, value: str, low: str, high: str, name: str
) -> pd.DataFrame:
    """The frame with a number and its interval as one column, and without empty columns."""
    numbers = zip(frame[value], frame[low], frame[high], strict=True)
    cells = [
        None if pd.isna(v) else Estimate(float(v), float(a), float(b), 0) for v, a, b in numbers
    ]
    kept = frame.drop(columns=[value, low, high])
    column = pd.Series(cells, index=kept.index, dtype=object)
    kept.insert(list(frame.columns).index(value), name, column)
    return kept.replace("", None).dropna(axis="columns", how="all")


def auroc_column(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with AUROC and its interval as one column."""
    return estimate_column(frame, "auroc", "low", "high", "AUROC")


def difference_column(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    """The frame with a difference and its interval as one column of this name."""
    return estimate_column(frame, "difference", "difference_low", "difference_high", name)


def _is_numeric(column: pd.Series) -> bool:
    if pd.api.types.is_bool_dtype(column):
        return False
    return pd.api.types.is_numeric_dtype(column) or any(isinstance(v, Estimate) for v in column)


def _head(name: str, numeric: bool) -> str:
    kind = ' class="num"' if numeric else ""
    words = escape(name.replace("_", " "))
    return f'<th scope="col"{kind}><button type="button">{words}<i aria-hidden="true"></i></button>'


def _cell(value: Any, column: str, numeric: bool) -> str:
    if isinstance(value, Estimate):
        return f'<td class="num" data-v="{value.value!r}">{written(value)}'
    if isinstance(value, bool):
        return f"<td>{'yes' if value else 'no'}"
    if value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value)):
        return '<td class="num">–' if numeric else "<td>–"
    if isinstance(value, int | float):
        p_value = column in _P_VALUES
        return f'<td class="num" data-v="{value!r}">{number(value, p_value)}'
    return f"<td>{escape(visible(str(value)))}"


def number(value: float | int, p_value: bool = False) -> str:
    """A number as tables write it.

    >>> number(46080), number(0.88412), number(1.0), number(0.000012, p_value=True)
    ('46,080', '0.884', '1', '&lt;0.001')
    """
    if p_value and value < 0.001:
        return "&lt;0.001"
    if float(value).is_integer() and abs(value) < 1e15:
        return f"{int(value):,}".replace("-", "−")
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    written = f"{value:,.3f}" if 0.001 <= abs(value) < 1e6 else f"{value:.2e}"
    return written.replace("-", "−")


def written(estimate: Estimate) -> str:
    """An estimate with its interval.

    >>> written(Estimate(-0.021, -0.067, 0.024, 295))
    '−0.021 <small>[−0.067, 0.024]</small>'
    """
    return f"{number(estimate.value)} <small>{estimate.interval(number)}</small>"
