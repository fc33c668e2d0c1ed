"""AUROC of out-of-fold scores: only examples of one fold are compared with each other.

Scores of different folds come from different fits and need not be on one scale; pooling them
biases the AUROC (below 0.5 for a probe that knows nothing). So each fold gets its own AUROC, and
these are averaged with the number of pairs as weight.
"""

import numpy as np
from numpy.typing import ArrayLike

from hlens.errors import HlensError
from hlens.evaluation.auroc import Groups, Placements, delong


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
