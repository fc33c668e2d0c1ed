"""Laws of edits, on tiny models of every dense architecture."""

from collections.abc import Callable
from dataclasses import replace

import jaxtyping
import numpy as np
import pytest
import torch
from torch import Tensor, nn

import architectures
from hlens import interventions as iv
from hlens.errors import HlensError
from hlens.model import Model, Settings, load
from hlens.types import Detector, Example, NeuronSet

PROMPTS = [[3, 14, 15, 9, 26], [5, 35, 8], [9, 79, 32, 38, 46, 26, 43]]
LONG = [[(7 * i + j * j) % 90 + 3 for j in range(24)] for i in range(3)]
MEMBERS = frozenset({(0, 1), (0, 7), (1, 3), (2, 0), (2, 20), (2, 55)})
CACHE: dict[str, Model] = {}


def tiny(name: str = "llama") -> Model:
    if name not in CACHE:
        CACHE[name] = load((architectures.DENSE[name](), None), name=name)
    return CACHE[name]


@pytest.fixture(params=sorted(architectures.DENSE))
def model(request: pytest.FixtureRequest) -> Model:
    return tiny(request.param)


@pytest.fixture
def llama() -> Model:
    return tiny("llama")


def chosen(model: Model, members: frozenset[tuple[int, int]] = MEMBERS) -> NeuronSet:
    return NeuronSet(members, model.n_layers, model.d_mlp)


def logits(model: Model, prompt: list[int] | None = None) -> Tensor:
    with torch.inference_mode():
        return model.hf(torch.tensor([prompt or LONG[0]])).logits


def run(model: Model, neurons: NeuronSet, edit: iv.Edit) -> Tensor:
    with model.editing(neurons, edit):
        return logits(model)


def through_bridge(model: Model) -> Tensor:
    with torch.inference_mode():
        return model.bridge(torch.tensor([LONG[0]]))


