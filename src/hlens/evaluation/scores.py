"""How well a detector reads: AUROC first, accuracy beside it."""

import numpy as np
from jaxtyping import Bool, Float

from hlens.evaluation.auroc import Groups, check_both_classes
from hlens.evaluation.bootstrap import Weights, estimate_statistic
from hlens.evaluation.intervals import estimate_auroc
from hlens.types import Contributions, Detector, Estimate


def evaluate(detector: Detector, data: Contributions) -> Estimate:
    """AUROC of a detector on contributions that it was not found on.

    The interval is that of `estimate_auroc`, by group.

    Raises:
        HlensError: One class only, or contributions that the detector does not read.
    """
    scores, labels = detector(data).numpy(), data.labels.numpy()
    return estimate_auroc(scores, labels, groups=data.groups)


def accuracy(
    detector: Detector,
    data: Contributions,
    *,
    balanced: bool = False,
    n_boot: int = 1000,
    seed: int = 0,
) -> Estimate:
    """Share of held-out examples on the right side of the detector's threshold; see `evaluate`.

    That of `hlens.find` is the threshold of highest balanced accuracy on out-of-fold scores of the
    training part. `balanced` takes the mean of the shares among hallucinated and among true
    examples: 0.5 is chance whatever the balance of the classes.
    """
    return estimate_accuracy(
        detector.predict(data).numpy(),
        data.labels.numpy(),
        balanced=balanced,
        groups=data.groups,
        n_boot=n_boot,
        seed=seed,
    )


def estimate_accuracy(
    said: Bool[np.ndarray, " example"],
    labels: Bool[np.ndarray, " example"],
    *,
    balanced: bool = False,
    groups: Groups | None = None,
    n_boot: int = 1000,
    seed: int = 0,
) -> Estimate:
    """Share of examples of which the right label was said; the options are those of `accuracy`.

    >>> said, label = np.array([True, True, True, False]), np.array([True, True, False, False])
    >>> estimate_accuracy(said, label, n_boot=10).value
    0.75
    """
    check_both_classes(labels, "accuracy")
    right = (said == labels).astype(np.float64)

    def statistic(weights: Weights) -> Float[np.ndarray, " resample"]:
        if not balanced:
            return weights @ right / weights.sum(axis=1)
        return _balanced(weights, right, labels)

    return estimate_statistic(statistic, len(right), groups=groups, n_boot=n_boot, seed=seed)


def balanced_accuracy(
    said: Bool[np.ndarray, " example"], labels: Bool[np.ndarray, " example"]
) -> float:
    """Mean of the shares of either class of which the right label was said.

    >>> balanced_accuracy(np.array([True, True, True, False]), np.array([True, True, False, False]))
    0.75
    """
    right = said == labels
    return float((right[labels].mean() + right[~labels].mean()) / 2)


def balanced_accuracy_difference(
    first: Bool[np.ndarray, " example"],
    second: Bool[np.ndarray, " example"],
    *,
    labels: Bool[np.ndarray, " example"],
    groups: Groups | None = None,
    n_boot: int = 1000,
    seed: int = 0,
) -> Estimate:
    """Balanced accuracy of what one detector says less that of another, on the same examples.

    Every resample of groups weighs both alike, so that what they have in common cancels.

    >>> label = np.array([True, True, False, False])
    >>> right, silent = label, np.zeros(4, dtype=bool)
    >>> balanced_accuracy_difference(right, silent, labels=label, n_boot=10).value
    0.5
    """
    check_both_classes(labels, "accuracy")
    gained = (first == labels).astype(np.float64) - (second == labels)

    def statistic(weights: Weights) -> Float[np.ndarray, " resample"]:
        return _balanced(weights, gained, labels)

    return estimate_statistic(statistic, len(gained), groups=groups, n_boot=n_boot, seed=seed)


def _balanced(
    weights: Weights, right: np.ndarray, labels: np.ndarray
) -> Float[np.ndarray, " resample"]:
    """Mean of what either class has of `right`, which is linear in it."""
    return (_share(weights, right, labels) + _share(weights, right, ~labels)) / 2


def _share(weights: Weights, right: np.ndarray, of: np.ndarray) -> Float[np.ndarray, " resample"]:
    """Weighted share of right answers in one class; NaN where a resample has none of it."""
    total = weights[:, of].sum(axis=1)
    hits = weights[:, of] @ right[of]
    return np.divide(hits, total, out=np.full(len(weights), np.nan), where=total > 0)
