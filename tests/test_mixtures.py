"""Mixtures of experts: their neurons are measured, edited, watched and stored as those of others.

That every family is right in all of this is held by `test_zoo`; here stand what only a mixture has:
experts that are used or not, addresses, layers of several widths, and nulls matched by use.
"""

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import transformers as hf
from torch import Tensor

import architectures
import hlens
import mixtures
import zoo
from hlens import interventions as iv
from hlens import metrics
from hlens.contributions import measure
from hlens.errors import HlensError
from hlens.evaluation import expert_usage
from hlens.model import Model
from hlens.origin import drift_beside_random, weight_drift
from hlens.store import load_contributions, load_neurons, save_neurons
from hlens.types import Example, NeuronSet, address
from test_zoo import PROMPTS, close, examples, logits

FAMILIES = (
    "MixtralForCausalLM",
    "DeepseekV3ForCausalLM",
    "GptOssForCausalLM",
    "Qwen2MoeForCausalLM",
)


@cache
def loaded(name: str = "DeepseekV3ForCausalLM") -> Model:
    return hlens.load((zoo.build(name), None), name=name)


def traces(model: Model, item: Example) -> list[tuple[Tensor, Tensor]]:
    """Weighted activations and outputs at the answer's tokens, read without hlens."""
    return [
        (act[item.start : item.stop], out[item.start : item.stop])
        for act, out in mixtures.plain_traces(model.hf, item.token_ids)
    ]


@pytest.mark.parametrize("name", FAMILIES)
def test_metrics_are_those_of_a_plain_loop_over_experts(name: str) -> None:
    model, items = loaded(name), examples()[:4]
    found = {
        metric.__name__: measure(model, items, metric=metric).values
        for metric in (metrics.cett, metrics.projection, metrics.activation, metrics.signed_cett)
    }
    for number, item in enumerate(items):
        for layer, (act, out) in enumerate(traces(model, item)):
            rows = mixtures.rows_of_w_out(mixtures.layers_of(model.hf)[layer])
            norm = out.norm(dim=1, keepdim=True)
            expected = {
                "cett": act.abs() * rows.norm(dim=1) / norm,
                "signed_cett": act * rows.norm(dim=1) / norm,
                "projection": act * (out @ rows.T) / norm**2,
                "activation": act.abs(),
            }
            for metric, values in expected.items():
                own = found[metric][number, layer]
                close(own[: len(rows)], values.mean(0), 1e-5)
                assert not own[len(rows) :].any()  # behind the last neuron of a narrow layer


@pytest.mark.parametrize("name", FAMILIES)
def test_the_gradient_is_that_of_scaling_what_a_neuron_writes(name: str) -> None:
    """A first-order effect by the weighted activation, against a small change of W_out's row."""
    model, item = loaded(name), examples()[1]

    def logprob() -> float:
        each = logits(model, item.token_ids.tolist()).double().log_softmax(-1)
        targets = item.token_ids[item.start : item.stop]
        return float(each[item.start - 1 : item.stop - 1].gather(1, targets[:, None]).sum())

    last = model.n_layers - 1  # whose neurons act at the positions that are read, and there alone
    acts = mixtures.plain_traces(model.hf, item.token_ids)[last][0]
    used = acts[item.start - 1 : item.stop - 1].abs().sum(0).topk(3).indices.tolist()
    block = mixtures.layers_of(model.hf)[last]
    step = 1e-2
    for neuron in used:
        with mixtures.scaled_row(block, neuron, 1 + step):
            above = logprob()
        with mixtures.scaled_row(block, neuron, 1 - step):
            below = logprob()
        slope = (above - below) / (2 * step)
        positions = measure(
            model, [item], metric=metrics.gradient_x_activation, position="predicted"
        )
        total = float(positions.values[0, last, neuron]) * (item.stop - item.start)
        assert total == pytest.approx(slope, rel=3e-2, abs=3e-4)


