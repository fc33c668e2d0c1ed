"""Power: which slope a dose-response shows, and how many questions a slope needs.

Problem: a null says little unless it says which slope it could not have seen, and hours of replies
are wasted where that could be known beforehand.

Idea: "seen" is what the tables mean by it (`hlens.claims.slopes`): the interval of the slope less
the random sets' mean leaves out 0, and no random set is as steep. Two things stand in the way.
Questions differ, which more questions mend: the slopes of all sets share a covariance that falls
with their number. And random sets truly move behaviour, which more questions do not mend: by so
much their slopes differ beyond that covariance (method of moments, as in a random-effects model).
Both are estimated from outcomes, of a pilot or of the run itself, and the rule is then played on
normal draws of them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import inf, nan, sqrt

import numpy as np
from scipy.stats import norm

from hlens.types.labels import Scale

POWER = 0.8
FEWEST = 12  # questions below which a bootstrap over them is not to be relied on
_MOST = 1_000_000  # questions above which no one goes
_DRAWS, _SEED = 4000, 0
_ROUNDING = 1e-20  # what replies that are all alike may vary by


@dataclass(frozen=True, eq=False)
class PairedValues:
    """What a target and its random sets did on the same questions.

    Attributes:
        values: ``[set, question, alpha]``, the target first; NaN where a reply was not scored.
        groups: Group of each question, counted from 0.
        alphas: Doses.
        unit: A `hlens.types.labels.Scale`, or another where values have no bounds.
        asked: Questions that were put; these are those of them that apply.
    """

    values: np.ndarray
    groups: np.ndarray
    alphas: np.ndarray
    unit: str
    asked: int

    @property
    def n_groups(self) -> int:
        """Number of groups of questions."""
        return int(self.groups.max()) + 1

    @property
    def n_sets(self) -> int:
        """Number of random sets."""
        return len(self.values) - 1

    @cached_property
    def weights(self) -> np.ndarray:
        """What a value at each dose adds to a least-squares slope."""
        centred = self.alphas - self.alphas.mean()
        return centred / (centred @ centred)

    @property
    def largest(self) -> float:
        """The slope of a reply that is 0 at all low doses and 1 at all high ones."""
        return float(self.weights.clip(0).sum()) if self.unit in [*Scale] else inf

    @property
    def still(self) -> bool:
        """Whether no reply of the target changed at any dose, and some were scored at each."""
        own = self.values[0]
        read = own[~np.isnan(own).all(axis=1)]
        if np.isnan(own).all(axis=0).any():
            return False
        return bool((np.nanmax(read, axis=1) == np.nanmin(read, axis=1)).all())

    @property
    def most_unseen(self) -> float:
        """The steepest slope that replies without a change leave open (95 %).

        By the rule of three: so few questions may be moved that none of these is. Those count that
        were read at every dose; NaN where none was.
        """
        read = ~np.isnan(self.values[0]).any(axis=1)
        n = len(np.unique(self.groups[read]))
        return nan if self.largest == inf or not n else self.largest * (1 - 0.05 ** (1 / n))


@dataclass(frozen=True)
class SlopeNoise:
    """What stands between a true slope and its being seen.

    Attributes:
        target: Variance of the target's slope over questions.
        random: The same of one random set.
        shared: Covariance of two random sets: they are asked the same questions.
        paired: Covariance of the target and a random set.
        between: Variance of the random sets' true slopes.
        drift: Square of the mean of these.
        largest: Largest slope of one reply; infinite where values have no bounds.
        scored: Questions that it was measured on.
        asked: Questions that were put for that.
        lumpy: Whether a reply is a hit or none: a slope then takes replies that flip.
    """

    target: float
    random: float
    shared: float
    paired: float
    between: float
    drift: float
    largest: float
    scored: int
    asked: int
    lumpy: bool

    @property
    def known(self) -> bool:
        """Whether it could be estimated, and is not 0 in all: nothing can be planned from that."""
        parts = self.target, self.random, self.between, self.drift
        return not np.isnan(parts).any() and max(parts) > _ROUNDING

    @property
    def spread(self) -> float:
        """How far random sets truly move the behaviour, root mean square."""
        return sqrt(self.between + self.drift)


def measure_noise(paired: PairedValues) -> SlopeNoise:
    """What the slopes of a target and its random sets vary by; NaN where that cannot be said."""
    covariance, slopes = _spread_of(paired, np.ones(paired.n_groups))
    if paired.n_sets < 2:
        return _noise(paired, covariance, nan, nan)
    return _noise(paired, covariance, float(slopes[1:].var(ddof=1)), float(slopes[1:].mean()))


def detectable_slope(
    noise: SlopeNoise, *, level: float, n_random: int, asked: int | None = None
) -> float:
    """The least slope, less the random sets' mean, that is seen with a power of 80 %.

    Args:
        noise: From `measure_noise`.
        level: Coverage of the intervals, as `hlens.effects.slopes` takes it.
        n_random: Random sets of the run.
        asked: Its questions; None for those that the noise was measured on.

    Returns:
        NaN where nothing can be said; infinity where not even the largest slope would be seen.
    """
    if not noise.known:
        return nan
    power = _power(noise, noise.asked / (asked or noise.asked), n_random, level)
    low, high = 0.0, noise.largest
    if high == inf:
        high = 20 * (sqrt(noise.target + noise.random) + noise.spread)
        while power(high) < POWER:
            high *= 4
    if power(high) < POWER:
        return inf
    while high - low > 1e-4 * high:
        middle = (low + high) / 2
        low, high = (low, middle) if power(middle) >= POWER else (middle, high)
    return high


def questions_needed(noise: SlopeNoise, slope: float, *, level: float, n_random: int) -> float:
    """Fewest questions with which a slope is seen with a power of 80 %; never below 12.

    Returns:
        Infinity where no number is enough, since random sets move the behaviour as much; NaN where
        nothing can be said.
    """
    if not noise.known:
        return nan

    def enough(asked: int) -> bool:
        return _power(noise, noise.asked / asked, n_random, level)(slope) >= POWER

    if not enough(_MOST):
        return inf
    low, high = 0, FEWEST
    while not enough(high):
        low, high = high, high * 2
    while high - low > max(1, high // 200) and high > FEWEST:  # finer than any pilot can say
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return float(high)


def draw_noises(paired: PairedValues, *, n_boot: int = 200, seed: int = 0) -> list[SlopeNoise]:
    """What a pilot leaves open of its noise: other questions, other random sets.

    Whole groups are drawn anew; the variance between sets is as little known as that of as many
    normal draws. Nothing where there are fewer than two groups or two random sets.
    """
    if paired.n_groups < 2 or paired.n_sets < 2:
        return []
    draw, n, n_groups = np.random.default_rng(seed), paired.n_sets, paired.n_groups
    slopes = _spread_of(paired, np.ones(n_groups))[1][1:]
    drawn = []
    for _ in range(n_boot):
        counts = draw.multinomial(n_groups, np.full(n_groups, 1 / n_groups)).astype(float)
        # A resample of a sample varies less than the sample does.
        covariance = _spread_of(paired, counts)[0] * n_groups / (n_groups - 1)
        variance = float(slopes.var(ddof=1) * (n - 1) / draw.chisquare(n - 1))
        mean = float(slopes.mean() + sqrt(variance / n) * draw.standard_normal())
        drawn.append(_noise(paired, covariance, variance, mean))
    return drawn


def interval_over(
    noises: Sequence[SlopeNoise], rule: Callable[[SlopeNoise], float]
) -> tuple[float, float]:
    """The central 95 % of what a rule says of each noise; NaN where it says nothing."""
    found = np.array([rule(noise) for noise in noises])
    known = found[~np.isnan(found)]
    if not len(known):
        return nan, nan
    low, high = np.quantile(known, [0.025, 0.975], method="nearest")  # of infinities, too
    return float(low), float(high)


def _spread_of(paired: PairedValues, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Covariance of all sets' slopes over groups, and the slopes; each group counts so often."""
    known, weights = ~np.isnan(paired.values), counts[paired.groups]
    with np.errstate(invalid="ignore", divide="ignore"):
        share = weights[:, None] * known / (weights @ known)[:, None]
        means = np.where(known, paired.values * share, 0.0).sum(axis=1)
        parts = np.where(known, paired.values - means[:, None], 0.0) / (weights @ known)[:, None]
    by_group = np.zeros((paired.n_groups, len(means)))
    np.add.at(by_group, paired.groups, (parts @ paired.weights).T)
    free = np.divide(paired.n_groups, paired.n_groups - 1) if paired.n_groups > 1 else nan
    return free * (by_group.T * counts) @ by_group, means @ paired.weights


