"""Data sets of the hub, read from tiny folders in the hub's layout."""

import builtins
import csv
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest

from hlens import domains, judges, lookup
from hlens.errors import HlensError
from hlens.types import Question, Response, Verdict

HUB = sorted(
    name for name in domains.names() if hasattr(lookup.member("domains", name), "questions_from")
)


def example(name: str) -> dict[str, Any]:
    """The first example row of a domain, to be changed by a test."""
    return dict(next(iter(lookup.member("domains", name).EXAMPLE.values())))


TRIVIA, POPQA, SIMPLEQA, SCIQ, ARC, FINQA, PRIMEVUL, DEVIGN = map(
    example, ("triviaqa", "popqa", "simpleqa", "sciq", "arc", "finqa", "primevul", "devign")
)
Expected = dict[str, Any]

# What the example of each domain becomes, where more can be said than the law below says.
EXAMPLES: list[tuple[str, str, Expected]] = [
    ("triviaqa", "Florence",
     {"answers": ("Florence", "Firenze"), "text": "Which Italian city has the Uffizi?"}),
    ("nq_open", "2017", {"text": "when was it?", "answers": ("2017", "in 2017")}),
    ("popqa", "politician",
     {"group": "popqa/george rankin", "answers": ("politician", "political leader")}),
    ("simpleqa", "May 5, 1990", {}),
    ("pubmedqa", "yes", {"context": "One.\nTwo."}),
    ("sciq", "darwin", {}),
    ("arc", "bat", {"choices": ("ant", "bat")}),
    ("casehold", "d", {}),
    ("legalbench", "Yes", {"id": "hearsay-5", "choices": ("Yes", "No")}),
    ("finqa", "5%", {"group": "finqa/aal/2018/page_13.pdf", "answers": ("5%", "0.05")}),
    ("financial_phrasebank", "positive", {}),
    ("ethics", "wrong", {}),
    ("primevul", "yes", {"group": "primevul/linux/abc"}),
    ("devign", "no", {"group": "devign/qemu/abc"}),
    ("bioasq", "BRCA1", {}),
]  # fmt: skip

# Other layouts that are read too: domain, file, row, gold, what else must hold.
LAYOUTS: list[tuple[str, str, Mapping[str, Any], str, Expected]] = [
    ("nq_open", "NQ-open.dev.jsonl", {"question": "when", "answer": ["2017"]}, "2017", {}),
    ("casehold", "data/all/test.csv",
     {"example_id": 3, "citing_prompt": "See", **{f"holding_{i}": f"h{i}" for i in range(5)},
      "label": 2}, "h2", {"id": "3"}),
    ("finqa", "test.json", {**FINQA, "qa": {"question": "q?", "exe_ans": 0.05, "answer": ""}},
     "0.05", {"text": "q?"}),
    ("ethics", "justice/test/0000.parquet", {"label": 1, "scenario": "I paid him."}, "yes", {}),
    ("ethics", "deontology/test/0000.parquet",
     {"label": 0, "scenario": "Feed the cat?", "excuse": "No, it is Monday."}, "no", {}),
    ("primevul", "primevul_test_paired.jsonl", PRIMEVUL, "yes", {}),
    ("bioasq", "10B1_golden.json",
     {"body": "Which gene?", "id": "61f", "type": "factoid",
      "exact_answer": [["BRCA1", "BRCA-1"]]}, "BRCA1", {"answers": ("BRCA1", "BRCA-1")}),
]  # fmt: skip
CASES = [
    (name, next(iter(lookup.member("domains", name).EXAMPLE)), example(name), gold, more)
    for name, gold, more in EXAMPLES
] + LAYOUTS


