"""A user's own questions in JSONL, and pairs of prompts: every line is read or named."""

import json
import random
from pathlib import Path
from typing import Any

from campaign.mutations import TEXTS, mutate_json_lines
from campaign.trials import RIGHT, Plan, WrongError, storing
from hlens import domains
from hlens.domains import jsonl
from hlens.store.jsonl import load_questions, save_questions
from hlens.types import Question

SHARE = 1.5
KEEPS_INPUT = True
NO_ANSWERS = ("nan", "inf", "-inf", "none", "null", "true", "false", "")
ROWS: tuple[dict[str, Any], ...] = (
    {"id": 1, "question": "Who wrote Emma?", "answers": ["Jane Austen", "Austen"]},
    {"id": "b", "question": "2 + 2?", "answer": 4, "group": "sums", "meta": {"format": "numeric"}},
    {
        "question": "Which is a mammal?",
        "choices": ["ant", "bat"],
        "answers": ["bat"],
        "meta": {"answer_index": 1},
    },
    {"question": "Who was king of France in 1950?", "answers": [], "context": "It was a republic."},
    {"question": "Wie heißt die Hauptstadt?", "answers": ["Köln"], "domain": "städte", "group": 0},
    {"question": "Which town?", "answers": ["Rome"], "worked": True, "dataset": "x"},
    {"question": "Is water wet?", "answers": ["yes", "1.5", "x\u2028y"]},
)


def prepare(home: Path) -> None:
    """Nothing: the rows are above."""


def make(draw: random.Random, home: Path, folder: Path) -> Plan:
    """A file with a damaged line, or damaged as a whole."""
    rows = [dict(row) for row in ROWS]
    if draw.random() < 0.2:
        row = draw.choice(rows)
        row["question"] = f"{draw.choice(TEXTS)} {row['question']}"
    if draw.random() < 0.2:
        row = draw.choice(rows)
        row["answers"] = [draw.choice([text for text in TEXTS if text.strip() not in NO_ANSWERS])]
    text = "".join(json.dumps(row, ensure_ascii=draw.random() < 0.5) + "\n" for row in rows)
    (folder / "same.jsonl").write_bytes(text.encode())
    mutated = mutate_json_lines(draw, text.encode())
    (folder / "questions.jsonl").write_bytes(mutated.data)
    return {"said": mutated.said, "same": mutated.harmless}


def check(plan: Plan, home: Path, folder: Path) -> str:
    """Every line is a question or a bad line, and questions are stored as they were read."""
    path = folder / "questions.jsonl"
    read = jsonl.read(path)
    _check_lines(path, read)
    if plan["same"]:
        alike = jsonl.read(folder / "same.jsonl")
        if _parts(read) != _parts(alike):
            raise WrongError("other questions: what must not matter changed them")
    loaded = domains.load(f"jsonl:{path}")
    # Beside the input, which must stay as it is.
    stored = home / "stored-questions.jsonl"
    save_questions(loaded, stored)
    with storing():
        kept = load_questions(stored)
    if _values(kept) != _values(loaded):
        raise WrongError("stored otherwise: the questions change when a study keeps them")
    for question in loaded:
        _check_values(question, plan["said"])
    return RIGHT


def _parts(read: jsonl.Read) -> tuple[list[Any], list[Any], int]:
    named = [_values(part, but=("id", "group", "domain")) for part in (read.questions, read.worked)]
    return named[0], named[1], len(read.bad)


def _values(questions: Any, but: tuple[str, ...] = ()) -> list[str]:
    # As text, in which NaN is itself.
    rows = ({k: v for k, v in vars(q).items() if k not in but} for q in questions)
    return [json.dumps(row, default=dict, sort_keys=True) for row in rows]


def _check_lines(path: Path, read: jsonl.Read) -> None:
    lines = [raw for raw in path.read_bytes().split(b"\n") if raw.strip(b" \r\t\x0b\x0c")]
    taken = len(read.questions) + len(read.worked) + len(read.bad)
    if taken not in (len(lines), len([raw for raw in lines if raw.strip(b"\xef\xbb\xbf \r")])):
        raise WrongError(f"lines lost: {taken} of {len(lines)} lines are questions or named")


def _check_values(question: Question, said: str) -> None:
    texts = (question.text, question.context, question.id, question.group, question.domain)
    if not all(isinstance(text, str) for text in texts):
        raise WrongError(f"types: {question!r:.200}")
    for answer in question.answers:
        # A text of that name is an answer like others; a value that is none is not.
        if answer.strip().casefold() in NO_ANSWERS and f"'{answer}'" not in said:
            raise WrongError(f"no answer: {answer!r} is taken for one")
    if "\ufffd" in question.text + "".join(question.answers) and _is_not_given(question):
        raise WrongError("bytes replaced: what is no UTF-8 is read as something else")


def _is_not_given(question: Question) -> bool:
    """Whether no text of the campaign holds the replacement character itself."""
    return not any(
        "\ufffd" in text and text in question.text + " ".join(question.answers) for text in TEXTS
    )
