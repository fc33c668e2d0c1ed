"""measure equals the formula taken by hand, however the examples are batched, padded or shared."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

import architectures
import hlens.model
from hlens import metrics
from hlens.contributions import REGIONS, measure, measure_many
from hlens.errors import HlensError
from hlens.model import Model
from hlens.types import Example, MlpTrace


def example(seed: int, n_prompt: int = 9, n_response: int = 7, **fields: Any) -> Example:
    draw = torch.Generator().manual_seed(seed)
    tokens = torch.randint(3, architectures.VOCAB, (n_prompt + n_response,), generator=draw)
    start = n_prompt + 2
    known: dict[str, Any] = {
        "token_ids": tokens,
        "n_prompt": n_prompt,
        "start": start,
        "stop": min(start + 3, n_prompt + n_response),
        "hallucinated": seed % 2 == 0,
        "question_id": f"q{seed}",
        "group": f"g{seed}",
        "domain": "tiny",
    }
    return Example(**known | fields)


# What every example has; thoughts are in test_thoughts.
OF_ALL = [region for region in REGIONS if region != "thought"]


def several(n: int = 7) -> list[Example]:
    """Examples of many lengths, some longer than the tiny models' sliding window."""
    return [example(i, n_prompt=4 + 5 * (i % 4), n_response=4 + 3 * (i % 3)) for i in range(n)]


_MODELS: dict[str, Model] = {}


@pytest.fixture(params=sorted(architectures.DENSE))
def model(request: pytest.FixtureRequest) -> Model:
    return tiny(request.param)


def tiny(name: str) -> Model:
    """One model an architecture; no test changes it."""
    if name not in _MODELS:
        _MODELS[name] = hlens.model.load((architectures.DENSE[name](), None))
    return _MODELS[name]


def positions(item: Example, region: str) -> list[int]:
    every = range(len(item.token_ids))
    answer = range(item.start, item.stop)
    return {
        "answer": list(answer),
        "response": [t for t in every if t >= item.n_prompt],
        "prompt": [t for t in every if t < item.n_prompt],
        "other": [t for t in every if t not in answer],
        "response_other": [t for t in every if t >= item.n_prompt and t not in answer],
        "last_prompt": [item.n_prompt - 1],
        "first_answer": [item.start],
    }[region]


def traced(model: Model, item: Example) -> Tensor:
    """CETT of every token, ``[layer, pos, neuron]``: whole forward pass, hooks of its own."""
    seen: list[tuple[Tensor, Tensor]] = []
    hooks = [
        # Parallel blocks (Falcon) add to the output in place afterwards.
        module.register_forward_hook(lambda m, a, o: seen.append((a[0][0].clone(), o[0].clone())))
        for module in model.down_projections
    ]
    with torch.no_grad():
        model.hf(item.token_ids[None])
    for hook in hooks:
        hook.remove()
    return torch.stack(
        [
            act.abs() * model.w_out(layer).norm(dim=1) / out.norm(dim=1, keepdim=True)
            for layer, (act, out) in enumerate(seen)
        ]
    )


def by_hand(model: Model, items: list[Example], region: str = "answer") -> Tensor:
    """Mean CETT of each example, the formula and the region spelt out."""
    rows = [traced(model, item)[:, positions(item, region)].mean(1) for item in items]
    return torch.stack(rows)


def close(a: Tensor, b: Tensor, limit: float = 1e-5) -> None:
    torch.testing.assert_close(a, b, rtol=limit, atol=limit)


def test_cett_equals_the_formula_by_hand(model: Model) -> None:
    items = several()
    data = measure(model, items, metric=metrics.cett)
    close(data.values, by_hand(model, items))


def test_neuron_major_is_a_view() -> None:
    data = measure(tiny("llama"), several(3), metric=metrics.cett)
    assert data.values.permute(1, 2, 0).is_contiguous()
    assert data.neuron_major.data_ptr() == data.values.data_ptr()


def test_every_region_equals_the_formula_by_hand() -> None:
    model, items = tiny("llama"), several()
    found = measure_many(model, items, metrics=[metrics.cett], regions=OF_ALL)
    for region in OF_ALL:
        close(found["cett", region].values, by_hand(model, items, region))


def sharing(n: int = 3, n_prompt: int = 9, common: int = 0) -> list[Example]:
    """Several answers of several lengths to each of `n` prompts, and one lone example.

    All of them begin with `common` tokens, as a chat template does.
    """
    return [begun(item, common) for item in apart(n, n_prompt)]


def begun(item: Example, common: int) -> Example:
    tokens = torch.cat([example(7, common).token_ids[:common], item.token_ids])
    places = {name: getattr(item, name) + common for name in ("n_prompt", "start", "stop")}
    return replace(item, token_ids=tokens, **places)


def apart(n: int, n_prompt: int) -> list[Example]:
    items = [example(99, 4, 7)]
    for question in range(n):
        first = example(question, n_prompt + 2 * question, n_response=8)
        prompt = first.token_ids[: first.n_prompt]
        for answer in range(4):
            other = example(50 + 10 * question + answer, first.n_prompt, 4 + 2 * answer)
            response = other.token_ids[other.n_prompt :]
            items.append(replace(other, token_ids=torch.cat([prompt, response])))
    return items


