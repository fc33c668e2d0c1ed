"""A tiny model that vLLM has kernels for on a CPU, and what both engines are asked of it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

import architectures
import hlens
from hlens.model import Model
from hlens.types import Example, NeuronSet
from tiny_tokenizer import VOCAB, byte_tokenizer

# Batches of 64 tokens cut nearly every prompt into chunks, and mix requests in a pass.
SMALL: dict[str, Any] = {
    "max_model_len": 256,
    "max_num_batched_tokens": 64,
    "max_num_seqs": 8,
    "kv_cache_memory_bytes": 1 << 26,
}
GREEDY = hlens.Settings(12, temperature=0.0)


def folder_of(home: Path, builder: str = "llama") -> Path:
    """A tiny model whose heads are of a size that vLLM has on a CPU."""
    sizes: dict[str, Any] = {"hidden_size": 64, "num_attention_heads": 2, "num_key_value_heads": 2}
    if builder.startswith("gemma"):
        sizes |= {"head_dim": 32, "query_pre_attn_scalar": 32}
    build = getattr(architectures, builder)
    build(vocab_size=VOCAB, max_position_embeddings=512, **sizes).save_pretrained(home)
    byte_tokenizer().save_pretrained(home)
    return home


def examples(n: int = 24, vocabulary: int = VOCAB, longest: int = 200) -> list[Example]:
    rng = np.random.default_rng(0)
    found = []
    for i in range(n):
        ids = torch.tensor(rng.integers(3, vocabulary, int(rng.integers(20, longest))))
        half, stop = len(ids) // 2, len(ids) - 3
        found.append(
            Example(
                token_ids=ids,
                n_prompt=half,
                start=half + 2,
                stop=stop,
                hallucinated=bool(i % 2),
                question_id=f"q{i}",
                group=f"g{i}",
                domain="general",
            )
        )
    # A second span of the first response: read from the same request.
    return [*found, replace(found[0], start=found[0].n_prompt, stop=found[0].n_prompt + 2)]


def prompts() -> list[list[int]]:
    return [one.token_ids[: one.n_prompt].tolist() for one in examples(8)]


def apart(one: Any, two: Any) -> float:
    """The largest difference, relative to the largest value."""
    return float((one.values - two.values).abs().max() / one.values.abs().max())


def neurons_of(model: Model) -> NeuronSet:
    members = frozenset((i, j) for i in range(model.n_layers) for j in range(0, model.d_mlp, 3))
    return NeuronSet(members, model.n_layers, model.d_mlp, model=model.fingerprint)
