"""Find an alias in a response, and decide whether the response really gives it as the answer.

An alias is a run of whole words, compared in normal form (`_normal_words`). A run alone is no
answer: "not Paris", "Paris or London", "New Mexico" for Mexico and "Paris. No, London" all contain
a gold answer and give another one. Each rule below finds one such objection; a match without any
counts.

>>> from hlens.judges._normal_words import split_words
>>> text = "It is not Paris."
>>> words = split_words(text)
>>> [run] = find_runs(("paris",), words)
>>> find_objection(run, text, words, golds={3})
'negated'
"""

import re
from collections.abc import Sequence, Set
from itertools import pairwise

from hlens.judges._normal_words import LISTS, Word

Run = tuple[int, int]  # words [first, last) of a response
NEGATORS, NEW_NAME, DIRECTIONS, DIVIDED, SCALES, UNHEDGED = (
    frozenset(LISTS[name])
    for name in ("negators", "new_name", "directions", "divided", "scales", "unhedged")
)
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
# A case has two parties.
_VERSUS = re.compile(r"\s+(?:vs?|versus)\.?\s+\w")
_VERSUS_BEFORE = re.compile(r"\w\s+(?:vs?|versus)\.?\s+$")
_NAMED = re.compile(
    r"\W{0,2}\s(?:is|are|was|were) (?:also |commonly |often )?(?:known as|called)\b"
)
_ALSO = re.compile(
    r"(?:\b(?:also|otherwise|sometimes) (?:known as|called)|, which (?:is|are|was|were))"
    r"(?: an?| the)?\W*$",
    re.IGNORECASE,
)
# Phrases with a negator that deny nothing.
_CERTAIN = re.compile(
    r"\b(?:no|without)(?: an?| any)?(?: \w+)? (?:doubt|question)\b|\bnone? other than\b",
    re.IGNORECASE,
)
_ALL_BUT = re.compile(r"\banything but(?: the| an?)?\W*$", re.IGNORECASE)


def span_of(run: Run, words: Sequence[Word]) -> tuple[int, int]:
    """Characters ``[start, stop)`` of a run of words."""
    return words[run[0]].start, words[run[1] - 1].stop


def find_runs(alias: Sequence[str], words: Sequence[Word]) -> list[Run]:
    """Runs of words ``[first, last)`` that are the alias.

    The words may be split differently ("Spider-Man", "spiderman"), but a digit never joins a digit:
    "1 2" is not "12".
    """
    target, seams = _joined(alias)
    runs: list[Run] = []
    for first in range(len(words)):
        if not target.startswith(words[first].key):
            continue
        length, last = 0, first
        while last < len(words) and length < len(target):
            length += len(words[last].key)
            last += 1
        joined, own_seams = _joined([word.key for word in words[first:last]])
        if joined == target and seams == own_seams:
            runs.append((first, last))
    return runs


def _joined(parts: Sequence[str]) -> tuple[str, frozenset[int]]:
    """The parts joined, and the positions where a digit meets a digit."""
    text, seams = "", set[int]()
    for part in parts:
        if text and text[-1].isdigit() and part[:1].isdigit():
            seams.add(len(text))
        text += part
    return text, frozenset(seams)


def find_objection(run: Run, text: str, words: Sequence[Word], *, golds: Set[int]) -> str:
    """The first objection to a run of words as the answer of a response, or "".

    `golds` are the words that belong to any alias: "football or soccer" is no hedge where both are
    right.
    """
    rules = (_part_of_longer, _negated, _taken_back, _named_otherwise, _second_name, _hedged)
    return next(filter(None, (rule(run, text, words, golds) for rule in rules)), "")


def _part_of_longer(run: Run, text: str, words: Sequence[Word], golds: Set[int]) -> str:
    """Part of a longer name or number: "New Mexico", "Austria-Hungary", "5 million"."""
    first, last = run
    start, stop = span_of(run, words)
    before, after = text[max(0, start - 2) : start], text[stop : stop + 2]
    if len(before) == 2 and before[1] in JOINERS and before[0].isalnum():
        return "part of a longer word"
    if after[:1] and after[:1] in JOINERS and after[1:].isalnum():
        return "part of a longer word"
    if _VERSUS.match(text, stop) or _VERSUS_BEFORE.search(text, 0, start):
        return "part of a longer name"
    is_number = words[last - 1].key.isdigit()
    if is_number and (after[:1] == "^" or (last < len(words) and words[last].key in SCALES)):
        return "part of a larger number"
    if first and text[words[first - 1].stop : start].strip() == "":
        previous, key = words[first - 1].key, words[first].key
        is_other = previous in NEW_NAME or (previous in DIRECTIONS and key in DIVIDED)
        if is_other and not key[0].isdigit():
            return "part of a longer name"
    return ""


