"""AUROC over chosen pairs: a hallucinated and a true answer are compared only where they are alike.

The AUROC is a mean over pairs. Taken over the pairs that agree in length, domain or whatever else
could be read in place of truth, it says what is left when that is held fixed; with strata as the
pairs it is the stratified AUROC. One formula serves counts, amounts and categories.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import ArrayLike

from hlens.evaluation.auroc import check_scores
from hlens.evaluation.bootstrap import Weights, estimate_statistic
from hlens.types import Estimate

Alike = Bool[np.ndarray, "hallucinated true"]


def estimate_over_pairs(
    scores: ArrayLike,
    labels: ArrayLike,
    *,
    alike: Alike,
    groups: Sequence[str] | np.ndarray | None = None,
    n_boot: int = 1000,
    seed: int = 0,
) -> Estimate:
    """AUROC over chosen pairs, with its percentile interval over resamples of whole groups.

    Args:
        scores: Score of each example; higher means hallucination.
        labels: True where the example is a hallucination.
        alike: Which pairs count: rows are the hallucinated examples in their order, columns the
            true ones.
        groups: Group of each example; None makes every example its own group.
        n_boot: Number of resamples.
        seed: Seed of the resamples.

    Returns:
        The estimate; its ``n`` counts the examples of at least one pair. NaN where no pair counts.

    Raises:
        HlensError: One class only, or a score that is not finite.

    >>> score, label = [1, 2, 3, 4], [False, True, False, True]
    >>> same_length = np.array([[True, False], [False, True]])
    >>> estimate_over_pairs(score, label, alike=same_length, n_boot=10).value
    1.0
    """
    score, label = check_scores(scores, labels)
    # 1 where the hallucinated one scores higher, one half for a tie.
    wins = (np.sign(score[label][:, None] - score[~label][None, :]) + 1) / 2 * alike
    counted = alike.astype(np.float64)

    def statistic(weights: Weights) -> Float[np.ndarray, " resample"]:
        positive, negative = weights[:, label], weights[:, ~label]
        won = (positive @ wins * negative).sum(axis=1)
        pairs = (positive @ counted * negative).sum(axis=1)
        return np.divide(won, pairs, out=np.full(len(weights), np.nan), where=pairs > 0)

    involved = int(alike.any(axis=1).sum() + alike.any(axis=0).sum())
    estimate = estimate_statistic(statistic, len(score), groups=groups, n_boot=n_boot, seed=seed)
    return replace(estimate, n=involved)


def alike_pairs(values: ArrayLike, labels: ArrayLike, *, caliper: float = 0.05) -> Alike:
    """Pairs that agree in one covariate.

    Args:
        values: Covariate of each example: categories must be equal; numbers must lie within the
            caliper of each other, so that whole numbers of ordinary spread must be equal too.
        labels: True where the example is a hallucination.
        caliper: In standard deviations of the covariate.

    >>> alike_pairs([1, 1, 2], [True, False, False]).tolist()
    [[True, False]]
    """
    value, label = np.asarray(values), np.asarray(labels).astype(bool)
    if not np.issubdtype(value.dtype, np.number):
        code = np.unique(value.astype(str), return_inverse=True)[1]
        return code[label][:, None] == code[~label][None, :]
    number = value.astype(np.float64)
    reach = caliper * number.std()
    return np.abs(number[label][:, None] - number[~label][None, :]) <= reach
