"""How values show themselves: one line, and in a notebook a small table."""

import html
from collections.abc import Mapping, Sequence

# The notebook's own colours, so that light and dark are its own, too.
_STYLE = "text-align:left"


def facts_as_html(title: str, facts: Mapping[str, object]) -> str:
    """A table of two columns; what is empty is left out, and every text is escaped.

    >>> facts_as_html("Detector", {"reads": "cett <i>", "domains": ""}).count("<tr>")
    1
    >>> "<i>" in facts_as_html("Detector", {"reads": "cett <i>"})
    False
    """
    rows = [[name, fact] for name, fact in facts.items() if fact not in ("", None)]
    return f"<div><b>{html.escape(title)}</b>{_table(rows)}</div>"


def rows_as_html(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table with heads; every text is escaped."""
    return _table([heads, *rows])


def first_few(names: Sequence[str], most: int = 3) -> str:
    """Names in a line, of many the first ones.

    >>> first_few(["a", "b"]), first_few(["a", "b", "c", "d"], most=2), first_few(["a", "a"])
    ('a, b', 'a, b and 2 more', 'a')
    """
    known = list(dict.fromkeys(names))
    more = f" and {len(known) - most} more" if len(known) > most else ""
    return ", ".join(known[:most]) + more


def _table(rows: Sequence[Sequence[object]]) -> str:
    cells = (
        "".join(f'<td style="{_STYLE}">{html.escape(str(one))}</td>' for one in row) for row in rows
    )
    return f"<table>{''.join(f'<tr>{row}</tr>' for row in cells)}</table>"
