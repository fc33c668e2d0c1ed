"""Scores to probabilities, fitted on scores of examples that the probe did not see."""

from typing import Literal

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit
from sklearn.isotonic import IsotonicRegression

from hlens.errors import HlensError
from hlens.types import Calibration

Method = Literal["platt", "isotonic"]
KNOTS = 201


def calibrate(
    scores: np.ndarray, labels: np.ndarray, *, fold: np.ndarray, method: Method = "platt"
) -> Calibration:
    """Fit a map from out-of-fold scores to probabilities, on all examples.

    Its expected calibration error is measured on each fold with a map fitted on the others.
    ``"platt"`` is a logistic curve with Platt's (1999) smoothed targets, ``"isotonic"`` the best
    non-decreasing map, which needs some hundreds of examples.

    >>> draw = np.random.default_rng(0)
    >>> scores = draw.normal(size=900)
    >>> labels = draw.random(900) < expit(2 * scores)
    >>> fitted = calibrate(scores, labels, fold=np.arange(900) % 5)
    >>> import torch
    >>> abs(float(fitted(torch.ones(1))[0]) - float(expit(2.0))) < 0.08, fitted.ece < 0.1
    (True, True)
    """
    if method not in ("platt", "isotonic"):
        raise HlensError(f"calibration {method!r} is unknown; expected 'platt' or 'isotonic'")
    held_out = np.empty(len(scores))
    for k in np.unique(fold):
        rest = fold != k
        held_out[~rest] = np.interp(scores[~rest], *_fit_knots(scores[rest], labels[rest], method))
    knots, probabilities = (tuple(part.tolist()) for part in _fit_knots(scores, labels, method))
    ece = expected_calibration_error(held_out, labels)
    return Calibration(knots, probabilities, method=method, ece=ece)


def expected_calibration_error(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Mean distance of probability and frequency over ten bins of equal count, weighted by count.

    >>> round(expected_calibration_error(np.full(10, 0.3), np.arange(10) < 5), 6)
    0.2
    """
    if np.ptp(probabilities) == 0:  # bins of equal probabilities would differ by order alone
        return float(abs(probabilities.mean() - labels.mean()))
    order = np.argsort(probabilities, kind="stable")
    bins = np.array_split(order, min(10, len(order)))
    distance = [len(b) * abs(probabilities[b].mean() - labels[b].mean()) for b in bins]
    return float(sum(distance) / len(order))


def _fit_knots(
    scores: np.ndarray, labels: np.ndarray, method: str
) -> tuple[np.ndarray, np.ndarray]:
    """The map as knots: scores, and the probability at each."""
    if method == "platt":
        return _fit_platt(scores, labels)
    fitted = IsotonicRegression(y_min=0.0, y_max=1.0).fit(scores, labels.astype(float))
    x, p = fitted.X_thresholds_, fitted.y_thresholds_
    return (x, p) if len(x) > 1 else (np.r_[x, x + 1.0], np.r_[p, p])


def _fit_platt(scores: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Platt (1999), "Probabilistic outputs for support vector machines": smoothed targets."""
    positive = float(np.sum(labels))
    high, low = (positive + 1) / (positive + 2), 1 / (len(labels) - positive + 2)
    target = np.where(labels, high, low)
    centre, width = float(scores.mean()), float(scores.std()) or 1.0
    x = (scores - centre) / width

    def loss_and_gradient(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        slope, intercept = np.exp(parameters[0]), parameters[1]  # positive: the map never falls
        z = slope * x + intercept
        r = expit(z) - target
        value = np.mean(np.logaddexp(0.0, z) - target * z)
        return float(value), np.array([np.mean(r * x) * slope, np.mean(r)])

    bounds = [(-10, 10), (-50, 50)]
    fitted = minimize(loss_and_gradient, np.zeros(2), jac=True, method="L-BFGS-B", bounds=bounds)
    log_slope, intercept = fitted.x
    margin = 2.0 * width
    knots = np.linspace(scores.min() - margin, scores.max() + margin, KNOTS)
    return knots, expit(np.exp(log_slope) * (knots - centre) / width + intercept)