def padded(model: Model, prompts: list[list[int]], side: str) -> Tensor:
    """Logits of the last token of each prompt, read in one batch."""
    width = max(map(len, prompts))
    ids = torch.zeros(len(prompts), width, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, prompt in enumerate(prompts):
        at = slice(0, len(prompt)) if side == "right" else slice(width - len(prompt), width)
        ids[row, at] = torch.tensor(prompt)
        mask[row, at] = 1
    positions = (mask.cumsum(-1) - 1).clamp_min(0)
    with torch.inference_mode():
        out = model.hf(
            input_ids=ids, attention_mask=mask, **model.position_kwargs(positions)
        ).logits
    last = [len(p) - 1 if side == "right" else width - 1 for p in prompts]
    return out[torch.arange(len(prompts)), last]


# --- laws on every architecture -------------------------------------------------------------


def test_scaling_by_one_and_an_empty_set_change_nothing(model: Model) -> None:
    plain, bridged = logits(model), through_bridge(model)
    with model.editing(chosen(model), iv.scale(1.0)):
        assert torch.equal(logits(model), plain)
        assert torch.equal(through_bridge(model), bridged)
    with model.editing(chosen(model, frozenset()), iv.scale(0.0)) as receipt:
        assert torch.equal(logits(model), plain)
    assert receipt.touched == 0


def test_an_edit_changes_the_model_and_its_bridge_alike_and_leaves_no_trace(model: Model) -> None:
    plain, bridged = logits(model), through_bridge(model)
    with model.editing(chosen(model), iv.scale(3.0)):
        edited = logits(model)
        assert torch.allclose(edited, through_bridge(model), atol=1e-4)
    assert (edited - plain).abs().max() > 1e-3
    with pytest.raises(IndexError), model.editing(chosen(model), iv.scale(3.0)):
        logits(model, [10**6])
    assert torch.equal(logits(model), plain)
    assert torch.equal(through_bridge(model), bridged)
    assert not any(m._forward_pre_hooks for m in model.hf.modules())


def test_ablation_is_scaling_by_zero(model: Model) -> None:
    with model.editing(chosen(model), iv.ablate()):
        ablated = logits(model)
    with model.editing(chosen(model), iv.scale(0.0)):
        assert torch.equal(logits(model), ablated)


@pytest.mark.parametrize("alpha", [0.0, 0.3, 3.0])
def test_a_hook_equals_folded_weights(model: Model, alpha: float) -> None:
    before = model.hf.state_dict()
    before = {name: weight.clone() for name, weight in before.items()}
    with model.editing(chosen(model), iv.scale(alpha)):
        hooked = logits(model)
    with iv.folded(model, chosen(model), iv.scale(alpha)):
        assert torch.allclose(logits(model), hooked, atol=2e-5, rtol=1e-4)
        assert torch.allclose(through_bridge(model), hooked, atol=1e-4, rtol=1e-3)
    after = model.hf.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_edits_of_other_neurons_commute(model: Model) -> None:
    a = chosen(model, frozenset({(0, 1), (2, 20)})), iv.scale(0.0)
    b = chosen(model, frozenset({(0, 7), (1, 3)})), iv.steer(torch.ones(3, model.d_mlp), 0.5)
    with model.editing([a, b]):
        first = logits(model)
    with model.editing([b, a]):
        assert torch.equal(logits(model), first)
    with model.editing(*b), model.editing(*a):
        assert torch.equal(logits(model), first)


def test_generation_with_a_cache_is_generation_without(model: Model) -> None:
    ids = torch.tensor([LONG[0]])
    source = iv.capture_reference(model, PROMPTS, chosen(model))
    for edit in (iv.scale(3.0), iv.ablate("resample", source)):
        for scope in (iv.ALL, iv.PROMPT, iv.GENERATED, iv.first_generated(2)):
            tokens = []
            for use_cache in (True, False):
                with model.editing(chosen(model), edit.on(scope), n_prompt=len(LONG[0])):
                    out = model.hf.generate(
                        input_ids=ids,
                        attention_mask=torch.ones_like(ids),
                        max_new_tokens=5,
                        do_sample=False,
                        use_cache=use_cache,
                        output_logits=True,
                        return_dict_in_generate=True,
                    )
                tokens.append(torch.stack(out.logits))
            assert torch.allclose(tokens[0], tokens[1], atol=1e-4), (edit.name, scope.name)


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_batch_equals_one_at_a_time(model: Model, side: str) -> None:
    source = iv.capture_reference(model, LONG, chosen(model))
    last = iv.at_positions([[len(p) - 1] for p in PROMPTS])
    edits = [
        iv.scale(3.0),
        iv.ablate("resample", source),
        iv.scale(3.0, iv.PROMPT),
        iv.scale(0.0, last),
    ]
    for edit in edits:
        with model.editing(chosen(model), edit, n_prompt=3) as receipt:
            batched = padded(model, PROMPTS, side)
        touched = 0
        for row, prompt in enumerate(PROMPTS):
            one = (
                edit.on(iv.at_positions([len(prompt) - 1])) if edit.scope.name == "chosen" else edit
            )
            with model.editing(chosen(model), one, n_prompt=3) as single:
                alone = logits(model, prompt)[0, -1]
            touched += single.touched
            assert torch.allclose(alone, batched[row], atol=1e-4), (edit.name, edit.scope.name)
        assert receipt.touched == touched  # padding is never counted


def test_generation_in_a_batch_is_generation_one_at_a_time(model: Model) -> None:
    """Padding, the cache and a beginning that is read once move no scope."""
    how = Settings(max_new_tokens=4, temperature=0.0)
    prompts = [[3, 14, *prompt] for prompt in PROMPTS]
    push = iv.steer(torch.full((3, model.d_mlp), 2.0))
    edits = [push.on(iv.find_scope(name)) for name in ("prompt", "generated", "first_2")]
    source = iv.capture_reference(model, LONG, chosen(model))
    for edit in [*edits, iv.ablate("resample", source), iv.scale(3.0, iv.at_positions([1, 4]))]:
        with model.editing(chosen(model), edit):
            alone = [model.generate_many([prompt], how)[0] for prompt in prompts]
            batch = model.generate_many(prompts, how)
            shared = model.generate_many(prompts, how, share_beginning=True)
        for one, *others in zip(alone, batch, shared, strict=True):
            for other in others:
                assert one.token_ids == other.token_ids, edit
                assert one.logprobs == pytest.approx(other.logprobs, abs=1e-4), edit


def test_the_bridge_caches_what_was_edited(model: Model) -> None:
    with model.editing(chosen(model), iv.scale(0.0)):
        _, cache = model.run_with_cache(torch.tensor([LONG[0]]))
    for layer, neuron in MEMBERS:
        act = cache[f"blocks.{layer}.mlp.out.hook_in"]
        assert act[..., neuron].abs().max() == 0.0
        assert act.abs().max() > 0.0


# --- each edit does what it says -----------------------------------------------------------


def acts(model: Model, prompt: list[int], *editing: tuple[NeuronSet, iv.Edit]) -> Tensor:
    """Activations that the down projections see, ``[layer, pos, neuron]``."""
    with model.editing(list(editing)):
        return iv.capture(model, prompt).values


def test_each_edit_does_what_it_says(llama: Model) -> None:
    neurons = chosen(llama, frozenset({(2, 0), (2, 20)}))  # the last layer: nothing comes after
    plain = acts(llama, LONG[0])
    old = plain[2][:, [0, 20]]
    source = iv.capture_reference(llama, PROMPTS, neurons)
    direction = torch.randn(3, llama.d_mlp, generator=torch.Generator().manual_seed(0))

    def edited(edit: iv.Edit) -> Tensor:
        new = acts(llama, LONG[0], (neurons, edit))
        others = [j for j in range(llama.d_mlp) if j not in (0, 20)]
        assert torch.equal(new[2][:, others], plain[2][:, others])
        assert torch.equal(new[:2], plain[:2])
        return new[2][:, [0, 20]]

    assert torch.equal(edited(iv.scale(-2.0)), -2.0 * old)
    assert torch.equal(edited(iv.clamp(-0.1, 0.1)), old.clamp(-0.1, 0.1))
    assert torch.equal(edited(iv.clamp(high=0.0)), old.clamp(max=0.0))
    assert torch.equal(edited(iv.steer(direction, 2.0)), old + 2.0 * direction[2, [0, 20]])
    mean = source.layers[2].mean(dim=0)
    assert torch.allclose(edited(iv.ablate("mean", source)), mean.expand_as(old))
    drawn = edited(iv.ablate("resample", source, seed=1))
    rows = {tuple(row) for row in source.layers[2].tolist()}
    assert {tuple(row) for row in drawn.tolist()} <= rows  # both neurons from the same token
    assert len({tuple(row) for row in drawn.tolist()}) > 3
    assert not torch.equal(drawn, edited(iv.ablate("resample", source, seed=2)))


def test_patching_everything_from_another_run_gives_that_run(llama: Model) -> None:
    """Neurons of all layers at one place, plus equal tokens elsewhere, fix every MLP output."""
    source = iv.capture(llama, LONG[1])
    neurons = chosen(llama, frozenset({(2, j) for j in range(llama.d_mlp)}))
    patched = acts(llama, LONG[0], (neurons, iv.patch(source, {5: 7, 23: 0})))
    assert torch.equal(patched[2][5], source.values[2][7])
    assert torch.equal(patched[2][23], source.values[2][0])
    assert torch.equal(patched[2][6], acts(llama, LONG[0])[2][6])
    with llama.editing(neurons, iv.patch(source, {5: 7, 23: 0})) as receipt:
        logits(llama)
    assert (receipt.tokens, receipt.touched) == (2, 2 * llama.d_mlp)


def test_patching_rows_each_from_its_own_source(llama: Model) -> None:
    sources = [iv.capture(llama, prompt) for prompt in LONG]
    neurons = chosen(llama)
    edit = iv.patch(sources[1:], [{0: 1}, {3: 2, 4: 4}])
    with llama.editing(neurons, edit):
        batched = padded(llama, [LONG[0], LONG[0]], "right")
    for row, one in enumerate([{0: 1}, {3: 2, 4: 4}]):
        with llama.editing(neurons, iv.patch(sources[row + 1], one)):
            assert torch.allclose(logits(llama)[0, -1], batched[row], atol=1e-5)


def test_a_step_in_neuron_space_is_its_image_in_the_residual_stream(llama: Model) -> None:
    direction = torch.randn(3, llama.d_mlp, generator=torch.Generator().manual_seed(3))
    everything = NeuronSet.from_mask(torch.ones(3, llama.d_mlp, dtype=torch.bool))
    with llama.editing(everything, iv.steer(direction, 0.7)):
        stepped = logits(llama)
    image = iv.residual_image(llama, direction)

    def push(layer: int) -> Callable[..., Tensor]:
        return lambda module, args, out: out + 0.7 * image[layer]

    handles = [m.register_forward_hook(push(i)) for i, m in enumerate(llama.down_projections)]
    pushed = logits(llama)
    for handle in handles:
        handle.remove()
    assert torch.allclose(stepped, pushed, atol=1e-4)


def test_directions_from_weights_and_from_the_difference_of_class_means(llama: Model) -> None:
    weights = torch.zeros(3, llama.d_mlp)
    weights[0, 1], weights[2, 3] = 3.0, -4.0
    detector = Detector(weights, 0.0, means=(1.0, 1.0), spreads=(2.0, 5.0))
    assert torch.equal(iv.weight_direction(detector), weights / 5)
    assert iv.weight_direction(detector, neurons=detector.neurons)[0, 1] == 1
    with pytest.raises(HlensError, match="no neuron of the detector"):
        iv.weight_direction(
            replace(detector, weights=torch.zeros_like(weights), means=(), spreads=())
        )
    examples = [
        Example(torch.tensor(LONG[i]), 4, 4, 9, bool(i), f"q{i}", f"g{i}", "d") for i in (0, 1)
    ]
    direction = iv.mean_difference(llama, examples)
    by_hand = acts(llama, LONG[1])[:, 4:9].mean(1) - acts(llama, LONG[0])[:, 4:9].mean(1)
    assert torch.allclose(direction, by_hand, atol=1e-6)
    kept = iv.mean_difference(llama, examples, neurons=detector.selected)
    assert torch.equal(kept != 0, weights != 0)
    with pytest.raises(HlensError, match="at least one of each"):
        iv.mean_difference(llama, examples[:1])


def test_the_random_perturbation_is_as_large_as_the_edit(llama: Model) -> None:
    neurons = chosen(llama, frozenset({(2, 0), (2, 20), (2, 31)}))
    edit = iv.scale(3.0)
    whole, control = iv.norm_matched(llama, neurons, edit, seed=4)
    plain = acts(llama, LONG[0])[2]
    w_out = llama.w_out(2)
    by_edit = (acts(llama, LONG[0], (neurons, edit))[2] - plain) @ w_out
    by_control = (acts(llama, LONG[0], (whole, control))[2] - plain) @ w_out
    assert torch.allclose(by_edit.norm(dim=1), by_control.norm(dim=1), rtol=1e-4)
    cosine = torch.cosine_similarity(by_edit, by_control, dim=1)
    assert cosine.abs().max() < 0.9
    whole, back = iv.norm_matched(llama, neurons, edit, seed=4, backwards=True)
    by_back = (acts(llama, LONG[0], (whole, back))[2] - plain) @ w_out
    assert torch.allclose(by_back, -by_control, atol=1e-5)


# --- scopes, receipts, nesting ---------------------------------------------------------------


def test_scopes_within_generation_of_hlens_itself(llama: Model) -> None:
    neurons = chosen(llama)
    how = Settings(max_new_tokens=6, temperature=0.0)
    n_prompt = sum(map(len, PROMPTS))
    read = {"prompt": n_prompt, "generated": 5 * 3, "all": n_prompt + 5 * 3, "first_2": 2 * 3}
    llama.__dict__["stop_ids"] = frozenset()  # so that every answer has its six tokens
    try:
        for name, tokens in read.items():
            with llama.editing(neurons, iv.scale(2.0, iv.find_scope(name))) as receipt:
                llama.generate_many(PROMPTS, how)
            assert receipt.tokens == tokens, name  # the last generated token is never read
            assert receipt.touched == tokens * len(neurons)
            assert str(tokens) in str(receipt)
    finally:
        del llama.__dict__["stop_ids"]


def test_a_receipt_counts_no_row_that_has_ended(llama: Model) -> None:
    """Rows that are done are fed padding until the last one is: alone they would read none."""
    neurons, how = chosen(llama), Settings(max_new_tokens=6, temperature=0.0)
    plain = llama.generate_many(PROMPTS, how)
    ends = plain[0].token_ids[2]
    llama.__dict__["stop_ids"] = frozenset({ends})
    try:
        for scope in (iv.ALL, iv.GENERATED):
            with llama.editing(neurons, iv.scale(1.0, scope)) as receipt:
                made = llama.generate_many(PROMPTS, how)
            assert {len(one.token_ids) for one in made} >= {2, 6}
            alone = 0
            for prompt in PROMPTS:
                with llama.editing(neurons, iv.scale(1.0, scope)) as single:
                    llama.generate_many([prompt], how)
                alone += single.touched
            assert receipt.touched == alone
    finally:
        del llama.__dict__["stop_ids"]
    assert (llama.clock.generated, llama.clock.ended) == (None, None)


def test_an_edit_of_later_tokens_leaves_the_first_as_it_was(llama: Model) -> None:
    how = Settings(max_new_tokens=4, temperature=0.0)
    plain = llama.generate_many(PROMPTS, how)
    push = iv.steer(torch.full((3, llama.d_mlp), 4.0), scope=iv.GENERATED)
    with llama.editing(chosen(llama), push):
        edited = llama.generate_many(PROMPTS, how)
    for a, b in zip(plain, edited, strict=True):
        assert a.token_ids[0] == b.token_ids[0]
        assert a.logprobs[0] == b.logprobs[0]
        assert a.logprobs[1:] != b.logprobs[1:]


def test_the_answer_span(llama: Model) -> None:
    edit = iv.scale(3.0, iv.ANSWER)
    with llama.editing(chosen(llama), edit, answer=(10, 13)) as receipt:
        edited = logits(llama)
    plain = logits(llama)
    assert receipt.tokens == 3
    assert torch.equal(edited[0, :10], plain[0, :10])
    assert not torch.equal(edited[0, 10], plain[0, 10])


def test_nested_blocks_compose_and_end_one_by_one(model: Model) -> None:
    neurons, plain = chosen(model), logits(model)
    with model.editing(neurons, iv.scale(2.0)):
        doubled = logits(model)
        with model.editing(neurons, iv.scale(0.5)):
            assert torch.equal(logits(model), plain)
        assert torch.equal(logits(model), doubled)
    assert torch.equal(logits(model), plain)


def test_an_edit_that_touched_nothing_is_an_error(llama: Model) -> None:
    neurons, edit = chosen(llama), iv.scale(0.0)
    with pytest.raises(HlensError, match="not one token touched"), llama.editing(neurons, edit):
        pass
    beyond = iv.patch(iv.capture(llama, LONG[0]), {99: 0})
    with pytest.raises(HlensError, match="patched tokens"):
        run(llama, chosen(llama), beyond)


# --- bad input ------------------------------------------------------------------------------


@pytest.mark.parametrize("alpha", [float("nan"), float("inf")])
def test_an_alpha_that_is_not_finite(alpha: float) -> None:
    with pytest.raises(HlensError, match=r"^alpha=(nan|inf); expected a finite number"):
        iv.scale(alpha)
    with pytest.raises(HlensError, match=r"^alpha=(nan|inf); expected a finite number"):
        iv.steer(torch.ones(2, 2), alpha)


def test_neurons_and_values_of_another_model(llama: Model) -> None:
    smaller = NeuronSet(frozenset({(0, 1)}), 2, 56)
    foreign = NeuronSet(frozenset({(0, 1)}), 3, 56, model="another")
    for neurons in (smaller, foreign):
        with pytest.raises(HlensError, match="found on"):
            run(llama, neurons, iv.scale(0.0))
    with pytest.raises(HlensError, match="out of range"):
        NeuronSet(frozenset({(3, 0)}), 3, 56)
    with pytest.raises(HlensError, match="make it with this model"):
        run(llama, chosen(llama), iv.steer(torch.ones(2, 56)))


def test_errors_of_edits_say_what_to_do(llama: Model) -> None:
    neurons = chosen(llama)
    source = iv.capture_reference(llama, PROMPTS, chosen(llama, frozenset({(0, 1)})))
    with pytest.raises(HlensError, match="needs reference"):
        iv.ablate("mean")
    with pytest.raises(HlensError, match="holds no activations of L0N7"):
        run(llama, chosen(llama), iv.ablate("mean", source))
    with pytest.raises(HlensError, match="where the prompt ends"):
        run(llama, chosen(llama), iv.scale(0.0, iv.PROMPT))
    with pytest.raises(HlensError, match="did you mean 'prompt'"):
        iv.find_scope("promt")
    with pytest.raises(HlensError, match="low <= high"):
        iv.clamp(2.0, 1.0)
    with pytest.raises(HlensError, match="do not fit a source of 24 tokens"):
        iv.patch(iv.capture(llama, LONG[0]), {0: 24})
    later = iv.scale(0.5, iv.GENERATED)
    with pytest.raises(HlensError, match="cannot be folded"), iv.folded(llama, neurons, later):
        pass


def test_gradients_pass_through_an_edit(llama: Model) -> None:
    with llama.editing(chosen(llama), iv.scale(0.5)):
        llama.hf(torch.tensor([LONG[0]])).logits.sum().backward()
    grads = [p.grad for p in llama.hf.parameters() if p.grad is not None]
    assert grads
    for parameter in llama.hf.parameters():
        parameter.grad = None


def test_a_bridge_given_by_the_caller_is_edited_once(llama: Model) -> None:
    bridged = load(load((architectures.llama(), None)).bridge)
    neurons = chosen(llama)
    with llama.editing(neurons, iv.scale(3.0)):
        expected = logits(llama)
    with bridged.editing(neurons, iv.scale(3.0)) as receipt:
        assert torch.allclose(logits(bridged), expected, atol=1e-4)
    assert receipt.tokens == len(LONG[0])


def test_modules_outside_a_model_cannot_be_edited(llama: Model) -> None:
    layer: nn.Module = llama.down_projections[0]
    neurons, edit = chosen(llama), iv.scale(2.0)
    with pytest.raises(HlensError, match="outside of its model"), llama.editing(neurons, edit):
        layer(torch.ones(1, 1, llama.d_mlp))


@pytest.mark.parametrize(
    "spans",
    [
        {"n_prompt": -1},
        {"n_prompt": 2.5},
        {"n_prompt": "2"},
        {"n_prompt": [[1, 2]]},
        {"answer": (3,)},
        {"answer": (5, 2)},
        {"answer": (-2, 2)},
        {"answer": "ab"},
    ],
)
def test_spans_that_are_none_are_refused_before_the_model_runs(spans, llama: Model, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as outside of tests
    (name,) = spans
    with pytest.raises(HlensError, match=rf"^{name}=.*; expected "):
        llama.editing(chosen(llama), iv.scale(0.0), **spans)


def test_numbers_of_numpy_are_positions_and_lengths(llama: Model, monkeypatch) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    assert iv.scale(np.float32(0.5)).name == "scale(0.5)"
    with pytest.raises(HlensError, match="alpha='x'; expected a finite number"):
        iv.scale("x")
    ids = torch.arange(3, 12)[None]
    two, plain = iv.at_positions([np.int64(2), np.int64(4)]), iv.at_positions([2, 4])
    with llama.editing(chosen(llama), iv.scale(0.0).on(two), n_prompt=np.int64(3)):
        edited = llama.hf(ids).logits
    with llama.editing(chosen(llama), iv.scale(0.0).on(plain), n_prompt=3):
        assert torch.equal(llama.hf(ids).logits, edited)
