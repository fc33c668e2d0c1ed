"""The area under the ROC curve, exact: value, standard error and paired tests.

Problem: the area of several detectors on the same examples, with an error that counts groups (the
answers to one question), not examples, as independent.

Idea: placement values. For each hallucinated example take the share of true examples that score
below it (ties count half), and for each true example the share of hallucinated ones above it. Their
mean is the AUROC and their covariance is DeLong's. Summed within groups first, it is Obuchowski's
extension to clustered data, which equals DeLong's when every group holds one example.

Example: true answers score 0.1 and 0.4, hallucinated ones 0.4 and 0.9. The placements of the
hallucinated ones are 0.75 (one true answer below, one tied) and 1, so the AUROC is 0.875.

Sources: DeLong, DeLong and Clarke-Pearson 1988 (Biometrics 44); Sun and Xu 2014 (IEEE SPL 21);
Obuchowski 1997 (Biometrics 53).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import ArrayLike
from scipy.stats import rankdata

from hlens.errors import HlensError

Groups = Sequence[str] | np.ndarray


@dataclass(frozen=True, eq=False)
class Placements:
    """AUROC of several detectors, and its covariance over samples of examples (or of groups)."""

    auroc: Float[np.ndarray, " detector"]
    covariance: Float[np.ndarray, "detector detector"]

    @property
    def se(self) -> Float[np.ndarray, " detector"]:
        """Standard error of each area."""
        return np.sqrt(np.diag(self.covariance).clip(0))


def auroc(scores: ArrayLike, labels: ArrayLike) -> float:
    """Chance that a hallucinated example scores above a true one, ties counting half.

    Labels are True where the example is a hallucination.

    Raises:
        HlensError: One class only, lengths that differ, or a score that is not finite.

    >>> auroc([0.1, 0.4, 0.4, 0.9], [False, False, True, True])
    0.875
    """
    score, label = check_scores(scores, labels)
    n_positive = int(label.sum())
    n_negative = len(label) - n_positive
    ranks = rankdata(score)[label].sum() - n_positive * (n_positive + 1) / 2
    return float(ranks / (n_positive * n_negative))


def delong(scores: ArrayLike, labels: ArrayLike, *, groups: Groups | None = None) -> Placements:
    """AUROC of one or more detectors on the same examples, with DeLong's covariance.

    Scores are ``[example]``, or ``[detector, example]`` for several detectors. With groups the
    covariance is that of a sample of groups.

    Raises:
        HlensError: One class only, lengths that differ, or a score that is not finite.

    >>> one = delong([0.1, 0.4, 0.4, 0.9], [False, False, True, True])
    >>> print(one.auroc, one.se.round(3))
    [0.875] [0.177]
    """
    rows = np.atleast_2d(np.asarray(scores, dtype=np.float64))
    label = np.asarray(labels).astype(bool)
    for row in rows:
        check_scores(row, label)
    v10, v01 = _both_placements(rows, label)
    area = v10.mean(axis=1)
    if groups is None:
        return Placements(area, _scatter(v10) / v10.shape[1] + _scatter(v01) / v01.shape[1])
    return Placements(area, _clustered(v10, v01, area, label, np.asarray(groups)))


def influences(
    scores: Float[np.ndarray, "detector example"], labels: np.ndarray, groups: np.ndarray
) -> tuple[Float[np.ndarray, " detector"], Float[np.ndarray, "detector group"]]:
    """AUROC of several detectors, and how far each group moves each of them.

    The squares of a row sum to its variance over samples of groups, so that statistics whose
    groups are partly the same may be added up group by group. Columns are the groups in the order
    of `numpy.unique`.
    """
    v10, v01 = _both_placements(scores, labels)
    area = v10.mean(axis=1)
    (ten, n_ten), (one, n_one), _ = _deviations(v10, v01, area, labels, groups)
    return area, _unbiased(n_ten) ** 0.5 * ten + _unbiased(n_one) ** 0.5 * one


def paired_difference(
    first: ArrayLike, second: ArrayLike, *, labels: ArrayLike, groups: Groups | None = None
) -> tuple[float, float]:
    """AUROC of the first less that of the second on the same examples, and its variance."""
    both = delong(np.stack([np.asarray(first), np.asarray(second)]), labels, groups=groups)
    contrast = np.array([1.0, -1.0])
    return float(contrast @ both.auroc), float(contrast @ both.covariance @ contrast)


def check_scores(scores: ArrayLike, labels: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Scores as float64 and labels as bool, once they are known to be usable."""
    score = np.asarray(scores, dtype=np.float64)
    label = np.asarray(labels).astype(bool)
    if score.shape != label.shape or score.ndim != 1:
        raise HlensError(
            f"scores of shape {score.shape} and labels of shape {label.shape}: expected one score "
            "and one label for each example"
        )
    if not np.isfinite(score).all():
        row = int(np.flatnonzero(~np.isfinite(score))[0])
        raise HlensError(f"the score of example {row} is {score[row]}; expected finite scores")
    check_both_classes(label, "AUROC")
    return score, label


