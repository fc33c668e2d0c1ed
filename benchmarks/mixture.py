"""A mixture of Qwen3-30B-A3B's width: what its contributions weigh, and how long a path takes.

    python benchmarks/mixture.py                 # a layer of random weights, then 48 layers made
    python benchmarks/mixture.py --layers 4      # fewer layers of the made matrix

First the share of values that are not zero is measured, on one layer of 128 experts of 768 neurons
with random weights (2.4 GB in float32, half of it in bfloat16): by how many tokens an answer has.
Then a matrix of that share, 1,000 answers by 48 layers, is made expert by expert and stored in
float16, and a path of 30 points is solved on what was loaded, for every answer and none held out;
sizes are told beside the dense ones.
"""

import argparse
import resource
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
import transformers

import hlens
from hlens.contributions import measure
from hlens.store import load_contributions, write_contributions
from hlens.types import Block, Contributions, Example, Provenance, RoutedMatrix, RoutedValues

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


def stored(matrix: RoutedMatrix, y: np.ndarray, layers: int, folder: Path) -> Contributions:
    """The matrix as contributions that were written to a folder and loaded again."""
    n, names = len(y), tuple(map(str, range(len(y))))
    data = Contributions(
        values=RoutedValues(matrix, layers, torch.float32),
        labels=torch.from_numpy(y),
        groups=names,
        domains=("d",) * n,
        question_ids=names,
        n_tokens=torch.full((n,), 3),
        provenance=Provenance(experts=((EXPERTS, WIDTH, 0),) * layers),
    )
    before = time.perf_counter(), time.process_time()
    path = write_contributions(
        data, folder / "made", dtype=torch.float16, read=lambda *at: data.values[:, *at].T
    )
    written = time.perf_counter() - before[0], time.process_time() - before[1]
    size = path.stat().st_size
    whole = 2 * n * matrix.shape[1]
    print(
        f"stored: {size / 1e9:.2f} GB, {size / whole:.1%} of {whole / 1e9:.2f} GB dense (float16); "
        f"written in {written[0]:.1f} s, {written[1]:.1f} s of processors"
    )
    before = time.perf_counter()
    loaded = load_contributions(path)
    print(f"loaded, its checksum compared, in {time.perf_counter() - before:.1f} s")
    return loaded


def main() -> None:
    """Print what is measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--answers", type=int, default=1000)
    parser.add_argument("--layers", type=int, default=48)
    parser.add_argument("--share", type=float, help="of values that are not zero, not measured")
    parser.add_argument("--tokens", type=int, default=3, help="of an answer")
    parser.add_argument("--points", type=int, default=30)
    parser.add_argument("--ratio", type=float, default=0.1, help="end of the path, of lambda_max")
    parser.add_argument("--folder", type=Path, help="of the store; removed at the end")
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
        f"kept by expert in memory, {dense / 1e9:.2f} GB dense (float32)"
    )
    with TemporaryDirectory(dir=options.folder) as folder:
        data = stored(matrix, y, options.layers, Path(folder))
        del matrix
        probe = hlens.SparseProbe(n_points=options.points, path_ratio=options.ratio)
        before, cpu = time.perf_counter(), time.process_time()
        path = hlens.selection.path(data, probe, validate=False)
        wall, cpu = time.perf_counter() - before, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(
        f"path of {len(path)} points down to {path.lambda_ratio[-1]:.2g} lambda_max, "
        f"{path.n_selected[-1]} neurons at its end, gap {path.gaps.max():.0e}: "
        f"{wall:.1f} s on the clock, {cpu:.1f} s of processors; peak {peak:.1f} GB"
    )


if __name__ == "__main__":
    main()
