"""load: open a model, bridge a twin of it, and prove that its neurons are what hlens measures.

Bridging with TransformerLens replaces modules in place and slows every forward pass, so hlens
bridges a twin: other modules, the same parameters. The plain model samples and is measured, the
bridge serves notebooks and caches, and an edit of the weights is seen by both.
"""

import copy
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hlens.errors import HlensError, first_line
from hlens.model.checkpoint import check_head, check_weights
from hlens.model.model import Model
from hlens.model.pretrained import open_pretrained
from hlens.model.widening import widen

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def load(
    source: Any,
    *,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
    revision: str | None = None,
    name: str | None = None,
    template_options: Mapping[str, Any] | None = None,
) -> Model:
    """Load a model and prove that its MLP neurons are what hlens takes them for.

    Args:
        source: An alias (``"smollm2-135m"``, ``"gemma3-270m"``), a hub id (``"owner/name"``), a
            local folder, a ``.gguf`` file (converted once, into the cache), a loaded
            `TransformerBridge`, or a pair (hf_model, tokenizer or None).
        device: Default: CUDA, else Apple's GPU, else the CPU. A loaded model stays where it is.
        dtype: Default: float32 on a CPU (bfloat16 is slower there), bfloat16 on a GPU.
        revision: Revision on the hub.
        name: Name in tables; default from the source.
        template_options: What the chat template is given beside the turns, such as
            ``{"enable_thinking": False}``, wherever hlens writes a chat prompt.

    Raises:
        HlensError: The source cannot be opened, its neurons cannot be verified, or its chat
            template does not know one of the options.
    """
    model = _open(source, device, dtype, revision, name)
    return model.with_template(template_options) if template_options else model


def _open(
    source: Any,
    device: str | torch.device | None,
    dtype: str | torch.dtype | None,
    revision: str | None,
    name: str | None,
) -> Model:
    if isinstance(source, str | Path):
        device = torch.device(device) if device else default_device()
        dtype = _dtype(dtype) or (torch.float32 if device.type == "cpu" else torch.bfloat16)
        hf, tokenizer, own_name, revision = open_pretrained(str(source), dtype, revision=revision)
        return _from_hf(hf.to(device), tokenizer, name=name or own_name, revision=revision)
    if isinstance(source, tuple) and len(source) == 2 and isinstance(source[0], nn.Module):
        hf, tokenizer = source
        if device or dtype:
            hf = hf.to(device=device, dtype=_dtype(dtype))
        name = name or Path(getattr(hf.config, "_name_or_path", "") or type(hf).__name__).name
        return _from_hf(hf, tokenizer, name=name, revision=revision or "")
    if hasattr(source, "hook_dict") and hasattr(source, "original_model"):
        return _from_bridge(source, name)
    raise HlensError(
        f"cannot load a model from {type(source).__name__}; expected an alias, a hub id, a folder, "
        "a .gguf file, a TransformerBridge, or (hf_model, tokenizer)"
    )


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
    # Parameters in the memo of deepcopy are shared instead of copied.
    twin = copy.deepcopy(hf, {id(parameter): parameter for parameter in hf.parameters()})
    paths = {id(module): path for path, module in twin.named_modules()}
    bridge = _bridge(twin, name)
    modules = [hf.get_submodule(paths[id(module)]) for module in _down_projections(bridge)]
    own = {"tokenizer": tokenizer, "name": name, "revision": revision}
    return prove_neurons(Model(hf, bridge, down_projections=modules, **own))


def _from_bridge(bridge: Any, name: str | None) -> Model:
    """A model the caller bridged: there is no plain twin, so all runs pass through its modules."""
    hf = bridge.original_model
    check_weights(hf, name or type(hf).__name__)
    model = Model(
        hf,
        bridge,
        tokenizer=getattr(bridge, "tokenizer", None),
        down_projections=_down_projections(bridge),
        name=name or getattr(bridge.cfg, "model_name", "") or type(hf).__name__,
    )
    return prove_neurons(model)


def _bridge(hf: nn.Module, name: str) -> Any:
    """A `TransformerBridge` around a model, whose modules it replaces."""
    from transformer_lens.model_bridge.sources import build_bridge_from_module

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return build_bridge_from_module(
                hf, type(hf).__name__, hf_config=hf.config, tokenizer=None, model_name=name
            )
    except Exception as error:  # an architecture from outside raises anything
        raise HlensError(
            f"TransformerLens cannot bridge {type(hf).__name__}: {first_line(error)}; "
            "use an architecture that it supports"
        ) from error


