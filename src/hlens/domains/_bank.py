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

from collections.abc import Callable, Iterator, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from hlens.data_files import read_objects
from hlens.domains._groups import by_split
from hlens.errors import HlensError
from hlens.types import Question

BANKS = files("hlens") / "domains" / "banks"
REQUIRED = ("id", "question", "answers", "group", "difficulty", "kind")


def read_bank(name: str) -> Iterator[dict[str, Any]]:
    """The rows of a bank as they are written, in the order of the file."""
    return read_rows(Path(str(BANKS / f"{name}.jsonl")), REQUIRED)


def read_rows(path: Path, required: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The rows of a file that ships, each with all required fields."""
    for number, row in read_objects(path):
        if any(field not in row for field in required):
            raise HlensError(
                f"{path.name}, line {number}: expected the fields {', '.join(required)}"
            )
        yield row


def bank_questions(name: str) -> Callable[..., Iterator[Question]]:
    """``questions(split="all")`` of the domain whose bank has this name.

    >>> next(bank_questions("general")()).group.startswith("general/")
    True
    """
    return by_split(lambda: (_to_question(name, row) for row in read_bank(name)))


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
