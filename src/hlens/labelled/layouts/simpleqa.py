"""Graded answers in the way of SimpleQA (arXiv 2411.04368): CORRECT, INCORRECT, NOT_ATTEMPTED.

The questions (``simple_qa_test_set.csv``: metadata, problem, answer) and the grader (letters A, B
and C for the three grades) are those of github.com/openai/simple-evals, where both were looked up.
The authors publish no file of graded answers, so this layout is what one makes of them, a JSON
object a line, CSV or Parquet, named as in their grader and their CSV:

- ``problem`` or ``question``; ``answer`` or ``target``: the gold answer;
- ``predicted_answer`` or ``response``: what the model said;
- ``grade`` or ``grade_letter``: the word or the letter; their grader gives C where it says neither.

A row has one of the two names of each. Answers to one question are one group.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hlens.errors import HlensError
from hlens.labelled.layouts import layout
from hlens.labelled.layouts._reading import Record, Row, group_of, kept, read_each, text_of

QUESTION, GOLD = ("problem", "question"), ("answer", "target")
RESPONSE, GRADE = ("predicted_answer", "response"), ("grade", "grade_letter")


@layout(
    hub="",
    licence="MIT",
    labels={
        "CORRECT": "correct",
        "INCORRECT": "hallucinated",
        "NOT_ATTEMPTED": "refused",
        "A": "correct",
        "B": "hallucinated",
        "C": "refused",
    },
)
def read_simpleqa(path: Path) -> Iterator[dict[str, Any]]:
    """One row for each graded answer."""
    yield from read_each(path, _to_rows)


def _to_rows(record: Record, number: int) -> Iterator[Row]:
    question = _one_of(record, QUESTION)
    yield {
        "id": str(record.get("id", number)),
        "group": group_of(question),
        "question": question,
        "answers": [_one_of(record, GOLD)],
        "response": _one_of(record, RESPONSE),
        "verdict": _one_of(record, GRADE).strip().replace(" ", "_"),
        "meta": kept(record, "metadata", "model"),
    }


def _one_of(record: Record, names: tuple[str, str]) -> str:
    """The text under the one of two names that a record has."""
    there = [name for name in names if record.get(name) is not None]
    if len(there) != 1:
        has = "both" if there else "neither"
        raise HlensError(f"{has} of {names[0]!r} and {names[1]!r}; expected one of them")
    return text_of(record, there[0])
