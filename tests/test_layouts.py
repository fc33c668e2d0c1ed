"""Published layouts of labelled answers: small files made in each, and what damage does to them."""

import json
import logging
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import hlens
from hlens import lookup
from hlens.errors import HlensError
from hlens.labelled import layouts
from hlens.labelled.layouts import _archive
from hlens.labelled.layouts.factscore import place_of
from hlens.model import Model
from hlens.types import Verdict
from layout_rows import (
    ASKED,
    BIO,
    BIOGRAPHY,
    DIALOGUE,
    GENERAL,
    GOOD,
    GRADED,
    LOG,
    MANAGER,
    QA,
    REFERENCES,
    STORY,
    SUMMARY,
    Row,
    entity,
    fact,
    label,
    log_file,
    longfact,
    pack_zstandard,
    response,
    said,
    sample,
    sources,
    write,
)
from scripts import script
from tiny_study import tiny_model


def read(name: str, path: Path) -> list[Row]:
    rows = list(layouts.named(name)(path))
    known = layouts.named(name).labels
    for row in rows:
        assert sum(key in row for key in ("question", "messages", "prompt")) == 1, row
        assert sum(key in row for key in ("verdict", "correct", "hallucinated", "spans")) <= 1, row
        assert row["response"]
        assert row["group"]
        assert row.get("verdict", "C") in {*known, "C"}
        for start, stop, word in row.get("spans", ()):
            assert 0 <= start < stop <= len(row["response"])
            assert word in known
    assert len({row["id"] for row in rows}) == len(rows)
    return rows


def marked(row: Row) -> list[tuple[str, str]]:
    return [(row["response"][start:stop], label) for start, stop, label in row["spans"]]


@pytest.mark.parametrize("name", layouts.names())
def test_a_layout_declares_what_its_words_mean(name: str) -> None:
    layout = layouts.named(name)
    assert layout.name == name
    assert layout.labels
    meanings, verdicts = set(layout.labels.values()), {verdict.value for verdict in Verdict}
    assert meanings <= verdicts, f"layouts/{name}.py: its labels mean one of {sorted(verdicts)}"


@pytest.mark.parametrize("name", layouts.names())
def test_the_reference_tells_whose_a_layout_is(name: str) -> None:
    pytest.importorskip("sphinx")
    table = "\n".join(script("docs/reference/hlens_families.py", "hlens_families").layouts_table())
    _, _, row = table.partition(f"* - ``{name}``\n")
    layout, own = layouts.named(name), row.partition("\n   * - ")[0]
    assert layout.hub in own
    assert layout.licence in own
    assert all(f"``{word}``" in own for word in layout.labels)
    doc = lookup.member("labelled.layouts", name).__doc__ or ""
    assert "looked up" in doc, f"layouts/{name}.py: its docstring says where it was looked up"


def test_an_unknown_layout_is_named_with_the_nearest() -> None:
    with pytest.raises(HlensError, match="did you mean 'ragtruth'"):
        layouts.named("ragtruht")


# RAGTruth


def ragtruth(folder: Path, *responses: Row) -> Path:
    write(folder / "source_info.jsonl", *sources())
    return write(folder / "response.jsonl", *responses)


def test_ragtruth(tmp_path: Path) -> None:
    labels = [label("a mile"), label("Paris", "Subtle Baseless Info", implicit_true=True)]
    path = ragtruth(
        tmp_path,
        response(1, labels=labels),
        response(2),
        response(3, "8"),
        response(4, "9", quality="incorrect_refusal"),
    )
    first, second, third, fourth = read("ragtruth", path)
    assert marked(first) == [("a mile", "Evident Conflict"), ("Paris", "Subtle Baseless Info")]
    assert first["context"] == STORY
    assert first["question"] == "Summarize the news in 9 words:\noutput:"
    assert first["group"] == second["group"] == "7"
    assert first["domain"] == "ragtruth_summary"
    assert first["meta"] == {"model": "m", "temperature": 0.7, "split": "train", "quality": "good"}
    assert second["spans"] == []
    assert third["context"] == "passage 1:Nobody fell."
    assert third["question"] == "Answer:\nwho fell\nBy:\nElse say so. output:"
    assert fourth["context"] == "{'name': 'Tea Room', 'hours': None}"
    assert (fourth["verdict"], "spans" in fourth) == ("incorrect_refusal", False)
    assert read("ragtruth", tmp_path) == [first, second, third, fourth]


