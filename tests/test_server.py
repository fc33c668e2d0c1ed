"""The server: what stock clients get, and what becomes of those who ask for nonsense or leave."""

import asyncio
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
import torch

import architectures
from asking import Written, finish, writing
from hlens import interventions as iv
from hlens.cli.serving import _engine_of
from hlens.errors import HlensError
from hlens.model import Model, Settings, load
from hlens.monitor import monitor, score_prompts
from hlens.monitor.flagging import flagging
from hlens.monitor.requests import Batcher, Dose, Waves, batcher_of
from hlens.monitor.streaming import Answer, assess
from hlens.recipe import EngineRecipe, Recipe
from hlens.server import Limits, Offer
from hlens.server.text import Decoder, Stopper
from hlens.store import save_detector
from hlens.types import Detector, Estimate, NeuronSet, Threshold
from serving import Served, serving
from tiny_detector import MEMBERS, detector_of
from tiny_tokenizer import VOCAB, byte_tokenizer

ASK: dict[str, Any] = {"model": "tiny", "max_tokens": 8, "temperature": 0}
TURNS: Any = [{"role": "user", "content": "Who wrote Emma?"}]


@pytest.fixture(scope="module")
def model() -> Model:
    built = architectures.llama(vocab_size=VOCAB, max_position_embeddings=1024)
    return load((built, byte_tokenizer()), name="tiny")


@pytest.fixture(scope="module")
def detector(model: Model) -> Detector:
    return detector_of(model)


@pytest.fixture(scope="module")
def offer(model: Model, detector: Detector) -> Offer:
    sports = replace(detector, weights=-detector.weights, domains=("sports",))
    neurons = NeuronSet(frozenset(MEMBERS), model.n_layers, model.d_mlp)
    strong = Dose(((neurons, iv.scale(30.0)),), "")
    return Offer(
        model,
        "tiny",
        detectors={"main": detector, "sports": sports},
        doses={"strong": strong},
        limits=Limits(body=100_000, new_tokens=64, waiting=300),
        threshold=flagging("risk=0.45"),
    )


@pytest.fixture(scope="module")
def served(offer: Offer) -> Iterator[Served]:
    with serving(offer) as one:
        yield one


@pytest.fixture
def client(served: Served) -> openai.OpenAI:
    return served.client()


def alone(model: Model, detector: Detector, prompt: list[int], n: int = 8, seed: int = 0) -> Any:
    settings = Settings(n, temperature=0.0)
    return monitor(model, detector, [prompt], settings=settings, seed=seed)[0]


def streamed(stream: Any) -> tuple[str, list[dict[str, Any]], dict[str, Any], str]:
    """Text, tokens, what is said of the answer, and how it ended."""
    text, tokens, own, reason = "", [], {}, ""
    for chunk in stream:
        for choice in chunk.choices:
            delta = getattr(choice, "delta", None)
            text += (delta.content or "") if delta is not None else choice.text
            said = getattr(choice, "hlens", None) or {}
            tokens += said.get("tokens", [])
            if choice.finish_reason:
                own, reason = said, choice.finish_reason
    return text, tokens, own, reason


# --- What a client gets ---------------------------------------------------------------------------


def test_a_chat_is_the_monitors_answer_and_its_risk(
    client: openai.OpenAI, model: Model, detector: Detector
) -> None:
    expected = alone(model, detector, model.encode_chat(TURNS))
    reply = client.chat.completions.create(messages=TURNS, **ASK)
    choice = reply.choices[0]
    own: Any = choice.hlens  # type: ignore[attr-defined]
    assert choice.message.content == expected.generation.text
    assert choice.finish_reason == expected.generation.finish_reason
    assert own["risk"] == pytest.approx(expected.probability, abs=1e-5)
    assert own["score"] == pytest.approx(expected.score, abs=1e-5)
    risks = [risk.probability for risk in expected.risks]
    assert [token["risk"] for token in own["tokens"]] == pytest.approx(risks, abs=1e-5)
    assert reply.usage is not None
    assert reply.usage.completion_tokens == len(expected.generation.token_ids)
    assert own["detector"] == "main"


@pytest.mark.parametrize("chat", [True, False])
def test_a_stream_is_the_same_answer(client: openai.OpenAI, chat: bool) -> None:
    call: Any = client.chat.completions.create if chat else client.completions.create
    asked: Any = {"messages": TURNS} if chat else {"prompt": "Emma was written by"}
    whole = call(**asked, **ASK).choices[0]
    with_usage = {"stream": True, "stream_options": {"include_usage": True}}
    text, tokens, own, reason = streamed(call(**asked, **ASK, **with_usage))
    assert text == (whole.message.content if chat else whole.text)
    assert tokens == whole.hlens["tokens"]
    assert reason == whole.finish_reason
    unlike = {"seed", "tokens"}
    assert {k: v for k, v in own.items() if k not in unlike} == {
        k: v for k, v in whole.hlens.items() if k not in unlike
    }
    last = list(call(**asked, **ASK, **with_usage))[-1]
    assert not last.choices
    assert last.usage.completion_tokens == len(tokens)