def test_a_mixture_of_one_expert_is_the_dense_model_of_the_same_weights() -> None:
    fields = architectures._GATED | {"sliding_window": None, "vocab_size": zoo.VOCAB}
    fields |= {"rms_norm_eps": 1e-6, "rope_parameters": {"rope_type": "default", "rope_theta": 1e4}}
    experts = hf.MixtralConfig(**fields, num_local_experts=1, num_experts_per_tok=1)
    mixture = architectures.draw_weights(hf.MixtralForCausalLM(experts))
    dense = architectures.draw_weights(hf.MistralForCausalLM(hf.MistralConfig(**fields)))
    named = dict(mixture.named_parameters())
    with torch.no_grad():
        for name, weight in dense.named_parameters():
            if name in named:
                weight.copy_(named[name])
        for one, other in zip(mixture.model.layers, dense.model.layers, strict=True):
            gate, up = one.mlp.experts.gate_up_proj[0].chunk(2)
            other.mlp.gate_proj.weight.copy_(gate)
            other.mlp.up_proj.weight.copy_(up)
            other.mlp.down_proj.weight.copy_(one.mlp.experts.down_proj[0])
    one, other = hlens.load((mixture, None)), hlens.load((dense, None))
    close(measure(one, examples()).values, measure(other, examples()).values, 1e-6)
    members = frozenset({(0, 3), (2, 9)})
    for edit in (iv.scale(2.0), iv.clamp(-0.1, 0.1), iv.steer(torch.ones(3, 56), 0.5)):
        after = []
        for model in (one, other):
            neurons = NeuronSet(members, 3, 56, experts=model.experts)
            with model.editing(neurons, edit):
                after.append(logits(model, PROMPTS[0]))
        close(*after, limit=1e-5)


def neurons_of(model: Model, *members: tuple[int, int]) -> NeuronSet:
    shape = model.n_layers, model.d_mlp
    return NeuronSet(frozenset(members), *shape, model=model.fingerprint, experts=model.experts)


@pytest.mark.parametrize("name", FAMILIES)
def test_an_edit_touches_the_tokens_that_are_routed_to_its_expert(name: str) -> None:
    model, row = loaded(name), PROMPTS[1]
    layer = model.n_layers - 1
    acts = mixtures.plain_traces(model.hf, torch.tensor(row))[layer][0]
    width = model.experts[layer][1]
    by_expert = acts[:, : model.experts[layer][0] * width].reshape(len(row), -1, width)
    routed = (by_expert != 0).any(-1).sum(0).tolist()
    for expert, n_tokens in enumerate(routed):
        neurons = neurons_of(model, (layer, expert * width + 5))
        with model.editing(neurons, iv.scale(0.0)) as receipt:
            logits(model, row)
        assert (receipt.tokens, receipt.touched) == (len(row), n_tokens)


@pytest.mark.parametrize(
    "edit", [iv.scale(3.0), iv.ablate(), iv.clamp(-0.05, 0.05), iv.steer(torch.ones(3, 280), 0.3)]
)
def test_edits_leave_no_trace_and_act_where_the_expert_is_used(edit: iv.Edit) -> None:
    model, row = loaded("Qwen2MoeForCausalLM"), PROMPTS[1]
    neurons = neurons_of(model, (0, 3), (1, 60), (2, 230))  # the last is of the shared expert
    before = logits(model, row)
    with model.editing(neurons, edit):
        edited = logits(model, row)
        bridged = model.bridge(torch.tensor([row]))[0]
    assert not torch.allclose(edited, before, atol=1e-4)
    close(bridged, edited, 1e-4)
    assert torch.equal(logits(model, row), before)


def test_activations_are_captured_patched_and_averaged() -> None:
    """Patched with its own activations a run is the same; with another's it is not."""
    model = loaded()
    neurons = neurons_of(model, *((layer, j) for layer in range(3) for j in range(0, 56, 5)))
    own, other = iv.capture(model, PROMPTS[0]), iv.capture(model, PROMPTS[2][:13])
    before = logits(model, PROMPTS[0])
    place = {i: i for i in range(11, 13)}
    with model.editing(neurons, iv.patch(own, place)):
        close(logits(model, PROMPTS[0]), before, 1e-5)
    with model.editing(neurons, iv.patch(other, place)):
        assert not torch.allclose(logits(model, PROMPTS[0]), before, atol=1e-4)
    reference = iv.capture_reference(model, PROMPTS, neurons)
    with model.editing(neurons, iv.ablate("mean", reference=reference)):
        assert not torch.equal(logits(model, PROMPTS[0]), before)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_random_push_is_as_large_as_the_edit(name: str) -> None:
    """In the layer where the edit is, token by token."""
    model, row = loaded(name), PROMPTS[1]
    layer = model.n_layers - 1
    neurons = neurons_of(model, (layer, 3), (layer, 70))
    outs: list[Tensor] = []
    hooks = [
        mlp.register_forward_hook(
            lambda m, a, o: outs.append((o[0] if isinstance(o, tuple) else o).reshape(len(row), -1))
        )
        for mlp in mixtures.mlps_of(mixtures.layers_of(model.hf)[layer])
    ]
    edit = iv.scale(4.0)
    logits(model, row)
    with model.editing(neurons, edit):
        logits(model, row)
    with model.editing(*iv.norm_matched(model, neurons, edit, seed=1)):
        logits(model, row)
    for hook in hooks:
        hook.remove()
    plain, edited, pushed = outs
    close((pushed - plain).norm(dim=1), (edited - plain).norm(dim=1), 1e-4)


