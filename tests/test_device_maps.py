"""Models of which parts are on disk or on several devices: measured as those in memory are."""

from pathlib import Path
from typing import Any

import pytest
import torch

import architectures
import hlens
import no_float64
from hlens import metrics
from hlens.contributions import measure, measure_many
from hlens.errors import HlensError
from hlens.interventions import folded, scale
from hlens.model import Model, widening
from hlens.types import NeuronSet
from test_measure import several

pytest.importorskip("accelerate", reason="accelerate is not installed (hlens[quant])")
BUILDERS = {**architectures.DENSE, **architectures.MIXTURES}
NAMES = ("llama", "llama_tied", "gemma3", "gpt2", "llama_mlp_bias", "qwen3_moe")


def placed(name: str, folder: Path, away: str = "disk") -> tuple[Model, Model]:
    """A model in memory, and the same with its middle layer somewhere else."""
    hf: Any = BUILDERS[name]()
    hf.save_pretrained(folder)
    outside = [each for each, _ in hf.base_model.named_children() if each not in ("layers", "h")]
    prefix, layers = hf.base_model_prefix, "h" if name == "gpt2" else "layers"
    where = {f"{prefix}.{part}": "cpu" for part in outside} | {"lm_head": "cpu"}
    where |= {f"{prefix}.{layers}.{i}": away if i == 1 else "cpu" for i in range(3)}
    return hlens.load(folder, device="cpu"), hlens.load(folder, device_map=where)


@pytest.mark.parametrize("name", NAMES)
def test_a_layer_on_disk_gives_the_same_numbers(name: str, tmp_path: Path) -> None:
    whole, model = placed(name, tmp_path)
    away = [key for key, weight in model.hf.named_parameters() if weight.is_meta]
    assert away
    assert all(".1." in key for key in away)
    assert model.device == torch.device("cpu")
    assert model.fingerprint == whole.fingerprint
    assert torch.equal(model.w_norms, whole.w_norms)
    every = [metrics.by_name(each) for each in metrics.names()]
    reading = [each for each in every if not metrics.needs_of(each)]
    predicting = [each for each in every if metrics.needs_of(each)]
    for chosen, position in ((reading, "read"), (predicting, "predicted")):
        one, two = (
            measure_many(each, several(3), metrics=chosen, regions=["answer"], position=position)
            for each in (whole, model)
        )
        for key in one:
            assert torch.equal(one[key].values, two[key].values), key
    assert [key for key, weight in model.hf.named_parameters() if weight.is_meta] == away


@pytest.mark.parametrize("name", ["llama", "llama_tied"])
def test_all_on_disk_it_is_the_same_model(name: str, tmp_path: Path) -> None:
    BUILDERS[name]().save_pretrained(tmp_path)
    whole = hlens.load(tmp_path, device="cpu")
    model = hlens.load(tmp_path, device_map={"": "disk"})
    assert all(weight.is_meta for weight in model.hf.parameters())
    assert model.fingerprint == whole.fingerprint  # what is tied counts once
    assert torch.equal(model.w_norms, whole.w_norms)


def test_a_layer_on_another_device_gives_the_same_numbers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from accelerate.hooks import AlignDevicesHook, add_hook_to_module

    other = no_float64.set_up()
    monkeypatch.setattr(widening, "WITHOUT_FLOAT64", {other.type})
    whole = hlens.load((architectures.llama(), None))
    hf: Any = architectures.llama()
    hf.set_attn_implementation("eager")
    layer = no_float64.move(hf.model.layers[1])
    add_hook_to_module(layer, AlignDevicesHook(execution_device=other, io_same_device=True))
    model = hlens.load((hf, None))
    assert [mlp.device.type for mlp in model.mlps] == ["cpu", other.type, "cpu"]
    assert model.fingerprint == whole.fingerprint
    reading = [metrics.by_name(each) for each in metrics.names()]
    reading = [each for each in reading if not metrics.needs_of(each)]
    one, two = (
        measure_many(each, several(3), metrics=reading, regions=["answer"])
        for each in (whole, model)
    )
    for key in one:
        torch.testing.assert_close(one[key].values, two[key].values, rtol=1e-4, atol=1e-6)
    neurons = NeuronSet(frozenset({(1, 3), (0, 2)}), model.n_layers, model.d_mlp)
    drawn = hlens.model.Settings(6, 1.0)
    with whole.editing(neurons, scale(0.0)), model.editing(neurons, scale(0.0)):
        written = [each.generate_many([[3, 4, 5]], drawn) for each in (whole, model)]
    assert written[0][0].token_ids == written[1][0].token_ids


def test_edits_act_on_a_layer_on_disk(tmp_path: Path) -> None:
    whole, model = placed("llama", tmp_path)
    neurons = NeuronSet(frozenset({(1, 3), (0, 2)}), model.n_layers, model.d_mlp)
    tokens = torch.arange(3, 12)[None]
    with torch.inference_mode():
        before = model.hf(tokens).logits
        with whole.editing(neurons, scale(0.0)), model.editing(neurons, scale(0.0)):
            assert torch.equal(model.hf(tokens).logits, whole.hf(tokens).logits)
            bridged = model.bridge(tokens)
            torch.testing.assert_close(bridged, whole.hf(tokens).logits, rtol=1e-4, atol=1e-4)
        assert torch.equal(model.hf(tokens).logits, before)
    assert model.generate_many([[3, 4, 5]], hlens.model.Settings(4, 0.0)) == whole.generate_many(
        [[3, 4, 5]], hlens.model.Settings(4, 0.0)
    )


def test_what_is_on_disk_cannot_be_folded(tmp_path: Path) -> None:
    _, model = placed("llama", tmp_path)
    neurons = NeuronSet(frozenset({(0, 3)}), model.n_layers, model.d_mlp)
    said = "are offloaded; load it onto devices that hold all"
    with pytest.raises(HlensError, match=said), folded(model, neurons, scale(0.0)):
        pass


def test_the_twin_shares_what_is_offloaded(tmp_path: Path) -> None:
    _, model = placed("llama", tmp_path)
    own: Any = model.down_projections[1]
    its: Any = model.bridge.blocks[1].mlp.out.original_component
    assert own is not its
    assert own._hf_hook.weights_map is its._hf_hook.weights_map


def test_a_map_of_one_device_and_what_is_wrong_with_a_map(tmp_path: Path) -> None:
    whole, _ = placed("llama", tmp_path)
    for where in ("cpu", "auto"):
        model = hlens.load(tmp_path, device_map=where)
        assert torch.equal(measure(model, several(2)).values, measure(whole, several(2)).values)
    with pytest.raises(HlensError, match="both say where the model goes"):
        hlens.load(tmp_path, device="cpu", device_map="auto")
    with pytest.raises(HlensError, match="name every part"):
        hlens.load(tmp_path, device_map={"": "cpu", "model.layers.1": "disk"})
    with pytest.raises(HlensError, match="a loaded one is as it is"):
        hlens.load((architectures.llama(), None), device_map="auto")