@pytest.mark.parametrize("reduce", ["mean", "max", "last", "first"])
@pytest.mark.parametrize("position", ["read", "predicted"])
@pytest.mark.parametrize("metric", [metrics.cett, metrics.projection], ids=["cett", "projection"])
def test_every_reduction_of_every_position(reduce: Any, position: Any, metric: Any) -> None:
    model, items = tiny("gpt2"), several()
    found = measure_many(
        model, items, metrics=[metric], regions=OF_ALL, reduce=reduce, position=position
    )
    for row, item in enumerate(items):
        with torch.inference_mode():
            _, cache = model.run_with_cache(item.token_ids[None])
        for layer in range(model.n_layers):
            value = metric(MlpTrace.from_cache(cache, model.bridge, layer))[0]
            for region in OF_ALL:
                at = [t - (position == "predicted") for t in positions(item, region)]
                chosen = value[[t for t in at if t >= 0]]
                expected = {
                    "mean": chosen.mean(0),
                    "max": chosen.amax(0),
                    "last": chosen[-1],
                    "first": chosen[0],
                }[reduce]
                close(found[metric.__name__, region].values[row, layer], expected)


@pytest.mark.parametrize("name", ["llama", "gpt2", "gpt_neox", "gemma2", "falcon"])
def test_a_left_padded_run_of_the_plain_model_agrees(name: str) -> None:
    model, item = tiny(name), example(1)
    data = measure(model, [item], metric=metrics.cett)
    pad, n = 5, len(item.token_ids)
    ids = torch.cat([torch.zeros(pad, dtype=torch.long), item.token_ids])[None]
    mask = torch.cat([torch.zeros(pad), torch.ones(n)]).long()[None]
    places = torch.cat([torch.zeros(pad), torch.arange(n)]).long()[None]
    seen: list[Tensor] = []
    hook = model.down_projections[2].register_forward_hook(
        lambda m, a, o: seen.extend([a[0][0].clone(), o[0].clone()])
    )
    with torch.no_grad():
        model.hf(ids, attention_mask=mask, position_ids=places)
    hook.remove()
    value = metrics.cett(MlpTrace(seen[0], seen[1], model.w_out(2)))
    answer = value[pad + item.start : pad + item.stop].mean(0)
    close(data.values[0, 2], answer)


def test_a_metric_of_ones_own_is_a_plain_function() -> None:
    def largest(mlp: MlpTrace) -> Tensor:
        return mlp.act.square()

    data = measure(tiny("llama"), several(3), metric=largest, region="other")
    assert data.metric == "largest"
    plain = measure(tiny("llama"), several(3), metric=metrics.activation, region="first_answer")
    squared = measure(tiny("llama"), several(3), metric=largest, region="first_answer")
    close(squared.values, plain.values.square())


def test_what_is_kept_of_the_examples() -> None:
    items = several(3)
    data = measure(tiny("llama"), items, reduce="max")
    assert data.labels.tolist() == [True, False, True]
    assert data.groups == ("g0", "g1", "g2")
    assert data.n_tokens.tolist() == [item.stop - item.start for item in items]
    assert (data.metric, data.region) == ("signed_cett", "answer:max")
    assert data.provenance == tiny("llama").provenance


def test_half_precision_is_that_of_the_result_only() -> None:
    items = several(4)
    whole, half = (measure(tiny("llama"), items, dtype=d) for d in (torch.float32, torch.float16))
    assert torch.equal(whole.values.half(), half.values)


def test_sums_are_float32_in_a_bfloat16_model() -> None:
    low = hlens.model.load((architectures.llama().bfloat16(), None))
    long = [example(3, n_prompt=200, n_response=20)]
    data = measure(low, long, metric=metrics.cett, region="prompt")
    seen: list[Tensor] = []
    hook = low.down_projections[1].register_forward_hook(
        lambda m, a, o: seen.extend([a[0][0].float(), o[0].float()])
    )
    with torch.no_grad():
        low.hf(long[0].token_ids[None])
    hook.remove()
    act, out = seen
    value = act.abs() * low.w_out(1).float().norm(dim=1) / out.norm(dim=1, keepdim=True)
    close(data.values[0, 1], value[:200].mean(0), 1e-5)


# What does not fit, or cannot be measured


def test_out_of_memory_halves_the_batch_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    model, items = tiny("llama"), [*several(8), *sharing()]
    expected = measure(model, items)
    body = type(model.body)
    forward = body.forward

    def tight(self: Any, input_ids: Tensor, **rest: Any) -> Any:
        if input_ids.numel() > 60:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return forward(self, input_ids=input_ids, **rest)

    monkeypatch.setattr(body, "forward", tight)
    done: list[tuple[int, int]] = []
    with pytest.warns(ResourceWarning, match="out of memory with .* going on with at most"):
        data = measure(model, items, progress=lambda *counts: done.append(counts))
    close(data.values, expected.values)
    assert done[-1] == (len(items), len(items))


