"""Spans: the tokens of an answer, whatever the tokenizer does to its characters."""

from itertools import combinations

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from hlens import spans
from hlens.errors import HlensError
from hlens.types import Judgement, Question, Response, Verdict

CORPUS = ["Paris is the capital of France.", "Ronnie O'Sullivan's café", "the answer is Paris\n\n"]
RIGHT, WRONG = Verdict.CORRECT, Verdict.HALLUCINATED


def byte_level() -> PreTrainedTokenizerFast:
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=290, special_tokens=["<s>"], initial_alphabet=alphabet)
    raw.train_from_iterator(CORPUS, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=raw, bos_token="<s>")


def sentencepiece() -> PreTrainedTokenizerFast:
    """Pieces with byte fallback: what is not in the vocabulary falls into UTF-8 bytes."""
    pieces = ["▁", "▁Paris", "▁the", "▁is", "▁O", "'", "S", "ullivan", "caf", "Par", "is", "."]
    pieces += [*"abcdefghijklmnopqrstuvwxyzPRQ", "\n"]
    vocab = {"<unk>": 0, "<s>": 1} | {f"<0x{b:02X}>": b + 2 for b in range(256)}
    vocab |= {piece: len(vocab) + i for i, piece in enumerate(pieces) if piece not in vocab}
    raw = Tokenizer(models.BPE(vocab, [], unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    raw.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    raw.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    return PreTrainedTokenizerFast(tokenizer_object=raw, bos_token="<s>", unk_token="<unk>")


TOKENIZERS = {"byte-level": byte_level(), "sentencepiece": sentencepiece()}
PROMPT = (1, 1, 1)


def judged(
    text: str,
    answer: tuple[int, int] | None,
    name: str = "byte-level",
    verdict: Verdict = RIGHT,
    qid: str = "q",
    sample: int = 0,
) -> Judgement:
    ids = TOKENIZERS[name].encode(text, add_special_tokens=False)
    question = Question(qid, "test", "What?", ("x",), group="g")
    response = Response(question, text, (*PROMPT, *ids), len(PROMPT), sample=sample)
    return Judgement(response, verdict, "", answer)


def check(text: str, answer: tuple[int, int], name: str) -> None:
    """The span decodes to text that holds the answer, and no token of it could be left out."""
    tokenizer = TOKENIZERS[name]
    [example] = spans.locate([judged(text, answer, name)], tokenizer)
    own = example.token_ids.tolist()
    start, stop = example.start, example.stop
    assert start >= len(PROMPT)
    before = tokenizer.decode(own[len(PROMPT) : start])
    upto = tokenizer.decode(own[len(PROMPT) : stop])
    assert text.startswith(upto.rstrip("\ufffd"))
    assert len(upto.rstrip("\ufffd")) >= answer[1]
    assert len(before.rstrip("\ufffd")) <= answer[0]
    shorter = tokenizer.decode(own[len(PROMPT) : stop - 1])
    assert not text.startswith(shorter) or len(shorter) < answer[1]
    later = tokenizer.decode(own[len(PROMPT) : start + 1])
    assert not text.startswith(later) or len(later) > answer[0]


HARD = [
    ("Paris", "Paris"),
    ("The answer is Paris.", "Paris"),
    ("It was Ronnie O'Sullivan's café", "Ronnie O'Sullivan"),
    ("It was Ronnie O’Sullivan.", "O’Sullivan"),
    ("£20", "£20"),
    ("Beyoncé", "Beyoncé"),
    ("naïve café, Zoë", "café"),
    ("the 🇫🇷 flag", "🇫🇷"),
    ("👩‍🚀 it is 🎉", "🎉"),
    ("答案是巴黎。", "巴黎"),
    ("हिन्दी भाषा", "भाषा"),
    ("cafe\u0301 noir", "cafe\u0301"),
    ("Paris\n\n\n\n", "Paris"),
    (" Paris", "Paris"),
]


@pytest.mark.parametrize("name", TOKENIZERS)
@pytest.mark.parametrize(("text", "answer"), HARD)
def test_hard_answers_are_located(text: str, answer: str, name: str) -> None:
    text = TOKENIZERS[name].decode(TOKENIZERS[name].encode(text, add_special_tokens=False))
    start = text.index(answer)
    check(text, (start, start + len(answer)), name)


@given(
    st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc", "Zs"]), min_size=1),
    st.data(),
)
@settings(max_examples=150, deadline=None)
def test_any_answer_is_located(text: str, data: st.DataObject) -> None:
    if (
        "\ufffd" in text
        or TOKENIZERS["byte-level"].decode(TOKENIZERS["byte-level"].encode(text)) != text
    ):
        return
    start = data.draw(st.integers(0, len(text) - 1))
    stop = data.draw(st.integers(start + 1, len(text)))
    check(text, (start, stop), "byte-level")


def test_a_character_of_several_tokens_is_taken_whole() -> None:
    [example] = spans.locate([judged("x 巴 y", (2, 3))], TOKENIZERS["byte-level"])
    assert TOKENIZERS["byte-level"].decode(example.token_ids[example.start : example.stop]) in (
        "巴",
        " 巴",
    )
    assert example.stop - example.start >= 3


@pytest.mark.parametrize("name", TOKENIZERS)
@pytest.mark.parametrize("text", ["👍🎉巴", "x שלום עולם 1920", "巴黎是 🇩🇪🇫🇷", "é👍🏽é"])
def test_neighbours_of_several_tokens_are_told_apart(text: str, name: str) -> None:
    """Byte tokens of the SentencePiece kind decode as a run, which one byte too few spoils."""
    tokenizer = TOKENIZERS[name]
    ids = tokenizer.encode(text, add_special_tokens=False)
    for start, stop in combinations(range(len(text) + 1), 2):
        own = text[start:stop].strip()
        if own:
            place = spans.token_span(text, ids, answer=(start, stop), tokenizer=tokenizer)
            assert place is not None
            assert tokenizer.decode(ids[slice(*place)]).strip() == own


def test_outer_space_of_the_text_is_of_no_account() -> None:
    for text, answer in [("  Paris ", (2, 7)), ("Paris", (0, 5))]:
        ids = TOKENIZERS["byte-level"].encode(" Paris ")
        place = spans.token_span(text, ids, answer=answer, tokenizer=TOKENIZERS["byte-level"])
        assert place is not None
        assert TOKENIZERS["byte-level"].decode(ids[slice(*place)]).strip() == "Paris"
        assert (
            spans.token_span(text, ids, answer=(0, 99), tokenizer=TOKENIZERS["byte-level"]) is None
        )


def test_whole_responses_need_no_tokenizer() -> None:
    judgement = judged("It is Paris.", (6, 11))
    n = len(judgement.response.token_ids)
    for found in (
        spans.locate([judgement], None, span="response"),
        spans.locate([judged("It is Paris.", None)], TOKENIZERS["byte-level"]),
    ):
        assert (found[0].start, found[0].stop) == (3, n)
    with pytest.raises(HlensError, match="no tokenizer to locate"):
        spans.locate([judgement], None)
    with pytest.raises(HlensError, match="unknown span 'word'"):
        spans.locate([judgement], None, span="word")
    with pytest.raises(HlensError, match="got a int; expected a model"):
        spans.locate([judgement], 3)


def test_a_model_serves_as_its_tokenizer() -> None:
    class Model:
        tokenizer = TOKENIZERS["byte-level"]

    judgement = judged("It is Paris.", (6, 11), verdict=WRONG)
    [example] = spans.locate([judgement], Model())
    assert example.hallucinated
    assert (example.question_id, example.group, example.domain) == ("q", "g", "test")


def test_losses_are_counted_by_verdict_and_reason() -> None:
    other = Response(Question("q", "test", "What?", ("x",)), "Berlin", (1, 1, 5), 2)
    judgements = [
        judged("Paris", (0, 5)),
        judged("Paris", (0, 5), verdict=WRONG),
        judged("I don't know", None, verdict=Verdict.REFUSED),
        judged("", None, verdict=WRONG),
        Judgement(other, WRONG, "", (0, 6)),
        judged("?", None, verdict=Verdict.UNSCORED),
    ]
    examples, losses = spans.locate_with_losses(judgements, TOKENIZERS["byte-level"])
    assert [e.hallucinated for e in examples] == [False, True]
    assert isinstance(losses, pd.DataFrame)
    assert losses["n"].sum() == len(judgements)
    got = {(r.verdict, r.reason): (r.n, round(r.share, 2)) for r in losses.itertuples()}
    assert got == {
        ("correct", "located"): (1, 1.0),
        ("hallucinated", "located"): (1, 0.33),
        ("hallucinated", "no tokens"): (1, 0.33),
        ("hallucinated", "span not found"): (1, 0.33),
        ("refused", "refused"): (1, 1.0),
        ("unscored", "unscored"): (1, 1.0),
    }


def test_consistent_keeps_what_was_always_right_or_always_wrong() -> None:
    verdicts = {
        "always right": [RIGHT, RIGHT],
        "always wrong": [WRONG, WRONG],
        "mixed": [RIGHT, WRONG],
        "refused once": [WRONG, Verdict.REFUSED],
        "unscored": [Verdict.UNSCORED, Verdict.UNSCORED],
        "too few": [RIGHT],
    }
    judgements = [
        judged("x", None, verdict=v, qid=qid, sample=i)
        for qid, given in verdicts.items()
        for i, v in enumerate(given)
    ]
    kept = spans.consistent(judgements)
    assert [j.response.question.id for j in kept] == ["always right"] * 2 + ["always wrong"] * 2
    with pytest.raises(HlensError, match="min_samples=0"):
        spans.consistent(judgements, min_samples=0)


def test_the_most_frequent_answer_is_taken_and_ties_go_to_the_first() -> None:
    texts = ["Lyon", "Paris", "paris ", "Lyon.", "Nice"]
    samples = [
        judged(text, (0, 4) if text == "Lyon." else None, verdict=WRONG, sample=i)
        for i, text in enumerate(texts)
    ]
    [first] = spans.one_per_question(reversed(samples))
    assert (first.response.sample, first.response.text) == (0, "Lyon")
    [frequent] = spans.one_per_question([*samples, judged("PARIS", None, sample=5)])
    assert frequent.response.sample == 1
    refused = judged("no", None, verdict=Verdict.REFUSED, sample=-1)
    assert spans.one_per_question([refused, samples[4]]) == [samples[4]]
    assert spans.one_per_question([refused]) == [refused]
