"""AUROC of out-of-fold scores: only examples of one fold are compared with each other.

Scores of different folds come from different fits and need not be on one scale; pooling them
biases the AUROC (below 0.5 for a probe that knows nothing). So each fold gets its own AUROC, and
these are averaged with the number of pairs as weight.
"""

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from hlens.errors import HlensError
from hlens.evaluation.auroc import Groups, Placements, delong, influences


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
    area, covariance = np.zeros(len(rows)), np.zeros((len(rows), len(rows)))
    for inside, share in _folds(label, part):
        one = delong(rows[:, inside], label[inside], groups=group[inside])
        area += share * one.auroc
        covariance += share**2 * one.covariance  # folds share no group: no terms between folds
    return Placements(area, covariance)


def influences_folded(
    scores: Float[np.ndarray, "detector example"],
    labels: np.ndarray,
    *,
    fold: np.ndarray,
    groups: np.ndarray,
) -> tuple[Float[np.ndarray, " detector"], Float[np.ndarray, "detector group"]]:
    """AUROC within folds, and how far each group moves it: `influences` of each fold, averaged.

    Raises:
        HlensError: No fold has both classes.
    """
    names = np.unique(groups)
    area, moved = np.zeros(len(scores)), np.zeros((len(scores), len(names)))
    for inside, share in _folds(labels, fold):
        own, by_group = influences(scores[:, inside], labels[inside], groups[inside])
        area += share * own
        moved[:, np.isin(names, groups[inside])] += share * by_group
    return area, moved


def _folds(labels: np.ndarray, fold: np.ndarray) -> list[tuple[np.ndarray, float]]:
    """The examples of each fold with both classes, and its share of all pairs."""
    found = [fold == number for number in np.unique(fold)]
    pairs = [int(labels[inside].sum()) * int((~labels[inside]).sum()) for inside in found]
    if not sum(pairs):
        raise HlensError("no fold has hallucinated and true examples; use fewer folds")
    return [(inside, n / sum(pairs)) for inside, n in zip(found, pairs, strict=True) if n]