def test_a_source_in_another_form_stays_in_the_prompt(tmp_path: Path) -> None:
    write(tmp_path / "source_info.jsonl", {**sources()[0], "prompt": "Summarize what you know."})
    [row] = read("ragtruth", write(tmp_path / "response.jsonl", response(1)))
    assert (row["question"], "context" in row) == ("Summarize what you know.", False)


# Entities of long answers


def test_longfact(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = [
        longfact(
            entity("Ann Oak", 0),
            entity("Rome", 31, "Not Supported"),
            entity("Rome", 19, "Insufficient Information"),
            entity("Siena", None, None),
            entity("Siena", 19),
        ),
        longfact(model="n"),
    ]
    first, second = read("longfact", write(tmp_path / "a.jsonl", *rows))
    assert marked(first) == [
        ("Ann Oak", "Supported"),
        ("Rome", "Not Supported"),
        ("Rome", "Insufficient Information"),
    ]
    assert [start for start, *_ in first["spans"]] == [0, 31, 19]
    assert first["messages"] == ASKED
    assert first["meta"] == {"subset": "s", "model": "m"}
    assert first["group"] == second["group"]
    assert "2 annotations have no place in their answer" in caplog.text
    pd.DataFrame(rows).to_parquet(tmp_path / "a.parquet")
    assert read("longfact", tmp_path / "a.parquet") == [first, second]


# HaluEval


def test_halueval(tmp_path: Path) -> None:
    path = write(tmp_path / "qa_data.json", QA, DIALOGUE, SUMMARY, GENERAL)
    right, wrong, said, unsaid, summary, _, general = read("halueval", path)
    assert (right["question"], right["context"]) == ("Who dances?", "Bees dance.")
    assert (right["response"], right["verdict"]) == ("bees", "right_answer")
    assert (wrong["response"], wrong["verdict"]) == ("Wasps dance at dusk.", "hallucinated_answer")
    assert right["answers"] == wrong["answers"] == ["bees"]
    assert right["group"] == wrong["group"] != said["group"]
    assert said["messages"] == [
        {"role": "user", "content": "Bees dance.\n\nHi!"},
        {"role": "assistant", "content": "Hello."},
        {"role": "user", "content": "Who dances?"},
    ]
    assert (said["verdict"], unsaid["verdict"]) == ("right_response", "hallucinated_response")
    assert (summary["context"], summary["verdict"]) == (SUMMARY["document"], "right_summary")
    assert (general["id"], general["question"]) == ("12", "Name a bee.")
    assert (general["response"], general["verdict"]) == ("Maya.", "yes")
    domains = {row["domain"] for row in (right, said, summary, general)}
    assert len(domains) == 4
    renamed = {**GENERAL, "hallucination_label": "No"}
    del renamed["hallucination"]
    assert read("halueval", write(tmp_path / "g.json", renamed))[0]["verdict"] == "no"


# TruthfulQA


def test_truthfulqa(tmp_path: Path) -> None:
    rows = read("truthfulqa", write(tmp_path / "generation.jsonl", REFERENCES))
    assert [(row["response"], row["verdict"]) for row in rows] == [
        ("Bees do not sing", "best_answer"),
        ("No; they hum", "correct_answers"),
        ("Bees sing at dawn", "incorrect_answers"),
    ]
    assert {row["group"] for row in rows} == {rows[0]["group"]}
    assert rows[2]["answers"] == ["Bees do not sing", "No; they hum"]
    assert rows[0]["meta"] == {"type": "Adversarial", "category": "Bees", "source": "me"}


def test_truthfulqa_of_the_authors_table_and_of_multiple_choice(tmp_path: Path) -> None:
    header = "Type,Category,Question,Best Answer,Best Incorrect Answer,Correct Answers,"
    header += "Incorrect Answers,Source"
    line = "Adversarial,Bees,Do bees sing?,No,Yes,No; They hum,Yes; At dawn,me"
    rows = read("truthfulqa", write(tmp_path / "TruthfulQA.csv", header, line))
    assert [(row["response"], row["verdict"]) for row in rows] == [
        ("No", "best_answer"),
        ("They hum", "correct_answers"),
        ("Yes", "best_incorrect_answer"),
        ("At dawn", "incorrect_answers"),
    ]
    targets = {"choices": ["No", "They hum", "Yes"], "labels": [1, 1, 0]}
    one = {"question": "Do bees sing?", "mc1_targets": {}, "mc2_targets": targets}
    rows = read("truthfulqa", write(tmp_path / "mc.jsonl", one))
    assert [row["correct"] for row in rows] == [True, True, False]
    targets["choices"][2] = "No "
    said = fails("truthfulqa", write(tmp_path / "mc.jsonl", one))
    assert "the choice 'No' is both right and wrong" in said
    short = write(tmp_path / "TruthfulQA.csv", header, "Adversarial,Bees,Do bees sing?")
    assert "line 2 has 3 fields, its header 8" in fails("truthfulqa", short)
    assert rows[2]["answers"] == ["No", "They hum"]


# SimpleQA


@pytest.mark.parametrize(
    ("grade", "verdict"),
    [("CORRECT", "correct"), ("B", "hallucinated"), ("NOT ATTEMPTED", "refused"), ("C", "refused")],
)
def test_simpleqa(grade: str, verdict: str, tmp_path: Path) -> None:
    line = {"metadata": "{'topic': 'bees'}", "problem": "Who dances?", "answer": "bees",
            "predicted_answer": "Bees.", "grade": grade}  # fmt: skip
    [row] = read("simpleqa", write(tmp_path / "graded.jsonl", line))
    assert layouts.named("simpleqa").labels[row["verdict"]] == verdict
    assert (row["question"], row["answers"], row["response"]) == ("Who dances?", ["bees"], "Bees.")
    renamed = {"question": "Who dances?", "target": "bees", "response": "Bees.",
               "grade_letter": grade}  # fmt: skip
    [again] = read("simpleqa", write(tmp_path / "again.jsonl", renamed))
    assert again["verdict"] == row["verdict"]
    assert again["group"] == row["group"]


# FActScore


def test_factscore(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    first = [
        fact("Ann Oak was born in 1950.", "S"),
        fact("Ann Oak is a painter.", "S"),
        fact("Ann Oak is Danish.", "NS"),
        fact("Ann Oak studied painting.", "NS"),
        fact("Ann Oak is an artist who is a painter.", "S"),
    ]
    second = [fact("She lives in Rome.", "NS"), fact("She has two cats.", "IR")]
    sentences = [
        {"text": BIO[:43], "is-relevant": True, "human-atomic-facts": first},
        {"text": BIO[44:], "is-relevant": True, "human-atomic-facts": second},
        {"text": "Bye.", "is-relevant": False, "human-atomic-facts": None},
    ]
    line = {"input": "Question: Tell me a bio of Ann Oak.", "output": BIO, "topic": "Ann Oak",
            "cat": ["rare"], "annotations": sentences}  # fmt: skip
    rows = [line, {**line, "annotations": None}, {**line, "output": "", "annotations": None}]
    bio, bare = read("factscore", write(tmp_path / "m.jsonl", *rows))
    assert marked(bio) == [
        ("born in 1950", "S"),
        ("Danish", "NS"),
        ("painter", "S"),
        ("lives in Rome", "NS"),
        ("two cats", "IR"),
    ]
    assert bio["meta"] == {"topic": "Ann Oak", "claims": 7, "spans": 5}
    assert bio["question"] == "Question: Tell me a bio of Ann Oak."
    assert bare["verdict"] == "not annotated"
    assert bio["group"] == bare["group"]
    assert "7 claims have 5 places of their own; 1 empty outputs" in caplog.text


def test_two_claims_with_one_place_and_two_labels_have_none(tmp_path: Path) -> None:
    facts = [fact("Ann is Danish.", "S"), fact("Ann was Danish.", "NS")]
    line = {"input": "Who?", "output": BIO, "topic": "Ann",
            "annotations": [{"text": BIO, "human-atomic-facts": facts}]}  # fmt: skip
    [row] = read("factscore", write(tmp_path / "m.jsonl", line))
    assert row["spans"] == []


@pytest.mark.parametrize(
    ("claim", "sentence", "place"),
    [
        ("He was a sailor.", "A sailor, then a Sailor of 1900.", "sailor"),
        ("cats and dogs", "dogs, birds, dogs cats", "dogs cats"),
        ("He is.", "He is.", None),
        ("He was a tailor.", "A sailor.", None),
        ("Große Straße", "İn der Große Straße 🐎", "Große Straße"),
    ],
)
def test_a_claims_place_is_the_shortest(claim: str, sentence: str, place: str | None) -> None:
    found = place_of(claim, sentence)
    assert (sentence[slice(*found)] if found else None) == place


# lm-polygraph


def test_lm_polygraph(tmp_path: Path) -> None:
    rows = read("lm_polygraph", write(tmp_path / "man.json", MANAGER))
    assert [(row["prompt"], row["response"], row["verdict"]) for row in rows] == [
        ("Who?", "bees", "1"),
        ("Who?", "wasps", "0"),
        ("Where?", "there", "0"),
    ]
    assert rows[0]["group"] == rows[1]["group"] != rows[2]["group"]
    assert rows[0]["meta"] == {"metric": "sequence Accuracy"}
    table = pd.DataFrame({**MANAGER["stats"], "Accuracy": [1.0, 0.0, 0.0]})
    table.to_csv(tmp_path / "man.csv", index=False)
    assert [row["verdict"] for row in read("lm_polygraph", tmp_path / "man.csv")] == ["1", "0", "0"]
    # Truth values, which CSV has as text, are labels and no reason to judge anew.
    table.assign(Accuracy=[True, False, False]).to_csv(tmp_path / "man.csv", index=False)
    assert [row["verdict"] for row in read("lm_polygraph", tmp_path / "man.csv")] == ["1", "0", "0"]
    bare = {"stats": MANAGER["stats"]}
    [first, _, last] = read("lm_polygraph", write(tmp_path / "bare.json", bare))
    assert (first["prompt"], first["answers"]) == ("Who?", ["bees"])
    assert (last["answers"], "verdict" in last) == (["here"], False)


# Logs of Inspect


@pytest.mark.parametrize("suffix", [".eval", ".json"])
def test_inspect_ai(suffix: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    reasoned = [
        {"type": "reasoning", "reasoning": "hm"},
        {"type": "text", "text": "attachment://k"},
    ]
    tool = said("assistant", "", tool_calls=[{"function": "search"}])
    image = said("user", [{"type": "image", "image": "x"}])
    path = log_file(
        tmp_path / f"log{suffix}",
        sample(1),
        sample(1, epoch=2, value="I"),
        sample(2, value=1, messages=[said("user", "Who?"), said("assistant", reasoned)],
               attachments={"k": "Bees do."}),
        sample(3, scores=None, choices=["bees", "wasps"], target="A"),
        sample(4, error={"message": "no"}),
        sample(5, messages=[said("user", "Who?"), tool, said("assistant", "Bees")]),
        sample(6, messages=[image, said("assistant", "Bees")]),
        sample(7, messages=[said("user", "Who?")]),
        sample(8, messages=[said("user", "Who?"), *[said("assistant", "Bees")] * 2]),
    )  # fmt: skip
    first, again, thought, bare = read("inspect_ai", path)
    assert first["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Who dances?"},
    ]
    assert (first["response"], first["verdict"], again["verdict"]) == ("Bees", "C", "I")
    assert first["group"] == again["group"] == "bees/1"
    assert (first["id"], again["id"], first["domain"]) == ("1-1", "1-2", "bees")
    assert (thought["response"], thought["verdict"]) == ("Bees do.", "C")
    # Unscored, it still was answered behind the system message.
    assert (bare["messages"], bare["choices"]) == (first["messages"], ["bees", "wasps"])
    assert (bare["answers"], "verdict" in bare) == (["bees"], False)
    reasons = ("an error", "tool calls", "what is no text", "no answer", "an answer that goes on")
    for reason in reasons:
        assert f"1 ({reason})" in caplog.text


def test_inspect_ai_packed_by_zstandard(tmp_path: Path) -> None:
    path = log_file(tmp_path / "log.eval", sample(1), sample(2, value="N"))
    plain = read("inspect_ai", path)
    assert read("inspect_ai", pack_zstandard(path)) == plain
    data = bytearray(path.read_bytes())
    data[data.index(b"samples/1") + len("samples/1_epoch_1.json") + 30] ^= 0xFF
    path.write_bytes(bytes(data))
    with pytest.raises(HlensError, match=r"log\.eval is no archive that can be read"):
        read("inspect_ai", path)


@pytest.mark.parametrize("name", ["samples/2_epoch_1", "../samples/2.json", "SAMPLES/2.JSON"])
def test_a_sample_under_another_name_is_not_left_out_in_silence(name: str, tmp_path: Path) -> None:
    path = log_file(tmp_path / "log.eval", sample(1))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("samples/", "")  # a folder is no sample
    assert len(read("inspect_ai", path)) == 1
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(name, json.dumps(sample(2)))
    assert f"holds {name!r}; expected samples/NAME.json" in fails("inspect_ai", path)


# Damage: every fault is one line that names file and row.


def without(row: Mapping[str, Any], key: str) -> Row:
    return {name: value for name, value in row.items() if name != key}


DAMAGED = [
    # layout, its second row, and what is said
    ("ragtruth", without(response(2), "response"), "line 2: response is missing; expected a text"),
    ("ragtruth", response(2, response=["a"]), "line 2: response is ['a']; expected a text"),
    ("ragtruth", response(2, labels=None), "line 2: labels is None; expected a list"),
    ("ragtruth", response(2, labels=["a"]), "line 2: labels[0] is 'a'; expected an object"),
    ("ragtruth", response(2, labels=[label("mile", start=True)]), "line 2: start is True; exp"),
    ("ragtruth", response(2, labels=[label("mile", end=99)]), "line 2: the span [15, 99) does not"),
    ("ragtruth", response(2, labels=[label("mile", end=3)]), "line 2: the span [15, 3) does not"),
    ("ragtruth", response(2, labels=[label("mile", start=17)]), "are 'le', not the label's"),
    ("ragtruth", response(2, labels=[without(label("mile"), "label_type")]), "label_type is miss"),
    ("ragtruth", response(2, "11"), "line 2: source_id '11' is not in source_info.jsonl"),
    ("longfact", without(longfact(), "conversation"), "line 2: conversation is missing"),
    ("longfact", longfact(conversation=[]), "line 2: the conversation is empty"),
    ("longfact", longfact(conversation=ASKED), "line 2: the conversation does not end with"),
    ("longfact", longfact(entity("died.", 41)), "line 2: the span [41, 46) does not fit"),
    ("longfact", longfact(entity("Ann", "0")), "line 2: index is '0'; expected a whole number"),
    ("longfact", longfact(entity("Ann", 0, 1)), "line 2: label is 1; expected a text"),
    ("halueval", without(QA, "knowledge"), "line 2: knowledge is missing"),
    ("halueval", {"question": "Who?"}, "line 2: the fields question; expected those of qa"),
    ("halueval", {**QA, "right_answer": 3}, "line 2: right_answer is 3; expected a text"),
    ("halueval", {**DIALOGUE, "dialogue_history": "Who?"}, "line 2: dialogue_history is 'Who?'"),
    ("halueval", without(GENERAL, "hallucination"), "line 2: hallucination_label is missing"),
    ("truthfulqa", without(REFERENCES, "best_answer"), "line 2: best_answer is missing"),
    ("truthfulqa", {**REFERENCES, "incorrect_answers": []}, "line 2: incorrect_answers is empty"),
    ("truthfulqa", {**REFERENCES, "incorrect_answers": [1]}, "line 2: incorrect_answers is [1]"),
    ("truthfulqa", {"question": "?", "mc2_targets": {"choices": ["a"], "labels": [2]}}, "a label,"),
    ("simpleqa", without(GRADED, "grade"), "line 2: neither of 'grade' and 'grade_letter'"),
    ("simpleqa", {**GRADED, "question": "Who?"}, "line 2: both of 'problem' and 'question'"),
    ("simpleqa", {**GRADED, "predicted_answer": " "}, "line 2: predicted_answer is empty"),
    ("factscore", without(BIOGRAPHY, "topic"), "line 2: topic is missing"),
    ("factscore", {**BIOGRAPHY, "annotations": {}}, "line 2: annotations is {}; expected a list"),
    ("factscore", {**BIOGRAPHY, "annotations": [{"text": "a", "human-atomic-facts": [{}]}]},
     "line 2: text is missing"),
]  # fmt: skip


def fails(name: str, path: Path) -> str:
    with pytest.raises(HlensError) as caught:
        list(layouts.named(name)(path))
    said = str(caught.value)
    assert "\n" not in said
    assert path.name in said
    return said


@pytest.mark.parametrize(("name", "row", "words"), DAMAGED)
def test_a_row_that_does_not_fit_is_one_line(
    name: str, row: Row, words: str, tmp_path: Path
) -> None:
    write(tmp_path / "source_info.jsonl", *sources())
    assert words in fails(name, write(tmp_path / "response.jsonl", GOOD[name], row))


@pytest.mark.parametrize("name", sorted(GOOD))
def test_damaged_files_are_one_line(name: str, tmp_path: Path) -> None:
    write(tmp_path / "source_info.jsonl", *sources())
    path = tmp_path / "response.jsonl"
    good = json.dumps(GOOD[name]).encode()
    for damaged, words in (
        (good + b"\n" + good[:-9], "line 2: not JSON"),
        (good + b"\n\xff" + good, "line 2: byte 0xff at position 1 is not UTF-8"),
        (good + b"\n[1]", "line 2: a JSON list; expected an object"),
        (b"[" + good + b", 1]", "row 2: 1; expected an object"),
    ):
        path.write_bytes(damaged)
        assert words in fails(name, path)
    assert "no file" in fails(name, tmp_path / "none.jsonl")
    assert "no file" in fails(name, tmp_path / "none.parquet")
    (tmp_path / "a.parquet").write_bytes(good)
    assert "cannot be read" in fails(name, tmp_path / "a.parquet")


def test_ragtruth_wants_both_files(tmp_path: Path) -> None:
    path = write(tmp_path / "response.jsonl", response(1))
    assert "response.jsonl needs it beside it" in fails_of_folder(path)
    write(tmp_path / "source_info.jsonl", *sources(), sources()[0])
    assert "source_info.jsonl, line 4: source_id '7' was used before" in fails_of_folder(path)
    write(tmp_path / "source_info.jsonl", {**sources()[0], "source_info": 3})
    assert "source_info.jsonl, line 1: source_info is 3" in fails_of_folder(path)


def fails_of_folder(path: Path) -> str:
    with pytest.raises(HlensError) as caught:
        list(layouts.named("ragtruth")(path))
    return str(caught.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"stats": {}}, "input_texts is missing; expected a list"),
        ({"stats": 3}, "stats is 3; expected an object of lists"),
        ({"gen_metrics": {"sequence Rouge": [1.0, 0.2, 0.4]}}, "of which none are all 0 or 1"),
        ({"gen_metrics": {"a": [1, 1, 0], "b": [0, 1, 0]}}, "of which a, b are all 0 or 1"),
        ({"gen_metrics": {"a": [1, None, 0]}}, "1 of 3 answers have no 'a'"),
        ({"gen_metrics": {"a": [1]}}, "lists of different lengths"),
        ({"stats": {**MANAGER["stats"], "greedy_texts": ["a", None, "b"]}}, "answer 2: greedy_te"),
    ],
)
def test_damaged_exports_of_lm_polygraph(change: Row, words: str, tmp_path: Path) -> None:
    assert words in fails("lm_polygraph", write(tmp_path / "man.json", {**MANAGER, **change}))