def test_addresses_name_the_expert() -> None:
    model = loaded()
    assert model.experts == ((0, 0, 56), (4, 56, 56), (4, 56, 56))
    assert [address(n, model.experts) for n in [(0, 7), (1, 60), (2, 223), (2, 230)]] == [
        "L0N7", "L1E1N4", "L2E3N55", "L2SN6",
    ]  # fmt: skip
    with pytest.raises(HlensError, match=r"L0N60 is out of range: .* neurons 0 to 55"):
        neurons_of(model, (0, 60))
    loose = NeuronSet(frozenset({(0, 60)}), model.n_layers, model.d_mlp)
    with pytest.raises(HlensError, match=r"L0N60 is not there: layer 0 .* has 56 neurons"):
        model.editing(loose, iv.scale(0.0)).__enter__()


def test_sets_and_contributions_come_back_with_their_experts(tmp_path: Path) -> None:
    model = loaded()
    neurons = replace(neurons_of(model, (1, 60), (0, 3)), name="two")
    assert load_neurons(save_neurons(neurons, tmp_path / "two")) == neurons
    for suffix in ("json", "csv"):
        path = hlens.store.export_neurons(neurons, tmp_path / f"two.{suffix}")
        assert "L1E1N4" in path.read_text()
        shape = {"n_layers": model.n_layers, "d_mlp": model.d_mlp} if suffix == "csv" else {}
        assert hlens.store.import_neurons(path, **shape).members == neurons.members
    stored = measure(model, examples(), store=tmp_path / "store")
    close(stored.values, measure(model, examples()).values, 0.0)
    again = load_contributions(tmp_path / "store" / "signed_cett.answer.safetensors")
    assert again.provenance.experts == model.experts


def test_random_neurons_are_matched_by_layer_and_by_use() -> None:
    model = loaded("MixtralForCausalLM")
    data = measure(model, examples())
    usage = expert_usage(data)
    acts = [traces(model, item) for item in examples()]
    for layer in range(model.n_layers):
        for expert in range(4):
            own = slice(56 * expert, 56 * (expert + 1))
            used = [bool(act[layer][0][:, own].any()) for act in acts]
            assert float(usage[layer, expert]) == pytest.approx(sum(used) / len(used))
    neurons = neurons_of(model, (0, 3), (0, 60), (2, 200))
    drawn = list(neurons.random_sets(20, match="expert", usage=usage))
    assert all(one.per_layer() == [2, 0, 1] and not one.members & neurons.members for one in drawn)
    with pytest.raises(HlensError, match="usage="):
        neurons.random_like(0, match="expert")


