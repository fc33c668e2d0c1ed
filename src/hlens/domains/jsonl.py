r"""A user's own questions: one JSON object a line, ``jsonl:PATH`` to `hlens.domains.load`.

Schema of a line (``question`` and ``answers`` are required)::

    id        text or number; the line number where it is left out
    question  the question, without an answering instruction; ``text`` is taken for it too
    answers   list of texts or numbers, gold first, then aliases; empty: the model should abstain.
              ``answer`` with one text or number is taken too
    choices   list of options, at most 26
    context   text that the question is about
    domain    name of the domain; the file's name where it is left out
    dataset   kept in meta
    group     what must never be split over train and test, a text or number; also read from meta
    meta      object of plain values: ``format`` (short_answer, completion, mcq, label, numeric,
              free_text), ``judge``, ``answer_index``, ``case_sensitive``, ...
    worked    true: not asked, but shown with its answer (or ``meta.reply``) before the questions
              of its domain and format (`hlens.sample`); its fact is that of no question

The format defaults to mcq with choices and to short_answer without; the judge to choice, to alias,
or to abstain for a question without answers. null is a field that is left out; 0 and "" are not. A
bad line is reported with its number, kept in `Read.bad`, and the reading goes on; keys that are not
read are named. Lines end at ``\n`` or ``\r\n`` alone::

    {"id": 1, "question": "Who wrote Emma?", "answers": ["Jane Austen", "Austen"]}
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

from hlens import data_files
from hlens.domains._groups import select_split
from hlens.errors import HlensError
from hlens.judges import word_keys
from hlens.lookup import unknown
from hlens.types import Question
from hlens.undecoded import check_decoded

log = logging.getLogger("hlens")
T = TypeVar("T")
FIELDS = ("id", "question", "text", "answers", "answer", "choices", "context", "domain")
FIELDS += ("dataset", "group", "meta", "worked")
MOST_CHOICES = 26  # they are shown by letter


@dataclass(frozen=True)
class BadLine:
    """A line that could not be read: its number, from 1, why, and its first 200 characters."""

    number: int
    reason: str
    text: str


@dataclass(frozen=True)
class Read:
    """What a file holds: questions, worked examples, and the lines that could not be read."""

    questions: tuple[Question, ...]
    bad: tuple[BadLine, ...]
    worked: tuple[Question, ...] = ()


def read(path: str | Path) -> Read:
    """Read a JSONL file; every bad line is logged with its number and counted.

    Raises:
        HlensError: No such file, one that is no text, or answers that are labelled already.
    """
    path = Path(path).expanduser()
    _check_unlabelled(path)
    seen: set[str] = set()
    facts: dict[bool, set[tuple[str, ...]]] = {False: set(), True: set()}
    # Normal words take a millisecond a line: only where there are examples to compare with.
    has_worked = any(b'"worked"' in line for _, line in data_files.read_lines(path))
    asked: dict[tuple[str, ...], tuple[str, int]] = {}
    unread: Counter[str] = Counter()

    def parse(line: str, number: int) -> tuple[Question, bool]:
        row = {k: v for k, v in data_files.parse_object(line).items() if v is not None}
        unread.update(set(row) - set(FIELDS))
        question, is_worked = to_question(row, number, path.stem)
        if question.id in seen:
            raise HlensError(f"id {question.id!r} was used before; give every line its own")
        # Left out by mistake, they would make it a question to abstain from.
        if not {"answers", "answer"} & set(row) and not _says_answer(question, is_worked):
            raise HlensError(
                "no answers: expected the gold answer and its aliases under 'answers', or [] "
                "where the model should abstain"
            )
        # Shown before a question, the answer to the question itself would be given away.
        fact = {("group", question.group)}
        fact |= {("words", *words_of(question.text))} if has_worked else set()
        if facts[not is_worked] & fact:
            raise HlensError(
                "a question and a worked example are about one fact; give the example another"
            )
        seen.add(question.id)
        facts[is_worked] |= fact
        texts = (question.text, question.context, *question.choices)
        group, first = asked.setdefault(texts, (question.group, number))
        if group != question.group:
            log.warning(
                "%s, line %d asks what line %d asks, in another group: a split may part them; "
                "give both one group",
                path.name,
                number,
                first,
            )
        return question, is_worked

    lines, bad = read_lines(path, parse)
    if unread:
        named = ", ".join(f"{key!r:.60} ({n} lines)" for key, n in unread.items())
        log.warning(
            "%s: keys that are not read: %s; put under 'meta' what is to be kept", path.name, named
        )
    if bad:
        log.warning("%s: %d lines read, %d bad", path.name, len(lines), len(bad))
    questions = tuple(question for question, is_worked in lines if not is_worked)
    return Read(questions, tuple(bad), tuple(q for q, is_worked in lines if is_worked))


def _check_unlabelled(path: Path) -> None:
    """Say once, and not of every line, that answers labelled elsewhere are not read here."""
    for _, line in data_files.read_lines(path):
        try:
            row = data_files.parse_object(data_files.decode(line))
        except HlensError:
            return  # which the reading reports
        if "response" in row:
            unread = ", ".join(repr(key) for key in row if key not in FIELDS)
            raise HlensError(
                f"{path.name} holds responses: answers that were given and labelled elsewhere are "
                f"not read here, only questions to ask; hlens import {path.name} makes a study of "
                f"them, or leave out {unread} to ask anew"
            )
        return


def read_lines(path: Path, parse: Callable[[str, int], T]) -> tuple[list[T], list[BadLine]]:
    """What `parse` makes of each line and its number, and the lines on which it raised."""
    good: list[T] = []
    bad: list[BadLine] = []
    for number, line in data_files.read_lines(path):
        try:
            good.append(parse(data_files.decode(line), number))
        except HlensError as error:
            text = line.decode(errors="backslashreplace")
            bad.append(BadLine(number, str(error), text[:200]))
            log.warning("%s, line %d: %s", path.name, number, error)
    return good, bad


def words_of(text: str) -> tuple[str, ...]:
    """What a text says: its words in normal form; the text itself where it has none."""
    return word_keys(text) or (text,)


def questions_from(path: Path, split: str = "all") -> Iterator[Question]:
    """The good lines of a file, for ``hlens.domains.load("jsonl:PATH")``."""
    return select_split(read(path).questions, split)


def worked_from(path: Path) -> tuple[Question, ...]:
    """The worked examples of a file, for ``hlens.domains.load_worked("jsonl:PATH")``."""
    return read(path).worked


def read_worked(path: Path, domain: str) -> tuple[Question, ...]:
    """The worked examples that ship for a domain, one a line; a bad line is an error."""
    rows = data_files.read_objects(path)
    shown = ((number, to_question(row, number, domain)[0]) for number, row in rows)
    # A group of its own: a user's questions of this domain may be numbered alike.
    return tuple(replace(one, group=f"worked/{domain}/{number}") for number, one in shown)


def to_question(row: Mapping[str, Any], number: int, stem: str) -> tuple[Question, bool]:
    """The question of a line, and whether it is a worked example."""
    for key in set(row) - set(FIELDS):
        # A misspelt "group" would be no group at all.
        if set(get_close_matches(key, FIELDS, cutoff=0.8)) - set(row):
            raise unknown("key", key, FIELDS)
    is_worked = row.get("worked", False)
    if not isinstance(is_worked, bool):
        raise HlensError(f"worked is {is_worked!r:.60}; expected true or false")
    text = row.get(_one_of(row, "question", "text"))
    if not isinstance(text, str) or not text.strip():
        raise HlensError("no question: expected a text under 'question'")
    context = _text(row.get("context", ""), "context")
    meta = row.get("meta", {})
    if not isinstance(meta, dict):
        raise HlensError(f"meta is {meta!r:.60}; expected an object")
    meta = {**({"dataset": row["dataset"]} if "dataset" in row else {}), **meta}
    answers = _texts(row.get(_one_of(row, "answers", "answer"), []), "answers")
    choices = _texts(row.get("choices", []), "choices")
    if len(choices) > MOST_CHOICES:
        raise HlensError(f"{len(choices)} choices; expected at most {MOST_CHOICES}")
    group = row.get("group", meta.get("group"))
    question = Question(
        id=_name(row.get("id", number), "id"),
        domain=_text(row.get("domain", stem), "domain"),
        text=text,
        answers=answers,
        choices=choices,
        context=context,
        group="" if group is None else _name(group, "group"),
        meta=meta,
    )
    texts = (question.text, question.context, *question.answers, *question.choices)
    check_decoded(texts, "texts of this question", share=0.0)
    # Checked here, since a wrong index would stop a run only after every question was asked.
    index, n = meta.get("answer_index"), len(question.choices)
    if index is not None and n and not (type(index) is int and 0 <= index < n):
        raise HlensError(f"answer_index is {index!r:.60}; expected 0 to {n - 1}, of {n} choices")
    judge = "choice" if question.choices else "alias" if answers else "abstain"
    defaults = {"format": "mcq" if question.choices else "short_answer", "judge": judge}
    return replace(question, meta={**defaults, **meta}), is_worked


def _says_answer(question: Question, is_worked: bool) -> bool:
    """Whether a line says what is right though it has no answers."""
    by_index = bool(question.choices) and question.meta.get("answer_index") is not None
    return by_index or (is_worked and "reply" in question.meta)


def _one_of(row: Mapping[str, Any], name: str, other: str) -> str:
    """The one of two names for a field that a line uses."""
    if name in row and other in row:
        raise HlensError(f"both {name!r} and {other!r}; keep one")
    return other if other in row else name


def _texts(value: Any, name: str) -> tuple[str, ...]:
    """A text or number as one text, a list as several."""
    values = value if isinstance(value, list) else [value]
    if not all(_is_name(v) for v in values):
        raise HlensError(f"{name} is {value!r:.60}; expected a list of texts")
    # An option of a list may be empty: it still has its letter.
    if not all(str(v).strip() for v in values) and (name == "answers" or values != value):
        raise HlensError(f"{name} holds an empty text; leave it out, or write []")
    # A float as a person writes it: 1e-07 is no word of any reply.
    return tuple(f"{Decimal(str(v)):f}" if isinstance(v, float) else str(v) for v in values)


def _name(value: Any, name: str) -> str:
    if not _is_name(value) or not str(value).strip():
        raise HlensError(f"{name} is {value!r:.60}; expected a text or a number")
    return str(value)


def _is_name(value: Any) -> bool:
    return isinstance(value, str | int | float) and not isinstance(value, bool)


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str) or (name == "domain" and not value.strip()):
        raise HlensError(f"{name} is {value!r:.60}; expected a text")
    return value
