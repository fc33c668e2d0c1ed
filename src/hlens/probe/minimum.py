"""The minimum of a quadratic model with its L1 term.

Pivoting moves many coordinates at a time between free and zero and factorises few matrices. It may
fail to settle, above all with more features than examples; then a feature-sign search, which moves
one at a time, ends at the minimum for certain. Called by `hlens.probe.newton` alone.
"""

import numpy as np
from scipy import linalg

from hlens.probe.quadratic import Factor, Quadratic, product

BORDER = 6  # a factor is bordered for changes of at most one in so many coordinates
ROUNDS = 12  # of pivoting; in the second half coordinates only leave, so none can cycle
SETTLED = {"float64": 1e-8, "float32": 1e-5}  # of the L1 penalty: a slope that counts as zero
RIDGE = {"float64": 1e-9, "float32": 1e-6}  # added to the unit diagonal, for duplicated features


def minimise(
    model: Quadratic, gradient: np.ndarray, *, w: np.ndarray, l1: np.ndarray
) -> np.ndarray:
    """The step that minimises the model with its L1 term; `gradient` is of the smooth part."""
    g, v, penalty = gradient * model.scale, w / model.scale, l1 * model.scale
    step, settled = _pivot(model, g, v, penalty)
    if not settled:
        step = feature_sign_search(model.H, g, v, penalty=penalty, step=step)
    return step * model.scale


def _pivot(
    model: Quadratic, g: np.ndarray, v: np.ndarray, penalty: np.ndarray
) -> tuple[np.ndarray, bool]:
    """The best step that pivoting saw, and whether it settled at the minimum.

    Each round takes the signs as given, which makes the L1 term linear, and solves for the free
    coordinates. Those that cross zero leave, those whose slope exceeds the penalty enter.
    """
    sign = np.where(v != 0, np.sign(v), -np.sign(g))
    free = (v != 0) | (np.abs(g) > penalty)
    best, best_value = np.zeros_like(v), 0.0
    for iteration in range(ROUNDS):
        u = v + _solve_free(model, free, v, g + penalty * sign)
        crossed = free & (u * sign < 0)
        u[crossed] = 0.0
        step = u - v
        bend = product(model.H, step)
        value = float(g @ step + 0.5 * step @ bend + penalty @ (np.abs(u) - np.abs(v)))
        if value < best_value:  # rounds need not descend: the search starts from the best
            best, best_value = step, value
        slope = g + bend
        early = iteration < ROUNDS // 2
        enter = early & ~free & (np.abs(slope) > penalty * (1 + 1e-12))
        if not (crossed.any() or enter.any()):
            return best, early
        free = (free & ~crossed) | enter
        sign[enter] = -np.sign(slope[enter])
    return best, False


def feature_sign_search(
    H: np.ndarray, g: np.ndarray, v: np.ndarray, *, penalty: np.ndarray, step: np.ndarray
) -> np.ndarray:
    """The step to the minimum by feature-sign search (Lee et al. 2006), from a given step.

    One coordinate is freed at a time, that of the steepest slope beyond its penalty; each move goes
    to the minimum over the free ones or to the best zero crossing before it: it descends.
    """
    u = v + step
    u[np.abs(u) < 1e-14 * np.abs(v)] = 0.0  # rounding of v - v: not a weight
    slack = SETTLED[H.dtype.name] * penalty
    stuck = False
    for _ in range(3 * len(u) + 100):
        slope = g + product(H, u - v)
        free, sign = u != 0, np.sign(u)
        at_rest = stuck or bool((np.abs(slope + penalty * sign)[free] <= slack[free]).all())
        if at_rest:  # free another coordinate only when the free ones are at their minimum
            excess = np.where(free, 0.0, np.abs(slope) - penalty - slack)
            new = int(np.argmax(excess))
            if excess[new] <= 0:
                break
            free[new], sign[new] = True, -np.sign(slope[new])
        chosen = np.flatnonzero(free)
        parts = (part[chosen] for part in (u, slope, sign, penalty))
        moved = _best_move(H[np.ix_(chosen, chosen)], *parts)
        stuck = moved is None
        if moved is not None:
            u[chosen] = moved
        elif at_rest:
            break
    return u - v


