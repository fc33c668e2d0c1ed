"""Damaged or foreign checkpoints: refused in one line that names what is wrong; whole ones load."""

import json
import re
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import architectures
import hlens
from hlens.errors import HlensError
from hlens.model import Settings
from tiny_tokenizer import VOCAB, byte_tokenizer

DOWN, NORM = "model.layers.1.mlp.down_proj.weight", "model.layers.1.post_attention_layernorm.weight"
Damage = Callable[[Path], object]


def _folder(path: Path, hf: nn.Module | None = None, **options: str) -> Path:
    (hf or architectures.llama(vocab_size=VOCAB)).save_pretrained(path, **options)
    byte_tokenizer().save_pretrained(path)
    return path


def _weights(change: Callable[[dict[str, Tensor]], object]) -> Damage:
    def damage(folder: Path) -> None:
        tensors = load_file(folder / "model.safetensors")
        change(tensors)
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})

    return damage


def _config(**fields: object) -> Damage:
    def damage(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | fields))

    return damage


def _text(name: str, text: str) -> Damage:
    return lambda folder: (folder / name).write_text(text)


def _cut(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def _pickle(folder: Path) -> None:
    weights = folder / "model.safetensors"
    torch.save(load_file(weights), folder / "pytorch_model.bin")
    weights.unlink()


DAMAGES: dict[str, tuple[Damage, str]] = {
    "missing": (_weights(lambda t: t.pop(DOWN)), f"lacks {DOWN}, which would be random"),
    "mismatched": (
        _weights(lambda t: t.update({DOWN: torch.ones(32, 40)})),
        f"{DOWN} is of shape (32, 40), its config asks for (32, 56)",
    ),
    "zeros": (_weights(lambda t: t[DOWN].zero_()), f"{DOWN} hold zeros alone"),
    "zero norm": (_weights(lambda t: t[NORM].zero_()), "layer 1: all of its neurons are silent"),
    "nan": (_weights(lambda t: t[DOWN][3].fill_(torch.nan)), f"{DOWN} hold NaN or infinity"),
    "infinity": (_weights(lambda t: t[NORM].fill_(torch.inf)), f"{NORM} hold NaN or infinity"),
    "layers beyond it": (_config(num_hidden_layers=5), "lacks model.layers.3.input_layernorm"),
    "layers left out": (_config(num_hidden_layers=2), "holds model.layers.2.input_layernorm"),
    "absurd layers": (_config(num_hidden_layers=10**9), "num_hidden_layers is 1000000000"),
    "layers in words": (_config(num_hidden_layers="three"), "expected int, got str"),
    "no heads": (_config(num_attention_heads=0), "cannot load the config"),
    "activation": (_config(hidden_act="nonsense"), "nonsense"),
    "classifier": (
        _config(architectures=["LlamaForSequenceClassification"]),
        "holds a LlamaForSequenceClassification, which predicts no next token",
    ),
    "classifier in words": (
        _config(architectures="LlamaForSequenceClassification"),
        "holds a LlamaForSequenceClassification, which predicts no next token",
    ),
    "own code": (
        _config(model_type="own", auto_map={"AutoConfig": "a.B", "AutoModelForCausalLM": "a.C"}),
        "contains custom code",
    ),
    "config": (_text("config.json", '{"model_type":'), "not a valid JSON"),
    "empty config": (_text("config.json", "{}"), "model_type"),
    "generation config": (_text("generation_config.json", "{"), "generation_config.json"),
    "tokenizer": (_text("tokenizer.json", "{"), "cannot load the tokenizer"),
    "no tokenizer.json": (lambda f: (f / "tokenizer.json").unlink(), "cannot load the tokenizer"),
    "cut": (_cut, "cannot load the model"),
    "junk": (_text("model.safetensors", "junk"), "cannot load the model"),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), "no file named model.safetensors"),
    "pickle": (_pickle, "holds its weights as a pickle (pytorch_model.bin)"),
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_damaged_folder_is_refused_in_one_line(kind: str, tmp_path: Path) -> None:
    damage, said = DAMAGES[kind]
    damage(_folder(tmp_path))
    with pytest.raises(HlensError, match=re.escape(said)) as error:
        hlens.load(tmp_path, device="cpu")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("held", [None, [None], []])
def test_a_config_that_names_no_architecture_is_known_by_its_type(
    held: object, tmp_path: Path
) -> None:
    _config(architectures=held)(_folder(tmp_path))
    assert type(hlens.load(tmp_path, device="cpu").hf).__name__ == "LlamaForCausalLM"