def _noise(
    paired: PairedValues, covariance: np.ndarray, variance: float, mean: float
) -> SlopeNoise:
    """The noise, given variance and mean of the random sets' slopes as they were found."""
    n = paired.n_sets
    random = float(np.diag(covariance)[1:].mean()) if n else nan
    shared = float(covariance[1:, 1:][~np.eye(n, dtype=bool)].mean()) if n > 1 else nan
    return SlopeNoise(
        target=float(covariance[0, 0]),
        random=random,
        shared=shared,
        paired=float(covariance[0, 1:].mean()) if n else nan,
        between=float(np.maximum(0.0, variance - (random - shared))),
        drift=float(np.maximum(0.0, mean**2 - variance / max(1, n) - shared)),
        largest=paired.largest,
        scored=paired.values.shape[1],
        asked=paired.asked,
        lumpy=paired.unit == Scale.SHARE,
    )


def _power(
    noise: SlopeNoise, share: float, n_random: int, level: float
) -> Callable[[float], float]:
    """Slope -> how often it is seen, in the direction in which that is harder.

    `share`: the questions that the noise was measured on, divided by those of the run.
    """
    draw = np.random.default_rng(_SEED)
    common, own = draw.standard_normal((2, _DRAWS))
    errors, sets = draw.standard_normal((2, _DRAWS, n_random))
    shared = min(max(noise.shared, 0.0), noise.random)
    alone = noise.random - shared
    slopes = sqrt(noise.drift) + sqrt(noise.between) * sets
    slopes += sqrt(share) * (sqrt(shared) * common[:, None] + sqrt(alone) * errors)
    steepest, mean = np.abs(slopes).max(axis=1), slopes.mean(axis=1)
    z = norm.ppf((1 + level) / 2)

    def power(slope: float) -> float:
        target = noise.target
        if noise.lumpy:  # a slope takes replies that flip, however still a pilot was
            target = max(target, slope * (noise.largest - slope) / noise.scored)
        pull = noise.paired / sqrt(shared) if shared else 0.0
        pull = min(max(pull, -sqrt(target)), sqrt(target))
        error = sqrt(share) * (pull * common + sqrt(max(0.0, target - pull**2)) * own)
        variance = target - 2 * pull * sqrt(shared) + shared + alone / n_random
        half = z * sqrt(share * max(0.0, variance))
        chances = []
        for signed in (slope, -slope):
            found = sqrt(noise.drift) + signed + error
            seen = (np.abs(found - mean) > half) & (np.abs(found) > steepest)
            chances.append(float(seen.mean()))
        return min(chances)

    return power
