"""Labelled answers: read from files and rows, tokenised, and every bad one a line or a loss."""

import json
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow
import pytest

import architectures
import hlens
from hlens.errors import HlensError
from hlens.labelled import layouts
from hlens.prompts import encode_prompt
from hlens.types import Judgement, Question, Response, Verdict
from tiny_study import tiny_model
from tiny_tokenizer import VOCAB, byte_tokenizer


@pytest.fixture(scope="module")
def model() -> hlens.Model:
    return tiny_model()


def row(**fields: object) -> dict[str, object]:
    return {"question": "Who wrote Emma?", "response": "Jane Austen.", "correct": True} | fields


def spans(text: str, *marks: tuple[int, int, str], **fields: object) -> dict[str, object]:
    return {"question": "Say.", "response": text, "spans": [list(m) for m in marks]} | fields


def lost(found: hlens.labelled.Labelled) -> dict[str, int]:
    rows = found.losses[found.losses["reason"] != "located"]
    return dict(zip(rows["reason"], rows["n"], strict=True))


def texts(found: hlens.labelled.Labelled, model: hlens.Model) -> list[str]:
    return [model.decode(e.token_ids[e.start : e.stop].tolist()) for e in found.examples]


def refusal(call) -> str:
    with pytest.raises(HlensError) as raised:
        call()
    said = str(raised.value)
    assert "\n" not in said
    return said


# --- What is read ---------------------------------------------------------------------------------


def write(path: Path, rows: list[dict]) -> Path:
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows))
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows))
    elif path.suffix == ".parquet":
        pd.DataFrame(rows).to_parquet(path)
    else:
        cells = [
            {k: json.dumps(v) if isinstance(v, list | dict) else v for k, v in r.items()}
            for r in rows
        ]
        pd.DataFrame(cells).to_csv(path, index=False, sep="\t" if path.suffix == ".tsv" else ",")
    return path


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".csv", ".tsv", ".parquet"])
def test_every_kind_of_file_gives_the_same_examples(suffix, model, tmp_path):
    rows = [row(id="a", group="emma"), row(id="b", response="I. Kant", correct=False, group="emma")]
    found = hlens.labelled(write(tmp_path / f"answers{suffix}", rows), model)
    assert [(e.hallucinated, e.question_id, e.group, e.domain) for e in found.examples] == [
        (False, "a", "emma", "answers"),
        (True, "b", "emma", "answers"),
    ]
    assert texts(found, model) == ["Jane Austen.", "I. Kant"]


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
def test_spans_and_turns_in_every_kind_of_file(suffix, model, tmp_path):
    turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Emma?"}]
    marks = [[0, 4, "correct"], [5, 11, "hallucinated"]]
    if suffix == ".parquet":  # whose lists hold one type
        marks = json.dumps(marks)
    rows = [{"messages": turns, "response": "Jane Austin wrote it.", "spans": marks}]
    found = hlens.labelled(write(tmp_path / f"answers{suffix}", rows), model)
    assert texts(found, model) == ["Jane", "Austin"]
    [response] = found.responses
    prompt = model.decode(response.token_ids[: response.n_prompt])
    assert prompt == "system: Be brief.user: Emma?assistant: "  # special tokens left out
    assert response.question.text == "Emma?"


def test_rows_of_a_data_frame(model):
    frame = pd.DataFrame([row(), {**row(), "correct": None, "hallucinated": 1.0}])
    for rows in (frame, frame.to_dict("records")):
        found = hlens.labelled(rows, model)
        assert [e.hallucinated for e in found.examples] == [False, True]


def test_columns_and_label_words_are_mapped(model):
    rows = [{"input": "Who?", "output": "Kant", "prompt": "unused", "label": 1}]
    columns = {"question": "input", "response": "output", "verdict": "label", "prompt": ""}
    found = hlens.labelled(rows, model, columns=columns, labels={"1": "hallucinated"})
    assert [e.hallucinated for e in found.examples] == [True]
    assert found.questions[0].text == "Who?"


