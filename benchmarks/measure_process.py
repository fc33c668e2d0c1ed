"""Measuring as whole processes, beside the official way: processor time and the largest memory.

    python benchmarks/measure_process.py [examples] [rounds]

Each process loads SmolLM2-135M from the same folder and keeps CETT over four regions of every
example on disk. The official way (as the script of arXiv 2512.01797 does it) is transformers alone,
in bfloat16: one sample at a time, with logits, the neurons of all layers and tokens stacked and
then reduced, one file a sample.
"""

import json
import resource
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

REGIONS = ("answer", "other", "response", "prompt")
WAYS = ("official bfloat16", "hlens bfloat16", "hlens float32")


def prepare(examples: int, folder: Path) -> None:
    """Write the examples, and what the official way needs of them: ids and regions as positions."""
    import measure_ways

    from hlens.contributions.regions import find_region
    from hlens.model.pretrained import checkpoint_of
    from hlens.store.jsonl import save_examples

    model = measure_ways.load()
    items = measure_ways.examples(model, examples)
    save_examples(items, folder / "examples.jsonl")
    asked = [
        {"ids": item.token_ids.tolist(), "regions": [find_region(name)(item) for name in REGIONS]}
        for item in items
    ]
    source = checkpoint_of("smollm2-135m")
    (folder / "asked.json").write_text(json.dumps({"from": source, "rows": asked}))


def official(folder: Path) -> None:
    """As `measure_ways.official`, but without hlens, whose memory would count."""
    import numpy as np
    import torch
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(1)
    given = json.loads((folder / "asked.json").read_text())
    model = AutoModelForCausalLM.from_pretrained(given["from"], dtype=torch.bfloat16).eval()
    downs = [layer.mlp.down_proj for layer in model.model.layers]
    norms = torch.stack([down.weight.detach().norm(dim=0) for down in downs])
    acts: list[torch.Tensor] = []
    outs: list[torch.Tensor] = []

    def keep(_: object, args: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        acts.append(args[0][0])
        outs.append(output[0].norm(dim=-1, keepdim=True))

    for down in downs:
        down.register_forward_hook(keep)
    for number, row in enumerate(given["rows"]):
        with torch.no_grad():
            model(torch.tensor([row["ids"]]))
        cett = torch.stack(acts).abs() * norms[:, None] / (torch.stack(outs) + 1e-8)
        for name, spans in zip(REGIONS, row["regions"], strict=True):
            there = torch.cat([cett[:, start:stop] for start, stop in spans], dim=1)
            np.save(folder / f"{name}_{number}.npy", there.mean(1).float().numpy())
        acts.clear()
        outs.clear()


def measured(folder: Path, dtype: str) -> None:
    import torch

    import hlens
    from hlens.contributions import measure_many
    from hlens.store.jsonl import load_examples

    torch.set_num_threads(1)
    items = load_examples(folder / "examples.jsonl")
    model = hlens.load("smollm2-135m", dtype=dtype)
    measure_many(
        model, items, metrics=[hlens.metrics.cett], regions=REGIONS, store=folder / "store"
    )


def run(way: str, folder: Path) -> dict[str, float]:
    """A way in a process of its own."""
    for old in (*folder.glob("*.npy"), *(folder / "store").glob("*")):
        old.unlink()
    command = [sys.executable, __file__, "--child", way, str(folder)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def child(way: str, folder: Path) -> None:
    name, _, dtype = way.partition(" ")
    if name == "official":
        official(folder)
    else:
        measured(folder, dtype)
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(json.dumps({"cpu": used.ru_utime + used.ru_stime, "peak": used.ru_maxrss / 1000}))


def main(examples: int, rounds: int) -> None:
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "store").mkdir()
        prepare(examples, folder)
        found: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
        for _ in range(rounds):
            for way in WAYS:
                found[way].append(run(way, folder))
    print(f"{examples} examples x {len(REGIONS)} regions, medians of {rounds} rounds in turn\n")
    print("| process, loading included | CPU ms an example | of the official | peak MB | of it |")
    print("|---|---|---|---|---|")
    first = [middle(found[WAYS[0]], what) for what in ("cpu", "peak")]
    for way in WAYS:
        cpu, peak = (middle(found[way], what) for what in ("cpu", "peak"))
        each = f"{1000 * cpu / examples:.0f} | {cpu / first[0]:.2f}"
        print(f"| {way} | {each} | {peak:,.0f} | {peak / first[1]:.2f} |")


def middle(runs: Sequence[dict[str, float]], what: str) -> float:
    return median(one[what] for one in runs)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2], Path(sys.argv[3]))
    else:
        numbers = [int(given) for given in sys.argv[1:3]]
        main(*(numbers + [284, 3][len(numbers) :]))
