"""Exact orders of many rows at once, by sorting integers.

Problem: every neuron's values must be sorted together with the labels, ties found exactly.

Idea: the bits of a float that is not negative, read as an integer, are in the order of the float.
Shifted up by one bit they leave the lowest bit free for the label, so that one integer sort orders
both, and two keys are tied if they differ in the lowest bit at most.

Example: as float16, 0.5 is 0x3800 and 2.0 is 0x4000. With a hallucinated 0.5 the keys are 0x7001
and 0x8000; a true 0.5 would be 0x7000, tied with the first.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, Shaped

Keys = Shaped[np.ndarray, "row n"]


def ordered_bits(values: Shaped[np.ndarray, "row n"]) -> Keys:
    """Unsigned integers in the order of float16 or float32 values; equal where they are equal.

    Values that are all at least 0 (contributions by CETT) leave the top bit of their integers
    free; otherwise the integers are one size wider.

    >>> ordered_bits(np.array([[-1.0, -0.0, 0.0, 2.0]], dtype=np.float32)).argsort().tolist()
    [[0, 1, 2, 3]]
    """
    width = values.dtype.itemsize * 8
    narrow, wide = (np.uint16, np.uint32) if width == 16 else (np.uint32, np.uint64)
    if values.min() >= 0:
        return np.abs(values).view(narrow)  # abs: -0.0 is 0.0
    bits = (values + values.dtype.type(0)).view(narrow)
    top = narrow(1 << (width - 1))
    # Negative numbers are ordered backwards by their bits; flipping them all restores the order.
    return np.where(bits & top, ~bits, bits | top).astype(wide)


def label_keys(values: Shaped[np.ndarray, "row n"], label: np.ndarray) -> Keys:
    """Sorted keys of each row: the order of the value, then the label in the lowest bit."""
    bits = ordered_bits(values)
    keys = (bits << 1) | label.astype(bits.dtype)
    keys.sort(axis=1, kind="stable" if keys.dtype == np.uint16 else None)  # radix for 16 bits
    return keys


@dataclass(frozen=True, eq=False)
class TieBlocks:
    """The runs of equal values in sorted rows, all rows end to end, as counts.

    Counts are as narrow as their products allow: this is the inner loop over all neurons. Positives
    are hallucinated examples, negatives true ones; ``up_to`` counts those of the row in and below
    each block.
    """

    first: Int[np.ndarray, " row"]  # index of the first block of each row
    positives: Int[np.ndarray, " block"]
    negatives: Int[np.ndarray, " block"]
    positives_up_to: Int[np.ndarray, " block"]
    negatives_up_to: Int[np.ndarray, " block"]

    @classmethod
    def of(cls, keys: Keys) -> "TieBlocks":
        """Blocks of sorted `label_keys`."""
        rows, n = keys.shape
        kind = np.int32 if n < 30_000 else np.int64  # holds 2 n^2
        ends = np.ones((rows, n), dtype=bool)
        np.greater(keys[:, 1:] ^ keys[:, :-1], 1, out=ends[:, :-1])
        labels = (keys & 1).astype(kind)
        positives_up_to = np.cumsum(labels, axis=1, dtype=kind)
        negatives_up_to = np.arange(1, n + 1, dtype=kind) - positives_up_to
        up_to = positives_up_to[ends], negatives_up_to[ends]
        first = np.concatenate([[0], np.cumsum(np.count_nonzero(ends, axis=1))[:-1]])
        return cls(first, _steps(up_to[0], first), _steps(up_to[1], first), *up_to)

    def sum(self, of: Shaped[np.ndarray, " block"]) -> Shaped[np.ndarray, " row"]:
        """Sum over the blocks of each row."""
        return np.add.reduceat(of, self.first)

    def sum_of_squares(
        self, of: Int[np.ndarray, " block"], weight: Int[np.ndarray, " block"]
    ) -> Float[np.ndarray, " row"]:
        """Weighted sum of squares over the blocks of each row."""
        squares = of.astype(np.float64)
        squares *= squares
        squares *= weight
        return np.add.reduceat(squares, self.first)

    def ties(self) -> Float[np.ndarray, " row"]:
        """Sum of size^3 - size over the blocks of each row: what ties take from the variance."""
        size = self.positives + self.negatives
        tied = np.flatnonzero(size > 1)
        row = np.searchsorted(self.first, tied, side="right") - 1
        cubes = size[tied].astype(np.float64) ** 3 - size[tied]
        counted = np.bincount(row, weights=cubes, minlength=len(self.first))
        return counted.astype(np.float64)  # bincount of an empty array gives integers


def _steps(up_to: Int[np.ndarray, " block"], first: np.ndarray) -> Int[np.ndarray, " block"]:
    """How much a running count grew in each block; it restarts with each row."""
    steps = np.empty_like(up_to)
    np.subtract(up_to[1:], up_to[:-1], out=steps[1:])
    steps[first] = up_to[first]
    return steps