def write(path: Path, *rows: Mapping[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        pyarrow.parquet.write_table(pa.Table.from_pylist(list(rows)), path)
    elif path.suffix == ".jsonl":
        path.write_text("\n".join(map(json.dumps, rows)))
    elif path.suffix == ".json":
        found: Any = {"questions": rows} if "golden" in path.name else list(rows)
        path.write_text(json.dumps(found, indent=1))
    else:
        with path.open("w", newline="") as file:
            delimiter = "\t" if path.suffix == ".tsv" else ","
            writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
            writer.writeheader()
            writer.writerows(rows)
    return path


@pytest.mark.parametrize("case", CASES, ids=[f"{c[0]}-{c[1]}" for c in CASES])
def test_a_row_becomes_a_question(case: tuple, tmp_path: Path) -> None:
    name, file, row, gold, wanted = case
    write(tmp_path / file, row)
    [question] = domains.load(f"{name}:{tmp_path}")
    assert (question.domain, question.answers[0]) == (name, gold)
    assert {key: getattr(question, key) for key in wanted} == wanted
    check(question)


def check(question: Question) -> None:
    """What holds for a question of any set: its gold is right by its own judge."""
    meta = question.meta
    assert meta["format"] in ("short_answer", "mcq", "label", "numeric")
    assert question.id
    assert question.group.startswith(question.domain + "/")
    json.dumps(dict(meta))
    if question.choices:
        assert question.choices[meta["answer_index"]] == question.answers[0]
    assert meta["judge"] in judges.names()
    [judged] = judges.judge([Response(question, question.answers[0], (), 0)])
    assert judged.verdict is Verdict.CORRECT, judged.reason


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("casehold", {"endings": "['a', 'b', 'c', 'd', 'e']"}),  # as CSV holds a list of Python
        ("casehold", {"endings": "abcde"}),
        ("casehold", {"endings": ["a", "b", "c", "", "e"]}),
        ("casehold", {"label": 1.7}),
        ("arc", {"choices": {"text": "ab", "label": ["A", "B"]}}),
        ("finqa", {"pre_text": "a text"}),
        ("devign", {"target": 0.5}),
        ("popqa", {"s_pop": "inf"}),
        ("simpleqa", {"metadata": "{'topic': 'a"}),
    ],
)
def test_a_text_is_no_list_of_its_characters_and_half_an_index_is_none(
    name: str, changed: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = (tmp_path / next(iter(lookup.member("domains", name).EXAMPLE))).with_suffix(".jsonl")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({**example(name), **changed}) + "\n")
    with pytest.raises(HlensError, match="holds no question"):
        domains.load(f"{name}:{tmp_path}")
    assert "; expected" in caplog.text or "not JSON" in caplog.text


def test_lists_and_indices_are_read_as_csv_holds_them(tmp_path: Path) -> None:
    row = {**example("casehold"), "endings": '["a", "b", "c", "d", "e"]', "label": "3"}
    (tmp_path / "test.jsonl").write_text(json.dumps(row) + "\n")
    [question] = domains.load(f"casehold:{tmp_path}")
    assert question.choices == tuple("abcde")
    assert question.answers == ("d",)


# Laws of every domain that reads the hub


@pytest.mark.parametrize("name", HUB)
def test_the_example_of_a_hub_domain_becomes_questions(name: str, tmp_path: Path) -> None:
    rows = getattr(lookup.member("domains", name), "EXAMPLE", None)
    assert rows, f"domains/{name}.py needs EXAMPLE = {{file in the hub's layout: one row of it}}"
    for file, row in rows.items():
        write(tmp_path / file, row)
    questions = domains.load(f"{name}:{tmp_path}")
    assert len(questions) == len(rows), "each row of EXAMPLE makes one question"
    for question in questions:
        assert question.domain == name
        check(question)


@pytest.mark.parametrize("name", HUB)
def test_a_hub_domain_names_its_source_licence_and_citation(name: str) -> None:
    text = lookup.member("domains", name).__doc__ or ""
    needs = f"the docstring of domains/{name}.py needs "
    assert "Hub: ``" in text, needs + "'Hub: ``owner/name``, split ...'"
    licences = ("CC BY", "MIT", "Apache", "licence", "C-UDA")
    assert any(word in text for word in licences), needs + "the licence"
    assert "arXiv" in text or "et al." in text, needs + "a citation (arXiv, or authors 'et al.')"


