"""One fit of the probe at each strength of the penalty, beside liblinear, in CPU seconds.

    OMP_NUM_THREADS=1 python benchmarks/probe_grid.py                  # 1,500 x 46,080
    OMP_NUM_THREADS=1 python benchmarks/probe_grid.py --examples 500 --scale feature

Features are gamma-distributed; with ``--tails heavy`` each times a log-normal of sigma 1. Both
solve the same objective, but for the intercept, which liblinear penalises. With ``--scale feature``
liblinear is given the features divided by their deviations, hlens the features as they are.
"""

import argparse
import time
import warnings

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression

from hlens.probe.design import Design
from hlens.probe.solution import Options
from hlens.probe.training import TrainingSet, at_C

INFORMATIVE = 40
BLOCK = 4096  # features that are drawn at a time


def draw(n: int, p: int, *, heavy: bool, seed: int = 0) -> tuple[torch.Tensor, np.ndarray]:
    """Features [feature, example] and labels of which `INFORMATIVE` features tell."""
    rng = np.random.default_rng(seed)
    X = np.empty((p, n), dtype=np.float32)
    for start in range(0, p, BLOCK):
        size = min(BLOCK, p - start)
        scale = np.exp(rng.standard_normal((size, 1))) if heavy else 1.0
        X[start : start + size] = rng.gamma(2.0, 1.0, (size, n)) * scale
    rows = X[rng.choice(p, INFORMATIVE, replace=False)].astype(float)
    z = (rows - rows.mean(1, keepdims=True)) / rows.std(1, keepdims=True)
    beta = rng.choice([-1, 1], INFORMATIVE) * rng.uniform(0.25, 0.75, INFORMATIVE)
    return torch.from_numpy(X), (rng.random(n) < 1 / (1 + np.exp(-beta @ z))).astype(float)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=1500)
    parser.add_argument("--features", type=int, default=46080)
    parser.add_argument("--tails", choices=("heavy", "light"), default="heavy")
    parser.add_argument("--scale", choices=("none", "feature"), default="none")
    parser.add_argument("--ratios", default="0.3,0.1,0.043,0.013,0.0043,0.0013")
    parser.add_argument("--liblinear", type=float, default=1e-4, help="its tolerance; 0 for none")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    n, by_feature = args.examples, args.scale == "feature"
    X, y = draw(n, args.features, heavy=args.tails == "heavy")
    deviation = X.std(1, unbiased=False) if by_feature else torch.ones(len(X))
    top = float(((X @ torch.from_numpy((y.mean() - y) / n).float()).abs() / deviation).max())
    training = TrainingSet(
        design=Design(X),
        y=y,
        sample_weight=np.ones(n),
        class_weight=None,
        scale="feature" if by_feature else None,
        n_layers=None,
        penalty="l1",
        options=Options(),
    )
    rows = np.ascontiguousarray((X / deviation[:, None]).T.numpy()) if args.liblinear else None
    print(f"{n} x {args.features}, {args.tails} tails, scale {args.scale}; CPU seconds")
    print("lambda / max  neurons     gap    hlens  liblinear  neurons   ratio", flush=True)
    for ratio in (float(each) for each in args.ratios.split(",")):
        C = 1 / (n * top * ratio)
        start = time.process_time()
        solution = training.solve(training.everyone, at_C(np.array([C])))[0][0]
        ours = time.process_time() - start
        line = f"{ratio:12g} {len(solution.features):8d} {solution.gap:7.0e} {ours:8.2f}"
        if rows is not None:
            model = LogisticRegression(
                C=C,
                l1_ratio=1,
                solver="liblinear",
                tol=args.liblinear,
                max_iter=20000,
                random_state=0,
            )
            start = time.process_time()
            model.fit(rows, y)
            theirs = time.process_time() - start
            found = np.count_nonzero(model.coef_)
            line += f" {theirs:10.2f} {found:8d} {theirs / ours:7.1f}"
        print(line, flush=True)


if __name__ == "__main__":
    main()
