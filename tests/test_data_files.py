"""Text files as people write them: what ends a line, what is no text, and what JSON cannot hold."""

import csv
import json
import logging
from pathlib import Path

import pytest

from hlens import data_files, domains
from hlens.domains import jsonl
from hlens.domains._rows import id_of, read_rows, unique_texts
from hlens.domains._worked import choose_worked
from hlens.effects import pairs
from hlens.errors import HlensError
from hlens.types import Question
from tiny_study import tiny_model

# All that str.splitlines() takes for the end of a line, but for \r and \n.
SEPARATORS = "\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"


def write(path: Path, *lines: object, encoding: str = "utf-8") -> Path:
    texts = [x if isinstance(x, str) else json.dumps(x, ensure_ascii=False) for x in lines]
    path.write_bytes("\n".join(texts).encode(encoding))
    return path


def question(**more: object) -> dict[str, object]:
    return {"question": "Who wrote Emma?", "answers": ["Jane Austen"], **more}


@pytest.mark.parametrize("separator", SEPARATORS)
def test_what_separates_lines_elsewhere_is_text_here(separator: str, tmp_path: Path) -> None:
    text = f"Who{separator}wrote?"
    # Control characters below a space are escaped in JSON; the others may stand as they are.
    path = write(tmp_path / "a.jsonl", question(question=text), question(id="b"))
    assert [q.text for q in jsonl.read(path).questions] == [text, "Who wrote Emma?"]
    assert [row["question"] for row in read_rows(path)] == [text, "Who wrote Emma?"]
    table = tmp_path / "a.csv"
    table.write_text(f"question,label\n{text},1\n", encoding="utf-8", newline="")
    assert list(read_rows(table)) == [{"question": text, "label": "1"}]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_byte_order_marks_and_windows_line_ends(end: str, tmp_path: Path) -> None:
    mark = b"\xef\xbb\xbf"
    path = tmp_path / "a.jsonl"
    line = json.dumps(question()).encode()
    # Two files put together: a mark before the second, too.
    path.write_bytes(mark + line + end.encode() + mark + line + end.encode())
    assert [q.text for q in jsonl.read(path).questions] == ["Who wrote Emma?"] * 2
    (tmp_path / "a.json").write_bytes(mark + b'{"t": [1]}')
    assert data_files.read_json(tmp_path / "a.json") == {"t": [1]}
    table = tmp_path / "a.csv"
    table.write_bytes(mark + f'prompt,type{end}"one{end}two",x{end}'.encode())
    assert list(read_rows(table)) == [{"prompt": f"one{end}two", "type": "x"}]


def test_long_fields_of_a_table_are_read_and_the_limit_is_put_back(tmp_path: Path) -> None:
    limit = csv.field_size_limit()
    path = write(tmp_path / "a.csv", "a,b", "x" * 200_000 + ",y")
    [row] = read_rows(path)
    assert (len(row["a"]), row["b"]) == (200_000, "y")
    assert csv.field_size_limit() == limit


def test_a_row_whose_fields_do_not_match_the_header_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write(tmp_path / "a.tsv", "a\tb", "1\t2", "1\t2\t3", "1", "", "3\t4")
    with caplog.at_level(logging.WARNING, "hlens"):
        assert [row["a"] for row in read_rows(path)] == ["1", "3"]
    assert "a.tsv, line 3 has 3 fields, its header 2; left out" in caplog.text
    assert "a.tsv, line 4 has 1 fields" in caplog.text