def test_other_splits_and_configs_are_not_read(tmp_path: Path) -> None:
    for config in ("rc.nocontext", "rc", "unfiltered.nocontext"):
        for split in ("train", "validation", "test"):
            row = {**TRIVIA, "question_id": f"{config} {split}", "question": f"{config} {split}?"}
            write(tmp_path / config / f"{split}-00000-of-00001.parquet", row)
    assert [q.id for q in domains.load(f"triviaqa:{tmp_path}")] == ["rc.nocontext validation"]
    assert [q.id for q in domains.load(f"triviaqa:{tmp_path / 'rc.nocontext'}")] == [
        "rc.nocontext validation"
    ]
    write(tmp_path / "v" / "primevul_test.jsonl", {**PRIMEVUL, "idx": 1})
    write(tmp_path / "v" / "primevul_test_paired.jsonl", {**PRIMEVUL, "idx": 2})
    assert [q.id for q in domains.load(f"primevul:{tmp_path / 'v'}")] == ["2"]


def test_all_configs_are_read_and_variations_stay_together(tmp_path: Path) -> None:
    for config in ("ARC-Easy", "ARC-Challenge"):
        rows = [{**ARC, "id": f"{config} {i}"} for i in range(2)]
        write(tmp_path / config / "test-00000-of-00001.parquet", *rows)
    questions = domains.load(f"arc:{tmp_path}")
    assert [q.meta["config"] for q in questions] == ["ARC-Easy"] * 2 + ["ARC-Challenge"] * 2
    assert len({q.group for q in questions}) == 1
    rows = [{**PRIMEVUL, "target": t, "idx": t} for t in (1, 0)]
    write(tmp_path / "v" / "paired" / "test-0.parquet", *rows)
    pair = domains.load(f"primevul:{tmp_path / 'v'}")
    assert [q.answers[0] for q in pair] == ["yes", "no"]
    assert len({q.group for q in pair}) == 1