def _best_move(
    H: np.ndarray, u: np.ndarray, slope: np.ndarray, sign: np.ndarray, penalty: np.ndarray
) -> np.ndarray | None:
    """The best of the minimum over the free coordinates and the zero crossings before it."""
    d = -_solve_factor(factorise(H, np.arange(len(H))), slope + penalty * sign)
    bend = float(d @ product(H, d))
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
    moved[crossing == stops[best]] = 0.0  # exactly: rounding must not leave a tiny weight
    return moved


def _solve_free(model: Quadratic, free: np.ndarray, v: np.ndarray, slope: np.ndarray) -> np.ndarray:
    """The step to the minimum over the free coordinates, the others going to zero."""
    step = np.where(free, 0.0, -v)
    right = -slope
    if step.any():
        right -= product(model.H, step)
    positions, factor = np.flatnonzero(free), model.factor
    if factor is not None:
        gone = np.flatnonzero(~free[factor.positions])
        new = np.setdiff1d(positions, factor.positions)
        if BORDER * (len(gone) + len(new)) <= len(factor.positions):
            return step + solve_bordered(model.H, factor, gone=gone, new=new, right=right)
    if len(positions):
        model.factor = factor = None  # never two of them in memory
        model.factor = Factor(positions, factorise(model.H, positions))
        step[positions] = _solve_factor(model.factor.lower, right[positions])
    return step


def solve_bordered(
    H: np.ndarray, factor: Factor, *, gone: np.ndarray, new: np.ndarray, right: np.ndarray
) -> np.ndarray:
    """Solve over the factorised coordinates, without some (`gone`) and with others (`new`).

    A factorisation costs the cube of the coordinates, this their square for each change::

        [ A   B ] [ x ]   [ r ]      A: the factorised part
        [ B'  C ] [ t ] = [ s ]      B: columns of new coordinates, and unit vectors of those gone

    where the unknown of a unit vector is the multiplier that holds its coordinate at zero. `gone`
    are positions within the factor, `new` within the model; `right` is over the model.
    """
    n_new, old = len(new), factor.positions
    B = np.zeros((len(old), n_new + len(gone)), dtype=H.dtype)
    B[:, :n_new] = H[np.ix_(old, new)]
    B[gone, n_new + np.arange(len(gone))] = 1.0
    C = np.zeros((B.shape[1], B.shape[1]), dtype=H.dtype)
    C[:n_new, :n_new] = H[np.ix_(new, new)]
    C[np.arange(n_new), np.arange(n_new)] += RIDGE[H.dtype.name]  # as in the factor
    r = right[old].astype(H.dtype)
    out = np.zeros(len(H))
    if B.shape[1]:
        Y = linalg.solve_triangular(factor.lower, B, lower=True, check_finite=False)
        y = linalg.solve_triangular(factor.lower, r, lower=True, check_finite=False)
        s = np.concatenate([right[new], np.zeros(len(gone))]) - Y.T @ y
        t = np.linalg.solve((C - Y.T @ Y).astype(np.float64), s)
        # Where the border is singular a step overflows; a round whose value is NaN is not taken.
        with np.errstate(over="ignore", invalid="ignore"):
            r -= B @ t.astype(H.dtype)
        out[new] = t[:n_new]
    out[old] = _solve_factor(factor.lower, r)
    out[old[gone]] = 0.0  # exactly
    return out


def factorise(H: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Cholesky factor (lower) at some positions, with the smallest ridge that makes it definite."""
    ridge = RIDGE[H.dtype.name]
    while True:
        part = H.copy() if len(positions) == len(H) else H[np.ix_(positions, positions)]
        part[np.diag_indices_from(part)] += ridge
        try:
            # Symmetric, so that its transpose is the same matrix in the order LAPACK works in.
            return linalg.cholesky(part.T, lower=True, overwrite_a=True, check_finite=False)
        except linalg.LinAlgError:
            ridge *= 10


def _solve_factor(lower: np.ndarray, right: np.ndarray) -> np.ndarray:
    right = right.astype(lower.dtype, copy=False)
    return linalg.cho_solve((lower, True), right, check_finite=False).astype(np.float64)