NO_TEXT = [
    ("a.jsonl", '{"a": 1}'.encode("utf-16"), "UTF-16; save it as UTF-8"),
    ("a.csv", "a,b".encode("utf-32"), "UTF-32; save it as UTF-8"),
    ("a.json", b"\x1f\x8b\x08rest", "compressed"),
    ("a.jsonl", b"PAR1rest", "Parquet"),
    ("a.json", b'{"a": "\xff"}', "a.json, line 1: byte 0xff at position 8 is not UTF-8"),
    ("a.csv", b"a,b\n1,\xe9\n", "a.csv, line 2: byte 0xe9 at position 3 is not UTF-8"),
    ("a.csv", b"a,b\n1,\0\n", "a.csv, line 2: a NUL byte"),
    ("a.csv", b"a,b\n1,\"open\n", "not CSV"),
    ("a.csv", b"a,a\n1,2\n", "two columns are called 'a'"),
    ("a.json", b'{"a": 1, "a": 2}', "a.json: the key 'a' twice"),
    ("a.json", b'{"a": 1e999}', "a.json: a is inf"),
    ("a.json", b'{"a": [1, -Infinity]}', "a.json: a is -inf"),
    ("a.json", b"[" * 100_000, "nested too deep"),
    ("a.json", b'{"a": ' + b"1" * 5000 + b"}", "not JSON that can be read"),
    ("a.json", b'"text"', "no list of objects"),
    ("a.jsonl", b'{"a": 1}\n{"a": 2}\n[3]', "a.jsonl, line 3: a JSON list"),
    ("a.parquet", b"PAR1 nothing else", "cannot be read"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "data", "said"), NO_TEXT)
