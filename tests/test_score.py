"""Scoring answers that are written already: as one at a time, and as measuring them."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

import architectures
import hlens
from hlens.errors import HlensError
from hlens.model import Model, can_share_prefixes, load
from hlens.monitor import risks, score, score_prompts
from hlens.monitor.reading import score_tokens
from hlens.spans import token_texts
from hlens.types import Example, Judgement, MarkedSpan, Question, Response, Verdict
from hlens.types.labels import Level, LevelScore
from tiny_detector import detector_of
from tiny_tokenizer import VOCAB, byte_tokenizer

TOLERANCE = 1e-4  # of log-odds in float32: padding changes the order of sums
ROWS = (([3, 14, 15, 9, 26], 11), ([5, 35, 8], 1), ([9, 79, 32, 38], 30), ([6, 7], 17))


@pytest.fixture(scope="module")
def model() -> Model:
    return load((architectures.llama(vocab_size=VOCAB), byte_tokenizer()), name="tiny")


def responses_of(model: Model) -> list[Response]:
    """Answers of several lengths; the tokens are those of no text in particular."""
    draw = torch.Generator().manual_seed(1)
    rows = []
    for i, (prompt, n) in enumerate(ROWS):
        tokens = (*prompt, *torch.randint(3, 90, (n,), generator=draw).tolist())
        text = "" if model.tokenizer is None else model.decode(tokens[len(prompt) :])
        rows.append(Response(Question(f"q{i}", "d", "Why?", ()), text, tokens, len(prompt)))
    return rows


def example_of(response: Response, start: int, stop: int, wrong: bool) -> Example:
    n, question = response.n_prompt, response.question
    ids = torch.tensor(response.token_ids)
    return Example(
        ids, n, n + start, n + stop, wrong, question.id, question.group, "d", response.sample
    )


@pytest.mark.parametrize("name", sorted(architectures.DENSE))
def test_a_batch_is_one_at_a_time_and_is_measuring(name: str) -> None:
    """Token, answer and span agree with `risks` and with the detector on `measure`."""
    model = load((architectures.DENSE[name](), None), name=name)
    detector, responses = detector_of(model), responses_of(model)
    spans = {0: (2, 5), 2: (10, 30), 3: (0, 1)}
    examples = [example_of(responses[i], *span, i % 2 == 0) for i, span in spans.items()]
    found = score(model, detector, responses, examples=examples)
    for one, response in zip(found, responses, strict=True):
        alone = risks(model, detector, response.token_ids, response.n_prompt)
        assert one.scores == pytest.approx([risk.token_score for risk in alone], abs=TOLERANCE)
        assert one.score == pytest.approx(alone[-1].score, abs=TOLERANCE)
    measured = detector(hlens.measure(model, examples)).tolist()
    of_spans = [value for one in found for value in one.span_scores]
    assert of_spans == pytest.approx(measured, abs=TOLERANCE)
    whole = [example_of(r, 0, len(r.token_ids) - r.n_prompt, True) for r in responses]
    assert [one.score for one in found] == pytest.approx(
        detector(hlens.measure(model, whole)).tolist(), abs=TOLERANCE
    )
    assert len({round(one.score, 3) for one in found}) == len(responses)


@pytest.mark.parametrize("metric", ["signed_cett", "activation_norm", "post_norm"])
def test_every_local_metric_is_read(metric: str) -> None:
    model = load((architectures.gemma2(), None), name="gemma2")
    detector, responses = detector_of(model, metric, "response"), responses_of(model)
    whole = [example_of(r, 0, len(r.token_ids) - r.n_prompt, True) for r in responses]
    formula = hlens.metrics.by_name(metric)
    measured = detector(hlens.measure(model, whole, metric=formula, region="response"))
    found = score(model, detector, responses)
    assert [one.score for one in found] == pytest.approx(measured.tolist(), abs=TOLERANCE)


@pytest.mark.parametrize("name", sorted({**architectures.DENSE, **architectures.MIXTURES}))
def test_what_all_answers_begin_with_is_run_once(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And changes no score, also of the tokens that are shared, and where nothing may be shared."""
    builders = {**architectures.DENSE, **architectures.MIXTURES}
    model = load((builders[name](), None), name=name)
    detector = detector_of(model)
    rows = [[*range(3, 15), *response.token_ids] for response in responses_of(model)]
    ran: list[int] = []
    forward = model.body.forward
    together = score_tokens(model, detector, rows)  # proves once whether keys may be shared

    def count(*args: Any, **kwargs: Any) -> Any:
        ran.append(kwargs["input_ids"].numel())
        return forward(*args, **kwargs)

    monkeypatch.setattr(model.body, "forward", count)
    again = score_tokens(model, detector, rows, batch_size=2)
    shares = can_share_prefixes(model, max(map(len, rows)))
    assert (ran[0] == 12) is shares
    for row, one, other in zip(rows, together, again, strict=True):
        (alone,) = score_tokens(model, detector, [row])
        assert one == pytest.approx(alone, abs=TOLERANCE)
        assert other == pytest.approx(alone, abs=TOLERANCE)