def test_samples_are_repeated_by_their_seed(
    client: openai.OpenAI, model: Model, detector: Detector
) -> None:
    asked: Any = {**ASK, "temperature": 1.0, "seed": 7, "n": 3, "prompt": "Emma"}
    first, again = (client.completions.create(**asked) for _ in range(2))
    texts = [choice.text for choice in first.choices]
    assert texts == [choice.text for choice in again.choices]
    assert len(set(texts)) == 3
    settings = Settings(8, top_k=0, top_p=1.0)
    prompt = model.encode("Emma", chat=False)
    own = monitor(model, detector, [prompt], settings=settings, seed=7)[0]
    assert texts[0] == own.generation.text
    assert [choice.index for choice in first.choices] == [0, 1, 2]


def test_a_dose_is_a_model_of_its_own(client: openai.OpenAI, model: Model, offer: Offer) -> None:
    plain = client.completions.create(prompt="Emma", **ASK).choices[0].text
    strong = client.completions.create(prompt="Emma", **{**ASK, "model": "strong"}).choices[0].text
    with model.editing(offer.doses["strong"].pairs):
        (expected,) = model.generate_many([model.encode("Emma", chat=False)], Settings(8, 0.0))
    assert strong == expected.text
    assert strong != plain


def test_stop_words_end_an_answer_and_are_left_out(client: openai.OpenAI) -> None:
    whole = client.completions.create(prompt="Emma", **{**ASK, "max_tokens": 20}).choices[0].text
    word = whole[6:8]
    for stream in (False, True):
        asked: Any = {"prompt": "Emma", **ASK, "max_tokens": 20, "stop": [word, "never there"]}
        if stream:
            text, _, _, reason = streamed(client.completions.create(**asked, stream=True))
        else:
            choice = client.completions.create(**asked).choices[0]
            text, reason = choice.text, choice.finish_reason
        assert text == whole[: whole.index(word)]
        assert reason == "stop"


def test_log_probabilities_are_told(
    client: openai.OpenAI, model: Model, detector: Detector
) -> None:
    expected = alone(model, detector, model.encode_chat(TURNS)).generation.logprobs
    reply = client.chat.completions.create(messages=TURNS, logprobs=True, **ASK)
    logprobs = reply.choices[0].logprobs
    assert logprobs is not None
    assert [one.logprob for one in logprobs.content or ()] == pytest.approx(expected, abs=1e-5)


def test_given_conversations_are_scored_as_they_were_written(
    served: Served, client: openai.OpenAI, model: Model, detector: Detector
) -> None:
    answers = ["Jane Austen wrote Emma.", "Nobody.", "I don't know"]
    asked = {
        "conversations": [
            *({"messages": [*TURNS, {"role": "assistant", "content": one}]} for one in answers),
            {"prompt": "Emma was written by", "completion": " Jane Austen"},
        ],
        "tokens": True,
    }
    reply = httpx.post(f"{served.url}/v1/risk", json=asked).json()
    prompts = [model.encode_chat(TURNS)] * 3 + [model.encode("Emma was written by", chat=False)]
    for found, prompt, text in zip(reply["data"], prompts, [*answers, " Jane Austen"], strict=True):
        from hlens.monitor import risks

        expected = risks(model, detector, [*prompt, *model.encode_words(text)], len(prompt))
        assert found["score"] == pytest.approx(expected[-1].score, abs=1e-5)
        assert found["risk"] == pytest.approx(expected[-1].probability, abs=1e-5)
        assert found["n_tokens"] == len(expected) == len(found["tokens"])
        assert found["flagged"] == (expected[-1].probability >= 0.45)


def test_models_say_what_is_offered(client: openai.OpenAI) -> None:
    names = [one.id for one in client.models.list()]
    assert names == ["tiny", "strong"]
    own: Any = client.models.retrieve("strong").hlens  # type: ignore[attr-defined]
    assert set(own["detectors"]) == {"main", "sports"}


# --- Detectors and policies -----------------------------------------------------------------------


def own_of(client: openai.OpenAI, **hlens: Any) -> Any:
    return client.completions.create(prompt="Emma", **ASK, extra_body={"hlens": hlens}).choices[0]


def test_a_domain_or_a_name_chooses_the_detector(client: openai.OpenAI) -> None:
    assert own_of(client).hlens["detector"] == "main"
    assert own_of(client, domain="sports").hlens["detector"] == "sports"
    assert own_of(client, domain="law").hlens["detector"] == "main"
    assert own_of(client, detector="sports").hlens["detector"] == "sports"


def test_policies_act_from_the_threshold_on(client: openai.OpenAI, offer: Offer) -> None:
    watched = own_of(client)
    risks = [token["risk"] for token in watched.hlens["tokens"]]
    low, high = f"risk={min(risks) / 2}", f"risk={(1 + max(risks)) / 2}"
    for policy in ("flag", "stop", "abstain", "route"):
        spared = own_of(client, policy=policy, threshold=high)
        assert spared.hlens["status"] == "ok"
        assert spared.text == watched.text
        assert len(spared.hlens["tokens"]) == 8
    flagged = {name: own_of(client, policy=name, threshold=low) for name in offer.allowed}
    assert {name: one.hlens["status"] for name, one in flagged.items()} == {
        "watch": "ok",
        "flag": "flagged",
        "stop": "stopped",
        "abstain": "abstained",
        "route": "route",
    }
    assert len(flagged["stop"].hlens["tokens"]) == 1
    assert flagged["abstain"].text == offer.abstention
    assert "tokens" not in flagged["abstain"].hlens
    assert flagged["flag"].text == flagged["route"].text == watched.text
    ends = {name: one.finish_reason for name, one in flagged.items()}
    assert ends["stop"] == ends["abstain"] == "content_filter"


