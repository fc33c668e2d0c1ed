"""The shared pass agrees with the plain model, one at a time; samples go on as they began."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

import architectures
import hlens
from hlens import metrics
from hlens.baselines import gather, p_true
from hlens.baselines._reading import Readings, in_one_pass, middle_layer, read
from hlens.contributions import Ask, measure
from hlens.errors import HlensError
from hlens.model import (
    Model,
    Settings,
    can_share_prefixes,
    layer_blocks,
    next_token_logprobs,
)
from hlens.sampling import sample, sample_more
from hlens.types import Contributions, Example, Question, Response
from tiny_study import tiny_model

SETTINGS = Settings(max_new_tokens=6)


def sequences(
    n: int = 6, answers: int = 2, n_answer: int = 5, common: int = 0, seed: int = 0
) -> list[Example]:
    """Random tokens; the answers of a question share its prompt, and lie inside the response."""
    draw = torch.Generator().manual_seed(seed)
    beginning = torch.randint(3, architectures.VOCAB, (common,), generator=draw)
    found = []
    for question in range(n):
        own = torch.randint(3, architectures.VOCAB, (4 + 3 * question,), generator=draw)
        prompt = torch.cat([beginning, own])
        for at in range(answers):
            tail = torch.randint(3, architectures.VOCAB, (n_answer + at,), generator=draw)
            start = len(prompt) + at
            found.append(
                Example(
                    token_ids=torch.cat([prompt, tail]),
                    n_prompt=len(prompt),
                    start=start,
                    stop=start + 3,
                    hallucinated=bool(at % 2),
                    question_id=f"q{question}",
                    group=f"q{question}",
                    domain="random",
                    sample=at,
                )
            )
    return found


def oracle(model: Model, example: Example) -> dict[str, Any]:
    """The same readings from Hugging Face's own outputs."""
    hf, ids = model.hf, example.token_ids[None]
    before = hf.config._attn_implementation
    hf.set_attn_implementation("eager")
    # Where an architecture cannot be switched (Falcon), its attentions are asked for in vain: it
    # would compute them without a causal mask.
    heard = hf.config._attn_implementation == "eager"
    with torch.no_grad():
        out = hf(ids, output_hidden_states=True, output_attentions=heard)
    hf.set_attn_implementation(before)
    span = slice(example.start, example.stop)
    logprobs = out.logits[0, example.start - 1 : example.stop - 1].log_softmax(-1)
    states = torch.stack(out.hidden_states[1:])[:, 0, span]
    found = {
        "logprobs": logprobs.gather(1, ids[0, span, None])[:, 0],
        "entropies": torch.distributions.Categorical(logits=logprobs).entropy(),
        "residual": states.mean(1),
        "residual_last": states[:, -1],
    }
    if heard:
        found["lookback"] = torch.stack([lookback(w[0], example) for w in out.attentions])
    return found


def lookback(weights: torch.Tensor, example: Example) -> torch.Tensor:
    """Chuang et al. 2024, eq. 1, word for word, mean over the span: one ratio a head."""
    ratios = []
    for token in range(example.start, example.stop):
        to_prompt = weights[:, token, : example.n_prompt].mean(-1)
        to_own = weights[:, token, example.n_prompt : token + 1].mean(-1)
        ratios.append(to_prompt / (to_prompt + to_own))
    return torch.stack(ratios).mean(0)


def check(model: Model, examples: list[Example], found: Readings) -> None:
    for row, example in enumerate(examples):
        expected = oracle(model, example)
        last = expected["residual"].shape[0] - 1  # Hugging Face norms the last one, hlens does not
        for name in ("logprobs", "entropies"):
            got = torch.tensor(getattr(found, name)[row])
            torch.testing.assert_close(got, expected[name], atol=2e-5, rtol=1e-4)
        for name in ("residual", "residual_last"):
            got = getattr(found, name)[row]
            torch.testing.assert_close(got[:last], expected[name][:last], atol=2e-5, rtol=1e-4)
            assert float(got[last].abs().max()) > 0
        if "lookback" in expected:
            assert found.lookback is not None
            torch.testing.assert_close(found.lookback[row], expected["lookback"], atol=1e-5, rtol=0)