def check_both_classes(labels: ArrayLike, what: str) -> None:
    """Raise `HlensError` when the labels hold one class only."""
    label = np.asarray(labels).astype(bool)
    if label.all() or not label.any():
        only = "hallucinated" if len(label) and label.all() else "true"
        count = f"all {len(label)} examples are {only}" if len(label) else "there are no examples"
        raise HlensError(
            f"{what} needs hallucinated and true examples, but {count}; "
            "add questions of another difficulty, or more samples of each"
        )


def placements(
    scores: Float[np.ndarray, " example"], among: np.ndarray
) -> Float[np.ndarray, " example"]:
    """Share of `among` below each score, ties counting half."""
    ordered = np.sort(among)
    below = np.searchsorted(ordered, scores, side="left")
    up_to = np.searchsorted(ordered, scores, side="right")
    return (below + up_to) / (2 * len(ordered))


def _scatter(placements: np.ndarray) -> np.ndarray:
    """Sample covariance of placement values over examples; zero for a single example."""
    if placements.shape[1] < 2:
        return np.zeros((len(placements), len(placements)))
    return np.atleast_2d(np.cov(placements))


def _clustered(
    v10: np.ndarray, v01: np.ndarray, area: np.ndarray, label: np.ndarray, groups: np.ndarray
) -> np.ndarray:
    """Obuchowski's covariance: placement values are summed within groups first."""
    (ten, n_ten), (one, n_one), n_groups = _deviations(v10, v01, area, label, groups)
    # A group with both labels contributes to both sums; without this term its answers would count
    # as independent.
    cross = _unbiased(n_groups) * (ten @ one.T)
    s10, s01 = _unbiased(n_ten) * (ten @ ten.T), _unbiased(n_one) * (one @ one.T)
    return s10 + s01 + cross + cross.T


def _deviations(
    v10: np.ndarray, v01: np.ndarray, area: np.ndarray, label: np.ndarray, groups: np.ndarray
) -> tuple[tuple[np.ndarray, int], tuple[np.ndarray, int], int]:
    """What each group adds to the mean of either kind of placements, and numbers of groups.

    Deviations from the area, not the placements themselves: a group's sum would else grow with its
    size, and large groups would pass for variance.
    """
    names, code = np.unique(groups, return_inverse=True)
    ten, n_ten = _by_group(v10 - area[:, None], code[label], len(names))
    one, n_one = _by_group(v01 - area[:, None], code[~label], len(names))
    return (ten / v10.shape[1], n_ten), (one / v01.shape[1], n_one), len(names)


def _both_placements(rows: np.ndarray, label: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of the hallucinated examples among the true ones, and of the true ones, by detector."""
    v10 = np.stack([placements(row[label], row[~label]) for row in rows])
    return v10, np.stack([1 - placements(row[~label], row[label]) for row in rows])


def _by_group(
    centred: np.ndarray, code: Int[np.ndarray, " example"], n_groups: int
) -> tuple[np.ndarray, int]:
    """Sum within each group, and how many groups have any."""
    sums = np.stack([np.bincount(code, weights=row, minlength=n_groups) for row in centred])
    return sums, len(np.unique(code))


def _unbiased(n: int) -> float:
    return n / (n - 1) if n > 1 else 0.0