def test_an_answer_that_may_be_withheld_is_not_streamed_before(
    client: openai.OpenAI, offer: Offer
) -> None:
    asked: Any = {"prompt": "Emma", **ASK, "stream": True}
    hlens = {"policy": "abstain", "threshold": "risk=0.01"}
    chunks = list(client.completions.create(**asked, extra_body={"hlens": hlens}))
    assert "".join(choice.text for chunk in chunks for choice in chunk.choices) == offer.abstention
    assert not any(
        "tokens" in (getattr(choice, "hlens", None) or {})
        for chunk in chunks
        for choice in chunk.choices
    )


def test_a_stop_ends_at_the_first_token_that_reaches_the_threshold(client: openai.OpenAI) -> None:
    risks = [token["risk"] for token in own_of(client).hlens["tokens"]]
    limit = sorted(risks)[len(risks) // 2] - 1e-4
    first = next(i for i, risk in enumerate(risks) if risk >= limit)
    stopped = own_of(client, policy="stop", threshold=f"risk={limit}")
    assert len(stopped.hlens["tokens"]) == first + 1


def test_what_reads_the_prompt_decides_before_a_word_is_written(
    model: Model, detector: Detector
) -> None:
    gate = replace(detector, region="last_prompt")
    prompts = [model.encode(text, chat=False) for text in ("Emma", "Ulysses")]
    scores = score_prompts(model, gate, prompts)
    risky, safe = ("Emma", "Ulysses") if scores[0] > scores[1] else ("Ulysses", "Emma")
    between = float(torch.sigmoid(torch.tensor(float(scores.mean()))))
    offer = Offer(
        model, "tiny", detectors={"gate": gate}, threshold=flagging(f"risk={between:.6f}")
    )
    with serving(offer) as served:
        client = served.client()

        def ask(prompt: str, policy: str) -> Any:
            extra = {"hlens": {"policy": policy}}
            return client.completions.create(prompt=prompt, **ASK, extra_body=extra).choices[0]

        routed = ask(risky, "route")
        assert (routed.text, routed.hlens["status"]) == ("", "route")
        expected = float(torch.sigmoid(torch.tensor(float(scores.max()))))
        assert routed.hlens["prompt_risk"] == pytest.approx(expected, abs=1e-5)
        assert ask(risky, "abstain").text == offer.abstention
        assert ask(risky, "flag").hlens["status"] == "flagged"
        assert len(ask(risky, "flag").text) > 1
        assert ask(safe, "route").hlens["status"] == "ok"
        assert ask(risky, "watch").hlens["status"] == "ok"


def test_thresholds_of_a_rate_are_those_of_the_domain(model: Model, detector: Detector) -> None:
    number = Estimate(0.05, 0.0, 0.1, 100)
    rates = {"": -5.0, "sports": 5.0}
    thresholds = [Threshold(0.05, at, number, number, number, name) for name, at in rates.items()]
    offer = Offer(model, "tiny", detectors={"one": replace(detector, thresholds=tuple(thresholds))})
    with serving(offer) as served:
        client = served.client()
        assert own_of(client, policy="flag").hlens["status"] == "flagged"
        assert own_of(client, policy="flag", domain="sports").hlens["status"] == "ok"
        assert own_of(client).hlens["threshold"] == "false-alarms=0.05"
        with pytest.raises(openai.BadRequestError, match="no threshold for a share"):
            own_of(client, policy="flag", threshold="false-alarms=0.2")


# --- What is refused ------------------------------------------------------------------------------

REFUSED: dict[str, tuple[Any, int, str]] = {
    "no json": ("{", 400, "invalid_json"),
    "nothing": ("", 400, "invalid_json"),
    "nan": ('{"model": "tiny", "prompt": "a", "temperature": NaN}', 400, "invalid_json"),
    "deep": ("[" * 50_000, 400, "invalid_json"),
    "a list": ([], 400, "invalid_value"),
    "no prompt": ({"model": "tiny"}, 400, "invalid_value"),
    "no model": ({"prompt": "a"}, 400, "invalid_value"),
    "another model": ({**ASK, "model": "gpt-5", "prompt": "a"}, 404, "model_not_found"),
    "an unknown field": ({**ASK, "prompt": "a", "colour": 1}, 400, "unknown_parameter"),
    "what is not served": ({**ASK, "prompt": "a", "logit_bias": {"5": 1}}, 400, "invalid_value"),
    "half a character": ('{"model": "tiny", "prompt": "\\ud800"}', 400, "invalid_value"),
    "an empty prompt": ({**ASK, "prompt": ""}, 400, "invalid_value"),
    "no prompts": ({**ASK, "prompt": []}, 400, "invalid_value"),
    "prompts of nothing": ({**ASK, "prompt": [{}] * 9000}, 400, "invalid_value"),
    "messages of nothing": ({**ASK, "messages": [0] * 9000}, 400, "invalid_value"),
    "many stop words": ({**ASK, "prompt": "a", "stop": ["x"] * 17}, 400, "invalid_value"),
    "a long stop word": ({**ASK, "prompt": "a", "stop": "x" * 201}, 400, "invalid_value"),
    "log-probabilities": ({**ASK, "prompt": "a", "logprobs": 0}, 400, "invalid_value"),
    "tokens it has not": ({**ASK, "prompt": [5, 99_999]}, 400, "invalid_value"),
    "a temperature": ({**ASK, "prompt": "a", "temperature": -1}, 400, "invalid_value"),
    "too cold": ({**ASK, "prompt": "a", "temperature": 1e-9}, 400, "invalid_value"),
    "a text for a number": ({**ASK, "prompt": "a", "max_tokens": "8"}, 400, "invalid_value"),
    "too many tokens": ({**ASK, "prompt": "a", "max_tokens": 65}, 400, "too_many_tokens"),
    "too many answers": ({**ASK, "prompt": "a", "n": 9}, 400, "too_many_choices"),
    "too many prompts": ({**ASK, "prompt": ["a"] * 9}, 400, "too_many_choices"),
    "too long": ({**ASK, "prompt": "a" * 99_000}, 400, "context_length_exceeded"),
    "too large": ({**ASK, "prompt": "a" * 1_000_000}, 413, "request_too_large"),
    "a policy": ({**ASK, "prompt": "a", "hlens": {"policy": "guess"}}, 400, "policy_not_allowed"),
    "a detector": ({**ASK, "prompt": "a", "hlens": {"detector": "x"}}, 400, "invalid_value"),
    "a threshold": ({**ASK, "prompt": "a", "hlens": {"threshold": "0.5"}}, 400, "invalid_value"),
}


def post(served: Served, body: Any, path: str = "completions", **headers: str) -> httpx.Response:
    content = body if isinstance(body, str) else json.dumps(body)
    head = {"content-type": "application/json", **headers}
    return httpx.post(f"{served.url}/v1/{path}", content=content, headers=head, timeout=60)


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_nonsense_is_refused_in_the_protocols_form(served: Served, name: str) -> None:
    body, status, code = REFUSED[name]
    reply = post(served, body)
    error = reply.json()["error"]
    assert (reply.status_code, error["code"]) == (status, code)
    assert set(error) == {"message", "type", "param", "code"}
    assert len(error["message"].splitlines()) == 1
    assert len(error["message"]) < 2000
    assert not served.desk.held


@pytest.mark.parametrize(
    "messages",
    [
        [],
        [{"role": "tool", "content": "a"}],
        [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "a"}}]}],
        [{"role": "user", "content": None}],
        [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}],
    ],
    ids=["none", "a tool", "a picture", "no text", "the assistant's last"],
)
def test_conversations_that_cannot_be_asked_are_refused(served: Served, messages: Any) -> None:
    reply = post(served, {**ASK, "messages": messages}, "chat/completions")
    assert reply.status_code == 400
    assert "messages" in reply.json()["error"]["message"] or "last message" in reply.text


