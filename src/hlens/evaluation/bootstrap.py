"""The cluster bootstrap: whole groups are resampled, never single examples."""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float

from hlens.errors import HlensError
from hlens.evaluation.auroc import Groups
from hlens.types import Estimate

FEWEST_RESAMPLES = 10  # below which an interval would look surer than it is
_CELLS = 4_000_000  # entries of a block of resamples: bounds memory at some 100 MB

Weights = Float[np.ndarray, "resample example"]


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
    if n_boot < FEWEST_RESAMPLES:
        raise HlensError(
            f"n_boot={n_boot}; an interval takes {FEWEST_RESAMPLES} resamples or more: fewer "
            "would look surer than they are (1,000 is usual)"
        )
    draw = np.random.default_rng(seed)
    n_groups = int(code.max()) + 1
    block = max(1, _CELLS // n)
    blocks = [
        statistic(_resample_groups(draw, n_groups, min(block, n_boot - start))[:, code])
        for start in range(0, n_boot, block)
    ]
    values = np.concatenate(blocks)
    # A resample without one of the classes has no AUROC; the others still bound it.
    values = values[np.isfinite(values)]
    # One group is drawn again and again: how far others differ is not known.
    if len(values) == 0 or n_groups == 1:
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
