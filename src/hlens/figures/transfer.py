"""Does a probe carry over? AUROC of every probe on every domain, its interval in each cell.

To read it: a row is one probe; the outlined cell is its own domain. Cells marked n.s. may be
chance; inverse ones rank the wrong way round.
It misleads when a domain is easy: a high column says more about the tested domain than about the
probes, so read along the rows too.
"""

import math
from typing import Any

import pandas as pd

from hlens.display import display_name, display_names
from hlens.drawing.figure import Figure, escape, finish
from hlens.drawing.matrix import (
    CELL_HEIGHT,
    add_matrix,
    add_scale,
    cell,
    empty_cell,
    narrowest_matrix,
)
from hlens.drawing.table import check_columns, check_one_study, corrected_p, distinct, n_range
from hlens.drawing.theme import Palette, colour_at, ink_on, palette

COLUMNS = ("train", "test", "auroc", "low", "high", "n")
BEST = 0.95


def draw(table: pd.DataFrame, *, theme: str = "light") -> Figure:
    """Draw the transfer matrix.

    Args:
        table: Columns ``train, test, auroc, low, high, n`` and perhaps ``p_corrected`` and
            ``note``, one row a pair, as `hlens.evaluation.transfer` returns them. An ``n`` that
            is not known may be missing.
        theme: ``"light"`` or ``"dark"``.

    Raises:
        HlensError: A column is missing, there is no row, or one stands twice.
    """
    check_columns(table, COLUMNS, figure="transfer", source="evaluation.transfer")
    check_one_study(table, ("train", "test"), figure="transfer")
    colours = palette(theme)
    trained, tested = distinct(table.train), distinct(table.test)
    # Pooled training sets are tested on no domain of their own and come last.
    trained.sort(key=lambda name: tested.index(name) if name in tested else len(tested))
    figure = Figure()
    cells = [_cell(row, trained, tested, colours) for row in table.to_dict("records")]
    own = [(tested.index(name), trained.index(name)) for name in tested if name in trained]
    names = display_names("domains", trained + tested)
    add_matrix(
        figure, cells, rows=[names[one] for one in trained],
        columns=[names[one] for one in tested], outlined=own, colours=colours,
    )  # fmt: skip
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
        shape=(len(trained), len(tested)),
    )
    size = f", {n_range(table.n)} a cell" if table.n.notna().all() else ""
    return finish(
        figure,
        colours,
        title=_title(table),
        subtitle=f"Held-out{size} · 95 % CI · outlined: in-domain · n.s.: CI holds 0.5",
        height=CELL_HEIGHT * len(trained) + 90,
        margin={"t": 66, "b": 24, "l": 110, "r": 20},
        narrowest=narrowest_matrix(len(tested)),
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


def _cell(
    row: dict[str, Any], trained: list[str], tested: list[str], colours: Palette
) -> dict[str, Any]:
    position = tested.index(str(row["test"])), trained.index(str(row["train"]))
    train, test = (escape(display_name("domains", str(row[one]))) for one in ("train", "test"))
    pair = f"trained on {train}, tested on {test}"
    if row["auroc"] is None or math.isnan(row["auroc"]):
        reason = escape(row.get("note") or "could not be measured")
        return empty_cell(position, f"{pair}<br>{reason}", colours)
    fill = colour_at(colours.blues, (row["auroc"] - 0.5) / (BEST - 0.5))
    may_be_chance = row["low"] <= 0.5 <= row["high"]
    ink = colours.muted if may_be_chance else ink_on(fill)
    remark = "<br>n.s." if may_be_chance else "<br>inverse" if row["high"] < 0.5 else ""
    interval = f"{row['low']:.2f}–{row['high']:.2f}{remark}"
    lines = [pair, f"<b>AUROC {row['auroc']:.3f}</b> [{row['low']:.3f}, {row['high']:.3f}]"]
    p = corrected_p(row.get("p_corrected"))
    facts = [] if math.isnan(row["n"]) else [f"n = {int(row['n']):,}"]
    facts += [f"drop from in-domain: {p}"] if p else []
    lines += [" · ".join(facts)] if facts else []
    lines += [escape(row["note"])] if isinstance(row.get("note"), str) and row["note"] else []
    value = f"<b>{row['auroc']:.2f}</b>"
    return cell(position, "<br>".join(lines), value=value, small=interval, fill=fill, ink=ink)


def _title(table: pd.DataFrame) -> str:
    """Numbers beside numbers: whether every probe carries over, an audit says."""
    known = table.loc[table.auroc.notna()]
    known = known.loc[known.train.isin(set(table.test))]  # without the pooled training sets
    own, other = known.loc[known.train == known.test], known.loc[known.train != known.test]
    if other.empty:
        return f"In-domain AUROC is {own.auroc.mean():.2f}; no transfer was measured"
    lowest = f"{other.auroc.min():.2f} at least"
    if own.empty:
        return f"Across domains the mean AUROC is {other.auroc.mean():.2f}, {lowest}"
    return f"AUROC is {own.auroc.mean():.2f} in-domain, {other.auroc.mean():.2f} across, {lowest}"
