"""Thresholds from a rate of false alarms: what can be promised of answers that are yet to come.

Problem: "flag at probability 0.9" is a matter of taste, and its share of false alarms is unknown.
The share at which a threshold was chosen is too kind, and a rate of 1 % cannot be told from forty
true answers at all.

Idea: of n true answers, let the threshold be the k-th highest score. The chance that a further true
answer lies above it is distributed as Beta(k, n + 1 - k), whatever the scores look like. Its mean
k / (n + 1) is kept at or below the asked rate, and its central 95 % is the interval. Answers of one
group are no independent answers: n and k are divided by their design effect (Kish 1965).

Example: of 99 true answers at most one may be flagged for a rate of 1 %, so that the threshold is
the highest score of them; the rate of further ones is then 1 % [0.03 %, 3.7 %].

Source: Wilks 1941 (tolerance limits); Vovk et al. 2005 (conformal prediction).
"""

from collections.abc import Sequence
from math import ceil

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import beta

from hlens.checks import check_real
from hlens.evaluation.auroc import Groups, check_scores
from hlens.types import Estimate, Threshold

RATES = (0.01, 0.05, 0.1)
_ROUNDING = 1e-9


def find_thresholds(
    scores: ArrayLike,
    labels: ArrayLike,
    *,
    groups: Groups | None = None,
    rates: Sequence[float] = RATES,
    domain: str = "",
) -> list[Threshold]:
    """A threshold for each rate of false alarms that so many true answers can tell.

    Args:
        scores: One for each answer, which the detector was not found on.
        labels: True where it is a hallucination.
        groups: Group of each answer; without, every answer is its own.
        rates: Shares of true answers that may be flagged; one below ``1 / (n + 1)`` for n true
            answers has no threshold (`answers_needed`), and is left out.
        domain: Name of the domain, kept with each threshold.

    Raises:
        HlensError: One class only, a score that is not finite, or a rate that is no share.

    >>> found = find_thresholds(range(200), [i % 2 == 1 for i in range(200)], rates=(0.05,))
    >>> print(found[0].score, f"{found[0].alarm_rate:.3f}")
    190.0 0.050 [0.016, 0.099]
    """
    score, label = check_scores(scores, labels)
    group = np.arange(len(score)) if groups is None else np.asarray(groups)
    rates = [check_real("rate of false alarms", rate, above=0, below=1) for rate in rates]
    found = []
    for rate in rates:
        if (limit := _limit(score[~label], rate)) is None:
            continue
        flagged = score >= limit
        found.append(
            Threshold(
                rate,
                float(limit),
                _share_to_come(score[~label], limit, group[~label]),
                estimate_share(flagged[label], group[label]),
                estimate_share(label[flagged], group[flagged]),
                domain,
            )
        )
    return found


def answers_needed(rate: float) -> int:
    """How many true answers a rate of false alarms needs at least.

    >>> answers_needed(0.05), answers_needed(0.01)
    (19, 99)
    """
    return ceil(1 / rate - _ROUNDING) - 1


def _limit(true: np.ndarray, rate: float) -> float | None:
    """The lowest score with at most so many true answers at or above it; None for none."""
    allowed = int(rate * (len(true) + 1) + _ROUNDING)
    values, counts = np.unique(true, return_counts=True)
    above = counts[::-1].cumsum()[::-1]  # at or above each value
    fitting = values[above <= allowed]
    return float(fitting[0]) if len(fitting) else None


def _share_to_come(true: np.ndarray, limit: float, groups: np.ndarray) -> Estimate:
    """Share of further true answers above the threshold, which was chosen by these."""
    flagged = true >= limit
    n, k = len(flagged), int(flagged.sum())
    # Few flagged answers tell little of how alike those of a group are: the highest tenth does.
    tenth = true >= np.quantile(true, 0.9)
    effect = max(design_effect(flagged, groups), design_effect(tenth, groups))
    low, high = beta.ppf([0.025, 0.975], k / effect, (n + 1 - k) / effect)
    return Estimate(k / (n + 1), float(low), float(high), n)


def estimate_share(which: np.ndarray, groups: np.ndarray) -> Estimate:
    """A share of answers that had no part in a choice: Jeffreys' interval, by design effect."""
    n = len(which)
    if n == 0:
        return Estimate.missing()
    k, effect = int(which.sum()), design_effect(which, groups)
    low, high = beta.ppf([0.025, 0.975], k / effect + 0.5, (n - k) / effect + 0.5)
    return Estimate(k / n, float(low) if k else 0.0, float(high) if k < n else 1.0, n)


def design_effect(which: np.ndarray, groups: np.ndarray) -> float:
    """How many answers tell as much as one independent one: at least 1 (Kish 1965).

    What is beyond 1 is raised by its own standard error, as that of few groups may be luck.

    >>> design_effect(np.array([True, True, False, False]), np.array([0, 0, 1, 1]))
    3.0
    """
    share = float(which.mean())
    names, own = np.unique(groups, return_inverse=True)
    if share in (0.0, 1.0) or len(names) < 2:
        return 1.0
    sums = np.bincount(own, weights=which - share)
    effect = float((sums**2).sum() / (len(which) * share * (1 - share)))
    return 1.0 + max(0.0, effect - 1.0) * (1.0 + (2.0 / len(names)) ** 0.5)
