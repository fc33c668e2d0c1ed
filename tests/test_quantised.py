"""Quantised weights: their rows, what is measured on them, and what they refuse."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import architectures
import hlens
from hlens import metrics
from hlens.contributions import measure
from hlens.errors import HlensError
from hlens.interventions import bake, folded, scale
from hlens.model import Model, quantised
from hlens.model.dense import DenseBlock
from hlens.model.mlp import Mlp
from hlens.types import NeuronSet
from test_measure import several, traced

PACKAGES = {name: package for name, (package, _) in quantised.QUANTIZATIONS.items()}
# What float32 activations give; kernels for 4 bits of bitsandbytes compute in half precision.
ROUNDS = ("bnb-8bit", "bnb-4bit", "torchao-int8-dynamic")

pytestmark = pytest.mark.filterwarnings("default")  # each package warns of its own


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    at = tmp_path_factory.mktemp("model")
    architectures.llama(hidden_size=64, intermediate_size=256).save_pretrained(at)
    return at


_LOADED: dict[str, Model] = {}


@pytest.fixture(params=sorted(PACKAGES))
def scheme(request: pytest.FixtureRequest) -> str:
    for package in ("accelerate", PACKAGES[request.param]):
        if find_spec(package) is None:
            pytest.skip(f"{package} is not installed (pip install 'hlens[quant]')")
    return request.param


@pytest.fixture
def model(scheme: str, folder: Path) -> Model:
    if scheme not in _LOADED:
        _LOADED[scheme] = hlens.load(folder, device="cpu", quantization=scheme)
    return _LOADED[scheme]


def test_rows_are_what_the_projection_writes_for_one_neuron(model: Model, scheme: str) -> None:
    down, rows = model.down_projections[1], model.w_out(1).float()
    units = torch.eye(model.d_mlp)
    with torch.no_grad():
        written = down.forward(units).float()
    far = (written - rows).abs().max() / rows.abs().max()
    assert far < (1e-2 if scheme in ROUNDS else 1e-6)
    norms = torch.linalg.vector_norm(rows, dim=1)
    torch.testing.assert_close(model.w_norms[1], norms)
    some = torch.tensor([3, 200])
    torch.testing.assert_close(model.mlps[1].rows(some).float(), rows[some])


def test_what_is_measured_is_the_formula_on_what_ran(model: Model, scheme: str) -> None:
    for item in several(3):
        values = measure(model, [item], metric=metrics.cett).values[0]
        expected = traced(model, item)[:, item.start : item.stop].mean(dim=1)
        # The last bit of a float32 decides which step an activation is rounded to.
        far = (values - expected).abs().max() / expected.abs().max()
        assert far < (5e-2 if scheme in ROUNDS else 1e-5)


def test_batches_agree_where_no_token_rounds_for_another(model: Model, scheme: str) -> None:
    if scheme == "bnb-8bit":
        pytest.skip("LLM.int8() lets the tokens of a batch decide together what is not rounded")
    together = measure(model, several(5)).values
    alone = torch.cat([measure(model, [item]).values for item in several(5)])
    far = (together - alone).abs().max() / together.abs().max()
    assert far < (5e-2 if scheme in ROUNDS else 1e-5)


def test_edits_act_on_activations_and_leave_no_trace(model: Model) -> None:
    tokens = torch.arange(3, 12)[None]
    neurons = NeuronSet(frozenset({(1, 3), (2, 7)}), model.n_layers, model.d_mlp)
    with torch.inference_mode():
        before, bridged = model.hf(tokens).logits, model.bridge(tokens)
        with model.editing(neurons, scale(5.0)) as receipt:
            edited = model.hf(tokens).logits
        assert receipt.touched == 18
        assert not torch.equal(edited, before)
        assert torch.equal(model.hf(tokens).logits, before)
    assert (bridged - before).abs().max() < 0.3 * before.abs().max()


def test_weights_cannot_be_folded_and_say_what_to_do(model: Model, tmp_path: Path) -> None:
    neurons = NeuronSet(frozenset({(1, 3)}), model.n_layers, model.d_mlp)
    said = r"are quantised; load it in bfloat16 or float32, fold edits into that"
    with pytest.raises(HlensError, match=said), folded(model, neurons, scale(0.0)):
        pass
    with pytest.raises(HlensError, match=said):
        bake(model, neurons, scale(0.0), folder=tmp_path / "baked")


def test_fingerprints_hold_packed_weights(model: Model, scheme: str, folder: Path) -> None:
    mark, norms = model.fingerprint, model.w_norms
    measure(model, several(2))
    assert model.fingerprint == mark
    assert model.w_norms is norms  # and nothing was made again
    assert mark != hlens.load(folder, device="cpu").fingerprint
    assert hlens.load(folder, device="cpu", quantization=scheme).fingerprint == mark


def test_rounded_activations_are_part_of_the_fingerprint(folder: Path) -> None:
    pytest.importorskip("torchao")
    pytest.importorskip("accelerate")
    names = ("torchao-int8", "torchao-int8-dynamic")
    one, two = (hlens.load(folder, device="cpu", quantization=name) for name in names)
    assert torch.equal(one.w_out(0), two.w_out(0))
    assert one.fingerprint != two.fingerprint


def test_the_twin_shares_what_is_packed(model: Model) -> None:
    twin = model.bridge.blocks[1].mlp.out.original_component
    own, its = (quantised.parts_of(each) for each in (model.down_projections[1], twin))
    assert own.keys() == its.keys()
    assert all(own[name].data_ptr() == its[name].data_ptr() for name in own)


def compressed(folder: Path, form: str, weights: dict[str, Any], activations: Any) -> None:
    """A checkpoint as compressed-tensors writes it, its scales those of the largest weights."""
    from compressed_tensors.compressors import ModelCompressor
    from compressed_tensors.quantization import (
        QuantizationArgs,
        QuantizationConfig,
        QuantizationScheme,
        apply_quantization_config,
    )

    hf: Any = architectures.llama(hidden_size=64, intermediate_size=256)
    inputs = QuantizationArgs(**activations) if activations else None
    scheme = QuantizationScheme(
        targets=["Linear"], weights=QuantizationArgs(**weights), input_activations=inputs
    )
    own = {"ignore": ["lm_head"], "format": form, "quantization_status": "frozen"}
    apply_quantization_config(hf, QuantizationConfig(config_groups={"all": scheme}, **own))
    largest = 448.0 if weights["type"] == "float" else 2.0 ** (weights["num_bits"] - 1) - 1
    for module in hf.modules():
        if hasattr(module, "weight_scale"):
            rows = module.weight.data
            groups = rows.reshape(len(rows), -1, weights.get("group_size", rows.shape[1]))
            scale_of = groups.abs().amax(-1) / largest
            module.weight_scale.data = scale_of.reshape(module.weight_scale.shape)
    compressor = ModelCompressor.from_pretrained_model(hf, quantization_format=form)
    compressor.compress_model(hf)
    hf.save_pretrained(folder)
    compressor.update_config(folder)


INT = {"type": "int", "symmetric": True}
FLOAT = {"type": "float", "symmetric": True, "num_bits": 8}
TOKEN = {"strategy": "token", "dynamic": True}
COMPRESSED: dict[str, Any] = {
    "W4A16": ("pack-quantized", INT | {"num_bits": 4, "strategy": "group", "group_size": 32}, None),
    "W8A8": ("int-quantized", INT | {"num_bits": 8, "strategy": "channel"},
             INT | TOKEN | {"num_bits": 8}),
    "FP8": ("float-quantized", FLOAT | {"strategy": "channel"}, FLOAT | TOKEN),
}  # fmt: skip


@pytest.mark.parametrize("kind", COMPRESSED)
def test_compressed_tensors(kind: str, folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("compressed_tensors", reason="needs hlens[quant]")
    compressed(tmp_path, *COMPRESSED[kind])
    model = hlens.load(tmp_path, device="cpu")
    plain = hlens.load(folder, device="cpu")
    assert model.kept == "quantised"
    assert model.mlps[0].rounding == (quantised.HALF if kind == "W4A16" else quantised.EIGHT_BITS)
    far = (model.w_out(1) - plain.w_out(1)).norm() / plain.w_out(1).norm()
    assert 1e-3 < far < {"W4A16": 0.15, "W8A8": 0.01, "FP8": 0.05}[kind]
    # A plain model of the same matrices: what is left is the rounding of activations.
    hf: Any = architectures.llama(hidden_size=64, intermediate_size=256)
    with torch.no_grad():
        for name in quantised.quantised_modules(model.hf):
            matrix = quantised.matrix_of(model.hf.get_submodule(name))
            hf.get_submodule(name).weight.copy_(matrix)
    own, same = (measure(each, several(3)).values for each in (model, hlens.load((hf, None))))
    assert (own - same).norm() / own.norm() < {"W4A16": 1e-5, "W8A8": 0.1, "FP8": 0.2}[kind]
    mark = model.fingerprint
    assert mark != plain.fingerprint
    assert hlens.load(tmp_path, device="cpu").fingerprint == mark


class Packed(nn.Module):
    """A projection of a scheme that hlens does not know: only its input and output tell."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.in_features = linear.in_features
        self.scale = nn.Buffer(linear.weight.detach().abs().amax(1, keepdim=True) / 127)
        self.codes = nn.Buffer((linear.weight.detach() / self.scale).round().to(torch.int8))

    def forward(self, x: Tensor) -> Tensor:
        return x @ (self.codes.float() * self.scale).T


