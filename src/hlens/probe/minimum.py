"""The minimum of a quadratic model with its L1 term.

Pivoting moves many coordinates at a time between free and zero and factorises few matrices; where
it does not settle, as with more features than examples it need not, an active-set search that
moves one at a time ends at the minimum for certain.
"""

import numpy as np
from scipy import linalg

from hlens.probe.quadratic import Factor, Quadratic, product

BORDER = 6  # a factor is bordered for changes of at most one in so many coordinates
ROUNDS = 12  # of pivoting; from the half on coordinates only leave, so none can cycle
SETTLED = {"float64": 1e-8, "float32": 1e-5}  # of the L1 penalty: slopes as good as at rest


def minimise(model: Quadratic, gradient: np.ndarray, w: np.ndarray, l1: np.ndarray) -> np.ndarray:
    """The step that minimises the model with its L1 term.

    Args:
        model: Curvature; the other arguments are over its features.
        gradient: Gradient of the smooth part.
        w: Weights.
        l1: L1 penalty.
    """
    g, v, penalty = gradient * model.scale, w / model.scale, l1 * model.scale
    step, settled = _pivoted(model, g, v, penalty)
    if not settled:
        step = searched(model.H, g, v, penalty, step)
    return step * model.scale


def _pivoted(
    model: Quadratic, g: np.ndarray, v: np.ndarray, penalty: np.ndarray
) -> tuple[np.ndarray, bool]:
    """The best step that pivoting saw, and whether it settled at the minimum."""
    sign = np.where(v != 0, np.sign(v), -np.sign(g))
    free = (v != 0) | (np.abs(g) > penalty)
    best, best_value = np.zeros_like(v), 0.0
    for turn in range(ROUNDS):
        u = v + _solved(model, free, v, g + penalty * sign)
        crossed = free & (u * sign < 0)
        u[crossed] = 0.0
        step = u - v
        bend = product(model.H, step)
        value = float(g @ step + 0.5 * step @ bend + penalty @ (np.abs(u) - np.abs(v)))
        if value < best_value:
            best, best_value = step, value
        slope = g + bend
        enter = ~free & (np.abs(slope) > penalty * (1 + 1e-12))
        if turn >= ROUNDS // 2:
            enter[:] = False
        if not (crossed.any() or enter.any()):
            return best, turn < ROUNDS // 2
        free = (free & ~crossed) | enter
        sign[enter] = -np.sign(slope[enter])
    return best, False


def searched(
    H: np.ndarray, g: np.ndarray, v: np.ndarray, penalty: np.ndarray, step: np.ndarray
) -> np.ndarray:
    """The step to the minimum by feature-sign search (Lee et al. 2006), from a step that is there.

    One coordinate is freed at a time, the one that most wants to be; each move goes to the minimum
    over the free ones or to the best zero crossing on the way, so every move descends.
    """
    u = v + step
    u[np.abs(u) < 1e-14 * np.abs(v)] = 0.0
    slack = SETTLED[H.dtype.name] * penalty
    stuck = False
    for _ in range(3 * len(u) + 100):
        slope = g + product(H, u - v)
        free, sign = u != 0, np.sign(u)
        at_rest = stuck or bool((np.abs(slope + penalty * sign)[free] <= slack[free]).all())
        if at_rest:
            wants = np.where(free, 0.0, np.abs(slope) - penalty - slack)
            new = int(np.argmax(wants))
            if wants[new] <= 0:
                break
            free[new], sign[new] = True, -np.sign(slope[new])
        at = np.flatnonzero(free)
        moved = _move(H, at, u[at], (slope + penalty * sign)[at], slope[at], penalty[at])
        stuck = moved is None
        if moved is not None:
            u[at] = moved
        elif at_rest:
            break
    return u - v


