"""Laws of the question banks: every bank of the folder keeps them, whoever wrote its rows."""

import json
import re
from collections import Counter, defaultdict
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from hlens import HlensError, domains, judges
from hlens.domains._bank import BANKS, REQUIRED, bank_questions, read_bank
from hlens.domains._groups import SPLITS
from hlens.types import Response, Verdict

NAMES = sorted(path.stem for path in Path(str(BANKS)).glob("*.jsonl"))
SIZES = {"general": 300, "science": 300}
SIZES |= dict.fromkeys(("code_vulnerability", "financial", "legal", "moral"), 150)
EVERY = pytest.mark.parametrize("name", NAMES)
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


@cache
def keys(text: str) -> tuple[str, ...]:
    return judges.word_keys(text)


@cache
def rows(name: str) -> list[dict[str, Any]]:
    return list(read_bank(name))


def by_group(name: str) -> dict[str, list[dict[str, Any]]]:
    groups = defaultdict(list)
    for row in rows(name):
        groups[row["group"]].append(row)
    return groups


def holds(text: str, part: str) -> bool:
    """Whether the words of `part` occur in a row in `text`."""
    found, wanted = keys(text), keys(part)
    return any(found[i : i + len(wanted)] == wanted for i in range(len(found)) if wanted)


def offers(row: dict[str, Any]) -> bool:
    """Whether the question itself names the options ("right or wrong", "is it true", "yes")."""
    asked = keys(row["question"])
    is_polar = {"yes", "no", "true", "false"} & set(keys(row["answers"][0]))
    return "or" in asked or bool(row.get("choices")) or bool(is_polar)


@pytest.mark.parametrize("name", sorted(SIZES))
def test_bank_is_large_enough(name: str) -> None:
    if name not in NAMES:
        pytest.skip(f"the bank {name!r} is not written yet")
    assert len(rows(name)) >= SIZES[name]
    assert len(by_group(name)) >= 0.6 * len(rows(name))


@EVERY
def test_rows_are_well_formed(name: str) -> None:
    for line in (BANKS / f"{name}.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        assert set(REQUIRED) <= set(row), row
        assert all(isinstance(row[field], str) for field in ("id", "question", "group", "kind"))
        assert row["difficulty"] in range(1, 6), row
        texts = [row["question"], row["group"], row["id"], row["kind"], *row["answers"]]
        assert all(text and text == text.strip() and "  " not in text for text in texts), row
        assert row["question"][-1] in "?.:", row


@EVERY
def test_ids_and_questions_are_unique(name: str) -> None:
    for field in ("id", "question"):
        counts = Counter(row[field].casefold() for row in rows(name))
        assert not [value for value, n in counts.items() if n > 1]


@EVERY
def test_every_difficulty_occurs(name: str) -> None:
    counts = Counter(row["difficulty"] for row in rows(name))
    assert all(counts[level] >= 0.03 * len(rows(name)) for level in range(1, 6)), counts


@EVERY
def test_answers_are_short_and_differ(name: str) -> None:
    for row in rows(name):
        assert row["answers"], row
        assert len(set(row["answers"])) == len(row["answers"]), row
        assert len(row["answers"][0].split()) <= 6, row


@EVERY
def test_question_does_not_contain_its_answer(name: str) -> None:
    revealed = [
        (row["id"], answer)
        for row in rows(name)
        if not offers(row)
        for answer in row["answers"]
        if holds(row["question"], answer)
    ]
    assert not revealed


@EVERY
def test_small_numbers_are_accepted_as_digits_and_as_words(name: str) -> None:
    for row in rows(name):
        if row["answers"][0] in map(str, range(len(WORDS))):
            assert WORDS[int(row["answers"][0])] in row["answers"], row


@EVERY
def test_long_names_have_a_short_form(name: str) -> None:
    for row in rows(name):
        if row["kind"] == "person" and len(row["answers"][0].split()) > 1:
            assert len(row["answers"]) > 1, row


@EVERY
def test_every_alias_is_judged_right(name: str) -> None:
    for question in bank_questions(name)():
        # Plain words hold no trap for a judge; digits, signs and accents do.
        for answer in (a for a in question.answers if not re.fullmatch(r"[A-Za-z ]+", a)):
            judged = judges.judge_of(question)(Response(question, f"{answer}.", (), 0))
            assert judged.verdict is Verdict.CORRECT, (question.id, answer, judged.reason)


@EVERY
def test_groups_hold_paraphrases_of_one_fact(name: str) -> None:
    """Questions of the same words with the same gold answer are one fact."""
    seen: dict[tuple[frozenset[str], str], str] = {}
    for row in rows(name):
        fact = frozenset(keys(row["question"])), row["answers"][0]
        assert seen.setdefault(fact, row["group"]) == row["group"], row
    folded = {re.sub(r"\W", "", group).casefold() for group in by_group(name)}
    assert len(folded) == len(by_group(name)), "two groups differ in case or punctuation alone"


@pytest.mark.parametrize(("one", "other"), list(combinations(NAMES, 2)))
def test_banks_share_no_question(one: str, other: str) -> None:
    """Transfer between domains would be measured on what was trained on."""
    asked = {keys(row["question"]): row["id"] for row in rows(one)}
    assert not [asked[keys(r["question"])] for r in rows(other) if keys(r["question"]) in asked]


@EVERY
def test_splits_divide_no_group(name: str) -> None:
    whole, train, test = (list(bank_questions(name)(split)) for split in SPLITS)
    assert {q.id for q in train} | {q.id for q in test} == {q.id for q in whole}
    assert not {q.group for q in train} & {q.group for q in test}
    assert 0.1 < len(test) / len(whole) < 0.3


@EVERY
def test_bank_is_a_domain_with_a_fixed_order(name: str) -> None:
    first, second = (domains.load(name) for _ in range(2))
    assert first == second
    assert [q.id for q in first] == [row["id"] for row in rows(name)]
    assert all(q.domain == name and q.group.startswith(f"{name}/") for q in first)
    assert all(re.fullmatch(r"[a-z_]+", q.meta["format"]) for q in first)


def test_unknown_split_is_named() -> None:
    with pytest.raises(HlensError, match="unknown split 'dev'"):
        list(bank_questions("general")("dev"))


@pytest.mark.parametrize("line", ["{", "[]", '{"id": "a"}'])
def test_broken_line_is_named(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bad.jsonl").write_text(f"\n{line}\n", encoding="utf-8")
    monkeypatch.setattr("hlens.domains._bank.BANKS", tmp_path)
    with pytest.raises(HlensError, match=r"bad\.jsonl, line 2"):
        list(read_bank("bad"))
