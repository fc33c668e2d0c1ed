"""The features of a working set: kept as they are stored, read as centred float64."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

BLOCK = 128  # rows that are widened at a time: they stay in a core's own cache


@dataclass(frozen=True, eq=False)
class Rows:
    """Some features of some examples, less a centre of each.

    float32 rows are widened a block at a time, so that products are float64 and yet no float64
    copy of the working set stands in memory.

    Attributes:
        matrix: ``[feature, example]``, float32 or float64.
        centre: What is taken from each feature.
    """

    matrix: np.ndarray
    centre: np.ndarray

    def __len__(self) -> int:
        return len(self.matrix)

    def times(self, residual: np.ndarray) -> np.ndarray:
        """Product of each feature with a vector over examples."""
        out = np.empty(len(self))
        for part in _blocks(len(self)):
            out[part] = self.matrix[part].astype(np.float64, copy=False) @ residual
        return out - self.centre * residual.sum()

    def combine(self, w: np.ndarray) -> np.ndarray:
        """Sum of the features, weighted; features of zero weight are not read."""
        chosen = np.flatnonzero(w)
        out = np.full(self.matrix.shape[1], -float(w @ self.centre))
        for part in _blocks(len(chosen)):
            at = chosen[part]
            out += w[at] @ self.matrix[at].astype(np.float64, copy=False)
        return out

    def scaled(self, features: np.ndarray, root: np.ndarray, dtype: np.dtype) -> np.ndarray:
        """Some of the features, each example multiplied by its `root`."""
        out = np.empty((len(features), len(root)), dtype=dtype)
        root = root.astype(dtype)
        for part in _blocks(len(features)):
            at = features[part]
            out[part] = self.matrix[at]
            out[part] -= self.centre[at, None].astype(dtype)
            out[part] *= root
        return out


def _blocks(n: int) -> Iterator[slice]:
    return (slice(start, min(start + BLOCK, n)) for start in range(0, n, BLOCK))
