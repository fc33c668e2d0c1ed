"""Pictures of the results, drawn from the tables that stand in the pages.

````{drawn} transfer```` draws the table that follows it in the page with `hlens.figures.transfer`,
light and dark. Nothing is kept twice: who mends a number in the table mends the picture. What a
table does not say, such as the number of held-out answers, is an option.
"""

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

import pandas as pd
from docutils import nodes
from docutils.parsers.rst import directives
from hlens_figures import figure_html
from sphinx.util.docutils import SphinxDirective

from hlens import lookup
from hlens.types.labels import (
    ALL_MODELS,
    COMBINED,
    H_NEURONS,
    OUTPUT,
    Control,
    Place,
    SiblingReading,
)

Rows = list[list[str]]

NUMBER = r"[-+−]?\d*\.?\d+(?:e-?\d+)?"
ESTIMATE = re.compile(rf"({NUMBER}) \[({NUMBER}), ({NUMBER})\]")
CONTROLS = {
    "the sparse probe": Control.PROBE,
    "its neurons, refitted": Control.SELECTED_REFIT,
    "as many random neurons": Control.RANDOM_NEURONS,
    "shuffled labels": Control.SHUFFLED_LABELS,
    "length of the answer": Control.ANSWER_LENGTH,
    "domain alone": Control.DOMAIN_ALONE,
}
PLACES = {
    "end of the prompt": Place.PROMPT,
    "predicted": Place.PREDICTED,
    "read": Place.READ,
}
READINGS = (SiblingReading.AS_IS, SiblingReading.REALIGNED, SiblingReading.REFITTED)


@dataclass(frozen=True)
class PageTable:
    """A table as it stands in a page: its heads, and the text of each cell."""

    heads: list[str]
    rows: Rows


@dataclass(frozen=True)
class Said:
    """What the directive says beside the table."""

    n: int = 0  # held-out answers
    row: str = ""  # of the table, where a figure is of one
    column: int = 1  # that is drawn, where the table has several
    reference: str = ""  # the row that the others are compared with


def number(cell: str) -> float:
    """The number in a cell; NaN where there is none.

    >>> number("−.001"), number("< 0.001"), number("72.6 %"), number("–")
    (-0.001, 0.001, 72.6, nan)
    """
    found = re.search(NUMBER, cell)
    return float(found[0].replace("−", "-")) if found else math.nan


def estimate(cell: str, prefix: str = "", value: str = "auroc") -> dict[str, float]:
    """A value and its interval, by the columns of a figure's table.

    >>> estimate("0.82 [0.75, 0.87]")
    {'auroc': 0.82, 'low': 0.75, 'high': 0.87}
    """
    found = ESTIMATE.search(cell)
    ends = map(number, found.groups()) if found else (math.nan,) * 3
    return dict(zip((value, f"{prefix}low", f"{prefix}high"), ends, strict=True))


def scores(table: PageTable, said: Said) -> dict[str, Any]:
    """Rows ``what | AUROC | low to high``, with the number of answers in the first head."""
    size = re.search(r"n = (\d+)", table.heads[0])
    rows = []
    for label, value, interval, *_ in table.rows:
        control = next((own for start, own in CONTROLS.items() if label.startswith(start)), None)
        ends = re.findall(NUMBER, interval)
        if control is None or len(ends) < 2:
            continue  # one that reads nothing: its value is that of chance
        repeats = re.search(r"\((\d+) (?:draws|fits)\)", label)
        rows.append(
            {
                "control": control,
                "auroc": number(value),
                "low": float(ends[0]),
                "high": float(ends[1]),
                "n": int(size[1]) if size else said.n,
                "repeats": int(repeats[1]) if repeats else 1,
            }
        )
    return {"table": pd.DataFrame(rows)}


def transfer(table: PageTable, said: Said) -> dict[str, Any]:
    """A row a training domain, a column a tested one; the page does not say n of each cell."""
    rows = [
        {"train": trained, "test": tested, **estimate(cell), "n": math.nan}
        for trained, *cells in table.rows
        for tested, cell in zip(table.heads[1:], cells, strict=True)
    ]
    return {"table": pd.DataFrame(rows)}


def leaderboard(table: PageTable, said: Said) -> dict[str, Any]:
    """Rows ``detector | AUROC | reference less it | p``, the reference among them."""
    named = {"output numbers": OUTPUT, said.reference: COMBINED}
    rows = []
    for label, *cells in table.rows:
        row = {"detector": named.get(label, label), **estimate(cells[said.column - 1])}
        row |= {"n": said.n, **estimate(cells[said.column], "difference_", "difference")}
        if table.heads[-1].startswith("p "):
            row["p_corrected"] = number(cells[-1])
        rows.append(row)
    reference = COMBINED if said.reference else H_NEURONS
    return {"table": pd.DataFrame(rows), "reference": reference}


