"""AUROC of out-of-fold scores: only examples of one fold are compared with each other.

Scores of different folds come from different fits and need not be on one scale; pooling them
biases the AUROC (below 0.5 for a probe that knows nothing). So each fold gets its own AUROC, and
these are averaged with the number of pairs as weight.
"""

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit, logit

from hlens.errors import HlensError
from hlens.evaluation.auroc import Groups, Placements, delong
from hlens.evaluation.significance import Z95
from hlens.types import Estimate


def delong_folded(
    scores: ArrayLike, labels: ArrayLike, *, fold: ArrayLike, groups: Groups
) -> Placements:
    """AUROC of one or more detectors within folds, with their covariance clustered by group.

    Out-of-fold scores are ``[example]``, or ``[detector, example]``; no group is in two folds.

    Raises:
        HlensError: No fold has both classes.

    >>> both = delong_folded([1, 2, 8, 9], [0, 1, 0, 1], fold=[0, 0, 1, 1], groups=list("abcd"))
    >>> print(both.auroc)
    [1.]
    """
    rows = np.atleast_2d(np.asarray(scores, dtype=np.float64))
    label, part = np.asarray(labels).astype(bool), np.asarray(fold)
    group = np.asarray(groups)
    area, covariance, pairs = np.zeros(len(rows)), np.zeros((len(rows), len(rows))), 0
    for number in np.unique(part):
        inside = part == number
        weight = int(label[inside].sum()) * int((~label[inside]).sum())
        if weight == 0:
            continue
        one = delong(rows[:, inside], label[inside], groups=group[inside])
        area += weight * one.auroc
        covariance += weight**2 * one.covariance  # folds share no group: no terms between folds
        pairs += weight
    if pairs == 0:
        raise HlensError("no fold has hallucinated and true examples; use fewer folds")
    return Placements(area / pairs, covariance / pairs**2)


def logit_interval(area: float, se: float, *, n: int, least: int = 0) -> Estimate:
    """95 % interval of an AUROC, symmetric in its logit and so within (0, 1).

    Classes that are separated completely leave no spread to estimate an error from. Their interval
    ends where as many independent examples as the rarer class has groups (`least`; 0 where that is
    not known) would all be on the right side by luck once in 40 times.

    >>> print(logit_interval(0.8, 0.05, n=100))
    0.800 [0.684, 0.881] (n=100)
    >>> print(logit_interval(1.0, 0.0, n=20, least=10))
    1.000 [0.692, 1.000] (n=20)
    """
    if area in (0.0, 1.0) and least:
        bound = 0.025 ** (1 / least)
        return Estimate(area, bound, 1.0, n) if area else Estimate(area, 0.0, 1 - bound, n)
    if not 0 < area < 1 or se <= 0:
        return Estimate(area, area, area, n)
    half = Z95 * se / (area * (1 - area))
    low, high = expit(logit(area) - half), expit(logit(area) + half)
    return Estimate(area, float(low), float(high), n)


def count_rarer_groups(labels: ArrayLike, groups: Groups) -> int:
    """Number of groups with an example of the class that fewer groups have.

    >>> count_rarer_groups([True, True, False, False], ["a", "a", "b", "c"])
    1
    """
    label, group = np.asarray(labels).astype(bool), np.asarray(groups)
    return min(len(np.unique(group[label])), len(np.unique(group[~label])))
