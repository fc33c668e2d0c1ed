r"""A user's own questions: one JSON object a line, ``jsonl:PATH`` to `hlens.domains.load`.

Schema of a line (only ``question`` is required; ``text`` is taken for it too)::

    id        text or number; the line number where it is left out
    question  the question, without an answering instruction
    answers   list of texts, gold first, then aliases; empty: the model should abstain.
              ``answer`` with one text or number is taken too
    choices   list of options
    context   text that the question is about
    domain    name of the domain; the file's name where it is left out
    dataset   kept in meta
    group     what must never be split over train and test; also read from meta
    meta      object of plain values: ``format`` (short_answer, completion, mcq, label, numeric,
              free_text), ``judge``, ``answer_index``, ``case_sensitive``, ...
    worked    true: not asked, but shown with its answer (or ``meta.reply``) before the questions
              of its domain and format (`hlens.sample`); its fact is that of no question

The format defaults to mcq with choices and to short_answer without; the judge to choice, to alias,
or to abstain for a question without answers. A bad line is reported with its number, kept in
`Read.bad`, and the reading goes on::

    {"id": 1, "question": "Who wrote Emma?", "answers": ["Jane Austen", "Austen"]}
"""

import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from hlens.domains._groups import select_split
from hlens.errors import HlensError
from hlens.types import Question
from hlens.undecoded import check_decoded

log = logging.getLogger("hlens")
T = TypeVar("T")


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
        HlensError: There is no such file.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise HlensError(f"no file {str(path)!r}; expected a JSONL file with one question a line")
    seen: set[str] = set()
    facts: dict[bool, set[str]] = {False: set(), True: set()}

    def parse(line: str, number: int) -> tuple[Question, bool]:
        question, is_worked = _to_question(line, number, path.stem)
        if question.id in seen:
            raise HlensError(f"id {question.id!r} was used before; give every line its own")
        # Shown before a question, the answer to the question itself would be given away.
        if facts[not is_worked] & {question.group, question.text}:
            raise HlensError(
                "a question and a worked example are about one fact; give the example another"
            )
        seen.add(question.id)
        facts[is_worked] |= {question.group, question.text}
        return question, is_worked

    lines, bad = read_lines(path, parse)
    if bad:
        log.warning("%s: %d lines read, %d bad", path.name, len(lines), len(bad))
    questions = tuple(question for question, is_worked in lines if not is_worked)
    return Read(questions, tuple(bad), tuple(q for q, is_worked in lines if is_worked))


def read_lines(path: Path, parse: Callable[[str, int], T]) -> tuple[list[T], list[BadLine]]:
    """What `parse` makes of each line and its number, and the lines on which it raised."""
    good: list[T] = []
    bad: list[BadLine] = []
    # Split by newline bytes only: splitlines() would cut at U+2028 inside a JSON text.
    for number, raw in enumerate(path.read_bytes().split(b"\n"), start=1):
        line = raw.decode("utf-8-sig", errors="replace").strip()
        try:
            good += [parse(line, number)] if line else []
        except HlensError as error:
            bad.append(BadLine(number, str(error), line[:200]))
            log.warning("%s, line %d: %s", path.name, number, error)
    return good, bad


def questions_from(path: Path, split: str = "all") -> Iterator[Question]:
    """The good lines of a file, for ``hlens.domains.load("jsonl:PATH")``."""
    return select_split(read(path).questions, split)


def worked_from(path: Path) -> tuple[Question, ...]:
    """The worked examples of a file, for ``hlens.domains.load_worked("jsonl:PATH")``."""
    return read(path).worked


def parse_worked(text: str, domain: str) -> tuple[Question, ...]:
    """The worked examples that ship for a domain, one a line; a bad line is an error."""
    lines = enumerate(text.splitlines(), start=1)
    shown = ((n, _to_question(line, n, domain)[0]) for n, line in lines if line.strip())
    # A group of its own: a user's questions of this domain may be numbered alike.
    return tuple(replace(one, group=f"worked/{domain}/{number}") for number, one in shown)


def _to_question(line: str, number: int, stem: str) -> tuple[Question, bool]:
    """The question of a line, and whether it is a worked example."""
    row = parse_object(line)
    is_worked = row.get("worked", False)
    if not isinstance(is_worked, bool):
        raise HlensError(f"worked is {is_worked!r:.60}; expected true or false")
    try:
        json.dumps(row, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        # JSON can write half of a character, which no file of a study could store.
        raise HlensError("half of a character (\\ud800 to \\udfff alone)") from None
    text = row.get("question", row.get("text"))
    if not isinstance(text, str) or not text.strip():
        raise HlensError("no question: expected a text under 'question'")
    meta = row.get("meta") or {}
    if not isinstance(meta, dict):
        raise HlensError(f"meta is {meta!r}; expected an object")
    meta = {**({"dataset": row["dataset"]} if "dataset" in row else {}), **meta}
    answers = _texts(row.get("answers", row.get("answer", [])), "answers")
    if not all(answer.strip() for answer in answers):
        raise HlensError("answers holds an empty text; leave it out (no answers: should abstain)")
    question = Question(
        id=str(row.get("id", number)),
        domain=_text(row.get("domain", stem), "domain"),
        text=text,
        answers=answers,
        choices=_texts(row.get("choices") or [], "choices"),
        context=_text(row.get("context") or "", "context"),
        group=str(row.get("group") or meta.get("group") or ""),
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


def parse_object(line: str) -> dict[str, Any]:
    """The JSON object of a line.

    Raises:
        HlensError: The line is not JSON, or another JSON value.
    """
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise HlensError(f"no JSON ({error.msg} at character {error.colno})") from error
    if not isinstance(row, dict):
        raise HlensError(f"a JSON {type(row).__name__}; expected an object")
    return row


def _texts(value: Any, name: str) -> tuple[str, ...]:
    """A text or number as one text, a list as several."""
    values = value if isinstance(value, list) else [value]
    if not all(isinstance(v, str | int | float) and not isinstance(v, bool) for v in values):
        raise HlensError(f"{name} is {value!r:.60}; expected a list of texts")
    return tuple(str(v) for v in values)


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise HlensError(f"{name} is {value!r:.60}; expected a text")
    return value