def test_a_pickled_manager_is_not_read(tmp_path: Path) -> None:
    import torch

    path = tmp_path / "ue_manager_seed1"
    for zipped in (True, False):
        torch.save(MANAGER, path, _use_new_zipfile_serialization=zipped)
        assert "a pickle, which could run code" in fails("lm_polygraph", path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"scores": {"a": {"value": "C"}, "b": {"value": "I"}}}, "several scorers (a, b)"),
        ({"scores": {"a": {}}}, "the score of a has no value"),
        ({"scores": ["C"]}, "scores is ['C']; expected an object"),
        ({"messages": None}, "messages is None; expected a list"),
        ({"messages": [said("judge", "?"), said("assistant", "a")]}, "role is 'judge'; expected"),
        ({"messages": [said("user", 3), said("assistant", "a")]}, "content is 3; expected a text"),
        ({"messages": [said("user", "attachment://k"), said("assistant", "a")]}, "attachment 'k'"),
        ({"id": None}, "id is None; expected a text or a number"),
        ({"scores": {}, "target": 3}, "target is 3; expected a text or texts"),
    ],
)
def test_damaged_samples_of_inspect_ai(change: Row, words: str, tmp_path: Path) -> None:
    path = log_file(tmp_path / "log.json", sample(1), sample(2, **change))
    assert words in (error := fails("inspect_ai", path))
    assert "sample 2" in error


