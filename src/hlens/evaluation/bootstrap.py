"""The cluster bootstrap: whole groups are resampled, never single examples."""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from hlens.errors import HlensError
from hlens.evaluation.auroc import Groups, auroc, check_scores
from hlens.types import Estimate

_CELLS = 4_000_000  # entries of a block of resamples: bounds memory at some 100 MB

Weights = Float[np.ndarray, "resample example"]


def estimate_auroc(
    scores: ArrayLike,
    labels: ArrayLike,
    *,
    groups: Groups | None = None,
    n_boot: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Estimate:
    """AUROC with its percentile interval over `n_boot` resamples of whole groups.

    Labels are True where the example is a hallucination; without groups every example is its own.

    Raises:
        HlensError: One class only, or a score that is not finite.

    >>> print(estimate_auroc([1, 2, 3, 4, 5, 6], [0, 0, 1, 0, 1, 1], n_boot=200))
    0.889 [0.500, 1.000] (n=6)
    """
    score, label = check_scores(scores, labels)
    value, of_weighted = auroc(score, label), _WeightedAuroc(score, label)
    return estimate_statistic(
        of_weighted, len(score), value=value, groups=groups, n_boot=n_boot, seed=seed, level=level
    )


def estimate_statistic(
    statistic: Callable[[Weights], Float[np.ndarray, " resample"]],
    n: int,
    *,
    value: float | None = None,
    groups: Groups | None = None,
    n_boot: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Estimate:
    """Any statistic of `n` weighted examples, with its percentile interval.

    `statistic` gives its value for each row of weights, NaN where a resample leaves it undefined;
    `value` is that on the examples themselves, where it need not be computed from weights of one.
    """
    if value is None:
        value = float(statistic(np.ones((1, n)))[0])
    code = np.arange(n) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    if len(code) != n:
        raise HlensError(f"{len(code)} groups for {n} examples; give one group for each example")
    draw = np.random.default_rng(seed)
    n_groups = int(code.max()) + 1
    block = max(1, _CELLS // n)
    blocks = [
        statistic(_resample_groups(draw, n_groups, min(block, n_boot - start))[:, code])
        for start in range(0, n_boot, block)
    ]
    values = np.concatenate(blocks) if blocks else np.empty(0)
    # A resample without one of the classes has no AUROC; the others still bound it.
    values = values[np.isfinite(values)]
    if len(values) == 0:
        return Estimate(value, float("nan"), float("nan"), n)
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return Estimate(value, float(low), float(high), n)


def summarise_repeats(values: Sequence[float], n: int) -> Estimate:
    """Mean and central 95 % of repeats on `n` examples: a spread, not a confidence interval."""
    if len(values) == 0:
        return Estimate.missing(n)
    low, high = np.quantile(values, [0.025, 0.975])
    return Estimate(float(np.mean(values)), float(low), float(high), n)


def _resample_groups(draw: np.random.Generator, n_groups: int, n_boot: int) -> np.ndarray:
    """How often each group is drawn, when as many as there are are drawn with replacement."""
    picked = draw.integers(n_groups, size=(n_boot, n_groups))
    # One count over all resamples: each has its own range of numbers.
    rows = np.arange(n_boot)[:, None] * n_groups
    counts = np.bincount((picked + rows).ravel(), minlength=n_boot * n_groups)
    return counts.reshape(n_boot, n_groups).astype(np.float64)


class _WeightedAuroc:
    """AUROC for many rows of weights at once: the examples are sorted only once."""

    def __init__(self, score: np.ndarray, label: np.ndarray) -> None:
        self.order = np.argsort(score, kind="stable")
        ordered = score[self.order]
        self.label = label[self.order].astype(np.float64)
        # Where the ties of each example begin and end: negatives below count 1, tied ones half.
        self.start = np.searchsorted(ordered, ordered, side="left")
        self.stop = np.searchsorted(ordered, ordered, side="right")

    def __call__(self, weights: Weights) -> Float[np.ndarray, " resample"]:
        ordered = weights[:, self.order]
        positive = ordered * self.label
        below = np.zeros((len(weights), len(self.label) + 1))
        np.cumsum(ordered - positive, axis=1, out=below[:, 1:])
        n_negative = below[:, -1]
        wins = (positive * (below[:, self.start] + below[:, self.stop])).sum(axis=1) / 2
        pairs = positive.sum(axis=1) * n_negative
        return np.divide(wins, pairs, out=np.full(len(weights), np.nan), where=pairs > 0)
