"""Slopes: how much a behaviour moves per unit of dose, against the same of random neurons.

An end-to-end comparison uses two doses and throws the others away; a slope uses all of them, and
its sign says whether more of the neurons means more of the behaviour.
"""

from typing import Any

import numpy as np
import pandas as pd

from hlens.claims.conventions import LEVEL
from hlens.claims.findings import NO_BEHAVIOUR
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
        over_high, rank, n_random, beyond_random``, and ``beyond_matched`` where matched sets were
        run: `over_random` is the slope less the mean slope of the layer-matched random sets; `rank`
        counts the random sets whose slope is as steep or steeper, either way; `beyond_random` (and
        `beyond_matched`) is true where there is none.

    Raises:
        HlensError: Fewer than two doses.
    """
    rows: list[Row] = []
    if level is None:
        tested = set(outcomes["behaviour"]) - set(NO_BEHAVIOUR)
        level = 1 - LEVEL / max(1, len(tested))
    applying: Any = outcomes.loc[outcomes.applies.astype(bool)]
    for (behaviour, grader), own in applying.groupby(["behaviour", "grader"], sort=False):
        rows += _slope_rows(behaviour, grader, own, n_boot=n_boot, seed=seed, level=level)
    return pd.DataFrame(rows)


def _slope_rows(
    behaviour: str, grader: str, rows: pd.DataFrame, *, n_boot: int, seed: int, level: float
) -> list[Row]:
    alphas = np.sort(rows.alpha.unique())
    if len(alphas) < 2:
        raise HlensError(f"{behaviour}: slopes need two doses or more, got {len(alphas)}")
    questions = rows.drop_duplicates("question_id")
    order = list(questions.question_id)
    # One set of weights for all sets and doses: this is what pairs the questions.
    weights = _resamples(list(questions.group), n_boot, seed)
    sets = list(dict.fromkeys(zip(rows["set"], rows.kind, strict=True)))
    values = {key: _values(rows, key, order, alphas) for key in sets}
    once = np.ones((1, len(order)))
    point = {key: float(_slope(value, once, alphas)[0]) for key, value in values.items()}
    drawn = {key: _slope(value, weights, alphas) for key, value in values.items()}
    random = [key for key in sets if key[1] == SetKind.RANDOM]
    matched = [key for key in sets if key[1] == SetKind.MATCHED]
    tails = [(1 - level) / 2, (1 + level) / 2]
    table: list[Row] = []
    for key in sets:
        low, high = _quantiles(drawn[key], tails)
        row: Row = {"behaviour": behaviour, "grader": grader, "unit": str(rows.unit.iloc[0])}
        row |= {"set": key[0], "kind": key[1], "slope": point[key], "low": low, "high": high}
        row |= {"n": len(order), **_against_random(key, random, point, drawn, tails=tails)}
        if matched:
            row["beyond_matched"] = not _count_as_steep(key, matched, point)
        table.append(row)
    return table


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


def _values(rows: pd.DataFrame, key: SetKey, order: list[str], alphas: np.ndarray) -> np.ndarray:
    """Values ``[question, alpha]`` of one set; NaN where a reply was not scored."""
    own = rows[(rows["set"] == key[0]) & (rows.kind == key[1])]
    index = {question: i for i, question in enumerate(order)}
    values = np.full((len(order), len(alphas)), np.nan)
    column = np.searchsorted(alphas, own.alpha.to_numpy())
    values[[index[question] for question in own.question_id], column] = own.value.to_numpy()
    return values


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


def _resamples(groups: list[str], n_boot: int, seed: int) -> np.ndarray:
    """How often each question is drawn, whole groups at a time, ``[resample, question]``."""
    code = np.unique(groups, return_inverse=True)[1]
    n = int(code.max()) + 1
    counts = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=n_boot)
    return counts[:, code].astype(float)
