"""For references: is each field of it right (title, authors, year, venue, identifier)?

Problem: a made-up reference is rarely wrong as a whole, and no rule on the whole text says where.

Idea: the first reference of a reply is read into fields, each with its place in the text, and each
field is compared with the gold's.

Example: asked for Ada Lovelace's "On Engines" (Nature, 1843), a model says ::

    A. Lovelace. "On Engines." Nature, 1844.

Authors, title and venue are right, the year is not: hallucinated, "wrong: year".

A question brings the gold fields in ``meta["reference"]``: ``titles``, ``authors``, ``years``,
``venues`` and ``identifiers``, each a list of what is accepted, the best first, and ``others``
where the list of authors is not complete. ``meta["given"]`` names the fields that the question
itself tells. Fields are compared in normal words (`hlens.judges.word_keys`):

- a title is right where it is one of the gold's, or the part of one before its colon, if that has
  three words or more;
- authors are right where the first is the gold's first and each is one of the gold's, by surname
  and first letters of given names; a list may be cut, by "et al." or without;
- a year is right where it is the gold's; a preprint's and its journal's may both be;
- a venue is right where its name is the gold's, whatever its volume; arXiv where the paper is
  there;
- an identifier is right where it is the gold's; of a kind that the gold lacks, it is not judged.

`judge` gives one verdict on all fields: hallucinated where one of them is, correct where none is
and the title (where the question gives that, the authors) is right. `judge_by` judges one field
alone, to find a detector of that field; `labelled_row` gives all fields of a response as labelled
spans. A field that is absent, given, cut off or not known to the gold is unscored.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from hlens.errors import HlensError
from hlens.judges._attempt import judge_unread
from hlens.judges._normal_words import word_keys
from hlens.judges._reference import FIELDS, Span, read_reference
from hlens.judges._refusal import judge_refusal
from hlens.lookup import unknown
from hlens.thoughts import without_thought
from hlens.types import Judgement, Response, Verdict

DISPLAY = "fields of a reference"

# Words of a venue's name that its short forms leave out.
_NEUTRAL = frozenset(("in", "of", "on", "for", "proceedings", "proc", "annual", "ieee", "acm"))
_ET_AL = re.compile(r"[,\s]*\b(?:et\.? ?al\b\.?|and others\b|and colleagues\b)", re.IGNORECASE)
_BETWEEN = re.compile(r"\s*(?:[,;&]|\band\b)\s*(?:and\b\s*)?", re.IGNORECASE)  # two authors
_ARXIV_DOI = "10.48550/arxiv."
_Ruling = tuple[Verdict, str]  # on one field, with the reason


def judge(response: Response) -> Judgement:
    """Judge a response by all fields of its reference.

    >>> from hlens.types import Question
    >>> gold = {"titles": ["On Engines"], "authors": ["Ada Lovelace"], "years": [1843],
    ...         "venues": ["Nature"], "identifiers": []}
    >>> q = Question("1", "d", "Which paper?", ("",), meta={"reference": gold})
    >>> for text in ('A. Lovelace. "On Engines." Nature, 1843.', '"On Engines." 1844.', "1843", ""):
    ...     judged = judge(Response(q, text, (), 0))
    ...     print(f"{judged.verdict} ({judged.reason})")
    correct (right: title, authors, year, venue)
    hallucinated (wrong: year)
    unscored (no reference)
    unscored (empty)
    """
    if unread := judge_unread(response):
        return unread
    fields = judge_fields(response)
    places = [judged.answer for judged in fields.values() if judged.answer]
    if not places:
        reason = "no reference" if _gold(response) else "no reference to judge by"
        return judge_refusal(response) or Judgement(response, Verdict.UNSCORED, reason)
    whole = min(start for start, _ in places), max(stop for _, stop in places)
    named = {
        verdict: [name for name, judged in fields.items() if judged.verdict is verdict]
        for verdict in Verdict
    }
    if wrong := named[Verdict.HALLUCINATED]:
        return Judgement(response, Verdict.HALLUCINATED, f"wrong: {', '.join(wrong)}", whole)
    right = named[Verdict.CORRECT]
    needed = "authors" if "title" in _given(response) else "title"
    if needed not in right:
        return Judgement(response, Verdict.UNSCORED, f"no {needed} that could be judged")
    return Judgement(response, Verdict.CORRECT, f"right: {', '.join(right)}", whole)


def judge_by(field: str) -> Callable[[Response], Judgement]:
    """A judge of one field alone; the answer is the field's place in the response.

    Args:
        field: ``"title"``, ``"authors"``, ``"year"``, ``"venue"`` or ``"identifier"``.

    Raises:
        HlensError: There is no such field.
    """
    _check_field(field)

    def judge_field(response: Response) -> Judgement:
        return judge_unread(response) or judge_fields(response)[field]

    return judge_field


def judge_fields(response: Response) -> dict[str, Judgement]:
    """The judgement of each field, by its name; unscored ones say why."""
    gold = _gold(response)
    found = read_reference(response.text) if gold else {}
    return {name: _judge_field(name, response, gold, found.get(name)) for name in FIELDS}


def labelled_row(response: Response) -> dict[str, Any]:
    """A response with its judged fields as spans, a row for `hlens.labelled`.

    Each label is the field's name and its verdict, such as ``"year hallucinated"``;
    `labels_of` says which of them count for a detector of one field.
    """
    question, read = response.question, without_thought(response)
    shift = len(response.text) - len(read.text)
    spans = [
        [judged.answer[0] + shift, judged.answer[1] + shift, f"{name} {judged.verdict}"]
        for name, judged in judge_fields(read).items()
        if judged.answer and judged.verdict in (Verdict.CORRECT, Verdict.HALLUCINATED)
    ]
    row = {
        "id": question.id,
        "group": question.group,
        "domain": question.domain,
        "question": question.text,
        "response": response.text,
        "spans": sorted(spans),
    }
    if response.token_ids:
        row |= {"token_ids": list(response.token_ids), "n_prompt": response.n_prompt}
    return row


def labels_of(*fields: str) -> dict[str, str]:
    """What the labels of `labelled_row` mean where only these fields count; all, if none is named.

    >>> labels_of("year")["year hallucinated"], labels_of("year")["title correct"]
    ('hallucinated', 'unscored')
    """
    for field in fields:
        _check_field(field)
    return {
        f"{name} {verdict}": verdict.value if name in (fields or FIELDS) else "unscored"
        for name in FIELDS
        for verdict in (Verdict.CORRECT, Verdict.HALLUCINATED)
    }


def _check_field(field: str) -> None:
    if field not in FIELDS:
        raise unknown("field of a reference", field, FIELDS)


def _gold(response: Response) -> Mapping[str, Any]:
    """The gold fields of a question; empty where it has none."""
    gold = response.question.meta.get("reference", {})
    names = ("titles", "authors", "years", "venues", "identifiers")
    fits = isinstance(gold, Mapping) and all(isinstance(gold.get(name), list) for name in names)
    if gold and not fits:
        raise HlensError(
            f"question {response.question.id!r}: meta.reference is {gold!r:.60}; expected lists of "
            f"{', '.join(names)}"
        )
    return gold


def _given(response: Response) -> tuple[str, ...]:
    return tuple(response.question.meta.get("given", ()))


def _judge_field(
    name: str, response: Response, gold: Mapping[str, Any], place: Span | None
) -> Judgement:
    if place is None:
        return Judgement(response, Verdict.UNSCORED, "absent")
    if response.finish_reason == "length" and place[1] >= len(response.text.rstrip()):
        return Judgement(response, Verdict.UNSCORED, "cut off")
    if name in _given(response):
        return Judgement(response, Verdict.UNSCORED, "given in the question", place)
    verdict, reason = _JUDGES[name](response.text[slice(*place)], gold)
    return Judgement(response, verdict, reason, place)


def _rule(is_right: bool, gold: object) -> _Ruling:
    if is_right:
        return Verdict.CORRECT, "right"
    return Verdict.HALLUCINATED, f"not {gold!s:.80}"


def _judge_title(said: str, gold: Mapping[str, Any]) -> _Ruling:
    accepted = {word_keys(title) for title in accepted_titles(gold)}
    return _rule(word_keys(said) in accepted, gold["titles"][0])


def accepted_titles(gold: Mapping[str, Any]) -> list[str]:
    """The titles of a paper, and what precedes a colon in them, if it is more than a name."""
    short = [title.split(":")[0] for title in gold["titles"]]
    return [*gold["titles"], *(one for one in short if len(one.split()) > 2)]


def _judge_year(said: str, gold: Mapping[str, Any]) -> _Ruling:
    return _rule(int(said) in gold["years"], gold["years"][0])


def _judge_venue(said: str, gold: Mapping[str, Any]) -> _Ruling:
    venues = [*gold["venues"]]
    if any(identifier.startswith("arXiv:") for identifier in gold["identifiers"]):
        venues += ["arXiv", "arXiv preprint", "arXiv preprint arXiv"]
    return _rule(_name_of(said) in {_name_of(venue) for venue in venues}, venues[0])


def _name_of(venue: str) -> tuple[str, ...]:
    """A venue's name without volume, number and the words that short forms leave out."""
    keys = tuple(key for key in word_keys(venue) if not key[0].isdigit())
    return tuple(key for key in keys if key not in _NEUTRAL) or keys


