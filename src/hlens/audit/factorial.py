"""Truth against length, two by two: which of them does the score follow?

In one replication of arXiv 2512.01797 the mean over a whole response followed its length 3.7 times
more than its truth.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float
from numpy.typing import ArrayLike

from hlens.evaluation.bootstrap import Weights, estimate_statistic

CELLS = ("true, short", "true, long", "hallucinated, short", "hallucinated, long")
# Contrasts of the four cell means, in the order of CELLS.
EFFECTS = {
    "truth": (-0.5, -0.5, 0.5, 0.5),
    "length": (-0.5, 0.5, -0.5, 0.5),
    "interaction": (1.0, -1.0, -1.0, 1.0),
}


def truth_by_length(
    scores: Float[np.ndarray, " example"],
    labels: Bool[np.ndarray, " example"],
    *,
    lengths: ArrayLike,
    groups: Sequence[str],
    n_boot: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Mean score in the four cells of truth and length, and the effect of either.

    `lengths` are those of the answers; long is above the median of the true ones.

    Returns:
        Columns ``what, value, low, high, n``: four cells, then the effects of truth (hallucinated
        less true, both lengths weighted alike), of length (long less short) and their interaction,
        all in standard deviations of the score. A cell without examples is missing, and so are then
        the effects.
    """
    z = (scores - scores.mean()) / (scores.std() or 1.0)
    length = np.asarray(lengths, dtype=float)
    long = length > np.median(length[~labels])
    cell = 2 * labels.astype(int) + long
    member = np.stack([cell == k for k in range(4)], axis=1).astype(float)
    contrasts = dict(zip(CELLS, np.eye(4), strict=True)) | EFFECTS
    rows: list[dict[str, Any]] = []
    for name, contrast in contrasts.items():
        statistic = _contrast_of_means(z, member, np.asarray(contrast))
        estimate = estimate_statistic(statistic, len(z), groups=groups, n_boot=n_boot, seed=seed)
        if name in CELLS:
            estimate = replace(estimate, n=int(member[:, CELLS.index(name)].sum()))
        rows.append({"what": name, **estimate.to_row("value")})
    return pd.DataFrame(rows)


def _contrast_of_means(
    z: np.ndarray, member: np.ndarray, contrast: np.ndarray
) -> Callable[[Weights], Float[np.ndarray, " resample"]]:
    """A weighted sum of cell means, for many rows of weights at once."""
    used = np.flatnonzero(contrast)  # an empty cell must not make the mean of another one missing

    def statistic(weights: Weights) -> Float[np.ndarray, " resample"]:
        total = weights @ member[:, used]
        sums = weights @ (member[:, used] * z[:, None])
        means = np.divide(sums, total, out=np.full(total.shape, np.nan), where=total > 0)
        return means @ contrast[used]

    return statistic
