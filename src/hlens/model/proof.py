"""Proof that the neurons that hlens measures are those that make the MLP's output.

All measures rest on activation x W_out (+ bias) being what the MLP writes, on no token seeing what
follows it, and on numbers; of a mixture also on its experts being run as transformers runs them,
and on nothing standing beside the neurons that were found. All is proven at load, on a few tokens.
"""

from contextlib import ExitStack
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from hlens.errors import HlensError, first_line
from hlens.model.hooks import layer_blocks
from hlens.model.mlp import MlpActs
from hlens.model.model import Model
from hlens.model.own_thread import hook_output
from hlens.model.projection import bias_of
from hlens.model.weights import device_of
from hlens.model.widening import widen

# Of each layer: activations times routing weight, output, and what is written beside the neurons.
Seen = dict[int, tuple[Tensor, Tensor, Tensor | None]]


def prove_neurons(model: Model, expected: Float[Tensor, "row pos token"] | None = None) -> Model:
    """Check on a few tokens that activation x W_out (+ bias) is the MLP output, in every layer.

    It fails where an architecture normalises or gates behind the neurons, or where a hook sees
    another tensor than its name says. Where logits are `expected`, the bridge must give them.

    Raises:
        HlensError: It fails; or the model attends ahead, or keeps nothing of what it has read.
    """
    vocabulary = int(getattr(model.bridge.cfg, "d_vocab", 0) or 0)
    tokens = _tokens(vocabulary).to(model.device)
    with torch.inference_mode():
        try:
            seen = (
                _seen_by_reading(model, tokens) if model.experts else _seen_by_hooks(model, tokens)
            )
        except HlensError:
            raise
        except Exception as error:  # an architecture from outside raises anything
            raise HlensError(
                f"TransformerLens cannot run {type(model.hf).__name__} as it is configured: "
                f"{first_line(error)}; use a model that it can run"
            ) from error
    if expected is not None and not model.experts:
        with torch.inference_mode():
            _check_bridged(model, model.bridge(tokens), expected)
    for layer in range(model.n_layers):
        if layer not in seen:
            raise HlensError(f"the MLP hooks of layer {layer} never fired; hlens cannot measure it")
        act, out, bias = seen[layer]
        if not bool(act.any()):
            raise HlensError(
                f"layer {layer}: all of its neurons are silent on every token, as behind a norm of "
                "zeros; the checkpoint is damaged: fetch it again"
            )
        made = widen(act) @ widen(model.w_out(layer)).to(widen(act).device)
        made = made if bias is None else made + widen(bias).to(made.device)
        limit = max(_limit(out), model.mlps[layer].rounding)
        if not (error := _apart(made, widen(out))) <= limit:  # also when it is NaN
            raise HlensError(
                f"layer {layer}: activation x W_out misses the MLP output by {error:.1e} "
                f"(relative, limit {limit:g}); this model's neurons are not what hlens "
                "measures, so it refuses to load it"
            )
    _prove_causal(model, tokens)
    _prove_cache(model, tokens)
    return model


def _seen_by_hooks(model: Model, tokens: Tensor) -> Seen:
    """What the bridge's hooks of a dense model see, by their names."""
    seen: dict[str, Tensor] = {}

    def keep(value: Tensor, hook: Any) -> None:
        seen[hook.name] = value.detach()

    outs = [f"blocks.{layer}.mlp.out" for layer in range(model.n_layers)]
    hooks = [(f"{out}.{end}", keep) for out in outs for end in ("hook_in", "hook_out")]
    model.bridge.run_with_hooks(tokens, fwd_hooks=hooks)
    biases = [bias_of(module) for module in model.down_projections]
    return {
        layer: (seen[f"{out}.hook_in"], seen[f"{out}.hook_out"], biases[layer])
        for layer, out in enumerate(outs)
        if {f"{out}.hook_in", f"{out}.hook_out"} <= set(seen)
    }


