"""The small problem: penalised logistic regression on a working set, by proximal Newton steps.

Minimises over ``w, b``: ``sum_i a_i logloss(y_i, w.x_i + b) + sum_j l1_j |w_j| + l2_j w_j^2 / 2``.
Each step minimises the quadratic model with its L1 term (`hlens.probe.quadratic`,
`hlens.probe.minimum`) and searches along that line; both are convex, so every step descends (Lee,
Sun & Saunders 2014). Called by `hlens.probe.working_set.Problem.attempt`, on one thread: two
threads make these small products several times slower.
"""

from dataclasses import dataclass, field, replace

import numpy as np
from scipy.special import expit

from hlens.probe.centred_rows import CentredRows
from hlens.probe.loss import balanced_residual, best_intercept, entropy, logloss
from hlens.probe.minimum import minimise
from hlens.probe.quadratic import Quadratic, build_quadratic, extend_quadratic
from hlens.probe.resources import empty

NEAR = 0.98  # of the penalty: gradients from which a feature may soon enter the model
ROUNDING = 1e-15  # of the objective
MAX_STEPS = 100
REUSE = 0.6  # a step that shrinks the gap to at most this share keeps its curvature for the next
# Of the largest slope at the start of a step: the model is another at the next one, so that it need
# not be more exact (inexact proximal Newton, Lee, Sun & Saunders 2014).
FORCING = 0.1
GROWTH = 1.25  # size of a model over the selected features, at most
LEAST_SIZE = 300  # up to which a model may always grow
ROOM = 0.9  # of the examples: up to so many selected, a model has fewer features than examples
DRIFT = 0.1  # of the examples' curvature: a model that is further off is built anew


@dataclass(frozen=True, eq=False, kw_only=True)
class Subproblem:
    """The problem on a working set, at one penalty."""

    X: CentredRows
    y: np.ndarray  # labels, 0 or 1
    a: np.ndarray  # weight of each example; they sum to 1
    l1: np.ndarray  # L1 penalty of each feature
    l2: np.ndarray  # L2 penalty of each feature
    intercept: bool  # whether there is one (never penalised)
    allow_float32: bool = False  # for the curvature of many features


@dataclass(frozen=True, eq=False)
class Point:
    """Weights, the best intercept for them, and what follows from these."""

    w: np.ndarray
    b: float
    z: np.ndarray  # log-odds of each example
    h: np.ndarray  # curvature of the loss at each example
    residual: np.ndarray  # a (p - y), summing to zero where there is an intercept
    gradient: np.ndarray  # product of each feature with it
    loss: float  # the smooth part without the L2 penalty
    objective: float  # all of it
    gap: float  # duality gap on the working set


@dataclass(eq=False)
class CurvatureCache:
    """Curvature that is kept from one penalty to the next, and from one working set to the next."""

    working_set: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    model: Quadratic | None = None  # the only reference: it leaves memory before the next is built
    buffer: np.ndarray | None = None  # memory for that of many features, however many they become

    def on(self, working_set: np.ndarray) -> "CurvatureCache":
        """The same over another working set (ascending); empty where a feature of it is missing."""
        kept, model = CurvatureCache(working_set), self.model
        if model is not None:
            features = self.working_set[model.features]
            if np.isin(features, working_set, assume_unique=True).all():
                kept.model = replace(model, features=np.searchsorted(working_set, features))
        return kept


def solve(
    problem: Subproblem,
    w: np.ndarray,
    b: float,
    *,
    tolerance: float,
    cache: CurvatureCache | None = None,
) -> Point:
    """Weights and intercept to a duality gap (on the working set) of at most `tolerance`.

    Starts from `w`, `b` and the curvature in `cache`, which holds the last at the end. Stops early
    where no step descends any more: the caller's own certificate decides whether that is enough.
    """
    cache = CurvatureCache() if cache is None else cache
    point = evaluate(problem, w, b, problem.X.combine(w) + b)
    previous_gap, below_rounding = np.inf, False
    for iteration in range(MAX_STEPS):
        if point.gap <= tolerance:
            break
        # The objective cannot judge steps below its rounding. The gap, which is of first order
        # where the objective is of second, still can: go on only while it shrinks.
        if below_rounding and point.gap > 0.5 * previous_gap:
            if not _is_coarse(cache.model):
                break
            problem, cache.model = replace(problem, allow_float32=False), None
        # Curvature is the cost of a step: keep it while it serves. The first step at a new penalty
        # may well widen the gap, which says nothing about the curvature.
        slow = iteration > 1 and point.gap > REUSE * previous_gap
        if cache.model is not None and (slow or _drift(cache.model, point.h) > DRIFT):
            cache.model = None
        slope = point.gradient + problem.l2 * point.w
        cache.model = _update_model(problem, point, slope, cache)
        previous_gap = point.gap
        step = _newton_step(problem, point, slope, cache.model)
        if step is None:
            if not _is_coarse(cache.model):
                break
            problem, below_rounding = replace(problem, allow_float32=False), True
            continue
        point, below_rounding = step
    return point


def _is_coarse(model: Quadratic | None) -> bool:
    """Whether a model is in float32, which takes a slope of 1e-5 of the penalty for none.

    That alone can keep the gap above a tolerance of 1e-6; float64 sees it.
    """
    return model is not None and model.H.dtype == np.float32


