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

from hlens.errors import HlensError
from hlens.probe.design import Design
from hlens.probe.loss import balanced_residual, best_intercept, entropy, logloss
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
    """The L2 counterpart of `hlens.probe.solver.solve_many`; same arguments and results.

    ``penalty_max`` is the mean squared length of the centred examples: from there the penalty
    holds the weights close to zero.
    """
    paths = []
    gram: Gram | None = None
    with design.thread_pool():
        for i, row in enumerate(weights):
            if gram is None or (factors is not None and factors.ndim == 2):
                factor = factors if factors is None or factors.ndim == 1 else factors[i]
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
    centres = []
    chunks = design.chunks
    # A few chunks at a time, summed in order: bounded memory, the same sum for any threads.
    for start in range(0, len(chunks), 4):
        for product, centre in design.map(chunk_products, chunks[start : start + 4]):
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
    share = float(a @ labels)
    if options.fit_intercept and not 0 < share < 1:
        raise HlensError("only one class among the examples that are fitted; give examples of both")
    null = float(entropy(np.array([share if options.fit_intercept else 0.5]))[0])
    penalty_max = float(a @ np.diag(K))
    penalties, wanted = schedule(penalty_max, total)
    alpha, b = np.zeros(len(examples)), 0.0
    path, alphas = [], np.zeros((int(wanted.sum()), len(y)))
    for row, penalty in zip(alphas, penalties[wanted], strict=True):
        lam = float(penalty)
        problem = GramProblem(K=K, y=labels, a=a, lam=lam, null_objective=null, options=options)
        point = problem.solve(alpha, b)
        alpha, b = point.alpha, point.b
        row[examples] = alpha
        explained = 1.0 - (point.objective - 0.5 * lam * float(alpha @ K @ alpha)) / null
        empty, gap = np.empty(0), max(point.gap, 0.0)
        path.append(Solution(lam, penalty_max, empty, empty, b, gap, point.objective, explained))
        if explained > options.explained:
            break
    return path, alphas[: len(path)]


@dataclass(frozen=True, eq=False)
class Point:
    """Coefficients, the best intercept for them, and what follows from these.

    Attributes:
        alpha: Coefficient of each example.
        K_alpha: Log-odds without the intercept.
        b: Intercept.
        p: Probability of each example.
        objective: Objective.
        gap: Duality gap over the null objective.
    """

    alpha: np.ndarray
    K_alpha: np.ndarray
    b: float
    p: np.ndarray
    objective: float
    gap: float


@dataclass(frozen=True, eq=False, kw_only=True)
class GramProblem:
    """The problem among examples, at one penalty.

    Attributes:
        K: Gram matrix.
        y: Labels, 0 or 1.
        a: Weight of each example; they sum to 1.
        lam: L2 penalty.
        null_objective: Objective of the intercept alone.
        options: How to solve.
    """

    K: np.ndarray
    y: np.ndarray
    a: np.ndarray
    lam: float
    null_objective: float
    options: Options

    def solve(self, alpha: np.ndarray, b: float) -> Point:
        """Newton steps on ``alpha`` and the intercept until the duality gap is small."""
        K_alpha, gap = self.K @ alpha, np.inf
        for _ in range(self.options.max_rounds):
            point = self._evaluate(alpha, K_alpha, b)
            gap = point.gap
            if gap <= self.options.tol:
                return point
            alpha, K_alpha, b = self._newton_step(point)
        raise ConvergenceError(
            f"the L2 probe has a duality gap of {gap:.3g}, expected {self.options.tol:g}, after "
            f"{self.options.max_rounds} steps; use a smaller C, a larger tol or a larger max_iter"
        )

    def _evaluate(self, alpha: np.ndarray, K_alpha: np.ndarray, b: float) -> Point:
        K, y, a, lam = self.K, self.y, self.a, self.lam
        if self.options.fit_intercept:
            b = best_intercept(K_alpha + b, y, a) + b
        z = K_alpha + b
        p = expit(z)
        r = balanced_residual(p, y, a) if self.options.fit_intercept else a * (p - y)
        primal = float(a @ logloss(z, y) + 0.5 * lam * alpha @ K_alpha)
        dual = float(a @ entropy(r / a + y) - 0.5 / lam * r @ (K @ r))
        return Point(alpha, K_alpha, b, p, primal, (primal - dual) / self.null_objective)

    def _newton_step(self, point: Point) -> tuple[np.ndarray, np.ndarray, float]:
        """``alpha``, ``K alpha`` and the intercept after a step that descends."""
        K, y, a, lam = self.K, self.y, self.a, self.lam
        # Weighted least squares in the coordinates ``alpha / root``, where the matrix is symmetric
        # and its eigenvalues are at least lam; the floor keeps saturated examples from 0 / 0.
        h = a * np.maximum(point.p * (1.0 - point.p), 1e-12)
        root = np.sqrt(h)
        B = root[:, None] * K * root
        B[np.diag_indices_from(B)] += lam
        factor = linalg.cho_factor(B, lower=True, overwrite_a=True, check_finite=False)
        target = point.K_alpha + point.b - a * (point.p - y) / h
        u = root * linalg.cho_solve(factor, root * target, check_finite=False)
        new_b = 0.0
        if self.options.fit_intercept:  # the intercept that makes alpha sum to zero
            ones = root * linalg.cho_solve(factor, root, check_finite=False)
            new_b = float(u.sum() / ones.sum())
            u = u - new_b * ones
        d, db = u - point.alpha, new_b - point.b
        # Full steps overshoot far from the minimum: halve them until the objective does not rise.
        Kd, length = K @ d, 1.0
        while length > 1e-10:
            alpha, K_alpha = point.alpha + length * d, point.K_alpha + length * Kd
            z = K_alpha + point.b + length * db
            value = float(a @ logloss(z, y) + 0.5 * lam * alpha @ K_alpha)
            if value <= point.objective + 1e-12:
                return alpha, K_alpha, point.b + length * db
            length *= 0.5
        return point.alpha, point.K_alpha, point.b


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
