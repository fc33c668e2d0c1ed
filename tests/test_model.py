"""The model's door: what it opens, what it proves, what it refuses."""

import pytest
import torch
from torch import nn

import architectures
import hlens
from hlens.errors import HlensError
from hlens.model import fingerprint_weights
from hlens.model.pretrained import verify_checksum
from tiny_tokenizer import VOCAB, byte_tokenizer


@pytest.mark.parametrize("name", sorted(architectures.DENSE))
def test_neurons_are_proven_on_every_architecture(name: str) -> None:
    hf = architectures.DENSE[name]()
    model = hlens.load((hf, None))
    assert model.n_layers == len(model.down_projections) == hf.config.num_hidden_layers
    assert model.w_out(0).shape == (model.d_mlp, model.d_model)
    rows = torch.linalg.vector_norm(model.w_out(1).float(), dim=1)
    torch.testing.assert_close(model.w_norms[1], rows)


def test_the_bridge_shares_weights_and_leaves_the_model_plain() -> None:
    hf = architectures.llama()
    tokens = torch.arange(3, 12)[None]
    before = hf(tokens).logits
    model = hlens.load((hf, None))
    assert torch.equal(hf(tokens).logits, before)
    assert model.bridge.blocks[0].mlp.W_out.data_ptr() == model.w_out(0).data_ptr()
    bridged = model.bridge(tokens)
    torch.testing.assert_close(bridged, before, atol=1e-5, rtol=1e-5)


def test_a_bridge_can_be_passed_and_a_bridged_model_cannot() -> None:
    first = hlens.load((architectures.llama(), None))
    again = hlens.load(first.bridge)
    assert again.n_layers == first.n_layers
    assert again.fingerprint[:8]
    with pytest.raises(HlensError, match="already inside a TransformerBridge"):
        hlens.load((first.bridge.original_model, None))


def test_a_mixture_of_experts_is_refused_by_name() -> None:
    with pytest.raises(HlensError, match="no MLP neurons that hlens can verify"):
        hlens.load((architectures.mixtral(), None))


def test_a_false_output_is_refused() -> None:
    """A model whose down projection does more than multiply is not measured."""
    hf = architectures.llama()
    plain = hf.model.layers[1].mlp.down_proj

    class Doubling(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return 2 * super().forward(x)

    odd = Doubling(plain.in_features, plain.out_features, bias=False)
    odd.weight = plain.weight
    hf.model.layers[1].mlp.down_proj = odd
    with pytest.raises(HlensError, match="layer 1: activation x W_out misses"):
        hlens.load((hf, None))


def test_what_cannot_be_opened_says_so(tmp_path) -> None:
    with pytest.raises(HlensError, match="did you mean 'smollm2-135m'"):
        hlens.load("smollm-135m")
    with pytest.raises(HlensError, match=r"holds no config\.json"):
        hlens.load(tmp_path)
    with pytest.raises(HlensError, match="no GGUF file"):
        hlens.load(tmp_path / "none.gguf")
    with pytest.raises(HlensError, match="cannot load a model from int"):
        hlens.load(3)
    with pytest.raises(HlensError, match="unknown dtype 'float8'"):
        hlens.load(tmp_path, dtype="float8")


def test_a_local_folder_gives_the_same_model(tmp_path) -> None:
    hf = architectures.llama(vocab_size=VOCAB)
    hf.save_pretrained(tmp_path)
    byte_tokenizer().save_pretrained(tmp_path)
    model = hlens.load(tmp_path, device="cpu")
    assert model.fingerprint == hlens.load((hf, None)).fingerprint
    assert (
        model.encode("Hi", system="S")
        == byte_tokenizer()("system: S<end>user: Hi<end>assistant: ").input_ids
    )


def test_the_fingerprint_knows_an_edited_row_but_not_the_dtype() -> None:
    hf = architectures.llama()
    plain = fingerprint_weights(hf)
    rounded = architectures.llama().to(torch.bfloat16)
    assert fingerprint_weights(rounded) == plain
    with torch.no_grad():
        hf.model.layers[2].mlp.down_proj.weight[:, 17] *= 1.5
    assert fingerprint_weights(hf) != plain


def test_a_chat_prompt_needs_a_template() -> None:
    model = hlens.load((architectures.llama(vocab_size=VOCAB), byte_tokenizer(chat=False)))
    with pytest.raises(HlensError, match="no chat template"):
        model.encode("Hi", chat=True)
    assert model.decode(model.encode("Hi")) == "Hi"
    with pytest.raises(HlensError, match="without a tokenizer"):
        hlens.load((architectures.llama(), None)).encode("Hi")


def test_a_damaged_download_is_found(tmp_path) -> None:
    file = tmp_path / "weights.gguf"
    file.write_bytes(b"damaged")
    with pytest.raises(HlensError, match="checksum"):
        verify_checksum(file, "0" * 64)