def _seen_by_reading(model: Model, tokens: Tensor) -> Seen:
    """What is read of a mixture while its bridge runs, whose logits must be the model's."""
    seen: Seen = {}

    def keep(layer: int, acts: MlpActs, out: Tensor) -> None:
        beside = model.bridge_mlps[layer].written_beside(acts)
        seen[layer] = acts.weighted(), out, beside

    with ExitStack() as stack:
        for layer, mlp in enumerate(model.bridge_mlps):
            stack.enter_context(mlp.reading(partial(keep, layer)))
        bridged = model.bridge(tokens)
    _check_bridged(model, bridged, model.hf(input_ids=tokens, use_cache=False).logits)
    return seen


def _check_bridged(model: Model, bridged: Tensor, expected: Tensor) -> None:
    """Check that the bridge, whose modules differ, gives the model's logits."""
    # Layer after layer rounds anew what the layers before it rounded: only what is gross shows.
    whole = bridged.dtype == torch.float32
    limit = max(_limit(bridged) if whole else 0.5, 10 * _rounding(model))
    if not (error := _apart(bridged.float(), expected.float())) <= limit:
        raise HlensError(
            f"the bridge of {model.name} gives other logits than the model ({error:.1e}, "
            "relative); use an architecture that TransformerLens runs alike"
        )


def run_as_given(hf: Any) -> Float[Tensor, "row pos token"]:
    """Logits of the proof's tokens, before hlens changes how the model runs."""
    tokens = _tokens(hf.get_input_embeddings().weight.shape[0])
    # Weights that are laid out anew in inference mode would take part in no gradient.
    with torch.no_grad():
        at = device_of(hf.get_input_embeddings())
        return hf(input_ids=tokens.to(at), use_cache=False).logits.float()


def prove_experts(model: Model, expected: Float[Tensor, "row pos token"]) -> None:
    """Check that hlens runs a mixture as transformers does, and sees all that its MLPs write.

    Raises:
        HlensError: Other logits than `expected`, or an MLP that writes more than its neurons do.
    """
    tokens = _tokens(model.n_tokens).to(model.device)
    own: dict[int, Tensor] = {}
    whole: dict[int, Tensor] = {}

    def add(layer: int, module: Any, args: Any, output: Any) -> None:
        out = output[0] if isinstance(output, tuple) else output
        out = out.reshape(-1, out.shape[-1])
        whole[layer] = whole[layer] + out if layer in whole else out.clone()

    with torch.inference_mode(), ExitStack() as stack:
        for layer, (block, mlp) in enumerate(zip(layer_blocks(model), model.mlps, strict=True)):
            keep = partial(_keep_output, own, layer)
            stack.enter_context(mlp.reading(keep))
            parts = {id(part) for of in mlp.blocks for part in of.module.modules()}
            for child in block.children():
                if any(id(part) in parts for part in child.modules()):
                    stack.enter_context(hook_output(child, partial(add, layer)))
        logits = model.hf(input_ids=tokens, use_cache=False).logits.float()
    if not (error := _apart(logits, expected)) <= _limit(expected, model.dtype):
        raise HlensError(
            f"{model.name}: run by hlens its experts give other logits than run by transformers "
            f"({error:.1e}, relative); hlens refuses to load it"
        )
    for layer, out in own.items():
        if not (error := _apart(out.float(), whole[layer].float())) <= _limit(out):
            raise HlensError(
                f"layer {layer}: its MLP writes more than the neurons that hlens found "
                f"({error:.1e}, relative); this model's neurons are not what hlens measures"
            )


def _keep_output(own: dict[int, Tensor], layer: int, acts: MlpActs, out: Tensor) -> None:
    own[layer] = out.reshape(-1, out.shape[-1])


def _tokens(vocabulary: int) -> Tensor:
    """Ordinary tokens, wherever the vocabulary has as many.

    The first ones are often special and hardly trained: there SmolLM2 in bfloat16 misses its own
    float32 logits by 1.4, relative, and on ordinary tokens by 0.04.
    """
    return (torch.arange(300, 308) % max(vocabulary, 11))[None]


