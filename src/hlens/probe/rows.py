"""The features of a working set: kept as they are stored, read as centred float64."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from hlens.probe.memory import empty

BLOCK = 128  # rows that are widened at a time: they stay in a core's own cache


@dataclass(frozen=True, eq=False)
class Rows:
    """Some features of some examples, less a centre of each.

    float32 rows are widened a block at a time, so that products are float64 and yet no float64
    copy of the working set stands in memory. What is computed on the way has its place and is
    not allocated anew.

    Attributes:
        matrix: ``[feature, example]``, float32 or float64.
        centre: What is taken from each feature.
    """

    matrix: np.ndarray
    centre: np.ndarray
    _places: dict[str, np.ndarray] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.matrix)

    def times(self, residual: np.ndarray) -> np.ndarray:
        """Product of each feature with a vector over examples."""
        out = np.empty(len(self))
        for part in _blocks(len(self)):
            out[part] = self._widened(self.matrix[part]) @ residual
        return out - self.centre * residual.sum()

    def combine(self, w: np.ndarray) -> np.ndarray:
        """Sum of the features, weighted; features of zero weight are not read."""
        chosen = np.flatnonzero(w)
        out = np.full(self.matrix.shape[1], -float(w @ self.centre))
        for part in _blocks(len(chosen)):
            at = chosen[part]
            out += w[at] @ self._widened(self._picked(at))
        return out

    def scaled(
        self, features: np.ndarray, root: np.ndarray, dtype: np.dtype, place: str = "scaled"
    ) -> np.ndarray:
        """Some of the features, each example multiplied by its `root`.

        The result is the caller's until the next call for the same `place`.
        """
        out = self._place(place, len(features), dtype)
        root = root.astype(dtype)
        for part in _blocks(len(features)):
            at = features[part]
            out[part] = self._picked(at)
            out[part] -= self.centre[at, None].astype(dtype)
            out[part] *= root
        return out

    def _picked(self, at: np.ndarray) -> np.ndarray:
        out = self._place("picked", len(at), self.matrix.dtype)
        return np.take(self.matrix, at, axis=0, out=out, mode="clip")

    def _widened(self, rows: np.ndarray) -> np.ndarray:
        if rows.dtype == np.float64:
            return rows
        out = self._place("wide", len(rows), np.dtype(np.float64))
        np.copyto(out, rows)
        return out

    def _place(self, name: str, rows: int, dtype: np.dtype) -> np.ndarray:
        found = self._places.get(name)
        if found is None or len(found) < rows or found.dtype != dtype:
            # All that may be asked for: memory that is not touched is not taken.
            found = self._places[name] = empty(self.matrix.shape, dtype)
        return found[:rows]


def _blocks(n: int) -> Iterator[slice]:
    return (slice(start, min(start + BLOCK, n)) for start in range(0, n, BLOCK))