def test_the_size_of_the_batch_changes_nothing(model: Model) -> None:
    detector, responses = detector_of(model), responses_of(model)
    heard: list[tuple[int, int]] = []
    one = score(model, detector, responses, batch_size=1, progress=lambda *n: heard.append(n))
    assert heard == [(1, 4), (2, 4), (3, 4), (4, 4)]
    two = score(model, detector, responses, batch_size=3)
    for a, b in zip(one, two, strict=True):
        assert a.scores == pytest.approx(b.scores, abs=TOLERANCE)


def test_each_answer_is_run_once_whatever_its_spans(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    responses, passes = responses_of(model), []
    examples = [example_of(responses[2], i, i + 5, i > 10) for i in range(0, 25, 5)]
    body = model.body.forward
    monkeypatch.setattr(model.body, "forward", lambda **k: passes.append(k) or body(**k))
    found = score(model, detector_of(model), responses, examples=examples)
    assert sum(len(run["input_ids"]) for run in passes) == len(responses)
    assert [len(one.spans) for one in found] == [0, 0, 5, 0]
    assert found[2].spans[0] == MarkedSpan(0, 5, False)


def test_a_prompt_is_scored_where_it_ends(model: Model) -> None:
    """As the detector scores what is measured there, before an answer is written."""
    responses = responses_of(model)
    examples = [example_of(response, 0, 1, True) for response in responses]
    before = replace(detector_of(model), region="last_prompt")
    prompts = [response.token_ids[: response.n_prompt] for response in responses]
    measured = before(hlens.measure(model, examples, region="last_prompt")).tolist()
    assert score_prompts(model, before, prompts) == pytest.approx(measured, abs=TOLERANCE)
    with pytest.raises(HlensError, match="before an answer only 'last_prompt' is there"):
        score_prompts(model, detector_of(model), prompts)
    with pytest.raises(HlensError, match="no prompts"):
        score_prompts(model, before, [])


def test_labels_are_the_judges_and_else_those_of_spans(model: Model) -> None:
    responses = responses_of(model)
    answers = [
        Judgement(responses[0], Verdict.CORRECT),
        Judgement(responses[1], Verdict.UNSCORED),
        responses[2],
        Judgement(responses[3], Verdict.REFUSED),
    ]
    examples = [
        example_of(responses[0], 0, 2, True),
        example_of(responses[2], 0, 2, False),
        example_of(responses[2], 4, 6, True),
    ]
    found = score(model, detector_of(model), answers, examples=examples)
    assert [one.hallucinated for one in found] == [False, None, True, None]
    assert (found[0].question, found[0].question_id, found[0].group) == ("Why?", "q0", "d/q0")


def test_a_thought_is_no_part_of_the_answer(model: Model) -> None:
    thought, said = model.encode("<think>no</think>", chat=False), [40, 41, 42]
    question = Question("q", "d", "Why?", ())
    tokens = (3, 4, 5, *thought, *said)
    response = Response(question, model.decode([*thought, *said]), tokens, 3)
    (found,) = score(model, detector_of(model), [response])
    alone = risks(model, detector_of(model), tokens, 3)
    assert len(found) == len(said)
    assert found.score == pytest.approx(alone[-1].score, abs=TOLERANCE)
    nothing = Response(question, "", (3, 4, 5), 3)
    (empty,) = score(model, detector_of(model), [nothing])
    assert len(empty) == 0
    assert np.isnan(empty.score)


def test_an_answer_that_the_model_cannot_read_is_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    model = load((architectures.gpt2(vocab_size=VOCAB), byte_tokenizer()), name="tiny")
    assert model.n_positions is not None
    long = Response(Question("long", "d", "Why?", ()), "", (5,) * (model.n_positions + 1), 3)
    found = score(
        model,
        detector_of(model),
        [*responses_of(model), long],
        examples=[example_of(long, 1, 4, True)],
    )
    assert [len(one) for one in found] == [n for _, n in ROWS] + [0]
    assert found[-1].hallucinated
    assert "1 of 5 answers are longer than the 256 tokens" in caplog.text


def test_what_cannot_be_scored_is_one_line(model: Model) -> None:
    responses = responses_of(model)
    detector = detector_of(model)
    with pytest.raises(HlensError, match="no answers to score"):
        score(model, detector, [])
    with pytest.raises(HlensError, match="1 of 5 answers have the domain, question and sample"):
        score(model, detector, [*responses, responses[0]])
    with pytest.raises(HlensError, match="is of no answer that was given"):
        score(model, detector, responses[1:], examples=[example_of(responses[0], 0, 1, True)])
    with pytest.raises(HlensError, match="reads 'prompt'"):
        score(model, detector_of(model, region="prompt"), responses)
    with pytest.raises(HlensError, match="batch_size=0"):
        score(model, detector, responses, batch_size=0)


def planted_model(token: int) -> Model:
    """A model whose neuron (0, 5) fires at one token, and hardly at any other."""
    hf: Any = architectures.llama()
    with torch.no_grad():
        layer = hf.model.layers[0]
        layer.self_attn.o_proj.weight.mul_(1e-4)  # what the first MLP reads is the token alone
        embedded = hf.model.embed_tokens.weight
        read = layer.post_attention_layernorm(embedded)
        own = torch.linalg.lstsq(read, torch.eye(len(read))[:, token : token + 1]).solution[:, 0]
        layer.mlp.gate_proj.weight[5] = 40 * own
        layer.mlp.up_proj.weight[5] = 40 * own
    return load((hf, None), name="planted")


def test_a_planted_neuron_is_found_in_spans_and_missed_in_the_mean_of_the_response() -> None:
    """Every long answer holds the token three times: in the wrong span, or in none."""
    model, token, draw = planted_model(50), 50, np.random.default_rng(0)
    responses, examples = [], []
    for i in range(60):
        wrong, ids = bool(i % 2), draw.integers(3, 49, 90)
        ids[[10, 12, 14] if wrong else [80, 83, 85]] = token
        question = Question(f"q{i}", "d", "Why?", ())
        responses.append(Response(question, "", (1, 2, *ids.tolist()), 2))
        examples += [
            example_of(responses[-1], start, start + 8, wrong and start == 9)
            for start in (9, 30, 60)
        ]
    train = [example for example in examples if int(example.question_id[1:]) < 30]
    detector = hlens.find(hlens.measure(model, train), hlens.SparseProbe(C=1.0))
    assert (0, 5) in detector.neurons
    found = score(model, detector, responses[30:], examples=examples[90:])
    table = hlens.evaluation.evaluate_levels(found, calibration=detector.calibration, n_boot=50)
    area = table.set_index(["level", "score"]).auroc
    assert area[Level.SPAN, LevelScore.DETECTOR] == 1.0
    assert area[Level.RESPONSE, LevelScore.CALIBRATED] == 1.0
    assert area[Level.SPAN, LevelScore.LENGTH] == 0.5
    mean = table.loc[table.score == LevelScore.MEAN].iloc[0]
    assert mean["low"] < 0.5 < mean["high"]
    assert mean["auroc"] < 0.8


class Words:
    """A vocabulary of the SentencePiece kind: decoding strips the space of the first word."""

    words = ("▁The", "▁capital", "s", "▁of")

    def decode(self, ids: list[int], skip_special_tokens: bool) -> str:
        return "".join(self.words[i] for i in ids).replace("▁", " ").removeprefix(" ")


def test_the_space_before_a_word_is_kept() -> None:
    assert token_texts(Words(), [0, 1, 2, 3]) == ["The", " capital", "s", " of"]
