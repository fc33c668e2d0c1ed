"""Does stability selection keep its promise on planted truth?

    python benchmarks/stability.py --repeats 50 --save stability.csv

Each repeat plants 40 informative neurons, each in a block of correlated ones, among 46,080 of very
different scales. A selected neuron is false when it is none of the planted; one that shares a
block with a planted one is counted apart as well. Plain L1 at a cross-validated C stands beside.
With ``--save`` a run that was stopped goes on where it was, ``--batch`` repeats at a time.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from hlens.probe import SparseProbe
from hlens.probe.crossval import assign_folds, cross_validate
from hlens.selection import stability
from hlens.types import Contributions

BLOCK = 8


def planted(n: int, p: int, k: int, seed: int, strength: float) -> tuple[Contributions, np.ndarray]:
    draw = torch.Generator().manual_seed(seed)
    latent = torch.randn(p // BLOCK, n, generator=draw).repeat_interleave(BLOCK, 0)
    X = (0.6 * latent + 0.8 * torch.randn(p, n, generator=draw)).abs() ** 1.5
    choose = np.random.default_rng(seed)
    true = choose.choice(p // BLOCK, k, replace=False) * BLOCK + choose.integers(0, BLOCK, k)
    rows = X[torch.from_numpy(true)].double().numpy()
    Z = (rows - rows.mean(1, keepdims=True)) / rows.std(1, keepdims=True)
    logit = strength * choose.choice([-1.0, 1.0], k) @ Z
    y = choose.random(n) < 1 / (1 + np.exp(-logit))
    X *= torch.exp(torch.randn(p, 1, generator=draw))
    data = Contributions(
        X.reshape(30, p // 30, n).permute(2, 0, 1),
        torch.from_numpy(y),
        tuple(str(i) for i in range(n)),
        ("planted",) * n,
        tuple(str(i) for i in range(n)),
        torch.ones(n, dtype=torch.long),
    )
    return data, true


def counted(selected: np.ndarray, true: np.ndarray) -> dict[str, int]:
    """True ones, false ones, and those of the false that share a block with a true one."""
    false = np.setdiff1d(selected, true)
    beside = int(np.isin(false // BLOCK, true // BLOCK).sum())
    return {"true": int(np.isin(selected, true).sum()), "false": len(false), "beside": beside}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=50)
    parser.add_argument("--examples", type=int, default=2000)
    parser.add_argument("--features", type=int, default=46080)
    parser.add_argument("--planted", type=int, default=40)
    parser.add_argument("--strength", type=float, default=0.5)
    parser.add_argument("--pairs", type=int, default=25)
    parser.add_argument("--first", type=int, default=0, help="seed of the first repeat")
    parser.add_argument("--plain", type=int, default=1 << 30, help="seeds below it get plain L1")
    parser.add_argument("--save", type=Path, help="table of single runs, kept after each repeat")
    parser.add_argument("--batch", type=int, default=1 << 30, help="repeats of this run")
    args = parser.parse_args()
    runs = pd.DataFrame()
    if args.save and args.save.exists():
        runs = pd.read_csv(args.save)
    first = args.first if runs.empty else int(runs.seed.max()) + 1
    for seed in range(first, min(args.first + args.repeats, first + args.batch)):
        runs = pd.concat([runs, pd.DataFrame(repeat(args, seed))], ignore_index=True)
        if args.save:
            runs.to_csv(args.save, index=False)
    print(f"{runs.seed.nunique()} repeats")
    print(summary(runs).round(3).to_string(), flush=True)


def repeat(args: argparse.Namespace, seed: int) -> list[dict[str, object]]:
    """Both methods with and without feature scaling on one draw."""
    data, true = planted(args.examples, args.features, args.planted, seed, args.strength)
    rows: list[dict[str, object]] = []
    for scale in ("feature", None):
        start = time.process_time()
        found = stability(data, SparseProbe(scale=scale), n_pairs=args.pairs, seed=seed)
        seconds = time.process_time() - start
        stable = (found.frequency.flatten() >= found.threshold).nonzero().flatten().numpy()
        # What Shah & Samworth's formula would say, whether its assumption holds or not.
        formula = found.n_selected**2 / ((2 * found.threshold - 1) * args.features)
        bounds = {"bound": found.expected_false, "formula": formula}
        own = {"seed": seed, "scale": scale or "none"}
        rows.append(
            own | {"method": "stability"} | counted(stable, true) | bounds | {"seconds": seconds}
        )
        if seed >= args.plain:
            continue
        start = time.process_time()
        chosen = plain(data, true, scale)
        rows.append(
            own | {"method": "L1, C by folds"} | chosen | {"seconds": time.process_time() - start}
        )
    return rows


def summary(runs: pd.DataFrame) -> pd.DataFrame:
    """Means over repeats, the standard error of the false ones, and the largest number of them."""
    by = runs.groupby(["method", "scale"])
    columns = [name for name in runs if name not in ("seed", "method", "scale")]
    table = by[columns].mean()
    table.insert(2, "false_se", by["false"].sem())
    table.insert(3, "false_most", by["false"].max())
    return table


def plain(data: Contributions, true: np.ndarray, scale: str | None) -> dict[str, int]:
    training = SparseProbe(scale=scale).training_set(data.neuron_major.T, data.labels.numpy())
    fold = assign_folds(training.y, None, n_folds=5, seed=0)
    validation, path = cross_validate(training, fold, training.grid(15, 0.1)[0])
    return counted(path[validation.choose()].features, true)


if __name__ == "__main__":
    main()
