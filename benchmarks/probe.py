"""Time and memory of the probe beside scikit-learn's liblinear, skglm and adelie.

    python benchmarks/probe.py                                  # 2,000 x 46,080
    python benchmarks/probe.py --features 458752 --jobs path --rivals ""
    python benchmarks/probe.py --contributions runs/demo/contributions.safetensors

Every rival is held to the same objective; its excess over the optimum stands beside its time.
liblinear penalises the intercept, so its excess is measured on its own objective. Where a rival
is timed on some points only, the time is scaled up and marked with ~. adelie (numpy < 2) and skglm
run in environments of their own: give their Pythons with ``--adelie`` and ``--skglm``. celer has
no intercept in its logistic regression, so there is no same objective to hold it to.
"""

import argparse
import ctypes
import gc
import json
import os
import subprocess
import tempfile
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression

from hlens.probe import solver
from hlens.probe.design import Design
from hlens.probe.task import at_C
from hlens.store.contributions import load_contributions

SKGLM = """
import json, sys, time, numpy as np
from skglm import SparseLogisticRegression
X, y = np.load(sys.argv[1]).T, np.load(sys.argv[2])
lambdas, clock = json.loads(sys.argv[3]), getattr(time, sys.argv[5])
few = np.asfortranarray(X[:, :100])
SparseLogisticRegression(alpha=1e-3, tol=1e-5).fit(few, y)  # compiles
model = SparseLogisticRegression(alpha=1.0, tol=1e-6, warm_start=True, max_iter=200)
seconds, total = 0.0, 0.0
for lam in lambdas:
    start = clock()
    model.alpha = lam
    model.fit(X, y)
    seconds += clock() - start
    w, b = model.coef_[0], float(np.ravel(model.intercept_)[0])
    at = np.flatnonzero(w)
    z = X[:, at].astype(float) @ w[at] + b
    total += np.mean(np.logaddexp(0, z) - y * z) + lam * np.abs(w).sum()
print(json.dumps([seconds, total]))
"""

ADELIE = """
import json, sys, time, adelie, numpy as np
X, y = np.load(sys.argv[1], mmap_mode=None).T, np.load(sys.argv[2])
lambdas, threads = np.array(json.loads(sys.argv[3])), int(sys.argv[4])
clock = getattr(time, sys.argv[5])
best = 1e9
for _ in range(2):
    start = clock()
    state = adelie.grpnet(
        X=adelie.matrix.dense(X, method="naive", n_threads=threads),
        glm=adelie.glm.binomial(y=y.astype(np.float32), dtype=np.float32), lmda_path=lambdas,
        early_exit=False, adev_tol=1.0, ddev_tol=0.0, tol=1e-7, progress_bar=False,
        n_threads=threads)
    best = min(best, clock() - start)
total = 0.0
for beta, b, lam in zip(state.betas, state.intercepts, state.lmdas):
    z = X[:, beta.indices].astype(float) @ beta.data + b
    total += np.mean(np.logaddexp(0, z) - y * z) + lam * np.abs(beta.data).sum()
print(json.dumps([best, total]))
"""


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


class Peak:
    """Peak of this process's memory over what it held before, in GB."""

    def __enter__(self) -> "Peak":
        gc.collect()
        ctypes.CDLL("libc.so.6").malloc_trim(0)  # what is freed is not yet given back
        self.before, self.most, self.ended = resident(), 0.0, False
        self.thread = threading.Thread(target=self.watch)
        self.thread.start()
        return self

    def watch(self) -> None:
        while not self.ended:
            self.most = max(self.most, resident() - self.before)
            time.sleep(0.002)

    def __exit__(self, *_: object) -> None:
        self.ended = True
        self.thread.join()


def resident() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE") / 1e9


CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
clock = time.perf_counter


def best_of(repeats: int, work: Callable[[], object]) -> tuple[float, float, object]:
    """Best time, peak memory of that kind of run, and the last result."""
    times, peaks = [], []
    result: object = None
    for _ in range(repeats):
        with Peak() as peak:
            start = clock()
            result = work()
            times.append(clock() - start)
        peaks.append(peak.most)
    return min(times), max(peaks), result


def objective(X: torch.Tensor, y: np.ndarray, w: np.ndarray, b: float, C: float) -> float:
    at = np.flatnonzero(w)
    z = w[at] @ X[torch.from_numpy(at)].double().numpy() + b
    return float(C * np.sum(np.logaddexp(0, z) - y * z) + np.abs(w).sum())


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


def solve(design: Design, y: np.ndarray, masks: np.ndarray, C: np.ndarray) -> list[list]:
    return solver.solve_many(design, y, masks, at_C(C), solver.Options())


