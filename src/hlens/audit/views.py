"""Ways to hold a covariate fixed: strata, a matched subset, an adjustment fitted in training."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import maximum_bipartite_matching
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, PolynomialFeatures, StandardScaler

from hlens.audit.covariates import Scored
from hlens.evaluation.pairs import Alike

MOST_STRATA = 8


def is_numeric(column: pd.Series) -> bool:
    """Whether a covariate is a number (and not a category)."""
    return pd.api.types.is_numeric_dtype(column)


def varies(column: pd.Series) -> bool:
    """Whether a covariate has two values or more, and no missing ones."""
    return bool(column.notna().all()) and column.nunique() > 1


def name_strata(column: pd.Series) -> np.ndarray:
    """Stratum of each example: thirds of a number, categories as they are.

    Beyond eight categories, the rarest are one stratum, ``others``.
    """
    if is_numeric(column):
        edges = np.unique(np.quantile(column, [0, 1 / 3, 2 / 3, 1]))
        third = np.clip(np.searchsorted(edges, column, side="right") - 1, 0, max(len(edges) - 2, 0))
        parts = [column[third == k] for k in range(int(third.max()) + 1)]
        names = [_name_range(float(part.min()), float(part.max())) for part in parts]
        return np.asarray(names, dtype=object)[third]
    kept = column.value_counts().index[: MOST_STRATA if column.nunique() <= MOST_STRATA else 7]
    return column.where(column.isin(kept), "others").to_numpy(dtype=object)


def order_strata(column: pd.Series) -> list[str]:
    """The strata in the order of a table: numbers ascending, categories by frequency."""
    place = column if is_numeric(column) else -column.map(column.value_counts())
    return list(dict.fromkeys(name_strata(column)[np.argsort(place.to_numpy(), kind="stable")]))


def _name_range(low: float, high: float) -> str:
    """A stratum by its ends.

    >>> _name_range(1.0, 5.0), _name_range(2.0, 2.0), _name_range(-5.2121, -2.0409)
    ('1 to 5', '2', '−5.212 to −2.041')
    """
    ends = dict.fromkeys(f"{end:.4g}".replace("-", "−") for end in (low, high))
    return " to ".join(ends)


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
    to both labels it would also take off what the detector knows of truth.
    """
    inside, true = train.covariates.filter(columns), ~train.labels
    model = _model_on(inside, Ridge(alpha=1.0)).fit(inside[true], train.scores[true])
    return test.scores - model.predict(test.covariates.filter(columns))


def hallucination_odds(
    train: Scored, test: Scored, *, columns: Sequence[str]
) -> Float[np.ndarray, " row"]:
    """Log-odds of hallucination of each test example by some covariates alone."""
    inside = train.covariates.filter(columns)
    model = _model_on(inside, LogisticRegression(max_iter=2000)).fit(inside, train.labels)
    return model.decision_function(test.covariates.filter(columns))


def _model_on(table: Any, estimator: Ridge | LogisticRegression) -> Pipeline:
    numbers = [name for name in table if is_numeric(table[name])]
    categories = [name for name in table if name not in numbers]
    curve = make_pipeline(StandardScaler(), PolynomialFeatures(2, include_bias=False))
    design = make_column_transformer(
        (curve, numbers), (OneHotEncoder(handle_unknown="ignore"), categories)
    )
    return make_pipeline(design, estimator)
