"""What every solver takes and returns: options, a schedule of penalties, solutions."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from hlens.errors import HlensError

Schedule = Callable[[float, float], tuple[np.ndarray, np.ndarray]]
"""(lambda_max, sum of sample weights) -> descending penalties, and which of them are wanted.

The others are waypoints: solved roughly, as a start for the next."""


class ConvergenceError(HlensError):
    """The round limit was reached before the certificate."""


@dataclass(frozen=True, eq=False)
class Solution:
    """One solved problem at one penalty; penalty and objective are those of the mean loss."""

    penalty: float  # lambda
    penalty_max: float  # the smallest lambda at which every weight is zero
    features: np.ndarray  # those of nonzero weight, ascending
    values: np.ndarray  # their weights, in the units of the matrix
    bias: float  # intercept
    gap: float  # duality gap over the null objective (the objective of the intercept alone)
    objective: float
    explained: float = float("nan")  # share of the null deviance
    rounds: int = 1  # until this certificate

    @property
    def ratio(self) -> float:
        """What C means on these data: lambda / lambda_max."""
        return self.penalty / self.penalty_max


@dataclass(frozen=True)
class Options:
    """How to solve; the defaults suit contributions."""

    l1_ratio: float = 1.0  # share of the L1 penalty; above 0
    fit_intercept: bool = True  # never penalised
    tol: float = 1e-6  # largest duality gap over the null objective
    max_rounds: int = 200  # until a ConvergenceError
    look_ahead: int = 8  # penalties that are solved before each pass

    # A path ends with its first wanted solution of more features than `max_selected`, or that
    # explains more than `explained` of the null deviance: from there the examples are all but
    # separated, and weights only grow.
    max_selected: int | float = float("inf")
    explained: float = 0.999
