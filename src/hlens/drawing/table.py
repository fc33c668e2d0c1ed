"""Checks of a figure's table, and words for its numbers."""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pandas as pd

from hlens.counting import count
from hlens.errors import HlensError
from hlens.types.estimate import p_words
from hlens.types.labels import name_models


def check_columns(table: pd.DataFrame, columns: Sequence[str], *, figure: str, source: str) -> None:
    """Refuse a table that lacks rows or a column; `source` is the function that makes them."""
    missing = [name for name in columns if name not in table.columns]
    if missing:
        raise HlensError(
            f"{figure}: missing: {', '.join(missing)}; the table needs the columns "
            f"{', '.join(columns)}; give what {source} returns"
        )
    if table.empty:
        raise HlensError(f"{figure} has no rows to draw; give what {source} returns, with rows")


def check_one_study(
    table: pd.DataFrame, key: Sequence[str], *, figure: str, unordered: bool = False
) -> None:
    """Refuse a table in which a row stands twice, as where the tables of two studies were joined.

    Its title would be a sentence about both that is true of neither.

    Args:
        table: One study's table.
        key: Columns of which a study has each combination once; those that are absent are left out.
        figure: What is drawn.
        unordered: Whether the columns of `key` may change places, as the two sets of a pair may.
    """
    rows = table[[name for name in key if name in table.columns]]
    if unordered:
        keys = [tuple(row) for row in rows.itertuples(index=False, name=None)]
        counts = Counter(frozenset(row) for row in keys)
        twice = [row for row in keys if counts[frozenset(row)] > 1]
    else:  # of which there may be hundreds of thousands
        repeated = rows.loc[rows.duplicated(keep=False)]
        twice = list(repeated.head(1).itertuples(index=False, name=None))
    if twice:
        raise HlensError(
            f"{figure}: the row {', '.join(map(str, twice[0]))!r:.80} stands twice; expected the "
            "table of one study, and of one grader or pair: draw each by itself"
        )


def distinct(*columns: pd.Series) -> list[str]:
    """The distinct values of columns in the order of their first appearance."""
    return list(dict.fromkeys(str(value) for column in columns for value in column))


def n_range(n: pd.Series, noun: str = "", plural: str = "") -> str:
    """The number of cases behind each value of a table, with what they are.

    >>> n_range(pd.Series([200, 1200])), n_range(pd.Series([1, 1]), "answer")
    ('n = 200 to 1,200', 'n = 1 answer')
    """
    low, high = int(n.min()), int(n.max())
    most = count(high, noun, plural) if noun else f"{high:,}"
    return f"n = {most}" if low == high else f"n = {low:,} to {most}"


def listed(words: Sequence[str]) -> str:
    """Words as a list in a sentence.

    >>> listed(["a"]), listed(["a", "b", "c"])
    ('a', 'a, b and c')
    """
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def count_models(table: pd.DataFrame) -> str:
    """How many models a table is of, by the fingerprints in ``weights`` where it has them.

    >>> count_models(pd.DataFrame({"model": ["a", "b"]}))
    '2 models'
    >>> count_models(pd.DataFrame({"model": ["a", "b", "c"], "weights": ["1", "1", "2"]}))
    '3 studies of 2 models'
    """
    named = len(distinct(table.model))
    models = len(distinct(table.weights)) if "weights" in table else named
    return name_models(models, named)


def value_range(values: Any, form: str = ".2f") -> str:
    """The values of a column (a Series) in words; of none, that they are not known.

    >>> value_range(pd.Series([0.82, 0.847])), value_range(pd.Series([0.5]))
    ('0.82 to 0.85', '0.50')
    """
    known = values.dropna()
    if known.empty:
        return "a number that is not known"
    low, high = (format(end, form).replace("-", "\u2212") for end in (known.min(), known.max()))
    return low if low == high else f"{low} to {high}"


def corrected_p(p: float | None) -> str:
    """Words for a corrected p; empty where there is none.

    >>> corrected_p(0.0002), corrected_p(0.04), corrected_p(None)
    ('corrected p < 0.001', 'corrected p = 0.040', '')
    """
    if p is None or math.isnan(p):
        return ""
    return f"corrected {p_words(p)}"


def capitalized(name: str) -> str:
    """A name as it begins a sentence; the rest keeps its capitals.

    >>> capitalized("least likely token"), capitalized("P(True)")
    ('Least likely token', 'P(True)')
    """
    return name[:1].upper() + name[1:]


def uncapitalized(label: str) -> str:
    """A label as it is written inside a sentence; acronyms keep their capitals.

    >>> uncapitalized("Hallucination rate"), uncapitalized("QA accuracy")
    ('hallucination rate', 'QA accuracy')
    """
    return label if label[:2].isupper() else label[:1].lower() + label[1:]
