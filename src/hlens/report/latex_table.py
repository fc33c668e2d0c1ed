"""Tables for a paper: LaTeX with booktabs, an interval beside its number, nothing left out.

A table that is wider than a page is set in parts, one below the other, whose rows begin alike; one
that is longer is set as several. A number that is the same in every row is said once, in the
caption, and notes on rows are set below the table.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import ceil, floor, isfinite, log10
from string import ascii_lowercase
from typing import Any

import pandas as pd

from hlens.display import FAMILY_OF, display_name
from hlens.report.latex_text import escape

# In widths of a digit, by the size of the type, where LaTeX's article has 345 pt.
SIZES = (("", 68), (r"\small", 74), (r"\footnotesize", 78))
GAP = 2  # between two columns
WIDEST = SIZES[-1][1]
LONG = 30  # a text that is longer is broken into lines
FILLED = 0.85  # of a line of broken text, about
MOST_LINES = 48  # of one float
AROUND = 4  # lines of each part beside its rows: its head, rules, and the gap behind it
RUN = 20  # signs without a blank that TeX is told where to break
SAME = 3  # rows from which a column of one number is left to the caption

HEADS = {
    "auroc": "AUROC", "auroc_drop": "AUROC drop", "cv_auroc": "cross-validated AUROC", "n": "$n$",
    "cv_se": "its standard error", "p": "$p$", "p_corrected": "corrected $p$",
    "p_chance": "$p$ against chance", "p_bh": "$p$ (Benjamini--Hochberg)",
    "n_train": "$n$ training",
    "n_a": "$n_a$", "n_b": "$n_b$", "a": "$a$", "b": "$b$", "rho": r"$\rho$", "k": "$k$",
    "p_hypergeometric": "$p$, hypergeometric", "p_contribution": "$p$, by contribution",
    "p_corrected_hypergeometric": "corrected $p$, hypergeometric",
    "p_corrected_contribution": "corrected $p$, by contribution", "h_neurons": "H-neurons",
    "n_sets": "sets", "n_either": "$n$ either", "n_both": "$n$ both", "what": "",
    "with_l1": "shared with L1",
}  # fmt: skip

_ONE = r"[+−-]?\d[\d,.]*%?"
_NUMBER = re.compile(rf"{_ONE}( \[{_ONE}, {_ONE}\]| to {_ONE})?")


@dataclass(frozen=True)
class _Column:
    """A column as it is written: `width` in widths of a digit, of its cells and of its head."""

    head: str
    cells: list[str]
    width: int
    is_text: bool
    same: bool = False

    @property
    def is_long(self) -> bool:
        return self.is_text and self.width > LONG

    @property
    def least(self) -> int:
        """Width that it takes at least."""
        return min(self.width, LONG) + GAP


def latex_table(frame: pd.DataFrame, caption: str, label: str, *, intervals: str = "") -> str:
    r"""A table as LaTeX that a document with ``\usepackage{booktabs}`` takes by ``\input``.

    Args:
        frame: Flat rows, at least one; ``X_low`` and ``X_high`` are the ends of the column before.
        caption: A sentence or two, plain text.
        label: Of letters, digits and hyphens once it is written; plain text.
        intervals: What the intervals are, plain text; said where there are some.

    Returns:
        One ``table`` environment, or several of a long table.
    """
    given = frame["note"] if "note" in frame else [""] * len(frame)
    notes = ["" if _is_missing(one) else str(one) for one in given]
    columns, brackets = _columns(frame.drop(columns="note", errors="ignore"))
    first, *others = columns
    marks = {note: _mark(number) for number, note in enumerate(dict.fromkeys(filter(None, notes)))}
    cells = [cell + marks.get(note, "") for cell, note in zip(first.cells, notes, strict=True)]
    first = replace(first, cells=cells)
    said = [f"{one.head}: {one.cells[0]}" for one in others if one.same]
    columns = [first, *(one for one in others if not one.same)]
    if len(frame) == 1 and _width(columns) > WIDEST:
        columns = _turned(columns)
    parts = _parts(columns)
    words = escape(caption)
    words += f" In every row: {'; '.join(said)}." if said else ""
    words += f" In brackets: {escape(intervals)}." if brackets and intervals else ""
    size, widest = next((one for one in SIZES if _width(columns) <= one[1]), SIZES[-1])
    heights = [_heights(part, widest) for part in parts]
    beside = AROUND * len(parts) + ceil((_set_width(words) + sum(map(_set_width, marks))) / WIDEST)
    slices = _floats([sum(rows) for rows in zip(*heights, strict=True)], MOST_LINES - beside)
    key = re.sub(r"[^a-z0-9]+", "-", label.lower()).strip("-")
    return "\n\n".join(
        _float(
            [_tabular(part, chosen, widest) for part in parts],
            size=size,
            caption=words if len(slices) == 1 else f"{words} ({number} of {len(slices)})",
            label=f"tab:{key}" if number == 1 else f"tab:{key}-{number}",
            notes=[
                f"{mark}{escape(note)}" for note, mark in marks.items() if note in notes[chosen]
            ],
        )
        for number, chosen in enumerate(slices, 1)
    )


def _heights(columns: Sequence[_Column], widest: int) -> list[int]:
    """How many lines each row takes, by the cell that is broken into most."""
    heights = [1] * len(columns[0].cells)
    for one in columns:
        if one.is_long:
            full = FILLED * _broken_at(one, columns, widest)
            lines = [ceil(_set_width(cell) / full) for cell in one.cells]
            heights = list(map(max, heights, lines))
    return heights


def _broken_at(column: _Column, columns: Sequence[_Column], widest: int) -> float:
    """How wide a long column is set: it has its share of what the others leave of a line."""
    left = max(0, widest - _width(columns))
    return min(float(column.width), LONG + left / sum(one.is_long for one in columns))


def _floats(heights: Sequence[int], most: int) -> list[slice]:
    """The rows of each float, which holds at least one."""
    starts, lines = [0], 0
    for at, height in enumerate(heights):
        if lines and lines + height > most:
            starts.append(at)
            lines = 0
        lines += height
    return list(map(slice, starts, [*starts[1:], len(heights)]))


def _turned(columns: Sequence[_Column]) -> list[_Column]:
    """A single row as one column, behind a column of what its numbers are."""
    heads, cells = [one.head for one in columns], [one.cells[0] for one in columns]
    widest = max(one.width for one in columns)
    return [
        _Column("", heads, max(map(_set_width, heads)), is_text=True),
        _Column("", cells, widest, is_text=any(one.is_long for one in columns)),
    ]


def _mark(number: int) -> str:
    return rf"\textsuperscript{{{ascii_lowercase[number]}}}" if number < 26 else f"({number + 1})"


def _float(
    tabulars: Iterable[str], *, size: str, caption: str, label: str, notes: Sequence[str]
) -> str:
    lines = [r"\begin{table}[tbp]", r"\centering", rf"\caption{{{caption}}}", rf"\label{{{label}}}"]
    lines += [r"\par\smallskip", r"\setlength{\tabcolsep}{4pt}"]
    lines += [size] if size else []
    lines.append("\n\n\\medskip\n".join(tabulars))
    if notes:
        below = " ".join(f"{one}." for one in notes)
        lines.append(rf"\par\smallskip\parbox{{\linewidth}}{{\raggedright {below}}}")
    return "\n".join([*lines, r"\end{table}"])


def _tabular(columns: Sequence[_Column], rows: slice, widest: int) -> str:
    kinds = []
    for one in columns:
        kind = "l" if one.is_text else "r"
        if one.is_long:
            share = _broken_at(one, columns, widest) / (widest + GAP)
            kind = rf"p{{{share:.2f}\linewidth}}"
        kinds.append(kind)
    ragged = [r"\raggedright " * one.is_long for one in columns]
    # In a column of broken lines \\ would end the line and not the row.
    end = r" \tabularnewline" if any(ragged) else r" \\"
    head = " & ".join(one.head for one in columns)
    body = [
        " & ".join(before + cell for before, cell in zip(ragged, row, strict=True)) + end
        for row in zip(*(one.cells[rows] for one in columns), strict=True)
    ]
    return "\n".join([
        rf"\begin{{tabular}}{{@{{}}{''.join(kinds)}@{{}}}}",
        r"\toprule",
        *([head + end, r"\midrule"] if any(one.head for one in columns) else []),
        *body,
        r"\bottomrule",
        r"\end{tabular}",
    ])  # fmt: skip


def _set_width(text: str) -> int:
    """About how wide a text is set, in widths of a digit."""
    narrow, wide = (
        sum(text.count(one) for one in "fijlrtI.,:;!'|[]() "),
        sum(map(str.isupper, text)),
    )
    return round(len(text) - 0.4 * narrow + 0.4 * (wide + text.count("m") + text.count("w")))


def _width(columns: Sequence[_Column]) -> int:
    return sum(one.least for one in columns) - GAP


def _parts(columns: Sequence[_Column]) -> list[list[_Column]]:
    """The columns side by side as far as a page is wide; the first ones name the rows of each."""
    keys: list[_Column] = []
    for one in columns:
        if keys and (not one.is_text or one.is_long or _width([*keys, one]) > 2 * WIDEST / 3):
            break
        keys.append(one)
    parts = [list(keys)]
    for one in columns[len(keys) :]:
        if len(parts[-1]) > len(keys) and _width([*parts[-1], one]) > WIDEST:
            parts.append(list(keys))
        parts[-1].append(one)
    return parts


def _columns(frame: pd.DataFrame) -> tuple[list[_Column], bool]:
    """All columns that hold something, and whether there are intervals among them."""
    names = [str(name) for name in frame.columns]
    found: list[_Column] = []
    brackets, at = False, 0
    while at < len(names):
        name = names[at]
        values = [None if _is_missing(value) else value for value in frame.iloc[:, at]]
        ends = _ends(names, at)
        if ends:
            brackets = True
            low, high = ([*frame.iloc[:, end]] for end in ends)
            found.append(_estimates(name, values, low, high))
            names = [n for i, n in enumerate(names) if i not in ends]
            frame = frame.iloc[:, [i for i in range(frame.shape[1]) if i not in ends]]
        elif any(value is not None and value != "" for value in values) or not at:
            found.append(_plain(name, values))
        at += 1
    return found, brackets


def _ends(names: Sequence[str], at: int) -> tuple[int, int] | None:
    """Where the ends of a column's interval are, if the next column is its lower one."""
    lower = names[at + 1] if at + 1 < len(names) else ""
    upper = lower[: -len("low")] + "high"
    # Ends of something that has no column of its own may follow any other.
    own = lower == "low" or (lower.endswith("_low") and lower[: -len("_low")] in names[at])
    return (at + 1, names.index(upper)) if own and upper in names else None


