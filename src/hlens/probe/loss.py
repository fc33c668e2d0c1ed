"""The logistic loss: its value, its conjugate, and residuals that are dual feasible."""

import numpy as np
from scipy.special import expit

from hlens.errors import HlensError


def logloss(z: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Logistic loss of each example at log-odds `z`; no exponent is positive, so none overflows."""
    return np.maximum(z, 0.0) + np.log1p(np.exp(-np.abs(z))) - y * z


def entropy(q: np.ndarray) -> np.ndarray:
    """Binary entropy in nats; minus the conjugate of the logistic loss."""
    rest = 1.0 - q
    with np.errstate(divide="ignore", invalid="ignore"):
        return -(np.where(q > 0, q * np.log(q), 0.0) + np.where(rest > 0, rest * np.log(rest), 0.0))


def null_probability(share: np.ndarray, *, intercept: bool) -> np.ndarray:
    """Probability where every weight is zero, for each weighted share of positive labels."""
    if not intercept:
        return np.full(len(share), 0.5)
    if not ((share > 0) & (share < 1)).all():
        raise HlensError(
            "only one class among the examples that are fitted; both classes are needed: give "
            "examples of both, or use fewer folds"
        )
    return share


def best_intercept(z: np.ndarray, y: np.ndarray, a: np.ndarray) -> float:
    """The intercept that makes the weighted residuals of ``z + b`` sum to zero."""
    b, low, high = 0.0, -np.inf, np.inf
    for _ in range(100):
        p = expit(z + b)
        slope = float(a @ (p - y))
        low, high = (low, b) if slope > 0 else (b, high)
        curvature = float(a @ (p * (1.0 - p)))
        # Where all examples are saturated curvature vanishes and Newton's step explodes: limit it,
        # and bisect where it leaves the bracket.
        step = -slope / curvature if curvature > 0 else -np.sign(slope)
        new = b + float(np.clip(step, -4.0, 4.0))
        if not low < new < high and np.isfinite(low + high):
            new = (low + high) / 2
        if abs(new - b) <= 1e-14 * max(1.0, abs(b)) or abs(slope) < 1e-17:
            return new
        b = new
    return b


def balanced_residual(p: np.ndarray, y: np.ndarray, a: np.ndarray) -> np.ndarray:
    """Residuals ``a (p - y)`` made to sum to zero: the intercept's dual constraint.

    The larger side shrinks, so ``y + residual / a`` remains a probability.
    """
    r = a * (p - y)
    down, up = -r[r < 0].sum(), r[r > 0].sum()
    if down > up > 0:
        r[r < 0] *= up / down
    elif up > down > 0:
        r[r > 0] *= down / up
    return r
