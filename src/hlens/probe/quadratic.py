"""The quadratic model of a Newton step: curvature over some features, and its L1 minimum.

The intercept is eliminated and every coordinate is divided by the root of its curvature, so that
features of very different size do not spoil a factorisation. Everything is told in *steps* from
where the weights stand: rounding is then relative to the step, and many coordinates may be
factorised in float32 without a limit on how exact the weights become.
"""

from dataclasses import dataclass

import numpy as np
from scipy import linalg

from hlens.probe.rows import Rows

FLOAT64_UP_TO = 128  # so few features are factorised in float64: it is cheap
TILE = 384  # features that are multiplied at a time: memory, not speed
BORDER = 6  # a factor is bordered for changes of at most one in so many coordinates
ROUNDS = 30  # of pivoting; from the half on coordinates only leave, so none can cycle


@dataclass(frozen=True, eq=False)
class Factor:
    """Cholesky factor (lower) of the curvature at some positions of a model."""

    at: np.ndarray
    lower: np.ndarray


@dataclass(eq=False)
class Quadratic:
    """Curvature at one point.

    Attributes:
        features: Features of the model.
        H: Hessian in scaled coordinates, of unit diagonal; float32 where there are many.
        scale: Weight of one unit of each coordinate.
        answer: How the optimal intercept answers to each weight.
        h: Curvature of the loss at each example.
        factor: What was factorised last; neighbouring sets of free coordinates border it.
    """

    features: np.ndarray
    H: np.ndarray
    scale: np.ndarray
    answer: np.ndarray
    h: np.ndarray
    factor: Factor | None = None

    def covers(self, features: np.ndarray) -> bool:
        """Whether all these features are in the model."""
        return bool(np.isin(features, self.features, assume_unique=True).all())


def curvature(
    X: Rows,
    h: np.ndarray,
    l2: np.ndarray,
    features: np.ndarray,
    intercept: bool,
    single: bool,
) -> Quadratic:
    """The model over some features.

    Args:
        X: The features.
        h: Curvature of the loss at each example.
        l2: L2 penalty of each feature.
        features: Those of the model.
        intercept: Whether there is one to eliminate.
        single: Whether many features are told in float32.
    """
    many = single and len(features) > FLOAT64_UP_TO
    H, mixed = _products(X, np.sqrt(h), features, np.dtype(np.float32 if many else np.float64))
    answer = np.zeros(len(features))
    if intercept:
        answer = -mixed / h.sum()
        _add_outer(H, mixed, answer)
    H[np.diag_indices_from(H)] += l2[features].astype(H.dtype)
    scale = _unit(np.diag(H))
    _rescale(H, scale, scale)
    return Quadratic(features, H, scale, answer, h)


def _products(
    X: Rows, root: np.ndarray, features: np.ndarray, dtype: np.dtype
) -> tuple[np.ndarray, np.ndarray]:
    """Products of the features with each other and with the constant, a tile at a time."""
    H = np.empty((len(features), len(features)), dtype=dtype)
    mixed = np.empty(len(features))
    tiles = [slice(i, min(i + TILE, len(features))) for i in range(0, len(features), TILE)]
    for row, at in enumerate(tiles):
        S = X.scaled(features[at], root, dtype)
        mixed[at] = product(S, root)
        H[at, at] = S @ S.T
        for left in tiles[:row]:
            H[at, left] = S @ X.scaled(features[left], root, dtype).T
            H[left, at] = H[at, left].T
    return H, mixed


def extended(
    model: Quadratic, X: Rows, l2: np.ndarray, features: np.ndarray, intercept: bool
) -> Quadratic:
    """The same model over further features as well, at the curvature that it was made with."""
    new = np.setdiff1d(features, model.features, assume_unique=True)
    n_old, every = len(model.features), np.concatenate([model.features, new])
    root = np.sqrt(model.h)
    S = X.scaled(new, root, model.H.dtype)
    H = np.empty((len(every), len(every)), dtype=model.H.dtype)
    H[:n_old, :n_old] = model.H
    for start in range(0, len(every), TILE):
        part = slice(start, start + TILE)
        H[n_old:, part] = S @ X.scaled(every[part], root, model.H.dtype).T
    answer = np.concatenate([model.answer, np.zeros(len(new))])
    rows = H[n_old:]
    if intercept:
        total = model.h.sum()
        answer[n_old:] = -product(S, root) / total
        _add_outer(rows, answer[n_old:] * -total, answer)
    own = rows[:, n_old:]
    own[np.diag_indices_from(own)] += l2[new].astype(H.dtype)
    scale = np.concatenate([model.scale, _unit(np.diag(own))])
    _rescale(rows, scale[n_old:], scale)
    H[:n_old, n_old:] = rows[:, :n_old].T
    return Quadratic(every, H, scale, answer, model.h, model.factor)


def _unit(diagonal: np.ndarray) -> np.ndarray:
    return 1.0 / np.sqrt(np.maximum(diagonal.astype(np.float64), 1e-300))


def _add_outer(H: np.ndarray, left: np.ndarray, right: np.ndarray) -> None:
    for start in range(0, len(H), TILE):
        part = slice(start, start + TILE)
        H[part] += np.outer(left[part].astype(H.dtype), right.astype(H.dtype))


def _rescale(H: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> None:
    H *= rows.astype(H.dtype)[:, None]
    H *= columns.astype(H.dtype)


def minimise(model: Quadratic, gradient: np.ndarray, w: np.ndarray, l1: np.ndarray) -> np.ndarray:
    """The step that minimises the model with its L1 term.

    Pivots between free and zero coordinates; exact when it settles. The best step seen is
    returned.

    Args:
        model: Curvature; the other arguments are over its features.
        gradient: Gradient of the smooth part.
        w: Weights.
        l1: L1 penalty.
    """
    H, scale = model.H, model.scale
    g, v, penalty = gradient * scale, w / scale, l1 * scale
    sign = np.where(v != 0, np.sign(v), -np.sign(g))
    free = (v != 0) | (np.abs(g) > penalty)
    best, best_value = None, 0.0
    for turn in range(ROUNDS):
        u = v + _solved(model, free, v, g + penalty * sign)
        crossed = free & (u * sign < 0)
        u[crossed] = 0.0
        step = u - v
        bend = product(H, step)
        value = float(g @ step + 0.5 * step @ bend + penalty @ (np.abs(u) - np.abs(v)))
        if value < best_value:
            best, best_value = step, value
        slope = g + bend
        enter = ~free & (np.abs(slope) > penalty * (1 + 1e-12))
        if turn >= ROUNDS // 2:
            enter[:] = False
        if not (crossed.any() or enter.any()):
            break
        free = (free & ~crossed) | enter
        sign[enter] = -np.sign(slope[enter])
    if best is None:
        best = _swept(H, g, penalty, v)
    return best * scale


def product(matrix: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """``matrix @ vector`` in the precision of the matrix, told in float64."""
    return (matrix @ vector.astype(matrix.dtype)).astype(np.float64)


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


def _swept(H: np.ndarray, g: np.ndarray, penalty: np.ndarray, v: np.ndarray) -> np.ndarray:
    """One sweep of coordinate descent: slow, and sure to lower the model."""
    step = np.zeros_like(v)
    for j in range(len(v)):
        at = v[j] + step[j] - (float(H[j] @ step.astype(H.dtype)) + g[j])
        step[j] = np.sign(at) * max(abs(at) - penalty[j], 0.0) - v[j]
    return step