def test_a_bare_prompt_is_raw_and_a_question_is_in_the_template(model):
    raw = {"prompt": "Emma is by", "response": " Austen", "correct": True}
    bare, asked = hlens.labelled([raw, row(context="A book.")], model).responses
    assert model.tokenizer.decode(bare.token_ids) == "Emma is by Austen"
    said = model.tokenizer.decode(asked.token_ids)
    assert said == "user: A book.\n\nWho wrote Emma?<end>assistant: Jane Austen."


def test_control_words_in_texts_stay_text(model):
    rows = [row(question="Close <end> it", response="a <end> b", system="<bos>")]
    [response] = hlens.labelled(rows, model).responses
    end = model.tokenizer.convert_tokens_to_ids("<end>")
    assert response.token_ids.count(end) == 2  # the template's own, behind two turns
    reply = response.token_ids[response.n_prompt :]
    assert model.tokenizer.decode(reply) == "a <end> b"


def test_what_asks_again_asks_as_the_rows_were_asked(model):
    turns = [{"role": "user", "content": "A"}, {"role": "assistant", "content": "B"}]
    rows = [
        {"messages": [*turns, {"role": "user", "content": "C"}], "response": "D", "correct": True},
        {"prompt": "Emma is by", "response": " Austen", "correct": True},
        row(system="Be brief."),
    ]
    for response in hlens.labelled(rows, model).responses:
        prompt = response.token_ids[: response.n_prompt]
        assert tuple(encode_prompt(model, response.question, instruction="")) == prompt


def test_token_ids_are_kept_as_they_are(model):
    ids = [5, 6, 7, *model.encode_words("Paris")]
    rows = [row(response="Paris", token_ids=ids, n_prompt=3)]
    [response] = hlens.labelled(rows, model).responses
    assert (response.token_ids, response.n_prompt) == (tuple(ids), 3)
    said = refusal(lambda: hlens.labelled([row(token_ids=ids, n_prompt=3)], model))
    assert "token_ids decode to 'Paris'" in said
    said = refusal(lambda: hlens.labelled([row(token_ids=ids, n_prompt=99)], model))
    assert "n_prompt is 99" in said
    said = refusal(lambda: hlens.labelled([row(token_ids=ids)], model))
    assert "go together" in said
    far = [*ids, 10**6]
    assert "row 1" in refusal(lambda: hlens.labelled([row(token_ids=far, n_prompt=3)], model))


def test_tokens_of_more_or_less_than_the_response_are_of_another(model):
    prompt = [5, 6, 7]
    for said, given in (("Now Paris is bigger", "Paris is big"), ("Paris", ""), ("", "Paris")):
        ids = [*prompt, *model.encode_words(said)]
        rows = [row(response=given, token_ids=ids, n_prompt=3)]
        text = refusal(lambda rows=rows: hlens.labelled(rows, model))
        assert f"token_ids decode to {said!r}, the response is {given!r}" in text
    # A thought that the text leaves out, outer space and an end of text are of the same response.
    thought = [*prompt, *model.encode_words("<think>Kant?</think> Austen ")]
    rows = [row(response="Austen", token_ids=thought, n_prompt=3)]
    assert texts(hlens.labelled(rows, model), model) == ["Austen "]
    ended = [*prompt, *model.encode_words("Austen"), model.tokenizer.eos_token_id]
    rows = [row(response="Austen", token_ids=ended, n_prompt=3)]
    assert hlens.labelled(rows, model).responses[0].token_ids == tuple(ended)


@pytest.mark.parametrize("by", [1, -1])
def test_the_order_of_rows_decides_no_group(model, by):
    rows = [row(), row(group="emma", correct=False), row(domain="other")]
    found = hlens.labelled(rows[::by], model)
    assert {e.group for e in found.examples} == {"emma"}


def test_a_group_of_the_meta_is_a_rows_own(model, caplog):
    rows = [row(id="a", meta={"group": "x"}), row(id="b", meta={"group": "y"})]
    assert [e.group for e in hlens.labelled(rows, model).examples] == ["x", "y"]
    assert "in another group" in caplog.text
    rows = [row(id="a", group="x"), row(id="a", group="y")]
    assert "id 'a' was used before, in the group 'x'" in refusal(
        lambda: hlens.labelled(rows, model)
    )