def _apart(one: Tensor, two: Tensor) -> float:
    two = two.reshape(one.shape).to(one.device)
    return float((one - two).abs().max() / two.abs().max().clamp_min(1e-30))


def _limit(values: Tensor, dtype: torch.dtype | None = None) -> float:
    return 1e-4 if (dtype or values.dtype) == torch.float32 else 3e-2


def _rounding(model: Model) -> float:
    """What the scheme of quantised weights may round, relative; 0 for plain weights."""
    return max(mlp.rounding for mlp in model.mlps)


def _prove_cache(model: Model, tokens: Tensor) -> None:
    """Check that the model hands out what it remembers, and reads several tokens behind that."""
    tokens = tokens.repeat(1, 3)  # longer than what a convolution over tokens remembers
    cut = 2 * tokens.shape[1] // 3
    with torch.inference_mode():
        whole = model.hf(input_ids=tokens, use_cache=False).logits
        begun = model.hf(input_ids=tokens[:, :cut], use_cache=True)
    past = getattr(begun, "past_key_values", None)
    if past is None:
        raise HlensError(
            f"{model.name} keeps no keys and values of what it has read ({type(model.hf).__name__} "
            "gives none), and hlens goes on from them: use a model that keeps them"
        )
    seen = {"past_key_values": past, "attention_mask": torch.ones_like(tokens)}
    positions = torch.arange(cut, tokens.shape[1], device=tokens.device)[None]
    seen |= model.position_kwargs(positions)
    with torch.inference_mode():
        rest = model.hf(input_ids=tokens[:, cut:], **seen, use_cache=True).logits
    error = _apart(rest.float(), whole[:, cut:].float())
    if not error <= max(1e-3 if model.dtype == torch.float32 else 1e-1, 3 * _rounding(model)):
        raise HlensError(
            f"{model.name} misreads several tokens behind what it remembers: logits move by "
            f"{error:.1e} (relative), as if one at a time were read; use another"
        )


def _prove_causal(model: Model, tokens: Tensor) -> None:
    """Check that logits are numbers, and that what follows a token leaves its logits alone."""
    # Attention to a chosen few (DeepSeek's indexer) is put to the test only where it must choose.
    chosen = getattr(model.hf.config.get_text_config(), "index_topk", None) or 0
    n_tokens = tokens.shape[1]
    tokens = tokens.repeat(1, 1 + 2 * chosen // n_tokens)
    last, half = tokens.clone(), tokens.clone()
    last[0, -1] = tokens[0, 0]
    half[0, -n_tokens // 2 :] = tokens[0, : n_tokens // 2]
    cut = tokens[:, : -n_tokens // 2]
    with torch.inference_mode():
        # Together, so that the weights are read once for the three.
        rows = model.hf(input_ids=torch.cat([tokens, last, half]), use_cache=False).logits.float()
        one, *others = *rows.split(1), model.hf(input_ids=cut, use_cache=False).logits.float()
    if not bool(one.isfinite().all()):
        raise HlensError(
            f"{model.name} gives logits that are NaN or infinite: it overflows in {model.dtype}; "
            "load it with dtype='bfloat16' or 'float32'"
        )
    # LLM.int8() lets tokens of one batch decide together which columns are not rounded.
    alike = max(_limit(one, model.dtype), _rounding(model))
    # Processors add up products of other shapes in another order, layer after layer: between eight
    # tokens and four SmolLM2's logits part by 3e-5 in single and by 0.2 in half precision.
    by_length = max(1e-3 if model.dtype == torch.float32 else 0.5, _rounding(model))
    befores = (-1, -n_tokens // 2, -n_tokens // 2)
    for other, before, limit in zip(others, befores, (alike, alike, by_length), strict=True):
        own = one[:, :before]
        moved = float(
            (own - other[:, : own.shape[1]]).abs().max() / one.abs().max().clamp_min(1e-30)
        )
        if not moved <= limit:
            raise HlensError(
                f"{model.name} attends ahead: what follows a token moves its logits by "
                f"{moved:.1e} (relative); use a decoder in which it does not"
            )
