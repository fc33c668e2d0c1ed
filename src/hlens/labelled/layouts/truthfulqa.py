"""TruthfulQA (arXiv 2109.07958): reference answers, true and false, as given responses.

Three forms of one set, told apart by their fields: ``TruthfulQA.csv`` of the authors' repository
(Type, Category, Question, Best Answer, Best Incorrect Answer in its newer form, Correct Answers,
Incorrect Answers, Source; answers separated by ``;``), and the two configurations of the hub,
generation (question, best_answer, correct_answers, incorrect_answers) and multiple_choice
(question, mc1_targets, mc2_targets). Fields and licence were looked up in code that reads the sets,
and in notes on them.

Each reference answer is one row, and all answers to a question are one group. People wrote them; no
model gave them: a probe of them shows how a model reads a claim, not what it does when it makes one
up. "I have no comment" is a correct answer here, as it is for the authors. Only mc2_targets are
read, for they hold those of mc1_targets; a label of 1 is correct.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hlens.errors import HlensError
from hlens.labelled.layouts import layout
from hlens.labelled.layouts._reading import (
    Record,
    Row,
    group_of,
    kept,
    list_of,
    read_each,
    shown,
    text_of,
)

FIELDS = ("best_answer", "correct_answers", "best_incorrect_answer", "incorrect_answers")


@layout(
    hub="truthfulqa/truthful_qa",
    licence="Apache-2.0",
    labels={
        "best_answer": "correct",
        "correct_answers": "correct",
        "best_incorrect_answer": "hallucinated",
        "incorrect_answers": "hallucinated",
    },
)
def read_truthfulqa(path: Path) -> Iterator[dict[str, Any]]:
    """One row for each reference answer."""
    yield from read_each(path, _to_rows)


def _to_rows(record: Record, number: int) -> Iterator[Row]:
    # The CSV's "Best Answer" is the hub's "best_answer".
    record = {key.casefold().replace(" ", "_"): value for key, value in record.items()}
    question = text_of(record, "question")
    given = _choices(record) if "mc2_targets" in record else _references(record)
    right = [answer for answer, label in given.items() if label in (True, *FIELDS[:2])]
    for at, (answer, label) in enumerate(given.items(), start=1):
        yield {
            "id": f"{number}-{at}",
            "group": group_of(question),
            "question": question,
            "answers": right,
            "response": answer,
            **({"correct": label} if isinstance(label, bool) else {"verdict": label}),
            "meta": kept(record, "type", "category", "source"),
        }


def _references(record: Record) -> dict[str, str]:
    """Each answer under the first field that holds it."""
    given: dict[str, str] = {}
    for field in FIELDS:
        if field == "best_incorrect_answer" and not record.get(field):
            continue  # only the newer CSV has it
        for answer in _answers(record, field):
            given.setdefault(answer, field)
    return given


def _answers(record: Record, field: str) -> list[str]:
    value = record.get(field)
    if isinstance(value, str) and field.endswith("answers"):
        value = value.split(";")
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list | tuple) or not all(isinstance(one, str) for one in values):
        raise HlensError(f"{field} is {shown(record, field)}; expected answers")
    if not (answers := [one.strip() for one in values if one.strip()]):
        raise HlensError(f"{field} is empty; expected answers")
    return answers


def _choices(record: Record) -> dict[str, bool]:
    targets = record["mc2_targets"]
    if not isinstance(targets, dict):
        raise HlensError(f"mc2_targets is {targets!r:.60}; expected choices and labels")
    choices, labels = list_of(targets, "choices"), list_of(targets, "labels")
    fits = len(choices) == len(labels) and all(label in (0, 1) for label in labels)
    if not fits or not all(isinstance(choice, str) and choice.strip() for choice in choices):
        raise HlensError("mc2_targets: expected a label, 0 or 1, for each choice, a text")
    given: dict[str, bool] = {}
    for choice, label in zip(map(str.strip, choices), labels, strict=True):
        if given.setdefault(choice, label == 1) != (label == 1):
            raise HlensError(f"mc2_targets: the choice {choice!r:.60} is both right and wrong")
    return given