@pytest.mark.parametrize("kind", ["missing", "damaged"])
def test_a_shard_that_is_missing_or_damaged_is_named(kind: str, tmp_path: Path) -> None:
    _folder(tmp_path, max_shard_size="20KB")
    shard = sorted(tmp_path.glob("*.safetensors"))[1]
    shard.unlink() if kind == "missing" else shard.write_text("junk")
    with pytest.raises(HlensError, match="cannot load the model") as error:
        hlens.load(tmp_path, device="cpu")
    assert "\n" not in str(error.value)


def test_whole_checkpoints_load_tied_sharded_and_without_a_tokenizer(tmp_path: Path) -> None:
    tied = architectures.llama_tied(vocab_size=VOCAB)
    assert "lm_head.weight" not in load_file(_folder(tmp_path / "a", tied) / "model.safetensors")
    loaded = hlens.load(tmp_path / "a", device="cpu")
    tokens = torch.arange(3, 20)[None]
    assert torch.equal(loaded.hf(tokens).logits, tied(tokens).logits)
    sharded = hlens.load(_folder(tmp_path / "b", max_shard_size="20KB"), device="cpu")
    assert torch.equal(
        sharded.hf(tokens).logits, architectures.llama(vocab_size=VOCAB)(tokens).logits
    )
    tied.save_pretrained(tmp_path / "c")
    bare = hlens.load(tmp_path / "c", device="cpu")
    with pytest.raises(HlensError, match="without a tokenizer"):
        bare.encode("Hi")


def _bert(kind: str) -> nn.Module:
    sizes = {"vocab_size": VOCAB, "hidden_size": 32, "num_hidden_layers": 3}
    sizes |= {"num_attention_heads": 4, "intermediate_size": 56}
    config = getattr(transformers, kind.partition("For")[0].partition("LM")[0] + "Config")(**sizes)
    return getattr(transformers, kind)(config)


@pytest.mark.parametrize("kind", ["BertForMaskedLM", "BertLMHeadModel"])
def test_what_attends_ahead_is_no_decoder(kind: str, tmp_path: Path) -> None:
    hf = _bert(kind)
    with pytest.raises(HlensError, match="attends ahead: what follows a token moves its logits"):
        hlens.load((hf, None))
    hf.save_pretrained(tmp_path)
    with pytest.raises(HlensError, match=r"attends ahead|predicts no next token"):
        hlens.load(tmp_path, device="cpu")


@pytest.mark.parametrize(("by_length", "refused"), [(1e-5, False), (1e-2, True)])
def test_processors_may_round_by_length(by_length: float, refused: bool) -> None:
    """Products of other shapes are added up in another order: 3e-5 in SmolLM2 on some."""
    hf = architectures.llama(vocab_size=VOCAB)
    hf.lm_head.register_forward_hook(lambda _, __, out: out * (1 + by_length * out.shape[1]))
    with pytest.raises(HlensError, match="attends ahead") if refused else nullcontext():
        hlens.load((hf, None))


def test_encoder_decoders_and_models_without_a_head_of_tokens_are_refused(tmp_path: Path) -> None:
    sizes = {"vocab_size": VOCAB, "d_model": 32, "num_layers": 2, "num_heads": 4, "d_ff": 56}
    t5 = transformers.T5ForConditionalGeneration(transformers.T5Config(**sizes, d_kv=8))
    t5.save_pretrained(tmp_path)
    for source in (tmp_path, (t5, None)):
        with pytest.raises(HlensError, match="is an encoder-decoder"):
            hlens.load(source, device="cpu")
    with pytest.raises(HlensError, match="predicts no next token"):
        hlens.load((architectures.llama().model, None))


def test_a_loaded_model_is_checked_too() -> None:
    nan, away, bridged = (architectures.llama() for _ in range(3))
    with torch.no_grad():
        nan.model.layers[1].mlp.up_proj.weight[2, 3] = torch.nan
    with pytest.raises(HlensError, match=r"up_proj\.weight hold NaN or infinity"):
        hlens.load((nan, None))
    away.model.layers[1].to("meta")
    with pytest.raises(HlensError, match=r"\(and 8 more\) are nowhere"):
        hlens.load((away, None))
    bridge = hlens.load((bridged, None)).bridge
    with torch.no_grad():
        bridged.model.layers[2].mlp.down_proj.weight.zero_()
    with pytest.raises(HlensError, match="hold zeros alone"):
        hlens.load(bridge)


def test_a_config_that_asks_for_tuples_is_read_all_the_same() -> None:
    plain, tuples = architectures.llama(), architectures.llama()
    tuples.config.return_dict = False
    models = [hlens.load((hf, None)) for hf in (plain, tuples)]
    one, two = (model.generate_many([[3, 4, 5]], Settings(4, 0.0)) for model in models)
    assert one == two
