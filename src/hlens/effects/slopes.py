"""Slopes: how much a behaviour moves per unit of dose, against the same of random neurons.

An end-to-end comparison uses two doses and throws the others away; a slope uses all of them, and
its sign says whether more of the neurons means more of the behaviour.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from hlens.claims.conventions import LEVEL
from hlens.claims.findings import NO_BEHAVIOUR
from hlens.effects.power import PairedValues, detectable_slope, measure_noise
from hlens.errors import HlensError
from hlens.types import SetKind

SetKey = tuple[str, str]  # name and kind of a set
Row = dict[str, object]


def slopes(
    outcomes: pd.DataFrame, *, n_boot: int = 2000, seed: int = 0, level: float | None = None
) -> pd.DataFrame:
    """Least-squares slope of each behaviour over alpha, by grader, with paired intervals.

    Each resample draws the same questions (whole groups at a time) for every set and dose, so that
    what a question adds by being easy cancels in the difference.

    `outcomes` are those of `intervene`, with two doses or more; `level` is the coverage of the
    intervals: by default 95 %, corrected for the number of behaviours (Bonferroni), as the audit's
    rule asks, so that what is shown and what is claimed rest on the same intervals.

    Returns:
        Columns ``behaviour, grader, unit, set, kind, slope, low, high, n, over_random, over_low,
        over_high, rank, n_random, beyond_random, detectable, most``, and ``beyond_matched`` where
        matched sets were run: `over_random` is the slope less the mean slope of the layer-matched
        random sets; `rank` counts the random sets whose slope is as steep or steeper, either way;
        `beyond_random` (and `beyond_matched`) is true where there is none. `detectable` is the
        least slope less the random sets' mean that such a run sees in four of five cases
        (`hlens.effects.power`); NaN where random sets are too few to say. `most` is the steepest
        slope that replies of which none changed leave open (95 %); NaN where any changed.

    Raises:
        HlensError: Fewer than two doses.
    """
    rows: list[Row] = []
    level = corrected_level(outcomes) if level is None else level
    for behaviour, grader, own in graded_rows(outcomes):
        rows += _slope_rows(behaviour, grader, own, n_boot=n_boot, seed=seed, level=level)
    return pd.DataFrame(rows)


def corrected_level(outcomes: pd.DataFrame, *, n_parts: int = 1) -> float:
    """Coverage of the intervals: 95 %, corrected for the number of behaviours (Bonferroni).

    `n_parts` counts what is tested in each behaviour.
    """
    tested = set(outcomes["behaviour"]) - set(NO_BEHAVIOUR)
    return 1 - LEVEL / max(1, len(tested)) / max(1, n_parts)


def graded_rows(outcomes: pd.DataFrame) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """The rows that apply, by behaviour and grader."""
    applying: Any = outcomes.loc[outcomes.applies.astype(bool)]
    for (behaviour, grader), own in applying.groupby(["behaviour", "grader"], sort=False):
        yield behaviour, grader, own


def read_paired(rows: pd.DataFrame, *, asked: int) -> PairedValues:
    """The values of the target and its random sets, of one behaviour and grader.

    `asked` is how many questions were put.
    """
    sets = _Sets(rows)
    (target,) = [key for key in sets.values if key[1] == SetKind.TARGET]
    return sets.paired(target, asked)


class _Sets:
    """The values of every set on the same questions and doses."""

    def __init__(self, rows: pd.DataFrame) -> None:
        question, known = pd.factorize(rows.question_id)
        self.alphas, dose = np.unique(rows.alpha, return_inverse=True)
        # A question's group, at the place of the question.
        self.groups = np.empty(len(known), int)
        self.groups[question] = np.unique(list(rows.group), return_inverse=True)[1]
        self.unit, self.n = str(rows.unit.iloc[0]), len(known)
        keys = list(dict.fromkeys(zip(rows["set"], rows.kind, strict=True)))
        grouped: Any = rows.groupby(["set", "kind"], sort=False)
        # ``[set, question, alpha]``; NaN where a reply was not scored.
        values = np.full((len(keys), self.n, len(self.alphas)), np.nan)
        values[grouped.ngroup(), question, dose] = rows.value
        self.values: dict[SetKey, np.ndarray] = dict(zip(keys, values, strict=True))
        self.random = [key for key in self.values if key[1] == SetKind.RANDOM]

    def paired(self, key: SetKey, asked: int) -> PairedValues:
        """A set before all other random sets."""
        keys = (key, *(other for other in self.random if other != key))
        values = np.stack([self.values[one] for one in keys])
        return PairedValues(values, self.groups, self.alphas, self.unit, asked)


def _slope_rows(
    behaviour: str, grader: str, rows: pd.DataFrame, *, n_boot: int, seed: int, level: float
) -> list[Row]:
    sets = _Sets(rows)
    if len(sets.alphas) < 2:
        raise HlensError(f"{behaviour}: slopes need two doses or more, got {len(sets.alphas)}")
    # One set of weights for all sets and doses: this is what pairs the questions.
    weights, once = _resamples(sets.groups, n_boot, seed), np.ones((1, sets.n))
    values, random = sets.values.items(), sets.random
    point = {key: float(_slope(value, once, sets.alphas)[0]) for key, value in values}
    drawn = {key: _slope(value, weights, sets.alphas) for key, value in values}
    matched = [key for key in sets.values if key[1] == SetKind.MATCHED]
    tails = [(1 - level) / 2, (1 + level) / 2]
    table: list[Row] = []
    for key in sets.values:
        low, high = _quantiles(drawn[key], tails)
        row: Row = {"behaviour": behaviour, "grader": grader, "unit": sets.unit}
        row |= {"set": key[0], "kind": key[1], "slope": point[key], "low": low, "high": high}
        row |= {"n": sets.n, **_against_random(key, random, point, drawn, tails=tails)}
        if matched:
            row["beyond_matched"] = not _count_as_steep(key, matched, point)
        if not SetKind(key[1]).drawn:
            row |= _sight(sets.paired(key, sets.n), level)
        table.append(row)
    return table


def _sight(paired: PairedValues, level: float) -> Row:
    """What a slope would have to be to be seen."""
    sight = detectable_slope(measure_noise(paired), level=level, n_random=paired.n_sets)
    return {"detectable": sight, "most": paired.most_unseen if paired.still else np.nan}


def _against_random(
    key: SetKey,
    random: list[SetKey],
    point: dict[SetKey, float],
    drawn: dict[SetKey, np.ndarray],
    *,
    tails: list[float],
) -> Row:
    """A set's slope less that of the random sets, and its rank among them."""
    others = [other for other in random if other != key]
    if not others:
        return {"over_random": np.nan, "n_random": 0, "beyond_random": False}
    if not np.isfinite(point[key]):
        return {"over_random": np.nan, "n_random": len(others), "beyond_random": False}
    low, high = _quantiles(drawn[key] - np.mean([drawn[o] for o in others], axis=0), tails)
    rank = _count_as_steep(key, others, point)
    return {
        "over_random": point[key] - float(np.mean([point[o] for o in others])),
        "over_low": low,
        "over_high": high,
        "rank": rank,
        "n_random": len(others),
        "beyond_random": rank == 0,
    }