def test_the_pass_agrees_with_hugging_face_in_every_architecture(
    any_architecture: nn.Module,
) -> None:
    model = hlens.load((any_architecture, None))
    before = model.hf.config._attn_implementation
    for examples in (sequences(), sequences(4, common=20)):
        check(model, examples, read(model, examples, [], lookback=True))
    assert model.hf.config._attn_implementation == before


def test_the_last_layer_is_the_stream_before_the_final_norm(tiny_llama: nn.Module) -> None:
    model = hlens.load((tiny_llama, None))
    examples = sequences(2)
    found = read(model, examples, [], lookback=False)
    for row, example in enumerate(examples):
        with torch.no_grad():
            normed = model.body(example.token_ids[None]).last_hidden_state[0, example.stop - 1]
            own = tiny_llama.model.norm(found.residual_last[row, -1])  # pyright: ignore
        torch.testing.assert_close(own, normed, atol=1e-5, rtol=1e-4)


def test_examples_read_the_same_beside_samples_and_alone(tiny_llama: nn.Module) -> None:
    model = hlens.load((tiny_llama, None))
    examples, others = sequences(), sequences(n_answer=9)[::-1]
    whole = read(model, examples, others, lookback=True)
    check(model, examples, whole)
    states = [oracle(model, other)["residual_last"][middle_layer(model)] for other in others]
    torch.testing.assert_close(whole.sample_states, torch.stack(states), atol=2e-5, rtol=1e-4)
    measured = measure(model, examples, metric=metrics.activation)
    torch.testing.assert_close(whole.activations.values, measured.values, atol=1e-5, rtol=1e-4)
    assert torch.equal(whole.activations.labels, measured.labels)


def test_samples_are_run_to_the_middle_layer_and_no_further(tiny_llama: nn.Module) -> None:
    model = hlens.load((tiny_llama, None))
    examples, others = sequences(3), sequences(3, n_answer=9)
    ran: dict[int, int] = {}
    hooks = [
        block.register_forward_pre_hook(
            lambda module, args, layer=layer: ran.update(
                {layer: ran.get(layer, 0) + args[0].shape[0]}
            )
        )
        for layer, block in enumerate(layer_blocks(model))
    ]
    read(model, examples, [], lookback=False)
    alone = dict(ran)
    read(model, examples, others, lookback=False)
    for hook in hooks:
        hook.remove()
    middle = middle_layer(model)
    assert ran[middle] - alone[middle] > ran[middle + 1] - alone[middle + 1]
    again = read(model, examples, [], lookback=True)  # nothing of the shortened pass is left
    check(model, examples, again)


def test_other_tokens_are_measured_in_the_same_pass(tiny_llama: nn.Module) -> None:
    model = hlens.load((tiny_llama, None))
    examples = sequences(6, common=20)
    asks = [
        Ask(metrics.cett, "response"),
        Ask(metrics.cett, "answer", reduce="max", position="predicted"),
        Ask(metrics.activation, "response", reduce="last"),
    ]
    assert all(in_one_pass(ask, examples) for ask in asks)
    found = read(model, examples, sequences(n_answer=9), lookback=True, also=asks)
    check(model, examples, found)
    for ask, values in zip(asks, found.measured, strict=True):
        alone = measure(
            model,
            examples,
            metric=ask.metric,
            region=ask.region,
            reduce=ask.reduce,
            position=ask.position,
        )
        torch.testing.assert_close(values.values, alone.values, atol=1e-5, rtol=1e-4)
        assert values.region == alone.region
    assert not in_one_pass(Ask(metrics.cett, "prompt"), examples)
    assert not in_one_pass(Ask(metrics.gradient_x_activation, "answer"), examples)


