"""Two detectors on the same examples: the difference of their AUROC."""

from collections.abc import Sequence

import numpy as np

from hlens.evaluation.auroc import paired_difference
from hlens.evaluation.intervals import Sizes, difference_interval


def compare_auroc(
    first: np.ndarray, second: np.ndarray, *, labels: np.ndarray, groups: Sequence[str]
) -> dict[str, float | int]:
    """AUROC of the first less that of the second, its 95 % interval and two-sided p, as columns."""
    value, variance = paired_difference(first, second, labels=labels, groups=np.asarray(groups))
    difference, p = difference_interval(value, variance, sizes=Sizes.of(labels, groups))
    return difference.to_row("difference", ends="difference_") | {"p": p}