def _count_as_steep(key: SetKey, others: list[SetKey], point: dict[SetKey, float]) -> int:
    """How many other sets have a slope as steep or steeper, either way."""
    return sum(abs(point[other]) >= abs(point[key]) for other in others if other != key)


def _slope(values: np.ndarray, weights: np.ndarray, alphas: np.ndarray) -> np.ndarray:
    """Least-squares slope of the mean over alpha, for each row of weights."""
    known = ~np.isnan(values)
    total = weights @ known
    summed, undefined = weights @ np.where(known, values, 0.0), np.full(total.shape, np.nan)
    means = np.divide(summed, total, out=undefined, where=total > 0)
    centred = alphas - alphas.mean()
    return (means - means.mean(axis=1, keepdims=True)) @ centred / (centred @ centred)


def _quantiles(values: np.ndarray, tails: list[float]) -> tuple[float, float]:
    known = values[np.isfinite(values)]
    if not len(known):
        return float("nan"), float("nan")
    low, high = np.quantile(known, tails)
    return float(low), float(high)


def _resamples(groups: np.ndarray, n_boot: int, seed: int) -> np.ndarray:
    """How often each question is drawn, whole groups at a time, ``[resample, question]``."""
    n = int(groups.max()) + 1
    counts = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=n_boot)
    return counts[:, groups].astype(float)
