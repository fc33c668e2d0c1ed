"""Marks: stretches of a response that somebody labelled, in characters.

A mark that cannot mean what it says is lost, and counted: one beyond the text, one of nothing but
white space, or one that parts a letter from its accent or cuts an emoji in two, for then its
offsets were counted in bytes or UTF-16 units. Of marks of one stretch the first is kept, and none
where their labels differ.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import regex

from hlens.types import Verdict

BEYOND = "beyond the text"
EMPTY = "empty"
CUT = "cuts a character"
TWICE = "marked twice"
CONTRADICTED = "marked with two labels"


@dataclass(frozen=True)
class Mark:
    """A labelled stretch of a response: characters ``[start, stop)``, in Python's code points."""

    start: int
    stop: int
    verdict: Verdict


def boundaries(text: str) -> frozenset[int]:
    r"""Offsets at which a character, as a reader sees it (a grapheme cluster), begins or ends.

    >>> sorted(boundaries("e\u0301a")), sorted(boundaries("\r\n"))
    ([0, 2, 3], [0, 2])
    """
    return frozenset({0, *(match.end() for match in regex.finditer(r"\X", text))})


def losses_of(marks: Sequence[Mark], text: str) -> list[str]:
    """For each mark, why it is lost; an empty text where it is not.

    >>> wrong = Verdict.HALLUCINATED
    >>> losses_of([Mark(0, 2, wrong), Mark(1, 9, wrong), Mark(0, 2, wrong)], "abc")
    ['', 'beyond the text', 'marked twice']
    """
    whole = boundaries(text) if marks else frozenset()
    seen: set[tuple[int, int]] = set()
    verdicts: dict[tuple[int, int], set[Verdict]] = {}
    for mark in marks:
        verdicts.setdefault((mark.start, mark.stop), set()).add(mark.verdict)
    found = []
    for mark in marks:
        place = mark.start, mark.stop
        if not 0 <= mark.start <= mark.stop <= len(text):
            found.append(BEYOND)
        elif not text[mark.start : mark.stop].strip():
            found.append(EMPTY)
        elif not {mark.start, mark.stop} <= whole:
            found.append(CUT)
        elif len(verdicts[place]) > 1:
            found.append(CONTRADICTED)
        else:
            found.append(TWICE if place in seen else "")
        seen.add(place)
    return found