def test_one_example_that_does_not_fit_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(self: Any, **rest: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(type(tiny("mistral").body), "forward", never)
    with pytest.raises(torch.OutOfMemoryError):
        measure(tiny("mistral"), several(1))


def test_other_errors_are_not_taken_for_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Any, **rest: Any) -> Any:
        raise RuntimeError("index out of range")

    monkeypatch.setattr(type(tiny("mistral").body), "forward", broken)
    with pytest.raises(RuntimeError, match="index out of range"):
        measure(tiny("mistral"), several(4))


def test_what_is_not_finite_is_named() -> None:
    def overflowing(mlp: MlpTrace) -> Tensor:
        return mlp.act / 0

    items = [example(number) for number in range(4)]
    with pytest.raises(HlensError, match=r"example 'q0' and 3 more are not finite.*load it in"):
        measure(tiny("llama"), items, metric=overflowing)


def test_what_does_not_fit_half_precision_is_no_infinity() -> None:
    def loud(mlp: MlpTrace) -> Tensor:
        return mlp.act.float().abs() + 1e5

    with pytest.raises(HlensError, match=r"do not fit torch.float16: measure with dtype="):
        measure(tiny("llama"), several(2), metric=loud, dtype=torch.float16)
    assert measure(tiny("llama"), several(2), metric=loud).values.isfinite().all()


def test_minus_infinity_is_no_contribution() -> None:
    def silent(mlp: MlpTrace) -> Tensor:
        return mlp.act.float() * 0 - torch.inf

    with pytest.raises(HlensError, match=r"and 1 more are not finite"):
        measure(tiny("llama"), several(2), metric=silent)
    whole = replace(example(7), start=9, stop=16)  # an empty region beside others is left out
    both = [whole, example(1)]
    options = {"region": "response_other", "reduce": "max", "drop_empty": True}
    assert measure(tiny("llama"), both, **options).question_ids == ("q1",)


def test_two_metrics_of_one_name_are_refused_and_the_same_twice_is_once() -> None:
    model, items = tiny("llama"), several(2)
    with pytest.raises(HlensError, match=r"two metrics are named '<lambda>'"):
        measure_many(
            model, items, metrics=[lambda m: m.act, lambda m: m.act * 2], regions=["answer"]
        )
    twice = measure_many(model, items, metrics=[metrics.cett] * 2, regions=["answer", "answer"])
    assert len(twice) == 1


@pytest.mark.parametrize(
    ("name", "wrong", "said"),
    [
        ("llama", example(0, token_ids=torch.arange(90, 106)), "holds token 105, .* has 96 tokens"),
        ("gpt2", example(1, n_prompt=300), "has 307 tokens, .* has 256 positions"),
    ],
)
def test_tokens_of_another_model_are_refused(name: str, wrong: Example, said: str) -> None:
    with pytest.raises(HlensError, match=said):
        measure(tiny(name), [example(2), wrong])


def test_hooks_are_gone_afterwards_also_after_an_error() -> None:
    model = tiny("llama")

    def broken(mlp: MlpTrace) -> Tensor:
        raise KeyError("a metric's own mistake")

    measure(model, several(2))
    with pytest.raises(KeyError):
        measure(model, several(2), metric=broken)
    assert not any(module._forward_hooks for module in model.down_projections)


def test_tied_weights_are_measured_as_untied() -> None:
    tied = tiny("llama_tied")
    assert tied.hf.lm_head.weight is tied.hf.get_input_embeddings().weight
    close(measure(tied, several(2), metric=metrics.cett).values, by_hand(tied, several(2)))


def test_an_empty_region_is_counted_and_named() -> None:
    whole = example(7)
    whole = replace(whole, start=whole.n_prompt, stop=len(whole.token_ids))
    items = [example(1), whole, example(2)]
    with pytest.raises(HlensError, match=r"empty in 1 of 3 examples .*'q7'.*drop_empty"):
        measure(tiny("llama"), items, region="response_other")
    data = measure(
        tiny("llama"), items, metric=metrics.cett, region="response_other", drop_empty=True
    )
    assert data.question_ids == ("q1", "q2")
    close(data.values, by_hand(tiny("llama"), [items[0], items[2]], "response_other"))
    with pytest.raises(HlensError, match="empty in 1 of 1"):
        measure(tiny("llama"), [whole], region="response_other", drop_empty=True)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"region": "anwser"}, "did you mean 'answer'"),
        ({"reduce": "men"}, "did you mean 'mean'"),
        ({"position": "reed"}, "did you mean 'read'"),
        ({"compat": "official"}, "unknown compat"),
        ({"dtype": torch.bfloat16}, "float32 or"),
        ({"batch_size": 0}, "expected a whole number from 1"),
    ],
)
def test_a_mistaken_option_is_named(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(HlensError, match=said):
        measure(tiny("llama"), several(1), **wrong)


def test_nothing_to_measure_is_an_error() -> None:
    with pytest.raises(HlensError, match="nothing to measure"):
        measure(tiny("llama"), [])