@pytest.mark.parametrize("no", [False, np.bool_(False), "false"])
def test_truth_values_are_words_whoever_wrote_them(model, no):
    rows = [{"question": "Q?", "response": "a", "verdict": no}]
    assert "labels={'false': 'hallucinated'}" in refusal(lambda: hlens.labelled(rows, model))
    for word in ("false", False):
        found = hlens.labelled(rows, model, labels={word: "hallucinated"})
        assert [e.hallucinated for e in found.examples] == [True]


def test_numbers_as_label_words(model):
    rows = [{"question": "Q?", "response": "ab", "spans": [[0, 1, 1], [1, 2, 0]]}]
    found = hlens.labelled(rows, model, labels={1: "hallucinated", 0: "correct"})
    assert [e.hallucinated for e in found.examples] == [True, False]


def test_a_label_that_is_not_read_is_not_judged_over(model):
    rows = [{"question": "Q?", "response": "Paris", "answers": ["Paris"], "Label": "wrong"}]
    assert "has a column 'Label', and none" in refusal(lambda: hlens.labelled(rows, model))
    [judged] = hlens.labelled(rows, model, columns={"verdict": ""}).judgements
    assert judged.verdict == "correct"
    mapped = {"columns": {"verdict": "Label"}, "labels": {"wrong": "hallucinated"}}
    [judged] = hlens.labelled(rows, model, **mapped).judgements
    assert judged.verdict == "hallucinated"


def test_answers_to_one_question_are_its_samples_and_share_a_group(model):
    rows = [row(), row(response="Kant", correct=False), row(id="own"), row(question="Other?")]
    found = hlens.labelled(rows, model)
    assert [(e.question_id, e.sample) for e in found.examples] == [
        ("1", 0), ("1", 1), ("own", 0), ("4", 0),
    ]  # fmt: skip
    assert len({e.group for e in found.examples[:3]}) == 1
    assert found.examples[3].group not in {e.group for e in found.examples[:3]}
    said = refusal(lambda: hlens.labelled([row(id="a"), row(id="a", question="B?")], model))
    assert said.startswith("row 2: id 'a' was used before")


def test_what_has_no_label_is_judged_by_hlens(model):
    bare = {"question": "Capital of France?", "answers": ["Paris"]}
    rows = [{**bare, "response": "Paris."}, {**bare, "response": "Lyon."}, row()]
    found = hlens.labelled(rows, model)
    assert [j.verdict for j in found.judgements] == ["correct", "hallucinated", "correct"]
    assert texts(found, model)[0] == "Paris"  # the judge's answer, not the whole response
    always = hlens.labelled(rows, model, judge=lambda r: Judgement(r, Verdict.REFUSED))
    assert [j.verdict for j in always.judgements] == ["refused", "refused", "correct"]


def test_a_thought_is_no_part_of_the_response(model):
    text = "<think>Kant?</think> Austen wrote it."
    at = text.index("Austen")
    rows = [spans(text, (at, at + 6, "correct"), (7, 11, "hallucinated"))]
    found = hlens.labelled(rows, model)
    assert texts(found, model) == ["Austen"]
    assert lost(found) == {"within the thought": 1}
    assert found.responses[0].thought is not None
    assert found.examples[0].n_thought == found.responses[0].n_thought > 0


# --- Units ----------------------------------------------------------------------------------------

TEXT = "Emma was written by Jane Austen in 1920, at Chawton."
YEAR, NAME = TEXT.index("1920"), TEXT.index("Jane Austen")


def test_each_span_is_an_example_of_one_response(model):
    marks = [(YEAR, YEAR + 4, "hallucinated"), (NAME, NAME + 11, "correct")]
    found = hlens.labelled([spans(TEXT, *marks, group="emma")], model)
    assert texts(found, model) == ["1920", "Jane Austen"]
    assert [(e.hallucinated, e.span, e.group) for e in found.examples] == [
        (True, 0, "emma"), (False, 1, "emma"),
    ]  # fmt: skip
    assert found.examples[0].token_ids is found.examples[1].token_ids
    [judgement] = found.judgements
    assert judgement.verdict == "hallucinated"