def test_draws_keep_to_experts_that_are_used_alike() -> None:
    """Of 8 experts four are used often and four hardly: a member's stand-in is of its kind."""
    usage = torch.tensor([[0.9, 0.1, 0.85, 0.12, 0.95, 0.08, 0.88, 0.05, 0.0]])
    experts = ((8, 10, 0),)
    neurons = NeuronSet(frozenset({(0, 3), (0, 15)}), 1, 80, experts=experts)
    for one in neurons.random_sets(50, match="expert", usage=usage):
        kinds = sorted(index // 10 % 2 for _, index in one)
        assert kinds == [0, 1]


def test_layers_of_several_widths_are_drawn_from_where_neurons_are() -> None:
    model = loaded()
    neurons = neurons_of(model, *((0, j) for j in range(20)), (1, 3))
    assert neurons.n_neurons == 56 + 280 + 280
    for match in ("layer", "none"):
        for one in neurons.random_sets(30, match=match):
            assert all(j < (56 if layer == 0 else 280) for layer, j in one)


def test_a_baked_mixture_is_checked_and_restored(tmp_path: Path) -> None:
    source = zoo.build("MixtralForCausalLM")
    model = hlens.load((source, None))
    neurons = neurons_of(model, (0, 3), (2, 100))
    with model.editing(neurons, iv.scale(2.5)):
        expected = logits(model, PROMPTS[0])
    folder = iv.bake(model, neurons, iv.scale(2.5), folder=tmp_path / "baked")
    assert iv.verify(folder, model).ok
    close(logits(hlens.load(str(folder)), PROMPTS[0]), expected, 1e-5)
    restored = hlens.load(str(iv.unbake(folder, tmp_path / "restored")))
    assert restored.fingerprint == model.fingerprint


@pytest.mark.parametrize("name", FAMILIES)
def test_drift_is_that_of_the_rows_of_each_expert(name: str) -> None:
    """Of the neurons whose rows were turned in the parameters themselves, and of no other."""
    tuned = zoo.build(name)
    block = mixtures.layers_of(tuned)[2]
    experts = next(m for p, m in block.named_modules() if p.endswith("experts"))
    weight = experts.gate_up_proj.detach()
    kept_in_rows = type(experts).__name__ != "GptOssExperts"
    width = (weight.shape[1] if kept_in_rows else weight.shape[2]) // 2
    gate, up = (5, width + 5) if kept_in_rows else (10, 11)  # of neuron 5; GPT-OSS interleaves
    for expert, row in ((1, gate), (3, up)):
        turned = weight[expert, row] if kept_in_rows else weight[expert, :, row]
        turned += torch.randn(len(turned), generator=torch.Generator().manual_seed(0))
    one = hlens.load((tuned, None))
    drift = weight_drift(loaded(name), one)
    assert len(drift) == sum(mlp.width for mlp in one.mlps)
    for vector, expert in (("gate", 1), ("up", 3)):
        moved = drift.loc[drift[vector] > 1e-9, ["layer", "neuron"]].to_numpy().tolist()
        assert moved == [[2, expert * width + 5]]
    assert not drift["out"].any()


def test_the_null_of_drift_is_of_the_same_experts() -> None:
    experts = ((0, 0, 40), (4, 20, 10))
    used = np.r_[np.zeros(40), np.repeat([0.0, 5.0, 0.0, 0.0], 20), np.zeros(10)]
    z = used + np.random.default_rng(0).normal(size=130)
    table = pd.DataFrame({"layer": np.repeat([0, 1], [40, 90]), "z": z, "rank": z})
    members = frozenset({(0, 3), *((1, 20 + j) for j in range(8))})
    row = drift_beside_random(table, NeuronSet(members, 2, 90, experts=experts)).iloc[0]
    assert row.value > 3
    assert row.p > 0.05  # its expert moved as a whole


@pytest.mark.parametrize("region", ["answer", "prompt", "other"])
@pytest.mark.parametrize("name", ["MixtralForCausalLM", "DeepseekV3ForCausalLM"])
def test_a_mean_over_the_tokens_that_are_routed(name: str, region: str) -> None:
    """Of each neuron over the tokens of its expert alone, whatever passes they are run in."""
    model, items = loaded(name), examples()[:4]
    found = measure(model, items, metric=metrics.cett, region=region, reduce="routed")
    assert found.region == f"{region}:routed"
    for number, item in enumerate(items):
        answer = list(range(item.start, item.stop))
        tokens = {
            "answer": answer,
            "prompt": list(range(item.n_prompt)),
            "other": [t for t in range(len(item.token_ids)) if t not in answer],
        }[region]
        for layer, (act, out) in enumerate(mixtures.plain_traces(model.hf, item.token_ids)):
            rows = mixtures.rows_of_w_out(mixtures.layers_of(model.hf)[layer])
            cett = (act.abs() * rows.norm(dim=1) / out.norm(dim=1, keepdim=True))[tokens]
            mean = cett.sum(0) / (cett != 0).sum(0).clamp_min(1)
            close(found.values[number, layer, : len(mean)], mean, 1e-5)


def test_a_mean_over_routed_tokens_of_a_dense_model_is_the_mean() -> None:
    model = hlens.load((architectures.llama(), None))
    items = [replace(item, token_ids=item.token_ids % architectures.VOCAB) for item in examples()]
    mean = measure(model, items)
    close(measure(model, items, reduce="routed").values, mean.values, 1e-6)
    with pytest.raises(HlensError, match="reduce='routed' is of metrics that do not"):
        measure(model, items, metric=metrics.gradient_x_activation, reduce="routed")
