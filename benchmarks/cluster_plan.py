"""A 70B model on eight GPUs of 80 GB, on paper: memory, tokens a second, bytes that leave them.

    python benchmarks/cluster_plan.py

The formulas stand in the functions below. Two of them are checked on a model that runs here, of the
shape of SmolLM2-135M with random weights: the bytes of an example in a block as it is stored and as
it is sent, and the tokens a second of measuring beside what the arithmetic of this CPU allows.
"""

import pickle
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import torch
import transformers

import hlens
import hlens.model
from hlens.contributions import Ask
from hlens.contributions.engine import Job
from hlens.contributions.results import Measuring, cut
from hlens.metrics import cett
from hlens.store import Blocks
from hlens.types import Example

GPUS = {"A100 80 GB": (80e9, 2.04e12, 312e12), "H100 80 GB": (80e9, 3.35e12, 989e12)}
N_GPUS = 8
SEQUENCES, CONTEXT = 256, 200  # that are sampled at a time, and their length in the middle
EXAMPLES, TOKENS = 4000, 80  # that are measured, and the tokens of one


@dataclass(frozen=True)
class Shape:
    """What a model's size follows from."""

    layers: int
    d_model: int
    d_mlp: int
    heads: int
    kv_heads: int
    vocabulary: int

    @property
    def parameters(self) -> int:
        """Weights of a Llama, embeddings not tied."""
        head = self.d_model // self.heads
        attention = 2 * self.d_model * head * (self.heads + self.kv_heads)
        layer = attention + 3 * self.d_model * self.d_mlp + 2 * self.d_model
        return self.layers * layer + 2 * self.vocabulary * self.d_model + self.d_model

    @property
    def in_passes(self) -> int:
        """Weights that each token is multiplied by when it is measured: no unembedding."""
        return self.parameters - 2 * self.vocabulary * self.d_model

    def cached_bytes(self) -> int:
        """Keys and values of one token, bfloat16."""
        return 2 * 2 * self.layers * self.kv_heads * (self.d_model // self.heads)

    def sums_bytes(self, width: int = 4) -> int:
        """What leaves the workers of one example and one region: a number a neuron."""
        return self.layers * self.d_mlp * width


LLAMA_70B = Shape(80, 8192, 28672, 64, 8, 128256)
SMOLLM2 = Shape(30, 576, 1536, 9, 3, 49152)


def on_paper(shape: Shape) -> None:
    weights = 2 * shape.parameters / N_GPUS
    print(f"weights {shape.parameters / 1e9:.1f} billion, {2 * shape.parameters / 1e9:.0f} GB in")
    print(f"bfloat16, {weights / 1e9:.1f} GB a GPU; a token's keys and values", end=" ")
    print(
        f"{shape.cached_bytes() / 1e6:.2f} MB, {shape.cached_bytes() / N_GPUS / 1e3:.0f} KB a GPU\n"
    )
    print("| GPU | tokens that fit the cache | sampling, tokens/s at most | measuring |")
    print("|---|---|---|---|")
    for name, (memory, bandwidth, flops) in GPUS.items():
        fitting = (0.9 * memory - weights) / (shape.cached_bytes() / N_GPUS)
        # A step of all sequences reads every weight once, and their keys and values.
        read = weights + SEQUENCES * CONTEXT * shape.cached_bytes() / N_GPUS
        computed = 2 * shape.parameters * SEQUENCES / (N_GPUS * flops)
        sampling = SEQUENCES / max(read / bandwidth, computed)
        measuring = N_GPUS * flops / (2 * shape.in_passes)
        print(f"| {name} | {fitting / 1e6:.1f} million | {sampling:,.0f} | {measuring:,.0f} |")
    raw = 2 * shape.layers * shape.d_mlp * TOKENS
    print(
        f"\nleaving the workers: {shape.sums_bytes() / 1e6:.1f} MB an example and region (float32),"
    )
    print(f"{shape.sums_bytes() / N_GPUS / 1e6:.2f} MB of each of {N_GPUS} ranks;", end=" ")
    print(f"all activations of its {TOKENS} tokens would be {raw / 1e6:.0f} MB")
    whole = EXAMPLES * shape.sums_bytes()
    print(f"{EXAMPLES:,} examples: {whole / 1e9:.0f} GB, {8 * whole / 10e9:.0f} s at 10 Gbit/s\n")


def checked_here(shape: Shape) -> None:
    torch.set_num_threads(1)
    hf = transformers.LlamaForCausalLM(
        transformers.LlamaConfig(
            vocab_size=shape.vocabulary, hidden_size=shape.d_model, num_hidden_layers=shape.layers,
            intermediate_size=shape.d_mlp, num_attention_heads=shape.heads,
            num_key_value_heads=shape.kv_heads, tie_word_embeddings=False,
        )
    )  # fmt: skip
    assert sum(weight.numel() for weight in hf.parameters()) == shape.parameters
    model = hlens.model.load((hf, None))
    examples = [random_example(number, shape.vocabulary) for number in range(64)]
    job = Job(model, examples, [Ask(cett, "answer")])
    work = Measuring(job, cut(job, 1024))
    sent = stored = 0
    seconds = []
    with tempfile.TemporaryDirectory() as folder:
        blocks = Blocks(folder, "benchmark", work.cut.to_row)
        for number in range(len(work.cut.blocks)):
            begun = time.process_time()
            members, values = work.run(number)
            seconds.append((time.process_time() - begun) / (TOKENS * len(members)))
            sent += len(pickle.dumps((members, values)))
            blocks.save(number, members, values)
        stored = sum(path.stat().st_size for path in Path(folder).glob("block-*"))
    print(
        f"here, {len(examples)} examples in {len(work.cut.blocks)} blocks, by the formula", end=" "
    )
    print(f"{shape.sums_bytes():,} bytes an example: sent {sent / len(examples):,.0f}", end=", ")
    print(f"stored {stored / len(examples):,.0f}")
    bound = flops_here(shape) / (2 * shape.in_passes)
    found = 1 / statistics.median(seconds)
    print(f"measuring here: {found:,.0f} tokens a CPU second, {found / bound:.0%} of the bound")


def random_example(seed: int, vocabulary: int) -> Example:
    draw = torch.Generator().manual_seed(seed)
    tokens = torch.randint(vocabulary, (TOKENS,), generator=draw)
    about = {"question_id": str(seed), "group": str(seed), "domain": "random"}
    return Example(tokens, n_prompt=60, start=60, stop=TOKENS, hallucinated=seed % 2 == 0, **about)


def flops_here(shape: Shape) -> float:
    """Multiplications and additions a CPU second of the model's largest matrix product."""
    rows, weight = torch.randn(1024, shape.d_model), torch.randn(shape.d_mlp, shape.d_model)
    taken = []
    for _ in range(30):
        begun = time.process_time()
        rows @ weight.T
        taken.append(time.process_time() - begun)
    return 2 * 1024 * weight.numel() / statistics.median(taken)


if __name__ == "__main__":
    on_paper(LLAMA_70B)
    checked_here(SMOLLM2)
