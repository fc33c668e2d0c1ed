"""Average precision, and recall at a fixed rate of false alarms: what alarms are worth.

Problem: an AUROC does not say how many of the alarms are true where hallucinations are rare, nor
how much is found while few alarms are false. Both need an interval over groups, and the tokens of
long answers are too many to be sorted again for every resample.

Idea: resampling groups changes the weights of examples, never their order. Sorted once, the true
and the false alarms from each threshold on are running sums of weights, for many resamples at a
time.

Example: a hallucination, a true answer and a hallucination score 0.9, 0.8 and 0.4. The first alarm
is right, and of all three two are: an average precision of (1 + 2/3) / 2. While no alarm is false,
one hallucination of the two is found, a recall of 1/2.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import ArrayLike
from sklearn.metrics import average_precision_score

from hlens.checks import check_real
from hlens.evaluation.auroc import Groups, check_scores
from hlens.evaluation.bootstrap import Weights, estimate_statistic
from hlens.types import Estimate

FALSE_ALARMS = 0.1  # share of true examples that may be called hallucinated
_ROUNDING = 1e-9

Alarms = Float[np.ndarray, "resample threshold"]


def estimate_average_precision(
    scores: ArrayLike,
    labels: ArrayLike,
    *,
    groups: Groups | None = None,
    n_boot: int = 1000,
    seed: int = 0,
) -> Estimate:
    """Average precision (scikit-learn's), with its bootstrap interval over groups.

    Labels are True where the example is a hallucination. Chance gives the share of hallucinations.

    Raises:
        HlensError: One class only, or a score that is not finite.

    >>> round(estimate_average_precision([0.9, 0.8, 0.4], [True, False, True]).value, 4)
    0.8333
    """
    score, label = check_scores(scores, labels)
    ranking = _Ranking.of(score, label, groups)

    def statistic(weights: Weights) -> Float[np.ndarray, " resample"]:
        hits, alarms = ranking.count(weights)
        precision = np.divide(hits, alarms, out=np.zeros_like(hits), where=alarms > 0)
        return _share((np.diff(hits, axis=1, prepend=0.0) * precision).sum(axis=1), hits[:, -1])

    value = float(average_precision_score(label, score))
    return ranking.estimate(statistic, value=value, n_boot=n_boot, seed=seed)


def estimate_recall(
    scores: ArrayLike,
    labels: ArrayLike,
    *,
    false_alarms: float = FALSE_ALARMS,
    groups: Groups | None = None,
    n_boot: int = 1000,
    seed: int = 0,
) -> Estimate:
    """Share of the hallucinations found while at most `false_alarms` of the true are called so.

    The threshold is chosen on these very examples, and in each resample anew: it says how far a
    ranking can go, not what a threshold fixed elsewhere would find. Equal scores are called
    together, so that a constant score finds nothing.

    Raises:
        HlensError: One class only, a score that is not finite, or a share outside 0 to 1.

    >>> estimate_recall([0.9, 0.8, 0.4, 0.1], [True, False, True, False], false_alarms=0.0).value
    0.5
    """
    most = check_real("false_alarms", false_alarms, most=1)
    ranking = _Ranking.of(*check_scores(scores, labels), groups)

    def statistic(weights: Weights) -> Float[np.ndarray, " resample"]:
        hits, alarms = ranking.count(weights)
        false = alarms - hits
        allowed = false <= most * false[:, -1:] + _ROUNDING
        found = _share(np.where(allowed, hits, 0.0).max(axis=1), hits[:, -1])
        return np.where(false[:, -1] > 0, found, np.nan)

    return ranking.estimate(statistic, n_boot=n_boot, seed=seed)


@dataclass(frozen=True, eq=False)
class _Ranking:
    """Examples from the highest score down, and where each run of equal scores ends."""

    hallucinated: Float[np.ndarray, " example"]  # 1 or 0
    groups: np.ndarray | None
    ends: Int[np.ndarray, " threshold"]

    @classmethod
    def of(cls, score: np.ndarray, label: np.ndarray, groups: Groups | None) -> "_Ranking":
        order = np.argsort(-score, kind="stable")
        ends = np.flatnonzero(np.diff(score[order], append=-np.inf))
        own = None if groups is None else np.asarray(groups)
        if own is not None and len(own) == len(order):
            own = own[order]  # of another length they are refused where they are used
        return cls(label[order].astype(np.float64), own, ends)

    def count(self, weights: Weights) -> tuple[Alarms, Alarms]:
        """Weighted true alarms, and all alarms, from each threshold on."""
        hits, alarms = (weights * self.hallucinated).cumsum(axis=1), weights.cumsum(axis=1)
        if len(self.ends) < len(self.hallucinated):
            hits, alarms = hits[:, self.ends], alarms[:, self.ends]
        return hits, alarms

    def estimate(
        self,
        statistic: Callable[[Weights], Float[np.ndarray, " resample"]],
        *,
        value: float | None = None,
        n_boot: int,
        seed: int,
    ) -> Estimate:
        """A statistic of weights in the order of this ranking, with its interval."""
        return estimate_statistic(
            statistic,
            len(self.hallucinated),
            value=value,
            groups=self.groups,
            n_boot=n_boot,
            seed=seed,
        )


def _share(part: np.ndarray, whole: np.ndarray) -> Float[np.ndarray, " resample"]:
    """Part of the whole in each resample; NaN where a resample has none of the class."""
    return np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0)
