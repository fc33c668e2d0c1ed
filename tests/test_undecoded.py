"""Pieces of a vocabulary in place of text are named; a letter of Maltese is none."""

import json
from pathlib import Path

import pytest

from hlens import judges
from hlens.domains import jsonl
from hlens.errors import HlensError
from hlens.store.jsonl import load_responses, save_responses
from hlens.types import Question, Response
from hlens.undecoded import check_decoded, is_undecoded

PIECES = (
    "TheĠcapitalĠofĠFrance",
    "ĠtheĠcapital",
    "ĠParis",
    "The Ġcapital Ġof ĠFrance",
    "Answer:ĊParisĊ",
    "the Ġcity Ġof Ġlights",
    "Ġ1945",
    "▁The▁capital▁of▁France",
    "▁Paris",
    "It▁is▁inĠhere",
)
TEXTS = (
    "Ġgant",
    "Il-Ġgant għamel il-ħobż u mar id-dar nhar il-Ġimgħa.",
    "Ġorġ, Ġanni, Ġużeppi u Ċetta",
    "F'Ġunju tal-1565 il-Ġermanja, l-Ingilterra (Ġibiltà) u Ċirkewwa",
    "IL-ĠENERAL TAL-INĠINERIJA",
    "eĠustizzja",
    "Ġ",
    "Load: ▁▂▃▅▇",
    "The capital is ▁▁▁▁.",
    "b▁ttle",
    "Paris",
    "",
)


@pytest.mark.parametrize("text", PIECES)
def test_pieces_are_named(text: str) -> None:
    assert is_undecoded(text)


@pytest.mark.parametrize("text", TEXTS)
def test_ordinary_text_passes(text: str) -> None:
    assert not is_undecoded(text)


def test_every_reader_of_text_names_them(tmp_path: Path) -> None:
    question = Question("q", "d", "Capital of France?", ("Paris",))
    responses = [Response(question, text, (), 0) for text in PIECES]
    with pytest.raises(HlensError, match=r"10 of 10 responses were never decoded, such as 'TheĠ"):
        judges.judge(responses)
    save_responses(responses, tmp_path / "responses.jsonl")
    with pytest.raises(HlensError, match="never decoded"):
        load_responses(tmp_path / "responses.jsonl", [question])
    rows = [{"question": "WhoĠwroteĠEmma?"}, {"question": "Who?", "answers": ["JaneĠAusten"]}]
    rows.append({"question": "Min hu l-Ġgant?", "answers": ["Ġorġ"]})
    path = tmp_path / "q.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    read = jsonl.read(path)
    assert [q.text for q in read.questions] == ["Min hu l-Ġgant?"]
    assert [bad.number for bad in read.bad] == [1, 2]
    assert all("never decoded" in bad.reason for bad in read.bad)


def test_one_babbling_reply_among_many_stops_nothing() -> None:
    check_decoded([PIECES[0], *["Paris"] * 20], "responses")
    with pytest.raises(HlensError, match=r"write tokenizer\.decode"):
        check_decoded([PIECES[0], *["Paris"] * 5], "responses")