def test_bad_rows_are_reported_and_skipped(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [ARC, {**ARC, "answerKey": "E"}, {**ARC, "question": " "}]
    write(tmp_path / "ARC-Easy" / "test.jsonl", *rows, {"id": "x"})
    with caplog.at_level(logging.WARNING, logger="hlens"):
        assert len(domains.load(f"arc:{tmp_path}")) == 1
    assert "arc, row 1 of ARC-Easy" in caplog.text
    assert "no field 'choices'" in caplog.text
    assert "3 bad rows were left out" in caplog.text
    asked = {**SCIQ, "question": "Which of the following is alive?"}
    write(tmp_path / "sciq" / "test.jsonl", asked, SCIQ)
    assert len(domains.load(f"sciq:{tmp_path / 'sciq'}")) == 1


# domain, file, a row that its data set may hold and that has no gold answer, a good row
WITHOUT_GOLD: list[tuple[str, str, Mapping[str, Any], Mapping[str, Any]]] = [
    ("ethics", "data/commonsense/test.csv",
     {"label": -1, "input": "I stole it."}, {"label": 1, "input": "I gave it back."}),
    ("devign", "data/test.jsonl", {**DEVIGN, "target": -1}, {**DEVIGN, "id": 1}),
    ("primevul", "primevul_test_paired.jsonl", {**PRIMEVUL, "target": -1}, {**PRIMEVUL, "idx": 8}),
    ("financial_phrasebank", "sentences_allagree/train.jsonl",
     {"sentence": "Profit rose.", "label": -1}, {"sentence": "Profit fell.", "label": 0}),
    ("triviaqa", "rc.nocontext/validation.jsonl",
     {**TRIVIA, "answer": {"value": "", "aliases": []}}, {**TRIVIA, "question_id": "tc_2"}),
    ("triviaqa", "rc.nocontext/validation.jsonl",
     {**TRIVIA, "question": None}, {**TRIVIA, "question_id": "tc_2"}),
    ("triviaqa", "rc.nocontext/validation.jsonl", TRIVIA, TRIVIA),
    ("simpleqa", "simple_qa_test_set.csv", {**SIMPLEQA, "answer": ""}, SIMPLEQA),
    ("nq_open", "NQ-open.dev.jsonl", {"question": "when", "answer": None},
     {"question": "who", "answer": ["x"]}),
    ("sciq", "data/test.jsonl", {**SCIQ, "correct_answer": " "}, SCIQ),
    ("popqa", "test.jsonl", {**POPQA, "obj": "", "possible_answers": "[]"}, {**POPQA, "id": 2}),
]  # fmt: skip


@pytest.mark.parametrize("case", WITHOUT_GOLD, ids=[c[0] for c in WITHOUT_GOLD])
def test_a_row_without_a_gold_answer_is_reported_and_makes_no_question(
    case: tuple, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    name, file, bad, good = case
    write(tmp_path / file, bad, good)
    with caplog.at_level(logging.WARNING, "hlens"):
        [question] = domains.load(f"{name}:{tmp_path}")
    assert question.answers
    assert f"{name}: 1 bad rows were left out" in caplog.text


@pytest.mark.parametrize("indent", [None, 0, 2])
@pytest.mark.parametrize("held", [True, False])
def test_a_json_file_is_read_in_every_layout(
    indent: int | None, held: bool, tmp_path: Path
) -> None:
    rows = [{**FINQA, "id": f"AAL/page_{i}.pdf-1"} for i in range(2)]
    found: Any = {"version": ["1"], "data": rows} if held else rows
    (tmp_path / "test.json").write_text(json.dumps(found, indent=indent))
    assert [q.id for q in domains.load(f"finqa:{tmp_path}")] == [row["id"] for row in rows]


def test_an_error_of_reading_says_why(tmp_path: Path) -> None:
    with pytest.raises(HlensError, match="no folder"):
        domains.load(f"arc:{tmp_path / 'none'}")
    with pytest.raises(HlensError, match=r"no test file of allenai/ai2_arc; expected e\.g\."):
        domains.load(f"arc:{tmp_path}")
    (tmp_path / "test-0.parquet").write_text("nothing")
    with pytest.raises(HlensError, match=r"test-0\.parquet cannot be read"):
        domains.load(f"sciq:{tmp_path}")
    data = pa.array([b"Who\xff?"])
    no_text = pa.Array.from_buffers(pa.string(), 1, data.buffers())  # as a flipped bit leaves it
    pyarrow.parquet.write_table(pa.table({"question": no_text}), tmp_path / "test-0.parquet")
    with pytest.raises(HlensError, match=r"test-0\.parquet cannot be read .*utf-8"):
        domains.load(f"sciq:{tmp_path}")
    with pytest.raises(HlensError, match="ships with hlens"):
        domains.load(f"general:{tmp_path}")


def test_without_the_hub_client_the_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def fail(name: str, *rest: Any, **named: Any) -> Any:
        if name == "datasets":
            raise ImportError(name)
        return real(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", fail)
    with pytest.raises(HlensError, match=r"pip install 'hlens\[hub\]'; sciq:FOLDER reads"):
        domains.load("sciq")


def test_an_unreachable_hub_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys
    import types

    def load_dataset(*given: Any, **named: Any) -> Any:
        asked.append((given, named))
        if len(asked) > 1:
            raise ConnectionError("no route\nand more")
        return [SCIQ]

    asked: list[Any] = []
    fake = types.ModuleType("datasets")
    fake.load_dataset = load_dataset  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "datasets", fake)
    assert len(domains.load("sciq")) == 1
    assert asked == [(("allenai/sciq", None), {"split": "test", "revision": None})]
    with pytest.raises(HlensError, match=r"cannot be read from the hub \(no route\); sciq:FOLDER"):
        domains.load("sciq")