def _is_p(name: str) -> bool:
    return name == "p" or name.startswith("p_") or name.endswith("_p")


def _plain(name: str, values: Sequence[Any]) -> _Column:
    known = [value for value in values if value is not None]
    if known and all(_is_number(value) for value in known):
        is_p = _is_p(name)
        decimals = 3 if is_p else _decimals(known)
        texts = ["–" if v is None else write_number(v, decimals, is_p=is_p) for v in values]
    else:
        words = ["" if value is None else _word(value) for value in values]
        family = FAMILY_OF.get(name)
        texts = words if family is None else [display_name(family, word) for word in words]
    return _column(name, texts)


def _estimates(
    name: str, values: Sequence[Any], low: Sequence[Any], high: Sequence[Any]
) -> _Column:
    """Numbers with their intervals, each number padded to the widest of its place."""
    triples = [
        [None if _is_missing(one) else one for one in row]
        for row in zip(values, low, high, strict=True)
    ]
    known = [one for row in triples for one in row if one is not None]
    if not all(map(_is_number, known)):  # which a verb has written out already
        texts = [f"{v} [{a}, {b}]" if a and b else str(v or "–") for v, a, b in triples]
        return _column(name, texts)
    decimals = _decimals(known)
    written = [["" if v is None else write_number(v, decimals) for v in row] for row in triples]
    widths = [max(map(len, place)) for place in zip(*written, strict=True)]
    longest = [max(place, key=len) for place in zip(*written, strict=True)]

    def padded(text: str, place: int) -> str:
        lacking = longest[place][: widths[place] - len(text)]
        return rf"\phantom{{{_math(lacking)}}}{_math(text)}" if lacking else _math(text)

    blank = rf"\phantom{{\;[{_math(longest[1])}, {_math(longest[2])}]}}"
    cells = []
    for value, lower, upper in written:
        if not (value and lower and upper) and (lower or upper):  # a lone end is not left out
            known = (f"${_math(one)}$" if one else "--" for one in (value, lower, upper))
            cells.append("{}~[{}, {}]".format(*known))
        elif not value:
            cells.append("--")
        elif lower and upper:
            cells.append(f"${padded(value, 0)}\\;[{padded(lower, 1)}, {padded(upper, 2)}]$")
        else:
            cells.append(f"${_math(value)}{blank if longest[1] else ''}$")
    head = _head(name)
    return _Column(
        head, cells, max(_set_width(head), sum(widths) + 2 * bool(longest[1])), is_text=False
    )


