"""Domains: drawing by group, a user's own file, and its bad lines."""

import json
import logging
from pathlib import Path

import pytest

from hlens import domains, judges, lookup, spans
from hlens.domains import jsonl, official
from hlens.domains._groups import draw_groups, select_split
from hlens.errors import HlensError
from hlens.types import Question, Response, Verdict
from tiny_tokenizer import byte_tokenizer

SHARED = Path(__file__).parents[1] / ".." / "shared" / "data"


def bank(n_groups: int = 60) -> list[Question]:
    """Groups of one, two and three questions in turn."""
    return [
        Question(f"{g}.{i}", "test", f"question {g} {i}?", ("x",), group=f"g{g}")
        for g in range(n_groups)
        for i in range(1 + g % 3)
    ]


def write(path: Path, *lines: object) -> Path:
    path.write_text("\n".join(x if isinstance(x, str) else json.dumps(x) for x in lines))
    return path


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("n", [3, 17, 40, 119])
def test_a_draw_holds_whole_groups_and_no_more_than_asked(n: int, seed: int) -> None:
    questions = bank()
    drawn = draw_groups(questions, n, seed=seed)
    groups = {q.group for q in drawn}
    assert len(drawn) == sum(q.group in groups for q in questions)
    assert n - 2 <= len(drawn) <= n
    assert [q.id for q in drawn] == [q.id for q in questions if q.group in groups]