def test_other_pages_and_ways_are_refused_in_the_protocols_form(served: Served) -> None:
    assert httpx.get(f"{served.url}/nowhere").json()["error"]["code"] == "not_found"
    wrong = httpx.get(f"{served.url}/v1/completions")
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (405, "method_not_allowed")
    form = httpx.post(f"{served.url}/v1/completions", data={"prompt": "a"})
    assert form.status_code == 415


def test_a_body_without_a_length_is_cut_at_the_limit(served: Served) -> None:
    def parts() -> Iterator[bytes]:
        for _ in range(500):
            yield b'"' * 1000

    headers = {"content-type": "application/json"}
    reply = httpx.post(f"{served.url}/v1/completions", content=parts(), headers=headers)
    assert reply.status_code == 413


def test_only_who_knows_the_key_is_answered(model: Model, detector: Detector) -> None:
    offer = Offer(model, "tiny", detectors={"main": detector}, api_key="secret")
    with serving(offer) as served:
        for wrong in ("wrong", "secret2", "SECRET"):
            with pytest.raises(openai.AuthenticationError) as raised:
                served.client(wrong).completions.create(prompt="a", **ASK)
            assert raised.value.code == "invalid_api_key"
        assert post(served, {**ASK, "prompt": "a"}).status_code == 401
        for path in ("v1/models", "v1/models/tiny"):
            assert httpx.get(f"{served.url}/{path}").status_code == 401
        assert httpx.get(f"{served.url}/health").status_code == 200
        assert served.client("secret").completions.create(prompt="a", **ASK).choices[0].text