def test_what_cannot_be_read_is_one_line(name: str, data: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(HlensError) as error:
        list(read_rows(path))
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_what_is_no_file_is_one_line(tmp_path: Path) -> None:
    for path, said in ((tmp_path, "is a folder"), (tmp_path / "none.jsonl", "^no file")):
        with pytest.raises(HlensError, match=said):
            jsonl.read(path)
    assert jsonl.read(write(tmp_path / "empty.jsonl")).questions == ()
    assert list(read_rows(write(tmp_path / "empty.csv"))) == []


BAD_LINES = [
    (b'{"question": "\xff?", "answers": ["x"]}', "byte 0xff at position 15 is not UTF-8"),
    (b'{"question": "q?\0", "answers": ["x"]}', "a NUL byte"),
    (b'{"question": "q?", "answer": NaN}', "answer is nan"),
    (b'{"question": "q?", "answers": [1, Infinity]}', "answers is inf"),
    (b'{"question": "q?", "answers": ["x"], "meta": {"w": NaN}}', "w is nan"),
    (b'{"question": "q?", "answers": ["x"], "answers": ["y"]}', "the key 'answers' twice"),
    (b'{"question": "q?"}', "no answers: expected"),
    (b'{"question": "q?", "answers": null}', "no answers: expected"),
    (b'{"question": "q?", "answers": {}}', "answers is {}"),
    (b'{"question": "q?", "answers": [["x"]]}', "answers is"),
    (b'{"question": "q?", "answers": [true]}', "answers is"),
    (b'{"question": "q?", "answers": " "}', "answers holds an empty text"),
    (b'{"question": "q?", "answers": ["x"], "answer": "y"}', "both 'answers' and 'answer'"),
    (b'{"question": "q?", "anwers": ["x"]}', "unknown key 'anwers'; did you mean 'answers'"),
    (b'{"question": "q?", "answers": ["x"], "gruop": 1}', "unknown key 'gruop'"),
    (b'{"question": "q?", "answers": ["x"], "group": ""}', "group is ''"),
    (b'{"question": "q?", "answers": ["x"], "group": false}', "group is False"),
    (b'{"question": "q?", "answers": ["x"], "id": []}', "id is []"),
    (b'{"question": "q?", "answers": ["x"], "domain": " "}', "domain is ' '"),
    (b'{"question": "q?", "answers": ["x"], "context": 0}', "context is 0"),
    (b'{"question": "q?", "answers": ["x"], "meta": []}', "meta is []"),
    (b'{"question": "q?", "answers": ["x"], "choices": ""}', "choices holds an empty text"),
    (b'{"question": "q?", "answers": ["0"], "choices": [%s]}' % b",".join([b'"x"'] * 27), "27 c"),
    (b'{"question": 0, "answers": ["x"]}', "no question"),
    (b'"question"', "a JSON str"),
]  # fmt: skip


@pytest.mark.parametrize(("line", "reason"), BAD_LINES)
def test_a_value_that_is_none_makes_a_bad_line(line: bytes, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    good = json.dumps(question()).encode()
    path.write_bytes(good + b"\n" + line + b"\n" + good)
    read = jsonl.read(path)
    assert [q.id for q in read.questions] == ["1", "3"]
    [bad] = read.bad
    assert (bad.number, bad.reason[: len(reason)]) == (2, reason)
    assert "\ufffd" not in bad.text


def test_falsy_values_are_values(tmp_path: Path) -> None:
    rows = [question(id=i, group=i % 4, answers=[0, 0.0, "0"]) for i in range(8)]
    questions = jsonl.read(write(tmp_path / "a.jsonl", *rows)).questions
    assert [q.id for q in questions] == [str(i) for i in range(8)]
    assert [q.group for q in questions] == ["0", "1", "2", "3"] * 2
    assert questions[0].answers == ("0", "0.0", "0")
    [by_meta] = jsonl.read(write(tmp_path / "b.jsonl", question(meta={"group": 0}))).questions
    assert by_meta.group == "0"
    sides = {split: domains.load(f"jsonl:{tmp_path}/a.jsonl", split=split) for split in ("train",)}
    assert {q.group for q in sides["train"]} & {"0"} in ({"0"}, set())
    assert [id_of({"id": value}, "id", 7) for value in (0, "0", None, "", 5)] == list("00775")
    assert unique_texts(0) == ("0",)
    for value in ([None], [float("nan")], [float("inf")], float("-inf"), [{}], [True], {"a": 1}):
        with pytest.raises(HlensError, match="expected texts"):
            unique_texts(value)


def test_null_is_a_field_left_out(tmp_path: Path) -> None:
    nulls = dict.fromkeys(("id", "group", "context", "choices", "meta", "domain"))
    [read] = jsonl.read(write(tmp_path / "a.jsonl", question(**nulls))).questions
    assert (read.id, read.group, read.domain, read.meta["judge"]) == ("1", "a/1", "a", "alias")


def test_numbers_are_answers_as_a_person_writes_them(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"question": "q?", "answers": [1e-7, 1200000.0, 1e22, -2.5E-3, 12]}')
    [read] = jsonl.read(path).questions
    assert read.answers == ("0.0000001", "1200000.0", "1" + "0" * 22, "-0.0025", "12")


def test_labelled_answers_are_refused_in_one_line(tmp_path: Path) -> None:
    rows = [{"question": "q?", "response": "x", "correct": True, "span": [0, 1]}] * 3
    with pytest.raises(HlensError, match="labelled elsewhere are not read here") as error:
        jsonl.read(write(tmp_path / "a.jsonl", *rows))
    assert "leave out 'response', 'correct', 'span'" in str(error.value)


def test_keys_that_are_not_read_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write(tmp_path / "a.jsonl", question(source="x"), question(source="y", kind=1))
    with caplog.at_level(logging.WARNING, "hlens"):
        assert len(jsonl.read(path).questions) == 2
    assert "keys that are not read: 'source' (2 lines), 'kind' (1 lines)" in caplog.text


def test_a_question_asked_twice_in_two_groups_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write(tmp_path / "a.jsonl", question(group="g"), question(group="g"), question())
    with caplog.at_level(logging.WARNING, "hlens"):
        assert len(jsonl.read(path).questions) == 3
    assert caplog.text.count("in another group") == 1
    assert "line 3 asks what line 1 asks" in caplog.text


def test_a_worked_example_of_the_same_words_is_of_the_same_fact(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", question(), question(question="who wrote EMMA", worked=True))
    read = jsonl.read(path)
    assert (len(read.questions), len(read.worked)) == (1, 0)
    assert "are about one fact" in read.bad[0].reason
    asked = Question("1", "d", "Who wrote Emma?", ("Jane Austen",))
    same = Question("2", "d", "Who wrote 'Emma'", ("Jane Austen",))
    signs = [Question(f"s{i}", "d", sign, ("x",)) for i, sign in enumerate("<>")]
    shown = choose_worked(asked, 3, own=[same, *signs])
    assert [one.text for one in shown[:2]] == ["<", ">"]
    assert same not in shown
    # Signs have no words: they are not therefore the same.
    assert choose_worked(signs[0], 1, own=signs)[0] == signs[1]


def test_pairs_name_the_line_and_the_field(tmp_path: Path) -> None:
    pair = {"id": 0, "clean": "a", "corrupted": "b", "answer": "c", "foil": None}
    path = write(tmp_path / "pairs.jsonl", pair)
    with pytest.raises(HlensError, match=r"pairs.jsonl, line 1: foil is None; expected texts"):
        pairs.load_pairs(tiny_model(), path)
