"""What `benchmarks/probe.py` measures with, and the rivals that stand beside the probe there."""

import json
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable

import numpy as np
import torch
from peak_memory import Peak
from sklearn.linear_model import LogisticRegression

from hlens.probe import solver
from hlens.probe.design import Design
from hlens.probe.training import at_C

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


Clock = Callable[[], float]
CLOCKS: dict[str, Clock] = {"wall": time.perf_counter, "cpu": time.process_time}


def best_of(repeats: int, clock: Clock, work: Callable[[], object]) -> tuple[float, float, object]:
    """Best time, median peak of memory, and the last result."""
    times, peaks = [], []
    result: object = None
    for _ in range(repeats):
        with Peak() as peak:
            start = clock()
            result = work()
            times.append(clock() - start)
        peaks.append(peak.megabytes * 1024**2 / 1e9)
    return min(times), statistics.median(peaks), result


def objective(X: torch.Tensor, y: np.ndarray, w: np.ndarray, b: float, C: float) -> float:
    at = np.flatnonzero(w)
    z = w[at] @ X[torch.from_numpy(at)].double().numpy() + b
    return float(C * np.sum(np.logaddexp(0, z) - y * z) + np.abs(w).sum())


def time_liblinear(
    X: np.ndarray,
    y: np.ndarray,
    masks: np.ndarray,
    C: np.ndarray,
    tol: float,
    points: int,
    clock: Clock,
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
        seconds, peak, _ = best_of(1, clock, lambda model=model: model.fit(data, labels))
        total, most = total + seconds, max(most, peak)
        fits.append((C[at], model.coef_[0], float(np.ravel(model.intercept_)[0])))
    return total * len(masks) * len(C) / len(fits), most, fits


def excess_liblinear(X: torch.Tensor, y: np.ndarray, fit: tuple[float, np.ndarray, float]) -> float:
    """Relative excess over the optimum of liblinear's own objective (intercept penalised)."""
    C, w, b = fit
    ones = torch.cat([X, torch.ones(1, X.shape[1])])
    options = solver.Options(fit_intercept=False)
    best = solver.solve_many(Design(ones), y, np.ones((1, len(y))), at_C(C), options=options)[0][0]
    optimum = best.objective * C * len(y)
    return (objective(X, y, w, b, C) + abs(b) - optimum) / optimum


def time_elsewhere(
    python: str, script: str, X: torch.Tensor, y: np.ndarray, lambdas: np.ndarray, clock: Clock
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
