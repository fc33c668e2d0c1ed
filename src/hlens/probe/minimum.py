"""The minimum of a quadratic model with its L1 term.

A feature-sign search (Lee et al. 2006) in blocks: many coordinates are freed at a time, and many
return to zero, so that few systems are factorised. Every move descends, and ends at the minimum
over the free coordinates or with fewer of them, so that the search ends. Called by
`hlens.probe.newton` alone.
"""

import numpy as np
from scipy import linalg

from hlens.probe.quadratic import Factor, Quadratic, product

BORDER = 6  # a factor is bordered for changes of at most one in so many coordinates
SETTLED = {"float64": 1e-8, "float32": 1e-5}  # of the L1 penalty: a slope that counts as zero
RIDGE = {"float64": 1e-9, "float32": 1e-6}  # added to the unit diagonal, for duplicated features
FREED = 0.2  # of the free coordinates: so many more at a time; far more make a singular system
FREED_LEAST = 10
LENGTHS = (1.0, 0.5, 0.25, 0.125)  # of a step that is tried with all its crossings set to zero
DESCENT = 1e-4  # of what the slope promises: a step that gives less is not taken (Armijo)


def minimise(
    model: Quadratic, gradient: np.ndarray, *, w: np.ndarray, l1: np.ndarray, forcing: float = 0.0
) -> np.ndarray:
    """The step that minimises the model with its L1 term; `gradient` is of the smooth part.

    Exact to rounding, or until every slope is at most `forcing` times the largest at the start.
    """
    g, start, penalty = gradient * model.scale, w / model.scale, l1 * model.scale
    worst = np.where(start != 0, np.abs(g + penalty * np.sign(start)), np.abs(g) - penalty)
    enough = np.maximum(SETTLED[model.H.dtype.name] * penalty, forcing * worst.max(initial=0.0))
    u, solved, refactored = start, False, False
    most = len(start)  # coordinates that may be freed at a time
    for iteration in range(3 * len(u) + 100):
        # The first move takes all that it can: the caller may ask for more than a settled slope.
        slack = enough if iteration else 1e-12 * penalty
        slope, free = g + product(model.H, u - start), u != 0
        excess = np.where(free, 0.0, np.abs(slope) - penalty - slack)
        off = np.abs(slope + penalty * np.sign(u))
        solved = solved or bool((off <= slack)[free].all())
        if solved and not (excess > 0).any():
            break
        d, sign, freed = _direction(model, u, slope, penalty=penalty, excess=excess, most=most)
        moved = _step(model.H, u, d, slope=slope, sign=sign, penalty=penalty)
        # With too many freed at a time the system is all but singular: then every step stops at the
        # nearest of many zero crossings, having gained next to nothing.
        most = max(1, freed // 4 if moved is None else 2 * most)
        if moved is None:
            moved = _best_on_line(model.H, u, d, slope=slope, penalty=penalty)
        if moved is None:  # nothing descends beyond rounding, perhaps that of a bordered factor
            if refactored:
                break
            model.factor, solved, refactored = None, True, True
            continue
        # As well as rounding allows, where no coordinate was freed and none stopped the step.
        solved = bool((moved == u + d).all() and ((moved != 0) == free).all())
        u, refactored = moved, False
    # Exactly to zero: rounding must not leave a tiny weight.
    return np.where(u == 0, -w, (u - start) * model.scale)


def _direction(
    model: Quadratic,
    u: np.ndarray,
    slope: np.ndarray,
    *,
    penalty: np.ndarray,
    excess: np.ndarray,
    most: int,
) -> tuple[np.ndarray, np.ndarray, int]:
    """The step to the minimum over the free coordinates and the steepest others (at most `most`).

    Returned with it: the signs of the weights on the way, and how many were freed.

    With the signs taken as given the L1 term is linear. A coordinate that is freed must leave zero
    downhill: of those that would not, fewer are freed, at last none.
    """
    free, sign = u != 0, np.sign(u)
    new = np.argsort(-excess, kind="stable")[: np.count_nonzero(excess > 0)]
    new = new[: min(most, max(FREED_LEAST, int(FREED * np.count_nonzero(free))))]
    sign[new] = -np.sign(slope[new])
    while True:
        chosen = free.copy()
        chosen[new] = True
        d = _solve_free(model, chosen, slope + penalty * sign)
        uphill = (d * sign)[new] <= 0
        if not uphill.any():
            return d, sign, len(new)
        new = new[~uphill]
        new = new[: (len(new) + 1) // 2]


def _step(
    H: np.ndarray,
    u: np.ndarray,
    d: np.ndarray,
    *,
    slope: np.ndarray,
    sign: np.ndarray,
    penalty: np.ndarray,
) -> np.ndarray | None:
    """Where the step, or a part of it, descends to; None where none of them does.

    A coordinate that would cross zero stops there.
    """
    for length in LENGTHS:
        moved = u + length * d
        moved[moved * sign < 0] = 0.0
        step = moved - u
        # No sign changes, so the L1 term is linear: its terms cancel one by one, not as sums.
        promised = float((slope + penalty * sign) @ step)
        if promised + 0.5 * float(step @ product(H, step)) < min(DESCENT * promised, 0.0):
            return moved
    return None


def _best_on_line(
    H: np.ndarray, u: np.ndarray, d: np.ndarray, *, slope: np.ndarray, penalty: np.ndarray
) -> np.ndarray | None:
    """The best of the end of a step and the zero crossings before it; None where none descends."""
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


def _solve_free(model: Quadratic, free: np.ndarray, slope: np.ndarray) -> np.ndarray:
    """The step to the minimum over the free coordinates; the others stay."""
    positions, factor = np.flatnonzero(free), model.factor
    if factor is not None:
        gone = np.flatnonzero(~free[factor.positions])
        new = np.setdiff1d(positions, factor.positions, assume_unique=True)
        if BORDER * (len(gone) + len(new)) <= len(factor.positions):
            return solve_bordered(model.H, factor, gone=gone, new=new, right=-slope)
    step = np.zeros(len(free))
    if len(positions):
        model.factor = factor = None  # never two of them in memory
        model.factor = Factor(positions, factorise(model.H, positions))
        step[positions] = _solve_factor(model.factor.lower, -slope[positions])
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
        # Where the border is singular a step overflows; a move whose value is NaN is not taken.
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
