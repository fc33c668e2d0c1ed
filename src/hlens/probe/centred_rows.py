"""The features of a working set: kept as stored, read as centred float64."""

from dataclasses import dataclass, field

import numpy as np

from hlens.probe.resources import blocks, empty

BLOCK = 128  # rows that are widened at a time: they stay in a core's own cache


@dataclass(frozen=True, eq=False)
class CentredRows:
    """Some features of some examples, less the centre of each.

    float32 rows are widened a block at a time, so that products are float64 without a float64 copy
    of the working set. Intermediate results reuse their buffers.
    """

    matrix: np.ndarray  # [feature, example], float32 or float64
    centre: np.ndarray  # what is subtracted from each feature
    _buffers: dict[str, np.ndarray] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.matrix)

    def dot(self, residual: np.ndarray) -> np.ndarray:
        """Product of each feature with a vector over examples."""
        out = np.empty(len(self))
        for block in blocks(len(self), BLOCK):
            out[block] = self._widen(self.matrix[block]) @ residual
        # The centre is subtracted from the product: a centred copy would double the memory.
        return out - self.centre * residual.sum()

    def combine(self, w: np.ndarray) -> np.ndarray:
        """Weighted sum of the features; those of zero weight are not read."""
        chosen = np.flatnonzero(w)
        out = np.full(self.matrix.shape[1], -float(w @ self.centre))
        for block in blocks(len(chosen), BLOCK):
            rows = chosen[block]
            out += w[rows] @ self._widen(self._take(rows))
        return out

    def scaled(
        self, features: np.ndarray, root: np.ndarray, dtype: np.dtype, *, buffer: str = "scaled"
    ) -> np.ndarray:
        """Some features, each example times its `root`; valid until the next of this `buffer`."""
        out = self._buffer(buffer, len(features), dtype)
        root = root.astype(dtype)
        for block in blocks(len(features), BLOCK):
            rows = features[block]
            out[block] = self._take(rows)
            out[block] -= self.centre[rows, None].astype(dtype)
            out[block] *= root
        return out

    def _take(self, rows: np.ndarray) -> np.ndarray:
        out = self._buffer("taken", len(rows), self.matrix.dtype)
        return np.take(self.matrix, rows, axis=0, out=out, mode="clip")

    def _widen(self, rows: np.ndarray) -> np.ndarray:
        if rows.dtype == np.float64:
            return rows
        out = self._buffer("widened", len(rows), np.dtype(np.float64))
        np.copyto(out, rows)
        return out

    def _buffer(self, name: str, n_rows: int, dtype: np.dtype) -> np.ndarray:
        stored = self._buffers.get(name)
        if stored is None or stored.dtype != dtype:
            # Reserved for all rows: pages that are never touched take no memory.
            stored = self._buffers[name] = empty(self.matrix.shape, dtype)
        return stored[:n_rows]
