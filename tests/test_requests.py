"""Requests that come and go: each gets the answer that it would get alone."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch

import architectures
from asking import Written, finish, reading, writing
from hlens import interventions as iv
from hlens.errors import HlensError
from hlens.model import Model, Settings, load
from hlens.monitor import monitor
from hlens.monitor.reading import score_tokens
from hlens.monitor.requests import Dose, batcher_of
from hlens.types import Detector, NeuronSet
from tiny_detector import MEMBERS, detector_of
from tiny_tokenizer import VOCAB, byte_tokenizer

PROMPTS = [[3, 14, 15, 9, 26], [5, 35, 8], [9, 79, 32, 38, 46, 26, 43], [7, 7], [101] * 20]
GREEDY, DRAWN = Settings(9, temperature=0.0), Settings(9)


@pytest.fixture(scope="module")
def model() -> Model:
    return load((architectures.llama(vocab_size=VOCAB), byte_tokenizer()), name="tiny")


@pytest.fixture(scope="module")
def detectors(model: Model) -> dict[str, Detector]:
    one = detector_of(model)
    return {"one": one, "two": replace(one, weights=-2 * one.weights, bias=0.4)}


def dose_of(model: Model, factor: float) -> Dose:
    neurons = NeuronSet(frozenset(MEMBERS), model.n_layers, model.d_mlp)
    return Dose(((neurons, iv.scale(factor)),), "")


def alone(
    model: Model, detector: Detector, prompt: Sequence[int], settings: Settings, seed: int
) -> Any:
    """The answer by `monitor`, which mixes its seed with the prompt's index."""
    from hlens.model import mix_seed

    (one,) = monitor(model, detector, [prompt], settings=settings, seed=seed)
    return one, mix_seed(seed, 0)


@pytest.mark.parametrize("settings", [GREEDY, DRAWN], ids=["greedy", "drawn"])
@pytest.mark.parametrize("at_once", [1, 2, 100])
def test_each_answer_is_its_own_whatever_came_beside_it(
    model: Model, detectors: dict[str, Detector], settings: Settings, at_once: int
) -> None:
    told, asked, expected = [], [], []
    for i, prompt in enumerate(PROMPTS * 2):
        name = "one" if i % 3 else "two"
        own = replace(settings, max_new_tokens=2 + i)
        single, seed = alone(model, detectors[name], prompt, own, i)
        expected.append(single)
        told.append(Written())
        asked.append(writing(told[-1], prompt, own, seed, detector=name))
    finish(batcher_of(model, detectors, {}, most_rows=4), asked, at_once)
    for one, single in zip(told, expected, strict=True):
        assert one.tokens == single.generation.token_ids
        assert one.scores == pytest.approx([risk.score for risk in single.risks], abs=1e-5)
        assert one.logprobs == pytest.approx(single.generation.logprobs, abs=1e-5)
        assert one.ends == [single.generation.finish_reason]
        assert not one.errors


def test_without_a_detector_the_tokens_are_the_same_and_risks_are_none(model: Model) -> None:
    told = Written()
    finish(batcher_of(model, {}, {}), [writing(told, PROMPTS[0], GREEDY)])
    assert told.tokens == model.generate_many([PROMPTS[0]], GREEDY)[0].token_ids
    assert all(score != score for score in told.scores)


def test_a_dose_is_of_its_own_request(model: Model, detectors: dict[str, Detector]) -> None:
    doses = {"silent": dose_of(model, 0.0), "strong": dose_of(model, 30.0)}
    names = [None, "silent", "strong", None, "strong"]
    told = [Written() for _ in names]
    asked = [writing(t, PROMPTS[0], GREEDY, dose=n) for t, n in zip(told, names, strict=True)]
    finish(batcher_of(model, detectors, doses), asked)
    for one, name in zip(told, names, strict=True):
        if name is None:
            expected = model.generate_many([PROMPTS[0]], GREEDY)
        else:
            with model.editing(doses[name].pairs):
                expected = model.generate_many([PROMPTS[0]], GREEDY)
        assert one.tokens == expected[0].token_ids
    assert told[0].tokens != told[2].tokens


def test_a_request_ends_its_answer_and_no_other(
    model: Model, detectors: dict[str, Detector]
) -> None:
    told = [Written(), Written(stop_after=3), Written()]
    finish(
        batcher_of(model, detectors, {}),
        [writing(one, PROMPTS[2], GREEDY, detector="one") for one in told],
    )
    assert [one.ends for one in told] == [["length"], ["risk"], ["length"]]
    assert told[1].tokens == told[0].tokens[:3]
    assert told[2].tokens == told[0].tokens


def test_readings_are_those_of_the_monitor(model: Model, detectors: dict[str, Detector]) -> None:
    told: list[Any] = []
    errors: list[Exception] = []
    finish(
        batcher_of(model, detectors, {}),
        [reading(told, PROMPTS, name, errors) for name in detectors],
    )
    for scores, detector in zip(told, detectors.values(), strict=True):
        expected = score_tokens(model, detector, PROMPTS)
        for one, other in zip(scores, expected, strict=True):
            assert one == pytest.approx(other, abs=1e-5)
    assert not errors


def test_an_error_reaches_all_of_its_wave_and_no_other(
    model: Model, detectors: dict[str, Detector], monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = Settings(9, temperature=0.0, until_newline=True)
    told = [Written(), Written(), Written()]
    whole = model.position_kwargs

    def fail(positions: torch.Tensor) -> Any:
        if len(positions) == 2:
            raise HlensError("out of memory")
        return whole(positions)

    monkeypatch.setattr(model, "position_kwargs", fail, raising=False)
    finish(
        batcher_of(model, detectors, {}),
        [
            writing(told[0], PROMPTS[0], GREEDY),
            writing(told[1], PROMPTS[0], broken),
            writing(told[2], PROMPTS[1], broken),
        ],
    )
    assert told[0].ends == ["length"]
    assert [str(error) for one in told[1:] for error in one.errors] == ["out of memory"] * 2
    assert not told[1].ends
    assert not told[2].ends