def _down_projections(bridge: Any) -> list[nn.Module]:
    """The module that is the down projection of each layer, below the bridge's hooks."""
    modules = []
    for layer in range(bridge.cfg.n_layers):
        if f"blocks.{layer}.mlp.out.hook_in" not in bridge.hook_dict:
            raise HlensError(
                f"layer {layer} has no MLP neurons that hlens can verify (no hook "
                f"'blocks.{layer}.mlp.out.hook_in'): {_kind_without_neurons(bridge)}; "
                "use a decoder whose MLPs have one down projection each"
            )
        modules.append(bridge.blocks[layer].mlp.out.original_component)
    return modules


def _kind_without_neurons(bridge: Any) -> str:
    """What kind of model has layers in which hlens finds no neurons."""
    paths = [path for path, _ in bridge.original_model.named_modules()]
    if any(path.rpartition(".")[2] in ("experts", "router") for path in paths):
        return "mixtures of experts are not supported"
    return "its layers are of other kinds (recurrent, or of several MLPs)"


def prove_neurons(model: Model) -> Model:
    """Check on a few tokens that activation x W_out (+ bias) is the MLP output, in every layer.

    All measures of hlens rest on this identity. It fails where an architecture normalises or gates
    after the hook, or where a hook sees another tensor than its name says. They also rest on no
    token seeing what follows it, and on numbers: both are proven by the same tokens.
    """
    seen: dict[str, Tensor] = {}

    def keep(value: Tensor, hook: Any) -> None:
        seen[hook.name] = value.detach()

    outs = [f"blocks.{layer}.mlp.out" for layer in range(model.n_layers)]
    hooks = [(f"{out}.{end}", keep) for out in outs for end in ("hook_in", "hook_out")]
    vocabulary = int(getattr(model.bridge.cfg, "d_vocab", 0) or 0)
    tokens = (torch.arange(3, 11) % max(vocabulary, 11))[None].to(model.w_out(0).device)
    with torch.inference_mode():
        try:
            model.bridge.run_with_hooks(tokens, fwd_hooks=hooks)
        except Exception as error:  # an architecture from outside raises anything
            raise HlensError(
                f"TransformerLens cannot run {type(model.hf).__name__} as it is configured: "
                f"{first_line(error)}; use a model that it can run"
            ) from error
    for layer, name in enumerate(outs):
        act, out = seen.get(f"{name}.hook_in"), seen.get(f"{name}.hook_out")
        if act is None or out is None:
            raise HlensError(f"the MLP hooks of layer {layer} never fired; hlens cannot measure it")
        if not bool(act.any()):
            raise HlensError(
                f"layer {layer}: all of its neurons are silent on every token, as behind a norm of "
                "zeros; the checkpoint is damaged: fetch it again"
            )
        act, expected, limit = widen(act), widen(out), 1e-4 if out.dtype == torch.float32 else 3e-2
        made = act @ widen(model.w_out(layer)).to(act.device)
        bias: Any = getattr(model.down_projections[layer], "bias", None)
        if bias is not None:
            made = made + widen(bias).to(act.device)
        error = (made - expected).abs().max() / expected.abs().max().clamp_min(1e-30)
        if not error <= limit:  # also when it is NaN
            raise HlensError(
                f"layer {layer}: activation x W_out misses the MLP output by {float(error):.1e} "
                f"(relative, limit {limit:g}); this model's neurons are not what hlens measures, "
                "so it refuses to load it"
            )
    _prove_causal(model, tokens)
    _prove_cache(model, tokens)
    return model


def _prove_cache(model: Model, tokens: Tensor) -> None:
    """Check that the model hands out what it remembers, which all writing goes on from."""
    with torch.inference_mode():
        out = model.hf(input_ids=tokens, use_cache=True)
    if getattr(out, "past_key_values", None) is None:
        raise HlensError(
            f"{model.name} keeps no keys and values of what it has read ({type(model.hf).__name__} "
            "gives none), and hlens goes on from them: use a model that keeps them"
        )


def _prove_causal(model: Model, tokens: Tensor) -> None:
    """Check that logits are numbers, and that another last token leaves those before it alone."""
    other = tokens.clone()
    other[0, -1] = tokens[0, 0]
    with torch.inference_mode():
        one, two = (
            model.hf(input_ids=ids, use_cache=False).logits.float() for ids in (tokens, other)
        )
    if not bool(one.isfinite().all()):
        raise HlensError(
            f"{model.name} gives logits that are NaN or infinite: it overflows in {model.dtype}; "
            "load it with dtype='bfloat16' or 'float32'"
        )
    moved = (one - two)[:, :-1].abs().max() / one.abs().max().clamp_min(1e-30)
    limit = 1e-5 if model.dtype == torch.float32 else 1e-2
    if not moved <= limit:
        raise HlensError(
            f"{model.name} attends ahead: another last token moves the logits before it by "
            f"{float(moved):.1e} (relative); it is an encoder and no decoder, so hlens refuses to "
            "load it"
        )