def test_a_full_queue_is_said_at_once(model: Model, detector: Detector) -> None:
    limits = Limits(new_tokens=400, waiting=2, rows=1)
    with serving(Offer(model, "tiny", detectors={"main": detector}, limits=limits)) as served:
        long = {**ASK, "prompt": "a", "max_tokens": 400}
        held = [threading.Thread(target=post, args=(served, long)) for _ in range(2)]
        for one in held:
            one.start()
        served.wait_until_held(2)
        with pytest.raises(openai.RateLimitError) as raised:
            served.client().completions.create(prompt="a", **ASK)
        assert raised.value.code == "queue_full"
        for one in held:
            one.join()
        assert served.client().completions.create(prompt="a", **ASK).choices[0].text


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"policies": ("guess",)}, "unknown policy 'guess'"),
        ({"policies": ()}, "no policy is allowed"),
        ({"api_key": "gehëim"}, "a key of other characters"),
        ({"threshold": flagging("false-alarms=0.05")}, "no threshold for a share of 0.05"),
        ({"detectors": {}}, "a threshold without a detector"),
        ({"detectors": {}, "policies": ("flag",)}, "a policy without a detector"),
        ({"doses": {"tiny": Dose((), "")}}, "a dose is called 'tiny'"),
    ],
)
def test_an_offer_that_cannot_be_kept_is_refused(
    offer: Offer, change: dict[str, Any], said: str
) -> None:
    with pytest.raises(HlensError, match=said):
        replace(offer, **change)


# --- Many at once ---------------------------------------------------------------------------------


def test_hundreds_at_once_are_neither_lost_nor_mixed_up(
    served: Served, model: Model, detector: Detector
) -> None:
    """Some leave in the middle, some send nonsense, some too much; the others get their own."""
    texts = [f"question {i} about {i * 7919}" for i in range(200)]
    own = [i for i in range(200) if i % 4 != 3]
    prompts = [model.encode(text, chat=False) for text in texts]
    settings = Settings(12, temperature=0.0)
    expected = monitor(model, detector, [prompts[i] for i in own], settings=settings)

    async def ask(client: httpx.AsyncClient, i: int) -> Any:
        body = {**ASK, "max_tokens": 12, "prompt": texts[i], "stream": i % 2 == 0}
        if i % 4 != 3:
            reply = await client.post("/v1/completions", json=body)
            if i % 2:
                return reply.json()["choices"][0]["text"], reply.json()["choices"][0]["hlens"]
            lines = [line[6:] for line in reply.text.split("\n\n") if line]
            assert lines.pop() == "[DONE]"
            chunks = [json.loads(line)["choices"][0] for line in lines]
            return "".join(chunk["text"] for chunk in chunks), chunks[-1]["hlens"]
        if i % 12 == 3:  # leaves after a part
            async with client.stream("POST", "/v1/completions", json=body | {"stream": True}) as s:
                async for _ in s.aiter_bytes():
                    return None
        if i % 12 == 7:
            return (await client.post("/v1/completions", content=b"{" * i)).status_code
        return (
            await client.post("/v1/completions", json=body | {"prompt": "a" * 10**6})
        ).status_code

    async def ask_all() -> list[Any]:
        limits = httpx.Limits(max_connections=200)
        async with httpx.AsyncClient(base_url=served.url, limits=limits, timeout=300) as client:
            return await asyncio.gather(*(ask(client, i) for i in range(200)))

    # In a thread of its own: a browser's tests leave a loop running in this one.
    with ThreadPoolExecutor(1) as other:
        found = other.submit(lambda: asyncio.run(ask_all())).result()
    for i, one in zip(own, expected, strict=True):
        text, said = found[i]
        assert text == one.generation.text, f"request {i} got another's answer"
        assert said["risk"] == pytest.approx(one.probability, abs=1e-5)
    assert {found[i] for i in range(7, 200, 12)} == {415}  # content alone has no type of JSON
    assert {found[i] for i in range(11, 200, 12)} == {413}
    served.wait_until_idle()


def test_who_leaves_ends_the_answer(served: Served) -> None:
    body = {**ASK, "prompt": "a", "max_tokens": 64, "temperature": 1}
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{served.url}/v1/completions", json=body, timeout=0.02)
    served.wait_until_idle(10)


