"""Every architecture for language that TransformerLens and transformers both know, made tiny.

No configuration is written by hand: the default one of each class is shrunk by the names of its
fields (`SMALL`), and `OWN` holds the few that need another value. Windows are 16 tokens wide and
tables of positions end at 64, so that short rows go past both. Weights are drawn as in
`architectures`: wide, and norms and biases with them.
"""

import warnings
from typing import Any

import transformers as hf
from torch import nn
from transformer_lens.factories.architecture_adapter_factory import SUPPORTED_ARCHITECTURES

from architectures import draw_weights
from tiny_tokenizer import VOCAB

WINDOW = 16
POSITIONS = 64
LAYERS = 3

_OF_VALUE: dict[int | float, str] = {
    VOCAB: "vocab_size decoder_vocab_size vocab_size_per_layer_input",
    32: "hidden_size n_embd d_model dim word_embed_proj_dim lru_width attention_hidden_size "
    "projector_hidden_size out_hidden_size output_hidden_size projection_dim mamba_d_ssm",
    56: "intermediate_size ffn_dim n_inner ffn_hidden_size d_ff encoder_ffn_dim decoder_ffn_dim "
    "intermediate_size_mlp moe_intermediate_size shared_expert_intermediate_size "
    "shared_intermediate_size moe_shared_expert_intermediate_size",
    LAYERS: "num_hidden_layers n_layer n_layers num_layers encoder_layers decoder_layers "
    "num_decoder_layers depth",
    4: "num_attention_heads n_head n_heads num_heads encoder_attention_heads "
    "decoder_attention_heads attention_heads num_experts num_local_experts n_routed_experts "
    "moe_num_experts mamba_n_heads mamba_num_heads linear_num_value_heads "
    "hidden_size_per_layer_input",
    2: "num_key_value_heads num_kv_heads num_experts_per_tok linear_num_key_heads "
    "decoder_start_token_id eos_token_id index_n_heads num_global_key_value_heads mamba_n_groups "
    "n_groups topk_group n_group moe_k global_attn_every_n_layers",
    8: "head_dim d_kv kv_channels qk_rope_head_dim v_head_dim qk_nope_head_dim rotary_dim "
    "linear_key_head_dim linear_value_head_dim mamba_d_state mamba_d_head ssm_state_size "
    "mamba_head_dim state_size q_lora_rank kv_lora_rank query_pre_attn_scalar index_head_dim "
    "global_head_dim attention_head_dim o_lora_rank time_step_rank mamba_chunk_size chunk_size",
    POSITIONS: "max_position_embeddings n_positions n_ctx max_seq_len context_length "
    "max_encoder_position_embeddings max_decoder_position_embeddings",
    WINDOW: "sliding_window attention_chunk_size local_attention attention_window window_size "
    "attention_window_size index_topk local_radius",
    1: "bos_token_id n_shared_experts first_k_dense_replace",
    0: "pad_token_id num_kv_shared_layers attention_dropout hidden_dropout resid_pdrop embd_pdrop "
    "attn_pdrop dropout",
    14: "patch_size",
    28: "image_size",
}
SMALL = {name: value for value, names in _OF_VALUE.items() for name in names.split()}

# What cannot stay at its default, or would leave out what is to be tried.
_WINDOWS = {"layer_types": ["sliding_attention", "full_attention", "sliding_attention"]}
_MLA = {"num_key_value_heads": 4}
_HYBRID = {"layer_types": ["linear_attention", "full_attention", "linear_attention"]}
_MROPE = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [1, 1, 2]}
_CONV = {"layer_types": ["conv", "full_attention", "conv"]}
_MAMBA = {"mamba_n_heads": 8, "mamba_expand": 2}
OWN: dict[str, dict[str, Any]] = {
    "BambaForCausalLM": _MAMBA | {"attn_layer_indices": [1]},
    "Cohere2ForCausalLM": _WINDOWS,
    "DeepseekV2ForCausalLM": _MLA | {"num_experts_per_tok": 2},
    "Emu3ForConditionalGeneration": {
        "vocabulary_map": {"<image>": 5},
        "vq_config": {"base_channels": 32, "codebook_size": 64},
    },
    "DeepseekV3ForCausalLM": _MLA,
    "Exaone4ForCausalLM": _WINDOWS,
    "Florence2ForConditionalGeneration": {
        "vision_config": {
            "embed_dim": [8, 8, 8, 8],
            "depths": [1, 1, 1, 1],
            "num_heads": [2, 2, 2, 2],
            "num_groups": [2, 2, 2, 2],
        }
    },
    "GPTNeoForCausalLM": {"attention_types": [[["global", "local", "global"], 1]]},
    "Gemma3ForCausalLM": _WINDOWS,
    "Gemma3ForConditionalGeneration": {"text_config": _WINDOWS},
    "Glm4MoeLiteForCausalLM": _MLA,
    "Glm4vForConditionalGeneration": {"text_config": {"rope_parameters": _MROPE}},
    "GlmMoeDsaForCausalLM": _MLA,
    "GraniteMoeHybridForCausalLM": _MAMBA | {"layer_types": ["mamba", "attention", "mamba"]},
    "HunYuanDenseV1ForCausalLM": {
        "head_dim": 8,
        "rope_parameters": {
            "rope_type": "dynamic",
            "rope_theta": 10000.0,
            "alpha": 2.0,
            "factor": 1.0,
        },
    },
    "JambaForCausalLM": {"attn_layer_period": 2, "attn_layer_offset": 1},
    "Lfm2ForCausalLM": _CONV,
    "Lfm2MoeForCausalLM": _CONV,
    "Llama4ForConditionalGeneration": {"vision_config": {"vision_output_dim": 32}},
    "Mamba2ForCausalLM": {"num_heads": 8},
    "NemotronForCausalLM": _MLA,
    "Qwen2_5_VLForConditionalGeneration": {"text_config": {"rope_parameters": _MROPE}},
    "Qwen3NextForCausalLM": _HYBRID,
    "Qwen3_5ForCausalLM": _HYBRID,
    "Qwen3_5ForConditionalGeneration": {"text_config": _HYBRID},
    "Qwen3_5MoeForCausalLM": _HYBRID,
    "Qwen3_5MoeForConditionalGeneration": {"text_config": _HYBRID},
    "YoutuForCausalLM": _MLA,
    "Zamba2ForCausalLM": {"layer_types": ["mamba", "hybrid", "mamba"], "n_mamba_heads": 8},
}