@pytest.mark.parametrize("answers", [1, 2])
def test_what_all_begin_with_is_run_once(tiny_llama: nn.Module, answers: int) -> None:
    model = hlens.load((tiny_llama, None))
    examples = sequences(6, answers, common=40)
    assert can_share_prefixes(model, max(example.stop for example in examples))  # a pass of its own
    ran: list[int] = []
    hook = model.body.register_forward_pre_hook(
        lambda body, args, kwargs: ran.append(kwargs["input_ids"].numel()), with_kwargs=True
    )
    found = read(model, examples, [], lookback=True)
    hook.remove()
    assert sum(ran) < 0.6 * sum(example.stop for example in examples)
    check(model, examples, found)


def test_the_next_token_of_each_prompt(any_architecture: nn.Module) -> None:
    model = hlens.load((any_architecture, None))
    for common in (0, 7):
        prompts = [e.token_ids[: e.n_prompt].tolist() for e in sequences(5, 1, common=common)]
        found = torch.empty(5, architectures.VOCAB)
        for batch, logprobs in next_token_logprobs(model, prompts, tokens=30):
            found[batch] = logprobs
        for row, prompt in enumerate(prompts):
            with torch.no_grad():
                expected = model.hf(torch.tensor([prompt])).logits[0, -1].log_softmax(-1)
            torch.testing.assert_close(found[row], expected, atol=2e-5, rtol=1e-4)


