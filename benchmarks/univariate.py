"""AUROC of all neurons with DeLong errors: time and memory, beside one neuron at a time.

    python benchmarks/univariate.py [NEURONS] [EXAMPLES]

Neurons default to 65,536 of 4,000 examples; the time for 458,752 is scaled from it (the work is a
sum over neurons) unless that many are asked for, which needs 8 GB. The ways run round after round
in turn, and ratios are medians of CPU time, so that a busy machine is busy for each alike.
"""

import statistics
import sys
import time
from collections.abc import Callable

import numpy as np
import torch
from peak_memory import Peak
from sklearn.metrics import roc_auc_score

from hlens.evaluation import delong, univariate
from hlens.types import Contributions

ROUNDS, SOME, WHOLE = 3, 64, 458_752


def made(n_neurons: int, n: int, dtype: torch.dtype) -> Contributions:
    draw = torch.Generator().manual_seed(0)
    values = torch.empty(n_neurons, n, dtype=dtype)
    for start in range(0, n_neurons, 4096):
        rows = values[start : start + 4096]
        rows.copy_(torch.rand(rows.shape, generator=draw).square())
    names = tuple(str(i) for i in range(n))
    return Contributions(
        values=values.reshape(-1, 64, n).permute(2, 0, 1),
        labels=torch.rand(n, generator=draw) < 0.4,
        groups=names,
        domains=("bench",) * n,
        question_ids=names,
        n_tokens=torch.ones(n, dtype=torch.long),
    )


def spent(work: Callable[[], object]) -> tuple[float, float]:
    """Wall and CPU seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def main() -> None:
    n_neurons = int(sys.argv[1]) if len(sys.argv) > 1 else 65_536
    n = int(sys.argv[2]) if len(sys.argv) > 2 else 4_000
    for dtype in (torch.float32, torch.float16):
        data = made(n_neurons, n, dtype)
        labels, rows = data.labels.numpy(), data.neuron_major[:SOME].float().numpy()
        ways: dict[str, tuple[Callable[[], object], int]] = {
            "hlens, all neurons": (lambda d=data: univariate(d), n_neurons),
            "hlens.delong, one by one": (
                lambda r=rows, y=labels: [delong(one, y) for one in r],
                SOME,
            ),
            "scikit-learn, no errors": (
                lambda r=rows, y=labels: [roc_auc_score(y, one) for one in r],
                SOME,
            ),
        }
        with Peak() as peak:
            rounds = [{name: spent(way) for name, (way, _) in ways.items()} for _ in range(ROUNDS)]
        extra = f"extra memory {peak.megabytes / 1000:.2f} GB"
        print(f"\n{n_neurons:,} neurons x {n:,} examples, {dtype}; {extra}")
        own = statistics.median(one["hlens, all neurons"][1] for one in rounds) / n_neurons
        for name, (_, count) in ways.items():
            wall = min(one[name][0] for one in rounds) / count * WHOLE
            cpu = statistics.median(one[name][1] for one in rounds) / count
            scaled = "" if count == WHOLE else " (scaled)"
            print(
                f"  {name:28s} {cpu * 1e6:9.1f} us CPU a neuron, {cpu / own:6.1f} times; "
                f"{WHOLE:,} neurons: {wall:8.1f} s wall{scaled}"
            )
        table = univariate(data).head(SOME)
        alone = np.array([[d.auroc[0], d.se[0]] for d in (delong(one, labels) for one in rows)])
        np.testing.assert_allclose(table[["auroc", "se"]], alone, atol=1e-9)


if __name__ == "__main__":
    main()
