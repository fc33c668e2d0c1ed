"""Adapters that run beside the weights: measured as they run, as merged ones are."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch

import architectures
import hlens
from hlens.contributions import measure
from hlens.errors import HlensError
from hlens.interventions import folded, scale
from hlens.types import NeuronSet
from test_measure import several

peft = pytest.importorskip("peft", reason="peft is not installed (pip install 'hlens[peft]')")
pytestmark = pytest.mark.filterwarnings("default")  # peft warns of its own

KINDS: dict[str, tuple[str, Any]] = {
    "lora": ("llama", peft.LoraConfig(r=4, target_modules=["down_proj", "q_proj", "up_proj"])),
    "rslora": ("gemma3", peft.LoraConfig(r=4, use_rslora=True, target_modules=["down_proj"])),
    "conv1d": ("gpt2", peft.LoraConfig(r=4, target_modules=["c_proj"], fan_in_fan_out=True)),
    "dora": ("llama", peft.LoraConfig(r=4, use_dora=True, target_modules=["down_proj"])),
    "ia3": (
        "llama",
        peft.IA3Config(target_modules=["down_proj"], feedforward_modules=["down_proj"]),
    ),
    "head": ("llama", peft.LoraConfig(r=4, target_modules=["v"], modules_to_save=["lm_head"])),
    "mixture": ("qwen3_moe", peft.LoraConfig(r=4, target_modules=["q_proj"])),
}
KINDS["head"][1].target_modules = {"v_proj"}
BUILDERS = {**architectures.DENSE, **architectures.MIXTURES}


def drawn(hf: Any, config: Any) -> Any:
    """A model with an adapter that was trained: no half of it is zero."""
    adapted, draw = peft.get_peft_model(hf, copy.deepcopy(config)), torch.Generator().manual_seed(1)
    for name, weight in adapted.named_parameters():
        if any(word in name for word in ("lora", "ia3", "modules_to_save")):
            weight.data += torch.randn(weight.shape, generator=draw) * 0.2
    return adapted.eval()


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_unmerged_and_merged_agree(kind: str, tmp_path: Path) -> None:
    architecture, config = KINDS[kind]
    BUILDERS[architecture]().save_pretrained(tmp_path / "base")
    adapted = drawn(BUILDERS[architecture](), config)
    adapted.save_pretrained(tmp_path / "own")
    base = hlens.load(tmp_path / "base", device="cpu")
    model = hlens.load(tmp_path / "base", adapter=tmp_path / "own", device="cpu")
    merged = hlens.load((copy.deepcopy(adapted).merge_and_unload(), None))
    pair = hlens.load((adapted, None))
    assert model.name == "base+own"
    torch.testing.assert_close(model.w_out(1), merged.w_out(1), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(model.w_norms, merged.w_norms)
    own, its, same, without = (
        measure(each, several(4)).values for each in (model, merged, pair, base)
    )
    torch.testing.assert_close(own, its, rtol=1e-4, atol=1e-6)
    assert torch.equal(own, same)
    assert (own - without).abs().max() > 0.01
    assert len({model.fingerprint, merged.fingerprint, base.fingerprint}) == 3
    assert pair.fingerprint == model.fingerprint


def test_rows_are_the_bases_and_what_the_adapter_adds() -> None:
    hf = architectures.llama()
    before = hf.model.layers[1].mlp.down_proj.weight.detach().clone()
    model = hlens.load((drawn(hf, KINDS["lora"][1]), None))
    down: Any = model.down_projections[1]
    a, b = (down.lora_A["default"].weight, down.lora_B["default"].weight)
    expected = before.T + (b @ a).T.detach() * down.scaling["default"]
    torch.testing.assert_close(model.w_out(1), expected)


def test_how_an_adapter_is_applied_is_part_of_the_fingerprint() -> None:
    adapted = drawn(architectures.llama(), KINDS["lora"][1])
    model = hlens.load((adapted, None))
    norms, mark = model.w_norms, model.fingerprint
    for module in adapted.modules():
        if isinstance(getattr(module, "scaling", None), dict):
            module.scaling["default"] *= 2
    assert model.fingerprint != mark
    assert not torch.equal(model.w_norms, norms)
    with adapted.disable_adapter():
        plain = hlens.load((architectures.llama(), None))
        assert torch.equal(model.w_norms, plain.w_norms)


def test_edits_act_and_weights_cannot_be_folded() -> None:
    model = hlens.load((drawn(architectures.llama(), KINDS["lora"][1]), None))
    neurons = NeuronSet(frozenset({(1, 3)}), model.n_layers, model.d_mlp)
    tokens = torch.arange(3, 12)[None]
    with torch.inference_mode():
        before = model.hf(tokens).logits
        with model.editing(neurons, scale(0.0)) as receipt:
            assert not torch.equal(model.hf(tokens).logits, before)
        torch.testing.assert_close(model.bridge(tokens), before, rtol=1e-4, atol=1e-4)
    assert receipt.touched == 9
    said = "are adapted; merge the adapter"
    with pytest.raises(HlensError, match=said), folded(model, neurons, scale(0.0)):
        pass


def test_what_is_no_adapter_of_weights_is_refused(tmp_path: Path) -> None:
    hf = architectures.llama
    with pytest.raises(HlensError, match="no adapter at"):
        hlens.load((hf(), None), adapter=tmp_path)
    config = peft.PromptTuningConfig(num_virtual_tokens=3, task_type="CAUSAL_LM")
    peft.get_peft_model(hf(), config).save_pretrained(tmp_path / "prompt")
    with pytest.raises(HlensError, match="of kind PROMPT_TUNING adds tokens"):
        hlens.load((hf(), None), adapter=tmp_path / "prompt")
    drawn(hf(), KINDS["lora"][1]).save_pretrained(tmp_path / "own")
    with pytest.raises(HlensError, match="does not fit LlamaForCausalLM"):
        hlens.load((hf(hidden_size=64), None), adapter=tmp_path / "own")
    (tmp_path / "own" / "adapter_model.safetensors").rename(tmp_path / "own/adapter_model.bin")
    with pytest.raises(HlensError, match="weights in a pickle can hold code"):
        hlens.load((hf(), None), adapter=tmp_path / "own")
    with pytest.raises(HlensError, match="not bridged yet"):
        hlens.load(hlens.load((hf(), None)).bridge, adapter=tmp_path / "own")


def test_adapters_on_down_projections_of_experts_are_refused() -> None:
    config = peft.LoraConfig(
        r=4, target_modules=["q_proj"], target_parameters=["mlp.experts.down_proj"]
    )
    with pytest.raises(HlensError, match="acts on the down projections of its experts"):
        hlens.load((drawn(BUILDERS["qwen3_moe"](), config), None))
