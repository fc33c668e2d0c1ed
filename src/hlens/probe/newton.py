"""The small problem: penalised logistic regression on a working set, by Newton steps.

Minimises over ``w, b``: ``sum_i a_i logloss(y_i, w.x_i + b) + sum_j l1_j |w_j| + l2_j w_j^2 / 2``.
Each step minimises the quadratic model with its L1 term (`hlens.probe.quadratic`) and searches
along that line; both are convex, so every step descends. On one thread.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from hlens.probe.loss import balanced_residual, best_intercept, entropy, logloss
from hlens.probe.memory import empty
from hlens.probe.minimum import minimise
from hlens.probe.quadratic import Quadratic, curvature, extended
from hlens.probe.rows import Rows

NEAR = 0.98  # gradients from this share of the penalty on: curvature that may be wanted soon
ROUNDING = 1e-15  # of the objective
REUSE = 0.3  # a step that shrinks the gap at least so much keeps its curvature for the next
DRIFT = 0.1  # of the examples' curvature; a model that is further off is computed anew


@dataclass
class Small:
    """A working-set problem.

    Attributes:
        X: Features, centred.
        y: Labels, 0 or 1.
        a: Weight of each example; they sum to 1.
        l1: L1 penalty of each feature.
        l2: L2 penalty of each feature.
        intercept: Whether there is one (never penalised).
        single: Whether curvature may be float32, where there is much of it.
    """

    X: Rows
    y: np.ndarray
    a: np.ndarray
    l1: np.ndarray
    l2: np.ndarray
    intercept: bool
    single: bool = False


@dataclass(frozen=True, eq=False)
class Point:
    """Where the weights stand, the intercept at its best.

    Attributes:
        w: Weights.
        b: Intercept.
        z: Log-odds of each example.
        h: Curvature of the loss at each.
        residual: ``a (p - y)``, summing to zero where there is an intercept.
        gradient: Product of each feature with it.
        loss: The smooth part without the L2 penalty.
        objective: All of it.
        gap: Duality gap of the working-set problem.
    """

    w: np.ndarray
    b: float
    z: np.ndarray
    h: np.ndarray
    residual: np.ndarray
    gradient: np.ndarray
    loss: float
    objective: float
    gap: float


@dataclass(eq=False)
class Kept:
    """Curvature that is kept from one penalty to the next; the only reference to it.

    Attributes:
        model: The last curvature.
        room: Where that of many features stands, whatever their number comes to be.
    """

    model: Quadratic | None = None
    room: np.ndarray | None = None


def solve(
    small: Small,
    w: np.ndarray,
    b: float,
    tolerance: float,
    kept: Kept | None = None,
    max_iter: int = 100,
) -> Point:
    """Weights and intercept to a duality gap (on the working set) of at most `tolerance`.

    Args:
        small: The problem.
        w: Weights to start from.
        b: Intercept to start from.
        tolerance: Largest duality gap, in the units of the objective.
        kept: Curvature to start from, that of a neighbouring penalty; holds the last at the end.
        max_iter: Most steps.

    Returns:
        The last point. Stops early where no step descends any more; the caller's own certificate
        decides whether that was enough.
    """
    kept = Kept() if kept is None else kept
    at = stand(small, w, b, small.X.combine(w) + b)
    before, moved = np.inf, None
    for turn in range(max_iter):
        if at.gap <= tolerance or (moved is not None and moved.blind and at.gap > 0.5 * before):
            break
        # The first step at a new penalty may well widen the gap: it says nothing of the model.
        slow = turn > 1 and at.gap > REUSE * before
        if kept.model is not None and (slow or _drift(kept.model, at.h) > DRIFT):
            kept.model = None
        slope = at.gradient + small.l2 * at.w
        kept.model = _model(small, at, slope, kept)
        moved = _step(small, at, slope, kept.model)
        if moved is None:
            break
        before = at.gap
        at = stand(small, moved.w, at.b + moved.shift, moved.z)
    return at


def stand(small: Small, w: np.ndarray, b: float, z: np.ndarray) -> Point:
    """The point at some weights, with its duality gap."""
    if small.intercept:
        shift = best_intercept(z, small.y, small.a)
        z, b = z + shift, b + shift
    p = expit(z)
    residual = small.a * (p - small.y)
    if small.intercept:
        residual = balanced_residual(p, small.y, small.a)
    gradient = small.X.times(residual)
    loss = float(small.a @ logloss(z, small.y))
    objective = loss + float(small.l1 @ np.abs(w) + 0.5 * small.l2 @ (w * w))
    gap = objective - _dual(small, residual, gradient)
    return Point(w, b, z, small.a * p * (1.0 - p), residual, gradient, loss, objective, gap)


def _dual(small: Small, residual: np.ndarray, gradient: np.ndarray) -> float:
    """Dual objective at these residuals, shrunk where the L1 ball asks for it."""
    size, l1, l2 = np.abs(gradient), small.l1, small.l2
    ridge = l2 > 0
    hard = size[~ridge] > l1[~ridge]
    shrink = 1.0
    if hard.any():
        shrink = float((l1[~ridge][hard] / size[~ridge][hard]).min())
    over = np.maximum(size[ridge] * shrink - l1[ridge], 0.0)
    inside = entropy(small.y + shrink * residual / small.a)
    return float(small.a @ inside - 0.5 * np.sum(over * over / l2[ridge]))


def _drift(model: Quadratic, h: np.ndarray) -> float:
    """How far the curvature of the examples is from that of a model, their common factor apart."""
    share = h.sum() / model.h.sum()
    return float(np.abs(h - share * model.h).sum() / h.sum())


def _model(small: Small, at: Point, slope: np.ndarray, kept: Kept) -> Quadratic:
    """Curvature for the next step: what there is, with what it lacks, or all of it anew."""
    size = np.abs(slope)
    near = np.flatnonzero((at.w != 0) | (size > NEAR * small.l1))
    model = kept.model
    if model is None or (model.H.dtype == np.float32 and len(near) >= len(at.h)):
        kept.model = model = None
        h = np.maximum(at.h, 1e-10 * small.a)
        if kept.room is None and small.single:  # what is not touched of it takes no memory
            kept.room = empty((len(small.X), len(small.X)), np.dtype(np.float32))
        return curvature(small.X, h, small.l2, near, small.intercept, small.single, kept.room)
    if model.covers(np.flatnonzero((at.w != 0) | (size > small.l1))):
        return model
    return extended(model, small.X, small.l2, near, small.intercept)


@dataclass(frozen=True, eq=False)
class Move:
    """Where a step led.

    Attributes:
        w: Weights.
        z: Log-odds of the examples.
        shift: Change of the intercept.
        blind: Whether the objective could not tell the step, being changed by less than its own
            rounding. The gap, which is of first order where the objective is of second, still can.
    """

    w: np.ndarray
    z: np.ndarray
    shift: float
    blind: bool


def _step(small: Small, at: Point, slope: np.ndarray, model: Quadratic) -> Move | None:
    """A step along the minimum of the model that descends, or None."""
    own = model.features
    share = float(at.h.sum() / model.h.sum())  # curvature shrinks along a path, most of it alike
    d = np.zeros_like(at.w)
    d[own] = minimise(model, slope[own] / share, at.w[own], small.l1[own] / share)
    db = float(model.answer @ d[own])
    dz = small.X.combine(d) + db
    promised = float(slope @ d + small.l1 @ (np.abs(at.w + d) - np.abs(at.w)))
    if abs(promised) < ROUNDING * at.objective:
        return Move(at.w + d, at.z + dz, db, blind=True)
    step = 1.0
    while promised < 0 and step > 1e-10:
        w, z = at.w + step * d, at.z + step * dz
        value = float(
            small.a @ logloss(z, small.y) + small.l1 @ np.abs(w) + 0.5 * small.l2 @ (w * w)
        )
        if value <= at.objective + 1e-4 * step * promised:
            return Move(w, z, step * db, blind=False)
        step *= 0.5
    return None