def test_damaged_archives_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = log_file(tmp_path / "log.eval", sample(1), sample(2))
    whole = path.read_bytes()
    for damaged in (whole[:-30], whole[: len(whole) // 2], b"", b"PK\x03\x04", b"{}"):
        path.write_bytes(damaged)
        assert "is no archive that can be read" in fails("inspect_ai", path)
    for name, data, words in (
        ("samples/1_epoch_1.json", b"{", "samples/1_epoch_1.json: not JSON"),
        ("samples/1_epoch_1.json", b"\xff", "samples/1_epoch_1.json: byte 0xff"),
        ("samples/../../1.json", b"{}", "samples/../../1.json: messages is missing"),
        ("header.json", b"{}", "eval is missing"),
    ):
        with zipfile.ZipFile(path, "w") as archive:
            if name != "header.json":
                archive.writestr("header.json", json.dumps(LOG))
            archive.writestr(name, data)
        assert words in fails("inspect_ai", path)
    assert [one.name for one in tmp_path.iterdir()] == ["log.eval"]
    with zipfile.ZipFile(path, "w"):
        pass
    assert "holds no header.json" in fails("inspect_ai", path)
    path.write_bytes(whole)
    monkeypatch.setattr(_archive, "LARGEST", 200)
    assert "at most 200 are read" in fails("inspect_ai", path)
    monkeypatch.setattr(_archive, "LARGEST", 2**28)
    monkeypatch.setattr(_archive, "LARGEST_OF_ALL", 400)
    assert "at most 400 are read" in fails("inspect_ai", path)


def test_a_member_that_is_larger_than_it_says_is_not_unpacked(tmp_path: Path) -> None:
    path = log_file(tmp_path / "log.eval", {**sample(1), "filler": "0" * 10**6})
    size = len(json.dumps({**sample(1), "filler": "0" * 10**6}))
    data = path.read_bytes().replace(struct.pack("<I", size), struct.pack("<I", 1000))
    path.write_bytes(data)
    assert "is no archive that can be read" in fails("inspect_ai", path)


def test_warnings_are_of_hlens(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    read("longfact", write(tmp_path / "a.jsonl", longfact(entity("Siena", 3))))
    assert [record.name for record in caplog.records] == ["hlens"]
    assert caplog.records[0].levelno == logging.WARNING


# From each layout to examples of a model.


@pytest.fixture(scope="module")
def model() -> Model:
    return tiny_model()


def made(name: str, folder: Path) -> Path:
    """A small file in each layout."""
    if name == "ragtruth":
        return ragtruth(folder, response(1, labels=[label("a mile")]), response(2))
    if name == "lm_polygraph":
        return write(folder / "man.json", MANAGER)
    if name == "inspect_ai":
        return log_file(folder / "log.eval", sample(1), sample(2, value="I"), sample(3, value="N"))
    if name == "longfact":
        notes = entity("Ann Oak", 0), entity("Rome", 31, "Not Supported")
        return write(folder / "a.jsonl", longfact(*notes))
    rows = [GOOD[name], {**GRADED, "grade": "B"}] if name == "simpleqa" else [GOOD[name]]
    return write(folder / "a.jsonl", *rows)


EXAMPLES = {
    # the texts of the examples that each file gives, and whether they are hallucinated
    "factscore": [("Danish", False)],
    "halueval": [("bees", False), ("Wasps dance at dusk.", True)],
    "inspect_ai": [("Bees", False), ("Bees", True)],
    "lm_polygraph": [("bees", False), ("wasps", True), ("there", True)],
    "longfact": [("Ann Oak", False), ("Rome", True)],
    "ragtruth": [("a mile", True)],
    "simpleqa": [("Bees", False), ("Bees", True)],
    "truthfulqa": [
        ("Bees do not sing", False), ("No; they hum", False), ("Bees sing at dawn", True),
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_layout_goes_all_the_way_to_examples(name: str, model: Model, tmp_path: Path) -> None:
    held = hlens.labelled(made(name, tmp_path), model, layout=name)
    found = [
        (model.decode(one.token_ids[one.start : one.stop].tolist()), one.hallucinated)
        for one in held.examples
    ]
    assert found == EXAMPLES[name]
    prompts = [model.decode(list(one.token_ids[: one.n_prompt])) for one in held.responses]
    asked = {"factscore": "Who?", "ragtruth": STORY, "halueval": "Bees dance.\n\nWho dances?"}
    assert asked.get(name, "") in prompts[0]
    assert prompts[0].endswith("assistant: ") == (name != "lm_polygraph")


def test_a_grade_that_is_no_grade_is_named(model: Model, tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", {**GRADED, "grade": "D"})
    with pytest.raises(HlensError, match=r"unknown label words 'D' \(1\)"):
        hlens.labelled(path, model, layout="simpleqa")
