"""P-values: permutation by whole groups, and Holm's correction."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hlens.types import Contributions


def deal_by_group(groups: Sequence[str], draw: np.random.Generator) -> Int[np.ndarray, " example"]:
    """A permutation of the examples that keeps groups whole: whose value each example receives.

    The lists of the groups are laid end to end in a random order of groups and read off by the
    groups in their own order; with groups of one size each list lands on one whole group.
    """
    code = np.unique(np.asarray(groups), return_inverse=True)[1]
    place = draw.permutation(int(code.max()) + 1)
    source = np.empty(len(code), dtype=np.int64)
    source[np.argsort(code, kind="stable")] = np.argsort(place[code], kind="stable")
    return source


def permute_labels(data: Contributions, seed: int | Sequence[int]) -> Bool[Tensor, " example"]:
    """Labels dealt to other groups: the balance is kept, and labels of one group stay together."""
    draw = np.random.default_rng(seed)
    return data.labels[torch.from_numpy(deal_by_group(data.groups, draw))]


def permutation_p(value: float, null: Sequence[float]) -> float | None:
    """Share of the null at or above `value`, the value itself counted: never zero.

    >>> permutation_p(0.8, [0.5, 0.6, 0.4])
    0.25
    """
    if len(null) == 0 or not np.isfinite(value):
        return None
    return (1 + int(np.sum(np.asarray(null) >= value))) / (1 + len(null))


def holm(p: Float[np.ndarray, " test"]) -> Float[np.ndarray, " test"]:
    """Holm's adjusted p; missing ones stay missing and do not count.

    For tests that are few enough to want family-wise control.

    >>> holm(np.array([0.01, 0.04, np.nan, 0.03])).round(3).tolist()
    [0.03, 0.06, nan, 0.06]
    """
    adjusted = np.full(len(p), np.nan)
    known = np.flatnonzero(np.isfinite(p))
    order = known[np.argsort(p[known], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    # Running maximum: a larger p must not be adjusted to less than a smaller one.
    adjusted[order] = np.maximum.accumulate(p[order] * factors).clip(max=1.0)
    return adjusted
