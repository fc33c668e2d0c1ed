"""Tiny randomly initialised models of real architectures: three layers, seconds, no download.

Every builder is seeded and returns a Hugging Face causal model in eval mode. Weights are drawn
wider than at initialisation (and norms and biases are drawn too), so that a forgotten bias, gain or
norm shows in the numbers instead of hiding behind a zero or a one.
"""

from collections.abc import Callable
from typing import Any

import torch
import transformers as hf
from torch import nn

VOCAB = 96
N_LAYERS = 3
D_MODEL = 32
D_MLP = 56
N_HEADS = 4

Builder = Callable[..., nn.Module]

_GATED: dict[str, Any] = {
    "vocab_size": VOCAB,
    "hidden_size": D_MODEL,
    "intermediate_size": D_MLP,
    "num_hidden_layers": N_LAYERS,
    "num_attention_heads": N_HEADS,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}


def _build(kind: str, seed: int = 0, **fields: Any) -> nn.Module:
    config = getattr(hf, f"{kind}Config")(**fields)
    return draw_weights(getattr(hf, _CAUSAL.get(kind, f"{kind}ForCausalLM"))(config), seed)


def draw_weights(model: nn.Module, seed: int = 0) -> nn.Module:
    """The model with weights drawn anew, the same for every seed, in eval mode."""
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in sorted(model.named_parameters()):
            wide = 0.2 if weight.dim() > 1 or name.endswith("bias") else 0.1
            noise = torch.randn(weight.shape, generator=draw) * wide
            # A norm's gain stays about one (or about zero, where the model adds the one itself).
            weight.copy_(weight + noise if weight.dim() == 1 else noise)
    return model.eval()


_CAUSAL = {
    "GPT2": "GPT2LMHeadModel",
    "Gemma3Text": "Gemma3ForCausalLM",
    "Qwen3Moe": "Qwen3MoeForCausalLM",
    "Qwen2Moe": "Qwen2MoeForCausalLM",
}


def llama(seed: int = 0, **fields: Any) -> nn.Module:
    return _build("Llama", seed, **_GATED | fields)


def llama_mlp_bias(seed: int = 0, **fields: Any) -> nn.Module:
    return _build("Llama", seed, **_GATED | {"mlp_bias": True} | fields)


def llama_tied(seed: int = 0, **fields: Any) -> nn.Module:
    return _build("Llama", seed, **_GATED | {"tie_word_embeddings": True} | fields)


def mistral(seed: int = 0, **fields: Any) -> nn.Module:
    return _build("Mistral", seed, **_GATED | {"sliding_window": None} | fields)


def qwen2(seed: int = 0, **fields: Any) -> nn.Module:
    return _build("Qwen2", seed, **_GATED | fields)


def qwen3(seed: int = 0, **fields: Any) -> nn.Module:
    return _build("Qwen3", seed, **_GATED | {"head_dim": 8} | fields)


def gemma2(seed: int = 0, **fields: Any) -> nn.Module:
    # A window shorter than the tests' sequences: the local layers take part.
    own = {"head_dim": 8, "sliding_window": 16, "query_pre_attn_scalar": 8}
    return _build("Gemma2", seed, **_GATED | own | fields)


def gemma3(seed: int = 0, **fields: Any) -> nn.Module:
    own = {"head_dim": 8, "sliding_window": 16, "query_pre_attn_scalar": 8}
    layers = {"layer_types": ["sliding_attention", "sliding_attention", "full_attention"]}
    return _build("Gemma3Text", seed, **_GATED | own | layers | fields)


def phi3(seed: int = 0, **fields: Any) -> nn.Module:
    return _build("Phi3", seed, **_GATED | fields)


def olmo2(seed: int = 0, **fields: Any) -> nn.Module:
    return _build("Olmo2", seed, **_GATED | fields)


def gpt2(seed: int = 0, **fields: Any) -> nn.Module:
    own = {
        "vocab_size": VOCAB,
        "n_positions": 256,
        "n_embd": D_MODEL,
        "n_layer": N_LAYERS,
        "n_head": N_HEADS,
        "n_inner": D_MLP,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 0,
    }
    return _build("GPT2", seed, **own | fields)


def gpt_neox(seed: int = 0, **fields: Any) -> nn.Module:
    own = {key: value for key, value in _GATED.items() if key != "num_key_value_heads"}
    return _build("GPTNeoX", seed, **own | {"use_parallel_residual": True} | fields)


def falcon(seed: int = 0, **fields: Any) -> nn.Module:
    own = {
        "vocab_size": VOCAB,
        "hidden_size": D_MODEL,
        "ffn_hidden_size": D_MLP,
        "num_hidden_layers": N_LAYERS,
        "num_attention_heads": N_HEADS,
        "max_position_embeddings": 256,
        "parallel_attn": True,
        "alibi": False,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 0,
    }
    return _build("Falcon", seed, **own | fields)


def mixtral(seed: int = 0, **fields: Any) -> nn.Module:
    own = {"num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": None}
    return _build("Mixtral", seed, **_GATED | own | fields)


def qwen3_moe(seed: int = 0, **fields: Any) -> nn.Module:
    own = {
        "num_experts": 4,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": D_MLP,
        "head_dim": 8,
        "decoder_sparse_step": 1,
    }
    return _build("Qwen3Moe", seed, **_GATED | own | fields)


def granite(seed: int = 0, **fields: Any) -> nn.Module:
    own = {"residual_multiplier": 0.3, "logits_scaling": 4.0, "embedding_multiplier": 6.0}
    return _build("Granite", seed, **_GATED | own | fields)


def cohere(seed: int = 0, **fields: Any) -> nn.Module:
    return _build("Cohere", seed, **_GATED | {"logit_scale": 0.0625} | fields)


DENSE: dict[str, Builder] = {
    "llama": llama,
    "llama_mlp_bias": llama_mlp_bias,
    "llama_tied": llama_tied,
    "mistral": mistral,
    "qwen2": qwen2,
    "qwen3": qwen3,
    "gemma2": gemma2,
    "gemma3": gemma3,
    "phi3": phi3,
    "olmo2": olmo2,
    "gpt2": gpt2,
    "gpt_neox": gpt_neox,
    "falcon": falcon,
}
MIXTURES: dict[str, Builder] = {"mixtral": mixtral, "qwen3_moe": qwen3_moe}
# Models that scale their logits: Granite divides them, Cohere (parallel blocks) multiplies.
SCALED_LOGITS: dict[str, Builder] = {"granite": granite, "cohere": cohere}
