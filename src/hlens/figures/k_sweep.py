"""Is sparsity real? AUROC against the number of neurons, selected beside random ones.

To read it: how far left does the solid line reach the ceiling of all neurons, and how many more
random neurons does the dotted line need for the same? Lines without a band are as many neurons by
other selectors.
It misleads when the selected neurons were ranked on the examples that score them: the curve must
come from held-out answers.
"""

from collections.abc import Iterator
from typing import Any

import pandas as pd

from hlens.counting import count
from hlens.drawing.curves import add_curve
from hlens.drawing.figure import Figure, add_note, escape, finish
from hlens.drawing.table import check_columns, check_one_study, distinct
from hlens.drawing.theme import Palette, palette
from hlens.types import Estimate
from hlens.types.labels import Sweep

COLUMNS = ("neurons", "k", "auroc", "low", "high", "n")


def draw(table: pd.DataFrame, *, ceiling: Estimate | None = None, theme: str = "light") -> Figure:
    """Draw the sweep.

    Args:
        table: Columns ``neurons, k, auroc, low, high, n`` and perhaps ``chosen``, as
            `hlens.evaluation.k_sweep` returns them; the first value of ``neurons`` is the claim,
            the others are controls. A row ``"all neurons, L2"`` is the ceiling.
        ceiling: The full probe on all neurons, where the table has no such row.
        theme: ``"light"`` or ``"dark"``.

    Raises:
        HlensError: A column is missing, there is no row, or one stands twice.
    """
    check_columns(table, COLUMNS, figure="k_sweep", source="evaluation.k_sweep")
    check_one_study(table, ("neurons", "k"), figure="k_sweep")
    colours = palette(theme)
    whole = table.loc[table.neurons == Sweep.ALL]
    if len(whole):
        ceiling = ceiling or Estimate.from_row(whole.to_dict("records")[0])
        table = table.loc[table.neurons != Sweep.ALL]
    sets = distinct(table.neurons)
    figure = Figure()
    if ceiling is not None:
        _add_ceiling(figure, table, ceiling, colours)
    for name, colour, symbol in _styles(sets, colours):
        add_curve(
            figure, table.loc[table.neurons == name], x="k", y="auroc", name=escape(name),
            colour=colour, symbol=symbol, control=symbol == "square", unit="k = ",
            band=symbol in ("circle", "square"),
        )  # fmt: skip
    figure.add_hline(y=0.5, line={"color": colours.ink, "width": 1, "dash": "dash"})
    add_note(
        figure, "chance", x=1, y=0.5, colour=colours.muted, xref="paper", yref="y",
        xanchor="right", yanchor="bottom",
    )  # fmt: skip
    ticks = sorted({int(k) for k in table.k})
    figure.update_layout(
        xaxis={
            "type": "log",
            "title": {"text": "neurons that the probe may read (k)"},
            "tickvals": ticks if len(ticks) <= 14 else None,
            "ticktext": [f"{k:,}" for k in ticks] if len(ticks) <= 14 else None,
            "showgrid": False,
        },
        yaxis={"title": {"text": "AUROC"}, "dtick": 0.1, "tickformat": ".1f"},
    )
    return finish(
        figure,
        colours,
        title=_title(table, sets, ceiling),
        subtitle=f"{count(int(table.n.max()), 'held-out answer')} · bands: 95 % interval; for "
        "random "
        "neurons, the spread of draws",
        height=420,
        margin={"t": 44, "b": 56, "l": 60, "r": 28},
    )


def example() -> dict[str, Any]:
    """Made data for the gallery and the laws: selection helps, and many random neurons catch up."""
    rows = []
    for k in (1, 4, 16, 64, 256, 1024):
        for name, top in (("selected", 12), ("random", 150), ("best alone", 30)):
            auroc = 0.86 - 0.3 * 2.718 ** (-k / top)
            rows.append((name, k, auroc, auroc - 0.03, auroc + 0.03, 420))
    return {
        "table": pd.DataFrame(rows, columns=list(COLUMNS)),
        "ceiling": Estimate(0.87, 0.84, 0.9, 420),
    }


def _styles(sets: list[str], colours: Palette) -> Iterator[tuple[str, str, str]]:
    """Name, colour and symbol of each set: the claim, controls, then other selectors."""
    yield sets[0], colours.positive, "circle"
    controls = [name for name in sets[1:] if "random" in name]
    others = [name for name in sets[1:] if name not in controls]
    for index, name in enumerate(controls):
        yield name, [colours.control, colours.neutral][min(index, 1)], "square"
    for index, name in enumerate(others):
        styles = [(colours.second, "diamond"), (colours.ink, "triangle-up"), (colours.muted, "x")]
        yield name, *styles[min(index, 2)]


def _add_ceiling(figure: Figure, table: pd.DataFrame, ceiling: Estimate, colours: Palette) -> None:
    numbers = {"auroc": ceiling.value, "low": ceiling.low, "high": ceiling.high, "n": ceiling.n}
    line = pd.DataFrame({"k": [int(table.k.min()), int(table.k.max())], **numbers})
    name = f"{Sweep.ALL}: {ceiling.value:.2f}"
    add_curve(figure, line, x="k", y="auroc", name=name, colour=colours.ink, unit="k = ")
    figure.data[-1].update(mode="lines", line={"width": 1.6})


def _title(table: pd.DataFrame, sets: list[str], ceiling: Estimate | None) -> str:
    """Numbers beside numbers: whether a few are enough, an audit says."""
    own = table.loc[table.neurons == sets[0]].sort_values("k")
    shown = own.loc[own.auroc.idxmax()]
    if "chosen" in own and own.chosen.any():
        shown = own.loc[own.chosen.astype(bool)].iloc[0]
    k = int(shown.k)
    parts = [f"{count(k, 'selected neuron')} {'reaches' if k == 1 else 'reach'} {shown.auroc:.2f}"]
    drawn = table.neurons.astype(str).str.contains("random") & (table.neurons != sets[0])
    random = table.loc[drawn & (table.k == k), "auroc"]
    parts.append(f"as many random {random.max():.2f}" if len(random) else "no random were drawn")
    if ceiling is not None:
        parts.append(f"all of them {ceiling.value:.2f}")
    return ", ".join(parts)
