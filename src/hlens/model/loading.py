"""load: open a model, bridge a twin of it, and prove that its neurons are what hlens measures.

Bridging with TransformerLens replaces modules in place and slows every forward pass, so hlens
bridges a twin: other modules, the same parameters. The plain model samples and is measured, the
bridge serves notebooks and caches, and an edit of the weights is seen by both.
"""

import copy
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import nn

from hlens.errors import HlensError, first_line
from hlens.model.adapters import adapt, check_experts, unwrap
from hlens.model.checkpoint import check_head, check_weights
from hlens.model.dense import DenseBlock
from hlens.model.experts import find_mlps, is_mixture, tap_experts
from hlens.model.mlp import Mlp
from hlens.model.model import Model
from hlens.model.pretrained import Placing, open_pretrained
from hlens.model.proof import prove_experts, prove_neurons, run_as_given
from hlens.model.quantised import config_of, quantised_modules
from hlens.model.weights import is_offloaded, kept_otherwise, rounded, shared_with_twin

# What TransformerLens knows a class of transformers as, where the names differ.
_KNOWN_AS = {
    "PhimoeForCausalLM": "PhiMoEForCausalLM",
    "GraniteMoeSharedForCausalLM": "GraniteMoeForCausalLM",
}
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def load(
    source: Any,
    *,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
    revision: str | None = None,
    name: str | None = None,
    template_options: Mapping[str, Any] | None = None,
    quantization: Any = None,
    device_map: str | Mapping[str, Any] | None = None,
    adapter: str | Path | None = None,
) -> Model:
    """Load a model into this process, and prove that its neurons are what hlens takes them for.

    `hlens.load`, which also knows other engines, says what each argument is.

    Raises:
        HlensError: The source cannot be opened, its neurons cannot be verified, or its chat
            template does not know one of the options.
    """
    if device and device_map:
        raise HlensError("device= and device_map= both say where the model goes; give one of them")
    wanted = _Wanted(device, _dtype(dtype), quantization, device_map, adapter)
    model = _open(source, wanted, revision, name)
    return model.with_template(template_options) if template_options else model


@dataclass(frozen=True)
class _Wanted:
    """How a caller wants a model's weights."""

    device: str | torch.device | None
    dtype: torch.dtype | None
    quantization: Any
    device_map: str | Mapping[str, Any] | None
    adapter: str | Path | None

    def placing(self) -> Placing:
        """The same with its defaults."""
        device = torch.device(self.device) if self.device else default_device()
        if self.device_map:
            _check_map(self.device_map)
        dtype = self.dtype or (torch.float32 if device.type == "cpu" else torch.bfloat16)
        return Placing(dtype, device, config_of(self.quantization), self.device_map)


def _open(source: Any, wanted: _Wanted, revision: str | None, name: str | None) -> Model:
    if isinstance(source, str | Path):
        placing = wanted.placing()
        hf, tokenizer, own_name, revision = open_pretrained(str(source), placing, revision=revision)
        if not placing.device_map and not quantised_modules(hf):
            hf = hf.to(placing.device)
        hf, own_name = _adapted(hf, own_name, wanted.adapter)
        return _from_hf(hf, tokenizer, name=name or own_name, revision=revision)
    if wanted.quantization is not None or wanted.device_map:
        raise HlensError(
            "quantization= and device_map= go with a model that hlens opens (an alias, a hub id, a "
            "folder or a .gguf file); a loaded one is as it is, and where it is"
        )
    if isinstance(source, tuple) and len(source) == 2 and isinstance(source[0], nn.Module):
        hf, tokenizer = source
        hf = unwrap(hf)
        if wanted.device or wanted.dtype:
            hf = _moved(hf, wanted.device, wanted.dtype)
        own_name = Path(getattr(hf.config, "_name_or_path", "") or type(hf).__name__).name
        hf, own_name = _adapted(hf, own_name, wanted.adapter)
        name = name or own_name
        return _from_hf(hf, tokenizer, name=name, revision=revision or "")
    if wanted.adapter:
        raise HlensError("adapter= goes with a model that is not bridged yet; load that with it")
    if hasattr(source, "hook_dict") and hasattr(source, "original_model"):
        return _from_bridge(source, name)
    raise HlensError(
        f"cannot load a model from {type(source).__name__}; expected an alias, a hub id, a folder, "
        "a .gguf file, a TransformerBridge, or (hf_model, tokenizer)"
    )


def _adapted(hf: Any, name: str, adapter: str | Path | None) -> tuple[Any, str]:
    """The model with its adapter, and what the two are called."""
    return (adapt(hf, adapter), f"{name}+{Path(adapter).name}") if adapter else (hf, name)


def _check_map(device_map: str | Mapping[str, Any]) -> None:
    if find_spec("accelerate") is None:
        raise HlensError("device_map= needs the package accelerate: pip install 'hlens[quant]'")
    if not isinstance(device_map, str) and "" in device_map and len(device_map) > 1:
        raise HlensError(
            "device_map= names the whole model ('') and parts of it; name every part, such as "
            "model.embed_tokens, model.layers.0, ..., model.norm, lm_head"
        )


