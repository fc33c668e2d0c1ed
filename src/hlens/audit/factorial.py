"""Truth against length, two by two: which of them does the score follow?

In one replication of arXiv 2512.01797 the mean over a whole response followed its length 3.7 times
more than its truth.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float
from numpy.typing import ArrayLike

from hlens.evaluation.bootstrap import Weights, bootstrapped
from hlens.types.labels import Contrast

CELLS = ("true, short", "true, long", "hallucinated, short", "hallucinated, long")
# Contrasts of the four cell means, in the order of CELLS.
EFFECTS = {
    Contrast.TRUTH: (-0.5, -0.5, 0.5, 0.5),
    Contrast.LENGTH: (-0.5, 0.5, -0.5, 0.5),
    Contrast.INTERACTION: (1.0, -1.0, -1.0, 1.0),
}


def truth_by_length(
    scores: Float[np.ndarray, " example"],
    labels: Bool[np.ndarray, " example"],
    lengths: ArrayLike,
    groups: Sequence[str],
    n_boot: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Mean score in the four cells of truth and length, and the effect of either.

    Args:
        scores: Score of each held-out example.
        labels: True where it is a hallucination.
        lengths: Length of its answer; long is above the median of the true ones.
        groups: Group of each example.
        n_boot: Resamples of whole groups.
        seed: Seed of the resamples.

    Returns:
        Columns ``what, value, low, high, n``: four cells, then the effects of truth (hallucinated
        less true, lengths alike weighted), of length (long less short) and their interaction, all
        in standard deviations of the score. A cell without examples is missing, and so are then
        the effects.
    """
    z = (scores - scores.mean()) / (scores.std() or 1.0)
    length = np.asarray(lengths, dtype=float)
    long = length > np.median(length[~labels])
    cell = 2 * labels.astype(int) + long
    member = np.stack([cell == k for k in range(4)], axis=1).astype(float)
    rows: list[dict[str, Any]] = []
    for at, name in enumerate(CELLS):
        contrast = np.eye(4)[at]
        rows.append(_row(name, z, member, contrast, groups, int(member[:, at].sum()), n_boot, seed))
    for name, weights in EFFECTS.items():
        rows.append(_row(name, z, member, np.asarray(weights), groups, len(z), n_boot, seed))
    return pd.DataFrame(rows)


def _row(
    name: str,
    z: np.ndarray,
    member: np.ndarray,
    contrast: np.ndarray,
    groups: Sequence[str],
    n: int,
    n_boot: int,
    seed: int,
) -> dict[str, Any]:
    statistic = _contrast_of(z, member, contrast)
    value = float(statistic(np.ones((1, len(z))))[0])
    found = bootstrapped(value, statistic, groups, len(z), n_boot, seed)
    return {"what": name, "value": found.value, "low": found.low, "high": found.high, "n": n}


def _contrast_of(
    z: np.ndarray, member: np.ndarray, contrast: np.ndarray
) -> Callable[[Weights], Float[np.ndarray, " resample"]]:
    """A weighted sum of cell means, for many rows of weights at once."""
    used = np.flatnonzero(contrast)

    def statistic(weights: Weights) -> Float[np.ndarray, " resample"]:
        total = weights @ member[:, used]
        sums = weights @ (member[:, used] * z[:, None])
        means = np.divide(sums, total, out=np.full(total.shape, np.nan), where=total > 0)
        return means @ contrast[used]

    return statistic