def _move(
    H: np.ndarray,
    at: np.ndarray,
    u: np.ndarray,
    signed: np.ndarray,
    slope: np.ndarray,
    penalty: np.ndarray,
) -> np.ndarray | None:
    """The best of the minimum over the free coordinates and the zero crossings before it."""
    d = -_cho_solve(_factorised(H, at), signed)
    bend = float(d @ product(H[np.ix_(at, at)], d))
    with np.errstate(divide="ignore", invalid="ignore"):
        crossing = np.where(u * d < 0, -u / d, np.inf)
    stops = np.unique(np.r_[crossing[crossing < 1.0], 1.0])
    size = np.abs(u + stops[:, None] * d) @ penalty - np.abs(u) @ penalty
    value = stops * (slope @ d) + 0.5 * stops**2 * bend + size
    best = int(np.argmin(value))
    if not value[best] < 0:
        if stops[0] == 1.0:
            return None
        best = 0  # a crossing so near that rounding hides its descent
    moved = u + stops[best] * d
    moved[crossing == stops[best]] = 0.0
    return moved


def _solved(model: Quadratic, free: np.ndarray, v: np.ndarray, slope: np.ndarray) -> np.ndarray:
    """The step to the minimum over the free coordinates, the others going to zero."""
    step = np.where(free, 0.0, -v)
    right = -slope
    if step.any():
        right -= product(model.H, step)
    at, factor = np.flatnonzero(free), model.factor
    if factor is not None:
        gone, new = np.flatnonzero(~free[factor.at]), np.setdiff1d(at, factor.at)
        if BORDER * (len(gone) + len(new)) <= len(factor.at):
            return step + _bordered(model.H, factor, gone, new, right)
    if len(at):
        model.factor = factor = None  # never two of them in memory
        model.factor = Factor(at, _factorised(model.H, at))
        step[at] = _cho_solve(model.factor.lower, right[at])
    return step


def _bordered(
    H: np.ndarray, factor: Factor, gone: np.ndarray, new: np.ndarray, right: np.ndarray
) -> np.ndarray:
    """Solve over the factorised coordinates, without some (`gone`) and with others (`new`).

    Those gone are held at zero by multipliers; both are eliminated through the factor.
    """
    n_new = len(new)
    B = np.zeros((len(factor.at), n_new + len(gone)), dtype=H.dtype)
    B[:, :n_new] = H[np.ix_(factor.at, new)]
    B[gone, n_new + np.arange(len(gone))] = 1.0
    C = np.zeros((B.shape[1], B.shape[1]), dtype=H.dtype)
    C[:n_new, :n_new] = H[np.ix_(new, new)]
    C[np.arange(n_new), np.arange(n_new)] += _ridge(H)
    own = right[factor.at].astype(H.dtype)
    out = np.zeros(len(H))
    if B.shape[1]:
        Y = linalg.solve_triangular(factor.lower, B, lower=True, check_finite=False)
        y = linalg.solve_triangular(factor.lower, own, lower=True, check_finite=False)
        small = np.concatenate([right[new], np.zeros(len(gone))]) - Y.T @ y
        t = np.linalg.solve((C - Y.T @ Y).astype(np.float64), small)
        own -= B @ t.astype(H.dtype)
        out[new] = t[:n_new]
    out[factor.at] = _cho_solve(factor.lower, own)
    out[factor.at[gone]] = 0.0
    return out


def _ridge(H: np.ndarray) -> float:
    return 1e-9 if H.dtype == np.float64 else 1e-6


def _factorised(H: np.ndarray, at: np.ndarray) -> np.ndarray:
    ridge = _ridge(H)
    while True:
        part = H.copy() if len(at) == len(H) else H[np.ix_(at, at)]
        part[np.diag_indices_from(part)] += ridge
        try:
            # Symmetric, so that its transpose is the same matrix in the order LAPACK works in.
            return linalg.cholesky(part.T, lower=True, overwrite_a=True, check_finite=False)
        except linalg.LinAlgError:
            ridge *= 10


def _cho_solve(lower: np.ndarray, right: np.ndarray) -> np.ndarray:
    right = right.astype(lower.dtype, copy=False)
    return linalg.cho_solve((lower, True), right, check_finite=False).astype(np.float64)
