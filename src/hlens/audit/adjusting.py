"""What covariates predict, fitted in training: scores to take off, and the odds of a label."""

from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, PolynomialFeatures, StandardScaler


def numeric(column: pd.Series) -> bool:
    """Whether a covariate is a number (and no category)."""
    return pd.api.types.is_numeric_dtype(column)


def varies(column: pd.Series) -> bool:
    """Whether a covariate has two values or more, and no missing ones."""
    return bool(column.notna().all()) and column.nunique() > 1


def residual(
    scores: Float[np.ndarray, " example"],
    labels: Bool[np.ndarray, " example"],
    train: pd.DataFrame,
    test_scores: Float[np.ndarray, " row"],
    test: pd.DataFrame,
) -> Float[np.ndarray, " row"]:
    """Test scores less what the covariates predict of a true answer's score.

    The AUROC of what is left is the covariate-adjusted one of Janes and Pepe (2009, Biometrika 96):
    each hallucinated answer is placed among true ones of its own kind. The prediction is quadratic
    in numbers and free in categories, and is fitted to the true answers of the training part.
    """
    model = _on(train, Ridge(alpha=1.0)).fit(train[~labels], scores[~labels])
    return test_scores - model.predict(test)


def propensity(
    labels: Bool[np.ndarray, " example"], train: pd.DataFrame, test: pd.DataFrame
) -> Float[np.ndarray, " row"]:
    """Log-odds of hallucination of each test row by its covariates alone."""
    return _on(train, LogisticRegression(max_iter=2000)).fit(train, labels).decision_function(test)


def _on(table: Any, estimator: Ridge | LogisticRegression) -> Pipeline:
    numbers = [name for name in table if numeric(table[name])]
    categories = [name for name in table if name not in numbers]
    curve = make_pipeline(StandardScaler(), PolynomialFeatures(2, include_bias=False))
    design = make_column_transformer(
        (curve, numbers), (OneHotEncoder(handle_unknown="ignore"), categories)
    )
    return make_pipeline(design, estimator)
