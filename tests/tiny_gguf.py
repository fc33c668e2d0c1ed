"""A Llama of transformers as a GGUF file in llama.cpp's layout, every weight as it is."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gguf

UNKNOWN, BEGIN, END = range(3)  # the first tokens
# A SentencePiece vocabulary that spells everything, with pieces for a space and three letters.
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
SPELLING = ["<unk>", "<s>", "</s>", *BYTES, "\u2581", *"abc"]


def write_gguf(hf: Any, path: Path, *, tokens: Sequence[str] = (), **adds: bool) -> Path:
    """Write a model and a SentencePiece vocabulary; returns the path.

    Args:
        hf: A `LlamaForCausalLM`.
        path: The file.
        tokens: The vocabulary; without one, tokens have names alone.
        adds: What the file says of the tokens around a text, by ``"bos"`` and ``"eos"``; it says
            nothing of what is not given.
    """
    config = hf.config
    tokens = list(tokens) or [f"<{token}>" for token in range(config.vocab_size)]
    kinds = [gguf.TokenType.BYTE if one in BYTES else gguf.TokenType.NORMAL for one in tokens]
    kinds[UNKNOWN] = gguf.TokenType.UNKNOWN
    kinds[BEGIN] = kinds[END] = gguf.TokenType.CONTROL
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([0.0] * len(tokens))
    writer.add_token_types(kinds)
    writer.add_unk_token_id(UNKNOWN)
    writer.add_bos_token_id(BEGIN)
    writer.add_eos_token_id(END)
    for name, wanted in adds.items():
        getattr(writer, f"add_add_{name}_token")(wanted)
    writer.add_vocab_size(config.vocab_size)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_dimension_count(config.hidden_size // config.num_attention_heads)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    for name, weight in hf.state_dict().items():
        if "q_proj" in name or "k_proj" in name:  # llama.cpp turns pairs of neighbours
            heads = config.num_attention_heads if "q_proj" in name else config.num_key_value_heads
            halves = weight.reshape(heads, 2, -1, weight.shape[1])
            weight = halves.swapaxes(1, 2).reshape(weight.shape)
        theirs = names.get_name(name, try_suffixes=(".weight",))
        writer.add_tensor(theirs, weight.contiguous().float().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
