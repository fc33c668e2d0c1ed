"""Numbers in English words: what they amount to, and where they end.

Words multiply ("twelve hundred thousand" is 1,200,000) and add up ("two hundred and five thousand
three hundred" is 205,300), years are read in pairs ("nineteen ninety-nine"), and two numbers beside
each other stay two ("five six", "two thousand, three thousand", "ten-fifteen").

>>> number, stop = read_number_words("twelve hundred thousand people", 0)
>>> number, "twelve hundred thousand people"[:stop]
(NumberWords(value=1200000.0, bare=1200.0), 'twelve hundred thousand')
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from hlens.judges._normal_words import LISTS, NUMBERS, TENS

# What multiplies the words before it; "hundred" binds closer than these, and stands apart.
SCALES = {"dozen": 12.0, "thousand": 1e3, "lakh": 1e5, "million": 1e6, "crore": 1e7}
SCALES |= {"billion": 1e9, "trillion": 1e12}
SCALES |= {f"{name}s": SCALES[name] for name in ("million", "billion", "trillion")}
_CARDINALS = {word: int(n) for word, n in NUMBERS.items() if n.isdigit()}
_DIGITS = {word: _CARDINALS[word] for word in LISTS["units"] if _CARDINALS[word] < 10} | {"oh": 0}
_MULTIPLIED = "|".join(("hundred", *SCALES))
_WORDS = "|".join(_CARDINALS)
# A number begins with one of its words, or with "a" before what it multiplies: "half a million".
BEGINNING = rf"(?:(?:half\s)?an?\s(?:{_MULTIPLIED})|(?:{_WORDS}))\b"
_RUN = re.compile(
    rf"(?:half\s)?\b(?:an?|{_WORDS})\b"
    # Longer than any number, and not endless: each number of a long list would read the whole list.
    rf"(?:(?:,?\s|[-‑])(?:an?|and|point|half|oh|{_MULTIPLIED}|{_WORDS})\b){{0,40}}",
    re.IGNORECASE,
)
_WORD = re.compile(r"[a-z]+|,", re.IGNORECASE)


@dataclass(frozen=True)
class NumberWords:
    """A number that was written in words.

    Attributes:
        value: What it amounts to.
        bare: The same without its last scale: 2 for "two million", where the question asks for
            millions; the value itself where the words are a sum ("two million five hundred").
    """

    value: float
    bare: float


@dataclass(frozen=True)
class _Run:
    """Neighbouring words that could all belong to one number; past the last they are empty."""

    words: Sequence[str]
    hyphened: Sequence[bool]  # whether a hyphen stands before a word

    def __getitem__(self, at: int) -> str:
        return self.words[at] if at < len(self.words) else ""

    def multiplies(self, at: int) -> bool:
        """Whether the word at a place multiplies what stands before it."""
        return self[at] == "hundred" or self[at] in SCALES


def read_number_words(text: str, start: int) -> tuple[NumberWords, int]:
    """The number whose words begin at a place of a text (`BEGINNING`), and where it ends."""
    match = _RUN.match(text, start)
    assert match is not None  # the caller found `BEGINNING` there
    found = list(_WORD.finditer(text, *match.span()))
    run = _Run(
        [word[0].casefold() for word in found],
        [text[word.start() - 1 : word.start()] in ("-", "‑") for word in found],
    )
    # "between one hundred and two thousand" are two numbers, and "and" joins none.
    two = re.search(r"\bbetween\s+\W?$", text[max(0, start - 12) : start], re.IGNORECASE)
    number, n = _sum_up(run, joins=two is None)
    return number, found[n - 1].end()


def _sum_up(run: _Run, *, joins: bool) -> tuple[NumberWords, int]:
    """The number that a run begins with, and how many of its words it takes."""
    value, bare, end, at = 0.0, 0.0, 0, 0
    limit = float("inf")  # each part is smaller than the scale of the part before
    while True:
        part, stop = _read_part(run, at, joins=joins)
        scale = 1.0
        while run[stop] in SCALES:
            scale, stop = scale * SCALES[run[stop]], stop + 1
        if stop == at or part * scale >= limit:
            return NumberWords(value, bare), end
        bare = value + part * scale if end else part
        value, end, limit = value + part * scale, stop, scale
        at = _join(run, end, joins=joins)
        if scale < 1000 or at is None:  # nothing is added to units, nor to dozens
            return NumberWords(value, bare), end


def _join(run: _Run, at: int, *, joins: bool) -> int | None:
    """Where the next part of a sum begins behind a scale; None where none may.

    A comma parts two numbers, unless what follows it is multiplied in turn ("one million, two
    hundred thousand").
    """
    has_comma = run[at] == ","
    at += has_comma
    if run[at] == "and":
        if not joins:
            return None
        at += 1
    elif has_comma:
        _, stop = _read_small(run, at)
        return at if run.multiplies(stop) else None
    return at


def _read_part(run: _Run, at: int, *, joins: bool) -> tuple[float, int]:
    """A number up to its first scale: up to 9,999, a year, a decimal or a half."""
    if run[at] == "half" and run[at + 1] in ("a", "an") and run.multiplies(at + 2):
        hundred = run[at + 2] == "hundred"
        return (50.0, at + 3) if hundred else (0.5, at + 2)
    small, stop = _read_small(run, at)
    if stop == at:
        return 0.0, at
    if run[stop] == "hundred":
        return _add_to_hundreds(run, 100.0 * small, stop + 1, joins=joins)
    if year := _read_year(run, at, small, stop):
        return year
    if run[stop] == "point" and run[stop + 1] in _DIGITS:
        return _read_decimals(run, small, stop + 1)
    if joins and [run[i] for i in range(stop, stop + 3)] == ["and", "a", "half"]:
        return small + 0.5, stop + 3
    return float(small), stop


def _read_small(run: _Run, at: int) -> tuple[int, int]:
    """A number below 100; "a" is one where something multiplies it."""
    word = run[at]
    if word in ("a", "an"):
        return (1, at + 1) if run.multiplies(at + 1) else (0, at)
    if word not in _CARDINALS:
        return 0, at
    unit = _DIGITS.get(run[at + 1], 0)
    if word in TENS and unit:
        return _CARDINALS[word] + unit, at + 2
    return _CARDINALS[word], at + 1


def _add_to_hundreds(run: _Run, hundreds: float, at: int, *, joins: bool) -> tuple[float, int]:
    """Hundreds with what stands behind them; "two hundred and three hundred" are two numbers."""
    behind = at + 1 if run[at] == "and" and joins else at
    if run[behind] in ("a", "an"):
        return hundreds, at
    small, stop = _read_small(run, behind)
    if not small or run[stop] == "hundred":
        return hundreds, at
    return hundreds + small, stop


def _read_year(run: _Run, at: int, century: int, stop: int) -> tuple[float, int] | None:
    """A year in two pairs (ten sixty-six, nineteen oh five, twenty twenty), or None."""
    if stop != at + 1 or not 10 <= century <= 20 or stop >= len(run.words) or run.hyphened[stop]:
        return None
    if run[stop] == "oh":
        rest, end = _DIGITS.get(run[stop + 1], 0), stop + 2
    else:
        rest, end = _read_small(run, stop)
        rest = rest if rest >= 10 else 0
    if not rest or run.multiplies(end):
        return None
    return 100.0 * century + rest, end


def _read_decimals(run: _Run, whole: int, at: int) -> tuple[float, int]:
    digits = ""
    while run[at] in _DIGITS:
        digits, at = digits + str(_DIGITS[run[at]]), at + 1
    return float(f"{whole}.{digits}"), at
