"""Find an alias in a response, and decide whether the response really gives it as the answer.

An alias is a run of whole words, compared in normal form (`_normal_words`). A run alone is no
answer: "not Paris", "Paris or London", "New Mexico" for Mexico and "Paris. No, London" all contain
a gold answer and give another one. Each rule below finds one such objection; a match without any
counts.

>>> from hlens.judges._normal_words import split_words
>>> text = "It is not Paris."
>>> words = split_words(text)
>>> [run] = find_runs(("paris",), words)
>>> find_objection(run, Reading(text, words, golds={3}))
'negated'
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence, Set
from copy import copy
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
_PART = re.compile(r"[.,;:!?\n]")
_WRONG = re.compile(
    r"(?:is|are|was|were)(?: not|n't) (?:\w+ )?(?:correct|right|true|it|one|answer)\b"
    r"|(?:is|are|was|were) (?:wrong|incorrect|false|not)\W*$"
)
# Of several line ends in a row the last: each of them would read the others.
_TAKEN_BACK = re.compile(
    r"[.!?;,\n][^\S\n]*(?:(?:no|wait|sorry|oops),|actually,?|correction:|no, wait,?)\s+\w"
)
_EACH_TAKEN_BACK = re.compile(f"(?=({_TAKEN_BACK.pattern}))")  # those that overlap, too
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


class Reading:
    """A response as the rules read it: what they ask of the whole text is found once.

    A reply may repeat the gold answer a thousand times. A rule that read the whole text for each
    place would take the square of its length, so each looks at the words near by, or here.

    Attributes:
        text: The response.
        words: Its words.
        golds: The words that belong to any alias: "football or soccer" is no hedge where both are
            right.
    """

    def __init__(self, text: str, words: Sequence[Word], golds: Set[int]) -> None:
        self.text, self.words, self.golds = text, words, golds
        folded = text.casefold()
        # Where a character becomes several, places differ, and it is searched anew each time.
        self._is_aligned = len(folded) == len(text)
        self._starts = [word.start for word in words]
        self._marks = [match.end() for match in _STOP.finditer(text)]
        self._boths = [i for i, word in enumerate(words) if word.key == "both"]
        self._takings_back = [match.span(1) for match in _EACH_TAKEN_BACK.finditer(folded)]
        self._lists: dict[tuple[int, int], bool] = {}
        self._sorted_golds = sorted(golds)

    def having(self, golds: Set[int]) -> "Reading":
        """The same response, with other words as those of aliases."""
        other = copy(self)
        other.golds, other._sorted_golds = golds, sorted(golds)
        return other

    def begin_before(self, first: int, n: int) -> int:
        """Where the n-th word before a word begins, or the text does."""
        return self._starts[first - n] if first >= n else 0

    def sentence_of(self, start: int, stop: int) -> tuple[int, int]:
        """Characters of the sentence around a place, without the mark that ends it."""
        before, after = bisect_right(self._marks, start), bisect_left(self._marks, stop + 1)
        begin = self._marks[before - 1] if before else 0
        return begin, self._marks[after] - 1 if after < len(self._marks) else len(self.text)

    def words_between(self, begin: int, end: int) -> range:
        """The words that begin between two characters."""
        return range(bisect_left(self._starts, begin), bisect_left(self._starts, end))

    def count_others(self, inside: range) -> int:
        """How many of these words belong to no alias."""
        return len(inside) - self._count(self._sorted_golds, inside)

    def has_both(self, inside: range) -> bool:
        """Whether "both" is among these words."""
        return self._count(self._boths, inside) > 0

    def is_list(self, begin: int, end: int) -> bool:
        """Whether a sentence is a list of three short items, or more."""
        if (begin, end) not in self._lists:
            items = re.split(r",\s+(?:or\s+|and\s+)?", self.text[begin:end].strip(" .!?"))
            short = len(items) >= 3 and all(len(item.split()) <= 3 for item in items)
            self._lists[begin, end] = short
        return self._lists[begin, end]

    def taken_back_from(self, stop: int) -> int | None:
        """Where what takes the answers before it back goes on, the first behind a place."""
        if not self._is_aligned:
            match = _TAKEN_BACK.search(self.text[stop:].casefold())
            return None if match is None else stop + match.end() - 1
        at = bisect_left(self._takings_back, (stop, 0))
        return self._takings_back[at][1] - 1 if at < len(self._takings_back) else None

    def has_gold_from(self, place: int) -> bool:
        """Whether a word of an alias begins at a character or behind it."""
        return bool(self._sorted_golds) and self._starts[self._sorted_golds[-1]] >= place

    @staticmethod
    def _count(positions: list[int], inside: range) -> int:
        return bisect_left(positions, inside.stop) - bisect_left(positions, inside.start)


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


def find_objection(run: Run, reading: Reading) -> str:
    """The first objection to a run of words as the answer of a response, or ""."""
    rules = (_part_of_longer, _negated, _taken_back, _named_otherwise, _second_name, _hedged)
    return next(filter(None, (rule(run, reading) for rule in rules)), "")


def _part_of_longer(run: Run, reading: Reading) -> str:
    """Part of a longer name or number: "New Mexico", "Austria-Hungary", "5 million"."""
    (first, last), text, words = run, reading.text, reading.words
    start, stop = span_of(run, words)
    before, after = text[max(0, start - 2) : start], text[stop : stop + 2]
    if len(before) == 2 and before[1] in JOINERS and before[0].isalnum():
        return "part of a longer word"
    if after[:1] and after[:1] in JOINERS and after[1:].isalnum():
        return "part of a longer word"
    if _VERSUS.match(text, stop) or _VERSUS_BEFORE.search(
        text, reading.begin_before(first, 3), start
    ):
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


def _named_otherwise(run: Run, reading: Reading) -> str:
    """The subject of another name: "The indictment is known as an indemnity"."""
    (first, _), text, words = run, reading.text, reading.words
    follows = _NAMED.match(text, span_of(run, words)[1])
    if follows is None or first > 1:
        return ""
    end = _CLAUSE.search(text, follows.end())
    stop = end.start() if end else len(text)
    named = reading.words_between(follows.end(), stop)
    return "named otherwise" if named and named[0] not in reading.golds else ""


def _second_name(run: Run, reading: Reading) -> str:
    """Said of another answer: "neurosurgery, also known as neurology"."""
    words, (start, _) = reading.words, span_of(run, reading.words)
    said_of = _ALSO.search(reading.text, reading.begin_before(run[0], 6), start)
    if said_of is None or any(words[i].stop <= said_of.start() for i in reading.golds):
        return ""
    return "hedged" if any(word.stop <= said_of.start() for word in words) else ""


def _negated(run: Run, reading: Reading) -> str:
    text, words, (start, stop) = reading.text, reading.words, span_of(run, reading.words)
    if _ALL_BUT.search(text, reading.begin_before(run[0], 5), start):
        return "negated"
    # Only the five words before, within the same clause, can negate an alias.
    near, wide = (reading.begin_before(run[0], n) for n in (6, 20))
    clause = max((m.end() for m in _CLAUSE.finditer(text, near, start)), default=0)
    certain = [m.span() for m in _CERTAIN.finditer(text, wide, start)]
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
    end = _PART.search(text, stop)
    after = text[stop : end.start() if end else len(text)].replace("’", "'")
    return "negated" if _WRONG.match(after.strip(" \"'*_").casefold()) else ""


def _taken_back(run: Run, reading: Reading) -> str:
    """The last answer counts: "Paris. No, London" takes Paris back."""
    _, stop = span_of(run, reading.words)
    later = reading.taken_back_from(stop)
    return "" if later is None or reading.has_gold_from(later) else "taken back"


def _hedged(run: Run, reading: Reading) -> str:
    """One of several answers: "Paris or London", "Paris/London", a list with commas."""
    (first, last), text, words = run, reading.text, reading.words
    start, stop = span_of(run, words)
    begin, end = reading.sentence_of(start, stop)
    inside = reading.words_between(begin, end)
    others = reading.count_others(inside)
    # "Gravity and friction", no more.
    joints = {"or", "and"} if others <= 3 or reading.has_both(inside) else {"or"}
    for neighbour, step in ((last, 1), (first - 1, -1)):
        if neighbour not in inside:
            continue
        other = neighbour + step if words[neighbour].key in joints else neighbour
        gap = sorted((words[neighbour].start, words[neighbour].stop, start, stop))
        if other == neighbour and "/" not in text[gap[1] : gap[2]]:
            continue
        if other in inside and other not in reading.golds and words[other].key not in UNHEDGED:
            return "hedged"
    return "hedged" if others >= 2 and reading.is_list(begin, end) else ""