def test_a_batch_that_does_not_fit_is_halved(
    tiny_llama: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = hlens.load((tiny_llama, None))
    examples = sequences()
    expected = read(model, examples, [], lookback=False)
    forward = model.hf.forward

    def small(*args: Any, **kwargs: Any) -> Any:
        if len(kwargs["input_ids"]) > 3:
            raise torch.OutOfMemoryError("out of memory")
        return forward(*args, **kwargs)

    monkeypatch.setattr(model.hf, "forward", small)
    with pytest.warns(ResourceWarning, match="out of memory with .* going on with at most"):
        found = read(model, examples, [], lookback=False)
    torch.testing.assert_close(found.residual, expected.residual)


@pytest.fixture(scope="module")
def model() -> Model:
    return tiny_model()


def questions(n: int = 5, context: str = "") -> list[Question]:
    return [Question(str(i), "d", f"Number {i}?", ("x",), context=context) for i in range(n)]


def located(model: Model, responses: list[Response]) -> tuple[list[Example], Contributions]:
    """The first sample of each question that says something, whole, labels in turn."""
    kept = {r.question.id: r for r in reversed(responses) if len(r.token_ids) > r.n_prompt}
    examples = [
        Example(
            torch.tensor(r.token_ids), r.n_prompt, r.n_prompt, len(r.token_ids), bool(i % 2), key,
            r.question.group, r.question.domain, r.sample,
        )
        for i, (key, r) in enumerate(kept.items())
    ]  # fmt: skip
    return examples, measure(model, examples)


def test_further_samples_are_those_of_a_longer_run(model: Model) -> None:
    short = sample(model, questions(), n=2, seed=3, settings=SETTINGS)
    long = sample(model, questions(), n=5, seed=3, settings=SETTINGS)
    added = sample_more(model, short, n=5, seed=3, settings=SETTINGS)
    by_place = {(r.question.id, r.sample): r for r in [*short, *added]}
    assert len(by_place) == len(long) == len(short) + len(added)
    for response in long:
        twin = by_place[response.question.id, response.sample]
        assert (twin.text, twin.seed, twin.token_ids) == (
            response.text,
            response.seed,
            response.token_ids,
        )
    assert sample_more(model, long, n=5, seed=3, settings=SETTINGS) == []


def test_further_samples_of_a_completion_end_at_their_first_newline(model: Model) -> None:
    long = Settings(max_new_tokens=60)  # bytes of noise, a newline among them now and then
    short = sample(model, questions(8), n=1, settings=long, style="completion")
    found = sample_more(model, short, n=3, settings=replace(long, until_newline=True))
    whole = sample_more(model, short, n=3, settings=long)
    assert not any("\n" in response.text for response in found)
    assert any("\n" in response.text for response in whole)


def test_evidence_stands_in_the_order_of_the_contributions(model: Model) -> None:
    responses = sample(model, questions(context="Once."), n=3, settings=SETTINGS)
    examples, data = located(model, responses)
    steps: set[str] = set()
    found = gather(
        model, examples, responses, data, samples=3, settings=SETTINGS,
        progress=lambda step, done, total: steps.add(step),
    )  # fmt: skip
    assert steps == {"sample", "read", "ask"}
    own = {(r.question.id, r.sample): r for r in responses}
    for row, example in enumerate(examples):
        response = own[example.question_id, example.sample]
        assert found.responses[row] == response.text
        assert found.contexts[row] == "Once."
        assert len(found.logprobs[row]) == len(example.token_ids) - example.n_prompt
        torch.testing.assert_close(
            torch.tensor(found.logprobs[row]), torch.tensor(response.logprobs), atol=1e-4, rtol=1e-4
        )
    asks = {"p": Ask(metrics.cett, "prompt"), "r": Ask(metrics.cett, "response")}
    beside = gather(model, examples, responses, data, samples=0, ask=False, also=asks).measured
    assert list(beside) == ["p", "r"]
    for name, ask in asks.items():  # the first in a pass of its own
        alone = measure(model, examples, metric=ask.metric, region=ask.region)
        torch.testing.assert_close(beside[name].values, alone.values, atol=1e-5, rtol=1e-4)
    turned = list(range(len(examples)))[::-1]
    back = gather(
        model, [examples[i] for i in turned], responses, data.select(turned), samples=3,
        settings=SETTINGS,
    )  # fmt: skip
    torch.testing.assert_close(back.residual, found.residual[turned])
    torch.testing.assert_close(back.p_true, found.p_true[turned])
    assert back.samples == tuple(found.samples[i] for i in turned)


def test_the_examples_own_answer_is_not_among_its_samples(model: Model) -> None:
    responses = sample(model, questions(3), n=4, settings=SETTINGS)
    examples, data = located(model, responses)
    found = gather(model, examples, responses, data, samples=3, ask=False)
    for row, example in enumerate(examples):
        others = [
            r
            for r in responses
            if r.question.id == example.question_id and r.sample != example.sample
        ]
        assert found.sample_logprobs[row] == tuple(sum(r.logprobs) for r in others)
    assert found.p_true is None
    assert "was not asked" in found.why_not["p_true"]


def test_a_model_that_cannot_be_asked_costs_that_rival_alone(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(p_true, "FALSE", p_true.TRUE)  # as if both words began alike
    responses = sample(model, questions(3), n=3, settings=SETTINGS)
    examples, data = located(model, responses)
    found = gather(model, examples, responses, data, samples=1)
    assert found.p_true is None
    assert "begins 'True' and 'False' with one token" in found.why_not["p_true"]
    assert found.residual is not None


def test_greedy_samples_are_none(model: Model) -> None:
    greedy = replace(SETTINGS, temperature=0.0)
    responses = sample(model, questions(3), n=3, settings=greedy)
    examples, data = located(model, responses)
    found = gather(model, examples, responses, data, samples=4, settings=greedy, ask=False)
    assert all(len(set(row)) > 1 for row in found.samples)
    assert all(len(row) == 4 for row in found.samples)


def test_what_does_not_fit_is_named(model: Model) -> None:
    responses = sample(model, questions(3), n=2, settings=SETTINGS)
    examples, data = located(model, responses)
    with pytest.raises(HlensError, match="another order"):
        gather(model, examples[::-1], responses, data)
    with pytest.raises(HlensError, match="no response to question"):
        gather(model, examples, responses[:1], data)
    kept = [r for r in responses if r.sample == examples[0].sample]
    last = [replace(r, sample=9) for r in kept]  # as if nine others had been thrown away
    gone = [replace(e, sample=9) for e in examples]
    with pytest.raises(HlensError, match="no other sample of question"):
        gather(model, gone, last, data, samples=4)


def test_options_belong_to_the_question(model: Model) -> None:
    asked = [Question("1", "d", "Which one?", ("b",), choices=("a", "b"), context="Long ago.")]
    responses = sample(model, asked, n=2, settings=SETTINGS)
    examples, data = located(model, responses)
    found = gather(model, examples, responses, data, samples=1, ask=False)
    assert found.questions == ("Which one?\nA. a\nB. b",)
