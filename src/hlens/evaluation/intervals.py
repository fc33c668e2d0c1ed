"""Intervals of an AUROC, and of a difference of two, that keep their level with few answers.

Problem: the percentile bootstrap and the plain DeLong interval are too narrow below some hundred
answers, most of all for a high AUROC, where the estimated error shrinks with the luck of the draw.

Idea: an AUROC is in the interval where the observed one is no surprise under *its own* error. That
error is Hanley and McNeil's, with the mean class size in its correction (method 5 of Newcombe). It
is made larger where the scores show more scatter than it expects: DeLong's variance by group over
Hanley and McNeil's. The critical value is Student's, with one degree of freedom less than the rarer
class has groups. Separated classes need no rule of their own.

Example: all of 10 hallucinated answers score above all of 10 true ones. The AUROC is 1, and one of
0.75 would still give that by luck.

Sources: Hanley and McNeil 1982 (Radiology 143); Newcombe 2006 (Stat. Med. 25, 559); Obuchowski 1997
(Biometrics 53). `docs/explanation/statistics.md` has the coverage.
"""

from dataclasses import astuple, dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike
from scipy.stats import t as student

from hlens.evaluation.auroc import Groups, auroc, delong, paired_difference
from hlens.types import Estimate

_HALVINGS = 40  # of the search for an end: beyond single precision
_NO_SCATTER = 1e-12  # a variance below it is rounding

Areas = Float[np.ndarray, " detector"]


@dataclass(frozen=True)
class Sizes:
    """Examples and groups of either class."""

    positive: int
    negative: int
    positive_groups: int
    negative_groups: int

    @classmethod
    def of(cls, labels: ArrayLike, groups: Groups | None = None) -> "Sizes":
        """Those of some labelled examples; without groups every example is its own.

        >>> Sizes.of([True, True, False, False], ["a", "a", "b", "c"])
        Sizes(positive=2, negative=2, positive_groups=1, negative_groups=2)
        """
        label = np.asarray(labels).astype(bool)
        group = np.arange(len(label)) if groups is None else np.asarray(groups)
        both = (group[label], group[~label])
        return cls(*map(len, both), *(len(np.unique(one)) for one in both))

    def __add__(self, other: "Sizes") -> "Sizes":
        """Both together, of no group in common."""
        return Sizes(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))

    @property
    def n(self) -> int:
        """All examples."""
        return self.positive + self.negative

    @property
    def freedom(self) -> int:
        """Degrees of freedom: one less than the rarer class has groups."""
        return min(self.positive_groups, self.negative_groups) - 1

    def expected_variance(self, area: Areas) -> Areas:
        """Hanley and McNeil's variance of the AUROC of independent examples."""
        more = (self.n / 2 - 1) * ((1 - area) / (2 - area) + area / (1 + area))
        return area * (1 - area) * (1 + more) / (self.positive * self.negative)

    def scatter(self, area: Areas, variance: Areas) -> Areas:
        """How many times more the scores scatter than those of independent examples.

        A ratio below one is raised by twice its standard error, up to one: so little may be luck.
        """
        expected = self.expected_variance(area)
        ratio = np.divide(variance, expected, out=np.ones_like(area), where=expected > 0)
        doubt = 1 + 2 * (2 / self.freedom) ** 0.5
        # Scores that separate the classes show no scatter to count groups by: there the
        # answers of one group are taken to be copies of each other.
        copies = max(self.positive / self.positive_groups, self.negative / self.negative_groups)
        return np.where(
            variance > _NO_SCATTER, np.maximum(ratio, (ratio * doubt).clip(max=1)), copies
        )


def estimate_auroc(
    scores: ArrayLike,
    labels: ArrayLike,
    *,
    groups: Groups | None = None,
    level: float = 0.95,
) -> Estimate:
    """AUROC with its interval over samples of groups.

    Labels are True where the example is a hallucination; without groups every example is its own.
    Where all examples of a class are of one group, nothing is known of other groups: the interval
    is all of 0 to 1.

    Raises:
        HlensError: One class only, or a score that is not finite.

    >>> print(estimate_auroc([1, 2, 3, 4, 5, 6], [0, 0, 1, 0, 1, 1]))
    0.889 [0.139, 0.997] (n=6)
    """
    one = delong(scores, labels, groups=groups)
    area, variance = auroc(scores, labels), float(one.covariance[0, 0])
    return auroc_interval(area, variance, sizes=Sizes.of(labels, groups), level=level)


