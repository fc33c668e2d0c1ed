"""Requests that come and go in vLLM: each answer and its risk are the local engine's."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("vllm", reason="vLLM is not installed here: make test-engines")

import hlens
from asking import Written, finish, reading, writing
from hlens import interventions as iv
from hlens.errors import HlensError
from hlens.model import Model, Settings
from hlens.monitor import monitor
from hlens.monitor.reading import score_tokens
from hlens.monitor.requests import Dose, batcher_of
from hlens.types import Detector
from tiny_detector import detector_of
from tiny_vllm import SMALL, neurons_of, prompts

pytestmark = pytest.mark.filterwarnings("default")

ADAPTERS: dict[str, Any] = {"enable_lora": True, "max_loras": 2, "max_lora_rank": 32}


@pytest.fixture(scope="module")
def doses(local: Model, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Dose]:
    home, neurons = tmp_path_factory.mktemp("doses"), neurons_of(local)
    made = {"silent": 0.0, "strong": 3.0}
    return {
        name: Dose(
            ((neurons, iv.scale(factor)),),
            str(iv.adapter(local, neurons, iv.scale(factor), home / name)),
        )
        for name, factor in made.items()
    }


@pytest.fixture(scope="module")
def vllm(folder: Path) -> Iterator[Model]:
    model = hlens.load(str(folder), engine="vllm", engine_options=SMALL | ADAPTERS)
    yield model
    model.close()  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def detectors(local: Model) -> dict[str, Detector]:
    one = detector_of(local)
    return {"one": one, "two": replace(one, weights=-2 * one.weights, bias=0.4)}


def test_each_answer_is_the_local_one_whatever_comes_beside_it(
    vllm: Model, local: Model, detectors: dict[str, Detector], doses: dict[str, Dose]
) -> None:
    """Requests join a running batch, of two detectors, of none, drawn and greedy."""
    told, asked, expected = [], [], []
    for i, prompt in enumerate(prompts()):
        name = ("one", "two", None)[i % 3]
        settings = Settings(3 + i, temperature=float(i % 2))
        seed = hlens.model.mix_seed(i, 0)
        watcher = detectors[name or "one"]
        expected.append(monitor(local, watcher, [prompt], settings=settings, seed=i)[0])
        told.append(Written())
        asked.append(writing(told[-1], prompt, settings, seed, detector=name))
    finish(batcher_of(vllm, detectors, doses), asked, at_once=2)
    for i, (one, single) in enumerate(zip(told, expected, strict=True)):
        assert not one.errors
        assert one.tokens == single.generation.token_ids
        assert one.ends == [single.generation.finish_reason]
        assert one.logprobs == pytest.approx(single.generation.logprobs, abs=1e-3)
        if i % 3 < 2:
            assert one.scores == pytest.approx([risk.score for risk in single.risks], abs=1e-3)


def test_doses_in_one_batch_are_their_own_requests(
    vllm: Model, local: Model, detectors: dict[str, Detector], doses: dict[str, Dose]
) -> None:
    names = [None, "silent", "strong", None, "strong", "silent"]
    prompt, settings = prompts()[0], Settings(10, temperature=0.0)
    told = [Written() for _ in names]
    asked = [
        writing(one, prompt, settings, detector="one", dose=name)
        for one, name in zip(told, names, strict=True)
    ]
    finish(batcher_of(vllm, detectors, doses), asked)
    answers = {}
    for one, name in zip(told, names, strict=True):
        with local.editing(doses[name].pairs if name else ()):
            (expected,) = local.generate_many([prompt], settings)
        assert one.tokens == expected.token_ids
        answers[name] = one.tokens
    assert len(set(answers.values())) > 1


def test_a_request_ends_its_answer_and_no_other(
    vllm: Model, detectors: dict[str, Detector], doses: dict[str, Dose]
) -> None:
    told = [Written(), Written(stop_after=3), Written()]
    settings = Settings(12, temperature=0.0)
    asked = [writing(one, prompts()[1], settings, detector="one") for one in told]
    batcher = batcher_of(vllm, detectors, doses)
    finish(batcher, asked)
    assert told[1].ends == ["risk"]
    assert told[1].tokens == told[0].tokens[:3]
    assert told[2].tokens == told[0].tokens
    assert not vllm.llm.llm_engine.has_unfinished_requests()  # type: ignore[attr-defined]
    again = Written()
    finish(batcher, [writing(again, prompts()[1], settings, detector="one")])
    assert again.scores == pytest.approx(told[0].scores, abs=1e-5)


def test_texts_are_read_while_answers_are_written(
    vllm: Model, local: Model, detectors: dict[str, Detector], doses: dict[str, Dose]
) -> None:
    told, errors = Written(), []
    found: list[Any] = []
    rows = prompts()
    finish(
        batcher_of(vllm, detectors, doses),
        [
            writing(told, rows[0], Settings(12, temperature=0.0), detector="one"),
            reading(found, rows, "two", errors),
        ],
    )
    assert not errors
    assert told.ends in (["length"], ["stop"])
    for one, expected in zip(found[0], score_tokens(local, detectors["two"], rows), strict=True):
        assert one == pytest.approx(expected, abs=1e-3)


def test_detectors_of_two_metrics_are_refused(vllm: Model, detectors: dict[str, Detector]) -> None:
    both = detectors | {"two": replace(detectors["two"], metric="cett")}
    with pytest.raises(HlensError, match="cett and signed_cett; vLLM's workers read one metric"):
        batcher_of(vllm, both, {})


def test_a_request_that_vllm_refuses_hears_of_it(
    vllm: Model, detectors: dict[str, Detector]
) -> None:
    told = Written()
    long = [5] * 300  # of 256 positions
    finish(batcher_of(vllm, detectors, {}), [writing(told, long, Settings(4))])
    assert len(told.errors) == 1
