"""Confounds: does the detector still read when what could stand in for truth is held fixed?

For every covariate there are four views of the same held-out scores. None is enough alone: strata
are coarse, alike pairs are few, a matched subset is smaller still, an adjustment trusts its model.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import maximum_bipartite_matching

from hlens.audit.adjusting import numeric, propensity, residual, varies
from hlens.audit.covariates import SAMPLING, SURFACE
from hlens.audit.scored import Scored
from hlens.evaluation import estimate_auroc
from hlens.evaluation.pairs import Alike, alike_pairs, estimate_over_pairs
from hlens.types import Estimate
from hlens.types.labels import Covariate, View

COLUMNS = ["covariate", "view", "stratum", "auroc", "low", "high", "n", "hallucinated", "note"]
FEWEST = 10  # examples of a class below which a stratum is counted, not judged
MOST_STRATA = 8

Row = dict[str, Any]


def confounds(train: Scored, test: Scored, n_boot: int = 1000, seed: int = 0) -> pd.DataFrame:
    """AUROC of a detector with each covariate held fixed, on held-out examples.

    Args:
        train: Out-of-fold scores on the training part; all that is learned is learned here.
        test: Scores on the held-out part.
        n_boot: Resamples of whole groups for the intervals.
        seed: Seed of matching and resamples.

    Returns:
        Columns ``covariate, view, stratum, auroc, low, high, n, hallucinated, note``. Views:

        - ``alone``: the covariate itself as a detector (its direction or the rate of each of its
          values learned in training): how much it could explain.
        - ``stratum``: the detector among the examples of one stratum (thirds of a number).
        - ``alike pairs``: over all pairs of a hallucinated and a true answer that agree in it.
        - ``matched``: on a subset in which every hallucinated answer has a true one like it.
        - ``adjusted``: what is left of the score when what it predicts is taken off.

        The covariate ``surface, all at once`` holds all covariates of surface that vary; its alike
        pairs agree in the log-odds of hallucination that they make. A covariate without variation
        has one row that says so.
    """
    rows: list[Row] = []
    for name in test.covariates:
        rows += _of_covariate(str(name), train, test, n_boot, seed)
    rows += _of_all(train, test, n_boot, seed)
    return pd.DataFrame(rows, columns=COLUMNS)


def _of_covariate(name: str, train: Scored, test: Scored, n_boot: int, seed: int) -> Iterator[Row]:
    inside, column = _column(train, name), _column(test, name)
    if not varies(column) or not varies(inside):
        why = "missing for some examples" if bool(column.isna().any()) else "has one value only"
        yield _row(name, View.ALONE, test, Estimate.missing(len(test)), note=why)
        return
    if name not in SAMPLING:
        score = propensity(train.labels, inside.to_frame(), column.to_frame())
        yield _row(name, View.ALONE, test, _auroc(score, test, n_boot, seed))
    yield from _strata(name, test, n_boot, seed)
    if name in SAMPLING:
        return
    alike = alike_pairs(column.to_numpy(), test.labels)
    yield from _held_fixed(name, [name], alike, train, test, n_boot, seed)


def _of_all(train: Scored, test: Scored, n_boot: int, seed: int) -> Iterator[Row]:
    names = [
        name
        for name in SURFACE
        if name in test.covariates and varies(_column(test, name)) and varies(_column(train, name))
    ]
    if not names:
        return
    score = propensity(train.labels, train.covariates.filter(names), test.covariates.filter(names))
    yield _row(
        Covariate.ALL_OF_SURFACE,
        View.ALONE,
        test,
        _auroc(score, test, n_boot, seed),
        note=", ".join(names),
    )
    alike = alike_pairs(score, test.labels)
    yield from _held_fixed(Covariate.ALL_OF_SURFACE, names, alike, train, test, n_boot, seed)


def _held_fixed(
    name: str,
    columns: list[str],
    alike: Alike,
    train: Scored,
    test: Scored,
    n_boot: int,
    seed: int,
) -> Iterator[Row]:
    found = estimate_over_pairs(test.scores, test.labels, alike, test.groups, n_boot, seed)
    pairs = int(alike.sum())
    involved = int(alike.any(axis=1).sum())
    yield _row(name, View.ALIKE_PAIRS, test, found, hallucinated=involved, note=f"{pairs:,} pairs")
    chosen = test.select(matched(alike, test.labels, seed))
    yield _row(name, View.MATCHED, chosen, _auroc(chosen.scores, chosen, n_boot, seed))
    inside, outside = train.covariates.filter(columns), test.covariates.filter(columns)
    left = residual(train.scores, train.labels, inside, test.scores, outside)
    yield _row(name, View.ADJUSTED, test, _auroc(left, test, n_boot, seed))


def _strata(name: str, test: Scored, n_boot: int, seed: int) -> Iterator[Row]:
    column = _column(test, name)
    names = strata_of(column)
    for stratum in dict.fromkeys(names[np.argsort(_order(column), kind="stable")]):
        part = test.select(names == stratum)
        few = min(int(part.labels.sum()), int((~part.labels).sum())) < FEWEST
        note = f"fewer than {FEWEST} of a label" if few else ""
        found = Estimate.missing(len(part)) if few else _auroc(part.scores, part, n_boot, seed)
        yield _row(name, View.STRATUM, part, found, stratum=str(stratum), note=note)


def strata_of(column: pd.Series) -> np.ndarray:
    """Stratum of each example: thirds of a number, categories as they are.

    Beyond eight, the rarest categories stand together as ``others``.
    """
    if numeric(column):
        edges = np.unique(np.quantile(column, [0, 1 / 3, 2 / 3, 1]))
        at = np.clip(np.searchsorted(edges, column, side="right") - 1, 0, max(len(edges) - 2, 0))
        parts = [column[at == k] for k in range(int(at.max()) + 1)]
        names = [_span(float(part.min()), float(part.max())) for part in parts]
        return np.asarray(names, dtype=object)[at]
    kept = column.value_counts().index[: MOST_STRATA if column.nunique() <= MOST_STRATA else 7]
    return column.where(column.isin(kept), "others").to_numpy(dtype=object)


def _span(low: float, high: float) -> str:
    """A stratum by its ends.

    >>> _span(1.0, 5.0), _span(2.0, 2.0), _span(-5.2121, -2.0409)
    ('1 to 5', '2', '−5.212 to −2.041')
    """
    ends = dict.fromkeys(f"{end:.4g}".replace("-", "−") for end in (low, high))
    return " to ".join(ends)


def _order(column: pd.Series) -> np.ndarray:
    """Numbers ascending, categories by how frequent they are."""
    if numeric(column):
        return column.to_numpy()
    return -column.map(column.value_counts()).to_numpy()


def matched(
    alike: Alike, labels: Bool[np.ndarray, " example"], seed: int = 0
) -> Bool[np.ndarray, " example"]:
    """A subset of as many hallucinated as true examples, each of which has its alike one.

    The largest such subset: a maximum matching of the alike pairs, in a random order of examples.
    """
    draw = np.random.default_rng(seed)
    rows, columns = (draw.permutation(size) for size in alike.shape)
    partner: Int[np.ndarray, " true"] = maximum_bipartite_matching(
        csr_matrix(alike[np.ix_(rows, columns)]), perm_type="row"
    )
    kept = np.zeros(len(labels), dtype=bool)
    kept[np.flatnonzero(labels)[rows[partner[partner >= 0]]]] = True
    kept[np.flatnonzero(~labels)[columns[partner >= 0]]] = True
    return kept


def _column(part: Scored, name: str) -> pd.Series:
    return pd.Series(part.covariates[name])


def _auroc(score: Float[np.ndarray, " example"], part: Scored, n_boot: int, seed: int) -> Estimate:
    if len(part) == 0 or part.labels.all() or not part.labels.any():
        return Estimate.missing(len(part))
    return estimate_auroc(score, part.labels, part.groups, n_boot, seed)


def _row(
    name: str,
    view: View,
    part: Scored,
    estimate: Estimate,
    stratum: str = "",
    hallucinated: int | None = None,
    note: str = "",
) -> Row:
    count = int(part.labels.sum()) if hallucinated is None else hallucinated
    key = {"covariate": name, "view": view, "stratum": stratum}
    return {**key, **estimate.to_row(), "hallucinated": count, "note": note}
