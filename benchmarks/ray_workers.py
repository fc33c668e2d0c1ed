"""What Ray costs beside a plain loop: measuring with 1, 2 and 4 workers, in one run.

    OMP_NUM_THREADS=1 python benchmarks/ray_workers.py        # in an environment with hlens[ray]

A small random Llama is measured on examples that share nothing, in blocks of a batch. The plain
loop and each number of workers are run in turn, several rounds; the time of a round is from its
first block to its last, so that starting Ray's processes and loading the model, which are paid
once, stand apart. The overhead of a block is that of one worker: its time less the loop's.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

os.environ.setdefault("RAY_worker_niceness", "0")

import torch
import transformers

import hlens
from hlens.contributions import Ask
from hlens.contributions.engine import Job
from hlens.contributions.results import Measuring, cut
from hlens.metrics import cett
from hlens.types import Example
from hlens.work import HERE, Workers

POOLS = (1, 2, 4)


def saved_model(folder: Path) -> Path:
    config = transformers.LlamaConfig(
        vocab_size=1000, hidden_size=256, num_hidden_layers=8, intermediate_size=1024,
        num_attention_heads=4, num_key_value_heads=4,
    )  # fmt: skip
    torch.manual_seed(0)
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def example(seed: int) -> Example:
    draw = torch.Generator().manual_seed(seed)
    tokens = torch.randint(1000, (80,), generator=draw)
    about = {"question_id": str(seed), "group": str(seed), "domain": "random"}
    return Example(tokens, n_prompt=60, start=60, stop=80, hallucinated=seed % 2 == 0, **about)


def timed(work: Measuring, workers: Workers) -> tuple[float, float]:
    """Seconds before the first block, and from it to the last."""
    begun = time.perf_counter()
    at = [time.perf_counter() for _ in workers.results(work, range(len(work.cut.blocks)), None)]
    return at[0] - begun, at[-1] - at[0]


def main(n: int, rounds: int) -> None:
    import ray

    ray.init(
        "local",
        num_cpus=max(POOLS) + 1,
        include_dashboard=False,
        logging_level="error",
        log_to_driver=False,
    )
    with tempfile.TemporaryDirectory() as home:
        folder = saved_model(Path(home) / "model")
        job = Job(hlens.load(folder), [example(i) for i in range(n)], [Ask(cett, "answer")])
        work = Measuring(job, cut(job, 1024))
        ways: dict[str, Workers] = {"plain loop": HERE}
        for size in POOLS:
            options = {"address": "auto", "workers": size, "cpus": 1}
            ways[f"{size} workers"] = hlens.load(
                folder, engine="ray", engine_options=options
            ).workers
        found: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
        for _ in range(rounds):
            for way, workers in ways.items():
                found[way].append(timed(work, workers))
    show(found, len(work.cut.blocks), job)


def show(found: dict[str, list[tuple[float, float]]], n: int, job: Job) -> None:
    steps = n - 1  # from the first block to the last
    plain = statistics.median(last for _, last in found["plain loop"])
    size = job.model.n_layers * job.model.d_mlp * 4 * len(job.examples) / n
    print(f"{n} blocks of {size / 1e6:.1f} MB, {1000 * plain / steps:.0f} ms each in a plain loop")
    print("| way | of the plain loop | overhead a block | before the first block |")
    print("|---|---|---|---|")
    for way, times in found.items():
        taken = statistics.median(last for _, last in times)
        over = f"{1000 * (taken - plain) / steps:.0f} ms" if way == "1 workers" else ""
        before = "" if way == "plain loop" else f"{statistics.median(b for b, _ in times):.0f} s"
        print(f"| {way} | {taken / plain:.2f} | {over} | {before} |")


def parsed(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--examples", type=int, default=600)
    parser.add_argument("--rounds", type=int, default=3)
    return parser.parse_args(argv)


if __name__ == "__main__":
    given = parsed()
    if find_spec("ray") is None:
        print("skipped: Ray is not installed (pip install 'hlens[ray]')")
    else:
        main(given.examples, given.rounds)