def test_what_is_not_marked_is_true_only_where_asked_for(model):
    rows = [spans(TEXT, (YEAR, YEAR + 4, "hallucinated")), spans("Nothing is wrong here.")]
    assert texts(hlens.labelled(rows, model), model) == ["1920"]
    found = hlens.labelled(rows, model, rest="correct")
    assert dict(
        zip(texts(found, model), (e.hallucinated for e in found.examples), strict=True)
    ) == {
        "1920": True,
        TEXT[:YEAR]: False,
        TEXT[YEAR + 4 :]: False,
        "Nothing is wrong here.": False,
    }


def test_what_nobody_could_score_is_neither_label_nor_rest(model):
    rows = [spans(TEXT, (YEAR, YEAR + 4, "?"))]
    found = hlens.labelled(rows, model, labels={"?": "unscored"}, rest="correct")
    assert texts(found, model) == [TEXT[:YEAR], TEXT[YEAR + 4 :]]
    assert lost(found) == {"unscored": 1}


def test_the_rest_is_not_taken_where_a_mark_is_lost(model):
    rows = [spans(TEXT, (YEAR, YEAR + 4, "hallucinated"), (500, 510, "hallucinated"))]
    found = hlens.labelled(rows, model, rest="correct")
    assert texts(found, model) == ["1920"]
    assert lost(found) == {"beyond the text": 1, "unmarked, beside a lost span": 1}


def test_units_of_one_file(model):
    rows = [spans(TEXT, (YEAR, YEAR + 4, "hallucinated")), row()]
    whole = hlens.labelled(rows, model, unit="response")
    assert texts(whole, model) == [TEXT, "Jane Austen."]
    assert [e.hallucinated for e in whole.examples] == [True, False]
    tokens = hlens.labelled(rows, model, unit="token", rest="correct")
    assert texts(tokens, model) == [*TEXT, *"Jane Austen."]
    wrong = [e.start - e.n_prompt for e in tokens.examples if e.hallucinated]
    assert wrong == [*range(YEAR, YEAR + 4)]
    assert [e.span for e in tokens.examples] == [*range(len(TEXT)), *range(12)]


# --- What is wrong with files ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "start", "stop", "reason"),
    [
        ("abc", 1, 9, "beyond the text"),
        ("a b", 1, 2, "empty"),
        ("abc", 2, 2, "empty"),
        ("caf\u0065\u0301 x", 0, 4, "cuts a character"),  # between a letter and its accent
        ("👩‍👩‍👧 x", 0, 2, "cuts a character"),  # within a family
        ("👍🏽 x", 1, 2, "cuts a character"),  # off its skin
        ("a\r\nb", 2, 4, "cuts a character"),
    ],
)
def test_a_span_that_cannot_mean_what_it_says_is_a_counted_loss(model, text, start, stop, reason):
    found = hlens.labelled([spans(text, (start, stop, "hallucinated"), (0, 1, "?")), row()], model,
                           labels={"?": "unscored"})  # fmt: skip
    assert lost(found)[reason] == 1
    assert texts(found, model) == ["Jane Austen."]


@pytest.mark.parametrize("text", ["a\r\nb café 🎉 c", "α\u0301 β\r\n", "\ufeffx y", "日本語 です"])
def test_offsets_are_characters_whatever_the_text(model, text, tmp_path):
    for start, word in ((text.index(w), w) for w in text.split()):
        rows = [spans(text, (start, start + len(word), "hallucinated"))]
        found = hlens.labelled(write(tmp_path / "answers.jsonl", rows), model)
        assert texts(found, model) == [word]


def test_line_ends_of_windows(model, tmp_path):
    path = tmp_path / "answers.csv"
    path.write_bytes(b'question,response,spans\r\nWho?,"a\r\nbc","[[3, 5, ""hallucinated""]]"\r\n')
    assert texts(hlens.labelled(path, model), model) == ["bc"]


