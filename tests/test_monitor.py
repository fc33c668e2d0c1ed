"""The monitor: the same scores as measuring afterwards, the same tokens as generating."""

import pytest
import torch

import architectures
import hlens
from hlens import interventions as iv
from hlens.errors import HlensError
from hlens.model import Model, Settings, load
from hlens.monitor import Risk, TokenScores, at_probability, monitor, risks, watching
from hlens.types import Calibration, Detector, Example, Provenance
from tiny_detector import MEMBERS, detector_of
from tiny_tokenizer import VOCAB, byte_tokenizer

PROMPTS = [[3, 14, 15, 9, 26], [5, 35, 8], [9, 79, 32, 38, 46, 26, 43]]
HOW = Settings(max_new_tokens=7, temperature=0.0)


@pytest.fixture(scope="module")
def model() -> Model:
    return load((architectures.llama(vocab_size=VOCAB), byte_tokenizer()), name="tiny")


@pytest.fixture(scope="module")
def detector(model: Model) -> Detector:
    return detector_of(model)


def measured(model: Model, detector: Detector, tokens: list[tuple[int, ...]]) -> list[float]:
    """The detector's score of each whole response, by measuring it afterwards."""
    examples = [
        Example(
            torch.tensor([*prompt, *answer]), len(prompt), len(prompt), len(prompt) + len(answer),
            bool(i % 2), str(i), str(i), "d",
        )
        for i, (prompt, answer) in enumerate(zip(PROMPTS, tokens, strict=True))
    ]  # fmt: skip
    metric = hlens.metrics.by_name(detector.metric)
    return detector(hlens.measure(model, examples, metric=metric, region=detector.region)).tolist()


@pytest.mark.parametrize("name", sorted(architectures.DENSE))
def test_the_score_is_that_of_measuring_afterwards(name: str) -> None:
    model = load((architectures.DENSE[name](), None), name=name)
    detector = detector_of(model)
    found = monitor(model, detector, PROMPTS, settings=HOW)
    expected = measured(model, detector, [one.generation.token_ids for one in found])
    assert [one.score for one in found] == pytest.approx(expected, abs=1e-4)
    assert len({round(one.score, 3) for one in found}) == 3


@pytest.mark.parametrize("metric", ["signed_cett", "activation_norm", "post_norm", "projection"])
def test_every_local_metric_can_be_watched(metric: str) -> None:
    model = load((architectures.gemma2(), None), name="gemma2")
    detector = detector_of(model, metric, "response")
    found = monitor(model, detector, PROMPTS, settings=HOW)
    expected = measured(model, detector, [one.generation.token_ids for one in found])
    assert [one.score for one in found] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_the_tokens_are_those_of_generating(
    model: Model, detector: Detector, temperature: float
) -> None:
    how = Settings(max_new_tokens=9, temperature=temperature)
    plain = model.generate_many(PROMPTS, how, seed=4)
    found = monitor(model, detector, PROMPTS, settings=how, seed=4)
    assert [one.generation.token_ids for one in found] == [one.token_ids for one in plain]
    assert [one.generation.finish_reason for one in found] == [one.finish_reason for one in plain]
    for ours, theirs in zip(found, plain, strict=True):
        assert ours.generation.text == theirs.text
        assert ours.generation.logprobs == pytest.approx(theirs.logprobs, abs=1e-5)
    alone = [monitor(model, detector, [p], settings=how, seed=4)[0] for p in PROMPTS[:1]]
    assert alone[0].score == pytest.approx(found[0].score, abs=1e-4)
    assert model.clock.generated is None


def test_a_risk_a_token_in_order_and_the_same_when_read_afterwards(
    model: Model, detector: Detector
) -> None:
    heard: list[Risk] = []
    found = monitor(model, detector, PROMPTS, settings=HOW, on_token=heard.append, batch_size=2)
    assert [(r.index, r.row) for r in heard if r.row < 2] == [
        (i, r) for i in range(7) for r in (0, 1)
    ]
    for row, one in enumerate(found):
        own = [risk for risk in heard if risk.row == row]
        assert tuple(own) == one.risks
        assert [risk.token_id for risk in own] == list(one.generation.token_ids)
        assert one.touched == len(own) * len(MEMBERS)  # the receipt
        again = risks(
            model, detector, [*PROMPTS[row], *one.generation.token_ids], len(PROMPTS[row])
        )
        scores = [risk.score for risk in again]
        assert scores == pytest.approx([risk.score for risk in own], abs=1e-4)
        running = torch.tensor([r.token_score for r in own]).cumsum(0) / torch.arange(1, 8)
        assert scores == pytest.approx(running.tolist(), abs=1e-4)


def test_probabilities_are_calibrated(model: Model, detector: Detector) -> None:
    knots = Calibration((-10.0, 10.0), (0.25, 0.75), "isotonic", 0.0)
    calibrated = Detector(
        detector.weights, detector.bias, calibration=knots, provenance=detector.provenance
    )
    for plain, other in zip(
        monitor(model, detector, PROMPTS, settings=HOW),
        monitor(model, calibrated, PROMPTS, settings=HOW),
        strict=True,
    ):
        assert other.probability == pytest.approx(0.5 + other.score / 40, abs=1e-5)
        assert plain.probability == pytest.approx(
            float(torch.sigmoid(torch.tensor(plain.score))), abs=1e-6
        )


