"""The quadratic model of a Newton step: curvature over some features.

The intercept is eliminated and every coordinate is divided by the root of its curvature, so that
features of very different size do not spoil a factorisation. Everything is told in *steps* from
where the weights stand: rounding is then relative to the step, and many coordinates may be
factorised in float32 without a limit on how exact the weights become.
"""

from dataclasses import dataclass

import numpy as np

from hlens.probe.memory import empty
from hlens.probe.rows import Rows

FLOAT64_UP_TO = 128  # so few features are factorised in float64: it is cheap
TILE = 128  # features that are multiplied at a time: memory, not speed


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
        room: Square that `H` is the corner of; where it is larger, `H` is extended in place.
        factor: What was factorised last; neighbouring sets of free coordinates border it.
    """

    features: np.ndarray
    H: np.ndarray
    scale: np.ndarray
    answer: np.ndarray
    h: np.ndarray
    room: np.ndarray
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
    room: np.ndarray | None = None,
) -> Quadratic:
    """The model over some features.

    Args:
        X: The features.
        h: Curvature of the loss at each example.
        l2: L2 penalty of each feature.
        features: Those of the model.
        intercept: Whether there is one to eliminate.
        single: Whether many features are told in float32.
        room: A float32 square over all features, for a curvature of many.
    """
    # More features than examples are singular together: they need all digits there are.
    many = single and FLOAT64_UP_TO < len(features) < len(h)
    if not many or room is None:
        dtype = np.dtype(np.float32 if many else np.float64)
        room = empty((len(features), len(features)), dtype)
    H = room[: len(features), : len(features)]
    mixed = _products(X, np.sqrt(h), features, H)
    answer = np.zeros(len(features))
    if intercept:
        answer = -mixed / h.sum()
        _add_outer(H, mixed, answer)
    H[np.diag_indices_from(H)] += l2[features].astype(H.dtype)
    scale = _unit(np.diag(H))
    _rescale(H, scale, scale)
    return Quadratic(features, H, scale, answer, h, room)


def _products(X: Rows, root: np.ndarray, features: np.ndarray, H: np.ndarray) -> np.ndarray:
    """Products of the features with each other, into `H`, and with the constant; tile by tile."""
    mixed, dtype = np.empty(len(features)), H.dtype
    tiles = [slice(i, min(i + TILE, len(features))) for i in range(0, len(features), TILE)]
    for row, at in enumerate(tiles):
        S = X.scaled(features[at], root, dtype)
        mixed[at] = product(S, root)
        H[at, at] = S @ S.T
        for left in tiles[:row]:
            H[at, left] = S @ X.scaled(features[left], root, dtype, "left").T
            H[left, at] = H[at, left].T
    return mixed


def extended(
    model: Quadratic, X: Rows, l2: np.ndarray, features: np.ndarray, intercept: bool
) -> Quadratic:
    """The same model over further features as well, at the curvature that it was made with."""
    new = np.setdiff1d(features, model.features, assume_unique=True)
    n_old, every = len(model.features), np.concatenate([model.features, new])
    root = np.sqrt(model.h)
    S = X.scaled(new, root, model.H.dtype)
    room = model.room
    if len(room) < len(every):
        room = empty((len(every), len(every)), model.H.dtype)
        room[:n_old, :n_old] = model.H
    H = room[: len(every), : len(every)]
    for start in range(0, len(every), TILE):
        part = slice(start, start + TILE)
        H[n_old:, part] = S @ X.scaled(every[part], root, model.H.dtype, "left").T
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
    return Quadratic(every, H, scale, answer, model.h, room, model.factor)


def _unit(diagonal: np.ndarray) -> np.ndarray:
    return 1.0 / np.sqrt(np.maximum(diagonal.astype(np.float64), 1e-300))


def _add_outer(H: np.ndarray, left: np.ndarray, right: np.ndarray) -> None:
    for start in range(0, len(H), TILE):
        part = slice(start, start + TILE)
        H[part] += np.outer(left[part].astype(H.dtype), right.astype(H.dtype))


def _rescale(H: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> None:
    H *= rows.astype(H.dtype)[:, None]
    H *= columns.astype(H.dtype)


def product(matrix: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """``matrix @ vector`` in the precision of the matrix, told in float64."""
    return (matrix @ vector.astype(matrix.dtype)).astype(np.float64)