def _named_otherwise(run: Run, text: str, words: Sequence[Word], golds: Set[int]) -> str:
    """The subject of another name: "The indictment is known as an indemnity"."""
    first, _ = run
    follows = _NAMED.match(text, span_of(run, words)[1])
    if follows is None or first > 1:
        return ""
    end = _CLAUSE.search(text, follows.end())
    stop = end.start() if end else len(text)
    named = [i for i, word in enumerate(words) if follows.end() <= word.start < stop]
    return "named otherwise" if named and named[0] not in golds else ""


def _second_name(run: Run, text: str, words: Sequence[Word], golds: Set[int]) -> str:
    """Said of another answer: "neurosurgery, also known as neurology"."""
    start, _ = span_of(run, words)
    said_of = _ALSO.search(text, 0, start)
    if said_of is None or any(words[i].stop <= said_of.start() for i in golds):
        return ""
    return "hedged" if any(word.stop <= said_of.start() for word in words) else ""


def _negated(run: Run, text: str, words: Sequence[Word], golds: Set[int]) -> str:
    start, stop = span_of(run, words)
    if _ALL_BUT.search(text, 0, start):
        return "negated"
    # Only the five words before, within the same clause, can negate an alias.
    clause = max((m.end() for m in _CLAUSE.finditer(text, 0, start)), default=0)
    certain = [m.span() for m in _CERTAIN.finditer(text, 0, start)]
    before = [
        word.key
        for word in words[max(0, run[0] - 5) : run[0]]
        if word.start >= clause and not any(a <= word.start < b for a, b in certain)
    ]
    if ("not", "only") in pairwise(before):
        return ""
    contrasts = (["rather", "than"], ["instead", "of"], ["other", "than"])
    if NEGATORS & set(before) or before[-2:] in contrasts:
        return "negated"
    after = re.split(r"[.,;:!?\n]", text[stop:], maxsplit=1)[0].replace("’", "'")
    return "negated" if _WRONG.match(after.strip(" \"'*_").casefold()) else ""


def _taken_back(run: Run, text: str, words: Sequence[Word], golds: Set[int]) -> str:
    """The last answer counts: "Paris. No, London" takes Paris back."""
    _, stop = span_of(run, words)
    match = _TAKEN_BACK.search(text[stop:].casefold())
    if match is None:
        return ""
    later = stop + match.end() - 1
    return "" if any(words[i].start >= later for i in golds) else "taken back"


def _hedged(run: Run, text: str, words: Sequence[Word], golds: Set[int]) -> str:
    """One of several answers: "Paris or London", "Paris/London", a list with commas."""
    first, last = run
    start, stop = span_of(run, words)
    begin, end = _sentence(start, stop, text)
    inside = [i for i, word in enumerate(words) if begin <= word.start < end]
    is_short = sum(i not in golds for i in inside) <= 3  # "gravity and friction", no more
    is_both = any(words[i].key == "both" for i in inside)
    joints = {"or", "and"} if is_short or is_both else {"or"}
    for neighbour, step in ((last, 1), (first - 1, -1)):
        if neighbour not in inside:
            continue
        other = neighbour + step if words[neighbour].key in joints else neighbour
        gap = sorted((words[neighbour].start, words[neighbour].stop, start, stop))
        if other == neighbour and "/" not in text[gap[1] : gap[2]]:
            continue
        if other in inside and other not in golds and words[other].key not in UNHEDGED:
            return "hedged"
    items = re.split(r",\s+(?:or\s+|and\s+)?", text[begin:end].strip(" .!?"))
    is_list = len(items) >= 3 and all(len(item.split()) <= 3 for item in items)
    return "hedged" if is_list and sum(i not in golds for i in inside) >= 2 else ""


def _sentence(start: int, stop: int, text: str) -> tuple[int, int]:
    ends = [m.end() for m in _STOP.finditer(text, 0, start)]
    after = _STOP.search(text, stop)
    return (ends[-1] if ends else 0), (after.start() if after else len(text))