def test_a_policy_flags_or_stops_one_row_and_leaves_the_others(
    model: Model, detector: Detector
) -> None:
    plain = monitor(model, detector, PROMPTS, settings=HOW)
    limit = sorted(one.risks[2].probability for one in plain)[-1] - 1e-6
    due = [
        next((r.index for r in one.risks if r.index >= 2 and r.probability >= limit), None)
        for one in plain
    ]
    assert 2 in due
    for action in ("flag", "stop"):
        found = monitor(
            model, detector, PROMPTS, settings=HOW, policy=at_probability(limit, action, 3)
        )
        assert [one.flagged_at for one in found] == due
        for one, before, at in zip(found, plain, due, strict=True):
            kept = len(before.risks) if at is None or action == "flag" else at + 1
            assert one.generation.token_ids == before.generation.token_ids[:kept]
            stopped = at is not None and action == "stop"
            assert (one.generation.finish_reason == "risk") == stopped


def test_watching_any_generation(model: Model, detector: Detector) -> None:
    seen: list[TokenScores] = []
    with watching(model, detector, on_scores=seen.append) as watch:
        made = model.generate_many(PROMPTS[:1], HOW)
    found = monitor(model, detector, PROMPTS[:1], settings=HOW)[0]
    scores = [float(one.score[0, -1]) for one in seen]
    assert scores == pytest.approx([r.token_score for r in found.risks][: len(scores)], abs=1e-5)
    assert len(scores) == len(made[0].token_ids) - 1  # generation never reads its last token
    assert watch.touched == watch.tokens * 4 == len(scores) * 4
    unread = watching(model, detector, on_scores=print)
    with pytest.raises(HlensError, match="no generated token"), unread:
        pass
    seen.clear()
    ids = torch.tensor([PROMPTS[0]])
    with watching(model, detector, on_scores=seen.append, n_prompt=2):
        model.bridge(ids)
    assert seen[0].generated.tolist() == [[-2, -1, 0, 1, 2]]


def test_the_monitor_sees_edits(model: Model, detector: Detector) -> None:
    plain = monitor(model, detector, PROMPTS, settings=HOW)
    with model.editing(detector.selected, iv.ablate()):
        edited = monitor(model, detector, PROMPTS, settings=HOW)
    assert all(r.token_score == pytest.approx(-0.3) for one in edited for r in one.risks)
    assert all(r.token_score != pytest.approx(-0.3) for one in plain for r in one.risks)


def test_an_empty_answer_is_no_error(model: Model, detector: Detector) -> None:
    ends = frozenset(range(VOCAB))
    model.__dict__["stop_ids"] = ends
    try:
        found = monitor(model, detector, PROMPTS, settings=HOW)
    finally:
        del model.__dict__["stop_ids"]
    assert [one.generation.finish_reason for one in found] == ["stop"] * 3
    assert all(not one.risks and one.score != one.score for one in found)


def test_detectors_that_cannot_be_read(model: Model, detector: Detector) -> None:
    def of(**fields: object) -> Detector:
        values = {"weights": detector.weights, "bias": 0.0, "provenance": model.provenance}
        return Detector(**{**values, **fields})  # type: ignore[arg-type]

    mistakes = {
        "found on": of(provenance=Provenance(model="other", fingerprint="other")),
        "monitor the model": of(weights=torch.ones(2, 5), provenance=Provenance()),
        "only a mean over": of(region="prompt"),
        "of a finished answer": of(metric="gradient_x_activation"),
        "no neurons": of(weights=torch.zeros(3, 56)),
    }
    for match, bad in mistakes.items():
        with pytest.raises(HlensError, match=match):
            monitor(model, bad, PROMPTS)
    with pytest.raises(HlensError, match="no prompts"):
        monitor(model, detector, [])
    with pytest.raises(HlensError, match="leaves no prompt"):
        risks(model, detector, [3, 4], 2)
    with pytest.raises(HlensError, match="expected a number from 0 to 1"):
        at_probability(1.5)


def test_a_strip_grows_in_a_notebook(
    model: Model, detector: Detector, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: dict[int, list[str]] = {}

    class Handle:
        def __init__(self, number: int) -> None:
            self.number = number

        def update(self, strip: object) -> None:
            shown[self.number].append(str(strip))

    def display(strip: object, display_id: bool) -> Handle:
        shown[len(shown)] = [str(strip)]
        return Handle(len(shown) - 1)

    monkeypatch.setattr("IPython.display.display", display)
    found = monitor(
        model, detector, PROMPTS[:2], settings=HOW, on_token=hlens.figures.tokens.live()
    )
    for number, one in enumerate(found):
        counts = [strip.count('class="hl-tip"') for strip in shown[number]]
        assert counts == list(range(1, len(one.risks) + 1))