def auroc_interval(area: float, variance: float, *, sizes: Sizes, level: float = 0.95) -> Estimate:
    """An AUROC with its interval, given its variance over samples of groups.

    >>> print(auroc_interval(1.0, 0.0, sizes=Sizes(10, 10, 10, 10)))
    1.000 [0.746, 1.000] (n=20)
    """
    low, high = interval_ends(np.array([area]), np.array([variance]), sizes=sizes, level=level)
    return Estimate(area, float(low[0]), float(high[0]), sizes.n)


def interval_ends(
    area: Areas, variance: Areas, *, sizes: Sizes, level: float = 0.95
) -> tuple[Areas, Areas]:
    """Lower and upper ends of the intervals of many AUROCs on the same examples."""
    if sizes.freedom < 1:
        return np.zeros_like(area), np.ones_like(area)
    reach = student.ppf((1 + level) / 2, sizes.freedom) * np.sqrt(sizes.scatter(area, variance))

    def search(end: float) -> Areas:
        """From the AUROC, which is no surprise, towards 0 or 1, which always is one."""
        inside, outside = area, np.full_like(area, end)
        for _ in range(_HALVINGS):
            middle = (inside + outside) / 2
            holds = np.abs(area - middle) <= reach * np.sqrt(sizes.expected_variance(middle))
            # At an AUROC of 0 or 1 itself the expected error is zero; just inside it is not.
            inside, outside = np.where(holds, middle, inside), np.where(holds, outside, middle)
        return outside

    # A score that is one and the same for all has an AUROC of 0.5 on whatever answers.
    constant = (variance < _NO_SCATTER) & (area == 0.5)
    return np.where(constant, 0.5, search(0.0)), np.where(constant, 0.5, search(1.0))


def chance_p(area: float, variance: float, *, sizes: Sizes) -> float:
    """Two-sided p of an AUROC against 0.5: at most .05 just where its interval leaves 0.5 out.

    >>> round(chance_p(1.0, 0.0, sizes=Sizes(10, 10, 10, 10)), 4)
    0.0044
    """
    if sizes.freedom < 1:
        return 1.0
    own, half = np.array([area]), np.array([0.5])
    spread = sizes.scatter(own, np.array([variance])) * sizes.expected_variance(half)
    return float(2 * student.sf(abs(area - 0.5) / np.sqrt(spread[0]), sizes.freedom))


def difference_interval(
    difference: float, variance: float, *, sizes: Sizes
) -> tuple[Estimate, float]:
    """A difference of two AUROCs on the same examples with its 95 % interval, and two-sided p.

    Student's, with one degree of freedom less than the rarer class has groups. A variance of zero
    (classes that one detector separates and the other ties) tells no spread: then the p is the
    chance that all groups of the rarer class are on one side by luck.

    >>> estimate, p = difference_interval(0.5, 0.0, sizes=Sizes(10, 10, 10, 10))
    >>> print(estimate, round(p, 4))
    0.500 [0.192, 0.808] (n=20) 0.002
    """
    n, freedom = sizes.n, sizes.freedom
    if abs(difference) < _NO_SCATTER and variance < _NO_SCATTER:
        return Estimate(0.0, 0.0, 0.0, n), 1.0  # one ranking, twice
    if freedom < 1:
        return Estimate(difference, -1.0, 1.0, n), 1.0
    if variance < _NO_SCATTER:
        half, p = 1 - 0.025 ** (1 / (freedom + 1)), 0.5**freedom
    else:
        error = variance**0.5
        half = student.ppf(0.975, freedom) * error
        p = 2 * student.sf(abs(difference) / error, freedom)
    low, high = max(-1.0, difference - half), min(1.0, difference + half)
    return Estimate(difference, float(low), float(high), n), float(p)


def delong_test(
    first: ArrayLike, second: ArrayLike, *, labels: ArrayLike, groups: Groups | None = None
) -> tuple[float, float]:
    """``(auroc(first) - auroc(second), p)``, two-sided, on the same examples.

    >>> delong_test([1, 2, 3, 4], [1, 2, 3, 4], labels=[False, False, True, True])
    (0.0, 1.0)
    """
    difference, variance = paired_difference(first, second, labels=labels, groups=groups)
    estimate, p = difference_interval(difference, variance, sizes=Sizes.of(labels, groups))
    return estimate.value, p