def test_a_draw_is_spread_and_seeded() -> None:
    questions = [Question(str(i), "test", "q?", ("x",)) for i in range(400)]
    for seed in range(5):
        tenths = [int(q.id) // 40 for q in draw_groups(questions, 40, seed=seed)]
        assert [tenths.count(t) for t in range(10)] == [4] * 10
    assert draw_groups(questions, 40, seed=1) == draw_groups(questions, 40, seed=1)
    assert draw_groups(questions, 40, seed=1) != draw_groups(questions, 40, seed=2)
    small, large = (draw_groups(questions, n, seed=7) for n in (30, 90))
    assert {q.id for q in small} < {q.id for q in large}


def test_a_small_n_divides_no_group() -> None:
    with pytest.raises(HlensError, match="ask for at least 2"):
        draw_groups([q for q in bank() if q.group == "g1"] * 1 + bank()[3:6], 1)


def test_splits_divide_no_group() -> None:
    questions = bank(300)
    train, test = (list(select_split(questions, s)) for s in ("train", "test"))
    assert len(train) + len(test) == len(questions)
    assert not {q.group for q in train} & {q.group for q in test}
    assert 0.1 < len(test) / len(questions) < 0.3
    with pytest.raises(HlensError, match="unknown split 'dev'"):
        list(select_split(questions, "dev"))


def test_a_users_own_file(tmp_path: Path) -> None:
    path = write(
        tmp_path / "mine.jsonl",
        {"id": 7, "question": "Who wrote Emma?", "answers": ["Jane Austen"]},
        {"text": "2 + 2?", "answer": 4, "choices": [3, 4], "group": "sums", "dataset": "d"},
        "",
        {"question": "Where is Trinkioth?\u2028", "answers": [], "meta": {"group": "g"}},
    )
    read = jsonl.read(path)
    assert not read.bad
    first, second, third = read.questions
    assert (first.id, first.domain, first.group) == ("7", "mine", "mine/7")
    assert first.meta == {"format": "short_answer", "judge": "alias"}
    assert (second.id, second.answers, second.choices) == ("2", ("4",), ("3", "4"))
    assert second.group == "sums"
    assert second.meta == {"format": "mcq", "judge": "choice", "dataset": "d"}
    assert third.meta["judge"] == "abstain"
    assert (third.group, third.id) == ("g", "4")
    assert domains.load(f"jsonl:{path}") == list(read.questions)


BAD = [
    ("{", "not JSON"),
    ("[1]", "a JSON list"),
    ('{"answers": ["x"]}', "no question"),
    ('{"question": "  "}', "no question"),
    ('{"question": "q?", "answers": {"a": 1}}', "answers is"),
    ('{"question": "q?", "answers": [null]}', "answers is"),
    ('{"question": "q?", "answers": [""]}', "answers holds an empty text"),
    ('{"question": "q?", "choices": 3.5, "meta": []  , "context": 1}', "context is"),
    ('{"question": "q?", "meta": [1]}', "meta is"),
    ('{"question": "q?", "id": "good"}', "'good' was used before"),
    (r'{"question": "q?", "answers": ["\ud83d"]}', "half of a character"),
    ('{"question": "q?", "choices": ["a"], "meta": {"answer_index": 1}}', "answer_index is 1"),
]


@pytest.mark.parametrize(("line", "reason"), BAD)
def test_a_bad_line_is_reported_and_counted_and_reading_continues(
    line: str, reason: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    good = {"question": "q?", "answers": ["x"]}
    path = write(tmp_path / "mine.jsonl", {**good, "id": "good"}, line, {**good, "id": "last"})
    with caplog.at_level(logging.WARNING, logger="hlens"):
        read = jsonl.read(path)
    assert [q.id for q in read.questions] == ["good", "last"]
    assert [(b.number, b.text) for b in read.bad] == [(2, line)]
    assert reason in read.bad[0].reason
    assert "line 2" in caplog.text
    assert "2 lines read, 1 bad" in caplog.text


def test_a_byte_order_mark_is_accepted(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"question": "q?", "answers": ["x"]}\n')
    assert [q.text for q in domains.load(f"jsonl:{path}")] == ["q?"]


def test_an_error_of_loading_says_why(tmp_path: Path) -> None:
    empty = write(tmp_path / "empty.jsonl", "")
    for name, n, words in [
        ("generall", None, "unknown domain 'generall'; did you mean 'general'"),
        ("jsonl", None, "write jsonl:PATH"),
        (f"jsonl:{tmp_path}/none.jsonl", None, "no file"),
        (f"jsonl:{empty}", None, "holds no question"),
        (f"jsonl:{empty}", 0, "ask for at least 1"),
    ]:
        with pytest.raises(HlensError, match=words):
            domains.load(name, n)


def test_names_are_files_with_questions() -> None:
    assert not {"jsonl", "official"} & set(domains.names())


# Those of the hub have laws of their own in test_hub.
OFFLINE = [
    name
    for name in domains.names()
    if not hasattr(lookup.member("domains", name), "questions_from")
]
FORMATS = ("short_answer", "completion", "mcq", "label", "numeric", "free_text")


@pytest.mark.parametrize("name", OFFLINE)
def test_a_domain_gives_whole_questions_in_a_fixed_order(name: str) -> None:
    questions = domains.load(name)
    assert questions == domains.load(name)
    assert len({q.id for q in questions}) == len(questions), f"{name}: ids are not unique"
    train, test = (domains.load(name, split=split) for split in ("train", "test"))
    assert sorted(q.id for q in [*train, *test]) == sorted(q.id for q in questions)
    assert not {q.group for q in train} & {q.group for q in test}
    for question in questions[:40]:
        assert question.domain == name
        assert question.group.startswith(f"{name}/"), "the group begins with the domain's name"
        assert question.meta["format"] in FORMATS
        judge = judges.judge_of(question)
        if question.answers:
            judged = judge(Response(question, question.answers[0], (), 0))
            assert judged.verdict is Verdict.CORRECT, f"the gold answer is not: {judged}"


def test_the_shared_files_are_read() -> None:
    paths = [p for p in SHARED.glob("*/*.jsonl") if p.parent.name != "official"]
    if not paths:
        pytest.skip("../shared/data is absent")
    for path in paths:
        read = jsonl.read(path)
        assert read.questions, path.name
        assert not read.bad, path.name
        assert all(q.meta["format"] and q.meta["judge"] and q.group for q in read.questions)


def released(folder: Path, *rows: tuple[str, str, list[str], list[str]], **ids: list[str]) -> Path:
    """Files in the official layout; `rows` are id, response, tokens, answer tokens."""
    asked = "Who? Respond with the answer only, without any explanation."
    for split in ("train", "test"):
        lines = [
            {
                qid: {
                    "question": asked,
                    "response": text,
                    "tokenized_response": tokens,
                    "answer_tokens": answer,
                }
            }
            for qid, text, tokens, answer in (rows if split == "train" else rows[:1])
        ]
        write(folder / f"M_answer_tokens_{split}.jsonl", *lines)
        (folder / f"M_{split}_qids.json").write_text(json.dumps({"t": [], "f": [], **ids}))
    return folder / "M"


OFFICIAL = [
    # id, response, tokens, answer tokens, the answer
    ("ascii", "Mel Torme.", ["Mel", "ĠT", "orme", "."], ["ĠT", "orme"], "Torme"),
    ("bytes", "Simón Polí", ["Sim", "Ã³n", "ĠPol", "ÃŃ"], ["ĠPol", "ÃŃ"], "Polí"),
    ("pieces", "Zoë ist da", ["▁Zoë", "▁ist", "▁da"], ["▁Zoë"], "Zoë"),
    ("byte fallback", "x 🎉 y", ["▁x", "▁", *["<0xF0>", "<0x9F>", "<0x8E>", "<0x89>"], "▁y"],
     ["<0xF0>", "<0x9F>"], "🎉"),
    ("split", "巴黎 x", ["å·", "´", "é»İ", "Ġx"], ["å·", "´", "é»İ"], "巴黎"),
    ("half", "巴黎 x", ["å·", "´", "é»İ", "Ġx"], ["´", "é»İ"], "巴黎"),
    ("apostrophe", "It's O'Sullivan", ["It", "'s", "ĠO", "'S", "ullivan"], ["ĠO", "'S", "ullivan"],
     "O'Sullivan"),
    ("list", "a, b, c.", ["a", ",", "Ġb", ",", "Ġc", "."], ["a", "Ġb", "Ġc"], "a, b, c"),
    ("newlines", "Red fox.\n\n", ["Red", "▁fox", ".", "\n\n"], ["Red", "▁fox"], "Red fox"),
    ("lost", "Paris", ["Par", "is"], [], None),
]  # fmt: skip


@pytest.mark.parametrize("row", OFFICIAL, ids=[row[0] for row in OFFICIAL])
def test_official_answers_are_found(row: tuple, tmp_path: Path) -> None:
    *given, answer = row
    prefix = released(tmp_path, tuple(given), t=[row[0]])
    first, second = official.judgements(prefix)
    span = first.answer
    assert (row[1][slice(*span)] if span else None) == answer
    assert (first.verdict, first.response.question.text) == (Verdict.CORRECT, "Who?")
    assert first.response.question.answers == (answer or "Paris",)
    assert (first.response.sample, second.response.sample) == (0, 1)
    assert first.response.question.group == second.response.question.group


def test_official_labels_and_bad_lines(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = [(qid, "Paris", ["Paris"], ["Paris"]) for qid in ("a", "b", "c", "d")]
    prefix = released(tmp_path, *rows, t=["a", "c"], f=["b", "c"])
    with (tmp_path / "M_answer_tokens_train.jsonl").open("a") as file:
        file.write('\n{"e": {"question": "?"}}\n{')
    judged = official.judgements(prefix, split="train")
    verdicts = [Verdict.CORRECT, Verdict.HALLUCINATED, Verdict.UNSCORED, Verdict.UNSCORED]
    assert [j.verdict for j in judged] == verdicts
    held = official.read(prefix, "train")
    assert ([b.number for b in held.bad], held.conflicts) == ([5, 6], ("c",))
    assert "1 ids are in both sets" in caplog.text
    assert "line 5: 'e': expected an object with question" in caplog.text
    assert [q.id for q in domains.load(f"official:{prefix}")] == ["a"]
    with pytest.raises(HlensError, match=r"there are: M$"):
        official.read(tmp_path / "Other")
    with pytest.raises(HlensError, match="unknown split 'dev'"):
        official.read(prefix, "dev")
    (tmp_path / "M_train_qids.json").write_text("[]")
    with pytest.raises(HlensError, match=r"M_train_qids.json: expected"):
        official.read(prefix)


def test_official_responses_become_examples(tmp_path: Path) -> None:
    tokenizer = byte_tokenizer()
    pieces = ["M", "e", "l", "Ġ", "T", "Ã", "©"]
    rows = [("a", "Mel Té", pieces, pieces[3:]), ("b", "Mel Té", ["Mel", "ĠTÃ©"], ["ĠTÃ©"])]
    judged = official.judgements(released(tmp_path, *rows, t=["a"], f=["b"]), tokenizer, "train")
    examples, losses = spans.locate_with_losses(judged, tokenizer)
    assert [e.hallucinated for e in examples] == [False, True]
    assert set(losses["reason"]) == {"located"}
    for example in examples:
        assert tokenizer.decode(example.token_ids[example.start : example.stop]).strip() == "Té"
        prompt = tokenizer.decode(example.token_ids[: example.n_prompt])
        assert prompt.endswith("explanation.<end>assistant: ")


@pytest.mark.parametrize("name", ["Llama33_TriviaQA", "Mistral24b_TriviaQA", "gemma27b_TriviaQA"])
def test_every_released_answer_is_located(name: str) -> None:
    if not (SHARED / "official").is_dir():
        pytest.skip("../shared/data/official is absent")
    rows = [row for row in official.read(SHARED / "official" / name).rows if row.label]
    spans = [official.answer_span(row) for row in rows]
    assert len(rows) > 3900
    assert all(spans)
    beyond = [(r, s) for r, s in zip(rows, spans, strict=True) if not r.response.isascii()]
    assert len(beyond) > 50
    assert all("\ufffd" not in row.response[slice(*span or ())] for row, span in beyond)
