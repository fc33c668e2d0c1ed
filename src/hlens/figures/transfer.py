"""Does a probe carry over? AUROC of every probe on every domain, its interval in each cell.

To read it: a row is one probe; the outlined cell is its own domain. Cells marked n.s. may be
chance; inverse ones rank the wrong way round.
It misleads when a domain is easy: a high column says more about the tested domain than about the
probes, so read along the rows too.
"""

import math
from typing import Any

import pandas as pd

from hlens.figures._cells import (
    CELL_HEIGHT,
    add_cells,
    add_scale,
    cell,
    check_columns,
    corrected_p,
    empty_cell,
    in_order,
    matrix_axes,
    outline,
    share_of_width,
)
from hlens.figures._figure import Figure, escape, finish
from hlens.figures._theme import Palette, at, ink_on, palette
from hlens.types import Estimate

COLUMNS = ("train", "test", "auroc", "low", "high", "n")
BEST = 0.95


def draw(table: pd.DataFrame, *, theme: str = "light") -> Figure:
    """Draw the transfer matrix.

    Args:
        table: Columns ``train, test, auroc, low, high, n`` and perhaps ``p_corrected`` and
            ``note``, one row a pair, as `hlens.evaluation.transfer` returns them.
        theme: ``"light"`` or ``"dark"``.

    Raises:
        HlensError: A column is missing, or there is no row.
    """
    check_columns(table, COLUMNS, "transfer", "evaluation.transfer")
    colours = palette(theme)
    trained, tested = in_order(table.train), in_order(table.test)
    # Pooled training sets are no domain of their own and come last.
    trained.sort(key=lambda name: tested.index(name) if name in tested else len(tested))
    figure = Figure()
    rows = table.to_dict("records")
    add_cells(figure, [_cell(row, trained, tested, colours) for row in rows])
    for name in tested:
        if name in trained:
            outline(figure, tested.index(name), trained.index(name), colours)
    matrix_axes(figure, trained, tested, colours.ink)
    figure.update_layout(
        xaxis={"side": "top", "title": {"text": "tested on"}},
        yaxis={"title": {"text": "trained on"}},
    )
    ticks = [0.5, 0.6, 0.7, 0.8, 0.9]
    add_scale(
        figure,
        colours,
        name="AUROC",
        scale=colours.blues,
        limits=(0.5, BEST),
        ticks=(ticks, [f"{tick:.1f}" for tick in ticks]),
        x=share_of_width(len(tested)) + 0.03,
        y=1,
        length=min(1.0, 300 / (CELL_HEIGHT * len(trained))),
    )
    return finish(
        figure,
        colours,
        title=_title(table),
        subtitle=_subtitle(table),
        height=CELL_HEIGHT * len(trained) + 90,
        margin={"t": 66, "b": 24, "l": 110, "r": 20},
    )


def example() -> dict[str, Any]:
    """Made data for the gallery and the laws: six domains, of which two hardly transfer."""
    names = ("general", "science", "legal", "financial", "moral", "code")
    grid = (
        (0.90, 0.84, 0.72, 0.70, 0.61, 0.55),
        (0.81, 0.88, 0.68, 0.71, 0.58, 0.57),
        (0.74, 0.69, 0.86, 0.77, 0.63, 0.54),
        (0.71, 0.70, 0.79, 0.87, 0.59, 0.56),
        (0.62, 0.58, 0.60, 0.59, 0.83, 0.52),
        (0.56, 0.55, 0.54, 0.58, 0.47, 0.85),
    )
    rows = [
        {"train": a, "test": b, "auroc": v, "low": v - 0.05, "high": v + 0.05, "n": 200 + 20 * j}
        for i, a in enumerate(names)
        for j, (b, v) in enumerate(zip(names, grid[i], strict=True))
    ]
    return {"table": pd.DataFrame(rows)}


def holds_chance(row: dict[str, Any]) -> bool:
    """Whether the interval of a row includes 0.5."""
    return row["low"] <= 0.5 <= row["high"]


def _cell(
    row: dict[str, Any], trained: list[str], tested: list[str], colours: Palette
) -> dict[str, Any]:
    place = tested.index(str(row["test"])), trained.index(str(row["train"]))
    pair = f"trained on {escape(row['train'])}, tested on {escape(row['test'])}"
    if row["auroc"] is None or math.isnan(row["auroc"]):
        why = escape(row.get("note") or "could not be measured")
        return empty_cell(place, f"{pair}<br>{why}", colours)
    fill = at(colours.blues, (row["auroc"] - 0.5) / (BEST - 0.5))
    silent = holds_chance(row)
    ink = colours.muted if silent else ink_on(fill)
    said = "<br>n.s." if silent else "<br>inverse" if row["high"] < 0.5 else ""
    interval = f"{row['low']:.2f}–{row['high']:.2f}{said}"
    lines = [pair, f"<b>AUROC {row['auroc']:.3f}</b> {Estimate.from_row(row).interval()}"]
    p = corrected_p(row.get("p_corrected"))
    lines.append(f"n = {int(row['n']):,}" + (f" · drop from in-domain: {p}" if p else ""))
    lines += [escape(row["note"])] if isinstance(row.get("note"), str) and row["note"] else []
    return cell(place, f"{row['auroc']:.2f}", interval, fill, ink, "<br>".join(lines))


def _title(table: pd.DataFrame) -> str:
    known = table.loc[table.auroc.notna()]
    known = known.loc[known.train.isin(set(table.test))]  # without the pooled training sets
    own, other = known.loc[known.train == known.test], known.loc[known.train != known.test]
    if other.empty:
        return f"In-domain AUROC is {own.auroc.mean():.2f}; no transfer was measured"
    beats = int((other.low > 0.5).sum())
    if beats == len(other):
        carried = "every probe carries over"
    elif beats == 0:
        carried = "no probe carries over"
    else:
        carried = f"{beats} of {len(other)} transfers beat chance"
    if own.empty:
        return f"Across domains the mean AUROC is {other.auroc.mean():.2f}; {carried}"
    return f"AUROC is {own.auroc.mean():.2f} in-domain, {other.auroc.mean():.2f} across; {carried}"


def _subtitle(table: pd.DataFrame) -> str:
    low, high = int(table.n.min()), int(table.n.max())
    n = f"n = {low:,}" if low == high else f"n = {low:,} to {high:,}"
    return f"Held-out, {n} a cell · 95 % CI · outlined: in-domain · n.s.: CI holds 0.5"
