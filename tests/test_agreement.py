"""Judges beside each other, judges by entailment, and wrong labels."""

import numpy as np
import pytest
import torch
from sklearn.metrics import cohen_kappa_score
from transformers import BertConfig, BertForSequenceClassification

from architectures import llama
from hlens import judges
from hlens.errors import HlensError
from hlens.judges import choice, nli
from hlens.model import load
from hlens.types import Judgement, Question, Response, Verdict
from tiny_tokenizer import VOCAB, byte_tokenizer

V = list(Verdict)


def judged(verdicts: list[Verdict], group_size: int = 1) -> list[Judgement]:
    return [
        Judgement(
            Response(
                Question(str(i), "test", "q?", ("x",), group=f"g{i // group_size}"), "y", (), 0
            ),
            verdict,
        )
        for i, verdict in enumerate(verdicts)
    ]


def test_kappa_is_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    a = [V[i] for i in rng.integers(0, 4, 200)]
    b = [x if rng.random() < 0.6 else V[rng.integers(0, 4)] for x in a]
    table = judges.agreement(judged(a), reversed(judged(b))).set_index("measure")
    assert table.loc["kappa", "value"] == pytest.approx(cohen_kappa_score(a, b))
    both = [(x, y) for x, y in zip(a, b, strict=True) if {x, y} <= set(V[:2])]
    expected = cohen_kappa_score(*zip(*both, strict=True))
    assert table.loc["kappa of labels", "value"] == pytest.approx(expected)
    assert table.loc["agreement", "value"] == np.mean([x == y for x, y in zip(a, b, strict=True)])
    assert table["n"].tolist() == [200, 200, len(both)]
    assert (table["low"] < table["value"]).all()
    assert (table["value"] < table["high"]).all()
    counts = judges.confusion(judged(a), judged(b))
    assert counts.to_numpy().sum() == 200
    assert counts.loc["correct", "refused"] == sum(
        (x, y) == (V[0], V[2]) for x, y in zip(a, b, strict=True)
    )


def test_intervals_are_by_group() -> None:
    rng = np.random.default_rng(1)
    equal = np.repeat(rng.random(30) < 0.7, 10)
    a = [V[0]] * 300
    b = [V[0] if same else V[1] for same in equal]
    narrow = judges.agreement(judged(a), judged(b))
    wide = judges.agreement(judged(a, 10), judged(b, 10))
    width = [float(t.loc[0, "high"] - t.loc[0, "low"]) for t in (narrow, wide)]
    assert 2 < width[1] / width[0] < 5  # sqrt(10) for groups that agree as one


def test_kappa_is_nan_where_chance_agreement_is_one() -> None:
    table = judges.agreement(judged([V[0]] * 5), judged([V[0]] * 5))
    assert table["value"].isna().tolist() == [False, True, True]


def test_judgements_of_other_responses_are_not_compared() -> None:
    with pytest.raises(HlensError, match="share 2 responses and 1 were judged by one"):
        judges.agreement(judged([V[0]] * 3), judged([V[0]] * 2))
    with pytest.raises(HlensError, match="share 0 responses"):
        judges.confusion([], [])


def test_the_share_of_flipped_labels_is_the_rate() -> None:
    truth = np.arange(200) % 2 == 0

    def score(labels: np.ndarray) -> float:
        return float((labels == truth).mean())

    table = judges.flip_sensitivity(truth, score, rates=(0.0, 0.05, 0.5))
    assert table["value"].tolist() == pytest.approx([1.0, 0.95, 0.5])
    assert table["n"].tolist() == [0, 10, 100]
    assert truth[:2].tolist() == [True, False]
    drawn = [
        judges.flip_sensitivity(truth, lambda x: float(x[:50].sum()), rates=(0.1,), seed=s)
        for s in (0, 0, 1)
    ]
    assert drawn[0].equals(drawn[1])
    assert not drawn[0].equals(drawn[2])
    assert float(drawn[0].loc[0, "low"]) < float(drawn[0].loc[0, "high"])
    with pytest.raises(HlensError, match=r"flip rate=0\.9"):
        judges.flip_sensitivity(truth, score, rates=(0.9,))
    with pytest.raises(HlensError, match="0 labels"):
        judges.flip_sensitivity([], score)


