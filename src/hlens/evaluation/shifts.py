"""Shifts: do means differ between two samples whose examples come in groups?

Problem: a monitor reads thousands of answers a day, and some difference to those of last month is
always there. Answers to one question are alike, so that a test which counts them as independent
finds drift every day; and live there may be one answer to a question where at home there were five.

Idea: a permutation test of whole groups. The difference of means is divided by its own standard
error, which sums deviations by group; a studentised statistic keeps the error rate of the test even
where groups of the two samples differ in size or spread (Janssen 1997; Chung and Romano 2013). Of
several columns the largest statistic is compared with the largest of each permutation (max-T,
Westfall and Young 1993), so that the rate holds for all of them together.

Example: 100 questions at home with 3 answers each, 200 live with one. 200 of the 300 groups are
called live at random, 2,000 times; a difference that 20 of these reach has p = 21 / 2001.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil

import numpy as np
from jaxtyping import Bool, Float
from scipy.stats import norm, t

from hlens.checks import check_seed, check_whole
from hlens.errors import HlensError
from hlens.evaluation.auroc import Groups

FEWEST_GROUPS = 10  # of either sample
MOST_PERMUTATIONS = 1_000_000
POWER = 0.8
_CELLS = 4_000_000  # of a block of permutations: bounds memory at some 100 MB
_ROUNDING = 1e-6  # of a mean: what varies by less is one value, rounded


@dataclass(frozen=True, eq=False)
class Shifts:
    """How far each column's mean lies from home, and what chance does.

    Attributes:
        difference: Live mean less that of home.
        home_variance: Of the mean at home, by group.
        live_variance: Of the live mean, by group.
        low: End of the 95 % interval of the difference.
        high: Its other end.
        statistic: Difference over its standard error; 0 of a column that does not vary.
        null: Largest absolute statistic of each permutation.
        n_live: Live examples.
    """

    difference: Float[np.ndarray, " column"]
    home_variance: Float[np.ndarray, " column"]
    live_variance: Float[np.ndarray, " column"]
    low: Float[np.ndarray, " column"]
    high: Float[np.ndarray, " column"]
    statistic: Float[np.ndarray, " column"]
    null: Float[np.ndarray, " permutation"]
    n_live: int

    @property
    def p(self) -> Float[np.ndarray, " column"]:
        """P of each column, two-sided and adjusted for all of them."""
        reached = (self.null[:, None] >= np.abs(self.statistic) - 1e-9).sum(axis=0)
        return (1 + reached) / (1 + len(self.null))

    def critical(self, level: float) -> float:
        """The statistic beyond which p is at most `level`; infinite with too few permutations."""
        allowed = int(level * (1 + len(self.null)) + 1e-9) - 1
        return float(np.sort(self.null)[::-1][allowed]) if allowed >= 0 else float("inf")

    def smallest_seen(self, level: float, power: float = POWER) -> Float[np.ndarray, " column"]:
        """The difference that the test at this level would have seen with this power."""
        variance = self.home_variance + self.live_variance
        return (self.critical(level) + norm.ppf(power)) * np.sqrt(variance)

    def answers_needed(self, difference: float, level: float, power: float = POWER) -> int | None:
        """Live examples, as grouped as these, to see a difference of the first column.

        None where so few examples at home cannot show it, whatever is read live.
        """
        wanted = (difference / (self.critical(level) + norm.ppf(power))) ** 2
        left = wanted - float(self.home_variance[0])
        if left <= 0:
            return None
        return max(FEWEST_GROUPS, ceil(self.n_live * float(self.live_variance[0]) / left))


def find_shifts(
    home: Float[np.ndarray, "home column"],
    live: Float[np.ndarray, "live column"],
    *,
    home_groups: Groups,
    live_groups: Groups,
    permutations: int = 2000,
    seed: int = 0,
) -> Shifts:
    """Compare the means of two samples, column by column.

    Args:
        home: One row an example.
        live: The same of the other sample.
        home_groups: Group of each example at home.
        live_groups: Group of each live one; a name that both hold is taken for two groups.
        permutations: Times that whole groups are dealt to the two samples at random.
        seed: Of these.

    Raises:
        HlensError: Fewer than ten groups in either sample, or columns of another number.

    >>> draw = np.random.default_rng(0)
    >>> home, live = draw.normal(size=(200, 1)), draw.normal(size=(100, 1)) + 1
    >>> found = find_shifts(home, live, home_groups=np.arange(200), live_groups=np.arange(100))
    >>> bool(found.low[0] < 1 < found.high[0]), float(found.p[0]) < 0.01
    (True, True)
    """
    permutations = check_whole("permutations", permutations, least=99, most=MOST_PERMUTATIONS)
    if home.ndim != 2 or live.ndim != 2 or home.shape[1] != live.shape[1]:
        raise HlensError(
            f"columns of shape {home.shape} at home and {live.shape} live; expected as many columns"
        )
    centre = np.concatenate([home, live]).mean(axis=0)
    own = _Sums.of(home - centre, home_groups), _Sums.of(live - centre, live_groups)
    for sums, where in zip(own, ("at home", "live"), strict=True):
        if len(sums.counts) < FEWEST_GROUPS:
            raise HlensError(
                f"{len(sums.counts)} groups of questions {where}; a comparison takes at least "
                f"{FEWEST_GROUPS}: give more answers"
            )
    spread = np.concatenate([home, live]).std(axis=0)
    varies = spread > _ROUNDING * np.abs(centre)
    sums, n_home = _Sums.join(own), len(own[0].counts)
    observed = np.arange(len(sums.counts)) >= n_home
    difference, variances = sums.compare(observed[None, :])
    draw = np.random.default_rng(check_seed(seed))
    null = [
        np.abs(_statistic(*sums.compare(dealt), varies)).max(axis=1)
        for dealt in _deals(observed, permutations, draw)
    ]
    half = _half_width(variances[:, 0], (n_home, len(sums.counts) - n_home))
    return Shifts(
        difference=difference[0],
        home_variance=variances[0, 0],
        live_variance=variances[1, 0],
        low=difference[0] - half,
        high=difference[0] + half,
        statistic=_statistic(difference, variances, varies)[0],
        null=np.concatenate(null),
        n_live=len(live),
    )


@dataclass(frozen=True, eq=False)
class _Sums:
    """Sums by group, from which the means and variances of any deal of groups follow."""

    counts: Float[np.ndarray, " group"]
    sums: Float[np.ndarray, "group column"]

    @classmethod
    def of(cls, values: Float[np.ndarray, "example column"], groups: Groups) -> "_Sums":
        code = np.unique(np.asarray(groups), return_inverse=True)[1]
        if len(code) != len(values):
            raise HlensError(f"{len(code)} groups for {len(values)} examples; give one for each")
        counts = np.bincount(code).astype(np.float64)
        sums = np.zeros((len(counts), values.shape[1]))
        np.add.at(sums, code, values)
        return cls(counts, sums)

    @classmethod
    def join(cls, parts: "tuple[_Sums, _Sums]") -> "_Sums":
        return cls(
            np.concatenate([part.counts for part in parts]),
            np.concatenate([part.sums for part in parts]),
        )

    def compare(
        self, live: Bool[np.ndarray, "deal group"]
    ) -> tuple[Float[np.ndarray, "deal column"], Float[np.ndarray, "2 deal column"]]:
        """Difference of the means under each deal, and the variance of either mean."""
        means, variances = zip(*(self._moments(~live), self._moments(live)), strict=True)
        return means[1] - means[0], np.stack(variances)

    def _moments(self, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean of the chosen groups' examples, and its variance from deviations by group."""
        which, n_groups = chosen.astype(np.float64), chosen.sum(axis=1)[:, None]
        total = (which @ self.counts)[:, None]
        mean = which @ self.sums / total
        squares = which @ self.sums**2 - 2 * mean * (which @ (self.sums * self.counts[:, None]))
        squares += mean**2 * (which @ self.counts**2)[:, None]
        return mean, squares.clip(0) / total**2 * n_groups / (n_groups - 1)


def _deals(
    observed: np.ndarray, permutations: int, draw: np.random.Generator
) -> Iterator[Bool[np.ndarray, "deal group"]]:
    """Whole groups dealt at random, as many live as there are, block by block."""
    block = max(1, _CELLS // len(observed))
    for start in range(0, permutations, block):
        n = min(block, permutations - start)
        yield draw.permuted(np.tile(observed, (n, 1)), axis=1)


def _statistic(difference: np.ndarray, variances: np.ndarray, varies: np.ndarray) -> np.ndarray:
    """Difference over its standard error; 0 of a column that is one value, rounded."""
    error = np.sqrt(variances.sum(axis=0))
    return np.divide(difference, error, out=np.zeros_like(difference), where=varies & (error > 0))


def _half_width(variances: np.ndarray, n_groups: tuple[int, int]) -> np.ndarray:
    """Half of the 95 % interval, with Welch's degrees of freedom, groups as examples."""
    total = variances.sum(axis=0)
    parts = variances**2 / (np.array(n_groups)[:, None] - 1)
    freedom = np.divide(
        total**2, parts.sum(axis=0), out=np.full_like(total, min(n_groups) - 1.0), where=total > 0
    )
    return t.ppf(0.975, freedom) * np.sqrt(total)