def test_a_scheme_that_is_not_known_is_asked_for_its_rows() -> None:
    hf: Any = architectures.llama()
    for layer in hf.model.layers:
        layer.mlp.down_proj = Packed(layer.mlp.down_proj)
    model = hlens.load((hf, None))
    down: Any = model.down_projections[1]
    torch.testing.assert_close(model.w_out(1), (down.codes.float() * down.scale).T)
    values = measure(model, several(2), metric=metrics.cett).values
    expected = torch.stack(
        [traced(model, item)[:, item.start : item.stop].mean(dim=1) for item in several(2)]
    )
    torch.testing.assert_close(values, expected, rtol=1e-4, atol=1e-6)
    mark = model.fingerprint
    down.scale.mul_(2)
    assert model.fingerprint != mark


def test_what_does_not_say_how_many_neurons_it_reads_is_refused() -> None:
    model = hlens.load((architectures.llama(), None))
    model.mlps[2] = Mlp((DenseBlock(nn.Module()),))
    with pytest.raises(HlensError, match=r"Module does not say how many neurons it reads"):
        measure(model, several(1))


def test_more_than_rounding_is_refused() -> None:
    """A packed projection that multiplies and then adds what no neuron wrote."""
    hf: Any = architectures.llama()

    class Odd(Packed):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) * x.abs().amax(-1, keepdim=True)

    hf.model.layers[1].mlp.down_proj = Odd(hf.model.layers[1].mlp.down_proj)
    with pytest.raises(HlensError, match=r"layer 1: activation x W_out misses"):
        hlens.load((hf, None))


def test_names_and_packages_are_said(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(HlensError, match="did you mean 'bnb-4bit'"):
        hlens.load(folder, quantization="bnb-4bits")
    with pytest.raises(HlensError, match="a loaded one is as it is"):
        hlens.load((architectures.llama(), None), quantization="bnb-4bit")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(HlensError, match=r"needs accelerate and bitsandbytes: pip install"):
        hlens.load(folder, device="cpu", quantization="bnb-8bit")