def _column(name: str, texts: Sequence[str]) -> _Column:
    """A column of texts, right-aligned where they are numbers."""
    is_text = not all(_NUMBER.fullmatch(text) or text in ("", "–", "< 0.001") for text in texts)
    cells = [_breakable(escape(text)) if is_text else f"${_math(text)}$" for text in texts]
    cells = ["" if cell == "$$" else cell.replace("$–$", "--") for cell in cells]
    head = _head(name)
    width = max(map(_set_width, [head, *texts]))
    same = len(texts) >= SAME and len(set(texts)) == 1 and not is_text
    return _Column(head, cells, width, is_text, same)


def _breakable(text: str) -> str:
    r"""An escaped text that may be broken within a path or another long run.

    >>> print(_breakable(r"runs/hallucination\_neurons in short"))
    runs/\allowbreak{}hallucination\_\allowbreak{}neurons in short
    """
    return " ".join(
        re.sub(r"(/|\\_|-|\.|:)(?=[^{])", r"\1\\allowbreak{}", run) if len(run) > RUN else run
        for run in text.split(" ")
    )


def _head(name: str) -> str:
    if name in HEADS:
        return HEADS[name]
    words = escape(name.replace("_", " "))
    return words[:1].upper() + words[1:]


def write_number(value: float | int, decimals: int, *, is_p: bool = False) -> str:
    """A number as its column writes it; a small p by its bound.

    >>> write_number(0.8412, 2), write_number(-0.0001, 3), write_number(46080, 0)
    ('0.84', '0.000', '46,080')
    >>> write_number(0.0002, 3, is_p=True)
    '< 0.001'
    """
    if is_p and value < 0.001:
        return "< 0.001"
    if not isfinite(value):
        return "∞" if value > 0 else "−∞"
    text = f"{value:,.{decimals}f}"
    return text.removeprefix("-") if not float(text.replace(",", "")) else text.replace("-", "−")


def _decimals(values: Sequence[float | int]) -> int:
    """Digits after the point of a column: three, fewer of large numbers, more of small ones."""
    finite = [abs(value) for value in values if isfinite(value)]
    largest = max(finite, default=0.0)
    if all(float(value).is_integer() for value in finite):
        return 0
    if largest >= 10:
        return max(3 - floor(log10(largest)), 0)
    return 3 if largest >= 0.01 else min(2 - floor(log10(largest)), 9)


def _math(text: str) -> str:
    """A written number, one with its interval, or a range, in LaTeX's mathematics."""
    plain = re.sub(r",(?=\d)", "{,}", text.replace("−", "-")).replace("%", r"\%")
    plain = plain.replace(" [", r"\;[").replace(" to ", r"\mbox{ to }")
    return plain.replace("∞", r"\infty").replace("< ", "<")


def _word(value: Any) -> str:
    return ("yes" if value else "no") if pd.api.types.is_bool(value) else str(value)


def _is_number(value: Any) -> bool:
    return pd.api.types.is_number(value) and not pd.api.types.is_bool(value)


def _is_missing(value: Any) -> bool:
    return value is None or value is pd.NA or value != value