def time_liblinear(
    X: np.ndarray, y: np.ndarray, masks: np.ndarray, C: np.ndarray, tol: float, points: int
) -> tuple[float, float, list[tuple[float, np.ndarray, float]]]:
    """Seconds for the whole job, scaled up from some points of the first problem; memory; fits."""
    rows = np.flatnonzero(masks[0])
    data, labels = np.ascontiguousarray(X[:, rows].T), y[rows]
    chosen = np.unique(np.linspace(0, len(C) - 1, points + 2).round().astype(int)[1:-1])
    total, most, fits = 0.0, 0.0, []
    for at in chosen if len(C) > 1 else [0]:
        model = LogisticRegression(
            C=C[at], l1_ratio=1, solver="liblinear", tol=tol, max_iter=20000, random_state=0
        )
        seconds, peak, _ = best_of(1, lambda model=model: model.fit(data, labels))
        total, most = total + seconds, max(most, peak)
        fits.append((C[at], model.coef_[0], float(np.ravel(model.intercept_)[0])))
    return total * len(masks) * len(C) / len(fits), most, fits


def excess_liblinear(X: torch.Tensor, y: np.ndarray, fit: tuple[float, np.ndarray, float]) -> float:
    """Relative excess over the optimum of liblinear's own objective (intercept penalised)."""
    C, w, b = fit
    ones = torch.cat([X, torch.ones(1, X.shape[1])])
    options = solver.Options(fit_intercept=False)
    best = solver.solve_many(Design(ones), y, np.ones((1, len(y))), at_C(C), options)[0][0]
    optimum = best.objective * C * len(y)
    return (objective(X, y, w, b, C) + abs(b) - optimum) / optimum


def time_elsewhere(
    python: str, script: str, X: torch.Tensor, y: np.ndarray, lambdas: np.ndarray
) -> list[float]:
    """Seconds and summed objective of a rival in an environment of its own."""
    with tempfile.TemporaryDirectory() as folder:
        np.save(f"{folder}/X.npy", X.numpy())
        np.save(f"{folder}/y.npy", y)
        threads = str(torch.get_num_threads())
        command = [python, "-c", script, f"{folder}/X.npy", f"{folder}/y.npy"]
        command += [json.dumps(lambdas.tolist()), threads, clock.__name__]
        bare = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        done = subprocess.run(command, capture_output=True, check=True, env=bare)
        return json.loads(done.stdout.splitlines()[-1])


def report(name: str, who: str, seconds: float, ours: float, words: str) -> None:
    print(f"{name:10s} {who:22s} {seconds:9.2f} s  {seconds / ours:7.1f}x  {words}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=2000)
    parser.add_argument("--features", type=int, default=46080)
    parser.add_argument("--contributions", help="measured contributions in place of synthetic ones")
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
    global clock
    clock = CLOCKS[args.clock]
    warnings.simplefilter("ignore")
    if args.contributions:
        data = load_contributions(args.contributions)
        X, y = data.neuron_major.float().clone(), data.labels.numpy().astype(float)
    else:
        X, y = synthetic(args.examples, args.features)
    p, n = X.shape
    size = X.numel() * 4 / 1e9
    design = Design(X)
    residual = torch.from_numpy((y.mean() - y) / n).float()
    top = float((X @ residual).abs().max())
    grid = 1 / (n * top * np.geomspace(1, args.ratio, 30))
    kind = "contributions" if args.contributions else "synthetic"
    print(
        f"{n} x {p} ({kind}), {size:.2f} GB, {torch.get_num_threads()} threads, {args.clock} time",
        flush=True,
    )
    # Work buffers of the libraries, which do not grow with the matrix, are not counted.
    solve(Design(X[:4096].clone()), y, np.ones((1, n)), grid)
    rivals = [r for r in args.rivals.split(",") if r]
    for name, (masks, C) in jobs(n, grid, 1 / (n * top * args.single)).items():
        if name in args.jobs.split(","):
            compare(name, design, X, y, masks, C, rivals, args, size)


def compare(
    name: str,
    design: Design,
    X: torch.Tensor,
    y: np.ndarray,
    masks: np.ndarray,
    C: np.ndarray,
    rivals: list[str],
    args: argparse.Namespace,
    size: float,
) -> None:
    seconds, peak, solved = best_of(args.repeats, lambda: solve(design, y, masks, C))
    assert isinstance(solved, list)
    gaps = max(s.gap for path in solved for s in path)
    most = max(len(s.features) for path in solved for s in path)
    words = f"gap <= {gaps:.0e}, extra memory {peak:.3f} GB = {peak / size:.1%} of X, "
    report(name, "hlens", seconds, seconds, words + f"{most} selected at most")
    ours = sum(s.objective for s in solved[0])
    if "liblinear" in rivals:
        for tol in (1e-4, 1e-6) if name == "single" else (1e-4,):
            took, most_memory, fits = time_liblinear(X.numpy(), y, masks, C, tol, args.points)
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
                took, total = time_elsewhere(python, script, X, y, lambdas)
                report(name, rival, took, seconds, f"excess {(total - ours) / ours:.1e}")


if __name__ == "__main__":
    main()
