"""Time and memory of the probe beside scikit-learn's liblinear, skglm and adelie.

    python benchmarks/probe.py                                  # 2,000 x 46,080
    python benchmarks/probe.py --features 458752 --jobs path --rivals ""
    python benchmarks/probe.py --contributions runs/demo/contributions.safetensors --scale feature

Every rival is held to the same objective; its excess over the optimum stands beside its time.
liblinear penalises the intercept, so its excess is measured on its own objective. Where a rival
is timed on some points only, the time is scaled up and marked with ~. adelie (numpy < 2) and skglm
run in environments of their own: give their Pythons with ``--adelie`` and ``--skglm``. celer has
no intercept in its logistic regression, so there is no same objective to hold it to.
"""

import argparse
import warnings

import numpy as np
import torch
from probe_rivals import (
    ADELIE,
    CLOCKS,
    SKGLM,
    best_of,
    excess_liblinear,
    time_elsewhere,
    time_liblinear,
)

from hlens.probe.design import Design
from hlens.probe.solution import Options, Solution
from hlens.probe.training import TrainingSet, at_C
from hlens.store.contributions import load_contributions


def synthetic(n: int, p: int, seed: int = 0) -> tuple[torch.Tensor, np.ndarray]:
    """Non-negative, heavy-tailed, in correlated blocks of 8, of unlike scales; 40 informative."""
    draw = torch.Generator().manual_seed(seed)
    X = torch.empty(p, n)
    for start in range(0, p, 4096):
        size = min(4096, p - start)
        latent = torch.randn((size + 7) // 8, n, generator=draw).repeat_interleave(8, 0)[:size]
        mixed = 0.6 * latent + 0.8 * torch.randn(size, n, generator=draw)
        scale = torch.exp(torch.randn(size, 1, generator=draw))
        X[start : start + size] = 0.05 * scale * mixed.abs() ** 1.5
    choose = np.random.default_rng(seed)
    rows = X[torch.from_numpy(choose.choice(p, 40, replace=False))].double().numpy()
    Z = (rows - rows.mean(1, keepdims=True)) / rows.std(1, keepdims=True)
    beta = choose.choice([-1, 1], 40) * choose.uniform(0.25, 0.75, 40)
    return X, (choose.random(n) < 1 / (1 + np.exp(-beta @ Z))).astype(float)


def jobs(n: int, grid: np.ndarray, single: float) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Masks and grid of each job."""
    draw = np.random.default_rng(0)
    everyone = np.ones((1, n))
    fold = draw.permutation(n) % 5
    halves = np.stack([draw.permutation(n) < n // 2 for _ in range(50)]) * 1.0
    return {
        "single": (everyone, np.array([single])),
        "path": (everyone, grid),
        "cv": (np.stack([(fold != k) * 1.0 for k in range(5)]), grid),
        "stability": (halves, grid[5:20:1][:10]),
    }


def training_set(X: torch.Tensor, y: np.ndarray, scale: str | None) -> TrainingSet:
    return TrainingSet(
        design=Design(X), y=y, sample_weight=np.ones(len(y)), class_weight=None, scale=scale,
        n_layers=None, penalty="l1", options=Options(),
    )  # fmt: skip


def solve(training: TrainingSet, masks: np.ndarray, C: np.ndarray) -> list[list[Solution]]:
    return training.solve(masks > 0, at_C(C))


def report(name: str, who: str, seconds: float, ours: float, words: str) -> None:
    print(f"{name:10s} {who:22s} {seconds:9.2f} s  {seconds / ours:7.1f}x  {words}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=2000)
    parser.add_argument("--features", type=int, default=46080)
    parser.add_argument("--contributions", help="measured contributions in place of synthetic ones")
    parser.add_argument("--scale", choices=("none", "feature"), default="none")
    parser.add_argument("--ratio", type=float, default=0.05, help="end of the path, of lambda_max")
    parser.add_argument("--single", type=float, default=0.15, help="lambda of the single fit")
    parser.add_argument("--jobs", default="single,path,cv,stability")
    parser.add_argument("--rivals", default="liblinear,skglm,adelie")
    parser.add_argument(
        "--points", type=int, default=3, help="points of a path liblinear is timed on"
    )
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--adelie", default="", help="a Python that can import adelie")
    parser.add_argument("--skglm", default="", help="a Python that can import skglm")
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="cpu: on a shared machine")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    if args.contributions:
        data = load_contributions(args.contributions)
        X, y = data.neuron_major.float().clone(), data.labels.numpy().astype(float)
    else:
        X, y = synthetic(args.examples, args.features)
    p, n = X.shape
    size = X.numel() * 4 / 1e9
    scale = None if args.scale == "none" else args.scale
    training = training_set(X, y, scale)
    top = training.penalty_max()[0][0]
    if scale:  # what rivals are given; a constant feature stays as it is, and out of hlens's fit
        deviation = X.std(1, unbiased=False, keepdim=True)
        X = X / torch.where(deviation == 0, 1.0, deviation)
    grid = 1 / (n * top * np.geomspace(1, args.ratio, 30))
    kind = ("contributions" if args.contributions else "synthetic") + f", scale {args.scale}"
    print(
        f"{n} x {p} ({kind}), {size:.2f} GB, {torch.get_num_threads()} threads, {args.clock} time",
        flush=True,
    )
    # Work buffers of the libraries, which do not grow with the matrix, are not counted.
    solve(training_set(X[:4096].clone(), y, scale), np.ones((1, n)), grid)
    rivals = [r for r in args.rivals.split(",") if r]
    for name, (masks, C) in jobs(n, grid, 1 / (n * top * args.single)).items():
        if name in args.jobs.split(","):
            compare(name, training, X, masks, C, rivals, args, size)


def compare(
    name: str,
    training: TrainingSet,
    X: torch.Tensor,
    masks: np.ndarray,
    C: np.ndarray,
    rivals: list[str],
    args: argparse.Namespace,
    size: float,
) -> None:
    y = training.y
    seconds, peak, solved = best_of(
        args.repeats, CLOCKS[args.clock], lambda: solve(training, masks, C)
    )
    assert isinstance(solved, list)
    gaps = max(s.gap for path in solved for s in path)
    most = max(len(s.features) for path in solved for s in path)
    words = f"gap <= {gaps:.0e}, extra memory {peak:.3f} GB = {peak / size:.1%} of X, "
    report(name, "hlens", seconds, seconds, words + f"{most} selected at most")
    ours = sum(s.objective for s in solved[0])
    if "liblinear" in rivals:
        for tol in (1e-4, 1e-6) if name == "single" else (1e-4,):
            took, most_memory, fits = time_liblinear(
                X.numpy(), y, masks, C, tol, args.points, CLOCKS[args.clock]
            )
            over = excess_liblinear(X, y, fits[-1]) if name in ("single", "path") else float("nan")
            part = "" if len(fits) == len(C) * len(masks) else f"~ from {len(fits)} points, "
            words = f"{part}excess {over:.1e}, extra memory {most_memory:.2f} GB"
            report(name, f"liblinear tol={tol:g}", took, seconds, words)
    if name in ("single", "path"):
        lambdas = np.array([s.penalty for s in solved[0]])
        for rival, python, script in (
            ("skglm", args.skglm, SKGLM),
            ("adelie", args.adelie, ADELIE),
        ):
            if rival in rivals and python:
                took, total = time_elsewhere(python, script, X, y, lambdas, CLOCKS[args.clock])
                report(name, rival, took, seconds, f"excess {(total - ours) / ours:.1e}")


if __name__ == "__main__":
    main()
