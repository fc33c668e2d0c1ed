"""Answers scored token by token, as a study keeps them: read behind its seal, row by row.

`study_files` damages the file within a study, where the seal refuses whatever changed. Here the
rows themselves must not be believed: they are what the section on long answers is drawn from.
"""

import json
import random
from pathlib import Path
from typing import Any

import numpy as np

from campaign.mutations import mutate_json_lines
from campaign.trials import RIGHT, Plan, WrongError
from hlens.errors import HlensError
from hlens.evaluation import evaluate_levels
from hlens.steps.levels import scored_answers
from hlens.types import MarkedSpan, ScoredAnswer

SHARE = 0.7
KEEPS_INPUT = True
FILE = "scored_answers.jsonl"
FIELDS = (
    "question_id", "domain", "group", "sample", "question", "tokens", "scores", "spans",
    "hallucinated",
)  # fmt: skip


def prepare(home: Path) -> None:
    """Twelve answers, half of them with a false span, one empty and one without a label."""
    if (home / FILE).is_file():
        return
    draw = np.random.default_rng(0)
    answers = [
        ScoredAnswer(
            f"q{i}", "mine", f"g{i // 2}", tuple("It is 👩 so ."), draw.normal(size=12),
            (MarkedSpan(0, 2, False), MarkedSpan(6, 9, i % 2 == 0)), i % 2 == 0, question=f"Q{i}?",
        )
        for i in range(10)
    ]  # fmt: skip
    answers.append(ScoredAnswer("empty", "mine", "e", (), np.zeros(0), hallucinated=True))
    answers.append(ScoredAnswer("bare", "mine", "b", ("a",), np.array([0.1]), sample=1))
    _storage().save(answers, home / FILE)


def make(draw: random.Random, home: Path, folder: Path) -> Plan:
    """The file with a damaged row, or damaged as a whole."""
    mutated = mutate_json_lines(draw, (home / FILE).read_bytes())
    (folder / FILE).write_bytes(mutated.data)
    # hlens wrote it: other line ends, marks and blank lines are damage, too.
    return {"said": mutated.said, "alike": mutated.harmless}


def check(plan: Plan, home: Path, folder: Path) -> str:
    """Every row is an answer whose scores and spans are its tokens', stored as it was read."""
    answers = _storage().load(folder / FILE)
    rows = [line for line in (folder / FILE).read_bytes().split(b"\n") if line.strip()]
    if len(answers) != len(rows):
        raise WrongError(f"rows lost: {len(answers)} of {len(rows)}")
    for answer in answers:
        if len(answer.scores) != len(answer.tokens) or not np.isfinite(answer.scores).all():
            raise WrongError(f"scores: {answer.scores[:5]} of {len(answer.tokens)} tokens")
        if any(not 0 <= s.start < s.stop <= len(answer) for s in answer.spans):
            raise WrongError(f"span: {answer.spans} of {len(answer)} tokens")
    again = home / "stored-scores.jsonl"
    _storage().save(answers, again)
    if _rows(again) != _rows(folder / FILE):
        raise WrongError("stored otherwise: rows are not what was read")
    if plan["alike"] and _rows(again) != _rows(home / FILE):
        raise WrongError("other answers: what must not matter changed them")
    try:
        evaluate_levels(answers, n_boot=10)
    except HlensError:  # of one label, say
        return RIGHT
    return RIGHT


def _storage() -> Any:
    return scored_answers.storage


def _rows(path: Path) -> list[Any]:
    """The rows of a file: their own fields, scores as numbers of one kind."""
    rows = [json.loads(line) for line in path.read_bytes().split(b"\n") if line.strip()]
    kept = [{key: row[key] for key in FIELDS if key in row} for row in rows]
    return [{**row, "scores": list(map(float, row["scores"]))} for row in kept]
