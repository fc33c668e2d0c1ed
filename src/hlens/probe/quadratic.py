"""The quadratic model of a Newton step: curvature over some features, and its L1 minimum.

The intercept is eliminated and every coordinate is divided by the root of its curvature, so that
features of very different size do not spoil a factorisation. Everything is told in *steps* from
where the weights stand: rounding is then relative to the step, and many coordinates may be
factorised in float32 without a limit on how exact the weights become.
"""

from dataclasses import dataclass

import numpy as np
from scipy import linalg

FLOAT64_UP_TO = 128  # so few features are factorised in float64: it is cheap
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
        features: Features of the model, ascending.
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
    X: np.ndarray,
    h: np.ndarray,
    l2: np.ndarray,
    features: np.ndarray,
    intercept: bool,
    single: bool,
) -> Quadratic:
    """The model over some features.

    Args:
        X: Centred features, ``[feature, example]``.
        h: Curvature of the loss at each example.
        l2: L2 penalty of each feature.
        features: Those of the model, ascending.
        intercept: Whether there is one to eliminate.
        single: Whether many features are told in float32.
    """
    root = np.sqrt(h)
    many = single and len(features) > FLOAT64_UP_TO
    S = _rows(X, root, features, np.dtype(np.float32 if many else np.float64))
    H = S @ S.T
    answer = np.zeros(len(features))
    if intercept:
        mixed = product(S, root)
        answer = -mixed / h.sum()
        H += np.outer(mixed, answer).astype(H.dtype)
    H[np.diag_indices_from(H)] += l2[features].astype(H.dtype)
    scale = 1.0 / np.sqrt(np.maximum(np.diag(H), 1e-300).astype(np.float64))
    _scaled(H, scale, scale)
    return Quadratic(features, H, scale, answer, h)


def extended(
    model: Quadratic, X: np.ndarray, l2: np.ndarray, features: np.ndarray, intercept: bool
) -> Quadratic:
    """The same model over further features as well, at the curvature that it was made with."""
    new = np.setdiff1d(features, model.features, assume_unique=True)
    both = np.concatenate([model.features, new])
    order = np.argsort(both, kind="stable")
    root = np.sqrt(model.h)
    S = _rows(X, root, both, model.H.dtype)
    rows = S[len(model.features) :] @ S.T
    answer = np.zeros(len(new))
    if intercept:
        mixed = product(S[len(model.features) :], root)
        answer = -mixed / model.h.sum()
        whole = np.concatenate([model.answer * -model.h.sum(), mixed])
        rows += np.outer(answer, whole).astype(rows.dtype)
    own = rows[:, len(model.features) :]
    own[np.diag_indices_from(own)] += l2[new].astype(rows.dtype)
    scale = 1.0 / np.sqrt(np.maximum(np.diag(own), 1e-300).astype(np.float64))
    scale = np.concatenate([model.scale, scale])
    _scaled(rows, scale[len(model.features) :], scale)
    H = np.empty((len(both), len(both)), dtype=model.H.dtype)
    H[: len(model.features), : len(model.features)] = model.H
    H[len(model.features) :] = rows
    H[:, len(model.features) :] = rows.T
    H = H[np.ix_(order, order)]
    answer = np.concatenate([model.answer, answer])
    factor = model.factor
    if factor is not None:
        factor = Factor(np.argsort(order)[factor.at], factor.lower)
    return Quadratic(both[order], H, scale[order], answer[order], model.h, factor)


def _rows(X: np.ndarray, root: np.ndarray, features: np.ndarray, dtype: np.dtype) -> np.ndarray:
    S = X[features].astype(dtype, copy=False)
    S *= root.astype(dtype)
    return S


def _scaled(H: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> None:
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