def evaluate(problem: Subproblem, w: np.ndarray, b: float, z: np.ndarray) -> Point:
    """The point at some weights and log-odds, with its duality gap."""
    y, a = problem.y, problem.a
    if problem.intercept:  # exact at every point: residuals then sum to zero, as the dual demands
        shift = best_intercept(z, y, a)
        z, b = z + shift, b + shift
    p = expit(z)
    residual = balanced_residual(p, y, a) if problem.intercept else a * (p - y)
    gradient = problem.X.dot(residual)
    loss = float(a @ logloss(z, y))
    objective = loss + float(problem.l1 @ np.abs(w) + 0.5 * problem.l2 @ (w * w))
    gap = objective - _dual(problem, residual, gradient)
    return Point(w, b, z, a * p * (1.0 - p), residual, gradient, loss, objective, gap)


def _dual(problem: Subproblem, residual: np.ndarray, gradient: np.ndarray) -> float:
    """Dual objective at these residuals, shrunk until the features without L2 penalty allow it."""
    size, l1, l2 = np.abs(gradient), problem.l1, problem.l2
    ridge = l2 > 0
    beyond = size[~ridge] > l1[~ridge]
    shrink = float((l1[~ridge][beyond] / size[~ridge][beyond]).min(initial=1.0))
    excess = np.maximum(size[ridge] * shrink - l1[ridge], 0.0)
    inside = entropy(problem.y + shrink * residual / problem.a)
    return float(problem.a @ inside - 0.5 * np.sum(excess * excess / l2[ridge]))


def _drift(model: Quadratic, h: np.ndarray) -> float:
    """Share by which the curvature of the examples left that of a model, up to a common factor."""
    share = h.sum() / model.h.sum()
    return float(np.abs(h - share * model.h).sum() / h.sum())


def _update_model(
    problem: Subproblem, point: Point, slope: np.ndarray, cache: CurvatureCache
) -> Quadratic:
    """Curvature for the next step: the cached one, extended if it must be, or a new one."""
    size = np.abs(slope)
    near = np.flatnonzero((point.w != 0) | (size > NEAR * problem.l1))
    if len(near) > (most := _largest_model(int(np.count_nonzero(point.w)), len(point.h))):
        rank = np.where(point.w != 0, np.inf, size / problem.l1)
        near = np.sort(np.argsort(-rank, kind="stable")[:most])
    model = cache.model
    # float32 fails a singular model (more features than examples): that is built in float64.
    if model is None or (model.H.dtype == np.float32 and len(near) >= len(point.h)):
        cache.model = model = None  # never two of them in memory
        if cache.buffer is None and problem.allow_float32:  # untouched pages of it take no memory
            cache.buffer = empty((len(problem.X), len(problem.X)), np.dtype(np.float32))
        return build_quadratic(
            problem.X,
            near,
            h=np.maximum(point.h, 1e-10 * problem.a),  # saturated examples: keep H definite
            l2=problem.l2,
            intercept=problem.intercept,
            allow_float32=problem.allow_float32,
            buffer=cache.buffer,
        )
    needed = near[(point.w[near] != 0) | (size[near] > problem.l1[near])]
    if np.isin(needed, model.features, assume_unique=True).all():
        return model
    return extend_quadratic(model, problem.X, near, l2=problem.l2, intercept=problem.intercept)


def _largest_model(n_selected: int, n_examples: int) -> int:
    """How many features a model has at most, always some more than are selected.

    Few of the many that break optimality after a step of the penalty will be selected, and more
    features than examples are multiplied in float64.
    """
    most = int(GROWTH * n_selected)
    if n_selected < ROOM * n_examples:
        most = min(most, n_examples - 1)
    return max(LEAST_SIZE, most)


def _newton_step(
    problem: Subproblem, point: Point, slope: np.ndarray, model: Quadratic
) -> tuple[Point, bool] | None:
    """The point after the longest step, of 1, 1/2, 1/4, ..., that descends; None where none does.

    Also whether the step changes the objective by less than the objective's rounding.
    """
    own = model.features
    # Along a path all curvature shrinks, most of it alike: a common factor mends a reused model.
    share = float(point.h.sum() / model.h.sum())
    d = np.zeros_like(point.w)
    d[own] = minimise(
        model, slope[own] / share, w=point.w[own], l1=problem.l1[own] / share, forcing=FORCING
    )
    db = float(model.intercept_response @ d[own])
    dz = problem.X.combine(d) + db
    promised = float(slope @ d + problem.l1 @ (np.abs(point.w + d) - np.abs(point.w)))
    if abs(promised) < ROUNDING * point.objective:
        return evaluate(problem, point.w + d, point.b + db, point.z + dz), True
    # Newton's full step overshoots far from the minimum, where the loss is not quadratic: halve it
    # until the objective falls by a share of what the model promised (Armijo).
    length = 1.0
    while promised < 0 and length > 1e-10:
        w, z = point.w + length * d, point.z + length * dz
        value = float(
            problem.a @ logloss(z, problem.y) + problem.l1 @ np.abs(w) + 0.5 * problem.l2 @ (w * w)
        )
        if value <= point.objective + 1e-4 * length * promised:
            return evaluate(problem, w, point.b + length * db, z), False
        length *= 0.5
    return None
