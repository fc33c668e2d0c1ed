"""Slopes: how much a behaviour moves per unit of dose, against the same of random neurons."""

from typing import Any

import numpy as np
import pandas as pd

from hlens.errors import HlensError


def slopes(
    outcomes: pd.DataFrame, n_boot: int = 2000, seed: int = 0, level: float = 0.95
) -> pd.DataFrame:
    """Least-squares slope of each behaviour over alpha, with paired bootstrap intervals.

    The same questions are drawn again for every set and dose (whole groups at a time), so that what
    a question adds by being easy cancels in the difference.

    Args:
        outcomes: From `intervene`, two doses or more.
        n_boot: Number of resamples.
        seed: Seed of the resamples.
        level: Coverage of the intervals.

    Returns:
        Columns ``behaviour, unit, set, kind, slope, low, high, n, over_random, over_low, over_high,
        rank, n_random, beyond_random``, and ``beyond_matched`` where contribution-matched sets were
        run: `over_random` is the slope less the mean slope of the layer-matched random sets; `rank`
        counts the random sets whose slope is as steep or steeper, either way; `beyond_random` (and
        `beyond_matched`) is true where there is none.

    Raises:
        HlensError: Fewer than two doses.
    """
    found: list[dict[str, object]] = []
    applying: Any = outcomes.loc[outcomes.applies.astype(bool)]
    for behaviour, rows in applying.groupby("behaviour", sort=False):
        found += _of_behaviour(str(behaviour), rows, n_boot, seed, level)
    return pd.DataFrame(found)


def _of_behaviour(
    behaviour: str, rows: pd.DataFrame, n_boot: int, seed: int, level: float
) -> list[dict[str, object]]:
    alphas = np.sort(rows.alpha.unique())
    if len(alphas) < 2:
        raise HlensError(f"{behaviour}: slopes need two doses or more, got {len(alphas)}")
    questions = rows.drop_duplicates("question_id")
    order = list(questions.question_id)
    weights = _resamples(list(questions.group), n_boot, seed)
    sets = list(dict.fromkeys(zip(rows["set"], rows.kind, strict=True)))
    values = {name: _matrix(rows, name, order, alphas) for name in sets}
    every = np.ones((1, len(order)))
    point = {name: _slope(value, every, alphas)[0] for name, value in values.items()}
    drawn = {name: _slope(value, weights, alphas) for name, value in values.items()}
    random = [name for name in sets if name[1] == "random"]
    matched = [name for name in sets if name[1] == "random_matched"]
    unit = str(rows.unit.iloc[0])
    tails = [(1 - level) / 2, (1 + level) / 2]
    found: list[dict[str, object]] = []
    for name in sets:
        low, high = _quantiles(drawn[name], tails)
        row = {"behaviour": behaviour, "unit": unit, "set": name[0], "kind": name[1]}
        row |= {"slope": point[name], "low": low, "high": high, "n": len(order)}
        row |= _against(name, random, point, drawn, tails)
        if matched:
            row["beyond_matched"] = not _as_steep(name, matched, point)
        found.append(row)
    return found


def _against(
    name: tuple[str, str],
    random: list[tuple[str, str]],
    point: dict[tuple[str, str], float],
    drawn: dict[tuple[str, str], np.ndarray],
    tails: list[float],
) -> dict[str, object]:
    """A set's slope less that of the random sets, and its rank among them."""
    others = [other for other in random if other != name]
    if not others:
        return {"over_random": np.nan, "n_random": 0, "beyond_random": False}
    low, high = _quantiles(drawn[name] - np.mean([drawn[o] for o in others], axis=0), tails)
    rank = _as_steep(name, others, point)
    return {
        "over_random": point[name] - float(np.mean([point[o] for o in others])),
        "over_low": low,
        "over_high": high,
        "rank": rank,
        "n_random": len(others),
        "beyond_random": rank == 0,
    }


def _as_steep(
    name: tuple[str, str], others: list[tuple[str, str]], point: dict[tuple[str, str], float]
) -> int:
    """How many other sets have a slope as steep or steeper, either way."""
    own = abs(point[name])
    return int(sum(abs(point[other]) >= own for other in others if other != name))


def _matrix(
    rows: pd.DataFrame, name: tuple[str, str], order: list[str], alphas: np.ndarray
) -> np.ndarray:
    """Values ``[question, alpha]`` of one set; NaN where a reply was not scored."""
    own = rows[(rows["set"] == name[0]) & (rows.kind == name[1])]
    place = {question: at for at, question in enumerate(order)}
    matrix = np.full((len(order), len(alphas)), np.nan)
    at = np.searchsorted(alphas, own.alpha.to_numpy())
    matrix[[place[q] for q in own.question_id], at] = own.value.to_numpy()
    return matrix


def _slope(values: np.ndarray, weights: np.ndarray, alphas: np.ndarray) -> np.ndarray:
    """Least-squares slope of the mean over alpha, for each row of weights."""
    known = ~np.isnan(values)
    total = weights @ known
    means = np.divide(
        weights @ np.where(known, values, 0.0),
        total,
        out=np.full(total.shape, np.nan),
        where=total > 0,
    )
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
