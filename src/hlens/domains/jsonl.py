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

Where no format is given it is mcq with choices and short_answer without; where no judge is given
it is choice, alias, or abstain for a question without answers. A bad line is reported with its
number, kept in `Read.bad`, and the reading goes on::

    {"id": 1, "question": "Who wrote Emma?", "answers": ["Jane Austen", "Austen"]}
"""

import json
import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hlens.domains._sample import in_split
from hlens.errors import HlensError
from hlens.types import Question

log = logging.getLogger("hlens")


@dataclass(frozen=True)
class BadLine:
    """A line that could not be read.

    Attributes:
        number: Number of the line, from 1.
        reason: What was wrong with it.
        text: The line, cut at 200 characters.
    """

    number: int
    reason: str
    text: str


@dataclass(frozen=True)
class Read:
    """What a file held: its questions, and the lines that were none."""

    questions: tuple[Question, ...]
    bad: tuple[BadLine, ...]


def read(path: str | Path) -> Read:
    """Read a JSONL file; every bad line is logged with its number and counted.

    Raises:
        HlensError: There is no such file.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise HlensError(f"no file {str(path)!r}; expected a JSONL file with one question a line")
    questions: list[Question] = []
    bad: list[BadLine] = []
    seen: Counter[str] = Counter()
    # Split by newline bytes only: splitlines() would cut at U+2028 inside a JSON text.
    for number, raw in enumerate(path.read_bytes().split(b"\n"), start=1):
        line = raw.decode("utf-8-sig", errors="replace").strip()
        if not line:
            continue
        try:
            question = _question(line, number, path.stem)
            if seen[question.id]:
                raise HlensError(f"id {question.id!r} was used before; give every line its own")
        except HlensError as error:
            bad.append(BadLine(number, str(error), line[:200]))
            log.warning("%s, line %d: %s", path.name, number, error)
            continue
        seen[question.id] += 1
        questions.append(question)
    if bad:
        log.warning("%s: %d lines read, %d bad", path.name, len(questions), len(bad))
    return Read(tuple(questions), tuple(bad))


def questions_at(path: Path, split: str = "all") -> Iterator[Question]:
    """The good lines of a file, for ``hlens.domains.load("jsonl:PATH")``."""
    return in_split(read(path).questions, split)


def _question(line: str, number: int, stem: str) -> Question:
    row = _object(line)
    text = row.get("question", row.get("text"))
    if not isinstance(text, str) or not text.strip():
        raise HlensError("no question: expected a text under 'question'")
    meta = row.get("meta") or {}
    if not isinstance(meta, dict):
        raise HlensError(f"meta is {meta!r}; expected an object")
    meta = {**({"dataset": row["dataset"]} if "dataset" in row else {}), **meta}
    given = row.get("answers", row.get("answer", []))
    answers = _texts(given, "answers")
    if not all(answer.strip() for answer in answers):
        raise HlensError("answers holds an empty text; leave it out (no answers: should abstain)")
    question = Question(
        id=str(row.get("id", number)),
        domain=_word(row.get("domain", stem), "domain"),
        text=text,
        answers=answers,
        choices=_texts(row.get("choices") or [], "choices"),
        context=_word(row.get("context") or "", "context"),
        group=str(row.get("group") or meta.get("group") or ""),
        meta=meta,
    )
    question = replace(question, meta={**_defaults(question), **meta})
    _check_index(question)
    return question


def _check_index(question: Question) -> None:
    """A wrong index would stop a run only after everything was asked."""
    index, n = question.meta.get("answer_index"), len(question.choices)
    if index is not None and n and not (type(index) is int and 0 <= index < n):
        raise HlensError(f"answer_index is {index!r:.60}; expected 0 to {n - 1}, of {n} choices")


def _object(line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise HlensError(f"no JSON ({error.msg} at character {error.colno})") from error
    if not isinstance(row, dict):
        raise HlensError(f"a JSON {type(row).__name__}; expected an object")
    try:
        json.dumps(row, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        # JSON can write half of a character; no file can hold it.
        raise HlensError("half of a character (\\ud800 to \\udfff alone)") from None
    return row


def _texts(value: Any, name: str) -> tuple[str, ...]:
    """A text or number as one, a list as several; anything else is an error."""
    values = value if isinstance(value, list) else [value]
    if not all(isinstance(v, str | int | float) and not isinstance(v, bool) for v in values):
        raise HlensError(f"{name} is {value!r:.60}; expected a list of texts")
    return tuple(str(v) for v in values)


def _word(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise HlensError(f"{name} is {value!r:.60}; expected a text")
    return value


def _defaults(question: Question) -> dict[str, str]:
    if question.choices:
        return {"format": "mcq", "judge": "choice"}
    return {"format": "short_answer", "judge": "alias" if question.answers else "abstain"}
