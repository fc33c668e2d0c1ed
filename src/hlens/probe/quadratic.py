"""The quadratic model of a Newton step: curvature over some features of the working set.

Two changes of coordinates keep it well conditioned: the intercept is eliminated, and every
coordinate is divided by the root of its curvature, so that features of very different size do not
spoil a factorisation. The model is over *steps* from the current weights: rounding is then relative
to the step, so many coordinates may be factorised in float32 without limiting how exact the weights
become. `hlens.probe.newton` builds the model, `hlens.probe.minimum` minimises it.
"""

from dataclasses import dataclass

import numpy as np

from hlens.probe.centred_rows import CentredRows
from hlens.probe.resources import blocks, empty

FLOAT64_UP_TO = 128  # features that are factorised in float64: it is cheap
TILE = 256  # features that are multiplied at a time: bounds memory


@dataclass(frozen=True, eq=False)
class Factor:
    """Cholesky factor (lower) of the curvature at some positions of a model."""

    positions: np.ndarray
    lower: np.ndarray


@dataclass(eq=False)
class Quadratic:
    """Curvature at one point."""

    features: np.ndarray
    H: np.ndarray  # Hessian in scaled coordinates, of unit diagonal; float32 where there are many
    scale: np.ndarray  # weight of one unit of each coordinate
    intercept_response: np.ndarray  # change of the best intercept with each weight
    h: np.ndarray  # curvature of the loss at each example
    buffer: np.ndarray  # has H in its corner; where it is larger, H is extended in place
    factor: Factor | None = None  # the last one; neighbouring sets of free coordinates border it


def build_quadratic(
    X: CentredRows,
    features: np.ndarray,
    *,
    h: np.ndarray,
    l2: np.ndarray,
    intercept: bool,
    allow_float32: bool,
    buffer: np.ndarray | None = None,
) -> Quadratic:
    """The model over some features of the working set, at the curvature `h` of the examples.

    `buffer` is a float32 square over the whole working set, for a curvature of many features.
    """
    # More features than examples are singular together: they need all digits there are.
    many = allow_float32 and FLOAT64_UP_TO < len(features) < len(h)
    if not many or buffer is None:
        dtype = np.dtype(np.float32 if many else np.float64)
        buffer = empty((len(features), len(features)), dtype)
    H = buffer[: len(features), : len(features)]
    cross = _multiply_tiles(X, np.sqrt(h), features, H)
    response = np.zeros(len(features))
    if intercept:  # Schur complement: the minimum over b is taken before anything is factorised
        response = -cross / h.sum()
        _add_outer(H, cross, response)
    H[np.diag_indices_from(H)] += l2[features].astype(H.dtype)
    scale = _inverse_root(np.diag(H))
    H *= scale.astype(H.dtype)[:, None]
    H *= scale.astype(H.dtype)
    return Quadratic(features, H, scale, response, h, buffer)


def _multiply_tiles(
    X: CentredRows, root: np.ndarray, features: np.ndarray, H: np.ndarray
) -> np.ndarray:
    """Products of the features with each other, into `H`, and with the constant, returned.

    Tile by tile: all scaled features at once would be another copy of the working set.
    """
    cross, dtype = np.empty(len(features)), H.dtype
    tiles = blocks(len(features), TILE)
    for i, tile in enumerate(tiles):
        S = X.scaled(features[tile], root, dtype)
        cross[tile] = product(S, root)
        H[tile, tile] = S @ S.T
        for left in tiles[:i]:
            H[tile, left] = S @ X.scaled(features[left], root, dtype, buffer="left").T
            H[left, tile] = H[tile, left].T
    return cross


def extend_quadratic(
    model: Quadratic, X: CentredRows, features: np.ndarray, *, l2: np.ndarray, intercept: bool
) -> Quadratic:
    """The same model over further features as well, at the curvature that it was built with.

    Only the new rows are computed: a few features that enter do not cost a whole new Hessian.
    """
    new = np.setdiff1d(features, model.features, assume_unique=True)
    n_old, every = len(model.features), np.concatenate([model.features, new])
    root = np.sqrt(model.h)
    S = X.scaled(new, root, model.H.dtype)
    buffer = model.buffer
    if len(buffer) < len(every):
        buffer = empty((len(every), len(every)), model.H.dtype)
        buffer[:n_old, :n_old] = model.H
    H = buffer[: len(every), : len(every)]
    for tile in blocks(len(every), TILE):
        H[n_old:, tile] = S @ X.scaled(every[tile], root, model.H.dtype, buffer="left").T
    # The new rows go through the same changes of coordinates as the old ones did.
    response = np.concatenate([model.intercept_response, np.zeros(len(new))])
    rows = H[n_old:]
    if intercept:
        total = model.h.sum()
        response[n_old:] = -product(S, root) / total
        _add_outer(rows, response[n_old:] * -total, response)
    square = rows[:, n_old:]
    square[np.diag_indices_from(square)] += l2[new].astype(H.dtype)
    scale = np.concatenate([model.scale, _inverse_root(np.diag(square))])
    rows *= scale[n_old:].astype(H.dtype)[:, None]
    rows *= scale.astype(H.dtype)
    H[:n_old, n_old:] = rows[:, :n_old].T
    return Quadratic(every, H, scale, response, model.h, buffer, model.factor)


def _inverse_root(diagonal: np.ndarray) -> np.ndarray:
    # The floor averts a division by zero at a feature that is constant over the examples.
    return 1.0 / np.sqrt(np.maximum(diagonal.astype(np.float64), 1e-300))


def _add_outer(H: np.ndarray, left: np.ndarray, right: np.ndarray) -> None:
    for tile in blocks(len(H), TILE):  # np.outer at once would be a second H
        H[tile] += np.outer(left[tile].astype(H.dtype), right.astype(H.dtype))


def product(matrix: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """``matrix @ vector`` in the precision of the matrix, returned in float64."""
    return (matrix @ vector.astype(matrix.dtype)).astype(np.float64)
