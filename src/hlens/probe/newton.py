"""The small problem: penalised logistic regression on a working set, by Newton steps.

Minimises over ``w, b``: ``sum_i a_i logloss(y_i, w.x_i + b) + sum_j l1_j |w_j| + l2_j w_j^2 / 2``.
Each step minimises the quadratic model with its L1 term (`hlens.probe.quadratic`) and searches
along that line; both are convex, so every step descends. On one thread.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from hlens.probe.quadratic import Quadratic, curvature, extended, minimise
from hlens.probe.rows import Rows

NEAR = 0.95  # gradients from this share of the penalty on: curvature that may be wanted soon
ROUNDING = 1e-15  # of the objective
REUSE = 0.1  # a step that shrinks the gap at least so much keeps its curvature for the next


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


def logloss(z: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Logistic loss of each example at log-odds `z`."""
    return np.maximum(z, 0.0) + np.log1p(np.exp(-np.abs(z))) - y * z


def entropy(q: np.ndarray) -> np.ndarray:
    """Binary entropy in nats; minus the conjugate of the logistic loss."""
    rest = 1.0 - q
    with np.errstate(divide="ignore", invalid="ignore"):
        return -(np.where(q > 0, q * np.log(q), 0.0) + np.where(rest > 0, rest * np.log(rest), 0.0))


def best_intercept(z: np.ndarray, y: np.ndarray, a: np.ndarray, start: float = 0.0) -> float:
    """The intercept that makes the weighted residuals of ``z + b`` sum to zero (safe Newton)."""
    b = start
    low, high = -np.inf, np.inf
    for _ in range(100):
        p = expit(z + b)
        slope = float(a @ (p - y))
        low, high = (low, b) if slope > 0 else (b, high)
        curvature = float(a @ (p * (1.0 - p)))
        step = -slope / curvature if curvature > 0 else -np.sign(slope)
        step = float(np.clip(step, -4.0, 4.0))
        new = b + step
        if not low < new < high:
            new = (low + high) / 2 if np.isfinite(low + high) else new
        if abs(new - b) <= 1e-14 * max(1.0, abs(b)) or abs(slope) < 1e-17:
            return new
        b = new
    return b


def balanced_residual(p: np.ndarray, y: np.ndarray, a: np.ndarray) -> np.ndarray:
    """Residuals ``a (p - y)`` made to sum to zero, so that they are dual feasible."""
    r = a * (p - y)
    down, up = -r[r < 0].sum(), r[r > 0].sum()
    if down > up > 0:
        r[r < 0] *= up / down
    elif up > down > 0:
        r[r > 0] *= down / up
    return r


def solve(
    small: Small,
    w: np.ndarray,
    b: float,
    tolerance: float,
    model: Quadratic | None = None,
    max_iter: int = 100,
) -> tuple[np.ndarray, float, Quadratic | None]:
    """Weights and intercept to a duality gap (on the working set) of at most `tolerance`.

    Args:
        small: The problem.
        w: Weights to start from.
        b: Intercept to start from.
        tolerance: Largest duality gap, in the units of the objective.
        model: Curvature to start from; that of a neighbouring penalty saves computing it.
        max_iter: Most steps.

    Returns:
        Weights, intercept and the last curvature. Stops early where no step descends any more;
        the caller's own certificate decides whether that was enough.
    """
    w = w.copy()
    z = small.X.combine(w) + b
    before, moved = np.inf, None
    for _ in range(max_iter):
        if small.intercept:
            shift = best_intercept(z, small.y, small.a)
            z, b = z + shift, b + shift
        p = expit(z)
        gradient = small.X.times(small.a * (p - small.y))
        gap = restricted_gap(small, w, z, p, gradient)
        if gap <= tolerance or (moved is not None and moved.blind and gap > 0.5 * before):
            break
        gradient += small.l2 * w
        if gap > REUSE * before:
            model = None
        model = _model(small, w, p, gradient, model)
        moved = _step(small, w, z, gradient, model)
        if moved is None:
            break
        w, z, b, before = moved.w, moved.z, b + moved.shift, gap
    return w, b, model


def _model(
    small: Small, w: np.ndarray, p: np.ndarray, gradient: np.ndarray, model: Quadratic | None
) -> Quadratic:
    """Curvature for the next step: what there is, with what it lacks, or all of it anew."""
    size = np.abs(gradient)
    near = np.flatnonzero((w != 0) | (size > NEAR * small.l1))
    if model is None:
        h = small.a * np.maximum(p * (1.0 - p), 1e-10)
        return curvature(small.X, h, small.l2, near, small.intercept, small.single)
    if model.covers(np.flatnonzero((w != 0) | (size > small.l1))):
        return model
    return extended(model, small.X, small.l2, near, small.intercept)


def restricted_gap(
    small: Small, w: np.ndarray, z: np.ndarray, p: np.ndarray, gradient: np.ndarray
) -> float:
    """Duality gap of the working-set problem at an intercept that is already optimal."""
    primal = small.a @ logloss(z, small.y) + small.l1 @ np.abs(w) + 0.5 * small.l2 @ (w * w)
    return float(primal - dual_value(p, small.y, small.a, gradient, small.l1, small.l2))


def dual_value(
    p: np.ndarray,
    y: np.ndarray,
    a: np.ndarray,
    gradient: np.ndarray,
    l1: np.ndarray,
    l2: np.ndarray,
) -> float:
    """Dual objective at the residuals of `p`, shrunk where the L1 ball asks for it.

    `gradient` is the product of the features with the residuals ``a (p - y)``.
    """
    size = np.abs(gradient)
    ridge = l2 > 0
    hard = size[~ridge] > l1[~ridge]
    shrink = 1.0
    if hard.any():
        shrink = float((l1[~ridge][hard] / size[~ridge][hard]).min())
    over = np.maximum(size[ridge] * shrink - l1[ridge], 0.0)
    return float(a @ entropy(y + shrink * (p - y)) - 0.5 * np.sum(over * over / l2[ridge]))


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


def _step(
    small: Small, w: np.ndarray, z: np.ndarray, gradient: np.ndarray, model: Quadratic
) -> Move | None:
    at = model.features
    d = np.zeros_like(w)
    d[at] = minimise(model, gradient[at], w[at], small.l1[at])
    return _search_line(small, w, z, gradient, d, float(model.answer @ d[at]))


def _search_line(
    small: Small,
    w: np.ndarray,
    z: np.ndarray,
    gradient: np.ndarray,
    d: np.ndarray,
    db: float,
) -> Move | None:
    """A step along ``d`` that descends, or None."""
    dz = small.X.combine(d) + db
    promised = float(gradient @ d + small.l1 @ (np.abs(w + d) - np.abs(w)))

    def value(step: float) -> float:
        at = w + step * d
        loss = small.a @ logloss(z + step * dz, small.y)
        return float(loss + small.l1 @ np.abs(at) + 0.5 * small.l2 @ (at * at))

    start = value(0.0)
    if abs(promised) < ROUNDING * start:
        return Move(w + d, z + dz, db, blind=True)
    step = 1.0
    while promised < 0 and step > 1e-10:
        if value(step) <= start + 1e-4 * step * promised:
            return Move(w + step * d, z + step * dz, step * db, blind=False)
        step *= 0.5
    return None
