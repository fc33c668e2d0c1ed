"""The question banks that ship with hlens: one JSONL file per domain, `banks/<name>.jsonl`.

A row is one question, and the file is the source that people edit:

- `id`: unique in its bank; `question`: the text, without an answering instruction;
- `answers`: the gold answer first, then its aliases;
- `group`: the fact behind the question; paraphrases of one fact share it;
- `difficulty`: how well known the fact is, 1 (everybody) to 5 (specialists);
- `kind`: type of the answer (person, place, number, year, term, ...).

`choices` and `context` are optional. Any other field goes to `Question.meta` unchanged, where
`format` and `judge` default to ``short_answer`` and ``alias``.
"""

import json
from collections.abc import Callable, Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

from hlens.domains._groups import by_split
from hlens.errors import HlensError
from hlens.types import Question

REQUIRED = ("id", "question", "answers", "group", "difficulty", "kind")


def bank_path(name: str) -> Traversable:
    """The path of a bank inside the package."""
    return files("hlens") / "domains" / "banks" / f"{name}.jsonl"


def read_bank(name: str) -> Iterator[dict[str, Any]]:
    """The rows of a bank as they are written, in the order of the file.

    Raises:
        HlensError: A line is not a JSON object or lacks a field; the message gives its number.
    """
    lines = bank_path(name).read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, start=1):
        if line.strip():
            yield _parse(line, f"{name}.jsonl, line {number}")


def bank_questions(name: str) -> Callable[..., Iterator[Question]]:
    """``questions(split="all")`` of the domain whose bank has this name.

    >>> next(bank_questions("general")()).group.startswith("general/")
    True
    """
    return by_split(lambda: (_to_question(name, row) for row in read_bank(name)))


def _parse(line: str, place: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise HlensError(f"{place}: not JSON ({error}); write one JSON object a line") from error
    if not isinstance(row, dict) or any(name not in row for name in REQUIRED):
        raise HlensError(f"{place}: expected an object with the fields {', '.join(REQUIRED)}")
    return row


def _to_question(name: str, row: dict[str, Any]) -> Question:
    own = {"id", "question", "answers", "group", "choices", "context"}
    others = {key: value for key, value in row.items() if key not in own}
    return Question(
        id=row["id"],
        domain=name,
        text=row["question"],
        answers=tuple(row["answers"]),
        choices=tuple(row.get("choices", ())),
        context=row.get("context", ""),
        group=f"{name}/{row['group']}",
        meta={"format": "short_answer", "judge": "alias", **others},
    )