def test_an_engine_that_fails_is_said_to_all(
    model: Model, detector: Detector, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(Offer(model, "tiny", detectors={"main": detector})) as served:

        def fail(self: Any) -> None:
            raise RuntimeError("device lost")

        monkeypatch.setattr("hlens.monitor.requests.Waves.step", fail)
        first = post(served, {**ASK, "prompt": "a"})
        assert first.status_code == 500
        second = post(served, {**ASK, "prompt": "a"})
        assert (second.status_code, second.json()["error"]["code"]) == (503, "stopped")
        assert httpx.get(f"{served.url}/health").status_code == 503
        assert not served.desk.held


def test_answers_that_are_written_end_before_the_server_does(
    model: Model, detector: Detector
) -> None:
    limits = Limits(new_tokens=300)
    with serving(Offer(model, "tiny", detectors={"main": detector}, limits=limits)) as served:
        replies: list[httpx.Response] = []
        body = {**ASK, "prompt": "a", "max_tokens": 300}
        asking = threading.Thread(target=lambda: replies.append(post(served, body)))
        asking.start()
        served.wait_until_held(1)
        served.server.should_exit = True
        asking.join(60)
    assert replies[0].json()["usage"]["completion_tokens"] == 300


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_that_outlasts_the_grace_ends_with_an_error(
    model: Model, detector: Detector, monkeypatch: pytest.MonkeyPatch, stream: bool
) -> None:
    monkeypatch.setattr("hlens.server.app.GRACE", 4)
    monkeypatch.setattr("hlens.server.app.LAST_WORDS", 3)
    step = Waves.step

    def slowly(self: Waves) -> None:
        time.sleep(0.05)
        step(self)

    monkeypatch.setattr(Waves, "step", slowly)
    limits = Limits(new_tokens=900)
    with serving(Offer(model, "tiny", detectors={"main": detector}, limits=limits)) as served:
        replies: list[httpx.Response] = []
        body = {**ASK, "prompt": "a", "max_tokens": 900, "stream": stream}
        asking = threading.Thread(target=lambda: replies.append(post(served, body)))
        asking.start()
        served.wait_until_held(1)
        served.server.should_exit = True
        asking.join(60)
    assert '"stopped"' in replies[0].text
    assert replies[0].status_code == (200 if stream else 503)


def test_who_leaves_while_waiting_is_not_written_for(model: Model, detector: Detector) -> None:
    limits = Limits(new_tokens=400, rows=1)
    with serving(Offer(model, "tiny", detectors={"main": detector}, limits=limits)) as served:
        long = {**ASK, "prompt": "a", "max_tokens": 400}
        first = threading.Thread(target=post, args=(served, long))
        first.start()
        served.wait_until_held(1)
        for _ in range(3):
            with pytest.raises(httpx.ReadTimeout):
                httpx.post(f"{served.url}/v1/completions", json=long, timeout=0.3)
        first.join()
        served.wait_until_idle()
        text = httpx.get(f"{served.url}/metrics").text
    written = 'hlens_tokens_total{kind="completion"} 400.0'
    assert written in text, [line for line in text.splitlines() if "hlens_tokens_total" in line]


def test_numbers_that_overflow_end_one_answer_and_no_other(
    model: Model, detector: Detector, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = [Written(), Written()]
    whole = model.hf.forward

    def forward(*args: Any, **kwargs: Any) -> Any:
        out = whole(*args, **kwargs)
        if len(out.logits) == 2:
            out.logits[1] = float("nan")
        return out

    monkeypatch.setattr(model.hf, "forward", forward)
    asked = [writing(one, [5, 6, 7], Settings(4, 0.0), detector="main") for one in told]
    finish(batcher_of(model, {"main": detector}, {}), asked)
    assert (told[0].ends, told[0].errors) == (["length"], [])
    assert "NaN" in str(told[1].errors[0])


@pytest.mark.parametrize("stream", [False, True])
def test_an_error_of_the_engine_is_no_fault_of_the_client(
    model: Model,
    detector: Detector,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    stream: bool,
) -> None:
    def fail(self: Any, *_: Any) -> None:
        raise HlensError("out of memory at /secret/path")

    monkeypatch.setattr("hlens.monitor.requests.Waves._write", fail)
    with (
        serving(Offer(model, "tiny", detectors={"main": detector})) as served,
        caplog.at_level(logging.INFO, "hlens.server"),
    ):
        reply = post(served, {**ASK, "prompt": "a", "stream": stream})
        for _ in range(10):
            post(served, {**ASK, "prompt": "a"})
        health = httpx.get(f"{served.url}/health")
        text = httpx.get(f"{served.url}/metrics").text
    assert reply.status_code == (200 if stream else 500)
    assert "engine_error" in reply.text
    assert "secret" not in reply.text
    assert any("/secret/path" in record.getMessage() for record in caplog.records)
    assert 'status="500"} 11.0' in text
    assert (health.status_code, health.json()["status"]) == (503, "failing")


def test_a_server_without_a_key_answers_this_machine_only(served: Served) -> None:
    body = {**ASK, "prompt": "a"}
    assert post(served, body, Host="evil.example").status_code == 403
    assert post(served, body, Host="localhost:1").status_code == 200


def test_samples_of_several_prompts_draw_from_seeds_of_their_own(
    client: openai.OpenAI, model: Model, detector: Detector
) -> None:
    asked: Any = {**ASK, "temperature": 1.0, "seed": 3, "prompt": ["ab"] * 4}
    texts = [choice.text for choice in client.completions.create(**asked).choices]
    prompts = [model.encode("ab", chat=False)] * 4
    settings = Settings(8, top_k=0, top_p=1.0)
    expected = monitor(model, detector, prompts, settings=settings, seed=3)
    assert texts == [one.generation.text for one in expected]
    assert len(set(texts)) > 1


def test_log_probabilities_are_streamed_without_tokens(client: openai.OpenAI) -> None:
    bare = {"hlens": {"tokens": False}}
    asked: Any = {"messages": TURNS, **ASK, "logprobs": True, "extra_body": bare}
    whole: Any = client.chat.completions.create(**asked).choices[0].logprobs
    parts = [
        one
        for chunk in client.chat.completions.create(**asked, stream=True)
        for choice in chunk.choices
        if choice.logprobs
        for one in choice.logprobs.content or ()
    ]
    assert [one.logprob for one in parts] == [one.logprob for one in whole.content]


def test_a_fallback_of_a_domain_is_said(client: openai.OpenAI) -> None:
    assert own_of(client, domain="law").hlens["read_as"] == "all domains together"
    assert "read_as" not in own_of(client).hlens


# --- Thoughts -------------------------------------------------------------------------------------


class Scripted(Batcher):
    """Writes a text, each token of which gets the score that is given for it."""

    def __init__(self, model: Model, detector: Detector, text: str, scores: dict[str, float]):
        self.model, self.detector = model, detector
        self.ids = model.encode_words(text)
        self.scores = [scores.get(character, 0.0) for character in text]
        self.waiting: list[Any] = []

    def add(self, asked: Any) -> None:
        self.waiting.append(asked)

    @property
    def busy(self) -> bool:
        return bool(self.waiting)

    def step(self) -> None:
        asked, answer, reason = self.waiting.pop(), Answer(0), None
        for token, score in zip(self.ids, self.scores, strict=True):
            answer.tokens.append(token)
            reason = assess(
                self.model,
                self.detector,
                answer,
                score,
                asked.prompt,
                lambda answer, risk: asked.on_token(risk, -1.0),
            )
            if reason:
                break
        asked.on_end(reason or "stop")


def thinking(
    model: Model,
    detector: Detector,
    monkeypatch: pytest.MonkeyPatch,
    text: str,
    scores: dict[str, float],
    **asked: Any,
) -> Any:
    """What becomes of a reply of this text, at once and as a stream."""
    monkeypatch.setattr(
        "hlens.server.app.batcher_of", lambda *_, **__: Scripted(model, detector, text, scores)
    )
    with serving(Offer(model, "tiny", detectors={"main": detector})) as served:
        body = {**ASK, "messages": TURNS, "hlens": asked}
        whole = post(served, body, "chat/completions").json()["choices"][0]
        lines = post(served, body | {"stream": True}, "chat/completions").text.split("\n\n")
    chunks = [json.loads(line[6:])["choices"][0] for line in lines if line.startswith("data: {")]
    for name in ("content", "reasoning_content"):
        said = "".join(chunk["delta"].get(name) or "" for chunk in chunks)
        assert said == whole["message"].get(name, "")
    assert chunks[-1]["hlens"]["status"] == whole["hlens"]["status"]
    return whole


def test_a_tag_of_several_tokens_opens_a_thought(
    model: Model, detector: Detector, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, own = "<think>hm</think>Lyon", {"policy": "stop", "threshold": "risk=0.9"}
    whole = thinking(model, detector, monkeypatch, text, {"L": 1.0}, **own)
    assert whole["message"]["content"] == "Lyon"
    assert whole["message"]["reasoning_content"] == "<think>hm</think>"
    assert whole["hlens"]["score"] == pytest.approx(0.25)
    are_thought = [token.get("thought", False) for token in whole["hlens"]["tokens"]]
    assert are_thought == [True] * 17 + [False] * 4


def test_what_only_begins_like_a_tag_is_text(
    model: Model, detector: Detector, monkeypatch: pytest.MonkeyPatch
) -> None:
    for text in ("<thin ice", "<thi"):
        whole = thinking(model, detector, monkeypatch, text, {})
        assert whole["message"]["content"] == text
        assert "reasoning_content" not in whole["message"]


def test_a_thought_that_is_cut_off_has_no_risk(
    model: Model, detector: Detector, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = thinking(model, detector, monkeypatch, "<think>hm", {"h": 99.0}, policy="abstain")
    assert whole["hlens"]["risk"] is None
    assert whole["hlens"]["status"] == "ok"
    assert whole["message"]["reasoning_content"] == "<think>hm"


# --- What is written down -------------------------------------------------------------------------


def test_the_log_holds_numbers_and_no_text(
    served: Served, client: openai.OpenAI, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "hlens.server"):
        reply = client.completions.create(prompt="my secret\x1b[31m", **ASK)
        post(served, {**ASK, "prompt": "another secret", "colour": "red\n"})
    said = [record.getMessage() for record in caplog.records if record.name == "hlens.server"]
    assert len(said) == 2
    answered, refused = map(json.loads, said)
    assert "secret" not in "".join(said)
    assert reply.choices[0].text not in said[0]
    assert answered["answers"][0]["risk"] == reply.choices[0].hlens["risk"]  # type: ignore
    assert (refused["event"], refused["code"]) == ("refused", "unknown_parameter")


def test_texts_are_logged_where_the_operator_wants_them(
    offer: Offer, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        serving(replace(offer, log_text=True)) as served,
        caplog.at_level(logging.INFO, "hlens.server"),
    ):
        served.client().completions.create(prompt="my question", **ASK)
    assert any("my question" in record.getMessage() for record in caplog.records)


def test_counters_are_those_of_the_answers(model: Model, detector: Detector) -> None:
    with serving(Offer(model, "tiny", detectors={"main": detector})) as served:
        client = served.client()
        for _ in range(3):
            client.completions.create(prompt="abc", **ASK)
        post(served, "{")
        text = httpx.get(f"{served.url}/metrics").text
    assert 'hlens_answers_total{detector="main",status="ok"} 3.0' in text
    assert 'hlens_tokens_total{kind="completion"} 24.0' in text
    assert 'hlens_tokens_total{kind="prompt"} 9.0' in text
    assert 'hlens_requests_total{path="/v1/completions",status="400"} 1.0' in text


# --- Text, piece by piece -------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["plain", "naïve — 日本語 🦜", "e\u0301", "a\ufffdb", "\ufffd"])
@pytest.mark.parametrize("slow", [False, True])
def test_pieces_are_whole_characters_and_together_the_text(text: str, slow: bool) -> None:
    tokenizer: Any = byte_tokenizer()
    ids = tokenizer(text, add_special_tokens=False).input_ids

    class Slow:
        def decode(self, ids: list[int], **options: Any) -> str:
            return tokenizer.decode(ids, **options)

    decoder = Decoder(Slow() if slow else tokenizer)
    pieces = [decoder.add(token) for token in ids]
    pieces.append(decoder.rest())
    assert "".join(pieces) == text


def test_a_character_that_never_becomes_whole_is_given_at_the_end() -> None:
    tokenizer: Any = byte_tokenizer()
    ids = tokenizer("日", add_special_tokens=False).input_ids[:2]
    decoder = Decoder(tokenizer)
    given = "".join([*map(decoder.add, ids), decoder.rest()])
    assert given == tokenizer.decode(ids)


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_a_stop_word_is_found_however_it_is_cut(size: int) -> None:
    text, words = "abcabdabe. The end", ["abe", "zz", "abdabx"]
    stopper = Stopper(words)
    given = "".join(stopper.add(text[i : i + size]) for i in range(0, len(text), size))
    assert given == "abcabd"
    assert stopper.met
    spared = Stopper(["endless"])
    given = "".join(spared.add(text[i : i + size]) for i in range(0, len(text), size))
    assert given + spared.rest() == text
    assert not spared.met


def test_the_package_has_its_page() -> None:
    from hlens import server

    assert (Path(server.__file__).parent / "page.html").is_file()


# --- The command ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, model: Model, detector: Detector) -> Path:
    """A folder with a model, a detector of it and a dose."""
    home = tmp_path_factory.mktemp("served")
    model.hf.save_pretrained(home / "tiny")
    byte_tokenizer().save_pretrained(home / "tiny")
    save_detector(detector, home / "watcher")
    neurons = NeuronSet(frozenset(MEMBERS), model.n_layers, model.d_mlp)
    iv.adapter(model, neurons, iv.scale(3.0), home / "alpha-3")
    return home


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ([], "nothing says which model"),
        (["--model", "tiny", "--host", "0.0.0.0"], "reached by others, and there is no key"),
        (["--model", "tiny", "--host", ""], "reached by others, and there is no key"),
        (["--model", "tiny", "--policy", "guess"], "unknown policy 'guess'"),
        (["--model", "tiny", "--threshold", "0.5"], "threshold '0.5'; expected"),
        (["--model", "tiny", "--threshold", "risk=0.5"], "a threshold without a detector"),
        (["--model", "tiny", "--max-tokens", "0"], "new_tokens=0"),
        (["--model", "tiny", "--detector", "nowhere.safetensors"], "nowhere"),
        (["--model", "tiny", "--adapter", "tiny"], "tiny"),
        (
            ["--model", "tiny", "--detector", "a=watcher.safetensors", "--detector", "a=watcher"],
            "two",
        ),
        (["--model", "tiny", "--adapter", "tiny=alpha-3"], "a dose is called 'tiny'"),
    ],
    ids=lambda value: " ".join(value[2:])[:40] or "nothing" if isinstance(value, list) else "",
)
def test_a_mistake_of_the_operator_is_one_line(
    home: Path, monkeypatch: pytest.MonkeyPatch, asked: list[str], said: str
) -> None:
    from typer.testing import CliRunner

    from hlens.cli.app import app

    monkeypatch.chdir(home)
    monkeypatch.delenv("HLENS_API_KEY", raising=False)
    with pytest.raises(HlensError) as raised:
        CliRunner().invoke(app, ["serve", *asked], catch_exceptions=False)
    assert said in str(raised.value)


def test_a_study_is_served_by_its_own_engine() -> None:
    tensor = {"tensor_parallel_size": 2}
    of_vllm = Recipe(model="m", engine=EngineRecipe("vllm", tensor))
    found = {"engine": "vllm", "engine_options": tensor}
    assert _engine_of(of_vllm, None, []) == found
    assert _engine_of(of_vllm, "local", []) == {}
    workers = {"engine": "vllm", "engine_options": tensor}
    assert _engine_of(Recipe(model="m", engine=EngineRecipe("ray", workers)), None, []) == found
    assert _engine_of(Recipe(model="m", engine=EngineRecipe("ray")), None, []) == {}
    assert _engine_of(None, None, []) == {}


def test_the_command_serves_what_it_is_given(home: Path, detector: Detector) -> None:
    asked = [
        "serve",
        "--detector",
        "main=watcher",
        "--model",
        "tiny",
        "--adapter",
        "triple=alpha-3",
    ]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    env = {**os.environ, "HLENS_API_KEY": "secret"}
    command = [sys.executable, "-m", "hlens", *asked, "--port", str(port)]
    process = subprocess.Popen(command, cwd=home, env=env, stderr=subprocess.PIPE, text=True)
    try:
        client = openai.OpenAI(
            base_url=f"http://127.0.0.1:{port}/v1", api_key="secret", max_retries=60
        )
        with client:
            assert [one.id for one in client.models.list()] == ["tiny", "triple"]
            reply = client.completions.create(prompt="Emma", **{**ASK, "model": "triple"})
            assert reply.choices[0].hlens["detector"] == "main"  # type: ignore[attr-defined]
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=60)
    finally:
        process.kill()
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    assert [line["event"] for line in lines] == ["serving", "answered"]
    assert process.returncode in (0, -signal.SIGTERM)
