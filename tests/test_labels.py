"""What the judge says, beside two readings by hand of the same replies.

`read_replies.jsonl` holds replies of both embedded models to questions of the six banks, asked in
four ways, each read twice without the judge's verdict. The readings are ``correct``, ``wrong``
(attempted, finished and not right), ``none`` (no attempt), ``cut``, ``refused`` and ``unclear``.
The rules of `hlens.judges` were fixed on the part ``fixed on``; the other part was sampled and read
afterwards, about other facts. ``benchmarks/labels.py`` prints the tables.
"""

import json
from collections import Counter
from functools import cache
from pathlib import Path

import pandas as pd
import pytest

import hlens
from hlens import domains
from hlens.types import Question, Response, Verdict

PATH = Path(__file__).parent / "read_replies.jsonl"
SHORT = ("smollm2-135m completion 4", "gemma3-270m completion 4")  # as the demo asks


@cache
def questions() -> dict[tuple[str, str], Question]:
    banks = ("general", "science", "legal", "financial", "moral", "code_vulnerability")
    return {(q.domain, q.id): q for bank in banks for q in domains.load(bank)}


@cache
def judged() -> pd.DataFrame:
    """One row a reading: part, way of asking, verdict of the judge, reading."""
    rows = []
    for line in PATH.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        question = questions()[row["domain"], row["id"]]
        response = Response(question, row["reply"], (), 0, finish_reason=row["finish_reason"])
        [judgement] = hlens.judge([response])
        way = f"{row['model']} {row['style']} {row['shots']}"
        rows += [(row["part"], way, str(judgement.verdict), read) for read in row["readings"]]
    return pd.DataFrame(rows, columns=["part", "way", "verdict", "reading"])


def rates(rows: pd.DataFrame) -> dict[str, float]:
    """Precision of both labels, and the share of each that is kept, over readings."""
    pairs = Counter(zip(rows.verdict, rows.reading, strict=True))
    wrong, right = pairs["hallucinated", "wrong"], pairs["correct", "correct"]
    return {
        "hallucinated that are": wrong / max(1, (rows.verdict == Verdict.HALLUCINATED).sum()),
        "of the wrong, kept": wrong / max(1, (rows.reading == "wrong").sum()),
        "correct that are": right / max(1, (rows.verdict == Verdict.CORRECT).sum()),
        "of the right, kept": right / max(1, (rows.reading == "correct").sum()),
        "readings": len(rows),
    }


def table(part: str) -> pd.DataFrame:
    """The rates of each way of asking, of the short ways together, and of all."""
    rows = judged().loc[judged().part == part]
    ways = {way: rows.loc[rows.way == way] for way in sorted(set(rows.way))}
    ways |= {"behind worked completions": rows.loc[rows.way.isin(SHORT)], "all": rows}
    return pd.DataFrame({way: rates(own) for way, own in ways.items()}).T


def test_behind_worked_completions_the_labels_hold() -> None:
    found = table("reported").loc["behind worked completions"]
    assert found["hallucinated that are"] >= 0.95
    assert found["of the wrong, kept"] >= 0.85
    assert found["correct that are"] >= 0.95


def test_over_all_ways_of_asking_they_nearly_do() -> None:
    found = table("reported").loc["all"]
    assert found["hallucinated that are"] >= 0.93
    assert found["of the wrong, kept"] >= 0.85
    assert found["correct that are"] >= 0.92


@pytest.mark.parametrize("part", ["fixed on", "reported"])
def test_two_readings_agree_so_that_they_can_judge_a_judge(part: str) -> None:
    lines = map(json.loads, PATH.read_text(encoding="utf-8").splitlines())
    pairs = [row["readings"] for row in lines if row["part"] == part]
    assert len(pairs) >= 300
    assert sum(a == b for a, b in pairs) / len(pairs) > 0.95


def test_no_fact_is_in_both_parts() -> None:
    parts: dict[str, set[str]] = {}
    for line in PATH.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        parts.setdefault(row["part"], set()).add(questions()[row["domain"], row["id"]].group)
    assert not parts["fixed on"] & parts["reported"]
