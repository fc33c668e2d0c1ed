"""L2-penalised logistic regression: the predictive ceiling of the probe, solved among examples.

With many more features than examples the solution is ``w = X alpha``, one coefficient an example:
the problem is solved in the Gram matrix ``K`` of the examples (float64, ``[example, example]``, one
pass over the matrix) by Newton steps on ``alpha`` and the intercept, and certified by its duality
gap. The dual point is the residuals themselves: without an L1 term no feature limits them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy import linalg
from scipy.special import expit
from torch import Tensor

from hlens.probe import loss
from hlens.probe.design import Design
from hlens.probe.resources import blocks
from hlens.probe.solution import ConvergenceError, Options, Schedule, Solution


def solve_many(
    design: Design,
    y: np.ndarray,
    weights: np.ndarray,
    schedule: Schedule | Sequence[Schedule],
    *,
    options: Options,
    factors: Tensor | None = None,
) -> list[list[Solution]]:
    """As `solver.solve_many`; ``penalty_max`` is the mean squared length of centred examples."""
    paths, gram = [], None
    with design.thread_pool():
        for i, row in enumerate(weights):
            if gram is None or factors is not None:
                factor = None if factors is None else factors[i]
                gram = compute_gram(design, factor, centred=options.fit_intercept)
            own = schedule if callable(schedule) else schedule[i]
            path, alphas = _solve_path(gram, y, row, schedule=own, options=options)
            paths.append(_fill_weights(design, gram, path, alphas))
    return paths


@dataclass(frozen=True, eq=False)
class Gram:
    """Gram matrix of the centred, scaled examples; centre and penalty factor of each feature."""

    K: np.ndarray
    centre: Tensor
    factor: Tensor | None


def compute_gram(design: Design, factor: Tensor | None, *, centred: bool) -> Gram:
    """One pass over the matrix."""

    def chunk_products(features: slice) -> tuple[Tensor, Tensor]:
        chunk = design.matrix[features].to(design.dtype)
        # Uncentred, a large mean would dominate K and cancel against the intercept.
        centre = chunk.mean(dim=1) if centred else chunk.new_zeros(len(chunk))
        moved = chunk - centre[:, None]
        if factor is not None:
            moved = moved / factor[features, None].to(moved)
        return (moved.T @ moved).cpu().double(), centre.cpu()

    K = torch.zeros(design.n_examples, design.n_examples, dtype=torch.float64)
    centres, chunks = [], design.chunks
    # A few chunks at a time, summed in order: bounded memory, the same sum for any threads.
    for few in blocks(len(chunks), 4):
        for product, centre in design.map(chunk_products, chunks[few]):
            K += product
            centres.append(centre)
    if not bool(torch.isfinite(K).all()):
        design.raise_overflow()
    return Gram(K.numpy(), torch.cat(centres), factor)


def _solve_path(
    gram: Gram, y: np.ndarray, weights: np.ndarray, *, schedule: Schedule, options: Options
) -> tuple[list[Solution], np.ndarray]:
    """Solutions without their weights, and ``alpha`` of each: ``[solution, example]``."""
    total = float(weights.sum())
    examples = np.flatnonzero(weights)
    a, labels = weights[examples] / total, y[examples]
    K = gram.K[np.ix_(examples, examples)]
    p = loss.null_probability(np.array([float(a @ labels)]), intercept=options.fit_intercept)
    null = float(loss.entropy(p)[0])
    penalty_max = float(a @ np.diag(K))
    penalties, wanted = schedule(penalty_max, total)
    alpha, b = np.zeros(len(examples)), 0.0
    path, alphas = [], np.zeros((int(wanted.sum()), len(y)))
    for row, penalty in zip(alphas, penalties[wanted], strict=True):
        lam, empty = float(penalty), np.empty(0)
        alpha, b, gap, objective = _solve(
            K, labels, a, alpha=alpha, b=b, lam=lam, null_objective=null, options=options
        )
        row[examples] = alpha
        explained = 1.0 - (objective - 0.5 * lam * float(alpha @ K @ alpha)) / null
        path.append(Solution(lam, penalty_max, empty, empty, b, gap, objective, explained))
        if explained > options.explained:
            break
    return path, alphas[: len(path)]


def _solve(
    K: np.ndarray,
    y: np.ndarray,
    a: np.ndarray,
    *,
    alpha: np.ndarray,
    b: float,
    lam: float,
    null_objective: float,
    options: Options,
) -> tuple[np.ndarray, float, float, float]:
    """``alpha``, intercept, duality gap and objective, by Newton steps from a start."""
    intercept = options.fit_intercept
    Ka, gap = K @ alpha, np.inf
    for _ in range(options.max_rounds):
        # The intercept is exact at every point: residuals then sum to zero, as the dual demands.
        b = loss.best_intercept(Ka + b, y, a) + b if intercept else b
        z = Ka + b
        p = expit(z)
        r = loss.balanced_residual(p, y, a) if intercept else a * (p - y)
        primal = float(a @ loss.logloss(z, y) + 0.5 * lam * alpha @ Ka)
        dual = float(a @ loss.entropy(r / a + y) - 0.5 / lam * r @ (K @ r))
        gap = (primal - dual) / null_objective
        if gap <= options.tol:
            return alpha, b, max(gap, 0.0), primal

        # Weighted least squares in the coordinates alpha / root, where the matrix is symmetric and
        # its eigenvalues are at least lam; the floor keeps saturated examples from 0 / 0.
        h = a * np.maximum(p * (1.0 - p), 1e-12)
        root = np.sqrt(h)
        B = root[:, None] * K * root
        B[np.diag_indices_from(B)] += lam
        factor = linalg.cho_factor(B, lower=True, overwrite_a=True, check_finite=False)
        target = Ka + b - a * (p - y) / h
        u = root * linalg.cho_solve(factor, root * target, check_finite=False)
        new_b = 0.0
        if intercept:  # the one that makes alpha sum to zero
            ones = root * linalg.cho_solve(factor, root, check_finite=False)
            new_b = float(u.sum() / ones.sum())
            u = u - new_b * ones
        # A full step overshoots far from the minimum: halve it until the objective does not rise.
        d, db = u - alpha, new_b - b
        Kd, length = K @ d, 1.0
        while length > 1e-10:
            trial, moved = alpha + length * d, Ka + length * Kd
            value = a @ loss.logloss(moved + b + length * db, y) + 0.5 * lam * trial @ moved
            if float(value) <= primal + 1e-12:
                alpha, Ka, b = trial, moved, b + length * db
                break
            length *= 0.5
    raise ConvergenceError(
        f"the L2 probe has a duality gap of {gap:.3g}, expected {options.tol:g}, after "
        f"{options.max_rounds} steps; use a smaller C, a larger tol or a larger max_iter"
    )


def _fill_weights(
    design: Design, gram: Gram, path: list[Solution], alphas: np.ndarray
) -> list[Solution]:
    """The solutions with the weights of the features: one pass for a whole path."""
    r = torch.from_numpy(alphas).to(design.device, design.dtype)

    def chunk_weights(features: slice, chunk: Tensor) -> Tensor:
        products = r @ chunk.T - r.sum(1, keepdim=True) * gram.centre[features].to(chunk)
        if gram.factor is not None:
            products = products / gram.factor[features].to(chunk).square()
        return products.cpu()

    weights = torch.cat(design.map_chunks(chunk_weights), dim=1).double()
    shift = (weights @ gram.centre.double()).numpy()
    everything = np.arange(design.n_features)
    return [
        replace(s, features=everything, values=weights[i].numpy(), bias=s.bias - float(shift[i]))
        for i, s in enumerate(path)
    ]
