"""Where a response gives an alias as its answer: whole words, not negated, not one of several."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from hlens.judges._words import Word

_NEGATORS = (
    "not no never isnt wasnt arent werent doesnt didnt dont cannot cant without nor neither unlike "
    "except excluding wont wouldnt aint 不 非"
)
NEGATORS = frozenset(_NEGATORS.split())
# These make another name of one; a direction does so for some names only ("South Korea" is not
# Korea, but East Asia is in Asia).
NEW_NAME = frozenset({"new", "papua", "equatorial", "non", "anti", "pre", "post", "ex", "vice"})
DIRECTIONS = frozenset({"north", "south", "east", "west", "northern"})
_DIVIDED = (
    "korea dakota carolina virginia sudan germany ireland america pole yemen vietnam timor "
    "macedonia africa"
)
DIVIDED = frozenset(_DIVIDED.split())
SCALES = frozenset({"hundred", "thousand", "million", "billion", "trillion", "dozen"})
JOINERS = "-‐‑–—"
_CLAUSE = re.compile(r"[.,;:!?()\n]|\s[-–—]+\s|\bbut\b", re.IGNORECASE)
_STOP = re.compile(r"[.!?;\n]")
_WRONG = re.compile(
    r"(?:is|are|was|were)(?: not|n't) (?:\w+ )?(?:correct|right|true|it|one|answer)\b"
    r"|(?:is|are|was|were) (?:wrong|incorrect|false|not)\W*$"
)
_TAKEN_BACK = re.compile(
    r"[.!?;,\n]\s*(?:(?:no|wait|sorry|oops),|actually,?|correction:|no, wait,?)\s+\w"
)
# These deny nothing.
_CERTAIN = re.compile(
    r"\b(?:no|without)(?: an?| any)?(?: \w+)? (?:doubt|question)\b|\bnone? other than\b",
    re.IGNORECASE,
)
_ALL_BUT = re.compile(r"\banything but(?: the| an?)?\W*$", re.IGNORECASE)
_SAME = frozenset({"so", "more", "less", "about", "simply", "just", "also", "better", "sometimes"})


@dataclass(frozen=True)
class Match:
    """An alias in a response: its words ``[first, last)`` and what stands against it, or ""."""

    first: int
    last: int
    against: str = ""


def runs(alias: Sequence[str], found: Sequence[Word]) -> list[tuple[int, int]]:
    """Runs of words ``[first, last)`` that are the alias.

    The words may be parted in another way ("Spider-Man", "spiderman"), but a digit never joins a
    digit: "1 2" is not "12".
    """
    whole, seams = _joined(alias)
    out: list[tuple[int, int]] = []
    for first in range(len(found)):
        length, last = 0, first
        while last < len(found) and length < len(whole):
            length += len(found[last].key)
            last += 1
        joined, own_seams = _joined([w.key for w in found[first:last]])
        if joined == whole and seams == own_seams:
            out.append((first, last))
    return out


def rival(alias: Sequence[str], asked: Sequence[Word]) -> str | None:
    """The last or first word of the other option, where the question offers the alias beside one.

    >>> from hlens.judges._words import words
    >>> rival(("jupiter",), words("Is Jupiter or Mars larger?"))
    'mars'
    """
    for first, last in runs(alias, asked):
        for at, other in ((last, last + 1), (first - 1, first - 2)):
            if 0 <= other < len(asked) and 0 <= at < len(asked) and asked[at].key == "or":
                return asked[other].key if asked[other].key not in alias else None
    return None


def _joined(parts: Sequence[str]) -> tuple[str, frozenset[int]]:
    """The parts in one, and the places where a digit meets a digit."""
    text, seams = "", set[int]()
    for part in parts:
        if text and text[-1].isdigit() and part[:1].isdigit():
            seams.add(len(text))
        text += part
    return text, frozenset(seams)


def examined(run: tuple[int, int], text: str, found: Sequence[Word], golds: set[int]) -> Match:
    """The match with what stands against it.

    Args:
        run: The words of the match.
        text: The response.
        found: Its words.
        golds: Words of the response that belong to any alias: "football or soccer" is no hedge
            where both are right.
    """
    first, last = run
    for test in (_is_part, _is_negated, _is_taken_back, _is_hedged):
        against = test(first, last, text, found, golds)
        if against:
            return Match(first, last, against)
    return Match(first, last)


def _is_part(first: int, last: int, text: str, found: Sequence[Word], golds: set[int]) -> str:
    """Part of a longer name or number: "New Mexico", "Austria-Hungary", "5 million"."""
    start, stop = found[first].start, found[last - 1].stop
    before, after = text[max(0, start - 2) : start], text[stop : stop + 2]
    if before[-1:] in (*JOINERS,) and before[:1].isalnum() and len(before) == 2:
        return "part of a longer word"
    if after[:1] and after[:1] in JOINERS and after[1:].isalnum():
        return "part of a longer word"
    is_number = found[last - 1].key.isdigit()
    if is_number and (after[:1] == "^" or (last < len(found) and found[last].key in SCALES)):
        return "part of a larger number"
    if first and text[found[first - 1].stop : start].strip() == "":
        previous = found[first - 1]
        named = previous.key in DIRECTIONS and found[first].key in DIVIDED
        if (previous.key in NEW_NAME or named) and not found[first].key[0].isdigit():
            return "part of a longer name"
    return ""


def _is_negated(first: int, last: int, text: str, found: Sequence[Word], golds: set[int]) -> str:
    start, stop = found[first].start, found[last - 1].stop
    clause = [m.end() for m in _CLAUSE.finditer(text, 0, start)]
    begin = clause[-1] if clause else 0
    if _ALL_BUT.search(text, 0, start):
        return "negated"
    certain = [m.span() for m in _CERTAIN.finditer(text, 0, start)]
    before = [
        w.key
        for w in found[max(0, first - 5) : first]
        if w.start >= begin and not any(a <= w.start < b for a, b in certain)
    ]
    if ("not", "only") in pairwise(before):
        return ""
    if NEGATORS & set(before) or before[-2:] in (["rather", "than"], ["instead", "of"]):
        return "negated"
    if before[-2:] == ["other", "than"]:
        return "negated"
    after = re.split(r"[.,;:!?\n]", text[stop:], maxsplit=1)[0].replace("’", "'")
    return "negated" if _WRONG.match(after.strip(" \"'*_").casefold()) else ""


def _is_taken_back(first: int, last: int, text: str, found: Sequence[Word], golds: set[int]) -> str:
    """What comes last counts: "Paris. No, London" takes Paris back."""
    rest = text[found[last - 1].stop :]
    match = _TAKEN_BACK.search(rest.casefold())
    if match is None:
        return ""
    later = found[last - 1].stop + match.end() - 1
    return "" if any(found[i].start >= later for i in golds) else "taken back"


def _is_hedged(first: int, last: int, text: str, found: Sequence[Word], golds: set[int]) -> str:
    begin, end = _sentence(found[first].start, found[last - 1].stop, text)
    inside = [i for i, word in enumerate(found) if begin <= word.start < end]
    is_short = sum(i not in golds for i in inside) <= 3  # "gravity and friction", no more
    joints = {"or", "and"} if is_short else {"or"}
    for at, step in ((last, 1), (first - 1, -1)):
        if at not in inside:
            continue
        other = at + step if found[at].key in joints else at
        gap = sorted((found[at].start, found[at].stop, found[first].start, found[last - 1].stop))
        if other == at and "/" not in text[gap[1] : gap[2]]:
            continue
        if other in inside and other not in golds and found[other].key not in _SAME:
            return "hedged"
    return _listed(text[begin:end], inside, golds)


def _listed(sentence: str, inside: Sequence[int], golds: set[int]) -> str:
    """One of three or more items of a list with commas."""
    items = re.split(r",\s+(?:or\s+|and\s+)?", sentence.strip(" .!?"))
    is_list = len(items) >= 3 and all(len(item.split()) <= 3 for item in items)
    return "hedged" if is_list and sum(i not in golds for i in inside) >= 2 else ""


def _sentence(start: int, stop: int, text: str) -> tuple[int, int]:
    ends = [m.end() for m in _STOP.finditer(text, 0, start)]
    after = _STOP.search(text, stop)
    return (ends[-1] if ends else 0), (after.start() if after else len(text))