def test_marks_that_contradict_each_other_are_lost(model):
    marks = [
        (0, 4, "hallucinated"),
        (0, 4, "hallucinated"),
        (5, 8, "correct"),
        (5, 8, "hallucinated"),
    ]
    found = hlens.labelled([spans(TEXT, *marks)], model)
    assert texts(found, model) == ["Emma"]
    assert found.losses.groupby("reason")["n"].sum().to_dict() == {
        "located": 1, "marked twice": 1, "marked with two labels": 2,
    }  # fmt: skip


def test_a_response_longer_than_the_model_is_a_loss():
    model = hlens.load((architectures.gpt2(vocab_size=VOCAB), byte_tokenizer()), name="short")
    found = hlens.labelled([row(response="x" * 600), row()], model)
    assert len(found.examples) == 1
    assert lost(found) == {"longer than the model's 256 tokens": 1}


WRONG = [
    ([{"question": "A?", "response": "B"}], "1 of 1 rows have no label, such as row 1"),
    ([{"qestion": "A?", "response": "B", "correct": 1}], "did you mean 'question'"),
    ([{"question": "A?", "respones": "B", "correct": 1}], "did you mean 'response'"),
    ([{"question": "A?", "output": "B", "correct": 1}], "has no column 'response'"),
    ([{"input": "A?", "response": "B", "correct": 1}], "'question' or 'messages' or 'prompt'"),
    ([row(verdict="fals", correct=None)], "unknown label words 'fals' (1)"),
    ([spans("ab", (0, 1, "Evident"), (1, 2, "Subtle"))], "'Evident' (1), 'Subtle' (1)"),
    ([row(hallucinated=False)], "both 'correct' and 'hallucinated'"),
    ([row(correct="maybe")], "correct is 'maybe'; expected true or false"),
    ([row(response=None)], "response is None"),
    ([row(response=["a"])], "response is ['a']"),
    ([row(prompt="B")], "both 'question' and 'prompt'"),
    ([row(), row(question=None)], "row 2: neither question nor prompt; expected exactly one of"),
    ([row(question="")], "neither question nor prompt"),
    ([{"messages": [], "response": "B", "correct": 1}], "expected a list of role and content"),
    ([{"messages": [{"role": "assistant", "content": "A"}], "response": "B", "correct": 1}],
     "the last message is the assistant's"),
    ([{"prompt": "A", "system": "S", "response": "B", "correct": 1}], "'system' beside 'prompt'"),
    ([spans("ab") | {"spans": [[0, 1]]}], "expected [start, stop, label]"),
    ([spans("ab") | {"spans": "no JSON"}], "spans: not JSON"),
    ([spans("ab", (1, 0, "correct"))], "two ascending offsets"),
    ([spans("ab", (0.5, 1, "correct"))], "two ascending offsets"),  # type: ignore[arg-type]
    ([row(choices="a")], "choices"),
    ([row(response="TheĠcapitalĠofĠFrance")], "were never decoded"),
    ([row(domain=3)], "domain is 3"),
    ([row(response="a\ud800")], "half of a character"),
    ([row(meta={"a": "\ud800"})], "half of a character"),
    ([row(meta={"on": date(2020, 1, 1)})], "meta holds what is no JSON"),
    (["text"], "mapping"),
    ([], "holds no row"),
]  # fmt: skip


@pytest.mark.parametrize(("rows", "said"), WRONG)
def test_a_row_that_cannot_be_read_is_one_line(model, rows, said):
    assert said in refusal(lambda: hlens.labelled(rows, model))


def test_a_data_frame_of_no_text_is_one_line(model):
    data = pyarrow.array([b"Who\xff?"])
    no_text = pyarrow.Array.from_buffers(pyarrow.string(), 1, data.buffers())
    frame = pyarrow.table({"question": no_text}).to_pandas(
        types_mapper={pyarrow.string(): pd.ArrowDtype(pyarrow.string())}.get
    )
    assert "holds a text that is no UTF-8" in refusal(lambda: hlens.labelled(frame, model))