def positions(table: PageTable, said: Said) -> dict[str, Any]:
    """Rows ``where | token | answers | neurons | output | both less output | p``."""
    rows: list[dict[str, Any]] = []
    for where, token, answers, neurons, output, gain, p in table.rows:
        place = {"place": str(PLACES[where]), "token": int(number(token)), "n": int(answers)}
        rows.append({**place, "detector": H_NEURONS, **estimate(neurons)})
        own, added = estimate(output), estimate(gain, "difference_", "difference")
        if not math.isnan(own["auroc"]):
            both = own["auroc"] + added["difference"]  # whose interval the page does not say
            rows.append({**place, "detector": OUTPUT, **own})
            rows.append(
                {**place, "detector": COMBINED, "auroc": both, "low": math.nan, "high": math.nan}
                | {**added, "p_corrected": number(p)}
            )
    return {"table": pd.DataFrame(rows)}


def refits(table: PageTable, said: Said) -> dict[str, Any]:
    """Rows ``control | AUROC | neurons | shared | as found less it``."""
    rows = [
        {"control": control, **estimate(value), "n": said.n, "shared": number(shared)}
        for control, value, _, shared, *_ in table.rows
    ]
    return {"table": pd.DataFrame(rows)}


def selectors(table: PageTable, said: Said) -> dict[str, Any]:
    """Rows ``selector | neurons | AUROC | L1 less it | shared by halves | of L1's``."""
    rows = []
    for name, neurons, value, less, shared, *_ in table.rows:
        row = {"selector": name.lower().replace(" ", "_"), "neurons": int(neurons), "n": said.n}
        row |= estimate(value) | estimate(less, "difference_", "difference")
        rows.append(row | estimate(shared, "shared_", "shared"))
    return {"table": pd.DataFrame(rows)}


def sibling(table: PageTable, said: Said) -> dict[str, Any]:
    """One row ``sibling | as is | realigned | found afresh``, and that of the model at home."""
    cells = {name: row for name, *row in table.rows}
    home = next(row[0] for name, row in cells.items() if "home" in name)
    read = {SiblingReading.HOME: home, **dict(zip(READINGS, cells[said.row], strict=True))}
    rows = [{"detector": name, **estimate(cell), "n": said.n} for name, cell in read.items()]
    return {"table": pd.DataFrame(rows)}


def drops(table: PageTable, said: Said) -> dict[str, Any]:
    """Rows ``model (n answers) | within | across | drop | p``, and one of all models."""
    rows = []
    for label, within, across, drop, p in table.rows:
        model, _, size = label.partition(" (")
        row = {"model": model, "within": number(within), "across": number(across)}
        rows.append(row | estimate(drop, value="drop") | {"p": number(p), "n": number(size)})
    made = pd.DataFrame(rows)
    together = made["model"] == "both"
    made.loc[together, "n"] = made["n"].sum()
    return {"table": made.assign(model=made["model"].mask(together, ALL_MODELS))}


READERS: dict[str, Callable[[PageTable, Said], dict[str, Any]]] = {
    one.__name__: one
    for one in (scores, transfer, leaderboard, positions, refits, selectors, sibling, drops)
}


def drawn(name: str, table: PageTable, said: Said) -> str:
    """The element of a figure that is drawn from a page's table, in both themes."""
    data = READERS[name](table, said)
    draw = lookup.member("figures", name).draw
    return figure_html(draw(**data), draw(**data, theme="dark"))


class _Placeholder(nodes.General, nodes.Element):
    """Where a figure will stand, once the table behind it is read."""


class _Drawn(SphinxDirective):
    required_arguments = 1
    option_spec: ClassVar[Any] = {
        "n": directives.positive_int,
        "row": directives.unchanged,
        "column": directives.positive_int,
        "reference": directives.unchanged,
    }

    def run(self) -> list[nodes.Node]:
        name = self.arguments[0]
        if name not in READERS:
            raise self.error(f"no figure {name!r} of a page's table; use {', '.join(READERS)}")
        self.env.note_reread()  # figures change with the code
        return [_Placeholder("", name=name, said=Said(**self.options))]


def _draw(app: Any, doctree: Any) -> None:
    """Put a figure in the place of each placeholder, from the next table of the page."""
    order = list(doctree.findall(lambda n: isinstance(n, _Placeholder | nodes.table)))
    for at, node in enumerate(order):
        if isinstance(node, _Placeholder):
            table = next(one for one in order[at:] if isinstance(one, nodes.table))
            html = drawn(node["name"], _read(table), node["said"])
            node.replace_self(nodes.raw("", html, format="html"))


def _read(table: Any) -> PageTable:
    heads, *rows = (_cells(row) for row in table.findall(nodes.row))
    return PageTable(heads, rows)


def _cells(row: Iterable[Any]) -> list[str]:
    return [" ".join(cell.astext().split()) for cell in row]


def setup(app: Any) -> dict[str, bool]:
    """Register the directive."""
    app.add_node(_Placeholder)
    app.add_directive("drawn", _Drawn)
    app.connect("doctree-read", _draw)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
