"""A detector stacked with the model's own output numbers.

Problem: reading neurons costs a forward pass with hooks; the probabilities of the model's own
tokens cost nothing, and often read as well. What a user pays for is what the neurons add to them.

Idea: the neurons' score is one number more beside a handful of output numbers, in a logistic model.
It is fitted on out-of-fold scores: those of the fit itself would be too good, and take all the
weight. Without that number the same model is what the gain is measured against.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.preprocessing import StandardScaler

from hlens.probe.calibration import Method, calibrate
from hlens.types import Combined, Detector, Evidence
from hlens.types.combined import NEURONS, LinearScore
from hlens.types.output_numbers import output_numbers

CS = tuple(10.0**power for power in range(-4, 3))
Numbers = Mapping[str, Float[np.ndarray, " example"]]


def l2_logistic(splits: Sequence[tuple[np.ndarray, np.ndarray]]) -> GridSearchCV:
    """L2 logistic regression, classes balanced, its C by AUROC on these held-out folds."""
    plain = LogisticRegression(class_weight="balanced", max_iter=5000, tol=1e-6)
    return GridSearchCV(plain, {"C": CS}, scoring="roc_auc", cv=splits)


def splits_of(fold: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Folds as scikit-learn takes them: (training rows, held-out rows)."""
    return [(np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in np.unique(fold)]


def stack(
    numbers: Numbers, labels: Bool[np.ndarray, " example"], *, fold: np.ndarray
) -> LinearScore:
    """Logistic regression on named numbers, its penalty chosen on held-out folds."""
    X = np.stack(list(numbers.values()), axis=1)
    scaler = StandardScaler().fit(X)
    fitted = l2_logistic(splits_of(fold)).fit(scaler.transform(X), labels).best_estimator_
    weights = fitted.coef_[0] / scaler.scale_
    bias = float(fitted.intercept_[0] - weights @ scaler.mean_)
    return LinearScore(dict(zip(numbers, map(float, weights), strict=True)), bias)


def stacked_scores(
    numbers: Numbers, labels: Bool[np.ndarray, " example"], *, fold: np.ndarray
) -> Float[np.ndarray, " example"]:
    """Score of each example by a stack that did not see its fold.

    A column of the neurons' own out-of-fold scores knows of it all the same: those of other folds
    come from probes that saw this one. So these serve to weigh and calibrate, not to report.
    """
    scores = np.empty(len(labels))
    for k in np.unique(fold):
        held_out = fold == k
        inside = {name: values[~held_out] for name, values in numbers.items()}
        outside = {name: values[held_out] for name, values in numbers.items()}
        scores[held_out] = stack(inside, labels[~held_out], fold=fold[~held_out])(outside)
    return scores


def combine(
    evidence: Evidence,
    detector: Detector,
    own: Float[np.ndarray, " example"],
    *,
    fold: np.ndarray,
    calibration: Method | None = "platt",
) -> Combined:
    """Stack a detector with the output numbers of the examples that it was found on.

    Args:
        evidence: Of these examples.
        detector: What was found on them.
        own: Score of each by a probe that saw neither it nor its group.
        fold: The fold that each was held out in.
        calibration: As in `hlens.find`.
    """
    labels, numbers = evidence.labels.numpy(), output_numbers(evidence)
    both = numbers | {NEURONS: own}
    known = None
    if calibration is not None:
        scores = stacked_scores(both, labels, fold=fold)
        known = calibrate(scores, labels, fold=fold, method=calibration)
    alone, joined = (stack(part, labels, fold=fold) for part in (numbers, both))
    return Combined(detector, alone=alone, both=joined, calibration=known)
