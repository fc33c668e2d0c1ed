"""Memory that models of the usual sizes need: computed, and checked on one that is measured.

    python benchmarks/model_sizes.py

Weights are counted on a model without storage. Beside them stand the contributions of 1,000 answers
(float16; of a mixture also what is kept by expert, for answers of three tokens, see
`benchmarks/mixture.py`) and the working memory of a batch of 1,024 tokens. The measured point is
SmolLM2-135M in float32: the memory of the process before and after it is loaded.
"""

import gc

import psutil
import torch
import transformers

import hlens

USED = 0.151  # share of a mixture's values that are not zero, answers of three tokens
SIZES = {
    "8B (Llama 3.1)": transformers.LlamaConfig(
        hidden_size=4096, intermediate_size=14336, num_hidden_layers=32, num_attention_heads=32,
        num_key_value_heads=8, vocab_size=128256,
    ),
    "30B-A3B (Qwen 3)": transformers.Qwen3MoeConfig(
        hidden_size=2048, intermediate_size=6144, moe_intermediate_size=768, num_hidden_layers=48,
        num_attention_heads=32, num_key_value_heads=4, head_dim=128, num_experts=128,
        num_experts_per_tok=8, vocab_size=151936,
    ),
    "70B (Llama 3.1)": transformers.LlamaConfig(
        hidden_size=8192, intermediate_size=28672, num_hidden_layers=80, num_attention_heads=64,
        num_key_value_heads=8, vocab_size=128256,
    ),
}  # fmt: skip


def n_parameters(config: transformers.PretrainedConfig) -> tuple[int, int]:
    """All weights, and those in matrices that a quantised model packs (not its embeddings)."""
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(config)
    packed = sum(
        weight.numel()
        for name, weight in model.named_parameters()
        if weight.dim() > 1 and "embed" not in name and "lm_head" not in name
    )
    return sum(weight.numel() for weight in model.parameters()), packed


def row(name: str, config: transformers.PretrainedConfig) -> str:
    """One line of the table, in GB."""
    every, packed = n_parameters(config)
    rest = every - packed
    experts = getattr(config, "num_experts", 1)
    width = config.moe_intermediate_size if experts > 1 else config.intermediate_size
    neurons = config.num_hidden_layers * experts * width
    of_answers = 2 * 1000 * neurons / 1e9
    kept = f"{USED * of_answers:.1f}" if experts > 1 else "-"
    # A batch holds a few copies of the residual stream and of one layer's neurons.
    batch = 1024 * (6 * experts * width + 24 * config.hidden_size) * 2 / 1e9
    cells = [
        name,
        f"{neurons:,}",
        f"{2 * every / 1e9:.1f}",
        f"{(packed + 2 * rest) / 1e9:.1f}",
        f"{(0.5625 * packed + 2 * rest) / 1e9:.1f}",
        f"{of_answers:.2f}",
        kept,
        f"{batch:.2f}",
    ]
    return f"| {' | '.join(cells)} |"


def measured() -> tuple[float, float]:
    """Computed and measured GB of SmolLM2-135M's weights."""
    process = psutil.Process()
    gc.collect()
    before = process.memory_info().rss
    model = hlens.load("smollm2-135m", device="cpu", dtype="float32")
    gc.collect()
    after = process.memory_info().rss
    weights = sum(weight.numel() * 4 for weight in set(model.hf.parameters()))
    return weights / 1e9, (after - before) / 1e9


def main() -> None:
    """Print the table and the measured point."""
    heads = ["model", "neurons", "bfloat16", "8 bits", "4 bits", "1,000 answers", "by expert"]
    print(f"| {' | '.join([*heads, 'a batch'])} |\n|{'---|' * (len(heads) + 1)}")
    for name, config in SIZES.items():
        print(row(name, config))
    import transformer_lens  # noqa: F401  what loading imports is no part of the model

    computed, seen = measured()
    print(f"SmolLM2-135M, float32: {computed:.2f} GB computed, {seen:.2f} GB measured")


if __name__ == "__main__":
    main()