def _moved(hf: Any, device: Any, dtype: torch.dtype | None) -> Any:
    """The loaded model on another device or in another dtype."""
    try:
        if dtype is None or kept_otherwise(hf):
            return hf.to(device=device, dtype=dtype)
        hf = hf.to(device=device)
        for weight in rounded(hf):
            weight.data = weight.data.to(dtype)
        return hf
    except (RuntimeError, ValueError) as error:  # what is quantised or dispatched cannot be moved
        raise HlensError(
            f"{type(hf).__name__} cannot be moved: {first_line(error)}; load it where it is to be, "
            "and leave device and dtype out"
        ) from error


def default_device() -> torch.device:
    """CUDA where there is one, else Apple's GPU, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def _dtype(dtype: str | torch.dtype | None) -> torch.dtype | None:
    if dtype is None or isinstance(dtype, torch.dtype):
        return dtype
    if dtype not in DTYPES:
        raise HlensError(f"unknown dtype {dtype!r}; expected one of {', '.join(DTYPES)}")
    return DTYPES[dtype]


def _from_hf(hf: Any, tokenizer: Any, *, name: str, revision: str) -> Model:
    """A model over a plain Hugging Face model: its twin is bridged, not the model itself."""
    hf.eval()
    check_head(hf, name)
    check_weights(hf, name)
    for config in (hf.config, hf.config.get_text_config()):
        config.return_dict = True  # outputs are read by name
    # Bridging twice would fire every hook twice.
    if any(type(module).__module__.startswith("transformer_lens") for module in hf.modules()):
        raise HlensError(
            "this model is already inside a TransformerBridge; pass the bridge itself to "
            "hlens.load, or load the model afresh"
        )
    if is_offloaded(hf):
        # Parameters that are made anew while the model runs in inference mode cannot be frozen.
        hf.requires_grad_(False)
    mixture = is_mixture(hf)
    # Quantised weights may be laid out anew when they first run: before a twin shares them.
    expected = run_as_given(hf) if mixture or kept_otherwise(hf) else None
    if mixture:
        check_experts(hf, name)
        tap_experts(hf, name)
    # What is in the memo of deepcopy is shared instead of copied.
    twin = copy.deepcopy(hf, shared_with_twin(hf))
    paths = {id(module): path for path, module in twin.named_modules()}
    if mixture:  # found before the bridge moves the twin's modules
        mlps, bridge_mlps = find_mlps(hf, name), find_mlps(twin, name)
        bridge = _bridge(twin, name)
    else:
        bridge = _bridge(twin, name)
        bridge_mlps = _bridged_mlps(bridge)
        paths_of = [paths[id(mlp.blocks[0].module)] for mlp in bridge_mlps]
        mlps = [Mlp((DenseBlock(hf.get_submodule(path)),)) for path in paths_of]
    own = {"tokenizer": tokenizer, "name": name, "revision": revision}
    model = Model(hf, bridge, mlps=mlps, bridge_mlps=bridge_mlps, **own)
    if mixture and expected is not None:
        prove_experts(model, expected)
    return prove_neurons(model, expected)


def _from_bridge(bridge: Any, name: str | None) -> Model:
    """A model the caller bridged: there is no plain twin, so all runs pass through its modules."""
    hf = bridge.original_model
    if is_mixture(hf):
        raise HlensError(
            "a bridge around a mixture of experts has no hook at its neurons; give hlens.load the "
            "model itself, as a folder or (hf_model, tokenizer)"
        )
    check_weights(hf, name or type(hf).__name__)
    model = Model(
        hf,
        bridge,
        tokenizer=getattr(bridge, "tokenizer", None),
        mlps=_bridged_mlps(bridge),
        name=name or getattr(bridge.cfg, "model_name", "") or type(hf).__name__,
    )
    return prove_neurons(model)


def _bridge(hf: nn.Module, name: str) -> Any:
    """A `TransformerBridge` around a model, whose modules it replaces."""
    from transformer_lens.model_bridge.sources import build_bridge_from_module

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            kind = _KNOWN_AS.get(type(hf).__name__, type(hf).__name__)
            return build_bridge_from_module(
                hf, kind, hf_config=hf.config, tokenizer=None, model_name=name
            )
    except Exception as error:  # an architecture from outside raises anything
        raise HlensError(
            f"TransformerLens cannot bridge {type(hf).__name__}: {first_line(error)}; "
            "use an architecture that it supports"
        ) from error


def _bridged_mlps(bridge: Any) -> list[Mlp]:
    """The MLP of each layer of a bridge: read below its hooks, changed before them."""
    mlps = []
    for layer in range(bridge.cfg.n_layers):
        if f"blocks.{layer}.mlp.out.hook_in" not in bridge.hook_dict:
            raise HlensError(
                f"layer {layer} has no MLP neurons that hlens can verify (no hook "
                f"'blocks.{layer}.mlp.out.hook_in'): {_kind_without_neurons(bridge)}; "
                "use a decoder whose MLPs have one down projection each"
            )
        out = bridge.blocks[layer].mlp.out
        mlps.append(Mlp((DenseBlock(out.original_component, changed_at=out),)))
    return mlps


def _kind_without_neurons(bridge: Any) -> str:
    """What kind of model has layers in which hlens finds no neurons."""
    paths = [path for path, _ in bridge.original_model.named_modules()]
    if any(path.rpartition(".")[2] in ("experts", "router") for path in paths):
        return "its experts are run past the interface of transformers for them"
    return "its layers are of other kinds (recurrent, or of several MLPs)"