# Mixtures that TransformerLens knows by another name.
ALSO = ("GraniteMoeSharedForCausalLM", "PhimoeForCausalLM")

# What cannot be made here: its sight is of a package that hlens does not use (timm).
NOT_BUILT = ("Gemma3n",)
# What is no language model: sound and pictures alone, and a body without its unembedding.
NO_LANGUAGE = ("AST", "Hubert", "Wav2Vec2", "ViT", "DeiT", "BloomModel")

# Ways in which one class may be configured that change what reads what.
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "FalconForCausalLM (ALiBi)": ("FalconForCausalLM", {"alibi": True}),
    "FalconForCausalLM (new decoder)": ("FalconForCausalLM", {"new_decoder_architecture": True}),
    "FalconForCausalLM (sequential)": ("FalconForCausalLM", {"parallel_attn": False}),
    "Gemma4ForCausalLM (experts)": (
        "Gemma4ForCausalLM",
        {
            "enable_moe_block": True,
            "num_experts": 4,
            "top_k_experts": 2,
            "moe_intermediate_size": 24,
        },
    ),
    "GPTNeoXForCausalLM (sequential)": ("GPTNeoXForCausalLM", {"use_parallel_residual": False}),
    "LlamaForCausalLM (dynamic RoPE)": (
        "LlamaForCausalLM",
        {"rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}},
    ),
    "OPTForCausalLM (norm behind)": ("OPTForCausalLM", {"do_layer_norm_before": False}),
    "Phi3ForCausalLM (LongRoPE)": (
        "Phi3ForCausalLM",
        {
            "original_max_position_embeddings": 48,
            "rope_parameters": {
                "rope_type": "longrope",
                "rope_theta": 1e4,
                "short_factor": [1.0] * 4,
                "long_factor": [3.0] * 4,
                "original_max_position_embeddings": 48,
            },
        },
    ),
    "Phi3ForCausalLM (window)": ("Phi3ForCausalLM", {"sliding_window": WINDOW}),
    "Qwen2ForCausalLM (windows)": (
        "Qwen2ForCausalLM",
        _WINDOWS | {"use_sliding_window": True, "sliding_window": WINDOW},
    ),
    "StableLmForCausalLM (parallel)": ("StableLmForCausalLM", {"use_parallel_residual": True}),
    "Starcoder2ForCausalLM (window)": ("Starcoder2ForCausalLM", {"sliding_window": WINDOW}),
}

NAMES = tuple(
    sorted(
        [name for name in (*SUPPORTED_ARCHITECTURES, *ALSO) if hasattr(hf, name)] + list(VARIANTS),
        key=str.lower,
    )
)
NAMES = tuple(name for name in NAMES if not name.startswith((*NO_LANGUAGE, *NOT_BUILT)))

# Some ask for packages that read pictures, which no text needs.
for adapter in SUPPORTED_ARCHITECTURES.values():
    adapter.required_libraries = []


def family(name: str) -> str:
    """What transformers calls the architecture of a class in a config's ``model_type``."""
    return getattr(hf, name).config_class.model_type


def shrink(kind: Any, own: dict[str, Any], positions: int = POSITIONS) -> Any:
    """A configuration of a class with small numbers, those of its parts included."""
    usual = kind()
    plain = usual.to_dict()
    fields: dict[str, Any] = {
        name: positions if value == POSITIONS else value
        for name, value in SMALL.items()
        if isinstance(plain.get(name), int | float)
    }
    for name in kind.sub_configs:
        part = getattr(usual, name, None)
        if part is not None:
            given = own.get(name, {})
            fields[name] = (
                given if not isinstance(given, dict) else shrink(type(part), given, positions)
            )
    return kind(**fields | {k: v for k, v in own.items() if k not in kind.sub_configs})


def build(name: str, *, positions: int = POSITIONS) -> nn.Module:
    """A tiny random model of an architecture, the same at every call."""
    name, own = VARIANTS.get(name, (name, OWN.get(name, {})))
    kind = getattr(hf, name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return draw_weights(kind(shrink(kind.config_class, own, positions)))