def respond(text: str, *answers: str) -> Response:
    return Response(Question("q", "test", "Capital?", answers), text, (), 0)


@pytest.mark.parametrize(
    ("scores", "verdict"),
    [
        ((0.9, 0.8, 0.0, 0.0), Verdict.CORRECT),
        ((0.0, 0.0, 0.9, 0.8), Verdict.CORRECT),
        ((0.1, 0.2, 0.3, 0.4), Verdict.HALLUCINATED),
        ((0.9, 0.1, 0.0, 0.0), Verdict.UNSCORED),
        ((0.9, 0.1, 0.1, 0.9), Verdict.UNSCORED),
    ],
)
def test_entailment_must_go_both_ways(scores: tuple[float, ...], verdict: Verdict) -> None:
    asked: list[tuple[str, str]] = []

    def entails(pairs: list[tuple[str, str]]) -> tuple[float, ...]:
        asked.extend(pairs)
        return scores

    judgement = nli.judge_by(entails)(respond("It is Lutetia.", "Paris", "City of Light"))
    assert judgement.verdict is verdict
    assert asked[:2] == [
        ("Capital? Paris", "Capital? Lutetia"),
        ("Capital? Lutetia", "Capital? Paris"),
    ]
    assert judgement.answer == (6, 13)


def test_entailment_leaves_refusals_and_abstaining_to_the_rules() -> None:
    def entails(pairs: object) -> list[float]:
        raise AssertionError("not to be asked")

    judge = nli.judge_by(entails)
    assert judge(respond("I don't know", "Paris")).verdict is Verdict.REFUSED
    assert judge(respond("", "Paris")).verdict is Verdict.UNSCORED
    assert judge(respond("There is no such town.")).verdict is Verdict.CORRECT
    with pytest.raises(HlensError, match="threshold=1"):
        nli.judge_by(entails, 1.0)
    with pytest.raises(HlensError, match="1 probabilities for 2 pairs"):
        nli.judge_by(lambda pairs: [0.5])(respond("Paris", "Paris"))


def test_options_are_scored_as_one_at_a_time() -> None:
    model = load((llama(vocab_size=VOCAB), byte_tokenizer(chat=False)))
    question = Question("q", "test", "Who?", ("bb",), ("a", "bb", "a long option"), "Text.")
    scores = choice.option_logprobs(model)(question)
    head = model.encode("Text.\n\nWho?")
    for option, score in zip(question.choices, scores, strict=True):
        own = model.tokenizer.encode(" " + option, add_special_tokens=False)
        with torch.no_grad():
            logits = model.hf(torch.tensor([head + own])).logits[0].log_softmax(-1)
        each = [float(logits[len(head) - 1 + i, token]) for i, token in enumerate(own)]
        assert score == pytest.approx(np.mean(each), abs=1e-5)
    judgement = choice.by_logprob(choice.option_logprobs(model))(Response(question, "a", (), 0))
    assert (judgement.verdict is Verdict.CORRECT) == (int(np.argmax(scores)) == 1)


def test_a_classifier_is_used_by_its_entailment_label() -> None:
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=VOCAB,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        label2id={"CONTRADICTION": 0, "NEUTRAL": 1, "ENTAILMENT": 2},
        id2label={0: "CONTRADICTION", 1: "NEUTRAL", 2: "ENTAILMENT"},
    )
    model = BertForSequenceClassification(config).eval()
    tokenizer = byte_tokenizer()
    pairs = [("a", "b"), ("a long premise", "b"), ("c", "d")]
    batched = nli.entailment(model, tokenizer, batch_size=2)(pairs)
    for pair, score in zip(pairs, batched, strict=True):
        with torch.no_grad():
            logits = model(**tokenizer(*pair, return_tensors="pt")).logits
        assert score == pytest.approx(float(logits.softmax(-1)[0, 2]), abs=1e-5)
    model.config.label2id = {"LABEL_0": 0}
    with pytest.raises(HlensError, match="no label 'entailment'"):
        nli.entailment(model, tokenizer)