def _judge_identifier(said: str, gold: Mapping[str, Any]) -> _Ruling:
    golds = [_identifier(one) for one in gold["identifiers"]]
    own = _identifier(said)
    if own in golds:
        return _rule(True, "")
    kinds = {one.startswith("10.") for one in golds}  # DOIs, or numbers of arXiv
    if own.startswith("10.") not in kinds:
        return Verdict.UNSCORED, "of a kind that the gold lacks"
    return _rule(False, gold["identifiers"][0])


def _identifier(text: str) -> str:
    """An identifier without case, version and prefix; an arXiv number for an arXiv DOI."""
    own = text.casefold().strip().removeprefix("arxiv:").removeprefix(_ARXIV_DOI)
    return own if own.startswith("10.") else re.sub(r"v\d+$", "", own)


def _judge_authors(said: str, gold: Mapping[str, Any]) -> _Ruling:
    authors, first = [word_keys(author) for author in gold["authors"]], gold["authors"][0]
    matched: list[int | None] = []  # which of the gold's each one is
    for part in _BETWEEN.split(_ET_AL.sub("", said)):
        words = word_keys(part)
        if not words or (matched and _continues(words, authors, matched[-1])):
            continue
        named = (i for i, author in enumerate(authors) if _names_author(words, author))
        matched.append(next(named, None))
    if not matched or matched[0] != 0:
        return _rule(False, first)
    if None in matched and gold.get("others"):
        return Verdict.UNSCORED, "more authors than the gold lists"
    return _rule(None not in matched, ", ".join(gold["authors"]))


def _names_author(words: tuple[str, ...], author: tuple[str, ...]) -> bool:
    """Whether words name an author: the surname, and no given name with another initial."""
    surname, initials = author[-1], {name[0] for name in author[:-1]}
    return surname in words and all(word == surname or word[0] in initials for word in words)


def _continues(words: tuple[str, ...], authors: list[tuple[str, ...]], last: int | None) -> bool:
    """Whether words are the given names of the author before: "Kingma, D. P."."""
    if all(len(word) == 1 for word in words):
        return True
    return last is not None and all(word in authors[last][:-1] for word in words)


_JUDGES: dict[str, Callable[[str, Mapping[str, Any]], _Ruling]] = {
    "title": _judge_title,
    "authors": _judge_authors,
    "year": _judge_year,
    "venue": _judge_venue,
    "identifier": _judge_identifier,
}
