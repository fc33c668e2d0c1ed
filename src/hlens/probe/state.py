"""What the solver passes around: options, solutions, and the state of a problem."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from hlens.errors import HlensError


class ConvergenceError(HlensError):
    """The iteration limit came before the certificate."""


@dataclass(frozen=True, eq=False)
class Solution:
    """One solved problem at one penalty.

    Attributes:
        penalty: lambda, in the mean-loss normalisation.
        penalty_max: The smallest lambda at which every weight is zero.
        features: Features of nonzero weight, ascending.
        values: Their weights, in the units of the matrix.
        bias: Intercept.
        gap: Duality gap over the null objective (the objective of the intercept alone).
        objective: Objective, in the mean-loss normalisation.
        explained: Share of the null deviance that it explains; near 1 the examples it was fitted
            to are as good as separated.
        rounds: Rounds until this certificate.
    """

    penalty: float
    penalty_max: float
    features: np.ndarray
    values: np.ndarray
    bias: float
    gap: float
    objective: float
    explained: float = float("nan")
    rounds: int = 1


@dataclass(frozen=True)
class Options:
    """How to solve; the defaults suit contributions.

    Attributes:
        l1_ratio: Share of the L1 penalty; above 0.
        fit_intercept: Whether there is an intercept (never penalised).
        tol: Largest duality gap over the null objective.
        max_rounds: Rounds until a `ConvergenceError`.
        look_ahead: Penalties that are solved ahead of a pass.
        max_selected: A path ends with its first wanted solution of more features than this.
        explained: A path ends with its first wanted solution that explains this share of the null
            deviance: beyond it the examples are as good as separated, and weights grow without
            saying more.
    """

    l1_ratio: float = 1.0
    fit_intercept: bool = True
    tol: float = 1e-6
    max_rounds: int = 200
    look_ahead: int = 8
    max_selected: int | None = None
    explained: float = 0.999


@dataclass(eq=False)
class Problem:
    """State of one problem while it is solved."""

    a: np.ndarray
    penalties: np.ndarray
    wanted: np.ndarray
    penalty_max: float
    null_objective: float
    examples: np.ndarray
    working: np.ndarray
    scores: np.ndarray
    w: np.ndarray
    b: float
    done: dict[int, Solution] = field(default_factory=dict)
    trials: list["Trial"] = field(default_factory=list)
    tried: dict[int, "Trial"] = field(default_factory=dict)
    lacking: list[np.ndarray] = field(default_factory=list)
    near: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    ahead: int = 1
    rounds: int = 0
    last: int = 1 << 30
    precision: float = 0.5

    @property
    def pending(self) -> list[int]:
        end = min(len(self.penalties), self.last + 1)
        return [k for k in range(end) if k not in self.done]


@dataclass(eq=False)
class Trial:
    """A working-set solution that waits for its certificate."""

    index: int
    features: np.ndarray
    w: np.ndarray
    b: float
    residual: np.ndarray
    slope: np.ndarray
    loss: float
    primal: float

    def start(self, working: np.ndarray, mean: np.ndarray) -> tuple[np.ndarray, float]:
        """Weights on a working set that holds this support, and the centred intercept."""
        w = np.zeros(len(working))
        chosen = self.w != 0
        w[np.searchsorted(working, self.features[chosen])] = self.w[chosen]
        return w, self.b + float(w @ mean)


Schedule = Callable[[float, float], tuple[np.ndarray, np.ndarray]]
"""(lambda_max, sum of sample weights) -> descending penalties, and which of them are wanted."""
