"""Ways to hold a covariate fixed: strata, alike pairs, a matched subset, a fitted adjustment."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int
from numpy.typing import ArrayLike
from pandas.api.types import is_numeric_dtype
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import maximum_bipartite_matching
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, PolynomialFeatures, StandardScaler

from hlens.audit.covariates import Scored
from hlens.evaluation.auroc import check_scores
from hlens.evaluation.intervals import Sizes, auroc_interval
from hlens.types import Estimate

MOST_STRATA = 8
CALIPER = 0.05  # standard deviations within which two numbers are alike

Alike = Bool[np.ndarray, "hallucinated true"]


def name_strata(column: pd.Series) -> np.ndarray:
    """Stratum of each example: thirds of a number, categories as they are.

    Beyond eight categories, the rarest are one stratum, ``others``.
    """
    if is_numeric_dtype(column):
        edges = np.unique(np.quantile(column, [0, 1 / 3, 2 / 3, 1]))
        third = np.clip(np.searchsorted(edges, column, side="right") - 1, 0, max(len(edges) - 2, 0))
        parts = [column[third == k] for k in range(int(third.max()) + 1)]
        names = [_name_range(float(part.min()), float(part.max())) for part in parts]
        return np.asarray(names, dtype=object)[third]
    kept = column.value_counts().index[: MOST_STRATA if column.nunique() <= MOST_STRATA else 7]
    return column.where(column.isin(kept), "others").to_numpy(dtype=object)


def order_strata(column: pd.Series) -> list[str]:
    """The strata in the order of a table: numbers ascending, categories by frequency."""
    place = column if is_numeric_dtype(column) else -column.map(column.value_counts())
    return list(dict.fromkeys(name_strata(column)[np.argsort(place.to_numpy(), kind="stable")]))


def _name_range(low: float, high: float) -> str:
    """A stratum by its ends.

    >>> _name_range(1.0, 5.0), _name_range(2.0, 2.0), _name_range(-5.2121, -2.0409)
    ('1 to 5', '2', '−5.212 to −2.041')
    """
    ends = dict.fromkeys(f"{end:.4g}".replace("-", "−") for end in (low, high))
    return " to ".join(ends)


def estimate_over_pairs(
    scores: ArrayLike,
    labels: ArrayLike,
    *,
    alike: Alike,
    groups: Sequence[str] | np.ndarray | None = None,
) -> Estimate:
    """AUROC over chosen pairs, with its 95 % interval over samples of groups.

    The AUROC is a mean over pairs of a hallucinated and a true answer. Taken over the pairs that
    agree in length, domain or whatever else could be read in place of truth, it says what is left
    when that is held fixed; with strata as the pairs it is the stratified AUROC. One formula serves
    counts, amounts and categories. Its ``n`` counts the examples of at least one pair; NaN where no
    pair counts. The interval is that of `estimate_auroc`, of the examples of a pair and their
    groups; its variance is the infinitesimal jackknife's (how far the mean moves with the weight of
    each group).

    >>> score, label = [1, 2, 3, 4], [False, True, False, True]
    >>> same_length = np.array([[True, False], [False, True]])
    >>> estimate_over_pairs(score, label, alike=same_length).value
    1.0
    """
    score, label = check_scores(scores, labels)
    if not alike.any():
        return Estimate.missing(0)
    # 1 where the hallucinated one scores higher, one half for a tie.
    wins = (np.sign(score[label][:, None] - score[~label][None, :]) + 1) / 2 * alike
    area = float(wins.sum() / alike.sum())
    excess = wins - area * alike
    pull = np.empty(len(score))  # of each example on the mean
    pull[label], pull[~label] = excess.sum(axis=1) / alike.sum(), excess.sum(axis=0) / alike.sum()
    paired = np.empty(len(score), dtype=bool)
    paired[label], paired[~label] = alike.any(axis=1), alike.any(axis=0)
    group = np.arange(len(score)) if groups is None else np.asarray(groups)
    code = np.unique(group[paired], return_inverse=True)[1]
    of_group = np.bincount(code, weights=pull[paired])
    variance = float((of_group**2).sum() * len(of_group) / max(len(of_group) - 1, 1))
    return auroc_interval(area, variance, sizes=Sizes.of(label[paired], group[paired]))


def alike_pairs(values: ArrayLike, labels: ArrayLike) -> Alike:
    """Pairs that agree in one covariate.

    Categories must be equal; numbers must lie within 0.05 standard deviations of each other, so
    that whole numbers of ordinary spread must be equal too.

    >>> alike_pairs([1, 1, 2], [True, False, False]).tolist()
    [[True, False]]
    """
    value, label = np.asarray(values), np.asarray(labels).astype(bool)
    if not np.issubdtype(value.dtype, np.number):
        code = np.unique(value.astype(str), return_inverse=True)[1]
        return code[label][:, None] == code[~label][None, :]
    number = value.astype(np.float64)
    reach = CALIPER * number.std()
    return np.abs(number[label][:, None] - number[~label][None, :]) <= reach


def match_alike(
    alike: Alike, labels: Bool[np.ndarray, " example"], *, seed: int = 0
) -> Bool[np.ndarray, " example"]:
    """A subset of as many hallucinated as true examples, paired with one alike.

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


def adjust_scores(
    train: Scored, test: Scored, *, columns: Sequence[str]
) -> Float[np.ndarray, " row"]:
    """Test scores less what some covariates predict of a true answer's score.

    The AUROC of what is left is the covariate-adjusted one of Janes and Pepe (2009, Biometrika 96):
    each hallucinated answer is placed among true ones of its own kind. The prediction is quadratic
    in numbers and free in categories. It is fitted to the true answers of the training part: fitted
    to both labels it would also take off what the detector knows of truth. NaN where no true answer
    is of an example's category: there is none to place it among, such as for a response that
    attempts nothing.
    """
    inside, outside = train.covariates.filter(columns), test.covariates.filter(columns)
    true = inside[~train.labels]
    model = _model_on(inside, Ridge(alpha=1.0)).fit(true, train.scores[~train.labels])
    left = test.scores - model.predict(outside)
    for name in columns:
        if not is_numeric_dtype(outside[name]):
            left[~outside[name].isin(true[name])] = np.nan
    return left


def hallucination_odds(
    train: Scored, test: Scored, *, columns: Sequence[str]
) -> Float[np.ndarray, " row"]:
    """Log-odds of hallucination of each test example by some covariates alone."""
    inside = train.covariates.filter(columns)
    model = _model_on(inside, LogisticRegression(max_iter=2000)).fit(inside, train.labels)
    return model.decision_function(test.covariates.filter(columns))


def _model_on(table: Any, estimator: Ridge | LogisticRegression) -> Pipeline:
    numbers = [name for name in table if is_numeric_dtype(table[name])]
    categories = [name for name in table if name not in numbers]
    curve = make_pipeline(StandardScaler(), PolynomialFeatures(2, include_bias=False))
    design = make_column_transformer(
        (curve, numbers), (OneHotEncoder(handle_unknown="ignore"), categories)
    )
    return make_pipeline(design, estimator)
