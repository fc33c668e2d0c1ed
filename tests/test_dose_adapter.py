"""A dose as a LoRA adapter: exact, the same through PEFT as through the edit, and left no trace."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from typer.testing import CliRunner

import architectures
from hlens import interventions as iv
from hlens.cli import app
from hlens.errors import HlensError
from hlens.model import Model, load
from hlens.types import NeuronSet
from tiny_tokenizer import byte_tokenizer

pytest.importorskip("peft", reason="peft is not installed (pip install 'hlens[peft]')")
pytestmark = pytest.mark.filterwarnings("default")  # peft warns of its own

MEMBERS = frozenset({(0, 1), (0, 7), (2, 20)})
PROMPTS = [[3, 14, 15, 9, 26], [5, 35, 8], [7, 7, 2, 30, 12, 1, 4]]
IDS = torch.tensor([PROMPTS[0]])


@pytest.fixture(scope="module")
def model() -> Model:
    return load((architectures.llama(), None), name="tiny")


@pytest.fixture
def neurons() -> NeuronSet:
    return NeuronSet(MEMBERS, 3, 56)


def logits(model: Model) -> Tensor:
    with torch.inference_mode():
        return model.hf(IDS).logits


@pytest.mark.parametrize(
    ("name", "alpha"),
    [*((name, 3.0) for name in sorted(architectures.DENSE)), ("llama", 0.0), ("gpt2", 0.5)],
)
def test_an_adapter_is_the_edit(name: str, alpha: float, tmp_path: Path) -> None:
    model = load((architectures.DENSE[name](), None), name=name)
    neurons = NeuronSet(MEMBERS, 3, 56)
    plain, modules = logits(model), [name for name, _ in model.hf.named_modules()]
    folder = iv.adapter(model, neurons, iv.scale(alpha), tmp_path / "dose")
    found = iv.verify_adapter(folder, model, PROMPTS, max_new_tokens=6)
    assert found.ok
    assert found.rows_agree
    assert (found.neurons, found.prompts, found.answers_agree) == (3, 3, 3)
    assert found.largest_difference < 1e-5
    assert torch.equal(logits(model), plain)
    assert [name for name, _ in model.hf.named_modules()] == modules
    with model.editing(neurons, iv.scale(alpha)):
        hooked = logits(model)
    assert not torch.allclose(hooked, plain, atol=1e-4)
    model.hf.save_pretrained(tmp_path / "base")
    adapted = load(str(tmp_path / "base"), adapter=folder, device="cpu")
    assert torch.allclose(logits(adapted), hooked, atol=1e-5, rtol=1e-4)


def test_layers_are_padded_to_one_rank(model: Model, neurons: NeuronSet, tmp_path: Path) -> None:
    folder = iv.adapter(model, neurons, iv.scale(3.0), tmp_path / "dose")
    weights = load_file(folder / "adapter_model.safetensors")
    ranks = {name.split(".")[4]: w.shape[0] for name, w in weights.items() if "lora_A" in name}
    assert ranks == {"0": 2, "2": 2}  # none of layer 1, and layer 2 has one neuron
    a = weights["base_model.model.model.layers.0.mlp.down_proj.lora_A.weight"]
    assert a.nonzero().tolist() == [[0, 1], [1, 7]]
    assert a[a != 0].tolist() == [2.0, 2.0]
    card = (folder / "README.md").read_text()
    assert all(text in card for text in ("| L0N7 | 3 |", "3 of the 168", "--max-lora-rank 2"))


def test_several_edits_are_one_adapter(model: Model, neurons: NeuronSet, tmp_path: Path) -> None:
    pairs = [(neurons, iv.ablate()), (NeuronSet(frozenset({(1, 4)}), 3, 56), iv.scale(3.0))]
    folder = iv.adapter(model, pairs, folder=tmp_path / "dose")
    assert iv.verify_adapter(folder, model, PROMPTS).ok
    with model.editing(pairs):
        hooked = logits(model)
    model.hf.save_pretrained(tmp_path / "base")
    adapted = load(str(tmp_path / "base"), adapter=folder, device="cpu")
    assert torch.allclose(logits(adapted), hooked, atol=1e-5)


def test_half_precision_is_compared_within_its_limit(neurons: NeuronSet, tmp_path: Path) -> None:
    half = load((architectures.llama().to(torch.bfloat16), None), name="half")
    found = iv.verify_adapter(
        iv.adapter(half, neurons, iv.scale(0.0), tmp_path / "dose"), half, PROMPTS
    )
    assert found.ok
    assert found.limit == 0.1


def test_an_altered_adapter_is_not_the_edit(
    model: Model, neurons: NeuronSet, tmp_path: Path
) -> None:
    folder = iv.adapter(model, neurons, iv.scale(0.0), tmp_path / "dose")
    path = folder / "adapter_model.safetensors"
    weights = load_file(path)
    name = next(name for name in weights if "lora_B" in name)
    weights[name] = weights[name] * 30
    save_file(weights, path, metadata={"format": "pt"})
    found = iv.verify_adapter(folder, model, PROMPTS)
    assert not found.rows_agree
    assert not found.ok
    assert found.largest_difference > found.limit


def test_llama_cpp_finds_its_names(model: Model, neurons: NeuronSet, tmp_path: Path) -> None:
    gguf = pytest.importorskip("gguf", reason="gguf is not installed (pip install 'hlens[demo]')")
    folder = iv.adapter(model, neurons, iv.scale(3.0), tmp_path / "dose")
    read = gguf.GGUFReader(folder / "adapter.gguf")
    fields = {name: field.contents() for name, field in read.fields.items()}
    assert fields["general.architecture"] == "llama"
    assert (fields["general.type"], fields["adapter.type"]) == ("adapter", "lora")
    assert fields["adapter.lora.alpha"] == 2.0  # the rank, so that the scale is 1
    tensors = {tensor.name: torch.tensor(tensor.data) for tensor in read.tensors}
    assert {*tensors} == {
        f"blk.{layer}.ffn_down.weight.lora_{half}" for layer in (0, 2) for half in "ab"
    }
    a, b = (tensors[f"blk.0.ffn_down.weight.lora_{half}"] for half in "ab")
    torch.testing.assert_close((b @ a)[:, 7], 2.0 * model.w_out(0)[7])
    assert (b @ a).ne(0).any(dim=0).nonzero().flatten().tolist() == [1, 7]


def test_what_no_adapter_can_do_is_refused(
    model: Model, neurons: NeuronSet, tmp_path: Path
) -> None:
    to = tmp_path / "dose"
    for edit in (iv.clamp(high=1.0), iv.steer(torch.ones(3, 56)), iv.scale(2.0, iv.GENERATED)):
        with pytest.raises(HlensError, match="only a constant factor on all tokens"):
            iv.adapter(model, neurons, edit, to)
    with pytest.raises(HlensError, match="no neurons to scale"):
        iv.adapter(model, NeuronSet(frozenset(), 3, 56), iv.scale(2.0), to)
    assert not to.exists()
    folder = iv.adapter(model, neurons, iv.scale(2.0), to)
    with pytest.raises(HlensError, match="exists; choose a new folder"):
        iv.adapter(model, neurons, iv.scale(2.0), to)
    other = load((architectures.llama(seed=5), None), name="other")
    with pytest.raises(HlensError, match="with its own base model"):
        iv.verify_adapter(folder, other, PROMPTS)
    with pytest.raises(HlensError, match="no prompts"):
        iv.verify_adapter(folder, model, [])


def test_routed_experts_are_baked_instead(tmp_path: Path) -> None:
    mixture = load((architectures.MIXTURES["qwen3_moe"](), None), name="mixture")
    neurons = NeuronSet(
        frozenset({(1, 3)}), mixture.n_layers, mixture.d_mlp, experts=mixture.experts
    )
    with pytest.raises(HlensError, match=r"routed experts.*hlens bake"):
        iv.adapter(mixture, neurons, iv.scale(0.0), tmp_path / "dose")


def test_the_command_verifies_what_it_is_given(
    model: Model, neurons: NeuronSet, tmp_path: Path
) -> None:
    base = load((architectures.llama(vocab_size=259), byte_tokenizer()), name="base")
    base.hf.save_pretrained(tmp_path / "base")
    byte_tokenizer().save_pretrained(tmp_path / "base")
    folder = iv.adapter(base, neurons, iv.scale(0.0), tmp_path / "dose")
    (tmp_path / "prompts.txt").write_text("Who wrote it?\n\nWhere?\n")
    command = ["verify", str(folder), "--base", str(tmp_path / "base")]
    run = CliRunner().invoke(app, [*command, "--prompts", str(tmp_path / "prompts.txt"), "--json"])
    assert run.exit_code == 0, run.output
    facts = json.loads(run.stdout)
    assert (facts["prompts"], facts["answers_agree"], facts["ok"]) == (2, 2, True)
    said = CliRunner().invoke(app, command)
    assert "it does what the edit does" in said.output
    assert "20 of 20" in said.output
    with pytest.raises(HlensError, match="name it: --base"):
        CliRunner().invoke(app, ["verify", str(folder)], catch_exceptions=False)