def test_files_that_cannot_be_read_are_one_line(model, tmp_path):
    def reading(name: str, text: str, **options: object) -> str:
        (tmp_path / name).write_text(text)
        return refusal(lambda: hlens.labelled(tmp_path / name, model, **options))

    good = json.dumps(row())
    assert "answers.jsonl, line 2: not JSON" in reading("answers.jsonl", f"{good}\n{{")
    assert "answers.jsonl, line 3: correct is 7" in reading(
        "answers.jsonl", f"{good}\n\n{json.dumps(row(correct=7))}\n"
    )
    assert "answers.csv, line 3 has 2 fields, its header 3" in reading(
        "answers.csv", "question,response,correct\nA?,B,true\nC?,D\n"
    )
    both = json.dumps({"train": [row()], "test": [row(correct=False)]})
    assert "several lists of objects, 'train', 'test'" in reading("answers.json", both)
    assert "unknown suffix '.txt'" in reading("answers.txt", good)
    assert "has no column 'q'" in reading("answers.jsonl", good, columns={"question": "q"})
    assert "unknown column 'questoin'" in reading("answers.jsonl", good, columns={"questoin": "q"})
    assert "unknown layout 'ragtrut'" in reading("answers.jsonl", good, layout="ragtrut")
    assert "unknown meaning of label" in reading("answers.jsonl", good, labels={"x": "wrong"})
    assert "'span'" in reading("answers.jsonl", good, unit="spam")
    assert "no file" in refusal(lambda: hlens.labelled(tmp_path / "none.jsonl", model))
    assert "is a folder" in refusal(lambda: hlens.labelled(tmp_path, model))


def test_a_model_without_template_is_given_questions_and_prompts_only():
    bare = hlens.load((architectures.llama(vocab_size=VOCAB), byte_tokenizer(False)), name="bare")
    [response] = hlens.labelled([row()], bare).responses
    assert bare.decode(response.token_ids) == "Who wrote Emma?Jane Austen."
    for fields in ({"system": "Be brief."}, {"messages": [{"role": "user", "content": "A"}]}):
        rows = [{k: v for k, v in row(**fields).items() if k != "question" or "system" in fields}]
        assert "bare has no chat template" in refusal(lambda rows=rows: hlens.labelled(rows, bare))


# --- Layouts --------------------------------------------------------------------------------------


def test_a_layout_is_read_by_its_name(model, tmp_path, monkeypatch):
    @layouts.layout(hub="", licence="MIT", labels={"bad": "hallucinated"})
    def read_new(path: Path):
        for line in path.read_text().splitlines():
            yield {"question": "Q?", "response": line, "verdict": "bad", "source": "unread"}

    monkeypatch.setattr(layouts, "named", lambda name: read_new)
    (tmp_path / "any.file").write_text("one\ntwo\n")
    found = hlens.labelled(tmp_path / "any.file", model, layout="new")
    assert texts(found, model) == ["one", "two"]
    assert all(e.hallucinated for e in found.examples)


# --- The same as by hand --------------------------------------------------------------------------


def test_examples_equal_those_made_by_hand(model):
    rows = [
        row(id=str(i), question=f"Q{i}?", response=f"a{i}", correct=i % 2 == 0) for i in range(6)
    ]
    judged = []
    for one in rows:
        question = Question(one["id"], "answers", one["question"], ())
        prompt = encode_prompt(model, question, instruction="")
        ids = (*prompt, *model.encode_words(one["response"]))
        response = Response(question, one["response"], ids, len(prompt))
        verdict = Verdict.CORRECT if one["correct"] else Verdict.HALLUCINATED
        judged.append(Judgement(response, verdict))

    def plain(examples: list[hlens.Example]) -> list[object]:
        return [(e.token_ids.tolist(), e.start, e.stop, e.hallucinated, e.group) for e in examples]

    by_hand = plain(hlens.locate(judged, model))
    assert plain(hlens.labelled(rows, model).examples) == by_hand
