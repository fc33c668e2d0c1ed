"""L2-penalised logistic regression: the predictive ceiling, solved among examples.

With many more features than examples the solution is ``w = X alpha``, so the problem is solved
in the Gram matrix of the examples (float64, ``[example, example]``, one pass over the matrix) by
Newton steps on the intercept and ``alpha``, and certified by its duality gap like the sparse one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy import linalg
from scipy.special import expit
from torch import Tensor

from hlens.errors import HlensError
from hlens.probe import loss
from hlens.probe.design import Design
from hlens.probe.solver import ConvergenceError, Options, Schedule, Solution


def solve_many(
    design: Design,
    y: np.ndarray,
    weights: np.ndarray,
    schedule: Schedule | Sequence[Schedule],
    options: Options,
    factors: Tensor | None = None,
) -> list[list[Solution]]:
    """The L2 counterpart of `hlens.probe.solver.solve_many`; same arguments and results.

    ``penalty_max`` is the mean squared length of the centred examples: from there the penalty
    holds the weights close to zero.
    """
    paths = []
    shared: Gram | None = None
    with design.workers():
        for i, row in enumerate(weights):
            if shared is None or (factors is not None and factors.ndim == 2):
                factor = factors if factors is None or factors.ndim == 1 else factors[i]
                shared = gram(design, factor, options.fit_intercept)
            own = schedule if callable(schedule) else schedule[i]
            paths.append(_path(shared, y, row, own, options))
            paths[-1] = _with_weights(design, shared, paths[-1])
    return [path for path, _ in paths]


@dataclass(frozen=True, eq=False)
class Gram:
    """Gram matrix of the centred, scaled examples; centre and penalty factor of each feature."""

    K: np.ndarray
    centre: Tensor
    factor: Tensor | None


def gram(design: Design, factor: Tensor | None, centred: bool) -> Gram:
    """One pass over the matrix, a few chunks at a time, summed in order."""

    def one(features: slice) -> tuple[Tensor, Tensor]:
        chunk = design.matrix[features].to(design.dtype)
        centre = chunk.mean(dim=1) if centred else chunk.new_zeros(len(chunk))
        moved = chunk - centre[:, None]
        if factor is not None:
            moved = moved / factor[features, None].to(moved)
        return (moved.T @ moved).cpu().double(), centre.cpu()

    K = torch.zeros(design.n_examples, design.n_examples, dtype=torch.float64)
    centres = []
    chunks = design.chunks
    for start in range(0, len(chunks), 4):
        for product, centre in design.spread(one, chunks[start : start + 4]):
            K += product
            centres.append(centre)
    if not bool(torch.isfinite(K).all()):
        design.check_finite()
        raise HlensError("the products of the features overflow; divide them by a constant first")
    return Gram(K.numpy(), torch.cat(centres), factor)


def _path(
    shared: Gram, y: np.ndarray, weights: np.ndarray, schedule: Schedule, options: Options
) -> tuple[list[Solution], np.ndarray]:
    total = float(weights.sum())
    at = np.flatnonzero(weights)
    a, labels, K = weights[at] / total, y[at], shared.K[np.ix_(at, at)]
    share = float(a @ labels)
    if options.fit_intercept and not 0 < share < 1:
        raise HlensError("only one class among the examples that are fitted; give both")
    null = float(loss.entropy(np.array([share if options.fit_intercept else 0.5]))[0])
    top = float(a @ np.diag(K))
    penalties, wanted = schedule(top, total)
    alpha, b = np.zeros(len(at)), 0.0
    path, alphas = [], np.zeros((int(wanted.sum()), len(y)))
    for row, lam in zip(alphas, penalties[wanted], strict=True):
        alpha, b, gap, objective = _solve(K, labels, a, float(lam), alpha, b, null, options)
        row[at] = alpha
        explained = 1.0 - (objective - 0.5 * lam * float(alpha @ K @ alpha)) / null
        empty = np.empty(0)
        path.append(Solution(float(lam), top, empty, empty, b, gap, objective, explained))
        if explained > options.explained:
            break
    return path, alphas[: len(path)]


def _solve(
    K: np.ndarray,
    y: np.ndarray,
    a: np.ndarray,
    lam: float,
    alpha: np.ndarray,
    b: float,
    null: float,
    options: Options,
) -> tuple[np.ndarray, float, float, float]:
    """Newton steps on ``alpha`` and the intercept until the duality gap is small."""
    Ka = K @ alpha
    gap = np.inf
    for _ in range(options.max_rounds):
        if options.fit_intercept:
            b = loss.best_intercept(Ka + b, y, a) + b
        z = Ka + b
        p = expit(z)
        r = loss.balanced_residual(p, y, a) if options.fit_intercept else a * (p - y)
        primal = float(a @ loss.logloss(z, y) + 0.5 * lam * alpha @ Ka)
        dual = float(a @ loss.entropy(r / a + y) - 0.5 / lam * r @ (K @ r))
        gap = (primal - dual) / null
        if gap <= options.tol:
            return alpha, b, max(gap, 0.0), primal
        alpha, Ka, b = _step(K, y, a, lam, alpha, Ka, b, p, primal, options.fit_intercept)
    raise ConvergenceError(
        f"the L2 probe stands at a duality gap of {gap:.3g}, expected {options.tol:g}, after "
        f"{options.max_rounds} steps; use a smaller C, a larger tol or a larger max_iter"
    )


def _step(
    K: np.ndarray,
    y: np.ndarray,
    a: np.ndarray,
    lam: float,
    alpha: np.ndarray,
    Ka: np.ndarray,
    b: float,
    p: np.ndarray,
    primal: float,
    intercept: bool,
) -> tuple[np.ndarray, np.ndarray, float]:
    h = a * np.maximum(p * (1.0 - p), 1e-12)
    root = np.sqrt(h)
    B = root[:, None] * K * root
    B[np.diag_indices_from(B)] += lam
    factor = linalg.cho_factor(B, lower=True, overwrite_a=True, check_finite=False)
    target = Ka + b - a * (p - y) / h
    u = root * linalg.cho_solve(factor, root * target, check_finite=False)
    new_b = 0.0
    if intercept:
        ones = root * linalg.cho_solve(factor, root, check_finite=False)
        new_b = float(u.sum() / ones.sum())
        u = u - new_b * ones
    d, db = u - alpha, new_b - b
    Kd, step = K @ d, 1.0
    while step > 1e-10:
        trial, moved = alpha + step * d, Ka + step * Kd
        value = float(a @ loss.logloss(moved + b + step * db, y) + 0.5 * lam * trial @ moved)
        if value <= primal + 1e-12:
            return trial, moved, b + step * db
        step *= 0.5
    return alpha, Ka, b


def _with_weights(
    design: Design, shared: Gram, path: tuple[list[Solution], np.ndarray]
) -> tuple[list[Solution], np.ndarray]:
    """Fill in the weights of the features: one pass for a whole path."""
    solutions, alphas = path
    r = torch.from_numpy(alphas).to(design.device, design.dtype)

    def one(features: slice, chunk: Tensor) -> Tensor:
        products = r @ chunk.T - r.sum(1, keepdim=True) * shared.centre[features].to(chunk)
        if shared.factor is not None:
            products = products / shared.factor[features].to(chunk).square()
        return products.cpu()

    weights = torch.cat(design.each_chunk(one), dim=1).double()
    shift = (weights @ shared.centre.double()).numpy()
    everything = np.arange(design.n_features)
    filled = [
        replace(s, features=everything, values=weights[i].numpy(), bias=s.bias - float(shift[i]))
        for i, s in enumerate(solutions)
    ]
    return filled, alphas
