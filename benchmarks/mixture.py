"""A mixture of Qwen3-30B-A3B's width: what its contributions weigh, and how long a path takes.

    python benchmarks/mixture.py                 # a layer of random weights, then 48 layers made
    python benchmarks/mixture.py --layers 4      # fewer layers of the made matrix

First the share of values that are not zero is measured, on one layer of 128 experts of 768 neurons
with random weights (2.4 GB in float32, half of it in bfloat16): by how many tokens an answer has.
Then a matrix of that share, 1,000 answers by 48 layers, is made expert by expert, and a path of 30
points is solved on it, for every answer and none held out; sizes are told beside the dense ones.
"""

import argparse
import resource
import time

import numpy as np
import torch
import transformers

import hlens
from hlens.contributions import measure
from hlens.probe.routed import Block, RoutedMatrix
from hlens.probe.training import at_ratios
from hlens.types import Example

EXPERTS, WIDTH, ROUTED = 128, 768, 8


def one_layer() -> hlens.Model:
    """A layer of the real width, drawn at random."""
    config = transformers.Qwen3MoeConfig(
        vocab_size=1000, hidden_size=2048, num_hidden_layers=1, num_attention_heads=32,
        num_key_value_heads=4, head_dim=128, num_experts=EXPERTS, num_experts_per_tok=ROUTED,
        moe_intermediate_size=WIDTH, norm_topk_prob=True, decoder_sparse_step=1,
    )  # fmt: skip
    torch.manual_seed(0)
    with torch.device("meta"):
        model = transformers.Qwen3MoeForCausalLM(config)
    model = model.to_empty(device="cpu").to(torch.bfloat16)
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() == 1:
                weight.fill_(1.0)
            else:
                weight.normal_(0, 0.02, generator=draw)
        for module in model.modules():  # what `to_empty` left without values
            if hasattr(module, "inv_freq"):
                module.__init__(config)
    return hlens.load((model.eval(), None), name="Qwen3-30B-A3B, one layer")


def shares(model: hlens.Model, lengths: list[int], n: int) -> dict[int, float]:
    """Share of values that are not zero, by tokens of the answer."""
    found = {}
    for length in lengths:
        items = []
        for i in range(n):
            ids = torch.from_numpy(np.random.default_rng(i).integers(0, 1000, 24 + length))
            items.append(Example(ids, 24, 24, 24 + length, i % 2 == 1, f"{i}", f"{i}", "d"))
        data = measure(model, items)
        found[length] = float((data.values != 0).float().mean())
    return found


def made(n: int, layers: int, share: float, seed: int = 0) -> tuple[RoutedMatrix, np.ndarray]:
    """Heavy-tailed contributions of experts that `share` of the answers use; 40 that tell."""
    draw, choose = torch.Generator().manual_seed(seed), np.random.default_rng(seed)
    blocks = []
    for number in range(layers * EXPERTS):
        used = torch.from_numpy(np.flatnonzero(choose.random(n) < share))
        scale = torch.exp(torch.randn(WIDTH, 1, generator=draw))
        values = (
            torch.rand(WIDTH, len(used), generator=draw)
            .clamp_min_(1e-7)
            .log_()
            .neg_()
            .mul_(0.05 * scale)
        )
        blocks.append(Block(number * WIDTH, used, values))
    logit = np.zeros(n)
    for number in choose.choice(len(blocks), 40, replace=False):
        block = blocks[number]
        row = np.zeros(n)
        row[block.examples.numpy()] = block.values[int(choose.integers(WIDTH))].numpy()
        logit += choose.choice([-1, 1]) * (row - row.mean()) / row.std()
    y = choose.random(n) < 1 / (1 + np.exp(-logit))
    return RoutedMatrix(blocks, (n, layers * EXPERTS * WIDTH)), y


def main() -> None:
    """Print what is measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--answers", type=int, default=1000)
    parser.add_argument("--layers", type=int, default=48)
    parser.add_argument("--share", type=float, help="of values that are not zero, not measured")
    parser.add_argument("--tokens", type=int, default=3, help="of an answer")
    parser.add_argument("--points", type=int, default=30)
    parser.add_argument("--ratio", type=float, default=0.1, help="end of the path, of lambda_max")
    options = parser.parse_args()
    share = options.share
    if share is None:
        found = shares(one_layer(), [1, 3, 5, 10], 40)
        for length, own in found.items():
            print(f"answers of {length:2d} tokens: {own:.1%} of the values are not zero")
        share = found.get(options.tokens, found[3])
    matrix, y = made(options.answers, options.layers, share)
    dense = 4 * matrix.shape[0] * matrix.shape[1]
    print(
        f"{matrix.shape[0]:,} answers x {matrix.shape[1]:,} neurons: {matrix.n_bytes / 1e9:.2f} GB "
        f"kept by expert, {dense / 1e9:.2f} GB dense (float32), {dense / 2e9:.2f} GB in float16"
    )
    probe = hlens.SparseProbe()
    training = probe.training_set(matrix, y)
    ratios = np.geomspace(1.0, options.ratio, options.points)
    before, cpu = time.perf_counter(), time.process_time()
    path = training.solve(training.everyone, at_ratios(ratios))[0]
    wall, cpu = time.perf_counter() - before, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(
        f"{len(path)} points down to {options.ratio:g} lambda_max, "
        f"{len(path[-1].features)} neurons at its end, gap {max(s.gap for s in path):.0e}: "
        f"{wall:.1f} s on the clock, {cpu:.1f} s of processors; peak {peak:.1f} GB"
    )


if __name__ == "__main__":
    main()
